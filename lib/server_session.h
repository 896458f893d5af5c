/*
 * server_session.h - a connection to the unfinished database with our own settings, never the
 * dump's.
 *
 * Part of libems-server.
 */
#ifndef EMS_SERVER_SESSION_H
#define EMS_SERVER_SESSION_H

#include "staging.h"

/* A new connection as the restore's role; the caller finishes it. EMS_OK or EMS_SERVER_ERROR. */
int ems_session_open(struct ems_staging *, PGconn **, struct ems_error *);

#endif
