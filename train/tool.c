/* The option tables of train. What the options do is in train/command.c and the files of the other
 * verbs. */
#include "train/tool.h"

#include "train/command.h"

#include "base/limits.h"
#include "train/compare_command.h"
#include "train/default_ensemble.h"
#include "train/evaluate_command.h"
#include "train/onnx_command.h"
#include "train/partition.h"
#include "train/search_command.h"

#define TEXT_OF(number) #number
#define NUMBER_TEXT(macro) TEXT_OF(macro)
/* What several verbs can be told in the same way. */
#define TEXT_OPTION(option, what, at, words)                                                \
    {                                                                                       \
        .name = (option), .kind = MS_OPT_TEXT, .arg = (what), .offset = (at), .help = words \
    }
#define NUMBER_OPTION(option, what, at, least, most, words)                                     \
    {                                                                                           \
        .name = (option), .kind = MS_OPT_NUMBER, .arg = (what), .offset = (at), .min = (least), \
        .max = (most), .help = words                                                            \
    }
#define TARGET_OPTION(at, words) TEXT_OPTION("target", "WHAT", at, words)
#define POLICY_OPTION(at, words) TEXT_OPTION("policy", "NAME", at, words)
#define SPLIT_FILE_OPTION(at, words) TEXT_OPTION("split-file", "FILE", at, words)
#define COPIES_OPTION(at, words)                                                           \
    {                                                                                      \
        .name = "copies", .kind = MS_OPT_CHOICE, .arg = "keep|one", .choices = "keep|one", \
        .offset = (at), .help = words                                                      \
    }
#define FOLDS_OPTION(option, at, words) NUMBER_OPTION(option, "K", at, 2, MS_SPLIT_PARTS_MAX, words)
#define REPEATS_OPTION(at, words) \
    NUMBER_OPTION("repeats", "R", at, 1, MS_PARTITION_REPEATS_MAX, words)
#define EPOCHS_OPTION(at, words) NUMBER_OPTION("epochs", "N", at, 1, 100000, words)
#define AT(field) offsetof(struct ms_train_options, field)
static const struct ms_option table[] = {
    {.name = "preset",
     .kind = MS_OPT_CHOICE,
     .arg = "NAME",
     .choices = "default|article",
     .offset = AT(preset),
     .help = "the net and how it is trained: default, or article: the "
             "LSTM of Catak et al. with Keras's tokens, the last 100 calls, mse, RMSprop and batch "
             "1000"},
    TARGET_OPTION(
        AT(target),
        "what to tell apart: malware (malicious or benign), class, or class=NAME (that one "
        "or any other)"),
    {.name = "kind",
     .kind = MS_OPT_CHOICE,
     .arg = "KIND",
     .choices = "lstm|gru|linear|boosted|ensemble",
     .offset = AT(kind),
     .help = "lstm or gru: one net; ensemble: several, averaged; linear: logistic regression on "
             "n-grams of calls; boosted: gradient boosted trees on them (default: ensemble, "
             "article lstm)"},
    {.name = "members",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .offset = AT(members),
     .min = 1,
     .max = MS_LIMIT_MODEL_MEMBERS / 2,
     .help = "nets of each shape in an ensemble (default: " NUMBER_TEXT(MS_DEFAULT_NETS) ")"},
    {.name = "ensemble",
     .kind = MS_OPT_TEXT,
     .arg = "PARTS",
     .offset = AT(ensemble),
     .help =
         "what an ensemble is made of: some of recurrent, hybrid, gru, gru-hybrid, pooled, "
         "pooled-hybrid, linear and boosted, with commas or + between (default: " MS_DEFAULT_PARTS
         "; built without libxgboost " MS_DEFAULT_PARTS_WITHOUT_TREES
         "); a hybrid has the branch of --wide, a pooled net no recurrent "
         "layer"},
    {.name = "wide",
     .kind = MS_OPT_CHOICE,
     .arg = "yes|no",
     .choices = "yes|no",
     .offset = AT(wide),
     .help = "a branch beside the recurrent layers that sees the n-grams of the whole trace "
             "(default: as --ensemble says, and not in a single net)"},
    {.name = "baselines",
     .kind = MS_OPT_CHOICE,
     .arg = "yes|no",
     .choices = "yes|no",
     .offset = AT(baselines),
     .help = "train and judge simpler models on the same parts: majority class, linear, boosted, "
             "the same net without recurrence (default: yes)"},
    {.name = "sequence",
     .kind = MS_OPT_CHOICE,
     .arg = "OF",
     .choices = "api|opcode",
     .offset = AT(sequence),
     .help = "what is learnt from: api, the calls of a run (unless told), or opcode, what extract "
             "opcodes or dataset big-2015 gave"},
    {.name = "static",
     .kind = MS_OPT_CHOICE,
     .arg = "USE",
     .choices = MS_STATIC_WORDS,
     .offset = AT(statics),
     .help = "static features of the samples (collect reads them): joined to the n-grams of the "
             "sequence, or alone in their place (linear and boosted); samples without are left "
             "out"},
    {.name = "name",
     .kind = MS_OPT_TEXT,
     .arg = "NAME",
     .offset = AT(name),
     .help = "folder of the model under models/ in the corpus (default: preset and target)"},
    POLICY_OPTION(
        AT(policy),
        "labels of this policy, as ember2024 or dataset:mal-api-2019 (default: a dataset's "
        "own, else ember2024)"),
    {.name = "split",
     .kind = MS_OPT_CHOICE,
     .arg = "HOW",
     .choices = MS_PARTITION_HOW_WORDS,
     .offset = AT(split),
     .help = "grouped (unless told) keeps copies of a trace on one side, near also traces that are "
             "nearly the same; time trains on what was first seen before what is judged; naive "
             "does none of it, and flatters"},
    {.name = "split-date",
     .kind = MS_OPT_TEXT,
     .arg = "YYYY-MM-DD",
     .offset = AT(split_date),
     .help = "with --split time: judge what was first seen from that day on (default: by "
             "--test-share)"},
    {.name = "test-ratio",
     .kind = MS_OPT_REAL,
     .arg = "SHARE",
     .offset = AT(test_ratio),
     .help = "with --split time: leave out of each month what is too much for this share of "
             "malware"},
    SPLIT_FILE_OPTION(AT(split_file),
                      "the split of another model, its split.jsonl; both can then be compared"),
    COPIES_OPTION(
        AT(copies),
        "of traces that are equal with runs collapsed: keep all, or one, with the class that "
        "most of them have (default: keep)"),
    {.name = "test-share",
     .kind = MS_OPT_REAL,
     .arg = "SHARE",
     .offset = AT(test_share),
     .help = "hold out this share of the traces and judge once, instead of by folds (article: .15, "
             "--split time: .2 unless told)"},
    FOLDS_OPTION("folds", AT(folds),
                 "judge every trace by K-fold cross-validation, then "
                 "train the model on all of them (default: 5; article and --split time: a "
                 "hold-out)"),
    REPEATS_OPTION(AT(repeats),
                   "deal and judge the hold-out or the folds R times, each time from another seed"),
    EPOCHS_OPTION(AT(epochs), "passes over the training rows (default: 20, article 10)"),
    {.name = "batch",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .offset = AT(batch),
     .min = 1,
     .max = MS_LIMIT_NET_ROWS,
     .help = "rows a step (default: 32, article 1000)"},
    {.name = "lr",
     .kind = MS_OPT_REAL,
     .arg = "RATE",
     .offset = AT(rate),
     .help = "learning rate (default: .003, article .001)"},
    {.name = "hidden",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .offset = AT(hidden),
     .min = 1,
     .max = MS_LIMIT_NET_WIDTH,
     .help = "units of each LSTM layer (default: 64, article 32)"},
    {.name = "class-weights",
     .kind = MS_OPT_CHOICE,
     .arg = "HOW",
     .choices = "none|balanced",
     .offset = AT(class_weights),
     .help = "balanced: classes count alike in training, however many traces they have"},
    {.name = "patience",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .offset = AT(patience),
     .min = 1,
     .max = 100000,
     .help = "hold a tenth of the training traces back, stop when N epochs have not lowered the "
             "loss on them, and take the weights of the best (default: all epochs, the last "
             "weights)"},
    {.name = "average",
     .kind = MS_OPT_CHOICE,
     .arg = "yes|no",
     .choices = "yes|no",
     .offset = AT(average),
     .help = "the mean of the weights after each of the last quarter of the epochs (default: no)"},
    {.name = "cost",
     .kind = MS_OPT_REAL,
     .arg = "C",
     .offset = AT(cost),
     .help = "what an error costs logistic regression against the size of its weights (default: "
             "1)"},
    {.name = "rounds",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .offset = AT(rounds),
     .min = 1,
     .max = 10000,
     .help = "rounds of boosting (default: 200)"},
    {.name = "depth",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .offset = AT(depth),
     .min = 1,
     .max = 16,
     .help = "of boosted trees (default: 6)"},
    {.name = "calibrate",
     .kind = MS_OPT_CHOICE,
     .arg = "HOW",
     .choices = "auto|none|temperature|platt|isotonic",
     .offset = AT(calibrate),
     .help = "make probabilities of the scores, by rows that the model did not see: of folds "
             "the others, else training traces, for which a net is trained once more and "
             "other kinds five times; auto: Platt for two classes, else the temperature (default: "
             "auto with folds, else none; article none)"},
    {.name = "target-fpr",
     .kind = MS_OPT_REAL,
     .arg = "RATE",
     .offset = AT(target_fpr),
     .help = "put the threshold where at most this share of the negative traces is taken for "
             "positive, found as --calibrate does (default: threshold .5)"},
    {.name = "unknown-band",
     .kind = MS_OPT_TEXT,
     .arg = "BAND",
     .offset = AT(unknown_band),
     .help = "scores that are no verdict, LOW:HIGH, or auto: those of the tenth of the traces that "
             "lie nearest to the threshold; with --target class, of its score (default: none)"},
    MS_NORMAL_OPTIONS(struct ms_train_options, normal),
    {.name = "checkpoint-every",
     .kind = MS_OPT_TEXT,
     .arg = "WHEN",
     .offset = AT(checkpoint_every),
     .help = "when the state of a net's training is kept for --resume: epoch, a number of batches, "
             "never, or auto: after an epoch, but not within 5 s (default: auto)"},
    {.name = "resume",
     .kind = MS_OPT_FLAG,
     .offset = AT(resume),
     .help = "go on with a run of the same options and dataset that was killed; its model is the "
             "one that it would have made"},
    {.name = "shuffle-labels",
     .kind = MS_OPT_FLAG,
     .offset = AT(shuffle_labels),
     .help = "deal the labels out anew: a sound set-up must then end at chance"},
};

static const struct ms_option onnx_table[] = {
    {.name = "output",
     .letter = 'o',
     .kind = MS_OPT_TEXT,
     .arg = "FILE",
     .offset = offsetof(struct ms_onnx_options, output),
     .help = "where the ONNX file is written"},
};

static const struct ms_option evaluate_table[] = {
    POLICY_OPTION(offsetof(struct ms_evaluate_options, policy),
                  "labels of this policy (default: a dataset's own, else ember2024)"),
};

#define SEARCH(field) offsetof(struct ms_search_options, field)
static const struct ms_option search_table[] = {
    TARGET_OPTION(SEARCH(target), "as for train (default: class)"),
    POLICY_OPTION(SEARCH(policy), "as for train"),
    {.name = "candidates",
     .kind = MS_OPT_TEXT,
     .arg = "LIST",
     .offset = SEARCH(candidates),
     .help = "what to choose from: parts as in --ensemble of train, with + between, as "
             "recurrent,recurrent+hybrid,linear (default: each part alone and the combinations "
             "named in docs/search.md)"},
    {.name = "split",
     .kind = MS_OPT_CHOICE,
     .arg = "HOW",
     .choices = "grouped|near|naive",
     .offset = SEARCH(split),
     .help = "as for train; inner folds keep together what the outer ones do"},
    SPLIT_FILE_OPTION(SEARCH(split_file), "the outer folds of a model, its split.jsonl"),
    FOLDS_OPTION("folds", SEARCH(folds), "outer folds, on which the chosen is judged (default: 5)"),
    FOLDS_OPTION("inner", SEARCH(inner),
                 "folds inside an outer fold's training rows, in which is chosen"),
    REPEATS_OPTION(SEARCH(repeats),
                   "deal the outer folds R times, each time from another seed (default: 1)"),
    COPIES_OPTION(SEARCH(copies), "as for train"),
    {.name = "seeds",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .offset = SEARCH(seeds),
     .min = 1,
     .max = MS_LIMIT_MODEL_MEMBERS,
     .help = "nets of each shape (default: as many as the default preset has)"},
    EPOCHS_OPTION(SEARCH(epochs), "passes over the training rows (default: 20)"),
};

static const struct ms_verb verbs[] = {
    {.name = "",
     .synopsis = "[--target WHAT] [--preset NAME]",
     .summary = "train a model on the labelled traces of the corpus and judge it",
     .options = table,
     .option_count = sizeof table / sizeof *table,
     .options_bytes = sizeof(struct ms_train_options),
     .defaults = ms_train_defaults,
     .run = ms_train_run},
    {.name = "evaluate",
     .synopsis = "MODEL",
     .summary = "judge a trained model on the labelled traces of a corpus; those that trained it, "
                "and those with the sequence of one that did, are refused",
     .options = evaluate_table,
     .option_count = sizeof evaluate_table / sizeof *evaluate_table,
     .options_bytes = sizeof(struct ms_evaluate_options),
     .min_operands = 1,
     .max_operands = 1,
     .run = ms_evaluate_run},
    {.name = "compare",
     .synopsis = "A B",
     .summary =
         "say which of two models is better, and how sure that is: each a NAME under models/ "
         "in the corpus, or NAME:BASELINE; both must have been judged on the same split",
     .min_operands = 2,
     .max_operands = 2,
     .run = ms_compare_run},
    {.name = "search",
     .synopsis = "[--target WHAT] [--folds K] [--inner K]",
     .summary = "choose what the default ensemble is made of, by nested selection: inside each "
                "outer fold's training rows, judged on rows that had no say, beside logistic "
                "regression; leaves nothing in the corpus",
     .options = search_table,
     .option_count = sizeof search_table / sizeof *search_table,
     .options_bytes = sizeof(struct ms_search_options),
     .defaults = ms_search_option_defaults,
     .run = ms_search_command},
    {.name = "onnx",
     .synopsis = "MODEL --output FILE",
     .summary = "write a trained model as an ONNX file for other runtimes: inputs tokens, lengths "
                "and n-grams, output scores; its metadata has the vocabulary, the normalisation, "
                "the classes and the threshold",
     .options = onnx_table,
     .option_count = sizeof onnx_table / sizeof *onnx_table,
     .options_bytes = sizeof(struct ms_onnx_options),
     .min_operands = 1,
     .max_operands = 1,
     .run = ms_onnx_run},
};

const struct ms_tool ms_train_tool = {
    .name = "train",
    .summary = "train a detector on the labelled traces of a corpus, and judge it",
    .description =
        "Makes a dataset of the labelled traces and deals it into 5 folds: each has its share of "
        "every class, and copies of a trace are in one. Each fold is judged by a model of "
        "the others, then the model is trained on all: confusion matrix, accuracy with its "
        "interval and the majority-class row beside it, rates by class, simpler models on the "
        "same folds. --test-share holds traces out instead: one training, not six.\n\n"
        "The model sees what the normalisation leaves of a trace. The default preset takes "
        "the first 400 calls with --fold case --collapse 1 --once yes --min-calls 5; "
        "article the last 100 with --fold case --pseudo keep.\n\n"
        "Leaves model.safetensors, predictions.jsonl, split.jsonl, metrics.json and report.html in "
        "models/NAME of the corpus. The same seed gives the same model, whatever --jobs is.",
    .verbs = verbs,
    .verb_count = sizeof verbs / sizeof *verbs,
    .examples = "# malicious or benign, with the default net\nmalseq train\n"
                "# the classes of malware, the folds dealt ten times over\n"
                "malseq train --target class --repeats 10\n"
                "# the published LSTM against one class\n"
                "malseq train --preset article --target class=Virus --batch 32\n"
                "# a model for another runtime\n"
                "malseq train --kind lstm --name net\nmalseq train onnx corpus/models/net --output "
                "model.onnx\n",
};
