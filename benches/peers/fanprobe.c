// fanprobe: a neutral fan-out meter, one epoll thread.
//
// It shares no code with what it measures. One publisher keeps WINDOW messages of PAYLOAD bytes on
// their way, BATCH to a write; RECEIVERS count the mark that ends each. It prints the measured
// process's CPU time a delivery, read from /proc, its resident memory, how long deliveries took and
// how long it took until the last receiver had a message.
//
//   fanprobe KIND PORT PID RECEIVERS PAYLOAD WINDOW BATCH SECONDS
//     KIND: ndjson nats redis mqtt raw
//   fanprobe raw-server PORT     the bare forwarder: every chunk read, unparsed, to everyone else
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#define MARK '~'
static double now() {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}
static double cpu_of(int pid) {
    char p[64], b[2048];
    snprintf(p, 64, "/proc/%d/stat", pid);
    FILE *f = fopen(p, "r");
    if (!f)
        return 0;
    size_t n = fread(b, 1, 2047, f);
    b[n] = 0;
    fclose(f);
    char *q = strrchr(b, ')') + 2;
    unsigned long u = 0, s = 0;
    char st;
    int i;
    long d;
    sscanf(q, "%c %d %d %d %d %d %*u %*u %*u %*u %*u %lu %lu", &st, &i, &i, &i, &i, &i, &u, &s);
    (void)d;
    return (double)(u + s) / sysconf(_SC_CLK_TCK);
}
static long rss_of(int pid) {
    char p[64], l[256];
    snprintf(p, 64, "/proc/%d/status", pid);
    FILE *f = fopen(p, "r");
    long k = 0;
    if (!f)
        return 0;
    while (fgets(l, 256, f))
        if (!strncmp(l, "VmRSS:", 6))
            k = atol(l + 6);
    fclose(f);
    return k;
}
static int dial(const char *h, int port, int idx) {
    int s = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, 4);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, h, &a.sin_addr);
    (void)idx;
    if (connect(s, (void *)&a, sizeof a)) {
        perror("connect");
        exit(1);
    }
    return s;
}
static void putall(int s, const char *b, size_t n) {
    while (n) {
        ssize_t k = write(s, b, n);
        if (k < 0) {
            if (errno == EAGAIN) {
                usleep(50);
                continue;
            }
            perror("write");
            exit(1);
        }
        b += k;
        n -= k;
    }
}
static void
raw_server(int port) { // the limit: forwards each chunk it reads, unparsed, to every other socket
    int l = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, 4);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, "127.0.0.1", &a.sin_addr);
    if (bind(l, (void *)&a, sizeof a) || listen(l, 4096)) {
        perror("listen");
        exit(1);
    }
    int ep = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = l}, ev[256];
    epoll_ctl(ep, EPOLL_CTL_ADD, l, &e);
    static int fds[70000];
    int n = 0;
    static char b[65536];
    for (;;) {
        int k = epoll_wait(ep, ev, 256, -1);
        for (int i = 0; i < k; i++) {
            int f = ev[i].data.fd;
            if (f == l) {
                int c = accept(l, 0, 0);
                setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, 4);
                e.data.fd = c;
                epoll_ctl(ep, EPOLL_CTL_ADD, c, &e);
                fds[n++] = c;
            } else {
                ssize_t r = read(f, b, sizeof b);
                if (r <= 0) {
                    close(f);
                    for (int j = 0; j < n; j++)
                        if (fds[j] == f) {
                            fds[j] = fds[--n];
                            break;
                        }
                    continue;
                }
                for (int j = 0; j < n; j++)
                    if (fds[j] != f)
                        putall(fds[j], b, r);
            }
        }
    }
}
// Latencies in buckets of 1/32 of a power of two, from 1 ns.
#define SUB 5
static long hist[64 << SUB], lasts[64 << SUB];
static void note(long *h, double seconds) {
    unsigned long ns = seconds > 1e-9 ? seconds * 1e9 : 1;
    int e = 63 - __builtin_clzl(ns);
    int sub = e > SUB ? (ns >> (e - SUB)) & ((1 << SUB) - 1) : 0;
    h[(e << SUB) + sub]++;
}
static double us_at(const long *h, double share) {
    long all = 0, below = 0;
    for (int i = 0; i < 64 << SUB; i++)
        all += h[i];
    for (int i = 0; i < 64 << SUB; i++) {
        below += h[i];
        if (below && below >= share * all)
            return (double)(1UL << (i >> SUB)) * (1 + (double)((i & ((1 << SUB) - 1)) + 1) / (1 << SUB)) / 1e3;
    }
    return 0;
}
// MQTT 3.1.1, clean session, no keep-alive, no client id; topic t at QoS 0.
static const char mqtt_hello[] = "\x10\x0c\0\4MQTT\4\2\0\0\0\0";
static const char mqtt_subscribe[] = "\x82\6\0\1\0\1t\0";
static int mqtt_publish(char *out, const char *payload, int bytes) {
    int n = 0, rest = bytes + 3;
    out[n++] = 0x30;
    do {
        out[n++] = rest % 128 | (rest >= 128 ? 128 : 0);
        rest /= 128;
    } while (rest);
    memcpy(out + n, "\0\1t", 3);
    memcpy(out + n + 3, payload, bytes);
    return n + 3 + bytes;
}
int main(int c, char **v) {
    if (c >= 3 && !strcmp(v[1], "raw-server")) {
        raw_server(atoi(v[2]));
    }
    if (c < 9) {
        fprintf(stderr, "usage: fanprobe KIND PORT PID RECEIVERS PAYLOAD WINDOW BATCH SECONDS\n "
                        "KIND: ndjson nats redis mqtt raw\n");
        return 2;
    }
    const char *kind = v[1];
    int port = atoi(v[2]), pid = atoi(v[3]), N = atoi(v[4]), P = atoi(v[5]), W = atoi(v[6]),
        B = atoi(v[7]);
    double S = atof(v[8]);
    int *fd = malloc(4 * (N + 1));
    long *cnt = calloc(8, N + 1);
    int ep = epoll_create1(0);
    for (int i = 0; i < N; i++) {
        fd[i] = dial("127.0.0.1", port, i);
        if (!strcmp(kind, "nats")) {
            putall(fd[i], "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB t 1\r\n",
                   strlen("CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB t 1\r\n"));
        }
        if (!strcmp(kind, "redis"))
            putall(fd[i], "SUBSCRIBE t\r\n", 13);
        if (!strcmp(kind, "mqtt")) {
            putall(fd[i], mqtt_hello, sizeof mqtt_hello - 1);
            putall(fd[i], mqtt_subscribe, sizeof mqtt_subscribe - 1);
        }
        fcntl(fd[i], F_SETFL, O_NONBLOCK);
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
        epoll_ctl(ep, EPOLL_CTL_ADD, fd[i], &e);
    }
    int pub = dial("127.0.0.1", port, N);
    fd[N] = pub;
    if (!strcmp(kind, "nats"))
        putall(pub, "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false}\r\n",
               strlen("CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false}\r\n"));
    if (!strcmp(kind, "mqtt"))
        putall(pub, mqtt_hello, sizeof mqtt_hello - 1);
    fcntl(pub, F_SETFL, O_NONBLOCK);
    struct epoll_event pe = {.events = EPOLLIN, .data.u32 = N};
    epoll_ctl(ep, EPOLL_CTL_ADD, pub, &pe);
    struct sockaddr_in me;
    socklen_t ml = sizeof me;
    getsockname(pub, (void *)&me, &ml);
    char pay[65536];
    memset(pay, 'x', P);
    pay[P - 1] = MARK;
    pay[P] = 0;
    char one[70000];
    int ol;
    if (!strcmp(kind, "nats"))
        ol = sprintf(one, "PUB t %d\r\n%s\r\n", P, pay);
    else if (!strcmp(kind, "redis"))
        ol = sprintf(one, "*3\r\n$7\r\nPUBLISH\r\n$1\r\nt\r\n$%d\r\n%s\r\n", P, pay);
    else if (!strcmp(kind, "mqtt"))
        ol = mqtt_publish(one, pay, P);
    else if (!strcmp(kind, "raw"))
        ol = sprintf(one, "%s", pay);
    else
        ol = sprintf(one, "{\"client_ip\":\"127.0.0.1:%d\",\"message\":\"%s\"}%s",
                     ntohs(me.sin_port), pay, !strcmp(kind, "ndjson") ? "\n" : "");
    char *batch = malloc((size_t)ol * B);
    for (int i = 0; i < B; i++)
        memcpy(batch + (size_t)i * ol, one, ol);
    usleep(300000);
    static char rb[1 << 18];
    struct epoll_event ev[512]; // drain handshakes
    for (;;) {
        int k = epoll_wait(ep, ev, 512, 100);
        if (!k)
            break;
        for (int i = 0; i < k; i++)
            while (read(fd[ev[i].data.u32], rb, sizeof rb) > 0)
                ;
    }
    long sent = 0, del = 0, bytes = 0, reads = 0;
    // When each message was sent, and by how many it was received. A receiver may lag the others by
    // much more than the window, which is over their average.
    enum { RING = 1 << 20 };
    double *sent_at = calloc(RING, sizeof *sent_at);
    int *got = calloc(RING, sizeof *got);
    size_t off = 0;
    double t0 = now(), c0 = cpu_of(pid), t = t0;
    int stop = 0;
    double tend = 0;
    struct rusage r0;
    getrusage(RUSAGE_SELF, &r0);
    while (1) {
        t = now();
        if (!stop && t - t0 > S) {
            stop = 1;
        }
        if (!stop && (off || sent - del / N + B <= W)) {
            for (int i = 0; off == 0 && i < B; i++) {
                sent_at[(sent + i) % RING] = t;
                got[(sent + i) % RING] = 0;
            }
            ssize_t k = write(pub, batch + off, (size_t)ol * B - off);
            if (k > 0) {
                off += k;
                if (off == (size_t)ol * B) {
                    off = 0;
                    sent += B;
                }
            }
        }
        if (stop && (del >= sent * N || t - t0 > S + 5)) {
            tend = t;
            break;
        }
        int k = epoll_wait(ep, ev, 512, (!stop && (off || sent - del / N + B <= W)) ? 0 : 1);
        for (int i = 0; i < k; i++) {
            int x = ev[i].data.u32;
            ssize_t n = read(fd[x], rb, sizeof rb);
            reads++;
            if (n <= 0) {
                if (n == 0 || errno != EAGAIN) {
                    fprintf(stderr, "conn %d closed\n", x);
                    return 1;
                }
                continue;
            }
            if (x == N)
                continue;
            bytes += n;
            char *p = rb, *e = rb + n;
            double at = now();
            while ((p = memchr(p, MARK, e - p))) {
                long which = cnt[x]++ % RING;
                note(hist, at - sent_at[which]);
                if (++got[which] == N)
                    note(lasts, at - sent_at[which]);
                del++;
                p++;
            }
        }
    }
    double c1 = cpu_of(pid);
    struct rusage r1;
    getrusage(RUSAGE_SELF, &r1);
    double mine = (r1.ru_utime.tv_sec - r0.ru_utime.tv_sec) +
                  (r1.ru_stime.tv_sec - r0.ru_stime.tv_sec) +
                  ((r1.ru_utime.tv_usec - r0.ru_utime.tv_usec) +
                   (r1.ru_stime.tv_usec - r0.ru_stime.tv_usec)) /
                      1e6;
    printf("%-7s N=%d P=%d W=%d B=%d sent=%ld lost=%ld deliveries/s=%.0f server_us/delivery=%.3f "
           "server_cpu=%.2f probe_cpu=%.2f reads/delivery=%.3f rss_kb=%ld rss/conn=%.1fKB "
           "p50_us=%.1f p99_us=%.1f last_p50_us=%.1f\n",
           kind, N, P, W, B, sent, sent * N - del, del / (tend - t0), (c1 - c0) * 1e6 / del,
           (c1 - c0) / (tend - t0), mine / (tend - t0), (double)reads / del, rss_of(pid),
           rss_of(pid) / (double)N, us_at(hist, 0.5), us_at(hist, 0.99), us_at(lasts, 0.5));
}
