/*
 * taskhub.h: durable workflows in C. The one header for authors of applications, for clients, and
 * for programs that embed a hub.
 *
 * An *orchestrator* is an ordinary function that calls *activities* and waits for them, for
 * timers, events and other orchestrators. Each step is durable: after a crash the function runs
 * again from its start, and every call it already made returns at once with the recorded result.
 * So an orchestrator must be deterministic: time, randomness and ids come from its context, and
 * all work on the outside world happens in activities.
 *
 *     static int say_hello(struct th_activity *activity)
 *     {
 *         return th_activity_return(
 *             activity, json_sprintf("Hello %s!", json_string_value(th_activity_input(activity))));
 *     }
 *
 *     static int hello_cities(struct th_context *ctx)
 *     {
 *         static const char *const cities[] = {"Tokyo", "Seattle", "London"};
 *         json_auto_t *greetings = json_array();
 *
 *         for (int i = 0; i < 3; i++)
 *             if (json_array_append_new(greetings, th_call(ctx, "say_hello",
 * json_string(cities[i])))) return TH_FAILED; return th_return(ctx, greetings);
 *     }
 *
 *     TH_APPLICATION(app)
 *     {
 *         th_orchestrator(app, "hello_cities", hello_cities);
 *         th_activity(app, "say_hello", say_hello);
 *     }
 *
 * Build it as a shared object and run `taskhub dev ./hello.so`.
 *
 * Payloads are bytes; JSON (jansson) by convention. Functions that take a `json_t *` input take
 * over the reference ("steal"), so a freshly made value can be passed in place; a NULL input is
 * sent as no input. Functions that return a `json_t *` give a new reference unless they say
 * "borrowed". Times are microseconds since 1970 (th_time); durations are milliseconds.
 *
 * An orchestrator runs on a stack of its own of 64 KiB: large buffers belong on the heap. When its
 * instance leaves memory, the call it waits in fails (and so does every later one), so that
 * cleanup attributes and error paths run; it should then just return.
 *
 * Threads: an orchestrator and everything taking its `struct th_context` runs on the partition's
 * thread and must not block; activities run on the activity pool, client functions on a pool of
 * their own, and may block. A struct th_client may be used from any thread.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define TH_AT_LEAST(n) n
#define TH_EXTERN_C    extern "C"
extern "C" {
#else
#define TH_AT_LEAST(n) static n /* of an array parameter: what the caller provides */
#define TH_EXTERN_C
#endif

#define TH_FAILED (-1)

typedef int64_t th_time; /* microseconds since 1970-01-01T00:00:00Z */
struct th_failure;
struct th_context;
struct th_activity;
struct th_entity;
struct th_task;
struct th_app;
struct th_client;
struct th_request;
struct th_start;

/* ---- application ------------------------------------------------------------------------- */

typedef int (*th_orchestrator_fn)(struct th_context *ctx);
typedef int (*th_activity_fn)(struct th_activity *activity);
typedef int (*th_entity_fn)(struct th_entity *entity);
typedef int (*th_client_fn)(struct th_request *request);

/* The entry point of an application: one per shared object. */
#define TH_APPLICATION(app)                                                          \
    TH_EXTERN_C __attribute__((visibility("default"))) void th_application_register( \
        struct th_app *app);                                                         \
    void th_application_register(struct th_app *app)

/* Names are compared without regard to case, 1-256 bytes; a second registration of a name
 * fails the load of the application with a message naming it. */
void th_orchestrator(struct th_app *app, const char *name, th_orchestrator_fn function);
void th_activity(struct th_app *app, const char *name, th_activity_fn function);
/* Without '@' in its name; called once per operation. */
void th_entity(struct th_app *app, const char *name, th_entity_fn function);

/* An operation by name, found without regard to case. */
struct th_method {
    const char *operation; /* NULL: the end of the table */
    th_entity_fn function;
};

/* An entity with a function per operation. The table must outlive the application. An operation it
 * lacks fails with type "UnknownOperation", but "delete", which then deletes the state. */
void th_entity_methods(struct th_app *app, const char *name, const struct th_method *methods);

/* `methods` is a comma list ("GET,POST"); `route` is below the route prefix (/api) and may hold
 * {parameters}, each a whole segment: "orchestrators/{functionName}". */
void th_http_route(struct th_app *app, const char *methods, const char *route,
                   th_client_fn function);

/* `schedule` is an NCRONTAB expression of six fields: second minute hour day month weekday, UTC
 * ("0 30 9 * * Mon-Fri"). Runs at most once per due time per process. */
void th_cron(struct th_app *app, const char *name, const char *schedule, th_client_fn function);

/* The application's version, given to instances that are started without one (see host.json's
 * versionMatchStrategy). */
void th_app_version(struct th_app *app, const char *version);

/* ---- orchestrators ----------------------------------------------------------------------- */

/* The name the instance was started under; its id; this execution's id; its version. */
const char *th_name(struct th_context *ctx);
const char *th_instance_id(struct th_context *ctx);
const char *th_execution_id(struct th_context *ctx);
const char *th_version(struct th_context *ctx);
const char *th_parent_id(struct th_context *ctx); /* NULL: no parent */

/* The start's input. Borrowed; NULL when there was none or it is no JSON. */
json_t *th_input(struct th_context *ctx);
const void *th_input_bytes(struct th_context *ctx, size_t *len);
const char *th_tag(struct th_context *ctx, const char *key); /* borrowed; NULL: no such tag */

/* Deterministic: the same at every replay. */
th_time th_current_time(struct th_context *ctx);
void th_new_uuid(struct th_context *ctx, char out[TH_AT_LEAST(37)]);
uint64_t th_random_u64(struct th_context *ctx);
double th_random_double(struct th_context *ctx); /* 0 ≤ x < 1 */

bool th_is_replaying(struct th_context *ctx);
/* A line in the program's log, left out while replaying. */
void th_log_info(struct th_context *ctx, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* How often and how long to try again. Zero means the default in the comment. */
struct th_retry {
    int max_attempts;           /* including the first; 0 or 1: no retry */
    int64_t first_interval_ms;  /* before the second attempt; default 1000 */
    double backoff_coefficient; /* each interval is the last one times this; default 1 */
    int64_t max_interval_ms;    /* default: none */
    int64_t timeout_ms;         /* no attempt starts later than this after the first; none */
    /* Return false to give up. Must be deterministic and must not call th_ functions that take a
     * context. Not asked about non-retriable failures: those are final. Default: go on. */
    bool (*retry_if)(const struct th_failure *failure, void *argument);
    void *argument; /* must outlive the task */
};

struct th_options {
    const struct th_retry *retry;
    const char *version;     /* default: the caller's */
    const char *instance_id; /* sub-orchestrations: default derived from the caller's execution */
    const char *const *tags; /* key, value, …, NULL */
};

/* Call and wait. NULL: it failed, th_last_failure says why; returning TH_FAILED then fails the
 * orchestration with that failure. A result that is not JSON counts as a JSON string (so does JSON
 * nested more than 64 deep); a void result is JSON null. With a retry policy, the failure is that
 * of the last attempt; each attempt and each wait before one is a step of its own in history. */
json_t *th_call(struct th_context *ctx, const char *activity, json_t *input);
json_t *th_call_with(struct th_context *ctx, const char *activity, json_t *input,
                     const struct th_options *options);
json_t *th_call_child(struct th_context *ctx, const char *orchestrator, json_t *input,
                      const struct th_options *options);
/* Waits `milliseconds` of durable time. Anything but 0: the instance is being evicted or
 * ended, return at once. */
int th_sleep(struct th_context *ctx, int64_t milliseconds);
/* Waits for the next event of this name; names are compared without regard to case. Events that
 * came before are kept and given in the order they came. NULL after `timeout_ms` (negative: none),
 * and th_last_failure is then of type "Timeout"; an event without data gives JSON null. The
 * time-out's timer is cancelled when the event wins. */
json_t *th_wait_event(struct th_context *ctx, const char *name, int64_t timeout_ms);
/* Sends an event to another instance; never fails (an unknown target drops it). */
void th_send_event(struct th_context *ctx, const char *instance_id, const char *name, json_t *data);

/* An entity's id, "@counter@apples", and its NUL. Names count without regard to case. */
#define TH_ENTITY_ID_SIZE 101
/* Gives `out`; empty when the two together are too long, and then every call with it fails. */
const char *th_make_entity_id(char out[TH_AT_LEAST(TH_ENTITY_ID_SIZE)], const char *name,
                              const char *key);
/* Runs an operation of an entity and waits for its result. An operation that fails gives its own
 * failure, an entity that nobody knows one of type "EntityNotFound". */
json_t *th_call_entity(struct th_context *ctx, const char *id, const char *operation,
                       json_t *input);
/* Has an operation run, and waits for nothing. Signals and calls of one orchestration to one entity
 * are carried out in order. Anything but 0: it was not sent, th_last_failure says why. */
int th_signal_entity(struct th_context *ctx, const char *id, const char *operation, json_t *input);
/* Not carried out before `when`, and in no order with others. */
int th_signal_entity_at(struct th_context *ctx, const char *id, const char *operation,
                        json_t *input, th_time when);

/* Critical sections. th_lock waits until these entities, 1 to 64 in any order, answer nobody else:
 * whoever else asks them waits. Sections that share entities come one after the other and cannot
 * wait for each other in a circle. Inside, only these entities may be called, each by one call at a
 * time, and they must not be signalled; sub-orchestrations and another section are refused. What
 * breaks a rule fails at once with type "LockRules". Whatever ends the orchestrator,
 * continue-as-new too, releases. Anything but 0: not inside, th_last_failure says why. */
__attribute__((warn_unused_result)) int th_lock(struct th_context *ctx, const char *const *ids,
                                                size_t count);
/* Leaves the section: what was called before it still is carried out before any other request. */
int th_unlock(struct th_context *ctx);
/* How many entities are locked by the section that the code is in; 0: it is in none. `ids` (may be
 * NULL) receives them, in order, borrowed until it is left. */
size_t th_locked(struct th_context *ctx, const char *const **ids);

/* Schedule now, wait later. Tasks belong to the context and live until the orchestration ends.
 * Never NULL: what cannot be scheduled is a task that has failed (types "InvalidName",
 * "InvalidInput", "InvalidTask", "InvalidEntityId"). */
struct th_task *th_schedule(struct th_context *ctx, const char *activity, json_t *input,
                            const struct th_options *options);
struct th_task *th_schedule_bytes(struct th_context *ctx, const char *activity, const void *input,
                                  size_t len, const struct th_options *options);
struct th_task *th_schedule_child(struct th_context *ctx, const char *orchestrator, json_t *input,
                                  const struct th_options *options);
struct th_task *th_schedule_entity(struct th_context *ctx, const char *id, const char *operation,
                                   json_t *input);
struct th_task *th_timer_at(struct th_context *ctx, th_time when);
struct th_task *th_timer_in(struct th_context *ctx, int64_t milliseconds);
struct th_task *th_event_task(struct th_context *ctx, const char *name);
/* Done when all are done (fails with the first failure, and then waits for none of the rest), or
 * when any is done (never fails; th_winner says which). They nest. The array is copied. */
struct th_task *th_all(struct th_context *ctx, struct th_task *const *tasks, size_t count);
struct th_task *th_any(struct th_context *ctx, struct th_task *const *tasks, size_t count);

/* Waits until the task is done; true when it succeeded. */
bool th_await(struct th_context *ctx, struct th_task *task);
bool th_done(const struct th_task *task);
bool th_succeeded(const struct th_task *task);
/* NULL unless succeeded, or when the bytes are neither JSON nor text. Of th_all: an array; of
 * th_any: the winner's. */
json_t *th_result(struct th_task *task);
const void *th_result_bytes(struct th_task *task, size_t *len);       /* borrowed */
const struct th_failure *th_task_failure(const struct th_task *task); /* NULL unless failed */
struct th_task *th_winner(const struct th_task *any);                 /* NULL: none yet */
/* Stops waiting: timers do not fire, events stay for the next waiter, results are ignored. The
 * task then counts as failed with type "Canceled". What a composite waits for is not cancelled, nor
 * is an operation of an entity kept from being carried out. */
void th_cancel(struct th_context *ctx, struct th_task *task);

/* The failure that the last failing call met; NULL when none failed yet. Calls that succeed later
 * leave it, so that an orchestrator can undo its work and then return TH_FAILED. Failures live
 * until the orchestration ends; strings are never NULL. */
const struct th_failure *th_last_failure(struct th_context *ctx);
const char *th_failure_type(const struct th_failure *failure);
const char *th_failure_message(const struct th_failure *failure);
bool th_failure_non_retriable(const struct th_failure *failure);
const struct th_failure *th_failure_inner(const struct th_failure *failure); /* NULL: none */
/* True when the failure or one it wraps is of this type. */
bool th_failure_is(const struct th_failure *failure, const char *type);

void th_set_custom_status(struct th_context *ctx, json_t *status);

/* Ways to end: `return th_…(ctx, …)`. Returning 0 ends without an output. A NULL output right
 * after a call that failed returns TH_FAILED, so that `return th_return_new(ctx, th_call(…))` says
 * what it seems to say. */
int th_return(struct th_context *ctx, json_t *output /* borrowed */);
int th_return_new(struct th_context *ctx, json_t *output /* stolen */);
int th_return_bytes(struct th_context *ctx, const void *output, size_t len);
int th_fail_with(struct th_context *ctx, const char *type, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Starts over with a new input and an empty history. With `keep_events`, events that nobody
 * waited for yet are there again. */
int th_continue_as_new(struct th_context *ctx, json_t *input, bool keep_events);

/* ---- activities --------------------------------------------------------------------------- */

const char *th_activity_name(struct th_activity *activity);
const char *th_activity_instance_id(struct th_activity *activity);
/* The same for every attempt at this step, retries included, and different for every other step: a
 * key with which an outside system can recognise a repeated request. */
const char *th_activity_key(struct th_activity *activity);
json_t *th_activity_input(struct th_activity *activity); /* borrowed; NULL: none or no JSON */
const void *th_activity_input_bytes(struct th_activity *activity, size_t *len);
/* Ways to end: `return th_activity_…(activity, …)`. Returning 0 is a void result, anything else
 * without th_activity_fail a failure of type "ActivityFailed". */
int th_activity_return(struct th_activity *activity, json_t *output /* stolen */);
int th_activity_return_bytes(struct th_activity *activity, const void *output, size_t len);
int th_activity_fail(struct th_activity *activity, const char *type, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* As th_activity_fail, and no retry policy tries it again. */
int th_activity_fail_for_good(struct th_activity *activity, const char *type, const char *format,
                              ...) __attribute__((format(printf, 3, 4)));
/* Says "still at it": the time-out (host.json functionTimeout) counts from the last heartbeat.
 * False: the instance no longer wants the result; clean up and return. */
bool th_activity_heartbeat(struct th_activity *activity);
bool th_activity_canceled(struct th_activity *activity);
void th_activity_log(struct th_activity *activity, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- entities -----------------------------------------------------------------------------
 *
 * An entity is a small durable state with a name and a key, "@counter@apples", and operations on
 * it, which run one at a time. Who signals it goes on; an orchestrator that calls it waits for the
 * answer. It is there from the first state it sets until it deletes that.
 *
 * Operations run on the partition's thread and must not block, but need not be deterministic: each
 * is run once, or, when the process dies before its end is durable, once more from the same state.
 * Several may become durable together; one that fails leaves neither state, signals nor starts,
 * and the others stand. What a function here gives out is borrowed until the operation returns.
 */

const char *th_entity_operation(struct th_entity *entity);
bool th_entity_is(struct th_entity *entity, const char *operation); /* without regard to case */
bool th_entity_is_signal(struct th_entity *entity);                 /* nobody waits for the end */
json_t *th_entity_input(struct th_entity *entity); /* borrowed; NULL: none or no JSON */
const void *th_entity_input_bytes(struct th_entity *entity, size_t *len);
/* "@counter@apples", "counter", "apples". */
const char *th_entity_own_id(struct th_entity *entity);
const char *th_entity_own_name(struct th_entity *entity);
const char *th_entity_own_key(struct th_entity *entity);

/* Whether there is a state. JSON null, 0 and "" are some, and so are no bytes at all. */
bool th_entity_exists(struct th_entity *entity);
/* A copy, to be changed and set; NULL: none, or no JSON. */
json_t *th_entity_state(struct th_entity *entity);
/* As above, or `otherwise` (stolen) when there is none. One that is no JSON fails the operation. */
json_t *th_entity_state_or(struct th_entity *entity, json_t *otherwise);
/* NULL: none. Borrowed until the state is set. */
const void *th_entity_state_bytes(struct th_entity *entity, size_t *len);
/* Replaces the state. NULL, or what cannot be written as JSON, fails the operation with type
 * "InvalidState": a value that could not be made must not delete an entity. */
int th_entity_set_state(struct th_entity *entity, json_t *state /* stolen */);
int th_entity_set_state_bytes(struct th_entity *entity, const void *state /* NULL: none */,
                              size_t len);
int th_entity_delete(struct th_entity *entity);

/* Ways to end: `return th_entity_…(entity, …)`. Returning 0 is a void result, anything else without
 * th_entity_fail a failure of type "OperationFailed". */
int th_entity_return(struct th_entity *entity, json_t *output /* stolen */);
int th_entity_return_bytes(struct th_entity *entity, const void *output, size_t len);
int th_entity_fail(struct th_entity *entity, const char *type, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Sent when the operation has succeeded. Anything but 0: it cannot be (types "InvalidEntityId",
 * "InvalidName", "InvalidInput"), and the operation fails. Itself may be the target. */
int th_entity_signal(struct th_entity *entity, const char *id, const char *operation,
                     json_t *input);
/* Not carried out before `when`, which may be past. */
int th_entity_signal_at(struct th_entity *entity, const char *id, const char *operation,
                        json_t *input, th_time when);
/* Of the options instance_id, version, start_at and tags count; NULL: none. An id in use by a
 * running instance drops the start. */
int th_entity_start(struct th_entity *entity, const char *orchestrator, json_t *input,
                    const struct th_start *options);

th_time th_entity_time(struct th_entity *entity); /* now */
void th_entity_log(struct th_entity *entity, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- clients ------------------------------------------------------------------------------ */

#define TH_ID_MAX 257 /* an instance id and its NUL */

struct th_client_error {
    int status; /* as HTTP would say it: 400, 404, 409, 410, 503, … */
    char message[512];
};

struct th_start {
    const char *instance_id; /* default: generated */
    const char *version;
    th_time start_at;        /* 0 or past: now */
    const char *const *tags; /* key, value, …, NULL */
    bool replace_running;    /* an id in use by a running instance is taken over */
    bool keep_existing;      /* an id in use is an error even when that instance has ended */
};

/* Each returns true, or false and fills `error` (may be NULL). Blocks until durable. */
bool th_client_start(struct th_client *client, const char *orchestrator, json_t *input,
                     const struct th_start *options, char id[TH_AT_LEAST(TH_ID_MAX)],
                     struct th_client_error *error);
bool th_client_raise_event(struct th_client *client, const char *id, const char *name, json_t *data,
                           struct th_client_error *error);
bool th_client_terminate(struct th_client *client, const char *id, json_t *output, bool recursive,
                         struct th_client_error *error);
bool th_client_suspend(struct th_client *client, const char *id, const char *reason,
                       struct th_client_error *error);
bool th_client_resume(struct th_client *client, const char *id, const char *reason,
                      struct th_client_error *error);
bool th_client_rewind(struct th_client *client, const char *id, const char *reason,
                      struct th_client_error *error);
/* The same name, version and tags, and the input that its status shows: after continue-as-new that
 * of the last generation. */
bool th_client_restart(struct th_client *client, const char *id, bool new_id,
                       char id_out[TH_AT_LEAST(TH_ID_MAX)], struct th_client_error *error);
/* `purged` (may be NULL) receives how many instances went. */
bool th_client_purge(struct th_client *client, const char *id, bool recursive, size_t *purged,
                     struct th_client_error *error);
/* Purges what ended in one of `statuses` ("Completed,Failed", NULL: any end) and was created in
 * [from, to) (0: open). */
bool th_client_purge_by(struct th_client *client, th_time from, th_time to, const char *statuses,
                        size_t *purged, struct th_client_error *error);
/* The status document of the HTTP API: name, instanceId, runtimeStatus, input, output, …;
 * NULL: unknown or failed. */
json_t *th_client_status(struct th_client *client, const char *id, struct th_client_error *error);
/* Waits until the instance ends or `timeout_ms` passes (negative: none); then as th_client_status.
 * On time-out: NULL, status 504. */
json_t *th_client_wait(struct th_client *client, const char *id, int64_t timeout_ms,
                       struct th_client_error *error);

/* Entities, by their ids ("@counter@apples", see th_make_entity_id). A signal has been sent when it
 * is durable: the entity need not exist, and what becomes of the operation is not told. `when`: not
 * carried out before; 0 or past: at once. */
bool th_client_signal_entity(struct th_client *client, const char *id, const char *operation,
                             json_t *input, th_time when, struct th_client_error *error);
/* The state as it is now, a new reference; a state that is no JSON is a string. NULL: it has none,
 * status 404, or failed. */
json_t *th_client_entity_state(struct th_client *client, const char *id,
                               struct th_client_error *error);

struct th_entity_query {
    const char *name; /* entities of this function; NULL: all */
    th_time from, to; /* the last operation was at or after `from`, before `to`; 0: open */
    bool states;      /* with their states, else these are JSON null */
    size_t limit;     /* at most so many; 0: all */
};

/* An array of the HTTP API's documents {"entityId": {"name", "key"}, "lastOperationTime",
 * "state"} of entities with a state, in the order in which they came into being. Reads page after
 * page, so that it is no view of one moment. NULL `query`: all. NULL: failed. */
json_t *th_client_list_entities(struct th_client *client, const struct th_entity_query *query,
                                struct th_client_error *error);

/* ---- client functions: HTTP routes and cron timers ------------------------------------------ */

struct th_client *th_request_client(struct th_request *request);
const char *th_request_method(struct th_request *request);
const char *th_request_path(struct th_request *request);
const char *th_request_param(struct th_request *request, const char *name); /* from the route */
const char *th_request_query(struct th_request *request, const char *name); /* decoded; NULL */
const char *th_request_header(struct th_request *request, const char *name);
const void *th_request_body(struct th_request *request, size_t *len);
json_t *th_request_json(struct th_request *request); /* borrowed; NULL: no or bad JSON */
/* The address the caller used, without a slash at the end: "http://localhost:7071". */
const char *th_request_origin(struct th_request *request);

/* Ways to answer: `return th_respond_…(request, …)`. */
int th_respond(struct th_request *request, int status, const char *content_type, const void *body,
               size_t len);
int th_respond_json(struct th_request *request, int status, json_t *body /* stolen */);
int th_respond_text(struct th_request *request, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int th_respond_file(struct th_request *request, const char *path); /* 404 while it is not there */
void th_respond_header(struct th_request *request, const char *name, const char *value);
/* 202 with the URLs to watch and steer this instance: what every HTTP starter ends with. */
int th_respond_check_status(struct th_request *request, const char *instance_id);
/* The document of that answer, to add to it. A new reference. */
json_t *th_request_check_status(struct th_request *request, const char *instance_id);
int th_respond_error(struct th_request *request, const struct th_client_error *error);

/* ---- a hub in a program of one's own --------------------------------------------------------- */

struct th_hub;

struct th_hub_options {
    const char *database; /* SQLite file, made when missing; default "taskhub.db" */
    const char *hub;      /* name; default "TestHubName" */
    int partitions;       /* of a new hub; default 1 */
    int activity_threads; /* default: 2 per processor, at least 4 */
    int port;             /* HTTP API on 127.0.0.1; 0: none */
};

/* Runs a hub with the functions that `registration` registers (as TH_APPLICATION's body does).
 * NULL: failed, see `error`. */
struct th_hub *th_hub_open(const struct th_hub_options *options,
                           void (*registration)(struct th_app *app), struct th_client_error *error);
struct th_client *th_hub_client(struct th_hub *hub); /* lives as long as the hub */
/* Stops taking new work, finishes what runs (bounded), and closes. What remains goes on at the
 * next open. */
void th_hub_close(struct th_hub *hub);

#ifdef __cplusplus
}
#endif
