/*
 * arguments: a program's options, from its command line and the environment, by a table. Parser and
 * --help come from the table, so they cannot drift apart. What is given on the command line wins
 * over the environment; what neither gives keeps the value that tells so.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

/*
 * FLAG    bool; in the environment "1", "true", "0" or "false"
 * TEXT    const char *; NULL: not given
 * COUNT   int64_t, a whole number from 0 to `most`; TH_NOT_GIVEN
 * PERIOD  int64_t, milliseconds of "250ms", "10s", "5m" or a number of seconds; TH_NOT_GIVEN
 * LIST    struct th_argument_list; may be repeated; in the environment separated by ";"
 */
enum th_argument_type {
    TH_ARGUMENT_FLAG,
    TH_ARGUMENT_TEXT,
    TH_ARGUMENT_COUNT,
    TH_ARGUMENT_PERIOD,
    TH_ARGUMENT_LIST
};

#define TH_NOT_GIVEN (-1)

struct th_argument_list {
    char **items; /* owned, as they are */
    size_t count, capacity;
};

#define TH_ARGUMENT_C_FLAG   bool
#define TH_ARGUMENT_C_TEXT   const char *
#define TH_ARGUMENT_C_COUNT  int64_t
#define TH_ARGUMENT_C_PERIOD int64_t
#define TH_ARGUMENT_C_LIST   struct th_argument_list

struct th_argument {
    const char *name;
    enum th_argument_type type;
    int letter;           /* 0: none */
    const char *value;    /* how --help calls it; NULL for a FLAG */
    const char *variable; /* of the environment; NULL: none */
    int64_t most;         /* of a COUNT; 0: any */
    const char *help;
    size_t offset; /* of the field */
};

/* Options that stand together: in --help, and in one struct. A table is written as rows
 * X(field, type, name, letter, value, variable, most, help). */
struct th_argument_group {
    const char *title;
    const struct th_argument *rows;
    size_t count;
    void *fields;
};
#define TH_ARGUMENT_FIELD(field, type, ...) TH_ARGUMENT_C_##type field;
#define TH_ARGUMENT_ROW(owner, field, type, name, letter, value, variable, most, help) \
    {name, TH_ARGUMENT_##type, letter, value, variable, most, help, offsetof(owner, field)},

struct th_arguments {
    const char *program;
    const char *summary;  /* one line */
    const char *text;     /* what it does, lines of it */
    const char *examples; /* lines; NULL: none */
    const struct th_argument_group *groups;
    size_t group_count;
};

/* Fills the groups' fields; texts point into argv and the environment. Anything that is no option
 * is refused. `*help`: --help was given. False: INVALID, with what is wrong. Once a process: it
 * uses getopt(3). */
bool th_arguments_parse(const struct th_arguments *arguments, int argc, char **argv, bool *help,
                        struct th_error *error);
void th_arguments_deinit(const struct th_arguments *arguments); /* what lists own */
void th_arguments_help(const struct th_arguments *arguments, FILE *out);
