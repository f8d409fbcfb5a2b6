#include "base/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define DAY (INT64_C(86400) * TH_SECOND)

static th_time read_clock(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return now.tv_sec * TH_SECOND + now.tv_nsec / 1000;
}

th_time th_now(void)
{
    return read_clock(CLOCK_REALTIME);
}

th_time th_monotonic(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

struct timespec th_timespec(th_time time)
{
    const th_time t = time > 0 ? time : 0;
    return (struct timespec){.tv_sec = t / TH_SECOND, .tv_nsec = t % TH_SECOND * 1000};
}

/*
 * Days since 1970-01-01 and the proleptic Gregorian calendar. Years begin in March here, so that
 * the leap day is the last one, and 400 of them (146097 days) repeat. The method is Howard
 * Hinnant's, "chrono-Compatible Low-Level Date Algorithms".
 */
static int64_t days_of(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void date_of(int64_t days, int64_t *year, int *month, int *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153;
    *day = (int)(day_of_year - (153 * shifted_month + 2) / 5 + 1);
    *month = (int)(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
    *year = year_of_era + era * 400 + (*month <= 2);
}

static char *put_digits(char *out, int64_t value, int digits)
{
    for (int i = digits - 1; i >= 0; i--) {
        out[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return out + digits;
}

/* ISO 8601 gives years outside four digits a sign; no valid RFC 3339 time is that far away. */
static char *put_year(char *out, int64_t year)
{
    if (year >= 0 && year <= 9999) {
        return put_digits(out, year, 4);
    }
    *out++ = year < 0 ? '-' : '+';
    return put_digits(out, year < 0 ? -year : year, 6);
}

static char *put_fraction(char *out, int64_t microseconds, int digits)
{
    if (digits <= 0) {
        return out;
    }
    char all[9];
    put_digits(all, microseconds * 1000, 9);
    *out++ = '.';
    size_t n = (size_t)(digits > 9 ? 9 : digits);
    memcpy(out, all, n);
    return out + n;
}

void th_time_format(th_time t, int fraction_digits, char out[static 40])
{
    int64_t days = t / DAY;
    int64_t rest = t % DAY;
    if (rest < 0) {
        days--;
        rest += DAY;
    }
    int64_t year;
    int month;
    int day;
    date_of(days, &year, &month, &day);
    int64_t seconds = rest / TH_SECOND;
    char *p = put_year(out, year);
    *p++ = '-';
    p = put_digits(p, month, 2);
    *p++ = '-';
    p = put_digits(p, day, 2);
    *p++ = 'T';
    p = put_digits(p, seconds / 3600, 2);
    *p++ = ':';
    p = put_digits(p, seconds / 60 % 60, 2);
    *p++ = ':';
    p = put_digits(p, seconds % 60, 2);
    p = put_fraction(p, rest % TH_SECOND, fraction_digits);
    *p++ = 'Z';
    *p = '\0';
}

/* Takes exactly `digits` digits from the front of `s`. */
static bool get_digits(struct th_str *s, int digits, int *out)
{
    if (s->len < (size_t)digits) {
        return false;
    }
    int value = 0;
    for (int i = 0; i < digits; i++) {
        if (s->data[i] < '0' || s->data[i] > '9') {
            return false;
        }
        value = value * 10 + (s->data[i] - '0');
    }
    *s = (struct th_str){s->data + digits, s->len - (size_t)digits};
    *out = value;
    return true;
}

static bool get_char(struct th_str *s, char c)
{
    if (s->len == 0 || s->data[0] != c) {
        return false;
    }
    *s = (struct th_str){s->data + 1, s->len - 1};
    return true;
}

static bool get_date(struct th_str *s, int64_t *days)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year;
    int month;
    int day;
    if (!get_digits(s, 4, &year) || !get_char(s, '-') || !get_digits(s, 2, &month) ||
        !get_char(s, '-') || !get_digits(s, 2, &day) || month < 1 || month > 12) {
        return false;
    }
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (day < 1 || day > lengths[month - 1] + (month == 2 && leap)) {
        return false;
    }
    *days = days_of(year, month, day);
    return true;
}

/* The second may be 60: RFC 3339 writes leap seconds so. The caller knows whether one can be. */
static bool get_clock(struct th_str *s, int *seconds, bool *leap_second)
{
    int hour;
    int minute;
    int second;
    if (!get_digits(s, 2, &hour) || !get_char(s, ':') || !get_digits(s, 2, &minute) ||
        !get_char(s, ':') || !get_digits(s, 2, &second) || hour > 23 || minute > 59 ||
        second > 60) {
        return false;
    }
    *seconds = hour * 3600 + minute * 60 + second;
    *leap_second = second == 60;
    return true;
}

/* Nothing, or a point and 1 to 9 digits, cut (not rounded) to microseconds. */
static bool get_fraction(struct th_str *s, int *microseconds)
{
    *microseconds = 0;
    if (!get_char(s, '.')) {
        return true;
    }
    int count = 0;
    for (int digit; count < 9 && get_digits(s, 1, &digit); count++) {
        if (count < 6) {
            *microseconds = *microseconds * 10 + digit;
        }
    }
    for (int i = count; i < 6; i++) {
        *microseconds *= 10;
    }
    return count > 0;
}

/* Z, ±hh:mm, or ±hhmm as ISO 8601's basic form has it; seconds east of UTC. */
static bool get_offset(struct th_str *s, int *seconds)
{
    *seconds = 0;
    if (get_char(s, 'Z') || get_char(s, 'z')) {
        return true;
    }
    bool west = get_char(s, '-');
    int hours;
    int minutes;
    if ((!west && !get_char(s, '+')) || !get_digits(s, 2, &hours)) {
        return false;
    }
    get_char(s, ':');
    if (!get_digits(s, 2, &minutes) || hours > 23 || minutes > 59) {
        return false;
    }
    *seconds = (hours * 3600 + minutes * 60) * (west ? -1 : 1);
    return true;
}

bool th_time_parse(struct th_str s, th_time *out)
{
    int64_t days;
    int seconds = 0;
    int microseconds = 0;
    int offset = 0;
    bool leap_second = false;
    if (!get_date(&s, &days)) {
        return false;
    }
    if (s.len > 0 &&
        ((!get_char(&s, 'T') && !get_char(&s, 't')) || !get_clock(&s, &seconds, &leap_second) ||
         !get_fraction(&s, &microseconds) || !get_offset(&s, &offset) || s.len > 0)) {
        return false;
    }
    th_time whole = days * DAY + (int64_t)(seconds - offset) * TH_SECOND;
    if (leap_second && whole % DAY != 0) {
        return false; /* they come at the end of a UTC day only; ours is the second after it */
    }
    *out = whole + microseconds;
    return true;
}

bool th_period_parse(const char *text, int64_t *milliseconds)
{
    static const struct {
        const char *unit;
        double milliseconds;
    } units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    char *end;
    double number = strtod(text, &end);
    if (end == text || !isfinite(number) || number < 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        double value = number * units[i].milliseconds;
        if (strcmp(end, units[i].unit) == 0 && value <= 1e15) {
            *milliseconds = (int64_t)(value + 0.5);
            return true;
        }
    }
    return false;
}
