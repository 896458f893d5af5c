/*
 * part_begin.c - does an OpenPGP message begin here, or do random bytes only look like it?
 *
 * The middle of an encrypted file is random, and the first octets of a packet say little: a header
 * with a tag of a message and a version that exists comes about in 3 of 100 parts, a header of
 * packet 9, which has no version, with a definite length in 1.5 of 100. So what the loose probe
 * lets pass is asked for more: session keys whose fields and lengths agree (at most one part in
 * 2^25 by chance), or a container with the fields of its version. The loosest that is left, a
 * container of version 1 with no session key before it or a compressed message, is seen in one
 * random part of 30,000; part_build.c takes it for a beginning only under the name of the first
 * part, so it does not add up over thousands of them.
 */
#include "part_content.h"

#include "bytes.h"
#include "pgp_packet.h"

#include <string.h>

#define PACKETS_MAX 256u /* as many as the decoder allows before a container */

/* A packet's body: what is stated, and what of it can be seen. */
struct body {
    const uint8_t *data;
    size_t seen;
    uint64_t size;
};

/* The octet at `at`, if it is seen and lies in the range. What a cut file does not show, fits. */
static bool octet_in(const struct body *b, size_t at, unsigned least, unsigned most)
{
    return at < b->size && (at >= b->seen || (b->data[at] >= least && b->data[at] <= most));
}

static unsigned octet(const struct body *b, size_t at)
{
    return at < b->seen ? b->data[at] : 0;
}

/* Behind `count` multiprecision integers from `at` (RFC 9580, 3.2); 0 if they leave the body or are
 * larger than anybody's key. At the end of what is seen the rest is taken to fit. */
static uint64_t skip_mpis(const struct body *b, size_t at, unsigned count)
{
    for (; count > 0; count--) {
        unsigned bits;

        if (at + 2 > b->seen)
            return at + 2 <= b->size ? b->size : 0;
        bits = ems_be16(b->data + at);
        if (bits == 0 || bits > 16384)
            return 0;
        at += 2 + (bits + 7) / 8;
    }
    return at <= b->size ? at : 0;
}

/* The part that depends on the algorithm (5.1.3 to 5.1.7): does it end with the packet? */
static bool is_encrypted_key(const struct body *b, size_t at)
{
    uint64_t end;

    switch (octet(b, at)) {
    case 1: /* RSA, and of PGP 5 for encryption only */
    case 2:
        return skip_mpis(b, at + 1, 1) == b->size;
    case 16: /* Elgamal */
    case 20:
        return skip_mpis(b, at + 1, 2) == b->size;
    case 18: /* ECDH: a point, an octet of length, a wrapped key of 8 n octets */
        end = skip_mpis(b, at + 1, 1);
        return end == b->size ? b->seen < b->size
                              : end > 0 && (end >= b->seen || end + 1 + b->data[end] == b->size);
    case 25: /* X25519, X448: a share, an octet of length, that many octets */
        return at + 33 < b->size &&
               (at + 33 >= b->seen || at + 34 + (uint64_t)b->data[at + 33] == b->size);
    case 26:
        return at + 57 < b->size &&
               (at + 57 >= b->seen || at + 58 + (uint64_t)b->data[at + 57] == b->size);
    default:
        return false;
    }
}

static bool is_pkesk(const struct body *b)
{
    unsigned named = octet(b, 1); /* v6: octets that name the key, or none */

    if (octet(b, 0) == 2 || octet(b, 0) == 3)
        return is_encrypted_key(b, 9);
    if (octet(b, 0) != 6 || (named != 0 && named != 21 && named != 33))
        return false;
    return (named == 0 || octet_in(b, 2, 4, 6)) && is_encrypted_key(b, 2 + named);
}

/* Octets of a string-to-key specifier (3.7.1); 0 if it is none. */
static size_t s2k_size(const struct body *b, size_t at)
{
    static const uint8_t sizes[] = {2, 10, 0, 11, 20};
    unsigned type = octet(b, at);

    if (type >= sizeof sizes || sizes[type] == 0)
        return 0;
    return type == 4 || octet_in(b, at + 1, 1, 14) ? sizes[type] : 0;
}

static bool is_skesk(const struct body *b)
{
    size_t s2k, end;

    switch (octet(b, 0)) {
    case 4: /* cipher, specifier, and perhaps an octet of cipher and a key, encrypted */
        s2k = s2k_size(b, 2);
        end = 2 + s2k;
        return s2k > 0 && octet_in(b, 1, 1, 13) && b->size >= end &&
               (b->size == end || (b->size >= end + 9 && b->size <= end + 33));
    case 5: /* cipher, mode, specifier, nonce, key, tag */
        s2k = s2k_size(b, 3);
        end = 3 + s2k;
        return s2k > 0 && octet_in(b, 1, 7, 13) && octet_in(b, 2, 1, 3) &&
               b->size >= end + 12 + 16 + 16 && b->size <= end + 16 + 32 + 16;
    case 6: /* the same, with a count of what precedes the nonce and of the specifier */
        s2k = s2k_size(b, 5);
        return s2k > 0 && octet(b, 4) == s2k && octet_in(b, 2, 7, 13) && octet_in(b, 3, 1, 3) &&
               b->size >= 5 + s2k + 12 + 16 + 16 && b->size <= 5 + s2k + 16 + 32 + 16;
    default:
        return false;
    }
}

/* Packet 9 has nothing to look at: it counts behind session keys only. */
static bool is_container(unsigned tag, const struct body *b)
{
    if (tag == EMS_PGP_TAG_SEIPD && octet(b, 0) == 1) /* prefix of a block and two octets; MDC */
        return b->size > 1 + 10 + 22;
    if (tag == EMS_PGP_TAG_SEIPD)
        return octet_in(b, 0, 2, 2) && octet_in(b, 1, 7, 13) && octet_in(b, 2, 1, 3) &&
               octet_in(b, 3, 0, 16) && b->size >= 4 + 32 + 16;
    return tag == EMS_PGP_TAG_AEAD && octet_in(b, 0, 1, 1) && octet_in(b, 1, 7, 13) &&
           octet_in(b, 2, 1, 3) && octet_in(b, 3, 0, 56) && b->size >= 4 + 12 + 16;
}

/* A message that is signed or packed and not encrypted: it will be refused, for what it is. */
static bool is_open_message(const struct ems_pgp_header *h, const struct body *b)
{
    unsigned name = octet(b, 1);

    switch (h->tag) {
    case EMS_PGP_TAG_ONE_PASS:
        return octet_in(b, 1, 0, 1) && octet_in(b, 2, 1, 14) && octet_in(b, 3, 1, 28) &&
               (octet(b, 0) == 3 ? b->size == 13 && octet_in(b, 12, 0, 1)
                                 : octet(b, 0) == 6 && b->size > 38 && b->size < 80);
    case EMS_PGP_TAG_SIGNATURE:
        return octet_in(b, 0, 4, 6) && octet_in(b, 1, 0, 1) && octet_in(b, 2, 1, 28) &&
               octet_in(b, 3, 1, 14);
    case EMS_PGP_TAG_COMPRESSED: /* zlib and bzip2 have headers; deflate alone is known by GnuPG's
                                    writing it as it comes, so without a length */
        if (octet(b, 0) == 1)
            return h->kind != EMS_PGP_DEFINITE;
        return octet(b, 0) == 2 ? (octet(b, 1) & 0x8f) == 0x08
                                : octet_in(b, 0, 3, 3) && octet_in(b, 1, 'B', 'B');
    case EMS_PGP_TAG_LITERAL:
        if ((octet(b, 0) != 'b' && octet(b, 0) != 't' && octet(b, 0) != 'u') ||
            b->size < 6 + (uint64_t)name)
            return false;
        for (size_t i = 2; i < 2 + (size_t)name; i++)
            if (!octet_in(b, i, ' ', 0xff))
                return false;
        return true;
    default:
        return false;
    }
}

bool ems_message_begins(const uint8_t *data, size_t size)
{
    struct ems_pgp_header h;
    uint64_t at = 0;

    if (size > 0 && (data[0] & 0x80) == 0) /* armour has been seen in full by the probe */
        return true;
    for (unsigned i = 0; i < PACKETS_MAX && at < size; i++) {
        int used = ems_pgp_header_parse(data + at, size - (size_t)at, &h);
        struct body b;

        if (used <= 0)
            return false;
        at += (uint64_t)used;
        b = (struct body){.data = data + at,
                          .seen = size - (size_t)at,
                          .size = h.kind == EMS_PGP_DEFINITE ? h.size : UINT64_MAX};
        if (b.size < b.seen)
            b.seen = (size_t)b.size;
        if (b.seen == 0 && b.size > 0)
            return false;
        if ((h.tag == EMS_PGP_TAG_PKESK && is_pkesk(&b)) ||
            (h.tag == EMS_PGP_TAG_SKESK && is_skesk(&b)) ||
            (h.tag == EMS_PGP_TAG_MARKER && b.size == 3 && b.seen == 3 &&
             memcmp(b.data, "PGP", 3) == 0) ||
            is_container(h.tag, &b) || (i == 0 && is_open_message(&h, &b)))
            return true;
        /* Session keys of versions and algorithms to come: what follows vouches for them. */
        if (h.kind != EMS_PGP_DEFINITE ||
            (h.tag != EMS_PGP_TAG_PKESK && h.tag != EMS_PGP_TAG_SKESK &&
             h.tag != EMS_PGP_TAG_PADDING))
            return false;
        at += h.size;
    }
    return false;
}
