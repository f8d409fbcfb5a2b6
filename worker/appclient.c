/*
 * Both directions of asking. Callers of the HTTP API ask the application: their threads wait here
 * until the manager brings the answer. The application's clients ask the hub: the manager hands
 * their commands to the gateway, whose replies go out as they come.
 */
#include "worker/appinternal.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "api/management.h"
#include "base/memory.h"

#define UNSENT_PATIENCE (10 * TH_SECOND) /* of a request while the process is not there */
#define MAX_COMMANDS    1024             /* of the application's clients, at once */

/* ---- client functions: HTTP threads -----------------------------------------------------------
 */

static struct visit *visit_find(struct th_appproc *proc, uint64_t number)
{
    struct visit *visit;
    DL_SEARCH_SCALAR(proc->visits, visit, number, number);
    return visit;
}

void th_appproc_visit_send(struct th_appproc *proc, struct visit *visit)
{
    if (visit->sent || !proc->up)
        return;
    visit->sent = true;
    th_appproc_send(proc, &visit->frame);
}

static bool put_visit(struct visit *visit, const struct th_operation *op)
{
    const struct th_http_options *options = &op->api->options;
    struct th_wire_request request = {
        .number = visit->number,
        .cron = op->function == NULL,
        .methods = op->function ? th_str_of(op->function->methods) : TH_STR_ABSENT,
        .route = op->function ? th_str_of(op->function->route) : op->x.target.path,
        .method = op->x.method,
        .target = op->x.target_text,
        .body = op->x.body.len ? th_buffer_view(&op->x.body) : TH_STR_ABSENT,
        .origin = op->origin,
        .hub = th_str_of(options->gateway->hub->name),
        .key = th_str_of(options->api_key),
        .headers = op->x.headers,
        .params = op->params,
    };
    size_t begin = th_wire_begin(&visit->frame, TH_FRAME_REQUEST);
    th_put_request(&visit->frame, &request);
    return th_wire_end(&visit->frame, begin);
}

/* Lock held. Until the answer, the death of the process or the end of patience. */
static void await_answer(struct th_appproc *proc, struct visit *visit)
{
    th_time until = th_monotonic() + UNSENT_PATIENCE;
    struct timespec deadline = {.tv_sec = until / TH_SECOND, .tv_nsec = until % TH_SECOND * 1000};
    int late = 0;
    while (!visit->done && !proc->quiet && (visit->sent || !late)) {
        if (visit->sent)
            pthread_cond_wait(&visit->changed, &proc->lock);
        else
            late = pthread_cond_clockwait(&visit->changed, &proc->lock, CLOCK_MONOTONIC, &deadline);
    }
}

static void give_file(struct th_operation *op, struct visit *visit, const char *content_type)
{
    struct stat about;
    if (visit->file < 0 || fstat(visit->file, &about) != 0 || !S_ISREG(about.st_mode)) {
        th_answer_failure(&op->x, 500, TH_STR("the application answered with no proper file"));
        return;
    }
    th_answer_file(&op->x, visit->file, (size_t)about.st_size, content_type);
    visit->file = -1;
}

static int give_answer(struct th_operation *op, struct visit *visit)
{
    struct th_wire_answer answer;
    struct th_reader in;
    enum th_frame_kind kind;
    if (!th_wire_open(th_buffer_view(&visit->answer), &op->x.arena, NULL, &in, &kind) ||
        !th_get_answer(&in, &answer))
        return TH_FAILED; /* the manager has read it before */
    for (size_t i = 0; i < answer.headers.count; i++)
        th_answer_header(&op->x, answer.headers.items[i].name.data, answer.headers.items[i].value);
    if (answer.file)
        give_file(op, visit, NULL);
    else if (answer.status != 0)
        th_answer(&op->x, answer.status, NULL, answer.body);
    if (answer.file && answer.status != 0 && op->x.file >= 0)
        op->x.status = answer.status;
    return answer.verdict;
}

static int give_failure(struct th_operation *op, const struct visit *visit, bool quiet)
{
    if (quiet)
        th_answer_failure(&op->x, 503, TH_STR("the hub is shutting down"));
    else if (visit->sent)
        th_answer_failure(&op->x, 500,
                          TH_STR("the application's process died while it served this request"));
    else
        th_answer_failure(&op->x, 503, TH_STR("the application is being started again"));
    return TH_FAILED;
}

int th_appproc_serve(void *argument, struct th_operation *op)
{
    struct th_appproc *proc = argument;
    struct visit visit = {.file = -1};
    pthread_cond_init(&visit.changed, NULL);
    pthread_mutex_lock(&proc->lock);
    visit.number = ++proc->last_number;
    pthread_mutex_unlock(&proc->lock);
    bool fits = put_visit(&visit, op);
    pthread_mutex_lock(&proc->lock);
    if (fits) {
        DL_APPEND(proc->visits, &visit);
        th_appproc_visit_send(proc, &visit);
        await_answer(proc, &visit);
        DL_DELETE(proc->visits, &visit);
    }
    bool quiet = proc->quiet;
    pthread_mutex_unlock(&proc->lock);
    int verdict = visit.answer.len ? give_answer(op, &visit) : give_failure(op, &visit, quiet);
    th_appproc_close(&visit.file);
    th_buffer_deinit(&visit.frame);
    th_buffer_deinit(&visit.answer);
    pthread_cond_destroy(&visit.changed);
    return verdict;
}

bool th_appproc_answer(struct th_appproc *proc, struct th_str frame, struct th_reader *in)
{
    struct th_wire_answer answer;
    if (!th_get_answer(in, &answer))
        return false;
    int file = answer.file ? th_appproc_take_file(proc) : -1;
    pthread_mutex_lock(&proc->lock);
    struct visit *visit = visit_find(proc, answer.number);
    if (visit && visit->sent && !visit->done) {
        th_buffer_str(&visit->answer, frame);
        visit->file = file;
        visit->done = true;
        file = -1;
        pthread_cond_signal(&visit->changed);
    }
    pthread_mutex_unlock(&proc->lock);
    th_appproc_close(&file);
    return true;
}

/* ---- commands of the application's clients -----------------------------------------------------
 */

static void unlist_command(struct command *command)
{
    DL_DELETE(command->proc->commands, command);
    command->proc->command_count--;
    command->listed = false;
}

/* On the gateway's thread; must not block. */
static void on_reply(void *argument, const struct th_reply *reply)
{
    struct command *command = argument;
    struct th_appproc *proc = command->proc;
    TH_BUFFER frame = {0};
    size_t begin = th_wire_begin(&frame, TH_FRAME_REPLY);
    th_put_reply(&frame, command->number, reply);
    if (!th_wire_end(&frame, begin)) {
        struct th_reply small = {.count = 0};
        th_fail(&small.error, TH_TOO_LARGE, "the answer is too large for the application");
        begin = th_wire_begin(&frame, TH_FRAME_REPLY);
        th_put_reply(&frame, command->number, &small);
        th_wire_end(&frame, begin);
    }
    pthread_mutex_lock(&proc->lock);
    bool dropped = command->dropped, listed = command->listed;
    command->answered = true;
    if (listed)
        unlist_command(command);
    if (!dropped && proc->up)
        th_appproc_send(proc, &frame);
    pthread_mutex_unlock(&proc->lock);
    if (listed)
        free(command);
}

static void refuse_command(struct th_appproc *proc, uint64_t number)
{
    struct th_reply reply = {.count = 0};
    TH_BUFFER frame = {0};
    th_fail(&reply.error, TH_UNAVAILABLE, "the hub cannot take more commands of the application");
    size_t begin = th_wire_begin(&frame, TH_FRAME_REPLY);
    th_put_reply(&frame, number, &reply);
    th_wire_end(&frame, begin);
    pthread_mutex_lock(&proc->lock);
    th_appproc_send(proc, &frame);
    pthread_mutex_unlock(&proc->lock);
}

static bool may_take_command(struct th_appproc *proc)
{
    pthread_mutex_lock(&proc->lock);
    bool may = proc->command_count < MAX_COMMANDS;
    pthread_mutex_unlock(&proc->lock);
    return may;
}

bool th_appproc_command(struct th_appproc *proc, struct th_reader *in)
{
    uint64_t number;
    struct th_command what;
    if (!th_get_command(in, &number, &what))
        return false;
    if (!may_take_command(proc)) {
        refuse_command(proc, number);
        return true;
    }
    struct command *command = TH_NEW(struct command);
    *command = (struct command){.proc = proc, .number = number};
    struct th_gateway *gateway = th_host_gateway(proc->host);
    uint64_t ticket = gateway->submit(gateway, &what, on_reply, command);
    pthread_mutex_lock(&proc->lock);
    bool answered = command->answered;
    command->ticket = ticket;
    if (!answered) {
        command->listed = true;
        DL_APPEND(proc->commands, command);
        proc->command_count++;
    }
    pthread_mutex_unlock(&proc->lock);
    if (answered)
        free(command);
    return true;
}

/* Lock not held; the command is off the list and marked as dropped. */
static void cancel_command(struct th_appproc *proc, struct command *command)
{
    struct th_gateway *gateway = th_host_gateway(proc->host);
    gateway->cancel(gateway, command->ticket); /* either way nothing of it runs after this */
    free(command);
}

bool th_appproc_give_up(struct th_appproc *proc, struct th_reader *in)
{
    uint64_t number;
    struct command *command;
    if (!th_get_number(in, &number))
        return false;
    pthread_mutex_lock(&proc->lock);
    DL_SEARCH_SCALAR(proc->commands, command, number, number);
    if (command) {
        unlist_command(command);
        command->dropped = true;
    }
    pthread_mutex_unlock(&proc->lock);
    if (command)
        cancel_command(proc, command);
    return true;
}

void th_appproc_drop_commands(struct th_appproc *proc)
{
    for (;;) {
        pthread_mutex_lock(&proc->lock);
        struct command *command = proc->commands;
        if (command) {
            unlist_command(command);
            command->dropped = true;
        }
        pthread_mutex_unlock(&proc->lock);
        if (!command)
            return;
        cancel_command(proc, command);
    }
}
