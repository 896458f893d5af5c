/* Own newest events picked from rows that come cut anywhere, and their signatures: made here with
 * libgcrypt over text that is canonical by hand. */
#include "harness.h"

#include "base64.h"
#include "event_sample.h"
#include "pgp.h"
#include "signing_key.h"
#include "upload_check.h"

#include <gcrypt.h>

#define SEED "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"

static uint8_t seed[32];
static struct ems_signing_keys keys; /* ed25519:a_1 with that seed */

static bool in_earnest = true; /* false: a signature is made once and used for all */

static void sign(const char *message, char out[87])
{
    static char last[87];
    gcry_sexp_t key, data, signature, part;
    uint8_t bytes[64];
    size_t n;

    if (!in_earnest && last[0] != '\0') {
        memcpy(out, last, sizeof last);
        return;
    }
    if (gcry_sexp_build(&key, NULL, "(private-key(ecc(curve Ed25519)(flags eddsa)(q %b)(d %b)))",
                        32, keys.items[0].public_key, 32, seed) != 0 ||
        gcry_sexp_build(&data, NULL, "(data(flags eddsa)(hash-algo sha512)(value %b))",
                        (int)strlen(message), message) != 0 ||
        gcry_pk_sign(&signature, data, key) != 0)
        abort();
    part = gcry_sexp_find_token(signature, "r", 1);
    memcpy(bytes, gcry_sexp_nth_data(part, 1, &n), 32);
    gcry_sexp_release(part);
    part = gcry_sexp_find_token(signature, "s", 1);
    memcpy(bytes + 32, gcry_sexp_nth_data(part, 1, &n), 32);
    gcry_sexp_release(part);
    gcry_sexp_release(signature);
    gcry_sexp_release(data);
    gcry_sexp_release(key);
    ems_base64_encode(bytes, sizeof bytes, out);
    memcpy(last, out, sizeof last);
}

/* The row of an event, signed for real if the type is one that is verified. */
static void add_row(struct ems_buf *rows, const char *server, const char *type, unsigned ts,
                    const char *key_id)
{
    char message[400], signature[87];

    /* type and sender stand behind what sorts before them */
    snprintf(message, sizeof message,
             "{\"auth_events\":[\"$a\"],\"content\":{},\"depth\":5,\"hashes\":{\"sha256\":\"h\"},"
             "\"origin_server_ts\":%u,\"prev_events\":[],\"room_id\":\"!r\xc3\xa9:x\","
             "\"sender\":\"@al:%s\",\"type\":\"%s\"}",
             ts, server, type);
    sign(message, signature);
    ems_buf_printf(
        rows, NULL,
        "$%u\t!r:x\t{}\t{\"type\":\"%s\",\"sender\":\"@al:%s\",\"content\":{\"body\":"
        "\"a \\\\\"b\\\\\" \\\\u00fc\",\"n\":1.5},\"depth\":5,\"room_id\":\"!r\\\\u00e9:x\","
        "\"auth_events\":[\"$a\"],\"prev_events\":[],\"hashes\":{\"sha256\":\"h\"},"
        "\"origin_server_ts\":%u,\"signatures\":{\"%s\":{\"%s\":\"%s\"}},"
        "\"unsigned\":{\"age\":1}}\t3\n",
        ts, type, server, ts, server, key_id, signature);
}

static void pick(const struct ems_buf *rows, size_t chunk, struct ems_synapse *synapse)
{
    struct ems_event_samples *s = calloc(1, sizeof *s);

    snprintf(s->server, sizeof s->server, "example.org");
    ems_event_samples_begin(s, 3);
    for (size_t at = 0; at < rows->size; at += chunk) {
        size_t n = rows->size - at < chunk ? rows->size - at : chunk;

        ASSERT_CODE(ems_event_samples_rows(s, rows->data + at, n, NULL), EMS_OK);
    }
    ASSERT_CODE(ems_event_samples_end(s, NULL), EMS_OK);
    *synapse = (struct ems_synapse){.events = s};
}

static void test_picking(void)
{
    static const size_t chunks[] = {1, 7, 511, 4096, 65536, 1u << 20, SIZE_MAX / 2};

    in_earnest = false;
    for (int big = 0; big < 2; big++) {
        struct ems_buf rows = {0};
        int count = big ? 12000 : 100;

        /* Ours among others', and not in the order of time. */
        for (int i = 0; i < count; i++)
            add_row(&rows,
                    i % 3 == 0   ? "example.org"
                    : i % 3 == 1 ? "other.net"
                                 : "x.example.org",
                    i % 2 == 0 ? "m.room.message" : "m.room.member", 1000u + (unsigned)(i ^ 1),
                    "ed25519:a_1");
        for (size_t c = big ? 3 : 0; c < sizeof chunks / sizeof chunks[0]; c++) {
            struct ems_synapse synapse;

            pick(&rows, chunks[c], &synapse);
            CU_ASSERT_EQUAL(synapse.events->messages.count, EMS_EVENT_SAMPLES);
            CU_ASSERT_EQUAL(synapse.events->others.count, EMS_EVENT_SAMPLES);
            /* the newest of all: the last rows are always looked at */
            CU_ASSERT(synapse.events->messages.items[0].ts >= 1000u + (unsigned)count - 7);
            CU_ASSERT(synapse.events->others.items[0].ts >= 1000u + (unsigned)count - 7);
            for (size_t i = 0; i < EMS_EVENT_SAMPLES; i++) {
                const struct ems_event_sample *sample = &synapse.events->messages.items[i];
                struct ems_event_signature event;

                CU_ASSERT(ems_event_signature_read(sample, "example.org", &event));
                CU_ASSERT_EQUAL(event.ts, sample->ts);
                CU_ASSERT(i == 0 || sample->ts <= sample[-1].ts);
                ems_buf_release(&event.message);
            }
            ems_synapse_release(&synapse);
        }
        ems_buf_release(&rows);
    }
    in_earnest = true;
}

static void test_long_rows_are_passed_over(void)
{
    struct ems_synapse synapse;
    struct ems_buf rows = {0};

    for (int i = 0; i < 3; i++) {
        add_row(&rows, "example.org", "m.room.message", 10u + (unsigned)i, "ed25519:a_1");
        ems_buf_append(&rows, "x\ty\tz\t", 6, NULL);
        for (int k = 0; k < 9000; k++)
            ems_buf_append(&rows, "0123456789", 10, NULL);
        ems_buf_append(&rows, "\n", 1, NULL);
    }
    pick(&rows, 1000, &synapse);
    CU_ASSERT_EQUAL(synapse.events->messages.count, 3);
    CU_ASSERT_EQUAL(synapse.events->messages.items[0].ts, 12);
    ems_synapse_release(&synapse);
    ems_buf_release(&rows);
}

/* What is said about the key, for rows that were signed by it or not. */
static void test_verdicts(void)
{
    static const struct {
        const char *type, *id, *newest_id; /* of an earlier and of the newest event */
        bool break_them;
        enum ems_severity severity;
        const char *says;
    } cases[] = {
        {"m.room.message", "ed25519:a_1", "ed25519:a_1", false, EMS_SEVERITY_NOTE,
         "2 signatures of ed25519:a_1 verified"},
        {"m.room.encrypted", "ed25519:a_1", "ed25519:a_1", false, EMS_SEVERITY_NOTE, "verified"},
        {"m.reaction", "ed25519:a_1", "ed25519:a_1", false, EMS_SEVERITY_NOTE, "verified"},
        {"m.room.member", "ed25519:a_1", "ed25519:a_1", false, EMS_SEVERITY_NOTE,
         "without knowing the room's version"},
        {"m.room.message", "ed25519:a_1", "ed25519:a_1", true, EMS_SEVERITY_ERROR,
         "did not sign them (2 signatures tried)"},
        {"m.room.message", "ed25519:b", "ed25519:b", false, EMS_SEVERITY_ERROR,
         "signed with ed25519:b, but this is ed25519:a_1"},
        {"m.room.message", "ed25519:a_1", "ed25519:new", false, EMS_SEVERITY_WARNING,
         "older events are signed with ed25519:a_1, but the newest with ed25519:new"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ems_findings findings = {0};
        struct ems_synapse synapse;
        struct ems_buf rows = {0};
        bool found = false;

        add_row(&rows, "example.org", cases[i].type, 1, cases[i].id);
        add_row(&rows, "example.org", cases[i].type, 2, cases[i].newest_id);
        for (uint8_t *at = rows.data; cases[i].break_them && at != NULL; at++) {
            at = memmem(at, rows.size - (size_t)(at - rows.data), "\"depth\":5", 9);
            if (at == NULL)
                break;
            at[8] = '6';
        }
        pick(&rows, SIZE_MAX / 2, &synapse);
        ems_upload_check_key(&synapse, "example.org", &keys, "k", true, &findings);
        for (size_t k = 0; k < findings.count; k++)
            found |= findings.items[k].severity == cases[i].severity &&
                     findings.items[k].code == EMS_KEY_MISMATCH &&
                     strstr(findings.items[k].message, cases[i].says) != NULL;
        CU_ASSERT(found);
        if (!found && findings.count > 0)
            printf("\n    '%s' instead of '%s'", findings.items[0].message, cases[i].says);
        ems_findings_release(&findings);
        ems_synapse_release(&synapse);
        ems_buf_release(&rows);
    }
}

/* With the room's version known, events of every type are verified. */
static void test_room_versions(void)
{
    struct ems_findings findings = {0};
    struct ems_synapse synapse;
    struct ems_buf rows = {0};

    add_row(&rows, "example.org", "m.room.member", 1, "ed25519:a_1");
    pick(&rows, SIZE_MAX / 2, &synapse);
    ems_event_samples_room(synapse.events, "!other:x", 8, "9", 1);
    ems_event_samples_room(synapse.events, "!r:x", 4, "9", 1);
    CU_ASSERT_STRING_EQUAL(synapse.events->others.items[0].room_version, "");
    ems_event_samples_room(synapse.events, "!r\xc3\xa9:x", 6, "a-version-that-is-far-too-long", 30);
    CU_ASSERT_STRING_EQUAL(synapse.events->others.items[0].room_version, "");
    ems_event_samples_room(synapse.events, "!r\xc3\xa9:x", 6, "10", 2);
    CU_ASSERT_STRING_EQUAL(synapse.events->others.items[0].room_version, "10");
    ems_upload_check_key(&synapse, "example.org", &keys, "k", true, &findings);
    CU_ASSERT(findings.count == 1 &&
              strstr(findings.items[0].message, "1 signatures of ed25519:a_1 verified") != NULL);
    ems_synapse_release(&synapse);
    ems_findings_release(&findings);
    ems_buf_release(&rows);
}

/* The same event in each of the ways in which a database gives it. */
static void test_texts(void)
{
    static const struct {
        enum ems_event_text form;
        const char *text;
    } forms[] = {
        {EMS_EVENT_PLAIN, "{\"sender\":\"@a:b.c\",\"origin_server_ts\":5,\"x\":\"'\\n\\\\\"}"},
        {EMS_EVENT_COPY, "{\"sender\":\"@a:b.c\",\"origin_server_ts\":5,\"x\":\"'\\\\n\\\\\\\\\"}"},
        {EMS_EVENT_STRING, "{\"sender\":\"@a:b.c\",\"origin_server_ts\":5,\"x\":\"''\\n\\\\\"}"},
        {EMS_EVENT_ESTRING,
         "{\"sender\":\"@a:b.c\",\"origin_server_ts\":5,\"x\":\"''\\\\n\\\\\\\\\"}"},
    };

    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct ems_event_samples s = {.server = "b.c"};

        ASSERT_CODE(
            ems_event_samples_add(&s, forms[i].text, strlen(forms[i].text), forms[i].form, NULL),
            EMS_OK);
        CU_ASSERT_EQUAL_FATAL(s.others.count, 1);
        CU_ASSERT_EQUAL(s.others.items[0].size, strlen(forms[0].text));
        CU_ASSERT(memcmp(s.others.items[0].json, forms[0].text, strlen(forms[0].text)) == 0);
        ems_event_samples_release(&s);
    }
}

static void test_nothing_to_compare(void)
{
    static const struct ems_signing_keys none;
    struct ems_findings findings = {0};
    struct ems_synapse synapse;
    struct ems_buf rows = {0};

    add_row(&rows, "other.net", "m.room.message", 1, "ed25519:a_1");
    pick(&rows, 100, &synapse);
    ems_upload_check_key(&synapse, "example.org", &keys, "k", true, &findings);
    CU_ASSERT_EQUAL(findings.count, 1);
    CU_ASSERT(findings.count == 1 && strstr(findings.items[0].message, "no event of") != NULL);
    ems_upload_check_key(&synapse, "example.org", &none, NULL, true, &findings);
    CU_ASSERT_EQUAL(findings.count, 1);
    ems_synapse_release(&synapse);
    add_row(&rows, "example.org", "m.room.message", 1, "ed25519:a_1");
    pick(&rows, 100, &synapse);
    ems_upload_check_key(&synapse, "example.org", &none, NULL, true, &findings);
    CU_ASSERT(findings.count == 2 && findings.items[1].code == EMS_CONFIG_MISSING &&
              strstr(findings.items[1].message, "ed25519:a_1 is needed") != NULL);
    ems_synapse_release(&synapse);
    ems_findings_release(&findings);
    ems_buf_release(&rows);
}

/* Rows that only look like events. */
static void test_nonsense(void)
{
    static const char *const texts[] = {
        "",
        "{}",
        "[]",
        "null",
        "{\"sender\":\"@a:example.org\"}",
        "{\"sender\":\"@a:example.org\",\"type\":\"m\"}",
        "{\"sender\":\"@a:example.org\",\"type\":\"m\",\"signatures\":[]}",
        "{\"sender\":\"@a:example.org\",\"type\":\"m\",\"signatures\":{\"example.org\":{\"k\":1}}}",
        "{\"sender\":\"@a:b.c\",\"type\":\"m\",\"signatures\":{\"b.c\":{\"k\":\"\"}}}",
        "{\"sender\":1,\"type\":2}",
        "{\"a\":\\\\",
        "\\",
    };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct ems_event_sample sample = {
            .ts = 1, .json = strdup(texts[i]), .size = strlen(texts[i])};
        struct ems_event_signature event;

        CU_ASSERT(!ems_event_signature_read(&sample, "example.org", &event));
        CU_ASSERT_EQUAL(event.message.size, 0);
        free(sample.json);
    }
}

int main(void)
{
    static const struct ems_test tests[] = {
        {"the newest of ours are picked", test_picking},
        {"long rows are passed over", test_long_rows_are_passed_over},
        {"what signatures say about the key", test_verdicts},
        {"room versions", test_room_versions},
        {"events from COPY, INSERT and SQLite", test_texts},
        {"nothing to compare with", test_nothing_to_compare},
        {"what is no event", test_nonsense},
    };
    struct ems_error err = {0};

    if (ems_pgp_library_init(NULL) != EMS_OK || !ems_base64_decode(SEED, 43, seed, 32) ||
        ems_signing_keys_parse("ed25519 a_1 " SEED, 12 + 43, &keys, &err) != EMS_OK)
        return 70;
    return ems_tests_run("event_sample", tests, sizeof tests / sizeof tests[0]);
}
