/*
 * pgp_ecdh.c - session keys agreed on over elliptic curves (RFC 9580, sections 5.1.5 to 5.1.7 and
 * 11); see pgp_key.h
 *
 * Sizes and points are checked here, before libgcrypt sees them: its versions before
 * 1.10.1-3+deb12u1 write past a buffer for short Curve25519 points (CVE-2026-41989), and its scalar
 * multiplication calls an all-zero result a success.
 */
#include "pgp_pk.h"

#include <string.h>

/* ---- curves ---- */

/* The curves of section 9.2 that are used with algorithm 18. */
static const struct curve {
    const char *name; /* libgcrypt's; NULL: a Montgomery curve, done natively */
    uint8_t field_size;
    uint8_t oid_size;
    uint8_t oid[10];
} curves[] = {
    {"NIST P-256", 32, 8, {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}},
    {"NIST P-384", 48, 5, {0x2b, 0x81, 0x04, 0x00, 0x22}},
    {"NIST P-521", 66, 5, {0x2b, 0x81, 0x04, 0x00, 0x23}},
    {"secp256k1", 32, 5, {0x2b, 0x81, 0x04, 0x00, 0x0a}},
    {"brainpoolP256r1", 32, 9, {0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x07}},
    {"brainpoolP384r1", 48, 9, {0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x0b}},
    {"brainpoolP512r1", 64, 9, {0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x0d}},
    {NULL, 32, 10, {0x2b, 0x06, 0x01, 0x04, 0x01, 0x97, 0x55, 0x01, 0x05, 0x01}},
    {NULL, 32, 3, {0x2b, 0x65, 0x6e}}, /* the same by its newer name (GnuPG version 5 keys) */
    {NULL, 56, 3, {0x2b, 0x65, 0x6f}}, /* X448 (GnuPG version 5 keys) */
};

/* By OID. Curves that libgcrypt has and OpenPGP does not name are not for us. */
static const struct curve *find_curve(const struct ems_pgp_key *key)
{
    for (size_t i = 0; i < sizeof curves / sizeof curves[0]; i++)
        if (curves[i].oid_size == key->public[0].size &&
            memcmp(curves[i].oid, key->body + key->public[0].at, curves[i].oid_size) == 0)
            return &curves[i];
    return NULL;
}

static bool is_zero(const uint8_t *data, size_t size)
{
    uint8_t any = 0;

    for (size_t i = 0; i < size; i++)
        any |= data[i];
    return any == 0;
}

/* Scalar times point on a Montgomery curve, both in native form (little-endian), the scalar clamped
 * as RFC 7748, section 5 says. Points of small order give zero, and are refused. */
static int multiply(int curve, const uint8_t *scalar, const uint8_t *point, size_t size,
                    uint8_t *shared, struct ems_error *err)
{
    uint8_t *k = gcry_malloc_secure(size);
    gcry_error_t grc;

    if (k == NULL)
        return ems_fail_memory(err);
    memcpy(k, scalar, size);
    if (curve == GCRY_ECC_CURVE25519) {
        k[0] &= 0xf8;
        k[31] = (uint8_t)((k[31] & 0x7f) | 0x40);
    } else {
        k[0] &= 0xfc;
        k[55] |= 0x80;
    }
    grc = gcry_ecc_mul_point(curve, shared, k, point);
    gcry_free(k);
    return grc == 0 && !is_zero(shared, size) ? EMS_OK : ems_pgp_pk_refuse(err);
}

/* A point in native form, usually behind an octet 0x40, which GnuPG 2.5.7 to 2.5.12 forget on
 * Curve25519, and which none has on X448. NULL if it has another size. */
static const uint8_t *native_point(const uint8_t *point, size_t size, size_t native)
{
    if (size == native + 1 && point[0] == 0x40)
        return point + 1;
    return size == native ? point : NULL;
}

/* The key's secret as a native scalar: with algorithm 18 it is a number, the most significant octet
 * first, leading zeros gone; or `native`: octets as they are. */
static void take_scalar(const struct ems_pgp_key *key, bool native, uint8_t *scalar, size_t size)
{
    const uint8_t *d = key->secret + key->parts[0].at;
    size_t n = key->parts[0].size;

    memset(scalar, 0, size);
    for (size_t i = 0; i < n; i++)
        scalar[native ? size - n + i : i] = native ? d[i] : d[n - 1 - i];
}

/* Of X448 secrets both orders exist (GnuPG's is native): the right one leads to the public point.
 */
static bool is_native_448(const struct ems_pgp_key *key, uint8_t *scalar)
{
    static const uint8_t base[56] = {5};
    const struct ems_pgp_field q = key->public[1];
    const uint8_t *point = native_point(key->body + q.at, q.size, 56);
    struct ems_error ignored = {0};
    uint8_t made[56];

    take_scalar(key, true, scalar, 56);
    return point != NULL &&
           multiply(GCRY_ECC_CURVE448, scalar, base, 56, made, &ignored) == EMS_OK &&
           memcmp(made, point, 56) == 0;
}

/* The curves of RFC 7748 by their OIDs. */
static int agree_montgomery(size_t native, const struct ems_pgp_key *key, const uint8_t *point,
                            size_t size, uint8_t *shared, struct ems_error *err)
{
    int curve = native == 32 ? GCRY_ECC_CURVE25519 : GCRY_ECC_CURVE448;
    bool as_is = false;
    uint8_t *scalar;
    int rc;

    point = native_point(point, size, native);
    if (point == NULL || key->parts[0].size > native)
        return ems_pgp_pk_refuse(err);
    scalar = gcry_calloc_secure(1, native);
    if (scalar == NULL)
        return ems_fail_memory(err);
    if (native == 56)
        as_is = is_native_448(key, scalar);
    take_scalar(key, as_is, scalar, native);
    rc = multiply(curve, scalar, point, native, shared, err);
    gcry_free(scalar);
    return rc;
}

/* The x coordinate of a point, with all its leading zeros. */
static int take_x(gcry_mpi_point_t point, gcry_ctx_t curve, uint8_t *out, size_t size,
                  struct ems_error *err)
{
    gcry_mpi_t x = gcry_mpi_snew((unsigned)size * 8);
    size_t n = 0;
    int rc = EMS_OK;

    if (gcry_mpi_ec_get_affine(x, NULL, point, curve) != 0 || /* infinity has none */
        gcry_mpi_print(GCRYMPI_FMT_USG, out, size, &n, x) != 0 || n > size)
        rc = ems_pgp_pk_refuse(err);
    if (rc == EMS_OK) {
        memmove(out + size - n, out, n);
        memset(out, 0, size - n);
    }
    gcry_mpi_release(x);
    return rc;
}

/*
 * Curves in Weierstrass form: points are 04 x y; those not on the curve are refused. The x
 * coordinate is what both sides share. Done with libgcrypt's numbers, which are wiped when freed,
 * and not with its expressions, which are not (see ems_pgp_all_secure).
 */
static int agree_weierstrass(const struct curve *curve, const struct ems_pgp_key *key,
                             const uint8_t *point, size_t size, uint8_t *shared,
                             struct ems_error *err)
{
    gcry_mpi_t d = ems_pgp_pk_scan_secret(key, 0), value = NULL;
    gcry_mpi_point_t theirs = gcry_mpi_point_new(0), common = gcry_mpi_point_new(0);
    gcry_ctx_t context = NULL;
    int rc = EMS_OK;

    if (size != 1 + 2u * curve->field_size || point[0] != 4)
        rc = ems_pgp_pk_refuse(err);
    else if (d == NULL || gcry_mpi_scan(&value, GCRYMPI_FMT_USG, point, size, NULL) != 0 ||
             gcry_mpi_ec_new(&context, NULL, curve->name) != 0)
        rc = ems_fail_memory(err);
    else if (gcry_mpi_ec_decode_point(theirs, value, context) != 0 ||
             !gcry_mpi_ec_curve_point(theirs, context))
        rc = ems_pgp_pk_refuse(err);
    if (rc == EMS_OK) {
        gcry_mpi_ec_mul(common, d, theirs, context);
        rc = take_x(common, context, shared, curve->field_size, err);
    }
    gcry_ctx_release(context);
    gcry_mpi_point_release(theirs);
    gcry_mpi_point_release(common);
    gcry_mpi_release(value);
    gcry_mpi_release(d);
    return rc;
}

/* ---- keys ---- */

/* RFC 3394 key unwrapping. out has room for size; *out_size becomes size - 8. */
static int unwrap(unsigned cipher_id, const uint8_t *kek, const uint8_t *wrapped, size_t size,
                  uint8_t *out, struct ems_error *err)
{
    const struct ems_pgp_cipher *cipher = ems_pgp_cipher_get(cipher_id, err);
    gcry_cipher_hd_t handle;
    gcry_error_t grc;
    int rc;

    if (cipher == NULL)
        return err->code;
    if (size < 24 || size % 8 != 0 || cipher->block_size != 16)
        return ems_pgp_pk_refuse(err);
    rc = ems_pgp_cipher_open(&handle, cipher, GCRY_CIPHER_MODE_AESWRAP, 0, kek, err);
    if (rc != EMS_OK)
        return rc;
    grc = gcry_cipher_decrypt(handle, out, size - 8, wrapped, size);
    gcry_cipher_close(handle);
    return grc == 0 ? EMS_OK : ems_pgp_pk_refuse(err);
}

/*
 * Key derivation for ECDH (11.5): Hash(00000001 || shared || parameters), where the parameters name
 * the curve, the algorithms and the key. Of GnuPG's 32-octet version 5 fingerprints the first 20.
 */
static int derive_kek(const struct ems_pgp_key *key, const uint8_t *shared, size_t shared_size,
                      unsigned *cipher, uint8_t *kek, struct ems_error *err)
{
    static const uint8_t counter[4] = {0, 0, 0, 1}, algorithm = EMS_PGP_ECDH;
    const uint8_t *kdf = key->body + key->public[2].at;
    size_t fpr_size = key->version == 6 ? 32 : 20;
    const struct ems_pgp_cipher *wrap;
    gcry_md_hd_t md;
    int hash;

    if (key->public[2].size != 3 || kdf[0] != 1)
        return ems_fail(err, EMS_PGP_UNSUPPORTED,
                        "unknown key derivation parameters in an ECDH key");
    hash = ems_pgp_hash(kdf[1]);
    wrap = ems_pgp_cipher_get(kdf[2], err);
    if (wrap == NULL)
        return err->code;
    if (hash == 0 || gcry_md_get_algo_dlen(hash) < wrap->key_size)
        return ems_fail(err, EMS_PGP_UNSUPPORTED, "hash algorithm %u (%s) in an ECDH key", kdf[1],
                        ems_pgp_hash_name(kdf[1]));
    if (gcry_md_open(&md, hash, GCRY_MD_FLAG_SECURE) != 0)
        return ems_fail_memory(err);
    gcry_md_write(md, counter, 4);
    gcry_md_write(md, shared, shared_size);
    /* The OID and the KDF parameters with the octet before them, their size. */
    gcry_md_write(md, key->body + key->public[0].at - 1, key->public[0].size + 1);
    gcry_md_write(md, &algorithm, 1);
    gcry_md_write(md, kdf - 1, 4);
    gcry_md_write(md, "Anonymous Sender    ", 20);
    gcry_md_write(md, key->fingerprint, fpr_size);
    memcpy(kek, gcry_md_read(md, hash), wrap->key_size);
    gcry_md_close(md);
    *cipher = wrap->id;
    return EMS_OK;
}

/* ECDH (11.5): a point as a number, then the wrapped key with its length. */
int ems_pgp_pk_open_ecdh(const struct ems_pgp_pkesk *p, const struct ems_pgp_key *key,
                         struct ems_pgp_session_key *out, struct ems_error *err)
{
    const struct curve *curve = find_curve(key);
    const uint8_t *wrapped;
    size_t point_size, size, pad;
    unsigned cipher = 0;
    uint8_t *shared, *kek, *text;
    int rc;

    if (curve == NULL)
        return ems_fail(err, EMS_PGP_UNSUPPORTED, "the elliptic curve of the key");
    point_size = p->size >= 2 ? (ems_be16(p->material) + 7) / 8 : 0;
    if (point_size == 0 || p->size < 2 + point_size + 1)
        return ems_pgp_pk_refuse(err);
    wrapped = p->material + 2 + point_size + 1;
    size = wrapped[-1];
    if (size != p->size - 2 - point_size - 1)
        return ems_pgp_pk_refuse(err);

    shared = gcry_calloc_secure(1, 128 + EMS_PGP_KEY_MAX + 256);
    if (shared == NULL)
        return ems_fail_memory(err);
    kek = shared + 128;
    text = kek + EMS_PGP_KEY_MAX;
    if (curve->name == NULL)
        rc = agree_montgomery(curve->field_size, key, p->material + 2, point_size, shared, err);
    else
        rc = agree_weierstrass(curve, key, p->material + 2, point_size, shared, err);
    if (rc == EMS_OK)
        rc = derive_kek(key, shared, curve->field_size, &cipher, kek, err);
    if (rc == EMS_OK)
        rc = unwrap(cipher, kek, wrapped, size, text, err);
    if (rc == EMS_OK) { /* padding of RFC 8018, section 6.1.1, but to any multiple of 8 */
        size -= 8;
        pad = text[size - 1];
        if (pad == 0 || pad > size)
            rc = ems_pgp_pk_refuse(err);
        for (size_t i = 1; rc == EMS_OK && i <= pad; i++)
            if (text[size - i] != pad)
                rc = ems_pgp_pk_refuse(err);
        if (rc == EMS_OK)
            rc = ems_pgp_pk_take_session_key(p, text, size - pad, out, err);
    }
    gcry_free(shared);
    return rc;
}

/* X25519 and X448 (5.1.6, 5.1.7): native octets, a length, in version 3 the cipher in clear, the
 * wrapped key alone. */
int ems_pgp_pk_open_native(const struct ems_pgp_pkesk *p, const struct ems_pgp_key *key,
                           struct ems_pgp_session_key *out, struct ems_error *err)
{
    bool is_25519 = key->algorithm == EMS_PGP_X25519;
    const char *info = is_25519 ? "OpenPGP X25519" : "OpenPGP X448";
    size_t n = is_25519 ? 32 : 56, kek_size = is_25519 ? 16 : 32, size, extra;
    const uint8_t *wrapped = p->material + n + 1;
    uint8_t *ikm, *kek, *text;
    int rc;

    extra = p->version == 3 ? 1 : 0;
    if (p->size < n + 1 + extra || p->material[n] != p->size - n - 1)
        return ems_pgp_pk_refuse(err);
    size = p->size - n - 1 - extra;
    if (extra == 1)
        out->cipher = *wrapped++;
    if (size > EMS_PGP_KEY_MAX + 8)
        return ems_pgp_pk_refuse(err);

    ikm = gcry_calloc_secure(1, 3 * n + EMS_PGP_KEY_MAX + 64);
    if (ikm == NULL)
        return ems_fail_memory(err);
    kek = ikm + 3 * n;
    text = kek + EMS_PGP_KEY_MAX;
    memcpy(ikm, p->material, n);
    memcpy(ikm + n, key->body + key->public[0].at, n);
    rc = multiply(is_25519 ? GCRY_ECC_CURVE25519 : GCRY_ECC_CURVE448,
                  key->secret + key->parts[0].at, p->material, n, ikm + 2 * n, err);
    if (rc == EMS_OK)
        rc = ems_pgp_hkdf(is_25519 ? GCRY_MD_SHA256 : GCRY_MD_SHA512, ikm, 3 * n, NULL, 0,
                          (const uint8_t *)info, strlen(info), kek, kek_size, err);
    if (rc == EMS_OK)
        rc = unwrap(is_25519 ? 7 : 9, kek, wrapped, size, text, err);
    if (rc == EMS_OK) {
        out->size = size - 8;
        memcpy(out->key, text, out->size);
    }
    gcry_free(ikm);
    return rc;
}
