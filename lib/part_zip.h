/*
 * part_zip.h - members of a zip as they are, without unpacking it.
 *
 * Google Drive hands out several files as zips, cut by size into independent zips; customers zip
 * what they were told to send. Members are read through libarchive, its zip format only: stored and
 * deflated ones, zip64, sizes from the central directory. Encrypted members are refused.
 */
#ifndef EMS_PART_ZIP_H
#define EMS_PART_ZIP_H

#include "error.h"

#include <sys/stat.h>

#define EMS_ZIP_MAX_MEMBERS 100000u

struct ems_zip;

struct ems_zip_member {
    const char *path; /* inside the zip; valid until the next call */
    uint64_t index;   /* what ems_zip_seek takes */
    uint64_t size;    /* bytes when unpacked */
    bool regular;
    bool encrypted;
};

/* Open for reading; *st is what fstat says of the open file. NULL: EMS_IO_ERROR, EMS_NO_MEMORY. */
struct ems_zip *ems_zip_open(const char *path, struct stat *st, struct ems_error *);
/* The next member: EMS_OK, EMS_END, or EMS_PART_TRUNCATED if the zip is damaged or cut. */
int ems_zip_next(struct ems_zip *, struct ems_zip_member *, struct ems_error *);
/* Stand on member `index` to read it. Forward without reopening; backward is EMS_INTERNAL. */
int ems_zip_seek(struct ems_zip *, uint64_t index, struct ems_error *);
/* The index that ems_zip_seek can still reach. */
uint64_t ems_zip_position(const struct ems_zip *);
/* Bytes of the current member: *got of at most size, 0 at its end, where its CRC has been checked.
 * EMS_OK, EMS_PART_TRUNCATED (cut), EMS_PART_FOREIGN (wrong CRC). */
int ems_zip_read(struct ems_zip *, void *buffer, size_t size, size_t *got, struct ems_error *);
int ems_zip_fd(const struct ems_zip *);
void ems_zip_close(struct ems_zip *);

#endif
