/*
 * pgp_compress.h - the compressed data packet (RFC 9580, section 5.6) as a stage.
 */
#ifndef EMS_PGP_COMPRESS_H
#define EMS_PGP_COMPRESS_H

#include "source.h"

/* How much the compressed packets of one message have grown, all levels together: start with {0}.
 */
struct ems_pgp_growth {
    struct ems_source *outermost; /* compressed packet: what goes into it counts */
    uint64_t bytes_in, bytes_out;
};

/*
 * Body in, packets out. Owns body. *name (must outlive the stage) is set to "none", "zip", "zlib"
 * or "bzip2" once the first octet has been read. EMS_END when the compressed stream and the body
 * have ended; octets between the two are ignored, as some senders pad with them. EMS_PGP_MALFORMED,
 * EMS_PGP_UNSUPPORTED, EMS_PGP_LIMIT (more than 500 times as much came out of all levels as went
 * into the outermost, once 256 MiB came out), and what comes from body. `growth` is borrowed, and
 * is that of the message.
 */
struct ems_source *ems_pgp_compress_open(struct ems_source *body, const char **name,
                                         struct ems_pgp_growth *growth, struct ems_error *);

#endif
