/* Sandbox servers and their tokens for malseq doctor, read as extract reads them. Sends a token to
 * its own server alone, prints none, and submits nothing. */
#include "malseq/doctor.h"

#include "extract/sandbox/servers.h"

#include <stdio.h>
#include <string.h>

enum { ASK_MS = 20000 };

static enum ms_status ask_sandbox(struct doctor *self, const struct ms_server_item *server,
                                  const char *kind, struct ms_error *err)
{
    const struct ms_sandbox_options how = {
        .url = server->url,
        .kind = server->kind == MS_SANDBOX_AUTO ? ms_sandbox_kind_of(kind) : server->kind,
        .token = server->token,
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

/* What one run of extract would be given: it is refused here as it would be there. */
static enum ms_status check_servers(struct doctor *self, const struct ms_cli_list *urls,
                                    const struct ms_cli_secret *token, const char *kind,
                                    struct ms_error *err)
{
    struct ms_servers servers = {.count = 0};
    struct ms_error why;
    enum ms_status status = ms_servers_parse(urls, token, 1, &servers, &why);
    if (status != MS_OK)
        status = malseq_doctor_say(self, "sandbox", DOCTOR_FAULT, NULL, err, "%s", why.text);
    else
        for (size_t i = 0; i < servers.count && status == MS_OK; i++) {
            const struct ms_server_item *server = &servers.items[i];
            if (server->token)
                status = malseq_doctor_say(self, "sandbox", DOCTOR_OK, NULL, err,
                                           "the token for %s can be read", server->url);
            if (status == MS_OK && !self->options->offline)
                status = ask_sandbox(self, server, kind, err);
        }
    ms_servers_close(&servers);
    return status;
}

/* The servers of a section of the file, which are those of one run. */
static enum ms_status check_section(struct doctor *self, const struct malseq_section *section,
                                    size_t *count, struct ms_error *err)
{
    const char *urls[MS_SERVERS_MAX + 1]; /* one more than a run takes is refused by the reading */
    struct ms_cli_list list = {urls, 0};
    const struct malseq_value *token = malseq_section_find(section, "token");
    const struct malseq_value *kind = malseq_section_find(section, "sandbox");
    const struct ms_cli_secret own = {.given = token != NULL, .spec = token ? token->text : NULL};
    for (const struct malseq_value *v = section->values; v && list.count <= MS_SERVERS_MAX;
         v = v->next)
        if (strcmp(v->key->name, "cuckoo") == 0)
            urls[list.count++] = v->text;
    *count += list.count;
    if (list.count == 0)
        return MS_OK;
    return check_servers(self, &list, self->options->token.given ? &self->options->token : &own,
                         self->options->sandbox ? self->options->sandbox
                         : kind                 ? kind->text
                                                : "auto",
                         err);
}

static size_t count_servers(const struct doctor *self)
{
    size_t count = 0;
    const struct malseq_section *s = malseq_doctor_section(self, "extract", NULL);
    for (; s; s = malseq_doctor_section(self, "extract", s))
        for (const struct malseq_value *v = s->values; v; v = v->next)
            count += strcmp(v->key->name, "cuckoo") == 0;
    return count;
}

/* The servers of the command line, else those of the file. */
enum ms_status malseq_doctor_sandboxes(struct doctor *self, struct ms_error *err)
{
    const struct ms_cli_list *given = &self->options->cuckoo;
    const struct malseq_section *s =
        given->count ? NULL : malseq_doctor_section(self, "extract", NULL);
    enum ms_status status = MS_OK;
    size_t count = given->count;
    /* To the run of each section its own server may be the only one, and each would get it. */
    if (count == 0 && self->options->token.given && count_servers(self) > 1)
        return malseq_doctor_say(self, "sandbox", DOCTOR_FAULT, "name its server with --cuckoo",
                                 err,
                                 "--token is bound to one server, and nightly.conf names more");
    if (count)
        status = check_servers(self, given, &self->options->token,
                               self->options->sandbox ? self->options->sandbox : "auto", err);
    for (; s && status == MS_OK; s = malseq_doctor_section(self, "extract", s))
        status = check_section(self, s, &count, err);
    if (status == MS_OK && count == 0)
        status = malseq_doctor_say(self, "sandbox", DOCTOR_OK, NULL, err,
                                   "none is named (--cuckoo, or nightly.conf); imports need none");
    return status;
}
