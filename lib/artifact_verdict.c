/*
 * artifact_verdict.c - what an artifact should be by its name, and how a failure of the chain is
 * told: with the part that holds the byte where it happened, and whether sending that part again
 * would help; see artifact.h
 */
#include "artifact.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ---- */

static bool begins(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool ends(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);

    return n >= m && strcmp(name + n - m, suffix) == 0;
}

enum ems_kind ems_kind_of_name(const char *name)
{
    static const struct {
        const char *prefix;
        enum ems_kind kind;
    } guide[] = {
        {"customer_db_export.sql", EMS_KIND_PG_DUMP},
        {"homeserver.db", EMS_KIND_SQLITE},
        {"customer_media_export.", EMS_KIND_MEDIA_EXPORT},
        {"customer_backup_media_export.", EMS_KIND_MEDIA_STORE},
        {"ems-upload.sha256", EMS_KIND_MANIFEST},
    };

    if (ends(name, "-wal") || ends(name, "-shm") || ends(name, "-journal"))
        return EMS_KIND_UNKNOWN; /* read with the SQLite database that it lies beside */
    for (size_t i = 0; i < sizeof guide / sizeof guide[0]; i++)
        if (begins(name, guide[i].prefix))
            return guide[i].kind;
    if (ends(name, ".signing.key") || ends(name, ".signing.key.gpg"))
        return EMS_KIND_SIGNING_KEY;
    if (ends(name, ".yaml") || ends(name, ".yml") || ends(name, ".yaml.gpg"))
        return EMS_KIND_CONFIG;
    if (strstr(name, ".sql") != NULL)
        return EMS_KIND_PG_DUMP;
    return EMS_KIND_UNKNOWN;
}

const char *ems_kind_name(enum ems_kind kind)
{
    static const char *const names[] = {"pg-dump", "sqlite",      "media-export", "media-store",
                                        "config",  "signing-key", "manifest",     "unknown"};

    return names[kind];
}

const char *ems_verdict_name(enum ems_verdict verdict)
{
    static const char *const names[] = {"verified",      "damaged",     "incomplete",
                                        "undecryptable", "unsupported", "unchecked"};

    return names[verdict];
}

enum ems_verdict ems_verdict_of(int code)
{
    switch (ems_code_exit(code)) {
    case 0:
        return EMS_VERDICT_VERIFIED;
    case 3:
        return EMS_VERDICT_INCOMPLETE;
    case 4:
        return EMS_VERDICT_UNDECRYPTABLE;
    case 5:
        return EMS_VERDICT_UNSUPPORTED;
    case 1:
        return EMS_VERDICT_DAMAGED;
    default:
        return EMS_VERDICT_UNCHECKED; /* our trouble, not the upload's */
    }
}

/* ---- failures ---- */

/* Does this failure mean that bytes were lost or changed between the customer and here? Then the
 * part at fault is named; a bad dump inside an intact message is not mended by sending it again. */
static bool is_transport_damage(int code)
{
    switch (code) {
    case EMS_PGP_NOT_OPENPGP:
    case EMS_PGP_TRUNCATED:
    case EMS_PGP_MODIFIED:
    case EMS_PGP_MALFORMED:
    case EMS_PGP_TRAILING:
        return true;
    default:
        return false;
    }
}

/* The same, or damage to something that was not encrypted, so that nothing told the two apart. */
static bool may_be_transport(const struct ems_artifact *a, int code)
{
    return is_transport_damage(code) || (!a->encrypted && ems_code_exit(code) == 1);
}

/* No byte can be pointed at: what would help to. */
static const char no_witness[] =
    "Nothing says which part it is, so all would have to be sent again; checksums from where the "
    "file was encrypted (ems-manifest create, or sha256sum) would name the part.";

/*
 * The message goes on where the parts end. Behind a last part of full size parts are missing; a
 * shorter last part was itself cut on the way.
 */
static void fail_cut_set(struct ems_artifact *a, const struct ems_error *failure,
                         struct ems_findings *findings)
{
    const struct ems_part_set *set = a->set;
    const struct ems_part *last = &set->parts[set->count - 1];
    char *next = NULL;
    struct ems_finding *f;

    a->verdict = EMS_VERDICT_INCOMPLETE;
    if (last->size < set->part_size) {
        a->error = EMS_PART_TRUNCATED;
        f = ems_findings_add(findings, a->error, EMS_SEVERITY_ERROR, a->name, last->name,
                             last->size, NULL, "%s is cut: %s", last->name, failure->text);
    } else {
        a->error = EMS_PART_MISSING;
        next = ems_part_set_name(set, last->rank + 1);
        f = ems_findings_add(findings, a->error, EMS_SEVERITY_ERROR, a->name, next, EMS_NOWHERE,
                             "Upload the parts that follow the last one that is here.",
                             "%s is missing, and perhaps more after it: %s",
                             next != NULL ? next : "the next part", failure->text);
        free(next);
    }
    if (f != NULL)
        f->resend = true;
}

void ems_artifact_fail(struct ems_artifact *a, const struct ems_error *failure,
                       struct ems_findings *findings)
{
    const struct ems_part_set *set = a->set;
    const struct ems_part *part = NULL;
    uint64_t offset = failure->origin;
    int code = failure->code;
    struct ems_finding *f;
    char where[400] = "";

    a->error = code;
    a->failed_at = failure->origin;
    a->verdict = ems_verdict_of(code);
    if (set != NULL)
        part = ems_parts_locate(set, failure->origin, &offset);
    if (code == EMS_PGP_TRUNCATED && set != NULL && set->split) {
        fail_cut_set(a, failure, findings);
        return;
    }
    if (code == EMS_SQL_REFUSED || code == EMS_SQL_TRUNCATED || code == EMS_SQL_EMPTY ||
        code == EMS_RESTORE_FAILED || code == EMS_TAR_EMPTY ||
        code == EMS_TAR_WRONG_CONTENT) { /* the message names the line: no byte of a file is bad */
        part = NULL;
        offset = EMS_NOWHERE;
    }
    if (code == EMS_PART_UNFINISHED)
        offset = EMS_NOWHERE; /* the whole file is meant */
    else if (part != NULL && set->split && may_be_transport(a, code))
        snprintf(where, sizeof where, " (suspected: the first error is at byte %llu of %s)",
                 (unsigned long long)offset, part->name);
    else if (part != NULL)
        snprintf(where, sizeof where, " (at byte %llu of %s)", (unsigned long long)offset,
                 part->name);
    else if (offset != EMS_NOWHERE)
        snprintf(where, sizeof where, " (at byte %llu)", (unsigned long long)offset);
    f = ems_findings_add(findings, code, EMS_SEVERITY_ERROR, a->name,
                         part != NULL ? part->name : NULL, offset, NULL, "%s%s", failure->text,
                         where);
    if (f != NULL)
        f->resend =
            is_transport_damage(code) || ems_code_exit(code) == 1 || code == EMS_PART_UNFINISHED;
    /* A damaged message without an early witness: its end is no sign of which part was hit. */
    if (f != NULL && code == EMS_PGP_MODIFIED && set != NULL && set->split &&
        (part == NULL || part == &set->parts[set->count - 1])) {
        free(f->part);
        f->part = NULL;
        ems_findings_reword(findings, findings->count - 1, EMS_SEVERITY_ERROR, no_witness, "%s",
                            failure->text);
        f->offset = EMS_NOWHERE;
        f->resend = true;
    }
    /* A bad export inside an intact message: the artifact is to be made again, no part of it. */
    if (f != NULL && f->resend && !is_transport_damage(code) && a->encrypted) {
        free(f->part);
        f->part = NULL;
    }
}

/* ---- what the message's packets say besides ---- */

void ems_artifact_note_message(const struct ems_artifact *a, struct ems_findings *findings)
{
    const struct ems_pgp_facts *f = &a->pgp;

    if (f->key_note[0] != '\0')
        ems_findings_add(findings, EMS_PGP_NO_KEY, EMS_SEVERITY_NOTE, a->name, NULL, EMS_NOWHERE,
                         "Give the customer the current key next time.", "key %s is %s", f->key_id,
                         f->key_note);
    if (f->signer_id[0] != '\0')
        ems_findings_add(findings, EMS_PGP_UNSUPPORTED, EMS_SEVERITY_NOTE, a->name, NULL,
                         EMS_NOWHERE, "", "signed by %s, not checked", f->signer_id);
    if (f->text_mode)
        ems_findings_add(findings, EMS_PGP_UNSUPPORTED, EMS_SEVERITY_NOTE, a->name, NULL,
                         EMS_NOWHERE, "",
                         "encrypted in text mode: line ends may not be those of the original file");
    if (f->weak_session_key)
        ems_findings_add(findings, EMS_PGP_MALFORMED, EMS_SEVERITY_WARNING, a->name, NULL,
                         EMS_NOWHERE, "Tell the customer: anybody could have read this file.",
                         "the session key is all zero: the program that encrypted this is broken");
    if (f->integrity != NULL && strcmp(f->integrity, "none") == 0)
        ems_findings_add(findings, EMS_PGP_NO_INTEGRITY, EMS_SEVERITY_WARNING, a->name, NULL,
                         EMS_NOWHERE, NULL,
                         "read without integrity protection: a change on the way would not show");
}
