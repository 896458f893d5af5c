/* Media exports: manifest.json as a stream, both sides joined, inner archives, threads. What each
 * rule says is in tests/tool/test_media_export.sh. */
#include "export_maker.h"
#include "harness.h"

#include "media_export.h"
#include "media_index.h"
#include "media_manifest.h"
#include "pgp.h"

/* ---- manifest.json ---- */

struct entries {
    unsigned count;
    char uri[200], file_name[200], uploader[200], problem[200];
    uint64_t size, created_ms;
    uint8_t sha256[32];
    bool in_s3;
};

/* Keeps the last one. */
static int keep_entry(void *context, const struct ems_media_entry *e, struct ems_error *err)
{
    struct entries *k = context;

    (void)err;
    k->count++;
    snprintf(k->uri, sizeof k->uri, "%s", e->uri);
    snprintf(k->file_name, sizeof k->file_name, "%s", e->file_name);
    snprintf(k->uploader, sizeof k->uploader, "%s", e->uploader);
    snprintf(k->problem, sizeof k->problem, "%s", e->problem != NULL ? e->problem : "");
    k->size = e->size;
    k->created_ms = e->created_ms;
    memcpy(k->sha256, e->sha256, 32);
    k->in_s3 = e->in_s3;
    return EMS_OK;
}

static int parse(const char *text, size_t piece, struct entries *k,
                 struct ems_media_manifest_facts *facts, struct ems_error *err)
{
    struct ems_media_manifest *m = ems_media_manifest_new(keep_entry, k, err);
    size_t size = strlen(text);
    int rc = EMS_OK;

    for (size_t n; size > 0 && rc == EMS_OK; text += n, size -= n) {
        n = piece > 0 && piece < size ? piece : size;
        rc = ems_media_manifest_feed(m, text, n, err);
    }
    if (rc == EMS_OK)
        rc = ems_media_manifest_finish(m, err);
    *facts = *ems_media_manifest_facts(m);
    ems_media_manifest_free(m);
    return rc;
}

#define HEX "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eFF"
#define DOCUMENT(media)                                                                            \
    "{\"version\":2,\"entity_id\":\"a.b\",\"created_ts\":7,\"media\":{" media "}}\n"
#define FIELDS                                                                                     \
    "\"file_name\":\"a.b__idididid.png\",\"size_bytes\":5,\"sha256\":\"" HEX                       \
    "\",\"origin\":\"a.b\",\"media_id\":\"idididid\""
#define ENTRY(fields) DOCUMENT("\"mxc://a.b/idididid\":{" fields "}")

static void test_manifest(void)
{
    static const char text[] =
        ENTRY("\"name\":\"x\",\"more\":[{\"media_id\":\"no\"}],\"s3_url\":\"s3://x\","
              "\"created_ts\":9,\"uploader\":\"@c:a.b\"," FIELDS);

    for (size_t piece = 0; piece < 4; piece++) {
        struct entries k = {0};
        struct ems_error err = {0};
        struct ems_media_manifest_facts facts;

        ASSERT_CODE(parse(text, piece, &k, &facts, &err), EMS_OK);
        CU_ASSERT_EQUAL(k.count, 1);
        CU_ASSERT_STRING_EQUAL(k.problem, "");
        CU_ASSERT_STRING_EQUAL(k.uri, "mxc://a.b/idididid");
        CU_ASSERT_STRING_EQUAL(k.file_name, "a.b__idididid.png");
        CU_ASSERT_STRING_EQUAL(k.uploader, "@c:a.b");
        CU_ASSERT(k.size == 5 && k.created_ms == 9 && k.in_s3);
        CU_ASSERT(k.sha256[0] == 0 && k.sha256[30] == 0x1e && k.sha256[31] == 0xff);
        CU_ASSERT(facts.version == 2 && facts.created_ms == 7 && facts.entries == 1);
        CU_ASSERT_STRING_EQUAL(facts.entity, "a.b");
    }
}

/* One bad document a message; "" where the document is good and its media is not. */
static void test_manifest_messages(void)
{
    static const struct {
        const char *text, *error, *problem;
    } table[] = {
        {"[]", "it is no object", ""},
        {"17", "it is no object", ""},
        {"{\"version\":2}", "it does not say which server it is of (entity_id)", ""},
        {"{\"entity_id\":\"a\",\"media\":{}}", "it does not say of which version it is", ""},
        {"{\"version\":3,\"entity_id\":\"a\",\"media\":{}}",
         "it is of another version than 1 and 2", ""},
        {"{\"version\":-2,\"entity_id\":\"a\",\"media\":{}}",
         "it is of another version than 1 and 2", ""},
        {"{\"version\":2.0}", "its version cannot be right", ""},
        {"{\"version\":18446744073709551618}", "its version cannot be right", ""},
        {"{\"version\":\"2\"}", "its version is of the wrong type", ""},
        {"{\"version\":{}}", "its version is of the wrong type", ""},
        {"{\"version\":2,\"VERSION\":2}", "it says twice what its version is", ""},
        {"{\"media\":{},\"media\":{}}", "it says twice what its media is", ""},
        {"{\"media\":[]}", "its media is of the wrong type", ""},
        {"{\"entity_id\":\"a\\u0000b\"}", "its entity_id cannot be right", ""},
        {"{\"version\":2,\"entity_id\":null,\"media\":{}}",
         "it does not say which server it is of (entity_id)", ""},
        {"{\"version\":2,\"user_id\":\"a\",\"media\":{}}",
         "it does not say which server it is of (entity_id)", ""},
        {"{\"version\":2,\"entity_id\":\"a\",\"media\":null}", "it has no list of media", ""},
        {"{\"version\":2", "byte 12: the document is cut", ""},
        {ENTRY(FIELDS), "", ""},
        {DOCUMENT("\"mxc://a.b/idididid\":null"), "", "it is no object"},
        {DOCUMENT("\"mxc://a.b/idididid\":[{" FIELDS "}]"), "", "it is no object"},
        {DOCUMENT("\"mxc://a.b/ididididi\":{" FIELDS "}"), "",
         "its origin and media_id are not those of its name, and the importer would skip it"},
        {DOCUMENT("\"mxc://a.bxidididid\":{" FIELDS "}"), "",
         "its origin and media_id are not those of its name, and the importer would skip it"},
        {DOCUMENT("\"\":{" FIELDS "}"), "",
         "its origin and media_id are not those of its name, and the importer would skip it"},
        {DOCUMENT("\"mxc://a.b/id\\u0000id\":{" FIELDS "}"), "",
         "its name is too long or has a NUL in it"},
        {ENTRY(""), "", "it has no file_name"},
        {ENTRY("\"file_name\":\"f\",\"origin\":\"o\""), "", "it has no media_id"},
        {ENTRY("\"file_name\":\"f\",\"origin\":\"o\",\"media_id\":\"m\""), "", "it has no sha256"},
        {ENTRY("\"file_name\":\"f\",\"origin\":\"o\",\"media_id\":\"m\",\"sha256\":\"" HEX "\""),
         "", "it has no size_bytes"},
        {ENTRY("\"size_bytes\":-1," FIELDS), "", "a field of it comes twice"},
        {ENTRY("\"Sha256\":\"\"," FIELDS), "", "a field of it comes twice"},
        {ENTRY("\"uploader\":17," FIELDS), "", "a field of it is of the wrong type"},
        {ENTRY("\"uploader\":[\"x\"]," FIELDS), "", "a field of it is of the wrong type"},
        {ENTRY("\"uploader\":\"a\\u0000\"," FIELDS), "",
         "a text in it is too long or has a NUL in it"},
        {ENTRY("\"created_ts\":1e3," FIELDS), "", "a number in it is no integer of 64 bits"},
        {ENTRY("\"created_ts\":9223372036854775808," FIELDS), "",
         "a number in it is no integer of 64 bits"},
        {ENTRY("\"created_ts\":9223372036854775807,\"uploader\":null," FIELDS), "", ""},
        {ENTRY("\"created_ts\":-1," FIELDS), "", ""},
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        for (size_t piece = 0; piece < 2; piece++) {
            struct entries k = {0};
            struct ems_error err = {0};
            struct ems_media_manifest_facts facts;
            int rc = parse(table[i].text, piece, &k, &facts, &err);

            ASSERT_CODE(rc, table[i].error[0] != '\0' ? EMS_MEDIA_BAD_MANIFEST : EMS_OK);
            if (strcmp(err.text, table[i].error) != 0 || strcmp(k.problem, table[i].problem) != 0)
                printf("\n    %s: '%s' '%s'", table[i].text, err.text, k.problem);
            CU_ASSERT_STRING_EQUAL(err.text, table[i].error);
            CU_ASSERT_STRING_EQUAL(k.problem, table[i].problem);
        }
    }
}

/* A text that is longer than any honest one: the media is bad, the rest goes on. */
static void test_manifest_long(void)
{
    struct ems_buf text = {0};
    struct entries k = {0};
    struct ems_error err = {0};
    struct ems_media_manifest_facts facts;

    ems_buf_printf(
        &text, NULL,
        "{\"version\":2,\"entity_id\":\"a\",\"media\":{\"%0*d\":{},\"x\":{\"name\":\"%0*d\","
        "\"file_name\":\"%0*d\"}}}",
        (int)EMS_MEDIA_TEXT_MAX + 1, 0, 500000, 0, (int)EMS_MEDIA_TEXT_MAX + 1, 0);
    ASSERT_CODE(parse((char *)text.data, 0, &k, &facts, &err), EMS_OK);
    CU_ASSERT_EQUAL(k.count, 2);
    CU_ASSERT_STRING_EQUAL(k.problem, "a text in it is too long or has a NUL in it");
    CU_ASSERT_STRING_EQUAL(k.file_name, "");
    ems_buf_release(&text);
}

/* ---- the join ---- */

static void name_of(char *name, char *id, unsigned i)
{
    sprintf(id, "%024u", i * 2654435761u);
    sprintf(name, "example.org__%s.png", id);
}

/* Many of them, in all four ways: entry first, file first, one side only. And what they cost. */
static void test_join(void)
{
    enum { MANY = 40000 };
    struct ems_media_ids ids = {0};
    struct ems_error err = {0};
    struct ems_media_index *x = ems_media_index_new(&ids, &err);
    uint8_t sha256[32] = {0};
    char name[64], id[32], shown[300];
    struct ems_media_seen seen;
    unsigned lost = 0, extra = 0;

    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < MANY; i++) {
            struct ems_media_entry entry = {.uri = "",
                                            .file_name = name,
                                            .origin = "example.org",
                                            .media_id = id,
                                            .uploader = "",
                                            .size = i};
            bool entries = (i % 2 == 0) == (round == 0);

            name_of(name, id, i);
            memcpy(sha256, &i, sizeof i);
            memcpy(entry.sha256, sha256, 32);
            if (i % 100 == (round == 0 ? 98 : 96)) /* no entry; no file */
                continue;
            if (entries)
                ASSERT_CODE(ems_media_index_entry(x, &entry, &seen, &err), EMS_OK);
            else
                ASSERT_CODE(ems_media_index_file(x, name, i, sha256, &seen, &err), EMS_OK);
            if (round == 1 && (seen.entry || seen.file)) {
                CU_ASSERT_EQUAL(seen.entry, !entries);
                CU_ASSERT(seen.size == i && memcmp(seen.sha256, sha256, 32) == 0);
            }
        }
    }
    CU_ASSERT_EQUAL(ems_media_index_count(x), MANY);
    for (size_t i = 0; i < ems_media_index_count(x); i++) {
        struct ems_media_state state = ems_media_index_state(x, i);

        lost += state.entry && !state.file ? 1 : 0;
        extra += state.file && !state.entry ? 1 : 0;
        ems_media_index_name(x, i, shown, sizeof shown);
        CU_ASSERT_EQUAL(strlen(shown), state.entry ? 24 : strlen(name));
    }
    CU_ASSERT_EQUAL(lost, MANY / 100);
    CU_ASSERT_EQUAL(extra, MANY / 100);
    CU_ASSERT(ids.records.size <= 84u * MANY);
    ems_media_index_finish(x);
    ems_media_index_free(x);
    CU_ASSERT_EQUAL(ids.count, MANY - extra);
    for (unsigned i = 0; i < MANY; i++) {
        size_t at;

        name_of(name, id, i);
        at = ems_media_ids_find(&ids, id, 24);
        if (at == SIZE_MAX) {
            extra--;
            continue;
        }
        CU_ASSERT_EQUAL(ems_media_ids_get(&ids, at).size, i);
        CU_ASSERT(memcmp(ems_media_ids_get(&ids, at).sha256, &i, sizeof i) == 0);
    }
    CU_ASSERT_EQUAL(extra, 0);
    ems_media_ids_release(&ids);
}

/* Previews are told from media by their ids: nobody misses them. */
static void test_previews(void)
{
    static const struct {
        const char *id;
        bool preview;
    } table[] = {{"2020-12-31_abc", true},
                 {"2020-12-31", false},
                 {"202x-12-31_abc", false},
                 {"abcdefghijklmnop", false},
                 {"2020_12_31_abc", false}};
    struct ems_media_ids ids = {0};
    struct ems_error err = {0};
    struct ems_media_index *x = ems_media_index_new(&ids, &err);
    struct ems_media_seen seen;

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct ems_media_entry entry = {.uri = "",
                                        .file_name = table[i].id,
                                        .origin = "",
                                        .media_id = table[i].id,
                                        .uploader = ""};

        ASSERT_CODE(ems_media_index_entry(x, &entry, &seen, &err), EMS_OK);
        CU_ASSERT_EQUAL(ems_media_ids_get(&ids, i).url_cache, table[i].preview);
    }
    ems_media_index_free(x);
    ems_media_ids_release(&ids);
}

/* ---- the walk ---- */

struct outcome {
    int code, refused;
    struct ems_findings findings;
    struct ems_facts facts;
    struct ems_artifact artifact;
    struct ems_error err;
};

static uint64_t fact(const struct outcome *o, const char *name)
{
    for (size_t i = 0; i < o->facts.count; i++)
        if (strcmp(o->facts.items[i].name, name) == 0)
            return o->facts.items[i].number;
    return UINT64_MAX;
}

static void walk_source(struct ems_source *src, bool no_threads, ems_tick_fn *tick, void *context,
                        struct outcome *o)
{
    struct ems_check_options check = {
        .no_threads = no_threads, .tick = tick, .tick_context = context};
    struct ems_walk_result result;
    struct ems_walker *walker;
    struct ems_walk_options options = {.artifact = "x", .walkers = &walker, .walker_count = 1};
    struct ems_tar *tar = ems_tar_open(src, &o->err);
    static char name[] = "x";

    o->artifact.name = name;
    walker = ems_media_export_open(&o->artifact, &check, &o->err);
    o->code = ems_archive_walk(tar, &options, &result, &o->findings, &o->facts, &o->err);
    o->refused = result.refused;
    walker->ops->free(walker);
    ems_tar_free(tar);
}

static void walk(const struct ems_buf *tar, size_t chunk, bool no_threads, struct outcome *o)
{
    *o = (struct outcome){0};
    walk_source(ems_test_source_open(tar->data, tar->size, chunk, 0, 0), no_threads, NULL, NULL, o);
}

static void outcome_release(struct outcome *o)
{
    ems_findings_release(&o->findings);
    ems_facts_release(&o->facts);
    ems_media_ids_release(&o->artifact.media_ids);
}

/* Three parts, the last one empty; the second is worth a thread. */
static struct ems_buf make_export(bool manifest_first, size_t large)
{
    struct ems_buf outer = {0}, inner = {0}, json = {0}, data = {0}, head = {0};
    static const char *const ids[] = {"aaaaaaaa", "bbbbbbbb", "cccccccc"};
    char name[64];

    ems_buf_printf(&json, NULL,
                   "{\"version\":2,\"entity_id\":\"example.org\",\"created_ts\":1,\"media\":{");
    for (unsigned i = 0; i < 3; i++) {
        for (size_t k = 0; k < (i == 2 ? large : 100 * i); k++) {
            uint8_t c = (uint8_t)((k * 2654435761u >> 13) ^ k >> 3);

            ems_buf_append(&data, &c, 1, NULL);
        }
        snprintf(name, sizeof name, "example.org__%s.bin", ids[i]);
        maker_entry(&json, ids[i], name, &data);
        maker_member(&inner, name, &data);
        data.size = 0;
        if (i == 1)
            maker_inner(&outer, "export-part-1.tgz", &inner);
    }
    maker_inner(&outer, "export-part-2.tgz", &inner);
    maker_inner(&outer, "export-part-3.tgz", &inner);
    ems_buf_printf(&json, NULL, "}}\n");
    maker_member(&inner, "manifest.json", &json);
    maker_file(&inner, "index.html", "<html></html>");
    maker_inner(&head, "export-manifest.tgz", &inner);
    if (manifest_first) {
        ems_buf_append(&head, outer.data, outer.size, NULL);
        ems_buf_release(&outer);
        outer = head;
    } else {
        ems_buf_append(&outer, head.data, head.size, NULL);
        ems_buf_release(&head);
    }
    maker_zeros(&outer, 2);
    ems_buf_release(&inner);
    ems_buf_release(&json);
    ems_buf_release(&data);
    return outer;
}

static void test_good(void)
{
    for (int first = 0; first < 2; first++) {
        struct ems_buf tar = make_export(first, 3000000);

        for (size_t i = 0; i < EMS_TEST_CHUNKS + 2; i++) {
            struct outcome o;

            if (i < 3)
                continue; /* of megabytes in small pieces nothing is learnt: see test_small */
            walk(&tar, i < EMS_TEST_CHUNKS ? ems_test_chunks[i] : 65536, i == EMS_TEST_CHUNKS, &o);
            ASSERT_CODE(o.code, EMS_END);
            ASSERT_CODE(o.refused, EMS_OK);
            CU_ASSERT_EQUAL(fact(&o, "files"), 3);
            CU_ASSERT_EQUAL(fact(&o, "verified"), 3);
            CU_ASSERT_EQUAL(fact(&o, "parts"), 3);
            CU_ASSERT_EQUAL(fact(&o, "bytes"), 3000100);
            CU_ASSERT_EQUAL(fact(&o, "largest"), 3000000);
            CU_ASSERT_EQUAL(fact(&o, "empty"), 1);
            CU_ASSERT_EQUAL(o.artifact.media_ids.count, 3);
            CU_ASSERT_STRING_EQUAL(o.artifact.media_server, "example.org");
            outcome_release(&o);
        }
        ems_buf_release(&tar);
    }
}

/* Whatever the spans; every beginning of it fails; no changed byte in it goes unnoticed but those
 * that mean nothing (of headers: times, owners, names of gzip). */
static void test_small(void)
{
    struct ems_buf tar = make_export(true, 700);
    struct outcome o;
    unsigned verified = 0;

    for (size_t i = 0; i < EMS_TEST_CHUNKS; i++) {
        walk(&tar, ems_test_chunks[i], i % 2 == 0, &o);
        ASSERT_CODE(o.code, EMS_END);
        ASSERT_CODE(o.refused, EMS_OK);
        outcome_release(&o);
    }
    for (size_t n = 0; n < tar.size; n += 97) {
        struct ems_buf cut = {.data = tar.data, .size = n};

        walk(&cut, 0, true, &o);
        ASSERT_CODE(o.code, EMS_TAR_TRUNCATED);
        outcome_release(&o);
    }
    for (size_t at = 0; at < tar.size; at += 3) {
        tar.data[at] ^= 1;
        walk(&tar, 0, true, &o);
        if (o.code == EMS_END && o.refused == EMS_OK) {
            CU_ASSERT_EQUAL(fact(&o, "verified"), 3);
            verified++;
        }
        outcome_release(&o);
        tar.data[at] ^= 1;
    }
    CU_ASSERT(verified < tar.size / 3 / 2);
    ems_buf_release(&tar);
}

/* A failure below comes out unchanged from wherever it strikes, with and without threads. */
static void test_failing_source(void)
{
    struct ems_buf tar = make_export(false, 1500000);

    for (unsigned k = 1; k < 40; k += 3) {
        for (int threads = 0; threads < 2; threads++) {
            struct outcome o = {0};

            walk_source(
                ems_test_source_open(tar.data, tar.size, tar.size / 40, k, EMS_PGP_MODIFIED),
                threads == 0, NULL, NULL, &o);
            ASSERT_CODE(o.code, EMS_PGP_MODIFIED);
            CU_ASSERT_STRING_EQUAL(o.err.text, "planned failure");
            CU_ASSERT_EQUAL(o.findings.count, 0);
            outcome_release(&o);
        }
    }
    ems_buf_release(&tar);
}

static int stop_at(void *context, struct ems_error *err)
{
    return --*(int *)context == 0 ? ems_fail(err, EMS_IO_ERROR, "interrupted") : EMS_OK;
}

static void test_interrupted(void)
{
    struct ems_buf tar = make_export(true, 1500000);

    for (int threads = 0; threads < 2; threads++) {
        for (int k = 1; k < 6; k++) {
            struct outcome o = {0};
            int left = k;

            walk_source(ems_test_source_open(tar.data, tar.size, 0, 0, 0), threads == 0, stop_at,
                        &left, &o);
            ASSERT_CODE(o.code, EMS_IO_ERROR);
            CU_ASSERT_STRING_EQUAL(o.err.text, "interrupted");
            outcome_release(&o);
        }
    }
    ems_buf_release(&tar);
}

static bool says(const struct outcome *o, int code, const char *text)
{
    for (size_t i = 0; i < o->findings.count; i++)
        if (o->findings.items[i].code == code && strstr(o->findings.items[i].message, text) != NULL)
            return true;
    return false;
}

/* Members that no exporter writes, and bombs. */
static void test_hostile(void)
{
    static const struct {
        struct tar_header header;
        int code;
        const char *message;
    } table[] = {
        {{.name = "l", .flag = '2', .target = "/etc/passwd"}, EMS_TAR_UNSAFE_TYPE, "no plain file"},
        {{.name = "l", .flag = '1', .target = "x"}, EMS_TAR_UNSAFE_TYPE, "no plain file"},
        {{.name = "d", .flag = '3'}, EMS_TAR_UNSAFE_TYPE, "no plain file"},
        {{.name = "d/e"}, EMS_MEDIA_UNSAFE_NAME, "a slash"},
        {{.name = "/abs"}, EMS_MEDIA_UNSAFE_NAME, "absolute"},
        {{.name = "a\033[2J"}, EMS_MEDIA_UNSAFE_NAME, "control bytes"},
        {{.name = "example.org__extra"}, EMS_MEDIA_EXTRA, "example.org__extra is not in"},
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct ems_buf tar = make_export(true, 10), inner = {0}, outer = {0};
        struct outcome o;

        maker_header(&inner, table[i].header);
        maker_inner(&outer, "export-part-4.tgz", &inner);
        tar.size -= 1024;
        ems_buf_append(&tar, outer.data, outer.size, NULL);
        maker_zeros(&tar, 2);
        walk(&tar, 0, true, &o);
        ASSERT_CODE(o.code, EMS_END);
        if (!says(&o, table[i].code, table[i].message))
            printf("\n    %s: not '%s'", table[i].header.name, table[i].message);
        CU_ASSERT(says(&o, table[i].code, table[i].message));
        outcome_release(&o);
        ems_buf_release(&tar);
        ems_buf_release(&inner);
        ems_buf_release(&outer);
    }
}

/* Twenty small bombs: together they are a large one, and nothing more is inflated. */
static void test_bombs(void)
{
    enum { SIZE = 64 << 20 };
    struct ems_buf outer = {0}, inner = {0};
    struct ems_buf zeros = {.data = calloc(1, SIZE), .size = SIZE}, packed;
    struct outcome o;
    char name[64];

    maker_member(&inner, "example.org__zeros", &zeros);
    maker_zeros(&inner, 2);
    packed = maker_gzip(&inner, "bomb");
    for (unsigned i = 1; i <= 20; i++) {
        snprintf(name, sizeof name, "export-part-%u.tgz", i);
        maker_member(&outer, name, &packed);
    }
    maker_zeros(&outer, 2);
    /* As if the outer archive had been packed too: all of it comes from few bytes. */
    struct ems_buf upload = maker_gzip(&outer, "upload");

    o = (struct outcome){0};
    walk_source(
        ems_inflate_open(ems_test_source_open(upload.data, upload.size, 0, 0, 0), NULL, NULL), true,
        NULL, NULL, &o);
    ASSERT_CODE(o.code, EMS_END);
    ASSERT_CODE(o.refused, EMS_GZIP_LIMIT);
    CU_ASSERT(says(&o, EMS_GZIP_LIMIT, "the export expands more than 500 times"));
    CU_ASSERT(fact(&o, "bytes") < 6u * SIZE);
    CU_ASSERT_EQUAL(fact(&o, "parts"), 20);
    outcome_release(&o);
    ems_buf_release(&upload);
    ems_buf_release(&packed);
    ems_buf_release(&zeros);
    ems_buf_release(&inner);
    ems_buf_release(&outer);
}

static const struct ems_test all_tests[] = {
    {"manifest.json", test_manifest},
    {"manifest.json, a document a message", test_manifest_messages},
    {"manifest.json with endless texts", test_manifest_long},
    {"both sides joined", test_join},
    {"previews", test_previews},
    {"good exports", test_good},
    {"cuts and flipped bits", test_small},
    {"a failing source", test_failing_source},
    {"interrupted", test_interrupted},
    {"hostile members", test_hostile},
    {"bombs", test_bombs},
};

int main(void)
{
    struct ems_error err = {0};

    if (ems_pgp_library_init(&err) != EMS_OK)
        return 70;
    return ems_tests_run("media_export", all_tests, sizeof all_tests / sizeof all_tests[0]);
}
