/*
 * answer: the fields of a response. Its headers come with the first message, its status behind the
 * last; a call that ends without a message has both in one frame ("gRPC over HTTP/2",
 * Trailers-Only).
 */
#include <stdlib.h>

#include "base/memory.h"
#include "grpc/internal.h"

/* Clients refuse responses with more than 8 KiB of metadata or so. */
enum { MOST_MESSAGE = 4096, MOST_METADATA = 8192, FIELD = 32 };

/* A field of literals: nghttp2 need not copy it. */
#define LITERAL(field, content)                                                                 \
    ((nghttp2_nv){(uint8_t *)(field), (uint8_t *)(content), sizeof(field) - 1, strlen(content), \
                  NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE})

static const char *status_number(enum th_grpc_status status)
{
    switch (status) {
#define X(name, number)  \
    case TH_GRPC_##name: \
        return #number;
        TH_GRPC_STATUSES(X)
#undef X
    }
    return "2";
}

/* ---- fields of the user's ---- */

static bool good_name(struct th_str name)
{
    if (name.len == 0 || th_str_starts(name, TH_STR("grpc-"))) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
              c == '.')) {
            return false;
        }
    }
    return true;
}

/* No space at the ends: RFC 9113, section 8.2.1. */
static bool good_text(struct th_str value)
{
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < ' ' || value.data[i] > '~') {
            return false;
        }
    }
    return value.len == 0 || (value.data[0] != ' ' && value.data[value.len - 1] != ' ');
}

struct draft {
    struct th_buffer text;
    struct span {
        size_t name, value; /* their lengths; they lie one after the other in the text */
    } * spans;
    size_t count, capacity;
};

static struct span *draft_add(struct draft *draft, struct th_str name)
{
    draft->spans = th_grow(draft->spans, &draft->capacity, draft->count + 1, sizeof(*draft->spans));
    struct span *span = &draft->spans[draft->count++];
    *span = (struct span){name.len, 0};
    th_buffer_str(&draft->text, name);
    return span;
}

/* False: it cannot be sent, and is not in the draft. */
static bool draft_field(struct draft *draft, const struct th_grpc_field *field)
{
    bool binary = th_grpc_is_binary(field->name);
    size_t size = field->name.len + field->value.len + FIELD;
    if (!good_name(field->name) || !(binary || good_text(field->value)) ||
        size + draft->text.len + draft->count * FIELD > MOST_METADATA) {
        return false;
    }
    struct span *span = draft_add(draft, field->name);
    size_t start = draft->text.len;
    if (binary) {
        th_grpc_base64_encode(&draft->text, field->value);
    } else {
        th_buffer_str(&draft->text, field->value);
    }
    span->value = draft->text.len - start;
    return true;
}

static bool draft_fields(struct draft *draft, struct th_grpc_metadata metadata)
{
    bool complete = true;
    for (size_t i = 0; i < metadata.count; i++) {
        complete = draft_field(draft, &metadata.fields[i]) && complete;
    }
    return complete;
}

static struct th_grpc_fields *draft_done(struct draft *draft)
{
    struct th_grpc_fields *fields = NULL;
    if (draft->count) {
        size_t array = (TH_GRPC_PLACES + draft->count) * sizeof(nghttp2_nv);
        fields = th_alloc(sizeof(*fields) + array + draft->text.len);
        fields->count = draft->count;
        uint8_t *at = (uint8_t *)fields + sizeof(*fields) + array;
        memcpy(at, draft->text.data, draft->text.len);
        for (size_t i = 0; i < draft->count; i++) {
            struct span span = draft->spans[i];
            fields->fields[TH_GRPC_PLACES + i] = (nghttp2_nv){
                .name = at, .value = at + span.name, .namelen = span.name, .valuelen = span.value};
            at += span.name + span.value;
        }
    }
    th_buffer_deinit(&draft->text);
    free(draft->spans);
    return fields;
}

struct th_grpc_fields *th_grpc_fields_of(struct th_grpc_metadata metadata, bool *complete)
{
    struct draft draft = {0};
    *complete = draft_fields(&draft, metadata);
    return draft_done(&draft);
}

struct th_grpc_ending th_grpc_ending_of(enum th_grpc_status status, struct th_str message,
                                        struct th_grpc_metadata metadata, bool *complete)
{
    struct draft draft = {0};
    *complete = draft_fields(&draft, metadata);
    if (message.len) {
        struct span *span = draft_add(&draft, TH_STR("grpc-message"));
        size_t start = draft.text.len;
        th_grpc_percent_encode(&draft.text, message, MOST_MESSAGE);
        span->value = draft.text.len - start;
    }
    return (struct th_grpc_ending){status, draft_done(&draft)};
}

void th_grpc_ending_deinit(struct th_grpc_ending *ending)
{
    free(ending->fields);
    ending->fields = NULL;
}

/* ---- what is sent ---- */

/* nghttp2 wants one array: `first` go in front of the user's fields, into the places left there. */
struct array {
    nghttp2_nv spare[TH_GRPC_PLACES];
    nghttp2_nv *fields;
    size_t count;
};

static void join(struct array *array, const nghttp2_nv *first, size_t count,
                 struct th_grpc_fields *fields)
{
    nghttp2_nv *places = fields ? fields->fields : array->spare;
    array->fields = places + TH_GRPC_PLACES - count;
    array->count = count + (fields ? fields->count : 0);
    memcpy(array->fields, first, count * sizeof(*first));
}

static ssize_t read_data(nghttp2_session *session, int32_t stream, uint8_t *buffer, size_t length,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    return th_grpc_outbound_read(source->ptr, length, flags);
}

/* Streams take turns: else one that always has something to send would keep others waiting. */
static void take_turns(struct th_grpc_call *call)
{
    const nghttp2_extpri turns = {.urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY, .inc = 1};
    nghttp2_session_change_extpri_stream_priority(call->connection->session, call->stream, &turns,
                                                  1);
}

void th_grpc_answer_headers(struct th_grpc_call *call, struct th_grpc_fields *fields)
{
    const nghttp2_nv first[] = {
        LITERAL(":status", "200"),
        LITERAL("content-type", "application/grpc"),
        LITERAL("grpc-accept-encoding", "identity"),
    };
    struct array array;
    join(&array, first, TH_COUNT(first), fields);
    nghttp2_data_provider data = {.source.ptr = call, .read_callback = read_data};
    take_turns(call);
    nghttp2_submit_response(call->connection->session, call->stream, array.fields, array.count,
                            &data);
    call->answering = true;
    free(fields);
}

void th_grpc_answer_trailers(struct th_grpc_call *call)
{
    const char *status = status_number(call->ending.status);
    const nghttp2_nv first[] = {
        LITERAL(":status", "200"),
        LITERAL("content-type", "application/grpc"),
        LITERAL("grpc-accept-encoding", "identity"),
        LITERAL("grpc-status", status),
    };
    nghttp2_session *session = call->connection->session;
    struct array array;
    if (call->answering) {
        join(&array, &first[3], 1, call->ending.fields);
        nghttp2_submit_trailer(session, call->stream, array.fields, array.count);
    } else {
        join(&array, first, TH_COUNT(first), call->ending.fields);
        nghttp2_submit_response(session, call->stream, array.fields, array.count, NULL);
    }
    call->answering = call->closing = true;
    th_grpc_ending_deinit(&call->ending);
}

void th_grpc_answer_http(struct th_grpc_call *call, const char *status, const char *name,
                         const char *value)
{
    const nghttp2_nv fields[] = {
        LITERAL(":status", status),
        {(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
         NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE},
    };
    nghttp2_submit_response(call->connection->session, call->stream, fields, TH_COUNT(fields),
                            NULL);
    call->answering = call->closing = true;
    th_grpc_call_end(call, TH_GRPC_REFUSED);
}
