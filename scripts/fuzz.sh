#!/usr/bin/env bash
# Runs each fuzz target of dht-kad for so many seconds, and fails if one of them finds a fault.
#
#   scripts/fuzz.sh SECONDS
#
# Stable Rust is enough: the targets run without a sanitizer, since the crate forbids unsafe code and
# what is looked for are panics, overflows and broken rules. cargo-fuzz is not needed for that (it works,
# too); what it adds to a build are the flags below, with which libFuzzer sees how far an input came:
# clang's SanitizerCoverage, https://clang.llvm.org/docs/SanitizerCoverage.html. What a run learns is kept under
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

coverage=(
    --cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
    -Cllvm-args=-sanitizer-coverage-stack-depth
    -Cllvm-args=-simplifycfg-branch-fold-threshold=0
)
# With a target named, these are for the targets alone and not for what runs while they are built.
triple=$(rustc -vV | sed -n 's/^host: //p')
[ -n "$triple" ] || fail "rustc does not name its host; mend the Rust installation, then run this again"

targets=()
for source in "$fuzz"/targets/*.rs; do
    targets+=("$(basename "$source" .rs)")
done
[ -f "$fuzz/targets/${targets[0]}.rs" ] || fail "$fuzz has no targets; restore the folder targets there"

RUSTFLAGS="${coverage[*]} ${RUSTFLAGS:-}" cargo build --release --locked --bins --manifest-path "$fuzz/Cargo.toml" \
    --target "$triple" --target-dir "$fuzz/target" || fail "the targets do not build; see the compiler's message above"

for target in "${targets[@]}"; do
    learned=$fuzz/target/corpus/$target
    log=$fuzz/target/$target.log
    mkdir -p "$learned" "$fuzz/artifacts/$target"
    [ -d "$fuzz/corpus/$target" ] || fail "$target has no corpus; add inputs under $fuzz/corpus/$target"
    if ! "$fuzz/target/$triple/release/$target" -artifact_prefix="$fuzz/artifacts/$target/" \
        "$learned" "$fuzz/corpus/$target" \
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
