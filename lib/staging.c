/*
 * staging.c - see staging.h
 *
 * The admin connection makes, renames and drops; it never sees a word of the dump. The dump's SQL
 * runs as a role that owns one database and may do nothing else, because an allow list has holes
 * until proven otherwise. Statements here are built from names of ours (hex digits) or from quoted
 * identifiers.
 */
#include "staging.h"

#include "bytes.h"
#include "server_cluster.h"
#include "server_pq.h"
#include "server_staging.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    OLDEST_SERVER = 100000, /* the first with SCRAM */
    RECONNECT_MS = 5000,    /* a server that lost a process needs a moment to recover */
};

/* ---- the admin connection ---- */

/* What all queries here rely on; also after a reconnect. During a restore nothing happens on this
 * connection for hours, which some servers would end (idle_session_timeout, since 14). */
int ems_staging_prepare(struct ems_staging *st, struct ems_error *err)
{
    if (PQstatus(st->admin) != CONNECTION_OK)
        return ems_pq_fail(err, "staging", EMS_SERVER_ERROR, st->admin, NULL, "cannot connect");
    ems_pq_quiet(st->admin);
    return ems_pq_run(st->admin, "set up the connection", err,
                      "SELECT pg_catalog.set_config('search_path', '', false), "
                      "pg_catalog.set_config('statement_timeout', '0', false), "
                      "pg_catalog.set_config('client_encoding', 'UTF8', false), "
                      "pg_catalog.set_config('application_name', '%s', false), "
                      "(SELECT pg_catalog.set_config(name, '0', false) FROM "
                      "pg_catalog.pg_settings WHERE name = 'idle_session_timeout')",
                      st->load[0] != '\0' ? st->load : "ems-intake");
}

/* Does libpq's environment say how long to wait for a connection? */
static bool has_connect_timeout(void)
{
    PQconninfoOption *defaults = PQconndefaults();
    bool has = false;

    for (PQconninfoOption *o = defaults; o != NULL && o->keyword != NULL; o++)
        if (strcmp(o->keyword, "connect_timeout") == 0 && o->val != NULL && o->val[0] != '\0')
            has = true;
    PQconninfoFree(defaults);
    return has;
}

/* Refuses at once what would fail only after the restore. */
static int connect_admin(struct ems_staging *st, const char *conninfo, struct ems_error *err)
{
    /* dbname may be a whole conninfo; what is in it wins over what stands before it. Keepalives:
     * firewalls forget a silent connection long before the system's own two hours. */
    const char *const keywords[] = {"connect_timeout", "keepalives_idle", "dbname", NULL};
    const char *const values[] = {has_connect_timeout() ? NULL : "10", "60", conninfo, NULL};
    PGresult *answer;
    int rc;

    st->admin = PQconnectdbParams(keywords, values, 1);
    rc = ems_staging_prepare(st, err);
    if (rc != EMS_OK)
        return rc;
    st->version = PQserverVersion(st->admin);
    if (st->version < OLDEST_SERVER)
        return ems_fail(err, EMS_SERVER_ERROR, "the server is PostgreSQL %d.%d: too old",
                        st->version / 10000, st->version / 100 % 100);
    rc = ems_pq_query(st->admin, "ask for the admin's rights",
                      "SELECT rolsuper, rolsuper OR (rolcreatedb AND rolcreaterole), rolname "
                      "FROM pg_catalog.pg_roles WHERE rolname = current_user",
                      0, NULL, &answer, err);
    if (rc != EMS_OK)
        return rc;
    st->superuser = PQntuples(answer) == 1 && PQgetvalue(answer, 0, 0)[0] == 't';
    if (PQntuples(answer) != 1 || PQgetvalue(answer, 0, 1)[0] != 't')
        rc = ems_fail(err, EMS_SERVER_ERROR,
                      "role \"%s\" may not make roles and databases: it needs CREATEROLE and "
                      "CREATEDB",
                      PQntuples(answer) == 1 ? PQgetvalue(answer, 0, 2) : "");
    PQclear(answer);
    return rc;
}

/* PostgreSQL ends all connections when one of its processes crashes, and comes back by itself. Is
 * the admin connection alive? If not, try to get it back. */
bool ems_staging_revive(struct ems_staging *st)
{
    enum { STEP_MS = 100 };
    const struct timespec step = {.tv_nsec = STEP_MS * 1000000L};
    struct ems_error ignored = {0};

    for (unsigned waited = 0; waited < RECONNECT_MS; waited += STEP_MS) {
        PGresult *answer = PQexec(st->admin, "");
        bool alive = PQstatus(st->admin) == CONNECTION_OK;

        PQclear(answer);
        if (alive)
            return true;
        if (st->cluster != NULL && !ems_cluster_is_running(st->cluster))
            return false;
        PQreset(st->admin);
        if (PQstatus(st->admin) == CONNECTION_OK && ems_staging_prepare(st, &ignored) == EMS_OK)
            return true;
        ignored = (struct ems_error){0};
        nanosleep(&step, NULL);
    }
    return false;
}

/* The failure is kept apart until the end: closing must not see a half-open object as good. */
int ems_staging_open(const struct ems_staging_options *options, struct ems_staging **staging,
                     struct ems_error *err)
{
    struct ems_staging *st = calloc(1, sizeof *st);
    struct ems_error failure = {0};
    const char *conninfo = options->conninfo != NULL ? options->conninfo : "";
    int rc = EMS_OK;

    *staging = NULL;
    if (st == NULL)
        return ems_fail_memory(err);
    st->jobs = options->jobs > 0 ? options->jobs : 1;
    if (options->embedded != NULL)
        rc = ems_cluster_open(options->embedded, options->run_as, st->jobs, &st->cluster, &failure);
    if (rc == EMS_OK && st->cluster != NULL)
        conninfo = ems_cluster_conninfo(st->cluster);
    if (rc == EMS_OK)
        rc = connect_admin(st, conninfo, &failure);
    if (rc == EMS_OK) {
        *staging = st;
        return EMS_OK;
    }
    ems_staging_close(st);
    rc = ems_fail(err, rc, "%s", failure.text);
    if (err != NULL && err->stage == NULL)
        err->stage = "staging";
    return rc;
}

void ems_staging_close(struct ems_staging *st)
{
    if (st == NULL)
        return;
    ems_staging_abandon(st);
    PQfinish(st->admin);
    ems_cluster_close(st->cluster);
    ems_wipe(st->password, sizeof st->password);
    free(st);
}

PGconn *ems_staging_admin(struct ems_staging *st)
{
    return st->admin;
}

int ems_staging_version(const struct ems_staging *st)
{
    return st->version;
}

/* ---- questions ---- */

/* One row, one column, as text into out; empty for no row or NULL. */
int ems_staging_ask(struct ems_staging *st, const char *what, const char *sql,
                    const char *parameter, char *out, size_t out_size, struct ems_error *err)
{
    PGresult *answer;
    int rc = ems_pq_query(st->admin, what, sql, parameter != NULL, &parameter, &answer, err);

    out[0] = '\0';
    if (rc == EMS_OK && PQntuples(answer) > 0)
        snprintf(out, out_size, "%s", PQgetvalue(answer, 0, 0));
    PQclear(answer);
    return rc;
}

int ems_staging_exists(struct ems_staging *st, const char *database, bool *exists,
                       struct ems_error *err)
{
    char found[8];
    int rc = ems_staging_ask(st, "look for the database",
                             "SELECT 'yes' FROM pg_catalog.pg_database WHERE datname = $1",
                             database, found, sizeof found, err);

    *exists = found[0] != '\0';
    return rc;
}

/* ---- words ---- */

const char *ems_staging_howto(struct ems_staging *st, const char *database)
{
    const char *host = PQhost(st->admin);

    if (st->cluster != NULL)
        ems_cluster_howto(st->cluster, database, st->howto, sizeof st->howto);
    else
        snprintf(st->howto, sizeof st->howto, "psql \"host=%s port=%s user=%s dbname=%s\"\n",
                 host != NULL ? host : "", PQport(st->admin), PQuser(st->admin), database);
    return st->howto;
}

/* ASCII only and by hand: the locale must not decide how a database is called. */
void ems_staging_name(const char *server_name, char *out)
{
    size_t used = (size_t)sprintf(out, "staging_");

    for (; *server_name != '\0' && used < EMS_NAME_BYTES; server_name++) {
        char c = *server_name;

        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        out[used++] = (char)((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '_');
    }
    out[used] = '\0';
}
