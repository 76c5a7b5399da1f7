/* SPDX-License-Identifier: MIT */
/* A JSON reader (RFC 8259) for the documents that json.h writes: the whole text becomes a tree.
 * Owner thread: whoever owns the tree.
 * Invariants: I1 any bytes are safe: the text is never read beyond its length, nesting is bounded
 *   (JSON_MAX_DEPTH), what is no JSON is refused with its place. I2 strings of the tree are valid
 * UTF-8. Deliberately not done: keys that stand twice are kept; json_get() gives the first. */
#ifndef STABLEFS_REPORT_JSON_READ_H
#define STABLEFS_REPORT_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/errmsg.h"

enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* A value and what it holds. Read the fields that its kind names. */
struct json_value {
	enum json_kind kind;
	char *key;                /* owned; in an object; else NULL */
	struct json_value *next;  /* owned; the next of the same container, in order */
	struct json_value *first; /* owned; ARRAY, OBJECT: the first inside; NULL: empty */
	char *text;               /* owned; STRING: NUL-terminated; NUMBER: as it stood */
	size_t text_bytes;        /* STRING: may hold NULs */
	bool truth;               /* BOOL */
};

/* Read one document of @len_bytes. -EINVAL and line and column in @why; -ENOMEM. */
int json_parse(const char *text, size_t len_bytes, struct json_value **out, struct errmsg *why);
void json_value_free(struct json_value *v); /* accepts NULL */

static inline void json_value_freep(struct json_value **v)
{
	json_value_free(*v);
}

/* The value of @key; NULL where @v is no object (or NULL) or has none. */
const struct json_value *json_get(const struct json_value *v, const char *key);

/* What is there, or @otherwise where the key is missing or of another kind, or does not fit. */
const char *json_get_string(const struct json_value *v, const char *key, const char *otherwise);
uint64_t json_get_u64(const struct json_value *v, const char *key, uint64_t otherwise);
int64_t json_get_i64(const struct json_value *v, const char *key, int64_t otherwise);
double json_get_double(const struct json_value *v, const char *key, double otherwise);
bool json_get_bool(const struct json_value *v, const char *key, bool otherwise);

/* The same for a value by itself; false where it is NULL, of another kind or does not fit. */
bool json_value_u64(const struct json_value *v, uint64_t *out);
bool json_value_i64(const struct json_value *v, int64_t *out);
bool json_value_double(const struct json_value *v, double *out);

#define json_for_each(item, container)                                                             \
	for (const struct json_value *item = (container) ? (container)->first : NULL; item;        \
		item = item->next)

#endif
