/*
 * jobs: commands made of others. A restart reads the instance, then starts it; a recursive purge
 * reads the history for children, purges, and goes on with them; a purge by filter walks the
 * pages of a query. Each step is an ordinary command of the node's own whose answer leads on; the
 * purges of a page are under way together, so that they share the storage's commits.
 */
#include <stdlib.h>

#include "node/internal.h"

/* What a purge does not go beyond in one command; the caller may repeat it. */
#define PURGE_PAGE 500

struct todo {
    struct todo *next;
    char *id;
    bool required; /* the instance the caller named: its errors are the command's */
};

/* One of the purges of a page. */
struct purge {
    struct job *job;
    uint64_t ticket; /* 0: answered, or not yet known */
    bool answered;
};

struct job {
    struct th_node *node;
    uint64_t ticket;
    struct todo *todo;
    uint64_t count;
    uint64_t under_way; /* ticket of the step; 0: none */
    bool more;          /* another page of the query follows */
    char *continuation;
    struct purge *purges;
    size_t purge_count, purges_open;
    bool issuing; /* the purges of a page; answers that come at once are only counted */
    struct th_error failure;
};

static struct ticket *ticket_of(struct job *job)
{
    return ticket_find(job->node, job->ticket);
}

static void job_deinit(struct job *job)
{
    while (job->todo) {
        struct todo *t = job->todo;
        job->todo = t->next;
        free(t->id);
        free(t);
    }
    free(job->continuation);
    free(job->purges);
    free(job);
}

void job_free(struct ticket *t)
{
    struct job *job = t->job;

    if (!job)
        return;
    t->job = NULL;
    if (job->under_way != 0)
        th_node_cancel(job->node, job->under_way);
    for (size_t n = 0; n < job->purge_count; n++)
        if (job->purges[n].ticket != 0)
            th_node_cancel(job->node, job->purges[n].ticket);
    job_deinit(job);
}

static void finish(struct job *job, const struct th_error *error)
{
    struct th_reply reply = {.error = {.code = TH_OK}, .count = job->count};

    if (error)
        reply.error = *error;
    ticket_finish(job->node, ticket_of(job), &reply);
}

static void step(struct job *job, const struct th_command *command, th_reply_fn next)
{
    const uint64_t before = job->node->next_ticket;
    struct job *self = job;
    uint64_t number;

    self->under_way = before + 1;
    number = th_node_command(job->node, command, next, self, job->node->now);
    (void)number;
}

/* ---- restart ---- */

static void restarted(void *argument, const struct th_reply *reply)
{
    struct job *job = argument;

    job->under_way = 0;
    ticket_finish(job->node, ticket_of(job), reply);
}

static void restart_read(void *argument, const struct th_reply *reply)
{
    struct job *job = argument;
    struct ticket *t = ticket_of(job);
    struct th_command start = {.kind = TH_COMMAND_START,
                               .start_at = TH_TIME_NONE,
                               .deadline = TH_TIME_NONE,
                               .reuse = TH_REUSE_TERMINAL};

    job->under_way = 0;
    if (reply->error.code != TH_OK) {
        finish(job, &reply->error);
        return;
    }
    if (!t->command.new_id && !th_status_terminal(reply->info->status)) {
        struct th_error error;
        th_fail(&error, TH_PRECONDITION,
                "instance \"%.*s\" cannot be restarted under its id: it is %s",
                TH_PRI(t->command.instance_id), th_status_text(reply->info->status));
        finish(job, &error);
        return;
    }
    start.name = reply->info->name;
    start.version = reply->info->version;
    start.data = reply->info->input;
    start.tags = reply->info->tags;
    if (!t->command.new_id)
        start.instance_id = t->command.instance_id;
    step(job, &start, restarted);
}

static void restart(struct job *job, struct ticket *t)
{
    const struct th_command read = {.kind = TH_COMMAND_STATUS,
                                    .instance_id = t->command.instance_id,
                                    .deadline = TH_TIME_NONE,
                                    .payloads = true};

    step(job, &read, restart_read);
}

/* ---- purge ---- */

static void purge_next(struct job *job);

static void add_todo(struct job *job, struct th_str id, bool required)
{
    struct todo *t = TH_NEW(struct todo);

    t->id = th_str_dup(id);
    t->required = required;
    t->next = job->todo;
    job->todo = t;
}

static void drop_todo(struct job *job)
{
    struct todo *t = job->todo;

    job->todo = t->next;
    free(t->id);
    free(t);
}

/* What may become of an instance between the look at it and its purge; all else is a failure of
 * the whole, which the caller has to repeat. */
static bool is_passed_over(const struct th_error *error)
{
    return error->code == TH_NOT_FOUND || error->code == TH_PRECONDITION;
}

static void purged(void *argument, const struct th_reply *reply)
{
    struct job *job = argument;

    job->under_way = 0;
    if (reply->error.code != TH_OK && !is_passed_over(&reply->error)) {
        finish(job, &reply->error);
        return;
    }
    job->count += reply->error.code == TH_OK;
    purge_next(job);
}

static void purge_one(struct job *job, struct th_str id)
{
    const struct th_command purge = {.kind = TH_COMMAND_PURGE,
                                     .instance_id = id,
                                     .start_at = TH_TIME_NONE,
                                     .deadline = TH_TIME_NONE};

    step(job, &purge, purged);
}

/* All purges of the page were sent: on to the next one once they are answered. */
static void settle_page(struct job *job)
{
    if (job->issuing)
        return;
    if (job->failure.code != TH_OK)
        finish(job, &job->failure);
    else if (job->purges_open == 0)
        purge_next(job);
}

static void page_purged(void *argument, const struct th_reply *reply)
{
    struct purge *purge = argument;
    struct job *job = purge->job;

    purge->ticket = 0;
    purge->answered = true;
    job->purges_open--;
    job->count += reply->error.code == TH_OK;
    if (reply->error.code != TH_OK && !is_passed_over(&reply->error))
        job->failure = reply->error;
    settle_page(job);
}

static void purge_page(struct job *job)
{
    const struct todo *todo;
    size_t count = 0;

    for (todo = job->todo; todo; todo = todo->next)
        count++;
    free(job->purges);
    job->purges = th_alloc(count * sizeof(*job->purges));
    job->purge_count = job->purges_open = count;
    job->issuing = true;
    for (size_t n = 0; n < count; n++) {
        const struct th_command purge = {.kind = TH_COMMAND_PURGE,
                                         .instance_id = th_str_of(job->todo->id),
                                         .start_at = TH_TIME_NONE,
                                         .deadline = TH_TIME_NONE};
        struct purge *p = &job->purges[n];
        uint64_t ticket;

        p->job = job;
        ticket = th_node_command(job->node, &purge, page_purged, p, job->node->now);
        p->ticket = p->answered ? 0 : ticket;
        drop_todo(job);
    }
    job->issuing = false;
    settle_page(job);
}

static void add_children(struct job *job, const struct th_events *history)
{
    for (size_t n = 0; n < history->count; n++)
        if (history->items[n].kind == TH_EVENT_CHILD_CREATED)
            add_todo(job, history->items[n].instance_id, false);
}

static bool may_purge(const struct todo *todo, const struct th_reply *reply, struct th_error *error)
{
    *error = reply->error;
    if (error->code == TH_OK && !th_status_terminal(reply->info->status))
        th_fail(error, TH_PRECONDITION,
                "instance \"%s\" cannot be purged: it is %s, only ended instances can", todo->id,
                th_status_text(reply->info->status));
    return error->code == TH_OK;
}

static void purge_read(void *argument, const struct th_reply *reply)
{
    struct job *job = argument;
    struct todo *todo = job->todo;
    const bool required = todo->required;
    struct th_error error;
    char *id;

    job->under_way = 0;
    if (!may_purge(todo, reply, &error)) {
        drop_todo(job);
        if (required || !is_passed_over(&error))
            finish(job, &error);
        else
            purge_next(job);
        return;
    }
    id = th_str_dup(th_str_of(todo->id));
    drop_todo(job);
    add_children(job, &reply->history);
    purge_one(job, th_str_of(id));
    free(id);
}

static void page_read(void *argument, const struct th_reply *reply)
{
    struct job *job = argument;

    job->under_way = 0;
    if (reply->error.code != TH_OK) {
        finish(job, &reply->error);
        return;
    }
    for (size_t n = 0; n < reply->info_count; n++)
        add_todo(job, reply->infos[n].instance_id, false);
    free(job->continuation);
    job->continuation = th_str_dup(reply->continuation);
    job->more = job->continuation != NULL;
    purge_next(job);
}

static void read_page(struct job *job, const struct ticket *t)
{
    struct th_command page = {.kind = TH_COMMAND_QUERY,
                              .start_at = TH_TIME_NONE,
                              .deadline = TH_TIME_NONE,
                              .query = t->command.query};
    const uint32_t ended = TH_REUSE_TERMINAL;

    page.query.statuses = page.query.statuses ? page.query.statuses & ended : ended;
    page.query.limit = PURGE_PAGE;
    page.query.payloads = false;
    page.query.continuation = th_str_of(job->continuation);
    job->more = false;
    if (page.query.statuses == 0)
        finish(job, NULL);
    else
        step(job, &page, page_read);
}

static void purge_next(struct job *job)
{
    struct ticket *t = ticket_of(job);

    if (job->todo && t->command.recursive) {
        const struct th_command read = {.kind = TH_COMMAND_STATUS,
                                        .instance_id = th_str_of(job->todo->id),
                                        .start_at = TH_TIME_NONE,
                                        .deadline = TH_TIME_NONE,
                                        .history = true};
        step(job, &read, purge_read);
    } else if (job->todo) {
        purge_page(job);
    } else if (job->more) {
        read_page(job, t);
    } else {
        finish(job, NULL);
    }
}

void job_start(struct th_node *node, struct ticket *t)
{
    struct job *job = TH_NEW(struct job);

    job->node = node;
    job->ticket = t->number;
    t->job = job;
    t->state = TICKET_JOB;
    switch (t->command.kind) {
    case TH_COMMAND_RESTART:
        restart(job, t);
        break;
    case TH_COMMAND_PURGE:
        add_todo(job, t->command.instance_id, true);
        purge_next(job);
        break;
    default:
        read_page(job, t);
    }
}
