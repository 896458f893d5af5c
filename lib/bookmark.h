/*
 * bookmark.h - places in the middle of an upload where a second reading can begin.
 *
 * While the first pass proves an upload, the stages leave here what they need to go on from a
 * place: the cipher its feedback register and where it stands in its packets, the decoder a copy of
 * its state. Whoever finds something worth coming back to pins the last such place in front of it;
 * places that nobody has pinned are forgotten, so that memory depends on the pins alone
 * (EMS_BOOKMARK_PINS_MAX of about 90 kB).
 *
 * Possible for gzip data that lies plainly, or in an OpenPGP message with MDC (packet 18 version 1)
 * that is not armoured and does not compress. Elsewhere nothing can be pinned.
 *
 * What is read from a bookmark is not proven by the layers below: they are entered in the middle,
 * and left before their ends. It must be compared with a digest of the first pass.
 *
 * The stages write from their threads; everything else is for one thread at a time, but several
 * may open at the same time once the first pass has ended.
 */
#ifndef EMS_BOOKMARK_H
#define EMS_BOOKMARK_H

#include "inflate.h"
#include "parts.h"

#define EMS_BOOKMARK_PINS_MAX 256u
#define EMS_BOOKMARK_NONE     SIZE_MAX

struct ems_bookmarks;
struct ems_pgp_session_key;

/* NULL when out of memory. */
struct ems_bookmarks *ems_bookmarks_new(void);
void ems_bookmarks_free(struct ems_bookmarks *); /* wipes the session key; NULL allowed */

/*
 * The last place at or in front of this offset of the content, to be kept. EMS_BOOKMARK_NONE: there
 * is none but the beginning. Offsets of successive calls must not decrease.
 */
size_t ems_bookmarks_pin(struct ems_bookmarks *, uint64_t offset);

/*
 * The content from `offset` on, which was given when this place was pinned, or lies behind it.
 * EMS_END and checks at the end of layers as above. NULL with the error of what lies below:
 * EMS_PART_UNFINISHED if a file is not what it was.
 */
struct ems_source *ems_bookmarks_open(const struct ems_bookmarks *, size_t place, uint64_t offset,
                                      const struct ems_part_set *, struct ems_error *);

/* gzip's CRC-32 (RFC 1952, section 8), to compare the two readings with; start with 0. */
uint32_t ems_crc32(uint32_t crc, const uint8_t *data, size_t size);

/* ---- for the stages ---- */

/* How far a packet's body has been read (pgp_packet.c): `left` of the body or of its chunk. */
struct ems_body_place {
    uint8_t kind; /* enum ems_pgp_length */
    bool chunked;
    uint64_t left;
};

/* Ciphertext of a block in CFB mode. */
#define EMS_CFB_RECENT 18u
struct ems_cfb_place {
    uint64_t packets; /* offset of the next plain octet, counted behind the prefix */
    uint64_t origin;  /* of its ciphertext in the upload */
    struct ems_body_place body;
    uint8_t recent[EMS_CFB_RECENT]; /* the octets of ciphertext before it; a cipher's block and 2 */
};

/* Literal data. */
struct ems_literal_place {
    uint64_t offset;  /* of the next octet, in the literal data */
    uint64_t packets; /* the same octet in what the container holds */
    struct ems_body_place body;
};

void ems_bookmarks_key(struct ems_bookmarks *, const struct ems_pgp_session_key *);
void ems_bookmarks_cfb(struct ems_bookmarks *, const struct ems_cfb_place *);
void ems_bookmarks_literal(struct ems_bookmarks *, const struct ems_literal_place *);

/* A place in the middle of a member. Start with {0}. */
struct ems_inflate_place {
    struct ems_deflate *deflate; /* a copy of the decoder; owned */
    uint32_t crc;
    uint64_t member_size; /* decoded of the member, the CRC's bytes */
    uint64_t members;     /* complete before it */
};

void ems_inflate_place_release(struct ems_inflate_place *);

/* Go on from a place (borrowed during the call): below gives the bytes that the decoder had not
 * taken yet. */
struct ems_source *ems_inflate_resume(struct ems_source *below, const struct ems_inflate_place *,
                                      struct ems_error *);

/* Another decoder in the same state, in the middle of a stream too. NULL when out of memory. */
struct ems_deflate *ems_deflate_copy(const struct ems_deflate *, struct ems_error *);

/* The decoder stands at `offset` of what it gives and `below` of what it takes. The state is taken
 * over. */
#define EMS_BOOKMARK_SPACING (1024u * 1024u) /* octets of content between two calls */
void ems_bookmarks_inflate(struct ems_bookmarks *, uint64_t offset, uint64_t below,
                           struct ems_inflate_place *);

/* ems_parts_open from this offset on, without telling the set's watch. A part that is entered in
 * the middle is compared with what the resolver saw as any other. */
struct ems_source *ems_parts_open_at(const struct ems_part_set *, uint64_t offset,
                                     struct ems_error *);

#endif
