/* The conformance suite on the SQLite provider. */
#include "contract/subject_sqlite.h"

int main(int argc, char **argv)
{
    return conformance_main(&sqlite_subject, argc > 1 ? argv[1] : NULL);
}
