#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# PostgreSQL: initdb, pgbench; then the daemon is killed under load, and the power goes under load,
# and what recovery leaves is checked: pg_amcheck, checksums, pgbench's sums, and that no commit is
# lost that a client noted outside the mount.
. "$(dirname "$0")/lib.sh"

bin=
for bin in /usr/lib/postgresql/*/bin; do :; done
[[ -x $bin/postgres ]] || skip_all "there is no /usr/lib/postgresql/*/bin/postgres"
program PostgreSQL "$("$bin/postgres" -V | sed 's/^[^0-9]*//')"
((EUID == 0)) || skip_all "the server wants a user of its own"
clients=4
begin 2G

# The sockets, logs and notes of clients lie outside the mount.
chmod 755 "$scratch" "$mnt"
mkdir -p "$scratch/sock" "$scratch/acked" "$mnt/pg"
chown 65534:65534 "$scratch/sock" "$mnt/pg"
data=$mnt/pg/data
as_nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/nonexistent)
as() { "${as_nobody[@]}" "$@"; }
ask() { "$bin/psql" -h "$scratch/sock" -U test -qAtX -v ON_ERROR_STOP=1 -d "${2:-postgres}" -c "$1"; }
bench() { "$bin/pgbench" -h "$scratch/sock" -U test "$@" postgres; }

make_cluster() {
	as "$bin/initdb" -D "$data" -U test --auth=trust --data-checksums >/dev/null || return
	# A small log and pool: many checkpoints, and data files are written during the load.
	cat >>"$data/postgresql.conf" <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$scratch/sock'
		shared_buffers = 16MB
		max_wal_size = 64MB
		min_wal_size = 32MB
		checkpoint_timeout = 30s
		wal_recycle = on
	CONF
}

# start [SETTING]: the server as a child of this script.
start() {
	# Not by the function: $! is to be the server.
	"${as_nobody[@]}" "$bin/postgres" -D "$data" ${1:+-c "$1"} >>"$scratch/server.log" 2>&1 &
	server=$!
	servers=("$server")
	local deadline=$((SECONDS + 120))
	until "$bin/pg_isready" -q -h "$scratch/sock" -U test -d postgres; do
		if ! alive "$server" || ((SECONDS > deadline)); then
			tail -n 30 "$scratch/server.log"
			return 1
		fi
		sleep 0.2
	done
}

# INT: fast shutdown. QUIT: at once, as after a crash.
stop() {
	kill -"$1" "$server" 2>/dev/null
	local deadline=$((SECONDS + 60))
	while alive "$server" && ((SECONDS < deadline)); do sleep 0.1; done
	alive "$server" && kill -KILL "$server"
	wait "$server" 2>/dev/null
	servers=()
	return 0
}

prepare() {
	bench -i -s 5 -q >"$scratch/bench.log" 2>&1 || { tail -n 5 "$scratch/bench.log"; return 1; }
	ask 'create extension amcheck; create table acked (client int, n int, primary key (client, n));
		create table last (client int primary key, n int);
		insert into last select c, -1 from generate_series(1, 4) c'
}

full_run() {
	bench -c 8 -j 2 -T "$APPS_SECONDS" >"$scratch/bench.log" 2>&1 || { tail "$scratch/bench.log"; return 1; }
	sed -n 's/^tps = \([0-9]*\).*/\1/p' "$scratch/bench.log" >"$scratch/tps"
	[[ -s $scratch/tps ]]
}

# note_commits CLIENT: each transaction inserts a row and counts; psql prints after the commit.
note_commits() {
	local n
	n=$(ask "select n + 1 from last where client = $1") || return
	while printf 'with a as (insert into acked values (%d, %d)) update last set n = %d where client = %d returning n;\n' \
		"$1" "$n" "$n" "$1" 2>/dev/null; do
		n=$((n + 1))
	done | "$bin/psql" -h "$scratch/sock" -U test -qAtX -v ON_ERROR_STOP=1 postgres \
		>>"$scratch/acked/$1" 2>>"$scratch/clients.log"
}

# crash_under_load KIND [SETTING]: with pgbench and noting clients at work.
crash_under_load() {
	local c pids=()
	start "${2:-}" || return
	[[ $1 == kill ]] || arm_cut "$(between 500 6000)" || return
	# -n: it would empty its history at the start, and the sums would tell nothing.
	bench -n -c 4 -T 60 >>"$scratch/clients.log" 2>&1 &
	pids+=($!)
	for ((c = 1; c <= clients; c++)); do
		note_commits "$c" &
		pids+=($!)
	done
	sleep "$(between 2 6).$(between 0 9)"
	die_in_turn "$1" || return
	stop QUIT
	wait "${pids[@]}"
	bury_mount
	mount_volume -o inject "$volume" "$mnt"
}

nothing_lost() {
	local c noted there
	for ((c = 1; c <= clients; c++)); do
		noted=$(tail -n 1 "$scratch/acked/$c" 2>/dev/null)
		there=$(ask "select max(n) || ' ' || count(*) || ' ' || (select n from last where client = $c)
			from acked where client = $c")
		read -r max count last <<<"$there"
		((max == last && count == max + 1)) || { echo "client $c: half a transaction: $there"; return 1; }
		((max >= ${noted:-0})) || { echo "client $c: $noted was acknowledged, $max is there"; return 1; }
	done
}

sums_agree() {
	local got
	got=$(ask 'select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history)
		and (select sum(bbalance) from pgbench_branches) = (select sum(delta) from pgbench_history)
		and (select sum(tbalance) from pgbench_tellers) = (select sum(delta) from pgbench_history)')
	[[ $got == t ]] || { echo "the sums of pgbench differ"; return 1; }
}

amcheck() {
	"$bin/pg_amcheck" -h "$scratch/sock" -U test --all --heapallindexed --parent-check --rootdescend
}

# recovered: the server comes up, and all is there.
recovered() { start && nothing_lost && sums_agree && amcheck; }
checksums() { stop INT && as "$bin/pg_checksums" --check -D "$data"; }

check "initdb" make_cluster || finish "initdb failed"
check "the server starts" start || finish "the server did not start"
check "tables are filled" prepare
check "pgbench runs for $APPS_SECONDS s" full_run
check "the sums of pgbench agree" sums_agree
check "pg_amcheck finds nothing" amcheck
check "it stops, and its checksums are right" checksums
if ! on_disk; then
	for kind in kill cut kill/open_datasync cut/open_datasync cut; do
		sync=${kind#*/}
		[[ $kind == */* ]] || sync=fdatasync
		check "it was running when it happened: $kind" crash_under_load "${kind%/*}" \
			"wal_sync_method=$sync" || finish "the mount did not come back"
		check "it recovers, and nothing acknowledged is lost: $kind" recovered
		check "its checksums are right: $kind" checksums
	done
	noted=$(cat "$scratch"/acked/* | wc -l)
else
	noted=0
fi

finish "initdb, pgbench -c 8 for $APPS_SECONDS s ($(cat "$scratch/tps") tps), $crashes crashes under load: \
pg_amcheck, pg_checksums, sums, and $noted noted commits, none lost"
