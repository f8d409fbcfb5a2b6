#include "api/exchange.h"

#include <unistd.h>

#include "api/text.h"

void th_exchange_init(struct th_exchange *x, struct th_str method, struct th_str target)
{
    *x = (struct th_exchange){.file = -1};
    x->method = th_arena_str(&x->arena, method);
    x->target_text = th_arena_str(&x->arena, target);
    if (th_str_present(target)) {
        th_target_parse(target, &x->arena, &x->target, &x->refused);
    }
}

static void drop_answer(struct th_exchange *x)
{
    if (x->file >= 0) {
        close(x->file);
        x->file = -1;
    }
}

void th_exchange_deinit(struct th_exchange *x)
{
    drop_answer(x);
    th_buffer_deinit(&x->answer);
    th_buffer_deinit(&x->body);
    th_arena_deinit(&x->arena);
}

struct th_str th_exchange_query(const struct th_exchange *x, const char *name)
{
    return th_pairs_get(&x->target.query, name);
}

bool th_exchange_flag(const struct th_exchange *x, const char *name, bool otherwise)
{
    struct th_str value = th_exchange_query(x, name);
    if (!th_str_present(value)) {
        return otherwise;
    }
    if (value.len == 0 || th_str_eq(value, TH_STR("1")) ||
        th_str_eq_nocase(value, TH_STR("true"))) {
        return true;
    }
    bool no = th_str_eq(value, TH_STR("0")) || th_str_eq_nocase(value, TH_STR("false"));
    return no ? false : otherwise;
}

struct th_str th_exchange_header(const struct th_exchange *x, const char *name)
{
    return th_pairs_get(&x->headers, name);
}

bool th_exchange_is_type(const struct th_exchange *x, const char *type)
{
    struct th_str given = th_exchange_header(x, "Content-Type");
    size_t len = 0;
    while (len < given.len && given.data[len] != ';' && given.data[len] != ' ') {
        len++;
    }
    return th_str_eq_nocase(th_str_n(given.data, len), th_str_of(type));
}

struct th_str th_exchange_body(const struct th_exchange *x)
{
    return x->body.len ? th_buffer_view(&x->body) : TH_STR_ABSENT;
}

void th_answer_header(struct th_exchange *x, const char *name, struct th_str value)
{
    struct th_str key = th_str_of(name), copy = th_arena_str(&x->arena, value);
    for (size_t i = 0; i < x->answer_headers.count; i++) {
        if (th_str_eq_nocase(x->answer_headers.items[i].name, key)) {
            x->answer_headers.items[i].value = copy;
            return;
        }
    }
    th_pairs_add(&x->answer_headers, &x->arena, th_arena_str(&x->arena, key), copy);
}

void th_answer_built(struct th_exchange *x, int status, const char *content_type)
{
    drop_answer(x);
    x->status = status;
    if (content_type) {
        th_answer_header(x, "Content-Type", th_str_of(content_type));
    }
}

void th_answer(struct th_exchange *x, int status, const char *content_type, struct th_str body)
{
    x->answer.len = 0;
    th_buffer_str(&x->answer, body);
    th_answer_built(x, status, content_type);
}

void th_answer_empty(struct th_exchange *x, int status)
{
    th_answer(x, status, NULL, TH_STR_ABSENT);
}

void th_answer_failure(struct th_exchange *x, int status, struct th_str message)
{
    x->answer.len = 0;
    th_buffer_text(&x->answer, "{\"Message\":");
    th_json_put_string(&x->answer, message);
    th_buffer_text(&x->answer, ",\"ExceptionMessage\":");
    th_json_put_string(&x->answer, message);
    th_buffer_text(&x->answer, "}");
    th_answer_built(x, status, TH_JSON_TYPE);
}

void th_answer_error(struct th_exchange *x, const struct th_error *error)
{
    int status = th_code_http(error->code);
    const char *message = error->message[0] ? error->message : th_code_text(error->code);
    if (status == 503) {
        th_answer_header(x, "Retry-After", TH_STR("1"));
    }
    th_answer_failure(x, status, th_str_of(message));
}

void th_answer_file(struct th_exchange *x, int file, size_t bytes, const char *content_type)
{
    th_answer(x, 200, content_type, TH_STR_ABSENT);
    x->file = file;
    x->file_bytes = bytes;
}
