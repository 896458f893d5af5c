/* server_workers.c - see server_workers.h */
#include "server_workers.h"

#include "bytes.h"
#include "server_pq.h"
#include "server_session.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum task_kind { TASK_LOAD, TASK_KEYS, TASK_INDEX, TASK_FOREIGN_KEY, TASK_ANALYZE };

/*
 * A table's way: TASK_LOAD (rows, with its neighbours) or ems_workers_add -> TASK_KEYS -> one
 * TASK_INDEX each -> built -> TASK_FOREIGN_KEY when the other table is built too -> TASK_ANALYZE.
 * Whoever ends a task puts what it made possible into the queue before `busy` is looked at, so an
 * empty queue with nobody busy is the end.
 */

/* What a worker does in one go. */
struct task {
    struct task *next;
    enum task_kind kind;
    size_t table;                     /* but for TASK_LOAD */
    size_t item;                      /* TASK_INDEX, TASK_FOREIGN_KEY: which */
    const struct ems_plan_unit *unit; /* TASK_LOAD */
    uint64_t bytes;                   /* how much there is to do, about */
};

/* How far a table is. */
struct progress {
    size_t indexes;      /* to be made, once its keys are */
    size_t foreign_keys; /* to be made, of it and to it */
    bool built;          /* rows, keys and indexes are there */
    uint64_t bytes;
};

struct worker {
    struct ems_workers *all;
    PGconn *conn;
    PGcancel *cancel; /* made in advance: while the thread runs, conn is its own */
    pthread_t thread;
};

struct ems_workers {
    const struct ems_plan *plan;
    ems_load_fn *load;
    void *load_context;
    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    struct task *queue;      /* large ones first */
    struct progress *tables; /* by index in the plan */
    bool *queued;            /* foreign keys, by item */
    bool foreign_key_busy;   /* one at a time: two could wait for each other's tables */
    size_t busy;             /* workers at a task */
    bool stop;
    struct ems_error failure; /* the first one */
    struct worker *workers;
    size_t count;
};

/* With the lock held. One signal is enough: a worker that wakes for a foreign key that has to wait
 * is told again when the one before it is made. */
static void enqueue(struct ems_workers *w, struct task *task)
{
    struct task **at = &w->queue;

    while (*at != NULL && (*at)->bytes >= task->bytes)
        at = &(*at)->next;
    task->next = *at;
    *at = task;
    pthread_cond_signal(&w->work);
}

/* With the lock held. */
static int add_task(struct ems_workers *w, const struct task *what, struct ems_error *err)
{
    struct task *task = malloc(sizeof *task);

    if (task == NULL)
        return ems_fail_memory(err);
    *task = *what;
    enqueue(w, task);
    return EMS_OK;
}

/* With the lock held: the first one that may run now; NULL if there is none. */
static struct task *take_task(struct ems_workers *w)
{
    struct task **at = &w->queue, *task;

    while (*at != NULL && (*at)->kind == TASK_FOREIGN_KEY && w->foreign_key_busy)
        at = &(*at)->next;
    task = *at;
    if (task != NULL) {
        *at = task->next;
        w->foreign_key_busy |= task->kind == TASK_FOREIGN_KEY;
    }
    return task;
}

/* ---- what follows what; all with the lock held ---- */

static int analyze_later(struct ems_workers *w, size_t table, struct ems_error *err)
{
    const struct task task = {/* nobody waits for it: behind the indexes of smaller tables */
                              .kind = TASK_ANALYZE,
                              .table = table,
                              .bytes = w->tables[table].bytes / 16};

    return add_task(w, &task, err);
}

/* Rows, keys and indexes of a table are there: the foreign keys that have waited for it. */
static int table_is_built(struct ems_workers *w, size_t table, struct ems_error *err)
{
    struct progress *progress = &w->tables[table];
    int rc = EMS_OK;

    progress->built = true;
    for (size_t i = 0; i < w->plan->count && progress->foreign_keys > 0 && rc == EMS_OK; i++) {
        const struct ems_plan_item *item = &w->plan->items[i];
        const struct task task = {
            .kind = TASK_FOREIGN_KEY, .table = table, .item = i, .bytes = progress->bytes};

        if (item->shape != EMS_SQL_ADD_FOREIGN_KEY || w->queued[i] ||
            (item->table != table && item->other != table) || !w->tables[item->table].built ||
            !w->tables[item->other].built)
            continue;
        w->queued[i] = true;
        rc = add_task(w, &task, err);
    }
    return rc == EMS_OK && progress->foreign_keys == 0 ? analyze_later(w, table, err) : rc;
}

/* All indexes of the table at once: CREATE INDEX takes a SHARE lock, which several can hold. */
static int keys_are_made(struct ems_workers *w, size_t table, struct ems_error *err)
{
    struct task task = {.kind = TASK_INDEX, .table = table, .bytes = w->tables[table].bytes};
    int rc = EMS_OK;

    for (size_t i = w->plan->tables[table].first; i != EMS_PLAN_NONE && rc == EMS_OK;
         i = w->plan->items[i].next) {
        if (w->plan->items[i].shape != EMS_SQL_CREATE_INDEX)
            continue;
        task.item = i;
        w->tables[table].indexes++;
        rc = add_task(w, &task, err);
    }
    return rc == EMS_OK && w->tables[table].indexes == 0 ? table_is_built(w, table, err) : rc;
}

/* ADD CONSTRAINT takes an ACCESS EXCLUSIVE lock: the keys of one table are one task. */
static int rows_are_in(struct ems_workers *w, size_t table, uint64_t bytes, struct ems_error *err)
{
    const struct task task = {.kind = TASK_KEYS, .table = table, .bytes = bytes};

    w->tables[table].bytes = bytes;
    for (size_t i = w->plan->tables[table].first; i != EMS_PLAN_NONE; i = w->plan->items[i].next)
        if (w->plan->items[i].shape == EMS_SQL_ADD_KEY)
            return add_task(w, &task, err);
    return keys_are_made(w, table, err);
}

static int unit_is_loaded(struct ems_workers *w, const struct ems_plan_unit *unit,
                          struct ems_error *err)
{
    int rc = EMS_OK;

    for (size_t i = unit->first; i < unit->first + unit->count && rc == EMS_OK; i++)
        if (w->plan->blocks[i].rows > 0)
            rc = rows_are_in(w, w->plan->blocks[i].table, w->plan->blocks[i].bytes, err);
    return rc;
}

static int foreign_key_is_made(struct ems_workers *w, size_t item, struct ems_error *err)
{
    size_t table = w->plan->items[item].table, other = w->plan->items[item].other;
    int rc = EMS_OK;

    w->foreign_key_busy = false;
    pthread_cond_broadcast(&w->work);
    if (--w->tables[table].foreign_keys == 0)
        rc = analyze_later(w, table, err);
    if (rc == EMS_OK && other != table && --w->tables[other].foreign_keys == 0)
        rc = analyze_later(w, other, err);
    return rc;
}

static int follow_up(struct ems_workers *w, const struct task *done, struct ems_error *err)
{
    switch (done->kind) {
    case TASK_LOAD:
        return unit_is_loaded(w, done->unit, err);
    case TASK_KEYS:
        return keys_are_made(w, done->table, err);
    case TASK_INDEX:
        return --w->tables[done->table].indexes == 0 ? table_is_built(w, done->table, err) : EMS_OK;
    case TASK_FOREIGN_KEY:
        return foreign_key_is_made(w, done->item, err);
    case TASK_ANALYZE:
        return EMS_OK;
    }
    return ems_fail(err, EMS_INTERNAL, "restore: unknown task");
}

/* ---- on a worker's thread ---- */

/* What the restore that is resumed has made counts as made: its statement ran to its commit. */
static int run_item(PGconn *conn, const struct ems_plan_item *item, struct ems_error *err)
{
    PGresult *answer;
    char head[64];
    int rc = EMS_OK;

    if (item->made)
        return EMS_OK;
    answer = PQexecParams(conn, item->text, 0, NULL, NULL, NULL, NULL, 0);
    if (PQresultStatus(answer) != PGRES_COMMAND_OK)
        rc = ems_pq_fail(err, "restore", EMS_RESTORE_FAILED, conn, answer, "line %llu: %s",
                         (unsigned long long)item->line,
                         ems_printable(item->text, strlen(item->text), head, sizeof head));
    PQclear(answer);
    return rc;
}

static int run_keys(struct ems_workers *w, PGconn *conn, size_t table, struct ems_error *err)
{
    int rc = EMS_OK;

    for (size_t i = w->plan->tables[table].first; i != SIZE_MAX && rc == EMS_OK;
         i = w->plan->items[i].next)
        if (w->plan->items[i].shape == EMS_SQL_ADD_KEY)
            rc = run_item(conn, &w->plan->items[i], err);
    return rc;
}

/* A small sample is enough to choose plans by; the usual one would take a tenth of the restore. The
 * setting is the session's, see start_worker. */
static int run_analyze(struct ems_workers *w, PGconn *conn, size_t table, struct ems_error *err)
{
    const char *name = w->plan->tables[table].name;
    char *quoted = PQescapeIdentifier(conn, name, strlen(name));
    int rc;

    if (quoted == NULL)
        return ems_pq_fail(err, "restore", EMS_SERVER_ERROR, conn, NULL, "cannot quote a name");
    rc = ems_pq_run(conn, "analyze a table", err, "ANALYZE public.%s", quoted);
    PQfreemem(quoted);
    return rc;
}

static int run_task(struct ems_workers *w, PGconn *conn, const struct task *task,
                    struct ems_error *err)
{
    switch (task->kind) {
    case TASK_LOAD:
        return w->load(w->load_context, conn, task->unit, err);
    case TASK_KEYS:
        return run_keys(w, conn, task->table, err);
    case TASK_INDEX:
    case TASK_FOREIGN_KEY:
        return run_item(conn, &w->plan->items[task->item], err);
    case TASK_ANALYZE:
        return run_analyze(w, conn, task->table, err);
    }
    return ems_fail(err, EMS_INTERNAL, "restore: unknown task");
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct ems_workers *w = worker->all;

    pthread_mutex_lock(&w->lock);
    for (;;) {
        struct ems_error err = {0};
        struct task *task = NULL;
        int rc;

        while (!w->stop && (task = take_task(w)) == NULL)
            pthread_cond_wait(&w->work, &w->lock);
        if (w->stop)
            break;
        w->busy++;
        pthread_mutex_unlock(&w->lock);
        rc = run_task(w, worker->conn, task, &err);
        pthread_mutex_lock(&w->lock);
        w->busy--;
        if (rc == EMS_OK)
            rc = follow_up(w, task, &err);
        free(task);
        if (rc != EMS_OK && w->failure.code == EMS_OK)
            w->failure = err;
        if (rc != EMS_OK)
            w->stop = true;
        if (w->stop || (w->queue == NULL && w->busy == 0))
            pthread_cond_broadcast(&w->idle);
        if (w->stop)
            pthread_cond_broadcast(&w->work);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* ---- on the restore's thread ---- */

static int open_worker(struct worker *worker, struct ems_staging *staging, struct ems_error *err)
{
    int rc = ems_session_open(staging, &worker->conn, err);

    /* The connections are the parallelism: parallel index builds on top would only take turns. */
    if (rc == EMS_OK)
        rc = ems_pq_run(worker->conn, "set up a worker's session", err,
                        "SELECT pg_catalog.set_config('max_parallel_maintenance_workers', '0', "
                        "false), pg_catalog.set_config('default_statistics_target', '10', false)");
    if (rc == EMS_OK && (worker->cancel = PQgetCancel(worker->conn)) == NULL)
        rc = ems_fail_memory(err);
    return rc;
}

static void close_worker(struct worker *worker)
{
    PQfreeCancel(worker->cancel);
    PQfinish(worker->conn);
}

static int start_worker(struct ems_workers *w, struct ems_staging *staging, struct ems_error *err)
{
    struct worker *worker = &w->workers[w->count];
    sigset_t all, before;
    int rc = open_worker(worker, staging, err);

    worker->all = w;
    if (rc == EMS_OK) {
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        if (pthread_create(&worker->thread, NULL, work, worker) != 0)
            rc = ems_fail(err, EMS_NO_MEMORY, "no thread for a connection");
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    if (rc == EMS_OK)
        w->count++;
    else
        close_worker(worker);
    return rc;
}

/* One connection is enough. A server that has no room for more (max_connections) is no reason to
 * fail; one that is gone shows with the first statement. */
static int start_all(struct ems_workers *w, struct ems_staging *staging, unsigned count,
                     struct ems_error *err)
{
    struct ems_error failure = {0};

    for (unsigned i = 0; i < count && failure.code == EMS_OK; i++)
        start_worker(w, staging, &failure);
    if (w->count > 0)
        return EMS_OK;
    *err = failure;
    return failure.code;
}

struct ems_workers *ems_workers_start(struct ems_staging *staging, const struct ems_plan *plan,
                                      unsigned count, ems_load_fn *load, void *context,
                                      struct ems_error *err)
{
    struct ems_workers *w = calloc(1, sizeof *w);
    int rc = EMS_OK;

    if (w == NULL) {
        ems_fail_memory(err);
        return NULL;
    }
    w->plan = plan;
    w->load = load;
    w->load_context = context;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work, NULL);
    pthread_cond_init(&w->idle, NULL);
    w->tables = calloc(plan->table_count + 1, sizeof *w->tables);
    w->queued = calloc(plan->count + 1, sizeof *w->queued);
    w->workers = calloc(count, sizeof *w->workers);
    if (w->tables == NULL || w->queued == NULL || w->workers == NULL)
        rc = ems_fail_memory(err);
    for (size_t i = 0; i < plan->count && rc == EMS_OK; i++) {
        const struct ems_plan_item *item = &plan->items[i];

        if (item->shape != EMS_SQL_ADD_FOREIGN_KEY)
            continue;
        w->tables[item->table].foreign_keys++;
        if (item->other != item->table)
            w->tables[item->other].foreign_keys++;
    }
    if (rc == EMS_OK)
        rc = start_all(w, staging, count, err);
    if (rc != EMS_OK) {
        ems_workers_free(w);
        return NULL;
    }
    return w;
}

/* With the lock held: what was done, or what a worker has failed with meanwhile. */
static int outcome(const struct ems_workers *w, int rc, struct ems_error *err)
{
    if (rc != EMS_OK || w->failure.code == EMS_OK)
        return rc;
    *err = w->failure;
    return w->failure.code;
}

int ems_workers_load(struct ems_workers *w, const struct ems_plan_unit *unit, struct ems_error *err)
{
    const struct task task = {.kind = TASK_LOAD, .unit = unit, .bytes = unit->bytes};
    int rc;

    pthread_mutex_lock(&w->lock);
    rc = outcome(w, add_task(w, &task, err), err);
    pthread_mutex_unlock(&w->lock);
    return rc;
}

int ems_workers_add(struct ems_workers *w, struct ems_plan_table *table, uint64_t bytes,
                    struct ems_error *err)
{
    int rc;

    table->begun = true;
    pthread_mutex_lock(&w->lock);
    rc = outcome(w, rows_are_in(w, (size_t)(table - w->plan->tables), bytes, err), err);
    pthread_mutex_unlock(&w->lock);
    return rc;
}

/* With the lock held: a tenth of a second, or until a worker has nothing to do any more. */
static void wait_a_moment(struct ems_workers *w)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 100000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&w->idle, &w->lock, &until);
}

int ems_workers_wait(struct ems_workers *w, int (*tick)(void *, struct ems_error *), void *context,
                     struct ems_error *err)
{
    int rc = EMS_OK;

    pthread_mutex_lock(&w->lock);
    while (!w->stop && (w->queue != NULL || w->busy > 0)) {
        wait_a_moment(w);
        pthread_mutex_unlock(&w->lock);
        rc = tick != NULL ? tick(context, err) : EMS_OK;
        pthread_mutex_lock(&w->lock);
        if (rc != EMS_OK)
            break;
    }
    rc = outcome(w, rc, err);
    pthread_mutex_unlock(&w->lock);
    return rc;
}

/* A request to cancel that comes between two statements is lost, and a unit has many of them. So it
 * is repeated until nobody works any more. */
static void stop_all(struct ems_workers *w)
{
    char ignored[256];

    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->work);
    while (w->busy > 0) {
        pthread_mutex_unlock(&w->lock);
        for (size_t i = 0; i < w->count; i++)
            PQcancel(w->workers[i].cancel, ignored, sizeof ignored);
        pthread_mutex_lock(&w->lock);
        if (w->busy > 0)
            wait_a_moment(w);
    }
    pthread_mutex_unlock(&w->lock);
    for (size_t i = 0; i < w->count; i++)
        pthread_join(w->workers[i].thread, NULL);
}

void ems_workers_free(struct ems_workers *w)
{
    if (w == NULL)
        return;
    stop_all(w);
    for (size_t i = 0; i < w->count; i++)
        close_worker(&w->workers[i]);
    while (w->queue != NULL) {
        struct task *task = w->queue;

        w->queue = task->next;
        free(task);
    }
    pthread_cond_destroy(&w->idle);
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->lock);
    free(w->tables);
    free(w->queued);
    free(w->workers);
    free(w);
}
