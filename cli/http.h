/*
 * http: one request to a hub's API, over libcurl. Blocking.
 */
#pragma once

#include <jansson.h>

#include "base/buffer.h"
#include "cli/options.h"

struct cli_response {
    long status; /* 0: nobody answered; `trouble` says why */
    struct th_buffer body;
    json_t *json;       /* of the body; NULL: no JSON */
    char *continuation; /* x-ms-continuation-token; NULL: none */
    char trouble[320];
};

void cli_response_deinit(struct cli_response *response);
#define CLI_RESPONSE __attribute__((cleanup(cli_response_deinit))) struct cli_response

struct cli_request {
    const char *method;
    const char *path;         /* below the API's base: "/instances/abc"; made with cli_path */
    const char *body;         /* JSON; NULL: none */
    const char *continuation; /* or NULL */
    int64_t timeout_ms;       /* of the whole request; negative: none */
};

/* Fills `out`, which the caller deinits, whatever happens. */
void cli_send(const struct cli_options *options, const struct cli_request *request,
              struct cli_response *out);

/* Appends "/instances/" or "?status=" as it is, then the value percent-encoded (NULL: nothing). */
void cli_path(struct th_buffer *path, const char *literal, const char *value);

/* CLI_OK below 300; else says on standard error what the hub answered, and the exit code that fits.
 * `subject` is what was asked for ("instance abc"). */
int cli_judge(const struct cli_options *options, const struct cli_response *response,
              const char *subject);

const char *cli_url(const struct cli_options *options);
