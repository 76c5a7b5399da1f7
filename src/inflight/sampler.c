/* SPDX-License-Identifier: MIT */
/* The sampler's threads. */
#include "inflight/sampler.h"

#include <errno.h>
#include <stdlib.h>

struct sampler {
	unsigned threads;
};

int sampler_new(unsigned threads, struct sampler **out)
{
	struct sampler *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->threads = threads;
	*out = s;
	return 0;
}

void sampler_free(struct sampler *s)
{
	free(s);
}

int sampler_read(struct sampler *s, struct live_buffer *buffer, uint32_t offset_bytes, void *out,
	uint32_t len_bytes)
{
	return live_buffer_read(buffer, offset_bytes, out, len_bytes);
}

int sampler_write(struct sampler *s, struct live_buffer *buffer, uint32_t offset_bytes,
	const void *data, uint32_t len_bytes)
{
	return live_buffer_write(buffer, offset_bytes, data, len_bytes);
}

void sampler_post(struct sampler *s, struct sampler_job *job)
{
	void *bytes = malloc(job->len_bytes);
	int err = bytes ? live_buffer_read(job->buffer, 0, bytes, job->len_bytes) : -ENOMEM;
	job->seen(job, err < 0 ? NULL : bytes, err);
	free(bytes);
}

struct sampler_stats sampler_stats(struct sampler *s)
{
	return (struct sampler_stats){.threads = s->threads};
}
