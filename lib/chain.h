/*
 * chain.h - the one place where the layers of an artifact are stacked.
 *
 *     parts > [openpgp > relay] > [gzip > relay] > content
 *
 * What a layer is follows from its first bytes, not from names. A further layer is one more branch
 * in ems_chain_open.
 */
#ifndef EMS_CHAIN_H
#define EMS_CHAIN_H

#include "digest.h"
#include "inflate.h"
#include "pgp.h"
#include "source.h"

struct ems_bookmarks;
struct ems_proof;

enum ems_content {
    EMS_CONTENT_UNKNOWN,
    EMS_CONTENT_EMPTY,
    EMS_CONTENT_SQL,
    EMS_CONTENT_TAR,
    EMS_CONTENT_SQLITE,
};

struct ems_chain_options {
    struct ems_pgp_secrets *secrets;
    bool allow_no_integrity;
    bool keep_gzip;  /* stop below gzip: ems-decrypt gives back what was encrypted */
    bool no_threads; /* no relays; same result */
    /* Hash and decrypt on two threads, and have no relay between them and the top: for chains with
     * nothing above that costs time. */
    bool split_decryption;
    _Atomic uint64_t *bytes_in;      /* counts raw bytes as they are read; may be NULL */
    /* The longest span of plain bytes, from a decoder that does not read ahead; 0: as long as is
     * fast. For small parts: where an origin lies inside a span can only be estimated, and damage
     * makes the estimate bad. */
    size_t span;
    struct ems_bookmarks *bookmarks; /* places for a second reading (bookmark.h); may be NULL */
    /* Records what the chain reads; if it is sealed, compares, and does not prove again what it
     * proves. Sealing is the caller's, at the end of the first pass. May be NULL. */
    struct ems_proof *proof;
    /* SHA-256 of what the layers give, done at their end; may be NULL. */
    struct ems_sha256 *unlocked, *unpacked;
};

/* Start with {0}. Must stay where it is while it is open (stages write into it). */
struct ems_chain {
    struct ems_source *top;      /* the content */
    struct ems_source *unlocked; /* what came out of OpenPGP, or NULL; part of the chain of top */
    enum ems_content content;
    bool encrypted, gzipped;
    struct ems_pgp_facts pgp;
    struct ems_inflate_facts gzip;
};

/* Takes over bottom. EMS_OK or the error of the layer that failed in its first bytes; the facts
 * found until then stay in the struct. */
int ems_chain_open(struct ems_chain *, struct ems_source *bottom, const struct ems_chain_options *,
                   struct ems_error *);

/*
 * The content was refused or broken at its height: hear what the layers below say at their end, for
 * a damaged message must be called damaged, not a bad dump. Drains. If a layer below fails, *err is
 * replaced by its failure, with the origin of the first oddity kept where the lower failure has
 * only the end to point at. Returns the code that remains.
 */
int ems_chain_settle(struct ems_chain *, struct ems_error *);

/* Frees the chain unless somebody else took top (set it to NULL then). */
void ems_chain_close(struct ems_chain *);

/*
 * A stage whose first bytes can be looked at before it is pulled. n up to EMS_READER_PEEK; *have is
 * less than n only if the stage below ends first.
 */
struct ems_source *ems_peek_open(struct ems_source *below, struct ems_error *);
int ems_peek(struct ems_source *, size_t n, const uint8_t **data, size_t *have, struct ems_error *);

#endif
