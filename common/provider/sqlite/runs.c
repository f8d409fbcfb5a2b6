/* runs: see internal.h. A queue in an array: runs are added behind and dropped in front. */
#include <stdlib.h>

#include "base/memory.h"
#include "provider/sqlite/internal.h"

size_t th_sqlite_runs_count(const struct th_sqlite_runs *runs)
{
    return runs->end - runs->first;
}

/* Moves what is left to the front once that is the smaller half: each run moves at most once for
 * each that was dropped. */
static void compact(struct th_sqlite_runs *runs)
{
    size_t count = th_sqlite_runs_count(runs);
    if (runs->end == runs->capacity && runs->first > count) {
        memmove(runs->items, runs->items + runs->first, count * sizeof(*runs->items));
        runs->first = 0;
        runs->end = count;
    }
}

void th_sqlite_runs_add(struct th_sqlite_runs *runs, int64_t first, int64_t row)
{
    compact(runs);
    runs->items = th_grow(runs->items, &runs->capacity, runs->end + 1, sizeof(*runs->items));
    runs->items[runs->end++] = (struct th_sqlite_run){first, row};
}

size_t th_sqlite_runs_below(const struct th_sqlite_runs *runs, int64_t start)
{
    size_t i = runs->first;
    while (i + 1 < runs->end && runs->items[i + 1].first <= start) {
        i++;
    }
    return i - runs->first;
}

/* Index of the run that holds `offset`, or of the first one. */
static size_t find(const struct th_sqlite_runs *runs, int64_t offset)
{
    size_t low = runs->first;
    size_t high = runs->end;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (runs->items[middle].first <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

size_t th_sqlite_runs_copy(const struct th_sqlite_runs *runs, int64_t from, int64_t to, size_t max,
                           struct th_sqlite_run **out)
{
    size_t first = find(runs, from);
    size_t end = first;
    while (end < runs->end && end - first < max && runs->items[end].first < to) {
        end++;
    }
    *out = th_memdup(runs->items + first, (end - first) * sizeof(**out));
    return end - first;
}

void th_sqlite_runs_deinit(struct th_sqlite_runs *runs)
{
    free(runs->items);
}
