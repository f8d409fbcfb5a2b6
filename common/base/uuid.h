/* uuid: 128 random bits as text. The bits are an argument, so that replays repeat them. */
#pragma once

#include <stdint.h>

#include "base/str.h"

/* 32 lower-case hex digits, the form of execution ids and generated instance ids; NUL-ended. */
void th_id_hex(uint64_t high, uint64_t low, char out[static 33]);

/* RFC 4122 version 4 text of these bits (version and variant bits are set); NUL-ended. */
void th_uuid_text(uint64_t high, uint64_t low, char out[static 37]);

/* A name-based (version 5 layout) UUID text: the same (a, b, n) give the same text for ever. */
void th_uuid_derive(const struct th_str *a, const struct th_str *b, uint64_t n,
                    char out[static 37]);
