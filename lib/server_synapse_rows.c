/*
 * server_synapse_rows.c - rows of a restored homeserver that should have a partner, and its totals.
 *
 * Only questions that a key answers: each is a hash anti join over the columns of one index, a few
 * seconds for ten million rows. What a foreign key of the dump has proven is not asked again.
 */
#include "report.h"
#include "server_synapse_ask.h"

#include <stdio.h>
#include <string.h>

static const struct question {
    const char *table, *column; /* of the rows that are counted */
    const char *partner, *in;   /* where their partner is */
    const char *where;          /* further condition on t or p, or NULL */
    enum ems_severity severity;
    const char *message; /* ": ", and how many they are */
    const char *advice;
} questions[] = {
    {"events", "event_id", "event_json", "event_id", NULL, EMS_SEVERITY_WARNING,
     "events without a row in event_json (their content is lost)",
     "Ask whether event_json was left out or repaired; Synapse passes over such events."},
    {"event_json", "event_id", "events", "event_id", NULL, EMS_SEVERITY_NOTE,
     "rows of event_json that belong to no event", "Harmless: what an old purge left behind."},
    {"state_events", "event_id", "events", "event_id", NULL, EMS_SEVERITY_WARNING,
     "rows of state_events that belong to no event",
     "Ask the customer what was deleted from the table events by hand."},
    {"current_state_events", "event_id", "events", "event_id", NULL, EMS_SEVERITY_WARNING,
     "rows of current_state_events that point at no event",
     "The rooms they belong to may not load: find them with SELECT DISTINCT room_id FROM "
     "current_state_events c WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.event_id = "
     "c.event_id);"},
    {"event_forward_extremities", "event_id", "events", "event_id", NULL, EMS_SEVERITY_WARNING,
     "forward extremities that point at no event",
     "Nobody can send to these rooms: delete the rows of event_forward_extremities, if the room "
     "has "
     "others."},
    {"event_to_state_groups", "state_group", "state_groups", "id", NULL, EMS_SEVERITY_WARNING,
     "events whose state group is not there",
     "The state of their rooms cannot be computed there: ask which tool compressed or purged it."},
    {"state_group_edges", "prev_state_group", "state_groups", "id", NULL, EMS_SEVERITY_WARNING,
     "state groups that build on one that is not there",
     "The state of their rooms cannot be computed there: ask which tool compressed or purged it."},
    {"rooms", "room_id", "current_state_events", "room_id", "p.type = 'm.room.create'",
     EMS_SEVERITY_NOTE, "rooms without a current m.room.create event",
     "Normal for rooms that were purged, or that nobody of this server is in."},
};

/* Is it proven by a validated foreign key? */
static bool is_proven(struct ems_synapse_asker *a, const struct question *q)
{
    char sql[900];
    uint64_t count;

    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM pg_catalog.pg_constraint n"
             " JOIN pg_catalog.pg_attribute t ON t.attrelid = n.conrelid AND t.attnum = n.conkey[1]"
             " WHERE n.contype = 'f' AND n.convalidated"
             " AND n.conrelid = 'public.%s'::pg_catalog.regclass"
             " AND n.confrelid = 'public.%s'::pg_catalog.regclass"
             " AND pg_catalog.cardinality(n.conkey) = 1 AND t.attname = '%s'",
             q->table, q->partner, q->column);
    return ems_synapse_ask_number(a, "foreign keys", sql, &count) && count > 0;
}

/* Events and their contents: the ids were compared while the dump was read, and the restore has
 * compared the rows. Otherwise, if all events have a content and there are as many of these, then
 * there is none too many. */
static bool is_implied(const struct ems_synapse_asker *a, size_t question, bool all_events)
{
    const struct ems_synapse_state *dump = a->artifact->synapse.state, *state = a->db.state;

    if (question > 1)
        return false;
    if (dump != NULL && ems_synapse_same_ids(dump))
        return true;
    return question == 1 && all_events && state->has_totals &&
           state->totals[EMS_TOTAL_EVENTS] == state->totals[EMS_TOTAL_EVENT_JSON];
}

void ems_synapse_ask_rows(struct ems_synapse_asker *a)
{
    bool all_events = false;
    char sql[600], what[120];
    uint64_t count;

    for (size_t i = 0; i < sizeof questions / sizeof questions[0] && !a->broken; i++) {
        const struct question *q = &questions[i];

        if (!ems_synapse_has(a, q->table, q->column) || !ems_synapse_has(a, q->partner, q->in) ||
            (q->where != NULL && !ems_synapse_has(a, q->partner, "type")) ||
            is_implied(a, i, all_events) || is_proven(a, q))
            continue;
        snprintf(sql, sizeof sql,
                 "SELECT count(*) FROM public.%s t WHERE NOT EXISTS (SELECT 1 FROM public.%s p"
                 " WHERE p.%s = t.%s%s%s)",
                 q->table, q->partner, q->in, q->column, q->where != NULL ? " AND " : "",
                 q->where != NULL ? q->where : "");
        snprintf(what, sizeof what, "rows of %s without %s", q->table, q->partner);
        if (!ems_synapse_ask_number(a, what, sql, &count))
            continue;
        all_events |= i == 0 && count == 0;
        if (i == 0) /* known better now */
            ems_findings_take_back(a->findings, EMS_SYNAPSE_SCHEMA, a->artifact->name,
                                   EMS_SYNAPSE_CONTENTS);
        if (count > 0)
            ems_synapse_tell(a, EMS_SYNAPSE_SCHEMA, q->severity, q->advice, "%s: %llu", q->message,
                             (unsigned long long)count);
    }
}

/* ---- totals ---- */

static const struct total {
    const char *name, *table; /* counted by the restore */
} totals[] = {
    {"events", "events"},
    {"rooms", "rooms"},
    {"users", "users"},
    {"access_tokens", "access_tokens"},
    {"devices", "devices"},
    {"room_memberships", "room_memberships"},
    {"pushers", "pushers"},
    {"room_keys", "e2e_room_keys"},
    {"media", "local_media_repository"},
};

/* 0 for a table that is not there. */
static uint64_t rows_of(const struct ems_artifact *artifact, const char *table)
{
    for (size_t i = 0; i < artifact->sql.table_count; i++)
        if (strncmp(artifact->sql.tables[i].name, "public.", 7) == 0 &&
            strcmp(artifact->sql.tables[i].name + 7, table) == 0)
            return artifact->sql.tables[i].rows;
    return 0;
}

/* Rows need not be counted: the restore has compared each table's with what the server took. */
int ems_synapse_ask_totals(struct ems_synapse_asker *a, struct ems_error *err)
{
    struct ems_facts *f = &a->artifact->staged_facts;
    uint64_t joined = 0, bytes = 0;
    char size[32], releases[32];
    int rc = EMS_OK;

    ems_facts_release(f);
    f->layer = "synapse";
    if (ems_synapse_has(a, "local_current_membership", "membership"))
        ems_synapse_ask_number(a, "memberships",
                               "SELECT count(*) FROM public.local_current_membership"
                               " WHERE membership = 'join'",
                               &joined);
    ems_synapse_ask_number(
        a, "its size", "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())", &bytes);
    if (a->broken)
        return err->code;
    rc = ems_facts_text(f, "server_name", a->db.server_name, err);
    if (rc == EMS_OK)
        rc = ems_facts_number(f, "schema_version", a->db.schema_version, err);
    if (rc == EMS_OK)
        rc = ems_facts_number(f, "compat_version", a->db.compat_version, err);
    if (rc == EMS_OK)
        rc = ems_facts_text(f, "releases",
                            ems_synapse_state_releases(&a->db, releases, sizeof releases), err);
    for (size_t i = 0; i < sizeof totals / sizeof totals[0] && rc == EMS_OK; i++)
        rc = ems_facts_number(f, totals[i].name, rows_of(a->artifact, totals[i].table), err);
    if (rc == EMS_OK)
        rc =
            ems_facts_number(f, "one_time_keys", a->db.state->totals[EMS_TOTAL_ONE_TIME_KEYS], err);
    if (rc == EMS_OK)
        rc = ems_facts_number(f, "local_joined_members", joined, err);
    if (rc == EMS_OK)
        rc = ems_facts_number(f, "sequences_set", a->sequences_set, err);
    if (rc == EMS_OK)
        rc = ems_facts_number(f, "database_bytes", bytes, err);
    snprintf(f->summary, sizeof f->summary,
             "%llu events, %llu rooms, %llu users, %llu devices, %llu access tokens, %llu joined "
             "members, %s on the server",
             (unsigned long long)rows_of(a->artifact, "events"),
             (unsigned long long)rows_of(a->artifact, "rooms"),
             (unsigned long long)rows_of(a->artifact, "users"),
             (unsigned long long)rows_of(a->artifact, "devices"),
             (unsigned long long)rows_of(a->artifact, "access_tokens"), (unsigned long long)joined,
             ems_human_bytes(bytes, size));
    return rc;
}
