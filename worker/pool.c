/*
 * Waking threads is what costs: a wake is a system call and a context switch, an activity may be
 * shorter than both. So at most one wake is under way at a time. The thread that arrives takes an
 * item and, when more are queued and others sleep, wakes the next before it runs the application's
 * code. A burst of short activities is worked off by the few threads that are already awake, while
 * long ones spread over all threads one wake after the other. Idle threads form a stack: the last
 * to fall asleep is the first to be woken, its memory still in the caches.
 *
 * Everything in struct th_pool is guarded by its mutex, which is held for a few instructions and
 * never around the application's code or the `done` hook.
 */
#include "worker/pool.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

enum item_state { QUEUED, RUNNING, EXPIRED, WITHDRAWN };

struct limit {
    char *name;
    unsigned max, running;
    struct item *first, **last; /* waiting for the limit */
};

/* One attempt; `result` comes first so that the receiver frees the whole. */
struct item {
    struct th_pool_result result;
    struct item *next;      /* in a queue */
    struct item *same_hash; /* in the table of tokens */
    struct limit *limit;    /* or NULL */
    struct th_counter *counter;
    th_time began; /* monotonic */
    enum item_state state;
    int32_t task_id;
    _Atomic bool canceled;
    _Atomic int64_t alive; /* monotonic: start or last heartbeat */
    struct th_str instance_id, execution_id, name, version, input;
    struct th_tags tags;
    _Alignas(struct th_tag) char bytes[]; /* what these point to */
};

struct worker {
    struct th_pool *pool;
    struct worker *next;      /* all of the pool's */
    struct worker *next_idle; /* the stack of sleepers */
    pthread_cond_t wake;
    bool woken;
    bool lost;
    struct item *item; /* under way */
    struct th_flight_slot *slot;
};

struct th_pool {
    struct th_pool_options options;
    pthread_mutex_t mutex;
    pthread_cond_t ended; /* a worker ended */
    struct item *first, **last;
    struct item **table; /* by token; a power of two */
    size_t table_size, items;
    struct worker *workers, *idle;
    struct limit *limits;
    size_t running, handing; /* attempts under way; results on their way to the receiver */
    th_time began_sum;       /* of those under way, to know how long they have run */
    th_time mean;            /* of recent attempts; TH_TIME_NONE: there was none */
    unsigned alive;          /* threads that have not ended, lost ones included */
    unsigned lost;
    bool wake_under_way, draining, told_exhausted;
};

/* ---- items ----------------------------------------------------------------------------------- */

static struct th_str append(char **at, struct th_str s)
{
    if (!th_str_present(s))
        return s;
    struct th_str copy = {*at, s.len};
    if (s.len)
        memcpy(*at, s.data, s.len);
    *at += s.len;
    return copy;
}

static size_t bytes_of(const struct th_activity_work *work)
{
    size_t bytes = work->instance_id.len + work->execution_id.len + work->name.len +
                   work->version.len + work->input.len + work->tags.count * sizeof(struct th_tag);
    for (size_t i = 0; i < work->tags.count; i++)
        bytes += work->tags.items[i].key.len + work->tags.items[i].value.len;
    return bytes;
}

static struct th_tags append_tags(char **at, struct th_tags tags)
{
    struct th_tag *items = (struct th_tag *)(void *)*at;
    if (tags.count == 0)
        return (struct th_tags){.items = NULL};
    *at += tags.count * sizeof *items;
    for (size_t i = 0; i < tags.count; i++) {
        items[i].key = append(at, tags.items[i].key);
        items[i].value = append(at, tags.items[i].value);
    }
    return (struct th_tags){.items = items, .count = tags.count};
}

static struct item *item_new(const struct th_activity_work *work)
{
    struct item *item = th_alloc(sizeof *item + bytes_of(work));
    char *at = item->bytes;
    item->tags = append_tags(&at, work->tags);
    item->result.token = work->token;
    item->task_id = work->task_id;
    item->instance_id = append(&at, work->instance_id);
    item->execution_id = append(&at, work->execution_id);
    item->name = append(&at, work->name);
    item->version = append(&at, work->version);
    item->input = append(&at, work->input);
    return item;
}

void th_pool_result_free(struct th_pool_result *result)
{
    th_activity_result_deinit(&result->activity);
    free(result);
}

static void item_free(struct item *item)
{
    th_pool_result_free(&item->result);
}

/* ---- the table of tokens --------------------------------------------------------------------- */

static struct item **bucket(struct th_pool *pool, uint64_t token)
{
    return &pool->table[(token * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (pool->table_size - 1)];
}

static void table_link(struct th_pool *pool, struct item *item)
{
    struct item **head = bucket(pool, item->result.token);
    item->same_hash = *head;
    *head = item;
}

static void table_grow(struct th_pool *pool)
{
    struct item **old = pool->table;
    size_t old_size = pool->table_size;
    pool->table_size = old_size ? old_size * 2 : 64;
    pool->table = th_alloc(pool->table_size * sizeof(struct item *));
    for (size_t i = 0; i < old_size; i++) {
        for (struct item *item = old[i], *next; item; item = next) {
            next = item->same_hash;
            table_link(pool, item);
        }
    }
    free(old);
}

static void table_add(struct th_pool *pool, struct item *item)
{
    if (pool->items >= pool->table_size)
        table_grow(pool);
    pool->items++;
    table_link(pool, item);
}

static struct item *table_find(struct th_pool *pool, uint64_t token)
{
    struct item *item = *bucket(pool, token);
    while (item && item->result.token != token)
        item = item->same_hash;
    return item;
}

static void table_remove(struct th_pool *pool, struct item *item)
{
    struct item **at = bucket(pool, item->result.token);
    while (*at != item)
        at = &(*at)->same_hash;
    *at = item->same_hash;
    pool->items--;
}

/* ---- queue and limits ------------------------------------------------------------------------ */

static void enqueue(struct th_pool *pool, struct item *item)
{
    item->next = NULL;
    *pool->last = item;
    pool->last = &item->next;
}

static struct item *dequeue(struct th_pool *pool)
{
    struct item *item = pool->first;
    if (!item)
        return NULL;
    pool->first = item->next;
    if (!pool->first)
        pool->last = &pool->first;
    return item;
}

static void discard(struct th_pool *pool, struct item *item)
{
    if (item->state != WITHDRAWN) {
        table_remove(pool, item);
        th_counter_drop(item->counter);
    }
    item_free(item);
}

/* Puts the item beside the queue when its function has as many attempts as it may; else counts
 * it in. */
static bool within_limit(struct item *item)
{
    struct limit *limit = item->limit;
    if (!limit)
        return true;
    if (limit->running < limit->max) {
        limit->running++;
        return true;
    }
    item->next = NULL;
    *limit->last = item;
    limit->last = &item->next;
    return false;
}

/* While there is room, the next one that waited for the limit goes to the head of the queue. */
static void promote(struct th_pool *pool, struct limit *limit)
{
    if (!limit || limit->running >= limit->max)
        return;
    struct item *item = limit->first;
    if (!item)
        return;
    limit->first = item->next;
    if (!limit->first)
        limit->last = &limit->first;
    item->next = pool->first;
    if (!pool->first)
        pool->last = &item->next;
    pool->first = item;
}

static void release_limit(struct th_pool *pool, struct limit *limit)
{
    if (limit)
        limit->running--;
    promote(pool, limit);
}

static struct item *next_item(struct th_pool *pool)
{
    struct item *item;
    while ((item = dequeue(pool))) {
        bool wanted = !item->canceled && item->state != WITHDRAWN;
        if (wanted && within_limit(item))
            return item;
        if (!wanted) {
            promote(pool, item->limit); /* it may have come here in another one's place */
            discard(pool, item);
        }
    }
    return NULL;
}

static struct limit *find_limit(struct th_pool *pool, struct th_str name)
{
    for (size_t i = 0; i < pool->options.limit_count; i++)
        if (th_str_eq_nocase(name, th_str_of(pool->limits[i].name)))
            return &pool->limits[i];
    return NULL;
}

/* ---- threads --------------------------------------------------------------------------------- */

static void wake_one(struct th_pool *pool)
{
    struct worker *worker = pool->idle;
    if (!worker || pool->wake_under_way || !pool->first)
        return;
    pool->idle = worker->next_idle;
    pool->wake_under_way = true;
    worker->woken = true;
    pthread_cond_signal(&worker->wake);
}

static void sleep_until_woken(struct worker *self)
{
    struct th_pool *pool = self->pool;
    self->next_idle = pool->idle;
    pool->idle = self;
    while (!self->woken)
        pthread_cond_wait(&self->wake, &pool->mutex);
    self->woken = false;
    pool->wake_under_way = false;
}

static bool is_canceled(void *argument)
{
    struct item *item = argument;
    return item->canceled;
}

static void on_beat(void *argument)
{
    struct item *item = argument;
    item->alive = th_monotonic();
}

static void fail_unknown(const struct th_app *app, struct item *item)
{
    struct th_activity_result *result = &item->result.activity;
    TH_AUTOFREE char *names = app ? th_app_activity_names(app) : NULL;
    result->failed = true;
    result->non_retriable = true;
    result->failure_type = th_str_dup(TH_STR("FunctionNotFound"));
    if (asprintf(&result->failure_message,
                 "no activity named \"%.*s\" is registered; there are: %s", TH_PRI(item->name),
                 names && *names ? names : "none") < 0)
        result->failure_message = NULL;
}

static void run_item(struct worker *self, struct item *item)
{
    const struct th_pool_options *options = &self->pool->options;
    if (!options->app || !th_app_activity(options->app, item->name)) {
        fail_unknown(options->app, item);
        return;
    }
    struct th_activity_call call = {
        .instance_id = item->instance_id,
        .execution_id = item->execution_id,
        .name = item->name,
        .version = item->version,
        .input = item->input,
        .task_id = item->task_id,
        .tags = item->tags,
        .log = options->log,
        .canceled = is_canceled,
        .beat = on_beat,
        .argument = item,
    };
    th_flight_begin(self->slot, item->instance_id, item->task_id, item->name, item->alive);
    th_activity_run(options->app, &call, &item->result.activity);
    th_flight_end(self->slot);
}

/* Mutex held. The last sixteen attempts or so count. */
static void note_duration(struct th_pool *pool, th_time took)
{
    pool->mean = pool->mean == TH_TIME_NONE ? took : pool->mean + (took - pool->mean) / 16;
}

/* Mutex held. Takes the item off the books; false: it had expired, its result is void. */
static bool finish(struct worker *self, struct item *item)
{
    struct th_pool *pool = self->pool;
    th_time took = th_monotonic() - item->began;
    self->item = NULL;
    if (item->state == EXPIRED)
        return false;
    pool->running--;
    pool->began_sum -= item->began;
    pool->handing++;
    note_duration(pool, took);
    th_counter_end(item->counter, took, item->result.activity.failed);
    table_remove(pool, item);
    release_limit(pool, item->limit);
    return true;
}

/* Mutex held on entry and exit. Waits for work; NULL: the pool is at its end. */
static struct item *take(struct worker *self)
{
    struct th_pool *pool = self->pool;
    struct item *item;
    while (!(item = next_item(pool))) {
        if (pool->draining)
            return NULL;
        sleep_until_woken(self);
    }
    item->state = RUNNING;
    item->alive = item->began = th_monotonic();
    self->item = item;
    pool->running++;
    pool->began_sum += item->began;
    th_counter_begin(item->counter, true);
    wake_one(pool);
    return item;
}

/* Mutex held on entry and exit. */
static void work(struct worker *self)
{
    struct th_pool *pool = self->pool;
    struct item *item;
    while (!self->lost && (item = take(self))) {
        pthread_mutex_unlock(&pool->mutex);
        run_item(self, item);
        pthread_mutex_lock(&pool->mutex);
        bool valid = finish(self, item);
        pthread_mutex_unlock(&pool->mutex);
        if (valid)
            pool->options.done(pool->options.argument, &item->result);
        else
            item_free(item);
        pthread_mutex_lock(&pool->mutex);
        pool->handing -= valid;
    }
}

static void worker_unlink(struct worker *self)
{
    struct worker **at = &self->pool->workers;
    while (*at != self)
        at = &(*at)->next;
    *at = self->next;
    pthread_cond_destroy(&self->wake);
    free(self);
}

static void *thread_main(void *argument)
{
    struct worker *self = argument;
    struct th_pool *pool = self->pool;
    pthread_setname_np(pthread_self(), "activity");
    self->slot = th_flight_join(pool->options.flight);
    pthread_mutex_lock(&pool->mutex);
    work(self);
    th_flight_leave(pool->options.flight, self->slot);
    if (self->lost)
        pool->lost--;
    worker_unlink(self);
    pool->alive--;
    /* The last touch of the pool: whoever waits in th_pool_free may free it after the unlock. */
    pthread_cond_signal(&pool->ended);
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

/* Mutex held. */
static bool spawn(struct th_pool *pool, struct th_error *error)
{
    struct worker *worker = TH_NEW(struct worker);
    worker->pool = pool;
    worker->next = pool->workers;
    pool->workers = worker;
    pthread_cond_init(&worker->wake, NULL);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    int result = pthread_create(&thread, &attributes, thread_main, worker);
    pthread_attr_destroy(&attributes);
    if (result != 0) {
        worker_unlink(worker);
        return th_fail(error, TH_INTERNAL, "cannot start an activity thread: %s", strerror(result));
    }
    pool->alive++;
    return true;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void copy_limits(struct th_pool *pool)
{
    size_t count = pool->options.limit_count;
    pool->limits = th_alloc(count * sizeof *pool->limits + 1);
    for (size_t i = 0; i < count; i++) {
        struct limit *limit = &pool->limits[i];
        limit->name = th_str_dup(pool->options.limits[i].name);
        limit->max = pool->options.limits[i].max;
        limit->last = &limit->first;
    }
    pool->options.limits = NULL;
}

struct th_pool *th_pool_new(const struct th_pool_options *options, struct th_error *error)
{
    struct th_pool *pool = TH_NEW(struct th_pool);
    pool->options = *options;
    pool->last = &pool->first;
    pool->mean = TH_TIME_NONE;
    if (pool->options.threads == 0)
        pool->options.threads = 1;
    if (pool->options.max_lost == 0)
        pool->options.max_lost = pool->options.threads;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->ended, &clock);
    pthread_condattr_destroy(&clock);
    copy_limits(pool);
    table_grow(pool);
    pthread_mutex_lock(&pool->mutex);
    bool ok = true;
    for (unsigned i = 0; ok && i < pool->options.threads; i++)
        ok = spawn(pool, error);
    pthread_mutex_unlock(&pool->mutex);
    if (!ok) {
        th_pool_free(pool, TH_TIME_NONE);
        return NULL;
    }
    return pool;
}

void th_pool_submit(struct th_pool *pool, const struct th_activity_work *work)
{
    struct item *item = item_new(work);
    pthread_mutex_lock(&pool->mutex);
    if (pool->draining) {
        item_free(item);
    } else {
        item->limit = find_limit(pool, item->name);
        item->counter = th_counters_find(pool->options.counters, TH_FUNCTION_ACTIVITY, item->name);
        th_counter_wait(item->counter);
        table_add(pool, item);
        enqueue(pool, item);
        wake_one(pool);
    }
    pthread_mutex_unlock(&pool->mutex);
}

void th_pool_cancel(struct th_pool *pool, uint64_t token)
{
    pthread_mutex_lock(&pool->mutex);
    struct item *item = table_find(pool, token);
    if (item)
        item->canceled = true;
    pthread_mutex_unlock(&pool->mutex);
}

/* It stays in its list, where nobody looks for it: whoever comes upon it frees it. */
bool th_pool_withdraw(struct th_pool *pool, uint64_t token)
{
    pthread_mutex_lock(&pool->mutex);
    struct item *item = table_find(pool, token);
    bool waits = item && item->state == QUEUED;
    if (waits) {
        table_remove(pool, item);
        th_counter_drop(item->counter);
        item->state = WITHDRAWN;
    }
    pthread_mutex_unlock(&pool->mutex);
    return waits;
}

static void drop_list(struct th_pool *pool, struct item *item)
{
    for (struct item *next; item; item = next) {
        next = item->next;
        discard(pool, item);
    }
}

static void drain(struct th_pool *pool)
{
    pool->draining = true;
    drop_list(pool, pool->first);
    pool->first = NULL;
    pool->last = &pool->first;
    for (size_t i = 0; i < pool->options.limit_count; i++) {
        drop_list(pool, pool->limits[i].first);
        pool->limits[i].first = NULL;
        pool->limits[i].last = &pool->limits[i].first;
    }
    for (struct worker *worker = pool->idle; worker; worker = worker->next_idle) {
        worker->woken = true;
        pthread_cond_signal(&worker->wake);
    }
    pool->idle = NULL;
}

void th_pool_drain(struct th_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    drain(pool);
    pthread_mutex_unlock(&pool->mutex);
}

size_t th_pool_running(struct th_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    size_t running = pool->running + pool->handing;
    pthread_mutex_unlock(&pool->mutex);
    return running;
}

void th_pool_get_load(struct th_pool *pool, struct th_pool_load *out)
{
    th_time now = th_monotonic();
    pthread_mutex_lock(&pool->mutex);
    *out = (struct th_pool_load){
        .threads = pool->options.threads,
        .running = pool->running,
        .waiting = pool->items - pool->running,
        .mean = pool->mean,
        .elapsed = (th_time)pool->running * now - pool->began_sum,
    };
    pthread_mutex_unlock(&pool->mutex);
}

size_t th_pool_waiting(struct th_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    size_t waiting = pool->items - pool->running;
    pthread_mutex_unlock(&pool->mutex);
    return waiting;
}

static bool wait_for_end(struct th_pool *pool, th_time deadline)
{
    while (pool->alive > 0) {
        if (deadline == TH_TIME_NONE) {
            pthread_cond_wait(&pool->ended, &pool->mutex);
            continue;
        }
        struct timespec until = {.tv_sec = deadline / TH_SECOND,
                                 .tv_nsec = deadline % TH_SECOND * 1000};
        if (pthread_cond_timedwait(&pool->ended, &pool->mutex, &until) == ETIMEDOUT)
            return pool->alive == 0;
    }
    return true;
}

bool th_pool_free(struct th_pool *pool, th_time deadline)
{
    if (!pool)
        return true;
    pthread_mutex_lock(&pool->mutex);
    drain(pool);
    bool ended = wait_for_end(pool, deadline);
    pthread_mutex_unlock(&pool->mutex);
    if (!ended)
        return false;
    for (size_t i = 0; i < pool->options.limit_count; i++)
        free(pool->limits[i].name);
    free(pool->limits);
    free(pool->table);
    pthread_cond_destroy(&pool->ended);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
    return true;
}

/* ---- time-outs ------------------------------------------------------------------------------- */

static struct th_pool_result *timeout_result(const struct th_pool *pool, const struct item *item)
{
    struct th_pool_result *result = TH_NEW(struct th_pool_result);
    result->token = item->result.token;
    result->activity.failed = true;
    result->activity.failure_type = th_str_dup(TH_STR("ActivityTimeout"));
    if (asprintf(&result->activity.failure_message,
                 "activity \"%.*s\" ran longer than the function timeout of %lld ms without a "
                 "heartbeat",
                 TH_PRI(item->name), (long long)pool->options.timeout_ms) < 0)
        result->activity.failure_message = NULL;
    return result;
}

/* Mutex held. The worker keeps the item; everyone else forgets it. */
static struct th_pool_result *expire(struct th_pool *pool, struct worker *worker)
{
    struct item *item = worker->item;
    struct th_pool_result *result = timeout_result(pool, item);
    item->state = EXPIRED;
    item->canceled = true; /* so that a heartbeat tells it to give up */
    table_remove(pool, item);
    release_limit(pool, item->limit);
    pool->running--;
    pool->began_sum -= item->began;
    th_counter_end(item->counter, th_monotonic() - item->began, true);
    worker->lost = true;
    pool->lost++;
    wake_one(pool);
    return result;
}

static bool is_late(const struct th_pool *pool, const struct worker *worker, th_time now)
{
    return worker->item && !worker->lost &&
           worker->item->alive + pool->options.timeout_ms * TH_MILLISECOND < now;
}

/* Mutex held. The first late worker's result, or NULL. */
static struct th_pool_result *expire_next(struct th_pool *pool, th_time now)
{
    for (struct worker *worker = pool->workers; worker; worker = worker->next)
        if (is_late(pool, worker, now))
            return expire(pool, worker);
    return NULL;
}

/* Mutex held. Replaces a lost thread within the bound; true: say once that there are too many. */
static bool replace_lost(struct th_pool *pool)
{
    struct th_error error = {.code = TH_OK};
    if (pool->draining)
        return false;
    if (pool->lost <= pool->options.max_lost) {
        if (!spawn(pool, &error))
            th_log(pool->options.log, TH_LOG_ERROR, "worker.pool", "%s", error.message);
        return false;
    }
    bool first = !pool->told_exhausted;
    pool->told_exhausted = true;
    return first;
}

void th_pool_watch(struct th_pool *pool, th_time now)
{
    if (pool->options.timeout_ms <= 0)
        return;
    for (;;) {
        pthread_mutex_lock(&pool->mutex);
        struct th_pool_result *result = expire_next(pool, now);
        bool exhausted = result && replace_lost(pool);
        unsigned lost = pool->lost;
        pthread_mutex_unlock(&pool->mutex);
        if (!result)
            return;
        th_log(pool->options.log, TH_LOG_WARN, "worker.pool", "%s; %u threads are lost to such",
               result->activity.failure_message, lost);
        pool->options.done(pool->options.argument, result);
        if (exhausted && pool->options.exhausted)
            pool->options.exhausted(pool->options.argument,
                                    "too many activities ran into the function timeout and still "
                                    "hold their threads");
    }
}
