/*
 * out: bytes between nghttp2 and the socket. Headers and small messages of many calls lie one after
 * the other and leave in one write; what is large is neither copied nor moved.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "grpc/internal.h"

/* Below this, another piece costs more than a copy. And what an idle connection keeps. */
enum { SMALL = 1024, KEPT = 1024 };

void th_grpc_out_copy(struct th_grpc_out *out, const void *data, size_t len)
{
    th_buffer_add(&out->text, data, len);
    out->pending += len;
}

void th_grpc_out_blob(struct th_grpc_out *out, struct th_blob *blob, size_t from, size_t len)
{
    if (len < SMALL) {
        th_grpc_out_copy(out, blob->data + from, len);
        return;
    }
    out->pieces =
        th_grow(out->pieces, &out->piece_capacity, out->piece_count + 1, sizeof(*out->pieces));
    out->pieces[out->piece_count++] = (struct th_grpc_piece){
        .at = out->text.len, .blob = th_blob_ref(blob), .from = from, .len = len};
    out->pending += len;
}

/* The run of bytes at this place; empty at the end. */
static struct th_str run_at(const struct th_grpc_out *out, size_t in_text, size_t piece)
{
    size_t end = out->text.len;
    if (piece < out->piece_count) {
        const struct th_grpc_piece *p = &out->pieces[piece];
        if (p->at == in_text) {
            return th_str_n(p->blob->data + p->from, p->len);
        }
        end = p->at;
    }
    return th_str_n(out->text.data + in_text, end - in_text);
}

static bool is_piece(const struct th_grpc_out *out, size_t in_text, size_t piece)
{
    return piece < out->piece_count && out->pieces[piece].at == in_text;
}

size_t th_grpc_out_peek(const struct th_grpc_out *out, struct iovec *iov, size_t max)
{
    size_t in_text = out->in_text, piece = out->piece, count = 0, left = out->pending;
    while (count < max && left > 0) {
        struct th_str run = run_at(out, in_text, piece);
        iov[count++] = (struct iovec){(void *)run.data, run.len};
        left -= run.len;
        if (is_piece(out, in_text, piece)) {
            piece++;
        } else {
            in_text += run.len;
        }
    }
    return count;
}

static void emptied(struct th_grpc_out *out)
{
    out->text.len = 0;
    out->in_text = out->piece = out->piece_count = 0;
    if (out->text.capacity > KEPT) {
        th_buffer_deinit(&out->text);
    }
    if (out->piece_capacity > KEPT / sizeof(*out->pieces)) {
        free(out->pieces);
        out->pieces = NULL;
        out->piece_capacity = 0;
    }
}

void th_grpc_out_sent(struct th_grpc_out *out, size_t len)
{
    out->pending -= len;
    while (len > 0) {
        struct th_str run = run_at(out, out->in_text, out->piece);
        size_t n = run.len < len ? run.len : len;
        len -= n;
        if (!is_piece(out, out->in_text, out->piece)) {
            out->in_text += n;
        } else if (n == run.len) {
            th_blob_unref(out->pieces[out->piece++].blob);
        } else {
            out->pieces[out->piece].from += n;
            out->pieces[out->piece].len -= n;
        }
    }
    if (out->pending == 0) {
        emptied(out);
    }
}

void th_grpc_out_deinit(struct th_grpc_out *out)
{
    for (size_t i = out->piece; i < out->piece_count; i++) {
        th_blob_unref(out->pieces[i].blob);
    }
    free(out->pieces);
    th_buffer_deinit(&out->text);
    *out = (struct th_grpc_out){0};
}
