/*
 * server_sqlite.c - see server_sqlite.h
 *
 * One connection and one transaction: the tables are made in it, so rows can be written frozen and,
 * with wal_level minimal, without a log. Triggers and foreign keys come after the rows, as in a
 * dump, so the order of the tables does not matter.
 */
#include "server_sqlite.h"

#include "server_pq.h"
#include "server_session.h"
#include "server_sqlite_sequence.h"
#include "server_sqlite_version.h"
#include "server_wait.h"
#include "sqlite_open.h"
#include "synapse_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_PER_TICK 20000

struct restore {
    struct ems_artifact *artifact;
    const struct ems_schema *schema;
    const struct ems_check_options *check;
    struct ems_findings *findings;
    struct ems_sqlite_copy copy;
    struct ems_sqlite_plan plan;
    uint64_t sequences;
    struct ems_error interrupted; /* of tick, in SQLite's progress handler */
};

/* SQLite can be long about one row of a sorted or damaged table; 1 ends the statement. */
static int on_progress(void *context)
{
    struct restore *r = context;

    return r->check->tick(r->check->tick_context, &r->interrupted) != EMS_OK;
}

/* Opened anew: the check has closed it, and with it played back a -wal. What is read is the same
 * file all the same, a private copy or the customer's own, which is only ever read. */
static int open_source(struct restore *r, struct ems_error *err)
{
    const struct ems_artifact *a = r->artifact;
    int rc;

    if (!ems_synapse_is_homeserver(&a->synapse))
        return ems_fail(err, EMS_SQLITE_NOT_SYNAPSE,
                        "this is no homeserver: no tables users, events and schema_version");
    if (a->database == NULL)
        return ems_fail(err, EMS_INTERNAL, "restore: the database was not kept");
    rc = ems_sqlite_open(a->database, a->database_copy != NULL, &r->copy.db);
    if (rc != SQLITE_OK)
        return ems_sqlite_fail(r->copy.db, rc, err);
    if (r->check->tick != NULL)
        sqlite3_progress_handler(r->copy.db, STEPS_PER_TICK, on_progress, r);
    return EMS_OK;
}

/* ---- rows ---- */

/*
 * The row that Synapse expects in any case, and without a position: it then leaves the user
 * directory alone until the directory has been made anew (synapse_port_db does the same).
 */
static int add_directory_row(struct restore *r, struct ems_error *err)
{
    for (size_t i = 0; i < r->plan.count; i++)
        if (strcmp(r->plan.tables[i].name, "user_directory_stream_pos") == 0 &&
            r->plan.tables[i].column_count > 0)
            return ems_pq_run(r->copy.conn, "note that there is no user directory", err,
                              "INSERT INTO public.user_directory_stream_pos (stream_id) "
                              "VALUES (NULL)");
    return EMS_OK;
}

/* One SQLite connection in one thread, so that no table is read while another waits for the server.
 * Tables that are left are counted: the report says how many rows are not there. */
static int copy_tables(struct restore *r, struct ems_error *err)
{
    struct ems_sqlite_table *search = NULL;
    int rc = EMS_OK;

    for (size_t i = 0; i < r->plan.count && rc == EMS_OK; i++) {
        struct ems_sqlite_table *t = &r->plan.tables[i];

        if (t->fate == EMS_SQLITE_SEARCHED)
            search = t;
        if (t->fate != EMS_SQLITE_LEFT)
            rc = ems_sqlite_copy_table(&r->copy, t, err);
        else if (t->source != NULL)
            rc = ems_sqlite_count_table(&r->copy, t, err);
    }
    if (rc == EMS_OK && search != NULL)
        rc = ems_sqlite_copy_search(&r->copy, search, err);
    return rc == EMS_OK ? add_directory_row(r, err) : rc;
}

/* ---- what is to be told ---- */

/* "1, 2, 3, ..." */
static const char *list_rowids(const struct ems_sqlite_table *t, char *out, size_t size)
{
    enum { ROOM = sizeof t->nul_rowids / sizeof t->nul_rowids[0] };
    size_t used = 0;

    out[0] = '\0';
    for (uint64_t i = 0; i < t->nul_rows && i < ROOM && used + 24 < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%lld", i > 0 ? ", " : "",
                                 (long long)t->nul_rowids[i]);
    if (t->nul_rows > ROOM)
        snprintf(out + used, size - used, ", ...");
    return out;
}

/* Only after the commit: what is told here has then happened. */
static void tell_table(struct restore *r, const struct ems_sqlite_table *t)
{
    const char *name = r->artifact->name, *whose = NULL;
    char rowids[200];

    if (t->nul_rows > 0)
        ems_findings_add(r->findings, EMS_SQL_ENCODING, EMS_SEVERITY_WARNING, name, NULL,
                         EMS_NOWHERE,
                         "PostgreSQL cannot store them in text. Synapse's own tool drops such rows "
                         "too; look at them in the SQLite file if they matter.",
                         "table %s: %llu of %llu rows were not copied, because they hold NUL "
                         "characters (rowid %s)",
                         t->name, (unsigned long long)t->nul_rows,
                         (unsigned long long)t->source_rows, list_rowids(t, rowids, sizeof rowids));
    if (t->orphans > 0)
        ems_findings_add(r->findings, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_NOTE, name, NULL,
                         EMS_NOWHERE, "",
                         "table %s: %llu rows were not copied, because their events are not there",
                         t->name, (unsigned long long)t->orphans);
    if (t->foreign && t->source_rows > 0) {
        bool known = ems_synapse_knows_table(t->name, &whose);

        ems_findings_add(r->findings, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_WARNING, name, NULL,
                         EMS_NOWHERE,
                         known ? "It is one of Synapse's: find out whether its release still uses "
                                 "it, and why the schema lacks it."
                               : "Ask whether a module of Synapse needs it.",
                         "table %s with %llu rows was not copied: the schema has no such table"
                         "%s%s%s",
                         t->name, (unsigned long long)t->source_rows, whose != NULL ? " (" : "",
                         whose != NULL ? whose : "", whose != NULL ? ")" : "");
    }
}

static void tell(struct restore *r)
{
    uint64_t directory = 0;

    for (size_t i = 0; i < r->plan.count; i++) {
        tell_table(r, &r->plan.tables[i]);
        if (strcmp(r->plan.tables[i].name, "user_directory") == 0)
            directory = r->plan.tables[i].source_rows;
    }
    if (directory > 0)
        ems_findings_add(r->findings, EMS_SYNAPSE_BACKGROUND_UPDATES, EMS_SEVERITY_NOTE,
                         r->artifact->name, NULL, EMS_NOWHERE,
                         "When Synapse runs on it, start the job regenerate_directory (admin API, "
                         "POST /_synapse/admin/v1/background_updates/start_job).",
                         "the user directory (%llu users) is not copied, and is empty until "
                         "Synapse has made it anew",
                         (unsigned long long)directory);
}

/* A table that only the target has is nothing that was left out. */
static int note_left(struct ems_artifact *a, const struct ems_sqlite_table *t,
                     struct ems_error *err)
{
    struct ems_left_out *grown = realloc(a->left_out, (a->left_out_count + 1) * sizeof *grown);

    if (grown == NULL)
        return ems_fail_memory(err);
    a->left_out = grown;
    grown += a->left_out_count;
    *grown = (struct ems_left_out){.rows = t->source_rows, .reason = t->reason};
    grown->table = strdup(t->name);
    if (grown->table == NULL)
        return ems_fail_memory(err);
    a->left_out_count++;
    return EMS_OK;
}

/* For the report: what was stored in which table, and what was not. */
static int note_tables(struct restore *r, struct ems_error *err)
{
    struct ems_artifact *a = r->artifact;
    char name[160], shown[160];
    int rc = EMS_OK;

    a->sql.tables = calloc(r->plan.count, sizeof *a->sql.tables);
    if (a->sql.tables == NULL && r->plan.count > 0)
        return ems_fail_memory(err);
    for (size_t i = 0; i < r->plan.count && rc == EMS_OK; i++) {
        const struct ems_sqlite_table *t = &r->plan.tables[i];
        struct ems_sql_table *row = &a->sql.tables[a->sql.table_count];

        if (t->fate == EMS_SQLITE_LEFT) {
            if (t->source != NULL)
                rc = note_left(a, t, err);
            continue;
        }
        snprintf(name, sizeof name, "public.%s", t->name);
        *row = (struct ems_sql_table){.rows = t->rows, .has_data = true};
        row->name = strdup(ems_printable(name, strlen(name), shown, sizeof shown));
        if (row->name == NULL)
            return ems_fail_memory(err);
        a->sql.table_count++;
        a->sql.rows += t->rows;
    }
    return rc;
}

/* ---- the whole ---- */

/* Deferred constraints are checked here. A transaction that failed answers ROLLBACK, and that is no
 * error to libpq. */
static int commit(struct restore *r, struct ems_error *err)
{
    PGconn *conn = r->copy.conn;
    PGresult *answer = NULL;
    int rc = ems_pq_wait(conn, "COMMIT", r->check->tick, r->check->tick_context, &answer, err);

    if (rc == EMS_OK && PQresultStatus(answer) != PGRES_COMMAND_OK)
        rc = ems_pq_refused(conn, answer, err, "at the end of the rows");
    else if (rc == EMS_OK && strcmp(PQcmdStatus(answer), "COMMIT") != 0)
        rc = ems_fail(err, EMS_RESTORE_FAILED, "the server rolled the restore back");
    PQclear(answer);
    return rc;
}

/* As after a dump (restore.c): a small sample is enough to choose plans by. */
static int analyze(struct restore *r, struct ems_error *err)
{
    PGresult *answer = NULL;
    int rc = ems_pq_run(r->copy.conn, "set up the restore's session", err,
                        "SET default_statistics_target = 10");

    if (rc == EMS_OK)
        rc = ems_pq_wait(r->copy.conn, "ANALYZE", r->check->tick, r->check->tick_context, &answer,
                         err);
    if (rc == EMS_OK && PQresultStatus(answer) != PGRES_COMMAND_OK)
        rc = ems_pq_refused(r->copy.conn, answer, err, "cannot analyze the database");
    PQclear(answer);
    return rc;
}

/*
 * The versions are compared in the target, where the schema's own rows are then, so that every form
 * of dump is understood in one way. Sequences come last: by then the indexes are there that give
 * the greatest value of a column without reading it.
 */
static int run(struct restore *r, struct ems_error *err)
{
    const struct ems_check_options *o = r->check;
    PGconn *conn = r->copy.conn;
    const char *name = r->artifact->name;
    int rc = ems_pq_run(conn, "begin", err, "BEGIN");

    if (rc == EMS_OK)
        rc =
            ems_schema_send(r->schema, EMS_SCHEMA_BEFORE_ROWS, conn, o->tick, o->tick_context, err);
    if (rc == EMS_OK)
        rc = ems_sqlite_compare_versions(r->copy.db, conn, r->schema->name, name, r->findings, err);
    if (rc == EMS_OK)
        rc = ems_sqlite_plan_make(&r->plan, r->copy.db, conn, name, r->findings, err);
    if (rc == EMS_OK)
        rc = copy_tables(r, err);
    if (rc == EMS_OK)
        rc = ems_schema_send(r->schema, EMS_SCHEMA_AFTER_ROWS, conn, o->tick, o->tick_context, err);
    if (rc == EMS_OK)
        rc = ems_sqlite_set_sequences(&r->copy, &r->plan, name, r->findings, &r->sequences, err);
    if (rc == EMS_OK)
        rc = commit(r, err);
    if (rc == EMS_OK)
        rc = analyze(r, err);
    if (rc == EMS_OK)
        rc = note_tables(r, err);
    if (rc == EMS_OK)
        tell(r);
    return rc;
}

/* The failure is kept apart until the end: a tick that ends the work inside of SQLite shows as its
 * "interrupted", and the reason is the tick's. */
int ems_sqlite_restore(struct ems_artifact *artifact, const struct ems_schema *schema,
                       struct ems_staging *staging, const struct ems_check_options *check,
                       struct ems_findings *findings, struct ems_error *err)
{
    struct restore r = {.artifact = artifact,
                        .schema = schema,
                        .check = check,
                        .findings = findings,
                        .copy = {.tick = check->tick,
                                 .tick_context = check->tick_context,
                                 .bytes_done = check->bytes_in}};
    struct ems_error failure = {0};
    int rc = open_source(&r, &failure);

    if (rc == EMS_OK)
        rc = ems_session_open(staging, &r.copy.conn, &failure);
    if (rc == EMS_OK)
        rc = run(&r, &failure);
    if (r.interrupted.code != EMS_OK) { /* what SQLite said of it is of no interest */
        rc = r.interrupted.code;
        failure = r.interrupted;
    }
    PQfinish(r.copy.conn);
    sqlite3_close(r.copy.db);
    ems_buf_release(&r.copy.piece);
    ems_sqlite_plan_release(&r.plan);
    if (rc != EMS_OK && err->code == EMS_OK)
        *err = failure;
    return rc;
}
