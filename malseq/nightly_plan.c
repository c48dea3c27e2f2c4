/* From the configuration to the command lines of a night. Runs nothing. */
#include "malseq/nightly.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

/* Shares of the whole time, where the file says nothing. A stage that ends early leaves its time to
 * those behind it. */
static const uint64_t default_share[MALSEQ_STAGES] = {25, 15, 40, 15, 5};

struct planning {
    const struct malseq_nightly_config *config;
    const char *corpus;
    const struct ms_common *common;
    struct malseq_plan *plan;
    struct ms_error *err;
    enum ms_status status;
};

static char *format(struct planning *self, const char *fmt, ...) MS_PRINTF(2, 3);

static char *format(struct planning *self, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    char *copy = n < 0 ? NULL : ms_arena_copy(self->config->memory, text, strlen(text));
    if (!copy)
        self->status = ms_error_set(self->err, MS_E_NOMEM, "out of memory");
    return copy;
}

static void push(struct planning *self, struct malseq_step *step, const char *word)
{
    if (step->word_count + 1 >= MALSEQ_STEP_WORDS)
        self->status = ms_error_set(self->err, MS_E_LIMIT, "%s: more than %d words", step->name,
                                    MALSEQ_STEP_WORDS - 1);
    else if (word)
        step->words[step->word_count++] = word;
}

static void push_option(struct planning *self, struct malseq_step *step, const char *name,
                        const char *value)
{
    char *word = format(self, "--%s", name);
    push(self, step, word);
    push(self, step, value);
}

/* All that is an option of the tool, in the order of the file. */
static void push_values(struct planning *self, struct malseq_step *step,
                        const struct malseq_section *section)
{
    for (const struct malseq_value *v = section->values; v; v = v->next) {
        if (v->key->own)
            continue;
        if (v->key->kind != MALSEQ_KEY_FLAG)
            push_option(self, step, v->key->name, v->text);
        else if (v->number)
            push_option(self, step, v->key->name, NULL);
    }
}

static void push_list(struct planning *self, struct malseq_step *step,
                      const struct malseq_section *section, const char *key)
{
    /* A path that begins with '-' is none of a command line. */
    push(self, step, "--");
    for (const struct malseq_value *v = section->values; v; v = v->next)
        if (strcmp(v->key->name, key) == 0)
            push(self, step, v->text);
}

static struct malseq_step *begin(struct planning *self, enum malseq_stage stage,
                                 const struct malseq_section *section, const char *tool,
                                 const char *verb)
{
    struct malseq_plan *plan = self->plan;
    const char *name = section->name;
    if (plan->count == MALSEQ_STEPS_MAX) {
        self->status = ms_error_set(self->err, MS_E_LIMIT, "%s: more than %d steps",
                                    self->config->path, MALSEQ_STEPS_MAX);
        return NULL;
    }
    struct malseq_step *step = &plan->steps[plan->count++];
    *step = (struct malseq_step){.stage = stage, .tool = tool, .code = -1};
    const char *shown = strcmp(tool, "malseq") == 0 ? verb : tool;
    bool two = verb && shown != verb;
    step->name =
        format(self, "%s%s%s%s%s", shown, two ? " " : "", two ? verb : "", *name ? " " : "", name);
    push(self, step, tool);
    push(self, step, verb);
    push_option(self, step, "corpus", self->corpus);
    push_option(self, step, "progress", "never");
    push(self, step, "--json");
    if (self->common->no_confine)
        push(self, step, "--no-confine");
    uint64_t jobs = malseq_config_number(self->config, "corpus", "jobs", 0);
    uint64_t seed = malseq_config_number(self->config, "corpus", "seed", self->common->seed);
    if (jobs)
        push_option(self, step, "jobs", format(self, "%llu", (unsigned long long)jobs));
    if (seed != 1)
        push_option(self, step, "seed", format(self, "%llu", (unsigned long long)seed));
    return step;
}

static void plan_collect(struct planning *self, const struct malseq_section *s)
{
    if (!malseq_section_find(s, "github-list") && !malseq_section_find(s, "url-list") &&
        !malseq_section_find(s, "dir"))
        return;
    struct malseq_step *step = begin(self, MALSEQ_STAGE_COLLECT, s, "collect", NULL);
    if (step)
        push_values(self, step, s);
}

static void plan_label(struct planning *self, const struct malseq_section *s)
{
    struct malseq_step *step = NULL;
    if (malseq_section_find(s, "import")) {
        step = begin(self, MALSEQ_STAGE_LABEL, s, "label", "import");
        const struct malseq_value *policy = malseq_section_find(s, "policy");
        if (step && policy)
            push_option(self, step, "policy", policy->text);
        if (step)
            push_list(self, step, s, "import");
    }
    if (!malseq_section_find(s, "vt-key"))
        return;
    step = begin(self, MALSEQ_STAGE_LABEL, s, "label", NULL);
    if (step)
        push_values(self, step, s);
}

static void plan_extract(struct planning *self, const struct malseq_section *s)
{
    const struct malseq_value *opcodes = malseq_section_find(s, "opcodes");
    struct malseq_step *step = NULL;
    if (malseq_section_find(s, "import")) {
        step = begin(self, MALSEQ_STAGE_EXTRACT, s, "extract", "import");
        const struct malseq_value *least = malseq_section_find(s, "min-calls");
        if (step && least)
            push_option(self, step, "min-calls", least->text);
        if (step)
            push_list(self, step, s, "import");
    }
    bool servers = malseq_section_find(s, "cuckoo");
    for (const struct malseq_value *v = s->values; v && servers; v = v->next)
        if (strcmp(v->key->name, "retry") == 0) {
            step = begin(self, MALSEQ_STAGE_EXTRACT, s, "extract", "retry");
            if (step)
                push_option(self, step, "state", v->text);
        }
    if (servers) {
        step = begin(self, MALSEQ_STAGE_EXTRACT, s, "extract", NULL);
        if (step)
            push_values(self, step, s);
    }
    if (opcodes && opcodes->number)
        (void)begin(self, MALSEQ_STAGE_EXTRACT, s, "extract", "opcodes");
}

static void plan_train(struct planning *self, const struct malseq_section *s)
{
    const struct malseq_value *name = malseq_section_find(s, "name");
    const struct malseq_value *least = malseq_section_find(s, "min-samples");
    struct malseq_step *step = begin(self, MALSEQ_STAGE_TRAIN, s, "train", NULL);
    if (!step)
        return;
    step->kind = MALSEQ_STEP_TRAIN;
    step->min_samples = least ? least->number : 40;
    step->model = name ? name->text : *s->name ? s->name : "nightly";
    if (!name)
        push_option(self, step, "name", step->model);
    push_values(self, step, s);
}

static void plan_audit(struct planning *self, const struct malseq_section *s)
{
    struct malseq_step *step = begin(self, MALSEQ_STAGE_AUDIT, s, "malseq", "audit");
    if (!step)
        return;
    step->kind = MALSEQ_STEP_AUDIT;
    push_values(self, step, s);
}

static void plan_section(struct planning *self, enum malseq_stage stage,
                         const struct malseq_section *section)
{
    static void (*const makers[MALSEQ_STAGES])(struct planning *, const struct malseq_section *) = {
        plan_collect, plan_label, plan_extract, plan_train, plan_audit};
    static const char *const wants[MALSEQ_STAGES] = {"github-list, url-list or dir",
                                                     "vt-key or import",
                                                     "cuckoo, import or opcodes = yes", "", ""};
    size_t count = self->plan->count;
    char path[128];
    if (malseq_section_is_off(section))
        return;
    makers[stage](self, section);
    if (self->status == MS_OK && self->plan->count == count)
        self->status = ms_error_set(
            self->err, MS_E_INPUT, "%s:%u: [%s%s%s] has nothing to do: give %s, or enabled = no",
            ms_escape_text(self->config->path, path, sizeof path), section->line, section->kind,
            *section->name ? " " : "", section->name, wants[stage]);
}

/* Two trainings of one name would replace each other's model each night. */
static void check_models(struct planning *self)
{
    const struct malseq_plan *plan = self->plan;
    for (size_t i = 0; i < plan->count && self->status == MS_OK; i++)
        for (size_t k = i + 1; k < plan->count && plan->steps[i].model; k++)
            if (plan->steps[k].model && strcmp(plan->steps[i].model, plan->steps[k].model) == 0)
                self->status =
                    ms_error_set(self->err, MS_E_INPUT,
                                 "%s: '%s' and '%s' would both train the model '%.60s': give them "
                                 "names, as in [train NAME]",
                                 self->config->path, plan->steps[i].name, plan->steps[k].name,
                                 plan->steps[i].model);
}

enum ms_status malseq_plan_make(const struct malseq_nightly_config *config, const char *corpus,
                                const struct ms_common *common, unsigned wanted,
                                struct malseq_plan *out, struct ms_error *err)
{
    struct planning self = {config, corpus, common, out, err, MS_OK};
    *out = (struct malseq_plan){.count = 0};
    for (int stage = 0; stage < MALSEQ_STAGES; stage++) {
        const char *kind = malseq_stage_name((enum malseq_stage)stage);
        size_t before = out->count;
        out->share[stage] = malseq_config_number(config, kind, "share", default_share[stage]);
        for (const struct malseq_section *s = config->sections; s && self.status == MS_OK;
             s = s->next)
            if (strcmp(s->kind, kind) == 0 && (wanted & 1u << stage))
                plan_section(&self, (enum malseq_stage)stage, s);
        out->off[stage] = out->count == before;
    }
    check_models(&self);
    if (self.status == MS_OK && out->count == 0)
        self.status =
            ms_error_set(err, MS_E_INPUT, "%s: there is nothing to do: no stage %s", config->path,
                         wanted == ~0u ? "is on" : "of those asked for is on");
    return self.status;
}

void malseq_plan_release(struct malseq_plan *self)
{
    for (size_t i = 0; i < self->count; i++) {
        json_decref(self->steps[i].counts);
        json_decref(self->steps[i].figures);
    }
    self->count = 0;
}

void malseq_step_show(const struct malseq_step *self, struct ms_buf *out)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_=./:,@+%";
    if (strcmp(self->tool, "malseq") != 0)
        (void)ms_buf_append_text(out, "malseq");
    for (size_t i = 0; i < self->word_count; i++) {
        const char *word = self->words[i];
        bool quote = *word == '\0' || word[strspn(word, plain)] != '\0';
        (void)ms_buf_append_text(out, out->len ? " " : "");
        (void)ms_buf_append_text(out, quote ? "'" : "");
        for (const char *c = word; *c; c++)
            if (*c == '\'')
                (void)ms_buf_append_text(out, "'\\''");
            else
                (void)ms_buf_append_byte(out, (uint8_t)*c);
        (void)ms_buf_append_text(out, quote ? "'" : "");
    }
}
