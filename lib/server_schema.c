/*
 * server_schema.c - see server_schema.h
 *
 * Items keep the order of the dump, which is one that works: pg_dump sorts by dependency. The two
 * phases cut it where pg_dump itself puts the rows.
 */
#include "server_schema.h"

#include "bytes.h"
#include "server_pq.h"
#include "server_wait.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The three tables hold a few hundred short rows. */
#define MAX_ROWS_BYTES (16u * 1024 * 1024)
/* A Synapse schema is about 1,000 statements, 300 kB. */
#define MAX_ITEMS 20000u

static const char stage[] = "schema";

bool ems_schema_is_failure(const struct ems_error *err)
{
    return err->stage == stage;
}

int ems_schema_fail(struct ems_error *err, const char *fmt, ...)
{
    char text[220];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (err->code == EMS_OK) {
        ems_fail(err, EMS_SERVER_ERROR, "--schema-from %s", text);
        err->stage = stage;
    }
    return err->code;
}

/* The tables whose rows come with the schema. */
static bool is_own(const char *table)
{
    static const char *const own[] = {"public.schema_version", "public.schema_compat_version",
                                      "public.applied_schema_deltas"};

    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (strcmp(table, own[i]) == 0)
            return true;
    return false;
}

/* A copy, because the scanner's text lasts until its next event only. */
static int add_item(struct ems_schema *schema, const struct ems_sql_statement *s,
                    struct ems_error *err)
{
    struct ems_schema_item *items;
    char *text;

    if (schema->count >= MAX_ITEMS)
        return ems_schema_fail(err, "%s: more than %u statements", schema->name, MAX_ITEMS);
    if (schema->count == schema->capacity) {
        size_t capacity = schema->capacity > 0 ? 2 * schema->capacity : 512;

        items = realloc(schema->items, capacity * sizeof *items);
        if (items == NULL)
            return ems_fail_memory(err);
        schema->items = items;
        schema->capacity = capacity;
    }
    text = strdup(s->text);
    if (text == NULL)
        return ems_fail_memory(err);
    schema->items[schema->count++] =
        (struct ems_schema_item){.shape = s->shape, .text = text, .line = s->line};
    return EMS_OK;
}

/* ---- reading ---- */

/*
 * What makes things, and no rows but those of the three tables. EMS_SQL_SEND: what the scanner
 * skips of a dump (owners, grants, extensions) and its settings are not wanted here either.
 */
static bool is_wanted(const struct ems_sql_statement *s)
{
    if (s->action != EMS_SQL_SEND || s->shape == EMS_SQL_SETVAL)
        return false; /* the sequences will follow the rows that come */
    if (s->shape == EMS_SQL_COPY || s->shape == EMS_SQL_INSERT)
        return s->table != NULL && is_own(s->table);
    return true;
}

/* Rows come cut anywhere; they belong to the COPY that was added last. */
static int take_rows(struct ems_schema *schema, const struct ems_span *rows, struct ems_error *err)
{
    struct ems_schema_item *item = &schema->items[schema->count - 1];
    uint8_t *grown;

    if (item->size + rows->size > MAX_ROWS_BYTES)
        return ems_schema_fail(err, "%s: too many rows at line %llu", schema->name,
                               (unsigned long long)item->line);
    grown = realloc(item->data, item->size + rows->size);
    if (grown == NULL)
        return ems_fail_memory(err);
    memcpy(grown + item->size, rows->data, rows->size);
    item->data = grown;
    item->size += rows->size;
    return EMS_OK;
}

/* The statement of rows and of their end is their COPY, so one question decides for all three. */
static int take_event(struct ems_schema *schema, const struct ems_sql_event *event,
                      struct ems_error *err)
{
    if (!is_wanted(event->statement))
        return EMS_OK;
    switch (event->kind) {
    case EMS_SQL_STATEMENT:
        return add_item(schema, event->statement, err);
    case EMS_SQL_ROWS:
        return take_rows(schema, &event->data, err);
    case EMS_SQL_COPY_END:
        schema->items[schema->count - 1].rows = event->rows;
        return EMS_OK;
    }
    return ems_fail(err, EMS_INTERNAL, "schema: unknown event %d", (int)event->kind);
}

/* What is wrong with the source of the schema must not be taken for a fault of the upload. */
static int rename_failure(const struct ems_schema *schema, int rc, const struct ems_error *inner,
                          struct ems_error *err)
{
    if (rc == EMS_NO_MEMORY || inner->stage == stage || strcmp(inner->text, "interrupted") == 0) {
        if (err->code == EMS_OK)
            *err = *inner;
        return err->code;
    }
    return ems_schema_fail(err, "%s: %s [%s]", schema->name, inner->text, ems_code_name(rc));
}

/* To the end, though all that is wanted may have come: that the dump is whole is the proof that no
 * statement is missing. */
static int read_events(struct ems_schema *schema, struct ems_sqlscan *scan,
                       const struct ems_check_options *check, struct ems_error *err)
{
    struct ems_sql_event event;
    int rc;

    while ((rc = ems_sqlscan_next(scan, &event, err)) == EMS_OK) {
        rc = take_event(schema, &event, err);
        if (rc == EMS_OK && check != NULL && check->tick != NULL)
            rc = check->tick(check->tick_context, err);
        if (rc != EMS_OK)
            return rc;
    }
    schema->search_public = ems_sqlscan_facts(scan)->search_public;
    return rc == EMS_END ? EMS_OK : rc;
}

/* The same chain as for an upload: what a dump is wrapped in shows in its first bytes. */
int ems_schema_read_source(struct ems_schema *schema, struct ems_source *below,
                           const struct ems_check_options *check, struct ems_error *err)
{
    static const struct ems_check_options nothing;
    const struct ems_check_options *o = check != NULL ? check : &nothing;
    struct ems_chain_options options = {.secrets = o->secrets,
                                        .allow_no_integrity = o->allow_no_integrity,
                                        .no_threads = o->no_threads};
    struct ems_sqlscan *scan = NULL;
    struct ems_error inner = {0};
    struct ems_chain chain = {0};
    int rc = ems_chain_open(&chain, below, &options, &inner);

    if (rc == EMS_OK) {
        scan = ems_sqlscan_open(chain.top, &inner);
        chain.top = NULL;
        rc = scan != NULL ? read_events(schema, scan, check, &inner) : inner.code;
    }
    ems_sqlscan_free(scan);
    ems_chain_close(&chain);
    return rc == EMS_OK ? EMS_OK : rename_failure(schema, rc, &inner, err);
}

/* A file wins over a conninfo: no file is called "host=...", and who means one has it there. */
int ems_schema_read(struct ems_schema *schema, const char *from,
                    const struct ems_check_options *check, struct ems_error *err)
{
    struct ems_source *bottom;
    struct stat st;
    int fd;

    if (stat(from, &st) != 0) {
        if (strchr(from, '=') == NULL && strstr(from, "://") == NULL)
            return ems_schema_fail(err, "%s: there is no such file, and it is no connection string",
                                   from);
        return ems_schema_read_database(schema, from, check, err);
    }
    ems_printable(from, strlen(from), schema->name, sizeof schema->name);
    fd = S_ISREG(st.st_mode) ? open(from, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return ems_schema_fail(err, "%s: not a file that can be read", schema->name);
    bottom = ems_source_fd_open(fd, true, schema->name, err);
    return bottom != NULL ? ems_schema_read_source(schema, bottom, check, err) : err->code;
}

/* ---- sending ---- */

/* Of enum ems_sql_shape, which has the order of a dump: up to functions and rows, then keys. */
static bool is_before_rows(enum ems_sql_shape shape)
{
    return shape < EMS_SQL_ADD_KEY;
}

/* As pg_dump wrote them, in one piece: they were checked by the scanner. What the server counts
 * must be what came (restore.c says what PostgreSQL before 18 would lose silently). */
static int send_rows(PGconn *conn, const struct ems_schema_item *item, ems_tick_fn *tick,
                     void *tick_context, struct ems_error *err)
{
    PGresult *answer = NULL;
    int rc = ems_pq_wait(conn, item->text, tick, tick_context, &answer, err);

    if (rc == EMS_OK && PQresultStatus(answer) != PGRES_COPY_IN)
        rc = ems_pq_refused(conn, answer, err, "line %llu of the schema",
                            (unsigned long long)item->line);
    PQclear(answer);
    answer = NULL;
    if (rc == EMS_OK && item->size > 0 &&
        PQputCopyData(conn, (const char *)item->data, (int)item->size) != 1)
        rc = ems_pq_refused(conn, NULL, err, "line %llu of the schema",
                            (unsigned long long)item->line);
    if (rc == EMS_OK && PQputCopyEnd(conn, NULL) != 1)
        rc = ems_pq_refused(conn, NULL, err, "line %llu of the schema",
                            (unsigned long long)item->line);
    if (rc == EMS_OK)
        rc = ems_pq_wait_answer(conn, tick, tick_context, &answer, err);
    if (rc == EMS_OK && (PQresultStatus(answer) != PGRES_COMMAND_OK ||
                         strtoull(PQcmdTuples(answer), NULL, 10) != item->rows))
        rc = ems_pq_refused(conn, answer, err, "line %llu of the schema: rows",
                            (unsigned long long)item->line);
    PQclear(answer);
    if (rc == EMS_OK)
        PQclear(PQgetResult(conn));
    return rc;
}

/* What the server then says names the table, the constraint and the values. */
static const char *words_of(enum ems_sql_shape shape)
{
    switch (shape) {
    case EMS_SQL_ADD_KEY:
        return "a key cannot be made";
    case EMS_SQL_CREATE_INDEX:
        return "an index cannot be made";
    case EMS_SQL_ADD_FOREIGN_KEY:
        return "a foreign key cannot be made";
    default:
        return "the server refuses the schema";
    }
}

static int send_item(PGconn *conn, const struct ems_schema_item *item, ems_tick_fn *tick,
                     void *tick_context, struct ems_error *err)
{
    PGresult *answer = NULL;
    int rc;

    if (item->shape == EMS_SQL_COPY)
        return send_rows(conn, item, tick, tick_context, err);
    rc = ems_pq_wait(conn, item->text, tick, tick_context, &answer, err);
    if (rc == EMS_OK && PQresultStatus(answer) != PGRES_COMMAND_OK)
        rc = ems_pq_refused(conn, answer, err, "%s (schema line %llu)", words_of(item->shape),
                            (unsigned long long)item->line);
    PQclear(answer);
    return rc;
}

/* pg_dump before 10.3 names the schema public once, in search_path, and not in each statement; what
 * follows here, our own questions, wants it empty again. */
int ems_schema_send(const struct ems_schema *schema, enum ems_schema_phase phase, PGconn *conn,
                    ems_tick_fn *tick, void *tick_context, struct ems_error *err)
{
    int rc = EMS_OK;

    if (schema->search_public)
        rc = ems_pq_run(conn, "set up the restore's session", err,
                        "SET search_path = public, pg_catalog");
    for (size_t i = 0; i < schema->count && rc == EMS_OK; i++)
        if (is_before_rows(schema->items[i].shape) == (phase == EMS_SCHEMA_BEFORE_ROWS))
            rc = send_item(conn, &schema->items[i], tick, tick_context, err);
    if (rc == EMS_OK && schema->search_public)
        rc = ems_pq_run(conn, "set up the restore's session", err, "SET search_path = ''");
    return rc;
}

void ems_schema_release(struct ems_schema *schema)
{
    for (size_t i = 0; i < schema->count; i++) {
        free(schema->items[i].text);
        free(schema->items[i].data);
    }
    free(schema->items);
    *schema = (struct ems_schema){0};
}
