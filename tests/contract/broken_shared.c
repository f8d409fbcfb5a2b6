#include "contract/broken_shared.h"

#include <stdlib.h>

#include "base/memory.h"

struct broken {
    struct th_provider provider;
    struct th_provider *inner;
    enum shared_mutation mutation;
    struct th_completions own;
};

static struct broken *broken_of(struct th_provider *provider)
{
    return (struct broken *)provider;
}

static struct th_provider_traits broken_traits(struct th_provider *provider)
{
    struct broken *b = broken_of(provider);
    return b->inner->ops->traits(b->inner);
}

/* ---- submissions ---- */

static void tell_early(struct broken *b, const struct th_projection *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->rows[i].news) {
            struct th_completion news = {.kind = TH_DONE_NEWS,
                                         .partition = batch->partition,
                                         .blob = th_blob_ref(batch->rows[i].news)};
            th_completions_push(&b->own, &news);
            th_provider_wake(&b->provider);
        }
    }
}

static void broken_project(struct th_provider *provider, const struct th_projection *batch,
                           uint64_t tag)
{
    struct broken *b = broken_of(provider);
    struct th_projection changed = *batch;
    struct th_row *rows = th_memdup(batch->rows, batch->count * sizeof(*rows));
    changed.rows = rows;
    for (size_t i = 0; b->mutation == SHARED_MUTATION_FORGET_STORED && i < batch->count; i++) {
        rows[i].stored = false;
    }
    if (b->mutation == SHARED_MUTATION_LOSE_FLOOR) {
        changed.next.floor = -1;
    } else if (b->mutation == SHARED_MUTATION_FORGET_BUILDING) {
        changed.previous.building = changed.next.building = false;
    } else if (b->mutation == SHARED_MUTATION_FORGET_BATCH) {
        changed.previous.batch = changed.next.batch = 0;
    } else if (b->mutation == SHARED_MUTATION_CLEAR_LATER) {
        changed.clear = false;
    } else if (b->mutation == SHARED_MUTATION_NEWS_TOO_EARLY) {
        tell_early(b, batch);
    }
    b->inner->ops->project(b->inner, &changed, tag);
    free(rows);
}

static void broken_load(struct th_provider *provider, uint32_t partition, struct th_str instance_id,
                        bool history, uint64_t tag)
{
    struct broken *b = broken_of(provider);
    b->inner->ops->load(b->inner, partition, instance_id, history, tag);
}

static void broken_query(struct th_provider *provider, const struct th_query *query, uint64_t tag)
{
    struct broken *b = broken_of(provider);
    b->inner->ops->query(b->inner, query, tag);
}

static void broken_state(struct th_provider *provider, uint32_t partition, uint64_t tag)
{
    struct broken *b = broken_of(provider);
    b->inner->ops->state(b->inner, partition, tag);
}

static void broken_walk(struct th_provider *provider, uint32_t partition, uint64_t full_below,
                        uint32_t limit, uint64_t tag)
{
    struct broken *b = broken_of(provider);
    full_below = b->mutation == SHARED_MUTATION_WALK_ALL ? UINT64_MAX : full_below;
    full_below += b->mutation == SHARED_MUTATION_WALK_INCLUDES && full_below < UINT64_MAX;
    limit = b->mutation == SHARED_MUTATION_WALK_NO_LIMIT ? 1000 : limit;
    b->inner->ops->walk(b->inner, partition, full_below, limit, tag);
}

static void broken_reply(struct th_provider *provider, const char *address, struct th_blob *message)
{
    struct broken *b = broken_of(provider);
    if (b->mutation != SHARED_MUTATION_LOSE_REPLY || message->len > 0) {
        b->inner->ops->reply(b->inner, address, message);
    }
}

static void broken_watch(struct th_provider *provider, uint32_t partition, bool wanted)
{
    struct broken *b = broken_of(provider);
    if (b->mutation != SHARED_MUTATION_WATCH_FOR_EVER || wanted) {
        b->inner->ops->watch(b->inner, partition, wanted);
    }
}

/* ---- completions ---- */

static void break_page(const struct broken *b, struct th_completion *done)
{
    if (b->mutation == SHARED_MUTATION_NO_WATERMARKS) {
        free(done->watermarks);
        done->watermarks = NULL;
    } else if (b->mutation == SHARED_MUTATION_WRONG_WATERMARKS && done->watermarks) {
        struct th_watermark first = done->watermarks[0];
        done->watermarks[0] = done->watermarks[1];
        done->watermarks[1] = first;
    }
}

static void drop_histories(struct th_completion *done)
{
    for (size_t i = 0; i < done->row_count; i++) {
        struct th_row *row = &done->rows[i];
        while (row->history_count > 0) {
            th_blob_unref(row->history[--row->history_count]);
        }
    }
}

static void break_completion(const struct broken *b, struct th_completion *done)
{
    if (done->kind == TH_DONE_QUERY) {
        break_page(b, done);
    } else if (done->kind == TH_DONE_WALK && b->mutation == SHARED_MUTATION_WALK_LEAN) {
        drop_histories(done);
    } else if (done->kind == TH_DONE_NEWS && b->mutation == SHARED_MUTATION_NEWS_OF_ANYWHERE) {
        done->partition = 0;
    } else if (done->kind == TH_DONE_PROJECT && b->mutation == SHARED_MUTATION_MISCOUNT &&
               done->error.code == TH_CORRUPT) {
        done->error = (struct th_error){0};
    }
}

static bool suppressed(const struct broken *b, const struct th_completion *done)
{
    return b->mutation == SHARED_MUTATION_SILENT_WATCH && done->kind == TH_DONE_NEWS && !done->blob;
}

static size_t broken_poll(struct th_provider *provider, struct th_completion *out, size_t max)
{
    struct broken *b = broken_of(provider);
    size_t own = th_completions_pop(&b->own, out, max);
    size_t got = b->inner->ops->poll(b->inner, out + own, max - own);
    size_t count = own;
    for (size_t i = own; i < own + got; i++) {
        if (suppressed(b, &out[i])) {
            th_completion_deinit(&out[i]);
        } else {
            break_completion(b, &out[i]);
            out[count++] = out[i];
        }
    }
    return count;
}

/* ---- opening and closing ---- */

static void broken_close(struct th_provider *provider)
{
    struct broken *b = broken_of(provider);
    b->inner->ops->close(b->inner);
    th_completions_deinit(&b->own);
    free(b);
}

static void relay_wake(void *argument)
{
    th_provider_wake(&((struct broken *)argument)->provider);
}

static const struct th_provider_ops broken_ops = {
    .traits = broken_traits,
    .project = broken_project,
    .load = broken_load,
    .query = broken_query,
    .state = broken_state,
    .walk = broken_walk,
    .reply = broken_reply,
    .watch = broken_watch,
    .poll = broken_poll,
    .close = broken_close,
};

struct th_provider *broken_shared_open(struct th_provider *inner, enum shared_mutation mutation)
{
    if (!inner) {
        return NULL;
    }
    struct broken *b = TH_NEW(struct broken);
    b->inner = inner;
    b->mutation = mutation;
    b->provider.ops = &broken_ops;
    b->provider.hub = inner->hub;
    memcpy(b->provider.address, inner->address, sizeof(b->provider.address));
    inner->wake = relay_wake;
    inner->wake_argument = b;
    return &b->provider;
}
