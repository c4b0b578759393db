#!/bin/sh
# MLflow reads where its users are kept from a file only: it is written to memory, for this user's eyes.
set -eu
umask 077
: "${MLFLOW_BACKEND_STORE_URI:?names the database; MLflow keeps runs, models and users there}"
: "${MLFLOW_AUTH_ADMIN_USERNAME:?names the admin}" "${MLFLOW_AUTH_ADMIN_PASSWORD:?is the password of the admin}"
export MLFLOW_AUTH_CONFIG_PATH=/tmp/basic_auth.ini
cat >"$MLFLOW_AUTH_CONFIG_PATH" <<END
[mlflow]
default_permission = READ
database_uri = $(printf %s "$MLFLOW_BACKEND_STORE_URI" | sed 's/%/%%/g')
END
# Artifacts go from the platform straight to the storage and back; the server only shows them.
# A worker imports for longer than uvicorn's 5 s on a busy machine, where it would be killed again and again.
exec mlflow server --host 0.0.0.0 --port "${PORT:-5000}" --workers "${MLFLOW_WORKERS:-2}" --app-name basic-auth \
    --no-serve-artifacts --uvicorn-opts "--timeout-worker-healthcheck 120"
