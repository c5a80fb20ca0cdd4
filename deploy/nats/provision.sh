#!/bin/sh
# Makes the streams and the consumer with the `nats` CLI, as the operator. `stillair bus provision` does the same, and so does the
# daemon itself with [bus] provision = true: use this where neither may. Needs: nats context or NATS_URL, NATS_USER, NATS_PASSWORD.
set -eu
cd "$(dirname "$0")"
nats stream add STILLAIR_EXPOSURES --config exposures.stream.json
nats stream add STILLAIR_CATALOGS --config catalogs.stream.json
nats stream add STILLAIR_DEAD_LETTERS --config dead_letters.stream.json
nats consumer add STILLAIR_EXPOSURES stillair --config stillair.consumer.json
# Only where pixels travel by NATS (nats-object:); each object is removed after a day.
nats object add exposures --description "Pixels of exposures" --storage file --ttl 24h
