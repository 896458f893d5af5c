/* server_wait.c - see server_wait.h */
#include "server_wait.h"

#include "bytes.h"
#include "server_pq.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define STEP_MS 100

/* What is under way is of no use any more. The answer to it is read, so that the connection can
 * still be closed in order. */
static void cancel(PGconn *conn)
{
    PGcancel *request = PQgetCancel(conn);
    PGresult *answer;
    char ignored[256];

    if (request == NULL || PQcancel(request, ignored, sizeof ignored) != 1) {
        PQfreeCancel(request);
        return;
    }
    PQfreeCancel(request);
    while ((answer = PQgetResult(conn)) != NULL)
        PQclear(answer);
}

/* PQisBusy is false when PQgetResult would not block. The socket is looked at each time: libpq may
 * have made another one. A timeout is no event, only the tick's turn. */
int ems_pq_wait_answer(PGconn *conn, ems_tick_fn *tick, void *tick_context, PGresult **answer,
                       struct ems_error *err)
{
    *answer = NULL;
    while (PQisBusy(conn)) {
        struct pollfd ready = {.fd = PQsocket(conn), .events = POLLIN};
        int n = poll(&ready, 1, STEP_MS), rc;

        if (n < 0 && errno != EINTR)
            return ems_fail_errno(err, errno, "cannot wait for the server");
        if (n > 0 && PQconsumeInput(conn) != 1)
            return ems_pq_fail(err, "restore", EMS_SERVER_ERROR, conn, NULL,
                               "the connection was lost");
        rc = tick != NULL ? tick(tick_context, err) : EMS_OK;
        if (rc != EMS_OK) {
            cancel(conn);
            return rc;
        }
    }
    *answer = PQgetResult(conn);
    return EMS_OK;
}

/* The extended protocol takes one command in a string, whatever the text holds. */
int ems_pq_wait(PGconn *conn, const char *sql, ems_tick_fn *tick, void *tick_context,
                PGresult **answer, struct ems_error *err)
{
    int rc;

    *answer = NULL;
    if (PQsendQueryParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0) != 1)
        return ems_pq_fail(err, "restore", EMS_SERVER_ERROR, conn, NULL, "cannot send a statement");
    rc = ems_pq_wait_answer(conn, tick, tick_context, answer, err);
    /* A statement's answer is followed by NULL; the start of a COPY is not. */
    if (rc == EMS_OK && PQresultStatus(*answer) != PGRES_COPY_IN)
        PQclear(PQgetResult(conn));
    return rc;
}

/* The detail may quote values of rows, so it is made printable too. It is added to the text of the
 * error that ems_pq_fail has just made; a failure from before stays as it is. */
int ems_pq_refused(PGconn *conn, const PGresult *answer, struct ems_error *err,
                   const char *what_fmt, ...)
{
    const char *detail = PQresultErrorField(answer, PG_DIAG_MESSAGE_DETAIL);
    char what[160], shown[160];
    size_t used;
    va_list args;
    bool first = err->code == EMS_OK;
    int rc;

    va_start(args, what_fmt);
    vsnprintf(what, sizeof what, what_fmt, args);
    va_end(args);
    rc = ems_pq_fail(err, "restore", EMS_RESTORE_FAILED, conn, answer, "%s", what);
    used = strlen(err->text);
    if (first && detail != NULL)
        snprintf(err->text + used, sizeof err->text - used, " (%s)",
                 ems_printable_text(detail, strcspn(detail, "\n"), shown, sizeof shown));
    return rc;
}
