/*
 * client_hub: RPCs about hubs. One that is served exists, and is not taken away from those who use
 * it: deleting it, or making it anew, empties it. That is three passes, each over what was there
 * when it came by: what runs is terminated, what has ended is purged, and the entities go.
 */
#include "rpc/exchange.h"

static enum th_rpc_step look(struct th_rpc_exchange *x, struct th_str continuation)
{
    const uint32_t open = TH_STATUS_ORCHESTRATIONS & ~TH_REUSE_TERMINAL;
    x->command = (struct th_command){.query = th_rpc_query(RPC_ROWS_MAX)};
    x->command.query.statuses = x->purged ? TH_STATUS_BIT(TH_STATUS_ENTITY) : open;
    x->command.query.continuation = th_arena_str(&x->arena, continuation);
    return th_rpc_submit(x, TH_COMMAND_QUERY);
}

static enum th_rpc_step purge_ended(struct th_rpc_exchange *x)
{
    x->command = (struct th_command){.query = th_rpc_query(RPC_ROWS_MAX)};
    x->command.query.statuses = TH_REUSE_TERMINAL;
    return th_rpc_submit(x, TH_COMMAND_PURGE_BY);
}

static enum th_rpc_step respond(struct th_rpc_exchange *x)
{
    static const CreateTaskHubResponse created = CREATE_TASK_HUB_RESPONSE__INIT;
    return th_rpc_respond(x, &created.base); /* without fields, as that of DeleteTaskHub */
}

/* Ends, or purges, what the last page had; then the next page, or the next pass. */
static enum th_rpc_step go_on(struct th_rpc_exchange *x)
{
    if (x->id_count > 0) {
        x->command = (struct th_command){.instance_id = th_str_of(x->ids[--x->id_count])};
        return th_rpc_submit(x, x->purged ? TH_COMMAND_PURGE : TH_COMMAND_TERMINATE);
    }
    if (x->next_page.len > 0) {
        return look(x, x->next_page);
    }
    return x->purged ? respond(x) : purge_ended(x);
}

static void take_page(struct th_rpc_exchange *x, const struct th_reply *reply)
{
    x->ids = TH_ARENA_ARRAY(&x->arena, char *, reply->info_count);
    for (size_t i = 0; i < reply->info_count; i++) {
        x->ids[x->id_count++] = th_rpc_text(&x->arena, reply->infos[i].instance_id);
    }
    x->next_page = th_arena_str(&x->arena, reply->continuation);
}

enum th_rpc_step th_rpc_ask_delete_task_hub(struct th_rpc_exchange *x)
{
    return look(x, TH_STR_ABSENT);
}

/* What somebody else ended or purged in the meantime needs it no more. */
static bool is_done(const struct th_rpc_exchange *x, enum th_code code)
{
    switch (x->command.kind) {
    case TH_COMMAND_TERMINATE:
        return code == TH_OK || code == TH_NOT_FOUND || code == TH_GONE;
    case TH_COMMAND_PURGE:
        return code == TH_OK || code == TH_NOT_FOUND;
    default:
        return code == TH_OK;
    }
}

enum th_rpc_step th_rpc_answer_delete_task_hub(struct th_rpc_exchange *x,
                                               const struct th_reply *reply)
{
    if (!is_done(x, reply->error.code)) {
        return th_rpc_fail(x, &reply->error);
    }
    if (x->command.kind == TH_COMMAND_PURGE_BY) {
        x->purged = true;
        return look(x, TH_STR_ABSENT);
    }
    if (x->command.kind == TH_COMMAND_QUERY) {
        take_page(x, reply);
    }
    return go_on(x);
}

enum th_rpc_step th_rpc_ask_create_task_hub(struct th_rpc_exchange *x)
{
    const CreateTaskHubRequest *r = x->request;
    return r->recreate_if_exists ? look(x, TH_STR_ABSENT) : respond(x);
}

enum th_rpc_step th_rpc_answer_create_task_hub(struct th_rpc_exchange *x,
                                               const struct th_reply *reply)
{
    return th_rpc_answer_delete_task_hub(x, reply);
}
