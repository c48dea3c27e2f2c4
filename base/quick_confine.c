/* What the children of base/quick may do, and the processes that fork them. Runs no job. */
#define _GNU_SOURCE
#include "base/limits.h"
#include "base/quick_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct program {
    struct sock_filter *code;
    unsigned short count;
};

struct ms_quick_filter {
    struct program seat;
    struct program child;
};

/* `seat`: taken away again in the child. */
struct rule {
    const char *name;
    bool seat;
    unsigned test_count;
    struct scmp_arg_cmp tests[2];
};

/* The whole policy; docs/confinement.md says it in words. What is not here kills the process. */
static const struct rule rules[] = {
    {"read", false, 0, {{0}}},
    {"pread64", false, 0, {{0}}},
    {"lseek", false, 0, {{0}}},
    {"fstat", false, 0, {{0}}},
    {"newfstatat", false, 1, {{3, SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, AT_EMPTY_PATH}}},
    {"brk", false, 0, {{0}}},
    /* Not to be executed, and not shared: the input may be open for writing. */
    {"mmap",
     false,
     2,
     {{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0}, {3, SCMP_CMP_MASKED_EQ, MAP_SHARED, 0}}},
    {"munmap", false, 0, {{0}}},
    {"mremap", false, 0, {{0}}},
    {"madvise", false, 0, {{0}}},
    {"exit_group", false, 0, {{0}}},
    /* Of a seat: the next job, a child for it, and how that ended. */
    {"recvmsg", true, 0, {{0}}},
    {"sendto", true, 0, {{0}}},
    {"clone", true, 0, {{0}}},
    {"wait4", true, 0, {{0}}},
    {"close", true, 0, {{0}}},
    /* Of a child before it looks at anything. */
    {"close_range", true, 0, {{0}}},
    {"prlimit64", true, 0, {{0}}},
    {"prctl", true, 0, {{0}}},
#if MS_WORKER_SANITIZED
    {"futex", false, 0, {{0}}},
    {"sched_yield", false, 0, {{0}}},
    {"sigaltstack", false, 0, {{0}}},
    {"rt_sigaction", false, 0, {{0}}},
    {"rt_sigprocmask", false, 0, {{0}}},
    {"write", false, 0, {{0}}},
    {"getpid", false, 0, {{0}}},
    {"gettid", false, 0, {{0}}},
    {"set_robust_list", true, 0, {{0}}},
#endif
#ifdef MS_VALGRIND
    {"mmap", false, 0, {{0}}},
    {"mprotect", false, 0, {{0}}},
    {"rt_sigtimedwait", false, 0, {{0}}},
    {"tgkill", false, 0, {{0}}},
#endif
};

static int take_code(scmp_filter_ctx filter, struct program *out)
{
    struct stat info;
    int rc = EIO;
    int fd = memfd_create("filter", MFD_CLOEXEC);
    if (fd < 0)
        return errno;
    size_t bytes =
        seccomp_export_bpf(filter, fd) == 0 && fstat(fd, &info) == 0 ? (size_t)info.st_size : 0;
    size_t count = bytes / sizeof *out->code;
    if (count && count <= BPF_MAXINSNS && bytes % sizeof *out->code == 0) {
        out->code = malloc(bytes);
        out->count = (unsigned short)count;
        if (out->code && pread(fd, out->code, bytes, 0) == (ssize_t)bytes)
            rc = 0;
    }
    (void)close(fd);
    return rc;
}

/* children: the calls that a child loses, killed; else all rules, allowed. */
static int compile(bool children, struct program *out)
{
    scmp_filter_ctx filter = seccomp_init(children ? SCMP_ACT_ALLOW : SCMP_ACT_KILL_PROCESS);
    int rc = filter ? 0 : ENOMEM;
    for (size_t i = 0; i < sizeof rules / sizeof *rules && !rc; i++) {
        const struct rule *rule = &rules[i];
        int number = seccomp_syscall_resolve_name(rule->name);
        if (number < 0 || (children && !rule->seat))
            continue;
        uint32_t action = children ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ALLOW;
        rc = -seccomp_rule_add_array(filter, action, number, rule->test_count, rule->tests);
    }
    if (!rc)
        rc = take_code(filter, out);
    if (filter)
        seccomp_release(filter);
    return rc;
}

struct ms_quick_filter *ms_quick_filter_new(void)
{
    struct ms_quick_filter *self = calloc(1, sizeof *self);
    if (self && compile(false, &self->seat) == 0 && compile(true, &self->child) == 0)
        return self;
    if (self)
        free(self->seat.code);
    free(self);
    return NULL;
}

static int limit(__rlimit_resource_t what, uint64_t most)
{
    struct rlimit now;
    if (getrlimit(what, &now) != 0)
        return errno;
    if (now.rlim_max > most)
        now.rlim_max = (rlim_t)most;
    now.rlim_cur = now.rlim_max;
    return setrlimit(what, &now) == 0 ? 0 : errno;
}

int ms_quick_confine_seat(const struct ms_quick_filter *self)
{
    int rc = limit(RLIMIT_CORE, 0);
    if (!rc)
        rc = limit(RLIMIT_NOFILE, MS_LIMIT_WORKER_FILES);
    if (!rc)
        rc = limit(RLIMIT_FSIZE, 0);
    if (!rc && !MS_WORKER_SANITIZED)
        rc = limit(RLIMIT_AS, MS_LIMIT_WORKER_ADDRESS_BYTES);
    if (!rc &&
        (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0))
        rc = errno;
    struct sock_fprog code = {self->seat.count, self->seat.code};
    if (!rc && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &code) != 0)
        rc = errno;
    return rc;
}

int ms_quick_confine_child(const struct ms_quick_filter *self)
{
    /* It can wait for nothing, so this ends it in any case. */
    struct rlimit cpu = {MS_LIMIT_QUICK_CPU_S, MS_LIMIT_QUICK_CPU_S};
    struct sock_fprog code = {self->child.count, self->child.code};
    return setrlimit(RLIMIT_CPU, &cpu) == 0 &&
                   prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &code, 0, 0) == 0
               ? 0
               : errno;
}
