#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What `meson install` puts where, in a folder of its own: package.sh BUILD SOURCE
#   the program, and the names by which mount(8) and umount(8) call it, which lead to it
#   every manual page of the source, and pages for these names
set -euo pipefail
build=$1 source=$2
work=$(mktemp -d "${TMPDIR:-/tmp}/stablefs-package.XXXXXX")
trap 'rm -rf "$work"' EXIT
die() {
	echo "package.sh: $*"
	exit 1
}

meson install -C "$build" --no-rebuild --quiet --destdir "$work/root"
program=$(find "$work/root" -path '*/bin/stablefs')
version=$("$program" --version)
for name in mount.stablefs mount.fuse.stablefs umount.stablefs umount.fuse.stablefs; do
	link=$(find "$work/root" -path "*/sbin/$name")
	[[ -L $link ]] || die "$name is not in sbin"
	[[ $(realpath "$link") == "$program" ]] || die "$name leads to $(readlink "$link")"
	# As mount(8) starts it: by its full name, with no PATH.
	[[ $(env -i "$link" --version) == "$name (stablefs) ${version#stablefs }" ]] ||
		die "$name does not know its name"
	status=0
	env -i "$link" 2>"$work/usage" || status=$?
	((status == 1)) && grep -q "^Usage: $name " "$work/usage" || die "$name without words: $status"
	page=$(find "$work/root" -path "*/man8/$name.8")
	grep -q '^.TH MOUNT.STABLEFS 8' "$page" || die "$name.8 is missing"
done
for page in "$source"/man/*.[1-8]; do
	cmp "$page" "$(find "$work/root" -path "*/man${page##*.}/${page##*/}")" ||
		die "${page##*/} is not installed: man/meson.build lists them"
done
