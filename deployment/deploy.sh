#!/usr/bin/env bash
# Brings the node to hosts over ssh, and goes back by itself when it does not work there.
#
#   deployment/deploy.sh [user@]host...             installs or upgrades, one host after the other
#   deployment/deploy.sh rollback [user@]host...    runs again what ran before the last deployment
#   deployment/deploy.sh status [user@]host...      says what each host runs; fails unless all are ready
#   deployment/deploy.sh uninstall [user@]host...   keeps data and configuration, unless --purge is given
#
#   --config FILE      the node's configuration; a host that has one keeps it unless this is given. The network
#                      file that it names, and the signed list of that, lie beside it and go with it
#   --version REVISION builds this tag or commit instead of the checkout as it is
#   --bin-dir DIR      takes dht-bootstrap and dht-client from DIR instead of building them
#   --dry-run          says what would be done, and changes nothing
#   --wait SECS        how long a node may take until it is ready through the network (default 120)
#   --ssh-config FILE  what `ssh -F` takes
#   --purge            with uninstall: removes data, identity, configuration and system user, too
#
# A host needs Debian with systemd, ssh, and root or sudo without a password. All hosts are checked before
# the first is changed. A node counts as deployed once it answers this machine over its own UDP port, says
# that it is settled, and a value was put and read through it; else the host goes back to what it ran before,
# and those after it are left alone. A running node is not restarted while another one of the list does not answer. A
# second run with nothing new restarts nothing. What happens on a host is in deployment/on-host.sh, what goes with a
# configuration in deployment/configuration.sh.
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
root=$(dirname "$here")
# shellcheck source=deployment/configuration.sh
source "$here/configuration.sh"
export PATH="$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"

PROGRAMS=(dht-bootstrap dht-client)
SSH_LIMIT_SECS=10
SYSTEMD_MIN=252
CLOCK_OFF_MAX_SECS=60
# Programs with line tables, and the versions that are kept.
PROGRAMS_FREE_MIN_KIB=$((400 * 1024))
# The store refuses puts under 512 MiB; a new node needs some room above.
STATE_FREE_MIN_KIB=$((1024 * 1024))
# A node that ended so often after it was started does not come up by waiting.
RESTARTS_MAX=3
# A new node may take hours until it has its copies, and the next host is not touched before; one that was away for a
# restart counts as whole at once.
WHOLE_LIMIT_SECS=600
CLIENT_LIMIT_SECS=20

action=deploy
hosts=()
config=
revision=
bin_dir=
ssh_config=
wait_secs=120
dry_run=false
purge=false
version=
# Of the host at hand, as on-host.sh tells them.
declare -A fact=()
# By host: the peer to ask for its node, if it has one.
declare -A peer_of=()
changing=
# Why a host does not work.
failure=

say() { printf '%s: %s\n' "$1" "$2"; }

fail() {
  printf 'deploy: %s\n' "$1" >&2
  exit 1
}

usage() {
  sed -n 's/^#\( \{3\}\)/\1/p' "${BASH_SOURCE[0]}" >&2
  exit 2
}

# Runs an action of on-host.sh; what is read from the input reaches the action.
on_host() {
  local host=$1 bash_there=(bash -s --)
  shift
  if [[ ${user_of[$host]:-} != root ]]; then bash_there=(sudo -n "${bash_there[@]}"); fi
  # None of these words has a space or is special to a shell.
  # shellcheck disable=SC2029
  cat "$here/on-host.sh" - | ssh "${ssh_options[@]}" "$host" "${bash_there[*]} $*"
}

# The user and the address that ssh will use for a host, from its configuration.
ssh_setting() { ssh "${ssh_options[@]}" -G "$1" | sed -n "s/^$2 //p" | head -n 1; }

learn() {
  local host=$1 text name value
  text=$(on_host "$host" facts </dev/null) || return
  fact=()
  while IFS='=' read -r name value; do fact[$name]=$value; done <<<"$text"
  [[ -n ${fact[clock]:-} ]]
}

learn_or_fail() {
  learn "$1" || fail "$1 cannot be asked; mend what ssh or sudo says above (root, or sudo without a password, is needed), then run this again"
}

# A field of the node's own status: text, number or boolean.
status_field() { sed -n 's/.*"'"$1"'":"\{0,1\}\([^",}]*\).*/\1/p' <<<"${fact[status]:-}"; }

client() {
  "$bin_dir/dht-client" --timeout "$CLIENT_LIMIT_SECS" --network "$network" "$@"
}

# --- what is deployed ---------------------------------------------------------------------------------

build() {
  local tree=$root
  if [[ -n $revision ]]; then
    tree=$root/target/deploy/$revision
    git -C "$root" rev-parse --quiet --verify "$revision^{commit}" >/dev/null ||
      fail "there is no revision $revision here; fetch it, or name one that git knows"
    rm -rf "$tree"
    git -C "$root" worktree prune
    git -C "$root" worktree add --quiet --detach "$tree" "$revision"
  fi
  "$root/scripts/prepare.sh" build
  printf 'Building. The first time takes about ten minutes on two cores, most of it for RocksDB.\n'
  export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
  (cd "$tree" && cargo build --release --locked --workspace --bin dht-bootstrap --bin dht-client)
  bin_dir=$CARGO_TARGET_DIR/release
  sources=$tree
}

# Lays out what a host receives, and names it by its content: two builds of one version differ.
stage() {
  local program number
  sources=$root
  if [[ -z $bin_dir ]]; then build; fi
  mkdir "$work/build"
  for program in "${PROGRAMS[@]}"; do
    [[ -x $bin_dir/$program ]] || fail "there is no $program in $bin_dir; build it there, or leave --bin-dir out"
    install -m 755 "$bin_dir/$program" "$work/build/"
  done
  for file in "$sources"/systemd/*.service "$sources"/systemd/*.timer "$sources"/systemd/*.sysusers; do
    if [[ -e $file ]]; then install -m 644 "$file" "$work/build/"; fi
  done
  number=$("$bin_dir/dht-bootstrap" --version | sed -n 's/^dht-bootstrap \([0-9A-Za-z.+~-]*\)$/\1/p')
  [[ -n $number ]] || fail "$bin_dir/dht-bootstrap does not say its version; build it anew"
  version=$number-$(cd "$work/build" && sha256sum -- * | sha256sum | cut -c 1-12)
}

# --- before anything is changed -----------------------------------------------------------------------

check_host() {
  local host=$1 off
  learn_or_fail "$host"
  [[ ${fact[root]} == 0 ]] || fail "$host: root is needed; deploy as root, or as a user who may sudo without a password"
  [[ -n ${fact[systemd]:-} ]] || fail "$host: systemd does not run there; deploy to a Debian that was booted with it"
  [[ ${fact[systemd]} -ge $SYSTEMD_MIN ]] ||
    fail "$host: systemd ${fact[systemd]} is older than $SYSTEMD_MIN; upgrade to Debian 12 or newer"
  [[ ${fact[arch]} == $(uname -m) ]] ||
    fail "$host: a ${fact[arch]} machine does not run what a $(uname -m) machine builds; deploy from one like it"
  [[ -z ${fact[package]:-} ]] || fail "$host: the Debian package is installed; upgrade with dpkg --install, or remove it first: dpkg --remove dht-bootstrap"
  off=$((fact[clock] - $(date +%s)))
  [[ ${off#-} -le $CLOCK_OFF_MAX_SECS ]] ||
    fail "$host: its clock differs by $off s from this machine's; set the wrong one: timedatectl set-ntp true"
  [[ ${fact[programs_free_kib]} -ge $PROGRAMS_FREE_MIN_KIB ]] ||
    fail "$host: only ${fact[programs_free_kib]} KiB are free in /usr/lib; make $PROGRAMS_FREE_MIN_KIB free"
  [[ -n ${fact[current]} || ${fact[state_free_kib]} -ge $STATE_FREE_MIN_KIB ]] ||
    fail "$host: only ${fact[state_free_kib]} KiB are free in /var/lib; make $STATE_FREE_MIN_KIB free"
  [[ -n $config || -n ${fact[config]:-} ]] ||
    fail "$host: it has no configuration yet; write one like deployment/dht-bootstrap.toml and give it with --config"
  say "$host" "checked: ${fact[system]}, systemd ${fact[systemd]}, ${fact[current]:+runs }${fact[current]:-nothing installed}"
}

# Where a host's node is asked, from its facts.
peer_from_facts() {
  local address
  address=$(ssh_setting "$1" hostname)
  if [[ $address == *:* ]]; then address="[$address]"; fi
  printf '%s@%s:%s' "${fact[node]}" "$address" "$port"
}

note_peer() {
  if [[ -n ${fact[node]:-} && ${fact[active]:-} == active ]]; then peer_of[$1]=$(peer_from_facts "$1"); fi
}

# Restarting a node while another is away would take a second one down.
others_answer() {
  local other
  for other in "${!peer_of[@]}"; do
    if [[ $other == "$1" ]]; then continue; fi
    client ping "${peer_of[$other]}" >/dev/null ||
      fail "$other does not answer, and $1 would be a second one down; mend $other first: deployment/deploy.sh status $other"
  done
}

# --- through the network ------------------------------------------------------------------------------

# Waits until the node of this version answers from here and says that it is settled. Sets `failure` to why not. Not in a
# subshell, so that a signal ends it at once.
await_ready() {
  local host=$1 wanted=$2 deadline=$((SECONDS + wait_secs)) pong why='it has not started'
  while [[ $SECONDS -lt $deadline ]]; do
    if learn "$host"; then
      why="its service is ${fact[active]:-not there}${fact[text]:+ ($(printf '%s' "${fact[text]}"))}"
      if [[ ${fact[active]:-} == failed || ${fact[restarts]:-0} -ge $RESTARTS_MAX ]]; then
        failure="it ends again and again${fact[log]:+: ${fact[log]#dht-bootstrap: }}"
        return 1
      fi
      if [[ ${fact[active]:-} == active && ${fact[running]:-} == "$wanted" && -n ${fact[node]:-} ]]; then
        if pong=$(client ping --json "$(peer_from_facts "$host")" 2>"$work/ping"); then
          if [[ $pong =~ \"settled\":\ ?true ]]; then return; fi
          why='it answers, but has not found its network'
        else
          why="it runs, but nothing reaches it over UDP port $port (open the port to everyone): $(head -n 1 "$work/ping")"
        fi
      fi
    else
      why='ssh does not reach it any more'
    fi
    sleep 0.5
  done
  failure="not ready after $wait_secs s: $why"
  return 1
}

# Puts a value through the host's node, and reads it back through it. Prints why not.
try_value() {
  local through identity=(--identity "$work/identity") publisher said
  through=(--bootstrap "$1" "${identity[@]}")
  if [[ ! -e $work/identity ]]; then client "${identity[@]}" identity new >/dev/null; fi
  publisher=$(client "${identity[@]}" --json identity show | sed -n 's/.*"identity" *: *"\([0-9a-f]\{64\}\)".*/\1/p')
  said=$(client "${through[@]}" put deployed "$version" --retention 8h --no-queue 2>&1) ||
    { printf 'a value cannot be put through it: %s' "$said"; return 1; }
  said=$(client "${through[@]}" get "$publisher" deployed 2>&1) ||
    { printf 'a value that was put cannot be read through it: %s' "$said"; return 1; }
  [[ $said == "$version" ]] || { printf 'another value is read through it than was put'; return 1; }
}

verify() {
  local host=$1 wanted=$2 began=$SECONDS why
  await_ready "$host" "$wanted" || return 1
  learn_or_fail "$host"
  peer_of[$host]=$(peer_from_facts "$host")
  say "$host" "ready through the network after $((SECONDS - began)) s: ${peer_of[$host]}"
  why=$(try_value "${peer_of[$host]}") || { failure=$why; return 1; }
  say "$host" 'a value was put and read through it'
}

# The next one waits until this node says that it is whole. One that was away for a moment says so at once; what was
# put meanwhile comes by repair, and until then a quorum of the others has it: only one node at a time is down.
await_whole() {
  local host=$1 deadline=$((SECONDS + WHOLE_LIMIT_SECS))
  until learn "$host" && [[ $(status_field whole) == true ]]; do
    [[ $SECONDS -lt $deadline ]] ||
      fail "$host is still being filled after $WHOLE_LIMIT_SECS s, and the next one is left as it is; run this again when $host is whole"
    sleep 0.5
  done
}

# --- the actions --------------------------------------------------------------------------------------

# Switches a host to a version with the configuration in $work/config; goes back unless it works.
switch_host() {
  local host=$1 target=$2 before=${fact[current]:-}
  others_answer "$host"
  changing=$host
  tar --create --directory "$work/config" . | on_host "$host" switch "$target" ||
    go_back "$host" 'the switch itself failed, as said above'
  if [[ $before == "$target" ]]; then
    say "$host" "restarted $target with the configuration given"
  else
    say "$host" "switched ${before:+from $before }to $target and started"
  fi
  if ! verify "$host" "$target"; then go_back "$host" "$failure"; fi
  on_host "$host" settle </dev/null
  changing=
}

go_back() {
  local host=$1 before why=$2
  say "$host" "FAILED: $why" >&2
  on_host "$host" undo </dev/null ||
    fail "$host could not be brought back; look at it: deployment/deploy.sh status $host"
  changing=
  # Not always what was current before: a switch that was interrupted earlier is undone, too.
  learn_or_fail "$host"
  before=${fact[current]:-}
  if [[ -z $before ]]; then
    fail "$host was brought back to where nothing is installed; correct what is said above, then deploy again"
  fi
  # Network and port may be others than those of the configuration that failed.
  config_there "$host"
  if verify "$host" "$before"; then
    fail "$host was rolled back to $before, which is ready; the hosts after it are as they were"
  fi
  fail "$host was rolled back to $before, which is not ready either ($failure); see journalctl -u dht-bootstrap there"
}

deploy_host() {
  local host=$1 wanted_config same_config=false
  learn_or_fail "$host"
  config_for "$host"
  note_peer "$host"
  wanted_config=$(config_hash)
  if [[ $wanted_config == "${fact[config]:-}" ]]; then same_config=true; fi
  if [[ ${fact[current]} == "$version" && ${fact[running]:-} == "$version" && $same_config == true &&
    ${fact[placed]} == all && ${fact[enabled]} == enabled && -z ${fact[unfinished]:-} ]]; then
    say "$host" "runs $version already; nothing to change"
    if [[ $dry_run == true ]]; then return; fi
    verify "$host" "$version" ||
      fail "$host runs $version, but $failure; go back with: deployment/deploy.sh rollback $host"
    return
  fi
  if [[ $dry_run == true ]]; then
    say "$host" "would switch ${fact[current]:+from ${fact[current]} }to $version$(
      [[ $same_config == true ]] || echo ' with the configuration given'), restart, and verify through the network"
    return
  fi
  if [[ " ${fact[versions]:-} " != *" $version "* ]]; then
    tar --create --directory "$work/build" . | gzip --fast | on_host "$host" receive "$version" ||
      fail "$host: nothing was changed there; mend what is said above, then deploy again"
    say "$host" "has the programs of $version"
  fi
  switch_host "$host" "$version"
}

deploy() {
  local host last=$((${#hosts[@]} - 1)) index
  stage
  printf 'Deploying %s.\n' "$version"
  for host in "${hosts[@]}"; do
    check_host "$host"
    config_for "$host"
    note_peer "$host"
  done
  for index in "${!hosts[@]}"; do
    host=${hosts[$index]}
    deploy_host "$host"
    if [[ $index -lt $last && $dry_run == false ]]; then await_whole "$host"; fi
  done
  if [[ $dry_run == true ]]; then printf 'Nothing was changed.\n'; else printf 'Deployed: %s.\n' "${hosts[*]}"; fi
}

rollback() {
  local host
  for host in "${hosts[@]}"; do
    learn_or_fail "$host"
    if [[ -n ${fact[unfinished]:-} ]]; then
      fail "$host: its last deployment was interrupted; deploy again, which either completes or undoes it"
    fi
    [[ -n ${fact[previous]:-} ]] || fail "$host: nothing ran before ${fact[current]:-}; there is nothing to go back to"
    rm -rf "$work/config"
    mkdir "$work/config"
    on_host "$host" previous-config </dev/null | tar --extract --no-same-owner --directory "$work/config" ||
      fail "$host: the configuration that ran before cannot be read; deploy it with --config instead"
    read_config
    if [[ $dry_run == true ]]; then
      say "$host" "would switch from ${fact[current]} back to ${fact[previous]}"
      continue
    fi
    version=${fact[previous]}
    switch_host "$host" "$version"
    if [[ $host != "${hosts[-1]}" ]]; then await_whole "$host"; fi
  done
}

status() {
  local host all_ready=true state
  for host in "${hosts[@]}"; do
    if ! learn "$host"; then
      say "$host" 'cannot be asked; see what ssh says above'
      all_ready=false
      continue
    fi
    if [[ -z ${fact[current]:-} ]]; then
      say "$host" 'not installed'
      all_ready=false
      continue
    fi
    config_for "$host"
    state="service ${fact[active]}"
    if [[ -n ${fact[node]} ]] && client ping --json "$(peer_from_facts "$host")" 2>/dev/null | grep -qE '"settled": ?true'; then
      state="ready at $(peer_from_facts "$host")"
    else
      state="NOT ready through the network, $state${fact[text]:+ (${fact[text]})}"
      all_ready=false
    fi
    say "$host" "$state, ${fact[running]:-none} of ${fact[current]} runs, up $(status_field uptime_secs) s, previous ${fact[previous]:-none}${fact[unfinished]:+, a deployment was interrupted}"
  done
  [[ $all_ready == true ]]
}

uninstall() {
  local host keeping='; data and configuration stay'
  if [[ $purge == true ]]; then keeping=' with data, identity and configuration'; fi
  for host in "${hosts[@]}"; do
    learn_or_fail "$host"
    if [[ $dry_run == true ]]; then
      say "$host" "would remove ${fact[current]:-nothing}$keeping"
      continue
    fi
    on_host "$host" uninstall "$([[ $purge == false ]] || echo purge)" </dev/null
    say "$host" "removed ${fact[current]:-nothing}$keeping"
  done
}

clean_up() {
  local status=$?
  if [[ -n $changing ]]; then
    printf 'deploy: interrupted while %s was being switched; run the same again, which completes or undoes it\n' "$changing" >&2
  fi
  if [[ -n $revision && -d $root/target/deploy/$revision ]]; then
    git -C "$root" worktree remove --force "$root/target/deploy/$revision" || true
  fi
  rm -rf "$work"
  exit "$status"
}

parse() {
  local value first=true
  while [[ $# -gt 0 ]]; do
    case $1 in
      --dry-run) dry_run=true ;;
      --purge) purge=true ;;
      --config | --version | --bin-dir | --wait | --ssh-config)
        [[ $# -ge 2 ]] || usage
        value=$2
        case $1 in
          --config) config=$value ;;
          --version) revision=$value ;;
          --bin-dir) bin_dir=$value ;;
          --wait) wait_secs=$value ;;
          --ssh-config) ssh_config=$value ;;
        esac
        shift
        ;;
      -*) usage ;;
      deploy | rollback | status | uninstall)
        if [[ $first == true ]]; then action=$1; else hosts+=("$1"); fi
        first=false
        ;;
      *)
        hosts+=("$1")
        first=false
        ;;
    esac
    shift
  done
  [[ ${#hosts[@]} -gt 0 && $wait_secs =~ ^[1-9][0-9]{0,4}$ ]] || usage
  [[ $purge == false || $action == uninstall ]] || usage
  [[ $action == deploy || -z $config$revision ]] || usage
  [[ -z $revision || -z $bin_dir ]] || usage
  [[ -z $config || -r $config ]] || fail "$config cannot be read; check its name"
}

parse "$@"
work=$(mktemp -d)
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
ssh_options=(-o BatchMode=yes -o "ConnectTimeout=$SSH_LIMIT_SECS" -o ServerAliveInterval=5 -o ServerAliveCountMax=3)
if [[ -n $ssh_config ]]; then ssh_options+=(-F "$ssh_config"); fi
declare -A user_of=()
for host in "${hosts[@]}"; do user_of[$host]=$(ssh_setting "$host" user); done
# Only deploying builds; the other actions ask with the programs that the last deployment built.
if [[ $action != deploy && $action != uninstall && -z $bin_dir ]]; then
  bin_dir=${CARGO_TARGET_DIR:-$root/target}/release
  [[ -x $bin_dir/dht-client && -x $bin_dir/dht-bootstrap ]] ||
    fail "there are no programs in $bin_dir to ask with; build them (cargo build --release --locked --workspace), or name others with --bin-dir"
fi
"$action"
