/*
 * pgp_key.h - public and secret keys as they are exported (RFC 9580, section 5.5): enough of them
 * to decrypt, and to tell whom a message is for. No signature is verified: a key file is the
 * operator's own, or only compared with.
 */
#ifndef EMS_PGP_KEY_H
#define EMS_PGP_KEY_H

#include "pgp_cipher.h"
#include "pgp_packet.h"

/* Public-key algorithms (section 9.1) that can decrypt. */
enum ems_pgp_algorithm {
    EMS_PGP_RSA = 1,
    EMS_PGP_RSA_ENCRYPT = 2,
    EMS_PGP_RSA_SIGN = 3, /* some implementations encrypt to those too */
    EMS_PGP_ELGAMAL = 16,
    EMS_PGP_ECDH = 18,
    EMS_PGP_ELGAMAL_GENERAL = 20,
    EMS_PGP_X25519 = 25,
    EMS_PGP_X448 = 26,
    /* These cannot: only read to know whose signatures are whose. */
    EMS_PGP_DSA = 17,
    EMS_PGP_ECDSA = 19,
    EMS_PGP_EDDSA = 22,
    EMS_PGP_ED25519 = 27,
    EMS_PGP_ED448 = 28,
};

#define EMS_PGP_KEYS_MAX     256u            /* in one file */
#define EMS_PGP_KEY_FILE_MAX (1024u * 1024u) /* bytes of it, armour removed or not */
#define EMS_PGP_MPI_BITS_MAX 16384u

enum ems_pgp_key_state {
    EMS_PGP_KEY_PUBLIC, /* no secret part at all */
    EMS_PGP_KEY_LOCKED, /* needs its passphrase */
    EMS_PGP_KEY_OPEN,
    EMS_PGP_KEY_STUB,     /* GnuPG's mark: the secret is elsewhere */
    EMS_PGP_KEY_CARD,     /* on a smartcard */
    EMS_PGP_KEY_UNUSABLE, /* `why` says what is not supported */
};

/* A range of the packet's body. */
struct ems_pgp_field {
    size_t at, size;
};

/* One key packet. Allocated in secure memory, body and secret too. */
struct ems_pgp_key {
    struct ems_pgp_key *next;
    uint8_t *body; /* of the packet */
    size_t body_size;
    uint8_t version;   /* 4, 5 (GnuPG's) or 6 */
    uint8_t algorithm; /* enum ems_pgp_algorithm, or another one that cannot decrypt */
    uint32_t created;  /* seconds since 1970 */
    bool is_secret, is_subkey;
    uint8_t fingerprint[32];
    size_t fingerprint_size; /* 20 or 32 */
    uint8_t id[8];

    /* Public material, in the order of section 5.5.5; ECDH: curve OID, point, KDF parameters. */
    struct ems_pgp_field public[4];
    size_t public_size; /* of the public part of body */

    /* Secret material. */
    enum ems_pgp_key_state state;
    size_t refused; /* this many passphrases, all that were known, do not open it */
    uint8_t usage;  /* the S2K usage octet */
    uint8_t cipher, aead;
    struct ems_pgp_s2k s2k;
    struct ems_pgp_field iv, sealed; /* sealed: what is protected, checksum included */
    uint8_t *secret;                 /* plain, when OPEN */
    size_t secret_size;
    struct ems_pgp_field parts[4]; /* of secret: the numbers in it */
    char why[96];                  /* of UNUSABLE */

    /* What signatures on it, and on the primary key that it belongs to, say, unverified; for notes.
     */
    uint32_t expires;   /* seconds since 1970, 0 never */
    uint32_t signed_at; /* creation of the signature on it that said so */
    bool revoked;
};

/*
 * One key packet; `body` (from gcry_malloc_secure) is owned from here on. A key that can decrypt
 * becomes *out, any other leaves NULL there. EMS_OK, EMS_PGP_MALFORMED, EMS_NO_MEMORY.
 */
int ems_pgp_key_parse(struct ems_pgp_key **out, unsigned tag, uint8_t *body, size_t size,
                      struct ems_error *);

/* Id and date of any key packet whose algorithm is known, whether it can decrypt or not. */
bool ems_pgp_key_identify(const uint8_t *body, size_t size, uint8_t id[8], uint32_t *created);

/*
 * All keys of a file (binary or armoured, with secret parts or not) that can decrypt, appended to
 * *list. `data` is borrowed, in secure memory if it may hold secrets. *seen counts all key packets.
 * EMS_OK, EMS_PGP_NOT_OPENPGP, EMS_PGP_MALFORMED, EMS_PGP_TRUNCATED, EMS_PGP_LIMIT, EMS_NO_MEMORY.
 */
int ems_pgp_keys_parse(const uint8_t *data, size_t size, struct ems_pgp_key **list, size_t *seen,
                       struct ems_error *);
/* The same from a descriptor, read to its end into secure memory; EMS_IO_ERROR too. No key packet
 * at all is EMS_PGP_NOT_OPENPGP. `name` is for messages. */
int ems_pgp_keys_read(int fd, const char *name, struct ems_pgp_key **list, struct ems_error *);
void ems_pgp_keys_free(struct ems_pgp_key *list);

/* "expired on 2022-04-22", "revoked", or "": as of now, by what its signatures say unverified. */
void ems_pgp_key_note(const struct ems_pgp_key *, char out[48]);

/*
 * Open the secret part: with `kek` of kek_size octets from its S2K (ems_pgp_key_kek_size says how
 * many), or without one if it is not protected. EMS_OK (state is OPEN), EMS_PGP_PASSPHRASE (the
 * check in it failed), EMS_PGP_MALFORMED, EMS_PGP_UNSUPPORTED, EMS_NO_MEMORY.
 */
size_t ems_pgp_key_kek_size(const struct ems_pgp_key *);
int ems_pgp_key_open(struct ems_pgp_key *, const uint8_t *kek, struct ems_error *);

/* The id as users know it, 16 digits. */
void ems_pgp_key_id_text(const uint8_t id[8], char out[17]);

/* ---- public-key session keys (section 5.1) ---- */

struct ems_pgp_pkesk {
    uint8_t version; /* 3 or 6 */
    uint8_t algorithm;
    const uint8_t *id;          /* 8 octets (version 3), or NULL */
    const uint8_t *fingerprint; /* version 6, or NULL */
    size_t fingerprint_size;
    bool anonymous;
    const uint8_t *material; /* algorithm specific, borrowed from the packet */
    size_t size;
};

/* EMS_OK, EMS_PGP_MALFORMED, EMS_PGP_UNSUPPORTED (version). */
int ems_pgp_pkesk_parse(const uint8_t *body, size_t size, struct ems_pgp_pkesk *,
                        struct ems_error *);

/* Is it for this key, as far as it says? Anonymous ones are for every key of the algorithm. */
bool ems_pgp_pkesk_matches(const struct ems_pgp_pkesk *, const struct ems_pgp_key *);

/* What unwrapping with this key costs, at most about, in the currency of ems_pgp_s2k_cost. */
uint64_t ems_pgp_pk_cost(const struct ems_pgp_key *);

/*
 * Unwrap with an open key. EMS_OK (all of *out set but s2k), EMS_PGP_NO_KEY (it does not open: one
 * text for every reason), EMS_PGP_MALFORMED, EMS_PGP_UNSUPPORTED, EMS_NO_MEMORY.
 */
int ems_pgp_pkesk_open(const struct ems_pgp_pkesk *, const struct ems_pgp_key *,
                       struct ems_pgp_session_key *out, struct ems_error *);

#endif
