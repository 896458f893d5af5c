/*
 * pgp_signature.h - what a signature packet says (RFC 9580, section 5.2). Nothing is verified.
 */
#ifndef EMS_PGP_SIGNATURE_H
#define EMS_PGP_SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Types of section 5.2.1 that say something about a key. */
enum ems_pgp_signature_type {
    EMS_PGP_SIG_CERTIFICATION = 0x10, /* to 0x13: a user id and the key belong together */
    EMS_PGP_SIG_BINDING = 0x18,       /* of a subkey */
    EMS_PGP_SIG_DIRECT = 0x1f,
    EMS_PGP_SIG_REVOCATION = 0x20,
    EMS_PGP_SIG_SUBKEY_REVOCATION = 0x28,
};

struct ems_pgp_signature {
    uint8_t version, type;
    uint32_t created;      /* seconds since 1970; 0 if it does not say */
    uint32_t key_lifetime; /* seconds from the key's creation; 0: for ever, or not said */
    bool has_issuer;
    uint8_t issuer[8]; /* key id */
};

/* False if it is cut short or of an unknown version. */
bool ems_pgp_signature_parse(const uint8_t *body, size_t size, struct ems_pgp_signature *);

#endif
