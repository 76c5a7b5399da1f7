/* SPDX-License-Identifier: MIT */
/* A promise instead of a copy: a program that never touches a buffer in flight (a database that
 * latches its pages) says so, write by write. Nothing is copied or checked, and the volume keeps
 * count of what it took on trust. */
#include "scratch.h"

#define LEN   65536
#define DEPTH 8

int main(void)
{
	struct stablefs_file *f;
	struct stablefs *v = scratch_open(&f);
	struct stablefs_io ios[DEPTH] = {0}, *done[DEPTH];
	struct stablefs_stats stats;
	struct stablefs_scrub_result scrub;
	int written = 0;

	for (int i = 0; i < DEPTH; i++) {
		ios[i] = (struct stablefs_io){.file = f,
			.offset = (uint64_t)i * LEN,
			.buffer = scratch_buffer(LEN),
			.len = LEN,
			.flags = STABLEFS_TRUSTED};
		if (stablefs_write(&ios[i]) < 0)
			errx(1, "write");
	}
	while (written < DEPTH) {
		int n = stablefs_reap(v, done, DEPTH, -1);
		for (int i = 0; i < n; i++) {
			if (done[i]->result != LEN)
				errx(1, "write failed");
			free(done[i]->buffer); /* ours again */
		}
		written += n;
	}
	stablefs_stats(v, &stats);
	if (stablefs_scrub(v, NULL, &scrub) < 0)
		errx(1, "scrub");
	printf("%d writes, %llu on trust, %llu bytes copied, damage %llu\n", written,
		(unsigned long long)stats.trusted, (unsigned long long)stats.copied_bytes,
		(unsigned long long)scrub.damage);
	scratch_close(v, f);
	return stats.trusted == DEPTH && stats.copied_bytes == 0 && scrub.damage == 0 ? 0 : 1;
}
