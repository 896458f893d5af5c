/*
 * part_report.c - what is wrong with a set, in words; see part_set.h.
 *
 * Each message says whether the fault is proven (by numbering, size, content or framing) or
 * suspected. `resend` is set on the files that mend the set and on no other.
 */
#include "part_set.h"

#include <stdarg.h>
#include <stdio.h>

#define MAX_NOTES 20u

static unsigned long long ull(uint64_t n)
{
    return (unsigned long long)n;
}

void ems_part_report_note(struct ems_part_build *b, int code, const char *part, const char *fmt,
                          ...)
{
    char text[1024];
    va_list args;

    if (b->notes++ >= MAX_NOTES)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    ems_findings_add(b->findings, code, EMS_SEVERITY_NOTE, b->set->name, part, EMS_NOWHERE, NULL,
                     "%s", text);
}

static void fault(struct ems_part_build *b, int code, const struct ems_part *part, uint64_t offset,
                  const char *advice, const char *text)
{
    struct ems_finding *f = ems_findings_add(b->findings, code, EMS_SEVERITY_ERROR, b->set->name,
                                             part->name, offset, advice, "%s", text);

    if (f != NULL)
        f->resend = true;
}

/* split --numeric-suffixes=1: nothing shows it where the first part is lost or no data. */
static bool may_begin_at_one(const struct ems_part_build *b)
{
    const struct ems_part_set *set = b->set;

    return set->form == EMS_NAME_PART && set->alphabet != EMS_PART_LETTERS && b->count > 0 &&
           !(b->files[0].rank == 1 && ems_part_is_plausible(&b->files[0]));
}

static void report_missing(struct ems_part_build *b, const struct ems_part *part, bool behind)
{
    const struct ems_part_set *set = b->set;
    char text[600];

    if (!behind && part->rank == 0 && may_begin_at_one(b))
        snprintf(
            text, sizeof text,
            "%s is missing (suspected: the numbering may also begin at 1, which only an intact "
            "first part tells)",
            part->name);
    else if (!behind)
        snprintf(text, sizeof text, "%s is missing (proven: parts behind it are here)", part->name);
    else if (set->expected > 0)
        snprintf(text, sizeof text, "%s is missing (proven: the message states %llu bytes)",
                 part->name, ull(set->expected));
    else
        snprintf(text, sizeof text,
                 "%s is missing, and perhaps more (proven: the message goes on for at least %llu "
                 "bytes)",
                 part->name, ull(set->at_least - set->size));
    fault(b, EMS_PART_MISSING, part, EMS_NOWHERE, NULL, text);
}

static void report_truncated(struct ems_part_build *b, const struct ems_part *part, bool last)
{
    const struct ems_part_set *set = b->set;
    uint64_t must, at_most;
    char text[700];

    ems_part_sizes_limits(set, part->rank, b->last, &must, &at_most);
    if (part->suspect && set->expected > 0)
        snprintf(text, sizeof text,
                 "%s may be cut (suspected: the parts have %llu bytes, the message states %llu, "
                 "and nothing says which of them is short)",
                 part->name, ull(set->size), ull(set->expected));
    else if (set->split && must == 0 && set->expected > 0)
        snprintf(text, sizeof text,
                 "%s ends %llu bytes early: it is cut, or the parts behind it are missing",
                 part->name, ull(set->expected - part->size));
    else if (set->at_least > 0)
        snprintf(text, sizeof text,
                 "%s is cut (proven: the message goes on for at least %llu bytes)", part->name,
                 ull(set->at_least - set->size));
    else if (set->expected > 0 || last)
        snprintf(text, sizeof text, "%s is cut (proven: it has %llu of %llu bytes)", part->name,
                 ull(part->size), ull(must));
    else
        snprintf(text, sizeof text,
                 "%s has %llu bytes, other parts %llu: it is cut (or it ends a newer, shorter "
                 "split, and what lies behind it is older)",
                 part->name, ull(part->size), ull(must));
    fault(b, EMS_PART_TRUNCATED, part, part->size, NULL, text);
}

static void report_foreign(struct ems_part_build *b, const struct ems_part *part)
{
    const struct ems_part_set *set = b->set;
    const char *name = part->file != NULL ? part->file : part->name;
    const char *advice = NULL;
    uint64_t must, at_most, offset = 0;
    char text[700];

    ems_part_sizes_limits(set, part->rank, b->last, &must, &at_most);
    if (part->looks == EMS_LOOKS_PAGE || part->looks == EMS_LOOKS_JSON) {
        snprintf(text, sizeof text, "%s is not the file but %s that a server sent instead (proven)",
                 name, part->looks == EMS_LOOKS_PAGE ? "a web page" : "an error message (JSON)");
        advice = "Download it again with rclone, or with \"Download anyway\" in the browser.";
    } else if (part->looks == EMS_LOOKS_ZIP) {
        snprintf(text, sizeof text, "%s is a zip in place of the part (proven)", name);
        advice = "Send the part as it is, without a zip.";
    } else if (set->split && part->rank == set->first && b->wrong_first &&
               part->looks == EMS_LOOKS_UNKNOWN) {
        snprintf(text, sizeof text,
                 "%s begins neither like an OpenPGP message nor like gzip: it is not the first "
                 "part (proven)",
                 name);
    } else if (set->split && b->wrong_first && part->rank == b->begins_at) {
        snprintf(text, sizeof text,
                 "%s begins like a first part: its name was exchanged with another (proven)", name);
    } else if (part->suspect) {
        snprintf(text, sizeof text,
                 "%s may hold too much (suspected: the parts have %llu bytes, the message states "
                 "%llu)",
                 name, ull(set->size), ull(set->expected));
        offset = EMS_NOWHERE;
    } else {
        offset = must > 0 ? must : at_most > 0 ? at_most : set->expected;
        snprintf(text, sizeof text, "%s has %llu bytes, %llu more than it can have (proven)", name,
                 ull(part->size), ull(part->size - offset));
    }
    fault(b, EMS_PART_FOREIGN, part, offset, advice, text);
}

static void report_unfinished(struct ems_part_build *b, const struct ems_part *part)
{
    char text[700];

    snprintf(text, sizeof text, "%s is still arriving: so far there is only %s", part->name,
             part->file != NULL ? part->file : part->name);
    fault(b, EMS_PART_UNFINISHED, part, EMS_NOWHERE,
          "Wait until the transfer is finished; if it has stopped, send the file again.", text);
}

static void report_part(struct ems_part_build *b, const struct ems_part *part, uint64_t last_here)
{
    char text[600];

    switch (part->status) {
    case EMS_PART_IS_OK:
    case EMS_PART_IS_CONFLICT: /* said where both files were at hand */
        break;
    case EMS_PART_IS_MISSING:
        report_missing(b, part, part->rank > last_here);
        break;
    case EMS_PART_IS_EMPTY:
        snprintf(text, sizeof text, "%s is empty (proven)", part->name);
        fault(b, EMS_PART_EMPTY, part, 0, NULL, text);
        break;
    case EMS_PART_IS_TRUNCATED:
        report_truncated(b, part, part->rank == last_here);
        break;
    case EMS_PART_IS_FOREIGN:
        report_foreign(b, part);
        break;
    case EMS_PART_IS_UNFINISHED:
        report_unfinished(b, part);
        break;
    case EMS_PART_IS_STALE:
        if (b->notes++ < MAX_NOTES)
            ems_findings_add(b->findings, EMS_PART_STALE, EMS_SEVERITY_WARNING, b->set->name,
                             part->name, EMS_NOWHERE, NULL,
                             "%s lies behind the end of the message (proven: %llu bytes), left "
                             "over from an earlier split; it is not used",
                             part->name, ull(b->set->expected));
        break;
    }
}

void ems_part_report_set(struct ems_part_build *b)
{
    struct ems_part_set *set = b->set;
    struct ems_finding *f;
    uint64_t last_here = 0;

    for (size_t i = 0; i < set->count; i++)
        if (set->parts[i].path != NULL)
            last_here = set->parts[i].rank;
    if (b->other_size > 0)
        ems_findings_add(b->findings, EMS_PART_SCHEME, EMS_SEVERITY_ERROR, set->name, NULL,
                         EMS_NOWHERE, NULL,
                         "parts of two splits lie together: some have %llu bytes, others %llu; "
                         "they are not mixed",
                         ull(set->part_size), ull(b->other_size));
    for (size_t i = 0; i < set->count; i++)
        report_part(b, &set->parts[i], last_here);
    if (b->out_of_names) {
        f = ems_findings_add(
            b->findings, EMS_PART_TRUNCATED, EMS_SEVERITY_ERROR, set->name, NULL, EMS_NOWHERE,
            "Split the file again with \"split -a 3\", and send the parts.",
            "split ran out of names after %zu parts, the last of them %s, all of %llu bytes: the "
            "rest of the file was never written to a part",
            set->count, set->parts[set->count - 1].name, ull(set->part_size));
        if (f != NULL)
            f->resend = true;
    }
    if (b->notes > MAX_NOTES)
        ems_findings_add(b->findings, EMS_PART_RENAMED, EMS_SEVERITY_NOTE, set->name, NULL,
                         EMS_NOWHERE, NULL, "%u more notes like these are left out",
                         b->notes - MAX_NOTES);
}
