/* SPDX-License-Identifier: MIT */
/* The table of processes that are not looked at for a while.
 *
 * Which process a thread belongs to is asked of the kernel only where the table is not empty: a
 * signal number of 0 to "this thread of this process" tells it in one cheap call (tgkill(2)). */
#include "inflight/penalty.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "inflight/live_procfs.h"

static struct penalty *find(struct penalties *p, pid_t tgid)
{
	for (unsigned i = 0; i < p->count; i++)
		if (p->rows[i].tgid == tgid)
			return &p->rows[i];
	return NULL;
}

/* A row for one more: a free one, else that which would be the first to end. */
static struct penalty *find_room(struct penalties *p)
{
	if (p->count < PENALTY_ROWS)
		return &p->rows[p->count++];
	struct penalty *first = NULL;
	for (unsigned i = 0; i < p->count; i++) {
		struct penalty *row = &p->rows[i];
		if (!row->hanging && (!first || row->until_ns < first->until_ns))
			first = row;
	}
	return first;
}

pid_t penalty_hang(struct penalties *p, pid_t tid, uint64_t now_ns)
{
	struct event_writer who = {.pid = tid};
	(void)procfs_read_writer(tid, &who); /* gone: then the thread stands for its process */
	struct penalty *row = find(p, who.pid);
	if (!row) {
		row = find_room(p);
		*row = (struct penalty){.tgid = who.pid};
	}
	row->hanging++;
	row->until_ns = now_ns + SAMPLER_PENALTY_NS;
	return who.pid;
}

void penalty_unhang(struct penalties *p, pid_t tgid)
{
	struct penalty *row = find(p, tgid);
	if (row)
		row->hanging--;
}

static bool is_of_process(pid_t tid, pid_t tgid)
{
	/* EPERM: it is, and we may not send it a signal. */
	return tid == tgid || syscall(SYS_tgkill, tgid, tid, 0) == 0 || errno == EPERM;
}

bool penalty_applies(struct penalties *p, pid_t tid, uint64_t now_ns)
{
	for (unsigned i = 0; i < p->count;) {
		const struct penalty *row = &p->rows[i];
		if (!row->hanging && row->until_ns <= now_ns)
			p->rows[i] = p->rows[--p->count];
		else if (is_of_process(tid, row->tgid))
			return true;
		else
			i++;
	}
	return false;
}
