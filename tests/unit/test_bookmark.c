/*
 * Bookmarks: an upload that real gzip, gpg and split made is read once, places are pinned on the
 * way, and what is read from each place again equals what the first reading gave there.
 */
#include "pgp_maker.h"

#include "bookmark.h"
#include "chain.h"

#include <ftw.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char home[] = "/tmp/ems-test-mark-XXXXXX";
static struct ems_buf plain;

static int shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int shell(const char *fmt, ...)
{
    char command[2048];
    int used = snprintf(command, sizeof command, "cd %s && export GNUPGHOME=%s && ", home, home);
    int status;
    va_list args;

    va_start(args, fmt);
    vsnprintf(command + used, sizeof command - (size_t)used, fmt, args);
    va_end(args);
    status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

/* About 12 MB that gzip makes a quarter of, in two members. */
static bool set_up(void)
{
    static bool ready;
    char path[64];

    if (ready)
        return true;
    if (mkdtemp(home) == NULL || shell("gpg --version >/dev/null 2>&1") != 0)
        return false;
    MUST(shell("printf '%s\\n' >pass", MAKER_PASS));
    MUST(shell("printf 's2k-count 65536\\n' >gpg.conf"));
    MUST(shell("seq -w 1 900000 >a && seq -w 5000000 -3 1000 >b && cat a b >plain && "
               "{ gzip -c a; gzip -9c b; } >plain.gz"));
    snprintf(path, sizeof path, "%s/plain", home);
    plain = ems_test_file(path);
    ready = true;
    return true;
}

static struct ems_bookmarks *marks;
static size_t pins[64];
static uint64_t at[64];
static size_t pin_count;

/* The first reading: pins every 700,001 bytes, as the content comes. */
static int first_reading(const struct ems_part_set *set, bool threads)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_error err = {0};
    struct ems_chain_options options = {
        .secrets = secrets, .no_threads = !threads, .bookmarks = marks};
    struct ems_chain chain;
    struct ems_span span;
    uint64_t offset = 0, next = 0;
    int rc = ems_chain_open(&chain, ems_parts_open(set, &err), &options, &err);

    pin_count = 0;
    while (rc == EMS_OK && (rc = ems_source_next(chain.top, &span, &err)) == EMS_OK) {
        offset += span.size;
        while (next < offset && pin_count < 64) {
            at[pin_count] = next;
            pins[pin_count++] = ems_bookmarks_pin(marks, next);
            next += 700001;
        }
    }
    if (rc != EMS_END)
        printf("\n    %s", err.text);
    ems_chain_close(&chain);
    ems_pgp_secrets_free(secrets);
    return rc;
}

/* From a place to 300,000 bytes behind it, or to the end if `whole`. */
static void reread(const struct ems_part_set *set, size_t i, bool whole)
{
    struct ems_error err = {0};
    struct ems_source *src = ems_bookmarks_open(marks, pins[i], at[i], set, &err);
    size_t offset = at[i], wrong = 0;
    struct ems_span span;
    int rc = EMS_OK;

    CU_ASSERT_PTR_NOT_NULL_FATAL(src);
    while ((whole || offset < at[i] + 300000) && wrong == 0 &&
           (rc = ems_source_next(src, &span, &err)) == EMS_OK) {
        wrong += offset + span.size > plain.size ||
                 memcmp(plain.data + offset, span.data, span.size) != 0;
        offset += span.size;
    }
    if (rc != EMS_OK && rc != EMS_END)
        printf("\n    from %llu: %s", (unsigned long long)at[i], err.text);
    CU_ASSERT_EQUAL(wrong, 0);
    if (whole) {
        ASSERT_CODE(rc, EMS_END);
        CU_ASSERT_EQUAL(offset, plain.size);
    }
    ems_source_free(src);
}

static void check_upload(const char *make, bool possible)
{
    struct ems_findings findings = {0};
    struct ems_upload upload = {0};
    struct ems_error err = {0};
    char path[80];
    const char *paths[] = {path};
    size_t useful = 0;

    MUST(shell("rm -rf up && mkdir up && %s", make));
    snprintf(path, sizeof path, "%s/up", home);
    ASSERT_CODE(ems_upload_resolve(&upload, paths, 1, &findings, &err), EMS_OK);
    CU_ASSERT_EQUAL_FATAL(upload.count, 1);
    for (int threads = 0; threads < 2; threads++) {
        marks = ems_bookmarks_new();
        ASSERT_CODE(first_reading(&upload.sets[0], threads), EMS_END);
        CU_ASSERT(pin_count > 15);
        for (size_t i = 0; i < pin_count; i++) {
            useful += pins[i] != EMS_BOOKMARK_NONE;
            if (pins[i] != EMS_BOOKMARK_NONE && (possible || i % 4 == 0))
                reread(&upload.sets[0], i, i % 5 == 4);
        }
        ems_bookmarks_free(marks);
        marks = NULL;
    }
    if (possible) /* from the first byte on */
        CU_ASSERT_EQUAL(useful, 2 * pin_count);
    if (!possible)
        CU_ASSERT_EQUAL(useful, 0);
    ems_upload_release(&upload);
    ems_findings_release(&findings);
}

#define GPG                                                                                        \
    "gpg --batch --quiet --no-tty --no-symkey-cache --pinentry-mode loopback --passphrase-file "   \
    "pass --compress-algo none "

static void test_forms(void)
{
    static const struct {
        const char *make;
        bool possible;
    } forms[] = {
        {"cp plain.gz up/x.sql.gz", true},
        {"split -b 100k plain.gz up/x.sql.gz.part-", true},
        {GPG "-o up/x.sql.gz.gpg --symmetric plain.gz", true},
        /* from a pipe: both packets in partial chunks */
        {"cat plain.gz | " GPG "--symmetric >m && split -b 123457 m up/x.sql.gz.gpg.part-", true},
        {GPG "--cipher-algo cast5 --symmetric <plain.gz | split -b 1m - up/x.sql.gz.gpg.part-",
         true},
        {GPG "--set-filename a-long-name-of-a-file --symmetric <plain.gz >up/x.sql.gz.gpg", true},
        /* no places can be left in these */
        {GPG "--armor -o up/x.sql.gz.gpg --symmetric plain.gz", false},
        {GPG "--compress-algo zlib --compress-level 1 --symmetric <plain.gz >up/x.sql.gz.gpg",
         false},
        {GPG "-o up/x.sql.gpg --symmetric plain", false},
    };

    if (!set_up()) {
        printf("skipped: no gpg here\n");
        return;
    }
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        check_upload(forms[i].make, forms[i].possible);
}

/* A file that changed meanwhile is noticed at the place itself. */
static void test_changed(void)
{
    struct ems_findings findings = {0};
    struct ems_upload upload = {0};
    struct ems_error err = {0};
    struct ems_source *src;
    struct ems_span span;
    char path[80];
    const char *paths[] = {path};

    if (!set_up()) {
        printf("skipped: no gpg here\n");
        return;
    }
    MUST(shell("rm -rf up && mkdir up && cp plain.gz up/x.sql.gz"));
    snprintf(path, sizeof path, "%s/up", home);
    ASSERT_CODE(ems_upload_resolve(&upload, paths, 1, &findings, &err), EMS_OK);
    marks = ems_bookmarks_new();
    ASSERT_CODE(first_reading(&upload.sets[0], true), EMS_END);
    MUST(shell("touch up/x.sql.gz"));
    src = ems_bookmarks_open(marks, pins[9], at[9], &upload.sets[0], &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(src);
    ASSERT_CODE(ems_source_next(src, &span, &err), EMS_PART_UNFINISHED);
    ems_source_free(src);
    ems_bookmarks_free(marks);
    ems_upload_release(&upload);
    ems_findings_release(&findings);
}

/* More pins than are kept: the later ones share earlier places. Pins that nobody asked for between
 * are forgotten, so memory stays what the pins need. */
static void test_many(void)
{
    struct ems_bookmarks *b = ems_bookmarks_new();
    size_t last = 0;

    for (uint64_t i = 1; i <= 3 * EMS_BOOKMARK_PINS_MAX; i++) {
        struct ems_inflate_place place = {.member_size = i};

        place.deflate = ems_deflate_new(EMS_DEFLATE_ZLIB, NULL);
        ems_bookmarks_inflate(b, i * 100, i, &place);
        last = ems_bookmarks_pin(b, i * 100 + 50);
        CU_ASSERT(last != EMS_BOOKMARK_NONE && last < EMS_BOOKMARK_PINS_MAX);
    }
    CU_ASSERT_EQUAL(last, EMS_BOOKMARK_PINS_MAX - 1);
    ems_bookmarks_free(b);
}

/* A table of any size: places that nobody asks for do not pile up. */
static void test_forgotten(void)
{
    struct ems_bookmarks *b = ems_bookmarks_new();

    for (uint64_t i = 1; i <= 1000; i++) {
        struct ems_inflate_place place = {.member_size = i};

        place.deflate = ems_deflate_new(EMS_DEFLATE_ZLIB, NULL);
        ems_bookmarks_inflate(b, i * 100, i, &place);
        if (i == 5)
            CU_ASSERT_EQUAL(ems_bookmarks_pin(b, 333), 0);
    }
    CU_ASSERT_EQUAL(ems_bookmarks_pin(b, 50000),
                    0); /* nothing is left between the pin and the end */
    CU_ASSERT_EQUAL(ems_bookmarks_pin(b, 100000), 1);
    ems_bookmarks_free(b);
}

static void clean_up(void)
{
    ems_buf_release(&plain);
    nftw(home, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    static const struct ems_test tests[] = {
        {"every form of upload is read again from its middle", test_forms},
        {"a file that changed is noticed", test_changed},
        {"more places than are kept", test_many},
        {"places that nobody asks for", test_forgotten},
    };
    int failed = ems_tests_run("bookmark", tests, sizeof tests / sizeof tests[0]);

    clean_up();
    return failed;
}
