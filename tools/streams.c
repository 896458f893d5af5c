/*
 * streams.c - standard input and output, pipes and devices: where a path is not a file that can be
 * read twice or replaced, it is used as it is; see cli.h
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool cli_is_stream(struct cli *cli, int *fd, const char **name)
{
    struct stat st;

    if (cli->path_count != 1)
        return false;
    if (strcmp(cli->paths[0], "-") == 0) {
        *fd = STDIN_FILENO;
        *name = "standard input";
        return true;
    }
    if (stat(cli->paths[0], &st) != 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
        return false;
    *fd = open(cli->paths[0], O_RDONLY | O_CLOEXEC);
    *name = cli->paths[0];
    return *fd >= 0;
}

/* Ctrl-C ends the writer of a pipe too, so that its data ends early: no fault of the upload. */
static int stream_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    int rc = ems_source_next(src->below, span, err);

    src->origin = src->below->origin;
    if (rc == EMS_END && cli_interrupted())
        return ems_fail(err, EMS_IO_ERROR, "interrupted");
    return rc;
}

static void stream_free(struct ems_source *src)
{
    (void)src;
}

struct ems_source *cli_open_stream(int fd, const char *name, struct ems_error *err)
{
    static const struct ems_source_ops ops = {"stream", stream_next, stream_free};
    struct ems_source *below = ems_source_fd_open(fd, true, name, err);

    return below != NULL ? ems_source_alloc(sizeof *below, &ops, below, err) : NULL;
}

int cli_take_stdout(struct cli *cli)
{
    cli->stdout_is_data = cli->output != NULL && strcmp(cli->output, "-") == 0;
    if (cli->stdout_is_data && cli->json)
        return cli_usage(cli, "--json needs standard output for itself: give -o FILE");
    return 0;
}

struct ems_sink *cli_open_output(const struct cli *cli, const char *path, struct ems_error *err)
{
    struct stat st;
    int fd;

    if (strcmp(path, "-") == 0)
        return ems_sink_fd_open(STDOUT_FILENO, "standard output", err);
    if (stat(path, &st) != 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
        return ems_sink_file_open(path, cli->force, err);
    fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        ems_fail_errno(err, errno, "cannot open %s", path);
        return NULL;
    }
    return ems_sink_fd_open(fd, path, err);
}
