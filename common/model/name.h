/*
 * name: what hubs, instances and functions may be called. Pure; called wherever a name enters from
 * outside. Each check fills `error` (code INVALID, may be NULL) with the rule that is broken.
 */
#pragma once

#include "base/error.h"

#define TH_HUB_NAME_MIN      3
#define TH_HUB_NAME_MAX      45
#define TH_INSTANCE_ID_MAX   256
#define TH_FUNCTION_NAME_MAX 256

/* A letter, then letters and digits: a hub's name becomes part of topic and key names. */
bool th_hub_name_check(struct th_str name, struct th_error *error);

/* UTF-8 without control characters or any of / \ # ?, neither "." nor "..", not starting with @ (an
 * entity's id does): an instance id stands in URLs and in messages for people. */
bool th_instance_id_check(struct th_str id, struct th_error *error);

/* An orchestrator's or activity's name; an event's: as an instance id, but @ is free. */
bool th_function_name_check(struct th_str name, struct th_error *error);
bool th_event_name_check(struct th_str name, struct th_error *error);

/* True when `s` is well-formed UTF-8 (RFC 3629: shortest forms, no surrogates). */
bool th_utf8_valid(struct th_str s);
/* The bytes of the character at the start of `s`, which is not empty; 0: malformed. */
size_t th_utf8_character(struct th_str s);
