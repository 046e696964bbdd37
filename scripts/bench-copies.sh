#!/usr/bin/env bash
# Measures what keeping copies costs. docs/OPERATIONS.md explains the figures.
#
#   scripts/bench-copies.sh                       both of these, in about ten minutes
#   scripts/bench-copies.sh rounds                two holders of a million records: equal, or a few differ
#   scripts/bench-copies.sh filling               what others wait for longer while a new node is filled
#   scripts/bench-copies.sh rounds --records N    with fewer; `--help` after either lists its options
#   scripts/bench-copies.sh ... --dir DIR         the data goes to this disk, not to /var/tmp
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"

scripts/prepare.sh build
cargo build --release --locked --workspace
program="${CARGO_TARGET_DIR:-target}/release/dht-copies"
if [[ ${1:-} == rounds || ${1:-} == filling || ${1:-} == --help ]]; then exec "$program" "$@"; fi
"$program" rounds "$@"
exec "$program" filling "$@"
