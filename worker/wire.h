/*
 * wire: what the hub and an application's own process (worker/appproc.h, worker/appmain.h) say to
 * each other, as frames: four bytes of length, lowest first, then msgpack: the frame's kind and its
 * values in order. Both ends are the same program, so there are no versions and no field numbers.
 *
 *     work: both directions, any order          episodes: one frame out, one back
 *     hub ──BEGIN ACTIVITY CANCEL─────▶ app     hub ──EPISODE FORGET──▶ app
 *         ──REQUEST REPLY─────────────▶             ◀──ACTIONS─────────
 *         ◀──HELLO RESULT ANSWER COMMAND GIVE_UP──
 *
 * The application may have overwritten any byte of its process, so the hub believes nothing: any
 * bytes give either a value or an error. What was read points into the frame. Pure.
 */
#pragma once

#include "api/exchange.h"
#include "node/node.h"

#define TH_WIRE_MAX (256u << 20) /* bytes of a frame, its length apart */

enum th_frame_kind {
    TH_FRAME_HELLO = 1, /* the application is loaded, or why not */
    TH_FRAME_BEGIN,     /* how to run it: the answer to HELLO */
    TH_FRAME_ACTIVITY,
    TH_FRAME_CANCEL, /* token: the result is no longer wanted */
    TH_FRAME_RESULT,
    TH_FRAME_REQUEST, /* call an HTTP or cron function */
    TH_FRAME_ANSWER,
    TH_FRAME_COMMAND, /* a client of the application asks the hub */
    TH_FRAME_GIVE_UP, /* number: it no longer waits for the reply */
    TH_FRAME_REPLY,
    TH_FRAME_EPISODE,
    TH_FRAME_FORGET, /* instance id */
    TH_FRAME_ACTIONS,
    TH_FRAME_LAST = TH_FRAME_ACTIONS
};

/* ---- frames ---------------------------------------------------------------------------------- */

/* Begins a frame at the end of `out`; returns what th_wire_end wants. */
size_t th_wire_begin(struct th_buffer *out, enum th_frame_kind kind);
/* False: the frame is above TH_WIRE_MAX and was taken back. */
bool th_wire_end(struct th_buffer *out, size_t begin);

/* Bytes as they arrive. */
struct th_wire {
    struct th_buffer bytes;
    size_t at; /* before it: frames that were taken */
};

enum th_wire_next { TH_WIRE_MORE, TH_WIRE_FRAME, TH_WIRE_BROKEN };

/* The next whole frame, without its length; it lives until more bytes are added. BROKEN: its length
 * cannot be. */
enum th_wire_next th_wire_next(struct th_wire *wire, struct th_str *frame);
/* Makes room for what comes next behind the frames that were taken, at least `size` bytes. */
char *th_wire_room(struct th_wire *wire, size_t size);
void th_wire_deinit(struct th_wire *wire);

/* Opens a frame for reading; false: of no known kind. Nested values go to the arena. */
bool th_wire_open(struct th_str frame, struct th_arena *arena, struct th_error *error,
                  struct th_reader *in, enum th_frame_kind *kind);

/* ---- values: th_put_ writes them behind th_wire_begin, th_get_ reads them behind th_wire_open and
 * is false when they are not what a frame of this kind holds ------------------------------------
 */

struct th_hello {
    struct th_str error; /* present: it could not be loaded */
    bool missing;        /* … because the file is not there or cannot be read */
    struct th_str version;
    struct th_str *orchestrators, *activities, *entities;
    size_t orchestrator_count, activity_count, entity_count;
    struct th_pairs routes; /* methods, route */
    struct th_pairs crons;  /* name, schedule */
};
void th_put_hello(struct th_buffer *out, const struct th_hello *hello);
bool th_get_hello(struct th_reader *in, struct th_hello *hello);

struct th_begin_run {
    struct th_str flight; /* path of the flight recorder */
    struct th_str default_version;
    uint32_t threads, reuse;
    int64_t function_timeout_ms;
    uint64_t max_warm;
    bool replay_always, log_json;
    uint32_t log_level;
    struct {
        struct th_str name;
        uint32_t max;
    } * limits;
    size_t limit_count;
};
void th_put_begin(struct th_buffer *out, const struct th_begin_run *begin);
bool th_get_begin(struct th_reader *in, struct th_begin_run *begin);

void th_put_activity(struct th_buffer *out, const struct th_activity_work *work);
bool th_get_activity(struct th_reader *in, struct th_activity_work *work);

struct th_wire_result {
    uint64_t token;
    bool failed, non_retriable;
    struct th_str data, failure_type, failure_message;
};
void th_put_result(struct th_buffer *out, const struct th_wire_result *result);
bool th_get_result(struct th_reader *in, struct th_wire_result *result);

/* CANCEL and GIVE_UP: a number alone. FORGET: a string alone. */
void th_put_number(struct th_buffer *out, uint64_t number);
bool th_get_number(struct th_reader *in, uint64_t *number);
void th_put_text(struct th_buffer *out, struct th_str text);
bool th_get_text(struct th_reader *in, struct th_str *text);

struct th_wire_request {
    uint64_t number;
    bool cron;
    struct th_str methods, route; /* as registered; of a cron function its name is the route */
    struct th_str method, target, body;
    struct th_str origin, hub, key; /* what URLs of an answer are made of */
    struct th_pairs headers, params;
};
void th_put_request(struct th_buffer *out, const struct th_wire_request *request);
bool th_get_request(struct th_reader *in, struct th_wire_request *request);

struct th_wire_answer {
    uint64_t number;
    int32_t verdict, status; /* status 0: none was given */
    struct th_pairs headers;
    struct th_str body;
    bool file; /* the body is a file, whose descriptor travels with this frame's first byte */
};
void th_put_answer(struct th_buffer *out, const struct th_wire_answer *answer);
bool th_get_answer(struct th_reader *in, struct th_wire_answer *answer);

/* Commands that a th_client makes: not that for the hub's view, and no history. */
void th_put_command(struct th_buffer *out, uint64_t number, const struct th_command *command);
bool th_get_command(struct th_reader *in, uint64_t *number, struct th_command *command);

/* `info` is room for the reply's instance; a query's are put into the reader's arena. */
void th_put_reply(struct th_buffer *out, uint64_t number, const struct th_reply *reply);
bool th_get_reply(struct th_reader *in, uint64_t *number, struct th_reply *reply,
                  struct th_instance_info *info);

/* The list that was decoded into must outlive the episode. */
void th_put_episode(struct th_buffer *out, const struct th_episode *episode);
bool th_get_episode(struct th_reader *in, struct th_episode *episode, struct th_events *past,
                    struct th_events *fresh);

void th_put_actions(struct th_buffer *out, enum th_executor_result result,
                    const struct th_actions *actions);
/* Into the reader's arena. */
bool th_get_actions(struct th_reader *in, enum th_executor_result *result,
                    struct th_actions *actions);
