#include "contract/broken.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"

enum { LOGS = 16 };

/* A submission held back to be exchanged with the next one. */
struct held {
    bool full;
    uint32_t partition, source;
    uint64_t epoch, tag;
    struct th_blob *blob;
};

struct broken {
    struct th_provider provider;
    struct th_provider *inner;
    enum mutation mutation;
    struct th_completions own;
    unsigned appends, sends, deliveries;
    int64_t next_offset[LOGS];
    uint64_t owner[LOGS];
    bool disturbed[LOGS];
    struct th_watermark stored[LOGS];
    uint64_t refused_tag;
    struct held append, send;
    struct th_completion late;
    struct th_blob *input;
    char *name;
    size_t skip, limit;
};

static struct broken *broken_of(struct th_provider *provider)
{
    return (struct broken *)provider;
}

/* A completion the inner provider knows nothing of. */
static void complete(struct broken *b, enum th_completion_kind kind, uint32_t partition,
                     uint64_t tag, int64_t offset, enum th_code code)
{
    struct th_completion done = {
        .kind = kind, .partition = partition, .tag = tag, .offset = offset};
    if (code != TH_OK) {
        done = th_completion_failed(kind, partition, tag, code, "broken on purpose");
    }
    th_completions_push(&b->own, &done);
    th_provider_wake(&b->provider);
}

static struct th_blob *cut(struct th_blob *blob, size_t limit)
{
    return blob && blob->len > limit ? th_blob_new(blob->data, limit) : th_blob_ref(blob);
}

/* ---- logs ---- */

static struct th_provider_traits broken_traits(struct th_provider *provider)
{
    struct broken *b = broken_of(provider);
    return b->inner->ops->traits(b->inner);
}

static void broken_claim(struct th_provider *provider, uint32_t partition, struct th_blob *record,
                         uint64_t tag)
{
    struct broken *b = broken_of(provider);
    if (b->mutation == MUTATION_CLAIM_NOT_LOGGED) {
        complete(b, TH_DONE_CLAIM, partition, tag, 1000 + b->appends++, TH_OK);
    } else {
        b->inner->ops->claim(b->inner, partition, record, tag);
    }
}

static void broken_read(struct th_provider *provider, uint32_t partition, int64_t from, int64_t to,
                        uint64_t tag)
{
    struct broken *b = broken_of(provider);
    if (b->mutation == MUTATION_READ_WRONG_LOG && partition == 2) {
        partition = 3;
    }
    from += b->mutation == MUTATION_READ_SKIPS_FROM;
    to += b->mutation == MUTATION_READ_INCLUDES_TO && to < INT64_MAX;
    b->inner->ops->read(b->inner, partition, from, to, tag);
}

static void flush_append(struct broken *b)
{
    struct held held = b->append;
    b->append = (struct held){0};
    if (held.full) {
        b->inner->ops->append(b->inner, held.partition, held.epoch, held.blob, held.tag);
        th_blob_unref(held.blob);
    }
}

static void flush_send(struct broken *b)
{
    struct held held = b->send;
    b->send = (struct held){0};
    if (held.full) {
        b->inner->ops->send(b->inner, held.source, held.partition, held.blob, held.tag);
        th_blob_unref(held.blob);
    }
}

/* True when the append was dealt with here. */
static bool append_broken(struct broken *b, uint32_t p, uint64_t epoch, struct th_blob *record,
                          uint64_t tag)
{
    struct th_provider_traits traits = b->inner->ops->traits(b->inner);
    switch (b->mutation) {
    case MUTATION_SWAP_APPENDS:
        if (p != 0 || b->append.full) {
            return false; /* a held one follows */
        }
        b->append = (struct held){true, p, 0, epoch, tag, th_blob_ref(record)};
        return true;
    case MUTATION_LOSE_APPEND:
        if (++b->appends == 5) {
            complete(b, TH_DONE_APPEND, p, tag, 0, TH_OK);
            return true;
        }
        return false;
    case MUTATION_OLD_EPOCH_BREAKS_NEW:
        if (epoch == b->owner[p] && b->disturbed[p]) {
            complete(b, TH_DONE_APPEND, p, tag, -1, TH_UNAVAILABLE);
            return true;
        }
        b->disturbed[p] |= epoch < b->owner[p];
        return false;
    case MUTATION_NO_LIMIT:
        if (traits.max_record_bytes && record->len > traits.max_record_bytes) {
            complete(b, TH_DONE_APPEND, p, tag, b->next_offset[p], TH_OK);
            return true;
        }
        return false;
    case MUTATION_ACK_TOO_EARLY:
    case MUTATION_ACK_TOO_EARLY_TOO:
        complete(b, TH_DONE_APPEND, p, tag, b->next_offset[p]++, TH_OK);
        return false; /* poll drops the true completion */
    default:
        return false;
    }
}

static void broken_append(struct th_provider *provider, uint32_t partition, uint64_t epoch,
                          struct th_blob *record, uint64_t tag)
{
    struct broken *b = broken_of(provider);
    if (append_broken(b, partition, epoch, record, tag)) {
        return;
    }
    if (b->mutation == MUTATION_GO_ON_AFTER_FAILURE) {
        epoch = (UINT64_C(1) << 40) + b->appends++;
    }
    size_t limit = b->mutation == MUTATION_CUT_BIG_RECORDS ? 1 << 20 : SIZE_MAX;
    struct th_blob *kept = cut(record, limit);
    if (b->mutation == MUTATION_DAMAGE_RECORD) {
        th_blob_unref(kept);
        kept = th_blob_new(record->data, record->len);
        kept->data[kept->len - 1] ^= 1;
    }
    b->inner->ops->append(b->inner, partition, epoch, kept, tag);
    th_blob_unref(kept);
    if (partition == 0) {
        flush_append(b);
    }
}

static void broken_trim_log(struct th_provider *provider, uint32_t partition, int64_t below)
{
    struct broken *b = broken_of(provider);
    b->inner->ops->trim_log(b->inner, partition, below + (b->mutation == MUTATION_TRIM_TOO_FAR));
}

/* ---- inboxes ---- */

static bool send_broken(struct broken *b, uint32_t source, uint32_t destination,
                        struct th_blob *message, uint64_t tag)
{
    struct held held = {true, destination, source, 0, tag, message};
    switch (b->mutation) {
    case MUTATION_SWAP_SENDS:
        if (source != 0 || b->send.full) {
            return false; /* a held one follows */
        }
        th_blob_ref(message);
        b->send = held;
        return true;
    case MUTATION_LOSE_SEND:
        if (++b->sends == 5) {
            complete(b, TH_DONE_SEND, destination, tag, -1, TH_OK);
            return true;
        }
        return false;
    case MUTATION_SEND_ACK_TOO_EARLY:
        complete(b, TH_DONE_SEND, destination, tag, -1, TH_OK);
        return false; /* poll drops the true completion */
    case MUTATION_SEND_IN_SPITE:
        th_blob_unref(b->send.blob);
        th_blob_ref(message);
        b->send = held;
        b->send.full = false; /* only remembered */
        return false;
    default:
        return false;
    }
}

static void broken_send(struct th_provider *provider, uint32_t source, uint32_t destination,
                        struct th_blob *message, uint64_t tag)
{
    struct broken *b = broken_of(provider);
    if (send_broken(b, source, destination, message, tag)) {
        return;
    }
    if (b->mutation == MUTATION_DELIVER_WRONG_PARTITION && destination == 3) {
        destination = 1;
    }
    size_t limit = b->mutation == MUTATION_CUT_BIG_RECORDS ? 1 << 20 : SIZE_MAX;
    struct th_blob *kept = cut(message, limit);
    b->inner->ops->send(b->inner, source, destination, kept, tag);
    th_blob_unref(kept);
    if (b->mutation == MUTATION_SWAP_SENDS && source == 0) {
        flush_send(b);
    }
}

static void broken_inbox_open(struct th_provider *provider, uint32_t partition, int64_t from)
{
    struct broken *b = broken_of(provider);
    from = b->mutation == MUTATION_OPEN_FROM_START ? 0 : from;
    b->inner->ops->inbox_open(b->inner, partition, from + (b->mutation == MUTATION_OPEN_SKIPS));
}

static void broken_inbox_close(struct th_provider *provider, uint32_t partition)
{
    struct broken *b = broken_of(provider);
    if (b->mutation != MUTATION_CLOSE_IGNORED) {
        b->inner->ops->inbox_close(b->inner, partition);
    }
}

static void broken_trim_inbox(struct th_provider *provider, uint32_t partition, int64_t below)
{
    struct broken *b = broken_of(provider);
    below += b->mutation == MUTATION_TRIM_INBOX_TOO_FAR;
    b->inner->ops->trim_inbox(b->inner, partition, below);
}

/* ---- projections ---- */

static void replace_blob(struct th_blob **place, struct th_blob *blob)
{
    th_blob_unref(*place);
    *place = blob;
}

static void break_row(struct broken *b, struct th_row *row)
{
    switch (b->mutation) {
    case MUTATION_ROW_TIMES:
        row->completed = TH_TIME_NONE;
        break;
    case MUTATION_ROW_KEEPS_INPUT:
        if (row->input) {
            replace_blob(&b->input, th_blob_ref(row->input));
        } else {
            row->input = th_blob_ref(b->input);
        }
        break;
    case MUTATION_KEEP_HISTORY:
        row->replace_history = false;
        break;
    case MUTATION_LOSE_HISTORY:
        row->replace_history = true;
        break;
    case MUTATION_IGNORE_DELETE:
    case MUTATION_QUERY_SHOWS_DELETED:
        row->deleted = false;
        break;
    case MUTATION_EMPTY_IS_ABSENT:
        if (row->input && row->input->len == 0) {
            replace_blob(&row->input, NULL);
        }
        break;
    case MUTATION_ABSENT_IS_EMPTY:
        if (!row->output) {
            row->output = th_blob_new("", 0);
        }
        break;
    case MUTATION_CUT_BIG_INPUTS:
        replace_blob(&row->input, cut(row->input, 16 << 20));
        break;
    default:
        break;
    }
}

static void break_watermark(struct broken *b, struct th_projection *batch, uint64_t tag)
{
    struct th_watermark *stored = &b->stored[batch->partition];
    bool same = th_watermark_equal(&batch->previous, stored);
    if (b->mutation == MUTATION_FORGET_WATERMARK ||
        (b->mutation == MUTATION_WATERMARK_OFFSET_ONLY &&
         batch->previous.offset == stored->offset)) {
        batch->previous = *stored;
        same = true;
    } else if (b->mutation == MUTATION_REFUSED_IS_APPLIED && !same) {
        batch->previous = batch->next = *stored;
        b->refused_tag = tag;
    }
    if (same) {
        *stored = batch->next;
    }
}

static void broken_project(struct th_provider *provider, const struct th_projection *batch,
                           uint64_t tag)
{
    struct broken *b = broken_of(provider);
    struct th_projection changed = *batch;
    struct th_row *rows = th_alloc(batch->count * sizeof(struct th_row));
    for (size_t i = 0; i < batch->count; i++) {
        th_row_copy(&rows[i], &batch->rows[i]);
        break_row(b, &rows[i]);
    }
    changed.rows = rows;
    break_watermark(b, &changed, tag);
    if (b->mutation == MUTATION_PROJECT_ACK_TOO_EARLY) {
        complete(b, TH_DONE_PROJECT, batch->partition, tag, -1, TH_OK);
    }
    b->inner->ops->project(b->inner, &changed, tag);
    for (size_t i = 0; i < batch->count; i++) {
        th_row_deinit(&rows[i]);
    }
    free(rows);
}

static void broken_load(struct th_provider *provider, uint32_t partition, struct th_str instance_id,
                        bool history, uint64_t tag)
{
    struct broken *b = broken_of(provider);
    partition = b->mutation == MUTATION_LOAD_ANY_PARTITION ? 0 : partition;
    history |= b->mutation == MUTATION_HISTORY_UNASKED;
    b->inner->ops->load(b->inner, partition, instance_id, history, tag);
}

static void broken_state(struct th_provider *provider, uint32_t partition, uint64_t tag)
{
    struct broken *b = broken_of(provider);
    b->inner->ops->state(b->inner, partition, tag);
}

/* ---- queries ---- */

static void break_query(struct broken *b, struct th_query *query, char *prefix)
{
    query->statuses = b->mutation == MUTATION_ANY_STATUS ? 0 : query->statuses;
    query->to += b->mutation == MUTATION_TO_INCLUDED && query->to != TH_TIME_NONE;
    query->from += b->mutation == MUTATION_FROM_EXCLUDED && query->from != TH_TIME_NONE;
    if (b->mutation == MUTATION_RUNNING_HAS_ENDED) {
        query->completed_from = query->completed_to = TH_TIME_NONE;
    }
    if (b->mutation == MUTATION_PREFIX_FOLDS_CASE && prefix) {
        for (size_t i = 0; prefix[i]; i++) {
            prefix[i] = (char)(prefix[i] >= 'A' && prefix[i] <= 'Z' ? prefix[i] + 32 : prefix[i]);
        }
        query->id_prefix = th_str_of(prefix);
    }
    if (b->mutation == MUTATION_LAST_CONDITION_WINS && th_str_present(query->name)) {
        query->id_prefix = TH_STR_ABSENT;
    }
    query->limit = b->mutation == MUTATION_NO_LIMIT_ON_PAGES ? 1000 : query->limit;
    query->bytes = b->mutation == MUTATION_NO_SIZE_OF_PAGES ? 0 : query->bytes;
    query->payloads |= b->mutation == MUTATION_PAYLOADS_UNASKED;
    query->payloads &= b->mutation != MUTATION_NO_PAYLOADS;
}

static void broken_query(struct th_provider *provider, const struct th_query *query, uint64_t tag)
{
    struct broken *b = broken_of(provider);
    struct th_query changed = *query;
    TH_AUTOFREE char *prefix = th_str_dup(query->id_prefix);
    break_query(b, &changed, prefix);
    free(b->name);
    b->name = th_str_dup(query->name);
    if (b->mutation == MUTATION_PAGE_BY_COUNT) {
        long long skip = 0;
        th_str_to_i64(query->continuation, &skip);
        b->skip = (size_t)skip;
        b->limit = query->limit;
        changed.limit = 1000;
        changed.continuation = TH_STR_ABSENT;
    }
    b->inner->ops->query(b->inner, &changed, tag);
}

static void drop_rows(struct th_completion *done, size_t from, size_t count)
{
    for (size_t i = from; i < from + count; i++) {
        th_row_deinit(&done->rows[i]);
    }
    memmove(done->rows + from, done->rows + from + count,
            (done->row_count - from - count) * sizeof(struct th_row));
    done->row_count -= count;
}

static void drop_other_names(const struct broken *b, struct th_completion *done)
{
    for (size_t i = done->row_count; b->name && i-- > 0;) {
        if (!th_str_eq(done->rows[i].name, th_str_of(b->name))) {
            drop_rows(done, i, 1);
        }
    }
}

static void page_by_count(const struct broken *b, struct th_completion *done)
{
    size_t skip = b->skip < done->row_count ? b->skip : done->row_count;
    drop_rows(done, 0, skip);
    if (done->row_count > b->limit) {
        char text[32];
        drop_rows(done, b->limit, done->row_count - b->limit);
        snprintf(text, sizeof(text), "%zu", skip + b->limit);
        free(done->continuation);
        done->continuation = th_str_dup(th_str_of(text));
    }
}

static void reverse_rows(struct th_completion *done)
{
    for (size_t i = 0; i < done->row_count / 2; i++) {
        struct th_row row = done->rows[i];
        done->rows[i] = done->rows[done->row_count - 1 - i];
        done->rows[done->row_count - 1 - i] = row;
    }
}

static void break_page(const struct broken *b, struct th_completion *done)
{
    switch (b->mutation) {
    case MUTATION_NAME_BY_CASE:
        drop_other_names(b, done);
        break;
    case MUTATION_PAGE_GAP:
        if (done->continuation && done->row_count > 1) {
            drop_rows(done, done->row_count - 1, 1);
        }
        break;
    case MUTATION_PAGE_BY_COUNT:
        if (done->error.code == TH_OK) {
            page_by_count(b, done);
        }
        break;
    case MUTATION_REVERSE:
        reverse_rows(done);
        break;
    case MUTATION_ACCEPT_GARBAGE:
        done->error = (struct th_error){0};
        break;
    default:
        break;
    }
}

/* ---- completions ---- */

static void break_state(const struct broken *b, struct th_completion *done)
{
    done->log_end -= b->mutation == MUTATION_STATE_END;
    done->inbox_end -= b->mutation == MUTATION_STATE_INBOX_END;
    if (b->mutation == MUTATION_STATE_WATERMARK) {
        done->watermark = TH_WATERMARK_NONE;
    }
}

static void note_claim(struct broken *b, const struct th_completion *done)
{
    b->next_offset[done->partition] = done->offset + 1;
    b->owner[done->partition] = (uint64_t)done->offset;
}

/* What comes twice, and what was held back until another had passed it. */
static void repeat(struct broken *b, struct th_completion *done)
{
    if (b->mutation == MUTATION_DELIVER_TWICE && done->kind == TH_DONE_DELIVER &&
        ++b->deliveries == 3) {
        struct th_completion again = *done;
        th_blob_ref(again.blob);
        th_completions_push(&b->own, &again);
    }
    if (b->mutation == MUTATION_SWAP_APPEND_DONE && b->appends == 4 && b->late.tag) {
        th_completions_push(&b->own, &b->late);
        b->late = (struct th_completion){0};
    }
    if (b->mutation == MUTATION_COMPLETE_TWICE && done->kind == TH_DONE_LOAD) {
        complete(b, done->kind, done->partition, done->tag, -1, TH_NOT_FOUND);
    }
}

/* True when the completion is kept from the node. */
static bool suppressed(struct broken *b, const struct th_completion *done)
{
    switch (b->mutation) {
    case MUTATION_LOSE_COMPLETION:
        return done->kind == TH_DONE_QUERY;
    case MUTATION_ACK_TOO_EARLY:
    case MUTATION_ACK_TOO_EARLY_TOO:
        return done->kind == TH_DONE_APPEND;
    case MUTATION_SWAP_APPEND_DONE:
        if (done->kind == TH_DONE_APPEND && done->partition == 0 && ++b->appends == 3) {
            b->late = *done; /* holds no memory */
            return true;
        }
        return false;
    case MUTATION_SEND_ACK_TOO_EARLY:
        return done->kind == TH_DONE_SEND;
    case MUTATION_PROJECT_ACK_TOO_EARLY:
        return done->kind == TH_DONE_PROJECT;
    case MUTATION_SEND_IN_SPITE:
        if (done->kind == TH_DONE_SEND && done->error.code != TH_OK && done->tag == b->send.tag) {
            b->inner->ops->send(b->inner, b->send.source, b->send.partition, b->send.blob,
                                b->send.tag);
            return true;
        }
        return false;
    default:
        return false;
    }
}

static void break_completion(struct broken *b, struct th_completion *done)
{
    if (done->kind == TH_DONE_CLAIM && done->error.code == TH_OK) {
        note_claim(b, done);
    } else if (done->kind == TH_DONE_STATE) {
        break_state(b, done);
    } else if (done->kind == TH_DONE_QUERY) {
        break_page(b, done);
    } else if (done->kind == TH_DONE_APPEND) {
        done->offset += b->mutation == MUTATION_OFFSET_TOO_HIGH;
    } else if (done->kind == TH_DONE_READ && b->mutation == MUTATION_READ_NEVER_LAST) {
        done->last = false;
    } else if (done->kind == TH_DONE_PROJECT && b->mutation == MUTATION_REFUSED_IS_APPLIED &&
               done->tag == b->refused_tag) {
        th_fail(&done->error, TH_FENCED, "broken on purpose");
    }
    if (b->mutation == MUTATION_WRONG_TAG) {
        done->tag &= UINT32_MAX;
    }
    repeat(b, done);
}

static size_t broken_poll(struct th_provider *provider, struct th_completion *out, size_t max)
{
    struct broken *b = broken_of(provider);
    flush_append(b);
    if (b->mutation == MUTATION_SWAP_SENDS) {
        flush_send(b);
    }
    size_t own = th_completions_pop(&b->own, out, max);
    size_t got = b->inner->ops->poll(b->inner, out + own, max - own);
    size_t count = own;
    for (size_t i = own; i < own + got; i++) {
        if (suppressed(b, &out[i])) {
            th_completion_deinit(&out[i]);
        } else {
            break_completion(b, &out[i]);
            out[count++] = out[i];
        }
    }
    return count;
}

static void broken_close(struct th_provider *provider)
{
    struct broken *b = broken_of(provider);
    b->inner->ops->close(b->inner);
    th_completions_deinit(&b->own);
    th_blob_unref(b->append.blob);
    th_blob_unref(b->send.blob);
    th_blob_unref(b->input);
    free(b->name);
    free(b);
}

static void relay_wake(void *argument)
{
    struct broken *b = argument;
    if (b->mutation != MUTATION_NEVER_WAKE) {
        th_provider_wake(&b->provider);
    }
}

static const struct th_provider_ops broken_ops = {
    .traits = broken_traits,
    .claim = broken_claim,
    .read = broken_read,
    .append = broken_append,
    .send = broken_send,
    .inbox_open = broken_inbox_open,
    .inbox_close = broken_inbox_close,
    .project = broken_project,
    .load = broken_load,
    .query = broken_query,
    .state = broken_state,
    .trim_log = broken_trim_log,
    .trim_inbox = broken_trim_inbox,
    .poll = broken_poll,
    .close = broken_close,
};

struct th_provider *broken_open(struct th_provider *inner, enum mutation mutation)
{
    if (!inner) {
        return NULL;
    }
    struct broken *b = TH_NEW(struct broken);
    b->inner = inner;
    b->mutation = mutation;
    b->provider.ops = &broken_ops;
    b->provider.hub = inner->hub;
    if (mutation == MUTATION_WRONG_INCARNATION) {
        b->provider.hub.incarnation = th_random_system();
    }
    for (size_t p = 0; p < LOGS; p++) {
        b->stored[p] = TH_WATERMARK_NONE;
    }
    inner->wake = relay_wake;
    inner->wake_argument = b;
    return &b->provider;
}
