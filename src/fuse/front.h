/* SPDX-License-Identifier: MIT */
/* The FUSE front end: mounts a file system, serves the kernel's requests, and a control directory.
 * Owner thread: front_run() belongs to its caller and returns when all is over; inside, workers
 *   decode and post, replies of transfers leave from the engine's completions.
 * Invariants: I1 every request is answered exactly once. I2 a request's payload is received once,
 *   at a page boundary, and that memory is the bounce copy until the reply. I3 after the reply to a
 *   write its writer's memory is not read. I4 a completed direct write is visible to every later
 *   read, buffered or mapped, and buffered data to every later direct read. I5 control files never
 *   reach the file system, and cannot stop it from being served.
 * May use: fs, volume, stripe, inflight, report, base, libfuse. Must not know: members' bytes, SQL.
 *
 * The control directory is /.stablefs: reachable by name in the root and not listed there.
 *	status.json, stats.json, processes.json, member-N.json	made anew at each open
 *	events.jsonl	one event a line; grows: follow it with tail -f
 *	policy, hold	read; and written: takes effect at once
 *	inject		a line written arms or disarms (stablefs-inject(1)); read: what is armed
 *	query		one line written, one JSON answer read, on one descriptor
 *	run		one line written by anybody: a process tree of his, its policy and its table
 *			of libaio submissions, until he closes it (runs.h); read: who has
 * On a mount that is read-only nobody can open a file for writing: query and run take their line by
 * ioctl(2), too (FRONT_IOC_LINE). */
#ifndef STABLEFS_FUSE_FRONT_H
#define STABLEFS_FUSE_FRONT_H

#include <stdio.h>
#include <sys/ioctl.h>
#include "base/errmsg.h"
#include "base/event.h"
#include "fs/fs.h"
#include "inflight/flip.h"
#include "inflight/policy.h"
#include "inflight/tree.h"
#include "volume/volume.h"

#define FRONT_CONTROL_NAME ".stablefs"
/* On an open file query or run: as if the text, up to its NUL, were written to it. */
#define FRONT_LINE_BYTES  8192u
#define FRONT_IOC_LINE    _IOW('s', 1, char[FRONT_LINE_BYTES])
#define FRONT_DIO_ALIGN   512u
#define FRONT_EVENT_RATE  100u
#define FRONT_MAX_HOLD_NS UINT64_C(10000000000)

/* Events on their way to people: a sink for the layers below, a bounded ring, and the text of
 * events.jsonl. Made before the volume is opened, freed after it was closed. */
struct front_events;

int front_events_new(struct front_events **out);
void front_events_free(struct front_events *e); /* accepts NULL; nobody emits any more */

/* Any thread may emit, without blocking. What finds the ring full, or is a mutation above the rate
 * of its process, is counted and dropped; a line of the text says how many. Events wait in the ring
 * until front_run() is there to find the names of files for them. */
struct event_sink *front_events_sink(struct front_events *e);

/* The text of events.jsonl from byte @offset on: up to @size bytes, 0 at the end. The oldest lines
 * are discarded beyond 32 MiB and read as empty ones from then on. Any thread; complete when
 * front_run() has returned. */
size_t front_events_read(struct front_events *e, uint64_t offset, void *buf, size_t size);
uint64_t front_events_size(struct front_events *e);

struct front_event_totals {
	uint64_t emitted; /* lines made, of any kind */
	uint64_t dropped; /* no line: the ring was full, or above the rate (of which: above_rate) */
	uint64_t above_rate;
	uint64_t mutations, refused, repaired, unrepairable, member_errors, member_states;
};
struct front_event_totals front_events_totals(struct front_events *e);

/* A run of the front end; its own affair but for the functions that take one. */
struct front;

struct front_options {
	struct fs *fs; /* borrowed, outlives the run, as all that follows */
	struct volume *volume;
	struct front_events *events; /* may be NULL: then events.jsonl is empty */
	const char *mountpoint;
	struct trees *trees; /* of programs that somebody runs; NULL: the front has its own */
	enum dio_policy dio;
	uint64_t hold_ns;    /* of direct writes; at most FRONT_MAX_HOLD_NS */
	bool dio_weaken;     /* owners of files and processes may choose policies that are not
			     * stable; else root alone */
	unsigned dio_align;  /* bytes; 0: FRONT_DIO_ALIGN */
	unsigned event_rate; /* mutation events a second for each process; 0: FRONT_EVENT_RATE */
	bool read_only;
	bool allow_other;   /* users other than the one who mounts may use it */
	bool write_through; /* do without the kernel's write-back cache */
	/* With the write-back cache the kernel keeps a file's mtime itself, and misses direct
	 * writes that go around the cache: it is told when somebody asks, where we may open files
	 * by handles (root may), else when the file was closed. Exact: direct writes take the
	 * kernel's own path instead, in which synchronous writers of one file wait for each other.
	 * Without the write-back cache times are exact in any case. */
	bool exact_times;
	bool awake;                /* idle processors do not halt while many requests come, where
				    * that may be asked for (awake.h) */
	unsigned workers;          /* threads that receive; 0: chosen from the CPUs */
	const char *fsname;        /* first column of mount(8)'s list; NULL: "stablefs" */
	const char *subtype;       /* the type is "fuse." and this; NULL: "stablefs"; "": "fuse" */
	unsigned long mount_flags; /* MS_* of mount(2); users get no others than MS_NODEV,
				    * MS_NOSUID (which they need), MS_NOEXEC, MS_SYNCHRONOUS,
				    * MS_DIRSYNC and MS_NOATIME */
	bool ignore_signals;       /* SIGINT, SIGTERM, SIGHUP are the caller's, no end */
	int stop_fd;               /* ends the run when it becomes readable; 0: none */
	/* Once, before ready(): @front is there, for the functions below, until the last query has
	 * been answered. May be NULL. */
	void (*attached)(void *ctx, struct front *front);
	/* Once, when the mount serves; on the caller's thread. May be NULL. */
	void (*ready)(void *ctx);
	/* A line written to the control file query (without its newline). Writes one JSON document
	 * to @out. Runs on a thread of its own, up to 16 at a time, and may take its time. < 0: a
	 * -errno that becomes {"error": ...} where nothing was written. NULL: queries fail with
	 * EOPNOTSUPP. */
	int (*query)(void *ctx, const char *line, FILE *out);
	/* A line written to the control file inject: 0 or -errno, acknowledged. Its text: a JSON
	 * document (malloc'd). May block as file operations do. NULL: EOPNOTSUPP. */
	int (*inject)(void *ctx, const char *line);
	char *(*inject_list)(void *ctx, size_t *len);
	struct flip_set *flips; /* mutations by request; NULL: none */
	void *ctx;
};

/* What can be changed while it serves: from a query, and all at once but for requests under way. */
struct front_settings {
	enum dio_policy dio;
	bool dio_weaken;
	unsigned dio_align;  /* 0: FRONT_DIO_ALIGN */
	unsigned event_rate; /* 0: FRONT_EVENT_RATE */
	uint64_t hold_ns;
	unsigned long mount_flags; /* as front_options has them; the kernel is told by others */
};
void front_settings_get(struct front *front, struct front_settings *out);
void front_settings_set(struct front *front, const struct front_settings *s);

/* Mount and serve until the mount is gone (umount), or SIGINT, SIGTERM, SIGHUP or stop_fd say so:
 * then what is cached is written back, the mount is detached, and after a second those who still
 * use it lose it. On return nothing is under way, and the caller may close fs and volume.
 * 0, or why it could not be mounted (nothing is left behind then): -ENOENT, -ENOTDIR, -EBUSY
 * (mounted there already), -ENOTCONN (a dead mount is in the way), -ENODEV (no FUSE), -EACCES,
 * -EINVAL (options). Has handlers for SIGINT, SIGTERM and SIGHUP meanwhile: one run at a time. */
int front_run(const struct front_options *options, struct errmsg *why);

#endif
