/* Remembering the signal that asks for an end. */
#include "base/stop.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

static const struct {
    int number;
    const char *name;
} signals[] = {{SIGINT, "SIGINT"}, {SIGTERM, "SIGTERM"}, {SIGHUP, "SIGHUP"}};
enum { SIGNALS = sizeof signals / sizeof *signals };

/* Whichever thread a signal interrupts, all of them are to see it. */
static atomic_int came;

static void settle(void (*action)(int), int flags)
{
    struct sigaction now;
    for (size_t i = 0; i < SIGNALS; i++) {
        struct sigaction next = {.sa_handler = action, .sa_flags = flags};
        (void)sigemptyset(&next.sa_mask);
        /* nohup's SIGHUP, and a shell's SIGINT for what runs in its background. */
        if (sigaction(signals[i].number, NULL, &now) == 0 && now.sa_handler != SIG_IGN)
            (void)sigaction(signals[i].number, &next, NULL);
    }
}

/* The next one, whichever it is, has its way. */
static void remember(int number)
{
    came = number;
    settle(SIG_DFL, 0);
}

void ms_stop_watch(void)
{
    if (!came)
        settle(remember, SA_RESTART);
}

void ms_stop_unwatch(void)
{
    settle(SIG_DFL, 0);
}

int ms_stop_signal(void)
{
    return came;
}

const char *ms_stop_name(void)
{
    for (size_t i = 0; i < SIGNALS; i++)
        if (signals[i].number == came)
            return signals[i].name;
    return "no signal";
}

void ms_stop_forget(void)
{
    came = 0;
}

void ms_stop_end(void)
{
    if (!came)
        return;
    ms_stop_unwatch();
    (void)raise(came);
}
