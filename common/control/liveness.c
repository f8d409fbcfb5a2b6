#include "control/liveness.h"

#include <stdlib.h>
#include <uthash.h>
#include <utlist.h>

#include "base/memory.h"

/* Everybody who has a record in the topic. */
struct entry {
    UT_hash_handle hh;
    char *key;
    struct th_member *member; /* NULL: gone */
    struct th_member *last;   /* what it had said */
    th_time heard;            /* by the clock below */
    bool told;                /* as a ghost */
};

struct queued {
    struct queued *prev, *next;
    struct th_change change;
};

struct th_liveness {
    th_time patience, stride;
    th_time newest; /* the broker's time of the newest record */
    th_time clock;  /* what of it counts */
    bool begun;
    struct entry *entries;
    struct queued *changes;
};

void th_change_deinit(struct th_change *change)
{
    th_member_unref(change->before);
    th_member_unref(change->now);
    *change = (struct th_change){0};
}

struct th_liveness *th_liveness_new(th_time patience, th_time stride)
{
    struct th_liveness *l = TH_NEW(struct th_liveness);
    l->patience = patience;
    l->stride = stride;
    l->newest = TH_TIME_NONE;
    return l;
}

static void entry_free(struct th_liveness *l, struct entry *entry)
{
    HASH_DELETE(hh, l->entries, entry);
    th_member_unref(entry->member);
    th_member_unref(entry->last);
    free(entry->key);
    free(entry);
}

void th_liveness_free(struct th_liveness *l)
{
    struct entry *entry, *next;
    struct queued *change, *after;
    if (!l) {
        return;
    }
    HASH_ITER(hh, l->entries, entry, next) {
        entry_free(l, entry);
    }
    DL_FOREACH_SAFE(l->changes, change, after) {
        th_change_deinit(&change->change);
        free(change);
    }
    free(l);
}

/* ---- changes ---- */

/* Takes over `before`; `now` is referenced. */
static void tell(struct th_liveness *l, enum th_change_kind kind, struct th_member *before,
                 struct th_member *now, bool farewell)
{
    struct queued *queued;
    if (!l->begun) {
        th_member_unref(before);
        return;
    }
    queued = TH_NEW(struct queued);
    queued->change = (struct th_change){kind, farewell, before, now ? th_member_ref(now) : NULL};
    DL_APPEND(l->changes, queued);
}

bool th_liveness_next(struct th_liveness *l, struct th_change *out)
{
    struct queued *first = l->changes;
    if (!first) {
        return false;
    }
    DL_DELETE(l->changes, first);
    *out = first->change;
    free(first);
    return true;
}

void th_liveness_begin(struct th_liveness *l)
{
    struct entry *entry, *next;
    l->begun = true;
    HASH_ITER(hh, l->entries, entry, next) {
        if (entry->member) {
            tell(l, TH_MEMBER_JOINED, NULL, entry->member, false);
        }
    }
}

/* ---- records ---- */

static void end(struct th_liveness *l, struct entry *entry, bool farewell)
{
    tell(l, TH_MEMBER_GONE, th_member_ref(entry->member), NULL, farewell);
    th_member_unref(entry->last);
    entry->last = entry->member;
    entry->member = NULL;
}

static void end_silent(struct th_liveness *l)
{
    struct entry *entry, *next;
    HASH_ITER(hh, l->entries, entry, next) {
        if (entry->member && l->clock - entry->heard >= l->patience) {
            end(l, entry, false);
        }
    }
}

/* The brokers' times may fall, when another one leads that has another clock. */
static void pass_time(struct th_liveness *l, th_time at)
{
    if (l->newest != TH_TIME_NONE && at > l->newest) {
        th_time passed = at - l->newest;
        l->clock += passed < l->stride ? passed : l->stride;
    }
    if (l->newest == TH_TIME_NONE || at > l->newest) {
        l->newest = at;
    }
}

static struct entry *entry_of(struct th_liveness *l, struct th_str key)
{
    struct entry *entry;
    HASH_FIND(hh, l->entries, key.data, key.len, entry);
    if (!entry) {
        entry = TH_NEW(struct entry);
        entry->key = th_str_dup(key);
        HASH_ADD_KEYPTR(hh, l->entries, entry->key, key.len, entry);
    }
    return entry;
}

static void speak(struct th_liveness *l, struct th_str key, struct th_member *member)
{
    struct entry *entry = entry_of(l, key);
    tell(l, entry->member ? TH_MEMBER_CHANGED : TH_MEMBER_JOINED, entry->member, member, false);
    entry->member = member;
    entry->heard = l->clock;
    entry->told = false;
}

static void bid_farewell(struct th_liveness *l, struct th_str key, struct th_member *member)
{
    struct entry *entry = entry_of(l, key);
    if (entry->member) {
        end(l, entry, true);
    }
    th_member_unref(entry->last);
    entry->last = member;
    entry->heard = l->clock;
}

static void forget(struct th_liveness *l, struct th_str key)
{
    struct entry *entry;
    HASH_FIND(hh, l->entries, key.data, key.len, entry);
    if (!entry) {
        return;
    }
    if (entry->member) {
        end(l, entry, true);
    }
    entry_free(l, entry);
}

void th_liveness_record(struct th_liveness *l, struct th_str key, struct th_member *member,
                        th_time at)
{
    pass_time(l, at);
    if (!member) {
        forget(l, key);
    } else if (member->ended) {
        bid_farewell(l, key, member);
    } else {
        member->heard = at;
        speak(l, key, member);
    }
    end_silent(l);
}

/* ---- looking ---- */

bool th_liveness_alive(const struct th_liveness *l, struct th_str name)
{
    const struct entry *entry;
    for (entry = l->entries; entry; entry = entry->hh.next) {
        if (entry->member && th_str_eq(entry->member->name, name)) {
            return true;
        }
    }
    return false;
}

struct th_member *th_liveness_last_words(const struct th_liveness *l, struct th_str name)
{
    const struct entry *entry;
    for (entry = l->entries; entry; entry = entry->hh.next) {
        if (!entry->member && entry->last && th_str_eq(entry->last->name, name)) {
            return th_member_ref(entry->last);
        }
    }
    return NULL;
}

static int by_kind_and_name(const void *a, const void *b)
{
    const struct th_member *x = *(struct th_member *const *)a;
    const struct th_member *y = *(struct th_member *const *)b;
    return x->kind != y->kind ? (x->kind > y->kind) - (x->kind < y->kind)
                              : th_str_cmp(x->name, y->name);
}

struct th_member **th_liveness_members(const struct th_liveness *l, size_t *count)
{
    struct th_member **members = th_alloc((HASH_COUNT(l->entries) + 1) * sizeof(*members));
    *count = 0;
    for (const struct entry *entry = l->entries; entry; entry = entry->hh.next) {
        if (entry->member) {
            members[(*count)++] = th_member_ref(entry->member);
        }
    }
    qsort(members, *count, sizeof(*members), by_kind_and_name);
    return members;
}

th_time th_liveness_now(const struct th_liveness *l)
{
    return l->newest;
}

struct th_str th_liveness_ghost(struct th_liveness *l, th_time since)
{
    for (struct entry *entry = l->entries; entry; entry = entry->hh.next) {
        if (!entry->member && !entry->told && l->clock - entry->heard >= since) {
            entry->told = true;
            return th_str_of(entry->key);
        }
    }
    return TH_STR_ABSENT;
}
