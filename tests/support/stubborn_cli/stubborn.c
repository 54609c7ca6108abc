/* A model CLI for tests: it does what the lines `stub: ...` of its prompt say, and marks what it does.

   It speaks as $STUBBORN_FORMAT says (a format of tinytown/model_cli/catalog.py; text when unset): a start record if
   that vendor has one, at a normal end its success record with the last `say` as the answer, exit code 0.
   The prompt is its stdin, or the file that its last argument names by an absolute path; with
   $STUBBORN_PROMPT=argument the last argument itself (or the file that it sends a model to).
   With $STUBBORN_DEAF=1 it reads none at all and ends well.

   $STUBBORN_DIR/marks gets a line when it starts and one when it ends well: `start|end RUN TASK PID TIME`
   (the time in milliseconds, as in the ids of a Redis stream), and `tt:CODE RUN TASK PID TIME` for each `stub: tt`.
   Locks that the kernel frees with the last process of the run tell two runs at one time: a line `overlap`.

     await NAME       until $STUBBORN_DIR/NAME exists          say TEXT         a message of the model
     touch NAME       makes that file                          exit N           end at once with that code, no `end`
     child NAME       a grandchild in a session of its own,    flood N          N bytes of lines on stdout
                      that stays; its pid goes into NAME       long-line N      N bytes on one line: a tool's output
     run COMMAND      by the shell                             long-answer N    the answer is that long
     work N           take N milliseconds                      split-utf8       multi-byte text, each byte read apart
     hang             silent for good
     ignore-term      TERM has no effect                       close-output     closes stdout and stderr, goes on
     first ...        only in the task's first run             deaf             reads no more of its prompt
     succeed          the success record now, then go on       verdict KIND TEXT  the outcome line of scripts; KIND
     fail TEXT        an error record, the error's exit code                    is an outcome's, or `failed`
     error-exit-0 TEXT  an error record, exit code 0           limit SECONDS    a rate limit that says when it ends
     lie              says that all is done, but its record is an error's; exit code 0 (text, without records: 1)
     tt WORDS         run $STUBBORN_TT with these words ("..." is one, {task} the task's id); its output goes to
                      $STUBBORN_DIR/tt-output

   What each comes to is in tests/model_cli/test_behaviours.py. After close-output no success record can come: a failed
   run where the vendor always has one. In text a limit is a failed run, and error-exit-0 a success.
*/
#define _GNU_SOURCE
#include "speech.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *folder, *run, *task;
static int is_first, is_deaf;

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
    for (; bytes > 0; bytes -= sizeof line) put(line, sizeof line);
}

static void touch(const char *name) {
    int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) exit(99);
    close(fd);
}

static void child(const char *name) {
    struct stat noted = {0};
    if (fork() != 0) {
        while (stat(in_folder(name), &noted) || !noted.st_size) nap(1);
        return;
    }
    setsid();
    signal(SIGTERM, SIG_IGN);
    append(name, "child");
    for (;;) pause();
}

/* The next word at *rest, ended there; "..." is one word. NULL when there is none. */
static char *next_word(char **rest) {
    *rest += strspn(*rest, " ");
    if (!**rest) return NULL;
    char end = **rest == '"' ? '"' : ' ', *word = *rest + (end == '"');
    *rest = strchrnul(word, end);
    if (**rest) *(*rest)++ = 0;
    return word;
}

static char *with_task(char *word) {
    char *at = strstr(word, "{task}"), *made;
    if (!at) return word;
    if (asprintf(&made, "%.*s%s%s", (int)(at - word), word, task, at + strlen("{task}")) < 0) exit(99);
    return made;
}

static void call_tt(char *words) {
    char *argv[32] = {(char *)variable("STUBBORN_TT", "tt")}, *word, mark[32];
    for (int n = 1; n < 31 && (word = next_word(&words)); n++) argv[n] = with_task(word);
    pid_t pid = fork();
    if (pid == 0) {
        int nothing = open("/dev/null", O_RDONLY), log = open(in_folder("tt-output"), O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (dup2(nothing, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0) _exit(99);
        for (int fd = 3; fd < 256; fd++) close(fd); /* a supervisor that it starts must not hold the run's locks */
        execvp(argv[0], argv);
        _exit(127);
    }
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid) exit(99);
    snprintf(mark, sizeof mark, "tt:%d", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    append("marks", mark);
}

static void act(char *directive);

static void act_on_outcome(const char *name, char *rest) {
    if (!strcmp(name, "succeed")) succeed();
    else if (!strcmp(name, "fail")) exit(fail(rest));
    else if (!strcmp(name, "error-exit-0")) { fail(rest); exit(0); }
    else if (!strcmp(name, "limit")) exit(limit(atol(rest)));
    else if (!strcmp(name, "lie")) exit(lie());
    else if (!strcmp(name, "verdict")) { char *kind = next_word(&rest); verdict(kind ? kind : "ok", rest); }
    else if (!strcmp(name, "tt")) call_tt(rest);
    else if (!strcmp(name, "first")) { if (is_first) act(rest); }
    else exit(96);
}

static void act(char *directive) {
    char *rest = strchr(directive, ' ');
    if (rest) *rest++ = 0;
    else rest = "";
    if (!strcmp(directive, "await")) while (access(in_folder(rest), F_OK)) nap(2);
    else if (!strcmp(directive, "touch")) touch(rest);
    else if (!strcmp(directive, "work")) nap(atol(rest));
    else if (!strcmp(directive, "say")) say(rest);
    else if (!strcmp(directive, "flood")) flood(atol(rest));
    else if (!strcmp(directive, "long-line")) long_line(atol(rest));
    else if (!strcmp(directive, "long-answer")) long_answer(atol(rest));
    else if (!strcmp(directive, "split-utf8")) split_utf8();
    else if (!strcmp(directive, "child")) child(rest);
    else if (!strcmp(directive, "ignore-term")) signal(SIGTERM, SIG_IGN);
    else if (!strcmp(directive, "close-output")) close_output();
    else if (!strcmp(directive, "run")) { if (system(rest)) exit(97); }
    else if (!strcmp(directive, "hang")) for (;;) pause();
    else if (!strcmp(directive, "exit")) exit(atoi(rest));
    else if (!strcmp(directive, "deaf")) is_deaf = 1;
    else act_on_outcome(directive, rest);
}

static FILE *prompt_from(const char *last) {
    const char *sent = "Your instructions are in the file ", *kind = variable("STUBBORN_PROMPT", "");
    if (!strcmp(kind, "argument") && last) {
        if (strncmp(last, sent, strlen(sent))) return fmemopen((void *)last, strlen(last) + !*last, "r");
        char *path = strdup(last + strlen(sent));
        *strchrnul(path, ' ') = 0;
        return fopen(path, "r");
    }
    if (last && (!strcmp(kind, "file") || (!*kind && *last == '/'))) return fopen(last, "r");
    return stdin;
}

int main(int argc, char **argv) {
    folder = variable("STUBBORN_DIR", ".");
    run = variable("TINYTOWN_RUN", "-");
    task = variable("TINYTOWN_TASK_ID", "-");
    is_deaf = !strcmp(variable("STUBBORN_DEAF", ""), "1");
    hold("agent", variable("TINYTOWN_AGENT_ID", "-"));
    if (strcmp(task, "-")) hold("task", task);
    char name[256];
    snprintf(name, sizeof name, "first-%s", task);
    int fd = open(in_folder(name), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    is_first = fd >= 0;
    append("marks", "start");
    begin_speech(variable("STUBBORN_FORMAT", "text"));
    FILE *prompt = is_deaf ? NULL : prompt_from(argc > 1 ? argv[argc - 1] : NULL);
    if (!prompt && !is_deaf) exit(94);
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    while (!is_deaf && (size = getline(&line, &room, prompt)) > 0) {
        if (line[size - 1] == '\n') line[size - 1] = 0;
        if (!strncmp(line, "stub: ", 6)) act(line + 6);
    }
    succeed();
    append("marks", "end");
    return 0;
}
