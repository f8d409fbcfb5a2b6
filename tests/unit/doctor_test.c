/*
 * The doctor against a hub that a real core has written (partition_desk.h), two partitions of which
 * the second is made by hand: a hub that is well is found to be; and each damage that is done to a
 * copy of it is found, by its name.
 */
#include "unit/partition_desk.h"

#include "doctor/doctor.h"

#define INCARNATION 77

/* ---- a hub ----------------------------------------------------------------------------------- */

/* What is stored of one, to be damaged. Blobs are references. */
struct stored {
    struct th_log_record log[2][64];
    size_t log_count[2];
    int64_t log_start[2], log_end[2];
    struct th_blob *inbox[2][64]; /* by offset */
    size_t inbox_count[2];
    int64_t inbox_start[2];
    struct th_row rows[16];
    size_t row_count;
    uint64_t stored_rows;
    struct th_watermark mark;
    struct th_blob *activities[8];
    size_t activity_count;
    int64_t committed;
    bool away, stopped, unowned, serves_nothing;
    const char *trouble;
    th_time now;
};

/* Orchestrators: "Task" calls an activity and ends with it, "Child" starts one of another
 * partition, "Nap" waits for a timer, everything else for an event "end". */
static void code(struct desk *d, const struct th_episode *e, struct th_arena *arena,
                 struct th_actions *out)
{
    const bool first = code_fresh_count(e, TH_EVENT_EXECUTION_STARTED) > 0;
    char id[40];

    if (code_is(e, "Task") && first) {
        code_task(out, arena, 0, "work");
    } else if (code_is(e, "Nap") && first) {
        th_actions_add(out, arena, TH_ACTION_CREATE_TIMER, 0)->fire_at = d->now + 60 * TH_SECOND;
    } else if (code_is(e, "Child") && first) {
        struct th_action *child = th_actions_add(out, arena, TH_ACTION_CREATE_CHILD, 0);
        child->name = TH_STR("Other");
        child->instance_id = th_arena_str(arena, th_str_of(desk_id(d, "child", 1, id)));
    } else if (code_last(e, TH_EVENT_TASK_COMPLETED) || code_last(e, TH_EVENT_EVENT_RAISED)) {
        code_complete(out, arena, "\"ok\"");
    }
}

static bool goes_out(void *argument, struct th_str name, struct th_str version)
{
    (void)argument;
    (void)version;
    return th_str_eq(name, TH_STR("work"));
}

/* The second partition's log: a claim, and a record that raises an event in the first. */
static void write_other_log(struct stored *s, struct th_str message, uint64_t sent)
{
    const struct th_record_message outgoing = {
        .destination = 0, .not_before = TH_TIME_NONE, .bytes = message};
    const struct th_record records[] = {
        {.kind = TH_RECORD_CLAIM, .incarnation = INCARNATION, .worker = TH_STR("w"), .nonce = 9},
        {.kind = TH_RECORD_MARKS,
         .incarnation = INCARNATION,
         .nonce = 9,
         .messages = &outgoing,
         .message_count = 1},
        {.kind = TH_RECORD_MARKS,
         .incarnation = INCARNATION,
         .nonce = 9,
         .sequence = 1,
         .sent = sent},
    };

    for (size_t n = 0; n < TH_COUNT(records); n++) {
        TH_BUFFER bytes = {0};
        th_encode_record(&bytes, &records[n]);
        s->log[1][n] = (struct th_log_record){.offset = (int64_t)n,
                                              .bytes = th_blob_new(bytes.data, bytes.len)};
    }
    s->log_count[1] = TH_COUNT(records);
    s->log_end[1] = TH_COUNT(records);
}

static void copy_rows(struct stored *s, const struct desk *d)
{
    for (size_t n = 0; n < d->row_count; n++) {
        struct th_row row = d->rows[n].row;

        row.news = NULL; /* not the desk's */
        th_row_copy(&s->rows[n], &row);
    }
    s->row_count = s->stored_rows = d->row_count;
    s->mark = d->watermark;
}

/* Activity messages as the core sent them. */
static void take_sends(struct stored *s, struct desk *d)
{
    for (size_t n = 0; n < d->send_count; n++)
        if (d->sends[n].destination == TH_SEND_ACTIVITIES)
            s->activities[s->activity_count++] = th_blob_ref(d->sends[n].blob);
        else
            s->inbox[1][s->inbox_count[1]++] = th_blob_ref(d->sends[n].blob);
}

static void settle(struct stored *s, struct desk *d)
{
    desk_work(d);
    desk_ack(d, SIZE_MAX);
    desk_work(d);
    take_sends(s, d);
    desk_settle(d);
}

/* Instances of every kind: "a" ended, "waits" for an event, "task" for an activity of all workers,
 * "nap" for a timer, "parent" for a child that is about to begin. */
static void make(struct stored *s)
{
    struct desk d;
    char id[40];
    TH_BUFFER bytes = {0};

    *s = (struct stored){.committed = 0};
    desk_init(&d, 2, code);
    d.quiet_trace = true;
    d.options.traits =
        (struct th_provider_traits){.name = "desk", .shared = true, .max_record_bytes = 100000};
    d.options.goes_out = goes_out;
    desk_open(&d);
    desk_deliver(&d, desk_start(desk_id(&d, "a", 0, id), "Waits"));
    settle(s, &d);
    const struct th_message raise =
        desk_from(desk_raise(desk_id(&d, "a", 0, id), "end", "1"), 1, 0, 0);
    desk_deliver(&d, raise);
    settle(s, &d);
    static const char *const others[][2] = {
        {"waits", "Waits"}, {"task", "Task"}, {"nap", "Nap"}, {"parent", "Child"}};
    for (size_t n = 0; n < TH_COUNT(others); n++) {
        desk_deliver(&d, desk_start(desk_id(&d, others[n][0], 0, id), others[n][1]));
        settle(s, &d);
    }
    th_encode_message(&bytes, &raise);
    write_other_log(s, th_buffer_view(&bytes), 1);
    for (size_t n = 0; n < d.log_count; n++)
        s->log[0][s->log_count[0]++] =
            (struct th_log_record){.offset = d.log[n].offset, .bytes = th_blob_ref(d.log[n].bytes)};
    s->log_end[0] = d.log_end;
    for (size_t n = 0; n < d.inbox_count; n++)
        s->inbox[0][s->inbox_count[0]++] = th_blob_ref(d.inbox[n]);
    copy_rows(s, &d);
    s->now = d.now;
    desk_deinit(&d);
}

static void drop(struct stored *s)
{
    for (int p = 0; p < 2; p++) {
        for (size_t n = 0; n < s->log_count[p]; n++)
            th_blob_unref(s->log[p][n].bytes);
        for (size_t n = 0; n < s->inbox_count[p]; n++)
            th_blob_unref(s->inbox[p][n]);
    }
    for (size_t n = 0; n < s->activity_count; n++)
        th_blob_unref(s->activities[n]);
    for (size_t n = 0; n < TH_COUNT(s->rows); n++)
        th_row_deinit(&s->rows[n]);
}

/* ---- examining it ---------------------------------------------------------------------------- */

static void tell_workers(struct th_doctor *d, const struct stored *s)
{
    if (s->stopped)
        return;
    th_doctor_worker(d, "w");
    if (!s->unowned)
        th_doctor_owner(d, 0, "w");
    th_doctor_owner(d, 1, "w");
    if (s->trouble)
        th_doctor_trouble(d, 0, s->trouble);
    if (!s->serves_nothing)
        return;
    th_doctor_unserved(d, TH_FUNCTION_ORCHESTRATOR, TH_STR("Other"));
    th_doctor_unserved(d, TH_FUNCTION_ACTIVITY, TH_STR("WORK"));
}

static void feed_rows(struct th_doctor *d, const struct stored *s)
{
    const struct th_watermark nothing = TH_WATERMARK_NONE;

    if (s->away) {
        th_doctor_projection_away(d, "Redis does not answer");
        return;
    }
    th_doctor_watermark(d, 0, &s->mark, s->stored_rows);
    th_doctor_watermark(d, 1, &nothing, 0);
    for (size_t n = 0; n < s->row_count; n++)
        th_doctor_row(d, 0, &s->rows[n]);
}

static struct th_doctor *examine(const struct stored *s)
{
    const struct th_doctor_options options = {
        .hub = "Test",
        .incarnation = INCARNATION,
        .partitions = 2,
        .activity_partitions = 1,
        .traits = {.name = "desk", .shared = true, .max_record_bytes = 100000},
        .now = s->now,
        .grace = 10 * TH_SECOND};
    struct th_doctor *d = th_doctor_new(&options);

    feed_rows(d, s);
    for (uint32_t p = 0; p < 2; p++) {
        th_doctor_log(d, p, s->log_start[p], s->log_end[p]);
        for (size_t n = 0; n < s->log_count[p]; n++)
            th_doctor_record(d, p, s->log[p][n].offset, s->log[p][n].bytes);
        th_doctor_log_done(d, p);
    }
    th_doctor_activities(d, 0, 0, (int64_t)s->activity_count, s->committed);
    for (size_t n = 0; n < s->activity_count; n++)
        th_doctor_activity(d, 0, (int64_t)n, s->activities[n]);
    for (uint32_t p = 0; p < 2; p++) {
        th_doctor_inbox(d, p, s->inbox_start[p], (int64_t)s->inbox_count[p]);
        for (size_t n = (size_t)s->inbox_start[p]; n < s->inbox_count[p]; n++)
            th_doctor_message(d, p, (int64_t)n, s->inbox[p][n]);
    }
    tell_workers(d, s);
    th_doctor_judge(d);
    return d;
}

static bool found(const struct th_doctor *d, enum th_doctor_kind kind)
{
    const struct th_doctor_finding *f;

    for (size_t n = 0; (f = th_doctor_finding(d, n)); n++)
        if (f->kind == kind)
            return true;
    return false;
}

static void print_findings(const struct th_doctor *d)
{
    const struct th_doctor_finding *f;

    for (size_t n = 0; (f = th_doctor_finding(d, n)); n++)
        print_message("%s: %s\n", th_doctor_kind_text(f->kind), f->text);
}

/* Damages a hub that is well; the doctor has to say so, and healthy only of a note. */
static void expect(void (*damage)(struct stored *s), enum th_doctor_kind kind)
{
    struct stored s;

    make(&s);
    damage(&s);
    struct th_doctor *d = examine(&s);
    if (!found(d, kind)) {
        print_findings(d);
        fail_msg("%s was not found", th_doctor_kind_text(kind));
    }
    assert_int_equal(th_doctor_healthy(d), th_doctor_severity(kind) == TH_DOCTOR_NOTE);
    th_doctor_free(d);
    drop(&s);
}

struct expectation {
    const char *prefix;
    enum th_doctor_state state;
    char text[512];
    bool seen;
};

static void look(void *argument, const struct th_doctor_instance *i)
{
    struct expectation *w = argument;

    if (!th_str_starts(i->instance_id, th_str_of(w->prefix)) ||
        (i->instance_id.len > strlen(w->prefix) && i->instance_id.data[strlen(w->prefix)] > '9'))
        return;
    w->seen = true;
    w->state = i->state;
    snprintf(w->text, sizeof w->text, "%s", i->text);
}

/* What is said of the instance whose id begins so. */
static void expect_state(const struct stored *s, const char *prefix, enum th_doctor_state state,
                         const char *text)
{
    struct expectation w = {.prefix = prefix};
    struct th_doctor *d = examine(s);

    th_doctor_each(d, look, &w);
    assert_true(w.seen);
    if (w.state != state || !strstr(w.text, text))
        fail_msg("%s is %s: %s", prefix, th_doctor_state_text(w.state), w.text);
    th_doctor_free(d);
}

/* ---- a hub that is well ---------------------------------------------------------------------- */

static void test_a_hub_that_is_well(void **state)
{
    (void)state;
    struct stored s;
    struct th_doctor_counts counts;

    make(&s);
    struct th_doctor *d = examine(&s);
    print_findings(d);
    assert_true(th_doctor_healthy(d));
    th_doctor_count(d, &counts);
    assert_int_equal(counts.rows, 5);
    assert_int_equal(counts.equal, 5);
    assert_int_equal(counts.ended, 1);
    assert_int_equal(counts.sent, 2); /* the event, and the child's start */
    assert_int_equal(counts.found, 2);
    assert_int_equal(counts.waiting, 1);
    assert_int_equal(counts.activities, 1);
    th_doctor_free(d);
    drop(&s);
}

static void test_what_each_instance_waits_for(void **state)
{
    (void)state;
    struct stored s;

    make(&s);
    expect_state(&s, "a", TH_DOCTOR_ENDED, "");
    expect_state(&s, "waits", TH_DOCTOR_WAITING, "an event");
    expect_state(&s, "task", TH_DOCTOR_WAITING, "activity work (0), message 0 of partition 0");
    expect_state(&s, "nap", TH_DOCTOR_WAITING, "timer (0) due at");
    expect_state(&s, "parent", TH_DOCTOR_WAITING, "about to begin");
    expect_state(&s, "child", TH_DOCTOR_WAITING, "messages to be taken");
    s.serves_nothing = true;
    expect_state(&s, "task", TH_DOCTOR_WAITING, "a program that serves activity work (0)");
    expect_state(&s, "child", TH_DOCTOR_WAITING, "a program that serves orchestrator Other");
    s.serves_nothing = false;
    s.stopped = true;
    expect_state(&s, "nap", TH_DOCTOR_WAITING, "no worker is there");
    s.stopped = false;
    s.unowned = true;
    expect_state(&s, "nap", TH_DOCTOR_WAITING, "no worker owns its partition");
    s.trouble = "the disk is full";
    expect_state(&s, "nap", TH_DOCTOR_WAITING, "the disk is full");
    drop(&s);
}

/* ---- damages --------------------------------------------------------------------------------- */

static void replace(struct th_blob **blob, const char *bytes, size_t len)
{
    th_blob_unref(*blob);
    *blob = th_blob_new(bytes, len);
}

static void record_unreadable(struct stored *s)
{
    replace(&s->log[0][3].bytes, "\x93\x01", 2);
}

static void remove_record(struct stored *s, size_t at, bool hole)
{
    th_blob_unref(s->log[0][at].bytes);
    memmove(&s->log[0][at], &s->log[0][at + 1], (--s->log_count[0] - at) * sizeof(s->log[0][0]));
    for (size_t n = at; !hole && n < s->log_count[0]; n++)
        s->log[0][n].offset--;
    s->log_end[0] -= !hole;
}

static void hole_in_the_log(struct stored *s)
{
    remove_record(s, 2, true);
}

static void end_of_the_log_missing(struct stored *s)
{
    for (int n = 0; n < 3; n++)
        remove_record(s, s->log_count[0] - 1, false);
}

static void record_missing(struct stored *s)
{
    remove_record(s, 2, false);
}

static void add_record(struct stored *s, const struct th_record *record)
{
    TH_BUFFER bytes = {0};

    th_encode_record(&bytes, record);
    s->log[0][s->log_count[0]++] = (struct th_log_record){
        .offset = s->log_end[0]++, .bytes = th_blob_new(bytes.data, bytes.len)};
}

static void record_twice(struct stored *s)
{
    s->log[0][s->log_count[0]] = (struct th_log_record){
        .offset = s->log_end[0]++, .bytes = th_blob_ref(s->log[0][s->log_count[0] - 1].bytes)};
    s->log_count[0]++;
}

static struct th_record last_record(const struct stored *s, struct th_arena *arena)
{
    struct th_reader in =
        th_reader_of(th_blob_view(s->log[0][s->log_count[0] - 1].bytes), arena, NULL);
    struct th_record record;

    assert_true(th_decode_record(&in, &record));
    return record;
}

/* The next record of the owner, with marks as the last one's. */
static struct th_record next_record(const struct stored *s, struct th_arena *arena)
{
    const struct th_record last = last_record(s, arena);

    return (struct th_record){.kind = TH_RECORD_MARKS,
                              .incarnation = INCARNATION,
                              .epoch = last.epoch,
                              .nonce = last.nonce,
                              .sequence = last.sequence + 1,
                              .time = last.time,
                              .position = last.position,
                              .sent = last.sent};
}

#define NEXT(s)           \
    TH_ARENA arena = {0}; \
    struct th_record next = next_record(s, &arena)

static void epoch_without_claim(struct stored *s)
{
    NEXT(s);
    next.epoch = 1000;
    add_record(s, &next);
}

static void position_goes_back(struct stored *s)
{
    NEXT(s);
    next.position = 1;
    add_record(s, &next);
}

static void position_beyond_the_inbox(struct stored *s)
{
    NEXT(s);
    next.position = 1000;
    add_record(s, &next);
}

static void message_consumed_twice(struct stored *s)
{
    static const int64_t consumed[] = {0};
    NEXT(s);
    next.consumed = consumed;
    next.consumed_count = 1;
    add_record(s, &next);
}

static void local_consumed_twice(struct stored *s)
{
    static const struct th_local_ref ref = {.sequence = 1, .index = 0};
    NEXT(s);
    next.consumed_local = &ref;
    next.consumed_local_count = 1;
    add_record(s, &next);
}

static void answered_twice(struct stored *s)
{
    struct th_event event = th_event_of(TH_EVENT_TASK_COMPLETED, s->now);
    TH_BUFFER events = {0};
    NEXT(s);
    for (size_t n = 0; n < s->row_count; n++) {
        struct th_instance_info info;
        struct th_reader in = th_reader_of(th_blob_view(s->rows[n].info), &arena, NULL);

        if (!th_str_starts(s->rows[n].instance_id, TH_STR("task")) || !th_decode_info(&in, &info))
            continue;
        next.kind = TH_RECORD_EPISODE;
        next.instance_id = s->rows[n].instance_id;
        next.execution_id = info.execution_id;
    }
    event.related_id = 0;
    th_encode_event(&events, &event);
    th_encode_event(&events, &event);
    next.events = th_buffer_view(&events);
    add_record(s, &next);
}

static void message_never_came(struct stored *s)
{
    /* in the place of the other partition's event stands the first start again */
    replace(&s->inbox[0][1], s->inbox[0][0]->data, s->inbox[0][0]->len);
}

static void message_from_nowhere(struct stored *s)
{
    TH_BUFFER bytes = {0};
    const struct th_message m = desk_from(desk_raise("a", "end", "1"), 1, 1, 0);

    th_encode_message(&bytes, &m);
    s->inbox[0][s->inbox_count[0]++] = th_blob_new(bytes.data, bytes.len);
}

static void message_behind_a_later_one(struct stored *s)
{
    struct th_blob *first = s->inbox[0][1];
    TH_BUFFER bytes = {0};
    const struct th_message later = desk_from(desk_raise("a", "end", "2"), 1, 5, 0);

    th_encode_message(&bytes, &later);
    s->inbox[0][1] = th_blob_new(bytes.data, bytes.len);
    s->inbox[0][s->inbox_count[0]++] = first;
}

static void message_unreadable(struct stored *s)
{
    replace(&s->inbox[0][0], "?", 1);
}

static void inbox_trimmed_early(struct stored *s)
{
    s->inbox[0][s->inbox_count[0]] = th_blob_ref(s->inbox[0][0]);
    s->inbox[0][s->inbox_count[0] + 1] = th_blob_ref(s->inbox[0][0]);
    s->inbox_count[0] += 2;
    s->inbox_start[0] = (int64_t)s->inbox_count[0] - 1;
}

static void activity_from_nowhere(struct stored *s)
{
    TH_BUFFER bytes = {0};
    struct th_message m = desk_message("task", TH_EVENT_TASK_SCHEDULED);

    m.origin = (struct th_origin){.partition = 0, .sequence = 1, .index = 9};
    th_encode_message(&bytes, &m);
    s->activities[s->activity_count++] = th_blob_new(bytes.data, bytes.len);
}

static void activity_finished_without_result(struct stored *s)
{
    s->committed = 1;
}

/* A later record says that it was sent. */
static void activity_message_missing(struct stored *s)
{
    NEXT(s);
    next.sent = next.sequence;
    add_record(s, &next);
    th_blob_unref(s->activities[--s->activity_count]);
}

static void row_missing(struct stored *s)
{
    th_row_deinit(&s->rows[--s->row_count]);
    s->stored_rows--;
    s->mark.rows--;
}

static void row_stale(struct stored *s)
{
    for (size_t n = 0; n < s->row_count; n++)
        if (s->rows[n].status == TH_STATUS_COMPLETED)
            s->rows[n].last = 1; /* of its start */
}

static void row_with_another_status(struct stored *s)
{
    s->rows[0].status = TH_STATUS_FAILED;
}

static void row_with_another_output(struct stored *s)
{
    for (size_t n = 0; n < s->row_count; n++)
        if (s->rows[n].output)
            replace(&s->rows[n].output, "\"no\"", 4);
}

static void row_with_a_shorter_history(struct stored *s)
{
    while (s->rows[0].history_count > 0)
        th_blob_unref(s->rows[0].history[--s->rows[0].history_count]);
}

static void row_from_nowhere(struct stored *s)
{
    s->rows[0].last += 100;
}

static void rows_uncounted(struct stored *s)
{
    s->stored_rows++;
}

static void rows_without_parts(struct stored *s)
{
    s->stored_rows = UINT64_MAX;
}

static void projection_away(struct stored *s)
{
    s->away = true;
}

static void projection_wiped(struct stored *s)
{
    while (s->row_count > 0)
        th_row_deinit(&s->rows[--s->row_count]);
    s->stored_rows = 0;
    s->mark = TH_WATERMARK_NONE;
}

static void partition_without_owner(struct stored *s)
{
    s->unowned = true;
}

static void partition_in_trouble(struct stored *s)
{
    s->unowned = true;
    s->trouble = "its log lost its end";
}

static void timer_not_fired(struct stored *s)
{
    s->now += 100 * TH_SECOND;
}

static void child_nowhere(struct stored *s)
{
    NEXT(s);
    next.sent = next.sequence; /* its start counts as sent */
    add_record(s, &next);
    while (s->inbox_count[1] > 0)
        th_blob_unref(s->inbox[1][--s->inbox_count[1]]);
}

static void log_begins_oddly(struct stored *s)
{
    for (int n = 0; n < 2; n++)
        remove_record(s, 0, true);
    s->log_start[0] = 2;
}

static void test_each_damage_is_found(void **state)
{
    (void)state;
    expect(record_unreadable, TH_DOCTOR_LOG_UNREADABLE);
    expect(hole_in_the_log, TH_DOCTOR_LOG_HOLE);
    expect(log_begins_oddly, TH_DOCTOR_LOG_START);
    expect(end_of_the_log_missing, TH_DOCTOR_LOG_END);
    expect(record_missing, TH_DOCTOR_SEQUENCE_SKIPPED);
    expect(record_twice, TH_DOCTOR_SEQUENCE_REPEATED);
    expect(epoch_without_claim, TH_DOCTOR_EPOCH_UNKNOWN);
    expect(position_goes_back, TH_DOCTOR_POSITION_BACK);
    expect(position_beyond_the_inbox, TH_DOCTOR_POSITION_AHEAD);
    expect(message_consumed_twice, TH_DOCTOR_CONSUMED_TWICE);
    expect(local_consumed_twice, TH_DOCTOR_LOCAL_TWICE);
    expect(answered_twice, TH_DOCTOR_ANSWER_TWICE);
    expect(message_never_came, TH_DOCTOR_VECTOR);
    expect(message_never_came, TH_DOCTOR_MESSAGE_LOST);
    expect(message_behind_a_later_one, TH_DOCTOR_MESSAGE_LOST);
    expect(message_from_nowhere, TH_DOCTOR_MESSAGE_UNFOUNDED);
    expect(message_unreadable, TH_DOCTOR_MESSAGE_UNREADABLE);
    expect(inbox_trimmed_early, TH_DOCTOR_INBOX_TRIMMED);
    expect(activity_from_nowhere, TH_DOCTOR_MESSAGE_UNFOUNDED);
    expect(activity_finished_without_result, TH_DOCTOR_ACTIVITY_LOST);
    expect(activity_message_missing, TH_DOCTOR_ACTIVITY_LOST);
    expect(row_missing, TH_DOCTOR_ROW_MISSING);
    expect(row_stale, TH_DOCTOR_ROW_STALE);
    expect(row_with_another_status, TH_DOCTOR_ROW_DIFFERS);
    expect(row_with_another_output, TH_DOCTOR_ROW_DIFFERS);
    expect(row_with_a_shorter_history, TH_DOCTOR_ROW_DIFFERS);
    expect(row_from_nowhere, TH_DOCTOR_ROW_UNFOUNDED);
    expect(rows_uncounted, TH_DOCTOR_ROW_COUNT);
    expect(rows_without_parts, TH_DOCTOR_ROW_COUNT);
    expect(projection_away, TH_DOCTOR_PROJECTION_AWAY);
    expect(projection_wiped, TH_DOCTOR_PROJECTION_BUILDING);
    expect(partition_without_owner, TH_DOCTOR_NOT_OWNED);
    expect(partition_in_trouble, TH_DOCTOR_TROUBLE);
    expect(timer_not_fired, TH_DOCTOR_INSTANCE_STUCK);
    expect(child_nowhere, TH_DOCTOR_MESSAGE_LOST);
    expect(child_nowhere, TH_DOCTOR_INSTANCE_STUCK);
}

/* A hub that runs writes on while it is read: what an inbox holds may be newer than the log. */
static void test_messages_that_are_newer_than_the_log(void **state)
{
    (void)state;
    struct stored s;
    TH_BUFFER bytes = {0};
    const struct th_message m = desk_from(desk_raise("a", "end", "1"), 1, 7, 0);

    make(&s);
    th_encode_message(&bytes, &m);
    s.inbox[0][s.inbox_count[0]++] = th_blob_new(bytes.data, bytes.len);
    struct th_doctor *d = examine(&s);
    assert_true(th_doctor_healthy(d));
    th_doctor_free(d);
    drop(&s);
}

/* Records of an owner that was replaced are void, and no damage. */
static void test_fenced_records_are_counted(void **state)
{
    (void)state;
    struct stored s;
    struct th_doctor_counts counts;
    TH_ARENA arena = {0};

    make(&s);
    const struct th_record zombie = next_record(&s, &arena);
    const struct th_record claim = {
        .kind = TH_RECORD_CLAIM, .incarnation = INCARNATION, .worker = TH_STR("b"), .nonce = 5};
    const struct th_record foreign = {.kind = TH_RECORD_MARKS, .incarnation = 3, .epoch = 1};
    add_record(&s, &claim);
    add_record(&s, &zombie);
    add_record(&s, &foreign);
    struct th_doctor *d = examine(&s);
    print_findings(d);
    assert_true(th_doctor_healthy(d));
    th_doctor_count(d, &counts);
    assert_int_equal(counts.fenced, 1);
    assert_int_equal(counts.foreign, 1);
    assert_int_equal(counts.claims, 3);
    th_doctor_free(d);
    drop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_hub_that_is_well),
        cmocka_unit_test(test_what_each_instance_waits_for),
        cmocka_unit_test(test_each_damage_is_found),
        cmocka_unit_test(test_messages_that_are_newer_than_the_log),
        cmocka_unit_test(test_fenced_records_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
