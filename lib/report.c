/* report.c - the report as a whole, and as text; see report.h. JSON is in report_json.c. */
#include "report.h"

#include "synapse_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ems_artifact *ems_report_add(struct ems_report *report)
{
    if (report->count == report->capacity) {
        size_t capacity = report->capacity > 0 ? 2 * report->capacity : 8;
        struct ems_artifact *items = realloc(report->artifacts, capacity * sizeof *items);

        if (items == NULL)
            return NULL;
        report->artifacts = items;
        report->capacity = capacity;
    }
    report->artifacts[report->count] = (struct ems_artifact){0};
    return &report->artifacts[report->count++];
}

void ems_report_release(struct ems_report *report)
{
    for (size_t i = 0; i < report->count; i++)
        ems_artifact_release(&report->artifacts[i]);
    free(report->artifacts);
    ems_findings_release(&report->findings);
}

/* What a person put beside the export is not ours to judge; an artifact of the guide is. */
static bool is_bystander(const struct ems_artifact *a)
{
    return a->verdict == EMS_VERDICT_UNCHECKED && a->error == EMS_OK;
}

int ems_report_exit(const struct ems_report *report)
{
    int status = ems_findings_exit(&report->findings);
    bool anything = false;

    for (size_t i = 0; i < report->count; i++) {
        anything |= report->artifacts[i].verdict == EMS_VERDICT_VERIFIED ||
                    report->artifacts[i].for_recipient;
        if (report->artifacts[i].verdict == EMS_VERDICT_UNSUPPORTED)
            status = ems_exit_worst(status, 5);
    }
    /* No silent success: where nothing was verified there is nothing to be glad about. */
    if (status == 0 && !anything)
        status = 5;
    return status;
}

struct wanted {
    const char *name;
    size_t order; /* as found */
};

static int compare_wanted(const void *a, const void *b)
{
    const struct wanted *x = a, *y = b;
    int c = strcmp(x->name, y->name);

    return c != 0 ? c : x->order < y->order ? -1 : x->order > y->order;
}

/* The order of the findings: that of the artifacts, and of the parts in each. */
static int compare_order(const void *a, const void *b)
{
    const struct wanted *x = a, *y = b;

    return x->order < y->order ? -1 : x->order > y->order;
}

/* A whole set may be missing: sorted by name to find what is there twice, then by order again. */
char **ems_report_resend(const struct ems_report *report)
{
    const struct ems_findings *f = &report->findings;
    char **names = calloc(f->count + 1, sizeof *names);
    struct wanted *wanted = calloc(f->count + 1, sizeof *wanted);
    size_t n = 0, kept = 0;
    bool ok = names != NULL && wanted != NULL;

    for (size_t i = 0; ok && i < f->count; i++) {
        const char *name = f->items[i].part != NULL ? f->items[i].part : f->items[i].artifact;

        if (name != NULL && f->items[i].resend)
            wanted[n++] = (struct wanted){.name = name, .order = i};
    }
    if (n > 1)
        qsort(wanted, n, sizeof *wanted, compare_wanted);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp(wanted[i].name, wanted[kept - 1].name) != 0)
            wanted[kept++] = wanted[i];
    if (kept > 1)
        qsort(wanted, kept, sizeof *wanted, compare_order);
    for (size_t i = 0; i < kept && ok; i++)
        ok = (names[i] = strdup(wanted[i].name)) != NULL;
    free(wanted);
    if (ok)
        return names;
    for (size_t i = 0; names != NULL && i < kept; i++)
        free(names[i]);
    free(names);
    return NULL;
}

/* Powers of 1000, as disks and providers count; three digits at most, rounded before the unit is
 * chosen, so that there is no "1000 kB". */
char *ems_human_bytes(uint64_t bytes, char *out)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB", "PB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 999.5 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1000;
        unit++;
    }
    snprintf(out, 32, unit == 0 || value >= 99.95 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return out;
}

char *ems_human_seconds(double seconds, char *out)
{
    unsigned long s = seconds > 0 && seconds < 1e9 ? (unsigned long)(seconds + 0.5) : 0;

    if (s < 60 && seconds < 10)
        snprintf(out, 32, "%.1f s", seconds);
    else if (s < 60)
        snprintf(out, 32, "%lu s", s);
    else if (s < 3600)
        snprintf(out, 32, "%lu min %lu s", s / 60, s % 60);
    else
        snprintf(out, 32, "%lu h %lu min", s / 3600, s % 3600 / 60);
    return out;
}

/* ---- text ---- */

struct paint {
    const char *good, *bad, *warn, *plain;
};

static const struct paint no_paint = {"", "", "", ""};
static const struct paint ansi = {"\033[32m", "\033[1;31m", "\033[33m", "\033[0m"};

static const char *shown_name(const char *name, char *buffer, size_t size)
{
    return ems_printable(name, strlen(name), buffer, size);
}

static const char *kind_words(const struct ems_artifact *a)
{
    static const char *const words[] = {"PostgreSQL dump",   "SQLite database", "media export",
                                        "media store",       "configuration",   "signing key",
                                        "checksum manifest", "other file"};

    return words[a->kind];
}

/* "PostgreSQL dump, 10 parts, 12.3 MB > 41.0 MB, 175 tables, 12345 rows" */
static int text_facts(const struct ems_artifact *a, struct ems_buf *out, struct ems_error *err)
{
    char in[32], plain[32];
    int rc = ems_buf_printf(out, err, "    %s", kind_words(a));

    if (rc == EMS_OK && a->set != NULL && a->set->split)
        rc = ems_buf_printf(out, err, ", %zu parts", a->set->count);
    if (rc == EMS_OK && a->bytes_in > 0)
        rc = ems_buf_printf(out, err, ", %s", ems_human_bytes(a->bytes_in, in));
    else if (rc == EMS_OK && a->set != NULL)
        rc = ems_buf_printf(out, err, ", %s", ems_human_bytes(a->set->size, in));
    if (rc == EMS_OK && a->bytes_out > 0)
        rc = ems_buf_printf(out, err, " (%s inside)", ems_human_bytes(a->bytes_out, plain));
    if (rc == EMS_OK && a->encrypted && a->pgp.cipher != NULL)
        rc = ems_buf_printf(out, err, ", %s", a->pgp.cipher);
    if (rc == EMS_OK && a->is_sql && a->sql.complete)
        rc = ems_buf_printf(out, err, ", %zu tables, %llu rows", a->sql.table_count,
                            (unsigned long long)a->sql.rows);
    if (rc == EMS_OK && a->is_archive)
        rc = ems_buf_printf(out, err, ", %llu members", (unsigned long long)a->archive.tar.members);
    if (rc == EMS_OK)
        rc = ems_buf_append(out, "\n", 1, err);
    if (rc == EMS_OK && a->facts.summary[0] != '\0')
        rc = ems_buf_printf(out, err, "    %s\n", a->facts.summary);
    if (rc != EMS_OK || !ems_synapse_is_homeserver(&a->synapse))
        return rc;
    rc = ems_buf_printf(out, err, "    Synapse homeserver %s, %llu users",
                        a->synapse.server_name[0] != '\0' ? a->synapse.server_name : "(no users)",
                        (unsigned long long)a->synapse.users);
    if (rc == EMS_OK && a->synapse.schema_version > 0) {
        char releases[32];

        rc = ems_buf_printf(out, err, ", schema %u", a->synapse.schema_version);
        ems_synapse_state_releases(&a->synapse, releases, sizeof releases);
        if (rc == EMS_OK && releases[0] != '\0')
            rc = ems_buf_printf(out, err, " (Synapse %s)", releases);
    }
    return rc != EMS_OK ? rc : ems_buf_append(out, "\n", 1, err);
}

static int text_tables(const struct ems_artifact *a, struct ems_buf *out, struct ems_error *err)
{
    int rc = EMS_OK;

    for (size_t i = 0; i < a->sql.table_count && rc == EMS_OK; i++)
        rc = ems_buf_printf(out, err, "        %-50s %12llu rows\n", a->sql.tables[i].name,
                            (unsigned long long)a->sql.tables[i].rows);
    if (rc == EMS_OK && a->sql.statements > 0)
        rc = ems_buf_printf(out, err,
                            "        %llu statements: %llu to be sent, %llu session settings, %llu "
                            "left out, %llu refused\n",
                            (unsigned long long)a->sql.statements, (unsigned long long)a->sql.sent,
                            (unsigned long long)a->sql.swallowed,
                            (unsigned long long)a->sql.skipped, (unsigned long long)a->sql.refused);
    for (size_t i = 0; i < a->sql.skip_reason_count && rc == EMS_OK; i++)
        rc = ems_buf_printf(out, err, "        left out: %llu x %s\n",
                            (unsigned long long)a->sql.skip_counts[i], a->sql.skip_reasons[i]);
    for (size_t i = 0; i < a->left_out_count && rc == EMS_OK; i++)
        rc = ems_buf_printf(out, err, "        left out: %s, %llu rows: %s\n", a->left_out[i].table,
                            (unsigned long long)a->left_out[i].rows, a->left_out[i].reason);
    return rc;
}

static int text_finding(const struct ems_finding *f, const struct paint *p, struct ems_buf *out,
                        struct ems_error *err)
{
    const char *paint = f->severity == EMS_SEVERITY_ERROR     ? p->bad
                        : f->severity == EMS_SEVERITY_WARNING ? p->warn
                                                              : "";
    int rc =
        ems_buf_printf(out, err, "    %s%s%s: %s [%s]\n", paint, ems_severity_name(f->severity),
                       p->plain, f->message, ems_code_name(f->code));

    if (rc == EMS_OK && f->advice != NULL)
        rc = ems_buf_printf(out, err, "        %s\n", f->advice);
    return rc;
}

static int text_findings(const struct ems_report *report, const char *artifact,
                         const struct paint *p, struct ems_buf *out, struct ems_error *err)
{
    const struct ems_findings *list = &report->findings;
    int rc = EMS_OK;

    for (size_t i = 0; i < list->count && rc == EMS_OK; i++) {
        const char *whose = list->items[i].artifact;
        bool mine = artifact == NULL ? whose == NULL : whose != NULL && !strcmp(whose, artifact);

        if (artifact == NULL && whose != NULL) { /* of a file that could not even be listed */
            char shown[1024];

            mine = true;
            for (size_t k = 0; k < report->count && mine; k++)
                mine =
                    strcmp(whose, shown_name(report->artifacts[k].name, shown, sizeof shown)) != 0;
        }
        if (mine)
            rc = text_finding(&list->items[i], p, out, err);
    }
    return rc;
}

/* The rows of the dump against those of the database. */
static int text_compared(const struct ems_artifact *a, struct ems_buf *out, struct ems_error *err)
{
    int rc = ems_buf_printf(out, err, "    compared with the database: %llu rows of %llu tables",
                            (unsigned long long)a->compared.rows,
                            (unsigned long long)a->compared.tables);

    if (rc == EMS_OK && a->compared.other_form > 0)
        rc = ems_buf_printf(out, err, " (%llu written in another form)",
                            (unsigned long long)a->compared.other_form);
    if (rc == EMS_OK && a->compared.counted > 0)
        rc = ems_buf_printf(out, err, "; of %llu tables only the number of rows",
                            (unsigned long long)a->compared.counted);
    return rc == EMS_OK ? ems_buf_append(out, "\n", 1, err) : rc;
}

static int text_artifact(const struct ems_report *report, const struct ems_artifact *a,
                         bool verbose, const struct paint *p, struct ems_buf *out,
                         struct ems_error *err)
{
    const char *paint = a->verdict == EMS_VERDICT_VERIFIED ? p->good
                        : is_bystander(a)                  ? ""
                                                           : p->bad;
    char shown[1024];
    int rc;

    shown_name(a->name, shown, sizeof shown);
    rc = ems_buf_printf(out, err, "%s: %s%s%s\n", shown, paint, ems_verdict_name(a->verdict),
                        p->plain);
    if (rc == EMS_OK)
        rc = text_facts(a, out, err);
    if (rc == EMS_OK && verbose)
        rc = text_tables(a, out, err);
    if (rc == EMS_OK && a->staged != NULL)
        rc = ems_buf_printf(out, err, "    restored into database %s\n", a->staged);
    if (rc == EMS_OK && a->compared.done)
        rc = text_compared(a, out, err);
    if (rc == EMS_OK && a->kept != NULL)
        rc = ems_buf_printf(out, err, "    unfinished, kept as database %s\n", a->kept);
    if (rc == EMS_OK && a->staged != NULL && a->staged_facts.summary[0] != '\0')
        rc = ems_buf_printf(out, err, "    %s\n", a->staged_facts.summary);
    if (rc == EMS_OK && a->staged != NULL && !a->is_sql)
        rc = ems_buf_printf(out, err, "    %zu tables, %llu rows\n", a->sql.table_count,
                            (unsigned long long)a->sql.rows);
    return rc != EMS_OK ? rc : text_findings(report, shown, p, out, err);
}

static const char *closing_words(int status)
{
    switch (status) {
    case 0:
        return "everything is in order";
    case 1:
        return "damaged or refused: the customer must send again";
    case 3:
        return "incomplete: wait, or ask the customer to send what is missing";
    case 4:
        return "cannot be decrypted";
    case 5:
        return "not supported";
    case 75:
        return "could not be finished here; try again";
    default:
        return "internal error";
    }
}

int ems_report_text(const struct ems_report *report, bool verbose, bool color, struct ems_buf *out,
                    struct ems_error *err)
{
    const struct paint *p = color ? &ansi : &no_paint;
    int status = ems_report_exit(report), rc = EMS_OK;
    char **resend, elapsed[32];

    for (size_t i = 0; i < report->count && rc == EMS_OK; i++)
        rc = text_artifact(report, &report->artifacts[i], verbose, p, out, err);
    if (rc == EMS_OK)
        rc = text_findings(report, NULL, p, out, err);
    resend = ems_report_resend(report);
    if (resend == NULL)
        return ems_fail_memory(err);
    if (rc == EMS_OK && resend[0] != NULL)
        rc = ems_buf_printf(out, err, "to be sent again:\n");
    for (size_t i = 0; resend[i] != NULL; i++) {
        if (rc == EMS_OK)
            rc = ems_buf_printf(out, err, "    %s\n", resend[i]);
        free(resend[i]);
    }
    free(resend);
    if (rc == EMS_OK)
        rc = ems_buf_printf(out, err, "%sresult: %s%s (%s)\n", status == 0 ? p->good : p->bad,
                            closing_words(status), p->plain,
                            ems_human_seconds(report->elapsed_s, elapsed));
    return rc;
}
