/*
 * failure: what an author may ask about a failure. All strings of failures that reach authors end
 * in NUL, because they were copied by th_failure_copy or th_arena_format.
 */
#include "model/event.h"
#include "sdk/taskhub.h"

const char *th_failure_type(const struct th_failure *failure)
{
    return failure && failure->type.data ? failure->type.data : "";
}

const char *th_failure_message(const struct th_failure *failure)
{
    return failure && failure->message.data ? failure->message.data : "";
}

bool th_failure_non_retriable(const struct th_failure *failure)
{
    return failure && failure->non_retriable;
}

const struct th_failure *th_failure_inner(const struct th_failure *failure)
{
    return failure ? failure->inner : NULL;
}

bool th_failure_is(const struct th_failure *failure, const char *type)
{
    for (; failure; failure = failure->inner) {
        if (th_str_eq(failure->type, th_str_of(type))) {
            return true;
        }
    }
    return false;
}
