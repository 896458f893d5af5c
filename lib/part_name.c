/*
 * part_name.c - see part_name.h
 *
 * Sources: Chromium's base::FilePath::InsertBeforeExtensionASCII (" (1)"), Firefox's
 * DownloadPaths.createNiceUniqueFile ("(1)"), Finder (" copy 2"), Explorer (" - Copy (2)"), Drive
 * ("Copy of "); rclone's --partial-suffix ("X.5e1a2b3c.partial", since 1.63), rsync's receiver
 * (".X.AbCdEf"), aria2's control file ("X.aria2").
 */
#include "part_name.h"

#include <string.h>
#include <strings.h>

static bool ends(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);

    return n > m && strcmp(name + n - m, suffix) == 0;
}

static bool ends_folded(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);

    return n > m && strcasecmp(name + n - m, suffix) == 0;
}

/* ASCII only: the locale must not decide what a name is. */
static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static bool is_alnum(char c)
{
    return is_digit(c) || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

static void fold(char *s)
{
    for (; *s != '\0'; s++)
        if (*s >= 'A' && *s <= 'Z')
            *s = (char)(*s | 32);
}

/* ---- the guide's names ---- */

/* Only extensions that a stage of the guide, or its sister tools, add. */
static bool is_stages(const char *s)
{
    static const char *const stages[] = {".sql", ".tar", ".gz", ".tgz", ".gpg",
                                         ".pgp", ".asc", ".xz", ".bz2", ".zst"};

    while (*s != '\0') {
        size_t i = 0, n = 0;

        for (; i < sizeof stages / sizeof stages[0]; i++) {
            n = strlen(stages[i]);
            if (strncmp(s, stages[i], n) == 0 && (s[n] == '.' || s[n] == '\0'))
                break;
        }
        if (i == sizeof stages / sizeof stages[0])
            return false;
        s += n;
    }
    return true;
}

/* One of the names that the guide gives to files, in any of its stages (.gz, .gpg, ...)? */
static bool is_guide_name(const char *name)
{
    static const char *const stems[] = {"customer_db_export.sql", "homeserver.db",
                                        "customer_media_export.", "customer_backup_media_export.",
                                        "ems-upload.sha256"};

    for (size_t i = 0; i < sizeof stems / sizeof stems[0]; i++) {
        size_t n = strlen(stems[i]);

        if (strncmp(name, stems[i], n) == 0) {
            n -= stems[i][n - 1] == '.';
            return is_stages(name + n);
        }
    }
    return strcmp(name, "homeserver.yaml") == 0 || strcmp(name, "homeserver.yml") == 0 ||
           ends(name, ".signing.key") || ends(name, ".log.config");
}

bool ems_part_name_is_archive(const char *name)
{
    static const char *const endings[] = {".gpg", ".pgp", ".asc", ".gz", ".tgz", ".tar",
                                          ".sql", ".db",  ".zip", ".xz", ".bz2", ".zst"};

    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++)
        if (ends_folded(name, endings[i]))
            return true;
    return false;
}

/* ---- parts ---- */

/* "X.part-ab" or "X.001", exactly: fills in form, suffix and artifact. */
static bool take_part(const char *name, struct ems_part_name *out)
{
    const char *at = NULL, *dot = strrchr(name, '.');
    size_t digits;

    for (const char *p = name; (p = strstr(p, ".part-")) != NULL; p++)
        at = p;
    if (at != NULL && at != name) {
        const char *suffix = at + strlen(".part-");
        size_t n = strlen(suffix);

        if (n == 0 || n >= EMS_SUFFIX_MAX ||
            strspn(suffix, "abcdefghijklmnopqrstuvwxyz0123456789") != n)
            return false;
        out->form = EMS_NAME_PART;
        memcpy(out->suffix, suffix, n + 1);
        memcpy(out->artifact, name, (size_t)(at - name));
        out->artifact[at - name] = '\0';
        return true;
    }
    if (dot == NULL || dot == name)
        return false;
    digits = strspn(dot + 1, "0123456789");
    if (digits < 3 || digits > 6 || dot[1 + digits] != '\0')
        return false;
    memcpy(out->artifact, name, (size_t)(dot - name));
    out->artifact[dot - name] = '\0';
    if (!ems_part_name_is_archive(out->artifact))
        return false;
    out->form = EMS_NAME_VOLUME;
    memcpy(out->suffix, dot + 1, digits + 1);
    return true;
}

static bool take_whole(const char *name, struct ems_part_name *out)
{
    if (!is_guide_name(name))
        return false;
    out->form = EMS_NAME_WHOLE;
    out->suffix[0] = '\0';
    memcpy(out->artifact, name, strlen(name) + 1);
    return true;
}

/* ---- what has been done to a name ---- */

/* Length of a "(12)" that ends at s + n, or 0. */
static size_t counted(const char *s, size_t n)
{
    size_t i = n;

    if (n < 3 || s[n - 1] != ')')
        return 0;
    for (i = n - 1; i > 0 && is_digit(s[i - 1]); i--)
        ;
    return i > 0 && n - 1 - i >= 1 && n - 1 - i <= 3 && s[i - 1] == '(' ? n - i + 1 : 0;
}

/* Length of the copy mark that s[0..n) ends with, or 0. */
static size_t mark_at_end(const char *s, size_t n)
{
    static const char *const words[] = {" - Copy",  " - Kopie", " - Copie", " - copia",
                                        " - Copia", " copy",    " Kopie",   " copie"};
    size_t digits = 0, k = counted(s, n);

    if (k > 0)
        return k < n && s[n - k - 1] == ' ' ? k + 1 : k;
    while (digits < n && digits < 4 && is_digit(s[n - 1 - digits]))
        digits++;
    if (digits > 0) { /* Finder counts from the second copy on: " copy 2" */
        if (digits > 3 || n < digits + 1 || s[n - digits - 1] != ' ')
            return 0;
        digits++;
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t m = strlen(words[i]);

        if (n > m + digits && memcmp(s + n - digits - m, words[i], m) == 0)
            return m + digits;
    }
    return 0;
}

/* "Copy of X", "Copy (2) of X": where X begins. */
static const char *skip_prefix(const char *s)
{
    static const struct {
        const char *word, *of;
    } forms[] = {{"Copy", " of "}, {"Kopie", " von "}, {"Copie", " de "}, {"Copia", " de "}};

    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        size_t n = strlen(forms[i].word), m = strlen(forms[i].of), digits;
        const char *p = s + n;

        if (strncmp(s, forms[i].word, n) != 0)
            continue;
        if (p[0] == ' ' && p[1] == '(') {
            digits = strspn(p + 2, "0123456789");
            if (digits >= 1 && digits <= 3 && p[2 + digits] == ')')
                p += 3 + digits;
        }
        if (strncmp(p, forms[i].of, m) == 0 && p[m] != '\0')
            return p + m;
    }
    return s;
}

/* Copy marks are taken off the end of every piece between dots; a piece never vanishes. */
static void clean(const char *name, char *out)
{
    size_t n = 0, piece = 0, k;

    for (const char *p = name, *q; (q = skip_prefix(p)) != p; name = q)
        p = q;
    for (const char *p = name;; p++) {
        if (*p == '.' || *p == '\0') {
            while ((k = mark_at_end(out + piece, n - piece)) > 0 && k < n - piece)
                n -= k;
            out[n++] = *p;
            if (*p == '\0')
                return;
            piece = n;
        } else {
            out[n++] = *p;
        }
    }
}

/* An ending that a browser or mail program appended; at most two of them. */
static bool drop_ending(char *s)
{
    static const char *const endings[] = {".txt", ".bin", ".dat"};

    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++)
        if (ends_folded(s, endings[i])) {
            s[strlen(s) - strlen(endings[i])] = '\0';
            return true;
        }
    return false;
}

/* "X-1" before an extension or at the end: too ordinary to be believed unless the rest is an
 * artifact of the guide. */
static bool drop_number(char *s)
{
    for (char *p = s; (p = strchr(p, '-')) != NULL; p++) {
        size_t digits = strspn(p + 1, "0123456789");
        char tried[EMS_NAME_SIZE];

        if (p == s || digits < 1 || digits > 2 || (p[1 + digits] != '.' && p[1 + digits] != '\0'))
            continue;
        memcpy(tried, s, (size_t)(p - s));
        memcpy(tried + (p - s), p + 1 + digits, strlen(p + 1 + digits) + 1);
        if (is_guide_name(tried)) {
            memcpy(s, tried, strlen(tried) + 1);
            return true;
        }
    }
    return false;
}

/* The artifact's own name in its folded form, if that is what the guide calls it. */
static void fold_artifact(struct ems_part_name *out)
{
    char folded[EMS_NAME_SIZE];

    memcpy(folded, out->artifact, strlen(out->artifact) + 1);
    fold(folded);
    if (is_guide_name(folded))
        memcpy(out->artifact, folded, strlen(folded) + 1);
}

/* In other letters: the suffix counts folded, the artifact keeps its own unless the guide knows it.
 */
static bool take_folded(const char *s, struct ems_part_name *out)
{
    char folded[EMS_NAME_SIZE];

    memcpy(folded, s, strlen(s) + 1);
    fold(folded);
    if (take_part(folded, out)) {
        memcpy(out->artifact, s, strlen(out->artifact));
        fold_artifact(out);
        return true;
    }
    return take_whole(folded, out);
}

static bool take_renamed(const char *name, struct ems_part_name *out)
{
    char s[EMS_NAME_SIZE];

    clean(name, s);
    for (int i = 0; i < 3; i++) {
        char numbered[EMS_NAME_SIZE];

        if (take_part(s, out) || take_whole(s, out) || take_folded(s, out)) {
            drop_number(out->artifact);
            return true;
        }
        memcpy(numbered, s, strlen(s) + 1);
        if (drop_number(numbered) && take_whole(numbered, out))
            return true;
        if (!drop_ending(s))
            return false;
        clean(memcpy(numbered, s, strlen(s) + 1), s);
    }
    return false;
}

/* A finished name: fits, fits when what was done to it is undone, or stands as it is. */
static void take_name(const char *name, struct ems_part_name *out)
{
    char shown[EMS_NAME_SIZE + EMS_SUFFIX_MAX + 8];

    out->known = take_renamed(name, out);
    if (!out->known) {
        out->form = EMS_NAME_WHOLE;
        out->suffix[0] = '\0';
        memcpy(out->artifact, name, strlen(name) + 1);
        return;
    }
    memcpy(shown, out->artifact, strlen(out->artifact) + 1);
    if (out->form != EMS_NAME_WHOLE) {
        strcat(shown, out->form == EMS_NAME_PART ? ".part-" : ".");
        strcat(shown, out->suffix);
    }
    out->renamed = strcmp(shown, name) != 0;
}

/* ---- unfinished downloads, litter ---- */

/* Random pieces that tools put before their ending: rclone 8 hex digits, Firefox 8 characters
 * before the last extension. */
static void drop_random(char *s)
{
    char tried[EMS_NAME_SIZE];
    char *last = strrchr(s, '.'), *before = NULL;
    struct ems_part_name ignored = {0};
    size_t n;

    if (last == NULL || last == s)
        return;
    n = strlen(last + 1);
    if (n == 8 && strspn(last + 1, "0123456789abcdef") == 8) {
        *last = '\0';
        return;
    }
    for (char *p = s; p < last; p++)
        if (*p == '.')
            before = p;
    if (before == NULL || before == s || last - before != 9)
        return;
    memcpy(tried, s, (size_t)(before - s));
    memcpy(tried + (before - s), last, n + 2);
    take_name(tried, &ignored);
    if (ignored.known)
        memcpy(s, tried, strlen(tried) + 1);
}

/* ".part" alone is Firefox's; ".part-aa" is ours. A .tmp may be anybody's: it counts only where the
 * rest is known. */
static bool take_unfinished(const char *name, struct ems_part_name *out)
{
    static const char *const endings[] = {".crdownload", ".partial", ".part",
                                          ".download",   ".aria2",   ".filepart",
                                          ".opdownload", ".tmp",     ".fdmdownload"};
    char s[EMS_NAME_SIZE];

    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        if (!ends_folded(name, endings[i]))
            continue;
        memcpy(s, name, strlen(name) + 1);
        s[strlen(name) - strlen(endings[i])] = '\0';
        drop_random(s);
        take_name(s, out);
        if (!out->known && strcmp(endings[i], ".tmp") == 0)
            return false;
        out->kind = EMS_NAME_UNFINISHED;
        out->renamed = false;
        out->in_place = strcmp(endings[i], ".aria2") == 0;
        return true;
    }
    return false;
}

/* rsync writes X as ".X.AbCdEf" and renames it at the end. */
static bool take_rsync(const char *name, struct ems_part_name *out)
{
    const char *last = strrchr(name, '.');
    char s[EMS_NAME_SIZE];

    if (last == name || strlen(last) != 7)
        return false;
    for (const char *p = last + 1; *p != '\0'; p++)
        if (!is_alnum(*p))
            return false;
    memcpy(s, name + 1, (size_t)(last - name - 1));
    s[last - name - 1] = '\0';
    if (s[0] == '\0')
        return false;
    take_name(s, out);
    if (!out->known || out->renamed)
        return false;
    out->kind = EMS_NAME_UNFINISHED;
    return true;
}

static bool is_litter(const char *name)
{
    static const char *const names[] = {".DS_Store", ".localized",  "__MACOSX", "desktop.ini",
                                        "Thumbs.db", "ehthumbs.db", "Icon\r"};
    static const char *const endings[] = {".gdoc",  ".gsheet", ".gslides", ".gdraw",
                                          ".gform", ".gsite",  ".lnk",     ".url"};

    if (strncmp(name, "._", 2) == 0 || strncmp(name, "~$", 2) == 0)
        return true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++)
        if (ends_folded(name, endings[i]))
            return true;
    return false;
}

bool ems_part_name_parse(const char *name, struct ems_part_name *out)
{
    size_t n = strnlen(name, EMS_NAME_SIZE);

    *out = (struct ems_part_name){0};
    if (n == 0 || n >= EMS_NAME_SIZE)
        return false;
    if (is_litter(name)) {
        out->kind = EMS_NAME_LITTER;
        memcpy(out->artifact, name, n + 1);
        return true;
    }
    if (name[0] == '.') {
        if (!take_rsync(name, out)) {
            *out = (struct ems_part_name){.kind = EMS_NAME_HIDDEN};
            memcpy(out->artifact, name, n + 1);
        }
        return true;
    }
    if (take_unfinished(name, out))
        return true;
    *out = (struct ems_part_name){0};
    take_name(name, out);
    return true;
}

bool ems_part_name_is_bundle(const char *name, size_t *series, unsigned *number)
{
    size_t n = strlen(name), end, i, k;
    const char *stamp;

    if (!ends_folded(name, ".zip"))
        return false;
    end = n - strlen(".zip");
    while ((k = mark_at_end(name, end)) > 0)
        end -= k;
    if (end < 20)
        return false;
    for (i = end; i > 0 && is_digit(name[i - 1]); i--)
        ;
    if (end - i != 3 || name[i - 1] != '-')
        return false;
    *series = i - 1;
    *number = (unsigned)((name[i] - '0') * 100 + (name[i + 1] - '0') * 10 + (name[i + 2] - '0'));
    /* "-20260512T023001Z", and in newer bundles one more number behind it. */
    k = *series;
    while (k > 0 && is_digit(name[k - 1]))
        k--;
    if (k == *series || k == 0 || name[k - 1] != '-')
        k = *series;
    else
        k--;
    if (k < 17)
        return false;
    stamp = name + k - 17;
    for (i = 0; i < 17; i++)
        if (i == 0    ? stamp[i] != '-'
            : i == 9  ? stamp[i] != 'T'
            : i == 16 ? stamp[i] != 'Z'
                      : !is_digit(stamp[i]))
            return false;
    return true;
}
