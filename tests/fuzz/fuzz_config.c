/*
 * Configurations: one text, or two that are merged, split at a line "====". Whatever is in them,
 * what is kept is printable and bounded, and judging goes through.
 */
#include "fuzz.h"

#include "bytes.h"
#include "config.h"
#include "pgp.h"

#include <string.h>

static bool parse(const void *text, size_t size, struct ems_config *config)
{
    struct ems_error err = {0};
    int code = ems_config_parse(text, size, "homeserver.yaml", config, &err);

    fuzz_check(code == EMS_OK || (code == EMS_CONFIG_MALFORMED && err.text[0] != '\0'));
    if (code != EMS_OK)
        return false;
    for (int key = 0; key < EMS_SETTING_COUNT; key++) {
        const struct ems_config_value *value = &config->values[key];

        fuzz_check(strlen(value->text) < sizeof value->text);
        fuzz_check(ems_is_utf8((const uint8_t *)value->text, strlen(value->text)));
        fuzz_check(!ems_setting_is_secret((enum ems_setting)key) || value->text[0] == '\0');
        fuzz_check(value->type == EMS_YAML_ABSENT || value->line > 0);
    }
    fuzz_check(config->old_key_count <= EMS_CONFIG_OLD_KEYS_MAX);
    fuzz_check(config->signing_keys.count <= EMS_SIGNING_KEYS_MAX);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ems_config first, second, merged;
    struct ems_findings findings = {0};
    const uint8_t *cut = size > 5 ? memmem(data, size, "====\n", 5) : NULL;

    fuzz_check(ems_pgp_library_init(NULL) == EMS_OK);
    merged = (struct ems_config){0};
    if (cut == NULL) {
        if (parse(data, size, &first))
            ems_config_merge(&merged, &first);
    } else if (parse(data, (size_t)(cut - data), &first) &&
               parse(cut + 5, size - (size_t)(cut - data) - 5, &second)) {
        ems_config_merge(&merged, &first);
        ems_config_merge(&merged, &second);
    }
    ems_config_judge_file(&merged, &findings);
    ems_config_judge(&merged, &findings);
    fuzz_check(!findings.out_of_memory);
    ems_findings_release(&findings);
    return 0;
}
