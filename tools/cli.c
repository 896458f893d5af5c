/* cli.c - options and the frame of a run; see cli.h */
#include "cli.h"

#include "manifest.h"
#include "upload_check.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t caught_signal;

enum {
    OPT_PASSPHRASE_FD = 256,
    OPT_KEY_PASSPHRASE_FILE,
    OPT_JSON,
    OPT_ALLOW_NO_INTEGRITY,
    OPT_DSN,
    OPT_EMBEDDED,
    OPT_SCHEMA_FROM,
    OPT_REPAIR_SEQUENCES,
    OPT_TRUNCATE_KEYS,
    OPT_VERIFY,
    OPT_RESUME,
    OPT_KEEP_FAILED,
    OPT_SERVER_NAME,
    OPT_MAX_MEDIA,
    OPT_THOROUGH,
    OPT_RECIPIENT_KEY,
    OPT_BLOCKS,
    OPT_NO_INNER,
    OPT_FAST,
    OPT_LISTING,
    OPT_PROGRESS,
    OPT_COLOR,
};

/* One row an option: how it is called, who has it, what --help says. */
static const struct {
    struct option option;
    unsigned group; /* 0: every tool */
    const char *help;
} table[] = {
    {{"passphrase-file", required_argument, NULL, 'p'},
     CLI_SECRETS,
     "-p, --passphrase-file=FILE  passphrase is the first line of FILE"},
    {{"passphrase-fd", required_argument, NULL, OPT_PASSPHRASE_FD},
     CLI_SECRETS,
     "    --passphrase-fd=N       passphrase is the first line read from descriptor N"},
    {{"secret-key", required_argument, NULL, 'k'},
     CLI_SECRETS,
     "-k, --secret-key=FILE       exported OpenPGP secret key; may be repeated"},
    {{"key-passphrase-file", required_argument, NULL, OPT_KEY_PASSPHRASE_FILE},
     CLI_SECRETS,
     "    --key-passphrase-file=FILE  what protects the secret key"},
    {{"allow-no-integrity", no_argument, NULL, OPT_ALLOW_NO_INTEGRITY},
     CLI_SECRETS,
     "    --allow-no-integrity    read messages without integrity protection"},
    {{"recipient-key", required_argument, NULL, OPT_RECIPIENT_KEY},
     CLI_RECIPIENT,
     "    --recipient-key=FILE    is the upload encrypted to this public key, and to no other?\n"
     "                              (without a passphrase or key nothing is decrypted)"},
    {{"output", required_argument, NULL, 'o'},
     CLI_OUTPUT,
     "-o, --output=FILE           write the result to FILE; - is standard output"},
    {{"force", no_argument, NULL, 'f'},
     CLI_OUTPUT | CLI_SERVER | CLI_DIRECTORY,
     "-f, --force                 replace what exists, once the new one is complete"},
    {{"directory", required_argument, NULL, 'C'},
     CLI_DIRECTORY,
     "-C, --directory=DIR         unpack into DIR"},
    {{"dsn", required_argument, NULL, OPT_DSN},
     CLI_SERVER,
     "    --dsn=CONNINFO          staging server (default: libpq's environment)"},
    {{"embedded", required_argument, NULL, OPT_EMBEDDED},
     CLI_SERVER,
     "    --embedded=DIR          use a private server kept in DIR, made on first use"},
    {{"verify", no_argument, NULL, OPT_VERIFY},
     CLI_SERVER,
     "    --verify                compare every row in the database with the dump"},
    {{"resume", no_argument, NULL, OPT_RESUME},
     CLI_SERVER,
     "    --resume                go on where a run that was killed or failed had to stop"},
    {{"keep-failed", no_argument, NULL, OPT_KEEP_FAILED},
     CLI_SERVER,
     "    --keep-failed           after a failure keep the unfinished database, renamed"},
    {{"repair-sequences", no_argument, NULL, OPT_REPAIR_SEQUENCES},
     CLI_SERVER,
     "    --repair-sequences      set those that are behind, so that Synapse starts"},
    {{"truncate-one-time-keys", no_argument, NULL, OPT_TRUNCATE_KEYS},
     CLI_SERVER,
     "    --truncate-one-time-keys  empty e2e_one_time_keys_json"},
    {{"schema-from", required_argument, NULL, OPT_SCHEMA_FROM},
     CLI_SERVER,
     "    --schema-from=DUMP|CONNINFO  for an SQLite homeserver: a dump or a database of a\n"
     "                              Synapse of the same release, for its schema"},
    {{"database", required_argument, NULL, 'd'},
     CLI_SERVER,
     "-d, --database=NAME         name of the staging database"},
    {{"blocks", no_argument, NULL, OPT_BLOCKS},
     CLI_MANIFEST,
     "    --blocks                create: also a checksum of every 4 MiB of unsplit files"},
    {{"no-inner", no_argument, NULL, OPT_NO_INNER},
     CLI_MANIFEST,
     "    --no-inner              create: nothing about what lies inside the encryption"},
    {{"fast", no_argument, NULL, OPT_FAST},
     CLI_MANIFEST,
     "    --fast                  verify: compare names and sizes only"},
    {{"listing", required_argument, NULL, OPT_LISTING},
     CLI_MANIFEST,
     "    --listing=FILE          verify: compare with the output of rclone lsjson --hash"},
    {{"jobs", required_argument, NULL, 'j'},
     CLI_SERVER | CLI_MANIFEST,
     "-j, --jobs=N                workers (default: number of processors)"},
    {{"server-name", required_argument, NULL, OPT_SERVER_NAME},
     CLI_NAME,
     "    --server-name=NAME      Matrix server name that everything must agree with"},
    {{"thorough", no_argument, NULL, OPT_THOROUGH},
     CLI_MEDIA,
     "    --thorough              also check the indexes of a big SQLite database"},
    {{"max-media", required_argument, NULL, OPT_MAX_MEDIA},
     CLI_MEDIA,
     "    --max-media=BYTES       largest media that the target accepts (uploads.maxBytes there)"},
    {{"json", no_argument, NULL, OPT_JSON}, 0, "    --json                  result as JSON lines"},
    {{"progress", required_argument, NULL, OPT_PROGRESS},
     0,
     "    --progress=WHEN         auto, always or never"},
    {{"color", required_argument, NULL, OPT_COLOR},
     0,
     "    --color=WHEN            auto, always or never"},
    {{"quiet", no_argument, NULL, 'q'}, 0, "-q, --quiet                 print nothing on success"},
    {{"verbose", no_argument, NULL, 'v'}, 0, "-v, --verbose               print more"},
    {{"help", no_argument, NULL, 'h'}, 0, "-h, --help                  show this and exit"},
    {{"version", no_argument, NULL, 'V'},
     0,
     "-V, --version               show the version and exit"},
};
#define OPTIONS (sizeof table / sizeof table[0])

static bool has_option(const struct cli_tool *tool, size_t i)
{
    return table[i].group == 0 || (table[i].group & tool->groups) != 0;
}

static void print_help(const struct cli_tool *tool)
{
    printf("Usage: %s %s\n%s\n\n", tool->name, tool->synopsis, tool->purpose);
    for (size_t i = 0; i < OPTIONS; i++)
        if (has_option(tool, i))
            printf("  %s\n", table[i].help);
    printf("\nExit status: 0 all verified, 1 damaged or refused, 2 wrong usage, 3 incomplete,\n"
           "4 cannot be decrypted, 5 not supported, 70 internal error, 75 environment.\n");
}

void cli_message(const struct cli *cli, const char *fmt, ...)
{
    va_list args;

    if (cli->progress_shown)
        fputs("\r\033[K", stderr);
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

static bool parse_when(const char *text, enum cli_when *when)
{
    static const char *const names[] = {"auto", "always", "never"};

    for (int i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *when = (enum cli_when)i;
            return true;
        }
    }
    return false;
}

static bool parse_number(const char *text, long low, long high, long *value)
{
    char *end;

    errno = 0;
    *value = strtol(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *value >= low && *value <= high;
}

/* One parsed option; 0 or the status to exit with. */
static int take_option(struct cli *cli, int c, const char *value)
{
    long number;

    switch (c) {
    case 'p':
        cli->passphrase_file = value;
        break;
    case OPT_PASSPHRASE_FD:
        if (!parse_number(value, 0, 1 << 20, &number))
            return cli_usage(cli, "not a descriptor number: '%s'", value);
        cli->passphrase_fd = (int)number;
        break;
    case 'k':
        if (cli->secret_key_count == CLI_MAX_KEYS)
            return cli_usage(cli, "more than %d secret key files", CLI_MAX_KEYS);
        cli->secret_keys[cli->secret_key_count++] = value;
        break;
    case OPT_KEY_PASSPHRASE_FILE:
        cli->key_passphrase_file = value;
        break;
    case OPT_ALLOW_NO_INTEGRITY:
        cli->allow_no_integrity = true;
        break;
    case 'o':
        cli->output = value;
        break;
    case 'C':
        cli->directory = value;
        break;
    case 'f':
        cli->force = true;
        break;
    case OPT_DSN:
        cli->dsn = value;
        break;
    case OPT_EMBEDDED:
        cli->embedded = value;
        break;
    case OPT_VERIFY:
        cli->verify = true;
        break;
    case OPT_RESUME:
        cli->resume = true;
        break;
    case OPT_KEEP_FAILED:
        cli->keep_failed = true;
        break;
    case OPT_REPAIR_SEQUENCES:
        cli->repair_sequences = true;
        break;
    case OPT_TRUNCATE_KEYS:
        cli->truncate_one_time_keys = true;
        break;
    case OPT_SCHEMA_FROM:
        cli->schema_from = value;
        break;
    case 'd':
        if (value[0] == '\0' || strlen(value) > 63)
            return cli_usage(cli, "a database name has 1 to 63 bytes");
        cli->database = value;
        break;
    case 'j':
        if (!parse_number(value, 1, 256, &number))
            return cli_usage(cli, "--jobs takes a number from 1 to 256, not '%s'", value);
        cli->jobs = (unsigned)number;
        break;
    case OPT_SERVER_NAME:
        cli->server_name = value;
        break;
    case OPT_THOROUGH:
        cli->thorough = true;
        break;
    case OPT_MAX_MEDIA:
        if (!parse_number(value, 1, LONG_MAX, &number))
            return cli_usage(cli, "--max-media takes a number of bytes, not '%s'", value);
        cli->max_media = (uint64_t)number;
        break;
    case OPT_RECIPIENT_KEY:
        cli->recipient_key = value;
        break;
    case OPT_BLOCKS:
        cli->blocks = true;
        break;
    case OPT_NO_INNER:
        cli->no_inner = true;
        break;
    case OPT_FAST:
        cli->fast = true;
        break;
    case OPT_LISTING:
        cli->listing = value;
        break;
    case OPT_JSON:
        cli->json = true;
        break;
    case OPT_PROGRESS:
        if (!parse_when(value, &cli->progress))
            return cli_usage(cli, "--progress takes auto, always or never, not '%s'", value);
        break;
    case OPT_COLOR:
        if (!parse_when(value, &cli->color))
            return cli_usage(cli, "--color takes auto, always or never, not '%s'", value);
        break;
    case 'q':
        cli->quiet = true;
        break;
    case 'v':
        cli->verbose = true;
        break;
    default:
        return cli_usage(cli, "wrong option");
    }
    return 0;
}

static int parse(struct cli *cli, int argc, char **argv)
{
    struct option options[OPTIONS + 1] = {0};
    char letters[2 * OPTIONS + 2] = "";
    size_t n = 0, used = 0;
    int c;

    for (size_t i = 0; i < OPTIONS; i++) {
        if (!has_option(cli->tool, i))
            continue;
        options[n++] = table[i].option;
        if (table[i].option.val < 256) {
            letters[used++] = (char)table[i].option.val;
            if (table[i].option.has_arg == required_argument)
                letters[used++] = ':';
        }
    }
    letters[used] = '\0';
    argv[0] = (char *)(uintptr_t)cli->tool->name; /* how getopt's messages begin */
    while ((c = getopt_long(argc, argv, letters, options, NULL)) != -1) {
        int status;

        if (c == 'h' || c == 'V') {
            if (c == 'h')
                print_help(cli->tool);
            else
                printf("%s (ems-intake) %s\n", cli->tool->name, EMS_VERSION);
            return fflush(stdout) == 0 ? 0 : 75;
        }
        if (c == '?') {
            fprintf(stderr, "Try '%s --help' for more information.\n", cli->tool->name);
            return 2;
        }
        status = take_option(cli, c, optarg);
        if (status != 0)
            return status;
    }
    cli->paths = (const char *const *)(argv + optind);
    cli->path_count = (size_t)(argc - optind);
    if (argc - optind < cli->tool->min_paths)
        return cli_usage(cli, "which upload? A file, its parts, or a directory is needed");
    if (cli->tool->max_paths >= 0 && argc - optind > cli->tool->max_paths)
        return cli_usage(cli, "too many arguments: '%s'", argv[optind + cli->tool->max_paths]);
    if (cli->dsn != NULL && cli->embedded != NULL)
        return cli_usage(cli, "--dsn and --embedded exclude each other");
    return -1;
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

static double now(void)
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
    status = parse(cli, argc, argv);
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
    cli->started = now();
    return -1;
}

/* ---- progress ---- */

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
    cli->started = cli->started > 0 ? cli->started : now();
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
    fprintf(stderr, "%s%s: %s %s", isatty(STDERR_FILENO) ? "\r\033[K" : "", name,
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
    static double layer_started;
    struct cli *cli = context;
    double t;

    if (caught_signal != 0)
        return ems_fail(err, EMS_IO_ERROR, "interrupted");
    t = now();
    if (cli->progress_next == 0) {
        layer_started = t;
        cli->progress_next = t + 0.25; /* a run shorter than that draws nothing */
    }
    if (t < cli->progress_next)
        return EMS_OK;
    cli->progress_next = t + 0.25; /* at most four a second */
    if (cli->progress_name != NULL && wants_progress(cli))
        draw(cli, t - layer_started);
    return EMS_OK;
}

/* ---- what every tool does with its paths ---- */

void cli_fail(struct cli *cli, const struct ems_error *err)
{
    ems_findings_add(&cli->report.findings, err->code, EMS_SEVERITY_ERROR, NULL, NULL, EMS_NOWHERE,
                     NULL, "%s", err->text);
}

bool cli_resolve(struct cli *cli, struct ems_upload *upload)
{
    struct ems_error err = {0};

    if (ems_upload_resolve(upload, cli->paths, cli->path_count, &cli->report.findings, &err) ==
        EMS_OK)
        return true;
    cli_fail(cli, &err);
    return false;
}

void cli_load_manifest(struct cli *cli, struct ems_upload *upload)
{
    const struct ems_digest_options digest = {.tick = cli_tick, .tick_context = cli};
    const struct ems_part_set *set = ems_manifest_of_upload(upload);
    struct ems_error err = {0};

    if (set == NULL)
        return;
    if (ems_manifest_read(&cli->manifest, ems_parts_open(set, &err), set->name,
                          &cli->report.findings, &err) != EMS_OK)
        ems_findings_add(&cli->report.findings, err.code, EMS_SEVERITY_ERROR, set->name, set->name,
                         EMS_NOWHERE, NULL, "%s", err.text);
    else if (ems_manifest_settle(cli->manifest, upload, &digest, &cli->report.findings, &err) !=
             EMS_OK)
        cli_fail(cli, &err);
}

struct ems_part_set *cli_one_artifact(struct cli *cli, struct ems_upload *upload, const char *verb,
                                      int *status)
{
    struct ems_part_set *only = NULL;
    size_t count = 0;

    *status = 0;
    if (!cli_resolve(cli, upload))
        return NULL;
    for (size_t i = 0; i < upload->count; i++) {
        if (ems_manifest_is_name(upload->sets[i].name) && upload->count > 1)
            continue;
        only = &upload->sets[i];
        count++;
    }
    if (count > 1 || (count == 0 && cli->report.findings.count == 0))
        *status = cli_usage(cli, "%zu artifacts are named: %s one at a time", count, verb);
    if (count != 1)
        return NULL;
    cli_load_manifest(cli, upload);
    return only;
}

void cli_end_manifest(struct cli *cli)
{
    if (cli->manifest != NULL)
        ems_manifest_match_end(cli->manifest, &cli->report.findings);
}

struct ems_part_set *cli_set_in_order(const struct ems_upload *upload, size_t i)
{
    for (int databases = 1; databases >= 0; databases--) {
        for (size_t k = 0; k < upload->count; k++) {
            enum ems_kind kind = ems_kind_of_name(upload->sets[k].name);

            if ((kind == EMS_KIND_PG_DUMP || kind == EMS_KIND_SQLITE) == (databases == 1) &&
                i-- == 0)
                return &upload->sets[k];
        }
    }
    return NULL;
}

/* Of the first database that was read. */
static const struct ems_media_rows *media_rows(const struct cli *cli)
{
    for (size_t i = 0; i < cli->report.count; i++)
        if (cli->report.artifacts[i].synapse.media != NULL)
            return cli->report.artifacts[i].synapse.media;
    return NULL;
}

void cli_check_together(struct cli *cli)
{
    struct ems_upload_check_options options = {.server_name = cli->server_name};
    struct stat st;

    for (size_t i = 0; i < cli->path_count; i++)
        options.whole |= stat(cli->paths[i], &st) == 0 && S_ISDIR(st.st_mode);
    ems_upload_check(&cli->report, &options);
}

struct ems_check_options cli_check_options(struct cli *cli)
{
    return (struct ems_check_options){.secrets = cli->secrets,
                                      .allow_no_integrity = cli->allow_no_integrity,
                                      .recipient = cli->recipient,
                                      .recipient_only =
                                          cli->recipient != NULL && cli->secret_key_count == 0 &&
                                          cli->passphrase_file == NULL && cli->passphrase_fd < 0,
                                      .no_threads = sysconf(_SC_NPROCESSORS_ONLN) < 2,
                                      .manifest = cli->manifest,
                                      .temporary = getenv("TMPDIR"),
                                      .media_rows = media_rows(cli),
                                      .max_media_bytes = cli->max_media,
                                      .thorough = cli->thorough,
                                      .bytes_in = &cli->bytes_done,
                                      .tick = cli_tick,
                                      .tick_context = cli};
}

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

/* ---- the end ---- */

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

int cli_finish(struct cli *cli, bool stdout_is_data)
{
    int status;

    if (cli->progress_shown)
        fputs("\r\033[K", stderr);
    cli->progress_shown = false;
    cli->report.elapsed_s = now() - cli->started;
    status = ems_report_exit(&cli->report);
    /* Who asked for data on standard output hears only of trouble. */
    if (status != 0 || cli->verbose || !(cli->quiet || stdout_is_data))
        status = print_report(cli, stdout_is_data ? stderr : stdout, status);
    cli_release(cli);
    if (caught_signal != 0) {
        signal(caught_signal, SIG_DFL);
        raise(caught_signal);
    }
    return status;
}
