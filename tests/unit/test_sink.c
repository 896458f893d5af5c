/* Where proven bytes go: nothing is there before commit, nothing is left after abort. */
#include "harness.h"

#include "sink.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a directory for each test ---- */

static char directory[200]; /* of the test that runs */

static const char *in_directory(const char *name)
{
    static char path[600];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void make_directory(void)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(directory, sizeof directory, "%s/ems-test-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(directory) == NULL)
        abort();
}

static int is_entry(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

/* How many names there are, hidden ones too. */
static int count_names(void)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, is_entry, NULL);

    for (int i = 0; i < count; i++)
        free(entries[i]);
    if (count >= 0)
        free(entries);
    return count;
}

static void remove_directory(void)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, is_entry, NULL);

    for (int i = 0; i < count; i++) {
        remove(in_directory(entries[i]->d_name));
        free(entries[i]);
    }
    free(entries);
    CU_ASSERT_EQUAL(rmdir(directory), 0);
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(in_directory(name), "w");

    if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0)
        abort();
}

static bool holds(const char *name, const char *text)
{
    struct ems_buf b = ems_test_file(in_directory(name));
    bool same = b.size == strlen(text) && memcmp(b.data, text, b.size) == 0;

    ems_buf_release(&b);
    return same;
}

/* ---- files ---- */

static void check_commit(bool replace)
{
    struct ems_error err = {0};
    struct ems_sink *sink = ems_sink_file_open(in_directory("out"), replace, &err);
    struct stat st;

    CU_ASSERT_PTR_NOT_NULL_FATAL(sink);
    ASSERT_CODE(ems_sink_write(sink, "proven ", 7, &err), EMS_OK);
    ASSERT_CODE(ems_sink_write(sink, "bytes", 5, &err), EMS_OK);
    CU_ASSERT_EQUAL(sink->size, 12);
    CU_ASSERT_NOT_EQUAL(access(in_directory("out"), F_OK), 0);
    ASSERT_CODE(ems_sink_commit(sink, &err), EMS_OK);
    CU_ASSERT(holds("out", "proven bytes"));
    CU_ASSERT_EQUAL(stat(in_directory("out"), &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 07777, 0600);
    CU_ASSERT_EQUAL(count_names(), 1);
    ems_sink_abort(sink); /* too late to take back */
    ems_sink_free(sink);
    CU_ASSERT_EQUAL(count_names(), 1);
}

static void test_file_appears_at_commit(void)
{
    for (int replace = 0; replace < 2; replace++) {
        make_directory();
        check_commit(replace);
        remove_directory();
    }
}

static void test_nothing_is_left_after_abort(void)
{
    make_directory();
    for (int how = 0; how < 4; how++) {
        struct ems_error err = {0};
        struct ems_sink *sink = ems_sink_file_open(in_directory("out"), how & 1, &err);

        ASSERT_CODE(ems_sink_write(sink, "gone", 4, &err), EMS_OK);
        if (how & 2)
            ems_sink_abort(sink);
        ems_sink_free(sink);
        CU_ASSERT_EQUAL(count_names(), 0);
    }
    remove_directory();
}

static void test_existing_file(void)
{
    struct ems_error err = {0};
    struct ems_sink *sink;

    make_directory();
    put("out", "old");
    CU_ASSERT_PTR_NULL(ems_sink_file_open(in_directory("out"), false, &err));
    ASSERT_CODE(err.code, EMS_IO_ERROR);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "exists"));
    CU_ASSERT_EQUAL(count_names(), 1);

    err.code = EMS_OK;
    sink = ems_sink_file_open(in_directory("out"), true, &err);
    ASSERT_CODE(ems_sink_write(sink, "new", 3, &err), EMS_OK);
    CU_ASSERT(holds("out", "old"));
    ems_sink_abort(sink);
    ems_sink_free(sink);
    CU_ASSERT(holds("out", "old"));

    sink = ems_sink_file_open(in_directory("out"), true, &err);
    ASSERT_CODE(ems_sink_write(sink, "new", 3, &err), EMS_OK);
    ASSERT_CODE(ems_sink_commit(sink, &err), EMS_OK);
    ems_sink_free(sink);
    CU_ASSERT(holds("out", "new"));
    CU_ASSERT_EQUAL(count_names(), 1);
    remove_directory();
}

/* Without replace, a file that appears while ours is written is not overwritten. */
static void test_file_that_appears_meanwhile(void)
{
    struct ems_error err = {0};
    struct ems_sink *sink;

    make_directory();
    sink = ems_sink_file_open(in_directory("out"), false, &err);
    ASSERT_CODE(ems_sink_write(sink, "ours", 4, &err), EMS_OK);
    put("out", "theirs");
    ASSERT_CODE(ems_sink_commit(sink, &err), EMS_IO_ERROR);
    ASSERT_CODE(ems_sink_commit(sink, NULL), EMS_IO_ERROR);
    ems_sink_free(sink);
    CU_ASSERT(holds("out", "theirs"));
    CU_ASSERT_EQUAL(count_names(), 1);
    remove_directory();
}

static void refused(const char *path, bool replace, const char *why)
{
    struct ems_error err = {0};

    CU_ASSERT_PTR_NULL(ems_sink_file_open(path, replace, &err));
    ASSERT_CODE(err.code, EMS_IO_ERROR);
    if (strstr(err.text, why) == NULL)
        printf("\n    %s: \"%s\" does not say \"%s\"", path, err.text, why);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, why));
}

static void test_targets_that_are_refused(void)
{
    make_directory();
    CU_ASSERT_EQUAL(mkdir(in_directory("dir"), 0700), 0);
    CU_ASSERT_EQUAL(mkfifo(in_directory("fifo"), 0600), 0);
    CU_ASSERT_EQUAL(symlink("fifo", in_directory("link-to-fifo")), 0);
    CU_ASSERT_EQUAL(symlink("nowhere", in_directory("dangling")), 0);
    refused(in_directory("missing/out"), false, "cannot open directory");
    refused(in_directory("fifo/out"), true, "cannot open directory");
    refused(in_directory("dir"), true, "is a directory");
    refused(in_directory("dir"), false, "is a directory");
    refused(in_directory("dir/"), true, "not a file name");
    refused(in_directory("fifo"), true, "not a regular file");
    refused(in_directory("link-to-fifo"), true, "not a regular file");
    refused(in_directory("dangling"), false, "exists");
    refused("/dev/null", true, "not a regular file");
    CU_ASSERT_EQUAL(count_names(), 4);
    remove_directory();
}

/* A link is replaced, what it leads to is not touched. */
static void test_link_is_replaced(void)
{
    struct ems_error err = {0};
    struct ems_sink *sink;

    make_directory();
    put("real", "real");
    CU_ASSERT_EQUAL(symlink("real", in_directory("out")), 0);
    sink = ems_sink_file_open(in_directory("out"), true, &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(sink);
    ASSERT_CODE(ems_sink_write(sink, "new", 3, &err), EMS_OK);
    ASSERT_CODE(ems_sink_commit(sink, &err), EMS_OK);
    ems_sink_free(sink);
    CU_ASSERT(holds("real", "real"));
    CU_ASSERT(holds("out", "new"));
    remove_directory();
}

static void test_path_without_a_directory(void)
{
    struct ems_error err = {0};
    struct ems_sink *sink;
    int before = open(".", O_RDONLY | O_DIRECTORY);

    make_directory();
    CU_ASSERT_EQUAL(chdir(directory), 0);
    sink = ems_sink_file_open("out", false, &err);
    CU_ASSERT_EQUAL(fchdir(before), 0); /* the directory of the open counts */
    close(before);
    CU_ASSERT_PTR_NOT_NULL_FATAL(sink);
    ASSERT_CODE(ems_sink_commit(sink, &err), EMS_OK);
    ems_sink_free(sink);
    CU_ASSERT(holds("out", ""));
    remove_directory();
}

static void test_after_the_end(void)
{
    struct ems_error err = {0};
    struct ems_sink *sink = ems_sink_null_open(&err);

    ASSERT_CODE(ems_sink_write(sink, "x", 1, &err), EMS_OK);
    ASSERT_CODE(ems_sink_commit(sink, &err), EMS_OK);
    ASSERT_CODE(ems_sink_commit(sink, NULL), EMS_INTERNAL);
    ASSERT_CODE(ems_sink_write(sink, "x", 1, NULL), EMS_INTERNAL);
    CU_ASSERT_EQUAL(sink->size, 1);
    ems_sink_free(sink);
    ems_sink_free(NULL);
}

/* ---- file systems that can do less ---- */

enum { NO_UNNAMED = 1, NO_RENAME_NOREPLACE = 2, NO_LINKS = 4 };

/* From now on this process lives on a file system that lacks these: the kernel is told to answer as
 * it would there. False if that is not allowed here. */
static bool take_away(unsigned what)
{
    const unsigned refuse = SECCOMP_RET_ERRNO;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_TMPFILE & ~O_DIRECTORY, 0, 6),
        BPF_STMT(BPF_RET | BPF_K, what & NO_UNNAMED ? refuse | EOPNOTSUPP : SECCOMP_RET_ALLOW),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[4])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, RENAME_NOREPLACE, 0, 2),
        BPF_STMT(BPF_RET | BPF_K, what & NO_RENAME_NOREPLACE ? refuse | EINVAL : SECCOMP_RET_ALLOW),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_linkat, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, what & NO_LINKS ? refuse | EPERM : SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* With and without replace, commit, and a file that appears meanwhile. 0, or what went wrong. */
static int use_hidden_names(void)
{
    for (int i = 0; i < 8; i++) {
        bool replace = i & 1, commit = i & 2, appears = i & 4;
        int expected = appears && !replace ? EMS_IO_ERROR : EMS_OK;
        struct ems_error err = {0};
        struct ems_sink *sink = ems_sink_file_open(in_directory("out"), replace, &err);

        if (sink == NULL || ems_sink_write(sink, "bytes", 5, &err) != EMS_OK)
            return 10 + i;
        if (count_names() != 1) /* the hidden one: else this tests something else */
            return 20 + i;
        if (access(in_directory("out"), F_OK) == 0)
            return 30 + i;
        if (appears)
            put("out", "theirs");
        if (commit && ems_sink_commit(sink, &err) != expected)
            return 40 + i;
        ems_sink_free(sink);
        if (count_names() != (commit || appears))
            return 50 + i;
        if (commit && !holds("out", expected == EMS_OK ? "bytes" : "theirs"))
            return 60 + i;
        unlink(in_directory("out"));
    }
    return 0;
}

static void test_lesser_file_systems(void)
{
    static const unsigned lacks[] = {NO_UNNAMED, NO_UNNAMED | NO_RENAME_NOREPLACE,
                                     NO_UNNAMED | NO_LINKS};

    make_directory();
    for (size_t i = 0; i < sizeof lacks / sizeof lacks[0]; i++) {
        int status = -1;
        pid_t pid;

        fflush(NULL);
        pid = fork();
        CU_ASSERT_FATAL(pid >= 0);
        if (pid == 0)
            _exit(take_away(lacks[i]) ? use_hidden_names() : 77);
        CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
        CU_ASSERT_FATAL(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77) {
            printf("\nskipped: no seccomp here, so no file systems without O_TMPFILE\n");
            break;
        }
        if (WEXITSTATUS(status) != 0)
            printf("\n    without %u: the child ended with %d", lacks[i], WEXITSTATUS(status));
        CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
        CU_ASSERT_EQUAL(count_names(), 0);
    }
    remove_directory();
}

/* ---- no space ---- */

static void test_full_file_system(void)
{
    struct rlimit before, small = {.rlim_cur = 100000};
    uint8_t data[4096] = {1};
    struct ems_error err = {0}, again = {0};
    struct ems_sink *sink;
    int rc = EMS_OK, writes = 0;

    make_directory();
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    small.rlim_max = before.rlim_max;
    sink = ems_sink_file_open(in_directory("out"), false, &err);
    setrlimit(RLIMIT_FSIZE, &small);
    while (rc == EMS_OK && writes++ < 1000)
        rc = ems_sink_write(sink, data, sizeof data, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    ASSERT_CODE(rc, EMS_IO_ERROR);
    CU_ASSERT_EQUAL(sink->size, 100000 / 4096 * 4096);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "/out: "));
    ASSERT_CODE(ems_sink_write(sink, data, 1, &again), EMS_IO_ERROR); /* there is room again: no */
    ASSERT_CODE(ems_sink_commit(sink, &again), EMS_IO_ERROR);
    ems_sink_free(sink);
    CU_ASSERT_EQUAL(count_names(), 0);
    remove_directory();
}

static void test_descriptor(void)
{
    struct ems_error err = {0};
    int pipes[2], full = open("/dev/full", O_WRONLY);
    struct ems_sink *sink = ems_sink_fd_open(full, "the-name", &err);
    char got[8] = "";

    ASSERT_CODE(ems_sink_write(sink, "x", 1, &err), EMS_IO_ERROR);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "the-name"));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "No space"));
    ASSERT_CODE(ems_sink_commit(sink, NULL), EMS_IO_ERROR);
    ems_sink_free(sink);
    CU_ASSERT_EQUAL(close(full), 0); /* still open: not ours to close */

    signal(SIGPIPE, SIG_IGN);
    CU_ASSERT_EQUAL_FATAL(pipe(pipes), 0);
    err.code = EMS_OK;
    sink = ems_sink_fd_open(pipes[1], "pipe", &err);
    ASSERT_CODE(ems_sink_write(sink, "abc", 3, &err), EMS_OK);
    CU_ASSERT_EQUAL(read(pipes[0], got, sizeof got), 3);
    CU_ASSERT_STRING_EQUAL(got, "abc");
    close(pipes[0]);
    ASSERT_CODE(ems_sink_write(sink, "abc", 3, &err), EMS_IO_ERROR);
    ems_sink_free(sink);
    close(pipes[1]);
}

/* ---- pump ---- */

static void test_pump_commits_only_at_the_end(void)
{
    static const char text[] = "0123456789";

    for (unsigned fail_at = 0; fail_at <= 6; fail_at++) {
        struct ems_error err = {0};
        struct ems_source *src = ems_test_source_open(text, 10, 2, fail_at, EMS_PGP_MODIFIED);
        struct ems_sink *sink;
        int rc;

        make_directory();
        sink = ems_sink_file_open(in_directory("out"), false, &err);
        rc = ems_pump(src, sink, &err);
        ASSERT_CODE(rc, fail_at == 0 ? EMS_OK : EMS_PGP_MODIFIED);
        if (fail_at == 0)
            CU_ASSERT(holds("out", text));
        CU_ASSERT_EQUAL(count_names(), fail_at == 0);
        ems_sink_free(sink);
        ems_source_free(src);
        CU_ASSERT_EQUAL(count_names(), fail_at == 0);
        remove_directory();
    }
}

static void test_pump_into_a_full_device(void)
{
    struct ems_error err = {0};
    int full = open("/dev/full", O_WRONLY);
    struct ems_source *src = ems_test_source_open("0123456789", 10, 2, 0, EMS_OK);
    struct ems_sink *sink = ems_sink_fd_open(full, "full", &err);

    ASSERT_CODE(ems_pump(src, sink, &err), EMS_IO_ERROR);
    CU_ASSERT_EQUAL(src->offset, 2); /* stopped at the first write */
    ems_sink_free(sink);
    ems_source_free(src);
    close(full);
}

EMS_TESTS("sink", {"a file appears at commit", test_file_appears_at_commit},
          {"nothing is left after abort", test_nothing_is_left_after_abort},
          {"existing file, with and without replace", test_existing_file},
          {"a file that appears meanwhile", test_file_that_appears_meanwhile},
          {"targets that are refused", test_targets_that_are_refused},
          {"a link is replaced", test_link_is_replaced},
          {"path without a directory", test_path_without_a_directory},
          {"after the end", test_after_the_end},
          {"file systems that can do less", test_lesser_file_systems},
          {"full file system", test_full_file_system}, {"descriptor", test_descriptor},
          {"pump commits only at the end", test_pump_commits_only_at_the_end},
          {"pump into a full device", test_pump_into_a_full_device})
