/*
 * error: what went wrong, for a program (code) and for a person (message).
 * Functions that can fail return bool (true = done) or an enum th_code and fill a caller's
 * th_error; a NULL th_error means the caller does not want the words. The codes are a table:
 * their names, HTTP statuses and gRPC statuses come from it, so they cannot drift apart.
 */
#pragma once

#include <stdbool.h>

#include "base/str.h"

/* name, text, HTTP status, gRPC status (google.rpc.Code) */
#define TH_CODES(X)                                    \
    X(OK, "ok", 200, 0)                                \
    X(INVALID, "invalid argument", 400, 3)             \
    X(NOT_FOUND, "not found", 404, 5)                  \
    X(EXISTS, "already exists", 409, 6)                \
    X(PRECONDITION, "failed precondition", 412, 9)     \
    X(GONE, "already ended", 410, 9)                   \
    X(TOO_LARGE, "too large", 413, 8)                  \
    X(CANCELED, "canceled", 499, 1)                    \
    X(TIMEOUT, "timed out", 504, 4)                    \
    X(UNAVAILABLE, "unavailable", 503, 14)             \
    X(FENCED, "another owner took the lease", 503, 10) \
    X(CORRUPT, "corrupt data", 500, 15)                \
    X(TRUNCATED, "the log lost its end", 500, 15)      \
    X(IO, "input/output error", 500, 13)               \
    X(UNSUPPORTED, "unsupported", 501, 12)             \
    X(INTERNAL, "internal error", 500, 13)

enum th_code {
#define X(name, text, http, grpc) TH_##name,
    TH_CODES(X)
#undef X
};

struct th_error {
    enum th_code code;
    char message[512]; /* one sentence that names the thing and the rule; no newline */
};

const char *th_code_text(enum th_code code);
int th_code_http(enum th_code code);
int th_code_grpc(enum th_code code);

/* Fills `e` (which may be NULL) and returns false, so that `return th_fail(e, …)` reads well. */
bool th_fail(struct th_error *e, enum th_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
