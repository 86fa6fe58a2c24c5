# shellcheck shell=bash
# tools/dfs down: unmount, stop. Data stays unless --wipe.

commandDown() {
  local dir=./.dfs wipe=
  while [ $# -gt 0 ]; do
    case $1 in
      --dir) needValue "$@"; dir=$2; shift ;;
      --wipe) wipe=1 ;;
      *) usageError "down has no option '$1'" ;;
    esac
    shift
  done
  existingCluster "$dir"
  lockCluster
  unmountCluster
  stopDaemons mount
  # The masters go first: so none of them takes the chunkservers' leaving for a loss of copies.
  stopDaemons $(masterNames)
  stopDaemons $(serverNames)
  [ -z "$wipe" ] || wipeCluster
}

# Deletes what tools/dfs made, and nothing else.
wipeCluster() {
  local at
  at=$(mountPoint) && rmdir -- "$at" 2>/dev/null
  rm -rf -- "$DIR"/m[0-9]* "$DIR"/c[0-9]* "$DIR/log" "$DIR/mountpoint" "$CLUSTER_FILE" "$DIR/run" "$DIR/tls" ||
    fail "not everything in $DIR could be deleted" "look at its permissions, then delete it by hand"
  rmdir -- "$DIR" 2>/dev/null || warn "$DIR stays: there is something in it that tools/dfs did not put there"
}
