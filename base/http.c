/* Requests as callers see them: attempts, waits, redirects hop by hop, and who may be talked to. */
#include "base/http.h"

#include "base/clock.h"
#include "base/http_private.h"
#include "base/http_retry.h"
#include "base/log.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static CURLcode global_code = CURLE_FAILED_INIT;

static void global_init(void)
{
    global_code = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value ? value : fallback;
}

static void seed_jitter(struct ms_http *self)
{
    uint64_t seed = self->options.seed;
    if (seed == 0 && getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed)
        seed = (uint64_t)ms_clock_mono_ms();
    ms_rng_init(&self->rng, seed, 0x68747470, 0);
}

enum ms_status ms_http_new(const struct ms_http_options *options, struct ms_http **out,
                           struct ms_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, global_init);
    if (global_code != CURLE_OK)
        return ms_error_set(err, MS_E_IO, "libcurl cannot start: %s",
                            curl_easy_strerror(global_code));
    struct ms_http *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    self->options = *options;
    struct ms_http_options *o = &self->options;
    o->connect_timeout_ms = or_default(o->connect_timeout_ms, 10000);
    o->total_timeout_ms = or_default(o->total_timeout_ms, 60000);
    o->stall_timeout_ms = or_default(o->stall_timeout_ms, 30000);
    o->max_attempts = or_default(o->max_attempts, 5);
    o->backoff_base_ms = or_default(o->backoff_base_ms, 1000);
    o->backoff_cap_ms = or_default(o->backoff_cap_ms, 120000);
    seed_jitter(self);
    self->user_agent = strdup(options->user_agent);
    const char *ca_file = getenv("SSL_CERT_FILE");
    self->ca_file = ca_file && ca_file[0] ? strdup(ca_file) : NULL;
    bool ok = self->user_agent && (self->ca_file || !ca_file || !ca_file[0]);
    for (size_t i = 0; i < sizeof self->easy / sizeof *self->easy; i++) {
        self->easy[i] = curl_easy_init();
        ok = ok && self->easy[i];
    }
    if (!ok) {
        ms_http_free(self);
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    }
    *out = self;
    return MS_OK;
}

void ms_http_free(struct ms_http *self)
{
    if (!self)
        return;
    for (size_t i = 0; i < sizeof self->easy / sizeof *self->easy; i++)
        curl_easy_cleanup(self->easy[i]);
    free(self->trusted);
    free(self->user_agent);
    free(self->ca_file);
    free(self);
}

static bool is_trusted(const struct ms_http *self, const char *origin)
{
    for (size_t i = 0; i < self->trusted_count; i++)
        if (strcmp(self->trusted[i], origin) == 0)
            return true;
    return false;
}

enum ms_status ms_http_trust(struct ms_http *self, const char *url, bool allow_http,
                             struct ms_error *err)
{
    struct ms_url parsed;
    enum ms_status status = ms_url_parse(url, &parsed, err);
    if (status != MS_OK)
        return status;
    if (!parsed.https && !parsed.loopback && !allow_http)
        return ms_error_set(err, MS_E_USAGE, "%s is not https; http is accepted on loopback alone",
                            parsed.origin);
    if (is_trusted(self, parsed.origin))
        return MS_OK;
    void *longer = realloc(self->trusted, (self->trusted_count + 1) * sizeof *self->trusted);
    if (!longer)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    self->trusted = longer;
    memcpy(self->trusted[self->trusted_count++], parsed.origin, sizeof parsed.origin);
    return MS_OK;
}

void ms_http_response_init(struct ms_http_response *self)
{
    *self = (struct ms_http_response){.retry_after_ms = -1};
    ms_buf_init(&self->body, MS_LIMIT_HTTP_BODY_BYTES);
    ms_buf_init(&self->headers, MS_LIMIT_HTTP_HEADER_BYTES + 1024);
}

void ms_http_response_release(struct ms_http_response *self)
{
    ms_buf_release(&self->body);
    ms_buf_release(&self->headers);
}

bool ms_http_header(const struct ms_http_response *self, const char *name, char *out,
                    size_t out_bytes)
{
    const char *p = ms_buf_text(&self->headers), *end = p + self->headers.len;
    size_t n = strlen(name);
    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t length = newline ? (size_t)(newline - p) : (size_t)(end - p);
        if (length >= n + 2 && memcmp(p, name, n) == 0 && p[n] == ':') {
            size_t value = length - n - 2;
            if (value >= out_bytes)
                value = out_bytes - 1;
            memcpy(out, p + n + 2, value);
            out[value] = '\0';
            return true;
        }
        p += length + 1;
    }
    return false;
}

enum ms_status ms_http_encode(struct ms_buf *out, const char *text, bool keep_slash)
{
    static const char digits[] = "0123456789ABCDEF";
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool letter = (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z');
        bool kept =
            letter || (*p >= '0' && *p <= '9') || strchr("-._~", *p) || (keep_slash && *p == '/');
        if (kept) {
            (void)ms_buf_append_byte(out, *p);
        } else {
            uint8_t escape[3] = {'%', (uint8_t)digits[*p >> 4], (uint8_t)digits[*p & 15]};
            (void)ms_buf_append(out, escape, sizeof escape);
        }
    }
    return out->failed ? MS_E_LIMIT : MS_OK;
}

/* The rule for a hop: the user's own origins go anywhere they were said to be, the rest stays
 * public; "localhost" must really be this machine. */
static enum ms_peer_rule rule_for(const struct ms_http *self, const struct ms_url *url, bool named)
{
    if (!named && !is_trusted(self, url->origin))
        return MS_PEER_PUBLIC;
    return url->loopback ? MS_PEER_LOOPBACK : MS_PEER_ANY;
}

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* State of a chain of redirects. */
struct chain {
    struct ms_url first, here, next;
    struct ms_hop hop;
};

/* Looks at a redirect: *go_on says whether chain->here is to be asked next; if not and the status
 * is MS_OK, the answer as it stands is the caller's. */
static enum ms_status follow(struct ms_http *self, const struct ms_http_request *request,
                             struct chain *chain, struct ms_http_response *response, bool *go_on,
                             struct ms_error *err)
{
    char location[MS_LIMIT_URL_BYTES];
    bool get = strcmp(chain->hop.method, "GET") == 0 || strcmp(chain->hop.method, "HEAD") == 0;
    int code = response->status;
    *go_on = false;
    if (!request->follow_redirects || !is_redirect(code) ||
        (!get && (code == 301 || code == 302)) ||
        !ms_http_header(response, "location", location, sizeof location))
        return MS_OK;
    const char *from = chain->here.origin;
    if (strlen(location) == sizeof location - 1) /* cut: it would lead somewhere else */
        return ms_error_set(err, MS_REJECT, "%s redirected to a URL that is too long", from);
    if (ms_url_resolve(&chain->here, location, &chain->next, err) != MS_OK) {
        ms_error_prepend(err, "%s redirected", from);
        if (err)
            err->status = MS_REJECT;
        return MS_REJECT;
    }
    if (chain->here.https && !chain->next.https)
        return ms_error_set(err, MS_REJECT, "%s redirected to unencrypted %s; not followed", from,
                            chain->next.origin);
    if (code == 303 && !get) {
        chain->hop.method = "GET";
        chain->hop.with_body = false;
    }
    bool same = strcmp(chain->first.origin, chain->next.origin) == 0;
    if (!same && chain->hop.with_body)
        return ms_error_set(err, MS_REJECT, "%s redirected an upload to %s; not followed", from,
                            chain->next.origin);
    bool upgraded = strcmp(chain->first.host, chain->next.host) == 0 && chain->next.https &&
                    !chain->first.https;
    chain->here = chain->next;
    chain->hop.foreign = !same;
    chain->hop.rule =
        rule_for(self, &chain->here, request->peer == MS_HTTP_PEER_NAMED && (same || upgraded));
    *go_on = true;
    return MS_OK;
}

/* One attempt: the request and the redirects it leads to. */
static struct ms_hop_result attempt(struct ms_http *self, const struct ms_http_request *request,
                                    struct chain *chain, struct ms_http_response *response,
                                    struct ms_error *err)
{
    bool named = request->peer == MS_HTTP_PEER_NAMED;
    chain->here = chain->first;
    chain->hop = (struct ms_hop){.url = &chain->here,
                                 .method = request->method,
                                 .with_body = request->part_count > 0 || request->body != NULL,
                                 .rule = rule_for(self, &chain->first, named)};
    response->redirected = false;
    for (unsigned hops = 0;; hops++) {
        struct ms_hop_result result = ms_hop_run(self, request, &chain->hop, response, err);
        bool go_on = false;
        if (result.end != MS_HOP_ANSWERED)
            return result;
        result.status = follow(self, request, chain, response, &go_on, err);
        if (result.status == MS_OK && go_on && hops >= MS_LIMIT_HTTP_REDIRECTS)
            result.status = ms_error_set(err, MS_E_REMOTE, "%s: more than %d redirects",
                                         chain->first.origin, MS_LIMIT_HTTP_REDIRECTS);
        if (result.status != MS_OK)
            result.end = MS_HOP_STOPPED;
        if (result.status != MS_OK || !go_on)
            return result;
        response->redirected = true;
    }
}

static void note_retry_after(struct ms_http_response *response)
{
    char value[128], date[64];
    response->retry_after_ms = -1;
    if (!ms_http_header(response, "retry-after", value, sizeof value))
        return;
    int64_t now = -1;
    if (ms_http_header(response, "date", date, sizeof date))
        now = ms_http_date_ms(date);
    response->retry_after_ms = ms_retry_after_ms(value, now >= 0 ? now : ms_clock_wall_ms());
}

static bool is_transient(int status)
{
    return status == 500 || status == 502 || status == 503 || status == 504;
}

static enum ms_status check_request(const struct ms_http_request *request, struct ms_url *url,
                                    struct ms_error *err)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (strpbrk(request->headers[i], "\r\n"))
            return ms_error_set(err, MS_REJECT, "a request header holds a line break");
    enum ms_status status = ms_url_parse(request->url, url, err);
    if (status != MS_E_USAGE || request->peer == MS_HTTP_PEER_NAMED)
        return status;
    if (err)
        err->status = MS_REJECT;
    return MS_REJECT;
}

/* Waits before the next attempt; false when the server asks for more patience than we have. */
static bool wait_before_next(struct ms_http *self, const struct ms_http_response *response,
                             bool answered, unsigned made, unsigned attempts, const char *why)
{
    const struct ms_http_options *o = &self->options;
    int64_t wait = ms_retry_backoff_ms(&self->rng, o->backoff_base_ms, o->backoff_cap_ms, made);
    if (answered && response->retry_after_ms > (int64_t)o->backoff_cap_ms)
        return false;
    if (answered && response->retry_after_ms > wait)
        wait = response->retry_after_ms;
    ms_log(MS_LOG_INFO, "%s; try %u of %u in %.1f s", why, made + 1, attempts,
           (double)wait / 1000.0);
    ms_clock_sleep_ms(wait);
    return true;
}

enum ms_status ms_http_perform(struct ms_http *self, const struct ms_http_request *request,
                               struct ms_http_response *response, struct ms_error *err)
{
    struct ms_error local;
    struct ms_error *why = err ? err : &local;
    struct chain *chain = malloc(sizeof *chain);
    if (!chain)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    response->status = 0;
    enum ms_status status = check_request(request, &chain->first, why);
    unsigned attempts = request->max_attempts ? request->max_attempts : self->options.max_attempts;
    for (unsigned made = 1; status == MS_OK; made++) {
        struct ms_error fault = {0};
        struct ms_hop_result result = attempt(self, request, chain, response, &fault);
        bool answered = result.end == MS_HOP_ANSWERED;
        response->attempts = made;
        response->may_pass = result.end == MS_HOP_FAILED;
        response->nothing_sent = (made == 1 || response->nothing_sent) && !answered &&
                                 result.nothing_sent && !response->redirected;
        response->retry_after_ms = -1;
        if (answered)
            note_retry_after(response);
        bool again =
            answered ? request->idempotent && is_transient(response->status)
                     : result.end == MS_HOP_FAILED && (request->idempotent || result.nothing_sent);
        if (answered)
            (void)ms_error_set(&fault, MS_E_REMOTE, "%s answered %d", chain->here.origin,
                               response->status);
        if (again && made < attempts &&
            wait_before_next(self, response, answered, made, attempts, fault.text))
            continue;
        if (!answered) {
            status = result.status;
            *why = fault;
        }
        break;
    }
    free(chain);
    return status;
}
