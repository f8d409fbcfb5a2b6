/*
 * row: rows and watermarks as the bytes that projection.lua describes. Values of INLINE bytes and
 * more stand outside the row, so that whoever reads through rows does not read them.
 */
#include <endian.h>
#include <stdlib.h>

#include "base/memory.h"
#include "provider/redis/internal.h"

enum { INLINE = 1024, VALUES = TH_REDIS_ALL };
enum { ABSENT, INLINED, LONG };                                        /* two bits of `kinds` */
enum { DELETED = 1, REPLACE = 2, HISTORY = 4, NEWS = 8, STORED = 16 }; /* flags of a change */
enum {
    LIBRARY = 10,
    FIXED = 46
}; /* what the library puts before a row; its fields of fixed size */

/* ---- numbers ---- */

static char *put(char *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        at[i] = (char)(value >> 8 * (bytes - 1 - i));
    }
    return at + bytes;
}

/* What is left of bytes that are being read; `bad` once there were too few. */
struct input {
    struct th_str left;
    bool bad;
};

static struct th_str take(struct input *in, size_t len)
{
    if (in->bad || len > in->left.len) {
        in->bad = true;
        return TH_STR_ABSENT;
    }
    struct th_str bytes = th_str_n(in->left.data, len);
    in->left = th_str_n(in->left.data + len, in->left.len - len);
    return bytes;
}

static uint64_t get(struct input *in, size_t bytes)
{
    struct th_str s = take(in, bytes);
    uint64_t value = 0;
    for (size_t i = 0; i < s.len; i++) {
        value = value << 8 | (unsigned char)s.data[i];
    }
    return value;
}

/* With the sign bit turned, two's complement numbers sort as bytes. */
static uint64_t sortable(th_time t)
{
    return (uint64_t)t ^ UINT64_C(1) << 63;
}

static th_time get_time(struct input *in)
{
    return (th_time)(get(in, 8) ^ UINT64_C(1) << 63);
}

void th_redis_time_write(th_time t, char out[static 8])
{
    put(out, sortable(t), 8);
}

void th_redis_number_write(uint64_t n, char out[static 8])
{
    put(out, n, 8);
}

bool th_redis_member_read(struct th_str member, th_time *created, struct th_str *id)
{
    struct input in = {.left = member};
    *created = get_time(&in);
    *id = in.left;
    return !in.bad;
}

/* ---- watermarks ---- */

void th_redis_mark_write(const struct th_watermark *mark, char out[static TH_REDIS_MARK])
{
    char *at = put(out, (uint64_t)mark->offset, 8);
    at = put(at, mark->epoch, 8);
    at = put(at, mark->sequence, 8);
    at = put(at, mark->batch, 8);
    at = put(at, mark->building, 1);
    at = put(at, (uint64_t)mark->floor, 8);
    at = put(at, (uint64_t)mark->position, 8);
    at = put(at, mark->rows, 8);
    put(at, (uint64_t)mark->settled, 8);
}

bool th_redis_mark_read(struct th_str bytes, struct th_watermark *out)
{
    struct input in = {.left = bytes};
    out->offset = (int64_t)get(&in, 8);
    out->epoch = get(&in, 8);
    out->sequence = get(&in, 8);
    out->batch = get(&in, 8);
    out->building = get(&in, 1) != 0;
    out->floor = (int64_t)get(&in, 8);
    out->position = (int64_t)get(&in, 8);
    out->rows = get(&in, 8);
    out->settled = (int64_t)get(&in, 8);
    return !in.bad && in.left.len == 0;
}

/* ---- writing a row ---- */

/* In the order of `kinds`; state is last, because no query wants it. */
static void values_of(const struct th_row *row, struct th_blob *values[static VALUES])
{
    values[0] = row->info;
    values[1] = row->input;
    values[2] = row->output;
    values[3] = row->state;
}

static unsigned kind_of(const struct th_blob *value)
{
    return !value ? ABSENT : value->len < INLINE ? INLINED : LONG;
}

static size_t inline_size(const struct th_blob *value)
{
    return kind_of(value) == INLINED ? 2 + value->len : 0;
}

static void write_fixed(struct th_redis_command *c, const struct th_row *row, unsigned kinds,
                        size_t lean)
{
    char fixed[FIXED];
    char *at = put(fixed, sortable(row->created), 8);
    at = put(at, row->full, 8);
    at = put(at, row->status, 1);
    at = put(at, kinds, 1);
    at = put(at, lean, 4);
    at = put(at, sortable(row->completed), 8);
    at = put(at, sortable(row->updated), 8);
    put(at, row->last, 8);
    th_redis_command_part(c, th_str_n(fixed, FIXED));
}

static void write_number(struct th_redis_command *c, uint64_t value, size_t bytes)
{
    char number[8];
    put(number, value, bytes);
    th_redis_command_part(c, th_str_n(number, bytes));
}

static void write_columns(struct th_redis_command *c, const struct th_row *row,
                          struct th_blob *const values[static VALUES])
{
    size_t lean = LIBRARY + FIXED + 4 + row->name.len + inline_size(values[0]);
    size_t size = lean - LIBRARY;
    unsigned kinds = kind_of(values[0]);
    for (unsigned i = 1; i < VALUES; i++) {
        size += inline_size(values[i]);
        kinds |= kind_of(values[i]) << (2 * i);
    }
    th_redis_command_open(c, size);
    write_fixed(c, row, kinds, lean);
    write_number(c, th_str_present(row->name) ? row->name.len + 1 : 0, 4);
    th_redis_command_part(c, row->name);
    for (unsigned i = 0; i < VALUES; i++) {
        if (kind_of(values[i]) == INLINED) {
            write_number(c, values[i]->len, 2);
            th_redis_command_part_blob(c, values[i]);
        }
    }
    th_redis_command_close(c);
}

/* Each chunk with its length, so that they come back as they were given. */
static void write_history(struct th_redis_command *c, const struct th_row *row)
{
    size_t size = 0;
    for (size_t i = 0; i < row->history_count; i++) {
        size += 4 + row->history[i]->len;
    }
    th_redis_command_open(c, size);
    for (size_t i = 0; i < row->history_count; i++) {
        write_number(c, row->history[i]->len, 4);
        th_redis_command_part_blob(c, row->history[i]);
    }
    th_redis_command_close(c);
}

static void write_row(struct th_redis_command *c, const struct th_row *row)
{
    struct th_blob *values[VALUES];
    values_of(row, values);
    write_columns(c, row, values);
    for (unsigned i = 0; i < VALUES; i++) {
        if (kind_of(values[i]) == LONG) {
            th_redis_command_blob(c, values[i]);
        }
    }
    if (row->history_count > 0) {
        write_history(c, row);
    }
}

void th_redis_row_write(struct th_redis_command *c, const struct th_row *row)
{
    char flags =
        (char)((row->stored ? STORED : 0) | (row->deleted ? DELETED : 0) | (row->news ? NEWS : 0));
    if (!row->deleted) {
        flags = (char)(flags | (row->replace_history ? REPLACE : 0) |
                       (row->history_count > 0 ? HISTORY : 0));
    }
    th_redis_command_add(c, th_str_n(&flags, 1));
    th_redis_command_add(c, row->instance_id);
    if (!row->deleted) {
        write_row(c, row);
    }
    if (row->news) {
        th_redis_command_blob(c, row->news);
    }
}

/* ---- reading a row ---- */

static struct th_str copy(struct th_str s)
{
    return th_str_n(th_str_dup(s), s.len);
}

static void read_columns(struct input *in, struct th_row *out, unsigned *kinds)
{
    take(in, LIBRARY);
    out->created = get_time(in);
    out->full = get(in, 8);
    uint64_t status = get(in, 1);
    out->status = (enum th_status)status;
    in->bad |= status >= TH_REDIS_STATUSES;
    *kinds = (unsigned)get(in, 1);
    take(in, 4);
    out->completed = get_time(in);
    out->updated = get_time(in);
    out->last = get(in, 8);
    uint64_t name = get(in, 4);
    if (name > 0) {
        out->name = copy(take(in, name - 1));
    }
}

/* Values stand in the row or, in the same order, among the long ones. */
static void read_values(struct input *in, unsigned kinds, const redisReply *longs, unsigned count,
                        struct th_blob **const values[static VALUES])
{
    size_t next = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned kind = kinds >> (2 * i) & 3;
        if (kind == ABSENT) {
            continue;
        }
        struct th_str value = kind == LONG ? th_redis_string(longs, next++) : take(in, get(in, 2));
        if (!th_str_present(value)) {
            in->bad = true;
            return;
        }
        *values[i] = th_blob_new(value.data, value.len);
    }
}

static void read_chunks(struct th_str part, struct th_row *out, size_t *capacity, bool *bad)
{
    struct input in = {.left = part, .bad = !th_str_present(part)};
    struct th_blob **history = (struct th_blob **)out->history;
    while (!in.bad && in.left.len > 0) {
        struct th_str chunk = take(&in, get(&in, 4));
        if (!in.bad) {
            history = th_grow(history, capacity, out->history_count + 1, sizeof(*history));
            history[out->history_count++] = th_blob_new(chunk.data, chunk.len);
            out->history = history;
        }
    }
    *bad |= in.bad;
}

/* An instance is: id, row, long values, chunks. */
static bool read_instance(const redisReply *instance, unsigned count, struct th_row *out)
{
    const redisReply *parts = th_redis_array(instance, 3);
    struct input in = {.left = th_redis_string(instance, 1)};
    struct th_blob **values[VALUES] = {&out->info, &out->input, &out->output, &out->state};
    struct th_str id = th_redis_string(instance, 0);
    unsigned kinds;
    size_t capacity = 0;
    out->instance_id = copy(id);
    read_columns(&in, out, &kinds);
    read_values(&in, kinds, th_redis_array(instance, 2), count, values);
    for (size_t i = 0; parts && i < parts->elements; i++) {
        read_chunks(th_redis_string(parts, i), out, &capacity, &in.bad);
    }
    return !in.bad && th_str_present(id);
}

bool th_redis_row_read(const redisReply *instance, enum th_redis_values values, struct th_row *out,
                       struct th_error *error)
{
    *out = (struct th_row){0};
    if (read_instance(instance, values, out)) {
        return true;
    }
    struct th_str id = th_redis_string(instance, 0);
    th_row_deinit(out);
    return th_fail(error, TH_CORRUPT, "the row of %.*s in Redis is damaged", TH_PRI(id));
}
