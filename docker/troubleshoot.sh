#!/bin/sh
# What state each service of the stack is in, whether it is healthy now, and what it said last.
#   troubleshoot.sh ENGINE PROJECT SERVICE...
engine=$1 project=$2
shift 2
for service; do
    container=$("$engine" ps --all --quiet --filter "label=com.docker.compose.project=$project" \
        --filter "label=com.docker.compose.service=$service" | head -n 1)
    if [ -z "$container" ]; then
        printf '\n== %s: not there; make start\n' "$service"
        continue
    fi
    state=$("$engine" inspect --format '{{.State.Status}} since {{.State.StartedAt}}, restarted {{.RestartCount}} times' "$container")
    check=$("$engine" inspect --format '{{index .Config.Healthcheck.Test 1}}' "$container")
    if answer=$("$engine" exec "$container" sh -c "$check" 2>&1); then health=healthy; else health="NOT HEALTHY: $answer"; fi
    printf '\n== %s: %s, %s\n' "$service" "$state" "$health"
    "$engine" logs --tail 5 "$container" 2>&1 | cut -c 1-240
done
