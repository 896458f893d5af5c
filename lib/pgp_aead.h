/*
 * pgp_aead.h - what pgp_aead.c and pgp_aead_large.c share: the stage of containers with a tag for
 * each chunk. Chunks of up to 4 MiB are held in memory until their tag has been checked; larger
 * ones, which only packet 20 has, are held as they came, encrypted, in a file without a name.
 */
#ifndef EMS_PGP_AEAD_H
#define EMS_PGP_AEAD_H

#include "bytes.h"
#include "pgp_cipher.h"

#define EMS_AEAD_LENT (256u * 1024u)    /* most that is lent at once, and a batch of small chunks */
#define EMS_AEAD_HELD ((size_t)4 << 20) /* octets of the largest chunk that is held in memory */

struct ems_aead {
    struct ems_source base;
    struct ems_reader reader; /* of the body */
    const struct ems_pgp_unlock *unlock;
    enum { EMS_AEAD_START, EMS_AEAD_DATA, EMS_AEAD_DONE } state;
    bool draft; /* packet 20 */
    const struct ems_pgp_cipher *cipher;
    const struct ems_pgp_aead *mode;
    gcry_cipher_hd_t handle;
    size_t chunk;          /* octets of a full one */
    uint8_t header[5];     /* packet tag, version, cipher, mode, chunk octet: HKDF's and AD */
    uint8_t salt[32];      /* version 2 */
    uint8_t iv[16];        /* packet 20: whole nonce; version 2: without the counter */
    uint64_t index, total; /* chunks and octets checked so far */
    struct ems_buf buffer; /* a batch, tags included, and 16 octets; large: a piece to lend */
    uint64_t buffer_origin,
        carry_origin;     /* of its first octet, and of the first behind the batch */
    bool ended;           /* the body */
    const uint8_t *ready; /* plaintext to lend */
    size_t ready_size;
    /* Large chunks. */
    int file;            /* -1: none */
    uint64_t file_size;  /* a chunk, its tag, and 16 octets */
    uint64_t lent, left; /* octets of the chunk in the file that were lent, and that are to come */
};

/* Nonce and associated data of chunk `index`, written behind each other; `text` points at them. */
struct ems_aead_place {
    uint8_t nonce[16], ad[21];
};
void ems_aead_place(const struct ems_aead *, uint64_t index, bool final, struct ems_aead_place *,
                    struct ems_pgp_aead_text *text);

/* The final tag, which proves the number of octets. */
int ems_aead_check_final(struct ems_aead *, uint8_t *tag, struct ems_error *);
/* Find the key; the first chunk is at hand. */
int ems_aead_choose_key(struct ems_aead *, struct ems_error *);
/* No chunk and tag can have this size at the end. */
int ems_aead_fail_cut(struct ems_error *);
/* A chunk's tag does not fit. */
int ems_aead_fail_chunk(const struct ems_aead *, struct ems_error *);

/* Does the key fit the first chunk? EMS_OK, EMS_PGP_MODIFIED (no), or an error. */
int ems_aead_large_try(struct ems_aead *, struct ems_error *);
/* As next, once the header has been read. */
int ems_aead_large_next(struct ems_aead *, struct ems_span *, struct ems_error *);
void ems_aead_large_release(struct ems_aead *);

#endif
