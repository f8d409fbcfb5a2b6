/*
 * Writes seeds for the fuzzers of the two cores: an instance with every field, records of every
 * kind, and a log with an inbox.
 *
 *     core_seeds tests/fuzz/corpus
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "engine/engine.h"
#include "partition/record.h"

static const struct th_failure failure = {.type = {"Io", 2}, .message = {"no", 2}};
static const struct th_parent parent = {{"p", 1}, {"pe", 2}, {"P", 1}, {"1", 1}, 4};
static const struct th_tag tags[] = {{{"k", 1}, {"v", 1}}};

static void save(const char *corpus, const char *fuzzer, const char *name, struct th_str bytes)
{
    char path[512];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", corpus, fuzzer);
    mkdir(path, 0777);
    snprintf(path, sizeof(path), "%s/%s/%s", corpus, fuzzer, name);
    file = fopen(path, "wb");
    if (!file || fwrite(bytes.data, 1, bytes.len, file) != bytes.len || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

static struct th_instance_info some_info(void)
{
    return (struct th_instance_info){.instance_id = TH_STR("a"),
                                     .execution_id = TH_STR("e"),
                                     .name = TH_STR("F"),
                                     .version = TH_STR("1"),
                                     .status = TH_STATUS_FAILED,
                                     .created = 1,
                                     .updated = 2,
                                     .completed = 3,
                                     .scheduled = TH_TIME_NONE,
                                     .input = TH_STR("1"),
                                     .output = TH_STR("2"),
                                     .custom_status = TH_STR(""),
                                     .failure = &failure,
                                     .parent = &parent,
                                     .tags = {tags, 1},
                                     .request_id = TH_STR("r"),
                                     .trace = TH_STR("t"),
                                     .generation = 3,
                                     .event_count = 4,
                                     .starting = true,
                                     .carryover = TH_STR("")};
}

static void encode_history(struct th_buffer *out)
{
    struct th_event events[] = {
        th_event_of(TH_EVENT_ORCHESTRATOR_STARTED, 5),
        th_event_of(TH_EVENT_EXECUTION_STARTED, 5),
        th_event_of(TH_EVENT_TASK_SCHEDULED, 5),
        th_event_of(TH_EVENT_TIMER_CREATED, 5),
        th_event_of(TH_EVENT_CHILD_CREATED, 5),
        th_event_of(TH_EVENT_ORCHESTRATOR_COMPLETED, 5),
    };

    events[1].name = TH_STR("F");
    events[1].instance_id = TH_STR("a");
    events[1].execution_id = TH_STR("e");
    for (int n = 2; n < 5; n++)
        events[n].id = n;
    events[3].fire_at = 1010;
    events[4].instance_id = TH_STR("b");
    th_encode_events(out, events, sizeof(events) / sizeof(*events));
}

static void encode_message(struct th_buffer *out, enum th_event_kind kind, th_time fire_at)
{
    struct th_message m = {.instance_id = TH_STR("a"),
                           .execution_id = TH_STR("e"),
                           .reply_to = TH_STR("g"),
                           .origin = {1, 0, 1},
                           .reuse = TH_REUSE_ANY,
                           .event = th_event_of(kind, 4)};

    m.event.name = TH_STR("F");
    m.event.related_id = 2;
    m.event.fire_at = fire_at;
    th_encode_message(out, &m);
}

static struct th_record episode(const struct th_buffer *history, const struct th_buffer *message,
                                struct th_record_message out[2])
{
    static const struct th_vector_entry vector[] = {{1, 2, 3}};
    static const int64_t consumed[] = {4, 6};
    static const struct th_local_ref local[] = {{0, 1}};
    static const struct th_task_ref closed[] = {{{"a", 1}, {"e", 1}, 9}};

    out[0] = (struct th_record_message){
        .destination = 0, .parked = true, .not_before = 1020, .bytes = th_buffer_view(message)};
    out[1] = (struct th_record_message){
        .destination = 2, .not_before = TH_TIME_NONE, .bytes = th_buffer_view(message)};
    return (struct th_record){.kind = TH_RECORD_EPISODE,
                              .instance_id = TH_STR("a"),
                              .execution_id = TH_STR("e"),
                              .replace_history = true,
                              .events = th_buffer_view(history),
                              .position = 3,
                              .vector = vector,
                              .vector_count = 1,
                              .consumed = consumed,
                              .consumed_count = 2,
                              .consumed_local = local,
                              .consumed_local_count = 1,
                              .closed_tasks = closed,
                              .closed_task_count = 1,
                              .messages = out,
                              .message_count = 2,
                              .has_custom_status = true,
                              .custom_status = TH_STR("s")};
}

static void add_piece(struct th_buffer *out, char kind, const struct th_buffer *bytes)
{
    const char head[3] = {kind, (char)(bytes->len >> 8), (char)bytes->len};

    th_buffer_add(out, head, sizeof(head));
    th_buffer_add(out, bytes->data, bytes->len);
}

static void add_record(const char *corpus, const char *name, const struct th_record *record,
                       struct th_buffer *log)
{
    TH_BUFFER bytes = {0};

    th_encode_record(&bytes, record);
    save(corpus, "fuzz_record", name, th_buffer_view(&bytes));
    add_piece(log, 0, &bytes);
}

static void save_recoveries(const char *corpus)
{
    TH_BUFFER history = {0};
    TH_BUFFER message = {0};
    TH_BUFFER next = {0};
    TH_BUFFER log = {0};
    struct th_record_message out[2];
    struct th_record record;
    const struct th_instance_info info = some_info();
    static const enum th_event_kind kinds[] = {
        TH_EVENT_EXECUTION_STARTED, TH_EVENT_EVENT_RAISED,      TH_EVENT_EXECUTION_SUSPENDED,
        TH_EVENT_TASK_COMPLETED,    TH_EVENT_EXECUTION_RESUMED, TH_EVENT_EXECUTION_TERMINATED,
        TH_EVENT_EXECUTION_REWOUND, TH_EVENT_PURGE_REQUESTED};

    encode_history(&history);
    encode_message(&message, TH_EVENT_EXECUTION_STARTED, 1020);
    th_encode_info(&next, &info, true);
    record = episode(&history, &message, out);
    add_record(corpus, "episode", &record, &log);
    record.next = th_buffer_view(&next);
    add_record(corpus, "continued", &record, &log);
    record = (struct th_record){.kind = TH_RECORD_CRASH,
                                .instance_id = TH_STR("a"),
                                .execution_id = TH_STR("e"),
                                .task_id = 2,
                                .crashes = 1,
                                .reason = TH_STR("SIGSEGV")};
    add_record(corpus, "crash", &record, &log);
    record = (struct th_record){.kind = TH_RECORD_PURGE, .instance_id = TH_STR("a")};
    add_record(corpus, "purge", &record, &log);
    record =
        (struct th_record){.kind = TH_RECORD_PART, .part = 1, .parts = 2, .body = TH_STR("half")};
    add_record(corpus, "part", &record, &log);
    record = (struct th_record){.kind = TH_RECORD_CLAIM, .worker = TH_STR("w"), .nonce = 7};
    add_record(corpus, "claim", &record, &log);
    for (size_t n = 0; n < sizeof(kinds) / sizeof(*kinds); n++) {
        TH_BUFFER bytes = {0};
        encode_message(&bytes, kinds[n], TH_TIME_NONE);
        add_piece(&log, 2, &bytes);
    }
    save(corpus, "fuzz_recover", "log", th_buffer_view(&log));
    save(corpus, "fuzz_info", "info", th_buffer_view(&next));
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: core_seeds CORPUS\n");
        return 2;
    }
    save_recoveries(argv[1]);
    return 0;
}
