#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Programs that people use: git, a compiler, SQLite, all inside the mount.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt
rows=$(slow_or 100000 20000)
export HOME=$scratch GIT_CONFIG_NOSYSTEM=1
git config --global safe.directory '*'
git config --global user.name test
git config --global user.email test@localhost
git config --global init.defaultBranch main

# The project as it is here; a tree without a repository is made one inside the mount.
clone_project() {
	if [[ -e $top_dir/.git ]]; then
		git clone -q --no-hardlinks "$top_dir" "$mnt/project"
	else
		mkdir "$mnt/project" && tar -C "$top_dir" --exclude='./build*' -cf - . |
			tar -C "$mnt/project" -xf - &&
			git -C "$mnt/project" init -q && git -C "$mnt/project" add . &&
			git -C "$mnt/project" commit -qm all
	fi
}

git_works() {
	cd "$mnt/project" || return
	git fsck --strict --no-progress && [[ -z $(git status --porcelain) ]] &&
		echo more >>LICENSE && git commit -qam more && git checkout -q -b side HEAD~1 &&
		git rm -q LICENSE && git commit -qm less && git gc -q --prune=now &&
		git checkout -q - && git fsck --strict --no-progress && tail -n 1 LICENSE | grep -qx more
}

compile_project() {
	cd "$mnt/project" && meson setup build >"$scratch/meson.log" ||
		{ tail -n 30 "$scratch/meson.log"; return 1; }
	local programs
	mapfile -t programs < <(unit_programs)
	((${#programs[@]})) && ninja -C build "${programs[@]}" | tail -n 5
}

# Small modules will do: what is tested is the filesystem below the compiler.
unit_programs() {
	ninja -C build -t targets all | sed -nE 's,^(tests/unit/(base|pi|raid)/test_[a-z0-9_]+): .*,\1,p'
}

run_compiled() {
	cd "$mnt/project" || return
	local program count=0
	for program in $(unit_programs); do
		limit 120 "build/$program" || return
		count=$((count + 1))
	done
	((count > 0))
}

# insert MODE DATABASE: in transactions of 1,000 rows, as programs do.
insert() {
	python3 - "$1" "$2" "$rows" <<-'EOF'
		import sqlite3, sys
		mode, path, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
		db = sqlite3.connect(path, isolation_level=None)
		got = db.execute(f"pragma journal_mode={mode}").fetchone()[0]
		assert got == mode, got
		db.execute("create table t (id integer primary key, a text, b blob)")
		db.execute("create index t_a on t (a)")
		for start in range(0, rows, 1000):
		    db.execute("begin")
		    db.executemany("insert into t (a, b) values (?, ?)",
		                   ((f"{i * 7919 % rows:08d}", bytes([i % 251]) * 40)
		                    for i in range(start, start + 1000)))
		    db.execute("commit")
	EOF
}

database_is_whole() {
	local got
	got=$(sqlite3 "$1" 'pragma integrity_check; select count(*), count(distinct a) from t;')
	[[ $got == "ok"$'\n'"$rows|$rows" ]] || { echo "$got"; return 1; }
}

in_subshell() { ("$@"); }

both_databases() { database_is_whole "$mnt/delete.db" && database_is_whole "$mnt/wal.db"; }

writers() {
	python3 "$tests_dir/../apps/sqlite_writers.py" "$1" "$mnt/shared.db" wal "$scratch/acked" \
		--writers 4 "${@:2}"
}

# The daemon is killed under them, and then nobody uses the mount any more.
killed_under_writers() {
	local pid
	writers write --seconds 20 >"$scratch/writers.out" 2>&1 &
	pid=$!
	until [[ $(cat "$scratch/acked"/* 2>/dev/null | wc -l) -gt $(slow_or 200 20) ]]; do
		alive "$pid" || { cat "$scratch/writers.out"; return 1; }
		sleep 0.1
	done
	kill -KILL "${daemons[$mnt]}"
	wait "$pid"
	kill_daemon "$mnt"
	mount_volume "$volume" "$mnt"
}

check "a volume is created" mk_volume --size 1G --pi t10 "$volume" || done_testing
check "it is mounted" mount_volume "$volume" "$mnt" || done_testing
check "git clones the project into the mount" clone_project
check "git commits, branches, packs and checks there" in_subshell git_works
check "meson and ninja compile there" in_subshell compile_project
check "compiled programs run there" in_subshell run_compiled
for mode in delete wal; do
	check "sqlite inserts $rows rows in journal mode $mode" insert "$mode" "$mnt/$mode.db"
	check "its integrity check passes in journal mode $mode" database_is_whole "$mnt/$mode.db"
done
check "the volume is mounted afresh" remount "$volume" "$mnt"
check "the repository is whole after the remount" git -C "$mnt/project" fsck --strict --no-progress
check "the databases are whole after the remount" both_databases
check "the daemon is killed while processes write to one database with a write-ahead log" \
	killed_under_writers || done_testing
check "the database is whole, and has what was acknowledged" writers check
check "the volume is unmounted" unmount "$mnt"
check "a scrub finds nothing" expect_clean "$volume"

done_testing
