/*
 * artifact_prove.c - an artifact some of whose parts lie here in copies that differ: read until it
 * proves right; see artifact.h.
 */
#include "artifact.h"

#include "part_copies.h"

#include <string.h>

/*
 * Can another copy of a part change this verdict? Not where the trouble is ours, nor where a
 * message that is intact (its MDC or tags were heard) holds something wrong. A wrong passphrase is
 * only as likely as anything else if the first part, which holds the session key, is in question.
 */
static bool may_be_the_copy(const struct ems_artifact *a, const struct ems_part_set *set)
{
    const char *code = ems_code_name(a->error);
    int status = ems_code_exit(a->error);

    if (a->error == EMS_OK || status >= 70 || a->error == EMS_PART_UNFINISHED || !set->whole)
        return false;
    if (status == 4)
        return set->others[0].rank == set->first;
    return !a->encrypted || strncmp(code, "pgp-", 4) == 0 || strncmp(code, "part-", 5) == 0 ||
           strncmp(code, "manifest-", 9) == 0;
}

static int check_again(struct ems_artifact *a, const struct ems_part_set *set,
                       const struct ems_check_options *o, struct ems_findings *findings)
{
    if (o->digests != NULL) {
        uint64_t block_size = o->digests->set.block_size;

        ems_set_digests_release(&o->digests->set);
        o->digests->unlocked.done = o->digests->unpacked.done = false;
        if (ems_set_digests_init(&o->digests->set, set, block_size, NULL) != EMS_OK)
            return EMS_NO_MEMORY;
    }
    if (o->watch_again != NULL)
        o->watch_again(o->watch_context);
    if (o->bytes_in != NULL)
        atomic_store(o->bytes_in, 0);
    return ems_artifact_check(a, set, NULL, NULL, o, findings);
}

int ems_artifact_prove(struct ems_artifact *a, struct ems_part_set *set,
                       const struct ems_check_options *o, struct ems_findings *findings)
{
    static const char proof[] = "with it everything decrypts and checks to its end";
    struct ems_part_tries tries = {0};
    struct ems_findings before = {0};
    size_t first = findings->count;
    uint64_t origin;
    int rc = ems_artifact_check(a, set, NULL, NULL, o, findings);
    struct ems_artifact at_first;

    if (rc != EMS_OK || set->other_count == 0)
        return rc;
    if (a->error == EMS_OK && a->verdict == EMS_VERDICT_VERIFIED)
        ems_part_tell_proven(set, NULL, proof, findings);
    if (!may_be_the_copy(a, set))
        return rc;
    /* The first verdict is the one that stays if no choice of copies is any better. */
    at_first = *a;
    origin = a->failed_at;
    if (!ems_findings_split(findings, first, &before))
        return EMS_NO_MEMORY;
    while (ems_part_try_next(set, &tries, origin)) {
        rc = check_again(a, set, o, findings);
        if (rc == EMS_OK && a->error == EMS_OK) {
            ems_part_tell_proven(set, NULL, proof, findings);
            ems_artifact_release(&at_first);
            ems_findings_release(&before);
            return EMS_OK;
        }
        origin = a->failed_at;
        ems_artifact_release(a);
        ems_findings_remove(findings, first, findings->count - first);
        if (rc != EMS_OK)
            break;
    }
    *a = at_first;
    ems_findings_move(findings, &before);
    return findings->out_of_memory ? EMS_NO_MEMORY : rc;
}
