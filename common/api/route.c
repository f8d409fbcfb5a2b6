#include "api/route.h"

struct parameter {
    struct th_str name;
    bool optional, rest;
};

static struct th_str next_part(struct th_str *pattern)
{
    while (pattern->len && pattern->data[0] == '/') {
        *pattern = th_str_n(pattern->data + 1, pattern->len - 1);
    }
    size_t len = 0;
    while (len < pattern->len && pattern->data[len] != '/') {
        len++;
    }
    struct th_str part = th_str_n(pattern->data, len);
    *pattern = th_str_n(pattern->data + len, pattern->len - len);
    return part;
}

static bool parse_parameter(struct th_str part, struct parameter *out)
{
    if (part.len < 3 || part.data[0] != '{' || part.data[part.len - 1] != '}') {
        return false;
    }
    struct th_str name = th_str_n(part.data + 1, part.len - 2);
    *out = (struct parameter){0};
    if (name.data[0] == '*') {
        out->rest = true;
        name = th_str_n(name.data + 1, name.len - 1);
    }
    if (name.len && name.data[name.len - 1] == '?') {
        out->optional = true;
        name.len--;
    }
    const char *constraint = name.len ? memchr(name.data, ':', name.len) : NULL;
    if (constraint) {
        name.len = (size_t)(constraint - name.data);
    }
    out->name = name;
    return true;
}

static struct th_str join_rest(const struct th_target *target, size_t from, struct th_arena *arena)
{
    TH_BUFFER joined = {0};
    for (size_t i = from; i < target->segment_count; i++) {
        th_buffer_text(&joined, i > from ? "/" : "");
        th_buffer_str(&joined, target->segments[i]);
    }
    return th_arena_str(arena, th_buffer_view(&joined));
}

static void capture(struct th_pairs *params, struct th_arena *arena, struct th_str name,
                    struct th_str value)
{
    if (params) {
        th_pairs_add(params, arena, th_arena_str(arena, name), value);
    }
}

bool th_route_match(const char *pattern, const struct th_target *target, size_t first,
                    struct th_arena *arena, struct th_pairs *params)
{
    struct th_str rest = th_str_of(pattern);
    size_t at = first;
    for (;;) {
        struct th_str part = next_part(&rest);
        struct parameter parameter;
        if (part.len == 0) {
            return at == target->segment_count;
        }
        bool captures = parse_parameter(part, &parameter);
        if (captures && parameter.rest) {
            capture(params, arena, parameter.name, join_rest(target, at, arena));
            return true;
        }
        if (at == target->segment_count) {
            return captures && parameter.optional;
        }
        if (captures) {
            capture(params, arena, parameter.name, target->segments[at]);
        } else if (!th_str_eq_nocase(part, target->segments[at])) {
            return false;
        }
        at++;
    }
}

bool th_route_allows(const char *methods, struct th_str method)
{
    const char *at = methods;
    if (!*at) {
        return true;
    }
    while (*at) {
        size_t len = strcspn(at, ", ");
        if (len && th_str_eq_nocase(th_str_n(at, len), method)) {
            return true;
        }
        at += len + (at[len] != '\0');
    }
    return false;
}
