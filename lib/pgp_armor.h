/*
 * pgp_armor.h - ASCII armour off, if there is any (RFC 9580, section 6).
 *
 * Binary data passes unchanged, as it was lent. Armoured data is decoded: text before the block (at
 * most 64 KiB) and behind it, headers, any line width, LF or CRLF, a byte order mark, white space
 * at line ends and a missing checksum are all accepted. The checksum itself is not looked at: it
 * protects against nothing that the encryption's own check does not (section 6.1). The END line is
 * demanded: without it something is missing.
 *
 * Errors: EMS_PGP_NOT_OPENPGP (text without a block, or a block of another kind), EMS_NOT_ENCRYPTED
 * (signed text), EMS_PGP_MALFORMED, EMS_PGP_TRUNCATED, EMS_PGP_TRAILING (a second block behind a
 * message), EMS_PGP_UNSUPPORTED (a message armoured in several parts).
 */
#ifndef EMS_PGP_ARMOR_H
#define EMS_PGP_ARMOR_H

#include "source.h"

enum ems_pgp_armor_kind {
    EMS_PGP_ARMOR_MESSAGE,
    EMS_PGP_ARMOR_KEYS, /* public or secret; several blocks are read as one */
};

/* *armored (must outlive the stage) becomes true when a block begins. `secure`: what is decoded
 * lies in secure memory, wiped by free. */
struct ems_source *ems_pgp_armor_open(struct ems_source *below, enum ems_pgp_armor_kind,
                                      bool secure, bool *armored, struct ems_error *);

#endif
