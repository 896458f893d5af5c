/*
 * row_hash.h - are these the same rows, in whatever order? A sum of keyed hashes.
 *
 * COPY text goes in, cut anywhere; each line is hashed by itself (SipHash-2-4 with 128 bits) and
 * the hashes are added up modulo 2^128, so that the order of the rows does not matter but their
 * number does. Two tables with the same sum and count hold the same lines, unless somebody who knew
 * the key made them differ: the key is random, of this run, and never leaves the process, so a dump
 * that was written before cannot be made to collide. A sum of plain polynomial hashes would not do:
 * it stays the same when two rows exchange their values in one column.
 *
 * A line's end is LF or CR LF and is not part of it. Nothing is allocated; a row may be of any
 * length.
 *
 * Source: J.-P. Aumasson and D. J. Bernstein, SipHash: a fast short-input PRF, 2012; the form with
 * 128 bits as in the authors' reference code.
 */
#ifndef EMS_ROW_HASH_H
#define EMS_ROW_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EMS_ROW_HASH_KEY 16u

struct ems_row_hash {
    uint64_t sum[2]; /* low, high */
    uint64_t rows;   /* complete lines */

    /* Of a line that goes on in the next piece. */
    uint64_t key[2];
    uint64_t v[4];
    uint64_t size; /* its bytes so far */
    uint64_t tail; /* those that do not make a word yet, the first in the lowest bits */
    bool after_cr; /* its last byte was a CR, which is not counted yet */
    bool begun;
};

void ems_row_hash_init(struct ems_row_hash *, const uint8_t key[EMS_ROW_HASH_KEY]);

/* The next bytes of COPY text. */
void ems_row_hash_feed(struct ems_row_hash *, const uint8_t *data, size_t size);

/* Complete lines only; false while one is open. */
bool ems_row_hash_equal(const struct ems_row_hash *, const struct ems_row_hash *);

/* The 128 bits of one string: what is added for a line. */
void ems_row_hash_one(const uint8_t key[EMS_ROW_HASH_KEY], const uint8_t *data, size_t size,
                      uint8_t out[16]);

#endif
