/* The frame of every tool's main: descriptors, locale, hygiene for secrets, the verb, its message
 * and exit code. */
#include "base/cli_table.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { TEXT_MAX_BYTES = 4 << 20 };

/* LeakSanitizer looks at the process from a ptracing child and cannot when it is not dumpable. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* A closed standard descriptor would be reused by the next file opened, and output would go into
 * it. The replacement for stdin cannot be read and that for stdout cannot be written, so that using
 * them is still an error. */
static void guard_descriptors(void)
{
    static const int modes[] = {O_WRONLY, O_RDONLY, O_WRONLY};
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", modes[fd]) != fd)
            _exit(ms_status_exit_code(MS_E_IO));
}

static void protect_process(void)
{
    const struct rlimit none = {0, 0};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGPIPE, &ignore, NULL);
    (void)sigaction(SIGXFSZ, &ignore,
                    NULL); /* a file that may not grow is an error like a full disk */
    (void)setrlimit(RLIMIT_CORE, &none);
    if (!SANITIZED)
        (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static void start_talk(const struct ms_cli *cli)
{
    const struct ms_common *common = &cli->common;
    enum ms_progress_mode mode = common->quiet ? MS_PROGRESS_NEVER : MS_PROGRESS_AUTO;
    if (strcmp(common->progress, "always") == 0)
        mode = MS_PROGRESS_ALWAYS;
    else if (strcmp(common->progress, "never") == 0)
        mode = MS_PROGRESS_NEVER;
    ms_log_init(cli->tool->name, common->verbose ? MS_LOG_DEBUG
                                 : common->quiet ? MS_LOG_WARNING
                                                 : MS_LOG_INFO);
    ms_progress_init(mode);
}

static void print_error(const struct ms_cli *cli, const struct ms_error *err)
{
    char when[32];
    const struct ms_verb *verb = cli->verb;
    ms_progress_end();
    ms_log(MS_LOG_ERROR, "%s", err->text[0] ? err->text : "failed without saying why");
    if (err->status == MS_E_USAGE)
        ms_log(MS_LOG_ERROR, "see '%s%s%s --help'", cli->tool->name, verb && *verb->name ? " " : "",
               verb ? verb->name : "");
    if (err->status == MS_E_LATER && err->resume_at_ms) {
        ms_clock_format(err->resume_at_ms, when);
        ms_log(MS_LOG_ERROR, "try again at %s", when);
    }
    if (err->status == MS_E_BUG)
        ms_log(MS_LOG_ERROR, "this is a bug in malseq; please report it with the command line");
}

static enum ms_status print_text(const struct ms_cli *cli, struct ms_error *err)
{
    const struct ms_tool *tool = cli->tool;
    struct ms_buf text;
    ms_buf_init(&text, TEXT_MAX_BYTES);
    if (cli->ask == MS_CLI_HELP)
        ms_cli_help(tool, cli->verb, &text);
    else if (cli->ask == MS_CLI_VERSION)
        (void)ms_buf_printf(&text, "%s (malseq) " MS_VERSION "\n", tool->name);
    else if (cli->ask == MS_CLI_MAN)
        ms_cli_man(tool, &text);
    else
        ms_cli_completion(tool, &text);
    enum ms_status status = text.failed ? ms_error_set(err, MS_E_NOMEM, "out of memory") : MS_OK;
    if (status == MS_OK)
        (void)fwrite(ms_buf_text(&text), 1, text.len, stdout);
    ms_buf_release(&text);
    return status;
}

/* Results that did not arrive are a failure, whatever the verb thought. */
static enum ms_status finish_output(enum ms_status status, struct ms_error *err)
{
    errno = 0;
    bool bad = ferror(stdout) != 0;
    if (fflush(stdout) != 0)
        bad = true;
    if (!bad || (status != MS_OK && status != MS_REJECT))
        return status;
    err->text[0] = '\0';
    return errno ? ms_error_set_errno(err, MS_E_IO, errno, "cannot write to standard output")
                 : ms_error_set(err, MS_E_IO, "cannot write to standard output");
}

int ms_cli_main(const struct ms_tool *tool, int argc, char **argv)
{
    struct ms_cli cli;
    struct ms_error err = {.status = MS_OK};
    guard_descriptors();
    protect_process();
    if (!setlocale(LC_ALL, "C.UTF-8"))
        (void)setlocale(LC_ALL, "C");
    ms_log_init(tool->name, MS_LOG_INFO);
    enum ms_status status = ms_cli_parse(tool, argc, argv, &cli, &err);
    if (status == MS_OK)
        start_talk(&cli);
    if (status == MS_OK)
        status = cli.ask == MS_CLI_RUN ? cli.verb->run(&cli, &err) : print_text(&cli, &err);
    status = finish_output(status, &err);
    /* MS_REJECT is "done, with findings": its text, if any, is a remark. */
    if (status == MS_REJECT && err.text[0])
        ms_log(MS_LOG_WARNING, "%s", err.text);
    else if (status != MS_OK && status != MS_REJECT) {
        err.status = status;
        print_error(&cli, &err);
    }
    ms_cli_release(&cli);
    ms_stop_end();
    return ms_status_exit_code(status);
}
