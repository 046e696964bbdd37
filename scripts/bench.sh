#!/usr/bin/env bash
# Measures real nodes against a bare QUIC echo in the same run: rates, CPU per operation on both
# sides, and the ratios. docs/PERFORMANCE.md explains the figures.
#
#   scripts/bench.sh                 the table, in about a minute
#   scripts/bench.sh --json          one JSON object a phase
#   scripts/bench.sh --join          only how soon a node that starts has three peers
#   scripts/bench.sh --dir DIR       the nodes' data goes to this disk, not to /var/tmp
#   scripts/bench.sh --help          all options
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"

scripts/prepare.sh build
cargo build --release --locked --workspace
exec "${CARGO_TARGET_DIR:-target}/release/dht-bench" "$@"
