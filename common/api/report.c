/*
 * report: how the hub is: all of it, its lag, its metrics, whether it is ready. A program that
 * knows more than its own gateway (th_http_reports) tells; otherwise it is what the gateway shows,
 * where this process is the whole hub.
 */
#include "api/lag.h"
#include "api/management.h"
#include "api/metrics.h"

typedef enum th_step step_fn(struct th_operation *op);

static const struct th_error no_words = {.code = TH_INTERNAL};

static const struct th_http_reports *reports_of(const struct th_operation *op)
{
    return &op->api->options.reports;
}

static enum th_step ask_gateway(struct th_operation *op, step_fn *next)
{
    op->command = (struct th_command){.kind = TH_COMMAND_HUB};
    op->next = next;
    return TH_STEP_COMMAND;
}

static enum th_step at_desk(struct th_operation *op, step_fn *next)
{
    op->next = next;
    return TH_STEP_DESK;
}

/* False: answered, with what the gateway said instead. */
static bool has_view(struct th_operation *op)
{
    op->x.answer.len = 0;
    if (op->reply.error.code == TH_OK && op->reply.hub) {
        return true;
    }
    th_answer_error(&op->x, &op->reply.error);
    return false;
}

/* ---- the hub ------------------------------------------------------------------------------- */

static enum th_step hub_of_gateway(struct th_operation *op)
{
    if (has_view(op)) {
        th_document_hub(&op->x.answer, op->reply.hub, TH_STR_ABSENT);
        th_answer_built(&op->x, 200, TH_JSON_TYPE);
    }
    return TH_STEP_DONE;
}

static enum th_step hub_of_program(struct th_operation *op)
{
    struct th_error error = no_words;
    op->x.answer.len = 0;
    if (reports_of(op)->hub(reports_of(op)->argument, &op->x.answer, &error)) {
        th_answer_built(&op->x, 200, TH_JSON_TYPE);
    } else {
        th_answer_error(&op->x, &error);
    }
    return TH_STEP_DONE;
}

enum th_step th_report_hub(struct th_operation *op)
{
    return reports_of(op)->hub ? at_desk(op, hub_of_program) : ask_gateway(op, hub_of_gateway);
}

/* ---- lag ----------------------------------------------------------------------------------- */

static enum th_step lag_of_gateway(struct th_operation *op)
{
    struct th_lag lag;
    if (has_view(op)) {
        th_lag_of_view(&lag, op->reply.hub, th_now(), &op->x.arena);
        th_document_lag(&op->x.answer, &lag);
        th_answer_built(&op->x, 200, TH_JSON_TYPE);
    }
    return TH_STEP_DONE;
}

static enum th_step lag_of_program(struct th_operation *op)
{
    struct th_error error = no_words;
    op->x.answer.len = 0;
    if (reports_of(op)->lag(reports_of(op)->argument, &op->x.answer, &error)) {
        th_answer_built(&op->x, 200, TH_JSON_TYPE);
    } else {
        th_answer_error(&op->x, &error);
    }
    return TH_STEP_DONE;
}

enum th_step th_report_lag(struct th_operation *op)
{
    return reports_of(op)->lag ? at_desk(op, lag_of_program) : ask_gateway(op, lag_of_gateway);
}

/* ---- metrics ------------------------------------------------------------------------------- */

/* What the program adds is of this process; of the hub, where this process is all of it. */
static enum th_step tell_metrics(struct th_operation *op)
{
    const struct th_http_reports *reports = reports_of(op);
    struct th_error error = no_words;
    struct th_lag lag;
    op->x.answer.len = 0;
    if (!reports->lag && op->reply.hub) {
        th_lag_of_view(&lag, op->reply.hub, th_now(), &op->x.arena);
        th_metrics_lag(&op->x.answer, &lag);
        th_metrics_view(&op->x.answer, op->reply.hub);
    }
    if (reports->metrics && !reports->metrics(reports->argument, &op->x.answer, &error)) {
        th_answer_error(&op->x, &error);
        return TH_STEP_DONE;
    }
    th_metrics_process(&op->x.answer);
    th_answer_built(&op->x, 200, TH_METRICS_TYPE);
    return TH_STEP_DONE;
}

static enum th_step metrics_with_view(struct th_operation *op)
{
    return has_view(op) ? at_desk(op, tell_metrics) : TH_STEP_DONE;
}

enum th_step th_report_metrics(struct th_operation *op)
{
    return reports_of(op)->lag ? at_desk(op, tell_metrics) : ask_gateway(op, metrics_with_view);
}

/* ---- readiness ----------------------------------------------------------------------------- */

static enum th_step answer_ready(struct th_operation *op)
{
    th_answer(&op->x, 200, "text/plain; charset=utf-8", TH_STR("ok\n"));
    return TH_STEP_DONE;
}

static uint32_t count_owned(const struct th_hub_view *hub)
{
    uint32_t owned = 0;
    for (uint32_t i = 0; hub->partitions && i < hub->record.partitions; i++) {
        owned += hub->partitions[i].owned;
    }
    return owned;
}

/* Ready: every partition of the hub has an owner, so whatever comes in is worked on. */
static enum th_step ready_by_gateway(struct th_operation *op)
{
    const struct th_hub_view *hub = op->reply.hub;
    if (op->reply.error.code != TH_OK || !hub) {
        th_answer_failure(&op->x, 503, th_str_of(op->reply.error.message));
        return TH_STEP_DONE;
    }
    uint32_t owned = count_owned(hub);
    if (hub->partitions && owned < hub->record.partitions) {
        struct th_str message = th_arena_format(&op->x.arena, "%u of %u partitions have an owner",
                                                owned, hub->record.partitions);
        th_answer_failure(&op->x, 503, message);
        return TH_STEP_DONE;
    }
    return answer_ready(op);
}

static enum th_step ready_by_program(struct th_operation *op)
{
    struct th_error error = no_words;
    if (reports_of(op)->ready(reports_of(op)->argument, &error)) {
        return answer_ready(op);
    }
    th_answer_failure(&op->x, 503, th_str_of(error.message));
    return TH_STEP_DONE;
}

enum th_step th_report_ready(struct th_operation *op)
{
    return reports_of(op)->ready ? at_desk(op, ready_by_program)
                                 : ask_gateway(op, ready_by_gateway);
}
