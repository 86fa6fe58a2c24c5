# shellcheck shell=bash
# tools/dfs deps: the Debian packages that building, running and testing need.

BUILD_PACKAGES=(g++ cmake ninja-build ccache pkg-config capnproto libcapnp-dev libfuse3-dev fuse3 libleveldb-dev
  libxxhash-dev libzstd-dev libgtest-dev libgmock-dev libspdlog-dev libfmt-dev libcli11-dev libtomlplusplus-dev
  nlohmann-json3-dev lld libssl-dev libsnappy-dev prometheus-cpp-dev libarchive-dev)
TEST_PACKAGES=(python3 git rsync sqlite3 fio attr acl e2fsprogs procps iproute2 nftables postgresql-15 stress-ng dbench
  bonnie++ fsmark python3-jsonschema zsh dpkg-dev file debootstrap
  python3-yaml)
APT_WAIT_SECONDS=600

# Sets MISSING to the packages among the arguments that are not installed.
findMissing() {
  local name status
  declare -A have=()
  while read -r name status; do
    [ "$status" = installed ] && have[${name%%:*}]=1
  done < <(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "$@" 2>/dev/null)
  MISSING=()
  for name in "$@"; do
    [ -n "${have[$name]:-}" ] || MISSING+=("$name")
  done
}

# aptGet ARGS...: waits while another program holds one of apt's locks; sets APT_OUTPUT.
aptGet() {
  local deadline told=
  nowMillis
  deadline=$((NOW + APT_WAIT_SECONDS * 1000))
  while true; do
    APT_OUTPUT=$(DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get -q -y \
      -o "DPkg::Lock::Timeout=$APT_WAIT_SECONDS" -o Dpkg::Use-Pty=0 "$@" 2>&1) && return 0
    nowMillis
    [[ $APT_OUTPUT == *"Could not get lock"* || $APT_OUTPUT == *"Unable to lock"* ]] || return 1
    [ "$NOW" -lt "$deadline" ] || return 1
    [ -n "$told" ] || warn "waiting for another package manager to finish"
    told=1
    sleep 1
  done
}

installPackages() {
  findMissing "$@"
  [ ${#MISSING[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null ||
    fail "packages are missing and this is not a Debian system: ${MISSING[*]}" \
      "install their counterparts, then try again"
  [ "$(id -u)" = 0 ] ||
    fail "packages are missing, and only root can install them: ${MISSING[*]}" "run: sudo tools/dfs deps"
  say "Installing ${#MISSING[@]} packages: ${MISSING[*]}"
  # The index first only if it doesn't know them: it may be empty (a fresh container) or days old.
  if ! aptGet --no-install-recommends install "${MISSING[@]}"; then
    aptGet update || fail "apt-get update failed: $(tail -n 3 <<< "$APT_OUTPUT")" \
      "look at the network and /etc/apt/sources.list"
    aptGet --no-install-recommends install "${MISSING[@]}" ||
      fail "apt-get could not install ${MISSING[*]}: $(tail -n 5 <<< "$APT_OUTPUT")" \
        "repair it with: apt-get -f install"
  fi
  findMissing "$@"
  [ ${#MISSING[@]} = 0 ] || fail "apt-get ended well but these are still missing: ${MISSING[*]}" \
    "run: apt-get install ${MISSING[*]}"
}

commandDeps() {
  [ $# = 0 ] || usageError "deps takes no arguments, not '$1'"
  installPackages "${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
}
