/* read: load, walk and state: one call each, whose answer is of one state of the partition. Also
 * the life of a submission that is one request. */
#include <stdlib.h>

#include "base/memory.h"
#include "provider/redis/internal.h"

/* What a walk answers at once, unless one row alone is more. */
#define WALK_BYTES (4u << 20)

/* ---- submissions of one request ---- */

/* Behind the first word stands the watermark: of whatever is read, and where a batch is refused. */
static void read_answer(struct th_redis_op *op, const redisReply *reply)
{
    struct th_completion *done = &op->done;
    struct th_watermark mark;
    bool marked = th_redis_mark_read(th_redis_string(reply, 1), &mark);
    if (marked) {
        done->watermark = mark;
    }
    if (!th_redis_function_ok(reply, done->partition, &done->error)) {
        return;
    }
    if (!marked && done->kind != TH_DONE_PROJECT) {
        th_fail(&done->error, TH_CORRUPT, "the watermark of partition %u in Redis is damaged",
                done->partition);
    } else if (op->read) {
        op->read(done, reply);
    }
}

static void answered(struct th_redis_request *request, const redisReply *reply,
                     const struct th_error *error)
{
    struct th_redis_op *op = TH_REDIS_OF(request, struct th_redis_op, request);
    if (error) {
        op->done.error = *error;
    } else {
        read_answer(op, reply);
    }
    th_redis_complete(op->loop, &op->done);
    th_redis_command_deinit(&request->command);
    free(op);
}

static void run(struct th_redis_loop *loop, struct th_redis_task *task)
{
    th_redis_session_send(&loop->commands, &((struct th_redis_op *)task)->request);
}

struct th_redis_op *th_redis_op_new(struct th_provider *provider, enum th_completion_kind kind,
                                    uint32_t partition, uint64_t tag)
{
    struct th_redis_loop *loop = (struct th_redis_loop *)provider;
    if (partition >= provider->hub.partitions) {
        struct th_completion wrong =
            th_completion_failed(kind, partition, tag, TH_INVALID, "hub %s has no partition %u",
                                 provider->hub.name, partition);
        th_redis_complete(loop, &wrong);
        return NULL;
    }
    struct th_redis_op *op = TH_NEW(struct th_redis_op);
    op->task.run = run;
    op->request.answered = answered;
    op->loop = loop;
    op->done = (struct th_completion){.kind = kind,
                                      .partition = partition,
                                      .tag = tag,
                                      .offset = -1,
                                      .watermark = TH_WATERMARK_NONE};
    return op;
}

void th_redis_op_submit(struct th_redis_op *op)
{
    th_redis_loop_submit(op->loop, &op->task);
}

/* ---- load ---- */

/* One row behind the watermark, or none. */
static void read_load(struct th_completion *done, const redisReply *reply)
{
    const redisReply *instance = th_redis_array(reply, 2);
    if (!instance) {
        th_fail(&done->error, TH_NOT_FOUND, "there is no such instance");
        return;
    }
    struct th_row row;
    if (th_redis_row_read(instance, TH_REDIS_ALL, &row, &done->error)) {
        done->rows = th_memdup(&row, sizeof(row));
        done->row_count = 1;
    }
}

void th_redis_load(struct th_provider *provider, uint32_t partition, struct th_str instance_id,
                   bool history, uint64_t tag)
{
    struct th_redis_op *op = th_redis_op_new(provider, TH_DONE_LOAD, partition, tag);
    if (!op) {
        return;
    }
    struct th_redis_command *c = &op->request.command;
    op->read = read_load;
    th_redis_command_function(c, TH_REDIS_FUNCTION("load"), &provider->hub, partition);
    th_redis_command_add(c, instance_id);
    th_redis_command_text(c, history ? "1" : "0");
    th_redis_op_submit(op);
}

/* ---- walk ---- */

static void drop_rows(struct th_completion *done)
{
    while (done->row_count > 0) {
        th_row_deinit(&done->rows[--done->row_count]);
    }
    free(done->rows);
    done->rows = NULL;
}

/* Redis answers CORRUPT unless there are as many rows as the watermark says. */
static void read_walk(struct th_completion *done, const redisReply *reply)
{
    size_t count = reply->elements - 2;
    done->stored_rows = done->watermark.rows;
    done->rows = th_alloc(count * sizeof(*done->rows));
    while (done->row_count < count) {
        if (!th_redis_row_read(th_redis_array(reply, 2 + done->row_count), TH_REDIS_ALL,
                               &done->rows[done->row_count], &done->error)) {
            drop_rows(done);
            return;
        }
        done->row_count++;
    }
}

void th_redis_walk(struct th_provider *provider, uint32_t partition, uint64_t full_below,
                   uint32_t limit, uint64_t tag)
{
    struct th_redis_op *op = th_redis_op_new(provider, TH_DONE_WALK, partition, tag);
    if (!op) {
        return;
    }
    struct th_redis_command *c = &op->request.command;
    char below[8];
    op->read = read_walk;
    th_redis_number_write(full_below, below);
    th_redis_command_function(c, TH_REDIS_FUNCTION("walk"), &provider->hub, partition);
    th_redis_command_add(c, th_str_n(below, sizeof(below)));
    th_redis_command_number(c, limit > 0 ? limit : 1);
    th_redis_command_number(c, WALK_BYTES);
    th_redis_op_submit(op);
}

/* ---- state ---- */

/* Parts that do not agree are as bad as a wrong number of rows, and no number is that large. */
static void read_state(struct th_completion *done, const redisReply *reply)
{
    long long rows;
    bool agree = th_str_to_i64(th_redis_string(reply, 2), &rows);
    done->stored_rows = agree ? (uint64_t)rows : UINT64_MAX;
}

void th_redis_state(struct th_provider *provider, uint32_t partition, uint64_t tag)
{
    struct th_redis_op *op = th_redis_op_new(provider, TH_DONE_STATE, partition, tag);
    if (op) {
        op->read = read_state;
        th_redis_command_function(&op->request.command, TH_REDIS_FUNCTION("state"), &provider->hub,
                                  partition);
        th_redis_op_submit(op);
    }
}
