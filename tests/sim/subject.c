/*
 * subject: what clients were told about an instance, and what they did to it. Every answer is
 * compared with those that were given before the question: existence, absence after a purge, and
 * ends are never taken back.
 */
#include "tests/sim/client.h"

struct subject *subject_of(struct clients *c, const char *id)
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

void subject_exists(struct clients *c, struct subject *s)
{
    if (!s->exists)
        s->exists_at = ++c->clock;
    s->exists = true;
}

/* The only excuses for taking back what was answered: a process that was fenced, and could not know
 * it yet, answered from what it knew; or the projection was put back to an old copy. */
bool subject_is_stale(struct session *s, const struct subject *subject)
{
    struct run *run = s->clients->run;
    const uint32_t partition = run_partition(run, subject->id);
    const bool stale = run->plan.world.shared ? run_may_be_old(run, partition)
                                              : !log_is_owner(run, s->life, partition);

    run->report->stale += stale;
    return stale;
}

static bool same_text(const char *a, struct th_str b)
{
    return a ? th_str_present(b) && th_str_eq(th_str_of(a), b) : !th_str_present(b);
}

void subject_absent(struct session *session, struct subject *s)
{
    struct run *run = session->clients->run;

    if (run->truncated && run_partition(run, s->id) == run->truncated_partition)
        return; /* its start may be among what is lost */
    if (s->exists && s->exists_at < session->issued && !s->may_go && !subject_is_stale(session, s))
        run_fail(run,
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
    s->ended_at = ++c->clock;
}

void subject_seen(struct session *session, struct subject *s, const struct th_instance_info *info,
                  bool payloads)
{
    struct clients *c = session->clients;

    subject_exists(c, s);
    if (s->purged && s->purged_at < session->issued && session->clients->run->plan.world.ordered)
        run_fail(c->run, "instance \"%s\" was purged, and is there again for session %u", s->id,
                 session->number);
    if (s->ended && s->ended_at < session->issued && !s->may_change && !s->may_go &&
        (info->status != s->status || (payloads && !same_text(s->output, info->output))) &&
        !subject_is_stale(session, s))
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

struct start *start_of_session(struct session *session)
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

void subjects_free(struct clients *c)
{
    struct subject *subject, *next_subject;
    struct start *start, *next_start;
    struct bank_note *note, *next_note;

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
    free(c->uids);
    DL_FOREACH_SAFE(c->notes, note, next_note)
        free(note);
}

/* ---- for the judge ---- */

const struct bank_note *clients_notes(const struct clients *c)
{
    return c->notes;
}

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
