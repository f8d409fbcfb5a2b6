/*
 * The state of a dispatcher, and what its files share.
 *
 *   dispatch.c         items: lines, room of streams, who gets what; owners
 *   dispatchstreams.c  streams that come and go; time; looks
 *   dispatchanswers.c  answers, and what is abandoned
 */
#pragma once

#include <uthash.h>
#include <utlist.h>

#include "base/memory.h"
#include "rpc/dispatch.h"

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
    th_time due; /* nothing is to be done before; TH_TIME_NONE: nothing at all */
    struct th_dispatch_stats stats;
};

/* Something is to be done at `at`. */
static inline void dispatch_due(struct th_dispatch *d, th_time at)
{
    if (d->due == TH_TIME_NONE || at < d->due)
        d->due = at;
}

/* ---- dispatch.c ---- */

bool dispatch_takes(const struct th_dispatch_stream *stream, const struct line *line);
/* Keeps a stream in the lists of those that have room; takes it out of all of them. */
void room_list(struct th_dispatch *d, struct th_dispatch_stream *stream);
void room_unlist(struct th_dispatch *d, struct th_dispatch_stream *stream);
/* Sends it what waits, as far as it has room. */
void dispatch_fill(struct th_dispatch *d, struct th_dispatch_stream *stream, th_time now);
/* To a stream that has room, one after the other; or it waits. */
void dispatch_place(struct th_dispatch *d, struct item *item, th_time now);
/* Takes it from where it is: its line, its stream, or the pause. */
void item_out(struct th_dispatch *d, struct item *item);
void item_free(struct th_dispatch *d, struct item *item); /* one that is out */
/* Both; its stream, if it had one, has room for another then. */
void item_remove(struct th_dispatch *d, struct item *item, th_time now);
/* What nobody takes goes back to its owner. */
void line_give_back(struct th_dispatch *d, struct line *line);
