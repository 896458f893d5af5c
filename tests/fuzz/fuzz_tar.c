/*
 * The tar reader, the policy and the walk on any bytes: no crash, no endless loop, nothing but its
 * own codes, the same outcome whatever the spans. And whoever says END has seen an archive that
 * ends in two blocks of zeros.
 */
#include "fuzz.h"

#include "archive_walk.h"
#include "media_store.h"
#include "tar_policy.h"

#include <string.h>

struct outcome {
    int code;
    int refused;
    size_t kind;
    struct ems_tar_facts tar;
    size_t findings, ids;
};

static struct outcome run(const uint8_t *data, size_t size, size_t chunk)
{
    struct ems_error err = {0};
    struct ems_findings findings = {0};
    struct ems_facts facts = {0};
    struct ems_media_ids ids = {0};
    struct ems_walk_result result;
    struct ems_walker *walkers[] = {ems_media_store_open(&ids, NULL, &err)};
    struct ems_walk_options options = {
        .artifact = "fuzz", .walkers = walkers, .walker_count = 1, .expected = 0};
    struct ems_tar *tar = ems_tar_open(ems_source_memory_open(data, size, chunk, &err), &err);
    struct outcome o = {.code = ems_archive_walk(tar, &options, &result, &findings, &facts, &err)};

    fuzz_check(o.code == EMS_END ||
               (err.code == o.code && (o.code == EMS_TAR_CORRUPT || o.code == EMS_TAR_TRUNCATED)));
    o.refused = result.refused;
    o.kind = result.kind;
    o.tar = result.tar;
    o.findings = findings.count;
    o.ids = ids.count;
    walkers[0]->ops->free(walkers[0]);
    ems_media_ids_release(&ids);
    ems_facts_release(&facts);
    ems_findings_release(&findings);
    ems_tar_free(tar);
    return o;
}

/* What is safe to unpack stays below where it is unpacked. */
static void check_names(const uint8_t *data, size_t size)
{
    char path[1024], clean[EMS_TAR_MAX_PATH + 1], framed[EMS_TAR_MAX_PATH + 3];
    struct ems_tar_member member = {.path = path};
    struct ems_store_path at;
    const char *why;
    size_t n = size < sizeof path - 1 ? size : sizeof path - 1;

    memcpy(path, data, n);
    path[n] = '\0';
    if (ems_tar_check_path(&member, &why) != EMS_OK)
        return;
    n = ems_tar_clean_path(path, clean);
    framed[0] = '/';
    memcpy(framed + 1, clean, n + 1);
    framed[n + 1] = '/';
    framed[n + 2] = '\0';
    fuzz_check(strstr(framed, "/../") == NULL && strstr(framed, "/./") == NULL &&
               (n == 0 || strstr(framed, "//") == NULL));
    if (ems_store_path_read(clean, &at))
        fuzz_check(at.prefix_size < n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t chunks[] = {1, 100, 512, 700};
    struct outcome whole = run(data, size, 0), pieces = run(data, size, chunks[size % 4]);

    fuzz_check(whole.code == pieces.code && whole.refused == pieces.refused &&
               whole.kind == pieces.kind && whole.findings == pieces.findings &&
               whole.ids == pieces.ids && whole.tar.members == pieces.tar.members &&
               whole.tar.file_bytes == pieces.tar.file_bytes);
    if (whole.code == EMS_END) {
        fuzz_check(size >= 1024);
        for (size_t i = size - 1024; i < size; i++)
            fuzz_check(data[i] == 0);
    }
    check_names(data, size);
    return 0;
}
