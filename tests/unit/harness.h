/*
 * harness.h - what every unit test needs: CUnit with one line per suite, sources that behave badly
 * on purpose, and comparing with both values shown.
 *
 *     static void test_x(void) { CU_ASSERT_EQUAL(1, 1); }
 *     EMS_TESTS("name", {"x does y", test_x}, ...)
 *
 * A test program exits 0 only if at least one test ran and none failed.
 */
#ifndef EMS_HARNESS_H
#define EMS_HARNESS_H

#include "bytes.h"
#include "relay.h"
#include "source.h"

#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ems_test {
    const char *name;
    void (*run)(void);
};

static int ems_tests_run(const char *suite, const struct ems_test *tests, size_t count)
{
    unsigned failed, ran;

    if (CU_initialize_registry() != CUE_SUCCESS)
        return 70;
    CU_pSuite s = CU_add_suite(suite, NULL, NULL);

    for (size_t i = 0; i < count; i++)
        CU_add_test(s, tests[i].name, tests[i].run);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    failed = CU_get_number_of_tests_failed();
    ran = CU_get_number_of_tests_run();
    printf("%s: %u passed, %u failed\n", suite, ran - failed, failed);
    CU_cleanup_registry();
    return failed > 0 || ran == 0;
}

#define EMS_TESTS(suite, ...)                                                                      \
    int main(void)                                                                                 \
    {                                                                                              \
        static const struct ems_test all_tests[] = {__VA_ARGS__};                                  \
        return ems_tests_run(suite, all_tests, sizeof all_tests / sizeof all_tests[0]);            \
    }

/* Codes compared by name, so that a failure can be read. */
#define ASSERT_CODE(actual, expected)                                                              \
    do {                                                                                           \
        int code_actual_ = (actual), code_expected_ = (expected);                                  \
        if (code_actual_ != code_expected_)                                                        \
            printf("\n    %s:%d: got %s, expected %s", __FILE__, __LINE__,                         \
                   ems_code_name(code_actual_), ems_code_name(code_expected_));                    \
        CU_ASSERT_EQUAL(code_actual_, code_expected_);                                             \
    } while (0)

/* The span sizes of the chunk matrix; 0 is "everything at once". */
static const size_t ems_test_chunks[] = {1, 2, 7, 511, 512, 513, 65536, 0};
#define EMS_TEST_CHUNKS (sizeof ems_test_chunks / sizeof ems_test_chunks[0])

/* A memory source that fails with `code` ("planned failure") on its k-th next (from 1). Each span
 * is at an address of its own and wiped when its time is over, so that use after that shows. */
struct ems_test_source {
    struct ems_source base;
    const uint8_t *data;
    size_t size, used, chunk;
    unsigned calls, fail_at;
    int code;
    uint8_t *lent;
    size_t lent_size;
};

static int ems_test_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct ems_test_source *t = (struct ems_test_source *)src;
    size_t n = t->size - t->used;

    if (t->lent != NULL)
        memset(t->lent, 0xDD, t->lent_size);
    free(t->lent);
    t->lent = NULL;
    if (++t->calls == t->fail_at)
        return ems_fail(err, t->code, "planned failure");
    if (n == 0)
        return EMS_END;
    if (t->chunk > 0 && n > t->chunk)
        n = t->chunk;
    t->lent = malloc(n);
    t->lent_size = n;
    if (t->lent == NULL)
        return ems_fail_memory(err);
    memcpy(t->lent, t->data + t->used, n);
    *span = (struct ems_span){.data = t->lent, .size = n, .origin = t->used};
    t->used += n;
    src->origin = t->used;
    return EMS_OK;
}

static void ems_test_free(struct ems_source *src)
{
    free(((struct ems_test_source *)src)->lent);
}

static inline struct ems_source *ems_test_source_open(const void *data, size_t size, size_t chunk,
                                                      unsigned fail_at, int code)
{
    static const struct ems_source_ops ops = {"test", ems_test_next, ems_test_free};
    struct ems_error err = {0};
    struct ems_test_source *t = ems_source_alloc(sizeof *t, &ops, NULL, &err);

    if (t == NULL)
        abort();
    t->data = data;
    t->size = size;
    t->chunk = chunk;
    t->fail_at = fail_at;
    t->code = code;
    return &t->base;
}

/* Pull to the end, appending to out (may be NULL). Frees the chain. Returns EMS_END or the error. */
static inline int ems_test_slurp(struct ems_source *src, struct ems_buf *out, struct ems_error *err)
{
    struct ems_span span;
    int rc;

    if (src == NULL)
        return err->code;
    while ((rc = ems_source_next(src, &span, err)) == EMS_OK)
        if (out != NULL && ems_buf_append(out, span.data, span.size, err) != EMS_OK)
            abort();
    ems_source_free(src);
    return rc;
}

/* A whole file in memory; aborts if it cannot be read. */
static inline struct ems_buf ems_test_file(const char *path)
{
    struct ems_buf buf = {0};
    FILE *f = fopen(path, "rb");
    size_t n;

    if (f == NULL) {
        fprintf(stderr, "cannot open %s\n", path);
        abort();
    }
    do {
        if (ems_buf_reserve(&buf, 65536, NULL) != EMS_OK)
            abort();
        n = fread(buf.data + buf.size, 1, 65536, f);
        buf.size += n;
    } while (n > 0);
    fclose(f);
    return buf;
}

#endif
