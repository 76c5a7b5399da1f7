/* SPDX-License-Identifier: MIT */
/* What each policy of the library costs a program whose buffers keep still: no FUSE, O_DIRECT
 * members, raid5 of four, PI t10.
 *
 * The policies take turns in slices of some ten milliseconds within one run, in an order that
 * rotates from round to round, so that whatever disturbs the machine meets all alike. A figure is
 * the median over the rounds; a ratio is the median of the ratios within each round. "Quiet" ratios
 * are those of the upper deciles: what each policy does when it is least disturbed. On a machine
 * that others use too only ratios mean anything. */
#include <err.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include "stablefs/stablefs.h"

#define ROUNDS_MAX 1000u
#define DEPTH_MAX  256u
#define SIZES_MAX  16u
#define ARMS       6u
#define MEMBERS    4u

static const char usage[] =
	"Usage: libbench [OPTION]...\n"
	"What each policy of the library costs, without FUSE.\n\n"
	"  --dir DIR       where the members lie (default /var/tmp)\n"
	"  --sizes LIST    of writes, in KiB (default 4,16,64,256,1024,4096)\n"
	"  --depth N       writes under way (default 8)\n"
	"  --rounds N      (default 15)\n"
	"  --slice-ms N    how long one policy runs before the next (default 60)\n"
	"  --file-mib N    of the file that is overwritten (default 256)\n"
	"  --touch         store one word into each buffer right after its submission\n"
	"  --json FILE     all figures\n"
	"  --seed N        of the offsets (default 1)\n";

/* What is compared; the first is the base of most ratios. */
static const struct arm {
	const char *name;
	enum stablefs_policy policy;
	unsigned flags;
} arms[ARMS] = {
	{"zerocopy", STABLEFS_ZEROCOPY, 0},
	{"trusted", STABLEFS_BOUNCE, STABLEFS_TRUSTED},
	{"bounce", STABLEFS_BOUNCE, 0},
	{"detect", STABLEFS_DETECT, 0},
	{"verify", STABLEFS_VERIFY, 0},
	{"cow", STABLEFS_COW, 0},
};
enum { ARM_ZEROCOPY, ARM_TRUSTED, ARM_BOUNCE, ARM_DETECT, ARM_VERIFY, ARM_COW };

struct options {
	const char *dir, *json;
	size_t sizes[SIZES_MAX];
	unsigned size_count, depth, rounds, slice_ms, seed;
	uint64_t file_bytes;
	bool touch;
};

struct slice {
	double iops, us,
		cpu_us; /* writes a second; of one write: latency, CPU time of the process */
};

struct bench {
	struct options o;
	struct stablefs *v;
	struct stablefs_file *f;
	uint8_t *memory; /* depth buffers of the largest size */
	unsigned random;
};

static uint64_t now_ns(clockid_t id)
{
	struct timespec ts;
	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* ---- one slice ---- */

static void submit(struct bench *b, const struct arm *arm, struct stablefs_io *io)
{
	uint64_t places = b->o.file_bytes / io->len;
	io->offset = (uint64_t)rand_r(&b->random) % places * io->len;
	io->policy = arm->policy;
	io->flags = arm->flags;
	int err = stablefs_write(io);
	if (err < 0)
		errx(1, "write: %s", strerror(-err));
	if (b->o.touch)
		((volatile uint64_t *)io->buffer)[io->len / 16]++;
}

static unsigned reap(struct bench *b, struct stablefs_io **done)
{
	int n = stablefs_reap(b->v, done, DEPTH_MAX, -1);
	for (int i = 0; i < n; i++)
		if (done[i]->result != (int64_t)done[i]->len)
			errx(1, "a write failed: %s", strerror((int)-done[i]->result));
	return (unsigned)n;
}

static struct slice run_slice(struct bench *b, const struct arm *arm, size_t len)
{
	static struct stablefs_io ios[DEPTH_MAX], *done[DEPTH_MAX];
	uint64_t writes = 0, start = now_ns(CLOCK_MONOTONIC),
		 cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
	uint64_t end = start + b->o.slice_ms * UINT64_C(1000000), now = start;
	unsigned under_way = b->o.depth;
	for (unsigned i = 0; i < b->o.depth; i++) {
		ios[i] = (struct stablefs_io){
			.file = b->f, .buffer = b->memory + (size_t)i * len, .len = len};
		submit(b, arm, &ios[i]);
	}
	while (under_way) {
		unsigned n = reap(b, done);
		writes += n;
		now = now_ns(CLOCK_MONOTONIC);
		for (unsigned i = 0; i < n && now < end; i++)
			submit(b, arm, done[i]);
		under_way -= now < end ? 0 : n;
	}
	double seconds = (double)(now - start) / 1e9;
	return (struct slice){.iops = (double)writes / seconds,
		.us = seconds * 1e6 * b->o.depth / (double)writes,
		.cpu_us = (double)(now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e3 / (double)writes};
}

/* ---- figures ---- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double median(double *values, unsigned n)
{
	qsort(values, n, sizeof(*values), by_value);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

struct figures {
	size_t len;
	double iops[ARMS], us[ARMS], cpu_us[ARMS];
	double of_zerocopy[ARMS], of_bounce[ARMS]; /* ratios of throughput */
	double added_us[ARMS];                     /* latency beside bounce */
	double quiet[ARMS]; /* writes a second that a tenth of the slices reach */
};

static struct figures summarise(struct slice (*s)[ARMS], unsigned rounds, size_t len)
{
	struct figures f = {.len = len};
	static double v[6][ROUNDS_MAX];
	for (unsigned a = 0; a < ARMS; a++) {
		for (unsigned r = 0; r < rounds; r++) {
			v[0][r] = s[r][a].iops;
			v[1][r] = s[r][a].us;
			v[2][r] = s[r][a].cpu_us;
			v[3][r] = s[r][a].iops / s[r][ARM_ZEROCOPY].iops;
			v[4][r] = s[r][a].iops / s[r][ARM_BOUNCE].iops;
			v[5][r] = s[r][a].us - s[r][ARM_BOUNCE].us;
		}
		f.iops[a] = median(v[0], rounds);
		f.quiet[a] = v[0][rounds - 1 - rounds / 10]; /* sorted by now */
		f.us[a] = median(v[1], rounds);
		f.cpu_us[a] = median(v[2], rounds);
		f.of_zerocopy[a] = median(v[3], rounds);
		f.of_bounce[a] = median(v[4], rounds);
		f.added_us[a] = median(v[5], rounds);
	}
	return f;
}

static struct figures measure(struct bench *b, size_t len)
{
	static struct slice slices[ROUNDS_MAX][ARMS];
	for (unsigned a = 0; a < ARMS; a++)
		(void)run_slice(b, &arms[a], len); /* warm up */
	for (unsigned r = 0; r < b->o.rounds; r++)
		for (unsigned i = 0; i < ARMS; i++) {
			unsigned a = (i + r) % ARMS;
			slices[r][a] = run_slice(b, &arms[a], len);
		}
	return summarise(slices, b->o.rounds, len);
}

static void print_figures(const struct figures *f)
{
	for (unsigned a = 0; a < ARMS; a++)
		printf("%6zuK  %-9s %10.0f %9.0f %10.1f %9.1f %10.3f %9.3f %9.1f %9.3f %9.3f\n",
			f->len / 1024, arms[a].name, f->iops[a],
			f->iops[a] * (double)f->len / 1048576, f->us[a], f->cpu_us[a],
			f->of_zerocopy[a], f->of_bounce[a], f->added_us[a],
			f->quiet[a] / f->quiet[ARM_ZEROCOPY], f->quiet[a] / f->quiet[ARM_BOUNCE]);
	fflush(stdout);
}

static void write_case(FILE *out, const struct figures *f, unsigned a)
{
	fprintf(out, "{\"bytes\": %zu, \"policy\": \"%s\", \"iops\": %.1f, \"mib_s\": %.2f, ",
		f->len, arms[a].name, f->iops[a], f->iops[a] * (double)f->len / 1048576);
	fprintf(out, "\"us\": %.2f, \"cpu_us\": %.2f, \"of_zerocopy\": %.4f, ", f->us[a],
		f->cpu_us[a], f->of_zerocopy[a]);
	fprintf(out, "\"of_bounce\": %.4f, \"added_us\": %.2f, \"quiet_iops\": %.1f}",
		f->of_bounce[a], f->added_us[a], f->quiet[a]);
}

static void write_json(const struct bench *b, const struct figures *all)
{
	FILE *out = b->o.json ? fopen(b->o.json, "we") : NULL;
	struct utsname u;
	if (!b->o.json)
		return;
	if (!out || uname(&u) < 0)
		err(1, "%s", b->o.json);
	fprintf(out, "{\"kernel\": \"%s\", \"depth\": %u, \"rounds\": %u, ", u.release, b->o.depth,
		b->o.rounds);
	fprintf(out, "\"slice_ms\": %u, \"seed\": %u, \"touch\": %s, \"cases\": [", b->o.slice_ms,
		b->o.seed, b->o.touch ? "true" : "false");
	for (unsigned i = 0; i < b->o.size_count; i++) {
		for (unsigned a = 0; a < ARMS; a++) {
			fputs(i + a ? ",\n " : "\n ", out);
			write_case(out, &all[i], a);
		}
	}
	fprintf(out, "\n]}\n");
	if (fclose(out))
		err(1, "%s", b->o.json);
}

/* ---- set up ---- */

/* Of the process, so that whatever ends it takes it along. */
static char scratch[256], scratch_member[MEMBERS][300];

/* Async-signal-safe. */
static void scratch_remove(void)
{
	for (unsigned i = 0; i < MEMBERS; i++)
		unlink(scratch_member[i]);
	rmdir(scratch);
}

static void ended(int number)
{
	scratch_remove();
	signal(number, SIG_DFL);
	raise(number);
}

static void scratch_make(const char *parent)
{
	snprintf(scratch, sizeof(scratch), "%s/stablefs-libbench.XXXXXX", parent);
	if (!mkdtemp(scratch))
		err(1, "%s", scratch);
	for (unsigned i = 0; i < MEMBERS; i++)
		snprintf(scratch_member[i], sizeof(scratch_member[i]), "%s/member-%u", scratch, i);
	atexit(scratch_remove);
	signal(SIGINT, ended);
	signal(SIGTERM, ended);
	signal(SIGHUP, ended);
}

/* The file is written once, so that all that follows are overwrites. */
static void prefill(struct bench *b, size_t len)
{
	for (uint64_t at = 0; at < b->o.file_bytes; at += len)
		if (stablefs_pwrite(b->f, b->memory, len, at, STABLEFS_BOUNCE) != (int64_t)len)
			errx(1, "cannot fill the file");
	if (stablefs_sync(b->v) < 0)
		errx(1, "cannot sync");
}

static void set_up(struct bench *b)
{
	struct stablefs_create_options create = STABLEFS_CREATE_DEFAULTS;
	struct stablefs_error why = {""};
	size_t largest = 1 << 20;
	for (unsigned i = 0; i < b->o.size_count; i++)
		largest = b->o.sizes[i] > largest ? b->o.sizes[i] : largest;
	create.size_bytes = 2 * b->o.file_bytes;
	scratch_make(b->o.dir);
	const char *paths[] = {scratch};
	if (stablefs_create(paths, 1, &create, &why) < 0 ||
		stablefs_open(paths, 1, NULL, &b->v, &why) < 0)
		errx(1, "%s", why.text);
	if (stablefs_cow_missing(b->v))
		fprintf(stderr, "libbench: cow is bounced: %s\n", stablefs_cow_missing(b->v));
	if (stablefs_file_open(b->v, "/bench", STABLEFS_CREATE, &b->f) < 0)
		errx(1, "cannot make the file");
	b->memory = mmap(NULL, largest * b->o.depth, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b->memory == MAP_FAILED)
		err(1, "memory");
	memset(b->memory, 'b', largest * b->o.depth);
	prefill(b, 1 << 20);
}

static void tear_down(struct bench *b)
{
	struct stablefs_stats s;
	struct stablefs_scrub_result scrub;
	stablefs_stats(b->v, &s);
	if (s.cow_bounced)
		printf("cow: %llu writes were bounced\n", (unsigned long long)s.cow_bounced);
	if (!b->o.touch && (stablefs_scrub(b->v, NULL, &scrub) < 0 || scrub.damage))
		errx(1, "the volume is damaged");
	stablefs_file_close(b->f);
	stablefs_close(b->v);
}

static void parse_sizes(struct options *o, char *list)
{
	o->size_count = 0;
	for (char *word = strtok(list, ","); word && o->size_count < SIZES_MAX;
		word = strtok(NULL, ",")) {
		unsigned long kib = strtoul(word, NULL, 10);
		if (kib < 4 || kib % 4 || kib > 65536)
			errx(2, "a size in KiB is a multiple of 4, to 65536, not %s", word);
		o->sizes[o->size_count++] = kib * 1024;
	}
}

static unsigned parse_number(const char *text, unsigned most)
{
	unsigned long n = strtoul(text, NULL, 10);
	if (n < 1 || n > most)
		errx(2, "1 to %u, not %s", most, text);
	return (unsigned)n;
}

static void parse(struct options *o, int argc, char **argv)
{
	static const struct option names[] = {{"dir", 1, NULL, 'd'}, {"sizes", 1, NULL, 's'},
		{"depth", 1, NULL, 'q'}, {"rounds", 1, NULL, 'r'}, {"slice-ms", 1, NULL, 'm'},
		{"file-mib", 1, NULL, 'f'}, {"touch", 0, NULL, 't'}, {"json", 1, NULL, 'j'},
		{"seed", 1, NULL, 'e'}, {"help", 0, NULL, 'h'}, {0}};
	for (int opt; (opt = getopt_long(argc, argv, "h", names, NULL)) != -1;) {
		switch (opt) {
		case 'd':
			o->dir = optarg;
			break;
		case 's':
			parse_sizes(o, optarg);
			break;
		case 'q':
			o->depth = parse_number(optarg, DEPTH_MAX);
			break;
		case 'r':
			o->rounds = parse_number(optarg, ROUNDS_MAX);
			break;
		case 'm':
			o->slice_ms = parse_number(optarg, 100000);
			break;
		case 'f':
			o->file_bytes = (uint64_t)parse_number(optarg, 65536) << 20;
			break;
		case 't':
			o->touch = true;
			break;
		case 'j':
			o->json = optarg;
			break;
		case 'e':
			o->seed = parse_number(optarg, 1u << 30);
			break;
		default:
			fputs(usage, opt == 'h' ? stdout : stderr);
			exit(opt == 'h' ? 0 : 2);
		}
	}
}

int main(int argc, char **argv)
{
	static struct bench b = {.o = {.dir = "/var/tmp",
					 .sizes = {4096, 16384, 65536, 262144, 1048576, 4194304},
					 .size_count = 6,
					 .depth = 8,
					 .rounds = 15,
					 .slice_ms = 60,
					 .seed = 1,
					 .file_bytes = UINT64_C(256) << 20}};
	struct figures all[SIZES_MAX];
	parse(&b.o, argc, argv);
	b.random = b.o.seed;
	set_up(&b);
	printf("depth %u, %u rounds of %u ms, seed %u, members in %s%s\n", b.o.depth, b.o.rounds,
		b.o.slice_ms, b.o.seed, b.o.dir, b.o.touch ? ", buffers stored into" : "");
	printf("%7s  %-9s %10s %9s %10s %9s %10s %9s %9s %9s %9s\n", "bytes", "policy", "writes/s",
		"MiB/s", "us", "CPU us", "/zerocopy", "/bounce", "us more", "quiet /z", "quiet /b");
	for (unsigned i = 0; i < b.o.size_count; i++) {
		all[i] = measure(&b, b.o.sizes[i]);
		print_figures(&all[i]);
	}
	write_json(&b, all);
	tear_down(&b);
	return 0;
}
