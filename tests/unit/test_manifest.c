/* The checksum manifest: every program's text, every message, limits, round trips, comparing. */
#include "harness.h"

#include "digest.h"
#include "manifest.h"
#include "pgp.h"

#include <sys/stat.h>
#include <unistd.h>

#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B64 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
/* SHA-256 of nothing and of "abc" (FIPS 180-4 examples) */
#define EMPTY64 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC64   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static struct ems_findings findings;
static struct ems_error err;

static struct ems_manifest *read_chunked(const void *text, size_t size, size_t chunk)
{
    struct ems_manifest *m;
    int rc;

    ems_findings_release(&findings);
    err = (struct ems_error){0};
    rc = ems_manifest_read(&m, ems_test_source_open(text, size, chunk, 0, 0), "m", &findings, &err);
    if ((rc == EMS_OK) != (m != NULL) || rc != err.code)
        CU_FAIL("the code, the error and the manifest do not agree");
    return m;
}

static struct ems_manifest *read_text(const char *text)
{
    return read_chunked(text, strlen(text), 0);
}

static bool warned(const char *words)
{
    for (size_t i = 0; i < findings.count; i++)
        if (strstr(findings.items[i].message, words) != NULL)
            return true;
    return false;
}

static bool found(int code, const char *part)
{
    for (size_t i = 0; i < findings.count; i++)
        if (findings.items[i].code == code &&
            (part == NULL ||
             (findings.items[i].part != NULL && strcmp(findings.items[i].part, part) == 0)))
            return true;
    return false;
}

/* Is `name` listed with the digest whose hex begins with `digit` repeated? */
static bool lists(const struct ems_manifest *m, const char *name, uint8_t byte)
{
    const struct ems_manifest_entry *e = m != NULL ? ems_manifest_find(m, name) : NULL;

    return e != NULL && e->sha256.done && e->sha256.bytes[0] == byte && e->sha256.bytes[31] == byte;
}

/* ---- level 0 ---- */

static const struct {
    const char *program, *text, *name;
} accepted[] = {
    {"sha256sum", A64 "  x.gpg\n", "x.gpg"},
    {"sha256sum -b", A64 " *x.gpg\n", "x.gpg"},
    {"no last line end", A64 "  x.gpg", "x.gpg"},
    {"a directory in front", A64 "  ./up/x.gpg\n", "x.gpg"},
    {"spaces in the name", A64 "  my  file \n", "my  file "},
    {"escaped backslash", "\\" A64 "  a\\\\b\n", "a\\b"},
    {"sha256sum --tag", "SHA256 (x.gpg) = " A64 "\n", "x.gpg"},
    {"--tag, a name like a tag", "SHA256 (x) = y) = " A64 "\n", "x) = y"},
    {"--tag, escaped", "\\SHA256 (a\\\\b) = " A64 "\n", "a\\b"},
    {"openssl 1.1", "SHA256(x.gpg)= " A64 "\n", "x.gpg"},
    {"openssl 3", "SHA2-256(x.gpg)= " A64 "\n", "x.gpg"},
    {"BSD sha256 -r", A64 " x.gpg\n", "x.gpg"},
    {"comments and blank lines", "# made by me\n\n" A64 "  x.gpg\n\n", "x.gpg"},
    {"capitals", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa  x.gpg\n",
     "x.gpg"},
    {"Get-FileHash | Format-List",
     "\r\n\r\nAlgorithm : SHA256\r\nHash      : " A64 "\r\nPath      : C:\\up\\x.gpg\r\n\r\n\r\n",
     "x.gpg"},
    {"Format-List, wrapped",
     "Algorithm : SHA256\nHash      : " A64 "\nPath      : C:\\a long way\\cust\n"
     "            omer_db.gpg\n",
     "customer_db.gpg"},
    {"Get-FileHash as a table",
     "\nAlgorithm       Hash                             Path\n"
     "---------       ----                             ----\n"
     "SHA256          " A64 "       C:\\up\\x.gpg\n\n",
     "x.gpg"},
    {"certutil",
     "SHA256 hash of C:\\up\\x.gpg:\r\n" A64
     "\r\nCertUtil: -hashfile command completed successfully.\r\n",
     "x.gpg"},
    {"certutil of Windows 7",
     "SHA256 hash of file x.gpg:\n"
     "aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa "
     "aa\n"
     "CertUtil: -hashfile command completed successfully.\n",
     "x.gpg"},
};

static void test_programs(void)
{
    for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++) {
        for (size_t c = 0; c < EMS_TEST_CHUNKS; c++) {
            struct ems_manifest *m =
                read_chunked(accepted[i].text, strlen(accepted[i].text), ems_test_chunks[c]);

            if (!lists(m, accepted[i].name, 0xaa) || m->entry_count != 1 || m->level != 0) {
                printf("\n    %s: %s", accepted[i].program, err.text);
                CU_FAIL("not read");
            }
            CU_ASSERT_TRUE(warned("no end mark"));
            ems_manifest_free(m);
        }
    }
}

/* One tiny bad document per message; every one names its line. */
static const struct {
    const char *text;
    int code;
    const char *message;
} refused[] = {
    {"", EMS_MANIFEST_TRUNCATED, "line 0: no file is named"},
    {"# nothing\n", EMS_MANIFEST_MALFORMED, "line 1: no file is named"},
    {"hello\n", EMS_MANIFEST_MALFORMED, "line 1: not a checksum line: hello"},
    {A64 "  x\n" B64 "  x\n", EMS_MANIFEST_MALFORMED,
     "line 2: x is named twice, with different values (first in line 1)"},
    {"0123456789abcdef0123456789abcdef  x\n", EMS_MANIFEST_MALFORMED, "32 hex digits"},
    {"MD5 (x) = 0123456789abcdef0123456789abcdef\n", EMS_MANIFEST_MALFORMED, "not SHA-256"},
    {"SHA256 (x) 12=\n", EMS_MANIFEST_MALFORMED, "no checksum behind the name"},
    {"SHA256 (x) = 12\n", EMS_MANIFEST_MALFORMED, "not 64 hex digits"},
    {A64 "  \n", EMS_MANIFEST_MALFORMED, "without a name"},
    {A64 "  ..\n", EMS_MANIFEST_MALFORMED, "cannot name"},
    {A64 "  a/../b\n", EMS_MANIFEST_MALFORMED, "cannot name"},
    {A64 "  dir/\n", EMS_MANIFEST_MALFORMED, "cannot name"},
    {A64 "  a\tb\n", EMS_MANIFEST_MALFORMED, "control characters"},
    {"\\" A64 "  a\\nb\n", EMS_MANIFEST_MALFORMED, "control characters"},
    {"\\" A64 "  a\\tb\n", EMS_MANIFEST_MALFORMED, "does not write"},
    {"\\SHA256 (a\\tb) = " A64 "\n", EMS_MANIFEST_MALFORMED, "does not write"},
    {A64 "  x\n"
         "aaaaaaaaaaaaaaaa",
     EMS_MANIFEST_TRUNCATED, "line 2: not a checksum line"},
    {"Algorithm : MD5\n", EMS_MANIFEST_MALFORMED, "not SHA-256"},
    {"Hash : 12\n", EMS_MANIFEST_MALFORMED, "not 64 hex digits"},
    {"Path : x\n", EMS_MANIFEST_MALFORMED, "without a checksum before it"},
    {"Hash : " A64 "\nHash : " A64 "\n", EMS_MANIFEST_MALFORMED, "without a path"},
    {"Hash : " A64 "\n", EMS_MANIFEST_TRUNCATED, "is missing"},
    {"SHA256 hash of x:\n", EMS_MANIFEST_TRUNCATED, "is missing"},
    {"SHA256 hash of x:\n12\n", EMS_MANIFEST_MALFORMED, "not 64 hex digits"},
    {"SHA256 hash of x:\n" A64 "a\n", EMS_MANIFEST_MALFORMED, "not 64 hex digits"},
    {"SHA256   " A64 "  C:\\a\\b...\n", EMS_MANIFEST_MALFORMED, "cut the path"},
    {"SHA256   " A64 "   \n", EMS_MANIFEST_MALFORMED, "without a name"},
    {A64 "  x\n#%ems-manifest 1\n", EMS_MANIFEST_MALFORMED, "line 2: a second manifest"},
    {A64 "  x\n#% end lines=1 sha256=" A64 "\n", EMS_MANIFEST_TRUNCATED, "first line is missing"},
    {"#%ems-manifest\n", EMS_MANIFEST_MALFORMED, "no version number"},
    {"#%ems-manifest 0\n", EMS_MANIFEST_MALFORMED, "no version number"},
    {"#%ems-manifest 1 beta\n", EMS_MANIFEST_MALFORMED, "behind the version number"},
    {"#%ems-manifest 2\n", EMS_MANIFEST_UNSUPPORTED, "line 1: version 2"},
    {"#%ems-manifest 99999999999999999999\n", EMS_MANIFEST_UNSUPPORTED, "newer"},
    {"#%ems-manifest 1\n#% Encrypted yes\n", EMS_MANIFEST_UNSUPPORTED,
     "line 2: the directive Encr"},
    {"#%ems-manifest 1\n#% 7up\n", EMS_MANIFEST_MALFORMED, "line 2: not a keyword"},
    {"#%ems-manifest 1\n#% part x of=y size=1 size=1\n", EMS_MANIFEST_MALFORMED,
     "comes twice: size"},
    {"#%ems-manifest 1\n#% part x  of=y\n", EMS_MANIFEST_MALFORMED, "two spaces"},
    {"#%ems-manifest 1\n#% part x =y\n", EMS_MANIFEST_MALFORMED, "without a key"},
    {"#%ems-manifest 1\n#% part x y\n", EMS_MANIFEST_MALFORMED, "without a key"},
    {"#%ems-manifest 1\n#% part x%0 of=y\n", EMS_MANIFEST_MALFORMED, "wrong % escape"},
    {"#%ems-manifest 1\n#% part x%00y of=y\n", EMS_MANIFEST_MALFORMED, "wrong % escape"},
    {"#%ems-manifest 1\n#% part x%01y of=y\n", EMS_MANIFEST_MALFORMED, "control characters"},
    {"#%ems-manifest 1\n#% part of=y size=1\n", EMS_MANIFEST_MALFORMED, "name is missing"},
    {"#%ems-manifest 1\n#% part x size=1\n", EMS_MANIFEST_MALFORMED, "missing: of"},
    {"#%ems-manifest 1\n#% part x of=y\n", EMS_MANIFEST_MALFORMED, "missing: size"},
    {"#%ems-manifest 1\n#% part x of=.. size=1\n", EMS_MANIFEST_MALFORMED, "cannot be"},
    {"#%ems-manifest 1\n#% part x of=y size=-1\n", EMS_MANIFEST_MALFORMED, "not a number: size"},
    {"#%ems-manifest 1\n#% part x of=y size=\n", EMS_MANIFEST_MALFORMED, "not a number: size"},
    {"#%ems-manifest 1\n#% part x of=y size=99999999999999999999\n", EMS_MANIFEST_MALFORMED,
     "not a number: size"},
    {"#%ems-manifest 1\n#% artifact x size=2\n#% part x of=y size=1\n", EMS_MANIFEST_MALFORMED,
     "line 3: x is named twice"},
    {"#%ems-manifest 1\n#% inner x size=1 sha256=" A64 "\n", EMS_MANIFEST_MALFORMED,
     "missing: layer"},
    {"#%ems-manifest 1\n#% inner x layer=gpg size=1\n", EMS_MANIFEST_MALFORMED, "missing: sha256"},
    {"#%ems-manifest 1\n#% inner x layer=gpg size=1 sha256=12\n", EMS_MANIFEST_MALFORMED,
     "not 64 hex digits"},
    {"#%ems-manifest 1\n#% table t rows=1\n", EMS_MANIFEST_MALFORMED, "without a dump"},
    {"#%ems-manifest 1\n#% sqldump server=15\n", EMS_MANIFEST_MALFORMED, "missing: of"},
    {"#%ems-manifest 1\n#% media entity=e count=1\n", EMS_MANIFEST_MALFORMED, "missing: of"},
    {"#%ems-manifest 1\n#% block x size=0 index=0 sha256=" A64 "\n", EMS_MANIFEST_MALFORMED,
     "not a number: size"},
    {"#%ems-manifest 1\n#% created a\n#% created b\n", EMS_MANIFEST_MALFORMED, "comes twice"},
    {"#%ems-manifest 1\n" A64 "  x\n", EMS_MANIFEST_TRUNCATED, "line 2: the file ends without"},
    {"#%ems-manifest 1\n" A64 "  x\n#% end lines=9 sha256=" A64 "\n", EMS_MANIFEST_TRUNCATED,
     "line 3: the end line counts 9 lines, here are 2"},
    {"#%ems-manifest 1\n" A64 "  x\n#% end lines=1 sha256=" A64 "\n", EMS_MANIFEST_MALFORMED,
     "line 3: the end line counts 1 lines"},
    {"#%ems-manifest 1\n" A64 "  x\n#% end lines=2 sha256=" A64 "\n", EMS_MANIFEST_MALFORMED,
     "line 3: the manifest was changed"},
    {"#%ems-manifest 1\n" A64 "  x\n#% end lines=2\n", EMS_MANIFEST_MALFORMED, "missing: sha256"},
    {"\xff\xfex", EMS_MANIFEST_TRUNCATED, "line 1: the file ends within"},
};

static void test_messages(void)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        for (size_t c = 0; c < 2; c++) {
            struct ems_manifest *m =
                read_chunked(refused[i].text, strlen(refused[i].text), ems_test_chunks[c * 7]);

            if (m != NULL || err.code != refused[i].code ||
                strstr(err.text, refused[i].message) == NULL || strstr(err.text, "line ") == NULL) {
                printf("\n    document %zu: %s: %s", i, ems_code_name(err.code), err.text);
                CU_FAIL("not the answer expected");
            }
            ems_manifest_free(m);
        }
    }
}

static void test_encodings(void)
{
    static const uint8_t bom[] = "\xef\xbb\xbf" A64 "  x\r\n";
    static const uint8_t nul[] = "a\0a\0";
    static const uint8_t lone[] = {0xff, 0xfe, 0x00, 0xd8, 'a', 0};
    static const char text[] = A64 "  caf\xc3\xa9 \xf0\x9f\x8e\x89.gpg\r\n"; /* U+E9, U+1F389 */
    struct ems_manifest *m = read_chunked(bom, sizeof bom - 1, 1);

    CU_ASSERT_TRUE(lists(m, "x", 0xaa));
    CU_ASSERT_TRUE(warned("byte order mark") && warned("Windows line ends"));
    ems_manifest_free(m);
    m = read_chunked(nul, 4, 0);
    CU_ASSERT_TRUE(m == NULL && strstr(err.text, "ends too early: line 1: a NUL byte") != NULL);
    m = read_chunked(lone, sizeof lone, 1);
    ASSERT_CODE(err.code, EMS_MANIFEST_MALFORMED);
    for (int big = 0; big < 2; big++) {
        uint8_t wide[400];
        size_t n = 0;
        const uint16_t extra[] = {0xe9, ' ', 0xd83c, 0xdf89};

        wide[n++] = big ? 0xfe : 0xff;
        wide[n++] = big ? 0xff : 0xfe;
        for (const char *p = text; *p != '\0'; p++) {
            uint16_t unit = (uint8_t)*p;

            if (unit == 0xc3 || unit == 0xf0)
                unit = unit == 0xc3 ? extra[0] : extra[2];
            else if (unit == 0x9f)
                unit = extra[3];
            else if (unit >= 0x80)
                continue;
            wide[n++] = big ? (uint8_t)(unit >> 8) : (uint8_t)unit;
            wide[n++] = big ? (uint8_t)unit : (uint8_t)(unit >> 8);
        }
        for (size_t c = 0; c < EMS_TEST_CHUNKS; c++) {
            m = read_chunked(wide, n, ems_test_chunks[c]);
            CU_ASSERT_TRUE(lists(m, "caf\xc3\xa9 \xf0\x9f\x8e\x89.gpg", 0xaa));
            CU_ASSERT_TRUE(warned("UTF-16"));
            ems_manifest_free(m);
        }
    }
}

static void test_standard_input_line(void)
{
    struct ems_manifest *m = read_text(A64 "  -\n" B64 "  x\n");

    CU_ASSERT_TRUE(m != NULL && m->entry_count == 1 && lists(m, "x", 0xbb));
    CU_ASSERT_TRUE(warned("line 1: a checksum of standard input"));
    ems_manifest_free(m);
}

static void test_limits(void)
{
    char *text = malloc(EMS_MANIFEST_LINE_MAX + 200);
    struct ems_manifest *m;

    if (text == NULL)
        abort();
    memset(text, 'n', EMS_MANIFEST_LINE_MAX + 100);
    text[0] = '#';
    memcpy(text + EMS_MANIFEST_LINE_MAX, "\n" A64 "  x\n", 70);
    m = read_chunked(text, EMS_MANIFEST_LINE_MAX + 69, 0);
    CU_ASSERT_TRUE(lists(m, "x", 0xaa)); /* a comment of exactly the longest line */
    ems_manifest_free(m);
    text[EMS_MANIFEST_LINE_MAX] = 'n';
    m = read_chunked(text, EMS_MANIFEST_LINE_MAX + 69, 512);
    CU_ASSERT_TRUE(m == NULL && strstr(err.text, "line 1: longer than 65536 bytes") != NULL);

    memset(text, 'n', 2000);
    memcpy(text, A64 "  ", 66);
    text[66 + 1024] = '\n';
    m = read_chunked(text, 66 + 1025, 0);
    CU_ASSERT_TRUE(m != NULL && strlen(m->entries[0].name) == 1024);
    ems_manifest_free(m);
    text[66 + 1024] = 'n';
    text[66 + 1025] = '\n';
    m = read_chunked(text, 66 + 1026, 0);
    CU_ASSERT_TRUE(m == NULL && strstr(err.text, "more than 1024 bytes") != NULL);
    free(text);
}

/* Lines without end: blank ones, as many as it takes. */
static void test_too_many_lines(void)
{
    size_t size = EMS_MANIFEST_MAX_LINES + 1;
    char *text = malloc(size);
    struct ems_manifest *m;

    if (text == NULL)
        abort();
    memset(text, '\n', size);
    m = read_chunked(text, size, 0);
    CU_ASSERT_TRUE(m == NULL && strstr(err.text, "line 5000001: more lines") != NULL);
    free(text);
}

static void test_source_fails(void)
{
    struct ems_manifest *m;

    for (unsigned k = 1; k <= 20; k++) {
        err = (struct ems_error){0};
        ASSERT_CODE(ems_manifest_read(&m, ems_test_source_open(A64 "  x\n", 68, 4, k, EMS_IO_ERROR),
                                      "m", NULL, &err),
                    k <= 18 ? EMS_IO_ERROR : EMS_OK);
        ems_manifest_free(m);
    }
    err = (struct ems_error){0};
    ems_fail(&err, EMS_IO_ERROR, "from before");
    ASSERT_CODE(ems_manifest_read(&m, NULL, "m", NULL, &err), EMS_IO_ERROR);
}

/* ---- level 1 ---- */

struct memory_sink {
    struct ems_sink base;
    struct ems_buf text;
};

static int memory_write(struct ems_sink *sink, const uint8_t *data, size_t size,
                        struct ems_error *e)
{
    return ems_buf_append(&((struct memory_sink *)sink)->text, data, size, e);
}

static const struct ems_sink_ops memory_ops = {memory_write, NULL, NULL, NULL};

static struct ems_sha256 digest_of(uint8_t byte)
{
    struct ems_sha256 d = {.done = true};

    memset(d.bytes, byte, sizeof d.bytes);
    return d;
}

/* One of everything. */
static struct ems_manifest *make_full(void)
{
    struct ems_manifest *m = ems_manifest_new(&err);
    struct ems_sha256 a = digest_of(0xaa), b = digest_of(0xbb), c = digest_of(0xcc);
    int bad = 0;

    bad |= ems_manifest_set(m, &m->tool, "ems-manifest", &err);
    bad |= ems_manifest_set(m, &m->tool_version, "1 beta", &err);
    bad |= ems_manifest_set(m, &m->created, "2026-03-01T12:00:00Z", &err);
    bad |= ems_manifest_set(m, &m->server_name, "example.org", &err);
    bad |= ems_manifest_set(m, &m->upload_id, "6f1d0c1e-7d0a-4a55-9a3e-0c4f5b1e2d11", &err);
    bad |= ems_manifest_add_artifact(m,
                                     &(struct ems_manifest_artifact){.name = "db.gpg",
                                                                     .kind = "db-dump",
                                                                     .suffix = "alpha",
                                                                     .enc = "gpg-symmetric",
                                                                     .size = 30,
                                                                     .parts = 2,
                                                                     .part_size = 20},
                                     &err);
    bad |= ems_manifest_add_part(m, "db.gpg.part-aa", "db.gpg", 0, 0, 20, &a, &err);
    bad |= ems_manifest_add_part(m, "db.gpg.part-ab", "db.gpg", 1, 20, 10, &b, &err);
    bad |= ems_manifest_add(m, "db.gpg", 30, &c, &err);
    bad |= ems_manifest_add(m, "odd \\ name=100%", EMS_NOWHERE, &a, &err);
    bad |= ems_manifest_add_inner(
        m, &(struct ems_manifest_inner){.name = "db.gpg", .layer = "gpg", .size = 25, .sha256 = b},
        &err);
    bad |= ems_manifest_add_sqldump(m,
                                    &(struct ems_manifest_sqldump){.of = "db.gpg",
                                                                   .server = "15.6 (Debian)",
                                                                   .dump = "15.6",
                                                                   .encoding = "UTF8",
                                                                   .complete = true},
                                    &err);
    bad |= ems_manifest_add_table(
        m, &(struct ems_manifest_table){.name = "public.events", .rows = 7}, &err);
    bad |= ems_manifest_add_table(
        m, &(struct ems_manifest_table){.name = "public.a \xc3\xa9", .rows = 0}, &err);
    bad |= ems_manifest_add_media(m,
                                  &(struct ems_manifest_media){.of = "media.tar.gz.gpg",
                                                               .entity = "example.org",
                                                               .count = 3,
                                                               .bytes = 4,
                                                               .missing = 5},
                                  &err);
    bad |= ems_manifest_add_block(
        m,
        &(struct ems_manifest_block){
            .name = "media.tar.gz.gpg", .size = 4194304, .index = 9, .sha256 = c},
        &err);
    CU_ASSERT_EQUAL(bad, 0);
    return m;
}

static struct ems_buf write_out(struct ems_manifest *m)
{
    struct memory_sink sink = {.base.ops = &memory_ops};

    ASSERT_CODE(ems_manifest_write(m, &sink.base, &err), EMS_OK);
    return sink.text;
}

static void test_round_trip(void)
{
    struct ems_manifest *m = make_full(), *back;
    struct ems_buf text = write_out(m), again;

    for (size_t c = 0; c < EMS_TEST_CHUNKS; c++) {
        back = read_chunked(text.data, text.size, ems_test_chunks[c]);
        if (back == NULL) {
            printf("\n    %s", err.text);
            CU_FAIL("our own manifest is not read");
            break;
        }
        CU_ASSERT_EQUAL(findings.count, 0);
        CU_ASSERT_EQUAL(back->level, 1);
        CU_ASSERT_EQUAL(back->lines, m->lines);
        CU_ASSERT_STRING_EQUAL(back->fingerprint, m->fingerprint);
        CU_ASSERT_STRING_EQUAL(back->tool_version, "1 beta");
        CU_ASSERT_STRING_EQUAL(back->sqldumps[0].server, "15.6 (Debian)");
        CU_ASSERT_EQUAL(back->sqldumps[0].table_count, 2);
        CU_ASSERT_STRING_EQUAL(back->tables[1].name, "public.a \xc3\xa9");
        CU_ASSERT_EQUAL(ems_manifest_find(back, "db.gpg")->parts, 2);
        CU_ASSERT_TRUE(lists(back, "odd \\ name=100%", 0xaa));
        CU_ASSERT_EQUAL(ems_manifest_find(back, "/x/db.gpg.part-ab")->offset, 20);
        again = write_out(back);
        CU_ASSERT_TRUE(again.size == text.size && memcmp(again.data, text.data, text.size) == 0);
        ems_buf_release(&again);
        ems_manifest_free(back);
    }
    ems_buf_release(&text);
    ems_manifest_free(m);
}

/* No change and no cut of a level 1 manifest goes unnoticed. */
static void test_damage(void)
{
    struct ems_manifest *m = make_full(), *back;
    struct ems_buf text = write_out(m);

    for (size_t i = 0; i + 1 < text.size; i++) {
        back = read_chunked(text.data, i, 0);
        if (back != NULL)
            printf("\n    cut at %zu of %zu", i, text.size);
        CU_ASSERT_PTR_NULL(back);
        ems_manifest_free(back);
        /* A capital in a checksum is the same checksum, but no longer the same text. */
        text.data[i] ^= 0x20;
        back = read_chunked(text.data, text.size, 0);
        /* in the end line itself, the case of its hex digits is free */
        if (back != NULL && i < text.size - 66)
            printf("\n    flip at %zu of %zu", i, text.size);
        CU_ASSERT_TRUE(back == NULL || i >= text.size - 66);
        ems_manifest_free(back);
        text.data[i] ^= 0x20;
    }
    ems_buf_append(&text, "x\n", 2, &err);
    back = read_chunked(text.data, text.size, 0);
    CU_ASSERT_TRUE(back == NULL && strstr(err.text, "text behind the end line") != NULL);
    ems_buf_release(&text);
    ems_manifest_free(m);
}

/* An editor's conversion changes no line: the end line still holds. */
static void test_converted(void)
{
    struct ems_manifest *m = make_full(), *back;
    struct ems_buf text = write_out(m), crlf = {0}, wide = {0};

    ems_buf_append(&wide, "\xff\xfe", 2, &err);
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '\n')
            ems_buf_append(&crlf, "\r", 1, &err);
        ems_buf_append(&crlf, &text.data[i], 1, &err);
    }
    for (size_t i = 0; i < crlf.size; i++) {
        ems_buf_append(&wide, &crlf.data[i], 1, &err);
        ems_buf_append(&wide, "", 1, &err);
    }
    back = read_chunked(crlf.data, crlf.size, 7);
    CU_ASSERT_TRUE(back != NULL && back->level == 1 && warned("Windows line ends"));
    ems_manifest_free(back);
    back = read_chunked(wide.data, wide.size, 7);
    CU_ASSERT_TRUE(back != NULL && back->level == 1 && warned("UTF-16"));
    ems_manifest_free(back);
    ems_buf_release(&text);
    ems_buf_release(&crlf);
    ems_buf_release(&wide);
    ems_manifest_free(m);
}

static void test_unknown_directives(void)
{
    struct ems_manifest *m =
        read_text("#% colour red\n#% part x.part-aa size=3\n#%other\n" A64 "  x.part-aa\n");

    CU_ASSERT_TRUE(m != NULL && m->ignored == 1);
    CU_ASSERT_TRUE(m != NULL && ems_manifest_find(m, "x.part-aa")->size == 3);
    ems_manifest_free(m);
}

static void test_many_names(void)
{
    struct ems_buf text = {0};
    struct ems_manifest *m;
    char name[32];

    for (unsigned i = 0; i < 50000; i++)
        ems_buf_printf(&text, &err, A64 "  file-%u\n", i * 7919u);
    m = read_chunked(text.data, text.size, 0);
    CU_ASSERT_TRUE(m != NULL && m->entry_count == 50000);
    for (unsigned i = 0; m != NULL && i < 50000; i += 17) {
        snprintf(name, sizeof name, "file-%u", i * 7919u);
        CU_ASSERT_PTR_NOT_NULL(ems_manifest_find(m, name));
    }
    CU_ASSERT_TRUE(m != NULL && ems_manifest_find(m, "file-1") == NULL);
    ems_manifest_free(m);
    ems_buf_release(&text);
}

/* ---- a directory ---- */

static char directory[64];

static void enter_directory(void)
{
    snprintf(directory, sizeof directory, "/tmp/ems-manifest-XXXXXX");
    if (mkdtemp(directory) == NULL)
        abort();
}

static int shell(const char *command)
{
    char line[2048];

    snprintf(line, sizeof line, "cd %s && { %s\n} >/dev/null 2>&1", directory, command);
    return system(line);
}

static void leave_directory(void)
{
    CU_ASSERT_EQUAL(shell("rm -rf \"$PWD\""), 0);
}

static void put(const char *name, const void *data, size_t size)
{
    char path[256];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    f = fopen(path, "wb");
    if (f == NULL || fwrite(data, 1, size, f) != size || fclose(f) != 0)
        abort();
}

static int verify(bool fast)
{
    struct ems_manifest_options options = {.fast = fast};

    ems_findings_release(&findings);
    err = (struct ems_error){0};
    return ems_manifest_verify_directory(directory, &options, &findings, &err);
}

/* Bytes that no two files share, behind the first bytes of a gzip file. */
static void make_parts(void)
{
    CU_ASSERT_EQUAL(
        shell("{ printf '\\037\\213\\010\\0'; awk 'BEGIN { for (i = 0; i < 9000; i++) "
              "printf \"%d \", i * i }'; } >db.gpg && split -b 10000 db.gpg db.gpg.part- "
              "&& echo key >x.signing.key"),
        0);
}

static const struct {
    const char *program, *command;
} peers[] = {
    {"sha256sum", "sha256sum -- db.gpg* *.key >ems-upload.sha256"},
    {"sha256sum --tag", "sha256sum --tag -- db.gpg* *.key >ems-upload.sha256"},
    {"sha256sum -b", "sha256sum -b -- ./db.gpg* *.key >ems-upload.sha256"},
    {"shasum", "shasum -a 256 db.gpg* *.key >ems-upload.sha256"},
    {"openssl", "openssl dgst -sha256 db.gpg* *.key >ems-upload.sha256"},
    {"openssl -r", "openssl dgst -r -sha256 db.gpg* *.key >ems-upload.sha256"},
};

/* The lists of real programs, over a whole file and its parts, prove the parts alone. */
static void test_real_programs(void)
{
    char command[256];

    for (size_t i = 0; i < sizeof peers / sizeof peers[0]; i++) {
        snprintf(command, sizeof command, "command -v %.*s", (int)strcspn(peers[i].program, " "),
                 peers[i].program);
        enter_directory();
        if (shell(command) != 0) {
            printf("\nskipped: %s is not installed", peers[i].program);
            leave_directory();
            continue;
        }
        make_parts();
        CU_ASSERT_EQUAL(shell(peers[i].command), 0);
        CU_ASSERT_EQUAL(shell("rm db.gpg"), 0);
        ASSERT_CODE(verify(false), EMS_OK);
        CU_ASSERT_EQUAL(ems_findings_exit(&findings), 0);
        if (ems_findings_exit(&findings) != 0)
            printf("\n    %s: %s", peers[i].program, findings.items[0].message);
        CU_ASSERT_EQUAL(shell("printf X | dd of=db.gpg.part-ab bs=1 seek=77 conv=notrunc"), 0);
        ASSERT_CODE(verify(false), EMS_OK);
        CU_ASSERT_TRUE(found(EMS_MANIFEST_DIGEST, "db.gpg.part-ab"));
        CU_ASSERT_FALSE(found(EMS_MANIFEST_DIGEST, "db.gpg.part-aa"));
        leave_directory();
    }
}

/* The guide's list of a file that was hashed before it was split. */
static void test_whole_only(void)
{
    enter_directory();
    make_parts();
    CU_ASSERT_EQUAL(shell("sha256sum db.gpg x.signing.key >ems-upload.sha256 && rm db.gpg"), 0);
    ASSERT_CODE(verify(false), EMS_OK);
    CU_ASSERT_EQUAL(ems_findings_exit(&findings), 0);
    CU_ASSERT_EQUAL(shell("printf X | dd of=db.gpg.part-ab bs=1 seek=77 conv=notrunc"), 0);
    ASSERT_CODE(verify(false), EMS_OK);
    CU_ASSERT_EQUAL(ems_findings_exit(&findings), 1);
    CU_ASSERT_TRUE(found(EMS_MANIFEST_DIGEST, NULL));
    leave_directory();
}

static const struct {
    const char *damage;
    int code;
    const char *part;
    int status, fast_status;
} damages[] = {
    {"true", EMS_OK, NULL, 0, 0},
    {"printf X | dd of=db.gpg.part-aa bs=1 seek=5 conv=notrunc", EMS_MANIFEST_DIGEST,
     "db.gpg.part-aa", 1, 0},
    {"truncate -s -1 db.gpg.part-ab", EMS_MANIFEST_SIZE, "db.gpg.part-ab", 1, 1},
    {"printf X >>db.gpg.part-ab", EMS_MANIFEST_SIZE, "db.gpg.part-ab", 1, 1},
    {": >db.gpg.part-ab", EMS_MANIFEST_SIZE, "db.gpg.part-ab", 1, 1},
    {"rm db.gpg.part-ab", EMS_MANIFEST_MISSING, "db.gpg.part-ab", 3, 3},
    {"rm $(ls db.gpg.part-* | tail -n 1)", EMS_MANIFEST_MISSING, NULL, 3, 3},
    {"rm x.signing.key", EMS_MANIFEST_MISSING, "x.signing.key", 3, 3},
    {"cp db.gpg.part-ab db.gpg.part-ai", EMS_MANIFEST_EXTRA, "db.gpg.part-ai", 1, 1},
    {"echo hello >notes.txt", EMS_MANIFEST_EXTRA, "notes.txt", 0, 0},
    {"cp db.gpg.part-aa t && mv db.gpg.part-ab db.gpg.part-aa && mv t db.gpg.part-ab",
     EMS_MANIFEST_DIGEST, "db.gpg.part-ab", 1, 0},
};

static void test_directory_damage(void)
{
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        enter_directory();
        make_parts();
        CU_ASSERT_EQUAL(
            shell("sha256sum db.gpg* *.key >m; stat -c '#%% part %n size=%s' db.gpg.part* "
                  ">ems-upload.sha256; cat m >>ems-upload.sha256; rm m db.gpg"),
            0);
        CU_ASSERT_EQUAL(shell(damages[i].damage), 0);
        ASSERT_CODE(verify(false), EMS_OK);
        if (ems_findings_exit(&findings) != damages[i].status)
            printf("\n    %s: status %d", damages[i].damage, ems_findings_exit(&findings));
        CU_ASSERT_EQUAL(ems_findings_exit(&findings), damages[i].status);
        if (damages[i].code != EMS_OK)
            CU_ASSERT_TRUE(found(damages[i].code, damages[i].part));
        for (size_t k = 0; k < findings.count; k++)
            if (findings.items[k].resend && damages[i].part != NULL)
                CU_ASSERT_TRUE(damages[i].code == EMS_MANIFEST_EXTRA ||
                               strcmp(findings.items[k].part, damages[i].part) == 0 ||
                               strstr(damages[i].damage, "mv t") != NULL);
        ASSERT_CODE(verify(true), EMS_OK);
        if (ems_findings_exit(&findings) != damages[i].fast_status)
            printf("\n    fast %s: status %d", damages[i].damage, ems_findings_exit(&findings));
        CU_ASSERT_EQUAL(ems_findings_exit(&findings), damages[i].fast_status);
        leave_directory();
    }
}

static void test_no_manifest(void)
{
    enter_directory();
    make_parts();
    ASSERT_CODE(verify(false), EMS_MANIFEST_MISSING);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "ems-upload.sha256"));
    leave_directory();
}

/* ---- digests ---- */

static int resolve(struct ems_upload *upload)
{
    const char *path = directory;

    ems_findings_release(&findings);
    err = (struct ems_error){0};
    return ems_upload_resolve(upload, &path, 1, &findings, &err);
}

static void test_digests(void)
{
    char hex[65];

    for (unsigned threads = 1; threads <= 3; threads++) {
        struct ems_upload upload;
        struct ems_set_digests d[3];
        struct ems_digest_job jobs[3] = {0};
        struct ems_digest_options options = {.threads = threads};
        _Atomic uint64_t bytes = 0;

        enter_directory();
        put("abc", "abc", 3);
        put("empty", "", 0);
        put("x.gpg.part-aa", "a", 1);
        put("x.gpg.part-ab", "b", 1);
        put("x.gpg.part-ac", "c", 1);
        ASSERT_CODE(resolve(&upload), EMS_OK);
        CU_ASSERT_EQUAL_FATAL(upload.count, 3);
        for (size_t i = 0; i < 3; i++) {
            upload.sets[i].whole = true; /* tiny parts look foreign to the resolver */
            ASSERT_CODE(ems_set_digests_init(&d[i], &upload.sets[i], 2, &err), EMS_OK);
            jobs[i] = (struct ems_digest_job){.set = &upload.sets[i], .digests = &d[i]};
        }
        options.bytes_in = &bytes;
        ASSERT_CODE(ems_digest_run(jobs, 3, &options, &err), EMS_OK);
        CU_ASSERT_EQUAL(atomic_load(&bytes), 6);
        for (size_t i = 0; i < 3; i++) {
            ASSERT_CODE(jobs[i].error.code, EMS_OK);
            CU_ASSERT_TRUE(d[i].whole.done && d[i].parts[0].done);
            ems_hex(d[i].whole.bytes, 32, hex);
            CU_ASSERT_STRING_EQUAL(hex, i == 1 ? EMPTY64 : ABC64);
        }
        CU_ASSERT_EQUAL(d[0].block_count, 2); /* "ab" and "c" */
        CU_ASSERT_TRUE(d[0].blocks[1].done && d[2].parts[2].done);
        CU_ASSERT_EQUAL(memcmp(d[0].blocks[1].bytes, d[2].parts[2].bytes, 32), 0);
        CU_ASSERT_EQUAL(d[2].block_count, 0);
        for (size_t i = 0; i < 3; i++)
            ems_set_digests_release(&d[i]);
        ems_upload_release(&upload);
        leave_directory();
    }
}

static void test_digest_of_changed_file(void)
{
    struct ems_upload upload;
    struct ems_set_digests d;
    struct ems_digest_job job = {0};

    enter_directory();
    put("abc", "abc", 3);
    ASSERT_CODE(resolve(&upload), EMS_OK);
    put("abc", "abcd", 4);
    ASSERT_CODE(ems_set_digests_init(&d, &upload.sets[0], 0, &err), EMS_OK);
    job.set = &upload.sets[0];
    job.digests = &d;
    ASSERT_CODE(ems_digest_run(&job, 1, NULL, &err), EMS_OK);
    ASSERT_CODE(job.error.code, EMS_PART_UNFINISHED);
    CU_ASSERT_FALSE(d.whole.done || d.parts[0].done);
    ems_set_digests_release(&d);
    ems_upload_release(&upload);
    leave_directory();
}

static int give_up(void *context, struct ems_error *e)
{
    (void)context;
    return ems_fail(e, EMS_IO_ERROR, "enough");
}

static void test_digest_interrupted(void)
{
    struct ems_upload upload;
    struct ems_set_digests d;
    struct ems_digest_job job = {0};
    struct ems_digest_options options = {.tick = give_up};

    enter_directory();
    CU_ASSERT_EQUAL(shell("truncate -s 20G sparse"), 0);
    ASSERT_CODE(resolve(&upload), EMS_OK);
    ASSERT_CODE(ems_set_digests_init(&d, &upload.sets[0], 0, &err), EMS_OK);
    job.set = &upload.sets[0];
    job.digests = &d;
    ASSERT_CODE(ems_digest_run(&job, 1, &options, &err), EMS_IO_ERROR);
    CU_ASSERT_STRING_EQUAL(err.text, "enough");
    ASSERT_CODE(job.error.code, EMS_IO_ERROR);
    CU_ASSERT_FALSE(d.whole.done);
    ems_set_digests_release(&d);
    ems_upload_release(&upload);
    leave_directory();
}

/* ---- listings ---- */

static int match_listing(const char *manifest, const char *json)
{
    struct ems_manifest *m = read_text(manifest);
    int rc = EMS_INTERNAL;

    ems_findings_release(&findings);
    if (m != NULL)
        rc = ems_manifest_match_listing(m, ems_test_source_open(json, strlen(json), 7, 0, 0),
                                        &findings, &err);
    ems_manifest_free(m);
    return rc;
}

#define FILE_JSON(name, size, hash, id)                                                            \
    "{\"Path\":\"up/" name "\",\"Name\":\"" name "\",\"Size\":" size                               \
    ",\"IsDir\":false,\"ID\":\"" id "\",\"Hashes\":{\"md5\":\"00\",\"sha256\":\"" hash "\"}}"

static void test_listing(void)
{
    static const char manifest[] =
        "#% part x.part-aa size=3\n" A64 "  x.part-aa\n" B64 "  x.part-ab\n";

    ASSERT_CODE(match_listing(manifest, "[" FILE_JSON("x.part-aa", "3", A64, "1") "," FILE_JSON(
                                            "x.part-ab", "9", B64, "2") ",{\"Name\":\"d\","
                                                                        "\"IsDir\":true}]"),
                EMS_OK);
    CU_ASSERT_EQUAL(findings.count, 0);
    ASSERT_CODE(match_listing(manifest, "[" FILE_JSON("x.part-aa", "3", B64, "1") "]"), EMS_OK);
    CU_ASSERT_TRUE(found(EMS_MANIFEST_DIGEST, "x.part-aa"));
    CU_ASSERT_TRUE(found(EMS_MANIFEST_MISSING, "x.part-ab"));
    ASSERT_CODE(match_listing(manifest, "[" FILE_JSON("x.part-aa", "4", A64, "1") "]"), EMS_OK);
    CU_ASSERT_TRUE(found(EMS_MANIFEST_SIZE, "x.part-aa"));
    /* Drive: two files of one name */
    ASSERT_CODE(
        match_listing(manifest, "[" FILE_JSON("x.part-aa", "3", A64, "id-one") "," FILE_JSON(
                                    "x.part-ab", "9", B64, "2") "," FILE_JSON("x.part-aa", "3", B64,
                                                                              "id-two") "]"),
        EMS_OK);
    CU_ASSERT_TRUE(found(EMS_PART_CONFLICT, "x.part-aa") && warned("id-one") && warned("id-two"));
    CU_ASSERT_FALSE(found(EMS_MANIFEST_MISSING, NULL));
    ASSERT_CODE(match_listing(manifest, "[" FILE_JSON("x.part-aa", "3", A64, "1") "," FILE_JSON(
                                            "x.part-ab", "9", B64,
                                            "2") "," FILE_JSON("x.part-aa", "3", A64, "3") "]"),
                EMS_OK);
    CU_ASSERT_TRUE(found(EMS_PART_DUPLICATE, "x.part-aa"));
    CU_ASSERT_EQUAL(ems_findings_exit(&findings), 0);
    /* without SHA-256: sizes */
    ASSERT_CODE(match_listing(manifest, "[{\"Path\":\"x.part-aa\",\"Size\":3},{\"Path\":"
                                        "\"x.part-ab\",\"Size\":9}]"),
                EMS_OK);
    CU_ASSERT_TRUE(warned("no SHA-256 of 2 files"));
    CU_ASSERT_EQUAL(ems_findings_exit(&findings), 0);
    ASSERT_CODE(match_listing(manifest, "{}"), EMS_MANIFEST_MALFORMED);
    ASSERT_CODE(match_listing(manifest, "[{\"Name\":\"x\"}]"), EMS_MANIFEST_MALFORMED);
    ASSERT_CODE(match_listing(manifest, "[1,"), EMS_MANIFEST_MALFORMED);
    ASSERT_CODE(match_listing(manifest, "[1]"), EMS_MANIFEST_MALFORMED);
}

static void test_set_up(void)
{
    ASSERT_CODE(ems_pgp_library_init(&err), EMS_OK);
}

static void test_clean_up(void)
{
    ems_findings_release(&findings);
    CU_ASSERT_EQUAL(findings.count, 0);
}

EMS_TESTS("manifest", {"library", test_set_up}, {"what programs write is read", test_programs},
          {"one bad document per message", test_messages}, {"encodings", test_encodings},
          {"a checksum of standard input is left out", test_standard_input_line},
          {"line and name limits", test_limits}, {"line count limit", test_too_many_lines},
          {"a failing source", test_source_fails}, {"round trip", test_round_trip},
          {"every cut and change of level 1 is seen", test_damage},
          {"an editor's conversion is not", test_converted},
          {"unknown directives", test_unknown_directives}, {"many names", test_many_names},
          {"real programs", test_real_programs}, {"hashed before it was split", test_whole_only},
          {"damage to a directory", test_directory_damage}, {"no manifest", test_no_manifest},
          {"digests", test_digests}, {"a file that changes", test_digest_of_changed_file},
          {"an interrupted run", test_digest_interrupted}, {"rclone listings", test_listing},
          {"clean up", test_clean_up})
