/* What a call is told and what its client sees: requests, answers, every way to an end. */
#include "unit/grpc_rig.h"

static const struct th_grpc_metadata none;

static struct grpc_rig *rig_of(void **state)
{
    return *state;
}

static int set_up(void **state)
{
    *state = grpc_rig_new(NULL, 0, false);
    return 0;
}

static int tear_down(void **state)
{
    grpc_rig_free(*state);
    return 0;
}

static void assert_field(struct grpc_reply *reply, const char *name, const char *value)
{
    TH_AUTOFREE char *found = grpc_reply_field(reply, name);
    if (value) {
        assert_non_null(found);
        assert_string_equal(found, value);
    } else {
        assert_null(found);
    }
}

static void assert_noted(struct grpc_record *record, const char *line)
{
    TH_BUFFER text = {0};
    th_buffer_str(&text, th_buffer_view(&record->request));
    th_buffer_add(&text, "", 1);
    if (!strstr(text.data, line)) {
        print_error("no \"%s\" in\n%s\n", line, text.data);
        fail();
    }
}

/* A call ends so; and the handler of the last one, if there is one. */
static void assert_refused(struct grpc_rig *rig, struct grpc_reply *reply, int status,
                           const char *words)
{
    grpc_rig_run(rig);
    assert_status(reply, status);
    assert_non_null(reply->message);
    if (!strstr(reply->message, words)) {
        print_error("no \"%s\" in \"%s\"\n", words, reply->message);
        fail();
    }
    if (rig->count) {
        assert_int_equal(grpc_rig_last(rig)->ended, 1);
        assert_int_equal(grpc_rig_last(rig)->why, TH_GRPC_REFUSED);
    }
}

/* ---- good calls ---- */

static void a_unary_call(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    struct grpc_reply *reply = grpc_client_unary(rig->client, "/t/Unary", NULL, TH_STR("hello"));
    grpc_rig_run(rig);
    assert_status(reply, TH_GRPC_OK);
    assert_int_equal(reply->blocks, 2);
    assert_str(grpc_reply_next(reply), "hello");
    assert_int_equal(reply->read, reply->data.len);
    assert_field(reply, "content-type", "application/grpc");
    assert_field(reply, "grpc-accept-encoding", "identity");
    assert_null(reply->message);
    struct grpc_record *record = grpc_rig_last(rig);
    assert_int_equal(record->messages, 1);
    assert_int_equal(record->why, TH_GRPC_DONE);
    assert_int_equal(record->deadline, TH_TIME_NONE);
}

static void an_empty_message(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    struct grpc_reply *reply = grpc_client_unary(rig->client, "/t/Unary", NULL, TH_STR(""));
    grpc_rig_run(rig);
    assert_status(reply, TH_GRPC_OK);
    assert_int_equal(reply->data.len, 5);
}

static void both_sides_stream(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    struct grpc_reply *reply = grpc_client_begin(rig->client, "/t/Echo", NULL);
    for (int i = 0; i < 3; i++) {
        grpc_client_send(reply, TH_STR("ping"));
        grpc_rig_run(rig);
        assert_str(grpc_reply_next(reply), "ping");
        assert_false(reply->closed);
    }
    grpc_client_end(reply);
    grpc_rig_run(rig);
    assert_status(reply, TH_GRPC_OK);
    assert_int_equal(grpc_rig_last(rig)->messages, 3);
    assert_int_equal(grpc_rig_last(rig)->half_closed, 1);
}

static void many_calls_at_once(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    struct grpc_reply *replies[300];
    for (size_t i = 0; i < TH_COUNT(replies); i++) {
        replies[i] =
            grpc_client_unary(rig->client, i % 2 ? "/t/Unary" : "/t/Echo", NULL, TH_STR("hello"));
    }
    grpc_rig_run(rig);
    for (size_t i = 0; i < TH_COUNT(replies); i++) {
        assert_status(replies[i], TH_GRPC_OK);
        assert_str(grpc_reply_next(replies[i]), "hello");
    }
}

static void a_large_message(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    size_t len = 4 << 20;
    TH_AUTOFREE char *bytes = th_alloc(len);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (char)(i * 31 >> 3);
    }
    struct grpc_reply *reply =
        grpc_client_unary(rig->client, "/t/Unary", NULL, th_str_n(bytes, len));
    grpc_rig_run(rig);
    assert_status(reply, TH_GRPC_OK);
    assert_true(th_str_eq(grpc_reply_next(reply), th_str_n(bytes, len)));
}

/* Wherever the network cuts. */
static void cuts_at_every_byte(void **state)
{
    for (size_t chunk = 1; chunk < 40; chunk += chunk < 16 ? 1 : 7) {
        struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
        rig->chunk = chunk;
        const struct grpc_client_field fields[] = {
            {"k-bin", "Zm9v"}, {"grpc-timeout", "1S"}, {NULL, NULL}};
        struct grpc_reply *a = grpc_client_begin(rig->client, "/t/Echo", fields);
        struct grpc_reply *b = grpc_client_unary(rig->client, "/t/Unary", fields, TH_STR("b"));
        grpc_client_send(a, TH_STR("first"));
        grpc_client_send(a, TH_STR(""));
        grpc_client_send(a, TH_STR("third one"));
        grpc_client_end(a);
        grpc_rig_run(rig);
        assert_status(a, TH_GRPC_OK);
        assert_status(b, TH_GRPC_OK);
        assert_str(grpc_reply_next(a), "first");
        assert_str(grpc_reply_next(a), "");
        assert_str(grpc_reply_next(a), "third one");
        assert_noted(rig->records[0], "\nk-bin=foo\n");
        grpc_rig_free(rig);
    }
}

/* ---- what a request says ---- */

static void a_request_is_told(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    const struct grpc_client_field fields[] = {{"taskhub", "orders"},
                                               {"x-bin", "AAEC"},
                                               {"x-bin", "Zm9v,Zg=="},
                                               {"grpc-timeout", "5S"},
                                               {"grpc-encoding", "gzip"},
                                               {"grpc-accept-encoding", "gzip"},
                                               {"content-type", "application/grpc+proto"},
                                               {"taskhub", "again"},
                                               {"empty", ""},
                                               {NULL, NULL}};
    grpc_client_begin(rig->client, "/t/Hold", fields);
    grpc_rig_run(rig);
    struct grpc_record *record = grpc_rig_last(rig);
    assert_true(th_str_eq(
        th_buffer_view(&record->request),
        TH_STR("path=/t/Hold\nauthority=localhost\nuser_agent=grpc-test/1\npeer=192.0.2.1:5\n"
               "taskhub=orders\nx-bin=\0\1\2\nx-bin=foof\ntaskhub=again\nempty=\n")));
    assert_int_equal(record->deadline, rig->now + 5 * TH_SECOND);
    assert_int_equal(record->messages + record->half_closed + record->ended, 0);
}

static void a_host_instead_of_an_authority(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    const struct grpc_client_field fields[] = {
        {":authority", NULL}, {"host", "example.org"}, {NULL, NULL}};
    grpc_client_begin(rig->client, "/t/Hold", fields);
    grpc_rig_run(rig);
    assert_noted(grpc_rig_last(rig), "\nauthority=example.org\n");
}

static void content_types(void **state)
{
    static const struct {
        const char *type;
        int http;
    } cases[] = {
        {"application/grpc", 200},      {"application/grpc+json", 200},
        {"Application/GRPC", 200},      {"application/grpc; charset=utf-8", 200},
        {"application/grpc ;a=b", 200}, {"application/grpc-web", 415},
        {"application/grpcx", 415},     {"application/json", 415},
        {"application/grp", 415},       {NULL, 415},
    };
    struct grpc_rig *rig = rig_of(state);
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        const struct grpc_client_field fields[] = {{"content-type", cases[i].type}, {NULL, NULL}};
        struct grpc_reply *reply =
            grpc_client_unary(rig->client, "/t/Unary", fields, TH_STR("hello"));
        grpc_rig_run(rig);
        assert_int_equal(reply->http, cases[i].http);
        assert_int_equal(reply->status, cases[i].http == 200 ? 0 : -1);
        assert_true(reply->closed);
        assert_field(reply, "accept", cases[i].http == 200 ? NULL : "application/grpc");
    }
}

static void other_http_methods(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    const struct grpc_client_field get[] = {{":method", "GET"}, {NULL, NULL}};
    struct grpc_reply *reply = grpc_client_begin(rig->client, "/t/Unary", get);
    grpc_rig_run(rig);
    assert_int_equal(reply->http, 405);
    assert_field(reply, "allow", "POST");
    assert_true(reply->closed);
    assert_int_equal(rig->count, 0);
}

static void no_te(void **state)
{
    const struct grpc_client_field fields[] = {{"te", NULL}, {NULL, NULL}};
    struct grpc_reply *reply =
        grpc_client_unary(rig_of(state)->client, "/t/Unary", fields, TH_STR("a"));
    assert_refused(rig_of(state), reply, TH_GRPC_INTERNAL, "te: trailers");
}

static void malformed_timeouts(void **state)
{
    const struct grpc_client_field fields[] = {{"grpc-timeout", "soon"}, {NULL, NULL}};
    struct grpc_reply *reply =
        grpc_client_unary(rig_of(state)->client, "/t/Unary", fields, TH_STR("a"));
    assert_refused(rig_of(state), reply, TH_GRPC_INTERNAL, "grpc-timeout");
}

static void malformed_binary_metadata(void **state)
{
    const struct grpc_client_field fields[] = {{"a-bin", "no base64"}, {NULL, NULL}};
    struct grpc_reply *reply =
        grpc_client_unary(rig_of(state)->client, "/t/Hold", fields, TH_STR("a"));
    assert_refused(rig_of(state), reply, TH_GRPC_INTERNAL, "base64");
    assert_int_equal(rig_of(state)->count, 0);
}

static void unknown_paths(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    struct grpc_reply *reply = grpc_client_unary(rig->client, "/t/None", NULL, TH_STR("a"));
    assert_refused(rig, reply, TH_GRPC_UNIMPLEMENTED, "there is no method /t/None");
    reply = grpc_client_begin(rig->client, "/t/Found", NULL);
    grpc_rig_run(rig);
    grpc_rig_finish(grpc_rig_last(rig)->call);
    grpc_rig_run(rig);
    assert_status(reply, TH_GRPC_OK);
}

static void large_metadata(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    TH_AUTOFREE char *value = th_alloc(16385);
    memset(value, 'v', 16384);
    const struct grpc_client_field fields[] = {{"large", value}, {NULL, NULL}};
    struct grpc_reply *large = grpc_client_unary(rig->client, "/t/Unary", fields, TH_STR("a"));
    assert_refused(rig, large, TH_GRPC_RESOURCE_EXHAUSTED, "bytes of metadata");
    struct grpc_reply *other = grpc_client_unary(rig->client, "/t/Unary", NULL, TH_STR("b"));
    grpc_rig_run(rig);
    assert_status(other, TH_GRPC_OK);
    assert_false(rig->client->goaway);
}

static void many_metadata_fields(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    struct grpc_client_field fields[130] = {0};
    for (size_t i = 0; i < TH_COUNT(fields) - 1; i++) {
        fields[i] = (struct grpc_client_field){"n", "v"};
    }
    struct grpc_reply *reply = grpc_client_unary(rig->client, "/t/Unary", fields, TH_STR("a"));
    assert_refused(rig, reply, TH_GRPC_RESOURCE_EXHAUSTED, "fields");
    fields[100].name = NULL;
    reply = grpc_client_unary(rig->client, "/t/Unary", fields, TH_STR("a"));
    grpc_rig_run(rig);
    assert_status(reply, TH_GRPC_OK);
}

static void a_request_that_breaks_http(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    const struct grpc_client_field fields[] = {{"connection", "close"}, {NULL, NULL}};
    struct grpc_reply *bad = grpc_client_unary(rig->client, "/t/Unary", fields, TH_STR("a"));
    struct grpc_reply *good = grpc_client_unary(rig->client, "/t/Unary", NULL, TH_STR("b"));
    grpc_rig_run(rig);
    assert_true(bad->closed);
    assert_int_equal(bad->code, NGHTTP2_PROTOCOL_ERROR);
    assert_status(good, TH_GRPC_OK);
    assert_int_equal(rig->count, 1);
}

static void too_many_calls_on_the_server(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(&(struct th_grpc_limits){.calls = 2}, 0, false);
    grpc_client_begin(rig->client, "/t/Hold", NULL);
    grpc_client_begin(rig->client, "/t/Hold", NULL);
    struct grpc_reply *third = grpc_client_begin(rig->client, "/t/Hold", NULL);
    grpc_rig_run(rig);
    assert_status(third, TH_GRPC_RESOURCE_EXHAUSTED);
    assert_int_equal(rig->count, 2);
    grpc_rig_finish(rig->records[0]->call);
    grpc_rig_run(rig);
    third = grpc_client_begin(rig->client, "/t/Hold", NULL);
    grpc_rig_run(rig);
    assert_int_equal(rig->count, 3);
    grpc_rig_free(rig);
}

static void streams_beyond_the_limit_wait(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(&(struct th_grpc_limits){.streams = 2}, 0, false);
    grpc_rig_run(rig);
    assert_int_equal(rig->client->max_streams, 2);
    for (int i = 0; i < 3; i++) {
        grpc_client_begin(rig->client, "/t/Hold", NULL);
    }
    grpc_rig_run(rig);
    assert_int_equal(rig->count, 2);
    grpc_rig_finish(rig->records[0]->call);
    grpc_rig_run(rig);
    assert_int_equal(rig->count, 3);
    grpc_rig_free(rig);
}

/* ---- what a client's messages may be ---- */

static void compressed_messages(void **state)
{
    struct grpc_reply *reply = grpc_client_begin(rig_of(state)->client, "/t/Hold", NULL);
    grpc_client_raw(reply, TH_STR("\1\0\0\0\1a"));
    assert_refused(rig_of(state), reply, TH_GRPC_UNIMPLEMENTED, "identity");
    assert_field(reply, "grpc-accept-encoding", "identity");
}

static void a_message_that_begins_with_2(void **state)
{
    struct grpc_reply *reply = grpc_client_begin(rig_of(state)->client, "/t/Hold", NULL);
    grpc_client_raw(reply, TH_STR("\2\0\0\0\1a"));
    assert_refused(rig_of(state), reply, TH_GRPC_INTERNAL, "neither 0 nor 1");
}

static void a_message_cut_off(void **state)
{
    static const struct th_str cuts[] = {TH_STR("\0"), TH_STR("\0\0\0\0"), TH_STR("\0\0\0\0\5"),
                                         TH_STR("\0\0\0\0\5hell")};
    for (size_t i = 0; i < TH_COUNT(cuts); i++) {
        struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
        struct grpc_reply *reply = grpc_client_begin(rig->client, "/t/Hold", NULL);
        grpc_rig_run(rig);
        grpc_client_raw(reply, cuts[i]);
        grpc_client_end(reply);
        assert_refused(rig, reply, TH_GRPC_INTERNAL, "not complete");
        assert_int_equal(grpc_rig_last(rig)->half_closed, 0);
        grpc_rig_free(rig);
    }
}

static void a_message_over_the_limit(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(&(struct th_grpc_limits){.message_bytes = 100}, 0, false);
    char bytes[101] = {0};
    struct grpc_reply *other = grpc_client_begin(rig->client, "/t/Echo", NULL);
    struct grpc_reply *fits =
        grpc_client_unary(rig->client, "/t/Unary", NULL, th_str_n(bytes, 100));
    grpc_rig_run(rig);
    assert_status(fits, TH_GRPC_OK);
    struct grpc_reply *large = grpc_client_begin(rig->client, "/t/Hold", NULL);
    grpc_rig_run(rig);
    grpc_client_send(large, th_str_n(bytes, 101));
    assert_refused(rig, large, TH_GRPC_RESOURCE_EXHAUSTED, "101 bytes");
    grpc_client_send(other, TH_STR("still here"));
    grpc_client_end(other);
    grpc_rig_run(rig);
    assert_status(other, TH_GRPC_OK);
    grpc_rig_free(rig);
}

static void a_method_of_one_message(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    struct grpc_reply *zero = grpc_client_begin(rig->client, "/t/One", NULL);
    grpc_client_end(zero);
    assert_refused(rig, zero, TH_GRPC_UNIMPLEMENTED, "exactly one message");
    assert_int_equal(grpc_rig_last(rig)->messages, 0);

    struct grpc_reply *two = grpc_client_begin(rig->client, "/t/One", NULL);
    grpc_client_send(two, TH_STR("a"));
    grpc_rig_run(rig);
    assert_int_equal(grpc_rig_last(rig)->messages, 0); /* there might be another one */
    grpc_client_send(two, TH_STR("b"));
    assert_refused(rig, two, TH_GRPC_UNIMPLEMENTED, "exactly one message");

    struct grpc_reply *one = grpc_client_begin(rig->client, "/t/One", NULL);
    grpc_client_send(one, TH_STR("a"));
    grpc_rig_run(rig);
    grpc_client_end(one);
    grpc_rig_run(rig);
    assert_int_equal(grpc_rig_last(rig)->messages, 1);
    assert_int_equal(grpc_rig_last(rig)->half_closed, 1);
    assert_int_equal(grpc_rig_last(rig)->ended, 0);
}

/* ---- answers ---- */

static void every_status(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    for (int status = 0; status <= 16; status++) {
        struct grpc_reply *reply = grpc_client_unary(rig->client, "/t/One", NULL, TH_STR("a"));
        grpc_rig_run(rig);
        th_grpc_finish(grpc_rig_last(rig)->call, (enum th_grpc_status)status, TH_STR(""), none);
        grpc_rig_run(rig);
        assert_status(reply, status);
        assert_int_equal(reply->blocks, 1); /* trailers only */
        assert_null(reply->message);
        assert_field(reply, "content-type", "application/grpc");
    }
}

static void words_of_a_status(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    struct grpc_reply *reply = grpc_client_begin(rig->client, "/t/Hold", NULL);
    grpc_rig_run(rig);
    th_grpc_finish(grpc_rig_last(rig)->call, TH_GRPC_NOT_FOUND,
                   TH_STR("no instance \"\xc3\xa4\"\n100%"), none);
    grpc_rig_run(rig);
    assert_status(reply, TH_GRPC_NOT_FOUND);
    assert_string_equal(reply->message, "no instance \"%C3%A4\"%0A100%25");
}

static void many_words(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    TH_AUTOFREE char *words = th_alloc(20000);
    memset(words, 'w', 20000);
    struct grpc_reply *reply = grpc_client_begin(rig->client, "/t/Hold", NULL);
    grpc_rig_run(rig);
    th_grpc_finish(grpc_rig_last(rig)->call, TH_GRPC_UNKNOWN, th_str_n(words, 20000), none);
    grpc_rig_run(rig);
    assert_status(reply, TH_GRPC_UNKNOWN);
    assert_int_equal(strlen(reply->message), 4096);
}

static void metadata_of_an_answer(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    const struct th_grpc_field first[] = {{TH_STR("early"), TH_STR("1")},
                                          {TH_STR("early-bin"), TH_STR("\0\377")}};
    const struct th_grpc_field later[] = {{TH_STR("late"), TH_STR("2 or 3")},
                                          {TH_STR("details-bin"), TH_STR("foo")}};
    struct grpc_reply *reply = grpc_client_begin(rig->client, "/t/Hold", NULL);
    grpc_rig_run(rig);
    struct th_grpc_call *call = grpc_rig_last(rig)->call;
    assert_true(th_grpc_headers(call, (struct th_grpc_metadata){first, 2}));
    grpc_rig_run(rig);
    assert_int_equal(reply->http, 200); /* at once */
    assert_field(reply, "early", "1");
    assert_field(reply, "early-bin", "AP8");
    assert_true(th_grpc_headers(call, (struct th_grpc_metadata){later, 1})); /* too late */
    grpc_rig_send(call, 3);
    assert_true(
        th_grpc_finish(call, TH_GRPC_ABORTED, TH_STR("why"), (struct th_grpc_metadata){later, 2}));
    grpc_rig_run(rig);
    assert_status(reply, TH_GRPC_ABORTED);
    assert_string_equal(reply->message, "why");
    assert_field(reply, "late", "2 or 3");
    assert_field(reply, "details-bin", "Zm9v");
    assert_int_equal(reply->blocks, 2);
}

static void fields_that_cannot_be_sent(void **state)
{
    static const struct th_grpc_field bad[] = {
        {TH_STR("Upper"), TH_STR("v")},        {TH_STR(""), TH_STR("v")},
        {TH_STR("grpc-status"), TH_STR("0")},  {TH_STR(":status"), TH_STR("200")},
        {TH_STR("space"), TH_STR(" v")},       {TH_STR("space"), TH_STR("v ")},
        {TH_STR("line"), TH_STR("a\r\nb: c")}, {TH_STR("high"), TH_STR("\xc3\xa4")},
        {TH_STR("a b"), TH_STR("v")},
    };
    struct grpc_rig *rig = rig_of(state);
    for (size_t i = 0; i < TH_COUNT(bad); i++) {
        const struct th_grpc_field fields[] = {bad[i], {TH_STR("good"), TH_STR("yes")}};
        struct grpc_reply *reply = grpc_client_begin(rig->client, "/t/Hold", NULL);
        grpc_rig_run(rig);
        assert_false(th_grpc_finish(grpc_rig_last(rig)->call, TH_GRPC_NOT_FOUND, TH_STR(""),
                                    (struct th_grpc_metadata){fields, 2}));
        grpc_rig_run(rig);
        assert_status(reply, TH_GRPC_NOT_FOUND);
        assert_field(reply, "good", "yes");
        assert_null(strstr(reply->fields.data, "\nspace"));
    }
}

static void too_much_metadata_of_ours(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    TH_AUTOFREE char *value = th_alloc(8000);
    memset(value, 'v', 8000);
    const struct th_grpc_field fields[] = {{TH_STR("a"), th_str_n(value, 5000)},
                                           {TH_STR("b"), th_str_n(value, 5000)},
                                           {TH_STR("c"), th_str_n(value, 2000)}};
    struct grpc_reply *reply = grpc_client_begin(rig->client, "/t/Hold", NULL);
    grpc_rig_run(rig);
    assert_false(th_grpc_finish(grpc_rig_last(rig)->call, TH_GRPC_OK, TH_STR(""),
                                (struct th_grpc_metadata){fields, 3}));
    grpc_rig_run(rig);
    assert_status(reply, TH_GRPC_OK);
    assert_field(reply, "b", NULL);
    assert_non_null(strstr(reply->fields.data, "a=vvv"));
    assert_non_null(strstr(reply->fields.data, "c=vvv"));
}

static void an_answer_before_the_question_is_complete(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    struct grpc_reply *reply = grpc_client_begin(rig->client, "/t/Hold", NULL);
    grpc_client_raw(reply, TH_STR("\0\0\0"));
    grpc_rig_run(rig);
    grpc_rig_send(grpc_rig_last(rig)->call, 10);
    grpc_rig_finish(grpc_rig_last(rig)->call);
    grpc_rig_run(rig);
    assert_status(reply, TH_GRPC_OK);
    assert_int_equal(reply->data.len, 15);
    assert_int_equal(grpc_rig_last(rig)->why, TH_GRPC_DONE);
}

static void finish_in_begin(struct grpc_record *record)
{
    th_grpc_finish(record->call, TH_GRPC_PERMISSION_DENIED, TH_STR("no"), none);
    grpc_rig_finish(record->call); /* only the first counts */
    assert_true(grpc_rig_send(record->call, 5));
    assert_int_equal(th_grpc_queued(record->call), 0);
}

static void an_answer_at_once(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    rig->on_begin = finish_in_begin;
    struct grpc_reply *reply = grpc_client_unary(rig->client, "/t/Echo", NULL, TH_STR("a"));
    grpc_rig_run(rig);
    assert_status(reply, TH_GRPC_PERMISSION_DENIED);
    assert_int_equal(reply->data.len, 0);
    assert_int_equal(grpc_rig_last(rig)->messages, 0);
    assert_int_equal(grpc_rig_last(rig)->half_closed, 0);
    assert_int_equal(grpc_rig_last(rig)->why, TH_GRPC_DONE);
}

/* ---- ends that nobody asked for ---- */

static void a_client_cancels(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    struct grpc_reply *reply = grpc_client_begin(rig->client, "/t/Hold", NULL);
    grpc_rig_run(rig);
    struct grpc_record *record = grpc_rig_last(rig);
    struct th_grpc_call *call = th_grpc_ref(record->call);
    grpc_rig_send(call, 100);
    grpc_client_reset(reply, NGHTTP2_CANCEL);
    grpc_rig_run(rig);
    assert_int_equal(record->ended, 1);
    assert_int_equal(record->why, TH_GRPC_RESET);
    /* Its handler may not know yet. */
    assert_true(grpc_rig_send(call, 100));
    assert_int_equal(th_grpc_queued(call), 0);
    th_grpc_headers(call, none);
    th_grpc_pause(call);
    th_grpc_resume(call);
    th_grpc_abort(call, TH_GRPC_UNKNOWN, TH_STR("x"));
    grpc_rig_finish(call);
    grpc_rig_run(rig);
    assert_int_equal(record->ended, 1);
    th_grpc_unref(call);
}

static void cancelled_before_its_turn(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    grpc_rig_run(rig);
    struct grpc_reply *reply = grpc_client_begin(rig->client, "/t/Hold", NULL);
    grpc_client_fill(rig->client);
    grpc_client_reset(reply, NGHTTP2_CANCEL);
    grpc_rig_run(rig);
    assert_true(reply->closed);
    assert_int_equal(rig->count, 0);
    assert_int_equal(rig->service.calls, 0);
}

static void a_lost_connection(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
    for (int i = 0; i < 3; i++) {
        struct grpc_reply *reply = grpc_client_begin(rig->client, "/t/Hold", NULL);
        grpc_client_raw(reply, TH_STR("\0\0\0\0\5ab"));
    }
    grpc_rig_run(rig);
    rig->socket_full = true;
    grpc_rig_send(rig->records[0]->call, 100000);
    grpc_rig_finish(rig->records[1]->call);
    struct th_grpc_call *call = th_grpc_ref(rig->records[0]->call);
    th_grpc_connection_free(rig->connection);
    rig->connection = NULL;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rig->records[i]->ended, 1);
        assert_int_equal(rig->records[i]->why, TH_GRPC_LOST);
    }
    assert_int_equal(th_grpc_queued(call), 0);
    grpc_rig_send(call, 10);
    grpc_rig_finish(call);
    th_grpc_unref(call);
    grpc_rig_free(rig);
}

static void an_abort_passes_the_queue(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, true); /* a client that takes 64 KiB */
    struct grpc_reply *reply = grpc_client_begin(rig->client, "/t/Hold", NULL);
    grpc_rig_run(rig);
    struct th_grpc_call *call = grpc_rig_last(rig)->call;
    grpc_rig_send(call, 65535 - 5); /* exactly its window */
    grpc_rig_send(call, 1000);
    grpc_rig_run(rig);
    assert_int_equal(th_grpc_queued(call), 1005);
    th_grpc_abort(call, TH_GRPC_ABORTED, TH_STR("enough"));
    grpc_rig_run(rig);
    assert_status(reply, TH_GRPC_ABORTED);
    assert_string_equal(reply->message, "enough");
    assert_int_equal(reply->data.len, 65535);
    assert_int_equal(grpc_rig_last(rig)->why, TH_GRPC_DONE);
    grpc_rig_free(rig);
}

static void an_abort_within_a_message(void **state)
{
    struct grpc_rig *rig = grpc_rig_new(NULL, 0, true);
    struct grpc_reply *reply = grpc_client_begin(rig->client, "/t/Hold", NULL);
    grpc_rig_run(rig);
    struct th_grpc_call *call = grpc_rig_last(rig)->call;
    grpc_rig_send(call, 100000);
    grpc_rig_run(rig);
    th_grpc_abort(call, TH_GRPC_ABORTED, TH_STR("enough"));
    grpc_rig_run(rig);
    assert_true(reply->closed);
    assert_int_equal(reply->code, NGHTTP2_CANCEL);
    assert_int_equal(reply->status, -1);
    assert_int_equal(grpc_rig_last(rig)->why, TH_GRPC_DONE);
    assert_int_equal(rig->connection != NULL, 1);
    grpc_rig_free(rig);
}

/* ---- other protocols ---- */

static void assert_over(struct grpc_rig *rig, const char *bytes, const char *answer)
{
    struct iovec iov[4];
    assert_int_equal(th_grpc_connection_output(rig->connection, iov, 4, rig->now), 0);
    th_grpc_connection_input(rig->connection, th_str_of(bytes), rig->now);
    size_t n = th_grpc_connection_output(rig->connection, iov, TH_COUNT(iov), rig->now);
    assert_true(th_grpc_connection_over(rig->connection));
    assert_false(th_grpc_connection_wants_input(rig->connection));
    assert_true(th_grpc_connection_reason(rig->connection)[0]);
    if (answer) {
        assert_int_equal(n, 1);
        assert_true(iov[0].iov_len > strlen(answer));
        assert_memory_equal(iov[0].iov_base, answer, strlen(answer));
    } else {
        assert_int_equal(n, 0);
    }
}

static void other_protocols(void **state)
{
    static const char http1[] = "HTTP/1.1 505 HTTP Version Not Supported\r\n";
    static const struct {
        const char *bytes, *answer;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", http1},
        {"POST /t/Unary HTTP/1.1\r\n", http1},
        {"PUT /", http1},
        {"PRIVATE / HTTP/1.1\r\n", http1},
        {"PRI * HTTP/1.1\r\n", http1},
        {"PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n", NULL},
        {"\x16\x03\x01\x02", NULL},
        {"garbage", NULL},
    };
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        struct grpc_rig *rig = grpc_rig_new(NULL, 0, false);
        assert_over(rig, cases[i].bytes, cases[i].answer);
        grpc_rig_free(rig);
    }
}

static void no_settings_after_the_preface(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    struct iovec iov[4];
    th_grpc_connection_input(rig->connection, TH_STR(NGHTTP2_CLIENT_MAGIC "\0\0\0\1\0\0\0\0\1"),
                             rig->now);
    th_grpc_connection_output(rig->connection, iov, TH_COUNT(iov), rig->now);
    assert_true(th_grpc_connection_over(rig->connection));
    assert_string_equal(th_grpc_connection_reason(rig->connection), "PROTOCOL_ERROR");
}

/* ---- work ---- */

static void work(struct th_grpc_call *call, void *argument)
{
    *(struct th_grpc_call **)argument = call;
}

static void work_for_a_call(void **state)
{
    struct grpc_rig *rig = rig_of(state);
    struct th_grpc_call *ran = NULL;
    grpc_client_begin(rig->client, "/t/Hold", NULL);
    grpc_rig_run(rig);
    unsigned before = rig->touched;
    assert_true(th_grpc_run(grpc_rig_last(rig)->call, work, &ran));
    assert_ptr_equal(ran, grpc_rig_last(rig)->call);
    assert_int_equal(rig->touched, before + 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_unary_call),
        TEST(an_empty_message),
        TEST(both_sides_stream),
        TEST(many_calls_at_once),
        TEST(a_large_message),
        cmocka_unit_test(cuts_at_every_byte),
        TEST(a_request_is_told),
        TEST(a_host_instead_of_an_authority),
        TEST(content_types),
        TEST(other_http_methods),
        TEST(no_te),
        TEST(malformed_timeouts),
        TEST(malformed_binary_metadata),
        TEST(unknown_paths),
        TEST(large_metadata),
        TEST(many_metadata_fields),
        TEST(a_request_that_breaks_http),
        cmocka_unit_test(too_many_calls_on_the_server),
        cmocka_unit_test(streams_beyond_the_limit_wait),
        TEST(compressed_messages),
        TEST(a_message_that_begins_with_2),
        cmocka_unit_test(a_message_cut_off),
        cmocka_unit_test(a_message_over_the_limit),
        TEST(a_method_of_one_message),
        TEST(every_status),
        TEST(words_of_a_status),
        TEST(many_words),
        TEST(metadata_of_an_answer),
        TEST(fields_that_cannot_be_sent),
        TEST(too_much_metadata_of_ours),
        TEST(an_answer_before_the_question_is_complete),
        TEST(an_answer_at_once),
        TEST(a_client_cancels),
        TEST(cancelled_before_its_turn),
        cmocka_unit_test(a_lost_connection),
        cmocka_unit_test(an_abort_passes_the_queue),
        cmocka_unit_test(an_abort_within_a_message),
        cmocka_unit_test(other_protocols),
        TEST(no_settings_after_the_preface),
        TEST(work_for_a_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
