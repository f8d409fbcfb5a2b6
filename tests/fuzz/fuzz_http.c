/*
 * Any bytes as a request: "METHOD target", header lines, an empty line, the body. The operation is
 * driven to its end with a hub whose replies follow from the bytes. Whatever comes, there is one
 * answer, its documents are JSON, and the check of JSON agrees with another parser.
 */
#include "tests/fuzz/fuzz.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/management.h"
#include "api/text.h"

enum { MOST_STEPS = 8 };

static struct th_str take_line(struct th_str *rest)
{
    const char *end = rest->len ? memchr(rest->data, '\n', rest->len) : NULL;
    struct th_str line = *rest;
    if (end) {
        line.len = (size_t)(end - rest->data);
        *rest = th_str_n(end + 1, rest->len - line.len - 1);
    } else {
        *rest = th_str_n(rest->data + rest->len, 0);
    }
    return line;
}

/* As the HTTP library hands it over: without the NULs that it refuses. */
static bool add_header(struct th_exchange *x, struct th_str line)
{
    const char *colon = line.len ? memchr(line.data, ':', line.len) : NULL;
    if (!colon || memchr(line.data, '\0', line.len)) {
        return colon != NULL;
    }
    size_t name = (size_t)(colon - line.data), value = name + 1;
    while (value < line.len && line.data[value] == ' ') {
        value++;
    }
    th_pairs_add(&x->headers, &x->arena, th_arena_str(&x->arena, th_str_n(line.data, name)),
                 th_arena_str(&x->arena, th_str_n(line.data + value, line.len - value)));
    return true;
}

/* ---- a hub whose replies follow from the input ---------------------------------------------- */

static const struct th_failure failure = {.type = {"T", 1}, .message = {"m\xFF", 2}};

static void fill_reply(struct th_reply *reply, struct th_instance_info *info,
                       struct th_event *events, struct th_str seed, size_t step)
{
    unsigned char byte = seed.len ? (unsigned char)seed.data[(step * 7) % seed.len] : 0;
    *info = (struct th_instance_info){.instance_id = {"i1", 2},
                                      .execution_id = {"e", 1},
                                      .name = seed,
                                      .status = (enum th_status)(byte % 8),
                                      .input = seed,
                                      .output = seed,
                                      .custom_status = seed,
                                      .failure = byte & 8 ? &failure : NULL};
    if (byte & 16) {
        reply->error.code = (enum th_code)(1 + byte % TH_INTERNAL);
        snprintf(reply->error.message, sizeof(reply->error.message), "told to fail");
    }
    reply->instance_id = (struct th_str){"i1", 2};
    reply->info = byte & 32 ? NULL : info;
    reply->infos = info;
    reply->info_count = 1;
    reply->count = byte;
    reply->continuation = seed;
    events[0] = th_event_of(TH_EVENT_EXECUTION_STARTED, 0);
    events[0].data = seed;
    events[0].name = seed;
    reply->history = (struct th_events){.items = events, .count = 1, .capacity = 1};
}

static void answer_command(struct th_operation *op, struct th_str seed, size_t step)
{
    struct th_instance_info info;
    struct th_event events[1];
    struct th_reply reply = {.error = {.code = TH_OK}};
    struct th_hub_partition_view partition = {.owned = true};
    struct th_hub_view hub = {.record = {.name = "Hub", .partitions = 1}, .partitions = &partition};
    fill_reply(&reply, &info, events, seed, step);
    reply.hub = op->command.kind == TH_COMMAND_HUB ? &hub : NULL;
    MUST(op->command.kind != TH_COMMAND_QUERY ||
         (op->command.query.limit >= 1 && op->command.query.limit <= 1000));
    MUST(op->command.kind != TH_COMMAND_PURGE_BY || op->command.query.statuses != 0);
    MUST(op->command.kind != TH_COMMAND_START || !th_str_present(op->command.data) ||
         th_json_valid(op->command.data));
    th_kept_copy(&op->reply, &op->x.arena, &reply);
}

static json_t *any_hubs(void *argument, struct th_error *error)
{
    return json_array();
}

static json_t *make_hub(void *argument, const char *name, const json_t *options,
                        struct th_error *error)
{
    return json_pack("{s:i}", "name", (int)strlen(name));
}

/* ---- one request ---------------------------------------------------------------------------- */

static void check_answer(struct th_operation *op)
{
    struct th_exchange *x = &op->x;
    struct th_str type = th_pairs_get(&x->answer_headers, "Content-Type");
    MUST(x->status >= 200 && x->status < 600);
    for (size_t i = 0; i < x->answer_headers.count; i++) {
        struct th_str value = x->answer_headers.items[i].value;
        MUST(!memchr(value.data, '\n', value.len) && !memchr(value.data, '\r', value.len));
    }
    if (th_str_present(type) && th_str_starts(type, TH_STR("application/json"))) {
        MUST(th_json_valid(th_buffer_view(&x->answer)));
    }
}

static void drive(struct th_operation *op, struct th_str seed)
{
    for (size_t step = 0; step < MOST_STEPS; step++) {
        switch (th_operation_step(op)) {
        case TH_STEP_DONE:
            check_answer(op);
            return;
        case TH_STEP_COMMAND:
            answer_command(op, seed, step);
            break;
        case TH_STEP_FUNCTION:
        case TH_STEP_DESK:
            break;
        }
    }
    abort(); /* an operation goes round in circles */
}

/* The library never lets these through in a request line or header. */
static bool carriable(struct th_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.data[i] <= ' ') {
            return false;
        }
    }
    return true;
}

static void check_json(struct th_str text)
{
    json_t *value = json_loadb(text.data, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    /* jansson takes a NUL for the end of the text. */
    bool nul = text.len && memchr(text.data, '\0', text.len);
    MUST(!value || nul || th_json_valid(text));
    json_decref(value);
    TH_BUFFER literal = {0};
    th_json_put_string(&literal, text);
    MUST(th_json_valid(th_buffer_view(&literal)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct th_hub_record record = {.name = "Hub", .partitions = 1};
    struct th_gateway gateway = {.hub = &record};
    struct th_api api = {
        .options = {.gateway = &gateway,
                    .api_key = size % 3 ? NULL : "k",
                    .trust_forwarded = size % 2,
                    .reuse = TH_REUSE_TERMINAL,
                    .hubs = {.list = any_hubs, .create = make_hub}},
        .url = (char *)"http://127.0.0.1:1",
    };
    struct th_str rest = input_of(data, size), line = take_line(&rest), target = line;
    const char *space = line.len ? memchr(line.data, ' ', line.len) : NULL;
    struct th_str method = th_str_n(line.data, space ? (size_t)(space - line.data) : 0);
    if (space) {
        target = th_str_n(space + 1, line.len - method.len - 1);
    }
    check_json(rest);
    if (!carriable(target) || !carriable(method)) {
        return 0;
    }
    struct th_operation op;
    th_operation_init(&op, &api, method, target);
    while (rest.len && add_header(&op.x, take_line(&rest))) {
    }
    th_buffer_str(&op.x.body, rest);
    drive(&op, rest);
    th_operation_deinit(&op);
    return 0;
}
