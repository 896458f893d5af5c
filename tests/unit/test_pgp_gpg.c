/*
 * Differential: messages that the gpg installed here makes, in every way it can be asked to for a
 * passphrase, are read to the same bytes; and gpg and we agree on damaged ones.
 */
#include "pgp_maker.h"

#include <ftw.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char home[] = "/tmp/ems-test-gpg-XXXXXX";

/* Run a shell command in the private folder; its exit status. */
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

#define GPG                                                                                        \
    "gpg --batch --quiet --no-tty --no-symkey-cache --pinentry-mode loopback --passphrase-file "   \
    "pass "

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static bool set_up(void)
{
    static bool ready;
    struct ems_buf data = {0};
    char path[64];
    FILE *f;

    if (ready)
        return true;
    if (mkdtemp(home) == NULL || shell("gpg --version >/dev/null 2>&1") != 0)
        return false;
    MUST(shell("printf '%s\\n' >pass", MAKER_PASS));
    MUST(shell("printf 's2k-count 65536\\n' >gpg.conf")); /* its own choice takes a second */
    MUST(shell("seq 1 60000 >text && gzip -k text && printf 'x' >one && : >empty"));
    put_noise(&data, 300000, 9);
    snprintf(path, sizeof path, "%s/noise", home);
    f = fopen(path, "wb");
    MUST(f == NULL || fwrite(data.data, 1, data.size, f) != data.size || fclose(f) != 0);
    ems_buf_release(&data);
    ready = true;
    return true;
}

static int compare(const char *message, const char *plain, struct ems_pgp_facts *facts)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    char path[128];
    struct ems_buf m, p, out = {0};
    struct ems_error err = {0};
    int rc;

    snprintf(path, sizeof path, "%s/%s", home, message);
    m = ems_test_file(path);
    snprintf(path, sizeof path, "%s/%s", home, plain);
    p = ems_test_file(path);
    rc = maker_read(&m, secrets, true, &out, facts, &err);
    if (rc != EMS_END)
        printf("\n    %s: %s", message, err.text);
    CU_ASSERT(same(&out, p.data, p.size));
    ems_buf_release(&m);
    ems_buf_release(&p);
    ems_buf_release(&out);
    ems_pgp_secrets_free(secrets);
    return rc;
}

/* What a customer may add to the guide's command, and whether the data come by name or by pipe. */
static void test_options(void)
{
    static const char *const options[] = {
        "",
        "--compress-algo none",
        "--compress-algo zlib",
        "--compress-algo bzip2",
        "--armor",
        "--s2k-mode 0",
        "--s2k-mode 1",
        "--s2k-digest-algo sha512 --s2k-count 70000",
        "--s2k-digest-algo ripemd160 --s2k-count 70000",
        "--cipher-algo aes",
        "--cipher-algo 3des",
        "--cipher-algo cast5",
        "--cipher-algo twofish",
        "--cipher-algo camellia256",
        "--cipher-algo cast5 --rfc2440",
        "--set-filename ../../etc/passwd",
        "--for-your-eyes-only",
        "--textmode",
        "--textmode --compress-algo none",
        "--s2k-count 65011712",
        "--s2k-digest-algo sha224 --s2k-count 70000",
        "--s2k-digest-algo sha384 --s2k-count 70000",
        "--cipher-algo blowfish",
        "--cipher-algo idea",
        "--cipher-algo aes192",
        "--cipher-algo camellia128",
        "--cipher-algo camellia192",
        "--compress-algo bzip2 --bzip2-compress-level 1",
    };
    static const char *const files[] = {"text", "text.gz", "noise", "one", "empty"};

    if (!set_up()) {
        printf("skipped: no gpg here\n");
        return;
    }
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        for (size_t f = 0; f < 5; f++) {
            struct ems_pgp_facts facts;
            bool piped = (i + f) % 2 == 0;

            if ((i > 3 && f != 0 && f != 3) || (i > 19 && f != 0))
                continue; /* what depends on the data is in the first ones */
            MUST(shell(GPG "--yes %s --symmetric -o m %s %s", options[i], piped ? "<" : "",
                       files[f]));
            ASSERT_CODE(compare("m", files[f], &facts), EMS_END);
            CU_ASSERT_EQUAL(facts.armored, i == 4);
        }
    }
}

/* Every seventh byte flipped in turn: neither takes any of it. */
static void test_agree_on_damage(void)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_buf m;
    char path[64];

    if (!set_up()) {
        printf("skipped: no gpg here\n");
        return;
    }
    MUST(shell(GPG "--yes --s2k-count 1024 --symmetric -o small one"));
    snprintf(path, sizeof path, "%s/small", home);
    m = ems_test_file(path);
    for (size_t i = 0; i < m.size; i += 7) {
        FILE *f;
        int rc, status;

        m.data[i] ^= 0x20;
        snprintf(path, sizeof path, "%s/bad", home);
        f = fopen(path, "wb");
        MUST(f == NULL || fwrite(m.data, 1, m.size, f) != m.size || fclose(f) != 0);
        status = shell(GPG "--decrypt bad >out 2>/dev/null");
        rc = maker_read(&m, secrets, false, NULL, NULL, NULL);
        CU_ASSERT(rc != EMS_END);
        CU_ASSERT(status != 0);
        m.data[i] ^= 0x20;
    }
    ems_buf_release(&m);
    ems_pgp_secrets_free(secrets);
}

static void test_clean_up(void)
{
    shell("gpgconf --kill gpg-agent >/dev/null 2>&1");
    CU_ASSERT_EQUAL(nftw(home, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

EMS_TESTS("pgp against gpg", {"everything that gpg -c can be asked for", test_options},
          {"damage that gpg refuses", test_agree_on_damage}, {"clean up", test_clean_up})
