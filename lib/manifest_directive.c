/*
 * manifest_directive.c - the "#%" lines: a keyword, perhaps a name, and key=value pairs, with one
 * space between. Values have %HH for every byte outside of a short list.
 *
 * A keyword that is not known and begins with a small letter is news that can be done without; one
 * that begins with a capital changes what the rest means, so the file is refused.
 */
#include "manifest_read.h"

#include <stdlib.h>
#include <string.h>

#define MAX_FIELDS 32u

struct field {
    const char *key; /* NULL: a bare value */
    char *value;
    size_t size; /* of value, decoded */
};

struct directive {
    struct ems_manifest_reader *reader;
    const char *keyword;
    struct field fields[MAX_FIELDS];
    size_t count;
    struct ems_error *err;
};

/* which: a piece of the line, or NULL. */
static int malformed(const struct directive *d, const char *what, const char *which)
{
    char shown[80] = "";

    if (which != NULL)
        ems_printable(which, strlen(which), shown, sizeof shown);
    return ems_manifest_line_fail(d->reader, EMS_MANIFEST_MALFORMED, d->err, "%s: %s%s%s",
                                  d->keyword, what, which != NULL ? " " : "", shown);
}

/* ---- fields ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* %HH in place. False for %00 and for a percent sign without two hex digits. */
static bool decode(struct field *f)
{
    char *out = f->value;

    for (const char *in = f->value; *in != '\0'; in++) {
        int high, low;

        if (*in != '%') {
            *out++ = *in;
            continue;
        }
        high = hex_digit(in[1]);
        low = high >= 0 ? hex_digit(in[2]) : -1;
        if (low < 0 || high + low == 0)
            return false;
        *out++ = (char)(high << 4 | low);
        in += 2;
    }
    *out = '\0';
    f->size = (size_t)(out - f->value);
    return true;
}

static const struct field *find(const struct directive *d, const char *key)
{
    for (size_t i = 0; i < d->count; i++)
        if (d->fields[i].key != NULL && strcmp(d->fields[i].key, key) == 0)
            return &d->fields[i];
    return NULL;
}

static int split(struct directive *d, char *text)
{
    while (text != NULL) {
        struct field *f = &d->fields[d->count];
        char *space = strchr(text, ' '), *equals;

        if (space != NULL)
            *space++ = '\0';
        if (*text == '\0')
            return malformed(d, "two spaces, or one at the end", NULL);
        if (d->count == MAX_FIELDS)
            return malformed(d, "too many values, from", text);
        *f = (struct field){.value = text};
        equals = strchr(text, '=');
        if (equals != NULL) {
            *equals = '\0';
            if (*text == '\0')
                return malformed(d, "a value without a key:", equals + 1);
            if (find(d, text) != NULL)
                return malformed(d, "the key comes twice:", text);
            f->key = text;
            f->value = equals + 1;
        } else if (d->count > 0) {
            return malformed(d, "a value without a key:", text);
        }
        if (!decode(f))
            return malformed(d, "a wrong % escape in", f->value);
        d->count++;
        text = space;
    }
    return EMS_OK;
}

/* The value in front, which is no key=value. */
static int bare(const struct directive *d, const char **value)
{
    if (d->count == 0 || d->fields[0].key != NULL)
        return malformed(d, "the name is missing", NULL);
    *value = d->fields[0].value;
    return EMS_OK;
}

static const char *text_of(const struct directive *d, const char *key)
{
    const struct field *f = find(d, key);

    return f != NULL ? f->value : "";
}

/* A name of a file inside a directive: reduced to its base name. */
static int file_name(const struct directive *d, const char **name)
{
    const char *reason;
    size_t size;

    if (ems_manifest_base_name(*name, strlen(*name), name, &size, &reason))
        return EMS_OK;
    return malformed(d, "the name cannot be, it has", reason);
}

static int owner_of(const struct directive *d, const char **name)
{
    const struct field *f = find(d, "of");

    if (f == NULL)
        return malformed(d, "missing:", "of");
    *name = f->value;
    return file_name(d, name);
}

/* A decimal number; absent: `otherwise`, or an error if it must be there. */
static int number(const struct directive *d, const char *key, bool must, uint64_t otherwise,
                  uint64_t *value)
{
    const struct field *f = find(d, key);
    uint64_t n = 0;

    *value = otherwise;
    if (f == NULL)
        return must ? malformed(d, "missing:", key) : EMS_OK;
    for (const char *p = f->value; *p != '\0' || p == f->value; p++) {
        if (*p < '0' || *p > '9' || n > (UINT64_MAX - 10) / 10)
            return malformed(d, "not a number:", key);
        n = 10 * n + (uint64_t)(*p - '0');
    }
    *value = n;
    return EMS_OK;
}

static int digest(const struct directive *d, struct ems_sha256 *out)
{
    const struct field *f = find(d, "sha256");

    if (f == NULL)
        return malformed(d, "missing:", "sha256");
    if (f->size != 64 || !ems_manifest_parse_hex(f->value, out))
        return malformed(d, "not 64 hex digits:", "sha256");
    return EMS_OK;
}

/* What ems_manifest_add... said, with the line in front. */
static int added(const struct directive *d, const struct ems_error *inner)
{
    return inner->code == EMS_OK ? EMS_OK : ems_manifest_line_error(d->reader, inner, d->err);
}

static void note_line(const struct directive *d, const char *name)
{
    struct ems_manifest_entry *e = ems_manifest_find(d->reader->m, name);

    if (e->line == 0)
        e->line = d->reader->line;
}

/* ---- keywords ---- */

static int single(const struct directive *d, const char **which, const char *value)
{
    struct ems_error inner = {0};

    if (**which != '\0')
        return malformed(d, "comes twice", NULL);
    ems_manifest_set(d->reader->m, which, value, &inner);
    return added(d, &inner);
}

static int take_tool(const struct directive *d)
{
    struct ems_manifest *m = d->reader->m;
    int rc = single(d, &m->tool, text_of(d, "name"));

    return rc != EMS_OK ? rc : single(d, &m->tool_version, text_of(d, "version"));
}

static int take_single(const struct directive *d)
{
    struct ems_manifest *m = d->reader->m;
    const char *value = "";
    int rc = bare(d, &value);

    if (rc != EMS_OK)
        return rc;
    return single(d,
                  d->keyword[0] == 'c'   ? &m->created
                  : d->keyword[0] == 's' ? &m->server_name
                                         : &m->upload_id,
                  value);
}

static int take_artifact(const struct directive *d)
{
    struct ems_manifest *m = d->reader->m;
    struct ems_manifest_artifact a = {
        .kind = text_of(d, "kind"), .suffix = text_of(d, "suffix"), .enc = text_of(d, "enc")};
    struct ems_error inner = {0};
    int rc = bare(d, &a.name);

    if (rc == EMS_OK)
        rc = file_name(d, &a.name);
    if (rc == EMS_OK)
        rc = number(d, "size", true, 0, &a.size);
    if (rc == EMS_OK)
        rc = number(d, "parts", false, 0, &a.parts);
    if (rc == EMS_OK)
        rc = number(d, "part-size", false, 0, &a.part_size);
    if (rc != EMS_OK)
        return rc;
    if (ems_manifest_add(m, a.name, a.size, NULL, &inner) == EMS_OK) {
        note_line(d, a.name);
        ems_manifest_add_artifact(m, &a, &inner);
    }
    return added(d, &inner);
}

/* At level 0 as stat(1) writes it, with the name and the size alone. */
static int take_part(const struct directive *d)
{
    struct ems_manifest *m = d->reader->m;
    uint64_t size, part_index, offset;
    const char *name, *of = NULL;
    struct ems_error inner = {0};
    int rc = bare(d, &name);

    if (rc == EMS_OK)
        rc = file_name(d, &name);
    if (rc == EMS_OK && (find(d, "of") != NULL || m->level > 0))
        rc = owner_of(d, &of);
    if (rc == EMS_OK)
        rc = number(d, "size", true, 0, &size);
    if (rc == EMS_OK)
        rc = number(d, "index", false, 0, &part_index);
    if (rc == EMS_OK)
        rc = number(d, "offset", false, 0, &offset);
    if (rc != EMS_OK)
        return rc;
    if (of != NULL)
        rc = ems_manifest_add_part(m, name, of, part_index, offset, size, NULL, &inner);
    else
        rc = ems_manifest_add(m, name, size, NULL, &inner);
    if (rc == EMS_OK)
        note_line(d, name);
    return added(d, &inner);
}

static int take_inner(const struct directive *d)
{
    struct ems_manifest_inner i = {.layer = text_of(d, "layer")};
    struct ems_error inner = {0};
    int rc = bare(d, &i.name);

    if (rc == EMS_OK)
        rc = file_name(d, &i.name);
    if (rc == EMS_OK && i.layer[0] == '\0')
        rc = malformed(d, "missing:", "layer");
    if (rc == EMS_OK)
        rc = number(d, "size", true, 0, &i.size);
    if (rc == EMS_OK)
        rc = digest(d, &i.sha256);
    if (rc != EMS_OK)
        return rc;
    ems_manifest_add_inner(d->reader->m, &i, &inner);
    return added(d, &inner);
}

static int take_sqldump(const struct directive *d)
{
    struct ems_manifest_sqldump s = {.server = text_of(d, "server"),
                                     .dump = text_of(d, "dump"),
                                     .encoding = text_of(d, "encoding"),
                                     .complete = strcmp(text_of(d, "complete"), "yes") == 0};
    struct ems_error inner = {0};
    int rc = owner_of(d, &s.of);

    if (rc != EMS_OK)
        return rc;
    ems_manifest_add_sqldump(d->reader->m, &s, &inner);
    return added(d, &inner);
}

static int take_table(const struct directive *d)
{
    struct ems_manifest_table t;
    struct ems_error inner = {0};
    int rc = bare(d, &t.name);

    if (rc == EMS_OK)
        rc = number(d, "rows", true, 0, &t.rows);
    if (rc != EMS_OK)
        return rc;
    ems_manifest_add_table(d->reader->m, &t, &inner);
    return added(d, &inner);
}

static int take_media(const struct directive *d)
{
    struct ems_manifest_media media = {.entity = text_of(d, "entity")};
    struct ems_error inner = {0};
    int rc = owner_of(d, &media.of);

    if (rc == EMS_OK)
        rc = number(d, "count", true, 0, &media.count);
    if (rc == EMS_OK)
        rc = number(d, "bytes", false, 0, &media.bytes);
    if (rc == EMS_OK)
        rc = number(d, "missing", false, 0, &media.missing);
    if (rc != EMS_OK)
        return rc;
    ems_manifest_add_media(d->reader->m, &media, &inner);
    return added(d, &inner);
}

static int take_block(const struct directive *d)
{
    struct ems_manifest_block b = {0};
    struct ems_error inner = {0};
    int rc = bare(d, &b.name);

    if (rc == EMS_OK)
        rc = file_name(d, &b.name);
    if (rc == EMS_OK)
        rc = number(d, "size", true, 0, &b.size);
    if (rc == EMS_OK && b.size == 0)
        rc = malformed(d, "not a number:", "size");
    if (rc == EMS_OK)
        rc = number(d, "index", true, 0, &b.index);
    if (rc == EMS_OK)
        rc = digest(d, &b.sha256);
    if (rc != EMS_OK)
        return rc;
    ems_manifest_add_block(d->reader->m, &b, &inner);
    return added(d, &inner);
}

static int take_end(const struct directive *d)
{
    struct ems_manifest_reader *r = d->reader;
    struct ems_sha256 sha256 = {0};
    uint64_t lines;
    int rc = number(d, "lines", true, 0, &lines);

    if (rc == EMS_OK)
        rc = digest(d, &sha256);
    if (rc != EMS_OK)
        return rc;
    if (r->m->level == 0)
        return ems_manifest_line_fail(r, EMS_MANIFEST_TRUNCATED, d->err,
                                      "an end line, but the first line is missing");
    if (lines != r->line - 1)
        return ems_manifest_line_fail(
            r, lines > r->line - 1 ? EMS_MANIFEST_TRUNCATED : EMS_MANIFEST_MALFORMED, d->err,
            "the end line counts %llu lines, here are %llu", (unsigned long long)lines,
            (unsigned long long)r->line - 1);
    if (!ems_equal_ct(sha256.bytes, r->self.bytes, EMS_SHA256_SIZE))
        return ems_manifest_line_fail(r, EMS_MANIFEST_MALFORMED, d->err,
                                      "the manifest was changed after it was written: the "
                                      "checksum in its end line is not right");
    r->sealed = true;
    return EMS_OK;
}

static const struct {
    const char *keyword;
    int (*take)(const struct directive *);
} keywords[] = {
    {"tool", take_tool},        {"created", take_single},    {"server-name", take_single},
    {"upload-id", take_single}, {"artifact", take_artifact}, {"part", take_part},
    {"inner", take_inner},      {"sqldump", take_sqldump},   {"table", take_table},
    {"media", take_media},      {"block", take_block},       {"end", take_end},
};

int ems_manifest_take_directive(struct ems_manifest_reader *r, char *text, struct ems_error *err)
{
    struct directive d = {.reader = r, .keyword = text, .err = err};
    char *space = strchr(text, ' '), shown[64];
    size_t which = 0;
    int rc;

    if (space != NULL)
        *space++ = '\0';
    while (which < sizeof keywords / sizeof keywords[0] &&
           strcmp(keywords[which].keyword, text) != 0)
        which++;
    if (which < sizeof keywords / sizeof keywords[0]) {
        rc = split(&d, space);
        return rc != EMS_OK ? rc : keywords[which].take(&d);
    }
    if (text[0] >= 'a' && text[0] <= 'z') {
        r->m->ignored++;
        return EMS_OK;
    }
    ems_printable(text, strlen(text), shown, sizeof shown);
    if (text[0] >= 'A' && text[0] <= 'Z')
        return ems_manifest_line_fail(r, EMS_MANIFEST_UNSUPPORTED, err,
                                      "the directive %s must be understood, and is not", shown);
    return ems_manifest_line_fail(r, EMS_MANIFEST_MALFORMED, err, "not a keyword: %s", shown);
}
