/* One instance in any state, the answers it waits for, and one call of the engine. */
#pragma once

#include "unit/base_test.h"

#include "base/memory.h"
#include "engine/engine.h"

enum bench_state {
    AT_NONE,
    AT_PENDING,
    AT_RUNNING,
    AT_SUSPENDED,
    AT_COMPLETED,
    AT_FAILED,
    AT_TERMINATED,
    AT_STARTING, /* continue-as-new left an execution waiting */
    AT_COUNT,
};

struct bench {
    struct th_arena arena;
    struct th_instance_info info;
    struct th_engine_in in;
    struct th_message messages[16];
    struct th_offer offers[16];
    size_t count;
    struct th_outcome out;
    struct th_actions actions;
    bool waits_task, waits_child, waits_timer, waits_entity; /* ids 1, 2, 3, 4 */
    enum th_begin begin;
};

#define NOW  (2000 * TH_SECOND)
#define THEN (1000 * TH_SECOND)

extern const struct th_parent bench_parent; /* of every state's instance: "papa", task 7 */

void bench_init(struct bench *b, enum bench_state state);
void bench_deinit(struct bench *b);
/* Adds a message for the instance and returns it. */
struct th_message *bench_add(struct bench *b, enum th_event_kind kind);
struct th_message *bench_answer(struct bench *b, enum th_event_kind kind, int32_t related_id);
struct th_message *bench_start(struct bench *b, const char *name);
enum th_begin bench_begin(struct bench *b);
struct th_action *bench_action(struct bench *b, enum th_action_kind kind, int32_t id);
void bench_finish(struct bench *b);
/* "OrchestratorStarted EventRaised" */
void expect_events(const struct th_events *events, const char *expected);
/* The one message to `id` of this kind; fails unless there is exactly one. */
const struct th_message *sent(const struct bench *b, const char *id, enum th_event_kind kind);
/* What info becomes when the outcome's events are folded. */
struct th_instance_info folded(const struct bench *b);
