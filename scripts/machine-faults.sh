# shellcheck shell=bash
# The cases of scripts/test-machines.sh, which sources this file, in which a machine or its network fails, and those
# in which a node leaves its machine. It uses the functions of scripts/machine-cases.sh.
# shellcheck disable=SC2154,SC2034  # what the sourcing script and that file set and read

# A node notices that nothing reaches it by its own requests and by who keeps silent.
READINESS_FALLS_LIMIT_SECS=180
READINESS_HEALS_LIMIT_SECS=180
# The unit's WatchdogSec, the restart, and joining again.
WATCHDOG_LIMIT_SECS=120
SMALL_DISK_MIB=700

# Remembers a node's process and starts, to show later that it was left running.
note_process() {
  noted_process=$(process_of "$1")
  noted_restarts=$(property "$1" NRestarts)
}

still_that_process() {
  [[ $(process_of "$1") == "$noted_process" && $(property "$1" NRestarts) == "$noted_restarts" ]] ||
    fail "node $1 was restarted, though nothing was wrong with it but its network"
}

# Nothing reaches the node, or nothing it sends arrives: it says so, is left running, and is well again after.
outside_block() {
  local number=$1 begin=$2 end=$3
  note_process "$number"
  readiness_is "$number" 200 || fail "node $number is not ready to begin with"
  $begin "$number"
  await "$READINESS_FALLS_LIMIT_SECS" 'readiness fell' readiness_is "$number" 503
  await "$AWAIT_LIMIT_SECS" 'health is 2' health_is 2
  away=$number
  [[ $machines -lt 3 ]] || put_values "without-$number"
  away=
  $end "$number"
  await "$READINESS_HEALS_LIMIT_SECS" 'readiness is back' readiness_is "$number" 200
  await "$AWAIT_LIMIT_SECS" 'health is 0' health_is 0
  still_that_process "$number"
  [[ $machines -lt 3 ]] || read_values "without-$number"
}

cut_cable() { machine_cable "$1" down; }
mend_cable() { machine_cable "$1" up; }

case_cut_network() { outside_block "$machines" cut_cable mend_cable; }

# From outside only: over loopback the watchdog asks the node itself, and a rule that hits that has it restarted.
block_port() {
  machine_ssh "$1" "nft -f - <<'RULES'
table inet test {
  chain input {
    type filter hook input priority 0
    iifname != lo udp dport $PORT drop
  }
}
RULES" </dev/null
}

open_port() { machine_ssh "$1" nft delete table inet test; }

case_blocked_port() { outside_block 1 block_port open_port; }

does_not_answer() { ! client --timeout 3 ping "$(peer "$1")" >/dev/null 2>&1; }

# Its network thread stands still for ever, while the process lives: only the watchdog notices.
case_wedged() {
  local before
  machine_ssh 2 "mkdir -p /etc/systemd/system/dht-bootstrap.service.d
    printf '[Service]\nExecStart=\nExecStart=/usr/bin/dht-bootstrap run --config /etc/dht-bootstrap/config.toml --debug-wedge-on-usr2\n' \
      >/etc/systemd/system/dht-bootstrap.service.d/wedge.conf
    systemctl daemon-reload && systemctl restart dht-bootstrap"
  await "$AWAIT_LIMIT_SECS" 'health is 0' health_is 0
  put_values wedged
  before=$(process_of 2)
  machine_ssh 2 systemctl kill --signal=USR2 --kill-whom=main dht-bootstrap
  # One question and not all of health, which may take longer than the watchdog.
  await "$AWAIT_LIMIT_SECS" 'it does not answer, while the process lives' does_not_answer 2
  [[ $(process_of 2) == "$before" ]] || fail 'the node ended instead of standing still; that proves nothing of the watchdog'
  await "$WATCHDOG_LIMIT_SECS" 'the watchdog had it restarted' runs_another_process 2 "$before"
  machine_ssh 2 journalctl --no-pager -u dht-bootstrap | grep -qi 'watchdog' || fail 'the journal does not tell of the watchdog'
  machine_ssh 2 "rm -r /etc/systemd/system/dht-bootstrap.service.d; systemctl daemon-reload; systemctl restart dht-bootstrap"
  await "$AWAIT_LIMIT_SECS" 'health is 0' health_is 0
  read_values wedged
}

# Whether every machine takes a put, so that each one's answer decides.
all_take_writes() { through 2 put "room-$RANDOM$RANDOM" 'is there room?' --quorum "$machines" --no-queue >"$cases_dir/full" 2>&1; }
refuses_for_room() { ! all_take_writes && grep -qi 'full\|room' "$cases_dir/full"; }

# Its disk is made small, and filled by somebody else.
case_full_disk() {
  local number=2 state=/var/lib/dht-bootstrap
  put_values before-full
  machine_ssh "$number" "systemctl stop dht-bootstrap && cp -a $state /var/tmp/kept &&
    mount -t tmpfs -o size=${SMALL_DISK_MIB}M small $state && cp -a /var/tmp/kept/. $state/ &&
    chown --reference=/var/tmp/kept $state && chmod --reference=/var/tmp/kept $state && systemctl start dht-bootstrap"
  await "$AWAIT_LIMIT_SECS" 'health is 0 with a small disk' health_is 0
  note_process "$number"
  machine_ssh "$number" "dd if=/dev/zero of=$state/filler bs=1M status=none || true; df --output=avail $state | tail -n 1" |
    sed 's/^ */  KiB free on its disk: /'
  await "$AWAIT_LIMIT_SECS" 'health is 1, before anybody puts' health_is 1
  await "$AWAIT_LIMIT_SECS" 'a put that needs it is refused, as there is no room' refuses_for_room
  sed 's/^/  | /' "$cases_dir/full"
  [[ $(through "$number" get "$publisher" before-full-1 --consistency one) == 'value 1 of before-full' ]] ||
    fail 'a full node does not serve what it holds'
  read_values before-full
  still_that_process "$number"
  machine_ssh "$number" rm "$state/filler"
  await "$AWAIT_LIMIT_SECS" 'with room again it takes writes' all_take_writes
  still_that_process "$number"
  machine_ssh "$number" "systemctl stop dht-bootstrap && rm -rf /var/tmp/kept/* && cp -a $state/. /var/tmp/kept/ && umount $state &&
    rm -rf $state && mv /var/tmp/kept $state && systemctl start dht-bootstrap"
  await "$AWAIT_LIMIT_SECS" 'health is 0' health_is 0
}

# As docs/OPERATIONS.md says it: a backup is made while the node is stopped, and another machine takes over its name.
case_move_to_new_machine() {
  local number=$machines before
  before=${node_of[$number]}
  put_values moved
  machine_ssh "$number" 'systemctl disable --now dht-bootstrap && tar -C /var/lib -cf - dht-bootstrap' >"$cases_dir/backup.tar"
  cp "$cases_dir/config.toml" "$cases_dir/moved.toml"
  machine_power_off "$number"
  machine_remove "$number"
  rm -rf --one-file-system "${machines_dir:?}/m$number"
  : >"$machines_dir/known_hosts"
  machine_start "$number"
  machine_await "$number"
  say 'the old machine is gone, a fresh one has its address'
  ssh -F "$machines_ssh_config" "m$number" 'tar -C /var/lib -xf -' <"$cases_dir/backup.tar"
  deploy_with "$bin_dir" "m$number" --config "$cases_dir/moved.toml"
  learn_nodes
  [[ ${node_of[$number]} == "$before" ]] || fail 'the node has another name on its new machine'
  await "$AWAIT_LIMIT_SECS" 'health is 0' health_is 0
  read_values moved
}

case_debian_package() {
  local number=$machines before=${node_of[$machines]} package
  deployment/build-deb.sh --bin-dir "$bin_dir" --out "$cases_dir" >/dev/null
  package=$(find "$cases_dir" -name 'dht-bootstrap_*.deb')
  [[ $(dpkg-deb --contents "$package") == *' ./etc/dht-bootstrap/'* ]] || fail 'the package makes no folder for the configuration'
  put_values packaged
  deploy uninstall "m$number"
  scp -q -F "$machines_ssh_config" "$package" "m$number:/root/dht-bootstrap.deb"
  machine_ssh "$number" dpkg --install /root/dht-bootstrap.deb
  await "$AWAIT_LIMIT_SECS" 'health is 0 with the package' health_is 0
  [[ $(machine_ssh "$number" dht-bootstrap identity --data-dir /var/lib/dht-bootstrap) == "$before" ]] ||
    fail 'the package made another node of it'
  deploy_fails 'the Debian package is installed' deploy_with "$bin_dir" "m$number"
  before=$(process_of "$number")
  machine_ssh "$number" dpkg --install /root/dht-bootstrap.deb
  await "$AWAIT_LIMIT_SECS" 'an upgrade by the package restarts the node' runs_another_process "$number" "$before"
  await "$AWAIT_LIMIT_SECS" 'health is 0' health_is 0
  machine_ssh "$number" dpkg --remove dht-bootstrap
  machine_ssh "$number" 'test -e /var/lib/dht-bootstrap/node.key && ! grep -qsx dht-bootstrap /proc/[0-9]*/comm && ! test -e /usr/bin/dht-bootstrap' ||
    fail 'after its removal the package has left something, or took the data'
  machine_ssh "$number" dpkg --purge dht-bootstrap
  machine_ssh "$number" "$NOTHING_IS_LEFT" || fail 'after a purge something of the package is left'
  deploy_with "$bin_dir" "m$number" --config "$cases_dir/config.toml"
  learn_nodes
  await "$AWAIT_LIMIT_SECS" 'health is 0 with a new node in its place' health_is 0
  read_values packaged
}

# A purge leaves no file, user, unit or process.
# shellcheck disable=SC2016
NOTHING_IS_LEFT='left=$(find /usr/lib/dht-bootstrap /usr/bin/dht-bootstrap /usr/bin/dht-client /var/lib/dht-bootstrap /etc/dht-bootstrap \
    /usr/lib/systemd/system/dht-* /etc/systemd/system -name "*dht-*" 2>/dev/null
  getent passwd dht-bootstrap; getent group dht-bootstrap; grep -sx dht-bootstrap /proc/[0-9]*/comm
  systemctl list-units --all --no-legend "dht-*")
  if [ -n "$left" ]; then echo "left: $left" >&2; exit 1; fi'

# The last case: removed, installed again with its data and name, and then purged.
case_uninstall() {
  local number=$machines before=${node_of[$machines]}
  deploy uninstall "m$number" --dry-run
  [[ $(property "$number" ActiveState) == active ]] || fail 'a dry run of uninstall stopped the node'
  deploy uninstall "m$number"
  machine_ssh "$number" 'test -e /var/lib/dht-bootstrap/node.key && test -e /etc/dht-bootstrap/config.toml' ||
    fail 'uninstall took data or configuration'
  machine_ssh "$number" '! test -e /usr/bin/dht-bootstrap && ! grep -qsx dht-bootstrap /proc/[0-9]*/comm' || fail 'uninstall left the node'
  deploy_with "$bin_dir" "m$number"
  learn_nodes
  [[ ${node_of[$number]} == "$before" ]] || fail 'installed again, the node has another name'
  await "$AWAIT_LIMIT_SECS" 'health is 0, installed again' health_is 0
  deploy uninstall "m$number" --purge
  machine_ssh "$number" "$NOTHING_IS_LEFT" || fail 'after a purge something is left'
  deploy uninstall "m$number"
  if deploy status "m$number" --bin-dir "$bin_dir"; then fail 'status says that a host without a node is well'; fi
}
