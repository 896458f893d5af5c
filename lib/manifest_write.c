/* manifest_write.c - level 1 as text: directives as comments, sha256sum's lines, the end line. */
#include "manifest.h"

#include "bytes.h"
#include "manifest_store.h"

#include <gcrypt.h>
#include <stdlib.h>
#include <string.h>

#define FLUSH_SIZE 65536u

struct writer {
    struct ems_sink *sink;
    struct ems_buf text; /* not yet written */
    gcry_md_hd_t md;     /* of all that was written */
    uint64_t lines;
    struct ems_error *err;
    int rc; /* the first failure; later calls do nothing */
};

static void flush(struct writer *w)
{
    if (w->rc != EMS_OK)
        return;
    gcry_md_write(w->md, w->text.data, w->text.size);
    w->rc = ems_sink_write(w->sink, w->text.data, w->text.size, w->err);
    w->text.size = 0;
}

static void put(struct writer *w, const char *text, size_t size)
{
    if (w->rc == EMS_OK)
        w->rc = ems_buf_append(&w->text, text, size, w->err);
}

static void puts_(struct writer *w, const char *text)
{
    put(w, text, strlen(text));
}

static void end_line(struct writer *w)
{
    put(w, "\n", 1);
    w->lines++;
    if (w->text.size >= FLUSH_SIZE)
        flush(w);
}

/* A directive's value: every byte outside of the list is %HH. */
static void put_value(struct writer *w, const char *value)
{
    for (; *value != '\0'; value++) {
        char c = *value;

        if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
            strchr("._~+@:,-/", c) != NULL)
            put(w, value, 1);
        else if (w->rc == EMS_OK)
            w->rc = ems_buf_printf(&w->text, w->err, "%%%02X", (uint8_t)c);
    }
}

static void begin(struct writer *w, const char *keyword, const char *value)
{
    puts_(w, "#% ");
    puts_(w, keyword);
    if (value != NULL) {
        put(w, " ", 1);
        put_value(w, value);
    }
}

/* " key=value", left out if there is nothing to say. */
static void pair(struct writer *w, const char *key, const char *value)
{
    if (value == NULL || value[0] == '\0')
        return;
    put(w, " ", 1);
    puts_(w, key);
    put(w, "=", 1);
    put_value(w, value);
}

static void pair_number(struct writer *w, const char *key, uint64_t value)
{
    if (w->rc == EMS_OK)
        w->rc = ems_buf_printf(&w->text, w->err, " %s=%llu", key, (unsigned long long)value);
}

static void pair_digest(struct writer *w, const struct ems_sha256 *sha256)
{
    char hex[2 * EMS_SHA256_SIZE + 1];

    ems_hex(sha256->bytes, EMS_SHA256_SIZE, hex);
    pair(w, "sha256", hex);
}

/* ---- the lines, in their order ---- */

static void write_head(struct writer *w, const struct ems_manifest *m)
{
    puts_(w, "#%ems-manifest 1");
    end_line(w);
    if (m->tool[0] != '\0') {
        begin(w, "tool", NULL);
        pair(w, "name", m->tool);
        pair(w, "version", m->tool_version);
        end_line(w);
    }
    if (m->created[0] != '\0') {
        begin(w, "created", m->created);
        end_line(w);
    }
    if (m->server_name[0] != '\0') {
        begin(w, "server-name", m->server_name);
        end_line(w);
    }
    if (m->upload_id[0] != '\0') {
        begin(w, "upload-id", m->upload_id);
        end_line(w);
    }
}

static void write_artifacts(struct writer *w, const struct ems_manifest *m)
{
    for (size_t i = 0; i < m->artifact_count; i++) {
        const struct ems_manifest_artifact *a = &m->artifacts[i];

        begin(w, "artifact", a->name);
        pair(w, "kind", a->kind);
        pair_number(w, "size", a->size);
        if (a->parts > 0)
            pair_number(w, "parts", a->parts);
        if (a->part_size > 0)
            pair_number(w, "part-size", a->part_size);
        pair(w, "suffix", a->suffix);
        pair(w, "enc", a->enc);
        end_line(w);
    }
    for (size_t i = 0; i < m->entry_count; i++) {
        const struct ems_manifest_entry *e = &m->entries[i];

        if (e->of == NULL)
            continue;
        begin(w, "part", e->name);
        pair(w, "of", e->of);
        pair_number(w, "index", e->index);
        pair_number(w, "offset", e->offset);
        pair_number(w, "size", e->size);
        end_line(w);
    }
}

static void write_contents(struct writer *w, const struct ems_manifest *m)
{
    for (size_t i = 0; i < m->inner_count; i++) {
        begin(w, "inner", m->inners[i].name);
        pair(w, "layer", m->inners[i].layer);
        pair_number(w, "size", m->inners[i].size);
        pair_digest(w, &m->inners[i].sha256);
        end_line(w);
    }
    for (size_t i = 0; i < m->sqldump_count; i++) {
        const struct ems_manifest_sqldump *d = &m->sqldumps[i];

        begin(w, "sqldump", NULL);
        pair(w, "of", d->of);
        pair(w, "server", d->server);
        pair(w, "dump", d->dump);
        pair(w, "encoding", d->encoding);
        pair(w, "complete", d->complete ? "yes" : "no");
        end_line(w);
        for (size_t k = d->first_table; k < d->first_table + d->table_count; k++) {
            begin(w, "table", m->tables[k].name);
            pair_number(w, "rows", m->tables[k].rows);
            end_line(w);
        }
    }
    for (size_t i = 0; i < m->media_count; i++) {
        begin(w, "media", NULL);
        pair(w, "of", m->media[i].of);
        pair(w, "entity", m->media[i].entity);
        pair_number(w, "count", m->media[i].count);
        pair_number(w, "bytes", m->media[i].bytes);
        pair_number(w, "missing", m->media[i].missing);
        end_line(w);
    }
    for (size_t i = 0; i < m->block_count; i++) {
        begin(w, "block", m->blocks[i].name);
        pair_number(w, "size", m->blocks[i].size);
        pair_number(w, "index", m->blocks[i].index);
        pair_digest(w, &m->blocks[i].sha256);
        end_line(w);
    }
}

/* As sha256sum: a backslash in the name is doubled, and one in front of the line says so. (Line
 * breaks, its other two escapes, are in no name that a manifest takes.) */
static void write_sum(struct writer *w, const struct ems_manifest_entry *e)
{
    char hex[2 * EMS_SHA256_SIZE + 1];

    if (strchr(e->name, '\\') != NULL)
        put(w, "\\", 1);
    ems_hex(e->sha256.bytes, EMS_SHA256_SIZE, hex);
    puts_(w, hex);
    puts_(w, "  ");
    for (const char *p = e->name; *p != '\0'; p++)
        put(w, *p == '\\' ? "\\\\" : p, *p == '\\' ? 2 : 1);
    end_line(w);
}

/* Files first; what exists only when parts are put together stands behind all of them. */
static void write_sums(struct writer *w, struct ems_manifest *m)
{
    ems_manifest_count_parts(m);
    for (int assembled = 0; assembled <= 1; assembled++)
        for (size_t i = 0; i < m->entry_count; i++)
            if (m->entries[i].sha256.done && (m->entries[i].parts > 0) == assembled)
                write_sum(w, &m->entries[i]);
}

static void write_end(struct writer *w)
{
    struct ems_sha256 sha256;

    flush(w);
    if (w->rc != EMS_OK)
        return;
    /* Reading ends a digest for more, unless a copy is read. */
    gcry_md_hd_t copy;

    if (gcry_md_copy(&copy, w->md) != 0) {
        w->rc = ems_fail_memory(w->err);
        return;
    }
    memcpy(sha256.bytes, gcry_md_read(copy, GCRY_MD_SHA256), EMS_SHA256_SIZE);
    gcry_md_close(copy);
    begin(w, "end", NULL);
    pair_number(w, "lines", w->lines);
    pair_digest(w, &sha256);
    end_line(w);
    flush(w);
}

int ems_manifest_write(struct ems_manifest *m, struct ems_sink *sink, struct ems_error *err)
{
    struct writer w = {.sink = sink, .err = err};

    if (gcry_md_open(&w.md, GCRY_MD_SHA256, 0) != 0)
        return ems_fail(err, EMS_INTERNAL, "SHA-256 cannot be opened");
    write_head(&w, m);
    write_artifacts(&w, m);
    write_contents(&w, m);
    write_sums(&w, m);
    write_end(&w);
    if (w.rc == EMS_OK) {
        ems_hex(gcry_md_read(w.md, GCRY_MD_SHA256), 8, m->fingerprint);
        m->lines = w.lines;
    }
    gcry_md_close(w.md);
    ems_buf_release(&w.text);
    return w.rc;
}
