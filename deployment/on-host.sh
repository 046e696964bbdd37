#!/usr/bin/env bash
# What deployment/deploy.sh does on a host, as root. It sends this file to the host's bash, followed by what
# the action reads from its input; nobody starts it by hand.
#
#   /usr/lib/dht-bootstrap/VERSION/   programs, units and the system user of one build; never changed
#   /usr/lib/dht-bootstrap/current    a link to what the service runs
#   /usr/lib/dht-bootstrap/previous   a link to what ran before, for `rollback`
#   /usr/lib/dht-bootstrap/undo/      what to go back to, from a switch until it is verified; so an
#                                     interrupted deployment is undone by the next one that fails
#   /usr/lib/dht-bootstrap/placed     the files outside of this directory: in /usr/bin, units, the system user
#   /etc/dht-bootstrap/config.toml    the configuration; beside it the network file that it names, NAME.toml, and the
#                                     signed list of that, NAME.registry. All else in this folder is the operator's
#   /etc/dht-bootstrap/previous/      the same files of the configuration of `previous`
set -euo pipefail

SERVICE=dht-bootstrap
PROGRAMS=(dht-bootstrap dht-client)
LIB=/usr/lib/dht-bootstrap
ETC=/etc/dht-bootstrap
STATE=/var/lib/dht-bootstrap
UNITS=/usr/lib/systemd/system
SYSUSERS=/usr/lib/sysusers.d/dht-bootstrap.conf
CONFIG=$ETC/config.toml
# Beside the current and the previous one: for an operator who goes back further by hand.
VERSIONS_KEPT=3

fail() {
  printf '%s\n' "$1" >&2
  exit 1
}

# The name of the version that a link leads to, or nothing.
version_at() { if [[ -L $LIB/$1 ]]; then readlink "$LIB/$1"; fi; }

point() {
  ln -sfn "$2" "$LIB/$1.next"
  mv -T "$LIB/$1.next" "$LIB/$1"
}

property() { systemctl show --property="$1" --value "$SERVICE"; }

# The version whose program the service's process was started from.
running_version() {
  local pid program
  pid=$(property MainPID)
  program=$(readlink "/proc/$pid/exe" 2>/dev/null) || return 0
  program=${program% (deleted)}
  if [[ $program == "$LIB"/*/dht-bootstrap ]]; then
    program=${program%/*}
    printf '%s' "${program##*/}"
  fi
}

# What the running node says of itself, as one line of JSON, or nothing.
status_json() {
  local admin
  admin=$("$LIB/current/dht-bootstrap" check-config --json --config "$CONFIG" 2>/dev/null |
    sed -n 's/.*"admin":"\([^"]*\)".*/\1/p')
  if [[ -n $admin ]]; then
    "$LIB/current/dht-bootstrap" status --json --admin "$admin" 2>/dev/null | tr -d '\n'
  fi
}

# The files of the configuration, as the current program understands it; another one is asked while there is none.
config_files() {
  local program=$LIB/current/dht-bootstrap file
  if [[ ! -e $CONFIG ]]; then return; fi
  printf '%s\n' "${CONFIG##*/}"
  if [[ ! -x $program ]]; then program=$LIB/${1:-current}/dht-bootstrap; fi
  file=$("$program" check-config --json --config "$CONFIG" 2>/dev/null |
    sed -n 's/.*"network_file":"\([^"]*\)".*/\1/p') || true
  if [[ -n $file && ${file%/*} == "$ETC" ]]; then
    printf '%s\n' "${file##*/}"
    if [[ -e ${file%.*}.registry ]]; then basename "${file%.*}.registry"; fi
  fi
}

# Names the configuration by its content, as deploy.sh does.
config_hash() {
  local files
  mapfile -t files < <(config_files | LC_ALL=C sort)
  (cd "$ETC" && sha256sum -- "${files[@]}" | sha256sum | cut -d ' ' -f 1)
}

free_kib() {
  local place=$1
  until [[ -e $place ]]; do place=$(dirname "$place"); done
  df --output=avail "$place" | tail -n 1 | tr -d ' '
}

# One `name=value` a line: all that deploy.sh decides by.
facts() {
  printf 'root=%s\n' "$(id -u)"
  printf 'arch=%s\n' "$(uname -m)"
  # shellcheck source=/dev/null
  printf 'system=%s\n' "$(. /etc/os-release && echo "$PRETTY_NAME")"
  printf 'clock=%s\n' "$(date +%s)"
  printf 'programs_free_kib=%s\n' "$(free_kib "$LIB")"
  printf 'state_free_kib=%s\n' "$(free_kib "$STATE")"
  if [[ ! -d /run/systemd/system ]]; then return; fi
  printf 'systemd=%s\n' "$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')"
  if dpkg-query --show --showformat='${db:Status-Status}' "$SERVICE" 2>/dev/null | grep -qx installed; then
    printf 'package=installed\n'
  fi
  if [[ -e $CONFIG ]]; then printf 'config=%s\n' "$(config_hash)"; fi
  if [[ -d $LIB/undo ]]; then printf 'unfinished=yes\n'; fi
  printf 'versions=%s\n' "$(find "$LIB" -mindepth 2 -maxdepth 2 -name dht-bootstrap -not -path '*/receiving/*' -printf '%P ' 2>/dev/null | sed 's|/dht-bootstrap||g')"
  printf 'current=%s\n' "$(version_at current)"
  printf 'previous=%s\n' "$(version_at previous)"
  if [[ -n $(version_at current) ]]; then service_facts; fi
}

service_facts() {
  printf 'active=%s\n' "$(property ActiveState)"
  printf 'restarts=%s\n' "$(property NRestarts)"
  printf 'enabled=%s\n' "$(systemctl is-enabled "$SERVICE" 2>/dev/null || true)"
  printf 'running=%s\n' "$(running_version)"
  printf 'text=%s\n' "$(property StatusText)"
  printf 'node=%s\n' "$("$LIB/current/dht-bootstrap" identity --data-dir "$STATE" 2>/dev/null || true)"
  printf 'status=%s\n' "$(status_json || true)"
  printf 'placed=%s\n' "$(placed)"
  printf 'log=%s\n' "$(journalctl --quiet --no-pager --output=cat --unit "$SERVICE" --since=-2min --lines=50 2>/dev/null |
    grep "^$SERVICE: " | tail -n 1 || true)"
}

# Takes a build from the input, as tar, and shows that its programs run here.
receive() {
  local version=$1 program
  rm -rf "$LIB/receiving"
  mkdir -p "$LIB/receiving"
  tar --extract --gzip --no-same-owner --directory "$LIB/receiving"
  for program in "${PROGRAMS[@]}"; do
    "$LIB/receiving/$program" --version >/dev/null ||
      fail "$program does not run here; build it on the oldest system that you deploy to"
  done
  chmod -R u=rwX,go=rX "$LIB/receiving"
  rm -rf "${LIB:?}/$version"
  mv -T "$LIB/receiving" "$LIB/$version"
}

# Each file of an installation outside of LIB: its place, and what it is made from. Programs are links through
# `current`; units are copies, as systemctl enable takes a link for a foreign unit.
places() {
  local program unit
  for program in "${PROGRAMS[@]}"; do printf '%s %s\n' "/usr/bin/$program" "$LIB/current/$program"; done
  for unit in "$LIB"/current/*.service "$LIB"/current/*.timer; do
    if [[ -e $unit ]]; then printf '%s %s\n' "$UNITS/${unit##*/}" "$unit"; fi
  done
  printf '%s %s\n' "$SYSUSERS" "$LIB/current/dht-bootstrap.sysusers"
}

# `all` if every file of the installation is as it should be, else `some`.
placed() {
  local place source
  while read -r place source; do
    if ! cmp --quiet "$place" "$source"; then
      printf 'some'
      return
    fi
  done < <(places)
  printf 'all'
}

# Brings in what the current version has, and takes away what only another one had.
place() {
  local place source
  displace
  mkdir -p "$(dirname "$SYSUSERS")" "$UNITS"
  while read -r place source; do
    if [[ -e $place ]]; then fail "$place is there and not ours; remove it, then deploy again"; fi
    printf '%s\n' "$place" >>"$LIB/placed"
    if [[ $place == /usr/bin/* ]]; then ln -s "$source" "$place"; else install -m 644 "$source" "$place"; fi
  done < <(places)
  systemd-sysusers "$SYSUSERS"
  systemctl daemon-reload
}

displace() {
  local place
  if [[ ! -e $LIB/placed ]]; then return; fi
  while read -r place; do rm -f "$place"; done <"$LIB/placed"
  rm "$LIB/placed"
}

# Keeps what is here now, unless an earlier switch was never verified: then that one's is what worked.
remember() {
  if [[ -d $LIB/undo ]]; then return; fi
  rm -rf "$LIB/undo.next"
  mkdir -p "$LIB"/undo.next/{config,absent}
  version_at current >"$LIB/undo.next/current"
  version_at previous >"$LIB/undo.next/previous"
  if [[ -d $ETC/previous ]]; then cp -pr "$ETC/previous" "$LIB/undo.next/previous-config"; fi
  mv -T "$LIB/undo.next" "$LIB/undo"
}

# The same for one file of a configuration: that it was there, or that it was not.
remember_file() {
  local name=$1 undo=$LIB/undo
  if [[ -e $undo/config/$name || -e $undo/absent/$name ]]; then return; fi
  if [[ -e $ETC/$name ]]; then
    cp -p "$ETC/$name" "$undo/next"
    mv -T "$undo/next" "$undo/config/$name"
  else
    touch "$undo/absent/$name"
  fi
}

restart() {
  systemctl enable --quiet "$SERVICE"
  # A service that fails to start is stopped first: the wait that its failures have earned is forgotten by that.
  if [[ $(property ActiveState) != active ]]; then
    systemctl stop "$SERVICE"
    systemctl reset-failed "$SERVICE" 2>/dev/null || true
  fi
  systemctl restart --no-block "$SERVICE"
}

# Takes a configuration from the input, as tar, into $ETC/next, and sets `new` and `old` to the files of it and of the
# one that is here, with what a switch that was never verified brought or replaced.
receive_config() {
  rm -rf "$ETC/next"
  mkdir -p "$ETC/next"
  tar --extract --no-same-owner --directory "$ETC/next"
  [[ -e $ETC/next/${CONFIG##*/} ]] || fail 'the configuration did not arrive; deploy again'
  chmod 644 "$ETC"/next/*
  mapfile -t new < <(find "$ETC/next" -type f -printf '%f\n')
  mapfile -t old < <({
    config_files "$1"
    find "$LIB"/undo/{config,absent} -type f -printf '%f\n' 2>/dev/null
  } | sort -u)
}

# Makes the configuration that is here the previous one. Files that the new one replaces belong to it in any case.
keep_config() {
  local name
  rm -rf "$ETC/previous.next"
  mkdir "$ETC/previous.next"
  for name in "${old[@]}" "${new[@]}"; do
    if [[ -e $ETC/$name ]]; then cp -p "$ETC/$name" "$ETC/previous.next/$name"; fi
  done
  rm -rf "$ETC/previous"
  mv -T "$ETC/previous.next" "$ETC/previous"
}

# Brings in the new configuration. Until its config.toml is there, which comes last, the old one counts.
place_config() {
  local name
  for name in "${new[@]}"; do
    if [[ $name != "${CONFIG##*/}" ]]; then mv -T "$ETC/next/$name" "$ETC/$name"; fi
  done
  mv -T "$ETC/next/${CONFIG##*/}" "$CONFIG"
  for name in "${old[@]}"; do
    if [[ " ${new[*]} " != *" $name "* ]]; then rm -f "${ETC:?}/$name"; fi
  done
  rm -rf "$ETC/next"
}

# Runs another version, or the same with another configuration, which comes by the input.
switch() {
  local version=$1 before name old new
  [[ -d $LIB/$version ]] || fail "version $version is not here any more; deploy it"
  receive_config "$version"
  remember
  for name in "${old[@]}" "${new[@]}"; do remember_file "$name"; done
  before=$(version_at current)
  if [[ -n $before ]]; then
    point previous "$before"
    keep_config
  fi
  place_config
  point current "$version"
  place
  restart
}

# Makes everything as it was before the switch, running included.
undo() {
  local link version
  rm -rf "$ETC/next"
  # A switch that failed before it changed anything.
  if [[ ! -d $LIB/undo ]]; then return; fi
  undo_config
  for link in current previous; do
    version=$(<"$LIB/undo/$link")
    if [[ -n $version ]]; then
      point "$link" "$version"
    elif [[ $link == current ]]; then
      stop
      displace
      rm -f "$LIB/current"
      systemctl daemon-reload
    else
      rm -f "$LIB/previous"
    fi
  done
  if [[ -L $LIB/current ]]; then
    place
    restart
  fi
  rm -rf "$LIB/undo"
}

undo_config() {
  local name
  while read -r name; do cp -p "$LIB/undo/config/$name" "$ETC/$name"; done < <(find "$LIB/undo/config" -type f -printf '%f\n')
  while read -r name; do rm -f "${ETC:?}/$name"; done < <(find "$LIB/undo/absent" -type f -printf '%f\n')
  rm -rf "$ETC/previous" "$ETC/previous.next"
  if [[ -d $LIB/undo/previous-config ]]; then cp -pr "$LIB/undo/previous-config" "$ETC/previous"; fi
}

# The switch was verified: nothing is to be undone any more, and the oldest versions go.
settle() {
  local version kept=0
  rm -rf "$LIB/undo"
  while read -r version; do
    if [[ $version == "$(version_at current)" || $version == "$(version_at previous)" ]]; then continue; fi
    kept=$((kept + 1))
    if [[ $kept -gt $VERSIONS_KEPT ]]; then rm -rf "${LIB:?}/$version"; fi
  done < <(find "$LIB" -mindepth 1 -maxdepth 1 -type d -printf '%T@ %f\n' | sort -rn | cut -d ' ' -f 2)
}

stop() {
  local unit
  for unit in "$LIB"/current/*.timer "$LIB"/current/*.service; do
    if [[ -e $unit ]]; then systemctl disable --quiet --now "${unit##*/}" 2>/dev/null || true; fi
  done
  [[ $(property ActiveState) != active ]] || fail 'the service does not stop; see journalctl -u dht-bootstrap'
}

# Takes away all but data and configuration; `purge` takes these, too, and the system user.
uninstall() {
  if [[ -L $LIB/current ]]; then stop; fi
  displace
  rm -rf "$LIB"
  systemctl daemon-reload
  systemctl reset-failed "$SERVICE" dht-health 2>/dev/null || true
  if [[ ${1:-} == purge ]]; then
    rm -rf "$ETC" "$STATE"
    if getent passwd "$SERVICE" >/dev/null; then userdel "$SERVICE"; fi
  fi
}

# Sends what may belong to the configuration, as tar: deploy.sh takes of it what does, also where no program is left to tell.
send_config() {
  local files
  mapfile -t files < <(find "$ETC" -mindepth 1 -maxdepth 1 -xtype f \( -name '*.toml' -o -name '*.registry' \) -printf '%f\n')
  tar --create --dereference --directory "$ETC" -- "${files[@]}"
}

main() {
  case ${1:-} in
    facts) facts ;;
    receive) receive "$2" ;;
    switch) switch "$2" ;;
    undo) undo ;;
    settle) settle ;;
    uninstall) uninstall "${2:-}" ;;
    config) send_config ;;
    previous-config) tar --create --directory "$ETC/previous" . ;;
    *) fail 'deploy.sh starts this; see deployment/deploy.sh --help' ;;
  esac
}

# On one line: what follows it in the input is for the action, and bash must not read on for more to do.
main "$@"; exit
