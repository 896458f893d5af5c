/* Every limit of the OpenPGP layer: what is just within it is read, one more is refused. (Nesting
 * is in test_pgp.c, what all of it costs in test_pgp_cost.c.) */
#include "pgp_maker.h"

#include "pgp_armor.h"
#include "pgp_esk.h"

#include <bzlib.h>
#include <unistd.h>

static const char text[] = "COPY public.users (name) FROM stdin;\n";
#define TEXT (sizeof text - 1)

/* Takes the message. */
static int read_once(struct ems_buf *message)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_error err = {0};
    int rc = maker_read(message, secrets, false, NULL, NULL, &err);

    if (rc != EMS_END && rc != EMS_PGP_LIMIT)
        printf("\n    %s", err.text);
    ems_pgp_secrets_free(secrets);
    ems_buf_release(message);
    return rc;
}

/* ---- packets ---- */

/* `count` packets with bodies of `size` octets that begin with `first`, and then the message. */
static int read_behind(unsigned tag, unsigned count, uint8_t first, size_t size)
{
    struct ems_buf out = {0}, body = {0}, message = make_simple(text, TEXT);

    put_octet(&body, first);
    while (body.size < size)
        put_octet(&body, 0);
    for (unsigned i = 0; i < count; i++)
        put_packet(&out, tag, NEW_FORMAT, &body);
    put(&out, message.data, message.size);
    ems_buf_release(&message);
    ems_buf_release(&body);
    return read_once(&out);
}

static void test_packets(void)
{
    struct ems_buf signature = {0}, inside, message;

    /* Session keys of an unknown version, and the one that opens the message. */
    ASSERT_CODE(read_behind(1, 63, 99, 100), EMS_END);
    ASSERT_CODE(read_behind(1, 64, 99, 100), EMS_PGP_LIMIT);
    ASSERT_CODE(read_behind(1, 1, 99, 16384), EMS_END);
    ASSERT_CODE(read_behind(1, 1, 99, 16385), EMS_PGP_LIMIT);
    ASSERT_CODE(read_behind(3, 1, 99, 16384), EMS_END);
    ASSERT_CODE(read_behind(3, 1, 99, 16385), EMS_PGP_LIMIT);
    /* Padding and the like. */
    ASSERT_CODE(read_behind(21, 256, 0, 3), EMS_END);
    ASSERT_CODE(read_behind(21, 257, 0, 3), EMS_PGP_LIMIT);
    ASSERT_CODE(read_behind(60, 256, 0, 3), EMS_END);
    ASSERT_CODE(read_behind(60, 257, 0, 3), EMS_PGP_LIMIT);

    for (size_t size = 65536; size <= 65537; size++) {
        signature.size = 0;
        put_noise(&signature, size, 1);
        inside = make_literal(text, TEXT, 'b', "", NEW_FORMAT);
        put_packet(&inside, 2, NEW_FORMAT, &signature);
        message = make_message(&inside, NEW_FORMAT);
        ASSERT_CODE(read_once(&message), size == 65536 ? EMS_END : EMS_PGP_LIMIT);
        ems_buf_release(&inside);
    }
    ems_buf_release(&signature);
}

/* A body in pieces of two octets: the first one, and 65536 more. Six octets are the literal's own
 * header. */
static void test_pieces(void)
{
    for (size_t more = 65536; more <= 65537; more++) {
        struct ems_buf noise = {0}, inside, message;

        put_noise(&noise, 2 * (1 + more) - 6, 3);
        inside = make_literal(noise.data, noise.size, 'b', "", PARTIAL_2);
        message = make_message(&inside, NEW_FORMAT);
        ASSERT_CODE(read_once(&message), more == 65536 ? EMS_END : EMS_PGP_LIMIT);
        ems_buf_release(&noise);
        ems_buf_release(&inside);
    }
}

/* ---- armour ---- */

/* Armour with a line of `size` octets: a header, data, the checksum, the END line. */
static struct ems_buf long_line(int where, size_t size)
{
    struct ems_buf out = {0}, line = {0};
    static const char empty[] = "8AA="; /* packet 48 without content */

    MUST(ems_buf_reserve(&line, size, NULL));
    line.size = size;
    memset(line.data, where == 0 ? ':' : where == 1 ? ' ' : where == 2 ? '=' : '-', size);
    put(&out, "-----BEGIN PGP MESSAGE-----\n", 28);
    if (where == 0) {
        put(&out, line.data, line.size);
        put(&out, "\n", 1);
    }
    put(&out, "\n", 1);
    if (where == 1) {
        put(&out, empty, 4);
        put(&out, line.data, size - 4);
        put(&out, "\n", 1);
    } else {
        put(&out, empty, 4);
        put(&out, "\n", 1);
    }
    if (where == 2) {
        put(&out, line.data, line.size);
        put(&out, "\n", 1);
    }
    put(&out, "-----END PGP ", 13);
    if (where == 3)
        put(&out, line.data, size - 13);
    else
        put(&out, "MESSAGE-----", 12);
    put(&out, "\n", 1);
    ems_buf_release(&line);
    return out;
}

/* Of any line, and whatever the spans are that it comes in. */
static void test_armor_lines(void)
{
    static const size_t spans[] = {0, 1, 1000, 65536, 65537};

    for (int where = 0; where < 4; where++) {
        for (size_t size = 65536; size <= 65537; size++) {
            struct ems_buf armor = long_line(where, size);

            for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
                bool armored = false;
                struct ems_error err = {0};
                struct ems_source *src =
                    ems_pgp_armor_open(ems_test_source_open(armor.data, armor.size, spans[i], 0, 0),
                                       EMS_PGP_ARMOR_MESSAGE, false, &armored, &err);
                int rc = ems_test_slurp(src, NULL, &err);

                ASSERT_CODE(rc, size == 65536 ? EMS_END : EMS_PGP_LIMIT);
            }
            ems_buf_release(&armor);
        }
    }
}

/* ---- keys ---- */

/* An RSA public key whose modulus has so many bits. */
static void put_rsa(struct ems_buf *out, unsigned bits)
{
    struct ems_buf body = {0};

    put(&body, "\4\0\0\0\1\1", 6);
    put_be(&body, bits, 2);
    put_octet(&body, bits % 8 == 1 ? 1 : 0x80);
    put_noise(&body, (bits + 7) / 8 - 1, 5);
    put(&body, "\0\21\1\0\1", 5);
    put_packet(out, 6, NEW_FORMAT, &body);
    ems_buf_release(&body);
}

/* Takes the file. */
static int read_keys(struct ems_buf *file)
{
    struct ems_pgp_recipient_keys *keys;
    struct ems_error err = {0};
    FILE *f = tmpfile();

    MUST(ems_pgp_library_init(NULL));
    MUST(f == NULL || fwrite(file->data, 1, file->size, f) != file->size || fflush(f) != 0);
    MUST(lseek(fileno(f), 0, SEEK_SET) != 0);
    keys = ems_pgp_recipient_keys_read(fileno(f), "keys", &err);
    CU_ASSERT_EQUAL(keys == NULL, err.code != EMS_OK);
    ems_pgp_recipient_keys_free(keys);
    fclose(f);
    ems_buf_release(file);
    return err.code;
}

static void test_keys(void)
{
    for (unsigned more = 0; more < 2; more++) {
        struct ems_buf file = {0}, trust = {0};

        put_rsa(&file, 16384 + more);
        ASSERT_CODE(read_keys(&file), more == 0 ? EMS_OK : EMS_PGP_MALFORMED);
        for (unsigned i = 0; i < 256 + more; i++)
            put_rsa(&file, 1024);
        ASSERT_CODE(read_keys(&file), more == 0 ? EMS_OK : EMS_PGP_LIMIT);
        put_rsa(&file, 1024); /* and a packet that is passed over, to a MiB in all */
        put_noise(&trust, (1u << 20) - file.size - 6 + more, 1);
        put_packet(&file, 12, NEW_FORMAT, &trust);
        CU_ASSERT_EQUAL(file.size, (1u << 20) + more);
        ASSERT_CODE(read_keys(&file), more == 0 ? EMS_OK : EMS_PGP_LIMIT);
        ems_buf_release(&trust);
    }
}

static void test_passphrase(void)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    static const char pass[EMS_PGP_PASSPHRASE_MAX + 1] = "p";

    ASSERT_CODE(ems_pgp_secrets_add_passphrase(secrets, pass, EMS_PGP_PASSPHRASE_MAX, NULL),
                EMS_OK);
    ASSERT_CODE(ems_pgp_secrets_add_passphrase(secrets, pass, EMS_PGP_PASSPHRASE_MAX + 1, NULL),
                EMS_PGP_PASSPHRASE);
    ems_pgp_secrets_free(secrets);
}

/* ---- work ---- */

static uint64_t argon2_cost(uint8_t passes, uint8_t lanes, uint8_t memory_log_kib)
{
    struct ems_pgp_s2k s2k;
    struct ems_error err = {0};
    uint8_t spec[20] = "\4saltsaltsaltsalt";
    size_t used;

    spec[17] = passes;
    spec[18] = lanes;
    spec[19] = memory_log_kib;
    ASSERT_CODE(ems_pgp_s2k_parse(spec, sizeof spec, &s2k, &used, &err), EMS_OK);
    return ems_pgp_s2k_cost(&s2k, 13, 32);
}

/* What the defaults of others ask for passes: 2 GiB once, or 64 MiB three times (RFC 9106). The
 * derivation itself is in test_pgp_forms.c, with less memory. */
static void test_argon2(void)
{
    CU_ASSERT(argon2_cost(1, 4, 21) <= EMS_PGP_COST_MAX);
    CU_ASSERT(2 * argon2_cost(1, 4, 21) > EMS_PGP_COST_MAX);
    CU_ASSERT(argon2_cost(2, 4, 21) > EMS_PGP_COST_MAX);
    CU_ASSERT(argon2_cost(1, 4, 22) > EMS_PGP_COST_MAX);
    CU_ASSERT(4 * argon2_cost(3, 4, 16) <= EMS_PGP_COST_MAX);
    CU_ASSERT(argon2_cost(27, 4, 16) <= EMS_PGP_COST_MAX);
    CU_ASSERT(argon2_cost(28, 4, 16) > EMS_PGP_COST_MAX);
}

static int make_wrong(void *context, struct ems_pgp_session_key *key, struct ems_error *err)
{
    unsigned *given = context;

    (void)err;
    memset(key, 0, sizeof *key);
    key->size = 32;
    key->key[0] = (uint8_t)++ * given;
    return *given <= 100 ? EMS_OK : EMS_END;
}

static int refuse(void *context, bool damaged, struct ems_error *err)
{
    (void)context;
    (void)damaged;
    return ems_fail(err, EMS_PGP_PASSPHRASE, "none fits");
}

/* Keys tried on a chunk of 200,000 octets: how many were asked for before it ended so. */
static int try_keys(unsigned cipher, unsigned mode, uint64_t *spent, unsigned *given)
{
    struct ems_pgp_facts facts = {0};
    struct ems_pgp_unlock unlock = {
        .next = make_wrong, .refuse = refuse, .context = given, .spent = spent, .facts = &facts};
    struct ems_buf noise = {0}, body;
    struct ems_error err = {0};
    uint8_t key[32] = {0};
    int rc;

    *given = 0;
    put_noise(&noise, 200000, 1);
    body = make_aead(false, cipher, mode, 16, key, &noise, false);
    rc = ems_test_slurp(ems_pgp_aead_open(ems_source_memory_open(body.data, body.size, 0, &err),
                                          &unlock, false, &err),
                        NULL, &err);
    ems_buf_release(&noise);
    ems_buf_release(&body);
    return rc;
}

/* Sixty-four keys on chunks of 4 MiB in Camellia or Twofish EAX would take five seconds. The first
 * key is always tried, also when all has been spent on getting it. */
static void test_tried(void)
{
    static const unsigned ciphers[] = {9, 10, 13};

    MUST(ems_pgp_library_init(NULL));
    for (size_t c = 0; c < 3; c++) {
        for (unsigned mode = 1; mode <= 3; mode++) {
            uint64_t one, spent = 0;
            unsigned given;

            ASSERT_CODE(try_keys(ciphers[c], mode, &spent, &given), EMS_PGP_PASSPHRASE);
            one = spent / 100;
            CU_ASSERT(one >= 200 && one <= 5001);
            spent = EMS_PGP_COST_MAX - 3 * one;
            ASSERT_CODE(try_keys(ciphers[c], mode, &spent, &given), EMS_PGP_LIMIT);
            CU_ASSERT_EQUAL(given, 4);
            CU_ASSERT_EQUAL(spent, EMS_PGP_COST_MAX);
            ASSERT_CODE(try_keys(ciphers[c], mode, &spent, &given), EMS_PGP_LIMIT);
            CU_ASSERT_EQUAL(given, 2);
        }
    }
}

/* A literal packet of so many MiB of zeros through bzip2: some hundred octets. */
static struct ems_buf bzip2_zeros(unsigned mib)
{
    static char zeros[1 << 20], out[4096];
    struct ems_buf header = {0}, body = {0}, packet = {0}, message;
    bz_stream z = {0};

    put_octet(&header, 0xcb);
    put_octet(&header, 255);
    put_be(&header, 6 + ((uint64_t)mib << 20), 4);
    put(&header, "b\0\0\0\0\0", 6);
    put_octet(&body, 3);
    MUST(BZ2_bzCompressInit(&z, 9, 0, 0));
    for (unsigned i = 0; i <= mib; i++) {
        int rc;

        z.next_in = i == 0 ? (char *)header.data : zeros;
        z.avail_in = i == 0 ? (unsigned)header.size : sizeof zeros;
        do {
            z.next_out = out;
            z.avail_out = sizeof out;
            rc = BZ2_bzCompress(&z, i == mib ? BZ_FINISH : BZ_RUN);
            put(&body, out, sizeof out - z.avail_out);
        } while (i == mib ? rc != BZ_STREAM_END : z.avail_in > 0);
    }
    BZ2_bzCompressEnd(&z);
    put_packet(&packet, 8, NEW_FORMAT, &body);
    message = make_message(&packet, NEW_FORMAT);
    ems_buf_release(&header);
    ems_buf_release(&body);
    ems_buf_release(&packet);
    return message;
}

static void test_growth(void)
{
    struct ems_buf message = bzip2_zeros(60);

    CU_ASSERT(message.size < 2000);
    ASSERT_CODE(read_once(&message), EMS_END);
    message = bzip2_zeros(65);
    ASSERT_CODE(read_once(&message), EMS_PGP_LIMIT);
}

EMS_TESTS("pgp limits", {"packets", test_packets}, {"pieces of a packet", test_pieces},
          {"lines of armour", test_armor_lines}, {"keys", test_keys},
          {"passphrases", test_passphrase}, {"argon2", test_argon2},
          {"session keys tried", test_tried}, {"growth", test_growth})
