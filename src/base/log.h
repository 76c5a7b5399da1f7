/* SPDX-License-Identifier: MIT */
/* Messages of the program to people: stderr, and the system log for a daemon.
 * Any thread; a message is one line. */
#ifndef STABLEFS_BASE_LOG_H
#define STABLEFS_BASE_LOG_H

#include <stdbool.h>

enum log_level {
	LOG_LEVEL_NONE = -1,
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};

void log_message(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_message(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_message(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_message(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* What is above @level is dropped; LOG_LEVEL_INFO at start. */
void log_set_level(enum log_level level);

/* From now on to syslog(3) too (for a daemon whose stderr is gone). */
void log_to_syslog(bool on);

#endif
