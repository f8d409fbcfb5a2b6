#include "model/name.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static bool letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

/* ---- UTF-8 ---- */

static bool continuation(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

size_t th_utf8_character(struct th_str s)
{
    const uint8_t *p = (const uint8_t *)s.data;
    if (p[0] < 0x80) {
        return 1;
    }
    size_t len = p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    if (len == 0 || len > s.len) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if (!continuation(p[i])) {
            return 0;
        }
    }
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool surrogate = p[0] == 0xed && p[1] >= 0xa0;
    bool too_high = p[0] == 0xf4 && p[1] >= 0x90;
    return overlong || surrogate || too_high ? 0 : len;
}

bool th_utf8_valid(struct th_str s)
{
    while (s.len > 0) {
        size_t len = th_utf8_character(s);
        if (len == 0) {
            return false;
        }
        s = (struct th_str){s.data + len, s.len - len};
    }
    return true;
}

/* C0, DEL and C1. */
static bool has_control(struct th_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t byte = (uint8_t)s.data[i];
        bool c1 = byte == 0xc2 && i + 1 < s.len && (uint8_t)s.data[i + 1] < 0xa0;
        if (byte < 0x20 || byte == 0x7f || c1) {
            return true;
        }
    }
    return false;
}

/* ---- names ---- */

/* Such a text can neither be shown nor put into an error message as it is. */
static bool printable(const char *what, struct th_str s, size_t longest, struct th_error *error)
{
    if (s.len == 0) {
        return th_fail(error, TH_INVALID, "%s must not be empty", what);
    }
    if (s.len > longest) {
        return th_fail(error, TH_INVALID, "%s has %zu bytes, %zu are allowed", what, s.len,
                       longest);
    }
    if (!th_utf8_valid(s)) {
        return th_fail(error, TH_INVALID, "%s must be UTF-8", what);
    }
    if (has_control(s)) {
        return th_fail(error, TH_INVALID, "%s must not hold control characters", what);
    }
    return true;
}

/* Clients resolve "." and ".." in a path before they send it. */
static bool no_folder(const char *what, struct th_str s, struct th_error *error)
{
    if (th_str_eq(s, TH_STR(".")) || th_str_eq(s, TH_STR(".."))) {
        return th_fail(error, TH_INVALID, "%s must not be \"%.*s\", which means a folder in URLs",
                       what, TH_PRI(s));
    }
    return true;
}

static bool path_safe(const char *what, struct th_str s, struct th_error *error)
{
    if (!no_folder(what, s, error)) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        if (c == '/' || c == '\\' || c == '#' || c == '?') {
            return th_fail(error, TH_INVALID, "%s \"%.*s\" must not hold '%c'", what, TH_PRI(s), c);
        }
    }
    return true;
}

/* At most 100 bytes of a text, ending with a whole character. */
static struct th_str shortened(struct th_str s)
{
    size_t len = s.len > 100 ? 100 : s.len;
    while (len < s.len && continuation((uint8_t)s.data[len])) {
        len--;
    }
    return (struct th_str){s.data, len};
}

bool th_hub_name_check(struct th_str name, struct th_error *error)
{
    if (!printable("hub name", name, 4096, error)) {
        return false;
    }
    struct th_str shown = shortened(name);
    if (!letter(name.data[0])) {
        return th_fail(error, TH_INVALID, "hub name \"%.*s\" must start with a letter",
                       TH_PRI(shown));
    }
    for (size_t i = 0; i < name.len; i++) {
        if (!letter(name.data[i]) && !digit(name.data[i])) {
            return th_fail(error, TH_INVALID, "hub name \"%.*s\" must hold only letters and digits",
                           TH_PRI(shown));
        }
    }
    if (name.len < TH_HUB_NAME_MIN || name.len > TH_HUB_NAME_MAX) {
        return th_fail(error, TH_INVALID, "hub name \"%.*s\" must have %d to %d characters",
                       TH_PRI(shown), TH_HUB_NAME_MIN, TH_HUB_NAME_MAX);
    }
    return true;
}

static bool has_hub(const struct th_hub_names *names, struct th_str name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (th_str_eq_nocase(th_str_of(names->names[i]), name)) {
            return true;
        }
    }
    return false;
}

static bool add_hub(struct th_hub_names *names, struct th_str name, struct th_error *error)
{
    if (!th_hub_name_check(name, error)) {
        return false;
    }
    if (has_hub(names, name)) {
        return th_fail(error, TH_INVALID, "hub \"%.*s\" is named twice", TH_PRI(name));
    }
    if (names->count == TH_HUBS_MAX) {
        return th_fail(error, TH_INVALID, "a program serves at most %d hubs", TH_HUBS_MAX);
    }
    names->names[names->count++] = th_str_dup(name);
    return true;
}

bool th_hub_names_parse(struct th_hub_names *out, struct th_str list, struct th_error *error)
{
    *out = (struct th_hub_names){.count = 0};
    for (;;) {
        const char *comma = list.len > 0 ? memchr(list.data, ',', list.len) : NULL;
        size_t len = comma ? (size_t)(comma - list.data) : list.len;
        if (!add_hub(out, th_str_n(list.data, len), error)) {
            return false;
        }
        if (!comma) {
            return true;
        }
        list = th_str_n(comma + 1, list.len - len - 1);
    }
}

void th_hub_names_deinit(struct th_hub_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->names[i]);
    }
    *names = (struct th_hub_names){.count = 0};
}

bool th_instance_id_check_any(struct th_str id, struct th_error *error)
{
    if (!printable("instance id", id, TH_INSTANCE_ID_MAX, error)) {
        return false;
    }
    if (id.data[0] == '@') {
        return th_fail(error, TH_INVALID,
                       "instance id \"%.*s\" must not start with '@', as the ids of entities do",
                       TH_PRI(id));
    }
    return no_folder("instance id", id, error);
}

bool th_instance_id_check(struct th_str id, struct th_error *error)
{
    return th_instance_id_check_any(id, error) && path_safe("instance id", id, error);
}

/* ---- entities ---- */

/* Where the second '@' stands; the id's length when there is none. */
static size_t key_mark(struct th_str id)
{
    size_t i = 1;
    while (i < id.len && id.data[i] != '@') {
        i++;
    }
    return i;
}

struct th_str th_entity_name(struct th_str id)
{
    return th_str_n(id.data + 1, key_mark(id) - 1);
}

struct th_str th_entity_key(struct th_str id)
{
    size_t mark = key_mark(id);
    return mark < id.len ? th_str_n(id.data + mark + 1, id.len - mark - 1) : TH_STR("");
}

struct th_str th_entity_id(struct th_arena *arena, struct th_str name, struct th_str key)
{
    char *id = th_arena_alloc(arena, name.len + key.len + 2);
    id[0] = '@';
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        id[1 + i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    id[1 + name.len] = '@';
    if (key.len > 0) {
        memcpy(id + 2 + name.len, key.data, key.len);
    }
    return th_str_n(id, name.len + key.len + 2);
}

bool th_entity_name_check(struct th_str name, struct th_error *error)
{
    if (!th_function_name_check(name, error)) {
        return false;
    }
    if (memchr(name.data, '@', name.len)) {
        return th_fail(error, TH_INVALID, "entity name \"%.*s\" must not hold '@'", TH_PRI(name));
    }
    return true;
}

bool th_entity_id_check(struct th_str id, struct th_error *error)
{
    if (!printable("entity id", id, TH_ENTITY_ID_MAX, error)) {
        return false;
    }
    size_t mark = key_mark(id);
    if (id.data[0] != '@' || mark == id.len || mark == 1) {
        return th_fail(error, TH_INVALID, "entity id \"%.*s\" must have the form @name@key",
                       TH_PRI(id));
    }
    for (size_t i = 1; i < mark; i++) {
        if (id.data[i] >= 'A' && id.data[i] <= 'Z') {
            return th_fail(error, TH_INVALID, "entity id \"%.*s\": the name must be in lower case",
                           TH_PRI(id));
        }
    }
    return true;
}

bool th_function_name_check(struct th_str name, struct th_error *error)
{
    return printable("function name", name, TH_FUNCTION_NAME_MAX, error) &&
           path_safe("function name", name, error);
}

bool th_event_name_check(struct th_str name, struct th_error *error)
{
    return printable("event name", name, TH_FUNCTION_NAME_MAX, error) &&
           path_safe("event name", name, error);
}

const char *th_function_kind_text(uint32_t kind)
{
    switch (kind) {
#define X(name, number, text) \
    case number:              \
        return text;
        TH_FUNCTION_KINDS(X)
#undef X
    default:
        return "unknown";
    }
}
