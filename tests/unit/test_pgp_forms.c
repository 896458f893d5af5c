/* Every cipher, S2K, session-key packet and container; the limits on each; framing and headers. */
#include "pgp_maker.h"
#include "pgp_packet.h"
#include "pgp_s2k.h"

#include <gcrypt.h>

#include <time.h>

static const char text[] = "COPY public.users (name) FROM stdin;\n@alice:example.org\n\\.\n";
#define TEXT (sizeof text - 1)

static struct ems_buf literal(const void *data, size_t size)
{
    return make_literal(data, size, 'b', "x", NEW_FORMAT);
}

/* ---- ciphers and derivations ---- */

static void test_ciphers(void)
{
    static const unsigned ids[] = {1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 13};
    static const char *const names[] = {"IDEA",        "3DES",        "CAST5",      "BLOWFISH",
                                        "AES",         "AES192",      "AES256",     "TWOFISH",
                                        "CAMELLIA128", "CAMELLIA192", "CAMELLIA256"};
    struct ems_pgp_secrets *secrets = maker_secrets();

    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        for (unsigned esk = 0; esk < 2; esk++) {
            for (unsigned mdc = 0; mdc < 2; mdc++) {
                struct ems_buf message = {0}, out = {0}, lit = literal(text, TEXT), body;
                struct ems_pgp_facts facts;
                uint8_t key[32];

                for (unsigned k = 0; k < 32; k++)
                    key[k] = (uint8_t)(17 * k + 3);
                put_skesk4(&message, esk ? 9 : ids[i], 3, MAKER_PASS, esk ? ids[i] : 0, key);
                body = make_cfb(ids[i], key, &lit, mdc);
                put_packet(&message, mdc ? 18 : 9, mdc ? NEW_FORMAT : OLD_FORMAT, &body);
                ASSERT_CODE(maker_read(&message, secrets, !mdc, &out, &facts, NULL), EMS_END);
                CU_ASSERT(same(&out, text, TEXT));
                CU_ASSERT_STRING_EQUAL(facts.cipher, names[i]);
                CU_ASSERT_STRING_EQUAL(facts.container, mdc ? "seipd1" : "sed");
                if (!mdc)
                    ASSERT_CODE(maker_read(&message, secrets, false, NULL, NULL, NULL),
                                EMS_PGP_NO_INTEGRITY);
                ems_buf_release(&message);
                ems_buf_release(&out);
                ems_buf_release(&lit);
                ems_buf_release(&body);
            }
        }
    }
    ems_pgp_secrets_free(secrets);
}

static void test_derivations(void)
{
    static const unsigned types[] = {0, 1, 3, 4};
    static const char *const names[] = {"simple", "salted", "iterated", "argon2"};
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_buf lit = literal(text, TEXT);

    for (size_t i = 0; i < 4; i++) {
        for (unsigned version = 4; version <= 6; version++) {
            struct ems_buf message = {0}, out = {0}, body;
            struct ems_pgp_facts facts;
            uint8_t key[32] = "0123456789abcdef0123456789abcde";

            if (version == 4)
                put_skesk4(&message, 9, types[i], MAKER_PASS, 9, key);
            else
                put_skesk_aead(&message, version, 7, version == 5 ? 1 : 3, types[i], MAKER_PASS,
                               key);
            body = version == 4   ? make_cfb(9, key, &lit, true)
                   : version == 5 ? make_aead(true, 7, 2, 4, key, &lit, false)
                                  : make_aead(false, 7, 2, 4, key, &lit, false);
            put_packet(&message, version == 5 ? 20 : 18, NEW_FORMAT, &body);
            ASSERT_CODE(maker_read(&message, secrets, false, &out, &facts, NULL), EMS_END);
            CU_ASSERT(same(&out, text, TEXT));
            CU_ASSERT_STRING_EQUAL(facts.s2k, names[i]);
            ems_buf_release(&message);
            ems_buf_release(&out);
            ems_buf_release(&body);
        }
    }
    ems_buf_release(&lit);
    ems_pgp_secrets_free(secrets);
}

/* A session-key packet with this S2K specifier, then a container that nothing opens. */
static int read_with_s2k(const uint8_t *spec, size_t size, struct ems_error *err)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_buf skesk = {0}, message = {0}, body = {0};
    int rc;

    put(&skesk, "\4\11", 2);
    put(&skesk, spec, size);
    put_packet(&message, 3, NEW_FORMAT, &skesk);
    put_octet(&body, 1);
    put_noise(&body, 100, 1);
    put_packet(&message, 18, NEW_FORMAT, &body);
    *err = (struct ems_error){0};
    rc = maker_read(&message, secrets, false, NULL, NULL, err);
    ems_buf_release(&skesk);
    ems_buf_release(&message);
    ems_buf_release(&body);
    ems_pgp_secrets_free(secrets);
    return rc;
}

static void test_bad_derivations(void)
{
    static const struct {
        const char *spec;
        size_t size;
        int code;
        const char *says;
    } table[] = {
        {"\2\10", 2, EMS_PGP_UNSUPPORTED, "type 2"},
        {"\0\143", 2, EMS_PGP_UNSUPPORTED, "hash algorithm 99"},
        {"\0\4", 2, EMS_PGP_UNSUPPORTED, "hash algorithm 4"},
        {"\3\10salt", 6, EMS_PGP_MALFORMED, "cut short"},
        {"\1\10", 2, EMS_PGP_MALFORMED, "cut short"},
        {"\4saltsaltsaltsalt\0\1\20", 20, EMS_PGP_MALFORMED, "Argon2"},  /* no passes */
        {"\4saltsaltsaltsalt\1\0\20", 20, EMS_PGP_MALFORMED, "Argon2"},  /* no lanes */
        {"\4saltsaltsaltsalt\1\5\5", 20, EMS_PGP_MALFORMED, "Argon2"},   /* too little for them */
        {"\4saltsaltsaltsalt\1\1\377", 20, EMS_PGP_MALFORMED, "Argon2"}, /* 2^255 KiB */
        {"\4saltsaltsaltsalt\1\1\26", 20, EMS_PGP_LIMIT, "time or memory"},   /* 2^22 KiB */
        {"\4saltsaltsaltsalt\1\20\20", 20, EMS_PGP_PASSPHRASE, "wrong"},      /* 16 lanes */
        {"\4saltsaltsaltsalt\1\21\20", 20, EMS_PGP_LIMIT, "Argon2"},          /* 17 */
        {"\4saltsaltsaltsalt\377\1\25", 20, EMS_PGP_LIMIT, "time or memory"}, /* 255 x 2 GiB */
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct ems_error err;

        ASSERT_CODE(read_with_s2k((const uint8_t *)table[i].spec, table[i].size, &err),
                    table[i].code);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, table[i].says));
    }
}

/* Our own repetition of salt and passphrase against libgcrypt's, for lengths around everything that
 * has an end: the count, the digest, the run that is hashed at once. */
static void test_derivation_lengths(void)
{
    static const size_t lengths[] = {1, 8, 55, 56, 57, 4000, 4087, 4088, 4089, 4096};
    static const uint8_t hashes[] = {1, 2, 3, 8, 9, 10, 11, 12, 14}, codes[] = {0, 1, 0x0f, 0x60};
    char pass[4096];

    MUST(ems_pgp_library_init(NULL));
    for (size_t i = 0; i < sizeof pass; i++)
        pass[i] = (char)('a' + i % 23);
    for (unsigned n = 0; n < 10 * 9 * 4 * 3; n++) {
        static const int kdfs[] = {GCRY_KDF_SIMPLE_S2K, GCRY_KDF_SALTED_S2K, 0,
                                   GCRY_KDF_ITERSALTED_S2K};
        static const uint8_t types[] = {0, 1, 3};
        uint8_t spec[11] = {types[n % 3], hashes[n / 3 % 9], 's', 'a', 'l', 't', 'S', 'A', 'L',
                            'T'};
        size_t length = lengths[n / 27 % 10], used;
        struct ems_error err = {0};
        struct ems_pgp_s2k s2k;
        uint8_t ours[32], theirs[32];

        spec[10] = codes[n / 270];
        ASSERT_CODE(ems_pgp_s2k_parse(spec, sizeof spec, &s2k, &used, &err), EMS_OK);
        ASSERT_CODE(ems_pgp_s2k_derive(&s2k, pass, length, ours, 32, &err), EMS_OK);
        MUST(gcry_kdf_derive(pass, length, kdfs[s2k.type], ems_pgp_hash(spec[1]), s2k.salt,
                             s2k.type == 0 ? 0 : 8, s2k.octets, 32, theirs));
        CU_ASSERT(memcmp(ours, theirs, 32) == 0);
    }
}

/* Sixty packets that would each take 80 ms: refused before that. */
static void test_derivation_cost(void)
{
    struct ems_buf lit = literal(text, TEXT), body, message = {0}, skesk = {0};
    struct ems_pgp_secrets *secrets;
    struct ems_error err = {0};
    char pass[4000]; /* a long one is hashed faster: this is not about libgcrypt's speed */
    uint8_t key[32];
    clock_t start;

    MUST(ems_pgp_library_init(&err));
    memset(pass, 'p', sizeof pass);
    secrets = ems_pgp_secrets_new(NULL, NULL, &err);
    MUST(ems_pgp_secrets_add_passphrase(secrets, pass, sizeof pass, &err));
    for (unsigned i = 0; i < 60; i++) {
        skesk.size = 0;
        put(&skesk, "\4\11\3\2saltsal", 11);
        put_octet(&skesk, i);
        put_octet(&skesk, 0xff); /* 65 million octets, twice for AES256 out of SHA-1 */
        put_packet(&message, 3, NEW_FORMAT, &skesk);
    }
    memset(key, 3, sizeof key);
    body = make_cfb(9, key, &lit, true);
    put_packet(&message, 18, NEW_FORMAT, &body);
    start = clock();
    ASSERT_CODE(maker_read(&message, secrets, false, NULL, NULL, &err), EMS_PGP_LIMIT);
    CU_ASSERT(clock() - start < 5 * CLOCKS_PER_SEC);
    ems_pgp_secrets_free(secrets);
    ems_buf_release(&lit);
    ems_buf_release(&body);
    ems_buf_release(&message);
    ems_buf_release(&skesk);
}

/* A second pass over the same message derives nothing again. */
static void test_remembered(void)
{
    struct ems_buf lit = literal(text, TEXT), body, message = {0}, skesk = {0};
    struct ems_pgp_secrets *secrets = maker_secrets();
    uint8_t key[32];
    clock_t first, second;

    MUST(gcry_kdf_derive(MAKER_PASS, strlen(MAKER_PASS), GCRY_KDF_ITERSALTED_S2K, GCRY_MD_SHA1,
                         "saltsalt", 8, 65011712, 32, key));
    put(&skesk, "\4\11\3\2saltsalt\377", 13);
    put_packet(&message, 3, NEW_FORMAT, &skesk);
    body = make_cfb(9, key, &lit, true);
    put_packet(&message, 18, NEW_FORMAT, &body);
    first = clock();
    ASSERT_CODE(maker_read(&message, secrets, false, NULL, NULL, NULL), EMS_END);
    first = clock() - first;
    second = clock();
    ASSERT_CODE(maker_read(&message, secrets, false, NULL, NULL, NULL), EMS_END);
    second = clock() - second;
    CU_ASSERT(second < first / 2);
    ems_pgp_secrets_free(secrets);
    ems_buf_release(&lit);
    ems_buf_release(&body);
    ems_buf_release(&message);
    ems_buf_release(&skesk);
}

/* ---- AEAD containers ---- */

static struct ems_buf aead_message(bool draft, unsigned aead, unsigned octet, const void *data,
                                   size_t size, bool empty_last)
{
    struct ems_buf message = {0}, lit = literal(data, size), body;
    uint8_t key[32] = "0123456789abcdef0123456789abcde";

    put_skesk_aead(&message, draft ? 5 : 6, 9, aead, 3, MAKER_PASS, key);
    body = make_aead(draft, 9, aead, octet, key, &lit, empty_last);
    put_packet(&message, draft ? 20 : 18, PARTIAL_512, &body);
    ems_buf_release(&lit);
    ems_buf_release(&body);
    return message;
}

/* Modes, chunk sizes, and sizes around the ends of chunks and batches. */
static void test_aead(void)
{
    /* 55, 4086 and 262131 make literal packets of exactly one chunk. */
    static const size_t sizes[] = {0, 1, 47, 55, 56, 119, 4086, 255500, 262131, 262132, 300000};
    static const char *const names[] = {NULL, "eax", "ocb", "gcm"};
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_buf noise = {0};

    put_noise(&noise, 300000, 3);
    for (unsigned mode = 0; mode < 6; mode++) {
        for (unsigned octet = 0; octet <= 12; octet += 6) {
            for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
                struct ems_buf message =
                    aead_message(mode < 3, mode % 3 + 1, octet, noise.data, sizes[i], mode < 3);
                struct ems_buf out = {0};
                struct ems_pgp_facts facts;

                ASSERT_CODE(maker_read(&message, secrets, false, &out, &facts, NULL), EMS_END);
                CU_ASSERT(same(&out, noise.data, sizes[i]));
                CU_ASSERT_STRING_EQUAL(facts.container, mode < 3 ? "aead" : "seipd2");
                CU_ASSERT_STRING_EQUAL(facts.integrity, names[mode % 3 + 1]);
                ems_buf_release(&message);
                ems_buf_release(&out);
            }
        }
    }
    ems_buf_release(&noise);
    ems_pgp_secrets_free(secrets);
}

static void test_aead_chunk_matrix(void)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_pgp_options options = {.secrets = secrets};
    struct ems_buf noise = {0};

    put_noise(&noise, 20000, 3);
    for (unsigned draft = 0; draft < 2; draft++) {
        struct ems_buf message = aead_message(draft, 2, 4, noise.data, noise.size, false);

        for (size_t c = 0; c < EMS_TEST_CHUNKS; c++) {
            struct ems_buf out = {0};
            struct ems_error err = {0};

            ASSERT_CODE(
                ems_test_slurp(
                    ems_relay_open(ems_pgp_open(ems_test_source_open(message.data, message.size,
                                                                     ems_test_chunks[c], 0, EMS_OK),
                                                &options, &err),
                                   &err),
                    &out, &err),
                EMS_END);
            CU_ASSERT(same(&out, noise.data, noise.size));
            ems_buf_release(&out);
        }
        ems_buf_release(&message);
    }
    ems_buf_release(&noise);
    ems_pgp_secrets_free(secrets);
}

/* Every prefix, every flipped byte, chunks dropped, doubled and swapped. */
static void test_aead_damage(void)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_buf noise = {0};

    put_noise(&noise, 230, 3);
    for (unsigned draft = 0; draft < 2; draft++) {
        struct ems_buf lit = literal(noise.data, noise.size), head = {0}, body;
        uint8_t key[32] = "0123456789abcdef0123456789abcde";
        size_t start = draft ? 4 + 15 : 4 + 32, unit = 64 + 16;

        put_skesk_aead(&head, draft ? 5 : 6, 9, 2, 3, MAKER_PASS, key);
        body = make_aead(draft, 9, 2, 0, key, &lit, false);
        for (unsigned what = 0; what < 4; what++) {
            struct ems_buf message = {0}, wrong = {0};

            put(&message, head.data, head.size);
            put(&wrong, body.data, start);
            if (what == 0) { /* dropped: the first, and the last whole one with all behind it */
                put(&wrong, body.data + start + unit, body.size - start - unit);
            } else if (what == 1) { /* doubled */
                put(&wrong, body.data + start, unit);
                put(&wrong, body.data + start, body.size - start);
            } else if (what == 2) { /* swapped */
                put(&wrong, body.data + start + unit, unit);
                put(&wrong, body.data + start, unit);
                put(&wrong, body.data + start + 2 * unit, body.size - start - 2 * unit);
            } else { /* ended behind a whole chunk, whose tag stands where the final one should */
                put(&wrong, body.data + start, 2 * unit);
            }
            put_packet(&message, draft ? 20 : 18, NEW_FORMAT, &wrong);
            ASSERT_CODE(maker_read(&message, secrets, false, NULL, NULL, NULL), EMS_PGP_MODIFIED);
            ems_buf_release(&message);
            ems_buf_release(&wrong);
        }
        put_packet(&head, draft ? 20 : 18, NEW_FORMAT, &body);
        for (size_t n = 0; n < head.size; n++) {
            struct ems_buf prefix = {.data = head.data, .size = n};

            ASSERT_CODE(maker_read(&prefix, secrets, false, NULL, NULL, NULL), EMS_PGP_TRUNCATED);
        }
        for (size_t i = 0; i < head.size; i++) {
            /* One octet of the version 6 packets repeats a size, and another one says how many
             * follow: redundant, so not looked at. */
            int rc;
            struct ems_buf out = {0};

            head.data[i] ^= 0x10;
            rc = maker_read(&head, secrets, false, &out, NULL, NULL);
            head.data[i] ^= 0x10;
            CU_ASSERT(rc != EMS_END || (!draft && (i == 3 || i == 6)));
            CU_ASSERT(rc != EMS_END || same(&out, noise.data, noise.size));
            ems_buf_release(&out);
        }
        ems_buf_release(&lit);
        ems_buf_release(&head);
        ems_buf_release(&body);
    }
    ems_buf_release(&noise);
    ems_pgp_secrets_free(secrets);
}

/* Headers of AEAD containers that cannot be read, or must not be. */
static void test_aead_headers(void)
{
    static const struct {
        bool draft;
        uint8_t header[4];
        int code;
    } table[] = {
        {true, {2, 9, 2, 0}, EMS_PGP_UNSUPPORTED}, /* version */
        {false, {3, 9, 2, 0}, EMS_PGP_UNSUPPORTED},
        {true, {1, 5, 2, 0}, EMS_PGP_UNSUPPORTED}, /* cipher */
        {true, {1, 9, 4, 0}, EMS_PGP_UNSUPPORTED}, /* mode */
        {false, {2, 3, 2, 0}, EMS_PGP_MALFORMED},  /* CAST5 has blocks of 8 */
        {true, {1, 9, 2, 21}, EMS_PGP_MODIFIED},   /* 128 MiB chunks: as far as this one goes */
        {true, {1, 9, 2, 22}, EMS_PGP_LIMIT},      /* 256 MiB */
        {false, {2, 9, 2, 16}, EMS_PGP_MODIFIED},  /* 4 MiB */
        {false, {2, 9, 2, 17}, EMS_PGP_LIMIT},     /* 8 MiB chunks */
        {true, {1, 9, 2, 255}, EMS_PGP_LIMIT},
    };
    struct ems_pgp_secrets *secrets = maker_secrets();

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct ems_buf message = {0}, body = {0};
        uint8_t key[32] = {1};

        put_skesk_aead(&message, 5, 9, 2, 3, MAKER_PASS, key);
        put(&body, table[i].header, 4);
        put_noise(&body, 200, 1);
        put_packet(&message, table[i].draft ? 20 : 18, NEW_FORMAT, &body);
        ASSERT_CODE(maker_read(&message, secrets, false, NULL, NULL, NULL), table[i].code);
        ems_buf_release(&message);
        ems_buf_release(&body);
    }
    ems_pgp_secrets_free(secrets);
}

/* Chunks of 4 MiB and a message of more than one; and several keys that do not fit before the right
 * one: trying them must not spoil the chunk. */
static void test_aead_large(void)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_buf noise = {0};

    put_noise(&noise, (9u << 20) / 2, 3);
    for (unsigned mode = 1; mode <= 3; mode++) {
        struct ems_buf message = {0}, lit = literal(noise.data, noise.size), body, out = {0};
        uint8_t wrong[32] = {1}, key[32] = {0};

        for (unsigned i = 0; i < 3; i++)
            put_skesk4(&message, 9, 1, MAKER_PASS, 9, wrong);
        put_skesk_aead(&message, 6, 7, 2, 3, MAKER_PASS, key);
        put_skesk4(&message, 9, 3, MAKER_PASS, 0, key);
        body = make_aead(mode == 1, 9, mode, 16, key, &lit, false);
        put_packet(&message, mode == 1 ? 20 : 18, NEW_FORMAT, &body);
        ASSERT_CODE(maker_read(&message, secrets, false, &out, NULL, NULL), EMS_END);
        CU_ASSERT(same(&out, noise.data, noise.size));
        ems_buf_release(&message);
        ems_buf_release(&lit);
        ems_buf_release(&body);
        ems_buf_release(&out);
    }
    ems_buf_release(&noise);
    ems_pgp_secrets_free(secrets);
}

/* Chunks of 8 and 128 MiB, larger than what is held in memory: messages shorter than one, of whole
 * ones, longer; every mode; spans of every size; a wrong key before the right one. */
static void test_aead_file(void)
{
    /* 8388597 makes a literal packet of exactly one chunk of 8 MiB. */
    static const size_t sizes[] = {0, 1, 5, 6, 7, 262144, 8388596, 8388597, 8388598, 17 << 20};
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_buf noise = {0};

    put_noise(&noise, 17 << 20, 3);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (unsigned octet = 17; octet <= 21; octet += 4) {
            unsigned mode = 1 + (unsigned)i % 3;
            struct ems_buf message = {0}, lit = literal(noise.data, sizes[i]), body, out = {0};
            size_t chunk = ems_test_chunks[sizes[i] > 300 ? 4 + i % 4 : i % 8];
            struct ems_pgp_options options = {.secrets = secrets};
            uint8_t wrong[32] = {1}, key[32] = {2};
            struct ems_error err = {0};

            put_skesk4(&message, 9, 1, MAKER_PASS, 9, wrong);
            put_skesk_aead(&message, 5, 9, 2, 3, MAKER_PASS, key);
            body = make_aead(true, 9, mode, octet, key, &lit, i % 2 == 1);
            put_packet(&message, 20, PARTIAL_512, &body);
            ASSERT_CODE(ems_test_slurp(ems_pgp_open(ems_test_source_open(message.data, message.size,
                                                                         chunk, 0, EMS_OK),
                                                    &options, &err),
                                       &out, &err),
                        EMS_END);
            CU_ASSERT(same(&out, noise.data, sizes[i]));
            ems_buf_release(&message);
            ems_buf_release(&lit);
            ems_buf_release(&body);
            ems_buf_release(&out);
        }
    }
    ems_buf_release(&noise);
    ems_pgp_secrets_free(secrets);
}

/* The same, damaged: a flipped byte lends nothing of its chunk; cut anywhere. */
static void test_aead_file_damage(void)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_buf noise = {0}, small = {.size = 60}, message = {0}, lit, body;
    uint8_t key[32] = {2};
    size_t head, chunk = 8 << 20;

    put_noise(&noise, 9 << 20, 3);
    small.data = noise.data;
    put_skesk_aead(&message, 5, 9, 2, 3, MAKER_PASS, key);
    head = message.size;
    lit = literal(noise.data, noise.size);
    body = make_aead(true, 9, 2, 17, key, &lit, false);
    put_packet(&message, 20, NEW_FORMAT, &body);
    head += 6 + 4 + 15; /* headers of packet and container, nonce */
    for (size_t i = 0; i < 5; i++) {
        const size_t at[] = {head, head + chunk, head + chunk + 16, message.size - 17,
                             message.size - 1};
        struct ems_buf out = {0};

        message.data[at[i]] ^= 1;
        ASSERT_CODE(maker_read(&message, secrets, false, &out, NULL, NULL), EMS_PGP_MODIFIED);
        CU_ASSERT_EQUAL(out.size, i < 2 ? 0 : chunk - 13); /* the header of the literal packet */
        message.data[at[i]] ^= 1;
        ems_buf_release(&out);
    }
    ems_buf_release(&lit);
    ems_buf_release(&body);
    lit = literal(small.data, small.size);
    message.size = head - 6 - 4 - 15;
    body = make_aead(true, 9, 2, 21, key, &lit, false);
    put_packet(&message, 20, NEW_FORMAT, &body);
    for (size_t n = 0; n < message.size; n++) {
        struct ems_buf prefix = {.data = message.data, .size = n};
        int rc;

        ASSERT_CODE(maker_read(&prefix, secrets, false, NULL, NULL, NULL), EMS_PGP_TRUNCATED);
        message.data[n] ^= 0x10;
        rc = maker_read(&message, secrets, false, NULL, NULL, NULL);
        message.data[n] ^= 0x10;
        CU_ASSERT(rc != EMS_END && rc != EMS_INTERNAL);
    }
    ems_buf_release(&noise);
    ems_buf_release(&lit);
    ems_buf_release(&body);
    ems_buf_release(&message);
    ems_pgp_secrets_free(secrets);
}

/* ---- headers, probe, measure ---- */

static void test_probe(void)
{
    static const struct {
        const char *bytes;
        size_t size;
        int answer;
    } table[] = {
        {"", 0, -1},
        {"\x8c\x0d\x04\x09\x03\x02\x91\x99\x49\x3a\x1e\xad\x01\xe2\xff\xd2", 16, 1}, /* gpg -c */
        {"\x8c\x0d\x04\x09\x03\x02", 6, 1},
        {"\x8c", 1, -1},
        {"\xc3\x2e\x05\x09\x02\x03\x08\x9f\x0b\x7d\xa3\xe5\xea\x64\x77\x90", 16, 1},
        {"\x85\x01\x0c\x03\x7c\x2f\xaa\x4d\xf9\x3c\x37\xb2\x01\x0c\x00\xff", 16, 1}, /* -e */
        {"\xc1\xc0\x4c\x06\x15\x04\x7c\x2f\xaa\x4d\xf9\x3c\x37\xb2\x01\x0c", 16, 1},
        {"\xd2\xc0\x4c\x01\x15\x04\x7c\x2f\xaa\x4d\xf9\x3c\x37\xb2\x01\x0c", 16, 1},
        {"\xd4\xed\x01\x09\x02\x10\x7c\x2f\xaa\x4d\xf9\x3c\x37\xb2\x01\x0c", 16, 1},
        {"\xa3\x01\x5b\xff\x7c\x2f\xaa\x4d\xf9\x3c\x37\xb2\x01\x0c\x00\x00", 16, 1},
        {"\xca\x03PGP\x8c\x0d\x04\x09\x03\x02\x91\x99\x49\x3a\x1e", 16, 1},
        {"\x99\x01\x0d\x04\x5e\x2f\xaa\x4d\x01\x3c\x37\xb2\x01\x0c\x00\x00", 16, 0}, /* a key */
        {"\x1f\x8b\x08\0\0\0\0\0\0\3\3\0\0\0\0\0", 16, 0},                           /* gzip */
        {"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16, 0},
        {"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1", 16, 0},
        {"\xfd"
         "7zXZ\0\0\4\xe6\xd6\xb4\x46\2\0\x21\1",
         16, 0},
        {"-- PostgreSQL da", 16, 0},
        {"-----BEGIN PGP MESSAGE-----\n", 28, 1},
        {"\xef\xbb\xbf\r\n -----BEGIN PGP MESSAGE-----\n", 33, 1},
        {"Dear support,\n-----BEGIN PGP MESSAGE-----\n", 42, 1},
        {"Dear -----BEGIN PGP MESSAGE-----\n", 33, 0},
        {"\x84\x20\x0a\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d", 16,
         1}, /* version 10 */
        {"-----BEGIN PGP ", 15, -1},
        {"-----BEGIN PGP PUBLIC KEY", 25, 0},
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        int answer = ems_pgp_probe((const uint8_t *)table[i].bytes, table[i].size);

        if (answer != table[i].answer)
            printf("\n    probe %zu: %d", i, answer);
        CU_ASSERT_EQUAL(answer, table[i].answer);
    }
}

/* pread over a buffer; fails once a byte from `failing` on is wanted. */
struct measured {
    const struct ems_buf *buf;
    uint64_t failing;
};

static int64_t measure_read(void *context, void *buffer, size_t size, uint64_t offset)
{
    const struct measured *m = context;

    if (offset >= m->failing)
        return -1;
    if (offset >= m->buf->size)
        return 0;
    if (size > m->buf->size - offset)
        size = m->buf->size - (size_t)offset;
    memcpy(buffer, m->buf->data + offset, size);
    return (int64_t)size;
}

static void test_measure(void)
{
    struct ems_buf noise = {0}, message, lit, partial;
    struct measured m = {.buf = &message, .failing = UINT64_MAX};
    size_t full;
    uint64_t total = 0;

    put_noise(&noise, 20000, 1);
    message = make_simple(noise.data, noise.size);
    full = message.size;
    ASSERT_CODE(ems_pgp_measure(measure_read, &m, &total, NULL), EMS_OK);
    CU_ASSERT_EQUAL(total, full);
    message.size = 100; /* only headers are needed */
    total = 0;
    ASSERT_CODE(ems_pgp_measure(measure_read, &m, &total, NULL), EMS_OK);
    CU_ASSERT_EQUAL(total, full);
    message.size = 17; /* cut inside the container's header */
    ASSERT_CODE(ems_pgp_measure(measure_read, &m, &total, NULL), EMS_END);
    m.failing = 10;
    ASSERT_CODE(ems_pgp_measure(measure_read, &m, &total, NULL), EMS_IO_ERROR);
    lit = literal(noise.data, noise.size);
    partial = make_message(&lit, PARTIAL_512);
    m = (struct measured){.buf = &partial, .failing = UINT64_MAX};
    ASSERT_CODE(ems_pgp_measure(measure_read, &m, &total, NULL), EMS_END);
    m.buf = &lit;
    ASSERT_CODE(ems_pgp_measure(measure_read, &m, &total, NULL), EMS_END);
    ems_buf_release(&noise);
    ems_buf_release(&message);
    ems_buf_release(&lit);
    ems_buf_release(&partial);
}

static void test_packet_limits(void)
{
    static const struct {
        const char *bytes;
        size_t size;
        int code;
    } table[] = {
        {"\xc3\xe1", 2, EMS_PGP_MALFORMED},                 /* session key in partial lengths */
        {"\x8f", 1, EMS_PGP_MALFORMED},                     /* of indeterminate length */
        {"\xc3\xff\xff\xff\xff\xff\x04", 7, EMS_PGP_LIMIT}, /* of 4 GiB */
        {"\xc1\xff\x00\x00\x40\x01\x03", 7, EMS_PGP_LIMIT}, /* of 16 KiB and one */
        {"\xc3\x05\x04", 3, EMS_PGP_TRUNCATED},
        {"\xc3\xc0", 2, EMS_PGP_TRUNCATED},
        {"\x80\x01", 2, EMS_PGP_MALFORMED}, /* tag 0 */
        {"\xd2\x00", 2, EMS_PGP_TRUNCATED}, /* an empty container */
    };
    struct ems_pgp_secrets *secrets = maker_secrets();

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct ems_buf message = {.data = (uint8_t *)(uintptr_t)table[i].bytes,
                                  .size = table[i].size};

        ASSERT_CODE(maker_read(&message, secrets, false, NULL, NULL, NULL), table[i].code);
    }
    ems_pgp_secrets_free(secrets);
}

EMS_TESTS("pgp forms", {"ciphers", test_ciphers},
          {"derivations in session-key packets of versions 4, 5, 6", test_derivations},
          {"derivations that are refused", test_bad_derivations},
          {"derivations for passphrases of every length", test_derivation_lengths},
          {"derivations cost at most so much", test_derivation_cost},
          {"derivations are remembered", test_remembered}, {"AEAD containers", test_aead},
          {"AEAD from spans of every size", test_aead_chunk_matrix},
          {"AEAD damage", test_aead_damage}, {"AEAD headers", test_aead_headers},
          {"AEAD with large chunks and wrong keys", test_aead_large},
          {"AEAD with chunks larger than memory allows", test_aead_file},
          {"damage in those", test_aead_file_damage}, {"probe", test_probe},
          {"measure", test_measure}, {"packet limits", test_packet_limits})
