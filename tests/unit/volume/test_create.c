/* SPDX-License-Identifier: MIT */
/* Making volumes: in the simulated world, and as files in a directory. */
#include "rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/endian.h"
#include "io/uring.h"
#include "volume/create_shape.h"

/* ---- the shape: pure ---- */

static void the_system_area_grows_with_the_volume(void **unused)
{
	(void)unused;
	static const struct {
		uint64_t data, system;
	} rows[] = {{16, 8}, {64, 8}, {128, 16}, {511, 64}, {512, 64}, {1024, 64}, {4096, 256},
		{1048576, 16384}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal((shape_default_system_bytes(rows[i].data * MIB) + MIB - 1) / MIB,
			rows[i].system);
	uint64_t before = 0;
	for (uint64_t data = 16; data < 3000; data += 7) {
		uint64_t bytes = shape_default_system_bytes(data * MIB);
		assert_true(bytes >= before); /* the search by halves relies on it */
		before = bytes;
	}
}

static void a_volume_holds_at_least_what_was_asked_for(void **unused)
{
	(void)unused;
	for (uint64_t size = 16 * MIB; size < 40 * MIB; size += 1234567) {
		struct volume_create_options o = rig_options(RAID_RAID5, 5, PI_T10);
		struct super s;
		o.size_bytes = size;
		assert_int_equal(shape_begin(&o, &s, NULL), 0);
		assert_int_equal(shape_finish(&o, 0, &s, NULL), 0);
		uint64_t holds = s.stripes * 4 * RIG_CHUNK;
		assert_in_range(holds, size, size + 4 * RIG_CHUNK - 1);
	}
}

static void a_volume_without_a_size_fills_its_members(void **unused)
{
	(void)unused;
	for (uint64_t member = 64 * MIB; member < 3000 * MIB; member += 97 * MIB + 12345) {
		struct volume_create_options o = rig_options(RAID_RAID5, 3, PI_CRC32C);
		struct super s;
		o.size_bytes = o.system_bytes = 0;
		assert_int_equal(shape_begin(&o, &s, NULL), 0);
		assert_int_equal(shape_finish(&o, member, &s, NULL), 0);
		assert_true(s.member_bytes <= member);
		uint64_t stripes = s.stripes;
		o.size_bytes = (stripes + 80) * 2 * RIG_CHUNK; /* more than a step of any area */
		assert_int_equal(shape_finish(&o, member, &s, NULL), 0);
		assert_true(s.member_bytes > member);
	}
}

static void options_that_make_no_sense_are_refused(void **unused)
{
	(void)unused;
	static const struct {
		enum raid_level level;
		unsigned members;
		uint64_t size, chunk;
		enum pi_type pi;
		enum pi_check check;
		const char *label, *word;
	} rows[] = {
		{RAID_RAID5, 2, 0, 65536, PI_NONE, PI_CHECK_NONE, NULL, "raid5 has 3"},
		{RAID_SINGLE, 2, 0, 65536, PI_NONE, PI_CHECK_NONE, NULL, "single"},
		{RAID_RAID1, 2, 1 << 20, 65536, PI_NONE, PI_CHECK_NONE, NULL, "16 MiB"},
		{RAID_RAID1, 2, 0, 65535, PI_NONE, PI_CHECK_NONE, NULL, "chunk"},
		{RAID_RAID1, 2, 0, 3 * 4096, PI_NONE, PI_CHECK_NONE, NULL, "chunk"},
		{RAID_RAID1, 2, 0, 2 << 20, PI_NONE, PI_CHECK_NONE, NULL, "chunk"},
		{RAID_RAID1, 2, 0, UINT64_C(1) << 60, PI_NONE, PI_CHECK_NONE, NULL, "chunk"},
		{RAID_RAID1, 2, 0, 65536, PI_NONE, PI_CHECK_DEVICE, NULL, "without PI"},
		{RAID_RAID1, 2, 0, 65536, PI_T10, PI_CHECK_NONE,
			"a name that is far longer than a label", "label"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct volume_create_options o = {.level = rows[i].level,
			.members = rows[i].members,
			.size_bytes = rows[i].size,
			.chunk_bytes = rows[i].chunk,
			.pi = rows[i].pi,
			.pi_check = rows[i].check,
			.label = rows[i].label};
		struct super s;
		struct errmsg why = {0};
		assert_int_equal(shape_begin(&o, &s, &why), -EINVAL);
		if (!strstr(why.text, rows[i].word))
			fail_msg("'%s' does not speak of '%s'", why.text, rows[i].word);
	}
}

static void members_that_are_too_small_are_refused(void **unused)
{
	(void)unused;
	struct volume_create_options o = rig_options(RAID_RAID1, 2, PI_NONE);
	struct super s;
	struct errmsg why = {0};
	o.size_bytes = 0;
	assert_int_equal(shape_begin(&o, &s, NULL), 0);
	assert_int_equal(shape_finish(&o, 20 * MIB, &s, &why), -ENOSPC);
	assert_non_null(strstr(why.text, "too small"));
}

/* ---- the simulated world ---- */

static void a_volume_is_not_overwritten_without_force(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(RAID_RAID1, 2, PI_NONE);
	struct super before = rig_super(rig, "d1");
	char *const names[] = {(char *)"fresh", rig_names[1]};
	assert_int_equal(volume_create(&rig->factory, names, 2, &rig->create, &rig->why), -EEXIST);
	assert_non_null(strstr(rig->why.text, "d1 holds a member of a stablefs volume"));
	struct super after = rig_super(rig, "d1");
	assert_memory_equal(before.volume_uuid, after.volume_uuid, 16);
	assert_int_equal(sim_disk_peek(rig->world, "fresh", 0, &after, 1), -ENOENT);
	rig->create.force = true;
	rig->create.label = "second";
	assert_int_equal(volume_create(&rig->factory, names, 2, &rig->create, NULL), 0);
	assert_string_equal(rig_super(rig, "d1").label, "second");
	assert_memory_not_equal(before.volume_uuid, rig_super(rig, "d1").volume_uuid, 16);
	rig_free(rig);
}

static void a_new_volume_on_used_disks_reads_as_zeros(void **unused)
{
	(void)unused;
	static const uint8_t zeros[4096];
	uint8_t buf[4096];
	for (enum pi_type pi = PI_NONE; pi <= PI_T10; pi++) {
		struct rig *rig = rig_new(RAID_RAID5, 3, pi);
		rig_open(rig);
		assert_int_equal(rig_write(rig, 0, 65536, 1), 0);
		assert_int_equal(sysarea_write(volume_sysarea(rig->v), 0, "old", 3), 0);
		assert_int_equal(rig_close(rig), 0);
		rig->create.force = true;
		assert_int_equal(
			volume_create(&rig->factory, rig_names, 3, &rig->create, &rig->why), 0);
		rig_open(rig);
		assert_int_equal(volume_read(rig->v, 8192, buf, sizeof(buf)), 0);
		assert_memory_equal(buf, zeros, sizeof(buf));
		assert_int_equal(sysarea_read(volume_sysarea(rig->v), 0, buf, sizeof(buf)), 0);
		assert_memory_equal(buf, zeros, sizeof(buf));
		rig_free(rig);
	}
}

/* Where the superblocks were all written, everything else was before. */
static void a_power_cut_during_creation_leaves_a_whole_volume_or_none(void **unused)
{
	(void)unused;
	bool cut = true, was_none = false;
	unsigned n = 0;
	for (; cut; n++) {
		struct rig rig = {.world = sim_world_new(RIG_SEED + n), .members = 2};
		struct volume_create_options o = rig_options(RAID_RAID1, 2, PI_T10);
		struct scrub_result result;
		rig.factory = sim_factory(rig.world);
		sim_world_cut_power_after(rig.world, n);
		(void)volume_create(&rig.factory, rig_names, 2, &o, NULL);
		cut = sim_world_power_is_cut(rig.world);
		sim_world_reboot(rig.world);
		int err = rig_open_with(&rig, (struct volume_open_options){0});
		was_none |= err < 0;
		assert_true(err == 0 || cut);
		if (err == 0) {
			assert_int_equal(volume_missing(rig.v), 0);
			assert_int_equal(volume_scrub(rig.v, false, NULL, NULL, &result), 0);
			assert_int_equal(result.damage_count, 0);
			scrub_result_free(&result);
			assert_int_equal(rig_close(&rig), 0);
		}
		sim_world_free(rig.world);
	}
	assert_true(n > 4 && was_none);
}

static void an_error_of_one_disk_takes_the_superblocks_of_the_others_back(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(RAID_RAID1, 2, PI_NONE);
	char *const names[] = {(char *)"n0", (char *)"n1"};
	struct sim_fault fault = {.kind = SIM_WRITE_ERROR,
		.name = "n1",
		.offset_bytes = SUPER_A_OFFSET,
		.len_bytes = SUPER_BYTES,
		.count = 1,
		.per_mille = 1000};
	sim_world_arm(rig->world, &fault);
	assert_int_equal(volume_create(&rig->factory, names, 2, &rig->create, &rig->why), -EIO);
	assert_non_null(strstr(rig->why.text, "n1"));
	struct volume_open_options o = {.paths = names, .count = 2};
	rig_refuses(rig, o, -EINVAL, "n0 is not a member", "");
	rig_free(rig);
}

/* ---- files ---- */

struct place {
	char dir[64], inner[80];
};

static struct place place_new(void)
{
	struct place p = {.dir = "/var/tmp/stablefs-test-XXXXXX"};
	assert_non_null(mkdtemp(p.dir));
	snprintf(p.inner, sizeof(p.inner), "%s/v", p.dir);
	return p;
}

static char *path_in(const struct place *p, const char *name)
{
	char *path;
	assert_true(asprintf(&path, "%s/%s", p->dir, name) > 0);
	return path;
}

static void place_free(const struct place *p)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", p->dir);
	assert_int_equal(system(command), 0);
}

static int create_at(
	char *const *args, unsigned count, struct volume_create_options o, struct errmsg *why)
{
	why->text[0] = '\0';
	return volume_create(&uring_factory, args, count, &o, why);
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static void a_directory_is_made_and_filled_with_members(void **unused)
{
	(void)unused;
	struct place p = place_new();
	struct errmsg why;
	char *const args[] = {p.inner};
	struct volume_paths found;
	assert_int_equal(create_at(args, 1, rig_options(RAID_RAID5, 3, PI_T10), &why), 0);
	assert_int_equal(volume_paths_find(args, 1, &found, &why), 0);
	assert_int_equal(found.count, 3);
	char *want = path_in(&p, "v/member-2");
	assert_string_equal(found.paths[2], want);
	free(want);
	volume_paths_free(&found);
	place_free(&p);
}

static void members_in_a_directory_are_refused_and_overwritten_by_force(void **unused)
{
	(void)unused;
	struct place p = place_new();
	struct errmsg why;
	char *const args[] = {p.inner};
	struct volume_create_options o = rig_options(RAID_RAID5, 3, PI_NONE);
	assert_int_equal(create_at(args, 1, o, &why), 0);
	assert_int_equal(create_at(args, 1, o, &why), -EEXIST);
	assert_non_null(strstr(why.text, "exists already"));
	o.force = true;
	assert_int_equal(create_at(args, 1, o, &why), 0);
	struct volume_create_options fewer = rig_options(RAID_RAID1, 2, PI_NONE);
	fewer.force = true;
	assert_int_equal(create_at(args, 1, fewer, &why), -EEXIST);
	assert_non_null(strstr(why.text, "member-2"));
	place_free(&p);
}

static void a_creation_that_fails_removes_the_files_that_it_made(void **unused)
{
	(void)unused;
	struct place p = place_new();
	struct errmsg why;
	char *ok = path_in(&p, "ok"), *bad = path_in(&p, "no-such-directory/x");
	char *const args[] = {ok, bad};
	assert_int_equal(create_at(args, 2, rig_options(RAID_RAID1, 2, PI_NONE), &why), -ENOENT);
	assert_non_null(strstr(why.text, bad));
	assert_false(exists(ok));
	char *const nested[] = {bad};
	assert_int_equal(create_at(nested, 1, rig_options(RAID_RAID1, 2, PI_NONE), &why), -ENOENT);
	assert_non_null(strstr(why.text, "cannot make the directory"));
	free(ok);
	free(bad);
	place_free(&p);
}

static void make_file(const char *path, uint64_t size)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

/* The header of a swap area, the smallest thing that libblkid knows. */
static void make_swap(const char *path)
{
	uint8_t page[4096] = {0};
	put_le32(page + 1024, 1);
	put_le32(page + 1028, 10000);
	memset(page + 1036, 7, 16);
	memcpy(page + 4086, "SWAPSPACE2", 10);
	int fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, page, sizeof(page), 0), sizeof(page));
	close(fd);
}

static void a_file_with_foreign_content_is_refused_by_its_name(void **unused)
{
	(void)unused;
	struct place p = place_new();
	struct errmsg why;
	char *a = path_in(&p, "a"), *b = path_in(&p, "b");
	char *const args[] = {a, b};
	make_file(a, 64 * MIB);
	make_file(b, 64 * MIB);
	make_swap(b);
	struct volume_create_options o = rig_options(RAID_RAID1, 2, PI_NONE);
	assert_int_equal(create_at(args, 2, o, &why), -EEXIST);
	assert_non_null(strstr(why.text, b));
	assert_non_null(strstr(why.text, "swap"));
	o.force = true;
	assert_int_equal(create_at(args, 2, o, &why), 0);
	free(a);
	free(b);
	place_free(&p);
}

static void files_that_are_there_keep_their_size_where_none_is_asked_for(void **unused)
{
	(void)unused;
	struct place p = place_new();
	struct errmsg why;
	char *a = path_in(&p, "a"), *b = path_in(&p, "b");
	char *const args[] = {a, b};
	struct stat st;
	struct volume_create_options o = rig_options(RAID_RAID1, 2, PI_T10);
	o.size_bytes = 0;
	assert_int_equal(create_at(args, 2, o, &why), -EINVAL);
	assert_non_null(strstr(why.text, "--size"));
	make_file(a, 64 * MIB);
	make_file(b, 80 * MIB);
	assert_int_equal(create_at(args, 2, o, &why), 0);
	assert_int_equal(stat(a, &st), 0);
	assert_int_equal(st.st_size, 64 * MIB);
	struct volume_open_options open = {.factory = &uring_factory, .paths = args, .count = 2};
	struct volume *v = NULL;
	if (volume_open(&open, &v, &why) < 0)
		fail_msg("%s", why.text);
	assert_in_range(volume_blocks(v) * BLOCK_BYTES, 50 * MIB, 56 * MIB);
	assert_int_equal(volume_close(v), 0);
	free(a);
	free(b);
	place_free(&p);
}

static void a_list_must_have_as_many_members_as_the_volume(void **unused)
{
	(void)unused;
	struct place p = place_new();
	struct errmsg why;
	char *a = path_in(&p, "a");
	char *const args[] = {a, p.dir};
	assert_int_equal(create_at(args, 2, rig_options(RAID_RAID5, 3, PI_NONE), &why), -EINVAL);
	assert_non_null(strstr(why.text, "2 members were given for a volume of 3"));
	assert_int_equal(create_at(args, 2, rig_options(RAID_RAID1, 2, PI_NONE), &why), -EINVAL);
	assert_non_null(strstr(why.text, "is a directory"));
	free(a);
	place_free(&p);
}

/* ---- devices ---- */

/* Make @path a loop device, whose name goes to @device; false where that cannot be had here. */
static bool loop_attach(const char *path, char device[32])
{
	char command[160];
	snprintf(command, sizeof(command), "losetup --find --show '%s' 2>/dev/null", path);
	FILE *out = geteuid() == 0 ? popen(command, "r") : NULL;
	if (!out)
		return false;
	bool got = fgets(device, 32, out) != NULL;
	pclose(out);
	device[strcspn(device, "\n")] = '\0';
	return got;
}

static void loop_detach(const char *device)
{
	char command[64];
	snprintf(command, sizeof(command), "losetup -d %s", device);
	assert_int_equal(system(command), 0);
}

static void make_junk_file(const char *path, uint64_t size)
{
	uint8_t *junk = malloc(size);
	memset(junk, 0xa5, size);
	int fd = open(path, O_CREAT | O_WRONLY | O_EXCL, 0600);
	assert_int_equal(write(fd, junk, size), size);
	close(fd);
	free(junk);
}

static void count_zeroed(void *ctx, uint64_t done, uint64_t total)
{
	assert_true(done <= total);
	*(uint64_t *)ctx = total - done;
}

static void device_reads_zeros(char *const *args)
{
	uint8_t buf[4096], zeros[4096] = {0};
	struct errmsg why = {0};
	struct volume_open_options open = {.factory = &uring_factory, .paths = args, .count = 1};
	struct volume *v = NULL;
	if (volume_open(&open, &v, &why) < 0)
		fail_msg("%s", why.text);
	assert_int_equal(volume_read(v, volume_blocks(v) * 2048, buf, sizeof(buf)), 0);
	assert_memory_equal(buf, zeros, sizeof(buf));
	assert_int_equal(sysarea_read(volume_sysarea(v), 8192, buf, sizeof(buf)), 0);
	assert_memory_equal(buf, zeros, sizeof(buf));
	assert_int_equal(volume_close(v), 0);
}

static void a_device_full_of_junk_becomes_a_volume_of_zeros(void **unused)
{
	(void)unused;
	struct place p = place_new();
	char *file = path_in(&p, "disk"), device[32];
	make_junk_file(file, 48 * MIB);
	bool attached = loop_attach(file, device);
	for (enum pi_type pi = PI_NONE; attached && pi <= PI_T10; pi++) {
		char *const args[] = {device};
		struct errmsg why;
		uint64_t left = 1;
		struct volume_create_options o = rig_options(RAID_SINGLE, 1, pi);
		o.size_bytes = 0;
		o.progress = count_zeroed;
		o.progress_ctx = &left;
		o.force = pi != PI_NONE; /* over the first one */
		if (create_at(args, 1, o, &why) < 0)
			fail_msg("%s", why.text);
		assert_int_equal(left, 0);
		device_reads_zeros(args);
	}
	if (attached)
		loop_detach(device);
	free(file);
	place_free(&p);
	if (!attached)
		skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_system_area_grows_with_the_volume),
		cmocka_unit_test(a_volume_holds_at_least_what_was_asked_for),
		cmocka_unit_test(a_volume_without_a_size_fills_its_members),
		cmocka_unit_test(options_that_make_no_sense_are_refused),
		cmocka_unit_test(members_that_are_too_small_are_refused),
		cmocka_unit_test(a_volume_is_not_overwritten_without_force),
		cmocka_unit_test(a_new_volume_on_used_disks_reads_as_zeros),
		cmocka_unit_test(a_power_cut_during_creation_leaves_a_whole_volume_or_none),
		cmocka_unit_test(an_error_of_one_disk_takes_the_superblocks_of_the_others_back),
		cmocka_unit_test(a_directory_is_made_and_filled_with_members),
		cmocka_unit_test(members_in_a_directory_are_refused_and_overwritten_by_force),
		cmocka_unit_test(a_creation_that_fails_removes_the_files_that_it_made),
		cmocka_unit_test(a_file_with_foreign_content_is_refused_by_its_name),
		cmocka_unit_test(files_that_are_there_keep_their_size_where_none_is_asked_for),
		cmocka_unit_test(a_list_must_have_as_many_members_as_the_volume),
		cmocka_unit_test(a_device_full_of_junk_becomes_a_volume_of_zeros),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
