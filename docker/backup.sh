#!/bin/sh
# Saves all that the stack keeps into a folder, or puts it back, a part at a time, as `make restore` starts the services.
#   backup.sh ENGINE PROJECT save|secrets|databases|files FOLDER
# A folder holds a dump of each database, the files of the volumes, and .env, as MLflow's log-in is in its dump too.
set -eu
umask 077
engine=$1 project=$2 what=$3 folder=$4
env=$(dirname "$0")/.env
databases="dagster mlflow optuna"
loans="cd / && ls -d var/lib/loan-default/loans 2>/dev/null || true" # absent where LOAN_DEFAULT_DATA names others

refuse() {
    echo "$1" >&2
    exit 2
}

# inside SERVICE COMMAND...
inside() {
    container=$("$engine" ps --quiet --filter "label=com.docker.compose.project=$project" \
        --filter "label=com.docker.compose.service=$1")
    [ -n "$container" ] || refuse "$1 does not run; make start starts it."
    shift
    "$engine" exec -i "$container" "$@"
}

[ -n "$folder" ] || refuse "Name the folder: make backup TO=folder, make restore FROM=folder."

case $what in
save)
    [ ! -e "$folder" ] || refuse "$folder is there already; name a new folder."
    mkdir -p "$folder.part"
    for database in $databases; do
        inside postgres pg_dump --username loan_default --format custom --no-owner "$database" >"$folder.part/$database.dump"
    done
    # After the databases: they refer to files, files to nothing. tar's 1 tells of a file that was replaced meanwhile.
    inside code-server sh -c "cd / && tar -czf - storage $(inside code-server sh -c "$loans") || [ \$? = 1 ]" \
        >"$folder.part/files.tar.gz"
    cp -p "$env" "$folder.part/env"
    mv "$folder.part" "$folder"
    echo "Saved into $folder: $(du -sh "$folder" | cut -f 1)."
    ;;
secrets)
    for file in $(printf '%s.dump ' $databases) files.tar.gz env; do
        [ -s "$folder/$file" ] || refuse "$folder/$file is missing; name a folder that make backup made."
    done
    gzip -t "$folder/files.tar.gz" || refuse "$folder/files.tar.gz is damaged; nothing was touched."
    if [ "${REPLACE:-}" != true ] && "$engine" volume inspect "${project}_records" >/dev/null 2>&1; then
        refuse "The stack keeps records already; REPLACE=true replaces them and its files by those of $folder."
    fi
    cp -p "$folder/env" "$env"
    ;;
databases)
    until inside postgres pg_isready --quiet --host 127.0.0.1 --username loan_default --dbname optuna; do sleep 1; done
    # Postgres keeps the password that it was first started with.
    echo "ALTER ROLE loan_default PASSWORD '$(sed -n 's/^POSTGRES_PASSWORD=//p' "$env")'" |
        inside postgres psql --quiet --username loan_default dagster
    for database in $databases; do # in one transaction: a dump that breaks off changes nothing
        inside postgres pg_restore --username loan_default --dbname "$database" --clean --if-exists --no-owner \
            --single-transaction <"$folder/$database.dump"
    done
    ;;
files)
    inside code-server sh -c 'find /storage /var/lib/loan-default/loans -mindepth 1 -delete 2>/dev/null; tar -C / -xzf -' \
        <"$folder/files.tar.gz"
    echo "Restored from $folder."
    ;;
esac
