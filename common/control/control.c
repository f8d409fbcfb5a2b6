/*
 * One thread, one consumer, one producer. The thread sleeps until something was read, a heartbeat
 * is due or somebody published; librdkafka's queues wake it. A heartbeat is written only when the
 * one before it was answered: after an outage one goes out, not all that were missed.
 */
#include "control/control.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/queue.h"
#include "control/liveness.h"
#include "provider/kafka/client.h"

#define DEFAULT_INTERVAL (250 * TH_MILLISECOND)
#define DEFAULT_PATIENCE (3 * TH_SECOND)
#define FAREWELL_TIME    (1 * TH_SECOND)
#define LEAST_PAUSE      (5 * TH_MILLISECOND) /* between two that were published at once */
#define AGAIN_AFTER      (1 * TH_SECOND)      /* reading that failed is begun anew */
#define SILENCE          (2 * TH_SECOND)      /* before it is worth a line */
#define GHOST_PATIENCES  200                  /* before the record of one who is gone is removed */

struct th_control {
    struct th_control_options options;
    struct th_hub_record hub;
    struct th_kafka_client reader;
    struct th_kafka_client writer;
    rd_kafka_topic_t *read_topic, *write_topic;
    rd_kafka_queue_t *queue;
    pthread_t thread;
    struct th_queue wake; /* holds nothing */
    atomic_bool stopping;

    pthread_mutex_t lock; /* guards the following */
    struct th_liveness *liveness;
    struct th_buffer said; /* encoded; empty: nothing yet */
    uint64_t serial;
    char key[TH_MEMBER_NAME + 16];
    bool at_once, ready;
    th_time taken; /* when the brokers last took a heartbeat; monotonic */

    /* control's thread only */
    bool under_way, silence_told, ready_untold;
    th_time beat_at, written, read_again_at;
    rd_kafka_resp_err_t read_trouble; /* told last */
};

static const char *brokers_of(const struct th_control *control)
{
    return control->options.cluster->brokers;
}

/* ---- writing ---- */

static void on_written(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct th_kafka_client *client = th_kafka_client_of(opaque);
    struct th_control *control =
        (struct th_control *)((char *)client - offsetof(struct th_control, writer));
    control->under_way = false;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return;
    }
    client->trouble[0] = '\0'; /* is over */
    pthread_mutex_lock(&control->lock);
    control->taken = th_monotonic();
    pthread_mutex_unlock(&control->lock);
    if (control->silence_told) {
        th_log(control->options.log, TH_LOG_INFO, "control", "the brokers take heartbeats again");
        control->silence_told = false;
    }
}

static void configure_writer(struct th_kafka_client *client, rd_kafka_conf_t *conf)
{
    rd_kafka_conf_set_dr_msg_cb(conf, on_written);
}

static void write_record(struct th_control *control, const char *key, const char *value, size_t len)
{
    int code = rd_kafka_produce(control->write_topic, 0, RD_KAFKA_MSG_F_COPY, (void *)value, len,
                                key, strlen(key), NULL);
    control->under_way = code == 0 && value;
    control->written = th_monotonic();
}

static void beat(struct th_control *control, th_time now)
{
    TH_BUFFER said = {0};
    pthread_mutex_lock(&control->lock);
    th_buffer_str(&said, th_buffer_view(&control->said));
    control->at_once = false;
    pthread_mutex_unlock(&control->lock);
    control->beat_at = now + control->options.interval;
    if (said.len > 0) {
        write_record(control, control->key, said.data, said.len);
    }
}

static void tell_silence(struct th_control *control, th_time now)
{
    if (!control->under_way || control->silence_told || now - control->written < SILENCE) {
        return;
    }
    control->silence_told = true;
    th_log(control->options.log, TH_LOG_WARN, "control",
           "no broker at %s takes heartbeats%s%s; who works on hub %s stays as it was known",
           brokers_of(control), *control->writer.trouble ? ": " : "", control->writer.trouble,
           control->hub.name);
}

/* ---- reading ---- */

static void begin_reading(struct th_control *control)
{
    rd_kafka_consume_start_queue(control->read_topic, 0, RD_KAFKA_OFFSET_BEGINNING, control->queue);
    control->read_again_at = TH_TIME_NONE;
}

/* With an old topic's times, set by writers whose clocks may differ, arrival counts instead. */
static th_time time_of(const rd_kafka_message_t *message)
{
    rd_kafka_timestamp_type_t type;
    int64_t ms = rd_kafka_message_timestamp(message, &type);
    return type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME ? ms * TH_MILLISECOND : th_monotonic();
}

static bool is_key_of(struct th_str key, const struct th_member *member)
{
    TH_BUFFER expected = {0};
    th_buffer_format(&expected, "%s/%.*s", th_member_kind_text(member->kind), TH_PRI(member->name));
    return th_str_eq(key, th_buffer_view(&expected));
}

static bool is_member_key(struct th_str key)
{
    return th_str_starts(key, TH_STR("worker/")) || th_str_starts(key, TH_STR("coordinator/"));
}

static void take_record(struct th_control *control, const rd_kafka_message_t *message)
{
    struct th_str key = th_str_n(message->key, message->key_len);
    struct th_error error = {.code = TH_OK};
    struct th_member *member = NULL;
    if (!message->key || !is_member_key(key)) {
        return; /* the hub's record, or a later program's */
    }
    if (message->payload) {
        member = th_member_decode(th_str_n(message->payload, message->len), &error);
        if (!member || member->incarnation != control->hub.incarnation || !is_key_of(key, member)) {
            th_log(control->options.log, TH_LOG_DEBUG, "control", "%.*s says nothing we know: %s",
                   TH_PRI(key), error.message);
            th_member_unref(member);
            return;
        }
    }
    pthread_mutex_lock(&control->lock);
    th_liveness_record(control->liveness, key, member, time_of(message));
    pthread_mutex_unlock(&control->lock);
}

static void caught_up(struct th_control *control)
{
    pthread_mutex_lock(&control->lock);
    if (!control->ready) {
        control->ready = true;
        control->ready_untold = true;
        th_liveness_begin(control->liveness);
    }
    pthread_mutex_unlock(&control->lock);
}

/* librdkafka goes on by itself after most errors; reading anew costs little, and helps where the
 * topic was made anew. */
static void read_failed(struct th_control *control, const rd_kafka_message_t *message)
{
    if (message->err != control->read_trouble) {
        th_log(control->options.log, TH_LOG_WARN, "control", "topic %s at %s cannot be read: %s",
               rd_kafka_topic_name(control->read_topic), brokers_of(control),
               rd_kafka_message_errstr(message));
    }
    control->read_trouble = message->err;
    if (control->read_again_at == TH_TIME_NONE) {
        control->read_again_at = th_monotonic() + AGAIN_AFTER;
    }
}

/* An end is told (PARTITION_EOF) only by a fetch that brought nothing, which never comes while
 * others speak; so each record is held against the end that came with its fetch. */
static bool is_last(struct th_control *control, const rd_kafka_message_t *message)
{
    int64_t low;
    int64_t high;
    return rd_kafka_get_watermark_offsets(control->reader.rk,
                                          rd_kafka_topic_name(control->read_topic), 0, &low,
                                          &high) == RD_KAFKA_RESP_ERR_NO_ERROR &&
           message->offset + 1 >= high;
}

static void take_message(struct th_control *control, const rd_kafka_message_t *message)
{
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        caught_up(control);
    } else if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        read_failed(control, message);
        return;
    } else {
        take_record(control, message);
        if (is_last(control, message)) {
            caught_up(control);
        }
    }
    control->read_trouble = RD_KAFKA_RESP_ERR_NO_ERROR;
    control->read_again_at = TH_TIME_NONE;
}

static void read_all(struct th_control *control)
{
    rd_kafka_message_t *message;
    while ((message = rd_kafka_consume_queue(control->queue, 0))) {
        take_message(control, message);
        rd_kafka_message_destroy(message);
    }
}

static void read_again(struct th_control *control, th_time now)
{
    if (control->read_again_at != TH_TIME_NONE && now >= control->read_again_at) {
        rd_kafka_consume_stop(control->read_topic, 0);
        begin_reading(control);
    }
}

/* ---- telling ---- */

static bool next_change(struct th_control *control, struct th_change *out)
{
    pthread_mutex_lock(&control->lock);
    bool found = th_liveness_next(control->liveness, out);
    pthread_mutex_unlock(&control->lock);
    return found;
}

static void tell(const struct th_control_options *o, const struct th_change *change)
{
    switch (change->kind) {
    case TH_MEMBER_JOINED:
        if (o->joined) {
            o->joined(o->argument, change->now);
        }
        break;
    case TH_MEMBER_CHANGED:
        if (o->changed) {
            o->changed(o->argument, change->before, change->now);
        }
        break;
    case TH_MEMBER_GONE:
        if (o->gone) {
            o->gone(o->argument, change->before, change->farewell);
        }
        break;
    }
}

static void tell_all(struct th_control *control)
{
    struct th_change change;
    while (next_change(control, &change)) {
        tell(&control->options, &change);
        th_change_deinit(&change);
    }
    if (control->ready_untold) {
        control->ready_untold = false;
        if (control->options.ready) {
            control->options.ready(control->options.argument);
        }
    }
}

/* Whoever comes first: a second removal does no harm. */
static void bury(struct th_control *control)
{
    TH_AUTOFREE char *key = NULL;
    pthread_mutex_lock(&control->lock);
    if (control->said.len > 0) {
        key = th_str_dup(
            th_liveness_ghost(control->liveness, GHOST_PATIENCES * control->options.patience));
    }
    pthread_mutex_unlock(&control->lock);
    if (key) {
        write_record(control, key, NULL, 0);
    }
}

/* ---- the thread ---- */

static bool wants_beat(struct th_control *control, th_time now)
{
    if (control->under_way) {
        return false;
    }
    pthread_mutex_lock(&control->lock);
    bool at_once = control->at_once;
    pthread_mutex_unlock(&control->lock);
    return now >= control->beat_at || (at_once && now - control->written >= LEAST_PAUSE);
}

static th_time next_deadline(struct th_control *control)
{
    th_time deadline = control->beat_at;
    pthread_mutex_lock(&control->lock);
    if (control->at_once) {
        deadline = control->written + LEAST_PAUSE;
    }
    pthread_mutex_unlock(&control->lock);
    if (control->under_way) { /* its answer wakes */
        deadline = th_monotonic() + control->options.interval;
    }
    if (control->read_again_at != TH_TIME_NONE && control->read_again_at < deadline) {
        deadline = control->read_again_at;
    }
    return deadline;
}

static void step(struct th_control *control)
{
    th_kafka_client_poll(&control->writer);
    th_kafka_client_poll(&control->reader);
    read_all(control);
    tell_all(control);
    th_time now = th_monotonic();
    read_again(control, now);
    tell_silence(control, now);
    if (wants_beat(control, now)) {
        bury(control);
        beat(control, now);
    }
}

static void say_farewell(struct th_control *control)
{
    TH_BUFFER last = {0};
    th_time deadline = th_monotonic() + FAREWELL_TIME;
    struct th_member *self = th_member_decode(th_buffer_view(&control->said), NULL);
    if (!self) { /* it has said nothing */
        return;
    }
    self->ended = 1;
    th_member_encode(&last, self);
    th_member_unref(self);
    write_record(control, control->key, last.data, last.len);
    while (rd_kafka_outq_len(control->writer.rk) > 0 && th_monotonic() < deadline) {
        rd_kafka_poll(control->writer.rk, 10);
    }
}

static void *control_main(void *argument)
{
    struct th_control *control = argument;
    pthread_setname_np(pthread_self(), "control");
    begin_reading(control);
    while (!atomic_load(&control->stopping)) {
        th_queue_wait(&control->wake, next_deadline(control));
        step(control);
    }
    say_farewell(control);
    rd_kafka_consume_stop(control->read_topic, 0);
    return NULL;
}

/* ---- opening and closing ---- */

static void wake(void *argument)
{
    struct th_control *control = argument;
    th_queue_wake(&control->wake);
}

static void on_event(rd_kafka_t *rk, void *opaque)
{
    wake(opaque);
}

static bool open_reader(struct th_control *control, struct th_error *error)
{
    static const struct th_kafka_property own[] = {
        {"allow.auto.create.topics", "false"},  {"enable.auto.commit", "false"},
        {"auto.offset.reset", "error"},         {"enable.partition.eof", "true"},
        {"queued.max.messages.kbytes", "4096"},
    };
    char topic[TH_KAFKA_TOPIC_NAME];
    if (!th_kafka_client_open(&control->reader, RD_KAFKA_CONSUMER, control->options.cluster, own,
                              TH_COUNT(own), error)) {
        return false;
    }
    th_kafka_topic_name(TH_KAFKA_CONTROL, control->hub.name, topic);
    control->read_topic = rd_kafka_topic_new(control->reader.rk, topic, NULL);
    control->queue = rd_kafka_queue_new(control->reader.rk);
    rd_kafka_queue_cb_event_enable(control->queue, on_event, control);
    th_kafka_client_listen(&control->reader, wake, control);
    return true;
}

/* A heartbeat that was not written within the patience is worth nothing; the next one says more. */
static bool open_writer(struct th_control *control, struct th_error *error)
{
    char timeout[24];
    char topic[TH_KAFKA_TOPIC_NAME];
    snprintf(timeout, sizeof(timeout), "%lld",
             (long long)(control->options.patience / TH_MILLISECOND));
    const struct th_kafka_property own[] = {{"linger.ms", "0"},
                                            {"acks", "all"},
                                            {"allow.auto.create.topics", "false"},
                                            {"message.timeout.ms", timeout}};
    control->writer.configure = configure_writer;
    if (!th_kafka_client_open(&control->writer, RD_KAFKA_PRODUCER, control->options.cluster, own,
                              TH_COUNT(own), error)) {
        return false;
    }
    th_kafka_topic_name(TH_KAFKA_CONTROL, control->hub.name, topic);
    control->write_topic = rd_kafka_topic_new(control->writer.rk, topic, NULL);
    th_kafka_client_listen(&control->writer, wake, control);
    return true;
}

static struct th_control *control_new(const struct th_control_options *options)
{
    struct th_control *control = TH_NEW(struct th_control);
    control->options = *options;
    control->hub = *options->hub;
    if (control->options.interval <= 0) {
        control->options.interval = DEFAULT_INTERVAL;
    }
    if (control->options.patience <= 0) {
        control->options.patience = DEFAULT_PATIENCE;
    }
    control->liveness = th_liveness_new(control->options.patience, 2 * control->options.interval);
    control->taken = control->read_again_at = TH_TIME_NONE;
    pthread_mutex_init(&control->lock, NULL);
    th_queue_init(&control->wake);
    return control;
}

static void control_free(struct th_control *control)
{
    if (control->queue) {
        rd_kafka_queue_cb_event_enable(control->queue, NULL, NULL);
        rd_kafka_queue_destroy(control->queue);
    }
    if (control->read_topic) {
        rd_kafka_topic_destroy(control->read_topic);
    }
    if (control->write_topic) {
        rd_kafka_topic_destroy(control->write_topic);
    }
    th_kafka_client_close(&control->reader);
    th_kafka_client_close(&control->writer);
    th_liveness_free(control->liveness);
    th_buffer_deinit(&control->said);
    th_queue_deinit(&control->wake);
    pthread_mutex_destroy(&control->lock);
    free(control);
}

struct th_control *th_control_open(const struct th_control_options *options, struct th_error *error)
{
    struct th_control *control = control_new(options);
    if (!open_reader(control, error) || !open_writer(control, error)) {
        control_free(control);
        return NULL;
    }
    if (pthread_create(&control->thread, NULL, control_main, control) != 0) {
        th_fail(error, TH_INTERNAL, "the thread of the control topic cannot be started");
        control_free(control);
        return NULL;
    }
    return control;
}

void th_control_close(struct th_control *control)
{
    if (!control) {
        return;
    }
    atomic_store(&control->stopping, true);
    wake(control);
    pthread_join(control->thread, NULL);
    control_free(control);
}

/* ---- any thread ---- */

uint64_t th_control_publish(struct th_control *control, const struct th_member *self, bool at_once)
{
    struct th_member said = *self;
    pthread_mutex_lock(&control->lock);
    said.serial = ++control->serial;
    said.incarnation = control->hub.incarnation;
    control->said.len = 0;
    th_member_encode(&control->said, &said);
    snprintf(control->key, sizeof(control->key), "%s/%.*s", th_member_kind_text(self->kind),
             TH_PRI(self->name));
    control->at_once |= at_once;
    pthread_mutex_unlock(&control->lock);
    if (at_once) {
        wake(control);
    }
    return said.serial;
}

bool th_control_ready(struct th_control *control)
{
    pthread_mutex_lock(&control->lock);
    bool ready = control->ready;
    pthread_mutex_unlock(&control->lock);
    return ready;
}

bool th_control_alive(struct th_control *control, struct th_str name)
{
    pthread_mutex_lock(&control->lock);
    bool alive = th_liveness_alive(control->liveness, name);
    pthread_mutex_unlock(&control->lock);
    return alive;
}

struct th_member *th_control_last_words(struct th_control *control, struct th_str name)
{
    pthread_mutex_lock(&control->lock);
    struct th_member *last = th_liveness_last_words(control->liveness, name);
    pthread_mutex_unlock(&control->lock);
    return last;
}

th_time th_control_heard_ago(struct th_control *control)
{
    pthread_mutex_lock(&control->lock);
    th_time taken = control->taken;
    pthread_mutex_unlock(&control->lock);
    return taken == TH_TIME_NONE ? TH_TIME_NONE : th_monotonic() - taken;
}

void th_control_look(struct th_control *control, struct th_control_view *out)
{
    pthread_mutex_lock(&control->lock);
    out->members = th_liveness_members(control->liveness, &out->count);
    out->now = th_liveness_now(control->liveness);
    out->ready = control->ready;
    pthread_mutex_unlock(&control->lock);
}

void th_control_view_deinit(struct th_control_view *view)
{
    for (size_t i = 0; i < view->count; i++) {
        th_member_unref(view->members[i]);
    }
    free(view->members);
    *view = (struct th_control_view){0};
}
