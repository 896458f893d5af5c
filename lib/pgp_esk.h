/*
 * pgp_esk.h - the session-key packets before a container, and what they give with our secrets
 * (RFC 9580, sections 5.1 and 5.3).
 */
#ifndef EMS_PGP_ESK_H
#define EMS_PGP_ESK_H

#include "pgp_cipher.h"
#include "pgp_packet.h"
#include "pgp_secrets.h"

#define EMS_PGP_ESK_MAX      64u           /* packets before one container */
#define EMS_PGP_ESK_SIZE_MAX (16u * 1024u) /* bytes of one */

struct ems_pgp_esk {
    unsigned tag; /* PKESK or SKESK */
    uint8_t *body;
    size_t size;
};

/* Start with {0} but for secrets and facts; release at the end. */
struct ems_pgp_esks {
    struct ems_pgp_secrets *secrets; /* borrowed; NULL where only `facts` is wanted */
    struct ems_pgp_facts *facts;     /* borrowed, never NULL */
    struct ems_pgp_esk list[EMS_PGP_ESK_MAX];
    size_t count;
    /* How far ems_pgp_esks_next has come: all packets for keys first, then those for passphrases.
     */
    bool keys_done;
    size_t at;
    struct ems_pgp_key *key; /* to try next on packet `at`, NULL before its first */
    bool key_started;
    size_t secret;         /* passphrase to try next on packet `at` */
    size_t passphrases;    /* known, once asked for */
    bool asked;            /* for passphrases */
    uint64_t spent;        /* on this message, see EMS_PGP_COST_MAX */
    bool tried_passphrase; /* at least one gave a key */
    /* Why it may be that nothing opens the message, the first of each kind. */
    struct ems_error limit;   /* trying would have been too expensive */
    struct ems_error locked;  /* a matching secret key stayed closed, or did not fit */
    struct ems_error ask;     /* there is no passphrase */
    struct ems_error skipped; /* a packet is of no known kind */
};

/* Add a packet's body (copied). EMS_OK, EMS_PGP_LIMIT, EMS_NO_MEMORY. */
int ems_pgp_esks_add(struct ems_pgp_esks *, unsigned tag, const uint8_t *body, size_t size,
                     struct ems_error *);
void ems_pgp_esks_release(struct ems_pgp_esks *);

/* ems_pgp_candidate_fn and refuse of struct ems_pgp_unlock; context is the struct ems_pgp_esks. */
int ems_pgp_esks_next(void *esks, struct ems_pgp_session_key *, struct ems_error *);
int ems_pgp_esks_refuse(void *esks, bool damaged, struct ems_error *);

#endif
