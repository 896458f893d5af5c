/* server_leftover.c - see server_leftover.h */
#include "server_leftover.h"

#include "server_pq.h"

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
void ems_leftover_drop_all(PGconn *admin)
{
    static const char databases[] =
        "SELECT datname FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles r ON r.oid = datdba"
        " WHERE datname ~ '^ems_(load|old)_[0-9a-f]{16}$' AND rolname ~ " EMS_ROLE_PATTERN DEAD;
    static const char roles[] =
        "SELECT rolname FROM pg_catalog.pg_roles r WHERE rolname ~ " EMS_ROLE_PATTERN
        " AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_database d WHERE d.datdba = r.oid)" DEAD;
    struct ems_error ignored = {0};
    PGresult *answer;

    ems_pq_query(admin, "look for leftovers", databases, 0, NULL, &answer, &ignored);
    for (int i = 0; i < PQntuples(answer); i++)
        ems_leftover_drop_database(admin, PQgetvalue(answer, i, 0), &ignored);
    PQclear(answer);
    ems_pq_query(admin, "look for leftovers", roles, 0, NULL, &answer, &ignored);
    for (int i = 0; i < PQntuples(answer); i++)
        ems_pq_run(admin, "drop a role", &ignored, "DROP ROLE IF EXISTS %s",
                   PQgetvalue(answer, i, 0));
    PQclear(answer);
}
