/*
 * One thread with libcurl, which speaks HTTP/2 to all peers. Answers of programs arrive on the
 * endpoint's thread and lie in the outbox until this one sends them.
 *
 * Each other process is a peer once per kind of program here, with a stream of its own: when
 * programs of one kind come or go, the others' work stays with them.
 */
#include "rpc/relay.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "base/memory.h"
#include "rpc/internal.h"

#define SERVICE      "/TaskHubSidecarService/"
#define TOKEN_LENGTH 32
#define PREFIX       5 /* of a message in gRPC: a byte for compression, four for the length */
#define FIRST_PAUSE  (50 * TH_MILLISECOND) /* before a lost connection is made again; doubles */
#define LAST_PAUSE   (2 * TH_SECOND)
#define SILENCE_S    100L             /* the other side speaks every 30 s */
#define LINGER       (30 * TH_SECOND) /* for what is in hand when a stream is no longer wanted */
#define FAREWELL     TH_SECOND
#define MESSAGE_MAX  (256u << 20)

/* Work of a peer that is here. */
struct token {
    UT_hash_handle hh; /* th_relay.tokens, by ticket */
    uint64_t ticket;
    struct peer *peer;
    char text[TOKEN_LENGTH + 1];
};

/* A call to a peer: its stream, or an answer. */
struct post {
    struct post *prev, *next;
    struct peer *peer;   /* NULL: an answer to one that is no longer known */
    uint64_t connection; /* the peer's at that time */
    CURL *easy;
    struct curl_slist *headers;
    struct th_buffer body;
    struct th_buffer came; /* of the stream: what is no whole message yet */
    bool is_stream;
    char status[24]; /* grpc-status */
};

struct peer {
    struct peer *prev, *next;
    struct th_relay *relay;
    struct th_rpc_owner owner;
    char *url;
    struct th_blob *functions; /* what its stream asks for */
    struct post *stream;       /* NULL: not connected */
    uint64_t connection;       /* its number */
    atomic_size_t open;        /* its work that is here, and answers that are not yet there */
    th_time retry_at, pause;
    th_time wanted_at; /* for the last time */
    bool wanted;
};

/* An answer that waits to be sent. */
struct letter {
    struct letter *next;
    struct peer *peer;
    const char *method;
    struct th_blob *message;
};

struct th_relay {
    struct th_relay_options options;
    pthread_t thread;
    CURLM *multi;
    struct th_rpc_owner watch; /* hears of changes */
    atomic_bool stop, changed;

    pthread_mutex_t lock; /* of the following */
    struct token *tokens;
    struct letter *outbox;
    struct letter **outbox_end;
    char **urls; /* of th_relay_set_peers; NULL: nothing new */
    size_t url_count;

    /* The thread's own. */
    uint64_t tickets;
    char **known; /* the others' URLs */
    size_t known_count;
    struct peer *peers;
    struct post *posts;
};

/* ---- tokens ---------------------------------------------------------------------------------- */

static uint64_t token_keep(struct peer *peer, const struct th_blob *item)
{
    struct th_relay *relay = peer->relay;
    struct token *token = TH_NEW(struct token);
    token->ticket = ++relay->tickets;
    token->peer = peer;
    memcpy(token->text, item->data + item->len - TOKEN_LENGTH, TOKEN_LENGTH);
    pthread_mutex_lock(&relay->lock);
    HASH_ADD(hh, relay->tokens, ticket, sizeof token->ticket, token);
    peer->open++;
    pthread_mutex_unlock(&relay->lock);
    return token->ticket;
}

/* Lock held. */
static void token_drop(struct th_relay *relay, struct token *token)
{
    HASH_DELETE(hh, relay->tokens, token);
    token->peer->open--;
    free(token);
}

static void tokens_drop(struct peer *peer)
{
    struct th_relay *relay = peer->relay;
    struct token *token, *next;
    pthread_mutex_lock(&relay->lock);
    HASH_ITER(hh, relay->tokens, token, next)
        if (token->peer == peer)
            token_drop(relay, token);
    pthread_mutex_unlock(&relay->lock);
}

/* ---- the outbox, any thread ------------------------------------------------------------------ */

/* Lock held. Takes the message over. */
static void mail(struct peer *peer, const char *method, struct th_blob *message)
{
    struct th_relay *relay = peer->relay;
    struct letter *letter = TH_NEW(struct letter);
    *letter = (struct letter){.peer = peer, .method = method, .message = message};
    *relay->outbox_end = letter;
    relay->outbox_end = &letter->next;
    peer->open++;
    curl_multi_wakeup(relay->multi);
}

static void on_answered(void *argument, uint64_t ticket, enum th_function_kind kind, void *response,
                        bool last)
{
    struct peer *peer = argument;
    struct th_relay *relay = peer->relay;
    struct token *token;
    pthread_mutex_lock(&relay->lock);
    HASH_FIND(hh, relay->tokens, &ticket, sizeof ticket, token);
    if (token) {
        const char *method = "CompleteEntityTask";
        if (kind == TH_FUNCTION_ORCHESTRATOR) {
            ((OrchestratorResponse *)response)->completion_token = token->text;
            method = "CompleteOrchestratorTask";
        } else if (kind == TH_FUNCTION_ACTIVITY) {
            ((ActivityResponse *)response)->completion_token = token->text;
            method = "CompleteActivityTask";
        } else {
            ((EntityBatchResult *)response)->completion_token = token->text;
        }
        mail(peer, method, th_rpc_pack(response));
        if (last)
            token_drop(relay, token);
    }
    pthread_mutex_unlock(&relay->lock);
}

/* Nobody here takes it any more: the other process finds somebody else. The three requests are
 * alike, and so is what they do. */
static void on_back(void *argument, uint64_t ticket)
{
    struct peer *peer = argument;
    struct th_relay *relay = peer->relay;
    struct token *token;
    pthread_mutex_lock(&relay->lock);
    HASH_FIND(hh, relay->tokens, &ticket, sizeof ticket, token);
    if (token) {
        AbandonOrchestrationTaskRequest request;
        abandon_orchestration_task_request__init(&request);
        request.completion_token = token->text;
        mail(peer, "AbandonTaskOrchestratorWorkItem", th_rpc_pack(&request.base));
        token_drop(relay, token);
    }
    pthread_mutex_unlock(&relay->lock);
}

static void on_changed(void *argument)
{
    struct th_relay *relay = argument;
    atomic_store(&relay->changed, true);
    curl_multi_wakeup(relay->multi);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void add_header(struct post *post, const char *name, const char *value)
{
    TH_BUFFER line = {0};
    th_buffer_format(&line, "%s: %s", name, value);
    post->headers = curl_slist_append(post->headers, line.data);
}

static size_t on_header(char *data, size_t size, size_t count, void *argument)
{
    static const char name[] = "grpc-status:";
    struct post *post = argument;
    size_t len = size * count;
    if (len > sizeof name && strncasecmp(data, name, sizeof name - 1) == 0)
        snprintf(post->status, sizeof post->status, "%.*s", (int)(len - sizeof name + 1),
                 data + sizeof name - 1);
    return len;
}

static size_t on_data(char *data, size_t size, size_t count, void *argument);

static void frame(struct th_buffer *out, struct th_str message)
{
    const char prefix[PREFIX] = {0, (char)(message.len >> 24), (char)(message.len >> 16),
                                 (char)(message.len >> 8), (char)message.len};
    th_buffer_add(out, prefix, PREFIX);
    th_buffer_str(out, message);
}

/* A stream makes a connection and ends it; answers go over that one. With "prior knowledge" libcurl
 * 7.88 takes a connection that it uses again for a new one, and breaks it. */
static long version_of(const char *url, bool is_stream)
{
    if (strncmp(url, "https:", 6) == 0)
        return CURL_HTTP_VERSION_2TLS;
    return is_stream ? CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE : CURL_HTTP_VERSION_2_0;
}

static void set_options(const struct th_relay *relay, const struct post *post, const char *url,
                        const char *method)
{
    const struct th_relay_options *o = &relay->options;
    TH_BUFFER path = {0};
    CURL *easy = post->easy;
    th_buffer_format(&path, "%s" SERVICE "%s", url, method);
    curl_easy_setopt(easy, CURLOPT_URL, path.data);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, version_of(url, post->is_stream));
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, post->is_stream ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, post->is_stream ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, post->body.data);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)post->body.len);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, post->headers);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, post);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, post);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, post);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, 2000L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, post->is_stream ? SILENCE_S : 10L);
    if (o->ca)
        curl_easy_setopt(easy, CURLOPT_CAINFO, o->ca);
    if (o->certificate)
        curl_easy_setopt(easy, CURLOPT_SSLCERT, o->certificate);
    if (o->private_key)
        curl_easy_setopt(easy, CURLOPT_SSLKEY, o->private_key);
}

static struct post *post_send(struct peer *peer, const char *method, struct th_str message,
                              bool is_stream)
{
    struct th_relay *relay = peer->relay;
    const struct th_relay_options *o = &relay->options;
    struct post *post = TH_NEW(struct post);
    post->easy = curl_easy_init();
    post->peer = peer;
    post->connection = peer->connection;
    post->is_stream = is_stream;
    frame(&post->body, message);
    add_header(post, "content-type", "application/grpc");
    add_header(post, "te", "trailers");
    add_header(post, "taskhub", o->hub_name);
    add_header(post, RELAY_FIELD, o->name);
    post->headers = curl_slist_append(post->headers, "expect:");
    if (o->key) {
        TH_BUFFER bearer = {0};
        th_buffer_format(&bearer, "Bearer %s", o->key);
        add_header(post, "authorization", bearer.data);
    }
    set_options(relay, post, peer->url, method);
    DL_APPEND(relay->posts, post);
    curl_multi_add_handle(relay->multi, post->easy);
    return post;
}

static void post_free(struct th_relay *relay, struct post *post)
{
    curl_multi_remove_handle(relay->multi, post->easy);
    curl_easy_cleanup(post->easy);
    curl_slist_free_all(post->headers);
    th_buffer_deinit(&post->body);
    th_buffer_deinit(&post->came);
    DL_DELETE(relay->posts, post);
    free(post);
}

/* ---- what a stream brings -------------------------------------------------------------------- */

static void take_item(struct peer *peer, struct th_str message)
{
    struct th_relay *relay = peer->relay;
    struct th_error error = {.code = TH_OK};
    if (message.len < TOKEN_LENGTH + 2)
        return; /* a ping */
    struct th_blob *item = th_blob_new(message.data, message.len);
    uint64_t ticket = token_keep(peer, item);
    if (!th_rpc_relay(relay->options.hub, &peer->owner, ticket, item, &error))
        th_log(relay->options.log, TH_LOG_ERROR, "rpc.relay", "%s sent %s", peer->url,
               error.message);
}

/* False: it is no gRPC. */
static bool take_messages(struct post *post)
{
    struct th_buffer *came = &post->came;
    size_t at = 0;
    while (came->len - at >= PREFIX) {
        const unsigned char *p = (const unsigned char *)came->data + at;
        size_t len = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
        if (p[0] != 0 || len > MESSAGE_MAX)
            return false;
        if (came->len - at < PREFIX + len)
            break;
        take_item(post->peer, th_str_n(came->data + at + PREFIX, len));
        at += PREFIX + len;
    }
    memmove(came->data, came->data + at, came->len - at);
    came->len -= at;
    return true;
}

static size_t on_data(char *data, size_t size, size_t count, void *argument)
{
    struct post *post = argument;
    size_t len = size * count;
    if (!post->is_stream)
        return len;
    post->peer->pause = FIRST_PAUSE;
    th_buffer_add(&post->came, data, len);
    return take_messages(post) ? len : 0;
}

/* ---- peers ----------------------------------------------------------------------------------- */

static void peer_disconnect(struct peer *peer)
{
    struct th_relay *relay = peer->relay;
    if (!peer->stream)
        return;
    post_free(relay, peer->stream);
    peer->stream = NULL;
    th_rpc_leave(relay->options.hub, &peer->owner);
    tokens_drop(peer);
    th_rpc_join(relay->options.hub, &peer->owner);
}

static void peer_connect(struct peer *peer)
{
    peer->connection++;
    peer->stream = post_send(peer, "GetWorkItems", th_blob_view(peer->functions), true);
}

static struct peer *peer_new(struct th_relay *relay, const char *url, struct th_blob *functions)
{
    struct peer *peer = TH_NEW(struct peer);
    peer->relay = relay;
    peer->url = th_str_dup(th_str_of(url));
    peer->functions = th_blob_ref(functions);
    peer->pause = FIRST_PAUSE;
    peer->owner = (struct th_rpc_owner){.argument = peer, .back = on_back, .answered = on_answered};
    th_rpc_join(relay->options.hub, &peer->owner);
    DL_APPEND(relay->peers, peer);
    return peer;
}

static void letter_free(struct letter *letter)
{
    th_blob_unref(letter->message);
    free(letter);
}

/* Nothing of it is in the outbox any more, nor will be. */
static void peer_forget(struct peer *peer)
{
    struct th_relay *relay = peer->relay;
    struct post *post;
    DL_FOREACH(relay->posts, post)
        if (post->peer == peer)
            post->peer = NULL;
    pthread_mutex_lock(&relay->lock);
    for (struct letter **at = &relay->outbox; *at;) {
        struct letter *letter = *at;
        if (letter->peer == peer) {
            *at = letter->next;
            letter_free(letter);
        } else {
            at = &letter->next;
        }
    }
    relay->outbox_end = &relay->outbox;
    while (*relay->outbox_end)
        relay->outbox_end = &(*relay->outbox_end)->next;
    pthread_mutex_unlock(&relay->lock);
}

static void peer_free(struct peer *peer)
{
    struct th_relay *relay = peer->relay;
    peer_disconnect(peer);
    th_rpc_leave(relay->options.hub, &peer->owner);
    peer_forget(peer);
    DL_DELETE(relay->peers, peer);
    free(peer->url);
    th_blob_unref(peer->functions);
    free(peer);
}

static void want(struct th_relay *relay, const char *url, struct th_blob *functions)
{
    struct peer *peer;
    DL_FOREACH(relay->peers, peer)
        if (strcmp(peer->url, url) == 0 &&
            th_str_eq(th_blob_view(peer->functions), th_blob_view(functions)))
            break;
    if (!peer)
        peer = peer_new(relay, url, functions);
    peer->wanted = true;
}

static void free_urls(char **urls, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(urls[i]);
    free(urls);
}

static void take_urls(struct th_relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    char **urls = relay->urls;
    size_t count = relay->url_count;
    relay->urls = NULL;
    pthread_mutex_unlock(&relay->lock);
    if (!urls)
        return;
    free_urls(relay->known, relay->known_count);
    relay->known = urls;
    relay->known_count = count;
    atomic_store(&relay->changed, true);
}

/* What is in hand is finished first, or it would be done again. */
static void drop_unwanted(struct th_relay *relay, th_time now)
{
    struct peer *peer, *next;
    DL_FOREACH_SAFE(relay->peers, peer, next) {
        bool busy = peer->stream && peer->open > 0 && now - peer->wanted_at < LINGER;
        if (!peer->wanted && !busy)
            peer_free(peer);
    }
}

static void choose_peers(struct th_relay *relay)
{
    size_t count;
    struct th_blob **functions = th_rpc_functions(relay->options.hub, &count);
    struct peer *peer;
    DL_FOREACH(relay->peers, peer)
        peer->wanted = false;
    for (size_t i = 0; i < count; i++) {
        for (size_t n = 0; n < relay->known_count; n++)
            want(relay, relay->known[n], functions[i]);
        th_blob_unref(functions[i]);
    }
    free(functions);
}

static void keep_connected(struct th_relay *relay, th_time now)
{
    struct peer *peer;
    DL_FOREACH(relay->peers, peer) {
        if (!peer->wanted)
            continue;
        peer->wanted_at = now;
        if (!peer->stream && peer->retry_at <= now)
            peer_connect(peer);
    }
}

static th_time next_retry(const struct th_relay *relay)
{
    const struct peer *peer;
    th_time next = TH_TIME_NONE;
    DL_FOREACH(relay->peers, peer)
        if (!peer->stream && peer->wanted && (next == TH_TIME_NONE || peer->retry_at < next))
            next = peer->retry_at;
    return next;
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void send_outbox(struct th_relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    struct letter *letter = relay->outbox;
    relay->outbox = NULL;
    relay->outbox_end = &relay->outbox;
    pthread_mutex_unlock(&relay->lock);
    for (struct letter *next; letter; letter = next) {
        next = letter->next;
        if (letter->peer->stream)
            post_send(letter->peer, letter->method, th_blob_view(letter->message), false);
        else /* the work was given to somebody else */
            letter->peer->open--;
        letter_free(letter);
    }
}

static void peer_lost(struct peer *peer, th_time now)
{
    peer->retry_at = now + peer->pause;
    peer->pause = peer->pause * 2 < LAST_PAUSE ? peer->pause * 2 : LAST_PAUSE;
    peer_disconnect(peer);
}

static void stream_over(struct post *post, CURLcode result, th_time now)
{
    struct peer *peer = post->peer;
    th_log(peer->relay->options.log, TH_LOG_DEBUG, "rpc.relay", "%s: %s%s%s", peer->url,
           curl_easy_strerror(result), post->status[0] ? ", status" : "", post->status);
    peer_lost(peer, now);
}

/* One that made no sense arrived, too. */
static bool arrived(const struct post *post, CURLcode result)
{
    int status = post->status[0] ? atoi(post->status) : TH_GRPC_UNKNOWN;
    return result == CURLE_OK && (status == TH_GRPC_OK || status == TH_GRPC_INVALID_ARGUMENT);
}

/* Without its answer the peer would believe for ever that the work is done here: it learns by the
 * end of the stream that it is not. */
static void answer_over(struct th_relay *relay, struct post *post, CURLcode result, th_time now)
{
    struct peer *peer = post->peer;
    bool lost = !arrived(post, result);
    uint64_t connection = post->connection;
    if (lost)
        th_log(relay->options.log, TH_LOG_WARN, "rpc.relay",
               "an answer did not get back to where the work came from: %s, status%s",
               curl_easy_strerror(result), post->status);
    post_free(relay, post);
    if (!peer)
        return;
    peer->open--;
    if (lost && peer->stream && peer->connection == connection)
        peer_lost(peer, now);
}

static void end_posts(struct th_relay *relay, th_time now)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(relay->multi, &left))) {
        struct post *post = NULL;
        CURLcode result = message->data.result;
        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&post);
        if (post->is_stream)
            stream_over(post, result, now);
        else
            answer_over(relay, post, result, now);
    }
}

static void poll_until(struct th_relay *relay, th_time next, th_time now)
{
    th_time wait = next == TH_TIME_NONE || next - now > TH_SECOND ? TH_SECOND : next - now;
    int ms = wait > 0 ? (int)((wait + TH_MILLISECOND - 1) / TH_MILLISECOND) : 0;
    curl_multi_poll(relay->multi, NULL, 0, ms, NULL);
}

static bool has_answers(const struct th_relay *relay)
{
    const struct post *post;
    DL_FOREACH(relay->posts, post)
        if (!post->is_stream)
            return true;
    return false;
}

static void *relay_main(void *argument)
{
    struct th_relay *relay = argument;
    int running;
    th_time deadline = TH_TIME_NONE;
    pthread_setname_np(pthread_self(), "rpc-relay");
    for (;;) {
        th_time now = th_monotonic();
        bool stop = atomic_load(&relay->stop);
        if (stop && deadline == TH_TIME_NONE)
            deadline = now + FAREWELL;
        send_outbox(relay);
        if (stop && (now >= deadline || !has_answers(relay)))
            return NULL;
        take_urls(relay);
        if (atomic_exchange(&relay->changed, false))
            choose_peers(relay);
        drop_unwanted(relay, now);
        keep_connected(relay, now);
        curl_multi_perform(relay->multi, &running);
        end_posts(relay, now);
        poll_until(relay, next_retry(relay), now);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

static const char *copy(const char *text)
{
    return text ? th_str_dup(th_str_of(text)) : NULL;
}

static void relay_free(struct th_relay *relay)
{
    const struct th_relay_options *o = &relay->options;
    const char *const texts[] = {o->hub_name, o->name,        o->key,
                                 o->ca,       o->certificate, o->private_key};
    for (size_t i = 0; i < TH_COUNT(texts); i++)
        free((char *)texts[i]);
    if (relay->multi)
        curl_multi_cleanup(relay->multi);
    pthread_mutex_destroy(&relay->lock);
    free(relay);
}

struct th_relay *th_relay_start(const struct th_relay_options *options, struct th_error *error)
{
    struct th_relay *relay = TH_NEW(struct th_relay);
    struct th_relay_options *o = &relay->options;
    *o = *options;
    o->hub_name = copy(options->hub_name);
    o->name = copy(options->name);
    o->key = copy(options->key);
    o->ca = copy(options->ca);
    o->certificate = copy(options->certificate);
    o->private_key = copy(options->private_key);
    relay->outbox_end = &relay->outbox;
    pthread_mutex_init(&relay->lock, NULL);
    relay->multi = curl_global_init(CURL_GLOBAL_DEFAULT) == 0 ? curl_multi_init() : NULL;
    if (relay->multi) {
        curl_multi_setopt(relay->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
        curl_multi_setopt(relay->multi, CURLMOPT_MAX_CONCURRENT_STREAMS, 10000L);
    }
    relay->watch = (struct th_rpc_owner){.argument = relay, .changed = on_changed};
    if (relay->multi && pthread_create(&relay->thread, NULL, relay_main, relay) == 0) {
        th_rpc_join(o->hub, &relay->watch);
        on_changed(relay);
        return relay;
    }
    relay_free(relay);
    th_fail(error, TH_INTERNAL, "cannot start the thread that relays work");
    return NULL;
}

void th_relay_set_peers(struct th_relay *relay, const struct th_str *urls, size_t count)
{
    char **copies = th_alloc((count + 1) * sizeof *copies);
    for (size_t i = 0; i < count; i++)
        copies[i] = th_str_dup(urls[i]);
    pthread_mutex_lock(&relay->lock);
    if (relay->urls)
        free_urls(relay->urls, relay->url_count);
    relay->urls = copies;
    relay->url_count = count;
    pthread_mutex_unlock(&relay->lock);
    curl_multi_wakeup(relay->multi);
}

void th_relay_stop(struct th_relay *relay)
{
    struct peer *peer, *next_peer;
    struct post *post, *next_post;
    if (!relay)
        return;
    th_rpc_leave(relay->options.hub, &relay->watch);
    atomic_store(&relay->stop, true);
    curl_multi_wakeup(relay->multi);
    pthread_join(relay->thread, NULL);
    DL_FOREACH_SAFE(relay->peers, peer, next_peer)
        peer_free(peer);
    DL_FOREACH_SAFE(relay->posts, post, next_post)
        post_free(relay, post);
    for (struct letter *letter = relay->outbox, *next; letter; letter = next) {
        next = letter->next;
        letter_free(letter);
    }
    if (relay->urls)
        free_urls(relay->urls, relay->url_count);
    free_urls(relay->known, relay->known_count);
    relay_free(relay);
}
