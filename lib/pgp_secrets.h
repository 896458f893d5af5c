/*
 * pgp_secrets.h - what the OpenPGP layer itself does with ems_pgp_secrets (see pgp.h).
 */
#ifndef EMS_PGP_SECRETS_H
#define EMS_PGP_SECRETS_H

#include "pgp_key.h"

/*
 * Between true and false, everything that libgcrypt allocates on this thread is secure memory:
 * around its public-key operations, which copy pieces of secret expressions (gcry_sexp_find_token)
 * into ordinary memory and free them as they are. Without effect where the host program has
 * initialised libgcrypt.
 */
void ems_pgp_all_secure(bool on);

/* How many passphrases for messages are known. If none is, the owner is asked, once; an answer that
 * is an error is returned by every later call too. */
int ems_pgp_secrets_passphrases(struct ems_pgp_secrets *, size_t *count, struct ems_error *);

/*
 * The key that passphrase number `index` gives. Derivations are remembered; the cost of a new one
 * is added to *spent, or it is refused with EMS_PGP_LIMIT if that would pass EMS_PGP_COST_MAX. key
 * is secure memory.
 */
int ems_pgp_secrets_derive(struct ems_pgp_secrets *, size_t index, const struct ems_pgp_s2k *,
                           uint64_t *spent, uint8_t *key, size_t key_size, struct ems_error *);

/* The secret keys; the list does not change while chains use it. */
struct ems_pgp_key *ems_pgp_secrets_keys(struct ems_pgp_secrets *);

/* Make sure that a key is open, with the passphrases known or asked for. EMS_OK,
 * EMS_PGP_PASSPHRASE, EMS_PGP_NO_KEY (its secret is elsewhere), EMS_PGP_UNSUPPORTED,
 * EMS_PGP_MALFORMED, EMS_NO_MEMORY. */
int ems_pgp_secrets_open_key(struct ems_pgp_secrets *, struct ems_pgp_key *, struct ems_error *);

#endif
