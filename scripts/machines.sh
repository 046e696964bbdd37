# shellcheck shell=bash
# Small Debian machines on this one, for scripts/test-machines.sh, which sources this file.
#
# Each machine is a container of systemd-nspawn that boots Debian's own systemd and sshd, in a network namespace
# of its own; a bridge joins them and this machine. The base system comes by debootstrap once, and is kept in
# ${XDG_CACHE_HOME:-/var/cache}/dht-machines, one for each release of Debian. A machine's disk is an overlay over it (or a copy), so a
# fresh one takes no time, and nothing of it stays. Names and addresses hold this process's id, so that several runs do not meet,
# and what is ended is what this process started.
#
#   machines_missing     what this machine lacks for it, or nothing
#   machines_base        the base system
#   machines_begin       the bridge, a key
#   machine_start N      a fresh machine N, from 1 on, begins to boot
#   machine_await N      returns when it has booted, and answers by ssh
#   machine_ssh N WORDS  a command there, as root
#   machine_inside N WORDS  a program of this machine in N's network, for when ssh is cut off
#   machines_end         ends and removes all

MACHINES_PACKAGES=systemd,systemd-sysv,dbus,openssh-server,iproute2,nftables,sudo
MACHINES_TOOLS=(debootstrap systemd-nspawn ip ssh ssh-keygen flock unshare)
# What nspawn exits with when the machine reboots and its unit is not its own.
MACHINE_REBOOTS=133
MACHINE_BOOT_LIMIT_SECS=60
MACHINE_STOP_LIMIT_SECS=5
# A user beside root, who may sudo.
MACHINES_USER=deployer

# Which Debian the machines are; this machine's own unless it is set.
machines_debian=
machines_dir=
machines_net=
machines_bridge=dhtm$$
declare -A machine_runner=()

machines_missing() {
  local tool missing=()
  if [[ $(id -u) -ne 0 ]]; then
    printf 'root'
    return
  fi
  for tool in "${MACHINES_TOOLS[@]}"; do
    command -v "$tool" >/dev/null 2>&1 || missing+=("$tool")
  done
  if [[ ${#missing[@]} -gt 0 ]]; then
    printf '%s' "${missing[*]}"
  elif ! unshare --mount --net true 2>/dev/null; then
    printf 'the right to make namespaces'
  fi
}

machine_address() { printf '%s.%d' "$machines_net" "$1"; }
machine_namespace() { printf '%s-%d' "$machines_bridge" "$1"; }

# Makes the base system unless it is there. Its name holds what it is made of.
machines_base() {
  local cache recipe debian=${machines_debian:-$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)}
  cache=${XDG_CACHE_HOME:-/var/cache}/dht-machines
  recipe=$(sha256sum <<<"$debian $MACHINES_PACKAGES $MACHINES_USER $(declare -f machines_base_settings)" | cut -c 1-8)
  machines_base=$cache/$debian-$recipe
  mkdir -p "$cache"
  exec {machines_lock}>"$cache/lock"
  flock "$machines_lock"
  if [[ ! -d $machines_base ]]; then
    printf 'Making the base system: Debian %s, by debootstrap. It is kept in %s.\n' "$debian" "$cache"
    rm -rf "$machines_base.new"
    debootstrap --variant=minbase --include="$MACHINES_PACKAGES" "$debian" "$machines_base.new" \
      "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$cache/debootstrap.log" 2>&1 ||
      { tail -n 5 "$cache/debootstrap.log" >&2; return 1; }
    machines_base_settings "$machines_base.new"
    mv -T "$machines_base.new" "$machines_base"
  fi
  flock --unlock "$machines_lock"
  exec {machines_lock}>&-
}

machines_base_settings() {
  local base=$1
  chroot "$base" useradd --create-home --shell /bin/bash "$MACHINES_USER"
  printf '%s ALL=(ALL) NOPASSWD: ALL\n' "$MACHINES_USER" >"$base/etc/sudoers.d/$MACHINES_USER"
  # They would reach for a network that is not there.
  chroot "$base" systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer
  rm -rf "$base"/var/cache/apt/archives/*.deb "$base/etc/resolv.conf"
}

# A network that this machine has no way to yet.
machines_pick_network() {
  local third
  for ((third = 1; third < 255; third++)); do
    if ! ip -4 route show to match "10.213.$third.1" | grep -qv '^default'; then
      machines_net=10.213.$third
      return
    fi
  done
  return 1
}

machines_begin() {
  machines_dir=$(mktemp -d /var/tmp/dht-machines.XXXXXX)
  machines_pick_network
  ip link add "$machines_bridge" type bridge
  ip addr add "$machines_net.254/24" dev "$machines_bridge"
  ip link set "$machines_bridge" up
  ssh-keygen -q -t ed25519 -N '' -C 'throw-away key of a test' -f "$machines_dir/key"
  machines_ssh_config=$machines_dir/ssh_config
  cat >"$machines_ssh_config" <<CONFIG
Host *
  User root
  IdentityFile $machines_dir/key
  IdentitiesOnly yes
  BatchMode yes
  StrictHostKeyChecking accept-new
  UserKnownHostsFile $machines_dir/known_hosts
  LogLevel ERROR
  ConnectTimeout 5
CONFIG
}

machine_start() {
  local number=$1 dir namespace
  dir=$machines_dir/m$number
  namespace=$(machine_namespace "$number")
  mkdir -p "$dir/upper" "$dir/work" "$dir/root"
  # An overlay cannot lie on an overlay, which is what containers have: then it is a copy.
  mount -t overlay overlay -o "lowerdir=$machines_base,upperdir=$dir/upper,workdir=$dir/work" "$dir/root" 2>/dev/null ||
    cp -a --reflink=auto "$machines_base/." "$dir/root/"
  printf 'm%d\n' "$number" >"$dir/root/etc/hostname"
  printf '127.0.0.1 localhost m%d\n::1 localhost\n' "$number" >"$dir/root/etc/hosts"
  install -D -m 600 "$machines_dir/key.pub" "$dir/root/root/.ssh/authorized_keys"
  install -D -m 644 "$machines_dir/key.pub" "$dir/root/home/$MACHINES_USER/.ssh/authorized_keys"
  ip netns add "$namespace"
  ip link add "$namespace" type veth peer name eth0 netns "$namespace"
  ip link set "$namespace" master "$machines_bridge" up
  ip -n "$namespace" addr add "$(machine_address "$number")/24" dev eth0
  ip -n "$namespace" link set lo up
  ip -n "$namespace" link set eth0 up
  printf 'Host m%d\n  HostName %s\n' "$number" "$(machine_address "$number")" >>"$machines_ssh_config"
  machine_run "$number" &
  machine_runner[$number]=$!
}

machine_await() {
  local number=$1 deadline=$((SECONDS + MACHINE_BOOT_LIMIT_SECS))
  until machine_ssh "$number" systemctl is-system-running --wait >/dev/null 2>&1; do
    [[ $SECONDS -lt $deadline ]] || { tail -n 20 "$machines_dir/m$number/console" >&2; return 1; }
    sleep 0.1
  done
}

# The control groups of a machine, in each hierarchy by which systemd knows its services' processes. Without one of its
# own the services of all machines would be one.
machine_cgroups() {
  local hierarchy
  for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    if [[ -e $hierarchy/cgroup.procs ]]; then printf '%s/%s\n' "$hierarchy" "$(machine_namespace "$1")"; fi
  done
}

# Becomes the machine.
machine_nspawn() {
  local number=$1 group
  for group in $(machine_cgroups "$number"); do
    mkdir -p "$group"
    printf '%d\n' "$BASHPID" >"$group/cgroup.procs"
  done
  exec setsid systemd-nspawn --quiet --directory="$machines_dir/m$number/root" --machine="m$number-$$" \
    --hostname="m$number" --boot --register=no --keep-unit --link-journal=no --resolv-conf=off --timezone=off \
    --console=pipe --network-namespace-path="/run/netns/$(machine_namespace "$number")" --capability=CAP_NET_ADMIN
}

# Runs a machine, again after each reboot, until it is powered off or killed.
machine_run() {
  local number=$1 dir status
  dir=$machines_dir/m$number
  trap - EXIT INT TERM
  # What bash says of a machine that was killed goes there, too.
  exec </dev/null >>"$dir/console" 2>&1
  while true; do
    status=0
    machine_nspawn "$number" &
    printf '%d\n' "$!" >"$dir/pid"
    wait "$!" || status=$?
    if [[ $status -ne $MACHINE_REBOOTS ]]; then return; fi
  done
}

machine_ssh() {
  local number=$1
  shift
  # shellcheck disable=SC2029
  ssh -F "$machines_ssh_config" "m$number" "$@" </dev/null
}

machine_inside() {
  local number=$1
  shift
  ip netns exec "$(machine_namespace "$number")" "$@"
}

# The machine's cable, as seen from the switch: `machine_cable N down`, and `up` again.
machine_cable() { ip link set "$(machine_namespace "$1")" "$2"; }

machine_power_off() { kill -TERM "$(<"$machines_dir/m$1/pid")" 2>/dev/null || true; }

# Waits for that, ends the machine at once if it takes long, and removes what it had.
machine_remove() {
  local number=$1 dir pid group deadline=$((SECONDS + MACHINE_STOP_LIMIT_SECS))
  dir=$machines_dir/m$number
  pid=$(<"$dir/pid")
  while kill -0 "$pid" 2>/dev/null; do
    if [[ $SECONDS -ge $deadline ]]; then kill -KILL "$pid" 2>/dev/null || true; fi
    sleep 0.1
  done
  wait "${machine_runner[$number]}" 2>/dev/null || true
  unset "machine_runner[$number]"
  if mountpoint --quiet "$dir/root"; then umount "$dir/root" || umount --lazy "$dir/root"; fi
  ip netns delete "$(machine_namespace "$number")"
  for group in $(machine_cgroups "$number"); do
    # Its last processes may still be ending.
    while [[ -d $group && $SECONDS -lt $((deadline + MACHINE_STOP_LIMIT_SECS)) ]]; do
      find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
    done
  done
}

machines_end() {
  local number
  for number in "${!machine_runner[@]}"; do machine_power_off "$number"; done
  for number in "${!machine_runner[@]}"; do machine_remove "$number"; done
  ip link delete "$machines_bridge" 2>/dev/null || true
  if [[ -n $machines_dir ]]; then rm -rf --one-file-system "$machines_dir"; fi
}
