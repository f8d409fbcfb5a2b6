# The regime-switching part of the demonstration, to be sourced. Needs curl and python3.
#
#   demo_regime http://127.0.0.1:7071 [folder]
#
# Asks the regime-switching application that is served there when the economy of the United States
# was calm and when it was not, waits for the answer, says it in words, and puts the pictures into
# the folder (default: a new one). Fails with a line on stderr when anything goes wrong.
# shellcheck shell=bash

demo_regime() {
    local base=$1 folder=${2:-} answer status

    [[ -n $folder ]] || folder=$(mktemp -d "${TMPDIR:-/tmp}/taskhub-demo-XXXXXX")
    mkdir -p "$folder"
    echo "Asking for the regimes of US real GDP growth, 1959 to 2009: 20 random starts, the best wins."
    answer=$(demo_regime_curl -X POST "$base/api/regime-switching" -H 'Content-Type: application/json' \
        -d '{"dataset": "us-gdp", "regimes": 2, "runs": 20}') || return
    status=$(demo_regime_curl "$(demo_regime_get "$answer" statusQueryGetUri)") || return
    while [[ $(demo_regime_get "$status" runtimeStatus) =~ ^(Pending|Running)$ ]]; do
        printf '  %s\n' "$(demo_regime_get "$status" customStatus)"
        sleep 0.2
        status=$(demo_regime_curl "$(demo_regime_get "$answer" statusQueryGetUri)") || return
    done
    if [[ $(demo_regime_get "$status" runtimeStatus) != Completed ]]; then
        echo "demo: the instance ended otherwise: $status" >&2
        return 1
    fi
    demo_regime_fetch "$answer" "$folder" || return
    demo_regime_tell "$folder/statistics.json" || return
    echo
    echo "Pictures, for a browser: $folder/series.svg, recent.svg, residuals.svg"
    echo "All figures:             $folder/result.json, statistics.json"
}

demo_regime_curl() {
    curl --silent --show-error --fail-with-body --noproxy '*' --max-time 30 "$@"
}

# A field of a JSON object; nothing when it is not there.
demo_regime_get() {
    python3 -c 'import json, sys; print(json.loads(sys.argv[1]).get(sys.argv[2]) or "")' "$1" "$2"
}

# The outputs, under names that a person can read.
demo_regime_fetch() {
    local name url

    while read -r name url; do
        demo_regime_curl -o "$2/$name" "$url" || return
    done < <(python3 - "$1" <<'PYTHON'
import json, sys
outputs = json.loads(sys.argv[1])["outputs"]
print("result.json", outputs["result"])
print("statistics.json", outputs["statistics"])
for name, url in zip(["series", "recent", "residuals"], outputs["charts"]):
    print(name + ".svg", url)
PYTHON
    )
}

demo_regime_tell() {
    python3 - "$1" <<'PYTHON'
import json, sys

with open(sys.argv[1], encoding="utf-8") as file:
    found = json.load(file)
regimes = found["regimes"]
restless = max(regimes, key=lambda regime: regime["sigma"])


def quarter(date):
    return f"{date[:4]}Q{(int(date[5:7]) + 2) // 3}"


print(f"\nBest of {len(found['runs'])} starts: log-likelihood {found['llf']:.2f} "
      f"on {found['observations']} quarters.")
for regime in regimes:
    mean = regime["coefficients"][0]
    print(f"  {'restless' if regime is restless else 'calm':8} growth {mean['estimate']:5.2f} % a quarter "
          f"(t {mean['tStatistic']:.1f}), give or take {regime['sigma']:.2f}; "
          f"lasts {regime['expectedDuration']:.0f} quarters on average")
spans = [period for period in found["periods"] if period["regime"] == restless["regime"]]
print("Restless quarters, recessions among them:")
for span in spans:
    print(f"  {quarter(span['from'])} to {quarter(span['to'])} ({span['observations']} quarters)")
PYTHON
}
