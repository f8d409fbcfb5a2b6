/*
 * results: those of activities that run for a partition which is not, or no longer, this process's.
 * They go into its inbox as messages, and are sent again until they are there: as long as this
 * process lives, nobody else runs the activity. Activities that others have to run are sent on in
 * the same way.
 */
#include <stdio.h>

#include "node/internal.h"

struct result {
    UT_hash_handle hh; /* node->results, by number */
    uint64_t number;
    uint32_t destination;
    struct th_blob *blob;
    th_time due; /* to be sent again; NONE: it is under way */
    void (*done)(void *argument);
    void *argument;
};

static void result_free(struct th_node *node, struct result *r)
{
    HASH_DELETE(hh, node->results, r);
    th_blob_unref(r->blob);
    free(r);
}

static void submit(struct th_node *node, struct result *r)
{
    r->due = TH_TIME_NONE;
    node->provider->ops->send(node->provider, TH_SEND_FROM_CLIENT, r->destination, r->blob,
                              CLIENT_TAG | r->number);
}

static struct th_blob *encode(struct th_node *node, const struct th_shared_result *result)
{
    const bool failed = result->failure != NULL;
    struct th_message m = {.instance_id = result->instance_id,
                           .execution_id = result->execution_id,
                           .scheduled = result->scheduled,
                           .origin = {.partition = TH_FROM_CLIENT}};
    TH_BUFFER bytes = {0};

    m.format = node->options.formats.writes;
    m.event = th_event_of(failed ? TH_EVENT_TASK_FAILED : TH_EVENT_TASK_COMPLETED, node->now);
    m.event.related_id = result->task_id;
    m.event.data = failed ? TH_STR_ABSENT : result->data;
    m.event.failure = result->failure;
    th_encode_message(&bytes, &m);
    return th_blob_new(bytes.data, bytes.len);
}

/* Takes the blob over. */
static void send_until_there(struct th_node *node, uint32_t destination, struct th_blob *blob,
                             void (*done)(void *argument), void *argument)
{
    struct result *r = TH_NEW(struct result);

    r->number = ++node->next_ticket;
    r->destination = destination;
    r->blob = blob;
    r->done = done;
    r->argument = argument;
    HASH_ADD(hh, node->results, number, sizeof(r->number), r);
    submit(node, r);
}

void th_node_forward(struct th_node *node, struct th_blob *message, uint32_t activity_partition,
                     void (*done)(void *argument), void *argument, th_time now)
{
    if (now > node->now)
        node->now = now;
    send_until_there(node, TH_SEND_ACTIVITY_PARTITION(activity_partition), th_blob_ref(message),
                     done, argument);
}

void node_result(struct th_node *node, const struct th_shared_result *result,
                 void (*done)(void *argument), void *argument)
{
    struct th_failure oversize = {.type = TH_STR("PayloadTooLarge"), .non_retriable = true};
    struct th_shared_result sent = *result;
    char text[160];

    if (!sent.failure && sent.data.len > node->options.max_payload_bytes) {
        snprintf(text, sizeof(text), "a result of %zu bytes is above the limit of %zu bytes",
                 sent.data.len, node->options.max_payload_bytes);
        oversize.message = th_str_of(text);
        sent.failure = &oversize;
    }
    send_until_there(node, node_part_of(node, sent.instance_id)->index, encode(node, &sent), done,
                     argument);
}

void results_sent(struct th_node *node, uint64_t number, const struct th_error *error)
{
    struct result *r;

    HASH_FIND(hh, node->results, &number, sizeof(number), r);
    if (!r)
        return;
    if (error->code != TH_OK) {
        r->due = node->now + ASK_AGAIN;
        return;
    }
    if (r->done)
        r->done(r->argument);
    result_free(node, r);
}

th_time results_step(struct th_node *node)
{
    struct result *r, *next;
    th_time due = TH_TIME_NONE;

    HASH_ITER(hh, node->results, r, next) {
        if (r->due == TH_TIME_NONE)
            continue;
        if (r->due <= node->now)
            submit(node, r);
        else
            due = earlier(due, r->due);
    }
    return due;
}

void results_free(struct th_node *node)
{
    struct result *r, *next;

    HASH_ITER(hh, node->results, r, next)
        result_free(node, r);
}

/* ---- what runs on for a partition that was handed over ---- */

bool handed_add(void *argument, const struct th_running_task *task)
{
    struct handing *handing = argument;
    const struct th_node_hooks *hooks = &handing->node->options.hooks;
    const uint64_t token = node_token(handing->part, task->token);
    const struct th_shared_result result = {.instance_id = task->instance_id,
                                            .execution_id = task->execution_id,
                                            .task_id = task->task_id,
                                            .scheduled = task->scheduled,
                                            .data = task->data,
                                            .failure = task->failure};
    struct handed *h;

    if (task->answered) { /* no record of ours will hold it: it goes to the next owner */
        node_result(handing->node, &result, NULL, NULL);
        return true;
    }
    if (hooks->withdraw && hooks->withdraw(hooks->argument, token))
        return false;
    h = TH_NEW(struct handed);
    h->token = token;
    h->scheduled = task->scheduled;
    h->instance_id = th_str_dup(task->instance_id);
    h->execution_id = th_str_dup(task->execution_id);
    h->task_id = task->task_id;
    HASH_ADD(hh, handing->node->handed, token, sizeof(h->token), h);
    return true;
}

static void handed_free(struct th_node *node, struct handed *h)
{
    HASH_DELETE(hh, node->handed, h);
    free(h->instance_id);
    free(h->execution_id);
    free(h);
}

bool handed_done(struct th_node *node, const struct th_activity_answer *answer)
{
    struct th_shared_result result;
    struct handed *h;

    HASH_FIND(hh, node->handed, &answer->token, sizeof(answer->token), h);
    if (!h)
        return false;
    result = (struct th_shared_result){.instance_id = th_str_of(h->instance_id),
                                       .execution_id = th_str_of(h->execution_id),
                                       .task_id = h->task_id,
                                       .scheduled = h->scheduled,
                                       .data = answer->data,
                                       .failure = answer->failure};
    node_result(node, &result, NULL, NULL);
    handed_free(node, h);
    return true;
}

void handed_free_all(struct th_node *node)
{
    struct handed *h, *next;

    HASH_ITER(hh, node->handed, h, next)
        handed_free(node, h);
}
