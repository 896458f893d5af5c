/*
 * media_ids.c - see media_ids.h. A record:
 *
 *     flags (1), length of the id (1), size of the file (8),
 *     [with SHA256: digest (32), time of creation (8), uploader (4),] the id
 *
 * in the machine's own byte order, at any address. The id comes last so that it can be shortened in
 * place.
 */
#include "media_ids.h"

#include <stdlib.h>
#include <string.h>

/* A million media are the measure: 10 bytes and an id of 24 make 34 MB, with hashes 78 MB, where
 * structs with pointers would take twice that. Sorted by offsets, 4 bytes each. */
enum { URL_CACHE = 1, SHA256 = 2, QUARANTINED = 4 };

#define SIZE_AT     2u
#define SHA256_AT   10u
#define CREATED_AT  42u
#define UPLOADER_AT 50u
#define ID_PLAIN    10u /* where the id begins */
#define ID_SHA256   54u

static size_t id_at(const uint8_t *record)
{
    return record[0] & SHA256 ? ID_SHA256 : ID_PLAIN;
}

/* All but the id; returns where that goes. */
static size_t put_facts(uint8_t *record, const struct ems_media_id *m)
{
    record[0] = (uint8_t)((m->url_cache ? URL_CACHE : 0) | (m->sha256 != NULL ? SHA256 : 0) |
                          (m->quarantined ? QUARANTINED : 0));
    record[1] = (uint8_t)m->id_size;
    memcpy(record + SIZE_AT, &m->size, sizeof m->size);
    if (m->sha256 != NULL) {
        memmove(record + SHA256_AT, m->sha256, 32); /* it may be this record's own */
        memcpy(record + CREATED_AT, &m->created_ms, sizeof m->created_ms);
        memcpy(record + UPLOADER_AT, &m->uploader, sizeof m->uploader);
    }
    return id_at(record);
}

/* A new record behind the others. */
static int append(struct ems_media_ids *ids, const struct ems_media_id *m, uint32_t *offset,
                  struct ems_error *err)
{
    uint8_t record[ID_SHA256 + EMS_MEDIA_ID_MAX];
    size_t n;

    if (m->id_size > EMS_MEDIA_ID_MAX || ids->records.size > UINT32_MAX - sizeof record)
        return ems_fail(err, EMS_INTERNAL, "too many media ids, or one that is too long");
    n = put_facts(record, m);
    memcpy(record + n, m->id, m->id_size);
    *offset = (uint32_t)ids->records.size;
    return ems_buf_append(&ids->records, record, n + m->id_size, err);
}

/* A hostile dump can list ids without end; beyond the bound nothing is added and nothing compared.
 */
bool ems_media_ids_is_full(const struct ems_media_ids *ids)
{
    return ids->records.size >= EMS_MEDIA_IDS_BYTES;
}

int ems_media_ids_add(struct ems_media_ids *ids, const struct ems_media_id *m,
                      struct ems_error *err)
{
    int rc;

    if (ids->count == ids->capacity) {
        size_t capacity = ids->capacity > 0 ? ids->capacity + ids->capacity / 2 : 1024;
        uint32_t *order = realloc(ids->order, capacity * sizeof *order);

        if (order == NULL)
            return ems_fail_memory(err);
        ids->order = order;
        ids->capacity = capacity;
    }
    rc = append(ids, m, &ids->order[ids->count], err);
    if (rc == EMS_OK)
        ids->count++;
    return rc;
}

/* Most often a file's name becomes its id, which that begins with: nothing moves and no byte is
 * lost. */
int ems_media_ids_replace(struct ems_media_ids *ids, size_t i, const struct ems_media_id *m,
                          struct ems_error *err)
{
    uint8_t *record = ids->records.data + ids->order[i];
    bool fits = (record[0] & SHA256) == (m->sha256 != NULL ? SHA256 : 0) &&
                m->id_size <= record[1] && memcmp(record + id_at(record), m->id, m->id_size) == 0;

    if (!fits)
        return append(ids, m, &ids->order[i], err);
    put_facts(record, m);
    return EMS_OK;
}

/* The record stays where it is, unused: offsets of the others must not change. */
void ems_media_ids_drop(struct ems_media_ids *ids, size_t i)
{
    ids->order[i] = ids->order[--ids->count];
}

/* FNV-1a, 32 bits: to see that two user ids differ a wrong "equal" in 4 billion does no harm. */
uint32_t ems_media_uploader(const char *user_id, size_t size)
{
    uint32_t hash = 0x811c9dc5u;

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (uint8_t)user_id[i]) * 0x01000193u;
    return hash;
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

    return compare(x + id_at(x), x[1], y + id_at(y), y[1]);
}

void ems_media_ids_sort(struct ems_media_ids *ids)
{
    if (ids->count > 1)
        qsort_r(ids->order, ids->count, sizeof *ids->order, compare_records, ids->records.data);
}

struct ems_media_id ems_media_ids_get(const struct ems_media_ids *ids, size_t i)
{
    const uint8_t *record = ids->records.data + ids->order[i];
    struct ems_media_id m = {.id = (const char *)record + id_at(record),
                             .id_size = record[1],
                             .url_cache = (record[0] & URL_CACHE) != 0,
                             .quarantined = (record[0] & QUARANTINED) != 0,
                             .created_ms = EMS_NOWHERE};

    memcpy(&m.size, record + SIZE_AT, sizeof m.size);
    if (record[0] & SHA256) {
        m.sha256 = record + SHA256_AT;
        memcpy(&m.created_ms, record + CREATED_AT, sizeof m.created_ms);
        memcpy(&m.uploader, record + UPLOADER_AT, sizeof m.uploader);
    }
    return m;
}

size_t ems_media_ids_find(const struct ems_media_ids *ids, const char *id, size_t id_size)
{
    size_t low = 0, high = ids->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const uint8_t *record = ids->records.data + ids->order[middle];
        int order = compare(id, id_size, record + id_at(record), record[1]);

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
