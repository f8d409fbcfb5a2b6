#!/usr/bin/env bash
# What `make demo` shows, with the programs that `make build` put into build/bin and build/apps:
# a greeting from three cities, then the regimes of the US economy. Everything is started on free
# ports, keeps its files below build/demo, and is stopped at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

taskhub=$PWD/build/bin/taskhub
apps=$PWD/build/apps
folder=$PWD/build/demo
hub_pid=

die() {
    echo "demo: $*" >&2
    exit 1
}

stop_hub() {
    if [[ -n $hub_pid ]]; then
        kill "$hub_pid" 2>/dev/null || true
        wait "$hub_pid" 2>/dev/null || true
        hub_pid=
    fi
}
trap stop_hub EXIT

# start_hub <application>: sets TASKHUB_URL when the hub serves.
start_hub() {
    local name=$1 out=$folder/$1.out
    stop_hub
    : >"$out"
    "$taskhub" dev "$apps/$name.so" --db "$folder/$name.db" --port 0 >"$out" 2>"$folder/$name.log" &
    hub_pid=$!
    until TASKHUB_URL=$(sed -n 's/^ *API *\(http:.*\)$/\1/p' "$out") && [[ -n $TASKHUB_URL ]]; do
        kill -0 "$hub_pid" 2>/dev/null || die "the hub did not start: $(cat "$folder/$name.log")"
        sleep 0.02
    done
    export TASKHUB_URL
}

[[ -x $taskhub ]] || die "$taskhub is not there; run 'make build' first"
mkdir -p "$folder"
# shellcheck source=deploy/demo-regime.sh
source deploy/demo-regime.sh

echo "== Hello, cities"
echo "One orchestrator, three durable steps (examples/hello-cities/hello-cities.c):"
start_hub hello-cities
echo "\$ taskhub start hello_cities"
id=$("$taskhub" start hello_cities)
echo "$id"
echo "\$ taskhub wait $id"
"$taskhub" wait "$id" --timeout 30s
echo "\$ taskhub history $id"
"$taskhub" history "$id"

echo
echo "== Regime switching"
echo "When was the US economy calm, and when was it not? Many estimations side by side, the best wins."
export TASKHUB_OUTPUTS=$folder/outputs
mkdir -p "$TASKHUB_OUTPUTS"
start_hub regime-switching
demo_regime "$TASKHUB_URL" "$folder/regimes"

echo
echo "Go on with: build/bin/taskhub dev build/apps/hello-cities.so, or build/bin/taskhub --help"
