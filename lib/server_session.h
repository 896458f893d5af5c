/*
 * server_session.h - a connection to the unfinished database with our own settings, never the
 * dump's.
 *
 * Part of libems-server.
 */
#ifndef EMS_SERVER_SESSION_H
#define EMS_SERVER_SESSION_H

#include "staging.h"

/* How long a statement may take, and a wait for a lock. */
enum ems_session_phase {
    EMS_SESSION_SCHEMA, /* nothing reads rows: ten minutes, one for a lock */
    EMS_SESSION_TABLES, /* rows, indexes, constraints of any size: a day, half of one for a lock */
};

/* A new connection as the restore's role, in phase EMS_SESSION_TABLES; the caller finishes it.
 * EMS_OK or EMS_SERVER_ERROR. */
int ems_session_open(struct ems_staging *, PGconn **, struct ems_error *);

/* From the next statement on. EMS_OK or EMS_SERVER_ERROR. */
int ems_session_phase(PGconn *, enum ems_session_phase, struct ems_error *);

#endif
