/*
 * report_json.c - the report as JSON lines, one object a line; see report.h.
 *
 * Scripts read this: members are added, never removed or renamed, and those without a value are
 * null rather than left out. jansson takes the NULL of a value that there was no memory for, so
 * its results are not looked at one by one; without memory for the object or the line, emit fails.
 * Names from the upload are escaped as %HH where they are not printable UTF-8.
 */
#include "report.h"

#include "synapse_state.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* The object as one line; takes over the reference. NULL (out of memory on the way) is an error. */
static int emit(json_t *object, struct ems_buf *out, struct ems_error *err)
{
    char *line = object != NULL ? json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    int rc;

    json_decref(object);
    if (line == NULL)
        return ems_fail_memory(err);
    rc = ems_buf_append(out, line, strlen(line), err);
    if (rc == EMS_OK)
        rc = ems_buf_append(out, "\n", 1, err);
    free(line);
    return rc;
}

/* EMS_NOWHERE, an offset that nobody knows, is null. */
static json_t *number(uint64_t value)
{
    return value == EMS_NOWHERE ? json_null() : json_integer((json_int_t)value);
}

static json_t *name_of(const char *name)
{
    char shown[1024];

    if (name == NULL)
        return json_null();
    return json_string(ems_printable(name, strlen(name), shown, sizeof shown));
}

static json_t *text_or_null(const char *text)
{
    return text != NULL && text[0] != '\0' ? json_string(text) : json_null();
}

static int json_finding(const struct ems_finding *f, struct ems_buf *out, struct ems_error *err)
{
    json_t *o = json_object();

    json_object_set_new(o, "type", json_string("finding"));
    json_object_set_new(o, "code", json_string(ems_code_name(f->code)));
    json_object_set_new(o, "severity", json_string(ems_severity_name(f->severity)));
    json_object_set_new(o, "artifact", text_or_null(f->artifact));
    json_object_set_new(o, "part", text_or_null(f->part));
    json_object_set_new(o, "offset", number(f->offset));
    json_object_set_new(o, "message", json_string(f->message));
    json_object_set_new(o, "advice", text_or_null(f->advice));
    return emit(o, out, err);
}

static json_t *layer_openpgp(const struct ems_artifact *a)
{
    const struct ems_pgp_facts *f = &a->pgp;
    json_t *o = json_object(), *recipients = json_array();

    for (uint32_t i = 0; i < f->recipients && i < EMS_PGP_MAX_RECIPIENTS; i++)
        json_array_append_new(recipients, json_string(f->recipient_ids[i]));
    json_object_set_new(o, "layer", json_string("openpgp"));
    json_object_set_new(o, "container", text_or_null(f->container));
    json_object_set_new(o, "cipher", text_or_null(f->cipher));
    json_object_set_new(o, "integrity", text_or_null(f->integrity));
    json_object_set_new(o, "session_key", text_or_null(f->session_key));
    json_object_set_new(o, "s2k", text_or_null(f->s2k));
    json_object_set_new(o, "compression", text_or_null(f->compression));
    json_object_set_new(o, "recipients", recipients);
    json_object_set_new(o, "key_id", text_or_null(f->key_id));
    json_object_set_new(o, "key_note", text_or_null(f->key_note));
    json_object_set_new(o, "armored", json_boolean(f->armored));
    json_object_set_new(o, "signer", text_or_null(f->signer_id));
    json_object_set_new(o, "file_name", text_or_null(f->file_name));
    return o;
}

static json_t *layer_gzip(const struct ems_artifact *a)
{
    json_t *o = json_object();

    json_object_set_new(o, "layer", json_string("gzip"));
    json_object_set_new(o, "members", number(a->gzip.members));
    json_object_set_new(o, "bytes_in", number(a->gzip.bytes_in));
    json_object_set_new(o, "bytes_out", number(a->gzip.bytes_out));
    return o;
}

static json_t *layer_tar(const struct ems_artifact *a)
{
    json_t *o = json_object();

    json_object_set_new(o, "layer", json_string("tar"));
    json_object_set_new(o, "members", number(a->archive.tar.members));
    json_object_set_new(o, "files", number(a->archive.tar.files));
    json_object_set_new(o, "file_bytes", number(a->archive.tar.file_bytes));
    return o;
}

static json_t *layer_facts(const struct ems_facts *facts)
{
    json_t *o = json_object();

    json_object_set_new(o, "layer", json_string(facts->layer));
    for (size_t i = 0; i < facts->count; i++)
        json_object_set_new(o, facts->items[i].name,
                            facts->items[i].text != NULL ? json_string(facts->items[i].text)
                                                         : number(facts->items[i].number));
    return o;
}

static json_t *synapse_of(const struct ems_synapse *synapse)
{
    json_t *o = json_object();
    char releases[32];

    json_object_set_new(o, "server_name", text_or_null(synapse->server_name));
    json_object_set_new(o, "users", number(synapse->users));
    json_object_set_new(o, "schema_version", number(synapse->schema_version));
    json_object_set_new(o, "compat_version", number(synapse->compat_version));
    ems_synapse_state_releases(synapse, releases, sizeof releases);
    json_object_set_new(o, "releases", text_or_null(releases));
    json_object_set_new(o, "background_updates", number(synapse->background_updates));
    if (synapse->state == NULL)
        return o;
    json_object_set_new(o, "users_without_password", number(synapse->state->passwordless));
    for (unsigned t = 0; t < EMS_TOTAL_COUNT && synapse->state->has_totals; t++)
        json_object_set_new(o, ems_synapse_total_table(t), number(synapse->state->totals[t]));
    return o;
}

static json_t *layer_sql(const struct ems_artifact *a)
{
    json_t *o = json_object(), *tables = json_object(), *skipped = json_object();

    for (size_t i = 0; i < a->sql.table_count; i++)
        json_object_set_new(tables, a->sql.tables[i].name, number(a->sql.tables[i].rows));
    for (size_t i = 0; i < a->sql.skip_reason_count; i++)
        json_object_set_new(skipped, a->sql.skip_reasons[i], number(a->sql.skip_counts[i]));
    json_object_set_new(o, "layer", json_string("sql"));
    json_object_set_new(o, "complete", json_boolean(a->sql.complete));
    json_object_set_new(o, "server_version", text_or_null(a->sql.server_version));
    json_object_set_new(o, "dump_version", text_or_null(a->sql.dump_version));
    json_object_set_new(o, "statements", number(a->sql.statements));
    json_object_set_new(o, "sent", number(a->sql.sent));
    json_object_set_new(o, "settings", number(a->sql.swallowed));
    json_object_set_new(o, "refused", number(a->sql.refused));
    json_object_set_new(o, "rows", number(a->sql.rows));
    json_object_set_new(o, "skipped", skipped);
    json_object_set_new(o, "tables", tables);
    if (!ems_synapse_is_homeserver(&a->synapse))
        return o;
    json_object_set_new(o, "synapse", synapse_of(&a->synapse));
    return o;
}

/* What a restore has made of an SQLite homeserver; of a dump it is what the dump says. */
static json_t *layer_staging(const struct ems_artifact *a)
{
    json_t *o = json_object(), *tables = json_object(), *left = json_object();

    for (size_t i = 0; i < a->sql.table_count; i++)
        json_object_set_new(tables, a->sql.tables[i].name, number(a->sql.tables[i].rows));
    for (size_t i = 0; i < a->left_out_count; i++) {
        json_t *table = json_object();

        json_object_set_new(table, "rows", number(a->left_out[i].rows));
        json_object_set_new(table, "reason", json_string(a->left_out[i].reason));
        json_object_set_new(left, a->left_out[i].table, table);
    }
    json_object_set_new(o, "layer", json_string("staging"));
    json_object_set_new(o, "rows", number(a->sql.rows));
    json_object_set_new(o, "tables", tables);
    json_object_set_new(o, "left_out", left);
    return o;
}

/* How the artifact was cut, and what of it is here. */
static json_t *part_set(const struct ems_part_set *set)
{
    json_t *o = json_object();
    uint64_t counts[EMS_PART_IS_CONFLICT + 1] = {0}, copies = 0;
    char scheme[64];

    for (size_t i = 0; i < set->count; i++) {
        counts[set->parts[i].status]++;
        copies += set->parts[i].copies;
    }
    json_object_set_new(o, "scheme", json_string(ems_part_set_scheme(set, scheme)));
    json_object_set_new(o, "part_size", set->part_size > 0 ? number(set->part_size) : json_null());
    json_object_set_new(o, "size", number(set->size));
    json_object_set_new(o, "expected", set->expected > 0 ? number(set->expected) : json_null());
    json_object_set_new(o, "count", number(set->count));
    json_object_set_new(o, "copies", number(copies));
    for (int i = 0; i <= EMS_PART_IS_CONFLICT; i++)
        json_object_set_new(o, ems_part_status_name((enum ems_part_status)i), number(counts[i]));
    json_object_set_new(o, "whole", json_boolean(set->whole));
    json_object_set_new(o, "proven", json_boolean(set->proven));
    return o;
}

/* The rows of the dump against those of the database. */
static json_t *json_compared(const struct ems_artifact *a)
{
    json_t *o = json_object();

    json_object_set_new(o, "tables", number(a->compared.tables));
    json_object_set_new(o, "rows", number(a->compared.rows));
    json_object_set_new(o, "tables_counted", number(a->compared.counted));
    json_object_set_new(o, "tables_other_form", number(a->compared.other_form));
    return o;
}

static int json_artifact(const struct ems_artifact *a, struct ems_buf *out, struct ems_error *err)
{
    json_t *o = json_object(), *parts = json_array(), *layers = json_array();

    for (size_t i = 0; a->set != NULL && i < a->set->count; i++) {
        const struct ems_part *part = &a->set->parts[i];
        json_t *p = json_object();

        json_object_set_new(p, "name", name_of(part->name));
        json_object_set_new(p, "size", part->path != NULL ? number(part->size) : json_null());
        json_object_set_new(p, "status", json_string(ems_part_status_name(part->status)));
        json_array_append_new(parts, p);
    }
    if (a->encrypted)
        json_array_append_new(layers, layer_openpgp(a));
    if (a->gzipped)
        json_array_append_new(layers, layer_gzip(a));
    if (a->is_sql)
        json_array_append_new(layers, layer_sql(a));
    if (a->is_archive)
        json_array_append_new(layers, layer_tar(a));
    if (a->facts.layer != NULL)
        json_array_append_new(layers, layer_facts(&a->facts));
    if (!a->is_sql && a->staged != NULL)
        json_array_append_new(layers, layer_staging(a));
    if (a->staged_facts.layer != NULL && a->staged != NULL)
        json_array_append_new(layers, layer_facts(&a->staged_facts));
    json_object_set_new(o, "type", json_string("artifact"));
    json_object_set_new(o, "name", name_of(a->name));
    json_object_set_new(o, "kind", json_string(ems_kind_name(a->kind)));
    json_object_set_new(o, "verdict", json_string(ems_verdict_name(a->verdict)));
    json_object_set_new(o, "bytes_in", number(a->bytes_in));
    json_object_set_new(o, "bytes_out", number(a->bytes_out));
    json_object_set_new(o, "parts", parts);
    if (a->set != NULL && a->set->split)
        json_object_set_new(o, "set", part_set(a->set));
    json_object_set_new(o, "layers", layers);
    if (a->in_manifest)
        json_object_set_new(o, "manifest", json_string("proven"));
    if (a->staged != NULL)
        json_object_set_new(o, "database", json_string(a->staged));
    if (a->kept != NULL)
        json_object_set_new(o, "kept_database", json_string(a->kept));
    if (a->compared.done)
        json_object_set_new(o, "compared", json_compared(a));
    return emit(o, out, err);
}

static int json_summary(const struct ems_report *report, struct ems_buf *out, struct ems_error *err)
{
    int status = ems_report_exit(report);
    const char *verdict = status == 0   ? "verified"
                          : status == 1 ? "damaged"
                          : status == 3 ? "incomplete"
                          : status == 4 ? "undecryptable"
                          : status == 5 ? "unsupported"
                                        : "unchecked";
    json_t *o = json_object(), *resend = json_array();
    char **names = ems_report_resend(report);
    uint64_t counts[3] = {0};

    if (names == NULL) {
        json_decref(o);
        json_decref(resend);
        return ems_fail_memory(err);
    }
    for (size_t i = 0; names[i] != NULL; i++) {
        json_array_append_new(resend, json_string(names[i]));
        free(names[i]);
    }
    free(names);
    for (size_t i = 0; i < report->findings.count; i++)
        counts[report->findings.items[i].severity]++;
    json_object_set_new(o, "type", json_string("summary"));
    json_object_set_new(o, "verdict", json_string(verdict));
    json_object_set_new(o, "exit", json_integer(status));
    json_object_set_new(o, "artifacts", number(report->count));
    json_object_set_new(o, "errors", number(counts[EMS_SEVERITY_ERROR]));
    json_object_set_new(o, "warnings", number(counts[EMS_SEVERITY_WARNING]));
    json_object_set_new(o, "elapsed_s", json_real(report->elapsed_s));
    json_object_set_new(o, "resend", resend);
    json_object_set_new(o, "tool", json_string(report->tool));
    json_object_set_new(o, "version", json_string(EMS_VERSION));
    return emit(o, out, err);
}

int ems_report_json(const struct ems_report *report, struct ems_buf *out, struct ems_error *err)
{
    int rc = EMS_OK;

    for (size_t i = 0; i < report->findings.count && rc == EMS_OK; i++)
        rc = json_finding(&report->findings.items[i], out, err);
    for (size_t i = 0; i < report->count && rc == EMS_OK; i++)
        rc = json_artifact(&report->artifacts[i], out, err);
    return rc != EMS_OK ? rc : json_summary(report, out, err);
}

int ems_report_json_progress(const char *artifact, const char *layer, uint64_t done, uint64_t total,
                             double rate, struct ems_buf *out, struct ems_error *err)
{
    json_t *o = json_object();

    json_object_set_new(o, "type", json_string("progress"));
    json_object_set_new(o, "artifact", name_of(artifact));
    json_object_set_new(o, "layer", json_string(layer));
    json_object_set_new(o, "bytes_done", number(done));
    json_object_set_new(o, "bytes_total", total > 0 ? number(total) : json_null());
    json_object_set_new(o, "rate", json_real(rate));
    json_object_set_new(o, "eta_s",
                        total > done && rate > 0 ? json_real((double)(total - done) / rate)
                                                 : json_null());
    return emit(o, out, err);
}
