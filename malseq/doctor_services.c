/* Keys, and the services they are for, for malseq doctor: VirusTotal and GitHub. Sends a key to its
 * own service alone, and prints none. */
#include "malseq/doctor.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/http.h"
#include "base/http_retry.h"
#include "base/http_url.h"
#include "base/json.h"
#include "base/secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ANSWER_BYTES = 1 << 20, ASK_MS = 20000 };
/* The last second of the year 9999: what a service says beyond it is no time. */
#define RESET_MAX_S ((json_int_t)253402300799)

#define GITHUB_API "https://api.github.com"

/* ---- who is asked ---- */

/* A service as the sections of nightly.conf name it. */
struct service {
    const char *kind;      /* of the sections */
    const char *wanted[2]; /* a section with one of these asks it */
    const char *key;       /* of the secret */
    const char *more[2];   /* what else decides who is asked as whom */
};

static const struct service virustotal = {
    "label", {"vt-key", "vt-key"}, "vt-key", {"vt-url", "vt-user"}};
static const struct service github = {
    "collect", {"github-token", "github-list"}, "github-token", {"github-url", "github-url"}};

static const char *text_in(const struct malseq_section *section, const char *key)
{
    const struct malseq_value *value = malseq_section_find(section, key);
    return value ? value->text : "";
}

static bool asks(const struct malseq_section *section, const struct service *service)
{
    return *text_in(section, service->wanted[0]) || *text_in(section, service->wanted[1]);
}

static bool is_same(const struct malseq_section *a, const struct malseq_section *b,
                    const struct service *service)
{
    bool same = strcmp(text_in(a, service->key), text_in(b, service->key)) == 0;
    for (size_t i = 0; i < 2; i++)
        same = same && strcmp(text_in(a, service->more[i]), text_in(b, service->more[i])) == 0;
    return same;
}

/* The next section that asks the service, and is not the same as one before: they often share a
 * key. */
static const struct malseq_section *next_asking(const struct doctor *self,
                                                const struct service *service,
                                                const struct malseq_section *after)
{
    const struct malseq_section *s = malseq_doctor_section(self, service->kind, after);
    for (; s; s = malseq_doctor_section(self, service->kind, s)) {
        const struct malseq_section *p = malseq_doctor_section(self, service->kind, NULL);
        while (p != s && !(asks(p, service) && is_same(p, s, service)))
            p = malseq_doctor_section(self, service->kind, p);
        if (p == s && asks(s, service))
            return s;
    }
    return NULL;
}

/* What the option gave, else the section, or where there is none the first of the file, else the
 * fallback. */
static const char *text_for(const struct doctor *self, const char *option,
                            const struct malseq_section *section, const struct service *service,
                            const char *key, const char *fallback)
{
    if (!section || option)
        return malseq_doctor_text(self, option, service->kind, key, fallback);
    const char *text = text_in(section, key);
    return *text ? text : fallback;
}

/* A secret where one is given: by the option, the section (NULL: none) or the environment. *given
 * false: nowhere. What is wrong with it is said here, and *out is NULL then. */
static enum ms_status read_secret(struct doctor *self, const char *check,
                                  const struct ms_cli_secret *option,
                                  const struct malseq_section *section, const char *key,
                                  const char *environment, const char *what, bool *given,
                                  struct ms_secret **out, struct ms_error *err)
{
    const struct malseq_value *value = section ? malseq_section_find(section, key) : NULL;
    const char *spec = option->spec ? option->spec : value ? value->text : NULL;
    const char *set = getenv(environment);
    struct ms_error why;
    *out = NULL;
    *given = spec || option->given || (set && *set);
    if (!*given)
        return MS_OK;
    enum ms_status status =
        ms_secret_read(spec, option->spec ? option->wipe : NULL, environment, what, out, &why);
    if (status == MS_OK)
        return malseq_doctor_say(self, check, DOCTOR_OK, NULL, err, "the %s can be read%s", what,
                                 spec && spec[0] == '@' ? ", and by its owner alone" : "");
    *out = NULL;
    return malseq_doctor_say(self, check, DOCTOR_FAULT, NULL, err, "%s", why.text);
}

/* ---- VirusTotal ---- */

static enum ms_status say_window(struct doctor *self, const json_t *window, bool told,
                                 struct ms_error *err)
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
                             "%s: %lld of %lld requests left until %s%s", name, (long long)left,
                             (long long)allowed, ms_json_string_at(window, "resets", "?"),
                             told ? "" : ", by the corpus's own count");
}

/* The service tells the quota under the account's id alone; no other request is free. */
static enum ms_status say_untold(struct doctor *self, const char *user, struct ms_error *err)
{
    if (user)
        return malseq_doctor_say(self, "virustotal", DOCTOR_WARNING,
                                 "see that the id is the key's, and that the service answers", err,
                                 "the service does not tell this account's quota, nor whether it "
                                 "takes the key");
    return malseq_doctor_say(self, "virustotal", DOCTOR_WARNING,
                             "name it with --vt-user, in nightly.conf or in VT_USER", err,
                             "the key was not tried: without the account's id nobody is asked");
}

static enum ms_status read_quota(struct doctor *self, int fd, const char *user,
                                 struct ms_error *err)
{
    bool told = true;
    struct ms_buf text;
    ms_buf_init(&text, ANSWER_BYTES);
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    enum ms_status status = ms_file_read(path, &text, err);
    for (const char *line = ms_buf_text(&text); status == MS_OK && *line;) {
        size_t n = strcspn(line, "\n");
        json_t *window = NULL;
        if (n)
            status = ms_json_parse(line, n, &window, err);
        if (window && told && json_is_false(json_object_get(window, "told"))) {
            told = false;
            status = say_untold(self, user, err);
        }
        if (window && status == MS_OK)
            status = say_window(self, window, told, err);
        json_decref(window);
        line += n + (line[n] == '\n');
    }
    ms_buf_release(&text);
    return status;
}

/* What label itself would find: it knows the ledger and the service. */
static enum ms_status ask_quota(struct doctor *self, const struct malseq_section *section,
                                const struct ms_secret *key, struct ms_error *err)
{
    /* A dry run: a look at the corpus neither migrates it nor keeps a night from beginning. */
    const char *argv[13] = {"label",     "quota",    "--json",     "-q",
                            "--dry-run", "--corpus", self->corpus, "--vt-key"};
    size_t words = 8;
    const char *url = text_for(self, self->options->vt_url, section, &virustotal, "vt-url", NULL);
    const char *user =
        text_for(self, self->options->vt_user, section, &virustotal, "vt-user", NULL);
    const char *set = getenv("VT_USER");
    struct malseq_child child;
    struct ms_buf path;
    int fd = -1, code = 0;
    if (self->unreadable)
        return malseq_doctor_say(self, "virustotal", DOCTOR_WARNING, NULL, err,
                                 "the key was not tried: the corpus, which counts the requests, "
                                 "cannot be read as it is");
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
        status = read_quota(self, fd, user ? user : set && *set ? set : NULL, err);
    if (fd >= 0)
        close(fd);
    return status;
}

static enum ms_status try_key(struct doctor *self, const struct malseq_section *section,
                              struct ms_error *err)
{
    struct ms_secret *key = NULL;
    bool given = false;
    enum ms_status status =
        read_secret(self, "virustotal", &self->options->vt_key, section, "vt-key", "VT_API_KEY",
                    "VirusTotal key", &given, &key, err);
    if (status == MS_OK && !given && self->config && !malseq_doctor_section(self, "label", NULL))
        status = malseq_doctor_say(self, "virustotal", DOCTOR_OK, NULL, err,
                                   "no key is given, and no night labels");
    else if (status == MS_OK && !given)
        status = malseq_doctor_say(self, "virustotal", DOCTOR_WARNING,
                                   "name its file with --vt-key @FILE, in nightly.conf, or set "
                                   "VT_API_KEY; imported reports need none",
                                   err, "no key is given");
    if (status == MS_OK && key && !self->options->offline)
        status = ask_quota(self, section, key, err);
    ms_secret_free(key);
    return status;
}

/* The key of the command line, else those of the file, else that of the environment. */
static enum ms_status check_virustotal(struct doctor *self, struct ms_error *err)
{
    const struct malseq_section *s =
        self->options->vt_key.spec ? NULL : next_asking(self, &virustotal, NULL);
    enum ms_status status;
    do
        status = try_key(self, s, err);
    while (status == MS_OK && s && (s = next_asking(self, &virustotal, s)) != NULL);
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
    json_int_t reset_s = ms_json_int_at(body, "resources.core.reset", 0);
    (void)snprintf(resets, sizeof resets, "a time it does not say");
    if (reset_s > 0 && reset_s <= RESET_MAX_S)
        ms_clock_format((int64_t)reset_s * 1000, resets);
    json_decref(body);
    enum doctor_state state = left > 0 && limit > 60 ? DOCTOR_OK : DOCTOR_WARNING;
    return malseq_doctor_say(
        self, "github", state, limit <= 60 ? "a token allows 5,000 requests an hour" : NULL, err,
        "%lld of %lld requests left until %s", (long long)left, (long long)limit, resets);
}

static enum ms_status ask_github(struct doctor *self, const struct malseq_section *section,
                                 struct ms_secret *token, struct ms_error *err)
{
    const char *base =
        text_for(self, self->options->github_url, section, &github, "github-url", GITHUB_API);
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

/* As collect has it: the environment's token was given for GitHub, and another server gets one only
 * when somebody names it for that. */
static enum ms_status keep_ambient(struct doctor *self, const struct malseq_section *section,
                                   struct ms_secret **token, struct ms_error *err)
{
    const struct malseq_value *named = section ? malseq_section_find(section, github.key) : NULL;
    const char *base =
        text_for(self, self->options->github_url, section, &github, "github-url", GITHUB_API);
    struct ms_url here, there;
    struct ms_error why;
    if (!*token || self->options->github_token.given || named)
        return MS_OK;
    if (ms_url_parse(base, &here, &why) == MS_OK &&
        ms_url_parse(GITHUB_API, &there, &why) == MS_OK && strcmp(here.origin, there.origin) == 0)
        return MS_OK;
    ms_secret_free(*token);
    *token = NULL;
    return malseq_doctor_say(self, "github", DOCTOR_WARNING,
                             "name it for that server: --github-token, or github-token in "
                             "nightly.conf",
                             err, "$GITHUB_TOKEN is for GitHub and does not go to %s", base);
}

static enum ms_status try_token(struct doctor *self, const struct malseq_section *section,
                                struct ms_error *err)
{
    struct ms_secret *token = NULL;
    bool given = false;
    enum ms_status status =
        read_secret(self, "github", &self->options->github_token, section, "github-token",
                    "GITHUB_TOKEN", "GitHub token", &given, &token, err);
    bool wanted = given || self->options->github_url || section;
    bool fit = token || !given; /* without one the server is asked too */
    if (status == MS_OK)
        status = keep_ambient(self, section, &token, err);
    if (status == MS_OK && wanted && fit && !self->options->offline)
        status = ask_github(self, section, token, err);
    ms_secret_free(token);
    return status;
}

/* As check_virustotal. */
static enum ms_status check_github(struct doctor *self, struct ms_error *err)
{
    const struct malseq_section *s =
        self->options->github_token.spec ? NULL : next_asking(self, &github, NULL);
    enum ms_status status;
    do
        status = try_token(self, s, err);
    while (status == MS_OK && s && (s = next_asking(self, &github, s)) != NULL);
    return status;
}

enum ms_status malseq_doctor_services(struct doctor *self, struct ms_error *err)
{
    enum ms_status status = check_virustotal(self, err);
    if (status == MS_OK)
        status = check_github(self, err);
    return status == MS_OK ? malseq_doctor_sandboxes(self, err) : status;
}
