/*
 * answer: what clients make of an answer: it is what the command may lead to, or the run is wrong;
 * or it says nothing, and the command is asked again.
 */
#include "tests/sim/client.h"

static void unexpected(struct session *s, const struct th_reply *reply)
{
    run_fail(s->clients->run, "session %u: %s of \"%s\" was answered \"%s\" (%s)", s->number,
             session_act(s), session_target(s), th_code_text(reply->error.code),
             reply->error.message);
}

static void accepted(struct session *s, const struct th_reply *reply)
{
    struct subject *subject;

    if (s->op->generated)
        snprintf(s->id, sizeof(s->id), "%.*s", TH_PRI(reply->instance_id));
    subject = subject_of(s->clients, s->id);
    subject_exists(s->clients, subject);
    subject->starts_accepted++;
    free(subject->uid);
    subject->uid = th_str_dup(th_str_of(s->uid));
    start_of_session(s)->answer = START_ACCEPTED;
}

static void on_start(struct session *s, const struct th_reply *reply)
{
    if (reply->error.code == TH_OK) {
        accepted(s, reply);
    } else if (reply->error.code == TH_EXISTS && s->op->rival) {
        subject_exists(s->clients, subject_of(s->clients, s->id));
        start_of_session(s)->answer = START_REFUSED;
    } else {
        unexpected(s, reply);
    }
    session_next_op(s);
}

static void on_info(struct session *s, const struct th_reply *reply)
{
    struct subject *subject = subject_of(s->clients, session_target(s));

    if (reply->error.code == TH_NOT_FOUND) {
        subject_absent(s, subject);
    } else if (reply->error.code == TH_OK) {
        subject_seen(s, subject, reply->info, true);
        s->last_status = reply->info->status;
        if (s->op->revive && s->last_status == TH_STATUS_FAILED)
            s->at -= 2; /* back to the rewind */
    } else {
        unexpected(s, reply);
    }
    session_next_op(s);
}

/* ---- entities ---- */

static void on_signal(struct session *s, const struct th_reply *reply)
{
    if (reply->error.code != TH_OK)
        unexpected(s, reply);
    s->note->answered = true;
    session_next_op(s);
}

static void on_entity(struct session *s, const struct th_reply *reply)
{
    if (reply->error.code != TH_NOT_FOUND &&
        (reply->error.code != TH_OK || reply->info->status != TH_STATUS_ENTITY))
        unexpected(s, reply);
    session_next_op(s);
}

/* ---- commands to an instance ---- */

static bool may_be_over(const struct session *s)
{
    return s->ever_unknown || !s->clients->run->plan.world.ordered;
}

/* Commands to an instance that exists: it may have ended meanwhile. */
static void on_done(struct session *s, const struct th_reply *reply)
{
    const enum act act = s->op->act;
    struct subject *subject = subject_of(s->clients, session_target(s));
    const enum th_code code = reply->error.code;

    if (code == TH_NOT_FOUND)
        subject_absent(s, subject);
    else
        subject_exists(s->clients, subject);
    if (code == TH_GONE && act == ACT_RAISE && !may_be_over(s))
        unexpected(s, reply);
    if (code != TH_OK && code != TH_GONE && code != TH_NOT_FOUND)
        unexpected(s, reply);
    session_next_op(s);
}

/* One that was accepted while nobody served its orchestrator is carried out later. */
static void on_rewind(struct session *s, const struct th_reply *reply)
{
    const bool had_failed = s->last_status == TH_STATUS_FAILED;
    const bool may_be_late = may_be_over(s) || s->clients->run->plan.strike > 0;

    if (reply->error.code == TH_OK
            ? !had_failed && !s->unknown
            : reply->error.code != TH_PRECONDITION || (had_failed && !s->unknown && !may_be_late))
        unexpected(s, reply);
    session_next_op(s);
}

static void on_restart(struct session *s, const struct th_reply *reply)
{
    if (reply->error.code == TH_OK) {
        snprintf(s->id, sizeof(s->id), "%.*s", TH_PRI(reply->instance_id));
        subject_exists(s->clients, subject_of(s->clients, s->id));
    } else if (reply->error.code == TH_TOO_LARGE && s->clients->run->plan.world.max_record_bytes) {
        /* the input of the last round holds all results: nothing changed, and nothing is wrong */
    } else if ((reply->error.code == TH_PRECONDITION || reply->error.code == TH_EXISTS) &&
               subject_is_stale(s, subject_of(s->clients, session_target(s)))) {
        session_again(
            s); /* it was told by a process that has not heard of the end, or of the beginning */
        return;
    } else if (!s->unknown ||
               (reply->error.code != TH_PRECONDITION && reply->error.code != TH_EXISTS)) {
        unexpected(s, reply);
    }
    session_next_op(s);
}

static void on_purge(struct session *s, const struct th_reply *reply)
{
    struct clients *c = s->clients;
    struct subject *subject = subject_of(c, session_target(s));

    if (reply->error.code == TH_OK || (reply->error.code == TH_NOT_FOUND && s->unknown)) {
        subject->purged = true;
        subject->purged_at = ++c->clock;
    } else if (!may_be_over(s)) {
        unexpected(s, reply);
    }
    session_next_op(s);
}

/* Another process's partition may not have shown it yet. */
static void on_purge_by(struct session *s, const struct th_reply *reply)
{
    if (reply->error.code != TH_OK)
        unexpected(s, reply);
    if (reply->count > 0 && s->clients->run->plan.world.ordered)
        on_purge(s, reply);
    else
        session_next_op(s);
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
    session_next_op(s);
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
        if (subject->ended && !subject->may_go && subject->ended_at < s->listing &&
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
    session_next_op(s);
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
    case ACT_SIGNAL:
        on_signal(s, reply);
        break;
    case ACT_ENTITY:
        on_entity(s, reply);
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

void answer(struct session *s, const struct th_reply *reply)
{
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
            session_unanswered(s);
        else
            session_again(s);
        return;
    }
    judge(s, reply);
}
