#!/usr/bin/env bash
# Asks the program that runs in this container, and ends with 0 when it answers 200; prints what it
# says otherwise.
#
#   taskhub-health             does it serve?
#   taskhub-health /readyz     has every partition of the hub an owner?
set -euo pipefail

exec 3<>"/dev/tcp/127.0.0.1/${TASKHUB_PORT:-7071}"
printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "${1:-/healthz}" >&3
read -r _ code _ <&3
if [[ $code != 200 ]]; then
    cat <&3
    exit 1
fi
