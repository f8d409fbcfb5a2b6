/*
 * text: JSON as text. Payloads pass through the API as the bytes they are, because a parse and a
 * dump would change numbers ("0.1", 1e400, 20-digit integers) and cost time on the way. Pure.
 */
#pragma once

#include "base/buffer.h"

/* True when `text` is one JSON value (RFC 8259, any type), nested at most 2048 deep, in UTF-8. */
bool th_json_valid(struct th_str text);

/* A JSON string literal; bytes that are no UTF-8 become U+FFFD. */
void th_json_put_string(struct th_buffer *out, struct th_str text);

/* The payload itself where it is JSON, else a JSON string of it; absent is null. */
void th_json_put_payload(struct th_buffer *out, struct th_str payload);
