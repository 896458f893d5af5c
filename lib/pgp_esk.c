/*
 * pgp_esk.c - see pgp_esk.h
 *
 * Packets that we do not know (versions, algorithms) are passed over: others of the same message
 * may open it. Why the first of them was unusable is remembered for the case that nothing does.
 */
#include "pgp_esk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* For the report: whom it is for. Packets of unknown versions count, and look anonymous. */
static void note_recipient(struct ems_pgp_facts *facts, const struct ems_pgp_esk *esk)
{
    static const uint8_t nobody[8];
    struct ems_error ignored = {0};
    struct ems_pgp_pkesk p;
    const uint8_t *id = nobody;

    if (ems_pgp_pkesk_parse(esk->body, esk->size, &p, &ignored) == EMS_OK && !p.anonymous) {
        if (p.id != NULL)
            id = p.id;
        else if (p.fingerprint_size == 32)
            id = p.fingerprint;
        else if (p.fingerprint_size == 20)
            id = p.fingerprint + 12;
    }
    ems_pgp_key_id_text(id, facts->recipient_ids[facts->recipients++]);
}

/* 64 packets: messages to a whole company exist, three thousand SKESKs are an attack (sqop and rnp
 * work for more than 40 s on them). Bodies are not secret. */
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
        note_recipient(e->facts, esk);
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

/*
 * SKESK versions 5 (GnuPG, rnp) and 6 (5.3.2): the session key is encrypted with AEAD, the packet's
 * first fields are its associated data. In version 6 the S2K's output goes through HKDF first, and
 * two octets repeat sizes.
 */
static int open_skesk_aead(struct ems_pgp_esks *e, const struct ems_pgp_esk *esk, size_t index,
                           struct ems_pgp_session_key *out, struct ems_error *err)
{
    size_t at = esk->body[0] == 6 ? 2 : 1, used, size;
    uint8_t info[4] = {0xc0 | EMS_PGP_TAG_SKESK, esk->body[0]};
    const struct ems_pgp_cipher *cipher;
    const struct ems_pgp_aead *aead;
    struct ems_pgp_aead_text text = {.ad = info, .ad_size = sizeof info};
    struct ems_pgp_s2k s2k;
    gcry_cipher_hd_t handle;
    uint8_t *kek;
    int rc;

    if (esk->size < at + 3)
        return ems_fail(err, EMS_PGP_MALFORMED, "a session-key packet of %zu bytes", esk->size);
    info[2] = esk->body[at];
    info[3] = esk->body[at + 1];
    at += esk->body[0] == 6 ? 3 : 2;
    cipher = ems_pgp_cipher_get(info[2], err);
    if (cipher == NULL)
        return err->code;
    aead = ems_pgp_aead_find(info[3]);
    if (aead == NULL || cipher->block_size != 16)
        return ems_fail(err, EMS_PGP_UNSUPPORTED, "%s with AEAD algorithm %u", cipher->name,
                        info[3]);
    rc = ems_pgp_s2k_parse(esk->body + at, esk->size - at, &s2k, &used, err);
    if (rc != EMS_OK)
        return rc;
    at += used;
    if (esk->size - at < (size_t)aead->nonce_size + EMS_PGP_AEAD_TAG)
        return ems_fail(err, EMS_PGP_MALFORMED, "a session-key packet is cut short");
    text.nonce = esk->body + at;
    text.nonce_size = aead->nonce_size;
    at += text.nonce_size;
    size = esk->size - at - EMS_PGP_AEAD_TAG;
    if (size > EMS_PGP_KEY_MAX)
        return ems_fail(err, EMS_PGP_MALFORMED, "an encrypted session key of %zu bytes", size);

    kek = gcry_calloc_secure(2, EMS_PGP_KEY_MAX);
    if (kek == NULL)
        return ems_fail_memory(err);
    rc = ems_pgp_secrets_derive(e->secrets, index, &s2k, &e->spent, kek, cipher->key_size, err);
    if (rc == EMS_OK && info[1] == 6) {
        memcpy(kek + EMS_PGP_KEY_MAX, kek, cipher->key_size);
        rc = ems_pgp_hkdf(GCRY_MD_SHA256, kek + EMS_PGP_KEY_MAX, cipher->key_size, NULL, 0, info,
                          sizeof info, kek, cipher->key_size, err);
    }
    if (rc == EMS_OK)
        rc = ems_pgp_cipher_open(&handle, cipher, aead->mode, 0, kek, err);
    gcry_free(kek);
    if (rc != EMS_OK)
        return rc;
    e->tried_passphrase = true;
    memcpy(out->key, esk->body + at, size);
    out->size = size;
    out->s2k = ems_pgp_s2k_name(s2k.type);
    out->sure = true;
    text.data = out->key;
    text.size = size;
    text.tag = esk->body + at + size;
    rc = ems_pgp_aead_decrypt(handle, aead, &text, err);
    gcry_cipher_close(handle);
    return rc == EMS_PGP_MODIFIED ? EMS_PGP_PASSPHRASE : rc;
}

/* Versions: 4 (RFC 4880, nearly every message), 5 (drafts: GnuPG, rnp), 6 (RFC 9580). */
static int open_skesk(struct ems_pgp_esks *e, const struct ems_pgp_esk *esk, size_t index,
                      struct ems_pgp_session_key *out, struct ems_error *err)
{
    unsigned version = esk->size > 0 ? esk->body[0] : 0;

    memset(out, 0, sizeof *out);
    if (version == 4)
        return open_skesk4(e, esk, index, out, err);
    if (version == 5 || version == 6)
        return open_skesk_aead(e, esk, index, out, err);
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
    case EMS_PGP_NO_KEY:
        ems_fail(&e->locked, rc, "%s", why->text);
        return true;
    case EMS_PGP_PASSPHRASE: /* a tag says so; secret keys have a text of their own */
        if (why->code != EMS_OK)
            ems_fail(&e->locked, rc, "%s", why->text);
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

/* Unwrap, unless too much has been tried already. The first one is always tried: how expensive it
 * is depends on our own key, not on the message. */
static int open_pkesk(struct ems_pgp_esks *e, const struct ems_pgp_pkesk *p,
                      struct ems_pgp_key *key, struct ems_pgp_session_key *out,
                      struct ems_error *err)
{
    uint64_t cost = ems_pgp_pk_cost(key);
    int rc = ems_pgp_secrets_open_key(e->secrets, key, err);

    if (rc != EMS_OK)
        return rc;
    if (e->spent > 0 && e->spent + cost > EMS_PGP_COST_MAX)
        return ems_fail(err, EMS_PGP_LIMIT, "too many session-key packets for our keys");
    e->spent += cost;
    return ems_pgp_pkesk_open(p, key, out, err);
}

/* The next packet for a key that one of ours opens. */
static int next_from_keys(struct ems_pgp_esks *e, struct ems_pgp_session_key *out,
                          struct ems_error *err)
{
    for (; e->at < e->count; e->at++, e->key_started = false) {
        const struct ems_pgp_esk *esk = &e->list[e->at];
        struct ems_error why = {0};
        struct ems_pgp_pkesk p;
        int rc;

        if (esk->tag != EMS_PGP_TAG_PKESK)
            continue;
        rc = ems_pgp_pkesk_parse(esk->body, esk->size, &p, &why);
        if (rc != EMS_OK) {
            pass_over(e, rc, &why);
            continue;
        }
        if (!e->key_started)
            e->key = ems_pgp_secrets_keys(e->secrets);
        e->key_started = true;
        while (e->key != NULL) {
            struct ems_pgp_key *key = e->key;

            e->key = key->next;
            why = (struct ems_error){0};
            if (!key->is_secret || !ems_pgp_pkesk_matches(&p, key))
                continue;
            rc = open_pkesk(e, &p, key, out, &why);
            if (rc == EMS_OK) {
                ems_pgp_key_note(key, out->key_note);
                return EMS_OK;
            }
            if (!pass_over(e, rc, &why))
                return ems_fail(err, rc, "%s", why.text);
        }
    }
    return EMS_END;
}

/*
 * Every packet with every passphrase. GnuPG 2.2.40 gives up at the first packet that it does not
 * understand, and so fails where a later one would have opened the message. Version 4 packets
 * cannot tell a wrong passphrase from a right one: what they give is a candidate, and the container
 * decides.
 */
static int next_from_passphrases(struct ems_pgp_esks *e, struct ems_pgp_session_key *out,
                                 struct ems_error *err)
{
    for (; e->at < e->count; e->at++, e->secret = 0) {
        const struct ems_pgp_esk *esk = &e->list[e->at];

        if (esk->tag != EMS_PGP_TAG_SKESK)
            continue;
        if (!e->asked)
            ems_pgp_secrets_passphrases(e->secrets, &e->passphrases, &e->ask);
        e->asked = true;
        if (e->ask.code == EMS_NO_MEMORY)
            return ems_fail(err, e->ask.code, "%s", e->ask.text);
        while (e->secret < e->passphrases) {
            struct ems_error why = {0};
            int rc = open_skesk(e, esk, e->secret++, out, &why);

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

/* Keys first: they need no question, and what they give is certain. */
int ems_pgp_esks_next(void *context, struct ems_pgp_session_key *out, struct ems_error *err)
{
    struct ems_pgp_esks *e = context;

    if (!e->keys_done) {
        int rc = next_from_keys(e, out, err);

        if (rc != EMS_END)
            return rc;
        e->keys_done = true;
        e->at = 0;
    }
    return next_from_passphrases(e, out, err);
}

/* "encrypted to A, B and 3 more" */
static int refuse_recipients(const struct ems_pgp_facts *facts, struct ems_error *err)
{
    char ids[128] = "";
    size_t used = 0;
    uint32_t i;

    for (i = 0; i < facts->recipients && i < 4; i++) {
        const char *id = facts->recipient_ids[i];

        if (strcmp(id, "0000000000000000") == 0)
            id = "an anonymous key";
        used += (size_t)snprintf(ids + used, sizeof ids - used, "%s%s", i > 0 ? ", " : "", id);
    }
    return ems_fail(err, EMS_PGP_NO_KEY, "no secret key for it: encrypted to %s%s", ids,
                    facts->recipients > i ? " and more" : "");
}

/*
 * Which of several reasons is the useful one? What stopped us (a limit), then what the operator can
 * do (a locked key, no passphrase given, a wrong one), then what we cannot read, then for whom the
 * message is. One text for all failures of unwrapping: whoever looks for an oracle (section 13.5)
 * finds none here.
 */
int ems_pgp_esks_refuse(void *context, bool damaged, struct ems_error *err)
{
    struct ems_pgp_esks *e = context;
    const struct ems_error *why = NULL;

    if (damaged)
        return ems_fail(err, EMS_PGP_MODIFIED,
                        "the session key does not fit: the encrypted data is altered or damaged "
                        "at its beginning");
    if (e->limit.code != EMS_OK)
        why = &e->limit;
    else if (e->locked.code != EMS_OK)
        why = &e->locked;
    else if (e->ask.code != EMS_OK)
        why = &e->ask;
    if (why != NULL)
        return ems_fail(err, why->code, "%s", why->text);
    if (e->tried_passphrase)
        return ems_fail(err, EMS_PGP_PASSPHRASE,
                        "wrong passphrase, or the first bytes of the message are damaged");
    if (e->skipped.code != EMS_OK)
        return ems_fail(err, e->skipped.code, "%s", e->skipped.text);
    if (e->facts->recipients > 0)
        return refuse_recipients(e->facts, err);
    return ems_fail(err, EMS_PGP_MALFORMED, "no session-key packet before the encrypted data");
}
