/*
 * clock: time is an argument. th_time counts microseconds since 1970-01-01T00:00:00Z; the pure
 * cores receive it and never ask for it. Only programs call th_now.
 */
#pragma once

#include <stdint.h>
#include <time.h>

#include "base/str.h"

typedef int64_t th_time;

#define TH_TIME_NONE   INT64_MIN
#define TH_MILLISECOND INT64_C(1000)
#define TH_SECOND      INT64_C(1000000)

th_time th_now(void);       /* wall clock */
th_time th_monotonic(void); /* for measuring; its zero is arbitrary */
/* For calls that take an absolute time; what lies before zero is zero. */
struct timespec th_timespec(th_time time);

/* "2026-11-22T10:19:42Z" (fraction digits 0, 3, 6 or 7); `out` holds at least 40 bytes. */
void th_time_format(th_time t, int fraction_digits, char out[static 40]);

/* RFC 3339 / ISO 8601 date-time with Z or an offset, fraction of 1-9 digits; a date alone means
 * midnight UTC. False when `s` is anything else. */
bool th_time_parse(struct th_str s, th_time *out);

/* Milliseconds of "250ms", "10s", "5m", "2h", "1d", "1.5" (seconds); false when it is none. */
bool th_period_parse(const char *text, int64_t *milliseconds);
