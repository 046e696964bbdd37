#!/usr/bin/env bash
# Builds the Debian package dht-bootstrap: both programs, the units, the system user, an example, and what operators read.
#
#   deployment/build-deb.sh [--bin-dir DIR] [--out DIR]
#
#   --bin-dir DIR  takes the programs from DIR instead of building them
#   --out DIR      writes the package to DIR (default: target/debian)
#
# dpkg-deb alone makes it: the package has a dozen files and four short scripts (deployment/debian), for which
# another tool would be one more thing to install. It runs on the Debian it is built on, and newer ones. The same
# programs give the same package, bit for bit.
set -euo pipefail
root=$(dirname "$(dirname "$(realpath "${BASH_SOURCE[0]}")")")
export PATH="$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"

PACKAGE=dht-bootstrap
PROGRAMS=(dht-bootstrap dht-client)

bin_dir=
out=

fail() {
  printf 'build-deb: %s\n' "$1" >&2
  exit 1
}

usage() {
  echo 'usage: deployment/build-deb.sh [--bin-dir DIR] [--out DIR]' >&2
  exit 2
}

while [[ $# -gt 0 ]]; do
  [[ $# -ge 2 ]] || usage
  case $1 in
    --bin-dir) bin_dir=$2 ;;
    --out) out=$2 ;;
    *) usage ;;
  esac
  shift 2
done
for tool in dpkg-deb dpkg-shlibdeps; do
  command -v "$tool" >/dev/null || fail "$tool is missing; install it: apt-get install dpkg-dev"
done
if [[ -z $bin_dir ]]; then
  "$root/scripts/prepare.sh" build
  (cd "$root" && cargo build --release --locked --workspace --bin dht-bootstrap --bin dht-client)
  bin_dir=${CARGO_TARGET_DIR:-$root/target}/release
fi
: "${out:=${CARGO_TARGET_DIR:-$root/target}/debian}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/$PACKAGE
doc=$tree/usr/share/doc/$PACKAGE

for program in "${PROGRAMS[@]}"; do
  [[ -x $bin_dir/$program ]] || fail "there is no $program in $bin_dir; build it there, or leave --bin-dir out"
  install -D -m 755 "$bin_dir/$program" "$tree/usr/bin/$program"
done
for unit in "$root"/systemd/*.service "$root"/systemd/*.timer; do
  if [[ -e $unit ]]; then install -D -m 644 "$unit" "$tree/usr/lib/systemd/system/${unit##*/}"; fi
done
install -D -m 644 "$root/systemd/dht-bootstrap.sysusers" "$tree/usr/lib/sysusers.d/dht-bootstrap.conf"
install -D -m 644 "$root/deployment/dht-bootstrap.toml" "$doc/examples/dht-bootstrap.toml"
# Where the configuration, the network file and its list belong.
install -d -m 755 "$tree/etc/dht-bootstrap"
install -m 644 "$root"/docs/{OPERATIONS,PROTOCOL}.md "$root/deployment/prometheus/alerts.yml" "$root/deployment/grafana/dashboard.json" "$doc/"
cat "$root/LICENSE-MIT" "$root/LICENSE-APACHE" >"$doc/copyright"
chmod 644 "$doc/copyright"

number=$("$bin_dir/dht-bootstrap" --version | sed -n 's/^dht-bootstrap \([0-9][0-9A-Za-z.+~-]*\)$/\1/p')
[[ -n $number ]] || fail "$bin_dir/dht-bootstrap does not say its version; build it anew"
# dpkg-shlibdeps wants to be in a source package; of this file it reads nothing that matters here.
mkdir "$work/debian"
printf 'Source: %s\n\nPackage: %s\nArchitecture: any\n' "$PACKAGE" "$PACKAGE" >"$work/debian/control"
libraries=$(cd "$work" && dpkg-shlibdeps --warnings=0 -O "$tree"/usr/bin/* | sed -n 's/^shlibs:Depends=//p')
[[ -n $libraries ]] || fail 'dpkg-shlibdeps names no library; see what it says above'

mkdir "$tree/DEBIAN"
install -m 755 "$root"/deployment/debian/{preinst,postinst,prerm,postrm} "$tree/DEBIAN/"
cat >"$tree/DEBIAN/control" <<CONTROL
Package: $PACKAGE
Version: $number
Architecture: $(dpkg --print-architecture)
Maintainer: the operators of this network <root@localhost>
Depends: $libraries, systemd (>= 252)
Section: net
Priority: optional
Installed-Size: $(du -sk "$tree/usr" | cut -f 1)
Description: persistent node of a Kademlia DHT over QUIC, and its client
 Keeps signed values in its own database until the expiry that their publisher signed, and says
 truthfully whether it works. dht-client puts values, gets them, and asks nodes how they are.
CONTROL

# The time of the last commit, so that the same content gives the same bytes.
SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH
mkdir -p "$out"
dpkg-deb --build --root-owner-group -Zgzip "$tree" "$out/${PACKAGE}_${number}_$(dpkg --print-architecture).deb" >/dev/null
printf '%s\n' "$out/${PACKAGE}_${number}_$(dpkg --print-architecture).deb"
