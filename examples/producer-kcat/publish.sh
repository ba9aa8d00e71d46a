#!/bin/sh
# Publishes one job for each creator on the command line:
#
#   KAFKA_BROKERS=localhost:9094 sh publish.sh instagram natgeo nasa
#
# Results: kcat -C -b localhost:9094 -t millrace.results -o end
set -eu
: "${KAFKA_BROKERS:=localhost:9092}" "${JOBS_TOPIC:=millrace.jobs}"
platform=$1
shift

# partitioner: librdkafka's own default is another hash than Java's. Names go into JSON as they are: no quotes, no backslashes.
for creator in "$@"; do
  printf '%s:%s\t{"platform":"%s","creator_id":"%s","job_type":"profile"}\n' "$platform" "$creator" "$platform" "$creator"
done | "${KCAT:-kcat}" -P -b "$KAFKA_BROKERS" -t "$JOBS_TOPIC" -K '\t' \
  -X enable.idempotence=true -X partitioner=murmur2_random -X log_level=3
