/* SPDX-License-Identifier: MIT */
/* libstablefs: a stablefs volume inside your own program, without FUSE. Reads and writes go from
 * your own buffers to the members, asynchronously, with a policy for each write that says what
 * protects it against a program that changes its buffer while the write is in flight.
 *
 * Errors: 0 or a count, or -errno. Where a person must understand one, there is a struct
 * stablefs_error (may be NULL) with a sentence.
 * Threads: any thread may call anything, except where said. Completion callbacks run on the
 * engine's thread or on a worker of the library's: they must not block, and may submit transfers;
 * not open, close, sync, resize, scrub, wait or reap.
 * Ownership: what a function gives out is yours until you give it to its closing function; what you
 * pass is borrowed for the call, and an io and its buffer until its completion.
 * A process that forks must not use an open volume in the child. */
#ifndef STABLEFS_STABLEFS_H
#define STABLEFS_STABLEFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define STABLEFS_API __attribute__((visibility("default")))

struct stablefs;      /* an open volume */
struct stablefs_file; /* an open file of it */

struct stablefs_error {
	char text[512]; /* one line; "" where nothing was said */
};

STABLEFS_API const char *stablefs_version(void);

/* ---- policies ---- */

enum stablefs_policy {
	STABLEFS_DEFAULT,  /* as stablefs_open() was told; there: bounce */
	STABLEFS_BOUNCE,   /* one copy at submission: safe whatever you store */
	STABLEFS_ZEROCOPY, /* your memory is read when guard and parity are made, and again by each
			    * member: a store in between damages the stripe */
	STABLEFS_DETECT,   /* bounce; at the end your memory is compared with the copy, and a
			    * difference is an event */
	STABLEFS_VERIFY,   /* zero-copy; at the end your memory is compared with what the guard was
			    * made of: if it has changed the write is done again from a copy, so
			    * that the stripe is right, and fails with -EIO */
	STABLEFS_ADAPTIVE, /* as verify, but the write succeeds, and all further adaptive writes of
			    * this volume handle are bounced */
	STABLEFS_COW,      /* the pages of your buffer are taken away in flight: who touches one
			    * gets a private copy, and the write keeps the old page. Needs whole
			    * pages of private anonymous memory, else bounce (counted, by reason) */
	STABLEFS_POLICY_COUNT
};
STABLEFS_API const char *stablefs_policy_name(enum stablefs_policy policy); /* "bounce", ... */

/* -EINVAL for what is none; "buffered" and "refuse" are policies of a mount, and said so. */
STABLEFS_API int stablefs_policy_parse(
	const char *name, enum stablefs_policy *out, struct stablefs_error *why);

/* ---- volumes ---- */

enum stablefs_level {
	STABLEFS_SINGLE = 0,
	STABLEFS_RAID1 = 1,
	STABLEFS_RAID5 = 5,
	STABLEFS_RAID6 = 6
};
enum stablefs_pi { STABLEFS_PI_NONE, STABLEFS_PI_T10, STABLEFS_PI_CRC32C, STABLEFS_PI_CRC64 };

struct stablefs_create_options {
	enum stablefs_level level;
	unsigned members;     /* raid5: 3 to 16, raid1: 2 to 8, single: 1 */
	uint64_t size_bytes;  /* of data, at least 16 MiB; 0: what files and devices can hold */
	uint64_t chunk_bytes; /* 4 KiB to 1 MiB, a power of two */
	enum stablefs_pi pi;
	bool pi_unchecked; /* members do not compare guards at writes: damage shows at a read */
	bool force;        /* overwrite a volume or file system that is there */
};
#define STABLEFS_CREATE_DEFAULTS                                                                   \
	{                                                                                          \
		STABLEFS_RAID5, 4, UINT64_C(1) << 30, 65536, STABLEFS_PI_T10, false, false         \
	}

/* Make a volume with an empty file system. One path that is a directory, or nothing yet: member
 * files in it; else the members, files or devices. Blocking. -EEXIST, -EINVAL, -ENOSPC, -EBUSY. */
STABLEFS_API int stablefs_create(const char *const *paths, unsigned count,
	const struct stablefs_create_options *options, struct stablefs_error *why);

struct stablefs_open_options {
	bool read_only;
	bool degraded;               /* go on without members that are missing or out of date */
	enum stablefs_policy policy; /* for writes that say STABLEFS_DEFAULT */
};

/* Open a volume that nobody else has open: @paths as above. @options may be NULL. Starts threads.
 * -EBUSY (in use: mounted, or open elsewhere), -ENODEV (members missing), -EUCLEAN, -ESTALE. */
STABLEFS_API int stablefs_open(const char *const *paths, unsigned count,
	const struct stablefs_open_options *options, struct stablefs **out,
	struct stablefs_error *why);

/* Commit, flush, mark clean, release. -EBUSY, and nothing happens, where files are open or
 * transfers are under way; any other error is the first that was met, and the volume is closed. */
STABLEFS_API int stablefs_close(struct stablefs *v);

/* Everything completed so far is durable. Blocking. */
STABLEFS_API int stablefs_sync(struct stablefs *v);

/* NULL where STABLEFS_COW can be had; else why not (the kernel, or a permission), and such writes
 * are bounced. Valid until the volume is closed. */
STABLEFS_API const char *stablefs_cow_missing(const struct stablefs *v);

/* ---- files ---- */

enum stablefs_open_flags {
	STABLEFS_CREATE = 1, /* make it where it is not there: mode 0644, of the effective user */
	STABLEFS_EXCL = 2,   /* with CREATE: -EEXIST where it is there */
	STABLEFS_TRUNCATE = 4
};

/* @path from the root of the volume ("/data/log"), at most 4095 bytes. A regular file; -EISDIR,
 * -ENOENT, -EROFS ... Blocking. */
STABLEFS_API int stablefs_file_open(
	struct stablefs *v, const char *path, unsigned flags, struct stablefs_file **out);
STABLEFS_API int stablefs_file_close(struct stablefs_file *f); /* -EBUSY: transfers under way */
STABLEFS_API int stablefs_file_size(struct stablefs_file *f, uint64_t *size_bytes);
STABLEFS_API int stablefs_file_resize(struct stablefs_file *f, uint64_t size_bytes);
STABLEFS_API int stablefs_file_sync(struct stablefs_file *f); /* its completed writes are durable */
STABLEFS_API int stablefs_mkdir(struct stablefs *v, const char *path);
STABLEFS_API int stablefs_unlink(struct stablefs *v, const char *path);

/* ---- reads and writes ---- */

enum stablefs_io_flags {
	STABLEFS_TRUSTED = 1 /* you guarantee that the buffer stays as it is: no copy and no check,
			      * whatever the policy. Counted. If you are wrong: see zerocopy */
};

enum stablefs_happened {
	STABLEFS_COPIED = 1,  /* at least a part went through a copy made at submission */
	STABLEFS_HELD = 2,    /* cow: the pages were taken away */
	STABLEFS_CHANGED = 4, /* the buffer was seen to change in flight */
	STABLEFS_REDONE = 8   /* verify, adaptive: written again from a copy */
};

#define STABLEFS_MAX_BYTES (64u << 20)

/* One transfer. You own it; leave it and the buffer alone until it has completed. Zero what you do
 * not set. It is no atomic unit: after a crash any part of it may be there. */
struct stablefs_io {
	struct stablefs_file *file;
	uint64_t offset;
	void *buffer; /* a write only reads it */
	size_t len;   /* 1 to STABLEFS_MAX_BYTES */
	/* Runs once, when it has completed: on the engine's thread, for a write that changed in
	 * flight on another one of the library's, or within the call that submits. It may free or
	 * submit the io again. NULL: wait for it, or reap it. */
	void (*done)(struct stablefs_io *io);
	void *user; /* yours */
	/* Of a write. */
	enum stablefs_policy policy;
	unsigned flags;
	/* Results. */
	int64_t result;         /* bytes (a read ends at the end of the file), or -errno: -EILSEQ (a
				 * member refused data that does not match its guard, or damage that
				 * cannot be repaired), -EIO, -ENOSPC */
	unsigned happened;      /* enum stablefs_happened */
	uint32_t first_changed; /* CHANGED: byte of the buffer (verify, adaptive: of its block) */
	uint32_t changed_bytes; /* CHANGED: how many (verify, adaptive: in whole blocks) */
	/* The library's. */
	int state;
	struct stablefs_io *next;
};

/* Submit; 0: it will complete. Else -errno, and it never will: -EINVAL (length, policy; or, for
 * zerocopy, trusted, verify, adaptive and cow, an offset or length that is no multiple of 512: what
 * O_DIRECT wants), -EROFS, -ENOMEM. Blocks only for metadata: new space for a write.
 *
 * What true zero-copy needs: a buffer at a multiple of 512. Other buffers, and the blocks (4096
 * bytes of the file) that a write covers in part, go through a copy (STABLEFS_COPIED): under
 * zerocopy just these, made when the guard is made; under verify, adaptive and cow the whole write,
 * made at submission, which is then a bounced one. */
STABLEFS_API int stablefs_write(struct stablefs_io *io);
STABLEFS_API int stablefs_read(struct stablefs_io *io);

/* Of transfers with done NULL. Wait for one; returns its result. */
STABLEFS_API int64_t stablefs_wait(struct stablefs_io *io);

/* Up to @max that have completed, oldest first; waits for the first one for up to @timeout_ms (-1:
 * without end, 0: not at all). Returns how many. Not beside stablefs_wait() for the same io. */
STABLEFS_API int stablefs_reap(
	struct stablefs *v, struct stablefs_io **ios, unsigned max, int timeout_ms);

/* Submit and wait. */
STABLEFS_API int64_t stablefs_pwrite(struct stablefs_file *f, const void *buffer, size_t len,
	uint64_t offset, enum stablefs_policy policy);
STABLEFS_API int64_t stablefs_pread(
	struct stablefs_file *f, void *buffer, size_t len, uint64_t offset);

/* ---- events ---- */

enum stablefs_event_kind {
	STABLEFS_EVENT_CHANGED,      /* a buffer changed in flight: detect, verify, adaptive */
	STABLEFS_EVENT_REFUSED,      /* a member refused a write: data and guard do not match */
	STABLEFS_EVENT_REPAIRED,     /* a block failed its check and was rebuilt */
	STABLEFS_EVENT_UNREPAIRABLE, /* and nothing could rebuild it */
	STABLEFS_EVENT_MEMBER_ERROR, /* a member failed a transfer */
	STABLEFS_EVENT_MEMBER_STATE  /* a member was failed, came, or was rebuilt */
};
enum stablefs_blast { STABLEFS_BLAST_NOBODY, STABLEFS_BLAST_WRITER, STABLEFS_BLAST_STRANGERS };

struct stablefs_event {
	enum stablefs_event_kind kind;
	uint64_t time_ns;     /* CLOCK_REALTIME */
	char path[4096];      /* "" where no file is known */
	uint64_t file_offset; /* of the transfer */
	uint32_t len;
	uint32_t first_changed, changed_bytes; /* CHANGED: as in struct stablefs_io */
	enum stablefs_blast blast;             /* CHANGED: who loses data by what is stored now */
	int error;                             /* -errno that the transfer gets; 0: none */
	int member;                            /* -1: none known */
	uint64_t stripe;                       /* UINT64_MAX: none known */
	const char *what;   /* static text: "copy stored", "redone", "guard", ...; or NULL */
	const char *policy; /* static text; or NULL */
};

/* The oldest event, waiting for one for up to @timeout_ms (as stablefs_reap). 1: one, 0: none. At
 * most 1024 wait; what comes then is dropped and counted. */
STABLEFS_API int stablefs_event_next(
	struct stablefs *v, struct stablefs_event *out, int timeout_ms);

/* @notify (NULL: none) runs when an event has come: on the engine's thread, so only to say so to
 * another one, which then asks for it. */
STABLEFS_API void stablefs_event_notify(struct stablefs *v, void (*notify)(void *ctx), void *ctx);

/* Blast radius: which other files have blocks in the same parity rows as a range of this one: they
 * lose data by a wrong parity of it. @each is called once a file, until it returns false; on the
 * calling thread. 0 or -errno. None on levels without parity. */
STABLEFS_API int stablefs_neighbours(struct stablefs_file *f, uint64_t offset, uint64_t len,
	bool (*each)(void *ctx, const char *path), void *ctx);

/* ---- scrub ---- */

enum stablefs_damage_kind {
	STABLEFS_DAMAGE_PARITY,    /* a row whose parity is not that of its data */
	STABLEFS_DAMAGE_MIRROR,    /* copies that differ */
	STABLEFS_DAMAGE_GUARD,     /* a block whose guard or place is wrong */
	STABLEFS_DAMAGE_UNREADABLE /* the medium gave an error */
};
struct stablefs_place {
	char path[4096];
	uint64_t offset;
};
struct stablefs_damage {
	enum stablefs_damage_kind kind;
	uint64_t stripe;
	unsigned row; /* block of 4096 bytes within each chunk of the stripe */
	int member;   /* which is wrong; -1: cannot be told */
	bool repaired, lost;
	/* Whose blocks are concerned: of a parity row all of its data. */
	const struct stablefs_place *places;
	unsigned place_count;
};
struct stablefs_scrub_options {
	bool repair;
	bool (*progress)(void *ctx, uint64_t done, uint64_t total); /* NULL; false: stop */
	void (*damage)(void *ctx, const struct stablefs_damage *d); /* NULL */
	void *ctx;
};
struct stablefs_scrub_result {
	uint64_t stripes, rows;
	uint64_t parity_mismatches, mirror_mismatches, guard_mismatches, unreadable;
	uint64_t repaired, lost;
	uint64_t damage; /* all of these that were found; 0: the volume is sound */
};

/* Look at every stripe, beside transfers. Blocking; callbacks run on the calling thread or a thread
 * of the library's. @options may be NULL. -ECANCELED: progress said so. */
STABLEFS_API int stablefs_scrub(struct stablefs *v, const struct stablefs_scrub_options *options,
	struct stablefs_scrub_result *out);

/* ---- statistics ---- */

#define STABLEFS_COW_REASONS 9

struct stablefs_stats {
	uint64_t reads, read_bytes;
	uint64_t writes, write_bytes;
	uint64_t by_policy[STABLEFS_POLICY_COUNT]; /* writes, as they were asked for */
	uint64_t trusted;                          /* of them with STABLEFS_TRUSTED */
	uint64_t copied_bytes;                     /* by bounces */
	uint64_t changed, redone;                  /* writes */
	uint64_t failed;                           /* transfers */
	uint64_t refused;                          /* by members: guards that did not match */
	uint64_t events_dropped;
	bool adaptive_bounced; /* adaptive writes are bounced from now on */
	/* cow: writes that held their pages, pages copied for the program, and writes that
	 * were bounced instead, by reason. */
	uint64_t cow_held, cow_pages_copied, cow_bounced;
	struct {
		const char *reason; /* static text; NULL: unused */
		uint64_t writes;
	} cow_bounced_by[STABLEFS_COW_REASONS];
};
STABLEFS_API void stablefs_stats(struct stablefs *v, struct stablefs_stats *out);

#ifdef __cplusplus
}
#endif

#endif
