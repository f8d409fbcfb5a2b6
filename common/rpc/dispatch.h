/*
 * dispatch: deals work out to the programs that are connected by RPC, and knows what each of them
 * is busy with. An owner (a host) puts work in; a stream (a program's GetWorkItems call) says which
 * functions its program has and how much it takes; an answer names the work by the token it was
 * sent with. Pure: no thread, clock or socket; whoever calls it holds a lock around.
 *
 *     owner ──add──▶ waiting ──send──▶ on a stream ──take (the answer came)──▶ owner
 *                       ▲                   │
 *                       └── the stream is gone, or it was abandoned (after a pause)
 *
 * Of the same kind the oldest work goes first. Each item is on one stream at a time; every sending
 * has a token of its own, and an answer under an older one is nobody's.
 */
#pragma once

#include "base/arena.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "model/name.h"

struct th_dispatch;
struct th_dispatch_stream;

#define TH_DISPATCH_KINDS 4 /* indexed by enum th_function_kind */

/* ---- what is put in ---- */

/* One episode, activity or batch of an entity. Strings are copied, the references to
 * blobs are taken over. */
struct th_dispatch_work {
    void *owner;
    uint64_t ticket; /* the owner's; with kind and owner it is unique */
    enum th_function_kind kind;
    struct th_str name, version; /* of the function */
    struct th_str instance_id;
    int32_t task_id;       /* of an activity; -1 */
    size_t operations;     /* of a batch; for th_dispatch_found */
    bool relayed;          /* it comes from another process: not to be relayed once more */
    struct th_blob *blob;  /* what is sent, without the token */
    struct th_blob *brief; /* … to streams that fetch the rest themselves; NULL: the same */
};

/* Work of more bytes than that is worth a brief form. */
#define TH_DISPATCH_BRIEF (1u << 20)

/* The functions of one kind that a stream takes. Names are compared without case, except that an
 * empty list of versions means any. */
struct th_dispatch_filter {
    bool everything; /* the rest is not looked at */
    struct th_dispatch_function {
        struct th_str name;
        const struct th_str *versions;
        size_t version_count;
    } * functions;
    size_t count;
};

struct th_dispatch_stream_options {
    void *user; /* what `send` is called with */
    struct th_dispatch_filter filters[TH_DISPATCH_KINDS];
    uint32_t most[TH_DISPATCH_KINDS]; /* at a time; 0: any number */
    bool brief;                       /* is sent the brief form */
    bool relay;                       /* it is another process, which has streams of its own */
};

struct th_dispatch_token {
    char text[33];
};

struct th_dispatch_hooks {
    void *argument;
    /* Sends an item. False: the stream takes no more until th_dispatch_writable. */
    bool (*send)(void *argument, void *user, struct th_blob *blob, struct th_str token);
    bool (*ping)(void *argument, void *user); /* the stream was silent for a while; as `send` */
    /* No stream takes this function any more, so it is forgotten here. Activities wait instead, but
     * for those that are relayed; so does what a program broke its stream off for. */
    void (*back)(void *argument, void *owner, enum th_function_kind kind, uint64_t ticket);
    /* Programs broke off their stream each time they were sent this; it is forgotten. */
    void (*refused)(void *argument, void *owner, enum th_function_kind kind, uint64_t ticket,
                    size_t bytes);
};

/* `nonce`: of this process, so that tokens of an earlier one mean nothing. */
struct th_dispatch *th_dispatch_new(const struct th_dispatch_hooks *hooks, uint64_t nonce);
void th_dispatch_free(struct th_dispatch *d); /* calls no hook */

/* ---- owners ---- */

void th_dispatch_add(struct th_dispatch *d, const struct th_dispatch_work *work, th_time now);
/* It is no longer wanted; an answer that comes for it is nobody's. False: not known. */
bool th_dispatch_cancel(struct th_dispatch *d, const void *owner, enum th_function_kind kind,
                        uint64_t ticket, th_time now);
/* As cancel, if no stream has it yet. */
bool th_dispatch_withdraw(struct th_dispatch *d, const void *owner, enum th_function_kind kind,
                          uint64_t ticket);
/* All that is the owner's. */
void th_dispatch_leave(struct th_dispatch *d, const void *owner);
/* What the owner has on streams; of one kind, or (kind 0) of all. */
size_t th_dispatch_under_way(const struct th_dispatch *d, const void *owner,
                             enum th_function_kind kind);

/* Whether some stream takes the function. */
bool th_dispatch_serves(const struct th_dispatch *d, enum th_function_kind kind, struct th_str name,
                        struct th_str version);

/* ---- streams ---- */

/* Copies the options. May send at once. */
struct th_dispatch_stream *th_dispatch_open(struct th_dispatch *d,
                                            const struct th_dispatch_stream_options *options,
                                            th_time now);
/* The stream is gone: what it had waits again. `broken`: its program broke it off. Nothing is sent
 * to its user after that. */
void th_dispatch_close(struct th_dispatch *d, struct th_dispatch_stream *stream, bool broken,
                       th_time now);
void th_dispatch_writable(struct th_dispatch *d, struct th_dispatch_stream *stream, th_time now);
/* It is sent nothing more; what it has stays with it until it is closed. */
void th_dispatch_quiet(struct th_dispatch *d, struct th_dispatch_stream *stream, th_time now);

/* ---- answers ---- */

/* What an answer is for. By the token; programs of older SDKs give none (it is empty), then by the
 * instance, and of an activity its task. */
struct th_dispatch_key {
    enum th_function_kind kind; /* 0: any, with a token */
    struct th_str token, instance_id;
    int32_t task_id; /* -1 but for an activity */
};

/* Whose it is, with what is kept beside it; valid until the next call. */
struct th_dispatch_found {
    void *owner;
    uint64_t ticket;
    enum th_function_kind kind;
    struct th_str instance_id;
    size_t operations;
    struct th_arena *parts; /* the caller's, for an answer that comes in several parts; it is empty
                               again when the item is sent again */
    void **first_part;      /* in it; NULL at first */
};
/* False: nobody's (any more), which is no error. */
bool th_dispatch_find(struct th_dispatch *d, const struct th_dispatch_key *key,
                      struct th_dispatch_found *out);
/* It is done with. False: as above. */
bool th_dispatch_take(struct th_dispatch *d, const struct th_dispatch_key *key, th_time now);
/* The program does not want it (now): it waits again, after a pause. */
bool th_dispatch_abandon(struct th_dispatch *d, const struct th_dispatch_key *key, th_time now);

/* ---- time and looks ---- */

/* Does what is due; returns when it should be called again at the latest, TH_TIME_NONE: not needed.
 * Every other call may make it earlier: ask again after it. */
th_time th_dispatch_step(struct th_dispatch *d, th_time now);
th_time th_dispatch_deadline(const struct th_dispatch *d);

/* What each stream takes that is no relay. */
void th_dispatch_programs(const struct th_dispatch *d,
                          void (*visit)(void *argument,
                                        const struct th_dispatch_filter filters[TH_DISPATCH_KINDS]),
                          void *argument);

/* Which activities of this owner wait because no stream takes them; the same one perhaps twice. */
void th_dispatch_unserved(const struct th_dispatch *d, const void *owner,
                          void (*visit)(void *argument, struct th_str name, size_t waiting),
                          void *argument);

struct th_dispatch_stats {
    size_t streams;
    size_t waiting[TH_DISPATCH_KINDS], under_way[TH_DISPATCH_KINDS];
    uint64_t sent[TH_DISPATCH_KINDS], answered[TH_DISPATCH_KINDS];
    uint64_t again; /* sendings of what was sent before */
    uint64_t stale; /* answers that were nobody's */
};
void th_dispatch_get_stats(const struct th_dispatch *d, struct th_dispatch_stats *out);
