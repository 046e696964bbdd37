#!/usr/bin/env bash
# Opens the status page of a real node in headless Chromium, and checks that it shows the node's own
# figures and that the browser found nothing to complain about.
#
#   scripts/test-page.sh                     starts a node of its own, with the programs in target/release
#   scripts/test-page.sh --bin-dir DIR       with those in DIR
#   scripts/test-page.sh --node ADDR:PORT    looks at a node that runs already, and puts nothing on it
#   scripts/test-page.sh --picture FILE      keeps the screenshot in FILE; --dark takes it of the dark page
#
# Without Chromium it says so and ends with success. Only processes that it started are ended.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/one-node.sh
. scripts/one-node.sh

VALUES=12
# The first sample of the history comes after ten seconds, a line needs two.
HISTORY_LIMIT_SECS=60
BROWSER_LIMIT_SECS=90
# The page's own clock runs on that far before it is looked at.
PAGE_MILLISECONDS=8000
WINDOW=1280,1610
PICTURE_BYTES_MIN=10000

work=
node=
picture=
dark=()

fail() {
  printf 'test-page: %s\n' "$1" >&2
  exit 1
}

clean_up() {
  local status=$?
  stop_one_node
  if [[ -n $work ]]; then rm -rf "$work"; fi
  exit "$status"
}

browser() {
  timeout "$BROWSER_LIMIT_SECS" "$chromium" --headless --no-sandbox --disable-gpu --no-first-run \
    --disable-extensions --disable-background-networking --disable-component-update --disable-sync \
    --user-data-dir="$work/profile" --hide-scrollbars --force-device-scale-factor=1 \
    --enable-logging=stderr --window-size="$WINDOW" --virtual-time-budget="$PAGE_MILLISECONDS" \
    "${dark[@]}" "$@" "http://$admin_addr/" 2>"$work/browser.log" </dev/null ||
    { tail -n 20 "$work/browser.log" >&2; fail 'the browser failed; what it said stands above'; }
  if grep -F 'CONSOLE' "$work/browser.log" >&2; then
    fail 'the browser complained about the page; correct what stands above'
  fi
}

admin() { curl --silent --show-error --fail --max-time 10 "http://$admin_addr$1"; }

# Puts values and gets them, until the history has two samples of it.
make_history() {
  local client=("$bin_dir/dht-client" --network "$NODE_NETWORK" --bootstrap "$node_addr" --identity "$work/identity")
  local number publisher deadline=$((SECONDS + HISTORY_LIMIT_SECS))
  "${client[@]}" identity new >/dev/null || fail 'no identity could be made'
  publisher=$("${client[@]}" --json identity show | sed -n 's/.*"identity" *: *"\([0-9a-f]\{64\}\)".*/\1/p')
  for ((number = 1; number <= VALUES; number++)); do
    printf 'the value %d\n' "$number" >"$work/value"
    "${client[@]}" put "value-$number" --file "$work/value" >/dev/null || fail 'a value could not be put'
  done
  until [[ $(admin /history | grep -o '"at_ms"' | wc -l) -ge 2 ]]; do
    "${client[@]}" get "$publisher" "value-$VALUES" >/dev/null || fail 'a value could not be read'
    [[ $SECONDS -lt $deadline ]] || fail "/history has no two samples after $HISTORY_LIMIT_SECS s"
    sleep 1
  done
}

# The page has to say this, as text or markup.
expect() { grep -qF -- "$1" "$work/page.html" || fail "the page does not show: $1"; }

check_page() {
  local status id records
  status=$(admin /status)
  id=$(sed -n 's/.*"node":"\([0-9a-f]*\)".*/\1/p' <<<"$status")
  records=$(sed -n 's/.*"records":\([0-9]*\),.*/\1/p' <<<"$status")
  [[ -n $id && -n $records ]] || fail "/status says neither which node it is nor how many records it has"
  browser --dump-dom >"$work/page.html"
  expect "$id"
  expect 'class="state good"'
  if [[ -z $node ]]; then expect "<dt>Records</dt><dd>$records</dd>"; fi
  expect '<polyline class="curve s0"'
  expect '<polygon class="area f'
  expect 'aria-label="Puts and gets, requests answered a second'
  expect '<th scope="row">store</th>'
}

take_picture() {
  local bytes
  browser --screenshot="$picture" >/dev/null
  [[ -s $picture && $(head -c 4 "$picture" | tail -c 3) == PNG ]] || fail 'the browser made no picture'
  bytes=$(stat -c %s "$picture")
  [[ $bytes -ge $PICTURE_BYTES_MIN ]] || fail "the picture has $bytes bytes only; nothing can be on it"
}

one_node_options "$@"
set -- "${rest[@]}"
while [[ $# -gt 0 ]]; do
  case $1 in
    --node | --picture)
      [[ $# -ge 2 ]] || { echo "usage: scripts/test-page.sh [--bin-dir DIR | --node ADDR:PORT] [--picture FILE] [--dark]" >&2; exit 2; }
      declare "${1#--}=$2"
      shift 2
      ;;
    --dark)
      dark=(--blink-settings=preferredColorScheme=0)
      shift
      ;;
    *) echo "usage: scripts/test-page.sh [--bin-dir DIR | --node ADDR:PORT] [--picture FILE] [--dark]" >&2; exit 2 ;;
  esac
done

chromium=$(command -v chromium || command -v chromium-browser || true)
if [[ -z $chromium ]] || ! command -v curl >/dev/null; then
  echo 'SKIPPED: the status page was NOT opened in a browser, since chromium or curl is not installed (apt-get install chromium curl)'
  exit 0
fi

trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
work=$(mktemp -d)
picture=${picture:-$work/page.png}
if [[ -n $node ]]; then
  admin_addr=$node
else
  start_one_node "$work"
  make_history
fi
check_page
take_picture
printf 'The status page of http://%s/ shows the figures of its node, and the browser had no complaint.\n' "$admin_addr"
