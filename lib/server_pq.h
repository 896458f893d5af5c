/*
 * server_pq.h - libpq answers turned into errors: what the parts of libems-server share.
 *
 * A failure is either the server's opinion of what was sent (the caller says which code that is) or
 * trouble with the server itself: connection lost, shutdown, disk or memory full. The second kind
 * is always EMS_SERVER_ERROR, because the same upload may well pass tomorrow.
 */
#ifndef EMS_SERVER_PQ_H
#define EMS_SERVER_PQ_H

#include "error.h"

#include <libpq-fe.h>

/*
 * Record a failure: the formatted text, ": ", and the server's own primary message (made printable,
 * first line only; of `result`, or of the connection if result is NULL). Returns `refused`, or
 * EMS_SERVER_ERROR for trouble with the server itself. `stage` is static and may be NULL.
 */
int ems_pq_fail(struct ems_error *, const char *stage, int refused, const PGconn *,
                const PGresult *result, const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/* Nothing that the server remarks is printed any more (libpq's default is stderr). */
void ems_pq_quiet(PGconn *);

/*
 * One statement through the extended protocol, with text parameters ($1, ...). EMS_OK and *result
 * (the caller clears it; result may be NULL if it is of no interest), or EMS_SERVER_ERROR with
 * "cannot <what>: ..." and a NULL *result.
 */
int ems_pq_query(PGconn *, const char *what, const char *sql, int count,
                 const char *const *parameters, PGresult **result, struct ems_error *);

/* The same for a statement without parameters and without an interesting answer. */
int ems_pq_run(PGconn *, const char *what, struct ems_error *, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/*
 * A connection like `admin`, to the server that this one reached and with everything that conninfo,
 * service file and environment said, but for another user and database. EMS_OK means that *conn is
 * there, connected or not: ask PQstatus. EMS_NO_MEMORY and NULL otherwise. Its notices are quiet.
 */
int ems_pq_login(PGconn *admin, const char *user, const char *password, const char *database,
                 PGconn **conn, struct ems_error *);

#endif
