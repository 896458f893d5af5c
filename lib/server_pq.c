/*
 * server_pq.c - see server_pq.h
 *
 * What the server says may quote the dump's rows, so it passes ems_printable before it becomes part
 * of a message. Passwords are wiped from our buffers; libpq keeps its own copy as long as the
 * connection lives.
 */
#include "server_pq.h"

#include "bytes.h"

#include <stdio.h>
#include <string.h>

/*
 * SQLSTATE classes (PostgreSQL documentation, appendix A) that tell of the server and not of what
 * was sent: connection exception, insufficient resources (disk full, out of memory, too many
 * connections), operator intervention (shutdown, cancel), system error, internal error (corrupted
 * data), transaction rollback (deadlock).
 */
static bool is_trouble(const PGconn *conn, const PGresult *result)
{
    static const char classes[][3] = {"08", "53", "57", "58", "XX", "40"};
    const char *state = result != NULL ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;

    if (PQstatus(conn) == CONNECTION_BAD || state == NULL)
        return true;
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (strncmp(state, classes[i], 2) == 0)
            return true;
    return false;
}

int ems_pq_fail(struct ems_error *err, const char *stage, int refused, const PGconn *conn,
                const PGresult *result, const char *fmt, ...)
{
    const char *message =
        result != NULL ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    char what[200], why[224];
    bool first = err != NULL && err->code == EMS_OK;
    va_list args;
    int code;

    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    if (message == NULL)
        message = PQerrorMessage(conn);
    ems_printable(message, strcspn(message, "\n"), why, sizeof why);
    code = ems_fail(err, is_trouble(conn, result) ? EMS_SERVER_ERROR : refused, "%s: %s", what,
                    why[0] != '\0' ? why : "the server gave no reason");
    if (first)
        err->stage = stage;
    return code;
}

/* Warnings matter to nobody here: whatever must not happen is an error. */
static void ignore_notice(void *context, const PGresult *result)
{
    (void)context, (void)result;
}

void ems_pq_quiet(PGconn *conn)
{
    PQsetNoticeReceiver(conn, ignore_notice, NULL);
}

int ems_pq_query(PGconn *conn, const char *what, const char *sql, int count,
                 const char *const *parameters, PGresult **result, struct ems_error *err)
{
    PGresult *answer = PQexecParams(conn, sql, count, NULL, parameters, NULL, NULL, 0);
    ExecStatusType status = PQresultStatus(answer);
    int rc = EMS_OK;

    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
        rc = ems_pq_fail(err, "staging", EMS_SERVER_ERROR, conn, answer, "cannot %s", what);
    if (rc != EMS_OK || result == NULL) {
        PQclear(answer);
        answer = NULL;
    }
    if (result != NULL)
        *result = answer;
    return rc;
}

/* Still through PQexecParams: one statement, whatever the text holds. */
int ems_pq_run(PGconn *conn, const char *what, struct ems_error *err, const char *fmt, ...)
{
    struct ems_buf sql = {0};
    va_list args;
    int length, rc;

    va_start(args, fmt);
    length = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    rc = ems_buf_reserve(&sql, (size_t)length + 1, err);
    if (rc != EMS_OK)
        return rc;
    va_start(args, fmt);
    vsnprintf((char *)sql.data, sql.capacity, fmt, args);
    va_end(args);
    rc = ems_pq_query(conn, what, (const char *)sql.data, 0, NULL, NULL, err);
    ems_wipe(sql.data, sql.capacity); /* may hold a password verifier */
    ems_buf_release(&sql);
    return rc;
}

/* keyword='value', quoted as libpq's connection strings want it. */
static int append_option(struct ems_buf *buf, const char *keyword, const char *value,
                         struct ems_error *err)
{
    int rc = ems_buf_printf(buf, err, "%s='", keyword);

    for (; *value != '\0' && rc == EMS_OK; value++)
        rc = ems_buf_printf(buf, err, *value == '\'' || *value == '\\' ? "\\%c" : "%c", *value);
    return rc == EMS_OK ? ems_buf_printf(buf, err, "' ") : rc;
}

/*
 * PQconninfo holds the merged values. Empty ones are passed on too, so that the environment is not
 * asked a second time; of several hosts it must be the one that answered.
 */
static int build_conninfo(PGconn *admin, const char *user, const char *password,
                          const char *database, struct ems_buf *buf, struct ems_error *err)
{
    const char *host = PQhost(admin), *address = PQhostaddr(admin);
    const bool is_socket = host == NULL || host[0] == '/' || host[0] == '@';
    const struct {
        const char *keyword, *value; /* value NULL: leave out */
    } ours[] = {
        {"host", host},          {"hostaddr", is_socket || address == NULL ? "" : address},
        {"port", PQport(admin)}, {"user", user},
        {"password", password},  {"dbname", database},
        {"service", NULL},       {"application_name", user},
        {"replication", NULL},   {"fallback_application_name", NULL},
    };
    enum { OURS = sizeof ours / sizeof ours[0] };
    PQconninfoOption *options = PQconninfo(admin);
    int rc = options != NULL ? EMS_OK : ems_fail_memory(err);

    for (size_t i = 0; i < OURS && rc == EMS_OK; i++)
        if (ours[i].value != NULL)
            rc = append_option(buf, ours[i].keyword, ours[i].value, err);
    for (PQconninfoOption *o = options; rc == EMS_OK && o->keyword != NULL; o++) {
        bool known = false;

        for (size_t i = 0; i < OURS; i++)
            known |= strcmp(o->keyword, ours[i].keyword) == 0;
        if (!known && o->val != NULL)
            rc = append_option(buf, o->keyword, o->val, err);
    }
    PQconninfoFree(options);
    return rc;
}

int ems_pq_login(PGconn *admin, const char *user, const char *password, const char *database,
                 PGconn **conn, struct ems_error *err)
{
    struct ems_buf conninfo = {0};
    int rc = ems_buf_reserve(&conninfo, 16384, err); /* so that growing leaves no copies behind */

    *conn = NULL;
    if (rc == EMS_OK)
        rc = build_conninfo(admin, user, password, database, &conninfo, err);
    if (rc == EMS_OK) {
        *conn = PQconnectdb((const char *)conninfo.data);
        if (*conn == NULL)
            rc = ems_fail_memory(err);
        else
            ems_pq_quiet(*conn);
    }
    ems_wipe(conninfo.data, conninfo.capacity);
    ems_buf_release(&conninfo);
    return rc;
}
