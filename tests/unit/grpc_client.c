#include "unit/grpc_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/memory.h"

/* ---- what comes ---- */

static void take_field(struct grpc_reply *reply, struct th_str name, struct th_str value)
{
    long long number;
    if (th_str_eq(name, TH_STR(":status")) && th_str_to_i64(value, &number)) {
        reply->http = (int)number;
    } else if (th_str_eq(name, TH_STR("grpc-status")) && th_str_to_i64(value, &number)) {
        reply->status = (int)number;
    } else if (th_str_eq(name, TH_STR("grpc-message"))) {
        free(reply->message);
        reply->message = th_str_dup(value);
    } else {
        th_buffer_format(&reply->fields, "%.*s=%.*s\n", TH_PRI(name), TH_PRI(value));
    }
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    struct grpc_reply *reply = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (reply) {
        take_field(reply, th_str_n((const char *)name, name_len),
                   th_str_n((const char *)value, value_len));
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
                   size_t len, void *user)
{
    struct grpc_client *client = user;
    struct grpc_reply *reply = nghttp2_session_get_stream_user_data(session, stream);
    if (reply) {
        th_buffer_add(&reply->data, data, len);
        if (client->took) {
            client->took(reply);
        }
    }
    if (!client->stingy) {
        nghttp2_session_consume(session, stream, len);
    }
    return 0;
}

static void take_settings(struct grpc_client *client, const nghttp2_settings *settings)
{
    client->settings++;
    for (size_t i = 0; i < settings->niv; i++) {
        if (settings->iv[i].settings_id == NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) {
            client->max_streams = settings->iv[i].value;
        } else if (settings->iv[i].settings_id == NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE) {
            client->window = settings->iv[i].value;
        }
    }
}

static void take_goaway(struct grpc_client *client, const nghttp2_goaway *goaway)
{
    client->goaway = true;
    client->goaways++;
    client->goaway_code = goaway->error_code;
    client->goaway_last = goaway->last_stream_id;
    snprintf(client->goaway_text, sizeof(client->goaway_text), "%.*s", (int)goaway->opaque_data_len,
             (const char *)goaway->opaque_data);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct grpc_client *client = user;
    struct grpc_reply *reply = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    bool ack = frame->hd.flags & NGHTTP2_FLAG_ACK;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        if (reply) {
            reply->blocks++;
        }
        break;
    case NGHTTP2_SETTINGS:
        if (!ack) {
            take_settings(client, &frame->settings);
        }
        break;
    case NGHTTP2_PING:
        client->pings += !ack;
        client->acks += ack;
        if (!ack && !client->deaf) {
            nghttp2_submit_ping(session, NGHTTP2_FLAG_ACK, frame->ping.opaque_data);
        }
        break;
    case NGHTTP2_GOAWAY:
        take_goaway(client, &frame->goaway);
        break;
    default:
        break;
    }
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t code, void *user)
{
    struct grpc_client *client = user;
    struct grpc_reply *reply = nghttp2_session_get_stream_user_data(session, stream);
    if (reply) {
        reply->closed = true;
        reply->code = code;
        if (client->closed) {
            client->closed(reply);
        }
    }
    return 0;
}

static int on_invalid(nghttp2_session *session, const nghttp2_frame *frame, int problem, void *user)
{
    ((struct grpc_client *)user)->broken = true;
    return 0;
}

/* ---- the session ---- */

struct grpc_client *grpc_client_new(uint32_t window, bool stingy)
{
    struct grpc_client *client = TH_NEW(struct grpc_client);
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid);
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_auto_ping_ack(option, 1);
    nghttp2_option_set_max_outbound_ack(option, 1 << 20);
    client->stingy = stingy;
    nghttp2_session_client_new2(&client->session, callbacks, client, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_settings_entry setting = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window};
    nghttp2_submit_settings(client->session, 0, &setting, window ? 1 : 0);
    if (!stingy) {
        nghttp2_session_set_local_window_size(client->session, 0, 0, 16 << 20);
    }
    return client;
}

void grpc_client_free(struct grpc_client *client)
{
    if (!client) {
        return;
    }
    nghttp2_session_del(client->session);
    while (client->replies) {
        grpc_reply_free(client->replies);
    }
    th_buffer_deinit(&client->out);
    free(client);
}

void grpc_reply_free(struct grpc_reply *reply)
{
    DL_DELETE(reply->client->replies, reply);
    th_buffer_deinit(&reply->fields);
    th_buffer_deinit(&reply->data);
    th_buffer_deinit(&reply->sending);
    free(reply->message);
    free(reply);
}

bool grpc_client_take(struct grpc_client *client, struct th_str bytes)
{
    ssize_t n = nghttp2_session_mem_recv(client->session, (const uint8_t *)bytes.data, bytes.len);
    client->broken = client->broken || n < 0;
    return n >= 0;
}

void grpc_client_fill(struct grpc_client *client)
{
    const uint8_t *data;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(client->session, &data)) > 0) {
        th_buffer_add(&client->out, data, (size_t)n);
    }
}

/* ---- calls ---- */

static ssize_t read_body(nghttp2_session *session, int32_t stream, uint8_t *out, size_t length,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct grpc_reply *reply = source->ptr;
    size_t left = reply->sending.len - reply->sent;
    size_t n = left < length ? left : length;
    if (n == 0 && !reply->ending) {
        return NGHTTP2_ERR_DEFERRED;
    }
    if (n) {
        memcpy(out, reply->sending.data + reply->sent, n);
    }
    reply->sent += n;
    if (n == left) {
        th_buffer_deinit(&reply->sending);
        reply->sent = 0;
        *flags |= reply->ending ? NGHTTP2_DATA_FLAG_EOF : 0;
    }
    return (ssize_t)n;
}

static const char *replaced(const struct grpc_client_field *fields, const char *name,
                            const char *usual)
{
    for (; fields && fields->name; fields++) {
        if (strcmp(fields->name, name) == 0) {
            return fields->value;
        }
    }
    return usual;
}

static size_t add(nghttp2_nv *nva, size_t n, const char *name, const char *value)
{
    if (value) {
        nva[n++] = (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
                                NGHTTP2_NV_FLAG_NONE};
    }
    return n;
}

static const struct grpc_client_field usual[] = {
    {":method", "POST"},           {":scheme", "http"}, {":path", NULL},
    {":authority", "localhost"},   {"te", "trailers"},  {"content-type", "application/grpc"},
    {"user-agent", "grpc-test/1"},
};

static bool is_usual(const char *name)
{
    for (size_t i = 0; i < TH_COUNT(usual); i++) {
        if (strcmp(usual[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static size_t count_fields(const struct grpc_client_field *fields)
{
    size_t n = 0;
    while (fields && fields[n].name) {
        n++;
    }
    return n;
}

struct grpc_reply *grpc_client_begin(struct grpc_client *client, const char *path,
                                     const struct grpc_client_field *fields)
{
    struct grpc_reply *reply = TH_NEW(struct grpc_reply);
    size_t n = 0, extra = count_fields(fields);
    TH_AUTOFREE nghttp2_nv *nva = th_alloc((TH_COUNT(usual) + extra) * sizeof(*nva));
    for (size_t i = 0; i < TH_COUNT(usual); i++) {
        const char *value = usual[i].value ? usual[i].value : path;
        n = add(nva, n, usual[i].name, replaced(fields, usual[i].name, value));
    }
    for (size_t i = 0; i < extra; i++) {
        if (!is_usual(fields[i].name)) {
            n = add(nva, n, fields[i].name, fields[i].value);
        }
    }
    nghttp2_data_provider body = {.source.ptr = reply, .read_callback = read_body};
    reply->client = client;
    reply->status = -1;
    reply->stream = nghttp2_submit_request(client->session, NULL, nva, n, &body, reply);
    DL_APPEND(client->replies, reply);
    return reply;
}

void grpc_client_raw(struct grpc_reply *reply, struct th_str bytes)
{
    th_buffer_str(&reply->sending, bytes);
    nghttp2_session_resume_data(reply->client->session, reply->stream);
}

void grpc_client_send(struct grpc_reply *reply, struct th_str message)
{
    const char prefix[] = {0, (char)(message.len >> 24), (char)(message.len >> 16),
                           (char)(message.len >> 8), (char)message.len};
    grpc_client_raw(reply, th_str_n(prefix, sizeof(prefix)));
    grpc_client_raw(reply, message);
}

void grpc_client_end(struct grpc_reply *reply)
{
    reply->ending = true;
    nghttp2_session_resume_data(reply->client->session, reply->stream);
}

void grpc_client_reset(struct grpc_reply *reply, uint32_t code)
{
    nghttp2_submit_rst_stream(reply->client->session, NGHTTP2_FLAG_NONE, reply->stream, code);
}

struct grpc_reply *grpc_client_unary(struct grpc_client *client, const char *path,
                                     const struct grpc_client_field *fields, struct th_str message)
{
    struct grpc_reply *reply = grpc_client_begin(client, path, fields);
    grpc_client_send(reply, message);
    grpc_client_end(reply);
    return reply;
}

/* ---- replies ---- */

struct th_str grpc_reply_next(struct grpc_reply *reply)
{
    const uint8_t *at = (const uint8_t *)reply->data.data + reply->read;
    size_t left = reply->data.len - reply->read;
    if (left < 5) {
        return TH_STR_ABSENT;
    }
    size_t len = (size_t)at[1] << 24 | (size_t)at[2] << 16 | (size_t)at[3] << 8 | at[4];
    if (left < 5 + len) {
        return TH_STR_ABSENT;
    }
    reply->read += 5 + len;
    return th_str_n((const char *)at + 5, len);
}

char *grpc_reply_field(const struct grpc_reply *reply, const char *name)
{
    struct th_str all = th_buffer_view(&reply->fields);
    size_t name_len = strlen(name);
    while (all.len > 0) {
        const char *end = memchr(all.data, '\n', all.len);
        size_t len = (size_t)(end - all.data);
        if (len > name_len && all.data[name_len] == '=' && memcmp(all.data, name, name_len) == 0) {
            return th_str_dup(th_str_n(all.data + name_len + 1, len - name_len - 1));
        }
        all = th_str_n(end + 1, all.len - len - 1);
    }
    return NULL;
}
