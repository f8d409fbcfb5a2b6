/* Any bytes as a record of a log. */
#include "tests/fuzz/fuzz.h"

#include "partition/record.h"

static void must_come_back(const struct th_record *record)
{
    TH_ARENA arena = {0};
    TH_BUFFER once = {0};
    TH_BUFFER twice = {0};
    struct th_record again;
    struct th_reader in;

    th_encode_record(&once, record);
    in = th_reader_of(th_buffer_view(&once), &arena, NULL);
    MUST(th_decode_record(&in, &again));
    MUST(in.at == in.end);
    th_encode_record(&twice, &again);
    MUST(th_str_eq(th_buffer_view(&once), th_buffer_view(&twice)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    TH_ARENA arena = {0};
    struct th_error error = {0};
    struct th_record record;
    struct th_reader in = th_reader_of(input_of(data, size), &arena, &error);

    if (th_decode_record(&in, &record))
        must_come_back(&record);
    else
        MUST(in.failed && error.code == TH_CORRUPT && error.message[0]);
    return 0;
}
