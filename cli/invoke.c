/*
 * `taskhub invoke`: an activity is called directly; everything else gets a hub of its own in a
 * directory that is removed afterwards. The result goes to standard output, all else to standard
 * error.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/memory.h"
#include "cli/print.h"
#include "cli/remote.h"
#include "cli/run.h"
#include "worker/hub.h"

#define DEFAULT_TIMEOUT_MS 60000

/* ---- measuring ------------------------------------------------------------------------------- */

struct measure {
    th_time began;
};

/* VmHWM restarts from what is resident now. */
static struct measure begin_measure(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (write(fd, "5", 1) != 1)
            fprintf(stderr, "peak memory includes the program's start\n");
        close(fd);
    }
    return (struct measure){.began = th_monotonic()};
}

static long status_kb(const char *key)
{
    long kb = 0;
    char line[256];
    size_t len = strlen(key);
    FILE *in = fopen("/proc/self/status", "re");
    while (in && fgets(line, sizeof line, in))
        if (strncmp(line, key, len) == 0)
            kb = strtol(line + len, NULL, 10);
    if (in)
        fclose(in);
    return kb;
}

static void end_measure(const struct measure *m)
{
    fprintf(stderr, "took %.3f ms, peak memory %.1f MB\n",
            (double)(th_monotonic() - m->began) / 1000, (double)status_kb("VmHWM:") / 1024);
}

/* ---- an activity ----------------------------------------------------------------------------- */

static int show_failure(const char *what, const char *type, const char *message)
{
    fprintf(stderr, "taskhub: %s failed: %s: %s\n", what, type ? type : "Error",
            message ? message : "");
    return CLI_FAILED;
}

static int show_result(const struct th_activity_result *result, const char *name)
{
    if (result->failed)
        return show_failure(name, result->failure_type, result->failure_message);
    if (result->data)
        fwrite(result->data, 1, result->len, stdout);
    else
        fputs("null", stdout);
    putchar('\n');
    return CLI_OK;
}

static int invoke_activity(const struct th_app *app, const struct th_log *log, const char *name,
                           const char *input)
{
    struct th_activity_call call = {
        .instance_id = TH_STR("invoke"),
        .execution_id = TH_STR("00000000000000000000000000000000"),
        .name = th_str_of(name),
        .input = th_str_of(input),
        .log = log,
    };
    struct th_activity_result result = {.failed = false};
    struct measure measure = begin_measure();
    th_activity_run(app, &call, &result);
    end_measure(&measure);
    int code = show_result(&result, name);
    th_activity_result_deinit(&result);
    return code;
}

/* ---- a throw-away hub ------------------------------------------------------------------------ */

struct temporary {
    char directory[64];
    char database[96];
    struct th_embedded *hub;
};

static bool open_temporary(struct temporary *t, const struct cli_options *options,
                           const struct th_app *app, const struct th_log *log)
{
    struct th_error error = {.code = TH_OK};
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(t->directory, sizeof t->directory, "%s/taskhub-invoke-XXXXXX", base);
    if (!mkdtemp(t->directory)) {
        fprintf(stderr, "taskhub invoke: cannot make a directory in %s\n", base);
        return false;
    }
    snprintf(t->database, sizeof t->database, "%s/hub.db", t->directory);
    struct th_embedded_options embedded = {
        .database = t->database,
        .hub = "Invoke",
        .host = {.app = app,
                 .log = log,
                 .activity_threads =
                     options->activities == CLI_NOT_GIVEN ? 0 : (unsigned)options->activities},
        .serve = options->route != NULL,
        .http = {.port = 0, .no_cron = true},
    };
    t->hub = th_embedded_start(&embedded, &error);
    if (!t->hub) {
        fprintf(stderr, "taskhub invoke: %s\n", error.message);
        cli_remove_directory(t->directory);
    }
    return t->hub != NULL;
}

/* False: an activity still runs; the process has to be left with _exit. */
static bool close_temporary(struct temporary *t)
{
    bool ended = th_embedded_stop(t->hub, 1000);
    cli_remove_directory(t->directory);
    return ended;
}

static int64_t timeout_of(const struct cli_options *options)
{
    return options->timeout == CLI_NOT_GIVEN ? DEFAULT_TIMEOUT_MS : options->timeout;
}

static int refused(const struct th_client_error *error)
{
    fprintf(stderr, "taskhub invoke: %s\n", error->message);
    return error->status == 504 ? CLI_TIMEOUT : error->status == 404 ? CLI_NOT_FOUND : CLI_ERROR;
}

static int show_instance(const struct cli_options *options, const json_t *status)
{
    const json_t *output = json_object_get(status, "output");
    const char *text = json_string_value(json_object_get(status, "runtimeStatus"));
    if (options->json)
        cli_print_json(status);
    else
        cli_print_json(output ? output : json_null());
    if (text && strcmp(text, "Completed") == 0)
        return CLI_OK;
    fprintf(stderr, "taskhub invoke: it ended as %s\n", text ? text : "?");
    return CLI_FAILED;
}

static int run_orchestrator(const struct cli_options *options, struct temporary *t,
                            const char *input)
{
    struct th_client_error error = {.status = 0};
    char id[TH_ID_MAX];
    struct th_client *client = th_embedded_client(t->hub);
    json_t *value = input ? json_loads(input, JSON_DECODE_ANY, NULL) : NULL;
    struct measure measure = begin_measure();
    if (!th_client_start(client, options->arguments[1], value, NULL, id, &error))
        return refused(&error);
    json_t *status = th_client_wait(client, id, timeout_of(options), &error);
    end_measure(&measure);
    if (!status)
        return refused(&error);
    int code = show_instance(options, status);
    json_decref(status);
    return code;
}

/* ---- an HTTP function ------------------------------------------------------------------------ */

static void prepare(CURL *curl, const struct cli_options *options, const char *url,
                    const char *input, struct curl_slist *headers)
{
    const char *method = options->method ? options->method : input ? "POST" : "GET";
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_of(options));
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, stderr); /* what the function set */
    if (input || strcmp(method, "POST") == 0)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, input ? input : "");
}

static int call_route(const struct cli_options *options, struct temporary *t, const char *input)
{
    TH_AUTOFREE char *url = NULL;
    const char *route = options->route;
    while (*route == '/')
        route++;
    if (strncmp(route, "api/", 4) == 0)
        route += 4;
    if (asprintf(&url, "%s/api/%s", th_http_url(th_embedded_http(t->hub)), route) < 0)
        return CLI_ERROR;
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    long status = 0;
    prepare(curl, options, url, input, headers);
    struct measure measure = begin_measure();
    CURLcode result = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    fflush(stdout);
    if (isatty(STDOUT_FILENO))
        putchar('\n');
    end_measure(&measure);
    if (result != CURLE_OK)
        fprintf(stderr, "taskhub invoke: %s\n", curl_easy_strerror(result));
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    if (result == CURLE_OPERATION_TIMEDOUT)
        return CLI_TIMEOUT;
    return result != CURLE_OK ? CLI_ERROR
           : status == 404    ? CLI_NOT_FOUND
           : status >= 400    ? CLI_FAILED
                              : CLI_OK;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int on_hub(const struct cli_options *options, const struct th_app *app,
                  const struct th_log *log, const char *input)
{
    struct temporary t = {.hub = NULL};
    if (!open_temporary(&t, options, app, log))
        return CLI_ERROR;
    int code =
        options->route ? call_route(options, &t, input) : run_orchestrator(options, &t, input);
    if (!close_temporary(&t)) {
        fflush(NULL);
        _exit(code);
    }
    return code;
}

static int not_found(const struct th_app *app, const char *name)
{
    TH_AUTOFREE char *activities = th_app_activity_names(app);
    TH_AUTOFREE char *orchestrators = th_app_orchestrator_names(app);
    TH_AUTOFREE char *entities = th_app_entity_names(app);
    fprintf(stderr,
            "taskhub invoke: the application has no function \"%s\"; activities: %s; "
            "orchestrators: %s; entities, as @NAME@KEY: %s; HTTP functions are called with "
            "--route\n",
            name, activities && *activities ? activities : "none",
            orchestrators && *orchestrators ? orchestrators : "none",
            entities && *entities ? entities : "none");
    return CLI_NOT_FOUND;
}

static int on_entity(const struct cli_options *options, const struct th_app *app,
                     const struct th_log *log, const char *input)
{
    bool ok;
    TH_AUTOFREE char *state = cli_json_text(options->state, "state", &ok);
    return ok ? cli_invoke_entity(options, app, log, input, state) : CLI_USAGE;
}

static int choose(const struct cli_options *options, const struct th_app *app,
                  const struct th_log *log, const char *input)
{
    const char *name = options->argument_count > 1 ? options->arguments[1] : NULL;
    if (options->route)
        return on_hub(options, app, log, input);
    if (!name) {
        fprintf(stderr, "taskhub invoke: say which FUNCTION, or --route PATH\n");
        return CLI_USAGE;
    }
    if (name[0] == '@')
        return on_entity(options, app, log, input);
    if (th_app_activity(app, th_str_of(name)))
        return invoke_activity(app, log, name, input);
    if (th_app_orchestrator(app, th_str_of(name)))
        return on_hub(options, app, log, input);
    return not_found(app, name);
}

int cli_invoke(const struct cli_options *options)
{
    struct th_error error = {.code = TH_OK};
    struct th_log log = {.level = TH_LOG_INFO, .fd = STDERR_FILENO};
    bool ok;
    if (options->log_level && !th_level_parse(th_str_of(options->log_level), &log.level)) {
        fprintf(stderr, "taskhub invoke: --log-level is error, warn, info or debug\n");
        return CLI_USAGE;
    }
    TH_AUTOFREE char *input = cli_json_text(options->input, "input", &ok);
    if (!ok)
        return CLI_USAGE;
    struct th_app *app = th_app_load(options->arguments[0], &error);
    if (!app) {
        fprintf(stderr, "taskhub invoke: %s\n", error.message);
        return CLI_ERROR;
    }
    int code = choose(options, app, &log, input);
    th_app_free(app);
    return code;
}
