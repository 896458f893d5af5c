/*
 * The armour stage on any bytes: its own codes only, and the same bytes and the same verdict
 * whatever the size of the spans.
 */
#include "fuzz.h"

#include "bytes.h"
#include "pgp.h"
#include "pgp_armor.h"

#include <string.h>

struct outcome {
    int code;
    bool armored;
    struct ems_buf out;
};

static struct outcome run(const uint8_t *data, size_t size, enum ems_pgp_armor_kind kind,
                          size_t chunk)
{
    struct outcome o = {0};
    struct ems_error err = {0};
    struct ems_span span;
    struct ems_source *src = ems_pgp_armor_open(ems_source_memory_open(data, size, chunk, &err),
                                                kind, chunk == 1, &o.armored, &err);

    while ((o.code = ems_source_next(src, &span, &err)) == EMS_OK)
        fuzz_check(ems_buf_append(&o.out, span.data, span.size, NULL) == EMS_OK);
    fuzz_check(o.code == EMS_END || (err.code == o.code && err.origin <= size));
    ems_source_free(src);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_check(ems_pgp_library_init(NULL) == EMS_OK);
    for (int kind = EMS_PGP_ARMOR_MESSAGE; kind <= EMS_PGP_ARMOR_KEYS; kind++) {
        struct outcome whole = run(data, size, (enum ems_pgp_armor_kind)kind, 0);
        struct outcome pieces = run(data, size, (enum ems_pgp_armor_kind)kind, 1);

        fuzz_check(whole.code == pieces.code && whole.armored == pieces.armored);
        /* After an error whole spans of bytes may be missing, never other ones. */
        fuzz_check(whole.code != EMS_END || whole.out.size == pieces.out.size);
        if (whole.out.size > pieces.out.size)
            whole.out.size = pieces.out.size;
        fuzz_check(whole.out.size == 0 ||
                   memcmp(whole.out.data, pieces.out.data, whole.out.size) == 0);
        ems_buf_release(&whole.out);
        ems_buf_release(&pieces.out);
    }
    return 0;
}
