# shellcheck shell=bash
# tools/dfs play: break and mend single daemons of a running cluster.

commandPlay() {
  local dir=./.dfs verb
  if [ "${1:-}" = --dir ]; then
    needValue "$@"
    dir=$2
    shift 2
  fi
  verb=${1:-list}
  case $verb in
    list) [ $# -le 1 ] || usageError "play list takes no name" ;;
    kill | start | pause | resume) [ $# = 2 ] || usageError "play $verb needs one name: m1, c1 c2 ..., mount" ;;
    add) [ "${2:-}" = chunkserver ] && [ $# -le 3 ] || usageError "play add can add one thing: chunkserver [RACK]" ;;
    partition | heal) fail "play $verb needs every daemon in a network namespace of its own, and they share one today" \
      "for a server that does not answer use: tools/dfs play pause NAME" ;;
    *) usageError "play has no verb '$verb'" ;;
  esac
  existingCluster "$dir"
  lockCluster
  case $verb in
    list) playList ;;
    add) playAdd "${3:-}" ;;
    *) playOne "$verb" "$2" ;;
  esac
}

playList() {
  local name state where
  for name in $(allNames); do
    state=stopped where=
    if daemonPid "$name"; then
      state=running
      stopped "$PID" && state=paused
    else
      PID=
    fi
    case $name in
      mount) where=$(mountPoint) ;;
      m*) where=$(masterAddress "$name") ;;
      c*) where=127.0.0.1:$(cat "$DIR/run/$name.port" 2>/dev/null) ;;
    esac
    printf '%-6s %-8s %-8s %s\n' "$name" "$state" "${PID:--}" "$where"
  done
}

playOne() {
  local verb=$1 name=$2
  knownName "$name" || fail "there is no daemon '$name' in $DIR" "names: $(allNames | tr '\n' ' ')"
  if [ "$verb" = start ]; then
    playStart "$name"
    return
  fi
  daemonPid "$name" || fail "$name does not run" "start it with: tools/dfs play --dir $DIR start $name"
  case $verb in
    kill) kill -KILL "$PID" && waitUntil 60 noneAlive "$PID" ;;
    pause) kill -STOP "$PID" && waitUntil 10 stopped "$PID" ;;
    resume) kill -CONT "$PID" ;;
  esac || fail "could not $verb $name (process $PID)" "it may belong to another user"
}

playStart() {
  daemonPid "$1" && { warn "$1 runs already (process $PID)"; return 0; }
  if [ "$1" = mount ]; then
    local at
    at=$(mountPoint)
    isMountPoint "$at" && [[ $(mountType "$at") == fuse* ]] && { fusermount3 -uz -- "$at" || umount -l -- "$at"; }
  fi
  startByName "$1"
  awaitDaemon "$1" "$READY_SECONDS"
}

playAdd() {
  local last name path
  last=$(serverNames | tail -n 1)
  name=c$((${last#c} + 1))
  mkdir "$DIR/$name" || fail "cannot make $DIR/$name" "look at the permissions of $DIR and the room on its disk"
  for path in "$DIR/$last"/v[0-9]*/; do mkdir "$DIR/$name/$(basename "$path")"; done
  [ -z "$1" ] || printf '%s\n' "$1" > "$DIR/run/$name.rack"
  startByName "$name"
  awaitDaemon "$name" "$READY_SECONDS"
  say "$name is added; see: $BIN/dfsadmin --cluster $CLUSTER_FILE node list"
}
