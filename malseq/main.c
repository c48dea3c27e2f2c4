/* malseq: the umbrella. The table of its verbs; each is at home in a file of its own. */
#include "malseq/malseq.h"

#include "base/log.h"

#include <stddef.h>

#define TOOL_VERB(tool, about)                                                          \
    {                                                                                   \
        .name = tool, .synopsis = "[ARG…]", .summary = about, .max_operands = SIZE_MAX, \
        .passthrough = true, .run = malseq_exec                                         \
    }

static const struct ms_option query_options[] = {
    {.name = "limit",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .offset = offsetof(struct malseq_query, limit),
     .help = "stop after N rows"},
    {.name = "timeout",
     .kind = MS_OPT_NUMBER,
     .arg = "SECONDS",
     .max = 86400,
     .offset = offsetof(struct malseq_query, timeout_s),
     .help = "give up after SECONDS"},
    {.name = "csv",
     .kind = MS_OPT_FLAG,
     .offset = offsetof(struct malseq_query, csv),
     .help = "print comma-separated values; a cell that a spreadsheet would take for a formula "
             "gets an apostrophe in front"},
};

static const struct ms_option demo_options[] = {
    {.name = "samples",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .min = 40,
     .max = 5000,
     .offset = offsetof(struct malseq_demo, samples),
     .help = "how many programs the world has"},
    {.name = "shuffle-labels",
     .kind = MS_OPT_FLAG,
     .offset = offsetof(struct malseq_demo, shuffle_labels),
     .help = "deal the labels out at random: what is learnt then must be nothing"},
    {.name = "keep",
     .kind = MS_OPT_TEXT,
     .arg = "DIR",
     .offset = offsetof(struct malseq_demo, keep),
     .help = "work in DIR, which must be new or empty; else in a new folder under $TMPDIR"},
    {.name = "dataset-url",
     .kind = MS_OPT_TEXT,
     .arg = "URL",
     .offset = offsetof(struct malseq_demo, dataset_url),
     .help = "where demo mal-api-2019 downloads the published files when it finds none "
             "(default: the authors' repository); their git blob ids are checked"},
};

#define OPTIONS(table) .options = table, .option_count = sizeof table / sizeof *table

static const struct ms_verb verbs[] = {
    TOOL_VERB("collect", "collect samples from repositories and folders: see malseq-collect(1)"),
    TOOL_VERB("label", "ask VirusTotal and derive labels: see malseq-label(1)"),
    TOOL_VERB("extract",
              "detonate samples, import reports, store API calls: see malseq-extract(1)"),
    TOOL_VERB("train", "train and evaluate a detector: see malseq-train(1)"),
    TOOL_VERB("detect", "give verdicts on reports with a trained model: see malseq-detect(1)"),
    {.name = "status",
     .synopsis = "[--json] [--exact]",
     .summary = "Count what the corpus holds, how much of it is labelled, detonated and traced, "
                "what waits since when, the quota that is left, and the room it takes.",
     .options = malseq_status_options,
     .option_count = MALSEQ_STATUS_OPTIONS,
     .options_bytes = sizeof(struct malseq_status),
     .run = malseq_status},
    {.name = "query",
     .synopsis = "[--json | --csv] [--limit N] [--timeout SECONDS] SQL | -",
     .summary = "Run one SELECT on the corpus, which cannot be changed by it. Calls are rows of "
                "the table calls(sample, process, seq, api, tid, time, repeated).",
     OPTIONS(query_options),
     .options_bytes = sizeof(struct malseq_query),
     .min_operands = 1,
     .max_operands = 1,
     .run = malseq_query},
    {.name = "fsck",
     .synopsis = "[--repair | --digest]",
     .summary = "Check the database, every stored object against its digest, every trace, and "
                "that they belong to one another.",
     .options = malseq_fsck_options,
     .option_count = MALSEQ_FSCK_OPTIONS,
     .options_bytes = sizeof(struct malseq_fsck),
     .run = malseq_fsck},
    {.name = "doctor",
     .synopsis = "[--config FILE] [--offline]",
     .summary = "Look at what a night depends on, a line each with what to do: configuration, keys "
                "and their files' modes, quotas, sandboxes, disk and mount, confinement, clock, "
                "what killed runs left. Exit code 1 when there is a fault.",
     .options = malseq_doctor_options,
     .option_count = MALSEQ_DOCTOR_OPTIONS,
     .options_bytes = sizeof(struct malseq_doctor),
     .run = malseq_doctor},
    {.name = "retain",
     .synopsis = "[--reports DAYS] [--benign DAYS] [--unlabelled DAYS] [--dry-run]",
     .summary =
         "Give up raw reports and stored programs that have had their time. Rows, traces and "
         "labels stay, and what is gone is not taken in again.",
     .options = malseq_retain_options,
     .option_count = MALSEQ_RETAIN_OPTIONS,
     .options_bytes = sizeof(struct malseq_retain),
     .run = malseq_retain},
    {.name = "backup",
     .synopsis = "[--objects [--link]] DIR",
     .summary = "Copy the corpus to DIR while others go on writing to it: the database as it is at "
                "this moment, checked, then models and nights, and the list of its objects with "
                "digests and sizes. DIR is new, or an earlier backup, which is brought up to date. "
                "It is a corpus itself: to restore, copy it to where the corpus was.",
     .options = malseq_backup_options,
     .option_count = MALSEQ_BACKUP_OPTIONS,
     .options_bytes = sizeof(struct malseq_backup),
     .min_operands = 1,
     .max_operands = 1,
     .run = malseq_backup},
    {.name = "export",
     .synopsis = "[--what samples|traces] [--format NAME] [--out FILE] [--policy NAME]",
     .summary = "Write the samples with digests, static features and labels, or with --what traces "
                "the labelled traces, normalised, with a dataset card beside them; in the order of "
                "their SHA-256. What is private is left out.",
     .options = malseq_export_options,
     .option_count = MALSEQ_EXPORT_OPTIONS,
     .options_bytes = sizeof(struct malseq_export),
     .defaults = malseq_export_defaults,
     .run = malseq_export},
    {.name = "audit",
     .synopsis = "[--policy NAME] [--near J] [--groups FILE]",
     .summary = "Say what the labelled traces can and cannot show: copies, contradictions and the "
                "accuracy they leave, near copies, lengths, calls, and whether the source shows.",
     .options = malseq_audit_options,
     .option_count = MALSEQ_AUDIT_OPTIONS,
     .options_bytes = sizeof(struct malseq_audit),
     .defaults = malseq_audit_defaults,
     .run = malseq_audit},
    {.name = "demo",
     .synopsis = "[--samples N] [--seed N] [--shuffle-labels] [--keep DIR] [mal-api-2019 [DIR]]",
     .summary = "Show the whole pipeline at work in a synthetic world on loopback: collect, "
                "label, extract, train, detect. With mal-api-2019, import and train on the "
                "published data set in DIR.",
     OPTIONS(demo_options),
     .options_bytes = sizeof(struct malseq_demo),
     .defaults = malseq_demo_defaults,
     .max_operands = 2,
     .run = malseq_demo},
    {.name = "nightly",
     .synopsis = "[--config FILE] [--stage NAME]…",
     .summary = "Rebuild the corpus as cron does each night: collect, label, extract, train when "
                "the dataset changed, audit, within a time; then sum up as text (or with --json as "
                "JSON) and as one HTML page.",
     .options = malseq_nightly_options,
     .option_count = MALSEQ_NIGHTLY_OPTIONS,
     .options_bytes = sizeof(struct malseq_nightly),
     .run = malseq_nightly},
};

static const struct ms_tool tool = {
    .name = "malseq",
    .summary = "Windows malware detection from API-call sequences",
    .description =
        "malseq builds labelled corpora of Windows API-call sequences and trains detectors on "
        "them. Its tools do it in stages, each reading what the one before left in the corpus, "
        "which is one folder: collect finds programs, label says what they are, extract records "
        "what they do, train learns from it, detect judges new reports.\n\n"
        "malseq TOOL runs a tool. The other verbs concern a whole corpus.",
    .verbs = verbs,
    .verb_count = sizeof verbs / sizeof *verbs,
    .examples = "# See the whole pipeline at work\nmalseq demo\n"
                "# Collect from the repositories of a list\n"
                "malseq collect --github-list repos.txt\n"
                "# The ten most frequent calls\n"
                "malseq query \"select api, count(*) n from calls group by api order by n desc "
                "limit 10\"\n"
                "# What there is, what waits, and what a night depends on\n"
                "malseq status\nmalseq doctor --offline\n"
                "# What the labelled traces can show, and what not\nmalseq audit\n"
                "# Digests, features and labels of all samples\n"
                "malseq export --out samples.jsonl\n"
                "# Every digest and every trace looked at\nmalseq fsck\n"
                "# A copy on another disk, brought up to date each time\n"
                "malseq backup --objects /backup/corpus\n"
                "# What would go if raw reports had 90 days\n"
                "malseq retain --reports 90 --dry-run\n"
                "# All stages, as cron runs them\nmalseq nightly --config nightly.conf\n",
};

int main(int argc, char **argv)
{
    return ms_cli_main(&tool, argc, argv);
}
