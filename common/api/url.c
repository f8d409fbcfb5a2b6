#include "api/url.h"

#include "model/name.h"

void th_pairs_add(struct th_pairs *pairs, struct th_arena *arena, struct th_str name,
                  struct th_str value)
{
    if (pairs->count == pairs->capacity) {
        size_t capacity = pairs->capacity ? pairs->capacity * 2 : 8;
        struct th_pair *items = TH_ARENA_ARRAY(arena, struct th_pair, capacity);
        if (pairs->count) {
            memcpy(items, pairs->items, pairs->count * sizeof(*items));
        }
        pairs->items = items;
        pairs->capacity = capacity;
    }
    pairs->items[pairs->count++] = (struct th_pair){name, value};
}

struct th_str th_pairs_get(const struct th_pairs *pairs, const char *name)
{
    struct th_str wanted = th_str_of(name);
    for (size_t i = 0; i < pairs->count; i++) {
        if (th_str_eq_nocase(pairs->items[i].name, wanted)) {
            return pairs->items[i].value;
        }
    }
    return TH_STR_ABSENT;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The byte that the escape at `i` stands for; -1 when there is no escape. */
static int escape_at(struct th_str text, size_t i)
{
    if (text.data[i] != '%' || text.len - i < 3) {
        return -1;
    }
    int high = hex_value(text.data[i + 1]), low = hex_value(text.data[i + 2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static bool decode(struct th_str text, bool plus_is_space, struct th_arena *arena,
                   struct th_str *out, struct th_error *error)
{
    char *copy = th_arena_alloc(arena, text.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        int byte = escape_at(text, i);
        if (byte >= 0) {
            i += 2;
        } else {
            byte = plus_is_space && text.data[i] == '+' ? ' ' : text.data[i];
        }
        copy[len++] = (char)byte;
    }
    *out = th_str_n(copy, len);
    if (memchr(copy, '\0', len)) {
        return th_fail(error, TH_INVALID, "the URL holds a NUL byte (%%00)");
    }
    if (!th_utf8_valid(*out)) {
        return th_fail(error, TH_INVALID, "the URL is no UTF-8 text when decoded");
    }
    return true;
}

/* Takes off what stands before the separator, and the separator. */
static struct th_str cut(struct th_str *rest, char separator)
{
    const char *found = rest->len ? memchr(rest->data, separator, rest->len) : NULL;
    struct th_str part = *rest;
    if (found) {
        part.len = (size_t)(found - rest->data);
        *rest = th_str_n(found + 1, rest->len - part.len - 1);
    } else {
        *rest = TH_STR_ABSENT;
    }
    return part;
}

static bool parse_segments(struct th_str path, struct th_arena *arena, struct th_target *out,
                           struct th_error *error)
{
    out->segments = TH_ARENA_ARRAY(arena, struct th_str, TH_TARGET_SEGMENTS);
    for (struct th_str rest = path; th_str_present(rest);) {
        struct th_str part = cut(&rest, '/');
        if (part.len == 0) {
            continue;
        }
        if (out->segment_count == TH_TARGET_SEGMENTS) {
            return th_fail(error, TH_INVALID, "the path has more than %d segments",
                           TH_TARGET_SEGMENTS);
        }
        if (!decode(part, false, arena, &out->segments[out->segment_count++], error)) {
            return false;
        }
    }
    return true;
}

static bool parse_query(struct th_str query, struct th_arena *arena, struct th_target *out,
                        struct th_error *error)
{
    for (struct th_str rest = query; th_str_present(rest);) {
        struct th_str value = cut(&rest, '&');
        if (value.len == 0) {
            continue;
        }
        if (out->query.count == TH_TARGET_PAIRS) {
            return th_fail(error, TH_INVALID, "the query has more than %d parameters",
                           TH_TARGET_PAIRS);
        }
        struct th_str name = cut(&value, '='), decoded_name, decoded_value = TH_STR("");
        if (!decode(name, true, arena, &decoded_name, error) ||
            (th_str_present(value) && !decode(value, true, arena, &decoded_value, error))) {
            return false;
        }
        th_pairs_add(&out->query, arena, decoded_name, decoded_value);
    }
    return true;
}

/* "http://host/path": proxies may ask in this form. */
static struct th_str without_origin(struct th_str text)
{
    struct th_str scheme = TH_STR("http://");
    if (text.len < scheme.len || !th_str_eq_nocase(th_str_n(text.data, scheme.len), scheme)) {
        return text;
    }
    struct th_str rest = th_str_n(text.data + scheme.len, text.len - scheme.len);
    const char *slash = memchr(rest.data, '/', rest.len);
    return slash ? th_str_n(slash, (size_t)(rest.data + rest.len - slash)) : TH_STR("/");
}

bool th_target_parse(struct th_str text, struct th_arena *arena, struct th_target *out,
                     struct th_error *error)
{
    *out = (struct th_target){0};
    struct th_str rest = without_origin(text);
    struct th_str path = cut(&rest, '?');
    out->path = th_arena_str(arena, path);
    return parse_segments(path, arena, out, error) && parse_query(rest, arena, out, error);
}

static bool unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void th_url_put_encoded(struct th_buffer *out, struct th_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (unreserved(text.data[i])) {
            th_buffer_add(out, &text.data[i], 1);
        } else {
            th_buffer_format(out, "%%%02X", (unsigned char)text.data[i]);
        }
    }
}
