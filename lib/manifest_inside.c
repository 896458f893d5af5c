/*
 * manifest_inside.c - what a level 1 manifest says about the inside of an artifact (inner, sqldump,
 * table and media lines) against what was found there; see manifest.h.
 *
 * These lines are written from a proven reading, as the outer checksums are. If the outside is as
 * listed and the inside is not, the lines were not made from this file: then it is the manifest
 * that must be made again. Otherwise the artifact is another one than the manifest describes.
 */
#include "manifest.h"

#include "artifact.h"
#include "bytes.h"
#include "manifest_store.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TABLES_NAMED 5u    /* that differ: the rest is counted */
#define MAX_INNERS       4096u /* two layers an artifact: far more than any upload has */

struct inside {
    const struct ems_manifest *m;
    const struct ems_artifact *a;
    struct ems_findings *findings;
    size_t differences;
};

static void differ(struct inside *in, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void differ(struct inside *in, int code, const char *fmt, ...)
{
    static const char manifest_advice[] =
        "The files are as listed, so these lines are not about them: make the manifest again.";
    static const char artifact_advice[] =
        "Send the file that the manifest was made of, or make the manifest again.";
    bool outside_proven = in->a->in_manifest;
    struct ems_finding *f;
    char text[700];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    in->differences++;
    f = ems_findings_add(in->findings, code, EMS_SEVERITY_ERROR, in->a->name,
                         outside_proven ? EMS_MANIFEST_FILE_NAME : NULL, EMS_NOWHERE,
                         outside_proven ? manifest_advice : artifact_advice, "%s", text);
    if (f != NULL)
        f->resend = true;
}

/* ---- layers ---- */

static void match_layer(struct inside *in, const struct ems_manifest_inner *i, uint64_t size,
                        const struct ems_sha256 *sha256)
{
    if (i->size != size)
        differ(in, EMS_MANIFEST_SIZE,
               "below its layer %s are %" PRIu64 " bytes, the manifest says %" PRIu64, i->layer,
               size, i->size);
    else if (sha256->done && i->sha256.done &&
             !ems_equal_ct(sha256->bytes, i->sha256.bytes, EMS_SHA256_SIZE))
        differ(in, EMS_MANIFEST_DIGEST,
               "the SHA-256 of what is below its layer %s is not the one in the manifest",
               i->layer);
}

static void match_layers(struct inside *in, const struct ems_artifact_digests *digests)
{
    const struct ems_artifact *a = in->a;

    for (size_t k = 0; k < ems_manifest_inners(in->m); k++) {
        const struct ems_manifest_inner *i = &in->m->inners[k];

        if (strcmp(i->name, a->name) != 0)
            continue;
        if (strcmp(i->layer, "gpg") == 0 && a->encrypted)
            match_layer(in, i, a->gzipped ? a->gzip.bytes_in : a->bytes_out, &digests->unlocked);
        else if (strcmp(i->layer, "gzip") == 0 && a->gzipped)
            match_layer(in, i, a->gzip.bytes_out, &digests->unpacked);
    }
}

/* ---- the dump ---- */

static int compare_tables(const void *a, const void *b)
{
    const struct ems_sql_table *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static const struct ems_sql_table *find_table(const struct ems_sql_table **sorted, size_t count,
                                              const char *name)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(sorted[middle]->name, name);

        if (order == 0)
            return sorted[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static int match_tables(struct inside *in, const struct ems_manifest_sqldump *d)
{
    const struct ems_sql_facts *sql = &in->a->sql;
    const struct ems_sql_table **sorted = malloc((sql->table_count + 1) * sizeof(void *));
    size_t others = 0;

    if (sorted == NULL)
        return EMS_NO_MEMORY;
    for (size_t i = 0; i < sql->table_count; i++)
        sorted[i] = &sql->tables[i];
    if (sql->table_count > 1)
        qsort(sorted, sql->table_count, sizeof(void *), compare_tables);
    for (size_t i = 0; i < d->table_count; i++) {
        const struct ems_manifest_table *t = &in->m->tables[d->first_table + i];
        const struct ems_sql_table *found = find_table(sorted, sql->table_count, t->name);

        if (found != NULL && found->rows == t->rows)
            continue;
        if (in->differences >= MAX_TABLES_NAMED)
            others++;
        else if (found == NULL)
            differ(in, EMS_MANIFEST_SIZE,
                   "the dump has no table %s, the manifest says %" PRIu64 " rows", t->name,
                   t->rows);
        else
            differ(in, EMS_MANIFEST_SIZE,
                   "table %s has %" PRIu64 " rows in the dump, the manifest says %" PRIu64, t->name,
                   found->rows, t->rows);
    }
    if (others > 0)
        differ(in, EMS_MANIFEST_SIZE, "%zu more tables are not as in the manifest", others);
    free(sorted);
    return EMS_OK;
}

/* One word of the sqldump line; a manifest that does not say it claims nothing. */
static void match_word(struct inside *in, const char *what, const char *said, const char *found)
{
    if (said[0] != '\0' && strcmp(said, found) != 0)
        differ(in, EMS_MANIFEST_DIGEST, "the dump's %s is \"%s\", the manifest says \"%s\"", what,
               found, said);
}

static int match_dump(struct inside *in)
{
    int rc = EMS_OK;

    for (size_t i = 0; i < in->m->sqldump_count && rc == EMS_OK; i++) {
        const struct ems_manifest_sqldump *d = &in->m->sqldumps[i];

        if (strcmp(d->of, in->a->name) != 0)
            continue;
        match_word(in, "server version", d->server, in->a->sql.server_version);
        match_word(in, "pg_dump version", d->dump, in->a->sql.dump_version);
        match_word(in, "encoding", d->encoding, "UTF8"); /* the scanner lets nothing else pass */
        rc = match_tables(in, d);
    }
    return rc;
}

/* ---- media ---- */

bool ems_manifest_media_of(const struct ems_artifact *a, struct ems_manifest_media *media)
{
    const struct ems_facts *f = &a->facts;
    const struct ems_fact *entity, *missing;
    bool export = f->layer != NULL && strcmp(f->layer, "media-export") == 0;
    const struct ems_fact *count = ems_facts_find(f, export ? "files" : "local_files");
    const struct ems_fact *bytes = ems_facts_find(f, export ? "bytes" : "local_bytes");

    if (!a->archive_known || count == NULL || bytes == NULL)
        return false;
    entity = ems_facts_find(f, "server");
    missing = ems_facts_find(f, "missing");
    *media = (struct ems_manifest_media){.of = a->name,
                                         .entity = entity != NULL ? entity->text : "",
                                         .count = count->number,
                                         .bytes = bytes->number,
                                         .missing = missing != NULL ? missing->number : 0};
    return true;
}

static void match_media(struct inside *in)
{
    struct ems_manifest_media is;

    if (!ems_manifest_media_of(in->a, &is))
        return;
    for (size_t i = 0; i < in->m->media_count; i++) {
        const struct ems_manifest_media *said = &in->m->media[i];

        if (strcmp(said->of, in->a->name) != 0)
            continue;
        if (said->entity[0] != '\0' && strcmp(said->entity, is.entity) != 0)
            differ(in, EMS_MANIFEST_DIGEST, "the media are of \"%s\", the manifest says \"%s\"",
                   is.entity, said->entity);
        if (said->count != is.count || said->bytes != is.bytes || said->missing != is.missing)
            differ(in, EMS_MANIFEST_SIZE,
                   "%" PRIu64 " media of %" PRIu64 " bytes are here, %" PRIu64
                   " missing; the manifest says %" PRIu64 ", %" PRIu64 " and %" PRIu64,
                   is.count, is.bytes, is.missing, said->count, said->bytes, said->missing);
    }
}

/* ---- */

size_t ems_manifest_inners(const struct ems_manifest *m)
{
    return m->inner_count < MAX_INNERS ? m->inner_count : MAX_INNERS;
}

bool ems_manifest_has_inner(const struct ems_manifest *m, const char *name)
{
    for (size_t i = 0; i < ems_manifest_inners(m); i++)
        if (strcmp(m->inners[i].name, name) == 0)
            return true;
    return false;
}

int ems_manifest_match_inside(const struct ems_manifest *m, const struct ems_artifact *a,
                              const struct ems_artifact_digests *digests,
                              struct ems_findings *findings, size_t *differences)
{
    struct inside in = {.m = m, .a = a, .findings = findings};
    int rc = EMS_OK;

    match_layers(&in, digests);
    if (a->is_sql && a->sql.complete)
        rc = match_dump(&in);
    match_media(&in);
    *differences = in.differences;
    return findings->out_of_memory ? EMS_NO_MEMORY : rc;
}
