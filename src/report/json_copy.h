/* SPDX-License-Identifier: MIT */
/* From a tree back to text: what was read, or a part of it, written again. */
#ifndef STABLEFS_REPORT_JSON_COPY_H
#define STABLEFS_REPORT_JSON_COPY_H

#include <stdio.h>
#include "report/json.h"
#include "report/json_read.h"

/* @v as the next value of @j. Numbers keep their text's value. NULL is written as null. */
void json_copy_value(struct json *j, const struct json_value *v);

/* @v as a document of its own, indented. 0 or -errno. */
int json_print_value(const struct json_value *v, FILE *out);

#endif
