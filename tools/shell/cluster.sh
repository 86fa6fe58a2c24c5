# shellcheck shell=bash
# A cluster in a directory: what is in it, which of its daemons run, how each is started and stopped.
#
#   DIR/cluster.toml    where the masters are          DIR/m1 ... DIR/c1 ...   data
#   DIR/tls             certificates, of all of them
#   DIR/mountpoint      where it is mounted            DIR/run/NAME.pid .sock .port .metrics .http, DIR/log/NAME.log

READY_SECONDS=120
STOP_SECONDS=20
SOCKET_PATH_MAX=107

# useCluster DIR: sets DIR, CLUSTER_FILE and BIN for everything below.
useCluster() {
  DIR=$(absolute "$1")
  CLUSTER_FILE=$DIR/cluster.toml
  BIN=$(absolute "${CAIRN_BIN:-$SOURCE/build/release}")
}
# existingCluster DIR: the same, and it must be one.
existingCluster() {
  useCluster "$1"
  [ -f "$CLUSTER_FILE" ] ||
    fail "there is no cluster in $DIR: it has no cluster.toml" "start one with: tools/dfs up --dir $1" \
      "or name another directory with --dir"
}
# What needs a mount alone.
commandUser() {
  local bin=${CAIRN_BIN:-$SOURCE/build/release}
  [ -x "$bin/dfs-user" ] || fail "there is no $bin/dfs-user" "build it with: tools/dfs build"
  exec "$bin/dfs-user" "$@"
}
# One command at a time for a directory. The lock ends with this process: daemons don't inherit it.
lockCluster() {
  mkdir -p "$DIR/run" "$DIR/log" || fail "cannot make $DIR/run" "look at the permissions of $DIR"
  exec 9> "$DIR/run/lock"
  flock -w 60 9 || fail "another tools/dfs command is busy in $DIR" "wait for it to end, then try again"
}

masterNames() { sed -n 's/^[[:space:]]*name[[:space:]]*=[[:space:]]*"\([^"]*\)".*/\1/p' "$CLUSTER_FILE"; }
masterAddress() {
  local key='^[[:space:]]*address[[:space:]]*=[[:space:]]*'
  sed -n "/^[[:space:]]*name[[:space:]]*=[[:space:]]*\"$1\"/,/^\[/s/$key\"\([^\"]*\)\".*/\1/p" "$CLUSTER_FILE"
}
masterPorts() {
  local name
  for name in $(masterNames); do masterAddress "$name" | sed 's/.*://'; done
}
copiesKept() { sed -n 's/^copies *= *//p' "$CLUSTER_FILE"; }
serverNames() {
  local path
  for path in "$DIR"/c[0-9]*/; do
    path=${path%/}
    [[ ${path##*/} =~ ^c[0-9]+$ ]] && printf '%s\n' "${path##*/}"
  done | sort -V
}
mountPoint() { [ -f "$DIR/mountpoint" ] && cat "$DIR/mountpoint"; }
allNames() {
  masterNames
  serverNames
  [ -f "$DIR/mountpoint" ] && say mount
  return 0
}
knownName() { grep -qxF -- "$1" < <(allNames); }

# daemonPid NAME: sets PID when that daemon of this cluster runs. A pid file alone proves nothing: the process must
# have been started for this directory.
daemonPid() {
  PID=
  { read -r PID < "$DIR/run/$1.pid"; } 2>/dev/null || return 1
  [[ $PID =~ ^[0-9]+$ ]] && alive "$PID" || return 1
  if [ "$1" = mount ]; then
    processHas "$PID" "$CLUSTER_FILE"
  else
    processHas "$PID" "$DIR/run/$1.sock"
  fi
}

# certificateFor ROLE NAME: makes it when there is none. All daemons of a directory share its authority. Sets INSECURE
# for a cluster without certificates.
certificateFor() {
  INSECURE=(--insecure)
  grep -q '^\[security\]' "$CLUSTER_FILE" || return 0
  INSECURE=()
  [ -f "$DIR/tls/$1.$2.pem" ] && return
  "$BIN/dfsadmin" --cluster "$CLUSTER_FILE" cert issue --role "$1" --name "$2" > "$DIR/log/cert.log" 2>&1 ||
    fail "$2 gets no certificate: $(tail -n 1 "$DIR/log/cert.log")" "look at $DIR/tls"
}

# startDaemon NAME PROGRAM ARGS...: in the background, in a session of its own.
startDaemon() {
  local name=$1 program=$BIN/$2
  shift 2
  rm -f "$DIR/run/$name.sock"
  (
    ulimit -n "$(ulimit -Hn)"
    cd "$DIR" && exec setsid "$program" "$@" 9>&- < /dev/null >> "$DIR/log/$name.log" 2>&1
  ) &
  local pid=$!
  disown # bash need not comment on how it ends
  printf '%s\n' "$pid" > "$DIR/run/$name.pid"
  waitUntil 30 execOrDied "$name" "$pid" # until then it can't be told from another process
}
execOrDied() { daemonPid "$1" || ! alive "$2"; }

isEmpty() {
  local contents=("$1"/*)
  [ ${#contents[@]} -eq 0 ]
}
mastersAreNew() {
  local name
  for name in $(masterNames); do isEmpty "$DIR/$name" || return 1; done
}

# keptPort FILE: sets PORT to the one that FILE names, or to a free one when somebody else has that now.
keptPort() {
  PORT=
  { read -r PORT < "$1"; } 2>/dev/null
  if [ -z "$PORT" ] || ! portFree "$PORT"; then
    freePort $(masterPorts) $(cat "$DIR"/run/*.port "$DIR"/run/*.metrics "$DIR"/run/*.http /dev/null 2>/dev/null)
    printf '%s\n' "$PORT" > "$1"
  fi
}
# observedAt NAME: sets OBSERVED to the flags with which the daemon can be looked at.
observedAt() {
  keptPort "$DIR/run/$1.metrics"
  OBSERVED=(--metrics "127.0.0.1:$PORT")
  [[ $1 == m[0-9]* ]] || return 0
  keptPort "$DIR/run/$1.http"
  OBSERVED+=(--http "127.0.0.1:$PORT")
}
# What a Prometheus needs to scrape the cluster: prometheus --config.file=DIR/run/prometheus.yml
writeScrapeConfig() {
  local path name
  {
    printf '# Made by tools/dfs.\nscrape_configs:\n  - job_name: cairnfs\n    scrape_interval: 5s\n'
    printf '    static_configs:\n'
    for path in "$DIR"/run/*.metrics; do
      name=${path##*/}
      printf '      - targets: ["127.0.0.1:%s"]\n        labels: {daemon: "%s"}\n' "$(< "$path")" "${name%.metrics}"
    done
  } > "$DIR/run/prometheus.yml"
}

startMaster() {
  local init=()
  if isEmpty "$DIR/$1"; then # the first begins the group, the others join it, and so does one that lost its data
    init=(--join)
    [ "$1" != "$(masterNames | head -n 1)" ] || ! mastersAreNew || init=(--init)
  fi
  mkdir -p "$DIR/$1"
  certificateFor master "$1"
  observedAt "$1"
  startDaemon "$1" dfs-master --cluster "$CLUSTER_FILE" --name "$1" --dir "$DIR/$1" "${INSECURE[@]}" \
    --listen "$(masterAddress "$1")" --socket "$DIR/run/$1.sock" "${OBSERVED[@]}" "${init[@]}"
}

# A chunkserver keeps its port from run to run, unless somebody else has it now.
startServer() {
  local volumes=() path port= rack=
  mkdir -p "$DIR/$1"
  for path in "$DIR/$1"/v[0-9]*/; do volumes+=(--volume "${path%/}"); done
  { read -r port < "$DIR/run/$1.port"; } 2>/dev/null
  { read -r rack < "$DIR/run/$1.rack"; } 2>/dev/null
  if [ -z "$port" ] || ! portFree "$port"; then
    freePort $(cat "$DIR"/run/*.port "$DIR"/run/*.metrics "$DIR"/run/*.http /dev/null 2>/dev/null)
    port=$PORT
    printf '%s\n' "$port" > "$DIR/run/$1.port"
  fi
  certificateFor chunkserver "$1"
  observedAt "$1"
  startDaemon "$1" dfs-chunkserver --cluster "$CLUSTER_FILE" --name "$1" --dir "$DIR/$1" "${volumes[@]}" \
    "${INSECURE[@]}" --listen "127.0.0.1:$port" --socket "$DIR/run/$1.sock" ${rack:+--rack "$rack"} "${OBSERVED[@]}"
}

startMount() {
  observedAt mount
  startDaemon mount dfs-mount --foreground --connect-timeout "$READY_SECONDS" "${OBSERVED[@]}" \
    "$CLUSTER_FILE" "$(mountPoint)"
}

startByName() {
  case $1 in
    mount) startMount ;;
    m*) startMaster "$1" ;;
    c*) startServer "$1" ;;
  esac
  writeScrapeConfig
}

# Is it ready for its callers? REQUIRES: daemonPid NAME was true.
answers() {
  if [ "$1" = mount ]; then
    isMountPoint "$(mountPoint)" && timeout -k 1 2 stat -t "$(mountPoint)" > /dev/null 2>&1
  else
    [ -S "$DIR/run/$1.sock" ]
  fi
}
answersOrDied() { answers "$1" || ! daemonPid "$1"; }

# awaitDaemon NAME SECONDS: fails with the daemon's own words when it ends or stays silent.
awaitDaemon() {
  waitUntil "$2" answersOrDied "$1" ||
    fail "$1 does not answer after $2 s; the end of its log:" "$(lastWords "$1")" "all of it: $DIR/log/$1.log"
  daemonPid "$1" ||
    fail "$1 ended at once; the end of its log:" "$(lastWords "$1")" "all of it: $DIR/log/$1.log"
}
lastWords() { tail -n 3 "$DIR/log/$1.log" 2>/dev/null; }

# stopDaemons NAME...: SIGTERM to all, then SIGKILL to those that stay.
stopDaemons() {
  local name pids=() names=()
  for name in "$@"; do
    if daemonPid "$name"; then
      kill -TERM "$PID" 2>/dev/null
      kill -CONT "$PID" 2>/dev/null
      pids+=("$PID")
      names+=("$name")
    else
      rm -f "$DIR/run/$name.pid" "$DIR/run/$name.sock"
    fi
  done
  [ ${#pids[@]} -gt 0 ] || return 0
  if ! waitUntil "$STOP_SECONDS" noneAlive "${pids[@]}"; then
    warn "still running after $STOP_SECONDS s, now killed: ${names[*]}"
    kill -KILL "${pids[@]}" 2>/dev/null
    waitUntil 5 noneAlive "${pids[@]}" ||
      warn "SIGKILL did not end all of the processes ${pids[*]}: the kernel holds them"
  fi
  for name in "${names[@]}"; do rm -f "$DIR/run/$name.pid" "$DIR/run/$name.sock"; done
}
noneAlive() {
  local pid
  for pid in "$@"; do alive "$pid" && return 1; done
  return 0
}

# unmountCluster SECONDS: in good order while nobody uses it; after that time it is taken from the tree and the
# daemon goes when its last user does.
UNMOUNT_SECONDS=5
unmountCluster() {
  local at
  at=$(mountPoint) && [ -n "$at" ] && isMountPoint "$at" || return 0
  [[ $(mountType "$at") == fuse* ]] || { warn "$at holds another file system now; it stays"; return 0; }
  waitUntil "$UNMOUNT_SECONDS" tryUnmount "$at" && return 0
  warn "$at is in use; detached from the tree, its users keep their open files until dfs-mount ends"
  fusermount3 -uz -- "$at" 2>/dev/null || umount -l -- "$at"
}
tryUnmount() { fusermount3 -u -- "$1" 2>/dev/null || umount -- "$1" 2>/dev/null || ! isMountPoint "$1"; }
