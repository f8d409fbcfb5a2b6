/*
 * The metadata is msgpack in base64: [format, incarnation, workers, runs]. A worker is [name,
 * serial, offsets]; offsets and runs are distances, so that they stay short: each offset from the
 * one before, each run from the end of the one before, and its length.
 */
#include "worker/offsets.h"

#include <stdlib.h>

#include "base/memory.h"
#include "model/base64.h"
#include "model/codec.h"

#define FORMAT 1
/* Three bytes are four characters; some are needed around. */
#define MOST_BYTES ((TH_OFFSETS_TEXT - 8) / 4 * 3 - 16)

void th_offsets_init(struct th_offsets *o, int64_t position)
{
    *o = (struct th_offsets){.position = position, .end = position};
}

static void drop_left(struct th_offsets *o, size_t index)
{
    free(o->left[index].worker);
    o->left_count--;
    memmove(&o->left[index], &o->left[index + 1], (o->left_count - index) * sizeof *o->left);
}

void th_offsets_deinit(struct th_offsets *o)
{
    while (o->left_count > 0)
        drop_left(o, o->left_count - 1);
    free(o->left);
    free(o->runs);
    *o = (struct th_offsets){0};
}

/* ---- finished -------------------------------------------------------------------------------- */

/* The first run that ends at or behind the offset. */
static size_t run_at(const struct th_offsets *o, int64_t offset)
{
    size_t low = 0;
    size_t high = o->run_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (o->runs[middle].to < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void remove_run(struct th_offsets *o, size_t index)
{
    o->run_count--;
    memmove(&o->runs[index], &o->runs[index + 1], (o->run_count - index) * sizeof *o->runs);
}

static void insert_run(struct th_offsets *o, size_t index, struct th_offset_run run)
{
    o->runs = th_grow(o->runs, &o->run_capacity, o->run_count + 1, sizeof *o->runs);
    memmove(&o->runs[index + 1], &o->runs[index], (o->run_count - index) * sizeof *o->runs);
    o->runs[index] = run;
    o->run_count++;
}

/* What it touches becomes one with it. */
static void add_run(struct th_offsets *o, struct th_offset_run run)
{
    size_t index = run_at(o, run.from);
    while (index < o->run_count && o->runs[index].from <= run.to) {
        if (o->runs[index].from < run.from)
            run.from = o->runs[index].from;
        if (o->runs[index].to > run.to)
            run.to = o->runs[index].to;
        remove_run(o, index);
    }
    insert_run(o, index, run);
}

static void advance(struct th_offsets *o)
{
    while (o->run_count > 0 && o->runs[0].from <= o->position) {
        if (o->runs[0].to > o->position)
            o->position = o->runs[0].to;
        remove_run(o, 0);
    }
    if (o->end < o->position)
        o->end = o->position;
}

static void finish_range(struct th_offsets *o, int64_t from, int64_t to)
{
    if (to <= o->position || from >= to)
        return;
    add_run(o, (struct th_offset_run){from, to});
    advance(o);
}

static bool is_finished(const struct th_offsets *o, int64_t offset)
{
    if (offset < o->position)
        return true;
    size_t index = run_at(o, offset + 1);
    return index < o->run_count && o->runs[index].from <= offset;
}

static struct th_offset_left *find_left(const struct th_offsets *o, int64_t offset)
{
    for (size_t i = 0; i < o->left_count; i++)
        if (o->left[i].offset == offset)
            return &o->left[i];
    return NULL;
}

enum th_offset_state th_offsets_arrive(struct th_offsets *o, int64_t offset)
{
    if (offset > o->end)
        finish_range(o, o->end, offset);
    if (offset >= o->end)
        o->end = offset + 1;
    if (is_finished(o, offset))
        return TH_OFFSET_FINISHED;
    return find_left(o, offset) ? TH_OFFSET_LEFT : TH_OFFSET_NEW;
}

void th_offsets_take_back(struct th_offsets *o, int64_t offset)
{
    struct th_offset_left *left = find_left(o, offset);
    if (left)
        drop_left(o, (size_t)(left - o->left));
}

void th_offsets_finish(struct th_offsets *o, int64_t offset)
{
    th_offsets_take_back(o, offset);
    finish_range(o, offset, offset + 1);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Offsets of one worker, as many as fit. */
static void write_worker(struct th_buffer *out, const char *name, uint64_t serial,
                         const int64_t *offsets, size_t count)
{
    TH_BUFFER list = {0};
    int64_t before = 0;
    uint32_t written = 0;
    size_t head = out->len + strlen(name) + 24;
    for (size_t i = 0; i < count && head + list.len < MOST_BYTES; i++, written++) {
        th_write_i64(&list, offsets[i] - before);
        before = offsets[i];
    }
    th_write_array(out, 3);
    th_write_str(out, th_str_of(name));
    th_write_u64(out, serial);
    th_write_array(out, written);
    th_buffer_str(out, th_buffer_view(&list));
}

/* Of those left to the same worker with the same serial as the one at `first`, all that stand
 * behind it; 0 when an earlier one has written them. */
static size_t group_of(const struct th_offsets *o, size_t first, int64_t *out)
{
    size_t count = 0;
    for (size_t i = 0; i < o->left_count; i++) {
        const struct th_offset_left *a = &o->left[first], *b = &o->left[i];
        if (a->serial != b->serial || strcmp(a->worker, b->worker) != 0)
            continue;
        if (i < first)
            return 0;
        out[count++] = b->offset;
    }
    return count;
}

static void write_workers(struct th_buffer *out, const struct th_offsets *o,
                          const struct th_offsets_running *running)
{
    TH_AUTOFREE int64_t *group = th_alloc((o->left_count + 1) * sizeof *group);
    TH_BUFFER workers = {0};
    uint32_t count = 0;
    if (running && running->count > 0) {
        write_worker(&workers, running->worker, running->serial, running->offsets, running->count);
        count++;
    }
    for (size_t i = 0; i < o->left_count && workers.len < MOST_BYTES / 2; i++) {
        size_t members = group_of(o, i, group);
        if (members == 0)
            continue;
        write_worker(&workers, o->left[i].worker, o->left[i].serial, group, members);
        count++;
    }
    th_write_array(out, count);
    th_buffer_str(out, th_buffer_view(&workers));
}

static void write_runs(struct th_buffer *out, const struct th_offsets *o)
{
    TH_BUFFER runs = {0};
    int64_t before = o->position;
    uint32_t count = 0;
    for (size_t i = 0; i < o->run_count && out->len + runs.len < MOST_BYTES - 24; i++) {
        th_write_i64(&runs, o->runs[i].from - before);
        th_write_i64(&runs, o->runs[i].to - o->runs[i].from);
        before = o->runs[i].to;
        count += 2;
    }
    th_write_array(out, count);
    th_buffer_str(out, th_buffer_view(&runs));
}

void th_offsets_encode(const struct th_offsets *o, uint64_t incarnation,
                       const struct th_offsets_running *running, char out[static TH_OFFSETS_TEXT])
{
    TH_ARENA arena = {0};
    TH_BUFFER bytes = {0};
    th_write_array(&bytes, 4);
    th_write_u64(&bytes, FORMAT);
    th_write_u64(&bytes, incarnation);
    write_workers(&bytes, o, running);
    write_runs(&bytes, o);
    struct th_str text = th_base64_encode(&arena, th_buffer_view(&bytes));
    size_t len = text.len < TH_OFFSETS_TEXT ? text.len : 0;
    memcpy(out, text.data, len);
    out[len] = '\0';
}

/* ---- reading --------------------------------------------------------------------------------- */

static int by_offset(const void *a, const void *b)
{
    int64_t x = ((const struct th_offset_left *)a)->offset;
    int64_t y = ((const struct th_offset_left *)b)->offset;
    return (x > y) - (x < y);
}

static void add_left(struct th_offsets *o, int64_t offset, struct th_str worker, uint64_t serial)
{
    o->left = th_grow(o->left, &o->left_capacity, o->left_count + 1, sizeof *o->left);
    o->left[o->left_count++] =
        (struct th_offset_left){.offset = offset, .worker = th_str_dup(worker), .serial = serial};
}

static void read_worker(struct th_reader *in, struct th_offsets *o)
{
    uint32_t fields = th_read_array(in);
    struct th_str name = th_read_str(in);
    uint64_t serial = th_read_u64(in);
    int64_t offset = 0;
    if (fields != 3 || !th_str_present(name)) {
        th_read_fail(in, "a worker has a name, a serial and offsets");
        return;
    }
    for (uint32_t n = th_read_array(in); n > 0 && !in->failed; n--) {
        int64_t step = th_read_i64(in);
        if (__builtin_add_overflow(offset, step, &offset) || offset < 0)
            th_read_fail(in, "an offset is out of range");
        else if (!in->failed)
            add_left(o, offset, name, serial);
    }
}

static void read_runs(struct th_reader *in, struct th_offsets *o)
{
    int64_t from;
    int64_t to = o->position;
    for (uint32_t n = th_read_array(in); n >= 2 && !in->failed; n -= 2) {
        int64_t distance = th_read_i64(in);
        int64_t length = th_read_i64(in);
        if (distance < 0 || length < 1 || __builtin_add_overflow(to, distance, &from) ||
            __builtin_add_overflow(from, length, &to)) {
            th_read_fail(in, "a run is out of range");
            return;
        }
        finish_range(o, from, to);
    }
}

static void read_all(struct th_reader *in, struct th_offsets *o, uint64_t incarnation)
{
    if (th_read_array(in) != 4 || th_read_u64(in) != FORMAT || th_read_u64(in) != incarnation) {
        th_read_fail(in, "this is not about this hub");
        return;
    }
    for (uint32_t n = th_read_array(in); n > 0 && !in->failed; n--)
        read_worker(in, o);
    read_runs(in, o);
}

bool th_offsets_decode(struct th_offsets *o, int64_t position, uint64_t incarnation,
                       struct th_str text)
{
    TH_ARENA arena = {0};
    struct th_str bytes;
    th_offsets_init(o, position);
    if (text.len == 0 || !th_base64_decode(&arena, text, &bytes))
        return false;
    struct th_reader in = th_reader_of(bytes, &arena, NULL);
    read_all(&in, o, incarnation);
    if (in.failed) {
        th_offsets_deinit(o);
        th_offsets_init(o, position);
        return false;
    }
    if (o->left_count > 1)
        qsort(o->left, o->left_count, sizeof *o->left, by_offset);
    while (o->left_count > 0 && is_finished(o, o->left[0].offset))
        drop_left(o, 0);
    o->end = o->position;
    return true;
}
