/* The values of options, read from text. */
#include <math.h>
#include <stdlib.h>

#include "model/settings_table.h"

static bool take_digits(struct th_str *text, size_t least, size_t most, int64_t *out)
{
    size_t count = 0;
    int64_t value = 0;
    while (count < text->len && count < most && text->data[count] >= '0' &&
           text->data[count] <= '9') {
        value = value * 10 + (text->data[count++] - '0');
    }
    *text = (struct th_str){text->data + count, text->len - count};
    *out = value;
    return count >= least;
}

static bool take_char(struct th_str *text, char c)
{
    if (text->len == 0 || text->data[0] != c) {
        return false;
    }
    *text = (struct th_str){text->data + 1, text->len - 1};
    return true;
}

/* The fraction of a second as .NET writes it, up to 7 digits, cut to milliseconds. */
static bool take_fraction(struct th_str *text, int64_t *ms)
{
    *ms = 0;
    if (!take_char(text, '.')) {
        return true;
    }
    size_t before = text->len;
    int64_t value;
    if (!take_digits(text, 1, 7, &value)) {
        return false;
    }
    for (size_t digits = before - text->len; digits < 7; digits++) {
        value *= 10;
    }
    *ms = value / 10000;
    return true;
}

/* "hh:mm:ss", with days in front and a fraction behind when there are any; "-1" is none. */
static bool parse_duration(struct th_str text, int64_t *out)
{
    if (th_str_eq(text, TH_STR("-1"))) {
        *out = TH_DURATION_NONE;
        return true;
    }
    int64_t days = 0;
    int64_t hours;
    int64_t minutes;
    int64_t seconds;
    int64_t ms;
    bool ok = take_digits(&text, 1, 6, &hours);
    if (ok && take_char(&text, '.')) {
        days = hours;
        ok = take_digits(&text, 1, 2, &hours);
    }
    ok = ok && take_char(&text, ':') && take_digits(&text, 2, 2, &minutes) &&
         take_char(&text, ':') && take_digits(&text, 2, 2, &seconds) && take_fraction(&text, &ms);
    if (!ok || text.len > 0 || hours > 23 || minutes > 59 || seconds > 59) {
        return false;
    }
    *out = (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000 + ms;
    return true;
}

static bool in_range(const struct th_option *option, double value)
{
    return value >= option->least && value <= option->most;
}

static bool set_int(const struct th_option *option, struct th_str text, void *at)
{
    long long value;
    if (!th_str_to_i64(text, &value) || !in_range(option, (double)value)) {
        return false;
    }
    *(int64_t *)at = value;
    return true;
}

static bool set_real(const struct th_option *option, struct th_str text, void *at)
{
    char copy[64];
    if (text.len == 0 || text.len >= sizeof(copy)) {
        return false;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    char *end;
    double value = strtod(copy, &end);
    if (end != copy + text.len || !isfinite(value) || !in_range(option, value)) {
        return false;
    }
    *(double *)at = value;
    return true;
}

static bool set_duration(const struct th_option *option, struct th_str text, void *at)
{
    int64_t ms;
    if (!parse_duration(text, &ms) || (ms != TH_DURATION_NONE && !in_range(option, (double)ms))) {
        return false;
    }
    *(int64_t *)at = ms;
    return true;
}

static bool set_bool(struct th_str text, void *at)
{
    bool yes = th_str_eq_nocase(text, TH_STR("true"));
    *(bool *)at = yes;
    return yes || th_str_eq_nocase(text, TH_STR("false"));
}

bool th_option_choose(enum th_option_type type, struct th_str text, void *at)
{
    struct th_choices choices = th_option_choices(type);
    for (unsigned i = 0; i < choices.count; i++) {
        if (th_str_eq_nocase(text, th_str_of(choices.words[i]))) {
            memcpy(at, &i, sizeof(i));
            return true;
        }
    }
    return false;
}

bool th_option_set(struct th_settings *out, const struct th_option *option, struct th_str text)
{
    void *at = (char *)out + option->offset;
    switch (option->type) {
    case TH_OPTION_TEXT:
        *(struct th_str *)at = th_arena_str(&out->arena, text);
        return true;
    case TH_OPTION_BOOL:
        return set_bool(text, at);
    case TH_OPTION_INT:
        return set_int(option, text, at);
    case TH_OPTION_REAL:
        return set_real(option, text, at);
    case TH_OPTION_DURATION:
        return set_duration(option, text, at);
    default:
        return th_option_choose(option->type, text, at);
    }
}
