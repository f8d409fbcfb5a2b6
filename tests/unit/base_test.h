/* What every test of base includes: cmocka with what its header needs, and a few checks. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"

#define assert_str(actual, expected)                                \
    do {                                                            \
        struct th_str actual_ = (actual);                           \
        assert_int_equal(actual_.len, strlen(expected));            \
        assert_memory_equal(actual_.data, (expected), actual_.len); \
    } while (0)

/* True when `act` ends its process: by abort, or by a sanitizer that speaks first. */
static inline bool dies(void (*act)(void))
{
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0};
        setrlimit(RLIMIT_CORE, &none);
        int quiet = open("/dev/null", O_WRONLY);
        dup2(quiet, 2);
        act();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}
