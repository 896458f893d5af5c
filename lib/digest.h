/*
 * digest.h - SHA-256 of part sets: of every part, of the assembled bytes, and of blocks in them,
 * all from one reading.
 *
 * Two ways to use it. ems_digest_open takes the place of ems_parts_open at the bottom of a chain
 * that does something else with the bytes, so that a check hashes what it reads anyway. On its own,
 * ems_digest_run hashes many sets at once: one set a thread, and inside a set the parts on one
 * thread and the assembled bytes on another.
 *
 * libgcrypt must have been initialised (ems_pgp_library_init).
 */
#ifndef EMS_DIGEST_H
#define EMS_DIGEST_H

#include "parts.h"
#include "source.h"

#define EMS_SHA256_SIZE 32u

struct ems_sha256 {
    uint8_t bytes[EMS_SHA256_SIZE];
    bool done; /* false: not (yet) known; bytes mean nothing */
};

/* The digests of one set. Memory: 33 bytes a part and a block. */
struct ems_set_digests {
    struct ems_sha256
        *parts; /* as many as the set has, in its order; not done for missing, stale */
    size_t part_count;
    struct ems_sha256 whole; /* of the assembled bytes; done only if the set was read to its end */
    struct ems_sha256 *blocks; /* of a file that is not split, each block_size but the last */
    size_t block_count;
    uint64_t block_size; /* 0: no blocks */
};

/* Called now and then, on the thread that asked for the work; a code other than EMS_OK ends the
 * work with it (fill in *err with ems_fail). */
typedef int ems_tick_fn(void *context, struct ems_error *);

/* Room for the digests of this set; block_size 0: no blocks, and none for a split set. EMS_OK or
 * EMS_NO_MEMORY (then there is nothing to release). */
int ems_set_digests_init(struct ems_set_digests *, const struct ems_part_set *, uint64_t block_size,
                         struct ems_error *);
void ems_set_digests_release(struct ems_set_digests *);

/*
 * ems_parts_open(set) with the digests made on the way: the same bytes, verdict and errors. A
 * part's digest is done once the parts source has proven that the file did not change while it was
 * read; `whole` is done at EMS_END. set and digests must outlive the chain. With `threads` the
 * digest of the assembled bytes of a split set is made by the thread that pulls, and everything
 * below on one of its own.
 */
struct ems_source *ems_digest_open(const struct ems_part_set *, struct ems_set_digests *,
                                   bool threads, struct ems_error *);

/* One set to hash, and what became of it. */
struct ems_digest_job {
    const struct ems_part_set *set;  /* need not be whole: then each part that is here is hashed */
    struct ems_set_digests *digests; /* from ems_set_digests_init */
    struct ems_error error;          /* EMS_OK, or EMS_PART_UNFINISHED, EMS_IO_ERROR, ... */
};

/* Zeros mean the default in each field. */
struct ems_digest_options {
    unsigned threads;           /* sets that are read at the same time; 0: as many as processors */
    _Atomic uint64_t *bytes_in; /* counts the bytes read; may be NULL */
    ems_tick_fn *tick;          /* may be NULL */
    void *tick_context;
};

/*
 * Hash all of them, largest first. A set that cannot be read does not hinder the others: its job
 * says so. EMS_OK, or the code that tick gave. options may be NULL. Blocks until all threads are
 * gone.
 */
int ems_digest_run(struct ems_digest_job *jobs, size_t count, const struct ems_digest_options *,
                   struct ems_error *);

#endif
