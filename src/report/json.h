/* SPDX-License-Identifier: MIT */
/* A streaming JSON writer (RFC 8259): to a file as it goes, or into a growing buffer.
 * Owner thread: whoever owns the struct.
 * Invariants: I1 what has been written at json_finish() is one well-formed value in valid UTF-8:
 *   calls in an order that would break it (a value without a key in an object, an end of what was
 *   not begun, two values at the top) are bugs and assert. I2 the first error (memory, the file's)
 *   is kept and given by json_finish(); calls after it do nothing.
 * May use: base. Must not know: what the values mean.
 *
 *	struct json j;
 *	json_init_buffer(&j, JSON_COMPACT);
 *	json_object_begin(&j);
 *	json_field_string(&j, "state", "clean");
 *	json_key(&j, "members");
 *	json_array_begin(&j);
 *	...
 *	json_array_end(&j);
 *	json_object_end(&j);
 *	char *text = json_take(&j, &len);
 */
#ifndef STABLEFS_REPORT_JSON_H
#define STABLEFS_REPORT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_MAX_DEPTH 32u

enum json_style {
	JSON_COMPACT,  /* one line without spaces, no newline at the end: for .jsonl add one */
	JSON_INDENTED, /* two spaces a level, a newline at the end */
};

/* All fields are the writer's own. */
struct json {
	FILE *file; /* borrowed; NULL: the buffer */
	char *buf;  /* owned */
	size_t len, room;
	enum json_style style;
	int err;
	unsigned depth;
	char closers[JSON_MAX_DEPTH]; /* '}' or ']', what ends each open container */
	bool has_items, after_key;
};

void json_init_file(struct json *j, FILE *file, enum json_style style);
void json_init_buffer(struct json *j, enum json_style style);

/* The document is complete (asserted, unless there was an error). 0 or -errno (-ENOMEM, -EIO ...).
 * A file is flushed. Releases nothing. */
int json_finish(struct json *j);

/* json_finish(), then the text, NUL-terminated, now the caller's (free()), its length in @len_bytes
 * (may be NULL). NULL: out of memory. Buffers only. Afterwards @j holds nothing. */
char *json_take(struct json *j, size_t *len_bytes);

/* Release the buffer of a document that nobody takes. */
void json_free(struct json *j);

void json_object_begin(struct json *j);
void json_object_end(struct json *j);
void json_array_begin(struct json *j);
void json_array_end(struct json *j);
void json_key(struct json *j, const char *key);

/* Any bytes: control characters become escapes, what is no UTF-8 becomes U+FFFD, byte by byte. */
void json_string(struct json *j, const char *s); /* NULL: null */
void json_string_len(struct json *j, const char *s, size_t len_bytes);
void json_u64(struct json *j, uint64_t v);
void json_i64(struct json *j, int64_t v);
void json_double(struct json *j, double v); /* not finite: null */
void json_bool(struct json *j, bool v);
void json_null(struct json *j);

/* A key and its value. */
void json_field_string(struct json *j, const char *key, const char *s);
void json_field_u64(struct json *j, const char *key, uint64_t v);
void json_field_i64(struct json *j, const char *key, int64_t v);
void json_field_double(struct json *j, const char *key, double v);
void json_field_bool(struct json *j, const char *key, bool v);
void json_field_null(struct json *j, const char *key);

#endif
