#include "unit/engine_bench.h"

const struct th_parent bench_parent = {
    .instance_id = {"papa", 4}, .execution_id = {"pe1", 3}, .name = {"Papa", 4}, .task_id = 7};

static bool take(void *argument, enum th_pending_kind kind, int32_t id, uint64_t scheduled)
{
    struct bench *b = argument;
    bool *waits = kind == TH_PENDING_TASK && id == 1     ? &b->waits_task
                  : kind == TH_PENDING_CHILD && id == 2  ? &b->waits_child
                  : kind == TH_PENDING_TIMER && id == 3  ? &b->waits_timer
                  : kind == TH_PENDING_ENTITY && id == 4 ? &b->waits_entity
                                                         : NULL;
    const bool taken = waits && *waits;

    if (taken)
        *waits = false;
    return taken;
}

static bool child(void *argument, size_t index, struct th_str *id)
{
    const struct bench *b = argument;

    *id = TH_STR("kid");
    return b->waits_child && index == 0;
}

void bench_init(struct bench *b, enum bench_state state)
{
    static const enum th_status statuses[] = {
        [AT_NONE] = TH_STATUS_RUNNING,          [AT_PENDING] = TH_STATUS_PENDING,
        [AT_RUNNING] = TH_STATUS_RUNNING,       [AT_SUSPENDED] = TH_STATUS_SUSPENDED,
        [AT_COMPLETED] = TH_STATUS_COMPLETED,   [AT_FAILED] = TH_STATUS_FAILED,
        [AT_TERMINATED] = TH_STATUS_TERMINATED, [AT_STARTING] = TH_STATUS_RUNNING};

    *b = (struct bench){.waits_task = true, .waits_child = true, .waits_timer = true};
    b->info = (struct th_instance_info){.instance_id = TH_STR("i"),
                                        .status = statuses[state],
                                        .created = THEN,
                                        .updated = THEN,
                                        .completed = TH_TIME_NONE,
                                        .scheduled = TH_TIME_NONE};
    if (state != AT_NONE) {
        b->info.name = TH_STR("F");
        b->info.version = TH_STR("1");
        b->info.request_id = TH_STR("r0");
        b->info.input = TH_STR("\"in\"");
        b->info.parent = &bench_parent;
        b->info.execution_id = state == AT_PENDING ? TH_STR_ABSENT : TH_STR("e1");
        b->info.starting = state == AT_STARTING;
    }
    b->in = (struct th_engine_in){.info = &b->info,
                                  .pending = {.argument = b, .take = take, .child = child},
                                  .now = NOW,
                                  .new_execution_id = TH_STR("e2"),
                                  .next_execution_id = TH_STR("e3")};
}

void bench_deinit(struct bench *b)
{
    th_arena_deinit(&b->arena);
}

struct th_message *bench_add(struct bench *b, enum th_event_kind kind)
{
    struct th_message *m = &b->messages[b->count];

    *m = (struct th_message){.instance_id = TH_STR("i"),
                             .origin = {.partition = TH_FROM_CLIENT},
                             .event = th_event_of(kind, THEN)};
    b->offers[b->count++] = (struct th_offer){.message = m};
    return m;
}

struct th_message *bench_answer(struct bench *b, enum th_event_kind kind, int32_t related_id)
{
    struct th_message *m = bench_add(b, kind);

    m->execution_id = TH_STR("e1");
    m->event.related_id = related_id;
    return m;
}

struct th_message *bench_start(struct bench *b, const char *name)
{
    struct th_message *m = bench_add(b, TH_EVENT_EXECUTION_STARTED);

    m->request_id = TH_STR("r1");
    m->event.name = th_str_of(name);
    return m;
}

enum th_begin bench_begin(struct bench *b)
{
    b->out = (struct th_outcome){0};
    return b->begin = th_engine_begin(&b->in, b->offers, b->count, &b->arena, &b->out);
}

struct th_action *bench_action(struct bench *b, enum th_action_kind kind, int32_t id)
{
    return th_actions_add(&b->actions, &b->arena, kind, id);
}

void bench_finish(struct bench *b)
{
    th_engine_finish(&b->in, b->begin == TH_BEGIN_RUN ? &b->actions : NULL, &b->arena, &b->out);
}

void expect_events(const struct th_events *events, const char *expected)
{
    TH_BUFFER text = {0};

    for (size_t n = 0; n < events->count; n++)
        th_buffer_format(&text, "%s%s", n ? " " : "", th_event_kind_text(events->items[n].kind));
    th_buffer_add(&text, "", 1);
    assert_string_equal(text.data, expected);
}

const struct th_message *sent(const struct bench *b, const char *id, enum th_event_kind kind)
{
    const struct th_message *found = NULL;

    for (size_t n = 0; n < b->out.outgoing_count; n++) {
        const struct th_message *m = &b->out.outgoing[n].message;
        if (m->event.kind != kind || !th_str_eq(m->instance_id, th_str_of(id)))
            continue;
        assert_null(found);
        found = m;
    }
    if (!found)
        fail_msg("no %s was sent to %s", th_event_kind_text(kind), id);
    return found;
}

struct th_instance_info folded(const struct bench *b)
{
    struct th_instance_info info = b->info;

    for (size_t n = 0; n < b->out.past.count; n++)
        th_info_apply(&info, &b->out.past.items[n]);
    for (size_t n = 0; n < b->out.fresh.count; n++)
        th_info_apply(&info, &b->out.fresh.items[n]);
    for (size_t n = 0; n < b->out.produced.count; n++)
        th_info_apply(&info, &b->out.produced.items[n]);
    return info;
}
