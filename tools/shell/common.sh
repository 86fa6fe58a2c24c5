# shellcheck shell=bash
# Messages, exit codes, waiting and the truth about processes, for tools/dfs.

EXIT_FAILED=2
EXIT_USAGE=64

say() { printf '%s\n' "$*"; }
warn() { printf 'dfs: %s\n' "$*" >&2; }
# fail THING-AND-CAUSE [NEXT-STEP...]: what went wrong on one line, what to do about it on the next ones.
fail() {
  warn "$1"
  shift
  local step
  for step in "$@"; do printf '     %s\n' "$step" >&2; done
  exit "$EXIT_FAILED"
}
usageError() {
  warn "$1"
  printf '     tools/dfs --help lists the commands and their options\n' >&2
  exit "$EXIT_USAGE"
}

# Milliseconds since boot.
nowMillis() {
  local up
  read -r up _ < /proc/uptime
  up=${up/./}
  NOW=$((10#$up * 10))
}

# waitUntil SECONDS COMMAND...: polls until the command succeeds; 1 when the time is over.
waitUntil() {
  local deadline
  nowMillis
  deadline=$((NOW + $1 * 1000))
  shift
  while ! "$@"; do
    nowMillis
    [ "$NOW" -lt "$deadline" ] || return 1
    sleep 0.01
  done
}

# Is the process there, and not a zombie?
alive() {
  local line
  { read -r line < "/proc/$1/stat"; } 2>/dev/null || return 1
  line=${line##*) }
  [ "${line%% *}" != Z ] && [ "${line%% *}" != X ]
}
stopped() {
  local line
  { read -r line < "/proc/$1/stat"; } 2>/dev/null || return 1
  line=${line##*) }
  [ "${line%% *}" = T ]
}
# processHas PID ARGUMENT: is this one of the process's arguments? Tells our daemon from a stranger that got its pid.
# In the middle of an exec a process has no arguments at all: then look again.
processHas() {
  local argument seen tries
  for tries in 1 2 3 4 5; do
    seen=
    while IFS= read -r -d '' argument; do
      [ "$argument" = "$2" ] && return 0
      seen=1
    done 2>/dev/null < "/proc/$1/cmdline"
    [ -n "$seen" ] && return 1
    sleep 0.02
  done
  return 1
}

# absolute PATH: without symlinks in its existing part; the last parts need not exist.
absolute() { readlink -m -- "$1"; }

isMountPoint() {
  local at=${1// /\\040} fields
  while read -r -a fields; do
    [ "${fields[4]}" = "$at" ] && return 0
  done < /proc/self/mountinfo
  return 1
}
# mountType PATH: file system type of what is mounted there.
mountType() {
  local at=${1// /\\040} fields field found=
  while read -r -a fields; do
    [ "${fields[4]}" = "$at" ] || continue
    for ((field = 6; field < ${#fields[@]}; field++)); do
      [ "${fields[field]}" = - ] && found=${fields[field + 1]}
    done
  done < /proc/self/mountinfo
  printf '%s' "$found"
}

# portFree PORT: nobody on this machine listens on it or uses it (/proc/net/tcp: no tool needed).
portFree() {
  local hex line
  printf -v hex ':%04X ' "$1"
  while read -r line; do
    line=${line#*: }
    line=${line%% *}
    [[ "$line " == *"$hex" ]] && return 1
  done < <(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null)
  return 0
}
# freePort [TAKEN...]: sets PORT, below the range from which the system gives ports to outgoing connections.
freePort() {
  local tries
  for ((tries = 0; tries < 200; tries++)); do
    PORT=$((20000 + SRANDOM % 12000))
    [[ " $* " == *" $PORT "* ]] && continue
    portFree "$PORT" && return 0
  done
  fail "no free TCP port found between 20000 and 32000" "stop what uses them, or free some: ss -ltn"
}

# number VALUE WHAT MIN MAX: refuses what is not a number in the range.
number() {
  [[ $1 =~ ^[0-9]{1,6}$ ]] && [ "$1" -ge "$3" ] && [ "$1" -le "$4" ] ||
    usageError "$2 must be a number from $3 to $4, not '$1'"
}
# needValue OPTION [VALUE...]: an option's value must be there.
needValue() { [ $# -ge 2 ] || usageError "$1 needs a value"; }
