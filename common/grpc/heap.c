/* heap: timers in a binary heap, each of which knows its place, so it can be moved and taken out.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "grpc/internal.h"

static void place(struct th_grpc_heap *heap, size_t i, struct th_grpc_timer *timer)
{
    heap->items[i] = timer;
    timer->at = i + 1;
}

static void sift_up(struct th_grpc_heap *heap, size_t i, struct th_grpc_timer *timer)
{
    while (i > 0 && heap->items[(i - 1) / 2]->due > timer->due) {
        place(heap, i, heap->items[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(heap, i, timer);
}

static void sift_down(struct th_grpc_heap *heap, size_t i, struct th_grpc_timer *timer)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < heap->count && heap->items[child + 1]->due < heap->items[child]->due) {
            child++;
        }
        if (child >= heap->count || heap->items[child]->due >= timer->due) {
            place(heap, i, timer);
            return;
        }
        place(heap, i, heap->items[child]);
        i = child;
    }
}

static void settle(struct th_grpc_heap *heap, size_t i, struct th_grpc_timer *timer)
{
    if (i > 0 && heap->items[(i - 1) / 2]->due > timer->due) {
        sift_up(heap, i, timer);
    } else {
        sift_down(heap, i, timer);
    }
}

static void take_out(struct th_grpc_heap *heap, struct th_grpc_timer *timer)
{
    size_t i = timer->at - 1;
    struct th_grpc_timer *last = heap->items[--heap->count];
    timer->at = 0;
    if (last != timer) {
        settle(heap, i, last);
    }
}

void th_grpc_heap_set(struct th_grpc_heap *heap, struct th_grpc_timer *timer, th_time due)
{
    if (due == timer->due && (timer->at || due == TH_TIME_NONE)) {
        return;
    }
    if (due == TH_TIME_NONE) {
        if (timer->at) {
            take_out(heap, timer);
        }
        timer->due = due;
    } else if (timer->at) {
        timer->due = due;
        settle(heap, timer->at - 1, timer);
    } else {
        timer->due = due;
        heap->items = th_grow(heap->items, &heap->capacity, heap->count + 1, sizeof(*heap->items));
        sift_up(heap, heap->count++, timer);
    }
}

struct th_grpc_timer *th_grpc_heap_first(const struct th_grpc_heap *heap)
{
    return heap->count ? heap->items[0] : NULL;
}

void th_grpc_heap_deinit(struct th_grpc_heap *heap)
{
    free(heap->items);
    *heap = (struct th_grpc_heap){0};
}
