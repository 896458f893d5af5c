/*
 * Messages: any bytes as a message, and any bytes as what stands inside an encrypted container. The
 * stage gives its own codes only, and the same verdict for spans of every size; probe and measure
 * look at the same bytes.
 */
#include "fuzz.h"

#include "bytes.h"
#include "pgp.h"

#include <gcrypt.h>
#include <string.h>

static const char passphrase[] = "fixture";

static bool is_expected(int code)
{
    return code == EMS_END || code == EMS_PGP_NOT_OPENPGP || code == EMS_PGP_TRUNCATED ||
           code == EMS_PGP_MODIFIED || code == EMS_PGP_NO_INTEGRITY || code == EMS_PGP_PASSPHRASE ||
           code == EMS_PGP_NO_KEY || code == EMS_PGP_UNSUPPORTED || code == EMS_PGP_MALFORMED ||
           code == EMS_PGP_TRAILING || code == EMS_PGP_LIMIT || code == EMS_NOT_ENCRYPTED;
}

static int run(const uint8_t *data, size_t size, size_t chunk, struct ems_pgp_secrets *secrets)
{
    struct ems_error err = {0};
    struct ems_pgp_facts facts;
    struct ems_pgp_options options = {
        .secrets = secrets, .allow_no_integrity = true, .facts = &facts};
    struct ems_source *src =
        ems_pgp_open(ems_source_memory_open(data, size, chunk, &err), &options, &err);
    int code = ems_source_drain(src, &err);

    fuzz_check(is_expected(code) && (code == EMS_END || err.code == code));
    fuzz_check(code != EMS_END || (facts.container != NULL && facts.session_key != NULL));
    fuzz_check(strlen(facts.file_name) < sizeof facts.file_name);
    ems_source_free(src);
    return code;
}

static void put(struct ems_buf *b, const void *data, size_t size)
{
    fuzz_check(ems_buf_append(b, data, size, NULL) == EMS_OK);
}

/* The bytes inside packet 18 version 1, under the key that the simple S2K gives. */
static struct ems_buf enclose(const uint8_t *data, size_t size)
{
    static const uint8_t skesk[] = {0xc3, 4, 4, 7, 0, 8}; /* AES128, simple, SHA-256 */
    uint8_t digest[32], length[6] = {0xd2, 0xff};
    struct ems_buf out = {0}, plain = {0};
    gcry_cipher_hd_t h;

    put(&plain, "prefix of 16 oct", 16);
    put(&plain, "ct", 2);
    put(&plain, data, size);
    put(&plain, "\xd3\x14", 2);
    gcry_md_hash_buffer(GCRY_MD_SHA1, digest, plain.data, plain.size);
    put(&plain, digest, 20);
    gcry_md_hash_buffer(GCRY_MD_SHA256, digest, passphrase, strlen(passphrase));
    fuzz_check(gcry_cipher_open(&h, GCRY_CIPHER_AES128, GCRY_CIPHER_MODE_CFB, 0) == 0 &&
               gcry_cipher_setkey(h, digest, 16) == 0 && gcry_cipher_setiv(h, NULL, 0) == 0 &&
               gcry_cipher_encrypt(h, plain.data, plain.size, NULL, 0) == 0);
    gcry_cipher_close(h);
    put(&out, skesk, sizeof skesk);
    for (int i = 0; i < 4; i++)
        length[2 + i] = (uint8_t)((plain.size + 1) >> (24 - 8 * i));
    put(&out, length, sizeof length);
    put(&out, "\1", 1);
    put(&out, plain.data, plain.size);
    ems_buf_release(&plain);
    return out;
}

static int64_t read_at(void *context, void *buffer, size_t size, uint64_t offset)
{
    const struct ems_buf *b = context;

    if (offset >= b->size)
        return 0;
    if (size > b->size - offset)
        size = b->size - (size_t)offset;
    memcpy(buffer, b->data + offset, size);
    return (int64_t)size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ems_pgp_secrets *secrets;
    struct ems_buf whole = {0}, message;
    uint64_t total;
    int code;

    if (secrets == NULL) {
        fuzz_check(ems_pgp_library_init(NULL) == EMS_OK);
        secrets = ems_pgp_secrets_new(NULL, NULL, NULL);
        fuzz_check(secrets != NULL && ems_pgp_secrets_add_passphrase(
                                          secrets, passphrase, strlen(passphrase), NULL) == EMS_OK);
    }
    put(&whole, data, size);
    ems_pgp_probe(whole.data, whole.size);
    ems_pgp_measure(read_at, &whole, &total, NULL);
    code = run(whole.data, whole.size, 0, secrets);
    fuzz_check(code == run(whole.data, whole.size, 3, secrets));

    message = enclose(data, size);
    code = run(message.data, message.size, 0, secrets);
    fuzz_check(code == run(message.data, message.size, 3, secrets));
    fuzz_check(code != EMS_PGP_MODIFIED && code != EMS_PGP_TRUNCATED);
    message.data[message.size - 1] ^= 1;
    fuzz_check(run(message.data, message.size, 0, secrets) == EMS_PGP_MODIFIED);
    ems_buf_release(&message);
    ems_buf_release(&whole);
    return 0;
}
