#include "base/arguments.h"
#include "base/memory.h"
#include "unit/base_test.h"

#define MAKE_ARGUMENTS(X)                                                \
    X(paint, TEXT, "paint", 'p', "COLOUR", "TEST_PAINT", 0, "which one") \
    X(quick, FLAG, "quick", 0, NULL, "TEST_QUICK", 0, "do not wait")     \
    X(doors, COUNT, "doors", 0, "N", "TEST_DOORS", 5, "how many")        \
    X(rest, PERIOD, "rest", 0, "TIME", NULL, 0,                          \
      "how long, with words that make "                                  \
      "this text longer than one line of the help can be")               \
    X(extras, LIST, "extra", 'x', "NAME", "TEST_EXTRAS", 0, "as often as needed")

struct made {
    MAKE_ARGUMENTS(TH_ARGUMENT_FIELD)
};

static const struct th_argument rows[] = {
#define X(...) TH_ARGUMENT_ROW(struct made, __VA_ARGS__)
    MAKE_ARGUMENTS(X)
#undef X
};

static struct made made;
static const struct th_argument_group group = {"Making", rows, TH_COUNT(rows), &made};
static const struct th_arguments arguments = {.program = "make-car",
                                              .summary = "makes one",
                                              .text = "Text.",
                                              .groups = &group,
                                              .group_count = 1};

/* Words separated by blanks. */
static bool parse(const char *line, bool *help, struct th_error *error)
{
    static char text[256];
    static char *words[20];
    int count = 0;
    snprintf(text, sizeof(text), "make-car %s", line);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
        words[count++] = word;
    }
    words[count] = NULL;
    *help = false;
    return th_arguments_parse(&arguments, count, words, help, error);
}

static void accept(const char *line)
{
    struct th_error error;
    bool help;
    if (!parse(line, &help, &error)) {
        fail_msg("\"%s\" was refused: %s", line, error.message);
    }
    assert_false(help);
}

static void refuse(const char *line, const char *why)
{
    struct th_error error = {.code = TH_OK};
    bool help;
    assert_false(parse(line, &help, &error));
    assert_int_equal(error.code, TH_INVALID);
    if (!strstr(error.message, why)) {
        fail_msg("\"%s\" does not say \"%s\"", error.message, why);
    }
    th_arguments_deinit(&arguments);
}

static void nothing_is_given(void **state)
{
    accept("");
    assert_null(made.paint);
    assert_false(made.quick);
    assert_int_equal(made.doors, TH_NOT_GIVEN);
    assert_int_equal(made.rest, TH_NOT_GIVEN);
    assert_int_equal(made.extras.count, 0);
}

static void the_line_is_read(void **state)
{
    accept("--paint red --quick --doors 3 --rest 250ms -x mirror --extra horn");
    assert_string_equal(made.paint, "red");
    assert_true(made.quick);
    assert_int_equal(made.doors, 3);
    assert_int_equal(made.rest, 250);
    assert_int_equal(made.extras.count, 2);
    assert_string_equal(made.extras.items[1], "horn");
    th_arguments_deinit(&arguments);
}

static void the_environment_is_read_and_the_line_wins(void **state)
{
    setenv("TEST_PAINT", "blue", 1);
    setenv("TEST_QUICK", "0", 1);
    setenv("TEST_DOORS", "2", 1);
    setenv("TEST_EXTRAS", "a=1,2;b=3;", 1);
    accept("--doors 4 -x c");
    assert_string_equal(made.paint, "blue");
    assert_false(made.quick);
    assert_int_equal(made.doors, 4);
    assert_int_equal(made.extras.count, 3);
    assert_string_equal(made.extras.items[0], "a=1,2");
    th_arguments_deinit(&arguments);
    setenv("TEST_DOORS", "many", 1);
    refuse("", "TEST_DOORS needs a whole number up to 5");
    unsetenv("TEST_DOORS");
    setenv("TEST_QUICK", "perhaps", 1);
    refuse("", "TEST_QUICK needs 1 or 0");
    unsetenv("TEST_QUICK");
    unsetenv("TEST_PAINT");
    unsetenv("TEST_EXTRAS");
}

static void what_is_wrong_is_named(void **state)
{
    refuse("--doors 6", "--doors needs a whole number up to 5, not \"6\"");
    refuse("--doors -1", "--doors needs");
    refuse("--rest soon", "--rest needs a time");
    refuse("--paint", "--paint needs a value");
    refuse("--wheels 4", "no option --wheels");
    refuse("red", "\"red\" is no option");
}

static void help_lists_all(void **state)
{
    struct th_error error;
    bool help;
    char text[4096] = "";
    assert_true(parse("--doors 2 --help", &help, &error));
    assert_true(help);
    FILE *out = fmemopen(text, sizeof(text), "w");
    th_arguments_help(&arguments, out);
    fclose(out);
    assert_non_null(strstr(text, "make-car: makes one"));
    assert_non_null(strstr(text, "  -p, --paint COLOUR          which one\n"));
    assert_non_null(strstr(text, "[$TEST_EXTRAS]"));
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1) {
        assert_true(strcspn(line, "\n") <= 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_given),
        cmocka_unit_test(the_line_is_read),
        cmocka_unit_test(the_environment_is_read_and_the_line_wins),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(help_lists_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
