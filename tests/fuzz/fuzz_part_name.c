/* Names of files, and first bytes: parsing ends, keeps its promises, and is stable. */
#include "fuzz.h"

#include "part_content.h"
#include "part_name.h"
#include "parts.h"

#include <string.h>

/* The canonical name parses to itself: nothing is undone twice. */
static void check_stable(const struct ems_part_name *n)
{
    char again[2 * EMS_NAME_SIZE];
    struct ems_part_name m;

    strcpy(again, n->artifact);
    if (n->form != EMS_NAME_WHOLE) {
        strcat(again, n->form == EMS_NAME_PART ? ".part-" : ".");
        strcat(again, n->suffix);
    }
    fuzz_check(strlen(again) < EMS_NAME_SIZE);
    fuzz_check(ems_part_name_parse(again, &m));
    fuzz_check(m.kind != EMS_NAME_FILE || strcmp(m.suffix, n->suffix) == 0 || n->form != m.form);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char name[EMS_NAME_SIZE + 8], suffix[EMS_SUFFIX_MAX];
    size_t length = size < sizeof name ? size : sizeof name - 1, series;
    struct ems_part_name n;
    unsigned number;
    uint64_t rank;

    memcpy(name, data, length);
    name[length] = '\0';
    if (ems_part_name_parse(name, &n)) {
        fuzz_check(strlen(name) < EMS_NAME_SIZE && strlen(n.artifact) < EMS_NAME_SIZE);
        if (n.kind == EMS_NAME_FILE && n.known)
            check_stable(&n);
        for (int a = 0; a <= EMS_PART_HEX; a++)
            for (unsigned width = 0; width < 4; width++) {
                enum ems_part_alphabet alphabet = (enum ems_part_alphabet)a;

                if (!ems_suffix_rank(alphabet, width == 0, width, n.suffix, &rank))
                    continue;
                fuzz_check(ems_suffix_text(alphabet, width == 0, width, rank, suffix));
                fuzz_check(strcmp(suffix, n.suffix) == 0);
            }
    }
    if (ems_part_name_is_bundle(name, &series, &number))
        fuzz_check(series < strlen(name) && number < 1000);
    ems_looks_like(data, size);
    return 0;
}
