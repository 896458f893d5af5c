/* tar_maker.h - tar archives put together block by block, right or wrong on purpose. */
#ifndef EMS_TAR_MAKER_H
#define EMS_TAR_MAKER_H

#include "bytes.h"
#include "error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tar_header {
    const char *name;
    char flag; /* '\0' is taken for '0' */
    unsigned mode;
    uint64_t size; /* claimed */
    const char *target;
};

static inline void maker_append(struct ems_buf *out, const void *data, size_t size)
{
    if (ems_buf_append(out, data, size, NULL) != EMS_OK)
        abort();
}

/* One block; the checksum is right whatever the rest is. */
static inline void maker_header(struct ems_buf *out, struct tar_header h)
{
    uint8_t block[512] = {0};
    unsigned sum = 0;

    memcpy(block, h.name, strnlen(h.name, 100));
    snprintf((char *)block + 100, 8, "%07o", (h.mode != 0 ? h.mode : 0644u) & 07777777u);
    snprintf((char *)block + 108, 8, "%07o", 0u);
    snprintf((char *)block + 116, 8, "%07o", 0u);
    if (h.size < UINT64_C(1) << 33) {
        snprintf((char *)block + 124, 12, "%011llo", (unsigned long long)h.size);
    } else { /* base 256, as GNU tar does */
        block[124] = 0x80;
        ems_put_be64(block + 128, h.size);
    }
    snprintf((char *)block + 136, 12, "%011llo", 1700000000ull);
    memset(block + 148, ' ', 8);
    block[156] = (uint8_t)(h.flag != '\0' ? h.flag : '0');
    if (h.target != NULL)
        memcpy(block + 157, h.target, strnlen(h.target, 100));
    memcpy(block + 257, "ustar\00000", 8);
    for (size_t i = 0; i < sizeof block; i++)
        sum += block[i];
    snprintf((char *)block + 148, 8, "%06o", sum & 0777777u);
    maker_append(out, block, sizeof block);
}

/* Data, padded to whole blocks. */
static inline void maker_data(struct ems_buf *out, const void *data, size_t size)
{
    static const uint8_t zeros[512];

    maker_append(out, data, size);
    maker_append(out, zeros, (512 - size % 512) % 512);
}

static inline void maker_file(struct ems_buf *out, const char *name, const char *text)
{
    maker_header(out, (struct tar_header){.name = name, .size = strlen(text)});
    maker_data(out, text, strlen(text));
}

/* An extended header: 'x' with pax records, 'L' or 'K' with a long name. */
static inline void maker_extended(struct ems_buf *out, char flag, const void *data, size_t size)
{
    maker_header(out, (struct tar_header){.name = "extended", .flag = flag, .size = size});
    maker_data(out, data, size);
}

/* One pax record: its length counts its own digits. */
static inline void maker_record(struct ems_buf *out, const char *key, const char *value)
{
    size_t rest = strlen(key) + strlen(value) + 3, length = rest + 2;

    if (length > 99)
        length = rest + 3;
    if (ems_buf_printf(out, NULL, "%zu %s=%s\n", length, key, value) != EMS_OK)
        abort();
}

static inline void maker_zeros(struct ems_buf *out, size_t blocks)
{
    static const uint8_t zeros[512];

    while (blocks-- > 0)
        maker_append(out, zeros, sizeof zeros);
}

#endif
