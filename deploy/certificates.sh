#!/usr/bin/env bash
# Certificates for tests and for trying out what TLS needs: a CA of their own, and what it signs for
# a server on this machine (127.0.0.1, localhost) and for a client. Nothing for production.
#
#   deploy/certificates.sh FOLDER      ca.pem, server.pem, server.key, client.pem, client.key
set -euo pipefail

if (($# != 1)); then
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    exit 2
fi
mkdir -p "$1"
cd "$1"
umask 077

# quietly <command>...: what it prints is of interest only when it fails.
quietly() {
    local output
    if ! output=$("$@" 2>&1); then
        echo "certificates: $output" >&2
        exit 1
    fi
}

key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc)

# sign <name> <extensions>
sign() {
    quietly openssl req "${key[@]}" -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"
    quietly openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -days 30 -out "$1.pem" \
        -extfile <(printf '%s\n' "$2")
    rm "$1.csr"
}

quietly openssl req -x509 "${key[@]}" -subj "/CN=Taskhub's tests" -keyout ca.key -out ca.pem -days 30
sign server 'subjectAltName=IP:127.0.0.1,DNS:localhost'
sign client 'extendedKeyUsage=clientAuth'
