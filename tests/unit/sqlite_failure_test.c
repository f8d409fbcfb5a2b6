/* What the embedded provider does when its disk fails: full, broken, or damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <sqlite3.h>
#include <cmocka.h>

#include "base/memory.h"
#include "unit/sqlite_rig.h"
#include "unit/sqlite_vfs.h"

static int set_up(void **state)
{
    struct rig *r = TH_NEW(struct rig);
    rig_init(r);
    rig_open(r, FAULTY_DISK, false);
    *state = r;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *r = *state;
    faulty_disk_fail(0);
    rig_deinit(r);
    faulty_disk_reset();
    free(r);
    return 0;
}

static void full_disk_is_named(void **state)
{
    struct rig *r = *state;
    uint64_t epoch = (uint64_t)rig_offset(r, rig_claim(r, 0));
    faulty_disk_fail(SQLITE_FULL);
    const struct th_completion *c = rig_wait(r, rig_append(r, 0, epoch, "lost"));
    assert_int_equal(c->error.code, TH_UNAVAILABLE);
    assert_non_null(strstr(c->error.message, r->file));
    assert_non_null(strstr(c->error.message, "full"));
}

static void after_a_failure_the_epoch_is_over(void **state)
{
    struct rig *r = *state;
    uint64_t epoch = (uint64_t)rig_offset(r, rig_claim(r, 0));
    assert_int_equal(rig_offset(r, rig_append(r, 0, epoch, "one")), epoch + 1);
    faulty_disk_fail(SQLITE_IOERR);
    assert_int_equal(rig_code(r, rig_append(r, 0, epoch, "lost")), TH_IO);
    assert_int_equal(rig_code(r, rig_claim(r, 0)), TH_IO);
    faulty_disk_fail(0);
    assert_int_equal(rig_code(r, rig_append(r, 0, epoch, "late")), TH_UNAVAILABLE);

    uint64_t again = (uint64_t)rig_offset(r, rig_claim(r, 0));
    assert_int_equal(again, epoch + 2); /* dense: what was lost left no hole */
    assert_int_equal(rig_offset(r, rig_append(r, 0, again, "two")), again + 1);
    const struct th_completion *c = rig_wait(r, rig_read(r, 0, 0, INT64_MAX));
    assert_int_equal(c->record_count, 4);
    assert_true(rig_blob_is(c->records[1].bytes, "one"));
    assert_true(rig_blob_is(c->records[3].bytes, "two"));
}

/* All partitions, because what was submitted later may rest on what was lost. */
static void a_failure_breaks_every_partition(void **state)
{
    struct rig *r = *state;
    uint64_t zero = (uint64_t)rig_offset(r, rig_claim(r, 0));
    uint64_t one = (uint64_t)rig_offset(r, rig_claim(r, 1));
    faulty_disk_fail(SQLITE_FULL);
    assert_int_equal(rig_code(r, rig_append(r, 0, zero, "lost")), TH_UNAVAILABLE);
    faulty_disk_fail(0);
    struct th_projection batch = {.partition = 1, .previous.offset = -1, .next.offset = 1};
    assert_int_equal(rig_code(r, rig_append(r, 1, one, "x")), TH_UNAVAILABLE);
    assert_int_equal(rig_code(r, rig_send(r, 1, 2, "x")), TH_UNAVAILABLE);
    assert_int_equal(rig_code(r, rig_project(r, &batch)), TH_UNAVAILABLE);
    assert_int_equal(rig_code(r, rig_send(r, RIG_CLIENT, 2, "x")), TH_OK);
    one = (uint64_t)rig_offset(r, rig_claim(r, 1));
    assert_int_equal(rig_code(r, rig_append(r, 1, one, "x")), TH_OK);
    assert_int_equal(rig_code(r, rig_send(r, 1, 2, "x")), TH_OK);
    assert_int_equal(rig_code(r, rig_project(r, &batch)), TH_OK);
}

/* A refused message may have been delivered in memory: its receiver must start over. */
static void a_refused_send_breaks_its_destination(void **state)
{
    struct rig *r = *state;
    rig_offset(r, rig_claim(r, 0));
    uint64_t one = (uint64_t)rig_offset(r, rig_claim(r, 1));
    faulty_disk_fail(SQLITE_FULL);
    assert_int_equal(rig_code(r, rig_append(r, 1, one, "lost")), TH_UNAVAILABLE);
    faulty_disk_fail(0);
    one = (uint64_t)rig_offset(r, rig_claim(r, 1));
    r->provider->ops->inbox_open(r->provider, 1, 0);
    assert_int_equal(rig_code(r, rig_append(r, 1, one, "good")), TH_OK);
    assert_int_equal(rig_code(r, rig_send(r, 0, 1, "from the broken one")), TH_UNAVAILABLE);
    assert_int_equal(rig_code(r, rig_append(r, 1, one, "rests on it")), TH_UNAVAILABLE);
}

static void trims_of_a_broken_partition_are_dropped(void **state)
{
    struct rig *r = *state;
    rig_offset(r, rig_claim(r, 0));
    assert_int_equal(rig_code(r, rig_send(r, RIG_CLIENT, 0, "keep me")), TH_OK);
    faulty_disk_fail(SQLITE_FULL);
    assert_int_equal(rig_code(r, rig_append(r, 0, 0, "states that it was taken")), TH_UNAVAILABLE);
    faulty_disk_fail(0);
    r->provider->ops->trim_inbox(r->provider, 0, 1);
    rig_offset(r, rig_claim(r, 0));
    assert_int_equal(rig_wait(r, rig_state(r, 0))->inbox_start, 0);
    r->provider->ops->inbox_open(r->provider, 0, 0);
    rig_wait_deliveries(r, 1);
    assert_true(rig_blob_is(r->deliveries[0].blob, "keep me"));
}

/* Wherever within a batch the disk begins to fail, all of the batch fails or none. */
static void a_batch_is_all_or_nothing(void **state)
{
    struct rig *r = *state;
    for (int writes = 0; writes < 12; writes++) {
        uint64_t epochs[RIG_PARTITIONS];
        int64_t ends[RIG_PARTITIONS];
        for (uint32_t p = 0; p < RIG_PARTITIONS; p++) {
            epochs[p] = (uint64_t)rig_offset(r, rig_claim(r, p));
            ends[p] = rig_wait(r, rig_state(r, p))->log_end;
        }
        struct th_blob *blob = th_blob_alloc(5000);
        memset(blob->data, 'b', blob->len);
        faulty_disk_fail_after(SQLITE_FULL, writes);
        uint64_t tags[30];
        for (uint32_t i = 0; i < TH_COUNT(tags); i++) {
            tags[i] = rig_append_blob(r, i % RIG_PARTITIONS, epochs[i % RIG_PARTITIONS], blob);
        }
        rig_wait_all(r);
        faulty_disk_fail(0);
        th_blob_unref(blob);
        for (uint32_t i = 0; i < TH_COUNT(tags); i++) {
            ends[i % RIG_PARTITIONS] += rig_code(r, tags[i]) == TH_OK;
        }
        for (uint32_t p = 0; p < RIG_PARTITIONS; p++) {
            assert_int_equal(rig_wait(r, rig_state(r, p))->log_end, ends[p]);
        }
    }
}

/* ---- damage ---- */

static void run_sql(const struct rig *r, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(r->file, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void store_and_damage(struct rig *r, const char *sql)
{
    rig_offset(r, rig_claim(r, 0));
    rig_wait(r, rig_append(r, 0, 0, "record"));
    rig_wait(r, rig_append(r, 0, 0, "another"));
    rig_wait(r, rig_send(r, RIG_CLIENT, 0, "message"));
    rig_close(r);
    run_sql(r, sql);
    faulty_disk_reset();
    rig_open(r, NULL, false);
}

static void a_damaged_record_is_reported(void **state)
{
    struct rig *r = *state;
    store_and_damage(r, "UPDATE log SET records=CAST('x' || substr(records, 2) AS BLOB)"
                        " WHERE row=(SELECT max(row) FROM log)");
    const struct th_completion *c = rig_wait(r, rig_read(r, 0, 0, INT64_MAX));
    assert_int_equal(c->error.code, TH_CORRUPT);
    assert_non_null(strstr(c->error.message, r->file));
    assert_int_equal(c->record_count, 0);
}

static void damaged_counts_are_reported(void **state)
{
    struct rig *r = *state;
    store_and_damage(r, "UPDATE inbox SET count=1000000000");
    r->provider->ops->inbox_open(r->provider, 0, 0);
    rig_wait_deliveries(r, 1);
    assert_int_equal(r->deliveries[0].error.code, TH_CORRUPT);
    assert_null(r->deliveries[0].blob);
}

static void a_lost_row_is_noticed_at_open(void **state)
{
    struct rig *r = *state;
    rig_offset(r, rig_claim(r, 0));
    rig_wait(r, rig_append(r, 0, 0, "two"));
    rig_wait(r, rig_append(r, 0, 0, "three"));
    rig_close(r);
    run_sql(r, "DELETE FROM log WHERE first=1");
    faulty_disk_reset();
    struct th_sqlite_options options = {.file = r->file, .hub = "Rig"};
    struct th_error error = {0};
    assert_null(th_sqlite_open(&options, &error));
    assert_int_equal(error.code, TH_CORRUPT);
}

static void a_lost_value_is_reported(void **state)
{
    struct rig *r = *state;
    struct th_blob *large = th_blob_alloc(100000);
    memset(large->data, 'v', large->len);
    struct th_row row = {.instance_id = TH_STR("i"), .created = 1, .input = large};
    struct th_projection batch = {.previous.offset = -1, .rows = &row, .count = 1};
    rig_wait(r, rig_project(r, &batch));
    th_blob_unref(large);
    store_and_damage(r, "DELETE FROM long_values");
    assert_int_equal(rig_code(r, rig_load(r, 0, "i")), TH_CORRUPT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    faulty_disk_install();
    const struct CMUnitTest tests[] = {
        TEST(full_disk_is_named),
        TEST(after_a_failure_the_epoch_is_over),
        TEST(a_failure_breaks_every_partition),
        TEST(a_refused_send_breaks_its_destination),
        TEST(trims_of_a_broken_partition_are_dropped),
        TEST(a_batch_is_all_or_nothing),
        TEST(a_damaged_record_is_reported),
        TEST(damaged_counts_are_reported),
        TEST(a_lost_row_is_noticed_at_open),
        TEST(a_lost_value_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
