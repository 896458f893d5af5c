/* manifest_make.c - from a hashed part set to the lines about it; see manifest.h */
#include "manifest.h"

#include <string.h>

static const char *suffix_name(const struct ems_part_set *set)
{
    if (!set->split)
        return "";
    return set->alphabet == EMS_PART_LETTERS  ? "alpha"
           : set->alphabet == EMS_PART_DIGITS ? "numeric"
                                              : "hex";
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
                         const struct ems_set_digests *digests, const char *kind, const char *enc,
                         struct ems_error *err)
{
    struct ems_manifest_artifact a = {.name = set->name,
                                      .kind = kind,
                                      .suffix = suffix_name(set),
                                      .enc = enc,
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
