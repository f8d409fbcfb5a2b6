/*
 * info: what is known of an instance besides its history, as a fold of the history's events, and
 * its codec. The encoding is a map of field numbers, as for events.
 */
#include "engine/engine.h"

static void leave_section(struct th_instance_info *info)
{
    info->section = TH_STR_ABSENT;
    info->locked = (struct th_strs){0};
    info->unlocked = 0;
}

static void apply_unlocked(struct th_instance_info *info, const struct th_event *event)
{
    const uint64_t all =
        info->locked.count < 64 ? (UINT64_C(1) << info->locked.count) - 1 : UINT64_MAX;

    if (!th_str_present(info->section) || !th_str_eq(info->section, event->request_id))
        return;
    for (size_t n = 0; n < info->locked.count && n < TH_LOCK_SET_MAX; n++)
        if (th_str_eq(info->locked.items[n], event->instance_id))
            info->unlocked |= UINT64_C(1) << n;
    if (info->unlocked == all)
        leave_section(info);
}

static void apply_started(struct th_instance_info *info, const struct th_event *event)
{
    if (!info->starting) { /* a new start; continue-as-new keeps its age */
        info->created = event->timestamp;
        info->generation = 0;
        info->custom_status = TH_STR_ABSENT;
    }
    info->instance_id = event->instance_id;
    info->execution_id = event->execution_id;
    info->name = event->name;
    info->version = event->version;
    info->input = event->data;
    info->scheduled = event->fire_at;
    info->parent = event->parent;
    info->tags = event->tags;
    info->trace = event->trace;
    info->turn_trace = TH_STR_ABSENT;
    info->request_id = event->request_id;
    info->status = TH_STATUS_RUNNING;
    info->output = TH_STR_ABSENT;
    info->failure = NULL;
    info->completed = TH_TIME_NONE;
    info->starting = false;
    info->carryover = TH_STR_ABSENT;
    leave_section(info);
}

static void apply_completed(struct th_instance_info *info, const struct th_event *event)
{
    info->status = event->status;
    info->output = event->data;
    info->failure = event->failure;
    info->completed = event->timestamp;
    leave_section(info);
}

void th_info_apply(struct th_instance_info *info, const struct th_event *event)
{
    info->event_count++;
    switch (event->kind) {
    case TH_EVENT_ORCHESTRATOR_STARTED:
        info->updated = event->timestamp;
        break;
    case TH_EVENT_EXECUTION_STARTED:
        apply_started(info, event);
        break;
    case TH_EVENT_EXECUTION_COMPLETED:
        apply_completed(info, event);
        break;
    case TH_EVENT_EXECUTION_SUSPENDED:
        info->status = TH_STATUS_SUSPENDED;
        break;
    case TH_EVENT_EXECUTION_RESUMED:
        info->status = TH_STATUS_RUNNING;
        break;
    case TH_EVENT_EXECUTION_REWOUND: /* a running child learns its parent's new execution */
        if (event->parent)
            info->parent = event->parent;
        break;
    case TH_EVENT_ENTITY_LOCK_REQUESTED:
        info->section = event->request_id;
        info->locked = event->lock_set;
        info->unlocked = 0;
        break;
    case TH_EVENT_ENTITY_UNLOCK_SENT:
        apply_unlocked(info, event);
        break;
    default:
        break;
    }
}

struct th_instance_info th_info_pending(const struct th_message *start)
{
    struct th_instance_info info = {.status = TH_STATUS_PENDING,
                                    .instance_id = start->instance_id,
                                    .name = start->event.name,
                                    .version = start->event.version,
                                    .input = start->event.data,
                                    .created = start->event.timestamp,
                                    .updated = start->event.timestamp,
                                    .completed = TH_TIME_NONE,
                                    .scheduled = start->event.fire_at,
                                    .parent = start->event.parent,
                                    .tags = start->event.tags,
                                    .trace = start->event.trace,
                                    .request_id = start->request_id};
    return info;
}

/* number, name, kind of copy and coding; input and output are handled apart */
#define INFO_STRINGS(X) \
    X(1, instance_id)   \
    X(2, execution_id)  \
    X(3, name)          \
    X(4, version)       \
    X(5, custom_status) \
    X(6, request_id)    \
    X(7, trace)         \
    X(8, carryover)     \
    X(20, section)      \
    X(21, locked_by)    \
    X(27, turn_trace)

#define INFO_PAYLOADS(X) \
    X(9, input)          \
    X(10, output)

#define INFO_TIMES(X) \
    X(11, created)    \
    X(12, updated)    \
    X(13, completed)  \
    X(14, scheduled)

#define INFO_LISTS(X) \
    X(22, locked)     \
    X(23, voided)

enum { INFO_STATUS = 15, INFO_GENERATION, INFO_EVENT_COUNT, INFO_STARTING, INFO_NESTED };
enum { INFO_UNLOCKED = 24, INFO_HAS_STATE, INFO_FORMAT };

struct th_instance_info th_info_copy(struct th_arena *arena, const struct th_instance_info *info)
{
    struct th_instance_info copy = *info;
    struct th_event nested = th_event_of(TH_EVENT_GENERIC, 0);

#define X(number, field) copy.field = th_arena_str(arena, info->field);
    INFO_STRINGS(X)
    INFO_PAYLOADS(X)
#undef X
#define X(number, field) copy.field = th_strs_copy(arena, info->field);
    INFO_LISTS(X)
#undef X
    nested.failure = info->failure;
    nested.parent = info->parent;
    nested.tags = info->tags;
    nested = th_event_copy(arena, &nested);
    copy.failure = nested.failure;
    copy.parent = nested.parent;
    copy.tags = nested.tags;
    return copy;
}

static uint32_t count_fields(const struct th_instance_info *info, bool payloads)
{
    uint32_t n = 5; /* status and the three counters, nested */

#define X(number, field) n += th_str_present(info->field);
    INFO_STRINGS(X)
    if (payloads) {
        INFO_PAYLOADS(X)
    }
#undef X
#define X(number, field) n += info->field != TH_TIME_NONE;
    INFO_TIMES(X)
#undef X
#define X(number, field) n += info->field.count > 0;
    INFO_LISTS(X)
#undef X
    return n + (info->unlocked != 0) + info->has_state + (info->format > 1);
}

void th_encode_info(struct th_buffer *out, const struct th_instance_info *info, bool payloads)
{
    struct th_event nested = th_event_of(TH_EVENT_GENERIC, 0);

    th_write_map(out, count_fields(info, payloads));
    if (info->format > 1) { /* before anything that an older reader could stumble over */
        th_write_u64(out, INFO_FORMAT);
        th_write_u64(out, info->format);
    }
#define X(number, field)                \
    if (th_str_present(info->field)) {  \
        th_write_u64(out, number);      \
        th_write_str(out, info->field); \
    }
    INFO_STRINGS(X)
    if (payloads) {
        INFO_PAYLOADS(X)
    }
#undef X
#define X(number, field)                \
    if (info->field != TH_TIME_NONE) {  \
        th_write_u64(out, number);      \
        th_write_i64(out, info->field); \
    }
    INFO_TIMES(X)
#undef X
#define X(number, field)                 \
    if (info->field.count > 0) {         \
        th_write_u64(out, number);       \
        th_write_strs(out, info->field); \
    }
    INFO_LISTS(X)
#undef X
    if (info->unlocked != 0) {
        th_write_u64(out, INFO_UNLOCKED);
        th_write_u64(out, info->unlocked);
    }
    if (info->has_state) {
        th_write_u64(out, INFO_HAS_STATE);
        th_write_bool(out, true);
    }
    th_write_u64(out, INFO_STATUS);
    th_write_u64(out, info->status);
    th_write_u64(out, INFO_GENERATION);
    th_write_u64(out, info->generation);
    th_write_u64(out, INFO_EVENT_COUNT);
    th_write_u64(out, info->event_count);
    th_write_u64(out, INFO_STARTING);
    th_write_bool(out, info->starting);
    /* failure, parent and tags ride in an event, whose codec knows them */
    nested.failure = info->failure;
    nested.parent = info->parent;
    nested.tags = info->tags;
    th_write_u64(out, INFO_NESTED);
    th_encode_event(out, &nested);
}

static uint32_t read_at_most(struct th_reader *in, uint32_t most, const char *what)
{
    const uint64_t value = th_read_u64(in);

    if (value > most) {
        th_read_fail(in, "%llu is no such thing as %s", (unsigned long long)value, what);
        return 0;
    }
    return (uint32_t)value;
}

static void decode_field(struct th_reader *in, uint64_t number, struct th_instance_info *out)
{
    struct th_event nested;

    switch (number) {
#define X(number, field)              \
    case number:                      \
        out->field = th_read_str(in); \
        break;
        INFO_STRINGS(X)
        INFO_PAYLOADS(X)
#undef X
#define X(number, field)              \
    case number:                      \
        out->field = th_read_i64(in); \
        break;
        INFO_TIMES(X)
#undef X
#define X(number, field)               \
    case number:                       \
        out->field = th_read_strs(in); \
        break;
        INFO_LISTS(X)
#undef X
    case INFO_FORMAT:
        out->format = th_read_format(in, "an instance");
        break;
    case INFO_UNLOCKED:
        out->unlocked = th_read_u64(in);
        break;
    case INFO_HAS_STATE:
        out->has_state = th_read_bool(in);
        break;
    case INFO_STATUS:
        out->status = (enum th_status)read_at_most(in, TH_STATUS_ENTITY, "a status");
        break;
    case INFO_GENERATION:
        out->generation = read_at_most(in, UINT32_MAX, "a generation");
        break;
    case INFO_EVENT_COUNT:
        out->event_count = read_at_most(in, UINT32_MAX, "a count of events");
        break;
    case INFO_STARTING:
        out->starting = th_read_bool(in);
        break;
    case INFO_NESTED:
        if (th_decode_event(in, &nested)) {
            out->failure = nested.failure;
            out->parent = nested.parent;
            out->tags = nested.tags;
        }
        break;
    default:
        th_read_skip(in);
    }
}

bool th_decode_info(struct th_reader *in, struct th_instance_info *out)
{
    uint32_t pairs = th_read_map(in);

    *out = (struct th_instance_info){.created = TH_TIME_NONE,
                                     .updated = TH_TIME_NONE,
                                     .completed = TH_TIME_NONE,
                                     .scheduled = TH_TIME_NONE};
    for (; pairs > 0 && !in->failed; pairs--) {
        const uint64_t number = th_read_u64(in);
        decode_field(in, number, out);
    }
    return !in->failed;
}
