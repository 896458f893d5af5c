/*
 * media_index.c - see media_index.h
 *
 * Position i: hashes[i], states[i], and record i of the ids. A table of slots leads from hashes to
 * positions. A file that comes before its entry is kept under its name, without the "ORIGIN__" that
 * all names of an export begin with; its entry then shortens that to the id (mostly in place).
 */
#include "media_index.h"

#include "name_hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HAS_ENTRY = 1, HAS_FILE = 2, USELESS = 4, IN_S3 = 8, STRIPPED = 16 };

struct ems_media_index {
    struct ems_media_ids *ids;
    uint64_t *hashes;
    uint8_t *states;
    size_t capacity;
    uint32_t *slots; /* position + 1; 0: free */
    size_t slot_count;
    struct ems_name_key key;
    char prefix[EMS_MEDIA_ID_MAX + 1]; /* "ORIGIN__" of the first file, or "" */
};

struct ems_media_index *ems_media_index_new(struct ems_media_ids *ids, struct ems_error *err)
{
    struct ems_media_index *x = calloc(1, sizeof *x);

    if (x == NULL) {
        ems_fail_memory(err);
        return NULL;
    }
    x->ids = ids;
    if (!ems_name_key_init(&x->key)) {
        ems_fail(err, EMS_INTERNAL, "no random numbers");
        free(x);
        return NULL;
    }
    return x;
}

/* ---- the table ---- */

/* Twice the slots; at most half of them are in use. */
static int grow_slots(struct ems_media_index *x, struct ems_error *err)
{
    size_t count = x->slot_count > 0 ? 2 * x->slot_count : 1024;
    uint32_t *slots = calloc(count, sizeof *slots);

    if (slots == NULL)
        return ems_fail_memory(err);
    for (size_t i = 0; i < x->ids->count; i++) {
        size_t k = (size_t)x->hashes[i] & (count - 1);

        while (slots[k] != 0)
            k = (k + 1) & (count - 1);
        slots[k] = (uint32_t)i + 1;
    }
    free(x->slots);
    x->slots = slots;
    x->slot_count = count;
    return EMS_OK;
}

/* Room for one more everywhere, before anything is written: a failure leaves the table as it was.
 * The bound is what a hostile manifest may cost us: entries of a few bytes, packed a thousand to
 * one. */
static int grow(struct ems_media_index *x, struct ems_error *err)
{
    size_t count = x->ids->count, capacity = count + count / 2 + 1024;
    uint64_t *hashes;
    uint8_t *states;

    if (count >= EMS_MEDIA_INDEX_MAX)
        return ems_fail(err, EMS_MEDIA_BAD_MANIFEST, "more than %u media", EMS_MEDIA_INDEX_MAX);
    if (2 * count >= x->slot_count && grow_slots(x, err) != EMS_OK)
        return err->code;
    if (count < x->capacity)
        return EMS_OK;
    hashes = realloc(x->hashes, capacity * sizeof *hashes);
    if (hashes == NULL)
        return ems_fail_memory(err);
    x->hashes = hashes;
    states = realloc(x->states, capacity * sizeof *states);
    if (states == NULL)
        return ems_fail_memory(err);
    x->states = states;
    x->capacity = capacity;
    return EMS_OK;
}

/*
 * The position of this file name; the number of all if it is new. Names are told apart by their
 * hash alone, under a key of this run that nobody can aim at: of a million names two fall together
 * once in 37 million runs, and a wrong finding is all that comes of it.
 */
static size_t find(const struct ems_media_index *x, uint64_t hash)
{
    size_t mask = x->slot_count - 1;

    for (size_t k = (size_t)hash & mask; x->slot_count > 0 && x->slots[k] != 0; k = (k + 1) & mask)
        if (x->hashes[x->slots[k] - 1] == hash)
            return x->slots[k] - 1;
    return x->ids->count;
}

/* A new record at the end of all. */
static int add(struct ems_media_index *x, uint64_t hash, int state, const struct ems_media_id *id,
               struct ems_error *err)
{
    size_t i = x->ids->count, k;

    if (grow(x, err) != EMS_OK || ems_media_ids_add(x->ids, id, err) != EMS_OK)
        return err->code;
    x->hashes[i] = hash;
    x->states[i] = (uint8_t)state;
    for (k = (size_t)hash & (x->slot_count - 1); x->slots[k] != 0;)
        k = (k + 1) & (x->slot_count - 1);
    x->slots[k] = (uint32_t)i + 1;
    return EMS_OK;
}

/* What is known of a position, copied: the records may move with the next one that is added. */
static struct ems_media_seen look(const struct ems_media_index *x, size_t i)
{
    struct ems_media_seen seen = {0};
    struct ems_media_id id;

    if (i == x->ids->count)
        return seen;
    id = ems_media_ids_get(x->ids, i);
    seen.entry = (x->states[i] & HAS_ENTRY) != 0;
    seen.file = (x->states[i] & HAS_FILE) != 0;
    seen.useless = (x->states[i] & USELESS) != 0;
    seen.size = id.size;
    if (id.sha256 != NULL)
        memcpy(seen.sha256, id.sha256, sizeof seen.sha256);
    return seen;
}

/* ---- both sides ---- */

/* Without the origin, if it is the one of the first file. Remembers that. */
static bool strip(struct ems_media_index *x, const char **name)
{
    const char *end = strstr(*name, "__");
    size_t n = strlen(x->prefix);

    if (n == 0 && end != NULL && (size_t)(end + 2 - *name) < sizeof x->prefix) {
        n = (size_t)(end + 2 - *name);
        memcpy(x->prefix, *name, n);
        x->prefix[n] = '\0';
    }
    if (n == 0 || strncmp(*name, x->prefix, n) != 0)
        return false;
    *name += n;
    return true;
}

/* A second file of the same name changes nothing: the importer takes the first, and the caller
 * compares the two. */
int ems_media_index_file(struct ems_media_index *x, const char *name, uint64_t size,
                         const uint8_t *sha256, struct ems_media_seen *seen, struct ems_error *err)
{
    uint64_t hash = ems_name_hash(&x->key, name, strlen(name));
    size_t i = find(x, hash);
    struct ems_media_id id;
    bool stripped;

    *seen = look(x, i);
    if (i < x->ids->count) {
        x->states[i] |= HAS_FILE;
        return EMS_OK;
    }
    stripped = strip(x, &name);
    id = (struct ems_media_id){.id = name,
                               .id_size = strnlen(name, EMS_MEDIA_ID_MAX),
                               .size = size,
                               .sha256 = sha256,
                               .created_ms = EMS_NOWHERE};
    return add(x, hash, HAS_FILE | (stripped ? STRIPPED : 0), &id, err);
}

/* "2020-12-31_..." is a preview, as Synapse names them (filepath.py, NEW_FORMAT_ID_RE). */
static bool is_preview(const char *id)
{
    static const char form[] = "dddd-dd-dd_";

    for (size_t i = 0; form[i] != '\0'; i++)
        if (form[i] == 'd' ? id[i] < '0' || id[i] > '9' : id[i] != form[i])
            return false;
    return true;
}

/* From here on the record is what the manifest says, whichever side came first: it is what the
 * database will be compared with. A media with a problem says nothing that could be compared. */
int ems_media_index_entry(struct ems_media_index *x, const struct ems_media_entry *e,
                          struct ems_media_seen *seen, struct ems_error *err)
{
    uint64_t hash = ems_name_hash(&x->key, e->file_name, strlen(e->file_name));
    int state = HAS_ENTRY | (e->problem != NULL ? USELESS : 0) | (e->in_s3 ? IN_S3 : 0);
    struct ems_media_id id = {.id = e->media_id,
                              .id_size = strnlen(e->media_id, EMS_MEDIA_ID_MAX),
                              .url_cache = is_preview(e->media_id),
                              .size = e->problem == NULL ? e->size : EMS_NOWHERE,
                              .sha256 = e->problem == NULL ? e->sha256 : NULL,
                              .created_ms = e->created_ms,
                              .uploader = ems_media_uploader(e->uploader, strlen(e->uploader))};
    size_t i;

    *seen = (struct ems_media_seen){0};
    /* Without a file name nothing can be joined; the caller has told that it is missing. */
    if (e->file_name[0] == '\0')
        return EMS_OK;
    i = find(x, hash);
    *seen = look(x, i);
    if (i == x->ids->count)
        return add(x, hash, state, &id, err);
    if (seen->entry)
        return EMS_OK;
    x->states[i] = (uint8_t)((x->states[i] & ~STRIPPED) | state);
    return ems_media_ids_replace(x->ids, i, &id, err);
}

/* ---- at the end ---- */

size_t ems_media_index_count(const struct ems_media_index *x)
{
    return x->ids->count;
}

struct ems_media_state ems_media_index_state(const struct ems_media_index *x, size_t i)
{
    return (struct ems_media_state){.entry = (x->states[i] & HAS_ENTRY) != 0,
                                    .file = (x->states[i] & HAS_FILE) != 0,
                                    .in_s3 = (x->states[i] & IN_S3) != 0};
}

/* A stripped name is put together again; ids of entries were never stripped. */
char *ems_media_index_name(const struct ems_media_index *x, size_t i, char *out, size_t out_size)
{
    struct ems_media_id id = ems_media_ids_get(x->ids, i);
    char name[2 * EMS_MEDIA_ID_MAX + 2];
    int n = snprintf(name, sizeof name, "%s%.*s", x->states[i] & STRIPPED ? x->prefix : "",
                     (int)id.id_size, id.id);

    return ems_printable(name, (size_t)n, out, out_size);
}

void ems_media_index_finish(struct ems_media_index *x)
{
    for (size_t i = x->ids->count; i-- > 0;) /* from the end: what takes the place was looked at */
        if ((x->states[i] & HAS_ENTRY) == 0)
            ems_media_ids_drop(x->ids, i);
    ems_media_ids_sort(x->ids);
}

void ems_media_index_free(struct ems_media_index *x)
{
    if (x == NULL)
        return;
    free(x->hashes);
    free(x->states);
    free(x->slots);
    free(x);
}
