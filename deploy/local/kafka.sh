#!/usr/bin/env bash
# Runs the broker of this container. Its settings are the variables KAFKA_…, as in the public images:
# KAFKA_LOG_DIRS is log.dirs. CLUSTER_ID names the cluster when the storage is new.
set -euo pipefail

settings=$(mktemp)
logging=$(mktemp)
env | sed -n 's/^KAFKA_\([A-Z_]*\)=/\1 /p' | while read -r name value; do
    name=${name,,}
    echo "${name//_/.}=$value"
done >"$settings"
cat >"$logging" <<'PROPERTIES'
log4j.rootLogger=WARN, out
log4j.logger.kafka.server.KafkaRaftServer=INFO
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=[%d] %p %m (%c)%n
PROPERTIES

java=(java "-Dlog4j.configuration=file:$logging" -XX:+UseSerialGC -cp '/opt/kafka/libs/*')
"${java[@]}" -XX:TieredStopAtLevel=1 kafka.tools.StorageTool format --ignore-formatted \
    -t "$CLUSTER_ID" -c "$settings"
exec "${java[@]}" -Xmx512m kafka.Kafka "$settings"
