#include "api/request.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- reading ------------------------------------------------------------------------------- */

struct th_client *th_request_client(struct th_request *request)
{
    return request->op->api->client;
}

const char *th_request_method(struct th_request *request)
{
    return request->op->x.method.data;
}

const char *th_request_path(struct th_request *request)
{
    return request->op->x.target.path.data;
}

const char *th_request_param(struct th_request *request, const char *name)
{
    return th_pairs_get(&request->op->params, name).data;
}

const char *th_request_query(struct th_request *request, const char *name)
{
    return th_exchange_query(&request->op->x, name).data;
}

const char *th_request_header(struct th_request *request, const char *name)
{
    return th_exchange_header(&request->op->x, name).data;
}

const void *th_request_body(struct th_request *request, size_t *len)
{
    struct th_str body = th_buffer_view(&request->op->x.body);
    if (len) {
        *len = body.len;
    }
    return body.data;
}

json_t *th_request_json(struct th_request *request)
{
    struct th_str body = th_buffer_view(&request->op->x.body);
    if (!request->parsed && body.len) {
        request->json = json_loadb(body.data, body.len, JSON_DECODE_ANY, NULL);
    }
    request->parsed = true;
    return request->json;
}

const char *th_request_origin(struct th_request *request)
{
    return request->op->origin.data;
}

/* ---- answering ----------------------------------------------------------------------------- */

/* A status that HTTP has no final answer for is the function's mistake. */
static int final_status(int status)
{
    return status >= 200 && status < 600 ? status : 500;
}

int th_respond(struct th_request *request, int status, const char *content_type, const void *body,
               size_t len)
{
    th_answer(&request->op->x, final_status(status), content_type, th_str_n(body, len));
    return 0;
}

int th_respond_json(struct th_request *request, int status, json_t *body)
{
    char *text = body ? json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    json_decref(body);
    if (!text) {
        th_answer_failure(&request->op->x, 500, TH_STR("the answer cannot be written as JSON"));
        return TH_FAILED;
    }
    th_answer(&request->op->x, final_status(status), TH_JSON_TYPE, th_str_of(text));
    free(text);
    return 0;
}

int th_respond_text(struct th_request *request, int status, const char *format, ...)
{
    /* Aside first: the arguments may point into what was answered before. */
    TH_BUFFER text = {0};
    va_list arguments;
    va_start(arguments, format);
    th_buffer_vformat(&text, format, arguments);
    va_end(arguments);
    th_answer(&request->op->x, final_status(status), "text/plain; charset=utf-8",
              th_buffer_view(&text));
    return 0;
}

static const char *type_of_file(const char *path)
{
    static const char *const types[][2] = {
        {".json", TH_JSON_TYPE},     {".html", "text/html; charset=utf-8"},
        {".svg", "image/svg+xml"},   {".txt", "text/plain; charset=utf-8"},
        {".png", "image/png"},       {".csv", "text/csv; charset=utf-8"},
        {".jpg", "image/jpeg"},      {".css", "text/css; charset=utf-8"},
        {".pdf", "application/pdf"}, {".js", "text/javascript; charset=utf-8"},
    };
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof(types) / sizeof(types[0]); i++) {
        if (th_str_eq_nocase(th_str_of(dot), th_str_of(types[i][0]))) {
            return types[i][1];
        }
    }
    return "application/octet-stream";
}

int th_respond_file(struct th_request *request, const char *path)
{
    struct th_exchange *x = &request->op->x;
    struct stat about;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0 || fstat(file, &about) || !S_ISREG(about.st_mode)) {
        if (file >= 0) {
            close(file);
        }
        th_answer_failure(x, 404, TH_STR("this file is not there"));
        return 0;
    }
    th_answer_file(x, file, (size_t)about.st_size, type_of_file(path));
    return 0;
}

void th_respond_header(struct th_request *request, const char *name, const char *value)
{
    th_answer_header(&request->op->x, name, th_str_of(value));
}

int th_respond_check_status(struct th_request *request, const char *instance_id)
{
    th_answer_check_status(request->op, th_str_of(instance_id));
    return 0;
}

json_t *th_request_check_status(struct th_request *request, const char *instance_id)
{
    const struct th_links links = th_operation_links(request->op);
    TH_BUFFER text = {0};

    th_document_check_status(&text, &links, th_str_of(instance_id));
    return json_loadb(text.data, text.len, 0, NULL);
}

int th_respond_error(struct th_request *request, const struct th_client_error *error)
{
    int status = error->status >= 400 && error->status < 600 ? error->status : 500;
    th_answer_failure(&request->op->x, status, th_str_of(error->message));
    return 0;
}

/* ---- running ------------------------------------------------------------------------------- */

static void answer_for(struct th_operation *op, int verdict)
{
    if (op->x.status == 0 && verdict != 0) {
        th_answer_failure(&op->x, 500, TH_STR("the function failed without an answer"));
    } else if (op->x.status == 0) {
        th_answer_empty(&op->x, 204);
    }
}

int th_request_call(struct th_operation *op, th_client_fn function)
{
    struct th_request request = {.op = op};
    int verdict = function(&request);
    json_decref(request.json);
    return verdict;
}

static int call(struct th_operation *op, th_client_fn function)
{
    const struct th_http_remote *remote = &op->api->options.remote;
    return remote->serve ? remote->serve(remote->argument, op) : th_request_call(op, function);
}

enum th_step th_request_serve(struct th_operation *op)
{
    answer_for(op, call(op, op->function->function));
    return TH_STEP_DONE;
}

int th_request_fire(const struct th_api *api, const struct th_cron_function *cron, int *status)
{
    struct th_operation op;
    th_operation_init(&op, api, TH_STR("TIMER"), TH_STR_ABSENT);
    op.x.target.path = th_arena_str(&op.x.arena, th_str_of(cron->name));
    op.origin = th_str_of(api->url);
    int verdict = call(&op, cron->function);
    *status = op.x.status;
    th_operation_deinit(&op);
    return verdict;
}
