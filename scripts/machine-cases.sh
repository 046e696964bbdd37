# shellcheck shell=bash
# What scripts/test-machines.sh, which sources this file, does to the machines: a function a case. Each begins and
# ends with a network that is well. `$bin_dir`, `$machines` and the functions of scripts/machines.sh are there.
# shellcheck disable=SC2154  # what the sourcing script sets

NETWORK=machines
PORT=4400
ADMIN_PORT=4401
# Kept below what a case may take, and far above what it takes.
AWAIT_LIMIT_SECS=60
# For one node's answer, and for its value: longer than a handshake that is repeated.
HEALTH_LIMIT_SECS=5
VALUES=12
# Ten times the exposure, as systemd-analyze wants it.
EXPOSURE_MAX=15

cases_dir=
load_pid=
# The machine that nothing is asked of, if one is cut off.
away=
declare -A node_of=()

say() { printf '  %s\n' "$*"; }

cases_begin() {
  local program
  cases_dir=$machines_dir/cases
  mkdir -p "$cases_dir/programs"
  # Without line tables a copy takes a third of the time, of which there are many.
  for program in dht-bootstrap dht-client; do
    strip --strip-debug -o "$cases_dir/programs/$program" "$bin_dir/$program"
  done
  bin_dir=$cases_dir/programs
  client identity new >/dev/null
  publisher=$(client --json identity show | sed -n 's/.*"identity" *: *"\([0-9a-f]\{64\}\)".*/\1/p')
  other_build "$cases_dir/next" exec
}

# Ends the load, which is all that runs beside a case.
cases_end() {
  if [[ -n $load_pid ]]; then
    touch "$cases_dir/load-ends"
    wait "$load_pid" || true
    load_pid=
  fi
}

# --- asking -------------------------------------------------------------------------------------------

client() { "$bin_dir/dht-client" --network "$NETWORK" --identity "$cases_dir/identity" "$@"; }

peer() { printf '%s@%s:%d' "${node_of[$1]}" "$(machine_address "$1")" "$PORT"; }

through() {
  local number=$1
  shift
  client --bootstrap "$(peer "$number")" "$@"
}

# The operators' own question: 0 if every node is well, 1 if something is amiss, 2 if one is down.
health() {
  local number peers=()
  for ((number = 1; number <= machines; number++)); do peers+=("$(peer "$number")"); done
  scripts/health.sh --bin-dir "$bin_dir" --network "$NETWORK" --timeout "$HEALTH_LIMIT_SECS" "${peers[@]}"
}

health_is() {
  local wanted=$1 got=0
  health >"$cases_dir/health" || got=$?
  [[ $got -eq $wanted ]]
}

# await LIMIT WHAT COMMAND...: asks until the command succeeds.
await() {
  local limit=$1 what=$2 began=$SECONDS
  shift 2
  until "$@"; do
    [[ $((SECONDS - began)) -lt $limit ]] || fail "not within $limit s: $what"
    sleep 0.3
  done
  say "$what: after $((SECONDS - began)) s"
}

property() { machine_ssh "$1" systemctl show --property="$2" --value dht-bootstrap; }

process_of() { property "$1" MainPID; }

runs_another_process() {
  local pid
  pid=$(process_of "$1") && [[ $pid != 0 && $pid != "$2" ]]
}

# What readiness says on the machine itself, whether or not ssh gets there: 200 or 503.
readiness() {
  # shellcheck disable=SC2016
  machine_inside "$1" timeout 5 bash -c \
    'exec 3<>"/dev/tcp/127.0.0.1/$0" && printf "GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n" >&3 && head -n 1 <&3' \
    "$ADMIN_PORT" 2>/dev/null | sed -n 's|^HTTP/1.[01] \([0-9]*\).*|\1|p'
}

readiness_is() { [[ $(readiness "$1") == "$2" ]]; }

status_of() { machine_ssh "$1" dht-bootstrap status --json; }

# --- deploying ----------------------------------------------------------------------------------------

deploy() { deployment/deploy.sh "$@" --ssh-config "$machines_ssh_config"; }

deploy_with() {
  local dir=$1
  shift
  deploy "$@" --bin-dir "$dir"
}

deploy_fails() {
  local words=$1 status=0
  shift
  "$@" >"$cases_dir/deploy" 2>&1 || status=$?
  sed 's/^/  | /' "$cases_dir/deploy"
  [[ $status -ne 0 ]] || fail 'the deployment succeeded, and should not have'
  grep -qF -- "$words" "$cases_dir/deploy" || fail "the deployment failed without the words \"$words\""
}

hosts() {
  local number
  for ((number = 1; number <= machines; number++)); do
    if [[ $number -eq 2 ]]; then printf '%s@m2\n' "$MACHINES_USER"; else printf 'm%d\n' "$number"; fi
  done
}

# The version that a deployment of these programs has on the machines.
version_on() { machine_ssh "$1" readlink /usr/lib/dht-bootstrap/current; }

# A build of other content under the same version number: the programs as they are, with some bytes behind.
other_build() {
  local dir=$1 program
  mkdir -p "$dir"
  for program in dht-bootstrap dht-client; do
    cp "$bin_dir/$program" "$dir/$program"
    printf 'another build' >>"$dir/$program"
  done
}

# A build whose node does WHAT when it is run, and all else as it should.
broken_build() {
  local dir=$1 what=$2
  mkdir -p "$dir"
  cp "$bin_dir/dht-client" "$dir/"
  cat >"$dir/dht-bootstrap" <<PROGRAM
#!/bin/bash
case \$1 in
  --version) echo 'dht-bootstrap 9.9.9' ;;
  check-config) echo '{"admin":"127.0.0.1:$ADMIN_PORT","data_dir":"/var/lib/dht-bootstrap","listen":["[::]:$PORT"],"network":"$NETWORK"}' ;;
  run) $what ;;
  *) exit 1 ;;
esac
PROGRAM
  chmod +x "$dir/dht-bootstrap"
}

# A configuration with these lines more. All machines name each other, but for the one that founds the network.
config() {
  printf 'network = "%s"\n' "$NETWORK"
  printf '%s\n' "$@"
}

everyone() {
  local number
  printf 'bootstrap = ['
  for ((number = 1; number <= machines; number++)); do printf '"%s:%d",' "$(machine_address "$number")" "$PORT"; done
  printf ']'
}

learn_nodes() {
  local number
  for ((number = 1; number <= machines; number++)); do
    node_of[$number]=$(machine_ssh "$number" dht-bootstrap identity --data-dir /var/lib/dht-bootstrap)
  done
}

# --- values -------------------------------------------------------------------------------------------

# A machine for the Nth value, another one for each, but for the one that is away.
machine_for() {
  local machine=$(($1 % machines + 1))
  if [[ $machine == "$away" ]]; then machine=$((machine % machines + 1)); fi
  printf '%d' "$machine"
}

put_values() {
  local number
  for ((number = 1; number <= VALUES; number++)); do
    through "$(machine_for "$number")" put "$1-$number" "value $number of $1" --no-queue >/dev/null ||
      fail "value $number could not be put"
  done
  say "$VALUES values were put"
}

read_values() {
  local number node
  for ((number = 1; number <= VALUES; number++)); do
    node=$(machine_for $((number + 1)))
    [[ $(through "$node" get "$publisher" "$1-$number") == "value $number of $1" ]] ||
      fail "value $number cannot be read through node $node, or is another one"
  done
  say "all $VALUES values were read through other nodes"
}

# --- the cases ----------------------------------------------------------------------------------------

# The first node founds the network alone; the others join it; then all have the configuration for good.
case_found() {
  local began host
  config 'solo = true' >"$cases_dir/founder.toml"
  config "$(everyone)" >"$cases_dir/config.toml"
  deploy_with "$bin_dir" m1 --config "$cases_dir/founder.toml" --dry-run
  [[ -z $(machine_ssh 1 'ls -d /usr/lib/dht-bootstrap /etc/dht-bootstrap 2>/dev/null') ]] || fail 'a dry run changed something'
  began=$SECONDS
  deploy_with "$bin_dir" m1 --config "$cases_dir/founder.toml"
  say "a fresh Debian is a node that keeps a value: after $((SECONDS - began)) s"
  for host in $(hosts); do
    if [[ $host != m1 ]]; then deploy_with "$bin_dir" "$host" --config "$cases_dir/config.toml"; fi
  done
  deploy_with "$bin_dir" m1 --config "$cases_dir/config.toml"
  learn_nodes
  await "$AWAIT_LIMIT_SECS" 'health is 0' health_is 0
}

# Deploying what is there restarts nothing.
case_second_run() {
  local number before=() list
  mapfile -t list < <(hosts)
  for ((number = 1; number <= machines; number++)); do before[number]=$(process_of "$number"); done
  deploy_with "$bin_dir" "${list[@]}" --config "$cases_dir/config.toml" | tee "$cases_dir/deploy"
  [[ $(grep -c 'nothing to change' "$cases_dir/deploy") -eq $machines ]] || fail 'the second run changed something'
  for ((number = 1; number <= machines; number++)); do
    [[ $(process_of "$number") == "${before[number]}" ]] || fail "the second run restarted node $number"
  done
  deploy status "${list[@]}" --bin-dir "$bin_dir" || fail 'status says that not all are ready'
}

# What the unit confines is confined on a machine that runs it: systemd and the kernel agree with the file.
case_confined() {
  local number=$machines unit=systemd/dht-bootstrap.service name wanted got
  machine_ssh "$number" systemd-analyze security --no-pager --threshold="$EXPOSURE_MAX" dht-bootstrap >"$cases_dir/security" ||
    fail "the exposure of the running service is above $EXPOSURE_MAX tenths: $(grep '^→' "$cases_dir/security")"
  sed -n 's/^→ /  /p' "$cases_dir/security"
  while IFS='=' read -r name wanted; do
    if [[ $wanted == *[MG] ]]; then wanted=$(numfmt --from=iec "$wanted"); fi
    got=$(property "$number" "$name")
    [[ $got == "$wanted" ]] || fail "the unit says $name=$wanted, the running service has $got"
  done < <(sed -n '/^\[Service\]/,$s/^\([A-Z][A-Za-z]*=\(yes\|[0-9]*[MG]\{0,1\}\)\)$/\1/p' "$unit" | grep -v '^\(RestartSec\|WatchdogSec\|TimeoutStopSec\|[A-Za-z]*Mode\|UMask\)=')
  machine_ssh "$number" "$CONFINED" || fail 'the kernel does not confine the node as the unit says'
}

# No capability, no new privileges, a filter of system calls, users of its own, and nowhere that it may write can it
# run anything. As its own user in its own view of the files, it looks for such a place everywhere.
# shellcheck disable=SC2016
CONFINED='set -eu
  pid=$(systemctl show --property=MainPID --value dht-bootstrap)
  refuse() { echo "$1" >&2; exit 1; }
  has() { grep -qE "$1" "/proc/$pid/$2" || refuse "/proc/PID/$2 does not say $1"; }
  for set in Inh Prm Eff Bnd Amb; do has "^Cap$set:.0+$" status; done
  has "^NoNewPrivs:.1$" status; has "^Seccomp:.2$" status
  has "^Max open files +8192 +8192 " limits; has "^Max core file size +0 +0 " limits
  if grep -q 4294967295 "/proc/$pid/uid_map"; then refuse "it sees all users"; fi
  limit=/sys/fs/cgroup$(systemctl show --property=ControlGroup --value dht-bootstrap)/memory.max
  if [ ! -e "$limit" ]; then
    echo "  NOT CHECKED: that the kernel limits its memory, as containers cannot here"
  elif [ "$(cat "$limit")" != "$(systemctl show --property=MemoryMax --value dht-bootstrap)" ]; then
    refuse "its memory is not limited"
  fi
  nsenter --target "$pid" --mount setpriv --reuid=dht-bootstrap --regid=dht-bootstrap --clear-groups sh -c "
    cd / && find / -path /proc -prune -o -type d -writable -print 2>/dev/null" >/run/writable || true
  grep -qx /var/lib/dht-bootstrap /run/writable || refuse "it cannot write where it should"
  while read -r place; do
    case $place in
      /var/lib/dht-bootstrap | /var/lib/dht-bootstrap/* | /run/dht-bootstrap | /tmp | /var/tmp | /dev/shm | /dev/mqueue) ;;
      *) refuse "it can write in $place" ;;
    esac
    program=$place/probe
    if nsenter --target "$pid" --mount sh -c "cp /bin/true $program && $program; ended=\$?; rm -f $program; exit \$ended" 2>/dev/null; then
      refuse "what is written in $place can be run"
    fi
  done </run/writable
  printf "  it can write in %d directories, and run what is there in none of them\n" "$(wc -l </run/writable)"'

case_values_survive_kill() {
  local number before=()
  put_values killed
  for ((number = 1; number <= machines; number++)); do
    before[number]=$(process_of "$number")
    machine_ssh "$number" systemctl kill --signal=KILL dht-bootstrap
  done
  for ((number = 1; number <= machines; number++)); do
    await "$AWAIT_LIMIT_SECS" "node $number runs again by itself" runs_another_process "$number" "${before[number]}"
  done
  await "$AWAIT_LIMIT_SECS" 'health is 0' health_is 0
  read_values killed
}

case_restart() {
  local number began
  for ((number = 1; number <= machines; number++)); do
    began=${EPOCHREALTIME//[.,]/}
    machine_ssh "$number" systemctl restart dht-bootstrap
    say "restart of node $number, until it is ready: $(((${EPOCHREALTIME//[.,]/} - began) / 1000)) ms"
    await "$AWAIT_LIMIT_SECS" 'health is 0' health_is 0
  done
}

case_reboot() {
  local boot
  put_values rebooted
  boot=$(machine_ssh 2 systemctl show --property=UserspaceTimestampMonotonic --value)
  machine_ssh 2 systemctl reboot || true
  await "$AWAIT_LIMIT_SECS" 'the machine was booted again' booted_again 2 "$boot"
  await "$AWAIT_LIMIT_SECS" 'health is 0, the node having been started by the boot' health_is 0
  read_values rebooted
}

booted_again() {
  local boot
  boot=$(machine_ssh "$1" systemctl show --property=UserspaceTimestampMonotonic --value 2>/dev/null) && [[ -n $boot && $boot != "$2" ]]
}

# Puts and gets without end, until the file `load-ends` is there: whole runs of `bench`, and single values,
# whose names are noted when they are acknowledged.
load() {
  local number=0
  while [[ ! -e $cases_dir/load-ends ]]; do
    number=$((number + 1))
    if through $((number % machines + 1)) put "load-$number" "value $number" --no-queue >/dev/null 2>>"$cases_dir/load-refused"; then
      printf '%d\n' "$number" >>"$cases_dir/load-acknowledged"
    fi
    client --bootstrap "$(peer 1)" --bootstrap "$(peer 2)" --bootstrap "$(peer 3)" --json \
      bench --ops put,get --count 400 --concurrency 4 --consistency quorum \
      >>"$cases_dir/load-bench" 2>>"$cases_dir/load-errors" || true
  done
}

# The sum of a figure over all bench runs of an operation.
load_sum() {
  grep -F "\"op\":\"$1\"" <<<"$(tr -d ' ' <"$cases_dir/load-bench")" | sed -n "s/.*\"$2\":\([0-9]*\).*/\1/p" |
    awk '{ sum += $1 } END { print sum + 0 }'
}

case_upgrade_under_load() {
  local list number lost=0
  mapfile -t list < <(hosts)
  rm -f "$cases_dir"/load-*
  load &
  load_pid=$!
  await "$AWAIT_LIMIT_SECS" 'the load runs' test -s "$cases_dir/load-acknowledged"
  deploy_with "$cases_dir/next" "${list[@]}"
  cases_end
  say "under way: $(load_sum put count) puts, of which $(load_sum put errors) were not acknowledged; $(load_sum get count) gets at quorum, of which $(load_sum get errors) failed and $(load_sum get wrong) were wrong"
  if [[ -s $cases_dir/load-errors ]]; then sed 's/^/  | /' "$cases_dir/load-errors"; fi
  [[ $(load_sum get count) -gt 0 ]] || fail 'the load did nothing'
  [[ $(load_sum get errors) -eq 0 && $(load_sum get wrong) -eq 0 ]] || fail 'gets at quorum failed during the upgrade'
  while read -r number; do
    [[ $(through 1 get "$publisher" "load-$number" --consistency quorum) == "value $number" ]] || lost=$((lost + 1))
  done <"$cases_dir/load-acknowledged"
  say "$(wc -l <"$cases_dir/load-acknowledged") single values acknowledged during the upgrade, $lost of them lost"
  [[ $lost -eq 0 ]] || fail 'values that were acknowledged during the upgrade are lost'
  for ((number = 1; number <= machines; number++)); do
    [[ $(version_on "$number") == "$(version_on 1)" ]] || fail 'the machines run different versions'
  done
  deploy_with "$bin_dir" "${list[@]}" >/dev/null
  health_is 0 || fail 'the network is not well after the upgrade'
}

# rolled_back N VERSION WORDS ARGUMENTS...: the deployment fails with these words, and all is as before.
rolled_back() {
  local number=$1 version=$2 words=$3 config
  shift 3
  config=$(machine_ssh "$number" sha256sum /etc/dht-bootstrap/config.toml)
  deploy_fails "$words" deploy "$@"
  grep -q 'was rolled back to .* which is ready' "$cases_dir/deploy" || fail 'the deployment does not say that it rolled back'
  [[ $(version_on "$number") == "$version" ]] || fail 'another version runs than before'
  [[ $(machine_ssh "$number" sha256sum /etc/dht-bootstrap/config.toml) == "$config" ]] || fail 'the configuration is another than before'
  await "$AWAIT_LIMIT_SECS" 'health is 0' health_is 0
}

case_upgrade_that_exits() {
  broken_build "$cases_dir/exits" 'echo "dht-bootstrap: this build ends at once" >&2; exit 1'
  rolled_back 1 "$(version_on 1)" 'it ends again and again' m1 m"$machines" --bin-dir "$cases_dir/exits"
  ! grep -q "m$machines: \(switched\|restarted\)" "$cases_dir/deploy" || fail 'the next host was touched after a failure'
}

case_upgrade_that_hangs() {
  # Waits without another program, which the unit would not let it start.
  broken_build "$cases_dir/hangs" 'while true; do read -r -t 3600 <> <(:); done'
  rolled_back 1 "$(version_on 1)" 'not ready after 15 s: its service is activating' m1 --bin-dir "$cases_dir/hangs" --wait 15
}

# systemd says that it runs, and only who asks through the network sees that nobody reaches it.
case_configuration_nobody_reaches() {
  config 'listen = ["127.0.0.1:4400"]' 'solo = true' >"$cases_dir/nobody.toml"
  rolled_back 1 "$(version_on 1)" 'not ready after 15 s' m1 --config "$cases_dir/nobody.toml" --bin-dir "$bin_dir" --wait 15
}

case_rollback() {
  local before after
  before=$(version_on 1)
  deploy_with "$cases_dir/next" m1
  after=$(version_on 1)
  [[ $after != "$before" ]] || fail 'another build was not deployed'
  deploy rollback m1 --bin-dir "$bin_dir"
  [[ $(version_on 1) == "$before" ]] || fail 'rollback did not bring back what ran before'
  health_is 0 || fail 'the network is not well after the rollback'
}

# The network file that the configuration names goes with it, and the signed list of that; back again, they are gone.
case_network_file() {
  local folder=$cases_dir/network-file there=/etc/dht-bootstrap before process name
  mkdir -p "$folder"
  (cd "$folder" && "$bin_dir/dht-bootstrap" network new "$NETWORK" --registry >/dev/null)
  "$bin_dir/dht-bootstrap" network sign --key "$folder/$NETWORK.key" --network-file "$folder/$NETWORK.toml" \
    --node "$(peer 2)" >/dev/null
  config "network_file = \"$NETWORK.toml\"" "$(everyone)" >"$folder/node.toml"
  before=$(files_of 1)
  machine_ssh 1 "echo 'an operator wrote this' >$there/fleet.toml"
  config "network_file = \"$NETWORK.toml\"" 'listen = ["127.0.0.1:4400"]' 'solo = true' >"$folder/nobody.toml"
  rolled_back 1 "$(version_on 1)" 'not ready after 15 s' m1 --config "$folder/nobody.toml" --bin-dir "$bin_dir" --wait 15
  machine_ssh 1 "! ls $there/$NETWORK.* 2>/dev/null" || fail 'a deployment that failed left its network file'
  deploy_with "$bin_dir" m1 --config "$folder/node.toml"
  for name in toml registry; do
    machine_ssh 1 cat "$there/$NETWORK.$name" | cmp --quiet - "$folder/$NETWORK.$name" ||
      fail "$NETWORK.$name did not come along"
  done
  machine_ssh 1 "! test -e $there/$NETWORK.key" || fail 'the registry key went to a host'
  [[ $(status_of 1 | tr -d ' \n') == *'"list":{"seq":'* ]] || fail 'the node does not know the signed list'
  process=$(process_of 1)
  deploy_with "$bin_dir" m1 --config "$folder/node.toml" | tee "$cases_dir/deploy"
  grep -q 'nothing to change' "$cases_dir/deploy" || fail 'a second run changed something'
  deploy_with "$bin_dir" m1 | tee "$cases_dir/deploy"
  grep -q 'nothing to change' "$cases_dir/deploy" || fail 'a run without a configuration changed something'
  [[ $(process_of 1) == "$process" ]] || fail 'a second run restarted the node'
  deploy rollback m1 --bin-dir "$bin_dir"
  machine_ssh 1 "grep -q operator $there/fleet.toml && rm $there/fleet.toml" || fail "the operator's own file is gone"
  [[ $(files_of 1) == "$before" ]] || fail 'rollback did not bring back the configuration without a network file'
  await "$AWAIT_LIMIT_SECS" 'health is 0' health_is 0
}

files_of() { machine_ssh "$1" 'cd /etc/dht-bootstrap && sha256sum -- *.*'; }

# A deployment that was killed after the switch: the next one that fails goes back to what worked.
case_interrupted_deployment() {
  local before pid
  before=$(version_on 1)
  broken_build "$cases_dir/hangs" 'while true; do read -r -t 3600 <> <(:); done'
  deployment/deploy.sh m1 --bin-dir "$cases_dir/hangs" --ssh-config "$machines_ssh_config" >"$cases_dir/interrupted" 2>&1 &
  pid=$!
  await "$AWAIT_LIMIT_SECS" 'the deployment has switched' grep -qE 'm1: (switched|restarted)' "$cases_dir/interrupted"
  kill -TERM "$pid"
  wait "$pid" && fail 'an interrupted deployment says that it succeeded'
  grep -q 'interrupted while m1 was being switched' "$cases_dir/interrupted" || fail 'it does not say that it was interrupted'
  rolled_back 1 "$before" 'not ready after 10 s' m1 --bin-dir "$cases_dir/hangs" --wait 10
}
