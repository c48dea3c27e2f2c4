/* Secrets live on a page of their own that core dumps leave out, and are zeroed when freed. */
#define _GNU_SOURCE
#include "base/secret.h"

#include "base/hash.h"
#include "base/http_url.h"
#include "base/limits.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

struct ms_secret {
    char value[MS_LIMIT_SECRET_BYTES + 1];
    char origin[MS_URL_ORIGIN_BYTES];
};

/* A process that holds a secret leaves no core dump behind: RLIMIT_CORE does not stop dumps that
 * are piped to a handler. AddressSanitizer's leak check needs to trace the process, so not there.
 */
static void forbid_core_dumps(void)
{
#ifndef __SANITIZE_ADDRESS__
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

static struct ms_secret *allocate(void)
{
    void *page = mmap(NULL, sizeof(struct ms_secret), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return NULL;
    (void)madvise(page, sizeof(struct ms_secret), MADV_DONTDUMP);
    (void)madvise(page, sizeof(struct ms_secret), MADV_WIPEONFORK); /* workers get zeros */
    (void)mlock(page, sizeof(struct ms_secret)); /* best effort: keeps it out of swap */
    return page;
}

void ms_secret_free(struct ms_secret *self)
{
    if (!self)
        return;
    explicit_bzero(self, sizeof *self);
    (void)munmap(self, sizeof *self);
}

static enum ms_status check_file(int fd, const char *shown, const char *what, struct ms_error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return ms_error_set_errno(err, MS_E_USAGE, errno, "cannot look at '%s'", shown);
    if (!S_ISREG(st.st_mode))
        return ms_error_set(err, MS_E_USAGE, "%s file '%s' is not a regular file", what, shown);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return ms_error_set(err, MS_E_USAGE, "%s file '%s' belongs to another user", what, shown);
    if (st.st_mode & 077)
        return ms_error_set(err, MS_E_USAGE,
                            "%s file '%s' is open to others (mode %04o); run: chmod 600 '%s'", what,
                            shown, (unsigned)(st.st_mode & 07777), shown);
    return MS_OK;
}

static enum ms_status read_file(struct ms_secret *self, const char *path, const char *what,
                                struct ms_error *err)
{
    char shown[200];
    (void)ms_escape_text(path, shown, sizeof shown);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return ms_error_set_errno(err, MS_E_USAGE, errno, "cannot open %s file '%s'", what, shown);
    enum ms_status status = check_file(fd, shown, what, err);
    size_t used = 0;
    while (status == MS_OK && used < sizeof self->value) {
        ssize_t n = read(fd, self->value + used, sizeof self->value - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            status =
                ms_error_set_errno(err, MS_E_USAGE, errno, "cannot read %s file '%s'", what, shown);
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    close(fd);
    if (status == MS_OK && used == sizeof self->value)
        return ms_error_set(err, MS_E_USAGE, "%s file '%s' is too long", what, shown);
    if (status == MS_OK && memchr(self->value, 0, used))
        return ms_error_set(err, MS_E_USAGE, "%s file '%s' holds a NUL byte", what, shown);
    if (used > 0 && self->value[used - 1] == '\n')
        self->value[--used] = '\0';
    if (used > 0 && self->value[used - 1] == '\r')
        self->value[--used] = '\0';
    return status;
}

static enum ms_status copy_value(struct ms_secret *self, const char *text, const char *what,
                                 struct ms_error *err)
{
    size_t n = strlen(text);
    if (n >= sizeof self->value)
        return ms_error_set(err, MS_E_USAGE, "the %s is too long", what);
    memcpy(self->value, text, n + 1);
    return MS_OK;
}

static enum ms_status read_env(struct ms_secret *self, const char *name, const char *what,
                               struct ms_error *err)
{
    char shown[80];
    const char *text = getenv(name);
    if (!text || !text[0])
        return ms_error_set(err, MS_E_USAGE, "no %s: the environment variable %s is %s", what,
                            ms_escape_text(name, shown, sizeof shown), text ? "empty" : "not set");
    return copy_value(self, text, what, err);
}

static enum ms_status read_literal(struct ms_secret *self, const char *spec, char *wipe,
                                   const char *what, struct ms_error *err)
{
    enum ms_status status = copy_value(self, spec, what, err);
    if (wipe) {
        size_t n = strlen(wipe);
        for (size_t i = 0; i < n; i++)
            wipe[i] = '*';
    }
    ms_log(MS_LOG_WARNING,
           "the %s was given on the command line, where other users and the shell history may see "
           "it; @FILE or env:NAME keeps it private",
           what);
    return status;
}

static enum ms_status check_value(const struct ms_secret *self, const char *what,
                                  struct ms_error *err)
{
    if (!self->value[0])
        return ms_error_set(err, MS_E_USAGE, "the %s is empty", what);
    for (const char *p = self->value; *p; p++)
        if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f)
            return ms_error_set(err, MS_E_USAGE,
                                "the %s holds a blank, a control character or a byte above 127",
                                what);
    return MS_OK;
}

enum ms_status ms_secret_read(const char *spec, char *wipe, const char *default_env,
                              const char *what, struct ms_secret **out, struct ms_error *err)
{
    struct ms_secret *self = allocate();
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory for the %s", what);
    forbid_core_dumps();
    enum ms_status status;
    if (!spec)
        status = read_env(self, default_env, what, err);
    else if (spec[0] == '@')
        status = read_file(self, spec + 1, what, err);
    else if (strncmp(spec, "env:", 4) == 0)
        status = read_env(self, spec + 4, what, err);
    else
        status = read_literal(self, spec, wipe, what, err);
    if (status == MS_OK)
        status = check_value(self, what, err);
    if (status != MS_OK) {
        ms_secret_free(self);
        return status;
    }
    *out = self;
    return MS_OK;
}

enum ms_status ms_secret_bind(struct ms_secret *self, const char *url, struct ms_error *err)
{
    struct ms_url *parsed = malloc(sizeof *parsed);
    if (!parsed)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    enum ms_status status = ms_url_parse(url, parsed, err);
    if (status == MS_OK)
        memcpy(self->origin, parsed->origin, sizeof self->origin);
    free(parsed);
    return status;
}

const char *ms_secret_value(const struct ms_secret *self)
{
    return self->value;
}

const char *ms_secret_origin(const struct ms_secret *self)
{
    return self->origin;
}

void ms_secret_fingerprint(const struct ms_secret *self, char out[9])
{
    uint8_t digest[MS_SHA256_BYTES];
    if (ms_hash_sha256(self->value, strlen(self->value), digest) != MS_OK)
        memset(digest, 0, sizeof digest);
    ms_hex_encode(digest, 4, out);
}
