/*
 * pgp_esk.c - see pgp_esk.h
 *
 * Packets that we do not know (versions, algorithms) are passed over: others of the same message
 * may open it. Why the first of them was unusable is remembered for the case that nothing does.
 */
#include "pgp_esk.h"

#include <stdlib.h>
#include <string.h>

int ems_pgp_esks_add(struct ems_pgp_esks *e, unsigned tag, const uint8_t *body, size_t size,
                     struct ems_error *err)
{
    struct ems_pgp_esk *esk;

    if (e->count == EMS_PGP_ESK_MAX)
        return ems_fail(err, EMS_PGP_LIMIT, "more than %u session-key packets", EMS_PGP_ESK_MAX);
    esk = &e->list[e->count];
    esk->body = malloc(size + 1);
    if (esk->body == NULL)
        return ems_fail_memory(err);
    if (size > 0)
        memcpy(esk->body, body, size);
    esk->size = size;
    esk->tag = tag;
    e->count++;
    if (tag == EMS_PGP_TAG_SKESK)
        e->facts->passphrases++;
    else
        e->facts->recipients++;
    return EMS_OK;
}

void ems_pgp_esks_release(struct ems_pgp_esks *e)
{
    for (size_t i = 0; i < e->count; i++)
        free(e->list[i].body);
    e->count = 0;
}

/* ---- passphrases ---- */

/*
 * SKESK version 4 (5.3.1): cipher, S2K, and perhaps the session key encrypted under what the S2K
 * gives (CFB, zero IV). Without it the S2K's output is the session key.
 */
static int open_skesk4(struct ems_pgp_esks *e, const struct ems_pgp_esk *esk, size_t index,
                       struct ems_pgp_session_key *out, struct ems_error *err)
{
    const struct ems_pgp_cipher *cipher;
    struct ems_pgp_s2k s2k;
    gcry_cipher_hd_t handle;
    size_t used, wrapped;
    uint8_t *plain;
    int rc;

    if (esk->size < 4)
        return ems_fail(err, EMS_PGP_MALFORMED, "a session-key packet of %zu bytes", esk->size);
    cipher = ems_pgp_cipher_get(esk->body[1], err);
    if (cipher == NULL)
        return err->code;
    rc = ems_pgp_s2k_parse(esk->body + 2, esk->size - 2, &s2k, &used, err);
    if (rc != EMS_OK)
        return rc;
    rc =
        ems_pgp_secrets_derive(e->secrets, index, &s2k, &e->spent, out->key, cipher->key_size, err);
    if (rc != EMS_OK)
        return rc;
    out->s2k = ems_pgp_s2k_name(s2k.type);
    out->size = cipher->key_size;
    out->cipher = cipher->id;
    wrapped = esk->size - 2 - used;
    if (wrapped == 0)
        return EMS_OK;

    /* First octet: the cipher of the data, which need not be the one it is wrapped with. */
    if (wrapped > 1 + EMS_PGP_KEY_MAX)
        return ems_fail(err, EMS_PGP_MALFORMED, "an encrypted session key of %zu bytes", wrapped);
    plain = gcry_calloc_secure(1, 1 + EMS_PGP_KEY_MAX);
    if (plain == NULL)
        return ems_fail_memory(err);
    rc = ems_pgp_cipher_open(&handle, cipher, GCRY_CIPHER_MODE_CFB, 0, out->key, err);
    if (rc == EMS_OK) {
        if (gcry_cipher_setiv(handle, NULL, 0) != 0 ||
            gcry_cipher_decrypt(handle, plain, wrapped, esk->body + 2 + used, wrapped) != 0)
            rc = ems_fail(err, EMS_INTERNAL, "cannot decrypt a session key");
        gcry_cipher_close(handle);
        out->cipher = plain[0];
        out->size = wrapped - 1;
        memcpy(out->key, plain + 1, out->size);
    }
    gcry_free(plain);
    return rc;
}

static int open_skesk(struct ems_pgp_esks *e, const struct ems_pgp_esk *esk, size_t index,
                      struct ems_pgp_session_key *out, struct ems_error *err)
{
    unsigned version = esk->size > 0 ? esk->body[0] : 0;

    if (version == 4)
        return open_skesk4(e, esk, index, out, err);
    return ems_fail(err, EMS_PGP_UNSUPPORTED, "passphrase session-key packet of version %u",
                    version);
}

/* ---- one after the other ---- */

/* Is this a failure of this packet only, so that the next one can be tried? */
static bool pass_over(struct ems_pgp_esks *e, int rc, const struct ems_error *why)
{
    switch (rc) {
    case EMS_PGP_LIMIT:
        ems_fail(&e->limit, rc, "%s", why->text);
        return true;
    case EMS_PGP_UNSUPPORTED:
    case EMS_PGP_MALFORMED:
    case EMS_PGP_MODIFIED: /* a key too weak to be honest */
        ems_fail(&e->skipped, rc, "%s", why->text);
        return true;
    default:
        return false;
    }
}

int ems_pgp_esks_next(void *context, struct ems_pgp_session_key *out, struct ems_error *err)
{
    struct ems_pgp_esks *e = context;

    for (; e->at < e->count; e->at++, e->secret = 0) {
        const struct ems_pgp_esk *esk = &e->list[e->at];

        if (esk->tag != EMS_PGP_TAG_SKESK)
            continue;
        if (!e->asked) {
            int rc = ems_pgp_secrets_passphrases(e->secrets, &e->passphrases, err);

            if (rc != EMS_OK)
                return rc;
            e->asked = true;
        }
        while (e->secret < e->passphrases) {
            struct ems_error why = {0};
            int rc;

            memset(out, 0, sizeof *out);
            rc = open_skesk(e, esk, e->secret++, out, &why);
            if (rc == EMS_OK) {
                e->tried_passphrase = true;
                return EMS_OK;
            }
            if (!pass_over(e, rc, &why))
                return ems_fail(err, rc, "%s", why.text);
        }
    }
    return EMS_END;
}

int ems_pgp_esks_refuse(void *context, bool damaged, struct ems_error *err)
{
    struct ems_pgp_esks *e = context;

    if (damaged)
        return ems_fail(err, EMS_PGP_MODIFIED,
                        "the session key does not fit: the encrypted data is altered or damaged "
                        "at its beginning");
    if (e->limit.code != EMS_OK)
        return ems_fail(err, e->limit.code, "%s", e->limit.text);
    if (e->tried_passphrase)
        return ems_fail(err, EMS_PGP_PASSPHRASE,
                        "wrong passphrase, or the first bytes of the message are damaged");
    if (e->skipped.code != EMS_OK)
        return ems_fail(err, e->skipped.code, "%s", e->skipped.text);
    return ems_fail(err, EMS_PGP_MALFORMED, "no session-key packet before the encrypted data");
}
