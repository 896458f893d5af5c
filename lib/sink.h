/*
 * sink.h - the push end: where proven bytes go.
 *
 * write any number of times, then exactly one of commit and abort, then free. Only commit makes
 * anything permanent; free without commit aborts. The first failure wins and is repeated.
 */
#ifndef EMS_SINK_H
#define EMS_SINK_H

#include "error.h"

struct ems_sink;
struct ems_source;

struct ems_sink_ops {
    int (*write)(struct ems_sink *, const uint8_t *data, size_t size, struct ems_error *);
    int (*commit)(struct ems_sink *, struct ems_error *);
    void (*abort)(struct ems_sink *);
    void (*free)(struct ems_sink *);
};

struct ems_sink {
    const struct ems_sink_ops *ops;
    uint64_t size; /* bytes written so far */
    int failed;    /* first error, repeated by every call */
    bool done;     /* committed or aborted */
};

int ems_sink_write(struct ems_sink *, const void *data, size_t size, struct ems_error *);
int ems_sink_commit(struct ems_sink *, struct ems_error *);
void ems_sink_abort(struct ems_sink *);
void ems_sink_free(struct ems_sink *); /* NULL allowed */

/*
 * A file that appears under `path` only at commit, complete and synced (data, then its directory).
 * Until then it has no name at all where the file system can do that (O_TMPFILE), else a hidden
 * temporary name beside the target that abort removes. Mode 0600. An existing path fails with
 * EMS_IO_ERROR at open unless `replace`; without `replace` a file that appears meanwhile is not
 * overwritten either. `replace` takes the place of a regular file or of a symbolic link to one (the
 * link, not what it leads to), never of a directory or a device.
 */
struct ems_sink *ems_sink_file_open(const char *path, bool replace, struct ems_error *);

/* A descriptor that is written as bytes come (standard output); commit adds nothing, abort cannot
 * take anything back. Not closed. EPIPE is an error like others (ignore SIGPIPE). */
struct ems_sink *ems_sink_fd_open(int fd, const char *name, struct ems_error *);

/* Takes everything, keeps nothing. */
struct ems_sink *ems_sink_null_open(struct ems_error *);

/* Pull source to its end into sink and commit: EMS_OK. On any error abort, and return it. Frees
 * neither. */
int ems_pump(struct ems_source *, struct ems_sink *, struct ems_error *);

#endif
