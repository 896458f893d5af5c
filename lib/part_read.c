/* part_read.c - see part_read.h */
#include "part_read.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int ems_part_reader_open(struct ems_part_reader *r, const char *path, uint64_t member,
                         struct ems_error *err)
{
    struct stat st;

    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
    if (member != EMS_PART_NO_MEMBER && r->zip != NULL && strcmp(r->zip_path, path) == 0 &&
        ems_zip_position(r->zip) <= member)
        return ems_zip_seek(r->zip, member, err);
    ems_zip_close(r->zip);
    r->zip = NULL;
    if (member != EMS_PART_NO_MEMBER) {
        r->zip = ems_zip_open(path, &st, err);
        r->zip_path = path;
        return r->zip != NULL ? ems_zip_seek(r->zip, member, err) : err->code;
    }
    /* Without O_NONBLOCK a FIFO put in the file's place since would hang us. */
    r->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (r->fd < 0)
        return ems_fail_errno(err, errno, "cannot open %s", path);
    return EMS_OK;
}

int ems_part_reader_read(struct ems_part_reader *r, void *buffer, size_t size, size_t *got,
                         struct ems_error *err)
{
    ssize_t n;

    if (r->zip != NULL)
        return ems_zip_read(r->zip, buffer, size, got, err);
    do
        n = read(r->fd, buffer, size);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return ems_fail_errno(err, errno, "cannot read");
    *got = (size_t)n;
    return EMS_OK;
}

int ems_part_reader_fd(const struct ems_part_reader *r)
{
    return r->zip != NULL ? ems_zip_fd(r->zip) : r->fd;
}

void ems_part_reader_close(struct ems_part_reader *r)
{
    if (r->fd >= 0)
        close(r->fd);
    ems_zip_close(r->zip);
    *r = (struct ems_part_reader)EMS_PART_READER_INIT;
}
