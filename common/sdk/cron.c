#include "sdk/cron.h"

#include "base/memory.h"

struct field {
    const char *what;
    int low, high;
    const char *names; /* three letters each; the first stands for `low` */
};

static const struct field fields[] = {
    {"second", 0, 59, NULL},
    {"minute", 0, 59, NULL},
    {"hour", 0, 23, NULL},
    {"day", 1, 31, NULL},
    {"month", 1, 12, "JanFebMarAprMayJunJulAugSepOctNovDec"},
    {"weekday", 0, 6, "SunMonTueWedThuFriSat"},
};

/* ---- reading -------------------------------------------------------------------------------- */

/* Cuts the part before the first `separator` off `rest`. */
static struct th_str cut(struct th_str *rest, char separator)
{
    const char *found = rest->len ? memchr(rest->data, separator, rest->len) : NULL;
    size_t len = found ? (size_t)(found - rest->data) : rest->len;
    struct th_str head = th_str_n(rest->data, len);
    size_t used = found ? len + 1 : len;
    *rest = th_str_n(rest->data + used, rest->len - used);
    return head;
}

static bool read_value(const struct field *f, struct th_str s, int *out)
{
    long long number;
    for (int i = 0; f->names && s.len == 3 && f->names[3 * i]; i++) {
        if (th_str_eq_nocase(s, th_str_n(f->names + 3 * i, 3))) {
            *out = f->low + i;
            return true;
        }
    }
    if (!th_str_to_i64(s, &number) || number < f->low || number > f->high) {
        return false;
    }
    *out = (int)number;
    return true;
}

static bool read_range(const struct field *f, struct th_str s, bool has_step, int *low, int *high)
{
    if (th_str_eq(s, TH_STR("*"))) {
        *low = f->low;
        *high = f->high;
        return true;
    }
    struct th_str rest = s;
    struct th_str first = cut(&rest, '-');
    if (!read_value(f, first, low)) {
        return false;
    }
    *high = has_step ? f->high : *low; /* "5/15" goes on to the end */
    return first.len == s.len || (read_value(f, rest, high) && *low <= *high);
}

static bool read_item(const struct field *f, struct th_str item, uint64_t *bits)
{
    struct th_str step_text = item;
    struct th_str range = cut(&step_text, '/');
    bool has_step = range.len != item.len;
    long long step = 1;
    int low, high;
    if (has_step && (!th_str_to_i64(step_text, &step) || step < 1 || step > 59)) {
        return false;
    }
    if (!read_range(f, range, has_step, &low, &high)) {
        return false;
    }
    for (int v = low; v <= high; v += (int)step) {
        *bits |= UINT64_C(1) << v;
    }
    return true;
}

static bool read_field(const struct field *f, struct th_str text, uint64_t *bits)
{
    *bits = 0;
    do {
        if (!read_item(f, cut(&text, ','), bits)) {
            return false;
        }
    } while (text.len);
    return true;
}

static struct th_str next_word(struct th_str *rest)
{
    struct th_str word;
    do {
        word = cut(rest, ' ');
    } while (word.len == 0 && rest->len);
    return word;
}

bool th_cron_parse(struct th_str text, struct th_cron *out, struct th_error *error)
{
    uint64_t *bits[] = {&out->second, &out->minute, &out->hour,
                        &out->day,    &out->month,  &out->weekday};
    struct th_str rest = text;
    for (size_t i = 0; i < TH_COUNT(fields); i++) {
        struct th_str word = next_word(&rest);
        if (word.len == 0) {
            return th_fail(error, TH_INVALID,
                           "schedule \"%.*s\" needs six fields: second minute hour day month "
                           "weekday",
                           TH_PRI(text));
        }
        if (!read_field(&fields[i], word, bits[i])) {
            return th_fail(error, TH_INVALID,
                           "schedule \"%.*s\": the %s \"%.*s\" is not *, a number from %d to %d, a "
                           "range, or several of them",
                           TH_PRI(text), fields[i].what, TH_PRI(word), fields[i].low,
                           fields[i].high);
        }
    }
    if (next_word(&rest).len) {
        return th_fail(error, TH_INVALID, "schedule \"%.*s\" has more than six fields",
                       TH_PRI(text));
    }
    return true;
}

/* ---- the next due time ---------------------------------------------------------------------- */

static bool has(uint64_t bits, int value)
{
    return bits >> value & 1;
}

/* The next set bit from `from` on, or -1. */
static int next_bit(uint64_t bits, int from)
{
    bits = from > 63 ? 0 : bits & ~UINT64_C(0) << from;
    return bits ? __builtin_ctzll(bits) : -1;
}

/* Month and day of a day counted from 1970-01-01 (Howard Hinnant's civil_from_days). */
static void civil(int64_t days, int *month, int *day)
{
    days += 719468; /* from 0000-03-01 */
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t of_era = days - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t shifted = (5 * of_year + 2) / 153;
    *day = (int)(of_year - (153 * shifted + 2) / 5 + 1);
    *month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
}

static bool day_matches(const struct th_cron *c, int64_t days)
{
    int month, day;
    civil(days, &month, &day);
    int weekday = (int)(((days + 4) % 7 + 7) % 7); /* 1970-01-01 was a Thursday */
    return has(c->month, month) && has(c->day, day) && has(c->weekday, weekday);
}

/* The first due second of a day from `from` on, or -1. */
static int in_day(const struct th_cron *c, int from)
{
    int hour = from / 3600;
    int minute = from / 60 % 60;
    int second = from % 60;
    for (hour = next_bit(c->hour, hour); hour >= 0; hour = next_bit(c->hour, hour + 1)) {
        if (hour != from / 3600) {
            minute = second = 0;
        }
        int start = minute;
        for (minute = next_bit(c->minute, minute); minute >= 0;
             minute = next_bit(c->minute, minute + 1)) {
            int s = next_bit(c->second, minute == start ? second : 0);
            if (s >= 0) {
                return hour * 3600 + minute * 60 + s;
            }
        }
        minute = 0;
    }
    return -1;
}

th_time th_cron_next(const struct th_cron *c, th_time t)
{
    const int64_t horizon = 28 * 366;
    int64_t seconds = t / TH_SECOND - (t % TH_SECOND < 0) + 1;
    int64_t day = seconds / 86400 - (seconds % 86400 < 0);
    int from = (int)(seconds - day * 86400);
    for (int64_t last = day + horizon; day <= last; day++, from = 0) {
        int found = day_matches(c, day) ? in_day(c, from) : -1;
        if (found >= 0) {
            return (day * 86400 + found) * TH_SECOND;
        }
    }
    return TH_TIME_NONE;
}
