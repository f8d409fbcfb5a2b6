/*
 * command: one request in Redis's protocol, an array of bulk strings. Blobs of COPIED bytes and
 * more are not copied: a batch may hold tens of megabytes, and its blobs live until it is sent.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "provider/redis/internal.h"

enum { COPIED = 4096, HEAD = 24 };

/* Of what the keys hold: a later one has other keys, so it finds nothing and is built anew. */
#define LAYOUT "1"

/* ---- writing ---- */

/* Room in front, because the number of arguments is known last. */
static void begin(struct th_redis_command *c)
{
    if (c->text.len == 0) {
        static const char room[HEAD];
        th_buffer_add(&c->text, room, HEAD);
    }
}

void th_redis_command_open(struct th_redis_command *c, size_t len)
{
    begin(c);
    char head[HEAD];
    int n = snprintf(head, sizeof(head), "$%zu\r\n", len);
    th_buffer_add(&c->text, head, (size_t)n);
    c->arguments++;
}

void th_redis_command_part(struct th_redis_command *c, struct th_str bytes)
{
    th_buffer_str(&c->text, bytes);
}

void th_redis_command_part_blob(struct th_redis_command *c, struct th_blob *bytes)
{
    if (bytes->len < COPIED) {
        th_buffer_add(&c->text, bytes->data, bytes->len);
        return;
    }
    c->pieces = th_grow(c->pieces, &c->piece_capacity, c->piece_count + 1, sizeof(*c->pieces));
    c->pieces[c->piece_count++] =
        (struct th_redis_piece){.at = c->text.len, .blob = th_blob_ref(bytes)};
}

void th_redis_command_close(struct th_redis_command *c)
{
    th_buffer_add(&c->text, "\r\n", 2);
}

void th_redis_command_add(struct th_redis_command *c, struct th_str argument)
{
    th_redis_command_open(c, argument.len);
    th_redis_command_part(c, argument);
    th_redis_command_close(c);
}

void th_redis_command_text(struct th_redis_command *c, const char *argument)
{
    th_redis_command_add(c, th_str_of(argument));
}

void th_redis_command_number(struct th_redis_command *c, unsigned long long argument)
{
    char text[24];
    snprintf(text, sizeof(text), "%llu", argument);
    th_redis_command_text(c, text);
}

void th_redis_command_blob(struct th_redis_command *c, struct th_blob *argument)
{
    th_redis_command_open(c, argument->len);
    th_redis_command_part_blob(c, argument);
    th_redis_command_close(c);
}

void th_redis_command_function(struct th_redis_command *c, const char *function,
                               const struct th_hub_record *hub, uint32_t partition)
{
    th_redis_command_text(c, "FCALL");
    th_redis_command_text(c, function);
    th_redis_command_number(c, TH_REDIS_KEYS);
    TH_BUFFER key = {0};
    for (unsigned i = 0; i < TH_REDIS_KEYS; i++) {
        th_redis_key(&key, hub, partition, i);
        th_redis_command_add(c, th_buffer_view(&key));
    }
}

void th_redis_command_finish(struct th_redis_command *c)
{
    char head[HEAD];
    int n = snprintf(head, sizeof(head), "*%zu\r\n", c->arguments);
    c->start = HEAD - (size_t)n;
    memcpy(c->text.data + c->start, head, (size_t)n);
}

void th_redis_command_deinit(struct th_redis_command *c)
{
    for (size_t i = 0; i < c->piece_count; i++) {
        th_blob_unref(c->pieces[i].blob);
    }
    free(c->pieces);
    th_buffer_deinit(&c->text);
    *c = (struct th_redis_command){0};
}

/* ---- sending ---- */

static struct th_str run_of(struct th_str bytes, size_t *offset, size_t max)
{
    size_t left = bytes.len - *offset;
    struct th_str run = th_str_n(bytes.data + *offset, left < max ? left : max);
    *offset += run.len;
    return run;
}

struct th_str th_redis_command_next(const struct th_redis_command *c, struct th_redis_place *place,
                                    size_t max)
{
    if (place->in_text < c->start) {
        place->in_text = c->start;
    }
    for (;;) {
        bool pieces_left = place->piece < c->piece_count;
        size_t text_end = pieces_left ? c->pieces[place->piece].at : c->text.len;
        if (place->in_text < text_end) {
            return run_of(th_str_n(c->text.data, text_end), &place->in_text, max);
        }
        if (!pieces_left) {
            return TH_STR_ABSENT;
        }
        struct th_str piece = th_blob_view(c->pieces[place->piece].blob);
        if (place->in_piece < piece.len) {
            return run_of(piece, &place->in_piece, max);
        }
        place->piece++;
        place->in_piece = 0;
    }
}

/* ---- names ---- */

void th_redis_key(struct th_buffer *out, const struct th_hub_record *hub, uint32_t partition,
                  unsigned key)
{
    static const char *const names[] = {"state", "rows", "parts", "full"};
    out->len = 0;
    th_buffer_format(out, "{%s:%u}:%016llx:" LAYOUT ":", hub->name, partition,
                     (unsigned long long)hub->incarnation);
    if (key < TH_COUNT(names)) {
        th_buffer_text(out, names[key]);
    } else {
        th_buffer_format(out, "status:%u", key - (unsigned)TH_COUNT(names));
    }
}

void th_redis_news_channel(struct th_buffer *out, const struct th_hub_record *hub,
                           uint32_t partition)
{
    out->len = 0;
    th_buffer_format(out, "{%s:%u}:%016llx:news", hub->name, partition,
                     (unsigned long long)hub->incarnation);
}

void th_redis_reply_channel(struct th_buffer *out, const struct th_hub_record *hub,
                            const char *address)
{
    out->len = 0;
    th_buffer_format(out, "{%s:%016llx}:reply:%s", hub->name, (unsigned long long)hub->incarnation,
                     address);
}
