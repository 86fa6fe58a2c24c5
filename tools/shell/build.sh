# shellcheck shell=bash
# tools/dfs build: configure once, then ninja. Nothing is printed but progress and errors.

PROGRAMS=(dfs-master dfs-chunkserver dfs-mount dfsadmin dfs-user dfs-recover)
COMPILE_MEMORY_KIB=1300000  # of one compiler at its largest

buildJobs() {
  local jobs free
  jobs=$(nproc)
  free=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
  [ "$jobs" -le $((free / COMPILE_MEMORY_KIB)) ] || jobs=$((free / COMPILE_MEMORY_KIB))
  [ "$jobs" -ge 1 ] || jobs=1
  printf '%s' "$jobs"
}

# showProgress TYPE: of ninja's output only how far it is (one line on a terminal, else a line for each tenth), and
# what the commands printed.
showProgress() {
  local line shown=0 tenth tty=
  [ -t 1 ] && tty=1
  while IFS= read -r line; do
    if [[ $line =~ ^'@'([0-9]+)/([0-9]+)' ' ]]; then
      tenth=$((10 * BASH_REMATCH[1] / BASH_REMATCH[2]))
      if [ -n "$tty" ]; then
        printf '\r  building %s: %s/%s ' "$1" "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
      elif [ "$tenth" -gt "$shown" ]; then
        say "  building $1: ${BASH_REMATCH[1]}/${BASH_REMATCH[2]}"
      fi
      shown=$tenth
    elif [ "$line" != "ninja: no work to do." ]; then
      say "$line"
    fi
  done
  [ -z "$tty" ] || [ "$shown" = 0 ] || printf '\n'
}

# CMake speaks only when it fails.
configure() {
  local output
  output=$(cmake -S "$SOURCE" -B "$1" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo "-DCAIRN_SANITIZE=$2" 2>&1) && return 0
  printf '%s\n' "$output" >&2
  fail "cmake could not configure $1" "its messages are above; delete $1 and try again if it was moved or copied"
}

# buildType TYPE [TARGET...]: REQUIRES the packages of BUILD_PACKAGES.
buildType() {
  local type=$1 sanitize= into=$SOURCE/build/$1 jobs
  shift
  case $type in
    release) ;;
    asan) sanitize=address,undefined ;;
    tsan) sanitize=thread ;;
    *) usageError "there is no build type '$type': release, asan or tsan" ;;
  esac
  mkdir -p "$into" || fail "cannot make $into" "look at its permissions"
  exec 8> "$into/.lock"
  flock -n 8 || { warn "another build of $into is running; waiting for it"; flock 8; }
  [ -e "$into/build.ninja" ] || configure "$into" "$sanitize"
  jobs=$(buildJobs)
  (cd "$into" && NINJA_STATUS='@%f/%t ' ninja -j "$jobs" "$@" 8>&- 2>&1) | showProgress "$type"
  local status=${PIPESTATUS[0]}
  exec 8>&-
  [ "$status" = 0 ] || fail "the $type build failed" "the compiler's messages are above"
}

commandBuild() {
  [ $# -le 1 ] || usageError "build takes one type, not '$*'"
  case ${1:-release} in
    release | asan | tsan) ;;
    *) usageError "there is no build type '$1': release, asan or tsan" ;;
  esac
  installPackages "${BUILD_PACKAGES[@]}"
  buildType "${1:-release}"
}
