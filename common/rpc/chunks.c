/*
 * chunks: a history in pieces. A chunk is put together from its events' own bytes: HistoryChunk is
 * nothing but field 1, repeated, so that each event is packed once and its size is known before it
 * is added.
 */
#include "rpc/event.h"

enum { FIELD_1_BYTES = 0x0a }; /* number 1, a run of bytes */

static void add(struct th_buffer *out, const HistoryEvent *event)
{
    size_t size = protobuf_c_message_get_packed_size(&event->base);
    char head[11] = {FIELD_1_BYTES};
    size_t len = 1, rest = size;
    do {
        head[len++] = (char)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
        rest >>= 7;
    } while (rest);
    th_buffer_add(out, head, len);
    th_buffer_reserve(out, size);
    protobuf_c_message_pack(&event->base, (uint8_t *)out->data + out->len);
    out->len += size;
}

static bool put_chunk(struct th_buffer *chunk, size_t *events,
                      bool (*put)(void *argument, struct th_blob *chunk), void *argument)
{
    bool more = put(argument, th_blob_new(chunk->data, chunk->len));
    chunk->len = 0;
    *events = 0;
    return more;
}

void th_rpc_chunks(const struct th_event *events, size_t count,
                   bool (*put)(void *argument, struct th_blob *chunk), void *argument)
{
    TH_ARENA arena = {0};
    TH_BUFFER chunk = {0};
    size_t held = 0;
    for (size_t i = 0; i < count; i++) {
        if (!th_rpc_event_leaves(events[i].kind)) {
            continue;
        }
        th_arena_reset(&arena);
        HistoryEvent *event = th_rpc_event(&arena, &events[i]);
        size_t size = protobuf_c_message_get_packed_size(&event->base);
        bool full = held == TH_RPC_CHUNK_EVENTS || chunk.len + size > TH_RPC_CHUNK_BYTES;
        if (held && full && !put_chunk(&chunk, &held, put, argument)) {
            return;
        }
        add(&chunk, event);
        held++;
    }
    if (held) {
        put_chunk(&chunk, &held, put, argument);
    }
}
