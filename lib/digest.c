/* digest.c - see digest.h */
#include "digest.h"

#include "observe.h"
#include "relay.h"

#include <gcrypt.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS 100 /* how often the waiting thread calls tick */

int ems_set_digests_init(struct ems_set_digests *d, const struct ems_part_set *set,
                         uint64_t block_size, struct ems_error *err)
{
    *d = (struct ems_set_digests){.part_count = set->count};
    d->parts = calloc(set->count + 1, sizeof *d->parts);
    if (block_size > 0 && !set->split) {
        d->block_size = block_size;
        d->block_count = (size_t)(set->size / block_size + (set->size % block_size != 0));
        d->blocks = calloc(d->block_count + 1, sizeof *d->blocks);
    }
    if (d->parts != NULL && (d->block_size == 0 || d->blocks != NULL))
        return EMS_OK;
    ems_set_digests_release(d);
    return ems_fail_memory(err);
}

void ems_set_digests_release(struct ems_set_digests *d)
{
    free(d->parts);
    free(d->blocks);
    *d = (struct ems_set_digests){0};
}

static int md_open(gcry_md_hd_t *md, struct ems_error *err)
{
    gcry_error_t gerr = gcry_md_open(md, GCRY_MD_SHA256, 0);

    if (gerr == 0)
        return EMS_OK;
    *md = NULL;
    return ems_fail(err, EMS_INTERNAL, "SHA-256 cannot be opened: %s", gcry_strerror(gerr));
}

static void md_take(gcry_md_hd_t md, struct ems_sha256 *out)
{
    memcpy(out->bytes, gcry_md_read(md, GCRY_MD_SHA256), EMS_SHA256_SIZE);
    out->done = true;
    gcry_md_reset(md);
}

/* ---- the digests of parts and blocks ---- */

/* Lets the parts source's bytes pass; the work is done by its watch. */
struct digester {
    struct ems_source base;
    struct ems_part_set view; /* the caller's set, with a watch */
    struct ems_part_watch watch;
    struct ems_set_digests *digests;
    gcry_md_hd_t part_md, block_md;
    size_t block; /* block at hand */
    uint64_t block_left;
};

static void write_blocks(struct digester *d, const uint8_t *data, size_t size)
{
    while (size > 0 && d->block < d->digests->block_count) {
        size_t n = size < d->block_left ? size : (size_t)d->block_left;

        gcry_md_write(d->block_md, data, n);
        data += n;
        size -= n;
        d->block_left -= n;
        if (d->block_left == 0) {
            md_take(d->block_md, &d->digests->blocks[d->block++]);
            d->block_left = d->digests->block_size;
        }
    }
}

static int watch_bytes(void *context, size_t index, const void *data, size_t size,
                       struct ems_error *err)
{
    struct digester *d = context;

    (void)index;
    (void)err;
    gcry_md_write(d->part_md, data, size);
    if (d->block_md != NULL)
        write_blocks(d, data, size);
    return EMS_OK;
}

/* The parts source has found the file unchanged: only now the digest counts. */
static int watch_end(void *context, size_t index, struct ems_error *err)
{
    struct digester *d = context;

    (void)err;
    md_take(d->part_md, &d->digests->parts[index]);
    if (d->block < d->digests->block_count)
        md_take(d->block_md, &d->digests->blocks[d->block++]);
    return EMS_OK;
}

static int digester_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct digester *d = (struct digester *)src;
    int rc = ems_source_next(src->below, span, err);

    src->origin = src->below->origin;
    if (rc == EMS_END && !d->view.split)
        d->digests->whole = d->digests->parts[0];
    return rc;
}

static void digester_free(struct ems_source *src)
{
    struct digester *d = (struct digester *)src;

    gcry_md_close(d->part_md);
    gcry_md_close(d->block_md);
}

static const struct ems_source_ops digester_ops = {"digest", digester_next, digester_free};

struct ems_source *ems_digest_open(const struct ems_part_set *set, struct ems_set_digests *digests,
                                   bool threads, struct ems_error *err)
{
    struct digester *d = ems_source_alloc(sizeof *d, &digester_ops, NULL, err);
    struct ems_source *src;

    if (d == NULL)
        return NULL;
    d->watch = (struct ems_part_watch){.context = d, .bytes = watch_bytes, .end = watch_end};
    d->view = *set;
    d->view.watch = &d->watch;
    d->digests = digests;
    d->block_left = digests->block_size;
    if (md_open(&d->part_md, err) == EMS_OK &&
        (digests->block_count == 0 || md_open(&d->block_md, err) == EMS_OK))
        d->base.below = ems_parts_open(&d->view, err);
    if (d->base.below == NULL) {
        ems_source_free(&d->base);
        return NULL;
    }
    src = &d->base;
    if (threads)
        src = ems_relay_open(src, err);
    if (set->split)
        src = ems_observe_digest_open(src, GCRY_MD_SHA256, digests->whole.bytes,
                                      &digests->whole.done, err);
    return src;
}

/* ---- many sets at once ---- */

struct crew {
    struct ems_digest_job **jobs; /* largest first */
    size_t count;
    atomic_size_t next; /* job to take */
    atomic_bool cancel;
    _Atomic uint64_t *bytes_in; /* may be NULL */
    bool threads;               /* inside a set too */
    pthread_mutex_t lock;
    pthread_cond_t gone;
    unsigned working; /* threads that are not done, under lock */
};

/* Read one set that is whole to its end. */
static int read_set(struct crew *crew, const struct ems_part_set *set,
                    struct ems_set_digests *digests, struct ems_error *err)
{
    struct ems_source *src = ems_digest_open(set, digests, crew->threads, err);
    struct ems_span span;
    int rc;

    if (src == NULL)
        return err->code;
    while ((rc = ems_source_next(src, &span, err)) == EMS_OK) {
        if (crew->bytes_in != NULL)
            atomic_fetch_add_explicit(crew->bytes_in, span.size, memory_order_relaxed);
        if (atomic_load_explicit(&crew->cancel, memory_order_relaxed)) {
            rc = ems_fail(err, EMS_IO_ERROR, "interrupted");
            break;
        }
    }
    ems_source_free(src);
    return rc == EMS_END ? EMS_OK : rc;
}

/* A set with gaps has no assembled bytes, but each part that is here can be told good or bad. */
static void read_parts(struct crew *crew, struct ems_digest_job *job)
{
    for (size_t i = 0; i < job->set->count; i++) {
        struct ems_part_set alone = {.name = job->set->name,
                                     .parts = &job->set->parts[i],
                                     .count = 1,
                                     .size = job->set->parts[i].size,
                                     .whole = true};
        struct ems_set_digests digests = {.parts = &job->digests->parts[i], .part_count = 1};
        struct ems_error err = {0};

        if (job->set->parts[i].path != NULL && read_set(crew, &alone, &digests, &err) != EMS_OK &&
            job->error.code == EMS_OK)
            job->error = err;
    }
}

static void *work(void *context)
{
    struct crew *crew = context;
    size_t i;

    while ((i = atomic_fetch_add(&crew->next, 1)) < crew->count) {
        struct ems_digest_job *job = crew->jobs[i];

        if (atomic_load(&crew->cancel))
            ems_fail(&job->error, EMS_IO_ERROR, "interrupted");
        else if (job->set->whole)
            read_set(crew, job->set, job->digests, &job->error);
        else
            read_parts(crew, job);
    }
    pthread_mutex_lock(&crew->lock);
    crew->working--;
    pthread_cond_signal(&crew->gone);
    pthread_mutex_unlock(&crew->lock);
    return NULL;
}

/* Until the last worker is gone, with a tick now and then. */
static int await(struct crew *crew, const struct ems_digest_options *o, struct ems_error *err)
{
    int rc = EMS_OK;

    pthread_mutex_lock(&crew->lock);
    while (crew->working > 0) {
        struct timespec until;

        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += TICK_MS * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000L;
        }
        pthread_cond_timedwait(&crew->gone, &crew->lock, &until);
        if (o->tick == NULL || rc != EMS_OK)
            continue;
        pthread_mutex_unlock(&crew->lock);
        rc = o->tick(o->tick_context, err);
        if (rc != EMS_OK)
            atomic_store(&crew->cancel, true);
        pthread_mutex_lock(&crew->lock);
    }
    pthread_mutex_unlock(&crew->lock);
    return rc;
}

/* As many workers as can be had; signals stay with the thread that asked for the work. */
static int run_crew(struct crew *crew, unsigned wanted, const struct ems_digest_options *o,
                    struct ems_error *err)
{
    pthread_t *threads = calloc(wanted, sizeof *threads);
    unsigned made = 0;
    sigset_t all, before;
    int rc;

    if (threads == NULL)
        return ems_fail_memory(err);
    crew->working = wanted;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (made < wanted && pthread_create(&threads[made], NULL, work, crew) == 0)
        made++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (made < wanted) {
        pthread_mutex_lock(&crew->lock);
        crew->working -= wanted - made;
        if (made == 0)
            crew->working = 1;
        pthread_mutex_unlock(&crew->lock);
        if (made == 0)
            work(crew); /* no thread to be had: in place, without ticks */
    }
    rc = await(crew, o, err);
    for (unsigned i = 0; i < made; i++)
        pthread_join(threads[i], NULL);
    free(threads);
    return rc;
}

static int compare_jobs(const void *a, const void *b)
{
    uint64_t x = (*(struct ems_digest_job *const *)a)->set->size;
    uint64_t y = (*(struct ems_digest_job *const *)b)->set->size;

    return x > y ? -1 : x < y;
}

int ems_digest_run(struct ems_digest_job *jobs, size_t count, const struct ems_digest_options *o,
                   struct ems_error *err)
{
    static const struct ems_digest_options none;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct crew crew = {.count = count,
                        .threads = processors > 1,
                        .lock = PTHREAD_MUTEX_INITIALIZER,
                        .gone = PTHREAD_COND_INITIALIZER};
    unsigned threads;
    int rc;

    if (o == NULL)
        o = &none;
    if (count == 0)
        return EMS_OK;
    crew.bytes_in = o->bytes_in;
    crew.jobs = malloc(count * sizeof *crew.jobs);
    if (crew.jobs == NULL)
        return ems_fail_memory(err);
    for (size_t i = 0; i < count; i++)
        crew.jobs[i] = &jobs[i];
    qsort(crew.jobs, count, sizeof *crew.jobs, compare_jobs);
    threads = o->threads > 0 ? o->threads : processors > 0 ? (unsigned)processors : 1;
    if (threads > count)
        threads = (unsigned)count;
    rc = run_crew(&crew, threads, o, err);
    free(crew.jobs);
    pthread_cond_destroy(&crew.gone);
    pthread_mutex_destroy(&crew.lock);
    return rc;
}
