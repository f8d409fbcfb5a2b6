/* bank: entities of the simulation, and who calls and signals them. See bank.c. */
#pragma once

#include "tests/sim/sim.h"

/* A batch of operations of an account. */
enum th_executor_result bank_serve(const struct th_episode *episode, struct th_arena *arena,
                                   struct th_actions *out);
/* An episode of the orchestrator "transfer", with its past. Input: from, to, n, rounds, round,
 * refused, unlocks, uid. */
void bank_transfer(const struct th_episode *episode, struct th_arena *arena,
                   struct th_actions *out);

/* A signal that some client has sent; in the order of asking, per session. */
struct bank_note {
    struct bank_note *prev, *next;
    unsigned session;
    char account[32], key[48];
    bool later, answered;
};
const struct bank_note *clients_notes(const struct clients *clients);

/* Every operation happened as often as it was asked for, and nothing is locked. */
void bank_check(struct run *run, struct facts *facts);
