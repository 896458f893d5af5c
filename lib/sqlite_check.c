/*
 * sqlite_check.c - see sqlite_check.h
 *
 * The database is a stranger's program for SQLite's machine: a schema may hold views that never
 * end, expression indexes, virtual tables. Everything that runs its code is switched off where
 * there is a switch (sqlite_open.c), and the progress handler ends what is left. Statements are
 * constants; nothing from the file becomes part of one.
 */
#include "sqlite_check.h"

#include "bytes.h"
#include "media_rows.h"
#include "sqlite_open.h"
#include "sqlite_synapse.h"
#include "synapse_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_SIZE   100u
#define STEPS_AT_ONCE 20000
#define STEPS         UINT64_C(100000000) /* budget of any file, in steps of SQLite's machine */
#define STEPS_PER_PAGE                                                                             \
    UINT64_C(50000) /* and more for each page: a page holds some hundred cells                     \
                     */

struct check {
    const char *path, *artifact;
    const struct ems_sqlite_options *options;
    struct ems_findings *findings;
    struct ems_facts *facts;
    struct ems_synapse *synapse;
    struct ems_error *err;
    uint32_t page_size;
    uint64_t pages, file_size;
    bool wal_mode, has_wal, thorough;
    uint64_t steps, budget;
    sqlite3 *db;
    bool broken; /* an error was found: no need to look further */
};

/* A finding; an error makes further looks pointless. */
static void find(struct check *c, int code, enum ems_severity severity, const char *advice,
                 const char *message)
{
    ems_findings_add(c->findings, code, severity, c->artifact, NULL, EMS_NOWHERE, advice, "%s",
                     message);
    c->broken |= severity == EMS_SEVERITY_ERROR;
}

/* ---- the file ---- */

/* Is there a file of that suffix with at least `size` bytes? An empty journal says nothing. */
static bool has_beside(const struct check *c, const char *suffix, uint8_t *head, size_t size)
{
    char path[4096];
    ssize_t n;
    int fd;

    snprintf(path, sizeof path, "%s%s", c->path, suffix);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return false;
    n = read(fd, head, size);
    close(fd);
    return n == (ssize_t)size;
}

/* A journal is hot as long as its header stands (SQLite file format, section 3). */
static void check_journals(struct check *c)
{
    static const uint8_t magic[8] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
    uint8_t head[8];

    if (has_beside(c, "-journal", head, sizeof head) && memcmp(head, magic, sizeof magic) == 0)
        find(c, EMS_SQLITE_WAL, EMS_SEVERITY_ERROR, "Stop Synapse, then make the copy again.",
             "the database was copied in the middle of a transaction: its rollback journal is hot");
    c->has_wal = has_beside(c, "-wal", head, sizeof head);
    if (c->wal_mode && !c->has_wal)
        find(
            c, EMS_SQLITE_WAL, EMS_SEVERITY_WARNING,
            "Ask whether Synapse was stopped before the copy; if not, the copy must be made again.",
            "the database is in WAL mode and there is no -wal file: what was written last may be "
            "missing");
}

/*
 * The 100 bytes at the start. Fields are big-endian. SQLite file format, section 1.3: page size at
 * 16 (1 stands for 65536), write and read version at 18 and 19 (2: WAL), change counter at 24,
 * size in pages at 28, and at 92 the change counter for which that size is valid: versions before
 * 3.7.0 leave the size behind. SQLite itself opens a file that was cut at a page's end and finds
 * out only when it asks for a page, so the size is compared here.
 */
static void check_header(struct check *c, const uint8_t *h)
{
    char message[160];
    uint64_t expected;
    bool counted =
        ems_be32(h + 24) == ems_be32(h + 92); /* else the count was not kept up to date */

    c->page_size = ems_be16(h + 16) == 1 ? 65536 : ems_be16(h + 16);
    if (c->page_size < 512 || (c->page_size & (c->page_size - 1)) != 0) {
        find(c, EMS_SQLITE_CORRUPT, EMS_SEVERITY_ERROR, NULL, "the page size makes no sense");
        return;
    }
    c->wal_mode = h[18] == 2 || h[19] == 2;
    c->pages = counted ? ems_be32(h + 28) : 0;
    if (c->pages == 0)
        c->pages = (c->file_size + c->page_size - 1) / c->page_size;
    check_journals(c);
    expected = c->pages * c->page_size;
    if (c->has_wal || expected == c->file_size)
        return;
    snprintf(message, sizeof message, "the file has %llu bytes, but its %llu pages take %llu",
             (unsigned long long)c->file_size, (unsigned long long)c->pages,
             (unsigned long long)expected);
    find(c, EMS_SQLITE_CORRUPT, EMS_SEVERITY_ERROR, NULL, message);
}

static int check_file(struct check *c)
{
    static const char magic[16] = "SQLite format 3";
    uint8_t header[HEADER_SIZE] = {0};
    struct stat st;
    ssize_t n;
    int fd = open(c->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 || fstat(fd, &st) != 0) {
        int errnum = errno;

        if (fd >= 0)
            close(fd);
        return ems_fail_errno(c->err, errnum, "cannot open the database");
    }
    c->file_size = (uint64_t)st.st_size;
    n = pread(fd, header, sizeof header, 0);
    close(fd);
    if (n < 0)
        return ems_fail_errno(c->err, errno, "cannot read the database");
    if (n == 0)
        find(c, EMS_SQLITE_CORRUPT, EMS_SEVERITY_ERROR, NULL, "the database file is empty");
    else if (memcmp(header, magic, sizeof magic) != 0)
        find(c, EMS_SQLITE_CORRUPT, EMS_SEVERITY_ERROR, NULL, "this is no SQLite database");
    else if (n < (ssize_t)sizeof header)
        find(c, EMS_SQLITE_CORRUPT, EMS_SEVERITY_ERROR, NULL, "the database is cut in its header");
    else
        check_header(c, header);
    return EMS_OK;
}

/* ---- SQLite ---- */

/* Called by SQLite every STEPS_AT_ONCE steps; 1 ends the statement with SQLITE_INTERRUPT. */
static int on_progress(void *context)
{
    struct check *c = context;

    c->steps += STEPS_AT_ONCE;
    if (c->steps > c->budget)
        return 1;
    return c->options->tick != NULL && c->options->tick(c->options->tick_context, c->err) != EMS_OK;
}

/* A failure of SQLite: ours to report as an error, or a finding about the file. */
static int judge(struct check *c, int rc)
{
    char message[300];

    if (c->err->code != EMS_OK)
        return c->err->code; /* tick ended it */
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return EMS_OK;
    case SQLITE_NOMEM:
        return ems_fail_memory(c->err);
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_FULL:
        return ems_fail(c->err, EMS_IO_ERROR, "the database cannot be read: %s",
                        sqlite3_errstr(rc));
    case SQLITE_INTERRUPT:
        snprintf(message, sizeof message,
                 "the check was given up after %llu steps, more than a sound file of this size "
                 "takes",
                 (unsigned long long)c->steps);
        break;
    default:
        snprintf(message, sizeof message, "SQLite cannot read it: %s", sqlite3_errmsg(c->db));
    }
    find(c, EMS_SQLITE_CORRUPT, EMS_SEVERITY_ERROR, NULL, message);
    return EMS_OK;
}

/* The handler is set before the first statement: the schema is parsed with that one, and already a
 * schema can be made to take long. */
static int open_database(struct check *c)
{
    int rc = ems_sqlite_open(c->path, c->options->private_copy, &c->db);

    if (c->db != NULL)
        sqlite3_progress_handler(c->db, STEPS_AT_ONCE, on_progress, c);
    return judge(c, rc);
}

/*
 * A row for each problem, or one that says "ok". quick_check goes through all pages and looks at
 * the order of keys; integrity_check also looks whether each index has each row, which takes
 * several times as long. The texts quote names out of the file: they are made printable where they
 * are reported.
 */
static int check_integrity(struct check *c)
{
    const char *sql = c->thorough ? "PRAGMA integrity_check(10)" : "PRAGMA quick_check(10)";
    char first[200] = "", message[300];
    sqlite3_stmt *statement = NULL;
    unsigned problems = 0;
    int rc = sqlite3_prepare_v2(c->db, sql, -1, &statement, NULL);

    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);

        if (text != NULL && strcmp(text, "ok") != 0 && problems++ == 0)
            snprintf(first, sizeof first, "%.180s", text);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    if (problems > 0) {
        first[strcspn(first, "\n")] = '\0';
        snprintf(message, sizeof message, "SQLite finds %s%u problems in it, the first: %s",
                 problems == 10 ? "at least " : "", problems, first);
        find(c, EMS_SQLITE_CORRUPT, EMS_SEVERITY_ERROR, NULL, message);
        return EMS_OK;
    }
    return judge(c, rc);
}

/* ---- what Synapse has in it ---- */

/* The first column of the first row as a number. False: no such table, no row. */
static bool ask(struct check *c, const char *sql, uint64_t *number)
{
    sqlite3_stmt *statement = NULL;
    bool got = false;

    if (!c->broken && c->err->code == EMS_OK &&
        sqlite3_prepare_v2(c->db, sql, -1, &statement, NULL) == SQLITE_OK) {
        int rc = sqlite3_step(statement);

        got = rc == SQLITE_ROW;
        if (got)
            *number = (uint64_t)sqlite3_column_int64(statement, 0);
        else
            judge(c, rc);
    }
    sqlite3_finalize(statement);
    return got;
}

/* Which of the columns does the table have? Older ones lack the last. */
static bool has_column(struct check *c, const char *column)
{
    sqlite3_stmt *statement = NULL;
    bool has = sqlite3_prepare_v2(c->db,
                                  "SELECT 1 FROM pragma_table_info('local_media_repository')"
                                  " WHERE name = ?1",
                                  -1, &statement, NULL) == SQLITE_OK &&
               sqlite3_bind_text(statement, 1, column, -1, SQLITE_STATIC) == SQLITE_OK &&
               sqlite3_step(statement) == SQLITE_ROW;

    sqlite3_finalize(statement);
    return has;
}

/* The rows of local_media_repository, for comparing with the media (upload_media.c). */
static int read_media(struct check *c)
{
    struct ems_media_value values[EMS_MEDIA_COLUMNS];
    sqlite3_stmt *statement = NULL;
    char sql[400] = "SELECT ";
    int rc;

    for (int i = 0; i < EMS_MEDIA_COLUMNS; i++) {
        const char *name = ems_media_column_name((enum ems_media_column)i);
        size_t n = strlen(sql);

        snprintf(sql + n, sizeof sql - n, "%s%s", i > 0 ? ", " : "",
                 has_column(c, name) ? name : "NULL");
    }
    strcat(sql, " FROM local_media_repository");
    if (!has_column(c, "media_id") ||
        sqlite3_prepare_v2(c->db, sql, -1, &statement, NULL) != SQLITE_OK)
        return EMS_OK; /* no such table: not a homeserver, or a very old one */
    if (ems_synapse_media(c->synapse) == NULL) {
        sqlite3_finalize(statement);
        return ems_fail_memory(c->err);
    }
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
        for (int i = 0; i < EMS_MEDIA_COLUMNS; i++) {
            values[i].text = (const char *)sqlite3_column_text(statement, i);
            values[i].size = (size_t)sqlite3_column_bytes(statement, i);
            values[i].null = values[i].text == NULL;
        }
        if (ems_media_rows_add(c->synapse->media, values, c->err) != EMS_OK)
            break;
    }
    ems_media_rows_finish(c->synapse->media);
    if (c->err->code == EMS_OK)
        judge(c, rc);
    sqlite3_finalize(statement);
    return c->err->code;
}

/* Counts go through whole tables, but those of the smallest index; the budget holds for them too.
 */
static int read_facts(struct check *c)
{
    struct ems_synapse *s = c->synapse;
    struct ems_facts *f = c->facts;
    uint64_t events = 0, rooms = 0, vacuum = 0;
    char releases[32];
    int rc = EMS_OK;

    if (!c->broken && c->err->code == EMS_OK)
        judge(c, ems_sqlite_read_synapse(c->db, s, c->err));
    ask(c, "SELECT count(*) FROM events", &events);
    ask(c, "SELECT count(*) FROM rooms", &rooms);
    ask(c, "PRAGMA auto_vacuum", &vacuum);
    if (c->err->code != EMS_OK)
        return c->err->code;
    f->layer = "sqlite";
    rc = ems_facts_number(f, "page_size", c->page_size, c->err);
    if (rc == EMS_OK)
        rc = ems_facts_number(f, "pages", c->pages, c->err);
    if (rc == EMS_OK)
        rc = ems_facts_text(f, "journal", c->wal_mode ? "wal" : "delete", c->err);
    if (rc == EMS_OK)
        rc = ems_facts_text(f, "check", c->thorough ? "integrity_check" : "quick_check", c->err);
    if (rc == EMS_OK && vacuum != 0) /* synapse_port_db would refuse it */
        rc = ems_facts_text(f, "auto_vacuum", vacuum == 1 ? "full" : "incremental", c->err);
    if (rc == EMS_OK && s->server_name[0] != '\0')
        rc = ems_facts_text(f, "server_name", s->server_name, c->err);
    if (rc == EMS_OK)
        rc = ems_facts_number(f, "schema_version", s->schema_version, c->err);
    if (rc == EMS_OK)
        rc = ems_facts_number(f, "compat_version", s->compat_version, c->err);
    if (rc == EMS_OK)
        rc = ems_facts_text(f, "releases", ems_synapse_state_releases(s, releases, sizeof releases),
                            c->err);
    if (rc == EMS_OK)
        rc = ems_facts_number(f, "users", s->users, c->err);
    if (rc == EMS_OK)
        rc = ems_facts_number(f, "events", events, c->err);
    if (rc == EMS_OK)
        rc = ems_facts_number(f, "rooms", rooms, c->err);
    if (rc == EMS_OK)
        rc = ems_facts_number(f, "background_updates", s->background_updates, c->err);
    snprintf(f->summary, sizeof f->summary,
             "SQLite, %llu pages of %u bytes, %llu events, %llu rooms",
             (unsigned long long)c->pages, c->page_size, (unsigned long long)events,
             (unsigned long long)rooms);
    return rc;
}

static void judge_synapse(struct check *c)
{
    const struct ems_synapse *s = c->synapse;

    if (c->broken)
        return;
    if (!ems_synapse_is_homeserver(s)) {
        find(c, EMS_SQLITE_NOT_SYNAPSE, EMS_SEVERITY_WARNING, NULL,
             "this is a sound database, but not Synapse's: no tables users, events and "
             "schema_version");
        return;
    }
    ems_synapse_judge(s, c->artifact, c->findings);
}

/* From the cheap to the dear, and no further than the first error: what SQLite says of a file whose
 * size is wrong would only repeat it in other words. */
int ems_sqlite_check(const char *path, const char *artifact,
                     const struct ems_sqlite_options *options, struct ems_findings *findings,
                     struct ems_facts *facts, struct ems_synapse *synapse, struct ems_error *err)
{
    struct check c = {.path = path,
                      .artifact = artifact,
                      .options = options,
                      .findings = findings,
                      .facts = facts,
                      .synapse = synapse,
                      .err = err};
    int rc = check_file(&c);

    if (rc != EMS_OK || c.broken)
        return rc;
    c.thorough = options->thorough || c.file_size < options->thorough_below;
    c.budget = STEPS + STEPS_PER_PAGE * c.pages;
    rc = open_database(&c);
    if (rc == EMS_OK && !c.broken)
        rc = check_integrity(&c);
    if (rc == EMS_OK && !c.broken)
        rc = read_facts(&c);
    if (rc == EMS_OK && !c.broken)
        rc = read_media(&c);
    if (rc == EMS_OK)
        judge_synapse(&c);
    sqlite3_close(c.db);
    return rc;
}
