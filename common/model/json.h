/*
 * json: events in the words of Durable Functions' JSON, and payloads as JSON values. Pure; any
 * thread. What is returned as json_t * is a new reference that the caller drops.
 *
 * Two forms of a history:
 *   stored   every event with every field; th_history_from_json gives back what went in. Payloads
 *            are the text of the payload, as in Durable Task's own JSON. Bytes that are no UTF-8
 *            text become {"$base64": "..."}.
 *   folded   what HTTP's showHistory shows: an activity is one row when it is over. Payloads are
 *            JSON values where they parse. There is no way back.
 */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "model/event.h"

/* The payload as a JSON value when it parses, else as a JSON string (bytes that are no UTF-8 are
 * replaced by U+FFFD); absent is null. A number too large for 64 bits becomes a double. */
json_t *th_payload_json(struct th_str payload);

json_t *th_failure_json(const struct th_failure *failure); /* FailureDetails; NULL is null */
json_t *th_tags_json(struct th_tags tags);                 /* object; the last of equal keys wins */

/* The stored form: an array. */
json_t *th_history_to_json(const struct th_event *events, size_t count);

/*
 * The way back, from an array or from an object that holds one as "historyEvents", "history" or
 * "events". Appends to `out`; what the events point to lives in `arena`. Errors (INVALID) name the
 * entry, counted from 0, and the field. A folded history is refused: its answers no longer tell
 * what they answer.
 */
bool th_history_from_json(struct th_str text, struct th_arena *arena, struct th_events *out,
                          struct th_error *error);

/* The folded form: an array. Without `show_input` rows have no Input, without `show_output` no
 * Result. */
json_t *th_history_fold_json(const struct th_event *events, size_t count, bool show_input,
                             bool show_output);
