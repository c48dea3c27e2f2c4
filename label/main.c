/* label: what VirusTotal says of each sample, judged under a named policy. The option table; the
 * work is in label/session. */
#include "label/avclass_verb.h"
#include "label/options.h"
#include "label/rescan.h"
#include "label/session.h"

static const struct ms_option run_options[] = {
    KEY_OPTION,
    URL_OPTION,
    USER_OPTION,
    {.name = "hashes",
     .kind = MS_OPT_TEXT,
     .arg = "FILE",
     .offset = FIELD(hashes),
     .help =
         "look up these hashes and no others, in this order; one a line or in the first column: "
         "MD5, SHA-1 or SHA-256; '-': standard input; new ones are added to the corpus"},
    {.name = "budget",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .offset = FIELD(budget),
     .min = 1,
     .help = "send at most N requests in this run"},
    UNTIL_OPTION,
    POLICY_OPTION,
    AVCLASS_OPTION,
    {.name = "upload",
     .kind = MS_OPT_FLAG,
     .offset = FIELD(upload),
     .help =
         "after the look-ups, upload files of the vault that VirusTotal does not know, once you "
         "say yes on the terminal; this cannot be taken back"},
    {.name = "yes",
     .kind = MS_OPT_FLAG,
     .offset = FIELD(yes),
     .help = "say yes to --upload, where nobody can be asked"},
};

static const struct ms_option policy_options[] = {
    POLICY_OPTION,
    {.name = "as-of",
     .kind = MS_OPT_TEXT,
     .arg = "YYYY-MM-DD",
     .offset = FIELD(as_of),
     .help = "use only what was known at the end of that day; the labels go under "
             "POLICY@YYYY-MM-DD, beside the others"},
    AVCLASS_OPTION,
};
static const struct ms_option import_options[] = {POLICY_OPTION, AVCLASS_OPTION};
static const struct ms_option quota_options[] = {KEY_OPTION, URL_OPTION, USER_OPTION};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const struct ms_verb verbs[] = {
    {.name = "",
     .synopsis = "[--vt-key SECRET] [--hashes FILE]",
     .summary = "look up the samples of the corpus that are due, within the key's quota",
     .options = run_options,
     .option_count = COUNT(run_options),
     .options_bytes = sizeof(struct ms_label_options),
     .defaults = ms_label_defaults,
     .run = ms_label_run},
    {.name = "relabel",
     .synopsis = "[--policy NAME|FILE] [--as-of YYYY-MM-DD]",
     .summary = "judge the stored answers again, without a single request",
     .options = policy_options,
     .option_count = COUNT(policy_options),
     .options_bytes = sizeof(struct ms_label_options),
     .defaults = ms_label_defaults,
     .run = ms_label_relabel},
    {.name = "explain",
     .synopsis = "[--policy NAME|FILE] [--as-of YYYY-MM-DD] HASH…",
     .summary = "show how engines' labels became votes, class and verdict",
     .options = policy_options,
     .option_count = COUNT(policy_options),
     .options_bytes = sizeof(struct ms_label_options),
     .defaults = ms_label_defaults,
     .min_operands = 1,
     .max_operands = 1000,
     .run = ms_label_explain},
    {.name = "quota",
     .synopsis = "[--vt-key SECRET]",
     .summary = "show what the key may ask and what is used (costs nothing)",
     .options = quota_options,
     .option_count = COUNT(quota_options),
     .options_bytes = sizeof(struct ms_label_options),
     .defaults = ms_label_defaults,
     .run = ms_label_quota},
    {.name = "import",
     .synopsis = "PATH…",
     .summary = "take in reports that are there already (VirusTotal v2 and v3, feeds, OPSWAT, "
                "AVClass's form; files, folders, -)",
     .options = import_options,
     .option_count = COUNT(import_options),
     .options_bytes = sizeof(struct ms_label_options),
     .defaults = ms_label_defaults,
     .min_operands = 1,
     .max_operands = SIZE_MAX,
     .run = ms_label_import},
    {.name = "rescan",
     .synopsis = "[--vt-key SECRET] [--budget N] [--hashes FILE]",
     .summary = "ask for new analyses of samples scanned too early, and queue their look-ups",
     .options = ms_rescan_options,
     .option_count = MS_RESCAN_OPTIONS,
     .options_bytes = sizeof(struct ms_label_options),
     .defaults = ms_rescan_defaults,
     .run = ms_label_rescan},
    {.name = "avclass",
     .synopsis = "[-t] [--pup] [--vtt] [--hash KIND] FILE…",
     .summary = "print what AVClass 2.8.10 prints for files of reports: families and tags",
     .options = ms_avclass_options,
     .option_count = MS_AVCLASS_OPTIONS,
     .options_bytes = sizeof(struct ms_avclass_verb_options),
     .max_operands = SIZE_MAX,
     .run = ms_label_avclass},
};

static const struct ms_tool tool = {
    .name = "label",
    .summary = "label samples by what VirusTotal's engines say of them",
    .description =
        "label asks VirusTotal about each sample by its hash, never by its content unless --upload "
        "is given and confirmed, keeps every answer in the corpus, and derives a verdict "
        "(malicious, grayware, benign, uncertain, immature), a class (Adware, Backdoor, "
        "Downloader, "
        "Dropper, Spyware, Trojan, Virus, Worm; Ransomware, Miner, PUA, Tool, Exploit) and a "
        "family from it.\n\n"
        "The key's limits are read from the service, and every request is booked in the corpus "
        "before it leaves, so that runs of several nights and crashes never exceed them. When the "
        "quota is spent the tool ends with exit code 75 and says when to go on. Hashes never asked "
        "get seven of ten look-ups, those whose answer is due again two, those not found one.\n\n"
        "Private samples and the empty file are never asked, uploaded or sent for a new analysis. "
        "A hash unknown to VirusTotal is not "
        "found, which is neither good nor bad.\n\n"
        "The conditions of a public key forbid commercial use and more than one account. Proxies "
        "of "
        "the environment (https_proxy, no_proxy) are honoured.",
    .verbs = verbs,
    .verb_count = COUNT(verbs),
    .examples =
        "# label what was collected, with the key in VT_API_KEY\nmalseq label --vt-key\n"
        "# a nightly run that leaves 100 requests for people\n"
        "malseq label --vt-key @/etc/malseq/vt.key --budget 400 --until 05:00\n"
        "# the same answers under another policy\nmalseq label relabel --policy sophos-1-5\n"
        "# why is this a worm?\nmalseq label explain 44d88612fea8a8f36de82e1278abb02f\n"
        "# reports that are there already cost no quota; exit 1: some were no reports\n"
        "malseq label import ~/vt-answers/ feed.jsonl.gz\n"
        "zstdcat old-v2.json.zst | malseq label import - --json >imported.jsonl\n"
        "# families and tags of reports in files, as AVClass prints them\n"
        "malseq label avclass --fetch-data\nmalseq label avclass -t --hash sha256 reports.jsonl\n",
};

int main(int argc, char **argv)
{
    return ms_cli_main(&tool, argc, argv);
}
