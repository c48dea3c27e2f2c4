/* Runs one program within its time, keeps what it says up to a cap, and takes from its messages why
 * it ended. Knows no stage. */
#define _GNU_SOURCE /* pipe2 */
#include "malseq/malseq.h"
#include "malseq/nightly.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { POLL_MS = 50, CLOSED_POLL_MS = 5, LINE_BYTES = 1024, PIECE_BYTES = 16384 };

/* One of the child's two streams. */
struct stream {
    int ends[2]; /* a pipe; -1: none, or it has ended */
    int file;    /* -1: dropped */
    uint64_t room;
    bool cut;
};

struct watch {
    struct stream out, err;
    char line[LINE_BYTES]; /* of stderr, being gathered */
    size_t line_length;
    bool echo;
    struct malseq_ran *ran;
};

/* `path` may be NULL; where it cannot be written that is an error if what it gets is `needed`, and
 * else costs the file alone. */
static enum ms_status open_stream(struct stream *self, const char *path, uint64_t room, bool needed,
                                  struct ms_error *err)
{
    char shown[256];
    *self = (struct stream){.ends = {-1, -1}, .file = -1, .room = room};
    if (pipe2(self->ends, O_CLOEXEC) != 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot make a pipe");
    (void)fcntl(self->ends[0], F_SETFL, O_NONBLOCK);
    if (!path)
        return MS_OK;
    self->file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (self->file >= 0)
        return MS_OK;
    (void)ms_escape_text(path, shown, sizeof shown);
    if (needed)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot write '%s'", shown);
    ms_log(MS_LOG_WARNING, "cannot write '%s': %s", shown, strerror(errno));
    return MS_OK;
}

static void close_stream(struct stream *self)
{
    for (int i = 0; i < 2; i++)
        if (self->ends[i] >= 0)
            (void)close(self->ends[i]);
    if (self->file >= 0)
        (void)close(self->file);
    *self = (struct stream){.ends = {-1, -1}, .file = -1};
}

/* A full disk costs the log and not the night. */
static void store(struct stream *self, const char *bytes, size_t n)
{
    struct ms_error err;
    if (self->file < 0 || self->cut)
        return;
    size_t kept = n < self->room ? n : (size_t)self->room;
    self->room -= kept;
    self->cut = kept < n;
    if (ms_file_write_all(self->file, bytes, kept, &err) != MS_OK)
        self->cut = true;
}

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* "TOOL: error: WHY", as base/log and base/cli_main write it. */
static void read_line(struct watch *self)
{
    static const char again[] = "try again at ";
    struct malseq_ran *ran = self->ran;
    self->line[self->line_length] = '\0';
    self->line_length = 0;
    const char *colon = strstr(self->line, ": ");
    const char *text = colon ? colon + 2 : self->line;
    if (self->echo)
        (void)fprintf(stderr, "%s\n", self->line);
    if (starts(text, "warning: "))
        ran->warnings++;
    if (!starts(text, "error: "))
        return;
    text += 7;
    if (starts(text, again)) {
        size_t n = strspn(text + sizeof again - 1, "0123456789-:TZ");
        (void)snprintf(ran->resume_at, sizeof ran->resume_at, "%.*s", (int)(n < 31 ? n : 0),
                       text + sizeof again - 1);
    } else if (!starts(text, "see '") && !starts(text, "this is a bug")) {
        (void)ms_escape_text(text, ran->error, sizeof ran->error);
    }
}

static void take_line_bytes(struct watch *self, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == '\n')
            read_line(self);
        else if (self->line_length + 1 < LINE_BYTES)
            self->line[self->line_length++] = bytes[i];
    }
}

/* What is there now, and no more than so much, so that time and signals are looked at. */
static void drain(struct watch *self, struct stream *stream)
{
    char piece[PIECE_BYTES];
    for (int i = 0; i < 64 && stream->ends[0] >= 0; i++) {
        ssize_t n = read(stream->ends[0], piece, sizeof piece);
        if (n < 0)
            return;
        if (n == 0) {
            (void)close(stream->ends[0]);
            stream->ends[0] = -1;
            return;
        }
        store(stream, piece, (size_t)n);
        if (stream == &self->err)
            take_line_bytes(self, piece, (size_t)n);
    }
}

static void wait_for_words(struct watch *self)
{
    struct pollfd fds[2] = {{.fd = self->out.ends[0], .events = POLLIN},
                            {.fd = self->err.ends[0], .events = POLLIN}};
    bool closed = fds[0].fd < 0 && fds[1].fd < 0;
    (void)poll(fds, 2, closed ? CLOSED_POLL_MS : POLL_MS);
    drain(self, &self->out);
    drain(self, &self->err);
}

static void watch_child(struct watch *self, struct malseq_child *child,
                        const struct malseq_running *how)
{
    struct malseq_ran *ran = self->ran;
    int64_t kill_at = 0;
    while (!malseq_ended(child, &ran->code)) {
        int64_t now = ms_clock_mono_ms();
        if (!ran->stopped && (now >= how->until_mono_ms || ms_stop_signal())) {
            ran->stopped = true;
            kill_at = now + how->grace_ms;
            (void)kill(child->pid, SIGTERM);
        } else if (ran->stopped && !ran->killed && now >= kill_at) {
            ran->killed = true;
            (void)kill(child->pid, SIGKILL);
        }
        wait_for_words(self);
    }
    /* What it said last; descendants of its own that live on are not waited for. */
    drain(self, &self->out);
    drain(self, &self->err);
    if (self->line_length)
        read_line(self);
}

static enum ms_status find(const char *tool, struct ms_buf *path, struct ms_error *err)
{
    return strcmp(tool, "malseq") == 0 ? malseq_find_self(path, err)
                                       : malseq_find_tool(tool, path, err);
}

enum ms_status malseq_run_tool(const char *tool, const char *const *words,
                               const struct malseq_running *how, struct malseq_ran *out,
                               struct ms_error *err)
{
    struct watch watch = {.echo = how->echo, .ran = out};
    struct malseq_child child;
    struct ms_buf path;
    int64_t began = ms_clock_mono_ms();
    *out = (struct malseq_ran){.code = -1};
    ms_buf_init(&path, 1 << 16);
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    enum ms_status status = find(tool, &path, err);
    if (status == MS_OK && nothing < 0)
        status = ms_error_set_errno(err, MS_E_IO, errno, "cannot open /dev/null");
    struct stream closed = {.ends = {-1, -1}, .file = -1};
    watch.out = watch.err = closed;
    if (status == MS_OK)
        status = open_stream(&watch.out, how->output, MS_LIMIT_NIGHT_OUTPUT_BYTES, true, err);
    if (status == MS_OK)
        status = open_stream(&watch.err, how->log, MS_LIMIT_NIGHT_LOG_BYTES, false, err);
    const int standard[3] = {nothing, watch.out.ends[1], watch.err.ends[1]};
    if (status == MS_OK)
        status = malseq_spawn_with(ms_buf_text(&path), words, standard, &child, err);
    for (int i = 1; i < 3; i++)
        if (standard[i] >= 0)
            (void)close(standard[i]);
    watch.out.ends[1] = watch.err.ends[1] = -1;
    if (status == MS_OK)
        watch_child(&watch, &child, how);
    close_stream(&watch.out);
    close_stream(&watch.err);
    if (nothing >= 0)
        (void)close(nothing);
    ms_buf_release(&path);
    out->ran_ms = ms_clock_mono_ms() - began;
    return status;
}
