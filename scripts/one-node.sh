# shellcheck shell=bash
# One node on this machine, for scripts that look at it from outside. To be sourced, after `set -euo
# pipefail`, by a script that stands in the checkout's root; it starts nothing by itself.
#
#   one_node_options "$@"   reads --bin-dir DIR; what is left stands in "${rest[@]}"
#   start_one_node DIR      starts a node of its own network, and waits until it is ready; sets
#                           node_pid, node_id, node_addr (QUIC) and admin_addr (HTTP)
#   stop_one_node           ends it
#   free_port SKIP          prints a port of this machine that nobody uses, after so many others

NODE_NETWORK=one-node
NODE_FIRST_PORT=5100
NODE_LAST_PORT=5998
NODE_READY_LIMIT_SECS=60
NODE_STOP_LIMIT_SECS=20

node_pid=
bin_dir=${CARGO_TARGET_DIR:-target}/release
rest=()

one_node_options() {
  rest=()
  while [[ $# -gt 0 ]]; do
    if [[ $1 == --bin-dir && $# -ge 2 ]]; then
      bin_dir=$2
      shift 2
    else
      rest+=("$1")
      shift
    fi
  done
}

free_port() {
  local port hex used
  used=$(cat /proc/net/udp /proc/net/udp6 /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '{ print $2 " " }')
  # From a place of its own, so that two scripts at once look at different ports first.
  for ((port = NODE_FIRST_PORT + $$ % 400 + $1; port <= NODE_LAST_PORT; port++)); do
    hex=$(printf ':%04X ' "$port")
    if [[ $used != *"$hex"* ]]; then
      printf '%d\n' "$port"
      return
    fi
  done
  echo "no port from $NODE_FIRST_PORT to $NODE_LAST_PORT is free; end what uses them, then run this again" >&2
  return 1
}

start_one_node() {
  local dir=$1 port deadline=$((SECONDS + NODE_READY_LIMIT_SECS))
  [[ -x $bin_dir/dht-bootstrap && -x $bin_dir/dht-client ]] || {
    echo "there are no programs in $bin_dir; run: cargo build --release --locked --workspace" >&2
    return 1
  }
  port=$(free_port 0)
  node_addr=127.0.0.1:$port
  admin_addr=$node_addr
  "$bin_dir/dht-bootstrap" run --solo --network "$NODE_NETWORK" --data-dir "$dir/data" \
    --listen "$node_addr" --admin "$admin_addr" </dev/null >"$dir/node.stdout" 2>"$dir/node.log" &
  node_pid=$!
  until grep -q '^ready ' "$dir/node.stdout"; do
    if ! kill -0 "$node_pid" 2>/dev/null || [[ $SECONDS -ge $deadline ]]; then
      tail -n 20 "$dir/node.log" >&2
      echo 'the node ended, or was not ready in time; its log above says why' >&2
      return 1
    fi
    sleep 0.05
  done
  # shellcheck disable=SC2034 # for whoever sources this
  node_id=$(sed -n 's/^ready node=\([0-9a-f]*\) .*/\1/p' "$dir/node.stdout")
}

stop_one_node() {
  local deadline=$((SECONDS + NODE_STOP_LIMIT_SECS))
  [[ -n $node_pid ]] || return 0
  disown "$node_pid" 2>/dev/null || true
  kill -s TERM "$node_pid" 2>/dev/null || true
  while kill -0 "$node_pid" 2>/dev/null && [[ $SECONDS -lt $deadline ]]; do sleep 0.05; done
  kill -s KILL "$node_pid" 2>/dev/null || true
  node_pid=
}
