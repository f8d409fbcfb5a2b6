/*
 * Items wait in the line of their function, oldest first; a stream that has room takes the oldest
 * of all lines it may take from. Of the streams that have room for a new item, one after the other
 * gets one.
 */
#include "rpc/dispatch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "base/hash.h"
#include "base/memory.h"

#define PING_INTERVAL (30 * TH_SECOND)       /* programs give a stream up after 120 s of silence */
#define FIRST_PAUSE   (200 * TH_MILLISECOND) /* of what was abandoned; doubles each time … */
#define LAST_PAUSE    (10 * TH_SECOND)       /* … up to here */
/* What programs refuse by breaking the stream off, because it is larger than they take, is sent no
 * more than so often. They take 4 MiB where nothing else is set (gRPC's default). */
#define LARGE    (4u << 20)
#define REFUSALS 3
#define AT_ONCE  (5 * TH_SECOND) /* a program that breaks off later has another reason */

#define FIRST_KIND TH_FUNCTION_ORCHESTRATOR
#define LAST_KIND  TH_FUNCTION_ENTITY

/* Kind, whether it is relayed, name and version, as one key. */
struct line {
    UT_hash_handle hh; /* th_dispatch.lines */
    enum th_function_kind kind;
    bool relayed;
    struct th_str name, version;
    size_t streams; /* that take from it */
    size_t items;   /* that belong to it, wherever they are */
    struct item *waiting;
    size_t waiting_count;
    size_t key_len;
    char key[];
};

struct owner_key {
    const void *owner;
    uint64_t ticket;
    uint64_t kind;
};

struct item {
    UT_hash_handle hh;        /* th_dispatch.items, by number */
    UT_hash_handle by_owner;  /* th_dispatch.owned */
    struct item *prev, *next; /* utlist DL: of its line, its stream or th_dispatch.paused */
    uint64_t number;          /* also its age */
    uint64_t sending;         /* of the last one; in its token */
    th_time sent;
    struct owner_key owner;
    struct line *line;
    struct th_dispatch_stream *stream; /* NULL: it waits */
    th_time paused_until;              /* TH_TIME_NONE: it is not paused */
    uint32_t abandoned, refusals;
    int32_t task_id;
    size_t operations;
    struct th_blob *blob, *brief;
    struct th_str instance_id;
    struct th_arena parts;
    void *first_part;
    char text[];
};

struct th_dispatch_stream {
    struct th_dispatch_stream *prev, *next; /* th_dispatch.streams */
    struct room {                           /* in th_dispatch.rooms[kind] */
        struct room *prev, *next;
        struct th_dispatch_stream *stream;
        bool listed;
    } rooms[TH_DISPATCH_KINDS];
    struct th_arena arena;
    struct th_dispatch_stream_options options;
    size_t busy[TH_DISPATCH_KINDS];
    struct item *items;
    const struct item *last; /* that was sent, if it is still here */
    bool blocked, quiet;
    th_time spoke;
};

struct th_dispatch {
    struct th_dispatch_hooks hooks;
    uint64_t nonce, numbers, sendings;
    struct line *lines;
    struct item *items, *owned, *paused;
    struct th_dispatch_stream *streams;
    struct room *rooms[TH_DISPATCH_KINDS];
    struct th_dispatch_stats stats;
};

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

static bool takes(const struct th_dispatch_stream *stream, const struct line *line)
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
        line->streams += takes(stream, line);
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
    line->waiting_count++;
    d->stats.waiting[line->kind]++;
}

static void line_out(struct th_dispatch *d, struct item *item)
{
    DL_DELETE(item->line->waiting, item);
    item->line->waiting_count--;
    d->stats.waiting[item->line->kind]--;
}

/* ---- room ------------------------------------------------------------------------------------ */

static bool has_room(const struct th_dispatch_stream *stream, enum th_function_kind kind)
{
    uint32_t most = stream->options.most[kind];
    return !stream->blocked && !stream->quiet && (most == 0 || stream->busy[kind] < most);
}

/* Keeps a stream in the lists of those that have room. */
static void list_room(struct th_dispatch *d, struct th_dispatch_stream *stream)
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

static void unlist_room(struct th_dispatch *d, struct th_dispatch_stream *stream)
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
    list_room(d, stream);
}

static struct item *oldest_for(const struct th_dispatch *d, const struct th_dispatch_stream *stream)
{
    struct item *oldest = NULL;
    for (const struct line *line = d->lines; line; line = line->hh.next)
        if (line->waiting && has_room(stream, line->kind) &&
            (!oldest || line->waiting->number < oldest->number) && takes(stream, line))
            oldest = line->waiting;
    return oldest;
}

static void fill(struct th_dispatch *d, struct th_dispatch_stream *stream, th_time now)
{
    list_room(d, stream);
    for (struct item *item; (item = oldest_for(d, stream)) != NULL;) {
        line_out(d, item);
        send(d, stream, item, now);
    }
}

/* Takes it from where it is: its line, its stream, or the pause. */
static void item_out(struct th_dispatch *d, struct item *item)
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

static void item_free(struct th_dispatch *d, struct item *item)
{
    HASH_DELETE(hh, d->items, item);
    HASH_DELETE(by_owner, d->owned, item);
    line_leave(d, item->line);
    th_arena_deinit(&item->parts);
    th_blob_unref(item->blob);
    th_blob_unref(item->brief);
    free(item);
}

/* Its stream, if it had one, has room for another then. */
static void item_remove(struct th_dispatch *d, struct item *item, th_time now)
{
    struct th_dispatch_stream *stream = item->stream;
    item_out(d, item);
    item_free(d, item);
    if (stream)
        fill(d, stream, now);
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

/* To a stream that has room, one after the other; or it waits. */
static void place(struct th_dispatch *d, struct item *item, th_time now)
{
    struct line *line = item->line;
    struct room *room;
    DL_FOREACH(d->rooms[line->kind], room) {
        if (!takes(room->stream, line))
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
static void give_back(struct th_dispatch *d, struct line *line)
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
    place(d, item, now);
    if (line->streams == 0)
        give_back(d, line);
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
        if (takes(stream, line))
            line->streams += (size_t)by;
}

static void give_all_back(struct th_dispatch *d)
{
    struct line *line, *next;
    HASH_ITER(hh, d->lines, line, next)
        if (line->streams == 0)
            give_back(d, line);
}

struct th_dispatch_stream *th_dispatch_open(struct th_dispatch *d,
                                            const struct th_dispatch_stream_options *options,
                                            th_time now)
{
    struct th_dispatch_stream *stream = TH_NEW(struct th_dispatch_stream);
    stream->options = *options;
    stream->spoke = now;
    for (unsigned kind = FIRST_KIND; kind <= LAST_KIND; kind++) {
        copy_filter(&stream->arena, &stream->options.filters[kind]);
        stream->rooms[kind].stream = stream;
    }
    DL_APPEND(d->streams, stream);
    d->stats.streams++;
    count_taker(d, stream, 1);
    fill(d, stream, now);
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
            place(d, item, now);
    }
}

void th_dispatch_quiet(struct th_dispatch *d, struct th_dispatch_stream *stream, th_time now)
{
    if (stream->quiet)
        return;
    count_taker(d, stream, -1);
    stream->quiet = true;
    list_room(d, stream);
    give_all_back(d);
}

void th_dispatch_close(struct th_dispatch *d, struct th_dispatch_stream *stream, bool broken,
                       th_time now)
{
    if (!stream->quiet)
        count_taker(d, stream, -1);
    unlist_room(d, stream);
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
    fill(d, stream, now);
}

/* ---- answers --------------------------------------------------------------------------------- */

static bool hex(struct th_str text, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                : 16;
        if (digit > 15)
            return false;
        *out = *out << 4 | digit;
    }
    return true;
}

static struct item *find_token(const struct th_dispatch *d, struct th_str token)
{
    uint64_t nonce, number, sending;
    struct item *item;
    if (token.len != 32 || !hex(th_str_n(token.data, 8), &nonce) ||
        !hex(th_str_n(token.data + 8, 12), &number) ||
        !hex(th_str_n(token.data + 20, 12), &sending) || nonce != (uint32_t)d->nonce)
        return NULL;
    HASH_FIND(hh, d->items, &number, sizeof number, item);
    return item && item->stream && item->sending == sending ? item : NULL;
}

/* Programs without tokens are rare, and have little under way. */
static struct item *find_instance(const struct th_dispatch *d, const struct th_dispatch_key *key)
{
    struct th_dispatch_stream *stream;
    struct item *item;
    DL_FOREACH(d->streams, stream)
        DL_FOREACH(stream->items, item)
            if (item->line->kind == key->kind && item->task_id == key->task_id &&
                th_str_eq(item->instance_id, key->instance_id))
                return item;
    return NULL;
}

static struct item *find(struct th_dispatch *d, const struct th_dispatch_key *key)
{
    struct item *item = key->token.len > 0 ? find_token(d, key->token) : find_instance(d, key);
    bool good = item && (key->kind == 0 || item->line->kind == key->kind);
    d->stats.stale += !good;
    return good ? item : NULL;
}

static void tell(struct item *item, struct th_dispatch_found *out)
{
    *out = (struct th_dispatch_found){.owner = (void *)item->owner.owner,
                                      .ticket = item->owner.ticket,
                                      .kind = item->line->kind,
                                      .instance_id = item->instance_id,
                                      .operations = item->operations,
                                      .parts = &item->parts,
                                      .first_part = &item->first_part};
}

bool th_dispatch_find(struct th_dispatch *d, const struct th_dispatch_key *key,
                      struct th_dispatch_found *out)
{
    struct item *item = find(d, key);
    if (item)
        tell(item, out);
    return item != NULL;
}

bool th_dispatch_take(struct th_dispatch *d, const struct th_dispatch_key *key, th_time now)
{
    struct item *item = find(d, key);
    if (!item)
        return false;
    d->stats.answered[item->line->kind]++;
    item_remove(d, item, now);
    return true;
}

bool th_dispatch_abandon(struct th_dispatch *d, const struct th_dispatch_key *key, th_time now)
{
    struct item *item = find(d, key);
    if (!item)
        return false;
    struct th_dispatch_stream *stream = item->stream;
    th_time pause = FIRST_PAUSE << (item->abandoned < 8 ? item->abandoned : 8);
    item_out(d, item);
    item->abandoned++;
    item->paused_until = now + (pause < LAST_PAUSE ? pause : LAST_PAUSE);
    DL_APPEND(d->paused, item);
    fill(d, stream, now);
    return true;
}

/* ---- time and looks -------------------------------------------------------------------------- */

static void end_pauses(struct th_dispatch *d, th_time now)
{
    struct item *item, *next;
    DL_FOREACH_SAFE(d->paused, item, next) {
        if (item->paused_until > now)
            continue;
        item_out(d, item);
        place(d, item, now);
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
        list_room(d, stream);
    }
}

th_time th_dispatch_deadline(const struct th_dispatch *d)
{
    const struct th_dispatch_stream *stream;
    const struct item *item;
    th_time next = TH_TIME_NONE;
    DL_FOREACH(d->streams, stream)
        if (next == TH_TIME_NONE || stream->spoke + PING_INTERVAL < next)
            next = stream->spoke + PING_INTERVAL;
    DL_FOREACH(d->paused, item)
        if (next == TH_TIME_NONE || item->paused_until < next)
            next = item->paused_until;
    return next;
}

th_time th_dispatch_step(struct th_dispatch *d, th_time now)
{
    end_pauses(d, now);
    break_silence(d, now);
    give_all_back(d);
    return th_dispatch_deadline(d);
}

static void add_functions(struct th_arena *arena, struct th_dispatch_filter *out,
                          const struct th_dispatch_filter *more)
{
    struct th_dispatch_function *all =
        TH_ARENA_ARRAY(arena, struct th_dispatch_function, out->count + more->count);
    struct th_dispatch_filter added = *more;
    copy_filter(arena, &added);
    if (out->count > 0)
        memcpy(all, out->functions, out->count * sizeof *all);
    if (more->count > 0)
        memcpy(all + out->count, added.functions, more->count * sizeof *all);
    out->functions = all;
    out->count += more->count;
    out->everything |= more->everything;
}

void th_dispatch_functions(const struct th_dispatch *d, struct th_arena *arena,
                           struct th_dispatch_filter out[TH_DISPATCH_KINDS])
{
    const struct th_dispatch_stream *stream;
    memset(out, 0, TH_DISPATCH_KINDS * sizeof *out);
    DL_FOREACH(d->streams, stream)
        for (unsigned kind = FIRST_KIND; kind <= LAST_KIND; kind++)
            if (!stream->quiet && !stream->options.relay)
                add_functions(arena, &out[kind], &stream->options.filters[kind]);
}

void th_dispatch_unserved(const struct th_dispatch *d,
                          void (*visit)(void *argument, enum th_function_kind kind,
                                        struct th_str name, size_t waiting),
                          void *argument)
{
    for (const struct line *line = d->lines; line; line = line->hh.next)
        if (line->streams == 0 && line->waiting_count > 0)
            visit(argument, line->kind, line->name, line->waiting_count);
}

void th_dispatch_get_stats(const struct th_dispatch *d, struct th_dispatch_stats *out)
{
    *out = d->stats;
}

struct th_dispatch *th_dispatch_new(const struct th_dispatch_hooks *hooks, uint64_t nonce)
{
    struct th_dispatch *d = TH_NEW(struct th_dispatch);
    d->hooks = *hooks;
    d->nonce = nonce;
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
