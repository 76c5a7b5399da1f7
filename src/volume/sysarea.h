/* SPDX-License-Identifier: MIT */
/* The system area: a range of bytes mirrored on every member, for the file system's database.
 * Owner thread: any but the engine's; a lock of its own lets one in at a time (but a copy's number
 *   means the same copy only as long as no member goes or comes). It has an I/O engine of its own,
 *   so it never meets the engine thread. Blocking.
 * Invariants: I1 a write has reached every present member before it returns; a member that fails it
 *   has failed for the whole volume then, and is out, as long as the volume can do without it. I2 a
 *   read comes from one copy; the caller, whose pages carry their own checksums, asks for another
 *   where it does not verify. I3 at open after an unclean end the copies may differ where writes
 *   were under way: whoever reads must tolerate either, and sysarea_repair() makes them agree.
 * May use: member, io, base. Must not know: SQLite, pages. */
#ifndef STABLEFS_VOLUME_SYSAREA_H
#define STABLEFS_VOLUME_SYSAREA_H

#include <stdbool.h>
#include <stdint.h>

struct sysarea;

uint64_t sysarea_size_bytes(const struct sysarea *area);
unsigned sysarea_copies(struct sysarea *area); /* whole ones: not those still being filled */
bool sysarea_is_read_only(const struct sysarea *area);

/* Any offset and length (block-aligned ones are faster). @copy: 0 .. sysarea_copies() - 1.
 * sysarea_read() without a copy takes the first that gives no I/O error. */
int sysarea_read(struct sysarea *area, uint64_t offset_bytes, void *buf, uint64_t len_bytes);
int sysarea_read_copy(
	struct sysarea *area, unsigned copy, uint64_t offset_bytes, void *buf, uint64_t len_bytes);
int sysarea_write(struct sysarea *area, uint64_t offset_bytes, const void *buf, uint64_t len_bytes);

/* Write to one copy only: to mend it from another. */
int sysarea_repair(struct sysarea *area, unsigned copy, uint64_t offset_bytes, const void *buf,
	uint64_t len_bytes);

/* Which member that copy is on; -1: there is no such copy. */
int sysarea_copy_member(struct sysarea *area, unsigned copy);

/* Page @offset_bytes / 4096 of that copy was damaged, or is beyond repair (@err, else 0): an event,
 * a line in the log, and one more in sysarea_mended(). @what: static text, "database page". */
void sysarea_tell(
	struct sysarea *area, unsigned copy, uint64_t offset_bytes, const char *what, int err);

/* How many pages of member @index were put right since the area was opened. */
uint64_t sysarea_mended(struct sysarea *area, unsigned index);

/* Completed writes are durable on every present member. */
int sysarea_flush(struct sysarea *area);

/* The range reads as zeros, on every copy (at format). */
int sysarea_zero(struct sysarea *area, uint64_t offset_bytes, uint64_t len_bytes);

#endif
