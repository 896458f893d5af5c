/* pgp_keyring.c - files of exported keys; see pgp_key.h */
#include "pgp_key.h"

#include "pgp_armor.h"
#include "pgp_signature.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- notes ---- */

/* Only a note: whether a message may be encrypted to a key is the sender's question, and one that
 * was has to be read (gpg, sq, rnp and gosop all do so too). */
void ems_pgp_key_note(const struct ems_pgp_key *key, char out[48])
{
    time_t expires = key->expires;
    struct tm tm;

    out[0] = '\0';
    if (key->revoked)
        snprintf(out, 48, "revoked");
    else if (expires != 0 && expires < time(NULL) && gmtime_r(&expires, &tm) != NULL)
        strftime(out, 48, "expired on %Y-%m-%d", &tm);
}

/* What the signatures of a certificate say of the primary key, and so of all its keys: an expired
 * or revoked primary takes its subkeys with it. It may be of a kind that only signs. */
struct certificate {
    bool known; /* id and created are */
    uint8_t id[8];
    uint32_t created, expires, signed_at;
    bool revoked;
    struct ems_pgp_key **first; /* where its keys begin in the list */
};

struct key_file {
    struct ems_reader reader;
    struct ems_pgp_key **last; /* where the next one is linked */
    struct certificate cert;
    struct ems_pgp_key *latest; /* NULL: cannot decrypt */
    size_t seen;
};

/* Certifications (0x10 to 0x13), bindings and direct-key signatures carry the key's lifetime,
 * counted from the key's creation (5.2.3.13). The newest one is what counts: that is how a key is
 * prolonged. */
static bool says_dates(const struct ems_pgp_signature *sig, uint32_t signed_at)
{
    return ((sig->type & 0xfc) == EMS_PGP_SIG_CERTIFICATION || sig->type == EMS_PGP_SIG_BINDING ||
            sig->type == EMS_PGP_SIG_DIRECT) &&
           sig->created >= signed_at && sig->has_issuer;
}

/* Dates that a signature gives to the key before it. A certification or binding counts if it is the
 * newest; no signature is verified, so these are notes and nothing else. */
static void note_signature(struct key_file *f, const uint8_t *body, size_t size)
{
    struct certificate *cert = &f->cert;
    struct ems_pgp_key *key = f->latest;
    struct ems_pgp_signature sig;

    if (!ems_pgp_signature_parse(body, size, &sig))
        return;
    if (sig.type == EMS_PGP_SIG_BINDING || sig.type == EMS_PGP_SIG_SUBKEY_REVOCATION) {
        if (key == NULL || !key->is_subkey)
            return;
        if (sig.type == EMS_PGP_SIG_SUBKEY_REVOCATION) {
            key->revoked = true;
        } else if (says_dates(&sig, key->signed_at)) {
            key->signed_at = sig.created;
            key->expires = sig.key_lifetime > 0 ? key->created + sig.key_lifetime : 0;
        }
    } else if (sig.type == EMS_PGP_SIG_REVOCATION) {
        cert->revoked = true;
    } else if (cert->known && says_dates(&sig, cert->signed_at) &&
               memcmp(sig.issuer, cert->id, 8) == 0) {
        cert->signed_at = sig.created;
        cert->expires = sig.key_lifetime > 0 ? cert->created + sig.key_lifetime : 0;
    }
}

/* The keys of the certificate that has ended are those from cert->first on. */
static void end_certificate(struct key_file *f)
{
    const struct certificate *cert = &f->cert;

    for (struct ems_pgp_key *key = *cert->first; key != NULL; key = key->next) {
        key->revoked |= cert->revoked;
        if (cert->expires != 0 && (key->expires == 0 || cert->expires < key->expires))
            key->expires = cert->expires;
    }
}

/* ---- files ---- */

/* A body into secure memory. */
static int read_body(struct key_file *f, const struct ems_pgp_header *h, uint8_t **out,
                     struct ems_error *err)
{
    struct ems_source *body;
    struct ems_span span;
    size_t used = 0;
    int rc;

    if (h->size > EMS_PGP_KEY_FILE_MAX)
        return ems_fail(err, EMS_PGP_LIMIT, "a %s packet of %llu bytes", ems_pgp_tag_name(h->tag),
                        (unsigned long long)h->size);
    *out = gcry_malloc_secure((size_t)h->size + 1);
    if (*out == NULL)
        return ems_fail_memory(err);
    body = ems_pgp_body_open(&f->reader, h, err);
    rc = body != NULL ? EMS_OK : err->code;
    while (rc == EMS_OK && (rc = ems_source_next(body, &span, err)) == EMS_OK) {
        memcpy(*out + used, span.data, span.size);
        used += span.size;
    }
    ems_source_free(body);
    if (rc == EMS_END)
        return EMS_OK;
    gcry_free(*out);
    *out = NULL;
    return rc;
}

/*
 * A certificate is a primary key, its signatures, user ids with theirs, and subkeys with theirs
 * (10.1). Which signature belongs to what follows from the order alone, so what is in between is
 * passed over but for the signatures. A file may hold several certificates, one behind the other,
 * and armoured ones in several blocks.
 */
static int take_packet(struct key_file *f, const struct ems_pgp_header *h, struct ems_error *err)
{
    struct ems_pgp_key *key;
    uint8_t *body;
    int rc;

    switch (h->tag) {
    case EMS_PGP_TAG_SECRET_KEY:
    case EMS_PGP_TAG_PUBLIC_KEY:
    case EMS_PGP_TAG_SECRET_SUBKEY:
    case EMS_PGP_TAG_PUBLIC_SUBKEY:
        if (++f->seen > EMS_PGP_KEYS_MAX)
            return ems_fail(err, EMS_PGP_LIMIT, "more than %u keys in one file", EMS_PGP_KEYS_MAX);
        rc = read_body(f, h, &body, err);
        if (rc != EMS_OK)
            return rc;
        if (h->tag == EMS_PGP_TAG_SECRET_KEY || h->tag == EMS_PGP_TAG_PUBLIC_KEY) {
            end_certificate(f);
            f->cert = (struct certificate){.first = f->last};
            f->cert.known =
                ems_pgp_key_identify(body, (size_t)h->size, f->cert.id, &f->cert.created);
        }
        rc = ems_pgp_key_parse(&key, h->tag, body, (size_t)h->size, err);
        if (rc != EMS_OK)
            return rc;
        f->latest = key;
        if (key != NULL) {
            *f->last = key;
            f->last = &key->next;
        }
        return EMS_OK;
    case EMS_PGP_TAG_SIGNATURE:
        rc = read_body(f, h, &body, err);
        if (rc == EMS_OK)
            note_signature(f, body, (size_t)h->size);
        if (rc == EMS_OK)
            gcry_free(body);
        return rc;
    default: /* user ids, trust, GnuPG's and others' private packets */
        return ems_pgp_body_skip(&f->reader, h, err);
    }
}

/* Nothing of a key file may be left outside of secure memory: the armour decodes into it, bodies
 * are read into it, and what the reader has gathered on our stack is wiped. */
int ems_pgp_keys_parse(const uint8_t *data, size_t size, struct ems_pgp_key **list, size_t *seen,
                       struct ems_error *err)
{
    bool armored = false;
    struct key_file f = {.last = list};
    struct ems_pgp_header h;
    struct ems_source *src;
    int rc;

    while (*f.last != NULL)
        f.last = &(*f.last)->next;
    f.cert.first = f.last;
    src = ems_pgp_armor_open(ems_source_memory_open(data, size, 0, err), EMS_PGP_ARMOR_KEYS, true,
                             &armored, err);
    if (src == NULL)
        return err->code;
    f.reader.below = src;
    while ((rc = ems_pgp_header_next(&f.reader, &h, err)) == EMS_OK) {
        rc = take_packet(&f, &h, err);
        if (rc != EMS_OK)
            break;
        if (f.seen == 0 && h.tag < 40 && h.tag != EMS_PGP_TAG_MARKER) {
            rc = ems_fail(err, EMS_PGP_NOT_OPENPGP, "a %s packet where a key should begin",
                          ems_pgp_tag_name(h.tag));
            break;
        }
    }
    end_certificate(&f);
    ems_source_free(src);
    *seen = f.seen;
    ems_wipe(&f, sizeof f); /* the reader may hold octets of keys */
    return rc == EMS_END ? EMS_OK : rc;
}

/* Read, not mapped: a mapping could be changed by others while it is parsed, and its pages could be
 * swapped out. */
int ems_pgp_keys_read(int fd, const char *name, struct ems_pgp_key **list, struct ems_error *err)
{
    size_t capacity = 32 * 1024, size = 0, seen = 0;
    uint8_t *data = gcry_malloc_secure(capacity), *larger;
    struct ems_error why = {0};
    ssize_t n = 1;
    int rc;

    while (data != NULL && n > 0 && size <= EMS_PGP_KEY_FILE_MAX) {
        if (size == capacity) { /* realloc of secure memory stays there, and wipes what it leaves */
            capacity *= 2;
            larger = gcry_realloc(data, capacity);
            if (larger == NULL)
                gcry_free(data);
            data = larger;
            continue;
        }
        do
            n = read(fd, data + size, capacity - size);
        while (n < 0 && errno == EINTR);
        if (n > 0)
            size += (size_t)n;
    }
    if (data == NULL)
        return ems_fail_memory(err);
    if (n < 0)
        rc = ems_fail_errno(err, errno, "cannot read %s", name);
    else if (size > EMS_PGP_KEY_FILE_MAX)
        rc = ems_fail(err, EMS_PGP_LIMIT, "%s is larger than %u bytes", name, EMS_PGP_KEY_FILE_MAX);
    else {
        rc = ems_pgp_keys_parse(data, size, list, &seen, &why);
        if (rc != EMS_OK)
            ems_fail(err, rc, "%s: %s", name, why.text);
        else if (seen == 0)
            rc = ems_fail(err, EMS_PGP_NOT_OPENPGP, "%s holds no OpenPGP key", name);
    }
    gcry_free(data);
    return rc;
}
