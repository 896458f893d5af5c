/*
 * Where a message begins: real ones do, and random bytes that only look like it do not, neither by
 * themselves nor in a set of parts whose names were exchanged.
 */
#include "harness.h"

#include "part_content.h"
#include "parts.h"

#include <glob.h>
#include <unistd.h>

#define X "customer_db_export.sql.gz.gpg"
#define P X ".part-"

static char home[64];
static struct ems_upload upload;
static struct ems_findings findings;

/* ---- single beginnings ---- */

static uint8_t *read_file(const char *path, size_t *size)
{
    uint8_t *data = malloc(EMS_BEGIN_SIZE);
    FILE *f = fopen(path, "rb");

    CU_ASSERT_FATAL(f != NULL && data != NULL);
    *size = fread(data, 1, EMS_BEGIN_SIZE, f);
    fclose(f);
    return data;
}

/* What GnuPG wrote for each kind of key and passphrase, in full and as far as a cut file shows. */
static void test_real_messages(void)
{
    glob_t found;

    CU_ASSERT_EQUAL_FATAL(glob("fixtures/openpgp/*.msg", 0, NULL, &found), 0);
    CU_ASSERT(found.gl_pathc >= 15);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        size_t size;
        uint8_t *data = read_file(found.gl_pathv[i], &size);

        for (size_t n = 20; n <= size; n++) {
            uint8_t *cut = malloc(n); /* nothing is read behind it */

            memcpy(cut, data, n);
            CU_ASSERT(ems_message_begins(cut, n));
            free(cut);
        }
        free(data);
    }
    globfree(&found);
}

/* One packet, or two: bytes as they are, then random ones up to 600. */
static void test_shapes(void)
{
    static const struct {
        const char *what, *bytes;
        size_t size;
        bool begins;
    } cases[] = {
        {"v4 passphrase", "\x8c\x0d\4\x9\3\x8", 6, true},
        {"v4 passphrase, encrypted key", "\x8c\x2e\4\x9\3\x8", 6, true},
        {"v4 passphrase, one octet too long", "\x8c\x0e\4\x9\3\x8", 6, false},
        {"v4 passphrase, no such hash", "\x8c\x0d\4\x9\3\x2a", 6, false},
        {"v4 passphrase, no such cipher", "\x8c\x0d\4\x2a\3\x8", 6, false},
        {"v4 passphrase, simple", "\xc3\4\4\x9\0\2", 6, true},
        {"v4 passphrase, Argon2", "\xc3\x16\4\x9\4", 5, true},
        {"v5 passphrase, too short", "\xc3\x39\5\x9\2\3\x8", 7, false},
        {"v5 passphrase, OCB", "\xc3\x4d\5\x9\2\3\x8", 7, true},
        {"v6 passphrase, OCB", "\xc3\x4f\6\x1d\x9\2\xb\3\x8", 9, true},
        {"RSA of 2048 bits",
         "\x85\1\xc\3"
         "12345678\1\x8\0",
         15, true},
        {"RSA, longer than its packet",
         "\x85\1\xc\3"
         "12345678\1\x9\0",
         15, false},
        {"RSA, no number",
         "\x85\1\xc\3"
         "12345678\1\0\0",
         15, false},
        {"X25519, v3",
         "\xc1\x53\3"
         "12345678\x19"
         "12345678123456781234567812345678\x28",
         45, true},
        {"X25519, v3, too long",
         "\xc1\x54\3"
         "12345678\x19"
         "12345678123456781234567812345678\x28",
         45, false},
        {"v6 recipient without a name",
         "\xc1\x4c\6\0\x19"
         "12345678123456781234567812345678\x28",
         38, true},
        {"a recipient of a version to come", "\xc1\x03\7zz\xd2\xff\0\1\0\0\1", 12, true},
        {"the same before nothing", "\xc1\x03\7zz\x41", 6, false},
        {"padding, then a passphrase", "\xd5\2zz\xc3\4\4\x9\0\2", 10, true},
        {"a marker", "\xca\3PGP", 5, true},
        {"no marker", "\xca\3PGX", 5, false},
        {"SEIPD v1 alone", "\xd2\xff\0\1\0\0\1", 7, true},
        {"SEIPD v2 alone", "\xd2\xff\0\1\0\0\2\x9\2\x6", 10, true},
        {"SEIPD v2, no such mode", "\xd2\xff\0\1\0\0\2\x9\7\x6", 10, false},
        {"packet 20", "\xd4\xff\0\1\0\0\1\x9\2\x10", 10, true},
        {"packet 9 alone", "\xa4\x77", 2, false},
        {"packet 9 of the new format alone", "\xc9\x77", 2, false},
        {"packet 9 behind a passphrase", "\xc3\4\4\x9\0\2\xc9\x77", 8, true},
        {"compressed, as GnuPG writes it", "\xa3\1", 2, true},
        {"compressed by zlib", "\xc8\x27\2\x78\x9c", 5, true},
        {"no zlib", "\xc8\x27\2\x79\x9c", 5, false},
        {"signed",
         "\x90\xd\3\0\x8\1"
         "12345678\1",
         15, true},
        {"a literal",
         "\xac\x30"
         "b\3abc",
         7, true},
        {"no literal", "\xac\x30\0\3abc", 7, false},
        {"a public key", "\x99\1\xd\4", 4, false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t data[600];
        bool is;

        for (size_t k = 0; k < sizeof data; k++)
            data[k] = (uint8_t)(1 + k % 31);
        memcpy(data, cases[i].bytes, cases[i].size);
        is = ems_message_begins(data, sizeof data);
        if (is != cases[i].begins)
            printf("\n    %s", cases[i].what);
        CU_ASSERT_EQUAL(is, cases[i].begins);
    }
}

/* ---- sets ---- */

static void sh(const char *command)
{
    char line[600];

    snprintf(line, sizeof line, "cd '%s' && { %s ; }", home, command);
    if (system(line) != 0) {
        printf("\n    this failed: %s", command);
        CU_FAIL("shell");
    }
}

static uint64_t state = 88172645463325252u;

static uint8_t random_octet(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint8_t)(state >> 32);
}

/* A message for a passphrase that states its length; what it holds is random. */
static void write_message(const char *name, size_t size)
{
    static const uint8_t head[] = {0x8c, 0x0d, 4, 9, 3, 8,    1,    2,   3,
                                   4,    5,    6, 7, 8, 0xff, 0xd2, 0xff};
    uint8_t *data = malloc(size);
    char path[200];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", home, name);
    f = fopen(path, "wb");
    CU_ASSERT_FATAL(data != NULL && f != NULL);
    for (size_t i = 0; i < size; i++)
        data[i] = random_octet();
    memcpy(data, head, sizeof head);
    for (int i = 0; i < 4; i++)
        data[17 + i] = (uint8_t)((size - 21) >> (24 - 8 * i));
    CU_ASSERT_EQUAL(fwrite(data, 1, size, f), size);
    fclose(f);
    free(data);
}

static void enter(size_t size)
{
    snprintf(home, sizeof home, "/tmp/ems-begin-XXXXXX");
    if (mkdtemp(home) == NULL)
        abort();
    write_message("whole", size);
}

/* What is to be sent again, without the name that all begin with. */
static void expect(const char *what, const char *resend)
{
    const char *here[] = {home};
    struct ems_error err = {0};
    char is[600] = "";
    size_t n = 0;

    ASSERT_CODE(ems_upload_resolve(&upload, here, 1, &findings, &err), EMS_OK);
    for (size_t i = 0; i < findings.count && n < sizeof is; i++)
        if (findings.items[i].resend)
            n += (size_t)snprintf(
                is + n, sizeof is - n, " %s",
                findings.items[i].part != NULL ? findings.items[i].part + strlen(P) : "all");
    if (strcmp(is, resend) != 0)
        printf("\n    %s: to send again:%s, not:%s", what, is, resend);
    CU_ASSERT_STRING_EQUAL(is, resend);
    ems_upload_release(&upload);
    ems_findings_release(&findings);
}

static void leave(void)
{
    sh("cd / && rm -rf \"$OLDPWD\"");
}

/* Bytes written over the beginning of a part, as chance may have them there. */
#define OVER(part, octets) "; printf '" octets "' | dd of=" P part " conv=notrunc status=none"
#define EXCHANGE           "mv " P "aa t; mv " P "ac " P "aa; mv t " P "ac"

/* Each row: ten parts of 1000 bytes, the last one of 400. */
static void test_chance(void)
{
    static const struct {
        const char *what, *command, *resend;
    } rows[] = {
        {"exchanged", EXCHANGE, " aa ac"},
        {"one in the middle like packet 9", EXCHANGE OVER("ae", "\\244\\020"), " aa ac"},
        {"two of them", EXCHANGE OVER("ae", "\\311\\020") OVER("af", "\\245\\002\\000"), " aa ac"},
        {"the one under the first name like packet 9", EXCHANGE OVER("aa", "\\244\\020"), " aa ac"},
        {"like a passphrase's packet", EXCHANGE OVER("aa", "\\214\\016\\004\\011"), " aa ac"},
        {"like a container, shorter than the part", EXCHANGE OVER("ae", "\\322\\300\\100\\001"),
         " aa ac"},
        {"a whole beginning, of another length",
         EXCHANGE "; head -c 5000 other | head -c 1000 >" P "ae", " aa ac"},
        {"two beginnings that fit", EXCHANGE "; cp " P "ac " P "ae", " aa"},
        {"names ran out, and the last begins like packet 9",
         "rm " P "*; split -b 100 -a 1 whole " P " 2>/dev/null" OVER("z", "\\244\\020"), " all"},
        {"all well, and one in the middle like packet 9", ":" OVER("ae", "\\244\\020"), ""},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enter(9400);
        write_message("other", 5000);
        sh("split -b 1000 whole " P);
        sh(rows[i].command);
        sh("rm -f whole other");
        expect(rows[i].what, rows[i].resend);
        leave();
    }
}

/* Of 10,000 random parts some 290 begin like a packet, 155 of them with a length; short runs have
 * a tenth of them. */
static void test_many(void)
{
    bool all = getenv("EMS_LONG") != NULL;

    enter((all ? 10000u : 1000u) * 64 - 13);
    sh("split -b 64 whole " P "; rm whole");
    expect("many", "");
    sh("mv " P "aa t; mv " P "zabc " P "aa; mv t " P "zabc");
    expect("many, two exchanged", " aa zabc");
    leave();
}

/* Parts of the usual size and more than 1 MiB are not looked at unless the first one is wrong. */
static void test_large(void)
{
    enter(5u << 20);
    sh("split -b 1500000 whole " P "; rm whole; " EXCHANGE);
    expect("large parts", " aa ac");
    leave();
}

EMS_TESTS("part_begin", {"real messages", test_real_messages}, {"shapes", test_shapes},
          {"chance", test_chance}, {"many parts", test_many}, {"large parts", test_large})
