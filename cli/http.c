#include "cli/http.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"

#define BASE "/runtime/webhooks/durabletask"

void cli_response_deinit(struct cli_response *response)
{
    th_buffer_deinit(&response->body);
    json_decref(response->json);
    free(response->continuation);
    response->json = NULL;
    response->continuation = NULL;
}

const char *cli_url(const struct cli_options *options)
{
    const char *url = options->url ? options->url : getenv("TASKHUB_URL");
    return url && *url ? url : "http://127.0.0.1:7071";
}

static const char *api_key(const struct cli_options *options)
{
    const char *key = options->key ? options->key : getenv("TASKHUB_KEY");
    return key && *key ? key : NULL;
}

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           strchr("-._~", c);
}

void cli_path(struct th_buffer *path, const char *literal, const char *value)
{
    th_buffer_text(path, literal);
    for (const char *at = value; at && *at; at++) {
        if (is_plain(*at))
            th_buffer_add(path, at, 1);
        else
            th_buffer_format(path, "%%%02X", (unsigned char)*at);
    }
}

static size_t on_body(char *data, size_t size, size_t count, void *argument)
{
    struct cli_response *response = argument;
    th_buffer_add(&response->body, data, size * count);
    return size * count;
}

static size_t on_header(char *data, size_t size, size_t count, void *argument)
{
    static const char name[] = "x-ms-continuation-token:";
    struct cli_response *response = argument;
    size_t len = size * count;
    if (len <= sizeof name - 1 || strncasecmp(data, name, sizeof name - 1) != 0)
        return len;
    struct th_str value = th_str_n(data + sizeof name - 1, len - (sizeof name - 1));
    while (value.len && strchr(" \t\r\n", value.data[value.len - 1]))
        value.len--;
    while (value.len && strchr(" \t", value.data[0]))
        value = th_str_n(value.data + 1, value.len - 1);
    free(response->continuation);
    response->continuation = value.len ? th_str_dup(value) : NULL;
    return len;
}

static struct curl_slist *headers(const struct cli_options *options,
                                  const struct cli_request *request)
{
    struct curl_slist *list = NULL;
    TH_BUFFER line = {NULL, 0, 0};
    if (request->body)
        list = curl_slist_append(list, "Content-Type: application/json");
    if (request->continuation) {
        th_buffer_format(&line, "x-ms-continuation-token: %s", request->continuation);
        TH_AUTOFREE char *text = th_buffer_take(&line);
        list = curl_slist_append(list, text);
    }
    if (api_key(options)) {
        th_buffer_format(&line, "x-functions-key: %s", api_key(options));
        TH_AUTOFREE char *text = th_buffer_take(&line);
        list = curl_slist_append(list, text);
    }
    return list;
}

static void set_options(CURL *curl, const struct cli_request *request, const char *url,
                        struct curl_slist *list, struct cli_response *out)
{
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, out);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "localhost,127.0.0.1,::1");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
    if (request->timeout_ms >= 0)
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    if (request->body || strcmp(request->method, "POST") == 0) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body ? request->body : "");
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
                         (curl_off_t)(request->body ? strlen(request->body) : 0));
    }
}

static char *full_url(const struct cli_options *options, const struct cli_request *request)
{
    TH_BUFFER url = {NULL, 0, 0};
    const char *base = cli_url(options);
    size_t len = strlen(base);
    while (len && base[len - 1] == '/')
        len--;
    th_buffer_add(&url, base, len);
    th_buffer_text(&url, BASE);
    th_buffer_text(&url, request->path);
    return th_buffer_take(&url);
}

void cli_send(const struct cli_options *options, const struct cli_request *request,
              struct cli_response *out)
{
    memset(out, 0, sizeof *out);
    CURL *curl = curl_easy_init();
    if (!curl) {
        snprintf(out->trouble, sizeof out->trouble, "cannot start libcurl");
        return;
    }
    TH_AUTOFREE char *url = full_url(options, request);
    struct curl_slist *list = headers(options, request);
    char words[CURL_ERROR_SIZE] = "";
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, words);
    set_options(curl, request, url, list, out);
    CURLcode code = curl_easy_perform(curl);
    if (code == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &out->status);
    else
        snprintf(out->trouble, sizeof out->trouble, "%s",
                 *words ? words : curl_easy_strerror(code));
    if (code == CURLE_OPERATION_TIMEDOUT && request->timeout_ms >= 0)
        out->status = 504;
    if (out->body.len)
        out->json = json_loadb(out->body.data, out->body.len, JSON_DECODE_ANY, NULL);
    curl_slist_free_all(list);
    curl_easy_cleanup(curl);
}

/* ---- what an answer means -------------------------------------------------------------------- */

static int exit_of(long status)
{
    switch (status) {
    case 404:
        return CLI_NOT_FOUND;
    case 409:
    case 410:
    case 412:
        return CLI_CONFLICT;
    case 408:
    case 504:
        return CLI_TIMEOUT;
    case 0:
    case 502:
    case 503:
        return CLI_UNAVAILABLE;
    default:
        return status < 300 ? CLI_OK : CLI_ERROR;
    }
}

/* The hub's sentence, if it sent one. */
static const char *sentence(const struct cli_response *response)
{
    static const char *const keys[] = {"Message", "message", "ExceptionMessage", "error"};
    if (json_is_string(response->json))
        return json_string_value(response->json);
    for (size_t i = 0; i < TH_COUNT(keys); i++) {
        const char *text = json_string_value(json_object_get(response->json, keys[i]));
        if (text && *text)
            return text;
    }
    return NULL;
}

int cli_judge(const struct cli_options *options, const struct cli_response *response,
              const char *subject)
{
    int code = exit_of(response->status);
    const char *text = sentence(response);
    if (code == CLI_OK)
        return code;
    if (response->status == 0)
        fprintf(stderr,
                "taskhub: no hub answers at %s: %s\n"
                "Is `taskhub dev` running? Another address: --url or TASKHUB_URL.\n",
                cli_url(options), response->trouble);
    else if (code == CLI_TIMEOUT && !text)
        fprintf(stderr, "taskhub: %s: the time is over\n", subject);
    else if (text)
        fprintf(stderr, "taskhub: %s: %s\n", subject, text);
    else if (code == CLI_NOT_FOUND)
        fprintf(stderr, "taskhub: there is no %s\n", subject);
    else if (code == CLI_CONFLICT)
        fprintf(stderr, "taskhub: %s: its state does not allow this (HTTP %ld)\n", subject,
                response->status);
    else
        fprintf(stderr, "taskhub: %s: HTTP %ld%s%.*s\n", subject, response->status,
                response->body.len ? ": " : "", (int)response->body.len,
                response->body.data ? response->body.data : "");
    return code;
}
