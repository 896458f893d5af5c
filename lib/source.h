/*
 * source.h - the pull stage: how every layer of an upload is read, and the contract of it.
 *
 * A chain is built inside out, one expression, one check:
 *
 *     src = ems_inflate_open(ems_pgp_open(ems_parts_open(set, &err), &pgp, &err), &gz, &err);
 *     if (src == NULL) ...
 *     while ((rc = ems_source_next(src, &span, &err)) == EMS_OK)
 *         use(span.data, span.size);
 *     rc == EMS_END: everything below is proven.   else: err says what and where
 *
 * The contract, enforced once, in ems_source_next:
 *
 * 1. EMS_END is a verdict. A stage returns it only after its own trailer is checked and the stage
 *    below has returned EMS_END. (A stage that ends before the one below it is a bug: EMS_INTERNAL.)
 * 2. EMS_OK lends a span of at least one byte, valid until the next call on that source. After
 *    EMS_END or an error every further call repeats the answer.
 * 3. Who stops early drains: a consumer that has seen its last byte still pulls to EMS_END.
 * 4. A constructor owns `below` on success and on failure, and passes NULL through.
 * 5. Nothing becomes permanent before EMS_END.
 * 6. All state is in the struct: a stage works with spans of one byte.
 * 7. Every span says where it comes from: `origin` is the offset, in the assembled bytes of the
 *    upload, of the first raw byte that it was made from. ems_parts_locate turns an origin into a
 *    file name and an offset in that file. A failure carries the origin at which its stage stood.
 *
 * A source is used by one thread at a time. relay.h moves the lower part of a chain to a thread of
 * its own.
 */
#ifndef EMS_SOURCE_H
#define EMS_SOURCE_H

#include "error.h"

#include <stdatomic.h>

/*
 * Memory that lent spans point into, so that somebody who needs a span for longer than the contract
 * grants can keep it instead of copying it. Blocks belong to a stage's pool; one that is still kept
 * when the pool goes away is freed by the last keeper.
 */
struct ems_block {
    atomic_uint references; /* the pool's one, and one for each keeper */
    struct ems_block *next; /* in the pool */
    size_t capacity;
    uint8_t *data; /* 64-byte aligned */
};

struct ems_pool {
    struct ems_block *blocks;
    struct ems_block *current; /* last one handed out */
    size_t block_size;
};

void ems_pool_init(struct ems_pool *, size_t block_size);
/* A block that nobody keeps and that was not the last one handed out; allocates if there is none.
 * NULL when out of memory. */
struct ems_block *ems_pool_get(struct ems_pool *);
/* Frees what nobody keeps; the rest goes with its last keeper. Wipes nothing. */
void ems_pool_release(struct ems_pool *);

struct ems_span {
    const uint8_t *data;
    size_t size;
    uint64_t origin;         /* see 7 above; EMS_NOWHERE if unknown */
    struct ems_block *block; /* what data points into, or NULL if it cannot be kept */
};

struct ems_source;

struct ems_source_ops {
    const char *name; /* of the layer, as used in messages and JSON: "gzip" */
    int (*next)(struct ems_source *, struct ems_span *, struct ems_error *);
    void (*free)(struct ems_source *); /* this stage only, not what is below */
};

/* First member of every stage. */
struct ems_source {
    const struct ems_source_ops *ops;
    struct ems_source *below; /* NULL at the bottom */
    uint64_t offset;          /* bytes lent so far */
    uint64_t origin;          /* where the stage stands in the upload; copied into failures */
    int verdict;              /* EMS_OK while running, then what every call repeats */
    struct ems_error error;   /* the failure to repeat */
};

/* For constructors: allocate a zeroed stage of `size` bytes that owns below. On failure frees below
 * and returns NULL. `below` may be NULL only for a bottom source; a transforming constructor checks
 * for NULL first and returns it. */
void *ems_source_alloc(size_t size, const struct ems_source_ops *, struct ems_source *below,
                       struct ems_error *);

/* EMS_OK and a span, EMS_END, or an error code with *err filled in. */
int ems_source_next(struct ems_source *, struct ems_span *, struct ems_error *);

/* Pull and discard until EMS_END: returns EMS_END, or the error. */
int ems_source_drain(struct ems_source *, struct ems_error *);

/* Frees the whole chain; NULL allowed. */
void ems_source_free(struct ems_source *);

/* Take a reference on a span's memory: true if it may now be used after the next call, until
 * ems_span_drop; false if the bytes must be copied instead. */
bool ems_span_keep(const struct ems_span *);
void ems_span_drop(const struct ems_span *);

/*
 * Bottom source over memory, lending `chunk` bytes at a time (0: all at once). Borrows data.
 * Origins count from 0.
 */
struct ems_source *ems_source_memory_open(const void *data, size_t size, size_t chunk,
                                          struct ems_error *);

/*
 * Bottom source over a descriptor (pipe, file, socket), read to its end. Takes over fd if
 * owns_fd. `name` is for messages and copied. Interrupted reads are repeated.
 */
struct ems_source *ems_source_fd_open(int fd, bool owns_fd, const char *name, struct ems_error *);

#define EMS_READ_SIZE (256u * 1024u) /* bytes a bottom source reads at once */

/*
 * The reader: bytes on demand from a stage below, for stages that parse headers. Starts zeroed but
 * for `below`. It never reads further than it must, so a payload can be lent without copying.
 */
#define EMS_READER_PEEK 512u /* most that can be peeked */

struct ems_reader {
    struct ems_source *below;
    struct ems_span span; /* unread rest of the last span pulled */
    uint8_t held[EMS_READER_PEEK];
    size_t held_size, held_used; /* bytes gathered across spans, and how many of them were skipped */
    uint64_t held_origin;        /* of held[0] */
    uint64_t offset;             /* bytes consumed */
    bool ended;                  /* below has returned EMS_END */
};

/* Look at the next n bytes (n <= EMS_READER_PEEK) without consuming them. *have is n, or less if
 * the stage below ends first (then it has ended: proven). EMS_OK or an error from below. */
int ems_reader_peek(struct ems_reader *, size_t n, const uint8_t **data, size_t *have,
                    struct ems_error *);
/* Consume n bytes that were peeked. */
void ems_reader_skip(struct ems_reader *, size_t n);
/* Lend and consume at least 1 and at most max bytes, without copying. EMS_OK, EMS_END or an error. */
int ems_reader_lend(struct ems_reader *, size_t max, struct ems_span *, struct ems_error *);
/* Give back the last n bytes of what ems_reader_lend lent last, before any other call. */
void ems_reader_unlend(struct ems_reader *, size_t n);
/* Origin of the next byte. */
uint64_t ems_reader_origin(const struct ems_reader *);

#endif
