/* manifest.c - the manifest as data: entries by name, and what else is said; see manifest.h */
#include "manifest.h"

#include "bytes.h"
#include "manifest_store.h"

#include <gcrypt.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_SIZE 65536u

struct ems_manifest *ems_manifest_new(struct ems_error *err)
{
    struct ems_manifest *m = calloc(1, sizeof *m);

    if (m != NULL)
        m->store = calloc(1, sizeof *m->store);
    if (m == NULL || m->store == NULL) {
        free(m);
        ems_fail_memory(err);
        return NULL;
    }
    m->level = 1;
    m->tool = m->tool_version = m->created = m->server_name = m->upload_id = "";
    gcry_create_nonce(m->store->key, sizeof m->store->key);
    return m;
}

void ems_manifest_free(struct ems_manifest *m)
{
    struct ems_manifest_chunk *chunk;

    if (m == NULL)
        return;
    while ((chunk = m->store->chunks) != NULL) {
        m->store->chunks = chunk->next;
        free(chunk);
    }
    free(m->store->buckets);
    free(m->store);
    free(m->entries);
    free(m->artifacts);
    free(m->inners);
    free(m->sqldumps);
    free(m->tables);
    free(m->media);
    free(m->blocks);
    free(m);
}

/* ---- strings ---- */

/* A NUL-terminated copy that lives as long as the manifest; NULL when out of memory. */
static const char *copy_text(struct ems_manifest *m, const void *text, size_t size)
{
    struct ems_manifest_chunk *chunk = m->store->chunks;
    char *copy;

    if (chunk == NULL || chunk->size - chunk->used < size + 1) {
        size_t room = size + 1 > CHUNK_SIZE ? size + 1 : CHUNK_SIZE;

        chunk = malloc(sizeof *chunk + room);
        if (chunk == NULL)
            return NULL;
        *chunk = (struct ems_manifest_chunk){.next = m->store->chunks, .size = room};
        m->store->chunks = chunk;
    }
    copy = chunk->text + chunk->used;
    memcpy(copy, text, size);
    copy[size] = '\0';
    chunk->used += size + 1;
    return copy;
}

static int keep(struct ems_manifest *m, const char **text, struct ems_error *err)
{
    if (*text == NULL || **text == '\0') {
        *text = "";
        return EMS_OK;
    }
    *text = copy_text(m, *text, strlen(*text));
    return *text != NULL ? EMS_OK : ems_fail_memory(err);
}

bool ems_manifest_base_name(const char *path, size_t size, const char **base, size_t *base_size,
                            const char **reason)
{
    size_t begin = 0;

    *reason = NULL;
    for (size_t i = 0; i <= size; i++) {
        if (i < size && ((uint8_t)path[i] < 0x20 || path[i] == 0x7f)) {
            *reason = "control characters";
            return false;
        }
        if (i < size && path[i] != '/')
            continue;
        if (i - begin == 2 && path[begin] == '.' && path[begin + 1] == '.')
            *reason = "\"..\"";
        if (i < size)
            begin = i + 1;
    }
    *base = path + begin;
    *base_size = size - begin;
    if (*base_size == 0 || (*base_size == 1 && **base == '.'))
        *reason = "nothing";
    else if (*base_size > EMS_MANIFEST_NAME_MAX)
        *reason = "more than 1024 bytes";
    return *reason == NULL;
}

size_t ems_manifest_part_stem(const char *name)
{
    const char *at = NULL;

    for (const char *p = name; (p = strstr(p, ".part-")) != NULL; p++)
        at = p;
    if (at != NULL && at[strlen(".part-")] != '\0')
        return (size_t)(at - name);
    /* 7-Zip's volumes: X.001 to X.999 */
    at = strrchr(name, '.');
    if (at != NULL && at > name && strlen(at) == 4 && strspn(at + 1, "0123456789") == 3)
        return (size_t)(at - name);
    return 0;
}

/* ---- the table of names ---- */

static uint64_t rotate(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

/* SipHash-2-4 (Aumasson and Bernstein, 2012): names come from the upload, so the hash is keyed. */
static uint64_t hash_name(const uint64_t key[2], const char *name, size_t size)
{
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du,
                     key[0] ^ 0x6c7967656e657261u, key[1] ^ 0x7465646279746573u};
    uint64_t word = 0;
    size_t i;

    for (i = 0; i <= size; i++) {
        bool last = i == size;

        if (last)
            word |= (uint64_t)(size & 0xff) << 56;
        else
            word |= (uint64_t)(uint8_t)name[i] << 8 * (i % 8);
        if (!last && i % 8 != 7)
            continue;
        v[3] ^= word;
        sip_round(v);
        sip_round(v);
        v[0] ^= word;
        word = 0;
    }
    v[2] ^= 0xff;
    for (i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* The bucket that holds this name, or the free one where it belongs. */
static uint32_t *find_bucket(const struct ems_manifest *m, const char *name, size_t size)
{
    const struct ems_manifest_store *s = m->store;
    size_t mask = s->bucket_count - 1, i = (size_t)hash_name(s->key, name, size) & mask;

    while (s->buckets[i] != 0) {
        const char *known = m->entries[s->buckets[i] - 1].name;

        if (strncmp(known, name, size) == 0 && known[size] == '\0')
            break;
        i = (i + 1) & mask;
    }
    return &s->buckets[i];
}

static bool grow_buckets(struct ems_manifest *m)
{
    struct ems_manifest_store *s = m->store;
    uint32_t *old = s->buckets;
    size_t count = s->bucket_count > 0 ? 2 * s->bucket_count : 64;

    s->buckets = calloc(count, sizeof *s->buckets);
    if (s->buckets == NULL) {
        s->buckets = old;
        return false;
    }
    s->bucket_count = count;
    for (size_t i = 0; i < m->entry_count; i++)
        *find_bucket(m, m->entries[i].name, strlen(m->entries[i].name)) = (uint32_t)i + 1;
    free(old);
    return true;
}

/* Room for one more item; returns its address, zeroed, or NULL. */
static void *grow(void **items, size_t *count, size_t *room, size_t size)
{
    char *item;

    if (*count == *room) {
        size_t more = *room > 0 ? 2 * *room : 16;
        void *larger = realloc(*items, more * size);

        if (larger == NULL)
            return NULL;
        *items = larger;
        *room = more;
    }
    item = (char *)*items + *count * size;
    memset(item, 0, size);
    (*count)++;
    return item;
}
#define GROW(m, list, kind)                                                                        \
    grow((void **)&(m)->list, &(m)->kind##_count, &(m)->store->kind##_room, sizeof *(m)->list)

/* The entry of this base name, made if there is none (*fresh). NULL when out of memory. */
static struct ems_manifest_entry *get_entry(struct ems_manifest *m, const char *name, size_t size,
                                            bool *fresh)
{
    struct ems_manifest_entry *e;
    uint32_t *bucket;
    const char *copy;

    /* At most half full: a free bucket always ends the search. */
    if (2 * (m->entry_count + 1) > m->store->bucket_count && !grow_buckets(m))
        return NULL;
    bucket = find_bucket(m, name, size);
    *fresh = *bucket == 0;
    if (!*fresh)
        return &m->entries[*bucket - 1];
    copy = copy_text(m, name, size);
    e = copy != NULL ? GROW(m, entries, entry) : NULL;
    if (e == NULL)
        return NULL;
    e->name = copy;
    e->size = EMS_NOWHERE;
    *bucket = (uint32_t)m->entry_count;
    return e;
}

struct ems_manifest_entry *ems_manifest_find(const struct ems_manifest *m, const char *name)
{
    const char *slash = strrchr(name, '/');
    uint32_t *bucket;

    if (m->entry_count == 0)
        return NULL;
    name = slash != NULL ? slash + 1 : name;
    bucket = find_bucket(m, name, strlen(name));
    return *bucket != 0 ? &m->entries[*bucket - 1] : NULL;
}

void ems_manifest_count_parts(struct ems_manifest *m)
{
    for (size_t i = 0; i < m->entry_count; i++)
        m->entries[i].parts = 0;
    for (size_t i = 0; i < m->entry_count; i++) {
        const char *name = m->entries[i].name;
        size_t stem =
            m->entries[i].of != NULL ? strlen(m->entries[i].of) : ems_manifest_part_stem(name);
        uint32_t *bucket;

        if (stem == 0)
            continue;
        bucket = find_bucket(m, m->entries[i].of != NULL ? m->entries[i].of : name, stem);
        if (*bucket != 0)
            m->entries[*bucket - 1].parts++;
    }
}

/* ---- adding ---- */

/* The entry for a name that is given to us; what it holds already must agree. */
static int add_entry(struct ems_manifest *m, const char *name, uint64_t size,
                     const struct ems_sha256 *sha256, struct ems_manifest_entry **out,
                     struct ems_error *err)
{
    const char *base, *reason;
    struct ems_manifest_entry *e;
    char shown[100];
    size_t length;
    bool fresh;

    if (!ems_manifest_base_name(name, strlen(name), &base, &length, &reason))
        return ems_fail(err, EMS_MANIFEST_MALFORMED, "a manifest cannot name %s: it has %s",
                        ems_printable(name, strlen(name), shown, sizeof shown), reason);
    e = get_entry(m, base, length, &fresh);
    if (e == NULL)
        return ems_fail_memory(err);
    if ((size != EMS_NOWHERE && e->size != EMS_NOWHERE && e->size != size) ||
        (sha256 != NULL && sha256->done && e->sha256.done &&
         memcmp(e->sha256.bytes, sha256->bytes, EMS_SHA256_SIZE) != 0))
        return ems_fail(err, EMS_MANIFEST_MALFORMED,
                        "%s is named twice, with different values (first in line %llu)",
                        ems_printable(base, length, shown, sizeof shown),
                        (unsigned long long)e->line);
    if (size != EMS_NOWHERE)
        e->size = size;
    if (sha256 != NULL && sha256->done)
        e->sha256 = *sha256;
    *out = e;
    return EMS_OK;
}

int ems_manifest_add(struct ems_manifest *m, const char *name, uint64_t size,
                     const struct ems_sha256 *sha256, struct ems_error *err)
{
    struct ems_manifest_entry *e;

    return add_entry(m, name, size, sha256, &e, err);
}

int ems_manifest_add_part(struct ems_manifest *m, const char *name, const char *of, uint64_t index,
                          uint64_t offset, uint64_t size, const struct ems_sha256 *sha256,
                          struct ems_error *err)
{
    struct ems_manifest_entry *e;
    const char *owner = of;
    int rc = add_entry(m, name, size, sha256, &e, err);

    /* Thousands of parts follow their artifact: they share its string. */
    if (rc == EMS_OK && m->artifact_count > 0 &&
        strcmp(m->artifacts[m->artifact_count - 1].name, of) == 0)
        owner = m->artifacts[m->artifact_count - 1].name;
    else if (rc == EMS_OK)
        rc = keep(m, &owner, err);
    if (rc != EMS_OK)
        return rc;
    e->of = owner;
    e->index = index;
    e->offset = offset;
    return EMS_OK;
}

int ems_manifest_add_artifact(struct ems_manifest *m, const struct ems_manifest_artifact *given,
                              struct ems_error *err)
{
    struct ems_manifest_artifact *a = GROW(m, artifacts, artifact);

    if (a == NULL)
        return ems_fail_memory(err);
    *a = *given;
    if (keep(m, &a->name, err) != EMS_OK || keep(m, &a->kind, err) != EMS_OK ||
        keep(m, &a->suffix, err) != EMS_OK || keep(m, &a->enc, err) != EMS_OK) {
        m->artifact_count--;
        return err != NULL ? err->code : EMS_NO_MEMORY;
    }
    return EMS_OK;
}

int ems_manifest_add_inner(struct ems_manifest *m, const struct ems_manifest_inner *given,
                           struct ems_error *err)
{
    struct ems_manifest_inner *i = GROW(m, inners, inner);

    if (i == NULL)
        return ems_fail_memory(err);
    *i = *given;
    if (keep(m, &i->name, err) != EMS_OK || keep(m, &i->layer, err) != EMS_OK) {
        m->inner_count--;
        return EMS_NO_MEMORY;
    }
    return EMS_OK;
}

int ems_manifest_add_sqldump(struct ems_manifest *m, const struct ems_manifest_sqldump *given,
                             struct ems_error *err)
{
    struct ems_manifest_sqldump *d = GROW(m, sqldumps, sqldump);

    if (d == NULL)
        return ems_fail_memory(err);
    *d = *given;
    d->first_table = m->table_count;
    d->table_count = 0;
    if (keep(m, &d->of, err) != EMS_OK || keep(m, &d->server, err) != EMS_OK ||
        keep(m, &d->dump, err) != EMS_OK || keep(m, &d->encoding, err) != EMS_OK) {
        m->sqldump_count--;
        return EMS_NO_MEMORY;
    }
    return EMS_OK;
}

int ems_manifest_add_table(struct ems_manifest *m, const struct ems_manifest_table *given,
                           struct ems_error *err)
{
    struct ems_manifest_table *t;

    if (m->sqldump_count == 0)
        return ems_fail(err, EMS_MANIFEST_MALFORMED, "a table without a dump that it belongs to");
    t = GROW(m, tables, table);
    if (t == NULL)
        return ems_fail_memory(err);
    *t = *given;
    if (keep(m, &t->name, err) != EMS_OK) {
        m->table_count--;
        return EMS_NO_MEMORY;
    }
    m->sqldumps[m->sqldump_count - 1].table_count++;
    return EMS_OK;
}

int ems_manifest_add_media(struct ems_manifest *m, const struct ems_manifest_media *given,
                           struct ems_error *err)
{
    struct ems_manifest_media *d = GROW(m, media, media);

    if (d == NULL)
        return ems_fail_memory(err);
    *d = *given;
    if (keep(m, &d->of, err) != EMS_OK || keep(m, &d->entity, err) != EMS_OK) {
        m->media_count--;
        return EMS_NO_MEMORY;
    }
    return EMS_OK;
}

int ems_manifest_add_block(struct ems_manifest *m, const struct ems_manifest_block *given,
                           struct ems_error *err)
{
    /* A block's name is that of an entry or of the block before it: no copy for each of thousands.
     */
    const struct ems_manifest_entry *e = ems_manifest_find(m, given->name);
    const char *known = e != NULL ? e->name : NULL;
    struct ems_manifest_block *b;

    if (known == NULL && m->block_count > 0 &&
        strcmp(m->blocks[m->block_count - 1].name, given->name) == 0)
        known = m->blocks[m->block_count - 1].name;
    b = GROW(m, blocks, block);
    if (b == NULL)
        return ems_fail_memory(err);
    *b = *given;
    if (known != NULL)
        b->name = known;
    else if (keep(m, &b->name, err) != EMS_OK) {
        m->block_count--;
        return EMS_NO_MEMORY;
    }
    return EMS_OK;
}

int ems_manifest_set(struct ems_manifest *m, const char **which, const char *value,
                     struct ems_error *err)
{
    *which = value;
    return keep(m, which, err);
}

/* ---- names of the manifest itself ---- */

static bool is_manifest_with(const char *name, const char *const *endings, size_t count)
{
    size_t n = strlen(EMS_MANIFEST_FILE_NAME);

    if (strncmp(name, EMS_MANIFEST_FILE_NAME, n) != 0)
        return false;
    for (size_t i = 0; i < count; i++)
        if (strcmp(name + n, endings[i]) == 0)
            return true;
    return false;
}

bool ems_manifest_is_name(const char *name)
{
    static const char *const endings[] = {"", ".txt", ".asc", ".gpg", ".sig"};

    return is_manifest_with(name, endings, 5);
}

const struct ems_part_set *ems_manifest_of_upload(const struct ems_upload *upload)
{
    static const char *const endings[] = {"", ".txt"};

    for (size_t k = 1; k <= 2; k++)
        for (size_t i = 0; i < upload->count; i++)
            if (!upload->sets[i].split && is_manifest_with(upload->sets[i].name, endings, k))
                return &upload->sets[i];
    return NULL;
}
