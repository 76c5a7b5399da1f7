/* SPDX-License-Identifier: MIT */
/* The tables. Their meaning is in docs/format.md. */
#ifndef STABLEFS_FS_SCHEMA_H
#define STABLEFS_FS_SCHEMA_H

#define SCHEMA_APPLICATION_ID 0x53464653 /* "SFFS" */
#define SCHEMA_VERSION        2

extern const char schema_sql[];

#endif
