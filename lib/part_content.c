/* part_content.c - see part_content.h */
#include "part_content.h"

#include "pgp_packet.h"

#include <string.h>
#include <strings.h>

static bool begins(const uint8_t *data, size_t size, const char *magic, size_t n)
{
    return size >= n && memcmp(data, magic, n) == 0;
}

static bool begins_folded(const uint8_t *data, size_t size, const char *text)
{
    size_t n = strlen(text);

    return size >= n && strncasecmp((const char *)data, text, n) == 0;
}

/* Nothing but text as far as it is shown. Bytes over 0x7f may be UTF-8: they do not count against
 * it, controls do. */
static bool is_text(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (data[i] < 0x20 && data[i] != '\t' && data[i] != '\n' && data[i] != '\r')
            return false;
    return true;
}

/* Checksum field of a tar header: six octal digits of the sum of all bytes, itself as spaces. */
static bool is_tar(const uint8_t *data, size_t size)
{
    unsigned long sum = 0, stated = 0;
    size_t i = 148;

    if (size < 512)
        return false;
    for (size_t k = 0; k < 512; k++)
        sum += k >= 148 && k < 156 ? ' ' : data[k];
    while (i < 156 && data[i] == ' ')
        i++;
    for (; i < 156 && data[i] >= '0' && data[i] <= '7'; i++)
        stated = stated * 8 + (unsigned long)(data[i] - '0');
    return stated == sum && sum > 8 * ' ';
}

static enum ems_looks text_looks(const uint8_t *data, size_t size)
{
    static const char *const pages[] = {"<!doctype", "<html",  "<head",
                                        "<?xml",     "<error", "<script"};

    if (begins(data, size, "\xef\xbb\xbf", 3)) {
        data += 3;
        size -= 3;
    }
    while (size > 0 && memchr(" \t\r\n", data[0], 4) != NULL) {
        data++;
        size--;
    }
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++)
        if (begins_folded(data, size, pages[i]) && is_text(data, size))
            return EMS_LOOKS_PAGE;
    if (size >= 8 && data[0] == '{' && is_text(data, size)) {
        size_t i = 1;

        while (i < size && memchr(" \t\r\n", data[i], 4) != NULL)
            i++;
        if (i < size && data[i] == '"')
            return EMS_LOOKS_JSON;
    }
    if (begins(data, size, "--\n-- PostgreSQL", 16) ||
        begins(data, size, "--\r\n-- PostgreSQL", 17))
        return EMS_LOOKS_SQL;
    return EMS_LOOKS_UNKNOWN;
}

enum ems_looks ems_looks_like(const uint8_t *data, size_t size)
{
    enum ems_looks text;

    if (size > EMS_LOOKS_SIZE)
        size = EMS_LOOKS_SIZE;
    if (size >= 4 && ems_pgp_probe(data, size) == 1)
        return EMS_LOOKS_OPENPGP;
    if (begins(data, size, "\x1f\x8b\x08", 3))
        return EMS_LOOKS_GZIP;
    if (begins(data, size, "PK\3\4", 4) || begins(data, size, "PK\5\6", 4))
        return EMS_LOOKS_ZIP;
    if (begins(data, size, "SQLite format 3", 16)) /* with its NUL */
        return EMS_LOOKS_SQLITE;
    if (begins(data, size,
               "\xfd"
               "7zXZ\0",
               6) ||
        begins(data, size, "BZh", 3) || begins(data, size, "\x28\xb5\x2f\xfd", 4))
        return EMS_LOOKS_PACKED;
    text = text_looks(data, size);
    if (text != EMS_LOOKS_UNKNOWN)
        return text;
    return is_tar(data, size) ? EMS_LOOKS_TAR : EMS_LOOKS_UNKNOWN;
}

/* One length of a chain of partial ones: a new-format length, read as if a tag stood before it. */
static int next_length(ems_pgp_read_fn *read, void *context, uint64_t offset,
                       struct ems_pgp_header *h)
{
    uint8_t data[EMS_PGP_HEADER_MAX] = {0xc0 | EMS_PGP_TAG_SEIPD};
    int64_t n = read(context, data + 1, sizeof data - 1, offset);
    int used = n < 0 ? -1 : ems_pgp_header_parse(data, 1 + (size_t)n, h);

    return used > 0 ? used - 1 : used;
}

/* Where the container begins: behind the session keys. EMS_OK, or EMS_END if there is none. */
static int find_container(ems_pgp_read_fn *read, void *context, struct ems_pgp_header *h,
                          uint64_t *body)
{
    uint64_t offset = 0;

    for (int i = 0; i < 256; i++) {
        uint8_t data[EMS_PGP_HEADER_MAX];
        int64_t n = read(context, data, sizeof data, offset);
        int used = n > 0 ? ems_pgp_header_parse(data, (size_t)n, h) : 0;

        if (used <= 0)
            return EMS_END;
        if (h->tag == EMS_PGP_TAG_SEIPD || h->tag == EMS_PGP_TAG_AEAD ||
            h->tag == EMS_PGP_TAG_SED) {
            *body = offset + (uint64_t)used;
            return EMS_OK;
        }
        if (h->kind != EMS_PGP_DEFINITE ||
            (h->tag != EMS_PGP_TAG_PKESK && h->tag != EMS_PGP_TAG_SKESK &&
             h->tag != EMS_PGP_TAG_MARKER && h->tag != EMS_PGP_TAG_PADDING && h->tag < 40))
            return EMS_END;
        offset += (uint64_t)used + h->size;
    }
    return EMS_END;
}

/*
 * Senders cut their data into chunks of one size and end with smaller ones (GnuPG: 8 KiB, then
 * decreasing powers of two). A chain that does otherwise is either of an unknown sender or no chain
 * at all, because the bytes under it are not the message's: then nothing is said.
 */
static bool is_plausible(const struct ems_pgp_header *h, uint64_t largest)
{
    return h->kind != EMS_PGP_INDETERMINATE && h->size <= largest;
}

int ems_framing_measure(ems_pgp_read_fn *read, void *context, uint64_t available, uint64_t *total,
                        struct ems_error *err)
{
    struct ems_pgp_header h = {0};
    uint64_t offset = 0, largest;
    int rc = find_container(read, context, &h, &offset);

    *total = 0;
    if (rc != EMS_OK || h.kind == EMS_PGP_INDETERMINATE)
        return EMS_END;
    largest = h.size;
    for (unsigned step = 0; h.kind == EMS_PGP_PARTIAL; step++) {
        int used;

        if (step == EMS_FRAMING_STEPS)
            return EMS_END;
        offset += h.size;
        largest = h.size;
        if (offset >= available) { /* one more length, of one octet or more, must follow */
            *total = offset + 1;
            return EMS_PGP_TRUNCATED;
        }
        used = next_length(read, context, offset, &h);
        if (used < 0)
            return ems_fail(err, EMS_IO_ERROR, "cannot read packet lengths");
        if (used == 0) {
            *total = offset + 2;
            return EMS_PGP_TRUNCATED;
        }
        if (!is_plausible(&h, largest))
            return EMS_END;
        offset += (uint64_t)used;
    }
    *total = offset + h.size;
    return EMS_OK;
}
