/* server_load.c - see server_load.h */
#include "server_load.h"

#include "bytes.h"
#include "server_copy.h"
#include "server_journal.h"
#include "server_pq.h"
#include "server_send.h"
#include "server_session.h"
#include "server_workers.h"

#include <stdlib.h>
#include <string.h>

struct load {
    const struct ems_restore_options *options;
    const struct ems_plan *plan;
    const struct ems_part_set *set;
    uint64_t text;   /* bytes of all units */
    bool after_done; /* by the restore that is resumed */
};

/* ---- one unit, on a worker's connection ---- */

/* One reading of a unit. */
struct reading {
    const struct load *load;
    const struct ems_plan_unit *unit;
    PGconn *conn;
    struct ems_copy copy;
    struct ems_reader reader;
    uint64_t begin; /* offset in the dump of the reader's first byte */
    bool binary;
};

/* Emptied in the transaction that fills them: what FREEZE and unlogged rows depend on. */
static int begin_transaction(struct reading *r, struct ems_error *err)
{
    const struct ems_plan *plan = r->load->plan;
    struct ems_buf sql = {0};
    int rc = ems_buf_printf(&sql, err, "TRUNCATE ONLY ");
    bool first = true;

    for (size_t i = r->unit->first; i < r->unit->first + r->unit->count && rc == EMS_OK; i++) {
        const char *name = plan->tables[plan->blocks[i].table].name;
        char *quoted;

        if (plan->blocks[i].rows == 0)
            continue;
        quoted = PQescapeIdentifier(r->conn, name, strlen(name));
        if (quoted == NULL)
            rc = ems_fail_memory(err);
        else
            rc = ems_buf_printf(&sql, err, "%spublic.%s", first ? "" : ", ", quoted);
        PQfreemem(quoted);
        first = false;
    }
    if (rc == EMS_OK)
        rc = ems_pq_run(r->conn, "begin", err, "BEGIN");
    if (rc == EMS_OK)
        rc = ems_pq_run(r->conn, "empty new tables", err, "%s", (const char *)sql.data);
    ems_buf_release(&sql);
    return rc;
}

static int changed(struct ems_error *err)
{
    return ems_fail(err, EMS_PART_UNFINISHED,
                    "the upload changed while it was read: still arriving");
}

/* The text between two blocks, which the plan holds. */
static int skip_to(struct reading *r, uint64_t offset, struct ems_error *err)
{
    struct ems_span span;

    while (r->begin + r->reader.offset < offset) {
        uint64_t left = offset - r->begin - r->reader.offset;
        int rc = ems_reader_lend(&r->reader, left < SIZE_MAX ? (size_t)left : SIZE_MAX, &span, err);

        if (rc != EMS_OK)
            return rc == EMS_END ? changed(err) : rc;
    }
    return EMS_OK;
}

/* For the progress line: in bytes of the upload, as the first pass counts. */
static void count_bytes(const struct load *l, size_t bytes)
{
    if (l->options->bytes_in != NULL)
        *l->options->bytes_in += (uint64_t)((double)bytes * (double)l->set->size / (double)l->text);
}

/* The rows, and proof that they are those of the first pass. */
static int feed_rows(struct reading *r, const struct ems_plan_block *block, struct ems_error *err)
{
    uint64_t left = block->bytes;
    struct ems_span span;
    uint32_t crc = 0;
    int rc = EMS_OK;

    while (left > 0 && rc == EMS_OK) {
        rc = ems_reader_lend(&r->reader, left < SIZE_MAX ? (size_t)left : SIZE_MAX, &span, err);
        if (rc != EMS_OK)
            return rc == EMS_END ? changed(err) : rc;
        left -= span.size;
        crc = ems_crc32(crc, span.data, span.size);
        rc = ems_copy_feed(&r->copy, span.data, span.size, block->line, err);
        count_bytes(r->load, span.size);
    }
    if (rc == EMS_OK && crc != block->crc)
        rc = changed(err);
    return rc;
}

/*
 * The comparison of rows finds what PostgreSQL before 18 loses silently: it stops at "\." in a row,
 * throws the rest of the stream away and reports success.
 */
static int load_block(struct reading *r, const struct ems_plan_block *block, struct ems_error *err)
{
    const char *table = r->load->plan->tables[block->table].name;
    Oid *types = NULL;
    int rc = skip_to(r, block->begin, err);

    if (rc == EMS_OK && r->binary)
        rc = ems_copy_types(r->conn, table, (const char *const *)block->columns,
                            block->column_count, &types, err);
    if (rc == EMS_OK)
        rc = ems_copy_begin(&r->copy, block->text, table, block->line, types, block->column_count,
                            err);
    if (rc == EMS_OK)
        rc = feed_rows(r, block, err);
    if (rc == EMS_OK)
        rc = ems_copy_end(&r->copy, err);
    else
        ems_copy_abort(&r->copy);
    free(types);
    if (rc == EMS_OK && r->copy.rows != block->rows)
        rc = ems_fail(err, EMS_RESTORE_FAILED,
                      "line %llu: the dump holds %llu rows of %s, but the server took %llu",
                      (unsigned long long)block->line, (unsigned long long)block->rows,
                      r->copy.table, (unsigned long long)r->copy.rows);
    return rc;
}

/* In the transaction that is still open. */
static int record(const struct load *l, PGconn *conn, const struct ems_plan_block *block,
                  struct ems_error *err)
{
    return ems_journal_record(conn, l->plan->tables[block->table].name, block->rows, block->crc,
                              err);
}

/* The order decides: the journal's line is in the same transaction as the rows, and COMMIT comes
 * only after all rows were counted and their CRC compared. A failure leaves the transaction open:
 * the connection is closed, or load_unit rolls it back. */
static int load_once(const struct load *l, PGconn *conn, const struct ems_plan_unit *unit,
                     bool binary, struct ems_error *err)
{
    struct reading r = {.load = l, .unit = unit, .conn = conn, .binary = binary};
    struct ems_source *src;
    uint64_t rows = 0;
    int rc;

    r.copy.conn = conn;
    r.begin = l->plan->blocks[unit->first].begin;
    src = ems_bookmarks_open(l->plan->bookmarks, unit->place, r.begin, l->set, err);
    r.reader.below = src;
    rc = src != NULL ? begin_transaction(&r, err) : err->code;
    for (size_t i = unit->first; i < unit->first + unit->count && rc == EMS_OK; i++) {
        if (l->plan->blocks[i].rows > 0)
            rc = load_block(&r, &l->plan->blocks[i], err);
        if (rc == EMS_OK && l->plan->blocks[i].rows > 0 && l->options->identity != NULL)
            rc = record(l, conn, &l->plan->blocks[i], err);
        rows += l->plan->blocks[i].rows;
    }
    if (rc == EMS_OK)
        rc = ems_pq_run(conn, "commit the rows of a table", err, "COMMIT");
    if (rc == EMS_OK && l->options->rows_done != NULL)
        *l->options->rows_done += rows;
    ems_source_free(src);
    ems_copy_release(&r.copy);
    return rc;
}

/* An ems_load_fn. What has no binary form is for the server to judge, as text: it reads more than
 * pg_dump writes, and its words about what is wrong name the column. */
static int load_unit(void *context, PGconn *conn, const struct ems_plan_unit *unit,
                     struct ems_error *err)
{
    const struct load *l = context;
    struct ems_error first = {0};
    int rc = load_once(l, conn, unit, true, &first);

    if (rc != EMS_SQL_MALFORMED) {
        *err = first;
        return rc;
    }
    rc = ems_pq_run(conn, "begin again", err, "ROLLBACK");
    return rc == EMS_OK ? load_once(l, conn, unit, false, err) : rc;
}

/* ---- the whole ---- */

static int tick(void *context, struct ems_error *err)
{
    const struct load *l = context;

    return l->options->tick != NULL ? l->options->tick(l->options->watch_context, err) : EMS_OK;
}

/* A unit is one transaction: all of its tables are there, or none. */
static bool is_loaded(const struct ems_plan *plan, const struct ems_plan_unit *unit)
{
    return plan->blocks[unit->first].loaded;
}

/* Rows, keys, indexes and foreign keys, as the workers see fit. */
static int work(struct load *l, struct ems_workers *workers, struct ems_error *err)
{
    const struct ems_plan *plan = l->plan;
    int rc = EMS_OK;

    for (size_t i = 0; i < plan->unit_count && rc == EMS_OK; i++)
        if (!is_loaded(plan, &plan->units[i]))
            rc = ems_workers_load(workers, &plan->units[i], err);
    for (size_t i = 0; i < plan->table_count && rc == EMS_OK; i++) {
        struct ems_plan_table *table = &plan->tables[i];

        const struct ems_plan_block *block =
            table->block != EMS_PLAN_NONE ? &plan->blocks[table->block] : NULL;

        if (block == NULL || block->rows == 0 || block->loaded)
            rc = ems_workers_add(workers, table, block != NULL ? block->bytes : 0, err);
    }
    return rc == EMS_OK ? ems_workers_wait(workers, tick, l, err) : rc;
}

/* What comes before the rows. When it is there, and what goes on from it can be written down, the
 * database says what it is of: from then on the restore can be resumed. */
static int prepare(struct load *l, struct ems_staging *staging, struct ems_sender *send,
                   struct ems_error *err)
{
    int rc;

    if (l->options->resumed)
        return ems_journal_read(send->conn, l->options->plan, &l->after_done, err);
    rc = ems_sender_send_all(send, l->plan->before, l->plan->before_count, err);
    if (rc == EMS_OK && l->options->identity != NULL)
        rc = ems_journal_create(send->conn, err);
    if (rc == EMS_OK && l->options->identity != NULL)
        rc = ems_staging_mark(staging, l->options->identity, err);
    return rc;
}

/* What comes after everything else: one transaction, so that it is there once. */
static int conclude(struct load *l, struct ems_sender *send, struct ems_error *err)
{
    int rc;

    if (l->after_done)
        return EMS_OK;
    rc = ems_pq_run(send->conn, "begin", err, "BEGIN");
    if (rc == EMS_OK)
        rc = ems_sender_send_all(send, l->plan->after, l->plan->after_count, err);
    if (rc == EMS_OK && l->options->identity != NULL)
        rc = ems_journal_record(send->conn, EMS_JOURNAL_AFTER, 0, 0, err);
    return rc == EMS_OK ? ems_pq_run(send->conn, "commit the end of the dump", err, "COMMIT") : rc;
}

/* Every statement and row of the plan is in, or we would not be here. */
static void sum_up(const struct load *l, struct ems_restore_result *result)
{
    result->tables = l->plan->table_count;
    result->statements =
        l->plan->before_count + l->plan->count + l->plan->block_count + l->plan->after_count;
    for (size_t i = 0; i < l->plan->block_count; i++) {
        result->rows += l->plan->blocks[i].rows;
        result->bytes += l->plan->blocks[i].bytes;
    }
}

int ems_load_run(struct ems_staging *staging, const struct ems_part_set *set,
                 const struct ems_restore_options *options, struct ems_restore_result *result,
                 struct ems_error *err)
{
    struct load l = {.options = options, .plan = options->plan, .set = set};
    struct ems_workers *workers = NULL;
    struct ems_sender send = {0};
    struct ems_error failure = {0};
    int rc = ems_session_open(staging, &send.conn, &failure);

    *result = (struct ems_restore_result){0};
    for (size_t i = 0; i < l.plan->unit_count; i++)
        l.text += l.plan->units[i].bytes;
    if (rc == EMS_OK)
        rc = ems_session_phase(send.conn, EMS_SESSION_SCHEMA, &failure);
    if (rc == EMS_OK)
        rc = prepare(&l, staging, &send, &failure);
    if (rc == EMS_OK) {
        workers = ems_workers_start(staging, l.plan, options->jobs > 0 ? options->jobs : 1,
                                    load_unit, &l, &failure);
        rc = workers != NULL ? work(&l, workers, &failure) : failure.code;
    }
    if (rc == EMS_OK)
        rc = ems_session_phase(send.conn, EMS_SESSION_TABLES, &failure);
    if (rc == EMS_OK)
        rc = conclude(&l, &send, &failure);
    ems_workers_free(workers);
    PQfinish(send.conn);
    if (rc == EMS_OK)
        sum_up(&l, result);
    if (rc != EMS_OK && failure.stage == NULL)
        failure.stage = "restore";
    if (rc != EMS_OK && err != NULL && err->code == EMS_OK)
        *err = failure;
    return rc;
}
