/* SPDX-License-Identifier: MIT */
/* Registrations of process trees: who may make them, and the list of them.
 *
 * A descriptor that is taken from a stranger may be of any file, also of our own file system, whose
 * last close waits for us: it is looked at before it is taken, and what turns out to be something
 * else is closed by a thread that may wait. */
#include "fuse/runs.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include "base/cleanup.h"
#include "base/list.h"
#include "report/json.h"

#define WALK_DEPTH 256u /* parents on the way from the root to who asks */

struct run {
	struct list_node node;
	int tree;
	pid_t root;
	uid_t uid;
	bool has_policy, has_aio;
	enum dio_policy policy;
};

struct runs {
	struct trees *trees;  /* borrowed */
	pthread_mutex_t lock; /* the list */
	struct list list;
};

int runs_new(struct trees *trees, struct runs **out)
{
	struct runs *r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->trees = trees;
	pthread_mutex_init(&r->lock, NULL);
	list_init(&r->list);
	*out = r;
	return 0;
}

void runs_free(struct runs *r)
{
	if (!r)
		return;
	pthread_mutex_destroy(&r->lock);
	free(r);
}

/* ---- the line ---- */

/* A number of digits alone. */
static bool parse_number(const char *text, int *out)
{
	char *end;
	errno = 0;
	long n = strtol(text, &end, 10);
	*out = (int)n;
	return *text >= '0' && *text <= '9' && !*end && !errno && n <= INT32_MAX;
}

static bool parse_word(char *word, struct runs_line *out)
{
	char *value = strchr(word, '=');
	if (!value)
		return false;
	*value++ = '\0';
	if (!strcmp(word, "root"))
		return !out->root && parse_number(value, &out->root) && out->root;
	if (!strcmp(word, "aio"))
		return out->aio_fd < 0 && parse_number(value, &out->aio_fd);
	if (strcmp(word, "dio") != 0 || out->has_policy)
		return false;
	out->has_policy = true;
	return dio_policy_parse(value, &out->policy);
}

int runs_parse(const char *data, size_t len, struct runs_line *out)
{
	char line[RUNS_LINE_BYTES + 1];
	*out = (struct runs_line){.aio_fd = -1};
	if (len && data[len - 1] == '\n')
		len--;
	if (len > RUNS_LINE_BYTES || memchr(data, '\n', len) || memchr(data, '\0', len))
		return -EINVAL;
	memcpy(line, data, len);
	line[len] = '\0';
	for (char *rest = line, *word; (word = strsep(&rest, " "));)
		if (*word && !parse_word(word, out))
			return -EINVAL;
	return out->root ? 0 : -EINVAL;
}

/* ---- who may ---- */

struct status {
	pid_t tgid, parent;
	uid_t uid; /* effective */
};

static bool read_status(pid_t pid, struct status *out)
{
	char path[32], line[256];
	unsigned found = 0;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	while (found < 3 && fgets(line, sizeof(line), file)) {
		found += sscanf(line, "Tgid: %d", &out->tgid) == 1;
		found += sscanf(line, "PPid: %d", &out->parent) == 1;
		found += sscanf(line, "Uid: %*u %u", &out->uid) == 1;
	}
	fclose(file);
	return found == 3;
}

static bool descends_from(pid_t pid, pid_t ancestor)
{
	struct status s;
	for (unsigned i = 0; i < WALK_DEPTH && pid > 0; i++) {
		if (pid == ancestor)
			return true;
		if (!read_status(pid, &s))
			return false;
		pid = s.parent;
	}
	return false;
}

static int check_root(const struct runs_asker *asker, pid_t asker_tgid, pid_t root)
{
	struct status s;
	if (!read_status(root, &s) || s.tgid != root)
		return -ESRCH;
	if (!descends_from(root, asker_tgid) || (asker->uid && s.uid != asker->uid))
		return -EPERM;
	return 0;
}

static int check_policy(const struct runs_asker *asker, const struct dio_say *say)
{
	const struct dio_choice choice = {
		.mount = asker->mount, .tree = *say, .weaken = asker->weaken};
	bool counts = !say->said || dio_policy_choose(&choice) == say->policy;
	return counts ? 0 : -EPERM;
}

/* ---- the table of submissions ---- */

/* Whether it is an anonymous file in memory, by a name that the kernel makes without asking whose
 * file it is. */
static int check_is_memory(pid_t pid, int fd)
{
	static const char prefix[] = "/memfd:";
	char path[64], name[sizeof(prefix)];
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
	ssize_t n = readlink(path, name, sizeof(name));
	if (n < 0)
		return errno == ENOENT ? -EBADF : -EPERM;
	return n == sizeof(name) && !memcmp(name, prefix, sizeof(prefix) - 1) ? 0 : -EINVAL;
}

static void *close_it(void *arg)
{
	close((int)(intptr_t)arg);
	return NULL;
}

static void close_elsewhere(int fd)
{
	pthread_t thread;
	if (!pthread_create(&thread, NULL, close_it, (void *)(intptr_t)fd))
		pthread_detach(thread);
}

/* The descriptor, or -errno. */
static int take_memory(pid_t pid, int fd)
{
	int err = check_is_memory(pid, fd);
	if (err < 0)
		return err;
	cleanup(cleanup_closep) int process = (int)syscall(SYS_pidfd_open, pid, 0);
	int taken = process < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, process, fd, 0);
	if (taken < 0)
		return -errno;
	if (fcntl(taken, F_GET_SEALS) >= 0)
		return taken;
	close_elsewhere(taken); /* it was exchanged meanwhile */
	return -EINVAL;
}

static int take_aio(pid_t pid, int fd, struct aio_table **out)
{
	*out = NULL;
	if (fd < 0)
		return 0;
	cleanup(cleanup_closep) int memory = take_memory(pid, fd);
	return memory < 0 ? memory : aio_table_map(memory, out);
}

/* ---- the list ---- */

static struct dio_say say_of(const struct runs_asker *asker, const struct runs_line *line)
{
	return (struct dio_say){.said = line->has_policy,
		.by_root = !asker->uid && !asker->opener_uid,
		.policy = line->policy};
}

static int list_run(struct runs *r, const struct runs_asker *asker, const struct runs_line *line,
	int tree, struct run **out)
{
	struct run *run = malloc(sizeof(*run));
	if (!run)
		return -ENOMEM;
	*run = (struct run){.tree = tree,
		.root = line->root,
		.uid = asker->uid,
		.has_policy = line->has_policy,
		.has_aio = line->aio_fd >= 0,
		.policy = line->policy};
	pthread_mutex_lock(&r->lock);
	list_push_back(&r->list, &run->node);
	pthread_mutex_unlock(&r->lock);
	*out = run;
	return 0;
}

int runs_add(struct runs *r, const struct runs_asker *asker, const char *data, size_t len,
	struct run **out)
{
	struct runs_line line;
	struct status self;
	int err = runs_parse(data, len, &line);
	if (err < 0)
		return err;
	if (asker->tid <= 0 || !read_status(asker->tid, &self))
		return -EPERM; /* of another pid namespace */
	struct tree_config config = {.root = line.root,
		.say = say_of(asker, &line),
		.aio_owner = asker->uid ? asker->uid : asker->opener_uid};
	err = check_root(asker, self.tgid, line.root);
	if (!err)
		err = check_policy(asker, &config.say);
	if (!err)
		err = take_aio(self.tgid, line.aio_fd, &config.aio);
	if (err < 0)
		return err;
	int tree = trees_add(r->trees, &config);
	if (tree < 0)
		return tree;
	err = list_run(r, asker, &line, tree, out);
	if (err < 0)
		trees_remove(r->trees, tree);
	return err;
}

void runs_remove(struct runs *r, struct run *run)
{
	if (!run)
		return;
	trees_remove(r->trees, run->tree);
	pthread_mutex_lock(&r->lock);
	list_remove(&run->node);
	pthread_mutex_unlock(&r->lock);
	free(run);
}

static void write_run(struct json *j, const struct run *run)
{
	json_object_begin(j);
	json_field_i64(j, "root", run->root);
	json_field_u64(j, "uid", run->uid);
	json_key(j, "policy");
	json_string(j, run->has_policy ? dio_policy_name(run->policy) : NULL);
	json_field_bool(j, "aio", run->has_aio);
	json_object_end(j);
}

char *runs_json(struct runs *r, size_t *len)
{
	struct json j;
	json_init_buffer(&j, JSON_INDENTED);
	json_object_begin(&j);
	json_key(&j, "runs");
	json_array_begin(&j);
	pthread_mutex_lock(&r->lock);
	list_for_each (n, &r->list)
		write_run(&j, container_of(n, struct run, node));
	pthread_mutex_unlock(&r->lock);
	json_array_end(&j);
	json_object_end(&j);
	return json_take(&j, len);
}
