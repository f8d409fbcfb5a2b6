/*
 * As mutation_test, for the cases about shared providers: each of them must notice when the
 * projection in Redis, which passes them, breaks a promise.
 */
#include "contract/broken_shared.h"
#include "contract/subject_redis.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

#include <cmocka.h>

struct mutant {
    struct subject subject; /* what the suite sees: opens the sound one, wrapped */
    struct subject sound;
    struct redis_access access;
    enum shared_mutation mutation;
    const char *case_name, *text;
};

/* The suite gives back what create made; here that is both. */
struct storage {
    const struct mutant *mutant;
    void *sound;
};

static void *create(const struct subject *subject, uint32_t partitions, unsigned number)
{
    struct storage *s = TH_NEW(struct storage);
    s->mutant = subject->argument;
    s->sound = s->mutant->sound.create(&s->mutant->sound, partitions, number);
    return s;
}

static struct th_provider *open_broken(void *storage, struct th_error *error)
{
    struct storage *s = storage;
    return broken_shared_open(s->mutant->sound.open(s->sound, error), s->mutant->mutation);
}

static void destroy(void *storage)
{
    struct storage *s = storage;
    s->mutant->sound.destroy(s->sound);
    free(s);
}

static void is_noticed(void **state)
{
    const struct mutant *mutant = *state;
    char failure[512];
    size_t i = 0;
    while (i < conformance_case_count &&
           strcmp(conformance_cases[i].name, mutant->case_name) != 0) {
        i++;
    }
    assert_true(i < conformance_case_count);
    if (conformance_run(&mutant->subject, &conformance_cases[i], failure)) {
        fail_msg("%s does not notice that %s", mutant->case_name, mutant->text);
    }
    print_message("%s: %s\n", mutant->text, failure);
}

static void mutant_init(struct mutant *m, struct redis_server *server,
                        enum shared_mutation mutation, const char *case_name, const char *text)
{
    *m = (struct mutant){
        .access = {.server = server}, .mutation = mutation, .case_name = case_name, .text = text};
    m->sound = redis_subject(&m->access);
    m->subject = (struct subject){.name = text,
                                  .half = PROJECTION_HALF,
                                  .argument = m,
                                  .create = create,
                                  .open = open_broken,
                                  .destroy = destroy,
                                  .impatient = mutation != SHARED_MUTATION_NONE};
}

int main(void)
{
    static const struct {
        enum shared_mutation mutation;
        const char *name, *case_name, *text;
    } all[] = {
#define X(name, case_name, text) {SHARED_MUTATION_##name, #name, #case_name, text},
        SHARED_MUTATIONS(X)
#undef X
    };
    struct redis_server *server = redis_server_start(NULL);
    struct mutant *mutants = th_alloc(sizeof(struct mutant) * (TH_COUNT(all) + 1));
    struct CMUnitTest tests[TH_COUNT(all)];
    for (size_t i = 0; i < TH_COUNT(all); i++) {
        mutant_init(&mutants[i], server, all[i].mutation, all[i].case_name, all[i].text);
        tests[i] = (struct CMUnitTest){
            .name = all[i].name, .test_func = is_noticed, .initial_state = &mutants[i]};
    }
    struct mutant *sound = &mutants[TH_COUNT(all)];
    mutant_init(sound, server, SHARED_MUTATION_NONE, NULL, "wrapped, nothing broken");
    int failed = conformance_main(&sound->subject, NULL) +
                 cmocka_run_group_tests_name("shared mutations", tests, NULL, NULL);
    free(mutants);
    redis_server_stop(server);
    return failed;
}
