/*
 * The client functions of the regime-switching example on a request that is made up here, and what
 * they rest on: plans and the names of outputs.
 */
#include "unit/regime_test.h"

#include <jansson.h>
#include <taskhub.h>
#include <time.h>

#include "examples/regime-switching/http.h"
#include "examples/regime-switching/notify.h"
#include "examples/regime-switching/outputs.h"
#include "examples/regime-switching/plan.h"

/* ---- a request, and what the function did with it ---- */

struct th_request {
    const char *path, *file;
    json_t *body;
    int client_status; /* the client fails with this, unless 0 */
    size_t starts, purges;
    th_time purged_to;
    json_t *input; /* of what was started */
    int status;
    json_t *json;
    char text[1000];
};

json_t *th_request_json(struct th_request *request)
{
    return request->body;
}

const char *th_request_path(struct th_request *request)
{
    return request->path;
}

const char *th_request_param(struct th_request *request, const char *name)
{
    assert_string_equal(name, "file");
    return request->file;
}

const char *th_request_origin(struct th_request *request)
{
    return "http://host:1";
}

struct th_client *th_request_client(struct th_request *request)
{
    return (struct th_client *)request;
}

int th_respond_json(struct th_request *request, int status, json_t *body)
{
    json_decref(request->json);
    request->status = status;
    request->json = body;
    return 0;
}

int th_respond_text(struct th_request *request, int status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(request->text, sizeof request->text, format, args);
    va_end(args);
    request->status = status;
    return 0;
}

int th_respond_file(struct th_request *request, const char *path)
{
    snprintf(request->text, sizeof request->text, "%s", path);
    request->status = 200;
    return 0;
}

json_t *th_request_check_status(struct th_request *request, const char *instance_id)
{
    (void)request;
    return json_pack("{s:s, s:s}", "id", instance_id, "terminatePostUri", "from the host");
}

int th_respond_check_status(struct th_request *request, const char *instance_id)
{
    assert_string_equal(instance_id, "i-1");
    return 0;
}

int th_respond_error(struct th_request *request, const struct th_client_error *error)
{
    return th_respond_text(request, error->status, "%s", error->message);
}

static bool client_answers(struct th_request *request, struct th_client_error *error)
{
    *error = (struct th_client_error){request->client_status, "no hub"};
    return request->client_status == 0;
}

bool th_client_start(struct th_client *client, const char *orchestrator, json_t *input,
                     const struct th_start *options, char id[static TH_ID_MAX],
                     struct th_client_error *error)
{
    struct th_request *request = (struct th_request *)client;

    assert_string_equal(orchestrator, "regime_switching");
    request->starts++;
    json_decref(request->input);
    request->input = input;
    strcpy(id, "i-1");
    return client_answers(request, error);
}

bool th_client_purge_by(struct th_client *client, th_time from, th_time to, const char *statuses,
                        size_t *purged, struct th_client_error *error)
{
    struct th_request *request = (struct th_request *)client;

    assert_int_equal(from, 0);
    assert_null(statuses);
    request->purges++;
    request->purged_to = to;
    *purged = 5;
    return client_answers(request, error);
}

static struct th_request ask(const char *body, int client_status)
{
    struct th_request request = {.path = "/api/regime-switching",
                                 .body = json_loads(body, JSON_DECODE_ANY, NULL),
                                 .client_status = client_status};

    http_ask_for_fit(&request);
    return request;
}

static void forget(struct th_request *request)
{
    json_decref(request->body);
    json_decref(request->input);
    json_decref(request->json);
}

static const char *field(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* ---- asking ---- */

static void a_good_request_starts_what_it_says(void **state)
{
    struct th_request request = ask("{\"dataset\": \"us-gdp\", \"notify\": \"a@b.c\"}", 0);
    json_t *outputs = json_object_get(request.json, "outputs");
    json_t *files = json_object_get(request.input, "files");

    assert_int_equal(request.status, 202);
    assert_int_equal(request.starts, 1);
    assert_int_equal(request.purges, 0);
    assert_string_equal(field(request.json, "id"), "i-1");
    assert_string_equal(field(request.json, "terminatePostUri"), "from the host");
    assert_int_equal(strncmp(field(outputs, "result"), "http://host:1/api/outputs/", 26), 0);
    assert_string_equal(field(outputs, "result") + 26, field(files, "result"));
    assert_true(outputs_is_name(field(files, "statistics")));
    assert_int_equal(json_array_size(json_object_get(outputs, "charts")), CHART_VIEWS);
    assert_int_equal(json_integer_value(json_object_get(request.input, "runs")), 20);
    assert_string_equal(field(request.input, "notify"), "a@b.c");
    forget(&request);
}

static void each_bad_field_has_its_line(void **state)
{
    struct th_request request = ask("{\"dataset\": \"us-gdp\", \"runs\": 0, \"seed\": -1}", 0);

    assert_int_equal(request.status, 400);
    assert_int_equal(request.starts, 0);
    assert_string_equal(request.text,
                        "field `runs`: must be an integer from 1 to 1000, got 0\n"
                        "field `seed`: must be an integer from 0 to 9007199254740991, got -1\n");
    forget(&request);
    request = ask("{", 0);
    assert_int_equal(request.status, 400);
    assert_string_equal(request.text, "the request must be a JSON object\n");
    forget(&request);
}

static void results_that_could_not_travel_are_refused(void **state)
{
    static const struct {
        const char *body, *begins; /* NULL: accepted */
    } cases[] = {
        {"{\"dataset\": \"synthetic\", \"n\": 40000, \"runs\": 10}", NULL},
        {"{\"dataset\": \"synthetic\", \"n\": 1000000}", "field `n`: the results of so many obs"},
        {"{\"dataset\": \"synthetic\", \"n\": 40000, \"runs\": 100}", "field `runs`: the results"},
        {"{\"dataset\": \"us-gdp\", \"runs\": 1000}", NULL},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct th_request request = ask(cases[i].body, 0);
        assert_int_equal(request.status, cases[i].begins ? 400 : 202);
        if (cases[i].begins)
            assert_memory_equal(request.text, cases[i].begins, strlen(cases[i].begins));
        forget(&request);
    }
}

static void a_hub_that_is_away_is_told(void **state)
{
    struct th_request request = ask("{\"dataset\": \"us-gdp\"}", 503);

    assert_int_equal(request.status, 503);
    assert_string_equal(request.text, "no hub");
    forget(&request);
    request = ask("{\"dataset\": \"us-gdp\", \"purgeOlderThanDays\": 3}", 503);
    assert_int_equal(request.status, 503);
    assert_int_equal(request.starts, 0);
    forget(&request);
}

/* A bound in the distant past is a bound: 0 would purge everything. */
static void purging_has_a_bound(void **state)
{
    const th_time now = (th_time)time(NULL) * 1000000, day = INT64_C(86400000000);
    struct th_request request = ask("{\"dataset\": \"us-gdp\", \"purgeOlderThanDays\": 2}", 0);

    assert_int_equal(request.purges, 1);
    assert_int_equal(json_integer_value(json_object_get(request.json, "purged")), 5);
    assert_near((double)(request.purged_to - now + 2 * day), 0, 60e6);
    forget(&request);
    request = ask("{\"dataset\": \"us-gdp\", \"purgeOlderThanDays\": 36500}", 0);
    assert_int_equal(request.purges, 1);
    assert_true(request.purged_to > 0 && request.purged_to < now - 20000 * day);
    forget(&request);
}

/* ---- outputs ---- */

static void only_outputs_are_given(void **state)
{
    static const char *const bad[] = {"",
                                      "..",
                                      "../hub.db",
                                      "mail-1.txt",
                                      "01234567-89ab-4def-8123-456789abcdef",
                                      "01234567-89ab-4def-8123-456789abcdef.txt",
                                      "01234567-89ab-4def-8123-456789abcdef.json.",
                                      "01234567-89ab-4def-8123-456789abcde/.json",
                                      "01234567-89AB-4DEF-8123-456789ABCDEF.json",
                                      "0123456789abcdef0123456789abcdef0123.json"};
    struct th_request request = {.file = "01234567-89ab-4def-8123-456789abcdef.svg"};

    setenv("TASKHUB_OUTPUTS", "/some/where", 1);
    http_give_output(&request);
    assert_int_equal(request.status, 200);
    assert_string_equal(request.text, "/some/where/01234567-89ab-4def-8123-456789abcdef.svg");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        request.file = bad[i];
        http_give_output(&request);
        assert_int_equal(request.status, 404);
    }
}

static void names_are_new_each_time(void **state)
{
    char one[OUTPUT_NAME_SIZE], other[OUTPUT_NAME_SIZE];

    assert_true(outputs_new_name(".json", one) && outputs_new_name(".json", other));
    assert_true(outputs_is_name(one));
    assert_string_not_equal(one, other);
    assert_true(outputs_new_name(".svg", one) && outputs_is_name(one));
    assert_int_equal(one[14], '4');
}

static void saving_replaces_whole_files(void **state)
{
    char folder[] = "/tmp/taskhub-regime-XXXXXX", nested[64], err[300], *path;
    const char *name = "01234567-89ab-4def-8123-456789abcdef.json";

    assert_non_null(mkdtemp(folder));
    snprintf(nested, sizeof nested, "%s/outputs", folder);
    setenv("TASKHUB_OUTPUTS", nested, 1);
    assert_int_equal(outputs_save(name, "[1, 2, 3]", 9, err, sizeof err), 0);
    assert_int_equal(outputs_save(name, "[4]", 3, err, sizeof err), 0);
    path = outputs_path(name);
    json_auto_t *read = json_load_file(path, 0, NULL);
    assert_int_equal(json_array_size(read), 1);
    assert_int_equal(remove(path), 0);
    assert_int_equal(remove(nested), 0); /* no draft is left over */
    assert_int_equal(remove(folder), 0);
    free(path);
    assert_true(outputs_save(name, "", 0, err, sizeof err) < 0);
    assert_non_null(strstr(err, nested));
}

static void files_of_mails_stay_in_their_folder(void **state)
{
    char name[NOTIFY_FILE_SIZE], longest[400];

    notify_file("abc-1_2", name);
    assert_string_equal(name, "mail-abc-1_2.txt");
    notify_file("../x y", name);
    assert_string_equal(name, "mail-%2e%2e%2fx%20y.txt");
    memset(longest, '/', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    notify_file(longest, name);
    assert_true(strlen(name) < NOTIFY_FILE_SIZE && !strchr(name, '/'));
    assert_string_equal(name + strlen(name) - 4, ".txt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_request_starts_what_it_says),
        cmocka_unit_test(each_bad_field_has_its_line),
        cmocka_unit_test(results_that_could_not_travel_are_refused),
        cmocka_unit_test(a_hub_that_is_away_is_told),
        cmocka_unit_test(purging_has_a_bound),
        cmocka_unit_test(only_outputs_are_given),
        cmocka_unit_test(names_are_new_each_time),
        cmocka_unit_test(saving_replaces_whole_files),
        cmocka_unit_test(files_of_mails_stay_in_their_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
