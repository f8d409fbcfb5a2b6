/*
 * script: what the sessions of a run are about. A script is a list of commands for one instance;
 * scripts depend on each other by gates. Each is written so that it ends whatever happens, and so
 * that the judge knows what its instance has to come to.
 */
#include "tests/sim/client.h"

static struct session *session_new(struct clients *c)
{
    struct session *s = TH_NEW(struct session);

    s->clients = c;
    s->number = c->count++;
    s->verdict.known = true;
    s->due = run_now(c->run) + (th_time)run_below(c->run, 100 * TH_MILLISECOND);
    snprintf(s->id, sizeof(s->id), "i%u", s->number);
    DL_APPEND(c->sessions, s);
    return s;
}

static struct op *add(struct session *s, enum act act)
{
    struct op *op;

    s->ops = th_grow(s->ops, &s->capacity, s->count + 1, sizeof(*s->ops));
    op = &s->ops[s->count++];
    *op = (struct op){.act = act};
    op->pause = (th_time)run_below(s->clients->run, 30 * TH_MILLISECOND);
    return op;
}

static struct op *add_start(struct session *s, const char *name, json_t *data)
{
    struct op *op = add(s, ACT_START);

    op->name = name;
    op->data = data;
    return op;
}

static void behind(struct session *s, const struct session *gate, size_t at)
{
    s->gate = gate;
    s->gate_at = at;
}

static bool coin(struct clients *c, unsigned sides)
{
    return run_below(c->run, sides) == 0;
}

static struct maker maker_of(struct clients *c)
{
    return (struct maker){
        .random = &c->run->random,
        .depth = (unsigned)run_below(c->run, 3),
        .failures = true,
        .races = true,
        .large = !coin(c, 3)                     ? 300
                 : c->run->options->crash_at > 0 ? 9000
                                                 : 30000, /* in parts */
    };
}

/* A start has to fit into one message, which is not written in parts. */
#define MOST_BYTES 4000

static json_t *make(struct session *s, struct maker *m)
{
    const struct maker before = *m;
    char uid[32];

    snprintf(uid, sizeof(uid), "s%u", s->number);
    for (;;) {
        json_t *program = program_make(m, uid);

        if (json_dumpb(program, NULL, 0, 0) <= MOST_BYTES)
            return program;
        json_decref(program);
        *m = before;
    }
}

/* Looks now and then, which must change nothing. */
static void script_looks(struct clients *c, const struct session *at)
{
    struct session *s = session_new(c);
    static const enum act looks[] = {ACT_STATUS, ACT_HISTORY, ACT_STATUS, ACT_QUERY, ACT_HUB};

    snprintf(s->id, sizeof(s->id), "%s", at->id);
    behind(s, at, 0);
    for (uint64_t n = 1 + run_below(c->run, 6); n > 0; n--) {
        struct op *op = add(s, looks[run_below(c->run, TH_COUNT(looks))]);

        op->limit = 1 + (unsigned)run_below(c->run, 5);
    }
}

static void script_meddler(struct clients *c, const struct session *at)
{
    struct session *s = session_new(c);

    snprintf(s->id, sizeof(s->id), "%s", at->id);
    behind(s, at, 0);
    for (uint64_t n = 1 + run_below(c->run, 3); n > 0; n--) {
        add(s, ACT_SUSPEND);
        add(s, ACT_RESUME);
    }
}

static json_t *event_data(const struct session *s, unsigned seq)
{
    char from[32];

    snprintf(from, sizeof(from), "c%u", s->number);
    return json_pack("{sssi}", "from", from, "seq", (int)seq);
}

static void script_raiser(struct clients *c, const struct session *at, const char *name,
                          unsigned count)
{
    struct session *s = session_new(c);

    snprintf(s->id, sizeof(s->id), "%s", at->id);
    behind(s, at, 0);
    for (unsigned n = 0; n < count; n++) {
        struct op *op = add(s, ACT_RAISE);

        op->name = name;
        op->data = event_data(s, n);
    }
}

/* An instance that runs to its end, watched, perhaps suspended, perhaps purged. */
static void script_plain(struct clients *c)
{
    struct session *s = session_new(c);
    struct maker m = maker_of(c);
    const bool generated = coin(c, 3), scheduled = coin(c, 4);
    struct op *start;

    m.waits = !generated && coin(c, 2);
    m.named_children = !generated;
    start = add_start(s, "program", make(s, &m));
    start->generated = generated;
    start->start_in = scheduled ? (th_time)run_below(c->run, 300 * TH_MILLISECOND) : 0;
    if (scheduled && coin(c, 2))
        add(s, ACT_AWAIT)->until_started = true;
    add(s, ACT_AWAIT);
    if (!generated && m.waited > 0)
        script_raiser(c, s, "go", m.waited);
    if (!generated && coin(c, 2))
        script_looks(c, s);
    if (!generated && coin(c, 3))
        script_meddler(c, s);
    if (m.waited == 0 && coin(c, 3))
        add(s, generated && coin(c, 2) ? ACT_PURGE_BY : ACT_PURGE)->recursive = coin(c, 2);
    add(s, ACT_STATUS);
}

/* An instance that counts events from several others and from clients. */
static void script_collector(struct clients *c)
{
    struct session *s = session_new(c);
    unsigned want = 0, raised = (unsigned)run_below(c->run, 6);
    struct op *start = add_start(s, "collector", NULL);

    add(s, ACT_AWAIT);
    for (uint64_t n = 1 + run_below(c->run, 4); n > 0; n--) {
        struct session *sender = session_new(c);
        struct maker m = maker_of(c);

        m.collector = s->id;
        m.depth = 0;
        add_start(sender, "program", make(sender, &m));
        add(sender, ACT_AWAIT);
        behind(sender, s, 0);
        want += m.sent;
        if (coin(c, 3))
            script_meddler(c, sender);
    }
    raised += want == 0;
    if (raised > 0)
        script_raiser(c, s, "item", raised);
    s->ops[0].data = collector_input("", want + raised, 1 + (unsigned)run_below(c->run, 5));
    (void)start;
    if (coin(c, 3))
        script_meddler(c, s);
    if (coin(c, 3))
        script_looks(c, s);
}

/* An instance that is terminated on its way. */
static void script_victim(struct clients *c)
{
    struct session *s = session_new(c);
    struct maker m = maker_of(c);
    struct op *op;

    s->verdict.may_be_terminated = true;
    m.depth = 2;
    m.named_children = true;
    op = add_start(s, "program", make(s, &m));
    op->start_in = coin(c, 4) ? (th_time)run_below(c->run, 100 * TH_MILLISECOND) : 0;
    op = add(s, ACT_TERMINATE);
    op->recursive = coin(c, 2);
    op->data = json_pack("{ss}", "stopped", s->id);
    op->pause = (th_time)run_below(c->run, 100 * TH_MILLISECOND);
    add(s, ACT_AWAIT);
    if (coin(c, 2))
        script_looks(c, s);
    if (coin(c, 3))
        add(s, ACT_PURGE)->recursive = coin(c, 2);
}

/* Fails until healed, then is rewound. */
static void script_rewind(struct clients *c)
{
    struct session *s = session_new(c);
    struct maker m = maker_of(c);

    m.flaky = true;
    m.failures = m.races = false;
    m.depth = (unsigned)run_below(c->run, 3);
    add_start(s, "program", make(s, &m));
    add(s, ACT_AWAIT);
    add(s, ACT_REWIND);
    add(s, ACT_AWAIT)->revive = true;
}

static json_t *revived_program(unsigned number)
{
    char text[512];

    snprintf(text, sizeof(text),
             "{\"uid\": \"s%u\", \"rounds\": 1, \"round\": 0, \"steps\": ["
             "{\"kind\": \"caught\", \"step\": 0, \"named\": true, \"programs\": ["
             "{\"uid\": \"s%u.0\", \"rounds\": 1, \"round\": 0, \"steps\": ["
             "{\"kind\": \"call\", \"n\": 1, \"step\": 0, \"flaky\": \"s%u\"}]}]},"
             "{\"kind\": \"sleep\", \"ms\": 500, \"step\": 1},"
             "{\"kind\": \"call\", \"n\": 2, \"step\": 2}]}",
             number, number, number);
    return json_loads(text, 0, NULL);
}

/* A child fails, its parent goes on; then the child is rewound, and answers a second time. */
static void script_revived(struct clients *c)
{
    struct session *s = session_new(c);
    struct op *op;
    char child[TH_ID_MAX + 8];

    s->verdict.may_fail = true;
    add_start(s, "program", revived_program(s->number));
    snprintf(child, sizeof(child), "%s.0.0", s->id);
    op = add(s, ACT_AWAIT);
    op->id = th_str_dup(th_str_of(child));
    op = add(s, ACT_REWIND);
    op->id = th_str_dup(th_str_of(child));
    op = add(s, ACT_AWAIT);
    op->id = th_str_dup(th_str_of(child));
    op->revive = true;
    add(s, ACT_AWAIT);
}

/* Two want the same id; one gets it. */
static void script_rivals(struct clients *c)
{
    struct session *first = NULL;

    for (int n = 0; n < 2; n++) {
        struct session *s = session_new(c);
        struct maker m = maker_of(c);

        add_start(s, "program", make(s, &m))->rival = true;
        add(s, ACT_AWAIT);
        if (first)
            snprintf(s->id, sizeof(s->id), "%s", first->id);
        first = s;
    }
}

/* An id is taken over by a second start. */
static void script_replaced(struct clients *c)
{
    struct session *s = session_new(c);
    struct maker m = maker_of(c);
    struct op *op;

    s->verdict.may_be_terminated = true; /* children of the first */
    add_start(s, "program", make(s, &m));
    op = add_start(s, "program", make(s, &m));
    op->reuse = TH_REUSE_ANY;
    op->pause = (th_time)run_below(c->run, 60 * TH_MILLISECOND);
    add(s, ACT_AWAIT);
}

static void script_restarted(struct clients *c)
{
    struct session *s = session_new(c);
    struct maker m = maker_of(c);

    s->verdict.may_repeat = true;
    add_start(s, "program", make(s, &m))->generated = coin(c, 2);
    add(s, ACT_AWAIT);
    add(s, ACT_RESTART)->new_id = coin(c, 2);
    add(s, ACT_AWAIT);
}

static void script_same_number(struct clients *c)
{
    struct session *s = session_new(c);

    add_start(s, "same-number", json_pack("{si}", "times", 1 + (int)run_below(c->run, 6)));
    add(s, ACT_AWAIT);
}

/* ---- entities ---- */

#define ACCOUNTS 4

static void account(char out[static 32], uint64_t n)
{
    snprintf(out, 32, "@account@%llu", (unsigned long long)n);
}

static void script_transfer(struct clients *c)
{
    struct session *s = session_new(c);
    const uint64_t from = run_below(c->run, ACCOUNTS), by = 1 + run_below(c->run, ACCOUNTS - 1);
    char source[32], target[32];

    account(source, from);
    account(target, (from + by) % ACCOUNTS);
    add_start(s, "transfer",
              json_pack("{sssssisisisbsb}", "from", source, "to", target, "n",
                        1 + (int)run_below(c->run, 9), "rounds", 1 + (int)run_below(c->run, 3),
                        "round", 0, "refused", (int)coin(c, 8), "unlocks", (int)coin(c, 2)));
    if (coin(c, 4)) { /* wherever it stands: its locks go with it */
        s->verdict.may_be_terminated = true;
        add(s, ACT_TERMINATE)->data = json_pack("{ss}", "stopped", s->id);
    }
    add(s, ACT_AWAIT);
}

static void script_signals(struct clients *c)
{
    struct session *s = session_new(c);

    account(s->id, run_below(c->run, ACCOUNTS));
    for (uint64_t n = 1 + run_below(c->run, 5); n > 0; n--) {
        struct op *op = add(s, ACT_SIGNAL);

        op->name = "add";
        op->data = json_pack("{si}", "n", 1 + (int)run_below(c->run, 9));
        op->start_in = coin(c, 4) ? (th_time)run_below(c->run, 300 * TH_MILLISECOND) : 0;
        if (coin(c, 3))
            add(s, ACT_ENTITY);
    }
}

/* Several that want the same accounts. */
static void script_bank(struct clients *c)
{
    for (uint64_t n = 1 + run_below(c->run, 4); n > 0; n--)
        script_transfer(c);
    for (uint64_t n = run_below(c->run, 3); n > 0; n--)
        script_signals(c);
}

static void script_endless(struct clients *c)
{
    struct session *s = session_new(c);

    add_start(s, "endless", endless_input("", 300 + (unsigned)run_below(c->run, 500)));
    add(s, ACT_AWAIT);
}

void script_all(struct clients *c)
{
    static void (*const scripts[])(struct clients *) = {
        script_plain,     script_plain,       script_plain,   script_collector, script_collector,
        script_victim,    script_rewind,      script_revived, script_rivals,    script_replaced,
        script_restarted, script_same_number, script_bank,    script_bank,
    };

    for (unsigned n = 0; n < c->run->plan.sessions; n++) {
        if (c->run->plan.endless)
            script_endless(c);
        else
            scripts[run_below(c->run, TH_COUNT(scripts))](c);
    }
}
