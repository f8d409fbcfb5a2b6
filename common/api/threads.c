#include "api/threads.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/memory.h"

struct job {
    struct job *next;
    void (*run)(void *argument);
    void *argument;
};

struct th_threads {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    struct job *first, **last;
    size_t waiting, limit;
    bool stopping;
    unsigned count;
    pthread_t ids[];
};

static struct job *next_job(struct th_threads *threads)
{
    pthread_mutex_lock(&threads->mutex);
    while (!threads->first && !threads->stopping) {
        pthread_cond_wait(&threads->filled, &threads->mutex);
    }
    struct job *job = threads->first;
    if (job) {
        threads->first = job->next;
        threads->last = threads->first ? threads->last : &threads->first;
        threads->waiting--;
    }
    pthread_mutex_unlock(&threads->mutex);
    return job;
}

static void *work(void *argument)
{
    struct job *job;
    while ((job = next_job(argument))) {
        job->run(job->argument);
        free(job);
    }
    return NULL;
}

struct th_threads *th_threads_new(unsigned count, size_t limit)
{
    struct th_threads *threads = th_alloc(sizeof(*threads) + count * sizeof(pthread_t));
    pthread_mutex_init(&threads->mutex, NULL);
    pthread_cond_init(&threads->filled, NULL);
    threads->last = &threads->first;
    threads->limit = limit;
    while (threads->count < count &&
           pthread_create(&threads->ids[threads->count], NULL, work, threads) == 0) {
        threads->count++;
    }
    return threads;
}

bool th_threads_run(struct th_threads *threads, void (*run)(void *), void *argument)
{
    pthread_mutex_lock(&threads->mutex);
    bool taken = !threads->stopping && threads->waiting < threads->limit && threads->count > 0;
    if (taken) {
        struct job *job = TH_NEW(struct job);
        *job = (struct job){.run = run, .argument = argument};
        *threads->last = job;
        threads->last = &job->next;
        threads->waiting++;
        pthread_cond_signal(&threads->filled);
    }
    pthread_mutex_unlock(&threads->mutex);
    return taken;
}

void th_threads_stop(struct th_threads *threads)
{
    pthread_mutex_lock(&threads->mutex);
    threads->stopping = true;
    pthread_cond_broadcast(&threads->filled);
    pthread_mutex_unlock(&threads->mutex);
    for (unsigned i = 0; i < threads->count; i++) {
        pthread_join(threads->ids[i], NULL);
    }
    threads->count = 0;
}

void th_threads_free(struct th_threads *threads)
{
    pthread_cond_destroy(&threads->filled);
    pthread_mutex_destroy(&threads->mutex);
    free(threads);
}
