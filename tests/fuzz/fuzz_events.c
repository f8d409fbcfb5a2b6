/* Any bytes as a history chunk. */
#include "tests/fuzz/fuzz.h"

#include "model/codec.h"

static void must_come_back(const struct th_events *events)
{
    TH_ARENA arena = {0};
    TH_BUFFER out = {0};
    th_encode_events(&out, events->items, events->count);
    struct th_events again = {0};
    struct th_reader in = th_reader_of(th_buffer_view(&out), &arena, NULL);
    MUST(th_decode_events(&in, &again));
    MUST(again.count == events->count);
    for (size_t i = 0; i < again.count; i++) {
        MUST(th_event_equal(&events->items[i], &again.items[i]));
    }
    th_events_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    TH_ARENA arena = {0};
    struct th_error error = {0};
    struct th_events events = {0};
    struct th_reader in = th_reader_of(input_of(data, size), &arena, &error);
    if (th_decode_events(&in, &events)) {
        must_come_back(&events);
    } else {
        MUST(in.failed && error.code == TH_CORRUPT && error.message[0]);
    }
    th_events_deinit(&events);

    struct th_reader skipped = th_reader_of(input_of(data, size), NULL, NULL);
    while (skipped.at != skipped.end) {
        th_read_skip(&skipped);
    }
    return 0;
}
