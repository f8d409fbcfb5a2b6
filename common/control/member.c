/*
 * A member as msgpack: a map from field numbers to the fields that are there. One writer and one
 * reader walk the tables of member.h, for the member and for what it lists alike.
 */
#include "control/member.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"
#include "model/codec.h"

/* ---- the tables ---- */

enum type { U32, U64, I64, TIME, STR, FUNCTIONS, PARTITIONS, ACTIVITIES, LEFT, UNSERVED };

struct field {
    uint32_t number;
    enum type type;
    const char *name;
    size_t offset;
    size_t count_offset; /* of a list */
};

struct table {
    const struct field *fields;
    size_t count;
    size_t item_size;
};

#define COUNT_U32(owner, field)        0
#define COUNT_U64(owner, field)        0
#define COUNT_I64(owner, field)        0
#define COUNT_TIME(owner, field)       0
#define COUNT_STR(owner, field)        0
#define COUNT_FUNCTIONS(owner, field)  offsetof(struct owner, field##_count)
#define COUNT_PARTITIONS(owner, field) offsetof(struct owner, field##_count)
#define COUNT_ACTIVITIES(owner, field) offsetof(struct owner, field##_count)
#define COUNT_LEFT(owner, field)       offsetof(struct owner, field##_count)
#define COUNT_UNSERVED(owner, field)   offsetof(struct owner, field##_count)
#define ROW(owner, number, field, type) \
    {number, type, #field, offsetof(struct owner, field), COUNT_##type(owner, field)},

static const struct field function_fields[] = {
#define X(number, field, type, meaning) ROW(th_member_function, number, field, type)
    TH_MEMBER_FUNCTION_FIELDS(X)
#undef X
};
static const struct field partition_fields[] = {
#define X(number, field, type, meaning) ROW(th_member_partition, number, field, type)
    TH_MEMBER_PARTITION_FIELDS(X)
#undef X
};
static const struct field activities_fields[] = {
#define X(number, field, type, meaning) ROW(th_member_activities, number, field, type)
    TH_MEMBER_ACTIVITIES_FIELDS(X)
#undef X
};
static const struct field left_fields[] = {
#define X(number, field, type, meaning) ROW(th_member_left, number, field, type)
    TH_MEMBER_LEFT_FIELDS(X)
#undef X
};
static const struct field unserved_fields[] = {
#define X(number, field, type, meaning) ROW(th_member_unserved, number, field, type)
    TH_MEMBER_UNSERVED_FIELDS(X)
#undef X
};
static const struct field member_fields[] = {
#define X(number, field, type, meaning) ROW(th_member, number, field, type)
    TH_MEMBER_FIELDS(X)
#undef X
};

#define TABLE(fields, item)                           \
    {                                                 \
        fields, TH_COUNT(fields), sizeof(struct item) \
    }
static const struct table member_table = TABLE(member_fields, th_member);
static const struct table lists[] = {
    [FUNCTIONS] = TABLE(function_fields, th_member_function),
    [PARTITIONS] = TABLE(partition_fields, th_member_partition),
    [ACTIVITIES] = TABLE(activities_fields, th_member_activities),
    [LEFT] = TABLE(left_fields, th_member_left),
    [UNSERVED] = TABLE(unserved_fields, th_member_unserved),
};

/* ---- writing ---- */

static size_t list_count(const struct field *field, const char *item)
{
    return *(const size_t *)(const void *)(item + field->count_offset);
}

static bool is_there(const struct field *field, const char *item)
{
    const void *at = item + field->offset;
    switch (field->type) {
    case U32:
        return *(const uint32_t *)at != 0;
    case U64:
        return *(const uint64_t *)at != 0;
    case I64:
        return *(const int64_t *)at != 0;
    case TIME:
        return *(const th_time *)at != TH_TIME_NONE;
    case STR:
        return th_str_present(*(const struct th_str *)at);
    default:
        return list_count(field, item) > 0;
    }
}

static void write_item(struct th_buffer *out, const struct table *table, const char *item);

static void write_list(struct th_buffer *out, const struct field *field, const char *item)
{
    const struct table *table = &lists[field->type];
    const char *first = *(const char *const *)(const void *)(item + field->offset);
    size_t count = list_count(field, item);
    th_write_array(out, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        write_item(out, table, first + i * table->item_size);
    }
}

static void write_field(struct th_buffer *out, const struct field *field, const char *item)
{
    const void *at = item + field->offset;
    th_write_u64(out, field->number);
    switch (field->type) {
    case U32:
        th_write_u64(out, *(const uint32_t *)at);
        break;
    case U64:
        th_write_u64(out, *(const uint64_t *)at);
        break;
    case I64:
    case TIME:
        th_write_i64(out, *(const int64_t *)at);
        break;
    case STR:
        th_write_str(out, *(const struct th_str *)at);
        break;
    default:
        write_list(out, field, item);
    }
}

static void write_item(struct th_buffer *out, const struct table *table, const char *item)
{
    uint32_t pairs = 0;
    for (size_t i = 0; i < table->count; i++) {
        pairs += is_there(&table->fields[i], item);
    }
    th_write_map(out, pairs);
    for (size_t i = 0; i < table->count; i++) {
        if (is_there(&table->fields[i], item)) {
            write_field(out, &table->fields[i], item);
        }
    }
}

void th_member_encode(struct th_buffer *out, const struct th_member *member)
{
    write_item(out, &member_table, (const char *)member);
}

/* ---- reading ---- */

static const struct field *find_field(const struct table *table, uint64_t number)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->fields[i].number == number) {
            return &table->fields[i];
        }
    }
    return NULL;
}

static void read_item(struct th_reader *in, const struct table *table, char *item);

/* An item has at least one byte, so that th_read_array bounds what is allocated. */
static void read_list(struct th_reader *in, const struct field *field, char *item)
{
    const struct table *table = &lists[field->type];
    uint32_t count = th_read_array(in);
    char *first = th_arena_alloc_array(in->arena, table->item_size, count);
    *(char **)(void *)(item + field->offset) = first;
    *(size_t *)(void *)(item + field->count_offset) = count;
    for (uint32_t i = 0; i < count && !in->failed; i++) {
        read_item(in, table, first + i * table->item_size);
    }
}

static void read_field(struct th_reader *in, const struct field *field, char *item)
{
    void *at = item + field->offset;
    switch (field->type) {
    case U32:
        *(uint32_t *)at = (uint32_t)th_read_u64(in);
        break;
    case U64:
        *(uint64_t *)at = th_read_u64(in);
        break;
    case I64:
    case TIME:
        *(int64_t *)at = th_read_i64(in);
        break;
    case STR:
        *(struct th_str *)at = th_read_str(in);
        break;
    default:
        read_list(in, field, item);
    }
}

static void set_times(const struct table *table, char *item)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->fields[i].type == TIME) {
            *(th_time *)(void *)(item + table->fields[i].offset) = TH_TIME_NONE;
        }
    }
}

static void read_item(struct th_reader *in, const struct table *table, char *item)
{
    set_times(table, item);
    for (uint32_t pairs = th_read_map(in); pairs > 0 && !in->failed; pairs--) {
        const struct field *field = find_field(table, th_read_u64(in));
        if (field) {
            read_field(in, field, item);
        } else {
            th_read_skip(in);
        }
    }
}

struct th_member *th_member_decode(struct th_str bytes, struct th_error *error)
{
    struct th_member *member = TH_NEW(struct th_member);
    atomic_init(&member->references, 1);
    struct th_str kept = th_arena_str(&member->arena, bytes);
    struct th_reader in = th_reader_of(kept, &member->arena, error);
    read_item(&in, &member_table, (char *)member);
    if (!in.failed && member->name.len == 0) {
        th_read_fail(&in, "a member without a name");
    }
    if (in.failed) {
        th_member_unref(member);
        return NULL;
    }
    return member;
}

struct th_member *th_member_ref(struct th_member *member)
{
    atomic_fetch_add(&member->references, 1);
    return member;
}

void th_member_unref(struct th_member *member)
{
    if (member && atomic_fetch_sub(&member->references, 1) == 1) {
        th_arena_deinit(&member->arena);
        free(member);
    }
}

/* ---- looking ---- */

const char *th_member_kind_text(uint32_t kind)
{
    switch (kind) {
#define X(name, number, text) \
    case number:              \
        return text;
        TH_MEMBER_KINDS(X)
#undef X
    default:
        return "unknown";
    }
}

bool th_member_serves(const struct th_member *member, enum th_function_kind kind,
                      struct th_str name)
{
    for (size_t i = 0; i < member->functions_count; i++) {
        const struct th_member_function *function = &member->functions[i];
        if (function->kind == kind && th_str_eq_nocase(function->name, name)) {
            return true;
        }
    }
    return false;
}

const struct th_member_partition *th_member_partition(const struct th_member *member,
                                                      uint32_t index)
{
    for (size_t i = 0; i < member->partitions_count; i++) {
        if (member->partitions[i].index == index) {
            return &member->partitions[i];
        }
    }
    return NULL;
}

/* ---- names ---- */

void th_member_name(char out[static TH_MEMBER_NAME])
{
    char host[65] = "host";
    if (gethostname(host, sizeof(host) - 1) != 0 || !*host) {
        snprintf(host, sizeof(host), "host");
    }
    for (char *at = host; *at; at++) {
        if (*at <= ' ' || *at > '~' || *at == '/') {
            *at = '-';
        }
    }
    snprintf(out, TH_MEMBER_NAME, "%s-%d-%08" PRIx32, host, (int)getpid(),
             (uint32_t)th_random_system());
}
