/*
 * upload_media.c - a media archive against the database's local_media_repository; see
 * upload_check.h.
 *
 * Both lists are sorted by media id and walked side by side. Of each kind of difference the first
 * ones are named and all are counted.
 */
#include "upload_check.h"

#include "media_rows.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NAMED 20u /* findings of a kind */

enum difference { NO_FILE, NO_ROW, SIZE, DIGEST, MANIFEST, DIFFERENCES };

static const struct {
    int code;
    enum ems_severity severity;
    const char *advice, *many;
} kinds[DIFFERENCES] = {
    [NO_FILE] = {EMS_MEDIA_DB_MISSING, EMS_SEVERITY_ERROR,
                 "Ask for these files; what is not sent is lost to the users.",
                 "media of the database are missing"},
    [NO_ROW] = {EMS_MEDIA_NOT_IN_DB, EMS_SEVERITY_WARNING,
                "No event can show it: media were deleted, or the database is older than the "
                "files.",
                "media are not in the database"},
    [SIZE] = {EMS_MEDIA_SIZE, EMS_SEVERITY_ERROR,
              "The file was damaged before the archive was made: ask for a backup of it.",
              "media have another size than the database says"},
    [DIGEST] = {EMS_MEDIA_DIGEST, EMS_SEVERITY_ERROR,
                "The file was damaged before the archive was made: ask for a backup of it.",
                "media have another SHA-256 than the database says"},
    [MANIFEST] = {EMS_MEDIA_BAD_MANIFEST, EMS_SEVERITY_WARNING,
                  "The export was made of another database, or edited.",
                  "media have another uploader or time in manifest.json than in the database"},
};

/* Kept for one archive; an upload may have both a store and an export, each compared by itself. */
struct comparison {
    const struct ems_upload_media *m;
    struct ems_findings *findings;
    uint64_t counts[DIFFERENCES];
    uint64_t same, hashed; /* media that are in both; of them, with an equal hash */
    uint64_t previews;     /* of URLs, that have no file */
};

static void differ(struct comparison *c, enum difference what, const struct ems_media_id *media,
                   const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static void differ(struct comparison *c, enum difference what, const struct ems_media_id *media,
                   const char *fmt, ...)
{
    char id[300], text[200];
    enum ems_severity severity = kinds[what].severity;
    const char *advice = kinds[what].advice;
    va_list args;

    if (c->counts[what]++ >= NAMED)
        return;
    if (what == NO_FILE && c->m->elsewhere) {
        severity = EMS_SEVERITY_WARNING;
        advice = "media_storage_providers are configured, so media may live in S3 only: ask for "
                 "an export from there.";
    }
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    ems_findings_add(c->findings, kinds[what].code, severity, c->m->artifact, NULL, EMS_NOWHERE,
                     c->counts[what] == 1 ? advice : "", "media %s %s",
                     ems_printable(media->id, media->id_size, id, sizeof id), text);
}

/* Known sizes are compared, and what else both sides know. */
static void compare(struct comparison *c, const struct ems_media_id *row,
                    const struct ems_media_id *file)
{
    bool hashes = row->sha256 != NULL && file->sha256 != NULL;

    c->same++;
    if (row->size != EMS_NOWHERE && file->size != EMS_NOWHERE && row->size != file->size)
        differ(c, SIZE, row, "has %llu bytes, but %llu in the database",
               (unsigned long long)file->size, (unsigned long long)row->size);
    else if (hashes && memcmp(row->sha256, file->sha256, 32) != 0)
        differ(c, DIGEST, row, "has another SHA-256 than in the database");
    else
        c->hashed += hashes;
    if (!hashes) /* without a hash in the row the list does not hold its time and uploader */
        return;
    if ((row->created_ms != EMS_NOWHERE && file->created_ms != EMS_NOWHERE &&
         row->created_ms != file->created_ms) ||
        (row->uploader != 0 && file->uploader != 0 && row->uploader != file->uploader))
        differ(c, MANIFEST, row, "has another uploader or time in manifest.json");
}

static void lone_row(struct comparison *c, const struct ems_media_id *row)
{
    if (row->url_cache)
        c->previews++;
    else if (row->size != EMS_NOWHERE)
        differ(c, NO_FILE, row, "(%llu bytes) is in the database, but its file is not here",
               (unsigned long long)row->size);
}

/* Of the preview cache, Synapse deletes rows before files. */
static void lone_file(struct comparison *c, const struct ems_media_id *file)
{
    if (!file->url_cache)
        differ(c, NO_ROW, file, "is not in the database");
}

/* By bytes, as media_ids.c sorts. */
static int order_of(const struct ems_media_id *a, const struct ems_media_id *b)
{
    int order = memcmp(a->id, b->id, a->id_size < b->id_size ? a->id_size : b->id_size);

    return order != 0 ? order : (a->id_size > b->id_size) - (a->id_size < b->id_size);
}

/* An id that a list has twice is held against the other's one each time. */
static void join(struct comparison *c)
{
    const struct ems_media_ids *rows = &c->m->rows->ids, *files = c->m->files;
    size_t r = 0, f = 0;

    while (r < rows->count || f < files->count) {
        struct ems_media_id row, file;
        int order = r == rows->count ? 1 : f == files->count ? -1 : 0;

        if (r < rows->count)
            row = ems_media_ids_get(rows, r);
        if (f < files->count)
            file = ems_media_ids_get(files, f);
        if (order == 0)
            order = order_of(&row, &file);
        if (order < 0) {
            lone_row(c, &row);
        } else if (order > 0) {
            lone_file(c, &file);
        } else {
            compare(c, &row, &file);
            if (f + 1 < files->count) { /* the same id again? */
                struct ems_media_id next = ems_media_ids_get(files, f + 1);

                if (order_of(&row, &next) == 0) {
                    f++;
                    continue;
                }
            }
        }
        r += order <= 0;
        f += order >= 0;
    }
}

/* The last line is said in any case: that nothing differs is a result only if it is known how much
 * was compared. */
static void conclude(struct comparison *c)
{
    const struct ems_media_rows *rows = c->m->rows;

    for (int i = 0; i < DIFFERENCES; i++)
        if (c->counts[i] > NAMED)
            ems_findings_add(c->findings, kinds[i].code,
                             i == NO_FILE && c->m->elsewhere ? EMS_SEVERITY_WARNING
                                                             : kinds[i].severity,
                             c->m->artifact, NULL, EMS_NOWHERE, "", "in all %llu %s",
                             (unsigned long long)c->counts[i], kinds[i].many);
    ems_findings_add(
        c->findings, EMS_MEDIA_DB_MISSING, EMS_SEVERITY_NOTE, c->m->artifact, NULL, EMS_NOWHERE, "",
        "compared with %s: %llu of its %llu media are here, %llu with the SHA-256 that "
        "it names; %llu uploads were never finished, %llu previews of pages are not "
        "here and need not be",
        c->m->database, (unsigned long long)c->same, (unsigned long long)rows->rows,
        (unsigned long long)c->hashed, (unsigned long long)rows->pending,
        (unsigned long long)c->previews);
}

void ems_upload_check_media(const struct ems_upload_media *m, struct ems_findings *findings)
{
    struct comparison c = {.m = m, .findings = findings};

    if (ems_media_ids_is_full(&m->rows->ids) || ems_media_ids_is_full(m->files)) {
        ems_findings_add(findings, EMS_MEDIA_DB_MISSING, EMS_SEVERITY_WARNING, m->artifact, NULL,
                         EMS_NOWHERE, "Compare them in the staging database.",
                         "not compared with %s: more media than are kept in memory here",
                         m->database);
        return;
    }
    join(&c);
    conclude(&c);
}

/* ---- quarantine ---- */

/* Abuse that was taken down must not come back with the move, and the importer of media knows
 * nothing of a quarantine. */
void ems_upload_list_quarantined(const struct ems_media_rows *rows, const char *database,
                                 struct ems_findings *findings)
{
    char ids[900] = "";
    size_t used = 0, named = 0;

    if (rows->quarantined == 0)
        return;
    for (size_t i = 0; i < rows->ids.count && named < NAMED && used < sizeof ids - 100; i++) {
        struct ems_media_id m = ems_media_ids_get(&rows->ids, i);

        if (m.quarantined)
            used +=
                (size_t)snprintf(ids + used, sizeof ids - used, "%s%.*s", named++ > 0 ? ", " : "",
                                 (int)(m.id_size < 90 ? m.id_size : 90), m.id);
    }
    ems_findings_add(findings, EMS_MEDIA_EXTRA, EMS_SEVERITY_WARNING, database, NULL, EMS_NOWHERE,
                     "The importer of media does not know this: quarantine them again after the "
                     "import. All of them: SELECT media_id FROM local_media_repository WHERE "
                     "quarantined_by IS NOT NULL.",
                     "%llu media are quarantined and must not be shown: %s%s",
                     (unsigned long long)rows->quarantined, ids,
                     rows->quarantined > named ? ", ..." : "");
}
