/*
 * answer: reads of the truth, as it stands when the answer is given: any time after the question.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "provider/simulated/world.h"

static void answer_read(struct th_sim_world *world, const struct sim_op *op,
                        struct th_completion *done)
{
    const struct truth_topic *log = &world->partitions[op->partition].log;
    int64_t from = op->from > log->start ? op->from : log->start;
    int64_t to = op->to < log->end ? op->to : log->end;
    uint32_t most = world->options.read_records > 0 ? world->options.read_records : 1;
    size_t piece = 1 + th_random_below(&world->random, most);
    size_t i = truth_topic_find(log, from);

    done->records = th_alloc(piece * sizeof(struct th_log_record));
    for (; i < log->count && log->records[i].offset < to && done->record_count < piece; i++) {
        done->records[done->record_count++] =
            (struct th_log_record){log->records[i].offset, th_blob_ref(log->records[i].bytes)};
        from = log->records[i].offset + 1;
    }
    done->offset = from;
    done->last = from >= to;
}

/* A shared projection that lacks rows: whether that is noticed depends on how it counts. */
static bool notices_loss(struct th_sim_world *world, const struct truth_projection *projection)
{
    return world->options.shared && projection->count != projection->watermark.rows &&
           th_random_below(&world->random, 2) == 0;
}

static void answer_load(struct th_sim_world *world, const struct sim_op *op,
                        struct th_completion *done)
{
    const struct truth_projection *projection = &world->partitions[op->partition].projection;
    struct th_str id = th_str_n(op->text, op->text_len);
    const struct th_row *row = truth_projection_row(projection, id);
    if (!row && notices_loss(world, projection)) {
        th_fail(&done->error, TH_CORRUPT, "the projection lacks rows");
    } else if (!row) {
        th_fail(&done->error, TH_NOT_FOUND, "no instance '%.*s'", TH_PRI(id));
    } else {
        struct th_row wanted = *row;
        wanted.history_count = op->history ? row->history_count : 0;
        done->rows = TH_NEW(struct th_row);
        done->row_count = 1;
        th_row_copy(done->rows, &wanted);
    }
    done->watermark = projection->watermark;
}

/* Behind the last durable message there may be others, delivered early, or holes that failed ones
 * left: nothing that anybody could wait for. */
static int64_t durable_end(const struct truth_topic *inbox)
{
    for (size_t n = inbox->count; n > 0 && inbox->records[n - 1].offset >= inbox->start; n--) {
        if (inbox->records[n - 1].durable) {
            return inbox->records[n - 1].offset + 1;
        }
    }
    return inbox->start;
}

/* Of two halves the log's may have answered at once, and the projection's long after. */
static void answer_state(struct th_sim_world *world, const struct sim_op *op,
                         struct th_completion *done)
{
    const struct sim_partition *p = &world->partitions[op->partition];
    done->watermark = p->projection.watermark;
    done->stored_rows = p->projection.count;
    done->log_start = world->options.shared ? op->from : p->log.start;
    done->log_end = world->options.shared ? op->to : p->log.end;
    done->inbox_start = p->inbox.start;
    done->inbox_end = durable_end(&p->inbox);
}

/* Rows whose copy in the log stands below `to`, from anywhere among them. */
static void answer_walk(struct th_sim_world *world, const struct sim_op *op,
                        struct th_completion *done)
{
    const struct truth_projection *projection = &world->partitions[op->partition].projection;
    size_t most = 1 + th_random_below(&world->random, op->query.limit);
    size_t from = th_random_below(&world->random, projection->count + 1);
    done->rows = th_alloc(most * sizeof(struct th_row));
    for (size_t n = 0; n < projection->count && done->row_count < most; n++) {
        const struct th_row *row = projection->rows[(from + n) % projection->count];
        if (row->full < (uint64_t)op->to) {
            th_row_copy(&done->rows[done->row_count++], row);
        }
    }
    done->watermark = projection->watermark;
    done->stored_rows = projection->count;
}

/* ---- queries ---- */

struct matches {
    const struct th_row **rows;
    size_t count, capacity;
};

static int by_order(const void *a, const void *b)
{
    return th_row_order(*(const struct th_row *const *)a, *(const struct th_row *const *)b);
}

static bool after(const struct th_row *row, const struct th_cursor *cursor)
{
    struct th_row place = {.created = cursor->created,
                           .instance_id = th_str_n(cursor->instance_id, cursor->len)};
    return !cursor->instance_id || th_row_order(row, &place) > 0;
}

static struct matches find_matches(const struct th_sim_world *world, const struct th_query *query,
                                   const struct th_cursor *cursor)
{
    struct matches found = {0};
    for (uint32_t p = 0; p < world->options.partitions; p++) {
        const struct truth_projection *projection = &world->partitions[p].projection;
        for (size_t i = 0; i < projection->count; i++) {
            const struct th_row *row = projection->rows[i];
            if (th_query_matches(query, row) && after(row, cursor)) {
                found.rows =
                    th_grow(found.rows, &found.capacity, found.count + 1, sizeof(found.rows[0]));
                found.rows[found.count++] = row;
            }
        }
    }
    if (found.count > 1) {
        qsort(found.rows, found.count, sizeof(found.rows[0]), by_order);
    }
    return found;
}

/* A query's row has neither history nor state, and payloads only when they were asked for. */
static void copy_for_query(struct th_row *to, const struct th_row *from, bool payloads)
{
    struct th_row lean = *from;
    lean.history = NULL;
    lean.history_count = 0;
    lean.state = NULL;
    if (!payloads) {
        lean.input = NULL;
        lean.output = NULL;
    }
    th_row_copy(to, &lean);
}

static void fill_page(const struct th_query *query, const struct matches *found,
                      struct th_completion *done)
{
    size_t most = found->count < query->limit ? found->count : query->limit;
    size_t bytes = 0;
    done->rows = th_alloc(most * sizeof(struct th_row));
    for (size_t i = 0; i < found->count; i++) {
        struct th_row row;
        copy_for_query(&row, found->rows[i], query->payloads);
        size_t row_bytes = th_query_row_bytes(&row);
        if (th_query_page_ends(query, i, bytes, row_bytes)) {
            th_row_deinit(&row);
            done->continuation = th_cursor_encode(found->rows[i - 1]);
            return;
        }
        done->rows[done->row_count++] = row;
        bytes += row_bytes;
    }
}

static void answer_query(struct th_sim_world *world, const struct sim_op *op,
                         struct th_completion *done)
{
    const struct th_query *query = &op->query;
    TH_CURSOR cursor = {0};
    if (!th_query_check(query, &done->error) ||
        (th_str_present(query->continuation) &&
         !th_cursor_decode(query->continuation, &cursor, &done->error))) {
        return;
    }
    struct matches found = find_matches(world, query, &cursor);
    fill_page(query, &found, done);
    done->watermarks = th_alloc(world->options.partitions * sizeof(struct th_watermark));
    for (uint32_t p = 0; p < world->options.partitions; p++) {
        done->watermarks[p] = world->partitions[p].projection.watermark;
    }
    free(found.rows);
}

/* ---- all of them ---- */

static void answer(struct th_sim_world *world, const struct sim_op *op, struct th_completion *done)
{
    switch (op->kind) {
    case TH_DONE_READ:
        answer_read(world, op, done);
        break;
    case TH_DONE_LOAD:
        answer_load(world, op, done);
        break;
    case TH_DONE_QUERY:
        answer_query(world, op, done);
        break;
    case TH_DONE_WALK:
        answer_walk(world, op, done);
        break;
    default:
        answer_state(world, op, done);
        break;
    }
}

void sim_answer(struct sim_handle *handle, struct sim_op *op)
{
    struct th_sim_world *world = handle->world;
    struct th_completion done = {
        .kind = op->kind, .partition = op->partition, .tag = op->tag, .offset = -1};
    bool down = world->projection_down && op->kind != TH_DONE_READ;
    if (down || sim_chance(world, world->options.fail_answer)) {
        done = th_completion_failed(op->kind, op->partition, op->tag, TH_UNAVAILABLE,
                                    "simulated partition %u: %s", op->partition,
                                    down ? "the projection is down" : "no answer in time");
        if (op->kind == TH_DONE_STATE) {
            answer_state(world, op, &done);
            done.watermark = TH_WATERMARK_NONE;
        }
    } else {
        answer(world, op, &done);
    }
    op->code = done.error.code;
    op->offset = done.offset;
    sim_trace_op(world, handle->number, "is answered", op);
    sim_handle_complete(handle, &done);
    sim_op_free(op);
}
