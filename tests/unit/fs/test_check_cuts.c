/* SPDX-License-Identifier: MIT */
/* What a power cut leaves is no damage: the checker finds nothing, before anybody mounts it. */
#include "check_rig.h"

#define ROUNDS 120u

static void change(struct rig *rig, struct random *r)
{
	static uint8_t data[20000];
	char name[300];
	struct stat st;
	unsigned n = random_below(r, 40);
	snprintf(name, sizeof(name), "%0*u", 10 + (int)(n % 7) * 30, n);
	uint64_t parent = random_below(r, 2) ? FS_ROOT_INO : DIR_INO;
	switch (random_below(r, 10)) {
	case 0:
		(void)fs_unlink(rig->fs, parent, name);
		break;
	case 1:
		(void)fs_rename(rig->fs, parent, name, DIR_INO, "moved", 0);
		break;
	case 2:
		(void)fs_mknod(rig->fs, parent, name, S_IFDIR | 0755, 0, &rig_owner, &st);
		break;
	case 3:
		(void)fs_rmdir(rig->fs, parent, name);
		break;
	case 4:
		(void)fs_sync(rig->fs);
		break;
	case 5:
		(void)fs_link(rig->fs, FILE_INO, parent, name, &st);
		break;
	default:
		if (fs_mknod(rig->fs, parent, name, S_IFREG | 0644, 0, &rig_owner, &st) == 0) {
			(void)fs_write(rig->fs, st.st_ino, random_below(r, 50000), data,
				random_below(r, sizeof(data)));
			fs_forget(rig->fs, st.st_ino, random_below(r, 2));
		}
	}
}

static void after_every_power_cut_the_file_system_is_clean(void **unused)
{
	(void)unused;
	struct random r = random_start(__func__, 4711);
	struct check_rig *k = check_rig_new();
	for (unsigned round = 0; round < ROUNDS; round++) {
		rig_mount(k->rig);
		sim_world_cut_power_after(k->rig->world, random_below(&r, 200));
		for (unsigned i = 0; i < 60 && !sim_world_power_is_cut(k->rig->world); i++)
			change(k->rig, &r);
		sim_world_cut_power_after(k->rig->world, 0);
		(void)rig_unmount(k->rig);
		sim_world_reboot(k->rig->world);
		check_rig_run(k, false);
		if (k->result.problems)
			fail_msg("round %u:\n%s", round, k->text);
		if (round % 8 == 7)
			check_rig_run(k, true);
		assert_int_equal(k->result.problems, 0);
	}
	check_rig_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(after_every_power_cut_the_file_system_is_clean),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
