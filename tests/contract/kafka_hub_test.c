/* Hubs on a real broker: creation, what is refused and in which words, and that looking for a hub
 * makes none. The broker is a stock one: it creates topics that somebody asks for by name. */
#include "contract/rig.h"
#include "provider/kafka/internal.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- an administrator's means ---- */

struct setting {
    const char *name, *value;
};

static void open_talk(struct th_kafka_talk *talk, const struct th_kafka_cluster *cluster)
{
    struct th_error error;
    *talk = (struct th_kafka_talk){.queue = NULL};
    if (!th_kafka_talk_open(talk, cluster, &error)) {
        fail_msg("%s", error.message);
    }
}

/* As an administrator prepares it; the broker's defaults but for `settings`. */
static void make_topic(const char *hub, enum th_kafka_topic topic, int partitions,
                       const struct setting *settings, size_t count)
{
    struct th_kafka_cluster cluster = rig_cluster();
    TH_KAFKA_TALK talk;
    char name[TH_KAFKA_TOPIC_NAME];
    struct th_error error;
    open_talk(&talk, &cluster);
    th_kafka_topic_name(topic, hub, name);
    rd_kafka_NewTopic_t *made = rd_kafka_NewTopic_new(name, partitions, 1, NULL, 0);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_NewTopic_set_config(made, settings[i].name, settings[i].value);
    }
    rd_kafka_CreateTopics(talk.client.rk, &made, 1, NULL, talk.queue);
    rd_kafka_NewTopic_destroy(made);
    rd_kafka_event_t *event = th_kafka_client_await(&talk.client, talk.queue, &error);
    assert_non_null(event);
    rd_kafka_event_destroy(event);
}

static const struct setting log_settings[] = {
    {"retention.ms", "-1"},
    {"retention.bytes", "-1"},
    {"max.message.bytes", "18000000"},
    {"unclean.leader.election.enable", "false"},
};
static const struct setting control_settings[] = {{"cleanup.policy", "compact"}};

/* All four as they have to be. */
static void make_topics(const char *hub, int partitions)
{
    make_topic(hub, TH_KAFKA_INSTANCES, partitions, log_settings, TH_COUNT(log_settings));
    make_topic(hub, TH_KAFKA_HISTORY, partitions, log_settings, TH_COUNT(log_settings));
    make_topic(hub, TH_KAFKA_ACTIVITIES, partitions, log_settings, TH_COUNT(log_settings));
    make_topic(hub, TH_KAFKA_CONTROL, 1, control_settings, TH_COUNT(control_settings));
}

static struct th_kafka_topics count_topics(const char *hub)
{
    struct th_kafka_cluster cluster = rig_cluster();
    TH_KAFKA_TALK talk;
    struct th_kafka_topics topics;
    struct th_error error;
    open_talk(&talk, &cluster);
    if (!th_kafka_topics_count(&talk, hub, &topics, &error)) {
        fail_msg("%s", error.message);
    }
    return topics;
}

static void propose(const struct th_kafka_hub *hub)
{
    struct th_kafka_cluster cluster = rig_cluster();
    TH_KAFKA_TALK talk;
    struct th_error error;
    open_talk(&talk, &cluster);
    if (!th_kafka_record_write(&talk, hub, &error)) {
        fail_msg("%s", error.message);
    }
}

static unsigned failures;

static void count_failure(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    failures += message->err != RD_KAFKA_RESP_ERR_NO_ERROR;
}

static void count_failures(struct th_kafka_client *client, rd_kafka_conf_t *conf)
{
    rd_kafka_conf_set_dr_msg_cb(conf, count_failure);
}

/* `timestamp`: in milliseconds since 1970; 0: now. */
static void write_record(const char *hub, enum th_kafka_topic topic, const char *key,
                         const char *value, int64_t timestamp)
{
    struct th_kafka_cluster cluster = rig_cluster();
    struct th_kafka_client client = {.rk = NULL, .configure = count_failures};
    struct th_error error;
    char name[TH_KAFKA_TOPIC_NAME];
    th_kafka_topic_name(topic, hub, name);
    assert_true(th_kafka_client_open(&client, RD_KAFKA_PRODUCER, &cluster, NULL, 0, &error));
    assert_int_equal(rd_kafka_producev(client.rk, RD_KAFKA_V_TOPIC(name), RD_KAFKA_V_PARTITION(0),
                                       RD_KAFKA_V_KEY(key, strlen(key)),
                                       RD_KAFKA_V_VALUE((void *)value, strlen(value)),
                                       RD_KAFKA_V_TIMESTAMP(timestamp),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
                     0);
    failures = 0;
    assert_int_equal(rd_kafka_flush(client.rk, 20000), 0);
    th_kafka_client_close(&client);
    assert_int_equal(failures, 0);
}

static void write_control(const char *hub, const char *key, const char *value)
{
    write_record(hub, TH_KAFKA_CONTROL, key, value, 0);
}

/* ---- short forms ---- */

static bool create(const char *name, uint32_t partitions, struct th_kafka_hub *out,
                   struct th_error *error)
{
    struct th_kafka_cluster cluster = rig_cluster();
    struct th_kafka_hub_options options = {.name = name, .partitions = partitions};
    return th_kafka_create_hub(&cluster, &options, out, error);
}

static bool find(const char *name, struct th_kafka_hub *out, struct th_error *error)
{
    struct th_kafka_cluster cluster = rig_cluster();
    return th_kafka_find_hub(&cluster, name, out, error);
}

static bool delete_hub(const char *name, struct th_error *error)
{
    struct th_kafka_cluster cluster = rig_cluster();
    return th_kafka_delete_hub(&cluster, name, error);
}

static void done(bool result, const struct th_error *error)
{
    if (!result) {
        fail_msg("%s", error->message);
    }
}

/* The message names everything in `words`, which stand between bars. */
static void refused(bool result, const struct th_error *error, enum th_code code, const char *words)
{
    assert_false(result);
    if (error->code != code) {
        fail_msg("%s: %s", th_code_text(error->code), error->message);
    }
    char copy[256];
    snprintf(copy, sizeof(copy), "%s", words);
    char *rest = copy;
    for (char *word; (word = strsep(&rest, "|"));) {
        if (!strstr(error->message, word)) {
            fail_msg("no \"%s\" in: %s", word, error->message);
        }
    }
}

/* ---- life of a hub ---- */

static void life(void **state)
{
    char name[64];
    struct th_kafka_hub made;
    struct th_kafka_hub found;
    struct th_error error;
    rig_hub_name(name);
    refused(find(name, &found, &error), &error, TH_NOT_FOUND, name);
    done(create(name, 3, &made, &error), &error);
    done(find(name, &found, &error), &error);
    assert_string_equal(found.record.name, name);
    assert_true(found.record.incarnation == made.record.incarnation &&
                made.record.incarnation != 0);
    assert_int_equal(found.record.created, made.record.created);
    assert_int_equal(found.record.partitions, 3);
    assert_int_equal(found.activity_partitions, 3);
    assert_true(found.max_message_bytes >= 17 << 20);
    refused(create(name, 3, &found, &error), &error, TH_EXISTS, name);
    assert_true(found.record.incarnation == made.record.incarnation);

    done(delete_hub(name, &error), &error);
    refused(find(name, &found, &error), &error, TH_NOT_FOUND, name);
    refused(delete_hub(name, &error), &error, TH_NOT_FOUND, name);
    done(create(name, 3, &found, &error), &error);
    assert_true(found.record.incarnation != made.record.incarnation);
    done(delete_hub(name, &error), &error);
}

static void options_are_checked(void **state)
{
    struct th_kafka_cluster cluster = rig_cluster();
    struct th_kafka_hub_options options = {.name = "1st", .partitions = 1};
    struct th_error error;
    refused(th_kafka_create_hub(&cluster, &options, NULL, &error), &error, TH_INVALID, "1st");
    refused(create("Good", 0, NULL, &error), &error, TH_INVALID, "1 to 1024|0");
    refused(create("Good", 1025, NULL, &error), &error, TH_INVALID, "1025");
    options = (struct th_kafka_hub_options){.name = "Good", .partitions = 1, .replication = 99};
    refused(th_kafka_create_hub(&cluster, &options, NULL, &error), &error, TH_INVALID,
            "Good.|replication");
    assert_int_equal(count_topics("Good").partitions[TH_KAFKA_HISTORY], 0);
}

static void activities_of_their_own(void **state)
{
    char name[64];
    struct th_kafka_hub found;
    struct th_error error;
    rig_hub_name(name);
    struct th_kafka_cluster cluster = rig_cluster();
    struct th_kafka_hub_options options = {.name = name, .partitions = 2, .activity_partitions = 7};
    done(th_kafka_create_hub(&cluster, &options, NULL, &error), &error);
    done(find(name, &found, &error), &error);
    assert_int_equal(found.activity_partitions, 7);
    assert_int_equal(count_topics(name).partitions[TH_KAFKA_ACTIVITIES], 7);
    rig_delete_hub(name);
}

/* A broker may refuse records of a writer whose clock is far ahead; not those of a hub. */
static void a_clock_is_wrong(void **state)
{
    char name[64];
    rig_hub_name(name);
    rig_create_hub(name, 1);
    int64_t later = (th_now() + 48 * 3600 * TH_SECOND) / TH_MILLISECOND;
    for (enum th_kafka_topic t = 0; t < TH_KAFKA_TOPIC_COUNT; t++) {
        write_record(name, t, "key", "value", later);
    }
    rig_delete_hub(name);
}

static bool listed(const struct th_hub_record *hubs, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(hubs[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void lists(void **state)
{
    struct th_kafka_cluster cluster = rig_cluster();
    char names[3][64];
    struct th_hub_record *hubs;
    size_t count;
    struct th_error error;
    for (int i = 0; i < 3; i++) {
        rig_hub_name(names[i]);
    }
    rig_create_hub(names[0], 1);
    rig_create_hub(names[1], 2);
    make_topic(names[2], TH_KAFKA_CONTROL, 1, control_settings, 1); /* no record: no hub */
    done(th_kafka_list_hubs(&cluster, &hubs, &count, &error), &error);
    assert_true(listed(hubs, count, names[0]) && listed(hubs, count, names[1]));
    assert_false(listed(hubs, count, names[2]));
    for (size_t i = 1; i < count; i++) {
        assert_true(strcmp(hubs[i - 1].name, hubs[i].name) < 0);
    }
    free(hubs);
    for (int i = 0; i < 3; i++) {
        rig_delete_hub(names[i]);
    }
}

/* ---- what is not there stays so ---- */

static void looking_creates_nothing(void **state)
{
    struct th_error error;
    struct th_kafka_hub found;
    struct th_kafka_options options = {.cluster = rig_cluster(), .hub = "Absent"};
    assert_null(th_kafka_open(&options, &error));
    refused(false, &error, TH_NOT_FOUND, "Absent");
    refused(find("Absent", &found, &error), &error, TH_NOT_FOUND, "Absent");
    refused(delete_hub("Absent", &error), &error, TH_NOT_FOUND, "Absent");
    struct th_kafka_topics topics = count_topics("Absent");
    for (size_t t = 0; t < TH_KAFKA_TOPIC_COUNT; t++) {
        assert_int_equal(topics.partitions[t], 0);
    }
}

static void nobody_answers(void **state)
{
    struct th_kafka_cluster cluster = {.brokers = "127.0.0.1:1", .patience = TH_SECOND};
    struct th_kafka_hub_options options = {.name = "Nobody", .partitions = 1};
    struct th_hub_record *hubs;
    size_t count;
    struct th_kafka_hub hub;
    struct th_error error;
    const char *words = "127.0.0.1:1|refused";
    refused(th_kafka_find_hub(&cluster, "Nobody", &hub, &error), &error, TH_UNAVAILABLE, words);
    refused(th_kafka_create_hub(&cluster, &options, NULL, &error), &error, TH_UNAVAILABLE, words);
    refused(th_kafka_delete_hub(&cluster, "Nobody", &error), &error, TH_UNAVAILABLE, words);
    refused(th_kafka_list_hubs(&cluster, &hubs, &count, &error), &error, TH_UNAVAILABLE, words);
    cluster.brokers = "";
    refused(th_kafka_find_hub(&cluster, "Nobody", &hub, &error), &error, TH_INVALID, "no Kafka");
}

/* ---- topics that somebody else has made ---- */

static void prepared_topics(void **state)
{
    char name[64];
    struct th_kafka_hub found;
    struct th_error error;
    rig_hub_name(name);
    make_topics(name, 4);
    refused(find(name, &found, &error), &error, TH_NOT_FOUND, name); /* no record yet */
    refused(create(name, 5, NULL, &error), &error, TH_PRECONDITION, ".instances|4|5");
    done(create(name, 4, NULL, &error), &error);
    done(find(name, &found, &error), &error);
    rig_delete_hub(name);
}

/* A crash in the middle of a creation, or of a deletion, leaves some of the topics. */
static void unfinished(void **state)
{
    char name[64];
    struct th_kafka_hub found;
    struct th_error error;
    rig_hub_name(name);
    make_topic(name, TH_KAFKA_HISTORY, 2, log_settings, TH_COUNT(log_settings));
    done(create(name, 2, NULL, &error), &error);
    done(find(name, &found, &error), &error);

    struct th_kafka_cluster cluster = rig_cluster();
    struct th_kafka_topics some = {.partitions = {[TH_KAFKA_HISTORY] = 2}};
    {
        TH_KAFKA_TALK talk;
        open_talk(&talk, &cluster);
        done(th_kafka_topics_delete(&talk, name, &some, &error), &error);
    }
    while (count_topics(name).partitions[TH_KAFKA_HISTORY] > 0) {
    }
    refused(find(name, &found, &error), &error, TH_IO, "lacks|.history|backup");
    refused(create(name, 2, NULL, &error), &error, TH_IO, "lacks|.history|backup");
    done(delete_hub(name, &error), &error);
}

static void bad_settings(void **state)
{
    static const struct {
        enum th_kafka_topic topic;
        struct setting setting;
        const char *words;
    } bad[] = {
        {TH_KAFKA_HISTORY, {"cleanup.policy", "compact"}, ".history|cleanup.policy=compact|delete"},
        {TH_KAFKA_INSTANCES, {"retention.ms", "86400000"}, ".instances|retention.ms=86400000|-1"},
        {TH_KAFKA_ACTIVITIES, {"retention.bytes", "1000000"}, ".activities|retention.bytes|-1"},
        {TH_KAFKA_INSTANCES, {"max.message.bytes", "1048588"}, "max.message.bytes=1048588|17826"},
        {TH_KAFKA_HISTORY,
         {"unclean.leader.election.enable", "true"},
         ".history|unclean.leader.election.enable=true|false"},
        {TH_KAFKA_CONTROL, {"cleanup.policy", "delete"}, ".control|cleanup.policy=delete|compact"},
    };
    for (size_t i = 0; i < TH_COUNT(bad); i++) {
        struct setting settings[TH_COUNT(log_settings) + 1];
        size_t count = bad[i].topic == TH_KAFKA_CONTROL ? 0 : TH_COUNT(log_settings);
        char name[64];
        struct th_error error;
        memcpy(settings, log_settings, sizeof(log_settings));
        settings[count] = bad[i].setting; /* the last of a name counts */
        rig_hub_name(name);
        make_topic(name, bad[i].topic, bad[i].topic == TH_KAFKA_CONTROL ? 1 : 2, settings,
                   count + 1);
        refused(create(name, 2, NULL, &error), &error, TH_PRECONDITION, bad[i].words);
        rig_delete_hub(name);
    }
}

static void wrong_counts(void **state)
{
    char name[64];
    struct th_error error;
    rig_hub_name(name);
    make_topic(name, TH_KAFKA_CONTROL, 2, control_settings, 1);
    refused(create(name, 2, NULL, &error), &error, TH_PRECONDITION, ".control|2|1");
    rig_delete_hub(name);
}

static void foreign_records(void **state)
{
    char name[64];
    struct th_kafka_hub found;
    struct th_error error;
    rig_hub_name(name);
    make_topics(name, 1);
    write_control(name, "worker/1", "another component's");
    refused(find(name, &found, &error), &error, TH_NOT_FOUND, "no record");
    write_control(name, "hub/0000000000000001", "no msgpack at all");
    refused(find(name, &found, &error), &error, TH_CORRUPT, name);
    refused(create(name, 1, NULL, &error), &error, TH_CORRUPT, name);
    rig_delete_hub(name);

    rig_hub_name(name);
    make_topics(name, 1);
    static const char other[] = "\x85\x01\xc4\x05Other\x02\x07\x03\x01\x04\x01\x05\x01";
    char record[sizeof(other)];
    memcpy(record, other, sizeof(other));
    write_control(name, "hub/0000000000000007", record);
    refused(find(name, &found, &error), &error, TH_PRECONDITION, ".control|another hub, Other");
    rig_delete_hub(name);
}

/* Its record says nothing of where instances are placed. */
static void an_earlier_placement(void **state)
{
    char name[64];
    char record[128];
    struct th_kafka_hub found;
    struct th_error error;
    rig_hub_name(name);
    make_topics(name, 1);
    snprintf(record, sizeof(record), "\x85\x01\xc4%c%s\x02\x07\x03\x01\x04\x01\x05\x01",
             (char)strlen(name), name);
    write_control(name, "hub/0000000000000007", record);
    refused(find(name, &found, &error), &error, TH_PRECONDITION, "another way|1; this one: 2");
    rig_delete_hub(name);
}

/* ---- at once ---- */

struct creation {
    pthread_t thread;
    const char *name;
    bool created;
    struct th_kafka_hub hub;
    struct th_error error;
};

static void *create_one(void *argument)
{
    struct creation *c = argument;
    c->created = create(c->name, 2, &c->hub, &c->error);
    return NULL;
}

static void created_at_once(void **state)
{
    enum { ROUNDS = 5, AT_ONCE = 4 };
    for (int round = 0; round < ROUNDS; round++) {
        struct creation all[AT_ONCE];
        char name[64];
        struct th_kafka_hub found;
        struct th_error error;
        int winners = 0;
        rig_hub_name(name);
        for (int i = 0; i < AT_ONCE; i++) {
            all[i] = (struct creation){.name = name};
            pthread_create(&all[i].thread, NULL, create_one, &all[i]);
        }
        for (int i = 0; i < AT_ONCE; i++) {
            pthread_join(all[i].thread, NULL);
        }
        done(find(name, &found, &error), &error);
        for (int i = 0; i < AT_ONCE; i++) {
            winners += all[i].created;
            if (!all[i].created && all[i].error.code != TH_EXISTS) {
                fail_msg("%s", all[i].error.message);
            }
            assert_true(all[i].hub.record.incarnation == found.record.incarnation);
        }
        assert_int_equal(winners, 1);
        rig_delete_hub(name);
    }
}

static void late_proposal(void **state)
{
    char name[64];
    struct th_kafka_hub found;
    struct th_error error;
    rig_hub_name(name);
    struct th_kafka_hub first;
    done(create(name, 2, &first, &error), &error);
    struct th_kafka_hub second = first;
    second.record.incarnation++;
    propose(&second);
    done(find(name, &found, &error), &error);
    assert_true(found.record.incarnation == first.record.incarnation);
    rig_delete_hub(name);
}

/* ---- properties ---- */

static void properties_pass_through(void **state)
{
    static const struct th_kafka_property good[] = {{"client.id", "a-test"},
                                                    {"socket.keepalive.enable", "true"}};
    struct th_kafka_cluster cluster = rig_cluster();
    struct th_error error;
    cluster.properties = good;
    cluster.property_count = TH_COUNT(good);
    done(th_kafka_check_properties(&cluster, &error), &error);
    char name[64];
    rig_hub_name(name);
    rig_create_hub(name, 1);
    struct th_kafka_options options = {.cluster = cluster, .hub = name};
    struct th_provider *provider = th_kafka_open(&options, &error);
    done(provider != NULL, &error);
    provider->ops->close(provider);
    rig_delete_hub(name);
}

static void properties_are_refused(void **state)
{
    static const struct {
        struct th_kafka_property property;
        const char *words;
    } bad[] = {
        {{"enable.idempotence", "false"}, "enable.idempotence|middle"},
        {{"acks", "1"}, "acks|replica"},
        {{"message.timeout.ms", "1000"}, "message.timeout.ms|deadline"},
        {{"auto.offset.reset", "earliest"}, "auto.offset.reset|noticed"},
        {{"bootstrap.servers", "elsewhere:9092"}, "bootstrap.servers|brokers"},
        {{"no.such.property", "1"}, "no.such.property"},
        {{"linger.ms", "soon"}, "linger.ms|soon"},
    };
    for (size_t i = 0; i < TH_COUNT(bad); i++) {
        struct th_kafka_cluster cluster = rig_cluster();
        struct th_kafka_hub hub;
        struct th_error error;
        cluster.properties = &bad[i].property;
        cluster.property_count = 1;
        refused(th_kafka_check_properties(&cluster, &error), &error, TH_INVALID, bad[i].words);
        refused(th_kafka_find_hub(&cluster, "Any", &hub, &error), &error, TH_INVALID, bad[i].words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(life),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(activities_of_their_own),
        cmocka_unit_test(a_clock_is_wrong),
        cmocka_unit_test(lists),
        cmocka_unit_test(looking_creates_nothing),
        cmocka_unit_test(nobody_answers),
        cmocka_unit_test(prepared_topics),
        cmocka_unit_test(unfinished),
        cmocka_unit_test(bad_settings),
        cmocka_unit_test(wrong_counts),
        cmocka_unit_test(foreign_records),
        cmocka_unit_test(an_earlier_placement),
        cmocka_unit_test(created_at_once),
        cmocka_unit_test(late_proposal),
        cmocka_unit_test(properties_pass_through),
        cmocka_unit_test(properties_are_refused),
    };
    return cmocka_run_group_tests_name("hubs of a cluster", tests, NULL, NULL);
}
