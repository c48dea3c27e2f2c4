/* Puts the calling process behind resource limits and a system call filter. Decides what a worker
 * may do; runs no job. */
#define _GNU_SOURCE
#include "base/limits.h"
#include "base/worker_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Stands in the compiled filter for the process id that tgkill may have; no process has it, for
 * the kernel's own bound is 2^22. */
enum { PID_STANDIN = 0x7a5a5a5a };

/* The compiled filter: compiling takes longer than a small file takes to be read, so it is done
 * once, and each child puts its own process id in. */
struct ms_confine {
    struct sock_filter *code;
    unsigned short count;
    struct sock_filter *pid; /* the comparison, in `code` */
};

enum action { ALLOW, REFUSE };

/* One argument test: (argument `index` & mask) == value. mask 0: no test. */
struct rule {
    const char *name;
    enum action action;
    unsigned index;
    uint64_t mask;
    uint64_t value;
};

/* The whole policy; docs/confinement.md says it in words, and a test compares the two with what
 * workers do. What is not here kills the process: execve, socket, connect, ptrace, clone, fork,
 * kill, mount, bpf, io_uring, keyctl and the rest. Names that a kernel or an architecture lacks are
 * skipped. */
static const struct rule rules[] = {
    /* Bytes through descriptors it already has. */
    {"read", ALLOW, 0, 0, 0},
    {"pread64", ALLOW, 0, 0, 0},
    {"write", ALLOW, 0, 0, 0}, /* stdio */
    {"writev", ALLOW, 0, 0, 0},
    {"pwrite64", ALLOW, 0, 0, 0},
    {"lseek", ALLOW, 0, 0, 0},
    {"fstat", ALLOW, 0, 0, 0}, /* where newfstatat is not what fstat(3) calls */
    {"newfstatat", ALLOW, 3, AT_EMPTY_PATH, AT_EMPTY_PATH}, /* fstat of glibc 2.33 and later */
    {"close", ALLOW, 0, 0, 0},
    /* Memory, never executable; memory files hold the members of archives. */
    {"brk", ALLOW, 0, 0, 0},
    {"mmap", ALLOW, 2, PROT_EXEC, 0},
    {"mprotect", ALLOW, 2, PROT_EXEC, 0}, /* malloc's heaps beside the first */
    {"munmap", ALLOW, 0, 0, 0},
    {"mremap", ALLOW, 0, 0, 0},  /* realloc of large blocks */
    {"madvise", ALLOW, 0, 0, 0}, /* free of large blocks */
    {"memfd_create", ALLOW, 1, UINT32_MAX & ~(uint64_t)MFD_CLOEXEC, 0},
    {"ftruncate", ALLOW, 0, 0, 0},
    /* The time, where the kernel's page for it cannot be used; randomness; waiting for oneself. */
    {"clock_gettime", ALLOW, 0, 0, 0},
    {"gettimeofday", ALLOW, 0, 0, 0},
    {"time", ALLOW, 0, 0, 0},
    {"getrandom", ALLOW, 0, 0, 0}, /* seeds of hash tables and of malloc */
    {"futex", ALLOW, 0, 0, 0},     /* the end of pthread_once(3) */
    /* The end: abort(3), and going on after a stop. */
    {"rt_sigreturn", ALLOW, 0, 0, 0},
    {"rt_sigprocmask", ALLOW, 0, 0, 0},
    {"rt_sigaction", ALLOW, 0, 0, 0},
    {"restart_syscall", ALLOW, 0, 0, 0},
    {"getpid", ALLOW, 0, 0, 0},
    {"gettid", ALLOW, 0, 0, 0},
    {"exit", ALLOW, 0, 0, 0},
    {"exit_group", ALLOW, 0, 0, 0},
    /* What libraries try in passing and do well without (iconv modules, time zones, terminals). */
    {"open", REFUSE, 0, 0, 0},
    {"openat", REFUSE, 0, 0, 0},
    {"openat2", REFUSE, 0, 0, 0},
    {"creat", REFUSE, 0, 0, 0},
    {"access", REFUSE, 0, 0, 0},
    {"faccessat", REFUSE, 0, 0, 0},
    {"faccessat2", REFUSE, 0, 0, 0},
    {"stat", REFUSE, 0, 0, 0},
    {"lstat", REFUSE, 0, 0, 0},
    {"statx", REFUSE, 0, 0, 0},
    {"readlink", REFUSE, 0, 0, 0},
    {"readlinkat", REFUSE, 0, 0, 0},
    {"getcwd", REFUSE, 0, 0, 0},
    {"getdents64", REFUSE, 0, 0, 0},
    {"unlink", REFUSE, 0, 0, 0},
    {"unlinkat", REFUSE, 0, 0, 0},
    {"mkdir", REFUSE, 0, 0, 0},
    {"mkdirat", REFUSE, 0, 0, 0},
    {"rename", REFUSE, 0, 0, 0},
    {"renameat", REFUSE, 0, 0, 0},
    {"renameat2", REFUSE, 0, 0, 0},
    {"ioctl", REFUSE, 0, 0, 0},
    {"uname", REFUSE, 0, 0, 0},
    {"sysinfo", REFUSE, 0, 0, 0},
    {"prlimit64", REFUSE, 0, 0, 0},
    {"getrlimit", REFUSE, 0, 0, 0},
    {"sched_getaffinity", REFUSE, 0, 0, 0},
    {"getuid", REFUSE, 0, 0, 0},
    {"geteuid", REFUSE, 0, 0, 0},
    {"getgid", REFUSE, 0, 0, 0},
    {"getegid", REFUSE, 0, 0, 0},
    {"readv", REFUSE, 0, 0, 0},
    {"fcntl", REFUSE, 0, 0, 0},
    {"clock_getres", REFUSE, 0, 0, 0},
    {"getrusage", REFUSE, 0, 0, 0},
    {"nanosleep", REFUSE, 0, 0, 0},
    {"clock_nanosleep", REFUSE, 0, 0, 0},
#if MS_WORKER_SANITIZED
    /* The sanitizers' own work: alternate stacks, and a report whose symbolizer must fail softly.
     */
    {"sigaltstack", ALLOW, 0, 0, 0},
    {"sched_yield", ALLOW, 0, 0, 0},
    {"prctl", REFUSE, 0, 0, 0},
    {"clone", REFUSE, 0, 0, 0},
    {"clone3", REFUSE, 0, 0, 0},
    {"fork", REFUSE, 0, 0, 0},
    {"vfork", REFUSE, 0, 0, 0},
    {"pipe", REFUSE, 0, 0, 0},
    {"pipe2", REFUSE, 0, 0, 0},
#endif
#ifdef MS_VALGRIND
    /* It translates the program while that runs, and asks for signals. */
    {"mmap", ALLOW, 0, 0, 0},
    {"mprotect", ALLOW, 0, 0, 0},
    {"rt_sigtimedwait", ALLOW, 0, 0, 0},
    /* A program that dies of a signal dies of valgrind's kill(2) of itself. */
    {"kill", ALLOW, 1, UINT64_MAX, SIGABRT},
    {"kill", ALLOW, 1, UINT64_MAX, SIGSEGV},
#endif
};

static int add_rule(scmp_filter_ctx filter, const struct rule *rule)
{
    int number = seccomp_syscall_resolve_name(rule->name);
    if (number < 0)
        return 0; /* unknown here, or not a system call of this architecture */
    uint32_t action = rule->action == ALLOW ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM);
    if (!rule->mask)
        return seccomp_rule_add(filter, action, number, 0);
    struct scmp_arg_cmp test = SCMP_CMP64(rule->index, SCMP_CMP_MASKED_EQ, rule->mask, rule->value);
    return seccomp_rule_add_array(filter, action, number, 1, &test);
}

/* All rules; 0 or an errno, and the one it stopped at. */
static int add_rules(scmp_filter_ctx filter, const char **at)
{
    int rc = 0;
    for (size_t i = 0; i < sizeof rules / sizeof *rules && !rc; i++) {
        *at = rules[i].name;
        rc = -add_rule(filter, &rules[i]);
    }
    if (rc)
        return rc;
    /* A stat by path is refused, not fatal: newfstatat is allowed with AT_EMPTY_PATH alone. */
    *at = "newfstatat";
    int number = seccomp_syscall_resolve_name(*at);
    struct scmp_arg_cmp by_path = SCMP_CMP64(3, SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, 0);
    if (number >= 0)
        rc = -seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), number, 1, &by_path);
    if (rc)
        return rc;
    /* abort(3) signals its own process. */
    *at = "tgkill";
    struct scmp_arg_cmp self = SCMP_CMP64(0, SCMP_CMP_EQ, (scmp_datum_t)PID_STANDIN, 0);
    return -seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, &self);
}

/* Takes the compiled filter out of libseccomp. */
static int take_code(struct ms_confine *self, scmp_filter_ctx filter)
{
    struct stat info;
    int rc = EINVAL;
    int fd = memfd_create("filter", MFD_CLOEXEC);
    if (fd < 0)
        return errno;
    size_t bytes = 0;
    if (seccomp_export_bpf(filter, fd) == 0 && fstat(fd, &info) == 0)
        bytes = (size_t)info.st_size;
    size_t count = bytes / sizeof *self->code;
    if (count && count <= BPF_MAXINSNS && bytes % sizeof *self->code == 0) {
        self->code = malloc(bytes);
        self->count = (unsigned short)count;
        rc = self->code ? EIO : ENOMEM;
        if (self->code && pread(fd, self->code, bytes, 0) == (ssize_t)bytes)
            rc = 0;
    }
    (void)close(fd);
    size_t found = 0;
    for (size_t i = 0; i < self->count && !rc; i++)
        if (self->code[i].code == (BPF_JMP | BPF_JEQ | BPF_K) && self->code[i].k == PID_STANDIN) {
            self->pid = &self->code[i];
            found++;
        }
    return !rc && found != 1 ? ENOTSUP : rc;
}

struct ms_confine *ms_confine_new(char *text, size_t text_bytes)
{
    struct ms_confine *self = calloc(1, sizeof *self);
    scmp_filter_ctx filter = seccomp_init(MS_WORKER_KILL);
    const char *at = "seccomp_init";
    int rc = self && filter ? 0 : ENOMEM;
    /* A tree by the call's number: the kernel runs the filter for every number there is when it is
     * loaded, to learn which calls are always allowed. Without it the filter is only slower. */
    if (!rc)
        (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (!rc)
        rc = add_rules(filter, &at);
    if (!rc) {
        at = "seccomp_export_bpf";
        rc = take_code(self, filter);
    }
    if (filter)
        seccomp_release(filter);
    if (!rc)
        return self;
    (void)snprintf(text, text_bytes, "cannot build the system call filter at %s (error %d)", at,
                   rc);
    if (self)
        free(self->code);
    free(self);
    return NULL;
}

static int limit(int what, uint64_t soft, uint64_t hard)
{
    struct rlimit now;
    if (getrlimit((__rlimit_resource_t)what, &now) != 0)
        return errno;
    struct rlimit want = {(rlim_t)soft, (rlim_t)hard};
    if (want.rlim_max > now.rlim_max)
        want.rlim_max = now.rlim_max;
#ifdef MS_VALGRIND
    if (what == RLIMIT_NOFILE) /* it lets no program lower this one */
        want.rlim_max = now.rlim_max;
#endif
    if (want.rlim_cur > want.rlim_max)
        want.rlim_cur = want.rlim_max;
    return setrlimit((__rlimit_resource_t)what, &want) == 0 ? 0 : errno;
}

static int apply_limits(uint64_t address_bytes, uint32_t cpu_s)
{
    int rc = limit(RLIMIT_CORE, 0, 0);
    /* The soft limit raises SIGXCPU, which the parent can tell from other deaths; the hard one a
     * second later cannot be ignored. */
    if (!rc)
        rc = limit(RLIMIT_CPU, cpu_s, (uint64_t)cpu_s + 1);
    if (!rc)
        rc = limit(RLIMIT_NOFILE, MS_LIMIT_WORKER_FILES, MS_LIMIT_WORKER_FILES);
    /* Not 0: writing to a memory file counts too. Beyond it the write fails with EFBIG. */
    if (!rc)
        rc = limit(RLIMIT_FSIZE, MS_LIMIT_UNPACK_HELD_BYTES, MS_LIMIT_UNPACK_HELD_BYTES);
    if (!rc && !MS_WORKER_SANITIZED)
        rc = limit(RLIMIT_AS, address_bytes, address_bytes);
    return rc;
}

int ms_confine_apply(struct ms_confine *filter, uint64_t address_bytes, uint32_t cpu_s)
{
    (void)signal(SIGXFSZ, SIG_IGN);
    int rc = apply_limits(address_bytes, cpu_s);
    if (rc)
        return rc;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return errno;
    if (!filter)
        return 0;
    filter->pid->k = (uint32_t)getpid();
    struct sock_fprog program = {filter->count, filter->code};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0 ? 0 : errno;
}
