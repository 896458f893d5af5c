/*
 * chain.c - see chain.h
 *
 * From the bottom, what is in brackets only where the content or the options ask for it:
 *
 *     source > [count] > [proof] > [relay] > peek
 *            > [openpgp > digest of the plaintext > relay > peek]
 *            > [gzip > digest of what is unpacked > relay > peek]
 *
 * What a layer is, is decided by the first bytes that the peek below it shows, never by a name.
 */
#include "chain.h"

#include "observe.h"
#include "proof.h"
#include "relay.h"
#include "sqlscan.h"
#include "tar.h"

#include <gcrypt.h>
#include <string.h>

/* ---- peek ---- */

/* Lends what comes from below unchanged, and lets its first bytes be seen before anybody takes
 * them.
 */
struct peek_source {
    struct ems_source base;
    struct ems_reader reader;
};

static int peek_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct peek_source *p = (struct peek_source *)src;
    int rc = ems_reader_lend(&p->reader, SIZE_MAX, span, err);

    src->origin = ems_reader_origin(&p->reader); /* behind what is lent */
    return rc;
}

static void peek_free(struct ems_source *src)
{
    (void)src;
}

static const struct ems_source_ops peek_ops = {"content", peek_next, peek_free};

struct ems_source *ems_peek_open(struct ems_source *below, struct ems_error *err)
{
    struct peek_source *p;

    if (below == NULL)
        return NULL;
    p = ems_source_alloc(sizeof *p, &peek_ops, below, err);
    if (p == NULL)
        return NULL;
    p->reader.below = below;
    return &p->base;
}

int ems_peek(struct ems_source *src, size_t n, const uint8_t **data, size_t *have,
             struct ems_error *err)
{
    return ems_reader_peek(&((struct peek_source *)src)->reader, n, data, have, err);
}

/* ---- chain ---- */

/* A relay if threads are wanted and a further one is worth it, and always a peek above it. */
static struct ems_source *finish_layer(struct ems_source *src, const struct ems_chain_options *o,
                                       struct ems_error *err)
{
    if (!o->no_threads && !o->split_decryption && !ems_proof_is_sealed(o->proof))
        src = ems_relay_open(src, err);
    return ems_peek_open(src, err);
}

/* The manifest may know checksums of what is inside the encryption: taken where it comes by. */
static struct ems_source *digest_layer(struct ems_source *src, struct ems_sha256 *sha256,
                                       struct ems_error *err)
{
    if (sha256 == NULL)
        return src;
    return ems_observe_digest_open(src, GCRY_MD_SHA256, sha256->bytes, &sha256->done, err);
}

/* The magic strings first: an SQLite file or a tar may hold text that looks like SQL. */
static enum ems_content classify(const uint8_t *head, size_t size)
{
    static const char sqlite[] = "SQLite format 3";
    const char *other;

    if (size == 0)
        return EMS_CONTENT_EMPTY;
    if (size >= sizeof sqlite && memcmp(head, sqlite, sizeof sqlite) == 0)
        return EMS_CONTENT_SQLITE;
    if (ems_tar_probe(head, size))
        return EMS_CONTENT_TAR;
    if (size >= 5 &&
        memcmp(head, "PGDMP", 5) == 0) /* whatever it is called: the scanner names it */
        return EMS_CONTENT_SQL;
    return ems_sqlscan_probe(head, size, &other) ? EMS_CONTENT_SQL : EMS_CONTENT_UNKNOWN;
}

int ems_chain_open(struct ems_chain *chain, struct ems_source *bottom,
                   const struct ems_chain_options *o, struct ems_error *err)
{
    bool is_proven = ems_proof_is_sealed(o->proof);
    struct ems_source *src = bottom;
    const uint8_t *head;
    size_t have;

    *chain = (struct ems_chain){0};
    if (src != NULL && o->bytes_in != NULL)
        src = ems_observe_count_open(src, o->bytes_in, err);
    if (o->proof != NULL)
        src = ems_proof_open(src, o->proof, err);
    /* A second pass: reading and comparing on one thread, everything above on another. */
    if (is_proven && !o->no_threads)
        src = ems_relay_open(src, err);
    src = ems_peek_open(src, err);
    if (src == NULL || ems_peek(src, EMS_READER_PEEK, &head, &have, err) != EMS_OK)
        goto fail;

    if (ems_pgp_probe(head, have) == 1) {
        struct ems_pgp_options pgp = {.secrets = o->secrets,
                                      .allow_no_integrity = o->allow_no_integrity,
                                      .threads = o->split_decryption && !o->no_threads,
                                      .proven = is_proven,
                                      .facts = &chain->pgp,
                                      .bookmarks = o->bookmarks};

        chain->encrypted = true;
        src = finish_layer(digest_layer(ems_pgp_open(src, &pgp, err), o->unlocked, err), o, err);
        if (src == NULL || ems_peek(src, 2, &head, &have, err) != EMS_OK)
            goto fail;
        chain->unlocked = src;
    }
    if (!o->keep_gzip && have >= 2 && head[0] == 0x1f && head[1] == 0x8b) {
        struct ems_inflate_options gzip = {.backend =
                                               o->span > 0 ? EMS_DEFLATE_ZLIB : EMS_DEFLATE_BEST,
                                           .span = o->span,
                                           .facts = &chain->gzip,
                                           .bookmarks = o->bookmarks};

        chain->gzipped = true;
        src =
            finish_layer(digest_layer(ems_inflate_open(src, &gzip, err), o->unpacked, err), o, err);
        if (src == NULL)
            goto fail;
    }
    if (ems_peek(src, EMS_READER_PEEK, &head, &have, err) != EMS_OK)
        goto fail;
    chain->top = src;
    chain->content = classify(head, have);
    return EMS_OK;
fail: /* what failed above may be the consequence of damage below, which settling hears */
    chain->top = src;
    if (src != NULL)
        ems_chain_settle(chain, err);
    ems_chain_close(chain);
    return err->code;
}

/*
 * A layer above has failed, or wants no more: the layers below are read to their own end. If one of
 * them fails too, that is the cause (a changed message gives bad gzip, not the reverse), and its
 * failure takes the place of the first; only the origin of the first is kept for a message whose
 * integrity check can speak but at its end, since it is nearer to the damage.
 */
int ems_chain_settle(struct ems_chain *chain, struct ems_error *err)
{
    struct ems_error below = {0};
    int rc;

    if (chain->top == NULL)
        return err->code;
    rc = ems_source_drain(chain->top, &below);
    if (rc != EMS_END && chain->unlocked != NULL && chain->unlocked != chain->top) {
        /* gzip has failed, so nobody pulls the message any more: hear its own end. */
        struct ems_error integrity = {0};

        if (ems_source_drain(chain->unlocked, &integrity) != EMS_END)
            below = integrity;
    }
    if (rc == EMS_END || below.code == err->code)
        return err->code;
    if (below.code == EMS_PGP_TRUNCATED && err->code == EMS_GZIP_CORRUPT &&
        chain->pgp.partial_lengths) {
        /* What was only cut is right up to its end: here lengths are damaged too. */
        char text[sizeof below.text];

        memcpy(text, below.text, sizeof text);
        below.code = EMS_OK;
        ems_fail(&below, EMS_PGP_MODIFIED, "%.120s; inside, first: %.110s", text, err->text);
    }
    if (err->origin != EMS_NOWHERE && below.code == EMS_PGP_MODIFIED)
        below.origin = err->origin;
    *err = below;
    return err->code;
}

void ems_chain_close(struct ems_chain *chain)
{
    ems_source_free(chain->top);
    chain->top = chain->unlocked = NULL;
}
