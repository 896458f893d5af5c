/*
 * part_content.h - what the first bytes of a file say that it is, whatever its name says.
 */
#ifndef EMS_PART_CONTENT_H
#define EMS_PART_CONTENT_H

#include "parts.h"
#include "pgp.h"

#define EMS_LOOKS_SIZE 512u /* bytes that are worth showing */

/* Never fails; `size` may be anything. The middle of an encrypted file is random bytes: what is
 * called a page or JSON is long enough that chance does not make it. */
enum ems_looks ems_looks_like(const uint8_t *data, size_t size);

/* Is what ems_looks_like calls OpenPGP the beginning of a message, and not random bytes? `data` are
 * the first bytes of the file, EMS_BEGIN_SIZE of them if it has so many. */
#define EMS_BEGIN_SIZE 65536u /* more session keys than fit here are no message of a customer */
bool ems_message_begins(const uint8_t *data, size_t size);

/*
 * How many bytes the OpenPGP message that `read` shows must have, from its packet headers alone.
 * Its container may have a definite length, or a chain of partial ones (RFC 9580, 4.2.1.4), which
 * is followed for at most EMS_FRAMING_STEPS chunks and as far as `available` bytes reach. EMS_OK:
 * *total is exact. EMS_PGP_TRUNCATED: the chain leads beyond `available`; *total is what there must
 * be at least. EMS_END: nothing can be said. EMS_IO_ERROR. Only a read of an unbroken beginning of
 * the message gives sense.
 */
#define EMS_FRAMING_STEPS 16384u /* 128 MiB of GnuPG's chunks of 8 KiB: some 20 ms of reading */
int ems_framing_measure(ems_pgp_read_fn *read, void *context, uint64_t available, uint64_t *total,
                        struct ems_error *);

#endif
