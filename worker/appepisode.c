/*
 * Everything here runs on the node's thread. It waits for the answer, as for an executor of its
 * own, but at most for the episode limit; whoever exceeds it is killed and named.
 */
#include "worker/appinternal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/socket.h>

#include "base/memory.h"

#define READ_BYTES       65536
#define DEFAULT_LIMIT_MS 10000

/* ---- episodes: the node's thread ------------------------------------------------------------- */

enum exchange { EXCHANGE_DONE, EXCHANGE_GONE, EXCHANGE_LATE, EXCHANGE_BROKEN };

void th_appproc_taken_up(void *argument)
{
    struct th_appproc *proc = argument;
    pthread_mutex_lock(&proc->lock);
    int episodes = proc->next_episodes, pidfd = proc->next_pidfd;
    proc->next_episodes = proc->next_pidfd = -1;
    pthread_mutex_unlock(&proc->lock);
    if (episodes < 0)
        return;
    th_appproc_close(&proc->node_episodes);
    th_appproc_close(&proc->node_pidfd);
    th_wire_deinit(&proc->node_wire);
    proc->node_episodes = episodes;
    proc->node_pidfd = pidfd;
}

/* Until the channel is ready. GONE only when nothing is left to be read. */
static enum exchange await(struct th_appproc *proc, short events, th_time deadline)
{
    struct pollfd fds[] = {{.fd = proc->node_episodes, .events = events},
                           {.fd = proc->node_pidfd, .events = POLLIN}};
    for (;;) {
        int wait = -1;
        if (deadline != TH_TIME_NONE) {
            th_time left = deadline - th_monotonic();
            wait = left <= 0 ? 0 : (int)(left / TH_MILLISECOND) + 1;
        }
        int n = poll(fds, 2, wait);
        if (n < 0 && errno == EINTR)
            continue;
        if (fds[0].revents & events)
            return EXCHANGE_DONE;
        return n == 0 ? EXCHANGE_LATE : EXCHANGE_GONE;
    }
}

static enum exchange send_all(struct th_appproc *proc, struct th_str bytes, th_time deadline)
{
    for (size_t at = 0; at < bytes.len;) {
        ssize_t n =
            send(proc->node_episodes, bytes.data + at, bytes.len - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0) {
            at += (size_t)n;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR)
            return EXCHANGE_GONE;
        enum exchange state = await(proc, POLLOUT, deadline);
        if (state != EXCHANGE_DONE)
            return state;
    }
    return EXCHANGE_DONE;
}

static enum exchange receive_one(struct th_appproc *proc, struct th_str *frame, th_time deadline)
{
    struct th_wire *wire = &proc->node_wire;
    for (;;) {
        enum th_wire_next next = th_wire_next(wire, frame);
        if (next != TH_WIRE_MORE)
            return next == TH_WIRE_FRAME ? EXCHANGE_DONE : EXCHANGE_BROKEN;
        enum exchange state = await(proc, POLLIN, deadline);
        if (state != EXCHANGE_DONE)
            return state;
        char *room = th_wire_room(wire, READ_BYTES);
        ssize_t n = recv(proc->node_episodes, room, READ_BYTES, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return EXCHANGE_GONE;
        wire->bytes.len += n > 0 ? (size_t)n : 0;
    }
}

static th_time limit_of(const struct th_appproc *proc)
{
    int64_t limit = proc->settings.episode_limit_ms;
    limit = limit == 0 ? DEFAULT_LIMIT_MS : limit;
    return limit < 0 ? TH_TIME_NONE : limit * TH_MILLISECOND;
}

/* The process is lost to the node. Whoever is to blame is told with the other culprits, before the
 * next process is up. */
static void lose(struct th_appproc *proc, struct th_str instance_id, const char *reason)
{
    if (reason) {
        pthread_mutex_lock(&proc->lock);
        free(proc->suspect.instance_id);
        proc->suspect.instance_id = th_str_dup(instance_id);
        snprintf(proc->suspect.reason, sizeof proc->suspect.reason, "%s", reason);
        pthread_mutex_unlock(&proc->lock);
        if (proc->node_pidfd >= 0)
            pidfd_send_signal(proc->node_pidfd, SIGKILL, NULL, 0);
    }
    th_appproc_close(&proc->node_episodes);
    th_appproc_close(&proc->node_pidfd);
}

static enum th_executor_result refuse_size(bool entity, struct th_arena *arena,
                                           struct th_actions *out)
{
    const struct th_failure failure = {
        .type = TH_STR("PayloadTooLarge"),
        .message =
            th_arena_format(arena, "the %s too large to be handed to the application's process",
                            entity ? "state and the operations are" : "history is"),
        .non_retriable = true,
    };
    th_actions_fail(out, arena, entity, &failure);
    return TH_EXECUTOR_DONE;
}

/* The frame is copied: the actions must live as long as the arena. */
static bool read_actions(struct th_str frame, struct th_arena *arena, struct th_error *error,
                         enum th_executor_result *result, struct th_actions *out)
{
    struct th_reader in;
    enum th_frame_kind kind;
    struct th_str copy = th_str_n(th_arena_dup(arena, frame.data, frame.len), frame.len);
    if (!th_wire_open(copy, arena, error, &in, &kind))
        return false;
    if (kind != TH_FRAME_ACTIONS)
        return th_fail(error, TH_CORRUPT, "a frame of kind %d instead of actions", (int)kind);
    return th_get_actions(&in, result, out);
}

enum th_executor_result th_appproc_orchestrate(void *argument, const struct th_episode *episode,
                                               struct th_arena *arena, struct th_actions *out)
{
    struct th_appproc *proc = argument;
    enum th_executor_result result = TH_EXECUTOR_CRASHED;
    struct th_str frame = TH_STR_ABSENT;
    struct th_error error = {.code = TH_OK};
    char reason[160];
    if (proc->node_episodes < 0)
        return TH_EXECUTOR_CRASHED;
    proc->node_out.len = 0;
    size_t begin = th_wire_begin(&proc->node_out, TH_FRAME_EPISODE);
    th_put_episode(&proc->node_out, episode);
    if (!th_wire_end(&proc->node_out, begin))
        return refuse_size(episode->entity, arena, out);
    th_time limit = limit_of(proc);
    th_time deadline = limit == TH_TIME_NONE ? TH_TIME_NONE : th_monotonic() + limit;
    enum exchange state = send_all(proc, th_buffer_view(&proc->node_out), deadline);
    if (state == EXCHANGE_DONE)
        state = receive_one(proc, &frame, deadline);
    if (state == EXCHANGE_DONE && read_actions(frame, arena, &error, &result, out))
        return result;
    if (state == EXCHANGE_GONE) {
        lose(proc, episode->instance_id, NULL);
    } else if (state == EXCHANGE_LATE) {
        snprintf(reason, sizeof reason,
                 "did not come back within %lld ms (an %s must not block or spin)",
                 (long long)(limit / TH_MILLISECOND), episode->entity ? "entity" : "orchestrator");
        lose(proc, episode->instance_id, reason);
    } else {
        snprintf(reason, sizeof reason, "left the process with an answer nobody can read: %.100s",
                 error.message);
        lose(proc, episode->instance_id, reason);
    }
    *out = (struct th_actions){.items = NULL};
    return TH_EXECUTOR_CRASHED;
}

void th_appproc_forget(void *argument, struct th_str instance_id)
{
    struct th_appproc *proc = argument;
    if (proc->node_episodes < 0)
        return;
    proc->node_out.len = 0;
    size_t begin = th_wire_begin(&proc->node_out, TH_FRAME_FORGET);
    th_put_text(&proc->node_out, instance_id);
    th_wire_end(&proc->node_out, begin);
    th_time limit = limit_of(proc);
    th_time deadline = limit == TH_TIME_NONE ? TH_TIME_NONE : th_monotonic() + limit;
    if (send_all(proc, th_buffer_view(&proc->node_out), deadline) != EXCHANGE_DONE)
        lose(proc, instance_id, NULL); /* the next episode finds nobody; the manager, too */
}
