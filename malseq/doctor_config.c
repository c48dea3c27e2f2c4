/* What malseq doctor takes from nightly.conf: the file and the plan that follows from it, the files
 * it names, and the values of its sections. Opens no key and asks nobody. */
#define _GNU_SOURCE /* S_ISVTX */
#include "malseq/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- values ---- */

const struct malseq_section *malseq_doctor_section(const struct doctor *self, const char *kind,
                                                   const struct malseq_section *after)
{
    const struct malseq_section *s = after          ? after->next
                                     : self->config ? self->config->sections
                                                    : NULL;
    while (s && (strcmp(s->kind, kind) != 0 || malseq_section_is_off(s)))
        s = s->next;
    return s;
}

const char *malseq_doctor_text(const struct doctor *self, const char *option, const char *kind,
                               const char *key, const char *fallback)
{
    const struct malseq_value *value = NULL;
    for (const struct malseq_section *s = malseq_doctor_section(self, kind, NULL); s && !value;
         s = malseq_doctor_section(self, kind, s))
        value = malseq_section_find(s, key);
    return option ? option : value ? value->text : fallback;
}

/* ---- the files it names ---- */

/* The folder a path lies in; NULL: no memory. */
static const char *folder_of(struct doctor *self, const char *path)
{
    const char *slash = strrchr(path, '/');
    return !slash          ? "."
           : slash == path ? "/"
                           : ms_arena_copy(&self->cli->memory, path, (size_t)(slash - path));
}

/* As the effective user, which is the one that opens. */
static bool is_allowed(const char *path, int mode)
{
    return faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0;
}

static bool is_readable(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && is_allowed(path, S_ISDIR(st.st_mode) ? R_OK | X_OK : R_OK);
}

/* What a stage reads must be there, and where the report's copies go must be a folder to write. */
static enum ms_status check_path(struct doctor *self, const struct malseq_value *value,
                                 bool written, struct ms_error *err)
{
    const char *path = written ? folder_of(self, value->text) : value->text;
    if (!path)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    if (written ? is_allowed(path, W_OK | X_OK) : is_readable(path))
        return MS_OK;
    return malseq_doctor_say(
        self, "nightly", DOCTOR_FAULT, "make it, or name another: each night would fail there", err,
        "%s:%u: %s: cannot %s '%s': %s", self->config->path, value->line, value->key->name,
        written ? "write into" : "read", path, strerror(errno));
}

static enum ms_status check_paths(struct doctor *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    enum malseq_stage stage;
    for (const struct malseq_section *s = self->config->sections; s; s = s->next) {
        bool written = strcmp(s->kind, "report") == 0;
        if (malseq_section_is_off(s) || (!written && !malseq_stage_parse(s->kind, &stage)))
            continue;
        for (const struct malseq_value *v = s->values; v && status == MS_OK; v = v->next)
            if (v->key->kind == MALSEQ_KEY_PATH)
                status = check_path(self, v, written, err);
    }
    return status;
}

/* ---- the file ---- */

/* Whoever writes a folder that is not sticky can put another file there under the same name. */
static bool others_write(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && (st.st_mode & 022) &&
           !(S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX));
}

static enum ms_status check_writers(struct doctor *self, const char *path, struct ms_error *err)
{
    const char *folder = folder_of(self, path);
    enum ms_status status =
        folder ? MS_OK : ms_error_set(err, MS_E_NOMEM, "out of memory for the name of a folder");
    if (status == MS_OK && others_write(path))
        status = malseq_doctor_say(self, "nightly", DOCTOR_WARNING, "chmod go-w it", err,
                                   "others can write '%s': it says where keys are sent", path);
    if (status == MS_OK && others_write(folder))
        status = malseq_doctor_say(
            self, "nightly", DOCTOR_WARNING, "chmod go-w it", err,
            "others can write the folder '%s', and so put another nightly.conf there", folder);
    return status;
}

/* What malseq nightly would refuse to begin with. */
static enum ms_status read_plan(struct doctor *self, const char *path,
                                struct malseq_nightly_config *config, struct ms_error *err)
{
    struct malseq_plan *plan = ms_arena_alloc(&self->cli->memory, sizeof *plan);
    struct ms_error why;
    if (!plan)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    enum ms_status status = malseq_nightly_config_read(path, &self->cli->memory, config, &why);
    if (status == MS_OK) {
        self->config = config;
        status = malseq_plan_make(config, self->corpus, &self->cli->common, ~0u, plan, &why);
        malseq_plan_release(plan);
    }
    if (status != MS_OK)
        return malseq_doctor_say(self, "nightly", DOCTOR_FAULT, "mend it: no night begins with it",
                                 err, "%s", why.text);
    return malseq_doctor_say(self, "nightly", DOCTOR_OK, NULL, err, "%s is sound", path);
}

enum ms_status malseq_doctor_config(struct doctor *self, struct malseq_nightly_config *config,
                                    struct ms_error *err)
{
    const char *path = self->options->config;
    if (!path) {
        size_t n = strlen(self->corpus) + sizeof "/nightly.conf";
        char *beside = ms_arena_alloc(&self->cli->memory, n);
        if (!beside)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        (void)snprintf(beside, n, "%s/nightly.conf", self->corpus);
        if (access(beside, F_OK) != 0)
            return MS_OK;
        path = beside;
    }
    enum ms_status status = read_plan(self, path, config, err);
    if (status == MS_OK)
        status = check_writers(self, path, err);
    return status == MS_OK && self->config ? check_paths(self, err) : status;
}
