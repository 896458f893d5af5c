/*
 * facts.h - what a layer has found out, for the report: a few named numbers and texts, and one line
 * for people.
 */
#ifndef EMS_FACTS_H
#define EMS_FACTS_H

#include "error.h"

struct ems_fact {
    const char *name; /* static: "thumbnails" */
    char *text;       /* printable (bytes.h), or NULL: it is a number */
    uint64_t number;
};

/* Start with {0}; release with ems_facts_release. */
struct ems_facts {
    const char *layer; /* static, the "layer" of the JSON report; NULL: there are none */
    struct ems_fact *items;
    size_t count, capacity;
    char summary[200]; /* "3 parts, 1204 files, 1.2 GB"; "" for none */
};

/* EMS_OK or EMS_NO_MEMORY. Text is copied and made printable. */
int ems_facts_number(struct ems_facts *, const char *name, uint64_t number, struct ems_error *);
int ems_facts_text(struct ems_facts *, const char *name, const char *text, struct ems_error *);
/* The one of this name, or NULL. */
const struct ems_fact *ems_facts_find(const struct ems_facts *, const char *name);
void ems_facts_release(struct ems_facts *);

#endif
