/*
 * archive_walk.h - one pass over a tar artifact: the archive itself, its members' names and types,
 * and what the members are.
 *
 * Every kind of content has a walker. All of them see every member, in a fixed order, until one
 * claims it; only that one gets its data. Which kind the archive is follows from the claims: the
 * kind its name promises if that walker claimed anything, else tar-wrong-content. So a walker
 * claims what can only be its own, by the member's path, and stays silent until finish, which only
 * the walker of the archive's kind is called with.
 */
#ifndef EMS_ARCHIVE_WALK_H
#define EMS_ARCHIVE_WALK_H

#include "digest.h"
#include "facts.h"
#include "finding.h"
#include "tar.h"

struct ems_walker;

/* All return EMS_OK or an error; an error ends the run of the artifact (what is wrong with the
 * content is a finding, kept until finish, not an error). Any of them may be NULL but begin, finish
 * and free. */
struct ems_walker_ops {
    const char *layer; /* of the JSON report: "media-store" */
    const char *words; /* for messages: "a media store" */
    const char *hint;  /* advice where none of it is found; NULL: that of the finding's code */

    /* A member begins. *claimed: it is of this content, and its data is wanted. member's strings
     * are valid until the member's end. */
    int (*begin)(struct ems_walker *, const struct ems_tar_member *, bool *claimed,
                 struct ems_error *);
    /* Its bytes, as a stage that is pulled to its end; taken over. For a walker that has stages of
     * its own above it; used instead of data. What it leaves unread is passed over, and a failure
     * of the archive itself ends the walk whatever this returns. */
    int (*read)(struct ems_walker *, struct ems_source *member, struct ems_error *);
    /* Its bytes, span by span; lent as by ems_source_next. */
    int (*data)(struct ems_walker *, const struct ems_span *, struct ems_error *);
    /* All of them have come, as many as the header declared. Only for claimed members. */
    int (*end)(struct ems_walker *, struct ems_error *);
    /* The archive is complete and proven: say what is wrong and what was found. */
    int (*finish)(struct ems_walker *, const char *artifact, struct ems_findings *,
                  struct ems_facts *, struct ems_error *);
    void (*free)(struct ems_walker *);
};

/* First member of every walker. */
struct ems_walker {
    const struct ems_walker_ops *ops;
    uint64_t claimed; /* members; counted by the walk */
};

struct ems_walk_options {
    const char *artifact; /* name, for findings */
    struct ems_walker **walkers;
    size_t walker_count;
    size_t expected;   /* which of them the artifact's name promises; SIZE_MAX: none */
    ems_tick_fn *tick; /* may be NULL */
    void *tick_context;
};

struct ems_walk_result {
    struct ems_tar_facts tar;
    size_t kind; /* walker whose content it is, SIZE_MAX if nobody's */
    int refused; /* code of the first finding of severity error; EMS_OK if there is none */
};

/*
 * Walks tar to its end. EMS_END if the archive is complete, whatever is said about its content in
 * findings; else the error. finish of the walker has then been called, with facts to fill in.
 */
int ems_archive_walk(struct ems_tar *, const struct ems_walk_options *, struct ems_walk_result *,
                     struct ems_findings *, struct ems_facts *, struct ems_error *);

#endif
