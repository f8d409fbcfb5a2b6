#include "unit/api_call.h"

#include <curl/curl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buffer.h"

#include <cmocka.h>

static size_t add(char *data, size_t size, size_t count, void *argument)
{
    th_buffer_add(argument, data, size * count);
    return size * count;
}

/* A new status line begins the headers anew (after 100 Continue). */
static size_t add_header(char *data, size_t size, size_t count, void *argument)
{
    struct th_buffer *headers = argument;
    if (size * count > 5 && memcmp(data, "HTTP/", 5) == 0) {
        headers->len = 0;
    }
    return add(data, size, count, argument);
}

static struct curl_slist *list_of(const char *const *headers)
{
    struct curl_slist *list = NULL;
    for (size_t i = 0; headers && headers[i]; i++) {
        list = curl_slist_append(list, headers[i]);
    }
    return list;
}

struct call call_bytes(const char *method, const char *url, const void *body, size_t len,
                       const char *const *headers)
{
    struct call call = {0};
    struct th_buffer answer = {0}, answer_headers = {0};
    struct curl_slist *list = list_of(headers);
    long status = 0;
    CURL *curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 60L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, add);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, add_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &answer_headers);
    if (strcmp(method, "HEAD") == 0) {
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    }
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)len);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    }
    if (curl_easy_perform(curl) == CURLE_OK) {
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    }
    call.status = (int)status;
    call.len = answer.len;
    call.body = th_buffer_take(&answer);
    call.headers = th_buffer_take(&answer_headers);
    curl_slist_free_all(list);
    curl_easy_cleanup(curl);
    return call;
}

struct call call_http(const char *method, const char *url, const char *body,
                      const char *const *headers)
{
    return call_bytes(method, url, body, body ? strlen(body) : 0, headers);
}

void call_deinit(struct call *call)
{
    free(call->body);
    free(call->headers);
}

bool call_header(const struct call *call, const char *name, char *out, size_t size)
{
    size_t len = strlen(name);
    for (const char *line = call->headers; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
            const char *value = line + len + 1 + strspn(line + len + 1, " ");
            snprintf(out, size, "%.*s", (int)strcspn(value, "\r\n"), value);
            return true;
        }
    }
    return false;
}

json_t *call_json(const struct call *call)
{
    json_error_t error;
    json_t *json = json_loadb(call->body, call->len, JSON_DECODE_ANY, &error);
    if (!json) {
        fail_msg("no JSON (%s): %s", error.text, call->body);
    }
    return json;
}

const char *call_message(const struct call *call)
{
    static _Thread_local char message[2048];
    json_t *json = call_json(call);
    const char *text = json_string_value(json_object_get(json, "Message"));
    const char *again = json_string_value(json_object_get(json, "ExceptionMessage"));
    assert_non_null(text);
    assert_string_equal(text, again);
    snprintf(message, sizeof(message), "%s", text);
    json_decref(json);
    return message;
}
