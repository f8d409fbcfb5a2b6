/*
 * name: what hubs, instances and functions may be called. Pure; called wherever a name enters from
 * outside. Each check fills `error` (code INVALID, may be NULL) with the rule that is broken.
 */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

#define TH_HUB_NAME_MIN      3
#define TH_HUB_NAME_MAX      45
#define TH_INSTANCE_ID_MAX   256
#define TH_ENTITY_ID_MAX     100
#define TH_FUNCTION_NAME_MAX 256

/* What an application registers. The numbers stand in messages of the control topic. */
#define TH_FUNCTION_KINDS(X)           \
    X(ORCHESTRATOR, 1, "orchestrator") \
    X(ACTIVITY, 2, "activity")         \
    X(ENTITY, 3, "entity")

enum th_function_kind {
#define X(name, number, text) TH_FUNCTION_##name = number,
    TH_FUNCTION_KINDS(X)
#undef X
};
const char *th_function_kind_text(uint32_t kind); /* "unknown" for one that is */

/* A letter, then letters and digits: a hub's name becomes part of topic and key names. */
bool th_hub_name_check(struct th_str name, struct th_error *error);

/* "A,B,C": the hubs that one program serves, in this order; names are compared without case. */
#define TH_HUBS_MAX 17
struct th_hub_names {
    char *names[TH_HUBS_MAX];
    size_t count;
};
/* INVALID: too many, one twice, a bad name. To be deinitialised whatever the result. */
bool th_hub_names_parse(struct th_hub_names *out, struct th_str list, struct th_error *error);
void th_hub_names_deinit(struct th_hub_names *names);

/* UTF-8 without control characters or any of / \ # ?, neither "." nor "..", not starting with @ (an
 * entity's id does): an instance id stands in URLs and in messages for people. */
bool th_instance_id_check(struct th_str id, struct th_error *error);
/* The same with any of / \ # ?, which URLs can encode: of programs with an SDK, whose other
 * servers take them. */
bool th_instance_id_check_any(struct th_str id, struct th_error *error);

/* "@name@key": how entities are called (Durable Functions' EntityId). The name is not empty and in
 * lower case; the key may be empty, and hold any characters. */
bool th_entity_id_check(struct th_str id, struct th_error *error);
/* Whether an id is an entity's rather than an orchestration's. */
static inline bool th_is_entity(struct th_str id)
{
    return id.len > 0 && id.data[0] == '@';
}
/* Which kind of function runs the episodes of this instance. */
static inline enum th_function_kind th_function_kind_of(struct th_str instance_id)
{
    return th_is_entity(instance_id) ? TH_FUNCTION_ENTITY : TH_FUNCTION_ORCHESTRATOR;
}
/* A function's name that can stand in such an id. */
bool th_entity_name_check(struct th_str name, struct th_error *error);
/* The parts of an id that was checked. */
struct th_str th_entity_name(struct th_str id);
struct th_str th_entity_key(struct th_str id);
/* The id for a name of any case and a key, in `arena`. */
struct th_str th_entity_id(struct th_arena *arena, struct th_str name, struct th_str key);

/* An orchestrator's or activity's name; an event's: as an instance id, but @ is free. */
bool th_function_name_check(struct th_str name, struct th_error *error);
bool th_event_name_check(struct th_str name, struct th_error *error);

/* True when `s` is well-formed UTF-8 (RFC 3629: shortest forms, no surrogates). */
bool th_utf8_valid(struct th_str s);
/* The bytes of the character at the start of `s`, which is not empty; 0: malformed. */
size_t th_utf8_character(struct th_str s);
