/*
 * manifest_settle.c - several copies of a part that differ: the manifest says which one is right.
 *
 * Only the copies in question are read here, each once. What a size decides is not read at all.
 */
#include "manifest.h"

#include "bytes.h"
#include "part_copies.h"

#include <string.h>

/* The SHA-256 of one file, as if it were a set of its own. Not done if it cannot be read. */
static int hash_copy(const struct ems_part *part, const struct ems_digest_options *o,
                     struct ems_sha256 *out, struct ems_error *err)
{
    struct ems_part alone = *part;
    struct ems_part_set set = {
        .name = alone.name, .parts = &alone, .count = 1, .size = alone.size, .whole = true};
    struct ems_set_digests digests;
    struct ems_digest_job job = {.set = &set, .digests = &digests};
    int rc = ems_set_digests_init(&digests, &set, 0, err);

    if (rc != EMS_OK)
        return rc;
    alone.offset = 0;
    alone.status = EMS_PART_IS_OK;
    rc = ems_digest_run(&job, 1, o, err);
    *out = digests.parts[0];
    ems_set_digests_release(&digests);
    return rc;
}

/* Is the file as the entry says, as far as the entry says anything? */
static int is_right(const struct ems_manifest_entry *e, const struct ems_part *part,
                    const struct ems_digest_options *o, bool *right, struct ems_error *err)
{
    struct ems_sha256 sha256 = {0};
    int rc = EMS_OK;

    *right = e->size == EMS_NOWHERE || e->size == part->size;
    if (*right && e->sha256.done) {
        rc = hash_copy(part, o, &sha256, err);
        *right = sha256.done && ems_equal_ct(sha256.bytes, e->sha256.bytes, EMS_SHA256_SIZE);
    }
    return rc;
}

/* The one copy that is right becomes the part. With a size alone, several may be: then none. */
static int settle_part(struct ems_part_set *set, struct ems_part *part,
                       const struct ems_manifest_entry *e, const struct ems_digest_options *o,
                       struct ems_findings *findings, struct ems_error *err)
{
    struct ems_part *others, *chosen = NULL;
    size_t count = ems_part_others(set, part, &others), matches = 0;
    bool right;
    int rc = is_right(e, part, o, &right, err);

    matches = right;
    for (size_t i = 0; i < count && rc == EMS_OK && !(matches > 0 && e->sha256.done); i++) {
        rc = is_right(e, &others[i], o, &right, err);
        if (rc == EMS_OK && right && matches++ == 0)
            chosen = &others[i];
    }
    if (rc != EMS_OK || matches != 1)
        return rc;
    if (chosen != NULL)
        ems_part_exchange(part, chosen);
    part->status = EMS_PART_IS_OK;
    ems_part_drop_others(set, part);
    ems_part_tell_proven(set, part,
                         e->sha256.done ? "its SHA-256 is the one in the manifest"
                                        : "it has the size in the manifest",
                         findings);
    return EMS_OK;
}

int ems_manifest_settle(const struct ems_manifest *m, struct ems_upload *upload,
                        const struct ems_digest_options *o, struct ems_findings *findings,
                        struct ems_error *err)
{
    int rc = EMS_OK;

    for (size_t i = 0; i < upload->count; i++) {
        struct ems_part_set *set = &upload->sets[i];
        bool changed = false;

        for (size_t k = 0; k < set->count && set->other_count > 0 && rc == EMS_OK; k++) {
            struct ems_part *part = &set->parts[k], *others;
            const struct ems_manifest_entry *e = ems_manifest_find(m, part->name);

            if (e == NULL || part->path == NULL || ems_part_others(set, part, &others) == 0 ||
                ems_manifest_is_name(set->name))
                continue;
            rc = settle_part(set, part, e, o, findings, err);
            changed = true;
        }
        if (changed)
            ems_part_set_settle(set);
    }
    return rc;
}
