/* Remembers what a disk would still hold after the power has failed; loaded into every process with LD_PRELOAD.

   A disk owes a program only what it was told to sync:
     - a file's content, up to the length that it had when fsync or fdatasync began;
     - the names in a folder, as they were when an fsync of that folder began.
   For each sync of something below $POWER_ROOT, after the real one has succeeded, this leaves in $POWER_DIR
     lengths       a record {'S', file, length} appended ('T' when the file was cut); a file is its inode's number
     inodes/FILE   a hard link to it: what a rename or unlink took from its folder is still there to be given back
     folders/FILE  the folder's names, as "KIND INODE NAME\n" (KIND as in d_type), replaced in one step
   While $POWER_DIR/stall exists, no sync of an append-only file (.incr.aof) ends: a disk that has stopped writing.

   tests/support/power/disk.py reads this and takes back the rest. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct record {
    long kind, inode, length;
};

/* `path` has room for 4096 bytes. The caller's errno is its own. */
static int is_ours(int fd, struct stat *found, char *path) {
    char link[64];
    const char *root = getenv("POWER_ROOT");
    size_t wanted = root ? strlen(root) : 0;
    int before = errno, answer = 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = wanted ? readlink(link, path, 4095) : -1;
    path[size < 0 ? 0 : size] = 0;
    if (size >= (ssize_t)wanted && !strncmp(path, root, wanted) && (size == (ssize_t)wanted || path[wanted] == '/'))
        answer = fstat(fd, found) == 0;
    errno = before;
    return answer;
}

static void in_dir(char *path, size_t room, const char *kind, long inode) {
    snprintf(path, room, "%s/%s/%ld", getenv("POWER_DIR"), kind, inode);
}

static void note(int kind, long inode, long length) {
    char path[4096];
    struct record record = {kind, inode, length};
    snprintf(path, sizeof path, "%s/lengths", getenv("POWER_DIR"));
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, &record, sizeof record) != sizeof record) abort();
    close(fd);
}

static void keep(int folder, const char *name, long inode, int flags) {
    char path[4096];
    in_dir(path, sizeof path, "inodes", inode);
    /* It may have gone from its folder since. */
    if (linkat(folder, name, AT_FDCWD, path, flags) != 0 && errno != EEXIST && errno != ENOENT) abort();
}

static void keep_file(int fd, long inode) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    keep(AT_FDCWD, link, inode, AT_SYMLINK_FOLLOW);
}

/* The names as they are now, written beside; `publish` makes them the durable ones. */
static void list_names(int fd, char *beside) {
    int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = again < 0 ? NULL : fdopendir(again);
    FILE *out = fopen(beside, "we");
    if (!folder || !out) abort();
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (entry->d_type == DT_REG || entry->d_type == DT_LNK) keep(fd, entry->d_name, (long)entry->d_ino, 0);
        fprintf(out, "%d %ld %s\n", entry->d_type, (long)entry->d_ino, entry->d_name);
    }
    closedir(folder);
    if (fclose(out) != 0) abort();
}

static int sync_folder(int (*real)(int), int fd, long inode) {
    char path[4096], beside[4200];
    snprintf(path, sizeof path, "%s/lock", getenv("POWER_DIR"));
    int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, LOCK_EX) != 0) abort(); /* two at once would publish in the wrong order */
    in_dir(path, sizeof path, "folders", inode);
    snprintf(beside, sizeof beside, "%s.new", path);
    list_names(fd, beside);
    int answer = real(fd), error = errno;
    if (answer == 0 && rename(beside, path) != 0) abort();
    close(lock);
    errno = error;
    return answer;
}

static void stall(const char *path) {
    char stop[4096];
    struct timespec pause = {0, 2000000};
    snprintf(stop, sizeof stop, "%s/stall", getenv("POWER_DIR"));
    while (strstr(path, ".incr.aof") && access(stop, F_OK) == 0) nanosleep(&pause, NULL);
}

static int synced(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    struct stat before;
    char path[4096];
    if (!is_ours(fd, &before, path)) return real(fd);
    stall(path);
    if (S_ISDIR(before.st_mode)) return sync_folder(real, fd, (long)before.st_ino);
    int answer = real(fd), error = errno;
    if (answer == 0) {
        keep_file(fd, (long)before.st_ino);
        note('S', (long)before.st_ino, (long)before.st_size);
    }
    errno = error;
    return answer;
}

int fsync(int fd) { return synced("fsync", fd); }

int fdatasync(int fd) { return synced("fdatasync", fd); }

/* What is cut off may be gone from the disk at any moment. */
static void cut(int fd, long length) {
    struct stat now;
    char path[4096];
    int error = errno;
    if (is_ours(fd, &now, path) && S_ISREG(now.st_mode)) note('T', (long)now.st_ino, length);
    errno = error;
}

int ftruncate64(int fd, off64_t length) {
    cut(fd, length);
    return (int)syscall(SYS_ftruncate, fd, length);
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int truncate64(const char *path, off64_t length) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    int answer = ftruncate64(fd, length), error = errno;
    close(fd);
    errno = error;
    return answer;
}

int truncate(const char *path, off_t length) { return truncate64(path, length); }

/* $POWER_BOOT is this boot's id for those who ask the kernel: another file there, and the machine was started anew. */
static const char *of_this_boot(const char *path) {
    const char *boot = getenv("POWER_BOOT");
    return boot && path && !strcmp(path, "/proc/sys/kernel/random/boot_id") ? boot : path;
}

int open64(const char *path, int flags, ...) {
    __builtin_va_list more;
    __builtin_va_start(more, flags);
    int mode = flags & (O_CREAT | __O_TMPFILE) ? __builtin_va_arg(more, int) : 0;
    __builtin_va_end(more);
    return openat(AT_FDCWD, of_this_boot(path), flags, mode);
}

int open(const char *path, int flags, ...) {
    __builtin_va_list more;
    __builtin_va_start(more, flags);
    int mode = flags & (O_CREAT | __O_TMPFILE) ? __builtin_va_arg(more, int) : 0;
    __builtin_va_end(more);
    return openat(AT_FDCWD, of_this_boot(path), flags, mode);
}
