/*
 * manifest_match.c - files against what the manifest says of them.
 *
 * An artifact may be listed whole, in parts, or both, and may be here whole or in parts. What is
 * proven in one form is not missed in the other; what is proven bad is named as small as possible:
 * a part before the whole, a block's range inside a file.
 */
#include "manifest.h"

#include "bytes.h"
#include "manifest_store.h"

#include <stdlib.h>
#include <string.h>

static void to_resend(struct ems_finding *f)
{
    if (f != NULL)
        f->resend = true;
}

/* Not in the manifest: somebody's other file, or (`related`) a part too many of something that is.
 */
static void report_extra(bool related, const char *artifact, const char *name,
                         struct ems_findings *findings)
{
    if (related)
        ems_findings_add(
            findings, EMS_MANIFEST_EXTRA, EMS_SEVERITY_ERROR, artifact, name, EMS_NOWHERE,
            "Move it out of the folder if it is of an earlier split; else make the "
            "manifest again.",
            "%s is not in the manifest, which lists other parts of %s", name, artifact);
    else
        ems_findings_add(findings, EMS_MANIFEST_EXTRA, EMS_SEVERITY_WARNING, artifact, name,
                         EMS_NOWHERE, NULL, "%s is not in the manifest: nothing vouches for it",
                         name);
}

/* Size and content of one listed file; sets the state. */
static bool compare(struct ems_manifest_entry *e, const char *artifact, uint64_t size,
                    const struct ems_sha256 *sha256, struct ems_findings *findings)
{
    e->state = EMS_MANIFEST_BAD;
    if (e->size != EMS_NOWHERE && e->size != size) {
        to_resend(ems_findings_add(findings, EMS_MANIFEST_SIZE, EMS_SEVERITY_ERROR, artifact,
                                   e->name, size < e->size ? size : e->size, NULL,
                                   "%s has %llu bytes, the manifest says %llu (proven)", e->name,
                                   (unsigned long long)size, (unsigned long long)e->size));
        return false;
    }
    if (sha256 != NULL && sha256->done && e->sha256.done &&
        !ems_equal_ct(sha256->bytes, e->sha256.bytes, EMS_SHA256_SIZE)) {
        to_resend(ems_findings_add(
            findings, EMS_MANIFEST_DIGEST, EMS_SEVERITY_ERROR, artifact, e->name, EMS_NOWHERE, NULL,
            "%s is damaged: its SHA-256 is not the one in the manifest (proven)", e->name));
        return false;
    }
    e->state = EMS_MANIFEST_GOOD;
    return true;
}

bool ems_manifest_match(struct ems_manifest *m, const char *artifact, const char *name,
                        uint64_t size, const struct ems_sha256 *sha256,
                        struct ems_findings *findings)
{
    struct ems_manifest_entry *e = ems_manifest_find(m, name);

    if (e != NULL)
        return compare(e, artifact, size, sha256, findings);
    report_extra(ems_manifest_part_stem(name) > 0 && ems_manifest_find(m, artifact) != NULL,
                 artifact, name, findings);
    return true;
}

/* ---- a set ---- */

static bool proves(const struct ems_manifest_entry *e, const struct ems_sha256 *sha256)
{
    return e != NULL && e->state == EMS_MANIFEST_GOOD && e->sha256.done && sha256 != NULL &&
           sha256->done;
}

/* Which byte ranges of a damaged file are: a tool that can, sends only those again. */
static void report_blocks(const struct ems_manifest *m, const struct ems_part_set *set,
                          const struct ems_set_digests *digests, struct ems_findings *findings)
{
    uint64_t first = EMS_NOWHERE, last = 0, bad = 0;

    for (size_t i = 0; i < m->block_count; i++) {
        const struct ems_manifest_block *b = &m->blocks[i];

        if (strcmp(b->name, set->name) != 0 || b->size != digests->block_size ||
            b->index >= digests->block_count || !digests->blocks[b->index].done ||
            ems_equal_ct(b->sha256.bytes, digests->blocks[b->index].bytes, EMS_SHA256_SIZE))
            continue;
        bad++;
        if (b->index * b->size < first)
            first = b->index * b->size;
        if (b->index * b->size + b->size > last)
            last = b->index * b->size + b->size;
    }
    if (bad > 0)
        ems_findings_add(findings, EMS_MANIFEST_DIGEST, EMS_SEVERITY_NOTE, set->name, set->name,
                         first, NULL,
                         "the damage lies in %llu blocks between byte %llu and byte %llu",
                         (unsigned long long)bad, (unsigned long long)first,
                         (unsigned long long)(last < set->size ? last : set->size));
}

/*
 * A browser (Safari) may have unpacked what it downloaded, keeping the name or taking ".gz" off:
 * then the bytes that the inner line for gzip describes are here, and the outer checksum cannot be
 * checked any more. What is encrypted is immune to that.
 */
static bool is_unpacked(struct ems_manifest *m, const struct ems_part_set *set,
                        const struct ems_set_digests *digests, struct ems_findings *findings)
{
    for (size_t i = 0; i < ems_manifest_inners(m) && !set->split; i++) {
        const struct ems_manifest_inner *inner = &m->inners[i];
        struct ems_manifest_entry *e;
        size_t n = strlen(set->name);

        if (strcmp(inner->layer, "gzip") != 0 || inner->size != set->size ||
            strncmp(inner->name, set->name, n) != 0 ||
            (inner->name[n] != '\0' && strcmp(inner->name + n, ".gz") != 0) ||
            (digests != NULL &&
             (!digests->whole.done ||
              !ems_equal_ct(digests->whole.bytes, inner->sha256.bytes, EMS_SHA256_SIZE))))
            continue;
        e = ems_manifest_find(m, inner->name);
        if (e == NULL || e->size == set->size)
            continue;
        e->state = EMS_MANIFEST_GOOD;
        ems_findings_add(
            findings, EMS_MANIFEST_DIGEST, EMS_SEVERITY_NOTE, set->name, set->name, EMS_NOWHERE, "",
            "%s was unpacked on the way; %s, so its outer checksum is not needed", set->name,
            digests != NULL ? "what was in it is as the manifest says"
                            : "it has the size that the manifest says of its content");
        return true;
    }
    return false;
}

static void match_parts(struct ems_manifest *m, const struct ems_part_set *set,
                        const struct ems_set_digests *digests, struct ems_manifest_verdict *v,
                        struct ems_findings *findings)
{
    v->whole = true;
    for (size_t i = 0; i < set->count; i++)
        v->listed += set->parts[i].path != NULL && ems_manifest_find(m, set->parts[i].name) != NULL;
    for (size_t i = 0; i < set->count; i++) {
        const struct ems_part *part = &set->parts[i];
        const struct ems_sha256 *sha256 = digests != NULL ? &digests->parts[i] : NULL;
        struct ems_manifest_entry *e = ems_manifest_find(m, part->name);

        if (part->path == NULL) {
            v->whole = false;
            continue;
        }
        if (e == NULL && part->status == EMS_PART_IS_STALE)
            continue; /* the resolver has told that it is not used */
        if (e == NULL) {
            v->whole = false;
            /* With none of its parts listed, the assembled bytes will tell. */
            if (!set->split || v->listed > 0 || ems_manifest_find(m, set->name) == NULL)
                report_extra(set->split && v->listed > 0, set->name, part->name, findings);
            continue;
        }
        if (!compare(e, set->name, part->size, sha256, findings))
            v->bad++;
        if (proves(e, sha256))
            v->proven++;
        else
            v->whole = false;
    }
    if (v->bad > 0 && digests != NULL && digests->block_count > 0)
        report_blocks(m, set, digests, findings);
}

/* The assembled bytes of parts against the listed whole file. */
static void match_assembled(struct ems_manifest *m, const struct ems_part_set *set,
                            const struct ems_set_digests *digests, struct ems_manifest_verdict *v,
                            struct ems_findings *findings)
{
    struct ems_manifest_entry *e = ems_manifest_find(m, set->name);
    const struct ems_sha256 *sha256 = digests != NULL ? &digests->whole : NULL;
    struct ems_finding *f = NULL;
    size_t parts_listed = v->listed;

    if (e == NULL)
        return;
    v->listed++;
    if (e->parts > parts_listed)
        return; /* some are not here: that is what will be said */
    e->state = EMS_MANIFEST_BAD;
    if (v->bad > 0 || !set->whole)
        return; /* said already, of the parts */
    if (e->size != EMS_NOWHERE && e->size != set->size)
        f = ems_findings_add(findings, EMS_MANIFEST_SIZE, EMS_SEVERITY_ERROR, set->name, NULL,
                             EMS_NOWHERE, NULL,
                             "the parts of %s have %llu bytes together, the manifest says %llu",
                             set->name, (unsigned long long)set->size, (unsigned long long)e->size);
    else if (sha256 != NULL && sha256->done && e->sha256.done &&
             !ems_equal_ct(sha256->bytes, e->sha256.bytes, EMS_SHA256_SIZE))
        f = ems_findings_add(findings, EMS_MANIFEST_DIGEST, EMS_SEVERITY_ERROR, set->name, NULL,
                             EMS_NOWHERE, NULL,
                             v->whole ? "each part of %s is as the manifest says, but together "
                                        "they are not the file that it names"
                                      : "the parts of %s together are not the file in the manifest",
                             set->name);
    else
        e->state = EMS_MANIFEST_GOOD;
    to_resend(f);
    v->bad += e->state == EMS_MANIFEST_BAD;
    if (proves(e, sha256)) {
        v->proven++;
        v->whole = true;
    }
}

int ems_manifest_match_set(struct ems_manifest *m, const struct ems_part_set *set,
                           const struct ems_set_digests *digests, struct ems_manifest_verdict *v,
                           struct ems_findings *findings)
{
    *v = (struct ems_manifest_verdict){0};
    if (is_unpacked(m, set, digests, findings)) {
        v->listed = 1;
        v->proven = v->whole = digests != NULL;
        return findings->out_of_memory ? EMS_NO_MEMORY : EMS_OK;
    }
    match_parts(m, set, digests, v, findings);
    if (set->split)
        match_assembled(m, set, digests, v, findings);
    if (v->bad > 0)
        v->whole = false;
    return findings->out_of_memory ? EMS_NO_MEMORY : EMS_OK;
}

/* ---- the end ---- */

/* The artifact that an entry is a part of; false if it is none. */
static bool owner_of(const struct ems_manifest_entry *e, char owner[EMS_MANIFEST_NAME_MAX + 1])
{
    const char *from = e->of != NULL ? e->of : e->name;
    size_t n = e->of != NULL ? strlen(e->of) : ems_manifest_part_stem(e->name);

    if (n == 0 || n > EMS_MANIFEST_NAME_MAX)
        return false;
    memcpy(owner, from, n);
    owner[n] = '\0';
    return true;
}

/* Entries that nothing was compared with; of one artifact, or (NULL) of all. */
static size_t report_missing(struct ems_manifest *m, const char *artifact,
                             struct ems_findings *findings)
{
    size_t missing = 0;

    for (size_t i = 0; i < m->entry_count; i++) {
        struct ems_manifest_entry *e = &m->entries[i];
        const struct ems_manifest_entry *whole = NULL;
        char owner[EMS_MANIFEST_NAME_MAX + 1];
        bool is_part;

        /* What has parts leaves it to them to be missed; a part is not missed if the whole was
         * compared, as a file or because all its parts are here. */
        if (e->state != EMS_MANIFEST_UNSEEN || e->parts > 0 || ems_manifest_is_name(e->name))
            continue;
        is_part = owner_of(e, owner);
        if (is_part)
            whole = ems_manifest_find(m, owner);
        if ((whole != NULL && whole->state != EMS_MANIFEST_UNSEEN) ||
            (artifact != NULL && (!is_part || strcmp(owner, artifact) != 0)))
            continue;
        missing++;
        e->state = EMS_MANIFEST_BAD; /* said once */
        to_resend(ems_findings_add(findings, EMS_MANIFEST_MISSING, EMS_SEVERITY_ERROR,
                                   is_part ? owner : e->name, e->name, EMS_NOWHERE, NULL,
                                   "%s is in the manifest, but not here (proven)", e->name));
    }
    return missing;
}

size_t ems_manifest_match_end(struct ems_manifest *m, struct ems_findings *findings)
{
    return report_missing(m, NULL, findings);
}

size_t ems_manifest_match_tail(struct ems_manifest *m, const struct ems_part_set *set,
                               struct ems_findings *findings)
{
    const struct ems_manifest_entry *whole = ems_manifest_find(m, set->name);
    size_t listed = 0;

    for (size_t i = 0; i < set->count && set->split; i++) {
        struct ems_manifest_entry *e = ems_manifest_find(m, set->parts[i].name);

        if (e == NULL)
            continue;
        listed++;
        if (set->parts[i].path == NULL)
            e->state = EMS_MANIFEST_BAD; /* the resolver has told that it is missing */
    }
    /* All of them are accounted for: no need to look through the whole manifest. */
    if (!set->split ||
        (whole != NULL && (whole->parts == listed || whole->state == EMS_MANIFEST_GOOD)))
        return 0;
    return report_missing(m, set->name, findings);
}

/* ---- a directory ---- */

/* Blocks are hashed only where the manifest has some. */
static uint64_t block_size_of(const struct ems_manifest *m, const char *name)
{
    for (size_t i = 0; i < m->block_count; i++)
        if (strcmp(m->blocks[i].name, name) == 0)
            return m->blocks[i].size;
    return 0;
}

/* Hashing is for what can be compared: a file of the wrong size or that nothing lists is not read.
 */
static bool worth_hashing(const struct ems_manifest *m, const struct ems_part_set *set)
{
    const struct ems_manifest_entry *e = ems_manifest_find(m, set->name);
    bool listed = e != NULL;

    for (size_t i = 0; i < ems_manifest_inners(m); i++) /* unpacked on the way, perhaps */
        if (m->inners[i].size == set->size)
            return !ems_manifest_is_name(set->name);
    for (size_t i = 0; i < set->count && !listed; i++)
        listed = ems_manifest_find(m, set->parts[i].name) != NULL;
    return listed && !ems_manifest_is_name(set->name) &&
           !(e != NULL && !set->split && e->size != EMS_NOWHERE && e->size != set->size);
}

/* Digests of every set that is worth it; a set that cannot be read to its end is a finding. */
static int hash_upload(const struct ems_manifest *m, const struct ems_upload *upload,
                       const struct ems_digest_options *o, struct ems_set_digests *digests,
                       struct ems_findings *findings, struct ems_error *err)
{
    struct ems_digest_job *jobs = calloc(upload->count + 1, sizeof *jobs);
    size_t count = 0;
    int rc = jobs != NULL ? EMS_OK : ems_fail_memory(err);

    for (size_t i = 0; i < upload->count && rc == EMS_OK; i++) {
        const struct ems_part_set *set = &upload->sets[i];

        if (!worth_hashing(m, set))
            continue;
        rc = ems_set_digests_init(&digests[i], set, block_size_of(m, set->name), err);
        jobs[count++] = (struct ems_digest_job){.set = set, .digests = &digests[i]};
    }
    if (rc == EMS_OK)
        rc = ems_digest_run(jobs, count, o, err);
    for (size_t i = 0; i < count && rc == EMS_OK; i++)
        if (jobs[i].error.code != EMS_OK)
            ems_findings_add(findings, jobs[i].error.code, EMS_SEVERITY_ERROR, jobs[i].set->name,
                             NULL, EMS_NOWHERE, NULL, "%s", jobs[i].error.text);
    free(jobs);
    return rc;
}

/* What the resolver says of files that the manifest knows better is left out. */
static void take_over_findings(const struct ems_manifest *m, const struct ems_findings *from,
                               struct ems_findings *to)
{
    for (size_t i = 0; i < from->count; i++) {
        const struct ems_finding *f = &from->items[i], *copy;

        if (f->part != NULL && ems_manifest_find(m, f->part) != NULL &&
            !(f->code == EMS_PART_CONFLICT && f->severity == EMS_SEVERITY_NOTE))
            continue;
        copy = ems_findings_add(to, f->code, f->severity, f->artifact, f->part, f->offset,
                                f->advice, "%s", f->message);
        if (copy != NULL)
            to->items[to->count - 1].resend = f->resend;
    }
    to->out_of_memory |= from->out_of_memory;
}

int ems_manifest_verify_upload(struct ems_manifest *m, const struct ems_upload *upload,
                               const struct ems_findings *resolved,
                               const struct ems_manifest_options *o,
                               struct ems_manifest_verdict *verdicts, struct ems_findings *findings,
                               struct ems_error *err)
{
    static const struct ems_manifest_options defaults;
    struct ems_set_digests *digests = calloc(upload->count + 1, sizeof *digests);
    int rc = digests != NULL ? EMS_OK : ems_fail_memory(err);

    if (o == NULL)
        o = &defaults;
    if (resolved != NULL)
        take_over_findings(m, resolved, findings);
    if (rc == EMS_OK && !o->fast)
        rc = hash_upload(m, upload, &o->digest, digests, findings, err);
    for (size_t i = 0; i < upload->count && rc == EMS_OK; i++) {
        const struct ems_part_set *set = &upload->sets[i];

        verdicts[i] = (struct ems_manifest_verdict){0};
        if (!ems_manifest_is_name(set->name) &&
            ems_manifest_match_set(m, set, digests[i].parts != NULL ? &digests[i] : NULL,
                                   &verdicts[i], findings) != EMS_OK)
            rc = ems_fail_memory(err);
    }
    if (rc == EMS_OK)
        ems_manifest_match_end(m, findings);
    for (size_t i = 0; digests != NULL && i < upload->count; i++)
        ems_set_digests_release(&digests[i]);
    free(digests);
    return rc;
}

int ems_manifest_verify_directory(const char *directory, const struct ems_manifest_options *o,
                                  struct ems_findings *findings, struct ems_error *err)
{
    struct ems_manifest *m = NULL;
    struct ems_manifest_verdict *verdicts = NULL;
    struct ems_findings resolved = {0};
    struct ems_upload upload;
    const struct ems_part_set *set;
    int rc = ems_upload_resolve(&upload, &directory, 1, &resolved, err);

    if (rc != EMS_OK)
        goto out;
    set = ems_manifest_of_upload(&upload);
    verdicts = calloc(upload.count + 1, sizeof *verdicts);
    if (verdicts == NULL)
        rc = ems_fail_memory(err);
    else if (set == NULL)
        rc = ems_fail(err, EMS_MANIFEST_MISSING, "there is no %s in %s", EMS_MANIFEST_FILE_NAME,
                      directory);
    else
        rc = ems_manifest_read(&m, ems_parts_open(set, err), set->name, findings, err);
    if (rc == EMS_OK)
        rc = ems_manifest_settle(m, &upload, o != NULL ? &o->digest : NULL, &resolved, err);
    if (rc == EMS_OK)
        rc = ems_manifest_verify_upload(m, &upload, &resolved, o, verdicts, findings, err);
    ems_manifest_free(m);
    free(verdicts);
    ems_upload_release(&upload);
out:
    ems_findings_release(&resolved);
    return rc;
}
