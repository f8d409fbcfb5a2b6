#!/usr/bin/env bash
# Installs the Debian packages that are missing, and does nothing when none is.
#   deploy/install-deps.sh run      what built programs and the example applications link
#   deploy/install-deps.sh build    what making them needs
#   deploy/install-deps.sh demo     that, and what the demonstration needs
#   deploy/install-deps.sh check    that, and what the tests need
set -euo pipefail

# Of Debian 12: libraries have their version in their name.
run=(
    ca-certificates
    libcurl4 libhiredis0.14 libjansson4 liblapacke libmicrohttpd12 libmimalloc2.0 libnghttp2-14
    libprotobuf-c1 librdkafka1 libsqlite3-0 libssl3
)
build=(
    build-essential cmake ninja-build pkg-config
    libmsgpack-dev libsqlite3-dev libmicrohttpd-dev libcurl4-openssl-dev libjansson-dev
    uthash-dev liblapacke-dev libmimalloc-dev librdkafka-dev libhiredis-dev
    libnghttp2-dev libssl-dev
    libprotobuf-c-dev protobuf-c-compiler libprotobuf-dev
)
demo=(
    "${build[@]}"
    curl python3
)
check=(
    "${demo[@]}"
    libcmocka-dev clang-14 libclang-rt-14-dev llvm-14 clang-format-14
    python3-venv redis-server protobuf-compiler debootstrap openssl
)
# Existing clients are tested as their registries publish them. A Node.js that is there, from
# wherever, is not replaced.
command -v npm >/dev/null || check+=(nodejs npm)
# The same holds for what runs a broker and fetches it.
command -v java >/dev/null || check+=(default-jre-headless)
command -v mvn >/dev/null || check+=(maven)
# Workers in Java are compiled. Node.js and Go come from registries where the machine's are too old.
command -v javac >/dev/null || check+=(default-jdk-headless)
# And for what runs containers.
command -v dockerd >/dev/null || check+=(docker.io iptables)
command -v docker-compose >/dev/null || check+=(docker-compose)

die() {
    echo "install-deps: $*" >&2
    exit 1
}

case "${1:-}" in
    run) wanted=("${run[@]}") ;;
    build) wanted=("${build[@]}") ;;
    demo) wanted=("${demo[@]}") ;;
    check) wanted=("${check[@]}") ;;
    *) die "usage: $0 run|build|demo|check" ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    die "only Debian is known here; elsewhere install the equivalents of: ${wanted[*]}"
fi

missing=()
# dpkg-query fails when it has never heard of one of them; those are missing, too.
installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null || true)
for package in "${wanted[@]}"; do
    if ! grep -qxF "$package installed" <<<"$installed"; then
        missing+=("$package")
    fi
done
if ((${#missing[@]} == 0)); then
    exit 0
fi

as_root=()
if ((EUID != 0)); then
    command -v sudo >/dev/null ||
        die "these packages are missing and installing them takes root (there is no sudo):" \
            "apt-get install ${missing[*]}"
    as_root=(sudo)
fi

echo "install-deps: installing ${missing[*]}"
apt() {
    # What it prints is of interest only when it fails.
    local output
    if ! output=$("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q "$@" 2>&1); then
        echo "$output" >&2
        die "apt-get $1 failed; still missing: ${missing[*]}"
    fi
}
apt update
apt install -y --no-install-recommends "${missing[@]}"
