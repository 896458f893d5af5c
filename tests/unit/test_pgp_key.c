/* Secret keys and messages to them: gpg's (fixtures/openpgp), and hand-made ones for what gpg 2.2
 * cannot make; recipients without secrets. */
#include "pgp_maker.h"

#include "pgp_key.h"

#include <fcntl.h>
#include <unistd.h>

static const char text[] = "COPY public.users (name) FROM stdin;";
#define TEXT     (sizeof text - 1)
#define FIXTURES "fixtures/openpgp/"

/* ---- helpers ---- */

static struct ems_pgp_secrets *empty_secrets(void)
{
    struct ems_error err = {0};
    struct ems_pgp_secrets *s;

    MUST(ems_pgp_library_init(&err));
    s = ems_pgp_secrets_new(NULL, NULL, &err);
    MUST(s == NULL);
    return s;
}

static int add_key_file(struct ems_pgp_secrets *s, const char *name, struct ems_error *err)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC), rc;

    MUST(fd < 0);
    rc = ems_pgp_secrets_read_key(s, fd, name, err);
    close(fd);
    return rc;
}

/* Bytes as a descriptor. */
static int descriptor_of(const struct ems_buf *buf)
{
    FILE *f = tmpfile();
    int fd;

    MUST(f == NULL || fwrite(buf->data, 1, buf->size, f) != buf->size || fflush(f) != 0);
    fd = dup(fileno(f));
    fclose(f);
    MUST(fd < 0 || lseek(fd, 0, SEEK_SET) != 0);
    return fd;
}

static int add_key(struct ems_pgp_secrets *s, const struct ems_buf *key, struct ems_error *err)
{
    int fd = descriptor_of(key), rc = ems_pgp_secrets_read_key(s, fd, "key", err);

    close(fd);
    return rc;
}

/* Key file and passphrase (may be NULL), message; what comes out must be the text. */
static int read_with(const char *key, const char *pass, const char *message,
                     struct ems_pgp_facts *facts, struct ems_error *err)
{
    struct ems_pgp_secrets *s = empty_secrets();
    struct ems_buf m = ems_test_file(message), out = {0};
    int rc = add_key_file(s, key, err);

    if (rc == EMS_OK && pass != NULL)
        MUST(ems_pgp_secrets_add_key_passphrase(s, pass, strlen(pass), err));
    if (rc == EMS_OK)
        rc = maker_read(&m, s, false, &out, facts, err);
    if (rc == EMS_END)
        CU_ASSERT(same(&out, text, TEXT));
    ems_buf_release(&m);
    ems_buf_release(&out);
    ems_pgp_secrets_free(s);
    return rc;
}

/* ---- gpg's ---- */

static void test_algorithms(void)
{
    static const char *const names[] = {
        "rsa",          "elgamal",   "p256",    "p384", "p521",    "brainpool256", "brainpool384",
        "brainpool512", "secp256k1", "cv25519", "open", "expired", "revoked"};
    char key[64], message[64];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct ems_error err = {0};
        struct ems_pgp_facts facts;
        int rc;

        snprintf(key, sizeof key, FIXTURES "%s.key", names[i]);
        snprintf(message, sizeof message, FIXTURES "%s.msg", names[i]);
        rc = read_with(key, "fixture", message, &facts, &err);
        if (rc != EMS_END)
            printf("\n    %s: %s", names[i], err.text);
        ASSERT_CODE(rc, EMS_END);
        CU_ASSERT_STRING_EQUAL(facts.session_key, "key");
        CU_ASSERT_STRING_EQUAL(facts.key_id, facts.recipient_ids[0]);
        CU_ASSERT_PTR_NULL(facts.s2k);
        CU_ASSERT_STRING_EQUAL(facts.key_note, i == 11   ? "expired on 2021-12-31"
                                               : i == 12 ? "revoked"
                                                         : "");
        if (strcmp(names[i], "open") == 0)
            continue;
        err = (struct ems_error){0};
        ASSERT_CODE(read_with(key, "wrong", message, NULL, &err), EMS_PGP_PASSPHRASE);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "wrong passphrase for the secret key"));
        err = (struct ems_error){0};
        ASSERT_CODE(read_with(key, NULL, message, NULL, &err), EMS_PGP_PASSPHRASE);
        err = (struct ems_error){0};
        ASSERT_CODE(read_with(i == 0 ? FIXTURES "p256.key" : FIXTURES "rsa.key", "fixture", message,
                              NULL, &err),
                    EMS_PGP_NO_KEY);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, facts.recipient_ids[0]));
    }
}

static void test_several_recipients(void)
{
    static const char *const pairs[][2] = {{"rsa", "two"},
                                           {"cv25519", "two"},
                                           {"p256", "hidden"},
                                           {"cv25519", "hidden"},
                                           {"cv25519", "both"}};
    struct ems_error err = {0};
    struct ems_pgp_facts facts;
    struct ems_pgp_secrets *s = empty_secrets();
    struct ems_buf m, out = {0};

    for (size_t i = 0; i < 5; i++) {
        char key[64], message[64];

        snprintf(key, sizeof key, FIXTURES "%s.key", pairs[i][0]);
        snprintf(message, sizeof message, FIXTURES "%s.msg", pairs[i][1]);
        ASSERT_CODE(read_with(key, "fixture", message, &facts, &err), EMS_END);
        CU_ASSERT_EQUAL(facts.recipients, i == 4 ? 1 : 2);
    }
    /* All key files in one process; the passphrase meant for messages opens keys too. */
    for (size_t i = 0; i < 4; i++) {
        char key[64];

        snprintf(key, sizeof key, FIXTURES "%s.key", pairs[i][0]);
        ASSERT_CODE(add_key_file(s, key, &err), EMS_OK);
    }
    MUST(ems_pgp_secrets_add_passphrase(s, "fixture", 7, &err));
    m = ems_test_file(FIXTURES "hidden.msg");
    ASSERT_CODE(maker_read(&m, s, false, &out, &facts, &err), EMS_END);
    CU_ASSERT_STRING_EQUAL(facts.recipient_ids[1], "0000000000000000");
    ems_buf_release(&m);
    ems_buf_release(&out);
    ems_pgp_secrets_free(s);

    /* And with the passphrase instead of the key. */
    s = empty_secrets();
    MUST(ems_pgp_secrets_add_passphrase(s, "fixture", 7, &err));
    m = ems_test_file(FIXTURES "both.msg");
    ASSERT_CODE(maker_read(&m, s, false, &out, &facts, &err), EMS_END);
    CU_ASSERT_STRING_EQUAL(facts.session_key, "passphrase");
    CU_ASSERT(same(&out, text, TEXT));
    ems_buf_release(&m);
    ems_buf_release(&out);
    ems_pgp_secrets_free(s);
}

static void test_signed_and_armoured(void)
{
    struct ems_error err = {0};
    struct ems_pgp_facts facts;

    ASSERT_CODE(
        read_with(FIXTURES "subkeys.key.asc", "fixture", FIXTURES "signed.asc", &facts, &err),
        EMS_END);
    CU_ASSERT_TRUE(facts.armored);
    CU_ASSERT_EQUAL(strlen(facts.signer_id), 16);
    CU_ASSERT_PTR_NOT_NULL(facts.compression);
}

/* Files that are no secret keys. */
static void test_wrong_key_files(void)
{
    static const struct {
        const char *name;
        int code;
    } table[] = {
        {FIXTURES "cv25519.pub.asc", EMS_PGP_NO_KEY},
        {FIXTURES "cv25519.msg", EMS_PGP_NOT_OPENPGP},
        {FIXTURES "signed.asc", EMS_PGP_NOT_OPENPGP},
        {FIXTURES "README.md", EMS_PGP_NOT_OPENPGP},
        {"/dev/null", EMS_PGP_NOT_OPENPGP},
        {"/dev/zero", EMS_PGP_LIMIT},
        {"/", EMS_IO_ERROR},
    };
    struct ems_pgp_secrets *s = empty_secrets();

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct ems_error err = {0};

        ASSERT_CODE(add_key_file(s, table[i].name, &err), table[i].code);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, table[i].name));
    }
    ems_pgp_secrets_free(s);
}

/* Every prefix of a key file is refused or has fewer keys; no flipped byte crashes. */
static void test_damaged_key_files(void)
{
    struct ems_buf key = ems_test_file(FIXTURES "cv25519.key");
    struct ems_buf message = ems_test_file(FIXTURES "cv25519.msg");

    for (size_t i = 0; i < key.size; i++) {
        struct ems_pgp_secrets *s = empty_secrets();
        struct ems_buf prefix = {.data = key.data, .size = i}, out = {0};
        struct ems_error err = {0};
        int rc = add_key(s, &prefix, &err);

        /* Behind the subkey's packet only its signature is missing. */
        CU_ASSERT(rc == EMS_PGP_TRUNCATED || rc == EMS_PGP_NO_KEY || rc == EMS_PGP_NOT_OPENPGP ||
                  (rc == EMS_OK && i > 300));
        ems_pgp_secrets_free(s);

        s = empty_secrets();
        key.data[i] ^= 0x41;
        err = (struct ems_error){0};
        MUST(ems_pgp_secrets_add_key_passphrase(s, "fixture", 7, &err));
        rc = add_key(s, &key, &err);
        if (rc == EMS_OK)
            rc = maker_read(&message, s, false, &out, NULL, &err);
        CU_ASSERT(rc != EMS_INTERNAL && rc != EMS_NO_MEMORY);
        CU_ASSERT(rc != EMS_END || same(&out, text, TEXT));
        key.data[i] ^= 0x41;
        ems_buf_release(&out);
        ems_pgp_secrets_free(s);
    }
    ems_buf_release(&key);
    ems_buf_release(&message);
}

/* ---- hand-made: X25519, X448, versions 4, 5 and 6, every protection ---- */

#define ECDH_448        118u /* here: algorithm 18 on X448, as GnuPG's version 5 keys have it */
#define ECDH_448_NUMBER 218u /* the same, its secret a number */

struct made_key {
    unsigned version, algorithm; /* 25, 26, 18 with the Curve25519 of version 4, or the above */
    unsigned usage;              /* 0, 253, 254, 255, or a cipher (legacy) */
    unsigned s2k;
    struct ems_buf packet;
    uint8_t fingerprint[32], point[56];
};

static bool is_448(unsigned algorithm)
{
    return algorithm == 26 || algorithm > 100;
}

static size_t native_size(unsigned algorithm)
{
    return is_448(algorithm) ? 56 : 32;
}

static void native_base(unsigned algorithm, const uint8_t *scalar, uint8_t *out)
{
    uint8_t base[56] = {is_448(algorithm) ? 5 : 9};

    MUST(gcry_ecc_mul_point(is_448(algorithm) ? GCRY_ECC_CURVE448 : GCRY_ECC_CURVE25519, out,
                            scalar, base));
}

static void make_scalar(unsigned algorithm, uint8_t seed, uint8_t *scalar)
{
    for (size_t i = 0; i < native_size(algorithm); i++)
        scalar[i] = (uint8_t)(i * 7 + seed);
    if (is_448(algorithm)) {
        scalar[0] &= 0xfc;
        scalar[55] |= 0x80;
    } else {
        scalar[0] &= 0xf8;
        scalar[31] = (uint8_t)((scalar[31] & 0x7f) | 0x40);
    }
}

static const uint8_t cv25519_oid[] = {10, 0x2b, 6, 1, 4, 1, 0x97, 0x55, 1, 5, 1};
static const uint8_t x448_oid[] = {3, 0x2b, 0x65, 0x6f};
static const uint8_t kdf_parameters[] = {3, 1, 8, 7}; /* SHA-256, AES128 */

static void make_public(struct made_key *k, struct ems_buf *body)
{
    struct ems_buf material = {0};
    uint8_t prefix[5] = {0x99}, scalar[56];
    size_t n = native_size(k->algorithm);
    gcry_md_hd_t md;
    int hash = k->version == 4 ? GCRY_MD_SHA1 : GCRY_MD_SHA256;

    make_scalar(k->algorithm, 1, scalar);
    native_base(k->algorithm, scalar, k->point);
    if (k->algorithm == 18) {
        put(&material, cv25519_oid, sizeof cv25519_oid);
        put_be(&material, 263, 2);
        put_octet(&material, 0x40);
        put(&material, k->point, n);
        put(&material, kdf_parameters, 4);
    } else if (k->algorithm > 100) {
        put(&material, x448_oid, sizeof x448_oid);
        put_be(&material, 448, 2);
        put(&material, k->point, n);
        put(&material, kdf_parameters, 4);
    } else {
        put(&material, k->point, n);
    }
    put_octet(body, k->version);
    put_be(body, 1600000000, 4);
    put_octet(body, k->algorithm % 100);
    if (k->version > 4)
        put_be(body, material.size, 4);
    put(body, material.data, material.size);
    ems_buf_release(&material);

    MUST(gcry_md_open(&md, hash, 0));
    if (k->version > 4)
        prefix[0] = k->version == 5 ? 0x9a : 0x9b;
    prefix[k->version == 4 ? 1 : 3] = (uint8_t)(body->size >> 8);
    prefix[k->version == 4 ? 2 : 4] = (uint8_t)body->size;
    gcry_md_write(md, prefix, k->version == 4 ? 3 : 5);
    gcry_md_write(md, body->data, body->size);
    memcpy(k->fingerprint, gcry_md_read(md, hash), k->version == 4 ? 20 : 32);
    gcry_md_close(md);
}

static void put_secret_cfb(struct made_key *k, struct ems_buf *body, struct ems_buf *plain)
{
    uint8_t digest[20], key[32];
    unsigned sum = 0, cipher = k->usage < 253 ? k->usage : 9;
    struct ems_buf s2k = {0}, parameters = {0};
    gcry_cipher_hd_t h;

    for (size_t i = 0; i < plain->size; i++)
        sum += plain->data[i];
    if (k->usage == 254) {
        gcry_md_hash_buffer(GCRY_MD_SHA1, digest, plain->data, plain->size);
        put(plain, digest, 20);
    } else {
        put_be(plain, sum & 0xffff, 2);
    }
    if (k->usage < 253) {
        gcry_md_hash_buffer(GCRY_MD_MD5, key, MAKER_PASS, strlen(MAKER_PASS));
    } else {
        s2k = make_s2k(k->s2k, MAKER_PASS, key, 32);
        put_octet(&parameters, cipher);
        if (k->version == 6)
            put_octet(&parameters, (unsigned)s2k.size);
        put(&parameters, s2k.data, s2k.size);
    }
    put_noise(&parameters, 16, 44); /* IV */
    if (k->version > 4)
        put_octet(body, (unsigned)parameters.size);
    put(body, parameters.data, parameters.size);
    if (k->version == 5)
        put_be(body, plain->size, 4);
    h = maker_open(cipher, GCRY_CIPHER_MODE_CFB, key);
    MUST(gcry_cipher_setiv(h, parameters.data + parameters.size - 16, 16));
    MUST(gcry_cipher_encrypt(h, plain->data, plain->size, NULL, 0));
    gcry_cipher_close(h);
    put(body, plain->data, plain->size);
    ems_buf_release(&s2k);
    ems_buf_release(&parameters);
}

static void put_secret_aead(struct made_key *k, struct ems_buf *body, const struct ems_buf *public,
                            const struct ems_buf *plain)
{
    uint8_t key[32], info[4] = {0xc7, (uint8_t)k->version, 9, 2}, *nonce;
    struct ems_buf s2k = make_s2k(k->s2k, MAKER_PASS, key, 32), ad = {0};
    gcry_cipher_hd_t h;

    maker_hkdf(GCRY_MD_SHA256, key, 32, NULL, 0, info, 4, key, 32);
    if (k->version > 4)
        put_octet(body, 17 + (k->version == 6 ? 1u : 0u) + (unsigned)s2k.size);
    put_octet(body, 9);
    put_octet(body, 2);
    if (k->version == 6)
        put_octet(body, (unsigned)s2k.size);
    put(body, s2k.data, s2k.size);
    put_noise(body, 15, 45);
    if (k->version == 5)
        put_be(body, plain->size + 16, 4);
    nonce = malloc(16);
    MUST(nonce == NULL);
    memcpy(nonce, body->data + body->size - (k->version == 5 ? 19 : 15), 15);
    put_octet(&ad, 0xc7);
    put(&ad, public->data, public->size);
    h = maker_open(9, GCRY_CIPHER_MODE_OCB, key);
    put_sealed(body, h, 2, nonce, ad.data, ad.size, plain->data, plain->size);
    gcry_cipher_close(h);
    free(nonce);
    ems_buf_release(&s2k);
    ems_buf_release(&ad);
}

/* A file with one secret subkey packet, made as the fields of k say. */
static void make_key(struct made_key *k)
{
    struct ems_buf public = {0}, body = {0}, plain = {0};
    uint8_t scalar[56];
    size_t n = native_size(k->algorithm);
    unsigned sum = 0;

    make_public(k, &public);
    make_scalar(k->algorithm, 1, scalar);
    if (k->algorithm == 18 || k->algorithm == ECDH_448_NUMBER) { /* the other way round */
        put_be(&plain, 8 * n, 2);
        for (size_t i = 0; i < n; i++)
            put_octet(&plain, scalar[n - 1 - i]);
    } else {
        if (k->algorithm > 100)
            put_be(&plain, 8 * n, 2);
        put(&plain, scalar, n);
    }
    put(&body, public.data, public.size);
    put_octet(&body, k->usage);
    if (k->usage == 253) {
        put_secret_aead(k, &body, &public, &plain);
    } else if (k->usage != 0) {
        put_secret_cfb(k, &body, &plain);
    } else {
        for (size_t i = 0; i < plain.size; i++)
            sum += plain.data[i];
        if (k->version == 5)
            put_octet(&body, 0);
        if (k->version == 5)
            put_be(&body, plain.size + 2, 4);
        put(&body, plain.data, plain.size);
        if (k->version != 6)
            put_be(&body, sum & 0xffff, 2);
    }
    put_packet(&k->packet, 7, NEW_FORMAT, &body);
    ems_buf_release(&public);
    ems_buf_release(&body);
    ems_buf_release(&plain);
}

static void put_wrapped(struct ems_buf *out, unsigned cipher, const uint8_t *kek,
                        const uint8_t *data, size_t size)
{
    gcry_cipher_hd_t h = maker_open(cipher, GCRY_CIPHER_MODE_AESWRAP, kek);
    uint8_t wrapped[80];

    MUST(gcry_cipher_encrypt(h, wrapped, size + 8, data, size));
    gcry_cipher_close(h);
    put(out, wrapped, size + 8);
}

/* PKESK for k: of the version that fits it; `ephemeral` NULL makes an honest one. `bare`: the
 * Curve25519 point without its octet 0x40. */
static void put_pkesk(struct ems_buf *out, const struct made_key *k, unsigned version,
                      const uint8_t *session, const uint8_t *ephemeral, bool anonymous, bool bare)
{
    size_t n = native_size(k->algorithm), fpr = k->version == 4 ? 20 : 32;
    int curve = is_448(k->algorithm) ? GCRY_ECC_CURVE448 : GCRY_ECC_CURVE25519;
    uint8_t scalar[56], point[56], shared[56] = {0}, kek[64];
    struct ems_buf body = {0}, material = {0}, padded = {0};

    make_scalar(k->algorithm, 77, scalar);
    native_base(k->algorithm, scalar, point);
    MUST(gcry_ecc_mul_point(curve, shared, scalar, k->point));
    if (ephemeral != NULL) { /* what a point of small order leads to */
        memcpy(point, ephemeral, n);
        memset(shared, 0, n);
    }
    put_octet(&body, version);
    if (version == 3) {
        put(&body,
            anonymous ? (const uint8_t *)"\0\0\0\0\0\0\0"
                      : k->fingerprint + (k->version == 4 ? 12 : 0),
            8);
    } else {
        put_octet(&body, anonymous ? 0 : 1 + (unsigned)fpr);
        if (!anonymous) {
            put_octet(&body, k->version);
            put(&body, k->fingerprint, fpr);
        }
    }
    put_octet(&body, k->algorithm % 100);
    if (k->algorithm % 100 == 18) {
        unsigned sum = 0;

        put(&material, "\0\0\0\1", 4);
        put(&material, shared, n);
        put(&material, n == 56 ? x448_oid : cv25519_oid,
            n == 56 ? sizeof x448_oid : sizeof cv25519_oid);
        put_octet(&material, 18);
        put(&material, kdf_parameters, 4);
        put(&material, "Anonymous Sender    ", 20);
        put(&material, k->fingerprint, k->version == 6 ? 32 : 20);
        gcry_md_hash_buffer(GCRY_MD_SHA256, kek, material.data, material.size);
        put_be(&body, 8 * n + (bare ? 0 : 7), 2);
        if (!bare)
            put_octet(&body, 0x40);
        put(&body, point, n);
        for (int i = 0; i < 32; i++)
            sum += session[i];
        if (version == 3)
            put_octet(&padded, 9);
        put(&padded, session, 32);
        put_be(&padded, sum & 0xffff, 2);
        for (size_t pad = 40 - padded.size, i = 0; i < pad; i++)
            put_octet(&padded, (unsigned)pad);
        put_octet(&body, 48);
        put_wrapped(&body, 7, kek, padded.data, 40);
    } else {
        const char *info = k->algorithm == 25 ? "OpenPGP X25519" : "OpenPGP X448";

        put(&material, point, n);
        put(&material, k->point, n);
        put(&material, shared, n);
        maker_hkdf(k->algorithm == 25 ? GCRY_MD_SHA256 : GCRY_MD_SHA512, material.data,
                   material.size, NULL, 0, (const uint8_t *)info, strlen(info), kek,
                   k->algorithm == 25 ? 16 : 32);
        put(&body, point, n);
        put_octet(&body, version == 3 ? 41 : 40);
        if (version == 3)
            put_octet(&body, 9);
        put_wrapped(&body, k->algorithm == 25 ? 7 : 9, kek, session, 32);
    }
    put_packet(out, 1, NEW_FORMAT, &body);
    ems_buf_release(&body);
    ems_buf_release(&material);
    ems_buf_release(&padded);
}

static const uint8_t session[32] = "abcdefghijklmnopqrstuvwxyz01234";

/* PKESK 3 goes with SEIPD 1, PKESK 6 with SEIPD 2. */
static struct ems_buf message_to(const struct made_key *k, unsigned version,
                                 const uint8_t *ephemeral, bool anonymous, bool bare)
{
    struct ems_buf message = {0}, lit = make_literal(text, TEXT, 'b', "", NEW_FORMAT), body;

    put_pkesk(&message, k, version, session, ephemeral, anonymous, bare);
    body = version == 3 ? make_cfb(9, session, &lit, true)
                        : make_aead(false, 9, 2, 6, session, &lit, false);
    put_packet(&message, 18, NEW_FORMAT, &body);
    ems_buf_release(&lit);
    ems_buf_release(&body);
    return message;
}

static int read_made(const struct made_key *k, const struct ems_buf *message, const char *pass,
                     struct ems_error *err)
{
    struct ems_pgp_secrets *s = empty_secrets();
    struct ems_buf out = {0};
    int rc = add_key(s, &k->packet, err);

    if (rc == EMS_OK)
        rc = ems_pgp_secrets_add_key_passphrase(s, pass, strlen(pass), err);
    if (rc == EMS_OK)
        rc = maker_read(message, s, false, &out, NULL, err);
    if (rc == EMS_END)
        CU_ASSERT(same(&out, text, TEXT));
    ems_buf_release(&out);
    ems_pgp_secrets_free(s);
    return rc;
}

static void test_made_keys(void)
{
    static const unsigned versions[] = {4, 5, 6},
                          algorithms[] = {18, 25, 26, ECDH_448, ECDH_448_NUMBER};
    static const struct {
        unsigned usage, s2k;
    } protections[] = {{0, 0}, {254, 3}, {254, 0}, {255, 1}, {253, 3}, {253, 4}, {7, 0}};

    for (size_t v = 0; v < 3; v++) {
        for (size_t a = 0; a < 5; a++) {
            for (size_t p = 0; p < 7; p++) {
                struct made_key k = {.version = versions[v],
                                     .algorithm = algorithms[a],
                                     .usage = protections[p].usage,
                                     .s2k = protections[p].s2k};

                if (k.version != 4 && k.usage == 7)
                    continue; /* the legacy form is older than they are */
                make_key(&k);
                for (unsigned form = 0; form < 4; form++) {
                    struct ems_buf m = message_to(&k, form < 2 ? 3 : 6, NULL, form % 2, form == 1);
                    struct ems_error err = {0};
                    int rc = read_made(&k, &m, MAKER_PASS, &err);

                    if (rc != EMS_END)
                        printf("\n    version %u algorithm %u usage %u s2k %u form %u: %s",
                               k.version, k.algorithm, k.usage, k.s2k, form, err.text);
                    ASSERT_CODE(rc, EMS_END);
                    err = (struct ems_error){0};
                    if (k.usage != 0)
                        ASSERT_CODE(read_made(&k, &m, "wrong", &err), EMS_PGP_PASSPHRASE);
                    ems_buf_release(&m);
                }
                ems_buf_release(&k.packet);
            }
        }
    }
}

/* Points of small order make the shared secret known to everybody. */
static void test_small_order(void)
{
    static const uint8_t points[][56] = {{0}, {1}};

    for (unsigned algorithm = 25; algorithm <= 26; algorithm++) {
        struct made_key k = {.version = 6, .algorithm = algorithm};

        make_key(&k);
        for (size_t i = 0; i < 2; i++) {
            struct ems_buf m = message_to(&k, 6, points[i], false, false);
            struct ems_error err = {0};

            ASSERT_CODE(read_made(&k, &m, "x", &err), EMS_PGP_NO_KEY);
            ems_buf_release(&m);
        }
        ems_buf_release(&k.packet);
    }
}

/* Lengths inside a session-key packet that lie, and every flipped byte of it. */
static void test_bad_pkesk(void)
{
    for (unsigned algorithm = 18; algorithm <= 26; algorithm += algorithm == 18 ? 7 : 1) {
        struct made_key k = {.version = 4, .algorithm = algorithm};
        struct ems_buf m;
        size_t end;

        make_key(&k);
        m = message_to(&k, 3, NULL, false, false);
        end = 2 + (size_t)m.data[1];
        for (size_t i = 2; i < end; i++) {
            static const uint8_t flips[] = {0x01, 0x80, 0xff};

            for (size_t f = 0; f < 3; f++) {
                struct ems_error err = {0};
                int rc;

                m.data[i] ^= flips[f];
                rc = read_made(&k, &m, "x", &err);
                m.data[i] ^= flips[f];
                /* Curve25519 ignores the highest bit of its point, and the bit count of the number
                 * matters for its octets only. In version 3 of X25519 and X448 the cipher is in
                 * clear: another one of that key size, or of another, does not fit the data. */
                CU_ASSERT(rc == EMS_PGP_NO_KEY || rc == EMS_PGP_UNSUPPORTED ||
                          rc == EMS_PGP_MODIFIED || rc == EMS_PGP_MALFORMED ||
                          (rc == EMS_END && algorithm == 18 && (i == 13 || i == 46)));
            }
        }
        /* Cut short, with the packet's length to match. */
        for (size_t n = 0; n < end - 2; n++) {
            struct ems_buf cut = {0}, body = {.data = m.data + 2, .size = n};
            struct ems_error err = {0};

            put_packet(&cut, 1, NEW_FORMAT, &body);
            put(&cut, m.data + end, m.size - end);
            CU_ASSERT(read_made(&k, &cut, "x", &err) != EMS_END);
            CU_ASSERT(err.code != EMS_INTERNAL && err.code != EMS_NO_MEMORY);
            ems_buf_release(&cut);
        }
        ems_buf_release(&m);
        ems_buf_release(&k.packet);
    }
}

/* Keys that say why they cannot be used: Argon2 without AEAD, stubs, cards, unknown protections. */
static void test_unusable_keys(void)
{
    static const struct {
        const char *protection;
        size_t size;
        int code;
        const char *says;
    } table[] = {
        {"\376\0\145\0GNU\1", 8, EMS_PGP_NO_KEY, "not in the key file"},
        {"\376\0\145\0GNU\2\4card", 13, EMS_PGP_NO_KEY, "smartcard"},
        {"\376\0\145\0GNU\3", 8, EMS_PGP_UNSUPPORTED, "GNU"},
        {"\376\11\4saltsaltsaltsalt\1\1\20", 22, EMS_PGP_UNSUPPORTED, "Argon2"},
        {"\376\11\2\10", 4, EMS_PGP_UNSUPPORTED, "type 2"},
        {"\376\143\0\10", 4, EMS_PGP_UNSUPPORTED, "cipher algorithm 99"},
        {"\375\11\11\0\10", 5, EMS_PGP_UNSUPPORTED, "AEAD"},
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct made_key k = {.version = 4, .algorithm = 25};
        struct ems_buf body = {0}, m;
        struct ems_error err = {0};

        make_public(&k, &body);
        put(&body, table[i].protection, table[i].size);
        put_noise(&body, i < 3 ? 0 : 70, 1);
        put_packet(&k.packet, 7, NEW_FORMAT, &body);
        m = message_to(&k, 3, NULL, false, false);
        ASSERT_CODE(read_made(&k, &m, "x", &err), table[i].code);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, table[i].says));
        ems_buf_release(&body);
        ems_buf_release(&m);
        ems_buf_release(&k.packet);
    }
}

/* ---- asking ---- */

struct asked {
    unsigned times;
    const char *answer; /* NULL: refuses */
    char id[17];
};

static int answer(void *context, const char *key_id, char *buffer, size_t capacity, size_t *size,
                  struct ems_error *err)
{
    struct asked *a = context;

    a->times++;
    snprintf(a->id, sizeof a->id, "%s", key_id);
    if (a->answer == NULL)
        return ems_fail(err, EMS_PGP_PASSPHRASE, "nobody there");
    CU_ASSERT(capacity >= EMS_PGP_PASSPHRASE_MAX);
    *size = strlen(a->answer);
    memcpy(buffer, a->answer, *size);
    return EMS_OK;
}

static void test_ask_key(void)
{
    static const char *const answers[] = {"fixture", "wrong", NULL};

    for (size_t i = 0; i < 3; i++) {
        struct asked asked = {.answer = answers[i]};
        struct ems_pgp_secrets *s = empty_secrets();
        struct ems_buf m = ems_test_file(FIXTURES "cv25519.msg");
        struct ems_pgp_facts facts;
        struct ems_error err = {0};

        ASSERT_CODE(add_key_file(s, FIXTURES "cv25519.key", &err), EMS_OK);
        ems_pgp_secrets_set_ask_key(s, answer, &asked);
        for (int pass = 0; pass < 2; pass++) {
            err = (struct ems_error){0};
            ASSERT_CODE(maker_read(&m, s, false, NULL, &facts, &err),
                        i == 0 ? EMS_END : EMS_PGP_PASSPHRASE);
        }
        CU_ASSERT_EQUAL(asked.times, 1);
        CU_ASSERT_STRING_EQUAL(asked.id, facts.recipient_ids[0]);
        ems_buf_release(&m);
        ems_pgp_secrets_free(s);
    }
}

/* ---- recipients ---- */

static struct ems_pgp_recipients recipients_of(const char *message, int code)
{
    struct ems_buf m = ems_test_file(message);
    int fd = open(FIXTURES "cv25519.pub.asc", O_RDONLY | O_CLOEXEC);
    struct ems_error err = {0};
    struct ems_pgp_recipient_keys *keys = ems_pgp_recipient_keys_read(fd, "key", &err);
    struct ems_pgp_recipients r;

    close(fd);
    MUST(keys == NULL);
    ASSERT_CODE(
        ems_pgp_recipients_read(ems_test_source_open(m.data, m.size, 100, 0, 0), keys, &r, &err),
        code);
    ems_pgp_recipient_keys_free(keys);
    ems_buf_release(&m);
    return r;
}

static void test_recipients(void)
{
    static const struct {
        const char *message;
        uint32_t matching, others, anonymous, passphrases;
    } table[] = {
        {"cv25519.msg", 1, 0, 0, 0}, {"signed.asc", 1, 0, 0, 0}, {"two.msg", 1, 1, 0, 0},
        {"hidden.msg", 0, 1, 1, 0},  {"both.msg", 1, 0, 0, 1},   {"rsa.msg", 0, 1, 0, 0},
    };

    MUST(ems_pgp_library_init(NULL));
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char name[64];
        struct ems_pgp_recipients r;

        snprintf(name, sizeof name, FIXTURES "%s", table[i].message);
        r = recipients_of(name, EMS_OK);
        CU_ASSERT_EQUAL(r.matching, table[i].matching);
        CU_ASSERT_EQUAL(r.others, table[i].others);
        CU_ASSERT_EQUAL(r.anonymous, table[i].anonymous);
        CU_ASSERT_EQUAL(r.passphrases, table[i].passphrases);
        CU_ASSERT_EQUAL(strlen(r.matching_id), table[i].matching ? 16 : 0);
    }
    recipients_of(FIXTURES "cv25519.key", EMS_NOT_ENCRYPTED);
    recipients_of(FIXTURES "README.md", EMS_PGP_NOT_OPENPGP);
}

EMS_TESTS("pgp keys", {"gpg's keys of every algorithm, expired and revoked too", test_algorithms},
          {"several recipients", test_several_recipients},
          {"signed, armoured, without primary", test_signed_and_armoured},
          {"files that are no secret keys", test_wrong_key_files},
          {"damaged key files", test_damaged_key_files},
          {"every version, algorithm and protection", test_made_keys},
          {"points of small order", test_small_order},
          {"damaged session-key packets", test_bad_pkesk},
          {"unusable keys say why", test_unusable_keys},
          {"asking for a key's passphrase", test_ask_key},
          {"recipients without secrets", test_recipients})
