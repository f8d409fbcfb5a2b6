/* subject_simulated: the simulated provider as a subject, also for those who wrap it. */
#pragma once

#include "contract/conformance.h"
#include "provider/simulated/simulated.h"

/* The fixture's storage. A wrapper may put itself between through `wrap`. */
struct sim_storage {
    struct th_sim_world *world;
    const struct subject *subject;
};

/* `subject->argument` is a struct th_sim_options, or NULL for the defaults. */
void *sim_subject_create(const struct subject *subject, uint32_t partitions, unsigned number);
struct th_provider *sim_subject_open(void *storage, struct th_error *error);
void sim_subject_destroy(void *storage);
bool sim_subject_pump(void *storage);
void sim_subject_fail_appends(void *storage, bool on);

#define SIM_SUBJECT(text, options)                                                          \
    {                                                                                       \
        .name = (text), .argument = (options), .create = sim_subject_create,                \
        .open = sim_subject_open, .destroy = sim_subject_destroy, .pump = sim_subject_pump, \
        .fail_appends = sim_subject_fail_appends                                            \
    }
