/*
 * part_read.h - the bytes of one part, be it a file or a member of a zip.
 */
#ifndef EMS_PART_READ_H
#define EMS_PART_READ_H

#include "part_zip.h"
#include "parts.h"

/* Reads one part after the other. Start with EMS_PART_READER_INIT. */
struct ems_part_reader {
    int fd;              /* of a file, or -1 */
    struct ems_zip *zip; /* kept open: the next part often lies behind this one */
    const char *zip_path;
};
#define EMS_PART_READER_INIT                                                                       \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/* Open the file at path, or member of the zip there (EMS_PART_NO_MEMBER: the file itself). path
 * must stay valid until the next open or close. EMS_OK, EMS_IO_ERROR, or what ems_zip_seek says. */
int ems_part_reader_open(struct ems_part_reader *, const char *path, uint64_t member,
                         struct ems_error *);
/* *got is 0 at the end. Interrupted reads are repeated. */
int ems_part_reader_read(struct ems_part_reader *, void *buffer, size_t size, size_t *got,
                         struct ems_error *);
/* The open descriptor, of the part or of the zip around it. */
int ems_part_reader_fd(const struct ems_part_reader *);
void ems_part_reader_close(struct ems_part_reader *);

#endif
