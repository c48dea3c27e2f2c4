/* The parent's half of `label avclass`: options, files, output and complaints. Reads no report. */
#include "label/avclass_verb.h"

#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "label/avclass_job.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIELD(name) offsetof(struct ms_avclass_verb_options, name)

const struct ms_option ms_avclass_options[MS_AVCLASS_OPTIONS] = {
    {.name = "tags",
     .letter = 't',
     .kind = MS_OPT_FLAG,
     .offset = FIELD(tags),
     .help = "print all ranked tags and their counts, not the family alone"},
    {.name = "pup",
     .kind = MS_OPT_FLAG,
     .offset = FIELD(pup),
     .help = "add 1 for potentially unwanted programs, 0 for others (not with -t)"},
    {.name = "vtt",
     .kind = MS_OPT_FLAG,
     .offset = FIELD(vtt),
     .help = "add VirusTotal's own tags (not with -t)"},
    {.name = "hash",
     .kind = MS_OPT_CHOICE,
     .arg = "KIND",
     .offset = FIELD(hash),
     .choices = "md5|sha1|sha256",
     .help = "the hash that names a sample (default: md5)"},
    {.name = "engines",
     .kind = MS_OPT_TEXT,
     .arg = "FILE",
     .offset = FIELD(engines),
     .help = "count the labels of these engines alone, one name a line"},
    {.name = "avclass-data",
     .kind = MS_OPT_TEXT,
     .arg = "DIR",
     .offset = FIELD(data),
     .help =
         "folder with default.taxonomy, default.tagging and default.expansion (default: avclass "
         "in the corpus)"},
    {.name = "fetch-data",
     .kind = MS_OPT_FLAG,
     .offset = FIELD(fetch),
     .help = "download these files, as of AVClass " MS_AVCLASS_VERSION ", and judge nothing"},
    {.name = "data-commit",
     .kind = MS_OPT_TEXT,
     .arg = "ID",
     .offset = FIELD(data_commit),
     .help = "with --fetch-data: those of another commit, tag or branch of AVClass, unverified"},
    {.name = "data-url",
     .kind = MS_OPT_TEXT,
     .arg = "URL",
     .offset = FIELD(data_url),
     .help = "with --fetch-data: another server that has them (default: " MS_AVCLASS_URL
             "); https, or http on loopback"},
};

enum { REJECTS_SHOWN = 20, ENGINES_BYTES = 1 << 20 };

struct path {
    char *name;
};

struct judge {
    const struct ms_cli *cli;
    const struct ms_avclass_verb_options *options;
    struct ms_worker *worker;
    struct ms_buf argument;
    struct path *paths;
    size_t path_count, path_cap;
    bool terminal;
    uint64_t reports, rejected;
    enum ms_status trouble; /* worst trouble with a file as such */
    /* Of the file being read. */
    const char *shown;
    uint64_t file_rejects;
    bool counted;
};

/* ---- which files ------------------------------------------------------------------------- */

static void note(struct judge *self, enum ms_status status, const char *path, int errnum)
{
    char name[512];
    ms_log(MS_LOG_ERROR, "cannot read '%s': %s", ms_escape_text(path, name, sizeof name),
           strerror(errnum));
    if (self->trouble != MS_E_IO)
        self->trouble = status;
}

static enum ms_status add_path(struct judge *self, const char *folder, const char *name,
                               struct ms_error *err)
{
    if (self->path_count == self->path_cap) {
        size_t cap = self->path_cap ? 2 * self->path_cap : 64;
        struct path *grown = realloc(self->paths, cap * sizeof *grown);
        if (!grown)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        self->paths = grown;
        self->path_cap = cap;
    }
    size_t n = (folder ? strlen(folder) + 1 : 0) + strlen(name) + 1;
    char *path = malloc(n);
    if (!path)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    bool slash = folder && folder[0] && folder[strlen(folder) - 1] != '/';
    (void)snprintf(path, n, "%s%s%s", folder ? folder : "", slash ? "/" : "", name);
    self->paths[self->path_count++].name = path;
    return MS_OK;
}

/* The regular files right in the folder. */
static enum ms_status add_folder(struct judge *self, const char *folder, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    DIR *dir = opendir(folder);
    if (!dir) {
        note(self, MS_E_IO, folder, errno);
        return MS_OK;
    }
    for (const struct dirent *entry; status == MS_OK && (entry = readdir(dir)) != NULL;) {
        struct stat st;
        if (fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
            status = add_path(self, folder, entry->d_name, err);
    }
    (void)closedir(dir);
    return status;
}

static int order_paths(const void *a, const void *b)
{
    return strcmp(((const struct path *)a)->name, ((const struct path *)b)->name);
}

static enum ms_status find_paths(struct judge *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < self->cli->operand_count && status == MS_OK; i++) {
        const char *operand = self->cli->operands[i];
        struct stat st;
        if (strcmp(operand, "-") != 0 && stat(operand, &st) == 0 && S_ISDIR(st.st_mode))
            status = add_folder(self, operand, err);
        else
            status = add_path(self, NULL, operand, err);
    }
    if (self->path_count)
        qsort(self->paths, self->path_count, sizeof *self->paths, order_paths);
    return status;
}

/* ---- what the worker says ---------------------------------------------------------------- */

/* Tabs and line ends are the form; the rest of a line is what a report said. */
static enum ms_status put_escaped(struct ms_span text, struct ms_error *err)
{
    struct ms_buf out;
    ms_buf_init(&out, 16 * MS_LIMIT_FRAME_BYTES);
    for (size_t from = 0; from < text.len;) {
        size_t n = 0;
        while (from + n < text.len && text.data[from + n] != '\t' && text.data[from + n] != '\n')
            n++;
        (void)ms_escape(&out, text.data + from, n);
        if (from + n < text.len)
            (void)ms_buf_append_byte(&out, text.data[from + n]);
        from += n + 1;
    }
    bool ok = !out.failed && fwrite(out.data, 1, out.len, stdout) == out.len;
    ms_buf_release(&out);
    return ok ? MS_OK : ms_error_set_errno(err, MS_E_IO, errno, "cannot write the output");
}

static enum ms_status take_text(const struct judge *self, struct ms_span text, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    if (self->terminal)
        status = put_escaped(text, err);
    else if (fwrite(text.data, 1, text.len, stdout) != text.len)
        status = ms_error_set_errno(err, MS_E_IO, errno, "cannot write the output");
    if (status == MS_OK && fflush(stdout) != 0)
        status = ms_error_set_errno(err, MS_E_IO, errno, "cannot write the output");
    return status;
}

static enum ms_status take_frame(void *ctx, uint32_t type, struct ms_span bytes,
                                 struct ms_error *err)
{
    struct judge *self = ctx;
    uint64_t line = 0, reports = 0, rejected = 0;
    switch (type) {
    case MS_AVCLASS_TEXT:
        return take_text(self, bytes, err);
    case MS_AVCLASS_REJECT:
        if (!ms_span_take_varint(&bytes, &line))
            break;
        if (self->file_rejects++ < REJECTS_SHOWN)
            ms_log(MS_LOG_WARNING, "%s: line %" PRIu64 ": %.*s", self->shown, line,
                   (int)(bytes.len < 512 ? bytes.len : 512), (const char *)bytes.data);
        return MS_OK;
    case MS_AVCLASS_COUNTS:
        if (!ms_span_take_varint(&bytes, &reports) || !ms_span_take_varint(&bytes, &rejected))
            break;
        self->reports += reports;
        self->counted = true;
        return MS_OK;
    default:
        break;
    }
    return ms_error_set(err, MS_REJECT, "the reader of reports sent a bad frame");
}

/* ---- one file ---------------------------------------------------------------------------- */

static enum ms_status read_fd(struct judge *self, int fd, struct ms_error *err)
{
    const struct ms_worker_limits limits = {.cpu_s = MS_LIMIT_LABEL_FILE_CPU_S,
                                            .wall_ms = UINT32_MAX,
                                            .output_bytes = MS_LIMIT_LABEL_FILE_BYTES};
    struct ms_worker_result result = {0};
    struct ms_error fault = {0};
    self->file_rejects = 0;
    self->counted = false;
    enum ms_status status = ms_worker_run(self->worker, ms_avclass_kind.name, fd,
                                          ms_span_of(self->argument.data, self->argument.len),
                                          &limits, take_frame, self, &result, &fault);
    if (status != MS_OK && status != MS_REJECT) {
        *err = fault;
        return status;
    }
    if (self->file_rejects > REJECTS_SHOWN)
        ms_log(MS_LOG_WARNING, "%s: %" PRIu64 " more reports gave no line", self->shown,
               self->file_rejects - REJECTS_SHOWN);
    self->rejected += self->file_rejects;
    const char *why = status == MS_REJECT      ? fault.text
                      : result.status != MS_OK ? result.error.text
                      : !self->counted         ? "the reader of reports said nothing"
                                               : NULL;
    if (why) {
        ms_log(MS_LOG_ERROR, "%s: %s", self->shown, why);
        self->rejected++;
    }
    return MS_OK;
}

static enum ms_status read_path(struct judge *self, const char *path, struct ms_error *err)
{
    char name[512];
    bool standard = strcmp(path, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        note(self, errno == ENOENT ? MS_E_INPUT : MS_E_IO, path, errno);
        return MS_OK;
    }
    self->shown = standard ? "standard input" : ms_escape_text(path, name, sizeof name);
    enum ms_status status = read_fd(self, fd, err);
    if (!standard)
        (void)close(fd);
    return status;
}

/* ---- the verb ---------------------------------------------------------------------------- */

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* One name a line; white space around it does not count. */
static size_t split_engines(const struct ms_buf *text, struct ms_span *names)
{
    size_t count = 0;
    for (size_t from = 0; from < text->len;) {
        const uint8_t *feed = memchr(text->data + from, '\n', text->len - from);
        size_t end = feed ? (size_t)(feed - text->data) : text->len, next = end + 1;
        while (from < end && is_blank(text->data[from]))
            from++;
        while (end > from && is_blank(text->data[end - 1]))
            end--;
        if (names)
            names[count] = ms_span_of(text->data + from, end - from);
        count++;
        from = next;
    }
    return count;
}

static enum ms_status pack(struct judge *self, struct ms_error *err)
{
    const struct ms_avclass_verb_options *o = self->options;
    struct ms_avclass_options options = {.tags = o->tags,
                                         .pup = o->pup,
                                         .vtt = o->vtt,
                                         .json = self->cli->common.json,
                                         .filtered = o->engines != NULL,
                                         .hash = !o->hash || !strcmp(o->hash, "md5") ? MS_HASH_MD5
                                                 : !strcmp(o->hash, "sha1")          ? MS_HASH_SHA1
                                                                            : MS_HASH_SHA256};
    struct ms_avclass_data data;
    struct ms_buf text;
    struct ms_span *names = NULL;
    ms_buf_init(&text, ENGINES_BYTES);
    enum ms_status status =
        ms_avclass_data_read(o->data, self->cli->common.corpus, &data, NULL, err);
    if (status != MS_OK)
        return status;
    if (o->engines)
        status = ms_file_read(o->engines, &text, err);
    if (status == MS_OK && o->engines) {
        options.engine_count = split_engines(&text, NULL);
        names = calloc(options.engine_count + 1, sizeof *names);
        options.engines = names;
        if (names)
            (void)split_engines(&text, names);
        else
            status = ms_error_set(err, MS_E_NOMEM, "out of memory");
    }
    if (status == MS_OK) {
        const struct ms_avclass_rules rules = ms_avclass_data_rules(&data);
        status = ms_avclass_job_pack(&options, &rules, &self->argument, err);
    }
    free(names);
    ms_buf_release(&text);
    ms_avclass_data_release(&data);
    return status;
}

static enum ms_status fetch(const struct ms_cli *cli, struct ms_error *err)
{
    const struct ms_avclass_verb_options *o = cli->options;
    char folder[4096], shown[512];
    bool verified = false;
    if (cli->operand_count)
        return ms_error_set(err, MS_E_USAGE, "--fetch-data takes no files");
    int n = snprintf(folder, sizeof folder, o->data ? "%s" : "%s/avclass",
                     o->data ? o->data : cli->common.corpus);
    if (n < 0 || (size_t)n >= sizeof folder)
        return ms_error_set(err, MS_E_USAGE, "the folder's name is too long");
    ms_escape_text(folder, shown, sizeof shown);
    if (cli->common.dry_run) {
        ms_log(MS_LOG_INFO, "would download AVClass's data files into '%s'", shown);
        return MS_OK;
    }
    enum ms_status status =
        ms_avclass_data_fetch(folder, o->data_url, o->data_commit, &verified, err);
    if (status == MS_OK && verified)
        ms_log(MS_LOG_INFO, "'%s' has the data files of AVClass " MS_AVCLASS_VERSION " (MIT)",
               shown);
    else if (status == MS_OK)
        ms_log(MS_LOG_WARNING,
               "'%s' has AVClass's data files as they came: those of " MS_AVCLASS_VERSION
               " alone have known digests",
               shown);
    return status;
}

enum ms_status ms_label_avclass(struct ms_cli *cli, struct ms_error *err)
{
    struct judge self = {.cli = cli, .options = cli->options};
    const struct ms_worker_options worker = {
        .kinds = &ms_avclass_kind, .kind_count = 1, .no_confine = cli->common.no_confine};
    if (self.options->fetch)
        return fetch(cli, err);
    if (self.options->data_url || self.options->data_commit)
        return ms_error_set(err, MS_E_USAGE, "--data-url and --data-commit need --fetch-data");
    if (cli->operand_count == 0)
        return ms_error_set(err, MS_E_USAGE, "no file of reports given ('-' is standard input)");
    ms_buf_init(&self.argument, 4 * MS_LIMIT_AVCLASS_BYTES);
    enum ms_status status = ms_worker_start(&worker, &self.worker, err);
    self.terminal = isatty(STDOUT_FILENO);
    if (status == MS_OK)
        status = pack(&self, err);
    if (status == MS_OK)
        status = find_paths(&self, err);
    for (size_t i = 0; i < self.path_count && status == MS_OK; i++)
        if (i == 0 || strcmp(self.paths[i - 1].name, self.paths[i].name) != 0)
            status = read_path(&self, self.paths[i].name, err);
    if (status == MS_OK && self.rejected)
        ms_log(MS_LOG_INFO, "%" PRIu64 " reports, %" PRIu64 " rejected", self.reports,
               self.rejected);
    for (size_t i = 0; i < self.path_count; i++)
        free(self.paths[i].name);
    free(self.paths);
    ms_buf_release(&self.argument);
    ms_worker_stop(self.worker);
    if (status == MS_OK && self.trouble != MS_OK)
        return ms_error_set(err, self.trouble, "some files could not be read");
    return status == MS_OK && self.rejected ? MS_REJECT : status;
}
