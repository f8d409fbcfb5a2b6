/*
 * request: what a client function of an application sees: th_request_* and th_respond_* of
 * sdk/taskhub.h over an exchange. Lives on the stack of a client-function thread.
 */
#pragma once

#include "api/management.h"

struct th_request {
    struct th_operation *op;
    json_t *json; /* the body, once asked for */
    bool parsed;
};

/* The step that runs op->function. Blocks as long as the function does. */
enum th_step th_request_serve(struct th_operation *op);

/* Calls a function of the application for this operation, here; returns its verdict. */
int th_request_call(struct th_operation *op, th_client_fn function);

/* Runs a cron function: a request without a body whose method is "TIMER" and whose path is its
 * name. Returns the function's verdict; `status` receives what it answered (0: nothing). */
int th_request_fire(const struct th_api *api, const struct th_cron_function *cron, int *status);
