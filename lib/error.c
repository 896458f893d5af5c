/* error.c - see error.h */
#include "error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int status;
} codes[EMS_CODE_COUNT] = {[EMS_OK] = {"ok", 0},
                           [EMS_END] = {"end", 0},
#define EMS_CODE_ROW(constant, name, status) [EMS_##constant] = {name, status},
                           EMS_CODES(EMS_CODE_ROW)
#undef EMS_CODE_ROW
};

int ems_vfail(struct ems_error *err, int code, const char *fmt, va_list args)
{
    if (err == NULL)
        return code;
    if (err->code != EMS_OK)
        return err->code;
    err->code = code;
    err->origin = EMS_NOWHERE;
    vsnprintf(err->text, sizeof err->text, fmt, args);
    return code;
}

int ems_fail(struct ems_error *err, int code, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    code = ems_vfail(err, code, fmt, args);
    va_end(args);
    return code;
}

int ems_fail_errno(struct ems_error *err, int errnum, const char *fmt, ...)
{
    char what[200];
    va_list args;

    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return ems_fail(err, errnum == ENOMEM ? EMS_NO_MEMORY : EMS_IO_ERROR, "%s: %s", what,
                    strerror(errnum));
}

int ems_fail_memory(struct ems_error *err)
{
    return ems_fail(err, EMS_NO_MEMORY, "out of memory");
}

const char *ems_code_name(int code)
{
    if (code < 0 || code >= EMS_CODE_COUNT)
        return "internal";
    return codes[code].name;
}

int ems_code_from_name(const char *name)
{
    for (int i = 0; i < EMS_CODE_COUNT; i++)
        if (strcmp(codes[i].name, name) == 0)
            return i;
    return -1;
}

int ems_code_exit(int code)
{
    if (code < 0 || code >= EMS_CODE_COUNT)
        return 70;
    return codes[code].status;
}

int ems_exit_worst(int a, int b)
{
    static const int order[] = {0, 3, 5, 1, 4, 2, 75, 70};
    int rank_a = 0, rank_b = 0;

    for (int i = 0; i < (int)(sizeof order / sizeof order[0]); i++) {
        if (order[i] == a)
            rank_a = i;
        if (order[i] == b)
            rank_b = i;
    }
    return rank_a >= rank_b ? a : b;
}
