#!/bin/sh
# Writes .env beside this file, for its owner's eyes: a random value for each secret that compose.yaml will not start
# without. What .env holds already stays as it is.
set -eu
umask 077
cd "$(dirname "$0")"
touch .env
chmod 600 .env
[ -z "$(tail -c 1 .env)" ] || echo >>.env # a last line that was left open
for name in $(sed -n 's/.*\${\([A-Z_]*\):?run make secrets}.*/\1/p' compose.yaml | sort -u); do
    if ! grep -q "^$name=" .env; then
        case $name in
        *_USERNAME) value=admin ;;
        *) value=$(head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \n') ;; # needs no quoting in an address
        esac
        printf '%s=%s\n' "$name" "$value" >>.env
        echo "docker/.env: $name"
    fi
done
