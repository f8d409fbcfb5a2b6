#include "unit/sqlite_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"

static void fail(const char *what, const char *message)
{
    fprintf(stderr, "%s: %s\n", what, message);
    abort();
}

void rig_init(struct rig *r)
{
    *r = (struct rig){.folder = "/tmp/taskhub-sqlite-XXXXXX"};
    if (!mkdtemp(r->folder)) {
        fail("mkdtemp", r->folder);
    }
    TH_BUFFER path = {0};
    th_buffer_format(&path, "%s/hub.db", r->folder);
    r->file = th_buffer_take(&path);
    th_queue_init(&r->wakes);
    struct th_error error = {0};
    if (!th_sqlite_create_hub(r->file, "Rig", RIG_PARTITIONS, false, &error)) {
        fail("create", error.message);
    }
}

static void remove_file(const struct rig *r, const char *suffix)
{
    TH_BUFFER path = {0};
    th_buffer_format(&path, "%s%s", r->file, suffix);
    TH_AUTOFREE char *name = th_buffer_take(&path);
    unlink(name);
}

void rig_deinit(struct rig *r)
{
    rig_close(r);
    static const char *const suffixes[] = {"", "-wal", "-shm", "-Rig.lock", "-Other.lock"};
    for (size_t i = 0; i < TH_COUNT(suffixes); i++) {
        remove_file(r, suffixes[i]);
    }
    rmdir(r->folder);
    free(r->file);
    th_queue_deinit(&r->wakes);
}

static void on_wake(void *argument)
{
    struct rig *r = argument;
    th_queue_wake(&r->wakes);
}

void rig_open(struct rig *r, const char *vfs, bool no_sync)
{
    struct th_sqlite_options options = {
        .file = r->file, .hub = "Rig", .vfs = vfs, .no_sync = no_sync};
    struct th_error error = {0};
    r->provider = th_sqlite_open(&options, &error);
    if (!r->provider) {
        fail("open", error.message);
    }
    r->provider->wake = on_wake;
    r->provider->wake_argument = r;
}

void rig_close(struct rig *r)
{
    if (r->provider) {
        r->provider->ops->close(r->provider);
        r->provider = NULL;
    }
    for (uint64_t i = 0; i < r->tags; i++) {
        th_completion_deinit(&r->done[i]);
    }
    for (size_t i = 0; i < r->delivery_count; i++) {
        th_completion_deinit(&r->deliveries[i]);
    }
    free(r->done);
    free(r->seen);
    free(r->deliveries);
    r->done = r->deliveries = NULL;
    r->seen = NULL;
    r->tags = r->come = r->capacity = r->seen_capacity = 0;
    r->delivery_count = r->delivery_capacity = 0;
}

/* ---- submissions ---- */

static uint64_t next_tag(struct rig *r)
{
    r->done = th_grow(r->done, &r->capacity, r->tags + 1, sizeof(*r->done));
    r->seen = th_grow(r->seen, &r->seen_capacity, r->tags + 1, sizeof(*r->seen));
    r->done[r->tags] = (struct th_completion){0};
    r->seen[r->tags] = false;
    return r->tags++;
}

uint64_t rig_claim(struct rig *r, uint32_t partition)
{
    struct th_blob *blob = th_blob_new("claim", 5);
    uint64_t tag = next_tag(r);
    r->provider->ops->claim(r->provider, partition, blob, tag);
    th_blob_unref(blob);
    return tag;
}

uint64_t rig_append_blob(struct rig *r, uint32_t partition, uint64_t epoch, struct th_blob *blob)
{
    uint64_t tag = next_tag(r);
    r->provider->ops->append(r->provider, partition, epoch, blob, tag);
    return tag;
}

uint64_t rig_append(struct rig *r, uint32_t partition, uint64_t epoch, const char *text)
{
    struct th_blob *blob = th_blob_new(text, strlen(text));
    uint64_t tag = rig_append_blob(r, partition, epoch, blob);
    th_blob_unref(blob);
    return tag;
}

uint64_t rig_send(struct rig *r, uint32_t source, uint32_t destination, const char *text)
{
    struct th_blob *blob = th_blob_new(text, strlen(text));
    uint64_t tag = next_tag(r);
    r->provider->ops->send(r->provider, source, destination, blob, tag);
    th_blob_unref(blob);
    return tag;
}

uint64_t rig_project(struct rig *r, const struct th_projection *batch)
{
    uint64_t tag = next_tag(r);
    r->provider->ops->project(r->provider, batch, tag);
    return tag;
}

uint64_t rig_read(struct rig *r, uint32_t partition, int64_t from, int64_t to)
{
    uint64_t tag = next_tag(r);
    r->provider->ops->read(r->provider, partition, from, to, tag);
    return tag;
}

uint64_t rig_load(struct rig *r, uint32_t partition, const char *id)
{
    uint64_t tag = next_tag(r);
    r->provider->ops->load(r->provider, partition, th_str_of(id), true, tag);
    return tag;
}

uint64_t rig_state(struct rig *r, uint32_t partition)
{
    uint64_t tag = next_tag(r);
    r->provider->ops->state(r->provider, partition, tag);
    return tag;
}

/* ---- completions ---- */

static void keep(struct rig *r, const struct th_completion *c)
{
    if (c->kind == TH_DONE_DELIVER) {
        r->deliveries = th_grow(r->deliveries, &r->delivery_capacity, r->delivery_count + 1,
                                sizeof(*r->deliveries));
        r->deliveries[r->delivery_count++] = *c;
        return;
    }
    if (c->tag >= r->tags || r->seen[c->tag]) {
        fail("completion", "a tag that is unknown or came before");
    }
    r->seen[c->tag] = true;
    r->done[c->tag] = *c;
    r->come++;
}

void rig_poll(struct rig *r)
{
    struct th_completion out[64];
    size_t n;
    while ((n = r->provider->ops->poll(r->provider, out, TH_COUNT(out))) > 0) {
        for (size_t i = 0; i < n; i++) {
            keep(r, &out[i]);
        }
    }
}

static void wait_more(struct rig *r)
{
    th_time deadline = th_monotonic() + 60 * TH_SECOND;
    th_queue_wait(&r->wakes, deadline);
    if (th_monotonic() >= deadline) {
        fail("wait", "nothing comes");
    }
}

const struct th_completion *rig_wait(struct rig *r, uint64_t tag)
{
    for (rig_poll(r); !r->seen[tag]; rig_poll(r)) {
        wait_more(r);
    }
    return &r->done[tag];
}

void rig_wait_all(struct rig *r)
{
    for (rig_poll(r); r->come < r->tags; rig_poll(r)) {
        wait_more(r);
    }
}

void rig_wait_deliveries(struct rig *r, size_t count)
{
    for (rig_poll(r); r->delivery_count < count; rig_poll(r)) {
        wait_more(r);
    }
}

enum th_code rig_code(struct rig *r, uint64_t tag)
{
    return rig_wait(r, tag)->error.code;
}

int64_t rig_offset(struct rig *r, uint64_t tag)
{
    const struct th_completion *c = rig_wait(r, tag);
    if (c->error.code != TH_OK) {
        fail("offset", c->error.message);
    }
    return c->offset;
}

bool rig_blob_is(const struct th_blob *blob, const char *text)
{
    return blob && th_str_eq(th_blob_view(blob), th_str_of(text));
}
