/*
 * finding.c - see finding.h
 *
 * A finding holds copies, so that it outlives what it speaks of, and printable ones: text from an
 * upload may hold escape sequences for the terminal that it is shown on. Adding never fails for the
 * caller; out_of_memory makes the run end with its status.
 */
#include "finding.h"

#include "bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool copy_name(const char *name, char **copy)
{
    char shown[1024];

    *copy = name != NULL ? strdup(ems_printable(name, strlen(name), shown, sizeof shown)) : NULL;
    return name == NULL || *copy != NULL;
}

static bool copy_advice(const char *text, char **copy)
{
    *copy = text != NULL && text[0] != '\0' ? strdup(text) : NULL;
    return text == NULL || text[0] == '\0' || *copy != NULL;
}

static void finding_release(struct ems_finding *f)
{
    free(f->artifact);
    free(f->part);
    free(f->message);
    free(f->advice);
}

struct ems_finding *ems_findings_add(struct ems_findings *list, int code,
                                     enum ems_severity severity, const char *artifact,
                                     const char *part, uint64_t offset, const char *advice,
                                     const char *message_fmt, ...)
{
    struct ems_finding f = {.code = code, .severity = severity, .offset = offset};
    char message[1024], shown[1200];
    va_list args;
    bool ok;

    if (list->count == list->capacity) {
        size_t capacity = list->capacity > 0 ? 2 * list->capacity : 16;
        struct ems_finding *items = realloc(list->items, capacity * sizeof *items);

        if (items == NULL) {
            list->out_of_memory = true;
            return NULL;
        }
        list->items = items;
        list->capacity = capacity;
    }
    va_start(args, message_fmt);
    vsnprintf(message, sizeof message, message_fmt, args);
    va_end(args);
    f.message = strdup(ems_printable_text(message, strlen(message), shown, sizeof shown));
    ok = f.message != NULL;
    ok &= copy_name(artifact, &f.artifact);
    ok &= copy_name(part, &f.part);
    ok &= copy_advice(advice != NULL ? advice : ems_code_advice(code), &f.advice);
    if (!ok) {
        finding_release(&f);
        list->out_of_memory = true;
        return NULL;
    }
    list->items[list->count] = f;
    return &list->items[list->count++];
}

void ems_findings_move(struct ems_findings *to, struct ems_findings *from)
{
    struct ems_finding *items = realloc(to->items, (to->count + from->count + 1) * sizeof *items);

    to->out_of_memory |= from->out_of_memory || items == NULL;
    if (items != NULL) {
        to->items = items;
        to->capacity = to->count + from->count + 1;
        for (size_t i = 0; i < from->count; i++)
            items[to->count++] = from->items[i];
        from->count = 0;
    }
    ems_findings_release(from);
}

/* The new strings are made first: without memory the finding stays as it was. */
void ems_findings_reword(struct ems_findings *list, size_t index, enum ems_severity severity,
                         const char *advice, const char *message_fmt, ...)
{
    struct ems_finding *f = &list->items[index];
    char message[1024], shown[1200], *new_message, *new_advice = NULL;
    va_list args;

    va_start(args, message_fmt);
    vsnprintf(message, sizeof message, message_fmt, args);
    va_end(args);
    new_message = strdup(ems_printable_text(message, strlen(message), shown, sizeof shown));
    if (new_message == NULL ||
        !copy_advice(advice != NULL ? advice : ems_code_advice(f->code), &new_advice)) {
        free(new_message);
        list->out_of_memory = true;
        return;
    }
    free(f->message);
    free(f->advice);
    f->message = new_message;
    f->advice = new_advice;
    f->severity = severity;
    f->resend = false;
}

void ems_findings_remove(struct ems_findings *list, size_t index, size_t count)
{
    if (count == 0)
        return;
    for (size_t i = index; i < index + count; i++)
        finding_release(&list->items[i]);
    memmove(list->items + index, list->items + index + count,
            (list->count - index - count) * sizeof *list->items);
    list->count -= count;
}

bool ems_findings_split(struct ems_findings *from, size_t index, struct ems_findings *rest)
{
    size_t moved = from->count - index;

    *rest = (struct ems_findings){.items = malloc((moved + 1) * sizeof *rest->items),
                                  .capacity = moved + 1};
    if (rest->items == NULL) {
        *rest = (struct ems_findings){0};
        from->out_of_memory = true;
        return false;
    }
    for (; rest->count < moved; rest->count++)
        rest->items[rest->count] = from->items[index + rest->count];
    from->count = index;
    return true;
}

/* Findings hold printable copies. */
static bool is_of(const struct ems_finding *f, int code, const char *artifact)
{
    char shown[1024];

    if (f->code != code || (f->artifact == NULL) != (artifact == NULL))
        return false;
    return artifact == NULL ||
           strcmp(f->artifact, ems_printable(artifact, strlen(artifact), shown, sizeof shown)) == 0;
}

bool ems_findings_has(const struct ems_findings *list, int code, const char *artifact,
                      const char *message)
{
    char shown[1200];

    ems_printable_text(message, strlen(message), shown, sizeof shown);
    for (size_t i = 0; i < list->count; i++)
        if (is_of(&list->items[i], code, artifact) && strcmp(list->items[i].message, shown) == 0)
            return true;
    return false;
}

void ems_findings_take_back(struct ems_findings *list, int code, const char *artifact,
                            const char *part)
{
    size_t kept = 0;

    for (size_t i = 0; i < list->count; i++) {
        if (is_of(&list->items[i], code, artifact) && strstr(list->items[i].message, part) != NULL)
            finding_release(&list->items[i]);
        else
            list->items[kept++] = list->items[i];
    }
    list->count = kept;
}

int ems_findings_exit(const struct ems_findings *list)
{
    int status = list->out_of_memory ? ems_code_exit(EMS_NO_MEMORY) : 0;

    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].severity == EMS_SEVERITY_ERROR)
            status = ems_exit_worst(status, ems_code_exit(list->items[i].code));
    return status;
}

void ems_findings_release(struct ems_findings *list)
{
    for (size_t i = 0; i < list->count; i++)
        finding_release(&list->items[i]);
    free(list->items);
    *list = (struct ems_findings){0};
}

const char *ems_severity_name(enum ems_severity severity)
{
    static const char *const names[] = {"note", "warning", "error"};

    return names[severity];
}

/* What to do, where the code alone tells; a finding may bring a better one. */
static const struct {
    int code;
    const char *advice;
} advices[] = {
    {EMS_PART_MISSING, "Upload the missing parts."},
    {EMS_PART_TRUNCATED, "Wait if the transfer is still running; else upload this part again."},
    {EMS_PART_EMPTY, "Upload this part again; the transfer failed."},
    {EMS_PART_UNFINISHED, "Wait until the transfer has finished, then run this again."},
    {EMS_PART_STALE, "Delete the parts of the earlier split, or move them out of the folder."},
    {EMS_PART_FOREIGN, "Download or upload this file again; it is not the customer's data."},
    {EMS_PART_CONFLICT, "Keep only the right one of the two files."},
    {EMS_PART_SCHEME, "Put the parts of one split into a folder of their own."},
    {EMS_PGP_NOT_OPENPGP, "Check that this is the file that gpg wrote."},
    {EMS_PGP_TRUNCATED, "Upload the file again; its end is missing."},
    {EMS_PGP_MODIFIED, "Upload the file again; it was changed or damaged on the way."},
    {EMS_PGP_NO_INTEGRITY,
     "Made by an old GnuPG: ask for a new encryption with --force-mdc or a newer gpg, or pass "
     "--allow-no-integrity."},
    {EMS_PGP_PASSPHRASE, "Give the passphrase exactly as gpg got it: of a file the first line "
                         "counts, with blanks at its "
                         "ends and with a byte order mark."},
    {EMS_PGP_NO_KEY, "Give the right secret key with --secret-key."},
    {EMS_PGP_UNSUPPORTED, "Ask for the file to be encrypted with plain gpg --symmetric."},
    {EMS_PGP_MALFORMED, "Upload the file again; if that does not help, encrypt it again."},
    {EMS_PGP_TRAILING, "Check that nothing was appended to the file; upload it again."},
    {EMS_PGP_LIMIT, "This message asks for more than any honest one does; do not use it."},
    {EMS_NOT_ENCRYPTED, "Encrypt uploads as the guide says; change the secrets in this one."},
    {EMS_GZIP_CORRUPT, "Make this export again, and upload it again."},
    {EMS_GZIP_TRUNCATED, "The export was cut before it was encrypted: make it again."},
    {EMS_GZIP_CRC, "Make this export again, and upload it again."},
    {EMS_GZIP_TRAILING, "Make this export again; something was appended to it."},
    {EMS_GZIP_EMPTY, "The export is empty: make it again."},
    {EMS_GZIP_LIMIT, "This file expands far more than any honest one does; do not use it."},
    {EMS_TAR_CORRUPT, "Make this archive again, and upload it again."},
    {EMS_TAR_TRUNCATED, "tar did not finish (disk full?): make the archive again."},
    {EMS_TAR_EMPTY, "Check the path that was given to tar, and make the archive again."},
    {EMS_TAR_WRONG_CONTENT, "Check which directory was archived, and make the archive again."},
    {EMS_SQL_TRUNCATED,
     "pg_dump did not finish (disk full, connection lost?): make the dump again and watch for "
     "errors of pg_dump."},
    {EMS_SQL_REFUSED, "Make the dump with plain pg_dump -O as the guide says, without editing it."},
    {EMS_SQL_MALFORMED, "Make the dump again; if this comes again, the database is damaged."},
    {EMS_SQL_ENCODING, "Make the dump again with pg_dump -O -E UTF8."},
    {EMS_SQL_EMPTY, "pg_dump wrote nothing: make the dump again and watch for its errors."},
    {EMS_SQL_NOT_SYNAPSE, "Check that the right database was dumped."},
    {EMS_SQLITE_CORRUPT, "Stop Synapse, copy the database again, and upload it again."},
    {EMS_SQLITE_NOT_SYNAPSE, "Check that this is the right database."},
    {EMS_CONFIG_MISSING, "Ask for the configuration that the server runs with."},
    {EMS_CONFIG_MALFORMED, "Ask for the configuration that the server runs with."},
    {EMS_CONFIG_SERVER_NAME, "Check with the customer which server this upload is of."},
    {EMS_KEY_MALFORMED, "Ask for the file *.signing.key of the server, unchanged."},
    {EMS_KEY_MISMATCH, "Ask for the key that the server used last."},
    {EMS_SYNAPSE_SERVER_NAME, "Check with the customer which server this upload is of."},
    {EMS_MANIFEST_MALFORMED, "Make the manifest again, and upload it again."},
    {EMS_MANIFEST_TRUNCATED, "Upload the manifest again."},
    {EMS_MANIFEST_MISSING, "Upload this file; wait if the transfer is still running."},
    {EMS_MANIFEST_SIZE, "Wait if the transfer is still running; else upload this file again."},
    {EMS_MANIFEST_DIGEST, "Upload this file again; it was damaged on the way."},
    {EMS_MANIFEST_UNSUPPORTED, "Use a newer version of ems-intake."},
    {EMS_RESTORE_EXISTS,
     "Choose another name with --database; --force replaces what these tools made."},
    {EMS_SERVER_ERROR,
     "Check the server, its disk and its log, and the connection settings, then try again."},
    {EMS_IO_ERROR, "This says nothing against the upload: correct it here, then run it again."},
    {EMS_NO_MEMORY, "Free some memory, then try again."},
    {EMS_INTERNAL, "This is a bug in ems-intake: please report it."},
};

const char *ems_code_advice(int code)
{
    for (size_t i = 0; i < sizeof advices / sizeof advices[0]; i++)
        if (advices[i].code == code)
            return advices[i].advice;
    return NULL;
}
