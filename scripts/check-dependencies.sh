#!/usr/bin/env bash
# Checks every dependency by deny.toml: licences, sources, bans, and known advisories.
#
#   scripts/check-dependencies.sh
#
# The advisories come from a database on the network. Where it cannot be had, the rest is checked
# and a line says what was not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="$(realpath -m "${CARGO_TARGET_DIR:-target}")/tools/bin:$PATH"

FETCH_LIMIT_SECS=120

if [[ $# -ne 0 ]]; then
  echo 'usage: scripts/check-dependencies.sh' >&2
  exit 2
fi
fetch_log=$(mktemp)
trap 'rm -f "$fetch_log"' EXIT

cargo-deny --locked check bans licenses sources
if timeout "$FETCH_LIMIT_SECS" cargo-deny --locked fetch db </dev/null >"$fetch_log" 2>&1; then
  cargo-deny --locked check advisories
else
  printf 'NOT CHECKED: advisories, since their database cannot be fetched (%s)\n' \
    "$(grep -m 1 -E 'fatal|ERROR' "$fetch_log" || echo "no answer in $FETCH_LIMIT_SECS s")"
fi
