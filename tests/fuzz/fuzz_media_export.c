/*
 * The walker of media exports: the input is what lies inside, two bytes that say how long the first
 * part's tar archive is, that archive, and manifest.json. They are packed as an export is and
 * walked, in pieces and at once: no crash, nothing but its own codes, the same outcome.
 */
#include "fuzz.h"

#include "../unit/tar_maker.h"

#include "media_export.h"
#include "pgp.h"

#include <zlib.h>

/* gzip without compression: what the input says is what is read. */
static struct ems_buf zip(const uint8_t *data, size_t size)
{
    static const uint8_t head[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};
    struct ems_buf out = {0};
    uint32_t tail[2] = {(uint32_t)crc32(0, data, (uInt)size), (uint32_t)size};

    maker_append(&out, head, sizeof head);
    do {
        size_t n = size < 0xffff ? size : 0xffff;
        uint8_t block[5] = {n == size, (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)~n,
                            (uint8_t)(~n >> 8)};

        maker_append(&out, block, sizeof block);
        maker_append(&out, data, n);
        data += n;
        size -= n;
    } while (size > 0);
    maker_append(&out, tail, sizeof tail);
    return out;
}

static void add_member(struct ems_buf *tar, const char *name, const struct ems_buf *data)
{
    maker_header(tar, (struct tar_header){.name = name, .size = data->size});
    maker_data(tar, data->data, data->size);
}

static struct ems_buf pack(const uint8_t *data, size_t size, bool manifest_first)
{
    size_t n = size > 1 ? (size_t)data[0] | (size_t)data[1] << 8 : 0;
    struct ems_buf outer = {0}, inner = {0}, text, part, manifest;

    if (size > 2) {
        data += 2;
        size -= 2;
    }
    n = n < size ? n : size;
    text = (struct ems_buf){.data = (uint8_t *)(uintptr_t)data + n, .size = size - n};
    add_member(&inner, "manifest.json", &text);
    maker_zeros(&inner, 2);
    part = zip(data, n);
    manifest = zip(inner.data, inner.size);
    if (manifest_first)
        add_member(&outer, "e/export-manifest.tgz", &manifest);
    add_member(&outer, "e/export-part-1.tgz", &part);
    if (!manifest_first)
        add_member(&outer, "e/export-manifest.tgz", &manifest);
    maker_zeros(&outer, 2);
    ems_buf_release(&inner);
    ems_buf_release(&part);
    ems_buf_release(&manifest);
    return outer;
}

struct outcome {
    int code, refused;
    size_t findings, ids;
    uint64_t files, verified;
};

static struct outcome run(const struct ems_buf *tar_bytes, size_t chunk)
{
    static const struct ems_check_options check = {.no_threads = true};
    char name[] = "fuzz";
    struct ems_artifact a = {.name = name};
    struct ems_error err = {0};
    struct ems_findings findings = {0};
    struct ems_facts facts = {0};
    struct ems_walk_result result;
    struct ems_walker *walkers[] = {ems_media_export_open(&a, &check, &err)};
    struct ems_walk_options options = {.artifact = name, .walkers = walkers, .walker_count = 1};
    struct ems_tar *tar =
        ems_tar_open(ems_source_memory_open(tar_bytes->data, tar_bytes->size, chunk, &err), &err);
    struct outcome o = {.code = ems_archive_walk(tar, &options, &result, &findings, &facts, &err)};

    fuzz_check(o.code == EMS_END);
    o.refused = result.refused;
    o.findings = findings.count;
    o.ids = a.media_ids.count;
    for (size_t i = 0; i < facts.count; i++) {
        if (strcmp(facts.items[i].name, "files") == 0)
            o.files = facts.items[i].number;
        if (strcmp(facts.items[i].name, "verified") == 0)
            o.verified = facts.items[i].number;
    }
    fuzz_check(o.verified <= o.files);
    walkers[0]->ops->free(walkers[0]);
    ems_media_ids_release(&a.media_ids);
    ems_facts_release(&facts);
    ems_findings_release(&findings);
    ems_tar_free(tar);
    return o;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct ems_error err = {0};

    (void)argc;
    (void)argv;
    fuzz_check(ems_pgp_library_init(&err) == EMS_OK);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ems_buf first = pack(data, size, true), last = pack(data, size, false);
    struct outcome a = run(&first, 0), b = run(&first, 333), c = run(&last, 0);

    fuzz_check(a.code == b.code && a.refused == b.refused && a.findings == b.findings &&
               a.ids == b.ids && a.files == b.files && a.verified == b.verified);
    /* Which side comes first changes nothing either, in an export that is not refused. */
    fuzz_check((a.refused == EMS_OK) == (c.refused == EMS_OK));
    if (a.refused == EMS_OK)
        fuzz_check(a.findings == c.findings && a.ids == c.ids && a.verified == c.verified);
    ems_buf_release(&first);
    ems_buf_release(&last);
    return 0;
}
