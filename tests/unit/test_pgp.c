/* Messages encrypted with a passphrase: grammar, framing, damage of every kind. */
#include "pgp_maker.h"

#include "pgp_compress.h"

static const char text[] = "CREATE TABLE users (name text);\nCOPY users FROM stdin;\n@a:b\n\\.\n";
#define TEXT (sizeof text - 1)

/* ---- whole messages ---- */

/* Every framing of container and literal, small and large, from spans of every size. */
static void test_chunk_matrix(void)
{
    static const enum maker_framing framings[] = {NEW_FORMAT,  OLD_FORMAT, NEW_5,
                                                  PARTIAL_512, PARTIAL_2,  INDETERMINATE};
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_buf noise = {0};

    put_noise(&noise, 300000, 3);
    for (size_t f = 0; f < 6; f++) {
        for (size_t c = 0; c < EMS_TEST_CHUNKS; c++) {
            bool slow = (ems_test_chunks[c] > 0 && ems_test_chunks[c] < 500) || f == 4;
            size_t size = slow ? 3000 : noise.size;
            struct ems_buf literal = make_literal(noise.data, size, 'b', "x", framings[f]);
            struct ems_buf message = make_message(
                &literal, framings[f] == OLD_FORMAT || f == 5 ? NEW_FORMAT : framings[f]);

            for (int relays = 0; relays < 2; relays++) {
                struct ems_pgp_options options = {.secrets = secrets, .threads = relays};
                struct ems_error err = {0};
                struct ems_buf out = {0};
                struct ems_source *src =
                    ems_test_source_open(message.data, message.size, ems_test_chunks[c], 0, EMS_OK);

                if (relays)
                    src = ems_relay_open(src, &err);
                src = ems_pgp_open(src, &options, &err);
                if (relays)
                    src = ems_relay_open(src, &err);
                ASSERT_CODE(ems_test_slurp(src, &out, &err), EMS_END);
                CU_ASSERT(same(&out, noise.data, size));
                ems_buf_release(&out);
            }
            ems_buf_release(&literal);
            ems_buf_release(&message);
        }
    }
    ems_buf_release(&noise);
    ems_pgp_secrets_free(secrets);
}

/* The MDC in every position around the end of a span of the decrypting stage; damaged and cut too.
 */
static void test_mdc_positions(void)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_buf noise = {0};

    put_noise(&noise, 140000, 3);
    /* Before the data stand 12 octets of headers, behind them 22 of MDC. */
    for (size_t size = 131072 - 12 - 25; size <= 131072 - 12 + 25; size++) {
        struct ems_buf literal = make_literal(noise.data, size, 'b', "", NEW_FORMAT);
        struct ems_buf message = make_message(&literal, NEW_FORMAT);

        for (int threads = 0; threads < 2; threads++) {
            struct ems_pgp_options options = {.secrets = secrets, .threads = threads};
            struct ems_buf out = {0};
            struct ems_error err = {0};

            ASSERT_CODE(ems_test_slurp(ems_pgp_open(ems_test_source_open(message.data, message.size,
                                                                         60000, 0, EMS_OK),
                                                    &options, &err),
                                       &out, &err),
                        EMS_END);
            CU_ASSERT(same(&out, noise.data, size));
            ems_buf_release(&out);
        }
        message.data[message.size - 1 - size % 22] ^= 1;
        ASSERT_CODE(maker_read(&message, secrets, false, NULL, NULL, NULL), EMS_PGP_MODIFIED);
        ems_buf_release(&literal);
        ems_buf_release(&message);
    }
    ems_buf_release(&noise);
    ems_pgp_secrets_free(secrets);
}

/* The first byte of each span comes from where its origin says: CFB maps bytes one to one, so a
 * literal byte at `at` of the container's plaintext stands at a fixed distance in the message. */
static void test_origins(void)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_pgp_options options = {.secrets = secrets};
    struct ems_buf noise = {0}, message;
    struct ems_error err = {0};
    struct ems_span span;
    struct ems_source *src;
    uint64_t first = EMS_NOWHERE, done = 0;

    put_noise(&noise, 500000, 3);
    message = make_simple(noise.data, noise.size);
    src = ems_pgp_open(ems_test_source_open(message.data, message.size, 7001, 0, EMS_OK), &options,
                       &err);
    while (ems_source_next(src, &span, &err) == EMS_OK) {
        if (first == EMS_NOWHERE)
            first = span.origin;
        CU_ASSERT_EQUAL(span.origin, first + done);
        done += span.size;
    }
    CU_ASSERT_EQUAL(first, message.size - 22 - noise.size);
    ems_source_free(src);
    ems_buf_release(&message);
    ems_buf_release(&noise);
    ems_pgp_secrets_free(secrets);
}

static void test_facts(void)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_buf literal = make_literal(text, TEXT, 't', "../e\x1b.sql", NEW_FORMAT);
    struct ems_buf zipped = make_compressed(&literal, 1, 0, INDETERMINATE);
    struct ems_buf message = make_message(&zipped, NEW_FORMAT), out = {0};
    struct ems_pgp_facts facts;

    ASSERT_CODE(maker_read(&message, secrets, false, &out, &facts, NULL), EMS_END);
    CU_ASSERT(same(&out, text, TEXT));
    CU_ASSERT_STRING_EQUAL(facts.container, "seipd1");
    CU_ASSERT_STRING_EQUAL(facts.integrity, "mdc");
    CU_ASSERT_STRING_EQUAL(facts.cipher, "AES256");
    CU_ASSERT_STRING_EQUAL(facts.compression, "zip");
    CU_ASSERT_STRING_EQUAL(facts.s2k, "iterated");
    CU_ASSERT_STRING_EQUAL(facts.session_key, "passphrase");
    CU_ASSERT_STRING_EQUAL(facts.file_name, "../e%1B.sql");
    CU_ASSERT_STRING_EQUAL(facts.signer_id, "");
    CU_ASSERT_EQUAL(facts.created, 1000000000);
    CU_ASSERT_EQUAL(facts.passphrases, 1);
    CU_ASSERT_EQUAL(facts.recipients, 0);
    CU_ASSERT_TRUE(facts.text_mode);
    CU_ASSERT_FALSE(facts.armored);
    CU_ASSERT_FALSE(facts.weak_session_key);
    ems_buf_release(&out);
    ems_buf_release(&literal);
    ems_buf_release(&zipped);
    ems_buf_release(&message);
    ems_pgp_secrets_free(secrets);
}

/* ---- damage ---- */

static void test_every_prefix(void)
{
    static const enum maker_framing framings[] = {NEW_FORMAT, PARTIAL_512, PARTIAL_2};
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_buf noise = {0}, literal;

    put_noise(&noise, 700, 3);
    literal = make_literal(noise.data, noise.size, 'b', "x", NEW_FORMAT);
    for (size_t f = 0; f < 3; f++) {
        struct ems_buf message = make_message(&literal, framings[f]);

        for (size_t n = 0; n < message.size; n++) {
            struct ems_buf prefix = {.data = message.data, .size = n};
            struct ems_error err = {0};

            ASSERT_CODE(maker_read(&prefix, secrets, false, NULL, NULL, &err), EMS_PGP_TRUNCATED);
            CU_ASSERT_EQUAL(err.origin > n, false);
        }
        ems_buf_release(&message);
    }
    ems_buf_release(&literal);
    ems_buf_release(&noise);
    ems_pgp_secrets_free(secrets);
}

/* How many bytes are missing is said when the length is known. */
static void test_missing_bytes(void)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_buf message = make_simple(text, TEXT);
    struct ems_error err = {0};

    message.size -= 33;
    ASSERT_CODE(maker_read(&message, secrets, false, NULL, NULL, &err), EMS_PGP_TRUNCATED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "ends 33 bytes early"));
    ems_buf_release(&message);
    ems_pgp_secrets_free(secrets);
}

/* No flipped bit may come through as other bytes: the end is not reached, or (bits that mean
 * nothing) with the same bytes. */
static void flip_all(const struct ems_buf *message, const void *plain, size_t size)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    unsigned passed = 0;

    for (size_t i = 0; i < message->size * 2; i++) {
        uint8_t bit = (uint8_t)(i % 2 == 0 ? 1u << (i / 2 % 8) : 0xffu);
        struct ems_buf out = {0};
        int rc;

        message->data[i / 2] ^= bit;
        rc = maker_read(message, secrets, false, &out, NULL, NULL);
        message->data[i / 2] ^= bit;
        if (rc == EMS_END) {
            passed++;
            CU_ASSERT(same(&out, plain, size));
        }
        ems_buf_release(&out);
    }
    /* Nothing of a message in new packet format is without meaning. */
    CU_ASSERT_EQUAL(passed, 0);
    ems_pgp_secrets_free(secrets);
}

static void test_every_flip(void)
{
    struct ems_buf message = make_simple(text, TEXT), literal, zipped, partial;

    flip_all(&message, text, TEXT);
    literal = make_literal(text, TEXT, 'b', "", NEW_FORMAT);
    zipped = make_compressed(&literal, 2, 0, INDETERMINATE);
    partial = make_message(&zipped, PARTIAL_2);
    flip_all(&partial, text, TEXT);
    ems_buf_release(&message);
    ems_buf_release(&literal);
    ems_buf_release(&zipped);
    ems_buf_release(&partial);
}

static void test_failing_source(void)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_buf message = make_simple(text, TEXT);
    unsigned calls = (unsigned)(message.size + 9) / 10 + 1; /* the last one is the end */

    for (unsigned k = 1; k <= calls * 2; k++) {
        struct ems_pgp_options options = {.secrets = secrets, .threads = k > calls};
        struct ems_error err = {0};

        ASSERT_CODE(ems_test_slurp(
                        ems_pgp_open(ems_test_source_open(message.data, message.size, 10,
                                                          (k - 1) % calls + 1, EMS_PART_UNFINISHED),
                                     &options, &err),
                        NULL, &err),
                    EMS_PART_UNFINISHED);
        CU_ASSERT_STRING_EQUAL(err.text, "planned failure");
    }
    ems_buf_release(&message);
    ems_pgp_secrets_free(secrets);
}

/* ---- grammar ---- */

/* One bad or odd message: packets at level 0 and inside the container, and what they must end in.
 * In `outer` and `inner`: L literal, Z compressed literal, S signature, O one-pass signature,
 * M marker, P padding, U unknown tag 39, I unknown tag 60, K session key, C container, E encrypted
 * message, T a secret key, Y a byte that is no packet, D an MDC packet. */
struct grammar {
    const char *outer, *inner;
    int code;
};

static void put_letter(struct ems_buf *b, char letter, const struct ems_buf *container,
                       const struct ems_buf *esk)
{
    struct ems_buf literal = make_literal(text, TEXT, 'b', "x", NEW_FORMAT), other = {0};
    static const uint8_t one_pass[] = {3, 0, 8, 1, 1, 2, 3, 4, 5, 6, 7, 8, 1};

    switch (letter) {
    case 'L':
        put(b, literal.data, literal.size);
        break;
    case 'Z':
        other = make_compressed(&literal, 1, 0, NEW_FORMAT);
        put(b, other.data, other.size);
        break;
    case 'E':
        other = make_message(&literal, NEW_FORMAT);
        put(b, other.data, other.size);
        break;
    case 'K':
        put(b, esk->data, esk->size);
        break;
    case 'C':
        put_packet(b, 18, NEW_FORMAT, container);
        break;
    case 'O':
        put(&other, one_pass, sizeof one_pass);
        put_packet(b, 4, NEW_FORMAT, &other);
        break;
    case 'Y':
        put_octet(b, 0x0a);
        break;
    default: {
        static const char letters[] = "SMPUITD";
        static const uint8_t tags[] = {2, 10, 21, 39, 60, 5, 19};

        put(&other, "PGPxxxxxxxxxxxxxxxxx", letter == 'M' ? 3 : 20);
        put_packet(b, tags[strchr(letters, letter) - letters], NEW_FORMAT, &other);
    }
    }
    ems_buf_release(&literal);
    ems_buf_release(&other);
}

static void test_grammar(void)
{
    static const struct grammar table[] = {
        {"KC", "L", EMS_END},
        {"KC", "Z", EMS_END},
        {"KKC", "L", EMS_END},
        {"MKMPC", "MPL", EMS_END},
        {"KICI", "ILI", EMS_END},
        {"KC", "OLS", EMS_END},
        {"KC", "SL", EMS_END},
        {"KCPM", "LP", EMS_END},
        {"", "", EMS_PGP_TRUNCATED},
        {"K", "", EMS_PGP_TRUNCATED},
        {"C", "L", EMS_PGP_MALFORMED},
        {"L", "", EMS_NOT_ENCRYPTED},
        {"Z", "", EMS_NOT_ENCRYPTED},
        {"OLS", "", EMS_NOT_ENCRYPTED},
        {"KL", "", EMS_PGP_MALFORMED},
        {"KZ", "", EMS_PGP_MALFORMED},
        {"LKC", "L", EMS_NOT_ENCRYPTED},
        {"T", "", EMS_PGP_NOT_OPENPGP},
        {"Y", "", EMS_PGP_NOT_OPENPGP},
        {"KYC", "L", EMS_PGP_MALFORMED},
        {"KUC", "L", EMS_PGP_MALFORMED},
        {"KDC", "L", EMS_PGP_MALFORMED},
        {"KC", "", EMS_PGP_MALFORMED},
        {"KC", "S", EMS_PGP_MALFORMED},
        {"KC", "LL", EMS_PGP_MALFORMED},
        {"KC", "ZL", EMS_PGP_MALFORMED},
        {"KC", "LZ", EMS_PGP_MALFORMED},
        {"KC", "LD", EMS_PGP_MALFORMED},
        {"KC", "LU", EMS_PGP_MALFORMED},
        {"KC", "UL", EMS_PGP_MALFORMED},
        {"KC", "LY", EMS_PGP_MALFORMED},
        {"KC", "E", EMS_PGP_LIMIT},
        {"KCC", "L", EMS_PGP_TRAILING},
        {"KCKC", "L", EMS_PGP_TRAILING},
        {"KCL", "L", EMS_PGP_TRAILING},
        {"KCS", "L", EMS_PGP_TRAILING},
        {"KCY", "L", EMS_PGP_TRAILING},
    };
    struct ems_pgp_secrets *secrets = maker_secrets();
    uint8_t key[32];
    struct ems_buf esk = {0};

    put_skesk4(&esk, 9, 3, MAKER_PASS, 0, key);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct ems_buf inner = {0}, container, message = {0}, out = {0};
        struct ems_error err = {0};
        int rc;

        for (const char *p = table[i].inner; *p != '\0'; p++)
            put_letter(&inner, *p, NULL, NULL);
        container = make_cfb(9, key, &inner, true);
        for (const char *p = table[i].outer; *p != '\0'; p++)
            put_letter(&message, *p, &container, &esk);
        rc = maker_read(&message, secrets, false, &out, NULL, &err);
        if (rc != table[i].code)
            printf("\n    %s(%s): %s", table[i].outer, table[i].inner, err.text);
        ASSERT_CODE(rc, table[i].code);
        if (rc == EMS_END)
            CU_ASSERT(same(&out, text, TEXT));
        ems_buf_release(&inner);
        ems_buf_release(&container);
        ems_buf_release(&message);
        ems_buf_release(&out);
    }
    ems_buf_release(&esk);
    ems_pgp_secrets_free(secrets);
}

/* Session keys before the right one that do not fit, unknown, or too many. */
static void test_session_keys(void)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_buf literal = make_literal(text, TEXT, 'b', "x", NEW_FORMAT), body, unknown = {0};
    uint8_t key[32], other[32];

    put_octet(&unknown, 9); /* version */
    put_noise(&unknown, 30, 1);
    for (unsigned before = 0; before <= 64; before += before < 20 ? 10 : 44) {
        struct ems_buf message = {0}, out = {0};
        int rc;

        for (unsigned i = 0; i < before; i++) {
            if (i % 3 == 0)
                put_packet(&message, 3, NEW_FORMAT, &unknown);
            else if (i % 3 == 1)
                put_packet(&message, 1, NEW_FORMAT, &unknown);
            else
                put_skesk4(&message, 9, 1, "another passphrase", 0, other);
        }
        put_skesk4(&message, 7, 3, MAKER_PASS, 0, key);
        body = make_cfb(7, key, &literal, true);
        put_packet(&message, 18, NEW_FORMAT, &body);
        rc = maker_read(&message, secrets, false, &out, NULL, NULL);
        ASSERT_CODE(rc, before == 64 ? EMS_PGP_LIMIT : EMS_END);
        CU_ASSERT(same(&out, text, before == 64 ? 0 : TEXT));
        ems_buf_release(&body);
        ems_buf_release(&message);
        ems_buf_release(&out);
    }
    ems_buf_release(&literal);
    ems_buf_release(&unknown);
    ems_pgp_secrets_free(secrets);
}

static void test_wrong_passphrase(void)
{
    struct ems_buf message = make_simple(text, TEXT);
    struct ems_pgp_secrets *secrets;
    struct ems_error err = {0};

    secrets = ems_pgp_secrets_new(NULL, NULL, &err);
    ASSERT_CODE(maker_read(&message, secrets, false, NULL, NULL, &err), EMS_PGP_PASSPHRASE);
    err = (struct ems_error){0};
    MUST(ems_pgp_secrets_add_passphrase(secrets, "wrong", 5, &err));
    ASSERT_CODE(maker_read(&message, secrets, false, NULL, NULL, &err), EMS_PGP_PASSPHRASE);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "wrong passphrase"));
    /* Several passphrases: any of them will do. */
    MUST(ems_pgp_secrets_add_passphrase(secrets, MAKER_PASS, strlen(MAKER_PASS), &err) && 0);
    ASSERT_CODE(maker_read(&message, secrets, false, NULL, NULL, NULL), EMS_END);
    ems_pgp_secrets_free(secrets);
    ems_buf_release(&message);
}

/* ---- inside: integrity first ---- */

static void test_compressed(void)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_buf noise = {0};

    put_noise(&noise, 100000, 2);
    memset(noise.data, 'x', 50000);
    for (unsigned algorithm = 0; algorithm <= 2; algorithm++) {
        for (unsigned f = 0; f < 3; f++) {
            static const enum maker_framing framings[] = {NEW_FORMAT, PARTIAL_512, INDETERMINATE};
            struct ems_buf literal = make_literal(noise.data, noise.size, 'b', "", framings[f]);
            struct ems_buf zipped = make_compressed(&literal, algorithm,
                                                    algorithm > 0 && f < 2 ? 3000 : 0, framings[f]);
            struct ems_buf message = make_message(&zipped, f == 1 ? PARTIAL_512 : NEW_FORMAT);
            struct ems_buf out = {0}, twice;
            struct ems_pgp_facts facts;

            ASSERT_CODE(maker_read(&message, secrets, false, &out, &facts, NULL), EMS_END);
            CU_ASSERT(same(&out, noise.data, noise.size));
            CU_ASSERT_STRING_EQUAL(facts.compression, algorithm == 0   ? "none"
                                                      : algorithm == 1 ? "zip"
                                                                       : "zlib");
            ems_buf_release(&message);

            /* Compressed in itself seven times is allowed, eight times is not. */
            for (int i = 2; i <= 8; i++) {
                twice = make_compressed(&zipped, algorithm, 0, NEW_FORMAT);
                ems_buf_release(&zipped);
                zipped = twice;
                message = make_message(&zipped, NEW_FORMAT);
                if (i >= 7)
                    ASSERT_CODE(maker_read(&message, secrets, false, NULL, NULL, NULL),
                                i == 7 ? EMS_END : EMS_PGP_LIMIT);
                ems_buf_release(&message);
            }
            ems_buf_release(&literal);
            ems_buf_release(&zipped);
            ems_buf_release(&out);
        }
    }
    ems_buf_release(&noise);
    ems_pgp_secrets_free(secrets);
}

/* What is wrong inside, with the container itself whole, and with its last byte damaged. */
static void test_inner_damage(void)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_buf literal = make_literal(text, TEXT, 'b', "x", NEW_FORMAT);
    struct ems_buf zipped = make_compressed(&literal, 2, 0, INDETERMINATE);

    for (int what = 0; what < 5; what++) {
        struct ems_buf inner = {0}, message;
        int expected = EMS_PGP_MALFORMED;
        struct ems_error err = {0};

        put(&inner, what < 3 ? zipped.data : literal.data, what < 3 ? zipped.size : literal.size);
        if (what == 0)
            inner.data[20] ^= 0x55; /* in the compressed data */
        else if (what == 1)
            inner.size -= 9; /* cut in front of its checksum */
        else if (what == 2) {
            inner.data[1] = 77; /* unknown algorithm */
            expected = EMS_PGP_UNSUPPORTED;
        } else if (what == 3)
            inner.data[1]++; /* literal that would eat the first byte of the MDC */
        else {               /* unknown format, and much more behind it */
            struct ems_buf padding = {0};

            inner.data[2] = 'q';
            put_noise(&padding, 300000, 1);
            put_packet(&inner, 21, NEW_FORMAT, &padding);
            ems_buf_release(&padding);
        }
        message = make_message(&inner, NEW_FORMAT);
        ASSERT_CODE(maker_read(&message, secrets, false, NULL, NULL, &err), expected);
        message.data[message.size - 1] ^= 1;
        err = (struct ems_error){0};
        ASSERT_CODE(maker_read(&message, secrets, false, NULL, NULL, &err), EMS_PGP_MODIFIED);
        if (what == 4) /* the container is still running when the oddity shows */
            CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "inside, first: literal data of unknown"));
        message.size -= 5;
        err = (struct ems_error){0};
        ASSERT_CODE(maker_read(&message, secrets, false, NULL, NULL, &err), EMS_PGP_TRUNCATED);
        ems_buf_release(&message);
        ems_buf_release(&inner);
    }
    ems_buf_release(&literal);
    ems_buf_release(&zipped);
    ems_pgp_secrets_free(secrets);
}

/* 300 MiB of zeros in 300 KiB, deflated a piece at a time. */
/* Text mode: CR LF becomes LF, nothing else changes, whatever the spans. */
static void test_text_mode(void)
{
    static const struct {
        const char *wire, *text;
    } table[] = {
        {"", ""},
        {"a\r\nb\r\n", "a\nb\n"},
        {"\r\n", "\n"},
        {"\r", "\r"},
        {"a\r", "a\r"},
        {"\r\r\n\r", "\r\n\r"},
        {"\n\r\n\n", "\n\n\n"},
        {"\ra\r", "\ra\r"},
        {"no ends", "no ends"},
    };
    struct ems_pgp_secrets *secrets = maker_secrets();

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        for (int mode = 0; mode < 3; mode++) {
            for (size_t chunk = 0; chunk < 3; chunk++) {
                size_t size = strlen(table[i].wire);
                const char *expected = mode < 2 ? table[i].text : table[i].wire;
                struct ems_buf lit =
                    make_literal(table[i].wire, size, "tub"[mode], "x", NEW_FORMAT);
                struct ems_buf message = make_message(&lit, NEW_FORMAT), out = {0};
                struct ems_pgp_options options = {.secrets = secrets};
                struct ems_error err = {0};

                ASSERT_CODE(
                    ems_test_slurp(ems_pgp_open(ems_test_source_open(message.data, message.size,
                                                                     chunk, 0, EMS_OK),
                                                &options, &err),
                                   &out, &err),
                    EMS_END);
                CU_ASSERT(same(&out, expected, strlen(expected)));
                ems_buf_release(&lit);
                ems_buf_release(&message);
                ems_buf_release(&out);
            }
        }
    }
    ems_pgp_secrets_free(secrets);
}

/* Across the pieces of a long text. */
static void test_long_text(void)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_buf wire = {0}, plain = {0}, lit, message, out = {0};

    for (unsigned i = 0; wire.size < 300000; i++) {
        for (unsigned n = 0; n < i % 7; n++) {
            put_octet(&wire, 'a' + n);
            put_octet(&plain, 'a' + n);
        }
        put(&wire, "\r\n", 2);
        put_octet(&plain, '\n');
    }
    lit = make_literal(wire.data, wire.size, 't', "x", PARTIAL_512);
    message = make_message(&lit, NEW_FORMAT);
    ASSERT_CODE(maker_read(&message, secrets, false, &out, NULL, NULL), EMS_END);
    CU_ASSERT(same(&out, plain.data, plain.size));
    ems_buf_release(&wire);
    ems_buf_release(&plain);
    ems_buf_release(&lit);
    ems_buf_release(&message);
    ems_buf_release(&out);
    ems_pgp_secrets_free(secrets);
}

/* zlib's own header and checksum around deflate: each octet of them wrong, cut after each, and in
 * spans of every size. */
static void test_zlib_frame(void)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_buf lit = make_literal(text, TEXT, 'b', "x", NEW_FORMAT);
    struct ems_buf zipped = make_compressed(&lit, 2, 0, NEW_FORMAT), plain = {0};
    static const size_t header = 3; /* of the packet, with the algorithm */

    for (size_t c = 0; c < EMS_TEST_CHUNKS; c++) {
        struct ems_pgp_growth growth = {0};
        const char *name = NULL;
        struct ems_error err = {0};

        plain.size = 0;
        ASSERT_CODE(ems_test_slurp(
                        ems_pgp_compress_open(ems_test_source_open(zipped.data + 2, zipped.size - 2,
                                                                   ems_test_chunks[c], 0, EMS_OK),
                                              &name, &growth, &err),
                        &plain, &err),
                    EMS_END);
        CU_ASSERT(same(&plain, lit.data, lit.size));
        CU_ASSERT_STRING_EQUAL(name, "zlib");
        CU_ASSERT_EQUAL(growth.bytes_in, zipped.size - header);
        CU_ASSERT_EQUAL(growth.bytes_out, lit.size);
    }
    for (size_t i = 0; i < 6; i++) {
        size_t at = i < 2 ? header + i : zipped.size - 6 + i;
        struct ems_buf message, cut = {0}, cut_body = {0};

        zipped.data[at] ^= 0x11;
        message = make_message(&zipped, NEW_FORMAT);
        zipped.data[at] ^= 0x11;
        ASSERT_CODE(maker_read(&message, secrets, false, NULL, NULL, NULL), EMS_PGP_MALFORMED);
        ems_buf_release(&message);
        put(&cut_body, zipped.data + 2, at - 2);
        put_packet(&cut, 8, NEW_FORMAT, &cut_body);
        message = make_message(&cut, NEW_FORMAT);
        ASSERT_CODE(maker_read(&message, secrets, false, NULL, NULL, NULL), EMS_PGP_MALFORMED);
        ems_buf_release(&message);
        ems_buf_release(&cut);
        ems_buf_release(&cut_body);
    }
    ems_buf_release(&plain);
    ems_buf_release(&lit);
    ems_buf_release(&zipped);
    ems_pgp_secrets_free(secrets);
}

static void test_bomb(void)
{
    static uint8_t zeros[1 << 20], out[65536];
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_buf header = {0}, body = {0}, zipped = {0}, message;
    z_stream z = {0};

    put_octet(&header, 0xcb);
    put_octet(&header, 255);
    put_be(&header, 6 + 300 * sizeof zeros, 4);
    put(&header, "b\0\0\0\0\0", 6);
    put_octet(&body, 1);
    MUST(deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY));
    for (int i = 0; i <= 300; i++) {
        z.next_in = i == 0 ? header.data : zeros;
        z.avail_in = i == 0 ? (uInt)header.size : sizeof zeros;
        do {
            z.next_out = out;
            z.avail_out = sizeof out;
            deflate(&z, i == 300 ? Z_FINISH : Z_NO_FLUSH);
            put(&body, out, sizeof out - z.avail_out);
        } while (z.avail_out == 0);
    }
    deflateEnd(&z);
    put_packet(&zipped, 8, NEW_FORMAT, &body);
    message = make_message(&zipped, NEW_FORMAT);
    ASSERT_CODE(maker_read(&message, secrets, false, NULL, NULL, NULL), EMS_PGP_LIMIT);
    ems_buf_release(&header);
    ems_buf_release(&body);
    ems_buf_release(&zipped);
    ems_buf_release(&message);
    ems_pgp_secrets_free(secrets);
}

EMS_TESTS("pgp", {"every framing, every span size, with and without relays", test_chunk_matrix},
          {"the MDC in every position", test_mdc_positions}, {"origins are exact", test_origins},
          {"facts", test_facts}, {"every prefix is truncated", test_every_prefix},
          {"missing bytes are counted", test_missing_bytes},
          {"no flipped byte passes", test_every_flip},
          {"a failing source's error comes out unchanged", test_failing_source},
          {"packets dropped, doubled, swapped, misplaced", test_grammar},
          {"all session-key packets are tried", test_session_keys},
          {"wrong and missing passphrases", test_wrong_passphrase},
          {"compression, with padding, nested", test_compressed},
          {"zlib's header and checksum", test_zlib_frame}, {"text mode", test_text_mode},
          {"long text", test_long_text},
          {"integrity is judged before what is inside", test_inner_damage},
          {"a bomb is refused", test_bomb})
