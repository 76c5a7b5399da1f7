#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The library as others get it: package.sh BUILD SOURCE LIBRARY, which are built
#   exports     the shared library shows what the header declares, and nothing else
#   pkg-config  a program compiled with its flags alone runs, linked in both ways, from where it is installed
set -euo pipefail
build=$1 source=$2 library=$3
work=$(mktemp -d "${TMPDIR:-/tmp}/stablefs-package.XXXXXX")
trap 'rm -rf "$work"' EXIT

nm -D --defined-only "$library" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' |
	sort >"$work/shown"
# A declaration may go on below, and its first name with a bracket is the function's.
tr '\n' ' ' <"$source/include/stablefs/stablefs.h" | grep -o 'STABLEFS_API [^;]*;' |
	grep -o 'stablefs_[a-z_]*(' | tr -d '(' | sort >"$work/declared"
diff "$work/declared" "$work/shown" || {
	echo "package.sh: the header (<) and the library (>) differ"
	exit 1
}

cat >"$work/program.c" <<'PROGRAM'
#include <stablefs/stablefs.h>
#include <stdio.h>
int main(void)
{
	const char *paths[] = {"/nonexistent/volume"};
	struct stablefs_error why = {""};
	struct stablefs *v;
	int err = stablefs_open(paths, 1, NULL, &v, &why);
	printf("%s: %d, %s\n", stablefs_version(), err, why.text);
	return err < 0 && why.text[0] ? 0 : 1;
}
PROGRAM
meson install -C "$build" --no-rebuild --quiet --destdir "$work/root"
pc=$(find "$work/root" -name stablefs.pc)
prefix=$work/root$(sed -n 's/^prefix=//p' "$pc")
export PKG_CONFIG_PATH=${pc%/*}
flags() { pkg-config --define-variable=prefix="$prefix" "$@" stablefs; }
# shellcheck disable=SC2046  # flags are words
cc "$work/program.c" -o "$work/shared" $(flags --cflags --libs)
LD_LIBRARY_PATH=$(flags --variable=libdir) "$work/shared"
rm "$(flags --variable=libdir)"/libstablefs.so*
# shellcheck disable=SC2046
cc "$work/program.c" -o "$work/static" $(flags --cflags --libs --static)
"$work/static"
