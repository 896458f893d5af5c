/* secrets.c - passphrases from a file, a descriptor or the terminal; see cli.h */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

/*
 * Ask on the controlling terminal with echo off. The characters go from the terminal straight into
 * the secure buffer that the library lends. `options` names what would have made this unnecessary.
 */
static int ask_terminal(struct cli *cli, const char *prompt, const char *options, char *buffer,
                        size_t capacity, size_t *size, struct ems_error *err)
{
    struct termios before, silent;
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    ssize_t n = 0;

    if (fd < 0 || tcgetattr(fd, &before) != 0) {
        if (fd >= 0)
            close(fd);
        return ems_fail(err, EMS_PGP_PASSPHRASE,
                        "a passphrase is needed and there is no terminal to ask on: give %s",
                        options);
    }
    /* Whoever looks over the shoulder sees nothing; and what was typed before the question is
     * thrown away (TCSAFLUSH), since it was meant for somebody else. */
    silent = before;
    silent.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
    silent.c_lflag |= ICANON;
    tcsetattr(fd, TCSAFLUSH, &silent);
    dprintf(fd, "%s%s", cli->progress_shown ? CLI_CLEAR_LINE : "", prompt);
    *size = 0;
    /* A signal ends the read with EINTR (no SA_RESTART): then the terminal gets its echo back
     * before the tool ends. */
    while (*size < capacity) { /* canonical mode: a read ends with the line */
        n = read(fd, buffer + *size, capacity - *size);
        if (n <= 0)
            break;
        *size += (size_t)n;
        if (buffer[*size - 1] == '\n')
            break;
    }
    dprintf(fd, "\n");
    tcsetattr(fd, TCSAFLUSH, &before);
    close(fd);
    while (*size > 0 && (buffer[*size - 1] == '\n' || buffer[*size - 1] == '\r'))
        (*size)--;
    if (n < 0 || *size == 0)
        return ems_fail(err, EMS_PGP_PASSPHRASE, "no passphrase was given");
    return EMS_OK;
}

static int ask_passphrase(void *context, char *buffer, size_t capacity, size_t *size,
                          struct ems_error *err)
{
    return ask_terminal(context, "Passphrase: ", "--passphrase-file or --passphrase-fd", buffer,
                        capacity, size, err);
}

static int ask_key_passphrase(void *context, const char *key_id, char *buffer, size_t capacity,
                              size_t *size, struct ems_error *err)
{
    char prompt[64];

    snprintf(prompt, sizeof prompt, "Passphrase of key %s: ", key_id);
    return ask_terminal(context, prompt, "--key-passphrase-file", buffer, capacity, size, err);
}

/* Open a file named by an option and let `take` read it. */
static int read_secret(struct cli *cli, const char *path,
                       int (*take)(struct ems_pgp_secrets *, int, const char *, struct ems_error *),
                       struct ems_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), rc;

    if (fd < 0)
        return ems_fail_errno(err, errno, "cannot open %s", path);
    rc = take(cli->secrets, fd, path, err);
    close(fd);
    return rc;
}

static int read_recipient(struct cli *cli, struct ems_error *err)
{
    int fd = open(cli->recipient_key, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0)
        return ems_fail_errno(err, errno, "cannot open %s", cli->recipient_key);
    cli->recipient = ems_pgp_recipient_keys_read(fd, cli->recipient_key, err);
    close(fd);
    return err->code;
}

/*
 * Everything that options name is read before the upload is looked at, so that a wrong file name
 * shows at once and not after an hour. The terminal is asked only when a message needs it: an
 * upload that is incomplete needs no passphrase to say so. harden() has run by then: no core file,
 * no ptrace.
 */
int cli_load_secrets(struct cli *cli)
{
    struct ems_error err = {0};

    cli->secrets = ems_pgp_secrets_new(ask_passphrase, cli, &err);
    if (cli->secrets != NULL)
        ems_pgp_secrets_set_ask_key(cli->secrets, ask_key_passphrase, cli);
    if (err.code == EMS_OK && cli->passphrase_file != NULL)
        read_secret(cli, cli->passphrase_file, ems_pgp_secrets_read_passphrase, &err);
    if (err.code == EMS_OK && cli->passphrase_fd >= 0)
        ems_pgp_secrets_read_passphrase(cli->secrets, cli->passphrase_fd, "the descriptor", &err);
    if (err.code == EMS_OK && cli->key_passphrase_file != NULL)
        read_secret(cli, cli->key_passphrase_file, ems_pgp_secrets_read_key_passphrase, &err);
    for (size_t i = 0; i < cli->secret_key_count && err.code == EMS_OK; i++)
        read_secret(cli, cli->secret_keys[i], ems_pgp_secrets_read_key, &err);
    /* What is wrong with a key file is the operator's business, not damage to the upload. */
    if (cli->secret_key_count > 0 && ems_code_exit(err.code) == 1)
        err.code = EMS_PGP_NO_KEY;
    if (err.code == EMS_OK && cli->recipient_key != NULL && read_recipient(cli, &err) != EMS_OK &&
        ems_code_exit(err.code) != 70)
        err.code = EMS_IO_ERROR; /* likewise; no key is asked for that could be missing */
    if (err.code == EMS_OK)
        return 0;
    cli_fail(cli, &err);
    return ems_code_exit(err.code);
}
