/* Any bytes as a message of an inbox. */
#include "tests/fuzz/fuzz.h"

#include "model/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    TH_ARENA arena = {0};
    TH_BUFFER first = {0};
    TH_BUFFER second = {0};
    struct th_error error = {0};
    struct th_message message;
    struct th_reader in = th_reader_of(input_of(data, size), &arena, &error);
    if (!th_decode_message(&in, &message)) {
        MUST(in.failed && error.code == TH_CORRUPT && error.message[0]);
        return 0;
    }
    th_encode_message(&first, &message);
    struct th_message again;
    in = th_reader_of(th_buffer_view(&first), &arena, NULL);
    MUST(th_decode_message(&in, &again) && in.at == in.end);
    MUST(th_event_equal(&message.event, &again.event));
    th_encode_message(&second, &again);
    MUST(th_str_eq(th_buffer_view(&first), th_buffer_view(&second)));
    return 0;
}
