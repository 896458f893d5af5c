/* server_leftover.c - see server_leftover.h */
#include "server_leftover.h"

#include "bytes.h"
#include "server_pq.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* How the comment on an unfinished database begins; then its identity, a blank, and the target. */
#define MARK "ems-intake, unfinished: "

/* FORCE came with 13. */
int ems_leftover_drop_database(PGconn *admin, const char *name, struct ems_error *err)
{
    enum { WITH_FORCE = 130000 };
    bool force = PQserverVersion(admin) >= WITH_FORCE;
    int rc = EMS_OK;

    if (!force)
        rc = ems_pq_run(admin, "end the connections", err,
                        "SELECT pg_catalog.pg_terminate_backend(pid) FROM "
                        "pg_catalog.pg_stat_activity WHERE datname = '%s'",
                        name);
    if (rc == EMS_OK)
        rc = ems_pq_run(admin, "drop the database", err, "DROP DATABASE IF EXISTS %s%s", name,
                        force ? " WITH (FORCE)" : "");
    return rc;
}

/* Of the run that made this role nobody is left who could go on: its admin connection, which is of
 * another role, is gone. application_name can be read by every role. */
#define DEAD                                                                                       \
    " AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_stat_activity a"                                 \
    " WHERE a.application_name = r.rolname AND a.usename <> r.rolname)"

/*
 * Databases first, because a role that owns one cannot be dropped; one that owns a published
 * database is not tried. Connections of a dead run's role go with its database.
 */
void ems_leftover_drop_all(PGconn *admin, const char *resumed_target)
{
    static const char databases[] =
        "SELECT datname FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles r ON r.oid = datdba,"
        " pg_catalog.substr(pg_catalog.shobj_description(d.oid, 'pg_database'),"
        " 1 + pg_catalog.length('" MARK "')) AS m (mark)"
        " WHERE datname ~ '^ems_(load|old)_[0-9a-f]{16}$' AND rolname ~ " EMS_ROLE_PATTERN DEAD
        " AND ($1::pg_catalog.text IS NULL OR m.mark IS NULL"
        " OR pg_catalog.substr(m.mark, 1 + pg_catalog.strpos(m.mark, ' ')) = $1)";
    static const char roles[] =
        "SELECT rolname FROM pg_catalog.pg_roles r WHERE rolname ~ " EMS_ROLE_PATTERN
        " AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_database d WHERE d.datdba = r.oid)" DEAD;
    struct ems_error ignored = {0};
    PGresult *answer;

    ems_pq_query(admin, "look for leftovers", databases, 1, &resumed_target, &answer, &ignored);
    for (int i = 0; i < PQntuples(answer); i++)
        ems_leftover_drop_database(admin, PQgetvalue(answer, i, 0), &ignored);
    PQclear(answer);
    ems_pq_query(admin, "look for leftovers", roles, 0, NULL, &answer, &ignored);
    for (int i = 0; i < PQntuples(answer); i++)
        ems_pq_run(admin, "drop a role", &ignored, "DROP ROLE IF EXISTS %s",
                   PQgetvalue(answer, i, 0));
    PQclear(answer);
}

/* Waits by itself for connections that are about to end (CountOtherDBBackends: 5 s). */
int ems_leftover_rename(PGconn *admin, const char *from, const char *to, struct ems_error *err)
{
    char *a = PQescapeIdentifier(admin, from, strlen(from));
    char *b = PQescapeIdentifier(admin, to, strlen(to));
    int rc = a != NULL && b != NULL ? EMS_OK : ems_fail_memory(err);

    if (rc == EMS_OK)
        rc = ems_pq_run(admin, "rename the database", err, "ALTER DATABASE %s RENAME TO %s", a, b);
    PQfreemem(a);
    PQfreemem(b);
    return rc;
}

/* Ending is asked for and takes a moment. Background processes have no role. */
int ems_leftover_disconnect(PGconn *admin, const char *role, struct ems_error *err)
{
    static const char terminate[] = "SELECT pg_catalog.pg_terminate_backend(pid) FROM "
                                    "pg_catalog.pg_stat_activity WHERE usename = $1";
    enum { STEP_MS = 20, LIMIT_MS = 10000 };
    const struct timespec step = {.tv_nsec = STEP_MS * 1000000L};
    bool connected = true;
    int rc = EMS_OK;

    for (unsigned waited = 0; rc == EMS_OK && connected; waited += STEP_MS) {
        PGresult *answer;

        rc = ems_pq_query(admin, "end the connections", terminate, 1, &role, &answer, err);
        connected = PQntuples(answer) > 0;
        PQclear(answer);
        if (rc == EMS_OK && connected && waited >= LIMIT_MS)
            return ems_fail(err, EMS_SERVER_ERROR, "cannot end the connections of %s", role);
        if (connected)
            nanosleep(&step, NULL);
    }
    return rc;
}

/* ---- resuming ---- */

/* A comment, because it belongs to the database and not to what is in it: it can be read without
 * connecting, and outlives a new name. */
int ems_leftover_mark(PGconn *admin, const char *database, const char *identity, const char *target,
                      struct ems_error *err)
{
    char text[sizeof MARK + 160], *quoted;
    int rc;

    snprintf(text, sizeof text, MARK "%.64s %s", identity, target);
    quoted = PQescapeLiteral(admin, text, strlen(text));
    if (quoted == NULL)
        return ems_pq_fail(err, "staging", EMS_SERVER_ERROR, admin, NULL, "cannot quote a name");
    rc = ems_pq_run(admin, "mark the database", err, "COMMENT ON DATABASE %s IS %s", database,
                    quoted);
    PQfreemem(quoted);
    return rc;
}

/* "<identity> <target>" in the comment: is it that target? */
static bool is_for(const char *mark, const char *target)
{
    const char *blank = strchr(mark, ' ');

    return blank != NULL && strcmp(blank + 1, target) == 0;
}

/* DEAD: what another run is just working on is not taken from it. */
int ems_leftover_find(PGconn *admin, const char *identity, const char *target,
                      struct ems_leftover *left, struct ems_error *err)
{
    static const char sql[] =
        "SELECT datname, rolname, pg_catalog.substr(c.comment, 1 + pg_catalog.length('" MARK "'))"
        " FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles r ON r.oid = datdba,"
        " pg_catalog.shobj_description(d.oid, 'pg_database') AS c (comment)"
        " WHERE rolname ~ " EMS_ROLE_PATTERN DEAD " AND pg_catalog.strpos(c.comment, '" MARK
        "') = 1 ORDER BY d.oid DESC";
    const char *other = NULL;
    char shown[100];
    PGresult *answer;
    int rc = ems_pq_query(admin, "look for unfinished databases", sql, 0, NULL, &answer, err);

    *left = (struct ems_leftover){.database = ""};
    for (int i = 0; i < PQntuples(answer) && left->database[0] == '\0'; i++) {
        const char *mark = PQgetvalue(answer, i, 2);

        if (!is_for(mark, target))
            continue;
        other = PQgetvalue(answer, i, 0);
        if (strncmp(mark, identity, strlen(identity)) != 0 || mark[strlen(identity)] != ' ')
            continue;
        snprintf(left->database, sizeof left->database, "%s", PQgetvalue(answer, i, 0));
        snprintf(left->role, sizeof left->role, "%s", PQgetvalue(answer, i, 1));
    }
    if (rc == EMS_OK && left->database[0] == '\0' && other != NULL)
        rc = ems_fail(err, EMS_RESTORE_EXISTS,
                      "the unfinished database %s is of another dump: restore without --resume",
                      ems_printable(other, strlen(other), shown, sizeof shown));
    PQclear(answer);
    return rc;
}
