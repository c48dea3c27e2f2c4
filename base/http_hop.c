/* One HTTP exchange over libcurl: options, callbacks, and what each failure means. Follows nothing,
 * repeats nothing. */
#define _GNU_SOURCE
#include "base/http_addr.h"
#include "base/http_body.h"
#include "base/http_private.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* What the callbacks of one exchange share. */
struct exchange {
    const struct ms_http_request *request;
    const struct ms_hop *hop;
    struct ms_http_response *response;
    CURL *easy;
    struct ms_http_body body;
    bool body_open;    /* body was initialised */
    bool headers_done; /* the final answer's header block has ended */
    bool sent;         /* a connection stood and the request began to go out */
    uint64_t header_bytes;
    enum ms_status fault; /* why a callback gave up; MS_OK: none did */
    struct ms_error *err;
    char refused[64]; /* an address that was refused, for the message */
    enum ms_addr_class refused_class;
};

struct file_part {
    int fd;
    uint64_t offset, bytes;
};

static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct exchange *self = ctx;
    enum ms_addr_class kind = ms_addr_classify(&address->addr, address->addrlen);
    bool allowed = self->hop->rule == MS_PEER_ANY ||
                   (self->hop->rule == MS_PEER_PUBLIC && kind == MS_ADDR_PUBLIC) ||
                   (self->hop->rule == MS_PEER_LOOPBACK && kind == MS_ADDR_LOOPBACK);
    if (purpose != CURLSOCKTYPE_IPCXN || !allowed) {
        self->refused_class = kind;
        ms_addr_format(&address->addr, address->addrlen, self->refused);
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Called when a connection stands and the request is about to go out on it. */
static int before_request(void *ctx, char *peer, char *local, int peer_port, int local_port)
{
    struct exchange *self = ctx;
    (void)peer, (void)local, (void)peer_port, (void)local_port;
    self->sent = true;
    return CURL_PREREQFUNC_OK;
}

static bool open_body(struct exchange *self)
{
    long status = 0;
    (void)curl_easy_getinfo(self->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status / 100 == 1)
        return true;
    char encoding[32] = "";
    (void)ms_http_header(self->response, "content-encoding", encoding, sizeof encoding);
    for (char *p = encoding; *p; p++)
        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
    int fd = status / 100 == 2 ? self->request->sink_fd : 0;
    uint64_t max =
        self->request->max_body_bytes ? self->request->max_body_bytes : MS_LIMIT_HTTP_BODY_BYTES;
    /* An error page never needs more than memory may hold, whatever the file may. */
    if (fd <= 0 && self->request->sink_fd > 0 && max > MS_LIMIT_HTTP_BODY_BYTES)
        max = MS_LIMIT_HTTP_BODY_BYTES;
    self->response->body.max = max < SIZE_MAX / 2 ? (size_t)max : SIZE_MAX / 2;
    self->fault =
        ms_http_body_init(&self->body, &self->response->body, fd, max, encoding, self->err);
    self->headers_done = true;
    self->body_open = self->fault == MS_OK;
    return self->body_open;
}

/* Keeps "name: value\n", the name in lower case, controls in the value as blanks. */
static void keep_header(struct ms_http_response *response, const char *line, size_t n)
{
    const char *colon = memchr(line, ':', n);
    if (!colon || colon == line)
        return;
    for (const char *p = line; p < colon; p++)
        (void)ms_buf_append_byte(&response->headers,
                                 (uint8_t)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p));
    (void)ms_buf_append_text(&response->headers, ": ");
    const char *p = colon + 1, *end = line + n;
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    while (end > p && (unsigned char)end[-1] <= ' ')
        end--;
    for (; p < end; p++)
        (void)ms_buf_append_byte(&response->headers, (uint8_t)((unsigned char)*p < ' ' ? ' ' : *p));
    (void)ms_buf_append_byte(&response->headers, '\n');
}

static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
    struct exchange *self = ctx;
    size_t n = size * count;
    self->header_bytes += n;
    if (self->header_bytes > MS_LIMIT_HTTP_HEADER_BYTES) {
        self->fault = ms_error_set(self->err, MS_E_REMOTE, "more than %zu bytes of headers",
                                   MS_LIMIT_HTTP_HEADER_BYTES);
        return 0;
    }
    if (self->headers_done) /* trailers */
        return n;
    if (n >= 5 && memcmp(data, "HTTP/", 5) == 0)
        ms_buf_clear(&self->response->headers);
    else if (n == 0 || data[0] == '\r' || data[0] == '\n')
        return open_body(self) ? n : 0;
    else
        keep_header(self->response, data, n);
    return n;
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
    struct exchange *self = ctx;
    size_t n = size * count;
    if (!self->body_open) {
        self->fault = ms_error_set(self->err, MS_E_REMOTE, "a body without headers");
        return 0;
    }
    self->fault = ms_http_body_write(&self->body, data, n, self->err);
    return self->fault == MS_OK ? n : 0;
}

static size_t read_part(char *buffer, size_t size, size_t count, void *ctx)
{
    struct file_part *part = ctx;
    size_t want = size * count;
    if (want > part->bytes - part->offset)
        want = (size_t)(part->bytes - part->offset);
    ssize_t n;
    do
        n = pread(part->fd, buffer, want, (off_t)part->offset);
    while (n < 0 && errno == EINTR);
    if (n < 0 || (n == 0 && want > 0)) /* shorter than promised: never pad a sample */
        return CURL_READFUNC_ABORT;
    part->offset += (uint64_t)n;
    return (size_t)n;
}

static int seek_part(void *ctx, curl_off_t offset, int origin)
{
    struct file_part *part = ctx;
    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > part->bytes)
        return CURL_SEEKFUNC_CANTSEEK;
    part->offset = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

/* The multipart body, or NULL without memory. */
static curl_mime *make_mime(CURL *easy, const struct ms_http_request *request)
{
    curl_mime *mime = curl_mime_init(easy);
    bool ok = mime != NULL;
    for (size_t i = 0; ok && i < request->part_count; i++) {
        const struct ms_http_part *from = &request->parts[i];
        curl_mimepart *part = curl_mime_addpart(mime);
        ok = part && curl_mime_name(part, from->name) == CURLE_OK;
        if (ok && from->value) {
            ok = curl_mime_data(part, from->value, CURL_ZERO_TERMINATED) == CURLE_OK;
        } else if (ok) {
            struct file_part *file = malloc(sizeof *file);
            if (file)
                *file = (struct file_part){.fd = from->fd, .bytes = from->fd_bytes};
            ok = file && curl_mime_data_cb(part, (curl_off_t)from->fd_bytes, read_part, seek_part,
                                           free, file) == CURLE_OK;
            ok = ok && curl_mime_type(part, "application/octet-stream") == CURLE_OK;
        }
        if (ok && from->filename)
            ok = curl_mime_filename(part, from->filename) == CURLE_OK;
    }
    if (ok)
        return mime;
    curl_mime_free(mime);
    return NULL;
}

static bool starts(const char *line, const char *name)
{
    return strncasecmp(line, name, strlen(name)) == 0;
}

static bool may_travel(const char *line)
{
    return starts(line, "accept") || starts(line, "content-type:") ||
           starts(line, "git-protocol:") || starts(line, "range:");
}

static bool add_line(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (longer)
        *list = longer;
    return longer != NULL;
}

/* Appends the secret's header when the hop goes to the origin the secret is bound to. */
static bool add_secret(struct curl_slist **list, const struct ms_http_request *request,
                       const struct ms_url *url)
{
    if (!request->secret || !request->secret_header)
        return true;
    const char *value = ms_secret_value(request->secret);
    const char *origin = ms_secret_origin(request->secret);
    if (!origin[0] || strcmp(origin, url->origin) != 0)
        return true;
    size_t prefix = strlen(request->secret_header), n = strlen(value);
    char *line = malloc(prefix + n + 1);
    if (!line)
        return false;
    memcpy(line, request->secret_header, prefix);
    memcpy(line + prefix, value, n + 1);
    bool ok = add_line(list, line);
    explicit_bzero(line, prefix + n);
    free(line);
    return ok;
}

static void free_headers(struct curl_slist *list)
{
    for (struct curl_slist *node = list; node; node = node->next)
        explicit_bzero(node->data, strlen(node->data));
    curl_slist_free_all(list);
}

static bool make_headers(const struct ms_http_request *request, const struct ms_hop *hop,
                         struct curl_slist **out)
{
    bool has_type = false;
    /* No "Expect: 100-continue": small servers answer it late or not at all. */
    bool ok = add_line(out, "Expect:");
    ok = ok &&
         add_line(out, request->ask_gzip ? "Accept-Encoding: gzip" : "Accept-Encoding: identity");
    for (size_t i = 0; ok && i < request->header_count; i++) {
        const char *line = request->headers[i];
        if (hop->foreign && !may_travel(line))
            continue;
        if (starts(line, "content-type:") && !hop->with_body)
            continue;
        has_type = has_type || starts(line, "content-type:");
        ok = add_line(out, line);
    }
    if (ok && hop->with_body && request->part_count == 0 && !has_type)
        ok = add_line(out, "Content-Type: application/octet-stream");
    return ok && add_secret(out, request, hop->url);
}

static bool set_method(CURL *easy, const struct ms_http_request *request, const struct ms_hop *hop,
                       curl_mime **mime)
{
    bool ok = true;
    if (hop->with_body && request->part_count > 0) {
        *mime = make_mime(easy, request);
        ok = *mime && curl_easy_setopt(easy, CURLOPT_MIMEPOST, *mime) == CURLE_OK;
    } else if (hop->with_body) {
        ok = curl_easy_setopt(easy, CURLOPT_POST, 1L) == CURLE_OK &&
             curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_bytes) ==
                 CURLE_OK &&
             curl_easy_setopt(easy, CURLOPT_POSTFIELDS,
                              request->body ? (const char *)request->body : "") == CURLE_OK;
    } else if (strcmp(hop->method, "HEAD") == 0) {
        ok = curl_easy_setopt(easy, CURLOPT_NOBODY, 1L) == CURLE_OK;
    } else {
        ok = curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L) == CURLE_OK;
    }
    if (strcmp(hop->method, "HEAD") != 0)
        ok = ok && curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, hop->method) == CURLE_OK;
    return ok;
}

static bool set_limits(CURL *easy, const struct ms_http *self,
                       const struct ms_http_request *request)
{
    const struct ms_http_options *o = &self->options;
    uint32_t total = request->total_timeout_ms ? request->total_timeout_ms : o->total_timeout_ms;
    /* For tests of services that never answer; can only shorten. */
    const char *patience = getenv("MALSEQ_TEST_PATIENCE_MS");
    long most = patience ? strtol(patience, NULL, 10) : 0;
    if (most > 0 && (uint64_t)most < total)
        total = (uint32_t)most;
    uint32_t stall = request->stall_timeout_ms ? request->stall_timeout_ms : o->stall_timeout_ms;
    uint32_t stall_s = (stall + 999) / 1000;
    /* A request that may not be sent twice never rides on an old connection: curl would silently
     * send it again when that turns out to be dead. */
    bool fresh = o->fresh_connections || !request->idempotent;
    return curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)o->connect_timeout_ms) ==
               CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)total) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)stall_s) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, fresh ? 1L : 0L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, o->fresh_connections ? 1L : 0L) == CURLE_OK;
}

static bool set_transport(CURL *easy, const struct ms_http *self, struct exchange *exchange)
{
    /* Only a peer rule that looks at no address may go through a proxy. */
    bool proxy = exchange->hop->rule == MS_PEER_ANY;
    if (self->ca_file && curl_easy_setopt(easy, CURLOPT_CAINFO, self->ca_file) != CURLE_OK)
        return false;
    return curl_easy_setopt(easy, CURLOPT_URL, exchange->hop->url->text) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR,
                            exchange->hop->url->https ? "https" : "http") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PROXY, proxy ? NULL : "") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_USERAGENT, self->user_agent) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, exchange) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_request) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PREREQDATA, exchange) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERDATA, exchange) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange) == CURLE_OK;
}

static struct ms_hop_result stop(enum ms_status status)
{
    return (struct ms_hop_result){MS_HOP_STOPPED, status, false};
}

/* Whether a fault of the transport may pass by itself. Certificates, for one, do not. */
static bool may_pass(CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL: /* what 7.88 says of an answer that is not HTTP */
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_PROXY:
        return true;
    default:
        return false;
    }
}

static const char *reason(CURLcode code, const char *detail)
{
    if (code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_WEIRD_SERVER_REPLY)
        return "the answer is not HTTP";
    if (code == CURLE_GOT_NOTHING)
        return "the server closed the connection without an answer";
    if (code == CURLE_PARTIAL_FILE)
        return "the connection was closed before the answer was complete";
    return detail[0] ? detail : curl_easy_strerror(code);
}

/* What the end of curl_easy_perform means. */
static struct ms_hop_result judge(struct exchange *self, CURLcode code, const char *detail)
{
    struct ms_hop_result result = {MS_HOP_FAILED, MS_E_REMOTE, !self->sent};
    const char *origin = self->hop->url->origin;
    if (self->fault != MS_OK) {
        ms_error_prepend(self->err, "%s", origin);
        if (self->fault != MS_E_REMOTE)
            return stop(self->fault);
        return result;
    }
    if (code == CURLE_OK)
        return (struct ms_hop_result){MS_HOP_ANSWERED, MS_OK, false};
    if (code == CURLE_OUT_OF_MEMORY)
        return stop(ms_error_set(self->err, MS_E_NOMEM, "out of memory"));
    if (code == CURLE_COULDNT_CONNECT && self->refused[0])
        return stop(ms_error_set(self->err, MS_REJECT,
                                 "%s leads to the %s address %s, which a URL from outside may not",
                                 origin, ms_addr_class_name(self->refused_class), self->refused));
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return stop(
            ms_error_set(self->err, MS_E_IO, "%s: the file being sent is cut short", origin));
    char shown[300];
    (void)ms_escape_text(reason(code, detail), shown, sizeof shown);
    (void)ms_error_set(self->err, MS_E_REMOTE, "%s: %s", origin, shown);
    return may_pass(code) ? result : stop(MS_E_REMOTE);
}

static void fill_response(struct exchange *self)
{
    struct ms_http_response *response = self->response;
    long status = 0;
    (void)curl_easy_getinfo(self->easy, CURLINFO_RESPONSE_CODE, &status);
    response->status = (int)status;
    response->body_bytes = self->body.bytes;
    memcpy(response->final_url, self->hop->url->text, sizeof response->final_url);
    char type[256] = "";
    (void)ms_http_header(response, "content-type", type, sizeof type);
    size_t n = strcspn(type, "; \t");
    for (size_t i = 0; i < n; i++)
        type[i] = (char)(type[i] >= 'A' && type[i] <= 'Z' ? type[i] + 32 : type[i]);
    if (n >= sizeof response->content_type)
        n = 0;
    memcpy(response->content_type, type, n);
    response->content_type[n] = '\0';
}

struct ms_hop_result ms_hop_run(struct ms_http *self, const struct ms_http_request *request,
                                const struct ms_hop *hop, struct ms_http_response *response,
                                struct ms_error *err)
{
    CURL *easy = self->easy[hop->rule];
    struct exchange exchange = {
        .request = request, .hop = hop, .response = response, .easy = easy, .err = err};
    struct curl_slist *headers = NULL;
    curl_mime *mime = NULL;
    char detail[CURL_ERROR_SIZE] = "";
    ms_buf_clear(&response->headers);
    ms_buf_clear(&response->body);
    curl_easy_reset(easy);
    struct ms_hop_result result;
    if (!set_transport(easy, self, &exchange) || !set_limits(easy, self, request) ||
        !set_method(easy, request, hop, &mime) || !make_headers(request, hop, &headers) ||
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, detail) != CURLE_OK) {
        result = stop(
            ms_error_set(err, MS_E_NOMEM, "%s: the request cannot be set up", hop->url->origin));
    } else {
        CURLcode code = curl_easy_perform(easy);
        if (code == CURLE_OK && exchange.body_open)
            exchange.fault = ms_http_body_finish(&exchange.body, err);
        result = judge(&exchange, code, detail);
        fill_response(&exchange);
    }
    ms_http_body_release(&exchange.body);
    curl_easy_reset(easy); /* nothing of this request, its secret included, stays in the handle */
    free_headers(headers);
    curl_mime_free(mime);
    return result;
}
