/*
 * exchange: one HTTP request and the answer that is being written for it, without the library that
 * carries them. Used by one thread at a time: first an event thread, then perhaps the gateway's
 * (which only adds to the arena) or a client-function thread.
 */
#pragma once

#include "api/url.h"

struct th_exchange {
    struct th_arena arena;
    struct th_str method, target_text; /* absent: no request, a cron function's turn */
    struct th_target target;
    struct th_pairs headers;
    struct th_buffer body;
    struct th_error refused; /* code other than TH_OK: the request cannot be served at all */

    int status; /* 0: not answered */
    struct th_pairs answer_headers;
    struct th_buffer answer;
    int file; /* the answer's body when it is a file; -1: `answer` is */
    size_t file_bytes;
};

/* Takes the request line apart; a bad target shows in `refused`. */
void th_exchange_init(struct th_exchange *x, struct th_str method, struct th_str target);
void th_exchange_deinit(struct th_exchange *x);

/* A query parameter, decoded; absent: not given. */
struct th_str th_exchange_query(const struct th_exchange *x, const char *name);
/* "true", "1" or present and empty; `otherwise` when absent or anything else. */
bool th_exchange_flag(const struct th_exchange *x, const char *name, bool otherwise);
struct th_str th_exchange_header(const struct th_exchange *x, const char *name);
/* True when the body's content type is this one; parameters do not count. */
bool th_exchange_is_type(const struct th_exchange *x, const char *type);
struct th_str th_exchange_body(const struct th_exchange *x); /* absent when empty */

/* Each replaces what was answered before, except for headers set with th_answer_header. */
void th_answer(struct th_exchange *x, int status, const char *content_type, struct th_str body);
/* The body is what `x->answer` holds now. */
void th_answer_built(struct th_exchange *x, int status, const char *content_type);
void th_answer_empty(struct th_exchange *x, int status);
/* {"Message": …, "ExceptionMessage": …}: clients look for one or the other. */
void th_answer_failure(struct th_exchange *x, int status, struct th_str message);
void th_answer_error(struct th_exchange *x, const struct th_error *error);
/* Takes over the file descriptor. */
void th_answer_file(struct th_exchange *x, int file, size_t bytes, const char *content_type);
/* Replaces a header of this name. */
void th_answer_header(struct th_exchange *x, const char *name, struct th_str value);

#define TH_JSON_TYPE "application/json; charset=utf-8"
