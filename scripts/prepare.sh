#!/usr/bin/env bash
# Installs what building or testing needs and this machine lacks.
#
#   scripts/prepare.sh build   a C++ compiler and libclang, from which RocksDB is built
#   scripts/prepare.sh test    the same, and what the gate runs beside cargo
#
# Debian packages come by apt-get, as root or through sudo. The gate's cargo tools, of pinned
# versions, go to tools in the target folder. What is there already is left alone, and nothing
# outside of these two is changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Pinned, so that the gate's verdict changes with a commit and never with a day.
CARGO_DENY_VERSION=0.20.2

fail() {
  printf 'prepare: %s\n' "$1" >&2
  exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# bindgen loads libclang at build time, and reads the compiler's own headers beside it. libclang-cpp,
# which other packages bring, is another library.
has_libclang() {
  if [[ -n ${LIBCLANG_PATH:-} ]]; then return; fi
  any_file '/usr/lib*/libclang.so*' '/usr/lib*/*/libclang-[0-9]*.so*' '/usr/lib/llvm-*/lib/libclang.so*' &&
    any_file '/usr/lib*/clang/*/include/stddef.h' '/usr/lib/llvm-*/lib/clang/*/include/stddef.h'
}

any_file() {
  local pattern
  for pattern in "$@"; do
    if compgen -G "$pattern" >/dev/null; then return; fi
  done
  return 1
}

missing_packages() {
  if ! { has cc && has c++ && has make; }; then echo build-essential; fi
  if ! has_libclang; then echo libclang-dev; fi
  if [[ $1 == test ]]; then
    if ! has strace; then echo strace; fi
    if ! has shellcheck; then echo shellcheck; fi
    if ! has systemd-analyze; then echo systemd; fi
    if [[ $(id -u) -eq 0 ]]; then machine_packages; fi
  fi
}

# What the machines of scripts/test-machines.sh are made by, which needs root anyway.
machine_packages() {
  if ! has debootstrap; then echo debootstrap; fi
  if ! has systemd-nspawn; then echo systemd-container; fi
  if ! has ip; then echo iproute2; fi
  if ! has ssh; then echo openssh-client; fi
}

install_packages() {
  local as_root=()
  has apt-get ||
    fail "there is no apt-get here; install the counterparts of these Debian packages by hand, then run this again: $*"
  if [[ $(id -u) -ne 0 ]]; then
    has sudo || fail "run this once as root: apt-get install -y $*"
    as_root=(sudo)
  fi
  printf 'prepare: installing %s\n' "$*"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive
    apt-get -qq -o DPkg::Lock::Timeout=120)
  "${apt[@]}" update || fail "apt-get update failed; mend what it says above, then run this again"
  "${apt[@]}" install -y --no-install-recommends "$@" ||
    fail "apt-get could not install $*; mend what it says above, then run this again"
}

# Installs a cargo tool into this checkout, unless the PATH has that very version. Without
# optimisation it builds in a fraction of the time, and it runs for seconds only.
install_cargo_tool() {
  local name=$1 version=$2
  if [[ $("$name" --version 2>/dev/null) == *" $version"* ]]; then return; fi
  printf 'prepare: building %s %s into %s\n' "$name" "$version" "$tools"
  CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=$tools/build cargo install --quiet --debug --locked \
    --root "$tools" --version "$version" "$name" ||
    fail "cargo could not install $name $version; check the network, then run this again"
  rm -rf "$tools/build"
}

install_components() {
  local missing=()
  cargo fmt --version >/dev/null 2>&1 || missing+=(rustfmt)
  cargo clippy --version >/dev/null 2>&1 || missing+=(clippy)
  if [[ ${#missing[@]} -eq 0 ]]; then return; fi
  has rustup || fail "this Rust lacks ${missing[*]}; install them the way Rust was installed, then run this again"
  rustup component add "${missing[@]}" ||
    fail "rustup could not add ${missing[*]}; check the network, then run this again"
}

purpose=${1:-}
if [[ $# -ne 1 || ($purpose != build && $purpose != test) ]]; then
  echo 'usage: scripts/prepare.sh build|test' >&2
  exit 2
fi
tools=$(realpath -m "${CARGO_TARGET_DIR:-target}")/tools
PATH="$tools/bin:$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"

mapfile -t packages < <(missing_packages "$purpose")
if [[ ${#packages[@]} -gt 0 ]]; then install_packages "${packages[@]}"; fi
has cargo || fail "Rust is missing; install it as https://rustup.rs says, then run this again"
if [[ $purpose == test ]]; then
  install_components
  install_cargo_tool cargo-deny "$CARGO_DENY_VERSION"
fi
