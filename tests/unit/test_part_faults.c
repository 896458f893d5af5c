/*
 * Every single and double fault to sets that the real split made, against a model of what can be
 * known. The model knows nothing of the resolver's ways: it keeps for each part the files that
 * stand for it, and says from the rules of split and of OpenPGP framing what must be said of each.
 */
#include "harness.h"

#include "parts.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#define PART      512u /* bytes: round enough to be believed as a part size */
#define TAIL      200u /* of the last part */
#define MAX_PARTS 700u
static const char page[] =
    "<!DOCTYPE html><html><head><title>Quota exceeded</title></head></html>\n";

enum fault { DROP, SWAP, DOUBLE, CUT, EXTEND, EMPTY, FOREIGN, RENAME, FAULTS };

/* ---- files, and the model of them ---- */

struct file {
    unsigned owner; /* part whose bytes it began with */
    size_t size;
    bool is_page, renamed;
};

struct slot {
    struct file file[2]; /* under the part's own name (or renamed), and a browser's copy */
    unsigned count;
    bool touched;
};

static char home[64], name_of[MAX_PARTS][256];
static unsigned parts;
static struct slot slots[MAX_PARTS];
static uint8_t *content;
static struct ems_upload upload;
static struct ems_findings findings;
static unsigned long tried, weak;
static const char *before_first; /* a name that split did not use: the numbering begins behind it */

static void at(char *path, size_t size, const char *name)
{
    snprintf(path, size, "%s/%s", home, name);
}

static void put(const char *name, const void *data, size_t size)
{
    char path[300];
    int fd;

    at(path, sizeof path, name);
    unlink(path); /* cutting it to nothing instead costs a flush to the disk on some file systems */
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size || close(fd) != 0)
        abort();
}

static size_t size_of(unsigned i)
{
    return i + 1 < parts ? PART : TAIL;
}

/* "X.gpg (1).part-ab", as Chromium calls a second download; "X.gpg.part-ab.txt". */
static void copy_name(unsigned i, char *out, size_t size)
{
    snprintf(out, size, "X.gpg (1)%s", name_of[i] + strlen("X.gpg"));
}

static void text_name(unsigned i, char *out, size_t size)
{
    snprintf(out, size, "%s.txt", name_of[i]);
}

/* A pristine file for part i, and nothing else. */
static void restore(unsigned i)
{
    char name[300], path[400];

    copy_name(i, name, sizeof name);
    at(path, sizeof path, name);
    unlink(path);
    text_name(i, name, sizeof name);
    at(path, sizeof path, name);
    unlink(path);
    put(name_of[i], content + (size_t)i * PART, size_of(i));
    slots[i] = (struct slot){.file = {{.owner = i, .size = size_of(i)}}, .count = 1};
}

/* Whole set by the real split; every byte below 0x20, so that no part looks like anything. */
static void make_set(unsigned n, const char *options)
{
    static const uint8_t head[] = {0x8c, 0x0d, 4, 9, 3, 8,    1,    2,   3,
                                   4,    5,    6, 7, 8, 0xff, 0xd2, 0xff};
    size_t total = (size_t)(n - 1) * PART + TAIL;
    char command[300];
    struct dirent **names = NULL;
    int found;

    /* Thousands of tiny files: in memory where that is possible. */
    snprintf(home, sizeof home, "%s/ems-faults-XXXXXX",
             access("/dev/shm", R_OK | W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(home) == NULL || n > MAX_PARTS)
        abort();
    content = malloc(total);
    for (size_t i = 0; i < total; i++)
        content[i] = (uint8_t)(1 + (i * 7 + i / PART) % 31);
    memcpy(content, head, sizeof head);
    for (int i = 0; i < 4; i++)
        content[17 + i] = (uint8_t)((total - 21) >> (24 - 8 * i));
    put("whole", content, total);
    snprintf(command, sizeof command, "cd '%s' && split -b %u %s whole X.gpg.part- && rm whole",
             home, PART, options);
    CU_ASSERT_EQUAL_FATAL(system(command), 0);
    found = scandir(home, &names, NULL, alphasort);
    CU_ASSERT_EQUAL_FATAL(found, (int)n + 2);
    parts = 0;
    for (int i = 0; i < found; i++) {
        if (names[i]->d_name[0] == 'X')
            snprintf(name_of[parts++], sizeof name_of[0], "%s", names[i]->d_name);
        free(names[i]);
    }
    free(names);
    for (unsigned i = 0; i < parts; i++)
        slots[i] = (struct slot){.file = {{.owner = i, .size = size_of(i)}}, .count = 1};
}

static void remove_set(void)
{
    char command[100];

    snprintf(command, sizeof command, "rm -rf '%s'", home);
    CU_ASSERT_EQUAL(system(command), 0);
    free(content);
}

/* ---- faults, done to the files and to the model ---- */

static void set_size(unsigned i, size_t size)
{
    char path[300];

    at(path, sizeof path, name_of[i]);
    if (truncate(path, (off_t)size) != 0)
        abort();
    slots[i].file[0].size = size;
}

static void swap(unsigned i, unsigned k)
{
    char a[300], b[300], c[300];
    struct file f = slots[i].file[0];

    at(a, sizeof a, name_of[i]);
    at(b, sizeof b, name_of[k]);
    at(c, sizeof c, "swapping");
    if (rename(a, c) != 0 || rename(b, a) != 0 || rename(c, b) != 0)
        abort();
    slots[i].file[0] = slots[k].file[0];
    slots[k].file[0] = f;
    slots[k].touched = true;
}

/* False if it cannot be done to what is left of the part. */
static bool apply(enum fault fault, unsigned i)
{
    char from[400], to[400], name[300];
    struct slot *s = &slots[i];
    unsigned k = (i + 1) % parts;

    if (s->count == 0 || s->file[0].renamed)
        return false;
    at(from, sizeof from, name_of[i]);
    s->touched = true;
    switch (fault) {
    case DROP:
        if (s->count == 2)
            return false; /* the same as a rename */
        if (unlink(from) != 0)
            abort();
        s->count = 0;
        return true;
    case SWAP:
        if (k == i || slots[k].count == 0 || slots[k].file[0].renamed)
            return false;
        swap(i, k);
        return true;
    case DOUBLE: {
        struct ems_buf data;

        if (s->count == 2)
            return false;
        data = ems_test_file(from);
        copy_name(i, name, sizeof name);
        put(name, data.data, data.size);
        ems_buf_release(&data);
        s->file[1] = s->file[0];
        s->count = 2;
        return true;
    }
    case CUT:
        if (s->file[0].size < 10 || s->file[0].is_page)
            return false;
        set_size(i, s->file[0].size - 3);
        return true;
    case EXTEND:
        if (s->file[0].size == 0 || s->file[0].is_page)
            return false;
        set_size(i, s->file[0].size + 5);
        return true;
    case EMPTY:
        set_size(i, 0);
        s->file[0].is_page = false;
        return true;
    case FOREIGN:
        put(name_of[i], page, sizeof page - 1);
        s->file[0].size = sizeof page - 1;
        s->file[0].is_page = true;
        return true;
    case RENAME:
        if (s->count == 2)
            return false;
        text_name(i, name, sizeof name);
        at(to, sizeof to, name);
        if (rename(from, to) != 0)
            abort();
        s->file[0].renamed = true;
        return true;
    case FAULTS:
        break;
    }
    return false;
}

/* ---- the model's verdict ---- */

static bool is_data(const struct file *f)
{
    return f->size > 0 && !f->is_page;
}

static bool has_first(const struct slot *s)
{
    for (unsigned k = 0; k < s->count; k++)
        if (is_data(&s->file[k]) && s->file[k].owner == 0)
            return true;
    return false;
}

struct knowledge {
    bool length;        /* of the whole: the first bytes of the message are here */
    bool part_size;     /* an intact part shows it */
    bool wrong_first;   /* part 0 is here but begins like none */
    unsigned begins_at; /* part that has its bytes instead; parts if none */
    unsigned last;      /* highest part that is here */
};

static struct knowledge know(void)
{
    struct knowledge k = {.begins_at = parts};
    bool any = false, finds_misplaced;

    for (unsigned f = 0; f < slots[0].count; f++)
        any |= is_data(&slots[0].file[f]);
    k.length = has_first(&slots[0]);
    k.wrong_first = any && !k.length;
    /* Numbers from 1 without a part 1: the length that the first bytes state under the last name
     * gives as many parts as that name counts, so that they began at 1. */
    finds_misplaced = k.wrong_first ||
                      (before_first != NULL && slots[0].count == 0 && has_first(&slots[parts - 1]));
    for (unsigned i = 0; i < parts; i++) {
        if (slots[i].count > 0)
            k.last = i;
        if (finds_misplaced && i > 0 && has_first(&slots[i])) {
            k.length = true;
            k.begins_at = i;
        }
        for (unsigned f = 0; f < slots[i].count; f++)
            k.part_size |=
                i + 1 < parts && is_data(&slots[i].file[f]) && slots[i].file[f].size == PART;
    }
    for (unsigned f = 0; f < slots[parts - 1].count; f++)
        k.part_size |=
            k.length && is_data(&slots[parts - 1].file[f]) && slots[parts - 1].file[f].size == TAIL;
    /* Of numbers that could as well begin at 0, part 1 need not begin like a first one. */
    k.wrong_first &= before_first == NULL || k.length;
    return k;
}

static int judge_file(const struct knowledge *k, unsigned i, const struct file *f)
{
    if (f->size == 0)
        return EMS_PART_EMPTY;
    if (f->is_page || (k->wrong_first && i == 0) || i == k->begins_at)
        return EMS_PART_FOREIGN;
    if (!k->length && i == k->last) /* only too much can be seen */
        return f->size > PART ? EMS_PART_FOREIGN : EMS_OK;
    if (f->size == size_of(i))
        return EMS_OK;
    return f->size < size_of(i) ? EMS_PART_TRUNCATED : EMS_PART_FOREIGN;
}

/* The code that must be said of part i; EMS_OK: none. */
static int judge(const struct knowledge *k, unsigned i)
{
    static const int order[] = {EMS_PART_TRUNCATED, EMS_PART_FOREIGN, EMS_PART_EMPTY};
    const struct slot *s = &slots[i];
    int code[2];

    if (s->count == 0)
        return k->length || i < k->last ? EMS_PART_MISSING : EMS_OK;
    code[0] = judge_file(k, i, &s->file[0]);
    if (s->count == 1)
        return code[0];
    code[1] = judge_file(k, i, &s->file[1]);
    if (code[0] == EMS_OK && code[1] == EMS_OK)
        return s->file[0].owner == s->file[1].owner && s->file[0].size == s->file[1].size
                   ? EMS_OK
                   : EMS_PART_CONFLICT;
    if (code[0] == EMS_OK || code[1] == EMS_OK)
        return EMS_OK;
    for (unsigned o = 0; o < 3; o++)
        if (code[0] == order[o] || code[1] == order[o])
            return order[o];
    return EMS_OK;
}

static int error_of(const char *part, bool *resend)
{
    for (size_t i = 0; i < findings.count; i++)
        if (findings.items[i].severity == EMS_SEVERITY_ERROR && findings.items[i].part != NULL &&
            strcmp(findings.items[i].part, part) == 0) {
            *resend = findings.items[i].resend;
            return findings.items[i].code;
        }
    *resend = false;
    return EMS_OK;
}

static bool has_note(int code, const char *part)
{
    for (size_t i = 0; i < findings.count; i++)
        if (findings.items[i].code == code && findings.items[i].severity == EMS_SEVERITY_NOTE &&
            (part == NULL || strcmp(findings.items[i].part, part) == 0))
            return true;
    return false;
}

/* Sizes alone cannot say which part is wrong when no intact one shows the part size: then only the
 * proven faults must be named, and nothing may look good. */
static bool agrees(void)
{
    struct knowledge k = know();
    size_t errors = 0, expected = 0;
    bool good = true, resend, all_known = k.part_size || parts == 1;

    for (size_t i = 0; i < findings.count; i++)
        errors += findings.items[i].severity == EMS_SEVERITY_ERROR;
    for (unsigned i = 0; i < parts; i++) {
        int must = judge(&k, i), is = error_of(name_of[i], &resend);
        bool proven = must == EMS_PART_EMPTY || (must == EMS_PART_MISSING && i < k.last);

        expected += must != EMS_OK;
        if (all_known || proven)
            good &= is == must && resend == (must != EMS_OK);
        if (slots[i].count == 2 && must == EMS_OK)
            good &= has_note(EMS_PART_DUPLICATE, NULL);
        if (slots[i].count == 1 && slots[i].file[0].renamed)
            good &= has_note(EMS_PART_RENAMED, name_of[i]);
    }
    /* With numbers from 1 and no intact first part, it cannot be told that there is none before. */
    if (before_first != NULL && !k.length) {
        good &= error_of(before_first, &resend) == EMS_PART_MISSING && resend;
        expected++;
    }
    if (!all_known) {
        weak++;
        CU_ASSERT(parts <= 3);
        return good && (expected == 0 || (errors > 0 && !upload.sets[0].whole));
    }
    return good && errors == expected && upload.sets[0].whole == (expected == 0);
}

static void show(const char *what)
{
    printf("\n    %u parts, %s:", parts, what);
    for (unsigned i = 0; i < parts; i++)
        for (unsigned f = 0; f < slots[i].count; f++)
            if (slots[i].touched)
                printf(" %s[%u]=%zu%s", name_of[i] + 11, slots[i].file[f].owner,
                       slots[i].file[f].size, slots[i].file[f].is_page ? "p" : "");
    for (size_t i = 0; i < findings.count; i++)
        printf("\n        %s %s: %s", ems_code_name(findings.items[i].code),
               findings.items[i].part != NULL ? findings.items[i].part : "-",
               findings.items[i].message);
}

static void verify(const char *what)
{
    const char *path = home;
    struct ems_error err = {0};
    bool any = false, good;
    int rc;

    for (unsigned i = 0; i < parts; i++)
        any |= slots[i].count > 0;
    if (any) {
        tried++;
        rc = ems_upload_resolve(&upload, &path, 1, &findings, &err);
        good = rc == EMS_OK && upload.count == 1 && agrees();
        if (!good)
            show(what);
        CU_ASSERT(good);
        ems_upload_release(&upload);
        ems_findings_release(&findings);
    }
    for (unsigned i = 0; i < parts; i++)
        if (slots[i].touched)
            restore(i);
}

/* All pairs of faults at the given places; the second "none" makes the single ones. */
static void try_faults(const unsigned *places, unsigned count, bool doubles)
{
    for (unsigned a = 0; a < count * FAULTS; a++)
        for (unsigned b = a; b <= (doubles ? count * FAULTS : a); b++) {
            char what[60];
            bool done;

            /* b == a stands for no second fault */
            done = apply((enum fault)(a % FAULTS), places[a / FAULTS]);
            if (done && b != a && b < count * FAULTS)
                done = apply((enum fault)(b % FAULTS), places[b / FAULTS]);
            snprintf(what, sizeof what, "faults %u at %u and %u at %u", a % FAULTS,
                     places[a / FAULTS], b % FAULTS, b < count * FAULTS ? places[b / FAULTS] : 0);
            if (done) {
                verify(what);
            } else {
                for (unsigned i = 0; i < parts; i++)
                    if (slots[i].touched)
                        restore(i);
            }
        }
}

/* EMS_LONG=1 (make check-long): every pair of faults at all places of every set. */
static bool is_long(void)
{
    const char *wish = getenv("EMS_LONG");

    return wish != NULL && wish[0] != '\0' && strcmp(wish, "0") != 0;
}

/* Every place of small sets; of larger ones doubles only where places differ in kind, unless there
 * is time for all. */
static void test_one_to_thirty(void)
{
    bool all_doubles = is_long();
    unsigned all[30];

    for (unsigned i = 0; i < 30; i++)
        all[i] = i;
    for (unsigned n = 1; n <= 30; n++) {
        const unsigned kinds[] = {0, 1, n / 2, n - 1};

        make_set(n, "");
        verify("no fault");
        try_faults(all, n, n <= 5 || all_doubles);
        if (n > 5 && n % 5 == 0 && !all_doubles)
            try_faults(kinds, 4, true);
        remove_set();
    }
    printf("\n    %lu sets, %lu of them too small to tell which part is wrong ", tried, weak);
}

static void try_border(unsigned n, const char *options, const char *name, unsigned place)
{
    const unsigned places[] = {place, n - 1, place - 1, 0};

    make_set(n, options);
    CU_ASSERT_STRING_EQUAL(name_of[place], name);
    verify("no fault");
    try_faults(places, place + 1 < n ? 2 : 1, false);
    if (is_long() || n <= 12)
        try_faults(places, 4, true);
    remove_set();
}

static void test_borders(void)
{
    try_border(652, "", "X.gpg.part-zaaa", 650);
    try_border(651, "", "X.gpg.part-yz", 649);
    try_border(93, "-d", "X.gpg.part-9000", 90);
    try_border(91, "-d", "X.gpg.part-89", 89);
    try_border(243, "-x", "X.gpg.part-f000", 240);
    try_border(676, "-a 2", "X.gpg.part-za", 650);
    try_border(30, "-a 3", "X.gpg.part-abd", 29);
    before_first = "X.gpg.part-00";
    try_border(12, "--numeric-suffixes=1", "X.gpg.part-06", 5);
    before_first = NULL;
    printf("\n    %lu sets with those at the borders ", tried);
}

EMS_TESTS("part_faults", {"one to thirty parts, single and double faults", test_one_to_thirty},
          {"borders of the numbering", test_borders})
