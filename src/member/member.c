/* SPDX-License-Identifier: MIT */
/* A member's life: open, superblock, counters, close. */
#include "member/internal.h"

#include <errno.h>
#include <stdlib.h>
#include "base/cleanup.h"
#include "base/mem.h"

static void member_freep(struct member **m)
{
	member_free(*m);
}

int member_open(
	struct io_engine *io, const char *path, struct member_probe *probe, struct member **out)
{
	cleanup(io_closep) struct io_file *file = take_ptr(&probe->file);
	if (!pi_supported(probe->super.pi))
		return -EOPNOTSUPP;
	cleanup(member_freep) struct member *m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->io = io;
	m->file = take_ptr(&file);
	m->super = probe->super;
	m->tuple_bytes = pi_tuple_bytes(m->super.pi);
	list_init(&m->parked);
	m->path = strdup(path);
	if (!m->path)
		return -ENOMEM;
	int err = flush_round_init(m);
	if (err < 0)
		return err;
	if (m->tuple_bytes) {
		err = tuple_cache_init(&m->tuples, m, MEMBER_TUPLE_CACHE_PAGES);
		if (err < 0)
			return err;
	}
	*out = take_ptr(&m);
	return 0;
}

void member_free(struct member *m)
{
	if (!m)
		return;
	assert(!m->round.active);
	tuple_cache_fini(&m->tuples);
	flush_round_fini(m);
	io_close(m->file);
	free(m->path);
	free(m);
}

bool member_busy(const struct member *m)
{
	return m->round.active;
}

const char *member_path(const struct member *m)
{
	return m->path;
}

struct super *member_super(struct member *m)
{
	return &m->super;
}

struct io_file *member_file(struct member *m)
{
	return m->file;
}

static int copy_write(struct member *m, uint64_t offset_bytes, const uint8_t *block)
{
	int err = io_sync_write(m->file, offset_bytes, block, SUPER_BYTES);
	return err < 0 ? err : io_sync_flush(m->file);
}

/* Each copy is durable before the next is touched: a cut can damage one of them at most. */
int member_super_write(struct member *m)
{
	cleanup(cleanup_freep) uint8_t *block = mem_alloc_blocks(SUPER_BYTES);
	if (!block)
		return -ENOMEM;
	super_encode(&m->super, block);
	int err = copy_write(m, SUPER_A_OFFSET, block);
	if (err < 0)
		return err;
	return copy_write(m, super_b_offset(io_file_size_bytes(m->file)), block);
}

void member_set_tuple_cache(struct member *m, unsigned max_pages)
{
	/* Without memory for a new table the old one serves, and the old limit with it. */
	if (m->tuple_bytes)
		(void)tuple_cache_resize(&m->tuples, max_pages ? max_pages : 1);
}

struct member_stats member_stats(const struct member *m)
{
	const struct member_counters *c = &m->counters;
#define READ_COUNTER(name) .name = atomic_load_explicit(&c->name, memory_order_relaxed)
	return (struct member_stats){
		READ_COUNTER(reads),
		READ_COUNTER(writes),
		READ_COUNTER(read_bytes),
		READ_COUNTER(write_bytes),
		READ_COUNTER(flushes),
		READ_COUNTER(errors),
		READ_COUNTER(refused),
		READ_COUNTER(tuple_page_reads),
		READ_COUNTER(tuple_page_writes),
	};
#undef READ_COUNTER
}
