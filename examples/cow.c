/* SPDX-License-Identifier: MIT */
/* Copy-on-write in flight: submit, use the buffer for something else at once, and the file gets the
 * bytes of the submission. Nothing is copied but the pages that are touched in time. */
#include "scratch.h"

#define LEN (1 << 20)

int main(void)
{
	struct stablefs_file *f;
	struct stablefs *v = scratch_open(&f);
	struct stablefs_stats stats;
	struct stablefs_scrub_result scrub;
	unsigned char *buffer = scratch_buffer(LEN), *back = scratch_buffer(LEN);
	int wrong = 0;

	if (stablefs_cow_missing(v))
		printf("no cow here, so these are bounced: %s\n", stablefs_cow_missing(v));
	for (int i = 0; i < 20; i++) {
		struct stablefs_io io = {
			.file = f, .buffer = buffer, .len = LEN, .policy = STABLEFS_COW};
		memset(buffer, 'A' + i, LEN);
		if (stablefs_write(&io) < 0)
			errx(1, "write");
		/* In flight: this store gets a page of its own. */
		buffer[LEN / 2] = '!';
		if (stablefs_wait(&io) != LEN || stablefs_pread(f, back, LEN, 0) != LEN)
			errx(1, "transfer");
		wrong += back[LEN / 2] != 'A' + i || buffer[LEN / 2] != '!';
	}
	stablefs_stats(v, &stats);
	if (stablefs_scrub(v, NULL, &scrub) < 0)
		errx(1, "scrub");
	printf("20 writes of 1 MiB, each stored into in flight: %d with wrong bytes, damage %llu\n",
		wrong, (unsigned long long)scrub.damage);
	printf("held %llu, bounced %llu; pages copied: %llu of %d\n",
		(unsigned long long)stats.cow_held, (unsigned long long)stats.cow_bounced,
		(unsigned long long)stats.cow_pages_copied, 20 * LEN / 4096);
	free(buffer);
	free(back);
	scratch_close(v, f);
	return wrong == 0 && scrub.damage == 0 ? 0 : 1;
}
