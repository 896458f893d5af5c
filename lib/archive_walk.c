/*
 * archive_walk.c - see archive_walk.h
 *
 * Members that the policy refuses are offered to no walker: an archive of such is refused for its
 * names, and what it might have been is not guessed at.
 */
#include "archive_walk.h"

#include "bytes.h"
#include "tar_policy.h"

#include <string.h>

struct walk {
    const struct ems_walk_options *o;
    struct ems_findings *findings;
    uint64_t links, unsafe;
    char link_path[200], link_target[200]; /* of the first symbolic link, printable */
};

/* The walker that says that this member is its own, or NULL. */
static int find_owner(const struct walk *w, const struct ems_tar_member *member,
                      struct ems_walker **owner, struct ems_error *err)
{
    *owner = NULL;
    for (size_t i = 0; i < w->o->walker_count && *owner == NULL; i++) {
        struct ems_walker *walker = w->o->walkers[i];
        bool claimed = false;
        int rc = walker->ops->begin(walker, member, &claimed, err);

        if (rc != EMS_OK)
            return rc;
        if (claimed) {
            walker->claimed++;
            *owner = walker;
        }
    }
    return EMS_OK;
}

/* ---- a member as a stage ---- */

struct member_source {
    struct ems_source base;
    struct ems_tar *tar;
};

static int member_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct ems_tar *tar = ((struct member_source *)src)->tar;
    int rc = ems_tar_data(tar, span, err);

    src->origin = rc == EMS_OK ? span->origin : ems_tar_below(tar)->origin;
    return rc;
}

static void member_free(struct ems_source *src)
{
    (void)src; /* the archive is not ours */
}

/* The bytes of the member at hand; ends where it ends. The archive must not be used otherwise until
 * the stage is freed. */
static struct ems_source *open_member(struct ems_tar *tar, struct ems_error *err)
{
    static const struct ems_source_ops ops = {"member", member_next, member_free};
    struct member_source *m = ems_source_alloc(sizeof *m, &ops, NULL, err);

    if (m == NULL)
        return NULL;
    m->tar = tar;
    return &m->base;
}

/* One member to its end; its bytes to whoever wants them. */
static int walk_member(struct walk *w, struct ems_tar *tar, const struct ems_tar_member *member,
                       bool safe, struct ems_error *err)
{
    struct ems_walker *owner = NULL;
    struct ems_span span;
    int rc = EMS_OK;

    if (member->type == EMS_TAR_SYMLINK && w->links++ == 0) {
        ems_printable(member->path, strlen(member->path), w->link_path, sizeof w->link_path);
        ems_printable(member->target, strlen(member->target), w->link_target,
                      sizeof w->link_target);
    }
    if (!safe)
        w->unsafe++; /* what it would have been is not asked any more */
    else
        rc = find_owner(w, member, &owner, err);
    if (rc == EMS_OK && owner != NULL && owner->ops->read != NULL) {
        struct ems_source *source = open_member(tar, err);

        rc = source != NULL ? owner->ops->read(owner, source, err) : err->code;
    }
    while (rc == EMS_OK && (rc = ems_tar_data(tar, &span, err)) == EMS_OK) {
        if (owner != NULL && owner->ops->read == NULL && owner->ops->data != NULL)
            rc = owner->ops->data(owner, &span, err);
        if (rc == EMS_OK && w->o->tick != NULL)
            rc = w->o->tick(w->o->tick_context, err);
    }
    if (rc == EMS_END)
        rc = owner != NULL && owner->ops->end != NULL ? owner->ops->end(owner, err) : EMS_OK;
    return rc;
}

/* Whose content is it? The promised kind if there is any of it, else what there is most of. */
static size_t find_kind(const struct ems_walk_options *o)
{
    size_t best = SIZE_MAX;

    if (o->expected < o->walker_count && o->walkers[o->expected]->claimed > 0)
        return o->expected;
    for (size_t i = 0; i < o->walker_count; i++)
        if (o->walkers[i]->claimed > 0 &&
            (best == SIZE_MAX || o->walkers[i]->claimed > o->walkers[best]->claimed))
            best = i;
    return best;
}

/* Is this what its name promises? */
static void judge_content(const struct walk *w, const struct ems_walk_result *r)
{
    const struct ems_walk_options *o = w->o;
    const char *promised =
        o->expected < o->walker_count ? o->walkers[o->expected]->ops->words : NULL;
    const char *hint = promised != NULL ? o->walkers[o->expected]->ops->hint : NULL;

    if (r->tar.members == 0)
        ems_findings_add(w->findings, EMS_TAR_EMPTY, EMS_SEVERITY_ERROR, o->artifact, NULL,
                         EMS_NOWHERE, hint, "the archive is complete, but there is nothing in it");
    else if (promised == NULL || r->kind == o->expected)
        return;
    else if (r->tar.files == 0 && w->links > 0)
        ems_findings_add(
            w->findings, EMS_TAR_WRONG_CONTENT, EMS_SEVERITY_ERROR, o->artifact, NULL, EMS_NOWHERE,
            "Give tar the real directory, or its option -h (follow links).",
            "no files in it, only a symbolic link: %s to %s", w->link_path, w->link_target);
    else if (r->tar.files == 0)
        ems_findings_add(w->findings, EMS_TAR_EMPTY, EMS_SEVERITY_ERROR, o->artifact, NULL,
                         EMS_NOWHERE, hint, "the archive holds directories, but no file");
    else if (r->kind != SIZE_MAX)
        ems_findings_add(w->findings, EMS_TAR_WRONG_CONTENT, EMS_SEVERITY_ERROR, o->artifact, NULL,
                         EMS_NOWHERE, NULL, "this is %s, where %s should be",
                         o->walkers[r->kind]->ops->words, promised);
    else if (w->unsafe == 0)
        ems_findings_add(w->findings, EMS_TAR_WRONG_CONTENT, EMS_SEVERITY_ERROR, o->artifact, NULL,
                         EMS_NOWHERE, hint, "nothing among its %llu files belongs to %s",
                         (unsigned long long)r->tar.files, promised);
}

int ems_archive_walk(struct ems_tar *tar, const struct ems_walk_options *o,
                     struct ems_walk_result *result, struct ems_findings *findings,
                     struct ems_facts *facts, struct ems_error *err)
{
    struct walk w = {.o = o, .findings = findings};
    struct ems_tar_policy *policy = ems_tar_policy_new(o->artifact, findings, err);
    const struct ems_tar_member *member;
    size_t first = findings->count;
    int rc;

    *result = (struct ems_walk_result){.kind = SIZE_MAX};
    if (policy == NULL)
        return err->code;
    while ((rc = ems_tar_next(tar, &member, err)) == EMS_OK) {
        bool safe;

        rc = ems_tar_policy_check(policy, member, &safe, err);
        if (rc == EMS_OK)
            rc = walk_member(&w, tar, member, safe, err);
        if (rc != EMS_OK)
            break;
    }
    result->tar = *ems_tar_facts(tar);
    result->kind = find_kind(o);
    ems_tar_policy_finish(policy);
    ems_tar_policy_free(policy);
    if (rc == EMS_END) {
        judge_content(&w, result);
        if (result->kind != SIZE_MAX) {
            struct ems_walker *walker = o->walkers[result->kind];

            facts->layer = walker->ops->layer;
            rc = walker->ops->finish(walker, o->artifact, findings, facts, err);
            rc = rc == EMS_OK ? EMS_END : rc;
        }
    }
    for (size_t i = first; i < findings->count && result->refused == EMS_OK; i++)
        if (findings->items[i].severity == EMS_SEVERITY_ERROR)
            result->refused = findings->items[i].code;
    return rc;
}
