#include "base/access.h"

#include <arpa/inet.h>

bool th_secret_equal(struct th_str given, struct th_str wanted)
{
    unsigned char difference = given.len != wanted.len;
    for (size_t i = 0; i < given.len && wanted.len; i++) {
        difference |= (unsigned char)(given.data[i] ^ wanted.data[i % wanted.len]);
    }
    return difference == 0;
}

bool th_is_loopback(const char *address)
{
    struct in_addr four;
    struct in6_addr six;
    if (inet_pton(AF_INET, address, &four) == 1) {
        return (ntohl(four.s_addr) >> 24) == 127;
    }
    return inet_pton(AF_INET6, address, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}
