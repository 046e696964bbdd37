#!/usr/bin/env bash
# Deploys the node to real Debian machines by ssh, and does to them what happens to machines.
#
#   scripts/test-machines.sh                 three machines, the whole list, in at most 20 minutes
#   scripts/test-machines.sh --quick         two machines, the gate's part, in at most 4 minutes
#   scripts/test-machines.sh --only CASE...  these, after the network was founded; --list names them
#   scripts/test-machines.sh --bin-dir DIR   uses the programs in DIR instead of building them
#   scripts/test-machines.sh --debian NAME   the machines are this release, not the one that this machine has
#   scripts/test-machines.sh --keep          leaves the machines running, to look around, until Enter
#
# It needs root, and debootstrap, systemd-nspawn, ip and ssh; the first run makes the base system, which takes a
# minute or two and the network. The machines are containers that boot Debian's own systemd
# (scripts/machines.sh); only what this script started is ended. A case that fails shows the nodes' last words.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"
# shellcheck source=scripts/machines.sh
source scripts/machines.sh
# shellcheck source=scripts/machine-cases.sh
source scripts/machine-cases.sh
# shellcheck source=scripts/machine-faults.sh
source scripts/machine-faults.sh

ALL_LIMIT_SECS=$((20 * 60))
QUICK_LIMIT_SECS=$((4 * 60))
LOG_TAIL_LINES=25

QUICK_CASES=(found second_run confined values_survive_kill restart upgrade_that_exits uninstall)
CASES=(found second_run confined values_survive_kill restart reboot upgrade_under_load upgrade_that_exits upgrade_that_hangs
  configuration_nobody_reaches rollback interrupted_deployment network_file cut_network blocked_port wedged full_disk
  move_to_new_machine debian_package uninstall)

quick=false
keep=false
bin_dir=
chosen=()
machines=3
current=
summary=()

fail() {
  printf 'test-machines: %s\n' "$1" >&2
  exit 1
}

usage() {
  sed -n 's/^# \{3\}\(scripts\)/\1/p' "${BASH_SOURCE[0]}" >&2
  exit 2
}

# What a failed case leaves to read: each node's service and last words.
show_nodes() {
  local number
  for number in "${!machine_runner[@]}"; do
    printf '\n--- machine %d\n' "$number"
    timeout 20 ssh -F "$machines_ssh_config" "m$number" \
      "systemctl status --no-pager --lines=0 dht-bootstrap | head -n 5; journalctl --no-pager -o cat -u dht-bootstrap -n $LOG_TAIL_LINES" \
      </dev/null || true
  done
  printf -- '---\n'
}

clean_up() {
  local status=$?
  trap '' INT TERM
  if [[ -n $current ]]; then
    summary+=("$(printf '%-30s FAILED %4d s' "$current" $((SECONDS - started)))")
    show_nodes >&2 || true
  fi
  if [[ $keep == true && ${#machine_runner[@]} -gt 0 ]]; then
    printf 'The machines stay until Enter: ssh -F %s m1\n' "$machines_ssh_config"
    read -r || true
  fi
  cases_end
  machines_end
  if [[ ${#summary[@]} -gt 0 ]]; then printf '  %s\n' '' "${summary[@]}" "in all $SECONDS s"; fi
  if [[ $status -ne 0 ]]; then
    printf 'FAILED%s; what happened is above.%s\n' "${current:+: $current}" \
      "${current:+ To run it alone: scripts/test-machines.sh --only $current}"
  fi
  exit "$status"
}

run_case() {
  current=$1
  started=$SECONDS
  printf '\n==> %s\n' "${current//_/ }"
  "case_$current"
  summary+=("$(printf '%-30s passed %4d s' "$current" $((SECONDS - started)))")
  current=
}

while [[ $# -gt 0 ]]; do
  case $1 in
    --quick) quick=true ;;
    --keep) keep=true ;;
    --list)
      printf '%s\n' "${CASES[@]}"
      exit
      ;;
    --bin-dir)
      [[ $# -ge 2 ]] || usage
      bin_dir=$2
      shift
      ;;
    --debian)
      [[ $# -ge 2 ]] || usage
      machines_debian=$2
      shift
      ;;
    --only)
      shift
      [[ $# -gt 0 ]] || usage
      chosen=("$@")
      break
      ;;
    *) usage ;;
  esac
  shift
done
for name in "${chosen[@]}"; do
  [[ " ${CASES[*]} " == *" $name "* ]] || fail "there is no case \"$name\"; the cases are: ${CASES[*]}"
done
if [[ $quick == true ]]; then
  machines=2
  if [[ ${#chosen[@]} -eq 0 ]]; then chosen=("${QUICK_CASES[@]}"); fi
fi
if [[ ${#chosen[@]} -eq 0 ]]; then chosen=("${CASES[@]}"); fi
if [[ ${chosen[0]} != found ]]; then chosen=(found "${chosen[@]}"); fi

lacking=$(machines_missing)
[[ -z $lacking ]] || fail "this machine lacks: $lacking; run it as root, after: apt-get install debootstrap systemd-container iproute2 openssh-client"
if [[ -z $bin_dir ]]; then
  scripts/prepare.sh build
  cargo build --release --locked --workspace --bin dht-bootstrap --bin dht-client
  bin_dir=${CARGO_TARGET_DIR:-target}/release
fi
bin_dir=$(realpath "$bin_dir")
for program in dht-bootstrap dht-client; do
  [[ -x $bin_dir/$program ]] || fail "there is no $program in $bin_dir; build it there, or leave --bin-dir out"
done

trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
machines_base
SECONDS=0
machines_begin
for ((number = 1; number <= machines; number++)); do machine_start "$number"; done
cases_begin
for ((number = 1; number <= machines; number++)); do machine_await "$number"; done
summary+=("$(printf '%-30s        %4d s' 'booting' "$SECONDS")")
for name in "${chosen[@]}"; do run_case "$name"; done
limit=$ALL_LIMIT_SECS
if [[ $quick == true ]]; then limit=$QUICK_LIMIT_SECS; fi
# No failure: it may be that others use this machine.
[[ $SECONDS -le $limit ]] || printf '\nSLOW: the cases took %d s where %d are meant.\n' "$SECONDS" "$limit"
printf '\nPassed: %s.\n' "${chosen[*]}"
