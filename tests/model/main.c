#include "tests/model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static struct config scratch;

static const char *const rule_names[] = {
#define NAME(n, t) #n,
    RULES(NAME)
#undef NAME
};

static bool set(struct config *c, const char *k, const char *v, struct limits *l)
{
    int n = atoi(v);
#define F(f) if (!strcmp(k, #f)) { c->f = (u8)n; return true; }
    F(flight) F(checkpoints) F(snapshots) F(window) F(wipes) F(saves) F(losses) F(cuts)
    F(holes) F(timeouts) F(again) F(backs)
    if (!strcmp(k, "evict")) { c->evict = n; return true; }
    if (!strcmp(k, "subset")) { c->subset = n; return true; }
    if (!strcmp(k, "clean")) { c->clean = n; return true; }
    if (!strcmp(k, "claims")) { c->claims[0] = (u8)n; return true; }
    if (!strcmp(k, "claims1")) { c->claims[1] = (u8)n; return true; }
    if (!strcmp(k, "workload")) { c->workload = v; return true; }
    if (!strcmp(k, "bits")) { l->table_bits = (u32)n; return true; }
    if (!strcmp(k, "lim")) { l->states = (u64)atoll(v); return true; }
    if (!strcmp(k, "finish")) { l->finish = n; return true; }
    return false;
}

int main(int c, char **v)
{
    struct limits l = {.states = 500000000, .table_bits = 26, .finish = true, .trace = true};
    struct result r;
    scratch = *config_find(v[1]);
    for (int i = 2; i < c; i++) {
        char *e = strchr(v[i], '=');
        if (e) {
            *e = 0;
            if (!set(&scratch, v[i], e + 1, &l)) return printf("what? %s\n", v[i]), 2;
            continue;
        }
        bool ok = false;
        for (int k = 0; k < RULES_TOTAL; k++)
            if (!strcmp(rule_names[k], v[i])) ok = broken[k] = true;
        if (!ok) return printf("no rule %s\n", v[i]), 2;
    }
    config = &scratch;
    workload = workload_find(config->workload);
    search(&l, &r);
    struct rusage u; getrusage(RUSAGE_SELF, &u);
    printf("%s: %s%s states %llu edges %llu depth %u done %llu  %.1f s %ld MB\n", v[1], r.failed ? "FAILED" : "ok",
           r.limited ? " LIMIT" : "", (unsigned long long)r.states, (unsigned long long)r.edges, r.depth,
           (unsigned long long)r.finished, r.seconds, u.ru_maxrss / 1024);
    return r.failed;
}
