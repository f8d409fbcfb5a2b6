/* wire: the bytes of a message, field by field ("Encoding" of Protocol Buffers), without a copy. */
#pragma once

#include <stdint.h>

#include "base/str.h"

enum th_rpc_wire_type {
    TH_RPC_WIRE_VARINT = 0,
    TH_RPC_WIRE_64 = 1,
    TH_RPC_WIRE_BYTES = 2,
    TH_RPC_WIRE_32 = 5
};

struct th_wire {
    const char *at, *end;
};

struct th_rpc_wire_field {
    uint32_t number;
    enum th_rpc_wire_type type;
    struct th_str bytes; /* BYTES: what it holds */
    struct th_str whole; /* with its number and length */
};

struct th_wire th_rpc_wire_of(struct th_str bytes);
/* At most ten bytes; false: cut off or longer. */
bool th_rpc_wire_varint(struct th_wire *in, uint64_t *out);
/* False: malformed (also: a group, number 0), or at the end. */
bool th_rpc_wire_next(struct th_wire *in, struct th_rpc_wire_field *out);
