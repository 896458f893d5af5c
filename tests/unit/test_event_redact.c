/* What of an event is signed, by room version: against events of a real Synapse, and rule by rule.
 */
#include "harness.h"

#include "event_redact.h"

#include <gcrypt.h>

/* Unpadded base64 for URLs. */
static void to_base64url(const uint8_t *data, size_t size, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    for (size_t bit = 0; bit < 8 * size; bit += 6) {
        unsigned value = (unsigned)data[bit / 8] << 8;

        if (bit / 8 + 1 < size)
            value |= data[bit / 8 + 1];
        *out++ = digits[value >> (10 - bit % 8) & 63];
    }
    *out = '\0';
}

/* From room version 4 on an event's id is "$" and the SHA-256 of the very bytes that are signed
 * (server-server API, "Reference Hashes"): so Synapse itself says whether we have them right. */
static void test_real_events(void)
{
    const char *path = getenv("EMS_EVENTS") != NULL ? getenv("EMS_EVENTS") : "fixtures/events.tsv";
    FILE *file = fopen(path, "r");
    unsigned count = 0, wrong_version = 0;
    size_t room = 0;
    char *line = NULL;

    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    while (getline(&line, &room, file) > 0) {
        char *id = strtok(line, "\t"), *version = strtok(NULL, "\t"), *json = strtok(NULL, "\n");
        struct ems_buf message = {0}, other = {0};
        uint8_t hash[32];
        char text[50] = "$";
        json_t *event = json_loads(json, 0, NULL);

        CU_ASSERT_PTR_NOT_NULL_FATAL(event);
        ems_event_redact(event, version, &message);
        gcry_md_hash_buffer(GCRY_MD_SHA256, hash, message.data, message.size);
        to_base64url(hash, sizeof hash, text + 1);
        if (atoi(version) >= 4) {
            CU_ASSERT_STRING_EQUAL(text, id);
            count++;
        }
        ems_event_redact(event, atoi(version) >= 11 ? "1" : "11", &other);
        wrong_version += other.size != message.size;
        ems_buf_release(&message);
        ems_buf_release(&other);
        json_decref(event);
    }
    CU_ASSERT(count >= 20);
    CU_ASSERT(wrong_version >= 5); /* the versions do differ in these events */
    free(line);
    fclose(file);
}

/* Is `needle` in what is left of the event in a room of this version? -1: nothing can be said. */
static int keeps(const char *json, const char *version, const char *needle)
{
    json_t *event = json_loads(json, 0, NULL);
    struct ems_buf message = {0};
    int found = -1;

    CU_ASSERT_PTR_NOT_NULL_FATAL(event);
    ems_event_redact(event, version, &message);
    if (message.size > 0)
        found = memmem(message.data, message.size, needle, strlen(needle)) != NULL;
    ems_buf_release(&message);
    json_decref(event);
    return found;
}

static void test_rules(void)
{
    static const struct {
        const char *type, *content, *needle;
        unsigned first, last; /* versions that keep it; 0, 0: none */
    } rules[] = {
        {"m.room.member", "\"membership\":\"join\"", "\"membership\":\"join\"", 1, 12},
        {"m.room.member", "\"displayname\":\"A\"", "displayname", 0, 0},
        {"m.room.member", "\"join_authorised_via_users_server\":\"@a:b\"", "join_authorised", 9,
         12},
        {"m.room.member", "\"third_party_invite\":{\"signed\":{\"a\":1},\"x\":2}",
         "\"third_party_invite\":{\"signed\":{\"a\":1}}", 11, 12},
        {"m.room.create", "\"creator\":\"@a:b\"", "creator", 1, 12},
        {"m.room.create", "\"room_version\":\"9\"", "room_version", 11, 12},
        {"m.room.join_rules", "\"join_rule\":\"x\"", "join_rule\"", 1, 12},
        {"m.room.join_rules", "\"allow\":[]", "allow", 8, 12},
        {"m.room.power_levels", "\"users_default\":1", "users_default", 1, 12},
        {"m.room.power_levels", "\"invite\":1", "invite", 11, 12},
        {"m.room.power_levels", "\"notifications\":{}", "notifications", 0, 0},
        {"m.room.aliases", "\"aliases\":[]", "\"aliases\":", 1, 5},
        {"m.room.history_visibility", "\"history_visibility\":\"x\"", "\"history_visibility\":", 1,
         12},
        {"m.room.redaction", "\"redacts\":\"$x\"", "redacts", 11, 12},
        {"m.room.message", "\"body\":\"x\"", "body", 0, 0},
    };
    char json[400], version[8];

    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        snprintf(json, sizeof json, "{\"type\":\"%s\",\"sender\":\"@a:b\",\"content\":{%s}}",
                 rules[i].type, rules[i].content);
        for (unsigned v = 1; v <= 12; v++) {
            int want = v >= rules[i].first && v <= rules[i].last;

            snprintf(version, sizeof version, "%u", v);
            CU_ASSERT_EQUAL(keeps(json, version, rules[i].needle), want);
            if (keeps(json, version, rules[i].needle) != want)
                printf("\n    %s in %s, version %u", rules[i].needle, rules[i].type, v);
        }
    }
    /* top-level keys */
    static const char event[] = "{\"type\":\"m.room.create\",\"origin\":\"o\",\"prev_state\":[],"
                                "\"membership\":\"m\",\"room_id\":\"!r\",\"unsigned\":{},"
                                "\"signatures\":{},\"redacts\":\"r\",\"age_ts\":1,\"content\":{}}";
    static const char *const old[] = {"origin", "prev_state", "membership"};
    static const char *const never[] = {"unsigned", "signatures", "redacts", "age_ts"};

    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(keeps(event, "10", old[i]), 1);
        CU_ASSERT_EQUAL(keeps(event, "11", old[i]), 0);
    }
    for (size_t i = 0; i < 4; i++)
        CU_ASSERT(keeps(event, "10", never[i]) == 0 && keeps(event, "11", never[i]) == 0);
    CU_ASSERT_EQUAL(keeps(event, "11", "room_id"), 1);
    CU_ASSERT_EQUAL(keeps(event, "12", "room_id"), 0);
}

static void test_nothing_certain(void)
{
    static const char *const unknown[] = {NULL, "", "0", "13", "1x", "-1", "org.matrix.msc2176"};
    static const char message[] = "{\"type\":\"m.room.message\",\"content\":{\"body\":1.5}}";
    static const char member[] = "{\"type\":\"m.room.member\",\"content\":{}}";

    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        CU_ASSERT_EQUAL(keeps(message, unknown[i], "content\":{}"), 1);
        CU_ASSERT_EQUAL(keeps(member, unknown[i], ""), -1);
    }
    CU_ASSERT_EQUAL(keeps("{\"content\":{}}", "9", ""), -1);
    CU_ASSERT_EQUAL(keeps("{\"type\":\"m\",\"depth\":1.5}", "1", ""), -1);
    CU_ASSERT_EQUAL(keeps("{\"type\":\"m\",\"hashes\":[{\"a\":[1e3]}]}", "1", ""), -1);
    CU_ASSERT_EQUAL(keeps("{\"type\":\"m\",\"content\":7}", "9", "\"content\":{}"), 1);
}

/* Sorted, no blanks, UTF-8, short escapes and small hex digits (specification, "Canonical JSON").
 */
static void test_canonical(void)
{
    static const char json[] =
        "{ \"type\": \"m\", \"state_key\": \"\\u00e9\\u001F\\u001f\\n\\\\u001F/\\u007f\","
        " \"depth\": 9007199254740991, \"sender\": \"\\ud83d\\ude00\", \"content\": {\"a\": 1} }";
    static const char want[] =
        "{\"content\":{},\"depth\":9007199254740991,\"sender\":\"\xf0\x9f\x98\x80\","
        "\"state_key\":\"\xc3\xa9\\u001f\\u001f\\n\\\\u001F/\x7f\",\"type\":\"m\"}";
    json_t *event = json_loads(json, 0, NULL);
    struct ems_buf message = {0};

    CU_ASSERT_PTR_NOT_NULL_FATAL(event);
    ems_event_redact(event, "6", &message);
    CU_ASSERT_EQUAL(message.size, sizeof want - 1);
    CU_ASSERT(message.size == sizeof want - 1 && memcmp(message.data, want, message.size) == 0);
    ems_buf_release(&message);
    json_decref(event);
}

EMS_TESTS("event_redact", {"events of a real Synapse", test_real_events},
          {"what each version keeps", test_rules}, {"nothing certain", test_nothing_certain},
          {"canonical JSON", test_canonical})
