/*
 * cron: NCRONTAB schedules, "second minute hour day month weekday" in UTC. A field is *, a number,
 * a name (Jan-Dec, Sun-Sat; Sunday is 0), a range a-b, any of these with a step (a star, then
 * slash 5), or several joined by commas. A time is due when every field matches it. Pure.
 */
#pragma once

#include "base/clock.h"
#include "base/error.h"

/* Bit n of a field: the value n matches. */
struct th_cron {
    uint64_t second, minute, hour, day, month, weekday;
};

/* False: `error` names the field and the rule. */
bool th_cron_parse(struct th_str text, struct th_cron *out, struct th_error *error);
/* The first due time after `t`; TH_TIME_NONE when there is none within 28 years (30 February). */
th_time th_cron_next(const struct th_cron *cron, th_time t);
