#include "examples/regime-switching/fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int regime_fail(int code, char *err, size_t errsize, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(err, errsize, format, args);
    va_end(args);
    return code;
}

int regime_fail_memory(char *err, size_t errsize)
{
    return regime_fail(-ENOMEM, err, errsize, "not enough memory");
}
