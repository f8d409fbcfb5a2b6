/* Any bytes as what an application's process sends its hub: refused, or a value that is the same
 * when it is written and read again. */
#include "tests/fuzz/fuzz.h"

#include "worker/wire.h"

static struct th_reader again(const struct th_buffer *out, size_t begin, struct th_arena *arena)
{
    struct th_reader in;
    enum th_frame_kind kind;
    struct th_str body = th_str_n(out->data + begin + 4, out->len - begin - 4);
    MUST(th_wire_open(body, arena, NULL, &in, &kind));
    return in;
}

static bool actions(struct th_reader *in, struct th_buffer *first, struct th_buffer *second)
{
    struct th_actions value;
    enum th_executor_result result;
    if (!th_get_actions(in, &result, &value))
        return false;
    th_wire_begin(first, TH_FRAME_ACTIONS);
    th_put_actions(first, result, &value);
    struct th_reader back = again(first, 0, in->arena);
    MUST(th_get_actions(&back, &result, &value));
    th_wire_begin(second, TH_FRAME_ACTIONS);
    th_put_actions(second, result, &value);
    return true;
}

static bool command(struct th_reader *in, struct th_buffer *first, struct th_buffer *second)
{
    struct th_command value;
    uint64_t number;
    if (!th_get_command(in, &number, &value))
        return false;
    th_wire_begin(first, TH_FRAME_COMMAND);
    th_put_command(first, number, &value);
    struct th_reader back = again(first, 0, in->arena);
    MUST(th_get_command(&back, &number, &value));
    th_wire_begin(second, TH_FRAME_COMMAND);
    th_put_command(second, number, &value);
    return true;
}

static bool answer(struct th_reader *in, struct th_buffer *first, struct th_buffer *second)
{
    struct th_wire_answer value;
    if (!th_get_answer(in, &value))
        return false;
    th_wire_begin(first, TH_FRAME_ANSWER);
    th_put_answer(first, &value);
    struct th_reader back = again(first, 0, in->arena);
    MUST(th_get_answer(&back, &value));
    th_wire_begin(second, TH_FRAME_ANSWER);
    th_put_answer(second, &value);
    return true;
}

static bool others(struct th_reader *in, enum th_frame_kind kind)
{
    struct th_hello hello = {.missing = false};
    struct th_wire_result result;
    struct th_wire_request request;
    struct th_begin_run begin;
    struct th_reply reply;
    struct th_instance_info info;
    struct th_activity_work work;
    struct th_episode episode;
    struct th_events past = {0}, fresh = {0};
    uint64_t number;
    bool ok = false;
    if (kind == TH_FRAME_HELLO)
        ok = th_get_hello(in, &hello);
    else if (kind == TH_FRAME_RESULT)
        ok = th_get_result(in, &result);
    else if (kind == TH_FRAME_REQUEST)
        ok = th_get_request(in, &request);
    else if (kind == TH_FRAME_BEGIN)
        ok = th_get_begin(in, &begin);
    else if (kind == TH_FRAME_REPLY)
        ok = th_get_reply(in, &number, &reply, &info);
    else if (kind == TH_FRAME_ACTIVITY)
        ok = th_get_activity(in, &work);
    else if (kind == TH_FRAME_EPISODE)
        ok = th_get_episode(in, &episode, &past, &fresh);
    else
        ok = th_get_number(in, &number);
    th_events_deinit(&past);
    th_events_deinit(&fresh);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    TH_ARENA arena = {0};
    TH_BUFFER first = {0};
    TH_BUFFER second = {0};
    struct th_error error = {.code = TH_OK};
    struct th_reader in;
    enum th_frame_kind kind;
    bool ok = false;
    if (th_wire_open(input_of(data, size), &arena, &error, &in, &kind)) {
        if (kind == TH_FRAME_ACTIONS)
            ok = actions(&in, &first, &second);
        else if (kind == TH_FRAME_COMMAND)
            ok = command(&in, &first, &second);
        else if (kind == TH_FRAME_ANSWER)
            ok = answer(&in, &first, &second);
        else
            ok = others(&in, kind);
    }
    MUST(ok || (in.failed && error.code == TH_CORRUPT && error.message[0]));
    MUST(th_str_eq(th_buffer_view(&first), th_buffer_view(&second)));
    return 0;
}
