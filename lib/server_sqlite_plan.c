/*
 * server_sqlite_plan.c - see server_sqlite_plan.h
 *
 * Names are compared without case: Synapse's SQLite schema says Lock where PostgreSQL has lock, and
 * neither has two names that differ in nothing else.
 */
#include "server_sqlite_plan.h"

#include "server_pq.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/*
 * Tables of a Synapse that are not copied, the same as synapse_port_db leaves out. What can be made
 * anew is cheaper to make than to translate (the search vectors of the user directory are made by
 * Synapse from names in ways that change with its release); sessions and locks are nobody's any
 * more; the state of the schema comes with the schema.
 */
static const struct {
    const char *table, *reason;
} left[] = {
    {"user_directory", "Synapse makes the user directory anew"},
    {"user_directory_search", "Synapse makes the user directory anew"},
    {"user_directory_stream_pos", "one row without a position, so that Synapse waits for the new "
                                  "user directory"},
    {"users_in_public_rooms", "Synapse makes the user directory anew"},
    {"users_who_share_private_rooms", "Synapse makes the user directory anew"},
    {"ui_auth_sessions", "sessions end with the move"},
    {"ui_auth_sessions_credentials", "sessions end with the move"},
    {"ui_auth_sessions_ips", "sessions end with the move"},
    {"worker_read_write_locks", "locks end with the move"},
    {"worker_read_write_locks_mode", "locks end with the move"},
    {"schema_version", "comes with the schema"},
    {"schema_compat_version", "comes with the schema"},
    {"applied_schema_deltas", "comes with the schema"},
};

/* SQLite's own, and the pieces that its full-text search keeps its index in. */
static bool is_internal(const char *name)
{
    static const char *const prefixes[] = {"sqlite_", "event_search_", "user_directory_search_"};

    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

static const char *left_reason(const char *table)
{
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++)
        if (strcmp(left[i].table, table) == 0)
            return left[i].reason;
    return NULL;
}

/* The low byte of an extended result code is the plain one (SQLite, "Result Codes"). */
int ems_sqlite_fail(sqlite3 *db, int rc, struct ems_error *err)
{
    char message[160];

    if (err->code != EMS_OK)
        return err->code;
    switch (rc & 0xff) {
    case SQLITE_NOMEM:
        return ems_fail_memory(err);
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_FULL:
        return ems_fail(err, EMS_IO_ERROR, "the database cannot be read: %s", sqlite3_errstr(rc));
    default:
        return ems_fail(err, EMS_SQLITE_CORRUPT, "SQLite cannot read it: %s",
                        ems_printable_text(sqlite3_errmsg(db), strlen(sqlite3_errmsg(db)), message,
                                           sizeof message));
    }
}

int ems_sqlite_quote(struct ems_buf *buf, const char *name, struct ems_error *err)
{
    int rc = ems_buf_append(buf, "\"", 1, err);

    for (; *name != '\0' && rc == EMS_OK; name++)
        rc = ems_buf_printf(buf, err, *name == '"' ? "\"%c" : "%c", *name);
    return rc == EMS_OK ? ems_buf_append(buf, "\"", 1, err) : rc;
}

/* ---- what PostgreSQL has ---- */

/* What becomes of it is decided by its name here, and by what the file has in read_source. */
static struct ems_sqlite_table *add_table(struct ems_sqlite_plan *plan, const char *name,
                                          struct ems_error *err)
{
    struct ems_sqlite_table *t;
    char *copy;

    if (plan->count == plan->capacity) {
        size_t capacity = plan->capacity > 0 ? 2 * plan->capacity : 256;

        t = realloc(plan->tables, capacity * sizeof *t);
        if (t == NULL) {
            ems_fail_memory(err);
            return NULL;
        }
        plan->tables = t;
        plan->capacity = capacity;
    }
    copy = strdup(name);
    if (copy == NULL) {
        ems_fail_memory(err);
        return NULL;
    }
    t = &plan->tables[plan->count++];
    *t = (struct ems_sqlite_table){.name = copy, .has_rowid = true};
    t->reason = left_reason(name);
    t->fate = t->reason != NULL ? EMS_SQLITE_LEFT : EMS_SQLITE_COPIED;
    return t;
}

static int add_column(struct ems_sqlite_table *t, const char *name, const char *type,
                      unsigned length, bool optional, struct ems_error *err)
{
    struct ems_sqlite_column *columns, *c;

    columns = realloc(t->columns, (t->column_count + 1) * sizeof *columns);
    if (columns == NULL)
        return ems_fail_memory(err);
    t->columns = columns;
    c = &columns[t->column_count];
    *c = (struct ems_sqlite_column){.optional = optional, .name = strdup(name)};
    if (c->name == NULL)
        return ems_fail_memory(err);
    c->type = ems_sqlite_type_of(type, length, &c->size);
    t->column_count++;
    return EMS_OK;
}

/* Of an answer: table, column, type, length, optional. */
static int take_column(struct ems_sqlite_plan *plan, const PGresult *answer, int row,
                       struct ems_error *err)
{
    const char *table = PQgetvalue(answer, row, 0);
    struct ems_sqlite_table *t = plan->count > 0 ? &plan->tables[plan->count - 1] : NULL;

    if (t == NULL || strcmp(t->name, table) != 0)
        t = add_table(plan, table, err);
    if (t == NULL)
        return err->code;
    return add_column(t, PQgetvalue(answer, row, 1), PQgetvalue(answer, row, 2),
                      (unsigned)strtoul(PQgetvalue(answer, row, 3), NULL, 10),
                      PQgetvalue(answer, row, 4)[0] == 't', err);
}

/*
 * udt_name is PostgreSQL's own name of a type ("int8", "_text"), the same in all releases. A column
 * may be missing in the file if an INSERT could leave it out; COPY leaves out the same.
 */
static int read_target(struct ems_sqlite_plan *plan, PGconn *conn, struct ems_error *err)
{
    PGresult *answer;
    int rc = ems_pq_query(
        conn, "ask for the tables",
        "SELECT table_name, column_name, udt_name, coalesce(character_maximum_length, 0), "
        "is_nullable = 'YES' OR column_default IS NOT NULL OR is_identity = 'YES' "
        "FROM information_schema.columns WHERE table_schema = 'public' "
        "ORDER BY table_name, ordinal_position",
        0, NULL, &answer, err);

    for (int i = 0; rc == EMS_OK && i < PQntuples(answer); i++)
        rc = take_column(plan, answer, i, err);
    PQclear(answer);
    return rc;
}

/* ---- what SQLite has ---- */

static struct ems_sqlite_table *find_table(struct ems_sqlite_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->count; i++)
        if (strcasecmp(plan->tables[i].name, name) == 0)
            return &plan->tables[i];
    return NULL;
}

/* A source column meets its target; `name` is without what FTS puts before it. */
static int take_source_column(struct ems_sqlite_table *t, const char *source, const char *name,
                              bool *known, struct ems_error *err)
{
    *known = false;
    for (size_t i = 0; i < t->column_count; i++) {
        struct ems_sqlite_column *c = &t->columns[i];

        if (strcasecmp(c->name, name) != 0 || c->source != NULL)
            continue;
        *known = true;
        c->source = strdup(source);
        return c->source != NULL ? EMS_OK : ems_fail_memory(err);
    }
    return EMS_OK;
}

/* Full-text search keeps column 2 "sender" as c2sender (SQLite FTS3/4, "shadow tables"). */
static const char *without_number(const char *name)
{
    const char *rest = name + (name[0] == 'c');

    while (*rest >= '0' && *rest <= '9')
        rest++;
    return rest;
}

/* Every mismatch is told before the plan is given up: one look shows which release is meant. */
static void find_mismatch(struct ems_findings *findings, const char *artifact, const char *table,
                          const char *column, const char *what)
{
    ems_findings_add(findings, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_ERROR, artifact, NULL, EMS_NOWHERE,
                     "The schema that was given belongs to another Synapse than the database: name "
                     "one of the same release with --schema-from.",
                     "table %s: column %s %s", table, column, what);
}

/* All columns of a table of the file, by table_info, which leaves out what is computed. */
static int read_columns(sqlite3 *db, struct ems_sqlite_table *t, const char *artifact,
                        struct ems_findings *findings, bool *bad, struct ems_error *err)
{
    const bool search = t->fate == EMS_SQLITE_SEARCHED;
    sqlite3_stmt *statement = NULL;
    int rc = EMS_OK, step = sqlite3_prepare_v2(db, "SELECT name FROM pragma_table_info(?1)", -1,
                                               &statement, NULL);

    if (step == SQLITE_OK)
        step = sqlite3_bind_text(statement, 1, t->source, -1, SQLITE_STATIC);
    while (step == SQLITE_OK && rc == EMS_OK && (step = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *source = (const char *)sqlite3_column_text(statement, 0);
        bool known = false;

        step = SQLITE_OK;
        if (source == NULL)
            continue;
        rc = take_source_column(t, source, search ? without_number(source) : source, &known, err);
        if (rc == EMS_OK && !known && !search) {
            find_mismatch(findings, artifact, t->name, source, "is not in the schema");
            *bad = true;
        }
    }
    if (rc == EMS_OK && step != SQLITE_DONE && step != SQLITE_OK)
        rc = ems_sqlite_fail(db, step, err);
    sqlite3_finalize(statement);
    return rc;
}

/* The table is asked, not its definition: "rowid" is a name that SQLite resolves only where there
 * is one. Double quotes are names only (sqlite_open.c), so no word is taken for text. */
static bool has_rowid(sqlite3 *db, const char *table)
{
    struct ems_buf sql = {0};
    struct ems_error ignored = {0};
    sqlite3_stmt *statement = NULL;
    bool has = ems_buf_append(&sql, "SELECT rowid FROM ", 18, &ignored) == EMS_OK &&
               ems_sqlite_quote(&sql, table, &ignored) == EMS_OK &&
               sqlite3_prepare_v2(db, (const char *)sql.data, (int)sql.size, &statement, NULL) ==
                   SQLITE_OK;

    sqlite3_finalize(statement);
    ems_buf_release(&sql);
    return has;
}

/*
 * Tables that are stored in the file by themselves: a virtual table has no root page, and its code
 * is not run for a stranger. The texts of event_search are in its shadow table.
 */
static int read_source(struct ems_sqlite_plan *plan, sqlite3 *db, struct ems_error *err)
{
    sqlite3_stmt *statement = NULL;
    int rc = EMS_OK, step = sqlite3_prepare_v2(
                         db, "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0",
                         -1, &statement, NULL);

    while (step == SQLITE_OK && rc == EMS_OK && (step = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(statement, 0);
        const bool search = name != NULL && strcmp(name, "event_search_content") == 0;
        struct ems_sqlite_table *t;

        step = SQLITE_OK;
        if (name == NULL || (is_internal(name) && !search))
            continue;
        t = find_table(plan, search ? "event_search" : name);
        if (t == NULL) {
            t = add_table(plan, name, err);
            if (t == NULL) {
                rc = err->code;
                break;
            }
            t->fate = EMS_SQLITE_LEFT;
            t->reason = "the schema has no such table";
            t->foreign = true;
        } else if (search) {
            t->fate = EMS_SQLITE_SEARCHED;
            rc = add_column(t, "value", "text", 0, false, err);
        }
        free(t->source);
        t->source = strdup(name);
        if (t->source == NULL)
            rc = ems_fail_memory(err);
        if (rc == EMS_OK)
            t->has_rowid = has_rowid(db, name);
    }
    if (rc == EMS_OK && step != SQLITE_DONE && step != SQLITE_OK)
        rc = ems_sqlite_fail(db, step, err);
    sqlite3_finalize(statement);
    return rc;
}

/* ---- both ---- */

/* Columns of event_search that SQLite's table has not: ems_sqlite_copy_search makes them. */
static bool is_filled_by_us(const struct ems_sqlite_table *t, const struct ems_sqlite_column *c)
{
    return t->fate == EMS_SQLITE_SEARCHED &&
           (strcmp(c->name, "vector") == 0 || strcmp(c->name, "origin_server_ts") == 0 ||
            strcmp(c->name, "stream_ordering") == 0);
}

static void check_missing(const struct ems_sqlite_table *t, const char *artifact,
                          struct ems_findings *findings, bool *bad)
{
    for (size_t i = 0; i < t->column_count; i++) {
        const struct ems_sqlite_column *c = &t->columns[i];

        if (c->source != NULL || is_filled_by_us(t, c))
            continue;
        if (!c->optional) {
            find_mismatch(findings, artifact, t->name, c->name,
                          "is in the schema, has no default, and is not in the database");
            *bad = true;
        } else {
            ems_findings_add(findings, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_NOTE, artifact, NULL,
                             EMS_NOWHERE, "",
                             "table %s: column %s is not in the database and gets its default",
                             t->name, c->name);
        }
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct ems_sqlite_table *)a)->name,
                  ((const struct ems_sqlite_table *)b)->name);
}

/* A table that the target has and the file has not stays empty: instance_map and the like, or one
 * that Synapse makes on PostgreSQL alone. */
int ems_sqlite_plan_make(struct ems_sqlite_plan *plan, sqlite3 *db, PGconn *conn,
                         const char *artifact, struct ems_findings *findings, struct ems_error *err)
{
    bool bad = false;
    int rc = read_target(plan, conn, err);

    if (rc == EMS_OK)
        rc = read_source(plan, db, err);
    if (rc != EMS_OK)
        return rc;
    qsort(plan->tables, plan->count, sizeof *plan->tables, by_name);
    for (size_t i = 0; i < plan->count && rc == EMS_OK; i++) {
        struct ems_sqlite_table *t = &plan->tables[i];

        if (t->fate == EMS_SQLITE_LEFT)
            continue;
        if (t->source == NULL) {
            t->fate = EMS_SQLITE_LEFT;
            t->reason = "only PostgreSQL has it";
            continue;
        }
        rc = read_columns(db, t, artifact, findings, &bad, err);
        if (rc == EMS_OK)
            check_missing(t, artifact, findings, &bad);
    }
    if (rc == EMS_OK && bad)
        rc = ems_fail(err, EMS_SYNAPSE_SCHEMA, "the tables of the database do not fit the schema");
    return rc;
}

void ems_sqlite_plan_release(struct ems_sqlite_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        struct ems_sqlite_table *t = &plan->tables[i];

        for (size_t k = 0; k < t->column_count; k++) {
            free(t->columns[k].name);
            free(t->columns[k].source);
        }
        free(t->columns);
        free(t->name);
        free(t->source);
    }
    free(plan->tables);
    *plan = (struct ems_sqlite_plan){0};
}
