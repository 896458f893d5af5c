/*
 * The gzip stage on any bytes: no crash, no endless loop, nothing but its own codes. And the two
 * decoders against each other on what follows a ten-byte header: what zlib decodes to its end,
 * ISA-L decodes to the same bytes, the same CRC and the same place in the input.
 */
#include "fuzz.h"

#include "inflate.h"

#include <string.h>

#define MAX_OUT  (1u << 20)
#define MAX_RUNS 3000u /* of a decoder; what needs more is not compared */

struct input {
    const uint8_t *data;
    size_t size;
    size_t in_piece, out_piece; /* at most that much for each run */
};

struct outcome {
    int code;
    size_t consumed;
    size_t size;
    uint32_t crc;
};

static void run_stage(const uint8_t *data, size_t size, enum ems_deflate_backend backend,
                      size_t chunk)
{
    struct ems_error err = {0};
    struct ems_inflate_facts facts;
    struct ems_inflate_options options = {.backend = backend, .max_out = MAX_OUT, .facts = &facts};
    struct ems_source *src =
        ems_inflate_open(ems_source_memory_open(data, size, chunk, &err), &options, &err);
    int rc = ems_source_drain(src, &err);

    fuzz_check(rc == EMS_END ? facts.members > 0 && facts.bytes_in == size
                             : ems_code_exit(rc) == 1 && err.code == rc && err.origin <= size);
    ems_source_free(src);
}

static struct outcome run_decoder(const struct input *in, enum ems_deflate_backend backend,
                                  unsigned runs, uint8_t *out)
{
    struct ems_deflate *d = ems_deflate_new(backend, NULL);
    struct outcome o = {0};
    bool idle = false;

    while (o.code == EMS_OK && o.size + in->out_piece <= MAX_OUT && !idle && runs-- > 0) {
        const uint8_t *start = in->data + o.consumed, *p = start;
        size_t n = in->size - o.consumed < in->in_piece ? in->size - o.consumed : in->in_piece;
        size_t left = n, produced;

        o.code =
            ems_deflate_run(d, &p, &left, out + o.size, in->out_piece, &produced, &o.crc, NULL);
        fuzz_check(left <= n && p == start + n - left && produced <= in->out_piece);
        idle = n == 0 && produced == 0;
        o.consumed += n - left;
        o.size += produced;
    }
    ems_deflate_free(d);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t pieces[] = {1, 3, 64, 4096};
    static uint8_t out[2][MAX_OUT];
    size_t head = size < 10 ? size : 10;
    struct input in = {data + head, size - head, pieces[size % 4], pieces[size / 4 % 4]};
    struct outcome zlib, best;

    run_stage(data, size, EMS_DEFLATE_ZLIB, 0);
    run_stage(data, size, EMS_DEFLATE_BEST, in.in_piece);
    zlib = run_decoder(&in, EMS_DEFLATE_ZLIB, MAX_RUNS, out[0]);
    best = run_decoder(&in, EMS_DEFLATE_BEST, 2 * MAX_RUNS, out[1]);
    if (zlib.code == EMS_END)
        fuzz_check(best.code == EMS_END && best.consumed == zlib.consumed &&
                   best.size == zlib.size && best.crc == zlib.crc &&
                   memcmp(out[0], out[1], zlib.size) == 0);
    return 0;
}
