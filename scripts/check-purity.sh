#!/usr/bin/env bash
# Proves what the crates stand on.
#
#   scripts/check-purity.sh                       all that this project asks for
#   scripts/check-purity.sh pure CRATE            CRATE stands on crates from the list below only
#   scripts/check-purity.sh std CRATE FOLDER      its sources take nothing from the system either
#   scripts/check-purity.sh without CRATE NAME    NAME is nowhere below CRATE
#
# dht-kad holds what must be right. It is tested by properties and runs in the simulator, so it can
# have no runtime, socket, disk, clock or source of entropy. A list of what is forbidden would miss
# the next one, so the list says what is allowed, and a newcomer is read before it is added here.
# The tree is that of one fixed target, so that every machine comes to the same verdict; elsewhere
# `cpufeatures` also binds libc, to ask the kernel for the processor's features.
#
# Application code must never need a C++ compiler, so dht-client stands on no RocksDB.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

TARGET=x86_64-unknown-linux-gnu

# Compile-time only crates (procedural macros and what they stand on) are not in the tree.
ALLOWED=(
  bincode unty                            # the encoding of messages
  serde serde_core serde_bytes            # what the encoding stands on
  bytes                                   # shared byte buffers
  thiserror                               # error types
  blake3 arrayvec constant_time_eq        # hashing
  cpufeatures cfg-if                      # asks the processor, not the system, what it can do
  ed25519 ed25519-dalek curve25519-dalek signature subtle zeroize  # signatures
  sha2 digest block-buffer crypto-common hybrid-array typenum      # the hash within Ed25519
  smallvec                                # short lists without an allocation
  rand_core                               # the trait of generators; it has none of its own
)

# Why the likeliest newcomers are not welcome, for the message.
reason_against() {
  case $1 in
    tokio | async-std | smol | futures-executor) echo 'a runtime' ;;
    mio | quinn | quinn-* | rustls | socket2 | hyper) echo 'belongs to the network' ;;
    rocksdb | librocksdb-sys | redb | tempfile) echo 'writes to disk' ;;
    chrono | time | web-time | instant) echo 'reads a clock' ;;
    getrandom | rand | fastrand) echo 'draws entropy' ;;
    libc | rustix | nix | linux-raw-sys | windows-sys) echo 'calls the operating system' ;;
    *) echo 'not on the list in scripts/check-purity.sh; read it, then add it or do without' ;;
  esac
}

fail() {
  printf 'check-purity: %s\n' "$1" >&2
  exit 1
}

# The names of all crates that CRATE is built from, itself included.
crates_below() {
  cargo tree --locked --package "$1" --edges normal,no-proc-macro --target "$TARGET" \
    --prefix none --format '{p}' | cut -d ' ' -f 1 | sort -u
}

# CRATE stands on nothing but what is allowed.
check_pure() {
  local crate=$1 names name culprits=()
  names=$(crates_below "$crate") ||
    fail "cargo cannot list what $crate stands on; mend what it says above"
  for name in $names; do
    if [[ " $crate ${ALLOWED[*]} " == *" $name "* ]]; then continue; fi
    culprits+=("$name ($(reason_against "$name"))")
  done
  if [[ ${#culprits[@]} -gt 0 ]]; then
    printf '  %s\n' "${culprits[@]}" >&2
    fail "$crate must stay pure, and stands on the crates above; see who brings one in: cargo tree -p $crate -i NAME"
  fi
  printf '%s stands on %d crates, all of them pure\n' "$crate" "$(($(wc -l <<<"$names") - 1))"
}

# The tree does not show the standard library, which has sockets, files, threads and clocks too.
check_std() {
  local crate=$1 folder=$2 found
  found=$(grep -rnE --include='*.rs' \
    'std::(fs|env|io|os|process|thread)\b|\b(Udp|Tcp|Unix)(Socket|Stream|Listener|Datagram)\b|\bToSocketAddrs\b|\b(SystemTime|Instant)\b|RandomState|\bHash(Map|Set)\b' \
    "$folder" || true)
  if [[ -n $found ]]; then
    printf '%s\n' "$found" >&2
    fail "$crate must stay pure, and the lines above reach for the system; take it as an argument"
  fi
  printf '%s takes nothing from the system through the standard library\n' "$crate"
}

# NAME is nowhere below CRATE.
check_without() {
  local crate=$1 name=$2 names
  names=$(crates_below "$crate") ||
    fail "cargo cannot list what $crate stands on; mend what it says above"
  if grep -qxF -- "$name" <<<"$names"; then
    fail "$crate must not stand on $name; see who brings it in: cargo tree -p $crate -i $name"
  fi
  printf '%s does not stand on %s\n' "$crate" "$name"
}

case "${1:-project} $#" in
  'project 0')
    check_pure dht-kad
    check_std dht-kad shared/kad/src
    check_without dht-client librocksdb-sys
    ;;
  'pure 2') check_pure "$2" ;;
  'std 3') check_std "$2" "$3" ;;
  'without 3') check_without "$2" "$3" ;;
  *)
    echo 'usage: scripts/check-purity.sh [pure CRATE | std CRATE FOLDER | without CRATE NAME]' >&2
    exit 2
    ;;
esac
