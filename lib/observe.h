/*
 * observe.h - stages that let bytes pass unchanged and look at them.
 */
#ifndef EMS_OBSERVE_H
#define EMS_OBSERVE_H

#include "source.h"

/* Called for each span on its way up, on the thread that pulls. A code other than EMS_OK ends the
 * stream with it (fill in *err with ems_fail). */
typedef int ems_observe_fn(void *context, const struct ems_span *, struct ems_error *);

/* Any observer. context must outlive the chain. */
struct ems_source *ems_observe_open(struct ems_source *below, ems_observe_fn *, void *context,
                                    struct ems_error *);

/* Counts the bytes that passed into *count, which another thread may read at any time. */
struct ems_source *ems_observe_count_open(struct ems_source *below, _Atomic uint64_t *count,
                                          struct ems_error *);

/*
 * Digests what passes. `digest` (32 bytes for SHA-256) is written, and *done set, only when the
 * stage below has returned EMS_END. `algorithm` is libgcrypt's number (GCRY_MD_SHA256).
 */
struct ems_source *ems_observe_digest_open(struct ems_source *below, int algorithm, uint8_t *digest,
                                           bool *done, struct ems_error *);

#endif
