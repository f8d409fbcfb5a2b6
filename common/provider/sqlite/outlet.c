/* outlet: see internal.h. Also the items' birth and death, and lists of them. */
#include <stdlib.h>

#include "base/memory.h"
#include "provider/provider.h"
#include "provider/sqlite/internal.h"

/* ---- items ---- */

struct th_sqlite_item *th_sqlite_item_new(enum th_sqlite_kind kind, uint32_t partition,
                                          uint64_t tag)
{
    struct th_sqlite_item *item = TH_NEW(struct th_sqlite_item);
    item->kind = kind;
    item->partition = partition;
    item->tag = tag;
    return item;
}

static void rows_free(struct th_sqlite_rows *rows)
{
    for (size_t i = 0; i < rows->count; i++) {
        th_row_deinit(&rows->rows[i]);
    }
    free(rows->rows);
    free(rows);
}

static void question_free(struct th_sqlite_question *question)
{
    free((void *)question->query.id_prefix.data);
    free((void *)question->query.name.data);
    free((void *)question->query.continuation.data);
    free(question);
}

void th_sqlite_item_free(struct th_sqlite_item *item)
{
    th_blob_unref(item->blob);
    th_blob_unref(item->why);
    if (item->projection) {
        rows_free(item->projection);
    }
    if (item->question) {
        question_free(item->question);
    }
    if (item->answer) {
        th_completion_deinit(item->answer);
        free(item->answer);
    }
    free(item->instance_id);
    free(item->runs);
    free(item);
}

void th_sqlite_items_free(struct th_link *first)
{
    while (first) {
        struct th_link *next = first->next;
        th_sqlite_item_free(th_sqlite_item_of(first));
        first = next;
    }
}

void th_sqlite_item_fail(struct th_sqlite_item *item, enum th_code code, struct th_blob *why)
{
    item->code = code;
    th_blob_unref(item->why);
    item->why = th_blob_ref(why);
}

struct th_blob *th_sqlite_reason(const char *message)
{
    return th_blob_new(message, strlen(message));
}

/* ---- lists ---- */

void th_sqlite_list_init(struct th_sqlite_list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

void th_sqlite_list_add(struct th_sqlite_list *list, struct th_link *link)
{
    link->next = NULL;
    *list->last = link;
    list->last = &link->next;
}

void th_sqlite_list_append(struct th_sqlite_list *list, struct th_sqlite_list *more)
{
    if (more->first) {
        *list->last = more->first;
        list->last = more->last;
        th_sqlite_list_init(more);
    }
}

/* ---- the outlet ---- */

void th_sqlite_outlet_init(struct th_sqlite_outlet *o, const struct th_provider *provider)
{
    o->provider = provider;
    pthread_mutex_init(&o->mutex, NULL);
    th_sqlite_list_init(&o->items);
    o->drained = true;
}

void th_sqlite_outlet_deinit(struct th_sqlite_outlet *o)
{
    th_sqlite_items_free(o->items.first);
    pthread_mutex_destroy(&o->mutex);
}

void th_sqlite_outlet_put(struct th_sqlite_outlet *o, struct th_sqlite_list *items)
{
    if (!items->first) {
        return;
    }
    pthread_mutex_lock(&o->mutex);
    th_sqlite_list_append(&o->items, items);
    bool wake = o->drained;
    o->drained = false;
    pthread_mutex_unlock(&o->mutex);
    if (wake) {
        th_provider_wake(o->provider);
    }
}

void th_sqlite_outlet_put_one(struct th_sqlite_outlet *o, struct th_sqlite_item *item)
{
    struct th_sqlite_list one;
    th_sqlite_list_init(&one);
    th_sqlite_list_add(&one, &item->link);
    th_sqlite_outlet_put(o, &one);
}

void th_sqlite_outlet_take(struct th_sqlite_outlet *o, struct th_sqlite_list *to)
{
    pthread_mutex_lock(&o->mutex);
    o->drained = !o->items.first && !to->first;
    th_sqlite_list_append(to, &o->items);
    pthread_mutex_unlock(&o->mutex);
}
