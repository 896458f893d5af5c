/*
 * media_ids.c - see media_ids.h. A record: flags, length of the id, the id, the file's size in
 * groups of 7 bits (lowest first, the top bit says that more follow).
 */
#include "media_ids.h"

#include <stdlib.h>
#include <string.h>

enum { URL_CACHE = 1, SIZE_UNKNOWN = 2 };

int ems_media_ids_add(struct ems_media_ids *ids, const struct ems_media_id *m,
                      struct ems_error *err)
{
    uint8_t record[2 + EMS_MEDIA_ID_MAX + 10];
    uint64_t rest = m->size != EMS_NOWHERE ? m->size : 0;
    size_t n = 0, at = ids->records.size;

    if (m->id_size > EMS_MEDIA_ID_MAX || at > UINT32_MAX - sizeof record)
        return ems_fail(err, EMS_INTERNAL, "too many media ids, or one that is too long");
    if (ids->count == ids->capacity) {
        size_t capacity = ids->capacity > 0 ? ids->capacity + ids->capacity / 2 : 1024;
        uint32_t *order = realloc(ids->order, capacity * sizeof *order);

        if (order == NULL)
            return ems_fail_memory(err);
        ids->order = order;
        ids->capacity = capacity;
    }
    record[n++] =
        (uint8_t)((m->url_cache ? URL_CACHE : 0) | (m->size == EMS_NOWHERE ? SIZE_UNKNOWN : 0));
    record[n++] = (uint8_t)m->id_size;
    memcpy(record + n, m->id, m->id_size);
    n += m->id_size;
    for (; rest >= 0x80; rest >>= 7)
        record[n++] = (uint8_t)(rest | 0x80);
    record[n++] = (uint8_t)rest;
    if (ems_buf_append(&ids->records, record, n, err) != EMS_OK)
        return EMS_NO_MEMORY;
    ids->order[ids->count++] = (uint32_t)at;
    return EMS_OK;
}

static int compare(const void *a, size_t a_size, const void *b, size_t b_size)
{
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);

    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

static int compare_records(const void *a, const void *b, void *context)
{
    const uint8_t *records = context;
    const uint8_t *x = records + *(const uint32_t *)a, *y = records + *(const uint32_t *)b;

    return compare(x + 2, x[1], y + 2, y[1]);
}

void ems_media_ids_sort(struct ems_media_ids *ids)
{
    if (ids->count > 1)
        qsort_r(ids->order, ids->count, sizeof *ids->order, compare_records, ids->records.data);
}

struct ems_media_id ems_media_ids_get(const struct ems_media_ids *ids, size_t i)
{
    const uint8_t *record = ids->records.data + ids->order[i], *p = record + 2 + record[1];
    struct ems_media_id m = {.id = (const char *)record + 2,
                             .id_size = record[1],
                             .url_cache = (record[0] & URL_CACHE) != 0};

    for (unsigned shift = 0;; shift += 7) {
        m.size |= (uint64_t)(*p & 0x7f) << shift;
        if ((*p++ & 0x80) == 0)
            break;
    }
    if (record[0] & SIZE_UNKNOWN)
        m.size = EMS_NOWHERE;
    return m;
}

size_t ems_media_ids_find(const struct ems_media_ids *ids, const char *id, size_t id_size)
{
    size_t low = 0, high = ids->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const uint8_t *record = ids->records.data + ids->order[middle];
        int order = compare(id, id_size, record + 2, record[1]);

        if (order == 0)
            return middle;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return SIZE_MAX;
}

void ems_media_ids_release(struct ems_media_ids *ids)
{
    ems_buf_release(&ids->records);
    free(ids->order);
    *ids = (struct ems_media_ids){0};
}
