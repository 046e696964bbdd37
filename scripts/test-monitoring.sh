#!/usr/bin/env bash
# Lets a real Prometheus scrape a real node, with the alert rules of deployment/.
#
#   scripts/test-monitoring.sh                  with the programs in target/release
#   scripts/test-monitoring.sh --bin-dir DIR    with those in DIR
#
# The rules have to pass promtool's checks and their own unit tests; Prometheus has to take what the
# node says without an error; every expression of the rules and of the dashboard has to be one that it
# can compute; and when the node is killed, the alert that it is down has to be pending. Without Debian's
# prometheus it says so and ends with success. Only processes that it started are ended.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/one-node.sh
. scripts/one-node.sh

RULES=deployment/prometheus/alerts.yml
RULE_TESTS=deployment/prometheus/alerts.test.yml
DASHBOARD=deployment/grafana/dashboard.json
# Generous; the checks of this script itself have less time.
LIMIT_SECS=${LIMIT_SECS:-60}

work=
prometheus_pid=

fail() {
  printf 'test-monitoring: %s\n' "$1" >&2
  exit 1
}

clean_up() {
  local status=$?
  stop_one_node
  if [[ -n $prometheus_pid ]]; then
    kill "$prometheus_pid" 2>/dev/null || true
    wait "$prometheus_pid" 2>/dev/null || true
  fi
  if [[ -n $work ]]; then rm -rf "$work"; fi
  exit "$status"
}

start_prometheus() {
  local port
  port=$(free_port 100)
  prometheus=http://127.0.0.1:$port
  cat >"$work/prometheus.yml" <<CONFIGURATION
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: ["$PWD/$RULES"]
scrape_configs:
  - job_name: dht
    static_configs: [{targets: ["$admin_addr"]}]
CONFIGURATION
  prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/prometheus" \
    --web.listen-address="127.0.0.1:$port" </dev/null >"$work/prometheus.log" 2>&1 &
  prometheus_pid=$!
}

# What Prometheus answers to an expression, as JSON.
query() {
  curl --silent --show-error --max-time 10 --get --data-urlencode "query=$1" "$prometheus/api/v1/query"
}

# Waits until an expression has this value.
#   await VALUE EXPRESSION WHAT
await() {
  local deadline=$((SECONDS + LIMIT_SECS)) value=
  until [[ $value == "$1" ]]; do
    if [[ $SECONDS -ge $deadline ]] || ! kill -0 "$prometheus_pid" 2>/dev/null; then
      tail -n 5 "$work/prometheus.log" >&2
      curl --silent --max-time 10 "$prometheus/api/v1/targets" | jq -r '.data.activeTargets[]?.lastError' >&2 || true
      fail "$3: $2 is \"$value\", and not $1"
    fi
    sleep 0.2
    value=$(query "$2" 2>/dev/null | jq -r '.data.result[0].value[1] // ""' 2>/dev/null || true)
  done
}

# Each has to be one that Prometheus computes without an error, whatever the result.
check_expressions() {
  local expression answer count=0
  while IFS= read -r expression; do
    expression=${expression//\$__rate_interval/1m}
    expression=${expression//\$instance/.*}
    answer=$(query "$expression")
    [[ $(jq -r .status <<<"$answer") == success ]] ||
      fail "Prometheus cannot compute $expression: $(jq -r .error <<<"$answer")"
    count=$((count + 1))
  done < <(
    jq -r '.panels[].targets[].expr' "$DASHBOARD"
    curl --silent --max-time 10 "$prometheus/api/v1/rules" | jq -r '.data.groups[].rules[].query | gsub("\n"; " ")'
  )
  [[ $count -ge 20 ]] || fail "only $count expressions were found in $RULES and $DASHBOARD"
  printf '%d expressions of alerts and dashboard can be computed\n' "$count"
}

one_node_options "$@"
if [[ ${#rest[@]} -ne 0 ]]; then
  echo 'usage: scripts/test-monitoring.sh [--bin-dir DIR]' >&2
  exit 2
fi
for tool in prometheus promtool curl jq; do
  command -v "$tool" >/dev/null && continue
  echo "SKIPPED: alert rules and metrics were NOT tried with a real Prometheus, since $tool is not installed (apt-get install prometheus curl jq)"
  exit 0
done

trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
work=$(mktemp -d)
promtool check rules "$RULES" || fail "the rules are wrong; correct $RULES"
promtool test rules "$RULE_TESTS" || fail "a rule fires when it must not, or does not when it has to; see above"
start_one_node "$work"
start_prometheus
await 1 'up{job="dht"}' 'the node cannot be scraped'
await 1 'dht_ready' 'the node is ready and Prometheus does not know'
check_expressions
stop_one_node
await 0 'up{job="dht"}' 'the node is down and Prometheus does not know'
await 1 'count(ALERTS{alertname="DhtNodeDown"})' 'the node is down and no alert is on its way'
echo 'Prometheus scraped a node, and knew when it was gone.'
