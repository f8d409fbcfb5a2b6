/*
 * offsets: what of one activity partition is finished, and what runs elsewhere. Activities end in
 * any order, Kafka keeps one number for a group: the lowest offset that is not finished is
 * committed, and what is finished above it, and what still runs with a former consumer, ride along
 * in the commit's metadata. Pure; one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* Kafka takes 4096 bytes of metadata (offset.metadata.max.bytes). */
#define TH_OFFSETS_TEXT 4000

/* Finished offsets from `from` up to but not including `to`. */
struct th_offset_run {
    int64_t from, to;
};

/* A message that a former consumer of the partition was running when it lost it. It has finished
 * when that worker says so: in something it said with this serial or a higher one, the message is
 * no longer listed. */
struct th_offset_left {
    int64_t offset;
    char *worker;
    uint64_t serial;
};

struct th_offsets {
    int64_t position;           /* everything below is finished */
    int64_t end;                /* after the last message that came */
    struct th_offset_run *runs; /* finished above the position: ascending, apart */
    size_t run_count, run_capacity;
    struct th_offset_left *left; /* ascending */
    size_t left_count, left_capacity;
};

void th_offsets_init(struct th_offsets *offsets, int64_t position);
void th_offsets_deinit(struct th_offsets *offsets);

enum th_offset_state {
    TH_OFFSET_NEW,      /* to be run */
    TH_OFFSET_FINISHED, /* nothing to do */
    TH_OFFSET_LEFT,     /* somebody else runs it */
};
/* A message came. They come in order; offsets that are skipped do not exist. */
enum th_offset_state th_offsets_arrive(struct th_offsets *offsets, int64_t offset);

/* It is finished, wherever it ran. */
void th_offsets_finish(struct th_offsets *offsets, int64_t offset);
/* Whoever ran it is gone: it is to be run. */
void th_offsets_take_back(struct th_offsets *offsets, int64_t offset);

/* What runs here at a moment when the partition goes to another consumer. */
struct th_offsets_running {
    const int64_t *offsets; /* ascending */
    size_t count;
    const char *worker; /* this one's name */
    uint64_t serial;    /* of what it said about them */
};

/* The metadata for a commit at `position`. What does not fit is left out, and run again by whoever
 * reads it: first to go is what is finished, from above. `running` may be NULL. */
void th_offsets_encode(const struct th_offsets *offsets, uint64_t incarnation,
                       const struct th_offsets_running *running, char out[static TH_OFFSETS_TEXT]);

/* Begins from a commit. False: it is of another incarnation of the hub, or nobody's; then nothing
 * is known but the position. */
bool th_offsets_decode(struct th_offsets *offsets, int64_t position, uint64_t incarnation,
                       struct th_str text);
