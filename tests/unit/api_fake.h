/*
 * A hub in memory, behind a gateway, for tests of the API. What an orchestrator does follows from
 * its name:
 *   echo      completes at once, its output is its input
 *   fail      fails at once with type "Oops"
 *   anything else runs until an event "finish" arrives, whose data becomes its output
 * A start in the future stays Pending. Replies come on the gateway's thread, or inside submit.
 */
#pragma once

#include "node/command.h"

struct fake;

/* With `inside`, commands that need not wait are answered before submit returns. */
struct fake *fake_new(const char *hub, bool inside);
void fake_free(struct fake *fake);
struct th_gateway *fake_gateway(struct fake *fake);

/* The next commands, so many, are answered with this code. */
void fake_fail(struct fake *fake, int count, enum th_code code);
/* The hub as TH_COMMAND_HUB shows it: partitions without an owner. */
void fake_unowned(struct fake *fake, uint32_t partitions);
/* Sets an instance's output and status, as bytes. */
void fake_set(struct fake *fake, const char *id, enum th_status status, struct th_str output);

/* WAIT commands without an answer; how many commands were submitted and cancelled so far. */
size_t fake_waiting(struct fake *fake);
size_t fake_submitted(struct fake *fake);
size_t fake_canceled(struct fake *fake);
/* The last START. Valid until the next. */
const struct th_command *fake_last_start(struct fake *fake);
/* Waits until so many WAIT commands wait; false after ten seconds. */
bool fake_await_waiting(struct fake *fake, size_t count);
