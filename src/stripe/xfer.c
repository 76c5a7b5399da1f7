/* SPDX-License-Identifier: MIT */
/* One transfer of a run of rows of one slot: from stripe terms to member terms and back. */
#include "stripe/internal.h"

void slot_xfer_init(struct stripe_engine *eng, struct slot_xfer *x, const struct stripe_view *view,
	unsigned slot, unsigned row, unsigned rows)
{
	x->slot = slot;
	x->row = row;
	x->err = 0;
	x->leaves = false;
	x->xfer.member = view->member[slot];
	x->xfer.block = geometry_member_block(&eng->config.geometry, view->stripe, row);
	x->xfer.blocks = rows;
	x->xfer.iov = &x->one;
	x->xfer.iov_count = 1;
	x->xfer.tuples = NULL;
}

static void emit_member_error(struct stripe_engine *eng, const struct slot_xfer *x)
{
	struct event event = event_new(EVENT_MEMBER_ERROR);
	event.member = (int)member_super(x->xfer.member)->index;
	event.member_block = x->xfer.block;
	event.volume_blocks = x->xfer.blocks;
	event.stripe = x->xfer.block / eng->config.geometry.chunk_blocks;
	event.error = x->err;
	event.what = "read error";
	event_emit(eng->config.events, &event);
}

int slot_xfer_judge(struct stripe_engine *eng, const struct slot_xfer *x, struct rows *bad)
{
	if (x->err == -ESHUTDOWN || x->err == -ENOMEM)
		return x->err;
	if (x->err < 0) {
		emit_member_error(eng, x);
		engine_read_failed(eng, x->xfer.member, x->err);
		rows_add_range(bad, x->row, x->xfer.blocks);
		return -EIO;
	}
	int err = 0;
	enum pi_verdict verdict;
	for (uint32_t i = member_verify(&x->xfer, 0, &verdict); i < x->xfer.blocks;
		i = member_verify(&x->xfer, i + 1, &verdict)) {
		rows_add(bad, x->row + i);
		err = -EILSEQ;
	}
	if (err)
		engine_member_erred(eng, x->xfer.member, err);
	return err;
}
