/* Clients that ask for nothing, and legitimate ones that look like them. */
#include "unit/grpc_rig.h"

#include "grpc/internal.h"

/* ---- frames by hand ---- */

enum { END_STREAM = 1, END_HEADERS = 4, PADDED = 8 };

static void add_frame(struct th_buffer *out, int type, int flags, uint32_t stream,
                      struct th_str payload)
{
    const uint8_t head[] = {(uint8_t)(payload.len >> 16),
                            (uint8_t)(payload.len >> 8),
                            (uint8_t)payload.len,
                            (uint8_t)type,
                            (uint8_t)flags,
                            (uint8_t)(stream >> 24),
                            (uint8_t)(stream >> 16),
                            (uint8_t)(stream >> 8),
                            (uint8_t)stream};
    th_buffer_add(out, head, sizeof(head));
    th_buffer_str(out, payload);
}

/* n frames of a kind. */
static void input_frames(struct grpc_rig *rig, unsigned n, int type, int flags, uint32_t stream,
                         struct th_str payload)
{
    TH_BUFFER bytes = {0};
    for (unsigned i = 0; i < n; i++) {
        add_frame(&bytes, type, flags, stream, payload);
    }
    grpc_rig_input(rig, th_buffer_view(&bytes));
}

#define ping_payload TH_STR("12345678")

static void ping(struct grpc_rig *rig, unsigned n)
{
    input_frames(rig, n, NGHTTP2_PING, 0, 0, ping_payload);
}

static struct grpc_rig *rig_with_a_call(const struct th_grpc_limits *limits)
{
    struct grpc_rig *rig = grpc_rig_new(limits, 0, false);
    grpc_client_begin(rig->client, "/t/Hold", NULL);
    grpc_rig_run(rig);
    return rig;
}

static void assert_calmed(struct grpc_rig *rig, const char *words)
{
    assert_true(rig->client->goaway);
    assert_int_equal(rig->client->goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_string_equal(rig->client->goaway_text, words);
    assert_true(th_grpc_connection_over(rig->connection));
    assert_int_equal(rig->service.flooded, 1);
    for (size_t i = 0; i < rig->count; i++) {
        assert_int_equal(rig->records[i]->ended, 1);
    }
    grpc_rig_free(rig);
}

static void assert_calm(struct grpc_rig *rig)
{
    assert_false(rig->client->goaway);
    assert_int_equal(rig->records[0]->ended, 0);
    struct grpc_reply *reply = grpc_client_unary(rig->client, "/t/Unary", NULL, TH_STR("a"));
    grpc_rig_run(rig);
    assert_status(reply, TH_GRPC_OK);
    grpc_rig_free(rig);
}

/* ---- pings ---- */

static void pings(void **state)
{
    struct grpc_rig *rig = rig_with_a_call(NULL);
    ping(rig, 100);
    assert_false(rig->client->goaway);
    assert_int_equal(rig->client->acks, 100);
    ping(rig, 1);
    assert_calmed(rig, "too_many_pings");
}

static void pings_at_a_sane_rate(void **state)
{
    struct grpc_rig *rig = rig_with_a_call(NULL);
    for (int i = 0; i < 1000; i++) {
        rig->now += TH_SECOND / 10;
        ping(rig, 1);
    }
    assert_calm(rig);
}

/* The bandwidth probe of gRPC's clients: a PING for each message they get. */
static void probes(void **state)
{
    struct grpc_rig *rig = rig_with_a_call(NULL);
    for (int i = 0; i < 1000; i++) {
        grpc_rig_send(grpc_rig_last(rig)->call, 10);
        grpc_rig_run(rig);
        ping(rig, 2);
    }
    assert_calm(rig);
}

static void pings_without_a_limit(void **state)
{
    struct grpc_rig *rig = rig_with_a_call(&(struct th_grpc_limits){.ping_burst = UINT64_MAX});
    for (int i = 0; i < 100; i++) {
        ping(rig, 100);
    }
    assert_calm(rig);
}

/* Answers pile up; nghttp2 ends that. */
static void pings_of_a_client_that_does_not_read(void **state)
{
    struct grpc_rig *rig = rig_with_a_call(&(struct th_grpc_limits){.ping_burst = UINT64_MAX});
    struct grpc_record *record = grpc_rig_last(rig);
    rig->socket_full = true;
    while (grpc_rig_send(record->call, 1000)) {
        grpc_rig_run(rig);
    }
    grpc_rig_run(rig);
    for (int i = 0; i < 3000 && th_grpc_connection_wants_input(rig->connection); i++) {
        ping(rig, 1);
    }
    assert_true(nghttp2_session_get_outbound_queue_size(rig->connection->session) < 2000);
    rig->socket_full = false;
    grpc_rig_run(rig);
    assert_int_equal(rig->client->goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    grpc_rig_free(rig);
}

/* ---- settings ---- */

static void settings(void **state)
{
    struct grpc_rig *rig = rig_with_a_call(NULL);
    rig->client->deaf = true;
    rig->socket_full =
        true; /* its client does not know of these, and would wonder at the answers */
    input_frames(rig, 200, NGHTTP2_SETTINGS, 0, 0, TH_STR("\0\1\0\0\20\0"));
    assert_int_equal(rig->service.flooded, 1);
    assert_string_equal(th_grpc_connection_reason(rig->connection), "too_many_settings");
    grpc_rig_free(rig);
}

static void settings_now_and_then(void **state)
{
    struct grpc_rig *rig = rig_with_a_call(NULL);
    for (int i = 0; i < 500; i++) {
        nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 100000 + i % 2};
        nghttp2_submit_settings(rig->client->session, 0, &entry, 1);
        rig->now += TH_SECOND / 10;
        grpc_rig_run(rig);
    }
    assert_calm(rig);
}

/* ---- resets ---- */

static void open_and_reset(struct grpc_rig *rig, unsigned n)
{
    struct grpc_reply *replies[1000];
    assert_true(n <= TH_COUNT(replies));
    for (unsigned i = 0; i < n; i++) {
        replies[i] = grpc_client_begin(rig->client, "/t/Hold", NULL);
    }
    grpc_client_fill(rig->client);
    for (unsigned i = 0; i < n; i++) {
        grpc_client_reset(replies[i], NGHTTP2_CANCEL);
    }
    grpc_rig_run(rig);
}

/* 3,000 waits that were given up together are an everyday thing. */
static void many_waits_are_cancelled(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    for (int i = 0; i < 3000; i++) {
        grpc_client_begin(rig->client, "/t/Hold", NULL);
    }
    grpc_rig_run(rig);
    assert_int_equal(rig->count, 3000);
    assert_int_equal(rig->service.calls, 3000);
    struct grpc_reply *reply;
    DL_FOREACH(rig->client->replies, reply) {
        grpc_client_reset(reply, NGHTTP2_CANCEL);
    }
    grpc_rig_run(rig);
    assert_int_equal(rig->service.calls, 0);
    for (size_t i = 0; i < rig->count; i++) {
        assert_int_equal(rig->records[i]->why, TH_GRPC_RESET);
    }
    assert_false(rig->client->goaway);
    grpc_rig_free(rig);
}

static void resets(void **state)
{
    struct grpc_rig *rig = rig_with_a_call(NULL);
    for (int i = 0; i < 25 && !rig->client->goaway; i++) {
        open_and_reset(rig, 1000);
    }
    assert_calmed(rig, "too_many_resets");
}

static void resets_at_a_legitimate_rate(void **state)
{
    struct grpc_rig *rig =
        rig_with_a_call(&(struct th_grpc_limits){.reset_burst = 50, .reset_rate = 20});
    struct grpc_record *first = grpc_rig_last(rig);
    for (int i = 0; i < 200; i++) {
        open_and_reset(rig, 20);
        rig->now += TH_SECOND;
    }
    assert_false(rig->client->goaway);
    assert_int_equal(first->ended, 0);
    open_and_reset(rig, 51);
    assert_calmed(rig, "too_many_resets");
}

/* Streams that the client makes us reset (a window above 2^31 - 1: RFC 9113, section 6.9.1). */
static void resets_by_us(void **state)
{
    struct grpc_rig *rig =
        rig_with_a_call(&(struct th_grpc_limits){.reset_burst = 50, .reset_rate = 1});
    for (int i = 0; i < 60 && !rig->client->goaway; i++) {
        struct grpc_reply *reply = grpc_client_begin(rig->client, "/t/Hold", NULL);
        grpc_rig_run(rig);
        input_frames(rig, 1, NGHTTP2_WINDOW_UPDATE, 0, (uint32_t)reply->stream,
                     TH_STR("\x7f\xff\xff\xff"));
        assert_true(reply->closed);
    }
    assert_calmed(rig, "too_many_resets");
}

static void requests_that_break_http(void **state)
{
    struct grpc_rig *rig =
        rig_with_a_call(&(struct th_grpc_limits){.reset_burst = 50, .reset_rate = 1});
    const struct grpc_client_field bad[] = {{"connection", "close"}, {NULL, NULL}};
    for (int i = 0; i < 60 && !rig->client->goaway; i++) {
        grpc_client_begin(rig->client, "/t/Hold", bad);
        grpc_rig_run(rig);
    }
    assert_calmed(rig, "too_many_resets");
}

/* ---- frames that say nothing ---- */

static void empty_data(void **state)
{
    struct grpc_rig *rig = rig_with_a_call(NULL);
    input_frames(rig, 1000, NGHTTP2_DATA, 0, 1, TH_STR(""));
    assert_false(rig->client->goaway);
    input_frames(rig, 1, NGHTTP2_DATA, 0, 1, TH_STR(""));
    assert_calmed(rig, "too_many_empty_frames");
}

static void data_of_padding(void **state)
{
    struct grpc_rig *rig = rig_with_a_call(NULL);
    input_frames(rig, 1001, NGHTTP2_DATA, PADDED, 1, TH_STR("\3\0\0\0"));
    assert_calmed(rig, "too_many_empty_frames");
}

static void frames_of_no_use(void **state)
{
    static const struct {
        int type, flags;
        uint32_t stream;
        struct th_str payload;
    } kinds[] = {
        {NGHTTP2_PRIORITY, 0, 1, TH_STR("\0\0\0\0\1")},
        {NGHTTP2_WINDOW_UPDATE, 0, 0, TH_STR("\0\0\0\1")},
        {NGHTTP2_WINDOW_UPDATE, 0, 1, TH_STR("\0\0\0\1")},
        {NGHTTP2_RST_STREAM, 0, 3, TH_STR("\0\0\0\1")},
        {NGHTTP2_HEADERS, END_HEADERS, 3, TH_STR("")},
        {0x77, 0, 0, TH_STR("whatever")},
    };
    for (size_t i = 0; i < TH_COUNT(kinds); i++) {
        struct grpc_rig *rig = rig_with_a_call(NULL);
        /* Stream 3 was there, and is over. */
        grpc_client_unary(rig->client, "/t/Unary", NULL, TH_STR("a"));
        grpc_rig_run(rig);
        input_frames(rig, 9000, kinds[i].type, kinds[i].flags, kinds[i].stream, kinds[i].payload);
        assert_false(rig->client->goaway);
        input_frames(rig, 2000, kinds[i].type, kinds[i].flags, kinds[i].stream, kinds[i].payload);
        assert_calmed(rig, "too_many_frames");
    }
}

/* Those of a type that nobody knows are to be ignored (RFC 9113, section 5.5). */
static void unknown_frames(void **state)
{
    struct grpc_rig *rig = rig_with_a_call(NULL);
    TH_AUTOFREE char *bytes = th_alloc(10000);
    input_frames(rig, 300, 0x77, 0, 0, th_str_n(bytes, 10000));
    rig->now += TH_SECOND;
    input_frames(rig, 300, 0x77, 0, 1, th_str_n(bytes, 10000));
    assert_calm(rig);
}

/* A client that sends a message that is too large goes on until it hears of that; and sends the
 * next one. */
static void data_that_is_ignored(void **state)
{
    struct grpc_rig *rig = rig_with_a_call(&(struct th_grpc_limits){.message_bytes = 100});
    TH_AUTOFREE char *bytes = th_alloc(100000);
    for (int i = 0; i < 200; i++) {
        struct grpc_reply *reply =
            grpc_client_unary(rig->client, "/t/Unary", NULL, th_str_n(bytes, 100000));
        grpc_rig_run(rig);
        assert_int_equal(reply->status, TH_GRPC_RESOURCE_EXHAUSTED);
    }
    assert_calm(rig);
}

/* A client that gets 20,000 small messages gives window back 40,000 times. */
static void window_for_what_was_sent(void **state)
{
    struct grpc_rig *rig = rig_with_a_call(NULL);
    for (int i = 0; i < 20000; i++) {
        grpc_rig_send(grpc_rig_last(rig)->call, 1);
        grpc_rig_run(rig);
        input_frames(rig, 1, NGHTTP2_WINDOW_UPDATE, 0, 0, TH_STR("\0\0\0\6"));
        input_frames(rig, 1, NGHTTP2_WINDOW_UPDATE, 0, 1, TH_STR("\0\0\0\6"));
    }
    assert_calm(rig);
}

/* ---- header blocks ---- */

/* A header block that does not end. */
static void continuations(void **state)
{
    struct grpc_rig *rig = rig_with_a_call(NULL);
    TH_BUFFER bytes = {0};
    add_frame(&bytes, NGHTTP2_HEADERS, END_STREAM, 3, TH_STR("\x82"));
    for (int i = 0; i < 20; i++) {
        add_frame(&bytes, NGHTTP2_CONTINUATION, 0, 3, TH_STR(""));
    }
    grpc_rig_input(rig, th_buffer_view(&bytes));
    assert_calmed(rig, "too_many_continuations");
}

static void continuations_of_a_block_that_is_ignored(void **state)
{
    struct grpc_rig *rig = rig_with_a_call(NULL);
    TH_BUFFER bytes = {0};
    add_frame(&bytes, NGHTTP2_HEADERS, 0, 1, TH_STR("")); /* trailers that do not end the stream */
    for (int i = 0; i < 200; i++) {
        add_frame(&bytes, NGHTTP2_CONTINUATION, 0, 1, TH_STR(""));
    }
    grpc_rig_input(rig, th_buffer_view(&bytes));
    assert_calmed(rig, "too_many_continuations");
}

/* One field of 4,000 bytes in the table, then a byte for each time it is named. */
static void a_bomb(void **state)
{
    struct grpc_rig *rig = rig_with_a_call(NULL);
    TH_BUFFER block = {0};
    TH_BUFFER bytes = {0};
    char value[3900];
    memset(value, 'v', sizeof(value));
    th_buffer_add(&block, "\x82\x86\x84\x41\x01h", 6); /* POST? no matter: a GET */
    th_buffer_add(&block, "\x40\x01n\x7f\xbd\x1d", 6); /* n: 3,900 bytes, indexed */
    th_buffer_add(&block, value, sizeof(value));
    for (int i = 0; i < 12000; i++) {
        th_buffer_add(&block, "\xbe", 1); /* the newest entry */
    }
    add_frame(&bytes, NGHTTP2_HEADERS, END_STREAM | END_HEADERS, 3, th_buffer_view(&block));
    grpc_rig_input(rig, th_buffer_view(&bytes));
    assert_calmed(rig, "too_many_header_fields");
}

static void a_frame_that_is_too_large(void **state)
{
    struct grpc_rig *rig = rig_with_a_call(NULL);
    grpc_rig_input(rig, TH_STR("\xff\xff\xff\0\0\0\0\0\1"));
    assert_int_equal(rig->client->goaway_code, NGHTTP2_FRAME_SIZE_ERROR);
    assert_true(th_grpc_connection_over(rig->connection));
    grpc_rig_free(rig);
}

static void more_data_than_the_window(void **state)
{
    struct grpc_rig *rig = rig_with_a_call(NULL);
    th_grpc_pause(grpc_rig_last(rig)->call);
    TH_AUTOFREE char *bytes = th_alloc(16384);
    for (int i = 0; i < 9; i++) {
        input_frames(rig, 1, NGHTTP2_DATA, 0, 1, th_str_n(bytes, 16384));
    }
    struct grpc_reply *reply = rig->client->replies;
    assert_true(reply->closed);
    assert_int_equal(reply->code, NGHTTP2_FLOW_CONTROL_ERROR);
    grpc_rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pings),
        cmocka_unit_test(pings_at_a_sane_rate),
        cmocka_unit_test(probes),
        cmocka_unit_test(pings_without_a_limit),
        cmocka_unit_test(pings_of_a_client_that_does_not_read),
        cmocka_unit_test(settings),
        cmocka_unit_test(settings_now_and_then),
        cmocka_unit_test(many_waits_are_cancelled),
        cmocka_unit_test(resets),
        cmocka_unit_test(resets_at_a_legitimate_rate),
        cmocka_unit_test(resets_by_us),
        cmocka_unit_test(requests_that_break_http),
        cmocka_unit_test(empty_data),
        cmocka_unit_test(data_of_padding),
        cmocka_unit_test(frames_of_no_use),
        cmocka_unit_test(unknown_frames),
        cmocka_unit_test(data_that_is_ignored),
        cmocka_unit_test(window_for_what_was_sent),
        cmocka_unit_test(continuations),
        cmocka_unit_test(continuations_of_a_block_that_is_ignored),
        cmocka_unit_test(a_bomb),
        cmocka_unit_test(a_frame_that_is_too_large),
        cmocka_unit_test(more_data_than_the_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
