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

/* As much of @text as there is room for. */
static void append(struct errmsg *why, const char *text)
{
	size_t len = strlen(why->text);
	size_t more = strnlen(text, sizeof(why->text) - 1 - len);
	memcpy(why->text + len, text, more);
	why->text[len + more] = '\0';
}

int errmsg_prefix(struct errmsg *why, int err, const char *fmt, ...)
{
	if (!why)
		return err;
	struct errmsg said = *why;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, ap);
	va_end(ap);
	append(why, ": ");
	append(why, said.text[0] ? said.text : strerror(-err));
	return err;
}
