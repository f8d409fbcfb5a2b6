#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
    const char *text;
    int http;
    int grpc;
} codes[] = {
#define X(name, text, http, grpc) [TH_##name] = {text, http, grpc},
    TH_CODES(X)
#undef X
};

/* A code may come from stored bytes or the network; an unknown one is our own fault. */
static enum th_code known(enum th_code code)
{
    return (size_t)code < sizeof(codes) / sizeof(codes[0]) ? code : TH_INTERNAL;
}

const char *th_code_text(enum th_code code)
{
    return codes[known(code)].text;
}

int th_code_http(enum th_code code)
{
    return codes[known(code)].http;
}

int th_code_grpc(enum th_code code)
{
    return codes[known(code)].grpc;
}

/* Drops the beginning of a UTF-8 sequence whose end was cut off. */
static size_t whole_characters(const char *text, size_t len)
{
    size_t start = len;
    while (start > 0 && len - start < 4 && ((unsigned char)text[start - 1] & 0xC0) == 0x80) {
        start--;
    }
    if (start == 0) {
        return len;
    }
    unsigned char lead = (unsigned char)text[start - 1];
    size_t wanted = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    return len - start + 1 < wanted ? start - 1 : len;
}

static void one_line(char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < ' ') {
            *text = ' ';
        }
    }
}

bool th_fail(struct th_error *e, enum th_code code, const char *format, ...)
{
    if (!e) {
        return false;
    }
    /* Formatted aside: the arguments may be e->message itself, to be put into a longer sentence. */
    char message[sizeof(e->message)];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    if (len < 0) {
        message[0] = '\0';
    } else if ((size_t)len >= sizeof(message)) {
        message[whole_characters(message, sizeof(message) - 1)] = '\0';
    }
    one_line(message);
    e->code = code;
    memcpy(e->message, message, strlen(message) + 1);
    return false;
}
