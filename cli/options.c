/*
 * getopt_long reads the line by a table made from CLI_OPTIONS and the command's list; an option of
 * another command is unknown to this one.
 */
#include "cli/options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/memory.h"

struct description {
    const char *field;
    enum cli_type type;
    const char *name;
    int letter;
    const char *argument;
    const char *help;
    size_t offset;
};

static const struct description descriptions[] = {
#define X(field, type, name, letter, argument, help) \
    {#field, CLI_##type, name, letter, argument, help, offsetof(struct cli_options, field)},
    CLI_OPTIONS(X)
#undef X
};

#define FIRST_CODE 1000 /* above every letter */
#define HELP_CODE  999

/* Whether a blank-separated list holds a word. */
static bool lists(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = list; at && *at; at += strspn(at, " ")) {
        size_t n = strcspn(at, " ");
        if (n == len && memcmp(at, word, n) == 0)
            return true;
        at += n;
    }
    return false;
}

static bool set_value(const struct description *d, const char *text, struct cli_options *out)
{
    void *field = (char *)out + d->offset;
    long long number;
    switch (d->type) {
    case CLI_FLAG:
        *(bool *)field = true;
        return true;
    case CLI_TEXT:
        *(const char **)field = text;
        return true;
    case CLI_COUNT:
        if (th_str_to_i64(th_str_of(text), &number) && number >= 0) {
            *(int64_t *)field = number;
            return true;
        }
        fprintf(stderr, "taskhub: --%s needs a whole number, not \"%s\"\n", d->name, text);
        return false;
    case CLI_PERIOD:
        if (th_period_parse(text, field))
            return true;
        fprintf(stderr, "taskhub: --%s needs a time such as 10s, 250ms or 5m, not \"%s\"\n",
                d->name, text);
        return false;
    }
    return false;
}

static void set_defaults(struct cli_options *out)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < TH_COUNT(descriptions); i++)
        if (descriptions[i].type == CLI_COUNT || descriptions[i].type == CLI_PERIOD)
            *(int64_t *)(void *)((char *)out + descriptions[i].offset) = CLI_NOT_GIVEN;
}

/* The tables of getopt_long: long options and the string of letters. */
static void getopt_tables(const struct cli_command *command, struct option *table, char *letters)
{
    for (size_t i = 0; i < TH_COUNT(descriptions); i++) {
        const struct description *d = &descriptions[i];
        if (!lists(command->options, d->field))
            continue;
        *table++ = (struct option){d->name, d->argument ? required_argument : no_argument, NULL,
                                   FIRST_CODE + (int)i};
        if (d->letter) {
            *letters++ = (char)d->letter;
            if (d->argument)
                *letters++ = ':';
        }
    }
    *table++ = (struct option){"help", no_argument, NULL, HELP_CODE};
    *table = (struct option){NULL, 0, NULL, 0};
    *letters++ = 'h';
    *letters = 0;
}

static const struct description *find(const struct cli_command *command, int code)
{
    if (code >= FIRST_CODE)
        return &descriptions[code - FIRST_CODE];
    for (size_t i = 0; i < TH_COUNT(descriptions); i++)
        if (descriptions[i].letter == code && lists(command->options, descriptions[i].field))
            return &descriptions[i];
    return NULL;
}

static bool check_arguments(const struct cli_command *command, const struct cli_options *options)
{
    if (options->argument_count >= command->least &&
        (command->most < 0 || options->argument_count <= command->most))
        return true;
    if (options->argument_count < command->least)
        fprintf(stderr, "taskhub %s: needs %s\n", command->name, command->arguments);
    else
        fprintf(stderr, "taskhub %s: \"%s\" is one argument too many\n", command->name,
                options->arguments[command->most]);
    return false;
}

bool cli_parse(const struct cli_command *command, int argc, char **argv, struct cli_options *out,
               bool *help)
{
    struct option table[TH_COUNT(descriptions) + 2];
    char letters[TH_COUNT(descriptions) * 2 + 2];
    bool ok = true;
    int code;
    set_defaults(out);
    getopt_tables(command, table, letters);
    optind = 1;
    while (ok && (code = getopt_long(argc, argv, letters, table, NULL)) != -1) {
        if (code == 'h' || code == HELP_CODE) {
            *help = true;
            return true;
        }
        const struct description *d = code == '?' ? NULL : find(command, code);
        ok = d && set_value(d, optarg, out);
    }
    out->arguments = argv + optind;
    out->argument_count = argc - optind;
    ok = ok && check_arguments(command, out);
    if (!ok)
        fprintf(stderr, "Try: taskhub %s --help\n", command->name);
    return ok;
}

/* ---- help ------------------------------------------------------------------------------------ */

static void print_wrapped(FILE *out, const char *text, size_t indent, size_t width)
{
    size_t column = indent;
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, " ");
        if (column > indent && column + 1 + n > width) {
            fprintf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', out);
            column++;
        }
        fwrite(at, 1, n, out);
        column += n;
        at += n;
        at += strspn(at, " ");
    }
    fputc('\n', out);
}

static void print_option(FILE *out, const struct description *d)
{
    char names[64];
    char letter[8] = "    ";
    if (d->letter)
        snprintf(letter, sizeof letter, "-%c, ", d->letter);
    snprintf(names, sizeof names, "  %s--%s%s%s", letter, d->name, d->argument ? " " : "",
             d->argument ? d->argument : "");
    fprintf(out, "%-30s", names);
    print_wrapped(out, d->help, 30, 100);
}

void cli_command_help(const struct cli_command *command, FILE *out)
{
    fprintf(out, "taskhub %s%s%s: %s\n\n%s\n", command->name, *command->arguments ? " " : "",
            command->arguments, command->summary, command->text);
    fprintf(out, "\nOptions:\n");
    for (size_t i = 0; i < TH_COUNT(descriptions); i++)
        if (lists(command->options, descriptions[i].field))
            print_option(out, &descriptions[i]);
    fprintf(out, "  -h, --help%20sthis text\n", "");
    if (command->examples)
        fprintf(out, "\nExamples:\n%s", command->examples);
}

void cli_exits_help(FILE *out)
{
    fprintf(out, "Exit codes:\n");
#define X(name, number, text) fprintf(out, "  %d  %s\n", number, text);
    CLI_EXITS(X)
#undef X
}
