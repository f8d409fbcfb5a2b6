#include "provider/fleet/fleet.h"

#include <stdlib.h>

#include "base/memory.h"
#include "provider/provider.h"

struct fleet {
    struct th_provider base;
    struct th_provider *log, *projection;
    struct join *joins;         /* states that are under way */
    struct th_completions done; /* states that both halves have answered */
    bool projection_first;      /* whose turn it is in poll */
};

/* A STATE that both halves are asked; its address is their tag. */
struct join {
    struct join *previous, *next;
    uint64_t tag;
    bool answered; /* by one of them */
    struct th_completion ends, watermark;
};

static struct fleet *fleet_of(struct th_provider *provider)
{
    return (struct fleet *)provider; /* its first member */
}

/* ---- states ---- */

static struct join *join_new(struct fleet *f, uint64_t tag)
{
    struct join *join = TH_NEW(struct join);
    join->tag = tag;
    join->next = f->joins;
    if (join->next) {
        join->next->previous = join;
    }
    f->joins = join;
    return join;
}

static void join_free(struct fleet *f, struct join *join)
{
    if (join->next) {
        join->next->previous = join->previous;
    }
    if (join->previous) {
        join->previous->next = join->next;
    } else {
        f->joins = join->next;
    }
    th_completion_deinit(&join->ends);
    th_completion_deinit(&join->watermark);
    free(join);
}

/* An error of the log half counts for all of it; one of the projection half leaves the ends. */
static struct th_completion joined(const struct join *join)
{
    struct th_completion done = join->ends;
    done.tag = join->tag;
    if (done.error.code == TH_OK) {
        done.error = join->watermark.error;
    }
    done.watermark =
        join->watermark.error.code == TH_OK ? join->watermark.watermark : TH_WATERMARK_NONE;
    done.stored_rows = join->watermark.stored_rows;
    return done;
}

static void take_state(struct fleet *f, bool from_projection, struct th_completion *part)
{
    struct join *join = (struct join *)(uintptr_t)part->tag;
    *(from_projection ? &join->watermark : &join->ends) = *part;
    if (join->answered) {
        struct th_completion done = joined(join);
        th_completions_push(&f->done, &done);
        join_free(f, join);
    } else {
        join->answered = true;
    }
}

static void state(struct th_provider *p, uint32_t partition, uint64_t tag)
{
    struct fleet *f = fleet_of(p);
    uint64_t both = (uint64_t)(uintptr_t)join_new(f, tag);
    f->log->ops->state(f->log, partition, both);
    f->projection->ops->state(f->projection, partition, both);
}

/* ---- operations of one half ---- */

static struct th_provider_traits traits(struct th_provider *p)
{
    struct fleet *f = fleet_of(p);
    struct th_provider_traits log = f->log->ops->traits(f->log);
    struct th_provider_traits projection = f->projection->ops->traits(f->projection);
    return (struct th_provider_traits){
        .name = "fleet",
        .max_record_bytes = log.max_record_bytes,
        .max_message_bytes = log.max_message_bytes,
        .durable_projection = projection.durable_projection,
        .shared = true,
    };
}

static void claim(struct th_provider *p, uint32_t partition, struct th_blob *record, uint64_t tag)
{
    struct th_provider *half = fleet_of(p)->log;
    half->ops->claim(half, partition, record, tag);
}

static void read_log(struct th_provider *p, uint32_t partition, int64_t from, int64_t to,
                     uint64_t tag)
{
    struct th_provider *half = fleet_of(p)->log;
    half->ops->read(half, partition, from, to, tag);
}

static void append(struct th_provider *p, uint32_t partition, uint64_t epoch,
                   struct th_blob *record, uint64_t tag)
{
    struct th_provider *half = fleet_of(p)->log;
    half->ops->append(half, partition, epoch, record, tag);
}

static void send_message(struct th_provider *p, uint32_t source, uint32_t destination,
                         struct th_blob *message, uint64_t tag)
{
    struct th_provider *half = fleet_of(p)->log;
    half->ops->send(half, source, destination, message, tag);
}

static void inbox_open(struct th_provider *p, uint32_t partition, int64_t from)
{
    struct th_provider *half = fleet_of(p)->log;
    half->ops->inbox_open(half, partition, from);
}

static void inbox_close(struct th_provider *p, uint32_t partition)
{
    struct th_provider *half = fleet_of(p)->log;
    half->ops->inbox_close(half, partition);
}

static void trim_log(struct th_provider *p, uint32_t partition, int64_t below)
{
    struct th_provider *half = fleet_of(p)->log;
    half->ops->trim_log(half, partition, below);
}

static void trim_inbox(struct th_provider *p, uint32_t partition, int64_t below)
{
    struct th_provider *half = fleet_of(p)->log;
    half->ops->trim_inbox(half, partition, below);
}

static void project(struct th_provider *p, const struct th_projection *batch, uint64_t tag)
{
    struct th_provider *half = fleet_of(p)->projection;
    half->ops->project(half, batch, tag);
}

static void load(struct th_provider *p, uint32_t partition, struct th_str instance_id, bool history,
                 uint64_t tag)
{
    struct th_provider *half = fleet_of(p)->projection;
    half->ops->load(half, partition, instance_id, history, tag);
}

static void query(struct th_provider *p, const struct th_query *asked, uint64_t tag)
{
    struct th_provider *half = fleet_of(p)->projection;
    half->ops->query(half, asked, tag);
}

static void walk(struct th_provider *p, uint32_t partition, uint64_t full_below, uint32_t limit,
                 uint64_t tag)
{
    struct th_provider *half = fleet_of(p)->projection;
    half->ops->walk(half, partition, full_below, limit, tag);
}

static void reply(struct th_provider *p, const char *address, struct th_blob *message)
{
    struct th_provider *half = fleet_of(p)->projection;
    half->ops->reply(half, address, message);
}

static void watch(struct th_provider *p, uint32_t partition, bool wanted)
{
    struct th_provider *half = fleet_of(p)->projection;
    half->ops->watch(half, partition, wanted);
}

/* ---- completions ---- */

/* What a half has, without the states, which wait until they are whole. */
static size_t poll_half(struct fleet *f, bool projection, struct th_completion *out, size_t max)
{
    struct th_provider *half = projection ? f->projection : f->log;
    size_t kept = 0;
    size_t count;
    do { /* states alone must not look like nothing: nobody would wake the node again */
        count = kept < max ? half->ops->poll(half, &out[kept], max - kept) : 0;
        for (size_t i = kept, end = kept + count; i < end; i++) {
            if (out[i].kind == TH_DONE_STATE) {
                take_state(f, projection, &out[i]);
            } else {
                out[kept++] = out[i];
            }
        }
    } while (kept == 0 && count > 0);
    return kept;
}

/* Each half gets half of the room, and what the other one leaves; who begins takes turns. */
static size_t poll_both(struct th_provider *p, struct th_completion *out, size_t max)
{
    struct fleet *f = fleet_of(p);
    bool first = f->projection_first;
    f->projection_first = !first;
    size_t count = poll_half(f, first, out, (max + 1) / 2);
    count += poll_half(f, !first, &out[count], max - count);
    count += poll_half(f, first, &out[count], max - count);
    return count + th_completions_pop(&f->done, &out[count], max - count);
}

/* ---- opening and closing ---- */

static void close_both(struct th_provider *p)
{
    struct fleet *f = fleet_of(p);
    f->log->ops->close(f->log);
    f->projection->ops->close(f->projection);
    while (f->joins) {
        join_free(f, f->joins);
    }
    th_completions_deinit(&f->done);
    free(f);
}

static const struct th_provider_ops ops = {
    .traits = traits,
    .claim = claim,
    .read = read_log,
    .append = append,
    .send = send_message,
    .inbox_open = inbox_open,
    .inbox_close = inbox_close,
    .project = project,
    .load = load,
    .query = query,
    .state = state,
    .trim_log = trim_log,
    .trim_inbox = trim_inbox,
    .walk = walk,
    .reply = reply,
    .watch = watch,
    .poll = poll_both,
    .close = close_both,
};

/* Called by a half from any thread; the node's own hook stands in the whole. */
static void relay_wake(void *argument)
{
    th_provider_wake(argument);
}

struct th_provider *th_fleet_open(struct th_provider *log, struct th_provider *projection)
{
    struct fleet *f = TH_NEW(struct fleet);
    f->base.ops = &ops;
    f->base.hub = log->hub;
    memcpy(f->base.address, projection->address, sizeof(f->base.address));
    f->log = log;
    f->projection = projection;
    log->wake = projection->wake = relay_wake;
    log->wake_argument = projection->wake_argument = &f->base;
    return &f->base;
}

struct th_provider *th_fleet_projection(struct th_provider *fleet)
{
    return fleet_of(fleet)->projection;
}

struct th_provider *th_fleet_log_half(struct th_provider *fleet)
{
    return fleet_of(fleet)->log;
}
