#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# git: a large repository, made anew from a seed, is cloned into the mount, checked, packed, and its
# branches are checked out.
. "$(dirname "$0")/lib.sh"

program git "$(git --version | cut -d' ' -f3)"
begin 2G
export HOME=$scratch GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=$scratch/gitconfig
git config --global safe.directory '*'
git config --global user.name test
git config --global user.email test@localhost
git config --global init.defaultBranch main
git config --global gc.auto 0

source=$scratch/source.git
work=$mnt/work

# history: commits for git fast-import: many files in many folders, two branches.
history() {
	python3 - "$SEED" <<-'PY'
		import random, sys
		rng, out = random.Random(int(sys.argv[1])), sys.stdout.buffer
		files = [f"dir{i % 61}/sub{i % 17}/file-{i}" for i in range(12000)]
		def data(text):
		    out.write(b"data %d\n%s\n" % (len(text), text))
		def commit(branch, number, chosen):
		    out.write(b"commit refs/heads/%s\ncommitter test <t@localhost> %d +0000\n" % (branch, 10**9 + number))
		    data(b"commit %d" % number)
		    for name in chosen:
		        out.write(b"M 100644 inline %s\n" % name.encode())
		        data(b"".join(b"%s %d line %d\n" % (name.encode(), rng.getrandbits(64), i)
		                      for i in range(rng.randrange(1, 60))))
		commit(b"main", 0, files)
		for n in range(1, 300):
		    commit(b"main" if n % 3 else b"side", n, rng.sample(files, 60))
	PY
}

make_source() {
	git init -q --bare "$source" && history | git -C "$source" fast-import --quiet
}

# All objects loose: a file each, in 256 folders.
unpack() {
	git init -q --bare "$mnt/loose.git" && local pack &&
		for pack in "$work"/.git/objects/pack/*.pack; do
			git -C "$mnt/loose.git" unpack-objects -q <"$pack" || return
		done
	cp "$source/packed-refs" "$mnt/loose.git/" 2>/dev/null || cp -r "$source/refs" "$mnt/loose.git/"
}

same_objects() {
	local one two
	one=$(git -C "$1" rev-list --all --objects | sort | sha256sum)
	two=$(git -C "$2" rev-list --all --objects | sort | sha256sum)
	[[ $one == "$two" && -n $one ]]
}

is_tree_of() { [[ -z $(git -C "$work" status --porcelain) ]] && git -C "$work" diff --quiet "$1"; }

branches() {
	git -C "$work" checkout -q -b side origin/side && is_tree_of origin/side &&
		git -C "$work" checkout -q main && is_tree_of origin/main &&
		git -C "$work" checkout -q side && is_tree_of origin/side
}

check "a repository is made" make_source || finish "no source"
objects=$(git -C "$source" rev-list --all --objects | wc -l)
check "git clones $objects objects into the mount" git clone -q --no-local "$source" "$work"
check "git fsck --full" git -C "$work" fsck --full --strict --no-progress
check "branches are checked out" branches
check "all objects are unpacked, a file each" unpack
check "they are the same" same_objects "$source" "$mnt/loose.git"
check "git fsck --full of loose objects" git -C "$mnt/loose.git" fsck --full --no-progress
check "git gc packs them" git -C "$mnt/loose.git" gc -q --prune=now
check "git fsck --full after gc" git -C "$mnt/loose.git" fsck --full --no-progress
check "a clone of files, by hard links" git clone -q --local "$mnt/loose.git" "$mnt/linked"
on_disk || check "the mount comes afresh" remount "$volume" "$mnt"
check "the work tree is unchanged" is_tree_of origin/side
check "git fsck --full after the remount" git -C "$work" fsck --full --no-progress

finish "clone of $objects objects, fsck --full, unpack-objects, gc, checkout of branches"
