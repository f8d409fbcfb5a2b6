/*
 * One attempt at an activity: the author's view of the call, and the result it leaves behind.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "sdk/application.h"
#include "sdk/context.h"
#include "sdk/payload.h"

struct th_activity {
    const struct th_activity_call *call;
    struct th_activity_result *result;
    char *name, *instance_id, *key; /* NUL-terminated; made when asked for */
    json_t *input;
    bool input_parsed;
    bool answered;
};

/* ---- what it was called with ---------------------------------------------------------------- */

static const char *text_of(char **cached, struct th_str s)
{
    if (!*cached) {
        *cached = th_str_dup(s.data ? s : TH_STR(""));
    }
    return *cached;
}

const char *th_activity_name(struct th_activity *a)
{
    return text_of(&a->name, a->call->name);
}

const char *th_activity_instance_id(struct th_activity *a)
{
    return text_of(&a->instance_id, a->call->instance_id);
}

const char *th_activity_key(struct th_activity *a)
{
    if (!a->key) {
        TH_BUFFER key = {0};
        struct th_str step = TH_STR_ABSENT;
        for (size_t i = 0; i < a->call->tags.count; i++) {
            if (th_str_eq(a->call->tags.items[i].key, TH_STR(TH_STEP_TAG))) {
                step = a->call->tags.items[i].value;
            }
        }
        th_buffer_format(&key, "%.*s-", TH_PRI(a->call->execution_id));
        if (th_str_present(step)) {
            th_buffer_str(&key, step);
        } else {
            th_buffer_format(&key, "%d", a->call->task_id);
        }
        a->key = th_buffer_take(&key);
    }
    return a->key;
}

json_t *th_activity_input(struct th_activity *a)
{
    if (!a->input_parsed) {
        a->input_parsed = true;
        a->input = th_payload_parse(a->call->input);
    }
    return a->input;
}

const void *th_activity_input_bytes(struct th_activity *a, size_t *len)
{
    *len = a->call->input.len;
    return a->call->input.data;
}

/* ---- its result: the last one given counts --------------------------------------------------- */

static void reset(struct th_activity *a)
{
    th_activity_result_deinit(a->result);
    a->answered = true;
}

static int fail(struct th_activity *a, bool for_good, const char *type, const char *format,
                va_list arguments)
{
    TH_BUFFER message = {0};
    th_buffer_text(&message, "");
    th_buffer_vformat(&message, format, arguments);
    reset(a);
    a->result->failed = true;
    a->result->non_retriable = for_good;
    a->result->failure_type = th_str_dup(th_str_of(type ? type : "ActivityFailed"));
    a->result->failure_message = th_buffer_take(&message);
    return TH_FAILED;
}

int th_activity_fail(struct th_activity *a, const char *type, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int code = fail(a, false, type, format, arguments);
    va_end(arguments);
    return code;
}

int th_activity_fail_for_good(struct th_activity *a, const char *type, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int code = fail(a, true, type, format, arguments);
    va_end(arguments);
    return code;
}

int th_activity_return(struct th_activity *a, json_t *output)
{
    struct th_str words = th_payload_print(output);
    bool broken = output && !th_str_present(words);
    json_decref(output);
    if (broken) {
        return th_activity_fail_for_good(
            a, "InvalidOutput", "the output of %s cannot be written as JSON", th_activity_name(a));
    }
    reset(a);
    a->result->data = (char *)words.data;
    a->result->len = words.len;
    return 0;
}

int th_activity_return_bytes(struct th_activity *a, const void *output, size_t len)
{
    reset(a);
    a->result->data = th_alloc(len + 1);
    a->result->len = len;
    if (len) {
        memcpy(a->result->data, output, len);
    }
    return 0;
}

/* ---- while it runs -------------------------------------------------------------------------- */

bool th_activity_canceled(struct th_activity *a)
{
    return a->call->canceled && a->call->canceled(a->call->argument);
}

bool th_activity_heartbeat(struct th_activity *a)
{
    if (a->call->beat) {
        a->call->beat(a->call->argument);
    }
    return !th_activity_canceled(a);
}

void th_activity_log(struct th_activity *a, const char *format, ...)
{
    TH_BUFFER line = {0};
    TH_BUFFER name = {0};
    va_list arguments;
    va_start(arguments, format);
    th_buffer_format(&line, "[%s] ", th_activity_instance_id(a));
    th_buffer_vformat(&line, format, arguments);
    va_end(arguments);
    th_buffer_format(&name, "Function.%s", th_activity_name(a));
    TH_AUTOFREE char *category = th_buffer_take(&name);
    th_log(a->call->log, TH_LOG_INFO, category, "%.*s", TH_PRI(th_buffer_view(&line)));
}

/* ---- the run -------------------------------------------------------------------------------- */

static void not_found(struct th_activity *a, const struct th_app *app)
{
    TH_AUTOFREE char *names = th_app_activity_names(app);
    th_activity_fail_for_good(a, "FunctionNotFound",
                              "activity \"%s\" is not registered; this application has: %s",
                              th_activity_name(a), *names ? names : "none");
}

static void run(struct th_activity *a, const struct th_app *app)
{
    th_activity_fn function = th_app_activity(app, a->call->name);
    if (!function) {
        not_found(a, app);
        return;
    }
    int code = function(a);
    if (code != 0 && !(a->answered && a->result->failed)) {
        th_activity_fail(a, "ActivityFailed", "activity \"%s\" returned %d without saying why",
                         th_activity_name(a), code);
    }
}

void th_activity_run(const struct th_app *app, const struct th_activity_call *call,
                     struct th_activity_result *result)
{
    struct th_activity activity = {.call = call, .result = result};
    *result = (struct th_activity_result){0};
    run(&activity, app);
    json_decref(activity.input);
    free(activity.name);
    free(activity.instance_id);
    free(activity.key);
}

void th_activity_result_deinit(struct th_activity_result *result)
{
    free(result->data);
    free(result->failure_type);
    free(result->failure_message);
    *result = (struct th_activity_result){0};
}
