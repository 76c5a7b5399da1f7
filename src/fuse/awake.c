/* SPDX-License-Identifier: MIT */
/* Asking that processors stay awake, and no more. */
#include "fuse/awake.h"

#include <fcntl.h>
#include <unistd.h>

/* How long a processor may take to rise, in microseconds, as it lies in memory. */
static bool ask(const struct awake *a, int32_t us)
{
	return write(a->fd, &us, sizeof(us)) == sizeof(us);
}

void awake_init(struct awake *a, const char *device)
{
	*a = (struct awake){.fd = device ? open(device, O_WRONLY | O_CLOEXEC) : -1};
}

void awake_fini(struct awake *a)
{
	if (a->fd >= 0)
		close(a->fd);
}

bool awake_tick(struct awake *a, uint64_t requests)
{
	bool many = requests - a->seen >= AWAKE_REQUESTS;
	a->seen = requests;
	a->calm_ticks = many ? 0 : a->calm_ticks + 1;
	if (a->fd < 0)
		return false;
	if (many && !a->held) {
		a->held = ask(a, 0);
		return a->held;
	}
	if (a->held && a->calm_ticks >= AWAKE_TICKS)
		a->held = !ask(a, INT32_MAX);
	return false;
}
