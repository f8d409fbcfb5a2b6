/* Any bytes as a stored history in JSON, and as a payload. */
#include "tests/fuzz/fuzz.h"

#include "model/json.h"

static void must_come_back(const struct th_events *events)
{
    json_t *rows = th_history_to_json(events->items, events->count);
    char *text = json_dumps(rows, JSON_COMPACT);
    MUST(text);
    TH_ARENA arena = {0};
    struct th_events again = {0};
    MUST(th_history_from_json(th_str_of(text), &arena, &again, NULL));
    MUST(again.count == events->count);
    for (size_t i = 0; i < again.count; i++) {
        MUST(th_event_equal(&events->items[i], &again.items[i]));
    }
    th_events_deinit(&again);
    free(text);
    json_decref(rows);
}

static void must_fold(const struct th_events *events)
{
    json_t *rows = th_history_fold_json(events->items, events->count, true, true);
    char *text = json_dumps(rows, JSON_COMPACT);
    MUST(text && json_array_size(rows) <= events->count);
    free(text);
    json_decref(rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    TH_ARENA arena = {0};
    struct th_error error = {0};
    struct th_events events = {0};
    if (th_history_from_json(input_of(data, size), &arena, &events, &error)) {
        must_come_back(&events);
        must_fold(&events);
    } else {
        MUST(error.code == TH_INVALID && error.message[0]);
    }
    th_events_deinit(&events);

    json_t *payload = th_payload_json(input_of(data, size));
    MUST(payload);
    json_decref(payload);
    return 0;
}
