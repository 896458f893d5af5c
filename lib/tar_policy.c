/*
 * tar_policy.c - see tar_policy.h
 *
 * Paths are looked at component by component, as a kernel would walk them: empty ones and "." are
 * passed over. Names seen are kept as 64-bit hashes: among a million members the chance that two
 * different names fall together is one in 30 millions, and all it costs is a wrong finding.
 */
#include "tar_policy.h"

#include "bytes.h"
#include "name_hash.h"

#include <stdlib.h>
#include <string.h>

#define SHOWN 10u /* findings of one kind before they are only counted */

enum complaint { BAD_PATH, BAD_LINK, BAD_TYPE, DUPLICATE, COMPLAINTS };

struct ems_tar_policy {
    const char *artifact;
    struct ems_findings *findings;
    uint64_t complaints[COMPLAINTS];
    uint64_t *slots; /* hashes of names, 0: free; the lowest bit says that it is a directory */
    size_t slot_count, used;
    struct ems_name_key key;
};

/* ---- single members ---- */

/*
 * Stricter than tar, which strips a leading "/" and refuses ".." only when it unpacks: GNU tar has
 * done both when it made the archive, so neither is in an honest one (it says "Removing leading" to
 * the customer). A ".." that comes back inside is refused too: what it leads to depends on links
 * that an earlier member may have made. Control bytes would move the cursor of whoever lists the
 * archive; bytes above 0x7f are names in UTF-8 or an older encoding and stay.
 */
int ems_tar_check_path(const struct ems_tar_member *m, const char **why)
{
    size_t size = strlen(m->path);

    *why = NULL;
    if (size == 0)
        *why = "it is empty";
    else if (m->hidden_nul)
        *why = "it has a NUL byte in it";
    else if (m->path[0] == '/')
        *why = "it is absolute";
    else if (size > EMS_TAR_MAX_PATH)
        *why = "it is too long";
    for (size_t i = 0; i < size && *why == NULL; i++)
        if ((unsigned char)m->path[i] < 0x20 || m->path[i] == 0x7f)
            *why = "it has control bytes in it";
    for (const char *p = m->path; *p != '\0' && *why == NULL;) {
        size_t n = strcspn(p, "/");

        if (n == 2 && p[0] == '.' && p[1] == '.')
            *why = "it leads out of the archive with ..";
        if (n > EMS_TAR_MAX_NAME)
            *why = "a name in it is too long";
        p += n;
        p += strspn(p, "/");
    }
    return *why == NULL ? EMS_OK : EMS_TAR_UNSAFE_PATH;
}

/* Follow path from a directory `depth` levels below the top: does it ever go above the top? */
static bool stays_inside(const char *path, size_t depth)
{
    while (*path != '\0') {
        size_t n = strcspn(path, "/");

        if (n == 2 && path[0] == '.' && path[1] == '.') {
            if (depth == 0)
                return false;
            depth--;
        } else if (n > 0 && !(n == 1 && path[0] == '.')) {
            depth++;
        }
        path += n;
        path += strspn(path, "/");
    }
    return true;
}

/* Directories and name that a path goes down by. */
static size_t depth_of(const char *path)
{
    size_t depth = 0;

    while (*path != '\0') {
        size_t n = strcspn(path, "/");

        if (n > 0 && !(n == 1 && path[0] == '.'))
            depth++;
        path += n;
        path += strspn(path, "/");
    }
    return depth;
}

/*
 * A symbolic target is relative to the directory of the link, a hard one to the top of the archive
 * (POSIX, pax, linkname). The walk is by text alone: "a/.." counts as staying where it is although
 * "a" may be a link, and that is enough, because symbolic links are never made (unpack.h) and hard
 * ones are looked up without following any.
 */
int ems_tar_check_link(const struct ems_tar_member *m)
{
    size_t depth = m->type == EMS_TAR_SYMLINK ? depth_of(m->path) : 0;

    if (m->target == NULL)
        return EMS_OK;
    if (m->target[0] == '\0' || m->target[0] == '/' || strlen(m->target) > EMS_TAR_MAX_PATH)
        return EMS_TAR_UNSAFE_LINK;
    return stays_inside(m->target, depth > 0 ? depth - 1 : 0) ? EMS_OK : EMS_TAR_UNSAFE_LINK;
}

/* Set-id bits on directories (02000: files inherit the group) are common on servers and harmless:
 * no mode is taken over. On a file they can only be meant to be run. */
int ems_tar_check_type(const struct ems_tar_member *m, const char **why)
{
    *why = NULL;
    if (m->type == EMS_TAR_OTHER)
        *why = m->flag == '3' || m->flag == '4' ? "it is a device"
               : m->flag == '6'                 ? "it is a fifo"
                                                : "it is neither file, directory nor link";
    else if (m->type == EMS_TAR_FILE && (m->mode & 06000) != 0)
        *why = "it is a file that runs as its owner (set-id bits)";
    return *why == NULL ? EMS_OK : EMS_TAR_UNSAFE_TYPE;
}

/* The one spelling of a path under which duplicates are looked for and files are made: without
 * empty components and ".". Only for paths that were found safe: ".." is kept as a name here. */
size_t ems_tar_clean_path(const char *path, char *out)
{
    size_t size = 0;

    while (*path != '\0') {
        size_t n = strcspn(path, "/");

        if (n > 0 && !(n == 1 && path[0] == '.')) {
            if (size > 0)
                out[size++] = '/';
            memcpy(out + size, path, n);
            size += n;
        }
        path += n;
        path += strspn(path, "/");
    }
    out[size] = '\0';
    return size;
}

/* ---- names seen ---- */

/* Twice the slots; at most half of them are in use, so that searching ends soon. */
static int grow(struct ems_tar_policy *p, struct ems_error *err)
{
    size_t count = p->slot_count > 0 ? 2 * p->slot_count : 1024;
    uint64_t *slots = calloc(count, sizeof *slots);

    if (slots == NULL)
        return ems_fail_memory(err);
    for (size_t i = 0; i < p->slot_count; i++) {
        size_t k = (size_t)(p->slots[i] >> 1) & (count - 1);

        if (p->slots[i] == 0)
            continue;
        while (slots[k] != 0)
            k = (k + 1) & (count - 1);
        slots[k] = p->slots[i];
    }
    free(p->slots);
    p->slots = slots;
    p->slot_count = count;
    return EMS_OK;
}

/* Remember a name. *again: it was there before, and not both times as a directory. */
static int remember(struct ems_tar_policy *p, const char *name, size_t size, bool directory,
                    bool *again, struct ems_error *err)
{
    uint64_t hash = (ems_name_hash(&p->key, name, size) & ~UINT64_C(1)) | (directory ? 1 : 0);
    size_t i;

    *again = false;
    if (hash < 2)
        hash += 2;
    if (2 * p->used >= p->slot_count) { /* memory has a bound: later names go unwatched */
        if (p->used >= EMS_TAR_MAX_WATCHED)
            return EMS_OK;
        if (grow(p, err) != EMS_OK)
            return err->code;
    }
    for (i = (size_t)(hash >> 1) & (p->slot_count - 1); p->slots[i] != 0;
         i = (i + 1) & (p->slot_count - 1)) {
        if ((p->slots[i] ^ hash) > 1)
            continue;
        *again = !directory || (p->slots[i] & 1) == 0;
        return EMS_OK;
    }
    p->slots[i] = hash;
    p->used++;
    return EMS_OK;
}

/* ---- the policy ---- */

struct ems_tar_policy *ems_tar_policy_new(const char *artifact, struct ems_findings *findings,
                                          struct ems_error *err)
{
    struct ems_tar_policy *p = calloc(1, sizeof *p);

    if (p == NULL) {
        ems_fail_memory(err);
        return NULL;
    }
    p->artifact = artifact;
    p->findings = findings;
    if (!ems_name_key_init(&p->key)) {
        ems_fail(err, EMS_INTERNAL, "no random numbers");
        free(p);
        return NULL;
    }
    return p;
}

static const struct {
    int code;
    const char *many, *advice;
} kinds[COMPLAINTS] = {
    {EMS_TAR_UNSAFE_PATH, "members with unsafe names",
     "Make the archive again as the guide says, without tar's option -P; do not unpack this one."},
    {EMS_TAR_UNSAFE_LINK, "links that lead out of the archive",
     "Make the archive of the real directory, with tar's option -h if links must be followed."},
    {EMS_TAR_UNSAFE_TYPE, "members that are no plain files",
     "Make the archive again of the media only; do not unpack this one."},
    {EMS_TAR_DUPLICATE, "members that replace earlier ones",
     "Make the archive again, into a new file; tar -r and tar -u keep the old members."},
};

/* Of each kind the first few by name, the others only counted. */
static void complain(struct ems_tar_policy *p, enum complaint what, const struct ems_tar_member *m,
                     const char *why)
{
    char shown[300], target[200] = "";

    if (++p->complaints[what] > SHOWN)
        return;
    ems_printable(m->path, strlen(m->path), shown, sizeof shown);
    if (what == BAD_LINK)
        ems_printable(m->target, strlen(m->target), target, sizeof target);
    ems_findings_add(p->findings, kinds[what].code, EMS_SEVERITY_ERROR, p->artifact, NULL,
                     EMS_NOWHERE, p->complaints[what] == 1 ? kinds[what].advice : "",
                     "member '%s': %s%s%s%s", shown, why, what == BAD_LINK ? "'" : "", target,
                     what == BAD_LINK ? "'" : "");
}

/* One complaint a member, the gravest first: a name that cannot be trusted is not remembered, so
 * that it makes no duplicate of an honest one. */
int ems_tar_policy_check(struct ems_tar_policy *p, const struct ems_tar_member *m, bool *safe,
                         struct ems_error *err)
{
    char clean[EMS_TAR_MAX_PATH + 1];
    const char *why;
    bool again = false;
    size_t size;
    int rc;

    *safe = false;
    if (ems_tar_check_path(m, &why) != EMS_OK) {
        complain(p, BAD_PATH, m, why);
        return EMS_OK;
    }
    if (ems_tar_check_type(m, &why) != EMS_OK) {
        complain(p, BAD_TYPE, m, why);
        return EMS_OK;
    }
    if (ems_tar_check_link(m) != EMS_OK) {
        complain(p, BAD_LINK, m, "it leads out of the archive, to ");
        return EMS_OK;
    }
    size = ems_tar_clean_path(m->path, clean);
    rc = remember(p, clean, size, m->type == EMS_TAR_DIRECTORY, &again, err);
    if (rc == EMS_OK && again)
        complain(p, DUPLICATE, m, "it replaces an earlier one of the same name");
    *safe = rc == EMS_OK && !again;
    return rc;
}

void ems_tar_policy_finish(struct ems_tar_policy *p)
{
    for (size_t i = 0; i < COMPLAINTS; i++)
        if (p->complaints[i] > SHOWN)
            ems_findings_add(p->findings, kinds[i].code, EMS_SEVERITY_ERROR, p->artifact, NULL,
                             EMS_NOWHERE, "", "%llu %s in all",
                             (unsigned long long)p->complaints[i], kinds[i].many);
}

void ems_tar_policy_free(struct ems_tar_policy *p)
{
    if (p == NULL)
        return;
    free(p->slots);
    free(p);
}
