/* bytes.c - see bytes.h */
#include "bytes.h"

#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ems_put_be64(uint8_t *p, uint64_t value)
{
    for (int i = 7; i >= 0; i--) {
        p[i] = (uint8_t)value;
        value >>= 8;
    }
}

void ems_hex(const uint8_t *data, size_t size, char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < size; i++) {
        *out++ = digits[data[i] >> 4];
        *out++ = digits[data[i] & 15];
    }
    *out = '\0';
}

void ems_wipe(void *data, size_t size)
{
    if (size > 0)
        explicit_bzero(data, size);
}

bool ems_equal_ct(const void *a, const void *b, size_t size)
{
    const uint8_t *x = a, *y = b;
    volatile uint8_t difference = 0;

    for (size_t i = 0; i < size; i++)
        difference = (uint8_t)(difference | (x[i] ^ y[i]));
    return difference == 0;
}

/* Length of the UTF-8 character at p, or 0 if there is no whole valid one (RFC 3629, section 4). */
static size_t utf8_char(const uint8_t *p, size_t size, uint32_t *codepoint)
{
    uint32_t c = p[0], low = 0x80;
    size_t length;

    if (c < 0x80) {
        *codepoint = c;
        return 1;
    }
    if (c >= 0xc2 && c <= 0xdf) {
        length = 2;
        c &= 0x1f;
    } else if (c >= 0xe0 && c <= 0xef) {
        length = 3;
        c &= 0x0f;
        low = 0x800;
    } else if (c >= 0xf0 && c <= 0xf4) {
        length = 4;
        c &= 0x07;
        low = 0x10000;
    } else {
        return 0;
    }
    if (size < length)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < low || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *codepoint = c;
    return length;
}

bool ems_is_utf8(const uint8_t *data, size_t size)
{
    uint32_t codepoint;

    while (size > 0) {
        size_t n = utf8_char(data, size, &codepoint);

        if (n == 0)
            return false;
        data += n;
        size -= n;
    }
    return true;
}

static bool is_harmless(uint32_t c)
{
    return c >= 0x20 && !(c >= 0x7f && c <= 0x9f) && !(c >= 0x202a && c <= 0x202e) &&
           !(c >= 0x2066 && c <= 0x2069) && c != 0x200e && c != 0x200f && c != 0x061c &&
           c != 0x2028 && c != 0x2029;
}

static char *escape_text(const void *data, size_t size, bool keep_percent, char *out,
                         size_t out_size)
{
    const uint8_t *in = data;
    size_t used = 0, fits = 0; /* fits: where "..." can still be written */

    if (out_size == 0)
        return out;
    while (size > 0) {
        uint32_t c = 0;
        size_t n = utf8_char(in, size, &c);
        bool keep = n > 0 && is_harmless(c) && (c != '%' || keep_percent);
        size_t width = keep ? n : 3;

        if (used + width + 1 > out_size) {
            used = fits;
            memcpy(out + used, "...", out_size - used > 3 ? 3 : out_size - used - 1);
            used += out_size - used > 3 ? 3 : out_size - used - 1;
            break;
        }
        if (keep) {
            memcpy(out + used, in, n);
        } else {
            char escape[4];

            n = 1;
            snprintf(escape, sizeof escape, "%%%02X", in[0]);
            memcpy(out + used, escape, 3);
        }
        used += width;
        if (used + 4 <= out_size)
            fits = used;
        in += n;
        size -= n;
    }
    out[used] = '\0';
    return out;
}

char *ems_printable(const void *data, size_t size, char *out, size_t out_size)
{
    return escape_text(data, size, false, out, out_size);
}

char *ems_printable_text(const void *data, size_t size, char *out, size_t out_size)
{
    return escape_text(data, size, true, out, out_size);
}

int ems_buf_reserve(struct ems_buf *buf, size_t more, struct ems_error *err)
{
    size_t capacity = buf->capacity > 0 ? buf->capacity : 256;
    uint8_t *data;

    if (more <= buf->capacity - buf->size)
        return EMS_OK;
    if (more > SIZE_MAX / 2 - buf->size)
        return ems_fail_memory(err);
    while (capacity - buf->size < more)
        capacity *= 2;
    data = realloc(buf->data, capacity);
    if (data == NULL)
        return ems_fail_memory(err);
    buf->data = data;
    buf->capacity = capacity;
    return EMS_OK;
}

int ems_buf_append(struct ems_buf *buf, const void *data, size_t size, struct ems_error *err)
{
    int rc = ems_buf_reserve(buf, size, err);

    if (rc != EMS_OK)
        return rc;
    if (size > 0)
        memcpy(buf->data + buf->size, data, size);
    buf->size += size;
    return EMS_OK;
}

int ems_buf_printf(struct ems_buf *buf, struct ems_error *err, const char *fmt, ...)
{
    va_list args;
    int length, rc;

    va_start(args, fmt);
    length = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (length < 0)
        return ems_fail(err, EMS_INTERNAL, "text cannot be formatted");
    rc = ems_buf_reserve(buf, (size_t)length + 1, err);
    if (rc != EMS_OK)
        return rc;
    va_start(args, fmt);
    vsnprintf((char *)buf->data + buf->size, (size_t)length + 1, fmt, args);
    va_end(args);
    buf->size += (size_t)length;
    return EMS_OK;
}

void ems_buf_release(struct ems_buf *buf)
{
    free(buf->data);
    *buf = (struct ems_buf){0};
}
