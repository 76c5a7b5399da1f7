/* SPDX-License-Identifier: MIT */
/* What the parts of the simulated world share: sim_world.c (clock, order of events, power),
 * sim_transfer.c (what a request does to a disk, and faults to it), sim_disk.c (media and what of
 * them is volatile), simulated.c (the engine over them). */
#ifndef STABLEFS_IO_SIM_INTERNAL_H
#define STABLEFS_IO_SIM_INTERNAL_H

#include <stdatomic.h>
#include "io/simulated.h"

#define SIM_SECTOR_BYTES 512u
#define SIM_PAGE_BYTES   4096u

/* The bytes of a page, which pages of a world and of its snapshots share until one is written. */
struct sim_bytes {
	unsigned refs;
	uint8_t bytes[SIM_PAGE_BYTES];
};
struct sim_bytes *sim_bytes_new(void);                  /* zeros; NULL: -ENOMEM */
struct sim_bytes *sim_bytes_share(struct sim_bytes *b); /* once more */
void sim_bytes_put(struct sim_bytes *b);                /* accepts NULL */
int sim_bytes_own(struct sim_bytes **b);                /* before it is written: 0 or -ENOMEM */

/* A page of a medium that was ever written. */
struct sim_page {
	struct list_node node;     /* on its disk's list of dirty pages, while durable is set */
	struct sim_bytes *now;     /* counted; what a read returns */
	struct sim_bytes *durable; /* counted; what a power cut leaves; NULL: the same as now */
	uint8_t *before;           /* owned; each sector before its newest write; NULL: zeros */
};

/* A write that reached a disk and was not flushed since. */
struct sim_write {
	struct list_node node; /* on its disk's list, oldest first */
	struct io_req *req;    /* borrowed until acknowledged, then NULL */
	uint64_t acked_at;     /* the world's count of completions, 0: not yet */
	uint64_t offset_bytes, len_bytes;
	uint8_t *data;   /* owned; NULL: zeros */
	bool committing; /* scratch of a flush */
};

struct sim_disk {
	struct list_node node;
	char *name; /* owned */
	uint64_t size_bytes;
	struct sim_page **pages; /* owned; NULL: zeros */
	struct list dirty;       /* sim_page */
	struct list unflushed;   /* sim_write */
	bool removed;            /* by sim_disk_remove() */
	bool locked;
};

struct sim_world {
	_Atomic uint64_t now_ns;
	/* Streams of their own (the faults have one too), so that faults do not change the order of
	 * events. */
	uint64_t order_rng, fate_rng;
	struct fault_set *faults; /* owned */
	unsigned hung;            /* requests of events that FAULT_HANG holds */
	struct list events;       /* io_req, by event_ns, then age */
	struct list disks;        /* sim_disk */
	struct list removed;      /* sim_disk that files may still refer to */
	uint64_t writes;          /* that reached a disk */
	uint64_t cut_at;          /* value of writes at which the power goes, UINT64_MAX: never */
	uint64_t completions;     /* done() that ran */
	bool power_cut;
	unsigned engine_count;
	void (*write_reached)(void *ctx); /* sim_world_on_write() */
	void *write_reached_ctx;
	void (*flush_reached)(void *ctx); /* sim_world_on_flush() */
	void *flush_reached_ctx;
	bool ignores_flushes;
};

struct sim_engine {
	struct io_engine base;
	struct sim_world *world; /* borrowed */
	struct list completed;   /* io_req whose result is known; done() is next */
	unsigned under_way;      /* submitted, done() not begun */
	atomic_bool woken;
};

struct sim_file {
	struct io_file base;
	struct sim_disk *disk; /* borrowed from the world */
	bool readonly, holds_lock;
	bool timed_out; /* one of its requests did, since the timeout was set */
	unsigned under_way;
	uint64_t timeout_ns; /* 0: none */
};

/* sim_world.c */

/* Take a request whose fields are set; its result may be set already (no disk is reached then). */
void sim_world_add(struct sim_world *world, struct io_req *req);

/* Process the first event if it is due by @until_ns; time moves to it. False: there was none. */
bool sim_world_step(struct sim_world *world, uint64_t until_ns);

void sim_world_pass(struct sim_world *world, uint64_t ns);

/* The power goes: requests under way complete now, and their done() is told (in simulated.c). */
void sim_world_cut_power(struct sim_world *world);

/* Forget the events of @engine. */
void sim_world_forget(struct sim_world *world, const struct sim_engine *engine);

struct sim_disk *sim_world_find(struct sim_world *world, const char *name);

/* sim_transfer.c */

/* What a request that reached its disk did there. */
struct sim_outcome {
	int result;
	uint64_t delay_ns; /* how much longer it takes */
	int hung_by;       /* 0, or the id of the fault that holds it: nothing was done yet */
};
struct sim_outcome sim_request_reached(struct sim_world *world, struct io_req *req);

/* A write of @len_bytes (@data: owned, freed or kept; NULL: zeros) is about to reach @disk: power
 * cut, faults, storage. @req, where not NULL, is acknowledged later. */
struct sim_outcome sim_world_write(
	struct sim_world *world, struct sim_disk *disk, struct io_req *req, struct sim_write write);

/* sim_disk.c */
struct sim_disk *sim_disk_new(const char *name, uint64_t size_bytes); /* NULL: -ENOMEM */
void sim_disk_free(struct sim_disk *disk);                            /* accepts NULL */

/* Drop all contents and take a new size. */
int sim_disk_empty(struct sim_disk *disk, uint64_t size_bytes);

bool sim_disk_holds(const struct sim_disk *disk, uint64_t offset_bytes, uint64_t len_bytes);

/* Copy out what is there, or what was there before the newest write of each sector. */
void sim_disk_load(const struct sim_disk *disk, uint64_t offset_bytes, void *buf,
	uint64_t len_bytes, bool before);

/* Store *@write, volatile until flushed. Takes write.data. 0 or -ENOMEM. */
int sim_disk_store(struct sim_disk *disk, const struct sim_write *write);

/* The done() of a stored write runs: it is completion number @at. */
void sim_disk_acknowledge(struct io_req *req, uint64_t at);

/* Make durable what of @req was stored and is not yet. Before it is acknowledged. */
void sim_disk_flush_write(struct sim_disk *disk, const struct io_req *req);

/* Make durable what was acknowledged up to completion @at. */
void sim_disk_flush(struct sim_disk *disk, uint64_t at);

/* Flip bit @bit (0 to 7) of a byte, now and durably. */
void sim_disk_flip(struct sim_disk *disk, uint64_t offset_bytes, unsigned bit);

/* How many bytes of an unflushed write survive a power cut: all, a prefix of its sectors, none. */
uint64_t sim_disk_fate_bytes(const struct sim_write *w, uint64_t *rng);

/* Give each unflushed write its fate, drawn from @rng (NULL: it is kept), and fall back to what is
 * durable. */
void sim_disk_lose_power(struct sim_disk *disk, uint64_t *rng);

#endif
