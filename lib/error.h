/*
 * error.h - result codes, the error record, and what each code means to a caller.
 *
 * Every function that can fail returns an int: EMS_OK (0), EMS_END where a stream is pulled, or one
 * of the codes below. The same codes name findings (report.h), so a failure of a stage becomes a
 * finding without translation. The list is the project's contract with scripts: a name or an exit
 * status is never changed, only added.
 */
#ifndef EMS_ERROR_H
#define EMS_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * X(constant, name, exit status). Exit statuses: 1 damaged or refused content, 3 incomplete,
 * 4 cannot decrypt, 5 not supported, 70 a bug, 75 environment.
 */
#define EMS_CODES(X)                                                                               \
    X(PART_MISSING, "part-missing", 3)                                                             \
    X(PART_TRUNCATED, "part-truncated", 3)                                                         \
    X(PART_EMPTY, "part-empty", 3)                                                                 \
    X(PART_DUPLICATE, "part-duplicate", 1)                                                         \
    X(PART_CONFLICT, "part-conflict", 1)                                                           \
    X(PART_RENAMED, "part-renamed", 1)                                                             \
    X(PART_STALE, "part-stale", 1)                                                                 \
    X(PART_UNFINISHED, "part-unfinished", 3)                                                       \
    X(PART_FOREIGN, "part-foreign", 1)                                                             \
    X(PART_SCHEME, "part-scheme", 1)                                                               \
    X(PGP_NOT_OPENPGP, "pgp-not-openpgp", 1)                                                       \
    X(PGP_TRUNCATED, "pgp-truncated", 1)                                                           \
    X(PGP_MODIFIED, "pgp-modified", 1)                                                             \
    X(PGP_NO_INTEGRITY, "pgp-no-integrity", 1)                                                     \
    X(PGP_PASSPHRASE, "pgp-passphrase", 4)                                                         \
    X(PGP_NO_KEY, "pgp-no-key", 4)                                                                 \
    X(PGP_UNSUPPORTED, "pgp-unsupported", 5)                                                       \
    X(PGP_MALFORMED, "pgp-malformed", 1)                                                           \
    X(PGP_TRAILING, "pgp-trailing", 1)                                                             \
    X(PGP_LIMIT, "pgp-limit", 1)                                                                   \
    X(NOT_ENCRYPTED, "not-encrypted", 1)                                                           \
    X(GZIP_CORRUPT, "gzip-corrupt", 1)                                                             \
    X(GZIP_TRUNCATED, "gzip-truncated", 1)                                                         \
    X(GZIP_CRC, "gzip-crc", 1)                                                                     \
    X(GZIP_TRAILING, "gzip-trailing", 1)                                                           \
    X(GZIP_EMPTY, "gzip-empty", 1)                                                                 \
    X(GZIP_LIMIT, "gzip-limit", 1)                                                                 \
    X(TAR_CORRUPT, "tar-corrupt", 1)                                                               \
    X(TAR_TRUNCATED, "tar-truncated", 1)                                                           \
    X(TAR_UNSAFE_PATH, "tar-unsafe-path", 1)                                                       \
    X(TAR_UNSAFE_LINK, "tar-unsafe-link", 1)                                                       \
    X(TAR_UNSAFE_TYPE, "tar-unsafe-type", 1)                                                       \
    X(TAR_DUPLICATE, "tar-duplicate", 1)                                                           \
    X(TAR_EMPTY, "tar-empty", 1)                                                                   \
    X(TAR_WRONG_CONTENT, "tar-wrong-content", 1)                                                   \
    X(SQL_TRUNCATED, "sql-truncated", 1)                                                           \
    X(SQL_REFUSED, "sql-refused", 1)                                                               \
    X(SQL_MALFORMED, "sql-malformed", 1)                                                           \
    X(SQL_ENCODING, "sql-encoding", 1)                                                             \
    X(SQL_EMPTY, "sql-empty", 1)                                                                   \
    X(SQL_NOT_SYNAPSE, "sql-not-synapse", 1)                                                       \
    X(MEDIA_NO_MANIFEST, "media-no-manifest", 1)                                                   \
    X(MEDIA_BAD_MANIFEST, "media-bad-manifest", 1)                                                 \
    X(MEDIA_MISSING, "media-missing", 1)                                                           \
    X(MEDIA_EXTRA, "media-extra", 1)                                                               \
    X(MEDIA_SIZE, "media-size", 1)                                                                 \
    X(MEDIA_DIGEST, "media-digest", 1)                                                             \
    X(MEDIA_PART_GAP, "media-part-gap", 1)                                                         \
    X(MEDIA_ENTITY, "media-entity", 1)                                                             \
    X(MEDIA_UNSAFE_NAME, "media-unsafe-name", 1)                                                   \
    X(MEDIA_NOT_IN_DB, "media-not-in-db", 1)                                                       \
    X(MEDIA_DB_MISSING, "media-db-missing", 1)                                                     \
    X(SQLITE_CORRUPT, "sqlite-corrupt", 1)                                                         \
    X(SQLITE_WAL, "sqlite-wal", 1)                                                                 \
    X(SQLITE_NOT_SYNAPSE, "sqlite-not-synapse", 1)                                                 \
    X(CONFIG_MISSING, "config-missing", 1)                                                         \
    X(CONFIG_MALFORMED, "config-malformed", 1)                                                     \
    X(CONFIG_SERVER_NAME, "config-server-name", 1)                                                 \
    X(KEY_MALFORMED, "key-malformed", 1)                                                           \
    X(KEY_MISMATCH, "key-mismatch", 1)                                                             \
    X(MANIFEST_MALFORMED, "manifest-malformed", 1)                                                 \
    X(MANIFEST_TRUNCATED, "manifest-truncated", 1)                                                 \
    X(MANIFEST_MISSING, "manifest-missing", 3)                                                     \
    X(MANIFEST_EXTRA, "manifest-extra", 1)                                                         \
    X(MANIFEST_SIZE, "manifest-size", 1)                                                           \
    X(MANIFEST_DIGEST, "manifest-digest", 1)                                                       \
    X(MANIFEST_UNSUPPORTED, "manifest-unsupported", 5)                                             \
    X(SYNAPSE_SCHEMA, "synapse-schema", 1)                                                         \
    X(SYNAPSE_COLLATION, "synapse-collation", 1)                                                   \
    X(SYNAPSE_ENCODING, "synapse-encoding", 1)                                                     \
    X(SYNAPSE_SEQUENCE, "synapse-sequence", 1)                                                     \
    X(SYNAPSE_SERVER_NAME, "synapse-server-name", 1)                                               \
    X(SYNAPSE_BACKGROUND_UPDATES, "synapse-background-updates", 1)                                 \
    X(RESTORE_FAILED, "restore-failed", 1)                                                         \
    X(RESTORE_EXISTS, "restore-exists", 75)                                                        \
    X(IO_ERROR, "io-error", 75)                                                                    \
    X(NO_MEMORY, "no-memory", 75)                                                                  \
    X(SERVER_ERROR, "server-error", 75)                                                            \
    X(INTERNAL, "internal", 70)

enum ems_code {
    EMS_OK = 0,
    EMS_END = 1, /* the stream is complete and proven; only ems_source_next and its kin return it */
#define EMS_CODE_ENUM(constant, name, status) EMS_##constant,
    EMS_CODES(EMS_CODE_ENUM)
#undef EMS_CODE_ENUM
    EMS_CODE_COUNT
};

#define EMS_NOWHERE UINT64_MAX /* "no offset known" */

/*
 * What went wrong, filled in by the first failure and left alone afterwards. Given by the caller,
 * holds no pointer that must be freed; start with {0}.
 */
struct ems_error {
    int code;          /* enum ems_code; EMS_OK while nothing failed */
    const char *stage; /* static name of the stage that failed ("gzip"), or NULL */
    uint64_t origin;   /* offset into the upload's assembled bytes, or EMS_NOWHERE */
    char text[256];    /* one line, lower case, no full stop */
};

/*
 * Record a failure and return its code, so that `return ems_fail(err, ...)` reads as one thought.
 * If err already holds a failure it is kept, and that code is returned: the first failure wins.
 * Text that does not fit is cut. err may be NULL.
 */
int ems_fail(struct ems_error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int ems_vfail(struct ems_error *err, int code, const char *fmt, va_list args)
    __attribute__((format(printf, 3, 0)));

/* The same for a failed system call: appends ": " and strerror(errnum). ENOMEM gives EMS_NO_MEMORY,
 * everything else EMS_IO_ERROR. */
int ems_fail_errno(struct ems_error *err, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* "out of memory" with EMS_NO_MEMORY. */
int ems_fail_memory(struct ems_error *err);

/* "part-missing" for EMS_PART_MISSING; "ok", "end", or "internal" for a number that is no code. */
const char *ems_code_name(int code);

/* The code for such a name, or -1. */
int ems_code_from_name(const char *name);

/* The exit status that an error of this code asks for (0 for EMS_OK and EMS_END). */
int ems_code_exit(int code);

/* Of two exit statuses the one that wins: 0 < 3 < 5 < 1 < 4 < 2 < 75 < 70. */
int ems_exit_worst(int a, int b);

#endif
