/* Visitors of a town hall: LISTENERS hold an event stream each, and RATE requests a second are made over a few
   connections that stay open. `load PORT LISTENERS RATE SECONDS PATH` prints, when the time is over, one JSON object:
   requests answered 200, others, latencies in us (p50, p99), stream events read, listeners that are still there.
   "ready" is printed when every listener has its stream. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define ASKERS 16
#define MOST 10000000

struct visitor {
    int fd, is_listener, is_busy, is_there;
    long long began;
    size_t size, body;          /* of the answer: bytes so far; bytes in all, 0: the head is not whole yet */
    char head[4096];
    char last;
};

static struct visitor *visitors;
static int listeners, port, poller, ready, said;
static char ask[512];
static unsigned *latencies;
static size_t answered, refused, late, events;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static long long now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void send_all(struct visitor *v, const char *text) {
    if (send(v->fd, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text)) fail("send");
}

static void arrive(struct visitor *v, int is_listener) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    memset(v, 0, sizeof *v);
    v->is_listener = is_listener;
    v->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (v->fd < 0 || connect(v->fd, (struct sockaddr *)&to, sizeof to)) fail("connect");
    setsockopt(v->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(v->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = v};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, v->fd, &e)) fail("epoll_ctl");
    v->is_there = 1;
    if (is_listener) send_all(v, "GET /v1/events/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
}

static void hear(struct visitor *v, const char *data, ssize_t size) {
    /* Each event has a line that begins with "id:", and no other line begins with an i; the first says: ready. */
    for (ssize_t i = 0; i < size; i++) {
        if (data[i] == 'i' && v->last == '\n') {
            if (v->is_busy) events++;
            else ready++;
            v->is_busy = 1;
        }
        v->last = data[i];
    }
}

static void read_answer(struct visitor *v, const char *data, ssize_t size) {
    if (!v->body) {
        size_t room = sizeof v->head - 1 - v->size, part = (size_t)size < room ? (size_t)size : room;
        memcpy(v->head + v->size, data, part);
        v->head[v->size + part] = 0;
        char *end = strstr(v->head, "\r\n\r\n"), *length = strcasestr(v->head, "content-length:");
        if (end && length) v->body = (size_t)(end + 4 - v->head) + strtoul(length + 15, NULL, 10);
    }
    v->size += (size_t)size;
    if (!v->body || v->size < v->body) return;
    if (!strncmp(v->head, "HTTP/1.1 200", 12) && answered < MOST)
        latencies[answered++] = (unsigned)(now_us() - v->began);
    else
        refused++;
    v->is_busy = 0;
}

static void on_input(struct visitor *v) {
    static char data[1 << 16];
    ssize_t size = read(v->fd, data, sizeof data);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size <= 0) {
        close(v->fd);
        v->is_there = 0;
        if (!v->is_listener) {
            refused += v->is_busy ? 1 : 0;
            arrive(v, 0);
        }
    } else if (v->is_listener) {
        hear(v, data, size);
    } else {
        read_answer(v, data, size);
    }
}

static void make_request(void) {
    static int next;
    for (int n = 0; n < ASKERS; n++) {
        struct visitor *v = &visitors[listeners + (next + n) % ASKERS];
        if (v->is_busy) continue;
        next = (next + n + 1) % ASKERS;
        v->is_busy = 1;
        v->size = v->body = 0;
        v->began = now_us();
        send_all(v, ask);
        return;
    }
    late++;
}

static int by_size(const void *a, const void *b) {
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return (x > y) - (x < y);
}

static void report(void) {
    int there = 0;
    for (int n = 0; n < listeners; n++) there += visitors[n].is_there;
    qsort(latencies, answered, sizeof *latencies, by_size);
    unsigned p50 = answered ? latencies[answered / 2] : 0, p99 = answered ? latencies[answered * 99 / 100] : 0;
    printf("{\"answered\": %zu, \"refused\": %zu, \"late\": %zu, \"p50_us\": %u, \"p99_us\": %u, \"events\": %zu, "
           "\"listeners\": %d}\n", answered, refused, late, p50, p99, events, there);
}

int main(int argc, char **argv) {
    if (argc != 6) return 2;
    port = atoi(argv[1]);
    listeners = atoi(argv[2]);
    long rate = atol(argv[3]);
    long long until = 0;
    visitors = calloc((size_t)(listeners + ASKERS), sizeof *visitors);
    latencies = malloc(MOST * sizeof *latencies);
    poller = epoll_create1(EPOLL_CLOEXEC);
    snprintf(ask, sizeof ask, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", argv[5]);
    for (int n = 0; n < listeners + ASKERS; n++) arrive(&visitors[n], n < listeners);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, found[64];
    epoll_ctl(poller, EPOLL_CTL_ADD, timer, &e);
    while (!until || now_us() < until) {
        int count = epoll_wait(poller, found, 64, 50);
        for (int n = 0; n < count; n++) {
            unsigned long long ticks;
            if (found[n].data.ptr) {
                on_input(found[n].data.ptr);
            } else if (read(timer, &ticks, sizeof ticks) == sizeof ticks) {
                while (ticks--) make_request();
            }
        }
        if (!said && ready == listeners) {
            said = 1;
            printf("ready\n");
            fflush(stdout);
            until = now_us() + atoll(argv[4]) * 1000000LL;
            if (rate) {
                struct itimerspec every = {.it_interval.tv_nsec = 1000000000L / rate, .it_value.tv_nsec = 1};
                if (rate == 1) every.it_interval = (struct timespec){1, 0};
                timerfd_settime(timer, 0, &every, NULL);
            }
        }
    }
    report();
    return 0;
}
