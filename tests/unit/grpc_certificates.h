/* grpc_certificates: what tests of TLS need, made anew: an authority, and certificates by it. */
#pragma once

/*
 * Writes PEM files into `directory`:
 *   ca.pem                       the authority
 *   server.pem, server.key       for localhost, 127.0.0.1 and ::1
 *   client.pem, client.key
 *   other.pem, other.key         by nobody, for localhost
 * Ends the process when it cannot.
 */
void grpc_certificates(const char *directory);
