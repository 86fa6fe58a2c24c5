#!/bin/sh
# Starts one program of the image: master NAME | chunkserver NAME | mount MOUNTPOINT | admin ARGS...
# DFS_CLUSTER names cluster.toml, on a volume that all containers share; the first master makes it, with the
# certificates beside it. So all of them are trusted as a master is: on hosts of their own give nodes tokens instead
# (rpc/SECURITY.md).
# Data is in /data. DFS_ADDRESS is host:port as others reach this container (default: its host name, port 7000).
set -eu

CLUSTER=${DFS_CLUSTER:-/cluster/cluster.toml}
ADDRESS=${DFS_ADDRESS:-$(hostname):7000}
PORT=${ADDRESS##*:}
RUN=/run/cairnfs

awaitCluster() {
  tries=0
  until [ -s "$CLUSTER" ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ]; then
      echo "entrypoint: $CLUSTER did not appear within 30 s; is the master running?" >&2
      exit 2
    fi
    sleep 0.1
  done
}

role=${1:-}
[ $# -gt 0 ] && shift
mkdir -p "$RUN"
case $role in
  master)
    init=
    if [ ! -s "$CLUSTER" ]; then
      dfsadmin cluster init --file "$CLUSTER" --master "$1=$ADDRESS" --copies "${DFS_COPIES:-3}" \
        --servers "${DFS_SERVERS:-3}"
    fi
    [ -n "$(ls -A /data)" ] || init=--init
    exec dfs-master --cluster "$CLUSTER" --name "$1" --dir /data --listen "0.0.0.0:$PORT" --socket "$RUN/$1.sock" $init
    ;;
  chunkserver)
    awaitCluster
    [ -s "$(dirname "$CLUSTER")/tls/chunkserver.$1.pem" ] ||
      dfsadmin --cluster "$CLUSTER" cert issue --role chunkserver --name "$1"
    exec dfs-chunkserver --cluster "$CLUSTER" --name "$1" --dir /data --listen "$ADDRESS" --socket "$RUN/$1.sock"
    ;;
  mount)
    awaitCluster
    mkdir -p "$1"
    exec dfs-mount --foreground "$CLUSTER" "$1"
    ;;
  admin)
    exec dfsadmin "$@"
    ;;
  *)
    echo "usage: master NAME | chunkserver NAME | mount MOUNTPOINT | admin ARGS..." >&2
    exit 64
    ;;
esac
