/*
 * payload: bytes as JSON and back, by the one rule of the SDK: what parses is that value, other
 * UTF-8 text is a JSON string, nothing is null. Pure; any thread.
 *
 * Nesting is limited: parsing, printing and freeing a value recurse, orchestrators run on small
 * stacks, and payloads come from outside. Deeper JSON counts as text.
 */
#pragma once

#include <jansson.h>

#include "base/str.h"

#define TH_PAYLOAD_DEPTH 64

/* NULL when `data` is no JSON. The caller owns the reference. */
json_t *th_payload_parse(struct th_str data);
/* As above, with the fall-backs. NULL: neither JSON nor UTF-8. */
json_t *th_payload_value(struct th_str data);
/* Compact JSON, malloc'ed; absent for NULL and for what cannot be printed. */
struct th_str th_payload_print(const json_t *value);
