#include "unit/api_fake.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

struct instance {
    char *id, *name, *version, *input, *output, *data;
    size_t output_len;
    enum th_status status;
    th_time created;
    bool purged;
};

struct job {
    struct job *next;
    uint64_t ticket;
    struct th_arena arena;
    struct th_command command;
    th_reply_fn reply;
    void *argument;
};

struct fake {
    struct th_gateway gateway;
    struct th_hub_record record;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool inside, stopping;
    struct instance **instances; /* they stay where they are; purged ones too */
    size_t count, capacity;
    struct job *jobs;
    uint64_t tickets, running;
    pthread_t runner;
    size_t submitted, canceled;
    int failures;
    enum th_code failure;
    uint32_t unowned;
    struct th_arena last_arena;
    struct th_command last_start;
};

static struct instance *find(struct fake *fake, struct th_str id)
{
    for (size_t i = 0; i < fake->count; i++) {
        struct instance *instance = fake->instances[i];
        if (!instance->purged && th_str_eq(th_str_of(instance->id), id)) {
            return instance;
        }
    }
    return NULL;
}

static void set_output(struct instance *instance, struct th_str output)
{
    free(instance->output);
    instance->output = th_str_dup(output);
    instance->output_len = output.len;
}

/* ---- replies -------------------------------------------------------------------------------- */

struct answer {
    struct th_reply reply;
    struct th_arena arena;
    struct th_hub_view view;
};

static const struct th_failure oops = {.type = {"Oops", 4}, .message = {"it \"broke\"", 10}};

static struct th_instance_info show(struct th_arena *arena, const struct instance *instance,
                                    bool payloads)
{
    struct th_instance_info info = {
        .instance_id = th_arena_str(arena, th_str_of(instance->id)),
        .execution_id = TH_STR("e1"),
        .name = th_arena_str(arena, th_str_of(instance->name)),
        .version = th_arena_str(arena, th_str_of(instance->version)),
        .status = instance->status,
        .created = instance->created,
        .updated = instance->created + TH_SECOND,
        .completed = TH_TIME_NONE,
        .scheduled = TH_TIME_NONE,
        .custom_status = TH_STR_ABSENT,
    };
    if (payloads) {
        info.input = th_arena_str(arena, th_str_of(instance->input));
        info.output = th_arena_str(
            arena, th_str_n(instance->output, instance->output ? instance->output_len : 0));
    }
    if (instance->status == TH_STATUS_FAILED) {
        info.failure = &oops;
    }
    info.has_state = instance->status == TH_STATUS_ENTITY && instance->output;
    return info;
}

static void reply_instance(struct answer *answer, const struct instance *instance, bool payloads)
{
    struct th_instance_info *info = TH_ARENA_NEW(&answer->arena, struct th_instance_info);
    *info = show(&answer->arena, instance, payloads);
    answer->reply.info = info;
    answer->reply.instance_id = info->instance_id;
}

static void fill_history(struct answer *answer, const struct instance *instance)
{
    struct th_event *events = TH_ARENA_ARRAY(&answer->arena, struct th_event, 4);
    events[0] = th_event_of(TH_EVENT_ORCHESTRATOR_STARTED, instance->created);
    events[1] = th_event_of(TH_EVENT_EXECUTION_STARTED, instance->created);
    events[1].name = th_arena_str(&answer->arena, th_str_of(instance->name));
    events[1].data = th_arena_str(&answer->arena, th_str_of(instance->input));
    events[2] = th_event_of(TH_EVENT_EXECUTION_COMPLETED, instance->created);
    events[2].id = 0;
    events[2].status = instance->status;
    events[2].data = th_arena_str(&answer->arena, th_str_of(instance->output));
    events[3] = th_event_of(TH_EVENT_ORCHESTRATOR_COMPLETED, instance->created);
    answer->reply.history = (struct th_events){.items = events, .count = 4, .capacity = 4};
}

static void start(struct fake *fake, const struct th_command *c, struct answer *answer)
{
    static atomic_int generated;
    char id[64];
    struct th_str wanted = c->instance_id;
    snprintf(id, sizeof(id), "generated-%d", generated++);
    struct instance *old = th_str_present(wanted) ? find(fake, wanted) : NULL;
    if (old && !(c->reuse & TH_STATUS_BIT(old->status))) {
        th_fail(&answer->reply.error, TH_EXISTS, "the instance id is in use");
        return;
    }
    if (old) {
        old->purged = true;
    }
    struct instance *made = TH_NEW(struct instance);
    fake->instances =
        th_grow(fake->instances, &fake->capacity, fake->count + 1, sizeof(struct instance *));
    fake->instances[fake->count++] = made;
    made->id = th_str_dup(th_str_present(wanted) ? wanted : th_str_of(id));
    made->name = th_str_dup(c->name);
    made->version = th_str_dup(c->version);
    made->input = th_str_dup(c->data);
    made->created = th_now();
    bool later = c->start_at != TH_TIME_NONE && c->start_at > th_now();
    made->status = later ? TH_STATUS_PENDING : TH_STATUS_RUNNING;
    if (th_str_eq(c->name, TH_STR("echo"))) {
        made->status = TH_STATUS_COMPLETED;
        set_output(made, c->data);
    } else if (th_str_eq(c->name, TH_STR("fail"))) {
        made->status = TH_STATUS_FAILED;
    }
    answer->reply.instance_id = th_arena_str(&answer->arena, th_str_of(made->id));
}

/* "set" makes its input the state, "lock" an entity without one, "delete" none. */
static void signal_entity(struct fake *fake, const struct th_command *c)
{
    struct instance *entity = find(fake, c->instance_id);
    if (!entity) {
        entity = TH_NEW(struct instance);
        fake->instances =
            th_grow(fake->instances, &fake->capacity, fake->count + 1, sizeof(struct instance *));
        fake->instances[fake->count++] = entity;
        entity->id = th_str_dup(c->instance_id);
        entity->name = th_str_dup(TH_STR("counter"));
        entity->created = TH_SECOND * 1000;
        entity->status = TH_STATUS_ENTITY;
    }
    entity->purged = th_str_eq(c->name, TH_STR("delete"));
    if (th_str_eq(c->name, TH_STR("set"))) {
        set_output(entity, c->data);
    }
}

static void message(struct instance *instance, const struct th_command *c, struct answer *answer)
{
    if (th_status_terminal(instance->status)) {
        th_fail(&answer->reply.error, TH_GONE, "the instance has ended");
    } else if (c->kind == TH_COMMAND_RAISE && th_str_eq(c->name, TH_STR("finish"))) {
        instance->status = TH_STATUS_COMPLETED;
        set_output(instance, c->data);
    } else if (c->kind == TH_COMMAND_TERMINATE) {
        instance->status = TH_STATUS_TERMINATED;
        set_output(instance, c->data);
    } else if (c->kind == TH_COMMAND_SUSPEND) {
        instance->status = TH_STATUS_SUSPENDED;
    } else if (c->kind == TH_COMMAND_RESUME) {
        instance->status = TH_STATUS_RUNNING;
    }
}

static void restart(struct fake *fake, struct instance *old, const struct th_command *c,
                    struct answer *answer)
{
    if (!c->new_id && !th_status_terminal(old->status)) {
        th_fail(&answer->reply.error, TH_PRECONDITION, "it has not ended");
        return;
    }
    struct th_command again = {.kind = TH_COMMAND_START,
                               .name = th_str_of(old->name),
                               .data = th_str_of(old->input),
                               .start_at = TH_TIME_NONE,
                               .reuse = TH_REUSE_TERMINAL};
    again.instance_id = c->new_id ? TH_STR_ABSENT : c->instance_id;
    start(fake, &again, answer);
}

static bool matches(const struct instance *instance, const struct th_query *q)
{
    uint32_t statuses = q->statuses ? q->statuses : TH_STATUS_ORCHESTRATIONS;
    return !instance->purged && (statuses & TH_STATUS_BIT(instance->status)) &&
           (q->from == TH_TIME_NONE || instance->created >= q->from) &&
           (q->to == TH_TIME_NONE || instance->created < q->to) &&
           (!th_str_present(q->id_prefix) || th_str_starts(th_str_of(instance->id), q->id_prefix));
}

/* The continuation is the place in the table, in bytes no header could carry. */
static void list(struct fake *fake, const struct th_query *q, struct answer *answer)
{
    size_t at = 0;
    struct th_instance_info *infos =
        TH_ARENA_ARRAY(&answer->arena, struct th_instance_info, q->limit);
    if (th_str_present(q->continuation)) {
        if (q->continuation.len != sizeof(at)) {
            th_fail(&answer->reply.error, TH_INVALID, "bad continuation");
            return;
        }
        memcpy(&at, q->continuation.data, sizeof(at));
    }
    for (; at < fake->count; at++) {
        if (!matches(fake->instances[at], q)) {
            continue;
        }
        if (answer->reply.info_count == q->limit) {
            answer->reply.continuation =
                th_str_n(th_arena_dup(&answer->arena, &at, sizeof(at)), sizeof(at));
            break;
        }
        infos[answer->reply.info_count++] = show(&answer->arena, fake->instances[at], q->payloads);
    }
    answer->reply.infos = infos;
}

static void purge_by(struct fake *fake, const struct th_query *q, struct answer *answer)
{
    for (size_t i = 0; i < fake->count; i++) {
        if (matches(fake->instances[i], q)) {
            fake->instances[i]->purged = true;
            answer->reply.count++;
        }
    }
}

static void show_hub(struct fake *fake, struct answer *answer)
{
    static const struct th_unserved unserved[] = {{TH_FUNCTION_ACTIVITY, {"lost", 4}, 3}};
    struct th_hub_partition_view *partitions =
        TH_ARENA_ARRAY(&answer->arena, struct th_hub_partition_view, fake->record.partitions);
    for (uint32_t i = 0; i < fake->record.partitions; i++) {
        partitions[i] = (struct th_hub_partition_view){.partition = i,
                                                       .owned = i >= fake->unowned,
                                                       .epoch = 7,
                                                       .inbox_position = 10,
                                                       .inbox_end = 12,
                                                       .oldest = TH_TIME_NONE};
    }
    answer->view = (struct th_hub_view){.record = fake->record,
                                        .timers = 5,
                                        .unserved = unserved,
                                        .unserved_count = 1,
                                        .partitions = partitions};
    answer->reply.hub = &answer->view;
}

static void on_instance(struct fake *fake, const struct th_command *c, struct answer *answer)
{
    struct instance *instance = find(fake, c->instance_id);
    if (!instance) {
        th_fail(&answer->reply.error, TH_NOT_FOUND, "there is no such instance");
        return;
    }
    switch (c->kind) {
    case TH_COMMAND_STATUS:
        reply_instance(answer, instance, c->payloads);
        if (c->history) {
            fill_history(answer, instance);
        }
        break;
    case TH_COMMAND_REWIND:
        if (instance->status != TH_STATUS_FAILED) {
            th_fail(&answer->reply.error, TH_PRECONDITION, "it has not failed");
        } else {
            instance->status = TH_STATUS_RUNNING;
        }
        break;
    case TH_COMMAND_RESTART:
        restart(fake, instance, c, answer);
        break;
    case TH_COMMAND_PURGE:
        if (th_status_terminal(instance->status)) {
            instance->purged = true;
            answer->reply.count = 1;
        } else {
            th_fail(&answer->reply.error, TH_PRECONDITION, "it has not ended");
        }
        break;
    default:
        message(instance, c, answer);
    }
}

static void carry_out(struct fake *fake, const struct th_command *c, struct answer *answer)
{
    if (fake->failures > 0) {
        fake->failures--;
        th_fail(&answer->reply.error, fake->failure, "the fake was told to fail");
        return;
    }
    switch (c->kind) {
    case TH_COMMAND_START:
        start(fake, c, answer);
        break;
    case TH_COMMAND_SIGNAL:
        signal_entity(fake, c);
        break;
    case TH_COMMAND_QUERY:
        list(fake, &c->query, answer);
        break;
    case TH_COMMAND_PURGE_BY:
        purge_by(fake, &c->query, answer);
        break;
    case TH_COMMAND_HUB:
        show_hub(fake, answer);
        break;
    default:
        on_instance(fake, c, answer);
    }
}

/* ---- waiting and replying ------------------------------------------------------------------- */

/* True when the job can be answered now. */
static bool ready(struct fake *fake, struct job *job, struct answer *answer)
{
    const struct th_command *c = &job->command;
    if (c->kind != TH_COMMAND_WAIT) {
        carry_out(fake, c, answer);
        return true;
    }
    struct instance *instance = find(fake, c->instance_id);
    if (instance && (th_status_terminal(instance->status) ||
                     (c->until_started && instance->status != TH_STATUS_PENDING))) {
        reply_instance(answer, instance, c->payloads);
        return true;
    }
    if (c->deadline != TH_TIME_NONE && th_now() >= c->deadline) {
        th_fail(&answer->reply.error, TH_TIMEOUT, "it has not ended in time");
        return true;
    }
    return false;
}

static void free_job(struct job *job)
{
    th_arena_deinit(&job->arena);
    free(job);
}

/* Under the mutex, which is released while the callback runs. The job is not in the list. */
static void reply_to(struct fake *fake, struct job *job, struct answer *answer)
{
    uint64_t outer = fake->running;
    pthread_t outer_runner = fake->runner;
    fake->running = job->ticket;
    fake->runner = pthread_self();
    pthread_mutex_unlock(&fake->mutex);
    job->reply(job->argument, &answer->reply);
    th_arena_deinit(&answer->arena);
    pthread_mutex_lock(&fake->mutex);
    fake->running = outer;
    fake->runner = outer_runner;
    pthread_cond_broadcast(&fake->changed);
    free_job(job);
}

static bool reply_to_one(struct fake *fake)
{
    for (struct job **at = &fake->jobs; *at; at = &(*at)->next) {
        struct answer answer = {0};
        if (ready(fake, *at, &answer)) {
            struct job *job = *at;
            *at = job->next;
            reply_to(fake, job, &answer);
            return true;
        }
    }
    return false;
}

static void *work(void *argument)
{
    struct fake *fake = argument;
    pthread_mutex_lock(&fake->mutex);
    while (!fake->stopping) {
        if (!reply_to_one(fake)) {
            th_time until = th_now() + 5 * TH_MILLISECOND; /* deadlines of WAIT */
            struct timespec deadline = {until / TH_SECOND, (until % TH_SECOND) * 1000};
            pthread_cond_clockwait(&fake->changed, &fake->mutex, CLOCK_REALTIME, &deadline);
        }
    }
    pthread_mutex_unlock(&fake->mutex);
    return NULL;
}

static struct th_command copy_command(struct th_arena *arena, const struct th_command *command)
{
    struct th_command copy = *command;
    copy.instance_id = th_arena_str(arena, command->instance_id);
    copy.name = th_arena_str(arena, command->name);
    copy.version = th_arena_str(arena, command->version);
    copy.data = th_arena_str(arena, command->data);
    copy.reason = th_arena_str(arena, command->reason);
    copy.request_id = th_arena_str(arena, command->request_id);
    copy.trace = th_arena_str(arena, command->trace);
    copy.query.id_prefix = th_arena_str(arena, command->query.id_prefix);
    copy.query.continuation = th_arena_str(arena, command->query.continuation);
    struct th_tag *tags = TH_ARENA_ARRAY(arena, struct th_tag, command->tags.count);
    for (size_t i = 0; i < command->tags.count; i++) {
        tags[i].key = th_arena_str(arena, command->tags.items[i].key);
        tags[i].value = th_arena_str(arena, command->tags.items[i].value);
    }
    copy.tags.items = tags;
    return copy;
}

static uint64_t submit(struct th_gateway *gateway, const struct th_command *command,
                       th_reply_fn reply, void *argument)
{
    struct fake *fake = (struct fake *)gateway;
    struct job *job = TH_NEW(struct job);
    job->command = copy_command(&job->arena, command);
    job->reply = reply;
    job->argument = argument;
    pthread_mutex_lock(&fake->mutex);
    uint64_t ticket = job->ticket = ++fake->tickets;
    fake->submitted++;
    if (command->kind == TH_COMMAND_START) {
        th_arena_reset(&fake->last_arena);
        fake->last_start = copy_command(&fake->last_arena, command);
    }
    struct answer answer = {0};
    if (fake->inside && ready(fake, job, &answer)) {
        reply_to(fake, job, &answer);
    } else {
        struct job **last = &fake->jobs;
        while (*last) {
            last = &(*last)->next;
        }
        *last = job;
        pthread_cond_broadcast(&fake->changed);
    }
    pthread_mutex_unlock(&fake->mutex);
    return ticket;
}

static bool cancel(struct th_gateway *gateway, uint64_t ticket)
{
    struct fake *fake = (struct fake *)gateway;
    bool found = false;
    pthread_mutex_lock(&fake->mutex);
    while (fake->running == ticket && !pthread_equal(fake->runner, pthread_self())) {
        pthread_cond_wait(&fake->changed, &fake->mutex);
    }
    for (struct job **at = &fake->jobs; *at; at = &(*at)->next) {
        if ((*at)->ticket == ticket) {
            struct job *job = *at;
            *at = job->next;
            free_job(job);
            fake->canceled++;
            found = true;
            break;
        }
    }
    pthread_cond_broadcast(&fake->changed);
    pthread_mutex_unlock(&fake->mutex);
    return found;
}

/* ---- for tests ------------------------------------------------------------------------------ */

struct fake *fake_new(const char *hub, bool inside)
{
    struct fake *fake = TH_NEW(struct fake);
    snprintf(fake->record.name, sizeof(fake->record.name), "%s", hub);
    fake->record.partitions = 2;
    fake->record.incarnation = 0xABCD;
    fake->record.created = INT64_C(1767225600) * TH_SECOND; /* 2026-01-01 */
    fake->gateway = (struct th_gateway){.submit = submit, .cancel = cancel, .hub = &fake->record};
    fake->inside = inside;
    pthread_mutex_init(&fake->mutex, NULL);
    pthread_cond_init(&fake->changed, NULL);
    if (pthread_create(&fake->thread, NULL, work, fake)) {
        abort();
    }
    return fake;
}

void fake_free(struct fake *fake)
{
    pthread_mutex_lock(&fake->mutex);
    fake->stopping = true;
    pthread_cond_broadcast(&fake->changed);
    pthread_mutex_unlock(&fake->mutex);
    pthread_join(fake->thread, NULL);
    while (fake->jobs) {
        struct job *job = fake->jobs;
        fake->jobs = job->next;
        free_job(job);
    }
    for (size_t i = 0; i < fake->count; i++) {
        struct instance *instance = fake->instances[i];
        free(instance->id);
        free(instance->name);
        free(instance->version);
        free(instance->input);
        free(instance->output);
        free(instance);
    }
    free(fake->instances);
    th_arena_deinit(&fake->last_arena);
    pthread_cond_destroy(&fake->changed);
    pthread_mutex_destroy(&fake->mutex);
    free(fake);
}

struct th_gateway *fake_gateway(struct fake *fake)
{
    return &fake->gateway;
}

void fake_fail(struct fake *fake, int count, enum th_code code)
{
    pthread_mutex_lock(&fake->mutex);
    fake->failures = count;
    fake->failure = code;
    pthread_mutex_unlock(&fake->mutex);
}

void fake_unowned(struct fake *fake, uint32_t partitions)
{
    pthread_mutex_lock(&fake->mutex);
    fake->unowned = partitions;
    pthread_mutex_unlock(&fake->mutex);
}

void fake_set(struct fake *fake, const char *id, enum th_status status, struct th_str output)
{
    pthread_mutex_lock(&fake->mutex);
    struct instance *instance = find(fake, th_str_of(id));
    instance->status = status;
    set_output(instance, output);
    pthread_cond_broadcast(&fake->changed);
    pthread_mutex_unlock(&fake->mutex);
}

static size_t read_counter(struct fake *fake, const size_t *counter)
{
    pthread_mutex_lock(&fake->mutex);
    size_t value = *counter;
    pthread_mutex_unlock(&fake->mutex);
    return value;
}

size_t fake_submitted(struct fake *fake)
{
    return read_counter(fake, &fake->submitted);
}

size_t fake_canceled(struct fake *fake)
{
    return read_counter(fake, &fake->canceled);
}

static size_t count_jobs(const struct fake *fake)
{
    size_t count = 0;
    for (const struct job *job = fake->jobs; job; job = job->next) {
        count += job->command.kind == TH_COMMAND_WAIT;
    }
    return count;
}

size_t fake_waiting(struct fake *fake)
{
    pthread_mutex_lock(&fake->mutex);
    size_t count = count_jobs(fake);
    pthread_mutex_unlock(&fake->mutex);
    return count;
}

const struct th_command *fake_last_start(struct fake *fake)
{
    return &fake->last_start;
}

bool fake_await_waiting(struct fake *fake, size_t count)
{
    th_time until = th_now() + 10 * TH_SECOND;
    struct timespec deadline = {until / TH_SECOND, (until % TH_SECOND) * 1000};
    int late = 0;
    pthread_mutex_lock(&fake->mutex);
    while (count_jobs(fake) != count && !late) {
        late = pthread_cond_clockwait(&fake->changed, &fake->mutex, CLOCK_REALTIME, &deadline);
    }
    bool reached = count_jobs(fake) == count;
    pthread_mutex_unlock(&fake->mutex);
    return reached;
}
