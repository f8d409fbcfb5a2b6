/*
 * contract: what the hub's node needs from storage and transport. One implementation per folder:
 * sqlite/ (embedded), simulated/ (tests), fleet/ (Kafka and Redis), faulty/ (wraps any of them).
 * All pass one conformance suite (tests/contract). The fleet's is made of two halves, kafka/ and
 * redis/: each is a th_provider whose operations for the other half are NULL.
 *
 * The pieces, per partition p (architecture sections 1 and 3):
 *   log L[p]    append-only records, each with an offset; the lock of the partition
 *   inbox I[p]  messages for instances, each with an offset
 *   projection  rows of instances for cold loads and queries, at a watermark
 *
 * Shape: submissions go in, completions come out.
 *   - Every submission function is called on the node's thread only, never blocks on I/O, copies
 *     or references what it needs (blobs are referenced), and always leads to exactly one
 *     completion carrying the caller's `tag`, unless it says otherwise.
 *   - th_provider_poll hands out completions on the node's thread. The provider calls the wake-up
 *     hook from any thread when poll has something new after being empty.
 *   - Order: appends of one partition are written, and completed, in submission order; so are
 *     sends of one source partition to one destination; deliveries of an inbox are in offset
 *     order. Nothing else is ordered, except where `ordered` below says more.
 *   - After a failed append of an epoch, every later append of that epoch fails too: a suffix may
 *     be lost, never a middle.
 *   - After a failed send, later sends from that source to that destination fail too, until poll
 *     has shown the failure; whoever resends begins with the first that failed. Otherwise the
 *     receiver would take a later message and then drop the earlier one as old (I3).
 *   - Ordered providers (see traits): after a failure everything submitted fails until poll has
 *     shown it, because it may follow from what failed; appends fail until the next claim.
 *   - A send's `source` at or above the number of partitions means a client. What a partition sends
 *     may land more than once, the receiver tells by its origin; what a client sends lands once, or
 *     at most once when it failed.
 *   - A shared provider's log can lose its end (architecture 3.3). When its connection to a log was
 *     cut and is there again, it says so with TH_DONE_DOUBT, in front of every acknowledgement that
 *     came over the new one: the owner reads back what it last wrote before it believes more.
 *   - An error is a th_code and a sentence in the completion. Codes: UNAVAILABLE (try again),
 *     IO (this storage is broken: disk full, …), TOO_LARGE, CORRUPT, FENCED, NOT_FOUND, and INVALID
 *     for a bad token, limit or partition.
 */
#pragma once

#include "base/buffer.h"
#include "base/error.h"
#include "model/message.h"

struct th_provider;

/* What this provider is, fixed at opening. */
struct th_provider_traits {
    const char *name;         /* "sqlite" */
    size_t max_record_bytes;  /* larger records are written in parts; 0: no limit */
    size_t max_message_bytes; /* larger messages fail as TOO_LARGE; 0: no limit */
    bool durable_projection;  /* a projected row is as durable as the log: the log below the
                                 watermark is not needed to rebuild instances */
    bool ordered;             /* all submissions take effect in submission order, each durable
                                 no later than the next */
    bool shared; /* other processes work on the hub, too: messages, rows and answers come from and
                    go to them. False: the operations "among processes" are NULL */
};

/* What a hub is. `incarnation` is random per creation: a re-created hub has another. */
struct th_hub_record {
    char name[64];
    uint64_t incarnation;
    uint32_t partitions;
    th_time created;
};

/* ---- rows --------------------------------------------------------------------------------- */

/*
 * One instance's row. Columns are what queries filter by; `info` is the encoded
 * th_instance_info (partition/record.h) without input and output, which are large and read only
 * when asked for; `state` is what the partition core needs to take the instance up again.
 * `last` is the log sequence of the record it reflects: folding skips what is at or below. `full`
 * is that of the last record which by itself holds the instance as it then was; a provider with a
 * durable projection need not keep it.
 */
struct th_row {
    struct th_str instance_id;
    uint64_t last, full;
    bool stored;  /* PROJECT of a shared provider: there is a row of it, or an earlier one in the
                     batch; if not, it was lost, and the batch is refused as CORRUPT */
    bool deleted; /* purged: drop row and history */
    enum th_status status;
    th_time created, updated, completed; /* completed: TH_TIME_NONE while it runs */
    struct th_str name;
    struct th_blob *info;
    struct th_blob *state;
    struct th_blob *input;          /* NULL: absent */
    struct th_blob *output;         /* NULL: absent */
    bool replace_history;           /* drop the stored chunks before adding these */
    struct th_blob *const *history; /* chunks to add (model/codec.h events), in order */
    size_t history_count;
    struct th_blob *news; /* PROJECT of a shared provider: told to whoever watches the partition, as
                             soon as the row is stored and not before; NULL: nothing */
};

/* Where the projection of a log stands: every valid record below `sequence` is in it. Opaque to
 * providers but for equality (th_watermark_equal: offset, epoch, sequence, batch); `batch` grows
 * with every batch of a shared provider, so that no two states of the projection have the same
 * watermark. A provider with a durable projection need keep the first three only. */
struct th_watermark {
    int64_t offset; /* of the last record that had been acknowledged; -1: nothing yet */
    uint64_t epoch; /* of the owner that wrote it */
    uint64_t sequence;
    uint64_t batch;   /* how many led here */
    int64_t floor;    /* offset of a checkpoint from which, with these rows, the log can be folded;
                         -1: from its start */
    int64_t position; /* every inbox offset below is consumed by records below `sequence` */
    int64_t settled;  /* log offset: nothing up to it is missing in the rows; -1: nothing yet */
    uint64_t rows;    /* how many there are; a batch that finds others is refused as CORRUPT */
    bool building;    /* they are being made again from the log: what is not there may exist */
};

struct th_projection {
    uint32_t partition;
    struct th_watermark previous, next; /* refused as FENCED unless `previous` is what is stored,
                                           with `clear`, too; of a shared provider as CORRUPT unless
                                           there are `next.rows` rows afterwards */
    bool clear;                /* drop every row first: what is stored is not to be believed */
    const struct th_row *rows; /* consumed during the call: copy or reference */
    size_t count;              /* 0: only the watermark moves */
};

/* What a query asks. All given conditions must hold. Sorted by (created, instance id). */
struct th_query {
    uint32_t statuses;                    /* bits TH_STATUS_BIT; 0: any */
    th_time from, to;                     /* created in [from, to); TH_TIME_NONE: open */
    th_time completed_from, completed_to; /* the same for the end */
    struct th_str id_prefix;              /* absent: any */
    struct th_str name;                   /* absent: any; without regard to case */
    uint32_t limit;                       /* rows per page, 1-1000 */
    size_t bytes;               /* of a page's rows, unless it is a single one; 0: 16 MiB */
    struct th_str continuation; /* of the previous page; absent: the first */
    bool payloads;              /* fill input and output */
};

/* ---- completions ---------------------------------------------------------------------------- */

enum th_completion_kind {
    TH_DONE_CLAIM,   /* offset = epoch of the claim */
    TH_DONE_READ,    /* records; `offset` = where to go on; `last` when at the requested end */
    TH_DONE_APPEND,  /* offset of the record */
    TH_DONE_SEND,    /* the message is durable in the destination's inbox, at offset (0: unknown) */
    TH_DONE_DELIVER, /* spontaneous: blob = message at offset; error, no blob: it is unreadable */
    TH_DONE_PROJECT,
    TH_DONE_LOAD,  /* row (absent instance: code NOT_FOUND) */
    TH_DONE_QUERY, /* rows, continuation */
    TH_DONE_STATE, /* watermark and ends of a partition; when only the projection does not answer,
                      an error and the ends */
    TH_DONE_WALK,  /* rows with history, watermark */
    /* spontaneous, of shared providers: */
    TH_DONE_DOUBT, /* the log of this partition may have lost its end, see above */
    TH_DONE_REPLY, /* blob: what another process sent with `reply` */
    TH_DONE_NEWS,  /* blob: the news of a row; without: some may have been missed */
};

struct th_log_record {
    int64_t offset;
    struct th_blob *bytes;
};

struct th_completion {
    enum th_completion_kind kind;
    uint32_t partition;
    uint64_t tag;
    struct th_error error; /* code TH_OK: done */
    int64_t offset;
    bool last;
    struct th_blob *blob;
    struct th_log_record *records;
    size_t record_count;
    struct th_row *rows; /* LOAD: one, with history if asked; QUERY: without history */
    size_t row_count;
    char *continuation;            /* NULL: no further page */
    struct th_watermark watermark; /* LOAD (also when NOT_FOUND), STATE, WALK: of one state with the
                                      rows. A shared provider answers them, and QUERY, with CORRUPT
                                      when it notices that rows or parts of them are missing */
    struct th_watermark *watermarks; /* QUERY of a shared provider: of each partition, no newer
                                        than the rows */
    uint64_t stored_rows;            /* STATE, WALK of a shared provider: how many rows there really
                                         are; UINT64_MAX: they contradict each other */
    int64_t log_start, log_end;      /* STATE: first retained offset, offset of the next append */
    int64_t inbox_start, inbox_end;  /* … and after the last durable message */
};

/* Frees what a completion holds (its blobs' references included) and clears it. */
void th_completion_deinit(struct th_completion *completion);

/* ---- the table ------------------------------------------------------------------------------- */

/* The `source` of a message that comes from no partition. */
#define TH_SEND_FROM_CLIENT UINT32_MAX
/* The `destination` of work for whichever process takes it: the activity messages of a shared
 * provider. */
#define TH_SEND_ACTIVITIES (UINT32_MAX - 1)
/* The same, to the process that consumes this partition of them, where they have partitions. */
#define TH_SEND_ACTIVITY_PARTITION(n) (UINT32_C(1) << 31 | (n))

struct th_provider_ops {
    struct th_provider_traits (*traits)(struct th_provider *);

    /* Appends `record` (an encoded claim) to L[p] whoever owns it now; its offset is the epoch.
     * From then on appends of older epochs may still land; readers ignore them. */
    void (*claim)(struct th_provider *, uint32_t partition, struct th_blob *record, uint64_t tag);

    /* Reads L[p] from `from` (below the start: from the start) up to but not including `to`, in
     * one or more completions; the next one is asked for with another read. */
    void (*read)(struct th_provider *, uint32_t partition, int64_t from, int64_t to, uint64_t tag);

    /* Appends to L[p]. `epoch` is the claim under which the caller writes; a provider that can
     * tell refuses a fenced one, others append and leave it to the readers. */
    void (*append)(struct th_provider *, uint32_t partition, uint64_t epoch, struct th_blob *record,
                   uint64_t tag);

    /* Puts a message into I[destination]. */
    void (*send)(struct th_provider *, uint32_t source, uint32_t destination,
                 struct th_blob *message, uint64_t tag);

    /* Starts deliveries of I[p] from `from`; they stop at inbox_close or on the next inbox_open.
     * No completion of their own. After inbox_close returns nothing of it is delivered. */
    void (*inbox_open)(struct th_provider *, uint32_t partition, int64_t from);
    void (*inbox_close)(struct th_provider *, uint32_t partition);

    void (*project)(struct th_provider *, const struct th_projection *batch, uint64_t tag);
    /* `history`: with the stored chunks; without, only the columns (cheap for long histories). */
    void (*load)(struct th_provider *, uint32_t partition, struct th_str instance_id, bool history,
                 uint64_t tag);
    void (*query)(struct th_provider *, const struct th_query *query, uint64_t tag);
    void (*state)(struct th_provider *, uint32_t partition, uint64_t tag);

    /* Drops what lies below an offset. No completion; may be done late or not at all. */
    void (*trim_log)(struct th_provider *, uint32_t partition, int64_t below);
    void (*trim_inbox)(struct th_provider *, uint32_t partition, int64_t below);

    /* ---- among processes: shared providers only ---- */

    /* Rows whose `full` is below, at least one and at most `limit`, in any order; about 4 MB. */
    void (*walk)(struct th_provider *, uint32_t partition, uint64_t full_below, uint32_t limit,
                 uint64_t tag);
    /* Brings a message to the process with this address, or to nobody. No completion. */
    void (*reply)(struct th_provider *, const char *address, struct th_blob *message);
    /* Whether this process wants the news of a partition. A TH_DONE_NEWS without blob follows when
     * it will get them, and whenever it may have missed some. */
    void (*watch)(struct th_provider *, uint32_t partition, bool wanted);

    /* Up to `max` completions, oldest first; 0 when there are none. The caller deinits each. */
    size_t (*poll)(struct th_provider *, struct th_completion *out, size_t max);

    /* Completes or drops what is under way and frees. Blocks. */
    void (*close)(struct th_provider *);
};

struct th_provider {
    const struct th_provider_ops *ops;
    struct th_hub_record hub;
    char address[64];             /* shared: where replies for this process are sent; no spaces */
    void (*wake)(void *argument); /* set by the node's owner before the first submission */
    void *wake_argument;
};
