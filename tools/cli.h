/*
 * cli.h - what the tools share on their command line side. No format is parsed here. A run is
 *
 *     cli_start > cli_load_secrets > cli_resolve > cli_load_manifest > the work > cli_finish
 *
 * and what goes wrong on the way is a finding of the report, so that cli_finish says it and knows
 * the exit status. Each section below has its file.
 */
#ifndef EMS_CLI_H
#define EMS_CLI_H

#include "report.h"
#include "sink.h"

#include <stdio.h>

/* Groups of options; every tool has the general ones. */
enum {
    CLI_SECRETS = 1 << 0,   /* passphrase, keys, --allow-no-integrity */
    CLI_OUTPUT = 1 << 1,    /* -o, -f */
    CLI_SERVER = 1 << 2,    /* --dsn, --embedded, -d, -j, -f, repairs */
    CLI_NAME = 1 << 3,      /* --server-name */
    CLI_RECIPIENT = 1 << 4, /* --recipient-key */
    CLI_MANIFEST = 1 << 5,  /* --blocks, --no-inner, --fast, --listing, -j */
    CLI_DIRECTORY = 1 << 6, /* -C, -f */
    CLI_MEDIA = 1 << 7,     /* --max-media, --thorough */
};

struct cli_tool {
    const char *name;
    const char *synopsis; /* after the name: "[OPTION]... PATH..." */
    const char *purpose;  /* sentences for --help */
    unsigned groups;
    int min_paths, max_paths; /* max -1: any number */
};

enum cli_when { CLI_AUTO, CLI_ALWAYS, CLI_NEVER };

#define CLI_MAX_KEYS 16

struct cli {
    const struct cli_tool *tool;
    const char *passphrase_file, *key_passphrase_file, *output, *dsn, *embedded, *database,
        *server_name, *recipient_key, *listing, *directory, *schema_from;
    const char *secret_keys[CLI_MAX_KEYS];
    size_t secret_key_count;
    int passphrase_fd; /* -1: none */
    unsigned jobs;
    uint64_t max_media; /* bytes; 0: any */
    bool thorough;
    bool keep_failed, resume, verify;
    bool json, allow_no_integrity, force, quiet, verbose, blocks, no_inner, fast, repair_sequences,
        truncate_one_time_keys;
    enum cli_when progress, color;
    const char *const *paths;
    size_t path_count;

    /* of the run */
    bool stdout_is_data; /* by cli_take_stdout: the report goes to standard error */
    struct ems_report report;
    struct ems_pgp_secrets *secrets;
    struct ems_pgp_recipient_keys *recipient;
    struct ems_manifest *manifest; /* of the upload, or NULL */
    double started;                /* cli_now() */
    char *epilogue;                /* printed after a good text report; freed by cli_finish */
    _Atomic uint64_t bytes_done;
    uint64_t bytes_total;      /* 0: unknown */
    const char *progress_name; /* artifact and layer shown */
    const char *progress_layer;
    double progress_started, progress_next; /* cli_now(); next is 0 before the layer's first tick */
    bool progress_shown;                    /* the terminal's cursor is in the progress line */
};

/* ---- cli.c: the frame of a run ---- */

/*
 * Parse the command line, harden the process (no core files, no ptrace, SIGPIPE ignored, SIGINT and
 * SIGTERM noted) and initialise the libraries. -1: go on; else the exit status to end with (0 after
 * --help and --version, 2 after a wrong option, 70).
 */
int cli_start(struct cli *, const struct cli_tool *, int argc, char **argv);

/* A wrong use of the options that only the tool can see: message, hint at --help, returns 2. */
int cli_usage(const struct cli *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "tool: message" on stderr. */
void cli_message(const struct cli *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A failure that is not of one artifact. */
void cli_fail(struct cli *, const struct ems_error *);

/* Has a signal come that asks for the end of the work? */
bool cli_interrupted(void);

/* Seconds of a clock that never goes back. */
double cli_now(void);

/*
 * Print the report (to stdout, or stderr if stdout carries data), release everything, and return
 * the exit status of the process. After a signal it does not return but lets the signal have its
 * way.
 */
int cli_finish(struct cli *);

/* The end without a report, after cli_usage: what cli_load_secrets and others have taken. */
void cli_release(struct cli *);

/* ---- options.c: the table of options ---- */

/* Parse the command line by cli->tool. -1: go on; else as cli_start. */
int cli_parse(struct cli *, int argc, char **argv);

/* ---- secrets.c: passphrases and keys ---- */

/* Load what unlocks messages. 0, or an exit status after a message. */
int cli_load_secrets(struct cli *);

/* ---- progress.c ---- */

/* Back to the start of the terminal's line, and erase it (ECMA-48: CR, EL). */
#define CLI_CLEAR_LINE "\r\033[K"

/* What the progress line shows from now on; total in bytes of bytes_done. */
void cli_progress(struct cli *, const char *name, const char *layer, uint64_t total);

/* An ems_tick_fn (context: struct cli): draws progress, ends the work after a signal. */
int cli_tick(void *cli, struct ems_error *);

/* ---- upload.c: from paths to sets of parts ---- */

/* Resolve the paths of the command line into upload. False after a failure (it is a finding). */
bool cli_resolve(struct cli *, struct ems_upload *);

/* If the upload has a manifest: read it, so that cli_check_options has every artifact compared with
 * it, and let it choose between copies of parts that differ. What is wrong with the manifest is a
 * finding. */
void cli_load_manifest(struct cli *, struct ems_upload *);

/*
 * For tools that work on one artifact: resolve the paths, read the manifest that lies beside it,
 * and find the set. NULL: there is nothing to do; *status is 0 if a finding says why, or the status
 * to end with after a message. `verb` is for that message: "join".
 */
struct ems_part_set *cli_one_artifact(struct cli *, struct ems_upload *, const char *verb,
                                      int *status);

/* The upload's i-th set in the order of work: databases before the media that they know sizes and
 * hashes of, else as they are. NULL behind the last. */
struct ems_part_set *cli_set_in_order(const struct ems_upload *, size_t i);

/* Options for ems_artifact_check as the command line says. */
struct ems_check_options cli_check_options(struct cli *);

/* After all artifacts: what the manifest lists and nobody brought is a finding. */
void cli_end_manifest(struct cli *);

/* After all artifacts: what they say about each other (upload_check.h). */
void cli_check_together(struct cli *);

/* ---- streams.c: standard input and output, pipes, devices ---- */

/* Is the only path "-", or something else that is a stream and not a file? Then *fd to read. */
bool cli_is_stream(struct cli *, int *fd, const char **name);
/* The chain's bottom over it; takes over fd. After a signal its end is no end, but EMS_IO_ERROR. */
struct ems_source *cli_open_stream(int fd, const char *name, struct ems_error *);

/* If -o is standard output, reserve it for the data: the report goes to standard error. 0, or the
 * status to end with after a message (--json wants standard output too). */
int cli_take_stdout(struct cli *);

/* Where -o says: standard output for "-", a device or pipe as it is, else a file that appears when
 * it is complete. NULL on failure. The caller frees it; a descriptor that was opened for it stays
 * open until the process ends. */
struct ems_sink *cli_open_output(const struct cli *, const char *path, struct ems_error *);

#endif
