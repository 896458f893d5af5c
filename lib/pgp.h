/*
 * pgp.h - an OpenPGP message in, the literal data in it out (RFC 9580, and RFC 4880 before it).
 *
 * Exactly one message: session-key packets, one encrypted container, inside it (perhaps through
 * compression packets) one literal packet, and nothing else but marker, padding and signatures.
 * EMS_END only when the container's integrity check has passed, every packet has ended where its
 * length said, and the stage below has ended there too.
 *
 * The bytes lent before EMS_END are not yet proven (SEIPD version 1 proves itself only at its end):
 * callers make nothing of them permanent before it.
 *
 * Errors: EMS_PGP_NOT_OPENPGP, EMS_PGP_MALFORMED, EMS_PGP_TRUNCATED, EMS_PGP_TRAILING,
 * EMS_PGP_MODIFIED, EMS_PGP_NO_INTEGRITY, EMS_PGP_PASSPHRASE, EMS_PGP_NO_KEY, EMS_PGP_UNSUPPORTED
 * (names what), EMS_PGP_LIMIT, EMS_NOT_ENCRYPTED (an OpenPGP message that is
 * only signed, compressed or literal), and whatever comes from below.
 *
 * ems_pgp_library_init must have been called.
 */
#ifndef EMS_PGP_H
#define EMS_PGP_H

#include "source.h"

/*
 * Initialise libgcrypt with secure memory, once per process, before threads are made and before
 * anything else of this header. EMS_OK, or EMS_INTERNAL if the library is too old.
 */
int ems_pgp_library_init(struct ems_error *);

/* ---- what unlocks a message ---- */

/*
 * Passphrases (and secret keys), in secure memory, wiped when freed. Results of slow derivations
 * (S2K) are remembered, so that a second pass over the same upload costs nothing. May be used by
 * several chains, one after the other or at the same time.
 */
struct ems_pgp_secrets;

/*
 * Called when a message needs a passphrase and none is known yet: write it to buffer (secure
 * memory of `capacity` bytes), set *size. EMS_OK, or an error (EMS_PGP_PASSPHRASE with a text that
 * says which option to use). Called at most once; the answer is kept.
 */
typedef int ems_pgp_ask_fn(void *context, char *buffer, size_t capacity, size_t *size,
                           struct ems_error *);

#define EMS_PGP_PASSPHRASE_MAX 4096u

struct ems_pgp_secrets *ems_pgp_secrets_new(ems_pgp_ask_fn *ask, void *context, struct ems_error *);
/* Copies; the caller wipes its own. */
int ems_pgp_secrets_add_passphrase(struct ems_pgp_secrets *, const void *bytes, size_t size,
                                   struct ems_error *);
/* First line of what the descriptor gives, without its line end (LF or CRLF). Reads into secure
 * memory only; `name` is for messages. An empty first line is an error. */
int ems_pgp_secrets_read_passphrase(struct ems_pgp_secrets *, int fd, const char *name,
                                    struct ems_error *);

/*
 * All secret keys in an exported file (`gpg --export-secret-keys`), binary or armoured. Expired and
 * revoked ones are taken too: messages to them still have to be read. EMS_PGP_NO_KEY if there is
 * none that can decrypt (`name` is for messages), EMS_PGP_NOT_OPENPGP, EMS_PGP_MALFORMED,
 * EMS_PGP_TRUNCATED, EMS_PGP_LIMIT (256 keys, 1 MiB), EMS_IO_ERROR.
 */
int ems_pgp_secrets_read_key(struct ems_pgp_secrets *, int fd, const char *name,
                             struct ems_error *);
/* What protects the keys; tried before the passphrases above, which are tried on keys too. */
int ems_pgp_secrets_add_key_passphrase(struct ems_pgp_secrets *, const void *bytes, size_t size,
                                       struct ems_error *);
int ems_pgp_secrets_read_key_passphrase(struct ems_pgp_secrets *, int fd, const char *name,
                                        struct ems_error *);
/* As ems_pgp_ask_fn, for a protected key that nothing known opens. Called at most once, before the
 * first byte of the message is decrypted. */
typedef int ems_pgp_ask_key_fn(void *context, const char *key_id, char *buffer, size_t capacity,
                               size_t *size, struct ems_error *);
void ems_pgp_secrets_set_ask_key(struct ems_pgp_secrets *, ems_pgp_ask_key_fn *, void *context);

void ems_pgp_secrets_free(struct ems_pgp_secrets *); /* NULL allowed */

/* ---- the stage ---- */

#define EMS_PGP_MAX_RECIPIENTS 64u

/* What the stage learnt. Strings are static or in the struct. Final at EMS_END; what is known so
 * far after an error. */
struct ems_pgp_facts {
    const char *container;   /* "seipd1", "seipd2", "aead", "sed"; NULL before it is seen */
    const char *integrity;   /* "mdc", "ocb", "eax", "gcm", "none" */
    const char *cipher;      /* "AES256" */
    const char *compression; /* "none", "zip", "zlib", "bzip2" */
    const char *s2k;         /* "iterated", "salted", "simple", "argon2"; NULL with a key */
    const char *session_key; /* "passphrase", "key" */
    char key_id[17];         /* that decrypted, or "" */
    char key_note[48];       /* "expired on 2022-04-22", "revoked": that key; "" if neither */
    uint32_t passphrases;    /* SKESK packets */
    uint32_t recipients;     /* PKESK packets */
    char recipient_ids[EMS_PGP_MAX_RECIPIENTS][17]; /* upper-case hex, all zero: anonymous */
    char signer_id[17];  /* one-pass signature seen, never checked; "" if none */
    char file_name[256]; /* of the literal packet, made printable; never a path */
    uint64_t created;    /* of the literal packet, seconds since 1970, 0 if none */
    bool armored;
    bool text_mode; /* the sender declared text: its line ends were CR LF on the way, and are LF */
    bool weak_session_key; /* all zero: some senders made such (CVE-2025-13470) */
    bool partial_lengths;  /* of the container: its size shows only at its end */
};

struct ems_bookmarks;

struct ems_pgp_options {
    struct ems_pgp_secrets *secrets;
    bool threads; /* decrypt and hash side by side (SEIPD 1); ask functions are then called on a
                     thread of the stage */
    bool proven;  /* the stage below gives exactly the bytes of a message that has reached EMS_END
                     before (proof.h): SEIPD 1 is not hashed again */
    bool allow_no_integrity;         /* read packet 9 */
    struct ems_pgp_facts *facts;     /* may be NULL; must outlive the stage */
    struct ems_bookmarks *bookmarks; /* leave places to resume from (bookmark.h); may be NULL */
};

struct ems_source *ems_pgp_open(struct ems_source *below, const struct ems_pgp_options *,
                                struct ems_error *);

/* ---- without decrypting ---- */

/* Do these first bytes of a file look like an OpenPGP message? 1 yes: a packet that can begin one,
 * or the BEGIN line of armour somewhere in them; 0 no; -1 too few bytes to tell (16 are always
 * enough for binary). */
int ems_pgp_probe(const uint8_t *data, size_t size);

/*
 * The exact length of a binary message, as far as its outer packet headers tell: walks the packets
 * with `read` (like pread: bytes read, 0 at the end, -1 on error) without decrypting.
 * EMS_OK and *total if the container has a definite length; EMS_END if the lengths are partial or
 * indeterminate or the headers themselves are cut (not known this way); EMS_IO_ERROR. Reads only
 * headers.
 */
typedef int64_t ems_pgp_read_fn(void *context, void *buffer, size_t size, uint64_t offset);
int ems_pgp_measure(ems_pgp_read_fn *, void *context, uint64_t *total, struct ems_error *);

/* ---- whom a message is for ---- */

/* Public keys of a file, binary or armoured (a secret key's public part will do). NULL on failure,
 * as ems_pgp_secrets_read_key. */
struct ems_pgp_recipient_keys;
struct ems_pgp_recipient_keys *ems_pgp_recipient_keys_read(int fd, const char *name,
                                                           struct ems_error *);
void ems_pgp_recipient_keys_free(struct ems_pgp_recipient_keys *);

/* Counts of the session-key packets before the container. The message is encrypted to the key, and
 * only readable by it, if `matching` is not 0 and everything else is. */
struct ems_pgp_recipients {
    uint32_t matching;                    /* for one of the keys */
    uint32_t others;                      /* for other keys */
    uint32_t anonymous;                   /* do not say for whom */
    uint32_t passphrases;                 /* readable with a passphrase */
    char ids[EMS_PGP_MAX_RECIPIENTS][17]; /* of all but the passphrases, as in the facts */
    char matching_id[17];
    char key_note[48]; /* of the matching key, as in the facts */
};

/*
 * Read the outer packets of a message (binary or armoured) up to the container, without secrets.
 * `below` is owned and freed; what follows the container's header is not read. EMS_OK, or the
 * errors of ems_pgp_open about these packets.
 */
int ems_pgp_recipients_read(struct ems_source *below, const struct ems_pgp_recipient_keys *,
                            struct ems_pgp_recipients *, struct ems_error *);

#endif
