/* What a stranger's message may cost before it is refused: work is counted, memory is measured in a
 * child process. */
#include "pgp_maker.h"

#include "pgp_esk.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const char text[] = "COPY public.users (name) FROM stdin;\n";
#define TEXT (sizeof text - 1)

#if defined(__has_feature) /* clang's way to say it */
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RSS_MAX_MIB 4096 /* a sanitizer's own memory */
#else
#define RSS_MAX_MIB 64
#endif
#define CPU_MAX_S 20 /* only to notice a hang: two seconds are meant, and counted below */

/* ---- memory ---- */

/* Read the message from a file in a process of its own: its verdict. */
static int read_in_child(struct ems_buf *message, const char *key, const char *name)
{
    FILE *f = tmpfile();
    struct rusage usage;
    double cpu;
    int status;
    pid_t pid;

    MUST(f == NULL || fwrite(message->data, 1, message->size, f) != message->size ||
         fflush(f) != 0 || fseek(f, 0, SEEK_SET) != 0);
    ems_buf_release(message); /* not to be counted */
    fflush(stdout);
    pid = fork();
    MUST(pid < 0);
    if (pid == 0) {
        struct ems_pgp_secrets *secrets = maker_secrets();
        struct ems_pgp_options options = {.secrets = secrets};
        int fd = key != NULL ? open(key, O_RDONLY | O_CLOEXEC) : -1;

        if (fd >= 0)
            MUST(ems_pgp_secrets_read_key(secrets, fd, key, NULL) != EMS_OK ||
                 ems_pgp_secrets_add_key_passphrase(secrets, "fixture", 7, NULL) != EMS_OK);
        _exit(ems_test_slurp(
            ems_pgp_open(ems_source_fd_open(fileno(f), false, "m", NULL), &options, NULL), NULL,
            &(struct ems_error){0}));
    }
    MUST(wait4(pid, &status, 0, &usage) != pid);
    fclose(f);
    cpu = (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6 +
          (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6;
    printf("\n    %s: %.2f s, %ld MiB", name, cpu, usage.ru_maxrss / 1024);
    CU_ASSERT(cpu < CPU_MAX_S);
    CU_ASSERT(usage.ru_maxrss / 1024 <= RSS_MAX_MIB);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Session-key packets of the greatest cost before a container. */
static struct ems_buf many_skesks(const char *spec, size_t size, unsigned count)
{
    struct ems_buf message = {0}, skesk = {0}, lit = make_literal(text, TEXT, 'b', "", NEW_FORMAT);
    uint8_t key[32] = {7};
    struct ems_buf body;

    MUST(ems_pgp_library_init(NULL));
    body = make_cfb(9, key, &lit, true);

    for (unsigned i = 0; i < count; i++) {
        skesk.size = 0;
        put(&skesk, "\4\11", 2);
        put(&skesk, spec, size);
        skesk.data[4] = (uint8_t)i; /* salt */
        put_packet(&message, 3, NEW_FORMAT, &skesk);
    }
    put_packet(&message, 18, NEW_FORMAT, &body);
    ems_buf_release(&skesk);
    ems_buf_release(&lit);
    ems_buf_release(&body);
    return message;
}

static void test_derivations(void)
{
    static const struct {
        const char *name, *spec;
        size_t size;
        unsigned count;
    } table[] = {
        {"64 x iterated SHA-1", "\3\2saltsalt\377", 11, 64},
        {"64 x Argon2 with 2 GiB, 255 passes", "\4saltsaltsaltsalt\377\20\25", 20, 64},
        {"Argon2 with 2 TiB", "\4saltsaltsaltsalt\1\1\37", 20, 1},
    };

    /* The first takes its two seconds: in the long run only; below it is counted. */
    for (size_t i = getenv("EMS_LONG") == NULL; i < sizeof table / sizeof table[0]; i++) {
        struct ems_buf message = many_skesks(table[i].spec, table[i].size, table[i].count);

        ASSERT_CODE(read_in_child(&message, NULL, table[i].name), EMS_PGP_LIMIT);
    }
}

/* Public-key operations: 64 packets that may be for our key, with numbers of every size. */
static void test_public_keys(void)
{
    static const struct {
        const char *key, *name;
        unsigned algorithm, bits, numbers;
        int code;
    } table[] = {
        {"fixtures/openpgp/rsa.key", "64 x RSA", 1, 2040, 1, EMS_PGP_NO_KEY},
        {"fixtures/openpgp/rsa.key", "64 x RSA with 65535 bits", 1, 65535, 1, EMS_PGP_NO_KEY},
        {"fixtures/openpgp/elgamal.key", "64 x Elgamal", 16, 1000, 2, EMS_PGP_NO_KEY},
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct ems_buf message = many_skesks("", 0, 0), body = {0}, whole = {0};

        for (unsigned n = 0; n < 64; n++) {
            body.size = 0;
            put(&body, "\3\0\0\0\0\0\0\0\0", 9);
            put_octet(&body, table[i].algorithm);
            for (unsigned m = 0; m < table[i].numbers; m++) {
                put_be(&body, table[i].bits, 2);
                put_noise(&body, (table[i].bits + 7) / 8, n);
            }
            put_packet(&whole, 1, NEW_FORMAT, &body);
        }
        put(&whole, message.data, message.size);
        ASSERT_CODE(read_in_child(&whole, table[i].key, table[i].name), table[i].code);
        ems_buf_release(&message);
        ems_buf_release(&body);
    }
}

/* Nothing, very often; small pieces, very many. */
static void test_endless(void)
{
    struct ems_buf lit = make_literal(text, TEXT, 'b', "", NEW_FORMAT), noise = {0}, m, inner = {0};
    static const unsigned tags[] = {10, 21, 60, 2};

    for (size_t i = 0; i < 4; i++) {
        struct ems_buf empty = {0}, extras = {0};
        char name[64];

        for (unsigned n = 0; n < 100000; n++)
            put_packet(&extras, tags[i], NEW_FORMAT, &empty);
        inner.size = 0;
        put(&inner, extras.data, extras.size);
        put(&inner, lit.data, lit.size);
        snprintf(name, sizeof name, "100000 packets of tag %u inside", tags[i]);
        m = make_message(&inner, NEW_FORMAT);
        ASSERT_CODE(read_in_child(&m, NULL, name), EMS_PGP_LIMIT);
        inner.size = 0;
        put(&inner, lit.data, lit.size);
        put(&inner, extras.data, extras.size);
        m = make_message(&inner, NEW_FORMAT);
        ASSERT_CODE(read_in_child(&m, NULL, name), EMS_PGP_LIMIT);
        snprintf(name, sizeof name, "100000 packets of tag %u", tags[i]);
        ASSERT_CODE(read_in_child(&extras, NULL, name), i < 3 ? EMS_PGP_LIMIT : EMS_NOT_ENCRYPTED);
    }
    put_noise(&noise, 200000, 4);
    ems_buf_release(&inner);
    inner = make_literal(noise.data, noise.size, 'b', "", PARTIAL_2);
    m = make_message(&inner, NEW_FORMAT);
    ASSERT_CODE(read_in_child(&m, NULL, "100000 pieces of 2 octets"), EMS_PGP_LIMIT);
    ems_buf_release(&lit);
    ems_buf_release(&noise);
    ems_buf_release(&inner);
}

/* Three levels that each grow by less than is looked at, but not together. */
static void test_nested_bomb(void)
{
    struct ems_buf inside = make_literal(text, TEXT, 'b', "", NEW_FORMAT), m;
    static const uint8_t zeros[1 << 20];

    for (int level = 0; level < 4; level++) {
        struct ems_buf packet = make_compressed(&inside, 1, 0, INDETERMINATE);

        for (int i = 0; i < 100 && level < 3;
             i++) /* padding: to the end of an indeterminate length */
            put(&packet, zeros, sizeof zeros);
        ems_buf_release(&inside);
        inside = packet;
    }
    m = make_message(&inside, NEW_FORMAT);
    CU_ASSERT(m.size < 1u << 20);
    ASSERT_CODE(read_in_child(&m, NULL, "3 levels of 100 MiB"), EMS_PGP_LIMIT);
    ems_buf_release(&inside);
}

/* Honest messages in chunks of every allowed size take no more either. */
static void test_chunks(void)
{
    struct ems_buf noise = {0}, lit;

    put_noise(&noise, 9u << 20, 3);
    lit = make_literal(noise.data, noise.size, 'b', "", NEW_FORMAT);
    ems_buf_release(&noise);
    for (unsigned octet = 10; octet <= 21; octet += octet < 16 ? 3 : 5) {
        for (unsigned mode = 0; mode < 6; mode++) {
            bool draft = mode < 3;
            struct ems_buf message = {0}, body;
            uint8_t key[32] = "0123456789abcdef0123456789abcde";
            char name[64];

            if ((octet != 16 && mode % 3 != 1) || (octet > 16 && !draft))
                continue; /* one mode is enough; only packet 20 has chunks of 128 MiB */
            put_skesk_aead(&message, draft ? 5 : 6, 9, 2, 3, MAKER_PASS, key);
            body = make_aead(draft, 9, mode % 3 + 1, octet, key, &lit, false);
            put_packet(&message, draft ? 20 : 18, NEW_FORMAT, &body);
            ems_buf_release(&body);
            snprintf(name, sizeof name, "packet %d, mode %u, chunks of 2^%u", draft ? 20 : 18,
                     mode % 3 + 1, octet + 6);
            ASSERT_CODE(read_in_child(&message, NULL, name), EMS_END);
        }
    }
    ems_buf_release(&lit);
}

/* ---- work ---- */

/* However many packets there are and whatever they ask for: what is done is counted before it is
 * done, and ends at the limit: 2^31 octets through SHA-1 are 33 times the most that a packet for
 * AES128 can ask for. */
static void test_counted(void)
{
    static const struct {
        const char *spec;
        unsigned keys;
    } table[] = {{"\3\2saltsalt\140", EMS_PGP_ESK_MAX}, {"\3\2saltsalt\377", 33}};

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct ems_pgp_session_key *key = gcry_calloc_secure(1, sizeof *key);
        struct ems_pgp_secrets *secrets = maker_secrets();
        struct ems_pgp_facts facts = {0};
        struct ems_pgp_esks esks = {.secrets = secrets, .facts = &facts};
        struct ems_error err = {0};
        uint8_t skesk[13] = {4, 7};
        uint64_t one = 0;
        unsigned keys = 0;

        memcpy(skesk + 2, table[i].spec, 11);
        for (unsigned n = 0; n < EMS_PGP_ESK_MAX; n++) {
            skesk[4] = (uint8_t)n;
            ASSERT_CODE(ems_pgp_esks_add(&esks, 3, skesk, sizeof skesk, &err), EMS_OK);
        }
        ASSERT_CODE(ems_pgp_esks_add(&esks, 3, skesk, sizeof skesk, &err), EMS_PGP_LIMIT);
        err = (struct ems_error){0};
        while (ems_pgp_esks_next(&esks, key, &err) == EMS_OK) {
            keys++;
            one = one == 0 ? esks.spent : one;
            CU_ASSERT_EQUAL(esks.spent, keys * one);
        }
        CU_ASSERT(esks.spent <= EMS_PGP_COST_MAX);
        CU_ASSERT(keys == EMS_PGP_ESK_MAX || esks.spent + one > EMS_PGP_COST_MAX);
        CU_ASSERT_EQUAL(keys, table[i].keys);
        CU_ASSERT_EQUAL(esks.limit.code, keys == EMS_PGP_ESK_MAX ? EMS_OK : EMS_PGP_LIMIT);
        ems_pgp_esks_release(&esks);
        ems_pgp_secrets_free(secrets);
        gcry_free(key);
    }
}

EMS_TESTS("pgp cost", {"derivations", test_derivations},
          {"public-key operations", test_public_keys}, {"endless packets and pieces", test_endless},
          {"nested bombs", test_nested_bomb}, {"AEAD chunks of every size", test_chunks},
          {"work is counted", test_counted})
