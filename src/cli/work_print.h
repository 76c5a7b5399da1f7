/* SPDX-License-Identifier: MIT */
/* Background work as text for people, from the status of a volume. */
#ifndef STABLEFS_CLI_WORK_PRINT_H
#define STABLEFS_CLI_WORK_PRINT_H

#include "report/json_read.h"

/* One row a kind. */
void work_print_table(const struct json_value *status);

/* A line for each kind that is under way, and one for the last scrub. */
void work_print_lines(const struct json_value *status);

#endif
