/*
 * head: the fields of a request. Values that nghttp2 has decoded are kept by reference until
 * `begin` has seen them; a field that many requests repeat lies in memory once.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "grpc/internal.h"

/* What a field costs beside its bytes (RFC 9113, section 6.5.2). */
enum { FIELD = 32 };

struct th_grpc_head *th_grpc_head_new(void)
{
    struct th_grpc_head *head = TH_NEW(struct th_grpc_head);
    head->timeout = TH_TIME_NONE;
    return head;
}

static void let_go(nghttp2_rcbuf *value)
{
    if (value) {
        nghttp2_rcbuf_decref(value);
    }
}

void th_grpc_head_free(struct th_grpc_head *head)
{
    if (!head) {
        return;
    }
    for (size_t i = 0; i < head->count; i++) {
        nghttp2_rcbuf_decref(head->fields[i].name);
        nghttp2_rcbuf_decref(head->fields[i].value);
    }
    let_go(head->path);
    let_go(head->authority);
    let_go(head->user_agent);
    free(head->fields);
    free(head);
}

static struct th_str text_of(nghttp2_rcbuf *value)
{
    if (!value) {
        return TH_STR_ABSENT;
    }
    nghttp2_vec bytes = nghttp2_rcbuf_get_buf(value);
    return th_str_n((const char *)bytes.base, bytes.len);
}

/* ---- one field ---- */

static void keep(nghttp2_rcbuf **place, nghttp2_rcbuf *value)
{
    let_go(*place);
    nghttp2_rcbuf_incref(value);
    *place = value;
}

/* "application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"; not
 * "application/grpc-web". */
static bool is_grpc(struct th_str type)
{
    struct th_str wanted = TH_STR("application/grpc");
    if (type.len < wanted.len || !th_str_eq_nocase(th_str_n(type.data, wanted.len), wanted)) {
        return false;
    }
    char next = type.len > wanted.len ? type.data[wanted.len] : ';';
    return next == '+' || next == ';' || next == ' ';
}

static void take_timeout(struct th_grpc_head *head, struct th_str value)
{
    head->bad_timeout = !th_grpc_timeout_parse(value, &head->timeout);
}

/* A message says itself whether it is compressed, and answers are not. */
static bool is_of_no_interest(struct th_str name)
{
    return th_str_starts(name, TH_STR(":")) || th_str_eq(name, TH_STR("grpc-encoding")) ||
           th_str_eq(name, TH_STR("grpc-accept-encoding")) ||
           th_str_eq(name, TH_STR("grpc-message-type"));
}

/* Fields that belong to HTTP or gRPC; false: one for the handler. */
static bool take_known(struct th_grpc_head *head, struct th_str name, nghttp2_rcbuf *raw)
{
    struct th_str value = text_of(raw);
    if (th_str_eq(name, TH_STR(":path"))) {
        keep(&head->path, raw);
    } else if (th_str_eq(name, TH_STR(":authority"))) {
        keep(&head->authority, raw);
    } else if (th_str_eq(name, TH_STR(":method"))) {
        head->post = th_str_eq(value, TH_STR("POST"));
    } else if (th_str_eq(name, TH_STR("content-type"))) {
        head->content_type = is_grpc(value);
    } else if (th_str_eq(name, TH_STR("te"))) {
        head->te = true; /* nghttp2 has seen to it that it says "trailers" */
    } else if (th_str_eq(name, TH_STR("user-agent"))) {
        keep(&head->user_agent, raw);
    } else if (th_str_eq(name, TH_STR("grpc-timeout"))) {
        take_timeout(head, value);
    } else if (th_str_eq(name, TH_STR("host"))) {
        if (!head->authority) { /* RFC 9113, section 8.3.1 */
            keep(&head->authority, raw);
        }
    } else {
        return is_of_no_interest(name);
    }
    return true;
}

void th_grpc_head_add(struct th_grpc_head *head, const struct th_grpc_limits *limits,
                      nghttp2_rcbuf *name, nghttp2_rcbuf *value)
{
    struct th_str name_text = text_of(name);
    head->bytes += name_text.len + text_of(value).len + FIELD;
    head->seen++;
    if (head->bytes > limits->metadata_bytes || head->seen > limits->metadata_fields ||
        take_known(head, name_text, value)) {
        return;
    }
    head->fields = th_grow(head->fields, &head->capacity, head->count + 1, sizeof(*head->fields));
    struct th_grpc_raw_field *field = &head->fields[head->count++];
    *field = (struct th_grpc_raw_field){name, value};
    nghttp2_rcbuf_incref(name);
    nghttp2_rcbuf_incref(value);
}

/* ---- all of them ---- */

/* What is no gRPC is answered in the words of HTTP ("gRPC over HTTP/2", Requests). */
static bool answered_as_http(struct th_grpc_call *call)
{
    const struct th_grpc_head *head = call->head;
    if (!head->post) {
        th_grpc_answer_http(call, "405", "allow", "POST");
        return true;
    }
    if (!head->content_type) {
        th_grpc_answer_http(call, "415", "accept", "application/grpc");
        return true;
    }
    return false;
}

static void refuse(struct th_grpc_call *call, enum th_grpc_status status, const char *text)
{
    th_grpc_call_refuse(call, TH_GRPC_REFUSED, status, "%s", text);
}

/* False: refused. */
static bool within_limits(struct th_grpc_call *call)
{
    const struct th_grpc_head *head = call->head;
    struct th_grpc_service *service = call->connection->service;
    const struct th_grpc_limits *limits = &service->limits;
    if (head->bytes > limits->metadata_bytes || head->seen > limits->metadata_fields) {
        th_grpc_call_refuse(call, TH_GRPC_REFUSED, TH_GRPC_RESOURCE_EXHAUSTED,
                            "the request has %zu bytes of metadata in %zu fields: at most %llu "
                            "in %llu are taken",
                            head->bytes, head->seen, (unsigned long long)limits->metadata_bytes,
                            (unsigned long long)limits->metadata_fields);
    } else if (atomic_load(&service->calls) > limits->calls) {
        refuse(call, TH_GRPC_RESOURCE_EXHAUSTED, "too many calls are open on the server");
    } else {
        return true;
    }
    return false;
}

static bool well_formed(struct th_grpc_call *call)
{
    const struct th_grpc_head *head = call->head;
    if (!head->te) {
        refuse(call, TH_GRPC_INTERNAL,
               "the request has no \"te: trailers\": some proxy does not carry trailers");
    } else if (head->bad_timeout) {
        refuse(call, TH_GRPC_INTERNAL, "grpc-timeout is malformed");
    } else {
        return true;
    }
    return false;
}

void th_grpc_head_complete(struct th_grpc_call *call)
{
    struct th_grpc_connection *c = call->connection;
    if (answered_as_http(call) || !within_limits(call) || !well_formed(call)) {
        return;
    }
    struct th_str path = text_of(call->head->path);
    call->method = th_grpc_service_find(c->service, path);
    if (!call->method) {
        th_grpc_call_refuse(call, TH_GRPC_REFUSED, TH_GRPC_UNIMPLEMENTED, "there is no method %.*s",
                            path.len > 200 ? 200 : (int)path.len, path.data);
        return;
    }
    call->user = call->method->argument;
    atomic_fetch_add_explicit(&c->service->begun, 1, memory_order_relaxed);
    th_grpc_clocks_deadline(call, call->head->timeout);
    th_grpc_call_event(call, TH_GRPC_EVENT_BEGIN);
    if (c->phase >= TH_GRPC_NOTICED) {
        th_grpc_call_event(call, TH_GRPC_EVENT_DRAINING);
    }
}

/* ---- begin ---- */

/* Binary values are decoded one after the other; the buffer moves while it grows, so they are
 * found in it at the end. False: one is no base64. */
static bool decode(const struct th_grpc_head *head, struct th_grpc_field *fields,
                   struct th_buffer *decoded)
{
    for (size_t i = 0; i < head->count; i++) {
        struct th_str name = text_of(head->fields[i].name), value = text_of(head->fields[i].value);
        fields[i] = (struct th_grpc_field){name, value};
        if (th_grpc_is_binary(name)) {
            size_t start = decoded->len;
            if (!th_grpc_base64_decode(decoded, value)) {
                return false;
            }
            fields[i].value = th_str_n(NULL, decoded->len - start);
        }
    }
    const char *at = th_buffer_view(decoded).data;
    for (size_t i = 0; i < head->count; i++) {
        if (th_grpc_is_binary(fields[i].name)) {
            fields[i].value.data = at;
            at += fields[i].value.len;
        }
    }
    return true;
}

void th_grpc_head_begin(struct th_grpc_call *call)
{
    struct th_grpc_head *head = call->head;
    const struct th_grpc_handler *handler = call->method->handler;
    TH_BUFFER decoded = {0};
    TH_AUTOFREE struct th_grpc_field *fields = th_alloc(head->count * sizeof(*fields));
    call->head = NULL;
    if (!decode(head, fields, &decoded)) {
        refuse(call, TH_GRPC_INTERNAL, "a \"-bin\" field of the request is no base64");
    } else {
        call->known = true;
        th_grpc_ref(call); /* until `ended` */
        if (handler->begin) {
            handler->begin(call, &(struct th_grpc_request){
                                     .path = text_of(head->path),
                                     .authority = text_of(head->authority),
                                     .user_agent = text_of(head->user_agent),
                                     .peer = th_str_of(call->connection->peer),
                                     .metadata = {fields, head->count},
                                     .deadline = call->timer.due,
                                 });
        }
    }
    th_grpc_head_free(head);
}
