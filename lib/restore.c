/*
 * restore.c - see restore.h
 *
 * One connection is in one of three states: idle inside the transaction; in pipeline mode, with
 * `queued` statements on their way (PostgreSQL documentation, 34.5); or in a COPY command
 * (`copying`). COPY cannot be part of a pipeline, so the queue is drained before it.
 *
 * Nothing is undone here after a failure: whoever called drops the database.
 */
#include "restore.h"

#include "bytes.h"
#include "server_pq.h"
#include "server_session.h"
#include "server_workers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    PIECE_BYTES = 256 * 1024,   /* small spans are gathered to this */
    STRAIGHT_BYTES = 64 * 1024, /* spans from here on are sent as they are */
    /* A block is sent as several COPY commands of about this size, cut between rows: libpq tells of
     * a refused row only at a command's end, and nobody wants to push 100 GB at a server that threw
     * away the second row, or whose disk is full. */
    COMMAND_BYTES = 64 * 1024 * 1024,

    /* Statements on their way at the same time; few where each may take minutes, so that a watcher
     * sees where the restore is. */
    QUEUE_LENGTH = 64,
    QUEUE_SLOW = 2,
    QUEUE_BYTES = 1024 * 1024,

    HEAD_BYTES = 64, /* of a statement, for messages */
};

enum sort {
    PLAIN,
    ROWS, /* INSERT: the answer says how many */
    SLOW, /* reads a whole table */
    OURS, /* not of the dump */
};

/* A statement whose answer has not been read yet. */
struct sent {
    uint64_t line;
    enum sort sort;
    char head[HEAD_BYTES];
};

struct restore {
    struct ems_sqlscan *scan;
    const struct ems_restore_options *options;
    struct ems_restore_result *result;
    PGconn *conn;
    double started, last_row; /* seconds, monotonic */

    /* With workers: each table in a transaction of its own, keys and indexes by them. */
    struct ems_plan *plan;
    struct ems_workers *workers; /* NULL: everything in order in one transaction */
    bool post_data;              /* all rows are in, and all tables with the workers */
    bool waited;                 /* and they are done */

    struct sent queue[QUEUE_LENGTH];
    size_t queued, queued_bytes;

    /* The COPY block. */
    struct ems_buf copy;    /* its statement, as sent */
    char table[HEAD_BYTES]; /* printable */
    bool copying;           /* a COPY command is open on the connection */
    uint64_t command_line;  /* of the dump, where this command's first row is */
    uint64_t command_bytes;
    uint64_t block_rows; /* that the server counted in this block's commands */
    uint64_t block_bytes;
    struct ems_buf piece;
};

/* Intervals must not jump with the wall clock. */
static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Rows that the server says it has taken; never what we believe to have sent. */
static void count_rows(struct restore *r, uint64_t rows)
{
    r->result->rows += rows;
    r->last_row = now();
    if (r->options->rows_done != NULL)
        *r->options->rows_done += rows;
}

/* ---- statements ---- */

/* answer NULL: the connection itself failed, and has the message. */
static int fail_statement(const struct restore *r, const struct sent *s, const PGresult *answer,
                          struct ems_error *err)
{
    return ems_pq_fail(err, "restore", EMS_RESTORE_FAILED, r->conn, answer, "line %llu: %s",
                       (unsigned long long)s->line, s->head);
}

/* A setval answers with a row, everything else with a command tag; in "INSERT 0 3" the last number
 * is the rows. */
static int check_answer(struct restore *r, const struct sent *s, PGresult *answer,
                        struct ems_error *err)
{
    ExecStatusType status = PQresultStatus(answer);
    uint64_t rows;

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        return fail_statement(r, s, answer, err);
    r->result->statements += s->sort != OURS;
    if (s->sort != ROWS)
        return EMS_OK;
    rows = strtoull(PQcmdTuples(answer), NULL, 10);
    if (rows == 0)
        return ems_fail(err, EMS_RESTORE_FAILED, "line %llu: %s: the server took no row",
                        (unsigned long long)s->line, s->head);
    count_rows(r, rows);
    return EMS_OK;
}

/* Read the answers of everything in the queue, in order: the first one that is not good is the
 * first statement that failed. */
static int drain(struct restore *r, struct ems_error *err)
{
    PGresult *answer;
    int rc = EMS_OK;

    if (r->queued == 0)
        return EMS_OK;
    if (PQpipelineSync(r->conn) != 1)
        return fail_statement(r, &r->queue[0], NULL, err);
    for (size_t i = 0; i < r->queued && rc == EMS_OK; i++) {
        answer = PQgetResult(r->conn);
        rc = check_answer(r, &r->queue[i], answer, err);
        PQclear(answer);
        PQclear(rc == EMS_OK ? PQgetResult(r->conn) : NULL); /* the NULL between two statements */
    }
    if (rc != EMS_OK)
        return rc; /* the connection is of no further use */
    answer = PQgetResult(r->conn);
    if (PQresultStatus(answer) != PGRES_PIPELINE_SYNC || PQexitPipelineMode(r->conn) != 1)
        rc = fail_statement(r, &r->queue[r->queued - 1], answer, err);
    PQclear(answer);
    r->queued = r->queued_bytes = 0;
    return rc;
}

/* The beginning of a statement on one line, for messages. */
static void take_head(const char *sql, size_t size, char *head)
{
    char line[HEAD_BYTES];
    size_t used = 0;

    for (size_t i = 0; i < size && used < sizeof line; i++) {
        bool blank = sql[i] == ' ' || sql[i] == '\n' || sql[i] == '\t';

        if (!blank)
            line[used++] = sql[i];
        else if (used > 0 && line[used - 1] != ' ')
            line[used++] = ' ';
    }
    ems_printable(line, used, head, HEAD_BYTES);
}

/* The extended protocol takes one command in a string, so nothing can be smuggled in with it. */
static int send_sql(struct restore *r, const char *sql, size_t size, uint64_t line, enum sort sort,
                    struct ems_error *err)
{
    struct sent *s = &r->queue[r->queued];
    const size_t limit = sort == SLOW ? QUEUE_SLOW : QUEUE_LENGTH;

    s->line = line;
    s->sort = sort;
    take_head(sql, size, s->head);
    if ((r->queued == 0 && PQenterPipelineMode(r->conn) != 1) ||
        PQsendQueryParams(r->conn, sql, 0, NULL, NULL, NULL, NULL, 0) != 1)
        return fail_statement(r, s, NULL, err);
    r->queued++;
    r->queued_bytes += size;
    if (r->queued >= limit || r->queued_bytes >= QUEUE_BYTES)
        return drain(r, err);
    return EMS_OK;
}

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
    return send_sql(r, sql, strlen(sql), s->line, OURS, err);
}

/* ---- COPY ---- */

/* "COPY users, line 2, column admin: ...", PostgreSQL's CopyFromErrorCallback; the words may be
 * translated. The number after the table's name, or 0. */
static uint64_t context_line(const char *context, const char *table)
{
    const char *name = strrchr(table, '.') != NULL ? strrchr(table, '.') + 1 : table;
    const char *found = context != NULL ? strstr(context, name) : NULL;

    if (found == NULL || found[strlen(name)] != ',')
        return 0;
    found += strlen(name);
    return strtoull(found + strcspn(found, "0123456789"), NULL, 10);
}

/* A row is a line in a dump, so the server's count of lines leads to the dump's own. */
static int fail_copy(const struct restore *r, const PGresult *answer, struct ems_error *err)
{
    const char *context = PQresultErrorField(answer, PG_DIAG_CONTEXT);
    const char *column = context != NULL ? strstr(context, ", column ") : NULL;
    uint64_t row = context_line(context, r->table);
    char name[HEAD_BYTES] = "";

    if (row == 0)
        return ems_pq_fail(err, "restore", EMS_RESTORE_FAILED, r->conn, answer,
                           "in the rows of %s from line %llu", r->table,
                           (unsigned long long)r->command_line);
    if (column != NULL)
        ems_printable(column, strcspn(column, ":\n"), name, sizeof name);
    return ems_pq_fail(err, "restore", EMS_RESTORE_FAILED, r->conn, answer,
                       "line %llu: a row of %s%s", (unsigned long long)(r->command_line + row - 1),
                       r->table, name);
}

/* With a refused COPY the rows that follow must not be read as SQL (CVE-2026-6464): the scanner
 * never mixes them, and the restore ends here anyway. */
static int begin_command(struct restore *r, uint64_t line, struct ems_error *err)
{
    PGresult *answer =
        PQexecParams(r->conn, (const char *)r->copy.data, 0, NULL, NULL, NULL, NULL, 0);
    int rc = EMS_OK;

    r->command_line = line;
    r->command_bytes = 0;
    if (PQresultStatus(answer) == PGRES_COPY_IN)
        r->copying = true;
    else
        rc = ems_pq_fail(err, "restore", EMS_RESTORE_FAILED, r->conn, answer, "line %llu: COPY %s",
                         (unsigned long long)line, r->table);
    PQclear(answer);
    return rc;
}

/*
 * Blocks while the server is busy; meanwhile a relay below reads and inflates ahead. libpq copies
 * into its own buffer, so the span need not stay. 1 is the only good answer in blocking mode.
 */
static int put(struct restore *r, const uint8_t *data, size_t size, struct ems_error *err)
{
    if (size == 0 || PQputCopyData(r->conn, (const char *)data, (int)size) == 1)
        return EMS_OK;
    return ems_pq_fail(err, "restore", EMS_RESTORE_FAILED, r->conn, NULL,
                       "while sending rows of %s from line %llu", r->table,
                       (unsigned long long)r->command_line);
}

/* Always before the end of a command, or rows would be missing from it. */
static int flush_piece(struct restore *r, struct ems_error *err)
{
    int rc = put(r, r->piece.data, r->piece.size, err);

    r->piece.size = 0;
    return rc;
}

/* Send, or keep until there is enough to send. */
static int pass_on(struct restore *r, const uint8_t *data, size_t size, struct ems_error *err)
{
    int rc = EMS_OK;

    r->command_bytes += size;
    r->block_bytes += size;
    r->result->bytes += size;
    if (r->piece.size + size > PIECE_BYTES)
        rc = flush_piece(r, err);
    if (rc == EMS_OK && size >= STRAIGHT_BYTES && r->piece.size == 0) {
        while (rc == EMS_OK && size > PIECE_BYTES) {
            rc = put(r, data, PIECE_BYTES, err);
            data += PIECE_BYTES;
            size -= PIECE_BYTES;
        }
        return rc == EMS_OK ? put(r, data, size, err) : rc;
    }
    return rc == EMS_OK ? ems_buf_append(&r->piece, data, size, err) : rc;
}

/* The server's word on all rows of the command. */
static int end_command(struct restore *r, struct ems_error *err)
{
    PGresult *answer;
    int rc = flush_piece(r, err);

    if (rc != EMS_OK)
        return rc;
    r->copying = false;
    if (PQputCopyEnd(r->conn, NULL) != 1)
        return ems_pq_fail(err, "restore", EMS_RESTORE_FAILED, r->conn, NULL,
                           "at the end of the rows of %s", r->table);
    answer = PQgetResult(r->conn);
    if (PQresultStatus(answer) == PGRES_COMMAND_OK) {
        uint64_t rows = strtoull(PQcmdTuples(answer), NULL, 10);

        r->block_rows += rows;
        count_rows(r, rows);
    } else {
        rc = fail_copy(r, answer, err);
    }
    PQclear(answer);
    PQclear(PQgetResult(r->conn));
    return rc;
}

/* The rest of the block will not come: a plain end would make the server keep what it has. */
static void abort_command(struct restore *r)
{
    PGresult *answer;

    if (!r->copying || PQputCopyEnd(r->conn, "the dump ends here") != 1)
        return;
    while ((answer = PQgetResult(r->conn)) != NULL)
        PQclear(answer);
}

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
    return rc == EMS_OK ? ems_workers_add(r->workers, planned, r->block_bytes, err) : rc;
}

/*
 * FREEZE: the table was made or emptied in this transaction, so its rows can be written as they
 * would look after a VACUUM. The text ends in "FROM stdin", that is what the scanner accepts.
 */
static int begin_block(struct restore *r, const struct ems_sql_statement *s, struct ems_error *err)
{
    int rc = drain(r, err);

    r->copy.size = 0;
    r->block_rows = r->block_bytes = 0;
    ems_printable(s->table, strlen(s->table), r->table, sizeof r->table);
    if (rc == EMS_OK && r->workers != NULL)
        rc = begin_table(r, s->table, err);
    if (rc == EMS_OK)
        rc = ems_buf_printf(&r->copy, err, "%s WITH (FREEZE)", s->text);
    if (rc == EMS_OK)
        rc = begin_command(r, s->line, err);
    return rc;
}

/* In COPY text every line feed ends a row; one inside a value is written as \n. */
static uint64_t count_lines(const uint8_t *data, size_t size)
{
    const uint8_t *end = data + size;
    uint64_t lines = 0;

    while ((data = memchr(data, '\n', (size_t)(end - data))) != NULL) {
        data++;
        lines++;
    }
    return lines;
}

/* The rows of a block arrive cut anywhere. A COPY command that is long enough ends behind the last
 * whole row; what follows opens the next one, whose first row's line is then known. */
static int feed_block(struct restore *r, const struct ems_sql_event *ev, struct ems_error *err)
{
    const uint8_t *data = ev->data.data, *last;
    size_t size = ev->data.size, head;
    uint64_t line = ev->line;
    int rc = EMS_OK;

    if (r->copying && r->command_bytes == 0)
        r->command_line = line; /* until now it was that of COPY itself */
    if (r->copying && r->command_bytes + size > COMMAND_BYTES &&
        (last = memrchr(data, '\n', size)) != NULL) {
        head = (size_t)(last + 1 - data);
        rc = pass_on(r, data, head, err);
        if (rc == EMS_OK)
            rc = end_command(r, err);
        line += count_lines(data, head);
        data += head;
        size -= head;
    }
    if (rc == EMS_OK && size > 0 && !r->copying)
        rc = begin_command(r, line, err);
    if (rc == EMS_OK && size > 0)
        rc = pass_on(r, data, size, err);
    return rc;
}

/*
 * The comparison that finds what PostgreSQL before 18 loses silently: it stops at "\." in a row,
 * throws the rest of the stream away and reports success.
 */
static int end_block(struct restore *r, const struct ems_sql_event *ev, struct ems_error *err)
{
    int rc = r->copying ? end_command(r, err) : EMS_OK;

    r->result->statements += rc == EMS_OK;
    if (rc == EMS_OK && r->block_rows != ev->rows)
        rc = ems_fail(err, EMS_RESTORE_FAILED,
                      "line %llu: the dump holds %llu rows of %s, but the server took %llu",
                      (unsigned long long)ev->line, (unsigned long long)ev->rows, r->table,
                      (unsigned long long)r->block_rows);
    if (rc == EMS_OK && r->workers != NULL)
        rc = end_table(r, ev->statement->table, err);
    return rc;
}

/* ---- the whole ---- */

static int open_session(struct restore *r, struct ems_staging *staging, struct ems_error *err)
{
    struct ems_plan *plan = r->options->plan;
    int rc = ems_session_open(staging, &r->conn, err);

    if (rc != EMS_OK)
        return rc;
    if (plan == NULL || plan->unusable || r->options->jobs < 2)
        return ems_pq_run(r->conn, "begin", err, "BEGIN");
    r->plan = plan;
    r->workers = ems_workers_start(staging, plan, r->options->jobs, err);
    return r->workers != NULL ? EMS_OK : err->code;
}

/* ---- keys and indexes by the workers ---- */

/* The rows are all in: what is still to be made of tables that had none. */
static int begin_post_data(struct restore *r, struct ems_error *err)
{
    int rc = drain(r, err);

    for (size_t i = 0; i < r->plan->table_count && rc == EMS_OK; i++)
        if (!r->plan->tables[i].begun)
            rc = ems_workers_add(r->workers, &r->plan->tables[i], 0, err);
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
    int rc = r->post_data ? EMS_OK : begin_post_data(r, err);

    if (rc == EMS_OK)
        rc = ems_plan_meet(r->plan, s, err);
    r->result->statements++;
    return rc;
}

static int act_on_statement(struct restore *r, const struct ems_sql_statement *s,
                            struct ems_error *err)
{
    if (s->action == EMS_SQL_SWALLOW)
        return follow_setting(r, s, err);
    if (s->action != EMS_SQL_SEND)
        return EMS_OK;
    if (r->workers != NULL && (s->shape == EMS_SQL_ADD_KEY || s->shape == EMS_SQL_CREATE_INDEX))
        return meet_planned(r, s, err);
    if (r->post_data && wait_for_workers(r, err) != EMS_OK)
        return err->code;
    switch (s->shape) {
    case EMS_SQL_COPY:
        return begin_block(r, s, err);
    case EMS_SQL_CREATE_TABLE:
        r->result->tables++;
        return send_sql(r, s->text, s->size, s->line, PLAIN, err);
    case EMS_SQL_INSERT:
        return send_sql(r, s->text, s->size, s->line, ROWS, err);
    case EMS_SQL_ADD_KEY:
    case EMS_SQL_CREATE_INDEX:
    case EMS_SQL_ADD_CHECK:
    case EMS_SQL_ADD_FOREIGN_KEY:
        return send_sql(r, s->text, s->size, s->line, SLOW, err);
    default:
        return send_sql(r, s->text, s->size, s->line, PLAIN, err);
    }
}

static int act(struct restore *r, const struct ems_sql_event *ev, struct ems_error *err)
{
    int rc = EMS_OK;

    if (r->options->watch != NULL)
        rc = r->options->watch(r->options->watch_context, ev, err);
    if (rc != EMS_OK)
        return rc;
    switch (ev->kind) {
    case EMS_SQL_STATEMENT:
        return act_on_statement(r, ev->statement, err);
    case EMS_SQL_ROWS:
        return feed_block(r, ev, err);
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
    int rc = drain(r, err);

    if (rc == EMS_OK)
        rc = wait_for_workers(r, err);
    if (rc == EMS_OK && r->plan != NULL && r->plan->seen != r->plan->count)
        rc = ems_fail(err, EMS_PART_UNFINISHED, "the dump is not what it was in the first pass");
    if (rc == EMS_OK && r->result->rows != facts->rows)
        rc = ems_fail(err, EMS_RESTORE_FAILED, "the dump holds %llu rows, but the server took %llu",
                      (unsigned long long)facts->rows, (unsigned long long)r->result->rows);
    if (rc == EMS_OK && r->result->statements != facts->sent)
        rc = ems_fail(err, EMS_INTERNAL, "restore: %llu of %llu statements were sent",
                      (unsigned long long)r->result->statements, (unsigned long long)facts->sent);
    if (rc != EMS_OK || r->workers != NULL)
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
    struct restore r = {.scan = scan, .options = options, .result = result};
    struct ems_error failure = {0};
    struct ems_sql_event ev;
    int rc;

    if (options == NULL)
        r.options = &defaults;
    *result = (struct ems_restore_result){0};
    r.started = r.last_row = now();
    rc = open_session(&r, staging, &failure);
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
        abort_command(&r);
    }
    ems_workers_free(r.workers);
    PQfinish(r.conn);
    ems_buf_release(&r.copy);
    ems_buf_release(&r.piece);
    result->seconds_data = r.last_row - r.started;
    result->seconds_indexes = now() - r.last_row;
    if (rc != EMS_OK && err != NULL && err->code == EMS_OK)
        *err = failure;
    return rc;
}
