/*
 * manifest_read.h - internal: what the three files that read a manifest share.
 *
 * manifest_read.c turns bytes into lines and knows the frame (first line, end line);
 * manifest_sums.c reads checksum lines of every program; manifest_directive.c reads "#%" lines.
 */
#ifndef EMS_MANIFEST_READ_H
#define EMS_MANIFEST_READ_H

#include "bytes.h"
#include "manifest_store.h"

struct ems_manifest_reader {
    struct ems_manifest *m;
    struct ems_findings *findings; /* may be NULL */
    const char *name;              /* of the manifest, for findings */
    uint64_t line;                 /* number of the line at hand, from 1 */
    bool sealed;                   /* the end line was seen and is right */
    struct ems_sha256 self;        /* of the lines before this one; for the end line */
    /* Texts that tell one checksum in several lines: what was gathered. */
    struct ems_sha256 pending; /* PowerShell "Hash :" */
    struct ems_buf path;       /* PowerShell "Path :", certutil's name; empty if none */
    bool certutil;             /* path came from certutil: its checksum is the next line */
};

/* EMS_MANIFEST_MALFORMED with "line N: " in front; for another code give it. */
int ems_manifest_line_fail(const struct ems_manifest_reader *, int code, struct ems_error *,
                           const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* "line N: " in front of what an inner call said. */
int ems_manifest_line_error(const struct ems_manifest_reader *, const struct ems_error *inner,
                            struct ems_error *);

/* One line that is no comment, NUL-terminated and writable, without its line end; may be blank. */
int ems_manifest_take_sum(struct ems_manifest_reader *, char *line, size_t size,
                          struct ems_error *);

/* After the last line: what was gathered is complete or it is an error. */
int ems_manifest_finish_sums(struct ems_manifest_reader *, struct ems_error *);

/* What follows "#% ", NUL-terminated and writable. */
int ems_manifest_take_directive(struct ems_manifest_reader *, char *text, struct ems_error *);

/* 64 hex digits of either case at text; false if there are fewer. Looks at nothing behind them. */
bool ems_manifest_parse_hex(const char *text, struct ems_sha256 *);

#endif
