/*
 * parts_source.c - the assembled bytes of a part set; see parts.h.
 *
 * Spans never cross from one part into the next, and their origin is exact, so that a finding can
 * name the file and the byte in it.
 */
#include "parts.h"

#include "bookmark.h"
#include "part_read.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct parts_source {
    struct ems_source base;
    const struct ems_part_set *set;
    struct ems_pool pool;
    struct ems_part_reader reader;
    size_t index; /* part being read */
    bool is_open;
    uint64_t in_part; /* bytes read of it */
    uint64_t enter;   /* bytes of it to pass over: the source begins in the middle */
    const struct ems_part_watch *watch; /* the set's, or NULL */
};

/* A failure at the end of a part is this part's, though the next byte would be the next one's. */
static void blame(const struct ems_part *part, struct ems_error *err)
{
    if (err != NULL && part->size > 0)
        err->origin = part->offset + part->size - 1;
}

/* Is this still the file that the resolver looked at? */
static int check_unchanged(const struct ems_part *part, int fd, struct ems_error *err)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return ems_fail_errno(err, errno, "cannot look at %s", part->name);
    if (st.st_dev != part->device || st.st_ino != part->inode ||
        (uint64_t)st.st_size != part->disk_size || st.st_mtim.tv_sec != part->modified.tv_sec ||
        st.st_mtim.tv_nsec != part->modified.tv_nsec)
        return ems_fail(err, EMS_PART_UNFINISHED, "%s changed while it was read: still arriving",
                        part->name);
    return EMS_OK;
}

static int open_part(struct parts_source *p, struct ems_error *err)
{
    const struct ems_part *part = &p->set->parts[p->index];
    int rc = ems_part_reader_open(&p->reader, part->path, part->member, err);

    if (rc == EMS_OK)
        rc = check_unchanged(part, ems_part_reader_fd(&p->reader), err);
    if (rc != EMS_OK)
        return rc;
    posix_fadvise(ems_part_reader_fd(&p->reader), 0, 0, POSIX_FADV_SEQUENTIAL); /* a hint only */
    p->in_part = 0;
    p->is_open = true;
    if (p->enter > 0 && part->member == EMS_PART_NO_MEMBER) {
        if (lseek(ems_part_reader_fd(&p->reader), (off_t)p->enter, SEEK_SET) < 0)
            return ems_fail_errno(err, errno, "cannot look into %s", part->name);
        p->in_part = p->enter;
        p->enter = 0;
    }
    return EMS_OK;
}

/* The part has ended: as it should, unchanged and of its size? */
static int close_part(struct parts_source *p, struct ems_error *err)
{
    const struct ems_part *part = &p->set->parts[p->index];
    const struct ems_part_watch *watch = p->watch;
    int rc = check_unchanged(part, ems_part_reader_fd(&p->reader), err);

    if (rc == EMS_OK && p->in_part != part->size)
        rc = ems_fail(err, EMS_PART_UNFINISHED, "%s gave %llu bytes instead of %llu", part->name,
                      (unsigned long long)p->in_part, (unsigned long long)part->size);
    if (rc != EMS_OK)
        blame(part, err);
    if (rc == EMS_OK && watch != NULL)
        rc = watch->end(watch->context, p->index, err);
    p->is_open = false;
    p->index++;
    return rc;
}

static int parts_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct parts_source *p = (struct parts_source *)src;
    const struct ems_part_watch *watch = p->watch;

    while (p->index < p->set->count) {
        struct ems_block *block;
        size_t n;
        int rc = EMS_OK;

        if (p->set->parts[p->index].status == EMS_PART_IS_STALE) { /* behind the proven end */
            p->index++;
            continue;
        }
        if (!p->is_open)
            rc = open_part(p, err);
        if (rc != EMS_OK)
            return rc;
        block = ems_pool_get(&p->pool);
        if (block == NULL)
            return ems_fail_memory(err);
        n = block->capacity;
        if (p->enter > 0 && p->enter < n) /* a member of a zip: read and thrown away */
            n = (size_t)p->enter;
        rc = ems_part_reader_read(&p->reader, block->data, n, &n, err);
        if (rc != EMS_OK)
            return rc;
        p->in_part += n;
        if (p->enter > 0 && n > 0) {
            p->enter -= n;
            continue;
        }
        if (n == 0 || p->in_part > p->set->parts[p->index].size) {
            rc = close_part(p, err);
            if (rc != EMS_OK)
                return rc;
            continue;
        }
        if (watch != NULL)
            rc = watch->bytes(watch->context, p->index, block->data, n, err);
        if (rc != EMS_OK)
            return rc;
        *span = (struct ems_span){
            .data = block->data, .size = n, .origin = src->origin, .block = block};
        src->origin += n;
        return EMS_OK;
    }
    return EMS_END;
}

static void parts_free(struct ems_source *src)
{
    struct parts_source *p = (struct parts_source *)src;

    ems_part_reader_close(&p->reader);
    ems_pool_release(&p->pool);
}

static const struct ems_source_ops parts_ops = {"parts", parts_next, parts_free};

static struct parts_source *new_source(const struct ems_part_set *set, struct ems_error *err)
{
    struct parts_source *p;

    if (!set->whole) {
        ems_fail(err, EMS_PART_MISSING, "%s is not whole", set->name);
        return NULL;
    }
    p = ems_source_alloc(sizeof *p, &parts_ops, NULL, err);
    if (p == NULL)
        return NULL;
    p->set = set;
    p->reader = (struct ems_part_reader)EMS_PART_READER_INIT;
    ems_pool_init(&p->pool, EMS_READ_SIZE);
    return p;
}

struct ems_source *ems_parts_open(const struct ems_part_set *set, struct ems_error *err)
{
    struct parts_source *p = new_source(set, err);

    if (p == NULL)
        return NULL;
    p->watch = set->watch;
    return &p->base;
}

struct ems_source *ems_parts_open_at(const struct ems_part_set *set, uint64_t offset,
                                     struct ems_error *err)
{
    struct parts_source *p = new_source(set, err);
    uint64_t in_part;
    const struct ems_part *part = ems_parts_locate(set, offset, &in_part);

    if (p == NULL)
        return NULL;
    if (part == NULL) {
        ems_source_free(&p->base);
        ems_fail(err, EMS_INTERNAL, "%s has no byte %llu", set->name, (unsigned long long)offset);
        return NULL;
    }
    p->index = (size_t)(part - set->parts);
    p->enter = in_part;
    p->base.origin = offset;
    return &p->base;
}

const struct ems_part *ems_parts_locate(const struct ems_part_set *set, uint64_t origin,
                                        uint64_t *offset)
{
    size_t low = 0, high = set->count;

    *offset = EMS_NOWHERE;
    if (origin == EMS_NOWHERE || set->count == 0)
        return NULL;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (set->parts[middle].offset <= origin)
            low = middle;
        else
            high = middle;
    }
    /* The very end belongs to the last part that has bytes. */
    while (low > 0 && (set->parts[low].path == NULL || set->parts[low].size == 0 ||
                       set->parts[low].status == EMS_PART_IS_STALE))
        low--;
    if (origin < set->parts[low].offset || origin - set->parts[low].offset > set->parts[low].size)
        return NULL;
    *offset = origin - set->parts[low].offset;
    return &set->parts[low];
}
