/* pgp_recipients.c - whom a message is for, without secrets (see pgp.h) */
#include "pgp_armor.h"
#include "pgp_esk.h"

#include <stdlib.h>
#include <string.h>

struct ems_pgp_recipient_keys {
    struct ems_pgp_key *list;
};

/* Public keys have no secret part, but the same file format; a secret key's file will do as well,
 * so it is read into secure memory like one. */
struct ems_pgp_recipient_keys *ems_pgp_recipient_keys_read(int fd, const char *name,
                                                           struct ems_error *err)
{
    struct ems_pgp_recipient_keys *keys = calloc(1, sizeof *keys);
    int rc;

    if (keys == NULL) {
        ems_fail_memory(err);
        return NULL;
    }
    rc = ems_pgp_keys_read(fd, name, &keys->list, err);
    if (rc == EMS_OK && keys->list == NULL)
        rc = ems_fail(err, EMS_PGP_NO_KEY, "%s holds no key that can be encrypted to", name);
    if (rc == EMS_OK)
        return keys;
    ems_pgp_recipient_keys_free(keys);
    return NULL;
}

void ems_pgp_recipient_keys_free(struct ems_pgp_recipient_keys *keys)
{
    if (keys == NULL)
        return;
    ems_pgp_keys_free(keys->list);
    free(keys);
}

/* Count one session-key packet. */
static int take_esk(const struct ems_pgp_header *h, const struct ems_buf *body,
                    const struct ems_pgp_recipient_keys *keys, struct ems_pgp_recipients *out,
                    struct ems_error *err)
{
    static const uint8_t nobody[8];
    struct ems_error ignored = {0};
    const struct ems_pgp_key *key = keys->list;
    const uint8_t *id = nobody;
    struct ems_pgp_pkesk p;
    uint32_t known = out->matching + out->others + out->anonymous;

    if (known + out->passphrases == EMS_PGP_ESK_MAX)
        return ems_fail(err, EMS_PGP_LIMIT, "more than %u session-key packets", EMS_PGP_ESK_MAX);
    if (h->tag == EMS_PGP_TAG_SKESK) {
        out->passphrases++;
        return EMS_OK;
    }
    if (ems_pgp_pkesk_parse(body->data, body->size, &p, &ignored) != EMS_OK) {
        out->others++; /* readable by somebody, in a way that we do not know */
    } else if (p.anonymous) {
        out->anonymous++;
    } else {
        while (key != NULL && !ems_pgp_pkesk_matches(&p, key))
            key = key->next;
        if (p.id != NULL)
            id = p.id;
        else if (p.fingerprint_size >= 20)
            id = p.fingerprint_size == 20 ? p.fingerprint + 12 : p.fingerprint;
        if (key != NULL) {
            out->matching++;
            ems_pgp_key_id_text(id, out->matching_id);
            ems_pgp_key_note(key, out->key_note);
        } else {
            out->others++;
        }
    }
    ems_pgp_key_id_text(id, out->ids[known]);
    return EMS_OK;
}

/* Packets up to the container. */
static int read_packets(struct ems_reader *reader, const struct ems_pgp_recipient_keys *keys,
                        struct ems_pgp_recipients *out, struct ems_error *err)
{
    struct ems_buf body = {0};
    struct ems_pgp_header h;
    unsigned extras = 0;
    int rc;

    while ((rc = ems_pgp_header_next(reader, &h, err)) == EMS_OK) {
        if (h.tag == EMS_PGP_TAG_SEIPD || h.tag == EMS_PGP_TAG_AEAD || h.tag == EMS_PGP_TAG_SED)
            break;
        if (h.tag == EMS_PGP_TAG_PKESK || h.tag == EMS_PGP_TAG_SKESK) {
            rc = ems_pgp_body_read(reader, &h, EMS_PGP_ESK_SIZE_MAX, &body, err);
            if (rc == EMS_OK)
                rc = take_esk(&h, &body, keys, out, err);
        } else if (h.tag == EMS_PGP_TAG_MARKER || h.tag == EMS_PGP_TAG_PADDING || h.tag >= 40) {
            if (++extras > EMS_PGP_EXTRAS_MAX)
                rc = ems_fail(err, EMS_PGP_LIMIT, "more than %u packets that carry no data",
                              EMS_PGP_EXTRAS_MAX);
            else
                rc = ems_pgp_body_skip(reader, &h, err);
        } else {
            rc = ems_fail(err, EMS_NOT_ENCRYPTED, "not encrypted: a %s packet (tag %u)",
                          ems_pgp_tag_name(h.tag), h.tag);
        }
        if (rc != EMS_OK)
            break;
    }
    ems_buf_release(&body);
    if (rc == EMS_END)
        return ems_fail(err, EMS_PGP_TRUNCATED, "the message ends before the encrypted data");
    return rc;
}

/*
 * What is said here is what the message says of itself. A sender who wants to can name a key and
 * encrypt to another one, or put a session key for a third behind a name of ours: only decrypting
 * shows that. For the customer's own check before the upload that is enough, since it is the
 * customer's own gpg that wrote the packets.
 *
 * A hidden recipient (gpg -R, key id 0) may be our key or anybody's. It is counted apart, and such
 * a message is not called readable by one key only.
 */
int ems_pgp_recipients_read(struct ems_source *below, const struct ems_pgp_recipient_keys *keys,
                            struct ems_pgp_recipients *out, struct ems_error *err)
{
    bool armored = false;
    struct ems_source *src = ems_pgp_armor_open(below, EMS_PGP_ARMOR_MESSAGE, false, &armored, err);
    struct ems_reader reader = {.below = src};
    int rc;

    memset(out, 0, sizeof *out);
    if (src == NULL)
        return err->code;
    rc = read_packets(&reader, keys, out, err);
    ems_source_free(src);
    return rc;
}
