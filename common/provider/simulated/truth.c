#include "provider/simulated/truth.h"

#include <stdlib.h>

#include "base/memory.h"

/* ---- topics ---- */

int64_t truth_topic_append(struct truth_topic *topic, struct th_blob *bytes, unsigned handle,
                           bool durable)
{
    topic->records =
        th_grow(topic->records, &topic->capacity, topic->count + 1, sizeof(struct th_sim_record));
    topic->records[topic->count++] = (struct th_sim_record){
        .offset = topic->end, .bytes = th_blob_ref(bytes), .durable = durable, .handle = handle};
    return topic->end++;
}

size_t truth_topic_find(const struct truth_topic *topic, int64_t offset)
{
    size_t low = 0;
    size_t high = topic->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (topic->records[middle].offset < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct th_sim_record *truth_topic_at(const struct truth_topic *topic, int64_t offset)
{
    size_t i = truth_topic_find(topic, offset);
    return i < topic->count && topic->records[i].offset == offset ? &topic->records[i] : NULL;
}

static void remove_range(struct truth_topic *topic, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        th_blob_unref(topic->records[i].bytes);
    }
    if (to > from) {
        memmove(topic->records + from, topic->records + to,
                (topic->count - to) * sizeof(topic->records[0]));
        topic->count -= to - from;
    }
}

void truth_topic_trim(struct truth_topic *topic, int64_t below, bool keep)
{
    if (below > topic->end) {
        below = topic->end;
    }
    if (below > topic->start) {
        topic->start = below;
        if (!keep) {
            remove_range(topic, 0, truth_topic_find(topic, below));
        }
    }
}

void truth_topic_remove(struct truth_topic *topic, int64_t offset)
{
    struct th_sim_record *record = truth_topic_at(topic, offset);
    if (record) {
        size_t i = (size_t)(record - topic->records);
        remove_range(topic, i, i + 1);
    }
}

void truth_topic_truncate(struct truth_topic *topic, int64_t end)
{
    if (end < topic->end) {
        remove_range(topic, truth_topic_find(topic, end), topic->count);
        topic->end = end > 0 ? end : 0;
        topic->start = topic->start < topic->end ? topic->start : topic->end;
    }
}

void truth_topic_deinit(struct truth_topic *topic)
{
    remove_range(topic, 0, topic->count);
    free(topic->records);
    *topic = (struct truth_topic){0};
}

/* ---- projections ---- */

/* Index of the first row whose id is not below `id`. */
static size_t row_index(const struct truth_projection *projection, struct th_str id)
{
    size_t low = 0;
    size_t high = projection->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (th_str_cmp(projection->rows[middle]->instance_id, id) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool row_at(const struct truth_projection *projection, size_t i, struct th_str id)
{
    return i < projection->count && th_str_eq(projection->rows[i]->instance_id, id);
}

const struct th_row *truth_projection_row(const struct truth_projection *projection,
                                          struct th_str instance_id)
{
    size_t i = row_index(projection, instance_id);
    return row_at(projection, i, instance_id) ? projection->rows[i] : NULL;
}

static void row_free(struct th_row *row)
{
    th_row_deinit(row);
    free(row);
}

static void row_remove(struct truth_projection *projection, size_t i)
{
    row_free(projection->rows[i]);
    projection->count--;
    memmove(projection->rows + i, projection->rows + i + 1,
            (projection->count - i) * sizeof(projection->rows[0]));
}

static void row_insert(struct truth_projection *projection, size_t i, struct th_row *row)
{
    projection->rows = th_grow(projection->rows, &projection->capacity, projection->count + 1,
                               sizeof(projection->rows[0]));
    memmove(projection->rows + i + 1, projection->rows + i,
            (projection->count - i) * sizeof(projection->rows[0]));
    projection->rows[i] = row;
    projection->count++;
}

/* Puts the stored history in front of the row's new chunks. */
static void keep_history(struct th_row *row, const struct th_row *stored)
{
    size_t count = stored->history_count + row->history_count;
    struct th_blob **all = th_alloc(count * sizeof(struct th_blob *));
    for (size_t i = 0; i < stored->history_count; i++) {
        all[i] = th_blob_ref(stored->history[i]);
    }
    if (row->history_count > 0) {
        memcpy(all + stored->history_count, row->history,
               row->history_count * sizeof(struct th_blob *));
    }
    free((void *)row->history);
    row->history = all;
    row->history_count = count;
}

static void upsert(struct truth_projection *projection, size_t i, const struct th_row *row)
{
    struct th_row *fresh = TH_NEW(struct th_row);
    th_row_copy(fresh, row);
    bool present = row_at(projection, i, row->instance_id);
    if (present && !row->replace_history) {
        keep_history(fresh, projection->rows[i]);
    }
    fresh->replace_history = false;
    th_blob_unref(fresh->news);
    fresh->news = NULL;
    if (present) {
        row_free(projection->rows[i]);
        projection->rows[i] = fresh;
    } else {
        row_insert(projection, i, fresh);
    }
}

bool truth_is_there(const struct truth_projection *projection, const struct th_projection *batch,
                    size_t n)
{
    struct th_str id = batch->rows[n].instance_id;
    for (size_t i = n; i > 0; i--) {
        if (th_str_eq(batch->rows[i - 1].instance_id, id)) {
            return !batch->rows[i - 1].deleted;
        }
    }
    return !batch->clear && row_at(projection, row_index(projection, id), id);
}

/* Whether what the batch knows of is there, and as many rows as it says. */
static bool is_whole(const struct truth_projection *projection, const struct th_projection *batch)
{
    size_t count = batch->clear ? 0 : projection->count;
    for (size_t n = 0; n < batch->count; n++) {
        const struct th_row *row = &batch->rows[n];
        bool there = truth_is_there(projection, batch, n);
        if (there != row->stored) {
            return false;
        }
        count += !there && !row->deleted;
        count -= there && row->deleted;
    }
    return count == batch->next.rows;
}

enum th_code truth_project(struct truth_projection *projection, const struct th_projection *batch,
                           bool counted)
{
    if (!th_watermark_equal(&projection->watermark, &batch->previous)) {
        return TH_FENCED;
    }
    if (counted && !is_whole(projection, batch)) {
        return TH_CORRUPT;
    }
    if (batch->clear) {
        truth_projection_clear(projection);
    }
    for (size_t n = 0; n < batch->count; n++) {
        const struct th_row *row = &batch->rows[n];
        size_t i = row_index(projection, row->instance_id);
        if (!row->deleted) {
            upsert(projection, i, row);
        } else if (row_at(projection, i, row->instance_id)) {
            row_remove(projection, i);
        }
    }
    projection->watermark = batch->next;
    return TH_OK;
}

void truth_projection_copy(struct truth_projection *to, const struct truth_projection *from)
{
    truth_projection_clear(to);
    to->rows = th_grow(NULL, &to->capacity, from->count, sizeof(to->rows[0]));
    for (size_t i = 0; i < from->count; i++) {
        to->rows[i] = TH_NEW(struct th_row);
        th_row_copy(to->rows[i], from->rows[i]);
    }
    to->count = from->count;
    to->watermark = from->watermark;
}

void truth_projection_clear(struct truth_projection *projection)
{
    for (size_t i = 0; i < projection->count; i++) {
        row_free(projection->rows[i]);
    }
    free(projection->rows);
    *projection = (struct truth_projection){.watermark = TH_WATERMARK_NONE};
}

void truth_projection_lose(struct truth_projection *projection, size_t index)
{
    row_remove(projection, index);
}
