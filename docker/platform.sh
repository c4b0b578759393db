#!/bin/sh
# Every Dagster process must find the same instance: whichever comes first writes dagster.yaml. Then the command begins.
set -e
python -c "from loan_default.homes import prepare_process; from loan_default.settings import load_settings; prepare_process(load_settings())"
exec "$@"
