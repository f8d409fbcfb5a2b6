/*
 * Writes seeds for the model's fuzzers: events with every field, by themselves and in messages,
 * and a history with every kind of event.
 *
 *     model_seeds tests/fuzz/corpus
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "model/codec.h"
#include "model/json.h"

static const struct th_failure inner = {.type = {"Disk", 4}, .message = {"full", 4}};
static const struct th_failure failure = {.type = {"Io", 2},
                                          .message = {"no", 2},
                                          .stack = {"at 1", 4},
                                          .non_retriable = true,
                                          .inner = &inner};
static const struct th_parent parent = {{"p", 1}, {"pe", 2}, {"P", 1}, {"1", 1}, 4};
static const struct th_tag tags[] = {{{"k", 1}, {"v", 1}}, {{"\xff", 1}, {"", 0}}};

static struct th_event whole_event(enum th_event_kind kind)
{
    return (struct th_event){
        .kind = kind,
        .id = 300,
        .related_id = 70000,
        .timestamp = 1770000000000000,
        .fire_at = -1,
        .status = TH_STATUS_SUSPENDED,
        .recurse = true,
        .name = TH_STR("name"),
        .version = TH_STR("1.0"),
        .data = TH_STR("{\"a\":[1,2.5,null]}"),
        .instance_id = TH_STR("i1"),
        .execution_id = TH_STR("e1"),
        .reason = TH_STR("\xff\x00"),
        .trace = TH_STR("00-1-2-01"),
        .failure = &failure,
        .parent = &parent,
        .tags = {tags, 2},
    };
}

static void save(const char *corpus, const char *fuzzer, const char *name, struct th_str bytes)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", corpus, fuzzer);
    mkdir(path, 0777);
    snprintf(path, sizeof(path), "%s/%s/%s", corpus, fuzzer, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes.data, 1, bytes.len, file) != bytes.len || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

static void save_event(const char *corpus, const char *name, struct th_event event)
{
    TH_BUFFER bytes = {0};
    th_encode_event(&bytes, &event);
    save(corpus, "fuzz_events", name, th_buffer_view(&bytes));
    bytes.len = 0;
    struct th_message message = {
        .instance_id = TH_STR("i1"),
        .execution_id = TH_STR("e1"),
        .request_id = TH_STR("r1"),
        .reply_to = TH_STR("gateway"),
        .origin = {3, 2, 1},
        .reuse = TH_REUSE_TERMINAL,
        .fresh = true,
        .event = event,
    };
    th_encode_message(&bytes, &message);
    save(corpus, "fuzz_message", name, th_buffer_view(&bytes));
    json_t *rows = th_history_to_json(&event, 1);
    char *text = json_dumps(rows, JSON_COMPACT);
    save(corpus, "fuzz_history_json", name, th_str_of(text));
    free(text);
    json_decref(rows);
}

/* Each kind once. */
static void save_history(const char *corpus)
{
    struct th_event events[] = {
#define X(name, number, text) th_event_of(TH_EVENT_##name, number),
        TH_EVENT_KINDS(X)
#undef X
    };
    size_t count = sizeof(events) / sizeof(events[0]);
    TH_BUFFER bytes = {0};
    th_encode_events(&bytes, events, count);
    save(corpus, "fuzz_events", "kinds", th_buffer_view(&bytes));
    json_t *rows = th_history_to_json(events, count);
    char *text = json_dumps(rows, JSON_COMPACT);
    save(corpus, "fuzz_history_json", "kinds", th_str_of(text));
    free(text);
    json_decref(rows);
}

static void save_settings(const char *corpus)
{
    save(corpus, "fuzz_settings", "two",
         TH_STR("{\"version\":\"2.0\",\"extensions\":{\"durableTask\":{\"hubName\":\"%Hub%\","
                "\"storageProvider\":{\"partitionCount\":\"%N%\"},\"versionMatchStrategy\":"
                "\"Strict\"},\"http\":{\"routePrefix\":\"\"}},\"functionTimeout\":\"1.00:10:00.5\","
                "\"concurrency\":{\"cpuThreshold\":0.5},\"logging\":{\"logLevel\":{\"default\":"
                "\"Error\",\"Host\":\"None\"}}}\0{\"IsEncrypted\":false,\"Values\":{\"Hub\":"
                "\"MyHub\"},\"Host\":{\"LocalHttpPort\":7071}}"));
    save(corpus, "fuzz_settings", "one",
         TH_STR("// old\n{\"durableTask\":{\"hubName\":\"Old\",\"x\":1}, /* c */ "
                "\"functionTimeout\":\"-1\"}"));
}

int main(int count, char **arguments)
{
    if (count != 2) {
        fputs("usage: model_seeds FOLDER\n", stderr);
        return 2;
    }
    const char *corpus = arguments[1];
    mkdir(corpus, 0777);
    save_event(corpus, "started", whole_event(TH_EVENT_EXECUTION_STARTED));
    save_event(corpus, "failed", whole_event(TH_EVENT_TASK_FAILED));
    save_event(corpus, "fired", whole_event(TH_EVENT_TIMER_FIRED));
    save_history(corpus);
    save_settings(corpus);
    return 0;
}
