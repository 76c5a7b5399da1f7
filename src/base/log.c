/* SPDX-License-Identifier: MIT */
/* Messages of the program to people. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <syslog.h>

static _Atomic enum log_level max_level = LOG_LEVEL_INFO;
static atomic_bool use_syslog;

void log_set_level(enum log_level level)
{
	max_level = level;
}

void log_to_syslog(bool on)
{
	if (on)
		openlog("stablefs", LOG_PID, LOG_DAEMON);
	use_syslog = on;
}

void log_message(enum log_level level, const char *fmt, ...)
{
	static const char *const names[] = {"error: ", "warning: ", "", "debug: "};
	static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
	if (level > max_level)
		return;
	char line[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fprintf(stderr, "stablefs: %s%s\n", names[level], line);
	if (use_syslog)
		syslog(priorities[level], "%s%s", names[level], line);
}
