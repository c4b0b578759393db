#!/usr/bin/env bash
# Runs at each start of the instance, and by hand after a change: sudo google_metadata_script_runner startup
# Settings and the names of secrets come from the instance's metadata; the secrets themselves from Secret Manager into
# memory, where only the containers' user can read them.
set -euo pipefail
umask 077
export HOME=/root DEBIAN_FRONTEND=noninteractive

metadata() {
  curl -sSf -H 'Metadata-Flavor: Google' "http://metadata.google.internal/computeMetadata/v1/instance/attributes/$1"
}

if ! docker compose version >/dev/null 2>&1; then
  apt-get update -q
  apt-get install -qy --no-install-recommends docker.io docker-cli docker-compose unattended-upgrades
fi
systemctl enable --now docker

config=/etc/loan-default
install -d -m 755 "$config"
for name in compose.yaml compose.cloud.yaml workspace.yaml; do
  metadata "loan-default-${name//./-}" >"$config/$name"
  chmod 644 "$config/$name"
done

PLATFORM_IMAGE=$(metadata loan-default-image)
export PLATFORM_IMAGE
gcloud auth configure-docker "${PLATFORM_IMAGE%%/*}" --quiet
docker pull -q "$PLATFORM_IMAGE"
user=$(docker run --rm --network none --entrypoint id "$PLATFORM_IMAGE" -u)

# One file that a shell reads: NAME='value'. It takes its place whole, so that a container that starts now finds all of it.
memory=/run/loan-default
install -d -m 755 "$memory"
part=$memory/.environment
: >"$part"
quoted() {
  if [[ $2 == *"'"* || $2 == *$'\n'* ]]; then
    echo "$1 holds a quote or a new line; give it another value." >&2
    exit 1
  fi
  printf "%s='%s'\n" "$1" "$2" >>"$part"
}
settings=$(metadata loan-default-settings)
while IFS='=' read -r name value; do
  quoted "$name" "$value"
  export "$name=$value" # no secret: compose may have it too
done <<<"$settings"
secrets=$(metadata loan-default-secrets)
while IFS='=/' read -r name secret version; do
  value=$(gcloud secrets versions access "$version" --secret="$secret" </dev/null)
  quoted "$name" "$value"
done <<<"$secrets"
chown "$user" "$part"
chmod 400 "$part"
mv "$part" "$memory/environment"

# compose.yaml does not start without secrets. These stand for them in what Docker keeps on the disk; see compose.cloud.yaml.
for name in POSTGRES_PASSWORD MLFLOW_AUTH_ADMIN_USERNAME MLFLOW_AUTH_ADMIN_PASSWORD MLFLOW_FLASK_SERVER_SECRET_KEY \
  LOAN_DEFAULT_API_TOKENS LOAN_DEFAULT_ADMIN_TOKENS; do
  export "$name=in-memory"
done

# A changed secret or setting is read when a container starts.
docker compose --project-name loan-default -f "$config/compose.yaml" -f "$config/compose.cloud.yaml" \
  up --detach --remove-orphans --force-recreate --wait --wait-timeout 600
docker image prune --force >/dev/null
