/*
 * hubs: the hubs beside the one that is served. The program's callbacks do it; they may block, so
 * they run at the desk.
 */
#include <stdlib.h>

#include "api/management.h"

static struct th_str hub_param(const struct th_operation *op)
{
    return th_pairs_get(&op->params, "hub");
}

enum th_step th_answer_document(struct th_operation *op, int status, json_t *document,
                                const struct th_error *error)
{
    char *text = document ? json_dumps(document, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    json_decref(document);
    if (!text) {
        th_answer_error(&op->x, error);
        return TH_STEP_DONE;
    }
    th_answer(&op->x, status, TH_JSON_TYPE, th_str_of(text));
    free(text);
    return TH_STEP_DONE;
}

static const struct th_error no_words = {.code = TH_INTERNAL};

/* ---- at the desk --------------------------------------------------------------------------- */

static enum th_step list_hubs(struct th_operation *op)
{
    const struct th_http_hubs *hubs = &op->api->options.hubs;
    struct th_error error = no_words;
    return th_answer_document(op, 200, hubs->list(hubs->argument, &error), &error);
}

static enum th_step show_hub(struct th_operation *op)
{
    const struct th_http_hubs *hubs = &op->api->options.hubs;
    struct th_error error = no_words;
    json_t *document = hubs->show(hubs->argument, hub_param(op).data, &error);
    return th_answer_document(op, 200, document, &error);
}

static enum th_step create_hub(struct th_operation *op)
{
    const struct th_http_hubs *hubs = &op->api->options.hubs;
    struct th_error error = no_words;
    struct th_str body = th_exchange_body(&op->x), name = hub_param(op);
    json_auto_t *options =
        body.len ? json_loadb(body.data, body.len, JSON_REJECT_DUPLICATES, NULL) : json_object();
    if (!json_is_object(options)) {
        return th_operation_refuse(op, 400,
                                   "Invalid JSON content: an object of hub options is wanted");
    }
    const char *inside = json_string_value(json_object_get(options, "name"));
    if (!th_str_present(name) && !inside) {
        return th_operation_refuse(op, 400,
                                   "the new hub's name is missing, in the path or as \"name\"");
    }
    const char *chosen = th_str_present(name) ? name.data : inside;
    return th_answer_document(op, 201, hubs->create(hubs->argument, chosen, options, &error),
                              &error);
}

static enum th_step remove_hub(struct th_operation *op)
{
    const struct th_http_hubs *hubs = &op->api->options.hubs;
    struct th_error error = no_words;
    if (!hubs->remove(hubs->argument, hub_param(op).data, &error)) {
        th_answer_error(&op->x, &error);
        return TH_STEP_DONE;
    }
    th_answer_empty(&op->x, 204);
    return TH_STEP_DONE;
}

/* ---- on the way there ---------------------------------------------------------------------- */

static enum th_step at_desk(struct th_operation *op, bool possible,
                            enum th_step (*next)(struct th_operation *))
{
    if (!possible) {
        return th_operation_refuse(op, 501, "this program does not manage hubs");
    }
    op->next = next;
    return TH_STEP_DESK;
}

enum th_step th_hubs_list(struct th_operation *op)
{
    return at_desk(op, op->api->options.hubs.list, list_hubs);
}

enum th_step th_hubs_show(struct th_operation *op)
{
    return at_desk(op, op->api->options.hubs.show, show_hub);
}

enum th_step th_hubs_create(struct th_operation *op)
{
    return at_desk(op, op->api->options.hubs.create, create_hub);
}

enum th_step th_hubs_remove(struct th_operation *op)
{
    return at_desk(op, op->api->options.hubs.remove, remove_hub);
}
