/*
 * settings_table: the options of settings.h as rows that code can walk. Private to model; shared
 * by the reader (settings.c, settings_value.c) and what prints options (settings_text.c).
 */
#pragma once

#include "model/settings.h"

enum th_option_type {
    TH_OPTION_TEXT,
    TH_OPTION_BOOL,
    TH_OPTION_INT,
    TH_OPTION_REAL,
    TH_OPTION_DURATION,
    TH_OPTION_MATCH,
    TH_OPTION_FAILURE,
    TH_OPTION_OVERRIDABLE,
    TH_OPTION_LEVEL,
};

struct th_option {
    const char *key; /* "extensions.durableTask.hubName" */
    enum th_option_type type;
    size_t offset; /* in struct th_settings */
    double least, most;
    const char *help;
};

/* The words of a choice, in the order of its enum. */
struct th_choices {
    const char *const *words;
    unsigned count;
};

extern const struct th_option th_options[TH_SETTING_COUNT];

/* Nothing given, every option at its default. */
struct th_settings th_settings_defaults(void);

struct th_choices th_option_choices(enum th_option_type type); /* none for other types */

/* Reads `text` into the option's field; false when it is nothing that this option can be. */
bool th_option_set(struct th_settings *out, const struct th_option *option, struct th_str text);
/* The same for a choice that stands elsewhere: an enum at `at`. */
bool th_option_choose(enum th_option_type type, struct th_str text, void *at);

/* What is allowed: "must be a whole number from 1 to 1024". */
void th_option_rule(struct th_buffer *out, const struct th_option *option);
/* The value in `settings`, as a file would have it: 12, true, "api". */
void th_option_value(struct th_buffer *out, const struct th_option *option,
                     const struct th_settings *settings);
