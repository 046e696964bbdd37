#!/usr/bin/env bash
# Measures the node against a bare QUIC echo in the same run: rates, CPU per operation, the ratio.
#
#   scripts/bench.sh [OPTIONS of dht-bench]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"

scripts/prepare.sh build
cargo build --release --locked --workspace
exec "${CARGO_TARGET_DIR:-target}/release/dht-bench" "$@"
