/* SPDX-License-Identifier: MIT */
/* The files of the control directory, by a table; their contents come from elsewhere. */
#include "fuse/internal.h"

#include <errno.h>
#include <stdio.h>
#include "base/clock.h"
#include "fuse/inject.h"
#include "fuse/query.h"
#include "fuse/runs.h"
#include "report/size.h"

#define MAX_SETTING_BYTES 64u

enum control_file {
	CONTROL_DIR,
	CONTROL_STATUS,
	CONTROL_STATS,
	CONTROL_PROCESSES,
	CONTROL_EVENTS,
	CONTROL_POLICY,
	CONTROL_HOLD,
	CONTROL_QUERY,
	CONTROL_RUN,
	CONTROL_INJECT,
	CONTROL_MEMBER_0, /* and one for each member behind it */
};

static const struct {
	const char *name;
	mode_t mode;
} files[CONTROL_MEMBER_0] = {
	[CONTROL_DIR] = {FRONT_CONTROL_NAME, S_IFDIR | 0555},
	[CONTROL_STATUS] = {"status.json", S_IFREG | 0444},
	[CONTROL_STATS] = {"stats.json", S_IFREG | 0444},
	[CONTROL_PROCESSES] = {"processes.json", S_IFREG | 0444},
	[CONTROL_EVENTS] = {"events.jsonl", S_IFREG | 0444},
	[CONTROL_POLICY] = {"policy", S_IFREG | 0644},
	[CONTROL_HOLD] = {"hold", S_IFREG | 0644},
	[CONTROL_QUERY] = {"query", S_IFREG | 0600},
	[CONTROL_RUN] = {"run", S_IFREG | 0666},
	[CONTROL_INJECT] = {"inject", S_IFREG | 0600},
};

/* One open of a file: its contents as they were then. fuse_file_info.fh points to it. */
struct handle {
	struct list_node node; /* control.handles */
	char *text;            /* owned */
	size_t len;
	struct query *query; /* owned; of CONTROL_QUERY */
	struct run *run;     /* owned; of CONTROL_RUN */
	uid_t opener;
	/* Under control.lock: */
	bool has_line;  /* of CONTROL_RUN: one was written, or is being looked at */
	unsigned users; /* the open, and replies that are being sent */
};

struct control {
	struct front *f; /* borrowed */
	uid_t uid;
	gid_t gid;
	unsigned members;
	struct query_group *queries; /* owned */
	struct runs *runs;           /* owned */
	pthread_mutex_t lock;        /* handles */
	struct list handles;
};

static uint64_t ino_of(unsigned file)
{
	return CONTROL_INO_BIT + 1 + file;
}

/* Which file @ino is; the number of files where it is none. */
static unsigned file_at(const struct control *c, uint64_t ino)
{
	uint64_t file = (ino & ~CONTROL_INO_BIT) - 1;
	unsigned count = CONTROL_MEMBER_0 + c->members;
	return file < count ? (unsigned)file : count;
}

static void name_of(unsigned file, char name[32])
{
	if (file < CONTROL_MEMBER_0)
		snprintf(name, 32, "%s", files[file].name);
	else
		snprintf(name, 32, "member-%u.json", file - CONTROL_MEMBER_0);
}

static mode_t mode_of(unsigned file)
{
	return file < CONTROL_MEMBER_0 ? files[file].mode : S_IFREG | 0444;
}

bool control_is_root_name(uint64_t parent, const char *name)
{
	return parent == FS_ROOT_INO && !strcmp(name, FRONT_CONTROL_NAME);
}

int control_new(struct front *f, struct control **out)
{
	struct control *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->f = f;
	c->uid = geteuid();
	c->gid = getegid();
	c->members = f->volume ? volume_geometry(f->volume)->members : 0;
	pthread_mutex_init(&c->lock, NULL);
	list_init(&c->handles);
	c->queries = query_group_new(f->options->query, f->options->ctx);
	int err = c->queries ? runs_new(f->trees, &c->runs) : -ENOMEM;
	if (err < 0)
		control_free(c);
	else
		*out = c;
	return err;
}

static void handle_free(struct control *c, struct handle *h)
{
	query_free(h->query);
	runs_remove(c->runs, h->run);
	free(h->text);
	free(h);
}

/* A reader closes as soon as it has its reply, which may be before we are done with sending it. */
static void handle_use(struct control *c, struct handle *h)
{
	pthread_mutex_lock(&c->lock);
	h->users++;
	pthread_mutex_unlock(&c->lock);
}

static void handle_unuse(struct control *c, struct handle *h)
{
	pthread_mutex_lock(&c->lock);
	bool last = --h->users == 0;
	if (last)
		list_remove(&h->node);
	pthread_mutex_unlock(&c->lock);
	if (last)
		handle_free(c, h);
}

void control_stop(struct control *c)
{
	struct list_node *n;
	while ((n = list_pop_front(&c->handles)))
		handle_free(c, container_of(n, struct handle, node));
	query_group_wait(c->queries);
}

void control_free(struct control *c)
{
	if (!c)
		return;
	query_group_free(c->queries);
	runs_free(c->runs);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* ---- names and attributes ---- */

int control_getattr(struct control *c, uint64_t ino, struct stat *st)
{
	unsigned file = file_at(c, ino);
	if (file == CONTROL_MEMBER_0 + c->members)
		return -ENOENT;
	struct timespec now = {0};
	clock_gettime(CLOCK_REALTIME, &now);
	*st = (struct stat){.st_ino = ino,
		.st_mode = mode_of(file),
		.st_nlink = file == CONTROL_DIR ? 2 : 1,
		.st_uid = c->uid,
		.st_gid = c->gid,
		.st_blksize = BLOCK_BYTES,
		.st_atim = now,
		.st_mtim = now,
		.st_ctim = now};
	if (file == CONTROL_EVENTS && c->f->options->events)
		st->st_size = (off_t)front_events_size(c->f->options->events);
	return 0;
}

int control_lookup(struct control *c, uint64_t parent, const char *name, struct stat *st)
{
	if (control_is_root_name(parent, name))
		return control_getattr(c, ino_of(CONTROL_DIR), st);
	if (parent != ino_of(CONTROL_DIR))
		return -ENOTDIR;
	for (unsigned file = CONTROL_DIR + 1; file < CONTROL_MEMBER_0 + c->members; file++) {
		char its[32];
		name_of(file, its);
		if (!strcmp(its, name))
			return control_getattr(c, ino_of(file), st);
	}
	return -ENOENT;
}

int control_setattr(struct control *c, uint64_t ino, int to_set, struct stat *st)
{
	if (to_set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
		return -EPERM;
	return control_getattr(c, ino, st);
}

int control_readdir(struct control *c, uint64_t ino, uint64_t cookie,
	bool (*fill)(void *ctx, const struct fs_dirent *entry), void *ctx)
{
	if (ino != ino_of(CONTROL_DIR))
		return -ENOTDIR;
	/* A cookie is the number of entries before: the two dots, then the files. */
	for (uint64_t at = cookie; at < 2 + CONTROL_MEMBER_0 - 1 + c->members; at++) {
		struct fs_dirent entry = {.name = at ? ".." : ".",
			.ino = at ? FS_ROOT_INO : ino,
			.type = S_IFDIR,
			.cookie = at + 1};
		char name[32];
		if (at >= 2) {
			unsigned file = CONTROL_DIR + 1 + (unsigned)at - 2;
			name_of(file, name);
			entry.name = name;
			entry.ino = ino_of(file);
			entry.type = S_IFREG;
		}
		if (!fill(ctx, &entry))
			break;
	}
	return 0;
}

/* ---- contents ---- */

/* As it can be written back: a whole number of the largest unit. */
static void hold_format(uint64_t ns, char *out, size_t size)
{
	static const struct {
		uint64_t ns;
		const char *name;
	} units[] = {{NS_PER_S, "s"}, {NS_PER_MS, "ms"}, {NS_PER_US, "us"}, {1, "ns"}};
	unsigned u = 0;
	while (ns % units[u].ns)
		u++;
	snprintf(out, size, "%lu%s\n", (unsigned long)(ns / units[u].ns), units[u].name);
}

static char *setting_text(struct front *f, unsigned file, size_t *len)
{
	char text[MAX_SETTING_BYTES];
	if (file == CONTROL_POLICY)
		snprintf(text, sizeof(text), "%s\n", dio_policy_name(f->policy));
	else
		hold_format(f->hold_ns, text, sizeof(text));
	*len = strlen(text);
	return strdup(text);
}

/* What the file says at this moment; NULL also where it says nothing by itself. */
static char *contents(struct control *c, unsigned file, size_t *len)
{
	switch (file) {
	case CONTROL_STATUS:
		return control_status_json(c->f, len);
	case CONTROL_STATS:
		return control_stats_json(c->f, len);
	case CONTROL_PROCESSES:
		return control_processes_json(c->f, len);
	case CONTROL_POLICY:
	case CONTROL_HOLD:
		return setting_text(c->f, file, len);
	case CONTROL_INJECT:
		return inject_text(c->f, len);
	case CONTROL_EVENTS:
	case CONTROL_QUERY:
	case CONTROL_RUN:
		return NULL;
	default:
		return control_member_json(c->f, file - CONTROL_MEMBER_0, len);
	}
}

void control_open(struct control *c, fuse_req_t req, uint64_t ino, struct fuse_file_info *fi)
{
	unsigned file = file_at(c, ino);
	struct handle *h = calloc(1, sizeof(*h));
	if (!h) {
		reply_err(req, -ENOMEM);
		return;
	}
	h->text = contents(c, file, &h->len);
	if (file == CONTROL_QUERY)
		h->query = query_new(c->queries);
	bool complete = file == CONTROL_EVENTS || file == CONTROL_RUN || h->text || h->query;
	if (!complete) {
		handle_free(c, h);
		reply_err(req, -ENOMEM);
		return;
	}
	h->users = 1;
	h->opener = fuse_req_ctx(req)->uid;
	pthread_mutex_lock(&c->lock);
	list_push_back(&c->handles, &h->node);
	pthread_mutex_unlock(&c->lock);
	fi->fh = (uintptr_t)h;
	fi->direct_io = true;
	if (fuse_reply_open(req, fi) < 0)
		control_release(c, ino, fi);
}

void control_release(struct control *c, uint64_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	handle_unuse(c, (struct handle *)(uintptr_t)fi->fh);
}

static void read_events(struct front *f, fuse_req_t req, size_t size, off_t offset)
{
	char *buf = f->options->events ? malloc(size) : NULL;
	size_t len = buf ? front_events_read(f->options->events, (uint64_t)offset, buf, size) : 0;
	fuse_reply_buf(req, buf, len);
	free(buf);
}

/* Made anew for each read: whoever has written his line reads it here. */
static void read_runs(struct control *c, fuse_req_t req, size_t size, off_t offset)
{
	size_t len = 0;
	char *text = runs_json(c->runs, &len);
	size_t at = min_u64((uint64_t)offset, len);
	if (text)
		fuse_reply_buf(req, text + at, min_u64(size, len - at));
	else
		reply_err(req, -ENOMEM);
	free(text);
}

void control_read(struct control *c, fuse_req_t req, uint64_t ino, size_t size, off_t offset,
	struct fuse_file_info *fi)
{
	struct handle *h = (struct handle *)(uintptr_t)fi->fh;
	unsigned file = file_at(c, ino);
	if (file == CONTROL_EVENTS) {
		read_events(c->f, req, size, offset);
		return;
	}
	if (file == CONTROL_RUN) {
		read_runs(c, req, size, offset);
		return;
	}
	handle_use(c, h);
	size_t at = min_u64((uint64_t)offset, h->len);
	if (h->query)
		query_read(h->query, req, size);
	else
		fuse_reply_buf(req, h->text + at, min_u64(size, h->len - at));
	handle_unuse(c, h);
}

/* ---- settings ---- */

static int write_policy(struct front *f, const char *value)
{
	enum dio_policy policy;
	if (!dio_policy_parse(value, &policy))
		return -EINVAL;
	f->policy = policy;
	return 0;
}

static int write_hold(struct front *f, const char *value)
{
	uint64_t ns;
	int err = duration_parse(value, &ns, NULL);
	if (err < 0)
		return err;
	if (ns > FRONT_MAX_HOLD_NS)
		return -ERANGE;
	f->hold_ns = ns;
	return 0;
}

/* One write is one value; a newline at its end is not part of it. */
static int write_setting(struct front *f, unsigned file, const char *data, size_t size)
{
	char value[MAX_SETTING_BYTES + 1];
	while (size && (data[size - 1] == '\n' || data[size - 1] == ' '))
		size--;
	if (!size || size > MAX_SETTING_BYTES)
		return -EINVAL;
	memcpy(value, data, size);
	value[size] = '\0';
	return file == CONTROL_POLICY ? write_policy(f, value) : write_hold(f, value);
}

/* ---- runs ---- */

/* True: this is the handle's first line, or the first after one that was not taken. */
static bool handle_begin_line(struct control *c, struct handle *h)
{
	pthread_mutex_lock(&c->lock);
	bool first = !h->has_line;
	h->has_line = true;
	pthread_mutex_unlock(&c->lock);
	return first;
}

static void handle_end_line(struct control *c, struct handle *h, struct run *run)
{
	pthread_mutex_lock(&c->lock);
	h->run = run;
	h->has_line = run;
	pthread_mutex_unlock(&c->lock);
}

static int write_run(
	struct control *c, fuse_req_t req, struct handle *h, const char *data, size_t size)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	const struct runs_asker asker = {.tid = ctx->pid,
		.uid = ctx->uid,
		.opener_uid = h->opener,
		.mount = c->f->policy,
		.weaken = c->f->dio_weaken};
	struct run *run = NULL;
	if (!handle_begin_line(c, h))
		return -EBUSY;
	int err = runs_add(c->runs, &asker, data, size, &run);
	handle_end_line(c, h, run);
	return err;
}

void control_write(struct control *c, fuse_req_t req, uint64_t ino, const char *data, size_t size,
	struct fuse_file_info *fi)
{
	struct handle *h = (struct handle *)(uintptr_t)fi->fh;
	unsigned file = file_at(c, ino);
	int err = -EPERM;
	if (file == CONTROL_POLICY || file == CONTROL_HOLD)
		err = write_setting(c->f, file, data, size);
	else if (file == CONTROL_INJECT)
		err = inject_write(c->f, data, size);
	else if (file == CONTROL_QUERY)
		err = query_ask(h->query, data, size);
	else if (file == CONTROL_RUN)
		err = write_run(c, req, h, data, size);
	if (err < 0)
		reply_err(req, err);
	else
		fuse_reply_write(req, size);
}

/* Who may open these files may write to them: their modes say so. */
void control_line(struct control *c, fuse_req_t req, uint64_t ino, const char *text, size_t size,
	struct fuse_file_info *fi)
{
	struct handle *h = (struct handle *)(uintptr_t)fi->fh;
	unsigned file = file_at(c, ino);
	size_t len = size == FRONT_LINE_BYTES ? strnlen(text, size) : 0;
	int err = -ENOTTY;
	if (size == FRONT_LINE_BYTES && file == CONTROL_QUERY)
		err = query_ask(h->query, text, len);
	else if (size == FRONT_LINE_BYTES && file == CONTROL_RUN)
		err = write_run(c, req, h, text, len);
	if (err < 0)
		reply_err(req, err);
	else
		fuse_reply_ioctl(req, 0, NULL, 0);
}

void control_events_grown(void *ctx, uint64_t size_bytes)
{
	struct front *f = ctx;
	char last = '\n';
	struct fuse_bufvec vec = FUSE_BUFVEC_INIT(1);
	vec.buf[0].mem = &last;
	/* Of no use where nobody has looked at the file: then it fails. */
	if (!f->options->write_through)
		fuse_lowlevel_notify_store(
			f->session, ino_of(CONTROL_EVENTS), (off_t)size_bytes - 1, &vec, 0);
}
