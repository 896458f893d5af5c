/*
 * manifest_listing.c - the manifest against a listing of a remote folder (rclone lsjson --hash).
 *
 * An array of objects; used are Path, Name, Size, IsDir, ID and Hashes.sha256. rclone's names of
 * hash types were capitals before 1.56 ("SHA-256"). Google Drive permits several files of one name,
 * of which a download would keep one.
 */
#include "manifest.h"

#include "bytes.h"
#include "manifest_read.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define LISTING_MAX (64u * 1024u * 1024u) /* an upload is a handful of files */

struct item {
    const char *name, *id; /* in the JSON tree */
    uint64_t size;
    struct ems_sha256 sha256;
};

static int read_all(struct ems_source *src, struct ems_buf *text, struct ems_error *err)
{
    struct ems_span span;
    int rc;

    while ((rc = ems_source_next(src, &span, err)) == EMS_OK) {
        if (span.size > LISTING_MAX - text->size)
            return ems_fail(err, EMS_MANIFEST_MALFORMED, "the listing is larger than %u bytes",
                            LISTING_MAX);
        rc = ems_buf_append(text, span.data, span.size, err);
        if (rc != EMS_OK)
            return rc;
    }
    return rc == EMS_END ? EMS_OK : rc;
}

static void take_hash(const json_t *hashes, struct ems_sha256 *out)
{
    static const char *const names[] = {"sha256", "SHA256", "SHA-256"};

    for (size_t i = 0; i < sizeof names / sizeof names[0] && !out->done; i++) {
        const char *hex = json_string_value(json_object_get(hashes, names[i]));

        if (hex != NULL && strlen(hex) == 2 * EMS_SHA256_SIZE)
            ems_manifest_parse_hex(hex, out);
    }
}

/* One object; *use is false for what is no file of the upload. */
static int take_item(const json_t *object, size_t number, struct item *item, bool *use,
                     struct ems_error *err)
{
    const json_t *size = json_object_get(object, "Size");
    const char *slash;

    *item = (struct item){.name = json_string_value(json_object_get(object, "Name")),
                          .id = json_string_value(json_object_get(object, "ID"))};
    *use = false;
    if (json_is_true(json_object_get(object, "IsDir")))
        return EMS_OK;
    if (item->name == NULL)
        item->name = json_string_value(json_object_get(object, "Path"));
    if (item->name == NULL || !json_is_integer(size))
        return ems_fail(err, EMS_MANIFEST_MALFORMED,
                        "item %zu of the listing has no name or no size", number);
    slash = strrchr(item->name, '/');
    item->name = slash != NULL ? slash + 1 : item->name;
    /* -1: of unknown size, a document of Google's own */
    item->size = json_integer_value(size) >= 0 ? (uint64_t)json_integer_value(size) : EMS_NOWHERE;
    take_hash(json_object_get(object, "Hashes"), &item->sha256);
    *use = item->name[0] != '.' && !ems_manifest_is_name(item->name);
    return EMS_OK;
}

static int compare_items(const void *a, const void *b)
{
    return strcmp(((const struct item *)a)->name, ((const struct item *)b)->name);
}

static bool same_content(const struct item *a, const struct item *b)
{
    return a->size == b->size && a->sha256.done && b->sha256.done &&
           memcmp(a->sha256.bytes, b->sha256.bytes, EMS_SHA256_SIZE) == 0;
}

/* `count` files of one name: told with their ids, and whether a download may take any of them. */
static bool report_twins(const char *artifact, const struct item *items, size_t count,
                         struct ems_findings *findings)
{
    bool same = true;

    for (size_t i = 1; i < count; i++)
        same = same && same_content(&items[0], &items[i]);
    ems_findings_add(findings, same ? EMS_PART_DUPLICATE : EMS_PART_CONFLICT,
                     same ? EMS_SEVERITY_WARNING : EMS_SEVERITY_ERROR, artifact, items[0].name,
                     EMS_NOWHERE, NULL, "%zu files are called %s, %s (ids %s and %s)", count,
                     items[0].name, same ? "all of the same content" : "and they are not the same",
                     items[0].id != NULL ? items[0].id : "?",
                     items[1].id != NULL ? items[1].id : "?");
    return same;
}

static void match_items(struct ems_manifest *m, struct item *items, size_t count,
                        struct ems_findings *findings)
{
    size_t unhashed = 0;

    qsort(items, count, sizeof *items, compare_items);
    for (size_t i = 0; i < count;) {
        const struct item *item = &items[i];
        const struct ems_manifest_entry *e = ems_manifest_find(m, item->name);
        size_t twins = 1, stem = ems_manifest_part_stem(item->name);
        char *artifact = strndup(item->name, stem > 0 ? stem : strlen(item->name));

        if (artifact == NULL) {
            findings->out_of_memory = true;
            return;
        }
        while (i + twins < count && strcmp(items[i + twins].name, item->name) == 0)
            twins++;
        if (twins == 1 || report_twins(artifact, item, twins, findings))
            ems_manifest_match(m, artifact, item->name, item->size, &item->sha256, findings);
        else if (e != NULL) /* here, more than once: not missing */
            ems_manifest_find(m, item->name)->state = EMS_MANIFEST_BAD;
        unhashed += e != NULL && !item->sha256.done;
        free(artifact);
        i += twins;
    }
    if (unhashed > 0)
        ems_findings_add(findings, EMS_MANIFEST_DIGEST, EMS_SEVERITY_WARNING, NULL, NULL,
                         EMS_NOWHERE, "List with: rclone lsjson --hash.",
                         "the listing has no SHA-256 of %zu files: compared by size only",
                         unhashed);
}

int ems_manifest_match_listing(struct ems_manifest *m, struct ems_source *src,
                               struct ems_findings *findings, struct ems_error *err)
{
    struct ems_buf text = {0};
    struct item *items = NULL;
    json_t *root = NULL;
    json_error_t where;
    size_t count = 0;
    int rc = src != NULL ? read_all(src, &text, err) : err->code;

    if (rc != EMS_OK)
        goto out;
    root = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_array(root)) {
        rc = ems_fail(err, EMS_MANIFEST_MALFORMED, "the listing is no JSON array, line %d: %s",
                      root == NULL ? where.line : 1, root == NULL ? where.text : "another value");
        goto out;
    }
    items = calloc(json_array_size(root) + 1, sizeof *items);
    if (items == NULL)
        rc = ems_fail_memory(err);
    for (size_t i = 0; i < json_array_size(root) && rc == EMS_OK; i++) {
        bool use = false;

        rc = take_item(json_array_get(root, i), i + 1, &items[count], &use, err);
        count += use;
    }
    if (rc == EMS_OK) {
        match_items(m, items, count, findings);
        ems_manifest_match_end(m, findings);
    }
out:
    free(items);
    json_decref(root);
    ems_buf_release(&text);
    ems_source_free(src);
    return rc;
}
