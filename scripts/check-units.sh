#!/usr/bin/env bash
# Checks the systemd units: they are ones that systemd understands without a word, and each service is confined.
#
#   scripts/check-units.sh              the units in systemd/
#   scripts/check-units.sh UNIT...      these files
#
# `systemd-analyze security` sums up what a service could reach if it were taken over: 0 is nothing, 10 all
# that root may. The limit is 1.5. Neither check needs systemd to run here. Without systemd-analyze nothing is
# checked, and that is said.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Ten times the exposure, as systemd-analyze wants it.
EXPOSURE_MAX=15

if [[ ${1:-} == -* ]]; then
  echo 'usage: scripts/check-units.sh [UNIT...]' >&2
  exit 2
fi
units=("$@")
if [[ ${#units[@]} -eq 0 ]]; then units=(systemd/*.service systemd/*.timer); fi

fail() {
  printf 'check-units: %s\n' "$1" >&2
  exit 1
}

if ! command -v systemd-analyze >/dev/null 2>&1; then
  echo 'check-units: NOT CHECKED: there is no systemd-analyze here; run: apt-get install systemd' >&2
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What the units run is not installed here: a program stands in for it, at another place.
for unit in "${units[@]}"; do
  # A pattern that found no file stands for itself.
  if [[ $unit == *'*'* ]]; then continue; fi
  [[ -r $unit ]] || fail "there is no unit $unit; give the path of one"
  copy=$work/$(basename "$unit")
  cp "$unit" "$copy"
  mapfile -t programs < <(sed -nE 's/^Exec[A-Za-z]*=[-@:+!]*(\/[^ ]+).*/\1/p' "$unit" | sort -u)
  for program in "${programs[@]}"; do
    if [[ -x $program ]]; then continue; fi
    stand_in=$work/$(basename "$program")
    printf '#!/bin/sh\n' >"$stand_in"
    chmod +x "$stand_in"
    sed -E -i "s|^(Exec[A-Za-z]*=[-@:+!]*)$program( \|\$)|\1$stand_in\2|" "$copy"
  done
done

services=0
for copy in "$work"/*.service "$work"/*.timer; do
  if [[ ! -e $copy ]]; then continue; fi
  name=$(basename "$copy")
  # What systemd does not understand it passes over with a warning, which is a fault here. Faults of this
  # machine's own units are not ours.
  status=0
  SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no "$copy" >"$work/said" 2>&1 || status=$?
  if [[ $status -ne 0 ]] || grep -q "$name" "$work/said"; then
    cat "$work/said" >&2
    fail "systemd does not understand all of $name; correct what it says above"
  fi
  if [[ $name != *.service ]]; then continue; fi
  services=$((services + 1))
  if ! systemd-analyze security --offline=yes --threshold="$EXPOSURE_MAX" --no-pager "$copy" \
    >"$work/said" 2>&1; then
    grep -v '^✓' "$work/said" >&2 || true
    fail "$name could reach more than it needs; take away what is marked above until the exposure is at most 1.5"
  fi
  sed -n 's/^→ //p' "$work/said"
done
[[ $services -gt 0 ]] || fail 'no service was checked; give the path of one'
