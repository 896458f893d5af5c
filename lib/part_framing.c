/* part_framing.c - what the content of parts says about their order and end; see part_set.h. */
#include "part_set.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Bytes from where the reader stands up to `size` in all, of which `done` are there already. Fewer
 * at the end, or where it cannot be read on. */
static size_t fill(struct ems_part_reader *reader, uint8_t *data, size_t done, size_t size)
{
    size_t n = 1;

    for (; done < size && n > 0; done += n)
        if (ems_part_reader_read(reader, data + done, size - done, &n, NULL) != EMS_OK)
            break;
    return done;
}

/* Three in a hundred random parts come so far; the rest is not worth a larger read. */
static bool begins_message(struct ems_part_reader *reader, const uint8_t *first, size_t done)
{
    uint8_t *data = malloc(EMS_BEGIN_SIZE);
    bool begins = false;

    if (data != NULL) {
        memcpy(data, first, done);
        begins = ems_message_begins(data, fill(reader, data, done, EMS_BEGIN_SIZE));
    }
    free(data);
    return begins;
}

void ems_part_look(struct ems_part_reader *reader, struct ems_part_file *f)
{
    uint8_t data[EMS_LOOKS_SIZE];
    size_t done;

    f->looks = EMS_LOOKS_UNKNOWN;
    f->looked = true;
    if (f->size == 0 || ems_part_reader_open(reader, f->path, f->member, NULL) != EMS_OK)
        return;
    done = fill(reader, data, 0, sizeof data);
    f->looks = ems_looks_like(data, done);
    if (f->looks == EMS_LOOKS_OPENPGP && !begins_message(reader, data, done))
        f->looks = EMS_LOOKS_UNKNOWN;
}

/* ---- the first file alone ---- */

struct head {
    uint8_t *data;
    size_t size;
};

static int64_t read_head(void *context, void *buffer, size_t size, uint64_t offset)
{
    const struct head *head = context;

    if (offset >= head->size)
        return 0;
    if (size > head->size - offset)
        size = head->size - (size_t)offset;
    memcpy(buffer, head->data + offset, size);
    return (int64_t)size;
}

uint64_t ems_part_stated_size(const struct ems_part_file *f)
{
    struct ems_part_reader reader = EMS_PART_READER_INIT;
    struct head head = {.data = malloc(EMS_BEGIN_SIZE)};
    uint64_t total = 0;

    if (head.data != NULL && ems_part_reader_open(&reader, f->path, f->member, NULL) == EMS_OK)
        head.size = fill(&reader, head.data, 0, EMS_BEGIN_SIZE);
    if (head.size == 0 || ems_framing_measure(read_head, &head, head.size, &total, NULL) != EMS_OK)
        total = 0;
    ems_part_reader_close(&reader);
    free(head.data);
    return total;
}

/* ---- a chain of partial lengths through the parts ---- */

struct walk {
    const struct ems_part_set *set;
    size_t index, open; /* part that the last read was in; the one that fd is of */
    int fd;
};

/* Offsets only grow, so the part is found by going on from the last one. */
static int64_t read_parts(void *context, void *buffer, size_t size, uint64_t offset)
{
    struct walk *w = context;
    size_t done = 0;

    while (done < size && w->index < w->set->count) {
        const struct ems_part *part = &w->set->parts[w->index];
        uint64_t in_part = offset + done - part->offset;
        ssize_t n;

        if (part->path == NULL || part->member != EMS_PART_NO_MEMBER)
            return -1;
        if (in_part >= part->size) {
            w->index++;
            continue;
        }
        if (w->fd < 0 || w->open != w->index) {
            if (w->fd >= 0)
                close(w->fd);
            w->fd = open(part->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
            w->open = w->index;
        }
        n = w->fd >= 0 ? pread(w->fd, (uint8_t *)buffer + done, size - done, (off_t)in_part) : -1;
        if (n <= 0)
            return -1;
        done += (size_t)n;
    }
    /* The next read begins behind this one, but it may begin before its end. */
    while (w->index > 0 && offset + done > 0 &&
           w->set->parts[w->index - 1].offset + w->set->parts[w->index - 1].size > offset)
        w->index--;
    return (int64_t)done;
}

/* The message ends with part `last`: what lies behind it is of an earlier split. */
static void end_at(struct ems_part_build *b, size_t last)
{
    struct ems_part_set *set = b->set;

    size_t kept = last + 1;

    set->parts[last].status = EMS_PART_IS_OK;
    for (size_t i = last + 1; i < set->count; i++) {
        if (set->parts[i].path == NULL) {
            free(set->parts[i].name);
            free(set->parts[i].file);
            continue;
        }
        set->parts[kept] = set->parts[i];
        set->parts[kept++].status = EMS_PART_IS_STALE;
    }
    set->count = kept;
}

void ems_part_walk(struct ems_part_build *b)
{
    struct ems_part_set *set = b->set;
    struct walk w = {.set = set, .fd = -1};
    uint64_t available = 0, total = 0;
    size_t n = 0;
    bool full;
    int rc;

    /* Up to the first part that is short: it may be the last of a newer, shorter split. */
    while (n < set->count && set->parts[n].status == EMS_PART_IS_OK)
        available += set->parts[n++].size;
    if (n < set->count && set->parts[n].status == EMS_PART_IS_TRUNCATED && n > 0)
        available += set->parts[n++].size;
    if (n == 0 || set->parts[0].looks != EMS_LOOKS_OPENPGP)
        return;
    rc = ems_framing_measure(read_parts, &w, available, &total, NULL);
    if (w.fd >= 0)
        close(w.fd);
    if (rc == EMS_OK && total <= available) {
        for (size_t i = 0; i < n; i++)
            if (set->parts[i].offset + set->parts[i].size == total) {
                set->expected = total;
                end_at(b, i);
            }
        return;
    }
    if ((rc != EMS_OK && rc != EMS_PGP_TRUNCATED) || n < set->count)
        return;
    if (rc == EMS_OK)
        set->expected = total;
    else
        set->at_least = total;
    full = set->count > 1 && set->parts[n - 1].size == set->part_size;
    if (!full)
        set->parts[n - 1].status = EMS_PART_IS_TRUNCATED;
}
