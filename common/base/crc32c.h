/*
 * crc32c: the two ways of computing CRC-32C (Castagnoli) that th_crc32c chooses between. Private
 * to base. Both take and return the inverted register, as iSCSI (RFC 3720, appendix B.4) has it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint32_t th_crc32c_table(uint32_t crc, const void *data, size_t len);

bool th_crc32c_have_instruction(void);
/* Only when the processor has the instruction. */
uint32_t th_crc32c_instruction(uint32_t crc, const void *data, size_t len);
