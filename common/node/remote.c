/*
 * remote: commands that look, where the hub is shared: the partition may be anybody's, and this
 * process's own core may have been fenced without knowing it. So the projection answers, and these
 * rules make its answers as good as an owner's:
 *
 *   - Nothing that was shown is taken back: rows at a watermark below one that was seen by this
 *     process are not believed, nor are rows that are being made again.
 *   - A row that is not there does not exist if the projection has followed the inbox as far as it
 *     reached when the question was asked. Where it has not, with no worker up perhaps, the rest of
 *     the inbox is looked through for the start: an accepted start is never "not found".
 *   - An entity, or a list, is shown as it was when the question was asked, or later: who has seen
 *     what followed from an operation sees its effect. An instance tells of its end as it ends.
 *   - Who waits is told by the news that a row brings with it; a look now and then is the fallback.
 */
#include <stdio.h>

#include "node/internal.h"

#define LOOK_AGAIN   (10 * TH_MILLISECOND)
#define FOLLOW_TIME  (300 * TH_MILLISECOND) /* an owner that is there follows its inbox in less */
#define PRESENT_TIME (1 * TH_SECOND)        /* what has to be of now waits for owners that begin */
#define BELIEVE_TIME (1 * TH_SECOND)        /* before a projection is said to be unusable */
#define POLL_TIME    (2 * TH_SECOND)
#define KEEP_TIME    (10 * TH_SECOND) /* news and inboxes are kept open for the next who asks */

/* An accepted start in an inbox. */
struct peek {
    UT_hash_handle hh;
    char *id;
    int64_t offset;
    struct th_blob *blob;
};

static uint64_t ask(struct th_node *node, const struct part *part, const struct ticket *t)
{
    return node_op(node, OP_TICKET, part->index, TH_STR_ABSENT, t->number);
}

static void load_row(struct th_node *node, struct ticket *t, const struct part *part)
{
    t->state = TICKET_LOAD;
    node->provider->ops->load(node->provider, part->index, t->command.instance_id,
                              t->command.history, ask(node, part, t));
}

static void ask_reach(struct th_node *node, struct ticket *t, const struct part *part)
{
    t->state = TICKET_ENDS;
    node->provider->ops->state(node->provider, part->index, ask(node, part, t));
}

void remote_look(struct th_node *node, struct ticket *t)
{
    const struct part *part = node_part_of(node, t->command.instance_id);

    ticket_unlist(node, t);
    if (th_is_entity(t->command.instance_id) && !t->ends)
        ask_reach(node, t, part);
    else
        load_row(node, t, part);
}

void remote_seen(struct part *part, int64_t offset)
{
    if (offset > part->outlook.seen)
        part->outlook.seen = offset;
}

/* ---- what cannot be believed ---- */

static const char *what_is_wrong(const struct part *part, const struct th_watermark *w)
{
    if (w->building)
        return "is being made again from the log";
    if (w->offset < part->outlook.seen)
        return "has lost rows";
    return NULL;
}

/* Somebody is about to put it right. Who asked for a state of things is told so after a while; who
 * waits goes on waiting. */
static void look_again(struct th_node *node, struct ticket *t, const struct part *part,
                       const char *wrong)
{
    const bool waits = t->command.kind == TH_COMMAND_WAIT;

    if (waits || node->now - t->asked < BELIEVE_TIME)
        ticket_look_later(node, t, waits ? 10 * LOOK_AGAIN : LOOK_AGAIN);
    else
        ticket_fail(node, t, TH_UNAVAILABLE, "the projection of partition %u %s", part->index,
                    wrong);
}

static void on_failed(struct th_node *node, struct ticket *t, const struct th_error *error)
{
    const struct th_reply failed = {.error = *error};
    const bool waits = t->command.kind == TH_COMMAND_WAIT;
    const bool mends = error->code == TH_CORRUPT; /* the owner does as soon as it notices */

    if (waits && (mends || error->code == TH_UNAVAILABLE))
        ticket_look_later(node, t, 10 * LOOK_AGAIN);
    else if (mends && node->now - t->asked < BELIEVE_TIME)
        ticket_look_later(node, t, LOOK_AGAIN);
    else
        ticket_finish(node, t, &failed);
}

/* ---- absence ---- */

static const struct peek *peeked_start(const struct part *part, struct th_str id)
{
    struct peek *peek;

    HASH_FIND(hh, part->outlook.starts, id.data, id.len, peek);
    return peek;
}

static void answer_pending(struct th_node *node, struct ticket *t, const struct peek *peek)
{
    TH_ARENA arena = {0};
    struct th_reader in = th_reader_of(th_blob_view(peek->blob), &arena, NULL);
    struct th_instance_info info;
    struct th_message start;

    in.format = node->options.formats.reads;
    if (!th_decode_message(&in, &start)) {
        ticket_absent(node, t);
        return;
    }
    info = th_info_pending(&start);
    ticket_answer_info(node, t, &info);
}

/* An own partition's core reads the inbox already; its rows follow. One that is being taken will:
 * what was looked through until then would be taken for the core's. */
static bool may_peek(const struct part *part)
{
    return part->state != PART_ACTIVE && part->state != PART_CLAIMING &&
           part->state != PART_READING;
}

static void look_through(struct th_node *node, struct ticket *t, struct part *part, int64_t end)
{
    struct outlook *o = &part->outlook;
    const struct peek *peek = peeked_start(part, t->command.instance_id);

    o->peek_until = node->now + KEEP_TIME;
    if (o->peeking && peek && peek->offset >= t->position) {
        answer_pending(node, t, peek);
        return;
    }
    if (o->peeking && o->peeked >= end) {
        ticket_absent(node, t);
        return;
    }
    if (!o->peeking && may_peek(part)) {
        o->peeking = true;
        o->peeked = t->position;
        node->provider->ops->inbox_open(node->provider, part->index, t->position);
    }
    ticket_look_later(node, t, LOOK_AGAIN);
}

/* How far the inbox reached after the question was asked. */
static void on_ends(struct th_node *node, struct ticket *t, struct part *part,
                    struct th_completion *c)
{
    if (c->error.code != TH_OK) {
        on_failed(node, t, &c->error);
    } else if (what_is_wrong(part, &c->watermark)) {
        look_again(node, t, part, what_is_wrong(part, &c->watermark));
    } else if (c->watermark.offset < 0 && c->log_end > 0) {
        look_again(node, t, part, "is not there yet");
    } else if (c->inbox_start > t->position) { /* trimmed: some owner knew better */
        look_again(node, t, part, "is older than its partition");
    } else if (t->position >= c->inbox_end) {
        ticket_absent(node, t);
    } else if (node->now - t->asked < (t->ends ? PRESENT_TIME : FOLLOW_TIME)) {
        ticket_look_later(node, t, LOOK_AGAIN);
    } else {
        look_through(node, t, part, c->inbox_end);
    }
}

static void on_absent(struct th_node *node, struct ticket *t, struct part *part,
                      const struct th_watermark *w)
{
    if (t->command.kind == TH_COMMAND_WAIT) {
        ticket_keep_waiting(node, t);
        return;
    }
    t->position = w->offset < 0 ? 0 : w->position;
    ask_reach(node, t, part);
}

static bool follows(const struct reach *end, const struct th_watermark *w)
{
    return w->position >= end->inbox && w->settled + 1 >= end->log;
}

/* Before the look at an entity. Without brokers there is still the row. */
static void on_reach(struct th_node *node, struct ticket *t, const struct part *part,
                     const struct th_completion *c)
{
    t->ends = TH_ARENA_NEW(&t->arena, struct reach);
    if (c->error.code == TH_OK)
        *t->ends = (struct reach){.inbox = c->inbox_end, .log = c->log_end};
    load_row(node, t, part);
}

static void on_row(struct th_node *node, struct ticket *t, struct part *part,
                   struct th_completion *c)
{
    const char *wrong;

    if (c->error.code != TH_OK && c->error.code != TH_NOT_FOUND) {
        on_failed(node, t, &c->error);
        return;
    }
    wrong = what_is_wrong(part, &c->watermark);
    if (wrong) {
        look_again(node, t, part, wrong);
        return;
    }
    if (t->ends && !follows(t->ends, &c->watermark) && node->now - t->asked < PRESENT_TIME) {
        ticket_look_later(node, t, LOOK_AGAIN);
        return;
    }
    remote_seen(part, c->watermark.offset);
    if (c->row_count > 0)
        ticket_answer_row(node, t, &c->rows[0]);
    else
        on_absent(node, t, part, &c->watermark);
}

/* ---- queries: first how far inboxes and logs reach, then rows that have followed them ---- */

static bool is_first_page(const struct ticket *t)
{
    return t->command.query.continuation.len == 0;
}

static void ask_ends(struct th_node *node, struct ticket *t)
{
    t->state = TICKET_ENDS;
    ticket_unlist(node, t);
    t->ends = TH_ARENA_ARRAY(&t->arena, struct reach, node->part_count);
    t->ends_missing = node->part_count;
    for (uint32_t n = 0; n < node->part_count; n++)
        node->provider->ops->state(node->provider, n, ask(node, &node->parts[n], t));
}

void remote_query(struct th_node *node, struct ticket *t)
{
    if (is_first_page(t) && !t->ends)
        ask_ends(node, t);
    else
        ticket_query(node, t);
}

static void on_query_ends(struct th_node *node, struct ticket *t, struct part *part,
                          struct th_completion *c)
{
    if (c->error.code != TH_OK) {
        on_failed(node, t, &c->error);
        return;
    }
    t->ends[part->index] = (struct reach){.inbox = c->inbox_end, .log = c->log_end};
    if (c->watermark.offset < 0 && c->log_end > 0) { /* nothing is stored where something was */
        t->ends = NULL;
        look_again(node, t, part, "is not there yet");
    } else if (--t->ends_missing == 0) {
        ticket_query(node, t);
    }
}

static void on_query(struct th_node *node, struct ticket *t, struct th_completion *c)
{
    bool followed = true;

    if (c->error.code != TH_OK) {
        on_failed(node, t, &c->error);
        return;
    }
    for (uint32_t n = 0; n < node->part_count; n++) {
        const char *wrong = what_is_wrong(&node->parts[n], &c->watermarks[n]);

        if (wrong) {
            look_again(node, t, &node->parts[n], wrong);
            return;
        }
        followed = followed && (!t->ends || follows(&t->ends[n], &c->watermarks[n]));
    }
    if (!followed && node->now - t->asked < PRESENT_TIME) {
        ticket_look_later(node, t,
                          node->now - t->asked < FOLLOW_TIME ? LOOK_AGAIN : 5 * LOOK_AGAIN);
        return;
    }
    for (uint32_t n = 0; n < node->part_count; n++)
        remote_seen(&node->parts[n], c->watermarks[n].offset);
    ticket_answer_query(node, t, c);
}

static void on_state(struct th_node *node, struct ticket *t, struct part *part,
                     struct th_completion *c)
{
    if (t->command.kind == TH_COMMAND_QUERY)
        on_query_ends(node, t, part, c);
    else if (th_is_entity(t->command.instance_id) && !t->ends)
        on_reach(node, t, part, c);
    else
        on_ends(node, t, part, c);
}

void remote_completed(struct th_node *node, struct ticket *t, struct part *part,
                      struct th_completion *c)
{
    if (t->state == TICKET_LOAD && c->kind == TH_DONE_LOAD)
        on_row(node, t, part, c);
    else if (t->state == TICKET_QUERY && c->kind == TH_DONE_QUERY)
        on_query(node, t, c);
    else if (t->state == TICKET_ENDS && c->kind == TH_DONE_STATE)
        on_state(node, t, part, c);
}

/* ---- news ---- */

void remote_waits(struct th_node *node, struct part *part)
{
    struct outlook *o = &part->outlook;

    if (o->waiters++ == 0)
        o->poll_at = node->now + POLL_TIME;
    if (o->watching)
        return;
    o->watching = true;
    node->provider->ops->watch(node->provider, part->index, true);
}

void remote_waits_no_more(struct th_node *node, struct part *part)
{
    if (--part->outlook.waiters == 0)
        part->outlook.watch_until = node->now + KEEP_TIME;
}

/* What is sent with a row: the log offset at which it was stored, then the instance. */
static bool decode_news(struct th_blob *blob, struct th_arena *arena, int64_t *offset,
                        bool *payloads, struct th_instance_info *info)
{
    struct th_reader in = th_reader_of(th_blob_view(blob), arena, NULL);

    *offset = th_read_i64(&in);
    *payloads = th_read_bool(&in);
    return th_decode_info(&in, info);
}

/* Each of those that wait for one instance; those that go on waiting come to the list's end. */
static void tell_waiters(struct th_node *node, struct th_str id,
                         const struct th_instance_info *info, bool payloads)
{
    struct waiters *w = waiters_of(node, id);
    size_t count = 0;
    struct ticket *t;

    if (!w)
        return;
    DL_COUNT(w->first, t, count);
    for (; count > 0; count--) {
        t = waiters_of(node, id)->first;
        if (!ticket_wait_is_over(t, info)) {
            DL_DELETE(t->waiters->first, t);
            DL_APPEND(t->waiters->first, t);
        } else if (payloads || !t->command.payloads) {
            ticket_answer_info(node, t, info);
        } else {
            remote_look(node, t);
        }
    }
}

static void look_for_all(struct th_node *node, const struct part *part)
{
    struct waiters *w, *next;

    HASH_ITER(hh, node->waiting, w, next) {
        const bool here = node_part_of(node, th_str_of(w->id)) == part;
        size_t count = 0;
        struct ticket *t;

        DL_COUNT(w->first, t, count);
        for (; here && count > 0; count--) /* the group goes with its last one */
            remote_look(node, w->first);
    }
}

void remote_news(struct th_node *node, struct part *part, struct th_completion *c)
{
    TH_ARENA arena = {0};
    struct th_instance_info info;
    int64_t offset;
    bool payloads;

    if (!c->blob) {
        look_for_all(node, part);
        return;
    }
    if (!decode_news(c->blob, &arena, &offset, &payloads, &info))
        return;
    remote_seen(part, offset);
    tell_waiters(node, info.instance_id, &info, payloads);
}

/* ---- looking through an inbox that nobody may be reading ---- */

static void forget_start(struct part *part, struct peek *peek)
{
    HASH_DELETE(hh, part->outlook.starts, peek);
    th_blob_unref(peek->blob);
    free(peek->id);
    free(peek);
}

void remote_peek(struct th_node *node, struct part *part, struct th_completion *c)
{
    TH_ARENA arena = {0};
    struct th_reader in = th_reader_of(th_blob_view(c->blob), &arena, NULL);
    struct th_message m;
    struct peek *peek;

    in.format = node->options.formats.reads;
    if (!part->outlook.peeking)
        return;
    part->outlook.peeked = c->offset + 1;
    if (!c->blob || !th_decode_message(&in, &m) || m.event.kind != TH_EVENT_EXECUTION_STARTED)
        return;
    HASH_FIND(hh, part->outlook.starts, m.instance_id.data, m.instance_id.len, peek);
    if (peek)
        forget_start(part, peek);
    peek = TH_NEW(struct peek);
    peek->id = th_str_dup(m.instance_id);
    peek->offset = c->offset;
    peek->blob = th_blob_ref(c->blob);
    HASH_ADD_KEYPTR(hh, part->outlook.starts, peek->id, m.instance_id.len, peek);
}

void remote_stop_peeking(struct th_node *node, struct part *part)
{
    struct peek *peek, *next;

    if (!part->outlook.peeking)
        return;
    part->outlook.peeking = false;
    node->provider->ops->inbox_close(node->provider, part->index);
    HASH_ITER(hh, part->outlook.starts, peek, next)
        forget_start(part, peek);
}

/* ---- time ---- */

static th_time mind_news(struct th_node *node, struct part *part)
{
    struct outlook *o = &part->outlook;

    if (o->waiters > 0) {
        if (o->poll_at <= node->now) {
            o->poll_at = node->now + POLL_TIME;
            look_for_all(node, part);
        }
        return o->poll_at;
    }
    if (o->watch_until > node->now)
        return o->watch_until;
    o->watching = false;
    node->provider->ops->watch(node->provider, part->index, false);
    return TH_TIME_NONE;
}

th_time remote_step(struct th_node *node, struct part *part)
{
    struct outlook *o = &part->outlook;
    th_time next = TH_TIME_NONE;

    if (o->watching)
        next = mind_news(node, part);
    if (!o->peeking)
        return next;
    if (o->peek_until > node->now)
        return earlier(next, o->peek_until);
    remote_stop_peeking(node, part);
    return next;
}
