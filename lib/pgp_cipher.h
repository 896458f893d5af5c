/*
 * pgp_cipher.h - symmetric ciphers, session keys, and the encrypted containers as stages.
 */
#ifndef EMS_PGP_CIPHER_H
#define EMS_PGP_CIPHER_H

#include "pgp.h"
#include "pgp_s2k.h"

#include <gcrypt.h>

/* ---- ciphers (RFC 9580, section 9.3) ---- */

struct ems_pgp_cipher {
    uint8_t id;       /* OpenPGP's number */
    int algorithm;    /* libgcrypt's */
    uint8_t key_size; /* octets */
    uint8_t block_size;
    const char *name; /* as GnuPG prints it: "AES256" */
};

/* NULL if OpenPGP does not know the number. */
const struct ems_pgp_cipher *ems_pgp_cipher_find(unsigned id);
/* As above, and libgcrypt has it too; else EMS_PGP_UNSUPPORTED in *err and NULL. */
const struct ems_pgp_cipher *ems_pgp_cipher_get(unsigned id, struct ems_error *err);

/* A handle in secure memory with its key set. EMS_OK; EMS_PGP_MODIFIED for keys that the cipher
 * calls weak (they cannot be honest session keys); EMS_NO_MEMORY; EMS_INTERNAL. */
int ems_pgp_cipher_open(gcry_cipher_hd_t *, const struct ems_pgp_cipher *, int mode, unsigned flags,
                        const uint8_t *key, struct ems_error *);

/* ---- AEAD modes (section 9.6) ---- */

#define EMS_PGP_AEAD_TAG 16u

struct ems_pgp_aead {
    uint8_t id; /* OpenPGP's number */
    int mode;   /* libgcrypt's */
    uint8_t nonce_size;
    const char *name; /* "ocb" */
};

const struct ems_pgp_aead *ems_pgp_aead_find(unsigned id); /* NULL if unknown */

/* One text, changed in place. */
struct ems_pgp_aead_text {
    const uint8_t *nonce, *ad;
    size_t nonce_size, ad_size;
    uint8_t *data;
    size_t size;  /* may be 0 */
    uint8_t *tag; /* 16 octets: checked by decrypt, written by encrypt */
};

/* EMS_OK; EMS_PGP_MODIFIED if the tag does not fit (*err is left alone: the caller knows what it
 * means); EMS_INTERNAL. */
int ems_pgp_aead_decrypt(gcry_cipher_hd_t, const struct ems_pgp_aead *,
                         const struct ems_pgp_aead_text *, struct ems_error *);
int ems_pgp_aead_encrypt(gcry_cipher_hd_t, const struct ems_pgp_aead *,
                         const struct ems_pgp_aead_text *, struct ems_error *);

/* A text in pieces: begin (nonce and ad of the text are used), pieces in order, of which all but
 * the last are of a multiple of 16 octets; the last one may be empty. The tag is then left to
 * ems_pgp_aead_check: EMS_OK, EMS_PGP_MODIFIED (*err left alone), EMS_INTERNAL. */
int ems_pgp_aead_begin(gcry_cipher_hd_t, const struct ems_pgp_aead *,
                       const struct ems_pgp_aead_text *, struct ems_error *);
int ems_pgp_aead_piece(gcry_cipher_hd_t, const struct ems_pgp_aead *, uint8_t *data, size_t size,
                       bool last, struct ems_error *);
int ems_pgp_aead_check(gcry_cipher_hd_t, const struct ems_pgp_aead *, const uint8_t *tag,
                       struct ems_error *);

/* ---- session keys ---- */

/* A key that may open the container. Lives in secure memory, where its owner allocated it. */
struct ems_pgp_session_key {
    uint8_t key[EMS_PGP_KEY_MAX];
    size_t size;
    uint8_t cipher;    /* OpenPGP's number; 0: the container says (versions 5 and 6) */
    bool sure;         /* unwrapping proved it: if it does not fit, the container is damaged */
    const char *s2k;   /* how the passphrase was derived, NULL with a secret key */
    char key_id[17];   /* of the secret key, or "" */
    char key_note[48]; /* as in the facts */
};

/*
 * Gives the candidates one after the other, each call a new one in *key: EMS_OK, EMS_END when there
 * are no more, or an error that ends the message.
 */
typedef int ems_pgp_candidate_fn(void *context, struct ems_pgp_session_key *key,
                                 struct ems_error *);

/* What a container stage asks of its message. */
struct ems_pgp_unlock {
    ems_pgp_candidate_fn *next;
    void *context;
    /* Why none fitted, when `next` has returned EMS_END: fills in the error. `damaged`: a sure one
     * was among them. */
    int (*refuse)(void *context, bool damaged, struct ems_error *);
    uint64_t *spent; /* on this message, see EMS_PGP_COST_MAX; a container adds what it tries */
    struct ems_pgp_facts *facts;     /* never NULL here */
    struct ems_bookmarks *bookmarks; /* may be NULL */
};

/*
 * Encrypted containers: body in (from its version octet on), packets out. Each owns body, asks
 * `unlock` (borrowed) for keys at the first pull, and reaches EMS_END only with its integrity
 * proven: EMS_PGP_MODIFIED, EMS_PGP_TRUNCATED, EMS_PGP_PASSPHRASE, EMS_PGP_NO_KEY and what comes
 * from body and unlock.
 */
/* Packet 18 version 1 (section 5.13.1). `threads`: decrypting on a thread of its own, hashing on
 * ours. `proven`: an earlier pass over these very bytes has checked the MDC: it is only taken off.
 */
struct ems_source *ems_pgp_mdc_open(struct ems_source *body, const struct ems_pgp_unlock *,
                                    bool threads, bool proven, struct ems_error *);

/* The decryption alone of packet 18 version 1 (`mdc`), or packet 9 (section 5.7), which proves
 * nothing. Spans are of EMS_PGP_CFB_SPAN bytes but for the last, and can be kept. */
#define EMS_PGP_CFB_SPAN (128u * 1024u)
struct ems_source *ems_pgp_cfb_open(struct ems_source *body, const struct ems_pgp_unlock *,
                                    bool mdc, struct ems_error *);

/* The same in mode `mdc` from a place in the middle; key and place are copied. */
struct ems_cfb_place;
struct ems_source *ems_pgp_cfb_resume(struct ems_source *body, const struct ems_pgp_session_key *,
                                      const struct ems_cfb_place *, struct ems_error *);

/* The literal data of a message that is entered in the middle (bookmark.h); below begins at the
 * cipher's place. */
struct ems_literal_place;
struct ems_source *ems_pgp_resume(struct ems_source *below, const struct ems_pgp_session_key *,
                                  const struct ems_cfb_place *, const struct ems_literal_place *,
                                  struct ems_error *);

/* What stood before the first byte lent; known when that has been lent. */
#define EMS_PGP_PREFIX_MAX 18u /* a block of 16 and 2 octets again */
struct ems_pgp_prefix {
    uint8_t data[EMS_PGP_PREFIX_MAX];
    size_t size;
    bool doubtful; /* the key passed the quick check, but no packet followed */
};
const struct ems_pgp_prefix *ems_pgp_cfb_prefix(const struct ems_source *cfb);

/* Packet 18 version 2 (section 5.13.2), and packet 20 (`draft`). */
struct ems_source *ems_pgp_aead_open(struct ems_source *body, const struct ems_pgp_unlock *,
                                     bool draft, struct ems_error *);

/* Record which key fitted. */
void ems_pgp_unlock_done(const struct ems_pgp_unlock *, const struct ems_pgp_cipher *,
                         const struct ems_pgp_session_key *);

#endif
