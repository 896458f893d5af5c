/*
 * server_sqlite_copy.c - see server_sqlite_copy.h
 *
 * Rows are read in the order of the rowid, which is the order in which they lie in the file, by the
 * table alone: an index could be another program's idea of it. The server names a bad row by its
 * number within the COPY command; the same reading, done again up to that row, gives its rowid.
 */
#include "server_sqlite_copy.h"

#include "server_pq.h"
#include "server_wait.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PIECE_BYTES = 256 * 1024,
    /* A COPY command holds about this much: the server tells of a row that it refused only at the
     * command's end. */
    COMMAND_BYTES = 64 * 1024 * 1024,
    ROWS_PER_TICK = 256,
};

#define SEARCH_TABLE "pg_temp.ems_search"

struct work {
    struct ems_sqlite_copy *copy;
    struct ems_sqlite_table *table;
    struct ems_buf select, command; /* SQL */
    sqlite3_stmt *rows;
    uint64_t kept;    /* rows given to the server */
    uint64_t settled; /* of them in commands that are done */
    uint64_t command_bytes;
    bool copying;
};

/* ---- the two statements ---- */

/* Both lists name the same columns in the same order: those that both sides have. */
static int add_columns(const struct ems_sqlite_table *t, bool source, const char *before,
                       struct ems_buf *out, struct ems_error *err)
{
    int rc = EMS_OK;

    for (size_t i = 0; i < t->column_count && rc == EMS_OK; i++) {
        const struct ems_sqlite_column *c = &t->columns[i];

        if (c->source == NULL)
            continue;
        rc = ems_buf_append(out, before, strlen(before), err);
        if (rc == EMS_OK)
            rc = ems_sqlite_quote(out, source ? c->source : c->name, err);
        before = ", ";
    }
    return rc;
}

/* WITHOUT ROWID: such a table has no number for its rows; Synapse has none of them. */
static int build_select(struct work *w, struct ems_error *err)
{
    const struct ems_sqlite_table *t = w->table;
    int rc = ems_buf_printf(&w->select, err, "SELECT %s", t->has_rowid ? "rowid" : "NULL");

    if (rc == EMS_OK)
        rc = add_columns(t, true, ", ", &w->select, err);
    if (rc == EMS_OK)
        rc = ems_buf_append(&w->select, " FROM ", 6, err);
    if (rc == EMS_OK)
        rc = ems_sqlite_quote(&w->select, t->source, err);
    if (rc == EMS_OK && t->has_rowid)
        rc = ems_buf_printf(&w->select, err, " NOT INDEXED ORDER BY rowid");
    return rc;
}

/* FREEZE: the table was made in this transaction, so its rows can be written as they would look
 * after a VACUUM. A temporary table has no use for it. */
static int build_command(struct work *w, struct ems_error *err)
{
    const struct ems_sqlite_table *t = w->table;
    bool search = t->fate == EMS_SQLITE_SEARCHED;
    int rc = ems_buf_printf(&w->command, err, "COPY %s", search ? SEARCH_TABLE : "public.");

    if (rc == EMS_OK && !search)
        rc = ems_sqlite_quote(&w->command, t->name, err);
    if (rc == EMS_OK)
        rc = add_columns(t, false, " (", &w->command, err);
    if (rc == EMS_OK)
        rc = ems_buf_printf(&w->command, err, ") FROM STDIN%s", search ? "" : " WITH (FREEZE)");
    return rc;
}

/* Also to begin again: the statement then stands before the first row. */
static int prepare(struct work *w, struct ems_error *err)
{
    sqlite3 *db = w->copy->db;
    int rc = w->select.size > 0 ? EMS_OK : build_select(w, err);
    int step;

    if (rc != EMS_OK)
        return rc;
    sqlite3_finalize(w->rows);
    w->rows = NULL;
    step =
        sqlite3_prepare_v2(db, (const char *)w->select.data, (int)w->select.size, &w->rows, NULL);
    return step == SQLITE_OK ? EMS_OK : ems_sqlite_fail(db, step, err);
}

/* ---- a row ---- */

/* "table users, rowid 12", for messages. */
static const char *place(const struct work *w, char *out, size_t size)
{
    char table[80];

    ems_printable(w->table->name, strlen(w->table->name), table, sizeof table);
    if (w->table->has_rowid)
        snprintf(out, size, "table %s, rowid %lld", table,
                 (long long)sqlite3_column_int64(w->rows, 0));
    else
        snprintf(out, size, "table %s, row %llu", table,
                 (unsigned long long)(w->kept + w->table->nul_rows + 1));
    return out;
}

/* Convert the statement's current row. *kept false: NUL characters, nothing appended. */
static int put_row(struct work *w, struct ems_buf *out, bool *kept, struct ems_error *err)
{
    const struct ems_sqlite_table *t = w->table;
    const size_t start = out->size;
    char where[120], column[80];
    int rc = EMS_OK, at = 0;

    *kept = true;
    for (size_t i = 0; i < t->column_count && rc == EMS_OK; i++) {
        const struct ems_sqlite_column *c = &t->columns[i];
        const char *why = NULL;

        if (c->source == NULL)
            continue;
        if (at++ > 0)
            rc = ems_buf_append(out, "\t", 1, err);
        if (rc != EMS_OK)
            break;
        switch (ems_sqlite_value(w->rows, at, c->type, c->size, out, &why, err)) {
        case EMS_SQLITE_TAKEN:
            break;
        case EMS_SQLITE_NUL:
            out->size = start;
            *kept = false;
            return EMS_OK;
        case EMS_SQLITE_REFUSED:
            if (why == NULL)
                return err->code;
            rc = ems_fail(err, EMS_RESTORE_FAILED, "%s, column %s: %s",
                          place(w, where, sizeof where),
                          ems_printable(c->name, strlen(c->name), column, sizeof column), why);
        }
    }
    return rc == EMS_OK ? ems_buf_append(out, "\n", 1, err) : rc;
}

/* The first few are named; the rest is counted. */
static void note_nul(struct work *w)
{
    struct ems_sqlite_table *t = w->table;
    enum { ROOM = sizeof t->nul_rowids / sizeof t->nul_rowids[0] };

    if (t->nul_rows < ROOM)
        t->nul_rowids[t->nul_rows] = sqlite3_column_int64(w->rows, 0);
    t->nul_rows++;
}

/* The n-th row that was given to the server, from 1: leaves the statement on it. */
static bool find_row(struct work *w, uint64_t n)
{
    struct ems_error ignored = {0};
    struct ems_buf scratch = {0};
    uint64_t seen = 0;
    bool kept;

    if (prepare(w, &ignored) != EMS_OK)
        return false;
    while (seen < n && sqlite3_step(w->rows) == SQLITE_ROW) {
        scratch.size = 0;
        if (put_row(w, &scratch, &kept, &ignored) != EMS_OK)
            break;
        seen += kept;
    }
    ems_buf_release(&scratch);
    return seen == n;
}

/* ---- the COPY commands ---- */

/* "COPY users, line 2, column admin: ...", one of the lines of the context, or NULL. */
static const char *copy_context(const PGresult *answer)
{
    const char *context = PQresultErrorField(answer, PG_DIAG_CONTEXT);

    while (context != NULL && strncmp(context, "COPY ", 5) != 0) {
        const char *end = strchr(context, '\n');

        context = end != NULL ? end + 1 : NULL;
    }
    return context;
}

/* The number is behind the table's name; the words may be translated. */
static int fail_copy(struct work *w, const PGresult *answer, struct ems_error *err)
{
    const char *context = copy_context(answer);
    const char *comma = context != NULL ? strchr(context, ',') : NULL;
    const char *column = comma != NULL ? strstr(comma, ", column ") : NULL;
    uint64_t number = comma != NULL ? strtoull(comma + strcspn(comma, "0123456789"), NULL, 10) : 0;
    char where[120], name[80] = "";

    if (column != NULL)
        ems_printable(column, strcspn(column, ":\n"), name, sizeof name);
    if (number > 0 && find_row(w, w->settled + number))
        return ems_pq_refused(w->copy->conn, answer, err, "%s%s", place(w, where, sizeof where),
                              name);
    return ems_pq_refused(w->copy->conn, answer, err, "table %s%s", w->table->name, name);
}

/* The schema's own tables and columns are in it, quoted; nothing of the SQLite file. */
static int begin_command(struct work *w, struct ems_error *err)
{
    PGresult *answer = NULL;
    int rc = ems_pq_wait(w->copy->conn, (const char *)w->command.data, w->copy->tick,
                         w->copy->tick_context, &answer, err);

    if (rc == EMS_OK && PQresultStatus(answer) != PGRES_COPY_IN)
        rc = ems_pq_refused(w->copy->conn, answer, err, "table %s", w->table->name);
    PQclear(answer);
    w->copying = rc == EMS_OK;
    w->command_bytes = 0;
    return rc;
}

/* Blocks while the server is busy: libpq keeps what the socket does not take, and would keep all of
 * a database. In slices, for it makes room for a whole message; a long row may be cut anywhere. */
static int flush(struct work *w, struct ems_error *err)
{
    struct ems_buf *piece = &w->copy->piece;
    const char *data = (const char *)piece->data;

    for (size_t at = 0, n; at < piece->size; at += n) {
        n = piece->size - at < PIECE_BYTES ? piece->size - at : PIECE_BYTES;
        if (PQputCopyData(w->copy->conn, data + at, (int)n) != 1)
            return ems_pq_refused(w->copy->conn, NULL, err, "table %s", w->table->name);
    }
    w->command_bytes += piece->size;
    if (w->copy->bytes_done != NULL)
        *w->copy->bytes_done += piece->size;
    piece->size = 0;
    return EMS_OK;
}

/* The server's word on how many rows it has taken: never what we believe to have sent. */
static int end_command(struct work *w, struct ems_error *err)
{
    PGconn *conn = w->copy->conn;
    PGresult *answer = NULL;
    uint64_t stored;
    int rc = flush(w, err);

    if (rc != EMS_OK)
        return rc;
    w->copying = false;
    if (PQputCopyEnd(conn, NULL) != 1)
        return ems_pq_refused(conn, NULL, err, "table %s", w->table->name);
    rc = ems_pq_wait_answer(conn, w->copy->tick, w->copy->tick_context, &answer, err);
    if (rc == EMS_OK && PQresultStatus(answer) != PGRES_COMMAND_OK)
        rc = fail_copy(w, answer, err);
    if (rc == EMS_OK) {
        stored = strtoull(PQcmdTuples(answer), NULL, 10);
        if (stored != w->kept - w->settled)
            rc = ems_fail(err, EMS_RESTORE_FAILED,
                          "table %s: %llu rows were sent, but the server took %llu", w->table->name,
                          (unsigned long long)(w->kept - w->settled), (unsigned long long)stored);
        w->table->rows += stored;
        w->settled = w->kept;
        PQclear(PQgetResult(conn));
    }
    PQclear(answer);
    return rc;
}

/* What follows will not come: a plain end would make the server keep what it has. */
static void abort_command(struct work *w)
{
    PGresult *answer;

    if (!w->copying || PQputCopyEnd(w->copy->conn, "the copy ends here") != 1)
        return;
    while ((answer = PQgetResult(w->copy->conn)) != NULL)
        PQclear(answer);
}

/* ---- a table ---- */

/* A command ends behind a whole row, and the next one takes up the count. */
static int copy_rows(struct work *w, struct ems_error *err)
{
    struct ems_sqlite_copy *copy = w->copy;
    int step = SQLITE_DONE, rc = EMS_OK;
    bool kept;

    while (rc == EMS_OK && (step = sqlite3_step(w->rows)) == SQLITE_ROW) {
        rc = put_row(w, &copy->piece, &kept, err);
        if (rc != EMS_OK)
            break;
        w->table->source_rows++;
        w->kept += kept;
        if (!kept)
            note_nul(w);
        if (w->table->source_rows % ROWS_PER_TICK == 0 && copy->tick != NULL)
            rc = copy->tick(copy->tick_context, err);
        if (rc == EMS_OK && copy->piece.size >= PIECE_BYTES)
            rc = flush(w, err);
        if (rc == EMS_OK && w->command_bytes >= COMMAND_BYTES) {
            rc = end_command(w, err);
            if (rc == EMS_OK)
                rc = begin_command(w, err);
        }
    }
    if (rc == EMS_OK && (step & 0xff) == SQLITE_TOOBIG)
        rc = ems_fail(err, EMS_RESTORE_FAILED, "table %s: the row after %llu others is too large",
                      w->table->name, (unsigned long long)w->table->source_rows);
    if (rc == EMS_OK && step != SQLITE_DONE)
        rc = ems_sqlite_fail(copy->db, step, err);
    return rc;
}

/* The temporary table needs no name that nobody else has: it is this session's alone, goes with the
 * transaction, and is not logged. */
int ems_sqlite_copy_table(struct ems_sqlite_copy *copy, struct ems_sqlite_table *table,
                          struct ems_error *err)
{
    struct work w = {.copy = copy, .table = table};
    int rc = prepare(&w, err);

    copy->piece.size = 0;
    if (rc == EMS_OK && table->fate == EMS_SQLITE_SEARCHED)
        rc = ems_pq_run(copy->conn, "make a temporary table", err,
                        "CREATE TEMPORARY TABLE ems_search (event_id text, room_id text, "
                        "sender text, key text, value text) ON COMMIT DROP");
    if (rc == EMS_OK)
        rc = build_command(&w, err);
    if (rc == EMS_OK)
        rc = begin_command(&w, err);
    if (rc == EMS_OK)
        rc = copy_rows(&w, err);
    if (rc == EMS_OK)
        rc = end_command(&w, err);
    else
        abort_command(&w);
    sqlite3_finalize(w.rows);
    ems_buf_release(&w.select);
    ems_buf_release(&w.command);
    return rc;
}

/*
 * The vector that Synapse makes of a text on PostgreSQL (synapse/storage/databases/main/search.py),
 * and the two columns that SQLite's table has not. A text whose event is not there is of no use to
 * anybody.
 */
int ems_sqlite_copy_search(struct ems_sqlite_copy *copy, struct ems_sqlite_table *table,
                           struct ems_error *err)
{
    static const char sql[] =
        "INSERT INTO public.event_search (event_id, room_id, sender, key, vector, "
        "origin_server_ts, stream_ordering) "
        "SELECT s.event_id, s.room_id, s.sender, s.key, "
        "pg_catalog.to_tsvector('pg_catalog.english'::pg_catalog.regconfig, s.value), "
        "e.origin_server_ts, e.stream_ordering "
        "FROM " SEARCH_TABLE " s JOIN public.events e USING (event_id, room_id)";
    PGresult *answer = NULL;
    int rc = ems_pq_wait(copy->conn, sql, copy->tick, copy->tick_context, &answer, err);

    if (rc == EMS_OK && PQresultStatus(answer) != PGRES_COMMAND_OK)
        rc = ems_pq_refused(copy->conn, answer, err, "table event_search");
    if (rc == EMS_OK) {
        uint64_t waiting = table->rows;

        table->rows = strtoull(PQcmdTuples(answer), NULL, 10);
        if (table->rows > waiting)
            rc = ems_fail(err, EMS_RESTORE_FAILED, "table events: an event is there twice");
        table->orphans = waiting - table->rows;
    }
    PQclear(answer);
    return rc;
}

/* By the smallest index that SQLite finds, which is as good as the table for a number. */
int ems_sqlite_count_table(struct ems_sqlite_copy *copy, struct ems_sqlite_table *table,
                           struct ems_error *err)
{
    struct ems_buf sql = {0};
    sqlite3_stmt *statement = NULL;
    int step, rc = ems_buf_printf(&sql, err, "SELECT count(*) FROM ");

    if (rc == EMS_OK)
        rc = ems_sqlite_quote(&sql, table->source, err);
    if (rc == EMS_OK) {
        step =
            sqlite3_prepare_v2(copy->db, (const char *)sql.data, (int)sql.size, &statement, NULL);
        if (step == SQLITE_OK)
            step = sqlite3_step(statement);
        if (step == SQLITE_ROW)
            table->source_rows = (uint64_t)sqlite3_column_int64(statement, 0);
        else
            rc = ems_sqlite_fail(copy->db, step, err);
        sqlite3_finalize(statement);
    }
    ems_buf_release(&sql);
    return rc;
}
