/* Entities: batches of operations, and critical sections from both sides. */
#include "unit/engine_bench.h"

static const struct th_parent caller = {
    .instance_id = {"boss", 4}, .execution_id = {"be", 2}, .task_id = 5};

#define ID "@counter@k"

static void begin_with(struct bench *b, const char *state)
{
    bench_init(b, AT_NONE);
    b->info.instance_id = TH_STR(ID);
    if (!state)
        return;
    b->info.name = TH_STR("counter");
    b->info.status = TH_STATUS_ENTITY;
    b->info.output = th_str_of(state);
}

static struct th_message *add(struct bench *b, enum th_event_kind kind, const char *request)
{
    struct th_message *m = bench_add(b, kind);

    m->instance_id = m->event.instance_id = TH_STR(ID);
    m->event.name = TH_STR("add");
    m->event.request_id = th_str_of(request);
    return m;
}

static struct th_message *add_call(struct bench *b, const char *request)
{
    struct th_message *m = add(b, TH_EVENT_ENTITY_CALLED, request);

    m->event.parent = &caller;
    return m;
}

static const struct th_str set[] = {{"@a@", 3}, {ID, 10}, {"@z@", 3}};

static struct th_message *add_lock(struct bench *b, const char *section)
{
    struct th_message *m = add(b, TH_EVENT_ENTITY_LOCK_REQUESTED, section);

    m->event.lock_set = (struct th_strs){set, 3};
    m->event.related_id = 1;
    m->event.parent = &caller;
    return m;
}

static struct th_message *add_unlock(struct bench *b, const char *section)
{
    return add(b, TH_EVENT_ENTITY_UNLOCK_SENT, section);
}

static void answer_with(struct bench *b, const char *state, size_t count)
{
    static const struct th_operation_result results[] = {
        {.data = {"1", 1}}, {.data = {"2", 1}}, {.data = {"3", 1}}};

    b->actions.results = results;
    b->actions.result_count = count;
    b->actions.state = state ? th_str_of(state) : TH_STR_ABSENT;
    bench_finish(b);
}

static void expect_verdicts(const struct bench *b, const char *expected)
{
    static const char words[] = {[TH_VERDICT_TAKEN] = 't',
                                 [TH_VERDICT_DROPPED] = 'd',
                                 [TH_VERDICT_PARKED] = 'p',
                                 [TH_VERDICT_LEFT] = 'l'};
    char found[17] = "";

    for (size_t n = 0; n < b->count; n++)
        found[n] = words[b->offers[n].verdict];
    assert_string_equal(found, expected);
}

/* ---- operations ---- */

static void test_operations_are_answered(void **state)
{
    (void)state;
    struct bench b;
    const struct th_message *answer;

    begin_with(&b, NULL);
    add(&b, TH_EVENT_ENTITY_SIGNALED, "s1");
    add_call(&b, "c1");
    assert_int_equal(bench_begin(&b), TH_BEGIN_RUN);
    expect_events(&b.out.fresh, "EntityOperationSignaled EntityOperationCalled");
    answer_with(&b, "0", 2); /* what looks like nothing is a state */
    assert_true(b.out.continued);
    assert_false(b.out.gone);
    assert_str(b.out.next.output, "0");
    assert_str(b.out.next.name, "counter");
    assert_int_equal(b.out.next.status, TH_STATUS_ENTITY);
    assert_int_equal(b.out.next.created, NOW);
    assert_int_equal(b.out.next.completed, NOW);
    assert_int_equal(b.out.outgoing_count, 1); /* nobody waits for a signal */
    answer = sent(&b, "boss", TH_EVENT_ENTITY_COMPLETED);
    assert_str(answer->execution_id, "be");
    assert_str(answer->event.request_id, "c1");
    assert_str(answer->event.data, "2");
    assert_int_equal(answer->event.related_id, 5);
    bench_deinit(&b);
}

static void test_without_state_it_is_gone(void **state)
{
    (void)state;
    struct bench b;

    begin_with(&b, "7");
    add_call(&b, "c1");
    bench_begin(&b);
    answer_with(&b, NULL, 1);
    assert_true(b.out.gone);
    sent(&b, "boss", TH_EVENT_ENTITY_COMPLETED);
    bench_deinit(&b);
}

static void test_a_failed_operation(void **state)
{
    (void)state;
    static const struct th_failure failure = {.type = {"E", 1}, .message = {"no", 2}};
    static const struct th_operation_result results[] = {{.failure = &failure}};
    struct bench b;

    begin_with(&b, "7");
    add_call(&b, "c1");
    bench_begin(&b);
    b.actions = (struct th_actions){.results = results, .result_count = 1, .state = TH_STR("7")};
    bench_finish(&b);
    assert_str(sent(&b, "boss", TH_EVENT_ENTITY_FAILED)->event.failure->message, "no");
    assert_str(b.out.next.output, "7");
    bench_deinit(&b);
}

/* Nothing is kept: neither state nor actions. */
static void test_a_failed_batch(void **state)
{
    (void)state;
    static const struct th_failure failure = {.type = {"E", 1}, .message = {"no", 2}};
    struct bench b;

    begin_with(&b, "7");
    add_call(&b, "c1");
    add_call(&b, "c2");
    bench_begin(&b);
    b.actions.failure = &failure;
    bench_action(&b, TH_ACTION_SIGNAL, -1)->instance_id = TH_STR("@other@");
    answer_with(&b, "8", 2);
    assert_int_equal(b.out.outgoing_count, 2);
    assert_int_equal(b.out.outgoing[1].message.event.kind, TH_EVENT_ENTITY_FAILED);
    assert_str(b.out.next.output, "7");
    bench_deinit(&b);
}

static void test_code_that_answers_nothing(void **state)
{
    (void)state;
    struct bench b;

    begin_with(&b, "7");
    add_call(&b, "c1");
    bench_begin(&b);
    answer_with(&b, "8", 0);
    assert_str(sent(&b, "boss", TH_EVENT_ENTITY_FAILED)->event.failure->type, "NoResult");
    assert_int_equal(b.out.left_over, 0);
    assert_str(b.out.next.output, "7");
    bench_deinit(&b);
}

static void test_a_crash(void **state)
{
    (void)state;
    struct bench b;

    begin_with(&b, "7");
    add_call(&b, "c1");
    add_call(&b, "c2");
    b.in.max_operations = 1;
    bench_begin(&b);
    expect_verdicts(&b, "tl");
    th_engine_fail(&b.in, TH_STR("EntityCrashed"), TH_STR("thrice"), &b.arena, &b.out);
    assert_str(sent(&b, "boss", TH_EVENT_ENTITY_FAILED)->event.request_id, "c1");
    assert_str(b.out.next.output, "7");
    assert_true(b.out.continued);
    bench_deinit(&b);
}

static void test_the_rest_of_a_batch_is_left(void **state)
{
    (void)state;
    struct bench b;

    begin_with(&b, "7");
    add_call(&b, "c1");
    add_call(&b, "c2");
    add_call(&b, "c3");
    bench_begin(&b);
    answer_with(&b, "8", 1);
    assert_int_equal(b.out.left_over, 2);
    assert_str(sent(&b, "boss", TH_EVENT_ENTITY_COMPLETED)->event.request_id, "c1");
    bench_deinit(&b);
}

static void test_later_signals_wait(void **state)
{
    (void)state;
    struct bench b;

    begin_with(&b, NULL);
    add(&b, TH_EVENT_ENTITY_SIGNALED, "s1")->event.fire_at = NOW + 1;
    assert_int_equal(bench_begin(&b), TH_BEGIN_NOTHING);
    expect_verdicts(&b, "p");
    assert_int_equal(b.offers[0].not_before, NOW + 1);
    b.in.now = NOW + 1;
    b.offers[0].parked = true;
    assert_int_equal(bench_begin(&b), TH_BEGIN_RUN);
    bench_deinit(&b);
}

static void test_what_it_asks_for(void **state)
{
    (void)state;
    struct bench b;
    struct th_action *a;
    const struct th_message *m;

    begin_with(&b, "7");
    add(&b, TH_EVENT_ENTITY_SIGNALED, "s1");
    bench_begin(&b);
    a = bench_action(&b, TH_ACTION_SIGNAL, -1);
    a->instance_id = TH_STR("@other@");
    a->name = TH_STR("poke");
    a->data = TH_STR("1");
    a->fire_at = NOW + 5;
    a = bench_action(&b, TH_ACTION_START, -1);
    a->name = TH_STR("F");
    a->instance_id = TH_STR("given");
    a = bench_action(&b, TH_ACTION_START, -1);
    a->name = TH_STR("G");
    answer_with(&b, "8", 1);
    m = sent(&b, "@other@", TH_EVENT_ENTITY_SIGNALED);
    assert_str(m->event.name, "poke");
    assert_int_equal(m->event.fire_at, NOW + 5);
    assert_str(sent(&b, "given", TH_EVENT_EXECUTION_STARTED)->event.name, "F");
    assert_str(sent(&b, "e2:0002", TH_EVENT_EXECUTION_STARTED)->event.name, "G");
    bench_deinit(&b);
}

/* ---- locking ---- */

static void test_locks_are_passed_on(void **state)
{
    (void)state;
    struct bench b;
    const struct th_message *m;

    begin_with(&b, NULL);
    add_lock(&b, "x");
    assert_int_equal(bench_begin(&b), TH_BEGIN_DECIDED);
    bench_finish(&b);
    assert_str(b.out.next.section, "x");
    assert_str(b.out.next.locked_by, "boss");
    assert_false(b.out.gone);
    m = sent(&b, "@z@", TH_EVENT_ENTITY_LOCK_REQUESTED);
    assert_int_equal(m->event.related_id, 2);
    assert_ptr_equal(m->event.parent, &caller);
    bench_deinit(&b);
}

static void test_the_last_one_grants(void **state)
{
    (void)state;
    struct bench b;
    struct th_message *request;
    const struct th_message *granted;

    begin_with(&b, NULL);
    request = add_lock(&b, "x");
    request->event.lock_set.count = 2;
    bench_begin(&b);
    bench_finish(&b);
    granted = sent(&b, "boss", TH_EVENT_ENTITY_LOCK_GRANTED);
    assert_str(granted->event.request_id, "x");
    assert_str(granted->execution_id, "be");
    assert_int_equal(granted->event.related_id, 5);
    bench_deinit(&b);
}

static void lock(struct bench *b)
{
    begin_with(b, "7");
    b->info.section = TH_STR("x");
    b->info.locked_by = TH_STR("boss");
}

static void test_a_locked_one_serves_its_owner(void **state)
{
    (void)state;
    static const struct th_parent stranger = {.instance_id = {"other", 5}};
    struct bench b;

    lock(&b);
    add(&b, TH_EVENT_ENTITY_SIGNALED, "s1");
    add_call(&b, "c1");
    add_call(&b, "c2")->event.parent = &stranger;
    add_lock(&b, "y");
    bench_begin(&b);
    expect_verdicts(&b, "ptpp");
    expect_events(&b.out.fresh, "EntityOperationCalled");
    bench_deinit(&b);
}

static void test_a_release_lets_the_others_in_first(void **state)
{
    (void)state;
    struct bench b;

    lock(&b);
    add_unlock(&b, "x");
    add(&b, TH_EVENT_ENTITY_SIGNALED, "s1"); /* behind what is parked */
    assert_int_equal(bench_begin(&b), TH_BEGIN_DECIDED);
    expect_verdicts(&b, "tl");
    bench_finish(&b);
    assert_false(th_str_present(b.out.next.section));
    assert_false(th_str_present(b.out.next.locked_by));
    bench_deinit(&b);
}

/* Of a batch the end may be left for the next time: nothing overtakes it. */
static void test_locks_wait_for_operations(void **state)
{
    (void)state;
    struct bench b;

    begin_with(&b, "7");
    add_call(&b, "c1");
    add_lock(&b, "x");
    bench_begin(&b);
    expect_verdicts(&b, "tl");
    bench_deinit(&b);

    lock(&b);
    add_call(&b, "c1");
    add_unlock(&b, "x");
    bench_begin(&b);
    expect_verdicts(&b, "tl");
    bench_deinit(&b);
}

static void test_a_release_that_came_first(void **state)
{
    (void)state;
    struct bench b;
    struct th_instance_info after;

    begin_with(&b, NULL);
    add_unlock(&b, "x");
    assert_int_equal(bench_begin(&b), TH_BEGIN_DECIDED);
    bench_finish(&b);
    assert_int_equal(b.out.next.voided.count, 1);
    assert_false(b.out.gone);
    after = b.out.next;

    b.info = after;
    b.count = 0;
    add_lock(&b, "x");
    add_lock(&b, "y");
    bench_begin(&b);
    expect_verdicts(&b, "tt");
    bench_finish(&b);
    assert_int_equal(b.out.next.voided.count, 0);
    assert_str(b.out.next.section, "y");
    assert_int_equal(b.out.outgoing_count,
                     2); /* passed on, for nobody: others have releases, too */
    assert_str(b.out.outgoing[0].message.event.request_id, "x");
    assert_null(b.out.outgoing[0].message.event.parent);
    bench_deinit(&b);
}

static void test_a_void_request_ends_at_the_last(void **state)
{
    (void)state;
    static const struct th_str voided[] = {{"w", 1}, {"x", 1}};
    struct bench b;

    begin_with(&b, NULL);
    b.info.name = TH_STR("counter");
    b.info.voided = (struct th_strs){voided, 2};
    add_lock(&b, "x")->event.lock_set.count = 2;
    bench_begin(&b);
    bench_finish(&b);
    assert_int_equal(b.out.outgoing_count, 0);
    assert_int_equal(b.out.next.voided.count, 1);
    assert_str(b.out.next.voided.items[0], "w");
    bench_deinit(&b);
}

/* ---- what is not for entities ---- */

static void test_refusals(void **state)
{
    (void)state;
    struct bench b;

    begin_with(&b, "7");
    bench_start(&b, "F")->event.parent = &bench_parent;
    bench_add(&b, TH_EVENT_EVENT_RAISED);
    add_lock(&b, "x")->event.related_id = 3;
    add_lock(&b, "x")->event.request_id = TH_STR_ABSENT;
    add_unlock(&b, "x")->event.request_id = TH_STR_ABSENT;
    assert_int_equal(bench_begin(&b), TH_BEGIN_NOTHING);
    expect_verdicts(&b, "ddddd");
    for (size_t n = 0; n < b.count; n++)
        assert_int_equal(b.offers[n].error.code, TH_INVALID);
    sent(&b, "papa", TH_EVENT_CHILD_FAILED);
    bench_deinit(&b);
}

static void test_purging(void **state)
{
    (void)state;
    struct bench b;

    begin_with(&b, "7");
    add(&b, TH_EVENT_PURGE_REQUESTED, "r");
    assert_int_equal(bench_begin(&b), TH_BEGIN_PURGE);
    bench_deinit(&b);
    begin_with(&b, NULL);
    add(&b, TH_EVENT_PURGE_REQUESTED, "r");
    assert_int_equal(bench_begin(&b), TH_BEGIN_NOTHING);
    assert_int_equal(b.offers[0].error.code, TH_NOT_FOUND);
    bench_deinit(&b);
    lock(&b);
    add(&b, TH_EVENT_PURGE_REQUESTED, "r");
    assert_int_equal(bench_begin(&b), TH_BEGIN_NOTHING);
    assert_int_equal(b.offers[0].error.code, TH_PRECONDITION);
    bench_deinit(&b);
}

/* ---- the orchestration's side ---- */

static void run(struct bench *b)
{
    bench_init(b, AT_RUNNING);
    b->info.instance_id = TH_STR("i");
    bench_add(b, TH_EVENT_EVENT_RAISED);
    bench_begin(b);
}

static struct th_event *ask(struct bench *b, enum th_event_kind kind, int32_t id,
                            const char *entity, const char *request)
{
    struct th_event *event = TH_ARENA_NEW(&b->arena, struct th_event);

    *event = th_event_of(kind, 0);
    event->instance_id = entity ? th_str_of(entity) : TH_STR_ABSENT;
    event->request_id = th_str_of(request);
    bench_action(b, TH_ACTION_ENTITY, id)->entity = event;
    return event;
}

static void test_calls_and_signals(void **state)
{
    (void)state;
    struct bench b;
    const struct th_message *call;

    run(&b);
    ask(&b, TH_EVENT_ENTITY_CALLED, 4, ID, "c1")->name = TH_STR("get");
    ask(&b, TH_EVENT_ENTITY_SIGNALED, 5, ID, "s1")->data = TH_STR("1");
    bench_finish(&b);
    expect_events(&b.out.produced,
                  "EntityOperationCalled EntityOperationSignaled OrchestratorCompleted");
    assert_int_equal(b.out.produced.items[0].id, 4);
    call = sent(&b, ID, TH_EVENT_ENTITY_CALLED);
    assert_str(call->event.parent->instance_id, "i");
    assert_str(call->event.parent->execution_id, "e1");
    assert_int_equal(call->event.parent->task_id, 4);
    assert_null(sent(&b, ID, TH_EVENT_ENTITY_SIGNALED)->event.parent);
    bench_deinit(&b);
}

static void ask_lock(struct bench *b)
{
    static const struct th_str ids[] = {{"@b@", 3}, {"@a@", 3}, {"@b@", 3}};

    ask(b, TH_EVENT_ENTITY_LOCK_REQUESTED, 4, NULL, "x")->lock_set = (struct th_strs){ids, 3};
}

static void test_sets_are_in_order(void **state)
{
    (void)state;
    struct bench b;
    const struct th_message *m;
    struct th_instance_info after;

    run(&b);
    ask_lock(&b);
    bench_finish(&b);
    m = sent(&b, "@a@", TH_EVENT_ENTITY_LOCK_REQUESTED);
    assert_int_equal(m->event.lock_set.count, 2);
    assert_str(m->event.lock_set.items[1], "@b@");
    assert_int_equal(m->event.related_id, 0);
    after = folded(&b);
    assert_str(after.section, "x");
    assert_int_equal(after.locked.count, 2);
    bench_deinit(&b);
}

/* Whatever ends the execution, or its section: each entity is released once. */
static void test_the_end_releases(void **state)
{
    (void)state;
    struct bench b;
    struct th_action *end;

    run(&b);
    ask_lock(&b);
    ask(&b, TH_EVENT_ENTITY_UNLOCK_SENT, 5, "@a@", "x");
    end = bench_action(&b, TH_ACTION_COMPLETE, -1);
    end->status = TH_STATUS_COMPLETED;
    bench_finish(&b);
    sent(&b, "@a@", TH_EVENT_ENTITY_UNLOCK_SENT);
    sent(&b, "@b@", TH_EVENT_ENTITY_UNLOCK_SENT);
    assert_false(th_str_present(folded(&b).section));
    bench_deinit(&b);
}

static void in_section(struct bench *b)
{
    static const struct th_str ids[] = {{"@a@", 3}, {"@b@", 3}};

    bench_init(b, AT_RUNNING);
    b->info.section = TH_STR("x");
    b->info.locked = (struct th_strs){ids, 2};
    b->info.unlocked = 1;
}

static void test_termination_releases(void **state)
{
    (void)state;
    struct bench b;

    in_section(&b);
    bench_add(&b, TH_EVENT_EXECUTION_TERMINATED);
    bench_begin(&b);
    bench_finish(&b);
    assert_str(sent(&b, "@b@", TH_EVENT_ENTITY_UNLOCK_SENT)->event.request_id, "x");
    assert_false(th_str_present(folded(&b).section));
    bench_deinit(&b);
}

static void test_another_start_releases(void **state)
{
    (void)state;
    struct bench b;

    in_section(&b);
    bench_start(&b, "G")->reuse = TH_REUSE_ANY;
    bench_begin(&b);
    bench_finish(&b);
    sent(&b, "@b@", TH_EVENT_ENTITY_UNLOCK_SENT);
    assert_false(th_str_present(folded(&b).section));
    bench_deinit(&b);
}

static void test_continuing_releases(void **state)
{
    (void)state;
    struct bench b;

    in_section(&b);
    bench_add(&b, TH_EVENT_EVENT_RAISED);
    bench_begin(&b);
    bench_action(&b, TH_ACTION_COMPLETE, -1)->status = TH_STATUS_CONTINUED_AS_NEW;
    bench_finish(&b);
    sent(&b, "@b@", TH_EVENT_ENTITY_UNLOCK_SENT);
    assert_false(th_str_present(b.out.next.section));
    assert_int_equal(b.out.next.locked.count, 0);
    bench_deinit(&b);
}

/* Asked twice, or for what is not locked: one release only, for the entity would keep the other. */
static void test_no_release_too_many(void **state)
{
    (void)state;
    struct bench b;

    in_section(&b);
    bench_add(&b, TH_EVENT_EVENT_RAISED);
    bench_begin(&b);
    ask(&b, TH_EVENT_ENTITY_UNLOCK_SENT, 5, "@a@", "x");
    ask(&b, TH_EVENT_ENTITY_UNLOCK_SENT, 6, "@b@", "x");
    ask(&b, TH_EVENT_ENTITY_UNLOCK_SENT, 7, "@b@", "x");
    ask(&b, TH_EVENT_ENTITY_UNLOCK_SENT, 8, "@c@", "x");
    bench_finish(&b);
    assert_int_equal(b.out.outgoing_count, 1);
    sent(&b, "@b@", TH_EVENT_ENTITY_UNLOCK_SENT);
    bench_deinit(&b);
}

static void expect_failed(struct bench *b, const char *words)
{
    const struct th_event *end;

    bench_finish(b);
    end = &b->out.produced.items[b->out.produced.count - 2];
    assert_int_equal(end->kind, TH_EVENT_EXECUTION_COMPLETED);
    assert_int_equal(end->status, TH_STATUS_FAILED);
    assert_str(end->failure->message, words);
    bench_deinit(b);
}

static void test_bad_requests_fail_the_orchestration(void **state)
{
    (void)state;
    static struct th_str many[65];
    struct bench b;

    run(&b);
    ask(&b, TH_EVENT_ENTITY_CALLED, 4, "counter", "c1");
    expect_failed(&b, "entity id \"counter\" must have the form @name@key");
    run(&b);
    ask(&b, TH_EVENT_ENTITY_SIGNALED, 4, "@Counter@", "c1");
    expect_failed(&b, "entity id \"@Counter@\": the name must be in lower case");
    in_section(&b);
    bench_add(&b, TH_EVENT_EVENT_RAISED);
    bench_begin(&b);
    ask_lock(&b);
    expect_failed(&b, "a critical section within another one is not possible");
    run(&b);
    for (size_t n = 0; n < TH_COUNT(many); n++)
        many[n] = th_arena_format(&b.arena, "@a@%zu", n);
    ask(&b, TH_EVENT_ENTITY_LOCK_REQUESTED, 4, NULL, "x")->lock_set = (struct th_strs){many, 65};
    expect_failed(&b, "a critical section has 1 to 64 entities, not 65");
    run(&b);
    ask(&b, TH_EVENT_TASK_SCHEDULED, 4, ID, "x");
    expect_failed(&b, "TaskScheduled is nothing an orchestrator can ask of an entity");
}

static void test_answers_of_entities(void **state)
{
    (void)state;
    struct bench b;

    bench_init(&b, AT_RUNNING);
    bench_answer(&b, TH_EVENT_ENTITY_COMPLETED, 4);
    bench_answer(&b, TH_EVENT_ENTITY_COMPLETED, 4)->execution_id = TH_STR("e0");
    bench_answer(&b, TH_EVENT_ENTITY_LOCK_GRANTED, 4); /* only one answer is waited for */
    b.waits_entity = true;
    assert_int_equal(bench_begin(&b), TH_BEGIN_RUN);
    expect_verdicts(&b, "tdd");
    bench_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operations_are_answered),
        cmocka_unit_test(test_without_state_it_is_gone),
        cmocka_unit_test(test_a_failed_operation),
        cmocka_unit_test(test_a_failed_batch),
        cmocka_unit_test(test_code_that_answers_nothing),
        cmocka_unit_test(test_a_crash),
        cmocka_unit_test(test_the_rest_of_a_batch_is_left),
        cmocka_unit_test(test_later_signals_wait),
        cmocka_unit_test(test_what_it_asks_for),
        cmocka_unit_test(test_locks_are_passed_on),
        cmocka_unit_test(test_the_last_one_grants),
        cmocka_unit_test(test_a_locked_one_serves_its_owner),
        cmocka_unit_test(test_a_release_lets_the_others_in_first),
        cmocka_unit_test(test_locks_wait_for_operations),
        cmocka_unit_test(test_a_release_that_came_first),
        cmocka_unit_test(test_a_void_request_ends_at_the_last),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_purging),
        cmocka_unit_test(test_calls_and_signals),
        cmocka_unit_test(test_sets_are_in_order),
        cmocka_unit_test(test_the_end_releases),
        cmocka_unit_test(test_termination_releases),
        cmocka_unit_test(test_another_start_releases),
        cmocka_unit_test(test_continuing_releases),
        cmocka_unit_test(test_no_release_too_many),
        cmocka_unit_test(test_bad_requests_fail_the_orchestration),
        cmocka_unit_test(test_answers_of_entities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
