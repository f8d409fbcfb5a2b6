/* Who waits for whom: queues, windows, pauses, and what is held for clients that do not finish. */
#include "unit/grpc_rig.h"

#include "grpc/internal.h"

enum { WINDOW = 65535 }; /* what HTTP/2 gives without being asked */

static struct grpc_record *hold(struct grpc_rig *rig)
{
    grpc_client_begin(rig->client, "/t/Hold", NULL);
    grpc_rig_run(rig);
    return grpc_rig_last(rig);
}

/* ---- what we send ---- */

static void a_slow_reader_stops_its_sender(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(&(struct th_grpc_limits){.queue_bytes = 20000}, 0, true);
    struct grpc_record *record = hold(rig);
    size_t sent = 0;
    while (grpc_rig_send(record->call, 995)) {
        sent += 1000;
        grpc_rig_run(rig);
        assert_true(sent < 200000);
    }
    /* The client's window, and the mark. */
    assert_in_range(sent + 1000, WINDOW + 20000, WINDOW + 21000);
    assert_int_equal(th_grpc_queued(record->call), sent + 1000 - WINDOW);
    grpc_rig_run(rig);
    assert_int_equal(record->writable, 0);

    nghttp2_session_consume(rig->client->session, 1, 40000); /* reads, at last */
    grpc_rig_run(rig);
    assert_int_equal(record->writable, 1);
    assert_int_equal(th_grpc_queued(record->call), 0);
    assert_true(grpc_rig_send(record->call, 995));
    grpc_rig_run(rig);
    assert_int_equal(record->writable, 1);
    grpc_rig_free(rig);
}

static void half_of_the_queue_has_to_go(void **state)
{
    struct grpc_rig *rig =
        grpc_rig_new(&(struct th_grpc_limits){.queue_bytes = 20000}, 100000, true);
    struct grpc_record *record = hold(rig);
    nghttp2_submit_window_update(rig->client->session, 0, 0, 1 << 20);
    grpc_rig_send(record->call, 100000 - 5);
    grpc_rig_run(rig);
    record->writable = 0;
    while (grpc_rig_send(record->call, 95)) {
    }
    assert_int_equal(th_grpc_queued(record->call), 20000);
    nghttp2_submit_window_update(rig->client->session, 0, 1, 9000);
    grpc_rig_run(rig);
    assert_int_equal(record->writable, 0);
    nghttp2_submit_window_update(rig->client->session, 0, 1, 1000);
    grpc_rig_run(rig);
    assert_int_equal(record->writable, 1);
    grpc_rig_free(rig);
}

static void a_message_is_sent_when_there_is_room(struct grpc_record *record)
{
    bool room = true;
    while (record->messages < 300 && room) {
        room = grpc_rig_send(record->call, 4000);
        record->messages++;
    }
    if (record->messages == 300) {
        grpc_rig_finish(record->call);
    }
}

/* A handler that only ever sends in `writable`. */
static void writable_keeps_a_stream_going(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    struct grpc_record *record = hold(rig);
    record->on_writable = a_message_is_sent_when_there_is_room;
    a_message_is_sent_when_there_is_room(record);
    grpc_rig_run(rig);
    assert_status(rig->client->replies, TH_GRPC_OK);
    assert_int_equal(rig->client->replies->data.len, 300 * 4005);
    assert_true(record->writable > 10);
    grpc_rig_free(rig);
}

static void a_connection_has_a_mark_too(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(
        &(struct th_grpc_limits){.queue_bytes = 20000, .connection_queue_bytes = 100000}, 0, true);
    for (int i = 0; i < 40; i++) {
        hold(rig);
    }
    grpc_rig_send(rig->records[0]->call, WINDOW - 5); /* uses up the connection's window */
    grpc_rig_run(rig);
    size_t stopped = 0, queued = 0;
    for (int i = 1; i < 40; i++) {
        stopped += !grpc_rig_send(rig->records[i]->call, 4995);
        queued += th_grpc_queued(rig->records[i]->call);
    }
    assert_int_equal(queued, 39 * 5000);
    assert_int_equal(stopped, 20); /* the 20th reaches the mark */
    nghttp2_session_consume(rig->client->session, 1, WINDOW);
    grpc_rig_run(rig);
    for (int i = 1; i < 40; i++) {
        assert_int_equal(rig->records[i]->writable, 0); /* 130 kB are left */
    }
    nghttp2_submit_window_update(rig->client->session, 0, 0, 90000);
    grpc_rig_run(rig);
    for (int i = 1; i < 40; i++) {
        assert_int_equal(rig->records[i]->writable, i >= 20);
    }
    assert_true(grpc_rig_send(rig->records[1]->call, 10));
    grpc_rig_free(rig);
}

static void a_full_socket_is_a_slow_reader(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 1 << 20, false);
    struct grpc_record *record = hold(rig);
    rig->socket_full = true;
    while (grpc_rig_send(record->call, 3000)) {
        grpc_rig_run(rig);
    }
    grpc_rig_run(rig);
    assert_true(rig->connection->out.pending < (64 << 10) + 20000);
    assert_in_range(th_grpc_queued(record->call), 30000, 64 << 10 | 4000);
    assert_int_equal(record->writable, 0);
    rig->socket_full = false;
    grpc_rig_run(rig);
    assert_int_equal(record->writable, 1);
    grpc_rig_free(rig);
}

static void streams_take_turns(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 10 << 20, false);
    hold(rig);
    hold(rig);
    grpc_rig_send(rig->records[0]->call, 4 << 20);
    grpc_rig_send(rig->records[1]->call, 100000);
    grpc_rig_finish(rig->records[1]->call);
    struct grpc_reply *large = rig->client->replies, *small = large->next;
    while (!small->closed) {
        struct iovec iov[4];
        size_t n = th_grpc_connection_output(rig->connection, iov, 4, rig->now);
        assert_true(n > 0);
        for (size_t i = 0; i < n; i++) {
            grpc_client_take(rig->client, th_str_n(iov[i].iov_base, iov[i].iov_len));
            th_grpc_connection_sent(rig->connection, iov[i].iov_len);
        }
    }
    assert_true(large->data.len < 300000);
    grpc_rig_run(rig);
    assert_int_equal(large->data.len, (4 << 20) + 5);
    grpc_rig_free(rig);
}

static void large_messages_are_not_copied(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 1 << 20, false);
    struct grpc_record *record = hold(rig);
    struct th_blob *blob = th_blob_alloc(200000);
    memset(blob->data, 'x', blob->len);
    th_grpc_send(record->call, blob);
    struct iovec iov[16];
    size_t n = th_grpc_connection_output(rig->connection, iov, TH_COUNT(iov), rig->now), inside = 0;
    for (size_t i = 0; i < n; i++) {
        const char *at = iov[i].iov_base;
        inside += at >= blob->data && at < blob->data + blob->len ? iov[i].iov_len : 0;
    }
    assert_true(inside > 60000);
    grpc_rig_run(rig);
    assert_int_equal(blob->references, 1);
    th_blob_unref(blob);
    grpc_rig_free(rig);
}

static void answers_leave_together(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    for (int i = 0; i < 200; i++) {
        grpc_client_unary(rig->client, "/t/Unary", NULL, TH_STR("hello"));
    }
    rig->socket_full = true;
    grpc_rig_run(rig);
    struct iovec iov[4];
    assert_int_equal(th_grpc_connection_output(rig->connection, iov, 4, rig->now), 1);
    assert_int_equal(iov[0].iov_len, rig->connection->out.pending);
    rig->socket_full = false;
    grpc_rig_run(rig);
    assert_status(rig->client->replies->prev, TH_GRPC_OK);
    grpc_rig_free(rig);
}

/* Small messages that are queued together share frames. */
static void messages_share_frames(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    struct grpc_record *record = hold(rig);
    grpc_rig_run(rig);
    for (int i = 0; i < 100; i++) {
        grpc_rig_send(record->call, 10);
    }
    struct iovec iov[4];
    th_grpc_connection_output(rig->connection, iov, 4, rig->now);
    assert_true(iov[0].iov_len < 100 * 15 + 100);
    grpc_rig_run(rig);
    assert_int_equal(rig->client->replies->data.len, 1500);
    grpc_rig_free(rig);
}

/* ---- what clients send ---- */

static void pause_it(struct grpc_record *record)
{
    th_grpc_pause(record->call);
}

static void a_paused_call_holds_a_window(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(&(struct th_grpc_limits){.window_bytes = 100000}, 0, false);
    char bytes[995] = {0};
    rig->on_begin = pause_it;
    struct grpc_reply *reply = grpc_client_begin(rig->client, "/t/Echo", NULL);
    for (int i = 0; i < 300; i++) {
        grpc_client_send(reply, th_str_n(bytes, sizeof(bytes)));
    }
    grpc_client_end(reply);
    grpc_rig_run(rig);
    struct grpc_record *record = grpc_rig_last(rig);
    assert_int_equal(record->messages, 0);
    assert_in_range(rig->service.held, 95000, 110000);
    /* Others go on. */
    struct grpc_reply *other =
        grpc_client_unary(rig->client, "/t/Unary", NULL, th_str_n(bytes, sizeof(bytes)));
    rig->on_begin = NULL;
    grpc_rig_run(rig);
    assert_status(other, TH_GRPC_OK);

    th_grpc_resume(record->call);
    grpc_rig_run(rig);
    assert_status(reply, TH_GRPC_OK);
    assert_int_equal(record->messages, 300);
    assert_int_equal(record->half_closed, 1);
    grpc_rig_free(rig);
}

static void pause_after_message(struct grpc_record *record, struct th_blob *message)
{
    th_grpc_pause(record->call);
}

static void a_pause_within_a_message_holds_the_next(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    struct grpc_reply *reply = grpc_client_begin(rig->client, "/t/Hold", NULL);
    grpc_rig_run(rig);
    struct grpc_record *record = grpc_rig_last(rig);
    record->on_message = pause_after_message;
    for (int i = 0; i < 3; i++) {
        grpc_client_send(reply, TH_STR("a"));
    }
    grpc_client_end(reply);
    for (unsigned i = 1; i <= 3; i++) {
        grpc_rig_run(rig);
        assert_int_equal(record->messages, i);
        assert_int_equal(record->half_closed, 0);
        th_grpc_resume(record->call);
    }
    grpc_rig_run(rig);
    assert_int_equal(record->messages, 3);
    assert_int_equal(record->half_closed, 1);
    grpc_rig_free(rig);
}

static void a_paused_call_can_end(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    rig->on_begin = pause_it;
    struct grpc_reply *finished = grpc_client_unary(rig->client, "/t/Hold", NULL, TH_STR("a"));
    struct grpc_reply *reset = grpc_client_unary(rig->client, "/t/Hold", NULL, TH_STR("a"));
    grpc_rig_run(rig);
    assert_true(rig->service.held > 0);
    grpc_rig_finish(rig->records[0]->call);
    grpc_client_reset(reset, NGHTTP2_CANCEL);
    grpc_rig_run(rig);
    assert_status(finished, TH_GRPC_OK);
    assert_int_equal(rig->service.held, 0);
    assert_int_equal(rig->records[1]->why, TH_GRPC_RESET);
    grpc_rig_free(rig);
}

/* A client that reads the answer only when it has sent all it has. */
static void a_finished_call_lets_its_client_talk(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(&(struct th_grpc_limits){.window_bytes = 70000}, 0, true);
    rig->on_begin = pause_it;
    struct grpc_reply *reply = grpc_client_begin(rig->client, "/t/Hold", NULL);
    TH_AUTOFREE char *bytes = th_alloc(500000);
    grpc_client_send(reply, th_str_n(bytes, 60000));
    grpc_client_send(reply, th_str_n(bytes, 500000));
    grpc_client_end(reply);
    grpc_rig_run(rig);
    grpc_rig_send(grpc_rig_last(rig)->call, 100000); /* more than its window */
    grpc_rig_finish(grpc_rig_last(rig)->call);
    grpc_rig_run(rig);
    assert_int_equal(reply->sending.len, 0);
    assert_false(reply->closed);
    nghttp2_session_consume(rig->client->session, reply->stream, 65535);
    grpc_rig_run(rig);
    assert_status(reply, TH_GRPC_OK);
    assert_int_equal(grpc_rig_last(rig)->messages, 0);
    grpc_rig_free(rig);
}

static void announcing_much_costs_little(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    for (int i = 0; i < 100; i++) {
        struct grpc_reply *reply = grpc_client_begin(rig->client, "/t/Hold", NULL);
        grpc_client_raw(reply, TH_STR("\0\0\100\0\0x")); /* 4 MiB */
    }
    grpc_rig_run(rig);
    assert_int_equal(rig->count, 100);
    assert_true(rig->service.held < 100 * 17000);
    grpc_rig_free(rig);
}

/* More at once than may be held: all get through, some later. */
static void large_messages_wait_for_each_other(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(
        &(struct th_grpc_limits){.window_bytes = 20000, .held_bytes = 4 << 20}, 0, false);
    size_t len = 300000;
    TH_AUTOFREE char *bytes = th_alloc(len);
    struct grpc_reply *replies[40];
    for (size_t i = 0; i < TH_COUNT(replies); i++) {
        replies[i] = grpc_client_unary(rig->client, "/t/Unary", NULL, th_str_n(bytes, len));
    }
    rig->chunk = 10000;
    grpc_rig_run(rig);
    for (size_t i = 0; i < TH_COUNT(replies); i++) {
        assert_status(replies[i], TH_GRPC_OK);
    }
    grpc_rig_free(rig);
}

/* Each stays within its window, all together are too much: the last ones are refused. */
static void too_much_is_held(struct th_grpc_limits limits, size_t bound)
{
    limits.window_bytes = 64000;
    struct grpc_rig *rig = grpc_rig_new(&limits, 0, false);
    TH_AUTOFREE char *bytes = th_alloc(60000);
    memcpy(bytes, "\0\0\1\0\0", 5); /* 65,536 bytes */
    unsigned refused = 0;
    for (int i = 0; i < 100; i++) {
        struct grpc_reply *reply = grpc_client_begin(rig->client, "/t/Hold", NULL);
        grpc_client_raw(reply, th_str_n(bytes, 60000));
        grpc_rig_run(rig);
        assert_true(rig->service.held < bound + 70000);
        refused += reply->status == TH_GRPC_RESOURCE_EXHAUSTED;
    }
    assert_in_range(refused, 60, 90);
    struct grpc_reply *small = grpc_client_unary(rig->client, "/t/Unary", NULL, TH_STR("a"));
    grpc_client_reset(rig->client->replies, NGHTTP2_CANCEL);
    grpc_rig_run(rig);
    assert_status(small, TH_GRPC_OK);
    grpc_rig_free(rig);
}

static void a_connection_holds_too_much(void **state)
{
    too_much_is_held((struct th_grpc_limits){.held_bytes = 1500000}, 1500000);
}

static void a_server_holds_too_much(void **state)
{
    too_much_is_held((struct th_grpc_limits){.total_held_bytes = 1500000}, 1500000);
}

/* A connection may hold a share whatever the others do. */
static void a_share_of_its_own(void **state)
{
    struct grpc_rig *rig =
        grpc_rig_new(&(struct th_grpc_limits){.total_held_bytes = 100}, 0, false);
    TH_AUTOFREE char *bytes = th_alloc(200000);
    struct grpc_reply *reply =
        grpc_client_unary(rig->client, "/t/Unary", NULL, th_str_n(bytes, 200000));
    grpc_rig_run(rig);
    assert_status(reply, TH_GRPC_OK);
    grpc_rig_free(rig);
}

static void the_window_is_as_set(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(&(struct th_grpc_limits){.window_bytes = 12345}, 0, false);
    grpc_rig_run(rig);
    assert_int_equal(rig->client->window, 12345);
    grpc_rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_reader_stops_its_sender),
        cmocka_unit_test(half_of_the_queue_has_to_go),
        cmocka_unit_test(writable_keeps_a_stream_going),
        cmocka_unit_test(a_connection_has_a_mark_too),
        cmocka_unit_test(a_full_socket_is_a_slow_reader),
        cmocka_unit_test(streams_take_turns),
        cmocka_unit_test(large_messages_are_not_copied),
        cmocka_unit_test(answers_leave_together),
        cmocka_unit_test(messages_share_frames),
        cmocka_unit_test(a_paused_call_holds_a_window),
        cmocka_unit_test(a_pause_within_a_message_holds_the_next),
        cmocka_unit_test(a_paused_call_can_end),
        cmocka_unit_test(a_finished_call_lets_its_client_talk),
        cmocka_unit_test(announcing_much_costs_little),
        cmocka_unit_test(large_messages_wait_for_each_other),
        cmocka_unit_test(a_connection_holds_too_much),
        cmocka_unit_test(a_server_holds_too_much),
        cmocka_unit_test(a_share_of_its_own),
        cmocka_unit_test(the_window_is_as_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
