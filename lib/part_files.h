/*
 * part_files.h - the files that a list of paths stands for: step one of the resolver (parts.c).
 *
 * Directories are searched three levels deep, zips are looked into, what desktops and download
 * tools leave behind is set aside. Nothing is opened here but directories and zips.
 */
#ifndef EMS_PART_FILES_H
#define EMS_PART_FILES_H

#include "finding.h"
#include "part_content.h"
#include "part_name.h"
#include "part_read.h"

#include <sys/stat.h>

/* A file, or a member of a zip, that belongs to an artifact. */
struct ems_part_file {
    char *path;        /* to open; of the zip for a member */
    char *member_name; /* its name inside the zip, without folders; NULL for a file */
    uint64_t member;   /* index in the zip, or EMS_PART_NO_MEMBER */
    char *artifact;    /* canonical name of what it is (part of) */
    char suffix[EMS_SUFFIX_MAX];
    enum ems_name_form form;
    bool known, renamed, unfinished, in_place;
    unsigned source; /* which of the places named on the command line; later ones are re-sends */
    uint64_t size;   /* of the file or the unpacked member */
    uint64_t disk_size, device, inode; /* of what lies at path */
    struct timespec modified;
    /* For parts.c */
    uint64_t rank;
    enum ems_looks looks;
    bool looked; /* at its first bytes; otherwise `looks` says nothing */
};

struct ems_part_files {
    struct ems_part_file *items;
    size_t count, capacity;
};

/* The file's own name, without directory. */
const char *ems_part_file_name(const struct ems_part_file *);

/* All files that the paths stand for, in no order. Damaged and missing zips and litter become
 * findings. EMS_OK, EMS_IO_ERROR (a path that is not there), EMS_NO_MEMORY. Release in any case. */
int ems_part_files_collect(struct ems_part_files *, const char *const *paths, size_t count,
                           struct ems_findings *, struct ems_error *);
void ems_part_files_release(struct ems_part_files *);

#endif
