/* The fold after a crash is the fold before it: rows, records, checkpoints, parts. */
#include "unit/partition_desk.h"

#define PARALLEL 3

static void fan_out(const struct th_episode *e, struct th_arena *arena, struct th_actions *out)
{
    if (code_count(e, TH_EVENT_TASK_SCHEDULED) == 0)
        for (int32_t n = 0; n < PARALLEL; n++)
            code_task(out, arena, n, "Work");
    else if (code_count(e, TH_EVENT_TASK_COMPLETED) == PARALLEL)
        code_complete(out, arena, "\"all\"");
}

static void once_more(const struct th_episode *e, struct th_arena *arena, struct th_actions *out)
{
    if (code_count(e, TH_EVENT_TASK_SCHEDULED) == 0)
        code_task(out, arena, 0, "Work");
    else if (code_fresh_count(e, TH_EVENT_TASK_COMPLETED) > 0)
        code_continue(out, arena, "\"next\"");
}

/* Leaves an activity running when it ends. */
static void careless(const struct th_episode *e, struct th_arena *arena, struct th_actions *out)
{
    (void)e;
    code_task(out, arena, 0, "Work");
    code_complete(out, arena, "\"bye\"");
}

static void parent(const struct th_episode *e, struct th_arena *arena, struct th_actions *out)
{
    struct th_action *a;

    if (code_count(e, TH_EVENT_CHILD_CREATED) == 0) {
        for (int32_t n = 0; n < 2; n++) {
            a = th_actions_add(out, arena, TH_ACTION_CREATE_CHILD, n);
            a->name = TH_STR("Fan");
        }
    } else if (code_count(e, TH_EVENT_CHILD_COMPLETED) == 2) {
        code_complete(out, arena, "\"grown up\"");
    }
}

static void big(const struct th_episode *e, struct th_arena *arena, struct th_actions *out)
{
    const size_t size = 100000;
    char *text = th_arena_alloc(arena, size);

    memset(text, 'x', size);
    if (code_count(e, TH_EVENT_TASK_SCHEDULED) == 0) {
        struct th_action *task = code_task(out, arena, 0, "Work");
        task->data = th_str_n(text, size);
        task->trace = TH_STR("00-a-b-01");
    } else if (code_count(e, TH_EVENT_TASK_COMPLETED) > 0)
        code_complete(out, arena, "\"big\"");
}

static void fail_first(const struct th_episode *e, struct th_arena *arena, struct th_actions *out)
{
    static const struct th_failure failure = {.type = {"T", 1}, .message = {"m", 1}};
    struct th_action *a;

    if (code_count(e, TH_EVENT_TASK_SCHEDULED) == 0) {
        code_task(out, arena, 0, "Work");
        out->has_custom_status = true;
        out->custom_status = TH_STR("\"halfway\"");
        out->turn_trace = TH_STR("span");
    } else if (code_count(e, TH_EVENT_TASK_FAILED) > 0) {
        a = th_actions_add(out, arena, TH_ACTION_COMPLETE, -1);
        a->status = TH_STATUS_FAILED;
        a->failure = &failure;
    } else if (code_count(e, TH_EVENT_TASK_COMPLETED) > 0) {
        code_complete(out, arena, "\"mended\"");
    }
}

static void sleep_once(const struct th_episode *e, struct th_arena *arena, struct th_actions *out)
{
    if (code_count(e, TH_EVENT_TIMER_CREATED) == 0)
        th_actions_add(out, arena, TH_ACTION_CREATE_TIMER, 0)->fire_at = 1100 * TH_SECOND;
    else if (code_count(e, TH_EVENT_TIMER_FIRED) > 0)
        code_complete(out, arena, "\"slept\"");
}

static void code(struct desk *d, const struct th_episode *e, struct th_arena *arena,
                 struct th_actions *out)
{
    static const struct {
        const char *name;
        void (*run)(const struct th_episode *, struct th_arena *, struct th_actions *);
    } codes[] = {{"Fan", fan_out}, {"Again", once_more}, {"Careless", careless}, {"Parent", parent},
                 {"Big", big},     {"Fail", fail_first}, {"Sleep", sleep_once}};

    (void)d;
    for (size_t n = 0; n < TH_COUNT(codes); n++)
        if (code_is(e, codes[n].name))
            codes[n].run(e, arena, out);
}

static void begin(struct desk *d, uint32_t partitions)
{
    desk_init(d, partitions, code);
    desk_open(d);
}

static void crash(struct desk *d)
{
    desk_crash(d);
    desk_open(d);
    desk_work(d);
}

/* ---- at any moment ---- */

static void drive(struct desk *d, struct th_random *r)
{
    static const char *const ids[] = {"a", "b", "c", "d"};
    static const char *const names[] = {"Fan", "Again", "Careless", "Parent", "Fail"};
    const char *id = ids[th_random_below(r, 4)];
    struct th_message start = desk_start(id, names[th_random_below(r, 5)]);

    switch (th_random_below(r, 12)) {
    case 0:
    case 1:
        start.reuse = th_random_below(r, 2) ? TH_REUSE_TERMINAL : TH_REUSE_ANY;
        start.event.fire_at = th_random_below(r, 3) ? TH_TIME_NONE : d->now + TH_SECOND;
        start.request_id = th_str_of(id);
        start.event.timestamp = d->now;
        desk_deliver(d, start);
        break;
    case 2:
        desk_deliver(d, desk_message(id, TH_EVENT_EXECUTION_SUSPENDED));
        break;
    case 3:
        desk_deliver(d, desk_message(id, TH_EVENT_EXECUTION_RESUMED));
        break;
    case 4:
        start = desk_message(id, TH_EVENT_EXECUTION_TERMINATED);
        start.event.recurse = th_random_below(r, 2);
        desk_deliver(d, start);
        break;
    case 5:
        desk_deliver(d, desk_raise(id, "e", "1"));
        break;
    case 6:
        desk_deliver(d, desk_message(id, th_random_below(r, 2) ? TH_EVENT_EXECUTION_REWOUND
                                                               : TH_EVENT_PURGE_REQUESTED));
        break;
    case 7:
        d->now += TH_SECOND / 2;
        break;
    default:
        if (d->activity_count > 0) {
            const struct desk_activity a = d->activities[th_random_below(r, d->activity_count)];
            TH_AUTOFREE char *whose = th_str_dup(th_str_of(a.id));
            if (th_random_below(r, 4))
                desk_answer(d, whose, a.task_id, "1");
            else
                desk_fail(d, whose, a.task_id, "no");
        }
    }
}

static void project_some(struct desk *d, struct th_random *r)
{
    if (th_random_below(r, 3) || !desk_project(d))
        return;
    desk_projected(d, th_random_below(r, 4) ? TH_OK : TH_UNAVAILABLE);
    desk_work(d);
}

/* Seeded inputs with crashes between them; whenever all is acknowledged the log agrees. */
static void random_run(uint64_t seed, bool ordered, size_t max_record, size_t checkpoint)
{
    struct th_random r;
    struct desk d;

    th_random_seed(&r, seed);
    begin(&d, 1);
    d.quiet_trace = true;
    d.options.traits.ordered = ordered;
    d.options.traits.max_record_bytes = max_record;
    d.options.checkpoint_records = checkpoint;
    d.options.max_instances = th_random_below(&r, 3);
    crash(&d);
    for (int n = 0; n < 120; n++) {
        drive(&d, &r);
        desk_work(&d);
        desk_ack(&d, th_random_below(&r, 3));
        desk_work(&d);
        project_some(&d, &r);
        if (th_random_below(&r, 20) == 0)
            crash(&d);
        if (d.append_count == 0 && th_random_below(&r, 2))
            desk_expect_recovery(&d);
        if (d.fenced)
            fail_msg("seed %llu, step %d: %s", (unsigned long long)seed, n, d.fence.message);
    }
    desk_settle(&d);
    desk_expect_recovery(&d);
    assert_true(th_partition_quiet(d.p));
    desk_deinit(&d);
}

static void run_seed(uint64_t seed)
{
    random_run(seed, seed % 2, seed % 3 ? 0 : 300, seed % 5 ? SIZE_MAX : 7);
}

static void test_at_any_moment(void **state)
{
    static const uint64_t once_wrong[] = {1065}; /* a purged instance was taken for a lost one */

    (void)state;
    for (size_t n = 0; n < TH_COUNT(once_wrong); n++)
        run_seed(once_wrong[n]);
    for (uint64_t seed = 1; seed <= 120; seed++)
        run_seed(seed);
}

/* ---- what was not acknowledged ---- */

static void test_a_lost_suffix_never_happened(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, 1);
    desk_deliver(&d, desk_start("a", "Fan"));
    desk_work(&d);
    desk_ack(&d, 1);
    desk_work(&d);
    desk_answer(&d, "a", 1, "1");
    desk_work(&d);
    assert_int_equal(d.append_count, 1);
    crash(&d); /* the answer is lost with its record: the task runs again, all of them do */
    assert_int_equal(d.activity_count, 3);
    for (int32_t n = 0; n < 3; n++)
        desk_answer(&d, "a", n, "1");
    desk_settle(&d);
    assert_int_equal(desk_status(&d, "a"), TH_STATUS_COMPLETED);
    desk_deinit(&d);
}

static void test_consumption_above_the_position(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, 1);
    d.hold_loads = true;
    desk_deliver(&d, desk_start("slow", "Fan"));
    desk_deliver(&d, desk_start("quick", "Fan"));
    desk_work(&d);
    th_partition_loaded(d.p, TH_STR("quick"), NULL, d.now); /* the first is not loaded yet */
    desk_work(&d);
    desk_ack(&d, 1);
    assert_int_equal(d.p->position, 0);
    desk_expect_recovery(&d);
    crash(&d);
    assert_int_equal(d.p->letter_count, 1); /* only "slow" is delivered again */
    desk_load(&d);
    desk_settle(&d);
    assert_int_equal(d.p->position, 2);
    assert_int_equal(desk_status(&d, "slow"), TH_STATUS_RUNNING);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

static void test_duplicates_across_a_crash(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, 4);
    char id[40];
    desk_id(&d, "a", 0, id);
    desk_deliver(&d, desk_from(desk_start(id, "Fan"), 2, 7, 1));
    desk_settle(&d);
    crash(&d);
    desk_deliver(&d, desk_from(desk_start(id, "Fan"), 2, 7, 1)); /* the sender tries again */
    desk_deliver(&d, desk_from(desk_raise(id, "e", NULL), 2, 7, 0));
    assert_int_equal(d.p->letter_count, 0);
    desk_deliver(&d, desk_from(desk_raise(id, "e", NULL), 2, 7, 2));
    assert_int_equal(d.p->letter_count, 1);
    desk_settle(&d);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

/* The vector belongs to the position: what is above it, and not consumed, is accepted again. */
static void test_a_message_below_one_that_was_consumed(void **state)
{
    (void)state;
    struct desk d;
    char slow[40], quick[40];

    begin(&d, 4);
    d.hold_loads = true;
    desk_id(&d, "slow", 0, slow);
    desk_id(&d, "quick", 0, quick);
    desk_deliver(&d, desk_from(desk_start(slow, "Fan"), 2, 7, 1));
    desk_deliver(&d, desk_from(desk_start(quick, "Fan"), 2, 7, 2));
    desk_work(&d);
    th_partition_loaded(d.p, th_str_of(quick), NULL, d.now);
    desk_work(&d);
    desk_ack(&d, 1);
    desk_expect_recovery(&d);
    crash(&d);
    desk_load(&d);
    desk_settle(&d);
    assert_int_equal(desk_status(&d, slow), TH_STATUS_RUNNING);
    assert_int_equal(desk_status(&d, quick), TH_STATUS_RUNNING);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

/* A fenced owner's record that comes to stand in the log, or one from beyond a lost suffix. */
static void test_a_record_that_is_not_valid(void **state)
{
    (void)state;
    struct desk d;
    struct th_record purge = {
        .kind = TH_RECORD_PURGE, .incarnation = 77, .sequence = 9, .instance_id = TH_STR("a")};

    begin(&d, 1);
    desk_deliver(&d, desk_start("a", "Fan"));
    desk_settle(&d);
    desk_foreign(&d, &purge); /* the epoch fits, the sequence does not */
    crash(&d);
    purge.sequence = 1;
    desk_foreign(&d, &purge); /* the sequence fits, the epoch does not */
    crash(&d);
    assert_int_equal(desk_status(&d, "a"), TH_STATUS_RUNNING);
    assert_int_equal(d.p->next_sequence, 1);
    assert_int_equal(d.activity_count, PARALLEL);
    desk_deinit(&d);
}

/* ---- activities beyond their execution ---- */

static void test_orphans_run_once(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, 1);
    desk_deliver(&d, desk_start("a", "Careless"));
    desk_settle(&d);
    assert_int_equal(desk_status(&d, "a"), TH_STATUS_COMPLETED);
    assert_int_equal(d.activity_count, 1); /* the last wish of an instance is carried out */
    crash(&d);
    assert_int_equal(d.activity_count, 1);
    desk_answer(&d, "a", 0, "1");
    desk_settle(&d);
    desk_expect_recovery(&d);
    assert_int_equal(d.p->task_count, 0);
    crash(&d);
    assert_int_equal(d.activity_count, 0);
    desk_expect_history(&d, "a",
                        "OrchestratorStarted ExecutionStarted TaskScheduled ExecutionCompleted "
                        "OrchestratorCompleted");
    desk_deinit(&d);
}

static void test_answers_of_an_earlier_generation(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, 1);
    desk_deliver(&d, desk_start("a", "Again"));
    desk_settle(&d);
    for (int n = 0; n < 5; n++) {
        assert_int_equal(d.activity_count, 1);
        assert_int_equal(d.p->task_count, 1); /* those before are closed */
        desk_answer(&d, "a", 0, "1");
        desk_settle(&d);
        desk_expect_recovery(&d);
    }
    assert_int_equal(desk_info(&d, "a")->generation, 5);
    crash(&d);
    assert_int_equal(d.activity_count, 1);
    desk_deinit(&d);
}

/* ---- crashes ---- */

static void test_a_poisonous_episode(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, 1);
    d.hold_runs = true; /* the process dies in it, whenever it runs */
    desk_deliver(&d, desk_start("a", "Fan"));
    for (int n = 0; n < 3; n++) {
        desk_work(&d);
        assert_int_equal(d.run_count, 1);
        desk_crash(&d);
        desk_open(&d);
        th_partition_crashed(d.p, TH_STR("a"), -1, TH_STR("SIGSEGV"), d.now);
        desk_pull(&d);
        desk_ack(&d, SIZE_MAX);
        desk_expect_recovery(&d);
    }
    desk_settle(&d);
    assert_int_equal(d.run_count, 0);
    assert_int_equal(desk_status(&d, "a"), TH_STATUS_FAILED);
    assert_str(desk_info(&d, "a")->failure->type, "OrchestratorCrashed");
    assert_str(desk_info(&d, "a")->failure->message,
               "the process died 3 times running this orchestrator (the last time: SIGSEGV); it is "
               "not tried again");
    assert_int_equal(d.p->position, 1);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

static void test_a_poisonous_activity(void **state)
{
    (void)state;
    struct desk d;
    TH_ARENA arena = {0};

    begin(&d, 1);
    desk_deliver(&d, desk_start("a", "Fan"));
    desk_settle(&d);
    for (int n = 0; n < 3; n++) {
        desk_crash(&d);
        desk_open(&d);
        th_partition_crashed(d.p, TH_STR("a"), 1, TH_STR("SIGABRT"), d.now);
        desk_settle(&d);
        desk_expect_recovery(&d);
        assert_int_equal(d.activity_count, n < 2 ? 3 : 2);
    }
    const struct th_events history = desk_history(&d, "a", &arena);
    const struct th_event *failed = &history.items[history.count - 2];
    assert_int_equal(failed->kind, TH_EVENT_TASK_FAILED);
    assert_str(failed->failure->type, "ActivityCrashed");
    assert_str(failed->failure->message,
               "the process died 3 times running this activity (the last time: SIGABRT); it is "
               "not tried again");
    desk_deinit(&d);
}

/* An activity whose execution is over can take the process down as well. */
static void test_a_poisonous_orphan(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, 1);
    desk_deliver(&d, desk_start("a", "Careless"));
    desk_settle(&d);
    for (int n = 0; n < 3; n++) {
        desk_crash(&d);
        desk_open(&d);
        th_partition_crashed(d.p, TH_STR("a"), 0, TH_STR("SIGABRT"), d.now);
        desk_settle(&d);
    }
    assert_int_equal(d.p->task_count, 0);
    desk_expect_recovery(&d);
    crash(&d);
    assert_int_equal(d.activity_count, 0);
    desk_deinit(&d);
}

/* ---- parts ---- */

static void test_a_large_record_goes_in_parts(void **state)
{
    (void)state;
    struct desk d;
    struct th_partition_task task;

    begin(&d, 1);
    d.options.traits.max_record_bytes = 1000;
    crash(&d);
    desk_deliver(&d, desk_start("a", "Big"));
    desk_work(&d);
    assert_true(d.append_count > 100);
    assert_true(d.largest_append <= 1000);
    desk_ack(&d, d.append_count - 1);
    desk_work(&d);
    assert_int_equal(d.activity_count, 0); /* void without the last one */
    desk_crash(&d);
    desk_open(&d);
    assert_null(desk_info(&d, "a"));
    desk_work(&d); /* it is written again, whole */
    desk_ack(&d, SIZE_MAX);
    desk_work(&d);
    assert_int_equal(d.activity_count, 1);
    desk_expect_recovery(&d);
    crash(&d);
    assert_int_equal(d.activity_count, 1);
    assert_true(th_partition_activity(d.p, d.activities[0].token, &task));
    assert_int_equal(task.input.len, 100000);
    assert_str(task.trace, "00-a-b-01");
    desk_answer(&d, "a", 0, "1");
    desk_settle(&d);
    assert_str(desk_info(&d, "a")->output, "\"big\"");
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

/* ---- checkpoints ---- */

static void test_a_checkpoint_is_enough(void **state)
{
    (void)state;
    struct desk d;
    char far[40], near[40];

    begin(&d, 4);
    desk_id(&d, "far", 3, far);
    desk_deliver(&d, desk_start(desk_id(&d, "parent", 0, near), "Parent"));
    desk_deliver(&d, desk_start(desk_id(&d, "fan", 0, near), "Fan"));
    desk_deliver(&d, desk_start(desk_id(&d, "again", 0, near), "Again"));
    desk_settle(&d);
    desk_answer(&d, near, 0, "1");
    desk_settle(&d);
    char sleeper[40];
    desk_deliver(&d, desk_start(desk_id(&d, "sleeper", 0, sleeper), "Sleep"));
    struct th_message later = desk_start(desk_id(&d, "later", 0, near), "Fan");
    later.event.fire_at = d.now + TH_SECOND;
    desk_deliver(&d, later);
    desk_settle(&d);
    d.p->options.checkpoint_records = 0;
    desk_settle(&d);
    assert_true(d.p->stats.checkpoints > 0);
    assert_true(d.log[0].offset > 0);
    assert_true(d.log_count <= 2);
    desk_expect_recovery(&d);
    d.options.checkpoint_records = SIZE_MAX;
    const size_t activities = d.activity_count;
    crash(&d);
    assert_int_equal(d.activity_count, activities);
    d.now += TH_SECOND;
    desk_settle(&d);
    assert_int_equal(desk_status(&d, near), TH_STATUS_RUNNING);
    for (int32_t n = 0; n < PARALLEL; n++)
        assert_true(desk_answer(&d, near, n, "1"));
    desk_settle(&d);
    assert_int_equal(desk_status(&d, near), TH_STATUS_COMPLETED);
    d.now = 1100 * TH_SECOND;
    desk_settle(&d);
    assert_int_equal(desk_status(&d, sleeper), TH_STATUS_COMPLETED);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

static void test_the_log_is_kept_until_rows_are_stored(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, 1);
    d.options.checkpoint_records = 1;
    crash(&d);
    desk_deliver(&d, desk_start("a", "Fan"));
    desk_work(&d);
    desk_ack(&d, SIZE_MAX);
    desk_work(&d);
    assert_int_equal(d.p->stats.checkpoints, 1);
    assert_int_equal(d.log[0].offset, 0);
    assert_true(desk_project(&d));
    desk_projected(&d, TH_UNAVAILABLE);
    desk_work(&d);
    assert_int_equal(d.log[0].offset, 0);
    assert_true(desk_project(&d));
    desk_projected(&d, TH_OK);
    desk_work(&d);
    assert_true(d.log[0].offset > 0);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

/* Rows are stored, and may be ahead of the records that a reader folds. */
static void test_rows_ahead_of_the_log(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, 1);
    desk_deliver(&d, desk_start("a", "Again"));
    desk_settle(&d);
    for (int n = 0; n < 3; n++) {
        desk_answer(&d, "a", 0, "1");
        desk_settle(&d);
    }
    assert_int_equal(d.log[0].offset, 0); /* nothing was trimmed: every record is folded again */
    crash(&d);
    desk_settle(&d);
    assert_int_equal(desk_info(&d, "a")->generation, 3);
    desk_expect_history(&d, "a",
                        "OrchestratorStarted ExecutionStarted TaskScheduled "
                        "OrchestratorCompleted");
    desk_deinit(&d);
}

/* ---- rewind, through records and a crash ---- */

static void test_a_rewound_instance(void **state)
{
    for (int with_crash = 0; with_crash < 2; with_crash++) {
        struct desk d;

        (void)state;
        begin(&d, 1);
        desk_deliver(&d, desk_start("a", "Fail"));
        desk_settle(&d);
        desk_fail(&d, "a", 0, "no");
        desk_settle(&d);
        assert_int_equal(desk_status(&d, "a"), TH_STATUS_FAILED);
        assert_str(desk_info(&d, "a")->turn_trace, "span");
        const th_time created = desk_info(&d, "a")->created;
        desk_deliver(&d, desk_asked(desk_message("a", TH_EVENT_EXECUTION_REWOUND), "w"));
        desk_settle(&d);
        if (with_crash)
            crash(&d);
        desk_expect_recovery(&d);
        assert_int_equal(desk_status(&d, "a"), TH_STATUS_RUNNING);
        assert_int_equal(desk_info(&d, "a")->created, created);
        assert_str(desk_info(&d, "a")->custom_status, "\"halfway\"");
        assert_int_equal(d.activity_count, 1);
        desk_answer(&d, "a", 0, "1");
        desk_settle(&d);
        assert_str(desk_info(&d, "a")->output, "\"mended\"");
        desk_expect_history(&d, "a",
                            "OrchestratorStarted ExecutionStarted OrchestratorCompleted | "
                            "OrchestratorStarted OrchestratorCompleted | OrchestratorStarted "
                            "TaskScheduled OrchestratorCompleted | OrchestratorStarted "
                            "TaskCompleted ExecutionCompleted OrchestratorCompleted");
        desk_expect_recovery(&d);
        desk_deinit(&d);
    }
}

/* ---- hostile logs ---- */

static void test_corrupt_records_are_named(void **state)
{
    (void)state;
    struct desk d;
    struct th_error error = {0};
    struct th_blob *junk = th_blob_new("junk", 4);
    struct th_partition *p;

    desk_init(&d, 1, code);
    p = th_partition_new(&d.options);
    assert_false(th_partition_feed(p, 5, junk, false, &error));
    assert_int_equal(error.code, TH_CORRUPT);
    assert_non_null(strstr(error.message, "record 5 of partition 0: "));
    th_blob_unref(junk);
    th_partition_free(p);
    desk_deinit(&d);
}

/* A checkpoint is all there is of what it holds: half of one must not be taken for the whole. */
static void test_a_corrupt_checkpoint_is_fatal(void **state)
{
    (void)state;
    struct desk d;
    struct th_record r = {.kind = TH_RECORD_CHECKPOINT, .incarnation = 77};
    TH_BUFFER body = {0};

    th_write_array(&body, 0);
    th_write_i64(&body, 0);
    th_write_array(&body, 0);
    th_write_array(&body, 0);
    th_write_array(&body, 3);
    r.body = th_buffer_view(&body);
    desk_init(&d, 1, code);
    desk_open(&d);
    r.nonce = d.p->claim_nonce;
    desk_foreign(&d, &r);
    desk_crash(&d);
    desk_open(&d);
    desk_deliver(&d, desk_start("a", "Fan"));
    desk_work(&d);
    assert_true(d.fenced);
    assert_int_equal(d.fence.code, TH_CORRUPT);
    assert_non_null(strstr(d.fence.message, "the checkpoint at 1 of partition 0: "));
    assert_int_equal(d.append_count, 0);
    desk_deinit(&d);
}

static void test_a_destination_that_does_not_exist(void **state)
{
    (void)state;
    struct desk d;
    const struct th_record_message message = {
        .destination = 9, .not_before = TH_TIME_NONE, .bytes = TH_STR("x")};
    const struct th_record r = {
        .kind = TH_RECORD_MARKS, .incarnation = 77, .messages = &message, .message_count = 1};

    desk_init(&d, 1, code);
    desk_open(&d);
    desk_foreign(&d, &r);
    desk_crash(&d);
    desk_open(&d);
    assert_int_equal(d.p->outbox_count, 0);
    desk_deinit(&d);
}

static void test_another_hubs_records_are_skipped(void **state)
{
    (void)state;
    struct desk d;
    const struct th_record old = {
        .kind = TH_RECORD_PURGE, .incarnation = 76, .instance_id = TH_STR("a")};

    desk_init(&d, 1, code);
    desk_foreign(&d, &old);
    desk_open(&d);
    assert_int_equal(d.p->next_sequence, 0);
    desk_deinit(&d);
}

/* ---- a log that lost its end ---- */

static struct th_log_record record_at(int64_t offset, const struct th_record *record)
{
    TH_BUFFER bytes = {0};

    th_encode_record(&bytes, record);
    return (struct th_log_record){offset, th_blob_new(bytes.data, bytes.len)};
}

/* Something else stands where the log is to begin. */
static void test_a_log_that_begins_with_no_checkpoint(void **state)
{
    (void)state;
    static const struct th_record marks = {
        .kind = TH_RECORD_MARKS, .incarnation = 77, .epoch = 3, .sequence = 9};
    struct desk d;
    struct th_error error = {0};
    struct th_log_record record = record_at(7, &marks);
    struct th_partition *p;

    desk_init(&d, 1, code);
    p = th_partition_new(&d.options);
    th_partition_begin(p, 10, 7, &(struct th_watermark){.offset = 8, .floor = 7}, 0, false, d.now);
    assert_false(th_partition_feed(p, 7, record.bytes, true, &error));
    assert_int_equal(error.code, TH_TRUNCATED);
    th_blob_unref(record.bytes);
    th_partition_free(p);
    desk_deinit(&d);
}

static void test_what_a_projection_stands_at(void **state)
{
    (void)state;
    static const struct {
        struct th_record record;
        bool reflected;
    } cases[] = {
        {{.kind = TH_RECORD_MARKS, .epoch = 3, .sequence = 9}, true},
        {{.kind = TH_RECORD_MARKS, .epoch = 3, .sequence = 8}, false}, /* one was lost before it */
        {{.kind = TH_RECORD_MARKS, .epoch = 2, .sequence = 9}, false},
        {{.kind = TH_RECORD_CLAIM}, false},
    };
    static const struct th_watermark claimed = {.offset = 7, .epoch = 7, .sequence = 4};
    const struct th_watermark w = {.offset = 7, .epoch = 3, .sequence = 10};

    for (size_t n = 0; n < TH_COUNT(cases); n++) {
        struct th_log_record record = record_at(7, &cases[n].record);

        assert_int_equal(th_partition_reflected(&record, &w), cases[n].reflected);
        assert_int_equal(th_partition_reflected(&record, &claimed),
                         cases[n].record.kind == TH_RECORD_CLAIM);
        assert_int_equal(th_partition_is_claim(&record), cases[n].record.kind == TH_RECORD_CLAIM);
        th_blob_unref(record.bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_log_that_begins_with_no_checkpoint),
        cmocka_unit_test(test_what_a_projection_stands_at),
        cmocka_unit_test(test_a_lost_suffix_never_happened),
        cmocka_unit_test(test_consumption_above_the_position),
        cmocka_unit_test(test_duplicates_across_a_crash),
        cmocka_unit_test(test_a_message_below_one_that_was_consumed),
        cmocka_unit_test(test_a_record_that_is_not_valid),
        cmocka_unit_test(test_orphans_run_once),
        cmocka_unit_test(test_answers_of_an_earlier_generation),
        cmocka_unit_test(test_a_poisonous_episode),
        cmocka_unit_test(test_a_poisonous_activity),
        cmocka_unit_test(test_a_poisonous_orphan),
        cmocka_unit_test(test_a_large_record_goes_in_parts),
        cmocka_unit_test(test_a_checkpoint_is_enough),
        cmocka_unit_test(test_the_log_is_kept_until_rows_are_stored),
        cmocka_unit_test(test_rows_ahead_of_the_log),
        cmocka_unit_test(test_a_rewound_instance),
        cmocka_unit_test(test_corrupt_records_are_named),
        cmocka_unit_test(test_a_corrupt_checkpoint_is_fatal),
        cmocka_unit_test(test_a_destination_that_does_not_exist),
        cmocka_unit_test(test_another_hubs_records_are_skipped),
        cmocka_unit_test(test_at_any_moment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
