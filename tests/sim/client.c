/*
 * client: what people and programs outside ask of the hub. A session is a script of commands about
 * one instance; each is asked again until it is answered for good, whatever happens to the
 * processes meanwhile. Scripts depend on each other by gates: the senders of events begin when the
 * instance that counts them was accepted.
 *
 * Every answer is remembered with the instance it speaks of (struct subject) and compared with what
 * was answered before: existence, absence and ends are never taken back.
 */
#include <stdarg.h>
#include <utlist.h>

#include "tests/sim/sim.h"

enum act {
    ACT_START,
    ACT_AWAIT,
    ACT_STATUS,
    ACT_HISTORY,
    ACT_RAISE,
    ACT_TERMINATE,
    ACT_SUSPEND,
    ACT_RESUME,
    ACT_REWIND,
    ACT_RESTART,
    ACT_PURGE,
    ACT_PURGE_BY,
    ACT_QUERY,
    ACT_HUB,
};

static const char *const act_names[] = {
    "start",  "await",  "status",  "history", "raise",    "terminate", "suspend",
    "resume", "rewind", "restart", "purge",   "purge by", "query",     "hub",
};

struct op {
    enum act act;
    char *id;         /* NULL: the instance of the session */
    const char *name; /* START, RAISE */
    json_t *data;     /* START: its uid is set at each attempt; RAISE, TERMINATE */
    bool generated;   /* START without an id */
    bool recursive, new_id, until_started;
    bool rival;  /* START: the id may be another session's */
    bool revive; /* AWAIT behind a REWIND: rewind again if it failed before it was healed */
    th_reuse reuse;
    th_time pause;    /* before it is asked */
    th_time start_in; /* START: this much later; 0: at once */
    unsigned limit;   /* QUERY: rows a page */
};

struct start {
    UT_hash_handle hh;
    char *uid;
    enum start_answer answer;
    struct session *session;
};

struct session {
    struct session *prev, *next;
    struct clients *clients;
    unsigned number;
    struct op *ops;
    size_t count, capacity, at;
    const struct session *gate; /* begins when this one is past gate_at */
    size_t gate_at;
    char id[TH_ID_MAX];
    struct verdict verdict;
    unsigned starts; /* uids used */

    /* the command under way */
    struct op *op;
    bool busy;
    unsigned attempt;
    bool unknown;      /* an attempt at this op was never answered */
    bool ever_unknown; /* … at any op of this session */
    bool nudge;        /* this attempt is a RESUME in place of an AWAIT */
    char uid[32], request_id[48];
    struct process *process;
    uint64_t life, ticket, issued, listing; /* listing: when the first page was asked for */
    th_time due, deadline;
    enum th_status last_status;
    char *continuation;
    json_t *listed; /* ids of the pages of a query so far */
};

struct clients {
    struct run *run;
    struct session *sessions;
    unsigned count;
    struct subject *subjects;
    struct order { /* when a subject's facts were learned, by its address in `subjects` */
        UT_hash_handle hh;
        const struct subject *subject;
        uint64_t exists, ended, purged;
        bool meddled;
    } * orders;
    struct start *starts;
    const char **uids;
    size_t uid_count, uid_capacity;
    uint64_t clock;
};

/* ---- subjects ---- */

static struct subject *subject_of(struct clients *c, const char *id)
{
    struct subject *s;

    HASH_FIND_STR(c->subjects, id, s);
    if (s)
        return s;
    s = TH_NEW(struct subject);
    s->id = th_str_dup(th_str_of(id));
    HASH_ADD_KEYPTR(hh, c->subjects, s->id, strlen(s->id), s);
    return s;
}

static struct order *order_of(struct clients *c, const struct subject *subject)
{
    struct order *o;

    HASH_FIND_PTR(c->orders, &subject, o);
    if (o)
        return o;
    o = TH_NEW(struct order);
    o->subject = subject;
    HASH_ADD_PTR(c->orders, subject, o);
    return o;
}

static void exists(struct clients *c, struct subject *s)
{
    struct order *o = order_of(c, s);

    if (!s->exists)
        o->exists = ++c->clock;
    s->exists = true;
}

/* A process that was fenced, and could not know it yet, answers from what it knows. It is the only
 * excuse for taking back what was answered. */
static bool is_stale(struct session *s, const struct subject *subject)
{
    struct run *run = s->clients->run;
    const bool stale = !log_is_owner(run, s->life, run_partition(run, subject->id));

    run->report->stale += stale;
    return stale;
}

static bool same_text(const char *a, struct th_str b)
{
    return a ? th_str_present(b) && th_str_eq(th_str_of(a), b) : !th_str_present(b);
}

static void saw_absent(struct session *session, struct subject *s)
{
    const struct order *o = order_of(session->clients, s);

    if (s->exists && o->exists < session->issued && !s->may_go && !is_stale(session, s))
        run_fail(session->clients->run,
                 "instance \"%s\" was known to exist, then session %u was told that it does not",
                 s->id, session->number);
}

static void saw_ended(struct session *session, struct subject *s,
                      const struct th_instance_info *info)
{
    struct clients *c = session->clients;

    if (s->ended || s->may_change || s->may_go)
        return;
    s->ended = true;
    s->status = info->status;
    s->output = th_str_dup(info->output);
    order_of(c, s)->ended = ++c->clock;
}

static void saw_info(struct session *session, struct subject *s,
                     const struct th_instance_info *info, bool payloads)
{
    struct clients *c = session->clients;
    const struct order *o = order_of(c, s);

    exists(c, s);
    if (s->purged && o->purged < session->issued && session->clients->run->plan.world.ordered)
        run_fail(c->run, "instance \"%s\" was purged, and is there again for session %u", s->id,
                 session->number);
    if (s->ended && o->ended < session->issued && !s->may_change && !s->may_go &&
        (info->status != s->status || (payloads && !same_text(s->output, info->output))) &&
        !is_stale(session, s))
        run_fail(c->run, "instance \"%s\" was %s, then session %u was told that it is %s", s->id,
                 th_status_text(s->status), session->number, th_status_text(info->status));
    if (payloads && th_status_terminal(info->status))
        saw_ended(session, s, info);
}

/* ---- starts ---- */

static struct start *start_of(struct clients *c, const char *uid)
{
    struct start *s;

    HASH_FIND_STR(c->starts, uid, s);
    return s;
}

static struct start *start_new(struct session *session)
{
    struct clients *c = session->clients;
    struct start *s = start_of(c, session->uid);

    if (s)
        return s;
    s = TH_NEW(struct start);
    s->uid = th_str_dup(th_str_of(session->uid));
    s->session = session;
    s->answer = START_UNKNOWN;
    HASH_ADD_KEYPTR(hh, c->starts, s->uid, strlen(s->uid), s);
    c->uids = th_grow(c->uids, &c->uid_capacity, c->uid_count + 1, sizeof(*c->uids));
    c->uids[c->uid_count++] = s->uid;
    return s;
}

/* ---- scripts ---- */

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
        .large = c->run->plan.world.max_record_bytes > 0 ? 700
                 : coin(c, 3)                            ? 20000
                                                         : 0,
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

static void script_endless(struct clients *c)
{
    struct session *s = session_new(c);

    add_start(s, "endless", endless_input("", 300 + (unsigned)run_below(c->run, 500)));
    add(s, ACT_AWAIT);
}

struct clients *clients_new(struct run *run)
{
    static void (*const scripts[])(struct clients *) = {
        script_plain,     script_plain,    script_plain,     script_collector,
        script_collector, script_victim,   script_rewind,    script_revived,
        script_rivals,    script_replaced, script_restarted,
    };
    struct clients *c = TH_NEW(struct clients);

    c->run = run;
    for (unsigned n = 0; n < run->plan.sessions; n++) {
        if (run->plan.endless)
            script_endless(c);
        else
            scripts[run_below(run, TH_COUNT(scripts))](c);
    }
    return c;
}

static void session_free(struct session *s)
{
    for (size_t n = 0; n < s->count; n++) {
        free(s->ops[n].id);
        json_decref(s->ops[n].data);
    }
    json_decref(s->listed);
    free(s->continuation);
    free(s->ops);
    free(s);
}

void clients_free(struct clients *c)
{
    struct session *s, *next_session;
    struct subject *subject, *next_subject;
    struct order *order, *next_order;
    struct start *start, *next_start;

    HASH_ITER(hh, c->orders, order, next_order) {
        HASH_DEL(c->orders, order);
        free(order);
    }
    HASH_ITER(hh, c->subjects, subject, next_subject) {
        HASH_DEL(c->subjects, subject);
        free(subject->id);
        free(subject->output);
        free(subject->uid);
        free(subject);
    }
    HASH_ITER(hh, c->starts, start, next_start) {
        HASH_DEL(c->starts, start);
        free(start->uid);
        free(start);
    }
    DL_FOREACH_SAFE(c->sessions, s, next_session)
        session_free(s);
    free(c->uids);
    free(c);
}

/* ---- asking ---- */

static const char *target(const struct session *s)
{
    return s->op->id ? s->op->id : s->id;
}

static void next_op(struct session *s)
{
    struct run *run = s->clients->run;

    s->at++;
    s->op = NULL;
    s->attempt = 0;
    s->unknown = false;
    if (s->at < s->count)
        s->due = run_now(run) + s->ops[s->at].pause;
}

static void again_later(struct session *s)
{
    s->attempt++;
    s->due = s->clients->run->plan.world.step_us + run_now(s->clients->run) +
             (th_time)run_below(s->clients->run, 50 * TH_MILLISECOND);
}

static struct process *choose_process(struct session *s)
{
    struct run *run = s->clients->run;
    unsigned n = run->owner[run_partition(run, target(s))];

    if (run_chance(run, run->plan.astray) || s->attempt > 8)
        n = (unsigned)run_below(run, run->plan.processes);
    return &run->processes[n];
}

static void name_start(struct session *s)
{
    struct subject *subject;

    if (s->attempt == 0 || s->op->generated) {
        snprintf(s->uid, sizeof(s->uid), "s%ua%u", s->number, ++s->starts);
        snprintf(s->request_id, sizeof(s->request_id), "request-%s", s->uid);
    }
    json_object_set_new(s->op->data, "uid", json_string(s->uid));
    start_new(s);
    if (s->op->generated)
        return;
    subject = subject_of(s->clients, s->id);
    if (s->op->reuse != TH_REUSE_NEVER)
        subject->may_change = true;
}

static const enum th_command_kind commands[] = {
    [ACT_START] = TH_COMMAND_START,     [ACT_AWAIT] = TH_COMMAND_WAIT,
    [ACT_STATUS] = TH_COMMAND_STATUS,   [ACT_HISTORY] = TH_COMMAND_STATUS,
    [ACT_RAISE] = TH_COMMAND_RAISE,     [ACT_TERMINATE] = TH_COMMAND_TERMINATE,
    [ACT_SUSPEND] = TH_COMMAND_SUSPEND, [ACT_RESUME] = TH_COMMAND_RESUME,
    [ACT_REWIND] = TH_COMMAND_REWIND,   [ACT_RESTART] = TH_COMMAND_RESTART,
    [ACT_PURGE] = TH_COMMAND_PURGE,     [ACT_PURGE_BY] = TH_COMMAND_PURGE_BY,
    [ACT_QUERY] = TH_COMMAND_QUERY,     [ACT_HUB] = TH_COMMAND_HUB,
};

/* What asking alone may change. */
static void before_asking(struct session *s)
{
    struct clients *c = s->clients;
    struct subject *subject = subject_of(c, target(s));
    char session[32];

    switch (s->op->act) {
    case ACT_START:
        name_start(s);
        break;
    case ACT_SUSPEND:
        order_of(c, subject)->meddled = true;
        break;
    case ACT_REWIND:
        subject->may_change = true;
        snprintf(session, sizeof(session), "s%u", s->number);
        if (s->attempt == 0 && s->last_status == TH_STATUS_FAILED)
            pool_heal(c->run->pool, session);
        break;
    case ACT_RESTART:
        subject->may_change = true;
        break;
    case ACT_PURGE:
    case ACT_PURGE_BY:
        subject->may_go = true;
        break;
    default:
        break;
    }
}

static void fill_query(const struct session *s, struct th_command *command)
{
    command->query = (struct th_query){.from = TH_TIME_NONE,
                                       .to = TH_TIME_NONE,
                                       .completed_from = TH_TIME_NONE,
                                       .completed_to = TH_TIME_NONE,
                                       .limit = s->op->limit,
                                       .continuation = th_str_of(s->continuation)};
}

static void on_reply(void *argument, const struct th_reply *reply);

static void issue(struct session *s)
{
    struct clients *c = s->clients;
    const th_time now = run_now(c->run);
    const struct op *op = s->op;
    TH_AUTOFREE char *data = NULL;
    struct th_command command = {.start_at = TH_TIME_NONE, .deadline = TH_TIME_NONE};

    before_asking(s);
    data = op->data ? json_dumps(op->data, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    s->nudge = op->act == ACT_AWAIT && s->attempt % 2 == 1 &&
               order_of(c, subject_of(c, target(s)))->meddled;
    command.kind = s->nudge ? TH_COMMAND_RESUME : commands[op->act];
    command.instance_id = op->generated ? TH_STR_ABSENT : th_str_of(target(s));
    command.name = th_str_of(op->name);
    command.data = th_str_of(data);
    command.recursive = op->recursive;
    command.new_id = op->new_id;
    command.until_started = op->until_started;
    command.reuse = op->reuse;
    command.payloads = true;
    command.history = op->act == ACT_HISTORY;
    if (op->act == ACT_START) {
        command.request_id = th_str_of(s->request_id);
        command.start_at = op->start_in > 0 ? now + op->start_in : TH_TIME_NONE;
    }
    if (op->act == ACT_AWAIT)
        command.deadline = now + 2 * TH_SECOND;
    if (op->act == ACT_QUERY || op->act == ACT_PURGE_BY)
        fill_query(s, &command);
    if (op->act == ACT_PURGE_BY)
        command.query.id_prefix = th_str_of(target(s)); /* and what is named after it */
    s->process = choose_process(s);
    if (!s->process->node) {
        again_later(s);
        return;
    }
    s->deadline = now + (run_chance(c->run, c->run->plan.impatient)
                             ? (th_time)run_below(c->run, 5 * TH_MILLISECOND)
                             : 6 * TH_SECOND);
    s->life = s->process->life;
    s->issued = ++c->clock;
    s->busy = true;
    c->run->report->commands++;
    run_trace(c->run, "session %u %s%s \"%s\" at process %u, attempt %u%s %s", s->number,
              act_names[op->act], s->nudge ? " (resume)" : "", op->generated ? "" : target(s),
              s->process->number, s->attempt, op->start_in > 0 ? ", later" : "", data ? data : "");
    s->ticket = th_node_command(s->process->node, &command, on_reply, s, now);
}

/* ---- answers ---- */

/* Nobody will ever know what became of it. */
static void unanswered(struct session *s)
{
    s->busy = false;
    s->unknown = s->ever_unknown = true;
    if (s->op->act == ACT_START && !s->op->generated)
        subject_of(s->clients, s->id)->starts_unknown++;
    again_later(s);
}

static void unexpected(struct session *s, const struct th_reply *reply)
{
    run_fail(s->clients->run, "session %u: %s of \"%s\" was answered \"%s\" (%s)", s->number,
             act_names[s->op->act], target(s), th_code_text(reply->error.code),
             reply->error.message);
}

static void accepted(struct session *s, const struct th_reply *reply)
{
    struct subject *subject;

    if (s->op->generated)
        snprintf(s->id, sizeof(s->id), "%.*s", TH_PRI(reply->instance_id));
    subject = subject_of(s->clients, s->id);
    exists(s->clients, subject);
    subject->starts_accepted++;
    free(subject->uid);
    subject->uid = th_str_dup(th_str_of(s->uid));
    start_new(s)->answer = START_ACCEPTED;
}

static void on_start(struct session *s, const struct th_reply *reply)
{
    if (reply->error.code == TH_OK) {
        accepted(s, reply);
    } else if (reply->error.code == TH_EXISTS && s->op->rival) {
        exists(s->clients, subject_of(s->clients, s->id));
        start_new(s)->answer = START_REFUSED;
    } else {
        unexpected(s, reply);
    }
    next_op(s);
}

static void on_info(struct session *s, const struct th_reply *reply)
{
    struct subject *subject = subject_of(s->clients, target(s));

    if (reply->error.code == TH_NOT_FOUND) {
        saw_absent(s, subject);
    } else if (reply->error.code == TH_OK) {
        saw_info(s, subject, reply->info, true);
        s->last_status = reply->info->status;
        if (s->op->revive && s->last_status == TH_STATUS_FAILED)
            s->at -= 2; /* back to the rewind */
    } else {
        unexpected(s, reply);
    }
    next_op(s);
}

static bool may_be_over(const struct session *s)
{
    return s->ever_unknown || !s->clients->run->plan.world.ordered;
}

/* Commands to an instance that exists: it may have ended meanwhile. */
static void on_done(struct session *s, const struct th_reply *reply)
{
    const enum act act = s->op->act;
    struct subject *subject = subject_of(s->clients, target(s));
    const enum th_code code = reply->error.code;

    if (code == TH_NOT_FOUND)
        saw_absent(s, subject);
    else
        exists(s->clients, subject);
    if (code == TH_GONE && act == ACT_RAISE && !may_be_over(s))
        unexpected(s, reply);
    if (code != TH_OK && code != TH_GONE && code != TH_NOT_FOUND)
        unexpected(s, reply);
    next_op(s);
}

static void on_rewind(struct session *s, const struct th_reply *reply)
{
    const bool had_failed = s->last_status == TH_STATUS_FAILED;

    if (reply->error.code == TH_OK ? !had_failed && !s->unknown
                                   : reply->error.code != TH_PRECONDITION ||
                                         (had_failed && !s->unknown && !may_be_over(s)))
        unexpected(s, reply);
    next_op(s);
}

static void on_restart(struct session *s, const struct th_reply *reply)
{
    if (reply->error.code == TH_OK) {
        snprintf(s->id, sizeof(s->id), "%.*s", TH_PRI(reply->instance_id));
        exists(s->clients, subject_of(s->clients, s->id));
    } else if (reply->error.code == TH_TOO_LARGE && s->clients->run->plan.world.max_record_bytes) {
        /* the input of the last round holds all results: nothing changed, and nothing is wrong */
    } else if (reply->error.code == TH_PRECONDITION &&
               is_stale(s, subject_of(s->clients, target(s)))) {
        again_later(s); /* it was told by a process that has not heard of the end */
        return;
    } else if (!s->unknown ||
               (reply->error.code != TH_PRECONDITION && reply->error.code != TH_EXISTS)) {
        unexpected(s, reply);
    }
    next_op(s);
}

static void on_purge(struct session *s, const struct th_reply *reply)
{
    struct clients *c = s->clients;
    struct subject *subject = subject_of(c, target(s));

    if (reply->error.code == TH_OK || (reply->error.code == TH_NOT_FOUND && s->unknown)) {
        subject->purged = true;
        order_of(c, subject)->purged = ++c->clock;
    } else if (!may_be_over(s)) {
        unexpected(s, reply);
    }
    next_op(s);
}

/* Another process's partition may not have shown it yet. */
static void on_purge_by(struct session *s, const struct th_reply *reply)
{
    if (reply->error.code != TH_OK)
        unexpected(s, reply);
    if (reply->count > 0 && s->clients->run->plan.world.ordered)
        on_purge(s, reply);
    else
        next_op(s);
}

/* ---- what the hub shows ---- */

static void on_hub(struct session *s, const struct th_reply *reply)
{
    const struct th_hub_view *v = reply->hub;

    if (!v || v->record.partitions != s->clients->run->plan.world.partitions)
        unexpected(s, reply);
    for (uint32_t n = 0; v && n < v->record.partitions; n++)
        if (v->partitions[n].owned && v->partitions[n].inbox_position > v->partitions[n].inbox_end)
            run_fail(s->clients->run, "partition %u is beyond the end of its inbox", n);
    next_op(s);
}

/* ---- queries ---- */

/* Everything known to have ended before the question, and not purged, is listed once. */
static void check_list(struct session *s)
{
    struct clients *c = s->clients;
    struct subject *subject, *next;

    if (!c->run->plan.world.ordered)
        return;
    HASH_ITER(hh, c->subjects, subject, next) {
        if (subject->ended && !subject->may_go && order_of(c, subject)->ended < s->listing &&
            !json_object_get(s->listed, subject->id))
            run_fail(c->run, "instance \"%s\" has ended, but a query does not list it",
                     subject->id);
    }
}

/* It stands where it stood, on whatever page: it was not made again meanwhile. */
static bool is_settled(const struct clients *c, const char *id)
{
    const struct subject *s;

    HASH_FIND_STR(c->subjects, id, s);
    return s && s->ended && !s->may_change && !s->may_go;
}

static void list_page(struct session *s, const struct th_reply *reply)
{
    for (size_t n = 0; n < reply->info_count; n++) {
        char id[TH_ID_MAX];

        snprintf(id, sizeof(id), "%.*s", TH_PRI(reply->infos[n].instance_id));
        if (json_object_get(s->listed, id) && is_settled(s->clients, id))
            run_fail(s->clients->run, "a query lists instance \"%s\" twice", id);
        json_object_set_new(s->listed, id, json_true());
    }
}

static void on_query(struct session *s, const struct th_reply *reply)
{
    if (reply->error.code != TH_OK)
        unexpected(s, reply);
    if (!s->listed) {
        s->listed = json_object();
        s->listing = s->issued;
    }
    list_page(s, reply);
    free(s->continuation);
    s->continuation = th_str_dup(reply->continuation);
    if (s->continuation && json_object_size(s->listed) < 200) {
        s->due = run_now(s->clients->run);
        return;
    }
    free(s->continuation);
    s->continuation = NULL;
    if (json_object_size(s->listed) < 200)
        check_list(s);
    json_decref(s->listed);
    s->listed = NULL;
    next_op(s);
}

static bool try_again(const struct session *s, const struct th_reply *reply)
{
    const enum th_code code = reply->error.code;

    if (s->nudge)
        return true;
    return code == TH_UNAVAILABLE || code == TH_TIMEOUT || code == TH_FENCED || code == TH_CANCELED;
}

static void judge(struct session *s, const struct th_reply *reply)
{
    switch (s->op->act) {
    case ACT_START:
        on_start(s, reply);
        break;
    case ACT_AWAIT:
    case ACT_STATUS:
    case ACT_HISTORY:
        on_info(s, reply);
        break;
    case ACT_REWIND:
        on_rewind(s, reply);
        break;
    case ACT_RESTART:
        on_restart(s, reply);
        break;
    case ACT_PURGE:
        on_purge(s, reply);
        break;
    case ACT_QUERY:
        on_query(s, reply);
        break;
    case ACT_PURGE_BY:
        on_purge_by(s, reply);
        break;
    case ACT_HUB:
        on_hub(s, reply);
        break;
    default:
        on_done(s, reply);
        break;
    }
}

static void on_reply(void *argument, const struct th_reply *reply)
{
    struct session *s = argument;
    struct run *run = s->clients->run;

    run->report->answers++;
    run_trace(run, "session %u is answered %s \"%.*s\" %s", s->number,
              th_code_text(reply->error.code), TH_PRI(reply->instance_id),
              reply->info ? th_status_text(reply->info->status) : reply->error.message);
    s->busy = false;
    if (try_again(s, reply)) {
        if (s->op->act == ACT_QUERY) {
            json_decref(s->listed); /* from the first page again */
            s->listed = NULL;
            free(s->continuation);
            s->continuation = NULL;
        }
        if (reply->error.code != TH_TIMEOUT)
            unanswered(s);
        else
            again_later(s);
        return;
    }
    judge(s, reply);
}

/* ---- time ---- */

static bool is_over(const struct session *s)
{
    return s->at >= s->count;
}

static bool may_begin(const struct session *s)
{
    return !s->gate || s->gate->at > s->gate_at || is_over(s->gate);
}

/* Gates open without a time of their own. */
static th_time session_next(const struct session *s)
{
    if (is_over(s) || !may_begin(s))
        return TH_TIME_NONE;
    return s->busy ? s->deadline : s->due;
}

th_time clients_next(const struct clients *c)
{
    const struct session *s;
    th_time next = TH_TIME_NONE;

    DL_FOREACH(c->sessions, s) {
        const th_time due = session_next(s);

        if (due != TH_TIME_NONE && (next == TH_TIME_NONE || due < next))
            next = due;
    }
    return next;
}

static void give_up(struct session *s)
{
    run_trace(s->clients->run, "session %u gives up waiting", s->number);
    if (s->process->node && s->process->life == s->life)
        th_node_cancel(s->process->node, s->ticket);
    unanswered(s);
}

static void session_step(struct session *s, th_time now)
{
    if (is_over(s) || !may_begin(s))
        return;
    if (s->busy && s->deadline <= now)
        give_up(s);
    else if (!s->busy && s->due <= now) {
        s->op = &s->ops[s->at];
        issue(s);
    }
}

void clients_step(struct clients *c, th_time now)
{
    struct session *s;

    DL_FOREACH(c->sessions, s)
        session_step(s, now);
}

const char *clients_suspect(const struct clients *c, uint64_t which)
{
    const struct session *s = c->sessions;

    for (which %= c->count; which > 0; which--)
        s = s->next;
    return s->at > 0 && !is_over(s) ? s->id : NULL;
}

/* Its node has answered everything with UNAVAILABLE; nothing may be left. */
void clients_lost(struct clients *c, const struct process *process)
{
    struct session *s;

    DL_FOREACH(c->sessions, s)
        if (s->busy && s->process == process)
            run_fail(c->run, "the command of session %u was not answered when its node closed",
                     s->number);
}

bool clients_done(const struct clients *c)
{
    const struct session *s;

    DL_FOREACH(c->sessions, s)
        if (!is_over(s))
            return false;
    return true;
}

char *clients_waiting(const struct clients *c)
{
    struct th_buffer text = {0};
    const struct session *s;

    DL_FOREACH(c->sessions, s) {
        if (is_over(s))
            continue;
        th_buffer_format(&text, "session %u waits for %s of \"%s\"%s", s->number,
                         act_names[s->ops[s->at].act], s->ops[s->at].id ? s->ops[s->at].id : s->id,
                         s->busy ? " (asked)" : "");
        return th_buffer_take(&text);
    }
    return NULL;
}

/* ---- for the judge ---- */

const struct subject *clients_subjects(const struct clients *c)
{
    return c->subjects;
}

static const struct start *start_find(const struct clients *c, const char *uid)
{
    const size_t len = strcspn(uid, ".");
    struct start *s;

    HASH_FIND(hh, c->starts, uid, len, s);
    return s;
}

/* Children carry the number of their session, too: "s3.0.1". */
struct verdict clients_verdict(const struct clients *c, const char *uid)
{
    const struct session *s;
    unsigned number;

    if (sscanf(uid, "s%u", &number) == 1)
        DL_FOREACH(c->sessions, s)
            if (s->number == number)
                return s->verdict;
    return (struct verdict){0};
}

enum start_answer clients_start(const struct clients *c, const char *uid)
{
    const struct start *start = start_find(c, uid);

    return start ? start->answer : START_NEVER;
}

size_t clients_uids(const struct clients *c, const char *const **uids)
{
    *uids = c->uids;
    return c->uid_count;
}
