# shellcheck shell=bash
# What deployment/deploy.sh, which sources this file, does with a node's configuration: a set of files in one folder.
#
#   config.toml     the configuration
#   NAME.toml       the network file, if the configuration names one: from beside it, under the name it has there
#   NAME.registry   the signed list of that, if there is one
#
# The set is laid out in $work/config, for one host at a time. `$bin_dir`, `$config` and what runs on a host are the
# sourcing script's.
# shellcheck disable=SC2154,SC2034  # what the sourcing script sets and reads

# How a network file is called. The names beside it are others' in the folder that it comes to.
NETWORK_FILE_NAME='^[A-Za-z0-9][A-Za-z0-9._-]*\.toml$'
NAMES_TAKEN=(config.toml fleet.toml)

# What the node says of a configuration that it can use, as one line of JSON.
shape_of() {
  "$bin_dir/dht-bootstrap" check-config --json --config "$1" ||
    fail 'correct the configuration as the sentence above says (a network file lies beside it, and is named without a folder), then run this again'
}

network_file_of() { sed -n 's/.*"network_file":"\([^"]*\)".*/\1/p' <<<"$1"; }

lies_beside() {
  [[ ${1%/*} == "${2%/*}" ]] ||
    fail "the configuration names the network file $1 by its folder, which the host may not have; put the file beside the configuration, and write its name alone: network_file = \"${1##*/}\""
}

# Lays out a configuration in $work/config: config.toml, the network file that it names, and the signed list of that.
lay_out() {
  local given shape file list
  given=$(realpath --no-symlinks "$1")
  rm -rf "$work/config"
  mkdir "$work/config"
  cp "$given" "$work/config/config.toml"
  shape=$(shape_of "$given") || exit
  file=$(network_file_of "$shape")
  if [[ -n $file ]]; then
    lies_beside "$file" "$given"
    [[ ${file##*/} =~ $NETWORK_FILE_NAME && " ${NAMES_TAKEN[*]} " != *" ${file##*/} "* ]] ||
      fail "the network file ${file##*/} cannot be brought under this name; call it NETWORK.toml, of letters and digits, and not ${NAMES_TAKEN[*]}"
    cp "$file" "$work/config/"
    list=${file%.*}.registry
    if [[ -e $list ]]; then cp "$list" "$work/config/"; fi
  fi
  read_config
}

# Sets network and port from the configuration in $work/config, which it thereby checks.
read_config() {
  local shape file
  shape=$(shape_of "$work/config/config.toml") || exit
  network=$(sed -n 's/.*"network":"\([^"]*\)".*/\1/p' <<<"$shape")
  port=$(sed -n 's/.*"listen":\["[^"]*:\([0-9]*\)".*/\1/p' <<<"$shape")
  [[ -n $network && -n $port ]] || fail "$bin_dir/dht-bootstrap does not say network and port of the configuration; build it anew"
  [[ $shape == *'"data_dir":"/var/lib/dht-bootstrap"'* ]] ||
    fail 'the configuration names another data_dir than /var/lib/dht-bootstrap, which is all that the service may write; remove the line'
  file=$(network_file_of "$shape")
  [[ -z $file ]] || lies_beside "$file" "$work/config/config.toml"
}

# Names a configuration by its content, as on-host.sh does.
config_hash() { (cd "$work/config" && export LC_ALL=C && sha256sum -- * | sha256sum | cut -d ' ' -f 1); }

# Lays out the configuration that a host has.
config_there() {
  rm -rf "$work/there"
  mkdir "$work/there"
  on_host "$1" config </dev/null | tar --extract --no-same-owner --directory "$work/there" ||
    fail "$1: its configuration cannot be read; run this again"
  lay_out "$work/there/config.toml"
}

# Lays out the configuration that a host is to have.
config_for() {
  if [[ -n $config ]]; then lay_out "$config"; else config_there "$1"; fi
}
