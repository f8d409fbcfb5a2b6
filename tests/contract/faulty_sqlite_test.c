/* The conformance suite on the fault-injecting provider around SQLite. */
#include "contract/subject_faulty.h"
#include "contract/subject_sqlite.h"

int main(int argc, char **argv)
{
    const struct faulty_argument argument = {.inner = &sqlite_subject,
                                             .plan = {.seed = 6, .delay = 0.3, .delay_polls = 5}};
    struct subject subject = faulty_subject("faulty, late, sqlite", &argument);
    return conformance_main(&subject, argc > 1 ? argv[1] : NULL);
}
