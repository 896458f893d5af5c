/*
 * utf8.h - UTF-8 a byte at a time, for text that is cut anywhere (RFC 3629: shortest forms, no
 * surrogates, nothing above U+10FFFF; the same set that PostgreSQL accepts).
 */
#ifndef EMS_UTF8_H
#define EMS_UTF8_H

#include <stdbool.h>
#include <stdint.h>

/* Zeroed: between two characters. */
struct ems_utf8 {
    uint8_t need;      /* continuation bytes still to come */
    uint8_t low, high; /* what the next one may be */
};

/* Take one byte. False if it cannot follow; the state is then meaningless. */
static inline bool ems_utf8_step(struct ems_utf8 *u, uint8_t c)
{
    if (u->need > 0) {
        if (c < u->low || c > u->high)
            return false;
        u->low = 0x80;
        u->high = 0xbf;
        u->need--;
        return true;
    }
    if (c < 0x80)
        return true;
    /* RFC 3629, section 4: only the second byte of a character has a narrower range. */
    u->low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    u->high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (c >= 0xc2 && c <= 0xdf)
        u->need = 1;
    else if (c >= 0xe0 && c <= 0xef)
        u->need = 2;
    else if (c >= 0xf0 && c <= 0xf4)
        u->need = 3;
    else
        return false;
    return true;
}

#endif
