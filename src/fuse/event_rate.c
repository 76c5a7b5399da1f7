/* SPDX-License-Identifier: MIT */
/* The rate limit of mutation events: a small table of seconds, by pid. */
#include "fuse/event_rate.h"

#include <stddef.h>
#include <string.h>
#include "base/block.h"
#include "base/clock.h"

#define PROBES 8u /* places that a pid may have */

void event_rate_init(struct event_rate *r, unsigned limit)
{
	memset(r, 0, sizeof(*r));
	r->limit = limit;
	r->due_ns = UINT64_MAX;
}

static bool is_over(const struct event_rate_second *s, uint64_t now_ns)
{
	return !s->begun_ns || now_ns >= s->begun_ns + NS_PER_S;
}

/* That of @pid; else a place that nobody needs any more; else the shared one. */
static struct event_rate_second *second_of(struct event_rate *r, pid_t pid, uint64_t now_ns)
{
	struct event_rate_second *unused = NULL;
	for (unsigned i = 0; i < PROBES; i++) {
		struct event_rate_second *s =
			&r->seconds[((unsigned)pid + i) % EVENT_RATE_PROCESSES];
		if (s->pid == pid && s->begun_ns)
			return s;
		if (!unused && is_over(s, now_ns) && !s->dropped)
			unused = s;
	}
	if (!unused)
		return &r->shared;
	*unused = (struct event_rate_second){.pid = pid};
	return unused;
}

bool event_rate_admit(struct event_rate *r, pid_t pid, uint64_t now_ns)
{
	struct event_rate_second *s = second_of(r, pid, now_ns);
	if (is_over(s, now_ns)) {
		s->begun_ns = now_ns;
		s->passed = 0;
	}
	if (s->passed < r->limit) {
		s->passed++;
		return true;
	}
	if (!s->dropped++)
		s->due_ns = s->begun_ns + NS_PER_S;
	r->due_ns = min_u64(r->due_ns, s->due_ns);
	return false;
}

bool event_rate_take(struct event_rate *r, uint64_t now_ns, bool all, struct event_rate_drop *out)
{
	if (!all && now_ns < r->due_ns)
		return false;
	uint64_t next_ns = UINT64_MAX;
	for (unsigned i = 0; i <= EVENT_RATE_PROCESSES; i++) {
		struct event_rate_second *s = i ? &r->seconds[i - 1] : &r->shared;
		if (!s->dropped)
			continue;
		if (all || now_ns >= s->due_ns) {
			*out = (struct event_rate_drop){s->pid, s->dropped};
			s->dropped = 0;
			return true;
		}
		next_ns = min_u64(next_ns, s->due_ns);
	}
	r->due_ns = next_ns;
	return false;
}
