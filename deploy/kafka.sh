#!/usr/bin/env bash
# Kafka and Redis on this machine, for development and tests: everything listens on 127.0.0.1, keeps
# its files below one folder and is recorded there, so that `down` stops exactly what was started.
#
#   deploy/kafka.sh fetch                 the broker's jars, from Maven Central, into the user's cache
#   deploy/kafka.sh up                    one broker or several, fresh or as they were left
#   deploy/kafka.sh redis                 a Redis
#   deploy/kafka.sh start --node N        a stopped broker again
#   deploy/kafka.sh stop --node N         a broker ends in good order; `kill` ends it with -9
#   deploy/kafka.sh env                   TASKHUB_KAFKA=… and TASKHUB_REDIS=…, as `export` lines
#   deploy/kafka.sh down                  stops all of it; the files stay
#
#   --folder F         where everything lies (default: build/fleet)
#   --version V        of Kafka: 3.9.1 (default), 4.1.0, …
#   --nodes N          brokers, each of them also a controller (default: 1)
#   --port P           of the first broker, the next ones take the ports behind it; or of the Redis
#                      (default: free ones)
#   --property K=V     more of a broker's settings, as often as needed
#   --secure HUB       of up and redis, the first time: TLS, and a user `taskhub` with a password, whose
#                      rights are those that a hub of this name needs (in Kafka: of version 3); `env`
#                      tells all of it
#   --node N           which broker, from 1
set -euo pipefail
cd "$(dirname "$0")/.."

folder=build/fleet
version=3.9.1
nodes=1
node=1
port=
properties=()
secure=

die() {
    echo "kafka: $*" >&2
    exit 1
}

# ---- waiting ----

alive() {
    [[ -s $1 ]] && kill -0 "$(<"$1")" 2>/dev/null
}

# until_true <seconds> <command>...: looks again and again; false when the time is over.
until_true() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}

# ---- ports ----

taken() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# free_ports <count>: the first of so many neighbours, below those that outgoing connections get.
free_ports() {
    local first i
    while :; do
        first=$((20000 + RANDOM % 10000))
        for ((i = 0; i < $1; i++)); do
            if taken $((first + i)); then
                continue 2
            fi
        done
        echo "$first"
        return
    done
}

# ---- the broker's jars ----

jars() {
    echo "${XDG_CACHE_HOME:-$HOME/.cache}/taskhub/kafka-$version"
}

# Kafka 4 logs through log4j 2, earlier ones through reload4j.
pom() {
    local group=org.slf4j artifact=slf4j-reload4j logging=1.7.36
    if [[ $version != 3.* ]]; then
        group=org.apache.logging.log4j artifact=log4j-slf4j-impl logging=2.24.3
    fi
    cat <<XML
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>taskhub</groupId><artifactId>broker</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
      <version>$version</version>
    </dependency>
    <dependency>
      <groupId>$group</groupId><artifactId>$artifact</artifactId><version>$logging</version>
    </dependency>
  </dependencies>
</project>
XML
}

# Into a folder of its own first: of two that fetch at once, the later one finds the work done.
fetch() {
    local target work output
    target=$(jars)
    [[ ! -d $target ]] || return 0
    command -v mvn >/dev/null || die "there is no mvn; run deploy/install-deps.sh check"
    mkdir -p "$(dirname "$target")"
    work=$(mktemp -d "$target.XXXXXX")
    pom >"$work/pom.xml"
    if ! output=$(mvn -q -B -f "$work/pom.xml" dependency:copy-dependencies \
        -DoutputDirectory="$work/jars" 2>&1); then
        rm -rf "$work"
        die "Kafka $version could not be fetched from Maven Central: $(tail -n 5 <<<"$output")"
    fi
    mv -T "$work/jars" "$target" 2>/dev/null || [[ -d $target ]] || die "$target cannot be made"
    rm -rf "$work"
}

# ---- TLS and passwords ----

# One user and one password for both; certificates.sh makes the rest.
make_secrets() {
    local secrets=$folder/secrets
    [[ ! -d $secrets ]] || return 0
    deploy/certificates.sh "$secrets.new" || exit
    # Kafka wants the key and what was signed for it in one file.
    cat "$secrets.new/server.key" "$secrets.new/server.pem" >"$secrets.new/broker.pem"
    head -c 18 /dev/urandom | base64 | tr '+/' 'Aa' >"$secrets.new/password"
    mv "$secrets.new" "$secrets"
}

# Kafka 4 looks closer at what comes with SCRAM, and refuses librdkafka below 2.6.1, which Debian 12's is.
mechanism() {
    case $version in
        3.*) echo SCRAM-SHA-512 ;;
        *) echo PLAIN ;;
    esac
}

# The listener for everybody else wants TLS and a password; brokers and the administrator talk on one of
# their own. The tool that grants rights is not among the jars of Kafka 4.
secure_properties() {
    cat <<PROPERTIES
listeners=SASL_SSL://127.0.0.1:$1,INTERNAL://127.0.0.1:$2,CONTROLLER://127.0.0.1:$3
advertised.listeners=SASL_SSL://127.0.0.1:$1,INTERNAL://127.0.0.1:$2
listener.security.protocol.map=SASL_SSL:SASL_SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=INTERNAL
sasl.enabled.mechanisms=$(mechanism)
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_taskhub="$(<"$folder/secrets/password")";
ssl.keystore.type=PEM
ssl.keystore.location=$folder/secrets/broker.pem
PROPERTIES
    [[ $version != 3.* ]] || cat <<PROPERTIES
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
PROPERTIES
}

# allow <option> <hub> <operation>...: for all topics, or groups, of the hub.
allow() {
    local option=$1 hub=$2 operation operations=()
    shift 2
    for operation in "$@"; do
        operations+=(--operation "$operation")
    done
    java_run -XX:TieredStopAtLevel=1 -Dlog4j.configuration="file:$(home 1)/log4j.properties" \
        kafka.admin.AclCommand --bootstrap-server "$(sed -n 's,^advertised.*INTERNAL://,,p' \
        "$(home 1)/server.properties")" --add --allow-principal User:taskhub \
        --resource-pattern-type prefixed "$option" "$hub." "${operations[@]}" \
        >>"$folder/secrets/granted.log" 2>&1 ||
        die "rights could not be granted, see $folder/secrets/granted.log"
}

# Those that docs/operations.md lists.
grant() {
    [[ $version == 3.* && ! -f $folder/secrets/granted ]] || return 0
    allow --topic "$1" Create Delete Describe DescribeConfigs Read Write
    allow --group "$1" Delete Describe Read
    touch "$folder/secrets/granted"
}

# ---- brokers ----

home() {
    echo "$folder/kafka-$1"
}

# write_logging <home>: both configurations; each version reads its own.
write_logging() {
    cat >"$1/log4j.properties" <<PROPERTIES
log4j.rootLogger=INFO, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=[%d] %p %m (%c)%n
PROPERTIES
    cat >"$1/log4j2.properties" <<PROPERTIES
rootLogger.level=INFO
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=[%d] %p %m (%c)%n
PROPERTIES
}

# voters <first controller's port>
voters() {
    local i list=()
    for ((i = 1; i <= nodes; i++)); do
        list+=("$i@127.0.0.1:$(($1 + i - 1))")
    done
    (IFS=,; echo "${list[*]}")
}

# A stock broker but for what a small machine and quick failover ask for; the caller's come last and
# win. The floor of session time-outs is 6 s otherwise, and one broker cannot hold three replicas.
write_properties() {
    local i=$1 first=$2
    cat >"$(home "$i")/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=$i
controller.quorum.voters=$(voters $((first + nodes)))
listeners=PLAINTEXT://127.0.0.1:$((first + i - 1)),CONTROLLER://127.0.0.1:$((first + nodes + i - 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$((first + i - 1))
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs=$(home "$i")/data
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=16777216
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
PROPERTIES
    [[ -z $secure ]] ||
        secure_properties $((first + i - 1)) $((first + 2 * nodes + i - 1)) $((first + nodes + i - 1)) \
            >>"$(home "$i")/server.properties"
    ((${#properties[@]} == 0)) ||
        printf '%s\n' "${properties[@]}" >>"$(home "$i")/server.properties"
}

java_run() {
    command -v java >/dev/null || die "there is no java; run deploy/install-deps.sh check"
    java -cp "$(jars)/*" "$@"
}

# format_all <first port>: homes and storage of all brokers, as one cluster.
format_all() {
    local i cluster users=()
    if [[ -n $secure ]]; then
        make_secrets
        users=(--add-scram "SCRAM-SHA-512=[name=taskhub,password=$(<"$folder/secrets/password")]")
    fi
    cluster=$(head -c 16 /dev/urandom | base64 | tr '+/' 'Aa' | tr -d '=')
    for ((i = 1; i <= nodes; i++)); do
        mkdir -p "$(home "$i")"
        write_logging "$(home "$i")"
        write_properties "$i" "$1"
        java_run -XX:TieredStopAtLevel=1 \
            -Dlog4j.configuration="file:$(home "$i")/log4j.properties" \
            -Dlog4j2.configurationFile="$(home "$i")/log4j2.properties" \
            kafka.tools.StorageTool format -t "$cluster" -c "$(home "$i")/server.properties" "${users[@]}" \
            >"$(home "$i")/format.log" 2>&1 ||
            die "the storage of broker $i could not be formatted, see $(home "$i")/format.log"
    done
    echo "$version" >"$folder/version"
}

launch() {
    local home
    home=$(home "$1")
    [[ -f $home/server.properties ]] || die "there is no broker $1 in $folder"
    if alive "$home/pid"; then
        return
    fi
    : >"$home/out.log"
    # In a session of its own: what interrupts the caller's terminal is none of its business.
    setsid java -Xmx512m -XX:+UseSerialGC -cp "$(jars)/*" \
        -Dlog4j.configuration="file:$home/log4j.properties" \
        -Dlog4j2.configurationFile="$home/log4j2.properties" \
        kafka.Kafka "$home/server.properties" </dev/null >>"$home/out.log" 2>&1 &
    echo $! >"$home/pid"
}

# The broker's own words when it has registered and serves.
answers_or_died() {
    grep -q 'Kafka Server started' "$1/out.log" || ! alive "$1/pid"
}

await() {
    local home
    home=$(home "$1")
    if ! until_true 120 answers_or_died "$home" || ! alive "$home/pid"; then
        tail -n 20 "$home/out.log" >&2
        die "broker $1 did not start, see $home/out.log"
    fi
}

addresses() {
    local file
    for file in "$folder"/kafka-*/server.properties; do
        # The last line wins, as it does for the broker; its first listener is everybody's.
        [[ ! -f $file ]] || sed -n 's,^advertised.listeners=[A-Z_]*://\([^,]*\).*,\1,p' "$file" | tail -n 1
    done | paste -s -d ,
}

up() {
    local i first
    fetch
    if [[ ! -f $folder/version ]]; then
        first=${port:-$(free_ports $((3 * nodes)))}
        format_all "$first"
    fi
    version=$(<"$folder/version")
    nodes=$(find "$folder" -maxdepth 1 -name 'kafka-*' | wc -l)
    for ((i = 1; i <= nodes; i++)); do
        launch "$i"
    done
    for ((i = 1; i <= nodes; i++)); do
        await "$i"
    done
    [[ -z $secure ]] || grant "$secure"
    echo "Kafka $version: $(addresses)"
}

start() {
    version=$(<"$folder/version")
    launch "$node"
    await "$node"
}

gone() {
    ! alive "$1"
}

# end <pid file> <signal>: sends it and waits until the process is gone.
end() {
    if alive "$1"; then
        kill "-$2" "$(<"$1")" 2>/dev/null || true
        if ! until_true 60 gone "$1"; then
            kill -KILL "$(<"$1")" 2>/dev/null || true
            until_true 10 gone "$1" || die "process $(<"$1") does not end"
        fi
    fi
    rm -f "$1"
}

# ---- Redis ----

redis_answers_or_died() {
    local options=()
    [[ ! -f $1/acl ]] || options=(--tls --cacert "$folder/secrets/ca.pem" --user taskhub
        --pass "$(<"$folder/secrets/password")" --no-auth-warning)
    redis-cli -h 127.0.0.1 -p "$(<"$1/port")" "${options[@]}" ping 2>/dev/null | grep -qx PONG ||
        ! alive "$1/pid"
}

# redis_rights <hub>: those that docs/operations.md lists.
redis_rights() {
    cat <<ACL
user default off
user taskhub on >$(<"$folder/secrets/password") resetkeys ~{$1:* resetchannels &{$1:* -@all +fcall +function|load +info +select +ping +hget +hmget +hset +hdel +hlen +zadd +zrem +zcard +zrangebylex +unlink +publish +subscribe +unsubscribe
ACL
}

redis() {
    local home=$folder/redis listen
    command -v redis-server >/dev/null || die "there is no redis-server; run deploy/install-deps.sh check"
    mkdir -p "$home"
    [[ -s $home/port ]] || echo "${port:-$(free_ports 1)}" >"$home/port"
    if [[ -n $secure ]]; then
        make_secrets
        redis_rights "$secure" >"$home/acl"
    fi
    listen=(--port "$(<"$home/port")")
    [[ ! -f $home/acl ]] || listen=(--port 0 --tls-port "$(<"$home/port")" --tls-auth-clients no
        --tls-ca-cert-file "$folder/secrets/ca.pem" --tls-cert-file "$folder/secrets/server.pem"
        --tls-key-file "$folder/secrets/server.key" --aclfile "$home/acl")
    if ! alive "$home/pid"; then
        setsid redis-server --bind 127.0.0.1 "${listen[@]}" --dir "$home" --save '' \
            --daemonize no </dev/null >>"$home/out.log" 2>&1 &
        echo $! >"$home/pid"
    fi
    if ! until_true 30 redis_answers_or_died "$home" || ! alive "$home/pid"; then
        tail -n 20 "$home/out.log" >&2
        die "Redis did not start, see $home/out.log"
    fi
    echo "Redis: 127.0.0.1:$(<"$home/port")"
}

# ---- all of it ----

show_env() {
    local kafka secrets=$folder/secrets
    [[ ! -f $folder/version ]] || version=$(<"$folder/version")
    kafka=$(addresses)
    [[ -z $kafka ]] || echo "export TASKHUB_KAFKA=$kafka"
    if grep -qs '^sasl.enabled' "$folder"/kafka-1/server.properties; then
        printf 'export TASKHUB_KAFKA_PROPERTIES=%q\n' "security.protocol=sasl_ssl;$(
        )sasl.mechanism=$(mechanism);sasl.username=taskhub;sasl.password=$(<"$secrets/password");$(
        )ssl.ca.location=$secrets/ca.pem"
    fi
    if [[ -f $folder/redis/acl ]]; then
        printf 'export TASKHUB_REDIS=%q\n' \
            "rediss://taskhub:$(<"$secrets/password")@127.0.0.1:$(<"$folder/redis/port")?ca=$secrets/ca.pem"
    elif [[ -s $folder/redis/port ]]; then
        echo "export TASKHUB_REDIS=127.0.0.1:$(<"$folder/redis/port")"
    fi
}

# A controller waits for a quorum when it ends in good order, so the last ones would wait for ever:
# all of them are told first.
down() {
    local file
    for file in "$folder"/kafka-*/pid; do
        if alive "$file"; then
            kill -TERM "$(<"$file")" 2>/dev/null || true
        fi
    done
    for file in "$folder"/kafka-*/pid "$folder"/redis/pid; do
        end "$file" TERM
    done
}

usage() {
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    exit 2
}

(($# > 0)) || usage
command=$1
shift
while (($# > 0)); do
    (($# > 1)) || usage
    case $1 in
        --folder) folder=$2 ;;
        --version) version=$2 ;;
        --nodes) nodes=$2 ;;
        --node) node=$2 ;;
        --port) port=$2 ;;
        --property) properties+=("$2") ;;
        --secure) secure=$2 ;;
        *) usage ;;
    esac
    shift 2
done
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

case $command in
    fetch) fetch ;;
    up) up ;;
    redis) redis ;;
    start) start ;;
    stop) end "$(home "$node")/pid" TERM ;;
    kill) end "$(home "$node")/pid" KILL ;;
    env) show_env ;;
    down) down ;;
    *) usage ;;
esac
