/* manifest_make.c - from what was read of an artifact to the lines about it; see manifest.h */
#include "manifest.h"

#include "artifact.h"
#include "bytes.h"
#include "manifest_store.h"

#include <gcrypt.h>
#include <stdio.h>
#include <string.h>

int ems_manifest_make_upload_id(struct ems_manifest *m, struct ems_error *err)
{
    uint8_t b[16];
    char hex[33], text[37];

    gcry_create_nonce(b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    ems_hex(b, sizeof b, hex);
    snprintf(text, sizeof text, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
             hex + 20);
    return ems_manifest_set(m, &m->upload_id, text, err);
}

/* ---- the outside ---- */

/* The format's words for what an artifact is; a database dump is older there than in our reports.
 */
static const char *kind_word(const char *name)
{
    enum ems_kind kind = ems_kind_of_name(name);

    return kind == EMS_KIND_PG_DUMP ? "db-dump" : ems_kind_name(kind);
}

static const char *suffix_word(const struct ems_part_set *set)
{
    if (!set->split)
        return "";
    return set->alphabet == EMS_PART_LETTERS  ? "alpha"
           : set->alphabet == EMS_PART_DIGITS ? "numeric"
                                              : "hex";
}

/* By the first packet: a session key for a passphrase (tag 3) or for a public key (tag 1; RFC 9580,
 * sections 4.2 and 5). */
static const char *encryption_word(const struct ems_part_set *set)
{
    struct ems_source *src = ems_parts_open(set, NULL);
    const char *word = "";
    struct ems_span span;

    if (src != NULL && ems_source_next(src, &span, NULL) == EMS_OK &&
        ems_pgp_probe(span.data, span.size) == 1 && (span.data[0] & 0x80) != 0) {
        unsigned tag = (span.data[0] & 0x40) != 0 ? span.data[0] & 0x3f : span.data[0] >> 2 & 0x0f;

        word = tag == 3 ? "gpg-symmetric" : tag == 1 ? "gpg-public" : "";
    }
    ems_source_free(src);
    return word;
}

static int add_parts(struct ems_manifest *m, const struct ems_part_set *set,
                     const struct ems_set_digests *digests, struct ems_error *err)
{
    uint64_t place = 0;
    int rc = EMS_OK;

    for (size_t i = 0; i < set->count && rc == EMS_OK; i++) {
        const struct ems_part *part = &set->parts[i];

        if (part->status == EMS_PART_IS_STALE) /* not part of the artifact */
            continue;
        rc = ems_manifest_add_part(m, part->name, set->name, place++, part->offset, part->size,
                                   &digests->parts[i], err);
    }
    return rc;
}

int ems_manifest_add_set(struct ems_manifest *m, const struct ems_part_set *set,
                         const struct ems_set_digests *digests, struct ems_error *err)
{
    struct ems_manifest_artifact a = {.name = set->name,
                                      .kind = kind_word(set->name),
                                      .suffix = suffix_word(set),
                                      .enc = encryption_word(set),
                                      .part_size = set->split ? set->part_size : 0};
    int rc;

    for (size_t i = 0; i < set->count; i++) {
        if (set->parts[i].status == EMS_PART_IS_STALE)
            continue;
        a.size += set->parts[i].size;
        a.parts += set->split;
    }
    rc = ems_manifest_add_artifact(m, &a, err);
    if (rc == EMS_OK && set->split)
        rc = add_parts(m, set, digests, err);
    if (rc == EMS_OK)
        rc = ems_manifest_add(m, set->name, a.size, &digests->whole, err);
    for (size_t i = 0; i < digests->block_count && rc == EMS_OK; i++) {
        struct ems_manifest_block b = {.name = set->name,
                                       .size = digests->block_size,
                                       .index = i,
                                       .sha256 = digests->blocks[i]};

        rc = ems_manifest_add_block(m, &b, err);
    }
    return rc;
}

/* ---- the inside ---- */

static int add_layer(struct ems_manifest *m, const char *name, const char *layer, uint64_t size,
                     const struct ems_sha256 *sha256, struct ems_error *err)
{
    struct ems_manifest_inner inner = {
        .name = name, .layer = layer, .size = size, .sha256 = *sha256};

    return sha256->done ? ems_manifest_add_inner(m, &inner, err) : EMS_OK;
}

int ems_manifest_add_inside(struct ems_manifest *m, const struct ems_artifact *a,
                            const struct ems_artifact_digests *digests, struct ems_error *err)
{
    /* The scanner lets nothing but UTF-8 pass. */
    struct ems_manifest_sqldump dump = {.of = a->name,
                                        .server = a->sql.server_version,
                                        .dump = a->sql.dump_version,
                                        .encoding = "UTF8",
                                        .complete = a->sql.complete};
    struct ems_manifest_media media;
    int rc = add_layer(m, a->name, "gpg", a->gzipped ? a->gzip.bytes_in : a->bytes_out,
                       &digests->unlocked, err);

    if (rc == EMS_OK)
        rc = add_layer(m, a->name, "gzip", a->gzip.bytes_out, &digests->unpacked, err);
    if (rc == EMS_OK && a->is_sql)
        rc = ems_manifest_add_sqldump(m, &dump, err);
    for (size_t i = 0; a->is_sql && i < a->sql.table_count && rc == EMS_OK; i++) {
        struct ems_manifest_table t = {.name = a->sql.tables[i].name,
                                       .rows = a->sql.tables[i].rows};

        rc = ems_manifest_add_table(m, &t, err);
    }
    if (rc == EMS_OK && ems_manifest_media_of(a, &media))
        rc = ems_manifest_add_media(m, &media, err);
    return rc;
}
