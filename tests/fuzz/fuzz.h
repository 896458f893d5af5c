/* fuzz.h - what every fuzz target includes. */
#ifndef EMS_FUZZ_H
#define EMS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* The target. Returns 0; dies if something is wrong. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Optional, called once before the first input. */
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

static inline void fuzz_check(bool ok)
{
    if (!ok)
        abort();
}

#endif
