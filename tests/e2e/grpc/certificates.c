/* Writes what tests of TLS need into a directory, see unit/grpc_certificates.h. */
#include "unit/grpc_certificates.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: grpc_certificates <directory>\n");
        return 2;
    }
    grpc_certificates(argv[1]);
    return 0;
}
