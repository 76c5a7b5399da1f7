/* SPDX-License-Identifier: MIT */
/* Mutations on request: bytes of a chosen direct write change in flight, as if its process had
 * stored there, at the same place of the pipeline each time. So a lesson gives the same picture
 * every time.
 *
 * What changes is the writer's memory as it is sampled (source_live_config.flip): what is made of
 * the bounce copy does not see it, and neither does a write whose memory cannot be found. The
 * process itself is never stored into.
 * Owner thread: any; a set has a lock of its own. May use: base. */
#ifndef STABLEFS_INFLIGHT_FLIP_H
#define STABLEFS_INFLIGHT_FLIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* From which sampling point on; of each byte: its own guard, parity and data. */
enum flip_at { FLIP_AT_PARITY, FLIP_AT_DATA };

struct flip {
	uint32_t offset_bytes, len_bytes; /* within the write */
	uint8_t xor_byte;                 /* 0: nothing is flipped */
	enum flip_at at;
};

/* Flip what of @bytes, [offset, offset + len) of the write, @flip is about. */
void flip_apply(const struct flip *flip, uint32_t offset_bytes, uint32_t len_bytes, void *bytes);

struct flip_set;

struct flip_set *flip_set_new(void);      /* NULL: out of memory */
void flip_set_free(struct flip_set *set); /* accepts NULL */

/* The @nth direct write to @ino from now on (1: the next). An id, 1 and up, or -ENOMEM. */
int flip_set_arm(struct flip_set *set, uint64_t ino, uint64_t nth, const struct flip *flip);
int flip_set_disarm(struct flip_set *set, int id); /* -ENOENT */

/* How many writes it has counted, and whether it was theirs. -ENOENT. */
int flip_set_look(struct flip_set *set, int id, uint64_t *met, uint64_t *fired);

/* A direct write to @ino is about to begin: what is flipped in it (one flip at most). @set may be
 * NULL. */
struct flip flip_set_meet(struct flip_set *set, uint64_t ino);

#endif
