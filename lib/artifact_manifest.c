/* artifact_manifest.c - see artifact_manifest.h */
#include "artifact_manifest.h"

#include "bytes.h"
#include "manifest_store.h"

#include <stdlib.h>
#include <string.h>

/* Did the chain get to see every part? */
static bool all_done(const struct ems_part_set *set, const struct ems_set_digests *digests)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->parts[i].path != NULL && set->parts[i].status != EMS_PART_IS_STALE &&
            !digests->parts[i].done)
            return false;
    return !set->whole || digests->whole.done;
}

static int read_rest(struct ems_artifact *a, struct ems_set_digests *digests,
                     const struct ems_check_options *o, struct ems_findings *findings)
{
    struct ems_digest_job job = {.set = a->set, .digests = digests};
    struct ems_digest_options options = {
        .threads = 1, .tick = o->tick, .tick_context = o->tick_context};
    struct ems_error err = {0};
    int rc = ems_digest_run(&job, 1, &options, &err);

    if (rc != EMS_OK)
        return rc;
    if (job.error.code != EMS_OK && a->error == EMS_OK)
        ems_artifact_fail(a, &job.error, findings);
    return EMS_OK;
}

/* Another advice than the code's own; without memory for it the old one stays. */
static void advise(struct ems_finding *f, const char *advice)
{
    char *copy = strdup(advice);

    if (copy == NULL)
        return;
    free(f->advice);
    f->advice = copy;
}

/* What decoding found, findings first..end-1, now that the manifest has told more. */
static void settle_findings(const struct ems_artifact *a, const struct ems_manifest_verdict *v,
                            struct ems_findings *findings, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++) {
        struct ems_finding *f = &findings->items[i];

        if (!f->resend || ems_code_exit(f->code) != 1)
            continue;
        if (v->bad > 0) {
            f->resend = false; /* a suspect; the proven ones follow */
            advise(f, "The manifest tells which file it is: see there.");
        } else if (v->whole && a->encrypted) {
            free(f->part);
            f->part = NULL;
            advise(f, "Every byte is as the customer's manifest says, so the file was already like "
                      "this there: make the export again, and encrypt it again.");
        }
    }
}

/* A size that is wrong was told by the resolver, if it could see that: once is enough. Findings
 * from `from` on are in the order of the parts. */
static void drop_repeated(const struct ems_part_set *set, struct ems_findings *findings,
                          size_t from)
{
    size_t i = from;

    for (size_t k = 0; k < set->count && i < findings->count; k++) {
        const struct ems_part *part = &set->parts[k];

        if (findings->items[i].part == NULL || strcmp(findings->items[i].part, part->name) != 0)
            continue;
        if (findings->items[i].code == EMS_MANIFEST_SIZE &&
            (part->status == EMS_PART_IS_EMPTY || part->status == EMS_PART_IS_TRUNCATED ||
             part->status == EMS_PART_IS_FOREIGN))
            ems_findings_remove(findings, i, 1);
        else
            i++;
    }
}

/* The outside: the set's parts as the manifest names them. */
static int match_set(struct ems_artifact *a, struct ems_set_digests *digests,
                     const struct ems_check_options *o, size_t first, struct ems_findings *findings)
{
    struct ems_manifest_verdict v;
    size_t decoded, missing;
    int rc = EMS_OK;

    if (!all_done(a->set, digests) && ems_code_exit(a->error) != 75)
        rc = read_rest(a, digests, o, findings);
    decoded = findings->count;
    if (rc == EMS_OK)
        rc = ems_manifest_match_set(o->manifest, a->set, digests, &v, findings);
    if (rc != EMS_OK)
        return rc;
    drop_repeated(a->set, findings, decoded);
    settle_findings(a, &v, findings, first, decoded);
    missing = ems_manifest_match_tail(o->manifest, a->set, findings);
    if (missing > 0 && a->error == EMS_OK) {
        a->verdict = EMS_VERDICT_INCOMPLETE;
        a->error = EMS_MANIFEST_MISSING;
    }
    a->in_manifest = v.whole;
    if (v.bad > 0 && a->verdict != EMS_VERDICT_UNDECRYPTABLE) {
        a->verdict = EMS_VERDICT_DAMAGED;
        a->error = a->error != EMS_OK ? a->error : EMS_MANIFEST_DIGEST;
    } else if (v.whole && a->verdict == EMS_VERDICT_UNCHECKED && a->error == EMS_OK) {
        a->verdict = EMS_VERDICT_VERIFIED; /* a plain file has no other layer */
    }
    return EMS_OK;
}

int ems_artifact_match_all(struct ems_artifact *a, struct ems_artifact_digests *digests,
                           const struct ems_check_options *o, size_t first,
                           struct ems_findings *findings)
{
    bool was_read = a->error == EMS_OK && a->bytes_in > 0;
    size_t differences = 0, before;
    int rc = match_set(a, &digests->set, o, first, findings);

    if (rc != EMS_OK || a->error != EMS_OK || !was_read)
        return rc;
    before = findings->count;
    rc = ems_manifest_match_inside(o->manifest, a, digests, findings, &differences);
    if (rc == EMS_OK && differences > 0) {
        a->verdict = EMS_VERDICT_DAMAGED;
        a->error = findings->items[before].code;
    }
    return rc;
}

bool ems_artifact_match_read(struct ems_artifact *a, struct ems_manifest *m,
                             struct ems_set_digests *digests, size_t first,
                             struct ems_findings *findings)
{
    const struct ems_check_options options = {.manifest = m};

    if (match_set(a, digests, &options, first, findings) != EMS_OK)
        findings->out_of_memory = true;
    return !findings->out_of_memory && a->error == EMS_OK;
}

static bool is_copy(const char *name)
{
    size_t n = strlen(name);

    return n > 4 && (strcmp(name + n - 4, ".gpg") == 0 || strcmp(name + n - 4, ".asc") == 0 ||
                     strcmp(name + n - 4, ".sig") == 0);
}

/* Decrypt to the end: the SHA-256 of what is inside. EMS_END or the error. */
static int read_copy(struct ems_artifact *a, const struct ems_check_options *o,
                     struct ems_sha256 *inside, struct ems_error *err)
{
    struct ems_chain_options options = {.secrets = o->secrets,
                                        .allow_no_integrity = o->allow_no_integrity,
                                        .keep_gzip = true,
                                        .no_threads = true,
                                        .unlocked = inside};
    struct ems_chain chain;
    int rc = ems_chain_open(&chain, ems_parts_open(a->set, err), &options, err);

    if (rc == EMS_OK)
        rc = ems_source_drain(chain.top, err);
    ems_artifact_take_chain(a, &chain);
    ems_chain_close(&chain);
    return rc;
}

int ems_artifact_match_copy(struct ems_artifact *a, const struct ems_check_options *o,
                            struct ems_findings *findings)
{
    struct ems_sha256 inside = {0};
    struct ems_error err = {0};
    char hex[17];
    int rc;

    if (!is_copy(a->name)) {
        if (o->manifest->level > 0)
            a->verdict = EMS_VERDICT_VERIFIED;
        return EMS_OK;
    }
    rc = read_copy(a, o, &inside, &err);
    if (rc == EMS_NO_MEMORY)
        return rc;
    ems_hex(inside.bytes, 8, hex);
    if (rc != EMS_END && (ems_code_exit(rc) == 4 || ems_code_exit(rc) == 75)) {
        ems_artifact_fail(a, &err, findings);
    } else if (rc != EMS_END || !inside.done) {
        ems_findings_add(findings, EMS_PGP_UNSUPPORTED, EMS_SEVERITY_NOTE, a->name, NULL,
                         EMS_NOWHERE, "", "not an encrypted copy of the manifest; not checked");
    } else if (strcmp(hex, o->manifest->fingerprint) == 0) {
        a->verdict = EMS_VERDICT_VERIFIED;
        ems_findings_add(findings, EMS_MANIFEST_DIGEST, EMS_SEVERITY_NOTE, a->name, NULL,
                         EMS_NOWHERE, "", "the encrypted copy matches the manifest");
    } else {
        a->verdict = EMS_VERDICT_DAMAGED;
        a->error = EMS_MANIFEST_DIGEST;
        ems_findings_add(findings, EMS_MANIFEST_DIGEST, EMS_SEVERITY_ERROR, a->name, NULL,
                         EMS_NOWHERE, "Ask the customer which of the two is right.",
                         "the encrypted copy is not the manifest that lies here");
    }
    return EMS_OK;
}
