/*
 * artifact.c - one artifact read to its end: what it turns out to hold decides who judges it, and
 * every layer below is heard to its own end whatever that one says; see artifact.h
 */
#include "artifact.h"

#include "artifact_archive.h"
#include "artifact_manifest.h"
#include "artifact_sqlite.h"
#include "artifact_text.h"
#include "manifest_store.h"
#include "media_rows.h"
#include "sqlite_check.h"
#include "synapse_state.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

void ems_artifact_take_chain(struct ems_artifact *a, const struct ems_chain *chain)
{
    a->encrypted = chain->encrypted;
    a->gzipped = chain->gzipped;
    a->content = chain->content;
    a->pgp = chain->pgp;
    a->gzip = chain->gzip;
}

/* ---- recipients ---- */

/* Is it encrypted to the key it should be for, and readable by nobody else? Says so in findings. */
static int check_recipients(struct ems_artifact *a, const struct ems_check_options *o,
                            struct ems_findings *findings, struct ems_error *err)
{
    struct ems_pgp_recipients r = {0};
    struct ems_source *bottom = ems_peek_open(ems_parts_open(a->set, err), err);
    const uint8_t *head;
    size_t have;
    int rc;

    if (bottom == NULL)
        return err->code;
    rc = ems_peek(bottom, EMS_READER_PEEK, &head, &have, err);
    if (rc != EMS_OK || ems_pgp_probe(head, have) != 1) {
        ems_source_free(bottom);
        if (rc == EMS_OK)
            ems_findings_add(findings, EMS_NOT_ENCRYPTED, EMS_SEVERITY_ERROR, a->name, NULL,
                             EMS_NOWHERE, "Encrypt it to the key with gpg --recipient.",
                             "%s is not encrypted at all", a->name);
        return rc;
    }
    rc = ems_pgp_recipients_read(bottom, o->recipient, &r, err);
    if (rc != EMS_OK)
        return rc;
    a->encrypted = true;
    a->for_recipient = r.matching > 0 && r.others + r.anonymous + r.passphrases == 0;
    if (a->for_recipient)
        ems_findings_add(findings, EMS_PGP_NO_KEY, EMS_SEVERITY_NOTE, a->name, NULL, EMS_NOWHERE,
                         "", "encrypted to key %s%s%s, and readable with no other", r.matching_id,
                         r.key_note[0] != '\0' ? ", " : "", r.key_note);
    else if (r.matching == 0)
        ems_findings_add(findings, EMS_PGP_NO_KEY, EMS_SEVERITY_ERROR, a->name, NULL, EMS_NOWHERE,
                         "Encrypt it again, with gpg --recipient and that key.",
                         "not encrypted to the key asked for: %u other keys, %u hidden ones, %u "
                         "passphrases",
                         r.others, r.anonymous, r.passphrases);
    else
        ems_findings_add(findings, EMS_PGP_NO_KEY, EMS_SEVERITY_ERROR, a->name, NULL, EMS_NOWHERE,
                         "Encrypt it again, to that key alone.",
                         "encrypted to key %s, but readable with more: %u other keys, %u hidden "
                         "ones, %u passphrases",
                         r.matching_id, r.others, r.anonymous, r.passphrases);
    return EMS_OK;
}

/* ---- contents ---- */

static int tick(const struct ems_check_options *o, struct ems_error *err)
{
    return o->tick != NULL ? o->tick(o->tick_context, err) : EMS_OK;
}

int ems_artifact_take_facts(struct ems_artifact *a, const struct ems_sqlscan *scan,
                            struct ems_error *err)
{
    const struct ems_sql_facts *facts = ems_sqlscan_facts(scan);

    a->sql = *facts;
    ems_synapse_take_totals(&a->synapse, facts);
    a->sql.table_count = 0;
    a->sql.tables = calloc(facts->table_count + 1, sizeof *facts->tables);
    if (a->sql.tables == NULL)
        return ems_fail_memory(err);
    for (size_t i = 0; i < facts->table_count; i++) {
        a->sql.tables[i] = facts->tables[i];
        a->sql.tables[i].name = strdup(facts->tables[i].name);
        if (a->sql.tables[i].name == NULL)
            return ems_fail_memory(err);
        a->sql.table_count++;
    }
    return EMS_OK;
}

void ems_artifact_judge_dump(const struct ems_artifact *a, struct ems_findings *findings)
{
    if (!ems_synapse_is_homeserver(&a->synapse))
        ems_findings_add(findings, EMS_SQL_NOT_SYNAPSE, EMS_SEVERITY_WARNING, a->name, NULL,
                         EMS_NOWHERE, NULL,
                         "this is a complete dump, but not of a Synapse database: no tables users, "
                         "events and schema_version");
    ems_synapse_judge(&a->synapse, a->name, findings);
}

static int check_sql(struct ems_artifact *a, struct ems_chain *chain,
                     const struct ems_check_options *o, struct ems_findings *findings,
                     struct ems_error *err)
{
    struct ems_sqlscan *scan = ems_sqlscan_open(chain->top, err);
    struct ems_sql_event event;
    int rc;

    if (scan == NULL) {
        chain->top = NULL;
        return err->code;
    }
    a->is_sql = true;
    if (a->kind == EMS_KIND_UNKNOWN)
        a->kind = EMS_KIND_PG_DUMP;
    while ((rc = ems_sqlscan_next(scan, &event, err)) == EMS_OK) {
        rc = ems_synapse_observe(&a->synapse, &event, err);
        if (rc == EMS_OK && o->watch != NULL)
            rc = o->watch(o->watch_context, &event, err);
        if (rc == EMS_OK)
            rc = tick(o, err);
        if (rc != EMS_OK)
            break;
    }
    if (rc != EMS_END && ems_code_exit(rc) != 75)
        rc = ems_chain_settle(chain, err);
    a->bytes_out = chain->top->offset;
    if (ems_artifact_take_facts(a, scan, err) != EMS_OK)
        rc = err->code;
    ems_sqlscan_free(scan);
    chain->top = NULL;
    if (rc == EMS_END)
        ems_artifact_judge_dump(a, findings);
    if (a->synapse.media != NULL)
        ems_media_rows_finish(a->synapse.media);
    return rc;
}

/* Content that no layer above knows: its own end is still demanded of the layers below. */
static int check_unknown(struct ems_artifact *a, struct ems_chain *chain,
                         const struct ems_check_options *o, struct ems_error *err)
{
    struct ems_span span;
    int rc;

    while ((rc = ems_source_next(chain->top, &span, err)) == EMS_OK) {
        rc = tick(o, err);
        if (rc != EMS_OK)
            return rc;
    }
    if (rc != EMS_END && ems_code_exit(rc) != 75)
        rc = ems_chain_settle(chain, err);
    a->bytes_out = chain->top->offset;
    return rc;
}

/* What its name says it must be is what it is held to; another name is what it looks like. A stream
 * has no name: it is taken for a dump. */
static bool is_dump(const struct ems_artifact *a, const struct ems_chain *chain)
{
    if (a->kind == EMS_KIND_PG_DUMP || chain->content == EMS_CONTENT_SQL)
        return true;
    return a->set == NULL && chain->content != EMS_CONTENT_TAR &&
           chain->content != EMS_CONTENT_SQLITE;
}

static int check_content(struct ems_artifact *a, struct ems_chain *chain,
                         const struct ems_check_options *o, struct ems_findings *findings,
                         struct ems_error *err)
{
    if (ems_artifact_is_text(a))
        return ems_artifact_check_text(a, chain, o, findings, err);
    if (ems_artifact_is_archive(a, chain))
        return ems_artifact_check_archive(a, chain, o, findings, err);
    if (ems_artifact_is_sqlite(a, chain))
        return ems_artifact_check_sqlite(a, chain, o, findings, err);
    if (is_dump(a, chain))
        return check_sql(a, chain, o, findings, err);
    return check_unknown(a, chain, o, err);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A file that is shorter than its own first bytes say: no need to read a terabyte to know. */
static bool check_length(struct ems_artifact *a, struct ems_findings *findings)
{
    struct ems_error err = {0};

    if (a->set->split || a->set->expected <= a->set->size)
        return true;
    ems_fail(&err, EMS_PGP_TRUNCATED, "the message ends %llu bytes early: it must have %llu bytes",
             (unsigned long long)(a->set->expected - a->set->size),
             (unsigned long long)a->set->expected);
    err.origin = a->set->size;
    ems_artifact_fail(a, &err, findings);
    return false;
}

/* Spans that are short beside the parts, so that a failure names the right one. Any span is short
 * beside large parts; where there are thousands of small ones, speed comes first. */
static size_t span_for(const struct ems_part_set *set)
{
    uint64_t size = set != NULL && set->split ? set->part_size / 8 : 0;

    if (size == 0 || size >= 256 * 1024 || set->size > 64 * 1024 * 1024)
        return 0;
    return size < 1024 ? 1024 : (size_t)size;
}

static int run_chain(struct ems_artifact *a, struct ems_source *bottom,
                     const struct ems_check_options *o, struct ems_findings *findings,
                     struct ems_error *err)
{
    _Atomic uint64_t counter = 0, *count = o->bytes_in != NULL ? o->bytes_in : &counter;
    uint64_t before = atomic_load(count);
    struct ems_chain_options options = {.secrets = o->secrets,
                                        .allow_no_integrity = o->allow_no_integrity,
                                        .no_threads = o->no_threads,
                                        .bytes_in = count,
                                        .span = span_for(a->set),
                                        .bookmarks = o->bookmarks};
    struct ems_chain chain;
    int rc;

    if (o->digests != NULL && !o->digests->no_inside) {
        options.unlocked = &o->digests->unlocked;
        options.unpacked = &o->digests->unpacked;
    }
    rc = ems_chain_open(&chain, bottom, &options, err);
    if (rc == EMS_OK)
        rc = check_content(a, &chain, o, findings, err);
    ems_artifact_take_chain(a, &chain);
    ems_chain_close(&chain);
    a->bytes_in = atomic_load(count) - before;
    return rc;
}

/* Layer by layer to the end; findings and verdict. */
static int check_layers(struct ems_artifact *a, const struct ems_part_set *set,
                        struct ems_source *stream, const struct ems_check_options *o,
                        struct ems_findings *findings)
{
    struct ems_set_digests *digests = o->digests != NULL ? &o->digests->set : NULL;
    struct ems_error err = {0};
    int rc;

    if (set != NULL && !set->whole) {
        a->verdict = EMS_VERDICT_INCOMPLETE;
        a->error = EMS_PART_MISSING;
        for (size_t i = 0; i < set->count; i++)
            if (set->parts[i].status == EMS_PART_IS_FOREIGN ||
                set->parts[i].status == EMS_PART_IS_CONFLICT)
                a->verdict = EMS_VERDICT_DAMAGED;
        return EMS_OK;
    }
    if (set != NULL && (a->kind == EMS_KIND_MANIFEST || !check_length(a, findings)))
        return EMS_OK;
    if (set != NULL && o->recipient != NULL && !ems_artifact_is_text(a)) {
        rc = check_recipients(a, o, findings, &err);
        if (rc != EMS_OK)
            ems_artifact_fail(a, &err, findings);
        if (rc != EMS_OK || o->recipient_only)
            return rc == EMS_NO_MEMORY ? rc : EMS_OK;
    }
    if (set != NULL)
        stream = digests != NULL ? ems_digest_open(set, digests, false, &err)
                                 : ems_parts_open(set, &err);
    rc = stream != NULL ? run_chain(a, stream, o, findings, &err) : err.code;
    if (rc == EMS_NO_MEMORY)
        return rc;
    if (rc != EMS_END)
        ems_artifact_fail(a, &err, findings);
    else if (a->archive.refused != EMS_OK) {
        a->error = a->archive.refused;
        a->verdict = ems_verdict_of(a->error);
    } else if (a->is_sql || a->archive_known || a->config != NULL || a->signing_keys != NULL)
        a->verdict = EMS_VERDICT_VERIFIED;
    else if (a->kind == EMS_KIND_CONFIG)
        a->verdict = EMS_VERDICT_UNCHECKED; /* YAML of some other program */
    else if (a->kind != EMS_KIND_UNKNOWN || a->encrypted || a->gzipped)
        a->verdict = EMS_VERDICT_UNSUPPORTED;
    ems_artifact_note_message(a, findings);
    if (!a->encrypted && set != NULL && !ems_artifact_is_text(a) &&
        (a->is_sql || a->kind != EMS_KIND_UNKNOWN))
        ems_findings_add(findings, EMS_NOT_ENCRYPTED, EMS_SEVERITY_WARNING, a->name, NULL,
                         EMS_NOWHERE, NULL, "%s is not encrypted", a->name);
    return EMS_OK;
}

int ems_artifact_check(struct ems_artifact *a, const struct ems_part_set *set,
                       struct ems_source *stream, const char *name,
                       const struct ems_check_options *o, struct ems_findings *findings)
{
    struct ems_artifact_digests own = {0};
    struct ems_check_options with = *o;
    size_t first = findings->count;
    double start = now();
    int rc = EMS_OK;

    *a = (struct ems_artifact){
        .verdict = EMS_VERDICT_UNCHECKED, .set = set, .failed_at = EMS_NOWHERE};
    a->name = strdup(set != NULL ? set->name : name);
    if (a->name != NULL)
        a->kind = ems_kind_of_name(a->name);
    if (set != NULL && o->digests == NULL && o->manifest != NULL && a->name != NULL) {
        own.no_inside = !ems_manifest_has_inner(o->manifest, a->name);
        with.digests = &own;
        rc = ems_set_digests_init(&own.set, set, 0, NULL);
    }
    if (a->name == NULL || rc != EMS_OK) {
        ems_source_free(stream);
        return EMS_NO_MEMORY;
    }
    rc = check_layers(a, set, stream, &with, findings);
    if (rc == EMS_OK && set != NULL && o->manifest != NULL) {
        if (ems_manifest_is_name(a->name))
            rc = ems_artifact_match_copy(a, o, findings);
        else
            rc = ems_artifact_match_all(a, with.digests, o, first, findings);
    }
    ems_set_digests_release(&own.set);
    a->elapsed_s = now() - start;
    return rc == EMS_NO_MEMORY ? rc : EMS_OK;
}

void ems_artifact_release(struct ems_artifact *a)
{
    for (size_t i = 0; i < a->sql.table_count; i++)
        free(a->sql.tables[i].name);
    free(a->sql.tables);
    free(a->name);
    free(a->staged);
    free(a->kept);
    free(a->config);
    free(a->signing_keys);
    ems_facts_release(&a->facts);
    ems_facts_release(&a->staged_facts);
    ems_sqlite_spool_free(a->database_copy);
    free(a->database);
    for (size_t i = 0; i < a->left_out_count; i++)
        free(a->left_out[i].table);
    free(a->left_out);
    ems_media_ids_release(&a->media_ids);
    ems_synapse_release(&a->synapse);
    *a = (struct ems_artifact){0};
}
