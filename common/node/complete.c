/*
 * complete: what the provider has done, and whom it is for. A completion either carries the core's
 * own tag (claims, appends, sends) or the number of an operation that says more.
 */
#include "node/internal.h"

#define SENDER_SHIFT 36 /* of a message between partitions: who sent it, above its own tag */
#define SEND_MASK    ((UINT64_C(1) << SENDER_SHIFT) - 1)

/* ---- tags and operations ---- */

uint64_t part_tag(const struct part *part, uint64_t value)
{
    return ((uint64_t)part->generation << GENERATION_SHIFT) | (value & VALUE_MASK);
}

uint64_t send_tag(const struct part *part, uint64_t tag)
{
    return part_tag(part, ((uint64_t)part->index << SENDER_SHIFT) | (tag & SEND_MASK));
}

static uint64_t op_add(struct th_node *node, struct op *op)
{
    op->number = ++node->next_op;
    op->generation = node->parts[op->partition].generation;
    HASH_ADD(hh, node->ops, number, sizeof(op->number), op);
    return part_tag(&node->parts[op->partition], op->number);
}

uint64_t node_op(struct th_node *node, enum op_kind kind, uint32_t partition, struct th_str id,
                 uint64_t ticket)
{
    struct op *op = TH_NEW(struct op);

    op->kind = kind;
    op->partition = partition;
    op->id = th_str_dup(id);
    op->ticket = ticket;
    return op_add(node, op);
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
    free(op->id);
    free(op);
}

void ops_free(struct th_node *node)
{
    struct op *op, *next;

    HASH_ITER(hh, node->ops, op, next) {
        HASH_DELETE(hh, node->ops, op);
        op_free(op);
    }
    DL_FOREACH_SAFE(node->later, op, next) {
        DL_DELETE(node->later, op);
        op_free(op);
    }
}

/* ---- loads that failed are repeated: an instance must not cost its partition the lease ---- */

static void ask_later(struct th_node *node, struct op *op)
{
    op->due = node->now + ASK_AGAIN;
    DL_APPEND(node->later, op);
}

static void ask_again(struct th_node *node, struct op *op)
{
    struct part *part = &node->parts[op->partition];

    if (op->generation != part->generation) {
        op_free(op);
        return;
    }
    node->provider->ops->load(node->provider, op->partition, th_str_of(op->id), op->kind == OP_LOAD,
                              op_add(node, op));
}

th_time later_step(struct th_node *node)
{
    while (node->later && node->later->due <= node->now) {
        struct op *op = node->later;

        DL_DELETE(node->later, op);
        ask_again(node, op);
    }
    return node->later ? node->later->due : TH_TIME_NONE;
}

/* ---- of an owner ---- */

static void lose_unavailable(struct th_node *node, struct part *part, struct th_completion *c)
{
    if (part->core)
        part_lose(node, part, &c->error);
}

static void on_gap(struct th_node *node, struct part *part, struct th_completion *c)
{
    if (c->error.code != TH_OK) {
        lose_unavailable(node, part, c);
        return;
    }
    for (size_t n = 0; n < c->record_count; n++) {
        part->gap =
            th_grow(part->gap, &part->gap_capacity, part->gap_count + 1, sizeof(*part->gap));
        part->gap[part->gap_count++] = (struct th_log_record){
            .offset = c->records[n].offset, .bytes = th_blob_ref(c->records[n].bytes)};
    }
    if (!c->last && c->offset < part->gap_end) {
        effects_read_gap(node, part, c->offset);
        return;
    }
    th_partition_gap(part->core, part->gap, part->gap_count, node->now);
    for (size_t n = 0; n < part->gap_count; n++)
        th_blob_unref(part->gap[n].bytes);
    part->gap_count = 0;
}

static void on_verify(struct th_node *node, struct part *part, struct th_completion *c)
{
    if (c->error.code != TH_OK)
        lose_unavailable(node, part, c);
    else
        th_partition_verified(part->core, c->records, c->record_count, c->offset, node->now);
}

/* A projection that lost what it once held says nothing of absence: it is asked again. */
static bool went_back(const struct th_node *node, const struct part *part,
                      const struct th_completion *c)
{
    return !node->traits.durable_projection &&
           (c->watermark.building || projection_is_older(&c->watermark, &part->watermark));
}

static bool on_load(struct th_node *node, struct part *part, const struct op *op,
                    struct th_completion *c)
{
    if (part->state != PART_ACTIVE || th_partition_rebuilding(part->core))
        return true; /* it asks again by itself */
    if (c->error.code == TH_CORRUPT) {
        part_lose(node, part, &c->error);
        return true;
    }
    if (c->error.code != TH_OK && c->error.code != TH_NOT_FOUND)
        return false;
    if (went_back(node, part, c)) {
        part->check_at = node->now;
        return false;
    }
    th_partition_loaded(part->core, th_str_of(op->id), c->row_count > 0 ? c->rows : NULL,
                        node->now);
    return true;
}

static void on_append(struct th_node *node, struct part *part, struct th_completion *c)
{
    if (part->state != PART_ACTIVE)
        return;
    if (!part->unresolved)
        part->check_at = node->now + 2 * TH_SECOND;
    if (c->error.code == TH_OK)
        th_partition_acked(part->core, c->tag & VALUE_MASK, c->offset, node->now);
    else
        th_partition_append_failed(part->core, &c->error);
}

static void on_deliver(struct th_node *node, struct part *part, struct th_completion *c)
{
    if (part->state != PART_ACTIVE) {
        remote_peek(node, part, c);
        return;
    }
    part->delivered = c->offset + 1;
    if (c->error.code != TH_OK)
        node_say(node, TH_LOG_ERROR, "a message of partition %u is lost: %s", part->index,
                 c->error.message);
    th_partition_deliver(part->core, c->offset, c->blob, node->now);
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

/* ---- operations ---- */

static bool has_op(const struct th_completion *c)
{
    return c->kind == TH_DONE_LOAD || c->kind == TH_DONE_QUERY || c->kind == TH_DONE_READ ||
           c->kind == TH_DONE_STATE || c->kind == TH_DONE_PROJECT || c->kind == TH_DONE_WALK;
}

/* True: it was dealt with; false: it is to be asked again. */
static bool for_reader(struct th_node *node, struct part *part, const struct op *op,
                       struct th_completion *c)
{
    struct reader *r = reader_of(part, op->ticket);

    if (!r)
        return true;
    switch (op->kind) {
    case OP_STATE:
        reader_state(node, part, r, c);
        return true;
    case OP_READ:
        reader_read(node, part, r, c);
        return true;
    case OP_STORE:
        reader_stored(node, part, r, c);
        return true;
    default:
        return reader_row(node, part, r, op, c);
    }
}

static bool for_owner(struct th_node *node, struct part *part, const struct op *op,
                      struct th_completion *c)
{
    if (part->state != PART_ACTIVE)
        return true;
    switch (op->kind) {
    case OP_GAP:
        on_gap(node, part, c);
        return true;
    case OP_GONE:
        gone_state(node, part, op->id, c);
        return true;
    case OP_VERIFY:
        on_verify(node, part, c);
        return true;
    case OP_WALK:
        th_partition_walked(part->core, c->rows, c->row_count, &c->watermark, c->stored_rows,
                            &c->error, node->now);
        return true;
    case OP_STATE:
        part_checked(node, part, c);
        return true;
    case OP_STORE:
        project_stored(node, part, c);
        return true;
    default:
        return on_load(node, part, op, c);
    }
}

static bool is_of_reader(const struct op *op)
{
    return op->kind == OP_READ || op->kind == OP_ROW || (op->ticket > 0 && op->kind == OP_STATE) ||
           (op->ticket > 0 && op->kind == OP_STORE);
}

static void on_op(struct th_node *node, struct op *op, struct th_completion *c)
{
    struct part *part = &node->parts[op->partition];
    const bool current = op->generation == part->generation;
    bool done = true;

    if (op->kind == OP_TICKET)
        tickets_completed(node, op->ticket, part, current, c);
    else if (current)
        done = is_of_reader(op) ? for_reader(node, part, op, c) : for_owner(node, part, op, c);
    if (done)
        op_free(op);
    else
        ask_later(node, op);
}

/* ---- all of them ---- */

static bool is_client_send(const struct th_completion *c)
{
    return c->kind == TH_DONE_SEND && (c->tag & ~VALUE_MASK) == CLIENT_TAG;
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

static void on_client_sent(struct th_node *node, struct part *part, struct th_completion *c)
{
    if (c->error.code == TH_OK && part->promised <= c->offset)
        part->promised = c->offset + 1;
    tickets_sent(node, c->tag & VALUE_MASK, &c->error);
}

/* Of the lease under way, by the core's own tag. */
static void on_tagged(struct th_node *node, struct part *part, struct th_completion *c)
{
    if (c->kind == TH_DONE_APPEND)
        on_append(node, part, c);
    else if (c->kind == TH_DONE_SEND)
        on_sent(node, part, c);
    else if (c->error.code != TH_OK)
        lose_unavailable(node, part, c);
    else
        part_claimed(node, part, c);
}

void complete(struct th_node *node, struct th_completion *c)
{
    struct part *part = part_of(node, c);
    struct op *op;

    if (c->kind == TH_DONE_SEND)
        lose_early_delivery(node, c);
    if (is_client_send(c)) {
        on_client_sent(node, part, c);
    } else if (has_op(c)) {
        op = op_take(node, c->tag);
        if (op)
            on_op(node, op, c);
    } else if (c->kind == TH_DONE_DELIVER) {
        on_deliver(node, part, c);
    } else if (c->kind == TH_DONE_DOUBT) {
        part_doubt(node, part);
    } else if (c->kind == TH_DONE_REPLY) {
        tickets_replied(node, c);
    } else if (c->kind == TH_DONE_NEWS) {
        remote_news(node, part, c);
    } else if ((uint16_t)(c->tag >> GENERATION_SHIFT) == part->generation) {
        on_tagged(node, part, c);
    }
}
