/*
 * progress.c - how far the work is: a line on the terminal that is drawn over itself, lines of text
 * where standard error is something else, or JSON lines; and the place where a signal ends the
 * work, since every loop of the library comes by here.
 */
#include "cli.h"

#include <string.h>
#include <unistd.h>

static bool wants_progress(const struct cli *cli)
{
    return cli->progress == CLI_ALWAYS ||
           (cli->progress == CLI_AUTO && !cli->quiet && isatty(STDERR_FILENO));
}

void cli_progress(struct cli *cli, const char *name, const char *layer, uint64_t total)
{
    atomic_store(&cli->bytes_done, 0);
    cli->bytes_total = total;
    cli->progress_name = name;
    cli->progress_layer = layer;
    cli->progress_next = 0;
}

static void draw(struct cli *cli, double elapsed)
{
    uint64_t done = atomic_load(&cli->bytes_done);
    double rate = elapsed > 0 ? (double)done / elapsed : 0;
    char name[64], bytes[32], speed[32], left[32] = "";
    struct ems_error ignored = {0};
    struct ems_buf line = {0};

    if (cli->json) {
        if (ems_report_json_progress(cli->progress_name, cli->progress_layer, done,
                                     cli->bytes_total, rate, &line, &ignored) == EMS_OK) {
            fwrite(line.data, 1, line.size, stdout);
            fflush(stdout);
        }
        ems_buf_release(&line);
        return;
    }
    ems_printable(cli->progress_name, strlen(cli->progress_name), name, sizeof name);
    if (cli->bytes_total > done && rate > 0)
        ems_human_seconds((double)(cli->bytes_total - done) / rate, left);
    fprintf(stderr, "%s%s: %s %s", isatty(STDERR_FILENO) ? CLI_CLEAR_LINE : "", name,
            cli->progress_layer, ems_human_bytes(done, bytes));
    if (cli->bytes_total > 0)
        fprintf(stderr, " (%.0f %%)", 100.0 * (double)done / (double)cli->bytes_total);
    fprintf(stderr, ", %s/s%s%s%s", ems_human_bytes((uint64_t)rate, speed),
            left[0] != '\0' ? ", " : "", left, left[0] != '\0' ? " left" : "");
    if (!isatty(STDERR_FILENO))
        fputc('\n', stderr);
    else
        cli->progress_shown = true;
    fflush(stderr);
}

int cli_tick(void *context, struct ems_error *err)
{
    struct cli *cli = context;
    double t;

    if (cli_interrupted())
        return ems_fail(err, EMS_IO_ERROR, "interrupted");
    t = cli_now();
    if (cli->progress_next == 0) {
        cli->progress_started = t;
        cli->progress_next = t + 0.25; /* a run shorter than that draws nothing */
    }
    if (t < cli->progress_next)
        return EMS_OK;
    cli->progress_next = t + 0.25; /* at most four a second */
    if (cli->progress_name != NULL && wants_progress(cli))
        draw(cli, t - cli->progress_started);
    return EMS_OK;
}
