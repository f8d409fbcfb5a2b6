/*
 * Answers of programs that are connected over RPC, as errands to the node's thread.
 */
#include "worker/hostinternal.h"

#include <stdlib.h>

/* An episode's end, or an activity's. */
struct answer {
    struct errand errand;
    struct th_arena arena; /* has what the rest points to */
    uint64_t episode;
    struct th_actions actions;
    struct th_activity_answer activity;
};

static void answer_drop(struct errand *errand)
{
    struct answer *answer = (struct answer *)errand;
    th_arena_deinit(&answer->arena);
    free(answer);
}

static void send_answer(struct th_host *host, struct th_arena *arena, struct answer answer,
                        void (*carry_out)(struct th_host *, struct errand *, th_time))
{
    answer.errand = (struct errand){.carry_out = carry_out, .drop = answer_drop};
    if (arena)
        th_arena_adopt(&answer.arena, arena);
    struct answer *copy = th_memdup(&answer, sizeof answer);
    host_send_errand(host, &copy->errand);
}

/* ---- episodes -------------------------------------------------------------------------------- */

static void ran_carry_out(struct th_host *host, struct errand *errand, th_time now)
{
    struct answer *answer = (struct answer *)errand;
    struct th_arena *arena = th_node_away_arena(host->node, answer->episode);
    if (arena) {
        th_arena_adopt(arena, &answer->arena);
        th_node_away_ran(host->node, answer->episode, &answer->actions, now);
    }
    answer_drop(errand);
}

static void on_ran(void *argument, uint64_t episode, struct th_arena *arena,
                   const struct th_actions *actions)
{
    send_answer(argument, arena, (struct answer){.episode = episode, .actions = *actions},
                ran_carry_out);
}

static void back_carry_out(struct th_host *host, struct errand *errand, th_time now)
{
    th_node_away_back(host->node, ((struct answer *)errand)->episode, now);
    answer_drop(errand);
}

static void on_back(void *argument, uint64_t episode)
{
    send_answer(argument, NULL, (struct answer){.episode = episode}, back_carry_out);
}

/* ---- activities ------------------------------------------------------------------------------ */

static void done_carry_out(struct th_host *host, struct errand *errand, th_time now)
{
    struct answer *answer = (struct answer *)errand;
    if (answer->activity.token & RUN_TOKEN)
        host_enter_run_result(host, &answer->activity, now);
    else
        th_node_activity_done(host->node, &answer->activity, now);
    answer_drop(errand);
}

static void on_done(void *argument, struct th_arena *arena,
                    const struct th_activity_answer *activity)
{
    send_answer(argument, arena, (struct answer){.activity = *activity}, done_carry_out);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void served_carry_out(struct th_host *host, struct errand *errand, th_time now)
{
    th_node_served(host->node, now);
    answer_drop(errand);
}

static void on_served(void *argument)
{
    send_answer(argument, NULL, (struct answer){.episode = 0}, served_carry_out);
}

void host_rpc_join(struct th_host *host)
{
    host->rpc = (struct th_rpc_owner){
        .argument = host, .ran = on_ran, .back = on_back, .done = on_done, .served = on_served};
    th_rpc_join(host->options.rpc, &host->rpc);
}

void host_rpc_leave(struct th_host *host)
{
    th_rpc_leave(host->options.rpc, &host->rpc);
}
