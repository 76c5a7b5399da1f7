/* SPDX-License-Identifier: MIT */
/* What SQLite may do with a database that nobody vouches for: a volume can come from anywhere, with
 * checksums that are right. */
#ifndef STABLEFS_FS_DB_GUARD_H
#define STABLEFS_FS_DB_GUARD_H

#include <sqlite3.h>
#include "base/errmsg.h"

/* Before the first statement: defensive, no triggers, no views, no extensions, untrusted schema,
 * every cell checked, small limits. 0 or -errno. */
int db_guard_config(sqlite3 *handle);

/* The schema is word for word the one of schema.c, and the file's form is what db_create() makes
 * (page size, trailers, UTF-8, a log). -EUCLEAN and @why: it is not; -EPROTONOSUPPORT: of another
 * version. */
int db_guard_schema(sqlite3 *handle, struct errmsg *why);

/* After that: statements may read and change rows, and nothing else. */
int db_guard_statements(sqlite3 *handle);

#endif
