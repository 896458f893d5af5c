/* artifact_sqlite.c - see artifact_sqlite.h */
#include "artifact_sqlite.h"

#include "sqlite_check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_SIZE 65536u
#define SMALL     (UINT64_C(64) << 20) /* integrity_check takes about a second for this */

/* SQLite reads files, not streams: what is packed or encrypted has to be unpacked somewhere, and
 * that is said each time (note_copy). A plain file is read where it lies. */
static bool ends(const char *text, const char *suffix)
{
    size_t n = strlen(text), m = strlen(suffix);

    return n >= m && strcmp(text + n - m, suffix) == 0;
}

static struct ems_sqlite_spool *open_spool(const struct ems_check_options *o, struct ems_error *err)
{
    return ems_sqlite_spool_open(o->temporary != NULL ? o->temporary : "/tmp", err);
}

static void note_copy(const struct ems_check_options *o, const char *artifact,
                      struct ems_findings *findings)
{
    ems_findings_add(
        findings, EMS_NOT_ENCRYPTED, EMS_SEVERITY_NOTE, artifact, NULL, EMS_NOWHERE, "",
        "SQLite needs a file: the database was unpacked, not encrypted, to a "
        "private directory in %s, which is removed %s",
        o->temporary != NULL ? o->temporary : "/tmp", o->keep_database ? "at the end" : "now");
}

/* For the restore: the path, and the copy that then belongs to the artifact. */
static int keep(struct ems_artifact *a, const char *path, struct ems_sqlite_spool **spool,
                struct ems_error *err)
{
    a->database = strdup(path);
    if (a->database == NULL)
        return ems_fail_memory(err);
    a->database_copy = *spool;
    *spool = NULL;
    return EMS_OK;
}

/* The whole of it is in the spool, proven to its end. */
static int check_copy(struct ems_artifact *a, struct ems_sqlite_spool **spool,
                      const struct ems_check_options *o, const char *artifact,
                      struct ems_findings *findings, struct ems_facts *facts, struct ems_error *err)
{
    struct ems_sqlite_options options = {.private_copy = true,
                                         .thorough = o->thorough,
                                         .thorough_below = SMALL,
                                         .tick = o->tick,
                                         .tick_context = o->tick_context};

    int rc;

    note_copy(o, artifact, findings);
    rc = ems_sqlite_check(ems_sqlite_spool_path(*spool), artifact, &options, findings, facts,
                          &a->synapse, err);
    return rc == EMS_OK && o->keep_database ? keep(a, ems_sqlite_spool_path(*spool), spool, err)
                                            : rc;
}

/* ---- in an archive ---- */

struct sqlite_walker {
    struct ems_walker base;
    struct ems_artifact *artifact;
    const struct ems_check_options *options;
    struct ems_sqlite_spool *spool;
    char *database;            /* path of the member that is the database */
    enum ems_sqlite_file file; /* of the member at hand */
    bool ignored;              /* the member at hand is made anew by SQLite (-shm) */
};

/*
 * The first *.db is the database; its journals are what has the same path with SQLite's suffixes.
 * tar packs in the order of the directory, so they may come first.
 */
static bool is_ours(struct sqlite_walker *w, const char *path)
{
    static const struct {
        const char *suffix;
        enum ems_sqlite_file file;
        bool ignored;
    } journals[] = {
        {".db-wal", EMS_SQLITE_FILE_WAL, false},
        {".db-journal", EMS_SQLITE_FILE_JOURNAL, false},
        {".db-shm", EMS_SQLITE_FILE_WAL, true},
    };

    w->ignored = false;
    w->file = EMS_SQLITE_FILE_DATABASE;
    if (ends(path, ".db"))
        return w->database == NULL;
    for (size_t i = 0; i < sizeof journals / sizeof journals[0]; i++) {
        size_t stem = strlen(path) - (strlen(journals[i].suffix) - 3);

        if (!ends(path, journals[i].suffix))
            continue;
        w->file = journals[i].file;
        w->ignored = journals[i].ignored;
        return w->database == NULL ||
               (strlen(w->database) == stem && memcmp(w->database, path, stem) == 0);
    }
    return false;
}

/* Nothing is unpacked before a member is ours: other archives cost no directory. */
static int walker_begin(struct ems_walker *base, const struct ems_tar_member *member, bool *claimed,
                        struct ems_error *err)
{
    struct sqlite_walker *w = (struct sqlite_walker *)base;

    *claimed = member->type == EMS_TAR_FILE && is_ours(w, member->path);
    if (!*claimed || w->ignored)
        return EMS_OK;
    if (w->spool == NULL) {
        w->spool = open_spool(w->options, err);
        if (w->spool == NULL)
            return err->code;
    }
    if (w->file == EMS_SQLITE_FILE_DATABASE) {
        w->database = strdup(member->path);
        if (w->database == NULL)
            return ems_fail_memory(err);
    }
    return ems_sqlite_spool_write(w->spool, w->file, "", 0, err);
}

/* What SQLite makes anew (-shm) is read past: its content is a cache of the WAL's. */
static int walker_data(struct ems_walker *base, const struct ems_span *span, struct ems_error *err)
{
    struct sqlite_walker *w = (struct sqlite_walker *)base;

    if (w->ignored)
        return EMS_OK;
    return ems_sqlite_spool_write(w->spool, w->file, span->data, span->size, err);
}

/* Called when the archive has ended well, and with it the layers below: what SQLite then finds was
 * wrong before the upload was made. */
static int walker_finish(struct ems_walker *base, const char *artifact,
                         struct ems_findings *findings, struct ems_facts *facts,
                         struct ems_error *err)
{
    struct sqlite_walker *w = (struct sqlite_walker *)base;

    if (w->database == NULL) {
        ems_findings_add(findings, EMS_TAR_WRONG_CONTENT, EMS_SEVERITY_ERROR, artifact, NULL,
                         EMS_NOWHERE, NULL,
                         "the archive holds journals of a database, but not the database");
        return EMS_OK;
    }
    return check_copy(w->artifact, &w->spool, w->options, artifact, findings, facts, err);
}

/* The spool is gone by now if a restore goes on with it (keep). */
static void walker_free(struct ems_walker *base)
{
    struct sqlite_walker *w = (struct sqlite_walker *)base;

    ems_sqlite_spool_free(w->spool);
    free(w->database);
    free(w);
}

struct ems_walker *ems_sqlite_walker_open(struct ems_artifact *a, const struct ems_check_options *o,
                                          struct ems_error *err)
{
    static const struct ems_walker_ops ops = {.layer = "sqlite",
                                              .words = "an SQLite homeserver",
                                              .begin = walker_begin,
                                              .data = walker_data,
                                              .finish = walker_finish,
                                              .free = walker_free};
    struct sqlite_walker *w = calloc(1, sizeof *w);

    if (w == NULL) {
        ems_fail_memory(err);
        return NULL;
    }
    w->base.ops = &ops;
    w->artifact = a;
    w->options = o;
    return &w->base;
}

/* ---- by itself ---- */

bool ems_artifact_is_sqlite(const struct ems_artifact *a, const struct ems_chain *chain)
{
    if (a->kind == EMS_KIND_PG_DUMP || chain->content == EMS_CONTENT_TAR)
        return false;
    return a->kind == EMS_KIND_SQLITE || chain->content == EMS_CONTENT_SQLITE;
}

/* The file itself, if it can be given to SQLite as it is: whole, plain, and without a -wal that
 * SQLite would have to write to. */
static const char *plain_path(const struct ems_artifact *a, const struct ems_chain *chain)
{
    const struct ems_part *part = a->set != NULL && a->set->count == 1 ? a->set->parts : NULL;
    char wal[4096];

    if (part == NULL || part->path == NULL || part->member != EMS_PART_NO_MEMBER ||
        chain->encrypted || chain->gzipped)
        return NULL;
    snprintf(wal, sizeof wal, "%s-wal", part->path);
    return access(wal, F_OK) != 0 ? part->path : NULL;
}

/* A journal that lies beside a plain database. Names of an upload are not trusted to be files: a
 * link to a device would be copied until the disk is full. */
static int copy_beside(const struct ems_artifact *a, const char *suffix, enum ems_sqlite_file file,
                       struct ems_sqlite_spool *spool, struct ems_error *err)
{
    char path[4096], *buffer;
    int fd, rc = EMS_OK;
    struct stat st;
    ssize_t n;

    if (a->set == NULL || a->set->count != 1 || a->set->parts[0].path == NULL)
        return EMS_OK;
    snprintf(path, sizeof path, "%s%s", a->set->parts[0].path, suffix);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0 && errno != ELOOP)
        return errno == ENOENT ? EMS_OK : ems_fail_errno(err, errno, "cannot open %s", path);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        if (fd >= 0)
            close(fd);
        return ems_fail(err, EMS_SQLITE_WAL, "%s is no plain file", path);
    }
    buffer = malloc(COPY_SIZE);
    if (buffer == NULL)
        rc = ems_fail_memory(err);
    while (rc == EMS_OK && (n = read(fd, buffer, COPY_SIZE)) != 0)
        rc = n > 0 ? ems_sqlite_spool_write(spool, file, buffer, (size_t)n, err)
                   : ems_fail_errno(err, errno, "cannot read %s", path);
    free(buffer);
    close(fd);
    return rc;
}

/*
 * To the proven end; into spool unless that is NULL. A plain file is read to its end too, although
 * SQLite will read it again: a part that is missing or still arriving must be heard before SQLite
 * calls its lack damage.
 */
static int read_to_end(struct ems_chain *chain, struct ems_sqlite_spool *spool,
                       const struct ems_check_options *o, struct ems_error *err)
{
    struct ems_span span;
    int rc;

    while ((rc = ems_source_next(chain->top, &span, err)) == EMS_OK) {
        if (spool != NULL)
            rc = ems_sqlite_spool_write(spool, EMS_SQLITE_FILE_DATABASE, span.data, span.size, err);
        if (rc == EMS_OK && o->tick != NULL)
            rc = o->tick(o->tick_context, err);
        if (rc != EMS_OK)
            break;
    }
    return rc;
}

/* Findings about the database are about what the customer has to make again, so each error of this
 * run marks the artifact to be sent. */
int ems_artifact_check_sqlite(struct ems_artifact *a, struct ems_chain *chain,
                              const struct ems_check_options *o, struct ems_findings *findings,
                              struct ems_error *err)
{
    const char *path = plain_path(a, chain);
    struct ems_sqlite_options options = {.thorough = o->thorough,
                                         .thorough_below = SMALL,
                                         .tick = o->tick,
                                         .tick_context = o->tick_context};
    struct ems_sqlite_spool *spool = NULL;
    size_t first = findings->count;
    int rc = EMS_OK;

    a->kind = EMS_KIND_SQLITE;
    if (path == NULL) {
        spool = open_spool(o, err);
        rc = spool != NULL ? ems_sqlite_spool_write(spool, EMS_SQLITE_FILE_DATABASE, "", 0, err)
                           : err->code;
    }
    if (rc == EMS_OK)
        rc = read_to_end(chain, spool, o, err);
    a->bytes_out = chain->top->offset;
    if (rc != EMS_END) {
        if (ems_code_exit(rc) != 75)
            rc = ems_chain_settle(chain, err);
        ems_sqlite_spool_free(spool);
        return rc;
    }
    if (path != NULL) {
        rc = ems_sqlite_check(path, a->name, &options, findings, &a->facts, &a->synapse, err);
        if (rc == EMS_OK && o->keep_database)
            rc = keep(a, path, &spool, err);
    } else {
        rc = EMS_OK;
        if (!chain->encrypted && !chain->gzipped)
            rc = copy_beside(a, "-wal", EMS_SQLITE_FILE_WAL, spool, err);
        if (rc == EMS_OK && !chain->encrypted && !chain->gzipped)
            rc = copy_beside(a, "-journal", EMS_SQLITE_FILE_JOURNAL, spool, err);
        if (rc == EMS_OK)
            rc = check_copy(a, &spool, o, a->name, findings, &a->facts, err);
    }
    ems_sqlite_spool_free(spool);
    a->archive_known = rc == EMS_OK;
    for (size_t i = first; i < findings->count; i++) {
        struct ems_finding *f = &findings->items[i];

        if (f->severity != EMS_SEVERITY_ERROR)
            continue;
        f->resend = true;
        if (a->archive.refused == EMS_OK)
            a->archive.refused = f->code;
    }
    return rc == EMS_OK ? EMS_END : rc;
}
