/*
 * restore.c - see restore.h
 *
 * One connection is in one of three states: idle inside the transaction; in pipeline mode, with
 * `queued` statements on their way (PostgreSQL documentation, 34.5); or in a COPY command
 * (server_copy.h). COPY cannot be part of a pipeline, so the queue is drained before it.
 *
 * Nothing is undone here after a failure: whoever called drops the database.
 */
#include "restore.h"

#include "bytes.h"
#include "server_copy.h"
#include "server_pq.h"
#include "server_send.h"
#include "server_session.h"
#include "server_workers.h"

#include <string.h>

struct restore {
    struct ems_sqlscan *scan;
    const struct ems_restore_options *options;
    struct ems_restore_result *result;
    struct ems_staging *staging;
    PGconn *conn;

    /* With a plan: each table in a transaction of its own, keys and indexes by workers. Without:
     * everything in order in one transaction. */
    struct ems_plan *plan;
    struct ems_workers *workers;
    bool post_data; /* all rows are in, and all tables with the workers */
    bool waited;    /* and they are done */

    /* There was no first pass: what comes behind the rows is gathered, and done at the end. */
    bool gathering;
    struct ems_plan own;

    struct ems_sender send;
    struct ems_copy copy;
    bool rows_begun; /* the time limits are those of the rows and what follows them */
};

/* ---- statements ---- */

/*
 * The dump's settings are not used, but one is understood: dumps made before 10.3 and 9.6.8 name
 * their schema once, in search_path, and not in each statement.
 */
static int follow_setting(struct restore *r, const struct ems_sql_statement *s,
                          struct ems_error *err)
{
    static const char unqualified[] = "SET search_path = public, pg_catalog";
    static const char qualified[] = "SET search_path = ''";
    const char *sql;

    if (s->shape != EMS_SQL_SET || strcasestr(s->text, "search_path") == NULL)
        return EMS_OK;
    if (strcasestr(s->text, "public") != NULL)
        sql = unqualified;
    else if (strcasestr(s->text, "set_config") != NULL)
        sql = qualified;
    else
        return EMS_OK;
    return ems_sender_send(&r->send, sql, strlen(sql), s->line, EMS_SENT_OURS, err);
}

/* ---- COPY ---- */

/* A table in a transaction of its own: emptied in it, so that FREEZE is allowed and, with wal_level
 * minimal, its rows are not logged. */
static int begin_table(struct restore *r, const char *table, struct ems_error *err)
{
    const char *name = strchr(table, '.') != NULL ? strchr(table, '.') + 1 : table;
    char *quoted = PQescapeIdentifier(r->conn, name, strlen(name));
    int rc;

    if (quoted == NULL)
        return ems_pq_fail(err, "restore", EMS_SERVER_ERROR, r->conn, NULL, "cannot quote a name");
    rc = ems_pq_run(r->conn, "begin", err, "BEGIN");
    if (rc == EMS_OK)
        rc = ems_pq_run(r->conn, "empty a new table", err, "TRUNCATE ONLY public.%s", quoted);
    PQfreemem(quoted);
    return rc;
}

/* Its rows are counted: commit them, and let the workers go on with it. */
static int end_table(struct restore *r, const char *table, struct ems_error *err)
{
    struct ems_plan_table *planned = ems_plan_find(r->plan, table);
    int rc = ems_pq_run(r->conn, "commit the rows of a table", err, "COMMIT");

    if (rc == EMS_OK && planned == NULL)
        rc = ems_fail(err, EMS_PART_UNFINISHED, "the dump is not what it was in the first pass");
    if (rc == EMS_OK)
        planned->bytes = r->copy.bytes;
    return rc == EMS_OK && !r->gathering ? ems_workers_add(r->workers, planned, planned->bytes, err)
                                         : rc;
}

/* A schema is made at once; rows and indexes may take hours. */
static int begin_rows(struct restore *r, struct ems_error *err)
{
    int rc;

    if (r->rows_begun)
        return EMS_OK;
    r->rows_begun = true;
    rc = ems_sender_drain(&r->send, err);
    return rc == EMS_OK ? ems_session_phase(r->conn, EMS_SESSION_TABLES, err) : rc;
}

static int begin_block(struct restore *r, const struct ems_sql_statement *s, struct ems_error *err)
{
    int rc = begin_rows(r, err);

    if (rc == EMS_OK)
        rc = ems_sender_drain(&r->send, err);
    if (rc == EMS_OK && r->plan != NULL)
        rc = begin_table(r, s->table, err);
    return rc == EMS_OK ? ems_copy_begin(&r->copy, s->text, s->table, s->line, NULL, 0, err) : rc;
}

/*
 * The comparison that finds what PostgreSQL before 18 loses silently: it stops at "\." in a row,
 * throws the rest of the stream away and reports success.
 */
static int end_block(struct restore *r, const struct ems_sql_event *ev, struct ems_error *err)
{
    int rc = ems_copy_end(&r->copy, err);

    if (rc != EMS_OK)
        return rc;
    r->result->statements++;
    r->result->rows += r->copy.rows;
    r->result->bytes += r->copy.bytes;
    if (r->copy.rows != ev->rows)
        return ems_fail(err, EMS_RESTORE_FAILED,
                        "line %llu: the dump holds %llu rows of %s, but the server took %llu",
                        (unsigned long long)ev->line, (unsigned long long)ev->rows, r->copy.table,
                        (unsigned long long)r->copy.rows);
    return r->plan != NULL ? end_table(r, ev->statement->table, err) : EMS_OK;
}

/* ---- the whole ---- */

static int start_workers(struct restore *r, struct ems_error *err)
{
    r->workers = ems_workers_start(r->staging, r->plan, r->options->jobs, NULL, NULL, err);
    return r->workers != NULL ? EMS_OK : err->code;
}

static int open_session(struct restore *r, struct ems_error *err)
{
    struct ems_plan *plan = r->options->plan;
    int rc = ems_session_open(r->staging, &r->conn, err);

    r->copy.conn = r->send.conn = r->conn;
    r->copy.rows_done = r->send.rows_done = r->options->rows_done;
    if (rc == EMS_OK)
        rc = ems_session_phase(r->conn, EMS_SESSION_SCHEMA, err);
    if (rc != EMS_OK)
        return rc;
    if (r->options->jobs < 2 || (plan != NULL && plan->unusable))
        return ems_pq_run(r->conn, "begin", err, "BEGIN");
    if (plan == NULL) {
        r->gathering = r->own.keep_after = true;
        r->plan = &r->own;
        return EMS_OK;
    }
    r->plan = plan;
    return start_workers(r, err);
}

/* While gathering: the plan grows with the dump. A dump without schemas, which shows in its first
 * lines, goes in order. */
static int observe(struct restore *r, const struct ems_sql_event *ev, struct ems_error *err)
{
    int rc = ems_plan_observe(&r->own, ev, err);

    if (rc != EMS_OK || !r->own.unusable)
        return rc;
    if (r->result->tables > 0)
        return ems_fail(err, EMS_SQL_REFUSED,
                        "line %llu: so many statements that they cannot be kept until the end",
                        (unsigned long long)ev->line);
    r->gathering = false;
    r->plan = NULL;
    rc = ems_sender_drain(&r->send, err);
    return rc != EMS_OK ? rc : ems_pq_run(r->conn, "begin", err, "BEGIN");
}

/* ---- keys and indexes by the workers ---- */

/* The rows are all in: what is still to be made of tables that had none. */
static int begin_post_data(struct restore *r, struct ems_error *err)
{
    int rc = ems_sender_drain(&r->send, err);

    for (size_t i = 0; i < r->plan->table_count && rc == EMS_OK; i++)
        if (!r->plan->tables[i].begun)
            rc = ems_workers_add(r->workers, &r->plan->tables[i], r->plan->tables[i].bytes, err);
    r->post_data = true;
    return rc;
}

static int tick(void *context, struct ems_error *err)
{
    const struct restore *r = context;

    return r->options->tick != NULL ? r->options->tick(r->options->watch_context, err) : EMS_OK;
}

/* Everything that comes after the rows and is not a key or an index may need all of these. */
static int wait_for_workers(struct restore *r, struct ems_error *err)
{
    int rc = EMS_OK;

    if (r->workers == NULL || r->waited)
        return EMS_OK;
    if (!r->post_data)
        rc = begin_post_data(r, err);
    if (rc == EMS_OK)
        rc = ems_workers_wait(r->workers, tick, r, err);
    r->waited = true;
    return rc;
}

/* A key or index in the dump: a worker makes it, or has made it already. */
static int meet_planned(struct restore *r, const struct ems_sql_statement *s, struct ems_error *err)
{
    int rc = r->post_data || r->gathering ? EMS_OK : begin_post_data(r, err);

    if (rc == EMS_OK)
        rc = ems_plan_meet(r->plan, s, err);
    r->result->statements++;
    return rc;
}

static int act_on_statement(struct restore *r, const struct ems_sql_statement *s,
                            struct ems_error *err)
{
    int rc;

    if (s->action == EMS_SQL_SWALLOW)
        return follow_setting(r, s, err);
    if (s->action != EMS_SQL_SEND)
        return EMS_OK;
    if (r->gathering && ems_plan_comes_after(s->shape))
        return EMS_OK;
    if (r->plan != NULL && (s->shape == EMS_SQL_ADD_KEY || s->shape == EMS_SQL_CREATE_INDEX ||
                            s->shape == EMS_SQL_ADD_FOREIGN_KEY))
        return meet_planned(r, s, err);
    if (r->post_data && wait_for_workers(r, err) != EMS_OK)
        return err->code;
    switch (s->shape) {
    case EMS_SQL_COPY:
        return begin_block(r, s, err);
    case EMS_SQL_CREATE_TABLE:
        r->result->tables++;
        return ems_sender_send(&r->send, s->text, s->size, s->line, EMS_SENT_PLAIN, err);
    case EMS_SQL_INSERT:
        rc = begin_rows(r, err);
        return rc == EMS_OK
                   ? ems_sender_send(&r->send, s->text, s->size, s->line, EMS_SENT_ROWS, err)
                   : rc;
    case EMS_SQL_ADD_KEY:
    case EMS_SQL_CREATE_INDEX:
    case EMS_SQL_ADD_CHECK:
    case EMS_SQL_ADD_FOREIGN_KEY:
        return ems_sender_send(&r->send, s->text, s->size, s->line, EMS_SENT_SLOW, err);
    default:
        return ems_sender_send(&r->send, s->text, s->size, s->line, EMS_SENT_PLAIN, err);
    }
}

static int act(struct restore *r, const struct ems_sql_event *ev, struct ems_error *err)
{
    int rc = EMS_OK;

    if (r->options->watch != NULL)
        rc = r->options->watch(r->options->watch_context, ev, err);
    if (rc == EMS_OK && r->gathering)
        rc = observe(r, ev, err);
    if (rc != EMS_OK)
        return rc;
    switch (ev->kind) {
    case EMS_SQL_STATEMENT:
        return act_on_statement(r, ev->statement, err);
    case EMS_SQL_ROWS:
        return ems_copy_feed(&r->copy, ev->data.data, ev->data.size, ev->line, err);
    case EMS_SQL_COPY_END:
        return end_block(r, ev, err);
    }
    return ems_fail(err, EMS_INTERNAL, "restore: unknown event %d", (int)ev->kind);
}

/* For the questions that follow: autovacuum would come too late. A tenth of the usual sample is
 * enough to choose plans by, and the usual one would take a tenth of the whole restore. */
static int analyze(struct restore *r, struct ems_error *err)
{
    int rc = ems_pq_run(r->conn, "set up the restore's session", err,
                        "SET default_statistics_target = 10");

    return rc == EMS_OK ? ems_pq_run(r->conn, "analyze the database", err, "ANALYZE") : rc;
}

/* The dump is proven to its end. Everything in it must have been sent, and every row taken: blocks
 * were compared one by one, this is for INSERTs. */
static int settle(struct restore *r, struct ems_error *err)
{
    const struct ems_sql_facts *facts = ems_sqlscan_facts(r->scan);
    PGresult *answer;
    int rc = ems_sender_drain(&r->send, err);

    if (rc == EMS_OK && r->gathering)
        rc = start_workers(r, err);
    if (rc == EMS_OK)
        rc = wait_for_workers(r, err);
    if (rc == EMS_OK && r->gathering)
        rc = ems_sender_send_all(&r->send, r->own.after, r->own.after_count, err);
    if (rc == EMS_OK && r->plan != NULL && r->plan->seen != r->plan->count)
        rc = ems_fail(err, EMS_PART_UNFINISHED, "the dump is not what it was in the first pass");
    r->result->rows += r->send.rows;
    r->result->statements += r->send.statements;
    if (rc == EMS_OK && r->result->rows != facts->rows)
        rc = ems_fail(err, EMS_RESTORE_FAILED, "the dump holds %llu rows, but the server took %llu",
                      (unsigned long long)facts->rows, (unsigned long long)r->result->rows);
    if (rc == EMS_OK && r->result->statements != facts->sent)
        rc = ems_fail(err, EMS_INTERNAL, "restore: %llu of %llu statements were sent",
                      (unsigned long long)r->result->statements, (unsigned long long)facts->sent);
    if (rc != EMS_OK || r->plan != NULL)
        return rc;
    /* Deferred constraints are checked here. A transaction that failed answers ROLLBACK, and that
     * is not an error to libpq. */
    answer = PQexecParams(r->conn, "COMMIT", 0, NULL, NULL, NULL, NULL, 0);
    if (PQresultStatus(answer) != PGRES_COMMAND_OK)
        rc = ems_pq_fail(err, "restore", EMS_RESTORE_FAILED, r->conn, answer,
                         "at the end of the dump");
    else if (strcmp(PQcmdStatus(answer), "COMMIT") != 0)
        rc = ems_fail(err, EMS_RESTORE_FAILED, "the server rolled the restore back");
    PQclear(answer);
    return rc == EMS_OK ? analyze(r, err) : rc;
}

int ems_restore_run(struct ems_sqlscan *scan, struct ems_staging *staging,
                    const struct ems_restore_options *options, struct ems_restore_result *result,
                    struct ems_error *err)
{
    static const struct ems_restore_options defaults = {0};
    struct restore r = {.scan = scan, .options = options, .result = result, .staging = staging};
    struct ems_error failure = {0};
    struct ems_sql_event ev;
    int rc;

    if (options == NULL)
        r.options = &defaults;
    *result = (struct ems_restore_result){0};
    rc = open_session(&r, &failure);
    while (rc == EMS_OK && (rc = ems_sqlscan_next(scan, &ev, &failure)) == EMS_OK) {
        rc = act(&r, &ev, &failure);
        if (rc != EMS_OK && failure.stage == NULL)
            failure.stage = "restore";
    }
    if (rc == EMS_END) {
        rc = settle(&r, &failure);
        if (rc != EMS_OK && failure.stage == NULL)
            failure.stage = "restore";
    } else {
        ems_copy_abort(&r.copy);
    }
    ems_workers_free(r.workers);
    PQfinish(r.conn);
    ems_copy_release(&r.copy);
    ems_plan_release(&r.own);
    if (rc != EMS_OK && err != NULL && err->code == EMS_OK)
        *err = failure;
    return rc;
}
