/* Keys, and the services they are for, for malseq doctor. Sends a key to its own service alone, and
 * prints none. */
#include "malseq/doctor.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/http.h"
#include "base/http_retry.h"
#include "base/json.h"
#include "base/secret.h"
#include "extract/sandbox/sandbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ANSWER_BYTES = 1 << 20, ASK_MS = 20000 };

/* A secret where one is given: by the option, the file or the environment. *given false: nowhere.
 * What is wrong with it is said here, and *out is NULL then. */
static enum ms_status read_secret(struct doctor *self, const char *check,
                                  const struct ms_cli_secret *option, const char *section,
                                  const char *key, const char *environment, const char *what,
                                  bool *given, struct ms_secret **out, struct ms_error *err)
{
    const char *spec = option->given && option->spec
                           ? option->spec
                           : malseq_doctor_text(self, NULL, section, key, NULL);
    const char *set = getenv(environment);
    struct ms_error why;
    *out = NULL;
    *given = spec || option->given || (set && *set);
    if (!*given)
        return MS_OK;
    enum ms_status status = ms_secret_read(
        spec, option->given && option->spec ? option->wipe : NULL, environment, what, out, &why);
    if (status == MS_OK)
        return malseq_doctor_say(self, check, DOCTOR_OK, NULL, err, "the %s can be read%s", what,
                                 spec && spec[0] == '@' ? ", and by its owner alone" : "");
    *out = NULL;
    return malseq_doctor_say(self, check, DOCTOR_FAULT, NULL, err, "%s", why.text);
}

/* ---- VirusTotal ---- */

static enum ms_status say_window(struct doctor *self, const json_t *window, struct ms_error *err)
{
    const char *name = ms_json_string_at(window, "window", NULL);
    json_int_t allowed = ms_json_int_at(window, "allowed", -1);
    json_int_t left = ms_json_int_at(window, "left", -1);
    if (!name || (strcmp(name, "day") != 0 && strcmp(name, "month") != 0))
        return MS_OK;
    if (allowed < 0)
        return malseq_doctor_say(self, "virustotal", DOCTOR_OK, NULL, err, "%s: no limit known",
                                 name);
    return malseq_doctor_say(self, "virustotal", left > 0 ? DOCTOR_OK : DOCTOR_WARNING, NULL, err,
                             "%s: %lld of %lld requests left until %s", name, (long long)left,
                             (long long)allowed, ms_json_string_at(window, "resets", "?"));
}

static enum ms_status read_quota(struct doctor *self, int fd, struct ms_error *err)
{
    struct ms_buf text;
    ms_buf_init(&text, ANSWER_BYTES);
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    enum ms_status status = ms_file_read(path, &text, err);
    for (const char *line = ms_buf_text(&text); status == MS_OK && *line;) {
        size_t n = strcspn(line, "\n");
        json_t *window = NULL;
        if (n && (status = ms_json_parse(line, n, &window, err)) == MS_OK)
            status = say_window(self, window, err);
        json_decref(window);
        line += n + (line[n] == '\n');
    }
    ms_buf_release(&text);
    return status;
}

/* What label itself would find: it knows the ledger and the service. */
static enum ms_status ask_quota(struct doctor *self, const struct ms_secret *key,
                                struct ms_error *err)
{
    const char *argv[12] = {"label", "quota", "--json", "-q", "--corpus", self->corpus, "--vt-key"};
    size_t words = 7;
    const char *url = malseq_doctor_text(self, self->options->vt_url, "label", "vt-url", NULL);
    const char *user = malseq_doctor_text(self, self->options->vt_user, "label", "vt-user", NULL);
    struct malseq_child child;
    struct ms_buf path;
    int fd = -1, code = 0;
    if (url) {
        argv[words++] = "--vt-url";
        argv[words++] = url;
    }
    if (user) {
        argv[words++] = "--vt-user";
        argv[words++] = user;
    }
    ms_buf_init(&path, 8192);
    enum ms_status status = malseq_find_tool("label", &path, err);
    if (status == MS_OK)
        status = ms_file_memory("quota", &fd, err);
    /* By the environment, which others cannot read; argv anybody can. */
    if (status == MS_OK && setenv("VT_API_KEY", ms_secret_value(key), 1) != 0)
        status = ms_error_set(err, MS_E_NOMEM, "out of memory");
    if (status == MS_OK)
        status = malseq_spawn(ms_buf_text(&path), argv, fd, 0, &child, err);
    (void)unsetenv("VT_API_KEY");
    if (status == MS_OK)
        status = malseq_wait(&child, &code, err);
    ms_buf_release(&path);
    if (status == MS_OK && code != 0)
        status = malseq_doctor_say(self, "virustotal", code == 75 ? DOCTOR_WARNING : DOCTOR_FAULT,
                                   NULL, err, "label quota ended with %d: see its message", code);
    else if (status == MS_OK)
        status = read_quota(self, fd, err);
    if (fd >= 0)
        close(fd);
    return status;
}

static enum ms_status check_virustotal(struct doctor *self, struct ms_error *err)
{
    struct ms_secret *key = NULL;
    bool given = false;
    enum ms_status status =
        read_secret(self, "virustotal", &self->options->vt_key, "label", "vt-key", "VT_API_KEY",
                    "VirusTotal key", &given, &key, err);
    if (status == MS_OK && !given)
        status = malseq_doctor_say(self, "virustotal", DOCTOR_WARNING,
                                   "name its file with --vt-key @FILE, in nightly.conf, or set "
                                   "VT_API_KEY; imported reports need none",
                                   err, "no key is given");
    if (status == MS_OK && key && !self->options->offline)
        status = ask_quota(self, key, err);
    ms_secret_free(key);
    return status;
}

/* ---- GitHub ---- */

static void take_date(struct doctor *self, const struct ms_http_response *response)
{
    char date[64];
    int64_t theirs_ms = -1;
    if (ms_http_header(response, "date", date, sizeof date))
        theirs_ms = ms_http_date_ms(date);
    if (theirs_ms < 0)
        return;
    self->drift_ms = ms_clock_wall_ms() - theirs_ms;
    self->has_drift = true;
}

static enum ms_status say_rate(struct doctor *self, const struct ms_http_response *response,
                               struct ms_error *err)
{
    struct ms_error why;
    json_t *body = NULL;
    char resets[32];
    if (response->status == 401)
        return malseq_doctor_say(self, "github", DOCTOR_FAULT, "make a new token", err,
                                 "the token is refused");
    if (response->status != 200 ||
        ms_json_parse(response->body.data, response->body.len, &body, &why) != MS_OK)
        return malseq_doctor_say(self, "github", DOCTOR_FAULT, NULL, err, "it answered with %d",
                                 response->status);
    json_int_t limit = ms_json_int_at(body, "resources.core.limit", 0);
    json_int_t left = ms_json_int_at(body, "resources.core.remaining", 0);
    ms_clock_format((int64_t)ms_json_int_at(body, "resources.core.reset", 0) * 1000, resets);
    json_decref(body);
    enum doctor_state state = left > 0 && limit > 60 ? DOCTOR_OK : DOCTOR_WARNING;
    return malseq_doctor_say(
        self, "github", state, limit <= 60 ? "a token allows 5,000 requests an hour" : NULL, err,
        "%lld of %lld requests left until %s", (long long)left, (long long)limit, resets);
}

static enum ms_status ask_github(struct doctor *self, struct ms_secret *token, struct ms_error *err)
{
    const char *base = malseq_doctor_text(self, self->options->github_url, "collect", "github-url",
                                          "https://api.github.com");
    const struct ms_http_options how = {
        .user_agent = "malseq/" MS_VERSION, .total_timeout_ms = ASK_MS, .max_attempts = 2};
    const char *const headers[] = {"Accept: application/vnd.github+json"};
    struct ms_http_response response;
    struct ms_http *http = NULL;
    struct ms_error why;
    char url[1024];
    size_t n = strlen(base);
    while (n && base[n - 1] == '/')
        n--;
    (void)snprintf(url, sizeof url, "%.*s/rate_limit", (int)n, base);
    ms_http_response_init(&response);
    enum ms_status status = ms_http_new(&how, &http, &why);
    if (status == MS_OK)
        status = ms_http_trust(http, base, false, &why);
    if (status == MS_OK && token)
        status = ms_secret_bind(token, base, &why);
    const struct ms_http_request request = {.method = "GET",
                                            .url = url,
                                            .peer = MS_HTTP_PEER_PUBLIC,
                                            .headers = headers,
                                            .header_count = 1,
                                            .secret = token,
                                            .secret_header = "Authorization: Bearer ",
                                            .idempotent = true,
                                            .max_body_bytes = ANSWER_BYTES};
    if (status == MS_OK)
        status = ms_http_perform(http, &request, &response, &why);
    if (status == MS_OK) {
        take_date(self, &response);
        status = say_rate(self, &response, err);
    } else
        status = malseq_doctor_say(self, "github", DOCTOR_FAULT, NULL, err, "%s", why.text);
    ms_http_response_release(&response);
    ms_http_free(http);
    return status;
}

static enum ms_status check_github(struct doctor *self, struct ms_error *err)
{
    struct ms_secret *token = NULL;
    bool given = false;
    enum ms_status status =
        read_secret(self, "github", &self->options->github_token, "collect", "github-token",
                    "GITHUB_TOKEN", "GitHub token", &given, &token, err);
    bool wanted = given || self->options->github_url ||
                  malseq_doctor_text(self, NULL, "collect", "github-list", NULL);
    if (status == MS_OK && wanted && (token || !given) && !self->options->offline)
        status = ask_github(self, token, err);
    ms_secret_free(token);
    return status;
}

/* ---- sandboxes ---- */

/* "URL,token=@FILE,kind=cape,…" as extract takes it: what the asking needs. */
struct server {
    char url[1024];
    const char *token, *kind;
};

static bool split_server(const char *text, struct server *out)
{
    int n = snprintf(out->url, sizeof out->url, "%s", text);
    out->token = out->kind = NULL;
    if (n < 0 || (size_t)n >= sizeof out->url)
        return false;
    for (char *at = strchr(out->url, ','); at; at = strchr(at, ',')) {
        *at++ = '\0';
        if (strncmp(at, "token=", 6) == 0)
            out->token = at + 6;
        else if (strncmp(at, "kind=", 5) == 0)
            out->kind = at + 5;
    }
    return true;
}

static enum ms_status ask_sandbox(struct doctor *self, const struct server *server,
                                  struct ms_secret *token, struct ms_error *err)
{
    const char *kind = server->kind ? server->kind
                                    : malseq_doctor_text(self, self->options->sandbox, "extract",
                                                         "sandbox", "auto");
    const struct ms_sandbox_options how = {.url = server->url,
                                           .kind = ms_sandbox_kind_of(kind),
                                           .token = token,
                                           .max_attempts = 1,
                                           .request_ms = ASK_MS};
    struct ms_sandbox *sandbox = NULL;
    struct ms_sandbox_load load = {.known = false};
    struct ms_error why;
    char busy[80] = "";
    int64_t wait_ms = 0;
    enum ms_status status = ms_sandbox_open(&how, &sandbox, &why);
    if (status != MS_OK)
        return malseq_doctor_say(self, "sandbox",
                                 status == MS_E_LATER ? DOCTOR_WARNING : DOCTOR_FAULT, NULL, err,
                                 "%s", why.text);
    if (ms_sandbox_load(sandbox, &load, &wait_ms, &why) == MS_OK && load.known)
        (void)snprintf(busy, sizeof busy, ", %lld tasks running, %lld waiting",
                       (long long)load.running, (long long)load.pending);
    status = malseq_doctor_say(
        self, "sandbox", DOCTOR_OK, NULL, err, "%s is %s %s%s", ms_sandbox_url(sandbox),
        ms_sandbox_kind_name(ms_sandbox_kind_get(sandbox)), ms_sandbox_version(sandbox), busy);
    ms_sandbox_close(sandbox);
    return status;
}

static enum ms_status check_server(struct doctor *self, const char *text, bool only,
                                   struct ms_error *err)
{
    struct server server;
    struct ms_secret *token = NULL;
    bool given = false;
    static const struct ms_cli_secret none;
    if (!split_server(text, &server))
        return malseq_doctor_say(self, "sandbox", DOCTOR_FAULT, NULL, err, "its URL is too long");
    struct ms_cli_secret own = {.given = server.token != NULL, .spec = server.token};
    enum ms_status status = MS_OK;
    if (server.token)
        status = read_secret(self, "sandbox", &own, "none", "none", "", "sandbox token", &given,
                             &token, err);
    else if (only)
        status =
            read_secret(self, "sandbox", self->options->token.given ? &self->options->token : &none,
                        "extract", "token", "CUCKOO_TOKEN", "sandbox token", &given, &token, err);
    if (status == MS_OK && (token || !given) && !self->options->offline)
        status = ask_sandbox(self, &server, token, err);
    ms_secret_free(token);
    return status;
}

/* The servers of the command line, else those of the file. */
static enum ms_status check_sandboxes(struct doctor *self, struct ms_error *err)
{
    const struct ms_cli_list *given = &self->options->cuckoo;
    enum ms_status status = MS_OK;
    size_t count = given->count;
    for (size_t i = 0; i < given->count && status == MS_OK; i++)
        status = check_server(self, given->items[i], given->count == 1, err);
    const struct malseq_section *sections = self->config && !count ? self->config->sections : NULL;
    for (int pass = 0; pass < 2; pass++)
        for (const struct malseq_section *s = sections; s && status == MS_OK; s = s->next)
            for (const struct malseq_value *v = s->values; v && status == MS_OK; v = v->next)
                if (strcmp(s->kind, "extract") == 0 && strcmp(v->key->name, "cuckoo") == 0) {
                    if (pass == 0)
                        count++;
                    else
                        status = check_server(self, v->text, count == 1, err);
                }
    if (status == MS_OK && count == 0)
        status = malseq_doctor_say(self, "sandbox", DOCTOR_OK, NULL, err,
                                   "none is named (--cuckoo, or nightly.conf); imports need none");
    return status;
}

enum ms_status malseq_doctor_services(struct doctor *self, struct ms_error *err)
{
    enum ms_status status = check_virustotal(self, err);
    if (status == MS_OK)
        status = check_github(self, err);
    return status == MS_OK ? check_sandboxes(self, err) : status;
}
