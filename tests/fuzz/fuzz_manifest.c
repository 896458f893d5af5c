/*
 * The text of a checksum manifest, whatever it claims to be: no crash, only its own codes, the same
 * answer for any size of spans; and what was read is written in a form that reads the same again.
 * The bytes are also tried as an rclone listing, against the manifest if they are one.
 */
#include "fuzz.h"

#include "bytes.h"
#include "manifest.h"
#include "pgp.h"
#include "sink.h"

#include <string.h>

struct memory_sink {
    struct ems_sink base;
    struct ems_buf text;
};

static int memory_write(struct ems_sink *sink, const uint8_t *data, size_t size,
                        struct ems_error *err)
{
    return ems_buf_append(&((struct memory_sink *)sink)->text, data, size, err);
}

static const struct ems_sink_ops memory_ops = {memory_write, NULL, NULL, NULL};

static struct ems_manifest *read_bytes(const uint8_t *data, size_t size, size_t chunk,
                                       struct ems_error *err)
{
    struct ems_findings findings = {0};
    struct ems_manifest *m;
    int rc = ems_manifest_read(&m, ems_source_memory_open(data, size, chunk, err), "fuzz",
                               &findings, err);

    fuzz_check(rc == err->code && (rc == EMS_OK) == (m != NULL));
    fuzz_check(rc == EMS_OK || rc == EMS_MANIFEST_MALFORMED || rc == EMS_MANIFEST_TRUNCATED ||
               rc == EMS_MANIFEST_UNSUPPORTED);
    fuzz_check(rc == EMS_OK || strstr(err->text, "line ") != NULL);
    ems_findings_release(&findings);
    return m;
}

/* Written out and read back: every entry is there, and a second writing gives the same bytes. */
static void check_round_trip(struct ems_manifest *m)
{
    struct memory_sink first = {.base.ops = &memory_ops}, second = {.base.ops = &memory_ops};
    struct ems_error err = {0};
    struct ems_manifest *back;

    fuzz_check(ems_manifest_write(m, &first.base, &err) == EMS_OK);
    back = read_bytes(first.text.data, first.text.size, 0, &err);
    if (back == NULL) /* a list of sizes alone has no line that level 1 would repeat */
        fuzz_check(strstr(err.text, "no file is named") != NULL);
    for (size_t i = 0; back != NULL && i < m->entry_count; i++)
        fuzz_check(!m->entries[i].sha256.done ||
                   memcmp(ems_manifest_find(back, m->entries[i].name)->sha256.bytes,
                          m->entries[i].sha256.bytes, EMS_SHA256_SIZE) == 0);
    if (back != NULL)
        fuzz_check(ems_manifest_write(back, &second.base, &err) == EMS_OK);
    ems_manifest_free(back);
    ems_buf_release(&first.text);
    ems_buf_release(&second.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t chunks[] = {1, 3, 64, 4096};
    struct ems_error err = {0}, other = {0};
    struct ems_findings findings = {0};
    struct ems_manifest *m, *again;

    fuzz_check(ems_pgp_library_init(&err) == EMS_OK);
    m = read_bytes(data, size, 0, &err);
    again = read_bytes(data, size, chunks[size % 4], &other);
    fuzz_check(err.code == other.code && strcmp(err.text, other.text) == 0);
    ems_manifest_free(again);
    if (m != NULL) {
        check_round_trip(m);
    } else {
        err = (struct ems_error){0};
        m = ems_manifest_new(&err);
        fuzz_check(m != NULL);
    }
    ems_manifest_match_listing(m, ems_source_memory_open(data, size, 0, &err), &findings, &err);
    ems_manifest_match_end(m, &findings);
    ems_findings_release(&findings);
    ems_manifest_free(m);
    return 0;
}
