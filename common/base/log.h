/*
 * log: lines for people. Programs own a th_log and hand it down; the pure cores do not log.
 * Safe from any thread; one write(2) per line.
 */
#pragma once

#include "base/str.h"

enum th_level { TH_LOG_ERROR, TH_LOG_WARN, TH_LOG_INFO, TH_LOG_DEBUG };

struct th_log {
    enum th_level level;
    int fd;
    bool json; /* one JSON object a line instead of text */
    /* When set, receives each line (no newline) instead of `fd`: the message alone, with control
     * characters escaped. Called on the logging thread. */
    void (*sink)(void *argument, enum th_level level, const char *category, const char *line);
    void *argument;
};

bool th_level_parse(struct th_str text, enum th_level *out);

/* `category` is dotted ("Host.Concurrency", "partition"). A NULL log drops the line. */
void th_log(const struct th_log *log, enum th_level level, const char *category, const char *format,
            ...) __attribute__((format(printf, 4, 5)));
