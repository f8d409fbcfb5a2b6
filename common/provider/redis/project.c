/* project: batches of rows. The request is made on the node's thread, which has the rows at hand:
 * they are copied once, into what is sent. */
#include "provider/redis/internal.h"

/* At maxmemory Redis refuses functions that may need more of it. Batches that put no row call the
 * same one by another name, under which it is accepted: they may be what makes room. */
static const char *function_for(const struct th_projection *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        if (!batch->rows[i].deleted) {
            return TH_REDIS_FUNCTION("project");
        }
    }
    return TH_REDIS_FUNCTION("shrink");
}

static void add_marks(struct th_redis_command *c, const struct th_projection *batch)
{
    char mark[TH_REDIS_MARK];
    th_redis_mark_write(&batch->previous, mark);
    th_redis_command_add(c, th_str_n(mark, TH_REDIS_MARK_EQUAL));
    th_redis_mark_write(&batch->next, mark);
    th_redis_command_add(c, th_str_n(mark, TH_REDIS_MARK));
}

void th_redis_project(struct th_provider *provider, const struct th_projection *batch, uint64_t tag)
{
    struct th_redis_op *op = th_redis_op_new(provider, TH_DONE_PROJECT, batch->partition, tag);
    if (!op) {
        return;
    }
    struct th_redis_command *c = &op->request.command;
    TH_BUFFER channel = {0};
    th_redis_news_channel(&channel, &provider->hub, batch->partition);
    th_redis_command_function(c, function_for(batch), &provider->hub, batch->partition);
    th_redis_command_add(c, th_buffer_view(&channel));
    add_marks(c, batch);
    th_redis_command_text(c, batch->clear ? "1" : "0");
    for (size_t i = 0; i < batch->count; i++) {
        th_redis_row_write(c, &batch->rows[i]);
    }
    th_redis_op_submit(op);
}
