/* Cases about inboxes. */
#include "contract/conformance.h"

static void open_inbox(struct fixture *f, uint32_t partition, int64_t from)
{
    f->provider->ops->inbox_open(f->provider, partition, from);
}

static bool offsets_grow(struct fixture *f, size_t from)
{
    for (size_t i = from + 1; i < f->delivery_count; i++) {
        REQUIRE(f, f->deliveries[i].offset > f->deliveries[i - 1].offset);
    }
    return true;
}

/* The messages of `label` from `source` among the deliveries are 0, 1, 2, … `count` - 1. */
static bool in_order(struct fixture *f, uint32_t source, const char *label, size_t count)
{
    size_t next = 0;
    const char *prefix = text_of(f, "s%u %s ", source, label);
    for (size_t i = 0; i < f->delivery_count; i++) {
        if (th_str_starts(th_blob_view(f->deliveries[i].blob), th_str_of(prefix))) {
            REQUIRE(f, blob_is(f->deliveries[i].blob, text_of(f, "%s%zu", prefix, next)));
            next++;
        }
    }
    REQUIRE(f, next == count);
    return true;
}

void case_send_deliver(struct fixture *f)
{
    enum { COUNT = 25 };
    open_inbox(f, 1, 0);
    for (unsigned i = 0; i < COUNT; i++) {
        for (uint32_t source = 0; source < PARTITIONS; source++) {
            ask_send(f, source, 1, text_of(f, "s%u m %u", source, i));
        }
    }
    EXPECT(f, wait_all(f) && wait_deliveries(f, COUNT * PARTITIONS) && settle(f));
    EXPECT(f, f->delivery_count == COUNT * PARTITIONS);
    EXPECT(f, offsets_grow(f, 0));
    for (uint32_t source = 0; source < PARTITIONS; source++) {
        EXPECT(f, in_order(f, source, "m", COUNT));
    }
    for (size_t i = 0; i < f->asked_count; i++) {
        EXPECT(f, f->asked[i]->completion.error.code == TH_OK);
    }
}

void case_send_before_open(struct fixture *f)
{
    EXPECT(f, sent(f, 0, 1, "early", 10) && settle(f));
    EXPECT(f, f->delivery_count == 0); /* nobody has opened it */
    open_inbox(f, 1, 0);
    EXPECT(f, wait_deliveries(f, 10));
    EXPECT(f, sent(f, 0, 1, "late", 5) && wait_deliveries(f, 15) && settle(f));
    EXPECT(f, f->delivery_count == 15 && offsets_grow(f, 0));
    EXPECT(f, in_order(f, 0, "early", 10) && in_order(f, 0, "late", 5));
    EXPECT(f, blob_is(f->deliveries[10].blob, "s0 late 0"));
}

void case_inbox_reopen(struct fixture *f)
{
    open_inbox(f, 1, 0);
    EXPECT(f, sent(f, 0, 1, "m", 10) && wait_deliveries(f, 10));
    int64_t offset = f->deliveries[6].offset;
    open_inbox(f, 1, offset); /* from there, whatever was delivered before */
    EXPECT(f, wait_deliveries(f, 14) && settle(f));
    EXPECT(f, f->delivery_count == 14);
    for (size_t i = 0; i < 4; i++) {
        EXPECT(f, f->deliveries[10 + i].offset == f->deliveries[6 + i].offset);
        EXPECT(f, blob_is(f->deliveries[10 + i].blob, text_of(f, "s0 m %zu", 6 + i)));
    }
    int64_t end = f->deliveries[13].offset + 1;
    open_inbox(f, 1, end); /* at the end: only what comes */
    EXPECT(f, sent(f, 0, 1, "n", 1) && wait_deliveries(f, 15) && settle(f));
    EXPECT(f, f->delivery_count == 15 && blob_is(f->deliveries[14].blob, "s0 n 0"));
}

void case_inbox_close_stops(struct fixture *f)
{
    open_inbox(f, 1, 0);
    EXPECT(f, sent(f, 0, 1, "m", 50) && wait_deliveries(f, 1));
    f->provider->ops->inbox_close(f->provider, 1);
    size_t before = f->delivery_count;
    EXPECT(f, sent(f, 0, 1, "n", 10) && settle(f));
    EXPECT(f, f->delivery_count == before);
    open_inbox(f, 1, f->deliveries[before - 1].offset + 1); /* where it stopped */
    EXPECT(f, wait_deliveries(f, 60) && settle(f));
    EXPECT(f, f->delivery_count == 60 && offsets_grow(f, 0));
    EXPECT(f, in_order(f, 0, "m", 50) && in_order(f, 0, "n", 10));
}

void case_inbox_partitions(struct fixture *f)
{
    open_inbox(f, 1, 0);
    open_inbox(f, 2, 0);
    EXPECT(f, sent(f, 0, 1, "one", 5) && sent(f, 0, 2, "two", 5) && sent(f, 0, 3, "three", 5));
    EXPECT(f, wait_deliveries(f, 10) && settle(f));
    EXPECT(f, f->delivery_count == 10);
    for (size_t i = 0; i < f->delivery_count; i++) {
        const struct th_completion *d = &f->deliveries[i];
        const char *prefix = d->partition == 1 ? "s0 one" : "s0 two";
        EXPECT(f, d->partition == 1 || d->partition == 2);
        EXPECT(f, th_str_starts(th_blob_view(d->blob), th_str_of(prefix)));
    }
    f->provider->ops->inbox_close(f->provider, 1); /* the other stays open */
    EXPECT(f, sent(f, 0, 1, "one", 1) && sent(f, 0, 2, "two", 1));
    EXPECT(f, wait_deliveries(f, 11) && settle(f));
    EXPECT(f, f->delivery_count == 11 && f->deliveries[10].partition == 2);
}

void case_trim_inbox(struct fixture *f)
{
    open_inbox(f, 1, 0);
    EXPECT(f, sent(f, 0, 1, "m", 20) && wait_deliveries(f, 20));
    int64_t bound = f->deliveries[15].offset;
    f->provider->ops->trim_inbox(f->provider, 1, bound);
    EXPECT(f, settle(f) && reopen(f));
    open_inbox(f, 1, 0);
    EXPECT(f, wait_deliveries(f, 5) && settle(f));
    size_t n = f->delivery_count;
    EXPECT(f, n >= 5 && offsets_grow(f, 0));
    EXPECT(f, f->deliveries[n - 5].offset == bound);
    EXPECT(f, blob_is(f->deliveries[n - 5].blob, "s0 m 15"));
    EXPECT(f, blob_is(f->deliveries[n - 1].blob, "s0 m 19"));

    int64_t end = f->deliveries[n - 1].offset + 1;
    f->provider->ops->trim_inbox(f->provider, 1, end);
    EXPECT(f, settle(f) && reopen(f));
    open_inbox(f, 1, end);
    EXPECT(f, sent(f, 0, 1, "n", 1) && wait_deliveries(f, 1));
    EXPECT(f, f->deliveries[0].offset >= end); /* offsets never go back */
}

void case_reopen_keeps_inbox(struct fixture *f)
{
    EXPECT(f, sent(f, 0, 1, "m", 30) && sent(f, 2, 1, "m", 30));
    EXPECT(f, reopen(f));
    open_inbox(f, 1, 0);
    EXPECT(f, wait_deliveries(f, 60) && settle(f));
    EXPECT(f, f->delivery_count == 60 && offsets_grow(f, 0));
    EXPECT(f, in_order(f, 0, "m", 30) && in_order(f, 2, "m", 30));
    int64_t end = f->deliveries[59].offset + 1;
    EXPECT(f, sent(f, 0, 1, "n", 1) && wait_deliveries(f, 61));
    EXPECT(f, f->deliveries[60].offset >= end);
}
