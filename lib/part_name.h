/*
 * part_name.h - what a file's name says: which artifact it belongs to, which part of it, and what
 * browsers, file managers and download tools have done to the name on the way.
 *
 * Nothing here looks at a file. A name only says which artifact a file should be; what it is, its
 * content says (part_content.h).
 */
#ifndef EMS_PART_NAME_H
#define EMS_PART_NAME_H

#include "parts.h"

#define EMS_NAME_SIZE 256u /* with the NUL: NAME_MAX of Linux, and no longer name is taken */

enum ems_name_kind {
    EMS_NAME_FILE,       /* a file of the upload, as far as the name goes */
    EMS_NAME_UNFINISHED, /* what a download tool calls a file that it is still writing */
    EMS_NAME_LITTER,     /* left by a desktop: .DS_Store, ._X, Thumbs.db, X.gdoc */
    EMS_NAME_HIDDEN,     /* any other name that begins with a dot */
};

struct ems_part_name {
    enum ems_name_kind kind;
    enum ems_name_form form;
    char artifact[EMS_NAME_SIZE]; /* the name it had at the customer's, without the suffix */
    char suffix[EMS_SUFFIX_MAX];  /* lower case; "" if it is whole */
    bool known;                   /* an artifact of the guide, or a part of anything */
    bool renamed;                 /* the name at hand is not the customer's */
    bool in_place;                /* unfinished: the file of the proper name is the one that is
                                     being written (aria2 keeps a control file beside it) */
};

/*
 * Read a name (without directory). Undone are: " (1)", "(1)", " - Copy", " copy" and their German,
 * French and Spanish sisters at the end or before any extension; "Copy of " and its sisters in
 * front; a .txt, .bin or .dat that a browser or a mail program appended; upper case; "-1" where the
 * rest is an artifact of the guide. A change is accepted only if the rest then fits the guide or
 * the pattern of a part; otherwise the name stands as it is. False: longer than any file name, or
 * empty.
 */
bool ems_part_name_parse(const char *name, struct ems_part_name *);

/* Does the name end like something that is encrypted, packed or a dump? */
bool ems_part_name_is_archive(const char *name);

/*
 * Google Drive downloads several files as zips that it cuts by size, each a zip of its own:
 * "upload-20260512T023001Z-3-001.zip". True: *series is the length of the name up to the number,
 * *number the number.
 */
bool ems_part_name_is_bundle(const char *name, size_t *series, unsigned *number);

#endif
