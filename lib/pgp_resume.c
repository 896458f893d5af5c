/*
 * pgp_resume.c - the literal data of a message in packet 18 version 1, entered in the middle; see
 * bookmark.h.
 *
 * Two packets are open there, one in the other: the container, whose body is ciphertext, and the
 * literal packet in what it decrypts to. Nothing is proven at their ends: who was at the beginning
 * has done that.
 */
#include "pgp_cipher.h"

#include "bookmark.h"
#include "pgp_packet.h"

struct resumed {
    struct ems_source base; /* below: the upload */
    struct ems_reader outer, inner;
    struct ems_source *cfb;  /* reads the container's body through `outer` */
    struct ems_source *body; /* of the literal packet, reads cfb through `inner` */
    uint64_t skip;           /* octets of cfb in front of the literal place */
};

static int resumed_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct resumed *r = (struct resumed *)src;
    struct ems_span passed;
    int rc = EMS_OK;

    while (rc == EMS_OK && r->skip > 0) {
        rc = ems_reader_lend(&r->inner, r->skip < SIZE_MAX ? (size_t)r->skip : SIZE_MAX, &passed,
                             err);
        if (rc == EMS_OK)
            r->skip -= passed.size;
        else if (rc == EMS_END)
            rc = ems_fail(err, EMS_PART_UNFINISHED, "the upload is not what it was");
    }
    if (rc == EMS_OK)
        rc = ems_source_next(r->body, span, err);
    if (rc == EMS_END) /* the rest of the container, then of the upload */
        rc = ems_source_drain(r->cfb, err);
    if (rc == EMS_END)
        rc = ems_source_drain(src->below, err);
    src->origin = ems_reader_origin(&r->outer);
    return rc;
}

static void resumed_free(struct ems_source *src)
{
    struct resumed *r = (struct resumed *)src;

    ems_source_free(r->body);
    ems_source_free(r->cfb);
}

static const struct ems_source_ops resumed_ops = {"openpgp", resumed_next, resumed_free};

struct ems_source *ems_pgp_resume(struct ems_source *below, const struct ems_pgp_session_key *key,
                                  const struct ems_cfb_place *cfb,
                                  const struct ems_literal_place *literal, struct ems_error *err)
{
    struct ems_source *ciphertext;
    struct resumed *r;

    if (below == NULL)
        return NULL;
    r = ems_source_alloc(sizeof *r, &resumed_ops, below, err);
    if (r == NULL)
        return NULL;
    r->outer.below = below;
    r->skip = literal->packets - cfb->packets;
    ciphertext = ems_pgp_body_resume(&r->outer, &cfb->body, err);
    if (ciphertext != NULL)
        r->cfb = ems_pgp_cfb_resume(ciphertext, key, cfb, err);
    r->inner.below = r->cfb;
    if (r->cfb != NULL)
        r->body = ems_pgp_body_resume(&r->inner, &literal->body, err);
    if (r->body == NULL) {
        ems_source_free(&r->base);
        return NULL;
    }
    return &r->base;
}
