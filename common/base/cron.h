/*
 * cron: NCRONTAB expressions of six fields, "second minute hour day month weekday", in UTC.
 * A field is a comma list of: a star, a value, a range "9-17", or a star, a value or a range with
 * a step: a star with "/5", "10-50/20", and "5/15" (from 5 to the end by 15). Months and weekdays
 * may be named ("JAN" or "January"; "MON" or "Monday"); weekdays count from Sunday = 0, and 7 is
 * Sunday too. A time is due when all six fields match (as NCrontab has it, not as Unix cron, whose
 * two day fields are alternatives). Pure: time is an argument.
 */
#pragma once

#include "base/clock.h"
#include "base/error.h"

/* One bit per value that matches. */
struct th_cron {
    uint64_t second, minute, hour, day, month, weekday;
};

/* False: INVALID, the error names the field and what is wrong with it. */
bool th_cron_parse(struct th_str text, struct th_cron *out, struct th_error *error);

/* The first due time after `after`; TH_TIME_NONE: never again (30 February, or past year 9000). */
th_time th_cron_next(const struct th_cron *cron, th_time after);
