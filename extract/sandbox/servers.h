/* The sandbox servers a run was given: what stands behind their URLs, their tokens, opened. Knows
 * nothing of tasks; extract and malseq doctor read them by it. */
#ifndef MS_EXTRACT_SANDBOX_SERVERS_H
#define MS_EXTRACT_SANDBOX_SERVERS_H

#include "base/cli.h"
#include "extract/sandbox/sandbox.h"

enum { MS_SERVERS_MAX = 32 };

struct ms_server_item {
    char url[1024];
    enum ms_sandbox_kind kind; /* AUTO: as the run says */
    uint64_t in_flight;
    struct ms_secret *token; /* NULL: none */
    struct ms_sandbox *sandbox;
};

struct ms_servers {
    struct ms_server_item items[MS_SERVERS_MAX];
    size_t count;
};

struct ms_servers_options {
    enum ms_sandbox_kind kind;
    const char *route, *machine, *tags, *package; /* what a kind may not know how to honour */
    uint64_t seed;
    uint32_t request_ms;
};

/* Reads `URL[,weight=N][,in-flight=N][,kind=KIND][,token=@FILE|env:NAME]` of each server, and the
 * tokens: --token, else CUCKOO_TOKEN, stands for a single server alone, since a token is bound to
 * one host. in_flight: of a server that says nothing else, times its weight. No requests. */
enum ms_status ms_servers_parse(const struct ms_cli_list *urls, const struct ms_cli_secret *token,
                                uint64_t in_flight, struct ms_servers *out,
                                struct ms_error *err) MS_MUST_USE;
/* Opens all; those that are not there are left out with a warning as long as one is. MS_E_USAGE
 * when a server cannot be told what the options say: DRAKVUF has no route, machine, tags, package.
 */
enum ms_status ms_servers_open(struct ms_servers *self, const struct ms_servers_options *options,
                               struct ms_error *err) MS_MUST_USE;
void ms_servers_close(struct ms_servers *self);

#endif
