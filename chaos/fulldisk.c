/* Preloaded into a town: while the file $CHAOS_FULL exists, the disk that its logs are on is full.

   Only writes to files below $CHAOS_LOGS (a folder) and to supervisor.log fail, with ENOSPC, as the kernel says it.
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int refuses(int fd) {
    static const char *flag, *logs;
    char link[64], path[4096];
    if (!flag && (!(flag = getenv("CHAOS_FULL")) || !(logs = getenv("CHAOS_LOGS")))) flag = "";
    if (!*flag || fd <= 2 || access(flag, F_OK)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return !strncmp(path, logs, strlen(logs)) || strstr(path, "/supervisor.log") != NULL;
}

ssize_t write(int fd, const void *data, size_t size) {
    static ssize_t (*next)(int, const void *, size_t);
    int before = errno;
    if (!next) next = dlsym(RTLD_NEXT, "write");
    if (refuses(fd)) return errno = ENOSPC, -1;
    errno = before;
    return next(fd, data, size);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    static ssize_t (*next)(int, const struct iovec *, int);
    int before = errno;
    if (!next) next = dlsym(RTLD_NEXT, "writev");
    if (refuses(fd)) return errno = ENOSPC, -1;
    errno = before;
    return next(fd, parts, count);
}
