/* The options as tables and lines for people. */
#include <stddef.h>

#include "base/memory.h"
#include "model/settings_table.h"

const struct th_option th_options[TH_SETTING_COUNT] = {
#define X(field, type, key, standard, least, most, help) \
    {key, TH_OPTION_##type, offsetof(struct th_settings, field), least, most, help},
    TH_SETTINGS(X)
#undef X
};

#define DEFAULT_TEXT(value)        th_str_of(value)
#define DEFAULT_BOOL(value)        (value)
#define DEFAULT_INT(value)         (value)
#define DEFAULT_REAL(value)        (value)
#define DEFAULT_DURATION(value)    (value)
#define DEFAULT_MATCH(value)       (value)
#define DEFAULT_FAILURE(value)     (value)
#define DEFAULT_OVERRIDABLE(value) (value)
#define DEFAULT_LEVEL(value)       (value)

struct th_settings th_settings_defaults(void)
{
    return (struct th_settings){
#define X(field, type, key, standard, least, most, help) .field = DEFAULT_##type(standard),
        TH_SETTINGS(X)
#undef X
    };
}

#define X(name, text) text,
static const char *const matches[] = {TH_VERSION_MATCHES(X)};
static const char *const failures[] = {TH_VERSION_FAILURES(X)};
static const char *const overridables[] = {TH_OVERRIDABLE_STATES(X)};
static const char *const levels[] = {TH_LOG_LEVELS(X)};
#undef X

struct th_choices th_option_choices(enum th_option_type type)
{
    switch (type) {
    case TH_OPTION_MATCH:
        return (struct th_choices){matches, TH_COUNT(matches)};
    case TH_OPTION_FAILURE:
        return (struct th_choices){failures, TH_COUNT(failures)};
    case TH_OPTION_OVERRIDABLE:
        return (struct th_choices){overridables, TH_COUNT(overridables)};
    case TH_OPTION_LEVEL:
        return (struct th_choices){levels, TH_COUNT(levels)};
    default:
        return (struct th_choices){NULL, 0};
    }
}

/* ---- one option ---- */

static void add_choices(struct th_buffer *out, struct th_choices choices, const char *last)
{
    for (unsigned i = 0; i < choices.count; i++) {
        const char *between = i == 0 ? "" : i + 1 == choices.count ? last : ", ";
        th_buffer_format(out, "%s%s", between, choices.words[i]);
    }
}

static void add_duration(struct th_buffer *out, int64_t ms)
{
    if (ms == TH_DURATION_NONE) {
        th_buffer_text(out, "\"-1\"");
        return;
    }
    long long seconds = ms / 1000;
    th_buffer_text(out, "\"");
    if (seconds >= 86400) {
        th_buffer_format(out, "%lld.", seconds / 86400);
    }
    th_buffer_format(out, "%02lld:%02lld:%02lld", seconds / 3600 % 24, seconds / 60 % 60,
                     seconds % 60);
    if (ms % 1000) {
        th_buffer_format(out, ".%03d", (int)(ms % 1000));
    }
    th_buffer_text(out, "\"");
}

void th_option_rule(struct th_buffer *out, const struct th_option *option)
{
    switch (option->type) {
    case TH_OPTION_TEXT:
        th_buffer_text(out, "must be a text in quotes");
        return;
    case TH_OPTION_BOOL:
        th_buffer_text(out, "must be true or false");
        return;
    case TH_OPTION_INT:
        th_buffer_format(out, "must be a whole number from %.0f to %.0f", option->least,
                         option->most);
        return;
    case TH_OPTION_REAL:
        th_buffer_format(out, "must be a number from %g to %g", option->least, option->most);
        return;
    case TH_OPTION_DURATION:
        th_buffer_text(out, "must be a time span such as \"00:10:00\", at most ");
        add_duration(out, (int64_t)option->most);
        th_buffer_text(out, ", or \"-1\" for none");
        return;
    default:
        th_buffer_text(out, "must be ");
        add_choices(out, th_option_choices(option->type), " or ");
    }
}

void th_option_value(struct th_buffer *out, const struct th_option *option,
                     const struct th_settings *settings)
{
    const void *at = (const char *)settings + option->offset;
    const struct th_str *text = at;
    switch (option->type) {
    case TH_OPTION_TEXT:
        if (th_str_present(*text)) {
            th_buffer_format(out, "\"%.*s\"", TH_PRI(*text));
        } else {
            th_buffer_text(out, "none");
        }
        return;
    case TH_OPTION_BOOL:
        th_buffer_text(out, *(const bool *)at ? "true" : "false");
        return;
    case TH_OPTION_INT:
        th_buffer_format(out, "%lld", (long long)*(const int64_t *)at);
        return;
    case TH_OPTION_REAL:
        th_buffer_format(out, "%g", *(const double *)at);
        return;
    case TH_OPTION_DURATION:
        add_duration(out, *(const int64_t *)at);
        return;
    default:
        th_buffer_format(out, "\"%s\"",
                         th_option_choices(option->type).words[*(const unsigned *)at]);
    }
}

/* ---- all options ---- */

/* "must be" is for errors; a table says what is allowed. */
static void add_allowed(struct th_buffer *out, const struct th_option *option)
{
    TH_BUFFER rule = {0};
    th_option_rule(&rule, option);
    struct th_str text = th_buffer_view(&rule);
    struct th_str prefix = TH_STR("must be ");
    th_buffer_add(out, text.data + prefix.len, text.len - prefix.len);
}

void th_settings_document(struct th_buffer *out)
{
    struct th_settings standard = th_settings_defaults();
    th_buffer_text(out, "| key in host.json | default | allowed | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < TH_SETTING_COUNT; i++) {
        const struct th_option *option = &th_options[i];
        th_buffer_format(out, "| `%s` | ", option->key);
        th_option_value(out, option, &standard);
        th_buffer_text(out, " | ");
        add_allowed(out, option);
        th_buffer_format(out, " | %s |\n", option->help);
    }
}

void th_settings_help(struct th_buffer *out)
{
    struct th_settings standard = th_settings_defaults();
    for (size_t i = 0; i < TH_SETTING_COUNT; i++) {
        const struct th_option *option = &th_options[i];
        th_buffer_format(out, "  %s\n      %s\n      ", option->key, option->help);
        add_allowed(out, option);
        th_buffer_text(out, "; default ");
        th_option_value(out, option, &standard);
        th_buffer_text(out, "\n");
    }
}

void th_settings_show(const struct th_settings *settings, struct th_buffer *out)
{
    for (size_t i = 0; i < TH_SETTING_COUNT; i++) {
        th_buffer_format(out, "%s = ", th_options[i].key);
        th_option_value(out, &th_options[i], settings);
        th_buffer_text(out, settings->given[i] ? "\n" : "  # default\n");
    }
}
