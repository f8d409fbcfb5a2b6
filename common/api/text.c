#include "api/text.h"

#include "model/name.h"

enum { DEEPEST = 2048 };

/* What is open at each depth: a set bit is an object, a clear one an array. */
struct scanner {
    const char *at, *end;
    unsigned depth;
    unsigned char objects[DEEPEST / 8];
};

/* ---- scalars ------------------------------------------------------------------------------- */

static void skip_blanks(struct scanner *s)
{
    while (s->at < s->end &&
           (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r')) {
        s->at++;
    }
}

static bool take(struct scanner *s, char c)
{
    if (s->at == s->end || *s->at != c) {
        return false;
    }
    s->at++;
    return true;
}

static bool take_word(struct scanner *s, struct th_str word)
{
    if ((size_t)(s->end - s->at) < word.len || memcmp(s->at, word.data, word.len) != 0) {
        return false;
    }
    s->at += word.len;
    return true;
}

static bool take_digits(struct scanner *s)
{
    const char *start = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9') {
        s->at++;
    }
    return s->at > start;
}

static bool take_number(struct scanner *s)
{
    take(s, '-');
    if (!take(s, '0') && !take_digits(s)) {
        return false;
    }
    if (take(s, '.') && !take_digits(s)) {
        return false;
    }
    if (take(s, 'e') || take(s, 'E')) {
        if (!take(s, '+')) {
            take(s, '-');
        }
        return take_digits(s);
    }
    return true;
}

static bool hex_digit(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool take_escape(struct scanner *s)
{
    if (s->at == s->end) {
        return false;
    }
    char c = *s->at++;
    if (c != 'u') {
        return memchr("\"\\/bfnrt", c, 8) != NULL;
    }
    for (int i = 0; i < 4; i++) {
        if (s->at == s->end || !hex_digit(*s->at++)) {
            return false;
        }
    }
    return true;
}

static bool take_string(struct scanner *s)
{
    if (!take(s, '"')) {
        return false;
    }
    while (s->at < s->end) {
        char c = *s->at++;
        if (c == '"') {
            return true;
        }
        if ((unsigned char)c < ' ' || (c == '\\' && !take_escape(s))) {
            return false;
        }
    }
    return false;
}

static bool take_scalar(struct scanner *s)
{
    switch (s->at < s->end ? *s->at : '\0') {
    case '"':
        return take_string(s);
    case 't':
        return take_word(s, TH_STR("true"));
    case 'f':
        return take_word(s, TH_STR("false"));
    case 'n':
        return take_word(s, TH_STR("null"));
    default:
        return take_number(s);
    }
}

/* ---- nesting ------------------------------------------------------------------------------- */

static bool open_level(struct scanner *s, bool object)
{
    if (s->depth == DEEPEST) {
        return false;
    }
    unsigned char bit = (unsigned char)(1u << (s->depth % 8));
    unsigned char *byte = &s->objects[s->depth / 8];
    *byte = (unsigned char)(object ? *byte | bit : *byte & ~bit);
    s->depth++;
    return true;
}

static bool in_object(const struct scanner *s)
{
    return s->objects[(s->depth - 1) / 8] >> ((s->depth - 1) % 8) & 1;
}

static bool take_key(struct scanner *s)
{
    skip_blanks(s);
    if (!take_string(s)) {
        return false;
    }
    skip_blanks(s);
    return take(s, ':');
}

/* Up to where the next value begins, or (`*complete`) past a scalar or an empty container. */
static bool begin_value(struct scanner *s, bool *complete)
{
    *complete = false;
    skip_blanks(s);
    bool object = take(s, '{');
    if (!object && !take(s, '[')) {
        *complete = true;
        return take_scalar(s);
    }
    skip_blanks(s);
    if (take(s, object ? '}' : ']')) {
        *complete = true;
        return true;
    }
    return open_level(s, object) && (!object || take_key(s));
}

/* After a value: closes what ends here. `*more`: a comma came, another value must follow. */
static bool end_value(struct scanner *s, bool *more)
{
    *more = false;
    while (s->depth > 0) {
        bool object = in_object(s);
        skip_blanks(s);
        if (take(s, ',')) {
            *more = true;
            return !object || take_key(s);
        }
        if (!take(s, object ? '}' : ']')) {
            return false;
        }
        s->depth--;
    }
    return true;
}

bool th_json_valid(struct th_str text)
{
    struct scanner s = {.at = text.data, .end = text.data + text.len};
    bool complete, more = true;
    if (!th_str_present(text) || !th_utf8_valid(text)) {
        return false;
    }
    while (more) {
        if (!begin_value(&s, &complete) || (complete && !end_value(&s, &more))) {
            return false;
        }
    }
    skip_blanks(&s);
    return s.at == s.end;
}

/* ---- writing ------------------------------------------------------------------------------- */

static void put_escape(struct th_buffer *out, unsigned char c)
{
    switch (c) {
    case '"':
        th_buffer_add(out, "\\\"", 2);
        break;
    case '\\':
        th_buffer_add(out, "\\\\", 2);
        break;
    case '\n':
        th_buffer_add(out, "\\n", 2);
        break;
    default:
        th_buffer_format(out, "\\u%04x", c);
    }
}

static size_t sequence_length(unsigned char lead)
{
    return lead < 0x80 ? 1 : lead < 0xC0 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/* Writes the character at `text`, or U+FFFD for a byte that begins none; returns its length. */
static size_t put_character(struct th_buffer *out, struct th_str text)
{
    size_t len = sequence_length((unsigned char)text.data[0]);
    struct th_str character = th_str_n(text.data, len);
    if (len == 0 || len > text.len || !th_utf8_valid(character)) {
        th_buffer_add(out, "\xEF\xBF\xBD", 3);
        return 1;
    }
    th_buffer_str(out, character);
    return len;
}

static bool plain(unsigned char c)
{
    return c >= ' ' && c < 0x7F && c != '"' && c != '\\';
}

void th_json_put_string(struct th_buffer *out, struct th_str text)
{
    th_buffer_reserve(out, text.len + 2);
    th_buffer_add(out, "\"", 1);
    for (size_t i = 0; i < text.len;) {
        size_t start = i;
        while (i < text.len && plain((unsigned char)text.data[i])) {
            i++;
        }
        if (i > start) {
            th_buffer_add(out, text.data + start, i - start);
        } else if ((unsigned char)text.data[i] < 0x80) {
            put_escape(out, (unsigned char)text.data[i++]);
        } else {
            i += put_character(out, th_str_n(text.data + i, text.len - i));
        }
    }
    th_buffer_add(out, "\"", 1);
}

void th_json_put_payload(struct th_buffer *out, struct th_str payload)
{
    if (!th_str_present(payload)) {
        th_buffer_text(out, "null");
    } else if (th_json_valid(payload)) {
        th_buffer_str(out, payload);
    } else {
        th_json_put_string(out, payload);
    }
}
