/* SPDX-License-Identifier: MIT */
/* The control file inject, over whoever does inject (front_options.inject).
 * Owning thread: any worker. */
#include "fuse/inject.h"

#include <errno.h>
#include "fuse/internal.h"

#define MAX_TEXT_BYTES 16384u

int inject_write(struct front *f, const char *data, size_t len_bytes)
{
	if (!f->options->inject)
		return -EOPNOTSUPP;
	if (len_bytes > MAX_TEXT_BYTES)
		return -E2BIG;
	char *copy = strndup(data, len_bytes), *rest = copy, *line;
	int err = copy ? -EINVAL : -ENOMEM;
	bool any = false;
	while (rest && (line = strsep(&rest, "\n"))) {
		if (!line[strspn(line, " \t")])
			continue;
		if (any && err < 0)
			break;
		any = true;
		err = f->options->inject(f->options->ctx, line);
	}
	free(copy);
	return err;
}

char *inject_text(struct front *f, size_t *len_bytes)
{
	if (f->options->inject_list)
		return f->options->inject_list(f->options->ctx, len_bytes);
	*len_bytes = strlen("{}\n");
	return strdup("{}\n");
}
