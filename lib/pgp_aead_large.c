/*
 * pgp_aead_large.c - chunks of more than 4 MiB, up to 128: the default of GnuPG 2.3.0 to 2.3.2, in
 * packet 20 only; see pgp_aead.h
 *
 * Nothing of a chunk may be lent before its tag has been checked, and none of this size shall be
 * held in memory. So a chunk is first put into a file as it came, still encrypted, then decrypted
 * for its tag alone, and then decrypted again to be lent.
 */
#include "pgp_aead.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TAG EMS_PGP_AEAD_TAG

/* ---- the file ---- */

/* A file without a name in the system's temporary directory. */
static int open_file(struct ems_aead *a, struct ems_error *err)
{
    FILE *f = tmpfile();

    a->file = f != NULL ? fcntl(fileno(f), F_DUPFD_CLOEXEC, 0) : -1;
    if (f != NULL)
        fclose(f);
    if (a->file < 0)
        return ems_fail_errno(err, errno, "cannot make a temporary file for large chunks");
    return ems_buf_reserve(&a->buffer, EMS_AEAD_LENT, err);
}

/* The file holds ciphertext only: nothing that is not in the upload too gets onto the disk. Read
 * and written, not mapped: mapped pages would count as our memory. */
static int put(struct ems_aead *a, const uint8_t *data, size_t size, struct ems_error *err)
{
    while (size > 0) {
        ssize_t n = pwrite(a->file, data, size, (off_t)a->file_size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ems_fail_errno(err, errno, "cannot write a temporary file for large chunks");
        a->file_size += (uint64_t)n;
        data += n;
        size -= (size_t)n;
    }
    return EMS_OK;
}

static int get(const struct ems_aead *a, uint8_t *data, size_t size, uint64_t at,
               struct ems_error *err)
{
    while (size > 0) {
        ssize_t n = pread(a->file, data, size, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ems_fail_errno(err, n < 0 ? errno : EIO, "cannot read a temporary file back");
        at += (uint64_t)n;
        data += n;
        size -= (size_t)n;
    }
    return EMS_OK;
}

/* ---- a chunk ---- */

/* Octets of the chunk in the file, without its tag and the 16 octets behind that; the whole body
 * may also be the final tag alone. */
static int chunk_size(const struct ems_aead *a, bool *any, uint64_t *size, struct ems_error *err)
{
    *any = a->file_size != TAG;
    *size = 0;
    if (a->file_size < TAG || (*any && a->file_size < 2 * TAG))
        return ems_aead_fail_cut(err);
    if (*any)
        *size = a->file_size - 2 * TAG;
    return EMS_OK;
}

/* The next chunk into the file: what was behind the one before, and on to 16 octets behind this
 * one, or to the end of the body. */
static int fill(struct ems_aead *a, struct ems_error *err)
{
    uint64_t target = a->chunk + 2 * TAG;
    uint8_t carry[TAG];
    struct ems_span in;
    int rc = EMS_OK;

    if (a->file < 0)
        rc = open_file(a, err);
    if (rc == EMS_OK && a->state == EMS_AEAD_DATA) {
        rc = get(a, carry, TAG, a->file_size - TAG, err);
        a->file_size = 0;
        if (rc == EMS_OK)
            rc = put(a, carry, TAG, err);
    }
    a->buffer_origin = ems_reader_origin(&a->reader);
    if (a->buffer_origin != EMS_NOWHERE)
        a->buffer_origin -= a->file_size; /* of what is here already */
    while (rc == EMS_OK && a->file_size < target && !a->ended) {
        rc = ems_reader_lend(&a->reader, (size_t)(target - a->file_size), &in, err);
        a->base.origin = ems_reader_origin(&a->reader);
        a->ended = rc == EMS_END;
        if (rc == EMS_OK)
            rc = put(a, in.data, in.size, err);
        else if (rc == EMS_END)
            rc = EMS_OK;
    }
    return rc;
}

/* Piece of the chunk at `at`: into the buffer, decrypted. */
static int open_piece(struct ems_aead *a, uint64_t at, uint64_t left, struct ems_error *err)
{
    int rc;

    a->buffer.size = left < EMS_AEAD_LENT ? (size_t)left : EMS_AEAD_LENT;
    rc = get(a, a->buffer.data, a->buffer.size, at, err);
    if (rc == EMS_OK)
        rc = ems_pgp_aead_piece(a->handle, a->mode, a->buffer.data, a->buffer.size,
                                a->buffer.size == left, err);
    return rc;
}

/* The same nonce twice is no harm: nothing is encrypted here, and the text is the same one. */
static int begin(struct ems_aead *a, uint64_t index, bool final, struct ems_error *err)
{
    struct ems_aead_place place;
    struct ems_pgp_aead_text text;

    ems_aead_place(a, index, final, &place, &text);
    return ems_pgp_aead_begin(a->handle, a->mode, &text, err);
}

/* Does chunk `index` in the file fit its tag? `any` is false for the final tag alone. */
static int prove(struct ems_aead *a, uint64_t index, bool any, uint64_t size, struct ems_error *err)
{
    uint8_t tag[TAG];
    uint64_t at = 0;
    int rc = begin(a, index, !any, err);

    do {
        if (rc == EMS_OK)
            rc = open_piece(a, at, size - at, err);
        at += a->buffer.size;
    } while (rc == EMS_OK && at < size);
    if (rc == EMS_OK)
        rc = get(a, tag, TAG, size, err);
    return rc == EMS_OK ? ems_pgp_aead_check(a->handle, a->mode, tag, err) : rc;
}

/* While keys are tried the file is only read, so nothing has to be undone. */
int ems_aead_large_try(struct ems_aead *a, struct ems_error *err)
{
    uint64_t size;
    bool any;
    int rc = chunk_size(a, &any, &size, err);

    return rc == EMS_OK ? prove(a, 0, any, size, err) : rc;
}

/* ---- the stage ---- */

/* Get a chunk, prove it, and begin it again to be lent. */
static int next_chunk(struct ems_aead *a, struct ems_error *err)
{
    uint8_t final[TAG];
    uint64_t size;
    bool any;
    int rc = fill(a, err);

    if (rc == EMS_OK && a->state == EMS_AEAD_START)
        rc = ems_aead_choose_key(a, err);
    if (rc == EMS_OK)
        rc = chunk_size(a, &any, &size, err);
    if (rc == EMS_OK && any) {
        rc = prove(a, a->index, true, size, err);
        if (rc == EMS_PGP_MODIFIED)
            return ems_aead_fail_chunk(a, err);
        a->index++;
        a->total += size;
    }
    if (rc == EMS_OK && a->ended) {
        rc = get(a, final, TAG, a->file_size - TAG, err);
        if (rc == EMS_OK)
            rc = ems_aead_check_final(a, final, err);
    }
    if (rc == EMS_OK && any)
        rc = begin(a, a->index - 1, false, err);
    if (rc != EMS_OK)
        return rc;
    a->lent = 0;
    a->left = size;
    a->state = a->ended ? EMS_AEAD_DONE : EMS_AEAD_DATA;
    return EMS_OK;
}

/* Piece by piece out of the file. That what is read back is what was proven rests on the file
 * having no name and no other user; the final tag and the next chunk's own tag do not depend on it.
 */
int ems_aead_large_next(struct ems_aead *a, struct ems_span *span, struct ems_error *err)
{
    int rc = EMS_OK;

    while (rc == EMS_OK && a->left == 0) {
        if (a->state == EMS_AEAD_DONE)
            return EMS_END;
        rc = next_chunk(a, err);
    }
    if (rc == EMS_OK)
        rc = open_piece(a, a->lent, a->left, err);
    if (rc != EMS_OK)
        return rc;
    *span = (struct ems_span){.data = a->buffer.data, .size = a->buffer.size};
    span->origin = a->buffer_origin;
    if (span->origin != EMS_NOWHERE)
        span->origin += a->lent;
    a->lent += span->size;
    a->left -= span->size;
    return EMS_OK;
}

void ems_aead_large_release(struct ems_aead *a)
{
    if (a->file >= 0)
        close(a->file);
}
