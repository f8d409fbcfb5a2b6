/*
 * examine: reads all that is stored of a hub into a doctor (common/doctor). It takes no lease,
 * joins no group and writes nothing, so a hub may run meanwhile. Blocks.
 */
#pragma once

#include "base/queue.h"
#include "control/control.h"
#include "doctor/doctor.h"
#include "provider/kafka/survey.h"

/* One hub. The fleet's parts are NULL for an embedded one. */
struct cli_patient {
    struct th_provider *provider;
    const struct th_kafka_hub *fleet;
    struct th_kafka_survey *survey;
    struct th_control *control;
    struct th_queue news; /* woken by the provider as long as that lives */
};

/* Opens no more than the queue; the provider is set, and nothing was asked of it yet. */
void cli_patient_init(struct cli_patient *patient);
/* Closes all that is there. */
void cli_patient_deinit(struct cli_patient *patient);

/* A doctor that has judged, to be freed; NULL: it could not be read, why. */
struct th_doctor *cli_examine(struct cli_patient *patient, struct th_error *error);
