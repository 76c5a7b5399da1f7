/* SPDX-License-Identifier: MIT */
/* What the log says of a process's first mutation: for people who have never heard of it. */
#include "fuse/events.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include "fuse/event_blast.h"

/* Names are their owners' choice: nothing in them may begin a line of the log. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

/* What became of the write itself. */
static const char *outcome(const struct event *e)
{
	if (e->kind == EVENT_READ_MUTATION)
		return "a false alarm of the protection information: what is stored was right";
	if (e->what && !strcmp(e->what, "redone"))
		return "the write was redone from a copy, and its process is bounced from now on";
	if (e->what && !strcmp(e->what, "rejected"))
		return "the write failed, and a copy was stored in its place";
	if (e->what && !strcmp(e->what, "verified"))
		return "that was before the first sample: all that is stored agrees";
	if (e->what && !strcmp(e->what, "refused"))
		return "a PI disk refused the write";
	if (e->error)
		return "the write failed";
	if (e->what && !strcmp(e->what, "copy stored"))
		return "the copy made at its submission was stored";
	return "what was stored may be a mix of old and new bytes";
}

static const char *danger(enum event_blast who)
{
	static const char *const texts[] = {[BLAST_NOBODY] = "no data is at risk",
		[BLAST_WRITER] = "its own data may be lost",
		[BLAST_STRANGERS] = ("its own data, and that of other files in the same stripes, "
				     "may be lost when a member fails")};
	return texts[who];
}

char *event_warning(const struct event *e, const struct events_world *w)
{
	char exe[PATH_MAX] = "", file[PATH_MAX] = "";
	char *text = NULL;
	struct event_blast_zone zone = {.who = BLAST_WRITER};
	if (w->processes)
		processes_exe(w->processes, e->writer.pid, exe, sizeof(exe));
	if (!w->fs || fs_path(w->fs, e->ino, file, sizeof(file)) < 0)
		snprintf(file, sizeof(file), "inode %lu", (unsigned long)e->ino);
	if (w->fs && w->volume)
		event_blast_find(e, w->fs, w->volume, &zone);
	int len = asprintf(&text,
		"%s (pid %d, %.300s) changed its buffer while a direct %s of %.300s was in flight "
		"(dio=%s): %s; %s. Said once a process: see events.jsonl, processes.json",
		e->writer.comm[0] ? e->writer.comm : "a process", (int)e->writer.pid,
		exe[0] ? exe : "program unknown", e->kind == EVENT_READ_MUTATION ? "read" : "write",
		file, e->policy ? e->policy : "?", outcome(e), danger(zone.who));
	if (len < 0)
		return NULL;
	make_printable(text);
	return text;
}
