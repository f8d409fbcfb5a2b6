#include "base/queue.h"

#include "unit/base_test.h"

/* The threads of these tests check nothing: cmocka's asserts work on the main thread only. */

struct item {
    struct th_link link;
    int producer;
    int number;
};

static struct item *item_of(struct th_link *link)
{
    return (struct item *)link; /* the link comes first */
}

static th_time in(th_time microseconds)
{
    return th_monotonic() + microseconds;
}

static void items_come_in_order_and_all_at_once(void **state)
{
    struct th_queue q;
    th_queue_init(&q);
    assert_null(th_queue_take(&q));
    struct item items[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++) {
            th_queue_push(&q, &items[i].link);
        }
        int count = 0;
        for (struct th_link *l = th_queue_take(&q); l; l = l->next) {
            assert_int_equal(item_of(l)->number, count++);
        }
        assert_int_equal(count, 3);
        assert_null(th_queue_take(&q));
    }
    th_queue_deinit(&q);
}

static void waiting_does_not_sleep_when_there_is_something(void **state)
{
    struct th_queue q;
    th_queue_init(&q);
    struct item item = {.number = 1};
    th_queue_push(&q, &item.link);
    assert_ptr_equal(th_queue_wait(&q, TH_TIME_NONE), &item.link);
    th_queue_push(&q, &item.link);
    assert_ptr_equal(th_queue_wait(&q, 0), &item.link); /* past deadlines take, too */
    th_queue_deinit(&q);
}

static void waiting_ends_at_the_deadline(void **state)
{
    struct th_queue q;
    th_queue_init(&q);
    th_time deadline = in(20 * TH_MILLISECOND);
    assert_null(th_queue_wait(&q, deadline));
    th_time late = th_monotonic() - deadline;
    assert_true(late >= 0 && late < 5 * TH_SECOND);
    assert_null(th_queue_wait(&q, 0));
    assert_null(th_queue_wait(&q, -1));
    assert_null(th_queue_wait(&q, TH_TIME_NONE + 1));
    th_queue_deinit(&q);
}

static void a_wake_is_kept_for_the_next_wait_and_counts_once(void **state)
{
    struct th_queue q;
    th_queue_init(&q);
    th_queue_wake(&q);
    th_queue_wake(&q);
    assert_null(th_queue_take(&q)); /* does not use it up */
    assert_null(th_queue_wait(&q, TH_TIME_NONE));
    th_time deadline = in(5 * TH_MILLISECOND);
    assert_null(th_queue_wait(&q, deadline));
    assert_true(th_monotonic() >= deadline);

    struct item item = {.number = 1};
    th_queue_push(&q, &item.link);
    th_queue_wake(&q);
    assert_ptr_equal(th_queue_wait(&q, TH_TIME_NONE), &item.link); /* one return for both */
    deadline = in(5 * TH_MILLISECOND);
    assert_null(th_queue_wait(&q, deadline));
    assert_true(th_monotonic() >= deadline);
    th_queue_deinit(&q);
}

static void *wake_later(void *argument)
{
    usleep(10000);
    th_queue_wake(argument);
    return NULL;
}

static void a_wake_ends_a_sleep(void **state)
{
    struct th_queue q;
    th_queue_init(&q);
    pthread_t thread;
    pthread_create(&thread, NULL, wake_later, &q);
    th_time deadline = in(30 * TH_SECOND);
    assert_null(th_queue_wait(&q, deadline));
    assert_true(th_monotonic() < deadline);
    pthread_join(thread, NULL);
    pthread_create(&thread, NULL, wake_later, &q);
    assert_null(th_queue_wait(&q, TH_TIME_NONE));
    pthread_join(thread, NULL);
    th_queue_deinit(&q);
}

struct producer {
    struct th_queue *queue;
    struct item *items;
    int count;
};

static void *produce(void *argument)
{
    struct producer *p = argument;
    for (int i = 0; i < p->count; i++) {
        th_queue_push(p->queue, &p->items[i].link);
        if (i % 1024 == 0) {
            usleep(50); /* lets the consumer fall asleep now and then */
        }
    }
    return NULL;
}

static void four_producers_lose_nothing(void **state)
{
    enum { PRODUCERS = 4, EACH = 50000 };
    struct th_queue q;
    th_queue_init(&q);
    struct item *items = calloc(PRODUCERS * EACH, sizeof(*items));
    struct producer producers[PRODUCERS];
    pthread_t threads[PRODUCERS];
    for (int p = 0; p < PRODUCERS; p++) {
        producers[p] = (struct producer){&q, items + p * EACH, EACH};
        for (int i = 0; i < EACH; i++) {
            items[p * EACH + i].producer = p;
            items[p * EACH + i].number = i;
        }
        pthread_create(&threads[p], NULL, produce, &producers[p]);
    }
    int next[PRODUCERS] = {0};
    int count = 0;
    bool in_order = true;
    th_time deadline = in(60 * TH_SECOND);
    while (count < PRODUCERS * EACH && th_monotonic() < deadline) {
        /* Without a deadline in every second round: a lost wake-up would hang there. */
        th_time until = count % 2 ? TH_TIME_NONE : deadline;
        for (struct th_link *l = th_queue_wait(&q, until), *after; l; l = after) {
            after = l->next;
            in_order = in_order && item_of(l)->number == next[item_of(l)->producer]++;
            count++;
        }
    }
    for (int p = 0; p < PRODUCERS; p++) {
        pthread_join(threads[p], NULL);
    }
    assert_true(in_order);
    assert_int_equal(count, PRODUCERS * EACH);
    assert_null(th_queue_take(&q));
    th_queue_deinit(&q);
    free(items);
}

struct table {
    struct th_queue there;
    struct th_queue back;
};

static void *play(void *argument)
{
    struct table *table = argument;
    for (;;) {
        struct th_link *ball = th_queue_wait(&table->there, TH_TIME_NONE);
        if (!ball) { /* woken: the game is over */
            return NULL;
        }
        th_queue_push(&table->back, ball);
    }
}

/* Each side sleeps after each stroke: one lost wake-up among 20000 stops the game. */
static void no_wake_up_is_lost(void **state)
{
    struct table table;
    th_queue_init(&table.there);
    th_queue_init(&table.back);
    pthread_t thread;
    pthread_create(&thread, NULL, play, &table);
    struct item ball = {.number = 1};
    int strokes = 0;
    struct th_link *returned = &ball.link;
    while (strokes < 20000 && returned) {
        th_queue_push(&table.there, &ball.link);
        returned = th_queue_wait(&table.back, in(30 * TH_SECOND));
        strokes++;
    }
    th_queue_wake(&table.there);
    pthread_join(thread, NULL);
    assert_int_equal(strokes, 20000);
    assert_ptr_equal(returned, &ball.link);
    th_queue_deinit(&table.there);
    th_queue_deinit(&table.back);
}

struct shared_queue {
    struct th_queue queue;
    struct item item;
};

static void *push_last(void *argument)
{
    struct shared_queue *s = argument;
    th_queue_push(&s->queue, &s->item.link);
    return NULL;
}

/* Who has taken the last item may end the queue, although its pusher has not yet returned. */
static void the_consumer_may_end_the_queue_at_once(void **state)
{
    for (int i = 0; i < 2000; i++) {
        struct shared_queue *s = calloc(1, sizeof(*s));
        th_queue_init(&s->queue);
        pthread_t thread;
        pthread_create(&thread, NULL, push_last, s);
        struct th_link *item = th_queue_wait(&s->queue, TH_TIME_NONE);
        bool right = item == &s->item.link;
        th_queue_deinit(&s->queue);
        free(s);
        pthread_join(thread, NULL);
        assert_true(right);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_come_in_order_and_all_at_once),
        cmocka_unit_test(waiting_does_not_sleep_when_there_is_something),
        cmocka_unit_test(waiting_ends_at_the_deadline),
        cmocka_unit_test(a_wake_is_kept_for_the_next_wait_and_counts_once),
        cmocka_unit_test(a_wake_ends_a_sleep),
        cmocka_unit_test(four_producers_lose_nothing),
        cmocka_unit_test(no_wake_up_is_lost),
        cmocka_unit_test(the_consumer_may_end_the_queue_at_once),
    };
    return cmocka_run_group_tests_name("base_queue", tests, NULL, NULL);
}
