#include "examples/regime-switching/activities.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "examples/regime-switching/chart.h"
#include "examples/regime-switching/information.h"
#include "examples/regime-switching/notify.h"
#include "examples/regime-switching/outputs.h"
#include "examples/regime-switching/plan.h"
#include "examples/regime-switching/random.h"
#include "examples/regime-switching/request.h"
#include "examples/regime-switching/statistics.h"

#define RECENT_LEAST                                                            \
    40 /* observations in the chart of the series' end, a quarter of it if more \
        */

/* ---- what most of them start with: the request and its data ---- */

struct task {
    json_t *input;
    struct regime_request request;
    struct sample sample;
    struct regime_problem problem;
};

static void task_deinit(struct task *task)
{
    regime_request_deinit(&task->request);
    sample_deinit(&task->sample);
}

#define TASK __attribute__((cleanup(task_deinit))) struct task

/* Something to do again when memory ran out, and in vain when anything else is wrong. */
static int fail_with_code(struct th_activity *activity, int code, const char *type,
                          const char *message)
{
    if (code == -ENOMEM || code == -EIO)
        return th_activity_fail(activity, type, "%s", message);
    return th_activity_fail_for_good(activity, type, "%s", message);
}

static int no_memory(struct th_activity *activity)
{
    return th_activity_fail(activity, "NoMemory", "not enough memory");
}

/* Where the data sets are: TASKHUB_DATA, or "data" beside the shared object. */
static bool data_folder(char folder[static PATH_MAX])
{
    const char *set = getenv("TASKHUB_DATA");
    Dl_info info;
    char *slash, whole[PATH_MAX];

    if (set && *set)
        return snprintf(folder, PATH_MAX, "%s", set) < PATH_MAX;
    if (!dladdr((void *)&activity_estimate, &info) || !realpath(info.dli_fname, whole))
        return false;
    slash = strrchr(whole, '/');
    return snprintf(folder, PATH_MAX, "%.*s/data", (int)(slash - whole), whole) < PATH_MAX;
}

static int load(struct th_activity *activity, struct task *task)
{
    char folder[PATH_MAX], err[300];
    int rc;

    if (!data_folder(folder))
        return th_activity_fail_for_good(activity, "NoData", "there is no folder of data sets");
    rc = regime_request_load(&task->request, folder, &task->sample, err, sizeof err);
    if (rc != 0)
        return fail_with_code(activity, rc, "NoData", err);
    task->problem = regime_request_problem(&task->request, &task->sample);
    return 0;
}

static int refuse(struct th_activity *activity, const json_t *errors)
{
    char *text = plan_error_text(errors);
    int code;

    if (json_array_size(errors) == 0)
        code = no_memory(activity);
    else
        code = th_activity_fail_for_good(activity, "BadRequest", "%s", text ? text : "");
    free(text);
    return code;
}

static int task_init(struct th_activity *activity, struct task *task)
{
    json_auto_t *errors = json_array();

    *task = (struct task){.input = th_activity_input(activity)};
    if (regime_request_parse(json_object_get(task->input, "request"), &task->request, errors) != 0)
        return refuse(activity, errors);
    return load(activity, task);
}

/* ---- plan ---- */

/* For those who start the orchestrator without the HTTP route: addresses are paths then. */
int activity_plan(struct th_activity *activity)
{
    json_auto_t *errors = json_array();
    json_t *plan;
    char *base;

    if (asprintf(&base, "%s/", outputs_folder()) < 0)
        return no_memory(activity);
    plan = plan_new(th_activity_input(activity), base, errors);
    free(base);
    return plan ? th_activity_return(activity, plan) : refuse(activity, errors);
}

/* ---- estimate ---- */

#define ISO_SIZE 25 /* 2009-12-31T23:59:59.000Z */

static double now(char iso[static ISO_SIZE])
{
    struct timespec ts;
    struct tm tm;

    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    strftime(iso, ISO_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(iso + 19, ISO_SIZE - 19, ".%03uZ", (unsigned)(ts.tv_nsec / 1000000) % 1000U);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* What the orchestrator compares comes first, the fit last: it need not read all of each fit. */
static json_t *run_to_json(json_int_t run, const struct regime_fit *fit,
                           const struct regime_timing *timing)
{
    return json_pack(
        "{s:I, s:I, s:f, s:I, s:b, s:f, s:o}", "run", run, "seed", (json_int_t)fit->seed, "llf",
        fit->path.llf, "iterations", (json_int_t)fit->iterations, "converge", fit->converged,
        "seconds", timing->time_solve, "fit", regime_fit_to_json(fit, timing, REGIME_OUTPUTS_ALL));
}

int activity_estimate(struct th_activity *activity)
{
    TASK task;
    struct regime_fit fit;
    char start[ISO_SIZE], end[ISO_SIZE], err[300];
    struct regime_timing timing = {start, end, 0};
    json_int_t run;
    json_t *output;
    double began = now(start);
    int rc;

    if (task_init(activity, &task) != 0)
        return TH_FAILED;
    run = json_integer_value(json_object_get(task.input, "run"));
    rc = regime_fit(&task.problem, regime_run_seed(task.request.seed, (uint64_t)run), &fit, err,
                    sizeof err);
    if (rc != 0)
        return fail_with_code(activity, rc, "NoFit", err);
    timing.time_solve = now(end) - began;
    output = run_to_json(run, &fit, &timing);
    regime_fit_deinit(&fit);
    return output ? th_activity_return(activity, output) : no_memory(activity);
}

/* ---- statistics and charts of the best fit ---- */

/* A fit that came back as JSON, perhaps without all of its arrays, and made for the same data. */
static int fit_init(struct th_activity *activity, const struct task *task, struct regime_fit *fit)
{
    char err[300];
    int rc = regime_fit_from_json(json_object_get(task->input, "fit"), fit, NULL, err, sizeof err);

    if (rc != 0)
        return fail_with_code(activity, rc, "BadFit", err);
    if (fit->n == task->sample.n && fit->regimes == task->request.regimes &&
        fit->coefficients == task->sample.regressors + 1 && fit->params.beta && fit->params.sigma &&
        fit->params.transition && fit->params.initial && fit->ergodic && fit->path.smoothed &&
        fit->residuals)
        return 0;
    regime_fit_deinit(fit);
    return th_activity_fail_for_good(activity, "BadFit", "the fit is not one of this request");
}

static json_t *statistics_of(const struct task *task, const struct regime_fit *fit)
{
    double *tstat = calloc(fit->regimes * fit->coefficients, sizeof *tstat);
    json_t *document = NULL;

    if (tstat && regime_t_statistics(&task->problem, &fit->params, fit->sigma_floor, tstat) == 0)
        document = statistics_document(fit, tstat, task->sample.dates, task->request.one_sigma);
    free(tstat);
    return document;
}

int activity_t_statistics(struct th_activity *activity)
{
    TASK task;
    struct regime_fit fit;
    json_t *document;

    if (task_init(activity, &task) != 0 || fit_init(activity, &task, &fit) != 0)
        return TH_FAILED;
    document = statistics_of(&task, &fit);
    regime_fit_deinit(&fit);
    return document ? th_activity_return(activity, document) : no_memory(activity);
}

static const char *series_name(const struct task *task)
{
    return task->request.dataset == REGIME_DATASET_US_GDP ? "Real GDP, growth in % a quarter" : "y";
}

static const char *series_title(const struct task *task)
{
    switch (task->request.dataset) {
    case REGIME_DATASET_US_GDP:
        return "Growth of the United States' economy";
    case REGIME_DATASET_SYNTHETIC:
        return "A synthetic series";
    default:
        return "The series";
    }
}

/* A view of the end: the same fit, of which only the last observations are shown. */
static void keep_recent(struct regime_fit *fit, const sample_date **dates)
{
    size_t keep = fit->n / 4 > RECENT_LEAST ? fit->n / 4 : RECENT_LEAST;
    size_t skip = keep < fit->n ? fit->n - keep : 0;

    fit->n -= skip;
    fit->y += skip;
    fit->path.smoothed += skip * fit->regimes;
    if (*dates)
        *dates += skip;
}

/* NULL: no memory. `fit` is changed to what is shown. */
static char *draw(const struct task *task, struct regime_fit *fit, size_t view, size_t *len)
{
    const sample_date *dates = task->sample.dates;
    const char *title = series_title(task);

    fit->y = task->sample.y;
    if (view == 1) {
        keep_recent(fit, &dates);
        return regime_fit_svg(fit, dates, "The most recent part", series_name(task), len);
    }
    if (view == 2) {
        fit->y = fit->residuals;
        return regime_fit_svg(fit, dates, "What the fit does not explain", "residuals", len);
    }
    return regime_fit_svg(fit, dates, title, series_name(task), len);
}

static size_t view_of(const json_t *input)
{
    const char *name = json_string_value(json_object_get(input, "view"));
    size_t view = 0;

    while (name && view < CHART_VIEWS && strcmp(name, chart_views[view]) != 0)
        view++;
    return name ? view : CHART_VIEWS;
}

int activity_chart(struct th_activity *activity)
{
    TASK task;
    struct regime_fit fit;
    json_t *output;
    size_t view, len;
    char *svg;

    if (task_init(activity, &task) != 0)
        return TH_FAILED;
    view = view_of(task.input);
    if (view == CHART_VIEWS)
        return th_activity_fail_for_good(activity, "BadView", "there is no such view");
    if (fit_init(activity, &task, &fit) != 0)
        return TH_FAILED;
    svg = draw(&task, &fit, view, &len);
    regime_fit_deinit(&fit);
    output = svg ? json_stringn(svg, len) : NULL;
    free(svg);
    return output ? th_activity_return(activity, output) : no_memory(activity);
}

/* ---- save_outputs ---- */

/* The outputs that were asked for, and the dates of what is by time. */
static json_t *result_of(const struct task *task)
{
    json_t *result = json_copy(json_object_get(task->input, "fit")), *value;
    const char *name;
    void *next;

    json_object_foreach_safe(result, next, name, value) {
        regime_outputs bit = regime_output_bit(name);
        if (bit && !(bit & task->request.outputs))
            json_object_del(result, name);
    }
    if (result && task->sample.dates) {
        json_t *dates = json_array();
        for (size_t t = 0; t < task->sample.n; t++)
            json_array_append_new(dates, json_string(task->sample.dates[t]));
        json_object_set_new(result, "dates", dates);
    }
    return result;
}

/* A disk may be full for a while; a folder that cannot be one stays so. */
static bool may_pass(int code)
{
    return code != -ENOTDIR && code != -ENOENT && code != -EACCES && code != -EROFS;
}

/* What cannot be a file name of ours must not be written; the input may be anybody's. */
static int save(struct th_activity *activity, const json_t *name, const char *text)
{
    const char *file = json_string_value(name);
    char err[400];
    int rc;

    if (!file || !outputs_is_name(file) || !text)
        return th_activity_fail_for_good(activity, "BadOutput", "an output has no %s",
                                         text ? "name" : "text");
    rc = outputs_save(file, text, strlen(text), err, sizeof err);
    if (rc == 0)
        return 0;
    return may_pass(rc) ? th_activity_fail(activity, "CannotSave", "%s", err)
                        : th_activity_fail_for_good(activity, "CannotSave", "%s", err);
}

static int save_json(struct th_activity *activity, const json_t *name, const json_t *json,
                     size_t flags)
{
    char *text = json_is_object(json) ? json_dumps(json, flags) : NULL;
    int rc = save(activity, name, text);

    free(text);
    return rc;
}

/* The result comes last: once it is there, everything is. */
int activity_save_outputs(struct th_activity *activity)
{
    TASK task;
    const json_t *files, *charts, *name;
    size_t i;

    if (task_init(activity, &task) != 0)
        return TH_FAILED;
    files = json_object_get(task.input, "files");
    charts = json_object_get(task.input, "charts");
    json_array_foreach(json_object_get(files, "charts"), i, name)
        if (save(activity, name, json_string_value(json_array_get(charts, i))) != 0)
            return TH_FAILED;
    if (save_json(activity, json_object_get(files, "statistics"),
                  json_object_get(task.input, "statistics"), JSON_INDENT(2)) != 0)
        return TH_FAILED;
    json_auto_t *result = result_of(&task);
    return save_json(activity, json_object_get(files, "result"), result, JSON_COMPACT);
}

/* ---- notify ---- */

static void put_addresses(FILE *out, const json_t *addresses)
{
    const json_t *chart;
    size_t i;

    fprintf(out, "\nResult:     %s\nStatistics: %s\n",
            json_string_value(json_object_get(addresses, "result")),
            json_string_value(json_object_get(addresses, "statistics")));
    json_array_foreach(json_object_get(addresses, "charts"), i, chart)
        fprintf(out, "Chart:      %s\n", json_string_value(chart));
}

static char *letter_text(const json_t *input, const char *instance)
{
    const char *failure = json_string_value(json_object_get(input, "failure"));
    char *text = NULL, *summary = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    if (!out)
        return NULL;
    if (failure) {
        fprintf(out, "The regimes could not be estimated:\n\n%s\n", failure);
    } else {
        summary = statistics_text(json_object_get(input, "statistics"));
        fprintf(out, "The regimes are estimated.\n\n%s", summary ? summary : "");
        put_addresses(out, json_object_get(input, "addresses"));
    }
    fprintf(out, "\nInstance: %s\n", instance);
    fclose(out);
    free(summary);
    return text;
}

int activity_notify(struct th_activity *activity)
{
    const json_t *input = th_activity_input(activity);
    const char *instance = th_activity_instance_id(activity);
    const char *to = json_string_value(json_object_get(input, "to"));
    const char *subject = json_string_value(json_object_get(input, "subject"));
    char file[NOTIFY_FILE_SIZE], err[500];
    char *text = letter_text(input, instance);
    bool mailed = false;
    int rc;

    if (!to || !text) {
        free(text);
        return to ? no_memory(activity)
                  : th_activity_fail_for_good(activity, "BadInput", "notify needs an address");
    }
    notify_file(instance, file);
    rc = notify_send(&(struct letter){to, subject ? subject : "Regime switching", text,
                                      th_activity_key(activity), file},
                     &mailed, err, sizeof err);
    free(text);
    if (rc == -EPERM)
        return th_activity_fail_for_good(activity, "CannotNotify", "%s", err);
    if (rc != 0)
        return th_activity_fail(activity, "CannotNotify", "%s", err);
    return th_activity_return(activity, mailed ? json_sprintf("mailed to %s", to)
                                               : json_sprintf("written to %s", file));
}
