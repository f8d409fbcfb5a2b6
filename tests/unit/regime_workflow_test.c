/*
 * The workflow of the regime-switching example, without a hub: the orchestrator with answers that a
 * test makes up, its activities one by one, and both together.
 */
#include "unit/regime_test.h"

#include <dirent.h>
#include <jansson.h>
#include <unistd.h>

#include "examples/regime-switching/plan.h"
#include "unit/sdk_driver.h"

void th_application_register(struct th_app *app);

/* ---- a folder and an application for each test ---- */

struct bench {
    struct sdk_driver driver;
    char folder[64];
    char outputs[80];
};

static int set_up(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);

    strcpy(bench->folder, "/tmp/taskhub-regime-XXXXXX");
    assert_non_null(mkdtemp(bench->folder));
    snprintf(bench->outputs, sizeof bench->outputs, "%s/outputs", bench->folder);
    setenv("TASKHUB_OUTPUTS", bench->outputs, 1);
    setenv("TASKHUB_DATA", source_path("examples/regime-switching/data"), 1);
    unsetenv("SMTP_URL");
    sdk_driver_init(&bench->driver, th_application_register, (struct th_executor_options){0});
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    DIR *folder = opendir(bench->outputs);

    for (struct dirent *entry; folder && (entry = readdir(folder));)
        unlinkat(dirfd(folder), entry->d_name, 0);
    if (folder)
        closedir(folder);
    rmdir(bench->outputs);
    assert_int_equal(rmdir(bench->folder), 0);
    sdk_driver_deinit(&bench->driver);
    free(bench);
    return 0;
}

static json_t *json_of(const char *text)
{
    json_error_t error;
    json_t *json = json_loads(text, JSON_DECODE_ANY, &error);

    if (!json)
        fail_msg("%s: %s", error.text, text);
    return json;
}

static json_t *file_of(const struct bench *bench, const char *name)
{
    char path[300];
    json_t *json;

    snprintf(path, sizeof path, "%s/%s", bench->outputs, name);
    json = json_load_file(path, 0, NULL);
    if (!json)
        fail_msg("%s is no JSON", path);
    return json;
}

static size_t file_count(const struct bench *bench)
{
    DIR *folder = opendir(bench->outputs);
    size_t count = 0;

    for (struct dirent *entry; folder && (entry = readdir(folder));)
        count += entry->d_name[0] != '.';
    if (folder)
        closedir(folder);
    return count;
}

/* ---- activities ---- */

static struct th_activity_result run_activity(struct bench *bench, const char *name,
                                              const char *input)
{
    struct th_activity_call call = {.instance_id = TH_STR("a/../b"),
                                    .execution_id = TH_STR("exec"),
                                    .name = th_str_of(name),
                                    .input = th_str_of(input),
                                    .task_id = 7};
    struct th_activity_result result;

    th_activity_run(bench->driver.app, &call, &result);
    return result;
}

/* The result, which must be no failure. */
static json_t *work(struct bench *bench, const char *name, json_t *input)
{
    char *text = json_dumps(input, JSON_ENCODE_ANY);
    struct th_activity_result result = run_activity(bench, name, text);
    json_t *output = NULL;

    if (result.failed)
        fail_msg("%s: %s: %s", name, result.failure_type, result.failure_message);
    if (result.data)
        output = json_loadb(result.data, result.len, JSON_DECODE_ANY, NULL);
    th_activity_result_deinit(&result);
    json_decref(input);
    free(text);
    return output;
}

static void refuses(struct bench *bench, const char *name, const char *input, const char *type,
                    const char *words)
{
    struct th_activity_result result = run_activity(bench, name, input);

    assert_true(result.failed);
    assert_string_equal(result.failure_type, type);
    if (!strstr(result.failure_message, words))
        fail_msg("%s: \"%s\" does not say \"%s\"", name, result.failure_message, words);
    assert_true(result.non_retriable);
    th_activity_result_deinit(&result);
}

static json_t *gdp(void)
{
    return json_of("{\"dataset\": \"us-gdp\", \"runs\": 3}");
}

static json_t *estimated(struct bench *bench, json_int_t run)
{
    return work(bench, "estimate", json_pack("{s:o, s:I}", "request", gdp(), "run", run));
}

static void estimate_gives_the_whole_fit_last(void **state)
{
    json_auto_t *first = estimated(*state, 1), *again = estimated(*state, 1);
    json_auto_t *other = estimated(*state, 2);
    json_t *fit = json_object_get(first, "fit");
    const char *key, *last = NULL;
    json_t *value;

    json_object_foreach(first, key, value)
        last = key;
    assert_string_equal(last, "fit");
    assert_int_equal(json_array_size(json_object_get(fit, "y")), 202);
    assert_true(json_equal(json_object_get(first, "llf"), json_object_get(fit, "llf")));
    assert_true(json_equal(json_object_get(first, "llf"), json_object_get(again, "llf")));
    assert_false(json_equal(json_object_get(first, "seed"), json_object_get(other, "seed")));
}

static void activities_refuse_what_makes_no_sense(void **state)
{
    static const char *const takers[] = {"estimate", "t_statistics", "chart", "save_outputs"};

    for (size_t i = 0; i < 4; i++) {
        refuses(*state, takers[i], "7", "BadRequest", "must be a JSON object");
        refuses(*state, takers[i], "{\"request\": {\"dataset\": \"us-gdp\", \"runs\": 0}}",
                "BadRequest", "field `runs`");
    }
    refuses(*state, "plan", "{\"dataset\": \"moon\"}", "BadRequest", "field `dataset`");
    refuses(*state, "notify", "{}", "BadInput", "address");
    refuses(*state, "chart", "{\"request\": {\"dataset\": \"us-gdp\"}, \"view\": \"side\"}",
            "BadView", "no such view");
    refuses(*state, "t_statistics", "{\"request\": {\"dataset\": \"us-gdp\"}, \"fit\": {}}",
            "BadFit", "nobs");
}

/* A fit of other data, or without what is needed: nothing is read beyond its end. */
static void fits_of_something_else_are_refused(void **state)
{
    json_auto_t *run = estimated(*state, 1);
    json_t *fit = json_object_get(run, "fit");
    json_auto_t *other =
        json_pack("{s:o, s:O, s:s}", "request", json_of("{\"dataset\": \"synthetic\", \"n\": 300}"),
                  "fit", fit, "view", "recent");
    json_auto_t *bare = json_pack("{s:o, s:{s:i, s:i, s:i}, s:s}", "request", gdp(), "fit", "nobs",
                                  202, "regimes", 2, "coefficients", 1, "view", "series");
    char *texts[] = {json_dumps(other, 0), json_dumps(bare, 0)};

    for (size_t i = 0; i < 2; i++) {
        refuses(*state, "chart", texts[i], "BadFit", "not one of this request");
        refuses(*state, "t_statistics", texts[i], "BadFit", "not one of this request");
        free(texts[i]);
    }
}

static void missing_data_is_named(void **state)
{
    setenv("TASKHUB_DATA", "/nowhere", 1);
    refuses(*state, "estimate", "{\"request\": {\"dataset\": \"us-gdp\"}, \"run\": 1}", "NoData",
            "/nowhere/us-real-gdp.csv");
}

static void only_output_names_are_written(void **state)
{
    refuses(*state, "save_outputs",
            "{\"request\": {\"dataset\": \"us-gdp\"}, \"charts\": [\"<svg/>\"], "
            "\"files\": {\"charts\": [\"../escaped.svg\"]}}",
            "BadOutput", "no name");
    assert_int_equal(file_count(*state), 0);
}

static void a_folder_that_cannot_be_is_final(void **state)
{
    setenv("TASKHUB_OUTPUTS", "/dev/null", 1);
    refuses(*state, "save_outputs",
            "{\"request\": {\"dataset\": \"us-gdp\"}, \"charts\": [\"<svg/>\"], \"files\": "
            "{\"charts\": [\"01234567-89ab-4def-8123-456789abcdef.svg\"]}}",
            "CannotSave", "/dev/null");
}

static void a_letter_without_smtp_is_a_file(void **state)
{
    struct bench *bench = *state;
    char path[200], text[2000];
    json_auto_t *done = work(bench, "notify",
                             json_of("{\"to\": \"anna@example.org\", \"subject\": \"Grüße\", "
                                     "\"failure\": \"line 1\\nline 2\"}"));

    assert_string_equal(json_string_value(done), "written to mail-a%2f%2e%2e%2fb.txt");
    snprintf(path, sizeof path, "%s/mail-a%%2f%%2e%%2e%%2fb.txt", bench->outputs);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    assert_non_null(strstr(text, "To: <anna@example.org>\r\n"));
    assert_non_null(strstr(text, "Subject: =?UTF-8?B?R3LDvMOfZQ==?=\r\n"));
    assert_non_null(strstr(text, "Message-ID: <exec-7@"));
    assert_non_null(strstr(text, "line 1\r\nline 2\r\n"));
}

static void mail_settings_that_make_no_sense_are_final(void **state)
{
    setenv("SMTP_URL", "gopher://127.0.0.1:1", 1);
    refuses(*state, "notify", "{\"to\": \"a@b\", \"failure\": \"x\"}", "CannotNotify", "gopher");
    setenv("SMTP_TLS", "perhaps", 1);
    refuses(*state, "notify", "{\"to\": \"a@b\", \"failure\": \"x\"}", "CannotNotify", "perhaps");
    unsetenv("SMTP_TLS");
    unsetenv("SMTP_URL");
}

/* ---- the orchestrator, with made-up answers ---- */

#define PLAN                                                                                   \
    "{\"request\":{\"dataset\":\"us-gdp\"},\"runs\":3,\"notify\":\"a@b\",\"base\":\"http:/\"," \
    "\"files\":{\"result\":\"r\",\"statistics\":\"s\",\"charts\":[\"c\"]}}"
#define RUN(llf) "{\"llf\":" #llf ",\"fit\":{\"llf\":" #llf ",\"y\":[1],\"beta\":[[2]]}}"
#define ESTIMATE(id, run) \
    "task " id " estimate {\"run\":" run ",\"request\":{\"dataset\":\"us-gdp\"}}"
#define DESCRIBED "\"request\":{\"dataset\":\"us-gdp\"},\"fit\":{\"llf\":-1,\"beta\":[[2]]}}"

static void begin(struct sdk_driver *d, const char *plan)
{
    sdk_start(d, "regime_switching", plan);
    sdk_run(d);
}

static const char *custom_status(struct sdk_driver *d)
{
    assert_true(d->last.has_custom_status);
    return th_arena_str(&d->arena, d->last.custom_status).data;
}

/* Three runs: the second is the best, and so is the third, which comes too late. */
static void estimate_all(struct sdk_driver *d)
{
    begin(d, PLAN);
    sdk_expect(d, ESTIMATE("0", "1") "; " ESTIMATE("1", "2") "; " ESTIMATE("2", "3"));
    assert_string_equal(custom_status(d), "\"estimating 1 of 3\"");
    sdk_done(d, 0, RUN(-5));
    sdk_run(d);
    sdk_expect(d, "");
    assert_string_equal(custom_status(d), "\"estimating 2 of 3\"");
    sdk_done(d, 1, RUN(-1));
    sdk_done(d, 2, "{\"llf\":-1,\"fit\":{\"llf\":-1,\"y\":[1],\"beta\":[[3]]}}");
    sdk_run(d);
    sdk_expect(d, "task 3 t_statistics {" DESCRIBED "; task 4 chart {\"view\":\"series\"," DESCRIBED
                  "; task 5 chart {\"view\":\"recent\"," DESCRIBED
                  "; task 6 chart {\"view\":\"residuals\"," DESCRIBED);
}

static void describe_all(struct sdk_driver *d)
{
    estimate_all(d);
    sdk_done(d, 3, "{\"regimes\":[]}");
    for (int id = 4; id < 7; id++)
        sdk_done(d, id, "\"<svg/>\"");
    sdk_forget(d);
    sdk_run(d);
    assert_int_equal(d->last.count, 1);
    assert_string_equal(th_arena_str(&d->arena, d->last.items[0].name).data, "save_outputs");
}

static json_t *output_of(struct sdk_driver *d)
{
    if (!d->ended || d->end.failure)
        fail_msg("not completed: %s", sdk_text(d));
    return json_of(th_arena_str(&d->arena, d->end.data).data);
}

static void the_best_of_all_runs_is_saved_and_told(void **state)
{
    struct sdk_driver *d = &((struct bench *)*state)->driver;

    describe_all(d);
    json_auto_t *input = json_of(th_arena_str(&d->arena, d->last.items[0].data).data);
    json_t *runs = json_object_get(json_object_get(input, "statistics"), "runs");
    assert_int_equal(json_array_size(runs), 3);
    assert_null(json_object_get(json_array_get(runs, 1), "fit"));
    assert_int_equal(json_array_size(json_object_get(json_object_get(input, "fit"), "y")), 1);
    assert_int_equal(json_array_size(json_object_get(input, "charts")), 3);

    sdk_done(d, 7, NULL);
    sdk_run(d);
    assert_string_equal(th_arena_str(&d->arena, d->last.items[0].name).data, "notify");
    sdk_done(d, 8, "\"mailed\"");
    sdk_run(d);
    json_auto_t *output = output_of(d);
    assert_near(json_number_value(json_object_get(output, "llf")), -1, 0);
    assert_string_equal(json_string_value(json_object_get(output, "notification")), "mailed");
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(output, "outputs"), "result")),
        "http:/r");
}

static void a_run_that_fails_is_left_out(void **state)
{
    struct sdk_driver *d = &((struct bench *)*state)->driver;

    begin(d, PLAN);
    sdk_failed(d, 0, "NoFit", "nowhere to climb");
    sdk_done(d, 1, "\"nonsense\"");
    sdk_done(d, 2, RUN(-1));
    sdk_run(d);
    assert_int_equal(d->last.count, 4);
    sdk_done(d, 3, "{\"regimes\":[]}");
    for (int id = 4; id < 7; id++)
        sdk_done(d, id, "\"<svg/>\"");
    sdk_run(d);
    json_auto_t *input = json_of(th_arena_str(&d->arena, d->last.items[0].data).data);
    json_t *runs = json_object_get(json_object_get(input, "statistics"), "runs");
    assert_string_equal(json_string_value(json_object_get(json_array_get(runs, 0), "failure")),
                        "nowhere to climb");
    assert_non_null(json_object_get(json_array_get(runs, 1), "failure"));
    sdk_done(d, 7, NULL);
    sdk_run(d);
    sdk_done(d, 8, "\"mailed\"");
    sdk_run(d);
    json_auto_t *output = output_of(d);
    assert_int_equal(json_integer_value(json_object_get(output, "failedRuns")), 2);
}

static void without_any_fit_it_fails_and_says_so(void **state)
{
    struct sdk_driver *d = &((struct bench *)*state)->driver;

    begin(d, PLAN);
    for (int id = 0; id < 3; id++)
        sdk_failed(d, id, "NoFit", "nowhere to climb");
    sdk_run(d);
    assert_non_null(strstr(sdk_text(d), "task 3 notify"));
    assert_non_null(strstr(sdk_text(d), "nowhere to climb"));
    sdk_done(d, 3, "\"mailed\"");
    sdk_run(d);
    assert_non_null(strstr(sdk_failure(d, "NoFit"), "none of 3 runs"));
}

static void saving_is_tried_again(void **state)
{
    struct sdk_driver *d = &((struct bench *)*state)->driver;
    int32_t task = 7;

    describe_all(d);
    for (int attempt = 1; attempt < 5; attempt++) {
        sdk_failed(d, task, "CannotSave", "the disk is full");
        sdk_run(d);
        assert_int_equal(d->last.count, 1);
        assert_int_equal(d->last.items[0].kind, TH_ACTION_CREATE_TIMER);
        sdk_fired(d, d->last.items[0].id);
        sdk_run(d);
        assert_string_equal(th_arena_str(&d->arena, d->last.items[0].name).data, "save_outputs");
        task = d->last.items[0].id;
    }
    sdk_failed(d, task, "CannotSave", "the disk is full");
    sdk_run(d);
    assert_non_null(strstr(sdk_text(d), "notify"));
    sdk_done(d, d->last.items[0].id, "\"mailed\"");
    sdk_run(d);
    assert_string_equal(sdk_failure(d, "CannotSave"), "the disk is full");
}

static void a_mail_that_cannot_be_sent_spoils_nothing(void **state)
{
    struct sdk_driver *d = &((struct bench *)*state)->driver;

    describe_all(d);
    sdk_done(d, 7, NULL);
    sdk_run(d);
    struct th_failure failure = {
        .type = TH_STR("CannotNotify"), .message = TH_STR("nobody there"), .non_retriable = true};
    struct th_event event = th_event_of(TH_EVENT_TASK_FAILED, d->now);
    event.related_id = 8;
    event.failure = &failure;
    sdk_event(d, event);
    sdk_run(d);
    json_auto_t *output = output_of(d);
    assert_string_equal(json_string_value(json_object_get(output, "notification")),
                        "nobody was told: nobody there");
}

static void a_bare_request_is_planned_first(void **state)
{
    struct sdk_driver *d = &((struct bench *)*state)->driver;

    begin(d, "{\"dataset\":\"moon\"}");
    sdk_expect(d, "task 0 plan {\"dataset\":\"moon\"}");
    sdk_failed(d, 0, "BadRequest", "field `dataset`: no");
    sdk_run(d);
    assert_string_equal(sdk_failure(d, "BadRequest"), "field `dataset`: no");
}

static void no_input_is_no_crash(void **state)
{
    struct sdk_driver *d = &((struct bench *)*state)->driver;

    begin(d, NULL);
    sdk_expect(d, "task 0 plan");
    sdk_done(d, 0, "{\"files\": {}}");
    sdk_run(d);
    sdk_failure(d, "NoFit");
}

/* ---- both together ---- */

/* Carries out what was asked for. */
static void answer(struct bench *bench, const struct th_action *action)
{
    struct sdk_driver *d = &bench->driver;
    struct th_activity_call call = {.instance_id = TH_STR("instance-1"),
                                    .execution_id = TH_STR("exec-0"),
                                    .name = action->name,
                                    .input = action->data,
                                    .task_id = action->id,
                                    .tags = action->tags};
    struct th_activity_result result;

    th_activity_run(d->app, &call, &result);
    if (result.failed)
        fail_msg("%s", result.failure_message);
    sdk_done(d, action->id, result.data);
    th_activity_result_deinit(&result);
}

/* Until it ends; each episode starts from the history. */
static void carry_out(struct bench *bench, const char *input)
{
    struct sdk_driver *d = &bench->driver;

    begin(d, input);
    while (!d->ended) {
        for (size_t i = 0; i < d->last.count; i++)
            answer(bench, &d->last.items[i]);
        sdk_forget(d);
        sdk_run(d);
    }
}

static void us_gdp_from_request_to_files(void **state)
{
    struct bench *bench = *state;
    json_auto_t *errors = json_array(), *request = json_of("{\"dataset\": \"us-gdp\", \"runs\": 3, "
                                                           "\"notify\": \"a@b.c\", "
                                                           "\"outputs\": [\"llf\", \"sigma\"]}");
    json_auto_t *plan = plan_new(request, "http://h/", errors);
    json_t *files = json_object_get(plan, "files");
    char *text = json_dumps(plan, 0);

    carry_out(bench, text);
    free(text);
    json_auto_t *output = output_of(&bench->driver);
    assert_near(json_number_value(json_object_get(output, "llf")), -237.823, 1e-3);
    assert_int_equal(file_count(bench), 2 + CHART_VIEWS + 1);

    json_auto_t *result = file_of(bench, json_string_value(json_object_get(files, "result")));
    assert_int_equal(json_array_size(json_object_get(result, "sigma")), 2);
    assert_int_equal(json_array_size(json_object_get(result, "dates")), 202);
    assert_null(json_object_get(result, "beta"));
    assert_int_equal(json_integer_value(json_object_get(result, "nobs")), 202);

    json_auto_t *statistics =
        file_of(bench, json_string_value(json_object_get(files, "statistics")));
    json_t *period = json_array_get(json_object_get(statistics, "periods"), 0);
    assert_string_equal(json_string_value(json_object_get(period, "from")), "1959-04-01");
    assert_string_equal(json_string_value(json_object_get(period, "to")), "1984-04-01");
    assert_near(json_number_value(json_object_get(statistics, "aic")), 2 * 6 + 2 * 237.823, 1e-2);
    assert_int_equal(json_array_size(json_object_get(statistics, "runs")), 3);
}

#define test(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(estimate_gives_the_whole_fit_last),
        test(activities_refuse_what_makes_no_sense),
        test(fits_of_something_else_are_refused),
        test(missing_data_is_named),
        test(only_output_names_are_written),
        test(a_folder_that_cannot_be_is_final),
        test(a_letter_without_smtp_is_a_file),
        test(mail_settings_that_make_no_sense_are_final),
        test(the_best_of_all_runs_is_saved_and_told),
        test(a_run_that_fails_is_left_out),
        test(without_any_fit_it_fails_and_says_so),
        test(saving_is_tried_again),
        test(a_mail_that_cannot_be_sent_spoils_nothing),
        test(a_bare_request_is_planned_first),
        test(no_input_is_no_crash),
        test(us_gdp_from_request_to_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
