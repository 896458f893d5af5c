/* synapse.c - what is known of a homeserver, and the release it is of; see synapse.h. Filled by
 * synapse_observe.c and others, judged by synapse_judge.c. */
#include "synapse.h"

#include "bytes.h"
#include "event_sample.h"
#include "media_rows.h"
#include "synapse_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool ems_synapse_is_homeserver(const struct ems_synapse *s)
{
    return s->has_users && s->has_events && s->has_schema_version;
}

/* ---- releases ---- */

/* Synapse 1.first to 1.last; 62, 75 and 90 were never released. */
static const struct {
    uint32_t version;
    const char *releases;
    unsigned first, last;
} known[] = {
    {53, "0.99.0-0.99.3", 0, 0},   {54, "0.99.4-0.99.5", 0, 0},   {55, "1.0-1.2", 0, 2},
    {56, "1.3-1.8", 3, 8},         {57, "1.9-1.12", 9, 12},       {58, "1.13-1.25", 13, 25},
    {59, "1.26-1.37", 26, 37},     {60, "1.38", 38, 38},          {61, "1.39-1.40", 39, 40},
    {63, "1.41-1.43", 41, 43},     {64, "1.44-1.45", 44, 45},     {65, "1.46-1.48", 46, 48},
    {66, "1.49", 49, 49},          {67, "1.50-1.51", 50, 51},     {68, "1.52-1.56", 52, 56},
    {69, "1.57-1.59", 57, 59},     {70, "1.60", 60, 60},          {71, "1.61", 61, 61},
    {72, "1.62-1.67", 62, 67},     {73, "1.68-1.76", 68, 76},     {74, "1.77-1.82", 77, 82},
    {76, "1.83-1.84", 83, 84},     {77, "1.85", 85, 85},          {78, "1.86-1.88", 86, 88},
    {79, "1.89", 89, 89},          {80, "1.90-1.91", 90, 91},     {81, "1.92", 92, 92},
    {82, "1.93-1.95", 93, 95},     {83, "1.96-1.99", 96, 99},     {84, "1.100-1.106", 100, 106},
    {85, "1.107-1.111", 107, 111}, {86, "1.112-1.113", 112, 113}, {87, "1.114-1.115", 114, 115},
    {88, "1.116-1.123", 116, 123}, {89, "1.124-1.127", 124, 127}, {91, "1.128", 128, 128},
    {92, "1.129-1.142", 129, 142}, {93, "1.143-1.150", 143, 150}, {94, "1.151-1.160", 151, 160},
};

/*
 * Deltas that came with a later release than the first of their schema version: Synapse may add
 * some to a schema version that is out already (docs/development/database_schema.md). A release
 * applies all it knows when it starts, so the newest that is there and the oldest that is not say
 * between which releases the last one was.
 */
static const struct {
    const char *file; /* how applied_schema_deltas.file begins */
    uint32_t version;
    unsigned release; /* 1.release */
} markers[] = {
    {"92/06_device_federation", 92, 133},
    {"92/07_event_txn", 92, 134},
    {"92/04_thread", 92, 135},
    {"92/08_room_ban", 92, 136},
    {"92/08_thread_subscriptions_seq_fixup", 92, 139},
    {"93/03", 93, 144},
    {"93/02", 93, 145},
    {"93/04", 93, 146},
    {"93/01_sticky", 93, 148},
    {"94/03", 94, 152},
    {"94/05", 94, 157},
    {"94/06", 94, 157},
    {"94/07_profile_updates", 94, 160},
    {"94/08", 94, 160},
};

const char *ems_synapse_releases(uint32_t schema_version)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].version == schema_version)
            return known[i].releases;
    return NULL;
}

/* Two of a kind may be numbered alike ("94/07_profile_updates.sql" and its ".sql.postgres"). */
void ems_synapse_see_delta(struct ems_synapse_state *state, const char *file, size_t size)
{
    for (size_t i = 0; i < sizeof markers / sizeof markers[0]; i++)
        if (size >= strlen(markers[i].file) &&
            memcmp(file, markers[i].file, strlen(markers[i].file)) == 0)
            state->markers |= 1u << i;
    state->markers |= 1u << 31; /* there are deltas, so that a missing one means something */
}

const char *ems_synapse_state_releases(const struct ems_synapse *s, char *out, size_t size)
{
    unsigned first = 0, last = 0;

    snprintf(out, size, "%s",
             ems_synapse_releases(s->schema_version) != NULL
                 ? ems_synapse_releases(s->schema_version)
                 : "");
    if (s->state == NULL || (s->state->markers & 1u << 31) == 0)
        return out;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].version == s->schema_version) {
            first = known[i].first;
            last = known[i].last;
        }
    }
    for (size_t i = 0; i < sizeof markers / sizeof markers[0]; i++)
        if (markers[i].version == s->schema_version && (s->state->markers & 1u << i) != 0 &&
            markers[i].release > first)
            first = markers[i].release;
    for (size_t i = 0; i < sizeof markers / sizeof markers[0]; i++)
        if (markers[i].version == s->schema_version && (s->state->markers & 1u << i) == 0 &&
            markers[i].release > first && markers[i].release <= last)
            last = markers[i].release - 1;
    if (s->schema_version >= 92 && last > 0 && first == last)
        snprintf(out, size, "1.%u", first);
    else if (s->schema_version >= 92 && last > 0)
        snprintf(out, size, "1.%u-1.%u", first, last);
    return out;
}

/* ---- filling ---- */

struct ems_synapse_state *ems_synapse_state(struct ems_synapse *s)
{
    if (s->state == NULL)
        s->state = calloc(1, sizeof *s->state);
    return s->state;
}

struct ems_media_rows *ems_synapse_media(struct ems_synapse *s)
{
    if (s->media == NULL)
        s->media = calloc(1, sizeof *s->media);
    return s->media;
}

int ems_synapse_names_add(struct ems_synapse_names *names, const char *name, struct ems_error *err)
{
    char shown[200];

    if (names->count++ >= EMS_SYNAPSE_LISTED)
        return EMS_OK;
    ems_printable(name, strlen(name), shown, sizeof shown);
    names->items[names->count - 1] = strdup(shown);
    return names->items[names->count - 1] != NULL ? EMS_OK : ems_fail_memory(err);
}

const char *ems_synapse_names_text(const struct ems_synapse_names *names, char *out, size_t size)
{
    size_t listed = names->count < EMS_SYNAPSE_LISTED ? names->count : EMS_SYNAPSE_LISTED, used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < listed && used < size && names->items[i] != NULL; i++)
        used +=
            (size_t)snprintf(out + used, size - used, "%s%s", i > 0 ? ", " : "", names->items[i]);
    if (names->count > listed && used < size)
        snprintf(out + used, size - used, " and %zu more", names->count - listed);
    return out;
}

/* Lists are short, a few names with commas between them, and stay as they are. */
static bool has_column(const char *const *columns, size_t count, const char *name, size_t size)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(columns[i]) == size && memcmp(columns[i], name, size) == 0)
            return true;
    return false;
}

/* Are all of "a,b" among the columns? */
static bool has_columns(const char *const *columns, size_t count, const char *list)
{
    while (*list != '\0') {
        size_t n = strcspn(list, ",");

        if (!has_column(columns, count, list, n))
            return false;
        list += n + (list[n] == ',');
    }
    return true;
}

static bool is_in_list(const char *list, const char *name)
{
    size_t size = strlen(name);

    for (; *list != '\0'; list += strcspn(list, ","), list += *list == ',')
        if (strcspn(list, ",") == size && memcmp(list, name, size) == 0)
            return true;
    return false;
}

int ems_synapse_see_table(struct ems_synapse *s, const char *table, const char *const *columns,
                          size_t count, struct ems_error *err)
{
    struct ems_synapse_state *state = ems_synapse_state(s);
    const char *whose;
    char text[160];

    if (state == NULL)
        return ems_fail_memory(err);
    s->has_users |= strcmp(table, "users") == 0;
    s->has_events |= strcmp(table, "events") == 0;
    s->has_schema_version |= strcmp(table, "schema_version") == 0;
    state->has_state_groups |= strcmp(table, "state_groups") == 0;
    for (size_t i = 0; i < EMS_SYNAPSE_UNIQUES; i++)
        if (strcmp(ems_synapse_uniques[i].table, table) == 0)
            state->unique_wanted[i] = has_columns(columns, count, ems_synapse_uniques[i].columns);
    if (ems_synapse_knows_table(table, &whose))
        return EMS_OK;
    snprintf(text, sizeof text, whose != NULL ? "%s (%s)" : "%s", table, whose);
    return ems_synapse_names_add(&state->foreign_tables, text, err);
}

/* What is unique by fewer columns is unique by all of them; what is unique among some of the rows
 * says nothing of the others. */
void ems_synapse_see_unique(struct ems_synapse_state *state, const char *table,
                            const char *const *columns, size_t count, bool partial)
{
    for (size_t i = 0; i < EMS_SYNAPSE_UNIQUES; i++) {
        const struct ems_synapse_unique *u = &ems_synapse_uniques[i];
        bool within = strcmp(u->table, table) == 0 && (!partial || u->where != NULL) && count > 0;

        for (size_t c = 0; c < count && within; c++)
            within = is_in_list(u->columns, columns[c]);
        state->unique_there[i] |= within;
    }
}

/* Three foreign keys are that way in every homeserver since schema 74. */
int ems_synapse_see_unvalidated(struct ems_synapse_state *state, const char *table,
                                const char *constraint, struct ems_error *err)
{
    static const char *const usual[] = {"current_state_events", "local_current_membership",
                                        "room_memberships"};
    char text[160];

    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
        if (constraint != NULL && strcmp(constraint, "event_stream_ordering_fkey") == 0 &&
            strcmp(table, usual[i]) == 0)
            return EMS_OK;
    snprintf(text, sizeof text, "%s of %s", constraint != NULL ? constraint : "one", table);
    return ems_synapse_names_add(&state->unvalidated, text, err);
}

int ems_synapse_see_update(struct ems_synapse *s, const char *name, size_t size,
                           struct ems_error *err)
{
    char shown[100];

    s->background_updates++;
    ems_printable(name, size, shown, sizeof shown);
    return ems_synapse_names_add(&s->state->updates, shown, err);
}

/* A sequence that no release has is nobody's business here. */
void ems_synapse_see_sequence(struct ems_synapse_state *state, const char *name, int64_t value)
{
    for (size_t i = 0; i < EMS_SYNAPSE_SEQUENCES; i++) {
        if (strcmp(ems_synapse_sequences[i].name, name) == 0) {
            state->sequences[i].known = true;
            state->sequences[i].value = value;
        }
    }
}

/* Each worker that writes a stream has a row. */
void ems_synapse_see_position(struct ems_synapse_state *state, const char *stream, int64_t value)
{
    for (size_t i = 0; i < EMS_SYNAPSE_SEQUENCES; i++)
        if (ems_synapse_sequences[i].stream != NULL &&
            strcmp(ems_synapse_sequences[i].stream, stream) == 0 &&
            value > state->sequences[i].position)
            state->sequences[i].position = value;
}

/* Numbers start at 1, so that 0 is "none". */
void ems_synapse_see_highest(struct ems_synapse_state *state, size_t sequence, size_t source,
                             int64_t value)
{
    if (value <= state->sequences[sequence].highest)
        return;
    state->sequences[sequence].highest = value;
    state->sequences[sequence].table = ems_synapse_sequences[sequence].sources[source].table;
}

/* Of a sequence whose value is not known nothing can be said, nor repaired. */
int64_t ems_synapse_sequence_wanted(const struct ems_synapse_state *state, size_t sequence)
{
    int64_t wanted = state->sequences[sequence].highest > state->sequences[sequence].position
                         ? state->sequences[sequence].highest
                         : state->sequences[sequence].position;

    return state->sequences[sequence].known && wanted > state->sequences[sequence].value ? wanted
                                                                                         : 0;
}

/* The server is that of most users; of the others one is named. Users without a server belong to
 * nobody. */
void ems_synapse_see_users(struct ems_synapse *s, const char *server, uint64_t users)
{
    struct ems_synapse_state *state = s->state;
    const size_t max = sizeof state->servers / sizeof state->servers[0];
    size_t at = 0, best = 0;

    s->users += users;
    if (server[0] == '\0')
        return;
    state->named += users;
    while (at < max && state->servers[at].users > 0 && strcmp(state->servers[at].name, server) != 0)
        at++;
    if (at < max) {
        snprintf(state->servers[at].name, sizeof state->servers[at].name, "%s", server);
        state->servers[at].users += users;
    }
    for (size_t i = 1; i < max; i++)
        if (state->servers[i].users > state->servers[best].users)
            best = i;
    s->other_servers = state->named - state->servers[best].users;
    memcpy(s->server_name, state->servers[best].name, sizeof s->server_name);
    for (size_t i = 0; i < max; i++)
        if (i != best && state->servers[i].users > 0)
            memcpy(s->other_server, state->servers[i].name, sizeof s->other_server);
}

void ems_synapse_take_totals(struct ems_synapse *s, const struct ems_sql_facts *facts)
{
    if (s->state == NULL)
        return;
    s->state->has_totals = true;
    for (size_t i = 0; i < facts->table_count; i++)
        for (unsigned t = 0; t < EMS_TOTAL_COUNT; t++)
            if (strncmp(facts->tables[i].name, "public.", 7) == 0 &&
                strcmp(facts->tables[i].name + 7, ems_synapse_total_table(t)) == 0)
                s->state->totals[t] = facts->tables[i].rows;
}

/* All rows must have been looked at: INSERTs of odd forms, or rows too long, are not. */
bool ems_synapse_same_ids(const struct ems_synapse_state *state)
{
    return state->has_totals && state->ids[0].count == state->totals[EMS_TOTAL_EVENTS] &&
           state->ids[1].count == state->totals[EMS_TOTAL_EVENT_JSON] &&
           state->ids[0].count == state->ids[1].count && state->ids[0].sum == state->ids[1].sum;
}

/* ---- release ---- */

static void names_release(struct ems_synapse_names *names)
{
    for (size_t i = 0; i < EMS_SYNAPSE_LISTED; i++)
        free(names->items[i]);
}

static void state_free(struct ems_synapse_state *state)
{
    if (state == NULL)
        return;
    names_release(&state->updates);
    names_release(&state->unvalidated);
    names_release(&state->foreign_tables);
    names_release(&state->foreign_code);
    free(state);
}

void ems_synapse_release(struct ems_synapse *s)
{
    if (s->events != NULL) {
        ems_event_samples_release(s->events);
        free(s->events);
    }
    if (s->media != NULL) {
        ems_media_rows_release(s->media);
        free(s->media);
    }
    ems_synapse_row_free(s->row);
    state_free(s->state);
    *s = (struct ems_synapse){0};
}
