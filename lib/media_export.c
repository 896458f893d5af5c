/*
 * media_export.c - see media_export.h
 *
 * The inner archive's bytes come as a stage from the outer one (archive_walk.h), and the usual
 * stages stand on it, so that every layer proves its own end:
 *
 *     outer tar > member > gzip > limit > [relay] > tar > SHA-256
 *
 * Below the relay everything runs on its thread, the outer archive too; hashing is most of the work
 * and has a processor for itself.
 */
#include "media_export.h"

#include "media_export_state.h"
#include "observe.h"
#include "relay.h"
#include "tar_policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREAD_WORTH (1u << 20) /* bytes of an inner archive that a thread is started for */

/* Inner archives must not grow without end either. Media hardly shrink, so what all of them hold is
 * compared with the bytes of the upload that were read for them. */
#define MAX_RATIO   500u
#define RATIO_FLOOR (UINT64_C(256) << 20)

/* Once a span: progress is drawn and signals are heard while a large file is hashed, too. */
static int tick(const struct ems_media_export *e, struct ems_error *err)
{
    return e->options->tick != NULL ? e->options->tick(e->options->tick_context, err) : EMS_OK;
}

/* ---- files ---- */

/* Both sides of one media are known. A wrong size makes the digest wrong, and is said alone. */
static void compare(struct ems_media_export *e, const char *shown, uint64_t size,
                    const uint8_t *sha256, uint64_t said_size, const uint8_t *said_sha256)
{
    if (size != said_size)
        ems_media_export_complain(e, EMS_MEDIA_C_SIZE, EMS_MEDIA_SIZE,
                                  "%s has %llu bytes, manifest.json says %llu", shown,
                                  (unsigned long long)size, (unsigned long long)said_size);
    else if (memcmp(sha256, said_sha256, 32) != 0)
        ems_media_export_complain(e, EMS_MEDIA_C_DIGEST, EMS_MEDIA_DIGEST,
                                  "%s: its SHA-256 is not the one in manifest.json", shown);
    else
        e->verified++;
}

/*
 * A file was read to its end. Whichever side comes second does the comparing, so that nothing has
 * to be kept until the end but what has no partner yet. A copy is held against what is known of the
 * first: the manifest's digest, or the first one's bytes; if the two differ, one of them is wrong
 * in any case.
 */
static int end_file(struct ems_media_export *e, const char *name, const char *shown, uint64_t size,
                    const uint8_t *sha256, struct ems_error *err)
{
    struct ems_media_seen seen;
    int rc = ems_media_index_file(e->index, name, size, sha256, &seen, err);

    e->files++;
    e->bytes += size;
    e->empty += size == 0 ? 1 : 0;
    if (size > e->largest)
        e->largest = size;
    if (rc != EMS_OK)
        return rc;
    if (seen.file && !seen.useless && (size != seen.size || memcmp(sha256, seen.sha256, 32) != 0))
        ems_media_export_complain(e, EMS_MEDIA_C_DIGEST, EMS_MEDIA_DIGEST,
                                  "%s comes again in %s, with other bytes", shown, e->inner);
    else if (seen.file)
        ems_media_export_complain(e, EMS_MEDIA_C_TWICE, EMS_MEDIA_EXTRA, "%s comes again in %s",
                                  shown, e->inner);
    else if (seen.entry && !seen.useless)
        compare(e, shown, size, sha256, seen.size, seen.sha256);
    return EMS_OK;
}

/* The importer looks a file up by its name; a name with a slash in it can only be a trick. */
static void check_name(struct ems_media_export *e, const struct ems_tar_member *m,
                       const char *shown)
{
    const char *why;

    if (ems_tar_check_path(m, &why) == EMS_OK && strchr(m->path, '/') != NULL)
        why = "it has a slash in it";
    if (why != NULL)
        ems_media_export_complain(e, EMS_MEDIA_C_UNSAFE, EMS_MEDIA_UNSAFE_NAME,
                                  "'%s' in %s is an unsafe name: %s", shown, e->inner, why);
}

/* Measure and hash one file. What ends the archive goes to failure, what ends the check to err. */
static int read_file(struct ems_media_export *e, struct ems_tar *tar,
                     const struct ems_tar_member *m, struct ems_error *failure,
                     struct ems_error *err)
{
    char shown[300], *name = strdup(m->path);
    struct ems_span span;
    uint64_t size = 0;
    int rc;

    if (name == NULL)
        return ems_fail_memory(err);
    ems_printable(name, strlen(name), shown, sizeof shown);
    check_name(e, m, shown);
    gcry_md_reset(e->md);
    while ((rc = ems_tar_data(tar, &span, failure)) == EMS_OK && tick(e, err) == EMS_OK) {
        gcry_md_write(e->md, span.data, span.size);
        size += span.size;
    }
    if (rc == EMS_END)
        rc = end_file(e, name, shown, size, gcry_md_read(e->md, GCRY_MD_SHA256), err);
    free(name);
    return err->code != EMS_OK ? err->code : rc;
}

/* ---- the manifest ---- */

/* Ids become paths in the importer's storage and in Synapse's: import_to_synapse takes the first
 * four characters for directories and looks at none (and dies on an id that is shorter). */
static void check_id(struct ems_media_export *e, const struct ems_media_entry *entry,
                     const char *shown)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    size_t n = strlen(entry->media_id);

    if (n < 5 || n > EMS_MEDIA_ID_MAX || strspn(entry->media_id, good) != n)
        ems_media_export_complain(e, EMS_MEDIA_C_UNSAFE, EMS_MEDIA_UNSAFE_NAME,
                                  "%s has a media id that Synapse never gives", shown);
}

/* "@localpart:server"; the server must be the origin, or the importer skips the media. */
static void check_uploader(struct ems_media_export *e, const struct ems_media_entry *entry,
                           const char *shown)
{
    const char *colon = strchr(entry->uploader, ':');

    if (entry->uploader[0] == '\0')
        return;
    if (entry->uploader[0] != '@' || colon == NULL)
        ems_media_export_complain(e, EMS_MEDIA_C_ENTRY, EMS_MEDIA_BAD_MANIFEST,
                                  "manifest.json, %s: its uploader is no user id", shown);
    else if (strcmp(colon + 1, entry->origin) != 0)
        ems_media_export_complain(e, EMS_MEDIA_C_ENTITY, EMS_MEDIA_ENTITY,
                                  "%s: its uploader is of another server, and the importer would "
                                  "skip it",
                                  shown);
}

/* Of honest exports there is one origin. Beyond a few they are counted together, for a hostile
 * manifest can name millions. */
static void count_origin(struct ems_media_export *e, const struct ems_media_entry *entry)
{
    char name[sizeof e->origins[0].name];
    size_t i = 0;

    ems_printable(entry->origin, strlen(entry->origin), name, sizeof name);
    while (i < e->origin_count && strcmp(e->origins[i].name, name) != 0)
        i++;
    if (i == EMS_MEDIA_ORIGINS) {
        e->other_origins++;
        return;
    }
    if (i == e->origin_count) {
        memcpy(e->origins[i].name, name, sizeof name);
        e->origin_count++;
    }
    e->origins[i].media++;
    e->origins[i].bytes += entry->size;
}

/*
 * A media of the manifest (an ems_media_entry_fn). What is unusable about it was found by the
 * parser and is told as it is; the rules beyond the form are judged here. Two media with one file:
 * the importer reads that file once, for the first, and stores an empty one for the second.
 * media_length is an integer of 32 bits in Synapse's tables (matrix-org/synapse#12023).
 */
static int take_entry(void *context, const struct ems_media_entry *entry, struct ems_error *err)
{
    struct ems_media_export *e = context;
    uint64_t limit = e->options->max_media_bytes;
    struct ems_media_seen seen;
    char shown[300], file[300];
    int rc = ems_media_index_entry(e->index, entry, &seen, err);

    if (rc != EMS_OK)
        return rc;
    ems_printable(entry->uri, strlen(entry->uri), shown, sizeof shown);
    ems_printable(entry->file_name, strlen(entry->file_name), file, sizeof file);
    if (entry->problem != NULL) {
        ems_media_export_complain(e, EMS_MEDIA_C_ENTRY, EMS_MEDIA_BAD_MANIFEST,
                                  "manifest.json, %s: %s", shown, entry->problem);
        return EMS_OK;
    }
    count_origin(e, entry);
    check_id(e, entry, shown);
    check_uploader(e, entry, shown);
    if (limit > 0 && entry->size > limit)
        ems_media_export_complain(e, EMS_MEDIA_C_LARGE, EMS_MEDIA_SIZE,
                                  "%s has %llu bytes, more than the %llu that the target accepts",
                                  shown, (unsigned long long)entry->size,
                                  (unsigned long long)limit);
    if (entry->size > INT32_MAX && entry->size != EMS_NOWHERE)
        ems_media_export_complain(e, EMS_MEDIA_C_LARGE, EMS_MEDIA_SIZE,
                                  "%s has %llu bytes, and Synapse cannot store sizes from 2 GiB on",
                                  shown, (unsigned long long)entry->size);
    if (seen.entry)
        ems_media_export_complain(e, EMS_MEDIA_C_ENTRY, EMS_MEDIA_BAD_MANIFEST,
                                  "manifest.json, %s: another media has the same file (%s), and "
                                  "the importer would leave this one empty",
                                  shown, file);
    else if (seen.file)
        compare(e, file, seen.size, seen.sha256, entry->size, entry->sha256);
    return EMS_OK;
}

/* A manifest that cannot be read is a finding; the archive around it goes on. */
static int settle_manifest(struct ems_media_export *e, int rc, struct ems_error *failure,
                           struct ems_error *err)
{
    if (rc == EMS_OK || rc == EMS_END)
        return EMS_OK;
    if (rc != EMS_MEDIA_BAD_MANIFEST)
        return ems_fail(err, rc, "%s", failure->text);
    e->manifest_state = MANIFEST_BROKEN;
    ems_findings_add(&e->findings, rc, EMS_SEVERITY_ERROR, e->artifact->name, NULL, EMS_NOWHERE,
                     "Export the media again: the importer needs this file.",
                     "manifest.json in %s cannot be read: %s", e->inner, failure->text);
    return EMS_OK;
}

/* Two that are the same come from a manifest that was copied into a part, or a second run over the
 * same directory; which of two different ones is right nobody can say. */
static void end_manifest(struct ems_media_export *e, const uint8_t *sha256)
{
    bool same = memcmp(e->manifest_sha256, sha256, 32) == 0;

    if (++e->manifests == 1)
        memcpy(e->manifest_sha256, sha256, 32);
    else
        ems_findings_add(
            &e->findings, EMS_MEDIA_BAD_MANIFEST, same ? EMS_SEVERITY_WARNING : EMS_SEVERITY_ERROR,
            e->artifact->name, NULL, EMS_NOWHERE,
            "An earlier export was left in the directory: export again, into an empty one.",
            "%s manifest.json: in %s and in %s", same ? "twice the same" : "two different",
            e->manifest_in, e->inner);
}

/* The first is parsed, of others only the digest is of interest. */
static int read_manifest(struct ems_media_export *e, struct ems_tar *tar, struct ems_error *failure,
                         struct ems_error *err)
{
    bool first = e->manifest == NULL;
    struct ems_error own = {0};
    struct ems_span span;
    int parsed = EMS_OK, rc;

    if (first) {
        memcpy(e->manifest_in, e->inner, sizeof e->inner);
        e->manifest_state = MANIFEST_GOOD;
        e->manifest = ems_media_manifest_new(take_entry, e, err);
        if (e->manifest == NULL)
            return err->code;
    }
    gcry_md_reset(e->md);
    while ((rc = ems_tar_data(tar, &span, failure)) == EMS_OK && tick(e, err) == EMS_OK) {
        gcry_md_write(e->md, span.data, span.size);
        if (first && parsed == EMS_OK)
            parsed = ems_media_manifest_feed(e->manifest, span.data, span.size, &own);
    }
    if (rc == EMS_END && first && parsed == EMS_OK)
        parsed = ems_media_manifest_finish(e->manifest, &own);
    if (rc != EMS_END && first) /* the archive around it broke */
        e->manifest_state = MANIFEST_BROKEN;
    if (rc == EMS_END && err->code == EMS_OK && settle_manifest(e, parsed, &own, err) == EMS_OK)
        end_manifest(e, gcry_md_read(e->md, GCRY_MD_SHA256));
    if (err->code != EMS_OK)
        return err->code;
    return rc == EMS_END ? EMS_OK : rc;
}

/* ---- an inner archive ---- */

/* An ems_observe_fn. Runs on the thread that inflates, and is the only one to touch the sum until
 * that thread is gone. Origins count the bytes of the upload itself, so a bomb inside of a bomb is
 * seen for what it is: what came out at the top against what was sent. */
static int limit(void *context, const struct ems_span *span, struct ems_error *err)
{
    struct ems_media_export *e = context;

    e->inflated += span->size;
    if (e->inflated < RATIO_FLOOR || span->origin == EMS_NOWHERE ||
        e->inflated / MAX_RATIO <= span->origin)
        return EMS_OK;
    return ems_fail(err, EMS_GZIP_LIMIT, "the export expands more than %u times", MAX_RATIO);
}

/* Takes over member; a failure of any layer frees what is below it (source.h, 4). */
static struct ems_tar *open_inner(struct ems_media_export *e, struct ems_source *member,
                                  bool threads, struct ems_error *failure)
{
    struct ems_source *src =
        ems_observe_open(ems_inflate_open(member, NULL, failure), limit, e, failure);

    return ems_tar_open(threads ? ems_relay_open(src, failure) : src, failure);
}

/* A member of an inner archive, by its name, as the importer has it (reader.go): manifest.json
 * wherever it is, every other plain file a media. index.html is for people. Holes of sparse files
 * would be read for nothing, and no exporter makes them. */
static int read_member(struct ems_media_export *e, struct ems_tar *tar,
                       const struct ems_tar_member *m, struct ems_error *failure,
                       struct ems_error *err)
{
    char shown[300];

    if (m->type == EMS_TAR_FILE && !m->sparse && strcmp(m->path, "manifest.json") == 0)
        return read_manifest(e, tar, failure, err);
    if (m->type == EMS_TAR_DIRECTORY || strcmp(m->path, "index.html") == 0)
        return EMS_OK;
    if (m->type == EMS_TAR_FILE && !m->sparse)
        return read_file(e, tar, m, failure, err);
    ems_printable(m->path, strlen(m->path), shown, sizeof shown);
    ems_media_export_complain(e, EMS_MEDIA_C_TYPE, EMS_TAR_UNSAFE_TYPE,
                              "'%s' in %s is no plain file", shown, e->inner);
    return EMS_OK;
}

/* That an inner archive is broken is told at the finish; the outer one goes on. If it was the outer
 * one that failed, there is no finish. */
static int export_read(struct ems_walker *walker, struct ems_source *member, struct ems_error *err)
{
    struct ems_media_export *e = (struct ems_media_export *)walker;
    bool threads = !e->options->no_threads && e->member_size >= THREAD_WORTH;
    struct ems_error failure = {0};
    const struct ems_tar_member *m;
    struct ems_tar *tar;
    int rc;

    if (e->stopped) {
        ems_source_free(member);
        return EMS_OK;
    }
    tar = open_inner(e, member, threads, &failure);
    if (tar == NULL)
        return ems_fail(err, failure.code, "%s", failure.text);
    do {
        rc = ems_tar_next(tar, &m, &failure);
        if (rc == EMS_OK)
            rc = read_member(e, tar, m, &failure, err);
    } while (err->code == EMS_OK && rc == EMS_OK);
    ems_tar_free(tar);
    if (err->code != EMS_OK || rc == EMS_END)
        return err->code;
    if (ems_code_exit(rc) == 75 || ems_code_exit(rc) == 70)
        return ems_fail(err, rc, "%s", failure.text);
    e->stopped = rc == EMS_GZIP_LIMIT;
    ems_media_export_complain(e, EMS_MEDIA_C_BROKEN, rc, "%s: %s", e->inner, failure.text);
    return EMS_OK;
}

/* ---- the outer archive ---- */

/* export-part-N.tgz without leading zeros, N up to nine digits; their order and gaps are judged at
 * the end. What else is called export-*.tgz is read as well, for the importer reads it, and told.
 */
static int note_part(struct ems_media_export *e, struct ems_error *err)
{
    static const char head[] = "export-part-";
    const char *digits = e->inner + strlen(head);
    size_t n = strncmp(e->inner, head, strlen(head)) == 0 ? strspn(digits, "0123456789") : 0;

    if (strcmp(e->inner, "export-manifest.tgz") == 0) {
        e->has_manifest_file = true;
        return EMS_OK;
    }
    if (n == 0 || n > 9 || digits[0] == '0' || strcmp(digits + n, ".tgz") != 0) {
        ems_media_export_complain(e, EMS_MEDIA_C_GAP, EMS_MEDIA_PART_GAP,
                                  "%s is no name that the exporter gives", e->inner);
        return EMS_OK;
    }
    if (e->part_count == e->part_capacity) {
        size_t capacity = 2 * e->part_capacity + 64;
        uint32_t *parts = realloc(e->parts, capacity * sizeof *parts);

        if (parts == NULL)
            return ems_fail_memory(err);
        e->parts = parts;
        e->part_capacity = capacity;
    }
    e->parts[e->part_count++] = (uint32_t)strtoul(digits, NULL, 10);
    return EMS_OK;
}

/* Something that the exporter's parts share the archive with. */
static void note_other(struct ems_media_export *e, const char *path, const char *base)
{
    char shown[80];
    size_t n = strlen(e->other_names);

    e->has_config |= strcmp(base, "media-repo.yaml") == 0;
    e->has_logs |= strncmp(path, "logs/", 5) == 0 || strstr(path, "/logs/") != NULL;
    ems_printable(path, strlen(path), shown, sizeof shown);
    if (e->others++ < 4)
        snprintf(e->other_names + n, sizeof e->other_names - n, "%s%s", n > 0 ? ", " : "", shown);
}

/* Claims what the importer is given: export-*.tgz, in whatever directory the archive has it. The
 * first one says in which. Directories and links are of no interest; the policy has judged them. */
static int export_begin(struct ems_walker *walker, const struct ems_tar_member *m, bool *claimed,
                        struct ems_error *err)
{
    struct ems_media_export *e = (struct ems_media_export *)walker;
    char path[EMS_TAR_MAX_PATH + 1];
    const char *base;
    size_t n;

    if (m->type != EMS_TAR_FILE)
        return EMS_OK;
    ems_tar_clean_path(m->path, path);
    base = strrchr(path, '/');
    base = base != NULL ? base + 1 : path;
    n = strlen(base);
    if (n < 11 || strncmp(base, "export-", 7) != 0 || strcmp(base + n - 4, ".tgz") != 0) {
        note_other(e, path, base);
        return EMS_OK;
    }
    *claimed = true;
    memcpy(e->inner, base, n + 1);
    e->member_size = m->size;
    n = (size_t)(base - path);
    if (e->base.claimed == 0) {
        memcpy(e->prefix, path, n);
        e->prefix[n] = '\0';
    }
    if (e->stray[0] == '\0' && (strlen(e->prefix) != n || memcmp(e->prefix, path, n) != 0))
        ems_printable(path, strlen(path), e->stray, sizeof e->stray);
    return note_part(e, err);
}

static int export_finish(struct ems_walker *walker, const char *artifact,
                         struct ems_findings *findings, struct ems_facts *facts,
                         struct ems_error *err)
{
    (void)artifact; /* known since the open */
    return ems_media_export_report((struct ems_media_export *)walker, findings, facts, err);
}

static void export_free(struct ems_walker *walker)
{
    struct ems_media_export *e = (struct ems_media_export *)walker;

    ems_media_index_free(e->index);
    ems_media_ids_release(&e->ids);
    ems_media_manifest_free(e->manifest);
    ems_findings_release(&e->findings);
    gcry_md_close(e->md);
    free(e->parts);
    free(e);
}

struct ems_walker *ems_media_export_open(struct ems_artifact *a, const struct ems_check_options *o,
                                         struct ems_error *err)
{
    static const struct ems_walker_ops ops = {
        .layer = "media-export",
        .words = "a media export",
        .hint = "The exporter stopped before its first part was complete, or another directory was "
                "archived: look at its output and export again.",
        .begin = export_begin,
        .read = export_read,
        .finish = export_finish,
        .free = export_free,
    };
    struct ems_media_export *e = calloc(1, sizeof *e);

    if (e == NULL) {
        ems_fail_memory(err);
        return NULL;
    }
    e->base.ops = &ops;
    e->artifact = a;
    e->options = o;
    e->index = ems_media_index_new(&e->ids, err);
    if (e->index != NULL && gcry_md_open(&e->md, GCRY_MD_SHA256, 0) != 0)
        ems_fail(err, EMS_INTERNAL, "SHA-256 cannot be opened");
    if (e->md == NULL) {
        export_free(&e->base);
        return NULL;
    }
    return &e->base;
}
