/* pgp_signature.c - see pgp_signature.h */
#include "pgp_signature.h"

#include "bytes.h"

#include <string.h>

/* Subpackets (5.2.3.7). */
enum { CREATED = 2, KEY_LIFETIME = 9, ISSUER = 16, ISSUER_FINGERPRINT = 33 };

/*
 * What is wanted of a signature is who says to have made it, when, and how long the key is good.
 * Dates only from the hashed area: the other one can be changed by anybody without the signature
 * noticing. The issuer stands there nearly always (GnuPG), and is only a hint wherever it stands.
 */
static void take_subpacket(struct ems_pgp_signature *sig, const uint8_t *p, size_t size,
                           bool hashed)
{
    unsigned type = p[0] & 0x7f; /* the highest bit means "critical" */

    p++;
    size--;
    if (type == CREATED && hashed && size == 4) {
        sig->created = ems_be32(p);
    } else if (type == KEY_LIFETIME && hashed && size == 4) {
        sig->key_lifetime = ems_be32(p);
    } else if (type == ISSUER && size == 8) {
        memcpy(sig->issuer, p, 8);
        sig->has_issuer = true;
    } else if (type == ISSUER_FINGERPRINT && (size == 21 || size == 33)) {
        /* Version octet and fingerprint: the key id is its end (version 4) or its beginning. */
        memcpy(sig->issuer, p[0] == 4 ? p + size - 8 : p + 1, 8);
        sig->has_issuer = true;
    }
}

/* One area of subpackets, each with a length as of new-format packets without partial ones. */
static bool take_area(struct ems_pgp_signature *sig, const uint8_t *p, size_t size, bool hashed)
{
    while (size > 0) {
        size_t length = p[0], octets = 1;

        if (p[0] >= 192 && p[0] < 255) {
            if (size < 2)
                return false;
            length = ((size_t)(p[0] - 192) << 8) + p[1] + 192;
            octets = 2;
        } else if (p[0] == 255) {
            if (size < 5)
                return false;
            length = ems_be32(p + 1);
            octets = 5;
        }
        if (length == 0 || length > size - octets)
            return false;
        take_subpacket(sig, p + octets, length, hashed);
        p += octets + length;
        size -= octets + length;
    }
    return true;
}

/*
 *     version 3    3, 5, type, date of 4, issuer of 8, ...                    (5.2.2)
 *     version 4    4, type, algorithm, hash, two areas with sizes of 2, ...   (5.2.3)
 *     version 5    the same (GnuPG)
 *     version 6    the same with sizes of 4
 *
 * What follows (the numbers) is not read. An area that does not add up makes all of it unusable:
 * whoever asks takes the signature for none.
 */
bool ems_pgp_signature_parse(const uint8_t *body, size_t size, struct ems_pgp_signature *sig)
{
    size_t at = 4, octets, area;

    memset(sig, 0, sizeof *sig);
    if (size < 1)
        return false;
    sig->version = body[0];
    if (sig->version == 3) {
        if (size < 15)
            return false;
        sig->type = body[2];
        sig->created = ems_be32(body + 3);
        memcpy(sig->issuer, body + 7, 8);
        sig->has_issuer = true;
        return true;
    }
    if (sig->version < 4 || sig->version > 6 || size < 4)
        return false;
    sig->type = body[1];
    octets = sig->version == 6 ? 4 : 2;
    for (int i = 0; i < 2; i++) {
        if (size - at < octets)
            return false;
        area = octets == 4 ? ems_be32(body + at) : ems_be16(body + at);
        at += octets;
        if (area > size - at || !take_area(sig, body + at, area, i == 0))
            return false;
        at += area;
    }
    return true;
}
