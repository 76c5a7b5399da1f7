/* SPDX-License-Identifier: MIT */
/* The verdict of a check: from what the mount counted, as text and as JSON. Pure values. */
#ifndef STABLEFS_CLI_CHECK_REPORT_H
#define STABLEFS_CLI_CHECK_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "cli/follow.h"
#include "report/json_read.h"

struct check_counts {
	uint64_t writes, observed, mutated; /* of direct writes */
	uint64_t reads, reads_mutated;      /* policies that place reads alone look at them */
};

enum check_verdict {
	CHECK_STILL,   /* no observed write changed */
	CHECK_MUTATED, /* one did, or a read */
	CHECK_UNKNOWN, /* less than half of the writes were observed: "still" would be a guess */
	CHECK_NONE,    /* there was no direct write */
};
enum check_verdict check_judge(const struct check_counts *counts);
const char *check_verdict_name(enum check_verdict verdict);
/* enum cli_status; what was stopped before its end is no success. */
int check_exit_status(enum check_verdict verdict, bool stopped);

struct check_report {
	char *const *cmd;
	int cmd_status;  /* as a shell has it */
	bool stopped;    /* by a signal to us */
	bool ended_rest; /* processes that outlived CMD were ended */
	const char *policy, *level, *pi;
	uint64_t hold_ns;
	const char *unfollowed; /* why libaio was not followed; NULL: it was */
	struct follow_stats follow;
	const struct json_value *stats, *processes; /* the control files; borrowed */
	const char *kept;                           /* the volume that stays; NULL: none */
};

/* All rows of processes.json together. */
struct check_counts check_count(const struct json_value *processes);

/* Totals by file, over all processes, those with mutations first. */
struct check_file {
	const char *name; /* borrowed from the tree; NULL: it has none any more */
	uint64_t ino;
	struct check_counts counts;
};
/* *@files is the caller's (free()). How many, or -ENOMEM. */
int check_sum_files(const struct json_value *processes, struct check_file **files);

/* Print it. 0 or -errno. */
int check_print_text(const struct check_report *r, FILE *out);
int check_print_json(const struct check_report *r, FILE *out);

#endif
