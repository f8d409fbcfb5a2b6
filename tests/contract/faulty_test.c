/* The conformance suite on the fault-injecting provider: as long as it only delays, or fails what
 * a case makes it fail, it is a provider like any other. */
#include "contract/subject_faulty.h"
#include "contract/subject_simulated.h"

int main(void)
{
    struct th_sim_options ordered = th_sim_defaults();
    ordered.ordered = ordered.early_delivery = true;
    const struct subject broker = SIM_SUBJECT("simulated", NULL);
    const struct subject embedded = SIM_SUBJECT("simulated, ordered", &ordered);
    const struct th_faulty_plan late = {.seed = 5, .delay = 0.5, .delay_polls = 9};
    const struct faulty_argument arguments[] = {
        {.inner = &broker},
        {.inner = &broker, .plan = late},
        {.inner = &embedded, .plan = late},
    };
    static const char *const names[] = {"faulty, at rest", "faulty, late", "faulty, late, ordered"};
    int failed = 0;
    for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++) {
        struct subject subject = faulty_subject(names[i], &arguments[i]);
        failed += conformance_main(&subject, NULL);
    }
    return failed;
}
