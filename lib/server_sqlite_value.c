/* server_sqlite_value.c - see server_sqlite_value.h */
#include "server_sqlite_value.h"

#include <string.h>
#include <strings.h>

enum ems_sqlite_type ems_sqlite_type_of(const char *udt_name, unsigned length, unsigned *size)
{
    static const struct {
        const char *name;
        enum ems_sqlite_type type;
        unsigned size;
    } types[] = {
        {"int2", EMS_SQLITE_INTEGER, 2}, {"int4", EMS_SQLITE_INTEGER, 4},
        {"int8", EMS_SQLITE_INTEGER, 8}, {"bool", EMS_SQLITE_BOOLEAN, 0},
        {"text", EMS_SQLITE_TEXT, 0},    {"varchar", EMS_SQLITE_TEXT, 0},
        {"bpchar", EMS_SQLITE_TEXT, 0},  {"bytea", EMS_SQLITE_BYTEA, 0},
        {"jsonb", EMS_SQLITE_JSONB, 0},
    };

    *size = length;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(types[i].name, udt_name) != 0)
            continue;
        if (types[i].size > 0)
            *size = types[i].size;
        return types[i].type;
    }
    return EMS_SQLITE_OTHER;
}

static enum ems_sqlite_verdict refuse(const char *what, const char **why)
{
    *why = what;
    return EMS_SQLITE_REFUSED;
}

/* The only failure of appending is memory; it is in the caller's error. */
static enum ems_sqlite_verdict taken(int rc)
{
    return rc == EMS_OK ? EMS_SQLITE_TAKEN : EMS_SQLITE_REFUSED;
}

/* ---- numbers ---- */

/* The ranges of PostgreSQL's types (documentation, table 8.2): the server would refuse the number
 * too, but not name the row's rowid. */
static enum ems_sqlite_verdict put_integer(int64_t value, unsigned size, struct ems_buf *out,
                                           const char **why, struct ems_error *err)
{
    int64_t limit = size == 2 ? INT16_MAX : size == 4 ? INT32_MAX : INT64_MAX;

    if (value > limit || value < -limit - 1)
        return refuse(size == 2 ? "a number too large for a smallint"
                                : "a number too large for an integer",
                      why);
    return taken(ems_buf_printf(out, err, "%lld", (long long)value));
}

/* Columns without a numeric affinity keep numbers as they were written, as text perhaps. */
static bool parse_integer(const char *text, int bytes, int64_t *value)
{
    bool negative = bytes > 0 && text[0] == '-';
    int at = negative;
    uint64_t sum = 0;

    if (at == bytes || bytes - at > 18)
        return false;
    for (; at < bytes; at++) {
        if (text[at] < '0' || text[at] > '9')
            return false;
        sum = 10 * sum + (uint64_t)(text[at] - '0');
    }
    *value = negative ? -(int64_t)sum : (int64_t)sum;
    return true;
}

/* INTEGER affinity makes 3.0 a 3 when it is stored; other columns keep it as it was written. */
static enum ems_sqlite_verdict put_number(sqlite3_stmt *row, int column, unsigned size,
                                          struct ems_buf *out, const char **why,
                                          struct ems_error *err)
{
    int64_t value;
    double real;

    switch (sqlite3_column_type(row, column)) {
    case SQLITE_INTEGER:
        return put_integer(sqlite3_column_int64(row, column), size, out, why, err);
    case SQLITE_FLOAT:
        /* 2^53: up to there a double is exactly the number that was meant. */
        real = sqlite3_column_double(row, column);
        if (!(real >= -9007199254740992.0 && real <= 9007199254740992.0) ||
            (double)(int64_t)real != real)
            return refuse("a fractional number", why);
        return put_integer((int64_t)real, size, out, why, err);
    case SQLITE_TEXT:
        if (!parse_integer((const char *)sqlite3_column_text(row, column),
                           sqlite3_column_bytes(row, column), &value))
            return refuse("text that is no number", why);
        return put_integer(value, size, out, why, err);
    default:
        return refuse("a blob", why);
    }
}

/* SQLite before 3.23 did not know the words TRUE and FALSE, so that DEFAULT false of a Synapse
 * schema left the text 'false' in the rows. */
static enum ems_sqlite_verdict put_boolean(sqlite3_stmt *row, int column, struct ems_buf *out,
                                           const char **why, struct ems_error *err)
{
    const char *text;
    int64_t value;

    switch (sqlite3_column_type(row, column)) {
    case SQLITE_INTEGER:
        value = sqlite3_column_int64(row, column);
        if (value != 0 && value != 1)
            return refuse("a number other than 0 and 1", why);
        return taken(ems_buf_append(out, value != 0 ? "t" : "f", 1, err));
    case SQLITE_TEXT:
        text = (const char *)sqlite3_column_text(row, column);
        if (strcasecmp(text, "true") == 0 || strcmp(text, "1") == 0)
            return taken(ems_buf_append(out, "t", 1, err));
        if (strcasecmp(text, "false") == 0 || strcmp(text, "0") == 0)
            return taken(ems_buf_append(out, "f", 1, err));
        return refuse("text that is neither true nor false", why);
    case SQLITE_FLOAT:
        return refuse("a fractional number", why);
    default:
        return refuse("a blob", why);
    }
}

/* ---- text ---- */

/* What stands for a byte behind a backslash, or 0: the byte itself goes. */
static const char escapes[256] = {['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n',
                                  ['\r'] = 'r',  ['\t'] = 't', ['\v'] = 'v'};

/* Counted before they are put, so that a long value takes no more memory than it must. */
static int put_escaped(const uint8_t *text, size_t size, struct ems_buf *out, struct ems_error *err)
{
    size_t used, more = 0;
    int rc;

    for (size_t i = 0; i < size; i++)
        more += escapes[text[i]] != 0;
    rc = ems_buf_reserve(out, size + more, err);
    if (rc != EMS_OK)
        return rc;
    used = out->size;
    for (size_t i = 0; i < size; i++) {
        char escape = escapes[text[i]];

        if (escape != 0)
            out->data[used++] = '\\';
        out->data[used++] = escape != 0 ? (uint8_t)escape : text[i];
    }
    out->size = used;
    return EMS_OK;
}

/* As PostgreSQL counts for varchar(n): code points, that is all bytes but the continuing ones. */
static size_t count_characters(const uint8_t *text, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < size; i++)
        n += (text[i] & 0xc0) != 0x80;
    return n;
}

/* JSON writes a NUL as \u0000, and jsonb refuses it as text does. A backslash that is itself
 * escaped begins no \u. */
static bool has_json_nul(const uint8_t *text, size_t size)
{
    for (size_t i = 0; i + 1 < size; i++) {
        if (text[i] != '\\')
            continue;
        if (i + 6 <= size && memcmp(text + i, "\\u0000", 6) == 0)
            return true;
        i++;
    }
    return false;
}

/* SQLite takes any bytes for text; what Synapse wrote through Python is UTF-8. A database that is
 * stored as UTF-16 gives UTF-8 here too. */
static enum ems_sqlite_verdict put_text(sqlite3_stmt *row, int column, enum ems_sqlite_type type,
                                        unsigned size, struct ems_buf *out, const char **why,
                                        struct ems_error *err)
{
    int kind = sqlite3_column_type(row, column);
    const uint8_t *text;
    size_t bytes;

    if (kind == SQLITE_BLOB)
        return refuse("a blob", why);
    if (kind == SQLITE_FLOAT) /* its text would be rounded */
        return refuse("a fractional number", why);
    text = sqlite3_column_text(row, column); /* before its length (SQLite, sqlite3_column_blob) */
    bytes = (size_t)sqlite3_column_bytes(row, column);
    if (text == NULL) {
        ems_fail_memory(err);
        return EMS_SQLITE_REFUSED;
    }
    if (memchr(text, '\0', bytes) != NULL ||
        (type == EMS_SQLITE_JSONB && has_json_nul(text, bytes)))
        return EMS_SQLITE_NUL;
    if (!ems_is_utf8(text, bytes))
        return refuse("text that is not UTF-8", why);
    if (size > 0 && count_characters(text, bytes) > size)
        return refuse("text that is too long for the column", why);
    return taken(put_escaped(text, bytes, out, err));
}

/* bytea as \x and hex digits (PostgreSQL documentation, 8.4.1), the backslash doubled for COPY.
 * Text is taken for its bytes: that is what a program that writes bytes through a driver without a
 * type for them leaves. */
static enum ems_sqlite_verdict put_bytes(sqlite3_stmt *row, int column, struct ems_buf *out,
                                         const char **why, struct ems_error *err)
{
    int kind = sqlite3_column_type(row, column), rc;
    const uint8_t *data;
    size_t bytes;

    if (kind != SQLITE_BLOB && kind != SQLITE_TEXT)
        return refuse("a number", why);
    data = sqlite3_column_blob(row, column); /* NULL for an empty one */
    bytes = (size_t)sqlite3_column_bytes(row, column);
    rc = ems_buf_reserve(out, 2 * bytes + 4, err);
    if (rc == EMS_OK)
        rc = ems_buf_append(out, "\\\\x", 3, err);
    if (rc == EMS_OK && bytes > 0) {
        ems_hex(data, bytes, (char *)out->data + out->size);
        out->size += 2 * bytes;
    }
    return taken(rc);
}

enum ems_sqlite_verdict ems_sqlite_value(sqlite3_stmt *row, int column, enum ems_sqlite_type type,
                                         unsigned size, struct ems_buf *out, const char **why,
                                         struct ems_error *err)
{
    if (sqlite3_column_type(row, column) == SQLITE_NULL)
        return taken(ems_buf_append(out, "\\N", 2, err));
    switch (type) {
    case EMS_SQLITE_INTEGER:
        return put_number(row, column, size, out, why, err);
    case EMS_SQLITE_BOOLEAN:
        return put_boolean(row, column, out, why, err);
    case EMS_SQLITE_TEXT:
    case EMS_SQLITE_JSONB:
        return put_text(row, column, type, size, out, why, err);
    case EMS_SQLITE_BYTEA:
        return put_bytes(row, column, out, why, err);
    case EMS_SQLITE_OTHER:
        break;
    }
    return refuse("a value for a column of a type that is not known", why);
}
