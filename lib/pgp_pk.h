/*
 * pgp_pk.h - what the public-key algorithms share (pgp_pk.c and pgp_ecdh.c).
 */
#ifndef EMS_PGP_PK_H
#define EMS_PGP_PK_H

#include "pgp_key.h"

/* The one answer to every failed unwrapping: EMS_PGP_NO_KEY. */
int ems_pgp_pk_refuse(struct ems_error *);

/* The unwrapped text: in version 3 the cipher, then the key and the sum of its octets (section
 * 5.1.3). */
int ems_pgp_pk_take_session_key(const struct ems_pgp_pkesk *, const uint8_t *text, size_t size,
                                struct ems_pgp_session_key *out, struct ems_error *);

/* A secret number of an open key; NULL when out of memory. */
gcry_mpi_t ems_pgp_pk_scan_secret(const struct ems_pgp_key *, unsigned part);

/* Decrypt; the value, padded on the left to `size` octets, goes to out (secure memory). */
int ems_pgp_pk_decrypt(gcry_sexp_t data, gcry_sexp_t secret, uint8_t *out, size_t size,
                       struct ems_error *);

/* Algorithm 18 (section 11.5); and 25 and 26 (sections 5.1.6 and 5.1.7). */
int ems_pgp_pk_open_ecdh(const struct ems_pgp_pkesk *, const struct ems_pgp_key *,
                         struct ems_pgp_session_key *out, struct ems_error *);
int ems_pgp_pk_open_native(const struct ems_pgp_pkesk *, const struct ems_pgp_key *,
                           struct ems_pgp_session_key *out, struct ems_error *);

#endif
