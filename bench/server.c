/* The benchmark's server: plain C, one thread per connection, as little work as can be, so that
 * what is measured is the client. Prints the ports of its plain and its TLS listener.
 *
 * The path of the request says what a connection does:
 *   /echo                          sends each message back
 *   /flood/KIND/SIZE               sends messages without end
 *   /serve/KIND/SIZE/FRAGMENTS     answers each message with one of that size and fragmentation
 *   /sink                          reads; answers a message of one byte with itself
 * KIND is t (ASCII text), u (text of a European language, every 40th character beyond ASCII), c
 * (Chinese) or b (binary). ?cpu=N pins the connection.
 *
 * It trusts its clients: nothing here is fit for a network. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER (1 << 20)
#define BATCH (256 * 1024)

struct connection {
    int fd;
    SSL *ssl;
    unsigned char *data; /* received and not consumed: data[start:end] */
    size_t start, end;
    uint32_t mask_at; /* where in the mask key the next byte of the payload stands */
    unsigned char key[4];
};

struct listener {
    int fd;
    SSL_CTX *context;
};

static ssize_t
receive(struct connection *c, void *into, size_t size)
{
    return c->ssl ? SSL_read(c->ssl, into, (int)size) : recv(c->fd, into, size, 0);
}

static int
send_all(struct connection *c, const unsigned char *data, size_t size)
{
    while (size > 0) {
        size_t part = size > BUFFER ? BUFFER : size;
        ssize_t sent = c->ssl ? SSL_write(c->ssl, data, (int)part) : send(c->fd, data, size, 0);
        if (sent <= 0) {
            return 0;
        }
        data += sent;
        size -= (size_t)sent;
    }
    return 1;
}

/* Have at least so many bytes in the buffer. */
static int
need(struct connection *c, size_t size)
{
    if (c->end - c->start >= size) {
        return 1;
    }
    memmove(c->data, c->data + c->start, c->end - c->start);
    c->end -= c->start;
    c->start = 0;
    while (c->end < size) {
        ssize_t got = receive(c, c->data + c->end, BUFFER - c->end);
        if (got <= 0) {
            return 0;
        }
        c->end += (size_t)got;
    }
    return 1;
}

/* The next frame's header; 0 at the end of the stream. */
static int
next_frame(struct connection *c, unsigned char *first, uint64_t *length)
{
    size_t head = 2;
    int i;

    if (!need(c, 2)) {
        return 0;
    }
    *first = c->data[c->start];
    *length = c->data[c->start + 1] & 0x7f;
    if (*length > 125) {
        head += *length == 126 ? 2 : 8;
    }
    if (!need(c, head + 4)) {
        return 0;
    }
    if (head > 2) {
        *length = 0;
        for (i = 2; i < (int)head; i++) {
            *length = *length << 8 | c->data[c->start + i];
        }
    }
    memcpy(c->key, c->data + c->start + head, 4);
    c->mask_at = 0;
    c->start += head + 4;
    return 1;
}

static int
skip(struct connection *c, uint64_t length)
{
    while (length > 0) {
        size_t have = c->end - c->start;
        size_t part = have < length ? have : (size_t)length;
        c->start += part;
        length -= part;
        if (length > 0 && !need(c, 1)) {
            return 0;
        }
    }
    return 1;
}

static size_t
put_header(unsigned char *p, unsigned char first, uint64_t length)
{
    size_t head = length < 126 ? 2 : length < 65536 ? 4 : 10, i;

    p[0] = first;
    p[1] = head == 2 ? (unsigned char)length : head == 4 ? 126 : 127;
    for (i = 2; i < head; i++) {
        p[i] = (unsigned char)(length >> (8 * (head - 1 - i)));
    }
    return head;
}

/* Send one frame's payload back as it comes in. */
static int
echo_frame(struct connection *c, unsigned char first, uint64_t length)
{
    unsigned char head[10];
    size_t header = put_header(head, first, length), i;

    if (length + header <= 65536) { /* in one call, as small frames go */
        unsigned char out[65536];
        if (!need(c, length)) {
            return 0;
        }
        memcpy(out, head, header);
        for (i = 0; i < length; i++) {
            out[header + i] = c->data[c->start + i] ^ c->key[i & 3];
        }
        c->start += length;
        return send_all(c, out, header + length);
    }
    if (!send_all(c, head, header)) {
        return 0;
    }
    while (length > 0) {
        size_t part;
        if (!need(c, 1)) {
            return 0;
        }
        part = c->end - c->start < length ? c->end - c->start : (size_t)length;
        for (i = 0; i < part; i++) {
            c->data[c->start + i] ^= c->key[c->mask_at++ & 3];
        }
        if (!send_all(c, c->data + c->start, part)) {
            return 0;
        }
        c->start += part;
        length -= part;
    }
    return 1;
}

static void
fill(unsigned char *p, size_t size, char kind)
{
    size_t i;

    for (i = 0; i < size; i++) {
        p[i] = kind == 'b' ? (unsigned char)(i * 7) : (unsigned char)('a' + i % 26);
    }
    for (i = 0; kind == 'u' && i + 2 <= size; i += 40) {
        memcpy(p + i, "\xc3\xa9", 2);
    }
    for (i = 0; kind == 'c' && i + 3 <= size; i += 3) {
        memcpy(p + i, i % 2 ? "\xe5\xad\x97" : "\xe6\xbc\xa2", 3);
    }
}

/* A message of ``size`` bytes in ``fragments`` frames; the caller frees it. */
static unsigned char *
build_message(char kind, size_t size, size_t fragments, size_t *total)
{
    unsigned char *payload = malloc(size + 1), *message = malloc(size + fragments * 10);
    size_t at = 0, from = 0, i;

    fill(payload, size, kind);
    for (i = 0; i < fragments; i++) {
        size_t to = size / fragments * (i + 1);
        unsigned char first = i == 0 ? (kind == 'b' ? 2 : 1) : 0;
        if (i + 1 == fragments) {
            to = size;
            first |= 0x80;
        }
        at += put_header(message + at, first, to - from);
        memcpy(message + at, payload + from, to - from);
        at += to - from;
        from = to;
    }
    free(payload);
    *total = at;
    return message;
}

static void
flood(struct connection *c, char kind, size_t size)
{
    size_t one, count, i;
    unsigned char *message = build_message(kind, size, 1, &one), *batch;

    count = one < BATCH ? BATCH / one : 1;
    batch = malloc(one * count);
    for (i = 0; i < count; i++) {
        memcpy(batch + i * one, message, one);
    }
    free(message);
    while (send_all(c, batch, one * count)) {
    }
    free(batch);
}

static int
answer_close(struct connection *c, uint64_t length)
{
    unsigned char out[2] = {0x88, 0};
    skip(c, length);
    return send_all(c, out, 2);
}

static void
converse(struct connection *c, const char *path)
{
    unsigned char first, *message = NULL, kind;
    uint64_t length;
    size_t total = 0, size, fragments;

    if (sscanf(path, "/flood/%c/%zu", &kind, &size) == 2) {
        flood(c, (char)kind, size);
        return;
    }
    if (sscanf(path, "/serve/%c/%zu/%zu", &kind, &size, &fragments) == 3) {
        message = build_message((char)kind, size, fragments, &total);
    }
    while (next_frame(c, &first, &length)) {
        int going = 1;
        if ((first & 0xf) == 8) {
            answer_close(c, length);
            break;
        }
        if ((first & 0xf) == 9) {
            going = echo_frame(c, 0x8a, length);
        }
        else if (message != NULL) {
            going = skip(c, length) && send_all(c, message, total);
        }
        else if (strncmp(path, "/sink", 5) == 0 && length != 1) {
            going = skip(c, length);
        }
        else {
            going = echo_frame(c, first, length);
        }
        if (!going) {
            break;
        }
    }
    free(message);
}

static int
shake_hands(struct connection *c, char *path)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char key[128] = "", out[256], *line;
    unsigned char digest[SHA_DIGEST_LENGTH], accept[64];
    size_t have = 0;
    char head[8192];

    do {
        ssize_t got = receive(c, head + have, sizeof head - 1 - have);
        if (got <= 0) {
            return 0;
        }
        have += (size_t)got;
        head[have] = 0;
    } while (strstr(head, "\r\n\r\n") == NULL && have < sizeof head - 1);
    sscanf(head, "GET %255s", path);
    line = strcasestr(head, "sec-websocket-key:");
    if (line == NULL || sscanf(line + 18, " %60s", key) != 1) {
        return 0;
    }
    strcat(key, guid);
    SHA1((unsigned char *)key, strlen(key), digest);
    EVP_EncodeBlock(accept, digest, SHA_DIGEST_LENGTH);
    snprintf(out, sizeof out,
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Accept: %s\r\n\r\n", accept);
    return send_all(c, (unsigned char *)out, strlen(out));
}

static void
pin(const char *path)
{
#ifdef __linux__
    const char *cpu = strstr(path, "cpu=");
    if (cpu != NULL) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((size_t)atoi(cpu + 4), &set);
        pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    }
#else
    (void)path;
#endif
}

static void *
serve(void *argument)
{
    struct connection *c = argument;
    char path[256] = "/";

    if ((c->ssl == NULL || SSL_accept(c->ssl) == 1) && shake_hands(c, path)) {
        pin(path);
        c->data = malloc(strncmp(path, "/idle", 5) == 0 ? 4096 : BUFFER);
        converse(c, path);
        free(c->data);
        if (c->ssl != NULL) {
            SSL_shutdown(c->ssl);
        }
    }
    if (c->ssl != NULL) {
        SSL_free(c->ssl);
    }
    close(c->fd);
    free(c);
    return NULL;
}

static void *
accept_connections(void *argument)
{
    struct listener *l = argument;
    pthread_attr_t attributes;

    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 256 * 1024);
    for (;;) {
        pthread_t thread;
        struct connection *c = calloc(1, sizeof *c);
        int one = 1;
        c->fd = accept(l->fd, NULL, NULL);
        if (c->fd < 0) {
            free(c);
            continue;
        }
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (l->context != NULL) {
            c->ssl = SSL_new(l->context);
            SSL_set_fd(c->ssl, c->fd);
        }
        pthread_create(&thread, &attributes, serve, c);
    }
    return NULL;
}

static int
listen_on_loopback(struct listener *l)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    l->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(l->fd, (struct sockaddr *)&address, size) < 0 || listen(l->fd, 1024) < 0) {
        perror("server");
        exit(1);
    }
    getsockname(l->fd, (struct sockaddr *)&address, &size);
    return ntohs(address.sin_port);
}

int
main(int argc, char **argv)
{
    struct listener plain = {0}, tls = {0};
    pthread_t thread;
    int port, tls_port = 0;

    signal(SIGPIPE, SIG_IGN);
    port = listen_on_loopback(&plain);
    if (argc == 3) {
        tls.context = SSL_CTX_new(TLS_server_method());
        if (SSL_CTX_use_certificate_chain_file(tls.context, argv[1]) != 1 ||
            SSL_CTX_use_PrivateKey_file(tls.context, argv[2], SSL_FILETYPE_PEM) != 1) {
            ERR_print_errors_fp(stderr);
            return 1;
        }
        tls_port = listen_on_loopback(&tls);
        pthread_create(&thread, NULL, accept_connections, &tls);
    }
    printf("%d %d\n", port, tls_port);
    fflush(stdout);
    accept_connections(&plain);
    return 0;
}
