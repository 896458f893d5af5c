/* What a first pass records and a second one is held to; and the two passes over a message. */
#include "chain.h"
#include "pgp_maker.h"
#include "proof.h"

#include <stdlib.h>

#define SEGMENT EMS_READ_SIZE

/* The bytes of several segments and a bit, with the last piece no whole number of blocks. */
static struct ems_buf several(void)
{
    struct ems_buf data = {0};

    put_noise(&data, 3 * SEGMENT + 1001, 5);
    return data;
}

static struct ems_source *open_over(const struct ems_buf *data, size_t chunk,
                                    struct ems_proof *proof)
{
    return ems_proof_open(ems_test_source_open(data->data, data->size, chunk, 0, EMS_OK), proof,
                          NULL);
}

static struct ems_proof *record(const struct ems_buf *data, size_t chunk)
{
    struct ems_error err = {0};
    struct ems_buf out = {0};
    struct ems_proof *proof;

    MUST(ems_pgp_library_init(&err));
    proof = ems_proof_new(data->size, &err);
    MUST(proof == NULL);
    ASSERT_CODE(ems_test_slurp(open_over(data, chunk, proof), &out, &err), EMS_END);
    CU_ASSERT(same(&out, data->data, data->size));
    CU_ASSERT_FALSE(ems_proof_is_sealed(proof));
    ASSERT_CODE(ems_proof_seal(proof, &err), EMS_OK);
    CU_ASSERT_TRUE(ems_proof_is_sealed(proof));
    ems_buf_release(&out);
    return proof;
}

/* Recorded in spans of one size, compared in spans of another, whole and empty. */
static void test_spans(void)
{
    static const size_t sizes[] = {0, 1, 15, 16, 17, 5000, SEGMENT - 1, SEGMENT, SEGMENT + 1};
    struct ems_buf data = several();

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct ems_buf part = {.data = data.data, .size = sizes[i]};

        for (size_t c = 0; c < EMS_TEST_CHUNKS; c++) {
            bool slow = sizes[i] > 5000 && ems_test_chunks[c] < 500 && ems_test_chunks[c] > 0;
            struct ems_proof *proof = slow ? NULL : record(&part, ems_test_chunks[c]);

            for (size_t d = 0; d < EMS_TEST_CHUNKS && proof != NULL; d += 3) {
                struct ems_error err = {0};
                struct ems_buf out = {0};

                ASSERT_CODE(ems_test_slurp(
                                ems_relay_open(open_over(&part, ems_test_chunks[d], proof), &err),
                                &out, &err),
                            EMS_END);
                CU_ASSERT(same(&out, part.data, part.size));
                ems_buf_release(&out);
            }
            ems_proof_free(proof);
        }
    }
    ems_buf_release(&data);
}

/* Compare: the code, and how much was lent before it; only proven bytes ever are. */
static int compare(struct ems_proof *proof, const struct ems_buf *now, const struct ems_buf *before,
                   size_t chunk, size_t *lent, struct ems_error *err)
{
    struct ems_buf out = {0};
    int rc = ems_test_slurp(open_over(now, chunk, proof), &out, err);

    CU_ASSERT(out.size <= before->size &&
              (out.size == 0 || memcmp(out.data, before->data, out.size) == 0));
    *lent = out.size;
    ems_buf_release(&out);
    return rc;
}

static void test_changes(void)
{
    static const size_t chunks[] = {0, 70000, SEGMENT};
    struct ems_buf before = several(), now = several();
    struct ems_proof *proof = record(&before, 0);
    size_t lent;

    for (size_t c = 0; c < 3; c++) {
        for (size_t at = 0; at < before.size; at += 65521) {
            struct ems_error err = {0};

            now.data[at] ^= 0x40;
            ASSERT_CODE(compare(proof, &now, &before, chunks[c], &lent, &err), EMS_PART_UNFINISHED);
            CU_ASSERT_EQUAL(lent, at / SEGMENT * SEGMENT);
            CU_ASSERT_EQUAL(err.origin, lent);
            now.data[at] ^= 0x40;
        }
    }
    ems_proof_free(proof);
    ems_buf_release(&before);
    ems_buf_release(&now);
}

/* Cut and grown by little and much, also by whole segments; two segments swapped. */
static void test_lengths(void)
{
    static const int by[] = {-1, -16, -1001, -1002, -(int)SEGMENT, 1, 15, 16, (int)SEGMENT};
    struct ems_buf before = several(), longer = {0};
    struct ems_proof *proof = record(&before, 0);
    size_t lent;

    put(&longer, before.data, before.size);
    put_noise(&longer, SEGMENT, 6);
    for (size_t i = 0; i < sizeof by / sizeof by[0]; i++) {
        struct ems_buf now = {.data = longer.data, .size = before.size + (size_t)by[i]};

        ASSERT_CODE(compare(proof, &now, &before, 0, &lent, NULL), EMS_PART_UNFINISHED);
    }
    memcpy(longer.data, before.data + SEGMENT, SEGMENT);
    memcpy(longer.data + SEGMENT, before.data, SEGMENT);
    longer.size = before.size;
    ASSERT_CODE(compare(proof, &longer, &before, 0, &lent, NULL), EMS_PART_UNFINISHED);
    CU_ASSERT_EQUAL(lent, 0);
    ASSERT_CODE(compare(proof, &before, &before, 0, &lent, NULL), EMS_END);
    ems_proof_free(proof);
    ems_buf_release(&before);
    ems_buf_release(&longer);
}

/* A whole number of segments, and then none behind it or one more. */
static void test_whole_segments(void)
{
    struct ems_buf data = several(), exact = {.data = data.data, .size = 2 * SEGMENT}, now = exact;
    struct ems_proof *proof = record(&exact, 0);
    size_t lent;

    ASSERT_CODE(compare(proof, &now, &exact, 0, &lent, NULL), EMS_END);
    now.size = SEGMENT;
    ASSERT_CODE(compare(proof, &now, &exact, 0, &lent, NULL), EMS_PART_UNFINISHED);
    now.size = 0;
    ASSERT_CODE(compare(proof, &now, &exact, 0, &lent, NULL), EMS_PART_UNFINISHED);
    now.size = 3 * SEGMENT;
    ASSERT_CODE(compare(proof, &now, &exact, 0, &lent, NULL), EMS_PART_UNFINISHED);
    ems_proof_free(proof);
    ems_buf_release(&data);
}

/* What has not reached its end cannot be sealed; a recording begun anew forgets the one before. */
static void test_sealing(void)
{
    struct ems_buf data = several(), small = {.data = data.data, .size = 100};
    struct ems_error err = {0};
    struct ems_proof *proof;
    struct ems_source *src;
    size_t lent;

    MUST(ems_pgp_library_init(&err));
    proof = ems_proof_new(UINT64_MAX, &err); /* no size is too large to be asked for */
    CU_ASSERT_PTR_NOT_NULL(proof);
    ems_proof_free(proof);
    ems_proof_free(NULL);
    CU_ASSERT_FALSE(ems_proof_is_sealed(NULL));

    proof = ems_proof_new(data.size, &err);
    ASSERT_CODE(ems_proof_seal(proof, &err), EMS_INTERNAL);
    src = ems_proof_open(ems_test_source_open(data.data, data.size, 70000, 9, EMS_IO_ERROR), proof,
                         NULL);
    ASSERT_CODE(ems_test_slurp(src, NULL, NULL), EMS_IO_ERROR);
    ASSERT_CODE(ems_proof_seal(proof, NULL), EMS_INTERNAL);
    ASSERT_CODE(ems_test_slurp(open_over(&small, 0, proof), NULL, NULL), EMS_END);
    ASSERT_CODE(ems_proof_seal(proof, NULL), EMS_OK);
    ASSERT_CODE(compare(proof, &small, &small, 0, &lent, NULL), EMS_END);
    src = ems_proof_open(ems_test_source_open(small.data, small.size, 10, 3, EMS_IO_ERROR), proof,
                         NULL);
    ASSERT_CODE(ems_test_slurp(src, NULL, NULL), EMS_IO_ERROR);
    CU_ASSERT_PTR_NULL(ems_proof_open(NULL, proof, NULL));
    ems_proof_free(proof);
    ems_buf_release(&data);
}

/* ---- two passes over a message ---- */

static int pass_over(const struct ems_buf *message, struct ems_proof *proof, bool threads,
                     struct ems_buf *out, struct ems_error *err)
{
    struct ems_pgp_secrets *secrets = maker_secrets();
    struct ems_chain_options options = {.secrets = secrets,
                                        .keep_gzip = true,
                                        .split_decryption = !ems_proof_is_sealed(proof),
                                        .no_threads = !threads,
                                        .proof = proof};
    struct ems_chain chain;
    struct ems_span span;
    int rc = ems_chain_open(
        &chain, ems_source_memory_open(message->data, message->size, 100000, err), &options, err);

    while (rc == EMS_OK && (rc = ems_source_next(chain.top, &span, err)) == EMS_OK)
        put(out, span.data, span.size);
    ems_chain_close(&chain);
    ems_pgp_secrets_free(secrets);
    return rc;
}

/* The second pass gives the same bytes; not one that the first one has not proven, whatever was
 * done to the message in between; and it does not need the MDC for that. */
static void test_two_passes(void)
{
    struct ems_buf plain = several(), literal, message;

    literal = make_literal(plain.data, plain.size, 'b', "x", NEW_FORMAT);
    message = make_message(&literal, NEW_FORMAT);
    for (int threads = 0; threads < 2; threads++) {
        struct ems_error err = {0};
        struct ems_proof *proof = ems_proof_new(message.size, &err);
        struct ems_buf out = {0};

        ASSERT_CODE(pass_over(&message, proof, threads, &out, &err), EMS_END);
        CU_ASSERT(same(&out, plain.data, plain.size));
        ASSERT_CODE(ems_proof_seal(proof, &err), EMS_OK);
        out.size = 0;
        ASSERT_CODE(pass_over(&message, proof, threads, &out, &err), EMS_END);
        CU_ASSERT(same(&out, plain.data, plain.size));
        for (size_t at = 0; at < message.size; at += message.size / 7) {
            out.size = 0;
            err = (struct ems_error){0};
            message.data[at] ^= 1;
            ASSERT_CODE(pass_over(&message, proof, threads, &out, &err), EMS_PART_UNFINISHED);
            CU_ASSERT(out.size <= at && memcmp(out.data, plain.data, out.size) == 0);
            message.data[at] ^= 1;
        }
        ems_buf_release(&out);
        ems_proof_free(proof);
    }
    ems_buf_release(&plain);
    ems_buf_release(&literal);
    ems_buf_release(&message);
}

EMS_TESTS("proof", {"spans of every size", test_spans}, {"every change is noticed", test_changes},
          {"shorter, longer, swapped", test_lengths}, {"whole segments", test_whole_segments},
          {"sealing", test_sealing}, {"two passes over a message", test_two_passes})
