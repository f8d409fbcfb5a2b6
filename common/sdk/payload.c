#include "sdk/payload.h"

/* True when arrays and objects nest at most TH_PAYLOAD_DEPTH deep; brackets in strings are text. */
static bool shallow(struct th_str s)
{
    int depth = 0;
    bool text = false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        if (text) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                text = false;
            }
        } else if (c == '"') {
            text = true;
        } else if (c == '[' || c == '{') {
            if (++depth > TH_PAYLOAD_DEPTH) {
                return false;
            }
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return true;
}

json_t *th_payload_parse(struct th_str data)
{
    if (data.len == 0 || !shallow(data)) {
        return NULL;
    }
    return json_loadb(data.data, data.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

json_t *th_payload_value(struct th_str data)
{
    if (data.len == 0) {
        return json_null();
    }
    json_t *value = th_payload_parse(data);
    return value ? value : json_stringn(data.data, data.len);
}

struct th_str th_payload_print(const json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    return th_str_of(text);
}
