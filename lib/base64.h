/*
 * base64.h - unpadded base64 as Matrix writes it (specification, appendix "Unpadded Base64"; the
 * alphabet is that of RFC 4648 section 4).
 */
#ifndef EMS_BASE64_H
#define EMS_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Characters that `size` bytes take, without padding and NUL. */
#define EMS_BASE64_SIZE(size) (((size)*4 + 2) / 3)

/* Unpadded, with a NUL: out has room for EMS_BASE64_SIZE(size) + 1. */
void ems_base64_encode(const uint8_t *data, size_t size, char *out);

/*
 * Exactly out_size bytes from text of `size` characters. Taken is what Python's unpaddedbase64
 * takes: padding or none, and the URL alphabet ('-', '_') as well. False for anything else.
 * Neither branches nor addresses depend on the characters, which may be a secret.
 */
bool ems_base64_decode(const char *text, size_t size, uint8_t *out, size_t out_size);

#endif
