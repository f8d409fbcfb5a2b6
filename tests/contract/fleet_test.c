/* The conformance suite on the fleet's provider. */
#include "contract/subject_fleet.h"

int main(int argc, char **argv)
{
    return conformance_main(&fleet_subject, argc > 1 ? argv[1] : NULL);
}
