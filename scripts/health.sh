#!/usr/bin/env bash
# Says whether each node of a fleet is well: asked through the network, with a value put on each of them and
# read through another.
#
#   scripts/health.sh PEER...             these nodes, host:port or NODEID@host:port
#   scripts/health.sh --config FLEET      those that the file names: peers, and network or network_file
#   scripts/health.sh --bin-dir DIR ...   takes dht-client from DIR; it has to stand first
#
# All else is for `dht-client health`: --network NAME, --json, --timeout SECS. The exit status is 0 if all nodes
# are well, 1 if one is not, 2 if one is down or nothing could be asked; docs/OPERATIONS.md says what to do then.
# Without --bin-dir it takes the program that was built here, or else the one that is installed.
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")

usage() { sed -n 's/^#\( \{3\}\)/\1/p' "${BASH_SOURCE[0]}"; }

fail() {
  printf 'health: %s\n' "$1" >&2
  exit 2
}

bin_dir=
case ${1:-} in
  -h | --help)
    usage
    exit
    ;;
  --bin-dir)
    [[ $# -ge 2 ]] || { usage >&2; exit 2; }
    bin_dir=$2
    shift 2
    ;;
esac
[[ $# -gt 0 ]] || { usage >&2; exit 2; }

if [[ -n $bin_dir ]]; then
  client=$bin_dir/dht-client
else
  client=${CARGO_TARGET_DIR:-$(dirname "$here")/target}/release/dht-client
  if [[ ! -x $client ]]; then client=$(command -v dht-client || true); fi
fi
[[ -n $client && -x $client ]] ||
  fail 'there is no dht-client; build it (cargo build --release --locked --workspace), or name its folder with --bin-dir'
status=0
"$client" health "$@" || status=$?
# What it could not even ask is as good as down; a file that cannot be used has a number of its own.
if [[ $status -gt 2 ]]; then status=2; fi
exit "$status"
