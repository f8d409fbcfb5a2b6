/* base64: RFC 4648, section 4, with padding: how text carries bytes that are none. */
#pragma once

#include "base/arena.h"

struct th_str th_base64_encode(struct th_arena *arena, struct th_str bytes);

/* False unless `text` is exactly what encoding some bytes gives. */
bool th_base64_decode(struct th_arena *arena, struct th_str text, struct th_str *out);
