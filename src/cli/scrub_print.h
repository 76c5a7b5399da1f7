/* SPDX-License-Identifier: MIT */
/* The report of a scrub as text for people. */
#ifndef STABLEFS_CLI_SCRUB_PRINT_H
#define STABLEFS_CLI_SCRUB_PRINT_H

#include "report/json_read.h"

/* To stdout. @report: as scrub_report.h writes it. */
void scrub_print_report(const struct json_value *report);

#endif
