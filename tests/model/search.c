/*
 * search: every reachable state, nearest first, so that a counter-example is as short as can be.
 * A state that was seen is known by 96 bits of its hash; its parent's place leads back to the
 * start. From each state a fair run without further disasters must end with all work done.
 */
#include "tests/model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct seen {
    u64 key;
    u32 more, parent;
};

/* States of one level, packed: a byte that is not zero, or zero and how many of them. */
struct level {
    u8 *bytes;
    size_t used, capacity;
    u64 count;
};

static struct seen *table;
static u64 table_mask;
static u64 *finishable; /* hashes of states from which all work was finished */
static u64 finishable_mask, finishable_count;
enum { OUTCOMES = 3 };
static u64 taken[ACT_COUNT][OUTCOMES];
static struct level now, next;
static struct limits limits;
static struct result *result;
static u32 place; /* of the state whose successors are made */

size_t state_size(void)
{
    return offsetof(struct state, parts) + config->parts * sizeof(struct part);
}

/* ---- hashing ---- */

struct hasher {
    u64 a, b;
};

static u64 fold_product(u64 x, u64 y)
{
    const unsigned __int128 product = (unsigned __int128)x * y;

    return (u64)product ^ (u64)(product >> 64);
}

static void hash_bytes(struct hasher *h, const void *from, size_t size)
{
    const u8 *bytes = from;

    for (size_t n = 0; n < size; n += 16) {
        u64 words[2] = {0};

        memcpy(words, bytes + n, size - n < 16 ? size - n : 16);
        h->a = fold_product(h->a ^ words[0] ^ UINT64_C(0xa0761d6478bd642f),
                            words[1] ^ UINT64_C(0xe7037ed1a0b428db));
        h->b = fold_product(h->b ^ words[1] ^ UINT64_C(0x8ebc6af09c88c6e3),
                            words[0] ^ UINT64_C(0x589965cc75374cc3));
    }
}

/* What lies beyond the counts is zero. */
static u64 hash(const struct state *s, u32 *more)
{
    struct hasher h = {UINT64_C(0x9e3779b97f4a7c15), UINT64_C(0xc2b2ae3d27d4eb4f)};

    hash_bytes(&h, s, offsetof(struct state, parts));
    for (u8 n = 0; n < config->parts; n++) {
        const struct part *p = &s->parts[n];

        hash_bytes(&h, p, offsetof(struct part, log));
        hash_bytes(&h, p->log, p->count * sizeof(*p->log));
        hash_bytes(&h, p->inbox, p->inbox_count * sizeof(*p->inbox));
        hash_bytes(&h, p->owners, p->claims * sizeof(*p->owners));
    }
    *more = (u32)fold_product(h.a, UINT64_C(0x1d8e4e27c47d124f));
    return h.a ^ h.b ? h.a ^ h.b : 1;
}

/* ---- the table ---- */

static bool add(u64 key, u32 more, u32 parent, u32 *at)
{
    u64 n = key & table_mask;

    for (; table[n].key; n = (n + 1) & table_mask)
        if (table[n].key == key && table[n].more == more) {
            *at = (u32)n;
            return false;
        }
    table[n] = (struct seen){key, more, parent};
    *at = (u32)n;
    return true;
}

/* ---- levels ---- */

static void level_put(struct level *l, const struct state *s, u32 at)
{
    const u8 *from = (const u8 *)s;
    const size_t size = state_size();

    if (l->capacity < l->used + 2 * size + sizeof(at)) {
        l->capacity = 2 * l->capacity + 4 * size + 1024;
        l->bytes = realloc(l->bytes, l->capacity);
        if (!l->bytes) {
            fprintf(stderr, "model: out of memory\n");
            exit(2);
        }
    }
    memcpy(l->bytes + l->used, &at, sizeof(at));
    l->used += sizeof(at);
    for (size_t n = 0; n < size;) {
        size_t zeros = 0;

        while (n + zeros < size && zeros < 255 && from[n + zeros] == 0)
            zeros++;
        if (zeros > 0) {
            l->bytes[l->used++] = 0;
            l->bytes[l->used++] = (u8)zeros;
            n += zeros;
        } else {
            l->bytes[l->used++] = from[n++];
        }
    }
    l->count++;
}

static size_t level_get(const struct level *l, size_t from, struct state *s, u32 *at)
{
    const size_t size = state_size();
    u8 *to = (u8 *)s;

    memcpy(at, l->bytes + from, sizeof(*at));
    from += sizeof(*at);
    memset(s, 0, sizeof(*s));
    for (size_t n = 0; n < size;) {
        if (l->bytes[from] == 0) {
            n += l->bytes[from + 1];
            from += 2;
        } else {
            to[n++] = l->bytes[from++];
        }
    }
    return from;
}

/* ---- can all work still be finished? ---- */

/* Smaller comes first; 0: not while finishing. What is old goes first, then what is under way. */
static int urgency(const struct state *s, struct step step)
{
    static const u8 order[ACT_COUNT] = {
        [ACT_DROP] = 1,       [ACT_DIE] = 2,     [ACT_DELETE] = 3,    [ACT_BATCH_LANDS] = 4,
        [ACT_LATE_LANDS] = 4, [ACT_LAND] = 5,    [ACT_READ_BACK] = 6, [ACT_ACK] = 7,
        [ACT_ADOPT] = 8,      [ACT_LOAD] = 8,    [ACT_LOAD_REST] = 8, [ACT_LOOK] = 9,
        [ACT_WINDOW] = 10,    [ACT_SEND] = 11,   [ACT_WORK] = 12,     [ACT_EPISODE] = 13,
        [ACT_BATCH_ALL] = 14, [ACT_STREAM] = 15, [ACT_CLAIM] = 16,
    };
    const struct part *p = &s->parts[step.part];

    if (step.act == ACT_CLAIM && last_claim(p) != NONE && p->owners[last_claim(p)].phase != DEAD)
        return 0;
    return order[step.act];
}

static struct {
    struct state best;
    struct step step;
    int urgency;
} choice;

static void choose(struct steps *steps, const struct state *to, struct step step)
{
    const int u = urgency(steps->from, step);

    if (u == 0 || (choice.urgency && choice.urgency <= u))
        return;
    memcpy(&choice.best, to, state_size());
    choice.step = step;
    choice.urgency = u;
}

static bool known_finishable(u64 key)
{
    u64 n = key & finishable_mask;

    for (; finishable[n]; n = (n + 1) & finishable_mask)
        if (finishable[n] == key)
            return true;
    return false;
}

static void grow_finishable(void)
{
    u64 *old = finishable;
    const u64 old_size = finishable ? finishable_mask + 1 : 0;
    const u64 size = old_size ? old_size * 2 : 1 << 16;

    finishable = calloc(size, sizeof(*finishable));
    if (!finishable) {
        fprintf(stderr, "model: out of memory\n");
        exit(2);
    }
    finishable_mask = size - 1;
    for (u64 k = 0; k < old_size; k++) {
        u64 n = old[k] & finishable_mask;

        if (old[k] == 0)
            continue;
        while (finishable[n])
            n = (n + 1) & finishable_mask;
        finishable[n] = old[k];
    }
    free(old);
}

static void add_finishable(u64 key)
{
    u64 n;

    if (!finishable || finishable_count * 2 > finishable_mask)
        grow_finishable();
    for (n = key & finishable_mask; finishable[n]; n = (n + 1) & finishable_mask)
        if (finishable[n] == key)
            return;
    finishable[n] = key;
    finishable_count++;
}

static bool stopped(const struct state *s)
{
    bool any = s->damaged;

    for (u8 n = 0; n < config->parts; n++)
        any = any || s->parts[n].stopped;
    return any;
}

/* The projection is of an owner whose claim the log lost. Others give way until their claims stand
 * behind it, which takes more owners than there are here. */
static bool is_ahead(const struct part *p)
{
    return p->now.w.epoch >= p->count;
}

static bool has_no_end(const struct state *s)
{
    bool any = stopped(s);

    for (u8 n = 0; n < config->parts; n++)
        any = any || is_ahead(&s->parts[n]);
    return any;
}

/* False: there is nothing more to do. */
static bool take_best(struct state *at)
{
    struct steps steps = {.from = at, .finishing = true, .take = choose};

    choice.urgency = 0;
    successors(&steps);
    if (choice.urgency > 0)
        memcpy(at, &choice.best, state_size());
    return choice.urgency > 0;
}

/* ---- the beginning ---- */

static void choose_checkpoint(struct steps *steps, const struct state *to, struct step step)
{
    (void)steps;
    if (step.act == ACT_CHECKPOINT)
        memcpy(&choice.best, to, state_size());
}

/* All work is done, and the rows have a floor. */
static void settle(struct state *s)
{
    struct steps steps = {.from = s, .take = choose_checkpoint};

    while (take_best(s))
        continue;
    successors(&steps);
    memcpy(s, &choice.best, state_size());
    while (take_best(s))
        continue;
}

void initial(struct state *s)
{
    memset(s, 0, sizeof(*s));
    for (u8 n = 0; n < workload->count; n++) {
        const struct message *m = &workload->messages[n];
        struct part *p = &s->parts[m->part];

        if (m->arrival == BY_CLIENT)
            p->inbox[p->inbox_count++] = (struct entry){CLIENT, 0, 0, n};
    }
    if (config->settled)
        settle(s);
}

/* ---- a fair end ---- */

#define LONGEST_FINISH 400

/* Leaves a violation when it does not come to an end. */
static void finish(const struct state *from, bool print)
{
    static struct state at;
    static u64 path[LONGEST_FINISH];
    size_t length = 0;
    u32 more;

    at = *from;
    while (!has_no_end(&at)) {
        const u64 key = hash(&at, &more);

        if (!print && finishable && known_finishable(key))
            break;
        if (length == LONGEST_FINISH) {
            violate("work goes on for ever from here");
            return;
        }
        path[length++] = key;
        if (!take_best(&at)) {
            if (!violation[0] && !everything_done(&at))
                violate("nothing more can be done, and something is left");
            break;
        }
        if (print)
            print_step(choice.step, &at);
        check_state(&at);
        if (violation[0])
            return;
    }
    while (length > 0 && !violation[0])
        add_finishable(path[--length]);
}

/* ---- traces ---- */

static struct {
    u64 key;
    u32 more;
    struct state found;
    struct step step;
    bool hit;
} wanted;

static void match(struct steps *steps, const struct state *to, struct step step)
{
    u32 more;

    (void)steps;
    if (wanted.hit || hash(to, &more) != wanted.key || more != wanted.more)
        return;
    wanted.hit = true;
    wanted.step = step;
    wanted.found = *to;
}

/* From the start to the state at `end`, step by step. */
static void print_way(u32 end, struct state *out)
{
    u32 *way = NULL;
    size_t count = 0;
    char kept[sizeof(violation)];

    memcpy(kept, violation, sizeof(kept));
    for (u32 at = end;; at = table[at].parent) {
        way = realloc(way, (count + 1) * sizeof(*way));
        way[count++] = at;
        if (table[at].parent == at)
            break;
    }
    initial(out);
    for (size_t n = count - 1; n-- > 0;) {
        struct steps steps = {.from = out, .take = match};

        wanted.key = table[way[n]].key;
        wanted.more = table[way[n]].more;
        wanted.hit = false;
        successors(&steps);
        if (!wanted.hit)
            break;
        print_step(wanted.step, &wanted.found);
        *out = wanted.found;
    }
    free(way);
    memcpy(violation, kept, sizeof(kept));
}

static void report(const struct state *last, const struct step *step)
{
    static struct state before;

    result->failed = true;
    if (!limits.trace)
        return;
    print_way(place, &before);
    if (step)
        print_step(*step, last);
    print_state(last);
    if (!step) {
        printf("  … and without further disasters:\n");
        violation[0] = '\0';
        finish(&before, true);
    }
    printf("  VIOLATION: %s\n", violation);
}

/* ---- what was tried ---- */

/* A model that never does something proves nothing about it. */
size_t print_steps_never_taken(void)
{
    static const u8 outcomes[ACT_COUNT] = {
        [ACT_ADOPT] = 2, [ACT_LOAD] = 3, [ACT_BATCH_LANDS] = 3, [ACT_LATE_LANDS] = 2};
    size_t missing = 0;

    for (u8 act = 0; act < ACT_COUNT; act++) {
        u64 all = 0;

        for (u8 n = 0; n < OUTCOMES; n++) {
            all += taken[act][n];
            if (n < outcomes[act] && taken[act][n] == 0) {
                printf("never taken: %s %u\n", step_words(act), n);
                missing++;
            }
        }
        if (all == 0 && act != ACT_DROP) { /* that is for finishing */
            printf("never taken: %s\n", step_words(act));
            missing++;
        }
    }
    return missing;
}

/* ---- the search ---- */

static void take(struct steps *steps, const struct state *to, struct step step)
{
    u32 more, at;
    u64 key;

    (void)steps;
    if (result->failed)
        return;
    result->edges++;
    taken[step.act][step.arg < OUTCOMES ? step.arg : OUTCOMES - 1]++;
    if (violation[0]) {
        report(to, &step);
        return;
    }
    key = hash(to, &more);
    if (!add(key, more, place, &at))
        return;
    result->states++;
    check_state(to);
    if (violation[0]) {
        report(to, &step);
        return;
    }
    level_put(&next, to, at);
}

static void expand(const struct state *s)
{
    struct steps steps = {.from = s, .take = take};

    if (limits.finish)
        finish(s, false);
    if (violation[0] && !result->failed) {
        report(s, NULL);
        return;
    }
    if (everything_done(s))
        result->finished++;
    if (!stopped(s) || s->damaged)
        successors(&steps);
}

static double seconds_since(const struct timespec *start)
{
    struct timespec end;

    clock_gettime(CLOCK_MONOTONIC, &end);
    return (double)(end.tv_sec - start->tv_sec) + (double)(end.tv_nsec - start->tv_nsec) / 1e9;
}

static bool at_limit(void)
{
    result->limited = result->limited || result->states >= limits.states ||
                      result->states >= (table_mask + 1) / 8 * 7;
    return result->limited;
}

static void note_memory(void)
{
    const u64 table_bytes = result->states * 2 < table_mask ? result->states * 2 : table_mask + 1;
    const u64 bytes = table_bytes * sizeof(*table) + now.capacity + next.capacity +
                      (finishable ? (finishable_mask + 1) * sizeof(*finishable) : 0);

    result->bytes = bytes > result->bytes ? bytes : result->bytes;
}

static void search_level(void)
{
    static struct state s;
    size_t from = 0;

    for (u64 n = 0; n < now.count && !result->failed && !at_limit(); n++) {
        from = level_get(&now, from, &s, &place);
        expand(&s);
    }
}

void search(const struct limits *given, struct result *out)
{
    static struct state s;
    struct timespec start;
    u32 more, at;
    u64 key;

    clock_gettime(CLOCK_MONOTONIC, &start);
    limits = *given;
    result = out;
    memset(out, 0, sizeof(*out));
    violation[0] = '\0';
    table_mask = (UINT64_C(1) << limits.table_bits) - 1;
    table = calloc(table_mask + 1, sizeof(*table));
    if (!table) {
        fprintf(stderr, "model: out of memory\n");
        exit(2);
    }
    now.count = now.used = next.count = next.used = 0;
    initial(&s);
    key = hash(&s, &more);
    add(key, more, 0, &at);
    table[at].parent = at;
    level_put(&next, &s, at);
    out->states = 1;
    while (next.count > 0 && !out->failed && !at_limit()) {
        const struct level done = now;

        now = next;
        next = done;
        next.count = next.used = 0;
        out->depth++;
        search_level();
        note_memory();
    }
    free(table);
    free(finishable);
    finishable = NULL;
    finishable_count = 0;
    out->seconds = seconds_since(&start);
}
