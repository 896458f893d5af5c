/* secrets.c - passphrases from a file, a descriptor or the terminal; see cli.h */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/*
 * Ask on the controlling terminal with echo off. The characters go from the terminal straight into
 * the secure buffer that the library lends.
 */
static int ask_terminal(void *context, char *buffer, size_t capacity, size_t *size,
                        struct ems_error *err)
{
    static const char prompt[] = "Passphrase: ";
    struct cli *cli = context;
    struct termios before, silent;
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY), rc = EMS_OK;
    ssize_t n = 0;

    if (fd < 0)
        return ems_fail(err, EMS_PGP_PASSPHRASE,
                        "a passphrase is needed and there is no terminal to ask on: give "
                        "--passphrase-file or --passphrase-fd");
    if (tcgetattr(fd, &before) != 0) {
        close(fd);
        return ems_fail(err, EMS_PGP_PASSPHRASE,
                        "the terminal cannot be asked for a passphrase: "
                        "give --passphrase-file or --passphrase-fd");
    }
    silent = before;
    silent.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
    silent.c_lflag |= ICANON;
    tcsetattr(fd, TCSAFLUSH, &silent);
    if (cli->progress_shown)
        (void)!write(fd, "\r\033[K", 4);
    (void)!write(fd, prompt, sizeof prompt - 1);
    *size = 0;
    while (*size < capacity) { /* canonical mode: a read ends with the line */
        n = read(fd, buffer + *size, capacity - *size);
        if (n <= 0)
            break;
        *size += (size_t)n;
        if (buffer[*size - 1] == '\n')
            break;
    }
    (void)!write(fd, "\n", 1);
    tcsetattr(fd, TCSAFLUSH, &before);
    close(fd);
    if (n < 0)
        rc = ems_fail(err, EMS_PGP_PASSPHRASE, "no passphrase was given");
    while (*size > 0 && (buffer[*size - 1] == '\n' || buffer[*size - 1] == '\r'))
        (*size)--;
    if (rc == EMS_OK && *size == 0)
        rc = ems_fail(err, EMS_PGP_PASSPHRASE, "no passphrase was given");
    return rc;
}

static int read_from_file(struct cli *cli, const char *path, struct ems_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), rc;

    if (fd < 0)
        return ems_fail_errno(err, errno, "cannot open passphrase file %s", path);
    rc = ems_pgp_secrets_read_passphrase(cli->secrets, fd, path, err);
    close(fd);
    return rc;
}

int cli_load_secrets(struct cli *cli)
{
    struct ems_error err = {0};

    cli->secrets = ems_pgp_secrets_new(ask_terminal, cli, &err);
    if (cli->secrets != NULL && cli->passphrase_file != NULL)
        read_from_file(cli, cli->passphrase_file, &err);
    if (err.code == EMS_OK && cli->passphrase_fd >= 0)
        ems_pgp_secrets_read_passphrase(cli->secrets, cli->passphrase_fd, "the descriptor", &err);
    if (err.code == EMS_OK)
        return 0;
    cli_fail(cli, &err);
    return ems_code_exit(err.code);
}
