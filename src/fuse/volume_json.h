/* SPDX-License-Identifier: MIT */
/* What a volume says of itself as JSON: one writer for status.json, member-N.json, and the verbs
 * that look at a volume that is not mounted. Asks the volume only; any thread but the engine's. */
#ifndef STABLEFS_FUSE_VOLUME_JSON_H
#define STABLEFS_FUSE_VOLUME_JSON_H

#include "fs/fs.h"
#include "report/json.h"
#include "volume/volume.h"

/* "healthy", "degraded" (a member is missing), "rebuilding", or "resyncing" (all are there, and
 * stripes of an unclean end are still to be brought into agreement). */
const char *volume_json_state(struct volume *v);

/* "resync", "rebuild", "scrub": keys of "work". */
const char *volume_json_work_name(enum volume_work_kind kind);
bool volume_json_work_parse(const char *name, enum volume_work_kind *out);

/* Fields of the object that is open in @j: shape, state, members, spares, background work. */
void volume_json_write(struct json *j, struct volume *v);

/* The same: how full its file system is. Nothing where that cannot be told. */
void volume_json_write_files(struct json *j, struct fs *fs);

/* The same: the counts of a scrub, and "remaining": places that were wrong and still are. */
void volume_json_write_scrub(struct json *j, const struct scrub_result *result);

/* One member, as a value; and a key with all of them. */
void volume_json_write_member(struct json *j, struct volume *v, unsigned index);
void volume_json_write_members(struct json *j, struct volume *v);

/* A key, and a UUID as text. */
void volume_json_field_uuid(struct json *j, const char *key, const uint8_t uuid[16]);

const char *volume_json_write_hole(enum super_write_hole write_hole); /* "journal", "bitmap" */

#endif
