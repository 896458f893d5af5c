/*
 * event_sample.h - a few of the homeserver's own newest events, picked out of a dump at full speed,
 * and the question which key has signed them.
 *
 * The rows of event_json are not looked at one by one: all of the first megabyte, then one row in
 * every 32 KiB, and the last 16 KiB of the block. Of these, the events whose sender is of this
 * server compete by origin_server_ts for a few places. What the row says is only believed after its
 * JSON was parsed at the end (ems_event_signature_read). Half of the places are for messages, whose
 * signatures can be verified (below).
 *
 * What exactly is signed depends on the version of the event's room (event_redact.h), which the
 * table rooms says; it comes behind event_json. Without it only messages and the like can be
 * verified, of which redaction leaves the same in every version.
 */
#ifndef EMS_EVENT_SAMPLE_H
#define EMS_EVENT_SAMPLE_H

#include "bytes.h"
#include "error.h"
#include "signing_key.h"

#define EMS_EVENT_SAMPLES    4u           /* of each of the two sorts */
#define EMS_EVENT_SAMPLE_MAX (64u * 1024) /* bytes of a row that is looked at */

struct ems_event_sample {
    uint64_t ts; /* origin_server_ts as it seems, in milliseconds */
    char *json;  /* of the event */
    size_t size;
    char room_version[16]; /* "" if not known */
};

/* Start with {0}. */
struct ems_event_samples {
    char server[256]; /* whose events are wanted; "" : none are taken */
    struct ems_event_list {
        struct ems_event_sample items[EMS_EVENT_SAMPLES]; /* newest first */
        size_t count;
    } messages, others;
    /* internal */
    unsigned column;          /* of json in the rows */
    uint64_t position;        /* in the block */
    uint64_t next;            /* where to look again */
    bool whole_row, skipping; /* in the row at `position` / until the next row begins */
    struct ems_buf row;       /* the row being put together */
    struct ems_buf tail;      /* the last bytes of the block */
};

/* How a text was written where it comes from. */
enum ems_event_text {
    EMS_EVENT_PLAIN,   /* as it is */
    EMS_EVENT_COPY,    /* with the escapes of COPY */
    EMS_EVENT_STRING,  /* the inside of '...' */
    EMS_EVENT_ESTRING, /* the inside of E'...' */
};

/* An event's JSON, where events come one by one (INSERT, SQLite). EMS_OK or EMS_NO_MEMORY. */
int ems_event_samples_add(struct ems_event_samples *, const char *json, size_t size,
                          enum ems_event_text, struct ems_error *);
/* The version of a room; may come for every room there is, after the events. */
void ems_event_samples_room(struct ems_event_samples *, const char *room, size_t room_size,
                            const char *version, size_t size);

/* A COPY block of event_json begins; column: that of json, from 0. */
void ems_event_samples_begin(struct ems_event_samples *, unsigned column);
/* Its bytes, cut anywhere. EMS_OK or EMS_NO_MEMORY. */
int ems_event_samples_rows(struct ems_event_samples *, const uint8_t *data, size_t size,
                           struct ems_error *);
int ems_event_samples_end(struct ems_event_samples *, struct ems_error *);
void ems_event_samples_release(struct ems_event_samples *);

#define EMS_EVENT_SIGNATURES 4u

/* What an event says about who signed it. */
struct ems_event_signature {
    char event_sender[256];
    uint64_t ts;
    struct {
        char id[EMS_SIGNING_KEY_ID_SIZE]; /* "ed25519:a_AbCd", printable */
        uint8_t bytes[64];
        bool has_bytes; /* they are 64 bytes in base64 */
    } items[EMS_EVENT_SIGNATURES];
    size_t count;
    struct ems_buf message; /* what is signed; size 0: it depends on a room version that is
                               not known */
};

/*
 * Read a sample's JSON: who sent it and the signatures of `server`. False if it is no event of that
 * server that carries its signature. Release the message with ems_buf_release.
 */
bool ems_event_signature_read(const struct ems_event_sample *, const char *server,
                              struct ems_event_signature *);

/* Is it an event of this room? */
bool ems_event_sample_is_in_room(const struct ems_event_sample *, const char *room, size_t size);

#endif
