/*
 * bookmark.c - see bookmark.h
 *
 * The decoder runs ahead of whoever pins, and the cipher ahead of the decoder, each on its thread,
 * by as much as the relays between them hold. So the latest places of each are kept: of the cipher
 * and of the literal data in rings that are much longer than that, of the decoder in a list whose
 * front is forgotten as the pins pass it.
 */
#include "bookmark.h"

#include "pgp_cipher.h"
#include "pgp_packet.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* A ring of places: octets of ciphertext come in blocks of EMS_PGP_CFB_SPAN, so this is 32 MiB;
     * a relay holds EMS_RELAY_DEPTH of them. Spans of literal data may be much shorter (GnuPG's
     * chunks of 8 KiB), which the decoder waits for anyway. */
    RING = 256,
    /* Places that nobody has pinned: the decoder's lead over whoever pins is what a relay holds,
     * two or three of EMS_BOOKMARK_SPACING. */
    UNPINNED_MAX = 16,
};

/* One place, all layers of it. */
struct place {
    uint64_t offset; /* of the content */
    uint64_t below;  /* what the decoder had taken */
    struct ems_inflate_place inflate;
    bool encrypted;
    struct ems_literal_place literal;
    struct ems_cfb_place cfb;
    bool pinned;
};

struct ems_bookmarks {
    pthread_mutex_t lock;
    struct ems_pgp_session_key *key; /* secure memory; NULL: not encrypted */
    struct ems_cfb_place cfb[RING];
    struct ems_literal_place literal[RING];
    uint64_t cfb_count, literal_count; /* that were written */
    struct place *places;              /* by offset */
    size_t count, capacity, pins;
};

struct ems_bookmarks *ems_bookmarks_new(void)
{
    struct ems_bookmarks *b = calloc(1, sizeof *b);

    if (b != NULL)
        pthread_mutex_init(&b->lock, NULL);
    return b;
}

void ems_bookmarks_free(struct ems_bookmarks *b)
{
    if (b == NULL)
        return;
    for (size_t i = 0; i < b->count; i++)
        ems_inflate_place_release(&b->places[i].inflate);
    free(b->places);
    gcry_free(b->key); /* libgcrypt wipes what was in its secure memory */
    pthread_mutex_destroy(&b->lock);
    free(b);
}

/* ---- written by the stages ---- */

void ems_bookmarks_key(struct ems_bookmarks *b, const struct ems_pgp_session_key *key)
{
    pthread_mutex_lock(&b->lock);
    if (b->key == NULL)
        b->key = gcry_calloc_secure(1, sizeof *b->key);
    if (b->key != NULL)
        *b->key = *key;
    pthread_mutex_unlock(&b->lock);
}

void ems_bookmarks_cfb(struct ems_bookmarks *b, const struct ems_cfb_place *place)
{
    pthread_mutex_lock(&b->lock);
    b->cfb[b->cfb_count++ % RING] = *place;
    pthread_mutex_unlock(&b->lock);
}

void ems_bookmarks_literal(struct ems_bookmarks *b, const struct ems_literal_place *place)
{
    pthread_mutex_lock(&b->lock);
    b->literal[b->literal_count++ % RING] = *place;
    pthread_mutex_unlock(&b->lock);
}

/* The latest places in front of octet `below` of the literal data. Both rings are short of being
 * searched often: once for EMS_BOOKMARK_SPACING. */
static bool find_message(const struct ems_bookmarks *b, uint64_t below, struct place *place)
{
    uint64_t first = b->literal_count > RING ? b->literal_count - RING : 0, i = b->literal_count;

    while (i > first && b->literal[(i - 1) % RING].offset > below)
        i--;
    if (i == first)
        return false;
    place->literal = b->literal[(i - 1) % RING];
    first = b->cfb_count > RING ? b->cfb_count - RING : 0;
    i = b->cfb_count;
    while (i > first && b->cfb[(i - 1) % RING].packets > place->literal.packets)
        i--;
    if (i == first)
        return false;
    place->cfb = b->cfb[(i - 1) % RING];
    return true;
}

static bool make_room(struct ems_bookmarks *b)
{
    size_t capacity = b->capacity > 0 ? 2 * b->capacity : 32;
    struct place *grown;

    if (b->count < b->capacity)
        return true;
    grown = realloc(b->places, capacity * sizeof *grown);
    if (grown == NULL)
        return false;
    b->places = grown;
    b->capacity = capacity;
    return true;
}

/* With the lock held. The pinned ones are all in front. */
static void forget_oldest(struct ems_bookmarks *b)
{
    struct place *oldest = &b->places[b->pins];

    ems_inflate_place_release(&oldest->inflate);
    b->count--;
    memmove(oldest, oldest + 1, (b->count - b->pins) * sizeof *oldest);
}

/* A place that cannot be kept is no loss: an earlier one will do, or the beginning. */
void ems_bookmarks_inflate(struct ems_bookmarks *b, uint64_t offset, uint64_t below,
                           struct ems_inflate_place *inflate)
{
    struct place place = {.offset = offset, .below = below, .inflate = *inflate};
    bool usable;

    pthread_mutex_lock(&b->lock);
    place.encrypted = b->key != NULL;
    usable = (!place.encrypted || find_message(b, below, &place)) && make_room(b);
    if (usable)
        b->places[b->count++] = place;
    if (b->count - b->pins > UNPINNED_MAX)
        forget_oldest(b);
    pthread_mutex_unlock(&b->lock);
    if (!usable)
        ems_inflate_place_release(inflate);
    *inflate = (struct ems_inflate_place){0};
}

/* ---- pins ---- */

/* With the lock held: forget what lies in front of `last` and nobody wants. Returns where that is
 * now. */
static size_t forget_before(struct ems_bookmarks *b, size_t last)
{
    size_t kept = 0;

    for (size_t i = 0; i < last; i++) {
        if (b->places[i].pinned)
            b->places[kept++] = b->places[i];
        else
            ems_inflate_place_release(&b->places[i].inflate);
    }
    memmove(b->places + kept, b->places + last, (b->count - last) * sizeof *b->places);
    b->count -= last - kept;
    return kept;
}

size_t ems_bookmarks_pin(struct ems_bookmarks *b, uint64_t offset)
{
    size_t last = EMS_BOOKMARK_NONE, next = 0;

    pthread_mutex_lock(&b->lock);
    while (next < b->count && b->places[next].offset <= offset)
        next++;
    if (next > 0) {
        last = forget_before(b, next - 1);
        if (!b->places[last].pinned && b->pins == EMS_BOOKMARK_PINS_MAX) {
            /* An earlier one must do; there is one, or nothing would be pinned. */
            while (!b->places[last].pinned)
                last--;
        } else if (!b->places[last].pinned) {
            b->places[last].pinned = true;
            b->pins++;
        }
    }
    pthread_mutex_unlock(&b->lock);
    return last;
}

/* ---- reading from a place ---- */

/* Takes `skip` octets off the front of what is below. */
struct skip {
    struct ems_source base;
    struct ems_reader reader;
    uint64_t left;
};

static int skip_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct skip *s = (struct skip *)src;
    int rc;

    while (s->left > 0) {
        rc =
            ems_reader_lend(&s->reader, s->left < SIZE_MAX ? (size_t)s->left : SIZE_MAX, span, err);
        src->origin = src->below->origin;
        if (rc == EMS_END)
            return ems_fail(err, EMS_PART_UNFINISHED,
                            "the upload has become shorter: still arriving");
        if (rc != EMS_OK)
            return rc;
        s->left -= span->size;
    }
    rc = ems_reader_lend(&s->reader, SIZE_MAX, span, err);
    src->origin = src->below->origin;
    return rc;
}

static void skip_free(struct ems_source *src)
{
    (void)src;
}

static const struct ems_source_ops skip_ops = {"content", skip_next, skip_free};

static struct ems_source *skip_open(struct ems_source *below, uint64_t octets,
                                    struct ems_error *err)
{
    struct skip *s;

    if (below == NULL)
        return NULL;
    s = ems_source_alloc(sizeof *s, &skip_ops, below, err);
    if (s == NULL)
        return NULL;
    s->reader.below = below;
    s->left = octets;
    return &s->base;
}

struct ems_source *ems_bookmarks_open(const struct ems_bookmarks *b, size_t index, uint64_t offset,
                                      const struct ems_part_set *set, struct ems_error *err)
{
    const struct place *place = &b->places[index];
    struct ems_source *src;

    if (!place->encrypted) {
        src = ems_parts_open_at(set, place->below, err);
    } else {
        src = ems_parts_open_at(set, place->cfb.origin, err);
        src = ems_pgp_resume(src, b->key, &place->cfb, &place->literal, err);
        src = skip_open(src, place->below - place->literal.offset, err);
    }
    src = ems_inflate_resume(src, &place->inflate, err);
    return skip_open(src, offset - place->offset, err);
}
