#include "base/cron.h"

#include <time.h>

#include "base/memory.h"

struct field {
    const char *name;
    unsigned first, last;
    const char *const *words; /* of the values from `first` on; NULL: numbers only */
    unsigned word_count;
};

static const char *const month_words[] = {"January",   "February", "March",    "April",
                                          "May",       "June",     "July",     "August",
                                          "September", "October",  "November", "December"};
static const char *const weekday_words[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                            "Thursday", "Friday", "Saturday"};

static const struct field fields[] = {
    {"second", 0, 59, NULL, 0},        {"minute", 0, 59, NULL, 0},
    {"hour", 0, 23, NULL, 0},          {"day", 1, 31, NULL, 0},
    {"month", 1, 12, month_words, 12}, {"weekday", 0, 7, weekday_words, 7},
};

enum { FIELDS = 6, WORD_PREFIX = 3 };

/* ---- parsing ------------------------------------------------------------------------------- */

static struct th_str cut(struct th_str *rest, char at)
{
    const char *found = memchr(rest->data, at, rest->len);
    struct th_str part = *rest;
    if (found) {
        part.len = (size_t)(found - rest->data);
        *rest = th_str_n(found + 1, rest->len - part.len - 1);
    } else {
        *rest = TH_STR_ABSENT;
    }
    return part;
}

static bool parse_word(const struct field *field, struct th_str text, unsigned *out)
{
    for (unsigned i = 0; i < field->word_count; i++) {
        struct th_str word = th_str_of(field->words[i]);
        if (th_str_eq_nocase(text, word) ||
            th_str_eq_nocase(text, th_str_n(word.data, WORD_PREFIX))) {
            *out = field->first + i;
            return true;
        }
    }
    return false;
}

static bool parse_value(const struct field *field, struct th_str text, unsigned *out,
                        struct th_error *error)
{
    long long number;
    if (parse_word(field, text, out)) {
        return true;
    }
    if (!th_str_to_i64(text, &number)) {
        return th_fail(error, TH_INVALID, "cron field \"%s\": \"%.*s\" is no %s", field->name,
                       TH_PRI(text), field->words ? "number or name" : "number");
    }
    if (number < field->first || number > field->last) {
        return th_fail(error, TH_INVALID, "cron field \"%s\": %lld is not in %u-%u", field->name,
                       number, field->first, field->last);
    }
    *out = (unsigned)number;
    return true;
}

static bool parse_step(const struct field *field, struct th_str text, unsigned *out,
                       struct th_error *error)
{
    long long number;
    if (!th_str_to_i64(text, &number) || number < 1 || number > field->last + 1) {
        return th_fail(error, TH_INVALID, "cron field \"%s\": the step \"%.*s\" is not in 1-%u",
                       field->name, TH_PRI(text), field->last + 1);
    }
    *out = (unsigned)number;
    return true;
}

/* "*", "7" or "9-17". A lone value with a step after it runs to the end of the field. */
static bool parse_range(const struct field *field, struct th_str text, bool stepped,
                        unsigned *first, unsigned *last, struct th_error *error)
{
    *first = field->first;
    *last = field->last;
    if (th_str_eq(text, TH_STR("*"))) {
        return true;
    }
    struct th_str rest = text;
    struct th_str left = cut(&rest, '-');
    if (!parse_value(field, left, first, error)) {
        return false;
    }
    if (!th_str_present(rest)) {
        *last = stepped ? field->last : *first;
        return true;
    }
    if (!parse_value(field, rest, last, error)) {
        return false;
    }
    if (field->words == weekday_words && *last == 0) {
        *last = 7; /* "FRI-SUN": a range may end with Sunday */
    }
    if (*first > *last) {
        return th_fail(error, TH_INVALID, "cron field \"%s\": the range \"%.*s\" runs backwards",
                       field->name, TH_PRI(text));
    }
    return true;
}

static bool parse_item(const struct field *field, struct th_str text, uint64_t *bits,
                       struct th_error *error)
{
    struct th_str rest = text;
    struct th_str range = cut(&rest, '/');
    bool stepped = th_str_present(rest);
    unsigned first, last, step = 1;
    if (!parse_range(field, range, stepped, &first, &last, error) ||
        (stepped && !parse_step(field, rest, &step, error))) {
        return false;
    }
    for (unsigned value = first; value <= last; value += step) {
        *bits |= UINT64_C(1) << value;
    }
    return true;
}

static bool parse_field(const struct field *field, struct th_str text, uint64_t *bits,
                        struct th_error *error)
{
    *bits = 0;
    for (struct th_str rest = text; th_str_present(rest);) {
        if (!parse_item(field, cut(&rest, ','), bits, error)) {
            return false;
        }
    }
    return true;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Splits at blanks; returns how many fields there are, storing the first FIELDS. */
static size_t split_fields(struct th_str text, struct th_str *out)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len;) {
        size_t start = i;
        while (i < text.len && !blank(text.data[i])) {
            i++;
        }
        if (i > start && count++ < FIELDS) {
            out[count - 1] = th_str_n(text.data + start, i - start);
        }
        while (i < text.len && blank(text.data[i])) {
            i++;
        }
    }
    return count;
}

bool th_cron_parse(struct th_str text, struct th_cron *out, struct th_error *error)
{
    struct th_str parts[FIELDS];
    size_t count = split_fields(text, parts);
    if (count != FIELDS) {
        return th_fail(error, TH_INVALID,
                       "a cron schedule has six fields (second minute hour day month weekday), "
                       "\"%.*s\" has %zu",
                       TH_PRI(text), count);
    }
    uint64_t bits[FIELDS];
    for (size_t i = 0; i < FIELDS; i++) {
        if (!parse_field(&fields[i], parts[i], &bits[i], error)) {
            return false;
        }
    }
    uint64_t sunday = bits[5] >> 7 & 1;
    *out = (struct th_cron){bits[0], bits[1], bits[2], bits[3], bits[4], bits[5] | sunday};
    return true;
}

/* ---- next due time ------------------------------------------------------------------------- */

/* The lowest set bit at or above `from`; 64 when there is none. */
static unsigned next_bit(uint64_t bits, unsigned from)
{
    uint64_t rest = from < 64 ? bits >> from << from : 0;
    return rest ? (unsigned)__builtin_ctzll(rest) : 64;
}

/* The first matching second of a day at or after `from` (seconds since midnight); -1: none. */
static long time_of_day(const struct th_cron *cron, long from)
{
    unsigned hour = (unsigned)(from / 3600), minute = (unsigned)(from / 60 % 60);
    unsigned second = next_bit(cron->second, (unsigned)(from % 60));
    if (second == 64) {
        second = next_bit(cron->second, 0);
        minute++;
    }
    unsigned wanted = next_bit(cron->minute, minute);
    if (wanted != minute) {
        second = next_bit(cron->second, 0);
    }
    if (wanted == 64) {
        wanted = next_bit(cron->minute, 0);
        hour++;
    }
    unsigned wanted_hour = next_bit(cron->hour, hour);
    if (wanted_hour != hour) {
        wanted = next_bit(cron->minute, 0);
        second = next_bit(cron->second, 0);
    }
    return wanted_hour == 64 ? -1 : (long)(wanted_hour * 3600 + wanted * 60 + second);
}

static bool day_matches(const struct th_cron *cron, const struct tm *day)
{
    return (cron->month >> (day->tm_mon + 1) & 1) && (cron->day >> day->tm_mday & 1) &&
           (cron->weekday >> day->tm_wday & 1);
}

th_time th_cron_next(const struct th_cron *cron, th_time after)
{
    /* The calendar repeats after 400 years: what is not due by then never is. */
    enum { DAY = 86400, HORIZON = 146097 + 1 };
    const th_time latest = INT64_C(221845392000) * TH_SECOND; /* year 9000 */
    if (after < -latest || after > latest) {
        return TH_TIME_NONE;
    }
    int64_t second = after / TH_SECOND - (after % TH_SECOND < 0) + 1;
    int64_t day = second / DAY - (second % DAY < 0);
    long from = (long)(second - day * DAY);
    for (int i = 0; i < HORIZON; i++, day++, from = 0) {
        time_t midnight = (time_t)(day * DAY);
        struct tm date;
        if (!gmtime_r(&midnight, &date)) {
            return TH_TIME_NONE;
        }
        long found = day_matches(cron, &date) ? time_of_day(cron, from) : -1;
        if (found >= 0) {
            return (day * DAY + found) * TH_SECOND;
        }
    }
    return TH_TIME_NONE;
}
