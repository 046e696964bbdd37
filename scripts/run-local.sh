#!/usr/bin/env bash
# Starts a network of three nodes on this machine, and shows that it keeps a signed value.
#
#   scripts/run-local.sh                 leaves the network running until Ctrl-C
#   scripts/run-local.sh --once          shows it and ends; nothing is left behind
#   scripts/run-local.sh --bin-dir DIR   runs the programs in DIR instead of building them
#
# It installs what building needs, builds, starts the nodes, puts a file's content through the first,
# reads it through the second, kills all three with -9, starts them again and reads it through the
# third. The nodes' data lies in .local-network and is used again by the next run; with --once it
# lies in a temporary folder. Only processes that this script started are ever ended.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"

NETWORK=local
NODES=(1 2 3)
LABEL=greeting
FIRST_PORT=4401
LAST_PORT=4998
# Generous: a slow disk or a loaded machine is no failure. A node that ended is noticed at once.
READY_LIMIT_SECS=60
STOP_LIMIT_SECS=20
LOG_TAIL_LINES=20

once=false
bin_dir=
data_dir=
base_port=
passed=false
declare -A pid_of=()

say() { printf '%s\n' "$*"; }

fail() {
  printf 'run-local: %s\n' "$1" >&2
  exit 1
}

usage() {
  echo 'usage: scripts/run-local.sh [--once] [--bin-dir DIR]' >&2
  exit 2
}

# Takes a node's death for what it is: the reason stands at the end of its log.
fail_with_log() {
  printf '\n--- the end of %s\n' "$(log_of "$1")" >&2
  tail -n "$LOG_TAIL_LINES" "$(log_of "$1")" >&2 || true
  printf -- '---\n' >&2
  fail "$2"
}

addr_of() { printf '127.0.0.1:%d' $((base_port + $1 - 1)); }
log_of() { printf '%s/node%d.log' "$data_dir" "$1"; }
stdout_of() { printf '%s/node%d.stdout' "$data_dir" "$1"; }

# Whether nobody uses this port, by UDP for the nodes' own traffic or by TCP for their status pages.
port_is_free() {
  local hex
  hex=$(printf ':%04X ' "$1")
  ! cat /proc/net/udp /proc/net/udp6 /proc/net/tcp /proc/net/tcp6 2>/dev/null |
    awk '{ print $2 " " }' | grep -qF -- "$hex"
}

pick_ports() {
  local port
  for ((port = FIRST_PORT; port + 2 <= LAST_PORT; port += 3)); do
    if port_is_free "$port" && port_is_free $((port + 1)) && port_is_free $((port + 2)); then
      base_port=$port
      return
    fi
  done
  fail "no three free ports in a row from $FIRST_PORT to $LAST_PORT; end what uses them, then run this again"
}

start_node() {
  local node=$1 other options=()
  for other in "${NODES[@]}"; do
    if [[ $other != "$node" ]]; then options+=(--bootstrap "$(addr_of "$other")"); fi
  done
  "$bin_dir/dht-bootstrap" run --network "$NETWORK" --data-dir "$data_dir/node$node" \
    --listen "$(addr_of "$node")" --admin "$(addr_of "$node")" "${options[@]}" \
    </dev/null >"$(stdout_of "$node")" 2>>"$(log_of "$node")" &
  pid_of[$node]=$!
}

# Waits for the line by which a node says that it is usable.
await_ready() {
  local node=$1 deadline=$((SECONDS + READY_LIMIT_SECS))
  until grep -q '^ready ' "$(stdout_of "$node")"; do
    kill -0 "${pid_of[$node]}" 2>/dev/null ||
      fail_with_log "$node" "node $node ended before it was ready; its log above says why"
    [[ $SECONDS -lt $deadline ]] ||
      fail_with_log "$node" "node $node was not ready within $READY_LIMIT_SECS s; its log above says what it waits for"
    sleep 0.05
  done
  say "  node $node: $(grep -m 1 '^ready ' "$(stdout_of "$node")")"
}

start_all() {
  local node
  for node in "${NODES[@]}"; do start_node "$node"; done
  for node in "${NODES[@]}"; do await_ready "$node"; done
}

# Ends the nodes that still run by this signal, and waits until they have ended.
end_all() {
  local signal=$1 node deadline=$((SECONDS + STOP_LIMIT_SECS))
  # No jobs of this shell any more: that they were killed is not worth a message of the shell's own.
  disown "${pid_of[@]}" 2>/dev/null || true
  for node in "${!pid_of[@]}"; do kill -s "$signal" "${pid_of[$node]}" 2>/dev/null || true; done
  for node in "${!pid_of[@]}"; do
    while kill -0 "${pid_of[$node]}" 2>/dev/null && [[ $SECONDS -lt $deadline ]]; do sleep 0.05; done
    if kill -s KILL "${pid_of[$node]}" 2>/dev/null; then
      say "  node $node did not stop within $STOP_LIMIT_SECS s, and was killed"
    fi
  done
  pid_of=()
}

clean_up() {
  local status=$?
  trap '' INT TERM
  if [[ ${#pid_of[@]} -gt 0 ]]; then say 'Stopping the nodes.'; fi
  end_all TERM
  if [[ $once == true && -n $data_dir ]]; then
    if [[ $passed == true ]]; then
      rm -rf "$data_dir"
    else
      printf 'run-local: data and logs of the nodes are kept in %s\n' "$data_dir" >&2
    fi
  fi
  exit "$status"
}

client_through() {
  local node=$1
  shift
  "$bin_dir/dht-client" --network "$NETWORK" --bootstrap "$(addr_of "$node")" \
    --identity "$data_dir/identity" "$@"
}

# Reads the value through a node and compares it with the file.
check_value() {
  local node=$1
  client_through "$node" get "$publisher" "$LABEL" >"$data_dir/read-back" ||
    fail_with_log "$node" "the value could not be read through node $node; the sentence above says why"
  cmp -- "$data_dir/$LABEL.txt" "$data_dir/read-back" ||
    fail_with_log "$node" "node $node gave other bytes than were put"
}

while [[ $# -gt 0 ]]; do
  case $1 in
    --once) once=true ;;
    --bin-dir)
      [[ $# -ge 2 ]] || usage
      bin_dir=$2
      shift
      ;;
    *) usage ;;
  esac
  shift
done

if [[ -z $bin_dir ]]; then
  scripts/prepare.sh build
  say 'Building. The first time takes about ten minutes on two cores, most of it for RocksDB.'
  cargo build --release --locked --workspace
  bin_dir=${CARGO_TARGET_DIR:-target}/release
fi
for program in dht-bootstrap dht-client; do
  [[ -x $bin_dir/$program ]] || fail "there is no $program in $bin_dir; build it there, or leave --bin-dir out"
done

trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if [[ $once == true ]]; then data_dir=$(mktemp -d); else data_dir=$PWD/.local-network; fi
mkdir -p "$data_dir"
for node in "${NODES[@]}"; do : >"$(log_of "$node")"; done
pick_ports

say 'Starting three nodes.'
start_all

if [[ ! -e $data_dir/identity ]]; then client_through 1 identity new >/dev/null; fi
publisher=$(client_through 1 --json identity show |
  sed -n 's/.*"identity" *: *"\([0-9a-f]\{64\}\)".*/\1/p')
[[ -n $publisher ]] || fail "dht-client identity show --json names no identity; look at $data_dir/identity"

printf 'Hello from %s, %s, %s\n' "$(uname -n)" "$(date --utc +%FT%TZ)" \
  "$(head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n')" >"$data_dir/$LABEL.txt"
say "Putting the content of $data_dir/$LABEL.txt through node 1."
client_through 1 put "$LABEL" --file "$data_dir/$LABEL.txt" ||
  fail_with_log 1 'the value could not be put through node 1; the sentence above says why'
check_value 2
say 'Read it through node 2: the same bytes.'

say 'Killing all three with -9, and starting them again.'
end_all KILL
start_all
check_value 3
say 'Read it through node 3: the same bytes. The value outlived the crash of every node.'
passed=true
if [[ $once == true ]]; then exit; fi

cat <<TEXT

The network runs until you press Ctrl-C. To use it from another terminal, in $PWD:

  alias dht='$bin_dir/dht-client --network $NETWORK --bootstrap $(addr_of 1) --identity $data_dir/identity'
  dht put motto 'keep what you promise'
  dht get $publisher motto
  dht peers

The nodes' logs are $data_dir/node*.log.
TEXT
# Not one of them may end by itself. A signal ends the wait, and clean_up stops them.
wait -n "${pid_of[@]}" || true
for node in "${NODES[@]}"; do
  kill -0 "${pid_of[$node]}" 2>/dev/null ||
    fail_with_log "$node" "node $node ended by itself; its log above says why"
done
