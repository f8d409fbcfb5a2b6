#!/usr/bin/env bash
# What `make demo` shows, with the programs that `make build` put into build/bin and build/apps.
set -euo pipefail
cd "$(dirname "$0")/.."

taskhub=build/bin/taskhub
if [[ ! -x $taskhub ]]; then
    echo "demo: $taskhub is not there; run 'make build' first" >&2
    exit 1
fi

# ---- PLACEHOLDER: the demonstration itself. It starts `$taskhub dev` with an application from
# build/apps, starts an orchestration, shows its result, and stops what it started.
echo "demo: $taskhub is built, but the demonstration is not written yet" >&2
exit 1
