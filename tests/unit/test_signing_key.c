/* Signing key files: every form and every complaint; keys and signatures of RFC 8032. */
#include "harness.h"

#include "base64.h"
#include "pgp.h"
#include "signing_key.h"

/* RFC 8032, section 7.1, tests 1 and 2: seeds, public keys, the signature over "r". */
#define SEED_1   "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
#define PUBLIC_1 "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo"
#define SEED_2   "TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs"
#define PUBLIC_2 "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw"
static const uint8_t signature_2[64] = {
    0x92, 0xa0, 0x09, 0xa9, 0xf0, 0xd4, 0xca, 0xb8, 0x72, 0x0e, 0x82, 0x0b, 0x5f, 0x64, 0x25, 0x40,
    0xa2, 0xb2, 0x7b, 0x54, 0x16, 0x50, 0x3f, 0x8f, 0xb3, 0x76, 0x22, 0x23, 0xeb, 0xdb, 0x69, 0xda,
    0x08, 0x5a, 0xc1, 0xe4, 0x3e, 0x15, 0x99, 0x6e, 0x45, 0x8f, 0x36, 0x13, 0xd0, 0xf1, 0x1d, 0x8c,
    0x38, 0x7b, 0x2e, 0xae, 0xb4, 0x30, 0x2a, 0xee, 0xb0, 0x0d, 0x29, 0x16, 0x12, 0xbb, 0x0c, 0x00};

static int parse(const char *text, struct ems_signing_keys *keys, struct ems_error *err)
{
    *err = (struct ems_error){0};
    return ems_signing_keys_parse(text, strlen(text), keys, err);
}

static void test_forms(void)
{
    static const struct {
        const char *text, *id;
        size_t count;
        bool old_form, crlf;
    } cases[] = {
        {"ed25519 a_Xy9 " SEED_1 "\n", "ed25519:a_Xy9", 1, false, false},
        {"ed25519 a_Xy9 " SEED_1, "ed25519:a_Xy9", 1, false, false},
        {"ed25519\ta_Xy9   " SEED_1 " \n", "ed25519:a_Xy9", 1, false, false},
        {"ed25519 a_Xy9 " SEED_1 "=\n", "ed25519:a_Xy9", 1, false, false},
        {"ed25519 a_Xy9 nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\n", "ed25519:a_Xy9", 1, false,
         false},
        {"\n\r\n  ed25519 1 " SEED_1 "\r\n", "ed25519:1", 1, false, true},
        {"ed25519 0 " SEED_1 "\n\ned25519 1 " SEED_2 "\n", "ed25519:0", 2, false, false},
        {SEED_1 "\n", "ed25519:auto", 1, true, false},
        {SEED_1 "\nwhat else there is is not read\n", "ed25519:auto", 1, true, false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ems_signing_keys keys;
        struct ems_error err;

        ASSERT_CODE(parse(cases[i].text, &keys, &err), EMS_OK);
        CU_ASSERT_EQUAL(keys.count, cases[i].count);
        CU_ASSERT_STRING_EQUAL(keys.items[0].id, cases[i].id);
        CU_ASSERT_STRING_EQUAL(keys.items[0].public_text, PUBLIC_1);
        CU_ASSERT_EQUAL(keys.old_form, cases[i].old_form);
        CU_ASSERT_EQUAL(keys.crlf, cases[i].crlf);
        if (keys.count == 2) {
            CU_ASSERT_PTR_EQUAL(ems_signing_keys_find(&keys, "ed25519:1"), &keys.items[1]);
            CU_ASSERT_STRING_EQUAL(keys.items[1].public_text, PUBLIC_2);
        }
        CU_ASSERT_PTR_NULL(ems_signing_keys_find(&keys, "ed25519:none"));
    }
}

static void test_complaints(void)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "no key"},
        {"\n\n", "no key"},
        {"ed25519 " SEED_1 "\n", "line 1: 2 fields"},
        {"ed25519 a_1 " SEED_1 " more\n", "line 1: 4 fields"},
        {"\n" SEED_1 "\n", "line 2: 1 fields"},
        {"curve25519 a_1 " SEED_1 "\n", "line 1: the key is not of type ed25519"},
        {"ed25519 a_1 " SEED_1 "\nrsa a_2 " SEED_2 "\n", "line 2: the key is not of type"},
        {"ed25519 a-1 " SEED_1 "\n", "no key version"},
        {"ed25519 a_1 nWGxne\n", "line 1: the key is not 43 characters of base64 (it has 6"},
        {"ed25519 a_1 nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2!\n", "not 43 characters"},
        {"ed25519 a_1 " SEED_1 "A\n", "it has 44"},
        {"-----BEGIN PRIVATE KEY-----\n", "3 fields|base64|type|fields"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ems_signing_keys keys;
        struct ems_error err;

        ASSERT_CODE(parse(cases[i].text, &keys, &err), EMS_KEY_MALFORMED);
        CU_ASSERT_PTR_NULL(strstr(err.text, "nWGx")); /* the seed is never quoted */
        if (strchr(cases[i].says, '|') == NULL && strstr(err.text, cases[i].says) == NULL) {
            printf("\n    '%s' instead of '%s'", err.text, cases[i].says);
            CU_FAIL("message");
        }
    }
}

static void test_limits(void)
{
    struct ems_signing_keys keys;
    struct ems_error err = {0};
    struct ems_buf text = {0};

    for (int i = 0; i < 17; i++)
        ems_buf_printf(&text, NULL, "ed25519 v%d %s\n", i, SEED_1);
    ASSERT_CODE(ems_signing_keys_parse(text.data, text.size, &keys, &err), EMS_KEY_MALFORMED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "line 17: more than 16 keys"));
    err = (struct ems_error){0};
    ASSERT_CODE(ems_signing_keys_parse("ed25519 a_\0 x", 13, &keys, &err), EMS_KEY_MALFORMED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "NUL"));
    text.size = 0;
    for (int i = 0; i < 70000; i++)
        ems_buf_append(&text, "\n", 1, NULL);
    err = (struct ems_error){0};
    ASSERT_CODE(ems_signing_keys_parse(text.data, text.size, &keys, &err), EMS_KEY_MALFORMED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "too long"));
    ems_buf_release(&text);
}

static void test_signatures(void)
{
    struct ems_signing_keys keys;
    uint8_t changed[64];
    struct ems_error err;

    ASSERT_CODE(parse("ed25519 a_1 " SEED_2 "\n", &keys, &err), EMS_OK);
    CU_ASSERT(ems_signing_key_verify(keys.items[0].public_key, "r", 1, signature_2));
    CU_ASSERT(!ems_signing_key_verify(keys.items[0].public_key, "s", 1, signature_2));
    CU_ASSERT(!ems_signing_key_verify(keys.items[0].public_key, "", 0, signature_2));
    for (size_t i = 0; i < sizeof changed; i += 21) {
        memcpy(changed, signature_2, sizeof changed);
        changed[i] ^= 1;
        CU_ASSERT(!ems_signing_key_verify(keys.items[0].public_key, "r", 1, changed));
    }
    ASSERT_CODE(parse("ed25519 a_1 " SEED_1 "\n", &keys, &err), EMS_OK);
    CU_ASSERT(!ems_signing_key_verify(keys.items[0].public_key, "r", 1, signature_2));
}

static void test_base64(void)
{
    uint8_t data[48], back[48];
    char text[65];

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 37 + 11);
    for (size_t n = 0; n <= sizeof data; n++) {
        ems_base64_encode(data, n, text);
        CU_ASSERT_EQUAL(strlen(text), EMS_BASE64_SIZE(n));
        CU_ASSERT(ems_base64_decode(text, strlen(text), back, n));
        CU_ASSERT_EQUAL(memcmp(back, data, n), 0);
        CU_ASSERT(!ems_base64_decode(text, strlen(text), back, n + 1));
    }
    /* Every byte is a digit of one of the alphabets or refused. */
    for (int c = 0; c < 256; c++) {
        char two[2] = {(char)c, 'A'};
        bool digit = c != 0 && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                      "0123456789+/-_",
                                      c) != NULL;

        CU_ASSERT_EQUAL(ems_base64_decode(two, 2, back, 1), digit);
    }
    CU_ASSERT(!ems_base64_decode("AA=A", 4, back, 1));
}

int main(void)
{
    static const struct ems_test tests[] = {
        {"every form is read", test_forms},
        {"every complaint", test_complaints},
        {"limits", test_limits},
        {"signatures of RFC 8032", test_signatures},
        {"base64 both ways", test_base64},
    };

    if (ems_pgp_library_init(NULL) != EMS_OK)
        return 70;
    return ems_tests_run("signing_key", tests, sizeof tests / sizeof tests[0]);
}
