#!/usr/bin/env bash
# Kills a node with -9 under load, again and again, and counts acknowledged records that are lost.
#
#   scripts/crash.sh ROUNDS
#
# Each round puts through the real client, kills the real node at a random moment, starts it again
# and reads back what was acknowledged. One lost record fails it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"

if [[ $# -ne 1 || ! $1 =~ ^[1-9][0-9]{0,6}$ ]]; then
  echo 'usage: scripts/crash.sh ROUNDS, a whole number from 1 on' >&2
  exit 2
fi
scripts/prepare.sh build
cargo build --release --locked --workspace
exec "${CARGO_TARGET_DIR:-target}/release/dht-crash" --rounds "$1"
