/*
 * manifest_read.c - the text of a manifest: encodings, lines, and the frame of level 1.
 *
 * The checksum in the end line is of the lines as they were written. A file that an editor has
 * given CRLF, a byte order mark or UTF-16 still holds those lines, so they are hashed as decoded,
 * each with one LF; for an untouched file that is the same as its bytes.
 */
#include "manifest_read.h"

#include <gcrypt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum encoding { BYTES, UTF16_LE, UTF16_BE };

struct text {
    struct ems_manifest_reader reader;
    enum encoding encoding;
    bool bom, crlf;
    uint8_t half;       /* UTF-16: first byte of a unit, */
    bool have_half;     /* if it has come */
    uint32_t surrogate; /* UTF-16: high surrogate waiting for its low one, or 0 */
    gcry_md_hd_t file_md, self_md;
    size_t size; /* of line */
    char line[EMS_MANIFEST_LINE_MAX + 1];
};

int ems_manifest_line_fail(const struct ems_manifest_reader *r, int code, struct ems_error *err,
                           const char *fmt, ...)
{
    char text[240];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return ems_fail(err, code, "line %llu: %s", (unsigned long long)r->line, text);
}

int ems_manifest_line_error(const struct ems_manifest_reader *r, const struct ems_error *inner,
                            struct ems_error *err)
{
    return ems_manifest_line_fail(r, inner->code, err, "%s", inner->text);
}

static int malformed(struct text *t, struct ems_error *err, const char *what)
{
    return ems_manifest_line_fail(&t->reader, EMS_MANIFEST_MALFORMED, err, "%s", what);
}

/* ---- lines ---- */

/* "#%ems-manifest N": the level of the file. */
static int take_head(struct text *t, const char *version, struct ems_error *err)
{
    struct ems_manifest_reader *r = &t->reader;
    unsigned long number;
    char *end;

    if (r->line != 1)
        return malformed(t, err, "a second manifest begins");
    if (version[0] != ' ' || version[1] < '1' || version[1] > '9')
        return malformed(t, err, "the first line has no version number");
    number = strtoul(version + 1, &end, 10);
    if (*end != '\0')
        return malformed(t, err, "text behind the version number");
    if (number > EMS_MANIFEST_VERSION)
        return ems_manifest_line_fail(r, EMS_MANIFEST_UNSUPPORTED, err,
                                      "version %lu of the manifest is newer than this program "
                                      "(%u)",
                                      number, EMS_MANIFEST_VERSION);
    r->m->level = 1;
    return EMS_OK;
}

/* The digest of all lines before the end line. */
static int snapshot(struct text *t, struct ems_error *err)
{
    gcry_md_hd_t copy;
    gcry_error_t gerr = gcry_md_copy(&copy, t->self_md);

    if (gerr != 0)
        return ems_fail(err, EMS_NO_MEMORY, "SHA-256 cannot be copied: %s", gcry_strerror(gerr));
    memcpy(t->reader.self.bytes, gcry_md_read(copy, GCRY_MD_SHA256), EMS_SHA256_SIZE);
    t->reader.self.done = true;
    gcry_md_close(copy);
    return EMS_OK;
}

static int take_line(struct text *t, struct ems_error *err)
{
    static const char head[] = "#%ems-manifest";
    struct ems_manifest_reader *r = &t->reader;
    int rc = EMS_OK;

    r->line++;
    if (r->line > EMS_MANIFEST_MAX_LINES)
        return malformed(t, err, "more lines than a manifest may have");
    if (t->size > 0 && t->line[t->size - 1] == '\r') {
        t->crlf = true;
        t->size--;
    }
    t->line[t->size] = '\0';
    if (memchr(t->line, '\0', t->size) != NULL)
        return malformed(t, err, "a NUL byte (UTF-16 text without its byte order mark?)");
    if (r->sealed && t->size > 0)
        return malformed(t, err, "text behind the end line");
    if (strncmp(t->line, "#% end", 6) == 0)
        rc = snapshot(t, err);
    gcry_md_write(t->self_md, t->line, t->size);
    gcry_md_write(t->self_md, "\n", 1);
    if (rc != EMS_OK || r->sealed)
        return rc;
    if (strncmp(t->line, head, sizeof head - 1) == 0)
        return take_head(t, t->line + sizeof head - 1, err);
    if (strncmp(t->line, "#% ", 3) == 0)
        return ems_manifest_take_directive(r, t->line + 3, err);
    if (t->line[0] == '#') /* a comment, as for sha256sum -c */
        return EMS_OK;
    return ems_manifest_take_sum(r, t->line, t->size, err);
}

static int put(struct text *t, const void *bytes, size_t size, struct ems_error *err)
{
    if (size > EMS_MANIFEST_LINE_MAX - t->size) {
        t->reader.line++;
        return malformed(t, err, "longer than 65536 bytes");
    }
    memcpy(t->line + t->size, bytes, size);
    t->size += size;
    return EMS_OK;
}

static int end_line(struct text *t, struct ems_error *err)
{
    int rc = take_line(t, err);

    t->size = 0;
    return rc;
}

/* ---- encodings ---- */

static int feed_bytes(struct text *t, const uint8_t *data, size_t size, struct ems_error *err)
{
    int rc = EMS_OK;

    while (size > 0 && rc == EMS_OK) {
        const uint8_t *lf = memchr(data, '\n', size);
        size_t n = lf != NULL ? (size_t)(lf - data) : size;

        rc = put(t, data, n, err);
        if (rc == EMS_OK && lf != NULL) {
            rc = end_line(t, err);
            n++;
        }
        data += n;
        size -= n;
    }
    return rc;
}

static int put_codepoint(struct text *t, uint32_t c, struct ems_error *err)
{
    uint8_t utf8[4];
    size_t n = 0;

    if (c == '\n')
        return end_line(t, err);
    if (c < 0x80) {
        utf8[n++] = (uint8_t)c;
    } else if (c < 0x800) {
        utf8[n++] = (uint8_t)(0xc0 | c >> 6);
    } else if (c < 0x10000) {
        utf8[n++] = (uint8_t)(0xe0 | c >> 12);
        utf8[n++] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    } else {
        utf8[n++] = (uint8_t)(0xf0 | c >> 18);
        utf8[n++] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
        utf8[n++] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    }
    if (c >= 0x80)
        utf8[n++] = (uint8_t)(0x80 | (c & 0x3f));
    return put(t, utf8, n, err);
}

/* One 16-bit unit (Unicode standard, section 3.9, D91). */
static int feed_unit(struct text *t, uint32_t unit, struct ems_error *err)
{
    uint32_t high = t->surrogate;

    t->surrogate = 0;
    if (unit >= 0xd800 && unit < 0xdc00 && high == 0) {
        t->surrogate = unit;
        return EMS_OK;
    }
    if ((unit >= 0xdc00 && unit < 0xe000) != (high != 0)) {
        t->reader.line++;
        return malformed(t, err, "half a UTF-16 character");
    }
    if (high != 0)
        unit = 0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00);
    return put_codepoint(t, unit, err);
}

static int feed_utf16(struct text *t, const uint8_t *data, size_t size, struct ems_error *err)
{
    int rc = EMS_OK;

    for (size_t i = 0; i < size && rc == EMS_OK; i++) {
        uint32_t first = t->half, second = data[i];

        if (!t->have_half) {
            t->half = data[i];
            t->have_half = true;
            continue;
        }
        t->have_half = false;
        rc = feed_unit(t, t->encoding == UTF16_LE ? second << 8 | first : first << 8 | second, err);
    }
    return rc;
}

/* Byte order marks: EF BB BF, FF FE, FE FF. */
static int take_bom(struct text *t, struct ems_reader *in, struct ems_error *err)
{
    const uint8_t *head;
    size_t have, mark = 0;
    int rc = ems_reader_peek(in, 3, &head, &have, err);

    if (rc != EMS_OK)
        return rc;
    if (have >= 3 && head[0] == 0xef && head[1] == 0xbb && head[2] == 0xbf) {
        mark = 3;
    } else if (have >= 2 && head[0] == 0xff && head[1] == 0xfe) {
        t->encoding = UTF16_LE;
        mark = 2;
    } else if (have >= 2 && head[0] == 0xfe && head[1] == 0xff) {
        t->encoding = UTF16_BE;
        mark = 2;
    }
    t->bom = mark > 0;
    if (mark > 0) {
        gcry_md_write(t->file_md, head, mark);
        ems_reader_skip(in, mark);
    }
    return EMS_OK;
}

/* ---- the whole ---- */

static int read_lines(struct text *t, struct ems_source *src, struct ems_error *err)
{
    struct ems_reader in = {.below = src};
    struct ems_span span;
    int rc = take_bom(t, &in, err);

    if (rc != EMS_OK)
        return rc;
    while ((rc = ems_reader_lend(&in, SIZE_MAX, &span, err)) == EMS_OK) {
        gcry_md_write(t->file_md, span.data, span.size);
        rc = t->encoding == BYTES ? feed_bytes(t, span.data, span.size, err)
                                  : feed_utf16(t, span.data, span.size, err);
        if (rc != EMS_OK)
            break;
    }
    return rc == EMS_END ? EMS_OK : rc;
}

/* The bytes have ended: so must the text. */
static int finish(struct text *t, struct ems_error *err)
{
    struct ems_manifest_reader *r = &t->reader;
    struct ems_error inner = {0};
    int rc = EMS_OK;

    if (t->have_half || t->surrogate != 0) {
        r->line++;
        return ems_manifest_line_fail(r, EMS_MANIFEST_TRUNCATED, err,
                                      "the file ends within a UTF-16 character");
    }
    if (t->size > 0)
        rc = end_line(t, &inner);
    if (rc == EMS_OK)
        rc = ems_manifest_finish_sums(r, &inner);
    if (rc == EMS_MANIFEST_MALFORMED)
        return ems_fail(err, EMS_MANIFEST_TRUNCATED, "the file ends too early: %s", inner.text);
    if (rc != EMS_OK)
        return ems_fail(err, rc, "%s", inner.text);
    if (r->m->level > 0 && !r->sealed)
        return ems_manifest_line_fail(r, EMS_MANIFEST_TRUNCATED, err,
                                      "the file ends without its end line");
    if (r->m->entry_count == 0)
        return ems_manifest_line_fail(
            r, r->line == 0 ? EMS_MANIFEST_TRUNCATED : EMS_MANIFEST_MALFORMED, err,
            "no file is named in the manifest");
    return EMS_OK;
}

static void warn(const struct ems_manifest_reader *r, int code, const char *message)
{
    if (r->findings != NULL)
        ems_findings_add(r->findings, code, EMS_SEVERITY_WARNING, r->name, NULL, EMS_NOWHERE, "",
                         "%s", message);
}

static void warn_all(const struct text *t)
{
    const struct ems_manifest_reader *r = &t->reader;

    if (t->encoding != BYTES)
        warn(r, EMS_MANIFEST_MALFORMED,
             "the manifest is UTF-16 text, as PowerShell's \">\" writes it; it was converted");
    else if (t->bom)
        warn(r, EMS_MANIFEST_MALFORMED, "the manifest begins with a byte order mark");
    if (t->crlf)
        warn(r, EMS_MANIFEST_MALFORMED, "the manifest has Windows line ends");
    if (r->m->level == 0)
        warn(r, EMS_MANIFEST_TRUNCATED,
             "a plain checksum list has no end mark: lines that were lost cannot be noticed");
}

static struct text *text_new(struct ems_findings *findings, const char *name, struct ems_error *err)
{
    struct text *t = calloc(1, sizeof *t);

    if (t == NULL) {
        ems_fail_memory(err);
        return NULL;
    }
    t->reader.findings = findings;
    t->reader.name = name;
    t->reader.m = ems_manifest_new(err);
    if (t->reader.m != NULL && (gcry_md_open(&t->file_md, GCRY_MD_SHA256, 0) != 0 ||
                                gcry_md_open(&t->self_md, GCRY_MD_SHA256, 0) != 0))
        ems_fail(err, EMS_INTERNAL, "SHA-256 cannot be opened");
    if (t->reader.m != NULL)
        t->reader.m->level = 0; /* until the first line says otherwise */
    return t;
}

static void text_free(struct text *t)
{
    if (t == NULL)
        return;
    gcry_md_close(t->file_md);
    gcry_md_close(t->self_md);
    ems_buf_release(&t->reader.path);
    ems_manifest_free(t->reader.m);
    free(t);
}

int ems_manifest_read(struct ems_manifest **out, struct ems_source *src, const char *name,
                      struct ems_findings *findings, struct ems_error *err)
{
    struct ems_error own = {0};
    struct text *t = NULL;
    int rc;

    *out = NULL;
    if (err == NULL)
        err = &own;
    if (src != NULL)
        t = text_new(findings, name, err);
    rc = err->code;
    if (rc == EMS_OK)
        rc = read_lines(t, src, err);
    if (rc == EMS_OK)
        rc = finish(t, err);
    if (rc == EMS_OK) {
        warn_all(t);
        ems_manifest_count_parts(t->reader.m);
        t->reader.m->lines = t->reader.line;
        ems_hex(gcry_md_read(t->file_md, GCRY_MD_SHA256), 8, t->reader.m->fingerprint);
        *out = t->reader.m;
        t->reader.m = NULL;
    }
    text_free(t);
    ems_source_free(src);
    return rc;
}
