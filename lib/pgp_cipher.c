/* pgp_cipher.c - see pgp_cipher.h */
#include "pgp_cipher.h"

#include "bytes.h"

#include <string.h>

/*
 * Numbers, key and block sizes of section 9.3. 5 and 6 are reserved. IDEA and the ciphers with
 * blocks of 8 octets are only read: RFC 9580 says that they must not be used any more, old GnuPG
 * did (CAST5 was the default until 2.0). Whether libgcrypt has one can depend on how it was built
 * and on FIPS mode, so each is asked for before it is used.
 */
static const struct ems_pgp_cipher ciphers[] = {
    {1, GCRY_CIPHER_IDEA, 16, 8, "IDEA"},
    {2, GCRY_CIPHER_3DES, 24, 8, "3DES"},
    {3, GCRY_CIPHER_CAST5, 16, 8, "CAST5"},
    {4, GCRY_CIPHER_BLOWFISH, 16, 8, "BLOWFISH"},
    {7, GCRY_CIPHER_AES128, 16, 16, "AES"},
    {8, GCRY_CIPHER_AES192, 24, 16, "AES192"},
    {9, GCRY_CIPHER_AES256, 32, 16, "AES256"},
    {10, GCRY_CIPHER_TWOFISH, 32, 16, "TWOFISH"},
    {11, GCRY_CIPHER_CAMELLIA128, 16, 16, "CAMELLIA128"},
    {12, GCRY_CIPHER_CAMELLIA192, 24, 16, "CAMELLIA192"},
    {13, GCRY_CIPHER_CAMELLIA256, 32, 16, "CAMELLIA256"},
};

const struct ems_pgp_cipher *ems_pgp_cipher_find(unsigned id)
{
    for (size_t i = 0; i < sizeof ciphers / sizeof ciphers[0]; i++)
        if (ciphers[i].id == id)
            return &ciphers[i];
    return NULL;
}

const struct ems_pgp_cipher *ems_pgp_cipher_get(unsigned id, struct ems_error *err)
{
    const struct ems_pgp_cipher *cipher = ems_pgp_cipher_find(id);

    if (cipher == NULL || gcry_cipher_test_algo(cipher->algorithm) != 0) {
        ems_fail(err, EMS_PGP_UNSUPPORTED, "cipher algorithm %u (%s)", id,
                 cipher == NULL ? "unknown" : cipher->name);
        return NULL;
    }
    return cipher;
}

/*
 * Handles live in secure memory: the key schedule begins with the key itself. DES has a few weak
 * keys, which libgcrypt refuses; no honest sender makes one (of 2^56), so that is called damage,
 * and another candidate may still fit.
 */
int ems_pgp_cipher_open(gcry_cipher_hd_t *handle, const struct ems_pgp_cipher *cipher, int mode,
                        unsigned flags, const uint8_t *key, struct ems_error *err)
{
    gcry_error_t rc = gcry_cipher_open(handle, cipher->algorithm, mode, flags | GCRY_CIPHER_SECURE);

    if (rc != 0) {
        *handle = NULL;
        if (gcry_err_code(rc) == GPG_ERR_ENOMEM)
            return ems_fail_memory(err);
        return ems_fail(err, EMS_INTERNAL, "%s: %s", cipher->name, gcry_strerror(rc));
    }
    rc = gcry_cipher_setkey(*handle, key, cipher->key_size);
    if (rc == 0)
        return EMS_OK;
    gcry_cipher_close(*handle);
    *handle = NULL;
    return ems_fail(err, gcry_err_code(rc) == GPG_ERR_WEAK_KEY ? EMS_PGP_MODIFIED : EMS_INTERNAL,
                    "%s: %s", cipher->name, gcry_strerror(rc));
}

/* ---- AEAD ---- */

/* Section 9.6. EAX and OCB are of the drafts that became packet 20; GCM came with RFC 9580. Nonces
 * have the sizes that the RFC gives them, not those that the modes would allow. */
static const struct ems_pgp_aead aeads[] = {
    {1, GCRY_CIPHER_MODE_EAX, 16, "eax"},
    {2, GCRY_CIPHER_MODE_OCB, 15, "ocb"},
    {3, GCRY_CIPHER_MODE_GCM, 12, "gcm"},
};

const struct ems_pgp_aead *ems_pgp_aead_find(unsigned id)
{
    for (size_t i = 0; i < sizeof aeads / sizeof aeads[0]; i++)
        if (aeads[i].id == id)
            return &aeads[i];
    return NULL;
}

static int report(gcry_error_t rc, const struct ems_pgp_aead *aead, struct ems_error *err)
{
    return rc == 0 ? EMS_OK : ems_fail(err, EMS_INTERNAL, "%s: %s", aead->name, gcry_strerror(rc));
}

/* The order is libgcrypt's: nonce, associated data, text. A new nonce starts the next text with the
 * same key schedule, which is the dearer half of opening a handle. */
static gcry_error_t aead_begin(gcry_cipher_hd_t h, const struct ems_pgp_aead *aead,
                               const struct ems_pgp_aead_text *text)
{
    gcry_error_t rc = 0;

    /* libgcrypt 1.10 keeps the unused end of a key stream across a new nonce in EAX mode. */
    if (aead->mode == GCRY_CIPHER_MODE_EAX)
        rc = gcry_cipher_reset(h);
    if (rc == 0)
        rc = gcry_cipher_setiv(h, text->nonce, text->nonce_size);
    if (rc == 0)
        rc = gcry_cipher_authenticate(h, text->ad, text->ad_size);
    return rc;
}

/* OCB wants to be told before the last piece of text, and to see it even if it is empty. */
static gcry_error_t aead_last(gcry_cipher_hd_t h, const struct ems_pgp_aead *aead)
{
    return aead->mode == GCRY_CIPHER_MODE_OCB ? gcry_cipher_final(h) : 0;
}

int ems_pgp_aead_begin(gcry_cipher_hd_t h, const struct ems_pgp_aead *aead,
                       const struct ems_pgp_aead_text *text, struct ems_error *err)
{
    return report(aead_begin(h, aead, text), aead, err);
}

int ems_pgp_aead_piece(gcry_cipher_hd_t h, const struct ems_pgp_aead *aead, uint8_t *data,
                       size_t size, bool last, struct ems_error *err)
{
    gcry_error_t rc = last ? aead_last(h, aead) : 0;

    if (rc == 0)
        rc = gcry_cipher_decrypt(h, data, size, NULL, 0);
    return report(rc, aead, err);
}

/* libgcrypt compares in constant time. That a tag does not fit is an answer, not an error: while
 * keys are tried it means "not this one", behind a chunk it means damage. */
int ems_pgp_aead_check(gcry_cipher_hd_t h, const struct ems_pgp_aead *aead, const uint8_t *tag,
                       struct ems_error *err)
{
    gcry_error_t rc = gcry_cipher_checktag(h, tag, EMS_PGP_AEAD_TAG);

    return gcry_err_code(rc) == GPG_ERR_CHECKSUM ? EMS_PGP_MODIFIED : report(rc, aead, err);
}

int ems_pgp_aead_decrypt(gcry_cipher_hd_t h, const struct ems_pgp_aead *aead,
                         const struct ems_pgp_aead_text *text, struct ems_error *err)
{
    int rc = ems_pgp_aead_begin(h, aead, text, err);

    if (rc == EMS_OK)
        rc = ems_pgp_aead_piece(h, aead, text->data, text->size, true, err);
    return rc == EMS_OK ? ems_pgp_aead_check(h, aead, text->tag, err) : rc;
}

int ems_pgp_aead_encrypt(gcry_cipher_hd_t h, const struct ems_pgp_aead *aead,
                         const struct ems_pgp_aead_text *text, struct ems_error *err)
{
    gcry_error_t rc = aead_begin(h, aead, text);

    if (rc == 0)
        rc = aead_last(h, aead);
    if (rc == 0)
        rc = gcry_cipher_encrypt(h, text->data, text->size, NULL, 0);
    if (rc == 0)
        rc = gcry_cipher_gettag(h, text->tag, EMS_PGP_AEAD_TAG);
    return report(rc, aead, err);
}

/* ---- session keys ---- */

/* CVE-2025-13470: rnp 0.18.0 encrypted to public keys with a session key of zeros. The message can
 * be read, by anybody; the report says so. */
void ems_pgp_unlock_done(const struct ems_pgp_unlock *unlock, const struct ems_pgp_cipher *cipher,
                         const struct ems_pgp_session_key *key)
{
    struct ems_pgp_facts *facts = unlock->facts;
    static const uint8_t zeros[EMS_PGP_KEY_MAX];

    facts->cipher = cipher->name;
    facts->s2k = key->s2k;
    facts->session_key = key->s2k != NULL ? "passphrase" : "key";
    memcpy(facts->key_id, key->key_id, sizeof facts->key_id);
    memcpy(facts->key_note, key->key_note, sizeof facts->key_note);
    facts->weak_session_key = ems_equal_ct(key->key, zeros, key->size);
}
