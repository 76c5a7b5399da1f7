/* SPDX-License-Identifier: MIT */
/* What happened to data, as a value: made where it is noticed, completed and shown elsewhere.
 *
 * Damage on the media is a value and an event, never an assert. The layer that notices fills in
 * what it knows; the front end adds names (files, the process's comm and exe) before it shows it.
 */
#ifndef STABLEFS_BASE_EVENT_H
#define STABLEFS_BASE_EVENT_H

#include <stdint.h>
#include <sys/types.h>

enum event_kind {
	EVENT_MUTATION,      /* the bytes of a direct write changed between two samples */
	EVENT_READ_MUTATION, /* a reader stored into its buffer: a false PI error */
	EVENT_REFUSED,       /* a PI disk refused a write whose data does not match its guard */
	EVENT_REPAIRED,      /* a block failed its check and was rebuilt and written back */
	EVENT_UNREPAIRABLE,  /* a block failed its check and nothing could rebuild it */
	EVENT_MEMBER_ERROR,  /* a member failed a transfer */
	EVENT_MEMBER_STATE,  /* a member was failed, came, began to be rebuilt, was rebuilt: what */
};

/* Who loses data by a mutation. */
enum event_blast {
	BLAST_NOBODY,
	BLAST_WRITER,    /* only the mutated blocks themselves */
	BLAST_STRANGERS, /* other blocks of the stripe, by wrong parity */
};

struct event_writer {
	pid_t pid, tid; /* 0: unknown */
	uid_t uid;
	char comm[16]; /* of the thread, "" where unknown */
	char call[16]; /* the way in: "pwrite64", "io_uring", "libaio", ... "" where unknown */
};

struct event {
	enum event_kind kind;
	uint64_t time_ns; /* CLOCK_REALTIME */
	struct event_writer writer;
	uint64_t ino; /* 0: no file known */
	uint64_t file_offset_bytes;
	uint32_t len_bytes;
	uint32_t first_changed; /* byte of the write; EVENT_MUTATION */
	uint32_t changed_bytes; /* EVENT_MUTATION */
	enum event_blast blast; /* EVENT_MUTATION */
	int error;              /* -errno that the caller got, 0 where none */
	int member;             /* index, -1: none */
	uint64_t member_block;  /* data-area block of that member */
	uint64_t volume_block;  /* first data block concerned, UINT64_MAX: none (parity) */
	uint32_t volume_blocks; /* how many */
	uint64_t stripe;        /* UINT64_MAX: none */
	uint64_t area_page; /* 4 KiB page of the system area; UINT64_MAX: it is not about that */
	const char *what;   /* static text: "guard", "ref tag", "read error", ...; of a
				 * mutation what became of the write: "stored", "verified" (all
				 * samples and the last look agreed), "copy stored", "redone"
				 * (the copy, for what was stored), "rejected" (that, and the
				 * write failed), "refused", "failed"; or NULL */
	const char *policy; /* static text: of the direct I/O; or NULL */
};

/* Where events go. Called on the thread that noticed, which may be the engine's: it must not
 * block and must copy what it keeps. */
struct event_sink {
	void (*emit)(struct event_sink *sink, const struct event *event);
};

/* An event with its "unknown" marks in place. */
static inline struct event event_new(enum event_kind kind)
{
	return (struct event){.kind = kind,
		.member = -1,
		.volume_block = UINT64_MAX,
		.stripe = UINT64_MAX,
		.area_page = UINT64_MAX};
}

static inline void event_emit(struct event_sink *sink, const struct event *event)
{
	if (sink)
		sink->emit(sink, event);
}

#endif
