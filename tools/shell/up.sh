# shellcheck shell=bash
# tools/dfs up: a cluster of separate daemons in a directory, mounted. Fresh or resumed.

HEALTHY_SECONDS=3

upOptions() {
  UP_DIR=./.dfs UP_MOUNT= UP_MASTERS= UP_SERVERS= UP_REPLICAS= UP_VOLUMES= UP_RACKS=
  while [ $# -gt 0 ]; do
    case $1 in
      --dir | --mount | --masters | --chunkservers | --replicas | --volumes | --racks) needValue "$@" ;;&
      --dir) UP_DIR=$2 ;;
      --mount) UP_MOUNT=$2 ;;
      --masters) number "$2" --masters 1 9; UP_MASTERS=$2 ;;
      --chunkservers) number "$2" --chunkservers 1 99; UP_SERVERS=$2 ;;
      --replicas) number "$2" --replicas 1 9; UP_REPLICAS=$2 ;;
      --volumes) number "$2" --volumes 1 16; UP_VOLUMES=$2 ;;
      --racks) number "$2" --racks 1 99; UP_RACKS=$2 ;;
      *) usageError "up has no option '$1'" ;;
    esac
    shift 2
  done
}

checkUpDirectory() {
  [ -e "$DIR" ] && [ ! -d "$DIR" ] && fail "$DIR is not a directory" "name another one with --dir"
  [ ${#DIR} -le $((SOCKET_PATH_MAX - 16)) ] ||
    fail "the path $DIR is too long for the Unix sockets in it: $((SOCKET_PATH_MAX - 16)) characters at most" \
      "use a shorter --dir"
  FRESH=
  [ -f "$CLUSTER_FILE" ] && return
  FRESH=1
  local entry
  for entry in "$DIR"/* "$DIR"/.[!.]*; do
    [[ ${entry##*/} =~ ^(log|run)$ ]] && continue
    fail "$DIR holds something else than a cluster: ${entry##*/}" "name an empty or new directory with --dir"
  done
}

# The mount point of a resumed cluster is the one it had, unless another is named.
chooseMountPoint() {
  [ -n "$UP_MOUNT" ] || UP_MOUNT=$(mountPoint) || UP_MOUNT=./mnt
  MNT=$(absolute "$UP_MOUNT")
  MOUNTED=
  local before
  if before=$(mountPoint) && daemonPid mount; then
    [ "$before" = "$MNT" ] ||
      fail "this cluster is mounted at $before already" "stop it first: tools/dfs down --dir $UP_DIR" \
        "or mount it a second time: $BIN/dfs-mount $CLUSTER_FILE $UP_MOUNT"
    MOUNTED=1
    return
  fi
  if isMountPoint "$MNT"; then
    [ "$before" = "$MNT" ] && [[ $(mountType "$MNT") == fuse* ]] ||
      fail "$MNT is a mount point already ($(mountType "$MNT"))" "unmount it, or name another directory with --mount"
    fusermount3 -uz -- "$MNT" 2>/dev/null || umount -l -- "$MNT" # left behind by a dfs-mount that was killed
  fi
  checkMountPoint
}
checkMountPoint() {
  [[ $DIR/ != "$MNT"/* ]] || fail "the data directory $DIR lies inside the mount point $MNT" \
    "name another --dir or --mount"
  [ -e "$MNT" ] || return 0
  [ -d "$MNT" ] || fail "the mount point $MNT is not a directory" "name an empty directory with --mount"
  [ -z "$(ls -A -- "$MNT" | head -n 1)" ] ||
    fail "the mount point $MNT is not empty: a mount would hide what is in it" \
      "empty it, or name another directory with --mount"
}
checkFuse() {
  [ -n "$MOUNTED" ] && return
  [ -e /dev/fuse ] || modprobe fuse 2>/dev/null
  [ -e /dev/fuse ] || fail "there is no /dev/fuse: this kernel (or container) has no FUSE" \
    "load it with: modprobe fuse; for a container: --device /dev/fuse --cap-add SYS_ADMIN"
}

# writeClusterFile MASTERS COPIES SERVERS: with an authority and the masters' certificates in DIR/tls.
writeClusterFile() {
  local master ports=() words=()
  for ((master = 1; master <= $1; master++)); do
    freePort "${ports[@]}"
    ports+=("$PORT")
    words+=(--master "m$master=127.0.0.1:$PORT")
  done
  rm -rf "$DIR/tls" # of an attempt that failed
  "$BIN/dfsadmin" cluster init --file "$CLUSTER_FILE" "${words[@]}" --copies "$2" \
    --min-copies "$(($2 > 1 ? 2 : 1))" --servers "$3" > "$DIR/log/init.log" 2>&1 ||
    fail "cannot write $CLUSTER_FILE: $(tail -n 1 "$DIR/log/init.log")" "look at the permissions of $DIR"
}

# Fills in what was not asked for, and refuses what cannot be.
planCluster() {
  UP_MASTERS=${UP_MASTERS:-3}
  UP_SERVERS=${UP_SERVERS:-3}
  UP_REPLICAS=${UP_REPLICAS:-$((UP_SERVERS < 3 ? UP_SERVERS : 3))}
  [ "$UP_REPLICAS" -le "$UP_SERVERS" ] ||
    fail "$UP_REPLICAS copies can't be kept on $UP_SERVERS chunkservers: each needs its own" \
      "raise --chunkservers or lower --replicas"
}

makeCluster() {
  rm -f "$DIR"/log/*.log # of an attempt that failed
  local servers=$UP_SERVERS volumes=${UP_VOLUMES:-1} server volume
  for ((server = 1; server <= servers; server++)); do
    mkdir -p "$DIR/c$server" ||
      fail "cannot make $DIR/c$server" "look at the permissions of $DIR and the room on its disk"
    [ -z "$UP_RACKS" ] || printf 'r%d\n' $(((server - 1) % UP_RACKS + 1)) > "$DIR/run/c$server.rack"
    for ((volume = 1; volumes > 1 && volume <= volumes; volume++)); do mkdir -p "$DIR/c$server/v$volume"; done
  done
  writeClusterFile "$UP_MASTERS" "$UP_REPLICAS" "$servers"
}

# What can be changed for a cluster that exists: the mount point, and more chunkservers.
resumeCluster() {
  local have
  have=$(serverNames | wc -l)
  [ -z "$UP_REPLICAS" ] || [ "$UP_REPLICAS" = "$(copiesKept)" ] ||
    fail "--replicas is chosen when a cluster is made; the one in $DIR has another" \
      "leave it away, or start a new cluster in another --dir"
  [ -z "$UP_RACKS" ] ||
    fail "--racks is chosen when a cluster is made" "leave it away; who is where is in $DIR/run/*.rack"
  [ -z "$UP_MASTERS" ] || [ "$UP_MASTERS" = "$(masterNames | wc -l)" ] ||
    fail "the cluster in $DIR has $(masterNames | wc -l) masters, not $UP_MASTERS" "leave --masters away"
  [ -z "$UP_SERVERS" ] || [ "$UP_SERVERS" = "$have" ] ||
    fail "the cluster in $DIR has $have chunkservers, not $UP_SERVERS" \
    "leave --chunkservers away; add one with: tools/dfs play --dir $UP_DIR add chunkserver"
  moveTakenPort
}
# Another program may have taken a master's port meanwhile. All masters are in this directory, so it can be changed.
moveTakenPort() {
  local name address
  for name in $(masterNames); do
    address=$(masterAddress "$name")
    daemonPid "$name" || portFree "${address##*:}" && continue
    freePort $(masterPorts)
    warn "port ${address##*:} of $name is taken by another program; it gets port $PORT"
    sed -i "s/\"$address\"/\"${address%:*}:$PORT\"/" "$CLUSTER_FILE"
  done
}

# Runs when `up` ends before its time: what it started must not stay.
upFailed() {
  trap - EXIT
  [ -z "$MOUNTED" ] && UNMOUNT_SECONDS=0 unmountCluster
  stopDaemons "${STARTED[@]}"
  if [ -n "$FRESH" ]; then # nothing but the logs is worth keeping
    rm -rf "$DIR"/m[0-9]* "$DIR"/c[0-9]* "$DIR/run" "$DIR/tls" "$CLUSTER_FILE" "$DIR/mountpoint"
  fi
  [ -z "$MADE_MOUNT" ] || rmdir -- "$MNT" 2>/dev/null
}

# All at once: each waits for those it needs by itself.
startMissing() {
  local name
  for name in $(allNames); do
    daemonPid "$name" && continue
    STARTED+=("$name")
    startByName "$name"
  done
  for name in "${STARTED[@]}"; do awaitDaemon "$name" "$READY_SECONDS"; done
}

commandUp() {
  upOptions "$@"
  useCluster "$UP_DIR"
  checkUpDirectory
  [ -z "$FRESH" ] || planCluster
  chooseMountPoint
  checkFuse
  if [ -z "${CAIRN_BIN:-}" ]; then
    installPackages "${BUILD_PACKAGES[@]}"
    buildType release "${PROGRAMS[@]}"
  fi
  STARTED=() MADE_MOUNT=
  lockCluster
  trap upFailed EXIT
  trap 'exit 130' INT TERM HUP
  if [ -n "$FRESH" ]; then makeCluster; else resumeCluster; fi
  [ -d "$MNT" ] || { mkdir -p "$MNT" && MADE_MOUNT=1; } ||
    fail "cannot make the mount point $MNT" "name another one with --mount"
  printf '%s\n' "$MNT" > "$DIR/mountpoint"
  startMissing
  trap - EXIT INT TERM HUP
  sayWhatIsUp
}

sayWhatIsUp() {
  local dirOption= mount=${MNT#"$PWD"/} admin=${BIN#"$PWD"/}/dfsadmin
  [ "$DIR" = "$PWD/.dfs" ] || dirOption=" --dir ${DIR#"$PWD"/}"
  [ -z "$dirOption" ] || admin="$admin --cluster ${CLUSTER_FILE#"$PWD"/}"
  "$BIN/dfsadmin" --cluster "$CLUSTER_FILE" wait healthy --timeout "$HEALTHY_SECONDS" > /dev/null 2>&1 ||
    warn "mounted, but not everything is healthy yet; see: $admin status"
  local masters servers
  masters=$(masterNames | wc -l)
  servers=$(serverNames | wc -l)
  cat << TEXT
CairnFS is up, with $masters x dfs-master, $servers x dfs-chunkserver and $(copiesKept) x every byte.
  mounted at   $MNT
  cluster file $CLUSTER_FILE
  data         $DIR/{$(printf '%s,' $(masterNames) $(serverNames) | sed 's/,$//')}
  logs         $DIR/log/
  status page  http://127.0.0.1:$(cat "$DIR/run/$(masterNames | head -n 1).http")/
  metrics      prometheus --config.file=$DIR/run/prometheus.yml
Try:
  cp -a /usr/include $mount/ && diff -r /usr/include $mount/include && echo equal
  $admin status
  tools/dfs play$dirOption kill c2        # a server dies; files stay readable and writable
  tools/dfs play$dirOption kill m1        # a master dies; the others go on
  tools/dfs play$dirOption start c2 && tools/dfs play$dirOption start m1
  tools/dfs down$dirOption                # stop; 'tools/dfs up$dirOption' resumes with all data
TEXT
}
