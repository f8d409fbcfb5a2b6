#include "unit/grpc_rig.h"

/* ---- handlers ---- */

static struct grpc_record *record_of(struct th_grpc_call *call)
{
    return th_grpc_user(call);
}

static void note_request(struct th_buffer *out, const struct th_grpc_request *request)
{
    th_buffer_format(out, "path=%.*s\nauthority=%.*s\nuser_agent=%.*s\npeer=%.*s\n",
                     TH_PRI(request->path), TH_PRI(request->authority), TH_PRI(request->user_agent),
                     TH_PRI(request->peer));
    for (size_t i = 0; i < request->metadata.count; i++) {
        th_buffer_str(out, request->metadata.fields[i].name);
        th_buffer_text(out, "=");
        th_buffer_str(out, request->metadata.fields[i].value);
        th_buffer_text(out, "\n");
    }
}

static void on_begin(struct th_grpc_call *call, const struct th_grpc_request *request)
{
    struct grpc_rig *rig = th_grpc_user(call);
    struct grpc_record *record = TH_NEW(struct grpc_record);
    assert_true(rig->count < TH_COUNT(rig->records));
    rig->records[rig->count++] = record;
    record->rig = rig;
    record->call = th_grpc_ref(call);
    record->deadline = request->deadline;
    note_request(&record->request, request);
    th_grpc_set_user(call, record);
    if (rig->on_begin) {
        rig->on_begin(record);
    }
}

static void on_message(struct th_grpc_call *call, struct th_blob *message)
{
    struct grpc_record *record = record_of(call);
    assert_int_equal(record->ended, 0);
    assert_int_equal(record->half_closed, 0);
    record->messages++;
    th_buffer_str(&record->data, th_blob_view(message));
    if (record->on_message) {
        record->on_message(record, message);
    }
}

static void on_half_closed(struct th_grpc_call *call)
{
    assert_int_equal(record_of(call)->ended, 0);
    record_of(call)->half_closed++;
}

static void on_writable(struct th_grpc_call *call)
{
    struct grpc_record *record = record_of(call);
    assert_int_equal(record->ended, 0);
    record->writable++;
    if (record->on_writable) {
        record->on_writable(record);
    }
}

static void on_draining(struct th_grpc_call *call)
{
    assert_int_equal(record_of(call)->ended, 0);
    record_of(call)->draining++;
}

static void on_ended(struct th_grpc_call *call, enum th_grpc_end why)
{
    struct grpc_record *record = record_of(call);
    record->ended++;
    record->why = why;
    th_grpc_unref(call); /* on_begin's; the record's pointer is for comparing from now on */
}

static void echo(struct th_grpc_call *call, struct th_blob *message)
{
    on_message(call, message);
    th_grpc_send(call, message);
}

static void echo_once(struct th_grpc_call *call, struct th_blob *message)
{
    echo(call, message);
    grpc_rig_finish(call);
}

static void echo_half_closed(struct th_grpc_call *call)
{
    on_half_closed(call);
    grpc_rig_finish(call);
}

#define HANDLER(a, b)                                                                   \
    {                                                                                   \
        .begin = on_begin, .message = (a), .half_closed = (b), .writable = on_writable, \
        .draining = on_draining, .ended = on_ended                                      \
    }

static const struct th_grpc_handler unary = HANDLER(echo_once, on_half_closed);
static const struct th_grpc_handler echoing = HANDLER(echo, echo_half_closed);
static const struct th_grpc_handler holding = HANDLER(on_message, on_half_closed);

/* ---- the rig ---- */

static const struct th_grpc_method *find(void *argument, struct th_str path)
{
    static struct th_grpc_method found = {.path = "/t/Found", .handler = &holding};
    found.argument = argument;
    return th_str_eq(path, TH_STR("/t/Found")) ? &found : NULL;
}

static void touched(void *argument)
{
    ((struct grpc_rig *)argument)->touched++;
}

static void connect_client(struct grpc_rig *rig, uint32_t window, bool stingy)
{
    rig->client = grpc_client_new(window, stingy);
    rig->connection =
        th_grpc_connection_new(&(struct th_grpc_connection_options){.service = &rig->service,
                                                                    .peer = TH_STR("192.0.2.1:5"),
                                                                    .touched = touched,
                                                                    .argument = rig},
                               rig->now);
}

struct grpc_rig *grpc_rig_new(const struct th_grpc_limits *limits, uint32_t window, bool stingy)
{
    struct grpc_rig *rig = TH_NEW(struct grpc_rig);
    const struct th_grpc_method methods[] = {
        {.path = "/t/Unary", .handler = &unary, .argument = rig, .single_request = true},
        {.path = "/t/Hold", .handler = &holding, .argument = rig},
        {.path = "/t/Echo", .handler = &echoing, .argument = rig},
        {.path = "/t/One", .handler = &holding, .argument = rig, .single_request = true},
    };
    struct th_grpc_server_options options = {
        .methods = methods, .method_count = TH_COUNT(methods), .find = find, .argument = rig};
    if (limits) {
        options.limits = *limits;
    }
    rig->now = 1000 * TH_SECOND;
    assert_true(th_grpc_service_init(&rig->service, &options, NULL));
    connect_client(rig, window, stingy);
    return rig;
}

void grpc_rig_free(struct grpc_rig *rig)
{
    th_grpc_connection_free(rig->connection);
    grpc_client_free(rig->client);
    assert_int_equal(rig->service.calls, 0);
    assert_int_equal(rig->service.held, 0);
    for (size_t i = 0; i < rig->count; i++) {
        assert_int_equal(rig->records[i]->ended, 1);
        th_buffer_deinit(&rig->records[i]->request);
        th_buffer_deinit(&rig->records[i]->data);
        free(rig->records[i]);
    }
    th_grpc_service_deinit(&rig->service);
    free(rig);
}

/* ---- bytes ---- */

static void give_server(struct grpc_rig *rig, struct th_str bytes)
{
    while (bytes.len > 0) {
        size_t n = rig->chunk && rig->chunk < bytes.len ? rig->chunk : bytes.len;
        /* Of their own, so that reading beyond them is found. */
        TH_AUTOFREE char *copy = th_memdup(bytes.data, n);
        th_grpc_connection_input(rig->connection, th_str_n(copy, n), rig->now);
        bytes = th_str_n(bytes.data + n, bytes.len - n);
    }
}

static bool to_server(struct grpc_rig *rig)
{
    grpc_client_fill(rig->client);
    if (rig->client->out.len == 0 || !th_grpc_connection_wants_input(rig->connection)) {
        return false;
    }
    struct th_buffer bytes = rig->client->out;
    rig->client->out = (struct th_buffer){0};
    give_server(rig, th_buffer_view(&bytes));
    th_buffer_deinit(&bytes);
    return true;
}

static bool to_client(struct grpc_rig *rig)
{
    struct iovec iov[4];
    size_t n = th_grpc_connection_output(rig->connection, iov, TH_COUNT(iov), rig->now);
    if (n == 0 || rig->socket_full) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        size_t len = rig->chunk && rig->chunk < iov[i].iov_len ? rig->chunk : iov[i].iov_len;
        assert_true(grpc_client_take(rig->client, th_str_n(iov[i].iov_base, len)));
        th_grpc_connection_sent(rig->connection, len);
        if (len < iov[i].iov_len) {
            break;
        }
    }
    return true;
}

void grpc_rig_run(struct grpc_rig *rig)
{
    bool moved = true;
    while (moved) {
        moved = to_server(rig);
        moved = to_client(rig) || moved;
    }
    assert_false(rig->client->broken);
}

void grpc_rig_input(struct grpc_rig *rig, struct th_str bytes)
{
    give_server(rig, bytes);
    grpc_rig_run(rig);
}

void grpc_rig_wait(struct grpc_rig *rig, th_time time)
{
    th_time until = rig->now + time;
    for (;;) {
        th_time due = th_grpc_connection_due(rig->connection);
        if (due == TH_TIME_NONE || due > until) {
            break;
        }
        rig->now = due > rig->now ? due : rig->now;
        th_grpc_connection_tick(rig->connection, rig->now);
        grpc_rig_run(rig);
        th_time next = th_grpc_connection_due(rig->connection);
        assert_true(next == TH_TIME_NONE || next > rig->now); /* it does not spin */
    }
    rig->now = until;
}

struct grpc_record *grpc_rig_last(struct grpc_rig *rig)
{
    assert_true(rig->count > 0);
    return rig->records[rig->count - 1];
}

bool grpc_rig_send(struct th_grpc_call *call, size_t len)
{
    struct th_blob *blob = th_blob_alloc(len);
    memset(blob->data, 'x', len);
    bool room = th_grpc_send(call, blob);
    th_blob_unref(blob);
    return room;
}

void grpc_rig_finish(struct th_grpc_call *call)
{
    th_grpc_finish(call, TH_GRPC_OK, TH_STR(""), (struct th_grpc_metadata){0});
}
