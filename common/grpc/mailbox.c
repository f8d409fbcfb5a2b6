/*
 * mailbox: what other threads leave for a loop. Calls hold references of it, and may live longer
 * than the loop: it is closed then, and takes nothing any more.
 *
 * Whoever posts wakes the loop only when it sleeps: under load no post costs a system call. The
 * loop says that it sleeps before it looks a last time, so a post is either seen or wakes it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "grpc/internal.h"

struct th_grpc_mailbox {
    atomic_int references;
    pthread_mutex_t mutex;
    struct th_grpc_post *first, **last; /* under the mutex */
    bool closed;                        /* under the mutex */
    atomic_bool asleep;
    int wake;
};

static _Thread_local const struct th_grpc_mailbox *own;

struct th_grpc_mailbox *th_grpc_mailbox_new(int wake)
{
    struct th_grpc_mailbox *mailbox = TH_NEW(struct th_grpc_mailbox);
    atomic_init(&mailbox->references, 1);
    pthread_mutex_init(&mailbox->mutex, NULL);
    mailbox->last = &mailbox->first;
    mailbox->wake = wake;
    return mailbox;
}

struct th_grpc_mailbox *th_grpc_mailbox_ref(struct th_grpc_mailbox *mailbox)
{
    atomic_fetch_add_explicit(&mailbox->references, 1, memory_order_relaxed);
    return mailbox;
}

void th_grpc_mailbox_unref(struct th_grpc_mailbox *mailbox)
{
    if (atomic_fetch_sub_explicit(&mailbox->references, 1, memory_order_acq_rel) == 1) {
        pthread_mutex_destroy(&mailbox->mutex);
        free(mailbox);
    }
}

static void wake(struct th_grpc_mailbox *mailbox)
{
    uint64_t one = 1;
    while (write(mailbox->wake, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

/* The eventfd is written to with the mutex held: behind it, it might be closed already. */
bool th_grpc_mailbox_post(struct th_grpc_mailbox *mailbox, struct th_grpc_post *post)
{
    post->next = NULL;
    pthread_mutex_lock(&mailbox->mutex);
    bool open = !mailbox->closed;
    if (open) {
        *mailbox->last = post;
        mailbox->last = &post->next;
        if (atomic_exchange(&mailbox->asleep, false)) {
            wake(mailbox);
        }
    }
    pthread_mutex_unlock(&mailbox->mutex);
    return open;
}

void th_grpc_mailbox_own(struct th_grpc_mailbox *mailbox)
{
    own = mailbox;
}

bool th_grpc_mailbox_own_is(const struct th_grpc_mailbox *mailbox)
{
    return own == mailbox;
}

void th_grpc_mailbox_sleeps(struct th_grpc_mailbox *mailbox, bool asleep)
{
    atomic_store(&mailbox->asleep, asleep);
}

static struct th_grpc_post *take(struct th_grpc_mailbox *mailbox, bool close)
{
    pthread_mutex_lock(&mailbox->mutex);
    struct th_grpc_post *posts = mailbox->first;
    mailbox->first = NULL;
    mailbox->last = &mailbox->first;
    mailbox->closed = mailbox->closed || close;
    pthread_mutex_unlock(&mailbox->mutex);
    return posts;
}

static void run(struct th_grpc_post *post)
{
    while (post) {
        struct th_grpc_post *next = post->next;
        post->run(post);
        post = next;
    }
}

void th_grpc_mailbox_run(struct th_grpc_mailbox *mailbox)
{
    run(take(mailbox, false));
}

void th_grpc_mailbox_close(struct th_grpc_mailbox *mailbox)
{
    run(take(mailbox, true));
}
