#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/memory.h"

static const char *const level_names[] = {
    [TH_LOG_ERROR] = "error",
    [TH_LOG_WARN] = "warn",
    [TH_LOG_INFO] = "info",
    [TH_LOG_DEBUG] = "debug",
};

/* The long names are those of .NET, which host.json files use. */
static const struct {
    const char *name;
    enum th_level level;
} level_words[] = {
    {"error", TH_LOG_ERROR},  {"critical", TH_LOG_ERROR}, {"warn", TH_LOG_WARN},
    {"warning", TH_LOG_WARN}, {"info", TH_LOG_INFO},      {"information", TH_LOG_INFO},
    {"debug", TH_LOG_DEBUG},  {"trace", TH_LOG_DEBUG},
};

bool th_level_parse(struct th_str text, enum th_level *out)
{
    for (size_t i = 0; i < TH_COUNT(level_words); i++) {
        if (th_str_eq_nocase(text, th_str_of(level_words[i].name))) {
            *out = level_words[i].level;
            return true;
        }
    }
    return false;
}

/* The length of the UTF-8 sequence at `p`, or 0 when it is malformed (RFC 3629, section 4). */
static size_t sequence_length(const unsigned char *p, size_t left)
{
    unsigned char lead = p[0];
    size_t len = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (len == 0 || len > left || lead > 0xF4) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (lead == 0xE0 && p[1] < 0xA0) || (lead == 0xF0 && p[1] < 0x90);
    bool surrogate = lead == 0xED && p[1] > 0x9F;
    bool beyond = lead == 0xF4 && p[1] > 0x8F;
    return overlong || surrogate || beyond ? 0 : len;
}

/* One byte that must not be printed as it is: it would end the line or break the JSON. */
static void add_escaped(struct th_buffer *b, unsigned char c, bool json)
{
    if (c == '\n') {
        th_buffer_text(b, "\\n");
    } else if (c == '\t') {
        th_buffer_text(b, "\\t");
    } else if (json && c >= 0x80) {
        th_buffer_text(b, "\xEF\xBF\xBD"); /* U+FFFD: JSON text is valid UTF-8 */
    } else if (json && (c == '"' || c == '\\')) {
        th_buffer_add(b, (char[]){'\\', (char)c}, 2);
    } else {
        th_buffer_format(b, json ? "\\u%04x" : "\\x%02x", c);
    }
}

static void add_clean(struct th_buffer *b, struct th_str text, bool json)
{
    const unsigned char *p = (const unsigned char *)text.data;
    size_t plain = 0; /* bytes before i that may be copied as they are */
    size_t i = 0;
    while (i < text.len) {
        size_t len = sequence_length(p + i, text.len - i);
        bool special = p[i] < 0x20 || p[i] == 0x7F || (json && (p[i] == '"' || p[i] == '\\'));
        if (len > 0 && !special) {
            plain += len;
            i += len;
            continue;
        }
        th_buffer_add(b, p + i - plain, plain);
        add_escaped(b, p[i], json);
        plain = 0;
        i++;
    }
    th_buffer_add(b, p + i - plain, plain);
}

static void add_text_line(struct th_buffer *b, enum th_level level, const char *category,
                          struct th_str message)
{
    char now[40];
    th_time_format(th_now(), 3, now);
    th_buffer_format(b, "%s %-5s ", now, level_names[level]);
    add_clean(b, th_str_of(category), false);
    th_buffer_text(b, ": ");
    add_clean(b, message, false);
    th_buffer_text(b, "\n");
}

static void add_json_line(struct th_buffer *b, enum th_level level, const char *category,
                          struct th_str message)
{
    char now[40];
    th_time_format(th_now(), 6, now);
    th_buffer_format(b, "{\"time\":\"%s\",\"level\":\"%s\",\"category\":\"", now,
                     level_names[level]);
    add_clean(b, th_str_of(category), true);
    th_buffer_text(b, "\",\"message\":\"");
    add_clean(b, message, true);
    th_buffer_text(b, "\"}\n");
}

/* A log that cannot be written is no reason to stop; what is left of the line is dropped. */
static void write_all(int fd, struct th_str line)
{
    size_t done = 0;
    while (done < line.len) {
        ssize_t n = write(fd, line.data + done, line.len - done);
        if (n > 0) {
            done += (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            return;
        }
    }
}

static void emit(const struct th_log *log, enum th_level level, const char *category,
                 struct th_buffer *message)
{
    if (log->sink) {
        TH_BUFFER clean = {0};
        add_clean(&clean, th_buffer_view(message), false);
        th_buffer_add(&clean, "", 1);
        log->sink(log->argument, level, category, clean.data);
        return;
    }
    TH_BUFFER line = {0};
    (log->json ? add_json_line : add_text_line)(&line, level, category, th_buffer_view(message));
    write_all(log->fd, th_buffer_view(&line));
}

void th_log(const struct th_log *log, enum th_level level, const char *category, const char *format,
            ...)
{
    if (!log || level > log->level) {
        return;
    }
    int saved = errno; /* logging an error must not change it for the caller */
    TH_BUFFER message = {0};
    va_list arguments;
    va_start(arguments, format);
    th_buffer_vformat(&message, format, arguments);
    va_end(arguments);
    emit(log, level, category ? category : "", &message);
    errno = saved;
}
