#!/usr/bin/env bash
# Starts a PostgreSQL server in a temporary folder, on this machine only, and prints how to reach and how to stop it.
# Use: eval "$(tools/start_postgresql.sh)"; make test-all; eval "$STOP_POSTGRESQL"
set -euo pipefail
bin="$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)"
[ -n "$bin" ] || bin="$(dirname "$(command -v initdb)")"
folder="$(mktemp -d)"
port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
as=""
if [ "$(id -u)" = 0 ]; then # the server refuses to run as root
  chown postgres "$folder"
  as="runuser -u postgres --"
fi
cd "$folder"
$as "$bin/initdb" -D "$folder/data" -U medtransfer --auth=trust > "$folder/log" 2>&1
$as "$bin/pg_ctl" -D "$folder/data" -l "$folder/server.log" -w -o "-p $port -h 127.0.0.1 -k $folder -c fsync=off" start >> "$folder/log" 2>&1
echo "export MEDTRANSFER_POSTGRESQL='postgresql://medtransfer@127.0.0.1:$port/postgres'"
echo "STOP_POSTGRESQL='cd / && $as $bin/pg_ctl -D $folder/data -m immediate stop > /dev/null; rm -rf $folder'"
