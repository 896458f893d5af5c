/*
 * proof.h - what a first pass over an upload has proven, so that a second pass uses nothing else.
 *
 * A file can be read twice, and it can change in between. The first pass records a keyed digest of
 * every segment of the raw bytes as they come up from the parts. When the whole chain has reached
 * EMS_END, its owner seals the proof. The second pass is compared with it, segment by segment, and
 * lends no byte of a segment before the segment is known to be the one that was proven. Stages
 * above may then leave out the integrity checks that would only say so again
 * (ems_pgp_options.proven).
 *
 * The digest is the tag of OCB (RFC 7253) with AES-128 under a random key that never leaves the
 * process: nobody can make other bytes that fit, and it costs an eighth of a SHA-1. 16 octets for
 * each segment: at most 8 MiB for any upload.
 *
 * For one chain at a time; not for several threads at once.
 */
#ifndef EMS_PROOF_H
#define EMS_PROOF_H

#include "source.h"

struct ems_proof;

/* `size`: of the upload, as far as known; only chooses the size of the segments. libgcrypt must
 * have been initialised (ems_pgp_library_init). EMS_NO_MEMORY, EMS_IO_ERROR (no random numbers). */
struct ems_proof *ems_proof_new(uint64_t size, struct ems_error *);
void ems_proof_free(struct ems_proof *); /* NULL allowed */

/*
 * A stage that records what passes (not sealed yet: begins anew), or compares it with what was
 * recorded (sealed). Bytes pass unchanged. Recording copies nothing; comparing copies only what
 * does not lie in whole segments. When comparing, EMS_PART_UNFINISHED if anything differs, the
 * length included. `proof` is borrowed and must outlive the stage.
 */
struct ems_source *ems_proof_open(struct ems_source *below, struct ems_proof *, struct ems_error *);

/* The chain above the recording stage has reached EMS_END: what it has seen is proven. EMS_INTERNAL
 * if the recording stage itself has not. */
int ems_proof_seal(struct ems_proof *, struct ems_error *);
bool ems_proof_is_sealed(const struct ems_proof *); /* NULL: false */

#endif
