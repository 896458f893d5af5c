/*
 * pgp_key.c - see pgp_key.h; files of keys are in pgp_keyring.c, unwrapping in pgp_pk.c
 *
 * Section numbers are of RFC 9580. GnuPG's version 5 keys are of draft-ietf-openpgp-rfc4880bis-10.
 */
#include "pgp_key.h"

#include <stdio.h>
#include <string.h>

/* ---- reading fields ---- */

struct cursor {
    const uint8_t *data;
    size_t size, at;
    bool bad; /* something was missing; every later read gives zeros */
};

static struct ems_pgp_field take(struct cursor *c, size_t size)
{
    struct ems_pgp_field field = {c->at, size};

    if (c->bad || size > c->size - c->at) {
        c->bad = true;
        return (struct ems_pgp_field){0, 0};
    }
    c->at += size;
    return field;
}

static unsigned take_octet(struct cursor *c)
{
    struct ems_pgp_field f = take(c, 1);

    return f.size == 1 ? c->data[f.at] : 0;
}

/* A number (3.2): two octets of bit count, which is trusted for the octets only. */
static struct ems_pgp_field take_mpi(struct cursor *c)
{
    struct ems_pgp_field f = take(c, 2);
    uint32_t bits = f.size == 2 ? ems_be16(c->data + f.at) : 0;

    if (bits > EMS_PGP_MPI_BITS_MAX) {
        c->bad = true;
        return (struct ems_pgp_field){0, 0};
    }
    return take(c, (bits + 7) / 8);
}

/* ---- public part (5.5.2, 5.5.5) ---- */

/* False: the algorithm is unknown, so that its fields cannot be told apart. */
static bool take_public(struct cursor *c, struct ems_pgp_key *key)
{
    unsigned mpis = 0;

    switch (key->algorithm) {
    case EMS_PGP_RSA:
    case EMS_PGP_RSA_ENCRYPT:
    case EMS_PGP_RSA_SIGN:
        mpis = 2; /* n, e */
        break;
    case EMS_PGP_ELGAMAL:
    case EMS_PGP_ELGAMAL_GENERAL:
        mpis = 3; /* p, g, y */
        break;
    case EMS_PGP_ECDH:
        key->public[0] = take(c, take_octet(c)); /* curve OID */
        key->public[1] = take_mpi(c);            /* point */
        key->public[2] = take(c, take_octet(c)); /* KDF parameters */
        return true;
    case EMS_PGP_X25519:
        key->public[0] = take(c, 32);
        return true;
    case EMS_PGP_X448:
        key->public[0] = take(c, 56);
        return true;
    case EMS_PGP_DSA:
        mpis = 4; /* p, q, g, y */
        break;
    case EMS_PGP_ECDSA:
    case EMS_PGP_EDDSA:
        key->public[0] = take(c, take_octet(c)); /* curve OID */
        key->public[1] = take_mpi(c);            /* point */
        return true;
    case EMS_PGP_ED25519:
        key->public[0] = take(c, 32);
        return true;
    case EMS_PGP_ED448:
        key->public[0] = take(c, 57);
        return true;
    default:
        return false;
    }
    for (unsigned i = 0; i < mpis; i++)
        key->public[i] = take_mpi(c);
    return true;
}

/* Fingerprint and id (5.5.4). */
static void fingerprint(struct ems_pgp_key *key)
{
    uint8_t prefix[5] = {0x99};
    size_t prefix_size = 3;
    gcry_buffer_t parts[2] = {{.data = prefix}, {.data = key->body, .len = key->public_size}};
    int algorithm = key->version == 4 ? GCRY_MD_SHA1 : GCRY_MD_SHA256;

    if (key->version == 4) {
        prefix[1] = (uint8_t)(key->public_size >> 8);
        prefix[2] = (uint8_t)key->public_size;
    } else {
        prefix[0] = key->version == 5 ? 0x9a : 0x9b;
        for (int i = 0; i < 4; i++)
            prefix[1 + i] = (uint8_t)(key->public_size >> (24 - 8 * i));
        prefix_size = 5;
    }
    parts[0].len = prefix_size;
    gcry_md_hash_buffers(algorithm, 0, key->fingerprint, parts, 2);
    key->fingerprint_size = key->version == 4 ? 20 : 32;
    memcpy(key->id, key->version == 4 ? key->fingerprint + 12 : key->fingerprint, 8);
}

/* ---- secret part (5.5.3) ---- */

/* A key that we cannot open is kept, with the reason: if a message is for it, the reason is the
 * answer. */
static int unusable(struct ems_pgp_key *key, const char *why)
{
    key->state = EMS_PGP_KEY_UNUSABLE;
    snprintf(key->why, sizeof key->why, "%.90s", why);
    return EMS_OK;
}

/* Cipher, S2K and IV or nonce, as the usage octet says. */
static int take_protection(struct cursor *c, struct ems_pgp_key *key)
{
    static const uint8_t md5_simple[] = {EMS_PGP_S2K_SIMPLE, 1};
    const struct ems_pgp_cipher *cipher;
    const struct ems_pgp_aead *aead = NULL;
    struct ems_error why = {0};
    size_t used = 0;

    if (key->usage < 253) { /* legacy: the octet is the cipher, the key MD5 of the passphrase */
        key->cipher = key->usage;
        if (ems_pgp_s2k_parse(md5_simple, sizeof md5_simple, &key->s2k, &used, &why) != EMS_OK)
            return unusable(key, why.text);
    } else {
        key->cipher = (uint8_t)take_octet(c);
        if (key->usage == 253)
            key->aead = (uint8_t)take_octet(c);
        if (key->version == 6)
            take_octet(c); /* size of the specifier, which says it itself */
        if (c->bad ||
            ems_pgp_s2k_parse(c->data + c->at, c->size - c->at, &key->s2k, &used, &why) != EMS_OK)
            return c->bad ? EMS_OK : unusable(key, why.text);
        take(c, used);
    }
    if (key->s2k.type == EMS_PGP_S2K_GNU) { /* no cipher to look up, nothing follows of use */
        if (key->s2k.gnu_mode != 1 && key->s2k.gnu_mode != 2)
            return unusable(key, "an unknown GNU key protection");
        key->state = key->s2k.gnu_mode == 1 ? EMS_PGP_KEY_STUB : EMS_PGP_KEY_CARD;
        return EMS_OK;
    }
    if (key->s2k.type == EMS_PGP_S2K_ARGON2 && key->usage != 253)
        return unusable(key, "Argon2 without AEAD, which is not allowed"); /* 3.7.2.1 */
    cipher = ems_pgp_cipher_get(key->cipher, &why);
    if (cipher == NULL)
        return unusable(key, why.text);
    if (key->usage == 253) {
        aead = ems_pgp_aead_find(key->aead);
        if (aead == NULL || cipher->block_size != 16)
            return unusable(key, "an unknown AEAD algorithm");
    }
    key->iv = take(c, aead != NULL ? aead->nonce_size : cipher->block_size);
    key->state = EMS_PGP_KEY_LOCKED;
    return EMS_OK;
}

/*
 * The usage octet (3.7.2):
 *
 *     0           numbers in clear, and their sum (not in version 6)
 *     below 253   a cipher, key MD5 of the passphrase, numbers and sum encrypted: PGP 2's way
 *     253         AEAD, key through HKDF
 *     254         cipher and S2K, numbers and their SHA-1 encrypted: GnuPG's, and most others'
 *     255         the same with the sum
 *
 * Versions 5 and 6 say sizes in between, which the fields know themselves.
 */
static int take_secret(struct cursor *c, struct ems_pgp_key *key)
{
    int rc = EMS_OK;

    key->usage = (uint8_t)take_octet(c);
    key->state = EMS_PGP_KEY_LOCKED;
    /* Sizes that repeat what the fields say themselves. */
    if (key->version == 5 || (key->version == 6 && key->usage != 0))
        take_octet(c);
    if (key->usage != 0)
        rc = take_protection(c, key);
    if (key->version == 5 && key->state == EMS_PGP_KEY_LOCKED)
        take(c, 4);
    key->sealed = take(c, c->size - c->at);
    return rc;
}

size_t ems_pgp_key_kek_size(const struct ems_pgp_key *key)
{
    const struct ems_pgp_cipher *cipher = ems_pgp_cipher_find(key->cipher);

    return key->usage == 0 || cipher == NULL ? 0 : cipher->key_size;
}

/* The plain numbers, each to its field of key->secret. */
static int take_parts(struct ems_pgp_key *key, size_t size, struct ems_error *err)
{
    struct cursor c = {.data = key->secret, .size = size};
    unsigned mpis = 1; /* x, or d on a curve */

    switch (key->algorithm) {
    case EMS_PGP_X25519:
        key->parts[0] = take(&c, 32);
        mpis = 0;
        break;
    case EMS_PGP_X448:
        key->parts[0] = take(&c, 56);
        mpis = 0;
        break;
    case EMS_PGP_RSA:
    case EMS_PGP_RSA_ENCRYPT:
    case EMS_PGP_RSA_SIGN:
        mpis = 4; /* d, p, q, u */
        break;
    default:
        break;
    }
    for (unsigned i = 0; i < mpis; i++)
        key->parts[i] = take_mpi(&c);
    if (c.bad || c.at != size)
        return ems_fail(err, EMS_PGP_MALFORMED, "the secret numbers of a key do not fit together");
    return EMS_OK;
}

/* CFB, and the check behind the numbers: SHA-1 of them (254), or their octets' sum. *size becomes
 * that of the numbers. */
static int open_cfb(struct ems_pgp_key *key, const uint8_t *kek, size_t *size,
                    struct ems_error *err)
{
    size_t check = key->usage == 254 ? 20 : key->version == 6 && key->usage == 0 ? 0 : 2;
    uint8_t digest[20];
    unsigned sum = 0;
    gcry_cipher_hd_t handle;
    bool good;
    int rc;

    if (key->usage != 0) {
        rc = ems_pgp_cipher_open(&handle, ems_pgp_cipher_find(key->cipher), GCRY_CIPHER_MODE_CFB, 0,
                                 kek, err);
        if (rc != EMS_OK)
            return rc;
        good = gcry_cipher_setiv(handle, key->body + key->iv.at, key->iv.size) == 0 &&
               gcry_cipher_decrypt(handle, key->secret, *size, NULL, 0) == 0;
        gcry_cipher_close(handle);
        if (!good)
            return ems_fail(err, EMS_INTERNAL, "cannot decrypt a key");
    }
    if (*size < check)
        return ems_fail(err, EMS_PGP_MALFORMED, "a secret key without its checksum");
    *size -= check;
    if (check == 20) {
        gcry_md_hash_buffer(GCRY_MD_SHA1, digest, key->secret, *size);
        return ems_equal_ct(digest, key->secret + *size, 20) ? EMS_OK : EMS_PGP_PASSPHRASE;
    }
    for (size_t i = 0; i < *size; i++)
        sum += key->secret[i];
    if (check == 2 && (sum & 0xffff) != ems_be16(key->secret + *size))
        return EMS_PGP_PASSPHRASE;
    return EMS_OK;
}

/* 253: key-encryption key from HKDF over what kind of packet and cipher it is; the public part is
 * authenticated with the secret one. */
static int open_aead(struct ems_pgp_key *key, const uint8_t *kek, size_t *size,
                     struct ems_error *err)
{
    const struct ems_pgp_cipher *cipher = ems_pgp_cipher_find(key->cipher);
    const struct ems_pgp_aead *aead = ems_pgp_aead_find(key->aead);
    uint8_t tag = 0xc0 | (key->is_subkey ? EMS_PGP_TAG_SECRET_SUBKEY : EMS_PGP_TAG_SECRET_KEY);
    uint8_t info[4] = {tag, key->version, key->cipher, key->aead};
    struct ems_pgp_aead_text text;
    gcry_cipher_hd_t handle;
    uint8_t *derived, *ad;
    int rc;

    if (*size < EMS_PGP_AEAD_TAG)
        return ems_fail(err, EMS_PGP_MALFORMED, "a secret key without its tag");
    *size -= EMS_PGP_AEAD_TAG;
    derived = gcry_calloc_secure(1, EMS_PGP_KEY_MAX + 1 + key->public_size);
    if (derived == NULL)
        return ems_fail_memory(err);
    ad = derived + EMS_PGP_KEY_MAX;
    ad[0] = tag;
    memcpy(ad + 1, key->body, key->public_size);
    text = (struct ems_pgp_aead_text){.nonce = key->body + key->iv.at,
                                      .nonce_size = key->iv.size,
                                      .ad = ad,
                                      .ad_size = 1 + key->public_size,
                                      .data = key->secret,
                                      .size = *size,
                                      .tag = key->secret + *size};
    rc = ems_pgp_hkdf(GCRY_MD_SHA256, kek, cipher->key_size, NULL, 0, info, sizeof info, derived,
                      cipher->key_size, err);
    if (rc == EMS_OK)
        rc = ems_pgp_cipher_open(&handle, cipher, aead->mode, 0, derived, err);
    if (rc == EMS_OK) {
        rc = ems_pgp_aead_decrypt(handle, aead, &text, err);
        gcry_cipher_close(handle);
    }
    gcry_free(derived);
    return rc == EMS_PGP_MODIFIED ? EMS_PGP_PASSPHRASE : rc;
}

/* Decrypted beside the packet, which stays as it is: the next passphrase may be the right one. A
 * failed try leaves nothing, since secure memory is wiped when freed. */
int ems_pgp_key_open(struct ems_pgp_key *key, const uint8_t *kek, struct ems_error *err)
{
    size_t size = key->sealed.size;
    int rc;

    key->secret = gcry_calloc_secure(1, size + 1);
    if (key->secret == NULL)
        return ems_fail_memory(err);
    memcpy(key->secret, key->body + key->sealed.at, size);
    rc = key->usage == 253 ? open_aead(key, kek, &size, err) : open_cfb(key, kek, &size, err);
    if (rc == EMS_OK) {
        rc = take_parts(key, size, err);
        /* A sum of 16 bits lets some wrong passphrases pass. */
        if (rc != EMS_OK && key->usage != 0 && key->usage != 253 && key->usage != 254)
            rc = EMS_PGP_PASSPHRASE;
    }
    if (rc == EMS_OK) {
        key->secret_size = size;
        key->state = EMS_PGP_KEY_OPEN;
        return EMS_OK;
    }
    gcry_free(key->secret);
    key->secret = NULL;
    return rc;
}

/* ---- packets ---- */

/* The public part, from the version on. False: an unknown version or algorithm. */
static bool take_head(struct cursor *c, struct ems_pgp_key *key)
{
    key->version = (uint8_t)take_octet(c);
    key->created = ems_be32(c->size >= 5 ? c->data + 1 : (const uint8_t *)"\0\0\0\0");
    take(c, 4);
    key->algorithm = (uint8_t)take_octet(c);
    if (key->version >= 5)
        take(c, 4); /* size of the public fields */
    if (key->version < 4 || key->version > 6 || !take_public(c, key))
        return false;
    key->public_size = c->at;
    return true;
}

bool ems_pgp_key_identify(const uint8_t *body, size_t size, uint8_t id[8], uint32_t *created)
{
    struct ems_pgp_key key = {.body = (uint8_t *)(uintptr_t)body}; /* only read */
    struct cursor c = {.data = body, .size = size};

    if (!take_head(&c, &key) || c.bad)
        return false;
    fingerprint(&key);
    memcpy(id, key.id, 8);
    *created = key.created;
    return true;
}

/* RSA keys marked for signing only (3) are tried: some implementations encrypt to them all the
 * same. */
static bool can_decrypt(const struct ems_pgp_key *key)
{
    return key->algorithm != EMS_PGP_DSA && key->algorithm != EMS_PGP_ECDSA &&
           key->algorithm != EMS_PGP_EDDSA && key->algorithm != EMS_PGP_ED25519 &&
           key->algorithm != EMS_PGP_ED448;
}

/* Keys of unknown versions and algorithms are passed over, since a file may hold newer ones beside
 * those that are needed; known ones that do not add up are damage, and named. */
int ems_pgp_key_parse(struct ems_pgp_key **out, unsigned tag, uint8_t *body, size_t size,
                      struct ems_error *err)
{
    struct ems_pgp_key *key = gcry_calloc_secure(1, sizeof *key);
    struct cursor c = {.data = body, .size = size};
    int rc = EMS_OK;

    *out = NULL;
    if (key == NULL) {
        gcry_free(body);
        return ems_fail_memory(err);
    }
    key->body = body;
    key->body_size = size;
    key->is_secret = tag == EMS_PGP_TAG_SECRET_KEY || tag == EMS_PGP_TAG_SECRET_SUBKEY;
    key->is_subkey = tag == EMS_PGP_TAG_SECRET_SUBKEY || tag == EMS_PGP_TAG_PUBLIC_SUBKEY;
    if (take_head(&c, key) && can_decrypt(key)) {
        if (key->is_secret)
            rc = take_secret(&c, key);
        if (rc == EMS_OK && c.bad)
            rc = ems_fail(err, EMS_PGP_MALFORMED, "a %s packet is cut short or does not add up",
                          ems_pgp_tag_name(tag));
        if (rc == EMS_OK && !c.bad) {
            fingerprint(key);
            *out = key;
            return EMS_OK;
        }
    }
    ems_pgp_keys_free(key);
    return rc;
}

void ems_pgp_keys_free(struct ems_pgp_key *list)
{
    while (list != NULL) {
        struct ems_pgp_key *key = list;

        list = key->next;
        gcry_free(key->body); /* secure memory is wiped by its free */
        gcry_free(key->secret);
        gcry_free(key);
    }
}

void ems_pgp_key_id_text(const uint8_t id[8], char out[17])
{
    snprintf(out, 17, "%08X%08X", ems_be32(id), ems_be32(id + 4));
}
