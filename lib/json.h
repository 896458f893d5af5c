/*
 * json.h - JSON (RFC 8259) as a stream: bytes are pushed in pieces of any size, events come out.
 *
 * For documents that are too large to be held (the manifest of a media export: 400 MB). Nothing is
 * allocated; all state is in the struct. Exactly one value is accepted, in UTF-8 without a byte
 * order mark; escaped surrogates must come in pairs. What is only a matter of taste elsewhere is an
 * error here, because a reader that disagrees with us would see another document.
 *
 * Limits: EMS_JSON_MAX_DEPTH containers in each other, EMS_JSON_MAX_STRING bytes a string,
 * EMS_JSON_MAX_NUMBER characters a number.
 */
#ifndef EMS_JSON_H
#define EMS_JSON_H

#include "error.h"
#include "utf8.h"

#define EMS_JSON_MAX_DEPTH  32u
#define EMS_JSON_MAX_STRING (1u << 20)
#define EMS_JSON_MAX_NUMBER 64u
#define EMS_JSON_MAX_TEXT   1024u /* bytes of a string that are handed out */

enum ems_json_type {
    EMS_JSON_OBJECT, /* begins */
    EMS_JSON_OBJECT_END,
    EMS_JSON_ARRAY,
    EMS_JSON_ARRAY_END,
    EMS_JSON_KEY,
    EMS_JSON_STRING,
    EMS_JSON_NUMBER, /* text is as it was written */
    EMS_JSON_TRUE,
    EMS_JSON_FALSE,
    EMS_JSON_NULL,
};

struct ems_json_event {
    enum ems_json_type type;
    unsigned depth;   /* containers around it; that of a container's begin and end are the same */
    const char *text; /* of keys, strings (escapes resolved, so NULs are possible) and numbers; with
                         a NUL behind it; valid until the call returns */
    size_t size;
    bool cut; /* the string has more than EMS_JSON_MAX_TEXT bytes: text is its beginning */
};

/* A code other than EMS_OK ends the parse with it (fill in *err with ems_fail). */
typedef int ems_json_fn(void *context, const struct ems_json_event *, struct ems_error *);

struct ems_json {
    ems_json_fn *fn;
    void *context;
    int code;        /* that errors of the document are given */
    int verdict;     /* EMS_OK, or what ended it: every later call gives it again */
    uint64_t offset; /* bytes taken */
    int state;
    unsigned depth;
    uint64_t objects; /* bit d: the container at depth d is an object, not an array */
    /* the token being read */
    char text[EMS_JSON_MAX_TEXT + 1];
    size_t text_size; /* kept in text */
    size_t size;      /* bytes of the token so far */
    bool is_key;
    struct ems_utf8 utf8;
    unsigned hex_digits; /* of an escape, still to come */
    uint32_t unit, high; /* UTF-16 code unit being read; high surrogate that waits, or 0 */
    const char *word;    /* what must still come of true, false, null */
    enum ems_json_type word_type;
};

/* code: what errors of the document are called (enum ems_code). */
void ems_json_init(struct ems_json *, int code, ems_json_fn *, void *context);

/* EMS_OK, code ("byte N: ..."), or what fn returned. */
int ems_json_feed(struct ems_json *, const void *data, size_t size, struct ems_error *);

/* The document has ended: EMS_OK if it is complete. */
int ems_json_finish(struct ems_json *, struct ems_error *);

#endif
