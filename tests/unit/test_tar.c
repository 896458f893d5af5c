/* The tar reader: archives of GNU tar in all its formats, cut, extended and hostile ones. */
#include "harness.h"
#include "tar_maker.h"

#include "tar.h"

#include <sys/stat.h>
#include <unistd.h>

/* What came out of an archive: "path type size target\n" and the data of each member. */
struct listing {
    int code;
    uint64_t members;
    struct ems_buf text;
    struct ems_error err;
};

static struct listing list(struct ems_source *src)
{
    struct listing l = {0};
    const struct ems_tar_member *m;
    struct ems_span span;
    struct ems_tar *tar = ems_tar_open(src, &l.err);

    CU_ASSERT_PTR_NOT_NULL_FATAL(tar);
    while ((l.code = ems_tar_next(tar, &m, &l.err)) == EMS_OK) {
        uint64_t got = 0;

        ems_buf_printf(&l.text, NULL, "%s %d %llu %s\n", m->path, m->type,
                       (unsigned long long)m->size, m->target != NULL ? m->target : "");
        while ((l.code = ems_tar_data(tar, &span, &l.err)) == EMS_OK) {
            maker_append(&l.text, span.data, span.size);
            got += span.size;
            if (got > 1 << 24)
                break;
        }
        if (l.code != EMS_END)
            break;
        CU_ASSERT_EQUAL(got, m->size);
        ASSERT_CODE(ems_tar_data(tar, &span, &l.err), EMS_END);
    }
    if (l.code == EMS_END || l.code == l.err.code) { /* the answer repeats */
        struct ems_error again = {0};

        ASSERT_CODE(ems_tar_next(tar, &m, &again), l.code);
        ASSERT_CODE(again.code, l.code == EMS_END ? EMS_OK : l.code);
    }
    l.members = ems_tar_facts(tar)->members;
    ems_tar_free(tar);
    return l;
}

static int code_of(const struct ems_buf *tar, size_t size, size_t chunk)
{
    struct listing l = list(ems_test_source_open(tar->data, size, chunk, 0, EMS_OK));

    ems_buf_release(&l.text);
    return l.code;
}

static struct ems_buf good_archive(void)
{
    struct ems_buf tar = {0};

    maker_header(&tar, (struct tar_header){.name = "d/", .flag = '5', .mode = 0755});
    maker_file(&tar, "d/one", "the first file");
    maker_file(&tar, "d/empty", "");
    maker_header(&tar, (struct tar_header){.name = "d/link", .flag = '2', .target = "one"});
    maker_extended(&tar, 'x', "17 path=d/longer\n", 17);
    maker_file(&tar, "d/short", "renamed");
    maker_zeros(&tar, 2);
    return tar;
}

/* ---- GNU tar ---- */

static char *scratch_directory(void)
{
    static char path[] = "/tmp/ems-tar-XXXXXX";

    memcpy(path + sizeof path - 7, "XXXXXX", 6);
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(path));
    return path;
}

static void shell(const char *dir, const char *command)
{
    char line[2000];
    int n = snprintf(line, sizeof line, "cd %s && { %s; } 2>/dev/null", dir, command);

    CU_ASSERT_FATAL(n > 0 && (size_t)n < sizeof line);
    CU_ASSERT_EQUAL_FATAL(system(line), 0);
}

static void test_gnu_tar(void)
{
    static const char *const formats[] = {"gnu", "oldgnu", "pax", "ustar", "v7"};
    char *dir = scratch_directory(), path[64];

    shell(dir, "mkdir -p t/local_content/aa && cd t && seq 1 3000 > local_content/aa/numbers &&"
               "printf x > one && : > empty && ln -s one link && ln one hard &&"
               "head -c 70000 /dev/urandom > random");
    for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
        char command[200];
        struct ems_buf tar;
        struct listing whole;

        snprintf(command, sizeof command, "tar --format=%s -cf a.tar t", formats[f]);
        shell(dir, command);
        snprintf(path, sizeof path, "%s/a.tar", dir);
        tar = ems_test_file(path);
        CU_ASSERT_EQUAL(ems_tar_probe(tar.data, tar.size), true);
        whole = list(ems_test_source_open(tar.data, tar.size, 0, 0, EMS_OK));
        ASSERT_CODE(whole.code, EMS_END);
        CU_ASSERT_EQUAL(whole.members, 9);
        CU_ASSERT_PTR_NOT_NULL(memmem(whole.text.data, whole.text.size, "\n2999\n3000\n", 11));
        CU_ASSERT_PTR_NOT_NULL(memmem(whole.text.data, whole.text.size, "t/link 2 0 one\n", 15));
        for (size_t c = 0; c < EMS_TEST_CHUNKS; c++) {
            for (int relays = 0; relays < 2; relays++) {
                struct ems_error err = {0};
                struct ems_source *src =
                    ems_test_source_open(tar.data, tar.size, ems_test_chunks[c], 0, EMS_OK);
                struct listing l = list(relays ? ems_relay_open(src, &err) : src);

                ASSERT_CODE(l.code, EMS_END);
                CU_ASSERT(l.text.size == whole.text.size &&
                          memcmp(l.text.data, whole.text.data, l.text.size) == 0);
                ems_buf_release(&l.text);
            }
        }
        ems_buf_release(&whole.text);
        ems_buf_release(&tar);
    }
    shell(dir, "cd / && rm -rf \"$OLDPWD\"");
}

static void test_long_names_and_big_sizes(void)
{
    static const char *const formats[] = {"gnu", "pax"};
    char *dir = scratch_directory(), path[64];

    shell(dir, "n=$(printf 'n%.0s' $(seq 200)); mkdir -p $n/$n && echo deep > $n/$n/\xc3\xbc$n &&"
               "ln -s $n/$n $n/l");
    for (size_t f = 0; f < 2; f++) {
        char command[200];
        struct ems_buf tar;
        struct listing l;

        snprintf(command, sizeof command, "tar --format=%s -cf a.tar n*", formats[f]);
        shell(dir, command);
        snprintf(path, sizeof path, "%s/a.tar", dir);
        tar = ems_test_file(path);
        l = list(ems_test_source_open(tar.data, tar.size, 100, 0, EMS_OK));
        ASSERT_CODE(l.code, EMS_END);
        CU_ASSERT_EQUAL(l.members, 4);
        CU_ASSERT_PTR_NOT_NULL(memmem(l.text.data, l.text.size, "/\xc3\xbcnnnnn", 8));
        CU_ASSERT_PTR_NOT_NULL(memmem(l.text.data, l.text.size, " 0 5 \ndeep\n", 11));
        ems_buf_release(&l.text);
        ems_buf_release(&tar);
    }
    shell(dir, "cd / && rm -rf \"$OLDPWD\"");
}

static void test_sparse_files(void)
{
    static const char *const options[] = {"--format=gnu", "--format=pax --sparse-version=0.0",
                                          "--format=pax --sparse-version=0.1",
                                          "--format=pax --sparse-version=1.0"};
    char *dir = scratch_directory(), path[64];
    struct ems_buf content;

    shell(dir, "printf begin > s && truncate -s 300K s && echo middle >> s && truncate -s 900K s");
    snprintf(path, sizeof path, "%s/s", dir);
    content = ems_test_file(path);
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        char command[200];
        struct ems_buf tar;
        struct listing l;

        snprintf(command, sizeof command, "tar %s -Scf a.tar s", options[i]);
        shell(dir, command);
        snprintf(path, sizeof path, "%s/a.tar", dir);
        tar = ems_test_file(path);
        CU_ASSERT(tar.size < 100000); /* else the file was not sparse here, and nothing is tested */
        l = list(ems_test_source_open(tar.data, tar.size, 513, 0, EMS_OK));
        ASSERT_CODE(l.code, EMS_END);
        CU_ASSERT(l.text.size == content.size + 12 &&
                  memcmp(l.text.data + 12, content.data, content.size) == 0);
        ems_buf_release(&l.text);
        ems_buf_release(&tar);
    }
    ems_buf_release(&content);
    shell(dir, "cd / && rm -rf \"$OLDPWD\"");
}

/* ---- ends ---- */

static void test_every_prefix(void)
{
    struct ems_buf tar = good_archive();

    for (size_t size = 0; size < tar.size; size++) {
        ASSERT_CODE(code_of(&tar, size, 0), EMS_TAR_TRUNCATED);
        if (size % 5 == 0)
            ASSERT_CODE(code_of(&tar, size, 511), EMS_TAR_TRUNCATED);
    }
    ASSERT_CODE(code_of(&tar, tar.size, 0), EMS_END);
    ems_buf_release(&tar);
}

static void test_what_follows_the_end(void)
{
    struct ems_buf tar = good_archive(), again;

    maker_zeros(&tar, 18);
    ASSERT_CODE(code_of(&tar, tar.size, 0), EMS_END);
    ASSERT_CODE(code_of(&tar, tar.size - 5, 1000), EMS_END);
    maker_append(&tar, "x", 1);
    ASSERT_CODE(code_of(&tar, tar.size, 0), EMS_TAR_CORRUPT);
    ASSERT_CODE(code_of(&tar, tar.size, 700), EMS_TAR_CORRUPT);
    ems_buf_release(&tar);

    tar = good_archive(); /* a second archive behind the first, as cat makes it */
    again = good_archive();
    maker_append(&tar, again.data, again.size);
    ems_buf_release(&again);
    ASSERT_CODE(code_of(&tar, tar.size, 0), EMS_TAR_CORRUPT);
    ems_buf_release(&tar);

    maker_file(&tar, "one", "1"); /* one block of zeros, then a member */
    maker_zeros(&tar, 1);
    maker_file(&tar, "two", "2");
    maker_zeros(&tar, 2);
    ASSERT_CODE(code_of(&tar, tar.size, 0), EMS_TAR_CORRUPT);
    ems_buf_release(&tar);

    maker_zeros(&tar, 20); /* an archive of nothing is complete */
    ASSERT_CODE(code_of(&tar, tar.size, 0), EMS_END);
    ems_buf_release(&tar);
}

static void test_failures_from_below(void)
{
    struct ems_buf tar = good_archive();
    unsigned calls = (unsigned)(tar.size / 256) + 1;

    for (unsigned k = 1; k <= calls; k++) {
        for (int relays = 0; relays < 2; relays++) {
            struct ems_error err = {0};
            struct ems_source *src =
                ems_test_source_open(tar.data, tar.size, 256, k, EMS_PGP_MODIFIED);
            struct listing l = list(relays ? ems_relay_open(src, &err) : src);

            ASSERT_CODE(l.code, EMS_PGP_MODIFIED);
            CU_ASSERT_STRING_EQUAL(l.err.text, "planned failure");
            CU_ASSERT_STRING_EQUAL(l.err.stage, "test");
            CU_ASSERT_EQUAL(l.err.origin, (k - 1) * 256);
            ems_buf_release(&l.text);
        }
    }
    ems_buf_release(&tar);
}

static void test_flipped_headers(void)
{
    struct ems_buf tar = good_archive();

    for (size_t i = 0; i < 512; i++) {
        if (i >= 148 && i < 156) /* the checksum's own end may be a NUL or a space */
            continue;
        tar.data[i] ^= 1;
        ASSERT_CODE(code_of(&tar, tar.size, 0), EMS_TAR_CORRUPT);
        tar.data[i] ^= 1;
    }
    ems_buf_release(&tar);
}

/* ---- lies ---- */

static void expect(struct ems_buf *tar, int code)
{
    maker_zeros(tar, 2);
    ASSERT_CODE(code_of(tar, tar->size, 0), code);
    ASSERT_CODE(code_of(tar, tar->size, 100), code);
    ems_buf_release(tar);
}

/* A sparse file of `size` bytes in the pax format 0.1, six bytes of it stored as the map says. */
static void sparse(struct ems_buf *tar, const char *size, const char *map)
{
    struct ems_buf records = {0};

    maker_record(&records, "GNU.sparse.major", "0");
    maker_record(&records, "GNU.sparse.minor", "1");
    maker_record(&records, "GNU.sparse.size", size);
    maker_record(&records, "GNU.sparse.map", map);
    maker_extended(tar, 'x', records.data, records.size);
    maker_file(tar, "sparse", "abcdef");
    ems_buf_release(&records);
}

static void test_sizes_that_lie(void)
{
    static const struct tar_header liars[] = {
        {.name = "d/", .flag = '5', .size = 512},
        {.name = "l", .flag = '2', .size = 9, .target = "x"},
        {.name = "h", .flag = '1', .size = 512, .target = "x"}};
    struct ems_buf tar = {0}, records = {0};

    for (size_t i = 0; i < sizeof liars / sizeof liars[0]; i++) {
        maker_header(&tar, liars[i]);
        maker_data(&tar, "hidden", 6);
        expect(&tar, EMS_TAR_CORRUPT);
    }
    maker_header(&tar, (struct tar_header){.name = "f", .size = UINT64_C(1) << 40});
    maker_data(&tar, "not that much", 13);
    expect(&tar, EMS_TAR_TRUNCATED);
    maker_header(&tar, (struct tar_header){.name = "f", .size = UINT64_MAX - 7}); /* negative */
    expect(&tar, EMS_TAR_CORRUPT);

    sparse(&tar, "100", "200,6"); /* past the end */
    expect(&tar, EMS_TAR_CORRUPT);
    sparse(&tar, "100", "50,3,10,3"); /* backwards */
    expect(&tar, EMS_TAR_CORRUPT);
    sparse(&tar, "100", "10,2"); /* four stored bytes belong nowhere */
    expect(&tar, EMS_TAR_CORRUPT);
    maker_record(&records, "GNU.sparse.major", "0");
    maker_record(&records, "GNU.sparse.minor", "1");
    maker_record(&records, "GNU.sparse.size", "100");
    maker_record(&records, "GNU.sparse.map", "10,512");
    maker_extended(&tar, 'x', records.data, records.size);
    maker_header(&tar, (struct tar_header){.name = "sparse", .size = 2048});
    maker_zeros(&tar, 1);
    maker_file(&tar, "smuggled", ""); /* a member for who goes by the map, data for others */
    maker_zeros(&tar, 2);
    ems_buf_release(&records);
    expect(&tar, EMS_TAR_CORRUPT);
    sparse(&tar, "100", "10,6");
    expect(&tar, EMS_END);
}

static void test_hole_without_an_end(void)
{
    struct ems_error err = {0};
    const struct ems_tar_member *m;
    struct ems_buf tar = {0};
    struct ems_tar *t;

    sparse(&tar, "8000000000000", "0,6");
    maker_zeros(&tar, 2);
    t = ems_tar_open(ems_source_memory_open(tar.data, tar.size, 0, &err), &err);
    ASSERT_CODE(ems_tar_next(t, &m, &err), EMS_OK);
    CU_ASSERT_EQUAL(m->size, 8000000000000);
    ASSERT_CODE(ems_tar_next(t, &m, &err), EMS_TAR_CORRUPT); /* and not in an hour */
    ems_tar_free(t);
    ems_buf_release(&tar);
}

static void test_header_bombs(void)
{
    struct ems_buf tar = {0};
    char *name = calloc(1, 3u << 20);

    memset(name, 'n', (3u << 20) - 1);
    maker_extended(&tar, 'L', name, 3u << 20);
    maker_file(&tar, "f", "x");
    expect(&tar, EMS_TAR_CORRUPT);
    for (int i = 0; i < 30; i++) /* each within bounds, all together not */
        maker_extended(&tar, i % 2 ? 'L' : 'K', name, 50000);
    maker_file(&tar, "f", "x");
    expect(&tar, EMS_TAR_CORRUPT);
    for (int i = 0; i < 2000; i++)
        maker_extended(&tar, 'x', "10 path=a\n", 10);
    maker_file(&tar, "f", "x");
    expect(&tar, EMS_TAR_CORRUPT);
    free(name);
}

static void test_hidden_nul(void)
{
    static const struct {
        char flag;
        const char *data;
        size_t size;
        bool hidden;
    } table[] = {{'x', "16 path=a\0/../b\n", 16, true},
                 {'x', "11 path=ab\n", 11, false},
                 {'x', "18 linkpath=a\0bcd\n", 18, true},
                 {'x', "14 comment=\0ab\n", 14, false},
                 {'L', "a\0b", 4, true},
                 {'L', "ab\0", 4, false}};

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct ems_error err = {0};
        const struct ems_tar_member *m;
        struct ems_buf tar = {0};
        struct ems_tar *t;

        maker_extended(&tar, table[i].flag, table[i].data, table[i].size);
        maker_file(&tar, "f", "x");
        maker_zeros(&tar, 2);
        t = ems_tar_open(ems_test_source_open(tar.data, tar.size, 100, 0, EMS_OK), &err);
        ASSERT_CODE(ems_tar_next(t, &m, &err), EMS_OK);
        CU_ASSERT_EQUAL(m != NULL && m->hidden_nul, table[i].hidden);
        ems_tar_free(t);
        ems_buf_release(&tar);
    }
}

static void test_types(void)
{
    static const struct {
        char flag;
        enum ems_tar_type type;
    } table[] = {{'0', EMS_TAR_FILE},      {'7', EMS_TAR_FILE},  {'1', EMS_TAR_HARDLINK},
                 {'2', EMS_TAR_SYMLINK},   {'3', EMS_TAR_OTHER}, {'4', EMS_TAR_OTHER},
                 {'5', EMS_TAR_DIRECTORY}, {'6', EMS_TAR_OTHER}, {'M', EMS_TAR_OTHER},
                 {'Z', EMS_TAR_OTHER}};

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct ems_error err = {0};
        const struct ems_tar_member *m;
        struct ems_buf tar = {0};
        struct ems_tar *t;

        maker_header(&tar, (struct tar_header){
                               .name = "f", .flag = table[i].flag, .mode = 04711, .target = "t"});
        maker_zeros(&tar, 2);
        t = ems_tar_open(ems_test_source_open(tar.data, tar.size, 0, 0, EMS_OK), &err);
        ASSERT_CODE(ems_tar_next(t, &m, &err), EMS_OK);
        CU_ASSERT_EQUAL(m->type, table[i].type);
        CU_ASSERT_EQUAL(m->flag, table[i].flag);
        CU_ASSERT_EQUAL(m->mode, 04711);
        CU_ASSERT_EQUAL(m->mtime_s, 1700000000);
        ASSERT_CODE(ems_tar_next(t, &m, &err), EMS_END);
        ems_tar_free(t);
        ems_buf_release(&tar);
    }
}

static void test_probe_and_null(void)
{
    struct ems_error err = {0};
    struct ems_buf tar = good_archive();
    uint8_t noise[512];

    CU_ASSERT_PTR_NULL(ems_tar_open(NULL, &err));
    ems_tar_free(NULL);
    CU_ASSERT_EQUAL(ems_tar_probe(tar.data, 512), true);
    CU_ASSERT_EQUAL(ems_tar_probe(tar.data, 511), false);
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)(i * 7 + 1);
    CU_ASSERT_EQUAL(ems_tar_probe(noise, sizeof noise), false);
    memset(noise, 0, sizeof noise);
    CU_ASSERT_EQUAL(ems_tar_probe(noise, sizeof noise), false);
    ems_buf_release(&tar);
}

EMS_TESTS("tar", {"GNU tar in all formats, chunk matrix", test_gnu_tar},
          {"long names", test_long_names_and_big_sizes}, {"sparse files", test_sparse_files},
          {"every prefix is truncated", test_every_prefix},
          {"what follows the end", test_what_follows_the_end},
          {"failures from below", test_failures_from_below},
          {"flipped headers", test_flipped_headers}, {"sizes that lie", test_sizes_that_lie},
          {"a hole without an end", test_hole_without_an_end}, {"header bombs", test_header_bombs},
          {"hidden NUL", test_hidden_nul}, {"types", test_types},
          {"probe and NULL", test_probe_and_null})
