/* Hubs in a file: making, finding, dropping, and who may open them. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>
#include <cmocka.h>

#include "base/memory.h"
#include "unit/sqlite_rig.h"

static int set_up(void **state)
{
    struct rig *r = TH_NEW(struct rig);
    rig_init(r);
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

static struct th_provider *open_hub(const struct rig *r, const char *hub, struct th_error *error)
{
    struct th_sqlite_options options = {.file = r->file, .hub = hub};
    return th_sqlite_open(&options, error);
}

static void run_sql(const struct rig *r, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(r->file, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static int64_t count_rows(const struct rig *r, const char *table)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *s = NULL;
    TH_BUFFER sql = {0};
    th_buffer_format(&sql, "SELECT count(*) FROM %s%c", table, 0);
    assert_int_equal(sqlite3_open(r->file, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql.data, -1, &s, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    int64_t count = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    sqlite3_close(db);
    return count;
}

static void a_hub_is_what_was_asked_for(void **state)
{
    struct rig *r = *state;
    struct th_hub_record hub;
    assert_true(th_sqlite_hub(r->file, "Rig", &hub, NULL));
    assert_string_equal(hub.name, "Rig");
    assert_int_equal(hub.partitions, RIG_PARTITIONS);
    assert_true(hub.created > 0);
    rig_open(r, NULL, false);
    assert_int_equal(r->provider->hub.incarnation, hub.incarnation);
}

static void an_existing_hub_is_kept_unless_told(void **state)
{
    struct rig *r = *state;
    struct th_hub_record before, after;
    struct th_error error = {0};
    th_sqlite_hub(r->file, "Rig", &before, NULL);
    assert_false(th_sqlite_create_hub(r->file, "Rig", 5, false, &error));
    assert_int_equal(error.code, TH_EXISTS);
    assert_true(th_sqlite_create_hub(r->file, "Rig", 5, true, &error));
    th_sqlite_hub(r->file, "Rig", &after, NULL);
    assert_int_equal(after.partitions, 5);
    assert_int_not_equal(after.incarnation, before.incarnation);
}

static void names_and_partitions_are_checked(void **state)
{
    struct rig *r = *state;
    static const char *const bad[] = {
        "",
        "1abc",
        "a-b",
        "../x",
        "a b",
        "a/b",
        "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff0123"};
    struct th_error error = {0};
    for (size_t i = 0; i < TH_COUNT(bad); i++) {
        assert_false(th_sqlite_create_hub(r->file, bad[i], 1, false, &error));
        assert_int_equal(error.code, TH_INVALID);
    }
    assert_false(th_sqlite_create_hub(r->file, "Other", 0, false, &error));
    assert_int_equal(error.code, TH_INVALID);
    assert_false(th_sqlite_create_hub(r->file, "Other", 1025, false, &error));
    assert_int_equal(error.code, TH_INVALID);
}

static void hubs_of_a_file_are_listed(void **state)
{
    struct rig *r = *state;
    struct th_hub_record *hubs = NULL;
    size_t count = 0;
    assert_true(th_sqlite_create_hub(r->file, "Other", 2, false, NULL));
    assert_true(th_sqlite_list_hubs(r->file, &hubs, &count, NULL));
    assert_int_equal(count, 2);
    assert_string_equal(hubs[0].name, "Other");
    assert_string_equal(hubs[1].name, "Rig");
    free(hubs);
    assert_true(th_sqlite_list_hubs("/nonexistent/file", &hubs, &count, NULL));
    assert_int_equal(count, 0);
}

static void fill(struct rig *r, struct th_provider *p)
{
    struct th_provider *before = r->provider;
    r->provider = p;
    struct th_blob *large = th_blob_alloc(5000);
    memset(large->data, 'v', large->len);
    struct th_row row = {.instance_id = TH_STR("i"),
                         .created = 1,
                         .input = large,
                         .history = &large,
                         .history_count = 1};
    struct th_projection batch = {.previous.offset = -1, .rows = &row, .count = 1};
    rig_claim(r, 0);
    rig_send(r, RIG_CLIENT, 0, "m");
    rig_project(r, &batch);
    struct th_queue *q = &r->wakes;
    for (rig_poll(r); r->come < r->tags; rig_poll(r)) {
        th_queue_wait(q, th_monotonic() + TH_MILLISECOND);
    }
    th_blob_unref(large);
    p->ops->close(p);
    r->provider = before;
}

static void hubs_of_a_file_do_not_touch(void **state)
{
    struct rig *r = *state;
    struct th_error error = {0};
    assert_true(th_sqlite_create_hub(r->file, "Other", 2, false, NULL));
    fill(r, open_hub(r, "Other", &error));
    fill(r, open_hub(r, "Rig", &error));
    static const char *const tables[] = {"log", "inbox", "instances", "history", "long_values"};
    for (size_t i = 0; i < TH_COUNT(tables); i++) {
        assert_int_equal(count_rows(r, tables[i]), 2);
    }
    assert_true(th_sqlite_delete_hub(r->file, "Other", &error));
    for (size_t i = 0; i < TH_COUNT(tables); i++) {
        assert_int_equal(count_rows(r, tables[i]), 1);
    }
    assert_int_equal(count_rows(r, "partitions"), RIG_PARTITIONS);
    rig_open(r, NULL, false);
    assert_int_equal(rig_code(r, rig_load(r, 0, "i")), TH_OK);
}

/* A deleted hub's place is taken by the next one, which finds nothing in it. */
static void a_new_hub_in_an_old_place_is_empty(void **state)
{
    struct rig *r = *state;
    struct th_error error = {0};
    assert_true(th_sqlite_create_hub(r->file, "Other", 2, false, NULL));
    fill(r, open_hub(r, "Rig", &error));
    assert_true(th_sqlite_delete_hub(r->file, "Rig", &error));
    assert_false(th_sqlite_hub(r->file, "Rig", &(struct th_hub_record){0}, &error));
    assert_int_equal(error.code, TH_NOT_FOUND);
    assert_true(th_sqlite_create_hub(r->file, "Rig", RIG_PARTITIONS, false, NULL));
    rig_close(r);
    rig_open(r, NULL, false);
    assert_int_equal(rig_wait(r, rig_state(r, 0))->log_end, 0);
    assert_int_equal(rig_wait(r, rig_state(r, 0))->inbox_end, 0);
    assert_int_equal(rig_code(r, rig_load(r, 0, "i")), TH_NOT_FOUND);
}

/* ---- who may open ---- */

static void one_process_per_hub(void **state)
{
    struct rig *r = *state;
    struct th_error error = {0};
    rig_open(r, NULL, false);
    char pid[32];
    snprintf(pid, sizeof(pid), "process %ld", (long)getpid());
    assert_null(open_hub(r, "Rig", &error));
    assert_int_equal(error.code, TH_UNAVAILABLE);
    assert_non_null(strstr(error.message, r->file));
    assert_non_null(strstr(error.message, pid));
    assert_false(th_sqlite_delete_hub(r->file, "Rig", &error));
    assert_int_equal(error.code, TH_UNAVAILABLE);
    assert_false(th_sqlite_create_hub(r->file, "Rig", 1, true, &error));
    assert_int_equal(error.code, TH_UNAVAILABLE);

    assert_true(th_sqlite_create_hub(r->file, "Other", 1, false, &error)); /* beside it */
    struct th_provider *other = open_hub(r, "Other", &error);
    assert_non_null(other);
    other->ops->close(other);
    rig_close(r);
    rig_open(r, NULL, false);
}

/* A process that is killed gives its hub back, and what it had acknowledged is there. */
static void a_killed_process_leaves_the_hub(void **state)
{
    struct rig *r = *state;
    pid_t child = fork();
    if (child == 0) {
        rig_open(r, NULL, false);
        uint64_t epoch = (uint64_t)rig_offset(r, rig_claim(r, 0));
        rig_offset(r, rig_append(r, 0, epoch, "acknowledged"));
        kill(getpid(), SIGKILL);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    rig_open(r, NULL, false);
    const struct th_completion *c = rig_wait(r, rig_read(r, 0, 0, INT64_MAX));
    assert_int_equal(c->record_count, 2);
    assert_true(rig_blob_is(c->records[1].bytes, "acknowledged"));
}

/* ---- files that are none of ours ---- */

static void write_file(const char *path, const char *text)
{
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static void refused(const struct rig *r, enum th_code code)
{
    struct th_error error = {0};
    assert_null(open_hub(r, "Rig", &error));
    assert_int_equal(error.code, code);
    assert_non_null(strstr(error.message, r->file));
    if (code != TH_NOT_FOUND) {
        assert_false(th_sqlite_create_hub(r->file, "New", 1, false, &error));
        assert_int_equal(error.code, code);
    }
}

static void other_files_are_refused(void **state)
{
    struct rig *r = *state;
    run_sql(r, "PRAGMA user_version=99");
    refused(r, TH_UNSUPPORTED);
    run_sql(r, "PRAGMA application_id=7");
    refused(r, TH_PRECONDITION);
    unlink(r->file);
    refused(r, TH_NOT_FOUND);
    run_sql(r, "CREATE TABLE theirs(x)");
    refused(r, TH_PRECONDITION);
    unlink(r->file);
    TH_BUFFER text = {0};
    for (int i = 0; i < 100; i++) {
        th_buffer_text(&text, "This is a letter and no database. ");
    }
    th_buffer_add(&text, "", 1);
    write_file(r->file, text.data);
    refused(r, TH_CORRUPT);
}

static void an_earlier_schema_is_taken_over(void **state)
{
    struct rig *r = *state;
    struct th_error error = {0};
    run_sql(r, "DELETE FROM hubs; INSERT INTO hubs VALUES(1, 'Rig', 7, 1, 0, 0);"
               "PRAGMA user_version=1");
    struct th_provider *provider = open_hub(r, "Rig", &error);
    assert_non_null(provider);
    provider->ops->close(provider);
    run_sql(r, "UPDATE hubs SET partitions=3; PRAGMA user_version=1");
    refused(r, TH_PRECONDITION);
}

static void a_missing_hub_is_named(void **state)
{
    struct rig *r = *state;
    struct th_error error = {0};
    assert_null(open_hub(r, "Missing", &error));
    assert_int_equal(error.code, TH_NOT_FOUND);
    assert_non_null(strstr(error.message, "Missing"));
    assert_false(th_sqlite_delete_hub(r->file, "Missing", &error));
    assert_int_equal(error.code, TH_NOT_FOUND);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_hub_is_what_was_asked_for),
        TEST(an_existing_hub_is_kept_unless_told),
        TEST(names_and_partitions_are_checked),
        TEST(hubs_of_a_file_are_listed),
        TEST(hubs_of_a_file_do_not_touch),
        TEST(a_new_hub_in_an_old_place_is_empty),
        TEST(one_process_per_hub),
        TEST(a_killed_process_leaves_the_hub),
        TEST(other_files_are_refused),
        TEST(an_earlier_schema_is_taken_over),
        TEST(a_missing_hub_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
