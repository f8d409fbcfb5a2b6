#include "coordinator/purge.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/queue.h"

#define PAGE           100
#define DEFAULT_RATE   100
#define LEAST_INTERVAL (1 * TH_SECOND)
#define MOST_INTERVAL  (60 * TH_SECOND)

struct th_purge {
    struct th_purge_policy policy;
    struct th_client *client;
    const struct th_log *log;
    pthread_t thread;
    struct th_queue wake; /* holds nothing */
    atomic_bool stopping;
    _Atomic uint64_t count;
    th_time next;      /* when the next instance may be purged; monotonic */
    bool trouble_told; /* since it last went well */
};

/* ---- the policy ------------------------------------------------------------------------------ */

static bool add_status(struct th_str word, uint32_t *out, struct th_error *error)
{
    enum th_status status;
    if (word.len == 0)
        return true;
    if (!th_status_parse(word, &status) || !(TH_STATUS_BIT(status) & TH_REUSE_TERMINAL))
        return th_fail(error, TH_INVALID,
                       "\"%.*s\" is no end of an instance; those are Completed, Failed, "
                       "Terminated and Canceled",
                       TH_PRI(word));
    *out |= TH_STATUS_BIT(status);
    return true;
}

bool th_purge_statuses(const char *text, uint32_t *out, struct th_error *error)
{
    *out = 0;
    while (text && *text) {
        size_t len = strcspn(text, ",");
        if (!add_status(th_str_n(text, len), out, error))
            return false;
        text += len;
        text += *text == ',';
    }
    return true;
}

struct th_query th_purge_query(const struct th_purge_policy *policy, th_time now)
{
    return (struct th_query){
        .statuses = policy->statuses ? policy->statuses : TH_REUSE_TERMINAL,
        .from = TH_TIME_NONE,
        .to = TH_TIME_NONE,
        .completed_from = TH_TIME_NONE,
        .completed_to = now - policy->age_ms * TH_MILLISECOND,
        .limit = PAGE,
    };
}

th_time th_purge_interval(const struct th_purge_policy *policy)
{
    th_time tenth = policy->age_ms * TH_MILLISECOND / 10;
    return tenth < LEAST_INTERVAL ? LEAST_INTERVAL : tenth > MOST_INTERVAL ? MOST_INTERVAL : tenth;
}

/* ---- a round --------------------------------------------------------------------------------- */

static bool rest_until(struct th_purge *purge, th_time monotonic)
{
    while (!purge->stopping && th_monotonic() < monotonic)
        th_queue_wait(&purge->wake, monotonic);
    return !purge->stopping;
}

static void note_trouble(struct th_purge *purge, const struct th_error *error)
{
    if (!purge->trouble_told && !purge->stopping)
        th_log(purge->log, TH_LOG_WARN, "purge", "old instances cannot be purged now: %s",
               error->message);
    purge->trouble_told = true;
}

/* Another process may have been faster, or somebody may have started it anew. */
static bool purge_one(struct th_purge *purge, struct th_str id)
{
    TH_ARENA arena = {0};
    struct th_kept reply;
    const struct th_command command = {.kind = TH_COMMAND_PURGE,
                                       .instance_id = id,
                                       .recursive = purge->policy.recursive,
                                       .start_at = TH_TIME_NONE,
                                       .deadline = TH_TIME_NONE};
    unsigned rate = purge->policy.rate ? purge->policy.rate : DEFAULT_RATE;
    if (!rest_until(purge, purge->next))
        return false;
    th_time now = th_monotonic();
    purge->next = (purge->next > now - TH_SECOND ? purge->next : now) + TH_SECOND / rate;
    if (th_client_ask(purge->client, &command, &arena, &reply)) {
        purge->count += reply.count;
        return true;
    }
    if (reply.error.code == TH_NOT_FOUND || reply.error.code == TH_PRECONDITION)
        return true;
    note_trouble(purge, &reply.error);
    return false;
}

/* False: it is over, for now. `query` goes on to the next page. */
static bool purge_page(struct th_purge *purge, struct th_query *query, struct th_arena *tokens)
{
    TH_ARENA arena = {0};
    struct th_kept reply;
    const struct th_command command = {.kind = TH_COMMAND_QUERY,
                                       .query = *query,
                                       .start_at = TH_TIME_NONE,
                                       .deadline = TH_TIME_NONE};
    if (!th_client_ask(purge->client, &command, &arena, &reply)) {
        note_trouble(purge, &reply.error);
        return false;
    }
    for (size_t i = 0; i < reply.info_count; i++)
        if (!purge_one(purge, reply.infos[i].instance_id))
            return false;
    purge->trouble_told = false;
    query->continuation = th_arena_str(tokens, reply.continuation);
    return reply.continuation.len > 0;
}

static void purge_round(struct th_purge *purge)
{
    TH_ARENA tokens = {0};
    struct th_query query = th_purge_query(&purge->policy, th_now());
    uint64_t before = purge->count;
    while (!purge->stopping && purge_page(purge, &query, &tokens))
        ;
    if (purge->count > before)
        th_log(purge->log, TH_LOG_INFO, "purge", "%" PRIu64 " instances purged by policy",
               purge->count - before);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void *thread_main(void *argument)
{
    struct th_purge *purge = argument;
    pthread_setname_np(pthread_self(), "purge");
    do
        purge_round(purge);
    while (rest_until(purge, th_monotonic() + th_purge_interval(&purge->policy)));
    return NULL;
}

struct th_purge *th_purge_start(const struct th_purge_policy *policy, struct th_client *client,
                                const struct th_log *log, struct th_error *error)
{
    struct th_purge *purge = TH_NEW(struct th_purge);
    purge->policy = *policy;
    purge->client = client;
    purge->log = log;
    th_queue_init(&purge->wake);
    if (pthread_create(&purge->thread, NULL, thread_main, purge) == 0)
        return purge;
    th_fail(error, TH_INTERNAL, "no thread can be started");
    th_queue_deinit(&purge->wake);
    free(purge);
    return NULL;
}

void th_purge_stop(struct th_purge *purge)
{
    if (!purge)
        return;
    purge->stopping = true;
    th_queue_wake(&purge->wake);
    pthread_join(purge->thread, NULL);
    th_queue_deinit(&purge->wake);
    free(purge);
}

uint64_t th_purge_count(const struct th_purge *purge)
{
    return purge ? purge->count : 0;
}
