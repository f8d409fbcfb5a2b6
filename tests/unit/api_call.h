/* HTTP calls for tests, with libcurl. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct call {
    int status; /* 0: no answer */
    char *body; /* ends in NUL */
    size_t len;
    char *headers; /* as they came, all of the last answer */
};

/* `headers` is a list ending in NULL, or NULL. `body` NULL: none is sent. */
struct call call_http(const char *method, const char *url, const char *body,
                      const char *const *headers);
struct call call_bytes(const char *method, const char *url, const void *body, size_t len,
                       const char *const *headers);
void call_deinit(struct call *call);
#define CALL_HTTP __attribute__((cleanup(call_deinit))) struct call

/* Copies a header's value to `out`; false: it is not there. */
bool call_header(const struct call *call, const char *name, char *out, size_t size);
/* The body as JSON: a new reference; fails the test when it is none. */
json_t *call_json(const struct call *call);
/* The body's "Message". Lives in a buffer of the calling thread. */
const char *call_message(const struct call *call);
