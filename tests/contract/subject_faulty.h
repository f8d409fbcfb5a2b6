/* subject_faulty: the fault-injecting provider around another subject's. */
#pragma once

#include "contract/conformance.h"
#include "provider/faulty/faulty.h"

struct faulty_argument {
    const struct subject *inner;
    struct th_faulty_plan plan;
};

/* The argument must outlive the subject. */
struct subject faulty_subject(const char *name, const struct faulty_argument *argument);
