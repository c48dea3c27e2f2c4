/* malseq demo: the whole pipeline, by the real tools, in a synthetic world served on loopback. It
 * judges what came out only by what the world says is true. */
#include "malseq/malseq.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The world needs a second; a machine under load some more. */
enum { WORLD_WAIT_MS = 60000, WORLD_POLL_MS = 50, FILE_MAX_BYTES = 16 << 20 };

static const char published[] = "https://raw.githubusercontent.com/ocatak/malware_api_class/"
                                "446f0c7643e93bda26599524d3cb796d9294cd91";

/* A run of the demo; the texts are the arena's. */
struct demo {
    struct ms_cli *cli;
    const struct malseq_demo *options;
    const char *folder, *corpus;
    struct malseq_child world;
    json_t *services;
};

void malseq_demo_defaults(void *options)
{
    struct malseq_demo *self = options;
    self->samples = 400;
    self->dataset_url = published;
}

/* "folder/name", or NULL without memory. */
static const char *join(struct ms_cli *cli, const char *folder, const char *name)
{
    size_t n = strlen(folder) + strlen(name) + 2;
    char *path = ms_arena_alloc(&cli->memory, n);
    if (path)
        (void)snprintf(path, n, "%s/%s", folder, name);
    return path;
}

static void print_word(const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_=./:,@+%";
    char shown[1024];
    bool quote = *word == '\0' || word[strspn(word, plain)] != '\0';
    printf(quote ? " '%s'" : " %s", ms_escape_text(word, shown, sizeof shown));
}

/* What a tool's exit code says, as a status of ours. */
static enum ms_status status_of_code(const char *tool, int code, struct ms_error *err)
{
    static const struct {
        int code;
        enum ms_status status;
    } rows[] = {{2, MS_E_USAGE}, {3, MS_E_INPUT}, {4, MS_E_IO}, {5, MS_E_REMOTE}, {75, MS_E_LATER}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].code == code)
            return ms_error_set(err, rows[i].status, "%s ended with %d; see above", tool, code);
    return ms_error_set(err, MS_E_BUG, "%s ended with %d", tool, code);
}

enum ms_status malseq_demo_tool(const char *tool, const char *const *argv, int stdout_fd,
                                struct ms_error *err)
{
    enum { WORDS_MAX = 64 };
    const char *words[WORDS_MAX] = {tool};
    struct malseq_child child;
    struct ms_buf path;
    int code = 0;
    size_t n = 1;
    printf("\n$ malseq %s", tool);
    for (; argv[n - 1] && n + 1 < WORDS_MAX; n++) {
        words[n] = argv[n - 1];
        print_word(words[n]);
    }
    printf("\n");
    ms_buf_init(&path, FILE_MAX_BYTES);
    enum ms_status status = malseq_find_tool(tool, &path, err);
    if (status == MS_OK)
        status = malseq_spawn(ms_buf_text(&path), words, stdout_fd, 0, &child, err);
    if (status == MS_OK)
        status = malseq_wait(&child, &code, err);
    ms_buf_release(&path);
    if (status == MS_OK && code != 0 && code != 1)
        status = status_of_code(tool, code, err);
    return status;
}

static enum ms_status start_world(struct demo *self, struct ms_error *err)
{
    char samples[24], seed[24];
    struct ms_buf script;
    ms_buf_init(&script, FILE_MAX_BYTES);
    enum ms_status status = malseq_find_data("services/demo_world.py", &script, err);
    (void)snprintf(samples, sizeof samples, "%llu", (unsigned long long)self->options->samples);
    (void)snprintf(seed, sizeof seed, "%llu", (unsigned long long)self->cli->common.seed);
    const char *const argv[] = {"python3",
                                "-B",
                                ms_buf_text(&script),
                                "--out",
                                join(self->cli, self->folder, "world"),
                                "--samples",
                                samples,
                                "--seed",
                                seed,
                                self->options->shuffle_labels ? "--shuffle-labels" : NULL,
                                NULL};
    if (status == MS_OK)
        status = malseq_spawn("python3", argv, STDERR_FILENO, MALSEQ_STDIN_PIPE, &self->world, err);
    ms_buf_release(&script);
    return status;
}

/* The world writes services.json last, when everything answers. */
static enum ms_status await_world(struct demo *self, struct ms_error *err)
{
    const char *path = join(self->cli, self->folder, "world/services.json");
    int64_t until = ms_clock_mono_ms() + WORLD_WAIT_MS;
    int code = 0;
    if (!path)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    while (access(path, R_OK) != 0) {
        if (malseq_ended(&self->world, &code))
            return ms_error_set(err, MS_E_IO, "the synthetic world ended with %d%s", code,
                                code == 127 ? ": is python3 installed?" : "");
        if (ms_clock_mono_ms() > until)
            return ms_error_set(err, MS_E_IO, "the synthetic world did not start in %d s",
                                WORLD_WAIT_MS / 1000);
        ms_clock_sleep_ms(WORLD_POLL_MS);
    }
    struct ms_buf text;
    ms_buf_init(&text, FILE_MAX_BYTES);
    enum ms_status status = ms_file_read(path, &text, err);
    if (status == MS_OK)
        status = ms_json_parse(text.data, text.len, &self->services, err);
    ms_buf_release(&text);
    return status;
}

static void stop_world(struct demo *self)
{
    struct ms_error err;
    int code;
    if (self->world.pid > 0) {
        (void)kill(self->world.pid, SIGTERM);
        if (malseq_wait(&self->world, &code, &err) != MS_OK)
            ms_log(MS_LOG_WARNING, "%s", err.text);
    }
    json_decref(self->services);
}

static const char *service(const struct demo *self, const char *name)
{
    return ms_json_string_at(self->services, name, "");
}

/* "@FILE" for a key of the world. */
static const char *key(const struct demo *self, const char *name)
{
    const char *path = service(self, name);
    char *spec = ms_arena_alloc(&self->cli->memory, strlen(path) + 2);
    if (spec)
        (void)snprintf(spec, strlen(path) + 2, "@%s", path);
    return spec ? spec : "";
}

/* What a tool wrote into the memory file. Appends to `text`. */
static enum ms_status read_back(int fd, struct ms_buf *text, struct ms_error *err)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return ms_file_read(path, text, err);
}

/* Runs a tool that prints a line a sample, and shows the first few. */
static enum ms_status run_showing_some(const char *tool, const char *const *argv,
                                       struct ms_error *err)
{
    enum { SHOWN = 6 };
    struct ms_buf text;
    unsigned lines = 0;
    int fd = -1;
    enum ms_status status = ms_file_memory(tool, &fd, err);
    if (status != MS_OK)
        return status;
    ms_buf_init(&text, FILE_MAX_BYTES);
    status = malseq_demo_tool(tool, argv, fd, err);
    if (status == MS_OK)
        status = read_back(fd, &text, err);
    for (const char *p = ms_buf_text(&text); *p; lines++) {
        size_t n = strcspn(p, "\n");
        if (lines < SHOWN)
            printf("%.*s\n", (int)n, p);
        p += n + (p[n] == '\n');
    }
    if (lines > SHOWN)
        printf("... and %u lines more\n", lines - SHOWN);
    close(fd);
    ms_buf_release(&text);
    return status;
}

static enum ms_status gather(struct demo *self, struct ms_error *err)
{
    const char *const collect[] = {"--corpus",
                                   self->corpus,
                                   "--github-list",
                                   service(self, "repos"),
                                   "--github-url",
                                   service(self, "github_url"),
                                   "--github-token",
                                   key(self, "key_files.github"),
                                   NULL};
    const char *const label[] = {"--corpus",  self->corpus,
                                 "--vt-key",  "env:VT_API_KEY",
                                 "--vt-url",  service(self, "virustotal_url"),
                                 "--vt-user", service(self, "vt_user"),
                                 NULL};
    const char *const extract[] = {"--corpus",    self->corpus,
                                   "--cuckoo",    service(self, "cuckoo_url"),
                                   "--token",     key(self, "key_files.cuckoo"),
                                   "--poll",      "0.1",
                                   "--in-flight", "16",
                                   NULL};
    /* The world's own key, good for this run and this machine. */
    if (setenv("VT_API_KEY", service(self, "vt_key"), 1) != 0)
        return ms_error_set_errno(err, MS_E_NOMEM, errno, "cannot pass on the key");
    enum ms_status status = malseq_demo_tool("collect", collect, -1, err);
    if (status == MS_OK)
        status = run_showing_some("label", label, err);
    (void)unsetenv("VT_API_KEY");
    if (status == MS_OK)
        status = run_showing_some("extract", extract, err);
    return status;
}

static enum ms_status learn(struct demo *self, struct ms_error *err)
{
    char seed[24], jobs[24];
    (void)snprintf(seed, sizeof seed, "%llu", (unsigned long long)self->cli->common.seed);
    (void)snprintf(jobs, sizeof jobs, "%llu", (unsigned long long)self->cli->common.jobs);
    /* One net a shape and one fit, to be soon done. Whether shuffled labels end at chance a few
     * dozen held-out rows cannot tell: folds judge all. */
    const char *judged = self->options->shuffle_labels ? "--folds" : "--test-share";
    const char *by = self->options->shuffle_labels ? "3" : ".2";
    const char *const classes[] = {"--corpus", self->corpus, "--target",  "class",  "--name",
                                   "classes",  "--seed",     seed,        "--jobs", jobs,
                                   judged,     by,           "--members", "1",      NULL};
    const char *const verdict[] = {"--corpus", self->corpus, "--target",  "malware", "--name",
                                   "malware",  "--seed",     seed,        "--jobs",  jobs,
                                   judged,     by,           "--members", "1",       NULL};
    enum ms_status status = malseq_demo_tool("train", classes, -1, err);
    return status == MS_OK ? malseq_demo_tool("train", verdict, -1, err) : status;
}

/* Runs detect on the fresh reports and sets its lines beside what the world says is true. */
static enum ms_status judge(struct demo *self, struct ms_error *err)
{
    struct ms_buf text;
    int fd = -1;
    unsigned right = 0, all = 0;
    const char *const detect[] = {"--model", join(self->cli, self->corpus, "models/malware"),
                                  "--json", service(self, "fresh"), NULL};
    enum ms_status status = ms_file_memory("verdicts", &fd, err);
    if (status != MS_OK)
        return status;
    ms_buf_init(&text, FILE_MAX_BYTES);
    status = malseq_demo_tool("detect", detect, fd, err);
    if (status == MS_OK)
        status = read_back(fd, &text, err);
    if (status == MS_OK)
        printf("%-24s %-12s %8s   %s\n", "report", "verdict", "score", "the world says");
    for (const char *line = ms_buf_text(&text); status == MS_OK && *line;) {
        size_t n = strcspn(line, "\n");
        json_t *verdict = NULL;
        status = n ? ms_json_parse(line, n, &verdict, err) : MS_OK;
        const char *file = ms_json_string_at(verdict, "file", NULL);
        if (status == MS_OK && file) {
            const char *base = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
            const char *said = ms_json_string_at(verdict, "verdict", "?");
            json_t *truths = json_object_get(self->services, "fresh_truth");
            const char *truth = json_string_value(json_object_get(truths, base));
            bool bad = strcmp(said, "malicious") == 0;
            char shown[128];
            right += truth && bad == (strcmp(truth, "benign") != 0);
            all++;
            printf("%-24s %-12s %8.4f   %s\n", ms_escape_text(base, shown, sizeof shown), said,
                   json_number_value(json_object_get(verdict, "score")), truth ? truth : "?");
        }
        json_decref(verdict);
        line += n + (line[n] == '\n');
    }
    if (status == MS_OK)
        printf("\ndetect was right on %u of %u reports it had never seen%s.\n", right, all,
               self->options->shuffle_labels ? ", as chance would have it" : "");
    close(fd);
    ms_buf_release(&text);
    return status;
}

/* One line about a trained model, from the metrics it left. *beaten: the majority class is beaten
 * even at the low end of the interval. */
static enum ms_status sum_up(const struct demo *self, const char *name, bool *beaten,
                             struct ms_error *err)
{
    struct ms_buf text;
    json_t *metrics = NULL;
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/models/%s/metrics.json", self->corpus, name);
    if (n < 0 || (size_t)n >= sizeof path)
        return ms_error_set(err, MS_E_IO, "the folder's name is too long");
    ms_buf_init(&text, FILE_MAX_BYTES);
    enum ms_status status = ms_file_read(path, &text, err);
    if (status == MS_OK)
        status = ms_json_parse(text.data, text.len, &metrics, err);
    if (status == MS_OK) {
        double low = json_number_value(ms_json_at(metrics, "accuracy_interval.low"));
        double majority = json_number_value(ms_json_at(metrics, "majority_accuracy"));
        *beaten = low > majority;
        printf("%-9s accuracy %.3f [%.3f, %.3f]   majority class %.3f   %s\n", name,
               json_number_value(ms_json_at(metrics, "accuracy")), low,
               json_number_value(ms_json_at(metrics, "accuracy_interval.high")), majority,
               *beaten ? "something was learnt" : "no better than chance");
    }
    json_decref(metrics);
    ms_buf_release(&text);
    return status;
}

/* The figures, where things are, and what they are worth. With shuffled labels a model that beats
 * the majority class would be a fault of the measurement. */
static enum ms_status say_end(const struct demo *self, struct ms_error *err)
{
    bool classes = false, malware = false;
    printf("\n");
    enum ms_status status = sum_up(self, "classes", &classes, err);
    if (status == MS_OK)
        status = sum_up(self, "malware", &malware, err);
    if (status != MS_OK)
        return status;
    printf("\nReports with training curves and confusion matrices:\n"
           "  %s/models/classes/report.html\n  %s/models/malware/report.html\n"
           "Everything of this run lies in %s\n\n",
           self->corpus, self->corpus, self->folder);
    if (self->options->shuffle_labels)
        printf("The labels were dealt out at random, so there was nothing to learn: %s.\n",
               classes || malware
                   ? "a figure above the majority class is a FAULT OF THE MEASUREMENT"
                   : "the run ended at chance, as it must");
    printf("This world is synthetic: programs without code, answers and reports made by a grammar, "
           "all\nserved on this machine. Its figures say that the pipeline works, and nothing "
           "about real malware.\n");
    if (self->options->shuffle_labels && (classes || malware))
        return ms_error_set(err, MS_REJECT, "shuffled labels were learnt");
    return MS_OK;
}

static enum ms_status synthetic(struct demo *self, struct ms_error *err)
{
    int64_t begun = ms_clock_mono_ms();
    printf("Starting a synthetic world of %llu programs: a GitHub, a VirusTotal and a Cuckoo on "
           "loopback.\n",
           (unsigned long long)self->options->samples);
    enum ms_status status = start_world(self, err);
    if (status == MS_OK)
        status = await_world(self, err);
    if (status == MS_OK)
        status = gather(self, err);
    if (status == MS_OK)
        status = learn(self, err);
    if (status == MS_OK)
        status = judge(self, err);
    stop_world(self);
    if (status == MS_OK)
        status = say_end(self, err);
    printf("%lld s in all\n", (long long)((ms_clock_mono_ms() - begun + 500) / 1000));
    return status;
}

/* The run's own folder: --keep (new or empty), else a new one. */
static enum ms_status make_folder(struct demo *self, struct ms_error *err)
{
    struct ms_cli *cli = self->cli;
    char shown[256];
    if (self->options->keep) {
        enum ms_status status = ms_file_make_dirs(self->options->keep, err);
        if (status != MS_OK)
            return status;
        /* rmdir succeeds on an empty folder only; what someone has in it is not ours. */
        if (rmdir(self->options->keep) != 0)
            return ms_error_set_errno(err, MS_E_USAGE, errno,
                                      "--keep wants a new or empty folder; '%s'",
                                      ms_escape_text(self->options->keep, shown, sizeof shown));
        self->folder = self->options->keep;
        status = ms_file_make_dirs(self->folder, err);
        if (status != MS_OK)
            return status;
    } else {
        const char *tmp = getenv("TMPDIR");
        char *folder =
            (char *)(uintptr_t)join(cli, tmp && *tmp ? tmp : "/tmp", "malseq-demo-XXXXXX");
        if (!folder)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        if (!mkdtemp(folder))
            return ms_error_set_errno(err, MS_E_IO, errno, "cannot make a folder under '%s'",
                                      ms_escape_text(tmp ? tmp : "/tmp", shown, sizeof shown));
        self->folder = folder;
    }
    self->corpus = join(cli, self->folder, "corpus");
    return self->corpus ? MS_OK : ms_error_set(err, MS_E_NOMEM, "out of memory");
}

enum ms_status malseq_demo(struct ms_cli *cli, struct ms_error *err)
{
    struct demo demo = {.cli = cli, .options = cli->options, .world = {0, -1}};
    char shown[128];
    bool dataset = cli->operand_count > 0;
    if (dataset && strcmp(cli->operands[0], "mal-api-2019") != 0)
        return ms_error_set(err, MS_E_USAGE, "unknown demo '%s'; there is mal-api-2019",
                            ms_escape_text(cli->operands[0], shown, sizeof shown));
    if (dataset && demo.options->shuffle_labels)
        return ms_error_set(err, MS_E_USAGE, "--shuffle-labels is for the synthetic world");
    enum ms_status status = make_folder(&demo, err);
    if (status != MS_OK)
        return status;
    return dataset ? malseq_demo_dataset(cli, cli->operand_count > 1 ? cli->operands[1] : NULL,
                                         demo.folder, err)
                   : synthetic(&demo, err);
}
