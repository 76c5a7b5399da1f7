/* SPDX-License-Identifier: MIT */
/* The tables: small rows, one tree for each question that is asked often. */
#include "fs/schema.h"

/* dirent: the cookie is a hash of the name and a number among equals; it finds a name and orders a
 * listing with one tree. inode.parent and inode.cookie name one entry that leads to the inode. */
const char schema_sql[] =
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
	"CREATE TABLE inode(ino INTEGER PRIMARY KEY, mode INTEGER, nlink INTEGER, uid INTEGER,"
	" gid INTEGER, rdev INTEGER, size INTEGER, blocks INTEGER, atime INTEGER, mtime INTEGER,"
	" ctime INTEGER, parent INTEGER, cookie INTEGER, btime INTEGER);"
	"CREATE INDEX inode_orphan ON inode(ino) WHERE nlink = 0;"
	"CREATE TABLE dirent(parent INTEGER, cookie INTEGER, name BLOB, ino INTEGER, type INTEGER,"
	" PRIMARY KEY(parent, cookie)) WITHOUT ROWID;"
	"CREATE TABLE symlink(ino INTEGER PRIMARY KEY, target BLOB);"
	"CREATE TABLE xattr(ino INTEGER, name BLOB, value BLOB, PRIMARY KEY(ino, name))"
	" WITHOUT ROWID;"
	"CREATE TABLE extent(ino INTEGER, file_block INTEGER, volume_block INTEGER,"
	" blocks INTEGER, flags INTEGER, PRIMARY KEY(ino, file_block)) WITHOUT ROWID;"
	"CREATE INDEX extent_place ON extent(volume_block);";
