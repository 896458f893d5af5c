/* gpg's own messages, changed in every way that is small: each byte, each prefix, each packet gone,
 * twice, or in another's place. Nothing but the right bytes ever comes out with EMS_END. */
#include "pgp_maker.h"

#include "pgp_packet.h"

#include <fcntl.h>
#include <unistd.h>

static const char text[] = "COPY public.users (name) FROM stdin;";
#define TEXT (sizeof text - 1)

static const struct fixture {
    const char *key, *message;
    unsigned step; /* of the bytes that are flipped: large numbers take their time */
} fixtures[] = {
    {"cv25519", "cv25519.msg", 1},
    {"p256", "p256.msg", 1},
    {"secp256k1", "secp256k1.msg", 3},
    {"brainpool512", "brainpool512.msg", 7},
    {"rsa", "rsa.msg", 11},
    {"elgamal", "elgamal.msg", 11},
    {"open", "open.msg", 1},
    {"cv25519", "both.msg", 1},
    {"cv25519", "hidden.msg", 2},
    {"cv25519", "two.msg", 3},
    {"cv25519", "signed.asc", 1},
};
#define FIXTURES (sizeof fixtures / sizeof fixtures[0])

/* Secrets with the fixture's key open, and its message, which they read. */
static struct ems_pgp_secrets *open_fixture(const struct fixture *f, struct ems_buf *message)
{
    struct ems_pgp_secrets *secrets;
    struct ems_buf out = {0};
    char path[64];
    int fd;

    MUST(ems_pgp_library_init(NULL));
    secrets = ems_pgp_secrets_new(NULL, NULL, NULL);
    snprintf(path, sizeof path, "fixtures/openpgp/%s.key", f->key);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    MUST(secrets == NULL || fd < 0 || ems_pgp_secrets_read_key(secrets, fd, path, NULL) != EMS_OK ||
         ems_pgp_secrets_add_key_passphrase(secrets, "fixture", 7, NULL) != EMS_OK ||
         ems_pgp_secrets_add_passphrase(secrets, "wrong", 5, NULL) != EMS_OK);
    close(fd);
    snprintf(path, sizeof path, "fixtures/openpgp/%s", f->message);
    *message = ems_test_file(path);
    ASSERT_CODE(maker_read(message, secrets, false, &out, NULL, NULL), EMS_END);
    CU_ASSERT(same(&out, text, TEXT));
    ems_buf_release(&out);
    return secrets;
}

/* Read what a mutation made: an end with other bytes is the one thing that must not be. */
static int read_mutant(const struct ems_buf *message, struct ems_pgp_secrets *secrets)
{
    struct ems_buf out = {0};
    int rc = maker_read(message, secrets, false, &out, NULL, NULL);

    CU_ASSERT(rc != EMS_END || same(&out, text, TEXT));
    CU_ASSERT(rc != EMS_INTERNAL && rc != EMS_NO_MEMORY && rc != EMS_IO_ERROR);
    ems_buf_release(&out);
    return rc;
}

static void test_flips(void)
{
    for (size_t i = 0; i < FIXTURES; i++) {
        struct ems_buf message;
        struct ems_pgp_secrets *secrets = open_fixture(&fixtures[i], &message);

        for (size_t at = 0; at < message.size; at += fixtures[i].step) {
            message.data[at] ^= (uint8_t)(1u << at % 8);
            read_mutant(&message, secrets);
            message.data[at] ^= (uint8_t)(1u << at % 8);
        }
        ems_buf_release(&message);
        ems_pgp_secrets_free(secrets);
    }
}

static void test_prefixes(void)
{
    for (size_t i = 0; i < FIXTURES; i++) {
        struct ems_buf message;
        struct ems_pgp_secrets *secrets = open_fixture(&fixtures[i], &message);
        /* The line end behind the armour's last line may be missing. */
        size_t end = message.size - (message.data[message.size - 1] == '\n');

        for (size_t n = 0; n < end; n++) {
            struct ems_buf prefix = {.data = message.data, .size = n};

            CU_ASSERT(read_mutant(&prefix, secrets) != EMS_END);
        }
        ems_buf_release(&message);
        ems_pgp_secrets_free(secrets);
    }
}

#define PACKETS_MAX 8u

/* Where the packets of a binary message begin, and its end; how many there are. */
static size_t find_packets(const struct ems_buf *message, size_t at[PACKETS_MAX + 1],
                           unsigned *tags)
{
    struct ems_pgp_header h;
    size_t count = 0, where = 0;

    while (where < message->size) {
        MUST(count == PACKETS_MAX ||
             ems_pgp_header_parse(message->data + where, message->size - where, &h) <= 0 ||
             h.kind != EMS_PGP_DEFINITE);
        at[count] = where;
        tags[count++] = h.tag;
        where += h.header_size + (size_t)h.size;
    }
    MUST(where != message->size);
    at[count] = where;
    return count;
}

/* The message with packets in this order (indexes), `n` of them. */
static int read_order(const struct ems_buf *message, const size_t *at, const size_t *order,
                      size_t n, struct ems_pgp_secrets *secrets)
{
    struct ems_buf made = {0};
    int rc;

    for (size_t i = 0; i < n; i++)
        put(&made, message->data + at[order[i]], at[order[i] + 1] - at[order[i]]);
    rc = read_mutant(&made, secrets);
    ems_buf_release(&made);
    return rc;
}

static void test_packets(void)
{
    for (size_t i = 0; i < FIXTURES; i++) {
        size_t at[PACKETS_MAX + 1], order[PACKETS_MAX + 1], count;
        struct ems_buf message;
        struct ems_pgp_secrets *secrets = open_fixture(&fixtures[i], &message);
        unsigned tags[PACKETS_MAX];

        count = message.data[0] < 0x80 ? 0 : find_packets(&message, at, tags);
        for (size_t k = 0; k < count; k++) {
            bool is_container = tags[k] == EMS_PGP_TAG_SEIPD;
            int rc;

            CU_ASSERT(is_container == (k == count - 1));
            for (size_t n = 0; n + 1 < count; n++) /* dropped */
                order[n] = n < k ? n : n + 1;
            rc = read_order(&message, at, order, count - 1, secrets);
            CU_ASSERT(is_container ? rc == EMS_PGP_TRUNCATED : rc != EMS_END || count > 2);
            for (size_t n = 0; n <= count; n++) /* doubled */
                order[n] = n <= k ? n : n - 1;
            rc = read_order(&message, at, order, count + 1, secrets);
            ASSERT_CODE(rc, is_container ? EMS_PGP_TRAILING : EMS_END);
            for (size_t n = 0; n < count; n++) /* swapped with the next one */
                order[n] = n == k ? k + 1 : n == k + 1 ? k : n;
            if (k + 1 < count) {
                rc = read_order(&message, at, order, count, secrets);
                CU_ASSERT((rc == EMS_END) == (k + 2 < count));
            }
        }
        ems_buf_release(&message);
        ems_pgp_secrets_free(secrets);
    }
}

EMS_TESTS("pgp mutations", {"every byte flipped", test_flips}, {"every prefix", test_prefixes},
          {"packets dropped, doubled, swapped", test_packets})
