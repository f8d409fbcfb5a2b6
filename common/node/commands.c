/*
 * commands: one ticket per command. Those that change an instance become a message to its owner,
 * whose answer comes back by the ticket's number in `reply_to`. Those that look read the core's
 * view first, then the projection; what rests on records not yet durable is looked at again.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/uuid.h"
#include "node/internal.h"

#define CLIENT_TAG (UINT64_C(0xffff) << 48)
#define MAX_ID     256
#define PATIENCE   (15 * TH_SECOND) /* without an owner or storage for so long: UNAVAILABLE */

struct ticket *ticket_find(struct th_node *node, uint64_t number)
{
    struct ticket *t;

    HASH_FIND(hh, node->tickets, &number, sizeof(number), t);
    return t;
}

/* ---- lists: tickets to look at in every step, and those that wait for a change ---- */

static void leave_waiters(struct th_node *node, struct ticket *t)
{
    struct waiters *w = t->waiters;

    DL_DELETE(w->first, t);
    t->waiters = NULL;
    if (w->first)
        return;
    HASH_DELETE(hh, node->waiting, w);
    free(w->id);
    free(w);
}

static void unlist(struct th_node *node, struct ticket *t)
{
    if (t->waiters)
        leave_waiters(node, t);
    else if (t->listed)
        DL_DELETE(node->looking, t);
    t->listed = false;
}

static void list_looking(struct th_node *node, struct ticket *t)
{
    if (t->listed && !t->waiters)
        return;
    unlist(node, t);
    t->listed = true;
    DL_APPEND(node->looking, t);
}

static struct waiters *waiters_of(struct th_node *node, struct th_str id)
{
    struct waiters *w;

    HASH_FIND(hh, node->waiting, id.data, id.len, w);
    return w;
}

static void list_waiting(struct th_node *node, struct ticket *t)
{
    const struct th_str id = t->command.instance_id;
    struct waiters *w;

    if (t->waiters)
        return;
    unlist(node, t);
    w = waiters_of(node, id);
    if (!w) {
        w = TH_NEW(struct waiters);
        w->id = th_str_dup(id);
        HASH_ADD_KEYPTR(hh, node->waiting, w->id, id.len, w);
    }
    DL_APPEND(w->first, t);
    t->waiters = w;
    t->listed = true;
}

static void ticket_free(struct th_node *node, struct ticket *t)
{
    unlist(node, t);
    HASH_DELETE(hh, node->tickets, t);
    job_free(t);
    th_arena_deinit(&t->arena);
    free(t);
}

void ticket_finish(struct th_node *node, struct ticket *t, const struct th_reply *reply)
{
    struct th_reply filled = *reply;

    if (!th_str_present(filled.instance_id))
        filled.instance_id = t->command.instance_id;
    t->reply(t->argument, &filled);
    ticket_free(node, t);
}

void ticket_fail(struct th_node *node, struct ticket *t, enum th_code code, const char *format, ...)
{
    struct th_reply reply = {.error = {.code = code}};
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(reply.error.message, sizeof(reply.error.message), format, arguments);
    va_end(arguments);
    ticket_finish(node, t, &reply);
}

/* ---- commands that become a message ---- */

static struct th_message message_of(struct th_node *node, struct ticket *t)
{
    static const enum th_event_kind kinds[] = {
        [TH_COMMAND_START] = TH_EVENT_EXECUTION_STARTED,
        [TH_COMMAND_RAISE] = TH_EVENT_EVENT_RAISED,
        [TH_COMMAND_TERMINATE] = TH_EVENT_EXECUTION_TERMINATED,
        [TH_COMMAND_SUSPEND] = TH_EVENT_EXECUTION_SUSPENDED,
        [TH_COMMAND_RESUME] = TH_EVENT_EXECUTION_RESUMED,
        [TH_COMMAND_REWIND] = TH_EVENT_EXECUTION_REWOUND,
        [TH_COMMAND_PURGE] = TH_EVENT_PURGE_REQUESTED,
    };
    const struct th_command *c = &t->command;
    struct th_message m = {.instance_id = c->instance_id,
                           .request_id = c->request_id,
                           .origin = {.partition = TH_FROM_CLIENT},
                           .reuse = c->reuse};

    m.event = th_event_of(kinds[c->kind], node->now);
    m.event.data = c->data;
    m.event.name = c->name;
    m.event.version = c->version;
    m.event.reason = c->reason;
    m.event.recurse = c->recursive;
    m.event.tags = c->tags;
    m.event.trace = c->trace;
    if (c->kind == TH_COMMAND_START) {
        m.event.instance_id = c->instance_id;
        if (c->start_at != TH_TIME_NONE && c->start_at > node->now)
            m.event.fire_at = c->start_at;
    }
    return m;
}

/* `fresh`: the id was just generated here, so durability is all there is to wait for. */
static void send_message(struct th_node *node, struct ticket *t, bool fresh)
{
    const struct part *part = node_part_of(node, t->command.instance_id);
    struct th_message m = message_of(node, t);
    TH_BUFFER bytes = {0};
    struct th_blob *blob;

    m.fresh = fresh;
    if (!fresh)
        m.reply_to =
            th_arena_format(&t->arena, "%016llx:%llu", (unsigned long long)node->options.seed,
                            (unsigned long long)t->number);
    th_encode_message(&bytes, &m);
    blob = th_blob_new(bytes.data, bytes.len);
    t->state = TICKET_MESSAGE;
    node->provider->ops->send(node->provider, TH_SEND_FROM_CLIENT, part->index, blob,
                              CLIENT_TAG | t->number);
    th_blob_unref(blob);
}

/* The message is durable in the inbox, or could not be put there. */
void tickets_sent(struct th_node *node, uint64_t number, const struct th_error *error)
{
    struct ticket *t = ticket_find(node, number);
    struct th_reply reply = {.error = *error};

    if (!t || t->state != TICKET_MESSAGE)
        return;
    if (error->code != TH_OK)
        ticket_finish(node, t, &reply);
    else if (t->command.kind == TH_COMMAND_START && t->command.new_id)
        ticket_finish(node, t, &reply);
}

void tickets_reply(struct th_node *node, const char *reply_to, const char *id,
                   const struct th_error *error)
{
    unsigned long long seed, number;
    struct th_reply reply = {.error = {.code = TH_OK}, .instance_id = th_str_of(id)};
    struct ticket *t;

    if (sscanf(reply_to, "%16llx:%llu", &seed, &number) != 2 || seed != node->options.seed)
        return; /* asked by a process that is gone */
    t = ticket_find(node, number);
    if (!t || t->state != TICKET_MESSAGE)
        return;
    if (error)
        reply.error = *error;
    reply.count = t->command.kind == TH_COMMAND_PURGE && !error;
    ticket_finish(node, t, &reply);
}

/* ---- commands that look ---- */

static void ask_row(struct th_node *node, struct ticket *t)
{
    const struct part *part = node_part_of(node, t->command.instance_id);

    t->state = TICKET_LOAD;
    unlist(node, t);
    node->provider->ops->load(node->provider, part->index, t->command.instance_id,
                              t->command.history,
                              node_op(node, OP_TICKET, part->index, TH_STR_ABSENT, t->number));
}

static void answer_info(struct th_node *node, struct ticket *t, const struct th_instance_info *info)
{
    struct th_instance_info shown = *info;
    struct th_reply reply = {.error = {.code = TH_OK}, .info = &shown};

    if (!t->command.payloads)
        shown.input = shown.output = TH_STR_ABSENT;
    ticket_finish(node, t, &reply);
}

static bool wait_is_over(const struct ticket *t, const struct th_instance_info *info)
{
    return t->command.until_started ? info->status != TH_STATUS_PENDING
                                    : th_status_terminal(info->status);
}

static void keep_waiting(struct th_node *node, struct ticket *t)
{
    t->state = TICKET_WAIT;
    list_waiting(node, t);
    if (t->command.deadline != TH_TIME_NONE &&
        (node->next_deadline == TH_TIME_NONE || t->command.deadline < node->next_deadline))
        node->next_deadline = t->command.deadline;
}

static void look_present(struct th_node *node, struct ticket *t,
                         const struct th_instance_info *info, bool durable)
{
    if (t->command.kind == TH_COMMAND_WAIT && !wait_is_over(t, info)) {
        keep_waiting(node, t);
        return;
    }
    if (durable)
        answer_info(node, t, info);
    else
        list_looking(node, t);
}

/* A start that was acknowledged may still be on its way from the inbox, above all after a restart;
 * until it is here, nobody can say that the instance does not exist. */
static bool caught_up(const struct part *part)
{
    return part->state == PART_ACTIVE && part->delivered >= part->promised;
}

/* Looks at the instance; answers, waits, or reads the projection. */
static void look(struct th_node *node, struct ticket *t)
{
    struct part *part = node_part_of(node, t->command.instance_id);
    const struct th_instance_info *info = NULL;
    bool durable = true;

    t->state = TICKET_LOOK;
    if (!caught_up(part)) {
        list_looking(node, t);
        return;
    }
    if (t->command.history) { /* histories are read from the projection, once it is up to date */
        if (th_partition_stored(part->core, t->command.instance_id)) {
            ask_row(node, t);
        } else {
            part->flush = true;
            list_looking(node, t);
        }
        return;
    }
    switch (th_partition_view(part->core, t->command.instance_id, &info, &durable)) {
    case TH_VIEW_PRESENT:
        look_present(node, t, info, durable);
        break;
    case TH_VIEW_ABSENT:
        if (!durable)
            list_looking(node, t);
        else if (t->command.kind == TH_COMMAND_WAIT)
            keep_waiting(node, t);
        else
            ticket_fail(node, t, TH_NOT_FOUND, "instance \"%.*s\" does not exist",
                        TH_PRI(t->command.instance_id));
        break;
    case TH_VIEW_UNKNOWN:
        ask_row(node, t);
        break;
    }
}

static bool decode_row(const struct th_row *row, struct th_arena *arena, bool payloads,
                       struct th_instance_info *out)
{
    struct th_reader reader = th_reader_of(th_blob_view(row->info), arena, NULL);

    if (!th_decode_info(&reader, out))
        return false;
    if (payloads) {
        out->input = th_blob_view(row->input);
        out->output = th_blob_view(row->output);
    }
    return true;
}

static bool decode_history(const struct th_row *row, struct th_arena *arena, struct th_events *out)
{
    for (size_t n = 0; n < row->history_count; n++) {
        struct th_reader reader = th_reader_of(th_blob_view(row->history[n]), arena, NULL);

        if (!th_decode_events(&reader, out))
            return false;
    }
    return true;
}

static void answer_row(struct th_node *node, struct ticket *t, const struct th_row *row)
{
    struct th_instance_info info;
    struct th_reply reply = {.error = {.code = TH_OK}, .info = &info};
    TH_ARENA arena = {0};

    if (!decode_row(row, &arena, t->command.payloads, &info) ||
        !decode_history(row, &arena, &reply.history)) {
        th_events_deinit(&reply.history);
        ticket_fail(node, t, TH_CORRUPT, "the row of instance \"%.*s\" cannot be read",
                    TH_PRI(t->command.instance_id));
        return;
    }
    if (t->command.kind == TH_COMMAND_WAIT && !wait_is_over(t, &info)) {
        keep_waiting(node, t);
    } else {
        struct th_events history = reply.history;
        ticket_finish(node, t, &reply);
        th_events_deinit(&history);
    }
}

static void on_row(struct th_node *node, struct ticket *t, struct th_completion *c)
{
    struct part *part = node_part_of(node, t->command.instance_id);
    const struct th_instance_info *info;
    bool durable;

    if (c->error.code == TH_OK && c->row_count > 0) {
        answer_row(node, t, &c->rows[0]);
    } else if (c->error.code != TH_OK && c->error.code != TH_NOT_FOUND) {
        const struct th_reply reply = {.error = c->error};
        ticket_finish(node, t, &reply);
    } else if (part->state != PART_ACTIVE ||
               th_partition_view(part->core, t->command.instance_id, &info, &durable) !=
                   TH_VIEW_UNKNOWN) {
        t->command.history = t->command.history && part->state != PART_ACTIVE;
        look(node, t); /* it came into being meanwhile */
    } else if (t->command.kind == TH_COMMAND_WAIT) {
        keep_waiting(node, t);
    } else {
        ticket_fail(node, t, TH_NOT_FOUND, "instance \"%.*s\" does not exist",
                    TH_PRI(t->command.instance_id));
    }
}

void tickets_changed(struct th_node *node, struct th_str id)
{
    struct waiters *w = waiters_of(node, id);
    size_t count = 0;
    struct ticket *t;

    if (!w)
        return;
    DL_COUNT(w->first, t, count);
    for (; count > 0; count--) { /* those that go on waiting come back at the end of the list */
        w = waiters_of(node, id);
        t = w->first;
        unlist(node, t);
        look(node, t);
    }
}

/* ---- queries ---- */

/* Everything that changed before the question was asked has to be in the projection. */
static bool flushed(struct th_node *node, const struct ticket *t)
{
    bool all = true;

    for (uint32_t n = 0; n < node->part_count; n++) {
        struct part *part = &node->parts[n];

        if (part->state == PART_IDLE)
            continue;
        if (!caught_up(part)) {
            all = false;
        } else if (!th_partition_flushed(
                       part->core, t->asked < part->active_since ? part->active_since : t->asked)) {
            part->flush = true;
            all = false;
        }
    }
    return all;
}

static void query(struct th_node *node, struct ticket *t)
{
    if (!flushed(node, t)) {
        t->state = TICKET_FLUSH;
        list_looking(node, t);
        return;
    }
    unlist(node, t);
    t->state = TICKET_QUERY;
    node->provider->ops->query(node->provider, &t->command.query,
                               node_op(node, OP_TICKET, 0, TH_STR_ABSENT, t->number));
}

static void on_query(struct th_node *node, struct ticket *t, struct th_completion *c)
{
    struct th_reply reply = {
        .error = c->error, .info_count = c->row_count, .continuation = th_str_of(c->continuation)};
    TH_ARENA arena = {0};
    struct th_instance_info *infos;

    infos = TH_ARENA_ARRAY(&arena, struct th_instance_info, c->row_count);
    for (size_t n = 0; n < c->row_count; n++) {
        if (!decode_row(&c->rows[n], &arena, t->command.query.payloads, &infos[n])) {
            ticket_fail(node, t, TH_CORRUPT, "the row of instance \"%.*s\" cannot be read",
                        TH_PRI(c->rows[n].instance_id));
            return;
        }
    }
    reply.infos = infos;
    ticket_finish(node, t, &reply);
}

void tickets_look(struct th_node *node, uint64_t number)
{
    struct ticket *t = ticket_find(node, number);

    if (t && t->state == TICKET_LOAD)
        look(node, t);
}

void tickets_completed(struct th_node *node, uint64_t number, struct th_completion *c)
{
    struct ticket *t = ticket_find(node, number);

    if (!t)
        return;
    if (t->state == TICKET_LOAD)
        on_row(node, t, c);
    else if (t->state == TICKET_QUERY)
        on_query(node, t, c);
}

/* ---- the hub at a moment ---- */

static void view_part(const struct part *part, struct th_hub_view *view)
{
    struct th_hub_partition_view *v = &view->partitions[part->index];
    struct th_partition_stats s = {.oldest = TH_TIME_NONE};

    *v = (struct th_hub_partition_view){.partition = part->index, .oldest = TH_TIME_NONE};
    if (part->state != PART_ACTIVE)
        return;
    th_partition_get_stats(part->core, &s);
    v->owned = true;
    v->epoch = s.epoch;
    v->inbox_position = s.position;
    v->inbox_end = part->delivered;
    v->log_start = s.log_start;
    v->log_end = s.next_offset;
    v->oldest = s.oldest;
    view->instance_messages += s.letters;
    view->activity_messages += s.pending_tasks;
    view->timers += s.timers;
    view->instances_in_memory += s.instances;
}

/* Counts work that nobody serves by the name of its function. */
static void count_unserved(struct th_node *node, struct ticket *t, struct th_hub_view *view)
{
    struct th_unserved *found = NULL;
    size_t capacity = 0;

    for (uint32_t n = 0; n < node->part_count; n++) {
        void *cursor = NULL;
        struct th_str name;
        size_t at;

        if (node->parts[n].state != PART_ACTIVE)
            continue;
        while (th_partition_next_unserved(node->parts[n].core, &cursor, &name)) {
            for (at = 0; at < view->unserved_count && !th_str_eq(found[at].name, name); at++)
                ;
            if (at == view->unserved_count) {
                found = th_grow(found, &capacity, at + 1, sizeof(*found));
                found[view->unserved_count++] =
                    (struct th_unserved){.name = th_arena_str(&t->arena, name)};
            }
            found[at].waiting++;
        }
    }
    view->unserved = th_arena_dup(&t->arena, found, view->unserved_count * sizeof(*found));
    free(found);
}

static void answer_hub(struct th_node *node, struct ticket *t)
{
    struct th_hub_view view = {.record = node->provider->hub};
    const struct th_reply reply = {.error = {.code = TH_OK}, .hub = &view};

    view.partitions = TH_ARENA_ARRAY(&t->arena, struct th_hub_partition_view, node->part_count);
    for (uint32_t n = 0; n < node->part_count; n++)
        view_part(&node->parts[n], &view);
    count_unserved(node, t, &view);
    ticket_finish(node, t, &reply);
}

/* ---- patience ---- */

static bool needs_id(enum th_command_kind kind)
{
    return kind != TH_COMMAND_START && kind != TH_COMMAND_QUERY && kind != TH_COMMAND_PURGE_BY &&
           kind != TH_COMMAND_HUB;
}

/* Waiting commands bring their own deadline, jobs consist of commands. */
static bool is_impatient(const struct ticket *t)
{
    return t->command.kind != TH_COMMAND_WAIT && !t->job;
}

static const struct part *culprit_of(struct th_node *node, const struct ticket *t)
{
    if (needs_id(t->command.kind) || t->command.kind == TH_COMMAND_START)
        return node_part_of(node, t->command.instance_id);
    for (uint32_t n = 0; n < node->part_count; n++)
        if (node->parts[n].trouble[0])
            return &node->parts[n];
    return NULL;
}

static void give_up(struct th_node *node, struct ticket *t)
{
    const struct part *part = culprit_of(node, t);

    if (part && part->trouble[0])
        ticket_fail(node, t, TH_UNAVAILABLE, "partition %u cannot be used now: %s", part->index,
                    part->trouble);
    else
        ticket_fail(node, t, TH_UNAVAILABLE, "the storage did not answer within %d s",
                    (int)(PATIENCE / TH_SECOND));
}

/* Tickets are kept in the order in which they were asked. */
static void lose_patience(struct th_node *node)
{
    struct ticket *t, *next;
    uint64_t *overdue = NULL;
    size_t count = 0, capacity = 0;

    if (node->next_patience == TH_TIME_NONE || node->next_patience > node->now)
        return;
    node->next_patience = TH_TIME_NONE;
    HASH_ITER(hh, node->tickets, t, next) {
        if (!is_impatient(t))
            continue;
        if (t->asked + PATIENCE > node->now) {
            node->next_patience = t->asked + PATIENCE;
            break;
        }
        overdue = th_grow(overdue, &capacity, count + 1, sizeof(*overdue));
        overdue[count++] = t->number;
    }
    for (size_t n = 0; n < count; n++) { /* an answer may be the end of others, too */
        t = ticket_find(node, overdue[n]);
        if (t)
            give_up(node, t);
    }
    free(overdue);
}

/* ---- taking commands ---- */

static void copy_command(struct ticket *t, const struct th_command *c)
{
    struct th_event nested = th_event_of(TH_EVENT_GENERIC, 0);
    struct th_command *to = &t->command;

    *to = *c;
    to->instance_id = th_arena_str(&t->arena, c->instance_id);
    to->name = th_arena_str(&t->arena, c->name);
    to->version = th_arena_str(&t->arena, c->version);
    to->data = th_arena_str(&t->arena, c->data);
    to->reason = th_arena_str(&t->arena, c->reason);
    to->request_id = th_arena_str(&t->arena, c->request_id);
    to->trace = th_arena_str(&t->arena, c->trace);
    to->query.id_prefix = th_arena_str(&t->arena, c->query.id_prefix);
    to->query.name = th_arena_str(&t->arena, c->query.name);
    to->query.continuation = th_arena_str(&t->arena, c->query.continuation);
    nested.tags = c->tags;
    to->tags = th_event_copy(&t->arena, &nested).tags;
}

/* Empty when the command is in order; otherwise what is wrong with it. */
static bool check(struct th_node *node, const struct th_command *c, struct th_error *error)
{
    if (node->closing)
        return th_fail(error, TH_UNAVAILABLE, "the hub is closing");
    if (needs_id(c->kind) && c->instance_id.len == 0)
        return th_fail(error, TH_INVALID, "instance id: must not be empty");
    if (c->instance_id.len > MAX_ID)
        return th_fail(error, TH_INVALID, "instance id: %zu bytes are above the limit of %d",
                       c->instance_id.len, MAX_ID);
    if ((c->kind == TH_COMMAND_START || c->kind == TH_COMMAND_RAISE) &&
        (c->name.len == 0 || c->name.len > MAX_ID))
        return th_fail(error, TH_INVALID, "name: must be 1 to %d bytes, not %zu", MAX_ID,
                       c->name.len);
    if (c->data.len > node->options.max_payload_bytes)
        return th_fail(error, TH_TOO_LARGE, "payload: %zu bytes are above the limit of %zu bytes",
                       c->data.len, node->options.max_payload_bytes);
    return true;
}

static void start(struct th_node *node, struct ticket *t)
{
    struct th_command *c = &t->command;
    const bool generated = c->instance_id.len == 0;

    if (generated) {
        char id[33];
        th_id_hex(th_random_next(&node->random), th_random_next(&node->random), id);
        c->instance_id = th_arena_str(&t->arena, th_str_of(id));
    }
    if (!th_str_present(c->request_id)) {
        char id[33];
        th_id_hex(th_random_next(&node->random), th_random_next(&node->random), id);
        c->request_id = th_arena_str(&t->arena, th_str_of(id));
    }
    if (!th_str_present(c->version) && node->options.version)
        c->version = th_str_of(node->options.version);
    c->new_id = generated;
    send_message(node, t, generated);
}

static void begin(struct th_node *node, struct ticket *t)
{
    switch (t->command.kind) {
    case TH_COMMAND_START:
        start(node, t);
        break;
    case TH_COMMAND_RAISE:
    case TH_COMMAND_TERMINATE:
    case TH_COMMAND_SUSPEND:
    case TH_COMMAND_RESUME:
    case TH_COMMAND_REWIND:
        send_message(node, t, false);
        break;
    case TH_COMMAND_PURGE:
        if (t->command.recursive)
            job_start(node, t);
        else
            send_message(node, t, false);
        break;
    case TH_COMMAND_RESTART:
    case TH_COMMAND_PURGE_BY:
        job_start(node, t);
        break;
    case TH_COMMAND_STATUS:
    case TH_COMMAND_WAIT:
        look(node, t);
        break;
    case TH_COMMAND_QUERY:
        query(node, t);
        break;
    case TH_COMMAND_HUB:
        answer_hub(node, t);
        break;
    }
}

uint64_t th_node_command(struct th_node *node, const struct th_command *command, th_reply_fn reply,
                         void *argument, th_time now)
{
    struct th_reply refusal = {.instance_id = command->instance_id};
    struct ticket *t;
    uint64_t number;

    if (now > node->now)
        node->now = now;
    if (!check(node, command, &refusal.error)) {
        reply(argument, &refusal);
        return 0;
    }
    t = TH_NEW(struct ticket);
    number = t->number = ++node->next_ticket;
    t->reply = reply;
    t->argument = argument;
    t->asked = node->now;
    copy_command(t, command);
    HASH_ADD(hh, node->tickets, number, sizeof(t->number), t);
    if (node->next_patience == TH_TIME_NONE && is_impatient(t))
        node->next_patience = t->asked + PATIENCE;
    begin(node, t);
    return number;
}

bool th_node_cancel(struct th_node *node, uint64_t ticket)
{
    struct ticket *t = ticket_find(node, ticket);

    if (!t)
        return false;
    ticket_free(node, t);
    return true;
}

/* ---- every step ---- */

static bool is_over(const struct th_node *node, const struct ticket *t)
{
    return t->command.deadline != TH_TIME_NONE && t->command.deadline <= node->now;
}

static void expire_one(struct th_node *node, struct ticket *t)
{
    const th_time deadline = t->command.deadline;

    if (deadline == TH_TIME_NONE)
        return;
    if (is_over(node, t))
        ticket_fail(node, t, TH_TIMEOUT, "instance \"%.*s\" has not %s in time",
                    TH_PRI(t->command.instance_id), t->command.until_started ? "started" : "ended");
    else if (node->next_deadline == TH_TIME_NONE || deadline < node->next_deadline)
        node->next_deadline = deadline;
}

static void expire(struct th_node *node)
{
    struct waiters *w, *next_waiters;
    struct ticket *t, *next;

    if (node->next_deadline == TH_TIME_NONE || node->next_deadline > node->now)
        return;
    node->next_deadline = TH_TIME_NONE;
    HASH_ITER(hh, node->waiting, w, next_waiters) {
        t = w->first;
        while (t) {
            next = t->next; /* the group goes with its last ticket */
            expire_one(node, t);
            t = next;
        }
    }
}

void tickets_step(struct th_node *node)
{
    struct ticket *t, *next;

    expire(node);
    lose_patience(node);
    DL_FOREACH_SAFE(node->looking, t, next) {
        if (t->state == TICKET_FLUSH)
            query(node, t);
        else if (t->command.kind == TH_COMMAND_WAIT && is_over(node, t))
            expire_one(node, t);
        else
            look(node, t);
    }
}

/* Failing one may finish or cancel others: the commands of a job go with it. */
void tickets_free(struct th_node *node)
{
    node->closing = true;
    while (node->tickets)
        ticket_fail(node, node->tickets, TH_UNAVAILABLE, "the hub is closing");
}
