#include "rpc/wire.h"

struct th_wire th_rpc_wire_of(struct th_str bytes)
{
    const char *start = bytes.data ? bytes.data : "";
    return (struct th_wire){start, start + bytes.len};
}

bool th_rpc_wire_varint(struct th_wire *in, uint64_t *out)
{
    uint64_t number = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (in->at == in->end) {
            return false;
        }
        unsigned char byte = (unsigned char)*in->at++;
        number |= (uint64_t)(byte & 0x7f) << (shift < 64 ? shift : 63);
        if (!(byte & 0x80)) {
            *out = number;
            return true;
        }
    }
    return false;
}

static bool take(struct th_wire *in, uint64_t len, struct th_str *out)
{
    if (len > (uint64_t)(in->end - in->at)) {
        return false;
    }
    *out = th_str_n(in->at, (size_t)len);
    in->at += len;
    return true;
}

/* protobuf-c reads numbers and lengths of five bytes at most. */
static bool short_varint(struct th_wire *in, uint64_t *out)
{
    const char *start = in->at;
    return th_rpc_wire_varint(in, out) && in->at - start <= 5 && *out <= UINT32_MAX;
}

bool th_rpc_wire_next(struct th_wire *in, struct th_rpc_wire_field *out)
{
    const char *start = in->at;
    uint64_t tag, number;
    bool good;
    if (!short_varint(in, &tag) || tag >> 3 == 0) {
        return false;
    }
    *out = (struct th_rpc_wire_field){.number = (uint32_t)(tag >> 3), .type = tag & 7};
    switch (out->type) {
    case TH_RPC_WIRE_VARINT:
        good = th_rpc_wire_varint(in, &number);
        break;
    case TH_RPC_WIRE_64:
        good = take(in, 8, &out->bytes);
        break;
    case TH_RPC_WIRE_BYTES:
        good = short_varint(in, &number) && take(in, number, &out->bytes);
        break;
    case TH_RPC_WIRE_32:
        good = take(in, 4, &out->bytes);
        break;
    default:
        return false;
    }
    out->whole = th_str_n(start, (size_t)(in->at - start));
    return good;
}
