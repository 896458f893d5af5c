/*
 * tar.c - see tar.h. libarchive reads the format; its verdicts are not relied on.
 *
 * It pulls bytes through a callback (feed), and lends a file's bytes straight out of the span that
 * the callback lent to it, so nothing is copied but headers. All that passes is watched on the way:
 *
 * - the offset behind the last byte that is not zero, which tells at the end whether anything but
 *   zeros came after the last member, and how much came at all;
 * - the raw headers of each member, for what libarchive does not hand out: the type byte, NULs
 *   behind a name, the size as it is stored.
 *
 * archive_filter_bytes(a, 0) is the offset of the next byte that libarchive has not consumed, and
 * archive_read_header_position that of the last header it looked for (libarchive 3.6:
 * archive_read.c, archive_read_support_format_tar.c). They are how the two views are tied together.
 */
#include "tar.h"

#include "bytes.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum state {
    AT_START,  /* nothing was read */
    IN_HEADER, /* libarchive is reading it */
    IN_DATA,
    AT_DATA_END,
    ENDED, /* verdict is EMS_END or a failure */
};

struct ems_tar {
    struct ems_source *below;
    struct archive *archive;
    enum state state;
    int verdict; /* EMS_OK while running */
    struct ems_error error;

    /* The bytes that pass. */
    struct ems_span span; /* lent to libarchive */
    uint64_t span_at;     /* offset of span in the tar stream */
    uint64_t nonzero_end; /* offset behind the last byte that was not zero */
    bool below_ended;

    /* The raw headers of the current member. */
    struct ems_buf header;
    uint64_t header_at; /* offset of header.data[0] */
    uint64_t stored;    /* bytes of data that follow, as the headers say */
    uint64_t data_end;  /* offset behind them and their padding */

    struct ems_tar_member member;
    struct ems_tar_facts facts;
    uint64_t position; /* bytes of the member lent so far */
    uint64_t holes;    /* bytes of holes in the archive so far */
    /* A block of a sparse file that waits until the hole before it has been lent. */
    const void *waiting;
    size_t waiting_size;
    uint64_t waiting_at;
    bool data_ended; /* libarchive has no more; a last hole may be left */
};

static const uint8_t zeros[65536];

static int fail(struct ems_tar *t, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The first failure becomes the verdict. */
static int fail(struct ems_tar *t, int code, const char *fmt, ...)
{
    va_list args;

    if (t->error.code == EMS_OK) {
        va_start(args, fmt);
        ems_vfail(&t->error, code, fmt, args);
        va_end(args);
        t->error.stage = "tar";
        t->error.origin = t->span.size > 0 ? t->span.origin : t->below->origin;
    }
    t->state = ENDED;
    t->verdict = t->error.code;
    return t->verdict;
}

/* What a call that has found no other answer returns: the verdict, told to the caller. */
static int answer(const struct ems_tar *t, struct ems_error *err)
{
    if (t->verdict != EMS_OK && t->verdict != EMS_END && err != NULL && err->code == EMS_OK)
        *err = t->error;
    return t->verdict;
}

/* ---- the bytes that pass ---- */

/* A word at a time: an archive of zeros is watched at memory speed, others at no cost. */
static size_t without_trailing_zeros(const uint8_t *data, size_t size)
{
    uint64_t word;

    while (size >= sizeof word) {
        memcpy(&word, data + size - sizeof word, sizeof word);
        if (word != 0)
            break;
        size -= sizeof word;
    }
    while (size > 0 && data[size - 1] == 0)
        size--;
    return size;
}

/*
 * Keep the raw header bytes of the current span up to the offset `end`. Called before the span goes
 * (everything in it after header_at is header still) and when libarchive has read the header. The
 * limit is on all headers of a member together: libarchive bounds each of them, at 1 MiB, and how
 * many may follow each other.
 */
static int keep_header(struct ems_tar *t, uint64_t end)
{
    uint64_t from = t->header_at + t->header.size;
    struct ems_error err = {0};

    if (end > t->span_at + t->span.size)
        end = t->span_at + t->span.size;
    if (from < t->span_at || from >= end)
        return EMS_OK;
    if (end - t->header_at > EMS_TAR_MAX_HEADER)
        return fail(t, EMS_TAR_CORRUPT, "member %llu has more than %u bytes of headers",
                    (unsigned long long)t->facts.members + 1, EMS_TAR_MAX_HEADER);
    if (ems_buf_append(&t->header, t->span.data + (from - t->span_at), (size_t)(end - from),
                       &err) != EMS_OK)
        return fail(t, err.code, "%s", err.text);
    return EMS_OK;
}

/* The next span from below. EMS_OK, EMS_END, or the verdict after a failure. */
static int pull(struct ems_tar *t)
{
    struct ems_error err = {0};
    size_t useful;
    int rc;

    t->span_at += t->span.size;
    rc = ems_source_next(t->below, &t->span, &err);
    if (rc == EMS_END)
        t->below_ended = true;
    if (rc == EMS_OK) {
        useful = without_trailing_zeros(t->span.data, t->span.size);
        if (useful > 0)
            t->nonzero_end = t->span_at + useful;
    } else if (rc != EMS_END && t->error.code == EMS_OK) {
        t->error = err;
        t->state = ENDED;
        t->verdict = rc;
    }
    return rc;
}

/* libarchive's read callback: bytes, 0 at the end, or ARCHIVE_FATAL with our own error kept. */
static la_ssize_t feed(struct archive *archive, void *context, const void **buffer)
{
    struct ems_tar *t = context;
    int rc = t->error.code;

    if (rc == EMS_OK && t->state == IN_HEADER)
        rc = keep_header(t, UINT64_MAX);
    if (rc == EMS_OK)
        rc = pull(t);
    *buffer = t->span.data;
    if (rc == EMS_OK)
        return (la_ssize_t)t->span.size;
    if (rc == EMS_END)
        return 0;
    archive_set_error(archive, EIO, "source failed");
    return ARCHIVE_FATAL;
}

/* libarchive gave up, and not for a failure below. It asks for no byte that it does not need, so
 * once it has been told of the end, what it misses lies behind it; else the bytes are at fault. */
static int fail_archive(struct ems_tar *t)
{
    const char *why = archive_error_string(t->archive);
    char shown[160];

    if (why == NULL)
        why = "not a tar archive";
    if (archive_errno(t->archive) == ENOMEM)
        return fail(t, EMS_NO_MEMORY, "out of memory");
    if (t->below_ended)
        return fail(t, EMS_TAR_TRUNCATED, "the archive ends in the middle of member %llu",
                    (unsigned long long)t->facts.members + (t->state != IN_DATA));
    return fail(t, EMS_TAR_CORRUPT, "member %llu cannot be read: %s",
                (unsigned long long)t->facts.members + (t->state != IN_DATA),
                ems_printable_text(why, strlen(why), shown, sizeof shown));
}

/* Of the next byte that libarchive has not consumed. */
static uint64_t position(const struct ems_tar *t)
{
    return (uint64_t)archive_filter_bytes(t->archive, 0);
}

/* ---- headers ---- */

bool ems_tar_probe(const uint8_t *head, size_t size)
{
    unsigned long sum = 0, stored = 0;
    size_t i = 148; /* the checksum's field: octal digits, spaces before, a NUL or space after */

    if (size < EMS_TAR_BLOCK)
        return false;
    if (memcmp(head + 257, "ustar", 5) == 0)
        return true;
    for (size_t k = 0; k < EMS_TAR_BLOCK; k++)
        sum += k >= 148 && k < 156 ? ' ' : head[k];
    while (i < 155 && head[i] == ' ')
        i++;
    for (; i < 156 && head[i] >= '0' && head[i] <= '7'; i++)
        stored = stored * 8 + (unsigned)(head[i] - '0');
    return head[0] != '\0' && stored == sum;
}

/* The size field: octal, or base 256 with the top bit set (GNU). Only for headers that libarchive
 * has accepted. */
static uint64_t stored_size(const uint8_t *block)
{
    const uint8_t *field = block + 124;
    uint64_t size = 0;

    if (field[0] & 0x80)
        return ems_be64(field + 4);
    for (size_t i = 0; i < 12; i++)
        if (field[i] >= '0' && field[i] <= '7')
            size = size * 8 + (unsigned)(field[i] - '0');
    return size;
}

/* What is of interest in a pax header: the data's size if it stands there, and NULs in names. The
 * records are "LENGTH KEY=VALUE\n". */
static void look_at_pax(struct ems_tar *t, const uint8_t *data, size_t size)
{
    static const char *const names[] = {"path=", "linkpath=", "GNU.sparse.name="};

    while (size > 0) {
        size_t length = 0, i = 0;

        for (; i < size && data[i] >= '0' && data[i] <= '9' && length <= size; i++)
            length = length * 10 + (unsigned)(data[i] - '0');
        if (i == size || data[i] != ' ' || length <= i + 1 || length > size)
            return; /* libarchive has its own opinion of what follows */
        i++;
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
            if (length - i > strlen(names[k]) &&
                memcmp(data + i, names[k], strlen(names[k])) == 0 &&
                memchr(data + i, '\0', length - i) != NULL)
                t->member.hidden_nul = true;
        if (length - i > 5 && memcmp(data + i, "size=", 5) == 0) {
            t->stored = 0;
            for (i += 5; i < length && data[i] >= '0' && data[i] <= '9'; i++)
                t->stored = t->stored * 10 + (unsigned)(data[i] - '0');
        }
        data += length;
        size -= length;
    }
}

static uint64_t padded(uint64_t size)
{
    return (size + EMS_TAR_BLOCK - 1) / EMS_TAR_BLOCK * EMS_TAR_BLOCK;
}

/*
 * What libarchive does not tell: walks the raw headers of the member, extended ones first ('x' pax,
 * 'L' and 'K' GNU long names, 'g' and 'V' that are for nobody), up to the one that names its type.
 */
static const uint8_t *look_at_headers(struct ems_tar *t)
{
    const uint8_t *data = t->header.data;
    size_t left = t->header.size;

    t->member.hidden_nul = false;
    t->stored = EMS_NOWHERE;
    while (left >= EMS_TAR_BLOCK) {
        uint64_t size = stored_size(data);
        char flag = (char)data[156];

        if (flag == '\0' || strchr("xXgLKV", flag) == NULL) {
            if (t->stored == EMS_NOWHERE)
                t->stored = size;
            return data;
        }
        left -= EMS_TAR_BLOCK;
        data += EMS_TAR_BLOCK;
        if (size > left || padded(size) > left)
            break;
        if (flag == 'x' || flag == 'X')
            look_at_pax(t, data, (size_t)size);
        if (flag == 'L' || flag == 'K') /* the name ends in NULs, and has none inside */
            t->member.hidden_nul |= strnlen((const char *)data, (size_t)size) <
                                    without_trailing_zeros(data, (size_t)size);
        data += padded(size);
        left -= (size_t)padded(size);
    }
    return NULL;
}

/* libarchive takes types that it does not know for regular files: continued files of multi-volume
 * archives ('M'), directory dumps ('D'), and whatever vendors thought of. They are not. */
static enum ems_tar_type type_of(struct archive_entry *entry, char flag)
{
    if (strchr("01257S", flag) == NULL && flag != '\0')
        return EMS_TAR_OTHER;
    if (flag == '1' || archive_entry_hardlink(entry) != NULL)
        return EMS_TAR_HARDLINK;
    switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
        return EMS_TAR_FILE;
    case AE_IFDIR:
        return EMS_TAR_DIRECTORY;
    case AE_IFLNK:
        return EMS_TAR_SYMLINK;
    default:
        return EMS_TAR_OTHER;
    }
}

/* A link always has a target: libarchive has none for an empty one. NULL for what is no link. */
static const char *target_of(struct archive_entry *entry, enum ems_tar_type type)
{
    const char *target = type == EMS_TAR_HARDLINK  ? archive_entry_hardlink(entry)
                         : type == EMS_TAR_SYMLINK ? archive_entry_symlink(entry)
                                                   : NULL;

    return target == NULL && (type == EMS_TAR_HARDLINK || type == EMS_TAR_SYMLINK) ? "" : target;
}

/* A header was read: what libarchive and the raw bytes say of the member, and whether they agree.
 */
static int take_member(struct ems_tar *t, struct archive_entry *entry)
{
    struct ems_tar_member *m = &t->member;
    const uint8_t *header;
    const char *path = archive_entry_pathname(entry);

    if (keep_header(t, position(t)) != EMS_OK)
        return t->verdict;
    header = look_at_headers(t);
    if (header == NULL)
        return fail(t, EMS_TAR_CORRUPT, "member %llu has no header of its own",
                    (unsigned long long)t->facts.members + 1);
    m->flag = (char)header[156];
    m->type = type_of(entry, m->flag);
    m->path = path != NULL ? path : "";
    m->target = target_of(entry, m->type);
    m->mode = (uint32_t)archive_entry_perm(entry) & 07777;
    m->mtime_s = archive_entry_mtime_is_set(entry) ? (int64_t)archive_entry_mtime(entry) : 0;
    m->sparse = archive_entry_sparse_count(entry) > 0;
    m->size = archive_entry_size_is_set(entry) && archive_entry_size(entry) > 0
                  ? (uint64_t)archive_entry_size(entry)
                  : 0;
    m->offset = t->header_at;
    /* Readers disagree on whether these bytes are skipped or are headers: no honest tar has them.
     */
    if (m->type != EMS_TAR_FILE && m->type != EMS_TAR_OTHER && t->stored > 0)
        return fail(t, EMS_TAR_CORRUPT, "member %llu is no file, but claims %llu bytes of data",
                    (unsigned long long)t->facts.members + 1, (unsigned long long)t->stored);
    /* Data begins behind its header; old GNU sparse maps go on in blocks between the two. */
    t->data_end = m->flag == 'S'
                      ? position(t)
                      : t->header_at + (uint64_t)(header - t->header.data) + EMS_TAR_BLOCK;
    t->data_end += padded(t->stored);
    t->facts.members++;
    if (m->type == EMS_TAR_FILE) {
        t->facts.files++;
        t->facts.file_bytes += m->size;
    }
    t->position = 0;
    t->waiting = NULL;
    t->data_ended = false;
    t->state = IN_DATA;
    return EMS_OK;
}

/* ---- the end ---- */

/*
 * libarchive sees no more members, because of a block of zeros or because the bytes ran out. Where
 * it looked for a header at last, two blocks of zeros must begin and nothing else follow (GNU tar
 * fills its last record with zeros, 20 blocks by default). Pulls to the end of the stage below.
 */
static int prove_end(struct ems_tar *t)
{
    uint64_t members_end = (uint64_t)archive_read_header_position(t->archive), total;
    int rc = t->below_ended ? EMS_END : EMS_OK;

    while (rc == EMS_OK && t->nonzero_end <= members_end)
        rc = pull(t);
    if (rc == EMS_OK)
        return fail(t, EMS_TAR_CORRUPT, "bytes follow the end of the archive");
    if (rc != EMS_END)
        return t->verdict;
    total = t->span_at + t->span.size;
    if (t->nonzero_end > members_end)
        return fail(t, EMS_TAR_CORRUPT, "bytes follow the end of the archive");
    if (total < members_end + 2 * EMS_TAR_BLOCK)
        return fail(t, EMS_TAR_TRUNCATED, "the two blocks that end an archive are missing");
    t->state = ENDED;
    t->verdict = EMS_END;
    return EMS_END;
}

/* ---- the iterator ---- */

struct ems_tar *ems_tar_open(struct ems_source *below, struct ems_error *err)
{
    struct ems_tar *t;

    if (below == NULL)
        return NULL;
    t = calloc(1, sizeof *t);
    if (t == NULL) {
        ems_source_free(below);
        ems_fail_memory(err);
        return NULL;
    }
    t->below = below;
    t->archive = archive_read_new();
    if (t->archive == NULL || archive_read_support_format_tar(t->archive) != ARCHIVE_OK) {
        ems_tar_free(t);
        ems_fail_memory(err);
        return NULL;
    }
    return t;
}

int ems_tar_next(struct ems_tar *t, const struct ems_tar_member **member, struct ems_error *err)
{
    struct archive_entry *entry = NULL;
    struct ems_span span;
    int rc = ARCHIVE_OK;

    *member = NULL;
    while (t->state == IN_DATA)
        if (ems_tar_data(t, &span, err) == EMS_END)
            break;
    if (t->state == ENDED)
        return answer(t, err);
    t->header.size = 0;
    t->header_at = t->state == AT_START ? 0 : position(t);
    t->member.origin = t->span.size > 0 ? t->span.origin : t->below->origin;
    if (t->state == AT_START) { /* opening looks at the first block */
        t->state = IN_HEADER;
        rc = archive_read_open(t->archive, t, NULL, feed, NULL);
    }
    t->state = IN_HEADER;
    if (rc == ARCHIVE_OK)
        rc = archive_read_next_header(t->archive, &entry);
    if (t->error.code != EMS_OK)
        ; /* ours outranks what libarchive made of it */
    else if (rc == ARCHIVE_EOF)
        prove_end(t);
    else if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
        fail_archive(t);
    else if (take_member(t, entry) == EMS_OK)
        *member = &t->member;
    return answer(t, err);
}

/* All bytes of the member were lent. Were they all that is stored of it? Where a map of holes says
 * less than the header, libarchive would take the rest for headers. */
static int end_member(struct ems_tar *t)
{
    if (archive_read_data_skip(t->archive) < ARCHIVE_WARN)
        return t->error.code != EMS_OK ? t->verdict : fail_archive(t);
    if (position(t) != t->data_end || t->position != t->member.size)
        return fail(t, EMS_TAR_CORRUPT, "member %llu: its size is not that of its data",
                    (unsigned long long)t->facts.members);
    t->state = AT_DATA_END;
    return EMS_END;
}

/* The next block from libarchive into `waiting`. Blocks of one file may leave holes between them,
 * but never go back and never past the size. */
static int pull_block(struct ems_tar *t)
{
    la_int64_t at = 0;
    int rc = archive_read_data_block(t->archive, &t->waiting, &t->waiting_size, &at);

    if (t->error.code != EMS_OK)
        return t->verdict;
    if (rc == ARCHIVE_EOF) {
        t->data_ended = true;
        t->waiting = NULL;
        t->waiting_at = t->member.size;
        return EMS_OK;
    }
    if (rc < ARCHIVE_WARN)
        return fail_archive(t);
    t->waiting_at = (uint64_t)at;
    if (at < 0 || t->waiting_at < t->position || t->waiting_at > t->member.size ||
        t->waiting_size > t->member.size - t->waiting_at)
        return fail(t, EMS_TAR_CORRUPT, "member %llu: its map of holes contradicts its size",
                    (unsigned long long)t->facts.members);
    return EMS_OK;
}

/* Zeros up to the waiting block. What an archive may grow by this way is limited. */
static int lend_hole(struct ems_tar *t, struct ems_span *span)
{
    uint64_t size = t->waiting_at - t->position;

    if (!t->member.sparse)
        return fail(t, EMS_TAR_CORRUPT, "member %llu: bytes are missing in it",
                    (unsigned long long)t->facts.members);
    if (size > sizeof zeros)
        size = sizeof zeros;
    t->holes += size;
    if (t->holes > EMS_TAR_MAX_HOLES)
        return fail(t, EMS_TAR_CORRUPT, "sparse files with holes of more than %llu bytes",
                    (unsigned long long)EMS_TAR_MAX_HOLES);
    *span = (struct ems_span){.data = zeros, .size = (size_t)size, .origin = t->span.origin};
    t->position += size;
    return EMS_OK;
}

int ems_tar_data(struct ems_tar *t, struct ems_span *span, struct ems_error *err)
{
    *span = (struct ems_span){.origin = EMS_NOWHERE};
    if (t->state != IN_DATA)
        return t->state == ENDED && t->verdict != EMS_END ? answer(t, err) : EMS_END;
    while (t->waiting == NULL && !t->data_ended) {
        if (pull_block(t) != EMS_OK)
            return answer(t, err);
        if (!t->data_ended && t->waiting_size == 0)
            t->waiting = NULL; /* nothing in it: the next one */
    }
    if (t->position < t->waiting_at) {
        lend_hole(t, span);
        return answer(t, err);
    }
    if (t->data_ended)
        return end_member(t) == EMS_END ? EMS_END : answer(t, err);
    *span =
        (struct ems_span){.data = t->waiting, .size = t->waiting_size, .origin = t->span.origin};
    if (span->data >= t->span.data && span->data < t->span.data + t->span.size)
        span->block = t->span.block; /* else it lies in libarchive's own buffer */
    t->position += t->waiting_size;
    t->waiting = NULL;
    return EMS_OK;
}

const struct ems_tar_facts *ems_tar_facts(const struct ems_tar *t)
{
    return &t->facts;
}

struct ems_source *ems_tar_below(const struct ems_tar *t)
{
    return t->below;
}

void ems_tar_free(struct ems_tar *t)
{
    if (t == NULL)
        return;
    archive_read_free(t->archive);
    ems_source_free(t->below);
    ems_buf_release(&t->header);
    free(t);
}
