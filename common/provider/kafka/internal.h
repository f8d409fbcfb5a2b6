/*
 * internal: what the files of this folder share. Not for others.
 *
 *   property.c     which of librdkafka's properties we set, and which nobody else may
 *   client.c       one instance of librdkafka: opening, logs, errors, questions to the brokers
 *   topic.c        the rules for a hub's topics     record.c  the hub's record
 *   hub.c          creating, finding, listing and deleting hubs
 *   group.c        the consumer groups of a hub
 *   open.c         opening and closing a provider
 *   kafka.c        its table: submissions in, completions out
 *   item.c         a submission on its way to its completion
 *   lane.c         what keeps the order of submissions and the rules after a failure
 *   writer.c       a producer: produce, acknowledge, retire
 *   cut.c          connections that were cut and are there again
 *   stream.c       an open place in a partition
 *   reader.c       reads of logs                    inbox.c   deliveries of inboxes
 *   trim.c         what is dropped below an offset
 *   survey.c       how far a hub has come, for lag (survey.h)
 *   desk.c         threads for what blocks and for the passing of time
 *
 * Threads: everything belongs to the node's thread but the desk, and four things that are called on
 * librdkafka's: log lines, the events of queues (they only mark a queue and wake the node) and
 * changes of connections. librdkafka's callbacks for acknowledgements and errors run on the node's
 * thread, within poll: an acknowledgement goes from librdkafka's thread to the node's without a
 * third one between.
 */
#pragma once

#include "base/memory.h"
#include "base/queue.h"
#include "provider/kafka/client.h"
#include "provider/provider.h"

#define TH_KAFKA_MAX_PARTITIONS 1024

/* One payload of 16 MiB with what is put around it. A batch of one record costs Kafka 61 bytes and
 * the record about 30 (its protocol guide, "record batch"). */
#define TH_KAFKA_MESSAGE_BYTES  ((size_t)17 << 20)
#define TH_KAFKA_OVERHEAD       ((size_t)512)
#define TH_KAFKA_DEFAULT_RECORD ((size_t)900000)
/* librdkafka's message.max.bytes ends at 10^9. */
#define TH_KAFKA_LARGEST ((size_t)512 << 20)

/* Fetched ahead per partition, and at once. An inbox is often open and seldom far behind; a log is
 * read through as fast as it comes. */
enum {
    TH_KAFKA_LOG_AHEAD = 4096 << 10,
    TH_KAFKA_LOG_FETCH = 1 << 20,
    TH_KAFKA_INBOX_AHEAD = 1024 << 10,
    TH_KAFKA_INBOX_FETCH = 256 << 10,
};

static inline int th_kafka_milliseconds(th_time t)
{
    return (int)(t / TH_MILLISECOND);
}

/* ---- property.c ---- */

bool th_kafka_apply(rd_kafka_conf_t *conf, const struct th_kafka_property *properties, size_t count,
                    struct th_error *error);
bool th_kafka_refuse(const struct th_kafka_cluster *cluster, struct th_error *error);

/* ---- topic.c ---- */

/* What the brokers say about a hub's topics. */
struct th_kafka_topics {
    uint32_t partitions[TH_KAFKA_TOPIC_COUNT]; /* 0: no such topic */
    uint32_t leaderless;                       /* partitions of them */
    size_t max_message_bytes[TH_KAFKA_TOPIC_COUNT];
    int brokers; /* of the cluster */
};

/* A blocking talk with a cluster: a client and a queue for its answers. */
struct th_kafka_talk {
    struct th_kafka_client client;
    rd_kafka_queue_t *queue;
};
bool th_kafka_talk_open(struct th_kafka_talk *talk, const struct th_kafka_cluster *cluster,
                        struct th_error *error);
void th_kafka_talk_close(struct th_kafka_talk *talk);
#define TH_KAFKA_TALK __attribute__((cleanup(th_kafka_talk_close))) struct th_kafka_talk

/* All topics of the cluster: a question for one by name might create it. The caller destroys *out.
 */
bool th_kafka_metadata(struct th_kafka_talk *talk, const rd_kafka_metadata_t **out,
                       struct th_error *error);
bool th_kafka_topics_count(struct th_kafka_talk *talk, const char *hub, struct th_kafka_topics *out,
                           struct th_error *error);
bool th_kafka_topics_any(const struct th_kafka_topics *topics); /* at least one is there */
bool th_kafka_topics_all(const struct th_kafka_topics *topics);
/* Counts until all are there and led, or none is. UNAVAILABLE when that takes too long. */
bool th_kafka_topics_await(struct th_kafka_talk *talk, const char *hub, bool there,
                           th_time patience, struct th_kafka_topics *out, struct th_error *error);
/* Those of which `out` counts no partition; then waits until all are led. */
bool th_kafka_topics_create(struct th_kafka_talk *talk, const struct th_kafka_hub_options *options,
                            struct th_kafka_topics *out, struct th_error *error);
/* Partition counts and settings; fills the sizes. */
bool th_kafka_topics_check(struct th_kafka_talk *talk, const char *hub, uint32_t partitions,
                           uint32_t activity_partitions, struct th_kafka_topics *topics,
                           struct th_error *error);
bool th_kafka_topics_delete(struct th_kafka_talk *talk, const char *hub,
                            const struct th_kafka_topics *topics, struct th_error *error);

/* ---- group.c ---- */

/* Those of the workers and what they have committed. UNAVAILABLE: workers serve the hub. */
bool th_kafka_groups_delete(struct th_kafka_talk *talk, const char *hub, struct th_error *error);

/* ---- record.c ---- */

/* The hub's record in its control topic; NOT_FOUND when there is none. */
bool th_kafka_record_read(struct th_kafka_talk *talk, const char *hub, struct th_kafka_hub *out,
                          struct th_error *error);
/* Proposes a record; th_kafka_record_read then tells which one is in force. */
bool th_kafka_record_write(struct th_kafka_talk *talk, const struct th_kafka_hub *hub,
                           struct th_error *error);

/* ---- item.c: a submission on its way to its completion ---- */

struct th_kafka_lane;

/*
 * An item waits in its lane from submission until everything before it in the lane has completed;
 * then in the list of what is done. Besides, a writer holds it, in its list of what waits or within
 * librdkafka. A lane that gives up on an item a writer still holds completes a copy of it and lets
 * the item go (`lane` is NULL then); whoever holds it frees it.
 */
struct th_kafka_item {
    struct th_kafka_item *next;         /* in the list of what waits, or of what is done */
    struct th_kafka_item *next_in_lane; /* or behind it in a reader's list */
    struct th_kafka_lane *lane;
    enum th_completion_kind kind;
    enum th_kafka_topic topic;
    uint32_t partition;      /* as the node has it */
    int32_t topic_partition; /* where it is produced to */
    uint64_t tag, epoch;
    int64_t from, to;     /* READ */
    int64_t offset;       /* of the acknowledgement */
    th_time submitted;    /* monotonic */
    struct th_blob *blob; /* what is written */
    enum th_code code;
    char *why;                    /* of a failure; NULL: `answer` says it, or it went well */
    bool held;                    /* by a writer */
    bool answered;                /* the outcome is known */
    bool doomed;                  /* fails, whatever the outcome */
    struct th_completion *answer; /* READ, STATE: all but kind, partition and tag */
};

struct th_kafka_items {
    struct th_kafka_item *first, **last;
};

struct th_kafka_item *th_kafka_item_new(enum th_completion_kind kind, uint32_t partition,
                                        uint64_t tag);
void th_kafka_item_free(struct th_kafka_item *item);
void th_kafka_item_fail(struct th_kafka_item *item, enum th_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* What is written, as in "a record for log 3"; in `text`, which has room for it. */
const char *th_kafka_item_name(const struct th_kafka_item *item, char text[static 64]);
/* Moves what the item holds to `out` and frees the item. */
void th_kafka_item_complete(struct th_kafka_item *item, struct th_completion *out);

void th_kafka_items_init(struct th_kafka_items *list);
void th_kafka_items_add(struct th_kafka_items *list, struct th_kafka_item *item);
struct th_kafka_item *th_kafka_items_take(struct th_kafka_items *list); /* NULL: empty */

/* ---- lane.c ---- */

struct th_kafka_lane {
    struct th_kafka_item *first, **last; /* by next_in_lane */
    bool is_log;
    int64_t claim;   /* log: the epoch that was claimed last; -1: none */
    int64_t broken;  /* log: appends of epochs up to this one fail; -1: none */
    uint32_t unseen; /* sends that failed, or will, and of which poll has not told */
};

void th_kafka_lane_init(struct th_kafka_lane *lane, bool is_log);
/* True when the item may be sent; otherwise it is answered, with the failure. */
bool th_kafka_lane_submit(struct th_kafka_lane *lane, struct th_kafka_item *item);
/* The outcome of an item of the lane is known. */
void th_kafka_lane_answer(struct th_kafka_lane *lane, struct th_kafka_item *item);
/* Moves to `done` what is answered and has nothing unanswered before it. */
void th_kafka_lane_release(struct th_kafka_lane *lane, struct th_kafka_items *done);
/* Gives up what was submitted before `limit`, and what must fail with it. The submission time of
 * the oldest, or 0. `why`: what the writer knows of it, or "". */
th_time th_kafka_lane_expire(struct th_kafka_lane *lane, th_time limit, const char *why,
                             struct th_kafka_items *done);
/* Poll hands out this item. */
void th_kafka_lane_shown(struct th_kafka_item *item);
void th_kafka_lane_deinit(struct th_kafka_lane *lane);

/* ---- cut.c ---- */

/* Counts what happens to a client's connections. Written on librdkafka's threads. */
struct th_kafka_cuts {
    pthread_mutex_t mutex;
    struct th_kafka_connection *connections;
    size_t count, capacity;
    atomic_uint cut;    /* connections that were up and are no longer */
    atomic_uint mended; /* … and are up again */
    void (*changed)(void *argument);
    void *argument;
};
void th_kafka_cuts_init(struct th_kafka_cuts *cuts, void (*changed)(void *), void *argument);
void th_kafka_cuts_forget(struct th_kafka_cuts *cuts); /* nobody is told any more */
void th_kafka_cuts_deinit(struct th_kafka_cuts *cuts);
void th_kafka_cuts_watch(struct th_kafka_cuts *cuts, rd_kafka_conf_t *conf); /* before opening */

/* ---- the provider ---- */

struct th_kafka;

/* Producers by what they may do when a message cannot be brought to the broker. */
enum th_kafka_role {
    TH_KAFKA_LOG,      /* give the lease up */
    TH_KAFKA_MESSAGES, /* keep trying, in order */
    TH_KAFKA_CLIENTS,  /* fail after a while, all together */
    TH_KAFKA_ROLE_COUNT
};

/* ---- writer.c ---- */

/* One producer. It is opened and closed on any thread, and used on the node's. */
struct th_kafka_writer {
    struct th_kafka_client client; /* first: callbacks are given it */
    struct th_kafka *kafka;
    enum th_kafka_role role;
    struct th_kafka_writer *next; /* of those that are retired */
    rd_kafka_topic_t *topics[TH_KAFKA_TOPIC_COUNT];
    size_t held; /* items within librdkafka */
    th_time last_acknowledged;
    struct th_kafka_cuts cuts;
    unsigned seen_cut, seen_mended;
};

/* What stands for one role at a time: a writer, or until there is one what waits for it. */
struct th_kafka_slot {
    struct th_kafka_writer *writer; /* NULL: the desk makes one */
    struct th_kafka_items waiting;
    bool missing; /* none could be made; ask again */
};

struct th_kafka_writer *th_kafka_writer_open(struct th_kafka *kafka, enum th_kafka_role role,
                                             struct th_error *error);
void th_kafka_writer_close(struct th_kafka_writer *writer); /* what it holds is freed */
void th_kafka_slot_submit(struct th_kafka *kafka, enum th_kafka_role role,
                          struct th_kafka_item *item);
void th_kafka_slot_fill(struct th_kafka *kafka, struct th_kafka_writer *writer);
/* Purges the writer and asks the desk for another one. */
void th_kafka_slot_retire(struct th_kafka *kafka, enum th_kafka_role role, const char *why);
void th_kafka_slots_poll(struct th_kafka *kafka);
/* Gives up what has waited too long. True when something waits. */
bool th_kafka_slots_tick(struct th_kafka *kafka, th_time now);

/* ---- stream.c ---- */

enum th_kafka_found {
    TH_KAFKA_NOTHING, /* nothing now; the stream becomes ready again */
    TH_KAFKA_MESSAGE,
    TH_KAFKA_END,   /* of the partition, as of a fetch behind the opening */
    TH_KAFKA_AHEAD, /* the stream's place lies behind the end */
    TH_KAFKA_BROKEN /* why: in the error */
};

/* An open place in a partition. It lives as long as the provider: events of a closed one are
 * spurious, never dangling. */
struct th_kafka_stream {
    struct th_link link; /* in the queue of those that are ready */
    struct th_kafka_stream *next_ready;
    struct th_kafka *kafka;
    atomic_bool ready;
    bool is_log;
    uint32_t partition;
    struct th_kafka_client *client;
    rd_kafka_topic_t *topic;
    rd_kafka_queue_t *queue; /* NULL: closed */
    int64_t next;            /* where it stands */
    size_t taken;            /* bytes since the queue was last found empty */
    unsigned opening;        /* counts: tells late answers of the desk */
    bool asking;             /* the desk looks for the partition's ends */
    bool ahead;              /* they are known: the stream stands behind the end */
};

void th_kafka_stream_init(struct th_kafka_stream *stream, struct th_kafka *kafka, bool is_log,
                          uint32_t partition);
void th_kafka_stream_open(struct th_kafka_stream *stream, int64_t from); /* closes it first */
void th_kafka_stream_close(struct th_kafka_stream *stream);
/* MESSAGE: *message is the caller's to destroy. */
enum th_kafka_found th_kafka_stream_next(struct th_kafka_stream *stream,
                                         rd_kafka_message_t **message, struct th_error *error);
/* The desk's answer. */
void th_kafka_stream_ends(struct th_kafka_stream *stream, unsigned opening, int64_t start,
                          int64_t end);
void th_kafka_stream_wake(struct th_kafka_stream *stream);

/* ---- reader.c ---- */

struct th_kafka_reader {
    struct th_kafka_stream stream;
    struct th_kafka_item *first, **last; /* reads by next_in_lane; the first one is under way */
    bool begun;                          /* the first one */
    bool fresh;                          /* the stream was opened for it */
    struct th_log_record *records;
    size_t count, capacity, bytes;
    th_time moved; /* when something last came or was asked */
};

void th_kafka_reader_submit(struct th_kafka_reader *reader, struct th_kafka_item *item);
void th_kafka_reader_serve(struct th_kafka_reader *reader);
/* True when it wants to be asked again. */
bool th_kafka_reader_tick(struct th_kafka_reader *reader, th_time now);
void th_kafka_reader_deinit(struct th_kafka_reader *reader);

/* ---- inbox.c ---- */

struct th_kafka_inbox {
    struct th_kafka_stream stream;
};

void th_kafka_inbox_open(struct th_kafka_inbox *inbox, int64_t from);
void th_kafka_inbox_close(struct th_kafka_inbox *inbox);
/* Up to `max` deliveries; fewer: there are no more now. */
size_t th_kafka_inbox_serve(struct th_kafka_inbox *inbox, struct th_completion *out, size_t max);

/* ---- trim.c ---- */

struct th_kafka_trims {
    int64_t *wanted[2], *asked[2]; /* by partition: of logs, of inboxes */
    bool due;
    rd_kafka_queue_t *answers; /* NULL: no request is under way */
};

bool th_kafka_trims_pending(const struct th_kafka_trims *trims);
void th_kafka_trims_deinit(struct th_kafka_trims *trims);

void th_kafka_trim(struct th_kafka *kafka, enum th_kafka_topic topic, uint32_t partition,
                   int64_t below);
void th_kafka_trim_tick(struct th_kafka *kafka);

/* ---- desk.c ---- */

enum th_kafka_job_kind {
    TH_KAFKA_JOB_STATE, /* both ends of log and inbox */
    TH_KAFKA_JOB_ENDS,  /* those of a stream's partition */
    TH_KAFKA_JOB_OPEN,  /* a writer */
    TH_KAFKA_JOB_CLOSE, /* a writer */
};

struct th_kafka_job {
    struct th_link link;
    enum th_kafka_job_kind kind;
    struct th_kafka_item *item;     /* STATE */
    struct th_kafka_stream *stream; /* ENDS */
    unsigned opening;
    int64_t start, end;
    struct th_error error;
    enum th_kafka_role role;
    struct th_kafka_writer *writer;
};

struct th_kafka_desk {
    struct th_kafka *kafka;
    pthread_t thread, clock;
    bool started, ticking;
    atomic_bool stopping;
    struct th_queue jobs;     /* to the desk */
    struct th_queue answers;  /* back to the node's thread */
    struct th_queue pause;    /* the clock waits on it */
    struct th_queue patience; /* the desk waits on it before it asks a broker again */
};

bool th_kafka_desk_start(struct th_kafka_desk *desk, struct th_kafka *kafka,
                         struct th_error *error);
void th_kafka_desk_stop(struct th_kafka_desk *desk); /* frees what is under way */
void th_kafka_desk_ask(struct th_kafka_desk *desk, const struct th_kafka_job *job); /* copied */
/* What it has answered; node's thread. */
void th_kafka_desk_poll(struct th_kafka_desk *desk);

/* ---- kafka.c ---- */

extern const struct th_provider_ops th_kafka_ops;

struct th_kafka {
    struct th_provider base;
    struct th_kafka_options options;
    struct th_kafka_hub hub;
    size_t max_record_bytes;
    atomic_bool armed;                    /* the node's owner has set the wake-up hook */
    struct th_kafka_client logs, inboxes; /* consumers */
    rd_kafka_topic_t *log_topic, *inbox_topic;
    struct th_kafka_slot slots[TH_KAFKA_ROLE_COUNT];
    struct th_kafka_writer *retired;
    struct th_kafka_lane *log_lanes;   /* by partition */
    struct th_kafka_lane **send_lanes; /* by source, then destination; made when first used */
    uint32_t next_activity;
    struct th_kafka_reader *readers;
    struct th_kafka_inbox *inbox;
    struct th_queue ready; /* streams with something, from librdkafka's threads */
    struct th_kafka_stream *ready_first, **ready_last; /* … taken from there */
    struct th_kafka_trims trims;
    struct th_kafka_desk desk;
    struct th_kafka_items done;
    unsigned turn;    /* of deliveries, or of what is done */
    atomic_bool busy; /* the node wants ticks */
    atomic_bool tick;
    atomic_bool barred;       /* to clients */
    pthread_mutex_t bar_lock; /* guards the following */
    char bar[512];
};

static inline struct th_kafka *th_kafka_of(struct th_provider *provider)
{
    return (struct th_kafka *)provider; /* its first member */
}

/* Any thread. */
void th_kafka_wake(void *kafka);
/* In front of what is done next: each claimed log may have lost its end. */
void th_kafka_doubt(struct th_kafka *kafka);
/* The node wants a tick, a few times a second, until nothing is left that could need one. */
static inline void th_kafka_want_tick(struct th_kafka *kafka)
{
    atomic_store_explicit(&kafka->busy, true, memory_order_relaxed);
}

/* ---- open.c ---- */

void th_kafka_close(struct th_provider *provider);
