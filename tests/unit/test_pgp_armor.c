/* ASCII armour in the shapes that senders produce, and in those that are refused. */
#include "pgp_maker.h"

#include "pgp_armor.h"

static const char text[] = "COPY public.users (name) FROM stdin;\n@bob:example.org\n\\.\n";
#define TEXT  (sizeof text - 1)
#define BEGIN "-----BEGIN PGP MESSAGE-----"
#define END   "-----END PGP MESSAGE-----"

/* Base64 in lines of `width` characters (0: one line) ending in `eol`. */
static void put_base64(struct ems_buf *out, const struct ems_buf *data, size_t width,
                       const char *eol)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t column = 0;

    for (size_t i = 0; i < data->size; i += 3) {
        size_t n = data->size - i < 3 ? data->size - i : 3;
        uint32_t bits = 0;

        for (size_t k = 0; k < 3; k++)
            bits = bits << 8 | (k < n ? data->data[i + k] : 0u);
        for (size_t k = 0; k < 4; k++) {
            put_octet(out, k <= n ? (uint8_t)digits[bits >> (18 - 6 * k) & 63] : '=');
            if (++column == width) {
                put(out, eol, strlen(eol));
                column = 0;
            }
        }
    }
    if (column > 0)
        put(out, eol, strlen(eol));
}

/* prefix, base64, suffix. */
static struct ems_buf armored(const struct ems_buf *data, const char *prefix, size_t width,
                              const char *eol, const char *suffix)
{
    struct ems_buf out = {0};

    put(&out, prefix, strlen(prefix));
    put_base64(&out, data, width, eol);
    put(&out, suffix, strlen(suffix));
    return out;
}

static void test_shapes(void)
{
    static const struct {
        const char *prefix;
        size_t width;
        const char *eol, *suffix;
    } table[] = {
        {BEGIN "\n\n", 64, "\n", "=AbCd\n" END "\n"},
        {BEGIN "\r\n\r\n", 76, "\r\n", "=AbCd\r\n" END "\r\n"},
        {BEGIN "\nVersion: GnuPG v2\nComment: x: y\n\n", 64, "\n", "=AbCd\n" END "\n"},
        {BEGIN "\n\n", 64, "\n", END "\n"},                     /* no checksum */
        {BEGIN "\n\n", 64, "\n", "=AbCd\n" END},                /* no last line end */
        {BEGIN "\n\n", 64, "\n", "\n\n=AbCd\n" END "\n"},       /* empty lines */
        {BEGIN "\n \t \n", 64, "  \t\n", "=AbCd \n" END " \n"}, /* white space */
        {"  " BEGIN "  \n\n", 64, "\n", "=AbCd\n" END "\n"},
        {BEGIN "\n\n", 0, "\n", "=AbCd\n" END "\n"}, /* one long line */
        {BEGIN "\n\n", 1, "\n", "=AbCd\n" END "\n"},
        {BEGIN "\n\n", 7, "\n", "=AbCd\n" END "\n"}, /* padding at a line's beginning */
        {"\xef\xbb\xbf" BEGIN "\n\n", 64, "\n", "=AbCd\n" END "\n"},
        {"Dear support,\n\nhere it is:\n" BEGIN "\n\n", 64, "\n", "=AbCd\n" END "\n-- \nme\n"},
    };
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_pgp_options options = {.secrets = secrets};

    for (size_t extra = 0; extra < 3; extra++) { /* all three lengths of the last group */
        struct ems_buf message = make_simple(text, TEXT - extra);

        for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
            struct ems_buf armor =
                armored(&message, table[i].prefix, table[i].width, table[i].eol, table[i].suffix);

            for (size_t c = 0; c < EMS_TEST_CHUNKS; c++) {
                struct ems_buf out = {0};
                struct ems_error err = {0};
                int rc = ems_test_slurp(ems_pgp_open(ems_test_source_open(armor.data, armor.size,
                                                                          ems_test_chunks[c], 0, 0),
                                                     &options, &err),
                                        &out, &err);

                if (rc != EMS_END)
                    printf("\n    shape %zu: %s", i, err.text);
                ASSERT_CODE(rc, EMS_END);
                CU_ASSERT(same(&out, text, TEXT - extra));
                ems_buf_release(&out);
            }
            ems_buf_release(&armor);
        }
        ems_buf_release(&message);
    }
    ems_pgp_secrets_free(secrets);
}

static void test_refused(void)
{
    static const struct {
        const char *prefix, *suffix;
        int code;
    } table[] = {
        {BEGIN "\n\n", "", EMS_PGP_TRUNCATED},
        {BEGIN "\n\n", "=AbCd\n", EMS_PGP_TRUNCATED},
        {BEGIN "\n\n", "=AbCd\n-----END PGP", EMS_PGP_MALFORMED},
        {BEGIN "\n\n", "=AbCd\n-----END PGP MESSAGE----", EMS_PGP_MALFORMED},
        {BEGIN "\n\n", "=AbCd\nanything\n", EMS_PGP_MALFORMED},
        {BEGIN "\n\n", "!\n" END "\n", EMS_PGP_MALFORMED},
        {BEGIN "\n\n> ", END "\n", EMS_PGP_MALFORMED},
        {BEGIN "\n\n\x01", END "\n", EMS_PGP_MALFORMED},
        {BEGIN "\nno colon here\n\n", END "\n", EMS_PGP_MALFORMED},
        {BEGIN "\n\n", "=AbCd\n" END "\n" BEGIN "\n\n", EMS_PGP_TRAILING},
        {"-----BEGIN PGP MESSAGE, PART 1/2-----\n\n", END "\n", EMS_PGP_UNSUPPORTED},
        {"-----BEGIN PGP SIGNED MESSAGE-----\n\n", END "\n", EMS_NOT_ENCRYPTED},
        {"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n", END "\n", EMS_PGP_NOT_OPENPGP},
        {"-----BEGIN CERTIFICATE-----\n\n", END "\n", EMS_PGP_NOT_OPENPGP},
        {"no armour at all\n", "\n", EMS_PGP_NOT_OPENPGP},
    };
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_buf message = make_simple(text, TEXT);

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct ems_buf armor = armored(&message, table[i].prefix, 64, "\n", table[i].suffix);
        struct ems_error err = {0};
        int rc = maker_read(&armor, secrets, false, NULL, NULL, &err);

        if (rc != table[i].code)
            printf("\n    refused %zu: %s", i, err.text);
        ASSERT_CODE(rc, table[i].code);
        ems_buf_release(&armor);
    }
    ems_buf_release(&message);
    ems_pgp_secrets_free(secrets);
}

/* Text without end before the block is not searched for ever. */
static void test_much_text(void)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_buf message = make_simple(text, TEXT), late = {0}, armor;

    armor = armored(&message, BEGIN "\n\n", 64, "\n", END "\n");
    for (int i = 0; i < 60; i++)
        put(&late, "a line of text\n", 15);
    put(&late, armor.data, armor.size);
    ASSERT_CODE(maker_read(&late, secrets, false, NULL, NULL, NULL), EMS_END);
    late.size = 0;
    for (int i = 0; i < 6000; i++)
        put(&late, "a line of text\n", 15);
    put(&late, armor.data, armor.size);
    ASSERT_CODE(maker_read(&late, secrets, false, NULL, NULL, NULL), EMS_PGP_NOT_OPENPGP);
    ems_buf_release(&late);
    ems_buf_release(&armor);
    ems_buf_release(&message);
    ems_pgp_secrets_free(secrets);
}

/* Every prefix is refused, but for one that lacks only the last line's end; no flipped byte of the
 * data comes through as other bytes. */
static void test_damage(void)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_buf message = make_simple(text, TEXT);
    struct ems_buf armor = armored(&message, BEGIN "\n\n", 64, "\n", "=AbCd\n" END "\n");

    for (size_t n = 0; n < armor.size; n++) {
        struct ems_buf prefix = {.data = armor.data, .size = n}, out = {0};
        int rc = maker_read(&prefix, secrets, false, &out, NULL, NULL);

        CU_ASSERT((rc == EMS_END) == (n == armor.size - 1));
        CU_ASSERT(rc == EMS_END || rc == EMS_PGP_TRUNCATED || rc == EMS_PGP_MALFORMED ||
                  rc == EMS_PGP_NOT_OPENPGP);
        ems_buf_release(&out);
    }
    for (size_t i = 0; i < armor.size; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            struct ems_buf out = {0};
            int rc;

            armor.data[i] ^= (uint8_t)(1u << bit);
            rc = maker_read(&armor, secrets, false, &out, NULL, NULL);
            armor.data[i] ^= (uint8_t)(1u << bit);
            CU_ASSERT(rc != EMS_END || same(&out, text, TEXT));
            CU_ASSERT(rc != EMS_INTERNAL);
            ems_buf_release(&out);
        }
    }
    ems_buf_release(&message);
    ems_buf_release(&armor);
    ems_pgp_secrets_free(secrets);
}

/* Binary data is lent through, not copied. */
static void test_pass_through(void)
{
    uint8_t data[1000];
    bool is_armored = false;
    struct ems_error err = {0};
    struct ems_span span;
    struct ems_source *src;

    memset(data, 0x99, sizeof data);
    src = ems_pgp_armor_open(ems_source_memory_open(data, sizeof data, 0, &err),
                             EMS_PGP_ARMOR_MESSAGE, false, &is_armored, &err);
    ASSERT_CODE(ems_source_next(src, &span, &err), EMS_OK);
    CU_ASSERT_PTR_EQUAL(span.data, data);
    CU_ASSERT_EQUAL(span.size, sizeof data);
    ASSERT_CODE(ems_source_next(src, &span, &err), EMS_END);
    CU_ASSERT_FALSE(is_armored);
    ems_source_free(src);
}

EMS_TESTS("pgp armour", {"shapes that are accepted", test_shapes},
          {"shapes that are refused", test_refused}, {"much text before it", test_much_text},
          {"damage", test_damage}, {"binary passes through", test_pass_through})
