#include "base/arguments.h"

#include <getopt.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"

#define FIRST_CODE 1000 /* above every letter */
#define HELP_CODE  999
#define MOST_ROWS  128

struct row {
    const struct th_argument *argument;
    void *field;
};

struct rows {
    struct row items[MOST_ROWS];
    size_t count;
};

static void collect(const struct th_arguments *arguments, struct rows *out)
{
    out->count = 0;
    for (size_t g = 0; g < arguments->group_count; g++) {
        const struct th_argument_group *group = &arguments->groups[g];
        for (size_t i = 0; i < group->count && out->count < MOST_ROWS; i++) {
            out->items[out->count++] =
                (struct row){&group->rows[i], (char *)group->fields + group->rows[i].offset};
        }
    }
}

/* ---- values ---- */

static void set_not_given(const struct row *row)
{
    switch (row->argument->type) {
    case TH_ARGUMENT_FLAG:
        *(bool *)row->field = false;
        break;
    case TH_ARGUMENT_TEXT:
        *(const char **)row->field = NULL;
        break;
    case TH_ARGUMENT_COUNT:
    case TH_ARGUMENT_PERIOD:
        *(int64_t *)row->field = TH_NOT_GIVEN;
        break;
    case TH_ARGUMENT_LIST:
        *(struct th_argument_list *)row->field = (struct th_argument_list){0};
        break;
    }
}

static void add_item(struct th_argument_list *list, struct th_str item)
{
    list->items = th_grow(list->items, &list->capacity, list->count + 1, sizeof(char *));
    list->items[list->count++] = th_str_dup(item);
}

static bool set_count(const struct row *row, const char *text)
{
    long long number;
    if (!th_str_to_i64(th_str_of(text), &number) || number < 0 ||
        (row->argument->most > 0 && number > row->argument->most)) {
        return false;
    }
    *(int64_t *)row->field = number;
    return true;
}

static bool set_flag(const struct row *row, const char *text)
{
    bool on = !text || strcmp(text, "1") == 0 || strcmp(text, "true") == 0;
    *(bool *)row->field = on;
    return on || strcmp(text, "0") == 0 || strcmp(text, "false") == 0 || *text == '\0';
}

static bool set_value(const struct row *row, const char *text)
{
    switch (row->argument->type) {
    case TH_ARGUMENT_FLAG:
        return set_flag(row, text);
    case TH_ARGUMENT_TEXT:
        *(const char **)row->field = text;
        return true;
    case TH_ARGUMENT_COUNT:
        return set_count(row, text);
    case TH_ARGUMENT_PERIOD:
        return th_period_parse(text, row->field);
    case TH_ARGUMENT_LIST:
        add_item(row->field, th_str_of(text));
        return true;
    }
    return false;
}

/* "needs a whole number up to 1024, not "many"" */
static bool refuse(const struct row *row, const char *source, const char *text,
                   struct th_error *error)
{
    const char *rule = row->argument->type == TH_ARGUMENT_PERIOD ? "a time such as 10s or 250ms"
                       : row->argument->type == TH_ARGUMENT_FLAG ? "1 or 0"
                                                                 : "a whole number";
    char most[40] = "";
    if (row->argument->type == TH_ARGUMENT_COUNT && row->argument->most > 0) {
        snprintf(most, sizeof(most), " up to %lld", (long long)row->argument->most);
    }
    return th_fail(error, TH_INVALID, "%s needs %s%s, not \"%.80s\"", source, rule, most, text);
}

/* ---- the environment ---- */

static void split(const char *text, struct th_argument_list *out)
{
    while (*text) {
        size_t len = strcspn(text, ";");
        if (len > 0) {
            add_item(out, th_str_n(text, len));
        }
        text += len;
        text += *text == ';';
    }
}

static bool read_environment(const struct rows *rows, struct th_error *error)
{
    for (size_t i = 0; i < rows->count; i++) {
        const struct row *row = &rows->items[i];
        const char *variable = row->argument->variable;
        const char *text = variable ? getenv(variable) : NULL;
        if (!text || !*text) {
            continue;
        }
        if (row->argument->type == TH_ARGUMENT_LIST) {
            split(text, row->field);
        } else if (!set_value(row, text)) {
            return refuse(row, variable, text, error);
        }
    }
    return true;
}

/* ---- the command line ---- */

static void tables_for_getopt(const struct rows *rows, struct option *table, char *letters)
{
    *letters++ = ':'; /* a missing value is told from an unknown option */
    for (size_t i = 0; i < rows->count; i++) {
        const struct th_argument *a = rows->items[i].argument;
        *table++ = (struct option){a->name, a->value ? required_argument : no_argument, NULL,
                                   FIRST_CODE + (int)i};
        if (a->letter) {
            *letters++ = (char)a->letter;
            if (a->value) {
                *letters++ = ':';
            }
        }
    }
    *table++ = (struct option){"help", no_argument, NULL, HELP_CODE};
    *table = (struct option){NULL, 0, NULL, 0};
    *letters++ = 'h';
    *letters = '\0';
}

static const struct row *row_of(const struct rows *rows, int code)
{
    if (code >= FIRST_CODE) {
        return &rows->items[code - FIRST_CODE];
    }
    for (size_t i = 0; i < rows->count; i++) {
        if (rows->items[i].argument->letter == code) {
            return &rows->items[i];
        }
    }
    return NULL;
}

static bool take_option(const struct rows *rows, int code, char **argv, struct th_error *error)
{
    char name[80];
    const struct row *row = row_of(rows, code);
    if (code == ':') {
        return th_fail(error, TH_INVALID, "%s needs a value", argv[optind - 1]);
    }
    if (!row) {
        return th_fail(error, TH_INVALID, "there is no option %.80s", argv[optind - 1]);
    }
    snprintf(name, sizeof(name), "--%s", row->argument->name);
    return set_value(row, optarg) || refuse(row, name, optarg, error);
}

static bool read_line(const struct rows *rows, int argc, char **argv, bool *help,
                      struct th_error *error)
{
    struct option table[MOST_ROWS + 2];
    char letters[MOST_ROWS * 2 + 4];
    int code;
    tables_for_getopt(rows, table, letters);
    opterr = 0;
    optind = 1;
    while ((code = getopt_long(argc, argv, letters, table, NULL)) != -1) {
        if (code == 'h' || code == HELP_CODE) {
            *help = true;
            return true;
        }
        if (!take_option(rows, code, argv, error)) {
            return false;
        }
    }
    return optind == argc || th_fail(error, TH_INVALID, "\"%.80s\" is no option", argv[optind]);
}

bool th_arguments_parse(const struct th_arguments *arguments, int argc, char **argv, bool *help,
                        struct th_error *error)
{
    struct rows rows;
    collect(arguments, &rows);
    for (size_t i = 0; i < rows.count; i++) {
        set_not_given(&rows.items[i]);
    }
    return read_environment(&rows, error) && read_line(&rows, argc, argv, help, error);
}

void th_arguments_deinit(const struct th_arguments *arguments)
{
    struct rows rows;
    collect(arguments, &rows);
    for (size_t i = 0; i < rows.count; i++) {
        if (rows.items[i].argument->type == TH_ARGUMENT_LIST) {
            struct th_argument_list *list = rows.items[i].field;
            for (size_t n = 0; n < list->count; n++) {
                free(list->items[n]);
            }
            free(list->items);
            *list = (struct th_argument_list){0};
        }
    }
}

/* ---- help ---- */

#define HELP_INDENT 30
#define HELP_WIDTH  100

static size_t print_word(FILE *out, const char *word, size_t len, size_t column)
{
    if (column > HELP_INDENT && column + 1 + len > HELP_WIDTH) {
        fprintf(out, "\n%*s", HELP_INDENT, "");
        column = HELP_INDENT;
    } else if (column > HELP_INDENT) {
        fputc(' ', out);
        column++;
    }
    fwrite(word, 1, len, out);
    return column + len;
}

static void print_wrapped(FILE *out, const char *text, size_t column)
{
    while (*text) {
        size_t len = strcspn(text, " ");
        column = print_word(out, text, len, column);
        text += len;
        text += strspn(text, " ");
    }
}

static void print_argument(FILE *out, const struct th_argument *a)
{
    char names[80];
    char letter[8] = "    ";
    if (a->letter) {
        snprintf(letter, sizeof(letter), "-%c, ", a->letter);
    }
    snprintf(names, sizeof(names), "  %s--%s%s%s", letter, a->name, a->value ? " " : "",
             a->value ? a->value : "");
    fprintf(out, "%-30s", names);
    if (strlen(names) >= HELP_INDENT) {
        fprintf(out, "\n%*s", HELP_INDENT, "");
    }
    print_wrapped(out, a->help, HELP_INDENT);
    if (a->variable) {
        fprintf(out, "\n%*s[$%s]", HELP_INDENT, "", a->variable);
    }
    fputc('\n', out);
}

void th_arguments_help(const struct th_arguments *arguments, FILE *out)
{
    fprintf(out, "%s: %s\n\n%s\n", arguments->program, arguments->summary, arguments->text);
    for (size_t g = 0; g < arguments->group_count; g++) {
        const struct th_argument_group *group = &arguments->groups[g];
        fprintf(out, "\n%s:\n", group->title);
        for (size_t i = 0; i < group->count; i++) {
            print_argument(out, &group->rows[i]);
        }
    }
    fprintf(out, "  -h, --help                  this text\n");
    if (arguments->examples) {
        fprintf(out, "\nExamples:\n%s", arguments->examples);
    }
}
