/*
 * text: the forms of the protocol that are neither HTTP/2's nor a message's. Their grammar is in
 * "gRPC over HTTP/2", sections Requests and Responses.
 */
#include "grpc/internal.h"

/* ---- grpc-timeout: TimeoutValue of 1 to 8 digits, TimeoutUnit ---- */

enum { MOST_DIGITS = 8 };

/* TH_TIME_NONE: there is no such unit. Eight digits of hours fit. */
static th_time microseconds(int64_t value, char unit)
{
    switch (unit) {
    case 'H':
        return value * 3600 * TH_SECOND;
    case 'M':
        return value * 60 * TH_SECOND;
    case 'S':
        return value * TH_SECOND;
    case 'm':
        return value * TH_MILLISECOND;
    case 'u':
        return value;
    case 'n':
        return (value + 999) / 1000;
    default:
        return TH_TIME_NONE;
    }
}

bool th_grpc_timeout_parse(struct th_str text, th_time *out)
{
    if (text.len < 2 || text.len > MOST_DIGITS + 1) {
        return false;
    }
    int64_t value = 0;
    for (size_t i = 0; i + 1 < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (text.data[i] - '0');
    }
    *out = microseconds(value, text.data[text.len - 1]);
    return *out != TH_TIME_NONE;
}

/* ---- grpc-message: percent-encoded UTF-8 ---- */

/* Bytes of the character at `i`; 1 for what is no UTF-8. */
static size_t character(struct th_str text, size_t i)
{
    unsigned char lead = (unsigned char)text.data[i];
    size_t len = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (len > text.len - i) {
        return 1;
    }
    for (size_t k = 1; k < len; k++) {
        if (((unsigned char)text.data[i + k] & 0xC0) != 0x80) {
            return 1;
        }
    }
    return len;
}

/* A field's value begins and ends without a space (RFC 9113, section 8.2.1), so there a space is
 * encoded, too. */
static bool plain(struct th_str text, size_t i)
{
    unsigned char byte = (unsigned char)text.data[i];
    if (byte == ' ') {
        return i > 0 && i + 1 < text.len;
    }
    return byte > ' ' && byte < 0x7F && byte != '%';
}

static void add_character(struct th_buffer *out, struct th_str text, size_t i, size_t len)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t k = i; k < i + len; k++) {
        unsigned char byte = (unsigned char)text.data[k];
        char escaped[] = {'%', digits[byte >> 4], digits[byte & 15]};
        if (plain(text, k)) {
            th_buffer_add(out, &text.data[k], 1);
        } else {
            th_buffer_add(out, escaped, sizeof(escaped));
        }
    }
}

void th_grpc_percent_encode(struct th_buffer *out, struct th_str message, size_t limit)
{
    size_t start = out->len, last = start;
    size_t i = 0;
    while (i < message.len) {
        size_t len = character(message, i);
        last = out->len;
        add_character(out, message, i, len);
        i += len;
        if (out->len - start > limit) {
            break;
        }
    }
    if (out->len - start > limit) {
        out->len = last;
        while (out->len > start && out->data[out->len - 1] == ' ') {
            out->len--;
        }
    }
}

/* ---- "-bin" metadata: base64 (RFC 4648, section 4) ---- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool th_grpc_is_binary(struct th_str name)
{
    return name.len >= 4 && memcmp(name.data + name.len - 4, "-bin", 4) == 0;
}

void th_grpc_base64_encode(struct th_buffer *out, struct th_str bytes)
{
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t group = 0;
        for (size_t k = 0; k < 3; k++) {
            group = group << 8 | (k < n ? (unsigned char)bytes.data[i + k] : 0);
        }
        char digits[4];
        for (size_t k = 0; k < 4; k++) {
            digits[k] = alphabet[group >> (18 - 6 * k) & 63];
        }
        th_buffer_add(out, digits, n + 1);
    }
}

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool decode_one(struct th_buffer *out, struct th_str text)
{
    for (int padding = 0; padding < 2 && text.len > 0 && text.data[text.len - 1] == '=';
         padding++) {
        text.len--;
    }
    if (text.len % 4 == 1) {
        return false;
    }
    uint32_t group = 0;
    for (size_t i = 0; i < text.len; i++) {
        int value = digit(text.data[i]);
        if (value < 0) {
            return false;
        }
        group = group << 6 | (uint32_t)value;
        if (i % 4 != 0) {
            char byte = (char)(group >> (6 - 2 * (i % 4)) & 0xFF);
            th_buffer_add(out, &byte, 1);
        }
    }
    return true;
}

bool th_grpc_base64_decode(struct th_buffer *out, struct th_str text)
{
    for (;;) {
        const char *comma = text.len ? memchr(text.data, ',', text.len) : NULL;
        size_t len = comma ? (size_t)(comma - text.data) : text.len;
        if (!decode_one(out, th_str_n(text.data, len))) {
            return false;
        }
        if (!comma) {
            return true;
        }
        text = th_str_n(text.data + len + 1, text.len - len - 1);
    }
}
