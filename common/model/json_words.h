/*
 * json_words: which word of Durable Functions' JSON a field of an event goes by. Private to model;
 * shared by the writer (json.c) and the reader (json_parse.c), so that they cannot differ.
 */
#pragma once

#include "model/event.h"

#define TH_BASE64_KEY "$base64"

/* Durable Task calls what an event carries after its role. */
static inline const char *th_data_key(enum th_event_kind kind)
{
    switch (kind) {
    case TH_EVENT_EXECUTION_COMPLETED:
    case TH_EVENT_TASK_COMPLETED:
    case TH_EVENT_CHILD_COMPLETED:
    case TH_EVENT_CONTINUE_AS_NEW:
    case TH_EVENT_ENTITY_COMPLETED:
        return "Result";
    case TH_EVENT_GENERIC:
        return "Data";
    case TH_EVENT_HISTORY_STATE:
        return "State";
    default:
        return "Input";
    }
}

static inline const char *th_related_key(enum th_event_kind kind)
{
    return kind == TH_EVENT_TIMER_FIRED ? "TimerId" : "TaskScheduledId";
}

static inline const char *th_fire_at_key(enum th_event_kind kind)
{
    switch (kind) {
    case TH_EVENT_EXECUTION_STARTED:
        return "ScheduledStartTime";
    case TH_EVENT_ENTITY_SIGNALED:
    case TH_EVENT_ENTITY_CALLED:
        return "ScheduledTime";
    default:
        return "FireAt";
    }
}

/* The kinds that answer an earlier event and mean nothing without its id. */
static inline bool th_answers(enum th_event_kind kind)
{
    switch (kind) {
    case TH_EVENT_TASK_COMPLETED:
    case TH_EVENT_TASK_FAILED:
    case TH_EVENT_CHILD_COMPLETED:
    case TH_EVENT_CHILD_FAILED:
    case TH_EVENT_TIMER_FIRED:
    case TH_EVENT_ENTITY_COMPLETED:
    case TH_EVENT_ENTITY_FAILED:
    case TH_EVENT_ENTITY_LOCK_GRANTED:
        return true;
    default:
        return false;
    }
}
