/*
 * synapse_judge.c - what is known of a homeserver's database, said as findings; see
 * synapse_state.h.
 *
 * Nothing here makes an upload bad: Synapse itself lives with most of it, and what it does not live
 * with can be put right here. The exception is a database that does not say which schema it has,
 * because Synapse would take it for an empty one.
 */
#include "synapse_state.h"

#include <stdarg.h>
#include <stdio.h>

#define MISSING_SAID 8u /* unique indexes with a finding of their own */

struct judge {
    const struct ems_synapse *s;
    const char *artifact;
    struct ems_findings *findings;
};

/* The check before the restore and the one after it see the same: it is said once. */
static void find(struct judge *j, int code, enum ems_severity severity, const char *advice,
                 const char *fmt, ...) __attribute__((format(printf, 5, 6)));

static void find(struct judge *j, int code, enum ems_severity severity, const char *advice,
                 const char *fmt, ...)
{
    char message[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    if (!ems_findings_has(j->findings, code, j->artifact, message))
        ems_findings_add(j->findings, code, severity, j->artifact, NULL, EMS_NOWHERE, advice, "%s",
                         message);
}

/* Synapse builds some indexes and checks some constraints while it runs, as background updates that
 * can take days: as long as any is pending, what is missing may be on its way. */
static bool is_pending(const struct judge *j)
{
    return j->s->background_updates > 0;
}

/* ---- schema ---- */

/* schema_compat_version: the oldest SCHEMA_VERSION that may still run on this database
 * (synapse/storage/prepare_database.py); written since 1.37, schema 59. */
static void judge_compat(struct judge *j)
{
    const struct ems_synapse *s = j->s;

    if (s->compat_version > EMS_SYNAPSE_NEWEST)
        find(j, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_WARNING,
             "Make sure that the new server's Synapse is at least as new as the customer's.",
             "compat version %u: every Synapse up to 1.160 refuses to start on this database",
             s->compat_version);
    else if (s->compat_version > s->schema_version)
        find(j, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_WARNING,
             "Ask what was done to this database: Synapse does not write that.",
             "compat version %u is above schema version %u", s->compat_version, s->schema_version);
    else if (s->compat_version == 0 && s->schema_version > 59)
        find(j, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_WARNING,
             "Make the dump of the whole database again, with nothing left out.",
             "there is no compat version, though schema version %u has one", s->schema_version);
}

/* A newer schema than is known is no trouble by itself: what matters is which releases may run on
 * it, and that is the compat version. */
static void judge_schema(struct judge *j)
{
    const struct ems_synapse *s = j->s;
    uint32_t version = s->schema_version;
    char releases[32];

    if (version == 0) {
        find(j, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_ERROR,
             "Make the dump of the whole database again, with nothing left out.",
             "schema_version has no row: Synapse takes such a database for an empty one");
        return;
    }
    if (version > EMS_SYNAPSE_NEWEST)
        find(j, EMS_SYNAPSE_SCHEMA,
             s->compat_version > 0 && s->compat_version <= EMS_SYNAPSE_NEWEST
                 ? EMS_SEVERITY_NOTE
                 : EMS_SEVERITY_WARNING,
             "Look for a newer version of ems-intake.",
             "schema version %u is newer than any known here (%u, Synapse 1.160)", version,
             EMS_SYNAPSE_NEWEST);
    else if (ems_synapse_releases(version) == NULL)
        find(j, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_WARNING,
             "Ask which Synapse is installed: it may be a development version.",
             version < 53 ? "schema version %u is of Synapse 0.34 or older"
                          : "schema version %u: no release of Synapse has it",
             version);
    else if (version < EMS_SYNAPSE_NEWEST)
        find(j, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_NOTE,
             "Not required, but the move is quicker if Synapse is upgraded before the dump.",
             "schema version %u is that of Synapse %s, not of the newest release", version,
             ems_synapse_state_releases(s, releases, sizeof releases));
    judge_compat(j);
}

/* They are finished wherever the database runs next, but not while it is moved: an index that is to
 * come makes the first days slow, and synapse_port_db does not even begin. */
static void judge_updates(struct judge *j)
{
    const struct ems_synapse *s = j->s;
    char names[700];

    if (s->background_updates == 0)
        return;
    ems_synapse_names_text(&s->state->updates, names, sizeof names);
    find(
        j, EMS_SYNAPSE_BACKGROUND_UPDATES, EMS_SEVERITY_WARNING,
        s->state->sqlite
            ? "synapse_port_db refuses such a database. If there is time: start Synapse until the "
              "table background_updates is empty, stop it, and copy the database again."
            : "If there is time: start Synapse until the table background_updates is empty (or run "
              "update_synapse_database --run-background-updates), stop it, and make the dump "
              "again. Otherwise the new server finishes them.",
        s->background_updates == 1 ? "%llu background update was not finished: %s"
                                   : "%llu background updates were not finished: %s",
        (unsigned long long)s->background_updates, names);
}

/* ---- what is there and what is not ---- */

/* Synapse may keep `main` and `state` in two databases (databases: in its configuration); a dump of
 * one is complete for pg_dump and useless to Synapse. */
static void judge_tables(struct judge *j)
{
    const struct ems_synapse_state *state = j->s->state;
    char names[700];

    if (!state->has_state_groups)
        find(j, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_WARNING,
             "Look for `databases:` in homeserver.yaml, and ask for a dump of the other one too.",
             "there is no table state_groups: the server keeps its state in another database");
    if (state->foreign_tables.count > 0)
        find(j, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_NOTE,
             state->sqlite ? "Those of a module are of use only with it."
                           : "They are restored like the others; those of a module are of use only "
                             "with it.",
             state->foreign_tables.count == 1 ? "%zu table is not Synapse's: %s"
                                              : "%zu tables are not Synapse's: %s",
             state->foreign_tables.count,
             ems_synapse_names_text(&state->foreign_tables, names, sizeof names));
    if (state->foreign_code.count > 0)
        find(j, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_WARNING,
             "Look at them before Synapse is started on this database, and drop them.",
             "functions or views that are not Synapse's: %s",
             ems_synapse_names_text(&state->foreign_code, names, sizeof names));
    if (state->unvalidated.count > 0)
        find(j, EMS_SYNAPSE_SCHEMA, is_pending(j) ? EMS_SEVERITY_NOTE : EMS_SEVERITY_WARNING,
             is_pending(j) ? "A background update that is pending may do it."
                           : "In the source: ALTER TABLE ... VALIDATE CONSTRAINT ... finds the "
                             "rows that break it.",
             "constraints that PostgreSQL has not checked against the rows: %s",
             ems_synapse_names_text(&state->unvalidated, names, sizeof names));
}

/* The classic damage of a restore that nobody watched: rows twice, so a unique index could not be
 * made, and Synapse goes on for months before it stumbles over them. */
static void judge_uniques(struct judge *j)
{
    const struct ems_synapse_state *state = j->s->state;
    char advice[600];
    size_t missing = 0;

    if (j->s->schema_version < 60)
        return;
    for (size_t i = 0; i < EMS_SYNAPSE_UNIQUES; i++) {
        const struct ems_synapse_unique *u = &ems_synapse_uniques[i];

        if (!state->unique_wanted[i] || state->unique_there[i] || u->since > j->s->schema_version ||
            missing++ >= MISSING_SAID)
            continue;
        if (is_pending(j))
            snprintf(advice, sizeof advice, "A background update that is pending may make it.");
        else
            snprintf(
                advice, sizeof advice,
                "Remove the rows that are there twice, if any, then: CREATE UNIQUE INDEX %s ON %s "
                "(%s)%s%s;",
                u->name, u->table, u->columns, u->where != NULL ? " WHERE " : "",
                u->where != NULL ? u->where : "");
        find(j, EMS_SYNAPSE_SCHEMA, is_pending(j) ? EMS_SEVERITY_NOTE : EMS_SEVERITY_WARNING,
             advice, "table %s has no unique index on (%s): %s is missing", u->table, u->columns,
             u->name);
    }
    if (missing > MISSING_SAID)
        find(j, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_WARNING,
             "The dump is of a database that was not restored completely: look for another one.",
             "%zu unique indexes are missing in all", missing);
}

/* ---- users ---- */

/* Accounts of Matrix Authentication Service have their passwords there, those of a sign-on provider
 * nowhere; guests, bridges and deactivated users never had one, and were not counted. */
static void judge_users(struct judge *j)
{
    const struct ems_synapse *s = j->s;
    const struct ems_synapse_state *state = s->state;

    if (s->other_servers > 0)
        find(j, EMS_SYNAPSE_SERVER_NAME, EMS_SEVERITY_WARNING, NULL,
             s->other_servers == 1 ? "%llu user is not of %s but of another server (%s)"
                                   : "%llu users are not of %s but of another server (%s)",
             (unsigned long long)s->other_servers, s->server_name, s->other_server);
    if (state->passwordless == 0 || state->passwordless * 2 < state->people)
        return;
    if (state->has_totals && state->totals[EMS_TOTAL_EXTERNAL_IDS] > 0)
        find(j, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_NOTE,
             "The new server needs the same sign-on provider (oidc_providers, saml2_config, ...).",
             "%llu of %llu users have no password, %llu sign in through a provider",
             (unsigned long long)state->passwordless, (unsigned long long)state->people,
             (unsigned long long)state->totals[EMS_TOTAL_EXTERNAL_IDS]);
    else
        find(j, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_WARNING,
             "Ask how they sign in. If it is Matrix Authentication Service, ask for a dump of its "
             "database and its configuration too.",
             "%llu of %llu users have no password: they sign in through a service of their own",
             (unsigned long long)state->passwordless, (unsigned long long)state->people);
}

/* ---- rows ---- */

/* Every event has exactly one row in event_json, written in the same transaction. One-time keys: a
 * client uploads each for one use (Matrix specification, "One-time and fallback keys"), and the
 * server that claims it deletes it; a copy of the table gives out a key again. */
static void judge_totals(struct judge *j)
{
    const struct ems_synapse_state *state = j->s->state;
    uint64_t events = state->totals[EMS_TOTAL_EVENTS];
    uint64_t contents = state->totals[EMS_TOTAL_EVENT_JSON];

    if (!state->has_totals)
        return;
    if (events > contents)
        find(j, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_WARNING,
             "Ask whether event_json was left out or repaired; Synapse passes over such events.",
             "%llu events, but %llu" EMS_SYNAPSE_CONTENTS "%llu is lost",
             (unsigned long long)events, (unsigned long long)contents,
             (unsigned long long)(events - contents));
    else if (events == contents && state->ids[0].count > 0 && state->ids[1].count > 0 &&
             !ems_synapse_same_ids(state))
        find(j, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_WARNING,
             "Ask whether one of the two tables was repaired; a restore counts the events.",
             "%llu events and as many" EMS_SYNAPSE_CONTENTS "other events",
             (unsigned long long)events);
    if (events == 0 && j->s->users > 0)
        find(j, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_WARNING,
             "Check that the dump was made without --exclude-table-data.",
             "there are %llu users but not one event", (unsigned long long)j->s->users);
    if (state->totals[EMS_TOTAL_ONE_TIME_KEYS] > 0)
        find(j, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_NOTE,
             "Synapse's backup page asks to leave e2e_one_time_keys_json out of a restore, unless "
             "the old server was stopped before the dump and never runs again: "
             "--truncate-one-time-keys empties it.",
             "%llu one-time keys: a key that is given out twice makes messages unreadable",
             (unsigned long long)state->totals[EMS_TOTAL_ONE_TIME_KEYS]);
}

/*
 * What Synapse does when it starts (synapse/storage/util/sequence.py, check_consistency): a
 * sequence behind stream_positions is refused, whatever the tables hold; one that is behind its
 * table is set, by recent releases. Sequences that are columns' own are nobody's to set.
 */
static void judge_sequences(struct judge *j)
{
    const struct ems_synapse_state *state = j->s->state;

    for (size_t i = 0; i < EMS_SYNAPSE_SEQUENCES; i++) {
        const struct ems_synapse_sequence *q = &ems_synapse_sequences[i];
        long long value = state->sequences[i].value, position = state->sequences[i].position;
        long long highest = state->sequences[i].highest;
        long long wanted = ems_synapse_sequence_wanted(state, i);
        char advice[300];

        if (wanted == 0)
            continue;
        snprintf(advice, sizeof advice,
                 "ems-restore --repair-sequences sets it; by hand: SELECT setval('%s', %lld);",
                 q->name, wanted);
        if (position > value)
            find(j, EMS_SYNAPSE_SEQUENCE, EMS_SEVERITY_WARNING, advice,
                 "sequence %s is at %lld, but stream_positions has %lld for %s: Synapse refuses to "
                 "start",
                 q->name, value, position, q->stream);
        else if (q->mended)
            find(j, EMS_SYNAPSE_SEQUENCE, EMS_SEVERITY_NOTE, advice,
                 "sequence %s is at %lld, but table %s is at %lld: Synapse sets it right when it "
                 "starts (older releases refuse to)",
                 q->name, value, state->sequences[i].table, highest);
        else
            find(j, EMS_SYNAPSE_SEQUENCE,
                 q->sort == EMS_SEQUENCE_LOCALPART ? EMS_SEVERITY_NOTE : EMS_SEVERITY_WARNING,
                 advice, "sequence %s is at %lld, but table %s is at %lld: new rows will collide",
                 q->name, value, state->sequences[i].table, highest);
    }
}

/* ---- the source ---- */

/* Only pg_dump -C names them. Synapse refuses both unless allow_unsafe_locale is set
 * (storage/engines/postgres.py), because an index sorted by one version of a C library is wrong in
 * the next. */
static void judge_source(struct judge *j)
{
    const struct ems_synapse_state *state = j->s->state;

    if (state->bad_encoding)
        find(j, EMS_SYNAPSE_ENCODING, EMS_SEVERITY_WARNING,
             "Synapse asks for UTF8; the staging database has it. Look for garbled names.",
             "the source database is not in UTF8 (%s)", state->database);
    if (state->bad_locale)
        find(j, EMS_SYNAPSE_COLLATION, EMS_SEVERITY_NOTE,
             "The staging database has C. If a unique index cannot be built here, the source holds "
             "rows twice since an upgrade of its C library.",
             "the source database is not sorted by C (%s), as Synapse asks", state->database);
}

void ems_synapse_judge(const struct ems_synapse *s, const char *artifact,
                       struct ems_findings *findings)
{
    struct judge j = {s, artifact, findings};

    if (!ems_synapse_is_homeserver(s) || s->state == NULL)
        return;
    judge_schema(&j);
    judge_source(&j);
    judge_users(&j);
    judge_updates(&j);
    judge_tables(&j);
    judge_uniques(&j);
    judge_totals(&j);
    judge_sequences(&j);
}
