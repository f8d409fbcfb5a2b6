/*
 * pack: many records in one blob: their lengths (4 bytes each, little-endian), then their bytes.
 * Count and CRC-32C are columns beside it. What comes back from a disk is checked as a whole
 * before any of it is used.
 */
#include <endian.h>

#include "base/hash.h"
#include "provider/sqlite/internal.h"

size_t th_sqlite_pack_count(struct th_blob *const *records, size_t count)
{
    size_t bytes = 0;
    size_t n = 0;
    while (n < count && (n == 0 || bytes + records[n]->len + 4 <= TH_SQLITE_PACK_BYTES)) {
        bytes += records[n]->len + 4;
        n++;
    }
    return n;
}

void th_sqlite_pack(struct th_buffer *out, struct th_blob *const *records, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += records[i]->len + 4;
    }
    out->len = 0;
    th_buffer_reserve(out, bytes);
    for (size_t i = 0; i < count; i++) {
        uint32_t len = htole32((uint32_t)records[i]->len);
        th_buffer_add(out, &len, sizeof(len));
    }
    for (size_t i = 0; i < count; i++) {
        th_buffer_add(out, records[i]->data, records[i]->len);
    }
}

static size_t length_of(const struct th_sqlite_pack_view *view, size_t index)
{
    uint32_t len;
    memcpy(&len, view->bytes.data + 4 * index, sizeof(len));
    return le32toh(len);
}

bool th_sqlite_unpack(struct th_sqlite_pack_view *view, struct th_str bytes, int64_t count,
                      uint32_t crc)
{
    if (count < 1 || (uint64_t)count > bytes.len / 4 ||
        th_crc32c(0, bytes.data, bytes.len) != crc) {
        return false;
    }
    *view = (struct th_sqlite_pack_view){bytes, (size_t)count, 0, 4 * (size_t)count};
    size_t left = bytes.len - view->position;
    for (size_t i = 0; i < view->count; i++) {
        size_t len = length_of(view, i);
        if (len > left) {
            return false;
        }
        left -= len;
    }
    return left == 0;
}

struct th_str th_sqlite_packed_next(struct th_sqlite_pack_view *view)
{
    size_t len = length_of(view, view->next);
    struct th_str record = th_str_n(view->bytes.data + view->position, len);
    view->next++;
    view->position += len;
    return record;
}
