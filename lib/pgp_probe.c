/*
 * pgp_probe.c - what can be said about a message from its first bytes and its outer packet headers
 * (see pgp.h).
 */
#include "pgp.h"

#include "pgp_packet.h"

#include <string.h>

#define PROBE_ENOUGH 16u

/*
 * The first octets of a body, by packet: most kinds begin with a version. This keeps out other
 * formats whose first byte has its highest bit set (PNG, JPEG, xz), and OpenPGP keys.
 */
static bool body_fits(unsigned tag, const uint8_t *body, size_t size)
{
    if (size == 0)
        return false;
    switch (tag) {
    case EMS_PGP_TAG_PKESK:
    case EMS_PGP_TAG_SKESK: /* versions to come too: others may follow that we can open */
        return body[0] >= 2 && body[0] < 32;
    case EMS_PGP_TAG_SIGNATURE:
        return body[0] >= 3 && body[0] <= 6;
    case EMS_PGP_TAG_ONE_PASS:
        return body[0] == 3 || body[0] == 6;
    case EMS_PGP_TAG_COMPRESSED:
        return body[0] <= 3;
    case EMS_PGP_TAG_MARKER:
        return size >= 3 && memcmp(body, "PGP", 3) == 0;
    case EMS_PGP_TAG_LITERAL:
        return body[0] != '\0' && strchr("btul1m", body[0]) != NULL;
    case EMS_PGP_TAG_SEIPD:
        return body[0] == 1 || body[0] == 2;
    case EMS_PGP_TAG_AEAD:
        return body[0] == 1;
    case EMS_PGP_TAG_SED:
    case EMS_PGP_TAG_PADDING:
        return true;
    default:
        return false;
    }
}

/* The BEGIN line, at the beginning of any line: senders put text, a byte order mark or white space
 * before it. -1 if the bytes end inside what may become one. */
static int probe_armor(const uint8_t *data, size_t size)
{
    static const char begin[] = "-----BEGIN PGP MESSAGE";
    size_t n = sizeof begin - 1, at = 0;
    const uint8_t *end;

    if (size >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0)
        at = 3;
    while (at < size) {
        while (at < size && (data[at] == ' ' || data[at] == '\t'))
            at++;
        if (memcmp(data + at, begin, size - at < n ? size - at : n) == 0)
            return size - at < n ? -1 : 1;
        end = memchr(data + at, '\n', size - at);
        if (end == NULL)
            break;
        at = (size_t)(end - data) + 1;
    }
    return 0;
}

/* Nothing begins like a message by chance that the other probes know: gzip, tar, SQLite, PNG, JPEG
 * and xz all differ in the first two octets or in what a length or version octet may be. */
int ems_pgp_probe(const uint8_t *data, size_t size)
{
    struct ems_pgp_header h;
    int armor, used;

    if (size == 0)
        return -1;
    armor = probe_armor(data, size);
    if (armor != 0)
        return armor;
    used = ems_pgp_header_parse(data, size, &h);
    if (used < 0)
        return 0;
    if (size < PROBE_ENOUGH && size < (size_t)used + 3)
        return -1;
    return used > 0 && body_fits(h.tag, data + used, size - (size_t)used);
}

int ems_pgp_measure(ems_pgp_read_fn *read, void *context, uint64_t *total, struct ems_error *err)
{
    uint8_t data[EMS_PGP_HEADER_MAX];
    struct ems_pgp_header h;
    uint64_t offset = 0;
    int64_t n;
    int used;

    /* More packets than any message has before its container would only cost time. */
    for (int i = 0; i < 256; i++) {
        n = read(context, data, sizeof data, offset);
        if (n < 0)
            return ems_fail(err, EMS_IO_ERROR, "cannot read packet headers");
        used = ems_pgp_header_parse(data, (size_t)n, &h);
        if (used <= 0 || h.kind != EMS_PGP_DEFINITE)
            return EMS_END;
        offset += (uint64_t)used + h.size;
        if (h.tag == EMS_PGP_TAG_SEIPD || h.tag == EMS_PGP_TAG_AEAD || h.tag == EMS_PGP_TAG_SED) {
            *total = offset;
            return EMS_OK;
        }
        if (h.tag != EMS_PGP_TAG_PKESK && h.tag != EMS_PGP_TAG_SKESK &&
            h.tag != EMS_PGP_TAG_MARKER && h.tag != EMS_PGP_TAG_PADDING && h.tag < 40)
            return EMS_END;
    }
    return EMS_END;
}
