/*
 * finding.h - things to tell about an upload, collected while the work goes on.
 *
 * An error (error.h) ends the run of one artifact; a finding is what the report says about it. A
 * failure becomes a finding with ems_findings_add_error.
 */
#ifndef EMS_FINDING_H
#define EMS_FINDING_H

#include "error.h"

enum ems_severity { EMS_SEVERITY_NOTE, EMS_SEVERITY_WARNING, EMS_SEVERITY_ERROR };

struct ems_finding {
    int code; /* enum ems_code */
    enum ems_severity severity;
    char *artifact;  /* name, or NULL: the whole upload */
    char *part;      /* file to look at, or NULL */
    uint64_t offset; /* bytes into part, or EMS_NOWHERE */
    bool resend;     /* the customer must send `part` (or, without one, the artifact) again */
    char *message;   /* one line, lower case, no full stop */
    char *advice;    /* a sentence, or NULL */
};

struct ems_findings {
    struct ems_finding *items;
    size_t count, capacity;
    bool out_of_memory; /* a finding could not be kept: the exit status must say so */
};

/* Append. All strings are copied and made printable (bytes.h), so names may be given raw; artifact,
 * part and advice may be NULL (advice: then ems_code_advice; "" for none at all). Returns the new
 * finding, valid until the next append, or NULL when out of memory (noted in the list). */
struct ems_finding *ems_findings_add(struct ems_findings *, int code, enum ems_severity,
                                     const char *artifact, const char *part, uint64_t offset,
                                     const char *advice, const char *message_fmt, ...)
    __attribute__((format(printf, 8, 9)));

/* Appends all of `from` and leaves that empty. */
void ems_findings_move(struct ems_findings *to, struct ems_findings *from);
/* Take those from `index` on out of the list: `rest` is filled with them. False when out of memory
 * (noted in `from`): then nothing was moved. */
bool ems_findings_split(struct ems_findings *from, size_t index, struct ems_findings *rest);
/* Something has been found out since: other severity, advice (as above) and message, nothing more to
 * be sent again. `index` is one of the list. */
void ems_findings_reword(struct ems_findings *, size_t index, enum ems_severity, const char *advice,
                         const char *message_fmt, ...) __attribute__((format(printf, 5, 6)));
/* Take out `count` findings from `index` on. */
void ems_findings_remove(struct ems_findings *, size_t index, size_t count);

/* Is there a finding of this code, artifact and message? */
bool ems_findings_has(const struct ems_findings *, int code, const char *artifact,
                      const char *message);

/* Remove the findings of this code and artifact whose messages hold `part`: they were settled. */
void ems_findings_take_back(struct ems_findings *, int code, const char *artifact,
                            const char *part);

/* The exit status that these findings ask for: the worst of those with severity error. */
int ems_findings_exit(const struct ems_findings *);

void ems_findings_release(struct ems_findings *);

const char *ems_severity_name(enum ems_severity);

/* What somebody should do about this code, as a sentence, or NULL. Static. */
const char *ems_code_advice(int code);

#endif
