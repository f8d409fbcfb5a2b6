/*
 * Reading msgpack from a cursor. Any bytes are an input: lengths and counts are checked against
 * what is left before they are believed, and nesting is bounded.
 *
 * A reader that failed stands at its end: every later read finds no bytes and gives zero, without
 * a check of its own.
 */
#include <stdarg.h>
#include <stdio.h>

#include "model/codec.h"

struct th_reader th_reader_of(struct th_str bytes, struct th_arena *arena, struct th_error *error)
{
    const char *start = bytes.data ? bytes.data : "";
    return (struct th_reader){
        .at = start,
        .end = start + bytes.len,
        .arena = arena,
        .error = error,
        .format = TH_FORMAT,
    };
}

bool th_read_fail(struct th_reader *in, const char *format, ...)
{
    if (!in->failed && in->error) {
        va_list arguments;
        va_start(arguments, format);
        in->error->code = TH_CORRUPT;
        vsnprintf(in->error->message, sizeof(in->error->message), format, arguments);
        va_end(arguments);
    }
    in->failed = true;
    in->at = in->end;
    return false;
}

uint32_t th_read_format(struct th_reader *in, const char *what)
{
    uint64_t format = th_read_u64(in);
    if (in->failed || format <= in->format) {
        return (uint32_t)format;
    }
    th_read_fail(in, "%s of format %llu, which is newer than this program knows (%u): upgrade it",
                 what, (unsigned long long)format, in->format);
    if (in->error) {
        in->error->code = TH_UNSUPPORTED;
    }
    return 0;
}

static size_t left(const struct th_reader *in)
{
    return (size_t)(in->end - in->at);
}

static bool ended(struct th_reader *in)
{
    th_read_fail(in, "the bytes end in the middle of a value");
    return false; /* known to the compiler, which otherwise sees values used unset */
}

static const char *type_name(uint8_t tag)
{
    static const char *const names[32] = {
        "nil",          "a reserved byte",
        "a boolean",    "a boolean",
        "bytes",        "bytes",
        "bytes",        "an extension",
        "an extension", "an extension",
        "a float",      "a float",
        "a number",     "a number",
        "a number",     "a number",
        "a number",     "a number",
        "a number",     "a number",
        "an extension", "an extension",
        "an extension", "an extension",
        "an extension", "text",
        "text",         "text",
        "an array",     "an array",
        "a map",        "a map",
    };
    if (tag >= 0xc0 && tag <= 0xdf) {
        return names[tag - 0xc0];
    }
    if (tag < 0x80 || tag >= 0xe0) {
        return "a number";
    }
    return tag < 0x90 ? "a map" : tag < 0xa0 ? "an array" : "text";
}

static bool expected(struct th_reader *in, const char *what, uint8_t tag)
{
    th_read_fail(in, "expected %s, found %s (byte 0x%02x, %zu bytes before the end)", what,
                 type_name(tag), tag, left(in) + 1);
    return false;
}

static bool take_tag(struct th_reader *in, uint8_t *tag)
{
    if (in->at == in->end) {
        return ended(in);
    }
    *tag = (uint8_t)*in->at++;
    return true;
}

/* A big-endian number of 1, 2, 4 or 8 bytes; 0 after a failure. */
static uint64_t take_number(struct th_reader *in, size_t bytes)
{
    if (left(in) < bytes) {
        ended(in);
        return 0;
    }
    const uint8_t *p = (const uint8_t *)in->at;
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) {
        value = value << 8 | p[i];
    }
    in->at += bytes;
    return value;
}

/* What was announced must fit into what is left, or a few bytes could ask for any amount. */
static uint32_t bounded(struct th_reader *in, uint64_t count, size_t bytes_each, const char *what)
{
    if (count > left(in) / bytes_each) {
        th_read_fail(in, "%s of %llu, but only %zu bytes are left", what, (unsigned long long)count,
                     left(in));
        return 0;
    }
    return (uint32_t)count;
}

static bool collection(struct th_reader *in, uint8_t fixed, uint8_t two_bytes, const char *what,
                       uint64_t *count)
{
    uint8_t tag;
    if (!take_tag(in, &tag)) {
        return false;
    }
    if ((tag & 0xf0) == fixed) {
        *count = tag & 0x0f;
    } else if (tag == two_bytes || tag == two_bytes + 1) {
        *count = take_number(in, tag == two_bytes ? 2 : 4);
    } else {
        return expected(in, what, tag);
    }
    return !in->failed;
}

uint32_t th_read_map(struct th_reader *in)
{
    uint64_t count = 0;
    return collection(in, 0x80, 0xde, "a map", &count) ? bounded(in, count, 2, "a map") : 0;
}

uint32_t th_read_array(struct th_reader *in)
{
    uint64_t count = 0;
    return collection(in, 0x90, 0xdc, "an array", &count) ? bounded(in, count, 1, "an array") : 0;
}

/* A number as its bits and whether these are to be read as negative. */
static bool number(struct th_reader *in, uint64_t *bits, bool *negative)
{
    uint8_t tag;
    *negative = false;
    if (!take_tag(in, &tag)) {
        return false;
    }
    if (tag < 0x80) {
        *bits = tag;
    } else if (tag >= 0xe0) {
        *bits = (uint64_t)(int64_t)(int8_t)tag;
        *negative = true;
    } else if (tag >= 0xcc && tag <= 0xcf) {
        *bits = take_number(in, (size_t)1 << (tag - 0xcc));
    } else if (tag >= 0xd0 && tag <= 0xd3) {
        int unused = 64 - 8 * (1 << (tag - 0xd0));
        uint64_t raw = take_number(in, (size_t)1 << (tag - 0xd0));
        *bits = (uint64_t)((int64_t)(raw << unused) >> unused);
        *negative = (int64_t)*bits < 0;
    } else {
        return expected(in, "a number", tag);
    }
    return !in->failed;
}

uint64_t th_read_u64(struct th_reader *in)
{
    uint64_t bits;
    bool negative;
    if (!number(in, &bits, &negative)) {
        return 0;
    }
    if (negative) {
        th_read_fail(in, "%lld is out of range: must not be negative", (long long)bits);
        return 0;
    }
    return bits;
}

int64_t th_read_i64(struct th_reader *in)
{
    uint64_t bits;
    bool negative;
    if (!number(in, &bits, &negative)) {
        return 0;
    }
    if (!negative && bits > INT64_MAX) {
        th_read_fail(in, "%llu is out of range", (unsigned long long)bits);
        return 0;
    }
    return (int64_t)bits;
}

bool th_read_bool(struct th_reader *in)
{
    uint8_t tag;
    if (!take_tag(in, &tag)) {
        return false;
    }
    if (tag != 0xc2 && tag != 0xc3) {
        return expected(in, "a boolean", tag);
    }
    return tag == 0xc3;
}

static struct th_str take_bytes(struct th_reader *in, uint64_t len)
{
    if (in->failed || len > left(in)) {
        ended(in);
        return TH_STR_ABSENT;
    }
    struct th_str s = {in->at, (size_t)len};
    in->at += len;
    return s;
}

struct th_str th_read_str(struct th_reader *in)
{
    uint8_t tag;
    if (!take_tag(in, &tag) || tag == 0xc0) {
        return TH_STR_ABSENT;
    }
    if ((tag & 0xe0) == 0xa0) {
        return take_bytes(in, tag & 0x1f);
    }
    if (tag >= 0xc4 && tag <= 0xc6) {
        return take_bytes(in, take_number(in, (size_t)1 << (tag - 0xc4)));
    }
    if (tag >= 0xd9 && tag <= 0xdb) {
        return take_bytes(in, take_number(in, (size_t)1 << (tag - 0xd9)));
    }
    expected(in, "bytes", tag);
    return TH_STR_ABSENT;
}

/* ---- skipping ---- */

enum { DEEPEST = 64 };

/* Values inside a collection with this tag, or -1 when it is none. */
static int64_t inside(struct th_reader *in, uint8_t tag)
{
    if ((tag & 0xf0) == 0x80) {
        return bounded(in, 2u * (tag & 0x0fu), 1, "a map");
    }
    if ((tag & 0xf0) == 0x90) {
        return bounded(in, tag & 0x0f, 1, "an array");
    }
    if (tag == 0xdc || tag == 0xdd) {
        return bounded(in, take_number(in, tag == 0xdc ? 2 : 4), 1, "an array");
    }
    if (tag == 0xde || tag == 0xdf) {
        return bounded(in, 2 * take_number(in, tag == 0xde ? 2 : 4), 1, "a map");
    }
    return -1;
}

/* The bytes behind a tag that is no collection. */
static uint64_t body(struct th_reader *in, uint8_t tag)
{
    if ((tag & 0xe0) == 0xa0) {
        return tag & 0x1f;
    }
    if (tag >= 0xc4 && tag <= 0xc6) {
        return take_number(in, (size_t)1 << (tag - 0xc4));
    }
    if (tag >= 0xc7 && tag <= 0xc9) {
        return take_number(in, (size_t)1 << (tag - 0xc7)) + 1; /* an extension's type */
    }
    if (tag >= 0xd9 && tag <= 0xdb) {
        return take_number(in, (size_t)1 << (tag - 0xd9));
    }
    if (tag >= 0xcc && tag <= 0xd3) {
        return UINT64_C(1) << ((tag - 0xcc) & 3);
    }
    if (tag >= 0xd4 && tag <= 0xd8) {
        return (UINT64_C(1) << (tag - 0xd4)) + 1;
    }
    return tag == 0xca ? 4 : tag == 0xcb ? 8 : 0;
}

void th_read_skip(struct th_reader *in)
{
    uint64_t open[DEEPEST + 1] = {1}; /* values still to come, per level */
    int depth = 0;
    while (!in->failed && depth >= 0) {
        if (open[depth] == 0) {
            depth--;
            continue;
        }
        open[depth]--;
        uint8_t tag;
        if (!take_tag(in, &tag)) {
            return;
        }
        int64_t count = inside(in, tag);
        if (count < 0) {
            take_bytes(in, body(in, tag));
        } else if (depth == DEEPEST) {
            th_read_fail(in, "values are nested more than %d deep", DEEPEST);
        } else {
            open[++depth] = (uint64_t)count;
        }
    }
}
