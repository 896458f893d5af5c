/*
 * source.c - the contract of source.h, kept by the caller of a stage and not left to each stage: a
 * verdict is given once and then for ever, an end above needs an end below, no span is empty.
 */
#include "source.h"

#include "bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the contract ---- */

/* The stage below belongs to the new one from here on, also where there is no memory for it. */
void *ems_source_alloc(size_t size, const struct ems_source_ops *ops, struct ems_source *below,
                       struct ems_error *err)
{
    struct ems_source *src = calloc(1, size);

    if (src == NULL) {
        ems_source_free(below);
        ems_fail_memory(err);
        return NULL;
    }
    src->ops = ops;
    src->below = below;
    return src;
}

/* A stage has failed: remember it, so that every later call gives the same answer. */
static int settle_failure(struct ems_source *src, int rc, struct ems_error *err)
{
    ems_fail(&src->error, rc, "%s: stage gave no reason", src->ops->name);
    if (src->error.stage == NULL)
        src->error.stage = src->ops->name;
    if (src->error.origin == EMS_NOWHERE)
        src->error.origin = src->origin;
    src->verdict = src->error.code;
    if (err != NULL && err->code == EMS_OK)
        *err = src->error;
    return src->verdict;
}

int ems_source_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    int rc;

    *span = (struct ems_span){.origin = EMS_NOWHERE};
    if (src->verdict == EMS_END)
        return EMS_END;
    if (src->verdict != EMS_OK)
        return settle_failure(src, src->verdict, err);

    /* The stage writes into its own error: the caller's may hold an earlier failure, which wins. */
    rc = src->ops->next(src, span, &src->error);
    if (rc == EMS_OK && span->size == 0)
        rc = ems_fail(&src->error, EMS_INTERNAL, "%s: empty span lent", src->ops->name);
    if (rc == EMS_END && src->below != NULL && src->below->verdict != EMS_END)
        rc =
            ems_fail(&src->error, EMS_INTERNAL, "%s: ended before the stage below", src->ops->name);
    if (rc == EMS_OK) {
        src->offset += span->size;
        return EMS_OK;
    }
    *span = (struct ems_span){.origin = EMS_NOWHERE};
    if (rc == EMS_END) {
        src->verdict = EMS_END;
        return EMS_END;
    }
    return settle_failure(src, rc, err);
}

int ems_source_drain(struct ems_source *src, struct ems_error *err)
{
    struct ems_span span;
    int rc;

    do
        rc = ems_source_next(src, &span, err);
    while (rc == EMS_OK);
    return rc;
}

/* From the top down: a stage may look at what is below it while it ends (a relay stops its thread).
 */
void ems_source_free(struct ems_source *src)
{
    while (src != NULL) {
        struct ems_source *below = src->below;

        src->ops->free(src);
        free(src);
        src = below;
    }
}

/* ---- blocks ---- */

void ems_pool_init(struct ems_pool *pool, size_t block_size)
{
    *pool = (struct ems_pool){.block_size = block_size};
}

static void block_unref(struct ems_block *block)
{
    /* Release pairs with the acquire of whoever frees or reuses: all reading has finished. */
    if (atomic_fetch_sub_explicit(&block->references, 1, memory_order_acq_rel) == 1) {
        free(block->data);
        free(block);
    }
}

struct ems_block *ems_pool_get(struct ems_pool *pool)
{
    struct ems_block *block;
    void *data = NULL;

    for (block = pool->blocks; block != NULL; block = block->next) {
        if (block != pool->current &&
            atomic_load_explicit(&block->references, memory_order_acquire) == 1) {
            pool->current = block;
            return block;
        }
    }
    block = calloc(1, sizeof *block);
    if (block == NULL || posix_memalign(&data, 64, pool->block_size) != 0) {
        free(block);
        return NULL;
    }
    atomic_init(&block->references, 1);
    block->data = data;
    block->capacity = pool->block_size;
    block->next = pool->blocks;
    pool->blocks = block;
    pool->current = block;
    return block;
}

void ems_pool_release(struct ems_pool *pool)
{
    while (pool->blocks != NULL) {
        struct ems_block *block = pool->blocks;

        pool->blocks = block->next;
        block_unref(block);
    }
    pool->current = NULL;
}

bool ems_span_keep(const struct ems_span *span)
{
    if (span->block == NULL)
        return false;
    atomic_fetch_add_explicit(&span->block->references, 1, memory_order_relaxed);
    return true;
}

void ems_span_drop(const struct ems_span *span)
{
    if (span->block != NULL)
        block_unref(span->block);
}

/* ---- memory ---- */

struct memory_source {
    struct ems_source base;
    const uint8_t *data;
    size_t size, used, chunk;
};

static int memory_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct memory_source *m = (struct memory_source *)src;
    size_t n = m->size - m->used;

    (void)err;
    if (n == 0)
        return EMS_END;
    if (m->chunk > 0 && n > m->chunk)
        n = m->chunk;
    span->data = m->data + m->used;
    span->size = n;
    span->origin = m->used;
    m->used += n;
    src->origin = m->used;
    return EMS_OK;
}

static void memory_free(struct ems_source *src)
{
    (void)src;
}

static const struct ems_source_ops memory_ops = {"memory", memory_next, memory_free};

struct ems_source *ems_source_memory_open(const void *data, size_t size, size_t chunk,
                                          struct ems_error *err)
{
    struct memory_source *m = ems_source_alloc(sizeof *m, &memory_ops, NULL, err);

    if (m == NULL)
        return NULL;
    m->data = data;
    m->size = size;
    m->chunk = chunk;
    return &m->base;
}

/* ---- descriptor ---- */

struct fd_source {
    struct ems_source base;
    struct ems_pool pool;
    char *name;
    int fd;
    bool owns_fd;
};

static int fd_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct fd_source *f = (struct fd_source *)src;
    struct ems_block *block = ems_pool_get(&f->pool);
    ssize_t n;

    if (block == NULL)
        return ems_fail_memory(err);
    do
        n = read(f->fd, block->data, block->capacity);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return ems_fail_errno(err, errno, "cannot read %s", f->name);
    if (n == 0)
        return EMS_END;
    span->data = block->data;
    span->size = (size_t)n;
    span->origin = src->origin;
    span->block = block;
    src->origin += (uint64_t)n;
    return EMS_OK;
}

static void fd_free(struct ems_source *src)
{
    struct fd_source *f = (struct fd_source *)src;

    if (f->owns_fd)
        close(f->fd);
    free(f->name);
    ems_pool_release(&f->pool);
}

static const struct ems_source_ops fd_ops = {"file", fd_next, fd_free};

struct ems_source *ems_source_fd_open(int fd, bool owns_fd, const char *name, struct ems_error *err)
{
    struct fd_source *f = ems_source_alloc(sizeof *f, &fd_ops, NULL, err);

    if (f == NULL) {
        if (owns_fd)
            close(fd);
        return NULL;
    }
    f->fd = fd;
    f->owns_fd = owns_fd;
    ems_pool_init(&f->pool, EMS_READ_SIZE);
    f->name = strdup(name);
    if (f->name == NULL) {
        ems_source_free(&f->base);
        ems_fail_memory(err);
        return NULL;
    }
    return &f->base;
}

/* ---- reader ---- */

/* Make the rest of the current span non-empty. EMS_OK, EMS_END or an error. */
static int reader_fill(struct ems_reader *r, struct ems_error *err)
{
    int rc;

    if (r->span.size > 0)
        return EMS_OK;
    if (r->ended)
        return EMS_END;
    rc = ems_source_next(r->below, &r->span, err);
    if (rc == EMS_END)
        r->ended = true;
    return rc;
}

/* The origin of a byte n further on in the same span: exact for raw spans, an upper bound for
 * decoded ones. */
static uint64_t origin_after(uint64_t origin, size_t n)
{
    return origin == EMS_NOWHERE ? EMS_NOWHERE : origin + n;
}

/* Take n bytes off the front of the current span. */
static void reader_advance(struct ems_reader *r, size_t n)
{
    r->span.data += n;
    r->span.size -= n;
    r->span.origin = origin_after(r->span.origin, n);
}

int ems_reader_peek(struct ems_reader *r, size_t n, const uint8_t **data, size_t *have,
                    struct ems_error *err)
{
    int rc = EMS_OK;

    if (n > EMS_READER_PEEK)
        return ems_fail(err, EMS_INTERNAL, "reader: peek of %zu bytes", n);
    if (r->held_used == r->held_size) {
        r->held_used = r->held_size = 0;
        rc = reader_fill(r, err);
        if (rc != EMS_OK && rc != EMS_END)
            return rc;
        if (r->span.size >= n) {
            *data = r->span.data;
            *have = n;
            return EMS_OK;
        }
        r->held_origin = r->span.origin;
    }
    if (r->held_used > 0) {
        memmove(r->held, r->held + r->held_used, r->held_size - r->held_used);
        r->held_size -= r->held_used;
        r->held_origin = origin_after(r->held_origin, r->held_used);
        r->held_used = 0;
    }
    while (r->held_size < n) {
        size_t take = n - r->held_size;

        rc = reader_fill(r, err);
        if (rc == EMS_END)
            break;
        if (rc != EMS_OK)
            return rc;
        if (take > r->span.size)
            take = r->span.size;
        memcpy(r->held + r->held_size, r->span.data, take);
        r->held_size += take;
        reader_advance(r, take);
    }
    *data = r->held;
    *have = r->held_size < n ? r->held_size : n;
    return EMS_OK;
}

void ems_reader_skip(struct ems_reader *r, size_t n)
{
    r->offset += n;
    if (r->held_used < r->held_size)
        r->held_used += n;
    else
        reader_advance(r, n);
}

int ems_reader_lend(struct ems_reader *r, size_t max, struct ems_span *span, struct ems_error *err)
{
    int rc;

    if (r->held_used < r->held_size) {
        *span = (struct ems_span){.data = r->held + r->held_used,
                                  .size = r->held_size - r->held_used,
                                  .origin = origin_after(r->held_origin, r->held_used)};
        if (span->size > max)
            span->size = max;
        r->held_used += span->size;
        r->offset += span->size;
        return EMS_OK;
    }
    r->held_used = r->held_size = 0; /* so that unlend knows where the bytes came from */
    rc = reader_fill(r, err);
    if (rc != EMS_OK)
        return rc;
    *span = r->span;
    if (span->size > max)
        span->size = max;
    reader_advance(r, span->size);
    r->offset += span->size;
    return EMS_OK;
}

void ems_reader_unlend(struct ems_reader *r, size_t n)
{
    r->offset -= n;
    if (r->held_size > 0) {
        r->held_used -= n;
        return;
    }
    r->span.data -= n;
    r->span.size += n;
    if (r->span.origin != EMS_NOWHERE)
        r->span.origin -= n;
}

uint64_t ems_reader_origin(const struct ems_reader *r)
{
    if (r->held_used < r->held_size)
        return origin_after(r->held_origin, r->held_used);
    return r->span.size > 0 ? r->span.origin : r->below->origin;
}
