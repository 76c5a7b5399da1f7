/* SPDX-License-Identifier: MIT */
/* Does my program change its buffers in flight? Under detect it can do so without harm, and each
 * case is an event that says where. */
#include "scratch.h"

#define LEN 65536

int main(void)
{
	struct stablefs_file *f;
	struct stablefs *v = scratch_open(&f);
	struct stablefs_event *event = calloc(1, sizeof(*event));
	struct stablefs_scrub_result scrub;
	struct storing storing;
	unsigned char *buffer = scratch_buffer(LEN);
	unsigned writes = 0, seen = 0;

	if (!event)
		errx(1, "out of memory");
	for (; writes < 100; writes++)
		if (stablefs_pwrite(f, buffer, LEN, 0, STABLEFS_DETECT) != LEN)
			errx(1, "write");
	if (stablefs_event_next(v, event, 0))
		errx(1, "a still buffer is said to have changed");
	printf("%u writes of a still buffer: no event\n", writes);

	storing_start(&storing, buffer, LEN);
	for (writes = 0; writes < 2000 && !seen; writes++) {
		if (stablefs_pwrite(f, buffer, LEN, 0, STABLEFS_DETECT) != LEN)
			errx(1, "write");
		seen = stablefs_event_next(v, event, 0) > 0;
	}
	storing_stop(&storing);
	printf("write %u while a thread stores: %s, %u bytes changed from byte %u on; %s\n", writes,
		event->path, event->changed_bytes, event->first_changed,
		event->what ? event->what : "nothing");
	if (stablefs_scrub(v, NULL, &scrub) < 0)
		errx(1, "scrub");
	printf("damage %llu\n", (unsigned long long)scrub.damage);
	free(event);
	free(buffer);
	scratch_close(v, f);
	return seen && scrub.damage == 0 ? 0 : 1;
}
