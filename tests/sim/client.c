/*
 * client: what people and programs outside ask of the hub. A session goes through its script; each
 * command is asked again until it is answered for good, whatever happens to the processes
 * meanwhile.
 */
#include "tests/sim/client.h"

static const char *const act_names[] = {
    "start",   "await",  "status", "history", "raise", "signal",   "entity", "terminate",
    "suspend", "resume", "rewind", "restart", "purge", "purge by", "query",  "hub",
};

const char *session_act(const struct session *s)
{
    return act_names[s->op->act];
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

struct clients *clients_new(struct run *run)
{
    struct clients *c = TH_NEW(struct clients);

    c->run = run;
    script_all(c);
    return c;
}

void clients_free(struct clients *c)
{
    struct session *s, *next;

    DL_FOREACH_SAFE(c->sessions, s, next)
        session_free(s);
    subjects_free(c);
    free(c);
}

/* ---- sessions ---- */

const char *session_target(const struct session *s)
{
    return s->op->id ? s->op->id : s->id;
}

void session_next_op(struct session *s)
{
    struct run *run = s->clients->run;

    s->at++;
    s->op = NULL;
    s->attempt = 0;
    s->unknown = false;
    if (s->at < s->count)
        s->due = run_now(run) + s->ops[s->at].pause;
}

void session_again(struct session *s)
{
    s->attempt++;
    s->due = s->clients->run->plan.world.step_us + run_now(s->clients->run) +
             (th_time)run_below(s->clients->run, 50 * TH_MILLISECOND);
}

void session_unanswered(struct session *s)
{
    s->busy = false;
    s->unknown = s->ever_unknown = true;
    if (s->op->act == ACT_START && !s->op->generated)
        subject_of(s->clients, s->id)->starts_unknown++;
    session_again(s);
}

/* ---- asking ---- */

static struct process *choose_process(struct session *s)
{
    struct run *run = s->clients->run;
    unsigned n = run->owner[run_partition(run, session_target(s))];

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
    start_of_session(s);
    if (s->op->generated)
        return;
    subject = subject_of(s->clients, s->id);
    if (s->op->reuse != TH_REUSE_NEVER)
        subject->may_change = true;
}

/* Each attempt is a signal of its own: nothing tells the hub that it is meant again. */
static void name_signal(struct session *s)
{
    struct bank_note *note = TH_NEW(struct bank_note);

    s->note = note;
    note->session = s->number;
    note->later = s->op->start_in > 0;
    snprintf(note->account, sizeof(note->account), "%s", session_target(s));
    snprintf(note->key, sizeof(note->key), "c%u.%u", s->number, s->signals++);
    json_object_set_new(s->op->data, "key", json_string(note->key));
    DL_APPEND(s->clients->notes, note);
}

static const enum th_command_kind commands[] = {
    [ACT_START] = TH_COMMAND_START,     [ACT_AWAIT] = TH_COMMAND_WAIT,
    [ACT_STATUS] = TH_COMMAND_STATUS,   [ACT_HISTORY] = TH_COMMAND_STATUS,
    [ACT_RAISE] = TH_COMMAND_RAISE,     [ACT_TERMINATE] = TH_COMMAND_TERMINATE,
    [ACT_SIGNAL] = TH_COMMAND_SIGNAL,   [ACT_ENTITY] = TH_COMMAND_STATUS,
    [ACT_SUSPEND] = TH_COMMAND_SUSPEND, [ACT_RESUME] = TH_COMMAND_RESUME,
    [ACT_REWIND] = TH_COMMAND_REWIND,   [ACT_RESTART] = TH_COMMAND_RESTART,
    [ACT_PURGE] = TH_COMMAND_PURGE,     [ACT_PURGE_BY] = TH_COMMAND_PURGE_BY,
    [ACT_QUERY] = TH_COMMAND_QUERY,     [ACT_HUB] = TH_COMMAND_HUB,
};

/* What asking alone may change. */
static void before_asking(struct session *s)
{
    struct clients *c = s->clients;
    struct subject *subject;
    char session[32];

    if (s->op->act == ACT_SIGNAL)
        name_signal(s);
    if (s->op->act == ACT_SIGNAL || s->op->act == ACT_ENTITY)
        return;
    subject = subject_of(c, session_target(s));
    switch (s->op->act) {
    case ACT_START:
        name_start(s);
        break;
    case ACT_SUSPEND:
        subject->meddled = true;
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

static void on_reply(void *argument, const struct th_reply *reply)
{
    answer(argument, reply);
}

static struct th_command command_of(const struct session *s, const char *data)
{
    const struct op *op = s->op;
    const th_time now = run_now(s->clients->run);
    struct th_command command = {
        .kind = s->nudge ? TH_COMMAND_RESUME : commands[op->act],
        .instance_id = op->generated ? TH_STR_ABSENT : th_str_of(session_target(s)),
        .name = th_str_of(op->name),
        .data = th_str_of(data),
        .recursive = op->recursive,
        .new_id = op->new_id,
        .until_started = op->until_started,
        .reuse = op->reuse,
        .payloads = true,
        .history = op->act == ACT_HISTORY,
        .request_id = op->act == ACT_START ? th_str_of(s->request_id) : TH_STR_ABSENT,
        .start_at = op->start_in > 0 ? now + op->start_in : TH_TIME_NONE,
        .deadline = op->act == ACT_AWAIT ? now + 2 * TH_SECOND : TH_TIME_NONE,
    };

    if (op->act == ACT_QUERY || op->act == ACT_PURGE_BY)
        fill_query(s, &command);
    if (op->act == ACT_PURGE_BY)
        command.query.id_prefix = th_str_of(session_target(s)); /* and what is named after it */
    return command;
}

static th_time patience(struct run *run)
{
    if (run_chance(run, run->plan.impatient))
        return (th_time)run_below(run, 5 * TH_MILLISECOND);
    return 6 * TH_SECOND;
}

static void trace_issue(const struct session *s, const char *data)
{
    const struct op *op = s->op;

    run_trace(s->clients->run, "session %u %s%s \"%s\" at process %u, attempt %u%s %s", s->number,
              session_act(s), s->nudge ? " (resume)" : "", op->generated ? "" : session_target(s),
              s->process->number, s->attempt, op->start_in > 0 ? ", later" : "", data ? data : "");
}

static void issue(struct session *s)
{
    struct clients *c = s->clients;
    TH_AUTOFREE char *data = NULL;
    struct th_command command;

    before_asking(s);
    data = s->op->data ? json_dumps(s->op->data, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    s->nudge =
        s->op->act == ACT_AWAIT && s->attempt % 2 == 1 && subject_of(c, session_target(s))->meddled;
    command = command_of(s, data);
    s->process = choose_process(s);
    s->deadline = run_now(c->run) + patience(c->run);
    s->life = s->process->life;
    s->issued = ++c->clock;
    s->busy = true;
    c->run->report->commands++;
    trace_issue(s, data);
    s->ticket = th_node_command(s->process->node, &command, on_reply, s, process_now(s->process));
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
    session_unanswered(s);
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
