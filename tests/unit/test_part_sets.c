/*
 * What people, browsers and Drive do to an upload, one row each: the directory's state is made by
 * shell commands, and everything that the resolver says is compared, word for code.
 */
#include "harness.h"

#include "parts.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define X    "customer_db_export.sql.gz.gpg"
#define SIZE 4500u

static char home[64];
static uint8_t *content;

static void path_to(char *out, size_t size, const char *name)
{
    snprintf(out, size, "%s/%s", home, name);
}

static void put(const char *name, const void *data, size_t size)
{
    char path[300];
    FILE *f;

    path_to(path, sizeof path, name);
    f = fopen(path, "wb");
    if (f == NULL || fwrite(data, 1, size, f) != size || fclose(f) != 0)
        abort();
}

static void sh(const char *command)
{
    char line[1200];

    snprintf(line, sizeof line, "cd '%s' && { %s ; }", home, command);
    if (system(line) != 0) {
        printf("\n    this failed: %s", command);
        CU_FAIL("shell");
    }
}

/* The framing of a message of definite length; then bytes that look like nothing. */
static void fill_definite(uint8_t *data, size_t size)
{
    static const uint8_t head[] = {0x8c, 0x0d, 4, 9, 3, 8,    1,    2,   3,
                                   4,    5,    6, 7, 8, 0xff, 0xd2, 0xff};

    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(1 + (i * 7 + i / 512) % 31);
    memcpy(data, head, sizeof head);
    for (int i = 0; i < 4; i++)
        data[17 + i] = (uint8_t)((size - 21) >> (24 - 8 * i));
}

/* The same in partial lengths, as gpg writes from a pipe: chunks of 2^exponent, then the rest. */
static void fill_partial(uint8_t *data, size_t size, unsigned exponent)
{
    size_t at = 16, chunk = (size_t)1 << exponent;

    fill_definite(data, size);
    while (size - at > chunk + 8) {
        data[at] = (uint8_t)(0xe0 + exponent);
        at += 1 + chunk;
    }
    data[at] = 0xff; /* five octets, whatever the rest is */
    for (int i = 0; i < 4; i++)
        data[at + 1 + (size_t)i] = (uint8_t)((size - at - 5) >> (24 - 8 * i));
}

static void enter(void)
{
    snprintf(home, sizeof home, "/tmp/ems-sets-XXXXXX");
    if (mkdtemp(home) == NULL)
        abort();
    content = malloc(SIZE);
    fill_definite(content, SIZE);
    put("whole", content, SIZE);
}

static void leave(void)
{
    char line[100];

    snprintf(line, sizeof line, "rm -rf '%s'", home);
    CU_ASSERT_EQUAL(system(line), 0);
    free(content);
}

static struct ems_upload upload;
static struct ems_findings findings;

static void done(void)
{
    ems_upload_release(&upload);
    ems_findings_release(&findings);
}

/* "E part-missing X.part-ab!": severity, code, part; "!" if it is to be sent again. */
static void describe(char *out, size_t size)
{
    size_t n = 0;

    out[0] = '\0';
    for (size_t i = 0; i < findings.count && n < size; i++) {
        const struct ems_finding *f = &findings.items[i];
        const char *part = f->part != NULL ? f->part : "-";

        if (strncmp(part, X, strlen(X)) == 0) /* the long name is always the same */
            part += strlen(X);
        n += (size_t)snprintf(out + n, size - n, "%s%c %s %s%s", n > 0 ? "; " : "",
                              "NWE"[f->severity], ems_code_name(f->code), part,
                              f -> resend ? "!" : "");
    }
}

static int resolve(const char *const *names, size_t count)
{
    char paths[4][200];
    const char *list[4];
    struct ems_error err = {0};

    for (size_t i = 0; i < count; i++) {
        path_to(paths[i], sizeof paths[i], names[i]);
        list[i] = paths[i];
    }
    return ems_upload_resolve(&upload, list, count, &findings, &err);
}

/* The stream over the first set gives the bytes of `content`? */
static bool gives_content(void)
{
    struct ems_error err = {0};
    struct ems_buf out = {0};
    int rc = ems_test_slurp(ems_parts_open(&upload.sets[0], &err), &out, &err);
    bool same = rc == EMS_END && out.size == SIZE && memcmp(out.data, content, SIZE) == 0;

    if (!same)
        printf("\n    %s: %s", ems_code_name(rc), err.text);
    ems_buf_release(&out);
    return same;
}

static void expect(const char *command, bool whole, const char *says)
{
    char is[4000];

    describe(is, sizeof is);
    CU_ASSERT_FATAL(upload.count >= 1);
    if (strcmp(is, says) != 0 || upload.sets[0].whole != whole) {
        printf("\n    %s\n      %s: %s\n      not: %s", command,
               upload.sets[0].whole ? "whole" : "not whole", is, says);
        for (size_t i = 0; i < findings.count; i++)
            printf("\n        %s", findings.items[i].message);
    }
    CU_ASSERT_STRING_EQUAL(is, says);
    CU_ASSERT_EQUAL(upload.sets[0].whole, whole);
}

struct row {
    const char *command; /* in a directory that holds "whole", which goes afterwards */
    bool whole;
    const char *says;
};

/* Each row begins with split -b 1000 into aa..ae, the last of 500 bytes. */
static void try_rows(const struct row *rows, size_t count)
{
    static const char *const here[] = {"."};

    for (size_t i = 0; i < count; i++) {
        enter();
        sh("split -b 1000 whole " X ".part-");
        sh(rows[i].command);
        sh("rm -f whole");
        ASSERT_CODE(resolve(here, 1), EMS_OK);
        expect(rows[i].command, rows[i].whole, rows[i].says);
        if (rows[i].whole)
            CU_ASSERT(gives_content());
        done();
        leave();
    }
}

#define P     X ".part-"
#define AGAIN "rm -f " P "*; "

static void test_names(void)
{
    static const struct row rows[] = {
        {":", true, ""},
        {"mv " P "ab '" X " (1).part-ab'", true, "N part-renamed .part-ab"},
        {"mv " P "ab '" P "ab.txt'", true, "N part-renamed .part-ab"},
        {"mv " P "ab 'Copy of " P "ab'", true, "N part-renamed .part-ab"},
        {"mv " P "ab '" P "ab - Copy'", true, "N part-renamed .part-ab"},
        {"mv " P "ab 'CUSTOMER_DB_EXPORT.SQL.GZ.GPG.PART-AB'", true, "N part-renamed .part-ab"},
        {"mv " P "aa '" P "aa(1)' && mv " P "ae '" P "ae (2).bin'", true,
         "N part-renamed .part-aa; N part-renamed .part-ae"},
        /* copies: equal, different, and different in size */
        {"cp " P "ab '" X " (1).part-ab'", true, "N part-duplicate  (1).part-ab"},
        {"cp " P "ac " P "AB", false, "E part-conflict .part-ab!"},
        {"cp " P "ab '" X " (1).part-ab'; truncate -s 900 " P "ab", true,
         "N part-duplicate .part-ab; N part-renamed .part-ab"},
        {"cp " P "ab '" X " (1).part-ab'; truncate -s 900 '" X " (1).part-ab'", true,
         "N part-duplicate  (1).part-ab"},
        {"cp " P "ab '" X " (1).part-ab'; printf '<html>sorry</html>' >" P "ab", true,
         "N part-duplicate .part-ab; N part-renamed .part-ab"},
        {"ln -s " P "ab '" X " (1).part-ab'", true, ""},
        {"cp whole " X, true, "W part-duplicate -"},
        {"head -c 4000 whole >" X, true, "W part-duplicate -"},
        /* litter and folders */
        {"touch .DS_Store ._" P "ab desktop.ini; mkdir __MACOSX; touch __MACOSX/" P "ab", true,
         "N part-foreign -"},
        {"mkdir -p synapse_export/b; mv " P "a[a-c] synapse_export/b", true, ""},
        {"mkdir -p 1/2/3/4; mv " P "ac 1/2/3/4", false, "E part-missing .part-ac!"},
        {"mkdir again; cp " P "ab again", true, "N part-duplicate .part-ab"},
        {"mkdir again; cp " P "ac again/" P "ab", false, "E part-conflict .part-ab!"},
        {"ln -s nowhere " P "af; mkfifo " P "ag", true, ""},
    };

    try_rows(rows, sizeof rows / sizeof rows[0]);
}

/* Safari unpacks .gz files and keeps their names. */
static void test_lost_gzip(void)
{
    static const char *const here[] = {"."};

    enter();
    sh("printf '%s\\n' -- '-- PostgreSQL database dump' >customer_db_export.sql.gz; rm whole");
    ASSERT_CODE(resolve(here, 1), EMS_OK);
    expect("unpacked", true, "N part-renamed customer_db_export.sql.gz");
    done();
    sh("gzip -c customer_db_export.sql.gz >z; mv z customer_db_export.sql.gz");
    ASSERT_CODE(resolve(here, 1), EMS_OK);
    expect("packed", true, "");
    done();
    leave();
}

static void test_unfinished(void)
{
    static const struct row rows[] = {
        {"mv " P "ab " P "ab.crdownload", false, "E part-unfinished .part-ab!"},
        {"mv " P "ab " P "ab.part", false, "E part-unfinished .part-ab!"},
        {"mv " P "ab " P "ab.5e1a2b3c.partial", false, "E part-unfinished .part-ab!"},
        {"mv " P "ab ." P "ab.Xy12zQ", false, "E part-unfinished .part-ab!"},
        {"mkdir " P "ab.download; mv " P "ab " P "ab.download", false,
         "E part-unfinished .part-ab!"},
        {": >" P "ab; touch " P "ab.part", false, "E part-unfinished .part-ab!"},
        {"touch " P "ab.aria2", false, "E part-unfinished .part-ab!"},
        {"touch " P "ab.crdownload", true, "N part-unfinished .part-ab.crdownload"},
        {"mv " P "ae " P "ae.crdownload", false, "E part-unfinished .part-ae!"},
        {"rm " P "*; mv whole " X ".part", false, "E part-unfinished !"},
    };

    try_rows(rows, sizeof rows / sizeof rows[0]);
}

static void test_sizes(void)
{
    static const struct row rows[] = {
        {"printf '  <!DOCTYPE html><p>quota' >" P "ac", false, "E part-foreign .part-ac!"},
        {"printf '{\"error\": {\"code\": 403}}' >" P "ac", false, "E part-foreign .part-ac!"},
        {"for i in a b c d e; do printf '<html><p>quota' >" P "a$i; done", false,
         "E part-foreign .part-aa!; E part-foreign .part-ab!; E part-foreign .part-ac!; "
         "E part-foreign .part-ad!; E part-foreign .part-ae!"},
        {"mv " P "aa t; mv " P "ab " P "aa; mv t " P "ab", false,
         "E part-foreign .part-aa!; E part-foreign .part-ab!"},
        /* left over from an earlier, longer split */
        {"cp " P "ab " P "af", true, "W part-stale .part-af"},
        {"cp " P "ab " P "ag; cp " P "ab " P "ah", true,
         "W part-stale .part-ag; W part-stale "
         ".part-ah"},
        /* parts of another split in the middle: sizes of 512 */
        {"truncate -s 512 " P "ab " P "ac", false,
         "E part-scheme -; E part-truncated .part-ab!; E part-truncated .part-ac!"},
        /* without the first part the length is unknown, the sizes still speak */
        {"rm " P "aa; truncate -s 900 " P "ab", false,
         "E part-missing .part-aa!; E part-truncated .part-ab!"},
        {"rm " P "aa; truncate -s 1001 " P "ae", false,
         "E part-missing .part-aa!; E part-foreign .part-ae!"},
        /* one part and the beginning of it */
        {"rm " P "a[b-e]", false,
         "E part-missing .part-ab!; E part-missing .part-ac!; E part-missing .part-ad!; "
         "E part-missing .part-ae!"},
        {"rm " P "a[b-e]; truncate -s 901 " P "aa", false, "E part-truncated .part-aa!"},
        {AGAIN "cp whole " P "aa; truncate -s -3 " P "aa", false, "E part-truncated .part-aa!"},
        {AGAIN "cp whole " P "aa; printf junk >>" P "aa", false, "E part-foreign .part-aa!"},
        /* two parts, both wrong: nothing says which */
        {AGAIN "split -b 3000 whole " P "; truncate -s -3 " P "aa; truncate -s -7 " P "ab", false,
         "E part-truncated .part-aa!; E part-truncated .part-ab!"},
    };

    try_rows(rows, sizeof rows / sizeof rows[0]);
}

static void test_schemes(void)
{
    static const struct row rows[] = {
        {AGAIN "split -b 100 -d whole " P, true, ""},
        {AGAIN "split -b 100 -x whole " P, true, ""},
        {AGAIN "split -b 100 -a 3 whole " P, true, ""},
        {AGAIN "split -b 100 --numeric-suffixes=1 whole " P, true, ""},
        {AGAIN "split -b 100 -a 3 --numeric-suffixes=7 whole " P, true, ""},
        {AGAIN "split -n 7 whole " P, true, ""},
        {AGAIN "split -n 2 whole " P, true, ""},
        {AGAIN "split -b 7 -a 3 --numeric-suffixes=1 whole " X ".", true, ""},
        {AGAIN "split -b 700 -a 3 --numeric-suffixes=1 whole " X ".; rm " X ".003", false,
         "E part-missing .003!"},
        {AGAIN "split -b 100 -x whole " P "; rm " P "2c", false, "E part-missing .part-2c!"},
        /* names ran out: split -a 1 ends at z; the wider BSD form at zz is the same code */
        {AGAIN "split -b 100 -a 1 whole " P " 2>/dev/null || :", false, "E part-truncated -!"},
        {AGAIN "split -b 6 -a 2 whole " P " 2>/dev/null || :", false, "E part-truncated -!"},
        {AGAIN "split -b 450 -a 1 -d whole " P, true, ""},
        /* two runs of split with other options in one place */
        {"split -b 1000 -d whole " P, false, "E part-scheme -"},
        {"cp " P "ab " P "zb; cp " P "ab " P "zaaa", false, "E part-scheme -"},
        {"cp " P "ab " P "zzzzaaaaaa", false, "E part-scheme -"},
    };

    try_rows(rows, sizeof rows / sizeof rows[0]);
}

/* ---- chains of partial lengths ---- */

static void test_partial_lengths(void)
{
    static const struct row rows[] = {
        {AGAIN "split -b 500 whole " P, true, ""},
        {AGAIN "split -b 500 whole " P "; rm " P "ai", false, "E part-missing .part-ai!"},
        {AGAIN "split -b 500 whole " P "; rm " P "a[hi]", false, "E part-missing .part-ah!"},
        {AGAIN "split -b 700 whole " P "; truncate -s -9 " P "ag", false,
         "E part-truncated .part-ag!"},
        /* a newer, shorter split over an older one of the same part size */
        {AGAIN "split -b 1000 whole " P "; for i in f g h; do cp " P "ab " P "a$i; done", true,
         "W part-stale .part-af; W part-stale .part-ag; W part-stale .part-ah"},
        {AGAIN "split -b 1000 whole " P "; truncate -s -9 " P "ab", false,
         "E part-truncated .part-ab!"},
        /* exchanged: the chain breaks, but which parts they are decryption must say */
        {AGAIN "split -b 700 whole " P "; mv " P "ac t; mv " P "ad " P "ac; mv t " P "ad", true,
         ""},
    };
    static const char *const here[] = {"."};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enter();
        fill_partial(content, SIZE, 9);
        put("whole", content, SIZE);
        sh(rows[i].command);
        sh("rm -f whole");
        ASSERT_CODE(resolve(here, 1), EMS_OK);
        expect(rows[i].command, rows[i].whole, rows[i].says);
        CU_ASSERT_EQUAL(upload.sets[0].proven, rows[i].whole && i != 6);
        if (upload.sets[0].proven)
            CU_ASSERT(gives_content());
        done();
        leave();
    }
}

static void put_octet(const int *fds, size_t part, size_t at, int octet)
{
    uint8_t byte = (uint8_t)octet;

    CU_ASSERT_EQUAL_FATAL(pwrite(fds[at / part], &byte, 1, (off_t)(at % part)), 1);
}

/* 100 MB in chunks of 8 KiB are followed to the end, without reading what lies between: the parts
 * have holes there. */
static void test_long_chain(void)
{
    static const char *const here[] = {"."};
    size_t size = 100u * 1000 * 1000, part = 30u << 20, at = 16;
    int fds[4];

    enter();
    sh("rm whole");
    for (size_t i = 0; i < 4; i++) {
        char name[100], path[200];

        snprintf(name, sizeof name, P "a%c", (int)('a' + i));
        path_to(path, sizeof path, name);
        fds[i] = open(path, O_RDWR | O_CREAT, 0600);
        CU_ASSERT_EQUAL(ftruncate(fds[i], (off_t)(i < 3 ? part : size - 3 * part)), 0);
    }
    CU_ASSERT_EQUAL(pwrite(fds[0], content, 16, 0), 16);
    for (; size - at > 8192 + 8; at += 1 + 8192)
        put_octet(fds, part, at, 0xe0 + 13);
    for (size_t i = 0; i < 5; i++)
        put_octet(fds, part, at + i, i == 0 ? 0xff : (int)((size - at - 5) >> (32 - 8 * i)) & 0xff);
    for (size_t i = 0; i < 4; i++)
        close(fds[i]);
    ASSERT_CODE(resolve(here, 1), EMS_OK);
    expect("a long chain", true, "");
    CU_ASSERT(upload.sets[0].proven && upload.sets[0].expected == size);
    done();
    sh("rm " P "ad");
    ASSERT_CODE(resolve(here, 1), EMS_OK);
    expect("a long chain without its end", false, "E part-missing .part-ad!");
    CU_ASSERT(upload.sets[0].at_least > 3u * 30 * 1024 * 1024);
    done();
    leave();
}

/* ---- several places ---- */

static void test_resent_parts(void)
{
    static const struct row rows[] = {
        {":", true, "N part-duplicate .part-ac"},
        {"rm first/" P "ac", true, ""},
        {": >first/" P "ac", true, "N part-duplicate .part-ac"},
        {"truncate -s 999 first/" P "ac", true, "N part-duplicate .part-ac"},
        {"echo '<html>quota' >first/" P "ac", true, "N part-duplicate .part-ac"},
        {"cp first/" P "ab first/" P "ac", true, "W part-conflict .part-ac"},
        {"truncate -s 999 second/" P "ac", true, "N part-duplicate .part-ac"},
        {"truncate -s 999 second/" P "ac first/" P "ac", false,
         "N part-duplicate .part-ac; E part-truncated .part-ac!"},
    };
    static const char *const both[] = {"first", "second"};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enter();
        sh("mkdir first second; split -b 1000 whole first/" P "; cp first/" P "ac second; rm "
           "whole");
        sh(rows[i].command);
        ASSERT_CODE(resolve(both, 2), EMS_OK);
        expect(rows[i].command, rows[i].whole, rows[i].says);
        if (rows[i].whole)
            CU_ASSERT(gives_content());
        done();
        leave();
    }
}

/* Two encryptions of the same data share no byte: the complete later one is used alone. */
static void test_two_uploads(void)
{
    static const char *const both[] = {"first", "second"};
    static const struct row rows[] = {
        {":", true, "N part-duplicate -"},
        {"rm first/" P "ab", true, "N part-duplicate -"},
        {"rm second/" P "ab; mv first t; mv second first; mv t second", true, "N part-duplicate -"},
        {"rm second/" P "ab", true, "N part-duplicate -"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t old[4300];
        bool is_new = i < 2;

        enter();
        fill_definite(old, sizeof old);
        for (size_t k = 21; k < sizeof old; k++)
            old[k] ^= 3;
        put("old", old, sizeof old);
        sh("mkdir first second; split -b 1000 old first/" P "; split -b 1000 whole second/" P
           "; rm whole old");
        sh(rows[i].command);
        ASSERT_CODE(resolve(both, 2), EMS_OK);
        expect(rows[i].command, rows[i].whole, rows[i].says);
        CU_ASSERT_EQUAL(upload.sets[0].size, is_new ? SIZE : sizeof old);
        if (is_new)
            CU_ASSERT(gives_content());
        done();
        leave();
    }
    enter();
    sh("mkdir first second; split -b 1000 whole first/" P "; truncate -s 4400 whole");
    fill_definite(content, 4400);
    put("whole", content, 4400);
    sh("split -b 1000 whole second/" P "; rm whole first/" P "ac second/" P "ab");
    ASSERT_CODE(resolve(both, 2), EMS_OK);
    CU_ASSERT(upload.count == 1 && !upload.sets[0].whole);
    CU_ASSERT_EQUAL(findings.items[findings.count - 1].code, EMS_PART_SCHEME);
    done();
    leave();
}

/* ---- zips ---- */

static void make_zip(const char *zip, const char *const *members, bool deflate)
{
    struct archive *a = archive_write_new();
    char path[300];

    archive_write_set_format_zip(a);
    archive_write_set_options(a, deflate ? "zip:compression=deflate" : "zip:compression=store");
    path_to(path, sizeof path, zip);
    CU_ASSERT_EQUAL(archive_write_open_filename(a, path), ARCHIVE_OK);
    for (; *members != NULL; members++) {
        struct archive_entry *e = archive_entry_new();
        struct ems_buf data;
        char inside[300];

        path_to(path, sizeof path, *members);
        data = ems_test_file(path);
        snprintf(inside, sizeof inside, "synapse_export/%s", *members);
        archive_entry_set_pathname(e, inside);
        archive_entry_set_filetype(e, AE_IFREG);
        archive_entry_set_perm(e, 0644);
        archive_entry_set_size(e, (la_int64_t)data.size);
        CU_ASSERT_EQUAL(archive_write_header(a, e), ARCHIVE_OK);
        CU_ASSERT_EQUAL(archive_write_data(a, data.data, data.size), (la_ssize_t)data.size);
        archive_entry_free(e);
        ems_buf_release(&data);
    }
    CU_ASSERT_EQUAL(archive_write_free(a), ARCHIVE_OK);
}

static void test_zips(void)
{
    static const char *const one[] = {P "ab", P "aa", P "ad", NULL};
    static const char *const two[] = {P "ac", P "ad", NULL};
    static const char *const only[] = {P "ac", NULL};
    static const char *const here[] = {"."}, *const by_name[] = {X}, *const by_zip[] = {"some.zip"};

    for (int deflate = 0; deflate < 2; deflate++) {
        enter();
        sh("split -b 1000 whole " P "; rm whole");
        make_zip("up-20260512T023001Z-3-001.zip", one, deflate);
        make_zip("up-20260512T023001Z-3-003.zip", two, deflate);
        sh("rm " P "a[a-d]"); /* ae came beside the zips */
        for (int k = 0; k < 2; k++) {
            ASSERT_CODE(resolve(k == 0 ? here : by_name, 1), EMS_OK);
            expect("zips", true, "W part-missing -; N part-duplicate .part-ad");
            CU_ASSERT(gives_content());
            done();
        }
        sh("rm *-003.zip");
        ASSERT_CODE(resolve(here, 1), EMS_OK);
        expect("a zip missing", false, "E part-missing .part-ac!");
        done();
        leave();
    }
    enter();
    sh("split -b 1000 whole " P "; rm whole");
    make_zip("some.zip", only, false);
    sh("rm " P "ac; mkdir bare; cp some.zip bare");
    ASSERT_CODE(resolve(here, 1), EMS_OK);
    expect("a zip of one's own", true, "N part-duplicate .part-ac");
    done();
    ASSERT_CODE(resolve(by_zip, 1), EMS_OK);
    expect("only the zip", false, "E part-missing .part-aa!; E part-missing .part-ab!");
    done();
    sh("rm -r bare; truncate -s -30 some.zip");
    ASSERT_CODE(resolve(here, 1), EMS_OK);
    expect("a zip cut", false, "E part-truncated some.zip!; E part-missing .part-ac!");
    done();
    leave();
}

/* A stored member whose bytes changed: its CRC is the proof. */
static void test_damaged_member(void)
{
    static const char *const only[] = {P "ac", NULL}, *const here[] = {"."};
    struct ems_error err = {0};
    struct ems_buf zip;
    char path[300];

    enter();
    sh("split -b 1000 whole " P "; rm whole");
    make_zip("some.zip", only, false);
    sh("rm " P "ac");
    path_to(path, sizeof path, "some.zip");
    zip = ems_test_file(path);
    zip.data[600] ^= 1;
    put("some.zip", zip.data, zip.size);
    ems_buf_release(&zip);
    ASSERT_CODE(resolve(here, 1), EMS_OK);
    ASSERT_CODE(ems_test_slurp(ems_parts_open(&upload.sets[0], &err), NULL, &err),
                EMS_PART_FOREIGN);
    done();
    leave();
}

/* ---- a watcher, and the scheme in words ---- */

struct seen {
    struct ems_buf bytes;
    size_t index, ends, fail_at;
};

static int see_bytes(void *context, size_t index, const void *data, size_t size,
                     struct ems_error *err)
{
    struct seen *seen = context;

    CU_ASSERT_EQUAL(index, seen->index);
    return ems_buf_append(&seen->bytes, data, size, err);
}

static int see_end(void *context, size_t index, struct ems_error *err)
{
    struct seen *seen = context;

    CU_ASSERT_EQUAL(index, seen->index++);
    if (++seen->ends == seen->fail_at)
        return ems_fail(err, EMS_MANIFEST_DIGEST, "planned failure");
    return EMS_OK;
}

static void test_watch(void)
{
    static const char *const here[] = {"."};
    struct ems_error err = {0};
    struct seen seen = {0};
    struct ems_part_watch watch = {&seen, see_bytes, see_end};
    char scheme[64];

    enter();
    sh("split -b 1000 -d -a 3 whole " P "; rm whole");
    ASSERT_CODE(resolve(here, 1), EMS_OK);
    CU_ASSERT_STRING_EQUAL(ems_part_set_scheme(&upload.sets[0], scheme), "digits, 3 wide");
    upload.sets[0].watch = &watch;
    CU_ASSERT(gives_content());
    CU_ASSERT(seen.ends == 5 && seen.bytes.size == SIZE &&
              memcmp(seen.bytes.data, content, SIZE) == 0);
    ems_buf_release(&seen.bytes);
    seen = (struct seen){.fail_at = 3};
    ASSERT_CODE(ems_test_slurp(ems_parts_open(&upload.sets[0], &err), NULL, &err),
                EMS_MANIFEST_DIGEST);
    ems_buf_release(&seen.bytes);
    done();
    leave();
}

EMS_TESTS("part_sets", {"names", test_names}, {"a lost gzip layer", test_lost_gzip},
          {"unfinished downloads", test_unfinished}, {"sizes and contents", test_sizes},
          {"numbering schemes", test_schemes}, {"partial lengths", test_partial_lengths},
          {"a long chain", test_long_chain}, {"parts sent again", test_resent_parts},
          {"two uploads", test_two_uploads}, {"zips", test_zips},
          {"a damaged zip", test_damaged_member}, {"a watcher", test_watch})
