/*
 * inflate.h - gzip members in, plain bytes out (RFC 1952 around RFC 1951).
 *
 * All members of the file, one after the other, as gzip(1) reads them. Each member's header, CRC-32
 * and length (modulo 2^32) are checked. EMS_END only when the last member's trailer was right and
 * the stage below has ended there: anything behind it that is not another member is gzip-trailing,
 * zero bytes (which gzip(1) passes over in silence) included. A cut between two members cannot be
 * seen here; the layer below must tell.
 *
 * Spans are up to 256 KiB (see `span`), can be kept (struct ems_block), and their origin is that of
 * the input byte at hand when the span began. What was decoded in front of an error is lent first.
 * On a 1 GB dump (2-core AMD EPYC): ISA-L 0.95-1.1 s, igzip -d 1.15 s, zlib 2.15 s, gzip -t 4.8 s.
 *
 * Errors: EMS_GZIP_EMPTY (not one byte of input), EMS_GZIP_CORRUPT (no gzip header, reserved flags,
 * bad deflate data), EMS_GZIP_TRUNCATED, EMS_GZIP_CRC (CRC or length differ), EMS_GZIP_TRAILING,
 * EMS_GZIP_LIMIT, and whatever comes from below.
 */
#ifndef EMS_INFLATE_H
#define EMS_INFLATE_H

#include "source.h"

/*
 * Raw deflate decoders. Whatever zlib decodes to its end, ISA-L does, to the same bytes; tests
 * compare them. They may name damage differently (corrupt, truncated or a wrong CRC), and ISA-L
 * takes incomplete code tables, which zlib refuses: there the CRC-32 decides.
 */
enum ems_deflate_backend {
    EMS_DEFLATE_BEST, /* ISA-L where it was built in, else zlib */
    EMS_DEFLATE_ZLIB,
    EMS_DEFLATE_ISAL, /* EMS_INTERNAL at open where it was not built in */
};

/* What the stage learnt, for the report. Final at EMS_END; until then written by the thread that
 * pulls, so under a relay not to be looked at (observe.h counts for progress). */
struct ems_inflate_facts {
    uint64_t members;
    uint64_t bytes_in, bytes_out;
    const char *backend; /* "isa-l" or "zlib" */
};

struct ems_bookmarks;
struct ems_deflate;

/* Zeros mean the default in each field. */
struct ems_inflate_options {
    enum ems_deflate_backend backend;
    size_t span;          /* longest span in bytes; shorter ones are slower, and have more origins */
    uint64_t max_out;     /* bytes out; default no limit */
    uint64_t max_ratio;   /* out/in allowed once `ratio_floor` bytes came out; default 500 */
    uint64_t ratio_floor; /* default 256 MiB: below it any ratio is harmless */
    struct ems_inflate_facts *facts; /* may be NULL; must outlive the stage */
    struct ems_bookmarks *bookmarks; /* leave places to resume from (bookmark.h); may be NULL */
};

/* options may be NULL. */
struct ems_source *ems_inflate_open(struct ems_source *below, const struct ems_inflate_options *,
                                    struct ems_error *);

/*
 * The two codecs behind one interface, also for the raw deflate inside OpenPGP messages (algorithm
 * 1, RFC 9580 section 5.6). One struct, all state inside, no callbacks.
 */
struct ems_deflate *ems_deflate_new(enum ems_deflate_backend, struct ems_error *);
void ems_deflate_reset(struct ems_deflate *); /* ready for the next stream */
void ems_deflate_free(struct ems_deflate *);
const char *ems_deflate_backend_name(const struct ems_deflate *);

/*
 * Decode from *in (advanced, *in_size reduced by what was consumed) into out. *produced bytes were
 * written. EMS_OK: go on (more input is needed if *in_size is 0 and *produced < out_size);
 * EMS_END: the final block is complete, and not one byte behind it was consumed;
 * EMS_GZIP_CORRUPT (or EMS_NO_MEMORY) otherwise; after that, and after EMS_END, every run gives the
 * same answer and consumes nothing until ems_deflate_reset. *crc is updated (gzip's CRC-32, start
 * with 0) over what was produced. With output space left over, all input is consumed; with none, up
 * to 8 bytes of input may remain to be offered again, although room for more is what is missing.
 */
int ems_deflate_run(struct ems_deflate *, const uint8_t **in, size_t *in_size, uint8_t *out,
                    size_t out_size, size_t *produced, uint32_t *crc, struct ems_error *);

#endif
