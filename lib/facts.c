/* facts.c - see facts.h */
#include "facts.h"

#include "bytes.h"

#include <stdlib.h>
#include <string.h>

static int add(struct ems_facts *facts, struct ems_fact fact, struct ems_error *err)
{
    if (facts->count == facts->capacity) {
        size_t capacity = facts->capacity > 0 ? 2 * facts->capacity : 16;
        struct ems_fact *items = realloc(facts->items, capacity * sizeof *items);

        if (items == NULL) {
            free(fact.text);
            return ems_fail_memory(err);
        }
        facts->items = items;
        facts->capacity = capacity;
    }
    facts->items[facts->count++] = fact;
    return EMS_OK;
}

int ems_facts_number(struct ems_facts *facts, const char *name, uint64_t number,
                     struct ems_error *err)
{
    return add(facts, (struct ems_fact){.name = name, .number = number}, err);
}

int ems_facts_text(struct ems_facts *facts, const char *name, const char *text,
                   struct ems_error *err)
{
    char shown[1024];
    char *copy = strdup(ems_printable(text, strlen(text), shown, sizeof shown));

    if (copy == NULL)
        return ems_fail_memory(err);
    return add(facts, (struct ems_fact){.name = name, .text = copy}, err);
}

const struct ems_fact *ems_facts_find(const struct ems_facts *facts, const char *name)
{
    for (size_t i = 0; i < facts->count; i++)
        if (strcmp(facts->items[i].name, name) == 0)
            return &facts->items[i];
    return NULL;
}

void ems_facts_release(struct ems_facts *facts)
{
    for (size_t i = 0; i < facts->count; i++)
        free(facts->items[i].text);
    free(facts->items);
    *facts = (struct ems_facts){0};
}
