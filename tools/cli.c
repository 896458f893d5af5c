/* cli.c - the frame of a run: its start, its messages, a signal, the report, the end; see cli.h */
#include "cli.h"

#include "manifest.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Lock-free, so a signal handler may set it (C11 7.14.1.1) and stages on threads may ask. */
static atomic_int caught_signal;

void cli_message(const struct cli *cli, const char *fmt, ...)
{
    va_list args;

    if (cli->progress_shown)
        fputs(CLI_CLEAR_LINE, stderr);
    fprintf(stderr, "%s: ", cli->tool->name);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

int cli_usage(const struct cli *cli, const char *fmt, ...)
{
    va_list args;

    fprintf(stderr, "%s: ", cli->tool->name);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\nTry '%s --help' for more information.\n", cli->tool->name);
    return 2;
}

void cli_fail(struct cli *cli, const struct ems_error *err)
{
    ems_findings_add(&cli->report.findings, err->code, EMS_SEVERITY_ERROR, NULL, NULL, EMS_NOWHERE,
                     NULL, "%s", err->text);
}

static void note_signal(int number)
{
    caught_signal = number;
}

/* Nothing secret in core files, nobody looks on, and a signal ends the work in order. A second one
 * ends it at once. */
static void harden(void)
{
    struct sigaction note = {.sa_handler = note_signal, .sa_flags = (int)SA_RESETHAND};
    const struct rlimit none = {0, 0};

    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGINT, &note, NULL);
    sigaction(SIGTERM, &note, NULL);
    sigaction(SIGHUP, &note, NULL);
}

bool cli_interrupted(void)
{
    return caught_signal != 0;
}

double cli_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int cli_start(struct cli *cli, const struct cli_tool *tool, int argc, char **argv)
{
    struct ems_error err = {0};
    int status;

    *cli = (struct cli){.tool = tool, .passphrase_fd = -1, .report.tool = tool->name};
    harden();
    status = cli_parse(cli, argc, argv);
    if (status >= 0)
        return status;
    if (cli->jobs == 0) {
        long processors = sysconf(_SC_NPROCESSORS_ONLN);

        cli->jobs = processors > 0 && processors <= 256 ? (unsigned)processors : 1;
    }
    if (ems_pgp_library_init(&err) != EMS_OK) {
        cli_message(cli, "%s", err.text);
        return ems_code_exit(err.code);
    }
    cli->started = cli_now();
    return -1;
}

static bool wants_color(const struct cli *cli, FILE *out)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

    if (cli->color != CLI_AUTO)
        return cli->color == CLI_ALWAYS;
    return isatty(fileno(out)) && (no_color == NULL || no_color[0] == '\0') &&
           (term == NULL || strcmp(term, "dumb") != 0);
}

static int print_report(struct cli *cli, FILE *out, int status)
{
    struct ems_buf text = {0};
    struct ems_error err = {0};
    int rc;

    if (cli->json)
        rc = ems_report_json(&cli->report, &text, &err);
    else
        rc = ems_report_text(&cli->report, cli->verbose, wants_color(cli, out), &text, &err);
    if (rc == EMS_OK && !cli->json && status == 0 && cli->epilogue != NULL)
        rc = ems_buf_printf(&text, &err, "%s", cli->epilogue);
    if (rc == EMS_OK && (fwrite(text.data, 1, text.size, out) != text.size || fflush(out) != 0) &&
        errno != EPIPE) { /* a reader that has seen enough is no failure */
        cli_message(cli, "cannot write the report: %s", strerror(errno));
        status = ems_exit_worst(status, 75);
    }
    if (rc != EMS_OK) {
        cli_message(cli, "%s", err.text);
        status = ems_exit_worst(status, ems_code_exit(rc));
    }
    ems_buf_release(&text);
    return status;
}

void cli_release(struct cli *cli)
{
    ems_report_release(&cli->report);
    ems_pgp_secrets_free(cli->secrets);
    ems_pgp_recipient_keys_free(cli->recipient);
    ems_manifest_free(cli->manifest);
    free(cli->epilogue);
}

int cli_finish(struct cli *cli)
{
    int status;

    if (cli->progress_shown)
        fputs(CLI_CLEAR_LINE, stderr);
    cli->progress_shown = false;
    cli->report.elapsed_s = cli_now() - cli->started;
    status = ems_report_exit(&cli->report);
    /* Who asked for data on standard output hears only of trouble. */
    if (status != 0 || cli->verbose || !(cli->quiet || cli->stdout_is_data))
        status = print_report(cli, cli->stdout_is_data ? stderr : stdout, status);
    cli_release(cli);
    if (caught_signal != 0) {
        signal(caught_signal, SIG_DFL);
        raise(caught_signal);
    }
    return status;
}
