/* Passphrases: how they are read and asked for, and that nothing of them, nor of session keys,
 * stays in memory outside the secure pool. */
#include "pgp_maker.h"

#include "pgp_esk.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

static const char text[] = "COPY public.users (name) FROM stdin;\n";
#define TEXT (sizeof text - 1)

/* ---- reading ---- */

/* Read a passphrase from these bytes; EMS_END if it is the maker's (it opens a message). */
static int read_from(const void *bytes, size_t size, struct ems_error *err)
{
    struct ems_buf message = make_simple(text, TEXT);
    struct ems_pgp_secrets *s;
    int fds[2], rc;

    MUST(ems_pgp_library_init(err) != EMS_OK || pipe(fds) != 0);
    MUST(write(fds[1], bytes, size) != (ssize_t)size);
    close(fds[1]);
    s = ems_pgp_secrets_new(NULL, NULL, err);
    rc = ems_pgp_secrets_read_passphrase(s, fds[0], "the pipe", err);
    close(fds[0]);
    if (rc == EMS_OK)
        rc = maker_read(&message, s, false, NULL, NULL, err);
    ems_pgp_secrets_free(s);
    ems_buf_release(&message);
    return rc;
}

static void test_read_passphrase(void)
{
    static const struct {
        const char *bytes;
        int code;
        const char *says;
    } table[] = {
        {MAKER_PASS, EMS_END, NULL},
        {MAKER_PASS "\n", EMS_END, NULL},
        {MAKER_PASS "\r\n", EMS_END, NULL},
        {MAKER_PASS "\nsecond line", EMS_END, NULL},
        {MAKER_PASS " \n", EMS_PGP_PASSPHRASE, "wrong passphrase"},
        {"", EMS_PGP_PASSPHRASE, "the pipe is empty"},
        {"\n" MAKER_PASS, EMS_PGP_PASSPHRASE, "the pipe is empty"},
        {"\r\n", EMS_PGP_PASSPHRASE, "the pipe is empty"},
    };
    struct ems_pgp_secrets *s;
    struct ems_error err = {0};
    char *longest = malloc(5000);

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        err = (struct ems_error){0};
        ASSERT_CODE(read_from(table[i].bytes, strlen(table[i].bytes), &err), table[i].code);
        if (table[i].says != NULL)
            CU_ASSERT_PTR_NOT_NULL(strstr(err.text, table[i].says));
    }
    memset(longest, 'x', 5000);
    err = (struct ems_error){0};
    ASSERT_CODE(read_from(longest, 5000, &err), EMS_PGP_PASSPHRASE);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "longer than 4096"));
    err = (struct ems_error){0};
    ASSERT_CODE(read_from(longest, 4096, &err), EMS_PGP_PASSPHRASE);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "wrong passphrase"));
    free(longest);

    s = ems_pgp_secrets_new(NULL, NULL, &err);
    err = (struct ems_error){0};
    ASSERT_CODE(ems_pgp_secrets_read_passphrase(s, -1, "nothing", &err), EMS_IO_ERROR);
    err = (struct ems_error){0};
    ASSERT_CODE(ems_pgp_secrets_add_passphrase(s, "", 0, &err), EMS_PGP_PASSPHRASE);
    ems_pgp_secrets_free(s);
    ems_pgp_secrets_free(NULL);
}

/* What follows the first line stays in the descriptor. */
static void test_rest_stays(void)
{
    struct ems_error err = {0};
    struct ems_pgp_secrets *s = ems_pgp_secrets_new(NULL, NULL, &err);
    char rest[16] = "";
    int fds[2];

    MUST(pipe(fds) != 0 || write(fds[1], "first\nrest", 10) != 10);
    close(fds[1]);
    ASSERT_CODE(ems_pgp_secrets_read_passphrase(s, fds[0], "p", &err), EMS_OK);
    CU_ASSERT_EQUAL(read(fds[0], rest, sizeof rest), 4);
    CU_ASSERT_STRING_EQUAL(rest, "rest");
    close(fds[0]);
    ems_pgp_secrets_free(s);
}

/* ---- asking ---- */

struct asked {
    unsigned times;
    int code;
    const char *answer;
};

static int answer(void *context, char *buffer, size_t capacity, size_t *size, struct ems_error *err)
{
    struct asked *a = context;

    a->times++;
    CU_ASSERT(gcry_is_secure(buffer));
    CU_ASSERT_EQUAL(capacity, EMS_PGP_PASSPHRASE_MAX);
    if (a->code != EMS_OK)
        return ems_fail(err, a->code, "use -p FILE");
    *size = strlen(a->answer);
    memcpy(buffer, a->answer, *size);
    return EMS_OK;
}

static void test_ask(void)
{
    static const struct {
        int code;
        const char *answer;
        int expected;
        const char *says;
    } table[] = {
        {EMS_OK, MAKER_PASS, EMS_END, ""},
        {EMS_OK, "wrong", EMS_PGP_PASSPHRASE, "wrong passphrase"},
        {EMS_OK, "", EMS_PGP_PASSPHRASE, "empty"},
        {EMS_PGP_PASSPHRASE, "", EMS_PGP_PASSPHRASE, "use -p FILE"},
        {EMS_IO_ERROR, "", EMS_IO_ERROR, "use -p FILE"},
    };
    struct ems_buf message = make_simple(text, TEXT), plain = {0};

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct asked asked = {.code = table[i].code, .answer = table[i].answer};
        struct ems_error err = {0};
        struct ems_pgp_secrets *s = ems_pgp_secrets_new(answer, &asked, &err);

        for (int pass = 0; pass < 2; pass++) {
            err = (struct ems_error){0};
            ASSERT_CODE(maker_read(&message, s, false, NULL, NULL, &err), table[i].expected);
            CU_ASSERT_PTR_NOT_NULL(strstr(err.text, table[i].says));
        }
        CU_ASSERT_EQUAL(asked.times, 1);
        ems_pgp_secrets_free(s);
    }
    /* Nobody is asked about what needs no passphrase. */
    struct asked asked = {.answer = MAKER_PASS};
    struct ems_error err = {0};
    struct ems_pgp_secrets *s = ems_pgp_secrets_new(answer, &asked, &err);

    put(&plain, "not a message", 13);
    ASSERT_CODE(maker_read(&plain, s, false, NULL, NULL, &err), EMS_PGP_NOT_OPENPGP);
    CU_ASSERT_EQUAL(asked.times, 0);
    ems_pgp_secrets_free(s);
    ems_buf_release(&message);
    ems_buf_release(&plain);
}

/* Two chains share one set of secrets. */
struct reading {
    pthread_t thread;
    const struct ems_buf *message;
    struct ems_pgp_secrets *secrets;
    int code;
};

static void *read_in_thread(void *argument)
{
    struct reading *r = argument;

    r->code = maker_read(r->message, r->secrets, false, NULL, NULL, NULL);
    return NULL;
}

static void test_shared(void)
{
    struct ems_buf message = make_simple(text, TEXT);
    struct asked asked = {.answer = MAKER_PASS};
    struct ems_error err = {0};
    struct ems_pgp_secrets *s = ems_pgp_secrets_new(answer, &asked, &err);
    struct reading readings[4];

    for (size_t i = 0; i < 4; i++) {
        readings[i] = (struct reading){.message = &message, .secrets = s};
        MUST(pthread_create(&readings[i].thread, NULL, read_in_thread, &readings[i]));
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(readings[i].thread, NULL);
        ASSERT_CODE(readings[i].code, EMS_END);
    }
    CU_ASSERT_EQUAL(asked.times, 1);
    ems_pgp_secrets_free(s);
    ems_buf_release(&message);
}

/* ---- memory ---- */

#if defined(__has_feature) /* clang's way to say it */
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static void test_memory(void)
{
    printf("skipped: memory under a sanitizer is too large to search\n");
}

static void test_key_memory(void)
{
    test_memory();
}

static void test_argon2_memory(void)
{
    test_memory();
}
#else

#define MASK   0x5au
#define NEEDLE 16u

/* How often the masked needle occurs, unmasked, in writable memory: within the secure pool, and
 * elsewhere. Compares byte by byte, so that the search itself never holds the needle. */
static void search_memory(const uint8_t *masked, unsigned *secure, unsigned *elsewhere)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512], mode[8];
    unsigned long begin, end;

    *secure = *elsewhere = 0;
    MUST(maps == NULL);
    while (fgets(line, sizeof line, maps) != NULL) {
        if (sscanf(line, "%lx-%lx %7s", &begin, &end, mode) != 3 || mode[0] != 'r' ||
            mode[1] != 'w')
            continue;
        for (unsigned long a = begin; a + NEEDLE <= end; a++) {
            const volatile uint8_t *p = (const volatile uint8_t *)a;
            unsigned i = 0;

            while (i < NEEDLE && (p[i] ^ MASK) == masked[i])
                i++;
            if (i == NEEDLE && gcry_is_secure((const void *)a))
                ++*secure;
            else if (i == NEEDLE)
                ++*elsewhere;
        }
    }
    fclose(maps);
}

static void test_memory(void)
{
    /* "memory test pass" and the second half of the session key, masked: of freed memory the
     * allocator overwrites the first 16 octets. */
    static uint8_t pass[NEEDLE], key_half[NEEDLE];
    static const uint8_t pass_masked[NEEDLE] = {0x37, 0x3f, 0x37, 0x35, 0x28, 0x23, 0x7a, 0x2e,
                                                0x3f, 0x29, 0x2e, 0x7a, 0x2a, 0x3b, 0x29, 0x29};
    struct ems_buf lit = make_literal(text, TEXT, 'b', "", NEW_FORMAT), message = {0}, body;
    unsigned secure, elsewhere;
    struct ems_error err = {0};
    struct ems_pgp_secrets *s;
    uint8_t *key;
    int fds[2];

    MUST(ems_pgp_library_init(&err));
    memcpy(pass, pass_masked, NEEDLE);
    for (size_t i = 0; i < NEEDLE; i++)
        pass[i] ^= MASK;
    MUST(pipe(fds) != 0 || write(fds[1], pass, NEEDLE) != NEEDLE);
    close(fds[1]);
    /* The message, with the key derived into secure memory. */
    put(&message, "\xc3\x0d\4\11\3\10saltsalt\140", 15);
    key = gcry_malloc_secure(32 + NEEDLE);
    memcpy(key + 32, pass, NEEDLE);
    MUST(gcry_kdf_derive(key + 32, NEEDLE, GCRY_KDF_ITERSALTED_S2K, GCRY_MD_SHA256, "saltsalt", 8,
                         65536, 32, key));
    body = make_cfb(9, key, &lit, true);
    put_packet(&message, 18, NEW_FORMAT, &body);
    for (size_t i = 0; i < NEEDLE; i++)
        key_half[i] = key[16 + i] ^ MASK;

    /* The search finds what is there: the passphrase in `pass`, and in secure memory. */
    search_memory(pass_masked, &secure, &elsewhere);
    CU_ASSERT(elsewhere >= 1);
    CU_ASSERT(secure >= 1);
    ems_wipe(pass, sizeof pass);
    gcry_free(key);
    uint8_t burn[65536]; /* what the preparation above left on the stack */
    ems_wipe(burn, sizeof burn);

    s = ems_pgp_secrets_new(NULL, NULL, &err);
    ASSERT_CODE(ems_pgp_secrets_read_passphrase(s, fds[0], "pipe", &err), EMS_OK);
    close(fds[0]);
    ASSERT_CODE(maker_read(&message, s, false, NULL, NULL, &err), EMS_END);
    search_memory(pass_masked, &secure, &elsewhere);
    CU_ASSERT_EQUAL(elsewhere, 0);
    CU_ASSERT(secure >= 1);
    search_memory(key_half, &secure, &elsewhere);
    CU_ASSERT_EQUAL(elsewhere, 0);
    CU_ASSERT(secure >= 1); /* remembered for a second pass */
    ems_pgp_secrets_free(s);
    search_memory(pass_masked, &secure, &elsewhere);
    CU_ASSERT_EQUAL(secure + elsewhere, 0);
    search_memory(key_half, &secure, &elsewhere);
    CU_ASSERT_EQUAL(secure + elsewhere, 0);
    ems_buf_release(&lit);
    ems_buf_release(&body);
    ems_buf_release(&message);
}

/* A needle out of secure memory, masked byte by byte, in this order or the other one: libgcrypt
 * holds numbers with the least significant octet first. */
static void take_needle(uint8_t masked[NEEDLE], const uint8_t *secret, bool backwards)
{
    const volatile uint8_t *p = secret;

    for (unsigned i = 0; i < NEEDLE; i++)
        masked[i] = p[backwards ? NEEDLE - 1 - i : i] ^ MASK;
}

#define NEEDLES_MAX 10u

/* The secret numbers of an open key. */
static unsigned take_numbers(uint8_t masked[][NEEDLE], const struct ems_pgp_key *key)
{
    unsigned count = 0;

    for (unsigned i = 0; i < 4; i++) {
        const uint8_t *number = key->secret + key->parts[i].at;

        if (key->parts[i].size < 8 + NEEDLE)
            continue;
        take_needle(masked[count++], number + 8, false);
        take_needle(masked[count++], number + 8, true);
    }
    return count;
}

/* The session key of the message, of which the first packet is for this key. */
static void take_session_key(uint8_t masked[NEEDLE], const struct ems_buf *message,
                             struct ems_pgp_secrets *s)
{
    struct ems_pgp_session_key *key = gcry_calloc_secure(1, sizeof *key);
    struct ems_pgp_facts facts = {0};
    struct ems_pgp_esks esks = {.secrets = s, .facts = &facts};
    struct ems_pgp_header h;
    struct ems_error err = {0};

    MUST(ems_pgp_header_parse(message->data, message->size, &h) <= 0);
    MUST(ems_pgp_esks_add(&esks, h.tag, message->data + h.header_size, (size_t)h.size, &err));
    ASSERT_CODE(ems_pgp_esks_next(&esks, key, &err), EMS_OK);
    CU_ASSERT(key->size >= NEEDLE);
    take_needle(masked, key->key + key->size - NEEDLE, false);
    ems_pgp_esks_release(&esks);
    gcry_free(key);
}

/* Secret keys of all kinds: their numbers and what they unwrap pass through libgcrypt's expressions
 * and numbers, and are left in none of them. */
static void test_key_memory(void)
{
    static const char *const names[] = {"rsa",  "elgamal",      "p256",
                                        "p521", "brainpool256", "cv25519"};

    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
        uint8_t masked[NEEDLES_MAX][NEEDLE];
        unsigned count, secure, elsewhere;
        struct ems_error err = {0};
        struct ems_pgp_secrets *s;
        struct ems_pgp_key *key;
        struct ems_buf message;
        char path[64];
        int fd;

        MUST(ems_pgp_library_init(&err));
        snprintf(path, sizeof path, "fixtures/openpgp/%s.msg", names[n]);
        message = ems_test_file(path);
        snprintf(path, sizeof path, "fixtures/openpgp/%s.key", names[n]);
        s = ems_pgp_secrets_new(NULL, NULL, &err);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        ASSERT_CODE(ems_pgp_secrets_read_key(s, fd, path, &err), EMS_OK);
        close(fd);
        ASSERT_CODE(ems_pgp_secrets_add_key_passphrase(s, "fixture", 7, &err), EMS_OK);
        ASSERT_CODE(maker_read(&message, s, false, NULL, NULL, &err), EMS_END);
        key = ems_pgp_secrets_keys(s);
        while (key->state != EMS_PGP_KEY_OPEN && key->next != NULL)
            key = key->next;
        count = take_numbers(masked, key);
        CU_ASSERT_EQUAL(count, n == 0 ? 8 : 2);
        take_session_key(masked[count++], &message, s);
        for (unsigned i = 0; i < count; i++) {
            search_memory(masked[i], &secure, &elsewhere);
            if (elsewhere > 0)
                printf("\n    %s, number %u: %u times", names[n], i, elsewhere);
            CU_ASSERT_EQUAL(elsewhere, 0);
            CU_ASSERT(secure >= 1 || i % 2 == 1 || i == count - 1);
        }
        ems_pgp_secrets_free(s);
        for (unsigned i = 0; i < count; i++) {
            search_memory(masked[i], &secure, &elsewhere);
            CU_ASSERT_EQUAL(secure + elsewhere, 0);
        }
        ems_buf_release(&message);
    }
}

/* Argon2 works in ordinary memory, which libgcrypt wipes. */
static void test_argon2_memory(void)
{
    static const uint8_t spec[20] = "\4saltsaltsaltsalt\2\4\12";
    uint8_t pass_masked[NEEDLE], key_masked[NEEDLE], *pass, *key;
    unsigned secure, elsewhere;
    struct ems_pgp_s2k s2k;
    struct ems_error err = {0};
    size_t used;

    MUST(ems_pgp_library_init(&err));
    pass = gcry_random_bytes_secure(NEEDLE, GCRY_STRONG_RANDOM);
    key = gcry_malloc_secure(2 * NEEDLE);
    take_needle(pass_masked, pass, false);
    ASSERT_CODE(ems_pgp_s2k_parse(spec, sizeof spec, &s2k, &used, &err), EMS_OK);
    ASSERT_CODE(ems_pgp_s2k_derive(&s2k, pass, NEEDLE, key, 2 * NEEDLE, &err), EMS_OK);
    take_needle(key_masked, key + NEEDLE, false);
    search_memory(pass_masked, &secure, &elsewhere);
    CU_ASSERT_EQUAL(elsewhere, 0);
    CU_ASSERT(secure >= 1);
    search_memory(key_masked, &secure, &elsewhere);
    CU_ASSERT_EQUAL(elsewhere, 0);
    CU_ASSERT(secure >= 1);
    gcry_free(pass);
    gcry_free(key);
    search_memory(key_masked, &secure, &elsewhere);
    CU_ASSERT_EQUAL(secure + elsewhere, 0);
}
#endif

EMS_TESTS("pgp secrets", {"nothing secret stays in memory", test_memory},
          {"nor of secret keys", test_key_memory}, {"nor of Argon2", test_argon2_memory},
          {"reading passphrases", test_read_passphrase},
          {"what follows the line stays", test_rest_stays}, {"asking", test_ask},
          {"secrets shared by chains", test_shared})
