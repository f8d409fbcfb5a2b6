#!/usr/bin/env bash
# A whole fleet on this machine, for development, tests and measurements: Kafka and Redis (as
# deploy/kafka.sh starts them), a coordinator and workers, each a process of its own. Everything listens
# on 127.0.0.1 and is recorded below one folder, so that `down` stops exactly what was started.
#
#   deploy/fleet.sh up [WORKERS]          starts what is not running; workers: 2 when nothing is said
#   deploy/fleet.sh status                who runs, where, and whether it is ready
#   deploy/fleet.sh env                   TASKHUB_… as `export` lines, for everything else
#   deploy/fleet.sh kill N                kill -9 of worker N; `start N` starts it again, and `stop N`
#                                         lets it end in good order
#   deploy/fleet.sh down                  stops all of it; the files stay
#
#   --folder F         where everything lies (default: build/fleet)
#   --app APP.so       what the workers run (default: the bench's functions, build/apps/bench.so)
#   --hub NAME         default: $TASKHUB_HUB, else TestHubName
#   --port P           of the coordinator's API (default: 7071, when it is free)
#   --version V        of Kafka
#   --secure yes       Kafka and Redis ask for TLS and a password (the first time: it is kept)
#   --worker "OPTIONS" more of taskhub-worker's options, for each of them
#
# The programs are those of build/bin, or of $TASKHUB_BIN.
set -euo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)
bin=${TASKHUB_BIN:-$source/build/bin}
apps=${TASKHUB_APPS:-$source/build/apps}

folder=$source/build/fleet
app=$apps/bench.so
hub=${TASKHUB_HUB:-TestHubName}
port=
version=()
secure=no
worker_options=

die() {
    echo "fleet: $*" >&2
    exit 1
}

usage() {
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    exit 2
}

# ---- small things ----

alive() {
    [[ -s $1/pid ]] && kill -0 "$(<"$1/pid")" 2>/dev/null
}

until_true() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}

taken() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# The wanted port, or when somebody has it any that nobody has.
free_port() {
    local wanted=$1
    while taken "$wanted"; do
        wanted=$((20000 + RANDOM % 10000))
    done
    echo "$wanted"
}

# ---- Kafka and Redis ----

kafka() {
    "$source/deploy/kafka.sh" "$1" --folder "$folder" "${@:2}"
}

# On their usual ports where these are free, so that nothing has to be told where they are.
up_storage() {
    local first=() guarded=()
    [[ $secure != yes ]] || guarded=(--secure "$hub")
    [[ -f $folder/version ]] || first=(--port "$(free_port 9092)" "${guarded[@]}")
    kafka up "${first[@]}" "${version[@]}"
    first=()
    [[ -s $folder/redis/port ]] || first=(--port "$(free_port 6379)" "${guarded[@]}")
    kafka redis "${first[@]}"
    eval "$(kafka env)"
}

# ---- the programs ----

# write_start <home> <program> <option>...: a script that starts it, now and after it was killed.
write_start() {
    local home=$1
    mkdir -p "$home"
    {
        echo '#!/usr/bin/env bash'
        echo "# Starts $(basename "$2"), in a process group of its own."
        printf 'export TASKHUB_KAFKA=%q TASKHUB_REDIS=%q TASKHUB_HUB=%q TASKHUB_STATE=%q\n' \
            "$TASKHUB_KAFKA" "$TASKHUB_REDIS" "$hub" "$home"
        printf 'export TASKHUB_KAFKA_PROPERTIES=%q\n' "${TASKHUB_KAFKA_PROPERTIES:-}"
        printf 'setsid'
        printf ' %q' "${@:2}"
        printf ' </dev/null >>%q 2>&1 &\n' "$home/out.log"
        printf 'echo $! >%q\n' "$home/pid"
    } >"$home/start"
    chmod +x "$home/start"
}

launch() {
    alive "$1" || "$1/start"
}

# Its own words about where it listens; the last ones, since it may have been started before.
url_of() {
    sed -n 's,^ *API  *\(http://[^ ]*\).*,\1,p' "$1/out.log" 2>/dev/null | tail -n 1
}

answers() {
    local url
    url=$(url_of "$1")
    [[ -n $url ]] && curl -sf --noproxy '*' --max-time 5 -o /dev/null "$url/$2"
}

answers_or_died() {
    answers "$@" || ! alive "$1"
}

await() {
    if ! until_true 60 answers_or_died "$1" "$2" || ! alive "$1"; then
        tail -n 20 "$1/out.log" >&2
        die "$(basename "$1") is not there, see $1/out.log"
    fi
}

workers() {
    find "$folder" -maxdepth 1 -name 'worker-*' 2>/dev/null | sort -V
}

up() {
    local count=$1 n home
    [[ -x $bin/taskhub-coordinator ]] || die "there is no $bin/taskhub-coordinator; run make build"
    [[ -f $app ]] || die "there is no application $app"
    up_storage
    home=$folder/coordinator
    if ! alive "$home"; then
        write_start "$home" "$bin/taskhub-coordinator" --port "$(free_port "${port:-7071}")"
        launch "$home"
    fi
    await "$home" healthz
    for ((n = 1; n <= count; n++)); do
        home=$folder/worker-$n
        # shellcheck disable=SC2086 # several options
        alive "$home" || write_start "$home" "$bin/taskhub-worker" --app "$app" --port 0 $worker_options
        launch "$home"
    done
    await "$folder/coordinator" readyz
    status
}

# ---- looking ----

state_of() {
    if ! alive "$1"; then
        echo "not running"
    elif answers "$1" readyz; then
        echo "ready"
    elif answers "$1" healthz; then
        echo "not ready: $(curl -s --noproxy '*' --max-time 5 "$(url_of "$1")/readyz" |
            sed -n 's/^{"Message":"\([^"]*\)".*/\1/p')"
    else
        echo "does not answer"
    fi
}

row() {
    printf '%-12s %-8s %-32s %s\n' "$@"
}

pid_of() {
    if alive "$1"; then
        cat "$1/pid"
    else
        echo -
    fi
}

status() {
    local home address
    row PROCESS PID ADDRESS STATE
    for home in "$folder"/kafka-*; do
        [[ -d $home ]] || continue
        address=$(sed -n 's,^advertised.listeners=[A-Z_]*://\([^,]*\).*,\1,p' "$home/server.properties" |
            tail -n 1)
        row "$(basename "$home")" "$(pid_of "$home")" "$address" \
            "$(alive "$home" && echo running || echo "not running")"
    done
    if [[ -d $folder/redis ]]; then
        row redis "$(pid_of "$folder/redis")" "127.0.0.1:$(<"$folder/redis/port")" \
            "$(alive "$folder/redis" && echo running || echo "not running")"
    fi
    for home in "$folder/coordinator" $(workers); do
        [[ -d $home ]] || continue
        row "$(basename "$home")" "$(pid_of "$home")" "$(url_of "$home")" "$(state_of "$home")"
    done
}

show_env() {
    kafka env
    echo "export TASKHUB_HUB=$hub"
    echo "export TASKHUB_FLEET=$folder"
    if alive "$folder/coordinator"; then
        echo "export TASKHUB_URL=$(url_of "$folder/coordinator")"
    fi
}

# ---- ending ----

gone() {
    ! alive "$1"
}

# end <home> <signal>: to all of its processes; waits until the first of them is gone.
end() {
    if alive "$1"; then
        kill "-$2" -- "-$(<"$1/pid")" 2>/dev/null || true
        if ! until_true 60 gone "$1"; then
            kill -KILL -- "-$(<"$1/pid")" 2>/dev/null || true
            until_true 10 gone "$1" || die "process $(<"$1/pid") does not end"
        fi
    fi
    rm -f "$1/pid"
}

# Workers first: they hand over what they have while there is somebody to hand it to.
down() {
    local home
    for home in $(workers); do
        if alive "$home"; then
            kill -TERM -- "$(<"$home/pid")" 2>/dev/null || true
        fi
    done
    for home in $(workers) "$folder/coordinator"; do
        end "$home" TERM
    done
    kafka down
}

(($# > 0)) || usage
command=$1
shift
number=
if [[ ${1:-} =~ ^[0-9]+$ ]]; then
    number=$1
    shift
fi
while (($# > 0)); do
    (($# > 1)) || usage
    case $1 in
        --folder) folder=$2 ;;
        --app) app=$2 ;;
        --hub) hub=$2 ;;
        --port) port=$2 ;;
        --version) version=(--version "$2") ;;
        --secure) secure=$2 ;;
        --worker) worker_options=$2 ;;
        *) usage ;;
    esac
    shift 2
done
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

one_worker() {
    [[ -n $number && -d $folder/worker-$number ]] || die "there is no worker ${number:-without a number}"
    echo "$folder/worker-$number"
}

case $command in
    up) up "${number:-2}" ;;
    status) status ;;
    env) show_env ;;
    kill) end "$(one_worker)" KILL ;;
    stop) end "$(one_worker)" TERM ;;
    start) launch "$(one_worker)" ;;
    down) down ;;
    *) usage ;;
esac
