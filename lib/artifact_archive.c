/* artifact_archive.c - see artifact_archive.h */
#include "artifact_archive.h"

#include "artifact_sqlite.h"
#include "media_export.h"
#include "media_store.h"

/* One row a kind of archive. The order is that in which they are asked to claim a member. */
static struct ems_walker *open_media_store(struct ems_artifact *a,
                                           const struct ems_check_options *o, struct ems_error *err)
{
    return ems_media_store_open(&a->media_ids, o->media_rows, err);
}

static const struct {
    enum ems_kind kind;
    struct ems_walker *(*open)(struct ems_artifact *, const struct ems_check_options *,
                               struct ems_error *);
} kinds[] = {
    {EMS_KIND_MEDIA_EXPORT, ems_media_export_open},
    {EMS_KIND_MEDIA_STORE, open_media_store},
    {EMS_KIND_SQLITE, ems_sqlite_walker_open},
};
#define KINDS (sizeof kinds / sizeof kinds[0])

/* Media come as archives only, so anything else under their names is refused as such. Of the other
 * kinds the content decides; a tar under a dump's name is left to the scanner, whose complaint
 * names what was expected. */
bool ems_artifact_is_archive(const struct ems_artifact *a, const struct ems_chain *chain)
{
    if (a->kind == EMS_KIND_MEDIA_EXPORT || a->kind == EMS_KIND_MEDIA_STORE)
        return true;
    return chain->content == EMS_CONTENT_TAR && a->kind != EMS_KIND_PG_DUMP;
}

/* Content that is something else for certain is called so; of the rest the tar reader complains. */
static int refuse_other(enum ems_content content, struct ems_error *err)
{
    switch (content) {
    case EMS_CONTENT_EMPTY:
        return ems_fail(err, EMS_TAR_EMPTY, "there is nothing in it, not even an archive");
    case EMS_CONTENT_SQL:
        return ems_fail(err, EMS_TAR_WRONG_CONTENT, "this is a database dump, not an archive");
    case EMS_CONTENT_SQLITE:
        return ems_fail(err, EMS_TAR_WRONG_CONTENT, "this is an SQLite database, not an archive");
    default:
        return EMS_OK;
    }
}

/* All kinds are opened, whatever the name promises: only so an archive under a wrong name is called
 * what it is. A kind that claims nothing costs nothing. */
static int walk(struct ems_artifact *a, struct ems_tar *tar, const struct ems_check_options *o,
                struct ems_findings *findings, struct ems_error *err)
{
    struct ems_walker *walkers[KINDS] = {NULL};
    struct ems_walk_options options = {.artifact = a->name,
                                       .walkers = walkers,
                                       .walker_count = KINDS,
                                       .expected = SIZE_MAX,
                                       .tick = o->tick,
                                       .tick_context = o->tick_context};
    int rc = EMS_OK;

    for (size_t i = 0; i < KINDS && rc == EMS_OK; i++) {
        walkers[i] = kinds[i].open(a, o, err);
        if (walkers[i] == NULL)
            rc = err->code;
        if (kinds[i].kind == a->kind)
            options.expected = i;
    }
    if (rc == EMS_OK)
        rc = ems_archive_walk(tar, &options, &a->archive, findings, &a->facts, err);
    for (size_t i = 0; i < KINDS; i++)
        if (walkers[i] != NULL)
            walkers[i]->ops->free(walkers[i]);
    if (rc != EMS_END || a->archive.kind == SIZE_MAX)
        return rc;
    if (a->kind == EMS_KIND_UNKNOWN)
        a->kind = kinds[a->archive.kind].kind;
    a->archive_known = a->kind == kinds[a->archive.kind].kind;
    return rc;
}

/* A failure of tar may only be the echo of one below (a cut message, a wrong CRC): settling drains
 * what is left and lets the lowest layer that failed have its word (chain.h). */
int ems_artifact_check_archive(struct ems_artifact *a, struct ems_chain *chain,
                               const struct ems_check_options *o, struct ems_findings *findings,
                               struct ems_error *err)
{
    size_t first = findings->count;
    struct ems_tar *tar;
    int rc = refuse_other(chain->content, err);

    if (rc != EMS_OK) {
        rc = ems_chain_settle(chain, err);
        a->bytes_out = chain->top->offset;
        return rc;
    }
    a->is_archive = true;
    tar = ems_tar_open(chain->top, err);
    if (tar == NULL) {
        chain->top = NULL;
        return err->code;
    }
    rc = walk(a, tar, o, findings, err);
    if (rc != EMS_END && ems_code_exit(rc) != 75)
        rc = ems_chain_settle(chain, err);
    a->bytes_out = chain->top->offset;
    ems_tar_free(tar);
    chain->top = NULL;
    /* What was refused has to be made again: the artifact is listed as to be sent. */
    for (size_t i = first; i < findings->count; i++)
        if (findings->items[i].severity == EMS_SEVERITY_ERROR)
            findings->items[i].resend = true;
    return rc;
}
