/*
 * media_store.c - see media_store.h
 *
 * Claimed is every file below one of the six top directories that Synapse has. Whether Synapse
 * would ever look at it there is the second question: a backup may hold what editors, file managers
 * and other systems left behind, which is reported but harms nobody.
 */
#include "media_store.h"

#include "media_rows.h"
#include "report.h"
#include "tar_policy.h"

#include <gcrypt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PARTS 6u /* components that any rule looks at, the top directory included */

struct example {
    uint64_t count;
    char first[200]; /* printable */
};

struct media_store {
    struct ems_walker base;
    struct ems_media_ids *ids;
    const struct ems_media_rows *rows; /* or NULL */
    gcry_md_hd_t sha256;               /* made at the first use */
    bool hashing;                      /* the member at hand */
    struct ems_media_id member;        /* that is added at its end; its id is in member_id */
    char member_id[EMS_MEDIA_ID_MAX + 1];
    uint64_t hashed;
    uint64_t files[EMS_STORE_CLASSES], bytes[EMS_STORE_CLASSES];
    uint64_t empty, hard_links; /* of local media */
    struct example misfits, unsafe, strays;
    bool has_prefix;
    char prefix[EMS_TAR_MAX_PATH + 1];
};

/* ---- paths ---- */

/* In the order of enum ems_store_class. "remote_thumbnail" has no s: so it is in filepath.py. */
static const char *const tops[EMS_STORE_CLASSES] = {"local_content",    "url_cache",
                                                    "remote_content",   "local_thumbnails",
                                                    "remote_thumbnail", "url_cache_thumbnails"};

struct part {
    const char *text;
    size_t size;
};

static bool is_text(struct part p, const char *text)
{
    return p.size == strlen(text) && memcmp(p.text, text, p.size) == 0;
}

/* Letters, digits and a few more; that is all that Synapse makes ids and server names of. */
static bool all_of(struct part p, const char *extra)
{
    for (size_t i = 0; i < p.size; i++) {
        char c = p.text[i];

        if (!(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') &&
            (c == '\0' || strchr(extra, c) == NULL))
            return false;
    }
    return true;
}

/* "2024-03-01": the directory of URL previews of that day. */
static bool is_date(struct part p)
{
    static const char pattern[] = "dddd-dd-dd";

    if (p.size != sizeof pattern - 1)
        return false;
    for (size_t i = 0; i < p.size; i++)
        if (pattern[i] == '-' ? p.text[i] != '-' : p.text[i] < '0' || p.text[i] > '9')
            return false;
    return true;
}

/* "320-240-image-jpeg-scale"; the method is missing in old ones of remote media. */
static bool is_thumbnail(struct part p, bool method_optional)
{
    unsigned fields = 0;
    size_t start = 0;

    for (size_t i = 0; i <= p.size; i++) {
        if (i < p.size && p.text[i] != '-')
            continue;
        if (i == start)
            return false;
        for (size_t k = start; k < i && fields < 2; k++)
            if (p.text[k] < '0' || p.text[k] > '9')
                return false;
        fields++;
        start = i + 1;
    }
    return fields >= (method_optional ? 4 : 5);
}

/* The directories AA/BB/rest or, in the URL cache, YYYY-MM-DD/rest: how many parts, 0 for neither.
 */
static size_t read_id(const struct part *parts, size_t count, bool url_cache, char *id)
{
    char text[EMS_MEDIA_ID_MAX + 1];
    int n = -1;
    size_t used = 0;

    if (url_cache && count >= 2 && is_date(parts[0])) {
        used = 2;
        n = snprintf(text, sizeof text, "%.10s_%.*s", parts[0].text, (int)parts[1].size,
                     parts[1].text);
    } else if (count >= 3 && parts[0].size == 2 && parts[1].size == 2) {
        used = 3;
        n = snprintf(text, sizeof text, "%.2s%.2s%.*s", parts[0].text, parts[1].text,
                     (int)parts[2].size, parts[2].text);
    }
    /* No id goes on with a dot; what macOS leaves beside each file does ("._NAME"). */
    if (n < 0 || (size_t)n >= sizeof text || parts[used - 1].text[0] == '.')
        return 0;
    memcpy(id, text, (size_t)n + 1);
    return used;
}

/* Do the parts below the top directory have the shape that Synapse gives them? */
static bool fits(enum ems_store_class class, const struct part *parts, size_t count, char *id)
{
    bool remote = class == EMS_STORE_REMOTE || class == EMS_STORE_REMOTE_THUMBNAIL;
    bool url_cache = class == EMS_STORE_URL_CACHE || class == EMS_STORE_URL_CACHE_THUMBNAIL;
    bool thumbnail = class >= EMS_STORE_LOCAL_THUMBNAIL;
    size_t used;

    if (remote && count > 0) {
        parts++; /* the server */
        count--;
    }
    used = read_id(parts, count, url_cache, id);
    if (used == 0 || count != used + (thumbnail ? 1 : 0))
        return false;
    return !thumbnail || is_thumbnail(parts[used], remote);
}

/* One pass: before a top directory was found its components are prefix, after that they are parts.
 */
bool ems_store_path_read(const char *path, struct ems_store_path *out)
{
    struct part parts[MAX_PARTS];
    const char *p = path;
    size_t count = 0;
    bool found = false;

    *out = (struct ems_store_path){.safe = true};
    for (;;) {
        struct part part = {p, strcspn(p, "/")};

        if (found) {
            out->safe &= all_of(part, "_-.[]:");
            if (count < MAX_PARTS)
                parts[count] = part;
            count++;
        }
        for (size_t i = 0; i < EMS_STORE_CLASSES && !found; i++) {
            if (!is_text(part, tops[i]) || p[part.size] == '\0')
                continue;
            out->class = (enum ems_store_class)i;
            out->prefix_size = (size_t)(p - path);
            found = true;
            break;
        }
        p += part.size;
        if (*p++ == '\0')
            break;
    }
    if (!found)
        return false;
    out->fits = count < MAX_PARTS && fits(out->class, parts, count, out->id);
    if (!out->fits || (out->class != EMS_STORE_LOCAL && out->class != EMS_STORE_URL_CACHE))
        out->id[0] = '\0';
    return true;
}

/* ---- the walker ---- */

static void note_example(struct example *e, const char *path)
{
    if (e->count++ == 0)
        ems_printable(path, strlen(path), e->first, sizeof e->first);
}

/* Is there a hash that this file's can be held against? */
static int begin_hash(struct media_store *s, struct ems_error *err)
{
    size_t row = SIZE_MAX;

    s->hashing = false;
    if (s->rows != NULL && s->member.size != EMS_NOWHERE)
        row = ems_media_ids_find(&s->rows->ids, s->member.id, s->member.id_size);
    if (row == SIZE_MAX || ems_media_ids_get(&s->rows->ids, row).sha256 == NULL)
        return EMS_OK;
    if (s->sha256 == NULL && gcry_md_open(&s->sha256, GCRY_MD_SHA256, 0) != 0)
        return ems_fail(err, EMS_INTERNAL, "libgcrypt has no SHA-256");
    gcry_md_reset(s->sha256);
    s->hashing = true;
    return EMS_OK;
}

/* Sizes are in the headers: what the database has no hash of need not be looked at (the archive
 * proves that it is all there). */
static int store_begin(struct ems_walker *walker, const struct ems_tar_member *m, bool *claimed,
                       struct ems_error *err)
{
    struct media_store *s = (struct media_store *)walker;
    char path[EMS_TAR_MAX_PATH + 1];
    struct ems_store_path at;

    if (m->type != EMS_TAR_FILE && m->type != EMS_TAR_HARDLINK)
        return EMS_OK;
    s->member.id = NULL;
    s->hashing = false;
    ems_tar_clean_path(m->path, path);
    if (!ems_store_path_read(path, &at))
        return EMS_OK;
    *claimed = true;
    if (!s->has_prefix) {
        s->has_prefix = true;
        memcpy(s->prefix, path, at.prefix_size);
        s->prefix[at.prefix_size] = '\0';
    }
    if (strlen(s->prefix) != at.prefix_size || memcmp(s->prefix, path, at.prefix_size) != 0) {
        note_example(&s->strays, path);
        return EMS_OK;
    }
    if (!at.safe || !at.fits) {
        note_example(!at.safe ? &s->unsafe : &s->misfits, path + at.prefix_size);
        return EMS_OK;
    }
    s->files[at.class]++;
    s->bytes[at.class] += m->size;
    if (at.id[0] == '\0')
        return EMS_OK;
    if (m->type == EMS_TAR_HARDLINK) /* tar stores a file's second name without its size */
        s->hard_links++;
    else if (m->size == 0 && at.class == EMS_STORE_LOCAL)
        s->empty++;
    strcpy(s->member_id, at.id);
    s->member = (struct ems_media_id){.id = s->member_id,
                                      .id_size = strlen(at.id),
                                      .size = m->type == EMS_TAR_HARDLINK ? EMS_NOWHERE : m->size,
                                      .url_cache = at.class == EMS_STORE_URL_CACHE,
                                      .created_ms = EMS_NOWHERE};
    return begin_hash(s, err);
}

/* Hashing is most of the work here, so it is done for those files alone that have something to be
 * compared with: Synapse stores sha256 since schema 91 (release 1.128) and for new media only. */
static int store_data(struct ems_walker *walker, const struct ems_span *span, struct ems_error *err)
{
    struct media_store *s = (struct media_store *)walker;

    (void)err;
    if (s->hashing)
        gcry_md_write(s->sha256, span->data, span->size);
    return EMS_OK;
}

/* Past the bound on memory ids are dropped, and the comparison says so instead of comparing half a
 * list (upload_media.c). */
static int store_end(struct ems_walker *walker, struct ems_error *err)
{
    struct media_store *s = (struct media_store *)walker;

    if (s->member.id == NULL || ems_media_ids_is_full(s->ids))
        return EMS_OK;
    if (s->hashing) {
        s->member.sha256 = gcry_md_read(s->sha256, GCRY_MD_SHA256);
        s->hashed++;
    }
    return ems_media_ids_add(s->ids, &s->member, err);
}

/* Two stores in one archive are an error, for nobody could say which one counts. The rest is
 * advice: what is missing for certain shows when the ids are compared with the dump. */
static void report(const struct media_store *s, const char *artifact, struct ems_findings *findings)
{
    if (s->strays.count > 0)
        ems_findings_add(findings, EMS_TAR_WRONG_CONTENT, EMS_SEVERITY_ERROR, artifact, NULL,
                         EMS_NOWHERE, "Make the archive again, of one media store only.",
                         "two media stores in one archive: below '%s', and %s (%llu files)",
                         s->prefix, s->strays.first, (unsigned long long)s->strays.count);
    if (s->files[EMS_STORE_LOCAL] == 0)
        ems_findings_add(findings, EMS_MEDIA_MISSING, EMS_SEVERITY_WARNING, artifact, NULL,
                         EMS_NOWHERE,
                         "Ask where the media are: media_storage_providers in homeserver.yaml may "
                         "keep them in S3 only, and then they are exported from there.",
                         "no media of the server's own users (local_content) in this media store");
    if (s->unsafe.count > 0)
        ems_findings_add(findings, EMS_MEDIA_UNSAFE_NAME, EMS_SEVERITY_WARNING, artifact, NULL,
                         EMS_NOWHERE, "Nothing of Synapse's: these files are left out.",
                         "%llu files with characters in their names that Synapse never uses, for "
                         "example %s",
                         (unsigned long long)s->unsafe.count, s->unsafe.first);
    if (s->misfits.count > 0)
        ems_findings_add(findings, EMS_MEDIA_EXTRA, EMS_SEVERITY_WARNING, artifact, NULL,
                         EMS_NOWHERE, "Nothing of Synapse's: these files are left out.",
                         "%llu files where Synapse would not look for media, for example %s",
                         (unsigned long long)s->misfits.count, s->misfits.first);
    if (s->empty > 0)
        ems_findings_add(findings, EMS_MEDIA_SIZE, EMS_SEVERITY_NOTE, artifact, NULL, EMS_NOWHERE,
                         "", "%llu media files of the server's own users are empty",
                         (unsigned long long)s->empty);
}

/* Thumbnails and media of other servers are counted, not judged: Synapse makes or fetches them
 * again. */
static int add_facts(const struct media_store *s, struct ems_facts *facts, struct ems_error *err)
{
    static const char *const names[EMS_STORE_CLASSES][2] = {
        {"local_files", "local_bytes"},
        {"url_cache_files", "url_cache_bytes"},
        {"remote_files", "remote_bytes"},
        {"local_thumbnails", "local_thumbnail_bytes"},
        {"remote_thumbnails", "remote_thumbnail_bytes"},
        {"url_cache_thumbnails", "url_cache_thumbnail_bytes"}};
    int rc = ems_facts_text(facts, "prefix", s->prefix, err);

    for (size_t i = 0; i < EMS_STORE_CLASSES && rc == EMS_OK; i++) {
        rc = ems_facts_number(facts, names[i][0], s->files[i], err);
        if (rc == EMS_OK)
            rc = ems_facts_number(facts, names[i][1], s->bytes[i], err);
    }
    if (rc == EMS_OK)
        rc = ems_facts_number(facts, "hard_links", s->hard_links, err);
    if (rc == EMS_OK)
        rc = ems_facts_number(facts, "hashed", s->hashed, err);
    if (rc == EMS_OK)
        rc = ems_facts_number(facts, "other_files",
                              s->misfits.count + s->unsafe.count + s->strays.count, err);
    return rc;
}

static int store_finish(struct ems_walker *walker, const char *artifact,
                        struct ems_findings *findings, struct ems_facts *facts,
                        struct ems_error *err)
{
    struct media_store *s = (struct media_store *)walker;
    uint64_t thumbnails = 0;
    char size[32];

    for (size_t i = EMS_STORE_LOCAL_THUMBNAIL; i < EMS_STORE_CLASSES; i++)
        thumbnails += s->files[i];
    ems_media_ids_sort(s->ids);
    report(s, artifact, findings);
    snprintf(facts->summary, sizeof facts->summary,
             "%llu media of its own users (%s), %llu of other servers, %llu previews, %llu "
             "thumbnails",
             (unsigned long long)s->files[EMS_STORE_LOCAL],
             ems_human_bytes(s->bytes[EMS_STORE_LOCAL], size),
             (unsigned long long)s->files[EMS_STORE_REMOTE],
             (unsigned long long)s->files[EMS_STORE_URL_CACHE], (unsigned long long)thumbnails);
    return add_facts(s, facts, err);
}

static void store_free(struct ems_walker *walker)
{
    gcry_md_close(((struct media_store *)walker)->sha256);
    free(walker);
}

static const struct ems_walker_ops store_ops = {
    .layer = "media-store",
    .words = "a media store",
    .begin = store_begin,
    .data = store_data,
    .end = store_end,
    .finish = store_finish,
    .free = store_free,
};

struct ems_walker *ems_media_store_open(struct ems_media_ids *ids,
                                        const struct ems_media_rows *rows, struct ems_error *err)
{
    struct media_store *s = calloc(1, sizeof *s);

    if (s == NULL) {
        ems_fail_memory(err);
        return NULL;
    }
    s->base.ops = &store_ops;
    s->ids = ids;
    s->rows = rows;
    return &s->base;
}
