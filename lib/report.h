/*
 * report.h - artifacts and findings to text for people and JSON lines for programs.
 *
 * Everything is rendered into buffers; the tools print them. Text from the upload is already
 * printable in findings and is made so here where it comes from artifacts.
 */
#ifndef EMS_REPORT_H
#define EMS_REPORT_H

#include "artifact.h"
#include "bytes.h"

struct ems_report {
    const char *tool;
    struct ems_findings findings;
    struct ems_artifact *artifacts;
    size_t count, capacity;
    double elapsed_s;
};

/* Room for one more artifact, zeroed; NULL when out of memory. Valid until the next call. */
struct ems_artifact *ems_report_add(struct ems_report *);
void ems_report_release(struct ems_report *);

/* The exit status of the whole: the worst of all findings and of artifacts that nothing verified. */
int ems_report_exit(const struct ems_report *);

/* Names of the files that the customer must send again, each once, in the order found. NULL-ended;
 * free each name and the array. NULL when out of memory. */
char **ems_report_resend(const struct ems_report *);

/* A block per artifact, its findings with advice, one closing line with the verdict. */
int ems_report_text(const struct ems_report *, bool verbose, bool color, struct ems_buf *,
                    struct ems_error *);

/* JSON lines: finding..., artifact..., summary. */
int ems_report_json(const struct ems_report *, struct ems_buf *, struct ems_error *);

/* One progress object. total 0: unknown. */
int ems_report_json_progress(const char *artifact, const char *layer, uint64_t done, uint64_t total,
                             double rate, struct ems_buf *, struct ems_error *);

/* "1.2 GB" (powers of 1000, three digits) and "3 min 20 s"; out has room for 32. */
char *ems_human_bytes(uint64_t bytes, char *out);
char *ems_human_seconds(double seconds, char *out);

#endif
