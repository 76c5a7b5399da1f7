/* SPDX-License-Identifier: MIT */
/* Times as values. */
#include "fs/times.h"

#include "base/clock.h"

#define SECOND ((int64_t)NS_PER_S)
#define DAY    (86400 * SECOND)

int64_t times_from(struct timespec ts)
{
	int64_t ns;
	if (__builtin_mul_overflow((int64_t)ts.tv_sec, SECOND, &ns) ||
		__builtin_add_overflow(ns, (int64_t)ts.tv_nsec, &ns))
		return ts.tv_sec < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

struct timespec times_to(int64_t ns)
{
	int64_t sec = ns / SECOND, rest = ns % SECOND;
	if (rest < 0) {
		sec--;
		rest += SECOND;
	}
	return (struct timespec){.tv_sec = sec, .tv_nsec = rest};
}

bool times_atime_is_due(enum fs_atime rule, const struct times *t, int64_t now)
{
	if (rule != FS_ATIME_RELATIVE)
		return rule == FS_ATIME_STRICT && now != t->atime;
	if (t->atime <= t->mtime || t->atime <= t->ctime)
		return true;
	int64_t age;
	bool after = !__builtin_sub_overflow(now, t->atime, &age);
	return after ? age >= DAY : now > t->atime;
}
