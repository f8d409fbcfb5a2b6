/*
 * c11_threads: for the thread sanitizer only. Debian's librdkafka uses C11 threads, which it does
 * not know: a thread that it has not seen born crashes in its first intercepted call. These, in
 * terms of POSIX threads, take precedence over those of the C library, whose types have the same
 * layout (glibc: mtx_t holds a pthread_mutex_t, cnd_t a pthread_cond_t, thrd_t is pthread_t).
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>
#include <time.h>

_Static_assert(sizeof(mtx_t) >= sizeof(pthread_mutex_t), "mtx_t holds a mutex");
_Static_assert(sizeof(cnd_t) >= sizeof(pthread_cond_t), "cnd_t holds a condition");

/* It counts references with instructions that the sanitizer does not see, so what it frees looks as
 * if others still used it. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:librdkafka.so.1\n";
}

struct birth {
    thrd_start_t run;
    void *argument;
};

static void *run(void *argument)
{
    struct birth birth = *(struct birth *)argument;
    free(argument);
    return (void *)(intptr_t)birth.run(birth.argument);
}

int thrd_create(thrd_t *thread, thrd_start_t start, void *argument)
{
    struct birth *birth = malloc(sizeof(*birth));
    *birth = (struct birth){start, argument};
    return pthread_create(thread, NULL, run, birth) == 0 ? thrd_success : thrd_error;
}

int thrd_join(thrd_t thread, int *result)
{
    void *value = NULL;
    int code = pthread_join(thread, &value);
    if (result) {
        *result = (int)(intptr_t)value;
    }
    return code == 0 ? thrd_success : thrd_error;
}

int thrd_detach(thrd_t thread)
{
    return pthread_detach(thread) == 0 ? thrd_success : thrd_error;
}

static pthread_mutex_t *mutex_of(mtx_t *mutex)
{
    return (pthread_mutex_t *)mutex;
}

static pthread_cond_t *condition_of(cnd_t *condition)
{
    return (pthread_cond_t *)condition;
}

int mtx_init(mtx_t *mutex, int type)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    if (type & mtx_recursive) {
        pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    }
    int code = pthread_mutex_init(mutex_of(mutex), &attributes);
    pthread_mutexattr_destroy(&attributes);
    return code == 0 ? thrd_success : thrd_error;
}

void mtx_destroy(mtx_t *mutex)
{
    pthread_mutex_destroy(mutex_of(mutex));
}

int mtx_lock(mtx_t *mutex)
{
    return pthread_mutex_lock(mutex_of(mutex)) == 0 ? thrd_success : thrd_error;
}

int mtx_unlock(mtx_t *mutex)
{
    return pthread_mutex_unlock(mutex_of(mutex)) == 0 ? thrd_success : thrd_error;
}

int cnd_init(cnd_t *condition)
{
    return pthread_cond_init(condition_of(condition), NULL) == 0 ? thrd_success : thrd_error;
}

void cnd_destroy(cnd_t *condition)
{
    pthread_cond_destroy(condition_of(condition));
}

int cnd_signal(cnd_t *condition)
{
    return pthread_cond_signal(condition_of(condition)) == 0 ? thrd_success : thrd_error;
}

int cnd_broadcast(cnd_t *condition)
{
    return pthread_cond_broadcast(condition_of(condition)) == 0 ? thrd_success : thrd_error;
}

int cnd_wait(cnd_t *condition, mtx_t *mutex)
{
    return pthread_cond_wait(condition_of(condition), mutex_of(mutex)) == 0 ? thrd_success
                                                                            : thrd_error;
}

int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until)
{
    int code = pthread_cond_timedwait(condition_of(condition), mutex_of(mutex), until);
    return code == 0 ? thrd_success : code == ETIMEDOUT ? thrd_timedout : thrd_error;
}
