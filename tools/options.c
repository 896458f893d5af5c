/* options.c - the one table of options, and the parsing of a command line with it; see cli.h */
#include "cli.h"

#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static bool parse_number(const char *text, long low, long high, long *value)
{
    char *end;

    errno = 0;
    *value = strtol(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *value >= low && *value <= high;
}

static int take_descriptor(struct cli *cli, const char *value)
{
    long number;

    if (!parse_number(value, 0, 1 << 20, &number))
        return cli_usage(cli, "not a descriptor number: '%s'", value);
    cli->passphrase_fd = (int)number;
    return 0;
}

static int take_key(struct cli *cli, const char *value)
{
    if (cli->secret_key_count == CLI_MAX_KEYS)
        return cli_usage(cli, "more than %d secret key files", CLI_MAX_KEYS);
    cli->secret_keys[cli->secret_key_count++] = value;
    return 0;
}

/* 63: NAMEDATALEN - 1 of every PostgreSQL; the server would cut a longer one without a word. */
static int take_database(struct cli *cli, const char *value)
{
    if (value[0] == '\0' || strlen(value) > 63)
        return cli_usage(cli, "a database name has 1 to 63 bytes");
    cli->database = value;
    return 0;
}

/* What no server can be called is a slip (an unset variable of a script), not a fault of the
 * upload. */
static int take_server_name(struct cli *cli, const char *value)
{
    if (!ems_server_name_is_valid(value))
        return cli_usage(cli, "--server-name takes a Matrix server name, not '%s'", value);
    cli->server_name = value;
    return 0;
}

static int take_jobs(struct cli *cli, const char *value)
{
    long number;

    if (!parse_number(value, 1, 256, &number))
        return cli_usage(cli, "--jobs takes a number from 1 to 256, not '%s'", value);
    cli->jobs = (unsigned)number;
    return 0;
}

static int take_max_media(struct cli *cli, const char *value)
{
    long number;

    if (!parse_number(value, 1, LONG_MAX, &number))
        return cli_usage(cli, "--max-media takes a number of bytes, not '%s'", value);
    cli->max_media = (uint64_t)number;
    return 0;
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

static int take_progress(struct cli *cli, const char *value)
{
    if (!parse_when(value, &cli->progress))
        return cli_usage(cli, "--progress takes auto, always or never, not '%s'", value);
    return 0;
}

static int take_color(struct cli *cli, const char *value)
{
    if (!parse_when(value, &cli->color))
        return cli_usage(cli, "--color takes auto, always or never, not '%s'", value);
    return 0;
}

/*
 * One row an option: everything that the program knows of it. What follows the group says where its
 * value goes: a bool or a text of struct cli (another type does not compile), a function that looks
 * at the value first (0, or the exit status after a message), or nowhere, where the option is all
 * that is done.
 */
#define FLAG(member)                                                                               \
    no_argument, _Generic(((struct cli *)0)->member, bool : offsetof(struct cli, member)), NULL
#define TEXT(member)                                                                               \
    required_argument, \
        _Generic(((struct cli *)0)->member, const char *: offsetof(struct cli, member)), NULL
#define CALL(function) required_argument, 0, function
#define ENDS           no_argument, 0, NULL

/* clang-format off: two lines a row, as a table is read */
static const struct {
    const char *name;
    char letter;    /* 0: it has only the long name */
    unsigned group; /* 0: every tool */
    int has_arg;
    size_t offset;
    int (*take)(struct cli *, const char *value);
    const char *help;
} table[] = {
    {"passphrase-file", 'p', CLI_SECRETS, TEXT(passphrase_file),
     "-p, --passphrase-file=FILE  passphrase is the first line of FILE"},
    {"passphrase-fd", 0, CLI_SECRETS, CALL(take_descriptor),
     "    --passphrase-fd=N       passphrase is the first line read from descriptor N"},
    {"secret-key", 'k', CLI_SECRETS, CALL(take_key),
     "-k, --secret-key=FILE       exported OpenPGP secret key; may be repeated"},
    {"key-passphrase-file", 0, CLI_SECRETS, TEXT(key_passphrase_file),
     "    --key-passphrase-file=FILE  what protects the secret key"},
    {"allow-no-integrity", 0, CLI_SECRETS, FLAG(allow_no_integrity),
     "    --allow-no-integrity    read messages without integrity protection"},
    {"recipient-key", 0, CLI_RECIPIENT, TEXT(recipient_key),
     "    --recipient-key=FILE    is the upload encrypted to this public key, and to no other?\n"
     "                              (without a passphrase or key nothing is decrypted)"},
    {"output", 'o', CLI_OUTPUT, TEXT(output),
     "-o, --output=FILE           write the result to FILE; - is standard output"},
    {"force", 'f', CLI_OUTPUT | CLI_SERVER | CLI_DIRECTORY, FLAG(force),
     "-f, --force                 replace what exists, once the new one is complete"},
    {"directory", 'C', CLI_DIRECTORY, TEXT(directory),
     "-C, --directory=DIR         unpack into DIR"},
    {"dsn", 0, CLI_SERVER, TEXT(dsn),
     "    --dsn=CONNINFO          staging server (default: libpq's environment)"},
    {"embedded", 0, CLI_SERVER, TEXT(embedded),
     "    --embedded=DIR          use a private server kept in DIR, made on first use"},
    {"verify", 0, CLI_SERVER, FLAG(verify),
     "    --verify                compare every row in the database with the dump"},
    {"resume", 0, CLI_SERVER, FLAG(resume),
     "    --resume                go on where a run that was killed or failed had to stop"},
    {"keep-failed", 0, CLI_SERVER, FLAG(keep_failed),
     "    --keep-failed           after a failure keep the unfinished database, renamed"},
    {"repair-sequences", 0, CLI_SERVER, FLAG(repair_sequences),
     "    --repair-sequences      set those that are behind, so that Synapse starts"},
    {"truncate-one-time-keys", 0, CLI_SERVER, FLAG(truncate_one_time_keys),
     "    --truncate-one-time-keys  empty e2e_one_time_keys_json"},
    {"schema-from", 0, CLI_SERVER, TEXT(schema_from),
     "    --schema-from=DUMP|CONNINFO  for an SQLite homeserver: a dump or a database of a\n"
     "                              Synapse of the same release, for its schema"},
    {"database", 'd', CLI_SERVER, CALL(take_database),
     "-d, --database=NAME         name of the staging database"},
    {"blocks", 0, CLI_MANIFEST, FLAG(blocks),
     "    --blocks                create: also a checksum of every 4 MiB of unsplit files"},
    {"no-inner", 0, CLI_MANIFEST, FLAG(no_inner),
     "    --no-inner              create: nothing about what lies inside the encryption"},
    {"fast", 0, CLI_MANIFEST, FLAG(fast),
     "    --fast                  verify: compare names and sizes only"},
    {"listing", 0, CLI_MANIFEST, TEXT(listing),
     "    --listing=FILE          verify: compare with the output of rclone lsjson --hash"},
    {"jobs", 'j', CLI_SERVER | CLI_MANIFEST, CALL(take_jobs),
     "-j, --jobs=N                workers (default: number of processors)"},
    {"server-name", 0, CLI_NAME, CALL(take_server_name),
     "    --server-name=NAME      Matrix server name that everything must agree with"},
    {"thorough", 0, CLI_MEDIA, FLAG(thorough),
     "    --thorough              also check the indexes of a big SQLite database"},
    {"max-media", 0, CLI_MEDIA, CALL(take_max_media),
     "    --max-media=BYTES       largest media that the target accepts (uploads.maxBytes there)"},
    {"json", 0, 0, FLAG(json), "    --json                  result as JSON lines"},
    {"progress", 0, 0, CALL(take_progress), "    --progress=WHEN         auto, always or never"},
    {"color", 0, 0, CALL(take_color), "    --color=WHEN            auto, always or never"},
    {"quiet", 'q', 0, FLAG(quiet), "-q, --quiet                 print nothing on success"},
    {"verbose", 'v', 0, FLAG(verbose), "-v, --verbose               print more"},
    {"help", 'h', 0, ENDS, "-h, --help                  show this and exit"},
    {"version", 'V', 0, ENDS, "-V, --version               show the version and exit"},
};
/* clang-format on */
#define OPTIONS (sizeof table / sizeof table[0])

/* What getopt returns for a row: the letter, or for those without one a number behind all letters.
 */
#define NO_LETTER 256

static bool has_option(const struct cli_tool *tool, size_t i)
{
    return table[i].group == 0 || (table[i].group & tool->groups) != 0;
}

static int end_with_help(const struct cli_tool *tool)
{
    printf("Usage: %s %s\n%s\n\n", tool->name, tool->synopsis, tool->purpose);
    for (size_t i = 0; i < OPTIONS; i++)
        if (has_option(tool, i))
            printf("  %s\n", table[i].help);
    printf("\nExit status: 0 all verified, 1 damaged or refused, 2 wrong usage, 3 incomplete,\n"
           "4 cannot be decrypted, 5 not supported, 70 internal error, 75 environment.\n");
    return fflush(stdout) == 0 ? 0 : 75;
}

static int end_with_version(const struct cli_tool *tool)
{
    printf("%s (ems-intake) %s\n", tool->name, EMS_VERSION);
    return fflush(stdout) == 0 ? 0 : 75;
}

/* The tool's rows as getopt_long wants them. */
static void list_options(const struct cli_tool *tool, struct option *options, char *letters)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        if (!has_option(tool, i))
            continue;
        *options++ =
            (struct option){.name = table[i].name,
                            .has_arg = table[i].has_arg,
                            .val = table[i].letter != 0 ? table[i].letter : NO_LETTER + (int)i};
        if (table[i].letter == 0)
            continue;
        *letters++ = table[i].letter;
        if (table[i].has_arg == required_argument)
            *letters++ = ':';
    }
    *options = (struct option){0};
    *letters = '\0';
}

/* One parsed option: c as getopt_long returned it. 0, or the status to exit with. */
static int take_option(struct cli *cli, int c, const char *value)
{
    size_t i = 0;
    void *member;

    if (c >= NO_LETTER)
        i = (size_t)(c - NO_LETTER);
    else
        while (table[i].letter != c) /* getopt knows no letter but those of the table */
            i++;
    if (table[i].take != NULL)
        return table[i].take(cli, value);
    member = (char *)cli + table[i].offset;
    if (table[i].has_arg == no_argument)
        *(bool *)member = true;
    else
        *(const char **)member = value;
    return 0;
}

int cli_parse(struct cli *cli, int argc, char **argv)
{
    struct option options[OPTIONS + 1];
    char letters[2 * OPTIONS + 1];
    int c, status;

    list_options(cli->tool, options, letters);
    argv[0] = (char *)(uintptr_t)cli->tool->name; /* how getopt's messages begin */
    while ((c = getopt_long(argc, argv, letters, options, NULL)) != -1) {
        if (c == 'h')
            return end_with_help(cli->tool);
        if (c == 'V')
            return end_with_version(cli->tool);
        if (c == '?') { /* getopt has said what is wrong */
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
