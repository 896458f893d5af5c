/* part_zip.c - see part_zip.h */
#include "part_zip.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define BLOCK_SIZE 65536u

struct ems_zip {
    struct archive *archive;
    int fd;
    uint64_t next; /* index of the member that the next header is of */
    bool ended;
};

struct ems_zip *ems_zip_open(const char *path, struct stat *st, struct ems_error *err)
{
    struct ems_zip *z = calloc(1, sizeof *z);

    if (z == NULL) {
        ems_fail_memory(err);
        return NULL;
    }
    z->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (z->fd < 0 || fstat(z->fd, st) != 0) {
        ems_fail_errno(err, errno, "cannot open %s", path);
        ems_zip_close(z);
        return NULL;
    }
    z->archive = archive_read_new();
    if (z->archive == NULL || archive_read_support_format_zip_seekable(z->archive) != ARCHIVE_OK) {
        ems_fail_memory(err);
        ems_zip_close(z);
        return NULL;
    }
    /* A failure here is a failure of the first member, and said there. */
    z->ended = archive_read_open_fd(z->archive, z->fd, BLOCK_SIZE) < ARCHIVE_WARN;
    return z;
}

int ems_zip_next(struct ems_zip *z, struct ems_zip_member *member, struct ems_error *err)
{
    struct archive_entry *entry;
    int rc = z->ended ? ARCHIVE_FATAL : archive_read_next_header(z->archive, &entry);

    if (rc == ARCHIVE_EOF)
        return EMS_END;
    if (rc < ARCHIVE_WARN)
        return ems_fail(err, EMS_PART_TRUNCATED, "the zip is cut or damaged: %s",
                        archive_error_string(z->archive) != NULL ? archive_error_string(z->archive)
                                                                 : "it has no directory");
    if (z->next == EMS_ZIP_MAX_MEMBERS)
        return ems_fail(err, EMS_PART_FOREIGN, "the zip has more than %u members",
                        EMS_ZIP_MAX_MEMBERS);
    *member = (struct ems_zip_member){
        .path = archive_entry_pathname(entry),
        .index = z->next++,
        .size = archive_entry_size_is_set(entry) ? (uint64_t)archive_entry_size(entry) : 0,
        .regular =
            archive_entry_filetype(entry) == AE_IFREG && archive_entry_hardlink(entry) == NULL,
        .encrypted = archive_entry_is_encrypted(entry) != 0};
    if (member->path == NULL)
        member->path = "";
    return EMS_OK;
}

int ems_zip_seek(struct ems_zip *z, uint64_t index, struct ems_error *err)
{
    struct ems_zip_member member;

    if (index < z->next)
        return ems_fail(err, EMS_INTERNAL, "a zip is read forwards only");
    do {
        int rc = ems_zip_next(z, &member, err);

        if (rc == EMS_END)
            return ems_fail(err, EMS_PART_UNFINISHED, "the zip has fewer members than before");
        if (rc != EMS_OK)
            return rc;
    } while (member.index < index);
    return EMS_OK;
}

uint64_t ems_zip_position(const struct ems_zip *z)
{
    return z->next;
}

int ems_zip_read(struct ems_zip *z, void *buffer, size_t size, size_t *got, struct ems_error *err)
{
    ssize_t n;

    do
        n = archive_read_data(z->archive, buffer, size);
    while (n == ARCHIVE_RETRY);
    *got = n > 0 ? (size_t)n : 0;
    if (n >= 0)
        return EMS_OK;
    /* libarchive warns of a wrong CRC or size at the end of a member; for us that is no less. */
    return ems_fail(err, n == ARCHIVE_WARN ? EMS_PART_FOREIGN : EMS_PART_TRUNCATED,
                    "a member of the zip cannot be read: %s",
                    archive_error_string(z->archive) != NULL ? archive_error_string(z->archive)
                                                             : "unknown reason");
}

int ems_zip_fd(const struct ems_zip *z)
{
    return z->fd;
}

void ems_zip_close(struct ems_zip *z)
{
    if (z == NULL)
        return;
    archive_read_free(z->archive);
    if (z->fd >= 0)
        close(z->fd);
    free(z);
}
