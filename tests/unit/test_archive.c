/* Names and types of members, whose content an archive is, the media store, the list of ids. */
#include "harness.h"
#include "tar_maker.h"

#include "archive_walk.h"
#include "media_store.h"
#include "tar_policy.h"

/* ---- policy ---- */

static void test_paths(void)
{
    static const struct {
        const char *path;
        bool safe;
        const char *clean;
    } table[] = {
        {"a", true, "a"},
        {"a/b/", true, "a/b"},
        {"./a//b/./c", true, "a/b/c"},
        {"./", true, ""},
        {"...", true, "..."},
        {"a..b/..c", true, "a..b/..c"},
        {"", false, NULL},
        {"/", false, NULL},
        {"/etc/passwd", false, NULL},
        {"..", false, NULL},
        {"a/../b", false, NULL},
        {"a/..", false, NULL},
        {"../a", false, NULL},
        {"a\nb", false, NULL},
        {"a\177", false, NULL},
        {"a\033[2J", false, NULL},
        {"\xc3\xbc", true, "\xc3\xbc"},
    };
    char clean[EMS_TAR_MAX_PATH + 1], *big = calloc(1, EMS_TAR_MAX_PATH + 3);
    const char *why;

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct ems_tar_member m = {.path = table[i].path};

        ASSERT_CODE(ems_tar_check_path(&m, &why), table[i].safe ? EMS_OK : EMS_TAR_UNSAFE_PATH);
        CU_ASSERT_EQUAL(why == NULL, table[i].safe);
        if (table[i].safe) {
            CU_ASSERT_EQUAL(ems_tar_clean_path(table[i].path, clean), strlen(table[i].clean));
            CU_ASSERT_STRING_EQUAL(clean, table[i].clean);
        }
    }
    for (size_t i = 0; i < EMS_TAR_MAX_PATH; i++)
        big[i] = i % 2 ? '/' : 'a';
    struct ems_tar_member m = {.path = big};

    ASSERT_CODE(ems_tar_check_path(&m, &why), EMS_OK);
    CU_ASSERT_EQUAL(ems_tar_clean_path(big, clean), EMS_TAR_MAX_PATH - 1);
    big[EMS_TAR_MAX_PATH] = 'a';
    ASSERT_CODE(ems_tar_check_path(&m, &why), EMS_TAR_UNSAFE_PATH);
    memset(big, 'n', EMS_TAR_MAX_NAME + 1);
    big[EMS_TAR_MAX_NAME] = '\0';
    ASSERT_CODE(ems_tar_check_path(&m, &why), EMS_OK);
    big[EMS_TAR_MAX_NAME] = 'n';
    big[EMS_TAR_MAX_NAME + 1] = '\0';
    ASSERT_CODE(ems_tar_check_path(&m, &why), EMS_TAR_UNSAFE_PATH);
    m = (struct ems_tar_member){.path = "a", .hidden_nul = true};
    ASSERT_CODE(ems_tar_check_path(&m, &why), EMS_TAR_UNSAFE_PATH);
    free(big);
}

static void test_links(void)
{
    static const struct {
        enum ems_tar_type type;
        const char *path, *target;
        bool safe;
    } table[] = {
        {EMS_TAR_SYMLINK, "l", "a", true},
        {EMS_TAR_SYMLINK, "d/l", "../a", true},
        {EMS_TAR_SYMLINK, "./d//l", "../../a", false},
        {EMS_TAR_SYMLINK, "l", "..", false},
        {EMS_TAR_SYMLINK, "l", "/a", false},
        {EMS_TAR_SYMLINK, "l", "", false},
        {EMS_TAR_SYMLINK, "l", "a/../..", false},
        {EMS_TAR_SYMLINK, "d/l", "x/../../y", true},
        {EMS_TAR_HARDLINK, "d/e/l", "a", true},
        {EMS_TAR_HARDLINK, "d/l", "../a", false},
        {EMS_TAR_HARDLINK, "l", "/a", false},
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct ems_tar_member m = {
            .type = table[i].type, .path = table[i].path, .target = table[i].target};

        ASSERT_CODE(ems_tar_check_link(&m), table[i].safe ? EMS_OK : EMS_TAR_UNSAFE_LINK);
    }
}

static void test_types(void)
{
    static const struct {
        struct ems_tar_member member;
        bool safe;
    } table[] = {
        {{.type = EMS_TAR_FILE, .mode = 0755}, true},
        {{.type = EMS_TAR_FILE, .mode = 04755}, false},
        {{.type = EMS_TAR_FILE, .mode = 02644}, false},
        {{.type = EMS_TAR_DIRECTORY, .mode = 03775}, true},
        {{.type = EMS_TAR_SYMLINK, .mode = 0777}, true},
        {{.type = EMS_TAR_OTHER, .flag = '3'}, false},
        {{.type = EMS_TAR_OTHER, .flag = '6'}, false},
        {{.type = EMS_TAR_OTHER, .flag = 'M'}, false},
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const char *why;

        ASSERT_CODE(ems_tar_check_type(&table[i].member, &why),
                    table[i].safe ? EMS_OK : EMS_TAR_UNSAFE_TYPE);
        CU_ASSERT_EQUAL(why == NULL, table[i].safe);
    }
}

static void test_duplicates(void)
{
    struct ems_findings findings = {0};
    struct ems_error err = {0};
    struct ems_tar_policy *p = ems_tar_policy_new("x", &findings, &err);
    char name[32];
    bool safe;

    for (unsigned round = 0; round < 2; round++) { /* enough names for several sizes of the table */
        for (unsigned i = 0; i < 20000; i++) {
            struct ems_tar_member m = {.type = EMS_TAR_FILE, .path = name};

            snprintf(name, sizeof name, "%sdir/%u", round ? "./" : "", i);
            ASSERT_CODE(ems_tar_policy_check(p, &m, &safe, &err), EMS_OK);
            CU_ASSERT_EQUAL(safe, round == 0);
        }
    }
    struct ems_tar_member dir = {.type = EMS_TAR_DIRECTORY, .path = "other/"};

    for (int i = 0; i < 3; i++) { /* tar a/b a makes such */
        ASSERT_CODE(ems_tar_policy_check(p, &dir, &safe, &err), EMS_OK);
        CU_ASSERT_EQUAL(safe, true);
    }
    dir = (struct ems_tar_member){.type = EMS_TAR_FILE, .path = "other"};
    ASSERT_CODE(ems_tar_policy_check(p, &dir, &safe, &err), EMS_OK);
    CU_ASSERT_EQUAL(safe, false);
    ems_tar_policy_finish(p);
    CU_ASSERT_EQUAL(findings.count, 11); /* ten shown, one total */
    CU_ASSERT_EQUAL(findings.items[10].code, EMS_TAR_DUPLICATE);
    CU_ASSERT_PTR_NOT_NULL(strstr(findings.items[10].message, "20001 members"));
    ems_tar_policy_free(p);
    ems_findings_release(&findings);
}

/* ---- media store ---- */

static void test_store_paths(void)
{
    static const struct {
        const char *path;
        int class; /* -1: no store's */
        size_t prefix_size;
        bool fits, safe;
        const char *id;
    } table[] = {
        {"local_content/Ab/Cd/efghIJ", EMS_STORE_LOCAL, 0, true, true, "AbCdefghIJ"},
        {"var/media_store/local_content/Ab/Cd/e", EMS_STORE_LOCAL, 16, true, true, "AbCde"},
        {"local_content/Ab/Cd", EMS_STORE_LOCAL, 0, false, true, ""},
        {"local_content/Abc/Cd/e", EMS_STORE_LOCAL, 0, false, true, ""},
        {"local_content/Ab/Cd/e/f", EMS_STORE_LOCAL, 0, false, true, ""},
        {"local_content/Ab/Cd/._efgh", EMS_STORE_LOCAL, 0, false, true, ""},
        {"local_content/.DS_Store", EMS_STORE_LOCAL, 0, false, true, ""},
        {"local_content/Ab/Cd/e f", EMS_STORE_LOCAL, 0, true, false, "AbCde f"},
        {"local_content", -1, 0, false, true, ""},
        {"my_local_content/Ab/Cd/e", -1, 0, false, true, ""},
        {"url_cache/2024-02-29/xYz", EMS_STORE_URL_CACHE, 0, true, true, "2024-02-29_xYz"},
        {"url_cache/Ab/Cd/e", EMS_STORE_URL_CACHE, 0, true, true, "AbCde"},
        {"url_cache/2024-02-2/xYz", EMS_STORE_URL_CACHE, 0, false, true, ""},
        {"remote_content/a.b:8448/Ab/Cd/e", EMS_STORE_REMOTE, 0, true, true, ""},
        {"remote_content/[::1]/Ab/Cd/e", EMS_STORE_REMOTE, 0, true, true, ""},
        {"remote_content/Ab/Cd/e", EMS_STORE_REMOTE, 0, false, true, ""},
        {"local_thumbnails/Ab/Cd/e/32-32-image-png-crop", EMS_STORE_LOCAL_THUMBNAIL, 0, true, true,
         ""},
        {"local_thumbnails/Ab/Cd/e/32-32-image-png", EMS_STORE_LOCAL_THUMBNAIL, 0, false, true, ""},
        {"local_thumbnails/Ab/Cd/e/32-x-image-png-crop", EMS_STORE_LOCAL_THUMBNAIL, 0, false, true,
         ""},
        {"local_thumbnails/Ab/Cd/e/--image-png-crop", EMS_STORE_LOCAL_THUMBNAIL, 0, false, true,
         ""},
        {"remote_thumbnail/s/Ab/Cd/e/32-32-image-png", EMS_STORE_REMOTE_THUMBNAIL, 0, true, true,
         ""},
        {"url_cache_thumbnails/2024-02-29/x/32-32-image-jpeg-scale", EMS_STORE_URL_CACHE_THUMBNAIL,
         0, true, true, ""},
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct ems_store_path at;

        CU_ASSERT_EQUAL(ems_store_path_read(table[i].path, &at), table[i].class >= 0);
        if (table[i].class < 0)
            continue;
        CU_ASSERT_EQUAL((int)at.class, table[i].class);
        CU_ASSERT_EQUAL(at.prefix_size, table[i].prefix_size);
        if (at.fits != table[i].fits || at.safe != table[i].safe)
            printf("\n    %s", table[i].path);
        CU_ASSERT_EQUAL(at.fits, table[i].fits);
        CU_ASSERT_EQUAL(at.safe, table[i].safe);
        CU_ASSERT_STRING_EQUAL(at.id, table[i].id);
    }
}

static void test_media_ids(void)
{
    struct ems_media_ids ids = {0};
    struct ems_error err = {0};
    char text[32], longest[EMS_MEDIA_ID_MAX + 1];

    for (unsigned i = 0; i < 5000; i++) {
        unsigned k = i * 7919 % 5000;
        struct ems_media_id id = {.id = text,
                                  .id_size = (size_t)snprintf(text, sizeof text, "id%u", k),
                                  .size = k == 77 ? EMS_NOWHERE : (uint64_t)k << (k % 50),
                                  .url_cache = k % 2 != 0};

        ASSERT_CODE(ems_media_ids_add(&ids, &id, &err), EMS_OK);
    }
    ems_media_ids_sort(&ids);
    CU_ASSERT_EQUAL(ids.count, 5000);
    for (unsigned k = 0; k < 5000; k++) {
        size_t n = (size_t)snprintf(text, sizeof text, "id%u", k);
        size_t at = ems_media_ids_find(&ids, text, n);

        CU_ASSERT_NOT_EQUAL_FATAL(at, SIZE_MAX);
        struct ems_media_id id = ems_media_ids_get(&ids, at);

        CU_ASSERT(id.id_size == n && memcmp(id.id, text, n) == 0);
        CU_ASSERT_EQUAL(id.size, k == 77 ? EMS_NOWHERE : (uint64_t)k << (k % 50));
        CU_ASSERT_EQUAL(id.url_cache, k % 2 != 0);
    }
    CU_ASSERT_EQUAL(ems_media_ids_find(&ids, "id5000", 6), SIZE_MAX);
    CU_ASSERT_EQUAL(ems_media_ids_find(&ids, "id", 2), SIZE_MAX);
    memset(longest, 'x', sizeof longest);
    struct ems_media_id big = {.id = longest, .id_size = EMS_MEDIA_ID_MAX + 1};

    ASSERT_CODE(ems_media_ids_add(&ids, &big, &err), EMS_INTERNAL);
    ems_media_ids_release(&ids);
}

/* What a media export says of each: digest, time, uploader; shortened in place, or put anew. */
static void test_media_ids_facts(void)
{
    struct ems_media_ids ids = {0};
    struct ems_error err = {0};
    uint8_t sha256[32];
    struct ems_media_id id = {.id = "abcdef.png",
                              .id_size = 10,
                              .size = 5,
                              .sha256 = sha256,
                              .created_ms = 1600000000000,
                              .uploader = ems_media_uploader("@a:b", 4)};
    struct ems_media_id plain = {.id = "abc", .id_size = 3, .size = 7};
    size_t size;

    for (size_t i = 0; i < sizeof sha256; i++)
        sha256[i] = (uint8_t)i;
    ASSERT_CODE(ems_media_ids_add(&ids, &id, &err), EMS_OK);
    ASSERT_CODE(ems_media_ids_add(&ids, &plain, &err), EMS_OK);
    size = ids.records.size;
    id = ems_media_ids_get(&ids, 0); /* its own memory */
    CU_ASSERT(id.id_size == 10 && memcmp(id.id, "abcdef.png", 10) == 0);
    CU_ASSERT_EQUAL(id.created_ms, 1600000000000);
    CU_ASSERT_EQUAL(id.uploader, ems_media_uploader("@a:b", 4));
    CU_ASSERT_NOT_EQUAL(id.uploader, ems_media_uploader("@a:c", 4));
    id.id_size = 6;
    ASSERT_CODE(ems_media_ids_replace(&ids, 0, &id, &err), EMS_OK);
    CU_ASSERT_EQUAL(ids.records.size, size);
    id = ems_media_ids_get(&ids, 0);
    CU_ASSERT(id.id_size == 6 && memcmp(id.id, "abcdef", 6) == 0 && id.size == 5);
    CU_ASSERT(memcmp(id.sha256, sha256, sizeof sha256) == 0);
    id.id = "xyz";
    id.id_size = 3;
    ASSERT_CODE(ems_media_ids_replace(&ids, 0, &id, &err), EMS_OK);
    CU_ASSERT(ids.records.size > size);
    CU_ASSERT(memcmp(ems_media_ids_get(&ids, 0).sha256, sha256, sizeof sha256) == 0);
    ems_media_ids_sort(&ids);
    CU_ASSERT_EQUAL(ems_media_ids_find(&ids, "xyz", 3), 1);
    CU_ASSERT_PTR_NULL(ems_media_ids_get(&ids, 0).sha256);
    ems_media_ids_drop(&ids, 0);
    CU_ASSERT_EQUAL(ids.count, 1);
    CU_ASSERT_EQUAL(ems_media_ids_find(&ids, "xyz", 3), 0);
    ems_media_ids_release(&ids);
}

/* ---- the walk ---- */

/* Claims files named export-*, and counts what it is called with. */
struct counter {
    struct ems_walker base;
    unsigned ends, finished;
    uint64_t bytes;
    int fail; /* code to fail with in data */
};

static int counter_begin(struct ems_walker *w, const struct ems_tar_member *m, bool *claimed,
                         struct ems_error *err)
{
    (void)w, (void)err;
    *claimed = strncmp(m->path, "export-", 7) == 0;
    return EMS_OK;
}

static int counter_data(struct ems_walker *w, const struct ems_span *span, struct ems_error *err)
{
    struct counter *c = (struct counter *)w;

    c->bytes += span->size;
    return c->fail != EMS_OK ? ems_fail(err, c->fail, "planned") : EMS_OK;
}

static int counter_end(struct ems_walker *w, struct ems_error *err)
{
    (void)err;
    ((struct counter *)w)->ends++;
    return EMS_OK;
}

static int counter_finish(struct ems_walker *w, const char *artifact, struct ems_findings *findings,
                          struct ems_facts *facts, struct ems_error *err)
{
    (void)artifact, (void)findings;
    ((struct counter *)w)->finished++;
    return ems_facts_number(facts, "bytes", ((struct counter *)w)->bytes, err);
}

static const struct ems_walker_ops counter_ops = {.layer = "export",
                                                  .words = "a media export",
                                                  .begin = counter_begin,
                                                  .data = counter_data,
                                                  .end = counter_end,
                                                  .finish = counter_finish};

struct outcome {
    int code;
    struct counter counter;
    struct ems_walk_result result;
    struct ems_findings findings;
    struct ems_facts facts;
    struct ems_media_ids ids;
};

/* Walks the archive, which is ended and released, as what walker `expected` is for. */
static struct outcome walk(struct ems_buf *archive, size_t expected, int fail)
{
    struct outcome o = {.counter = {.base.ops = &counter_ops, .fail = fail}};
    struct ems_error err = {0};
    struct ems_walker *store = ems_media_store_open(&o.ids, NULL, &err);
    struct ems_walker *walkers[] = {&o.counter.base, store};
    struct ems_walk_options options = {
        .artifact = "x.tar", .walkers = walkers, .walker_count = 2, .expected = expected};
    struct ems_tar *tar;

    maker_zeros(archive, 2);
    tar = ems_tar_open(ems_source_memory_open(archive->data, archive->size, 700, &err), &err);
    o.code = ems_archive_walk(tar, &options, &o.result, &o.findings, &o.facts, &err);
    ems_tar_free(tar);
    store->ops->free(store);
    ems_buf_release(archive);
    return o;
}

static void outcome_release(struct outcome *o)
{
    ems_findings_release(&o->findings);
    ems_facts_release(&o->facts);
    ems_media_ids_release(&o->ids);
}

enum { EXPORT, STORE };

static void test_whose_content(void)
{
    static const struct {
        struct tar_header members[4];
        size_t expected, kind;
        int refused;
        const char *says;
    } table[] = {
        {{{.name = "export-1"}}, EXPORT, EXPORT, EMS_OK, NULL},
        {{{.name = "export-1"}, {.name = "logs"}}, SIZE_MAX, EXPORT, EMS_OK, NULL},
        {{{.name = "m/local_content/aa/bb/c"}}, STORE, STORE, EMS_OK, NULL},
        {{{.name = "local_content/aa/bb/c"}},
         EXPORT,
         STORE,
         EMS_TAR_WRONG_CONTENT,
         "this is a media store, where a media export should be"},
        {{{.name = "export-1"}, {.name = "local_content/aa/bb/c"}}, STORE, STORE, EMS_OK, NULL},
        {{{.name = "readme"}}, STORE, SIZE_MAX, EMS_TAR_WRONG_CONTENT, "nothing among its 1 files"},
        {{{.name = "readme"}}, SIZE_MAX, SIZE_MAX, EMS_OK, NULL},
        {{{.name = "media_store", .flag = '2', .target = "store2"}},
         STORE,
         SIZE_MAX,
         EMS_TAR_WRONG_CONTENT,
         "only a symbolic link: media_store to store2"},
        {{{.name = "local_content/", .flag = '5', .mode = 0755}},
         STORE,
         SIZE_MAX,
         EMS_TAR_EMPTY,
         "no file"},
        {{{.name = NULL}}, STORE, SIZE_MAX, EMS_TAR_EMPTY, "nothing in it"},
        {{{.name = NULL}}, SIZE_MAX, SIZE_MAX, EMS_TAR_EMPTY, "nothing in it"},
        {{{.name = "../export-1"}}, EXPORT, SIZE_MAX, EMS_TAR_UNSAFE_PATH, "leads out"},
        {{{.name = "a/local_content/aa/bb/c"}, {.name = "b/local_content/aa/bb/c"}},
         STORE,
         STORE,
         EMS_TAR_WRONG_CONTENT,
         "two media stores"},
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct ems_buf archive = {0};
        struct outcome o;

        for (size_t k = 0; k < 4 && table[i].members[k].name != NULL; k++)
            maker_header(&archive, table[i].members[k]);
        o = walk(&archive, table[i].expected, EMS_OK);
        ASSERT_CODE(o.code, EMS_END);
        CU_ASSERT_EQUAL(o.result.kind, table[i].kind);
        ASSERT_CODE(o.result.refused, table[i].refused);
        CU_ASSERT_EQUAL(o.counter.finished, table[i].kind == EXPORT);
        CU_ASSERT(table[i].says == NULL ||
                  (o.findings.count > 0 && strstr(o.findings.items[0].message, table[i].says)));
        outcome_release(&o);
    }
}

static void test_walkers_get_their_bytes(void)
{
    struct ems_buf archive = {0}, big = {0};
    struct outcome o;

    for (int i = 0; i < 3; i++)
        maker_zeros(&big, 10);
    maker_header(&archive, (struct tar_header){.name = "export-1", .size = big.size});
    maker_append(&archive, big.data, big.size);
    maker_file(&archive, "other", "not for it");
    maker_file(&archive, "export-2", "seven b");
    ems_buf_release(&big);
    o = walk(&archive, EXPORT, EMS_OK);
    ASSERT_CODE(o.code, EMS_END);
    CU_ASSERT_EQUAL(o.counter.bytes, 30 * 512 + 7);
    CU_ASSERT_EQUAL(o.counter.ends, 2);
    CU_ASSERT_EQUAL(o.facts.items[0].number, 30 * 512 + 7);
    CU_ASSERT_STRING_EQUAL(o.facts.layer, "export");
    CU_ASSERT_EQUAL(o.result.tar.members, 3);
    outcome_release(&o);

    maker_file(&archive, "export-1", "x"); /* a walker's error ends it */
    o = walk(&archive, EXPORT, EMS_IO_ERROR);
    ASSERT_CODE(o.code, EMS_IO_ERROR);
    CU_ASSERT_EQUAL(o.counter.finished, 0);
    outcome_release(&o);
}

static void test_store_is_counted(void)
{
    struct ems_buf archive = {0};
    struct outcome o;

    maker_file(&archive, "s/local_content/aa/bb/one", "12345");
    maker_file(&archive, "s/local_content/aa/bb/two", "");
    maker_header(&archive, (struct tar_header){.name = "s/local_content/aa/bb/three",
                                               .flag = '1',
                                               .target = "s/local_content/aa/bb/one"});
    maker_file(&archive, "s/url_cache/2024-01-01/p", "12");
    maker_file(&archive, "s/remote_content/hs/aa/bb/c", "123");
    maker_file(&archive, "s/local_content/Thumbs.db", "1");
    maker_file(&archive, "s/local_content/aa/bb/b a d", "1");
    o = walk(&archive, STORE, EMS_OK);
    ASSERT_CODE(o.code, EMS_END);
    ASSERT_CODE(o.result.refused, EMS_OK);
    CU_ASSERT_EQUAL(o.ids.count, 4);
    size_t at = ems_media_ids_find(&o.ids, "aabbone", 7);

    CU_ASSERT_NOT_EQUAL_FATAL(at, SIZE_MAX);
    CU_ASSERT_EQUAL(ems_media_ids_get(&o.ids, at).size, 5);
    at = ems_media_ids_find(&o.ids, "aabbthree", 9);
    CU_ASSERT_NOT_EQUAL_FATAL(at, SIZE_MAX);
    CU_ASSERT_EQUAL(ems_media_ids_get(&o.ids, at).size, EMS_NOWHERE);
    CU_ASSERT_EQUAL(o.facts.items[1].number, 3); /* local files */
    CU_ASSERT_EQUAL(o.facts.items[2].number, 5);
    CU_ASSERT_EQUAL_FATAL(o.findings.count, 3);
    ASSERT_CODE(o.findings.items[0].code, EMS_MEDIA_UNSAFE_NAME);
    ASSERT_CODE(o.findings.items[1].code, EMS_MEDIA_EXTRA);
    ASSERT_CODE(o.findings.items[2].code, EMS_MEDIA_SIZE);
    outcome_release(&o);

    maker_file(&archive, "remote_content/hs/aa/bb/c", "123");
    o = walk(&archive, STORE, EMS_OK);
    CU_ASSERT_EQUAL_FATAL(o.findings.count, 1);
    ASSERT_CODE(o.findings.items[0].code, EMS_MEDIA_MISSING);
    CU_ASSERT_EQUAL(o.findings.items[0].severity, EMS_SEVERITY_WARNING);
    outcome_release(&o);
}

EMS_TESTS("archive", {"paths", test_paths}, {"links", test_links}, {"types", test_types},
          {"duplicates", test_duplicates}, {"paths of a media store", test_store_paths},
          {"media ids", test_media_ids}, {"media ids with digests", test_media_ids_facts},
          {"whose content it is", test_whose_content},
          {"walkers get their bytes", test_walkers_get_their_bytes},
          {"a store is counted", test_store_is_counted})
