/*
 * server_wait.h - one statement whose answer may take long, and somebody who may lose patience.
 *
 * Part of libems-server.
 */
#ifndef EMS_SERVER_WAIT_H
#define EMS_SERVER_WAIT_H

#include "digest.h"

#include <libpq-fe.h>

/*
 * Send one statement (extended protocol: a second one in the text is refused) and wait for its
 * answer. `tick` is called about ten times a second and may be NULL; if it returns a code the
 * statement is cancelled and that code is returned.
 *
 * EMS_OK and *answer, good or bad: the caller looks at its status and clears it. EMS_SERVER_ERROR
 * if the connection is lost. For COPY FROM STDIN the answer is PGRES_COPY_IN, as with PQexecParams.
 */
int ems_pq_wait(PGconn *, const char *sql, ems_tick_fn *tick, void *tick_context, PGresult **answer,
                struct ems_error *);

/* The rest of an answer whose first part is known (the end of a COPY): the same waiting. */
int ems_pq_wait_answer(PGconn *, ems_tick_fn *tick, void *tick_context, PGresult **answer,
                       struct ems_error *);

/*
 * A refusal as an error: ems_pq_fail, and behind the server's message its detail, which names the
 * values ("Key (room_id)=(!x) is not present in table "rooms""). EMS_RESTORE_FAILED, or
 * EMS_SERVER_ERROR for trouble with the server itself.
 */
int ems_pq_refused(PGconn *, const PGresult *answer, struct ems_error *, const char *what_fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
