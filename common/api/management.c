#include "api/management.h"

#include <math.h>
#include <stdlib.h>

#include "api/entities.h"
#include "api/guard.h"
#include "api/route.h"
#include "api/text.h"
#include "model/json.h"
#include "model/name.h"

enum {
    ROWS_DEFAULT = 100,
    ROWS_MOST = 1000,
    WAIT_MOST_SECONDS = 24 * 3600,
    START_RETRY_SECONDS = 10, /* Retry-After of a check-status answer and of a running status */
    STATUS_RETRY_SECONDS = 5,
};

typedef enum th_step step_fn(struct th_operation *op);

/* ---- common pieces ------------------------------------------------------------------------- */

static struct th_str param(const struct th_operation *op, const char *name)
{
    return th_pairs_get(&op->params, name);
}

static struct th_str query(const struct th_operation *op, const char *name)
{
    return th_exchange_query(&op->x, name);
}

static enum th_step accepted(struct th_operation *op)
{
    th_answer_empty(&op->x, 202);
    return TH_STEP_DONE;
}

static enum th_step submit(struct th_operation *op, enum th_command_kind kind, step_fn *next)
{
    op->command.kind = kind;
    op->command.instance_id = op->instance_id;
    op->next = next;
    return TH_STEP_COMMAND;
}

static void answer_retry_after(struct th_operation *op, int seconds)
{
    th_answer_header(&op->x, "Retry-After", th_arena_format(&op->x.arena, "%d", seconds));
}

/* A number of seconds; false (answered) when it is none. Absent leaves `*out` as it is. */
static bool parse_seconds(struct th_operation *op, const char *name, double *out)
{
    struct th_str text = query(op, name);
    char *end;
    if (!th_str_present(text) || text.len == 0) {
        return true;
    }
    double seconds = strtod(text.data, &end);
    if (*end != '\0' || !isfinite(seconds) || seconds < 0) {
        th_operation_refuse(op, 400,
                            th_arena_format(&op->x.arena, "'%s' is no number of seconds: \"%.*s\"",
                                            name, TH_PRI(text))
                                .data);
        return false;
    }
    *out = seconds < WAIT_MOST_SECONDS ? seconds : WAIT_MOST_SECONDS;
    return true;
}

/* A "+02:00" that was not encoded arrives as " 02:00". */
static struct th_str restore_plus(struct th_operation *op, struct th_str text)
{
    size_t sign = text.len - 6;
    if (text.len < 6 || text.data[sign] != ' ') {
        return text;
    }
    char *copy = th_arena_dup(&op->x.arena, text.data, text.len);
    copy[sign] = '+';
    return th_str_n(copy, text.len);
}

bool th_operation_time(struct th_operation *op, const char *name, th_time *out)
{
    struct th_str text = query(op, name);
    if (text.len == 0 || th_time_parse(restore_plus(op, text), out)) {
        return true;
    }
    th_operation_refuse(op, 400,
                        th_arena_format(&op->x.arena,
                                        "'%s' is no time such as 2026-01-31T12:00:00Z: \"%.*s\"",
                                        name, TH_PRI(text))
                            .data);
    return false;
}

static bool parse_status_list(struct th_operation *op, struct th_str text, uint32_t *statuses)
{
    for (size_t at = 0; at < text.len;) {
        size_t end = at;
        enum th_status status;
        while (end < text.len && text.data[end] != ',') {
            end++;
        }
        struct th_str word = th_str_n(text.data + at, end - at);
        if (word.len && !th_status_parse(word, &status)) {
            th_operation_refuse(op, 400,
                                th_arena_format(&op->x.arena,
                                                "'runtimeStatus' knows no status \"%.*s\"",
                                                TH_PRI(word))
                                    .data);
            return false;
        }
        *statuses |= word.len ? TH_STATUS_BIT(status) : 0;
        at = end + 1;
    }
    return true;
}

/* "runtimeStatus=Running,Failed", or the parameter several times. */
static bool parse_statuses(struct th_operation *op, uint32_t *statuses)
{
    const struct th_pairs *pairs = &op->x.target.query;
    for (size_t i = 0; i < pairs->count; i++) {
        if (th_str_eq_nocase(pairs->items[i].name, TH_STR("runtimeStatus")) &&
            !parse_status_list(op, pairs->items[i].value, statuses)) {
            return false;
        }
    }
    return true;
}

static struct th_str json_literal(struct th_operation *op, struct th_str text)
{
    TH_BUFFER literal = {0};
    if (!th_str_present(text)) {
        return TH_STR_ABSENT;
    }
    th_json_put_string(&literal, text);
    return th_arena_str(&op->x.arena, th_buffer_view(&literal));
}

struct th_links th_operation_links(const struct th_operation *op)
{
    return (struct th_links){
        .origin = op->origin,
        .hub = th_str_of(op->api->options.gateway->hub->name),
        .key = th_str_of(op->api->options.api_key),
        .fail_with_500 = op->fail_with_500,
    };
}

/* ---- status -------------------------------------------------------------------------------- */

static void parse_form(struct th_operation *op)
{
    op->form.input = th_exchange_flag(&op->x, "showInput", true);
    op->form.history = th_exchange_flag(&op->x, "showHistory", false);
    op->form.history_input = op->form.input;
    op->form.history_output = th_exchange_flag(&op->x, "showHistoryOutput", false);
    op->fail_with_500 = th_exchange_flag(&op->x, "returnInternalServerErrorOnFailure", false);
}

static int status_code(const struct th_operation *op, enum th_status status)
{
    if (!th_status_terminal(status)) {
        return 202;
    }
    return status == TH_STATUS_FAILED && op->fail_with_500 ? 500 : 200;
}

/* What was asked, as a URL; proxies may ask in that form already. */
static struct th_str own_url(struct th_operation *op)
{
    struct th_str target = op->x.target_text;
    if (target.len == 0 || target.data[0] != '/') {
        return target;
    }
    return th_arena_format(&op->x.arena, "%.*s%.*s", TH_PRI(op->origin), TH_PRI(target));
}

static void answer_status(struct th_operation *op, const struct th_instance_info *info)
{
    int code = status_code(op, info->status);
    op->x.answer.len = 0;
    th_document_status(&op->x.answer, info, &op->form, op->reply.history, op->reply.history_count);
    if (code == 202) {
        th_answer_header(&op->x, "Location", own_url(op));
        answer_retry_after(op, STATUS_RETRY_SECONDS);
    }
    th_answer_built(&op->x, code, TH_JSON_TYPE);
}

/* The reply's instance; NULL (answered): there is none. Clients expect a bare 404. */
static const struct th_instance_info *replied_instance(struct th_operation *op)
{
    bool entity = op->reply.info_count > 0 && op->reply.infos[0].status == TH_STATUS_ENTITY;
    if (op->reply.error.code == TH_NOT_FOUND || entity) {
        th_answer_empty(&op->x, 404);
        return NULL;
    }
    if (op->reply.error.code != TH_OK) {
        th_operation_refuse_error(op, &op->reply.error);
        return NULL;
    }
    if (op->reply.info_count == 0) {
        th_operation_refuse(op, 500, "the hub answered without an instance");
        return NULL;
    }
    return &op->reply.infos[0];
}

static enum th_step after_status(struct th_operation *op)
{
    const struct th_instance_info *info = replied_instance(op);
    if (info) {
        answer_status(op, info);
    }
    return TH_STEP_DONE;
}

static enum th_step ask_status(struct th_operation *op, step_fn *next)
{
    op->command = (struct th_command){.payloads = true, .history = op->form.history};
    return submit(op, TH_COMMAND_STATUS, next);
}

static enum th_step begin_status(struct th_operation *op)
{
    parse_form(op);
    return ask_status(op, after_status);
}

static enum th_step after_history(struct th_operation *op)
{
    if (!replied_instance(op)) {
        return TH_STEP_DONE;
    }
    json_t *events = th_history_to_json(op->reply.history, op->reply.history_count);
    char *text = events ? json_dumps(events, JSON_COMPACT) : NULL;
    json_decref(events);
    if (!text) {
        return th_operation_refuse(op, 500, "the history cannot be shown as JSON");
    }
    th_answer(&op->x, 200, TH_JSON_TYPE, th_str_of(text));
    free(text);
    return TH_STEP_DONE;
}

static enum th_step begin_history(struct th_operation *op)
{
    op->command = (struct th_command){.history = true};
    return submit(op, TH_COMMAND_STATUS, after_history);
}

/* ---- waiting ------------------------------------------------------------------------------- */

static enum th_step ask_wait(struct th_operation *op, bool until_started, step_fn *next)
{
    op->command = (struct th_command){
        .payloads = true, .deadline = op->deadline, .until_started = until_started};
    return submit(op, TH_COMMAND_WAIT, next);
}

static enum th_step after_wait(struct th_operation *op)
{
    if (op->reply.error.code == TH_TIMEOUT) {
        return ask_status(op, after_status);
    }
    return after_status(op);
}

static bool started(enum th_status status)
{
    return status != TH_STATUS_PENDING;
}

/* An instance that was started is always known, so an unknown one is not waited for. */
static enum th_step after_first_look(struct th_operation *op)
{
    bool until_started = th_exchange_flag(&op->x, "started", false);
    const struct th_instance_info *info = replied_instance(op);
    if (!info) {
        return TH_STEP_DONE;
    }
    if (th_status_terminal(info->status) || (until_started && started(info->status))) {
        answer_status(op, info);
        return TH_STEP_DONE;
    }
    return ask_wait(op, until_started, after_wait);
}

static enum th_step begin_wait(struct th_operation *op)
{
    double seconds = WAIT_MOST_SECONDS;
    if (!parse_seconds(op, "timeout", &seconds)) {
        return TH_STEP_DONE;
    }
    parse_form(op);
    op->form.history = false;
    op->deadline = th_now() + (th_time)(seconds * (double)TH_SECOND);
    return ask_status(op, after_first_look);
}

/* ---- check status, with or without waiting ------------------------------------------------- */

void th_answer_check_status(struct th_operation *op, struct th_str instance_id)
{
    struct th_links links = th_operation_links(op);
    TH_BUFFER location = {0};
    th_document_status_url(&location, &links, instance_id);
    th_answer_header(&op->x, "Location", th_buffer_view(&location));
    answer_retry_after(op, START_RETRY_SECONDS);
    op->x.answer.len = 0;
    th_document_check_status(&op->x.answer, &links, instance_id);
    th_answer_built(&op->x, 202, TH_JSON_TYPE);
}

static enum th_step after_sync_wait(struct th_operation *op)
{
    if (op->reply.error.code != TH_OK || op->reply.info_count == 0) {
        /* The instance runs on: whatever kept us from seeing its end, the caller can look. */
        th_answer_check_status(op, op->instance_id);
        return TH_STEP_DONE;
    }
    const struct th_instance_info *info = &op->reply.infos[0];
    if (info->status != TH_STATUS_COMPLETED) {
        answer_status(op, info);
        return TH_STEP_DONE;
    }
    op->x.answer.len = 0;
    th_json_put_payload(&op->x.answer, info->output);
    th_answer_built(&op->x, 200, TH_JSON_TYPE);
    return TH_STEP_DONE;
}

/* timeout and pollingInterval together ask for a synchronous answer. */
static bool parse_sync(struct th_operation *op)
{
    double timeout = -1, interval = -1;
    if (!parse_seconds(op, "timeout", &timeout) ||
        !parse_seconds(op, "pollingInterval", &interval)) {
        return false;
    }
    if (timeout < 0 || interval < 0) {
        return true;
    }
    if (interval > timeout) {
        th_operation_refuse(op, 400, "'timeout' must be at least as long as 'pollingInterval'");
        return false;
    }
    op->waits = true;
    op->deadline = th_now() + (th_time)(timeout * (double)TH_SECOND);
    return true;
}

static enum th_step answer_started(struct th_operation *op)
{
    op->instance_id = op->reply.instance_id;
    if (op->waits) {
        op->form = (struct th_status_form){.input = true};
        return ask_wait(op, false, after_sync_wait);
    }
    th_answer_check_status(op, op->instance_id);
    return TH_STEP_DONE;
}

/* ---- start --------------------------------------------------------------------------------- */

static bool known_orchestrator(struct th_operation *op, struct th_str name)
{
    const struct th_app *app = op->api->options.app;
    if (!app || op->api->options.any_orchestrator || th_app_orchestrator(app, name)) {
        return true;
    }
    char *names = th_app_orchestrator_names(app);
    th_operation_refuse(
        op, 400,
        th_arena_format(&op->x.arena,
                        "The function '%.*s' doesn't exist or is not an orchestrator function. "
                        "The orchestrator functions here are: %s",
                        TH_PRI(name), names && *names ? names : "(none)")
            .data);
    free(names);
    return false;
}

static struct th_str version_of_start(const struct th_operation *op)
{
    struct th_str version = query(op, "version");
    return version.len ? version : th_str_of(op->api->options.default_version);
}

static enum th_step after_start(struct th_operation *op)
{
    return op->reply.error.code == TH_OK ? answer_started(op)
                                         : th_operation_refuse_error(op, &op->reply.error);
}

static bool check_start(struct th_operation *op, struct th_str name)
{
    struct th_error error;
    if (!th_function_name_check(name, &error) ||
        (th_str_present(op->instance_id) && !th_instance_id_check(op->instance_id, &error))) {
        th_operation_refuse_error(op, &error);
        return false;
    }
    if (op->x.body.len && !th_json_valid(th_exchange_body(&op->x))) {
        th_operation_refuse(op, 400, "Invalid JSON content");
        return false;
    }
    return known_orchestrator(op, name);
}

static enum th_step begin_start(struct th_operation *op)
{
    struct th_str name = param(op, "name");
    th_time start_at = TH_TIME_NONE;
    op->instance_id = param(op, "id");
    op->fail_with_500 = th_exchange_flag(&op->x, "returnInternalServerErrorOnFailure", false);
    if (!check_start(op, name) || !parse_sync(op) || !th_operation_time(op, "startAt", &start_at)) {
        return TH_STEP_DONE;
    }
    op->command = (struct th_command){
        .name = name,
        .version = version_of_start(op),
        .data = th_exchange_body(&op->x),
        .trace = th_exchange_header(&op->x, "traceparent"),
        .start_at = start_at,
        .reuse = op->api->options.reuse,
    };
    return submit(op, TH_COMMAND_START, after_start);
}

static enum th_step after_restart(struct th_operation *op)
{
    switch (op->reply.error.code) {
    case TH_OK:
        return answer_started(op);
    case TH_NOT_FOUND:
        return th_operation_refuse(op, 400,
                                   "InstanceId does not match a valid orchestration instance.");
    case TH_PRECONDITION:
        return th_operation_refuse(op, 409, op->reply.error.message);
    default:
        return th_operation_refuse_error(op, &op->reply.error);
    }
}

static enum th_step begin_restart(struct th_operation *op)
{
    if (!parse_sync(op)) {
        return TH_STEP_DONE;
    }
    op->command =
        (struct th_command){.new_id = th_exchange_flag(&op->x, "restartWithNewInstanceId", true)};
    return submit(op, TH_COMMAND_RESTART, after_restart);
}

/* ---- messages to an instance --------------------------------------------------------------- */

static enum th_step after_message(struct th_operation *op)
{
    return op->reply.error.code == TH_OK ? accepted(op)
                                         : th_operation_refuse_error(op, &op->reply.error);
}

static enum th_step begin_raise(struct th_operation *op)
{
    struct th_error error;
    struct th_str name = param(op, "event");
    if (!th_exchange_is_type(&op->x, "application/json")) {
        return th_operation_refuse(op, 400, "Only application/json request content is supported");
    }
    if (op->x.body.len && !th_json_valid(th_exchange_body(&op->x))) {
        return th_operation_refuse(op, 400, "Invalid JSON content");
    }
    if (!th_event_name_check(name, &error)) {
        return th_operation_refuse_error(op, &error);
    }
    op->command = (struct th_command){.name = name, .data = th_exchange_body(&op->x)};
    return submit(op, TH_COMMAND_RAISE, after_message);
}

/* The reason becomes the instance's output, which is JSON. */
static enum th_step begin_terminate(struct th_operation *op)
{
    op->command = (struct th_command){
        .data = json_literal(op, query(op, "reason")),
        .recursive = th_exchange_flag(&op->x, "recursive", false),
    };
    return submit(op, TH_COMMAND_TERMINATE, after_message);
}

static enum th_step begin_suspend(struct th_operation *op)
{
    op->command = (struct th_command){.reason = query(op, "reason")};
    return submit(op, TH_COMMAND_SUSPEND, after_message);
}

static enum th_step begin_resume(struct th_operation *op)
{
    op->command = (struct th_command){.reason = query(op, "reason")};
    return submit(op, TH_COMMAND_RESUME, after_message);
}

/* Clients show the body of a refused rewind as it is: a JSON string rather than a document. */
static enum th_step refuse_rewind(struct th_operation *op, int status, struct th_str message)
{
    op->x.answer.len = 0;
    th_json_put_string(&op->x.answer, message);
    th_answer_built(&op->x, status, TH_JSON_TYPE);
    return TH_STEP_DONE;
}

/* An instance that ended well is "gone"; one that still runs has not failed yet. */
static enum th_step after_rewind_look(struct th_operation *op)
{
    bool ended = op->reply.error.code == TH_OK && op->reply.info_count &&
                 th_status_terminal(op->reply.infos[0].status);
    return refuse_rewind(op, ended ? 410 : 412, th_str_of(op->failure.message));
}

static enum th_step after_rewind(struct th_operation *op)
{
    if (op->reply.error.code == TH_NOT_FOUND) {
        return refuse_rewind(op, 404, th_str_of(op->reply.error.message));
    }
    if (op->reply.error.code != TH_PRECONDITION) {
        return after_message(op);
    }
    op->failure = op->reply.error;
    op->command = (struct th_command){0};
    return submit(op, TH_COMMAND_STATUS, after_rewind_look);
}

static enum th_step begin_rewind(struct th_operation *op)
{
    op->command = (struct th_command){.reason = query(op, "reason")};
    return submit(op, TH_COMMAND_REWIND, after_rewind);
}

/* ---- lists --------------------------------------------------------------------------------- */

/* Continuations are bytes; in a header they travel as hexadecimal digits. */
static struct th_str to_hex(struct th_operation *op, struct th_str bytes)
{
    static const char digits[] = "0123456789abcdef";
    char *text = th_arena_alloc(&op->x.arena, bytes.len * 2 + 1);
    for (size_t i = 0; i < bytes.len; i++) {
        text[2 * i] = digits[(unsigned char)bytes.data[i] >> 4];
        text[2 * i + 1] = digits[(unsigned char)bytes.data[i] & 15];
    }
    return th_str_n(text, bytes.len * 2);
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *found = memchr(digits, c, 16);
    return found ? (int)(found - digits) : -1;
}

static bool from_hex(struct th_operation *op, struct th_str text, struct th_str *out)
{
    char *bytes = th_arena_alloc(&op->x.arena, text.len / 2 + 1);
    for (size_t i = 0; i + 1 < text.len; i += 2) {
        int high = hex_digit(text.data[i]), low = hex_digit(text.data[i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        bytes[i / 2] = (char)(high << 4 | low);
    }
    *out = th_str_n(bytes, text.len / 2);
    return text.len % 2 == 0;
}

void th_operation_answer_continuation(struct th_operation *op)
{
    if (op->reply.continuation.len) {
        th_answer_header(&op->x, "x-ms-continuation-token", to_hex(op, op->reply.continuation));
    }
}

static enum th_step after_list(struct th_operation *op)
{
    if (op->reply.error.code != TH_OK) {
        return th_operation_refuse_error(op, &op->reply.error);
    }
    op->x.answer.len = 0;
    th_buffer_text(&op->x.answer, "[");
    for (size_t i = 0; i < op->reply.info_count; i++) {
        th_buffer_text(&op->x.answer, i ? "," : "");
        th_document_status(&op->x.answer, &op->reply.infos[i], &op->form, NULL, 0);
    }
    th_buffer_text(&op->x.answer, "]");
    th_operation_answer_continuation(op);
    th_answer_built(&op->x, 200, TH_JSON_TYPE);
    return TH_STEP_DONE;
}

static bool parse_range(struct th_operation *op, struct th_query *out)
{
    out->from = out->to = out->completed_from = out->completed_to = TH_TIME_NONE;
    return th_operation_time(op, "createdTimeFrom", &out->from) &&
           th_operation_time(op, "createdTimeTo", &out->to) && parse_statuses(op, &out->statuses);
}

bool th_operation_page(struct th_operation *op, struct th_query *out)
{
    struct th_str top = query(op, "top");
    struct th_str token = th_exchange_header(&op->x, "x-ms-continuation-token");
    long long rows = ROWS_DEFAULT;
    if (top.len && (!th_str_to_i64(top, &rows) || rows < 0)) {
        th_operation_refuse(op, 400, "'top' is no number of rows");
        return false;
    }
    rows = rows == 0 ? ROWS_DEFAULT : rows;
    out->limit = (uint32_t)(rows < ROWS_MOST ? rows : ROWS_MOST);
    if (token.len && !from_hex(op, token, &out->continuation)) {
        th_operation_refuse(op, 400, "'x-ms-continuation-token' is not one that this hub gave");
        return false;
    }
    return true;
}

static enum th_step begin_list(struct th_operation *op)
{
    op->command = (struct th_command){.payloads = true};
    struct th_query *wanted = &op->command.query;
    if (!parse_range(op, wanted) || !th_operation_page(op, wanted)) {
        return TH_STEP_DONE;
    }
    parse_form(op);
    op->form.history = false;
    struct th_str prefix = query(op, "instanceIdPrefix"), name = query(op, "name");
    wanted->id_prefix = prefix.len ? prefix : TH_STR_ABSENT;
    wanted->name = name.len ? name : TH_STR_ABSENT;
    wanted->payloads = true;
    return submit(op, TH_COMMAND_QUERY, after_list);
}

/* ---- purge --------------------------------------------------------------------------------- */

static enum th_step answer_purged(struct th_operation *op, uint64_t count)
{
    th_answer(
        &op->x, count ? 200 : 404, TH_JSON_TYPE,
        th_arena_format(&op->x.arena, "{\"instancesDeleted\":%llu}", (unsigned long long)count));
    return TH_STEP_DONE;
}

static enum th_step after_purge(struct th_operation *op)
{
    enum th_code code = op->reply.error.code;
    if (code != TH_OK && code != TH_NOT_FOUND) {
        return th_operation_refuse_error(op, &op->reply.error);
    }
    return answer_purged(op, code == TH_OK ? op->reply.count : 0);
}

static enum th_step begin_purge(struct th_operation *op)
{
    op->command = (struct th_command){.recursive = th_exchange_flag(&op->x, "recursive", false)};
    return submit(op, TH_COMMAND_PURGE, after_purge);
}

static enum th_step begin_purge_by(struct th_operation *op)
{
    struct th_query wanted = {0};
    if (!query(op, "createdTimeFrom").len) {
        return th_operation_refuse(op, 400,
                                   "Please provide value for 'createdTimeFrom' parameter.");
    }
    if (!parse_range(op, &wanted)) {
        return TH_STEP_DONE;
    }
    /* Only what has ended can be purged; zero would mean "any". */
    wanted.statuses = wanted.statuses ? wanted.statuses & TH_REUSE_TERMINAL : TH_REUSE_TERMINAL;
    if (!wanted.statuses) {
        return answer_purged(op, 0);
    }
    op->command = (struct th_command){.query = wanted,
                                      .recursive = th_exchange_flag(&op->x, "recursive", false)};
    return submit(op, TH_COMMAND_PURGE_BY, after_purge);
}

/* ---- what belongs to no instance ------------------------------------------------------------ */

static enum th_step begin_binding(struct th_operation *op)
{
    struct th_links links = th_operation_links(op);
    op->x.answer.len = 0;
    th_document_binding(&op->x.answer, &links);
    th_answer_built(&op->x, 200, TH_JSON_TYPE);
    return TH_STEP_DONE;
}

/* Every hub here is its only copy, so it is primary already. */
static enum th_step begin_make_primary(struct th_operation *op)
{
    th_answer_empty(&op->x, 200);
    return TH_STEP_DONE;
}

/* ---- routing ------------------------------------------------------------------------------- */

static const struct endpoint {
    const char *method, *pattern;
    step_fn *begin;
} endpoints[] = {
    {"GET", "instances/{id}", begin_status},
    {"POST", "orchestrators/{name}/{id?}", begin_start},
    {"GET", "instances", begin_list},
    {"DELETE", "instances/{id}", begin_purge},
    {"DELETE", "instances", begin_purge_by},
    {"POST", "instances/{id}/raiseEvent/{event}", begin_raise},
    {"POST", "instances/{id}/terminate", begin_terminate},
    {"POST", "instances/{id}/suspend", begin_suspend},
    {"POST", "instances/{id}/resume", begin_resume},
    {"POST", "instances/{id}/rewind", begin_rewind},
    {"POST", "instances/{id}/restart", begin_restart},
    {"GET", "instances/{id}/history", begin_history},
    {"GET", "instances/{id}/wait", begin_wait},
    {"GET", "entities/{name}/{key}", th_entities_read},
    {"POST", "entities/{name}/{key}", th_entities_signal},
    {"DELETE", "entities/{name}/{key}", th_entities_delete},
    {"GET", "entities/{name?}", th_entities_list},
    {"POST", "makeprimary", begin_make_primary},
    {"GET", "binding", begin_binding},
    {"GET", "hub", th_report_hub},
    {"GET", "lag", th_report_lag},
    {"GET", "hubs", th_hubs_list},
    {"POST", "hubs/{hub?}", th_hubs_create},
    {"GET", "hubs/{hub}", th_hubs_show},
    {"DELETE", "hubs/{hub}", th_hubs_remove},
};

static const struct endpoint *find_endpoint(struct th_operation *op, size_t first)
{
    for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++) {
        op->params.count = 0;
        if (th_route_allows(endpoints[i].method, op->x.method) &&
            th_route_match(endpoints[i].pattern, &op->x.target, first, &op->x.arena, &op->params)) {
            return &endpoints[i];
        }
    }
    return NULL;
}

/* A client may name the hub it means; this server serves one. */
static bool right_hub(struct th_operation *op)
{
    struct th_str wanted = query(op, "taskHub");
    struct th_str here = th_str_of(op->api->options.gateway->hub->name);
    if (wanted.len == 0 || th_str_eq_nocase(wanted, here)) {
        return true;
    }
    th_operation_refuse(
        op, 404,
        th_arena_format(&op->x.arena,
                        "this server serves the task hub '%.*s', not '%.*s' (the query "
                        "parameter 'taskHub')",
                        TH_PRI(here), TH_PRI(wanted))
            .data);
    return false;
}

enum th_step th_management_begin(struct th_operation *op, size_t first)
{
    if (!right_hub(op)) {
        return TH_STEP_DONE;
    }
    const struct endpoint *endpoint = find_endpoint(op, first);
    if (!endpoint) {
        return th_operation_refuse(op, 404,
                                   th_arena_format(&op->x.arena, "there is no operation %.*s %.*s",
                                                   TH_PRI(op->x.method), TH_PRI(op->x.target.path))
                                       .data);
    }
    struct th_str id = param(op, "id");
    op->instance_id = th_str_present(id) ? id : TH_STR_ABSENT;
    return endpoint->begin(op);
}
