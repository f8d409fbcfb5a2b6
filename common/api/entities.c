/* entities: signals to entities, their states, and lists of them. */
#include "api/entities.h"

#include "api/document.h"
#include "api/text.h"
#include "model/name.h"

/* A key of no characters would leave its segment of the path empty. */
static struct th_str key_of(const struct th_operation *op)
{
    struct th_str key = th_pairs_get(&op->params, "key");
    return th_str_eq(key, TH_STR("$")) ? TH_STR("") : key;
}

/* False (answered): the path names no entity. */
static bool name_entity(struct th_operation *op)
{
    struct th_error error;
    struct th_str name = th_pairs_get(&op->params, "name");
    op->instance_id = th_entity_id(&op->x.arena, name, key_of(op));
    if (!th_entity_name_check(name, &error) || !th_entity_id_check(op->instance_id, &error)) {
        th_operation_refuse_error(op, &error);
        return false;
    }
    return true;
}

static enum th_step ask(struct th_operation *op, enum th_command_kind kind,
                        enum th_step (*next)(struct th_operation *))
{
    op->command.kind = kind;
    op->command.instance_id = op->instance_id;
    op->next = next;
    return TH_STEP_COMMAND;
}

/* ---- signals ------------------------------------------------------------------------------- */

static enum th_step after_signal(struct th_operation *op)
{
    if (op->reply.error.code != TH_OK) {
        return th_operation_refuse_error(op, &op->reply.error);
    }
    th_answer_empty(&op->x, 202);
    return TH_STEP_DONE;
}

static enum th_step send_signal(struct th_operation *op, struct th_str operation,
                                struct th_str input)
{
    op->command = (struct th_command){.name = operation, .data = input, .start_at = TH_TIME_NONE};
    if (!th_operation_time(op, "scheduledTime", &op->command.start_at)) {
        return TH_STEP_DONE;
    }
    return ask(op, TH_COMMAND_SIGNAL, after_signal);
}

/* What says to be anything but JSON is a text. False (answered): it says to be JSON and is none. */
static bool read_input(struct th_operation *op, struct th_str *out)
{
    struct th_str body = th_exchange_body(&op->x);
    struct th_str type = th_exchange_header(&op->x, "content-type");
    bool json = type.len == 0 || th_exchange_is_type(&op->x, "application/json");
    TH_BUFFER literal = {0};
    *out = body;
    if (body.len == 0) {
        return true;
    }
    if (!json) {
        th_json_put_string(&literal, body);
        *out = th_arena_str(&op->x.arena, th_buffer_view(&literal));
        return true;
    }
    if (!th_json_valid(body)) {
        th_operation_refuse(op, 400, "Invalid JSON content");
        return false;
    }
    return true;
}

enum th_step th_entities_signal(struct th_operation *op)
{
    struct th_str operation = th_exchange_query(&op->x, "op");
    struct th_str input;
    if (!name_entity(op) || !read_input(op, &input)) {
        return TH_STEP_DONE;
    }
    if (operation.len == 0) {
        return th_operation_refuse(op, 400, "the operation's name is missing: ?op=…");
    }
    return send_signal(op, operation, input);
}

enum th_step th_entities_delete(struct th_operation *op)
{
    return name_entity(op) ? send_signal(op, TH_STR("delete"), TH_STR_ABSENT) : TH_STEP_DONE;
}

/* ---- a state ------------------------------------------------------------------------------- */

/* An entity that is locked, or waits for something, may have none. */
static enum th_step after_read(struct th_operation *op)
{
    bool found = op->reply.error.code == TH_OK && op->reply.info_count > 0 &&
                 th_str_present(op->reply.infos[0].output);
    if (op->reply.error.code != TH_OK && op->reply.error.code != TH_NOT_FOUND) {
        return th_operation_refuse_error(op, &op->reply.error);
    }
    if (!found) {
        th_answer_empty(&op->x, 404);
        return TH_STEP_DONE;
    }
    op->x.answer.len = 0;
    th_json_put_payload(&op->x.answer, op->reply.infos[0].output);
    th_answer_built(&op->x, 200, TH_JSON_TYPE);
    return TH_STEP_DONE;
}

enum th_step th_entities_read(struct th_operation *op)
{
    if (!name_entity(op)) {
        return TH_STEP_DONE;
    }
    op->command = (struct th_command){.payloads = true};
    return ask(op, TH_COMMAND_STATUS, after_read);
}

/* ---- lists --------------------------------------------------------------------------------- */

static enum th_step after_list(struct th_operation *op)
{
    size_t shown = 0;
    if (op->reply.error.code != TH_OK) {
        return th_operation_refuse_error(op, &op->reply.error);
    }
    op->x.answer.len = 0;
    th_buffer_text(&op->x.answer, "[");
    for (size_t i = 0; i < op->reply.info_count; i++) {
        if (op->reply.infos[i].has_state) {
            th_buffer_text(&op->x.answer, shown++ ? "," : "");
            th_document_entity(&op->x.answer, &op->reply.infos[i]);
        }
    }
    th_buffer_text(&op->x.answer, "]");
    th_operation_answer_continuation(op);
    th_answer_built(&op->x, 200, TH_JSON_TYPE);
    return TH_STEP_DONE;
}

enum th_step th_entities_list(struct th_operation *op)
{
    struct th_str name = th_pairs_get(&op->params, "name");
    struct th_error error;
    op->command = (struct th_command){0};
    struct th_query *wanted = &op->command.query;
    *wanted = (struct th_query){.statuses = TH_STATUS_BIT(TH_STATUS_ENTITY),
                                .from = TH_TIME_NONE,
                                .to = TH_TIME_NONE,
                                .completed_from = TH_TIME_NONE,
                                .completed_to = TH_TIME_NONE,
                                .payloads = th_exchange_flag(&op->x, "fetchState", false)};
    if (!th_operation_time(op, "lastOperationTimeFrom", &wanted->completed_from) ||
        !th_operation_time(op, "lastOperationTimeTo", &wanted->completed_to) ||
        !th_operation_page(op, wanted)) {
        return TH_STEP_DONE;
    }
    if (name.len && !th_entity_name_check(name, &error)) {
        return th_operation_refuse_error(op, &error);
    }
    if (name.len) {
        wanted->id_prefix = th_entity_id(&op->x.arena, name, TH_STR(""));
    }
    op->instance_id = TH_STR_ABSENT;
    return ask(op, TH_COMMAND_QUERY, after_list);
}
