/*
 * pgp_pk.c - session keys that were encrypted to a public key (RFC 9580, sections 5.1 and 11); see
 * pgp_key.h
 *
 * Every reason why an unwrapping fails gets the same answer. Elliptic curves are in pgp_ecdh.c.
 */
#include "pgp_pk.h"

#include "pgp_secrets.h"

#include <string.h>

/* ---- the packet ---- */

/*
 * Version 3 (5.1.1): key id of 8 octets, zeros if the recipient is hidden. Version 6 (5.1.2): size,
 * version and fingerprint of the key, size 0 if it is hidden. Both go on with the algorithm and
 * what that needs. Version 2, of PGP 2, is not read.
 */
int ems_pgp_pkesk_parse(const uint8_t *body, size_t size, struct ems_pgp_pkesk *p,
                        struct ems_error *err)
{
    static const uint8_t nobody[8];
    size_t at;

    memset(p, 0, sizeof *p);
    p->version = size > 0 ? body[0] : 0;
    if (p->version == 3) {
        at = 9;
        p->id = body + 1;
        p->anonymous = size >= at && memcmp(p->id, nobody, 8) == 0;
    } else if (p->version == 6) {
        size_t length = size > 1 ? body[1] : 0; /* of key version and fingerprint */

        at = 2 + length;
        p->anonymous = length == 0;
        if (length > 0) {
            p->fingerprint = body + 3;
            p->fingerprint_size = length - 1;
        }
    } else {
        return ems_fail(err, EMS_PGP_UNSUPPORTED, "public-key session-key packet of version %u",
                        p->version);
    }
    if (size < at + 1)
        return ems_fail(err, EMS_PGP_MALFORMED, "a public-key session-key packet is cut short");
    p->algorithm = body[at];
    p->material = body + at + 1;
    p->size = size - at - 1;
    return EMS_OK;
}

/* By id and algorithm. Expiry, revocation and key flags play no part: see ems_pgp_key_note. An id
 * of 8 octets can be that of two keys: both are tried. */
bool ems_pgp_pkesk_matches(const struct ems_pgp_pkesk *p, const struct ems_pgp_key *key)
{
    bool both_rsa = p->algorithm <= EMS_PGP_RSA_SIGN && key->algorithm <= EMS_PGP_RSA_SIGN;
    bool both_elgamal =
        (p->algorithm == EMS_PGP_ELGAMAL || p->algorithm == EMS_PGP_ELGAMAL_GENERAL) &&
        (key->algorithm == EMS_PGP_ELGAMAL || key->algorithm == EMS_PGP_ELGAMAL_GENERAL);

    if (p->algorithm != key->algorithm && !both_rsa && !both_elgamal)
        return false;
    if (p->anonymous)
        return true;
    if (p->id != NULL)
        return memcmp(p->id, key->id, 8) == 0;
    return p->fingerprint_size == key->fingerprint_size &&
           memcmp(p->fingerprint, key->fingerprint, key->fingerprint_size) == 0;
}

/* ---- what is inside: [cipher] key checksum ---- */

int ems_pgp_pk_refuse(struct ems_error *err)
{
    return ems_fail(err, EMS_PGP_NO_KEY,
                    "the secret key does not open its session-key packet: it "
                    "is damaged, or was made for another key");
}

/* `text` ends in a sum of the key's octets (5.1.3); version 3 has the cipher in front. */
int ems_pgp_pk_take_session_key(const struct ems_pgp_pkesk *p, const uint8_t *text, size_t size,
                                struct ems_pgp_session_key *out, struct ems_error *err)
{
    unsigned sum = 0;

    if (p->version == 3 && size > 0) {
        out->cipher = text[0];
        text++;
        size--;
    }
    if (size < 2 || size - 2 > EMS_PGP_KEY_MAX)
        return ems_pgp_pk_refuse(err);
    out->size = size - 2;
    for (size_t i = 0; i < out->size; i++)
        sum += text[i];
    if ((sum & 0xffff) != ems_be16(text + out->size))
        return ems_pgp_pk_refuse(err);
    memcpy(out->key, text, out->size);
    return EMS_OK;
}

/* ---- numbers ---- */

/* What is scanned from secure memory stays there; libgcrypt looks where the octets come from. */
static gcry_mpi_t scan(const uint8_t *data, size_t size)
{
    gcry_mpi_t mpi = NULL;

    return gcry_mpi_scan(&mpi, GCRYMPI_FMT_USG, data, size, NULL) == 0 ? mpi : NULL;
}

static gcry_mpi_t scan_public(const struct ems_pgp_key *key, unsigned i)
{
    return scan(key->body + key->public[i].at, key->public[i].size);
}

gcry_mpi_t ems_pgp_pk_scan_secret(const struct ems_pgp_key *key, unsigned i)
{
    return scan(key->secret + key->parts[i].at, key->parts[i].size);
}

/* Primes are; and libgcrypt ends the process when it has to divide by zero. */
static bool is_odd(gcry_mpi_t mpi)
{
    return gcry_mpi_test_bit(mpi, 0) != 0;
}

/* Decrypt; the value, padded on the left to `size` octets, goes to out (secure memory). */
int ems_pgp_pk_decrypt(gcry_sexp_t data, gcry_sexp_t secret, uint8_t *out, size_t size,
                       struct ems_error *err)
{
    gcry_sexp_t plain = NULL, value;
    const uint8_t *p = NULL;
    size_t n = 0;

    if (gcry_pk_decrypt(&plain, data, secret) != 0)
        return ems_pgp_pk_refuse(err);
    value = gcry_sexp_find_token(plain, "value", 0);
    if (value != NULL)
        p = (const uint8_t *)gcry_sexp_nth_data(value, 1, &n);
    while (n > size && p != NULL && p[0] == 0) { /* libgcrypt keeps numbers positive with a zero */
        p++;
        n--;
    }
    if (p != NULL && n <= size) {
        memset(out, 0, size - n);
        memcpy(out + size - n, p, n);
    }
    gcry_sexp_release(value);
    gcry_sexp_release(plain);
    return p != NULL && n <= size ? EMS_OK : ems_pgp_pk_refuse(err);
}

/* ---- RSA and Elgamal ---- */

/* EME-PKCS1-v1_5 (RFC 8017, section 7.2.2): 00 02, at least eight octets that are not zero, 00. */
static int take_pkcs1(const struct ems_pgp_pkesk *p, const uint8_t *block, size_t size,
                      struct ems_pgp_session_key *out, struct ems_error *err)
{
    size_t at = 2;

    if (size < 11 || block[0] != 0 || block[1] != 2)
        return ems_pgp_pk_refuse(err);
    while (at < size && block[at] != 0)
        at++;
    if (at == size || at < 10)
        return ems_pgp_pk_refuse(err);
    return ems_pgp_pk_take_session_key(p, block + at + 1, size - at - 1, out, err);
}

/* A number of the packet. Its bit count is often a little wrong, so the last number is whatever is
 * left of the packet. */
static gcry_mpi_t scan_packet(const uint8_t **data, size_t *size, bool last)
{
    size_t n;
    gcry_mpi_t mpi;

    if (*size < 2)
        return NULL;
    n = last ? *size - 2 : (ems_be16(*data) + 7) / 8;
    if (n > *size - 2 || n > EMS_PGP_MPI_BITS_MAX / 8 + 8)
        return NULL;
    mpi = scan(*data + 2, n);
    *data += 2 + n;
    *size -= 2 + n;
    return mpi;
}

/*
 * m^d mod n with blinding, by libgcrypt without its own unpadding, which is constant-time only
 * since 1.10.3 and has one text for everything; ours is below. Numbers of the message are checked
 * against the modulus first. OpenPGP's u is the inverse of p modulo q, as libgcrypt wants it.
 */
static int open_rsa(const struct ems_pgp_pkesk *p, const struct ems_pgp_key *key,
                    struct ems_pgp_session_key *out, struct ems_error *err)
{
    const uint8_t *data = p->material;
    size_t size = p->size, bytes;
    gcry_mpi_t n = scan_public(key, 0), e = scan_public(key, 1),
               a = scan_packet(&data, &size, true);
    gcry_mpi_t d = ems_pgp_pk_scan_secret(key, 0), q1 = ems_pgp_pk_scan_secret(key, 1),
               q2 = ems_pgp_pk_scan_secret(key, 2);
    gcry_mpi_t u = ems_pgp_pk_scan_secret(key, 3);
    gcry_sexp_t secret = NULL, sealed = NULL;
    uint8_t *block = NULL;
    int rc = EMS_OK;

    bytes = n != NULL ? (gcry_mpi_get_nbits(n) + 7) / 8 : 0;
    block = gcry_calloc_secure(1, bytes + 1);
    if (block == NULL || n == NULL || e == NULL || d == NULL || q1 == NULL || q2 == NULL ||
        u == NULL)
        rc = ems_fail_memory(err);
    else if (a == NULL || !is_odd(n) || !is_odd(q1) || !is_odd(q2) || gcry_mpi_cmp(a, n) >= 0)
        rc = ems_pgp_pk_refuse(err);
    /* OpenPGP's u is p^-1 mod q, as libgcrypt wants it. */
    else if (gcry_sexp_build(&secret, NULL, "(private-key(rsa(n%m)(e%m)(d%m)(p%m)(q%m)(u%m)))", n,
                             e, d, q1, q2, u) != 0 ||
             gcry_sexp_build(&sealed, NULL, "(enc-val(flags raw)(rsa(a%m)))", a) != 0)
        rc = ems_fail_memory(err);
    else
        rc = ems_pgp_pk_decrypt(sealed, secret, block, bytes, err);
    if (rc == EMS_OK)
        rc = take_pkcs1(p, block, bytes, out, err);
    gcry_sexp_release(secret);
    gcry_sexp_release(sealed);
    gcry_mpi_release(n);
    gcry_mpi_release(e);
    gcry_mpi_release(a);
    gcry_mpi_release(d);
    gcry_mpi_release(q1);
    gcry_mpi_release(q2);
    gcry_mpi_release(u);
    gcry_free(block);
    return rc;
}

/* Two numbers, of which either may have a wrong bit count. Key sizes are bounded when the key is
 * read (16384 bits). */
static int open_elgamal(const struct ems_pgp_pkesk *p, const struct ems_pgp_key *key,
                        struct ems_pgp_session_key *out, struct ems_error *err)
{
    const uint8_t *data = p->material;
    size_t size = p->size, bytes;
    gcry_mpi_t prime = scan_public(key, 0), g = scan_public(key, 1), y = scan_public(key, 2);
    gcry_mpi_t x = ems_pgp_pk_scan_secret(key, 0);
    gcry_mpi_t a = scan_packet(&data, &size, false), b = scan_packet(&data, &size, true);
    gcry_sexp_t secret = NULL, sealed = NULL;
    uint8_t *block = NULL;
    int rc = EMS_OK;

    bytes = prime != NULL ? (gcry_mpi_get_nbits(prime) + 7) / 8 : 0;
    block = gcry_calloc_secure(1, bytes + 1);
    if (block == NULL || prime == NULL || g == NULL || y == NULL || x == NULL)
        rc = ems_fail_memory(err);
    else if (a == NULL || b == NULL || !is_odd(prime) || gcry_mpi_cmp(a, prime) >= 0 ||
             gcry_mpi_cmp(b, prime) >= 0)
        rc = ems_pgp_pk_refuse(err);
    else if (gcry_sexp_build(&secret, NULL, "(private-key(elg(p%m)(g%m)(y%m)(x%m)))", prime, g, y,
                             x) != 0 ||
             gcry_sexp_build(&sealed, NULL, "(enc-val(flags raw)(elg(a%m)(b%m)))", a, b) != 0)
        rc = ems_fail_memory(err);
    else
        rc = ems_pgp_pk_decrypt(sealed, secret, block, bytes, err);
    if (rc == EMS_OK)
        rc = take_pkcs1(p, block, bytes, out, err);
    gcry_sexp_release(secret);
    gcry_sexp_release(sealed);
    gcry_mpi_release(prime);
    gcry_mpi_release(g);
    gcry_mpi_release(y);
    gcry_mpi_release(x);
    gcry_mpi_release(a);
    gcry_mpi_release(b);
    gcry_free(block);
    return rc;
}

/* ---- all of them ---- */

/* Fitted to libgcrypt 1.10: RSA of 4096 bits takes 26 ms, Elgamal 250 (with an exponent of full
 * length), a curve 0.2 to 6. */
uint64_t ems_pgp_pk_cost(const struct ems_pgp_key *key)
{
    uint64_t units = key->public[0].size / 32; /* of 256 bits */

    switch (key->algorithm) {
    case EMS_PGP_RSA:
    case EMS_PGP_RSA_ENCRYPT:
    case EMS_PGP_RSA_SIGN:
        return 160 * units * units;
    case EMS_PGP_ELGAMAL:
    case EMS_PGP_ELGAMAL_GENERAL:
        return 85 * units * units * units;
    default:
        return 6000;
    }
}

/* A version 3 checksum, RFC 3394's integrity check or PKCS#1's shape prove that the key was
 * unwrapped with what it was wrapped for. So what comes out is `sure`: a container that does not
 * fit it is damaged, and nobody has to be asked for another passphrase. */
int ems_pgp_pkesk_open(const struct ems_pgp_pkesk *p, const struct ems_pgp_key *key,
                       struct ems_pgp_session_key *out, struct ems_error *err)
{
    int rc;

    memset(out, 0, sizeof *out);
    ems_pgp_all_secure(key->algorithm != EMS_PGP_ECDH); /* which has no expressions */
    switch (key->algorithm) {
    case EMS_PGP_RSA:
    case EMS_PGP_RSA_ENCRYPT:
    case EMS_PGP_RSA_SIGN:
        rc = open_rsa(p, key, out, err);
        break;
    case EMS_PGP_ELGAMAL:
    case EMS_PGP_ELGAMAL_GENERAL:
        rc = open_elgamal(p, key, out, err);
        break;
    case EMS_PGP_ECDH:
        rc = ems_pgp_pk_open_ecdh(p, key, out, err);
        break;
    case EMS_PGP_X25519:
    case EMS_PGP_X448:
        rc = ems_pgp_pk_open_native(p, key, out, err);
        break;
    default:
        rc = ems_fail(err, EMS_PGP_UNSUPPORTED, "public-key algorithm %u", key->algorithm);
        break;
    }
    ems_pgp_all_secure(false);
    out->sure = true;
    ems_pgp_key_id_text(key->id, out->key_id);
    return rc;
}
