/*
 * Client functions of every kind, for an application in a process of its own.
 */
#include <taskhub.h>

#include <stdlib.h>
#include <string.h>

static int nap(struct th_context *ctx)
{
    if (th_sleep(ctx, json_integer_value(th_input(ctx))))
        return TH_FAILED;
    return th_return_bytes(ctx, "\"rested\"", 8);
}

static int echo(struct th_request *request)
{
    const char *mine = th_request_header(request, "X-Mine");
    const char *query = th_request_query(request, "x");
    if (mine)
        th_respond_header(request, "X-Yours", mine);
    return th_respond_json(
        request, 201,
        json_pack("{s:s, s:s, s:s?, s:O?, s:s}", "method", th_request_method(request), "param",
                  th_request_param(request, "what"), "query", query, "body",
                  th_request_json(request), "origin", th_request_origin(request)));
}

static int file(struct th_request *request)
{
    const char *path = th_request_query(request, "path");
    return th_respond_file(request, path ? path : "");
}

/* Starts an instance and answers when it has ended. */
static int wait_for(struct th_request *request)
{
    struct th_client *client = th_request_client(request);
    struct th_client_error error;
    char id[TH_ID_MAX];
    const char *ms = th_request_query(request, "ms");
    if (!th_client_start(client, "nap", json_integer(ms ? atoi(ms) : 0), NULL, id, &error))
        return th_respond_error(request, &error);
    json_auto_t *end = th_client_wait(client, id, -1, &error);
    if (!end)
        return th_respond_error(request, &error);
    return th_respond_json(
        request, 200, json_pack("{s:O}", "runtimeStatus", json_object_get(end, "runtimeStatus")));
}

static bool ended(struct th_client *client, const char *id, struct th_client_error *error)
{
    json_auto_t *status = th_client_wait(client, id, 10000, error);
    return status != NULL;
}

/* Every other operation of a client, once. */
static int manage(struct th_request *request)
{
    struct th_client *client = th_request_client(request);
    struct th_client_error error = {0};
    char id[TH_ID_MAX], again[TH_ID_MAX];
    size_t purged = 0;
    const char *const tags[] = {"colour", "blue", NULL};
    bool ok = th_client_start(client, "nap", json_integer(60000), &(struct th_start){.tags = tags},
                              id, &error) &&
              th_client_suspend(client, id, "a while", &error) &&
              th_client_resume(client, id, "now", &error) &&
              th_client_raise_event(client, id, "Nothing", json_true(), &error) &&
              th_client_terminate(client, id, json_string("enough"), true, &error) &&
              ended(client, id, &error) && th_client_restart(client, id, true, again, &error) &&
              th_client_terminate(client, again, NULL, false, &error) &&
              ended(client, again, &error) && th_client_purge(client, id, false, &purged, &error) &&
              purged == 1 && th_client_purge_by(client, 0, 0, "Terminated", &purged, &error) &&
              purged >= 1 && !th_client_status(client, id, &error) && error.status == 404;
    return ok ? th_respond_json(request, 200, json_string("managed"))
              : th_respond_text(request, 500, "%d %s", error.status, error.message);
}

static int crash(struct th_request *request)
{
    volatile int zero = 0;
    const char *how = th_request_query(request, "how");
    if (how && strcmp(how, "abort") == 0)
        abort();
    if (how && strcmp(how, "exit") == 0)
        exit(0);
    *(volatile int *)(intptr_t)zero = 1;
    return 0;
}

static int tick(struct th_request *request)
{
    const struct th_start start = {.instance_id = "ticked"};
    th_client_start(th_request_client(request), "nap", json_integer(1), &start,
                    (char[TH_ID_MAX]){0}, NULL);
    return 0;
}

TH_APPLICATION(app)
{
    th_orchestrator(app, "nap", nap);
    th_http_route(app, "PUT, POST", "echo/{what}/c", echo);
    th_http_route(app, "GET", "file", file);
    th_http_route(app, "POST", "wait", wait_for);
    th_http_route(app, "POST", "manage", manage);
    th_http_route(app, "POST", "crash", crash);
    th_cron(app, "tick", "* * * * * *", tick);
}
