/* The keys of nightly.conf, and the looking up of values by them. What they mean to a person is in
 * docs/nightly.md and in the example file, which a test holds against this table. */
#include "malseq/nightly.h"

#include <string.h>

#define OWN .own = true
#define LIST .list = true
#define KEY(section, key, what, ...)                 \
    {                                                \
        section, key, MALSEQ_KEY_##what, __VA_ARGS__ \
    }
#define PLAIN(section, key, what)                      \
    {                                                  \
        section, key, MALSEQ_KEY_##what, .list = false \
    }
#define STAGE_KEYS(stage) \
    KEY(stage, "enabled", FLAG, OWN), KEY(stage, "share", NUMBER, OWN, .max = 1000)

static const struct malseq_key keys[] = {
    KEY("corpus", "dir", PATH, OWN),
    KEY("corpus", "jobs", NUMBER, OWN, .min = 1, .max = 1024),
    KEY("corpus", "seed", NUMBER, OWN),

    KEY("time", "budget", DURATION, OWN),
    KEY("time", "grace", DURATION, OWN),
    KEY("time", "wait", DURATION, OWN),

    STAGE_KEYS("collect"),
    PLAIN("collect", "github-list", PATH),
    PLAIN("collect", "url-list", PATH),
    KEY("collect", "dir", PATH, LIST),
    PLAIN("collect", "github-token", SECRET),
    PLAIN("collect", "github-url", TEXT),
    KEY("collect", "git-host", TEXT, LIST),
    PLAIN("collect", "history", FLAG),
    PLAIN("collect", "releases", FLAG),
    PLAIN("collect", "recurse-sfx", FLAG),
    PLAIN("collect", "recheck", FLAG),
    PLAIN("collect", "private", FLAG),
    KEY("collect", "claim", CHOICE, .choices = "malware|benign|unknown"),
    PLAIN("collect", "password-list", PATH),
    PLAIN("collect", "max-store", SIZE),
    PLAIN("collect", "keep-free", SIZE),
    KEY("collect", "max-members", NUMBER, .min = 1),
    PLAIN("collect", "max-unpacked", SIZE),
    PLAIN("collect", "max-member", SIZE),
    KEY("collect", "max-depth", NUMBER, .min = 1),
    KEY("collect", "max-time", NUMBER, .min = 1),
    PLAIN("collect", "max-file", SIZE),

    STAGE_KEYS("label"),
    PLAIN("label", "vt-key", SECRET),
    PLAIN("label", "vt-url", TEXT),
    PLAIN("label", "vt-user", TEXT),
    KEY("label", "budget", NUMBER, .min = 1),
    PLAIN("label", "until", TEXT),
    PLAIN("label", "policy", TEXT),
    PLAIN("label", "avclass-data", PATH),
    KEY("label", "import", PATH, LIST, OWN),

    STAGE_KEYS("extract"),
    KEY("extract", "cuckoo", SERVER, LIST),
    PLAIN("extract", "token", SECRET),
    KEY("extract", "sandbox", CHOICE, .choices = "auto|cuckoo|cape|drakvuf"),
    PLAIN("extract", "route", TEXT),
    PLAIN("extract", "package", TEXT),
    PLAIN("extract", "machine", TEXT),
    PLAIN("extract", "tags", TEXT),
    KEY("extract", "timeout", NUMBER, .min = 1),
    KEY("extract", "in-flight", NUMBER, .min = 1),
    KEY("extract", "max-pending", NUMBER, .min = 0),
    KEY("extract", "attempts", NUMBER, .min = 1),
    KEY("extract", "min-calls", NUMBER, .min = 0),
    PLAIN("extract", "discard-reports", FLAG),
    PLAIN("extract", "poll", REAL),
    KEY("extract", "grace", NUMBER, .min = 1),
    KEY("extract", "request-timeout", NUMBER, .min = 1),
    KEY("extract", "queue-deadline", NUMBER, .min = 1),
    KEY("extract", "run-deadline", NUMBER, .min = 1),
    KEY("extract", "process-deadline", NUMBER, .min = 1),
    KEY("extract", "import", PATH, LIST, OWN),
    KEY("extract", "retry", CHOICE, LIST, OWN,
        .choices = "failed|lost|refused|report_missing|report_invalid|no_behavior|no_calls|"
                   "too_few_calls"),
    KEY("extract", "opcodes", FLAG, OWN),

    STAGE_KEYS("train"),
    KEY("train", "min-samples", NUMBER, OWN),
    PLAIN("train", "name", TEXT),
    KEY("train", "preset", CHOICE, .choices = "default|article"),
    PLAIN("train", "target", TEXT),
    KEY("train", "kind", CHOICE, .choices = "lstm|gru|ensemble|linear|boosted"),
    KEY("train", "members", NUMBER, .min = 1),
    PLAIN("train", "ensemble", TEXT),
    KEY("train", "wide", CHOICE, .choices = "yes|no"),
    KEY("train", "baselines", CHOICE, .choices = "yes|no"),
    KEY("train", "sequence", CHOICE, .choices = "api|opcode"),
    KEY("train", "static", CHOICE, .choices = "joined|alone"),
    PLAIN("train", "policy", TEXT),
    KEY("train", "split", CHOICE, .choices = "grouped|near|time|naive"),
    PLAIN("train", "split-date", TEXT),
    PLAIN("train", "test-ratio", REAL),
    PLAIN("train", "test-share", REAL),
    KEY("train", "copies", CHOICE, .choices = "keep|one"),
    KEY("train", "folds", NUMBER, .min = 2),
    KEY("train", "repeats", NUMBER, .min = 1),
    KEY("train", "epochs", NUMBER, .min = 1),
    KEY("train", "batch", NUMBER, .min = 1),
    PLAIN("train", "lr", REAL),
    KEY("train", "hidden", NUMBER, .min = 1),
    KEY("train", "class-weights", CHOICE, .choices = "none|balanced"),
    KEY("train", "patience", NUMBER, .min = 0),
    KEY("train", "average", CHOICE, .choices = "yes|no"),
    PLAIN("train", "cost", REAL),
    KEY("train", "rounds", NUMBER, .min = 1),
    KEY("train", "depth", NUMBER, .min = 1),
    PLAIN("train", "calibrate", TEXT),
    PLAIN("train", "target-fpr", REAL),
    PLAIN("train", "unknown-band", TEXT),
    PLAIN("train", "checkpoint-every", TEXT),
    KEY("train", "order", CHOICE, .choices = "process|time"),
    PLAIN("train", "fold", TEXT),
    KEY("train", "pseudo", CHOICE, .choices = "drop|keep"),
    KEY("train", "repeated", CHOICE, .choices = "expand|entry"),
    KEY("train", "collapse", NUMBER, .min = 0),
    KEY("train", "loops", NUMBER, .min = 0),
    KEY("train", "once", CHOICE, .choices = "yes|no"),
    KEY("train", "cut", CHOICE, .choices = "head|tail|middle"),
    KEY("train", "max-calls", NUMBER, .min = 0),
    KEY("train", "min-calls", NUMBER, .min = 0),

    STAGE_KEYS("audit"),
    PLAIN("audit", "policy", TEXT),
    PLAIN("audit", "near", REAL),

    KEY("report", "html", PATH, OWN),
    KEY("report", "json", PATH, OWN),
    KEY("report", "keep-nights", NUMBER, OWN, .min = 2, .max = 100000),
    KEY("report", "keep-logs", NUMBER, OWN, .max = 100000),
};

const struct malseq_key *malseq_nightly_keys(size_t *count)
{
    *count = sizeof keys / sizeof *keys;
    return keys;
}

static const char *const stage_names[MALSEQ_STAGES] = {"collect", "label", "extract", "train",
                                                       "audit"};

const char *malseq_stage_name(enum malseq_stage stage)
{
    return stage_names[stage];
}

bool malseq_stage_parse(const char *name, enum malseq_stage *out)
{
    for (int i = 0; i < MALSEQ_STAGES; i++)
        if (strcmp(stage_names[i], name) == 0) {
            *out = (enum malseq_stage)i;
            return true;
        }
    return false;
}

/* ---- looking ---- */

const struct malseq_value *malseq_section_find(const struct malseq_section *self, const char *key)
{
    for (const struct malseq_value *v = self->values; v; v = v->next)
        if (strcmp(v->key->name, key) == 0)
            return v;
    return NULL;
}

bool malseq_section_is_off(const struct malseq_section *self)
{
    const struct malseq_value *enabled = malseq_section_find(self, "enabled");
    return enabled && !enabled->number;
}

const struct malseq_value *malseq_config_find(const struct malseq_nightly_config *self,
                                              const char *kind, const char *key)
{
    for (const struct malseq_section *s = self->sections; s; s = s->next)
        if (strcmp(s->kind, kind) == 0 && !*s->name)
            return malseq_section_find(s, key);
    return NULL;
}

const char *malseq_config_text(const struct malseq_nightly_config *self, const char *kind,
                               const char *key, const char *fallback)
{
    const struct malseq_value *value = malseq_config_find(self, kind, key);
    return value ? value->text : fallback;
}

uint64_t malseq_config_number(const struct malseq_nightly_config *self, const char *kind,
                              const char *key, uint64_t fallback)
{
    const struct malseq_value *value = malseq_config_find(self, kind, key);
    return value ? value->number : fallback;
}
