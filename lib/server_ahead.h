/*
 * server_ahead.h - a staging server that is opened on a thread of its own, while the caller still
 * proves what is to go into it: making and starting an embedded server takes a second or two.
 *
 * Part of libems-server.
 */
#ifndef EMS_SERVER_AHEAD_H
#define EMS_SERVER_AHEAD_H

#include "staging.h"

struct ems_ahead;

/* Begin to open. The options' texts must stay until ems_ahead_free. NULL on failure: then open it
 * later, as without this. */
struct ems_ahead *ems_ahead_begin(const struct ems_staging_options *);

/* Wait for it: EMS_OK and *staging, which the caller closes, or what ems_staging_open says. Once.
 */
int ems_ahead_take(struct ems_ahead *, struct ems_staging **staging, struct ems_error *);

/* Ends the thread, which an embedded server lives as long as: after ems_staging_close. Closes what
 * nobody took. NULL allowed. */
void ems_ahead_free(struct ems_ahead *);

#endif
