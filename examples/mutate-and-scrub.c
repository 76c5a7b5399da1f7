/* SPDX-License-Identifier: MIT */
/* The damage: a thread stores into the buffer of writes that are in flight.
 *
 * With zerocopy the parity of a stripe is made of other bytes than the members store. The file
 * itself reads back something; but when a member fails, *other* data of these stripes would be
 * rebuilt from a wrong parity. With bounce the same program does no harm. */
#include "scratch.h"

#define LEN 65536

static uint64_t damage_after(
	struct stablefs *v, struct stablefs_file *f, enum stablefs_policy policy)
{
	struct stablefs_scrub_options repair = {.repair = true};
	struct stablefs_scrub_result found, ignored;
	struct storing storing;
	unsigned char *buffer = scratch_buffer(LEN);
	storing_start(&storing, buffer, LEN);
	for (int i = 0; i < 100; i++)
		if (stablefs_pwrite(f, buffer, LEN, 0, policy) != LEN)
			errx(1, "write");
	storing_stop(&storing);
	free(buffer);
	if (stablefs_scrub(v, NULL, &found) < 0 || stablefs_scrub(v, &repair, &ignored) < 0)
		errx(1, "scrub");
	printf("%-8s after 100 writes of 64 KiB: %llu parity rows wrong, %llu bad guards\n",
		stablefs_policy_name(policy), (unsigned long long)found.parity_mismatches,
		(unsigned long long)found.guard_mismatches);
	return found.damage;
}

int main(void)
{
	struct stablefs_file *f;
	struct stablefs *v = scratch_open(&f);
	uint64_t zerocopy = 0;
	for (int i = 0; i < 100 && !zerocopy; i++)
		zerocopy = damage_after(v, f, STABLEFS_ZEROCOPY);
	uint64_t bounce = damage_after(v, f, STABLEFS_BOUNCE);
	scratch_close(v, f);
	return zerocopy > 0 && bounce == 0 ? 0 : 1;
}
