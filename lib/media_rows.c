/* media_rows.c - see media_rows.h */
#include "media_rows.h"

#include <string.h>

/* Found by name, not by place: Synapse's releases add columns, and a database that was moved
 * between SQLite and PostgreSQL has them in another order. */
const char *ems_media_column_name(enum ems_media_column column)
{
    static const char *const names[EMS_MEDIA_COLUMNS] = {"media_id", "media_length",   "created_ts",
                                                         "user_id",  "quarantined_by", "url_cache",
                                                         "sha256"};

    return names[column];
}

/* Digits alone; false for anything else, and for what no bigint holds. */
static bool read_number(const struct ems_media_value *v, uint64_t *number)
{
    uint64_t n = 0;

    if (v->null || v->size == 0 || v->size > 18)
        return false;
    for (size_t i = 0; i < v->size; i++) {
        if (v->text[i] < '0' || v->text[i] > '9')
            return false;
        n = 10 * n + (uint64_t)(v->text[i] - '0');
    }
    *number = n;
    return true;
}

/* hashlib.hexdigest() writes small letters; anything else was not written by Synapse and is not
 * compared with. */
static bool read_sha256(const struct ems_media_value *v, uint8_t out[32])
{
    static const char digits[] = "0123456789abcdef";

    if (v->null || v->size != 64)
        return false;
    for (size_t i = 0; i < 64; i++) {
        const char *digit = memchr(digits, v->text[i], 16);

        if (digit == NULL)
            return false;
        out[i / 2] = (uint8_t)(out[i / 2] << 4 | (digit - digits));
    }
    return true;
}

/* What filepath.py and the exporter can make a path of: other ids have no file anywhere. */
static bool is_id(const struct ems_media_value *v)
{
    if (v->null || v->size < 5 || v->size > EMS_MEDIA_ID_MAX)
        return false;
    for (size_t i = 0; i < v->size; i++) {
        char c = v->text[i];

        if (!(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') &&
            c != '_' && c != '-')
            return false;
    }
    return true;
}

/* A user id that the dump had to escape is not undone for this: it is not compared. */
static uint32_t read_uploader(const struct ems_media_value *v)
{
    if (v->null)
        return ems_media_uploader("", 0);
    if (memchr(v->text, '\\', v->size) != NULL || memchr(v->text, '\'', v->size) != NULL)
        return 0;
    return ems_media_uploader(v->text, v->size);
}

/*
 * Numbers and flags as Synapse uses them: media_length NULL is an upload that was announced and
 * never finished (MSC2246), quarantined_by names the moderator, url_cache the page of a preview.
 * Rows that no Synapse writes are counted as odd and not compared: the dump is a stranger's, and
 * what is wrong with its tables is the business of the restore.
 */
int ems_media_rows_add(struct ems_media_rows *rows, const struct ems_media_value *values,
                       struct ems_error *err)
{
    const struct ems_media_value *id = &values[EMS_MEDIA_COLUMN_ID];
    struct ems_media_id m = {.id = id->text, .id_size = id->size};
    uint8_t sha256[32];

    rows->rows++;
    if (!is_id(id))
        rows->odd++;
    if (!is_id(id) || ems_media_ids_is_full(&rows->ids))
        return EMS_OK;
    if (!read_number(&values[EMS_MEDIA_COLUMN_LENGTH], &m.size))
        m.size = EMS_NOWHERE;
    if (!read_number(&values[EMS_MEDIA_COLUMN_CREATED], &m.created_ms))
        m.created_ms = EMS_NOWHERE;
    m.uploader = read_uploader(&values[EMS_MEDIA_COLUMN_USER]);
    m.quarantined = !values[EMS_MEDIA_COLUMN_QUARANTINED].null;
    m.url_cache = !values[EMS_MEDIA_COLUMN_URL_CACHE].null;
    if (read_sha256(&values[EMS_MEDIA_COLUMN_SHA256], sha256))
        m.sha256 = sha256;
    rows->pending += m.size == EMS_NOWHERE;
    rows->previews += m.url_cache;
    rows->quarantined += m.quarantined;
    rows->hashed += m.sha256 != NULL;
    return ems_media_ids_add(&rows->ids, &m, err);
}

void ems_media_rows_finish(struct ems_media_rows *rows)
{
    ems_media_ids_sort(&rows->ids);
}

void ems_media_rows_release(struct ems_media_rows *rows)
{
    ems_media_ids_release(&rows->ids);
    *rows = (struct ems_media_rows){0};
}
