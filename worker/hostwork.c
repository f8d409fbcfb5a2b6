/*
 * Who runs what. The application's functions run here, in the pool and the executor, or where a
 * runner has them; what it does not have, programs do that are connected over RPC.
 */
#include "worker/hostinternal.h"

static bool is_own(const struct th_host *host, enum th_function_kind kind, struct th_str name)
{
    return th_app_has(host->options.app, kind, name);
}

bool host_runs_elsewhere(const struct th_host *host, enum th_function_kind kind, struct th_str name)
{
    return host->options.rpc && !is_own(host, kind, name);
}

void host_activity(struct th_host *host, const struct th_activity_work *work)
{
    if (host_runs_elsewhere(host, TH_FUNCTION_ACTIVITY, work->name))
        th_rpc_activity(host->options.rpc, &host->rpc, work);
    else if (host_has_runner(host))
        host->runner.activity(host->runner.argument, work);
    else
        th_pool_submit(host->pool, work);
}

void host_activity_canceled(struct th_host *host, uint64_t token)
{
    if (host->options.rpc)
        th_rpc_activity_canceled(host->options.rpc, &host->rpc, token);
    if (host_has_runner(host))
        host->runner.cancel(host->runner.argument, token);
    else
        th_pool_cancel(host->pool, token);
}

bool host_withdraw(struct th_host *host, uint64_t token)
{
    return (host->pool && th_pool_withdraw(host->pool, token)) ||
           (host->options.rpc && th_rpc_withdraw(host->options.rpc, &host->rpc, token));
}

enum th_executor_result host_orchestrate(struct th_host *host, const struct th_episode *episode,
                                         struct th_arena *arena, struct th_actions *out)
{
    if (host_runs_elsewhere(host, th_function_kind_of(episode->instance_id), episode->name))
        return th_rpc_orchestrate(host->options.rpc, &host->rpc, episode, arena, out);
    if (host_has_runner(host))
        return host->runner.orchestrate(host->runner.argument, episode, arena, out);
    return th_executor_run(host->executor, episode, arena, out);
}

void host_forget(struct th_host *host, struct th_str instance_id)
{
    if (host_has_runner(host))
        host->runner.forget(host->runner.argument, instance_id);
    else if (host->executor)
        th_executor_forget(host->executor, instance_id);
}

void host_episode_canceled(struct th_host *host, uint64_t episode)
{
    th_rpc_episode_canceled(host->options.rpc, &host->rpc, episode);
}

bool host_serves(const struct th_host *host, enum th_function_kind kind, struct th_str name,
                 struct th_str version)
{
    return is_own(host, kind, name) ||
           (host->options.rpc && th_rpc_serves(host->options.rpc, kind, name, version));
}

size_t host_running(struct th_host *host)
{
    size_t here = host->pool              ? th_pool_running(host->pool)
                  : host_has_runner(host) ? host->runner.running(host->runner.argument)
                                          : 0;
    return here + (host->options.rpc ? th_rpc_under_way(host->options.rpc, &host->rpc) : 0);
}
