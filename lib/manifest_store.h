/*
 * manifest_store.h - internal to the manifest: its strings, its table of names, and growing arrays.
 */
#ifndef EMS_MANIFEST_STORE_H
#define EMS_MANIFEST_STORE_H

#include "manifest.h"

/* Copies of strings lie in chunks that are freed together. */
struct ems_manifest_chunk {
    struct ems_manifest_chunk *next;
    size_t used, size;
    char text[];
};

struct ems_manifest_store {
    struct ems_manifest_chunk *chunks;
    uint64_t key[2];     /* of the hash, random, so that nobody can prepare collisions */
    uint32_t *buckets;   /* open addressing: index of an entry plus one, 0 is free */
    size_t bucket_count; /* a power of two */
    size_t entry_room, artifact_room, inner_room, sqldump_room, table_room, media_room, block_room;
};

/*
 * The part of a path that counts: what follows the last slash. False, with the reason (static), for
 * what no manifest may name.
 */
bool ems_manifest_base_name(const char *path, size_t size, const char **base, size_t *base_size,
                            const char **reason);

/* Of a name that ends in a ".part-" suffix or a volume's number: the length of what is before it;
 * of others 0. */
size_t ems_manifest_part_stem(const char *name);

struct ems_artifact;
struct ems_artifact_digests;

/* How many inner lines are compared: each file is held against all of them, so a manifest must not
 * be able to ask for any number. */
size_t ems_manifest_inners(const struct ems_manifest *);
/* Are there inner lines of this artifact? Then its layers are worth hashing. */
bool ems_manifest_has_inner(const struct ems_manifest *, const char *name);
/* The media line of an archive of media that was read; false if it is none. Borrows from it. */
bool ems_manifest_media_of(const struct ems_artifact *, struct ems_manifest_media *);
/* What the manifest says about the inside of an artifact that was read to its end and is good so
 * far. What differs is an error, to be sent again. EMS_OK or EMS_NO_MEMORY. */
int ems_manifest_match_inside(const struct ems_manifest *, const struct ems_artifact *,
                              const struct ems_artifact_digests *, struct ems_findings *,
                              size_t *differences);

/* Of a split set that was matched: parts that are listed, and that not even the resolver has missed
 * (EMS_MANIFEST_MISSING). What it has missed is not said again at the end. Returns how many. */
size_t ems_manifest_match_tail(struct ems_manifest *, const struct ems_part_set *,
                               struct ems_findings *);

/* Fill in the entries' `parts`, after the last entry was added. */
void ems_manifest_count_parts(struct ems_manifest *);

#endif
