/* What hub and application say to each other: what is written is read again, whatever it is; what
 * was not written by us is refused; frames come out of any cut of the bytes. */
#include "unit/base_test.h"

#include "base/memory.h"
#include "unit/model_sample.h"
#include "worker/wire.h"

enum { ROUNDS = 500 };

#define SAME(x, y) assert_true(th_str_eq((x), (y)) && th_str_present(x) == th_str_present(y))

/* Opens the one frame in `out`. */
static struct th_reader open_frame(const struct th_buffer *out, struct th_arena *arena,
                                   enum th_frame_kind wanted)
{
    struct th_wire wire = {.bytes = *out};
    struct th_str frame;
    struct th_reader in;
    enum th_frame_kind kind;
    assert_int_equal(th_wire_next(&wire, &frame), TH_WIRE_FRAME);
    assert_true(th_wire_open(frame, arena, NULL, &in, &kind));
    assert_int_equal(kind, wanted);
    return in;
}

static void assert_same_event(const struct th_event *a, const struct th_event *b)
{
    assert_true(th_event_equal(a, b));
}

static struct th_pairs any_pairs(struct th_random *random, struct th_arena *arena)
{
    struct th_pairs pairs = {.items = NULL};
    for (uint64_t n = th_random_below(random, 5); n > 0; n--)
        th_pairs_add(&pairs, arena, TH_STR("name"), TH_STR("value"));
    return pairs;
}

static void assert_same_pairs(const struct th_pairs *a, const struct th_pairs *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        SAME(a->items[i].name, b->items[i].name);
        SAME(a->items[i].value, b->items[i].value);
    }
}

/* ---- round trips ----------------------------------------------------------------------------- */

static void activities_come_back(void **state)
{
    struct th_random random;
    th_random_seed(&random, 1);
    for (int i = 0; i < ROUNDS; i++) {
        TH_ARENA arena = {0};
        TH_BUFFER out = {0};
        struct th_event event = sample_event(&random, &arena);
        struct th_activity_work work = {.token = th_random_next(&random),
                                        .task_id = event.id,
                                        .instance_id = event.instance_id,
                                        .execution_id = event.execution_id,
                                        .name = event.name,
                                        .version = event.version,
                                        .input = event.data,
                                        .tags = event.tags};
        struct th_activity_work back;
        size_t begin = th_wire_begin(&out, TH_FRAME_ACTIVITY);
        th_put_activity(&out, &work);
        assert_true(th_wire_end(&out, begin));
        struct th_reader in = open_frame(&out, &arena, TH_FRAME_ACTIVITY);
        assert_true(th_get_activity(&in, &back));
        assert_true(back.token == work.token && back.task_id == work.task_id);
        SAME(back.instance_id, work.instance_id);
        SAME(back.execution_id, work.execution_id);
        SAME(back.name, work.name);
        SAME(back.version, work.version);
        SAME(back.input, work.input);
        assert_int_equal(back.tags.count, work.tags.count);
    }
}

static const struct th_event *any_request(struct th_random *random, struct th_arena *arena)
{
    static const enum th_event_kind kinds[] = {TH_EVENT_ENTITY_CALLED, TH_EVENT_ENTITY_SIGNALED,
                                               TH_EVENT_ENTITY_LOCK_REQUESTED,
                                               TH_EVENT_ENTITY_UNLOCK_SENT};
    const struct th_event event = sample_event(random, arena);
    struct th_event *request = TH_ARENA_NEW(arena, struct th_event);
    *request = th_event_of(kinds[th_random_below(random, TH_COUNT(kinds))], TH_TIME_NONE);
    request->instance_id = event.instance_id;
    request->name = event.name;
    request->data = event.data;
    request->request_id = event.request_id;
    request->fire_at = event.fire_at;
    request->lock_set = event.lock_set;
    return request;
}

static struct th_action any_action(struct th_random *random, struct th_arena *arena)
{
    static const enum th_action_kind kinds[] = {
        TH_ACTION_SCHEDULE_TASK, TH_ACTION_CREATE_CHILD, TH_ACTION_CREATE_TIMER,
        TH_ACTION_SEND_EVENT,    TH_ACTION_COMPLETE,     TH_ACTION_TERMINATE,
        TH_ACTION_ENTITY,        TH_ACTION_SIGNAL,       TH_ACTION_START};
    struct th_event event = sample_event(random, arena);
    struct th_action action = {
        .kind = kinds[th_random_below(random, TH_COUNT(kinds))],
        .id = event.id,
        .status = event.status,
        .recurse = event.recurse,
        .fire_at = event.fire_at,
        .name = event.name,
        .version = event.version,
        .data = event.data,
        .instance_id = event.instance_id,
        .failure = event.failure,
        .tags = event.tags,
    };
    action.carryover_count = th_random_below(random, 3);
    struct th_event *carried = TH_ARENA_ARRAY(arena, struct th_event, action.carryover_count);
    for (size_t i = 0; i < action.carryover_count; i++) {
        carried[i] = sample_event(random, arena);
        carried[i].kind = TH_EVENT_EVENT_RAISED;
    }
    action.carryover = carried;
    if (action.kind == TH_ACTION_ENTITY)
        action.entity = any_request(random, arena);
    if (action.kind == TH_ACTION_SIGNAL)
        action.instance_id = TH_STR("@counter@k");
    if (action.kind == TH_ACTION_START)
        action.name = TH_STR("audit");
    return action;
}

/* An action as the event that has the same fields. */
static struct th_event as_event(const struct th_action *action)
{
    struct th_event event = th_event_of(TH_EVENT_GENERIC, 0);
    event.id = action->id;
    event.status = action->status;
    event.recurse = action->recurse;
    event.fire_at = action->fire_at;
    event.name = action->name;
    event.version = action->version;
    event.data = action->data;
    event.instance_id = action->instance_id;
    event.failure = action->failure;
    event.tags = action->tags;
    return event;
}

static void assert_same_action(const struct th_action *a, const struct th_action *b)
{
    struct th_event left = as_event(a), right = as_event(b);
    assert_int_equal(a->kind, b->kind);
    assert_same_event(&left, &right);
    assert_int_equal(a->carryover_count, b->carryover_count);
    for (size_t i = 0; i < a->carryover_count; i++)
        assert_same_event(&a->carryover[i], &b->carryover[i]);
    assert_int_equal(a->entity != NULL, b->entity != NULL);
    if (a->entity)
        assert_same_event(a->entity, b->entity);
}

static void assert_same_failure(const struct th_failure *a, const struct th_failure *b)
{
    struct th_event left = th_event_of(TH_EVENT_GENERIC, 0), right = left;
    left.failure = a;
    right.failure = b;
    assert_same_event(&left, &right);
}

/* Results, state, and a failure of all, any of which may be missing. */
static void add_answer(struct th_random *random, struct th_arena *arena, struct th_actions *out)
{
    const struct th_event event = sample_event(random, arena);
    size_t count = th_random_below(random, 4);
    struct th_operation_result *results = TH_ARENA_ARRAY(arena, struct th_operation_result, count);
    for (size_t i = 0; i < count; i++) {
        const struct th_event one = sample_event(random, arena);
        results[i] = (struct th_operation_result){.data = one.data, .failure = one.failure};
    }
    out->results = results;
    out->result_count = count;
    out->state = event.data;
    out->failure = event.failure;
}

static void assert_same_answer(const struct th_actions *a, const struct th_actions *b)
{
    assert_int_equal(a->result_count, b->result_count);
    for (size_t i = 0; i < a->result_count; i++) {
        SAME(a->results[i].data, b->results[i].data);
        assert_same_failure(a->results[i].failure, b->results[i].failure);
    }
    SAME(a->state, b->state);
    assert_same_failure(a->failure, b->failure);
}

static void actions_come_back(void **state)
{
    struct th_random random;
    th_random_seed(&random, 2);
    for (int i = 0; i < ROUNDS; i++) {
        TH_ARENA arena = {0};
        TH_BUFFER out = {0};
        struct th_actions actions = {.has_custom_status = i % 2, .custom_status = TH_STR("")};
        struct th_actions back;
        enum th_executor_result result;
        for (uint64_t n = th_random_below(&random, 8); n > 0; n--) {
            struct th_action action = any_action(&random, &arena);
            *th_actions_add(&actions, &arena, action.kind, action.id) = action;
        }
        if (i % 3)
            add_answer(&random, &arena, &actions);
        size_t begin = th_wire_begin(&out, TH_FRAME_ACTIONS);
        th_put_actions(&out, TH_EXECUTOR_NEEDS_HISTORY, &actions);
        assert_true(th_wire_end(&out, begin));
        struct th_reader in = open_frame(&out, &arena, TH_FRAME_ACTIONS);
        assert_true(th_get_actions(&in, &result, &back));
        assert_int_equal(result, TH_EXECUTOR_NEEDS_HISTORY);
        assert_int_equal(back.has_custom_status, actions.has_custom_status);
        SAME(back.custom_status, actions.custom_status);
        assert_int_equal(back.count, actions.count);
        for (size_t n = 0; n < back.count; n++)
            assert_same_action(&actions.items[n], &back.items[n]);
        assert_same_answer(&actions, &back);
    }
}

static void episodes_come_back(void **state)
{
    struct th_random random;
    th_random_seed(&random, 3);
    struct th_events past = {0}, fresh = {0};
    for (int i = 0; i < ROUNDS; i++) {
        TH_ARENA arena = {0};
        TH_BUFFER out = {0};
        struct th_event events[] = {sample_event(&random, &arena), sample_event(&random, &arena),
                                    sample_event(&random, &arena)};
        struct th_episode episode = {.instance_id = TH_STR("i"),
                                     .execution_id = TH_STR("e"),
                                     .past_loaded = i % 2,
                                     .past = i % 2 ? events : NULL,
                                     .past_count = 2,
                                     .fresh = events + 1,
                                     .fresh_count = 2,
                                     .entity = i % 3 == 0,
                                     .state = events[0].data};
        struct th_episode back;
        size_t begin = th_wire_begin(&out, TH_FRAME_EPISODE);
        th_put_episode(&out, &episode);
        assert_true(th_wire_end(&out, begin));
        struct th_reader in = open_frame(&out, &arena, TH_FRAME_EPISODE);
        assert_true(th_get_episode(&in, &back, &past, &fresh));
        SAME(back.instance_id, episode.instance_id);
        SAME(back.execution_id, episode.execution_id);
        assert_int_equal(back.past_loaded, episode.past_loaded);
        assert_int_equal(back.past_count, 2);
        assert_int_equal(back.fresh_count, 2);
        assert_int_equal(back.entity, episode.entity);
        SAME(back.state, episode.state);
        for (size_t n = 0; n < 2; n++) {
            assert_same_event(&back.fresh[n], &events[n + 1]);
            if (back.past_loaded)
                assert_same_event(&back.past[n], &events[n]);
        }
    }
    th_events_deinit(&past);
    th_events_deinit(&fresh);
}

static void names_come_back(void **state)
{
    TH_ARENA arena = {0};
    TH_BUFFER out = {0};
    struct th_str orchestrators[] = {TH_STR("a"), TH_STR("b")}, entities[] = {TH_STR("counter")};
    struct th_hello hello = {.version = TH_STR("1"),
                             .orchestrators = orchestrators,
                             .orchestrator_count = 2,
                             .entities = entities,
                             .entity_count = 1};
    struct th_hello back;
    size_t begin = th_wire_begin(&out, TH_FRAME_HELLO);
    th_put_hello(&out, &hello);
    assert_true(th_wire_end(&out, begin));
    struct th_reader in = open_frame(&out, &arena, TH_FRAME_HELLO);
    assert_true(th_get_hello(&in, &back));
    SAME(back.version, hello.version);
    assert_false(th_str_present(back.error));
    assert_int_equal(back.orchestrator_count, 2);
    SAME(back.orchestrators[1], orchestrators[1]);
    assert_int_equal(back.activity_count, 0);
    assert_int_equal(back.entity_count, 1);
    SAME(back.entities[0], entities[0]);
}

static void commands_come_back(void **state)
{
    struct th_random random;
    th_random_seed(&random, 4);
    for (int i = 0; i < ROUNDS; i++) {
        TH_ARENA arena = {0};
        TH_BUFFER out = {0};
        struct th_event event = sample_event(&random, &arena);
        struct th_command command = {.kind = (enum th_command_kind)(i % (TH_COMMAND_QUERY + 1)),
                                     .instance_id = event.instance_id,
                                     .name = event.name,
                                     .data = event.data,
                                     .reason = event.reason,
                                     .request_id = event.trace,
                                     .start_at = event.fire_at,
                                     .deadline = TH_TIME_NONE,
                                     .tags = event.tags,
                                     .reuse = TH_REUSE_ANY,
                                     .recursive = i % 2,
                                     .payloads = i % 3 == 0,
                                     .query = {.statuses = 7,
                                               .from = 1,
                                               .to = 2,
                                               .limit = 3,
                                               .payloads = i % 5 == 0,
                                               .continuation = event.data}};
        struct th_command back;
        uint64_t number = 0;
        size_t begin = th_wire_begin(&out, TH_FRAME_COMMAND);
        th_put_command(&out, 77, &command);
        assert_true(th_wire_end(&out, begin));
        struct th_reader in = open_frame(&out, &arena, TH_FRAME_COMMAND);
        assert_true(th_get_command(&in, &number, &back));
        assert_int_equal(number, 77);
        assert_int_equal(back.kind, command.kind);
        SAME(back.instance_id, command.instance_id);
        SAME(back.name, command.name);
        SAME(back.version, command.version);
        SAME(back.data, command.data);
        SAME(back.reason, command.reason);
        SAME(back.request_id, command.request_id);
        assert_true(back.start_at == command.start_at && back.deadline == command.deadline);
        assert_true(back.reuse == command.reuse && back.recursive == command.recursive);
        assert_true(back.payloads == command.payloads && back.query.statuses == 7);
        assert_true(back.query.from == 1 && back.query.to == 2 && back.query.limit == 3);
        assert_int_equal(back.query.payloads, command.query.payloads);
        SAME(back.query.continuation, command.query.continuation);
        assert_int_equal(back.tags.count, command.tags.count);
    }
}

static void replies_come_back(void **state)
{
    TH_ARENA arena = {0};
    TH_BUFFER out = {0};
    struct th_instance_info info = {.instance_id = TH_STR("i"),
                                    .name = TH_STR("n"),
                                    .status = TH_STATUS_FAILED,
                                    .created = 5,
                                    .updated = 6,
                                    .completed = TH_TIME_NONE,
                                    .scheduled = TH_TIME_NONE,
                                    .input = TH_STR("1"),
                                    .output = TH_STR("2")};
    struct th_instance_info room;
    struct th_reply reply = {.instance_id = TH_STR("i"), .info = &info, .count = 9}, back;
    uint64_t number = 0;
    th_fail(&reply.error, TH_GONE, "over");
    size_t begin = th_wire_begin(&out, TH_FRAME_REPLY);
    th_put_reply(&out, 3, &reply);
    assert_true(th_wire_end(&out, begin));
    struct th_reader in = open_frame(&out, &arena, TH_FRAME_REPLY);
    assert_true(th_get_reply(&in, &number, &back, &room));
    assert_int_equal(number, 3);
    assert_int_equal(back.error.code, TH_GONE);
    assert_string_equal(back.error.message, "over");
    assert_int_equal(back.count, 9);
    SAME(back.info->input, info.input);
    SAME(back.info->output, info.output);
    assert_int_equal(back.info->status, TH_STATUS_FAILED);
}

static void pages_come_back(void **state)
{
    TH_ARENA arena = {0};
    TH_BUFFER out = {0};
    struct th_instance_info infos[2] = {
        {.instance_id = TH_STR("@a@1"), .status = TH_STATUS_ENTITY, .has_state = true},
        {.instance_id = TH_STR("@a@2"), .status = TH_STATUS_ENTITY, .output = TH_STR("2")}};
    struct th_instance_info room;
    struct th_reply reply = {.infos = infos, .info_count = 2, .continuation = TH_STR("more")}, back;
    uint64_t number = 0;
    size_t begin = th_wire_begin(&out, TH_FRAME_REPLY);
    th_put_reply(&out, 3, &reply);
    assert_true(th_wire_end(&out, begin));
    struct th_reader in = open_frame(&out, &arena, TH_FRAME_REPLY);
    assert_true(th_get_reply(&in, &number, &back, &room));
    assert_null(back.info);
    assert_int_equal(back.info_count, 2);
    SAME(back.infos[1].instance_id, infos[1].instance_id);
    SAME(back.infos[1].output, infos[1].output);
    assert_true(back.infos[0].has_state && !back.infos[1].has_state);
    assert_false(th_str_present(back.infos[0].output));
    SAME(back.continuation, reply.continuation);
}

static void requests_and_answers_come_back(void **state)
{
    struct th_random random;
    th_random_seed(&random, 5);
    for (int i = 0; i < ROUNDS; i++) {
        TH_ARENA arena = {0};
        TH_BUFFER out = {0};
        struct th_wire_request request = {.number = 4,
                                          .cron = i % 2,
                                          .route = TH_STR("r"),
                                          .body = sample_str(&random, &arena),
                                          .headers = any_pairs(&random, &arena),
                                          .params = any_pairs(&random, &arena)};
        struct th_wire_request asked;
        size_t begin = th_wire_begin(&out, TH_FRAME_REQUEST);
        th_put_request(&out, &request);
        assert_true(th_wire_end(&out, begin));
        struct th_reader in = open_frame(&out, &arena, TH_FRAME_REQUEST);
        assert_true(th_get_request(&in, &asked));
        assert_int_equal(asked.number, 4);
        SAME(asked.route, request.route);
        SAME(asked.key, TH_STR_ABSENT);
        SAME(asked.body, request.body);
        assert_same_pairs(&asked.headers, &request.headers);
        assert_same_pairs(&asked.params, &request.params);

        struct th_wire_answer answer = {.number = 4,
                                        .verdict = -1,
                                        .status = 404,
                                        .file = i % 2,
                                        .headers = request.headers,
                                        .body = request.body};
        struct th_wire_answer told;
        out.len = 0;
        begin = th_wire_begin(&out, TH_FRAME_ANSWER);
        th_put_answer(&out, &answer);
        assert_true(th_wire_end(&out, begin));
        in = open_frame(&out, &arena, TH_FRAME_ANSWER);
        assert_true(th_get_answer(&in, &told));
        assert_true(told.verdict == -1 && told.status == 404 && told.file == answer.file);
        SAME(told.body, answer.body);
        assert_same_pairs(&told.headers, &answer.headers);
    }
}

/* ---- frames ---------------------------------------------------------------------------------- */

static void put_token(struct th_buffer *out, uint64_t token)
{
    size_t begin = th_wire_begin(out, TH_FRAME_CANCEL);
    th_put_number(out, token);
    assert_true(th_wire_end(out, begin));
}

static void feed(struct th_wire *wire, const char *bytes, size_t len)
{
    memcpy(th_wire_room(wire, len), bytes, len);
    wire->bytes.len += len;
}

static void frames_survive_any_cut(void **state)
{
    TH_BUFFER out = {0};
    for (uint64_t n = 0; n < 40; n++)
        put_token(&out, n * n * n * n);
    for (size_t step = 1; step < 20; step++) {
        struct th_wire wire = {.at = 0};
        uint64_t next = 0, token;
        for (size_t at = 0; at < out.len; at += step) {
            struct th_str frame;
            feed(&wire, out.data + at, out.len - at < step ? out.len - at : step);
            while (th_wire_next(&wire, &frame) == TH_WIRE_FRAME) {
                struct th_reader in;
                enum th_frame_kind kind;
                assert_true(th_wire_open(frame, NULL, NULL, &in, &kind));
                assert_true(th_get_number(&in, &token));
                assert_true(token == next * next * next * next);
                next++;
            }
        }
        assert_int_equal(next, 40);
        th_wire_deinit(&wire);
    }
}

static void impossible_lengths_are_broken(void **state)
{
    const char none[] = {0, 0, 0, 0}, huge[] = {1, 0, 0, 0x10};
    struct th_wire wire = {.at = 0};
    struct th_str frame;
    feed(&wire, none, sizeof none);
    assert_int_equal(th_wire_next(&wire, &frame), TH_WIRE_BROKEN);
    th_wire_deinit(&wire);
    feed(&wire, huge, sizeof huge); /* one byte above the limit, which is 256 MiB */
    assert_int_equal(th_wire_next(&wire, &frame), TH_WIRE_BROKEN);
    th_wire_deinit(&wire);
}

static void a_frame_above_the_limit_is_taken_back(void **state)
{
    TH_BUFFER out = {0};
    put_token(&out, 5);
    size_t before = out.len;
    size_t begin = th_wire_begin(&out, TH_FRAME_FORGET);
    th_buffer_reserve(&out, TH_WIRE_MAX + 64u);
    memset(out.data + out.len, 0, TH_WIRE_MAX);
    out.len += TH_WIRE_MAX;
    assert_false(th_wire_end(&out, begin));
    assert_int_equal(out.len, before);
}

/* ---- garbage --------------------------------------------------------------------------------- */

static void a_byte_too_many_or_too_few_is_refused(void **state)
{
    TH_ARENA arena = {0};
    TH_BUFFER out = {0};
    struct th_wire_result result = {.token = 1, .data = TH_STR("[1]")}, back;
    size_t begin = th_wire_begin(&out, TH_FRAME_RESULT);
    th_put_result(&out, &result);
    assert_true(th_wire_end(&out, begin));
    for (size_t len = 1; len <= out.len - 4 + 1; len++) {
        TH_AUTOFREE char *cut = th_alloc(len);
        struct th_error error = {.code = TH_OK};
        struct th_reader in;
        enum th_frame_kind kind;
        memcpy(cut, out.data + 4, len < out.len - 4 ? len : out.len - 4);
        bool ok = th_wire_open(th_str_n(cut, len), &arena, &error, &in, &kind) &&
                  th_get_result(&in, &back);
        assert_int_equal(ok, len == out.len - 4);
        assert_int_equal(ok ? TH_OK : TH_CORRUPT, error.code);
    }
}

static void unknown_kinds_and_values_are_refused(void **state)
{
    TH_ARENA arena = {0};
    TH_BUFFER out = {0};
    struct th_reader in;
    enum th_frame_kind kind;
    enum th_executor_result result;
    struct th_actions actions;
    struct th_command command;
    struct th_wire_answer answer;
    uint64_t number;
    th_write_u64(&out, TH_FRAME_LAST + 1);
    assert_false(th_wire_open(th_buffer_view(&out), &arena, NULL, &in, &kind));

    out.len = 0; /* a process cannot say that it crashed */
    th_put_actions(&out, TH_EXECUTOR_CRASHED, &(struct th_actions){.items = NULL});
    in = th_reader_of(th_buffer_view(&out), &arena, NULL);
    assert_false(th_get_actions(&in, &result, &actions));

    const struct th_event raised = th_event_of(TH_EVENT_EVENT_RAISED, 0);
    struct th_action bad[] = {
        {.kind = (enum th_action_kind)9},                             /* no action */
        {.kind = (enum th_action_kind)19},                            /* no action, either */
        {.kind = TH_ACTION_ENTITY, .entity = &raised},                /* no request */
        {.kind = TH_ACTION_SIGNAL, .instance_id = TH_STR("counter")}, /* to no entity */
        {.kind = TH_ACTION_SIGNAL},
        {.kind = TH_ACTION_START, .instance_id = TH_STR("i")}, /* of what? */
    };
    for (size_t i = 0; i < TH_COUNT(bad); i++) {
        out.len = 0;
        th_put_actions(&out, TH_EXECUTOR_DONE, &(struct th_actions){.items = &bad[i], .count = 1});
        in = th_reader_of(th_buffer_view(&out), &arena, NULL);
        assert_false(th_get_actions(&in, &result, &actions));
    }

    out.len = 0; /* nor manage the hub */
    th_put_command(&out, 1, &(struct th_command){.kind = TH_COMMAND_HUB});
    in = th_reader_of(th_buffer_view(&out), &arena, NULL);
    assert_false(th_get_command(&in, &number, &command));

    for (uint32_t limit = 0; limit <= 1001; limit += 1001) { /* pages are bounded */
        out.len = 0;
        th_put_command(&out, 1,
                       &(struct th_command){.kind = TH_COMMAND_QUERY, .query = {.limit = limit}});
        in = th_reader_of(th_buffer_view(&out), &arena, NULL);
        assert_false(th_get_command(&in, &number, &command));
    }

    out.len = 0;
    th_put_answer(&out, &(struct th_wire_answer){.status = 100});
    in = th_reader_of(th_buffer_view(&out), &arena, NULL);
    assert_false(th_get_answer(&in, &answer));
}

static void a_false_count_costs_nothing(void **state)
{
    TH_ARENA arena = {0};
    TH_BUFFER out = {0};
    enum th_executor_result result;
    struct th_actions actions;
    th_write_u64(&out, TH_EXECUTOR_DONE);
    th_write_bool(&out, false);
    th_write_nil(&out);
    th_write_array(&out, UINT32_MAX);
    struct th_reader in = th_reader_of(th_buffer_view(&out), &arena, NULL);
    assert_false(th_get_actions(&in, &result, &actions));
    assert_true(arena.total < 65536);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activities_come_back),
        cmocka_unit_test(actions_come_back),
        cmocka_unit_test(episodes_come_back),
        cmocka_unit_test(names_come_back),
        cmocka_unit_test(commands_come_back),
        cmocka_unit_test(pages_come_back),
        cmocka_unit_test(replies_come_back),
        cmocka_unit_test(requests_and_answers_come_back),
        cmocka_unit_test(frames_survive_any_cut),
        cmocka_unit_test(impossible_lengths_are_broken),
        cmocka_unit_test(a_frame_above_the_limit_is_taken_back),
        cmocka_unit_test(a_byte_too_many_or_too_few_is_refused),
        cmocka_unit_test(unknown_kinds_and_values_are_refused),
        cmocka_unit_test(a_false_count_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
