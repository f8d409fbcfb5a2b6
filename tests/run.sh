#!/usr/bin/env bash
# Runs the tests in steps: a preset is built, then ctest runs those of its tests that carry the
# step's labels. The last line is the sum of all steps, "N passed, N failed"; a step that cannot
# run counts as one failure and says why. Each step's output stays in build/check/<step>.log.
#
#   tests/run.sh [quick|long]
#
# TASKHUB_JOBS bounds compilers and tests at once, TASKHUB_FUZZ_SECONDS the run of each fuzzer.
set -euo pipefail
cd "$(dirname "$0")/.."

tier=${1:-quick}
jobs=${TASKHUB_JOBS:-$(nproc)}
fuzz_seconds=${TASKHUB_FUZZ_SECONDS:-60}
logs=build/check
passed=0
failed=0
report=()
declare -A built=()

# The symbolizer that clang's runtimes look for has its version in its name on Debian.
if symbolizer=$(command -v llvm-symbolizer-14); then
    export ASAN_SYMBOLIZER_PATH=$symbolizer
fi

cannot_run() {
    echo "step $1 could not run: $2"
    failed=$((failed + 1))
    report+=("$(printf '%-18s could not run: %s' "$1" "$2")")
}

# build <preset>: configures and builds it, once; says "failed" in built[] when that fails.
build() {
    local preset=$1 log=$logs/build-$1.log
    local configure=(cmake --preset "$preset") make=(cmake --build --preset "$preset" --parallel "$jobs")
    if [[ $preset == fuzz ]]; then
        configure+=(-DTASKHUB_FUZZ_SECONDS="$fuzz_seconds")
        make+=(--target fuzzers)
    fi
    echo "==== build $preset"
    if "${configure[@]}" >"$log" 2>&1 && "${make[@]}" >>"$log" 2>&1; then
        built[$preset]=yes
    else
        tail -n 40 "$log"
        built[$preset]=failed
    fi
}

# step <name> <preset> <ctest arguments>...
step() {
    local name=$1 preset=$2 log=$logs/$1.log status=0 line bad total
    shift 2
    if [[ -z ${built[$preset]:-} ]]; then
        build "$preset"
    fi
    if [[ ${built[$preset]} == failed ]]; then
        cannot_run "$name" "preset $preset does not build, see $logs/build-$preset.log"
        return
    fi

    echo "==== $name"
    ctest --preset "$preset" "$@" 2>&1 | tee "$log" || status=$?
    line=$(grep -E '^[0-9]+% tests passed, [0-9]+ tests failed out of [0-9]+$' "$log" || true)
    if [[ -z $line ]]; then
        if grep -q '^No tests were found' "$log"; then
            cannot_run "$name" "preset $preset has no test with its labels"
        else
            cannot_run "$name" "ctest ended with status $status, see $log"
        fi
        return
    fi
    read -r bad total < <(sed -E 's/.*, ([0-9]+) tests failed out of ([0-9]+)/\1 \2/' <<<"$line")
    if ((status != 0 && bad == 0)); then
        cannot_run "$name" "ctest ended with status $status, see $log"
    fi
    passed=$((passed + total - bad))
    failed=$((failed + bad))
    report+=("$(printf '%-18s %d passed, %d failed' "$name" $((total - bad)) "$bad")")
}

# The tree's formatting, as one test.
formatted() {
    echo "==== format"
    if make -s format-check >"$logs/format.log" 2>&1; then
        passed=$((passed + 1))
        report+=("$(printf '%-18s 1 passed, 0 failed' format)")
    else
        head -n 20 "$logs/format.log"
        failed=$((failed + 1))
        report+=("$(printf '%-18s 0 passed, 1 failed: run make format' format)")
    fi
}

programs='^(e2e|chaos|deploy)$'

# Programs and brokers wait more than they compute: two of their tests at a time.
quick_steps() {
    formatted
    step quick dev -j "$jobs" -L '^quick$' -LE "$programs"
    step e2e dev -j 2 -L "$programs" -LE '^long$'
    step asan-unit asan -j "$jobs" -L '^unit$' -LE '^long$'
    step asan-sim asan -j "$jobs" -L '^(contract|sim)$' -LE '^(long|once)$'
    step asan-e2e asan -j 2 -L '^e2e$' -LE '^(long|once)$'
}

long_steps() {
    step long dev -j 1 -L '^long$'
    step asan-once asan -j 1 -L '^once$' -LE '^long$'
    step tsan-unit tsan -j "$jobs" -L '^unit$' -LE '^long$'
    step tsan-sim tsan -j "$jobs" -L '^(contract|sim)$' -LE '^long$'
    step tsan-e2e tsan -j 1 -L '^e2e$' -LE '^long$'
    step fuzz fuzz -j 1 -L '^fuzz$'
}

rm -rf "$logs"
mkdir -p "$logs"

case $tier in
    quick) quick_steps ;;
    long)
        quick_steps
        long_steps
        ;;
    *)
        cannot_run "$tier" "there is no such tier: quick or long"
        ;;
esac

echo
printf '%s\n' "${report[@]}"
echo
# .ci/run prints the sum itself, below what make has to say.
echo "$passed passed, $failed failed" >"$logs/sum"
if [[ -z ${TASKHUB_SUM_LATER:-} ]]; then
    cat "$logs/sum"
fi
((failed == 0 && passed > 0))
