/* Crash points for the fault tests. */
#include "base/step.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void note(const char *path, const char *name)
{
    char line[128];
    size_t n = strlen(name);
    if (n > sizeof line - 1)
        n = sizeof line - 1;
    memcpy(line, name, n);
    line[n++] = '\n';
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    ssize_t written = write(fd, line, n);
    (void)written;
    close(fd);
}

void ms_step(const char *name)
{
    static atomic_long reached;
    const char *kill_at = getenv("MALSEQ_TEST_KILL");
    const char *log = getenv("MALSEQ_TEST_STEPS");
    if (log)
        note(log, name);
    if (!kill_at)
        return;
    size_t n = strlen(name);
    if (strncmp(kill_at, name, n) != 0 || kill_at[n] != ':')
        return;
    if (atomic_fetch_add(&reached, 1) + 1 == strtol(kill_at + n + 1, NULL, 10))
        (void)raise(SIGKILL);
}
