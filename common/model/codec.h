/*
 * codec: events, messages and lists of them as msgpack, and back. A value is a map from the field
 * numbers of the tables in event.h and message.h to the fields that are present, so that an older
 * reader skips what a newer writer adds. Decoding never trusts its input: any bytes give either a
 * value or an error that names what is wrong; strings of the result point into the input.
 *
 * What an older reader must not skip, since it would misread the rest, raises the format of the
 * value that holds it. Records, messages and rows say theirs first, unless it is 1, and a program
 * that does not know it refuses the value (UNSUPPORTED). docs/operations.md, "Upgrading".
 */
#pragma once

#include "base/buffer.h"
#include "base/error.h"
#include "model/message.h"

/* The format that this program writes, and the newest that it reads. */
#define TH_FORMAT 1

/* The same of a program: in products these, in tests of upgrades those of other releases. */
struct th_formats {
    uint32_t writes, reads; /* 0: TH_FORMAT */
};

static inline struct th_formats th_formats_or_own(struct th_formats formats)
{
    return (struct th_formats){.writes = formats.writes ? formats.writes : TH_FORMAT,
                               .reads = formats.reads ? formats.reads : TH_FORMAT};
}

/* A cursor over encoded bytes. */
struct th_reader {
    const char *at;
    const char *end;
    struct th_arena *arena; /* for nested values */
    struct th_error *error; /* first failure; may be NULL */
    bool failed;
    uint32_t format; /* the newest that is read */
};

void th_encode_event(struct th_buffer *out, const struct th_event *event);
bool th_decode_event(struct th_reader *in, struct th_event *out);

void th_encode_message(struct th_buffer *out, const struct th_message *message);
bool th_decode_message(struct th_reader *in, struct th_message *out);

/* A history chunk: events one after the other, no count in front, so that chunks concatenate. */
void th_encode_events(struct th_buffer *out, const struct th_event *events, size_t count);
bool th_decode_events(struct th_reader *in, struct th_events *out);

struct th_reader th_reader_of(struct th_str bytes, struct th_arena *arena, struct th_error *error);

/* Primitives for the other records of the model, in the same encoding. Writers append; readers
 * fail softly: after a failure they return zero values and `failed` stays true. */
void th_write_map(struct th_buffer *out, uint32_t pairs);
void th_write_array(struct th_buffer *out, uint32_t items);
void th_write_u64(struct th_buffer *out, uint64_t value);
void th_write_i64(struct th_buffer *out, int64_t value);
void th_write_bool(struct th_buffer *out, bool value);
void th_write_nil(struct th_buffer *out);
void th_write_str(struct th_buffer *out, struct th_str value); /* bin; absent is nil */
void th_write_strs(struct th_buffer *out, struct th_strs strs);

uint32_t th_read_map(struct th_reader *in);   /* pairs that follow; never more than bytes left */
uint32_t th_read_array(struct th_reader *in); /* items that follow; never more than bytes left */
uint64_t th_read_u64(struct th_reader *in);
int64_t th_read_i64(struct th_reader *in);
bool th_read_bool(struct th_reader *in);
struct th_str th_read_str(struct th_reader *in);   /* nil is absent */
struct th_strs th_read_strs(struct th_reader *in); /* in the reader's arena */
void th_read_skip(struct th_reader *in);           /* any one value, nested at most 64 deep */
bool th_read_fail(struct th_reader *in, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The format of a value, which is refused when it is newer than the reader's; `what` holds it. */
uint32_t th_read_format(struct th_reader *in, const char *what);
