/* SPDX-License-Identifier: MIT */
/* The copies of the system area: damage on one member is found, written back, and told. */
#include "rig.h"

#include "fs/area_disk.h"
#include "fs/area_scrub.h"

#define PAGE AREA_PAGE_BYTES

struct told {
	struct event_sink sink;
	unsigned count;
	struct event last;
};

static void take(struct event_sink *sink, const struct event *event)
{
	struct told *told = container_of(sink, struct told, sink);
	if (event->area_page == UINT64_MAX)
		return;
	told->count++;
	told->last = *event;
}

/* Three mirrors with some files; the layout of its area. Unmounted. */
static struct rig *new_rig(struct area_layout *layout)
{
	struct rig *rig = rig_new_with(7, (struct volume_create_options){.level = RAID_RAID1,
						  .members = 3,
						  .size_bytes = 16 * MIB,
						  .chunk_bytes = 65536,
						  .pi = PI_T10,
						  .system_bytes = 4 * MIB});
	rig_mount(rig);
	char name[300];
	for (unsigned i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "%0200u", i);
		rig_create(rig, FS_ROOT_INO, name);
	}
	assert_int_equal(fs_sync(rig->fs), 0);
	assert_int_equal(area_layout_choose(4 * MIB, layout), 0);
	assert_int_equal(rig_unmount(rig), 0);
	return rig;
}

static uint64_t offset_of(struct rig *rig, uint64_t offset)
{
	return volume_super(rig->v)->system.offset_bytes + offset;
}

static void mount_told(struct rig *rig, struct told *told)
{
	*told = (struct told){.sink.emit = take};
	struct volume_open_options vo = {.factory = &rig->factory,
		.paths = rig_names,
		.count = rig->create.members,
		.events = &told->sink};
	struct fs_options fo = {0};
	assert_int_equal(volume_open(&vo, &rig->v, &rig->why), 0);
	assert_int_equal(fs_open(rig->v, &fo, &rig->fs, &rig->why), 0);
}

static void flip(struct rig *rig, const char *disk, uint64_t offset)
{
	uint8_t byte;
	assert_int_equal(sim_disk_peek(rig->world, disk, offset_of(rig, offset), &byte, 1), 0);
	byte ^= 0x40;
	assert_int_equal(sim_disk_poke(rig->world, disk, offset_of(rig, offset), &byte, 1), 0);
}

static struct scrub_area scrub(struct rig *rig, bool repair)
{
	struct scrub_result result;
	assert_int_equal(volume_scrub(rig->v, repair, NULL, NULL, &result), 0);
	struct scrub_area area = result.area;
	scrub_result_free(&result);
	return area;
}

static void a_sound_area_has_no_findings(void **unused)
{
	(void)unused;
	struct area_layout layout;
	struct told told;
	struct rig *rig = new_rig(&layout);
	mount_told(rig, &told);
	struct scrub_area area = scrub(rig, false);
	assert_true(area.pages > 20);
	assert_int_equal(area.damaged + area.differing + area.lost + area.repaired, 0);
	assert_int_equal(told.count, 0);
	rig_free(rig);
}

/* The second copy is not read by anybody but a scrub. */
static void a_scrub_finds_a_page_that_nobody_reads(void **unused)
{
	(void)unused;
	struct area_layout layout;
	struct told told;
	struct rig *rig = new_rig(&layout);
	mount_told(rig, &told);
	flip(rig, "d1", layout.db_offset + 5 * PAGE + 100);
	flip(rig, "d2", layout.db_offset + 6 * PAGE + 100);
	struct scrub_area area = scrub(rig, false);
	assert_int_equal(area.damaged, 2);
	assert_int_equal(area.repaired, 0);
	assert_int_equal(area.wrong[0], 0);
	assert_int_equal(area.wrong[1], 1);
	assert_int_equal(area.wrong[2], 1);
	area = scrub(rig, true);
	assert_int_equal(area.repaired, 2);
	assert_int_equal(told.count, 2);
	assert_int_equal(told.last.kind, EVENT_REPAIRED);
	assert_int_equal(told.last.member, 2);
	assert_int_equal(told.last.area_page, layout.db_offset / PAGE + 6);
	assert_string_equal(told.last.what, "database page");
	assert_int_equal(sysarea_mended(volume_sysarea(rig->v), 1), 1);
	assert_int_equal(scrub(rig, false).damaged, 0);
	rig_free(rig);
}

static void a_page_that_is_read_is_written_back_at_once(void **unused)
{
	(void)unused;
	struct area_layout layout;
	struct told told;
	struct rig *rig = new_rig(&layout);
	struct volume_open_options vo = {
		.factory = &rig->factory, .paths = rig_names, .count = 3, .read_only = true};
	assert_int_equal(volume_open(&vo, &rig->v, NULL), 0);
	for (unsigned page = 0; page < 40; page++)
		flip(rig, "d0", layout.db_offset + page * PAGE + 9);
	assert_int_equal(volume_close(rig->v), 0);
	rig->v = NULL;
	mount_told(rig, &told);
	char name[300];
	for (unsigned i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "%0200u", i);
		assert_int_equal(rig_lookup(rig, FS_ROOT_INO, name, 0), 0);
	}
	assert_true(told.count > 10);
	assert_int_equal(told.last.member, 0);
	(void)scrub(rig, true);
	assert_int_equal(scrub(rig, false).damaged, 0);
	rig_free(rig);
}

static void a_header_is_mended_when_the_volume_is_opened(void **unused)
{
	(void)unused;
	struct area_layout layout;
	struct told told;
	struct rig *rig = new_rig(&layout);
	struct volume_open_options vo = {
		.factory = &rig->factory, .paths = rig_names, .count = 3, .read_only = true};
	assert_int_equal(volume_open(&vo, &rig->v, NULL), 0);
	/* The second copy is gone everywhere, the first one on one member. */
	for (unsigned i = 0; i < 3; i++)
		flip(rig, rig_names[i], AREA_HEADER_BYTES + 50);
	flip(rig, "d2", 20);
	assert_int_equal(volume_close(rig->v), 0);
	rig->v = NULL;
	mount_told(rig, &told);
	assert_int_equal(told.count, 4);
	assert_string_equal(told.last.what, "header");
	rig_remount(rig);
	struct scrub_area area = scrub(rig, false);
	assert_int_equal(area.damaged + area.lost, 0);
	rig_free(rig);
}

static void a_page_that_is_right_nowhere_is_lost_and_said_so(void **unused)
{
	(void)unused;
	struct area_layout layout;
	struct told told;
	struct rig *rig = new_rig(&layout);
	mount_told(rig, &told);
	for (unsigned i = 0; i < 3; i++)
		flip(rig, rig_names[i], layout.db_offset + 12 * PAGE);
	struct scrub_area area = scrub(rig, true);
	assert_int_equal(area.lost, 1);
	assert_int_equal(area.repaired, 0);
	assert_int_equal(told.last.kind, EVENT_UNREPAIRABLE);
	assert_int_equal(told.last.error, -EUCLEAN);
	rig_free(rig);
}

/* A member that did not store a page has the page of before, which fits its seal. */
static void a_copy_that_missed_a_write_is_told(void **unused)
{
	(void)unused;
	struct area_layout layout;
	struct told told;
	struct rig *rig = new_rig(&layout);
	uint8_t old[PAGE];
	mount_told(rig, &told);
	uint64_t at = offset_of(rig, layout.db_offset);
	assert_int_equal(sim_disk_peek(rig->world, "d1", at, old, PAGE), 0);
	for (unsigned i = 0; i < 600; i++) {
		char name[300];
		snprintf(name, sizeof(name), "more-%0200u", i);
		rig_create(rig, FS_ROOT_INO, name);
	}
	rig_remount(rig);
	assert_int_equal(sim_disk_poke(rig->world, "d1", at, old, PAGE), 0);
	struct scrub_area area = scrub(rig, false);
	assert_int_equal(area.differing, 1);
	assert_int_equal(area.wrong[1], 1);
	assert_int_equal(scrub(rig, true).repaired, 1);
	assert_int_equal(scrub(rig, false).differing, 0);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sound_area_has_no_findings),
		cmocka_unit_test(a_scrub_finds_a_page_that_nobody_reads),
		cmocka_unit_test(a_page_that_is_read_is_written_back_at_once),
		cmocka_unit_test(a_header_is_mended_when_the_volume_is_opened),
		cmocka_unit_test(a_page_that_is_right_nowhere_is_lost_and_said_so),
		cmocka_unit_test(a_copy_that_missed_a_write_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
