/* Names: what was done to them, undone; what must be left alone, left alone. And first bytes. */
#include "harness.h"

#include "part_content.h"
#include "part_name.h"

static void expect(const char *name, enum ems_name_kind kind, const char *artifact,
                   const char *suffix, bool known, bool renamed)
{
    struct ems_part_name n;
    bool ok = ems_part_name_parse(name, &n);

    if (!ok || n.kind != kind || strcmp(n.artifact, artifact) != 0 ||
        strcmp(n.suffix, suffix) != 0 || n.known != known || n.renamed != renamed)
        printf("\n    '%s': kind %d, '%s' '%s'%s%s", name, n.kind, n.artifact, n.suffix,
               n.known ? ", known" : "", n.renamed ? ", renamed" : "");
    CU_ASSERT(ok && n.kind == kind && n.known == known && n.renamed == renamed);
    CU_ASSERT_STRING_EQUAL(n.artifact, artifact);
    CU_ASSERT_STRING_EQUAL(n.suffix, suffix);
}

#define DB "customer_db_export.sql.gz.gpg"

static void test_plain_names(void)
{
    static const struct {
        const char *name, *artifact, *suffix;
        bool known;
    } cases[] = {
        {DB, DB, "", true},
        {DB ".part-aa", DB, "aa", true},
        {"my.part-time.gpg.part-zaaa", "my.part-time.gpg", "zaaa", true},
        {"anything.part-00", "anything", "00", true},
        {DB ".001", DB, "001", true},
        {"report.001", "report.001", "", false}, /* no archive: an ordinary name */
        {"x.gpg.01", "x.gpg.01", "", false},
        {"homeserver.yaml", "homeserver.yaml", "", true},
        {"example.org.signing.key", "example.org.signing.key", "", true},
        {"homeserver.db.tar.gz.gpg", "homeserver.db.tar.gz.gpg", "", true},
        {"homeserver.dbx", "homeserver.dbx", "", false},
        {"customer_media_exports.tar", "customer_media_exports.tar", "", false},
        {"notes (1).txt", "notes (1).txt", "", false}, /* the rest fits nothing: left alone */
        {"mydump (1).sql.gz.gpg", "mydump (1).sql.gz.gpg", "", false},
        {".part-aa", ".part-aa", "", false},
        {"x.part-", "x.part-", "", false},
        {"x.part-a_b", "x.part-a_b", "", false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect(cases[i].name, cases[i].name[0] == '.' ? EMS_NAME_HIDDEN : EMS_NAME_FILE,
               cases[i].artifact, cases[i].suffix, cases[i].known, false);
}

static void test_renamed(void)
{
    static const struct {
        const char *name, *artifact, *suffix;
    } cases[] = {
        {DB " (1).part-aa", DB, "aa"}, /* Chromium, before the last extension */
        {DB "(1).part-aa", DB, "aa"},  /* Firefox */
        {"customer_db_export(1).sql.gz.gpg", DB, ""},
        {"customer_db_export (12).sql.gz.gpg", DB, ""},
        {"customer_db_export.sql.gz (1).gpg", DB, ""},
        {DB ".part-aa (1)", DB, "aa"},
        {DB ".part-aa(3)", DB, "aa"},
        {DB ".part-aa (1) (2)", DB, "aa"},
        {"Copy of " DB ".part-aa", DB, "aa"}, /* Drive */
        {"Copy of Copy of " DB, DB, ""},
        {"Kopie von " DB, DB, ""},
        {"Copie de " DB " (1)", DB, ""},
        {DB ".part-aa - Copy", DB, "aa"}, /* Explorer */
        {DB ".part-aa - Copy (2)", DB, "aa"},
        {"customer_db_export.sql.gz - Copy.gpg", DB, ""},
        {DB ".part-aa copy", DB, "aa"}, /* Finder */
        {DB ".part-aa copy 3", DB, "aa"},
        {"customer_db_export-1.sql.gz.gpg", DB, ""},
        {DB ".part-aa.txt", DB, "aa"},
        {DB ".part-aa.bin", DB, "aa"},
        {DB ".part-aa (1).dat", DB, "aa"},
        {"homeserver.yaml.txt", "homeserver.yaml", ""},
        {"ems-upload.sha256.txt", "ems-upload.sha256", ""},
        {"example.org.signing.key.txt", "example.org.signing.key", ""},
        {"HOMESERVER.YAML", "homeserver.yaml", ""},
        {"X.gpg.PART-AB", "X.gpg", "ab"}, /* what is not the guide's keeps its letters */
        {"CUSTOMER_DB_EXPORT.SQL.GZ.GPG.PART-AB", DB, "ab"},
        {DB " (1).003", DB, "003"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect(cases[i].name, EMS_NAME_FILE, cases[i].artifact, cases[i].suffix, true, true);
}

static void test_unfinished(void)
{
    static const struct {
        const char *name, *artifact, *suffix;
        bool known;
    } cases[] = {
        {DB ".part-aa.crdownload", DB, "aa", true},
        {DB ".part", DB, "", true},
        {DB ".part-ab.part", DB, "ab", true},
        {"customer_db_export.sql.gz.aB3_x-9Q.gpg.part", DB, "", true},
        {DB ".5e1a2b3c.partial", DB, "", true},
        {DB ".part-aa.5e1a2b3c.partial", DB, "aa", true},
        {DB ".partial", DB, "", true},
        {DB ".download", DB, "", true},
        {DB ".aria2", DB, "", true},
        {DB ".part-aa.tmp", DB, "aa", true},
        {"." DB ".part-aa.Xy12zQ", DB, "aa", true},
        {"." DB ".AbCdEf", DB, "", true},
        {"Unconfirmed 123456.crdownload", "Unconfirmed 123456", "", false},
    };
    struct ems_part_name n;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect(cases[i].name, EMS_NAME_UNFINISHED, cases[i].artifact, cases[i].suffix,
               cases[i].known, false);
    CU_ASSERT(ems_part_name_parse(DB ".aria2", &n) && n.in_place);
    expect("notes.tmp", EMS_NAME_FILE, "notes.tmp", "", false, false);
    expect(".bash_history", EMS_NAME_HIDDEN, ".bash_history", "", false, false);
}

static void test_litter(void)
{
    static const char *const names[] = {".DS_Store", ("._" DB),   "__MACOSX", "Desktop.ini",
                                        "thumbs.db", "plan.gdoc", "~$notes",  "Icon\r"};
    char longest[300];
    struct ems_part_name n;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        expect(names[i], EMS_NAME_LITTER, names[i], "", false, false);
    CU_ASSERT(!ems_part_name_parse("", &n));
    memset(longest, 'a', sizeof longest);
    longest[256] = '\0';
    CU_ASSERT(!ems_part_name_parse(longest, &n));
    longest[255] = '\0';
    CU_ASSERT(ems_part_name_parse(longest, &n) && strlen(n.artifact) == 255);
}

static void test_bundles(void)
{
    static const struct {
        const char *name;
        unsigned number; /* 0: none */
    } cases[] = {
        {"upload-20260512T023001Z-3-001.zip", 1},
        {"upload-20260512T023001Z-024.zip", 24},
        {"drive-download-20260512T023001Z-1-002 (1).zip", 2},
        {"upload-20260512T023001-001.zip", 0},
        {"upload-001.zip", 0},
        {"upload-20260512T023001Z-3-001.gpg", 0},
        {"20260512T023001Z-001.zip", 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t series = 0;
        unsigned number = 0;
        bool is = ems_part_name_is_bundle(cases[i].name, &series, &number);

        CU_ASSERT_EQUAL(is, cases[i].number > 0);
        if (is)
            CU_ASSERT_EQUAL(number, cases[i].number);
    }
}

static void test_first_bytes(void)
{
    static const struct {
        const char *bytes;
        size_t size;
        enum ems_looks looks;
    } cases[] = {
        {"\x8c\x0d\x04\x09\x03\x08", 6, EMS_LOOKS_OPENPGP},
        {"-----BEGIN PGP MESSAGE-----\n", 28, EMS_LOOKS_OPENPGP},
        {"\x1f\x8b\x08\x00", 4, EMS_LOOKS_GZIP},
        {"PK\3\4", 4, EMS_LOOKS_ZIP},
        {"SQLite format 3", 16, EMS_LOOKS_SQLITE},
        {"\xfd\067zXZ\0", 6, EMS_LOOKS_PACKED},
        {"--\n-- PostgreSQL database dump", 30, EMS_LOOKS_SQL},
        {"\xef\xbb\xbf\r\n <!doctype HTML>", 21, EMS_LOOKS_PAGE},
        {"<html\xc3\xa9>", 8, EMS_LOOKS_PAGE},
        {"<html\x01\x02", 7, EMS_LOOKS_UNKNOWN}, /* chance: no text */
        {"<?xml version='1.0'?><Error>", 28, EMS_LOOKS_PAGE},
        {"{ \"error\": 1}", 13, EMS_LOOKS_JSON},
        {"{\"error\x80\x01", 9, EMS_LOOKS_UNKNOWN},
        {"{}", 2, EMS_LOOKS_UNKNOWN},
        {"", 0, EMS_LOOKS_UNKNOWN},
    };
    uint8_t tar[512] = "name";

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CU_ASSERT_EQUAL(ems_looks_like((const uint8_t *)cases[i].bytes, cases[i].size),
                        cases[i].looks);
    snprintf((char *)tar + 148, 8, "%06o", (unsigned)(8 * ' ' + 'n' + 'a' + 'm' + 'e'));
    CU_ASSERT_EQUAL(ems_looks_like(tar, sizeof tar), EMS_LOOKS_TAR);
    tar[0] ^= 1;
    CU_ASSERT_EQUAL(ems_looks_like(tar, sizeof tar), EMS_LOOKS_UNKNOWN);
}

EMS_TESTS("part_name", {"plain names", test_plain_names}, {"renamed files", test_renamed},
          {"unfinished downloads", test_unfinished}, {"litter", test_litter},
          {"bundles of Drive", test_bundles}, {"first bytes", test_first_bytes})
