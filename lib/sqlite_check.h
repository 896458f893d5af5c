/*
 * sqlite_check.h - Synapse's SQLite database: is the file whole, sound, and a homeserver's?
 *
 * The file's header is judged first (SQLite file format, section 1.3): magic, page size, and pages
 * times page size against the size of the file. Then SQLite itself reads it: opened read-only and
 * immutable, in defensive mode, with an untrusted schema, no extensions, no views or triggers, no
 * memory mapping, and a budget of steps that no honest file of that size needs. PRAGMA quick_check
 * (or integrity_check) and a few counts are all that is run.
 *
 * Journals: a database in WAL mode whose -wal file is not there may lack what was written last (a
 * warning: Synapse leaves none behind when it is stopped in order); a -wal that is there is used.
 * A rollback journal that is still hot means a copy of a running server: an error.
 */
#ifndef EMS_SQLITE_CHECK_H
#define EMS_SQLITE_CHECK_H

#include "digest.h"
#include "facts.h"
#include "finding.h"
#include "synapse.h"

/* What a spool holds; the suffixes are those of SQLite. */
enum ems_sqlite_file {
    EMS_SQLITE_FILE_DATABASE,
    EMS_SQLITE_FILE_WAL,     /* -wal */
    EMS_SQLITE_FILE_JOURNAL, /* -journal */
    EMS_SQLITE_FILES,
};

/*
 * A place for a database that does not lie on the disk by itself: a directory of its own, mode
 * 0700, under `parent`. It and all in it are removed by ems_sqlite_spool_free.
 */
struct ems_sqlite_spool;
struct ems_sqlite_spool *ems_sqlite_spool_open(const char *parent, struct ems_error *);
/* Append to one of its files, which is made by the first write (also of 0 bytes). */
int ems_sqlite_spool_write(struct ems_sqlite_spool *, enum ems_sqlite_file, const void *data,
                           size_t size, struct ems_error *);
const char *ems_sqlite_spool_path(const struct ems_sqlite_spool *); /* of the database */
void ems_sqlite_spool_free(struct ems_sqlite_spool *);              /* NULL allowed */

struct ems_sqlite_options {
    bool thorough;           /* integrity_check: indexes are compared with their tables too */
    uint64_t thorough_below; /* the same for a file of fewer bytes than this */
    bool private_copy;       /* the file is in a spool: SQLite may write beside it */
    ems_tick_fn *tick;       /* may be NULL */
    void *tick_context;
};

/*
 * Check the database at path. What is wrong with it goes to findings under the name of `artifact`,
 * what it says to facts and synapse. EMS_OK if it was looked at; EMS_IO_ERROR, EMS_NO_MEMORY, or
 * what tick returned. Text from the database is made printable.
 */
int ems_sqlite_check(const char *path, const char *artifact, const struct ems_sqlite_options *,
                     struct ems_findings *, struct ems_facts *, struct ems_synapse *,
                     struct ems_error *);

#endif
