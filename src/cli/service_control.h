/* SPDX-License-Identifier: MIT */
/* What can be changed in a volume that is mounted: its members, its background work, its scrub.
 * Requests as lines, as service.h has them; nothing waits for work that goes on in the background.
 */
#ifndef STABLEFS_CLI_SERVICE_CONTROL_H
#define STABLEFS_CLI_SERVICE_CONTROL_H

#include "cli/service.h"

/* @rest: what follows the first word of the line. 0 or -errno and @why. */
int service_fail(struct service *s, const char *rest, struct errmsg *why);
int service_replace(struct service *s, const char *rest, struct errmsg *why);
int service_add(struct service *s, const char *rest, struct errmsg *why);
int service_work(struct service *s, const char *rest, struct errmsg *why);

/* Writes how far the scrub is, and the report of one that has ended. */
int service_scrub_control(struct service *s, const char *rest, FILE *out, struct errmsg *why);

#endif
