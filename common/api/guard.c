#include "api/guard.h"

#include "base/access.h"

bool th_guard_knows_key(struct th_operation *op)
{
    if (!op->api->options.api_key) {
        return true;
    }
    struct th_str key = th_str_of(op->api->options.api_key);
    struct th_str code = th_exchange_query(&op->x, "code");
    struct th_str header = th_exchange_header(&op->x, "x-functions-key");
    return (th_str_present(code) && th_secret_equal(code, key)) ||
           (th_str_present(header) && th_secret_equal(header, key));
}

/*
 * Without a key any web page that the user visits could send requests to this address; browsers
 * say so in Sec-Fetch-Site. Reading is harmless: browsers keep the answer from such a page.
 */
static bool from_foreign_page(struct th_operation *op)
{
    struct th_str site = th_exchange_header(&op->x, "Sec-Fetch-Site");
    bool reads = th_str_eq_nocase(op->x.method, TH_STR("GET")) ||
                 th_str_eq_nocase(op->x.method, TH_STR("HEAD"));
    return !reads && th_str_eq_nocase(site, TH_STR("cross-site"));
}

bool th_guard_admit(struct th_operation *op)
{
    const char *key = op->api->options.api_key;
    if (!th_guard_knows_key(op)) {
        th_answer_failure(&op->x, 401,
                          TH_STR("this hub demands its API key, as the query parameter \"code\" or "
                                 "the header \"x-functions-key\""));
        return false;
    }
    if (!key && from_foreign_page(op)) {
        th_answer_failure(&op->x, 403,
                          TH_STR("requests from pages of other sites need an API key"));
        return false;
    }
    return true;
}

static bool host_like(struct th_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    (c != '\0' && strchr(".-_:[]", c));
        if (!fits) {
            return false;
        }
    }
    return text.len > 0 && text.len < 256;
}

/* Of "client, proxy1, proxy2" the first. */
static struct th_str first_of_list(struct th_str text)
{
    size_t len = 0;
    while (len < text.len && text.data[len] != ',' && text.data[len] != ' ') {
        len++;
    }
    return th_str_n(text.data, len);
}

struct th_str th_guard_origin(struct th_operation *op)
{
    bool trusted = op->api->options.trust_forwarded;
    struct th_str host = th_exchange_header(&op->x, "Host");
    struct th_str scheme = TH_STR("http");
    if (trusted) {
        struct th_str by = first_of_list(th_exchange_header(&op->x, "X-Forwarded-Host"));
        struct th_str proto = first_of_list(th_exchange_header(&op->x, "X-Forwarded-Proto"));
        host = host_like(by) ? by : host;
        scheme = th_str_eq_nocase(proto, TH_STR("https")) ? TH_STR("https") : scheme;
    }
    if (!host_like(host)) {
        return th_str_of(op->api->url);
    }
    return th_arena_format(&op->x.arena, "%.*s://%.*s", TH_PRI(scheme), TH_PRI(host));
}
