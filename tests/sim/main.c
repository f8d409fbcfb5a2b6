/*
 * main: which runs to make. A failing run prints the command that repeats it.
 *
 *     sim --profile cluster --seeds 1..200        many seeds
 *     sim --profile cluster --seed 17 --trace -   one, with everything that happened
 *     sim --profile embedded --seed 3 --crash     one run per possible moment of a crash
 *     sim --mutation all                          each deliberate defect has to be noticed
 *     sim --seeds 1..10 --twice                   the same seed gives the same run
 */
#include <getopt.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "partition/partition.h"
#include "tests/sim/sim.h"

struct arguments {
    struct sim_options run;
    uint64_t first, last, stride;
    const char *profile, *mutation, *trace;
    bool json, crash, twice, verbose;
};

struct total {
    uint64_t runs, failures;
    struct report sum;
};

static const char *mutation_name(int mutation)
{
    static const char *const names[] = {
#define X(name, text) #name,
        TH_MUTATIONS(X)
#undef X
    };

    return (size_t)mutation < TH_COUNT(names) ? names[mutation] : NULL;
}

static int mutation_find(const char *name)
{
    for (int n = 0; mutation_name(n); n++)
        if (strcasecmp(mutation_name(n), name) == 0)
            return n;
    return -1;
}

/* ---- one run ---- */

static void say_command(const struct sim_options *o)
{
    printf("  repeat: sim --profile %s --seed %llu --steps %llu", o->profile->name,
           (unsigned long long)o->seed, (unsigned long long)o->steps);
    if (o->crash_at > 0)
        printf(" --crash-at %llu", (unsigned long long)o->crash_at);
    if (o->mutation != TH_MUTATION_NONE)
        printf(" --mutation %s", mutation_name(o->mutation));
    printf(" --trace -\n");
}

static void add_report(struct total *total, const struct report *r)
{
    struct report *sum = &total->sum;

    total->runs++;
    total->failures += r->failed;
    sum->hash = sum->hash * 31 + r->hash;
    sum->steps += r->steps;
    sum->kills += r->kills;
    sum->moves += r->moves;
    sum->pauses += r->pauses;
    sum->wipes += r->wipes;
    sum->commands += r->commands;
    sum->activities += r->activities;
    sum->episodes += r->episodes;
    sum->records += r->records;
    sum->loads += r->loads;
    sum->evictions += r->evictions;
    sum->replays += r->replays;
    sum->instances += r->instances;
    sum->trims += r->trims;
    sum->parts += r->parts;
    sum->invalid += r->invalid;
}

static json_t *report_json(const struct report *r)
{
    return json_pack("{sIsIsIsIsIsIsIsIsIsIsIsIsIsIsIsI}", "hash", (json_int_t)r->hash, "steps",
                     (json_int_t)r->steps, "instances", (json_int_t)r->instances, "commands",
                     (json_int_t)r->commands, "activities", (json_int_t)r->activities, "episodes",
                     (json_int_t)r->episodes, "records", (json_int_t)r->records, "invalidRecords",
                     (json_int_t)r->invalid, "parts", (json_int_t)r->parts, "kills",
                     (json_int_t)r->kills, "moves", (json_int_t)r->moves, "pauses",
                     (json_int_t)r->pauses, "wipes", (json_int_t)r->wipes, "loads",
                     (json_int_t)r->loads, "evictions", (json_int_t)r->evictions, "trimmedLogs",
                     (json_int_t)r->trims);
}

static void say_json(json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);

    printf("%s\n", text);
    free(text);
    json_decref(value);
}

static void one(const struct arguments *a, const struct sim_options *o, struct total *total)
{
    struct report report;

    sim_run(o, &report);
    add_report(total, &report);
    if (report.failed) {
        printf("seed %llu, profile %s: %s\n", (unsigned long long)o->seed, o->profile->name,
               report.why);
        say_command(o);
        fflush(stdout);
    } else if (a->verbose) {
        say_json(json_pack("{sIso}", "seed", (json_int_t)o->seed, "run", report_json(&report)));
    }
}

/* The same run again gives the same bytes. */
static void twice(const struct sim_options *o, struct total *total)
{
    struct report first, second;

    sim_run(o, &first);
    sim_run(o, &second);
    add_report(total, &first);
    if (memcmp(&first, &second, sizeof(first)) != 0) {
        total->failures++;
        printf("seed %llu, profile %s: two runs differ (%016llx, %016llx)\n",
               (unsigned long long)o->seed, o->profile->name, (unsigned long long)first.hash,
               (unsigned long long)second.hash);
    }
}

/* A run without disasters, then one run per step of it with a kill at that step. */
static void crashes(const struct arguments *a, const struct sim_options *base, struct total *total)
{
    struct sim_options o = *base;
    struct report whole;

    o.crash_at = UINT64_MAX;
    sim_run(&o, &whole);
    for (uint64_t step = 1; step <= whole.steps; step += a->stride) {
        o.crash_at = step;
        one(a, &o, total);
    }
}

static void seeds(const struct arguments *a, const struct profile *profile, struct total *total)
{
    struct sim_options o = a->run;

    o.profile = profile;
    for (o.seed = a->first; o.seed <= a->last; o.seed++) {
        if (a->crash)
            crashes(a, &o, total);
        else if (a->twice)
            twice(&o, total);
        else
            one(a, &o, total);
    }
}

/* ---- mutations ---- */

/* The first seed that notices; 0: none does. A crash of the mutant notices it, too. */
static uint64_t noticed(const struct arguments *a, const struct profile *profile, int mutation,
                        char *why, size_t size)
{
    struct sim_options o = a->run;
    struct report report;

    o.profile = profile;
    o.mutation = mutation;
    for (o.seed = a->first; o.seed <= a->last; o.seed++) {
        sim_run(&o, &report);
        if (report.failed) {
            snprintf(why, size, "%s", report.why);
            return o.seed;
        }
    }
    return 0;
}

/* In a process of its own: a mutant may do anything. */
static bool mutant_dies(const struct arguments *a, int mutation)
{
    const pid_t child = fork();
    int status = 0;
    bool found = false;
    char why[2048] = "";

    if (child != 0) {
        waitpid(child, &status, 0);
        if (WIFSIGNALED(status))
            printf("%-28s noticed: it ends by signal %d\n", mutation_name(mutation),
                   WTERMSIG(status));
        return WIFSIGNALED(status) || WEXITSTATUS(status) == 0;
    }
    alarm(300);
    for (size_t n = 0; n < 4 && !found; n++) {
        const struct profile *profile = profile_at(n);
        uint64_t seed;

        if (a->profile && strcmp(a->profile, profile->name) != 0)
            continue;
        seed = noticed(a, profile, mutation, why, sizeof(why));
        found = seed > 0;
        if (found)
            printf("%-28s noticed: %s, seed %llu: %s\n", mutation_name(mutation), profile->name,
                   (unsigned long long)seed, why);
    }
    if (!found)
        printf("%-28s SURVIVES seeds %llu to %llu\n", mutation_name(mutation),
               (unsigned long long)a->first, (unsigned long long)a->last);
    fflush(stdout);
    _exit(found ? 0 : 1);
}

static int mutations(const struct arguments *a)
{
    int survivors = 0;

    for (int n = 1; mutation_name(n); n++) {
        fflush(stdout);
        if (strcmp(a->mutation, "all") == 0 || mutation_find(a->mutation) == n)
            survivors += !mutant_dies(a, n);
    }
    printf("%d mutations survive\n", survivors);
    return survivors > 0;
}

/* ---- the command line ---- */

static void usage(void)
{
    printf("usage: sim [--profile NAME] [--seed N | --seeds A..B] [--steps N] [--crash | "
           "--crash-at K]\n           [--stride N] [--twice] [--mutation NAME|all] "
           "[--trace FILE|-] [--json] [--verbose]\nprofiles:\n");
    for (size_t n = 0; profile_at(n); n++)
        printf("  %-14s %s\n", profile_at(n)->name, profile_at(n)->about);
    printf("mutations:\n");
    for (int n = 1; mutation_name(n); n++)
        printf("  %s\n", mutation_name(n));
}

static bool parse_seeds(struct arguments *a, const char *text)
{
    unsigned long long first, last;
    const int found = sscanf(text, "%llu..%llu", &first, &last);

    a->first = first;
    a->last = found == 2 ? last : first;
    return found > 0;
}

static bool take(struct arguments *a, int option, const char *value)
{
    switch (option) {
    case 'p':
        a->profile = value;
        return profile_find(value) != NULL;
    case 's':
        return parse_seeds(a, value);
    case 'n':
        a->run.steps = strtoull(value, NULL, 10);
        return true;
    case 'k':
        a->run.crash_at = strtoull(value, NULL, 10);
        return true;
    case 'i':
        a->stride = strtoull(value, NULL, 10);
        return a->stride > 0;
    case 'm':
        a->mutation = value;
        return strcmp(value, "all") == 0 || mutation_find(value) > 0;
    case 't':
        a->trace = value;
        return true;
    case 'c':
        return a->crash = true;
    case 'w':
        return a->twice = true;
    case 'j':
        return a->json = true;
    case 'v':
        return a->verbose = true;
    default:
        return false;
    }
}

static bool parse(struct arguments *a, int argc, char **argv)
{
    static const struct option options[] = {
        {"profile", required_argument, NULL, 'p'},
        {"seed", required_argument, NULL, 's'},
        {"seeds", required_argument, NULL, 's'},
        {"steps", required_argument, NULL, 'n'},
        {"crash-at", required_argument, NULL, 'k'},
        {"stride", required_argument, NULL, 'i'},
        {"mutation", required_argument, NULL, 'm'},
        {"trace", required_argument, NULL, 't'},
        {"crash", no_argument, NULL, 'c'},
        {"twice", no_argument, NULL, 'w'},
        {"json", no_argument, NULL, 'j'},
        {"verbose", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0)
        if (!take(a, option, optarg))
            return false;
    return optind == argc;
}

static FILE *open_trace(const char *name)
{
    if (!name)
        return NULL;
    return strcmp(name, "-") == 0 ? stdout : fopen(name, "w");
}

/* One named mutant in one seed: to look at what it does. */
static bool is_single(const struct arguments *a)
{
    return a->mutation && a->first == a->last && strcmp(a->mutation, "all") != 0;
}

int main(int argc, char **argv)
{
    struct arguments a = {.run.steps = 4000, .first = 1, .last = 100, .stride = 1};
    struct total total = {0};

    if (!parse(&a, argc, argv)) {
        usage();
        return 2;
    }
    a.run.trace = open_trace(a.trace);
    if (a.mutation && !is_single(&a))
        return mutations(&a);
    a.run.mutation = a.mutation ? mutation_find(a.mutation) : TH_MUTATION_NONE;
    for (size_t n = 0; n < 3; n++)
        if (!a.profile || n == 0)
            seeds(&a, a.profile ? profile_find(a.profile) : profile_at(n), &total);
    if (a.json)
        say_json(json_pack("{sIsIso}", "runs", (json_int_t)total.runs, "failures",
                           (json_int_t)total.failures, "sum", report_json(&total.sum)));
    else
        printf("%llu runs, %llu failed; %llu steps, %llu instances, %llu records, %llu kills\n",
               (unsigned long long)total.runs, (unsigned long long)total.failures,
               (unsigned long long)total.sum.steps, (unsigned long long)total.sum.instances,
               (unsigned long long)total.sum.records, (unsigned long long)total.sum.kills);
    return total.failures > 0;
}
