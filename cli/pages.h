/*
 * pages: lists that the hub's API gives page by page, printed as one.
 */
#pragma once

#include <jansson.h>

#include "base/buffer.h"
#include "cli/options.h"

struct cli_pages {
    const char *subject; /* in messages: "list" */
    int64_t timeout_ms;  /* of each request */
    /* The path of a page of so many rows. */
    void (*path)(const struct cli_options *options, int64_t rows, struct th_buffer *out);
    void (*show)(const json_t *all); /* as a table */
};

/* Up to --limit rows (default 100, 0: all), as JSON or by `show`. Returns an exit code. */
int cli_print_pages(const struct cli_options *options, const struct cli_pages *pages);
