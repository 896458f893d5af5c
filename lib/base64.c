/* base64.c - see base64.h */
#include "base64.h"

void ems_base64_encode(const uint8_t *data, size_t size, char *out)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    unsigned held = 0;

    for (size_t i = 0; i < size; i++) {
        bits = bits << 8 | data[i];
        for (held += 8; held >= 6; held -= 6)
            *out++ = alphabet[bits >> (held - 6) & 63];
    }
    if (held > 0)
        *out++ = alphabet[bits << (6 - held) & 63];
    *out = '\0';
}

/* All ones if low <= c <= high, else zero. */
static uint32_t within(uint32_t c, uint32_t low, uint32_t high)
{
    return ((low - 1 - c) & (c - high - 1)) >> 31 ? UINT32_MAX : 0;
}

/* The character's value; 64 for one that is in neither alphabet. */
static uint32_t value_of(uint32_t c)
{
    uint32_t capital = within(c, 'A', 'Z'), small = within(c, 'a', 'z');
    uint32_t digit = within(c, '0', '9');
    uint32_t plus = within(c, '+', '+') | within(c, '-', '-');
    uint32_t slash = within(c, '/', '/') | within(c, '_', '_');
    uint32_t known = capital | small | digit | plus | slash;

    return (capital & (c - 'A')) | (small & (c - 'a' + 26)) | (digit & (c - '0' + 52)) |
           (plus & 62) | (slash & 63) | (~known & 64);
}

bool ems_base64_decode(const char *text, size_t size, uint8_t *out, size_t out_size)
{
    size_t digits = EMS_BASE64_SIZE(out_size), n = 0;
    uint32_t bits = 0, bad = 0;
    unsigned held = 0;

    if (size != digits && size != (digits + 3) / 4 * 4)
        return false;
    for (size_t i = 0; i < digits; i++) {
        uint32_t value = value_of((unsigned char)text[i]);

        bad |= value & 64;
        bits = bits << 6 | (value & 63);
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[n++] = (uint8_t)(bits >> held);
        }
    }
    for (size_t i = digits; i < size; i++)
        bad |= text[i] != '=';
    return bad == 0;
}
