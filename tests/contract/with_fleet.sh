#!/usr/bin/env bash
# Runs a program with a Kafka broker and a Redis of its own, and stops them when it ends:
#
#   with_fleet.sh [--version V] [--nodes N] [--property K=V]... <program> [argument]...
#
# The options are those of deploy/kafka.sh. The program finds TASKHUB_KAFKA and TASKHUB_REDIS, the
# addresses, and TASKHUB_FLEET, the folder with which it may call deploy/kafka.sh itself. What cannot
# be started is the test's failure, with the reason.
set -euo pipefail

source=${TASKHUB_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
export TASKHUB_SOURCE=$source
options=()
while [[ ${1:-} == --* ]]; do
    options+=("$1" "$2")
    shift 2
done

TASKHUB_FLEET=$(mktemp -d "${TMPDIR:-/tmp}/taskhub-fleet-XXXXXX")
export TASKHUB_FLEET
end() {
    # One that a failed test has left frozen would not hear of its end.
    [[ ! -s $TASKHUB_FLEET/kafka-1/pid ]] || kill -CONT "$(<"$TASKHUB_FLEET/kafka-1/pid")" 2>/dev/null || true
    "$source/deploy/kafka.sh" down --folder "$TASKHUB_FLEET" || true
    rm -rf "$TASKHUB_FLEET"
}
trap end EXIT
trap 'exit 143' TERM INT

"$source/deploy/kafka.sh" up --folder "$TASKHUB_FLEET" "${options[@]}"
"$source/deploy/kafka.sh" redis --folder "$TASKHUB_FLEET"
eval "$("$source/deploy/kafka.sh" env --folder "$TASKHUB_FLEET")"
"$@"
