/* SPDX-License-Identifier: MIT */
/* Faults as people write them: one line each.
 *
 *	read-error member=2 area=data offset=1M len=64K count=3 p=0.5 skip=2
 *	latency member=1 latency=20ms
 *	bit-flip file=/db/x offset=4096
 *	mutate file=/x write=3 offset=100 len=1 xor=ff at=parity
 *
 * The first word is a kind of fault.h, or "mutate": bytes of a direct write to a file change in
 * flight. Sizes take K, M, G, T; times ns, us, ms, s. Pure: members, areas and files are names
 * here, which somebody above resolves. */
#ifndef STABLEFS_IO_FAULT_TEXT_H
#define STABLEFS_IO_FAULT_TEXT_H

#include "io/fault.h"

#define FAULT_TEXT_MAX 512u

struct fault_request {
	bool mutate;        /* else a fault of a member */
	struct fault fault; /* kind, range, skip, count, per_mille, latency_ns; no name */
	int member;         /* -1: not said */
	char area[16];      /* "": not said */
	char file[256];     /* "": not said */
	bool has_offset, has_len;
	/* Of a mutation; its range is that of fault, within the write (no length: one byte). */
	uint64_t write; /* which direct write to the file from now on, from 1 */
	uint8_t xor_byte;
	bool at_data; /* between parity and data; else between guard and parity */
};

/* -EINVAL and what is wrong with which word. */
int fault_parse(const char *text, struct fault_request *out, struct errmsg *why);

/* The shortest text that parses to the same. Returns its length; the text is cut at @size. */
int fault_format(const struct fault_request *request, char *out, size_t size);

#endif
