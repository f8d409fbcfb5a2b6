/*
 * Programs of several releases own a partition in turn: what they write for each other is read, and
 * what the oldest does not know it refuses, so that it is still there for the others.
 */
#include "unit/partition_desk.h"

/* Knows format 1; reads format 2, too; writes it as well. */
static const struct th_formats releases[] = {{1, 1}, {1, 2}, {2, 2}};

/* Collects events; ends with "end". Its output is the names it saw, in order. */
static void code(struct desk *d, const struct th_episode *e, struct th_arena *arena,
                 struct th_actions *out)
{
    TH_BUFFER names = {0};
    bool end = false;

    (void)d;
    for (size_t n = 0; n < e->past_count + e->fresh_count; n++) {
        const struct th_event *event =
            n < e->past_count ? &e->past[n] : &e->fresh[n - e->past_count];
        if (event->kind != TH_EVENT_EVENT_RAISED)
            continue;
        th_buffer_format(&names, "%.*s ", TH_PRI(event->name));
        end |= th_str_eq(event->name, TH_STR("end"));
    }
    th_buffer_add(&names, "", 1);
    if (end)
        code_complete(out, arena, names.data);
}

static void begin(struct desk *d, unsigned release)
{
    desk_init(d, 1, code);
    d->options.formats = releases[release];
    desk_open(d);
}

static void take_over(struct desk *d, unsigned release)
{
    if (d->p)
        desk_crash(d);
    d->options.formats = releases[release];
    desk_open(d);
}

static void expect_refusal(struct desk *d, unsigned release, const char *words)
{
    struct th_error error = {.code = TH_OK};

    if (d->p)
        desk_crash(d);
    d->options.formats = releases[release];
    d->may_refuse = true;
    assert_false(desk_try_open(d, &error));
    d->may_refuse = false;
    assert_int_equal(error.code, TH_UNSUPPORTED);
    if (!strstr(error.message, words) || !strstr(error.message, "upgrade it"))
        fail_msg("%s", error.message);
}

static void raise_one(struct desk *d, const char *name, uint32_t format)
{
    struct th_message m = desk_raise("a", name, NULL);

    m.format = format;
    desk_deliver(d, m);
}

/* ---- in order -------------------------------------------------------------------------------- */

static void test_neighbours_take_over_from_each_other(void **state)
{
    (void)state;
    static const unsigned owners[] = {0, 1, 0, 1, 1, 2, 1, 2, 2, 1};
    static const char *const names[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
    struct desk d;

    desk_init(&d, 1, code);
    d.options.checkpoint_records = 3; /* so that they read each other's checkpoints and rows */
    for (size_t n = 0; n < TH_COUNT(owners); n++) {
        take_over(&d, owners[n]);
        if (n == 0)
            desk_deliver(&d, desk_start("a", "Collect"));
        raise_one(&d, names[n], d.options.formats.writes);
        if (n % 3 == 0) /* its row, and nothing else */
            desk_settle(&d);
        else
            desk_work(&d);
        desk_ack(&d, d.append_count);
    }
    raise_one(&d, "end", 1);
    desk_settle(&d);
    assert_str(desk_info(&d, "a")->output, "0 1 2 3 4 5 6 7 8 9 end ");
    assert_true(d.p->stats.checkpoints > 0);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

/* ---- out of order ---------------------------------------------------------------------------- */

static void expect_end(struct desk *d, const char *output)
{
    raise_one(d, "end", 1);
    desk_settle(d);
    assert_str(desk_info(d, "a")->output, output);
    desk_expect_recovery(d);
    desk_deinit(d);
}

static void test_records(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, 2);
    desk_deliver(&d, desk_start("a", "Collect"));
    raise_one(&d, "one", 2);
    desk_work(&d);
    desk_ack(&d, d.append_count);
    expect_refusal(&d, 0, "a record of format 2, which is newer than this program knows (1)");
    expect_refusal(&d, 0, "record 1 of partition 0"); /* and nothing has changed by that */
    take_over(&d, 1);
    expect_end(&d, "one end ");
}

static void test_checkpoints(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, 2);
    d.p->options.checkpoint_records = 1;
    desk_deliver(&d, desk_start("a", "Collect"));
    raise_one(&d, "one", 2);
    desk_settle(&d);
    assert_true(d.p->stats.checkpoints > 0);
    expect_refusal(&d, 0, "a record of format 2");
    take_over(&d, 2);
    expect_end(&d, "one end ");
}

/* It is not consumed as one that nobody can read. */
static void test_messages(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, 0);
    desk_deliver(&d, desk_start("a", "Collect"));
    desk_settle(&d);
    raise_one(&d, "one", 2);
    desk_pull(&d);
    assert_true(d.fenced);
    assert_int_equal(d.fence.code, TH_UNSUPPORTED);
    assert_non_null(strstr(d.fence.message, "message 1 of the inbox of partition 0"));
    take_over(&d, 0); /* and again */
    desk_pull(&d);
    assert_true(d.fenced);
    take_over(&d, 1);
    expect_end(&d, "one end ");
}

/* Bytes that are no message block nothing, as ever. */
static void test_damaged_messages(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, 0);
    desk_deliver_bytes(&d, TH_STR("\x81"));
    desk_deliver(&d, desk_start("a", "Collect"));
    desk_settle(&d);
    expect_end(&d, "end ");
}

/* A newer message stays one when an older program than its sender's parks it. */
static void test_parked_messages(void **state)
{
    (void)state;
    struct desk d;
    struct th_message suspend = desk_message("a", TH_EVENT_EXECUTION_SUSPENDED);
    struct th_message resume = desk_message("a", TH_EVENT_EXECUTION_RESUMED);

    begin(&d, 1);
    desk_deliver(&d, desk_start("a", "Collect"));
    desk_deliver(&d, suspend);
    desk_settle(&d);
    raise_one(&d, "one", 2);
    desk_settle(&d);
    expect_refusal(&d, 0, "a message in the log of partition 0");
    take_over(&d, 1);
    d.p->options.checkpoint_records = 1;
    desk_deliver(&d, desk_start("b", "Collect"));
    desk_settle(&d);
    assert_true(d.p->stats.checkpoints > 0);
    expect_refusal(&d, 0, "a local message: a message of format 2");
    take_over(&d, 1);
    desk_deliver(&d, resume);
    expect_end(&d, "one end ");
}

static void test_rows(void **state)
{
    (void)state;
    struct desk d;
    TH_BUFFER bytes = {0};

    begin(&d, 1);
    d.p->options.checkpoint_records = 1;
    desk_deliver(&d, desk_start("a", "Collect"));
    raise_one(&d, "one", 1);
    desk_settle(&d);
    struct th_instance_info info = *desk_info(&d, "a");
    struct desk_row *row = (struct desk_row *)desk_row(&d, "a");
    info.format = 2; /* as a program with format 2 may make it */
    th_encode_info(&bytes, &info, false);
    th_blob_unref(row->row.info);
    row->row.info = th_blob_new(bytes.data, bytes.len);
    take_over(&d, 0); /* it need not look at the row yet */
    desk_deliver(&d, desk_raise("a", "two", NULL));
    desk_settle(&d);
    assert_true(d.fenced);
    assert_int_equal(d.fence.code, TH_UNSUPPORTED);
    assert_non_null(strstr(d.fence.message, "an instance of format 2"));
    take_over(&d, 1);
    expect_end(&d, "one two end ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_neighbours_take_over_from_each_other),
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_checkpoints),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_damaged_messages),
        cmocka_unit_test(test_parked_messages),
        cmocka_unit_test(test_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
