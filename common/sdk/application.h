/*
 * application: the functions that a shared object (or a program of one's own) registers, and the
 * look-up by name. Immutable once loaded, so any thread may read it.
 */
#pragma once

#include "base/error.h"
#include "base/log.h"
#include "model/event.h"
#include "model/name.h"
#include "sdk/taskhub.h"

struct th_http_function {
    char *methods; /* upper case, comma separated */
    char *route;   /* without leading slash */
    th_client_fn function;
};

/* What runs an entity's operations: one of the two. */
struct th_entity_code {
    th_entity_fn function;
    const struct th_method *methods;
};

struct th_cron_function {
    char *name;
    char *schedule;
    th_client_fn function;
};

/* From a shared object (dlopen, TH_APPLICATION) or from a function. NULL on failure: a missing
 * entry point, a name registered twice, a bad route or schedule. The caller frees it, after
 * everything that runs its functions has stopped. */
struct th_app *th_app_load(const char *path, struct th_error *error);
struct th_app *th_app_from(void (*registration)(struct th_app *), struct th_error *error);
/* As th_app_from, with an argument for the registration. */
struct th_app *th_app_from_with(void (*registration)(struct th_app *, void *argument),
                                void *argument, struct th_error *error);
void th_app_free(struct th_app *app);

th_orchestrator_fn th_app_orchestrator(const struct th_app *app, struct th_str name);
th_activity_fn th_app_activity(const struct th_app *app, struct th_str name);
bool th_app_entity(const struct th_app *app, struct th_str name, struct th_entity_code *out);
const char *th_app_get_version(const struct th_app *app); /* NULL: none */
size_t th_app_http_count(const struct th_app *app);
const struct th_http_function *th_app_http(const struct th_app *app, size_t index);
size_t th_app_cron_count(const struct th_app *app);
const struct th_cron_function *th_app_cron(const struct th_app *app, size_t index);
/* The functions of one kind, by name. SIZE_MAX: there is none of that name, case apart. */
size_t th_app_function_count(const struct th_app *app, enum th_function_kind kind);
struct th_str th_app_function_name(const struct th_app *app, enum th_function_kind kind,
                                   size_t index);
size_t th_app_function_index(const struct th_app *app, enum th_function_kind kind,
                             struct th_str name);
/* Whether there is one; NULL: no application, and so none. */
bool th_app_has(const struct th_app *app, enum th_function_kind kind, struct th_str name);
/* Comma-separated names, for messages: "hello_cities, …". The caller frees it. */
char *th_app_orchestrator_names(const struct th_app *app);
char *th_app_activity_names(const struct th_app *app);
char *th_app_entity_names(const struct th_app *app);

/* Runs one activity attempt; used by the pool, by `taskhub invoke` and by tests. `cancel` is
 * polled by th_activity_canceled; `beat` is called by th_activity_heartbeat; both may be NULL. */
struct th_activity_call {
    struct th_str instance_id, execution_id, name, version, input;
    int32_t task_id;
    struct th_tags tags; /* as scheduled: one of them tells a retry which step it repeats */
    const struct th_log *log;
    bool (*canceled)(void *argument);
    void (*beat)(void *argument);
    void *argument;
};

struct th_activity_result {
    bool failed;
    char *data; /* result when not failed; malloc'ed; NULL: none */
    size_t len;
    char *failure_type, *failure_message; /* when failed; malloc'ed */
    bool non_retriable;
};

/* On any thread, for as long as the activity takes. A function that is not registered fails with
 * type "FunctionNotFound". `result` is filled in any case. */
void th_activity_run(const struct th_app *app, const struct th_activity_call *call,
                     struct th_activity_result *result);
void th_activity_result_deinit(struct th_activity_result *result);
