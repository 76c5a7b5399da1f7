/* SPDX-License-Identifier: MIT */
/* The front end's counters, and how they are shown. */
#include "fuse/stats.h"

void stats_init(struct stats *s)
{
	pthread_mutex_init(&s->lock, NULL);
}

void stats_fini(struct stats *s)
{
	pthread_mutex_destroy(&s->lock);
}

void stats_add_time(struct stats *s, enum stats_time what, uint64_t ns)
{
	pthread_mutex_lock(&s->lock);
	histogram_add(&s->times_ns[what], ns);
	pthread_mutex_unlock(&s->lock);
}

static void write_requests(struct stats *s, struct json *j)
{
	json_key(j, "requests");
	json_object_begin(j);
	for (unsigned op = 0; op < WIRE_OPCODES; op++)
		if (wire_opcode_name(op) && s->requests[op])
			json_field_u64(j, wire_opcode_name(op), s->requests[op]);
	json_object_end(j);
}

static void write_receiving(const struct stats *s, struct json *j)
{
	json_key(j, "receiving");
	json_object_begin(j);
	json_field_u64(j, "by_engine", s->by_engine);
	json_field_u64(j, "handed_over", s->handed_over);
	json_field_u64(j, "engine_turns", s->engine_turns);
	json_field_u64(j, "awake_turns", s->awake_turns);
	json_object_end(j);
}

/* The reason as a key: "not permitted" -> "not_permitted". */
static void reason_key(unsigned miss, char key[48])
{
	const char *name = miss == STATS_MISS_UNREADABLE ? "unreadable" : live_miss_name(miss);
	unsigned i = 0;
	for (; i < 47 && name[i]; i++)
		key[i] = name[i] == ' ' ? '_' : name[i];
	key[i] = '\0';
}

/* The sum, and its parts. */
static void write_unobserved(_Atomic uint64_t counts[STATS_MISS_COUNT], struct json *j)
{
	uint64_t unobserved = 0;
	for (unsigned i = 0; i < STATS_MISS_COUNT; i++)
		unobserved += counts[i];
	json_field_u64(j, "unobserved", unobserved);
	json_key(j, "unobserved_by_reason");
	json_object_begin(j);
	for (unsigned i = LIVE_FOUND + 1; i < STATS_MISS_COUNT; i++) {
		char key[48];
		reason_key(i, key);
		json_field_u64(j, key, counts[i]);
	}
	json_object_end(j);
}

static void write_mutated_by(struct stats *s, struct json *j)
{
	json_key(j, "mutated_by_policy");
	json_object_begin(j);
	for (unsigned i = 0; i < DIO_POLICY_COUNT; i++)
		if (dio_policy_samples_live(i) || dio_policy_checks(i))
			json_field_u64(j, dio_policy_name(i), s->mutated_by[i]);
	json_object_end(j);
}

static void write_direct_writes(struct stats *s, struct json *j)
{
	json_key(j, "direct_writes");
	json_object_begin(j);
	json_field_u64(j, "total", s->direct_writes);
	json_field_u64(j, "bytes", s->direct_write_bytes);
	json_field_u64(j, "bounced", s->bounced);
	json_field_u64(j, "buffered", s->buffered);
	json_field_u64(j, "bounced_adaptive", s->bounced_adaptive);
	json_field_u64(j, "observed", s->observed);
	write_unobserved(s->unobserved, j);
	json_field_u64(j, "mutated", s->mutated);
	write_mutated_by(s, j);
	json_field_u64(j, "missed", s->missed);
	json_field_u64(j, "redone", s->redone);
	json_field_u64(j, "refused", s->refused);
	json_field_u64(j, "rejected", s->rejected);
	json_field_u64(j, "failed", s->failed);
	json_field_u64(j, "unaligned", s->unaligned);
	json_field_u64(j, "refused_open", s->refused_open);
	json_field_u64(j, "refused_io", s->refused_io);
	json_object_end(j);
}

static void write_direct_reads(struct stats *s, struct json *j)
{
	json_key(j, "direct_reads");
	json_object_begin(j);
	json_field_u64(j, "total", s->direct_reads);
	json_field_u64(j, "bytes", s->direct_read_bytes);
	json_field_u64(j, "bounced", s->reads_bounced);
	json_field_u64(j, "observed", s->reads_observed);
	write_unobserved(s->reads_unobserved, j);
	json_field_u64(j, "mutated", s->reads_mutated);
	json_field_u64(j, "bounced_again", s->reads_again);
	json_field_u64(j, "handles_bounced", s->handles_bounced);
	json_field_u64(j, "failed", s->reads_failed);
	json_object_end(j);
}

static void write_transfers(struct json *j, const char *key, uint64_t total, uint64_t bytes)
{
	json_key(j, key);
	json_object_begin(j);
	json_field_u64(j, "total", total);
	json_field_u64(j, "bytes", bytes);
	json_object_end(j);
}

static void write_times(struct stats *s, struct json *j)
{
	static const char *const names[STATS_TIMES] = {[STATS_DIRECT_WRITE] = "direct_write",
		[STATS_DIRECT_READ] = "direct_read",
		[STATS_CACHED_WRITE] = "cached_write",
		[STATS_CACHED_READ] = "cached_read"};
	json_key(j, "latency_ns");
	json_object_begin(j);
	for (unsigned i = 0; i < STATS_TIMES; i++) {
		pthread_mutex_lock(&s->lock);
		struct histogram h = s->times_ns[i];
		pthread_mutex_unlock(&s->lock);
		if (!h.count)
			continue;
		json_key(j, names[i]);
		json_object_begin(j);
		json_field_u64(j, "count", h.count);
		json_field_u64(j, "min", h.min);
		json_field_u64(j, "p50", histogram_percentile(&h, 500));
		json_field_u64(j, "p99", histogram_percentile(&h, 990));
		json_field_u64(j, "p999", histogram_percentile(&h, 999));
		json_field_u64(j, "max", h.max);
		json_object_end(j);
	}
	json_object_end(j);
}

void stats_write_json(struct stats *s, struct json *j)
{
	write_requests(s, j);
	write_receiving(s, j);
	write_direct_writes(s, j);
	write_direct_reads(s, j);
	write_transfers(j, "cached_writes", s->cached_writes, s->cached_write_bytes);
	write_transfers(j, "cached_reads", s->cached_reads, s->cached_read_bytes);
	write_times(s, j);
}
