/* How functions of this application say what went wrong: a negative errno and a sentence. */
#pragma once

#include <stddef.h>

/* Formats the sentence into err, cut to errsize, and returns the code. */
__attribute__((format(printf, 4, 5))) int regime_fail(int code, char *err, size_t errsize,
                                                      const char *format, ...);

/* The same for memory. */
int regime_fail_memory(char *err, size_t errsize);
