#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What people and media get wrong: a message that names the thing, the exit status, no crash, and
# nothing lost.
. "$(dirname "$0")/lib.sh"

good=$scratch/good
mnt=$scratch/mnt
work=$scratch/work
superblock_a=4096

# Offsets as docs/format.md gives them.
superblock_b() { echo $(($(stat -c %s "$1") / 65536 * 65536 - 65536)); }

# flip FILE OFFSET: one bit of one byte.
flip() {
	python3 - "$1" "$2" <<-'EOF'
		import sys
		with open(sys.argv[1], "r+b") as file:
		    file.seek(int(sys.argv[2]))
		    byte = file.read(1)[0]
		    file.seek(int(sys.argv[2]))
		    file.write(bytes([byte ^ 0x10]))
	EOF
}

# fresh: $work is a copy of the good volume.
fresh() {
	rm -rf "$work"
	cp -r --sparse=always "$good" "$work"
}

# What the good volume holds is there; mounts VOLUME with OPTIONS for the time of the look.
holds_its_file() {
	mount_volume "$@" "$mnt" && cmp "$scratch/data" "$mnt/data" && unmount "$mnt"
}

mount_refused() { refused_with 1 "$1" stablefs mount "${@:2}" "$mnt"; }

# refused_unchanged PATTERN COMMAND...: refused, and no member of $good was touched.
refused_unchanged() {
	local before after
	before=$(sha256sum "$good"/member-*)
	refused_with 1 "$@" || return
	after=$(sha256sum "$good"/member-*)
	[[ $before == "$after" ]] || { echo "a member was changed"; return 1; }
}

# --- the command line ----------------------------------------------------------------------------

refuses "an unknown verb is a usage error" 2 "frobnicate" stablefs frobnicate
refuses "no verb is a usage error" 2 "usage|verb|help" stablefs
refuses "create without a volume is a usage error" 2 "VOLUME" stablefs create
refuses "an unknown option is a usage error" 2 "frob" stablefs create --frob "$scratch/v"
refuses "a size that is no number is refused" 2 "banana" stablefs create --size banana "$scratch/v"
refuses "a negative size is refused" 2 "-1" stablefs create --size=-1 "$scratch/v"
refuses "a size with an unknown unit is refused" 2 "12Q" stablefs create --size 12Q "$scratch/v"
refuses "a size beyond all bounds is refused" "[12]" "large|big|range|much|most" \
	stablefs create --size 99999999999999999999 "$scratch/v"
refuses "a volume that is too small is refused" "[12]" "16 MiB" stablefs create --size 1M "$scratch/v"
refuses "an unknown level is refused" 2 "raid7" stablefs create --level raid7 "$scratch/v"
refuses "two members are too few for raid5" "[12]" "raid5|member" \
	stablefs create --level raid5 --members 2 --size 32M "$scratch/v"
refuses "one member is too few for raid1" "[12]" "raid1|member" \
	stablefs create --level raid1 --members 1 --size 32M "$scratch/v"
refuses "seventeen members are too many" 2 "member" stablefs create --members 17 "$scratch/v"
refuses "a chunk that is no power of two is refused" "[12]" "chunk" \
	stablefs create --chunk 12K --size 32M "$scratch/v"
refuses "a chunk of 2M is refused" "[12]" "chunk" stablefs create --chunk 2M --size 32M "$scratch/v"
refuses "an unknown PI is refused" 2 "md5" stablefs create --pi md5 "$scratch/v"
refuses "a device that checks nothing is refused" "[12]" "pi" \
	stablefs create --pi none --pi-check device --size 32M "$scratch/v"
refuses "a label of 32 bytes is too long" "[12]" "label" \
	stablefs create --label "$(printf 'x%.0s' {1..32})" --size 32M "$scratch/v"
refuses "a volume in a directory that cannot be made is refused" 1 "$scratch/none/v" \
	stablefs create --size 32M "$scratch/none/v"
check "none of these left anything behind" test ! -e "$scratch/v" -a ! -e "$scratch/none"

refuses "mount without arguments is a usage error" 2 "VOLUME|MOUNTPOINT" stablefs mount
refuses "an unknown policy is refused" 2 "maybe" stablefs mount -o dio=maybe "$good" "$mnt"
refuses "an unknown mount option is refused" 2 "frob" stablefs mount -o frob "$good" "$mnt"
refuses "a hold that is no time is refused" 2 "hold" stablefs mount -o hold=long "$good" "$mnt"
refuses "a dio-align of 3 is refused" 2 "dio-align" stablefs mount -o dio-align=3 "$good" "$mnt"
refuses "a member-timeout that is no time is refused" 2 "member-timeout" \
	stablefs mount -o member-timeout=soon "$good" "$mnt"
refuses "a member-timeout that nobody can keep is refused" 2 "10ms" \
	stablefs mount -o member-timeout=1us "$good" "$mnt"
refuses "a max-errors of 0 is refused" 2 "max-errors" stablefs mount -o max-errors=0 "$good" "$mnt"
refuses "a background-rate that is no size is refused" 2 "background-rate" \
	stablefs mount -o background-rate=fast "$good" "$mnt"
refuses "a scrub-every that is no time is refused" 2 "scrub-every" \
	stablefs mount -o scrub-every=daily "$good" "$mnt"
refuses "an unknown way out of the write hole is refused" 2 "hope" \
	stablefs create --write-hole hope --size 32M "$scratch/v"
refuses "a log for mirrors is refused" 2 "raid1" \
	stablefs create --level raid1 --write-hole journal --size 32M "$scratch/v"
refuses "a scrub of nothing is a usage error" 2 "VOLUME" stablefs scrub

# --- the good volume -----------------------------------------------------------------------------

mkdir -p "$mnt"
head -c 5000000 /dev/urandom >"$scratch/data"
make_good() {
	mk_volume --level raid5 --members 4 --pi t10 --size 64M "$good" && mount_volume "$good" "$mnt" &&
		cp "$scratch/data" "$mnt/data" && unmount "$mnt"
}
check "a good volume is made" make_good || done_testing

# --- create over what is there -------------------------------------------------------------------

check "create over a volume is refused, and leaves it alone" \
	refused_unchanged "force" stablefs create --size 64M "$good"
check "create over members of a volume is refused, and leaves them alone" \
	refused_unchanged "force" stablefs create "$good/member-0" "$good/member-1" "$good/member-2"
check "the good volume is still good" holds_its_file "$good"

for filesystem in ext4 xfs; do
	image=$scratch/$filesystem.img
	truncate -s 400M "$image"
	"mkfs.$filesystem" -q "$image" >/dev/null 2>&1 || diag "mkfs.$filesystem failed"
	sum=$(sha256sum <"$image")
	refuses "create over $filesystem is refused" 1 "$filesystem.*--force" \
		stablefs create --level single --members 1 "$image"
	check "and $filesystem is unchanged" test "$sum" == "$(sha256sum <"$image")"
	check "create over $filesystem works with --force" \
		mk_volume --force --level single --members 1 --size 32M "$image"
	rm -f "$image"
done
head -c 20M /dev/urandom >"$scratch/letters"
refuses "create over an ordinary file with data is refused" 1 'letters.*--force' \
	stablefs create --level single --members 1 "$scratch/letters"
truncate -s 100M "$scratch/hole"
check "create on a file that is one hole works" \
	mk_volume --level single --members 1 "$scratch/hole"
refuses "create over a character device is refused" "[12]" "/dev/null" \
	stablefs create --level single --members 1 /dev/null
truncate -s 1M "$scratch/small"
refuses "a member file that is too small is refused" 1 "small" \
	stablefs create --level single --members 1 "$scratch/small"

# --- mount points --------------------------------------------------------------------------------

refuses "a mount point that is not there is refused" 1 "$scratch/nowhere" \
	stablefs mount "$good" "$scratch/nowhere"
refuses "a mount point that is a file is refused" 1 "not a directory" \
	stablefs mount "$good" "$scratch/data"
refuses "a volume that is not there is refused" 1 "$scratch/none" stablefs mount "$scratch/none" "$mnt"
mkdir "$scratch/empty"
refuses "a directory without members is no volume" 1 "$scratch/empty" \
	stablefs mount "$scratch/empty" "$mnt"
refuses "a file that is no member is refused" 1 "not a member" stablefs mount "$scratch/data" "$mnt"

# One mount of a volume at a time, and it goes on as if nothing had been asked.
mounted_twice() {
	mount_volume "$good" "$mnt" && mkdir -p "$scratch/second" &&
		refused_with 1 "in use|busy|lock" stablefs mount "$good" "$scratch/second" &&
		cmp "$scratch/data" "$mnt/data" &&
		refused_with 1 "in use|busy|lock|force|mounted" stablefs create --force --size 64M "$good" &&
		cmp "$scratch/data" "$mnt/data" && unmount "$mnt"
}
check "a volume in use is neither mounted again nor created over" mounted_twice
check "the good volume is still good after that" holds_its_file "$good"

# --- members -------------------------------------------------------------------------------------

fresh
truncate -s 5M "$work/member-1"
check "a truncated member is refused" mount_refused "member-1" "$work"
check "and left out where degraded says so" holds_its_file -o degraded "$work"

fresh
: >"$work/member-2"
check "an empty member is refused" mount_refused "member-2" "$work"

fresh
flip "$work/member-0" $((superblock_a + 40))
check "a flipped bit in superblock A: copy B serves" holds_its_file "$work"
check "and the daemon said so" grep -q -i "member-0.*superblock" "$(daemon_log "$mnt")"
check "and copy A was written anew: now copy B may be lost" flip "$work/member-0" \
	"$(superblock_b "$work/member-0")"
check "and the volume still mounts" holds_its_file "$work"

fresh
flip "$work/member-3" $(($(superblock_b "$work/member-3") + 100))
check "a flipped bit in superblock B: copy A serves" holds_its_file "$work"

fresh
flip "$work/member-0" $((superblock_a + 40))
flip "$work/member-0" $(($(superblock_b "$work/member-0") + 40))
check "a flipped bit in both superblocks is refused" mount_refused "member-0.*damaged" "$work"
check "and left out where degraded says so" holds_its_file -o degraded "$work"

fresh
rm "$work/member-0" "$work/member-2"
check "two members missing of raid5 are refused" mount_refused "member|too few" "$work"

fresh
cp "$work/member-1" "$work/member-2"
check "the same member twice, as a copy, is refused" mount_refused "member 1" "$work"
check "the same member twice, by one path, is refused" mount_refused "twice" \
	"$good/member-0" "$good/member-1" "$good/member-1" "$good/member-3"

fresh
check "another volume is made" mk_volume --level raid5 --members 4 --pi t10 --size 64M "$scratch/other"
cp "$scratch/other/member-2" "$work/member-2"
check "a member of another volume is refused" mount_refused "member-2.*volume" "$work"

fresh
cp "$work/member-1" "$scratch/stale"
goes_on_without() {
	rm "$work/member-1" && mount_volume "$work" "$mnt" && echo newer >"$mnt/newer" &&
		unmount "$mnt" && cp "$scratch/stale" "$work/member-1"
}
check "a volume goes on without a member, which comes back" goes_on_without
state_of() {
	stablefs status --json "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["state"])'
}
stale_is_rebuilt() {
	mount_volume "$work" "$mnt" && [[ $(<"$mnt/newer") == newer ]] || return
	local waited=0
	while [[ $(state_of "$mnt") != healthy ]]; do
		((waited++ < 300)) || { echo "still $(state_of "$mnt")"; return 1; }
		sleep 0.1
	done
	cmp "$scratch/data" "$mnt/data" && unmount "$mnt" && rm "$work/member-3" &&
		mount_volume "$work" "$mnt" && cmp "$scratch/data" "$mnt/data" &&
		[[ $(<"$mnt/newer") == newer ]] && unmount "$mnt"
}
check "the stale member is rebuilt, and serves in another's stead then" stale_is_rebuilt

went_apart() {
	local i
	mk_volume --level raid1 --members 2 --size 32M "$scratch/pair" || return
	for i in 0 1; do
		mount_volume "$scratch/pair/member-$i" "$mnt" && echo "$i" >"$mnt/side" &&
			unmount "$mnt" || return
	done
}
check "two mirrors are written to, each without the other" went_apart
check "together they are refused" mount_refused "without" "$scratch/pair"

# --- a full volume -------------------------------------------------------------------------------

check "a small volume is made" mk_volume --level raid1 --members 2 --size 32M "$scratch/tiny"
fills_up() {
	mount_volume "$scratch/tiny" "$mnt" && cp "$scratch/data" "$mnt/before" || return
	local status=0
	dd if=/dev/urandom of="$mnt/flood" bs=64k oflag=direct 2>"$scratch/dd.err" || status=$?
	cat "$scratch/dd.err"
	((status == 1)) && grep -q 'No space left' "$scratch/dd.err" || return
	cmp "$scratch/data" "$mnt/before"
}
check "a full volume says ENOSPC and keeps what it has" fills_up
full_buffered() {
	! cp "$scratch/data" "$mnt/more" 2>"$scratch/cp.err" || ! sync "$mnt/more" 2>>"$scratch/cp.err"
}
check "a buffered write into the full volume fails too, at fsync at the latest" full_buffered
frees_space() {
	rm -f "$mnt/flood" "$mnt/more" && sync "$mnt" && cp "$scratch/data" "$mnt/after" &&
		sync "$mnt/after" && cmp "$scratch/data" "$mnt/after" && cmp "$scratch/data" "$mnt/before"
}
check "removing a file makes room again" frees_space
many_names() {
	local i
	mkdir "$mnt/names" || return
	for ((i = 0; i < 200; i++)); do
		: >"$mnt/names/$i" || return
	done
}
check "names can be made after that" many_names
check "it is unmounted" unmount "$mnt"
check "a scrub of it finds nothing" expect_clean "$scratch/tiny"
check "it is mounted once more" mount_volume "$scratch/tiny" "$mnt"
check "nothing was lost" cmp "$scratch/data" "$mnt/before"
check "it is unmounted once more" unmount "$mnt"

# --- no /dev/fuse --------------------------------------------------------------------------------

# In a mount namespace of its own /dev/fuse is hidden, whatever the machine has.
without_fuse() {
	# shellcheck disable=SC2016  # for the inner shell
	limit 60 unshare -m bash -c '
		mount -t tmpfs none /dev || exit 99
		ln -s /proc/self/fd /dev/fd
		: >/dev/null
		exec "$@"' bash "${wrapper[@]}" "$STABLEFS" mount "$good" "$mnt"
}
if unshare -m true 2>/dev/null; then
	refuses "without /dev/fuse mount says so" 1 "/dev/fuse" without_fuse
	check "and the good volume is still good" holds_its_file "$good"
else
	skip "without /dev/fuse mount says so" "no mount namespaces here"
fi

done_testing
