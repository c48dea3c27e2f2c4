/* Verdicts with libmalseq-detect, on calls from stdin: a line "PID NAME" a call, an empty line ends
 * a trace. Build: cc detect.c $(pkg-config --cflags --libs malseq-detect) -o detect-example */
#include <malseq/detect.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const struct malseq_error *why)
{
    (void)fprintf(stderr, "detect-example: %s\n", why->text);
    return 1;
}

/* Names of classes are whatever the model file says. */
static void print_label(const char *text)
{
    for (; *text; text++)
        (void)putchar(*text >= ' ' && *text <= '~' ? *text : '?');
}

static int judge(struct malseq_trace *trace)
{
    struct malseq_error why;
    struct malseq_verdict verdict = MALSEQ_VERDICT_INIT;
    if (malseq_trace_verdict(trace, &verdict, &why) != MALSEQ_OK ||
        malseq_trace_clear(trace, &why) != MALSEQ_OK)
        return fail(&why);
    (void)printf("%s %.15g ", malseq_verdict_name(verdict.kind), verdict.score);
    print_label(verdict.label ? verdict.label : "-");
    (void)printf(" %" PRIu64 " calls%s%s\n", verdict.calls, verdict.reason[0] ? ": " : "",
                 verdict.reason);
    return 0;
}

static int complain(const char *what)
{
    (void)fprintf(stderr, "detect-example: %s\n", what);
    return 1;
}

static int read_traces(struct malseq_trace *trace)
{
    char line[1024];
    struct malseq_error why;
    int failed = 0;
    while (!failed && fgets(line, sizeof line, stdin)) {
        char *name;
        if (line[strcspn(line, "\n")] != '\n' && !feof(stdin))
            return complain("a line is longer than 1,022 bytes, or has a NUL");
        uint64_t pid = strtoull(line, &name, 10);
        name += strspn(name, " \t");
        name[strcspn(name, "\r\n")] = '\0';
        if (!*name)
            failed = judge(trace);
        else if (malseq_trace_add(trace, pid, name, MALSEQ_NO_TIME, &why) != MALSEQ_OK)
            failed = fail(&why);
    }
    if (!failed && ferror(stdin))
        failed = complain("cannot read standard input");
    if (!failed && malseq_trace_calls(trace))
        failed = judge(trace);
    if (fflush(stdout) != 0 || ferror(stdout))
        failed = complain("cannot write standard output");
    return failed;
}

int main(int argc, char **argv)
{
    struct malseq_error why;
    struct malseq_model *model = NULL;
    struct malseq_trace *trace = NULL;
    if (argc != 2) {
        (void)fprintf(stderr, "usage: detect-example MODEL <calls\n");
        return 2;
    }
    int failed = malseq_model_open(argv[1], &model, &why) != MALSEQ_OK ||
                 malseq_trace_new(model, &trace, &why) != MALSEQ_OK;
    failed = failed ? fail(&why) : read_traces(trace);
    malseq_trace_free(trace);
    malseq_model_close(model);
    return failed;
}
