/* Finding and running programs: the five tools, and Python for the demo's world. No shell. */
#define _GNU_SOURCE /* pipe2 */
#include "malseq/malseq.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATH_MAX_BYTES = 8192 };

/* The folder this program lies in, without a slash at its end. */
static enum ms_status own_folder(char *out, size_t n, struct ms_error *err)
{
    ssize_t got = readlink("/proc/self/exe", out, n - 1);
    if (got < 0 || (size_t)got >= n - 1)
        return ms_error_set_errno(err, MS_E_IO, got < 0 ? errno : ENAMETOOLONG,
                                  "cannot tell where this program lies");
    out[got] = '\0';
    char *slash = strrchr(out, '/');
    if (slash)
        *slash = '\0';
    return MS_OK;
}

static bool is_file(const char *path, int access_mode)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, access_mode) == 0;
}

/* The first of the places that holds a file; each is FOLDER/place/name. */
static bool find_below(const char *folder, const char *const *places, size_t count,
                       const char *name, int access_mode, struct ms_buf *path)
{
    for (size_t i = 0; i < count; i++) {
        ms_buf_clear(path);
        if (ms_buf_printf(path, "%s/%s%s", folder, places[i], name) == MS_OK &&
            is_file(ms_buf_text(path), access_mode))
            return true;
    }
    return false;
}

enum ms_status malseq_find_tool(const char *name, struct ms_buf *path, struct ms_error *err)
{
    static const char *const places[] = {"../libexec/malseq/", ""};
    char folder[PATH_MAX_BYTES], shown[256];
    enum ms_status status = own_folder(folder, sizeof folder, err);
    if (status != MS_OK || find_below(folder, places, 2, name, X_OK, path))
        return status;
    return ms_error_set(err, MS_E_IO,
                        "cannot find the program '%s' in %s or in ../libexec/malseq beside it; "
                        "is malseq installed whole?",
                        name, ms_escape_text(folder, shown, sizeof shown));
}

enum ms_status malseq_find_self(struct ms_buf *path, struct ms_error *err)
{
    /* What the kernel puts behind the name of a program that was replaced, as an upgrade does: the
     * new one lies at the old name, beside the new tools. */
    static const char gone[] = " (deleted)";
    const size_t tail = sizeof gone - 1;
    char own[PATH_MAX_BYTES];
    ssize_t got = readlink("/proc/self/exe", own, sizeof own - 1);
    if (got < 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot tell where this program lies");
    size_t n = (size_t)got;
    own[n] = '\0';
    if (n > tail && memcmp(own + n - tail, gone, tail) == 0 && !is_file(own, X_OK))
        n -= tail;
    return ms_buf_append(path, own, n);
}

enum ms_status malseq_find_data(const char *relative, struct ms_buf *path, struct ms_error *err)
{
    /* build/PRESET/bin lies three levels below the source tree; packagers build elsewhere. */
    static const char *const places[] = {"../share/malseq/demo/", "../../../tests/", "../../tests/",
                                         "../tests/"};
    char folder[PATH_MAX_BYTES], shown[256];
    enum ms_status status = own_folder(folder, sizeof folder, err);
    if (status != MS_OK ||
        find_below(folder, places, sizeof places / sizeof *places, relative, R_OK, path))
        return status;
    return ms_error_set(err, MS_E_IO, "cannot find '%s' in ../share/malseq/demo beside %s",
                        relative, ms_escape_text(folder, shown, sizeof shown));
}

enum ms_status malseq_exec(struct ms_cli *cli, struct ms_error *err)
{
    struct ms_buf path;
    ms_buf_init(&path, PATH_MAX_BYTES);
    const char *name = cli->verb->name;
    enum ms_status status = malseq_find_tool(name, &path, err);
    char **argv = ms_arena_alloc_array(&cli->memory, cli->operand_count + 2, sizeof *argv);
    if (status == MS_OK && !argv)
        status = ms_error_set(err, MS_E_NOMEM, "out of memory");
    if (status == MS_OK) {
        /* The words themselves, so that a secret among them leaves the new argv as usual. */
        argv[0] = ms_arena_copy(&cli->memory, name, strlen(name));
        for (size_t i = 0; i < cli->operand_count; i++)
            argv[i + 1] = (char *)(uintptr_t)cli->operands[i];
        (void)fflush(NULL);
        execv(ms_buf_text(&path), argv);
        status = ms_error_set_errno(err, MS_E_IO, errno, "cannot run '%s'", name);
    }
    ms_buf_release(&path);
    return status;
}

/* In the child: from here on only what is safe after fork. */
static void become(const char *path, const char *const *argv, const int standard[3], pid_t parent)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(70);
    for (int i = 0; i < 3; i++)
        if (standard[i] >= 0 && dup2(standard[i], i) < 0)
            _exit(70);
    (void)signal(SIGPIPE, SIG_DFL);
    execvp(path, (char *const *)(uintptr_t)argv);
    _exit(errno == ENOENT ? 127 : 126);
}

enum ms_status malseq_spawn_with(const char *path, const char *const *argv, const int standard[3],
                                 struct malseq_child *out, struct ms_error *err)
{
    (void)fflush(NULL);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        become(path, argv, standard, parent);
    if (pid < 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot start a process");
    *out = (struct malseq_child){pid, -1};
    return MS_OK;
}

enum ms_status malseq_spawn(const char *path, const char *const *argv, int stdout_fd,
                            unsigned flags, struct malseq_child *out, struct ms_error *err)
{
    int ends[2] = {-1, -1};
    if ((flags & MALSEQ_STDIN_PIPE) && pipe2(ends, O_CLOEXEC) != 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot make a pipe");
    const int standard[3] = {ends[0], stdout_fd, -1};
    enum ms_status status = malseq_spawn_with(path, argv, standard, out, err);
    if (ends[0] >= 0)
        close(ends[0]);
    if (status == MS_OK)
        out->stdin_fd = ends[1];
    else if (ends[1] >= 0)
        close(ends[1]);
    return status;
}

static int code_of(int state)
{
    return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

enum ms_status malseq_wait(struct malseq_child *child, int *code, struct ms_error *err)
{
    int state = 0;
    pid_t got;
    if (child->stdin_fd >= 0)
        close(child->stdin_fd);
    child->stdin_fd = -1;
    do
        got = waitpid(child->pid, &state, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot wait for a process");
    child->pid = 0;
    *code = code_of(state);
    return MS_OK;
}

bool malseq_ended(struct malseq_child *child, int *code)
{
    int state = 0;
    if (child->pid <= 0 || waitpid(child->pid, &state, WNOHANG) != child->pid)
        return false;
    child->pid = 0;
    *code = code_of(state);
    return true;
}
