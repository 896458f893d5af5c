/*
 * manifest_sums.c - one checksum line, in the words of the programs that customers have.
 *
 *     <64 hex> <space or *>NAME          GNU sha256sum, perl shasum, openssl dgst -r
 *     SHA256 (NAME) = <64 hex>           sha256sum --tag, shasum --tag, BSD sha256
 *     SHA256(NAME)= , SHA2-256(NAME)=    openssl dgst, 1.x and 3.x
 *     Algorithm/Hash/Path                PowerShell Get-FileHash, as list or as table
 *     SHA256 hash of NAME: <next line>   certutil -hashfile
 *
 * The first two may begin with a backslash: then \\, \n and \r in the name are escapes (coreutils
 * src/digest.c, filename_unescape).
 */
#include "manifest_read.h"

#include <string.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static size_t hex_length(const char *text)
{
    size_t n = 0;

    while (hex_value(text[n]) >= 0)
        n++;
    return n;
}

bool ems_manifest_parse_hex(const char *text, struct ems_sha256 *out)
{
    for (size_t i = 0; i < EMS_SHA256_SIZE; i++) {
        int high = hex_value(text[2 * i]), low = high >= 0 ? hex_value(text[2 * i + 1]) : -1;

        if (low < 0)
            return false;
        out->bytes[i] = (uint8_t)(high << 4 | low);
    }
    out->done = true;
    return true;
}

static bool begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static const char *skip_blanks(const char *text)
{
    return text + strspn(text, " \t");
}

static int malformed(const struct ems_manifest_reader *r, struct ems_error *err, const char *what)
{
    return ems_manifest_line_fail(r, EMS_MANIFEST_MALFORMED, err, "%s", what);
}

static int take(struct ems_manifest_reader *r, const char *name, const struct ems_sha256 *sha256,
                struct ems_error *err)
{
    struct ems_manifest_entry *e;
    struct ems_error inner = {0};

    /* cat parts | sha256sum, and nobody put the name in: of what, nobody can say. */
    if (strcmp(name, "-") == 0) {
        if (r->findings != NULL)
            ems_findings_add(r->findings, EMS_MANIFEST_MALFORMED, EMS_SEVERITY_WARNING, r->name,
                             NULL, EMS_NOWHERE, NULL,
                             "line %llu: a checksum of standard input names no file; left out",
                             (unsigned long long)r->line);
        return EMS_OK;
    }
    if (ems_manifest_add(r->m, name, EMS_NOWHERE, sha256, &inner) != EMS_OK)
        return ems_manifest_line_error(r, &inner, err);
    e = ems_manifest_find(r->m, name);
    if (e->line == 0)
        e->line = r->line;
    return EMS_OK;
}

/* A path of Windows: what counts follows the last backslash. */
static int take_windows(struct ems_manifest_reader *r, const char *path,
                        const struct ems_sha256 *sha256, struct ems_error *err)
{
    const char *slash = strrchr(path, '\\');
    size_t size;

    path = slash != NULL ? slash + 1 : path;
    size = strlen(path);
    if ((size > 3 && strcmp(path + size - 3, "...") == 0) ||
        (size > 3 && strcmp(path + size - 3, "\xe2\x80\xa6") == 0))
        return malformed(r, err, "PowerShell has cut the path: use Get-FileHash ... | Format-List");
    return take(r, path, sha256, err);
}

/* In place; false for an escape that sha256sum does not write. */
static bool unescape(char *name)
{
    char *out = name;

    for (; *name != '\0'; name++) {
        char c = *name;

        if (c == '\\') {
            name++;
            if (*name == '\\')
                c = '\\';
            else if (*name == 'n')
                c = '\n';
            else if (*name == 'r')
                c = '\r';
            else
                return false;
        }
        *out++ = c;
    }
    *out = '\0';
    return true;
}

/* ---- one line, one checksum ---- */

/* `text` is 64 hex digits and what follows. */
static int take_gnu(struct ems_manifest_reader *r, char *text, bool escaped, struct ems_error *err)
{
    struct ems_sha256 sha256;
    char *name = text + 65;

    ems_manifest_parse_hex(text, &sha256);
    if (*name == ' ' || *name == '*') /* text or binary; without it, the output of BSD's -r */
        name++;
    if (*name == '\0')
        return malformed(r, err, "a checksum without a name");
    if (escaped && !unescape(name))
        return malformed(r, err, "an escape in the name that sha256sum does not write");
    return take(r, name, &sha256, err);
}

/* "ALGORITHM (NAME) = HEX" and "ALGORITHM(NAME)= HEX"; open is at the parenthesis. */
static int take_tagged(struct ems_manifest_reader *r, char *text, char *open, bool escaped,
                       struct ems_error *err)
{
    bool bsd = open[-1] == ' ';
    const char *middle = bsd ? ") = " : ")= ";
    size_t length = (size_t)(open - text) - bsd;
    char *name = open + 1, *end = NULL, *hex;
    struct ems_sha256 sha256;

    if (!(length == 6 && begins(text, "SHA256")) && !(length == 8 && begins(text, "SHA2-256")))
        return ems_manifest_line_fail(r, EMS_MANIFEST_MALFORMED, err,
                                      "a checksum that is not SHA-256");
    for (char *p = name; (p = strstr(p, middle)) != NULL; p++) /* the last: names may hold it */
        end = p;
    if (end == NULL)
        return malformed(r, err, "no checksum behind the name");
    hex = end + strlen(middle);
    if (!ems_manifest_parse_hex(hex, &sha256) || hex[64] != '\0')
        return malformed(r, err, "the checksum is not 64 hex digits");
    *end = '\0';
    if (escaped && !unescape(name))
        return malformed(r, err, "an escape in the name that sha256sum does not write");
    return take(r, name, &sha256, err);
}

/* Letters, digits, '-' and '/' and then a parenthesis, perhaps behind one space: a tag. */
static char *tag_open(char *text)
{
    size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-/");

    if (n == 0)
        return NULL;
    if (text[n] == ' ' && text[n + 1] == '(')
        n++;
    return text[n] == '(' ? text + n : NULL;
}

/* ---- one checksum in several lines ---- */

static int gather_path(struct ems_manifest_reader *r, const char *text, struct ems_error *err)
{
    if (r->path.size + strlen(text) > EMS_MANIFEST_LINE_MAX)
        return malformed(r, err, "a path that is too long");
    return ems_buf_append(&r->path, text, strlen(text), err);
}

/* What was gathered makes an entry. */
static int commit(struct ems_manifest_reader *r, const struct ems_sha256 *sha256,
                  struct ems_error *err)
{
    int rc = ems_buf_append(&r->path, "", 1, err);

    if (rc == EMS_OK)
        rc = take_windows(r, (const char *)r->path.data, sha256, err);
    r->path.size = 0;
    r->pending.done = false;
    r->certutil = false;
    return rc;
}

/* "Hash      : ABC": what follows the colon of such a line, or NULL. */
static const char *list_value(const char *text, const char *key)
{
    if (!begins(text, key))
        return NULL;
    text = skip_blanks(text + strlen(key));
    return *text == ':' ? skip_blanks(text + 1) : NULL;
}

/* PowerShell: list items, and the heading and rows of a table. *known: it was one of these. */
static int take_powershell(struct ems_manifest_reader *r, const char *text, bool *known,
                           struct ems_error *err)
{
    struct ems_sha256 sha256;
    const char *value;

    *known = true;
    if ((value = list_value(text, "Algorithm")) != NULL)
        return begins(value, "SHA256") && *skip_blanks(value + 6) == '\0'
                   ? EMS_OK
                   : malformed(r, err, "a checksum that is not SHA-256");
    if ((value = list_value(text, "Hash")) != NULL) {
        if (hex_length(value) != 64 || *skip_blanks(value + 64) != '\0')
            return malformed(r, err, "the checksum is not 64 hex digits");
        if (r->pending.done)
            return malformed(r, err, "a checksum without a path before it");
        ems_manifest_parse_hex(value, &r->pending);
        return EMS_OK;
    }
    if ((value = list_value(text, "Path")) != NULL)
        return r->pending.done ? gather_path(r, value, err)
                               : malformed(r, err, "a path without a checksum before it");
    if (begins(text, "Algorithm ") && strstr(text, " Hash") != NULL)
        return EMS_OK;
    if (text[0] == '-' && strspn(text, "- ") == strlen(text))
        return EMS_OK;
    if (begins(text, "SHA256 ") && hex_length(value = skip_blanks(text + 6)) == 64) {
        ems_manifest_parse_hex(value, &sha256);
        value = skip_blanks(value + 64);
        if (*value == '\0')
            return malformed(r, err, "a checksum without a name");
        r->path.size = 0;
        return take_windows(r, value, &sha256, err);
    }
    *known = false;
    return EMS_OK;
}

/* "SHA256 hash of [file ]NAME:", in German "SHA256-Hash von NAME:". */
static int take_certutil_head(struct ems_manifest_reader *r, char *text, bool *known,
                              struct ems_error *err)
{
    static const char *const heads[] = {"SHA256 hash of file ", "SHA256 hash of ",
                                        "SHA256-Hash von ", "SHA256-Hash der Datei "};
    size_t size = strlen(text);

    *known = true;
    if (begins(text, "CertUtil:"))
        return EMS_OK;
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        if (!begins(text, heads[i]) || text[size - 1] != ':')
            continue;
        text[size - 1] = '\0';
        r->certutil = true;
        return gather_path(r, text + strlen(heads[i]), err);
    }
    *known = false;
    return EMS_OK;
}

/* The line behind: hex digits, before Windows 8 in pairs with spaces between. */
static int take_certutil_hex(struct ems_manifest_reader *r, const char *text, struct ems_error *err)
{
    struct ems_sha256 sha256;
    char digits[65];
    size_t n = 0;

    for (; *text != '\0'; text++) {
        if (*text == ' ')
            continue;
        if (n == 64)
            return malformed(r, err, "the checksum is not 64 hex digits");
        digits[n++] = *text;
    }
    digits[n] = '\0';
    if (!ems_manifest_parse_hex(digits, &sha256))
        return malformed(r, err, "the checksum is not 64 hex digits");
    return commit(r, &sha256, err);
}

int ems_manifest_take_sum(struct ems_manifest_reader *r, char *line, size_t size,
                          struct ems_error *err)
{
    char *text = line + strspn(line, " \t"), *open;
    size_t digits;
    bool known, escaped;
    int rc;

    if (r->certutil && *text != '\0')
        return take_certutil_hex(r, text, err);
    /* PowerShell wraps a long path under its beginning. */
    if (r->path.size > 0 && text - line >= 8)
        return gather_path(r, text, err);
    if (r->path.size > 0) {
        rc = commit(r, &r->pending, err);
        if (rc != EMS_OK)
            return rc;
    }
    if (*text == '\0')
        return EMS_OK;
    escaped = *text == '\\';
    text += escaped;
    digits = hex_length(text);
    if (digits == 64 && (text[64] == ' ' || text[64] == '\t'))
        return take_gnu(r, text, escaped, err);
    if (digits >= 32 && (text[digits] == ' ' || text[digits] == '\t'))
        return ems_manifest_line_fail(r, EMS_MANIFEST_MALFORMED, err,
                                      "a checksum of %zu hex digits; SHA-256 has 64", digits);
    open = tag_open(text);
    if (open != NULL && strchr(open, '=') != NULL)
        return take_tagged(r, text, open, escaped, err);
    rc = take_powershell(r, text, &known, err);
    if (rc == EMS_OK && !known)
        rc = take_certutil_head(r, text, &known, err);
    if (rc == EMS_OK && !known) {
        char shown[64];

        return ems_manifest_line_fail(r, EMS_MANIFEST_MALFORMED, err, "not a checksum line: %s",
                                      ems_printable(line, size, shown, sizeof shown));
    }
    return rc;
}

int ems_manifest_finish_sums(struct ems_manifest_reader *r, struct ems_error *err)
{
    if (r->certutil || (r->pending.done && r->path.size == 0))
        return malformed(r, err, "the last checksum or its name is missing");
    return r->path.size > 0 ? commit(r, &r->pending, err) : EMS_OK;
}
