#!/bin/sh
# Starts one program of the image: master NAME | chunkserver NAME | mount MOUNTPOINT | admin ARGS...
#
# DFS_CLUSTER   names cluster.toml, on a volume that all containers see, with the certificates beside it; so all of them
#               are trusted as a master is: on hosts of their own give nodes tokens instead (rpc/SECURITY.md)
# DFS_ADDRESS   host:port as others reach this container (default: its host name, port 7000)
# DFS_MASTERS   "m1=m1:7000 m2=m2:7000 ...": where there is no cluster.toml yet, the first of them makes it
# DFS_FIRST     the master that begins a new cluster; where cluster.toml was made here, that is known
# DFS_OPTIONS   further options of the program
# Data is in /data. An empty /data becomes that of a further master, for a cluster begins once: a master whose disk was
# lost must not begin another one.
set -eu

CLUSTER=${DFS_CLUSTER:-/cluster/cluster.toml}
ADDRESS=${DFS_ADDRESS:-$(hostname):7000}
PORT=${ADDRESS##*:}
RUN=/run/cairnfs
BEGUN_BY=$(dirname "$CLUSTER")/first

awaitCluster() {
  tries=0
  until [ -s "$CLUSTER" ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ]; then
      echo "entrypoint: $CLUSTER did not appear within 30 s; is the first master running?" >&2
      exit 2
    fi
    sleep 0.1
  done
}

# The first master of DFS_MASTERS; where there are none, the one that is asked.
makeCluster() {
  masters=${DFS_MASTERS:-$1=$ADDRESS}
  [ "${masters%%=*}" = "$1" ] || return 0
  echo "$1" > "$BEGUN_BY"
  words=
  for master in $masters; do
    words="$words --master $master"
  done
  # shellcheck disable=SC2086  # words
  dfsadmin cluster init --file "$CLUSTER" $words --copies "${DFS_COPIES:-3}" --servers "${DFS_SERVERS:-3}"
}

firstOption() {
  if [ -n "$(ls -A /data)" ]; then
    return
  fi
  first=${DFS_FIRST:-}
  if [ -z "$first" ] && [ -s "$BEGUN_BY" ]; then
    first=$(cat "$BEGUN_BY")
  fi
  if [ "$first" = "$1" ]; then echo --init; else echo --join; fi
}

role=${1:-}
[ $# -gt 0 ] && shift
mkdir -p "$RUN"
case $role in
  master)
    [ -s "$CLUSTER" ] || makeCluster "$1"
    awaitCluster
    # Once it has data nobody may begin the cluster again.
    [ -z "$(ls -A /data)" ] || [ ! -w "$BEGUN_BY" ] || : > "$BEGUN_BY"
    # shellcheck disable=SC2046,SC2086  # words, or none
    exec dfs-master --cluster "$CLUSTER" --name "$1" --dir /data --listen "0.0.0.0:$PORT" --socket "$RUN/$1.sock" \
      $(firstOption "$1") ${DFS_OPTIONS:-}
    ;;
  chunkserver)
    awaitCluster
    [ -s "$(dirname "$CLUSTER")/tls/chunkserver.$1.pem" ] ||
      dfsadmin --cluster "$CLUSTER" cert issue --role chunkserver --name "$1"
    # shellcheck disable=SC2086
    exec dfs-chunkserver --cluster "$CLUSTER" --name "$1" --dir /data --listen "$ADDRESS" --socket "$RUN/$1.sock" \
      ${DFS_OPTIONS:-}
    ;;
  mount)
    awaitCluster
    mkdir -p "$1"
    # shellcheck disable=SC2086
    exec dfs-mount --foreground --supervise ${DFS_OPTIONS:-} "$CLUSTER" "$1"
    ;;
  admin)
    exec dfsadmin "$@"
    ;;
  *)
    echo "usage: master NAME | chunkserver NAME | mount MOUNTPOINT | admin ARGS..." >&2
    exit 64
    ;;
esac
