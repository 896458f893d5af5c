/*
 * media_export_report.c - what a media export lacks or has too much, when all of it was seen.
 *
 * Causes, where they are known (matrix-media-repo, cmd/.../export_synapse_for_import):
 *
 * - Parts are written when they are full, the manifest at the very end. An exporter that stops
 *   leaves complete parts and no manifest. It stops at any error, and from v1.3.4 on also, with
 *   status 0 and "Export completed" not said, at the first missing file if called with -skipMissing
 *   (PsqlFlatFileArchive returns where it should go on).
 * - Up to v1.2.13 it writes media-repo.yaml and logs/ into the working directory, from where the
 *   guide has them moved into the export. Later ones have neither.
 * - Before v1.2.1 there was only gdpr_export, with manifest.json in the first part.
 */
#include "media_export_state.h"

#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN 20u /* findings of one kind before they are only counted */

#define AGAIN "Export the media again, into an empty directory."

static const struct {
    enum ems_severity severity;
    int code; /* of the total */
    const char *many, *advice;
} kinds[EMS_MEDIA_COMPLAINTS] = {
    [EMS_MEDIA_C_ENTRY] = {EMS_SEVERITY_ERROR, EMS_MEDIA_BAD_MANIFEST,
                           "media of manifest.json cannot be right",
                           "This is nothing that the exporter writes: export the media again."},
    [EMS_MEDIA_C_MISSING] = {EMS_SEVERITY_ERROR, EMS_MEDIA_MISSING, "media have no file", AGAIN},
    [EMS_MEDIA_C_IN_S3] = {EMS_SEVERITY_WARNING, EMS_MEDIA_MISSING, "media are only in S3",
                           "The importer must be able to read that S3 store."},
    [EMS_MEDIA_C_EXTRA] = {EMS_SEVERITY_WARNING, EMS_MEDIA_EXTRA, "files are not in manifest.json",
                           "Left over from an earlier export, or added by hand: the importer "
                           "leaves them out."},
    [EMS_MEDIA_C_TWICE] = {EMS_SEVERITY_WARNING, EMS_MEDIA_EXTRA, "files come more than once",
                           "Parts of an earlier export were left in the directory."},
    [EMS_MEDIA_C_SIZE] = {EMS_SEVERITY_ERROR, EMS_MEDIA_SIZE, "files have another size", AGAIN},
    [EMS_MEDIA_C_DIGEST] = {EMS_SEVERITY_ERROR, EMS_MEDIA_DIGEST, "files have other bytes", AGAIN},
    [EMS_MEDIA_C_LARGE] = {EMS_SEVERITY_WARNING, EMS_MEDIA_SIZE, "media are too large",
                           "The importer stops at the first that is over its uploads.maxBytes: "
                           "raise that. From 2 GiB on they cannot be moved."},
    [EMS_MEDIA_C_GAP] = {EMS_SEVERITY_ERROR, EMS_MEDIA_PART_GAP, "parts are missing",
                         "Look for the file where the export was made, and make the archive again; "
                         "or export again."},
    [EMS_MEDIA_C_BROKEN] = {EMS_SEVERITY_ERROR, EMS_GZIP_CORRUPT, "parts are broken",
                            "The exporter was interrupted (disk full?): export the media again."},
    [EMS_MEDIA_C_ENTITY] = {EMS_SEVERITY_ERROR, EMS_MEDIA_ENTITY, "media are of another server",
                            "Check the exporter's option -serverName, and export again."},
    [EMS_MEDIA_C_UNSAFE] = {EMS_SEVERITY_ERROR, EMS_MEDIA_UNSAFE_NAME, "names are unsafe",
                            "Do not import this: such names can lead to other files."},
    [EMS_MEDIA_C_TYPE] = {EMS_SEVERITY_ERROR, EMS_TAR_UNSAFE_TYPE, "members are no plain files",
                          "The exporter writes none of these: export the media again."},
};

void ems_media_export_complain(struct ems_media_export *e, enum ems_media_complaint what, int code,
                               const char *fmt, ...)
{
    bool first = e->complaints[what]++ == 0;
    char text[800];
    va_list args;

    if (e->complaints[what] > SHOWN)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    ems_findings_add(&e->findings, code, kinds[what].severity, e->artifact->name, NULL, EMS_NOWHERE,
                     first ? kinds[what].advice : "", "%s", text);
}

/* A finding of which there is one. */
static void say(struct ems_media_export *e, int code, enum ems_severity severity,
                const char *advice, const char *text)
{
    ems_findings_add(&e->findings, code, severity, e->artifact->name, NULL, EMS_NOWHERE, advice,
                     "%s", text);
}

/* ---- parts ---- */

/* For qsort; numbers come in the order of the archive, which is that of a directory. */
static int compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* Parts are numbered from 1 without a gap (writer.go). How many there were nobody says: a last part
 * that is missing shows by its media. A number like 999999999 must not be counted up to, so beyond
 * those that are named gaps are only added. */
static void judge_parts(struct ems_media_export *e)
{
    uint32_t next = 1;

    if (e->part_count > 0)
        qsort(e->parts, e->part_count, sizeof *e->parts, compare_numbers);
    else
        ems_media_export_complain(e, EMS_MEDIA_C_GAP, EMS_MEDIA_PART_GAP,
                                  "export-part-1.tgz is missing, and all others with it");
    for (size_t i = 0; i < e->part_count; i++) {
        for (; next < e->parts[i] && e->complaints[EMS_MEDIA_C_GAP] < SHOWN; next++)
            ems_media_export_complain(e, EMS_MEDIA_C_GAP, EMS_MEDIA_PART_GAP,
                                      "export-part-%u.tgz is missing", next);
        if (next < e->parts[i])
            e->complaints[EMS_MEDIA_C_GAP] += e->parts[i] - next;
        next = e->parts[i] + 1;
    }
    if (e->stray[0] != '\0')
        ems_findings_add(&e->findings, EMS_TAR_WRONG_CONTENT, EMS_SEVERITY_ERROR, e->artifact->name,
                         NULL, EMS_NOWHERE, "Make the archive again, of one export only.",
                         "two media exports in one archive: below '%s', and %s", e->prefix,
                         e->stray);
}

/* ---- the manifest ---- */

/* By what it leaves behind. v1.2 is said only of what was moved into the export as the guide has
 * it, so its absence is a guess; it goes to the facts and to advice, never into a verdict. */
static const char *tool_of(const struct ems_media_export *e)
{
    if (e->manifests > 0 && !e->has_manifest_file)
        return "gdpr_export, v1.2.0 or older";
    return e->has_config || e->has_logs ? "v1.2.x" : "v1.3.0 or newer";
}

/* Without it the importer imports nothing. The most telling sign counts: a broken archive of its
 * own, a broken part, the marks of v1.2, and at last what is left, the stop at a missing file. */
static void judge_no_manifest(struct ems_media_export *e)
{
    const char *advice =
        "The exporter stops at the first file that it cannot find; with -skipMissing, versions "
        "from "
        "v1.3.4 on do so without a word. Export again with v1.3.3, and -skipMissing if files are "
        "lost.";

    if (e->has_manifest_file && e->complaints[EMS_MEDIA_C_BROKEN] > 0)
        advice = "It was in export-manifest.tgz, which is broken: export the media again.";
    else if (e->complaints[EMS_MEDIA_C_BROKEN] > 0)
        advice = "The exporter was interrupted (disk full?): export the media again.";
    else if (e->has_config || e->has_logs)
        advice =
            "The exporter (v1.2.x) stopped at an error: look at the end of its log, and export "
            "the media again.";
    say(e, EMS_MEDIA_NO_MANIFEST, EMS_SEVERITY_ERROR, advice,
        "there is no manifest.json in the export: the exporter did not come to its end");
}

/* Whether it is the right server is for upload_check.c, which knows the others' names; here it is
 * only held against itself. gdpr_export can also export a single user, whose id then stands here.
 */
static void judge_entity(struct ems_media_export *e, const char *entity)
{
    if (entity[0] == '@') {
        ems_media_export_complain(e, EMS_MEDIA_C_ENTITY, EMS_MEDIA_ENTITY,
                                  "this is an export of one user's media (%s), not of a server's",
                                  entity);
        return;
    }
    if (strcmp(entity, "localhost") == 0)
        say(e, EMS_MEDIA_ENTITY, EMS_SEVERITY_WARNING,
            "Ask for a new export, with -serverName, unless the server is really called so.",
            "the export is of 'localhost', which is what the exporter takes without -serverName");
    for (size_t i = 0; i < e->origin_count; i++)
        if (strcmp(e->origins[i].name, entity) != 0)
            ems_media_export_complain(e, EMS_MEDIA_C_ENTITY, EMS_MEDIA_ENTITY,
                                      "%llu media are of %s, but the export is of %s",
                                      (unsigned long long)e->origins[i].media, e->origins[i].name,
                                      entity);
    if (e->other_origins > 0)
        ems_media_export_complain(e, EMS_MEDIA_C_ENTITY, EMS_MEDIA_ENTITY,
                                  "%llu media are of further servers",
                                  (unsigned long long)e->other_origins);
}

/* What has no partner, with a good manifest (a cut one would make every file an extra one). Where
 * parts are lost, that is the reason, and the advice is theirs. */
static void judge_media(struct ems_media_export *e)
{
    bool lost = e->complaints[EMS_MEDIA_C_GAP] + e->complaints[EMS_MEDIA_C_BROKEN] > 0;
    char shown[600];

    for (size_t i = 0; i < ems_media_index_count(e->index); i++) {
        struct ems_media_state state = ems_media_index_state(e->index, i);

        if (state.entry && state.file)
            continue;
        ems_media_index_name(e->index, i, shown, sizeof shown);
        if (!state.entry)
            ems_media_export_complain(e, EMS_MEDIA_C_EXTRA, EMS_MEDIA_EXTRA,
                                      "%s is not in manifest.json", shown);
        else if (state.in_s3)
            ems_media_export_complain(e, EMS_MEDIA_C_IN_S3, EMS_MEDIA_MISSING,
                                      "media %s has no file, only an address in S3", shown);
        else
            ems_media_export_complain(e, EMS_MEDIA_C_MISSING, EMS_MEDIA_MISSING,
                                      "media %s is in manifest.json, but its file is in no part%s",
                                      shown, lost ? " that is here and whole" : "");
    }
}

/* A media id with two names of files: which one counts? After the list was sorted. */
static void judge_ids(struct ems_media_export *e)
{
    for (size_t i = 1; i < e->ids.count; i++) {
        struct ems_media_id a = ems_media_ids_get(&e->ids, i - 1),
                            b = ems_media_ids_get(&e->ids, i);
        char shown[300];

        if (a.id_size == b.id_size && memcmp(a.id, b.id, a.id_size) == 0)
            ems_media_export_complain(e, EMS_MEDIA_C_ENTRY, EMS_MEDIA_BAD_MANIFEST,
                                      "manifest.json lists media %s more than once",
                                      ems_printable(a.id, a.id_size, shown, sizeof shown));
    }
}

/* ---- all of it ---- */

/* The guide has media-repo.yaml and logs/ moved in, and gdpr_import panics on the first file that
 * is not gzip ("gzip: invalid header"), after the parts and before its report of missing media. */
static void judge_others(struct ems_media_export *e)
{
    if (e->others > 0)
        ems_findings_add(&e->findings, EMS_MEDIA_EXTRA, EMS_SEVERITY_WARNING, e->artifact->name,
                         NULL, EMS_NOWHERE,
                         "Give the importer the files export-*.tgz alone, as ems-unpack does: it "
                         "dies on others.",
                         "%llu other files lie beside the parts: %s%s",
                         (unsigned long long)e->others, e->other_names,
                         e->others > 4 ? ", ..." : "");
    if (e->empty > 0)
        ems_findings_add(&e->findings, EMS_MEDIA_SIZE, EMS_SEVERITY_NOTE, e->artifact->name, NULL,
                         EMS_NOWHERE, "", "%llu media files are empty",
                         (unsigned long long)e->empty);
}

/* One line a kind, behind the first twenty of it. */
static void add_totals(struct ems_media_export *e)
{
    for (size_t i = 0; i < EMS_MEDIA_COMPLAINTS; i++)
        if (e->complaints[i] > SHOWN)
            ems_findings_add(&e->findings, kinds[i].code, kinds[i].severity, e->artifact->name,
                             NULL, EMS_NOWHERE, "", "in all %llu %s",
                             (unsigned long long)e->complaints[i], kinds[i].many);
}

static int add_facts(const struct ems_media_export *e, const struct ems_media_manifest_facts *m,
                     struct ems_facts *facts, struct ems_error *err)
{
    uint64_t missing = e->complaints[EMS_MEDIA_C_MISSING] + e->complaints[EMS_MEDIA_C_IN_S3];
    const struct {
        const char *name;
        uint64_t number;
    } numbers[] = {{"parts", e->part_count},  {"files", e->files},
                   {"bytes", e->bytes},       {"largest", e->largest},
                   {"empty", e->empty},       {"media", m->entries},
                   {"verified", e->verified}, {"manifest_version", m->version},
                   {"missing", missing},      {"other_files", e->others}};
    char origins[800] = "";
    size_t n = 0;
    int rc = EMS_OK;

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0] && rc == EMS_OK; i++)
        rc = ems_facts_number(facts, numbers[i].name, numbers[i].number, err);
    if (rc == EMS_OK && m->created_ms != EMS_NOWHERE)
        rc = ems_facts_number(facts, "created_ms", m->created_ms, err);
    for (size_t i = 0; i < e->origin_count && n < sizeof origins; i++)
        n += (size_t)snprintf(origins + n, sizeof origins - n, "%s%s: %llu (%llu bytes)",
                              i > 0 ? ", " : "", e->origins[i].name,
                              (unsigned long long)e->origins[i].media,
                              (unsigned long long)e->origins[i].bytes);
    if (rc == EMS_OK)
        rc = ems_facts_text(facts, "server", m->entity, err);
    if (rc == EMS_OK)
        rc = ems_facts_text(facts, "origins", origins, err);
    return rc == EMS_OK ? ems_facts_text(facts, "tool", tool_of(e), err) : rc;
}

static void summarise(const struct ems_media_export *e, const char *entity, char *out, size_t size)
{
    bool all = e->verified == e->files && e->complaints[EMS_MEDIA_C_MISSING] == 0;
    char bytes[32], verified[80], text[400];

    snprintf(verified, sizeof verified, "%llu of %llu hashes verified",
             (unsigned long long)e->verified, (unsigned long long)e->files);
    snprintf(text, sizeof text, "%llu media of %.60s (%s) in %zu parts, %s, by exporter %s",
             (unsigned long long)e->files, entity[0] != '\0' ? entity : "an unknown server",
             ems_human_bytes(e->bytes, bytes), e->part_count,
             all ? "every hash verified" : verified, tool_of(e));
    ems_printable_text(text, strlen(text), out, size);
}

int ems_media_export_report(struct ems_media_export *e, struct ems_findings *findings,
                            struct ems_facts *facts, struct ems_error *err)
{
    static const struct ems_media_manifest_facts none = {.created_ms = EMS_NOWHERE};
    const struct ems_media_manifest_facts *m =
        e->manifest != NULL ? ems_media_manifest_facts(e->manifest) : &none;
    char entity[256];

    ems_printable(m->entity, strlen(m->entity), entity, sizeof entity);
    judge_parts(e);
    if (e->manifest_state == MANIFEST_NONE)
        judge_no_manifest(e);
    if (e->manifest_state == MANIFEST_GOOD) {
        judge_entity(e, entity);
        judge_media(e);
        ems_media_index_finish(e->index);
        judge_ids(e);
        snprintf(e->artifact->media_server, sizeof e->artifact->media_server, "%s", entity);
        ems_media_ids_release(&e->artifact->media_ids);
        e->artifact->media_ids = e->ids;
        e->ids = (struct ems_media_ids){0};
    }
    judge_others(e);
    add_totals(e);
    ems_findings_move(findings, &e->findings);
    summarise(e, entity, facts->summary, sizeof facts->summary);
    return add_facts(e, m, facts, err);
}
