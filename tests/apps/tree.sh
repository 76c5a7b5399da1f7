#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# tar and rsync: /usr/share goes in by both ways, is compared byte by byte and attribute by
# attribute, also after a remount, and comes out again.
. "$(dirname "$0")/lib.sh"

program "tar, rsync" "$(tar --version | sed -n '1s/.* //p'), $(rsync --version | awk 'NR == 1 { print $3 }')"
begin 6G

# What is copied: attributes of all kinds that a distribution's files may not have are added.
source=$scratch/source
prepare() {
	mkdir -p "$source/share" "$source/odd" && cp -a /usr/share/. "$source/share/" || return
	cd "$source/odd" || return
	local i
	for i in $(seq 200); do echo "$i" >"file $i"; done
	ln 'file 1' hard1 && ln 'file 1' hard2 && ln -s 'file 2' soft && ln -s nowhere dangling &&
		ln -s "$(printf 'x%.0s' $(seq 3000))" long && mkfifo fifo &&
		mknod char c 1 3 && mknod block b 7 200 && chmod 4755 'file 3' && chmod 2750 'file 4' &&
		mkdir sticky && chmod 1777 sticky && chown 1234:5678 'file 5' &&
		setfattr -n user.test -v value 'file 6' && setfattr -n trusted.test -v secret 'file 7' &&
		truncate -s 1G sparse && echo end >>sparse && touch -d '1971-02-03 04:05:06.789' 'file 8' &&
		touch -d '2100-01-01 00:00:00.000000001' 'file 9' &&
		touch -- "$(printf 'n%.0s' $(seq 255))" $'new\nline' $'\xff\xfe bytes' &&
		setfacl -m u:1234:rw,g:5678:r 'file 10' && setfacl -d -m u:1234:rwx sticky
}

rsync_differences() { rsync -aHAXSnic --delete "$1" "$2"; }
rsync_same() {
	rsync_differences "$1" "$2" >"$scratch/differences" || return
	[[ ! -s $scratch/differences ]] || { head -n 20 "$scratch/differences"; return 1; }
}

tar_in() {
	mkdir "$mnt/tar" && tar -C "$source" --acls --xattrs --xattrs-include='*' -S -cf - . |
		tar -C "$mnt/tar" --acls --xattrs --xattrs-include='*' -S -xpf -
}
tar_same() {
	tar -C "$mnt/tar" --acls --xattrs --xattrs-include='*' -S -cf "$scratch/back.tar" . &&
		tar -C "$source" --acls --xattrs --xattrs-include='*' -df "$scratch/back.tar" &&
		rm "$scratch/back.tar"
}

# Times to the nanosecond, modes, owners, sizes, links: a line a file.
listing() { (cd "$1" && find . -printf '%P %y %m %U %G %s %n %T@ %l\n' | LC_ALL=C grep -av ' d ' | LC_ALL=C sort); }
listed_same() { cmp <(listing "$1") <(listing "$2"); }

sparse_stays() { (($(stat -c %b "$1/odd/sparse") < 2048)); }

check "the source is there" prepare || finish "no source"
files=$(find "$source" | wc -l)
check "rsync brings $files files in" rsync -aHAXS "$source/" "$mnt/rsync"
check "rsync --checksum finds them the same" rsync_same "$source/" "$mnt/rsync/"
check "tar brings them in" tar_in
check "tar -d finds no difference" tar_same
on_disk || check "the mount comes afresh" remount "$volume" "$mnt"
check "rsync --checksum finds the same after the remount" rsync_same "$source/" "$mnt/rsync/"
check "rsync --checksum finds both copies the same" rsync_same "$mnt/rsync/" "$mnt/tar/"
check "times, modes, owners and links agree" listed_same "$source" "$mnt/rsync"
check "times, modes, owners and links agree as tar wrote them" listed_same "$source" "$mnt/tar"
check "a sparse file stays sparse by rsync" sparse_stays "$mnt/rsync"
check "a sparse file stays sparse by tar" sparse_stays "$mnt/tar"
check "cp -a inside the mount" cp -a "$mnt/rsync/odd" "$mnt/odd"
check "rsync --checksum finds that copy the same" rsync_same "$mnt/rsync/odd/" "$mnt/odd/"
check "rsync brings it out again" rsync -aHAXS "$mnt/rsync/odd" "$mnt/rsync/share/doc" "$scratch/out/"
check "it is what went in" rsync_same "$source/odd/" "$scratch/out/odd/"
check "rm -rf removes a copy" rm -rf "$mnt/tar"

finish "/usr/share and odd files, $files in all: tar in, tar -d; rsync -aHAXS in, --checksum, remount, --checksum, out"
