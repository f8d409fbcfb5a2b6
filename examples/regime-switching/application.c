/*
 * The regime-switching application: when did an economy grow, when did it shrink, and how sure is
 * that? Hamilton's estimator climbs from many random starts at once; the best of them is described,
 * drawn, saved and announced.
 *
 *     POST /api/regime-switching ──▶ plan ──▶ estimate ×20 ──▶ best ─┬▶ t_statistics ─┬▶ save ──▶
 * notify answers at once                                             ├▶ chart "series"┤ with the
 * addresses                                          ├▶ chart "recent"┤ of the outputs └▶ chart
 * "resid."┘
 *
 * This file is the workflow. What it calls is in activities.c, who starts it in http.c.
 */
#include <taskhub.h>

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/regime-switching/activities.h"
#include "examples/regime-switching/http.h"
#include "examples/regime-switching/plan.h"

/* For steps that meet the world: a disk that is full, a mail server that is away. */
static const struct th_retry patient = {
    .max_attempts = 5, .first_interval_ms = 1000, .backoff_coefficient = 3};

static void free_tasks(struct th_task ***tasks)
{
    free(*tasks);
}

#define TASKS __attribute__((cleanup(free_tasks))) struct th_task **

/* ---- many starts, one best ---- */

/*
 * A run's result without its fit. Fits have megabytes, and all runs are looked at again at every
 * replay; so the activity puts the fit last, and only what is before it is read here.
 */
static json_t *head_of(struct th_task *task)
{
    size_t len = 0;
    const char *bytes = th_result_bytes(task, &len);
    const char *fit = bytes ? memmem(bytes, len, ",\"fit\":", 7) : NULL;
    json_t *head = NULL;
    char *text;

    if (fit && asprintf(&text, "%.*s}", (int)(fit - bytes), bytes) >= 0) {
        head = json_loads(text, 0, NULL);
        free(text);
    }
    return head;
}

static json_t *fit_of(struct th_task *task)
{
    json_auto_t *result = th_result(task);

    return json_incref(json_object_get(result, "fit"));
}

/* What became of a run: its head, or why it failed. */
static json_t *await_run(struct th_context *ctx, struct th_task *task, int run)
{
    json_t *head = th_await(ctx, task) ? head_of(task) : NULL;
    const struct th_failure *failure = th_task_failure(task);

    return head ? head
                : json_pack("{s:i, s:s}", "run", run, "failure",
                            failure ? th_failure_message(failure) : "no result");
}

static double llf_of(const json_t *head)
{
    return json_number_value(json_object_get(head, "llf"));
}

/*
 * The fit with the highest likelihood; of equal ones, the first. `runs` receives what became of
 * each. A start may lead nowhere, which is no reason to give up: only all of them are.
 */
static json_t *estimate(struct th_context *ctx, const json_t *plan, json_t *runs)
{
    int count = (int)json_integer_value(json_object_get(plan, "runs"));
    json_t *request = json_object_get(plan, "request"), *best_head = NULL;
    TASKS tasks = calloc((size_t)count + 1, sizeof(struct th_task *));
    struct th_task *best = NULL;

    for (int i = 0; i < count; i++)
        tasks[i] = th_schedule(ctx, "estimate",
                               json_pack("{s:i, s:O}", "run", i + 1, "request", request), NULL);
    for (int i = 0; i < count; i++) {
        th_set_custom_status(ctx, json_sprintf("estimating %d of %d", i + 1, count));
        json_t *head = await_run(ctx, tasks[i], i + 1);
        json_array_append_new(runs, head);
        if (json_object_get(head, "failure") || (best && llf_of(head) <= llf_of(best_head)))
            continue;
        best = tasks[i];
        best_head = head;
    }
    return best ? fit_of(best) : NULL;
}

/* ---- what is made of the best ---- */

/* The part of a fit that its statistics and charts need; the data they load themselves. */
static json_t *without_paths(const json_t *fit)
{
    static const char *const left_out[] = {"prob", "pred", "yhat", "y", "x", "tstat"};
    json_t *rest = json_copy((json_t *)fit);

    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
        json_object_del(rest, left_out[i]);
    return rest;
}

/* Statistics and charts at the same time. The statistics, and the charts in `charts`. */
static json_t *describe(struct th_context *ctx, const json_t *plan, const json_t *fit,
                        json_t *charts)
{
    json_t *request = json_object_get(plan, "request");
    json_auto_t *rest = without_paths(fit);
    struct th_task *tasks[1 + CHART_VIEWS];

    th_set_custom_status(ctx, json_string("describing the best fit"));
    tasks[0] = th_schedule(ctx, "t_statistics",
                           json_pack("{s:O, s:O}", "request", request, "fit", rest), NULL);
    for (size_t i = 0; i < CHART_VIEWS; i++)
        tasks[1 + i] = th_schedule(
            ctx, "chart",
            json_pack("{s:s, s:O, s:O}", "view", chart_views[i], "request", request, "fit", rest),
            NULL);
    if (!th_await(ctx, th_all(ctx, tasks, 1 + CHART_VIEWS)))
        return NULL;
    for (size_t i = 0; i < CHART_VIEWS; i++)
        json_array_append_new(charts, th_result(tasks[1 + i]));
    return th_result(tasks[0]);
}

static bool save(struct th_context *ctx, const json_t *plan, const json_t *fit,
                 const json_t *statistics, const json_t *charts)
{
    struct th_options options = {.retry = &patient};

    th_set_custom_status(ctx, json_string("saving"));
    json_auto_t *saved = th_call_with(ctx, "save_outputs",
                                      json_pack("{s:O, s:O, s:O, s:O, s:O}", "request",
                                                json_object_get(plan, "request"), "files",
                                                json_object_get(plan, "files"), "fit", fit,
                                                "statistics", statistics, "charts", charts),
                                      &options);
    return saved != NULL;
}

/* ---- telling ---- */

/* What was done, or why not: results that are saved are not thrown away because of a mail. */
static json_t *tell(struct th_context *ctx, const json_t *plan, const char *subject,
                    const char *key, json_t *what)
{
    struct th_options options = {.retry = &patient};
    json_t *to = json_object_get(plan, "notify");
    json_auto_t *addresses = plan_addresses(plan), *content = what;

    if (!json_is_string(to))
        return json_null();
    th_set_custom_status(ctx, json_string("notifying"));
    json_t *done = th_call_with(ctx, "notify",
                                json_pack("{s:O, s:s, s:O, s:O}", "to", to, "subject", subject,
                                          "addresses", addresses, key, content),
                                &options);
    return done ? done
                : json_sprintf("nobody was told: %s", th_failure_message(th_last_failure(ctx)));
}

static int give_up(struct th_context *ctx, const json_t *plan, const char *type,
                   const char *message)
{
    json_decref(
        tell(ctx, plan, "Regime switching: it did not work", "failure", json_string(message)));
    th_set_custom_status(ctx, NULL);
    return th_fail_with(ctx, type, "%s", message);
}

static int give_up_last(struct th_context *ctx, const json_t *plan)
{
    const struct th_failure *failure = th_last_failure(ctx);

    return give_up(ctx, plan, th_failure_type(failure), th_failure_message(failure));
}

/* ---- the workflow ---- */

/* The HTTP route has made a plan; who starts it elsewhere may hand in the request alone. */
static json_t *plan_of(struct th_context *ctx)
{
    json_t *input = th_input(ctx);

    if (json_object_get(input, "files"))
        return json_incref(input);
    return th_call(ctx, "plan", json_incref(input));
}

static size_t failed_runs(const json_t *runs)
{
    size_t failed = 0, i;
    const json_t *run;

    json_array_foreach(runs, i, run)
        failed += json_object_get(run, "failure") != NULL;
    return failed;
}

static int give_up_all(struct th_context *ctx, const json_t *plan, const json_t *runs)
{
    const char *first = json_string_value(json_object_get(json_array_get(runs, 0), "failure"));
    json_auto_t *message = json_sprintf("none of %zu runs came to an end; the first: %s",
                                        json_array_size(runs), first ? first : "was not asked for");

    return give_up(ctx, plan, "NoFit", json_string_value(message));
}

static int regime_switching(struct th_context *ctx)
{
    json_auto_t *plan = plan_of(ctx), *runs = json_array(), *charts = json_array();

    if (!plan)
        return TH_FAILED;
    json_auto_t *fit = estimate(ctx, plan, runs);
    if (!fit)
        return give_up_all(ctx, plan, runs);
    json_auto_t *statistics = describe(ctx, plan, fit, charts);
    if (!statistics)
        return give_up_last(ctx, plan);
    json_object_set(statistics, "runs", runs);
    if (!save(ctx, plan, fit, statistics, charts))
        return give_up_last(ctx, plan);

    json_t *told =
        tell(ctx, plan, "Regime switching: the result", "statistics", json_incref(statistics));
    th_set_custom_status(ctx, json_string("done"));
    return th_return_new(
        ctx, json_pack("{s:O, s:O, s:i, s:i, s:o, s:o}", "llf", json_object_get(fit, "llf"),
                       "regimes", json_object_get(statistics, "regimes"), "runs",
                       (int)json_array_size(runs), "failedRuns", (int)failed_runs(runs), "outputs",
                       plan_addresses(plan), "notification", told));
}

TH_APPLICATION(app)
{
    /* Once, before there are threads that send mail. */
    curl_global_init(CURL_GLOBAL_DEFAULT);

    th_orchestrator(app, "regime_switching", regime_switching);
    th_activity(app, "plan", activity_plan);
    th_activity(app, "estimate", activity_estimate);
    th_activity(app, "t_statistics", activity_t_statistics);
    th_activity(app, "chart", activity_chart);
    th_activity(app, "save_outputs", activity_save_outputs);
    th_activity(app, "notify", activity_notify);
    th_http_route(app, "POST", "regime-switching", http_ask_for_fit);
    th_http_route(app, "GET", "outputs/{file}", http_give_output);
}
