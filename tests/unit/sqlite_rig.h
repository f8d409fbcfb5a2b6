/* sqlite_rig: an embedded provider in a folder of its own, with submissions in one line each. */
#pragma once

#include "base/queue.h"
#include "provider/provider.h"
#include "provider/sqlite/sqlite.h"

enum { RIG_PARTITIONS = 3, RIG_CLIENT = 1000 };

struct rig {
    char folder[64];
    char *file;
    struct th_provider *provider;
    struct th_queue wakes;
    struct th_completion *done; /* by tag; `seen` says which have come */
    bool *seen;
    uint64_t tags, come, capacity, seen_capacity;
    struct th_completion *deliveries;
    size_t delivery_count, delivery_capacity;
};

/* A folder and a hub named Rig. */
void rig_init(struct rig *r);
void rig_deinit(struct rig *r); /* closes and removes everything */
void rig_open(struct rig *r, const char *vfs, bool no_sync);
void rig_close(struct rig *r); /* and forgets what has come */

uint64_t rig_claim(struct rig *r, uint32_t partition);
uint64_t rig_append(struct rig *r, uint32_t partition, uint64_t epoch, const char *text);
uint64_t rig_append_blob(struct rig *r, uint32_t partition, uint64_t epoch, struct th_blob *blob);
uint64_t rig_send(struct rig *r, uint32_t source, uint32_t destination, const char *text);
uint64_t rig_project(struct rig *r, const struct th_projection *batch);
uint64_t rig_read(struct rig *r, uint32_t partition, int64_t from, int64_t to);
uint64_t rig_load(struct rig *r, uint32_t partition, const char *id);
uint64_t rig_state(struct rig *r, uint32_t partition);

/* Takes what has come without waiting. */
void rig_poll(struct rig *r);
/* Until this one has come. Borrowed until rig_close. */
const struct th_completion *rig_wait(struct rig *r, uint64_t tag);
void rig_wait_all(struct rig *r);
void rig_wait_deliveries(struct rig *r, size_t count);
enum th_code rig_code(struct rig *r, uint64_t tag); /* waits */
int64_t rig_offset(struct rig *r, uint64_t tag);    /* waits; the completion must be good */

bool rig_blob_is(const struct th_blob *blob, const char *text);
