/*
 * pgp_s2k.h - string to key: from a passphrase to a symmetric key (RFC 9580, section 3.7), and the
 * HKDF and hash numbers that the OpenPGP layer needs and libgcrypt 1.10 does not have.
 */
#ifndef EMS_PGP_S2K_H
#define EMS_PGP_S2K_H

#include "error.h"

enum ems_pgp_s2k_type {
    EMS_PGP_S2K_SIMPLE = 0,
    EMS_PGP_S2K_SALTED = 1,
    EMS_PGP_S2K_ITERATED = 3,
    EMS_PGP_S2K_ARGON2 = 4,
    EMS_PGP_S2K_GNU = 101, /* no derivation: GnuPG's mark for a missing secret */
};

#define EMS_PGP_S2K_MAX 20u /* octets of the longest specifier (Argon2) */
#define EMS_PGP_KEY_MAX 32u /* octets of the longest symmetric key */

struct ems_pgp_s2k {
    uint8_t raw[EMS_PGP_S2K_MAX]; /* the specifier as it came: identifies the derivation */
    size_t raw_size;
    uint8_t type;           /* enum ems_pgp_s2k_type */
    uint8_t hash;           /* OpenPGP's number */
    uint8_t salt[16];       /* 8 used, or 16 by Argon2 */
    uint32_t octets;        /* iterated: the count, decoded */
    uint8_t passes, lanes;  /* Argon2 */
    uint8_t memory_log_kib; /* Argon2: log2 of KiB */
    uint8_t gnu_mode;       /* 1 no secret here, 2 on a card */
};

/*
 * Read a specifier. *used: octets it takes. EMS_OK, EMS_PGP_MALFORMED (cut short, or parameters
 * that make no sense) or EMS_PGP_UNSUPPORTED (type or hash, named). For the GNU types only the mode
 * is read, *used covers "GNU" and the mode.
 */
int ems_pgp_s2k_parse(const uint8_t *data, size_t size, struct ems_pgp_s2k *, size_t *used,
                      struct ems_error *);

/*
 * What deriving key_size octets costs, in microseconds of one processor of 2022: a count of work,
 * the same on every machine. Of the messages of a stranger, derivations, public-key operations
 * (ems_pgp_pk_cost) and trying session keys on a container together may cost two seconds. That is
 * 2^31 octets through SHA-1 or SHA-256: 16 of the most expensive derivations that GnuPG makes.
 *
 * One thing takes longer, 4.5 s, and is let through if it is the only one: Argon2 with one pass
 * over 2 GiB, the first choice of RFC 9106 and what the sample messages of RFC 9580 have.
 */
uint64_t ems_pgp_s2k_cost(const struct ems_pgp_s2k *, size_t passphrase_size, size_t key_size);

#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
#define EMS_PGP_COST_MAX ((uint64_t)1 << 14) /* a fuzzer learns nothing from waiting */
#else
#define EMS_PGP_COST_MAX ((uint64_t)1 << 21)
#endif

/* key is secure memory. EMS_OK, EMS_PGP_LIMIT (Argon2 beyond what is ever allowed),
 * EMS_PGP_UNSUPPORTED, EMS_NO_MEMORY, EMS_INTERNAL. */
int ems_pgp_s2k_derive(const struct ems_pgp_s2k *, const void *passphrase, size_t passphrase_size,
                       uint8_t *key, size_t key_size, struct ems_error *);

/* "iterated", "argon2", ... */
const char *ems_pgp_s2k_name(unsigned type);

/* libgcrypt's number of an OpenPGP hash, or 0 if it is unknown or not available. */
int ems_pgp_hash(unsigned id);
const char *ems_pgp_hash_name(unsigned id);

/* HKDF (RFC 5869) with a libgcrypt hash; salt may be empty. out is at most 255 digests, in secure
 * memory as all of the rest. */
int ems_pgp_hkdf(int algorithm, const uint8_t *ikm, size_t ikm_size, const uint8_t *salt,
                 size_t salt_size, const uint8_t *info, size_t info_size, uint8_t *out,
                 size_t out_size, struct ems_error *);

#endif
