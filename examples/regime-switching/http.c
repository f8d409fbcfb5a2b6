#include "examples/regime-switching/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "examples/regime-switching/outputs.h"
#include "examples/regime-switching/plan.h"

#define DAY_US      (INT64_C(86400) * 1000000)
#define OUTPUTS_DIR "outputs/"

/* ---- answering ---- */

static int refuse(struct th_request *request, const json_t *errors)
{
    char *text = plan_error_text(errors);
    int code;

    if (json_array_size(errors) > 0 && text)
        code = th_respond_text(request, 400, "%s", text);
    else
        code = th_respond_text(request, 503, "not enough memory, try again\n");
    free(text);
    return code;
}

/* ---- what is done before the start ---- */

/* Where outputs will be: beside this route, whatever the routes' prefix is. */
static char *outputs_address(struct th_request *request)
{
    const char *path = th_request_path(request);
    size_t len = strlen(path);
    char *address;

    while (len > 0 && path[len - 1] == '/')
        len--;
    while (len > 0 && path[len - 1] != '/')
        len--;
    if (asprintf(&address, "%s%.*s" OUTPUTS_DIR, th_request_origin(request), (int)len, path) < 0)
        return NULL;
    return address;
}

/* The time so many days ago. Never 0 or less, which would stand for no bound at all. */
static th_time days_ago(json_int_t days)
{
    struct timespec now;
    th_time then;

    clock_gettime(CLOCK_REALTIME, &now);
    then = (th_time)now.tv_sec * 1000000 + now.tv_nsec / 1000 - days * DAY_US;
    return then > 0 ? then : 1;
}

/* Purges what has ended and was created that long ago, when the request says so. */
static bool purge_old(struct th_request *request, const json_t *body, json_t *answer,
                      struct th_client_error *error)
{
    const json_t *days = json_object_get(body, "purgeOlderThanDays");
    size_t purged = 0;

    if (!days)
        return true;
    if (!th_client_purge_by(th_request_client(request), 0, days_ago(json_integer_value(days)), NULL,
                            &purged, error))
        return false;
    json_object_set_new(answer, "purged", json_integer((json_int_t)purged));
    return true;
}

/* ---- the routes ---- */

/* Takes over the plan. */
static int start(struct th_request *request, json_t *plan)
{
    json_auto_t *extra = json_pack("{s:o}", "outputs", plan_addresses(plan));
    struct th_client_error error;
    char id[TH_ID_MAX];
    json_t *answer;

    if (!purge_old(request, json_object_get(plan, "request"), extra, &error)) {
        json_decref(plan);
        return th_respond_error(request, &error);
    }
    if (!th_client_start(th_request_client(request), "regime_switching", plan, NULL, id, &error))
        return th_respond_error(request, &error);
    th_respond_check_status(request, id); /* for its headers */
    answer = th_request_check_status(request, id);
    json_object_update(answer, extra);
    return th_respond_json(request, 202, answer);
}

int http_ask_for_fit(struct th_request *request)
{
    json_auto_t *errors = json_array();
    char *base = outputs_address(request);
    json_t *plan = base ? plan_new(th_request_json(request), base, errors) : NULL;

    free(base);
    return plan ? start(request, plan) : refuse(request, errors);
}

int http_give_output(struct th_request *request)
{
    const char *file = th_request_param(request, "file");
    char *path = outputs_is_name(file) ? outputs_path(file) : NULL;
    int code;

    if (!path)
        return th_respond_text(request, 404, "there is no such output\n");
    code = th_respond_file(request, path);
    free(path);
    return code;
}
