/*
 * post: grpc.h's functions for a call. On the loop's thread they act at once, elsewhere they leave
 * an operation in the loop's mailbox. A call of which operations are still there gets the next one
 * there, too, whatever the thread: else it would overtake them.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "grpc/internal.h"

struct operation {
    struct th_grpc_post post; /* first */
    struct th_grpc_call *call;
    void (*act)(struct operation *op);
    struct th_blob *message;
    struct th_grpc_fields *fields;
    struct th_grpc_ending ending;
    bool flag; /* send: told to stop; finish: at once; pause: paused */
    void (*work)(struct th_grpc_call *call, void *argument);
    void *argument;
};

static bool at_once(const struct th_grpc_call *call)
{
    return !call->mailbox || (th_grpc_mailbox_own_is(call->mailbox) &&
                              atomic_load_explicit(&call->posted, memory_order_relaxed) == 0);
}

static void act(struct operation *op)
{
    struct th_grpc_connection *c = op->call->connection;
    op->act(op);
    if (c && c->touched) {
        c->touched(c->argument);
    }
}

static void run(struct th_grpc_post *post)
{
    struct operation *op = (struct operation *)post;
    atomic_fetch_sub(&op->call->posted, 1);
    act(op);
    th_grpc_unref(op->call);
    free(op);
}

/* False: the loop is gone, and the operation still the caller's. */
static bool post(const struct operation *op)
{
    struct operation *copy = th_memdup(op, sizeof(*op));
    copy->post.run = run;
    th_grpc_ref(op->call);
    atomic_fetch_add(&op->call->posted, 1);
    if (th_grpc_mailbox_post(op->call->mailbox, &copy->post)) {
        return true;
    }
    atomic_fetch_sub(&op->call->posted, 1);
    th_grpc_unref(op->call);
    free(copy);
    return false;
}

static bool act_or_post(struct operation *op)
{
    if (!at_once(op->call)) {
        return post(op);
    }
    act(op);
    return true;
}

/* ---- send ---- */

static void act_send(struct operation *op)
{
    th_grpc_call_send(op->call, op->message, op->flag);
}

static void drop(struct operation *op)
{
    atomic_fetch_sub(&op->call->queued, TH_GRPC_PREFIX + op->message->len);
    th_blob_unref(op->message);
}

bool th_grpc_send(struct th_grpc_call *call, struct th_blob *message)
{
    struct operation op = {.call = call, .act = act_send, .message = th_blob_ref(message)};
    atomic_fetch_add(&call->queued, TH_GRPC_PREFIX + message->len);
    if (at_once(call)) {
        act(&op);
        bool room = call->over || call->finished || th_grpc_outbound_room(call);
        if (!room) {
            th_grpc_outbound_tell(call);
        }
        return room;
    }
    op.flag = !th_grpc_outbound_room(call);
    if (!post(&op)) {
        drop(&op);
        return true;
    }
    return !op.flag;
}

size_t th_grpc_queued(const struct th_grpc_call *call)
{
    return atomic_load(&call->queued);
}

/* ---- headers, finish, abort ---- */

static void act_headers(struct operation *op)
{
    th_grpc_call_headers(op->call, op->fields);
}

bool th_grpc_headers(struct th_grpc_call *call, struct th_grpc_metadata metadata)
{
    bool complete;
    struct operation op = {.call = call, .act = act_headers};
    op.fields = th_grpc_fields_of(metadata, &complete);
    if (!act_or_post(&op)) {
        free(op.fields);
    }
    return complete;
}

static void act_finish(struct operation *op)
{
    th_grpc_call_finish(op->call, op->ending, op->flag);
}

static bool finish(struct th_grpc_call *call, enum th_grpc_status status, struct th_str message,
                   struct th_grpc_metadata metadata, bool at_once)
{
    bool complete;
    struct operation op = {.call = call, .act = act_finish, .flag = at_once};
    op.ending = th_grpc_ending_of(status, message, metadata, &complete);
    if (!act_or_post(&op)) {
        th_grpc_ending_deinit(&op.ending);
    }
    return complete;
}

bool th_grpc_finish(struct th_grpc_call *call, enum th_grpc_status status, struct th_str message,
                    struct th_grpc_metadata metadata)
{
    return finish(call, status, message, metadata, false);
}

void th_grpc_abort(struct th_grpc_call *call, enum th_grpc_status status, struct th_str message)
{
    finish(call, status, message, (struct th_grpc_metadata){0}, true);
}

/* ---- pause, resume, run ---- */

static void act_pause(struct operation *op)
{
    th_grpc_call_pause(op->call, op->flag);
}

void th_grpc_pause(struct th_grpc_call *call)
{
    act_or_post(&(struct operation){.call = call, .act = act_pause, .flag = true});
}

void th_grpc_resume(struct th_grpc_call *call)
{
    act_or_post(&(struct operation){.call = call, .act = act_pause});
}

static void act_run(struct operation *op)
{
    op->work(op->call, op->argument);
}

bool th_grpc_run(struct th_grpc_call *call, void (*work)(struct th_grpc_call *call, void *argument),
                 void *argument)
{
    return act_or_post(
        &(struct operation){.call = call, .act = act_run, .work = work, .argument = argument});
}
