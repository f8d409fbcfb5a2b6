/* url: what redis.h says of it. Sentences never hold what is secret. */
#include <stdlib.h>

#include "base/memory.h"
#include "provider/redis/internal.h"

enum { DEFAULT_PORT = 6379 };

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *found = c ? strchr(digits, c | 0x20) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* A copy without %-escapes; NULL when one is none, or hides a NUL. */
static char *unescape(struct th_str s)
{
    TH_AUTOFREE char *out = th_alloc(s.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        if (c == '%') {
            int high = i + 2 < s.len ? hex_digit(s.data[i + 1]) : -1;
            int low = i + 2 < s.len ? hex_digit(s.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return NULL;
            }
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (!c) {
            return NULL;
        }
        out[len++] = c;
    }
    char *result = out;
    out = NULL;
    return result;
}

/* Splits at the first (or last) `c`; false, and nothing changes, when there is none. */
static bool split(struct th_str *s, char c, bool last, struct th_str *before)
{
    const char *at = s->len == 0 ? NULL
                     : last      ? memrchr(s->data, c, s->len)
                                 : memchr(s->data, c, s->len);
    if (!at) {
        return false;
    }
    *before = th_str_n(s->data, (size_t)(at - s->data));
    *s = th_str_n(at + 1, s->len - before->len - 1);
    return true;
}

static bool parse_user(struct th_str info, struct th_redis_url *out, struct th_error *error)
{
    struct th_str user = info;
    bool has_password = split(&info, ':', false, &user);
    out->user = user.len > 0 ? unescape(user) : NULL;
    out->password = has_password ? unescape(info) : NULL;
    if ((user.len > 0 && !out->user) || (has_password && !out->password)) {
        return th_fail(error, TH_INVALID, "the Redis URL has a bad %%-escape before the @");
    }
    return true;
}

static bool parse_number(struct th_str text, unsigned min, unsigned max, unsigned *out)
{
    long long value;
    if (!th_str_to_i64(text, &value) || value < min || value > max) {
        return false;
    }
    *out = (unsigned)value;
    return true;
}

/* `rest`: host[:port], or [address][:port]. */
static bool parse_host(struct th_str rest, struct th_redis_url *out, struct th_error *error)
{
    struct th_str host = rest;
    struct th_str port = TH_STR_ABSENT;
    if (rest.len > 0 && rest.data[0] == '[') {
        rest = th_str_n(rest.data + 1, rest.len - 1);
        if (!split(&rest, ']', false, &host) || (rest.len > 0 && rest.data[0] != ':')) {
            return th_fail(error, TH_INVALID, "the Redis URL has a [ without a fitting ]");
        }
        port = rest.len > 0 ? th_str_n(rest.data + 1, rest.len - 1) : TH_STR_ABSENT;
    } else if (split(&rest, ':', false, &host)) {
        port = rest;
    }
    if (host.len == 0) {
        return th_fail(error, TH_INVALID, "the Redis URL names no host");
    }
    if (th_str_present(port) && !parse_number(port, 1, 65535, &out->port)) {
        return th_fail(error, TH_INVALID, "'%.*s' in the Redis URL is no port", TH_PRI(port));
    }
    out->host = th_str_dup(host);
    TH_BUFFER name = {0};
    bool brackets = memchr(host.data, ':', host.len);
    th_buffer_format(&name, brackets ? "[%s]:%u" : "%s:%u", out->host, out->port);
    out->name = th_buffer_take(&name);
    return true;
}

/* "ca=FILE&cert=FILE&key=FILE" */
static bool parse_files(struct th_str text, struct th_redis_url *out, struct th_error *error)
{
    while (text.len > 0) {
        struct th_str one = text;
        struct th_str name;
        text = split(&text, '&', false, &one) ? text : th_str_n(NULL, 0);
        char **place = !split(&one, '=', false, &name)   ? NULL
                       : th_str_eq(name, TH_STR("ca"))   ? &out->ca
                       : th_str_eq(name, TH_STR("cert")) ? &out->cert
                       : th_str_eq(name, TH_STR("key"))  ? &out->key
                                                         : NULL;
        if (!place || one.len == 0) {
            return th_fail(error, TH_INVALID,
                           "behind its ? the Redis URL has ca=FILE, cert=FILE and key=FILE, "
                           "with & between, and not '%.*s'",
                           TH_PRI(one));
        }
        free(*place);
        *place = unescape(one);
        if (!*place) {
            return th_fail(error, TH_INVALID, "the Redis URL has a bad %%-escape behind its ?");
        }
    }
    if (!out->cert != !out->key) {
        return th_fail(error, TH_INVALID, "the Redis URL needs cert and key, or none of them");
    }
    return out->tls || (!out->ca && !out->cert) ||
           th_fail(error, TH_INVALID, "certificates in a Redis URL need TLS: rediss://");
}

static bool parse_rest(struct th_str rest, struct th_redis_url *out, struct th_error *error)
{
    struct th_str before;
    struct th_str host;
    out->port = DEFAULT_PORT;
    if (split(&rest, '@', true, &before) && !parse_user(before, out, error)) {
        return false;
    }
    if (split(&rest, '?', false, &before)) {
        if (!parse_files(rest, out, error)) {
            return false;
        }
        rest = before;
    }
    if (split(&rest, '/', false, &host)) {
        if (rest.len > 0 && !parse_number(rest, 0, 1u << 20, &out->database)) {
            return th_fail(error, TH_INVALID, "'%.*s' in the Redis URL is no database",
                           TH_PRI(rest));
        }
        rest = host;
    }
    return parse_host(rest, out, error);
}

bool th_redis_url_parse(const char *text, struct th_redis_url *out, struct th_error *error)
{
    struct th_str url = th_str_of(text ? text : "");
    *out = (struct th_redis_url){0};
    out->tls = th_str_starts(url, TH_STR("rediss://"));
    struct th_str scheme = out->tls ? TH_STR("rediss://") : TH_STR("redis://");
    if (!th_str_starts(url, scheme)) {
        return th_fail(error, TH_INVALID, "a Redis URL begins with redis:// or rediss://");
    }
    if (!parse_rest(th_str_n(url.data + scheme.len, url.len - scheme.len), out, error)) {
        th_redis_url_deinit(out);
        return false;
    }
    return true;
}

void th_redis_url_deinit(struct th_redis_url *url)
{
    free(url->host);
    free(url->user);
    free(url->password);
    free(url->name);
    free(url->ca);
    free(url->cert);
    free(url->key);
    *url = (struct th_redis_url){0};
}
