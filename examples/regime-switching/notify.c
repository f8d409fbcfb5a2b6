#include "examples/regime-switching/notify.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "examples/regime-switching/fail.h"
#include "examples/regime-switching/outputs.h"

#define CONNECT_SECONDS 15L
#define SEND_SECONDS    60L

void notify_file(const char *instance_id, char name[static NOTIFY_FILE_SIZE])
{
    size_t at = (size_t)snprintf(name, NOTIFY_FILE_SIZE, "mail-");

    for (const char *c = instance_id; *c && at < NOTIFY_FILE_SIZE - 8; c++)
        if (isalnum((unsigned char)*c) || *c == '-' || *c == '_')
            name[at++] = *c;
        else
            at += (size_t)snprintf(name + at, 4, "%%%02x", (unsigned char)*c);
    snprintf(name + at, NOTIFY_FILE_SIZE - at, ".txt");
}

/* ---- the message (RFC 5322) ---- */

static const char *setting(const char *name, const char *otherwise)
{
    const char *value = getenv(name);

    return value && *value ? value : otherwise;
}

static const char *sender(void)
{
    return setting("SMTP_FROM", "regime-switching@localhost");
}

/* Lines end in CRLF; a lone CR would be a line end to some and not to others. */
static void put_lines(FILE *out, const char *text)
{
    for (; *text; text++)
        if (*text == '\n')
            fputs("\r\n", out);
        else if (*text != '\r')
            fputc(*text, out);
    fputs("\r\n", out);
}

static void put_base64(FILE *out, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < len; i += 3) {
        uint32_t three = (uint32_t)bytes[i] << 16 |
                         (i + 1 < len ? (uint32_t)bytes[i + 1] << 8 : 0) |
                         (i + 2 < len ? bytes[i + 2] : 0);
        fputc(digits[three >> 18], out);
        fputc(digits[three >> 12 & 63], out);
        fputc(i + 1 < len ? digits[three >> 6 & 63] : '=', out);
        fputc(i + 2 < len ? digits[three & 63] : '=', out);
    }
}

/* One line; what is not plain ASCII as encoded words (RFC 2047) of whole characters. */
static void put_subject(FILE *out, const char *subject)
{
    const uint8_t *at = (const uint8_t *)subject, *end = at + strcspn(subject, "\r\n");
    bool plain = true;

    for (const uint8_t *c = at; c < end; c++)
        plain &= *c >= ' ' && *c < 0x7f;
    fputs("Subject:", out);
    if (plain)
        fprintf(out, " %.*s", (int)(end - at), subject);
    while (!plain && at < end) {
        size_t len = (size_t)(end - at) < 42 ? (size_t)(end - at) : 42;
        while (at + len < end && len > 38 && (at[len] & 0xc0) == 0x80)
            len--;
        fputs(at == (const uint8_t *)subject ? " =?UTF-8?B?" : "\r\n =?UTF-8?B?", out);
        put_base64(out, at, len);
        fputs("?=", out);
        at += len;
    }
    fputs("\r\n", out);
}

static void put_date(FILE *out)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t now = time(NULL);
    struct tm tm;

    gmtime_r(&now, &tm);
    fprintf(out, "Date: %s, %02d %s %04d %02d:%02d:%02d +0000\r\n", days[tm.tm_wday], tm.tm_mday,
            months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* The caller frees it; NULL when memory runs out. A mail that is sent twice has the same id. */
static char *message_of(const struct letter *letter, size_t *len)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, len);
    bool failed;

    if (!out)
        return NULL;
    fprintf(out, "From: <%s>\r\nTo: <%s>\r\n", sender(), letter->to);
    put_subject(out, letter->subject);
    put_date(out);
    fputs("Message-ID: <", out);
    for (const char *c = letter->key; *c; c++)
        fputc(isalnum((unsigned char)*c) ? *c : '-', out);
    fputs("@regime-switching>\r\nMIME-Version: 1.0\r\n"
          "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
          out);
    put_lines(out, letter->text);
    failed = ferror(out) != 0;
    failed |= fclose(out) != 0;
    if (!failed)
        return text;
    free(text);
    return NULL;
}

/* ---- SMTP ---- */

struct unsent {
    const char *data;
    size_t len;
};

static size_t give(char *to, size_t size, size_t count, void *argument)
{
    struct unsent *unsent = argument;
    size_t some = size * count < unsent->len ? size * count : unsent->len;

    memcpy(to, unsent->data, some);
    unsent->data += some;
    unsent->len -= some;
    return some;
}

/* The level of TLS that was asked for, or -1. */
static long tls_level(void)
{
    const char *level = setting("SMTP_TLS", getenv("SMTP_PASSWORD") ? "required" : "try");

    if (strcmp(level, "required") == 0)
        return CURLUSESSL_ALL;
    if (strcmp(level, "try") == 0)
        return CURLUSESSL_TRY;
    return strcmp(level, "off") == 0 ? CURLUSESSL_NONE : -1;
}

static void set_up(CURL *curl, const struct curl_slist *to, struct unsent *unsent, char *words)
{
    curl_easy_setopt(curl, CURLOPT_URL, getenv("SMTP_URL"));
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(curl, CURLOPT_USE_SSL, tls_level());
    curl_easy_setopt(curl, CURLOPT_CAINFO, setting("SMTP_CA", NULL));
    curl_easy_setopt(curl, CURLOPT_USERNAME, setting("SMTP_USER", NULL));
    curl_easy_setopt(curl, CURLOPT_PASSWORD, setting("SMTP_PASSWORD", NULL));
    curl_easy_setopt(curl, CURLOPT_MAIL_FROM, sender());
    curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, to);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, give);
    curl_easy_setopt(curl, CURLOPT_READDATA, unsent);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, SEND_SECONDS);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, words);
}

/* What will not get better by waiting: a 5xx of the server, or settings that make no sense. */
static bool is_final(CURLcode code, long response)
{
    return response >= 500 || code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL ||
           code == CURLE_LOGIN_DENIED || code == CURLE_SSL_CACERT_BADFILE;
}

static int perform(CURL *curl, const char *words, char *err, size_t errsize)
{
    CURLcode code = curl_easy_perform(curl);
    long response = 0;

    if (code == CURLE_OK)
        return 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &response);
    return regime_fail(is_final(code, response) ? -EPERM : -EIO, err, errsize,
                       "mail through %s: %s%s(%ld)", getenv("SMTP_URL"),
                       *words ? words : curl_easy_strerror(code), " ", response);
}

static int send_mail(const struct letter *letter, const char *message, size_t len, char *err,
                     size_t errsize)
{
    struct unsent unsent = {message, len};
    struct curl_slist *to = curl_slist_append(NULL, letter->to);
    char words[CURL_ERROR_SIZE] = "";
    CURL *curl = curl_easy_init();
    int rc;

    if (tls_level() < 0)
        rc = regime_fail(-EPERM, err, errsize, "SMTP_TLS must be required, try or off, got \"%s\"",
                         getenv("SMTP_TLS"));
    else if (!curl || !to)
        rc = regime_fail_memory(err, errsize);
    else {
        set_up(curl, to, &unsent, words);
        rc = perform(curl, words, err, errsize);
    }
    curl_easy_cleanup(curl);
    curl_slist_free_all(to);
    return rc;
}

int notify_send(const struct letter *letter, bool *mailed, char *err, size_t errsize)
{
    size_t len = 0;
    char *message = message_of(letter, &len);
    int rc;

    if (!message)
        return regime_fail_memory(err, errsize);
    *mailed = setting("SMTP_URL", NULL) != NULL;
    if (*mailed)
        rc = send_mail(letter, message, len, err, errsize);
    else
        rc = outputs_save(letter->file, message, len, err, errsize);
    free(message);
    return rc;
}
