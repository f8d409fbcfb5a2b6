/* What time does: deadlines, keepalive, idleness, age, and the steps of a drain. */
#include "unit/grpc_rig.h"

#include "grpc/internal.h"

#define NEVER  UINT64_MAX
#define NOTICE INT32_MAX /* the last stream of a GOAWAY that is a notice */

static struct grpc_reply *call_with_timeout(struct grpc_rig *rig, const char *timeout)
{
    const struct grpc_client_field fields[] = {{"grpc-timeout", timeout}, {NULL, NULL}};
    struct grpc_reply *reply = grpc_client_begin(rig->client, "/t/Hold", fields);
    grpc_rig_run(rig);
    return reply;
}

/* ---- deadlines ---- */

static void a_deadline_passes(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    struct grpc_reply *reply = call_with_timeout(rig, "1500m");
    struct grpc_record *record = grpc_rig_last(rig);
    assert_int_equal(record->deadline, rig->now + 1500 * TH_MILLISECOND);
    assert_int_equal(th_grpc_connection_due(rig->connection), record->deadline);
    grpc_rig_wait(rig, 1500 * TH_MILLISECOND - 1);
    assert_int_equal(record->ended, 0);
    grpc_rig_wait(rig, 1);
    assert_status(reply, TH_GRPC_DEADLINE_EXCEEDED);
    assert_int_equal(record->why, TH_GRPC_EXPIRED);
    grpc_rig_free(rig);
}

static void a_deadline_that_has_passed_already(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    struct grpc_reply *reply = call_with_timeout(rig, "0n");
    grpc_rig_wait(rig, 0);
    assert_status(reply, TH_GRPC_DEADLINE_EXCEEDED);
    grpc_rig_free(rig);
}

static void an_answer_in_time(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    struct grpc_reply *reply = call_with_timeout(rig, "1S");
    grpc_rig_wait(rig, TH_SECOND - 1);
    grpc_rig_finish(grpc_rig_last(rig)->call);
    grpc_rig_run(rig);
    grpc_rig_wait(rig, TH_SECOND);
    assert_status(reply, TH_GRPC_OK);
    assert_int_equal(rig->connection->deadlines.count, 0);
    grpc_rig_free(rig);
}

static void deadlines_in_any_order(void **state)
{
    static const char *const timeouts[] = {"50m", "10m", "90m", "30m", "10m", "70m"};
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    for (size_t i = 0; i < TH_COUNT(timeouts); i++) {
        call_with_timeout(rig, timeouts[i]);
    }
    for (th_time t = 10; t <= 100; t += 20) {
        th_time before = rig->now;
        grpc_rig_wait(rig, 10 * TH_MILLISECOND);
        for (size_t i = 0; i < rig->count; i++) {
            struct grpc_record *record = rig->records[i];
            assert_int_equal(record->ended, record->deadline <= rig->now);
        }
        assert_int_equal(rig->now, before + 10 * TH_MILLISECOND);
        grpc_rig_wait(rig, 10 * TH_MILLISECOND);
    }
    assert_int_equal(rig->service.calls, 0);
    grpc_rig_free(rig);
}

/* What is queued is of no use any more; the status does not wait for it. */
static void a_deadline_with_a_slow_reader(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, true);
    struct grpc_reply *whole = call_with_timeout(rig, "1S");
    grpc_rig_send(grpc_rig_last(rig)->call, 65535 - 5);
    grpc_rig_send(grpc_rig_last(rig)->call, 5000);
    struct grpc_reply *torn = call_with_timeout(rig, "1S");
    nghttp2_submit_window_update(rig->client->session, 0, 0, 1 << 20);
    grpc_rig_send(grpc_rig_last(rig)->call, 100000);
    grpc_rig_run(rig);
    grpc_rig_wait(rig, TH_SECOND);
    assert_status(whole, TH_GRPC_DEADLINE_EXCEEDED);
    assert_true(torn->closed);
    assert_int_equal(torn->code, NGHTTP2_CANCEL);
    assert_int_equal(rig->records[0]->why, TH_GRPC_EXPIRED);
    assert_int_equal(rig->records[1]->why, TH_GRPC_EXPIRED);
    grpc_rig_free(rig);
}

/* ---- a client that does not begin ---- */

static void no_beginning(void **state)
{
    static const struct th_str starts[] = {TH_STR(""), TH_STR("PRI * HTTP"),
                                           TH_STR(NGHTTP2_CLIENT_MAGIC),
                                           TH_STR(NGHTTP2_CLIENT_MAGIC "\0\0\6\4\0\0\0\0\0\0\4")};
    for (size_t i = 0; i < TH_COUNT(starts); i++) {
        struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
        th_grpc_connection_input(rig->connection, starts[i], rig->now);
        assert_int_equal(th_grpc_connection_due(rig->connection), rig->now + 10 * TH_SECOND);
        th_grpc_connection_tick(rig->connection, rig->now + 10 * TH_SECOND - 1);
        assert_false(th_grpc_connection_over(rig->connection));
        th_grpc_connection_tick(rig->connection, rig->now + 10 * TH_SECOND);
        assert_true(th_grpc_connection_over(rig->connection));
        assert_int_equal(th_grpc_connection_due(rig->connection), TH_TIME_NONE);
        grpc_rig_free(rig);
    }
}

/* ---- keepalive ---- */

static void pings_keep_it_alive(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    call_with_timeout(rig, "10H");
    grpc_rig_wait(rig, 30 * TH_SECOND - 1);
    assert_int_equal(rig->client->pings, 0);
    grpc_rig_wait(rig, 1);
    assert_int_equal(rig->client->pings, 1);
    grpc_rig_wait(rig, 300 * TH_SECOND);
    assert_int_equal(rig->client->pings, 11);
    assert_int_equal(grpc_rig_last(rig)->ended, 0);
    grpc_rig_free(rig);
}

static void a_client_that_is_gone(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    call_with_timeout(rig, "10H");
    rig->client->deaf = true;
    grpc_rig_wait(rig, 50 * TH_SECOND - 1);
    assert_int_equal(grpc_rig_last(rig)->ended, 0);
    grpc_rig_wait(rig, 1);
    assert_int_equal(grpc_rig_last(rig)->ended, 1);
    assert_int_equal(grpc_rig_last(rig)->why, TH_GRPC_LOST);
    assert_true(th_grpc_connection_over(rig->connection));
    assert_string_equal(th_grpc_connection_reason(rig->connection), "the client does not answer");
    grpc_rig_free(rig);
}

/* Bytes that never become a frame are no sign of life. */
static void a_client_that_trickles(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    call_with_timeout(rig, "10H");
    rig->client->deaf = true;
    grpc_rig_input(rig, TH_STR("\0\47\20\0\0\0\0\0\1")); /* DATA, 10,000 bytes */
    for (int second = 0; second < 49; second++) {
        grpc_rig_wait(rig, TH_SECOND);
        grpc_rig_input(rig, TH_STR("\0"));
    }
    assert_int_equal(grpc_rig_last(rig)->ended, 0);
    grpc_rig_wait(rig, TH_SECOND);
    assert_int_equal(grpc_rig_last(rig)->why, TH_GRPC_LOST);
    grpc_rig_free(rig);
}

static void frames_are_a_sign_of_life(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    struct grpc_reply *reply = call_with_timeout(rig, "10H");
    rig->client->deaf = true;
    for (int i = 0; i < 100; i++) {
        grpc_rig_wait(rig, 25 * TH_SECOND);
        grpc_client_send(reply, TH_STR("a"));
        grpc_rig_run(rig);
    }
    assert_int_equal(grpc_rig_last(rig)->ended, 0);
    assert_int_equal(rig->client->pings, 0);
    grpc_rig_free(rig);
}

static void no_keepalive(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(&(struct th_grpc_limits){.keepalive_ms = NEVER}, 0, false);
    grpc_rig_run(rig);
    assert_int_equal(th_grpc_connection_due(rig->connection), TH_TIME_NONE);
    grpc_rig_free(rig);
}

/* ---- drain ---- */

static void drain(struct grpc_rig *rig, th_time patience)
{
    th_grpc_connection_drain(rig->connection, rig->now + patience, rig->now);
    grpc_rig_run(rig);
}

static void calls_go_on_until_they_end(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    struct grpc_reply *reply = call_with_timeout(rig, NULL);
    struct grpc_record *record = grpc_rig_last(rig);
    drain(rig, 60 * TH_SECOND);
    assert_int_equal(record->draining, 1);
    assert_int_equal(rig->client->goaways, 2);
    assert_int_equal(rig->client->goaway_code, NGHTTP2_NO_ERROR);
    assert_int_equal(rig->client->goaway_last, reply->stream);
    grpc_rig_wait(rig, 30 * TH_SECOND);
    assert_false(th_grpc_connection_over(rig->connection));
    grpc_rig_send(record->call, 10);
    grpc_rig_finish(record->call);
    grpc_rig_run(rig);
    assert_status(reply, TH_GRPC_OK);
    assert_int_equal(reply->data.len, 15);
    assert_true(th_grpc_connection_over(rig->connection));
    grpc_rig_free(rig);
}

static void nothing_to_wait_for(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    grpc_rig_run(rig);
    drain(rig, 60 * TH_SECOND);
    assert_true(rig->client->goaway);
    assert_true(th_grpc_connection_over(rig->connection));
    grpc_rig_free(rig);
}

/* What a client has sent before it can know is served: the answer to a ping tells when that is. */
static void a_call_crosses_the_notice(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    grpc_rig_run(rig);
    rig->client->deaf = true; /* the answer is late */
    struct grpc_reply *crossing = grpc_client_begin(rig->client, "/t/Echo", NULL);
    grpc_client_fill(rig->client);
    drain(rig, 60 * TH_SECOND);
    assert_int_equal(rig->client->goaway_last, NOTICE);
    assert_int_equal(rig->count, 1);
    assert_int_equal(grpc_rig_last(rig)->draining, 1);
    nghttp2_submit_ping(rig->client->session, NGHTTP2_FLAG_ACK, (const uint8_t *)"last\0\0\0\0");
    grpc_rig_run(rig);
    assert_int_equal(rig->client->goaway_last, crossing->stream);
    grpc_client_send(crossing, TH_STR("hello"));
    grpc_client_end(crossing);
    grpc_rig_run(rig);
    assert_status(crossing, TH_GRPC_OK);
    assert_true(th_grpc_connection_over(rig->connection));
    grpc_rig_free(rig);
}

static void no_answer_to_the_notice(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    call_with_timeout(rig, NULL);
    rig->client->deaf = true;
    drain(rig, 60 * TH_SECOND);
    assert_int_equal(rig->client->goaway_last, NOTICE);
    grpc_rig_wait(rig, TH_SECOND);
    assert_int_equal(rig->client->goaway_last, 1);
    assert_int_equal(grpc_rig_last(rig)->ended, 0);
    grpc_rig_free(rig);
}

static void patience_is_over(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    struct grpc_reply *reply = call_with_timeout(rig, NULL);
    drain(rig, 5 * TH_SECOND);
    grpc_rig_wait(rig, 5 * TH_SECOND - 1);
    assert_int_equal(grpc_rig_last(rig)->ended, 0);
    grpc_rig_wait(rig, 1);
    assert_status(reply, TH_GRPC_UNAVAILABLE);
    assert_int_equal(grpc_rig_last(rig)->why, TH_GRPC_LOST);
    assert_true(th_grpc_connection_over(rig->connection));
    grpc_rig_free(rig);
}

static void a_client_that_does_not_read_its_end(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, true);
    call_with_timeout(rig, NULL);
    grpc_rig_send(grpc_rig_last(rig)->call, 1 << 20);
    rig->socket_full = true;
    grpc_rig_run(rig);
    drain(rig, 0);
    grpc_rig_wait(rig, TH_SECOND);
    assert_int_equal(grpc_rig_last(rig)->why, TH_GRPC_LOST);
    grpc_rig_wait(rig, TH_SECOND);
    assert_true(th_grpc_connection_over(rig->connection));
    grpc_rig_free(rig);
}

static void a_drain_of_what_has_not_begun(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    th_grpc_connection_drain(rig->connection, rig->now + TH_SECOND, rig->now);
    assert_true(th_grpc_connection_over(rig->connection));
    grpc_rig_free(rig);
}

static void less_patience_counts(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    call_with_timeout(rig, NULL);
    drain(rig, 60 * TH_SECOND);
    drain(rig, 2 * TH_SECOND);
    drain(rig, 60 * TH_SECOND);
    grpc_rig_wait(rig, 2 * TH_SECOND);
    assert_int_equal(grpc_rig_last(rig)->ended, 1);
    assert_int_equal(grpc_rig_last(rig)->draining, 1);
    grpc_rig_free(rig);
}

static void a_stream_begun_after_the_last_word(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    call_with_timeout(rig, NULL);
    drain(rig, 60 * TH_SECOND);
    grpc_rig_input(rig, TH_STR("\0\0\0\1\5\0\0\0\3")); /* HEADERS on stream 3, without a field */
    assert_int_equal(rig->count, 1);
    assert_int_equal(rig->service.calls, 1);
    grpc_rig_free(rig);
}

static void shedding(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    grpc_rig_run(rig);
    th_grpc_connection_shed(rig->connection, rig->now);
    grpc_rig_run(rig);
    assert_int_equal(rig->client->goaway_code, NGHTTP2_NO_ERROR);
    assert_int_equal(rig->client->goaway_last, 0);
    assert_true(th_grpc_connection_over(rig->connection));
    grpc_rig_free(rig);
}

static void shedding_what_has_not_begun(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    th_grpc_connection_shed(rig->connection, rig->now);
    assert_true(th_grpc_connection_over(rig->connection));
    grpc_rig_free(rig);
}

/* ---- idleness and age ---- */

static void an_idle_connection_leaves(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(&(struct th_grpc_limits){.idle_ms = 5000}, 0, false);
    call_with_timeout(rig, NULL);
    grpc_rig_wait(rig, 100 * TH_SECOND);
    assert_false(rig->client->goaway); /* a call is open */
    grpc_rig_finish(grpc_rig_last(rig)->call);
    grpc_rig_run(rig);
    grpc_rig_wait(rig, 5 * TH_SECOND - 1);
    assert_false(rig->client->goaway);
    grpc_rig_wait(rig, 1);
    assert_true(rig->client->goaway);
    assert_true(th_grpc_connection_over(rig->connection));
    grpc_rig_free(rig);
}

static void an_old_connection_leaves(void **state)
{
    struct grpc_rig *rig =
        grpc_rig_new(&(struct th_grpc_limits){.age_ms = 60000, .age_grace_ms = 10000}, 0, false);
    struct grpc_reply *reply = call_with_timeout(rig, NULL);
    grpc_rig_wait(rig, 60 * TH_SECOND - 1);
    assert_int_equal(grpc_rig_last(rig)->draining, 0);
    grpc_rig_wait(rig, 1);
    assert_int_equal(grpc_rig_last(rig)->draining, 1);
    assert_true(rig->client->goaway);
    grpc_rig_wait(rig, 10 * TH_SECOND);
    assert_status(reply, TH_GRPC_UNAVAILABLE);
    assert_true(th_grpc_connection_over(rig->connection));
    grpc_rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deadline_passes),
        cmocka_unit_test(a_deadline_that_has_passed_already),
        cmocka_unit_test(an_answer_in_time),
        cmocka_unit_test(deadlines_in_any_order),
        cmocka_unit_test(a_deadline_with_a_slow_reader),
        cmocka_unit_test(no_beginning),
        cmocka_unit_test(pings_keep_it_alive),
        cmocka_unit_test(a_client_that_is_gone),
        cmocka_unit_test(a_client_that_trickles),
        cmocka_unit_test(frames_are_a_sign_of_life),
        cmocka_unit_test(no_keepalive),
        cmocka_unit_test(calls_go_on_until_they_end),
        cmocka_unit_test(nothing_to_wait_for),
        cmocka_unit_test(a_call_crosses_the_notice),
        cmocka_unit_test(no_answer_to_the_notice),
        cmocka_unit_test(patience_is_over),
        cmocka_unit_test(a_client_that_does_not_read_its_end),
        cmocka_unit_test(a_drain_of_what_has_not_begun),
        cmocka_unit_test(less_patience_counts),
        cmocka_unit_test(a_stream_begun_after_the_last_word),
        cmocka_unit_test(shedding),
        cmocka_unit_test(shedding_what_has_not_begun),
        cmocka_unit_test(an_idle_connection_leaves),
        cmocka_unit_test(an_old_connection_leaves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
