#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A build of this project inside the mount, from sources that lie there, and its unit tests there.
. "$(dirname "$0")/lib.sh"

program "gcc, meson, ninja" "$(gcc -dumpfullversion), $(meson --version), $(ninja --version)"
begin 3G
export CCACHE_DISABLE=1

copy_sources() {
	mkdir "$mnt/src" "$mnt/tmp" && tar -C "$top_dir" --exclude='./build*' --exclude=./.git -cf - . |
		tar -C "$mnt/src" -xf -
}

in_sources() { (cd "$mnt/src" && "$@"); }

configure() { in_sources meson setup build >"$scratch/meson.log" || { tail "$scratch/meson.log"; return 1; }; }
compile() {
	in_sources ninja -C build >"$scratch/ninja.log" || { tail -n 30 "$scratch/ninja.log"; return 1; }
}
again() {
	compile && grep -q 'no work to do' "$scratch/ninja.log" || { tail "$scratch/ninja.log"; return 1; }
}

# Sweeps of the simulated engine need no filesystem; those that touch files do their work in the mount.
unit_tests() {
	in_sources env TMPDIR="$mnt/tmp" CI='' python3 tests/runner.py --meson build --filter unit/ \
		--timeout-factor 4 >"$scratch/units.log" 2>&1 || { tail -n 40 "$scratch/units.log"; return 1; }
	units=$(sed -n 's/^\([0-9]*\) passed.*/\1/p' "$scratch/units.log" | tail -n 1)
}

check "the sources are copied" copy_sources || finish "no sources"
check "meson configures" configure || finish "no meson"
check "ninja compiles and links" compile || finish "it did not compile"
check "nothing is left to do" again
units=0
check "the unit tests pass there" unit_tests
on_disk || check "the mount comes afresh" remount "$volume" "$mnt"
check "nothing is left to do after the remount: times are kept" again

finish "build of this project, and its unit tests there ($units passed)"
