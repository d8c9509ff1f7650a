#!/bin/sh
# One fuzz target for some time, from the committed corpus: run.sh BUILD SECONDS TARGET
# Says one line. BUILD/found/TARGET keeps the units that are new, the inputs that crash, and libFuzzer's own log; the
# corpus is left as it is. Fails on a crash.
set -eu
build=$1
seconds=$2
target=$3
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
found=$build/found/$target
rm -rf "$found/crashes"
mkdir -p "$found/new" "$found/crashes"

# Beyond the limit of each header, since what lies beyond must be refused.
status=0
UBSAN_OPTIONS=print_stacktrace=1 "$build/targets/calyx_fuzz_$target" -max_total_time="$seconds" -max_len=20480 \
  -timeout=25 -rss_limit_mb=2048 -print_final_stats=1 -dict="$here/words.dict" -artifact_prefix="$found/crashes/" \
  "$found/new" "$here/corpus/$target" >"$found/log" 2>&1 || status=$?

last() { sed -n "$1" "$found/log" | tail -n 1; }
runs=$(last 's/^stat::number_of_executed_units: *//p')
units=$(last 's/^stat::new_units_added: *//p')
# libFuzzer counts edges, and what it knows of them.
covered=$(last 's/.*cov: \([0-9]*\) ft: \([0-9]*\) .*/\1 edges, \2 features/p')
crashes=$(find "$found/crashes" -type f | wc -l)
printf '%s: %s runs, %s new units, %s, %d crashes\n' "$target" "${runs:-?}" "${units:-?}" "${covered:-?}" "$crashes"
if [ "$status" -ne 0 ] || [ "$crashes" -ne 0 ]; then
  printf '%s failed (%d): see %s\n' "$target" "$status" "$found/log"
  exit 1
fi
