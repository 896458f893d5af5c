/* Configurations: a text for every message, values and merging, limits; and that no secret is kept.
 */
#include "harness.h"

#include "config.h"
#include "pgp.h"

#define SEED "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
#define NAME "server_name: example.org\nmacaroon_secret_key: abcdefgh\n"

static int parse(const char *text, struct ems_config *config, struct ems_error *err)
{
    *err = (struct ems_error){0};
    return ems_config_parse(text, strlen(text), "homeserver.yaml", config, err);
}

/* Every text is judged alone; `says` must be in a finding of that severity and code, and an OK text
 * has none at all. */
static void test_messages(void)
{
    enum { E = EMS_SEVERITY_ERROR, W = EMS_SEVERITY_WARNING, N = EMS_SEVERITY_NOTE };
    static const struct {
        const char *text, *says;
        int code, severity;
    } cases[] = {
        {NAME, NULL, 0, 0},
        {"server_name: 'example.org:8448'\nmacaroon_secret_key: x\n", NULL, 0, 0},
        {"\xef\xbb\xbf" NAME, "byte order mark", EMS_CONFIG_MALFORMED, W},
        {"server_name: example.org\r\nmacaroon_secret_key: x\r\n", "CR LF", EMS_CONFIG_MALFORMED,
         W},
        {NAME "form_secret: a\nform_secret: b\n", "line 4: a setting is given a second time",
         EMS_CONFIG_MALFORMED, W},
        {"- a\n- b\n", "no settings", EMS_CONFIG_MALFORMED, W},
        {"", "no settings", EMS_CONFIG_MALFORMED, W},
        {"pid_file: x\n", "server_name is not set", EMS_CONFIG_SERVER_NAME, E},
        {"server_name:\n", "server_name is not set", EMS_CONFIG_SERVER_NAME, E},
        {"server_name: ~\n", "server_name is not set", EMS_CONFIG_SERVER_NAME, E},
        {"server_name: <your name>\n", "is still a placeholder", EMS_CONFIG_SERVER_NAME, E},
        {"server_name: 12\n", "line 1: server_name '12' is not text", EMS_CONFIG_SERVER_NAME, E},
        {"server_name: yes\n", "is not text", EMS_CONFIG_SERVER_NAME, E},
        {"server_name: [a]\n", "is not text", EMS_CONFIG_SERVER_NAME, E},
        {"server_name: https://example.org\n", "is not the name of a server",
         EMS_CONFIG_SERVER_NAME, E},
        {"server_name: example.org\n", "Synapse uses a hash of the signing key",
         EMS_CONFIG_MALFORMED, N},
        {"server_name: example.org\nregistration_shared_secret: x\n",
         "Synapse uses registration_shared_secret", EMS_CONFIG_MALFORMED, N},
        {"server_name: example.org\nregistration_shared_secret_path: /x\n",
         "Synapse uses registration_shared_secret", EMS_CONFIG_MALFORMED, N},
        {"server_name: example.org\nmacaroon_secret_key_path: /x\n", NULL, 0, 0},
        {NAME "form_secret: CHANGEME\n", "line 3: form_secret is still a placeholder",
         EMS_CONFIG_MALFORMED, W},
        {NAME "turn_shared_secret: <secret>\n", "turn_shared_secret is still a placeholder",
         EMS_CONFIG_MALFORMED, W},
        {NAME "registration_shared_secret: 1234\n", "registration_shared_secret is not text",
         EMS_CONFIG_MALFORMED, W},
        {NAME "password_config: {pepper: 42}\n", "password_config.pepper is not text",
         EMS_CONFIG_MALFORMED, W},
        {NAME "macaroon_secret_key_path: /a\n", "macaroon_secret_key and the same with _path",
         EMS_CONFIG_MALFORMED, E},
        {NAME "form_secret: a\nform_secret_path: /a\n", "form_secret and the same with _path",
         EMS_CONFIG_MALFORMED, E},
        {NAME "registration_shared_secret: a\nregistration_shared_secret_path: /a\n",
         "registration_shared_secret and the same with _path", EMS_CONFIG_MALFORMED, E},
        {NAME "turn_shared_secret: a\nturn_shared_secret_path: /a\n",
         "turn_shared_secret and the same with _path", EMS_CONFIG_MALFORMED, E},
        {NAME "worker_replication_secret: a\nworker_replication_secret_path: /a\n",
         "worker_replication_secret and the same", EMS_CONFIG_MALFORMED, E},
        {NAME "signing_key: ed25519 a_1 short\n", "signing_key cannot be read: line 1: the key",
         EMS_KEY_MALFORMED, E},
        {NAME "signing_key: {}\n", "signing_key is not text", EMS_CONFIG_MALFORMED, E},
        {NAME "old_signing_keys: [x]\n", "old_signing_keys is not a mapping", EMS_CONFIG_MALFORMED,
         E},
        {NAME "old_signing_keys: {'rsa:1': {key: " SEED ", expired_ts: 1}}\n",
         "rsa:1 is not of type ed25519", EMS_KEY_MALFORMED, E},
        {NAME "old_signing_keys: {'ed25519:1': {key: abc, expired_ts: 1}}\n",
         "ed25519:1 has no key of 43", EMS_KEY_MALFORMED, E},
        {NAME "old_signing_keys: {'ed25519:1': {key: " SEED "}}\n", "ed25519:1 has no expired_ts",
         EMS_KEY_MALFORMED, E},
        {NAME "old_signing_keys: {'ed25519:1': {key: " SEED ", expired_ts: 15}}\n",
         "line 3: old_signing_keys lists 1 keys", EMS_KEY_MALFORMED, N},
        {NAME "database: {name: mysql}\n", "engine 'mysql' is neither", EMS_CONFIG_MALFORMED, E},
        {NAME "database: {name: psycopg2}\ndatabases: {m: {name: psycopg2}}\n",
         "databases and database are both set", EMS_CONFIG_MALFORMED, E},
        {NAME "database_path: /x\ndatabases: {m: {name: sqlite3}}\n",
         "database_path and databases are both set", EMS_CONFIG_MALFORMED, E},
        {NAME "databases: {m: {name: psycopg2}, s: {name: psycopg2}}\n", "has 2 databases",
         EMS_CONFIG_MALFORMED, W},
        {NAME "media_storage_providers: [{module: s3_storage_provider.S3}]\n",
         "media_storage_providers is set (s3_storage_provider.S3)", EMS_CONFIG_MALFORMED, W},
        {NAME "media_storage_providers: []\n", NULL, 0, 0},
        {NAME "enable_local_media_storage: false\n", "enable_local_media_storage is off",
         EMS_CONFIG_MALFORMED, W},
        {NAME "enable_local_media_storage: true\n", NULL, 0, 0},
        {NAME "x: &a 1\nform_secret: *a\n", "form_secret is an alias", EMS_CONFIG_MALFORMED, W},
        {NAME "x: &a {form_secret: b}\n<<: *a\n", "brings in keys", EMS_CONFIG_MALFORMED, W},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ems_findings findings = {0};
        struct ems_config config;
        struct ems_error err;
        bool found = cases[i].says == NULL && findings.count == 0;

        ASSERT_CODE(parse(cases[i].text, &config, &err), EMS_OK);
        ems_config_judge_file(&config, &findings);
        ems_config_judge(&config, &findings);
        if (cases[i].says == NULL)
            found = findings.count == 0;
        for (size_t k = 0; cases[i].says != NULL && k < findings.count; k++) {
            const struct ems_finding *f = &findings.items[k];

            found |= f->code == cases[i].code && (int)f->severity == cases[i].severity &&
                     strstr(f->message, cases[i].says) != NULL &&
                     strcmp(f->artifact, "homeserver.yaml") == 0;
        }
        CU_ASSERT(found);
        if (!found) {
            printf("\n    case %zu: nothing says '%s', but:", i, cases[i].says);
            for (size_t k = 0; k < findings.count; k++)
                printf("\n        %s", findings.items[k].message);
        }
        ems_findings_release(&findings);
    }
}

static void test_malformed(void)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"a: b: c\n", "line 1: mapping values are not allowed"},
        {"server_name: x\n\tform_secret: y\n", "line 2: "},
        {"form_secret: 'open\n", "unexpected end of stream"},
        {"a: [1, 2\n", "line 2: "},
        {"a: 1\n---\nb: 2\n", "line 2: a second document begins"},
        {"a: !!python/object:os.system x\n", "line 1: a tag that Synapse does not take"},
        {"a: !vault x\n", "line 1: a tag that Synapse does not take"},
        {"a: !private [x]\n", "line 1: a tag that Synapse does not take"},
        {"a: b\x01\n", "control characters are not allowed"},
        {"a: \xff\n", "invalid leading UTF-8 octet"},
        {"a: *nothing\nb: c: d\n", "line 2: mapping values"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ems_config config;
        struct ems_error err;

        ASSERT_CODE(parse(cases[i].text, &config, &err), EMS_CONFIG_MALFORMED);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, cases[i].says));
        if (strstr(err.text, cases[i].says) == NULL)
            printf("\n    '%s' instead of '%s'", err.text, cases[i].says);
    }
}

static void repeat(struct ems_buf *buf, const char *text, int times)
{
    for (int i = 0; i < times; i++)
        ems_buf_append(buf, text, strlen(text), NULL);
}

static void test_limits(void)
{
    static const struct {
        const char *start, *text, *says;
        int times, code;
    } cases[] = {
        {"a: ", "[", "64 levels", 100, EMS_CONFIG_MALFORMED},
        {"a: ", "{b: ", "64 levels", 64, EMS_CONFIG_MALFORMED},
        {"a: &a 1\nb: [", "*a,", "64 aliases", 65, EMS_CONFIG_MALFORMED},
        {"a: &a 1\nb:\n", "- *a\n", NULL, 64, EMS_OK},
        {"a:\n", "- b\n", "a million", 1000000, EMS_CONFIG_MALFORMED},
        {"a: ", "xxxxxxxx", "4 MiB", 600000, EMS_CONFIG_MALFORMED},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ems_buf text = {0};
        struct ems_error err = {0};
        struct ems_config config;

        repeat(&text, cases[i].start, 1);
        repeat(&text, cases[i].text, cases[i].times);
        ASSERT_CODE(ems_config_parse(text.data, text.size, "x", &config, &err), cases[i].code);
        CU_ASSERT(cases[i].says == NULL || strstr(err.text, cases[i].says) != NULL);
        ems_buf_release(&text);
    }
}

static void test_values_and_merging(void)
{
    struct ems_config first, second, merged = {0};
    char text[EMS_CONFIG_SECRET_SIZE];
    struct ems_error err;

    ASSERT_CODE(
        parse("server_name: first.example\n"
              "signing_key: ed25519 a_1 " SEED "\n"
              "password_config: {enabled: true, pepper: \"p\xc3\xa4pper\"}\n"
              "database: {name: sqlite3, args: {database: /x}}\n"
              "form_secret_path: /etc/form\n"
              "old_signing_keys:\n"
              "  'ed25519:old': {key: " SEED ", expired_ts: 1576767829750}\n"
              "media_storage_providers:\n- {module: a.B, store_local: true}\n- module: c.D\n",
              &first, &err),
        EMS_OK);
    CU_ASSERT_STRING_EQUAL(first.signing_keys.items[0].id, "ed25519:a_1");
    CU_ASSERT_EQUAL(first.pepper.length, 6); /* characters, not bytes */
    CU_ASSERT_EQUAL(first.old_key_count, 1);
    CU_ASSERT_EQUAL(first.old_keys[0].expired_ts, 1576767829750);
    CU_ASSERT_EQUAL(first.one.sqlite, 1);
    CU_ASSERT_EQUAL(first.providers, 2);
    CU_ASSERT_STRING_EQUAL(first.provider, "a.B");
    CU_ASSERT_EQUAL(first.values[EMS_SETTING_DATABASE].line, 4);

    ASSERT_CODE(parse("server_name: second.example\npassword_config: {enabled: false}\n"
                      "database: {name: psycopg2}\n",
                      &second, &err),
                EMS_OK);
    ems_config_merge(&merged, &first);
    ems_config_merge(&merged, &second);
    CU_ASSERT_STRING_EQUAL(merged.values[EMS_SETTING_SERVER_NAME].text, "second.example");
    CU_ASSERT_EQUAL(merged.pepper.type, EMS_YAML_ABSENT); /* replaced whole, not mixed */
    CU_ASSERT_EQUAL(merged.one.sqlite, 0);
    CU_ASSERT_EQUAL(merged.one.postgres, 1);
    CU_ASSERT_EQUAL(merged.old_key_count, 1);
    CU_ASSERT_STRING_EQUAL(ems_config_secret_text(&merged.values[EMS_SETTING_FORM],
                                                  &merged.values[EMS_SETTING_FORM_PATH], text),
                           "from a file");
    CU_ASSERT_STRING_EQUAL(ems_config_secret_text(&first.pepper, NULL, text), "set (6 characters)");
    CU_ASSERT_STRING_EQUAL(ems_config_secret_text(&merged.pepper, NULL, text), "not set");
}

/* A nested key of the same name is not the setting; another program's file is not Synapse's. */
static void test_whose(void)
{
    static const struct {
        const char *text;
        bool synapse;
    } cases[] = {
        {NAME, true},
        {"signing_key_path: /x\n", true},
        {"trusted_key_servers:\n- server_name: matrix.org\n", false},
        {"repo: {bindAddress: 127.0.0.1}\ndatabase: {postgres: x}\n", false},
        {"version: 1\nformatters: {server_name: x}\n", false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ems_config config;
        struct ems_error err;

        ASSERT_CODE(parse(cases[i].text, &config, &err), EMS_OK);
        CU_ASSERT_EQUAL(ems_config_is_synapse(&config), cases[i].synapse);
    }
}

static void test_no_secret_is_kept(void)
{
    static const char text[] = "server_name: example.org\n"
                               "signing_key: ed25519 a_1 " SEED "\n"
                               "macaroon_secret_key: SeCrEt-1\nform_secret: SeCrEt-2\n"
                               "registration_shared_secret: SeCrEt-3\n"
                               "turn_shared_secret: SeCrEt-4\n"
                               "worker_replication_secret: [SeCrEt-5]\n"
                               "password_config: {pepper: SeCrEt-6}\n"
                               "database: {name: psycopg2, args: {password: SeCrEt-7}}\n";
    struct ems_findings findings = {0};
    struct ems_config config;
    struct ems_error err = {0};

    ASSERT_CODE(ems_config_parse(text, sizeof text - 1, "x", &config, &err), EMS_OK);
    CU_ASSERT_PTR_NULL(memmem(&config, sizeof config, "SeCrEt", 6));
    CU_ASSERT_PTR_NULL(memmem(&config, sizeof config, SEED, 10));
    ems_config_judge(&config, &findings);
    for (size_t i = 0; i < findings.count; i++)
        CU_ASSERT_PTR_NULL(strstr(findings.items[i].message, "SeCrEt"));
    CU_ASSERT_TRUE(findings.count > 0);
    ems_findings_release(&findings);
}

static void test_server_names(void)
{
    static const char *const good[] = {"example.org", "localhost",   "a-b.c",
                                       "1.2.3.4",     "x.y:8448",    "[::1]",
                                       "[::1]:80",    "EXAMPLE.org", "[2001:db8::1]:8448"};
    static const char *const bad[] = {
        "",     "a..b", "a.", ".a",     "a_b", "a b",          "a:",     "a:x",     "a:99999999",
        "[::1", "::1",  "[]", "[x::y]", "a/b", "\xc3\xa4.org", "a:b:80", "[::1]80", "a.org\n"};
    char long_name[300];

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        CU_ASSERT(ems_server_name_is_valid(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CU_ASSERT(!ems_server_name_is_valid(bad[i]));
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    CU_ASSERT(!ems_server_name_is_valid(long_name));
}

int main(void)
{
    static const struct ems_test tests[] = {
        {"a message for everything that is wrong", test_messages},
        {"texts that are refused", test_malformed},
        {"limits", test_limits},
        {"values, and several files", test_values_and_merging},
        {"whose file it is", test_whose},
        {"no secret is kept", test_no_secret_is_kept},
        {"server names", test_server_names},
    };

    if (ems_pgp_library_init(NULL) != EMS_OK)
        return 70;
    return ems_tests_run("config", tests, sizeof tests / sizeof tests[0]);
}
