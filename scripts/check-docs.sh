#!/usr/bin/env bash
# Checks that the documents speak of what is there: every relative link leads to a file, and every
# file that is named in `code` exists somewhere in the checkout under that name, except places on a host (`/etc/...`).
#
#   scripts/check-docs.sh [FILE.md...]     all documents unless some are given
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

documents=("$@")
if [[ ${#documents[@]} -eq 0 ]]; then documents=(./*.md docs/*.md); fi
files=$(find . -type f -not -path './.git/*' -not -path '*/target/*')
faults=0

fault() {
  printf '%s: %s\n' "$1" "$2" >&2
  faults=$((faults + 1))
}

for document in "${documents[@]}"; do
  [[ -r $document ]] || { fault "$document" 'there is no such document'; continue; }
  while IFS= read -r link; do
    [[ -e $(dirname "$document")/${link%%#*} ]] || fault "$document" "links to $link, which is not there"
  done < <(grep -oP '\]\(\K(?!https?:|#|mailto:)[^)\s]+' "$document" || true)
  while IFS= read -r name; do
    [[ $files$'\n' == *"/${name#./}"$'\n'* ]] || fault "$document" "names $name, which is not there"
  done < <(grep -oP '\x60\K[A-Za-z0-9_.-][A-Za-z0-9_./-]*\.(rs|sh|md|toml)(?=[\x60 ])' "$document" | sort -u || true)
done
if [[ $faults -ne 0 ]]; then
  printf 'check-docs: %d faults; correct the documents above, or bring the files\n' "$faults" >&2
  exit 1
fi
printf '%d documents speak of what is there\n' "${#documents[@]}"
