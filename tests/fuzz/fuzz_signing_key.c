/* Signing key files: bounded, and every key that is taken has an id and a public half. */
#include "fuzz.h"

#include "pgp.h"
#include "signing_key.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ems_signing_keys keys;
    struct ems_error err = {0};
    int code;

    fuzz_check(ems_pgp_library_init(NULL) == EMS_OK);
    code = ems_signing_keys_parse(data, size, &keys, &err);
    fuzz_check(code == EMS_OK || (code == EMS_KEY_MALFORMED && err.text[0] != '\0'));
    fuzz_check(code != EMS_OK || (keys.count > 0 && keys.count <= EMS_SIGNING_KEYS_MAX));
    for (size_t i = 0; code == EMS_OK && i < keys.count; i++) {
        const char *id = keys.items[i].id;

        fuzz_check(strncmp(id, "ed25519:", 8) == 0);
        fuzz_check(ems_signing_key_version_is_valid(id + 8, strlen(id + 8)));
        fuzz_check(strlen(keys.items[i].public_text) == 43);
        fuzz_check(ems_signing_keys_find(&keys, id) != NULL);
    }
    return 0;
}
