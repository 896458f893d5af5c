/* Part sets: suffix arithmetic against the real split, damage to sets, and the stream over them. */
#include "harness.h"

#include "parts.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[64];

static void enter_directory(void)
{
    snprintf(directory, sizeof directory, "/tmp/ems-parts-XXXXXX");
    if (mkdtemp(directory) == NULL)
        abort();
}

static void leave_directory(void)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    CU_ASSERT_EQUAL(system(command), 0);
}

static char *in_directory(const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void put(const char *name, const void *data, size_t size)
{
    FILE *f = fopen(in_directory(name), "wb");

    if (f == NULL || fwrite(data, 1, size, f) != size || fclose(f) != 0)
        abort();
}

/* The outcome of resolving the directory, or one name in it. */
static struct ems_upload upload;
static struct ems_findings findings;

static int resolve(const char *name)
{
    const char *path = name != NULL ? in_directory(name) : directory;
    struct ems_error err = {0};

    return ems_upload_resolve(&upload, &path, 1, &findings, &err);
}

static void done(void)
{
    ems_upload_release(&upload);
    ems_findings_release(&findings);
}

static bool found(int code, const char *part)
{
    for (size_t i = 0; i < findings.count; i++)
        if (findings.items[i].code == code &&
            (part == NULL || (findings.items[i].part != NULL &&
                              strcmp(findings.items[i].part, part) == 0)))
            return true;
    return false;
}

/* A message of n bytes as far as its framing goes: a session-key packet, then one encrypted packet
 * of definite length (RFC 9580, sections 5.3 and 5.13). */
static uint8_t *framed(size_t n)
{
    static const uint8_t skesk[15] = {0x8c, 0x0d, 0x04, 0x09, 0x03, 0x08, 1, 2, 3, 4, 5, 6, 7, 8,
                                      0xff};
    uint8_t *data = malloc(n);
    uint32_t length = (uint32_t)(n - 15 - 6);

    for (size_t i = 0; i < n; i++)
        data[i] = (uint8_t)(i * 7 + i / 251);
    memcpy(data, skesk, 15);
    data[15] = 0xd2;
    data[16] = 0xff;
    for (int i = 0; i < 4; i++)
        data[17 + i] = (uint8_t)(length >> (24 - 8 * i));
    return data;
}

/* ---- suffixes ---- */

static void compare_with_split(const char *option, enum ems_part_alphabet alphabet, unsigned count)
{
    char command[300], suffix[EMS_SUFFIX_MAX];
    struct dirent **names = NULL;
    int n;

    enter_directory();
    snprintf(command, sizeof command, "cd '%s' && head -c %u /dev/zero | split -b 1 %s - x.part-",
             directory, count, option);
    CU_ASSERT_EQUAL_FATAL(system(command), 0);
    n = scandir(directory, &names, NULL, alphasort);
    CU_ASSERT_EQUAL(n, (int)count + 2);
    for (int i = 0; i < n; i++) {
        const char *at = strstr(names[i]->d_name, ".part-");
        uint64_t rank;

        if (at != NULL) { /* "." and ".." sort first: rank i - 2 */
            CU_ASSERT(ems_suffix_rank(alphabet, true, 2, at + 6, &rank));
            CU_ASSERT_EQUAL(rank, (uint64_t)i - 2);
            CU_ASSERT(ems_suffix_text(alphabet, true, 2, rank, suffix));
            CU_ASSERT_STRING_EQUAL(suffix, at + 6);
        }
        free(names[i]);
    }
    free(names);
    leave_directory();
}

static void test_suffixes_of_real_split(void)
{
    compare_with_split("", EMS_PART_LETTERS, 1400);
    compare_with_split("-d", EMS_PART_DIGITS, 1100);
    compare_with_split("-x", EMS_PART_HEX, 500);
}

static void test_suffix_borders(void)
{
    static const struct {
        enum ems_part_alphabet alphabet;
        bool widening;
        unsigned width;
        const char *suffix;
        uint64_t rank; /* EMS_NOWHERE: no suffix of this scheme */
    } cases[] = {
        {EMS_PART_LETTERS, true, 2, "yz", 649},
        {EMS_PART_LETTERS, true, 2, "zaaa", 650},
        {EMS_PART_LETTERS, true, 2, "zyzz", 650 + 16900 - 1},
        {EMS_PART_LETTERS, true, 2, "zzaaaa", 650 + 16900},
        {EMS_PART_LETTERS, true, 2, "za", EMS_NOWHERE},
        {EMS_PART_LETTERS, true, 2, "aaa", EMS_NOWHERE},
        {EMS_PART_LETTERS, true, 2, "aB", EMS_NOWHERE},
        {EMS_PART_LETTERS, false, 2, "zz", 675},
        {EMS_PART_LETTERS, false, 3, "aab", 1},
        {EMS_PART_DIGITS, true, 2, "89", 89},
        {EMS_PART_DIGITS, true, 2, "9000", 90},
        {EMS_PART_DIGITS, true, 2, "90", EMS_NOWHERE},
        {EMS_PART_HEX, true, 2, "ef", 239},
        {EMS_PART_HEX, true, 2, "f000", 240},
        {EMS_PART_LETTERS, true, 2, "zzzzzzzzzzzzzzzzzzzzzzzzzz", EMS_NOWHERE},
        {EMS_PART_LETTERS, true, 2, "", EMS_NOWHERE},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t rank = EMS_NOWHERE;
        bool ok = ems_suffix_rank(cases[i].alphabet, cases[i].widening, cases[i].width,
                                  cases[i].suffix, &rank);

        CU_ASSERT_EQUAL(ok, cases[i].rank != EMS_NOWHERE);
        if (ok)
            CU_ASSERT_EQUAL(rank, cases[i].rank);
    }
}

/* ---- sets ---- */

/* Cut data into parts X.part-aa ... of the given size. */
static void cut(const uint8_t *data, size_t size, size_t part)
{
    char name[64], suffix[EMS_SUFFIX_MAX];

    for (size_t at = 0, rank = 0; at < size; at += part, rank++) {
        ems_suffix_text(EMS_PART_LETTERS, true, 2, rank, suffix);
        snprintf(name, sizeof name, "X.gpg.part-%s", suffix);
        put(name, data + at, size - at < part ? size - at : part);
    }
}

static void test_whole_set_gives_the_bytes(void)
{
    size_t size = 700000;
    uint8_t *data = framed(size);

    for (size_t part = 70000; part <= size; part += 90000) {
        struct ems_error err = {0};
        struct ems_buf out = {0};
        struct ems_source *src;
        struct ems_span span;
        uint64_t offset;

        enter_directory();
        cut(data, size, part);
        ASSERT_CODE(resolve("X.gpg"), EMS_OK);
        CU_ASSERT_EQUAL_FATAL(upload.count, 1);
        CU_ASSERT_EQUAL(findings.count, 0);
        CU_ASSERT(upload.sets[0].whole);
        CU_ASSERT_EQUAL(upload.sets[0].expected, size);
        src = ems_parts_open(&upload.sets[0], &err);
        while (ems_source_next(src, &span, &err) == EMS_OK) {
            const struct ems_part *p = ems_parts_locate(&upload.sets[0], span.origin, &offset);

            CU_ASSERT_EQUAL(span.origin, out.size);
            CU_ASSERT_PTR_NOT_NULL_FATAL(p);
            CU_ASSERT_EQUAL(p->offset + offset, span.origin);
            ems_buf_append(&out, span.data, span.size, NULL);
        }
        CU_ASSERT_EQUAL(err.code, EMS_OK);
        CU_ASSERT(out.size == size && memcmp(out.data, data, size) == 0);
        CU_ASSERT_PTR_NULL(ems_parts_locate(&upload.sets[0], size + 1, &offset));
        CU_ASSERT_PTR_NULL(ems_parts_locate(&upload.sets[0], EMS_NOWHERE, &offset));
        ems_source_free(src);
        ems_buf_release(&out);
        done();
        leave_directory();
    }
    free(data);
}

static void test_damage_to_a_set(void)
{
    static const struct {
        const char *command; /* in the directory; parts aa..ae, the last shorter */
        int code;
        const char *part;
    } cases[] = {
        {"rm X.gpg.part-ac", EMS_PART_MISSING, "X.gpg.part-ac"},
        {"rm X.gpg.part-aa", EMS_PART_MISSING, "X.gpg.part-aa"},
        {"rm X.gpg.part-ae", EMS_PART_MISSING, "X.gpg.part-ae"},
        {"rm X.gpg.part-ad X.gpg.part-ae", EMS_PART_MISSING, "X.gpg.part-ad"},
        {"rm X.gpg.part-ab X.gpg.part-ac X.gpg.part-ad X.gpg.part-ae", EMS_PART_MISSING,
         "X.gpg.part-ae"},
        {"truncate -s -1 X.gpg.part-ab", EMS_PART_TRUNCATED, "X.gpg.part-ab"},
        {"truncate -s -1 X.gpg.part-ae", EMS_PART_TRUNCATED, "X.gpg.part-ae"},
        {": > X.gpg.part-ac", EMS_PART_EMPTY, "X.gpg.part-ac"},
        {"echo >> X.gpg.part-ac", EMS_PART_FOREIGN, "X.gpg.part-ac"},
        {"cp X.gpg.part-ab X.gpg.part-af", EMS_PART_STALE, "X.gpg.part-af"},
        {"mv X.gpg.part-ac X.gpg.part-ac.crdownload", EMS_PART_UNFINISHED,
         "X.gpg.part-ac"},
        {"cp X.gpg.part-ab X.gpg.part-0k", EMS_PART_SCHEME, NULL},
        {"cp X.gpg.part-ab X.gpg.part-aaa", EMS_PART_SCHEME, NULL},
        {"cp X.gpg.part-ab X.gpg.part-zzzzaaaaaa", EMS_PART_SCHEME, NULL},
        {"cat X.gpg.part-* > X.gpg", EMS_PART_DUPLICATE, NULL},
    };
    uint8_t *data = framed(4500);

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char command[300];
        struct ems_error err = {0};

        enter_directory();
        cut(data, 4500, 1000);
        snprintf(command, sizeof command, "cd '%s' && %s", directory, cases[i].command);
        CU_ASSERT_EQUAL_FATAL(system(command), 0);
        ASSERT_CODE(resolve(NULL), EMS_OK);
        if (!found(cases[i].code, cases[i].part))
            printf("\n    case '%s'", cases[i].command);
        CU_ASSERT(found(cases[i].code, cases[i].part));
        if (ems_findings_exit(&findings) != 0)
            CU_ASSERT_PTR_NULL(ems_parts_open(&upload.sets[0], &err));
        done();
        leave_directory();
    }
    free(data);
}

static void test_numeric_start(void)
{
    uint8_t *data = framed(2500);

    enter_directory();
    put("X.gpg.part-01", data, 1000);
    put("X.gpg.part-02", data + 1000, 1000);
    put("X.gpg.part-03", data + 2000, 500);
    ASSERT_CODE(resolve("X.gpg.part-02"), EMS_OK);
    CU_ASSERT_EQUAL(findings.count, 0);
    CU_ASSERT(upload.count == 1 && upload.sets[0].whole && upload.sets[0].count == 3);
    done();
    CU_ASSERT_EQUAL(unlink(in_directory("X.gpg.part-01")), 0);
    ASSERT_CODE(resolve(NULL), EMS_OK); /* now nothing begins like a message: 00 and 01 missing */
    CU_ASSERT(found(EMS_PART_MISSING, "X.gpg.part-01"));
    done();
    leave_directory();
    free(data);
}

static void test_file_that_changes(void)
{
    uint8_t *data = framed(3000);
    struct ems_error err = {0};

    enter_directory();
    put("X.gpg", data, 3000);
    ASSERT_CODE(resolve("X.gpg"), EMS_OK);
    put("X.gpg", data, 2999);
    ASSERT_CODE(ems_test_slurp(ems_parts_open(&upload.sets[0], &err), NULL, &err),
                EMS_PART_UNFINISHED);
    done();
    leave_directory();
    free(data);
}

static void test_paths_that_are_not_there(void)
{
    enter_directory();
    ASSERT_CODE(resolve("nothing.gpg"), EMS_IO_ERROR);
    done();
    ASSERT_CODE(resolve(NULL), EMS_IO_ERROR); /* an empty directory */
    done();
    leave_directory();
}

static void test_directory_with_several(void)
{
    uint8_t *data = framed(3000);

    enter_directory();
    put("b.gpg", data, 3000);
    put("a.gpg.part-aa", data, 2000);
    put("a.gpg.part-ab", data + 2000, 1000);
    put(".DS_Store", "x", 1);
    CU_ASSERT_EQUAL(mkdir(in_directory("sub"), 0700), 0);
    ASSERT_CODE(resolve(NULL), EMS_OK);
    CU_ASSERT_EQUAL_FATAL(upload.count, 2);
    CU_ASSERT_STRING_EQUAL(upload.sets[0].name, "a.gpg");
    CU_ASSERT_STRING_EQUAL(upload.sets[1].name, "b.gpg");
    CU_ASSERT(findings.count == 1 && findings.items[0].severity == EMS_SEVERITY_NOTE);
    done();
    leave_directory();
    free(data);
}

EMS_TESTS("parts", {"suffixes of the real split", test_suffixes_of_real_split},
          {"suffixes at the borders", test_suffix_borders},
          {"a whole set gives the bytes", test_whole_set_gives_the_bytes},
          {"damage to a set", test_damage_to_a_set}, {"numbering from 1", test_numeric_start},
          {"a file that changes", test_file_that_changes},
          {"paths that are not there", test_paths_that_are_not_there},
          {"a directory with several artifacts", test_directory_with_several})
