/* SPDX-License-Identifier: MIT */
/* The one error message of a failing operation. */
#include "base/errmsg.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int errmsg_set(struct errmsg *why, int err, const char *fmt, ...)
{
	if (!why || why->text[0])
		return err;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, ap);
	va_end(ap);
	return err;
}

int errmsg_prefix(struct errmsg *why, int err, const char *fmt, ...)
{
	if (!why)
		return err;
	struct errmsg old = *why;
	va_list ap;
	va_start(ap, fmt);
	int len = vsnprintf(why->text, sizeof(why->text), fmt, ap);
	va_end(ap);
	if (len >= 0 && (size_t)len < sizeof(why->text))
		snprintf(why->text + len, sizeof(why->text) - (size_t)len, ": %s",
			old.text[0] ? old.text : strerror(-err));
	return err;
}
