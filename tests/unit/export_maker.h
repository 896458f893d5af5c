/* export_maker.h - media exports put together in memory, right or wrong on purpose. */
#ifndef EMS_EXPORT_MAKER_H
#define EMS_EXPORT_MAKER_H

#include "tar_maker.h"

#include <gcrypt.h>
#include <zlib.h>

/* gzip as a whole file, with a name in its header as the exporter writes it. */
static inline struct ems_buf maker_gzip(const struct ems_buf *plain, const char *name)
{
    struct ems_buf out = {0};
    gz_header header = {.name = (Bytef *)(uintptr_t)name, .os = 255};
    z_stream z = {0};

    if (deflateInit2(&z, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) != Z_OK ||
        deflateSetHeader(&z, &header) != Z_OK ||
        ems_buf_reserve(&out, plain->size + plain->size / 100 + 1000, NULL) != EMS_OK)
        abort();
    z.next_in = plain->data;
    z.avail_in = (uInt)plain->size;
    z.next_out = out.data;
    z.avail_out = (uInt)out.capacity;
    if (deflate(&z, Z_FINISH) != Z_STREAM_END)
        abort();
    out.size = z.total_out;
    deflateEnd(&z);
    return out;
}

static inline void maker_member(struct ems_buf *tar, const char *name, const struct ems_buf *data)
{
    maker_header(tar, (struct tar_header){.name = name, .size = data->size});
    maker_data(tar, data->data, data->size);
}

/* Ends the inner archive, packs it, puts it into the outer one, and empties it for the next. */
static inline void maker_inner(struct ems_buf *outer, const char *name, struct ems_buf *inner)
{
    struct ems_buf packed;

    maker_zeros(inner, 2);
    packed = maker_gzip(inner, "export-part-1.tar");
    maker_member(outer, name, &packed);
    ems_buf_release(&packed);
    inner->size = 0;
}

/* One media of a manifest, as the exporter writes it; comma in front of all but the first. */
static inline void maker_entry(struct ems_buf *json, const char *id, const char *file,
                               const struct ems_buf *data)
{
    uint8_t digest[32];
    char hex[65];

    gcry_md_hash_buffer(GCRY_MD_SHA256, digest, data->data, data->size);
    ems_hex(digest, sizeof digest, hex);
    if (ems_buf_printf(json, NULL,
                       "%s\"mxc://example.org/%s\":{\"name\":\"a \\u0026 b\",\"file_name\":\"%s\","
                       "\"size_bytes\":%zu,\"content_type\":\"image/png\",\"s3_url\":\"\","
                       "\"sha256\":\"%s\",\"origin\":\"example.org\",\"media_id\":\"%s\","
                       "\"created_ts\":1600000000000,\"uploader\":\"@alice:example.org\"}",
                       json->data[json->size - 1] == '{' ? "" : ",", id, file, data->size, hex,
                       id) != EMS_OK)
        abort();
}

#endif
