/*
 * Writes seeds for the fuzzer of the wire to an application's process: one frame of each kind that
 * holds more than numbers.
 *
 *     wire_seeds tests/fuzz/corpus/fuzz_wire
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "worker/wire.h"

static const struct th_failure failure = {.type = {"Io", 2}, .message = {"no", 2}};
static const struct th_str set[] = {{"@a@1", 4}, {"@b@2", 4}};

static void save(const char *corpus, const char *name, struct th_buffer *frame, size_t begin)
{
    char path[512];
    FILE *file;

    th_wire_end(frame, begin);
    snprintf(path, sizeof(path), "%s/%s", corpus, name);
    file = fopen(path, "wb");
    if (!file || fwrite(frame->data + 4, 1, frame->len - 4, file) != frame->len - 4 ||
        fclose(file) != 0) {
        perror(path);
        exit(1);
    }
    frame->len = 0;
}

static void save_hello(const char *corpus, struct th_buffer *out)
{
    struct th_str names[] = {TH_STR("counter")};
    const struct th_hello hello = {.version = TH_STR("1"),
                                   .orchestrators = names,
                                   .orchestrator_count = 1,
                                   .entities = names,
                                   .entity_count = 1};
    size_t begin = th_wire_begin(out, TH_FRAME_HELLO);

    th_put_hello(out, &hello);
    save(corpus, "hello", out, begin);
}

static void save_orchestration(const char *corpus, struct th_buffer *out)
{
    struct th_event lock = th_event_of(TH_EVENT_ENTITY_LOCK_REQUESTED, 0);
    struct th_event call = th_event_of(TH_EVENT_ENTITY_CALLED, 0);
    struct th_action items[] = {
        {.kind = TH_ACTION_SCHEDULE_TASK, .name = TH_STR("F"), .data = TH_STR("1")},
        {.kind = TH_ACTION_ENTITY, .id = 1, .entity = &lock},
        {.kind = TH_ACTION_ENTITY, .id = 2, .entity = &call},
        {.kind = TH_ACTION_COMPLETE, .status = TH_STATUS_FAILED, .failure = &failure},
    };
    const struct th_actions actions = {.items = items, .count = 4};
    size_t begin = th_wire_begin(out, TH_FRAME_ACTIONS);

    lock.request_id = call.request_id = TH_STR("r");
    lock.instance_id = call.instance_id = set[0];
    lock.lock_set = (struct th_strs){set, 2};
    call.name = TH_STR("add");
    th_put_actions(out, TH_EXECUTOR_DONE, &actions);
    save(corpus, "orchestration", out, begin);
}

static void save_entity(const char *corpus, struct th_buffer *out)
{
    struct th_action items[] = {
        {.kind = TH_ACTION_SIGNAL, .id = -1, .instance_id = set[1], .name = TH_STR("add")},
        {.kind = TH_ACTION_START, .id = -1, .name = TH_STR("F"), .fire_at = 5},
    };
    const struct th_operation_result results[] = {{.data = TH_STR("1")}, {.failure = &failure}};
    const struct th_actions actions = {.items = items,
                                       .count = 2,
                                       .results = results,
                                       .result_count = 2,
                                       .state = TH_STR("{}"),
                                       .failure = &failure};
    size_t begin = th_wire_begin(out, TH_FRAME_ACTIONS);

    th_put_actions(out, TH_EXECUTOR_DONE, &actions);
    save(corpus, "entity", out, begin);
}

static void save_batch(const char *corpus, struct th_buffer *out)
{
    struct th_event fresh = th_event_of(TH_EVENT_ENTITY_SIGNALED, 0);
    const struct th_episode episode = {.instance_id = set[0],
                                       .past_loaded = true,
                                       .fresh = &fresh,
                                       .fresh_count = 1,
                                       .entity = true,
                                       .state = TH_STR("1")};
    size_t begin = th_wire_begin(out, TH_FRAME_EPISODE);

    fresh.name = TH_STR("add");
    th_put_episode(out, &episode);
    save(corpus, "batch", out, begin);
}

int main(int argc, char **argv)
{
    TH_BUFFER out = {0};

    if (argc != 2) {
        fprintf(stderr, "usage: wire_seeds CORPUS\n");
        return 2;
    }
    mkdir(argv[1], 0777);
    save_hello(argv[1], &out);
    save_orchestration(argv[1], &out);
    save_entity(argv[1], &out);
    save_batch(argv[1], &out);
    return 0;
}
