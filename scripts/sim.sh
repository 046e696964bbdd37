#!/usr/bin/env bash
# Plays every scenario of the simulator with many seeds, and says which promises were kept.
#
#   scripts/sim.sh [SEEDS] [SCENARIO...]         SEEDS from 1 on; 100 unless given
#   scripts/sim.sh --quick [SEEDS] [SCENARIO...] 3 seeds unless given, and no scenario larger than in the tests
#   scripts/sim.sh --bin-dir DIR ...             uses the programs in DIR instead of building them
#
# With every fifth seed the network loses two packets of a hundred.
# One of them, "correspondence", has a program of its own, since people who write letters need the client.
# All cores are used. It prints a line for each scenario, and fails if any run broke its promise: the
# first such run's own words are printed, and the command that plays it again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"

# Scenarios that are larger here than in the tests.
declare -A NODES=([join-thousand]=1030)
# With every so manieth seed so many packets of a thousand are lost.
LOSSY_EVERY=5
LOSS_PERMILLE=20

fail() {
  printf 'sim: %s\n' "$1" >&2
  exit 2
}

quick=false
bin_dir=
seeds=
chosen=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --quick) quick=true ;;
    --bin-dir)
      [[ $# -gt 1 ]] || fail '--bin-dir needs a directory'
      bin_dir=$2
      shift
      ;;
    -*) fail 'usage: scripts/sim.sh [--quick] [--bin-dir DIR] [SEEDS] [SCENARIO...]' ;;
    [0-9]*)
      [[ $1 =~ ^[1-9][0-9]{0,6}$ ]] || fail "\"$1\" is no number of seeds; give a whole one from 1 on"
      seeds=$1
      ;;
    *) chosen+=("$1") ;;
  esac
  shift
done
if [[ $quick == true ]]; then
  NODES=()
  : "${seeds:=3}"
fi
: "${seeds:=100}"

if [[ -z $bin_dir ]]; then
  cargo build --release --locked --workspace --bin dht-sim --bin dht-correspondence
  bin_dir=${CARGO_TARGET_DIR:-target}/release
fi
program=$bin_dir/dht-sim
known=$("$program" --list) || fail "$program does not say which scenarios it has"
mapfile -t known < <(sed -n 's/^\([a-z][a-z0-9-]*\): .*/\1/p' <<<"$known")
[[ ${#known[@]} -gt 0 ]] || fail "$program names no scenario"
known+=(correspondence)
if [[ ${#chosen[@]} -eq 0 ]]; then chosen=("${known[@]}"); fi
for scenario in "${chosen[@]}"; do
  [[ " ${known[*]} " == *" $scenario "* ]] || fail "there is no scenario \"$scenario\""
done

cores=$(nproc)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

now_ms() { printf '%d' $((${EPOCHREALTIME//[.,]/} / 1000)); }

# The words that play one scenario with one seed.
command_of() {
  local words="$program $1"
  # Its network loses some packets always.
  if [[ $1 == correspondence ]]; then words=$bin_dir/dht-correspondence; fi
  printf '%s --seed %d' "$words" "$2"
  if [[ $1 != correspondence && $(($2 % LOSSY_EVERY)) -eq 0 ]]; then printf -- ' --loss %d' "$LOSS_PERMILLE"; fi
  if [[ -n ${NODES[$1]:-} ]]; then printf -- ' --nodes %d' "${NODES[$1]}"; fi
}

# Plays one scenario with one seed; what it says, how it ends and how long it took are kept in files.
play() {
  local words status=0 began
  read -ra words <<<"$(command_of "$1" "$2")"
  began=$(now_ms)
  "${words[@]}" >"$work/$1.$2.said" 2>&1 || status=$?
  printf '%d %d\n' "$status" $(($(now_ms) - began)) >"$work/$1.$2.end"
}

play_all_seeds() {
  local seed under_way=0
  for ((seed = 1; seed <= seeds; seed++)); do
    if [[ $under_way -ge $cores ]]; then
      wait -n
      under_way=$((under_way - 1))
    fi
    play "$1" "$seed" &
    under_way=$((under_way + 1))
  done
  wait
}

broken_runs=0
for scenario in "${chosen[@]}"; do
  play_all_seeds "$scenario"
  kept=0 broken=() longest_ms=0 all_ms=0
  for ((seed = 1; seed <= seeds; seed++)); do
    read -r status took_ms <"$work/$scenario.$seed.end"
    if [[ $status -eq 0 ]]; then kept=$((kept + 1)); else broken+=("$seed"); fi
    all_ms=$((all_ms + took_ms))
    if [[ $took_ms -gt $longest_ms ]]; then longest_ms=$took_ms; fi
  done
  printf '%-26s kept %4d  broken %3d  mean %6d ms  longest %6d ms%s\n' "$scenario" "$kept" \
    "${#broken[@]}" $((all_ms / seeds)) "$longest_ms" "${broken[*]:+  broken with seeds ${broken[*]}}"
  if [[ ${#broken[@]} -gt 0 ]]; then
    broken_runs=$((broken_runs + ${#broken[@]}))
    sed 's/^/    /' "$work/$scenario.${broken[0]}.said"
    printf '    again: %s\n' "$(command_of "$scenario" "${broken[0]}")"
  fi
done
if [[ $broken_runs -gt 0 ]]; then
  printf 'sim: %d runs broke their promise\n' "$broken_runs" >&2
  exit 1
fi
printf 'All promises were kept: %d scenarios, %d seeds each.\n' "${#chosen[@]}" "$seeds"
