/* item: birth, failure and end of a submission, and lists of them. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "provider/kafka/internal.h"

struct th_kafka_item *th_kafka_item_new(enum th_completion_kind kind, uint32_t partition,
                                        uint64_t tag)
{
    struct th_kafka_item *item = TH_NEW(struct th_kafka_item);
    item->kind = kind;
    item->partition = partition;
    item->tag = tag;
    item->offset = -1;
    return item;
}

void th_kafka_item_free(struct th_kafka_item *item)
{
    th_blob_unref(item->blob);
    free(item->why);
    if (item->answer) {
        th_completion_deinit(item->answer);
        free(item->answer);
    }
    free(item);
}

void th_kafka_item_fail(struct th_kafka_item *item, enum th_code code, const char *format, ...)
{
    TH_BUFFER why = {0};
    va_list arguments;
    va_start(arguments, format);
    th_buffer_vformat(&why, format, arguments);
    va_end(arguments);
    free(item->why);
    item->code = code;
    item->why = th_buffer_take(&why);
}

const char *th_kafka_item_name(const struct th_kafka_item *item, char text[static 64])
{
    if (item->kind != TH_DONE_SEND) {
        snprintf(text, 64, "a record for log %u", (unsigned)item->partition);
    } else if (item->partition >= TH_SEND_ACTIVITY_PARTITION(0)) {
        snprintf(text, 64, "an activity message");
    } else {
        snprintf(text, 64, "a message to partition %u", (unsigned)item->partition);
    }
    return text;
}

/* The message of an error is filled only when there is one: it is most of a completion's size. */
static void clear(struct th_completion *out)
{
    size_t rest = offsetof(struct th_completion, offset);
    memset(out, 0, offsetof(struct th_completion, error));
    out->error.code = TH_OK;
    out->error.message[0] = '\0';
    memset((char *)out + rest, 0, sizeof(*out) - rest);
}

void th_kafka_item_complete(struct th_kafka_item *item, struct th_completion *out)
{
    if (item->answer) {
        *out = *item->answer;
        *item->answer = (struct th_completion){.kind = 0};
    } else {
        clear(out);
        out->offset = item->code == TH_OK ? item->offset : -1;
    }
    if (item->code != TH_OK) {
        th_fail(&out->error, item->code, "%s", item->why ? item->why : th_code_text(item->code));
    }
    out->kind = item->kind;
    out->partition = item->partition;
    out->tag = item->tag;
    th_kafka_item_free(item);
}

void th_kafka_items_init(struct th_kafka_items *list)
{
    list->first = NULL;
    list->last = &list->first;
}

void th_kafka_items_add(struct th_kafka_items *list, struct th_kafka_item *item)
{
    item->next = NULL;
    *list->last = item;
    list->last = &item->next;
}

struct th_kafka_item *th_kafka_items_take(struct th_kafka_items *list)
{
    struct th_kafka_item *item = list->first;
    if (item) {
        list->first = item->next;
        if (!list->first) {
            list->last = &list->first;
        }
    }
    return item;
}
