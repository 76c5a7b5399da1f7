/* SPDX-License-Identifier: MIT */
/* Questions asked by processes of their own: forked twice, so that init is whom they leave to. */
#include "cli/aside.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIFE_S 5

int aside_start(void (*work)(void *ctx, int out), void *ctx, int out)
{
	int status;
	fflush(NULL);
	pid_t child = fork();
	if (child < 0)
		return -errno;
	if (child == 0) {
		if (fork() == 0) {
			alarm(LIFE_S);
			work(ctx, out);
		}
		_exit(0);
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return 0;
}

size_t aside_read(int fd, void *buf, size_t room, int ms)
{
	struct pollfd answer = {.fd = fd, .events = POLLIN};
	if (poll(&answer, 1, ms) <= 0)
		return 0;
	ssize_t n = read(fd, buf, room);
	return n > 0 ? (size_t)n : 0;
}
