/*
 * pgp.c - see pgp.h
 *
 * The message is a stack of packet streams. Level 0 is what came in; a container's plaintext is the
 * stream of level 1; each compressed packet adds one level. A level's packets are read through its
 * reader; while a packet's body is open above it, the reader belongs to that body.
 *
 * The grammar (RFC 9580, section 10.3), narrower than the RFC where wider has done harm:
 *
 *     level 0:   session-key packets, one container, nothing
 *     above it:  signatures, then one compressed packet or the literal packet, signatures
 *
 * with marker and padding packets (and tags 40 to 63) ignored everywhere. There is exactly one
 * literal packet, and it lies inside the container (CVE-2007-1263, CVE-2006-0049).
 */
#include "pgp.h"

#include "bookmark.h"
#include "pgp_armor.h"
#include "pgp_compress.h"
#include "pgp_esk.h"
#include "pgp_signature.h"
#include "pgp_text.h"

#include <stdlib.h>
#include <string.h>

#define LEVELS_MAX 9u /* the message, its container, seven compressed packets */

struct level {
    struct ems_source *stream; /* owned, but for level 0 */
    struct ems_reader reader;
};

struct message {
    struct ems_source base;
    enum {
        BEFORE_CONTAINER,
        BEFORE_LITERAL,
        IN_LITERAL,
        AFTER_LITERAL, /* on the way down again, through the ends of all levels */
    } state;
    struct level levels[LEVELS_MAX];
    unsigned level;            /* the top one */
    struct ems_source *body;   /* of the literal packet */
    struct ems_reader literal; /* reads body */
    struct ems_pgp_text text;  /* of text mode */
    bool allow_no_integrity, threads, proven;
    struct ems_bookmarks *bookmarks; /* or NULL */
    struct ems_pgp_growth growth;
    unsigned extras; /* packets that carry nothing: ignored ones, signatures */
    struct ems_pgp_esks esks;
    struct ems_pgp_unlock unlock;
    struct ems_pgp_facts *facts;
    struct ems_pgp_facts own_facts; /* for callers who want none */
};

/* ---- below the container ---- */

static int read_esk(struct message *m, const struct ems_pgp_header *h, struct ems_error *err)
{
    struct ems_buf body = {0};
    int rc = ems_pgp_body_read(&m->levels[0].reader, h, EMS_PGP_ESK_SIZE_MAX, &body, err);

    if (rc == EMS_OK)
        rc = ems_pgp_esks_add(&m->esks, h->tag, body.data, body.size, err);
    ems_buf_release(&body);
    return rc;
}

/* A new level whose packets come from stream (owned; NULL is passed through as err's code). */
static int push(struct message *m, struct ems_source *stream, struct ems_error *err)
{
    struct level *level;

    if (stream == NULL)
        return err->code;
    level = &m->levels[++m->level];
    memset(level, 0, sizeof *level);
    level->stream = stream;
    level->reader.below = stream;
    return EMS_OK;
}

/*
 * The kinds of container, and what proves each:
 *
 *     9           nothing (EFAIL, CVE-2017-17688): only when the operator says so
 *     18 version 1    SHA-1 over the plaintext, at its end (pgp_mdc.c)
 *     18 version 2    a tag for each chunk, and one for the whole (pgp_aead.c)
 *     20          the same in the form of an older draft
 *
 * A session key is bound to no container. So none is ever tried as another kind than it says:
 * reading a packet 18 as a packet 9 after its MDC has failed is the downgrade of 2002 and 2015.
 */
static int open_container(struct message *m, const struct ems_pgp_header *h, struct ems_error *err)
{
    struct ems_reader *reader = &m->levels[0].reader;
    const uint8_t *version;
    size_t have;
    int rc;

    m->facts->partial_lengths = h->kind == EMS_PGP_PARTIAL;
    if (h->tag == EMS_PGP_TAG_SED) {
        m->facts->container = "sed";
        m->facts->integrity = "none";
        if (!m->allow_no_integrity)
            return ems_fail(err, EMS_PGP_NO_INTEGRITY,
                            "encrypted without integrity protection, as old GnuPG (before 2.2.8) "
                            "does with old ciphers: nobody could tell whether it was altered");
        return push(m, ems_pgp_cfb_open(ems_pgp_body_open(reader, h, err), &m->unlock, false, err),
                    err);
    }
    rc = ems_reader_peek(reader, 1, &version, &have, err);
    if (rc != EMS_OK)
        return rc;
    if (have == 0 || (h->kind == EMS_PGP_DEFINITE && h->size == 0))
        return ems_fail(err, EMS_PGP_TRUNCATED, "the encrypted data is empty");
    if (h->tag == EMS_PGP_TAG_SEIPD && version[0] == 1) {
        m->facts->container = "seipd1";
        m->facts->integrity = "mdc";
        return push(m,
                    ems_pgp_mdc_open(ems_pgp_body_open(reader, h, err), &m->unlock, m->threads,
                                     m->proven, err),
                    err);
    }
    if ((h->tag == EMS_PGP_TAG_SEIPD && version[0] == 2) ||
        (h->tag == EMS_PGP_TAG_AEAD && version[0] == 1)) {
        bool draft = h->tag == EMS_PGP_TAG_AEAD;

        m->facts->container = draft ? "aead" : "seipd2";
        return push(m, ems_pgp_aead_open(ems_pgp_body_open(reader, h, err), &m->unlock, draft, err),
                    err);
    }
    return ems_fail(err, EMS_PGP_UNSUPPORTED, "%s packet (tag %u) of version %u",
                    ems_pgp_tag_name(h->tag), h->tag, version[0]);
}

/* What a first packet of another kind says about the file. */
static int refuse_outside(const struct message *m, const struct ems_pgp_header *h,
                          struct ems_error *err)
{
    switch (h->tag) {
    case EMS_PGP_TAG_LITERAL:
    case EMS_PGP_TAG_COMPRESSED:
    case EMS_PGP_TAG_SIGNATURE:
    case EMS_PGP_TAG_ONE_PASS:
        if (m->esks.count == 0)
            return ems_fail(err, EMS_NOT_ENCRYPTED,
                            "an OpenPGP message, but not encrypted: it begins with a %s packet",
                            ems_pgp_tag_name(h->tag));
        return ems_fail(err, EMS_PGP_MALFORMED,
                        "a %s packet outside the encrypted data: the message is not encrypted",
                        ems_pgp_tag_name(h->tag));
    case EMS_PGP_TAG_SECRET_KEY:
    case EMS_PGP_TAG_PUBLIC_KEY:
        return ems_fail(err, EMS_PGP_NOT_OPENPGP, "an OpenPGP %s, not a message",
                        ems_pgp_tag_name(h->tag));
    default:
        return ems_fail(err, EMS_PGP_MALFORMED, "a %s packet (tag %u) where the message begins",
                        ems_pgp_tag_name(h->tag), h->tag);
    }
}

/* Marker and padding (5.8, 5.14), and tags of 40 and above, which are not critical (4.3). Below
 * that an unknown tag is refused: it may be what the message is about. */
static bool is_ignored(unsigned tag)
{
    return tag == EMS_PGP_TAG_MARKER || tag == EMS_PGP_TAG_PADDING || tag >= 40;
}

/* A packet that is passed over, or only noted. A file full of them would cost much time for
 * nothing; honest messages have a few. */
static int count_extra(struct message *m, struct ems_error *err)
{
    if (++m->extras > EMS_PGP_EXTRAS_MAX)
        return ems_fail(err, EMS_PGP_LIMIT, "more than %u packets that carry no data",
                        EMS_PGP_EXTRAS_MAX);
    return EMS_OK;
}

static int skip_extra(struct message *m, struct ems_reader *reader, const struct ems_pgp_header *h,
                      struct ems_error *err)
{
    int rc = count_extra(m, err);

    return rc == EMS_OK ? ems_pgp_body_skip(reader, h, err) : rc;
}

/* Level 0 is not encrypted: whatever stands there was written by anybody. Only session keys are
 * taken from it, which prove themselves. gpg 2.2 and 2.5 print a literal packet that follows a
 * session key and end with status 0; here it is refused. */
static int before_container(struct message *m, struct ems_error *err)
{
    struct ems_reader *reader = &m->levels[0].reader;
    bool first = reader->offset == 0;
    struct ems_pgp_header h;
    const uint8_t *data;
    size_t have;
    int rc;

    rc = ems_reader_peek(reader, 1, &data, &have, err);
    if (rc != EMS_OK)
        return rc;
    if (first && have == 1 && data[0] < 0x80)
        return ems_fail(err, EMS_PGP_NOT_OPENPGP, "not an OpenPGP message");
    rc = ems_pgp_header_next(reader, &h, err);
    if (rc == EMS_END && first)
        return ems_fail(err, EMS_PGP_TRUNCATED, "there is no data at all");
    if (rc == EMS_END)
        return ems_fail(err, EMS_PGP_TRUNCATED, "the message ends before the encrypted data");
    if (rc != EMS_OK)
        return rc;
    if (is_ignored(h.tag))
        return skip_extra(m, reader, &h, err);
    switch (h.tag) {
    case EMS_PGP_TAG_PKESK:
    case EMS_PGP_TAG_SKESK:
        return read_esk(m, &h, err);
    case EMS_PGP_TAG_SED:
    case EMS_PGP_TAG_SEIPD:
    case EMS_PGP_TAG_AEAD:
        rc = open_container(m, &h, err);
        if (rc == EMS_OK)
            m->state = BEFORE_LITERAL;
        return rc;
    default:
        return refuse_outside(m, &h, err);
    }
}

/* ---- inside ---- */

#define SIGNATURE_MAX (64u * 1024u)

static void set_signer(struct message *m, const uint8_t id[8])
{
    if (m->facts->signer_id[0] == '\0')
        ems_pgp_key_id_text(id, m->facts->signer_id);
}

/* Who says to have signed: the issuer of a one-pass signature (5.4) or of a signature (5.2). */
static int note_signer(struct message *m, const struct ems_pgp_header *h, struct ems_error *err)
{
    struct ems_buf body = {0};
    struct ems_pgp_signature sig;
    int rc = count_extra(m, err);

    if (rc == EMS_OK)
        rc = ems_pgp_body_read(&m->levels[m->level].reader, h, SIGNATURE_MAX, &body, err);
    if (rc == EMS_OK && h->tag == EMS_PGP_TAG_SIGNATURE) {
        if (ems_pgp_signature_parse(body.data, body.size, &sig) && sig.has_issuer)
            set_signer(m, sig.issuer);
    } else if (rc == EMS_OK && body.size == 13 && body.data[0] == 3) {
        set_signer(m, body.data + 4);
    } else if (rc == EMS_OK && body.size > 5 && body.data[0] == 6) {
        size_t salt = body.data[4]; /* then the fingerprint, whose beginning is the id */

        if (body.size >= 5 + salt + 33)
            set_signer(m, body.data + 5 + salt);
    }
    ems_buf_release(&body);
    return rc;
}

/* Levels are limited (RFC 9580, section 13.14; the "quine" of CVE-2013-4402 has no end). Honest
 * messages have one or none. */
static int open_compressed(struct message *m, const struct ems_pgp_header *h, struct ems_error *err)
{
    if (m->level + 1 == LEVELS_MAX)
        return ems_fail(err, EMS_PGP_LIMIT, "packets nested more than %u deep", LEVELS_MAX - 1);
    return push(m,
                ems_pgp_compress_open(ems_pgp_body_open(&m->levels[m->level].reader, h, err),
                                      &m->facts->compression, &m->growth, err),
                err);
}

/* The literal packet's own header (5.9): format, file name, date. */
static int open_literal(struct message *m, const struct ems_pgp_header *h, struct ems_error *err)
{
    static const char cut[] = "the literal packet ends inside its header";
    const uint8_t *data;
    size_t have, name_size;
    int rc;

    m->body = ems_pgp_body_open(&m->levels[m->level].reader, h, err);
    if (m->body == NULL)
        return err->code;
    m->literal.below = m->body;
    rc = ems_reader_peek(&m->literal, 2, &data, &have, err);
    if (rc != EMS_OK)
        return rc;
    if (have < 2)
        return ems_fail(err, EMS_PGP_MALFORMED, "%s", cut);
    if (data[0] == '\0' || strchr("btul1m", data[0]) == NULL)
        return ems_fail(err, EMS_PGP_MALFORMED, "literal data of unknown format 0x%02x", data[0]);
    name_size = data[1];
    rc = ems_reader_peek(&m->literal, name_size + 6, &data, &have, err);
    if (rc != EMS_OK)
        return rc;
    if (have < name_size + 6)
        return ems_fail(err, EMS_PGP_MALFORMED, "%s", cut);
    m->facts->text_mode = data[0] == 't' || data[0] == 'u';
    ems_printable(data + 2, name_size, m->facts->file_name, sizeof m->facts->file_name);
    m->facts->created = ems_be32(data + 2 + name_size);
    if (m->facts->compression == NULL)
        m->facts->compression = "none";
    ems_reader_skip(&m->literal, name_size + 6);
    return EMS_OK;
}

/* What may stand in front of the data inside: nothing that could be a second message. */
static int before_literal(struct message *m, struct ems_error *err)
{
    struct ems_reader *reader = &m->levels[m->level].reader;
    struct ems_pgp_header h;
    int rc = ems_pgp_header_next(reader, &h, err);

    if (rc == EMS_END)
        return ems_fail(err, EMS_PGP_MALFORMED, "there is no literal data in the message");
    if (rc != EMS_OK)
        return rc;
    if (is_ignored(h.tag))
        return skip_extra(m, reader, &h, err);
    switch (h.tag) {
    case EMS_PGP_TAG_SIGNATURE:
    case EMS_PGP_TAG_ONE_PASS:
        return note_signer(m, &h, err);
    case EMS_PGP_TAG_COMPRESSED:
        return open_compressed(m, &h, err);
    case EMS_PGP_TAG_LITERAL:
        rc = open_literal(m, &h, err);
        if (rc == EMS_OK)
            m->state = IN_LITERAL;
        return rc;
    case EMS_PGP_TAG_PKESK:
    case EMS_PGP_TAG_SKESK:
    case EMS_PGP_TAG_SED:
    case EMS_PGP_TAG_SEIPD:
    case EMS_PGP_TAG_AEAD:
        return ems_fail(err, EMS_PGP_LIMIT, "encrypted more than once: only one layer is opened");
    default:
        return ems_fail(err, EMS_PGP_MALFORMED, "a %s packet (tag %u) inside the encrypted data",
                        ems_pgp_tag_name(h.tag), h.tag);
    }
}

/* Only where the literal packet lies in the container itself. */
static void leave_bookmark(struct message *m)
{
    struct ems_literal_place place = {.offset = m->base.offset};

    if (m->bookmarks == NULL || m->level != 1 || m->facts->armored || m->facts->text_mode ||
        m->literal.held_used < m->literal.held_size)
        return;
    place.packets = m->levels[1].reader.offset - m->literal.span.size;
    ems_pgp_body_place(m->body, m->literal.span.size, &place.body);
    if (place.body.kind != EMS_PGP_INDETERMINATE)
        ems_bookmarks_literal(m->bookmarks, &place);
}

/* Lend literal data; an empty span if there is nothing to lend this time. */
static int in_literal(struct message *m, struct ems_span *span, struct ems_error *err)
{
    size_t max = m->facts->text_mode ? EMS_PGP_TEXT_SIZE : SIZE_MAX;
    int rc;

    leave_bookmark(m);
    rc = ems_reader_lend(&m->literal, max, span, err);
    if (rc == EMS_END) {
        m->state = AFTER_LITERAL;
        ems_pgp_text_finish(&m->text, span);
        return EMS_OK;
    }
    return rc == EMS_OK && m->facts->text_mode ? ems_pgp_text_convert(&m->text, span, err) : rc;
}

/* Behind the literal packet, on every level: signatures, and then its end. */
static int after_literal(struct message *m, struct ems_error *err)
{
    struct ems_reader *reader = &m->levels[m->level].reader;
    struct ems_pgp_header h;
    const uint8_t *data;
    size_t have;
    int rc;

    rc = ems_reader_peek(reader, EMS_PGP_HEADER_MAX, &data, &have, err);
    if (rc != EMS_OK)
        return rc;
    if (m->level == 0 && have > 0 && ems_pgp_header_parse(data, have, &h) < 0)
        return ems_fail(err, EMS_PGP_TRAILING, "something follows the end of the message");
    rc = ems_pgp_header_next(reader, &h, err);
    if (rc == EMS_END && m->level > 0) {
        ems_source_free(m->levels[m->level].stream);
        m->levels[m->level].stream = NULL;
        m->level--;
        return EMS_OK;
    }
    if (rc != EMS_OK)
        return rc;
    if (is_ignored(h.tag))
        return skip_extra(m, reader, &h, err);
    if (h.tag == EMS_PGP_TAG_SIGNATURE && m->level > 0)
        return note_signer(m, &h, err);
    if (m->level == 0)
        return ems_fail(err, EMS_PGP_TRAILING,
                        "a %s packet (tag %u) follows the end of the message",
                        ems_pgp_tag_name(h.tag), h.tag);
    return ems_fail(err, EMS_PGP_MALFORMED, "a %s packet (tag %u) follows the literal data",
                    ems_pgp_tag_name(h.tag), h.tag);
}

/* ---- the stage ---- */

/* Every turn consumes a packet or ends a level, so this comes to an end. */
static int step(struct message *m, struct ems_span *span, struct ems_error *err)
{
    int rc;

    for (;;) {
        switch (m->state) {
        case BEFORE_CONTAINER:
            rc = before_container(m, err);
            break;
        case BEFORE_LITERAL:
            rc = before_literal(m, err);
            break;
        case IN_LITERAL:
            rc = in_literal(m, span, err);
            if (rc != EMS_OK || span->size > 0)
                return rc;
            break;
        case AFTER_LITERAL:
            rc = after_literal(m, err);
            break;
        default:
            rc = EMS_INTERNAL;
            break;
        }
        if (rc != EMS_OK)
            return rc;
    }
}

/*
 * Something inside the container is wrong. Is it the sender's doing, or was the container damaged
 * on the way? Only its end knows, so we go there first, and the container's verdict outranks ours
 * (RFC 9580, section 13.7: what a damaged container decrypts to says nothing).
 */
static int settle(struct message *m, struct ems_error *inner, struct ems_error *err)
{
    struct ems_source *container = m->levels[1].stream;
    bool is_its_own = container->verdict != EMS_OK && container->verdict != EMS_END;
    struct ems_error outer = {0};
    int rc = is_its_own ? EMS_END : ems_source_drain(container, &outer);

    if (rc == EMS_END) {
        if (inner->code == EMS_PGP_TRUNCATED && !is_its_own)
            inner->code = EMS_PGP_MALFORMED; /* all has arrived: it was made like this */
        *err = *inner;
        return inner->code;
    }
    /* What was only cut is right up to its end. A damaged length in front of a chunk makes the rest
     * look cut. */
    if (rc == EMS_PGP_TRUNCATED && inner->code == EMS_PGP_MALFORMED && m->facts->partial_lengths)
        rc = EMS_PGP_MODIFIED;
    ems_fail(err, rc, "%.120s; inside, first: %.110s", outer.text, inner->text);
    err->stage = outer.stage;
    /* Damage is near the first oddity rather than at the end, where it was proven. */
    err->origin = rc == EMS_PGP_MODIFIED ? inner->origin : outer.origin;
    return rc;
}

/* A failure inside the container is first held against the container's own verdict; only what means
 * that we cannot go on (memory, a bug) is returned as it is. */
static int message_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct message *m = (struct message *)src;
    struct ems_error own = {0};
    int rc;

    rc = step(m, span, &own);
    /* While the container is open, its thread may be using the reader of level 0. */
    if (m->levels[1].stream != NULL)
        src->origin = m->levels[1].stream->origin;
    else
        src->origin = ems_reader_origin(&m->levels[0].reader);
    if (rc == EMS_OK || rc == EMS_END)
        return rc;
    if (own.origin == EMS_NOWHERE)
        own.origin = src->origin;
    if (m->levels[1].stream != NULL && rc != EMS_NO_MEMORY && rc != EMS_INTERNAL)
        return settle(m, &own, err);
    *err = own;
    return rc;
}

static void message_free(struct ems_source *src)
{
    struct message *m = (struct message *)src;

    ems_source_free(m->body);
    free(m->text.out);
    for (unsigned i = m->level; i > 0; i--)
        ems_source_free(m->levels[i].stream);
    ems_pgp_esks_release(&m->esks);
}

static const struct ems_source_ops message_ops = {"openpgp", message_next, message_free};

struct ems_source *ems_pgp_open(struct ems_source *below, const struct ems_pgp_options *options,
                                struct ems_error *err)
{
    struct message *m;

    if (below == NULL)
        return NULL;
    m = ems_source_alloc(sizeof *m, &message_ops, below, err);
    if (m == NULL)
        return NULL;
    m->facts = options->facts != NULL ? options->facts : &m->own_facts;
    memset(m->facts, 0, sizeof *m->facts);
    m->base.below =
        ems_pgp_armor_open(below, EMS_PGP_ARMOR_MESSAGE, false, &m->facts->armored, err);
    if (m->base.below == NULL) {
        ems_source_free(&m->base);
        return NULL;
    }
    m->levels[0].reader.below = m->base.below;
    m->allow_no_integrity = options->allow_no_integrity;
    m->threads = options->threads && !options->proven;
    m->proven = options->proven;
    m->bookmarks = options->bookmarks;
    m->esks.secrets = options->secrets;
    m->esks.facts = m->facts;
    m->unlock = (struct ems_pgp_unlock){.next = ems_pgp_esks_next,
                                        .refuse = ems_pgp_esks_refuse,
                                        .context = &m->esks,
                                        .spent = &m->esks.spent,
                                        .facts = m->facts,
                                        .bookmarks = options->bookmarks};
    return &m->base;
}
