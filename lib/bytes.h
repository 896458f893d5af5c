/*
 * bytes.h - small things about bytes: big-endian loads, hex, wiping, comparing, a growable buffer.
 */
#ifndef EMS_BYTES_H
#define EMS_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ems_error;

static inline uint32_t ems_be16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }
static inline uint32_t ems_be32(const uint8_t *p) { return ems_be16(p) << 16 | ems_be16(p + 2); }
static inline uint64_t ems_be64(const uint8_t *p)
{
    return (uint64_t)ems_be32(p) << 32 | ems_be32(p + 4);
}
static inline uint32_t ems_le32(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}
void ems_put_be64(uint8_t *p, uint64_t value);

/* Lower-case hex of size bytes into out, which has room for 2*size+1 chars. */
void ems_hex(const uint8_t *data, size_t size, char *out);

/* Overwrite memory in a way that the compiler keeps; NULL with size 0 is allowed. */
void ems_wipe(void *data, size_t size);

/* Equal? The time depends on size only. */
bool ems_equal_ct(const void *a, const void *b, size_t size);

/*
 * Text from an upload made fit for a terminal, a log or JSON: printable UTF-8 is kept; control
 * characters (C0, DEL, C1), bidirectional controls (U+202A-202E, U+2066-2069, U+200E/F, U+061C) and
 * bytes that are not UTF-8 become %HH, byte by byte, and so does '%' itself. Writes at most
 * out_size bytes with the NUL; what does not fit is cut on a whole character and ends in "...".
 * Returns out.
 */
char *ems_printable(const void *data, size_t size, char *out, size_t out_size);

/* The same for a whole sentence that may hold such text: '%' is kept. */
char *ems_printable_text(const void *data, size_t size, char *out, size_t out_size);

/* Is this valid UTF-8 (RFC 3629: no surrogates, nothing above U+10FFFF, shortest forms)? */
bool ems_is_utf8(const uint8_t *data, size_t size);

/* A buffer that grows. Start with {0}; release with ems_buf_release. */
struct ems_buf {
    uint8_t *data;
    size_t size;     /* bytes in use */
    size_t capacity; /* bytes allocated */
};

/* Room for `more` bytes after size. EMS_OK or EMS_NO_MEMORY; on failure the buffer is unchanged. */
int ems_buf_reserve(struct ems_buf *, size_t more, struct ems_error *);
int ems_buf_append(struct ems_buf *, const void *data, size_t size, struct ems_error *);
/* Formatted text, without its NUL counted (but with one after the end). */
int ems_buf_printf(struct ems_buf *, struct ems_error *, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void ems_buf_release(struct ems_buf *);

#endif
