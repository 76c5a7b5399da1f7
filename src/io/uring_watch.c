/* SPDX-License-Identifier: MIT */
/* Listening to a descriptor of somebody else's: one entry of the ring polls it for good.
 *
 *	begin -> (arm) -> entry in the ring --told--> ready -> serve --false--> told when there is
 *	                       |                               `--true--> served again  more
 *	end -> (arm) cancels <-'
 *
 * The entry tells of each time that something came, and may tell once of several: so whoever
 * watches reads until there is nothing. What an entry says whose watch has ended is known by its
 * number. Owning thread: the one that runs the engine. */
#include <errno.h>
#include <poll.h>
#include "io/uring_internal.h"

static uint64_t tag_of(const struct uring_watch *w)
{
	return w->number << 3 | URING_TAG_WATCH;
}

int uring_watch_begin(struct io_engine *io, struct io_watch *watch)
{
	struct uring_watch *w = &uring_engine_of(io)->watch;
	if (w->its)
		return -EBUSY;
	w->its = watch;
	w->ready = true;
	return 0;
}

void uring_watch_end(struct io_engine *io)
{
	struct uring_watch *w = &uring_engine_of(io)->watch;
	w->its = NULL;
	w->ready = false;
	w->stale = w->armed;
}

void uring_watch_forget(struct uring_engine *e)
{
	e->watch.armed = false;
	e->watch.stale = false;
}

/* The queue is empty but for what the kernel did not take. */
static struct io_uring_sqe *entry_get(struct uring_engine *e)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&e->ring);
	if (sqe)
		return sqe;
	io_uring_submit(&e->ring);
	return io_uring_get_sqe(&e->ring);
}

static void cancel(struct uring_engine *e, struct uring_watch *w)
{
	struct io_uring_sqe *sqe = entry_get(e);
	if (!sqe)
		return; /* in the next turn */
	io_uring_prep_poll_remove(sqe, tag_of(w));
	sqe->user_data = URING_TAG_CANCEL;
	w->armed = false;
	w->stale = false;
}

void uring_watch_arm(struct uring_engine *e)
{
	struct uring_watch *w = &e->watch;
	if (w->stale)
		cancel(e, w);
	if (!w->its || w->armed)
		return;
	struct io_uring_sqe *sqe = entry_get(e);
	if (!sqe)
		return;
	w->number++;
	io_uring_prep_poll_multishot(sqe, w->its->fd, POLLIN);
	sqe->user_data = tag_of(w);
	w->armed = true; /* it tells at once of what is there already */
}

void uring_watch_told(struct uring_engine *e, uint64_t tag, uint32_t flags)
{
	struct uring_watch *w = &e->watch;
	if (tag != tag_of(w) || !w->armed)
		return;
	w->armed = flags & IORING_CQE_F_MORE;
	w->ready = w->its != NULL;
}

int uring_watch_serve(struct uring_engine *e, bool likely)
{
	struct uring_watch *w = &e->watch;
	if (!w->its || !(w->ready || likely))
		return 0;
	struct io_watch *its = w->its;
	bool more = its->ready(its);
	if (w->its == its)
		w->ready = more;
	return 1;
}
