/* Server specifications, tokens, opening. */
#include "extract/sandbox/servers.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IN_FLIGHT_MAX = 10000, WEIGHT_MAX = 1000 };

static enum ms_status read_number(const char *name, const char *text, uint64_t most, uint64_t *out,
                                  struct ms_error *err)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || value == 0 || value > most)
        return ms_error_set(err, MS_E_USAGE, "--cuckoo: %s wants a number from 1 to %llu", name,
                            (unsigned long long)most);
    *out = value;
    return MS_OK;
}

/* One NAME=VALUE behind a URL. */
static enum ms_status read_member(struct ms_server_item *item, uint64_t *weight, const char *name,
                                  const char *value, struct ms_error *err)
{
    if (strcmp(name, "weight") == 0)
        return read_number(name, value, WEIGHT_MAX, weight, err);
    if (strcmp(name, "in-flight") == 0)
        return read_number(name, value, IN_FLIGHT_MAX, &item->in_flight, err);
    if (strcmp(name, "kind") == 0) {
        item->kind = ms_sandbox_kind_of(value);
        return item->kind == MS_SANDBOX_AUTO && strcmp(value, "auto") != 0
                   ? ms_error_set(err, MS_E_USAGE,
                                  "--cuckoo: kind is auto, cuckoo, cape or drakvuf")
                   : MS_OK;
    }
    /* The value itself would stay in argv for everybody to see. */
    if (value[0] != '@' && strncmp(value, "env:", 4) != 0)
        return ms_error_set(err, MS_E_USAGE, "--cuckoo: token= wants @FILE or env:NAME");
    if (item->token)
        return ms_error_set(err, MS_E_USAGE, "--cuckoo: two tokens for one server");
    return ms_secret_read(value, NULL, NULL, "sandbox token", &item->token, err);
}

/* The last ",NAME=" of one of the known names: what stands before may be part of the URL. */
static char *last_member(char *text)
{
    static const char *const names[] = {",weight=", ",in-flight=", ",kind=", ",token="};
    for (char *at = text + strlen(text); at > text;) {
        at--;
        for (size_t i = 0; *at == ',' && i < sizeof names / sizeof *names; i++)
            if (strncmp(at, names[i], strlen(names[i])) == 0)
                return at;
    }
    return NULL;
}

static enum ms_status parse_one(const char *text, uint64_t in_flight, struct ms_server_item *item,
                                struct ms_error *err)
{
    char *member;
    uint64_t weight = 1;
    int n = snprintf(item->url, sizeof item->url, "%s", text);
    if (n < 0 || (size_t)n >= sizeof item->url)
        return ms_error_set(err, MS_E_USAGE, "--cuckoo: the URL is too long");
    while ((member = last_member(item->url))) {
        char *value = strchr(member, '=');
        *member = *value = '\0';
        enum ms_status status = read_member(item, &weight, member + 1, value + 1, err);
        if (status != MS_OK)
            return status;
    }
    if (item->in_flight == 0)
        item->in_flight = in_flight;
    item->in_flight *= weight;
    if (item->in_flight > IN_FLIGHT_MAX)
        item->in_flight = IN_FLIGHT_MAX;
    return MS_OK;
}

enum ms_status ms_servers_parse(const struct ms_cli_list *urls, const struct ms_cli_secret *token,
                                uint64_t in_flight, struct ms_servers *out, struct ms_error *err)
{
    bool own_token = false;
    if (urls->count > MS_SERVERS_MAX)
        return ms_error_set(err, MS_E_USAGE, "at most %d servers a run", MS_SERVERS_MAX);
    for (size_t i = 0; i < urls->count; i++) {
        struct ms_server_item *item = &out->items[i];
        out->count = i + 1; /* for the release */
        enum ms_status status = parse_one(urls->items[i], in_flight, item, err);
        if (status != MS_OK)
            return status;
        for (size_t k = 0; k < i; k++)
            if (strcmp(out->items[k].url, item->url) == 0)
                return ms_error_set(err, MS_E_USAGE, "--cuckoo: the same server twice");
        own_token |= item->token != NULL;
    }
    if (own_token && !token->given)
        return MS_OK;
    if (!token->given && !getenv("CUCKOO_TOKEN"))
        return MS_OK;
    if (urls->count > 1 || own_token)
        return ms_error_set(err, MS_E_USAGE,
                            "a token is bound to one server: give each its own behind its URL, "
                            "as in --cuckoo URL,token=@FILE");
    return ms_secret_read(token->spec, token->wipe, "CUCKOO_TOKEN", "sandbox token",
                          &out->items[0].token, err);
}

/* DRAKVUF cannot be told per analysis what its machines may reach, nor what runs where. */
static enum ms_status check_options(const struct ms_sandbox *sandbox,
                                    const struct ms_servers_options *options, struct ms_error *err)
{
    if (ms_sandbox_kind_get(sandbox) != MS_SANDBOX_DRAKVUF)
        return MS_OK;
    if (options->machine || options->tags || options->package)
        return ms_error_set(err, MS_E_USAGE, "%s is DRAKVUF: it knows no machine, tags or package",
                            ms_sandbox_url(sandbox));
    if (strcmp(options->route, "default") != 0)
        return ms_error_set(err, MS_E_USAGE,
                            "%s is DRAKVUF: it takes no network route with a sample, its own "
                            "net_enable decides; say --route default if that is set as you want it",
                            ms_sandbox_url(sandbox));
    return MS_OK;
}

enum ms_status ms_servers_open(struct ms_servers *self, const struct ms_servers_options *options,
                               struct ms_error *err)
{
    size_t kept = 0;
    struct ms_error fault = {.status = MS_OK};
    for (size_t i = 0; i < self->count; i++) {
        struct ms_server_item *item = &self->items[i];
        struct ms_sandbox_options how = {.url = item->url,
                                         .kind = item->kind == MS_SANDBOX_AUTO ? options->kind
                                                                               : item->kind,
                                         .token = item->token,
                                         .seed = options->seed ? options->seed + i : 0,
                                         .request_ms = options->request_ms};
        enum ms_status status = ms_sandbox_open(&how, &item->sandbox, &fault);
        bool is_away = status == MS_E_REMOTE || status == MS_E_LATER;
        if (is_away && self->count > 1) {
            ms_log(MS_LOG_WARNING, "%s; left out", fault.text);
            continue;
        }
        if (status == MS_OK)
            status = check_options(item->sandbox, options, &fault);
        if (status != MS_OK) {
            if (err)
                *err = fault;
            return status;
        }
        ms_log(MS_LOG_INFO, "%s is %s %s", ms_sandbox_url(item->sandbox),
               ms_sandbox_kind_name(ms_sandbox_kind_get(item->sandbox)),
               ms_sandbox_version(item->sandbox));
        struct ms_server_item open = *item;
        *item = self->items[kept]; /* what was left out keeps its token, for the release */
        self->items[kept++] = open;
    }
    if (kept == 0)
        return ms_error_set(err, fault.status == MS_E_LATER ? MS_E_LATER : MS_E_REMOTE,
                            "no sandbox is left: %s", fault.text);
    for (size_t i = kept; i < self->count; i++)
        ms_secret_free(self->items[i].token);
    self->count = kept;
    return MS_OK;
}

void ms_servers_close(struct ms_servers *self)
{
    for (size_t i = 0; i < self->count; i++) {
        ms_sandbox_close(self->items[i].sandbox);
        ms_secret_free(self->items[i].token);
    }
    self->count = 0;
}
