/*
 * suffix.c - the arithmetic of split(1) suffixes; see parts.h.
 *
 * Widening (GNU split without -a, coreutils src/split.c, next_file_name): in block k a suffix is k
 * times the last symbol, then k+2 symbols of which the first is not the last symbol. Block k holds
 * (R-1)*R^(k+1) names, R being the number of symbols: aa..yz, zaaa..zyzz, zzaaaa.., and with digits
 * 00..89, 9000..9899, 990000...
 */
#include "parts.h"

#include <string.h>

static const char *symbols(enum ems_part_alphabet alphabet)
{
    switch (alphabet) {
    case EMS_PART_DIGITS:
        return "0123456789";
    case EMS_PART_HEX:
        return "0123456789abcdef";
    case EMS_PART_LETTERS:
        break;
    }
    return "abcdefghijklmnopqrstuvwxyz";
}

/* Value of `length` symbols as a number of base R; false for a foreign symbol or an overflow. */
static bool value_of(const char *set, uint64_t radix, const char *text, size_t length,
                     uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < length; i++) {
        const char *at = text[i] != '\0' ? strchr(set, text[i]) : NULL;

        if (at == NULL || *value > (UINT64_MAX >> 8) / radix)
            return false;
        *value = *value * radix + (uint64_t)(at - set);
    }
    return true;
}

bool ems_suffix_rank(enum ems_part_alphabet alphabet, bool widening, unsigned width,
                     const char *suffix, uint64_t *rank)
{
    const char *set = symbols(alphabet);
    size_t length = strlen(suffix), k = 0;
    uint64_t radix = strlen(set), block = (radix - 1) * radix, first = 0, value;
    char last = set[radix - 1];

    if (length == 0 || length >= EMS_SUFFIX_MAX)
        return false;
    if (!widening) {
        return length == width && value_of(set, radix, suffix, length, rank);
    }
    while (k < length && suffix[k] == last) {
        first += block;
        if (block > (UINT64_MAX >> 8) / radix)
            return false;
        block *= radix;
        k++;
    }
    if (length != 2 * k + 2 || !value_of(set, radix, suffix + k, length - k, &value))
        return false;
    *rank = first + value;
    return true;
}

bool ems_suffix_text(enum ems_part_alphabet alphabet, bool widening, unsigned width, uint64_t rank,
                     char *out)
{
    const char *set = symbols(alphabet);
    uint64_t radix = strlen(set), block = (radix - 1) * radix;
    size_t k = 0, length = width;

    if (widening) {
        while (rank >= block) {
            rank -= block;
            if (block > UINT64_MAX / radix)
                return false;
            block *= radix;
            k++;
        }
        length = 2 * k + 2;
    }
    if (length == 0 || length >= EMS_SUFFIX_MAX)
        return false;
    memset(out, set[radix - 1], k);
    for (size_t i = length; i-- > k; rank /= radix)
        out[i] = set[rank % radix];
    out[length] = '\0';
    return rank == 0;
}
