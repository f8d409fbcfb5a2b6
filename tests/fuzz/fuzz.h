/*
 * fuzz: what the fuzzers share. A fuzzer checks more than that nothing crashes: what was read and
 * is written again must be the same value, and its second reading must not fail.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In every build type; libFuzzer reports the input. */
#define MUST(condition)     \
    do {                    \
        if (!(condition)) { \
            abort();        \
        }                   \
    } while (0)

static inline struct th_str input_of(const uint8_t *data, size_t size)
{
    return (struct th_str){(const char *)data, size};
}
