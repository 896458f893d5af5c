/*
 * signing_key.h - a homeserver's signing key file, and what its public half proves.
 *
 * The file has a line for each key: "ed25519 VERSION SEED", separated by blanks; SEED is 32 bytes
 * in unpadded base64 (python-signedjson, signedjson/key.py, read_signing_keys; blank lines are
 * passed over by synapse/config/key.py). A first line of a single field is the old form: a seed
 * alone, whose version is "auto". The same text may stand in homeserver.yaml as signing_key.
 *
 * The seed is read into libgcrypt's secure memory, the public key derived from it (RFC 8032,
 * section 5.1.5) and the seed wiped: what is kept here is public.
 */
#ifndef EMS_SIGNING_KEY_H
#define EMS_SIGNING_KEY_H

#include "error.h"

#define EMS_SIGNING_KEYS_MAX      16u          /* in one file; Synapse signs with the first */
#define EMS_SIGNING_KEY_FILE_MAX  (64u * 1024) /* bytes; an honest file has about 60 */
#define EMS_SIGNING_KEY_ID_SIZE   72u          /* with the NUL */
#define EMS_SIGNING_KEY_TEXT_SIZE 44u          /* 32 bytes in base64, with the NUL */

struct ems_signing_key {
    char id[EMS_SIGNING_KEY_ID_SIZE]; /* "ed25519:a_AbCd", printable ASCII */
    uint8_t public_key[32];
    char public_text[EMS_SIGNING_KEY_TEXT_SIZE]; /* the same in unpadded base64 */
};

struct ems_signing_keys {
    struct ems_signing_key items[EMS_SIGNING_KEYS_MAX];
    size_t count;
    bool old_form; /* a seed alone; Synapse rewrites such a file when it starts */
    bool crlf;     /* lines end in CR LF: read all the same */
};

/*
 * Read the text of a key file. EMS_OK with at least one key, EMS_KEY_MALFORMED (the message says
 * which line and what is wrong with it, and quotes nothing), EMS_NO_MEMORY. The caller wipes text.
 */
int ems_signing_keys_parse(const void *text, size_t size, struct ems_signing_keys *,
                           struct ems_error *);

/* The key of that id ("ed25519:a_AbCd"), or NULL. */
const struct ems_signing_key *ems_signing_keys_find(const struct ems_signing_keys *,
                                                    const char *id);

/* Is this the Ed25519 signature (64 bytes) of that key over data? False also when out of memory. */
bool ems_signing_key_verify(const uint8_t public_key[32], const void *data, size_t size,
                            const uint8_t signature[64]);

/* A version as Matrix allows it: letters, digits and '_', and short enough to be kept. */
bool ems_signing_key_version_is_valid(const char *version, size_t size);

#endif
