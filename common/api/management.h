/*
 * management: what each request of the API does, step by step, without sockets or threads.
 *
 * An operation is served by steps. Each step says what must happen before the next one: a command
 * is sent to the gateway, or the next step needs a thread that may block. Whoever drives the
 * operation (the server, a test, a fuzzer) does that and calls th_operation_step again. Steps never
 * block themselves, but those that follow TH_STEP_FUNCTION and TH_STEP_DESK.
 */
#pragma once

#include "api/document.h"
#include "api/exchange.h"
#include "api/http.h"

/* What the requests of one server have in common. Constant while it runs; any thread reads it. */
struct th_api {
    struct th_http_options options; /* strings are the server's copies; defaults filled in */
    struct th_client *client;       /* for the application's functions */
    char *url;                      /* of the server itself, for clients that name no host */
    char **route_patterns;          /* per function of the application: prefix and route */
    size_t route_count;
};

enum th_step {
    TH_STEP_DONE,     /* op->x holds the answer */
    TH_STEP_COMMAND,  /* submit op->command, copy the reply to op->reply, then step */
    TH_STEP_FUNCTION, /* step on a thread that may block */
    TH_STEP_DESK,     /* the same, on one that no function of the application can occupy */
};

struct th_operation {
    const struct th_api *api;
    struct th_exchange x;
    struct th_pairs params; /* of the route */
    enum th_step (*next)(struct th_operation *op);
    struct th_command command;
    struct th_kept reply;
    struct th_str origin; /* what the caller called us */

    struct th_str instance_id;
    struct th_status_form form;
    struct th_error failure; /* the reply that a follow-up question is to explain */
    bool fail_with_500;
    bool waits; /* answer when the instance has ended, if that is before `deadline` */
    th_time deadline;
    const struct th_http_function *function;
};

/* A request whose line is known; headers and body are added to op->x before the first step. */
void th_operation_init(struct th_operation *op, const struct th_api *api, struct th_str method,
                       struct th_str target);
void th_operation_deinit(struct th_operation *op);
enum th_step th_operation_step(struct th_operation *op);

/* Routes a request below the management path; `first` is the segment after it. */
enum th_step th_management_begin(struct th_operation *op, size_t first);
/* A query parameter that is a time. False (answered): it is none; absent or empty leaves `*out`. */
bool th_operation_time(struct th_operation *op, const char *name, th_time *out);
/* Rows per page and where to go on, as the request says. False (answered): it does not make sense.
 */
bool th_operation_page(struct th_operation *op, struct th_query *out);
/* Says where the next page begins, if there is one. */
void th_operation_answer_continuation(struct th_operation *op);
/* ---- hubs.c: hubs beside this one; report.c: how this one is ---- */

enum th_step th_hubs_list(struct th_operation *op);
enum th_step th_hubs_show(struct th_operation *op);
enum th_step th_hubs_create(struct th_operation *op);
enum th_step th_hubs_remove(struct th_operation *op);
enum th_step th_report_hub(struct th_operation *op);
enum th_step th_report_lag(struct th_operation *op);
enum th_step th_report_metrics(struct th_operation *op);
enum th_step th_report_ready(struct th_operation *op);

/* ---- what several of them need ---- */

/* Answers with an error: of this status and these words, or as the error says. */
static inline enum th_step th_operation_refuse(struct th_operation *op, int status,
                                               const char *message)
{
    th_answer_failure(&op->x, status, th_str_of(message));
    return TH_STEP_DONE;
}
static inline enum th_step th_operation_refuse_error(struct th_operation *op,
                                                     const struct th_error *error)
{
    th_answer_error(&op->x, error);
    return TH_STEP_DONE;
}
/* Answers with the JSON document, which is stolen; NULL: with `error`. */
enum th_step th_answer_document(struct th_operation *op, int status, json_t *document,
                                const struct th_error *error);
/* The URLs that an answer names. */
struct th_links th_operation_links(const struct th_operation *op);
/* 202 with the check-status document. */
void th_answer_check_status(struct th_operation *op, struct th_str instance_id);
