/* Any bytes as what a row or a record says of an instance. */
#include "tests/fuzz/fuzz.h"

#include "engine/engine.h"

static bool same_bytes(const struct th_buffer *a, const struct th_buffer *b)
{
    return th_str_eq(th_buffer_view(a), th_buffer_view(b));
}

static void must_come_back(const struct th_instance_info *info)
{
    TH_ARENA arena = {0};
    TH_BUFFER once = {0};
    TH_BUFFER twice = {0};
    struct th_instance_info again, copy;
    struct th_reader in;

    th_encode_info(&once, info, true);
    in = th_reader_of(th_buffer_view(&once), &arena, NULL);
    MUST(th_decode_info(&in, &again));
    MUST(in.at == in.end);
    copy = th_info_copy(&arena, &again);
    th_encode_info(&twice, &copy, true);
    MUST(same_bytes(&once, &twice));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    TH_ARENA arena = {0};
    struct th_error error = {0};
    struct th_instance_info info;
    struct th_reader in = th_reader_of(input_of(data, size), &arena, &error);

    if (th_decode_info(&in, &info))
        must_come_back(&info);
    else
        MUST(in.failed && error.code == TH_CORRUPT && error.message[0]);
    return 0;
}
