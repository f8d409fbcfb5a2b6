/*
 * node: partitions and their way from a claim to work, and the carrying out of effects. Nothing
 * here decides; the cores do.
 */
#include "node/node.h"

#include <stdarg.h>
#include <stdio.h>

#include "node/internal.h"
#include "provider/provider.h"

#define GENERATION_SHIFT 48
#define VALUE_MASK       ((UINT64_C(1) << GENERATION_SHIFT) - 1)
#define SENDER_SHIFT     36 /* of a message between partitions: who sent it, above its own tag */
#define SEND_MASK        ((UINT64_C(1) << SENDER_SHIFT) - 1)
#define POLL_BATCH       256
#define FIRST_BACKOFF    (50 * TH_MILLISECOND)
#define LAST_BACKOFF     (5 * TH_SECOND)
#define CHECK_INTERVAL   (2 * TH_SECOND)
#define PROJECT_AGAIN    (100 * TH_MILLISECOND) /* after a projection failed */

/* Bounds of one step, after which real time is read again: batches of completions, and rounds of
 * work in one partition. An instance that runs for ever, as continue-as-new loops do, costs a round
 * an episode and must not keep others, timers and the projection waiting. */
#define STEP_BATCHES 16
#define STEP_ROUNDS  64

static void say(const struct th_node *node, enum th_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void say(const struct th_node *node, enum th_level level, const char *format, ...)
{
    TH_BUFFER line = {0};
    va_list arguments;

    va_start(arguments, format);
    th_buffer_vformat(&line, format, arguments);
    va_end(arguments);
    th_log(node->options.log, level, "node", "%.*s", TH_PRI(th_buffer_view(&line)));
}

struct part *node_part_of(struct th_node *node, struct th_str instance_id)
{
    return &node->parts[th_partition_of(instance_id, node->part_count)];
}

uint64_t part_tag(const struct part *part, uint64_t value)
{
    return ((uint64_t)part->generation << GENERATION_SHIFT) | (value & VALUE_MASK);
}

uint64_t node_op(struct th_node *node, enum op_kind kind, uint32_t partition, struct th_str id,
                 uint64_t ticket)
{
    struct op *op = TH_NEW(struct op);

    op->number = ++node->next_op;
    op->kind = kind;
    op->partition = partition;
    op->id = th_str_dup(id);
    op->ticket = ticket;
    HASH_ADD(hh, node->ops, number, sizeof(op->number), op);
    return part_tag(&node->parts[partition], op->number);
}

static struct op *op_take(struct th_node *node, uint64_t tag)
{
    const uint64_t number = tag & VALUE_MASK;
    struct op *op;

    HASH_FIND(hh, node->ops, &number, sizeof(number), op);
    if (op)
        HASH_DELETE(hh, node->ops, op);
    return op;
}

static void op_free(struct op *op)
{
    if (!op)
        return;
    free(op->id);
    free(op);
}

/* ---- leases ---- */

static void drop_gap(struct part *part)
{
    for (size_t n = 0; n < part->gap_count; n++)
        th_blob_unref(part->gap[n].bytes);
    part->gap_count = 0;
}

static void forget(void *argument, struct th_str instance_id)
{
    struct th_node *node = argument;
    const struct th_node_hooks *h = &node->options.hooks;

    if (h->forget)
        h->forget(h->argument, instance_id);
    else if (node->executor)
        th_executor_forget(node->executor, instance_id);
}

static void part_drop(struct th_node *node, struct part *part)
{
    if (part->state == PART_ACTIVE)
        node->provider->ops->inbox_close(node->provider, part->index);
    if (part->core)
        th_partition_each(part->core, forget, node);
    th_partition_free(part->core);
    part->core = NULL;
    part->generation++;
    part->rows_missing = 0;
    part->state = PART_IDLE;
    drop_gap(part);
}

static th_time backoff(struct th_node *node, uint32_t losses)
{
    th_time wait = FIRST_BACKOFF;

    while (losses-- > 1 && wait < LAST_BACKOFF)
        wait *= 2;
    return wait + (th_time)th_random_below(&node->random, (uint64_t)wait);
}

static void part_lose(struct th_node *node, struct part *part, const struct th_error *error)
{
    part_drop(node, part);
    part->losses++;
    part->state = PART_BACKOFF;
    part->retry_at = node->now + backoff(node, part->losses);
    snprintf(part->trouble, sizeof(part->trouble), "%.*s", (int)sizeof(part->trouble) - 1,
             error->message);
    say(node, TH_LOG_WARN, "partition %u: %s", part->index, error->message);
    if (node->options.hooks.trouble)
        node->options.hooks.trouble(node->options.hooks.argument, part->index, error);
}

/* A projection that lost what it once held: nothing it says about absence can be believed. */
static bool went_back(const struct th_watermark *before, const struct th_completion *c)
{
    return c->watermark.offset < before->offset;
}

static void lose_wiped(struct th_node *node, struct part *part)
{
    struct th_error lost;

    th_fail(&lost, TH_UNAVAILABLE, "the projection of partition %u was wiped: it is rebuilt",
            part->index);
    part_lose(node, part, &lost);
}

static struct th_partition *core_new(struct th_node *node, const struct part *part)
{
    const struct th_node_options *o = &node->options;
    const struct th_partition_options options = {
        .index = part->index,
        .count = node->part_count,
        .incarnation = node->provider->hub.incarnation,
        .traits = node->traits,
        .seed = th_random_next(&node->random),
        .worker = o->worker,
        .max_instances = o->max_instances,
        .checkpoint_records = o->checkpoint_records,
        .checkpoint_bytes = o->checkpoint_bytes,
        .max_unacked = 10000,
        .max_crashes = o->max_crashes,
        .mutation = (enum th_mutation)o->mutation,
    };

    return th_partition_new(&options);
}

static void part_claim(struct th_node *node, struct part *part)
{
    struct th_blob *claim;

    part->core = core_new(node, part);
    part->state = PART_CLAIMING;
    part->seen_first = false;
    claim = th_partition_claim(part->core, node->now);
    node->provider->ops->claim(node->provider, part->index, claim, part_tag(part, 0));
    th_blob_unref(claim);
}

static void read_more(struct th_node *node, struct part *part)
{
    part->state = PART_READING;
    node->provider->ops->read(node->provider, part->index, part->read_at, part->epoch,
                              part_tag(part, 0));
}

static void crash_report_free(struct crash_report *c)
{
    free(c->id);
    free(c->reason);
    free(c);
}

static void report_crashes(struct th_node *node, struct part *part)
{
    for (struct crash_report **at = &node->crashes; *at;) {
        struct crash_report *c = *at;

        if (node_part_of(node, th_str_of(c->id)) != part) {
            at = &c->next;
            continue;
        }
        th_partition_crashed(part->core, th_str_of(c->id), c->task_id, th_str_of(c->reason),
                             node->now);
        *at = c->next;
        crash_report_free(c);
    }
}

static void part_activate(struct th_node *node, struct part *part)
{
    const int64_t position =
        th_partition_activate(part->core, part->epoch, &part->watermark, node->now);

    part->state = PART_ACTIVE;
    part->losses = 0;
    part->delivered = position;
    part->active_since = node->now;
    part->project_after = TH_TIME_NONE;
    part->check_at = node->now + CHECK_INTERVAL;
    part->checking = false;
    part->trouble[0] = '\0';
    report_crashes(node, part);
    th_partition_hold(part->core, node->held);
    if (node->draining)
        th_partition_pause(part->core);
    node->provider->ops->inbox_open(node->provider, part->index, position);
    say(node, TH_LOG_DEBUG, "partition %u is ours from epoch %lld", part->index,
        (long long)part->epoch);
}

static void load_rows(struct th_node *node, struct part *part)
{
    struct th_str id;

    part->state = PART_ROWS;
    for (size_t n = 0; th_str_present(id = th_partition_wanted(part->core, n)); n++) {
        part->rows_missing++;
        node->provider->ops->load(node->provider, part->index, id, false,
                                  node_op(node, OP_ROW, part->index, id, 0));
    }
    if (part->rows_missing == 0)
        part_activate(node, part);
}

/* ---- completions ---- */

static void on_claim(struct th_node *node, struct part *part, struct th_completion *c)
{
    if (part->state != PART_CLAIMING)
        return;
    part->epoch = c->offset;
    part->state = PART_STATE;
    node->provider->ops->state(node->provider, part->index, part_tag(part, 0));
}

static void on_state(struct th_node *node, struct part *part, struct th_completion *c)
{
    if (part->state != PART_STATE)
        return;
    part->watermark = c->watermark;
    part->read_at = c->log_start;
    if (part->promised < c->inbox_end)
        part->promised = c->inbox_end;
    if (part->read_at < part->epoch)
        read_more(node, part);
    else
        load_rows(node, part);
}

/* The former owner, or a wipe, changed what is being read under the reader's eyes: what it has of
 * log or projection has a hole, so it starts again. */
static void read_again(struct th_node *node, struct part *part)
{
    th_partition_free(part->core);
    part->core = core_new(node, part);
    part->generation++; /* rows that were asked for come too late */
    part->rows_missing = 0;
    part->seen_first = false;
    part->state = PART_STATE;
    node->provider->ops->state(node->provider, part->index, part_tag(part, 0));
}

static void on_read(struct th_node *node, struct part *part, struct th_completion *c)
{
    struct th_error error = {.code = TH_OK};

    if (part->state != PART_READING)
        return;
    if (part->seen_first && c->record_count > 0 && c->records[0].offset > part->read_at) {
        read_again(node, part);
        return;
    }
    for (size_t n = 0; n < c->record_count; n++) {
        const struct th_log_record *r = &c->records[n];
        const bool first = !part->seen_first && r->offset > 0;

        part->seen_first = true;
        if (r->offset >= part->epoch)
            continue;
        if (!th_partition_feed(part->core, r->offset, r->bytes, first, &error)) {
            part_lose(node, part, &error);
            return;
        }
    }
    part->read_at = c->offset;
    if (c->last || part->read_at >= part->epoch)
        load_rows(node, part);
    else
        read_more(node, part);
}

static void read_gap(struct th_node *node, struct part *part, int64_t from)
{
    node->provider->ops->read(node->provider, part->index, from, part->gap_end,
                              node_op(node, OP_GAP, part->index, TH_STR_ABSENT, 0));
}

static void on_gap(struct th_node *node, struct part *part, struct th_completion *c)
{
    if (part->state != PART_ACTIVE)
        return;
    for (size_t n = 0; n < c->record_count; n++) {
        part->gap =
            th_grow(part->gap, &part->gap_capacity, part->gap_count + 1, sizeof(*part->gap));
        part->gap[part->gap_count++] = (struct th_log_record){
            .offset = c->records[n].offset, .bytes = th_blob_ref(c->records[n].bytes)};
    }
    if (!c->last && c->offset < part->gap_end) {
        read_gap(node, part, c->offset);
        return;
    }
    th_partition_gap(part->core, part->gap, part->gap_count, node->now);
    drop_gap(part);
}

/* All rows have to be those of the watermark that was read before them. A projection that can be
 * wiped comes back to the watermark "nothing" later, and would then take a batch that leaves out
 * what was believed to be stored. */
static bool is_another_projection(const struct th_node *node, const struct part *part,
                                  const struct th_completion *c)
{
    return !node->traits.durable_projection && !th_watermark_equal(&c->watermark, &part->watermark);
}

static void on_row(struct th_node *node, struct part *part, const struct op *op,
                   struct th_completion *c)
{
    struct th_error error = {.code = TH_OK};

    if (part->state != PART_ROWS)
        return;
    if (is_another_projection(node, part, c)) {
        read_again(node, part);
        return;
    }
    if (!th_partition_base(part->core, th_str_of(op->id), c->row_count > 0 ? c->rows : NULL,
                           &error)) {
        part_lose(node, part, &error);
        return;
    }
    if (--part->rows_missing == 0)
        part_activate(node, part);
}

static bool is_believed(struct th_node *node, struct part *part, const struct th_completion *c)
{
    if (node->traits.durable_projection || !part->core || !went_back(&part->watermark, c))
        return true;
    lose_wiped(node, part);
    return false;
}

static void on_load(struct th_node *node, struct part *part, struct op *op, struct th_completion *c)
{
    if (!is_believed(node, part, c))
        return;
    if (op->kind == OP_ROW)
        on_row(node, part, op, c);
    else if (part->state == PART_ACTIVE)
        th_partition_loaded(part->core, th_str_of(op->id), c->row_count > 0 ? c->rows : NULL,
                            node->now);
}

/* What was read for a client may be older than what clients already know: another lease's, or a
 * projection's that lost something. Then it looks again. */
static void on_ticket(struct th_node *node, struct part *part, struct op *op,
                      struct th_completion *c, bool current)
{
    const bool row =
        c->kind == TH_DONE_LOAD && (c->error.code == TH_OK || c->error.code == TH_NOT_FOUND);

    if (row && !node->traits.durable_projection &&
        (!current || part->state != PART_ACTIVE || !is_believed(node, part, c)))
        tickets_look(node, op->ticket);
    else
        tickets_completed(node, op->ticket, c);
}

static void on_project(struct th_node *node, struct part *part, struct th_completion *c)
{
    if (part->state != PART_ACTIVE)
        return;
    if (c->error.code == TH_OK)
        part->watermark = part->projecting; /* a projection that shows less has lost something */
    else
        part->project_after = node->now + PROJECT_AGAIN;
    th_partition_projected(part->core, &c->error);
}

static void on_append(struct th_node *node, struct part *part, struct th_completion *c)
{
    if (part->state != PART_ACTIVE)
        return;
    part->check_at = node->now + CHECK_INTERVAL;
    if (c->error.code == TH_OK)
        th_partition_acked(part->core, c->tag & VALUE_MASK, c->offset, node->now);
    else
        th_partition_append_failed(part->core, &c->error);
}

/*
 * An owner notices at its first acknowledgement that another one took over, but one that writes
 * nothing has none: it would answer from memory for ever while the partition goes on elsewhere, or
 * nowhere. So it looks at the log's end now and then, and whether the projection was wiped.
 */
static th_time check_lease(struct th_node *node, struct part *part)
{
    if (node->traits.ordered || part->checking)
        return TH_TIME_NONE;
    if (part->check_at > node->now)
        return part->check_at;
    part->checking = true;
    part->checked = part->watermark;
    node->provider->ops->state(node->provider, part->index, part_tag(part, 0));
    return TH_TIME_NONE;
}

static void on_check(struct th_node *node, struct part *part, struct th_completion *c)
{
    part->checking = false;
    part->check_at = node->now + CHECK_INTERVAL;
    if (c->error.code != TH_OK)
        return;
    if (!node->traits.durable_projection && went_back(&part->checked, c))
        lose_wiped(node, part);
    else
        th_partition_log_end(part->core, c->log_end, node->now);
}

static void on_deliver(struct th_node *node, struct part *part, struct th_completion *c)
{
    if (part->state != PART_ACTIVE)
        return;
    part->delivered = c->offset + 1;
    if (c->error.code != TH_OK)
        say(node, TH_LOG_ERROR, "a message of partition %u is lost: %s", part->index,
            c->error.message);
    th_partition_deliver(part->core, c->offset, c->blob, node->now);
}

static uint64_t send_tag(const struct part *part, uint64_t tag)
{
    return part_tag(part, ((uint64_t)part->index << SENDER_SHIFT) | (tag & SEND_MASK));
}

static void on_sent(struct th_node *node, struct part *part, struct th_completion *c)
{
    if (part->state != PART_ACTIVE)
        return;
    if (c->error.code == TH_OK)
        th_partition_sent(part->core, c->tag & SEND_MASK);
    else
        part_lose(node, part, &c->error); /* the next owner sends everything again, in order */
}

/* Completions that lead on with an operation's number rather than the core's tag. */
static bool has_op(const struct th_completion *c)
{
    return c->kind == TH_DONE_LOAD || c->kind == TH_DONE_QUERY ||
           (c->kind == TH_DONE_READ && (c->tag & VALUE_MASK) != 0);
}

/* Client sends carry their operation in a generation no lease uses. */
#define CLIENT_TAG (UINT64_C(0xffff) << GENERATION_SHIFT)

static bool is_client_send(const struct th_completion *c)
{
    return c->kind == TH_DONE_SEND && (c->tag & ~VALUE_MASK) == CLIENT_TAG;
}

static void lose_unavailable(struct th_node *node, struct part *part, struct th_completion *c)
{
    if (part->state != PART_IDLE && part->state != PART_BACKOFF)
        part_lose(node, part, &c->error);
}

static void on_op(struct th_node *node, struct part *part, struct op *op, struct th_completion *c,
                  bool current)
{
    const bool absent = c->kind == TH_DONE_LOAD && c->error.code == TH_NOT_FOUND;

    if (op->kind == OP_TICKET) {
        on_ticket(node, part, op, c, current);
    } else if (!current) {
        return;
    } else if (c->error.code != TH_OK && !absent) {
        lose_unavailable(node, part, c);
    } else if (op->kind == OP_GAP) {
        on_gap(node, part, c);
    } else {
        on_load(node, part, op, c);
    }
}

/* The partition a completion is for: of a message between partitions its sender, else the one that
 * it names. */
static struct part *part_of(struct th_node *node, const struct th_completion *c)
{
    const bool sender = c->kind == TH_DONE_SEND && !is_client_send(c);
    const uint64_t index = sender ? (c->tag & VALUE_MASK) >> SENDER_SHIFT : c->partition;

    return &node->parts[index < node->part_count ? index : 0];
}

/* An ordered provider may have delivered a message before it was durable. When its send fails it is
 * nowhere, but perhaps in a mailbox, waiting for a row: the core that took it must not go on. */
static void lose_early_delivery(struct th_node *node, struct th_completion *c)
{
    const bool delivered = node->traits.ordered && c->error.code != TH_OK &&
                           c->error.code != TH_TOO_LARGE && c->partition < node->part_count;

    if (delivered && node->parts[c->partition].state == PART_ACTIVE)
        part_lose(node, &node->parts[c->partition], &c->error);
}

static void complete(struct th_node *node, struct th_completion *c)
{
    struct part *part = part_of(node, c);
    const bool current = (uint16_t)(c->tag >> GENERATION_SHIFT) == part->generation;
    struct op *op = NULL;

    if (c->kind == TH_DONE_SEND)
        lose_early_delivery(node, c);
    if (is_client_send(c)) {
        if (c->error.code == TH_OK && part->promised <= c->offset)
            part->promised = c->offset + 1;
        tickets_sent(node, c->tag & VALUE_MASK, &c->error);
        return;
    }
    if (c->kind == TH_DONE_DELIVER) {
        on_deliver(node, part, c);
        return;
    }
    if (has_op(c)) {
        op = op_take(node, c->tag);
        if (op)
            on_op(node, part, op, c, current);
        op_free(op);
        return;
    }
    if (!current)
        return;
    if (c->kind == TH_DONE_APPEND) {
        on_append(node, part, c);
    } else if (c->kind == TH_DONE_PROJECT) {
        on_project(node, part, c);
    } else if (c->kind == TH_DONE_SEND) {
        on_sent(node, part, c);
    } else if (c->kind == TH_DONE_STATE && part->state == PART_ACTIVE) {
        on_check(node, part, c);
    } else if (c->error.code != TH_OK) {
        lose_unavailable(node, part, c);
    } else if (c->kind == TH_DONE_CLAIM) {
        on_claim(node, part, c);
    } else if (c->kind == TH_DONE_STATE) {
        on_state(node, part, c);
    } else if (c->kind == TH_DONE_READ) {
        on_read(node, part, c);
    }
}

/* ---- effects ---- */

static enum th_executor_result run(struct th_node *node, const struct th_episode *episode,
                                   struct th_arena *arena, struct th_actions *actions)
{
    const struct th_node_hooks *h = &node->options.hooks;
    enum th_executor_result result;

    if (h->episode)
        h->episode(h->argument, true, episode->instance_id);
    if (h->orchestrate)
        result = h->orchestrate(h->argument, episode, arena, actions);
    else
        result = th_executor_run(node->executor, episode, arena, actions);
    if (h->episode)
        h->episode(h->argument, false, episode->instance_id);
    return result;
}

static struct th_str oversize_message(struct th_arena *arena, const struct th_action *action,
                                      size_t limit)
{
    if (action->kind == TH_ACTION_COMPLETE)
        return th_arena_format(arena, "an output of %zu bytes is above the limit of %zu bytes",
                               action->data.len, limit);
    return th_arena_format(arena,
                           "a payload of %zu bytes for \"%.*s\" is above the limit of %zu bytes",
                           action->data.len, TH_PRI(action->name), limit);
}

/* A payload that no part of the hub could carry ends the instance with words, not in a loop. */
static void refuse_oversize(struct th_node *node, struct th_actions *actions,
                            struct th_arena *arena)
{
    for (size_t n = 0; n < actions->count; n++) {
        const size_t size = actions->items[n].data.len;
        struct th_failure *failure;
        struct th_action *only;
        struct th_str message;

        if (size <= node->options.max_payload_bytes)
            continue;
        message = oversize_message(arena, &actions->items[n], node->options.max_payload_bytes);
        failure = TH_ARENA_NEW(arena, struct th_failure);
        *failure = (struct th_failure){
            .type = TH_STR("PayloadTooLarge"), .message = message, .non_retriable = true};
        actions->count = 0;
        only = th_actions_add(actions, arena, TH_ACTION_COMPLETE, -1);
        only->status = TH_STATUS_FAILED;
        only->failure = failure;
        return;
    }
}

/* Compares dotted versions number by number; parts that are no numbers compare as text. */
static int version_compare(struct th_str a, struct th_str b)
{
    size_t at = 0, bt = 0;

    while (at < a.len || bt < b.len) {
        size_t a_end = at, b_end = bt;
        long long a_number = 0, b_number = 0;
        struct th_str a_part, b_part;
        int order;

        while (a_end < a.len && a.data[a_end] != '.')
            a_end++;
        while (b_end < b.len && b.data[b_end] != '.')
            b_end++;
        a_part = th_str_n(a.data + at, a_end - at);
        b_part = th_str_n(b.data + bt, b_end - bt);
        if ((a_part.len == 0 || th_str_to_i64(a_part, &a_number)) &&
            (b_part.len == 0 || th_str_to_i64(b_part, &b_number)))
            order = (a_number > b_number) - (a_number < b_number);
        else
            order = th_str_cmp(a_part, b_part);
        if (order != 0)
            return order;
        at = a_end < a.len ? a_end + 1 : a.len;
        bt = b_end < b.len ? b_end + 1 : b.len;
    }
    return 0;
}

static bool version_fits(const struct th_node_options *o, struct th_str version)
{
    const struct th_str ours = th_str_of(o->version);

    if (!o->version || o->version_match == TH_VERSION_MATCH_NONE)
        return true;
    if (o->version_match == TH_VERSION_MATCH_STRICT)
        return th_str_eq(version, ours);
    return version_compare(version, ours) <= 0;
}

static void fail_version(struct th_node *node, struct part *part, struct th_instance *instance,
                         struct th_str version)
{
    struct th_arena *arena = th_partition_arena(instance);
    struct th_actions actions = {0};
    struct th_action *only = th_actions_add(&actions, arena, TH_ACTION_COMPLETE, -1);
    struct th_failure *failure = TH_ARENA_NEW(arena, struct th_failure);

    *failure = (struct th_failure){
        .type = TH_STR("VersionMismatch"),
        .message = th_arena_format(
            arena,
            "the instance has version \"%.*s\", this application \"%s\" does not run it "
            "(versionMatchStrategy)",
            TH_PRI(version), node->options.version),
        .non_retriable = true};
    only->status = TH_STATUS_FAILED;
    only->failure = failure;
    th_partition_ran(part->core, instance, &actions, node->now);
}

/* Whether this process may run the instance; otherwise it was failed or put back. */
static bool may_run(struct th_node *node, struct part *part, struct th_instance *instance)
{
    const struct th_node_hooks *h = &node->options.hooks;
    struct th_str name, version;

    if (!node->options.version && !h->serves)
        return true;
    th_partition_function(instance, &name, &version);
    if (!version_fits(&node->options, version)) {
        if (node->options.version_failure == TH_VERSION_FAILURE_FAIL) {
            fail_version(node, part, instance, version);
            return false;
        }
    } else if (!h->serves || h->serves(h->argument, false, name, version)) {
        return true;
    }
    say(node, TH_LOG_WARN,
        "instance \"%.*s\" waits: nobody here serves orchestrator \"%.*s\", version \"%.*s\"",
        TH_PRI(th_partition_instance_id(instance)), TH_PRI(name), TH_PRI(version));
    th_partition_put_back(part->core, instance, node->now);
    return false;
}

static void effect_run(struct th_node *node, struct part *part, struct th_instance *instance)
{
    struct th_arena *arena = th_partition_arena(instance);
    struct th_actions actions = {0};
    struct th_episode episode;
    enum th_executor_result result;

    if (!may_run(node, part, instance))
        return;
    th_partition_episode(part->core, instance, false, &episode);
    result = run(node, &episode, arena, &actions);
    if (result == TH_EXECUTOR_NEEDS_HISTORY) {
        if (!th_partition_episode(part->core, instance, true, &episode))
            return; /* RUN comes again when the history is there */
        node->stats.replays++;
        actions = (struct th_actions){0};
        result = run(node, &episode, arena, &actions);
    }
    if (result == TH_EXECUTOR_CRASHED) {
        th_node_hold(node, true);
        th_partition_interrupted(part->core, instance, node->now);
        return;
    }
    node->stats.episodes++;
    refuse_oversize(node, &actions, arena);
    th_partition_ran(part->core, instance, &actions, node->now);
}

/* The node's token: partition, lease and the core's own. The core of a later lease counts from the
 * start again, and must not take a result of the earlier one's for its own. */
#define TOKEN_LEASE_SHIFT 40
#define TOKEN_PART_SHIFT  52
#define TOKEN_MASK        ((UINT64_C(1) << TOKEN_LEASE_SHIFT) - 1)

static uint64_t node_token(const struct part *part, uint64_t token)
{
    const uint64_t lease = part->generation & ((1u << (TOKEN_PART_SHIFT - TOKEN_LEASE_SHIFT)) - 1);

    return ((uint64_t)part->index << TOKEN_PART_SHIFT) | (lease << TOKEN_LEASE_SHIFT) |
           (token & TOKEN_MASK);
}

static void effect_activity(struct th_node *node, struct part *part, uint64_t token)
{
    struct th_partition_task task;
    struct th_activity_work work;

    if (!th_partition_activity(part->core, token, &task))
        return;
    work = (struct th_activity_work){.partition = part->index,
                                     .token = node_token(part, token),
                                     .instance_id = task.instance_id,
                                     .execution_id = task.execution_id,
                                     .name = task.name,
                                     .version = task.version,
                                     .input = task.input,
                                     .task_id = task.task_id,
                                     .crashes = task.crashes,
                                     .tags = task.tags};
    node->stats.activities++;
    node->options.hooks.activity(node->options.hooks.argument, &work);
}

static void effect_load(struct th_node *node, struct part *part, const char *id)
{
    node->stats.loads++;
    node->provider->ops->load(node->provider, part->index, th_str_of(id), true,
                              node_op(node, OP_LOAD, part->index, th_str_of(id), 0));
}

static void carry_out(struct th_node *node, struct part *part, struct th_effect *e)
{
    struct th_provider *provider = node->provider;

    switch (e->kind) {
    case TH_EFFECT_APPEND:
        node->stats.records++;
        provider->ops->append(provider, part->index, (uint64_t)part->epoch, e->blob,
                              part_tag(part, e->tag));
        break;
    case TH_EFFECT_SEND:
        provider->ops->send(provider, part->index, e->destination, e->blob, send_tag(part, e->tag));
        break;
    case TH_EFFECT_ACTIVITY:
        effect_activity(node, part, e->token);
        break;
    case TH_EFFECT_CANCEL:
        if (node->options.hooks.activity_canceled)
            node->options.hooks.activity_canceled(node->options.hooks.argument,
                                                  node_token(part, e->token));
        break;
    case TH_EFFECT_REPLY:
        tickets_reply(node, e->reply_to, e->id, e->error);
        break;
    case TH_EFFECT_CHANGED:
        tickets_changed(node, th_str_of(e->id));
        break;
    case TH_EFFECT_RUN:
        effect_run(node, part, e->instance);
        break;
    case TH_EFFECT_FORGET:
        forget(node, th_str_of(e->id));
        break;
    case TH_EFFECT_LOAD:
        effect_load(node, part, e->id);
        break;
    case TH_EFFECT_READ:
        part->gap_end = e->to;
        read_gap(node, part, e->from);
        break;
    case TH_EFFECT_TRIM_INBOX:
        provider->ops->trim_inbox(provider, part->index, e->to);
        break;
    case TH_EFFECT_TRIM_LOG:
        provider->ops->trim_log(provider, part->index, e->to);
        break;
    case TH_EFFECT_FENCED:
        part_lose(node, part, e->error);
        break;
    }
}

static bool drain_effects(struct th_node *node, struct part *part)
{
    struct th_effect effect;
    bool any = false;

    while (part->state == PART_ACTIVE && th_partition_effect(part->core, &effect)) {
        any = true;
        carry_out(node, part, &effect);
        th_effect_deinit(&effect);
    }
    return any;
}

/* ---- the step ---- */

static th_time earlier(th_time a, th_time b)
{
    return a == TH_TIME_NONE || (b != TH_TIME_NONE && b < a) ? b : a;
}

static void project(struct th_node *node, struct part *part)
{
    struct th_projection batch;

    if (!th_partition_project(part->core, &batch))
        return;
    node->stats.projections++;
    part->projecting = batch.next;
    part->flush = false;
    node->provider->ops->project(node->provider, &batch, part_tag(part, 0));
}

/* Work and effects until nothing is left or the rounds are used up. */
static th_time work(struct th_node *node, struct part *part)
{
    for (int round = 0; round < STEP_ROUNDS; round++) {
        const th_time next = th_partition_work(part->core, node->now);

        if (!drain_effects(node, part))
            return next;
        if (part->state != PART_ACTIVE)
            return part->retry_at;
    }
    return node->now;
}

static th_time step_active(struct th_node *node, struct part *part)
{
    th_time next = work(node, part);
    th_time due;

    if (part->state == PART_ACTIVE)
        next = earlier(next, check_lease(node, part));
    if (part->state != PART_ACTIVE || !th_partition_dirty(part->core))
        return next;
    if (part->project_after > node->now)
        return earlier(next, part->project_after);
    due = th_partition_dirty_since(part->core) + node->options.project_interval;
    if (part->flush || node->draining || due <= node->now) {
        project(node, part);
        drain_effects(node, part);
        return next; /* what could not go out waits for an acknowledgement */
    }
    return earlier(next, due);
}

static th_time step_part(struct th_node *node, struct part *part)
{
    if (part->state == PART_BACKOFF && part->retry_at <= node->now && !node->draining)
        part_claim(node, part);
    if (part->release && part->state != PART_IDLE && part->state != PART_CLAIMING) {
        part_drop(node, part);
        part->release = false;
    }
    if (part->state == PART_BACKOFF)
        return part->retry_at;
    return part->state == PART_ACTIVE ? step_active(node, part) : TH_TIME_NONE;
}

static bool take_completions(struct th_node *node)
{
    struct th_completion batch[POLL_BATCH];
    const size_t count = node->provider->ops->poll(node->provider, batch, POLL_BATCH);

    for (size_t n = 0; n < count; n++) {
        /* What an acknowledgement releases goes before a projection lets instances leave. */
        if (batch[n].kind == TH_DONE_PROJECT && batch[n].partition < node->part_count)
            drain_effects(node, &node->parts[batch[n].partition]);
        complete(node, &batch[n]);
        th_completion_deinit(&batch[n]);
    }
    return count > 0;
}

th_time th_node_step(struct th_node *node, th_time now)
{
    bool more = true;
    th_time next;

    if (now > node->now)
        node->now = now;
    for (int batch = 0; batch < STEP_BATCHES && more; batch++)
        more = take_completions(node);
    tickets_step(node);
    next = more ? node->now : earlier(node->next_deadline, node->next_patience);
    for (uint32_t n = 0; n < node->part_count; n++)
        next = earlier(next, step_part(node, &node->parts[n]));
    if (node->looking)
        tickets_step(node);
    return next;
}

/* ---- life ---- */

static void defaults(struct th_node_options *o)
{
    if (o->max_instances == 0)
        o->max_instances = 50000;
    if (o->project_interval == 0)
        o->project_interval = 50 * TH_MILLISECOND;
    if (o->checkpoint_records == 0)
        o->checkpoint_records = 10000;
    if (o->checkpoint_bytes == 0)
        o->checkpoint_bytes = 4u << 20;
    if (o->max_crashes == 0)
        o->max_crashes = 3;
    if (o->max_payload_bytes == 0)
        o->max_payload_bytes = 16u << 20;
}

struct th_node *th_node_new(const struct th_node_options *options)
{
    struct th_node *node = TH_NEW(struct th_node);

    node->options = *options;
    defaults(&node->options);
    node->provider = options->provider;
    node->traits = node->provider->ops->traits(node->provider);
    node->part_count = node->provider->hub.partitions;
    node->parts = th_alloc(node->part_count * sizeof(*node->parts));
    for (uint32_t n = 0; n < node->part_count; n++)
        node->parts[n].index = n;
    node->next_deadline = node->next_patience = TH_TIME_NONE;
    th_random_seed(&node->random, options->seed);
    return node;
}

void th_node_set_executor(struct th_node *node, struct th_executor *executor)
{
    node->executor = executor;
}

void th_node_free(struct th_node *node)
{
    struct op *op, *next;

    tickets_free(node);
    for (uint32_t n = 0; n < node->part_count; n++) {
        part_drop(node, &node->parts[n]);
        free(node->parts[n].gap);
    }
    HASH_ITER(hh, node->ops, op, next) {
        HASH_DELETE(hh, node->ops, op);
        op_free(op);
    }
    while (node->crashes) {
        struct crash_report *c = node->crashes;
        node->crashes = c->next;
        crash_report_free(c);
    }
    node->provider->ops->close(node->provider);
    free(node->parts);
    free(node);
}

void th_node_take(struct th_node *node, uint32_t partition)
{
    struct part *part = &node->parts[partition];

    part->release = false;
    if (part->state == PART_IDLE)
        part_claim(node, part);
}

void th_node_release(struct th_node *node, uint32_t partition)
{
    if (node->parts[partition].state == PART_BACKOFF)
        node->parts[partition].state = PART_IDLE;
    node->parts[partition].release = node->parts[partition].state != PART_IDLE;
}

void th_node_activity_done(struct th_node *node, const struct th_activity_answer *answer,
                           th_time now)
{
    const uint64_t index = answer->token >> TOKEN_PART_SHIFT;
    struct part *part = index < node->part_count ? &node->parts[index] : NULL;
    const struct th_failure *failure = answer->failure;
    struct th_failure oversize = {.type = TH_STR("PayloadTooLarge"), .non_retriable = true};
    char text[160];

    if (now > node->now)
        node->now = now;
    if (!part || part->state != PART_ACTIVE || answer->token != node_token(part, answer->token))
        return;
    if (!failure && answer->data.len > node->options.max_payload_bytes) {
        snprintf(text, sizeof(text), "a result of %zu bytes is above the limit of %zu bytes",
                 answer->data.len, node->options.max_payload_bytes);
        oversize.message = th_str_of(text);
        failure = &oversize;
    }
    th_partition_answer(part->core, answer->token & TOKEN_MASK, answer->data, failure, node->now);
}

void th_node_report_crash(struct th_node *node, struct th_str instance_id, int32_t task_id,
                          const char *reason)
{
    struct crash_report *c = TH_NEW(struct crash_report);

    c->id = th_str_dup(instance_id);
    c->task_id = task_id;
    c->reason = th_str_dup(th_str_of(reason));
    c->next = node->crashes;
    node->crashes = c;
}

void th_node_crashed(struct th_node *node, struct th_str instance_id, int32_t task_id,
                     const char *reason, th_time now)
{
    struct part *part = node_part_of(node, instance_id);

    if (now > node->now)
        node->now = now;
    if (part->state == PART_ACTIVE)
        th_partition_crashed(part->core, instance_id, task_id, th_str_of(reason), node->now);
    else
        th_node_report_crash(node, instance_id, task_id, reason);
}

void th_node_hold(struct th_node *node, bool held)
{
    node->held = held;
    for (uint32_t n = 0; n < node->part_count; n++)
        if (node->parts[n].state == PART_ACTIVE)
            th_partition_hold(node->parts[n].core, held);
}

void th_node_drain(struct th_node *node)
{
    node->draining = true;
    for (uint32_t n = 0; n < node->part_count; n++)
        if (node->parts[n].state == PART_ACTIVE)
            th_partition_pause(node->parts[n].core);
}

bool th_node_drained(struct th_node *node)
{
    for (uint32_t n = 0; n < node->part_count; n++) {
        const struct part *part = &node->parts[n];

        if (part->state == PART_ACTIVE && !th_partition_quiet(part->core))
            return false;
    }
    return true;
}

void th_node_get_stats(const struct th_node *node, struct th_node_stats *out)
{
    *out = node->stats;
    out->waiting_commands = HASH_COUNT(node->tickets);
    for (uint32_t n = 0; n < node->part_count; n++) {
        struct th_partition_stats s;

        if (!node->parts[n].core)
            continue;
        th_partition_get_stats(node->parts[n].core, &s);
        out->instances += s.instances;
        out->pending_activities += s.pending_tasks;
        out->timers += s.timers;
        out->messages += s.messages;
        out->evictions += s.evictions;
    }
}
