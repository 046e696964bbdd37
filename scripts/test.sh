#!/usr/bin/env bash
# The gate: everything that must hold before a change is taken. CI runs exactly this.
#
#   scripts/test.sh              all steps, in order, until one fails
#   scripts/test.sh STEP...      only these
#   scripts/test.sh --list       the steps' names
#
# What is cheap comes first. Every cargo call has the one profile that is also shipped and run, so
# that RocksDB, most of the time of a first run, compiles once for all of them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools=$(realpath -m "${CARGO_TARGET_DIR:-target}")/tools
export PATH="$tools/bin:$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"

FUZZ_SECS_PER_TARGET=5
SAME_BUILD=(--release --locked --workspace)

STEPS=(prepare format shell documents units purity scripts clippy docs dependencies fuzz build page monitoring machines tests)

step_prepare() { scripts/prepare.sh test; }

step_format() { cargo fmt --all --check; }

step_shell() {
  local files=(scripts/*.sh deployment/*.sh deployment/debian/* .ci/run)
  shellcheck "${files[@]}"
  printf '%d scripts are clean\n' "${#files[@]}"
}

step_documents() { scripts/check-docs.sh; }

step_units() { scripts/check-units.sh; }

step_purity() { scripts/check-purity.sh; }

step_scripts() { scripts/check-scripts.sh; }

step_clippy() { cargo clippy "${SAME_BUILD[@]}" --all-targets -- -D warnings; }

step_docs() { RUSTDOCFLAGS='-D warnings' cargo doc "${SAME_BUILD[@]}" --no-deps; }

step_dependencies() { scripts/check-dependencies.sh; }

step_fuzz() { scripts/fuzz.sh "$FUZZ_SECS_PER_TARGET"; }

# Everything that the next steps run.
step_build() { cargo test "${SAME_BUILD[@]}" --no-run; }

# These two say so where a browser or Prometheus is not installed; prepare does not install them, since
# they are large.
step_page() { scripts/test-page.sh; }

step_monitoring() { scripts/test-monitoring.sh; }

# Real Debian machines, which take root and a few tools of Debian's: without them it is skipped, and said so.
step_machines() {
  # shellcheck source=scripts/machines.sh
  skipped=$(source scripts/machines.sh && machines_missing)
  if [[ -n $skipped ]]; then
    skipped="this machine lacks $skipped"
    printf 'SKIPPED: deployment was not tested on machines; %s\n' "$skipped"
    return
  fi
  scripts/test-machines.sh --quick
}

# Unit, property, integration and documentation tests; the last step, so that the output ends with
# the test runner's own words. Property tests draw the same cases each time here, so that the verdict is
# about the change; run by hand they draw others. More tests at once than there are cores, since most of
# those with nodes wait for them.
step_tests() {
  PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-1} RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))} \
    cargo test "${SAME_BUILD[@]}" --no-fail-fast
}

current=
# Why the step at hand did not do its work, if so.
skipped=
skips=()
summary=()

# Runs a step under `set -e`, and keeps what the summary needs.
run_step() {
  current=$1
  started=$SECONDS
  skipped=
  printf '\n==> %s\n' "$current"
  "step_$current"
  if [[ -n $skipped ]]; then
    summary+=("$(printf '%-14s SKIPPED: %s' "$current" "$skipped")")
    skips+=("$current")
    current=
    return
  fi
  summary+=("$(printf '%-14s passed %5d s' "$current" $((SECONDS - started)))")
  printf '<== %s passed in %d s\n' "$current" $((SECONDS - started))
  current=
}

# Whatever ended the script, the table says how far it came. A step at hand has not passed: bash gives
# no status of its own where a signal ended it.
report() {
  local status=$?
  if [[ -n $current ]]; then
    if [[ $status -eq 0 ]]; then status=1; fi
    summary+=("$(printf '%-14s FAILED %5d s' "$current" $((SECONDS - started)))")
  fi
  for step in "${chosen[@]:${#summary[@]}}"; do
    summary+=("$(printf '%-14s not run' "$step")")
  done
  printf '\n'
  printf '  %s\n' "${summary[@]}"
  printf '  %-14s        %5d s\n' total "$SECONDS"
  if [[ $status -eq 0 ]]; then
    printf 'Passed: %s.%s\n' "${chosen[*]}" "${skips[*]:+ SKIPPED: ${skips[*]}; the table says why.}"
  else
    printf 'FAILED: %s; what it printed is above. To run it alone: scripts/test.sh %s\n' \
      "$current" "$current"
  fi
  exit "$status"
}

chosen=("$@")
if [[ ${chosen[*]} == --list ]]; then
  printf '%s\n' "${STEPS[@]}"
  exit
fi
for step in "${chosen[@]}"; do
  if [[ " ${STEPS[*]} " != *" $step "* ]]; then
    printf 'test: there is no step "%s"; the steps are: %s\n' "$step" "${STEPS[*]}" >&2
    exit 2
  fi
done
if [[ ${#chosen[@]} -eq 0 ]]; then chosen=("${STEPS[@]}"); fi

trap report EXIT
for step in "${chosen[@]}"; do run_step "$step"; done
