/*
 * pgp_packet.h - OpenPGP packet framing (RFC 9580, section 4): headers, and bodies as sources.
 *
 * A body is read through the same reader as its header; while a body is open nobody else uses that
 * reader, and afterwards it stands on the next packet.
 */
#ifndef EMS_PGP_PACKET_H
#define EMS_PGP_PACKET_H

#include "bytes.h"
#include "source.h"

enum ems_pgp_tag {
    EMS_PGP_TAG_PKESK = 1,
    EMS_PGP_TAG_SIGNATURE = 2,
    EMS_PGP_TAG_SKESK = 3,
    EMS_PGP_TAG_ONE_PASS = 4,
    EMS_PGP_TAG_SECRET_KEY = 5,
    EMS_PGP_TAG_PUBLIC_KEY = 6,
    EMS_PGP_TAG_SECRET_SUBKEY = 7,
    EMS_PGP_TAG_COMPRESSED = 8,
    EMS_PGP_TAG_SED = 9,
    EMS_PGP_TAG_MARKER = 10,
    EMS_PGP_TAG_LITERAL = 11,
    EMS_PGP_TAG_TRUST = 12,
    EMS_PGP_TAG_USER_ID = 13,
    EMS_PGP_TAG_PUBLIC_SUBKEY = 14,
    EMS_PGP_TAG_USER_ATTRIBUTE = 17,
    EMS_PGP_TAG_SEIPD = 18,
    EMS_PGP_TAG_MDC = 19,
    EMS_PGP_TAG_AEAD = 20, /* GnuPG's and rnp's, from a draft (RFC 4880bis); not in RFC 9580 */
    EMS_PGP_TAG_PADDING = 21,
};

enum ems_pgp_length {
    EMS_PGP_DEFINITE,
    EMS_PGP_PARTIAL,       /* chunks of powers of two, the last one definite */
    EMS_PGP_INDETERMINATE, /* to the end of what it lies in; old format only */
};

struct ems_pgp_header {
    unsigned tag; /* 1-63 */
    enum ems_pgp_length kind;
    uint64_t size;      /* of the body, or of its first partial chunk; 0 if indeterminate */
    size_t header_size; /* bytes of the header itself, 2-6 */
    uint64_t origin;    /* of the first header byte */
};

#define EMS_PGP_HEADER_MAX 6u
#define EMS_PGP_EXTRAS_MAX 256u /* packets of one message that carry nothing */

/* From the first bytes of a packet: the header's size, 0 if more bytes are needed (6 are always
 * enough), -1 if this is no packet header. Does not fill in origin. */
int ems_pgp_header_parse(const uint8_t *data, size_t size, struct ems_pgp_header *);

/*
 * Read the next header. EMS_OK; EMS_END if the reader's source ended before its first byte;
 * EMS_PGP_MALFORMED, EMS_PGP_TRUNCATED, or an error from below. Partial and indeterminate lengths
 * are accepted only on packets that hold data (section 4.2.1.4).
 */
int ems_pgp_header_next(struct ems_reader *, struct ems_pgp_header *, struct ems_error *);

/*
 * The body as a bottom source: borrows reader, lends its spans without copying, EMS_END where the
 * packet ends, EMS_PGP_TRUNCATED (with the number of missing bytes, as far as known) if the data
 * ends before that.
 */
struct ems_source *ems_pgp_body_open(struct ems_reader *, const struct ems_pgp_header *,
                                     struct ems_error *);

/* How far it has been read, less `pending` octets that its reader has lent and not consumed; and a
 * body that goes on there. Not for indeterminate lengths. */
struct ems_body_place;
void ems_pgp_body_place(const struct ems_source *body, uint64_t pending, struct ems_body_place *);
struct ems_source *ems_pgp_body_resume(struct ems_reader *, const struct ems_body_place *,
                                       struct ems_error *);

/* Read a whole small body into memory; more than max bytes are EMS_PGP_LIMIT. The buffer is emptied
 * first. */
int ems_pgp_body_read(struct ems_reader *, const struct ems_pgp_header *, size_t max,
                      struct ems_buf *, struct ems_error *);

/* Pass over a body. */
int ems_pgp_body_skip(struct ems_reader *, const struct ems_pgp_header *, struct ems_error *);

/* "literal data" for EMS_PGP_TAG_LITERAL; "unknown" for tags without a name. */
const char *ems_pgp_tag_name(unsigned tag);

#endif
