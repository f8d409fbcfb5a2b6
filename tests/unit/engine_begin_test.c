/* What becomes of every kind of message in every state of the instance. */
#include "unit/engine_bench.h"

/* ---- the table ---- */

static void start_once(struct bench *b)
{
    bench_start(b, "G");
}

static void start_over_ended(struct bench *b)
{
    bench_start(b, "G")->reuse = TH_REUSE_TERMINAL;
}

static void start_over_any(struct bench *b)
{
    bench_start(b, "G")->reuse = TH_REUSE_ANY;
}

static void start_same_request(struct bench *b)
{
    bench_start(b, "F")->request_id = TH_STR("r0");
}

static void start_later(struct bench *b)
{
    bench_start(b, "G")->event.fire_at = NOW + 1;
}

static void start_later_over_any(struct bench *b)
{
    struct th_message *m = bench_start(b, "G");
    m->event.fire_at = NOW + 1;
    m->reuse = TH_REUSE_ANY;
}

static void start_at_epoch(struct bench *b)
{
    bench_start(b, "G")->event.fire_at = 0; /* what a client sends that means "now" */
}

static void start_nameless(struct bench *b)
{
    bench_start(b, NULL);
}

static void raise_event(struct bench *b)
{
    bench_add(b, TH_EVENT_EVENT_RAISED)->event.name = TH_STR("go");
}

static void terminate(struct bench *b)
{
    bench_add(b, TH_EVENT_EXECUTION_TERMINATED)->event.data = TH_STR("\"why\"");
}

static void suspend(struct bench *b)
{
    bench_add(b, TH_EVENT_EXECUTION_SUSPENDED);
}

static void resume(struct bench *b)
{
    bench_add(b, TH_EVENT_EXECUTION_RESUMED);
}

static void task_completed(struct bench *b)
{
    bench_answer(b, TH_EVENT_TASK_COMPLETED, 1);
}

static void task_failed(struct bench *b)
{
    bench_answer(b, TH_EVENT_TASK_FAILED, 1);
}

static void child_completed(struct bench *b)
{
    bench_answer(b, TH_EVENT_CHILD_COMPLETED, 2);
}

static void child_failed(struct bench *b)
{
    bench_answer(b, TH_EVENT_CHILD_FAILED, 2);
}

static void timer_fired(struct bench *b)
{
    bench_answer(b, TH_EVENT_TIMER_FIRED, 3);
}

static void unknown_answer(struct bench *b)
{
    bench_answer(b, TH_EVENT_TASK_COMPLETED, 9);
}

static void answer_of_wrong_kind(struct bench *b)
{
    bench_answer(b, TH_EVENT_TASK_COMPLETED, 3);
}

static void late_answer(struct bench *b)
{
    bench_answer(b, TH_EVENT_TASK_COMPLETED, 1)->execution_id = TH_STR("e0");
}

static void rewind_asked(struct bench *b)
{
    bench_add(b, TH_EVENT_EXECUTION_REWOUND);
}

static void rewind_by_parent(struct bench *b)
{
    struct th_message *m = bench_add(b, TH_EVENT_EXECUTION_REWOUND);
    m->event.parent = &bench_parent;
    m->event.name = TH_STR("G");
}

static void rewind_by_stranger(struct bench *b)
{
    static const struct th_parent stranger = {.instance_id = {"stranger", 8}, .task_id = 7};
    rewind_by_parent(b);
    b->messages[b->count - 1].event.parent = &stranger;
}

static void purge(struct bench *b)
{
    bench_add(b, TH_EVENT_PURGE_REQUESTED);
}

static void entity_signal(struct bench *b)
{
    bench_add(b, TH_EVENT_ENTITY_SIGNALED);
}

/* taken, dropped with a code, parked or left; and how the episode begins */
static const struct {
    const char *name;
    void (*add)(struct bench *);
    const char *expected[AT_COUNT];
} table[] = {
#define ROW(add, none, pending, running, suspended, completed, failed, terminated, starting) \
    {                                                                                        \
#add, add,                                                                           \
        {                                                                                    \
            none, pending, running, suspended, completed, failed, terminated, starting       \
        }                                                                                    \
    }
    ROW(start_once, "taken run", "EXISTS nothing", "EXISTS nothing", "EXISTS nothing",
        "EXISTS nothing", "EXISTS nothing", "EXISTS nothing", "EXISTS run"),
    ROW(start_over_ended, "taken run", "EXISTS nothing", "EXISTS nothing", "EXISTS nothing",
        "taken run", "taken run", "taken run", "EXISTS run"),
    ROW(start_over_any, "taken run", "taken run", "left decided", "left decided", "taken run",
        "taken run", "taken run", "left decided"),
    ROW(start_same_request, "taken run", "OK nothing", "OK nothing", "OK nothing", "OK nothing",
        "OK nothing", "OK nothing", "OK run"),
    ROW(start_later, "parked nothing", "EXISTS nothing", "EXISTS nothing", "EXISTS nothing",
        "EXISTS nothing", "EXISTS nothing", "EXISTS nothing", "EXISTS run"),
    ROW(start_later_over_any, "parked nothing", "parked nothing", "left decided", "left decided",
        "parked nothing", "parked nothing", "parked nothing", "left decided"),
    ROW(start_at_epoch, "taken run", "EXISTS nothing", "EXISTS nothing", "EXISTS nothing",
        "EXISTS nothing", "EXISTS nothing", "EXISTS nothing", "EXISTS run"),
    ROW(start_nameless, "INVALID nothing", "INVALID nothing", "INVALID nothing", "INVALID nothing",
        "INVALID nothing", "INVALID nothing", "INVALID nothing", "INVALID run"),
    ROW(raise_event, "NOT_FOUND nothing", "parked nothing", "taken run", "parked nothing",
        "GONE nothing", "GONE nothing", "GONE nothing", "taken run"),
    ROW(terminate, "NOT_FOUND nothing", "taken decided", "taken decided", "taken decided",
        "GONE nothing", "GONE nothing", "GONE nothing", "taken decided"),
    ROW(suspend, "NOT_FOUND nothing", "parked nothing", "taken decided", "OK nothing",
        "GONE nothing", "GONE nothing", "GONE nothing", "taken run"),
    ROW(resume, "NOT_FOUND nothing", "parked nothing", "OK nothing", "taken decided",
        "GONE nothing", "GONE nothing", "GONE nothing", "OK run"),
    ROW(task_completed, "OK nothing", "OK nothing", "taken run", "parked nothing", "OK nothing",
        "OK nothing", "OK nothing", "OK run"),
    ROW(task_failed, "OK nothing", "OK nothing", "taken run", "parked nothing", "OK nothing",
        "OK nothing", "OK nothing", "OK run"),
    ROW(child_completed, "OK nothing", "OK nothing", "taken run", "parked nothing", "OK nothing",
        "OK nothing", "OK nothing", "OK run"),
    ROW(child_failed, "OK nothing", "OK nothing", "taken run", "parked nothing", "OK nothing",
        "OK nothing", "OK nothing", "OK run"),
    ROW(timer_fired, "OK nothing", "OK nothing", "taken run", "parked nothing", "OK nothing",
        "OK nothing", "OK nothing", "OK run"),
    ROW(unknown_answer, "OK nothing", "OK nothing", "OK nothing", "parked nothing", "OK nothing",
        "OK nothing", "OK nothing", "OK run"),
    ROW(answer_of_wrong_kind, "OK nothing", "OK nothing", "OK nothing", "parked nothing",
        "OK nothing", "OK nothing", "OK nothing", "OK run"),
    ROW(late_answer, "OK nothing", "OK nothing", "OK nothing", "OK nothing", "OK nothing",
        "OK nothing", "OK nothing", "OK run"),
    ROW(rewind_asked, "NOT_FOUND nothing", "PRECONDITION nothing", "PRECONDITION nothing",
        "PRECONDITION nothing", "PRECONDITION nothing", "taken history", "PRECONDITION nothing",
        "left run"),
    ROW(rewind_by_parent, "taken run", "parked nothing", "taken decided", "taken decided",
        "OK nothing", "taken history", "OK nothing", "left run"),
    ROW(rewind_by_stranger, "taken run", "EXISTS nothing", "EXISTS nothing", "EXISTS nothing",
        "taken run", "taken run", "taken run", "EXISTS run"),
    ROW(purge, "NOT_FOUND nothing", "PRECONDITION nothing", "PRECONDITION nothing",
        "PRECONDITION nothing", "taken purge", "taken purge", "taken purge", "left run"),
    ROW(entity_signal, "INVALID nothing", "INVALID nothing", "INVALID nothing", "INVALID nothing",
        "INVALID nothing", "INVALID nothing", "INVALID nothing", "INVALID run"),
#undef ROW
};

static const char *code_name(enum th_code code)
{
    static const char *const names[] = {
#define X(name, text, http, grpc) #name,
        TH_CODES(X)
#undef X
    };
    return names[code];
}

static const char *verdict_name(const struct th_offer *offer)
{
    switch (offer->verdict) {
    case TH_VERDICT_TAKEN:
        return "taken";
    case TH_VERDICT_DROPPED:
        return code_name(offer->error.code);
    case TH_VERDICT_PARKED:
        return "parked";
    case TH_VERDICT_LEFT:
        return "left";
    }
    return "?";
}

static const char *begin_name(enum th_begin begin)
{
    static const char *const names[] = {[TH_BEGIN_NOTHING] = "nothing",
                                        [TH_BEGIN_RUN] = "run",
                                        [TH_BEGIN_DECIDED] = "decided",
                                        [TH_BEGIN_HISTORY] = "history",
                                        [TH_BEGIN_PURGE] = "purge"};
    return names[begin];
}

static void test_every_message_in_every_state(void **state)
{
    (void)state;
    size_t wrong = 0;

    for (size_t n = 0; n < TH_COUNT(table); n++) {
        for (size_t at = 0; at < AT_COUNT; at++) {
            struct bench b;
            char got[64];

            bench_init(&b, (enum bench_state)at);
            table[n].add(&b);
            bench_begin(&b);
            snprintf(got, sizeof(got), "%s %s", verdict_name(&b.offers[0]), begin_name(b.begin));
            if (strcmp(got, table[n].expected[at]) != 0) {
                print_error("%s in state %zu: %s, expected %s\n", table[n].name, at, got,
                            table[n].expected[at]);
                wrong++;
            }
            /* A message is dropped with words for a person, or without any error. */
            assert_int_equal(b.offers[0].error.code == TH_OK, !b.offers[0].error.message[0]);
            bench_deinit(&b);
        }
    }
    assert_int_equal(wrong, 0);
}

/* ---- words ---- */

static void expect_words(enum bench_state at, void (*add)(struct bench *), const char *words)
{
    struct bench b;

    bench_init(&b, at);
    add(&b);
    bench_begin(&b);
    assert_string_equal(b.offers[0].error.message, words);
    bench_deinit(&b);
}

static void test_words(void **state)
{
    (void)state;
    expect_words(AT_RUNNING, start_once, "instance \"i\" already exists: it is Running");
    expect_words(AT_SUSPENDED, start_over_ended, "instance \"i\" already exists: it is Suspended");
    expect_words(AT_NONE, raise_event, "instance \"i\" does not exist");
    expect_words(AT_TERMINATED, suspend, "instance \"i\" has already ended: it is Terminated");
    expect_words(AT_RUNNING, rewind_asked,
                 "instance \"i\" cannot be rewound: it is Running, only Failed can");
    expect_words(AT_PENDING, purge,
                 "instance \"i\" cannot be purged: it is Pending, only ended instances can");
    expect_words(AT_NONE, start_nameless, "instance \"i\" cannot start: no orchestrator is named");
    expect_words(AT_RUNNING, entity_signal,
                 "a message of kind EntityOperationSignaled is not for orchestrations");
}

/* ---- what is taken ---- */

static void test_a_start_names_its_execution(void **state)
{
    (void)state;
    struct bench b;

    bench_init(&b, AT_NONE);
    bench_start(&b, "G")->event.fire_at = 0;
    bench_begin(&b);
    expect_events(&b.out.fresh, "OrchestratorStarted ExecutionStarted");
    assert_int_equal(b.out.fresh.items[0].timestamp, NOW);
    assert_str(b.out.fresh.items[1].instance_id, "i");
    assert_str(b.out.fresh.items[1].execution_id, "e2");
    assert_str(b.out.fresh.items[1].request_id, "r1");
    assert_str(b.out.execution_id, "e2");
    assert_true(b.out.replace_history);
    bench_deinit(&b);
}

static void test_an_answer_counts_once(void **state)
{
    (void)state;
    struct bench b;

    bench_init(&b, AT_RUNNING);
    task_completed(&b);
    task_completed(&b);
    task_failed(&b);
    bench_begin(&b);
    expect_events(&b.out.fresh, "OrchestratorStarted TaskCompleted");
    assert_int_equal(b.offers[1].verdict, TH_VERDICT_DROPPED);
    assert_int_equal(b.offers[2].verdict, TH_VERDICT_DROPPED);
    bench_deinit(&b);
}

static void test_suspension_parks_what_follows(void **state)
{
    (void)state;
    struct bench b;

    bench_init(&b, AT_RUNNING);
    raise_event(&b);
    suspend(&b);
    raise_event(&b);
    timer_fired(&b);
    assert_int_equal(bench_begin(&b), TH_BEGIN_RUN);
    expect_events(&b.out.fresh, "OrchestratorStarted EventRaised ExecutionSuspended");
    assert_int_equal(b.offers[2].verdict, TH_VERDICT_PARKED);
    assert_int_equal(b.offers[2].not_before, TH_TIME_NONE);
    assert_int_equal(b.offers[3].verdict, TH_VERDICT_PARKED);
    assert_true(b.out.suspended);
    assert_true(b.waits_timer); /* a parked answer is not taken */
    bench_deinit(&b);
}

/* Events parked meanwhile are older than one that comes right behind the resumption. */
static void test_resumption_leaves_what_follows(void **state)
{
    (void)state;
    struct bench b;

    bench_init(&b, AT_SUSPENDED);
    raise_event(&b);
    resume(&b);
    raise_event(&b);
    assert_int_equal(bench_begin(&b), TH_BEGIN_DECIDED);
    expect_events(&b.out.fresh, "OrchestratorStarted ExecutionResumed");
    assert_int_equal(b.offers[0].verdict, TH_VERDICT_PARKED);
    assert_int_equal(b.offers[2].verdict, TH_VERDICT_LEFT);
    assert_false(b.out.suspended);
    bench_deinit(&b);
}

static void test_termination_comes_last(void **state)
{
    (void)state;
    struct bench b;

    bench_init(&b, AT_RUNNING);
    task_completed(&b);
    terminate(&b);
    raise_event(&b);
    start_over_ended(&b);
    assert_int_equal(bench_begin(&b), TH_BEGIN_DECIDED);
    expect_events(&b.out.fresh, "OrchestratorStarted TaskCompleted ExecutionTerminated");
    assert_int_equal(b.offers[2].verdict, TH_VERDICT_LEFT);
    assert_int_equal(b.offers[3].verdict, TH_VERDICT_LEFT);
    assert_int_equal(b.out.outgoing_count, 0); /* not recursive */
    bench_deinit(&b);
}

static void test_termination_reaches_children(void **state)
{
    (void)state;
    struct bench b;
    const struct th_message *m;

    bench_init(&b, AT_RUNNING);
    terminate(&b);
    b.messages[0].event.recurse = true;
    bench_begin(&b);
    m = sent(&b, "kid", TH_EVENT_EXECUTION_TERMINATED);
    assert_true(m->event.recurse);
    assert_str(m->event.data, "\"why\"");
    bench_deinit(&b);
}

/* ---- replacing ---- */

/* Whatever else the episode has, and also if it begins with an earlier start of its own. */
static void test_replacing_a_running_instance_ends_it(void **state)
{
    (void)state;
    struct bench b;
    const struct th_message *m;

    bench_init(&b, AT_RUNNING);
    task_completed(&b);
    start_over_any(&b);
    raise_event(&b);
    assert_int_equal(bench_begin(&b), TH_BEGIN_DECIDED);
    assert_int_equal(b.offers[1].verdict, TH_VERDICT_LEFT);
    assert_int_equal(b.offers[2].verdict, TH_VERDICT_LEFT);
    bench_finish(&b);
    assert_int_equal(folded(&b).status, TH_STATUS_TERMINATED);
    m = sent(&b, "papa", TH_EVENT_CHILD_FAILED);
    assert_int_equal(m->event.related_id, 7);
    assert_str(m->execution_id, "pe1");
    sent(&b, "kid", TH_EVENT_EXECUTION_TERMINATED);
    bench_deinit(&b);

    bench_init(&b, AT_NONE);
    start_over_any(&b);
    start_over_any(&b);
    b.messages[1].request_id = TH_STR("r2");
    assert_int_equal(bench_begin(&b), TH_BEGIN_DECIDED);
    assert_int_equal(b.offers[1].verdict, TH_VERDICT_LEFT);
    bench_deinit(&b);
}

static void test_replacing_later_ends_it_now(void **state)
{
    (void)state;
    struct bench b;

    bench_init(&b, AT_RUNNING);
    start_later_over_any(&b);
    raise_event(&b);
    assert_int_equal(bench_begin(&b), TH_BEGIN_DECIDED);
    assert_int_equal(b.offers[0].verdict, TH_VERDICT_LEFT);
    assert_int_equal(b.offers[1].verdict, TH_VERDICT_LEFT);
    bench_finish(&b);
    assert_int_equal(folded(&b).status, TH_STATUS_TERMINATED);
    sent(&b, "papa", TH_EVENT_CHILD_FAILED);
    sent(&b, "kid", TH_EVENT_EXECUTION_TERMINATED);
    bench_deinit(&b);

    bench_init(&b, AT_RUNNING); /* it could not start over the terminated instance */
    start_later_over_any(&b);
    b.messages[0].reuse = TH_STATUS_BIT(TH_STATUS_RUNNING);
    bench_begin(&b);
    assert_int_equal(b.offers[0].error.code, TH_EXISTS);
    bench_deinit(&b);
}

static void test_one_execution_per_episode(void **state)
{
    (void)state;
    struct bench b;

    bench_init(&b, AT_NONE);
    start_over_any(&b);
    purge(&b);
    rewind_asked(&b);
    assert_int_equal(bench_begin(&b), TH_BEGIN_RUN);
    for (size_t n = 1; n < b.count; n++)
        assert_int_equal(b.offers[n].verdict, TH_VERDICT_LEFT);
    bench_deinit(&b);
}

/* ---- later starts ---- */

static void test_a_later_start_is_parked_until_then(void **state)
{
    (void)state;
    struct bench b;

    bench_init(&b, AT_NONE);
    start_later(&b);
    raise_event(&b);
    bench_begin(&b);
    assert_int_equal(b.offers[0].not_before, NOW + 1);
    assert_int_equal(b.offers[1].verdict, TH_VERDICT_LEFT); /* it meets the placeholder */
    bench_deinit(&b);
}

static void test_a_parked_start_runs_if_its_placeholder_stands(void **state)
{
    (void)state;
    struct bench b;

    for (int other = 0; other < 4; other++) {
        bench_init(&b, AT_PENDING);
        start_same_request(&b);
        b.messages[0].event.fire_at = NOW;
        b.offers[0].parked = true;
        b.info.scheduled = NOW;
        if (other == 1)
            b.info.status = TH_STATUS_TERMINATED;
        if (other == 2)
            b.info.request_id = TH_STR("another start's");
        if (other == 3)
            b.info.scheduled = NOW + 5;
        bench_begin(&b);
        assert_int_equal(b.offers[0].verdict, other ? TH_VERDICT_DROPPED : TH_VERDICT_TAKEN);
        bench_deinit(&b);
    }
}

/* ---- children ---- */

static void test_a_child_that_exists_fails_its_call(void **state)
{
    (void)state;
    static const struct th_parent caller = {
        .instance_id = {"caller", 6}, .execution_id = {"ce", 2}, .task_id = 4};
    struct bench b;
    const struct th_message *m;

    bench_init(&b, AT_RUNNING);
    start_over_ended(&b);
    b.messages[0].event.parent = &caller;
    assert_int_equal(bench_begin(&b), TH_BEGIN_NOTHING);
    m = sent(&b, "caller", TH_EVENT_CHILD_FAILED);
    assert_str(m->execution_id, "ce");
    assert_int_equal(m->event.related_id, 4);
    assert_str(m->event.failure->type, "InstanceExists");
    assert_str(m->event.failure->message, "instance \"i\" already exists: it is Running");
    assert_true(m->event.failure->non_retriable);
    bench_deinit(&b);
}

/* ---- continue-as-new ---- */

static void test_a_continued_execution_begins_by_itself(void **state)
{
    (void)state;
    struct bench b;
    struct th_event carried[2] = {th_event_of(TH_EVENT_EVENT_RAISED, THEN),
                                  th_event_of(TH_EVENT_EVENT_RAISED, THEN)};
    TH_BUFFER bytes = {0};

    carried[0].name = TH_STR("first");
    carried[1].name = TH_STR("second");
    th_encode_events(&bytes, carried, 2);
    bench_init(&b, AT_STARTING);
    b.info.carryover = th_buffer_view(&bytes);
    raise_event(&b);
    task_completed(&b);
    assert_int_equal(bench_begin(&b), TH_BEGIN_RUN);
    expect_events(&b.out.fresh,
                  "OrchestratorStarted ExecutionStarted EventRaised EventRaised EventRaised");
    assert_str(b.out.fresh.items[1].execution_id, "e1");
    assert_str(b.out.fresh.items[1].data, "\"in\"");
    assert_ptr_equal(b.out.fresh.items[1].parent, &bench_parent);
    assert_str(b.out.fresh.items[2].name, "first");
    assert_str(b.out.fresh.items[3].name, "second");
    assert_str(b.out.fresh.items[4].name, "go");
    assert_int_equal(b.offers[1].verdict, TH_VERDICT_DROPPED);
    assert_true(b.out.replace_history);
    bench_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_message_in_every_state),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_a_start_names_its_execution),
        cmocka_unit_test(test_an_answer_counts_once),
        cmocka_unit_test(test_suspension_parks_what_follows),
        cmocka_unit_test(test_resumption_leaves_what_follows),
        cmocka_unit_test(test_termination_comes_last),
        cmocka_unit_test(test_termination_reaches_children),
        cmocka_unit_test(test_replacing_a_running_instance_ends_it),
        cmocka_unit_test(test_replacing_later_ends_it_now),
        cmocka_unit_test(test_one_execution_per_episode),
        cmocka_unit_test(test_a_later_start_is_parked_until_then),
        cmocka_unit_test(test_a_parked_start_runs_if_its_placeholder_stands),
        cmocka_unit_test(test_a_child_that_exists_fails_its_call),
        cmocka_unit_test(test_a_continued_execution_begins_by_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
