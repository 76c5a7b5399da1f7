/* SPDX-License-Identifier: MIT */
/* What is on a file or device that is to become a member? Blocking; reads only. */
#ifndef STABLEFS_VOLUME_DETECT_H
#define STABLEFS_VOLUME_DETECT_H

#include "io/io.h"

/* 0: nothing known is on it. -EEXIST: a volume of ours, or a file system, partition table or other
 * content that libblkid knows: @why says which. -ENOENT: there is no such file. Others: it cannot
 * be looked at. *@size_bytes: how large it is (where 0 or -EEXIST). */
int detect_content(
	struct io_engine *io, const char *path, uint64_t *size_bytes, struct errmsg *why);

#endif
