/*
 * sqlite: the provider's table. Everything here runs on the node's thread: submissions become
 * items for the writer or a reader, items that come back become completions.
 *
 * An inbox is closed, reading or live. Opening sends a BACKLOG item through the writer, behind
 * every message submitted so far, to the reader; what it delivers arrives in pieces, each asked
 * for when the one before has been handed out. Messages submitted meanwhile wait in `pending`.
 * With the last piece the inbox is live: a message is delivered where it is submitted.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "provider/provider.h"
#include "provider/sqlite/internal.h"

enum inbox_phase { INBOX_CLOSED, INBOX_READING, INBOX_LIVE };

struct inbox {
    enum inbox_phase phase;
    uint64_t opening; /* counts; deliveries of another one are dropped */
    int64_t end;      /* offset of the next message */
    struct th_sqlite_list pending;
};

struct sqlite {
    struct th_provider base;
    struct th_sqlite_outlet outlet;
    struct th_sqlite_counters counters;
    struct th_sqlite_list taken; /* from the outlet, not yet handed out */
    struct inbox *inboxes;
    struct th_sqlite_writer *writer;
    struct th_sqlite_reader *reader, *searcher;
    int lock;
};

static struct sqlite *sqlite_of(struct th_provider *p)
{
    return (struct sqlite *)p; /* its first member */
}

static struct th_provider_traits traits(struct th_provider *p)
{
    return (struct th_provider_traits){
        .name = "sqlite", .max_record_bytes = 0, .durable_projection = true, .ordered = true};
}

/* ---- submissions ---- */

static void fail_now(struct th_sqlite_item *item, enum th_code code, const char *message)
{
    struct th_blob *why = th_sqlite_reason(message);
    th_sqlite_item_fail(item, code, why);
    th_blob_unref(why);
}

/* A partition that does not exist is a mistake of the caller's; it gets its answer all the same. */
static bool known(struct sqlite *q, struct th_sqlite_item *item)
{
    if (item->partition < q->base.hub.partitions) {
        return true;
    }
    fail_now(item, TH_INVALID, "the hub has no such partition");
    th_sqlite_outlet_put_one(&q->outlet, item);
    return false;
}

/* An item that is too large still passes the writer, so that completions keep their order. */
static void check_size(struct th_sqlite_item *item)
{
    if (item->blob->len > TH_SQLITE_MAX_RECORD) {
        fail_now(item, TH_TOO_LARGE, "a record or message is limited to 512 MiB");
    }
}

static void write_item(struct sqlite *q, struct th_sqlite_item *item)
{
    if (known(q, item)) {
        th_sqlite_writer_submit(q->writer, item);
    }
}

static void claim(struct th_provider *p, uint32_t partition, struct th_blob *record, uint64_t tag)
{
    struct th_sqlite_item *item = th_sqlite_item_new(TH_ITEM_CLAIM, partition, tag);
    item->blob = th_blob_ref(record);
    check_size(item);
    write_item(sqlite_of(p), item);
}

static void append(struct th_provider *p, uint32_t partition, uint64_t epoch,
                   struct th_blob *record, uint64_t tag)
{
    struct th_sqlite_item *item = th_sqlite_item_new(TH_ITEM_APPEND, partition, tag);
    item->epoch = epoch;
    item->blob = th_blob_ref(record);
    check_size(item);
    write_item(sqlite_of(p), item);
}

static void deliver(struct sqlite *q, uint32_t partition, int64_t offset, struct th_blob *message)
{
    struct inbox *inbox = &q->inboxes[partition];
    if (inbox->phase == INBOX_CLOSED) {
        return;
    }
    struct th_sqlite_item *item = th_sqlite_item_new(TH_ITEM_DELIVER, partition, 0);
    item->epoch = inbox->opening;
    item->offset = offset;
    item->blob = th_blob_ref(message);
    if (inbox->phase == INBOX_READING) {
        th_sqlite_list_add(&inbox->pending, &item->link);
    } else {
        th_sqlite_outlet_put_one(&q->outlet, item);
    }
}

static void send_message(struct th_provider *p, uint32_t source, uint32_t destination,
                         struct th_blob *message, uint64_t tag)
{
    struct sqlite *q = sqlite_of(p);
    struct th_sqlite_item *item = th_sqlite_item_new(TH_ITEM_SEND, destination, tag);
    item->source = source;
    item->blob = th_blob_ref(message);
    check_size(item);
    if (!known(q, item)) {
        return;
    }
    bool good = item->code == TH_OK;
    int64_t offset = good ? q->inboxes[destination].end++ : -1;
    item->offset = offset;
    th_sqlite_writer_submit(q->writer, item); /* first: then nothing built on it is before it */
    if (good) {
        deliver(q, destination, offset, message);
    }
}

static void inbox_close(struct th_provider *p, uint32_t partition)
{
    struct sqlite *q = sqlite_of(p);
    if (partition >= q->base.hub.partitions) {
        return;
    }
    struct inbox *inbox = &q->inboxes[partition];
    inbox->phase = INBOX_CLOSED;
    inbox->opening++;
    th_sqlite_items_free(inbox->pending.first);
    th_sqlite_list_init(&inbox->pending);
}

static void inbox_open(struct th_provider *p, uint32_t partition, int64_t from)
{
    struct sqlite *q = sqlite_of(p);
    if (partition >= q->base.hub.partitions) {
        return;
    }
    inbox_close(p, partition);
    struct inbox *inbox = &q->inboxes[partition];
    inbox->phase = INBOX_READING;
    struct th_sqlite_item *item = th_sqlite_item_new(TH_ITEM_BACKLOG, partition, 0);
    item->epoch = inbox->opening;
    item->offset = from;
    item->to = inbox->end;
    th_sqlite_writer_submit(q->writer, item);
}

static void project(struct th_provider *p, const struct th_projection *batch, uint64_t tag)
{
    struct th_sqlite_item *item = th_sqlite_item_new(TH_ITEM_PROJECT, batch->partition, tag);
    struct th_sqlite_rows *rows = TH_NEW(struct th_sqlite_rows);
    rows->previous = batch->previous;
    rows->next = batch->next;
    rows->count = batch->count;
    rows->rows = th_alloc((batch->count + 1) * sizeof(*rows->rows));
    for (size_t i = 0; i < batch->count; i++) {
        th_row_copy(&rows->rows[i], &batch->rows[i]);
    }
    item->projection = rows;
    write_item(sqlite_of(p), item);
}

static void load(struct th_provider *p, uint32_t partition, struct th_str instance_id, bool history,
                 uint64_t tag)
{
    struct sqlite *q = sqlite_of(p);
    struct th_sqlite_item *item = th_sqlite_item_new(TH_ITEM_LOAD, partition, tag);
    item->instance_id = th_str_dup(th_str_present(instance_id) ? instance_id : TH_STR(""));
    item->instance_id_len = instance_id.len;
    item->history = history;
    if (known(q, item)) {
        th_sqlite_reader_submit(q->reader, item);
    }
}

static void read_log(struct th_provider *p, uint32_t partition, int64_t from, int64_t to,
                     uint64_t tag)
{
    struct sqlite *q = sqlite_of(p);
    struct th_sqlite_item *item = th_sqlite_item_new(TH_ITEM_READ, partition, tag);
    item->offset = from;
    item->to = to;
    write_item(q, item); /* which knows where the records are */
}

static void state(struct th_provider *p, uint32_t partition, uint64_t tag)
{
    write_item(sqlite_of(p), th_sqlite_item_new(TH_ITEM_STATE, partition, tag));
}

static struct th_str keep(struct th_str s)
{
    return (struct th_str){th_str_dup(s), s.len};
}

static void query(struct th_provider *p, const struct th_query *asked, uint64_t tag)
{
    struct sqlite *q = sqlite_of(p);
    struct th_sqlite_item *item = th_sqlite_item_new(TH_ITEM_QUERY, 0, tag);
    item->question = TH_NEW(struct th_sqlite_question);
    item->question->query = *asked;
    item->question->query.id_prefix = keep(asked->id_prefix);
    item->question->query.name = keep(asked->name);
    item->question->query.continuation = keep(asked->continuation);
    th_sqlite_reader_submit(q->searcher, item);
}

static void trim(struct th_provider *p, enum th_sqlite_kind kind, uint32_t partition, int64_t below)
{
    struct sqlite *q = sqlite_of(p);
    if (partition < q->base.hub.partitions) {
        struct th_sqlite_item *item = th_sqlite_item_new(kind, partition, 0);
        item->offset = below;
        th_sqlite_writer_submit(q->writer, item);
    }
}

static void trim_log(struct th_provider *p, uint32_t partition, int64_t below)
{
    trim(p, TH_ITEM_TRIM_LOG, partition, below);
}

static void trim_inbox(struct th_provider *p, uint32_t partition, int64_t below)
{
    trim(p, TH_ITEM_TRIM_INBOX, partition, below);
}

/* ---- completions ---- */

static enum th_completion_kind completion_kind(enum th_sqlite_kind kind)
{
    switch (kind) {
    case TH_ITEM_CLAIM:
        return TH_DONE_CLAIM;
    case TH_ITEM_APPEND:
        return TH_DONE_APPEND;
    case TH_ITEM_SEND:
        return TH_DONE_SEND;
    case TH_ITEM_PROJECT:
        return TH_DONE_PROJECT;
    case TH_ITEM_READ:
        return TH_DONE_READ;
    case TH_ITEM_LOAD:
        return TH_DONE_LOAD;
    case TH_ITEM_QUERY:
        return TH_DONE_QUERY;
    case TH_ITEM_STATE:
        return TH_DONE_STATE;
    default:
        return TH_DONE_DELIVER;
    }
}

static void fill_error(struct th_error *error, const struct th_sqlite_item *item)
{
    error->code = item->code;
    struct th_str why = th_blob_view(item->why);
    size_t len = why.len < sizeof(error->message) ? why.len : sizeof(error->message) - 1;
    memcpy(error->message, why.data ? why.data : "", len);
    error->message[len] = '\0';
}

/* Moves what the item holds to `out`. The message of an error is filled only when there is one:
 * it is most of a completion's size. */
static void complete(struct th_sqlite_item *item, struct th_completion *out)
{
    if (item->answer) {
        *out = *item->answer;
        *item->answer = (struct th_completion){.kind = 0};
    } else {
        memset(out, 0, offsetof(struct th_completion, error));
        out->error.code = TH_OK;
        out->error.message[0] = '\0';
        size_t rest = offsetof(struct th_completion, offset);
        memset((char *)out + rest, 0, sizeof(*out) - rest);
        out->offset = item->code == TH_OK ? item->offset : -1;
    }
    if (item->code != TH_OK) {
        fill_error(&out->error, item);
    }
    out->kind = completion_kind(item->kind);
    out->partition = item->partition;
    out->tag = item->tag;
    if (item->kind == TH_ITEM_DELIVER) {
        out->offset = item->offset;
        out->blob = item->blob;
        item->blob = NULL;
    }
}

static bool stale(const struct sqlite *q, const struct th_sqlite_item *item)
{
    return (item->kind == TH_ITEM_DELIVER || item->kind == TH_ITEM_BACKLOG) &&
           item->partition < q->base.hub.partitions &&
           item->epoch != q->inboxes[item->partition].opening;
}

/* A piece of the backlog has been handed out: ask for the next, or go live. */
static void backlog_done(struct sqlite *q, struct th_sqlite_item *item)
{
    struct inbox *inbox = &q->inboxes[item->partition];
    if (item->offset < item->to) {
        th_sqlite_reader_submit(q->reader, item);
        return;
    }
    inbox->phase = INBOX_LIVE;
    th_sqlite_list_append(&inbox->pending, &q->taken); /* the pending ones first */
    th_sqlite_list_append(&q->taken, &inbox->pending);
    th_sqlite_item_free(item);
}

static struct th_sqlite_item *next_taken(struct sqlite *q)
{
    struct th_sqlite_item *item = th_sqlite_item_of(q->taken.first);
    q->taken.first = item->link.next;
    if (!q->taken.first) {
        th_sqlite_list_init(&q->taken);
    }
    return item;
}

/* Hands out one item; false when it becomes no completion. */
static bool hand_out(struct sqlite *q, struct th_sqlite_item *item, struct th_completion *out)
{
    if (stale(q, item)) {
        th_sqlite_item_free(item);
        return false;
    }
    if (item->kind == TH_ITEM_BACKLOG) {
        backlog_done(q, item);
        return false;
    }
    complete(item, out);
    th_sqlite_item_free(item);
    return true;
}

/* The outlet learns that the node has taken everything, and wakes it for the next; so it is asked
 * once more whenever nothing is left here. */
static size_t poll_completions(struct th_provider *p, struct th_completion *out, size_t max)
{
    struct sqlite *q = sqlite_of(p);
    size_t count = 0;
    for (;;) {
        while (count < max && q->taken.first) {
            count += hand_out(q, next_taken(q), &out[count]);
        }
        if (q->taken.first) {
            return count;
        }
        th_sqlite_outlet_take(&q->outlet, &q->taken);
        if (!q->taken.first) {
            return count;
        }
    }
}

/* ---- opening and closing ---- */

static void close_provider(struct th_provider *p)
{
    struct sqlite *q = sqlite_of(p);
    if (q->writer) {
        th_sqlite_writer_free(q->writer); /* first: it submits to the readers */
    }
    if (q->reader) {
        th_sqlite_reader_free(q->reader);
    }
    if (q->searcher) {
        th_sqlite_reader_free(q->searcher);
    }
    for (uint32_t i = 0; q->inboxes && i < q->base.hub.partitions; i++) {
        th_sqlite_items_free(q->inboxes[i].pending.first);
    }
    free(q->inboxes);
    th_sqlite_items_free(q->taken.first);
    th_sqlite_outlet_deinit(&q->outlet);
    th_sqlite_unlock(q->lock);
    free(q);
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
    .poll = poll_completions,
    .close = close_provider,
};

static bool start(struct sqlite *q, const struct th_sqlite_options *o,
                  const struct th_sqlite_hub_row *hub, struct th_error *error)
{
    q->reader = th_sqlite_reader_new(hub, o->file, o->vfs, &q->outlet, &q->counters, error);
    q->searcher = q->reader
                      ? th_sqlite_reader_new(hub, o->file, o->vfs, &q->outlet, &q->counters, error)
                      : NULL;
    if (!q->searcher) {
        return false;
    }
    struct th_sqlite_writer_options options = {
        .hub = hub,
        .file = o->file,
        .vfs = o->vfs,
        .log = o->log,
        .fsync_delay_us = o->fsync_delay_us,
        .no_sync = o->no_sync,
        .outlet = &q->outlet,
        .reader = q->reader,
        .searcher = q->searcher,
        .counters = &q->counters,
    };
    q->writer = th_sqlite_writer_new(&options, error);
    if (!q->writer) {
        return false;
    }
    q->inboxes = th_alloc(hub->record.partitions * sizeof(*q->inboxes));
    for (uint32_t i = 0; i < hub->record.partitions; i++) {
        q->inboxes[i].end = th_sqlite_writer_inbox_end(q->writer, i);
        th_sqlite_list_init(&q->inboxes[i].pending);
    }
    return th_sqlite_writer_start(q->writer, error);
}

static bool find_hub(const struct th_sqlite_options *o, struct th_sqlite_hub_row *hub,
                     struct th_error *error)
{
    TH_SQLITE_DB db = {0};
    return th_sqlite_db_open(&db, o->file, o->vfs, TH_SQLITE_EXISTING, error) &&
           th_sqlite_find_hub(&db, o->hub, hub, error);
}

struct th_provider *th_sqlite_open(const struct th_sqlite_options *options, struct th_error *error)
{
    struct th_sqlite_hub_row hub;
    if (!find_hub(options, &hub, error)) {
        return NULL;
    }
    int lock = th_sqlite_lock(options->file, options->hub, error);
    if (lock < 0) {
        return NULL;
    }
    struct sqlite *q = TH_NEW(struct sqlite);
    q->base.ops = &ops;
    q->lock = lock;
    th_sqlite_list_init(&q->taken);
    th_sqlite_outlet_init(&q->outlet, &q->base);
    /* Again, now that it is ours: it may have been replaced in between. */
    if (find_hub(options, &hub, error)) {
        q->base.hub = hub.record;
        if (start(q, options, &hub, error)) {
            return &q->base;
        }
    }
    close_provider(&q->base);
    return NULL;
}

void th_sqlite_stats(const struct th_provider *provider, struct th_sqlite_stats *out)
{
    const struct th_sqlite_counters *c = &((const struct sqlite *)provider)->counters;
    *out = (struct th_sqlite_stats){
        .commits = c->commits,
        .failed_commits = c->failed_commits,
        .commit_us = c->commit_us,
        .appends = c->appends,
        .sends = c->sends,
        .sends_skipped = c->sends_skipped,
        .rows = c->rows,
        .log_rows = c->log_rows,
        .inbox_rows = c->inbox_rows,
        .checkpoints = c->checkpoints,
        .pages = c->pages,
        .wal_bytes = c->wal_bytes,
    };
}
