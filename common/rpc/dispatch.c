/*
 * Items wait in the line of their function, oldest first; a stream that has room takes the oldest
 * of all lines it may take from. Of the streams that have room for a new item, one after the other
 * gets one.
 */
#include "rpc/dispatchinternal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- lines ----------------------------------------------------------------------------------- */

#define KEY_NAME 2 /* where the name begins in the key */

static void line_key(struct th_buffer *out, const struct th_dispatch_work *work)
{
    th_buffer_format(out, "%u%c", (unsigned)work->kind, work->relayed ? 'r' : 'o');
    th_buffer_str(out, work->name);
    th_buffer_add(out, "", 1);
    th_buffer_str(out, work->version);
}

static bool takes_function(const struct th_dispatch_stream *stream, enum th_function_kind kind,
                           struct th_str name, struct th_str version)
{
    const struct th_dispatch_filter *filter = &stream->options.filters[kind];
    if (stream->quiet || filter->everything)
        return !stream->quiet;
    for (size_t i = 0; i < filter->count; i++) {
        const struct th_dispatch_function *f = &filter->functions[i];
        if (!th_str_eq_nocase(f->name, name))
            continue;
        for (size_t n = 0; n < f->version_count; n++)
            if (th_str_eq(f->versions[n], th_str_present(version) ? version : TH_STR("")))
                return true;
        if (f->version_count == 0)
            return true;
    }
    return false;
}

bool th_dispatch_serves(const struct th_dispatch *d, enum th_function_kind kind, struct th_str name,
                        struct th_str version)
{
    const struct th_dispatch_stream *stream;
    DL_FOREACH(d->streams, stream)
        if (takes_function(stream, kind, name, version))
            return true;
    return false;
}

bool dispatch_takes(const struct th_dispatch_stream *stream, const struct line *line)
{
    return !(line->relayed && stream->options.relay) &&
           takes_function(stream, line->kind, line->name, line->version);
}

static struct line *line_of(struct th_dispatch *d, const struct th_dispatch_work *work)
{
    TH_BUFFER key = {0};
    struct line *line;
    const struct th_dispatch_stream *stream;
    line_key(&key, work);
    HASH_FIND(hh, d->lines, key.data, key.len, line);
    if (line)
        return line;
    line = th_alloc(sizeof *line + key.len + 1);
    line->kind = work->kind;
    line->relayed = work->relayed;
    line->key_len = key.len;
    memcpy(line->key, key.data, key.len);
    line->name = th_str_n(line->key + KEY_NAME, work->name.len);
    if (th_str_present(work->version))
        line->version = th_str_n(line->key + KEY_NAME + work->name.len + 1, work->version.len);
    DL_FOREACH(d->streams, stream)
        line->streams += dispatch_takes(stream, line);
    HASH_ADD_KEYPTR(hh, d->lines, line->key, line->key_len, line);
    return line;
}

static void line_leave(struct th_dispatch *d, struct line *line)
{
    if (--line->items > 0)
        return;
    HASH_DELETE(hh, d->lines, line);
    free(line);
}

/* Behind what is older. New items are the youngest, so the search from the end is short. */
static void line_up(struct th_dispatch *d, struct item *item)
{
    struct line *line = item->line;
    struct item *before = line->waiting ? line->waiting->prev : NULL;
    while (before && before->number > item->number)
        before = before == line->waiting ? NULL : before->prev;
    if (before)
        DL_APPEND_ELEM(line->waiting, before, item);
    else
        DL_PREPEND(line->waiting, item);
    d->stats.waiting[line->kind]++;
}

static void line_out(struct th_dispatch *d, struct item *item)
{
    DL_DELETE(item->line->waiting, item);
    d->stats.waiting[item->line->kind]--;
}

/* ---- room ------------------------------------------------------------------------------------ */

static bool has_room(const struct th_dispatch_stream *stream, enum th_function_kind kind)
{
    uint32_t most = stream->options.most[kind];
    return !stream->blocked && !stream->quiet && (most == 0 || stream->busy[kind] < most);
}

void room_list(struct th_dispatch *d, struct th_dispatch_stream *stream)
{
    for (unsigned kind = FIRST_KIND; kind <= LAST_KIND; kind++) {
        struct room *room = &stream->rooms[kind];
        bool has = has_room(stream, kind);
        if (has && !room->listed)
            DL_APPEND(d->rooms[kind], room);
        else if (!has && room->listed)
            DL_DELETE(d->rooms[kind], room);
        room->listed = has;
    }
}

void room_unlist(struct th_dispatch *d, struct th_dispatch_stream *stream)
{
    for (unsigned kind = FIRST_KIND; kind <= LAST_KIND; kind++) {
        if (stream->rooms[kind].listed)
            DL_DELETE(d->rooms[kind], &stream->rooms[kind]);
        stream->rooms[kind].listed = false;
    }
}

/* ---- items ----------------------------------------------------------------------------------- */

static void token_of(const struct th_dispatch *d, const struct item *item,
                     struct th_dispatch_token *out)
{
    snprintf(out->text, sizeof out->text, "%08" PRIx32 "%012" PRIx64 "%012" PRIx64,
             (uint32_t)d->nonce, item->number & 0xffffffffffff, item->sending & 0xffffffffffff);
}

static void send(struct th_dispatch *d, struct th_dispatch_stream *stream, struct item *item,
                 th_time now)
{
    enum th_function_kind kind = item->line->kind;
    struct th_dispatch_token token;
    d->stats.again += item->sending != 0;
    d->stats.sent[kind]++;
    d->stats.under_way[kind]++;
    item->sending = ++d->sendings;
    item->sent = now;
    item->stream = stream;
    DL_APPEND(stream->items, item);
    stream->busy[kind]++;
    stream->last = item;
    stream->spoke = now;
    token_of(d, item, &token);
    struct th_blob *blob = stream->options.brief && item->brief ? item->brief : item->blob;
    stream->blocked =
        !d->hooks.send(d->hooks.argument, stream->options.user, blob, th_str_of(token.text));
    room_list(d, stream);
}

static struct item *oldest_for(const struct th_dispatch *d, const struct th_dispatch_stream *stream)
{
    struct item *oldest = NULL;
    for (const struct line *line = d->lines; line; line = line->hh.next)
        if (line->waiting && has_room(stream, line->kind) &&
            (!oldest || line->waiting->number < oldest->number) && dispatch_takes(stream, line))
            oldest = line->waiting;
    return oldest;
}

void dispatch_fill(struct th_dispatch *d, struct th_dispatch_stream *stream, th_time now)
{
    room_list(d, stream);
    for (struct item *item; (item = oldest_for(d, stream)) != NULL;) {
        line_out(d, item);
        send(d, stream, item, now);
    }
}

void item_out(struct th_dispatch *d, struct item *item)
{
    struct th_dispatch_stream *stream = item->stream;
    enum th_function_kind kind = item->line->kind;
    if (item->paused_until != TH_TIME_NONE) {
        DL_DELETE(d->paused, item);
        item->paused_until = TH_TIME_NONE;
    } else if (!stream) {
        line_out(d, item);
    } else {
        DL_DELETE(stream->items, item);
        stream->busy[kind]--;
        d->stats.under_way[kind]--;
        if (stream->last == item)
            stream->last = NULL;
        item->stream = NULL;
    }
}

void item_free(struct th_dispatch *d, struct item *item)
{
    HASH_DELETE(hh, d->items, item);
    HASH_DELETE(by_owner, d->owned, item);
    line_leave(d, item->line);
    th_arena_deinit(&item->parts);
    th_blob_unref(item->blob);
    th_blob_unref(item->brief);
    free(item);
}

void item_remove(struct th_dispatch *d, struct item *item, th_time now)
{
    struct th_dispatch_stream *stream = item->stream;
    item_out(d, item);
    item_free(d, item);
    if (stream)
        dispatch_fill(d, stream, now);
}

static struct item *item_new(struct th_dispatch *d, const struct th_dispatch_work *work)
{
    struct item *item = th_alloc(sizeof *item + work->instance_id.len + 1);
    item->number = ++d->numbers;
    item->owner = (struct owner_key){work->owner, work->ticket, work->kind};
    item->paused_until = TH_TIME_NONE;
    item->task_id = work->task_id;
    item->operations = work->operations;
    item->blob = work->blob;
    item->brief = work->brief;
    memcpy(item->text, work->instance_id.data, work->instance_id.len);
    item->instance_id = th_str_n(item->text, work->instance_id.len);
    item->line = line_of(d, work);
    item->line->items++;
    HASH_ADD(hh, d->items, number, sizeof item->number, item);
    HASH_ADD(by_owner, d->owned, owner, sizeof item->owner, item);
    return item;
}

void dispatch_place(struct th_dispatch *d, struct item *item, th_time now)
{
    struct line *line = item->line;
    struct room *room;
    DL_FOREACH(d->rooms[line->kind], room) {
        if (!dispatch_takes(room->stream, line))
            continue;
        DL_DELETE(d->rooms[line->kind], room);
        DL_APPEND(d->rooms[line->kind], room);
        send(d, room->stream, item, now);
        return;
    }
    line_up(d, item);
}

/* What nobody takes goes back to its owner, but for activities of this process; and for what was
 * refused, which would come as something new: its program is likely to be back in a moment. */
void line_give_back(struct th_dispatch *d, struct line *line)
{
    struct item *item, *next;
    if (line->kind == TH_FUNCTION_ACTIVITY && !line->relayed)
        return;
    line->items++; /* stays until all are out */
    DL_FOREACH_SAFE(line->waiting, item, next) {
        struct owner_key owner = item->owner;
        if (item->refusals > 0)
            continue;
        line_out(d, item);
        item_free(d, item);
        d->hooks.back(d->hooks.argument, (void *)owner.owner, line->kind, owner.ticket);
    }
    line_leave(d, line);
}

/* ---- owners ---------------------------------------------------------------------------------- */

void th_dispatch_add(struct th_dispatch *d, const struct th_dispatch_work *work, th_time now)
{
    struct item *item = item_new(d, work);
    struct line *line = item->line;
    dispatch_place(d, item, now);
    if (line->streams == 0)
        line_give_back(d, line);
}

static struct item *find_owned(const struct th_dispatch *d, const void *owner,
                               enum th_function_kind kind, uint64_t ticket)
{
    const struct owner_key key = {owner, ticket, kind};
    struct item *item;
    HASH_FIND(by_owner, d->owned, &key, sizeof key, item);
    return item;
}

bool th_dispatch_cancel(struct th_dispatch *d, const void *owner, enum th_function_kind kind,
                        uint64_t ticket, th_time now)
{
    struct item *item = find_owned(d, owner, kind, ticket);
    if (item)
        item_remove(d, item, now);
    return item != NULL;
}

bool th_dispatch_withdraw(struct th_dispatch *d, const void *owner, enum th_function_kind kind,
                          uint64_t ticket)
{
    struct item *item = find_owned(d, owner, kind, ticket);
    if (!item || item->stream)
        return false;
    item_out(d, item);
    item_free(d, item);
    return true;
}

void th_dispatch_leave(struct th_dispatch *d, const void *owner)
{
    struct item *item, *next;
    HASH_ITER(by_owner, d->owned, item, next) {
        if (item->owner.owner == owner) {
            item_out(d, item);
            item_free(d, item);
        }
    }
}

size_t th_dispatch_under_way(const struct th_dispatch *d, const void *owner,
                             enum th_function_kind kind)
{
    size_t count = 0;
    for (const struct item *item = d->owned; item; item = item->by_owner.next)
        count +=
            item->stream && item->owner.owner == owner && (kind == 0 || item->line->kind == kind);
    return count;
}

/* ---- life ------------------------------------------------------------------------------------ */

struct th_dispatch *th_dispatch_new(const struct th_dispatch_hooks *hooks, uint64_t nonce)
{
    struct th_dispatch *d = TH_NEW(struct th_dispatch);
    d->hooks = *hooks;
    d->nonce = nonce;
    d->due = TH_TIME_NONE;
    return d;
}

void th_dispatch_free(struct th_dispatch *d)
{
    struct item *item, *next_item;
    struct th_dispatch_stream *stream, *next_stream;
    if (!d)
        return;
    HASH_ITER(hh, d->items, item, next_item) {
        item_out(d, item);
        item_free(d, item);
    }
    DL_FOREACH_SAFE(d->streams, stream, next_stream) {
        th_arena_deinit(&stream->arena);
        free(stream);
    }
    free(d);
}
