#include "contract/conformance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

#include <cmocka.h>

const struct named_case conformance_cases[] = {
#define X(name) {#name, case_##name, WHOLE, false},
    CASES_LOG(X) CASES_INBOX(X)
#undef X
#define X(name) {#name, case_##name, PROJECTION_HALF, false},
        CASES_PROJECTION(X) CASES_QUERY(X) CASES_SHARED(X)
#undef X
#define X(name) {#name, case_##name, WHOLE, true},
            CASES_HEAVY_LOG(X)
#undef X
#define X(name) {#name, case_##name, PROJECTION_HALF, true},
                CASES_HEAVY_PROJECTION(X)
#undef X
};
const size_t conformance_case_count = TH_COUNT(conformance_cases);

struct run {
    const struct subject *subject;
    const struct named_case *named;
};

static void run_case(void **state)
{
    const struct run *run = *state;
    char failure[512];
    if (!conformance_run(run->subject, run->named, failure)) {
        fail_msg("%s: %s: %s", run->subject->name, run->named->name, failure);
    }
}

static bool fits(const struct subject *subject, const struct named_case *named)
{
    return subject->half == WHOLE || subject->half == named->needs;
}

int conformance_main(const struct subject *subject, const char *only)
{
    struct run *runs = th_alloc(conformance_case_count * sizeof(struct run));
    struct CMUnitTest *tests = th_alloc(conformance_case_count * sizeof(struct CMUnitTest));
    size_t count = 0;
    for (size_t i = 0; i < conformance_case_count; i++) {
        const struct named_case *named = &conformance_cases[i];
        if (fits(subject, named) && (!only || strcmp(only, named->name) == 0)) {
            runs[count] = (struct run){subject, named};
            tests[count] = (struct CMUnitTest){
                .name = named->name, .test_func = run_case, .initial_state = &runs[count]};
            count++;
        }
    }
    int failed = _cmocka_run_group_tests(subject->name, tests, count, NULL, NULL);
    free(tests);
    free(runs);
    return failed;
}
