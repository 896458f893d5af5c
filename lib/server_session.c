/* server_session.c - see server_session.h */
#include "server_session.h"

#include "server_pq.h"

/*
 * Our own settings, never the dump's. Names resolve in pg_catalog alone, so that nothing that the
 * dump makes can stand in for something of PostgreSQL's.
 *
 * A transaction is idle only while the next piece of a dump is read and decrypted; a session, as
 * long as other connections are busy with a large table.
 */
int ems_session_open(struct ems_staging *staging, PGconn **conn, struct ems_error *err)
{
    static const char session[] =
        "SELECT pg_catalog.set_config(name, value, false) FROM (VALUES"
        " ('search_path', ''), ('client_encoding', 'UTF8'), ('standard_conforming_strings', 'on'),"
        " ('check_function_bodies', 'off'), ('row_security', 'off'), ('xmloption', 'content'),"
        " ('synchronous_commit', 'off'),"
        " ('idle_in_transaction_session_timeout', '24h'), ('transaction_timeout', '0'),"
        " ('idle_session_timeout', '0'),"
        " ('client_min_messages', 'error'), ('default_tablespace', ''),"
        " ('default_table_access_method', 'heap')) AS ours (name, value)"
        " WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_settings s WHERE s.name = ours.name)";
    static const char memory[] = /* in kB; more than that is the server's own choice */
        "SELECT pg_catalog.set_config('maintenance_work_mem', '256MB', false) FROM "
        "pg_catalog.pg_settings WHERE name = 'maintenance_work_mem' AND setting::bigint < 262144";
    int rc = ems_staging_connect(staging, conn, err);

    if (rc == EMS_OK)
        rc = ems_pq_run(*conn, "set up the restore's session", err, "%s", session);
    if (rc == EMS_OK)
        rc = ems_pq_run(*conn, "set up the restore's session", err, "%s", memory);
    return rc == EMS_OK ? ems_session_phase(*conn, EMS_SESSION_TABLES, err) : rc;
}

/*
 * The limits are for what must never happen, a server that hangs: they are far above what the
 * largest index takes, and a COPY command counts also while the customer's line is slow. A wait for
 * a lock, which can only be one of our own, ends first, because its message says more.
 */
int ems_session_phase(PGconn *conn, enum ems_session_phase phase, struct ems_error *err)
{
    return ems_pq_run(conn, "set the session's time limits", err,
                      "SELECT pg_catalog.set_config('statement_timeout', '%s', false), "
                      "pg_catalog.set_config('lock_timeout', '%s', false)",
                      phase == EMS_SESSION_SCHEMA ? "10min" : "24h",
                      phase == EMS_SESSION_SCHEMA ? "1min" : "12h");
}
