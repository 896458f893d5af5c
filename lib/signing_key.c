/* signing_key.c - see signing_key.h */
#include "signing_key.h"

#include "base64.h"
#include "bytes.h"

#include <gcrypt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/*
 * The file (signedjson/key.py, read_signing_keys): a line a key, "ed25519 VERSION BASE64", blanks
 * between. BASE64 is the 32 bytes of the secret seed (RFC 8032, section 5.1.5) without padding. The
 * key's name in events is "ed25519:VERSION". Early Synapse wrote the seed alone; such
 * a key has the version "auto" here.
 */
#define SEED_SIZE 32u

static const char algorithm[] = "ed25519";

/*
 * Public key of a seed. libgcrypt takes `d` of a key on the curve Ed25519 for the seed of RFC 8032
 * and does the hashing and clamping itself; "q@eddsa" is the encoded point. The S-expression and
 * the context hold copies of the seed: secure memory begets secure memory there.
 */
static int derive(const uint8_t *seed, uint8_t public_key[32], struct ems_error *err)
{
    gcry_sexp_t private_key = NULL;
    gcry_mpi_t point = NULL, secret = NULL;
    gcry_ctx_t curve = NULL;
    const void *encoded;
    unsigned bits = 0;
    int rc = EMS_OK;

    secret = gcry_mpi_snew(8 * SEED_SIZE);
    if (secret == NULL || gcry_mpi_set_opaque_copy(secret, seed, 8 * SEED_SIZE) == NULL ||
        gcry_sexp_build(&private_key, NULL, "(private-key(ecc(curve Ed25519)(flags eddsa)(d %m)))",
                        secret) != 0 ||
        gcry_mpi_ec_new(&curve, private_key, NULL) != 0) {
        rc = ems_fail_memory(err);
        goto out;
    }
    point = gcry_mpi_ec_get_mpi("q@eddsa", curve, 1);
    encoded = point != NULL ? gcry_mpi_get_opaque(point, &bits) : NULL;
    if (encoded == NULL || bits != 256)
        rc = ems_fail(err, EMS_INTERNAL, "libgcrypt cannot derive an Ed25519 key");
    else
        memcpy(public_key, encoded, 32);
out:
    gcry_mpi_release(point);
    gcry_ctx_release(curve);
    gcry_sexp_release(private_key);
    gcry_mpi_release(secret);
    return rc;
}

/* The alphabet of key ids (specification, "Publishing keys"); Synapse makes "a_" and four letters.
 */
bool ems_signing_key_version_is_valid(const char *version, size_t size)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";

    if (size == 0 || size + sizeof algorithm >= EMS_SIGNING_KEY_ID_SIZE)
        return false;
    for (size_t i = 0; i < size; i++)
        if (version[i] == '\0' || strchr(allowed, version[i]) == NULL)
            return false;
    return true;
}

struct field {
    const char *text;
    size_t size;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* Blank-separated fields of a line; returns how many there are, of which 3 are kept. */
static size_t split_line(const char *line, size_t size, struct field fields[3])
{
    size_t count = 0, i = 0;

    for (;;) {
        size_t start;

        while (i < size && is_blank(line[i]))
            i++;
        if (i == size)
            return count;
        start = i;
        while (i < size && !is_blank(line[i]))
            i++;
        if (count < 3)
            fields[count] = (struct field){line + start, i - start};
        count++;
    }
}

/* The seed never leaves secure memory, and is wiped whatever comes of it. */
static int add_key(struct ems_signing_keys *keys, struct field version, struct field base64,
                   unsigned long line, struct ems_error *err)
{
    struct ems_signing_key *key = &keys->items[keys->count];
    uint8_t *seed;
    int rc;

    if (keys->count == EMS_SIGNING_KEYS_MAX)
        return ems_fail(err, EMS_KEY_MALFORMED, "line %lu: more than %u keys", line,
                        EMS_SIGNING_KEYS_MAX);
    if (!ems_signing_key_version_is_valid(version.text, version.size))
        return ems_fail(err, EMS_KEY_MALFORMED,
                        "line %lu: the second field is no key version (letters, digits, _)", line);
    seed = gcry_malloc_secure(SEED_SIZE);
    if (seed == NULL)
        return ems_fail_memory(err);
    if (!ems_base64_decode(base64.text, base64.size, seed, SEED_SIZE)) {
        rc = ems_fail(err, EMS_KEY_MALFORMED,
                      "line %lu: the key is not 43 characters of base64 (it has %zu characters)",
                      line, base64.size);
    } else {
        rc = derive(seed, key->public_key, err);
    }
    ems_wipe(seed, SEED_SIZE);
    gcry_free(seed);
    if (rc != EMS_OK)
        return rc;
    snprintf(key->id, sizeof key->id, "%s:%.*s", algorithm, (int)version.size, version.text);
    ems_base64_encode(key->public_key, sizeof key->public_key, key->public_text);
    keys->count++;
    return EMS_OK;
}

/* As str.split() sees a line: any run of blanks, leading and trailing ones included. */
static int parse_line(struct ems_signing_keys *keys, const char *line, size_t size,
                      unsigned long number, struct ems_error *err)
{
    static const struct field automatic = {"auto", 4};
    struct field fields[3];
    size_t count = split_line(line, size, fields);

    keys->crlf |= size > 0 && line[size - 1] == '\r';
    if (count == 0)
        return EMS_OK;
    if (count == 1 && number == 1) {
        keys->old_form = true;
        return add_key(keys, automatic, fields[0], number, err);
    }
    if (keys->old_form) /* Synapse reads the first line of such a file and no other */
        return EMS_OK;
    if (count != 3)
        return ems_fail(err, EMS_KEY_MALFORMED,
                        "line %lu: %zu fields instead of 3 (ed25519, version, key)", number, count);
    if (fields[0].size != sizeof algorithm - 1 ||
        memcmp(fields[0].text, algorithm, sizeof algorithm - 1) != 0)
        return ems_fail(err, EMS_KEY_MALFORMED, "line %lu: the key is not of type %s", number,
                        algorithm);
    return add_key(keys, fields[1], fields[2], number, err);
}

/* A secret is never part of a message: lines and numbers of characters are. */
int ems_signing_keys_parse(const void *data, size_t size, struct ems_signing_keys *keys,
                           struct ems_error *err)
{
    const char *text = data;
    unsigned long number = 1;

    *keys = (struct ems_signing_keys){0};
    if (size > EMS_SIGNING_KEY_FILE_MAX)
        return ems_fail(err, EMS_KEY_MALFORMED, "far too long for a signing key file");
    if (size > 0 && memchr(text, '\0', size) != NULL)
        return ems_fail(err, EMS_KEY_MALFORMED, "no text file: it holds NUL bytes");
    for (size_t at = 0; at < size; number++) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t n = end != NULL ? (size_t)(end - text) - at : size - at;
        int rc = parse_line(keys, text + at, n, number, err);

        if (rc != EMS_OK)
            return rc;
        at += n + 1;
    }
    if (keys->count == 0)
        return ems_fail(err, EMS_KEY_MALFORMED, "there is no key in the file");
    return EMS_OK;
}

const struct ems_signing_key *ems_signing_keys_find(const struct ems_signing_keys *keys,
                                                    const char *id)
{
    for (size_t i = 0; i < keys->count; i++)
        if (strcmp(keys->items[i].id, id) == 0)
            return &keys->items[i];
    return NULL;
}

/* PureEdDSA: libgcrypt wants the hash named although it is part of the scheme (RFC 8032). A
 * signature is R and S, 32 bytes each. Anything that cannot be built or is not on the curve is not
 * good. */
bool ems_signing_key_verify(const uint8_t public_key[32], const void *data, size_t size,
                            const uint8_t signature[64])
{
    gcry_sexp_t key = NULL, value = NULL, sig = NULL;
    bool good = false;

    if (size <= INT_MAX &&
        gcry_sexp_build(&key, NULL, "(public-key(ecc(curve Ed25519)(flags eddsa)(q %b)))", 32,
                        public_key) == 0 &&
        gcry_sexp_build(&value, NULL, "(data(flags eddsa)(hash-algo sha512)(value %b))", (int)size,
                        data) == 0 &&
        gcry_sexp_build(&sig, NULL, "(sig-val(eddsa(r %b)(s %b)))", 32, signature, 32,
                        signature + 32) == 0)
        good = gcry_pk_verify(sig, value, key) == 0;
    gcry_sexp_release(sig);
    gcry_sexp_release(value);
    gcry_sexp_release(key);
    return good;
}
