/*
 * What the embedded provider does beyond the contract, which tests/contract checks: deliveries
 * ahead of their commit, messages that are never written, rows shared by a batch, files that stay
 * small.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/memory.h"
#include "provider/sqlite/internal.h"
#include "unit/sqlite_rig.h"

static int set_up(void **state)
{
    struct rig *r = TH_NEW(struct rig);
    rig_init(r);
    rig_open(r, NULL, false);
    *state = r;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *r = *state;
    rig_deinit(r);
    free(r);
    return 0;
}

static struct th_sqlite_stats stats_of(const struct rig *r)
{
    struct th_sqlite_stats stats;
    th_sqlite_stats(r->provider, &stats);
    return stats;
}

static void open_inbox(struct rig *r, uint32_t partition)
{
    size_t before = r->delivery_count;
    r->provider->ops->inbox_open(r->provider, partition, 0);
    rig_wait(r, rig_send(r, RIG_CLIENT, partition, "first"));
    rig_wait_deliveries(r, before + 1); /* now it is live */
}

static void a_message_is_delivered_before_its_commit(void **state)
{
    struct rig *r = *state;
    open_inbox(r, 0);
    size_t before = r->delivery_count;
    uint64_t tag = rig_send(r, RIG_CLIENT, 0, "at once");
    struct th_completion out[1];
    assert_int_equal(r->provider->ops->poll(r->provider, out, 1), 1);
    assert_int_equal(out[0].kind, TH_DONE_DELIVER);
    assert_int_equal(out[0].offset, before);
    th_completion_deinit(&out[0]);
    assert_int_equal(rig_code(r, tag), TH_OK);
}

/* Behind a large batch the writer is busy long enough for the trim to arrive in time. */
static void a_consumed_message_is_never_written(void **state)
{
    struct rig *r = *state;
    open_inbox(r, 0);
    uint64_t epoch = (uint64_t)rig_offset(r, rig_claim(r, 0));
    struct th_sqlite_stats before = stats_of(r);
    for (int attempt = 0; attempt < 200; attempt++) {
        for (int i = 0; i < 20; i++) {
            rig_append(r, 0, epoch, "keeps the writer busy");
            rig_send(r, RIG_CLIENT, 0, "taken");
        }
        rig_poll(r);
        r->provider->ops->trim_inbox(r->provider, 0,
                                     r->deliveries[r->delivery_count - 1].offset + 1);
    }
    rig_wait_all(r);
    struct th_sqlite_stats after = stats_of(r);
    assert_int_equal(after.sends - before.sends, 4000);
    assert_true(after.sends_skipped > before.sends_skipped);
    int64_t end = rig_wait(r, rig_state(r, 0))->inbox_end;
    assert_int_equal(end, 4001);
    rig_close(r);
    rig_open(r, NULL, false);
    assert_int_equal(rig_wait(r, rig_state(r, 0))->inbox_end, end); /* offsets never go back */
}

static void a_batch_shares_rows(void **state)
{
    struct rig *r = *state;
    uint64_t epoch = (uint64_t)rig_offset(r, rig_claim(r, 0));
    struct th_sqlite_stats before = stats_of(r);
    for (int i = 0; i < 5000; i++) {
        rig_append(r, 0, epoch, "small");
    }
    rig_wait_all(r);
    struct th_sqlite_stats after = stats_of(r);
    assert_int_equal(after.appends - before.appends, 5000);
    assert_true(after.log_rows - before.log_rows < 2500);
    assert_true(after.commits - before.commits < 2500);
}

static void offsets_go_on_after_everything_was_trimmed(void **state)
{
    struct rig *r = *state;
    uint64_t epoch = (uint64_t)rig_offset(r, rig_claim(r, 1));
    int64_t last = 0;
    for (int i = 0; i < 100; i++) {
        last = rig_offset(r, rig_append(r, 1, epoch, "gone soon"));
    }
    r->provider->ops->trim_log(r->provider, 1, last + 1);
    assert_int_equal(rig_wait(r, rig_state(r, 1))->log_start, last + 1);
    rig_close(r);
    rig_open(r, NULL, false);
    const struct th_completion *s = rig_wait(r, rig_state(r, 1));
    assert_int_equal(s->log_start, last + 1);
    assert_int_equal(s->log_end, last + 1);
    const struct th_completion *c = rig_wait(r, rig_read(r, 1, 0, INT64_MAX));
    assert_int_equal(c->record_count, 0);
    assert_true(c->last);
    assert_int_equal(rig_offset(r, rig_claim(r, 1)), last + 1);
}

static void an_older_claim_is_fenced(void **state)
{
    struct rig *r = *state;
    uint64_t old = (uint64_t)rig_offset(r, rig_claim(r, 0));
    uint64_t new = (uint64_t)rig_offset(r, rig_claim(r, 0));
    assert_int_equal(rig_code(r, rig_append(r, 0, old, "late")), TH_FENCED);
    assert_int_equal(rig_code(r, rig_append(r, 0, new, "good")), TH_OK);
}

/* Megabytes pass through; the files keep the size of what is alive. */
static void files_stay_small(void **state)
{
    struct rig *r = *state;
    struct th_blob *blob = th_blob_alloc(20000);
    memset(blob->data, 'b', blob->len);
    uint64_t epoch = (uint64_t)rig_offset(r, rig_claim(r, 0));
    for (int i = 0; i < 100; i++) {
        uint64_t tag = 0;
        for (int j = 0; j < 50; j++) {
            tag = rig_append_blob(r, 0, epoch, blob);
        }
        r->provider->ops->trim_log(r->provider, 0, rig_offset(r, tag));
    }
    th_blob_unref(blob);
    rig_close(r);
    struct stat file;
    assert_int_equal(stat(r->file, &file), 0);
    assert_true(file.st_size < 40000000); /* of 100 MB written */
    TH_BUFFER wal = {0};
    th_buffer_format(&wal, "%s-wal%c", r->file, 0);
    assert_int_not_equal(stat(wal.data, &file), 0); /* closing leaves one file */
}

static void unknown_partitions_get_an_answer(void **state)
{
    struct rig *r = *state;
    assert_int_equal(rig_code(r, rig_claim(r, 99)), TH_INVALID);
    assert_int_equal(rig_code(r, rig_append(r, 99, 0, "x")), TH_INVALID);
    assert_int_equal(rig_code(r, rig_send(r, 0, 99, "x")), TH_INVALID);
    assert_int_equal(rig_code(r, rig_read(r, 99, 0, 1)), TH_INVALID);
    assert_int_equal(rig_code(r, rig_load(r, 99, "x")), TH_INVALID);
    assert_int_equal(rig_code(r, rig_state(r, 99)), TH_INVALID);
    r->provider->ops->inbox_open(r->provider, 99, 0);
    r->provider->ops->inbox_close(r->provider, 99);
    r->provider->ops->trim_log(r->provider, 99, 1);
    assert_int_equal(rig_code(r, rig_claim(r, 0)), TH_OK);
}

/* A history that grows by many small chunks comes back whole and in order. */
static void long_histories_are_whole(void **state)
{
    struct rig *r = *state;
    struct th_watermark mark = {.offset = -1};
    for (int i = 0; i < 500; i++) {
        char text[32];
        int n = snprintf(text, sizeof(text), "chunk %d;", i);
        struct th_blob *chunk = th_blob_new(text, (size_t)n);
        struct th_row row = {
            .instance_id = TH_STR("long"), .created = 1, .history = &chunk, .history_count = 1};
        struct th_watermark next = {i, 0, 0};
        struct th_projection batch = {.previous = mark, .next = next, .rows = &row, .count = 1};
        mark = next;
        rig_project(r, &batch);
        th_blob_unref(chunk);
    }
    rig_wait_all(r);
    const struct th_completion *c = rig_wait(r, rig_load(r, 0, "long"));
    assert_int_equal(c->row_count, 1);
    assert_int_equal(c->rows[0].history_count, 500);
    for (int i = 0; i < 500; i++) {
        char text[32];
        snprintf(text, sizeof(text), "chunk %d;", i);
        assert_true(rig_blob_is(c->rows[0].history[i], text));
    }
}

/* A long value that does not change is written once; one that does is replaced. */
static void long_values_follow_their_row(void **state)
{
    struct rig *r = *state;
    struct th_watermark mark = {.offset = -1};
    for (int i = 0; i < 6; i++) {
        struct th_blob *input = th_blob_alloc(3000);
        memset(input->data, i < 3 ? 'a' : 'b', input->len);
        struct th_blob *output = th_blob_new("short", 5);
        struct th_row row = {.instance_id = TH_STR("v"), .created = 1, .input = input};
        row.output = i == 5 ? output : input;
        struct th_watermark next = {i, 0, 0};
        struct th_projection batch = {.previous = mark, .next = next, .rows = &row, .count = 1};
        mark = next;
        rig_wait(r, rig_project(r, &batch));
        const struct th_row *got = rig_wait(r, rig_load(r, 0, "v"))->rows;
        assert_true(th_str_eq(th_blob_view(got->input), th_blob_view(input)));
        assert_true(th_str_eq(th_blob_view(got->output), th_blob_view(row.output)));
        th_blob_unref(input);
        th_blob_unref(output);
    }
}

/* ---- packed rows ---- */

static void packing_keeps_records(void **state)
{
    struct th_blob *records[] = {th_blob_new("one", 3), th_blob_new("", 0), th_blob_new("two", 3)};
    TH_BUFFER packed = {0};
    assert_int_equal(th_sqlite_pack_count(records, 3), 3);
    th_sqlite_pack(&packed, records, 3);
    struct th_sqlite_pack_view view;
    uint32_t crc = th_crc32c(0, packed.data, packed.len);
    assert_true(th_sqlite_unpack(&view, th_buffer_view(&packed), 3, crc));
    for (size_t i = 0; i < TH_COUNT(records); i++) {
        assert_true(th_str_eq(th_sqlite_packed_next(&view), th_blob_view(records[i])));
        th_blob_unref(records[i]);
    }
}

static void damaged_packs_are_refused(void **state)
{
    struct th_blob *records[] = {th_blob_new("one", 3), th_blob_new("two", 3)};
    TH_BUFFER packed = {0};
    th_sqlite_pack(&packed, records, 2);
    th_blob_unref(records[0]);
    th_blob_unref(records[1]);
    struct th_sqlite_pack_view view;
    uint32_t crc = th_crc32c(0, packed.data, packed.len);
    struct th_str bytes = th_buffer_view(&packed);
    assert_false(th_sqlite_unpack(&view, bytes, 2, crc ^ 1));
    static const int64_t counts[] = {0, -1, 1, 3, 4, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < TH_COUNT(counts); i++) {
        assert_false(th_sqlite_unpack(&view, bytes, counts[i], crc));
    }
    for (size_t len = 0; len < bytes.len; len++) {
        struct th_str cut = th_str_n(bytes.data, len);
        assert_false(th_sqlite_unpack(&view, cut, 2, th_crc32c(0, cut.data, cut.len)));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_message_is_delivered_before_its_commit),
        TEST(a_consumed_message_is_never_written),
        TEST(a_batch_shares_rows),
        TEST(offsets_go_on_after_everything_was_trimmed),
        TEST(an_older_claim_is_fenced),
        TEST(files_stay_small),
        TEST(unknown_partitions_get_an_answer),
        TEST(long_histories_are_whole),
        TEST(long_values_follow_their_row),
        cmocka_unit_test(packing_keeps_records),
        cmocka_unit_test(damaged_packs_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
