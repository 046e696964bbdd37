#!/usr/bin/env bash
# Runs each fuzz target of dht-kad for so many seconds, and fails if one of them finds a fault.
#
#   scripts/fuzz.sh SECONDS
#
# Stable Rust is enough: the targets run without a sanitizer, since the crate forbids unsafe code and
# what is looked for are panics, overflows and broken rules. What a run learns is kept under
# shared/kad/fuzz/target; the committed corpus is only read.
set -euo pipefail

fail() {
    echo "fuzz: $1" >&2
    exit "${2:-1}"
}

if [ $# -ne 1 ] || ! [[ $1 =~ ^[1-9][0-9]{0,5}$ ]]; then
    fail "give the seconds for each target as one number from 1 to 999999, like: scripts/fuzz.sh 60" 2
fi
seconds=$1
cd "$(dirname "$0")/.."
fuzz=shared/kad/fuzz

if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "fuzz: installing cargo-fuzz"
    cargo install --locked cargo-fuzz || fail "cargo-fuzz cannot be installed; see cargo's message above"
fi

mapfile -t targets < <(cargo fuzz list --fuzz-dir "$fuzz")
[ ${#targets[@]} -gt 0 ] || fail "$fuzz names no targets; restore its Cargo.toml"

cargo fuzz build --fuzz-dir "$fuzz" -s none || fail "the targets do not build; see the compiler's message above"

for target in "${targets[@]}"; do
    learned=$fuzz/target/corpus/$target
    log=$fuzz/target/$target.log
    mkdir -p "$learned"
    [ -d "$fuzz/corpus/$target" ] || fail "$target has no corpus; add inputs under $fuzz/corpus/$target"
    if ! cargo fuzz run --fuzz-dir "$fuzz" -s none "$target" "$learned" "$fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
        >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        fail "$target found a fault; the input is under $fuzz/artifacts/$target"
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    inputs=$(sed -n 's|.* corp: \([0-9]*\)/.*|\1|p' "$log" | tail -n 1)
    [ "${runs:-0}" -gt 0 ] || fail "$target ran nothing; see $log"
    echo "$target: $runs runs, $inputs inputs in its corpus"
done
