#include "cli/pages.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "cli/http.h"
#include "cli/print.h"

#define DEFAULT_LIMIT 100
#define PAGE_ROWS     100

/* Adds a page's rows to `all`; `*continuation` is replaced by the next page's, or NULL. */
static int add_page(const struct cli_options *options, const struct cli_pages *pages, int64_t rows,
                    char **continuation, json_t *all)
{
    CLI_RESPONSE response = {.status = 0};
    TH_BUFFER path = {NULL, 0, 0};
    pages->path(options, rows, &path);
    TH_AUTOFREE char *text = th_buffer_take(&path);
    struct cli_request request = {.method = "GET",
                                  .path = text,
                                  .continuation = *continuation,
                                  .timeout_ms = pages->timeout_ms};
    cli_send(options, &request, &response);
    int code = cli_judge(options, &response, pages->subject);
    free(*continuation);
    *continuation = NULL;
    if (code != CLI_OK)
        return code;
    json_array_extend(all, response.json);
    *continuation = response.continuation;
    response.continuation = NULL;
    return CLI_OK;
}

int cli_print_pages(const struct cli_options *options, const struct cli_pages *pages)
{
    int64_t limit = options->limit == CLI_NOT_GIVEN ? DEFAULT_LIMIT : options->limit;
    int code = CLI_OK;
    char *continuation = NULL;
    json_t *all = json_array();
    do {
        int64_t left = limit ? limit - (int64_t)json_array_size(all) : PAGE_ROWS;
        code = add_page(options, pages, left < PAGE_ROWS ? left : PAGE_ROWS, &continuation, all);
    } while (code == CLI_OK && continuation && (!limit || (int64_t)json_array_size(all) < limit));
    if (code == CLI_OK && options->json)
        cli_print_json(all);
    else if (code == CLI_OK)
        pages->show(all);
    if (continuation && !options->json)
        fprintf(stderr, "There are more: --limit 0 shows all.\n");
    free(continuation);
    json_decref(all);
    return code;
}
