/*
 * truth: what a simulated hub has stored. Two kinds of thing: topics (logs and inboxes: records
 * with growing offsets) and projections (rows by instance id at a watermark). No chance and no
 * time here; world.h decides what happens when. Private to simulated/.
 */
#pragma once

#include "provider/provider.h"
#include "provider/simulated/simulated.h"

struct truth_topic {
    struct th_sim_record *records; /* by offset; below `start`: trimmed and kept for checkers */
    size_t count, capacity;
    int64_t start, end;
};

int64_t truth_topic_append(struct truth_topic *topic, struct th_blob *bytes, unsigned handle,
                           bool durable);
/* Index of the first record at or above `offset`; `count` when there is none. */
size_t truth_topic_find(const struct truth_topic *topic, int64_t offset);
/* The record at `offset`, or NULL. */
struct th_sim_record *truth_topic_at(const struct truth_topic *topic, int64_t offset);
void truth_topic_trim(struct truth_topic *topic, int64_t below, bool keep);
/* Removes one record; its offset stays unused. */
void truth_topic_remove(struct truth_topic *topic, int64_t offset);
void truth_topic_truncate(struct truth_topic *topic, int64_t end);
void truth_topic_deinit(struct truth_topic *topic);

struct truth_projection {
    struct th_watermark watermark;
    struct th_row **rows; /* by instance id */
    size_t count, capacity;
};

/* FENCED when `previous` is not the stored watermark, CORRUPT when rows are missing (if they are
 * `counted`); nothing changes then. */
enum th_code truth_project(struct truth_projection *projection, const struct th_projection *batch,
                           bool counted);
/* Whether there is a row when it is the turn of the n-th one of a batch. */
bool truth_is_there(const struct truth_projection *projection, const struct th_projection *batch,
                    size_t n);
/* NULL when absent. */
const struct th_row *truth_projection_row(const struct truth_projection *projection,
                                          struct th_str instance_id);
void truth_projection_copy(struct truth_projection *to, const struct truth_projection *from);
void truth_projection_clear(struct truth_projection *projection);
void truth_projection_lose(struct truth_projection *projection, size_t index);
