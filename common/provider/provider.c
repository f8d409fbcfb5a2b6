#include "provider/provider.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"

/* Of a page whose asker has no bound of its own. */
#define PAGE_BYTES ((size_t)16 << 20)

bool th_watermark_equal(const struct th_watermark *a, const struct th_watermark *b)
{
    return a->offset == b->offset && a->epoch == b->epoch && a->sequence == b->sequence &&
           a->batch == b->batch;
}

/* ---- rows ---- */

static struct th_str copy_str(struct th_str s)
{
    return (struct th_str){th_str_dup(s), s.len};
}

void th_row_copy(struct th_row *to, const struct th_row *from)
{
    *to = *from;
    to->instance_id = copy_str(from->instance_id);
    to->name = copy_str(from->name);
    th_blob_ref(to->info);
    th_blob_ref(to->state);
    th_blob_ref(to->input);
    th_blob_ref(to->output);
    th_blob_ref(to->news);
    to->history = th_memdup(from->history, from->history_count * sizeof(struct th_blob *));
    for (size_t i = 0; i < to->history_count; i++) {
        th_blob_ref(to->history[i]);
    }
}

void th_row_deinit(struct th_row *row)
{
    free((void *)row->instance_id.data);
    free((void *)row->name.data);
    th_blob_unref(row->info);
    th_blob_unref(row->state);
    th_blob_unref(row->input);
    th_blob_unref(row->output);
    th_blob_unref(row->news);
    for (size_t i = 0; i < row->history_count; i++) {
        th_blob_unref(row->history[i]);
    }
    free((void *)row->history);
    *row = (struct th_row){0};
}

/* ---- completions ---- */

void th_completion_deinit(struct th_completion *completion)
{
    th_blob_unref(completion->blob);
    for (size_t i = 0; i < completion->record_count; i++) {
        th_blob_unref(completion->records[i].bytes);
    }
    free(completion->records);
    for (size_t i = 0; i < completion->row_count; i++) {
        th_row_deinit(&completion->rows[i]);
    }
    free(completion->rows);
    free(completion->continuation);
    free(completion->watermarks);
    *completion = (struct th_completion){0};
}

/* Closes the hole at the front once it is as large as what waits: each item moves at most once
 * per time it is overtaken by its own number, so pushing stays cheap on average. */
static void completions_compact(struct th_completions *queue)
{
    size_t waiting = queue->end - queue->first;
    if (queue->end == queue->capacity && queue->first >= waiting && waiting > 0) {
        memmove(queue->items, queue->items + queue->first, waiting * sizeof(queue->items[0]));
        queue->first = 0;
        queue->end = waiting;
    }
}

bool th_completions_push(struct th_completions *queue, const struct th_completion *completion)
{
    bool empty = queue->first == queue->end;
    if (empty) {
        queue->first = queue->end = 0;
    }
    completions_compact(queue);
    queue->items =
        th_grow(queue->items, &queue->capacity, queue->end + 1, sizeof(struct th_completion));
    queue->items[queue->end++] = *completion;
    return empty;
}

size_t th_completions_pop(struct th_completions *queue, struct th_completion *out, size_t max)
{
    size_t waiting = queue->end - queue->first;
    size_t count = waiting < max ? waiting : max;
    if (count > 0) {
        memcpy(out, queue->items + queue->first, count * sizeof(out[0]));
        queue->first += count;
    }
    return count;
}

void th_completions_drop_deliveries(struct th_completions *queue, uint32_t partition)
{
    size_t kept = queue->first;
    for (size_t i = queue->first; i < queue->end; i++) {
        struct th_completion *item = &queue->items[i];
        if (item->kind == TH_DONE_DELIVER && item->partition == partition) {
            th_completion_deinit(item);
        } else {
            queue->items[kept++] = *item;
        }
    }
    queue->end = kept;
}

void th_completions_deinit(struct th_completions *queue)
{
    for (size_t i = queue->first; i < queue->end; i++) {
        th_completion_deinit(&queue->items[i]);
    }
    free(queue->items);
    *queue = (struct th_completions){0};
}

void th_provider_wake(const struct th_provider *provider)
{
    if (provider->wake) {
        provider->wake(provider->wake_argument);
    }
}

struct th_completion th_completion_failed(enum th_completion_kind kind, uint32_t partition,
                                          uint64_t tag, enum th_code code, const char *format, ...)
{
    struct th_completion failed = {.kind = kind, .partition = partition, .tag = tag, .offset = -1};
    failed.error.code = code;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(failed.error.message, sizeof(failed.error.message), format, arguments);
    va_end(arguments);
    return failed;
}

const char *th_completion_kind_text(enum th_completion_kind kind)
{
    static const char *const texts[] = {
        [TH_DONE_CLAIM] = "claim", [TH_DONE_READ] = "read",       [TH_DONE_APPEND] = "append",
        [TH_DONE_SEND] = "send",   [TH_DONE_DELIVER] = "deliver", [TH_DONE_PROJECT] = "project",
        [TH_DONE_LOAD] = "load",   [TH_DONE_QUERY] = "query",     [TH_DONE_STATE] = "state",
        [TH_DONE_WALK] = "walk",   [TH_DONE_DOUBT] = "doubt",     [TH_DONE_REPLY] = "reply",
        [TH_DONE_NEWS] = "news",
    };
    return (size_t)kind < TH_COUNT(texts) ? texts[kind] : "?";
}

/* ---- queries ---- */

/* A token is hex of: created (8 bytes, big-endian), id, CRC-32C of both (4 bytes). The sum tells
 * a damaged or invented token from a real one; it is no secret. */
enum { TOKEN_TIME = 8, TOKEN_SUM = 4 };

static void put_big_endian(char *out, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        out[i] = (char)(value >> (8 * (bytes - 1 - i)));
    }
}

static uint64_t get_big_endian(const char *in, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) {
        value = value << 8 | (unsigned char)in[i];
    }
    return value;
}

void th_cursor_deinit(struct th_cursor *cursor)
{
    free(cursor->instance_id);
    *cursor = (struct th_cursor){0};
}

char *th_cursor_encode(const struct th_row *row)
{
    TH_BUFFER raw = {0};
    char number[TOKEN_TIME];
    put_big_endian(number, (uint64_t)row->created, TOKEN_TIME);
    th_buffer_add(&raw, number, TOKEN_TIME);
    th_buffer_str(&raw, row->instance_id);
    put_big_endian(number, th_crc32c(0, raw.data, raw.len), TOKEN_SUM);
    th_buffer_add(&raw, number, TOKEN_SUM);

    static const char digits[] = "0123456789abcdef";
    char *token = th_alloc(raw.len * 2 + 1);
    for (size_t i = 0; i < raw.len; i++) {
        token[2 * i] = digits[(unsigned char)raw.data[i] >> 4];
        token[2 * i + 1] = digits[raw.data[i] & 0xf];
    }
    return token;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool unhex(struct th_str text, char *out)
{
    for (size_t i = 0; i < text.len / 2; i++) {
        int high = hex_digit(text.data[2 * i]);
        int low = hex_digit(text.data[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (char)(high << 4 | low);
    }
    return text.len % 2 == 0;
}

bool th_cursor_decode(struct th_str token, struct th_cursor *out, struct th_error *error)
{
    size_t len = token.len / 2;
    TH_AUTOFREE char *raw = th_alloc(len);
    if (len < TOKEN_TIME + TOKEN_SUM || !unhex(token, raw) ||
        th_crc32c(0, raw, len - TOKEN_SUM) != get_big_endian(raw + len - TOKEN_SUM, TOKEN_SUM)) {
        return th_fail(error, TH_INVALID, "the continuation token is none of this hub's");
    }
    size_t id_len = len - TOKEN_TIME - TOKEN_SUM;
    *out = (struct th_cursor){
        .created = (th_time)get_big_endian(raw, TOKEN_TIME),
        .instance_id = th_str_dup(th_str_n(raw + TOKEN_TIME, id_len)),
        .len = id_len,
    };
    return true;
}

bool th_query_check(const struct th_query *query, struct th_error *error)
{
    if (query->limit < 1 || query->limit > 1000) {
        return th_fail(error, TH_INVALID, "a page holds 1 to 1000 rows, not %u",
                       (unsigned)query->limit);
    }
    return true;
}

static bool within(th_time t, th_time from, th_time to)
{
    return (from == TH_TIME_NONE || (t != TH_TIME_NONE && t >= from)) &&
           (to == TH_TIME_NONE || (t != TH_TIME_NONE && t < to));
}

bool th_query_matches(const struct th_query *query, const struct th_row *row)
{
    return (!query->statuses || (query->statuses & TH_STATUS_BIT(row->status))) &&
           within(row->created, query->from, query->to) &&
           within(row->completed, query->completed_from, query->completed_to) &&
           (!th_str_present(query->id_prefix) ||
            th_str_starts(row->instance_id, query->id_prefix)) &&
           (!th_str_present(query->name) || th_str_eq_nocase(row->name, query->name));
}

static size_t size_of(const struct th_blob *blob)
{
    return blob ? blob->len : 0;
}

size_t th_query_row_bytes(const struct th_row *row)
{
    return size_of(row->info) + size_of(row->input) + size_of(row->output);
}

bool th_query_page_ends(const struct th_query *query, size_t rows, size_t bytes, size_t next_bytes)
{
    size_t most = query->bytes ? query->bytes : PAGE_BYTES;
    return rows >= query->limit || (rows > 0 && bytes + next_bytes > most);
}

int th_row_order(const struct th_row *a, const struct th_row *b)
{
    if (a->created != b->created) {
        return a->created < b->created ? -1 : 1;
    }
    return th_str_cmp(a->instance_id, b->instance_id);
}
