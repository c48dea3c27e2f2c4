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
     .help = "no verdict on scores from FROM to before TO"},
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
     .synopsis = "--model PATH [FILE|DIR|-]…",
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
        "Reads reports of Cuckoo 2 or CAPE (plain, gzip or zstd; of a folder the files named "
        ".json, .gz and "
        ".zst; standard input for - or without operands) in a confined process and prints a line "
        "for each: file, "
        "verdict, score and, for models that tell classes apart, class and its probability, "
        "separated by tabs. No "
        "corpus is needed.\n\n"
        "Verdicts: malicious; benign; other (not of the model's one class); classified (which "
        "class of malware, "
        "taking for granted that it is malware); unknown, with the reason: no report, no calls, "
        "too few of "
        "them, or none that the model knows.\n\n"
        "Exit status: 1 when something is malicious, 0 when nothing is, 3 when the model is bad.",
    .verbs = verbs,
    .verb_count = sizeof verbs / sizeof *verbs,
    .examples =
        "# every report of a folder\ndetect --model corpus/models/default-malware reports/\n"
        "# one report from elsewhere\nzcat report.json.gz | detect --model model.safetensors -\n",
};

int main(int argc, char **argv)
{
    return ms_cli_main(&tool, argc, argv);
}
