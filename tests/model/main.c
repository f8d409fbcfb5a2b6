/*
 * model: explores configurations, and checks that broken rules are noticed.
 *
 *   model list                          configurations, rules and mutations
 *   model run CONFIG [--without RULE]   one configuration; prints the counter-example, if any
 *   model quick | long | mutations      the small ones, the large ones, every broken rule
 *   model fair CONFIG                   run, even if it is large, with the question whether all
 *                                       work can still be finished
 */
#include "tests/model/model.h"

#include <stdio.h>
#include <string.h>

static struct limits limits_of(const struct config *c)
{
    return (struct limits){.states = UINT64_MAX,
                           .table_bits = c->table_bits ? c->table_bits : 22,
                           .finish = !c->no_finish,
                           .trace = true};
}

static void explore(const struct config *c, const struct limits *limits, struct result *r)
{
    config = c;
    workload = workload_find(c->workload);
    search(limits, r);
}

static bool explore_all(const struct config *c, struct limits limits)
{
    struct result r;

    explore(c, &limits, &r);
    printf("%-18s %-8s %11llu states %12llu steps  depth %3u  finished in %llu  %.1f s  %llu MB\n",
           c->name,
           r.failed    ? "FAILED"
           : r.limited ? "TOO LARGE"
                       : "ok",
           (unsigned long long)r.states, (unsigned long long)r.edges, r.depth,
           (unsigned long long)r.finished, r.seconds, (unsigned long long)(r.bytes >> 20));
    fflush(stdout);
    return !r.failed && !r.limited;
}

static int explore_set(bool long_run)
{
    int failures = 0;

    for (size_t n = 0; config_at(n); n++)
        if (config_at(n)->long_run == long_run &&
            !explore_all(config_at(n), limits_of(config_at(n))))
            failures++;
    if (!long_run)
        failures += print_steps_never_taken() > 0;
    return failures;
}

/* Broken rules must be noticed, each where it is said to be. */
static int break_rules(void)
{
    int missed = 0;

    for (size_t n = 0; mutation_at(n); n++) {
        const struct mutation *m = mutation_at(n);
        const struct config *c = config_find(m->config);
        struct limits limits = limits_of(c);
        struct result r;
        char names[96] = "";

        limits.trace = false;
        for (u8 k = 0; k < m->count; k++) {
            strcat(strcat(names, k > 0 ? "+" : ""), rule_name(m->rules[k]));
            broken[m->rules[k]] = true;
        }
        explore(c, &limits, &r);
        memset(broken, 0, sizeof(broken));
        missed += !r.failed;
        printf("%-26s %-18s %s depth %2u, %8llu states, %.1f s: %s\n", names, c->name,
               r.failed ? "caught" : "MISSED", r.depth, (unsigned long long)r.states, r.seconds,
               r.failed ? violation : "");
        fflush(stdout);
    }
    return missed;
}

static void list(void)
{
    for (size_t n = 0; config_at(n); n++)
        printf("%-18s %-5s %s\n", config_at(n)->name, config_at(n)->long_run ? "long" : "quick",
               config_at(n)->about);
    for (int n = 0; n < RULES_TOTAL; n++)
        printf("%-18s rule  %s\n", rule_name((enum rule)n), rule_text((enum rule)n));
}

static int usage(void)
{
    fprintf(stderr, "usage: model list | quick | long | mutations |\n"
                    "             run CONFIG [--without RULE]... | fair CONFIG\n");
    return 2;
}

static int run(int count, char **words, bool fair)
{
    const struct config *c = count > 0 ? config_find(words[0]) : NULL;
    struct limits limits;

    if (!c)
        return usage();
    for (int n = 1; n < count; n += 2) {
        const enum rule rule = n + 1 < count ? rule_find(words[n + 1]) : RULES_TOTAL;

        if (strcmp(words[n], "--without") != 0 || rule == RULES_TOTAL)
            return usage();
        broken[rule] = true;
    }
    limits = limits_of(c);
    limits.finish = limits.finish || fair;
    return explore_all(c, limits) ? 0 : 1;
}

int main(int count, char **words)
{
    const char *what = count > 1 ? words[1] : "";

    if (strcmp(what, "list") == 0)
        list();
    else if (strcmp(what, "run") == 0 || strcmp(what, "fair") == 0)
        return run(count - 2, words + 2, what[0] == 'f');
    else if (strcmp(what, "quick") == 0)
        return explore_set(false) > 0;
    else if (strcmp(what, "long") == 0)
        return explore_set(true) > 0;
    else if (strcmp(what, "mutations") == 0)
        return break_rules() > 0;
    else
        return usage();
    return 0;
}
