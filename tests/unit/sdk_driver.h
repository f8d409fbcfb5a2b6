/*
 * sdk_driver: plays the engine for one orchestration in memory. Answers are queued, an episode
 * feeds them, and what the code asked for becomes history, exactly as the engine writes it. Tests
 * read what happened from `last` (the actions of the last episode) and `history`.
 */
#pragma once

#include "base/buffer.h"
#include "sdk/application.h"
#include "sdk/executor.h"

struct sdk_driver {
    struct th_app *app;
    struct th_executor *executor;
    struct th_arena arena; /* everything below points into it */
    struct th_events history;
    struct th_events fresh;
    struct th_actions last;
    char execution_id[32];
    int generation;
    th_time now;
    bool ended;
    struct th_action end; /* the COMPLETE action, once ended */
    size_t cold_runs;     /* how often the executor asked for the history */
};

void sdk_driver_init(struct sdk_driver *d, void (*registration)(struct th_app *),
                     struct th_executor_options options);
void sdk_driver_deinit(struct sdk_driver *d);

/* Queue events; to answer a lock request grants it. `json` and `data` may be NULL. */
void sdk_start(struct sdk_driver *d, const char *name, const char *json);
void sdk_event(struct sdk_driver *d, struct th_event event);
void sdk_done(struct sdk_driver *d, int32_t id, const char *json);
void sdk_failed(struct sdk_driver *d, int32_t id, const char *type, const char *message);
void sdk_fired(struct sdk_driver *d, int32_t id);
void sdk_raised(struct sdk_driver *d, const char *name, const char *data);

/* Runs an episode with what was queued, one second after the last. */
void sdk_run(struct sdk_driver *d);
/* As above, with the history loaded: a replay. */
void sdk_run_cold(struct sdk_driver *d);
/* Starts the next generation after continue-as-new, carried events included, and runs it. */
void sdk_continue(struct sdk_driver *d);
/* Forgets the warm instance, so that the next episode is a replay. */
void sdk_forget(struct sdk_driver *d);

/* The last episode's actions as text: "task 0 say_hello \"Tokyo\"; timer 1 +5s; call 2 add
 * of @counter@k 1; lock 3 @a@ @b@; unlock 4 @a@; end ..." */
const char *sdk_text(struct sdk_driver *d);
void sdk_expect_at(struct sdk_driver *d, const char *text, const char *file, int line);
#define sdk_expect(d, text) sdk_expect_at((d), (text), __FILE__, __LINE__)
/* The failure's message of an orchestration that ended as FAILED; type checked. */
const char *sdk_failure_at(struct sdk_driver *d, const char *type, const char *file, int line);
#define sdk_failure(d, type) sdk_failure_at((d), (type), __FILE__, __LINE__)
