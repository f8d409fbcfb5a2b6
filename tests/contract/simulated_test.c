/* The conformance suite on the simulated provider, in the shapes it can take. */
#include "contract/subject_simulated.h"

int main(void)
{
    struct th_sim_options broker = th_sim_defaults();
    broker.max_record_bytes = 1000;
    broker.read_records = 5;
    struct th_sim_options embedded = th_sim_defaults();
    embedded.ordered = embedded.durable_projection = true;
    struct th_sim_options early = embedded;
    early.early_delivery = true;
    early.zombie = 0.5;
    const struct subject subjects[] = {
        SIM_SUBJECT("simulated", NULL),
        SIM_SUBJECT("simulated, small records", &broker),
        SIM_SUBJECT("simulated, ordered", &embedded),
        SIM_SUBJECT("simulated, early delivery", &early),
    };
    int failed = 0;
    for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
        failed += conformance_main(&subjects[i], NULL);
    }
    return failed;
}
