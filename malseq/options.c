/* The option tables of verbs that have many. What the options do is with the verbs. */
#include "malseq/malseq.h"

const struct ms_option malseq_status_options[] = {
    {.name = "exact",
     .kind = MS_OPT_FLAG,
     .offset = offsetof(struct malseq_status, exact),
     .help = "add up every stored object; else a large vault's room is told from some of its "
             "folders, which is right within a few percent"},
};

const struct ms_option malseq_fsck_options[] = {
    {.name = "repair",
     .kind = MS_OPT_FLAG,
     .offset = offsetof(struct malseq_fsck, repair),
     .help = "repair what can be repaired"},
    {.name = "digest",
     .kind = MS_OPT_FLAG,
     .offset = offsetof(struct malseq_fsck, digest),
     .help = "print the digest of all the corpus says, and check nothing"},
};

const struct ms_option malseq_backup_options[] = {
    {.name = "objects",
     .kind = MS_OPT_FLAG,
     .offset = offsetof(struct malseq_backup, objects),
     .help = "copy the stored programs and reports too, those that DIR has not yet; else they are "
             "only listed"},
    {.name = "link",
     .kind = MS_OPT_FLAG,
     .offset = offsetof(struct malseq_backup, link),
     .help = "with --objects: give them a second name instead, where DIR lies on the same file "
             "system (else they are copied, with a warning); that guards against removal, not "
             "against a failing disk"},
};

#define AT(field) offsetof(struct malseq_doctor, field)

const struct ms_option malseq_doctor_options[] = {
    {.name = "config",
     .kind = MS_OPT_TEXT,
     .arg = "FILE",
     .offset = AT(config),
     .help = "take keys, servers and the corpus from this nightly.conf (default: the one in the "
             "corpus, where there is one)"},
    {.name = "offline", .kind = MS_OPT_FLAG, .offset = AT(offline), .help = "ask no service"},
    {.name = "vt-key",
     .kind = MS_OPT_SECRET,
     .arg = "SECRET",
     .arg_optional = true,
     .offset = AT(vt_key),
     .help = "VirusTotal key: @FILE, env:NAME or the key itself (default: $VT_API_KEY)"},
    {.name = "vt-url",
     .kind = MS_OPT_TEXT,
     .arg = "URL",
     .offset = AT(vt_url),
     .help = "where label asks"},
    {.name = "vt-user",
     .kind = MS_OPT_TEXT,
     .arg = "ID",
     .offset = AT(vt_user),
     .help = "the account's id, by which the service tells its quota"},
    {.name = "github-token",
     .kind = MS_OPT_SECRET,
     .arg = "SECRET",
     .offset = AT(github_token),
     .help = "GitHub token: @FILE, env:NAME or the token itself (default: $GITHUB_TOKEN)"},
    {.name = "github-url",
     .kind = MS_OPT_TEXT,
     .arg = "URL",
     .offset = AT(github_url),
     .help = "where collect asks"},
    {.name = "cuckoo",
     .kind = MS_OPT_LIST,
     .arg = "URL",
     .offset = AT(cuckoo),
     .help = "a sandbox, as extract takes it (URL,token=@FILE,kind=cape); may be given several "
             "times"},
    {.name = "token",
     .kind = MS_OPT_SECRET,
     .arg = "SECRET",
     .offset = AT(token),
     .help = "the one sandbox's token: @FILE, env:NAME or the token itself (default: "
             "$CUCKOO_TOKEN)"},
    {.name = "sandbox",
     .kind = MS_OPT_CHOICE,
     .arg = "auto|cuckoo|cape|drakvuf",
     .choices = "auto|cuckoo|cape|drakvuf",
     .offset = AT(sandbox),
     .help = "what the sandboxes are"},
};

#undef AT
#define AT(field) offsetof(struct malseq_retain, field)

const struct ms_option malseq_retain_options[] = {
    {.name = "reports",
     .kind = MS_OPT_NUMBER,
     .arg = "DAYS",
     .min = 1,
     .max = 36500,
     .offset = AT(reports),
     .help = "give up reports that were read more than DAYS ago and whose traces are stored (ok)"},
    {.name = "benign",
     .kind = MS_OPT_NUMBER,
     .arg = "DAYS",
     .min = 1,
     .max = 36500,
     .offset = AT(benign),
     .help = "give up the bytes of programs that came in more than DAYS ago and are benign under "
             "every policy that says something of them"},
    {.name = "unlabelled",
     .kind = MS_OPT_NUMBER,
     .arg = "DAYS",
     .min = 1,
     .max = 36500,
     .offset = AT(unlabelled),
     .help = "the same of programs that no policy has a verdict on, but for private ones and those "
             "that VirusTotal is still to be asked about"},
};

#undef AT
#define AT(field) offsetof(struct malseq_export, field)

const struct ms_option malseq_export_options[] = {
    {.name = "what",
     .kind = MS_OPT_CHOICE,
     .arg = "samples|traces",
     .choices = "samples|traces",
     .offset = AT(what),
     .help = "samples: digests, static features, label; traces: label and calls"},
    {.name = "format",
     .kind = MS_OPT_CHOICE,
     .arg = "jsonl|csv|npz|libsvm",
     .choices = "jsonl|csv|npz|libsvm",
     .offset = AT(format),
     .help = "jsonl (the default): one JSON object a line; csv: a column for each field, a cell "
             "that a spreadsheet would take for a formula with an apostrophe in front; of traces "
             "also npz: arrays for NumPy, and libsvm: counts of n-grams"},
    {.name = "csv", .kind = MS_OPT_FLAG, .offset = AT(csv), .help = "the same as --format csv"},
    {.name = "out",
     .kind = MS_OPT_TEXT,
     .arg = "FILE",
     .offset = AT(out),
     .help = "write to FILE, which appears when it is complete (default: standard output); traces "
             "get a card beside it: FILE.md and FILE.json; libsvm also FILE.ids and FILE.features"},
    {.name = "policy",
     .kind = MS_OPT_TEXT,
     .arg = "NAME",
     .offset = AT(policy),
     .help = "labels of this policy, as ember2024 or dataset:mal-api-2019 (default: ember2024; of "
             "traces a dataset's own, else ember2024)"},
    {.name = "sightings",
     .kind = MS_OPT_FLAG,
     .offset = AT(sightings),
     .help = "where each sample was seen: origin, commit, path, names inside archives, password, "
             "and what the origin claims; in CSV one row for each place"},
    {.name = "times",
     .kind = MS_OPT_FLAG,
     .offset = AT(times),
     .help = "when samples came in and were last seen; equal corpora made at different times "
             "differ then"},
    {.name = "unlabelled",
     .kind = MS_OPT_FLAG,
     .offset = AT(unlabelled),
     .help = "traces of samples without a label too"},
    {.name = "names",
     .kind = MS_OPT_FLAG,
     .offset = AT(names),
     .help = "the file names that each trace's sample was seen under, and in the card those of "
             "the folders its report came from"},
    {.name = "no-names",
     .kind = MS_OPT_FLAG,
     .offset = AT(no_names),
     .help = "neither, whatever --names says; the default"},
    {.name = "target",
     .kind = MS_OPT_CHOICE,
     .arg = "malware|class",
     .choices = "malware|class",
     .offset = AT(target),
     .help = "libsvm: the label is 1 for malicious and 0 for benign, or the number of the class in "
             "sorted order; traces without it are left out"},
    {.name = "ngrams",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .min = 1,
     .max = 3,
     .offset = AT(ngrams),
     .help = "libsvm: count runs of 1 to N calls"},
    {.name = "hash-bits",
     .kind = MS_OPT_NUMBER,
     .arg = "BITS",
     .max = 31,
     .offset = AT(hash_bits),
     .help = "libsvm: hash n-grams to 2^BITS indexes (0: give each its own, told in "
             "FILE.features)"},
    MS_NORMAL_OPTIONS(struct malseq_export, normal),
};

void malseq_export_defaults(void *options)
{
    struct malseq_export *o = options;
    *o = (struct malseq_export){.what = "samples", .target = "malware", .ngrams = 1};
    ms_normal_request_init(&o->normal);
}

#undef AT
#define AT(field) offsetof(struct malseq_audit, field)

const struct ms_option malseq_audit_options[] = {
    {.name = "policy",
     .kind = MS_OPT_TEXT,
     .arg = "NAME",
     .offset = AT(policy),
     .help = "labels of this policy, as ember2024 or dataset:mal-api-2019 (default: a dataset's "
             "own, else ember2024)"},
    {.name = "near",
     .kind = MS_OPT_REAL,
     .arg = "J",
     .offset = AT(near),
     .help = "traces are near copies from this Jaccard index of their calls and neighbouring pairs "
             "on"},
    {.name = "top",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .max = 100,
     .offset = AT(top),
     .help = "show N calls by which each label stands out"},
    {.name = "groups",
     .kind = MS_OPT_TEXT,
     .arg = "FILE",
     .offset = AT(groups),
     .help = "write the groups of each trace to FILE as comma-separated values"},
    MS_NORMAL_OPTIONS(struct malseq_audit, normal),
};

void malseq_audit_defaults(void *options)
{
    struct malseq_audit *o = options;
    *o = (struct malseq_audit){.near = .8, .top = 5};
    ms_normal_request_init(&o->normal);
}

const struct ms_option malseq_nightly_options[] = {
    {.name = "config",
     .kind = MS_OPT_TEXT,
     .arg = "FILE",
     .offset = offsetof(struct malseq_nightly, config),
     .help = "what to do and for how long (default: nightly.conf in the corpus)"},
    {.name = "stage",
     .kind = MS_OPT_LIST,
     .arg = "NAME",
     .offset = offsetof(struct malseq_nightly, stages),
     .help =
         "only this stage: collect, label, extract, train or audit; may be given several times"},
};
