/* detect: the option table. What the options do is in detect/command.c. */
#include "detect/command.h"

#define AT(field) offsetof(struct ms_detect_options, field)
static const struct ms_option table[] = {
    {.name = "model",
     .kind = MS_OPT_TEXT,
     .arg = "PATH",
     .offset = AT(model),
     .help = "the model: a model.safetensors, or the folder that train left it in"},
    {.name = "threshold",
     .kind = MS_OPT_REAL,
     .arg = "SCORE",
     .offset = AT(threshold),
     .help = "score from which a trace is malicious (default: the model's)"},
    {.name = "min-calls",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .min = 1,
     .offset = AT(min_calls),
     .help = "no verdict on traces with fewer calls (default: the model's)"},
    {.name = "unknown",
     .kind = MS_OPT_TEXT,
     .arg = "FROM:TO",
     .offset = AT(unknown),
     .help = "no verdict on scores from FROM to before TO, or of several classes on such of the "
             "class decided for; none: on no score (default: the model's band)"},
    {.name = "explain",
     .kind = MS_OPT_FLAG,
     .offset = AT(explain),
     .help = "below each verdict the calls that moved the score most, and since when it holds "
             "(--json always says so)"},
    {.name = "top",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .max = 100,
     .offset = AT(top),
     .help = "so many calls (default: 5)"},
    {.name = "early",
     .kind = MS_OPT_FLAG,
     .offset = AT(early),
     .help = "the call with which a malicious trace passed the threshold for good"},
    {.name = "fast",
     .kind = MS_OPT_FLAG,
     .offset = AT(fast),
     .help = "with --json: verdicts alone, no reasons"},
    {.name = "follow",
     .kind = MS_OPT_FLAG,
     .offset = AT(follow),
     .help = "read one growing log of DRAKVUF (or -), a verdict whenever it changes"},
    {.name = "every",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .min = 1,
     .max = UINT32_MAX,
     .offset = AT(every),
     .help = "with --follow: a verdict after every N calls"},
    {.name = "until",
     .kind = MS_OPT_NUMBER,
     .arg = "SECONDS",
     .min = 1,
     .max = 31536000,
     .offset = AT(until_s),
     .help = "with --follow: end when nothing came for so long"},
};

static const struct ms_verb verbs[] = {
    {.name = "",
     .synopsis = "--model PATH [FILE|DIR|HASH|-]…",
     .summary = "give a verdict on sandbox reports with a trained model",
     .options = table,
     .option_count = sizeof table / sizeof *table,
     .options_bytes = sizeof(struct ms_detect_options),
     .defaults = ms_detect_defaults,
     .max_operands = SIZE_MAX,
     .run = ms_detect_run},
};

static const struct ms_tool tool = {
    .name = "detect",
    .summary = "give verdicts on sandbox reports with a trained model",
    .description =
        "Reads the reports of Cuckoo, CAPE, DRAKVUF and Speakeasy, told apart by their contents "
        "(plain, gzip, zstd, or in archives; standard input for - or without operands) in a "
        "confined process and prints a line for each: file, verdict, score and, for models that "
        "tell classes apart, class and its probability, separated by tabs. Each report of an "
        "archive that has several gets a line of its own, named FILE!MEMBER. An operand that is "
        "a SHA-256, SHA-1 or MD5 and no file is a sample of the corpus: each of its analyses "
        "gets a line, named HASH#ANALYSIS. For all else no corpus is needed.\n\n"
        "Verdicts: malicious; benign; other (not of the model's one class); classified (which "
        "class of malware, taking for granted that it is malware); unknown, with the reason: no "
        "report, no calls, too few of them, none that the model knows, or a score in the model's "
        "band of doubt or that of --unknown.\n\n"
        "Reasons (--explain, --json): each distinct call is left out of what the model sees of "
        "the trace, and the model is asked again; the calls without which the score would differ "
        "most are named, with the process, the number of the entry in that process's list of "
        "calls (from 0), and the change: above 0, the call speaks for the class. The change is "
        "exact for this model and this trace, and says no more than that: of calls that matter "
        "only together, or of which either would do, each may show little; changes do not add "
        "up; and what was cut off a long trace does not come back. Of a trace with more distinct "
        "calls than are tried (256, fewer where it is long) those of the parts that matter most "
        "are. `since` and decided_at name the call with which the threshold was passed for good: "
        "the trace up to it, and every longer beginning of it, is malicious. For models of "
        "n-grams an n-gram counts from where all its calls have been seen. Views of up to 400 "
        "calls are searched call by call; of longer ones, decided_at.exact says whether they "
        "were.\n\n"
        "--follow reads one log of DRAKVUF (apimon, syscall, drakmon) while it is written, and "
        "prints a line when the verdict changes or the score has moved by 0.1, or after every N "
        "calls, and a final one when the log ends: at the end of what is no regular file, after "
        "--until seconds without news, or at SIGINT or SIGTERM. A file that was cut or replaced "
        "is another log. The verdict is looked at anew after 64 calls or a 16th of those before, "
        "whichever is more, and when the log pauses.\n\n"
        "Exit status: 1 when something is malicious (with --follow: when a final verdict was), 0 "
        "when nothing is, 3 when the model is bad.",
    .verbs = verbs,
    .verb_count = sizeof verbs / sizeof *verbs,
    .examples =
        "# every report of a folder\nmalseq detect --model corpus/models/default-malware reports/\n"
        "# one report from elsewhere\nzcat report.json.gz | malseq detect --model "
        "model.safetensors -\n"
        "# why, and since when\nmalseq detect --model model.safetensors --explain report.json\n"
        "# a sample of the corpus\nmalseq detect --model corpus/models/default-malware --corpus "
        "corpus "
        "HASH\n"
        "# while it runs\nmalseq detect --model model.safetensors --follow --until 60 apimon.log\n",
};

int main(int argc, char **argv)
{
    return ms_cli_main(&tool, argc, argv);
}
