#!/usr/bin/env bash
# Proves that each script can fail: it is given what is wrong, and must say so and exit non-zero.
#
#   scripts/check-scripts.sh
#
# Lesson `verify-always-passes`: a verify script elsewhere printed "Complete" whatever had happened.
# Programs that fail in known ways stand in for the real ones, so this takes seconds; each way is
# tried beside the same call with nothing wrong, which must succeed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ $# -ne 0 ]]; then
  echo 'usage: scripts/check-scripts.sh' >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/programs" "$work/tools" "$work/bare"
checks=0

# Runs a command, and ends everything unless it exits as expected and prints the words.
#   expect STATUS|failure WORDS COMMAND...
expect() {
  local wanted=$1 words=$2 status=0
  shift 2
  # The outer 2> is for this shell's own word on a command that a signal ended.
  { "$@" </dev/null >"$work/output" 2>&1; } 2>/dev/null || status=$?
  if [[ $wanted == failure && $status -ne 0 ]]; then wanted=$status; fi
  if [[ $status != "$wanted" || $(<"$work/output") != *"$words"* ]]; then
    cat "$work/output"
    printf 'check-scripts: wanted status %s and "%s", got status %d and the output above, from: %s\n' \
      "$wanted" "$words" "$status" "$*" >&2
    exit 1
  fi
  checks=$((checks + 1))
}

# A program or tool that does as this script's input says.
stand_in() {
  { printf '#!/bin/bash\n' && cat; } >"$1"
  chmod +x "$1"
}

stand_in "$work/programs/dht-bootstrap" <<'NODE'
echo "started with $*" >&2
case $NODE_IS in
  dead) echo 'the disk has no room; free some, then start again' >&2; exit 85 ;;
  dead-after-restart) [[ ! -e $STORE/put ]] || exit 83 ;;
esac
echo 'ready node=00 listen=127.0.0.1:1'
echo $$ >"$STORE/node-pid"
exec sleep 600
NODE

stand_in "$work/programs/dht-client" <<'CLIENT'
while [[ $1 == --* ]]; do
  case $1 in --json) shift ;; --bootstrap) through=$2; shift 2 ;; *) shift 2 ;; esac
done
case $1 in
  identity) printf '{"identity": "%064d"}\n' 0 ;;
  health) echo "asked with $*"; exit "${HEALTH_IS:-0}" ;;
  put)
    [[ $CLIENT_IS != refused ]] || { echo 'no room; use another node' >&2; exit 20; }
    cp "$4" "$STORE/put"
    ;;
  get)
    [[ $CLIENT_IS != forgetful || $through != *[369] ]] || { echo 'nothing is stored there' >&2; exit 65; }
    [[ $CLIENT_IS != garbling ]] || echo 'and more'
    cat "$STORE/put"
    ;;
esac
CLIENT

# cargo and the tools beside it: all that they are asked succeeds, except what FAILING names; what ENDING
# names ends the script that asks.
for tool in cargo cargo-deny shellcheck strace systemd-analyze; do
  stand_in "$work/tools/$tool" <<'TOOL'
if [[ $1 == --version ]]; then echo "${0##*/} 0.20.2"; exit; fi
if [[ " ${0##*/} $* " == *" ${FAILING:-nothing} "* ]]; then echo "$FAILING fails, as asked"; exit 7; fi
if [[ " ${0##*/} $* " == *" ${ENDING:-nothing} "* ]]; then kill "$PPID"; fi
if [[ $1 == tree ]]; then echo 'bytes v1.0.0'; fi
TOOL
done
with_tools=(env "PATH=$work/tools:$PATH" "CARGO_TARGET_DIR=$work/target")

run_local() {
  mkdir -p "$work/store"
  rm -f "$work/store/put"
  env STORE="$work/store" TMPDIR="$work" NODE_IS="$1" CLIENT_IS="$2" \
    scripts/run-local.sh --once --bin-dir "$work/programs"
}

check_run_local() {
  expect 0 'outlived the crash' run_local fine fine
  expect 1 'the disk has no room' run_local dead fine
  expect 1 'ended before it was ready' run_local dead-after-restart fine
  expect 1 'could not be put' run_local fine refused
  expect 1 'gave other bytes' run_local fine garbling
  expect 1 'could not be read through node 3' run_local fine forgetful
  expect 1 'there is no dht-bootstrap' scripts/run-local.sh --once --bin-dir "$work/bare"
  expect 2 'usage:' scripts/run-local.sh --twice
  expect 2 'usage:' scripts/run-local.sh --bin-dir
}

# A simulator whose scenarios are broken with the seeds that BROKEN names.
check_sim() {
  stand_in "$work/programs/dht-sim" <<'SIM'
if [[ $1 == --list ]]; then
  if [[ ${BROKEN:-} == list ]]; then exit 9; fi
  printf 'one: a story\n--fault x: a fault\ntwo: another\n'
  exit
fi
[[ " ${BROKEN:-} " != *" $1.$3 "* ]] || { echo 'it is lost'; exit 1; }
SIM
  stand_in "$work/programs/dht-correspondence" <<'STORY'
[[ ${BROKEN:-} != correspondence.$2 ]] || { echo 'it came twice'; exit 1; }
STORY
  local sim=(scripts/sim.sh --bin-dir "$work/programs")
  expect 0 'All promises were kept: 3 scenarios, 5 seeds each.' "${sim[@]}" 5
  expect 0 'All promises were kept: 1 scenarios, 3 seeds each.' "${sim[@]}" --quick two
  expect 1 'kept    4  broken   1' env BROKEN=two.5 "${sim[@]}" 5
  expect 1 'broken with seeds 2 4' env BROKEN='one.2 one.4' "${sim[@]}" 5
  expect 1 'two --seed 5 --loss 20' env BROKEN=two.5 "${sim[@]}" 5
  expect 1 'it is lost' env BROKEN=one.1 "${sim[@]}" 1 one
  expect 1 'it came twice' env BROKEN=correspondence.2 "${sim[@]}" 2 correspondence
  expect 2 'does not say which scenarios' env BROKEN=list "${sim[@]}"
  expect 2 'there is no scenario "three"' "${sim[@]}" three
  expect 2 'is no number of seeds' "${sim[@]}" 0
  expect 2 'usage:' "${sim[@]}" --loud
}

# The verdict is the client's, and nothing that ends in another way passes for well.
check_health() {
  local health=(scripts/health.sh --bin-dir "$work/programs")
  expect 0 'asked with health --config fleet' "${health[@]}" --config fleet
  expect 0 'asked with health a:1 b:2' env HEALTH_IS=0 "${health[@]}" a:1 b:2
  expect 1 'asked with' env HEALTH_IS=1 "${health[@]}" a:1
  expect 2 'asked with' env HEALTH_IS=2 "${health[@]}" a:1
  expect 2 'asked with' env HEALTH_IS=80 "${health[@]}" --config wrong
  expect 2 'there is no dht-client' scripts/health.sh --bin-dir "$work/bare" a:1
  expect 2 'scripts/health.sh PEER' "${health[@]}"
  expect 2 'scripts/health.sh PEER' scripts/health.sh
  expect 0 'scripts/health.sh PEER' scripts/health.sh --help
}

# Each step with the tool failing that it asks.
check_gate() {
  expect 0 'Passed: format shell units purity clippy docs dependencies build tests.' "${with_tools[@]}" \
    scripts/test.sh format shell units purity clippy docs dependencies build tests
  local pair
  for pair in format:fmt shell:shellcheck units:verify units:security purity:tree clippy:clippy docs:doc \
    dependencies:bans dependencies:advisories build:test tests:test; do
    expect failure "FAILED: ${pair%:*};" "${with_tools[@]}" "FAILING=${pair#*:}" scripts/test.sh "${pair%:*}"
  done
  expect 7 'clippy         not run' "${with_tools[@]}" FAILING=fmt scripts/test.sh format clippy
  expect 7 'FAILED: format;' "${with_tools[@]}" FAILING=fmt .ci/run
  expect 143 'FAILED: format;' "${with_tools[@]}" ENDING=fmt scripts/test.sh format clippy
  expect 2 'there is no step "nothing"' scripts/test.sh nothing
  expect 0 'NOT CHECKED: advisories' "${with_tools[@]}" FAILING=fetch scripts/check-dependencies.sh
  expect 2 'usage:' scripts/check-dependencies.sh more
}

# These ask the real tree.
check_purity() {
  expect 1 'tokio (a runtime)' scripts/check-purity.sh pure dht-context
  expect 1 'reach for the system' scripts/check-purity.sh std dht-context shared/context/src
  expect 1 'must not stand on librocksdb-sys' \
    scripts/check-purity.sh without dht-bootstrap librocksdb-sys
  expect 1 'cannot list' scripts/check-purity.sh pure no-such-crate
  expect 2 'usage:' scripts/check-purity.sh pure
}

check_docs() {
  mkdir "$work/docs"
  printf 'See [this](good.md#part), https://example.org and \x60scripts/check-docs.sh\x60.\n' \
    >"$work/docs/good.md"
  expect 0 'speak of what is there' scripts/check-docs.sh "$work/docs/good.md"
  expect 1 'there is no such document' scripts/check-docs.sh "$work/nothing.md"
  printf 'See [the page](gone.md).\n' >"$work/docs/link.md"
  expect 1 'links to gone.md' scripts/check-docs.sh "$work/docs/link.md"
  printf 'It is in \x60record/gone.rs\x60.\n' >"$work/docs/name.md"
  expect 1 'names record/gone.rs' scripts/check-docs.sh "$work/docs/name.md"
}

# These ask the real systemd-analyze, if it is there: what it takes no notice of, nobody else does.
check_units() {
  local bare=(env -i "PATH=$work/without" "$BASH" scripts/check-units.sh)
  mkdir "$work/units" "$work/without"
  ln -s "$(command -v dirname)" "$work/without/dirname"
  expect 0 'NOT CHECKED' "${bare[@]}"
  expect 1 'there is no unit' scripts/check-units.sh "$work/units/none.service"
  expect 2 'usage:' scripts/check-units.sh --all
  if ! command -v systemd-analyze >/dev/null 2>&1; then
    echo 'check-scripts: NOT CHECKED: that check-units.sh sees what is wrong with a unit, as systemd-analyze is not here' >&2
    return
  fi
  expect 0 'exposure level for dht-bootstrap.service' scripts/check-units.sh
  expect 0 'exposure level for dht-health.service' scripts/check-units.sh
  local unit=$work/units/changed.service
  sed 's/^ProtectSystem=/ProtektSystem=/' systemd/dht-bootstrap.service >"$unit"
  expect 1 'does not understand all of changed.service' scripts/check-units.sh "$unit"
  sed '/^ExecStart=/d' systemd/dht-bootstrap.service >"$unit"
  expect 1 'does not understand all of changed.service' scripts/check-units.sh "$unit"
  sed '/^PrivateUsers=/d; /^SystemCallFilter=~/d; /^CapabilityBoundingSet=/d' \
    systemd/dht-bootstrap.service >"$unit"
  expect 1 'could reach more than it needs' scripts/check-units.sh "$unit"
  printf '[Timer]\nOnBootSec=1\nUnit=changed.service\n' >"$work/units/only.timer"
  expect 1 'no service was checked' scripts/check-units.sh "$work/units/only.timer"
}

# A machine without anything but the shell's own tools; then with ever more.
check_prepare() {
  local tool bare=(env -i "PATH=$work/bare" "CARGO_HOME=$work/bare" "$BASH" scripts/prepare.sh)
  for tool in dirname id realpath env; do ln -s "$(command -v "$tool")" "$work/bare/$tool"; done
  expect 1 'there is no apt-get here' "${bare[@]}" build
  printf '#!%s\nexit 100\n' "$BASH" >"$work/bare/apt-get"
  chmod +x "$work/bare/apt-get"
  expect 1 "prepare: $([[ $(id -u) -eq 0 ]] && echo installing || echo run this once as root)" \
    "${bare[@]}" build
  for tool in cc c++ make; do ln -s "$work/bare/apt-get" "$work/bare/$tool"; done
  expect 1 'Rust is missing' "${bare[@]}" build
  expect 2 'usage:' scripts/prepare.sh
  expect 2 'usage:' scripts/prepare.sh everything
  expect 0 '' "${with_tools[@]}" scripts/prepare.sh test
  stand_in "$work/tools/cargo-deny" <<<'echo cargo-deny 0.0.1'
  expect 0 'building cargo-deny' "${with_tools[@]}" scripts/prepare.sh test
  expect 1 'could not install cargo-deny' "${with_tools[@]}" FAILING=install scripts/prepare.sh test
}

check_drivers() {
  expect 2 'usage:' scripts/crash.sh
  expect 2 'usage:' scripts/crash.sh none
  expect 2 'usage:' scripts/crash.sh 0
  local driver
  for driver in crash bench; do
    mkdir -p "$work/target/release"
    stand_in "$work/target/release/dht-$driver" <<'DRIVER'
echo "driver got $*"
exit "$DRIVER_ENDS_WITH"
DRIVER
    expect 0 'driver got' "${with_tools[@]}" DRIVER_ENDS_WITH=0 "scripts/$driver.sh" 1
    expect 3 'driver got' "${with_tools[@]}" DRIVER_ENDS_WITH=3 "scripts/$driver.sh" 1
    expect 7 'build fails' "${with_tools[@]}" FAILING=build "scripts/$driver.sh" 1
  done
}

# A browser that shows a page, and a node's admin address; PAGE_IS says what is wrong with the page.
check_page() {
  mkdir "$work/browser" "$work/few"
  ln -s "$(command -v dirname)" "$work/few/dirname"
  stand_in "$work/browser/curl" <<'CURL'
case ${*: -1} in
  */status) echo '{"node":"00","records":12,"bytes":1}' ;;
  */history) echo '{"samples":[{"at_ms":1},{"at_ms":2}]}' ;;
  *) exit 22 ;;
esac
CURL
  stand_in "$work/browser/chromium" <<'CHROMIUM'
if [[ $PAGE_IS == crashing ]]; then echo 'it crashed' >&2; exit 9; fi
if [[ $PAGE_IS == complaining ]]; then echo '[1:2:INFO:CONSOLE:3] "x is not defined"' >&2; fi
for word in "$@"; do
  if [[ $word == --screenshot=* ]]; then
    { printf '\x89PNG'; [[ $PAGE_IS == blank ]] || head -c 20000 /dev/zero; } >"${word#*=}"
    exit
  fi
done
records=12
if [[ $PAGE_IS == outdated ]]; then records=11; fi
cat <<HTML
00 <p class="state good"> <dt>Records</dt><dd>$records</dd> <polyline class="curve s0"> <polygon class="area f0">
<svg aria-label="Puts and gets, requests answered a second"> <th scope="row">store</th>
HTML
CHROMIUM
  page() {
    mkdir -p "$work/store"
    env "PATH=$work/browser:$PATH" STORE="$work/store" NODE_IS="$1" CLIENT_IS="$2" PAGE_IS="$3" \
      scripts/test-page.sh --bin-dir "$work/programs"
  }
  expect 0 'shows the figures of its node' page fine fine fine
  expect 1 'the browser complained' page fine fine complaining
  expect 1 'does not show: <dt>Records</dt><dd>12' page fine fine outdated
  expect 1 'the browser failed' page fine fine crashing
  expect 1 'nothing can be on it' page fine fine blank
  expect 1 'could not be put' page fine refused fine
  expect 1 'the disk has no room' page dead fine fine
  expect 0 'SKIPPED: the status page was NOT opened' env -i "PATH=$work/few" "$BASH" scripts/test-page.sh
  expect 2 'usage:' scripts/test-page.sh --loud
}

# A Prometheus that scrapes; PROMETHEUS_IS says what is wrong with it.
check_monitoring() {
  if ! command -v jq >/dev/null; then
    echo 'NOT CHECKED: that test-monitoring.sh can fail, since jq is not installed'
    return
  fi
  mkdir "$work/monitoring"
  stand_in "$work/monitoring/promtool" <<'PROMTOOL'
[[ $PROMETHEUS_IS != "$1-$2" ]]
PROMTOOL
  stand_in "$work/monitoring/prometheus" <<'PROMETHEUS'
[[ $PROMETHEUS_IS != gone ]] || exit 1
exec sleep 600
PROMETHEUS
  stand_in "$work/monitoring/curl" <<'CURL'
[[ $PROMETHEUS_IS != gone ]] || exit 7
value() { printf '{"status":"success","data":{"result":[{"value":[0,"%s"]}]}}' "$1"; }
case "$*" in
  */rules) echo '{"data":{"groups":[{"rules":[{"query":"dht_ready == 0"}]}]}}' ;;
  */targets) echo '{"data":{"activeTargets":[]}}' ;;
  *query=up*job*dht*\"*}\ http*)
    if kill -0 "$(<"$STORE/node-pid")" 2>/dev/null || [[ $PROMETHEUS_IS == outdated ]]; then value 1; else value 0; fi
    ;;
  *ALERTS*) if [[ $PROMETHEUS_IS == calm ]]; then value ''; else value 1; fi ;;
  *query=dht_ready\ *) value 1 ;;
  *) if [[ $PROMETHEUS_IS == puzzled ]]; then echo '{"status":"error","error":"no such function"}'; else value 1; fi ;;
esac
CURL
  monitoring() {
    mkdir -p "$work/store"
    env "PATH=$work/monitoring:$PATH" STORE="$work/store" NODE_IS="$1" PROMETHEUS_IS="$2" LIMIT_SECS=2 \
      scripts/test-monitoring.sh --bin-dir "$work/programs"
  }
  expect 0 'knew when it was gone' monitoring fine fine
  expect 1 'the rules are wrong' monitoring fine check-rules
  expect 1 'a rule fires when it must not' monitoring fine test-rules
  expect 1 'the disk has no room' monitoring dead fine
  expect 1 'cannot be scraped' monitoring fine gone
  expect 1 'no such function' monitoring fine puzzled
  expect 1 'the node is down and Prometheus does not know' monitoring fine outdated
  expect 1 'no alert is on its way' monitoring fine calm
  expect 0 'SKIPPED: alert rules and metrics were NOT tried' \
    env -i "PATH=$work/few" "$BASH" scripts/test-monitoring.sh
  expect 2 'usage:' scripts/test-monitoring.sh --loud
}

# Hosts that ssh finds in the state that HOST_IS names; nothing is run on them but what asks for facts.
check_deploy() {
  mkdir -p "$work/deploying"
  stand_in "$work/deploying/dht-bootstrap" <<'NODE'
case $1 in
  --version) echo 'dht-bootstrap 1.2.3' ;;
  check-config)
    grep -q network "$4" || { echo 'dht-bootstrap: network is missing; add it (error 80)' >&2; exit 80; }
    file=$(sed -n 's/^network_file=//p' "$4")
    if [[ -n $file ]]; then
      if [[ $file != /* ]]; then file=${4%/*}/$file; fi
      [[ -e $file ]] || { echo "dht-bootstrap: cannot read the network file $file (error 80)" >&2; exit 80; }
    fi
    (cd "${4%/*}" && echo * >"$SET")
    echo '{"admin":"127.0.0.1:1","data_dir":"'"$(sed -n 's/^data_dir=//p' "$4")"'","listen":["[::]:9"],"network":"n","network_file":"'"$file"'"}'
    ;;
esac
NODE
  stand_in "$work/deploying/dht-client" <<<'exit 60'
  stand_in "$work/deploying/ssh" <<'SSH'
if [[ " $* " == *' -G '* ]]; then printf 'user root\nhostname host\n'; exit; fi
cat >/dev/null
[[ $HOST_IS != away ]] || { echo 'ssh: no route' >&2; exit 255; }
[[ "$*" == *facts ]] || { echo 'changed something' >&2; exit 9; }
root=0 clock=$(date +%s) systemd=252 free=9999999 package='' config='' current=''
case $HOST_IS in
  user) root=1000 ;;
  late) clock=$((clock - 900)) ;;
  old) systemd=247 ;;
  bare) systemd='' ;;
  small) free=1000 ;;
  packaged) package=installed ;;
  well) current=1.2.3-abc ;;
esac
printf '%s\n' "root=$root" "arch=${ARCH:-$(uname -m)}" "clock=$clock" "systemd=$systemd" "programs_free_kib=$free" \
  "state_free_kib=$free" "package=$package" "config=$config" "current=$current" active=active node=ab system=Debian
SSH
  printf 'network\ndata_dir=/var/lib/dht-bootstrap\n' >"$work/deploying/config"
  printf 'nothing\n' >"$work/deploying/wrong"
  printf 'network\ndata_dir=/srv\n' >"$work/deploying/elsewhere"
  local deploy=(env "PATH=$work/deploying:$PATH" "SET=$work/set" deployment/deploy.sh --bin-dir "$work/deploying")
  local to_host=("${deploy[@]}" host --dry-run --config "$work/deploying/config") pair
  expect 0 'Nothing was changed' env HOST_IS=new "${to_host[@]}"
  for pair in 'away:cannot be asked' 'user:root is needed' 'late:clock differs' 'old:older than 252' \
    'bare:systemd does not run' 'small:are free' 'packaged:Debian package'; do
    expect 1 "${pair#*:}" env "HOST_IS=${pair%%:*}" "${to_host[@]}"
  done
  expect 1 'does not run what a' env HOST_IS=new ARCH=vax "${to_host[@]}"
  expect 1 'has no configuration yet' env HOST_IS=new "${deploy[@]}" host --dry-run
  expect 1 'network is missing' env HOST_IS=new "${deploy[@]}" host --dry-run --config "$work/deploying/wrong"
  expect 1 'another data_dir' env HOST_IS=new "${deploy[@]}" host --dry-run --config "$work/deploying/elsewhere"
  check_deploy_network_file
  expect 1 'nothing was changed there' env HOST_IS=new "${deploy[@]}" host --config "$work/deploying/config"
  expect 1 'nothing ran before' env HOST_IS=well "${deploy[@]}" rollback host
  expect 1 'not installed' env HOST_IS=new "${deploy[@]}" status host
  expect 1 'cannot be asked' env HOST_IS=away "${deploy[@]}" status host
  expect 1 'there is no dht-bootstrap' deployment/deploy.sh host --bin-dir "$work/bare"
  expect 1 'there is no revision' deployment/deploy.sh host --version never
  expect 1 'there is no dht-bootstrap' "${with_tools[@]}" "CARGO_TARGET_DIR=$work/nothing" deployment/deploy.sh host --version HEAD
  expect 7 'build fails' "${with_tools[@]}" FAILING=build deployment/deploy.sh host
  expect 2 'deployment/deploy.sh' deployment/deploy.sh
  expect 2 'deployment/deploy.sh' deployment/deploy.sh host --purge
  expect 2 'deployment/deploy.sh' deployment/deploy.sh host --wait soon
  expect 1 'deploy.sh starts this' bash deployment/on-host.sh
  expect 1 'there is no dht-bootstrap' deployment/build-deb.sh --bin-dir "$work/bare"
  expect 2 'usage:' deployment/build-deb.sh --bin-dir
}

# The network file that a configuration names goes with it, and nothing else that lies beside it.
check_deploy_network_file() {
  local dir=$work/deploying/set deploying
  mkdir -p "$dir"
  touch "$dir"/{example.toml,example.registry,example.key,other.toml,fleet.toml}
  deploying=("${deploy[@]}" host --dry-run --config)
  configured() { printf 'network\ndata_dir=/var/lib/dht-bootstrap\nnetwork_file=%s\n' "$1" >"$dir/node.toml"; }
  configured example.toml
  expect 0 'Nothing was changed' env HOST_IS=new "${deploying[@]}" "$dir/node.toml"
  expect 0 'of config.toml example.registry example.toml alone' sed 's/^/of /; s/$/ alone/' "$work/set"
  configured other.toml
  expect 0 'Nothing was changed' env HOST_IS=new "${deploying[@]}" "$dir/node.toml"
  expect 0 'of config.toml other.toml alone' sed 's/^/of /; s/$/ alone/' "$work/set"
  configured gone.toml
  expect 1 'cannot read the network file' env HOST_IS=new "${deploying[@]}" "$dir/node.toml"
  configured "$dir/example.toml"
  expect 1 'write its name alone: network_file = "example.toml"' env HOST_IS=new "${deploying[@]}" "$dir/node.toml"
  configured ../set/example.toml
  expect 1 'by its folder' env HOST_IS=new "${deploying[@]}" "$dir/node.toml"
  configured fleet.toml
  expect 1 'cannot be brought under this name' env HOST_IS=new "${deploying[@]}" "$dir/node.toml"
}

# What it takes to make machines is tried in the gate's own step; here, that it does not pass without.
check_machines() {
  expect 1 'there is no case "none"' scripts/test-machines.sh --only none
  expect 2 'scripts/test-machines.sh' scripts/test-machines.sh --fast
  expect 2 'scripts/test-machines.sh' scripts/test-machines.sh --debian
  expect 1 'this machine lacks' env -i "PATH=$work/bare" "$BASH" scripts/test-machines.sh --bin-dir "$work/bare"
}

check_run_local
check_health
check_page
check_monitoring
check_purity
check_docs
check_units
check_gate
check_drivers
check_sim
check_prepare
check_deploy
check_machines
printf 'all of %d checks hold: the scripts fail when they should, and only then\n' "$checks"
