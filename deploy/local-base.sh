#!/usr/bin/env bash
# What deploy/docker-compose.local.yml needs, on a machine that reaches Debian and Maven Central but no
# image registry: the image taskhub-debian:12, made by debootstrap (which takes root), and the jars of
# Kafka. Prints the variable that the file needs, as an `export` line:
#
#   eval "$(deploy/local-base.sh)"
#
#   --fresh            makes the base anew, with today's packages
#
# The base and the jars are kept in the user's cache, $XDG_CACHE_HOME/taskhub. TASKHUB_MIRROR is the
# mirror of Debian that is asked.
set -euo pipefail
cd "$(dirname "$0")/.."

mirror=${TASKHUB_MIRROR:-http://deb.debian.org/debian}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/taskhub
base=$cache/debian-bookworm.tar
image=taskhub-debian:12

die() {
    echo "local-base: $*" >&2
    exit 1
}

# quietly <words> <command>...: what it prints is of interest only when it fails.
quietly() {
    local words=$1 output
    shift
    output=$("$@" 2>&1) || die "$words: $(tail -n 5 <<<"$output")"
}

# Into a file of its own first: what is there under its name is whole.
make_base() {
    local work
    ((EUID == 0)) || die "debootstrap takes root"
    command -v debootstrap >/dev/null || die "there is no debootstrap; run deploy/install-deps.sh check"
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/debootstrap.XXXXXX")
    # shellcheck disable=SC2064 # the folder of now
    trap "rm -rf '$work'" EXIT
    quietly "debootstrap failed" debootstrap --variant=minbase bookworm "$work/root" "$mirror"
    cat >"$work/root/etc/apt/sources.list" <<LIST
deb $mirror bookworm main
deb $mirror bookworm-updates main
LIST
    rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/*
    tar -C "$work/root" -cf "$work/base.tar" .
    mv "$work/base.tar" "$base"
    rm -rf "$work"
    trap - EXIT
}

case "${1:-}" in
    "") ;;
    --fresh) rm -f "$base" ;;
    *)
        sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
        exit 2
        ;;
esac
[[ -s $base ]] || make_base
# The image is marked with the file it was made of: the same file makes no second image.
mark=$(stat -c %Y "$base")
found=$(docker image inspect -f '{{index .Config.Labels "taskhub.base"}}' "$image" 2>/dev/null || true)
if [[ $found != "$mark" ]]; then
    quietly "docker import failed" docker import -c "LABEL taskhub.base=$mark" "$base" "$image"
fi
deploy/kafka.sh fetch >&2
printf 'export TASKHUB_KAFKA_JARS=%q\n' "${XDG_CACHE_HOME:-$HOME/.cache}/taskhub/kafka-3.9.1"
