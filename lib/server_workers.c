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

enum task_kind { TASK_KEYS, TASK_INDEX, TASK_ANALYZE };

/* What a worker does in one go. */
struct task {
    struct task *next;
    enum task_kind kind;
    size_t table;
    size_t item; /* TASK_INDEX: which */
    uint64_t bytes;
};

struct worker {
    struct ems_workers *all;
    PGconn *conn;
    pthread_t thread;
    bool running;
};

struct ems_workers {
    const struct ems_plan *plan;
    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    struct task *queue;   /* large tables first */
    size_t *indexes_left; /* by table: until ANALYZE can be done */
    size_t busy;          /* workers at a task */
    bool stop;
    struct ems_error failure; /* the first one */
    struct worker *workers;
    size_t count;
};

/* With the lock held. */
static void enqueue(struct ems_workers *w, struct task *task)
{
    struct task **at = &w->queue;

    while (*at != NULL && (*at)->bytes >= task->bytes)
        at = &(*at)->next;
    task->next = *at;
    *at = task;
    pthread_cond_signal(&w->work);
}

static struct task *new_task(enum task_kind kind, size_t table, size_t item, uint64_t bytes)
{
    struct task *task = calloc(1, sizeof *task);

    if (task != NULL) {
        task->kind = kind;
        task->table = table;
        task->item = item;
        task->bytes = bytes;
    }
    return task;
}

/* ---- on a worker's thread ---- */

static int run_item(PGconn *conn, const struct ems_plan_item *item, struct ems_error *err)
{
    PGresult *answer = PQexecParams(conn, item->text, 0, NULL, NULL, NULL, NULL, 0);
    char head[64];
    int rc = EMS_OK;

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

/* With the lock held: what follows a task that is done. */
static int follow_up(struct ems_workers *w, const struct task *done, struct ems_error *err)
{
    const struct ems_plan_table *table = &w->plan->tables[done->table];
    struct task *task;

    if (done->kind == TASK_ANALYZE)
        return EMS_OK;
    if (done->kind == TASK_INDEX)
        w->indexes_left[done->table]--;
    for (size_t i = table->first; done->kind == TASK_KEYS && i != SIZE_MAX;
         i = w->plan->items[i].next) {
        if (w->plan->items[i].shape != EMS_SQL_CREATE_INDEX)
            continue;
        task = new_task(TASK_INDEX, done->table, i, done->bytes);
        if (task == NULL)
            return ems_fail_memory(err);
        enqueue(w, task);
        w->indexes_left[done->table]++;
    }
    if (w->indexes_left[done->table] > 0)
        return EMS_OK;
    task = new_task(TASK_ANALYZE, done->table, 0, done->bytes);
    if (task == NULL)
        return ems_fail_memory(err);
    enqueue(w, task);
    return EMS_OK;
}

static int run_task(struct ems_workers *w, PGconn *conn, const struct task *task,
                    struct ems_error *err)
{
    switch (task->kind) {
    case TASK_KEYS:
        return run_keys(w, conn, task->table, err);
    case TASK_INDEX:
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
        struct task *task;
        int rc;

        while (w->queue == NULL && !w->stop)
            pthread_cond_wait(&w->work, &w->lock);
        if (w->stop)
            break;
        task = w->queue;
        w->queue = task->next;
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

static int start_worker(struct ems_workers *w, struct ems_staging *staging, struct ems_error *err)
{
    struct worker *worker = &w->workers[w->count];
    sigset_t all, before;
    int rc = ems_session_open(staging, &worker->conn, err);

    /* The connections are the parallelism: parallel index builds on top would only take turns. */
    if (rc == EMS_OK)
        rc = ems_pq_run(worker->conn, "set up a worker's session", err,
                        "SELECT pg_catalog.set_config('max_parallel_maintenance_workers', '0', "
                        "false), pg_catalog.set_config('default_statistics_target', '10', false)");
    w->count++;
    worker->all = w;
    if (rc != EMS_OK)
        return rc;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    worker->running = pthread_create(&worker->thread, NULL, work, worker) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return worker->running ? EMS_OK : ems_fail(err, EMS_NO_MEMORY, "no thread for a connection");
}

struct ems_workers *ems_workers_start(struct ems_staging *staging, const struct ems_plan *plan,
                                      unsigned count, struct ems_error *err)
{
    struct ems_workers *w = calloc(1, sizeof *w);
    int rc = EMS_OK;

    if (w == NULL) {
        ems_fail_memory(err);
        return NULL;
    }
    w->plan = plan;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work, NULL);
    pthread_cond_init(&w->idle, NULL);
    w->indexes_left = calloc(plan->table_count + 1, sizeof *w->indexes_left);
    w->workers = calloc(count, sizeof *w->workers);
    if (w->indexes_left == NULL || w->workers == NULL)
        rc = ems_fail_memory(err);
    for (unsigned i = 0; i < count && rc == EMS_OK; i++)
        rc = start_worker(w, staging, err);
    if (rc != EMS_OK) {
        ems_workers_free(w);
        return NULL;
    }
    return w;
}

int ems_workers_add(struct ems_workers *w, struct ems_plan_table *table, uint64_t bytes,
                    struct ems_error *err)
{
    struct task *task = new_task(TASK_KEYS, (size_t)(table - w->plan->tables), 0, bytes);
    int rc = EMS_OK;

    if (task == NULL)
        return ems_fail_memory(err);
    table->begun = true;
    pthread_mutex_lock(&w->lock);
    enqueue(w, task);
    if (w->failure.code != EMS_OK) {
        rc = w->failure.code;
        *err = w->failure;
    }
    pthread_mutex_unlock(&w->lock);
    return rc;
}

int ems_workers_wait(struct ems_workers *w, int (*tick)(void *, struct ems_error *), void *context,
                     struct ems_error *err)
{
    int rc = EMS_OK;

    pthread_mutex_lock(&w->lock);
    while (!w->stop && (w->queue != NULL || w->busy > 0)) {
        struct timespec until;

        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 100000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&w->idle, &w->lock, &until);
        pthread_mutex_unlock(&w->lock);
        rc = tick != NULL ? tick(context, err) : EMS_OK;
        pthread_mutex_lock(&w->lock);
        if (rc != EMS_OK)
            break;
    }
    if (rc == EMS_OK && w->failure.code != EMS_OK) {
        rc = w->failure.code;
        *err = w->failure;
    }
    pthread_mutex_unlock(&w->lock);
    return rc;
}

void ems_workers_free(struct ems_workers *w)
{
    bool busy;

    if (w == NULL)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    busy = w->busy > 0;
    pthread_cond_broadcast(&w->work);
    pthread_mutex_unlock(&w->lock);
    for (size_t i = 0; i < w->count; i++) {
        PGcancel *cancel = busy ? PQgetCancel(w->workers[i].conn) : NULL;
        char ignored[256];

        if (cancel != NULL)
            PQcancel(cancel, ignored, sizeof ignored);
        PQfreeCancel(cancel);
    }
    for (size_t i = 0; i < w->count; i++) {
        if (w->workers[i].running)
            pthread_join(w->workers[i].thread, NULL);
        PQfinish(w->workers[i].conn);
    }
    while (w->queue != NULL) {
        struct task *task = w->queue;

        w->queue = task->next;
        free(task);
    }
    pthread_cond_destroy(&w->idle);
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->lock);
    free(w->indexes_left);
    free(w->workers);
    free(w);
}
