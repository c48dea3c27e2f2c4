/* The worker: what a job must not be able to do, and how every kind of end is reported. */
#define _GNU_SOURCE
#include "base/limits.h"
#include "base/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

/* A process that a job must not reach: this one. */
static pid_t test_pid;

/* ---- jobs ----------------------------------------------------------------------------------- */

static enum ms_status job_echo(int fd, struct ms_span arg, struct ms_worker_out *out,
                               struct ms_error *err)
{
    (void)err;
    uint8_t bytes[64];
    ssize_t n = fd >= 0 ? read(fd, bytes, sizeof bytes) : 0;
    enum ms_status status = ms_worker_emit(out, 1, arg.data, arg.len);
    return status == MS_OK ? ms_worker_emit(out, 2, bytes, n > 0 ? (size_t)n : 0) : status;
}

static enum ms_status job_reject(int fd, struct ms_span arg, struct ms_worker_out *out,
                                 struct ms_error *err)
{
    (void)fd, (void)arg, (void)out;
    return ms_error_set(err, MS_REJECT, "bad\x1b[2Jrecord");
}

static enum ms_status job_sandbox(int fd, struct ms_span arg, struct ms_worker_out *out,
                                  struct ms_error *err)
{
    (void)fd, (void)arg;
    struct stat st;
    errno = 0;
    if (open("/etc/passwd", O_RDONLY) >= 0 || errno != EPERM)
        return ms_error_set(err, MS_REJECT, "open: errno %d", errno);
    if (open("/tmp/malseq-escape", O_CREAT | O_WRONLY, 0600) >= 0)
        return ms_error_set(err, MS_REJECT, "create");
    if (stat("/etc/passwd", &st) == 0)
        return ms_error_set(err, MS_REJECT, "stat");
    if (unlink("/tmp/malseq-escape") == 0 || errno != EPERM)
        return ms_error_set(err, MS_REJECT, "unlink: errno %d", errno);
    int memory = memfd_create("m", MFD_CLOEXEC);
    if (memory < 0 || write(memory, "x", 1) != 1)
        return ms_error_set(err, MS_REJECT, "memfd");
    for (int i = 5; i < 64; i++)
        if (i != memory && fstat(i, &st) == 0)
            return ms_error_set(err, MS_REJECT, "descriptor %d is open", i);
    for (int i = 0; i < 3; i++)
        if (fstat(i, &st) != 0 || (i < 2 && !S_ISCHR(st.st_mode)))
            return ms_error_set(err, MS_REJECT, "descriptor %d", i);
    if (getenv("MALSEQ_UNIT_SECRET"))
        return ms_error_set(err, MS_REJECT, "the environment is there");
    return ms_worker_emit(out, 7, "done", 4);
}

/* The bytes of the environment string itself must be gone, not just the pointer to it. */
static char *secret_at;
static enum ms_status job_look(int fd, struct ms_span arg, struct ms_worker_out *out,
                               struct ms_error *err)
{
    (void)fd, (void)arg, (void)err;
    return ms_worker_emit(out, 1, secret_at, 8);
}

static enum ms_status job_write_input(int fd, struct ms_span arg, struct ms_worker_out *out,
                                      struct ms_error *err)
{
    (void)arg, (void)out;
    if (pwrite(fd, "evil", 4, 0) >= 0)
        return ms_error_set(err, MS_REJECT, "the input could be changed");
    return MS_OK;
}

/* Calls that must kill. `refused` ones fail instead under the sanitizers, which try them in
 * passing; the negative names stand for what only the job knows. */
enum { PARENT = -1000, SELF = -1001, ITSELF = -1002, TEXT = -1003, MEMORY_FILE = -1004 };
static const struct forbidden {
    const char *name;
    long number;
    long args[5];
    bool refused;
} forbidden[] = {
    {"execve", SYS_execve, {TEXT, 0, 0}, false},
    {"execveat", SYS_execveat, {AT_FDCWD, TEXT, 0, 0, 0}, false},
    {"execveat of a memory file", SYS_execveat, {MEMORY_FILE, ITSELF, 0, 0, AT_EMPTY_PATH}, false},
    {"socket", SYS_socket, {AF_INET, SOCK_STREAM, 0}, false},
    {"socketpair", SYS_socketpair, {AF_UNIX, SOCK_STREAM, 0, ITSELF}, false},
    {"connect", SYS_connect, {0, ITSELF, 2}, false},
    {"sendto", SYS_sendto, {0, ITSELF, 0, 0, 0}, false},
    {"sendmsg", SYS_sendmsg, {0, ITSELF, 0}, false},
    {"fork", SYS_clone, {SIGCHLD, 0, 0, 0, 0}, true},
    {"clone3", SYS_clone3, {ITSELF, 88}, true},
    {"unshare", SYS_unshare, {0}, false},
    {"setns", SYS_setns, {0, 0}, false},
    {"ptrace of the parent", SYS_ptrace, {PTRACE_ATTACH, PARENT, 0, 0}, false},
    {"process_vm_readv", SYS_process_vm_readv, {PARENT, 0, 0, 0, 0}, false},
    {"process_vm_writev", SYS_process_vm_writev, {PARENT, 0, 0, 0, 0}, false},
    {"kill of itself", SYS_kill, {SELF, 0}, false},
    {"kill of the parent", SYS_kill, {PARENT, 0}, false},
    {"tgkill of the parent", SYS_tgkill, {PARENT, PARENT, 0}, false},
    {"tkill", SYS_tkill, {SELF, 0}, false},
    {"pidfd_open", SYS_pidfd_open, {PARENT, 0}, false},
    {"mmap of executable memory",
     SYS_mmap,
     {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1},
     false},
    {"mprotect to executable", SYS_mprotect, {ITSELF, 4096, PROT_READ | PROT_EXEC}, false},
    {"pkey_mprotect", SYS_pkey_mprotect, {ITSELF, 4096, PROT_READ | PROT_EXEC, -1}, false},
    {"a memory file with other flags", SYS_memfd_create, {TEXT, MFD_ALLOW_SEALING}, false},
    {"io_uring_setup", SYS_io_uring_setup, {1, ITSELF}, false},
    {"bpf", SYS_bpf, {0, 0, 0}, false},
    {"userfaultfd", SYS_userfaultfd, {0}, false},
    {"perf_event_open", SYS_perf_event_open, {0, 0, 0, 0, 0}, false},
    {"keyctl", SYS_keyctl, {0, 0, 0, 0, 0}, false},
    {"mount", SYS_mount, {TEXT, TEXT, TEXT, 0, 0}, false},
    {"chroot", SYS_chroot, {TEXT}, false},
    {"chdir", SYS_chdir, {TEXT}, false},
    {"personality", SYS_personality, {0x0400000}, false},
    {"prctl", SYS_prctl, {PR_SET_DUMPABLE, 1, 0, 0, 0}, true},
    {"seccomp", SYS_seccomp, {0, 0, 0}, false},
    {"setuid", SYS_setuid, {0}, false},
    {"dup", SYS_dup, {0}, false},
#ifdef SYS_ioperm
    {"ioperm", SYS_ioperm, {0, 0, 0}, false},
#endif
};

static long argument(long value)
{
    static uint8_t block[8192] __attribute__((aligned(4096)));
    switch (value) {
    case PARENT:
        return test_pid;
    case SELF:
        return getpid();
    case ITSELF:
        return (long)(uintptr_t)block;
    case TEXT:
        return (long)(uintptr_t) "/bin/true";
    case MEMORY_FILE:
        return memfd_create("program", MFD_CLOEXEC);
    default:
        return value;
    }
}

static enum ms_status job_forbidden(int fd, struct ms_span arg, struct ms_worker_out *out,
                                    struct ms_error *err)
{
    (void)fd;
    const struct forbidden *call = &forbidden[arg.data[0]];
    long a[5];
    for (size_t i = 0; i < 5; i++)
        a[i] = argument(call->args[i]);
    errno = 0;
    long got = syscall(call->number, a[0], a[1], a[2], a[3], a[4], 0);
    if (got == -1 && errno == EPERM)
        return ms_worker_emit(out, 9, "refused", 7);
    return ms_error_set(err, MS_REJECT, "%s went through: %ld", call->name, got);
}

/* Calls that libraries try in passing: each fails, and the job goes on. */
static enum ms_status job_refused(int fd, struct ms_span arg, struct ms_worker_out *out,
                                  struct ms_error *err)
{
    (void)fd, (void)arg;
    static const char path[] = "/etc/passwd", made[] = "/tmp/malseq-escape";
    struct stat st;
    struct {
        uint64_t flags, mode, resolve;
    } how = {O_RDONLY, 0, 0};
    long at[] = {
#ifdef SYS_open /* the old ones, which newer architectures lack */
        syscall(SYS_open, path, O_RDONLY),
        syscall(SYS_open, made, O_CREAT | O_WRONLY, 0600),
        syscall(SYS_creat, made, 0600),
        syscall(SYS_access, path, R_OK),
        syscall(SYS_stat, path, &st),
        syscall(SYS_unlink, made),
        syscall(SYS_mkdir, made, 0700),
        syscall(SYS_rename, made, path),
        syscall(SYS_readlink, "/proc/self/exe", &st, sizeof st),
#endif
        syscall(SYS_openat, AT_FDCWD, path, O_RDONLY, 0),
        syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how),
        syscall(SYS_openat, AT_FDCWD, made, O_CREAT | O_WRONLY, 0600),
        syscall(SYS_newfstatat, AT_FDCWD, path, &st, 0),
        syscall(SYS_faccessat, AT_FDCWD, path, R_OK),
        syscall(SYS_unlinkat, AT_FDCWD, made, 0),
        syscall(SYS_mkdirat, AT_FDCWD, made, 0700),
        syscall(SYS_renameat2, AT_FDCWD, made, AT_FDCWD, path, 0),
        syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", &st, sizeof st),
        syscall(SYS_fcntl, 0, F_DUPFD, 10),
        syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, NULL),
        syscall(SYS_ioctl, 0, 0x5413, &st),
    };
    for (size_t i = 0; i < sizeof at / sizeof *at; i++)
        if (at[i] != -1)
            return ms_error_set(err, MS_REJECT, "call %zu went through: %ld", i, at[i]);
    return ms_worker_emit(out, 9, "refused", 7);
}

static enum ms_status job_crash(int fd, struct ms_span arg, struct ms_worker_out *out,
                                struct ms_error *err)
{
    (void)fd, (void)err;
    if (arg.len && arg.data[0] == 'a')
        abort();
    if (arg.len && arg.data[0] == 'q')
        _exit(3);
    int *volatile nowhere = (int *)(uintptr_t)16;
    if (ms_worker_emit(out, 1, "before", 6) == MS_OK)
        *nowhere = 1;
    return MS_OK;
}

static enum ms_status job_spin(int fd, struct ms_span arg, struct ms_worker_out *out,
                               struct ms_error *err)
{
    (void)fd, (void)out, (void)err;
    if (arg.len) /* as hostile code would */
        (void)signal(SIGXCPU, SIG_IGN);
    for (volatile unsigned n = 1; n; n |= 1)
        ;
    return MS_OK;
}

static enum ms_status job_sleep(int fd, struct ms_span arg, struct ms_worker_out *out,
                                struct ms_error *err)
{
    (void)fd, (void)arg, (void)out, (void)err;
    static int word;
    for (;;) /* nobody wakes it */
        (void)syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0);
    return MS_OK;
}

static enum ms_status job_flood(int fd, struct ms_span arg, struct ms_worker_out *out,
                                struct ms_error *err)
{
    (void)fd, (void)arg, (void)err;
    static uint8_t block[65536];
    for (;;)
        if (ms_worker_emit(out, 1, block, sizeof block) != MS_OK)
            return MS_E_IO;
}

static enum ms_status job_memory(int fd, struct ms_span arg, struct ms_worker_out *out,
                                 struct ms_error *err)
{
    (void)fd, (void)arg, (void)out;
    void *much = malloc((size_t)1 << 30);
    if (!much)
        return ms_error_set(err, MS_E_NOMEM, "refused");
    memset(much, 1, (size_t)1 << 30);
    free(much);
    return MS_OK;
}

/* Writes past ms_worker_emit, straight into the pipe. */
static enum ms_status job_malformed(int fd, struct ms_span arg, struct ms_worker_out *out,
                                    struct ms_error *err)
{
    (void)fd, (void)err;
    int pipe_fd = -1;
    struct stat st;
    for (int i = 3; i < 16 && pipe_fd < 0; i++)
        if (fstat(i, &st) == 0 && S_ISFIFO(st.st_mode))
            pipe_fd = i;
    ssize_t n = write(pipe_fd, arg.data, arg.len);
    (void)n, (void)out;
    if (arg.len >= 4 && arg.data[2] == 1) /* an answer was sent: leave no second one */
        _exit(0);
    return MS_OK;
}

static void prepare_nothing(void)
{
}

static const struct ms_worker_kind kinds[] = {
    {"echo", job_echo, prepare_nothing},
    {"reject", job_reject, NULL},
    {"sandbox", job_sandbox, NULL},
    {"forbidden", job_forbidden, NULL},
    {"refused", job_refused, NULL},
    {"crash", job_crash, NULL},
    {"spin", job_spin, NULL},
    {"sleep", job_sleep, NULL},
    {"flood", job_flood, NULL},
    {"memory", job_memory, NULL},
    {"malformed", job_malformed, NULL},
    {"look", job_look, NULL},
    {"write_input", job_write_input, NULL},
};

/* ---- harness -------------------------------------------------------------------------------- */

static struct ms_worker *worker;

static int start(void **state)
{
    (void)state;
    static const struct ms_worker_options options = {kinds, sizeof kinds / sizeof *kinds, false};
    struct ms_error err;
    if (ms_worker_start(&options, &worker, &err) != MS_OK) {
        print_error("%s\n", err.text);
        return 1;
    }
    return 0;
}

static int stop(void **state)
{
    (void)state;
    ms_worker_stop(worker);
    return 0;
}

struct seen {
    unsigned count;
    uint32_t types[8];
    size_t bytes;
    char text[64];
    enum ms_status answer;
};

static enum ms_status on_frame(void *ctx, uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    struct seen *seen = ctx;
    if (seen->count < 8)
        seen->types[seen->count] = type;
    seen->count++;
    seen->bytes += bytes.len;
    if (bytes.len < sizeof seen->text && bytes.len)
        memcpy(seen->text, bytes.data, bytes.len);
    if (seen->answer != MS_OK)
        return ms_error_set(err, seen->answer, "enough");
    return MS_OK;
}

static struct ms_worker_result run(const char *kind, const void *arg, size_t n,
                                   const struct ms_worker_limits *limits, struct seen *seen)
{
    struct ms_worker_result result;
    struct ms_error err = {MS_OK, 0, ""};
    enum ms_status status =
        ms_worker_run(worker, kind, -1, ms_span_of(arg, n), limits, on_frame, seen, &result, &err);
    if (status != MS_OK)
        print_error("%s\n", err.text);
    assert_int_equal(status, MS_OK);
    return result;
}

static void assert_alive(void)
{
    struct seen seen = {0};
    struct ms_worker_result result = run("echo", "hello", 5, NULL, &seen);
    assert_int_equal(result.end, MS_WORKER_DONE);
    assert_int_equal(result.status, MS_OK);
    assert_string_equal(seen.text, "hello");
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void test_frames_and_input(void **state)
{
    (void)state;
    int fd = memfd_create("input", MFD_CLOEXEC);
    assert_int_equal(write(fd, "0123456789", 10), 10);
    assert_int_equal(lseek(fd, 4, SEEK_SET), 4);
    struct seen seen = {0};
    struct ms_worker_result result;
    struct ms_error err;
    assert_int_equal(ms_worker_run(worker, "echo", fd, ms_span_of("abc", 3), NULL, on_frame, &seen,
                                   &result, &err),
                     MS_OK);
    assert_int_equal(result.end, MS_WORKER_DONE);
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.types[0], 1);
    assert_int_equal(seen.types[1], 2);
    assert_int_equal(seen.bytes, 3 + 6);
    assert_memory_equal(seen.text, "456789", 6);
    assert_int_equal(ms_worker_run(worker, "write_input", fd, ms_span_of("", 0), NULL, NULL, NULL,
                                   &result, &err),
                     MS_OK);
    assert_string_equal(result.error.text, "");
    assert_int_equal(result.status, MS_OK);
    close(fd);
    assert_true(ms_worker_confined(worker));
    assert_int_equal(
        ms_worker_run(worker, "nope", -1, ms_span_of("", 0), NULL, NULL, NULL, &result, &err),
        MS_E_BUG);
}

static void test_status_and_text_travel(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct ms_worker_result result = run("reject", "", 0, NULL, &seen);
    assert_int_equal(result.end, MS_WORKER_DONE);
    assert_int_equal(result.status, MS_REJECT);
    assert_string_equal(result.error.text, "bad?[2Jrecord");
}

static void test_sandbox(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct ms_worker_result result = run("sandbox", "", 0, NULL, &seen);
    assert_string_equal(result.error.text, "");
    assert_int_equal(result.status, MS_OK);
    assert_int_equal(seen.types[0], 7);
    memset(&seen, 0, sizeof seen);
    result = run("look", "", 0, NULL, &seen);
    assert_int_equal(result.end, MS_WORKER_DONE);
    assert_memory_equal(seen.text, "\0\0\0\0\0\0\0\0", 8);
}

static void test_forbidden_calls_kill(void **state)
{
    (void)state;
    assert_true(ms_worker_confined(worker));
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++) {
        struct seen seen = {0};
        uint8_t which = (uint8_t)i;
        struct ms_worker_result result = run("forbidden", &which, 1, NULL, &seen);
        bool killed = result.end == MS_WORKER_CRASHED && result.signal == SIGSYS;
        bool refused = SANITIZED && forbidden[i].refused && result.end == MS_WORKER_DONE &&
                       result.status == MS_OK && seen.types[0] == 9;
        if (!killed && !refused)
            print_error("%s: %s\n", forbidden[i].name, result.error.text);
        assert_true(killed || refused);
        assert_true(refused || result.status == MS_REJECT);
    }
    assert_alive();
}

static void test_files_are_refused(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct ms_worker_result result = run("refused", "", 0, NULL, &seen);
    assert_string_equal(result.error.text, "");
    assert_int_equal(result.end, MS_WORKER_DONE);
    assert_int_equal(result.status, MS_OK);
    assert_int_equal(seen.types[0], 9);
}

static void test_crash_costs_one_job(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct ms_worker_result result = run("crash", "", 0, NULL, &seen);
    assert_int_equal(result.end, MS_WORKER_CRASHED);
    assert_int_equal(seen.count, 1);
#if !defined(__SANITIZE_ADDRESS__)
    assert_int_equal(result.signal, SIGSEGV);
    assert_non_null(strstr(result.error.text, "SIGSEGV"));
#endif
    result = run("crash", "a", 1, NULL, &seen);
    assert_int_equal(result.end, MS_WORKER_CRASHED);
    assert_int_equal(result.signal, SIGABRT);
    result = run("crash", "q", 1, NULL, &seen);
    assert_int_equal(result.end, MS_WORKER_CRASHED);
    assert_int_equal(result.signal, 0);
    assert_alive();
}

static void test_cpu_limit(void **state)
{
    (void)state;
    struct ms_worker_limits limits = {.cpu_s = 1};
    for (size_t ignoring = 0; ignoring < 2; ignoring++) {
        struct seen seen = {0};
        struct ms_worker_result result = run("spin", "i", ignoring, &limits, &seen);
        assert_int_equal(result.end, MS_WORKER_CPU);
        assert_int_equal(result.status, MS_REJECT);
    }
    assert_alive();
}

static int64_t clock_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void test_wall_limit(void **state)
{
    (void)state;
    struct ms_worker_limits limits = {.wall_ms = 300};
    struct seen seen = {0};
    int64_t before = clock_ms();
    struct ms_worker_result result = run("sleep", "", 0, &limits, &seen);
    assert_int_equal(result.end, MS_WORKER_TIMEOUT);
    assert_in_range(clock_ms() - before, 290, 5000);
    assert_alive();
}

static void test_output_limit(void **state)
{
    (void)state;
    struct ms_worker_limits limits = {.output_bytes = 1 << 20};
    struct seen seen = {0};
    struct ms_worker_result result = run("flood", "", 0, &limits, &seen);
    assert_int_equal(result.end, MS_WORKER_OUTPUT);
    assert_in_range(seen.bytes, 1, 1 << 20);
    assert_alive();
}

static void test_callback_stops_the_job(void **state)
{
    (void)state;
    struct seen seen = {.answer = MS_E_STORE};
    struct ms_worker_result result;
    struct ms_error err;
    assert_int_equal(
        ms_worker_run(worker, "flood", -1, ms_span_of("", 0), NULL, on_frame, &seen, &result, &err),
        MS_E_STORE);
    assert_string_equal(err.text, "enough");
    assert_int_equal(seen.count, 1);
    assert_alive();
}

static void test_address_limit(void **state)
{
    (void)state;
#if !defined(__SANITIZE_ADDRESS__)
    struct ms_worker_limits limits = {.address_bytes = (uint64_t)256 << 20};
    struct seen seen = {0};
    struct ms_worker_result result = run("memory", "", 0, &limits, &seen);
    assert_int_equal(result.end, MS_WORKER_DONE);
    assert_int_equal(result.status, MS_E_NOMEM);
#endif
    assert_alive();
}

static void test_malformed_frames(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[16];
        size_t n;
    } cases[] = {
        {{1, 0, 2, 0, 1, 0, 0, 0, 'x'}, 9},                 /* type out of range */
        {{1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, 8},          /* length beyond the cap */
        {{0, 0, 1, 0, 0, 0, 0, 0}, 8},                      /* an answer without a status */
        {{0, 0, 1, 0, 4, 0, 0, 0, 99, 0, 0, 0}, 12},        /* a status that is none */
        {{0, 0, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0}, 15} /* bytes behind the answer */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct seen seen = {0};
        struct ms_worker_result result = run("malformed", cases[i].bytes, cases[i].n, NULL, &seen);
        if (result.end != MS_WORKER_OUTPUT)
            print_error("case %zu: end %d %s\n", i, (int)result.end, result.error.text);
        assert_int_equal(result.end, MS_WORKER_OUTPUT);
        assert_int_equal(result.status, MS_REJECT);
        assert_int_equal(seen.count, 0);
    }
    /* A frame cut short by the end of the process. */
    struct seen seen = {0};
    static const uint8_t cut[] = {0, 0, 1, 0, 100, 0};
    struct ms_worker_result result = run("malformed", cut, sizeof cut, NULL, &seen);
    assert_int_equal(result.end, MS_WORKER_CRASHED);
    assert_alive();
}

static void *hammer(void *ctx)
{
    (void)ctx;
    size_t good = 0;
    for (unsigned i = 0; i < 50; i++) {
        char text[32];
        struct seen seen = {0};
        struct ms_worker_result result;
        int n = snprintf(text, sizeof text, "%p %u", (void *)&seen, i);
        enum ms_status status =
            ms_worker_run(worker, i % 10 == 9 ? "crash" : "echo", -1, ms_span_of(text, (size_t)n),
                          NULL, on_frame, &seen, &result, NULL);
        bool crashed = i % 10 == 9 && result.end == MS_WORKER_CRASHED;
        bool echoed = result.end == MS_WORKER_DONE && strcmp(seen.text, text) == 0;
        good += status == MS_OK && (crashed || echoed);
    }
    return (void *)(uintptr_t)good;
}

static void test_two_threads(void **state)
{
    (void)state;
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, NULL), 0);
    for (int i = 0; i < 2; i++) {
        void *good;
        assert_int_equal(pthread_join(threads[i], &good), 0);
        assert_int_equal((uintptr_t)good, 50);
    }
}

/* A process that starts a worker, runs an endless job and dies must take the job with it: the pipe
 * that only the job holds open closes. */
static void test_parent_death(void **state)
{
    (void)state;
    int held[2];
    assert_int_equal(pipe(held), 0);
    pid_t pid = fork();
    if (pid == 0) {
        static const struct ms_worker_options options = {kinds, sizeof kinds / sizeof *kinds,
                                                         false};
        struct ms_worker *inner;
        struct ms_worker_result result;
        close(held[0]);
        if (ms_worker_start(&options, &inner, NULL) != MS_OK)
            _exit(1);
        alarm(1); /* the default action of SIGALRM ends this process in the middle of the job */
        enum ms_status ended = ms_worker_run(inner, "sleep", held[1], ms_span_of("", 0), NULL, NULL,
                                             NULL, &result, NULL);
        _exit(ended == MS_OK ? 1 : 2);
    }
    close(held[1]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    char byte;
    int64_t before = clock_ms();
    assert_int_equal(read(held[0], &byte, 1), 0);
    assert_in_range(clock_ms() - before, 0, 10000);
    close(held[0]);
}

int main(void)
{
    (void)setenv("MALSEQ_UNIT_SECRET", "hunter2hunter2", 1);
    secret_at = getenv("MALSEQ_UNIT_SECRET");
    test_pid = getpid();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_and_input),  cmocka_unit_test(test_status_and_text_travel),
        cmocka_unit_test(test_sandbox),           cmocka_unit_test(test_forbidden_calls_kill),
        cmocka_unit_test(test_files_are_refused), cmocka_unit_test(test_crash_costs_one_job),
        cmocka_unit_test(test_cpu_limit),         cmocka_unit_test(test_wall_limit),
        cmocka_unit_test(test_output_limit),      cmocka_unit_test(test_callback_stops_the_job),
        cmocka_unit_test(test_address_limit),     cmocka_unit_test(test_malformed_frames),
        cmocka_unit_test(test_two_threads),       cmocka_unit_test(test_parent_death),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
