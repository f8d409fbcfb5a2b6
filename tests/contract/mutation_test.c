/*
 * The suite's own test: each case must be able to fail. Every mutation breaks one promise of a good
 * provider, and the case that is named for it must notice. Without a mutation the same wrapper
 * passes everything, so it is the mutation that is noticed.
 */
#include "contract/broken.h"
#include "contract/broken_shared.h"
#include "contract/subject_simulated.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

#include <cmocka.h>

struct mutant {
    struct subject subject; /* first: a storage points to it */
    struct th_sim_options options;
    enum mutation mutation;
    const char *case_name, *text;
};

static struct th_provider *open_broken(void *storage, struct th_error *error)
{
    const struct mutant *mutant = (const void *)((struct sim_storage *)storage)->subject;
    return broken_open(sim_subject_open(storage, error), mutant->mutation);
}

static void mutant_init(struct mutant *mutant, enum mutation mutation, const char *case_name,
                        const char *text)
{
    struct subject subject = SIM_SUBJECT(text, &mutant->options);
    subject.open = open_broken;
    mutant->subject = subject;
    mutant->options = th_sim_defaults();
    mutant->options.max_record_bytes = mutation == MUTATION_NO_LIMIT ? 1000 : 0;
    mutant->options.ordered = mutation == MUTATION_SEND_IN_SPITE;
    mutant->mutation = mutation;
    mutant->case_name = case_name;
    mutant->text = text;
}

static const struct named_case *case_named(const char *name)
{
    for (size_t i = 0; i < conformance_case_count; i++) {
        if (strcmp(conformance_cases[i].name, name) == 0) {
            return &conformance_cases[i];
        }
    }
    return NULL;
}

static void is_noticed(void **state)
{
    const struct mutant *mutant = *state;
    const struct named_case *named = case_named(mutant->case_name);
    char failure[512];
    assert_non_null(named);
    if (conformance_run(&mutant->subject, named, failure)) {
        fail_msg("%s does not notice that %s", mutant->case_name, mutant->text);
    }
    print_message("%s: %s\n", mutant->text, failure);
}

static void every_case_has_a_mutation(void **state)
{
    static const char *const names[] = {
#define X(name, case_name, text) #case_name,
        MUTATIONS(X) SHARED_MUTATIONS(X) /* the latter run where there is a shared provider */
#undef X
    };
    for (size_t i = 0; i < conformance_case_count; i++) {
        size_t n = 0;
        while (n < TH_COUNT(names) && strcmp(names[n], conformance_cases[i].name) != 0) {
            n++;
        }
        if (n == TH_COUNT(names)) {
            fail_msg("nothing shows that %s can fail", conformance_cases[i].name);
        }
    }
}

static int no_mutation_passes(void)
{
    struct mutant sound;
    mutant_init(&sound, MUTATION_NONE, NULL, "wrapped, nothing broken");
    return conformance_main(&sound.subject, NULL);
}

int main(void)
{
    static const struct {
        enum mutation mutation;
        const char *name, *case_name, *text;
    } all[] = {
#define X(name, case_name, text) {MUTATION_##name, #name, #case_name, text},
        MUTATIONS(X)
#undef X
    };
    struct mutant *mutants = th_alloc(sizeof(struct mutant) * TH_COUNT(all));
    struct CMUnitTest tests[TH_COUNT(all) + 1] = {cmocka_unit_test(every_case_has_a_mutation)};
    for (size_t i = 0; i < TH_COUNT(all); i++) {
        mutant_init(&mutants[i], all[i].mutation, all[i].case_name, all[i].text);
        tests[i + 1] = (struct CMUnitTest){
            .name = all[i].name, .test_func = is_noticed, .initial_state = &mutants[i]};
    }
    int failed = no_mutation_passes() + cmocka_run_group_tests_name("mutations", tests, NULL, NULL);
    free(mutants);
    return failed;
}
