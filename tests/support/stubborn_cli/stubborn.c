/* A model CLI for fault tests: it does what the lines `stub: ...` of its prompt say, and marks what it does.

   $STUBBORN_DIR/marks gets a line when it starts and one when it ends well: `start|end RUN TASK PID TIME`
   (the time in milliseconds, as in the ids of a Redis stream).
   Locks that the kernel frees with the last process of the run tell two runs at one time: a line `overlap`.

     stub: await NAME      until $STUBBORN_DIR/NAME exists          stub: say TEXT      a line on stdout
     stub: child NAME      a grandchild in a session of its own,    stub: flood N       N bytes of lines on stdout
                           that stays; its pid goes into NAME       stub: ignore-term   TERM has no effect
     stub: run COMMAND     by the shell                             stub: hang           silent for good
     stub: exit N          end with that code, without `end`        stub: first ...     only in the task's first run
     stub: work N          take N milliseconds
*/
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

static const char *folder, *run, *task;
static int is_first;

static const char *variable(const char *name, const char *fallback) {
    const char *value = getenv(name);
    return value && *value ? value : fallback;
}

static const char *in_folder(const char *name) {
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void append(const char *name, const char *what) {
    char line[512];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    long at = now.tv_sec * 1000 + now.tv_nsec / 1000000;
    int size = snprintf(line, sizeof line, "%s %s %s %d %ld\n", what, run, task, (int)getpid(), at);
    int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, line, size) != size) exit(99);
    close(fd);
}

/* Held by this process and every child of it that keeps its descriptors. */
static void hold(const char *kind, const char *id) {
    char name[256];
    snprintf(name, sizeof name, "%s-%s.lock", kind, id);
    int fd = open(in_folder(name), O_RDWR | O_CREAT, 0600);
    if (fd < 0) exit(99);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) append("marks", "overlap");
}

static void nap(long milliseconds) {
    struct timespec moment = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&moment, NULL);
}

static void flood(long bytes) {
    char line[1024];
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    for (; bytes > 0; bytes -= sizeof line)
        if (write(1, line, sizeof line) < 0) exit(98);
}

static void child(const char *name) {
    if (fork() != 0) return;
    setsid();
    signal(SIGTERM, SIG_IGN);
    append(name, "child");
    for (;;) pause();
}

static void act(char *directive) {
    char *rest = strchr(directive, ' ');
    if (rest) *rest++ = 0;
    else rest = "";
    if (!strcmp(directive, "await")) while (access(in_folder(rest), F_OK)) nap(2);
    else if (!strcmp(directive, "work")) nap(atol(rest));
    else if (!strcmp(directive, "say")) printf("%s\n", rest), fflush(stdout);
    else if (!strcmp(directive, "flood")) flood(atol(rest));
    else if (!strcmp(directive, "child")) child(rest);
    else if (!strcmp(directive, "ignore-term")) signal(SIGTERM, SIG_IGN);
    else if (!strcmp(directive, "run")) { if (system(rest)) exit(97); }
    else if (!strcmp(directive, "hang")) for (;;) pause();
    else if (!strcmp(directive, "exit")) exit(atoi(rest));
    else if (!strcmp(directive, "first")) { if (is_first) act(rest); }
    else exit(96);
}

int main(void) {
    folder = variable("STUBBORN_DIR", ".");
    run = variable("TINYTOWN_RUN", "-");
    task = variable("TINYTOWN_TASK_ID", "-");
    hold("agent", variable("TINYTOWN_AGENT_ID", "-"));
    if (strcmp(task, "-")) hold("task", task);
    char name[256];
    snprintf(name, sizeof name, "first-%s", task);
    int fd = open(in_folder(name), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    is_first = fd >= 0;
    append("marks", "start");
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    while ((size = getline(&line, &room, stdin)) > 0) {
        if (line[size - 1] == '\n') line[size - 1] = 0;
        if (!strncmp(line, "stub: ", 6)) act(line + 6);
    }
    append("marks", "end");
    return 0;
}
