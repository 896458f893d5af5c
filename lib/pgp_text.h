/*
 * pgp_text.h - literal data that the sender has declared to be text (RFC 9580, section 5.9): its
 * line ends are CR LF on the way, and LF here.
 */
#ifndef EMS_PGP_TEXT_H
#define EMS_PGP_TEXT_H

#include "source.h"

#define EMS_PGP_TEXT_SIZE (64u * 1024u) /* octets converted at once */

/* Start with {0}, free `out` at the end. */
struct ems_pgp_text {
    uint8_t *out;
    bool held; /* a CR at the end of the span before, whose LF may still come */
};

/* Convert a span of at most EMS_PGP_TEXT_SIZE octets. It is made to point at the result, which is
 * valid until the next call and may be empty. EMS_OK, EMS_NO_MEMORY. */
int ems_pgp_text_convert(struct ems_pgp_text *, struct ems_span *, struct ems_error *);

/* The end: a span with the CR that was held, or an empty one. */
void ems_pgp_text_finish(struct ems_pgp_text *, struct ems_span *);

#endif
