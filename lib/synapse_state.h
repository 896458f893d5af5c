/*
 * synapse_state.h - what is known of a homeserver's database beyond synapse.h, and how it is
 * filled. Internal.
 *
 * Two sources fill it through the same functions: a dump while it streams (synapse_observe.c), and
 * a database that was restored (server_synapse.c). What they amount to is said by
 * ems_synapse_judge, so that ems-check and ems-restore speak of a condition in the same words.
 *
 * All names of tables are without their schema. Names and numbers of Synapse's are facts of its
 * database as a dump shows it (schema 94) and of its documentation; see synapse_known.c.
 */
#ifndef EMS_SYNAPSE_STATE_H
#define EMS_SYNAPSE_STATE_H

#include "finding.h"
#include "synapse.h"

#define EMS_SYNAPSE_SOURCES   6u
#define EMS_SYNAPSE_SEQUENCES 26u
#define EMS_SYNAPSE_UNIQUES   179u
#define EMS_SYNAPSE_NEWEST    94u /* the newest that is known */
#define EMS_SYNAPSE_LISTED    6u  /* names that a finding lists; the rest is counted */

/* A sequence and what it must not fall behind (synapse/util/sequence.py, id_generators.py). */
struct ems_synapse_sequence {
    const char *name;
    const char *stream; /* in stream_positions; NULL: none */
    enum { EMS_SEQUENCE_UP, EMS_SEQUENCE_DOWN, EMS_SEQUENCE_LOCALPART } sort;
    bool mended; /* by Synapse itself when it starts, where a table is ahead */
    struct {
        const char *table, *column;
    } sources[EMS_SYNAPSE_SOURCES];
};
/* DOWN: the column holds the sequence's values negated. LOCALPART: it holds user names, of which
 * those count that are a number ("@123:example.org"). */
extern const struct ems_synapse_sequence ems_synapse_sequences[EMS_SYNAPSE_SEQUENCES];

/* A unique index or key. */
struct ems_synapse_unique {
    const char *table, *name, *columns; /* "a,b" */
    const char *where;                  /* partial, or NULL */
    uint8_t since;                      /* schema version; 0: as long as these columns exist */
};
extern const struct ems_synapse_unique ems_synapse_uniques[EMS_SYNAPSE_UNIQUES];

/* Is it a table of Synapse, of any release? If not, *whose may say whose it is. */
bool ems_synapse_knows_table(const char *name, const char **whose);

/* Tables whose rows are counted for the report. */
enum ems_synapse_total {
    EMS_TOTAL_EVENTS,
    EMS_TOTAL_EVENT_JSON,
    EMS_TOTAL_ROOMS,
    EMS_TOTAL_ACCESS_TOKENS,
    EMS_TOTAL_DEVICES,
    EMS_TOTAL_PUSHERS,
    EMS_TOTAL_ROOM_KEYS,
    EMS_TOTAL_ONE_TIME_KEYS,
    EMS_TOTAL_EXTERNAL_IDS,
    EMS_TOTAL_COUNT,
};
/* "events"; and the name in the JSON report where that is another. */
const char *ems_synapse_total_table(enum ems_synapse_total);

/* A few names and how many there were. */
struct ems_synapse_names {
    char *items[EMS_SYNAPSE_LISTED];
    size_t count;
};

struct ems_synapse_state {
    struct {
        bool known;      /* value is */
        int64_t value;   /* the last one given out */
        int64_t highest; /* in the tables, 0 if none */
        const char *table;
        int64_t position; /* in stream_positions, 0 if none */
    } sequences[EMS_SYNAPSE_SEQUENCES];
    bool unique_wanted[EMS_SYNAPSE_UNIQUES], unique_there[EMS_SYNAPSE_UNIQUES];
    struct ems_synapse_names updates, unvalidated, foreign_tables, foreign_code;
    bool has_state_groups;
    bool sqlite;
    uint64_t people;       /* users who are neither guests, deactivated nor of an appservice */
    uint64_t passwordless; /* of them */
    uint64_t totals[EMS_TOTAL_COUNT];
    bool has_totals; /* they were counted */
    /* Event ids of events and of event_json: how many, and the sum of their hashes, which is the
     * same for the same ids in any order. */
    struct {
        uint64_t count, sum;
    } ids[2];
    uint32_t markers;  /* of releases, by the deltas applied */
    char database[64]; /* encoding and locale of the source, if the dump says them (pg_dump -C) */
    bool bad_locale, bad_encoding;
    struct {
        char name[256];
        uint64_t users;
    } servers[8];   /* of the users, the first that were met */
    uint64_t named; /* users that have a server */
};

/* The state of s, made when it is first asked for. NULL: out of memory. */
struct ems_synapse_state *ems_synapse_state(struct ems_synapse *s);
/* Its media rows, likewise. */
struct ems_media_rows *ems_synapse_media(struct ems_synapse *s);

/* All of these: EMS_OK or EMS_NO_MEMORY where they can fail. */
int ems_synapse_see_table(struct ems_synapse *, const char *table, const char *const *columns,
                          size_t count, struct ems_error *);
void ems_synapse_see_unique(struct ems_synapse_state *, const char *table,
                            const char *const *columns, size_t count, bool partial);
int ems_synapse_see_unvalidated(struct ems_synapse_state *, const char *table,
                                const char *constraint, struct ems_error *);
int ems_synapse_see_update(struct ems_synapse *, const char *name, size_t size, struct ems_error *);
void ems_synapse_see_delta(struct ems_synapse_state *, const char *file, size_t size);
void ems_synapse_see_sequence(struct ems_synapse_state *, const char *name, int64_t value);
void ems_synapse_see_position(struct ems_synapse_state *, const char *stream, int64_t value);
void ems_synapse_see_highest(struct ems_synapse_state *, size_t sequence, size_t source,
                             int64_t value);
/* Do events and event_json hold the same ids, as far as this was seen? */
bool ems_synapse_same_ids(const struct ems_synapse_state *);
/* A user; `server` is behind the colon, printable, "" if there is none. */
void ems_synapse_see_users(struct ems_synapse *, const char *server, uint64_t users);
int ems_synapse_names_add(struct ems_synapse_names *, const char *name, struct ems_error *);
/* "a, b and 3 more" */
const char *ems_synapse_names_text(const struct ems_synapse_names *, char *out, size_t size);

/* Rows of the tables that are totalled, from the scanner's facts. */
void ems_synapse_take_totals(struct ems_synapse *, const struct ems_sql_facts *);

/* The releases that fit the schema version and the deltas: "1.152-1.156"; "" if not known. */
const char *ems_synapse_state_releases(const struct ems_synapse *, char *out, size_t size);

/*
 * Say what is known as findings under the name of `artifact`, those that are there already not
 * again. None of them is an error except a database without a schema version.
 */
void ems_synapse_judge(const struct ems_synapse *, const char *artifact, struct ems_findings *);

/* Of the finding that a restored database answers better than the dump. */
#define EMS_SYNAPSE_CONTENTS " rows of event_json: the content of "

/* What a sequence must be set to: the greatest of all, 0 if it is not behind. */
int64_t ems_synapse_sequence_wanted(const struct ems_synapse_state *, size_t sequence);

#endif
