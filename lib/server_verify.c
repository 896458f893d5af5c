/*
 * server_verify.c - see server_verify.h
 *
 * Tables are taken by threads from one list, large ones first; each has a connection of its own.
 * What a thread finds out stays in the table's entry and is judged when all have ended, in the
 * order of the dump, so that the message does not depend on who was faster.
 */
#include "server_verify.h"

#include "bytes.h"
#include "row_hash.h"
#include "server_copy.h"
#include "server_pq.h"
#include "server_session.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

struct table {
    char *name;     /* "public.events", unquoted */
    char **columns; /* of its COPY block */
    size_t column_count;
    bool by_value;  /* had a block */
    uint64_t bytes; /* of the block */
    struct ems_row_hash dump, staged;
    uint64_t counted; /* rows in the database, if not by value */
    bool differs;     /* undecided */
};

#define NO_TABLE SIZE_MAX

struct ems_verify {
    uint8_t key[EMS_ROW_HASH_KEY];
    struct table *tables; /* in the order of CREATE TABLE, which is that of the scanner's facts */
    size_t count, capacity;
    size_t block; /* the one whose rows are coming, or NO_TABLE */
    char undecided[100];
    struct ems_verify_result result;
};

/* ---- the first reading ---- */

struct ems_verify *ems_verify_new(struct ems_error *err)
{
    struct ems_verify *v = calloc(1, sizeof *v);

    if (v == NULL) {
        ems_fail_memory(err);
        return NULL;
    }
    v->block = NO_TABLE;
    if (getrandom(v->key, sizeof v->key, 0) != (ssize_t)sizeof v->key) {
        ems_fail_errno(err, errno, "no random numbers");
        free(v);
        return NULL;
    }
    return v;
}

void ems_verify_free(struct ems_verify *v)
{
    for (size_t i = 0; v != NULL && i < v->count; i++) {
        free(v->tables[i].columns);
        free(v->tables[i].name);
    }
    if (v != NULL)
        free(v->tables);
    free(v);
}

/* Every table of the dump, also those without rows: they must be empty. One entry for each of the
 * scanner's facts, in the same order. */
static int add_table(struct ems_verify *v, const char *name, struct ems_error *err)
{
    struct table *t;

    if (v->count == v->capacity) {
        size_t capacity = v->capacity > 0 ? 2 * v->capacity : 256;

        t = realloc(v->tables, capacity * sizeof *t);
        if (t == NULL)
            return ems_fail_memory(err);
        v->tables = t;
        v->capacity = capacity;
    }
    t = &v->tables[v->count];
    *t = (struct table){.name = strdup(name)};
    if (t->name == NULL)
        return ems_fail_memory(err);
    v->count++;
    return EMS_OK;
}

/* Blocks come in the order of the tables or nearly so: from the last one on. */
static struct table *find_table(struct ems_verify *v, const char *name)
{
    size_t start = v->block != NO_TABLE ? v->block : 0;

    for (size_t i = 0; i < v->count; i++)
        if (strcmp(v->tables[(start + i) % v->count].name, name) == 0)
            return &v->tables[(start + i) % v->count];
    return NULL;
}

/* The column list is kept as the dump has it: its order decides what a row's text is, and generated
 * columns are not in it. */
static int begin_block(struct ems_verify *v, const struct ems_sql_statement *s,
                       struct ems_error *err)
{
    struct table *t = find_table(v, s->table);

    if (t == NULL) /* the scanner knows the tables: this would be its bug */
        return ems_fail(err, EMS_INTERNAL, "line %llu: rows of an unknown table",
                        (unsigned long long)s->line);
    v->block = (size_t)(t - v->tables);
    t->by_value = true;
    ems_row_hash_init(&t->dump, v->key);
    t->columns = ems_copy_names(s->column_names, s->columns);
    t->column_count = s->columns;
    return t->columns != NULL ? EMS_OK : ems_fail_memory(err);
}

int ems_verify_observe(struct ems_verify *v, const struct ems_sql_event *event,
                       struct ems_error *err)
{
    const struct ems_sql_statement *s = event->statement;

    if (event->kind == EMS_SQL_ROWS && v->block != NO_TABLE) {
        ems_row_hash_feed(&v->tables[v->block].dump, event->data.data, event->data.size);
        v->tables[v->block].bytes += event->data.size;
    }
    if (event->kind != EMS_SQL_STATEMENT)
        return EMS_OK;
    if (s->shape == EMS_SQL_CREATE_TABLE)
        return add_table(v, s->table, err);
    return s->shape == EMS_SQL_COPY && s->action == EMS_SQL_SEND ? begin_block(v, s, err) : EMS_OK;
}

/* ---- reading back ---- */

/* "pg_temp.again" or public."events"; with the column list of the block, which may be empty. */
static int copy_command(PGconn *conn, const struct table *t, const char *name, const char *tail,
                        struct ems_buf *sql, struct ems_error *err)
{
    int rc = ems_buf_printf(sql, err, "COPY %s ", name);

    for (size_t i = 0; i < t->column_count && rc == EMS_OK; i++) {
        char *quoted = PQescapeIdentifier(conn, t->columns[i], strlen(t->columns[i]));

        rc = quoted == NULL ? ems_fail_memory(err)
                            : ems_buf_printf(sql, err, "%s%s", i == 0 ? "(" : ", ", quoted);
        PQfreemem(quoted);
    }
    if (rc == EMS_OK)
        rc = ems_buf_printf(sql, err, "%s %s", t->column_count > 0 ? ")" : "", tail);
    return rc;
}

/* Its name as SQL; freed by the caller. */
static char *sql_name(PGconn *conn, const struct table *t)
{
    const char *dot = strchr(t->name, '.'), *bare = dot != NULL ? dot + 1 : t->name;
    char *quoted = PQescapeIdentifier(conn, bare, strlen(bare)), *name = NULL;

    if (quoted != NULL && asprintf(&name, "public.%s", quoted) < 0)
        name = NULL;
    PQfreemem(quoted);
    return name;
}

/* Nobody else writes there, so tables need not be read at one moment. */
static int hash_table(PGconn *conn, const struct table *t, const char *name, const uint8_t *key,
                      struct ems_row_hash *hash, struct ems_error *err)
{
    struct ems_buf sql = {0};
    PGresult *answer = NULL;
    char *row;
    int size, rc = copy_command(conn, t, name, "TO STDOUT", &sql, err);

    ems_row_hash_init(hash, key);
    if (rc == EMS_OK)
        answer = PQexecParams(conn, (const char *)sql.data, 0, NULL, NULL, NULL, NULL, 0);
    if (rc == EMS_OK && PQresultStatus(answer) != PGRES_COPY_OUT)
        rc = ems_pq_fail(err, "verify", EMS_SERVER_ERROR, conn, answer, "cannot read %s", name);
    PQclear(answer);
    ems_buf_release(&sql);
    if (rc != EMS_OK)
        return rc;
    while ((size = PQgetCopyData(conn, &row, 0)) > 0) {
        ems_row_hash_feed(hash, (const uint8_t *)row, (size_t)size);
        PQfreemem(row);
    }
    answer = PQgetResult(conn);
    if (size != -1 || PQresultStatus(answer) != PGRES_COMMAND_OK)
        rc = ems_pq_fail(err, "verify", EMS_SERVER_ERROR, conn, answer, "cannot read %s", name);
    PQclear(answer);
    PQclear(PQgetResult(conn));
    return rc;
}

/* By the server: nothing but the number is of interest. */
static int count_rows(PGconn *conn, const char *name, uint64_t *rows, struct ems_error *err)
{
    struct ems_buf sql = {0};
    PGresult *answer = NULL;
    int rc = ems_buf_printf(&sql, err, "SELECT count(*) FROM %s", name);

    if (rc == EMS_OK)
        rc = ems_pq_query(conn, "count rows", (const char *)sql.data, 0, NULL, &answer, err);
    if (rc == EMS_OK)
        *rows = strtoull(PQgetvalue(answer, 0, 0), NULL, 10);
    PQclear(answer);
    ems_buf_release(&sql);
    return rc;
}

/* ---- several at a time ---- */

struct crew {
    struct ems_verify *v;
    size_t *order; /* of tables, large ones first */
    pthread_mutex_t lock;
    pthread_cond_t ended;
    size_t next, running;
    bool stop;
    struct ems_error failure; /* the first one */
};

struct reader {
    struct crew *crew;
    PGconn *conn;
    PGcancel *cancel; /* made in advance: while the thread runs, conn is its own */
    pthread_t thread;
};

static int read_table(struct ems_verify *v, PGconn *conn, struct table *t, struct ems_error *err)
{
    char *name = sql_name(conn, t);
    int rc;

    if (name == NULL)
        return ems_fail_memory(err);
    rc = t->by_value ? hash_table(conn, t, name, v->key, &t->staged, err)
                     : count_rows(conn, name, &t->counted, err);
    free(name);
    return rc;
}

/*
 * One thread: takes the next table until there is none, or somebody failed. The lock is held except
 * while a table is read; a table's entry belongs to the thread that took it.
 */
static void *read_tables(void *argument)
{
    struct reader *r = argument;
    struct crew *crew = r->crew;
    struct ems_error err = {0};

    pthread_mutex_lock(&crew->lock);
    while (!crew->stop && crew->next < crew->v->count) {
        struct table *t = &crew->v->tables[crew->order[crew->next++]];
        int rc;

        pthread_mutex_unlock(&crew->lock);
        rc = read_table(crew->v, r->conn, t, &err);
        pthread_mutex_lock(&crew->lock);
        if (rc != EMS_OK && crew->failure.code == EMS_OK)
            crew->failure = err;
        crew->stop |= rc != EMS_OK;
    }
    crew->running--;
    pthread_cond_signal(&crew->ended);
    pthread_mutex_unlock(&crew->lock);
    return NULL;
}

/* For qsort_r: the largest first, so that no thread begins it when the others are done. */
static int by_bytes(const void *a, const void *b, void *tables)
{
    const struct table *all = tables;
    uint64_t x = all[*(const size_t *)a].bytes, y = all[*(const size_t *)b].bytes;

    return x < y ? 1 : x > y ? -1 : 0;
}

/* With the lock held: a tenth of a second, or until a thread has ended. */
static void wait_a_moment(struct crew *crew)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 100000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&crew->ended, &crew->lock, &until);
}

/* The tool's thread meanwhile keeps the progress alive and hears signals. */
static int wait_for_crew(struct crew *crew, int (*tick)(void *, struct ems_error *), void *context,
                         struct ems_error *err)
{
    int rc = EMS_OK;

    pthread_mutex_lock(&crew->lock);
    while (crew->running > 0 && !crew->stop && rc == EMS_OK) {
        wait_a_moment(crew);
        pthread_mutex_unlock(&crew->lock);
        rc = tick != NULL ? tick(context, err) : EMS_OK;
        pthread_mutex_lock(&crew->lock);
    }
    pthread_mutex_unlock(&crew->lock);
    return rc;
}

/* As pg_dump does, so that the text has its form. */
static int open_session(struct ems_staging *staging, PGconn **conn, struct ems_error *err)
{
    int rc = ems_session_open(staging, conn, err);

    if (rc != EMS_OK)
        return rc;
    return ems_pq_run(*conn, "set up a session", err,
                      "SELECT pg_catalog.set_config('extra_float_digits', '3', false), "
                      "pg_catalog.set_config('datestyle', 'ISO', false), "
                      "pg_catalog.set_config('intervalstyle', 'postgres', false), "
                      "pg_catalog.set_config('bytea_output', 'hex', false)");
}

static void close_reader(struct reader *r)
{
    PQfreeCancel(r->cancel);
    PQfinish(r->conn);
}

static int start_reader(struct crew *crew, struct reader *r, struct ems_staging *staging,
                        struct ems_error *err)
{
    sigset_t all, before;
    int rc = open_session(staging, &r->conn, err);

    r->crew = crew;
    if (rc == EMS_OK && (r->cancel = PQgetCancel(r->conn)) == NULL)
        rc = ems_fail_memory(err);
    if (rc == EMS_OK) {
        pthread_mutex_lock(&crew->lock);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        if (pthread_create(&r->thread, NULL, read_tables, r) != 0)
            rc = ems_fail(err, EMS_NO_MEMORY, "no thread for a connection");
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        crew->running += rc == EMS_OK;
        pthread_mutex_unlock(&crew->lock);
    }
    if (rc != EMS_OK)
        close_reader(r);
    return rc;
}

/* As many as the server has room for; one is enough (as in server_workers.c). */
static int start_readers(struct crew *crew, struct reader *readers, size_t jobs, size_t *started,
                         struct ems_staging *staging, struct ems_error *err)
{
    struct ems_error failure = {0};

    for (*started = 0; *started < jobs; ++*started)
        if (start_reader(crew, &readers[*started], staging, &failure) != EMS_OK)
            break;
    if (*started > 0)
        return EMS_OK;
    *err = failure;
    return failure.code;
}

/* A request to cancel that comes between two statements is lost, so it is repeated. */
static void end_readers(struct crew *crew, struct reader *readers, size_t count)
{
    char ignored[256];

    pthread_mutex_lock(&crew->lock);
    crew->stop = true; /* without effect if there is no table left */
    while (crew->running > 0) {
        pthread_mutex_unlock(&crew->lock);
        for (size_t i = 0; i < count; i++)
            PQcancel(readers[i].cancel, ignored, sizeof ignored);
        pthread_mutex_lock(&crew->lock);
        if (crew->running > 0)
            wait_a_moment(crew);
    }
    pthread_mutex_unlock(&crew->lock);
    for (size_t i = 0; i < count; i++) {
        pthread_join(readers[i].thread, NULL);
        close_reader(&readers[i]);
    }
}

/* Threads are joined before anything is judged: their failures come after a failure of the tick,
 * which is what the operator asked for. */
static int read_all(struct ems_verify *v, struct ems_staging *staging, unsigned jobs,
                    int (*tick)(void *, struct ems_error *), void *context, struct ems_error *err)
{
    struct crew crew = {.v = v, .order = calloc(v->count + 1, sizeof *crew.order)};
    struct reader *readers = calloc(jobs, sizeof *readers);
    size_t started = 0;
    int rc = crew.order != NULL && readers != NULL ? EMS_OK : ems_fail_memory(err);

    pthread_mutex_init(&crew.lock, NULL);
    pthread_cond_init(&crew.ended, NULL);
    for (size_t i = 0; i < v->count && rc == EMS_OK; i++)
        crew.order[i] = i;
    if (rc == EMS_OK)
        qsort_r(crew.order, v->count, sizeof *crew.order, by_bytes, v->tables);
    if (rc == EMS_OK)
        rc = start_readers(&crew, readers, jobs, &started, staging, err);
    if (rc == EMS_OK)
        rc = wait_for_crew(&crew, tick, context, err);
    end_readers(&crew, readers, started);
    if (rc == EMS_OK && crew.failure.code != EMS_OK) {
        *err = crew.failure;
        rc = err->code;
    }
    pthread_cond_destroy(&crew.ended);
    pthread_mutex_destroy(&crew.lock);
    free(crew.order);
    free(readers);
    return rc;
}

/* ---- the verdict ---- */

static int fail_count(const struct table *t, uint64_t wanted, uint64_t found, struct ems_error *err)
{
    char shown[100];

    return ems_fail(
        err, EMS_RESTORE_FAILED, "verifying: the dump holds %llu rows of %s, but the database %llu",
        (unsigned long long)wanted, ems_printable(t->name, strlen(t->name), shown, sizeof shown),
        (unsigned long long)found);
}

int ems_verify_run(struct ems_verify *v, struct ems_staging *staging, unsigned jobs,
                   const struct ems_sql_facts *facts,
                   int (*tick)(void *context, struct ems_error *), void *context,
                   struct ems_error *err)
{
    int rc = read_all(v, staging, jobs > 0 ? jobs : 1, tick, context, err);

    if (rc == EMS_OK && facts->table_count != v->count)
        rc = ems_fail(err, EMS_INTERNAL, "verify: %zu tables, not %zu", v->count,
                      facts->table_count);
    v->undecided[0] = '\0';
    v->result = (struct ems_verify_result){0};
    for (size_t i = 0; i < v->count && rc == EMS_OK; i++) {
        struct table *t = &v->tables[i];

        if (!t->by_value) {
            v->result.counted++;
            if (t->counted != facts->tables[i].rows)
                rc = fail_count(t, facts->tables[i].rows, t->counted, err);
            continue;
        }
        v->result.tables++;
        v->result.rows += t->dump.rows;
        if (t->staged.rows != t->dump.rows)
            rc = fail_count(t, t->dump.rows, t->staged.rows, err);
        t->differs = !ems_row_hash_equal(&t->dump, &t->staged);
        if (t->differs && v->undecided[0] == '\0')
            ems_printable(t->name, strlen(t->name), v->undecided, sizeof v->undecided);
    }
    if (rc != EMS_OK && err->stage == NULL)
        err->stage = "verify";
    return rc;
}

const char *ems_verify_undecided(const struct ems_verify *v)
{
    return v->undecided[0] != '\0' ? v->undecided : NULL;
}

const struct ems_verify_result *ems_verify_result(const struct ems_verify *v)
{
    return &v->result;
}

/* ---- once more, through a temporary table ---- */

#define AGAIN "pg_temp.ems_again"

/* LIKE copies columns and NOT NULL, which is all that decides how text is read. The table goes with
 * the transaction, whatever happens. */
static int begin_again(struct table *t, struct ems_copy *copy, uint64_t line, struct ems_error *err)
{
    char *name = sql_name(copy->conn, t);
    struct ems_buf sql = {0};
    int rc = name != NULL ? EMS_OK : ems_fail_memory(err);

    if (rc == EMS_OK)
        rc = ems_pq_run(copy->conn, "begin", err, "BEGIN");
    if (rc == EMS_OK)
        rc = ems_pq_run(copy->conn, "make a temporary table", err,
                        "CREATE TEMPORARY TABLE ems_again (LIKE %s) ON COMMIT DROP", name);
    if (rc == EMS_OK)
        rc = copy_command(copy->conn, t, AGAIN, "FROM stdin", &sql, err);
    if (rc == EMS_OK)
        rc = ems_copy_begin(copy, (const char *)sql.data, t->name, line, NULL, 0, err);
    ems_buf_release(&sql);
    free(name);
    return rc;
}

/* What the server makes of the dump's text, against what is in the database. */
static int end_again(struct ems_verify *v, struct table *t, struct ems_copy *copy,
                     struct ems_error *err)
{
    struct ems_row_hash again;
    char shown[100];
    int rc = ems_copy_end(copy, err);

    if (rc == EMS_OK)
        rc = hash_table(copy->conn, t, AGAIN, v->key, &again, err);
    if (rc == EMS_OK && !ems_row_hash_equal(&again, &t->staged))
        rc = ems_fail(err, EMS_RESTORE_FAILED,
                      "verifying: the rows of %s in the database are not those of the dump",
                      ems_printable(t->name, strlen(t->name), shown, sizeof shown));
    if (rc == EMS_OK)
        rc = ems_pq_run(copy->conn, "end", err, "ROLLBACK");
    if (rc == EMS_OK) {
        t->differs = false;
        v->result.other_form++;
    }
    return rc;
}

/* One event of the other reading; blocks of tables that are decided pass by. */
static int decide(struct ems_verify *v, struct ems_copy *copy, const struct ems_sql_event *event,
                  struct ems_error *err)
{
    const struct ems_sql_statement *s = event->statement;

    if (event->kind == EMS_SQL_STATEMENT) {
        struct table *t = s->shape == EMS_SQL_COPY ? find_table(v, s->table) : NULL;

        v->block = t != NULL && t->differs ? (size_t)(t - v->tables) : NO_TABLE;
        return v->block != NO_TABLE ? begin_again(t, copy, s->line, err) : EMS_OK;
    }
    if (v->block == NO_TABLE)
        return EMS_OK;
    if (event->kind == EMS_SQL_ROWS)
        return ems_copy_feed(copy, event->data.data, event->data.size, event->line, err);
    return end_again(v, &v->tables[v->block], copy, err);
}

int ems_verify_again(struct ems_verify *v, struct ems_staging *staging, struct ems_sqlscan *scan,
                     int (*tick)(void *context, struct ems_error *), void *context,
                     struct ems_error *err)
{
    struct ems_copy copy = {0};
    struct ems_sql_event event;
    int rc = open_session(staging, &copy.conn, err);

    v->block = NO_TABLE;
    while (rc == EMS_OK && (rc = ems_sqlscan_next(scan, &event, err)) == EMS_OK) {
        rc = decide(v, &copy, &event, err);
        if (rc == EMS_OK && tick != NULL)
            rc = tick(context, err);
    }
    if (rc == EMS_END)
        rc = EMS_OK;
    else
        ems_copy_abort(&copy);
    for (size_t i = 0; i < v->count && rc == EMS_OK; i++)
        if (v->tables[i].differs)
            rc =
                ems_fail(err, EMS_PART_UNFINISHED, "the dump is not what it was in the first pass");
    v->undecided[0] = '\0';
    ems_copy_release(&copy);
    PQfinish(copy.conn);
    return rc;
}
