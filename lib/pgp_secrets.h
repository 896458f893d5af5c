/*
 * pgp_secrets.h - what the OpenPGP layer itself does with ems_pgp_secrets (see pgp.h).
 */
#ifndef EMS_PGP_SECRETS_H
#define EMS_PGP_SECRETS_H

#include "pgp.h"
#include "pgp_s2k.h"

/* How many passphrases are known. If none is, the owner is asked, once; an answer that is an error
 * is returned by every later call too. */
int ems_pgp_secrets_passphrases(struct ems_pgp_secrets *, size_t *count, struct ems_error *);

/*
 * The key that passphrase number `index` gives. Derivations are remembered; a new one is added to
 * *spent, and refused with EMS_PGP_LIMIT when that passes EMS_PGP_COST_*. key is secure memory.
 */
int ems_pgp_secrets_derive(struct ems_pgp_secrets *, size_t index, const struct ems_pgp_s2k *,
                           struct ems_pgp_cost *spent, uint8_t *key, size_t key_size,
                           struct ems_error *);

#endif
