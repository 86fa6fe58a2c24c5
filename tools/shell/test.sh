# shellcheck shell=bash
# tools/dfs test and bench: build what the wanted tests need, run them, sum up.

CI_LABELS=(unit sim mount chaos fuzz)
# Sanitizer runs compile only the programs of the tests they run (targets of tests/tests.cmake).
ASAN_TARGETS=(tests_unit tests_sim)
TSAN_TARGETS=(tests_threads)

# phase NAME COMMAND...: runs it, remembers how long it took and whether it went well.
phase() {
  local name=$1 status
  shift
  say "== $name"
  nowMillis
  local began=$NOW
  ("$@")
  status=$?
  nowMillis
  local result=ok
  [ $status = 0 ] || result=FAILED TEST_STATUS=1
  PHASES+=("$(printf '%-28s %-6s %6d s' "$name" $result $(((NOW - began) / 1000)))")
  return $status
}

# runTests TYPE LABEL...
runTests() {
  local build=$SOURCE/build/$1 labels
  shift
  labels=$(IFS='|'; printf '%s' "$*")
  ctest --test-dir "$build" -L "^($labels)$" --no-tests=error --output-on-failure -j "$(nproc)" 2>&1 |
    grep -v -e '^Internal ctest changing' -e '^Test project' -e '^ *Start '
  return "${PIPESTATUS[0]}"
}

sanitized() {
  buildType asan "${ASAN_TARGETS[@]}"
  runTests asan unit sim
}
threadSanitized() {
  buildType tsan "${TSAN_TARGETS[@]}"
  runTests tsan threads
}

commandTest() {
  local label labels=() asan= tsan=
  for label in "$@"; do
    case $label in
      unit | sim | mount | chaos | fuzz | nightly | bench) labels+=("$label") ;;
      asan) asan=1 ;;
      tsan) tsan=1 ;;
      *) usageError "there are no tests with the label '$label': unit sim mount chaos fuzz nightly bench, asan tsan" ;;
    esac
  done
  if [ $# = 0 ]; then
    labels=("${CI_LABELS[@]}") asan=1 tsan=1
  fi
  PHASES=() TEST_STATUS=0
  installPackages "${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
  phase "build release" buildType release
  if [ ${#labels[@]} -gt 0 ] && [ "$TEST_STATUS" = 0 ]; then phase "${labels[*]}" runTests release "${labels[@]}"; fi
  [ -z "$asan" ] || phase "asan: unit sim" sanitized
  [ -z "$tsan" ] || phase "tsan: threads" threadSanitized
  say "== summary"
  printf '   %s\n' "${PHASES[@]}"
  [ "$TEST_STATUS" = 0 ] || fail "some tests failed; their output is above" \
    "one of them again: ctest --test-dir build/release -R NAME --output-on-failure"
  say "All tests passed."
}

commandBench() {
  installPackages "${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
  [ -n "${CAIRN_BIN:-}" ] || buildType release "${PROGRAMS[@]}"
  exec python3 "$SOURCE/tools/bench/bench.py" "$@"
}
