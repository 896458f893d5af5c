/*
 * Key files and public-key session-key packets. The input's first two octets say how long its key
 * file is; the rest is a session-key packet's body, tried with every key that is not protected.
 */
#include "fuzz.h"

#include "pgp_key.h"
#include "pgp_signature.h"

#include <string.h>

static bool is_expected(int code)
{
    return code == EMS_OK || code == EMS_PGP_NOT_OPENPGP || code == EMS_PGP_TRUNCATED ||
           code == EMS_PGP_UNSUPPORTED || code == EMS_PGP_MALFORMED || code == EMS_PGP_LIMIT ||
           code == EMS_PGP_NO_KEY || code == EMS_PGP_PASSPHRASE || code == EMS_PGP_TRAILING ||
           code == EMS_PGP_MODIFIED;
}

/* Large numbers only cost time. */
static bool is_small(const struct ems_pgp_key *key)
{
    for (size_t i = 0; i < 4; i++)
        if (key->public[i].size > 130 || key->parts[i].size > 130)
            return false;
    return true;
}

static void try_key(struct ems_pgp_key *key, const struct ems_pgp_pkesk *pkesk)
{
    static const uint8_t kek[EMS_PGP_KEY_MAX];
    struct ems_pgp_session_key *out = gcry_calloc_secure(1, sizeof *out);
    struct ems_error err = {0};
    char note[48], id[17];
    int code;

    fuzz_check(out != NULL);
    ems_pgp_key_note(key, note);
    ems_pgp_key_id_text(key->id, id);
    fuzz_check(strlen(note) < sizeof note && strlen(id) == 16);
    if (key->state == EMS_PGP_KEY_LOCKED) {
        code = ems_pgp_key_open(key, kek, &err);
        fuzz_check(is_expected(code) && (code == EMS_OK) == (key->state == EMS_PGP_KEY_OPEN));
    }
    if (pkesk != NULL && key->state == EMS_PGP_KEY_OPEN && is_small(key) &&
        ems_pgp_pkesk_matches(pkesk, key)) {
        err = (struct ems_error){0};
        code = ems_pgp_pkesk_open(pkesk, key, out, &err);
        fuzz_check(is_expected(code) && out->size <= EMS_PGP_KEY_MAX);
    }
    gcry_free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ems_pgp_key *list = NULL;
    struct ems_pgp_signature signature;
    struct ems_pgp_pkesk pkesk;
    struct ems_error err = {0};
    size_t file_size, seen = 0;
    bool has_pkesk;
    uint8_t *rest;

    if (size < 2)
        return 0;
    fuzz_check(ems_pgp_library_init(NULL) == EMS_OK);
    file_size = ems_be16(data);
    data += 2;
    size -= 2;
    if (file_size > size)
        file_size = size;
    fuzz_check(is_expected(ems_pgp_keys_parse(data, file_size, &list, &seen, &err)));
    fuzz_check(seen <= EMS_PGP_KEYS_MAX + 1);

    rest = malloc(size - file_size + 1); /* so that reading past its end shows */
    fuzz_check(rest != NULL);
    memcpy(rest, data + file_size, size - file_size);
    rest = realloc(rest, size - file_size > 0 ? size - file_size : 1);
    fuzz_check(rest != NULL);
    ems_pgp_signature_parse(rest, size - file_size, &signature);
    err = (struct ems_error){0};
    has_pkesk = ems_pgp_pkesk_parse(rest, size - file_size, &pkesk, &err) == EMS_OK;
    for (struct ems_pgp_key *key = list; key != NULL; key = key->next)
        try_key(key, has_pkesk ? &pkesk : NULL);
    free(rest);
    ems_pgp_keys_free(list);
    return 0;
}
