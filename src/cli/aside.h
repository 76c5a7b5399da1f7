/* SPDX-License-Identifier: MIT */
/* Questions to mounts that may hang, asked by processes of their own. Whoever waits for a daemon
 * that does not answer cannot even be killed; so nobody waits for these processes either. */
#ifndef STABLEFS_CLI_ASIDE_H
#define STABLEFS_CLI_ASIDE_H

#include <stddef.h>
#include <sys/types.h>

/* Run work(@ctx, @out) in a process of its own, which ends then, or after a few seconds at the
 * latest if it can. What it has to say it writes to @out, at once. 0 or -errno. */
int aside_start(void (*work)(void *ctx, int out), void *ctx, int out);

/* The first thing that somebody said, within @ms: its length; 0: nothing, or all have ended. */
size_t aside_read(int fd, void *buf, size_t room, int ms);

#endif
