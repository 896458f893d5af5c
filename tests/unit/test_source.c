/* The stream contract: sources, reader, relay, observers, enforced with bad stages on purpose. */
#include "harness.h"

#include "observe.h"

#include <fcntl.h>
#include <gcrypt.h>
#include <unistd.h>

static uint8_t *sample(size_t size)
{
    uint8_t *data = malloc(size);
    uint32_t x = 1;

    for (size_t i = 0; i < size; i++) {
        x = x * 1664525u + 1013904223u;
        data[i] = (uint8_t)(x >> 24);
    }
    return data;
}

static void test_chunks_and_relays(void)
{
    uint8_t *data = sample(150000);

    for (size_t c = 0; c < EMS_TEST_CHUNKS; c++) {
        size_t size = ems_test_chunks[c] > 0 && ems_test_chunks[c] < 500 ? 9999 : 150000;

        for (int relays = 0; relays < 3; relays++) {
            struct ems_buf out = {0};
            struct ems_error err = {0};
            struct ems_source *src =
                ems_test_source_open(data, size, ems_test_chunks[c], 0, EMS_OK);

            for (int i = 0; i < relays; i++)
                src = ems_relay_open(src, &err);
            ASSERT_CODE(ems_test_slurp(src, &out, &err), EMS_END);
            CU_ASSERT_EQUAL(out.size, size);
            CU_ASSERT(out.size == size && memcmp(out.data, data, size) == 0);
            ems_buf_release(&out);
        }
    }
    free(data);
}

static void test_failure_at_every_call(void)
{
    uint8_t *data = sample(1000);

    for (unsigned k = 1; k <= 12; k++) {
        for (int relays = 0; relays < 2; relays++) {
            struct ems_error err = {0};
            struct ems_span span;
            struct ems_source *src = ems_test_source_open(data, 1000, 100, k, EMS_PGP_MODIFIED);
            int rc;

            if (relays)
                src = ems_relay_open(src, &err);
            while ((rc = ems_source_next(src, &span, &err)) == EMS_OK)
                ;
            ASSERT_CODE(rc, k <= 11 ? EMS_PGP_MODIFIED : EMS_END);
            if (k <= 11) {
                struct ems_error again = {0};

                CU_ASSERT_STRING_EQUAL(err.text, "planned failure");
                CU_ASSERT_STRING_EQUAL(err.stage, "test");
                CU_ASSERT_EQUAL(err.origin, (k - 1) * 100);
                ASSERT_CODE(ems_source_next(src, &span, &again), EMS_PGP_MODIFIED);
                CU_ASSERT_STRING_EQUAL(again.text, "planned failure");
            } else {
                ASSERT_CODE(ems_source_next(src, &span, &err), EMS_END);
            }
            ems_source_free(src);
        }
    }
    free(data);
}

static int ends_early(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    return src->offset > 0 ? EMS_END : ems_source_next(src->below, span, err);
}

static int lends_nothing(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    (void)src, (void)span, (void)err;
    return EMS_OK;
}

static int gives_no_reason(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    (void)src, (void)span, (void)err;
    return EMS_GZIP_CRC;
}

static void frees_nothing(struct ems_source *src)
{
    (void)src;
}

static void test_bad_stages_are_bugs(void)
{
    static const struct {
        struct ems_source_ops ops;
        int code;
    } bad[] = {
        {{"early", ends_early, frees_nothing}, EMS_INTERNAL},
        {{"nothing", lends_nothing, frees_nothing}, EMS_INTERNAL},
        {{"mute", gives_no_reason, frees_nothing}, EMS_GZIP_CRC},
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct ems_error err = {0};
        struct ems_source *src = ems_source_alloc(sizeof *src, &bad[i].ops,
                                                  ems_source_memory_open("abc", 3, 1, &err), &err);

        ASSERT_CODE(ems_test_slurp(src, NULL, &err), bad[i].code);
        CU_ASSERT_NOT_EQUAL(err.text[0], '\0');
    }
}

static void test_null_passes_through(void)
{
    struct ems_error err = {0};

    CU_ASSERT_PTR_NULL(ems_relay_open(NULL, &err));
    CU_ASSERT_PTR_NULL(ems_observe_open(NULL, NULL, NULL, &err));
    ems_source_free(NULL);
}

static void test_relay_freed_while_running(void)
{
    uint8_t *data = sample(100000);

    for (int pulls = 0; pulls < 5; pulls++) {
        struct ems_error err = {0};
        struct ems_span span;
        struct ems_source *src =
            ems_relay_open(ems_test_source_open(data, 100000, 10, 0, EMS_OK), &err);

        for (int i = 0; i < pulls; i++)
            ASSERT_CODE(ems_source_next(src, &span, &err), EMS_OK);
        ems_source_free(src);
    }
    free(data);
}

static void test_blocks_cross_a_relay_uncopied(void)
{
    char path[] = "/tmp/ems-test-XXXXXX";
    int fd = mkstemp(path);
    size_t size = 3 * EMS_READ_SIZE * EMS_RELAY_DEPTH + 77;
    uint8_t *data = sample(size);
    struct ems_buf out = {0};
    struct ems_error err = {0};
    struct ems_span span;
    struct ems_source *src;

    unlink(path);
    CU_ASSERT_EQUAL_FATAL(write(fd, data, size), (ssize_t)size);
    CU_ASSERT_EQUAL_FATAL(lseek(fd, 0, SEEK_SET), 0);
    src = ems_relay_open(ems_source_fd_open(fd, true, "sample", &err), &err);
    while (ems_source_next(src, &span, &err) == EMS_OK) {
        CU_ASSERT_PTR_NOT_NULL(span.block);
        CU_ASSERT_EQUAL(span.origin, out.size);
        ems_buf_append(&out, span.data, span.size, NULL);
    }
    CU_ASSERT_EQUAL(err.code, EMS_OK);
    CU_ASSERT(out.size == size && memcmp(out.data, data, size) == 0);
    ems_source_free(src);
    ems_buf_release(&out);
    free(data);
}

static void test_kept_span_outlives_its_pool(void)
{
    struct ems_pool pool;
    struct ems_block *a, *b;
    struct ems_span span;

    ems_pool_init(&pool, 100);
    a = ems_pool_get(&pool);
    span = (struct ems_span){.data = a->data, .size = 100, .block = a};
    memset(a->data, 'a', 100);
    CU_ASSERT(ems_span_keep(&span));
    b = ems_pool_get(&pool);
    CU_ASSERT_PTR_NOT_EQUAL(a, b);
    CU_ASSERT_PTR_NOT_EQUAL(ems_pool_get(&pool), a); /* still kept */
    ems_pool_release(&pool);
    CU_ASSERT_EQUAL(span.data[99], 'a');
    ems_span_drop(&span);
}

static void test_read_error_of_a_descriptor(void)
{
    struct ems_error err = {0};
    int fd = open("/", O_RDONLY | O_DIRECTORY);
    struct ems_source *src = ems_source_fd_open(fd, true, "the-name", &err);

    ASSERT_CODE(ems_test_slurp(src, NULL, &err), EMS_IO_ERROR);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "the-name"));
}

static void test_reader(void)
{
    uint8_t *data = sample(5000);

    for (size_t c = 0; c < EMS_TEST_CHUNKS; c++) {
        struct ems_error err = {0};
        struct ems_reader r = {.below =
                                   ems_test_source_open(data, 5000, ems_test_chunks[c], 0, EMS_OK)};
        const uint8_t *p;
        struct ems_span span;
        size_t have, at = 0;

        for (size_t n = 1; n <= 60; n++) { /* peek n, skip some of it, lend some */
            ASSERT_CODE(ems_reader_peek(&r, n, &p, &have, &err), EMS_OK);
            CU_ASSERT_EQUAL(have, n);
            CU_ASSERT(memcmp(p, data + at, n) == 0);
            CU_ASSERT_EQUAL(ems_reader_origin(&r), at);
            ems_reader_skip(&r, n / 2);
            at += n / 2;
            ASSERT_CODE(ems_reader_lend(&r, 5, &span, &err), EMS_OK);
            CU_ASSERT(span.size >= 1 && span.size <= 5);
            CU_ASSERT(memcmp(span.data, data + at, span.size) == 0);
            CU_ASSERT_EQUAL(span.origin, at);
            ems_reader_unlend(&r, span.size - 1);
            at += 1;
            CU_ASSERT_EQUAL(r.offset, at);
        }
        while (ems_reader_lend(&r, SIZE_MAX, &span, &err) == EMS_OK) {
            CU_ASSERT(memcmp(span.data, data + at, span.size) == 0);
            at += span.size;
        }
        CU_ASSERT_EQUAL(at, 5000);
        ASSERT_CODE(ems_reader_peek(&r, 9, &p, &have, &err), EMS_OK);
        CU_ASSERT_EQUAL(have, 0);
        CU_ASSERT(r.ended);
        ems_source_free(r.below);
    }
    free(data);
}

static int forgets_origin(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    int rc = ems_source_next(src->below, span, err);

    span->origin = EMS_NOWHERE;
    return rc;
}

/* An origin that is not known stays unknown, and does not become a small number. */
static void test_reader_without_origins(void)
{
    static const struct ems_source_ops ops = {"forgetful", forgets_origin, frees_nothing};
    struct ems_error err = {0};
    struct ems_reader r = {
        .below = ems_source_alloc(sizeof *r.below, &ops,
                                  ems_source_memory_open("0123456789", 10, 3, &err), &err)};
    const uint8_t *p;
    struct ems_span span;
    size_t have;

    for (size_t n = 5; n > 2; n--) {
        ASSERT_CODE(ems_reader_peek(&r, n, &p, &have, &err), EMS_OK);
        ems_reader_skip(&r, 1);
        CU_ASSERT_EQUAL(ems_reader_origin(&r), EMS_NOWHERE);
    }
    while (ems_reader_lend(&r, 1, &span, &err) == EMS_OK)
        CU_ASSERT_EQUAL(span.origin, EMS_NOWHERE);
    CU_ASSERT_EQUAL(r.offset, 10);
    ems_source_free(r.below);
}

static void test_digest(void)
{
    static const char abc[] = /* SHA-256("abc"), FIPS 180-4 example */
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    struct ems_error err = {0};
    uint8_t digest[32];
    char hex[65];
    bool done = true;
    _Atomic uint64_t count = 0;
    struct ems_source *src = ems_observe_digest_open(
        ems_observe_count_open(ems_test_source_open("abc", 3, 1, 0, EMS_OK), &count, &err),
        GCRY_MD_SHA256, digest, &done, &err);

    CU_ASSERT_FALSE(done);
    ASSERT_CODE(ems_test_slurp(src, NULL, &err), EMS_END);
    CU_ASSERT(done);
    ems_hex(digest, 32, hex);
    CU_ASSERT_STRING_EQUAL(hex, abc);
    CU_ASSERT_EQUAL(count, 3);

    done = false;
    src = ems_observe_digest_open(ems_test_source_open("abc", 3, 1, 3, EMS_IO_ERROR),
                                  GCRY_MD_SHA256, digest, &done, &err);
    ASSERT_CODE(ems_test_slurp(src, NULL, &err), EMS_IO_ERROR);
    CU_ASSERT_FALSE(done);
}

static void test_errors(void)
{
    struct ems_error err = {0};

    ASSERT_CODE(ems_fail(&err, EMS_GZIP_CRC, "first %d", 1), EMS_GZIP_CRC);
    ASSERT_CODE(ems_fail(&err, EMS_IO_ERROR, "second"), EMS_GZIP_CRC);
    CU_ASSERT_STRING_EQUAL(err.text, "first 1");
    for (int i = 2; i < EMS_CODE_COUNT; i++)
        CU_ASSERT_EQUAL(ems_code_from_name(ems_code_name(i)), i);
    CU_ASSERT_EQUAL(ems_exit_worst(3, 5), 5);
    CU_ASSERT_EQUAL(ems_exit_worst(1, 5), 1);
    CU_ASSERT_EQUAL(ems_exit_worst(4, 75), 75);
    CU_ASSERT_EQUAL(ems_exit_worst(70, 75), 70);
    CU_ASSERT_EQUAL(ems_exit_worst(0, 3), 3);
}

static void test_printable(void)
{
    static const struct {
        const char *in, *out;
        size_t room;
    } cases[] = {
        {"plain.sql", "plain.sql", 64},
        {"a\nb\x1b[31m", "a%0Ab%1B[31m", 64},
        {"caf\xc3\xa9 100%", "caf\xc3\xa9 100%25", 64},
        {"\xff\xc3", "%FF%C3", 64},
        {"\xe2\x80\xae"
         "exe",
         "%E2%80%AEexe", 64},
        {"abcdefghijk", "abcd...", 8},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[64];

        CU_ASSERT_STRING_EQUAL(ems_printable(cases[i].in, strlen(cases[i].in), out, cases[i].room),
                               cases[i].out);
    }
}

EMS_TESTS("source", {"chunk matrix with and without relays", test_chunks_and_relays},
          {"failure at the k-th call", test_failure_at_every_call},
          {"stages that break the contract", test_bad_stages_are_bugs},
          {"NULL passes through", test_null_passes_through},
          {"relay freed while running", test_relay_freed_while_running},
          {"blocks cross a relay uncopied", test_blocks_cross_a_relay_uncopied},
          {"a kept span outlives its pool", test_kept_span_outlives_its_pool},
          {"read error of a descriptor", test_read_error_of_a_descriptor}, {"reader", test_reader},
          {"reader without origins", test_reader_without_origins},
          {"digest and count", test_digest}, {"errors and statuses", test_errors},
          {"printable names", test_printable})
