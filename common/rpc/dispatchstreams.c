#include "rpc/dispatchinternal.h"

#include <stdlib.h>
#include <string.h>

#define PING_INTERVAL (30 * TH_SECOND) /* programs give a stream up after 120 s of silence */
/* What programs refuse by breaking the stream off, because it is larger than they take, is sent no
 * more than so often. They take 4 MiB where nothing else is set (gRPC's default). */
#define LARGE    (4u << 20)
#define REFUSALS 3
#define AT_ONCE  (5 * TH_SECOND) /* a program that breaks off later has another reason */

/* ---- streams --------------------------------------------------------------------------------- */

static void copy_filter(struct th_arena *arena, struct th_dispatch_filter *filter)
{
    struct th_dispatch_function *copy =
        TH_ARENA_ARRAY(arena, struct th_dispatch_function, filter->count);
    for (size_t i = 0; i < filter->count; i++) {
        const struct th_dispatch_function *from = &filter->functions[i];
        struct th_str *versions = TH_ARENA_ARRAY(arena, struct th_str, from->version_count);
        for (size_t n = 0; n < from->version_count; n++)
            versions[n] = th_arena_str(arena, from->versions[n]);
        copy[i] = (struct th_dispatch_function){.name = th_arena_str(arena, from->name),
                                                .versions = versions,
                                                .version_count = from->version_count};
    }
    filter->functions = copy;
}

static void count_taker(struct th_dispatch *d, const struct th_dispatch_stream *stream, int by)
{
    for (struct line *line = d->lines; line; line = line->hh.next)
        if (dispatch_takes(stream, line))
            line->streams += (size_t)by;
}

static void give_all_back(struct th_dispatch *d)
{
    struct line *line, *next;
    HASH_ITER(hh, d->lines, line, next)
        if (line->streams == 0)
            line_give_back(d, line);
}

struct th_dispatch_stream *th_dispatch_open(struct th_dispatch *d,
                                            const struct th_dispatch_stream_options *options,
                                            th_time now)
{
    struct th_dispatch_stream *stream = TH_NEW(struct th_dispatch_stream);
    stream->options = *options;
    stream->spoke = now;
    dispatch_due(d, now + PING_INTERVAL);
    for (unsigned kind = FIRST_KIND; kind <= LAST_KIND; kind++) {
        copy_filter(&stream->arena, &stream->options.filters[kind]);
        stream->rooms[kind].stream = stream;
    }
    DL_APPEND(d->streams, stream);
    d->stats.streams++;
    count_taker(d, stream, 1);
    dispatch_fill(d, stream, now);
    return stream;
}

static bool is_refused(const struct th_dispatch_stream *stream, struct item *item, th_time now)
{
    if (item != stream->last || item->blob->len < LARGE || item->sent + AT_ONCE < now)
        return false;
    return ++item->refusals >= REFUSALS;
}

static void refuse(struct th_dispatch *d, struct item *item)
{
    struct owner_key owner = item->owner;
    size_t bytes = item->blob->len;
    item_free(d, item);
    d->hooks.refused(d->hooks.argument, (void *)owner.owner, (enum th_function_kind)owner.kind,
                     owner.ticket, bytes);
}

static void take_from(struct th_dispatch *d, struct th_dispatch_stream *stream, bool broken,
                      th_time now)
{
    while (stream->items) {
        struct item *item = stream->items;
        bool refused = broken && is_refused(stream, item, now);
        item_out(d, item);
        th_arena_deinit(&item->parts);
        item->parts = (struct th_arena){0};
        item->first_part = NULL;
        if (refused)
            refuse(d, item);
        else
            dispatch_place(d, item, now);
    }
}

void th_dispatch_quiet(struct th_dispatch *d, struct th_dispatch_stream *stream, th_time now)
{
    if (stream->quiet)
        return;
    count_taker(d, stream, -1);
    stream->quiet = true;
    room_list(d, stream);
    give_all_back(d);
}

void th_dispatch_close(struct th_dispatch *d, struct th_dispatch_stream *stream, bool broken,
                       th_time now)
{
    if (!stream->quiet)
        count_taker(d, stream, -1);
    room_unlist(d, stream);
    DL_DELETE(d->streams, stream);
    d->stats.streams--;
    take_from(d, stream, broken, now);
    give_all_back(d);
    th_arena_deinit(&stream->arena);
    free(stream);
}

void th_dispatch_writable(struct th_dispatch *d, struct th_dispatch_stream *stream, th_time now)
{
    stream->blocked = false;
    dispatch_fill(d, stream, now);
}

/* ---- time and looks -------------------------------------------------------------------------- */

static void end_pauses(struct th_dispatch *d, th_time now)
{
    struct item *item, *next;
    DL_FOREACH_SAFE(d->paused, item, next) {
        if (item->paused_until > now)
            continue;
        item_out(d, item);
        dispatch_place(d, item, now);
    }
}

static void break_silence(struct th_dispatch *d, th_time now)
{
    struct th_dispatch_stream *stream;
    DL_FOREACH(d->streams, stream) {
        if (stream->spoke + PING_INTERVAL > now)
            continue;
        stream->spoke = now;
        if (stream->blocked)
            continue;
        stream->blocked = !d->hooks.ping(d->hooks.argument, stream->options.user);
        room_list(d, stream);
    }
}

static void look_ahead(struct th_dispatch *d)
{
    const struct th_dispatch_stream *stream;
    const struct item *item;
    d->due = TH_TIME_NONE;
    DL_FOREACH(d->streams, stream)
        dispatch_due(d, stream->spoke + PING_INTERVAL);
    DL_FOREACH(d->paused, item)
        dispatch_due(d, item->paused_until);
}

th_time th_dispatch_deadline(const struct th_dispatch *d)
{
    return d->due;
}

th_time th_dispatch_step(struct th_dispatch *d, th_time now)
{
    end_pauses(d, now);
    break_silence(d, now);
    give_all_back(d);
    look_ahead(d);
    return d->due;
}

void th_dispatch_programs(const struct th_dispatch *d,
                          void (*visit)(void *argument,
                                        const struct th_dispatch_filter filters[TH_DISPATCH_KINDS]),
                          void *argument)
{
    const struct th_dispatch_stream *stream;
    DL_FOREACH(d->streams, stream)
        if (!stream->quiet && !stream->options.relay)
            visit(argument, stream->options.filters);
}

static size_t waiting_of(const struct line *line, const void *owner)
{
    const struct item *item;
    size_t count = 0;
    DL_FOREACH(line->waiting, item)
        count += item->owner.owner == owner;
    return count;
}

void th_dispatch_unserved(const struct th_dispatch *d, const void *owner,
                          void (*visit)(void *argument, struct th_str name, size_t waiting),
                          void *argument)
{
    for (const struct line *line = d->lines; line; line = line->hh.next) {
        bool counts = line->kind == TH_FUNCTION_ACTIVITY && line->streams == 0;
        size_t count = counts ? waiting_of(line, owner) : 0;
        if (count > 0)
            visit(argument, line->name, count);
    }
}

void th_dispatch_get_stats(const struct th_dispatch *d, struct th_dispatch_stats *out)
{
    *out = d->stats;
}
