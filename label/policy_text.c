/* Policies as text: the built-in ones, the reading of a file, the canonical form. */
#include "label/policy.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Rootkit gets votes, so that what it names is not taken for Trojan, but is no result here: it says
 * how a program hides, not what it does, and none of the data sets people compare with has it. */
#define CLASSES ((1u << MS_CLASS_COUNT) - 1 - (1u << MS_CLASS_ROOTKIT))
#define GRAYWARE (1u << MS_CLASS_PUA | 1u << MS_CLASS_TOOL)

static const char *const builtin_texts[] = {
    "{\"name\": \"ember2024\", \"summary\": \"5 engine groups malicious, 0 benign, scanned 90 days "
    "after first submission\", \"count\": \"groups\", \"malicious\": 5, \"benign\": 0, "
    "\"min_responding\": 10, \"min_age_days\": 90}",
    "{\"name\": \"sophos-1-5\", \"summary\": \"5 engines malicious, at most 1 benign\", "
    "\"count\": \"engines\", \"malicious\": 5, \"benign\": 1, \"min_responding\": 10}",
    "{\"name\": \"ember2017\", \"summary\": \"more than 40 engines malicious, 0 benign\", "
    "\"count\": \"engines\", \"malicious\": 41, \"benign\": 0, \"min_responding\": 10}",
    "{\"name\": \"ratio30\", \"summary\": \"30 percent of the engines malicious, 0 benign\", "
    "\"count\": \"percent\", \"malicious\": 30, \"benign\": 0, \"min_responding\": 10}",
    "{\"name\": \"malapi2019\", \"summary\": \"the rule of Mal-API-2019's authors: plurality of "
    "words in labels, for comparison\", \"rule\": \"malapi2019\", \"confirm\": 1}",
};
enum { BUILTINS = sizeof builtin_texts / sizeof *builtin_texts };

static const char *const rule_names[] = {"threshold", "malapi2019"};
static const char *const unit_names[] = {"groups", "engines", "percent"};

static enum ms_status bad(struct ms_error *err, const char *member, const char *why)
{
    char shown[64];
    return ms_error_set(err, MS_E_INPUT, "\"%s\" %s", ms_escape_text(member, shown, sizeof shown),
                        why);
}

/* ---- reading ---- */

static enum ms_status read_text(struct ms_policy *self, const json_t *value, const char *member,
                                size_t max, const char **out, struct ms_error *err)
{
    const char *text = json_string_value(value);
    if (!text || !text[0] || strlen(text) > max || strlen(text) != json_string_length(value))
        return bad(err, member, "wants a text that is not empty and not overlong");
    for (const char *p = text; *p; p++)
        if (*p < ' ' || *p > '~')
            return bad(err, member, "wants plain ASCII");
    *out = ms_arena_copy(&self->arena, text, strlen(text));
    return *out ? MS_OK : ms_error_set(err, MS_E_NOMEM, "out of memory");
}

static enum ms_status read_number(const json_t *value, const char *member, json_int_t min,
                                  json_int_t max, unsigned *out, struct ms_error *err)
{
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < min || number > max) {
        char why[80];
        (void)snprintf(why, sizeof why, "wants a whole number from %lld to %lld", (long long)min,
                       (long long)max);
        return bad(err, member, why);
    }
    *out = (unsigned)number;
    return MS_OK;
}

static enum ms_status read_choice(const json_t *value, const char *member, const char *const *names,
                                  size_t count, unsigned *out, struct ms_error *err)
{
    const char *text = json_string_value(value);
    char why[120] = "is none of";
    for (size_t i = 0; i < count; i++) {
        if (text && strcmp(text, names[i]) == 0) {
            *out = (unsigned)i;
            return MS_OK;
        }
        (void)snprintf(why + strlen(why), sizeof why - strlen(why), " %s", names[i]);
    }
    return bad(err, member, why);
}

static enum ms_status read_classes(const json_t *value, const char *member, unsigned *out,
                                   struct ms_error *err)
{
    size_t i;
    json_t *item;
    if (!json_is_array(value))
        return bad(err, member, "wants a list of classes");
    *out = 0;
    json_array_foreach(value, i, item)
    {
        const char *text = json_string_value(item);
        enum ms_class class_ = text ? ms_class_by_name(text) : MS_CLASS_NONE;
        if (class_ == MS_CLASS_NONE || strcmp(text, ms_class_name(class_)) != 0)
            return bad(err, member, "names a class that there is not");
        *out |= 1u << class_;
    }
    return MS_OK;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(a, b);
}

static bool is_engine(const json_t *value)
{
    char key[MS_ENGINE_KEY_BYTES];
    const char *name = json_string_value(value);
    if (!name || strlen(name) > MS_LIMIT_ENGINE_NAME_BYTES || strchr(name, '|'))
        return false;
    (void)ms_engine_key(name, key);
    return key[0] != '\0';
}

static enum ms_status read_engines(struct ms_policy *self, const json_t *value,
                                   struct ms_error *err)
{
    size_t count = json_array_size(value), kept = 0, i;
    json_t *item;
    if (count == 0 || count > MS_LIMIT_ENGINES)
        return bad(err, "engines", "wants a list of engines' names");
    char(*keys)[MS_ENGINE_KEY_BYTES] = ms_arena_alloc_array(&self->arena, count, sizeof *keys);
    if (!keys)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    json_array_foreach(value, i, item)
    {
        if (!is_engine(item))
            return bad(err, "engines", "wants a list of engines' names");
        (void)ms_engine_key(json_string_value(item), keys[i]);
    }
    qsort(keys, count, sizeof *keys, compare_keys);
    for (i = 0; i < count; i++)
        if (kept == 0 || strcmp(keys[kept - 1], keys[i]) != 0)
            memmove(keys[kept++], keys[i], sizeof *keys);
    self->who.engines = (const char(*)[MS_ENGINE_KEY_BYTES])keys;
    self->who.engine_count = kept;
    return MS_OK;
}

/* One group: a list of names, or {"engines": list, "from": day, "until": day}. */
static enum ms_status read_group(struct ms_policy *self, const json_t *value,
                                 struct ms_group_row *row, struct ms_error *err)
{
    static const char wants[] =
        "wants lists of engines' names, or objects of \"engines\", \"from\" "
        "and \"until\"";
    const json_t *list = json_is_object(value) ? json_object_get(value, "engines") : value;
    const json_t *from = json_object_get(value, "from"), *until = json_object_get(value, "until");
    size_t members = 1u + (from ? 1u : 0u) + (until ? 1u : 0u), i;
    json_t *item;
    struct ms_buf names;
    if (!json_is_array(list) || json_array_size(list) > MS_LIMIT_GROUP_ENGINES ||
        (json_is_object(value) && json_object_size(value) != members) ||
        (from && !json_is_string(from)) || (until && !json_is_string(until)))
        return bad(err, "groups", wants);
    ms_buf_init(&names, MS_LIMIT_POLICY_BYTES);
    enum ms_status status = MS_OK;
    json_array_foreach(list, i, item)
    {
        if (!is_engine(item))
            status = bad(err, "groups", wants);
        else
            (void)ms_buf_printf(&names, "%s|", json_string_value(item));
        if (status != MS_OK)
            break;
    }
    const char *days[2] = {json_string_value(from), json_string_value(until)};
    if (status == MS_OK) {
        row->engines = ms_arena_copy(&self->arena, ms_buf_text(&names), names.len);
        row->from = days[0] ? ms_arena_copy(&self->arena, days[0], strlen(days[0])) : NULL;
        row->until = days[1] ? ms_arena_copy(&self->arena, days[1], strlen(days[1])) : NULL;
        if (names.failed || !row->engines || (days[0] && !row->from) || (days[1] && !row->until))
            status = ms_error_set(err, MS_E_NOMEM, "out of memory");
    }
    ms_buf_release(&names);
    return status;
}

static enum ms_status read_groups(struct ms_policy *self, const json_t *value, struct ms_error *err)
{
    size_t count = json_array_size(value), i;
    json_t *item;
    if (!json_is_array(value) || count > MS_LIMIT_GROUP_ENGINES)
        return bad(err, "groups", "wants a list of groups");
    struct ms_group_row *rows = ms_arena_alloc_array(&self->arena, count + 1, sizeof *rows);
    if (!rows)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    json_array_foreach(value, i, item)
    {
        enum ms_status status = read_group(self, item, &rows[i], err);
        if (status != MS_OK)
            return status;
    }
    enum ms_status status = ms_groups_new(rows, count, &self->groups, err);
    if (status != MS_OK)
        ms_error_prepend(err, "\"groups\"");
    else
        self->who.groups = self->groups;
    return status;
}

/* Labels are stored under the name, "@DATE" behind it where only what was known then counts, and
 * "dataset:" in front where a data set gave them. */
static enum ms_status read_name(struct ms_policy *self, const json_t *value, struct ms_error *err)
{
    enum ms_status status = read_text(self, value, "name", 40, &self->name, err);
    if (status == MS_OK &&
        strspn(self->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") !=
            strlen(self->name))
        return bad(err, "name", "wants letters, digits, '.', '_' and '-'");
    return status;
}

static enum ms_status read_member(struct ms_policy *self, const char *name, const json_t *value,
                                  struct ms_error *err)
{
    unsigned choice = 0;
    enum ms_status status = MS_OK;
    if (strcmp(name, "name") == 0)
        return read_name(self, value, err);
    if (strcmp(name, "summary") == 0)
        return read_text(self, value, name, 300, &self->summary, err);
    if (strcmp(name, "rule") == 0) {
        status = read_choice(value, name, rule_names, 2, &choice, err);
        self->rule = (enum ms_policy_rule)choice;
        return status;
    }
    if (strcmp(name, "confirm") == 0)
        return read_number(value, name, 1, 10, &self->confirm, err);
    if (strcmp(name, "count") == 0) {
        status = read_choice(value, name, unit_names, 3, &choice, err);
        self->unit = (enum ms_policy_unit)choice;
        return status;
    }
    if (strcmp(name, "malicious") == 0)
        return read_number(value, name, 1, MS_LIMIT_ENGINES, &self->min_malicious, err);
    if (strcmp(name, "benign") == 0)
        return read_number(value, name, 0, MS_LIMIT_ENGINES, &self->max_benign, err);
    if (strcmp(name, "min_responding") == 0)
        return read_number(value, name, 0, MS_LIMIT_ENGINES, &self->min_responding, err);
    if (strcmp(name, "min_age_days") == 0)
        return read_number(value, name, 0, 3650, &self->min_age_days, err);
    if (strcmp(name, "engines") == 0)
        return read_engines(self, value, err);
    if (strcmp(name, "groups") == 0)
        return read_groups(self, value, err);
    if (strcmp(name, "grayware") == 0)
        return read_classes(value, name, &self->grayware, err);
    if (strcmp(name, "classes") == 0)
        return read_classes(value, name, &self->classes, err);
    return bad(err, name, "is no member of a policy");
}

static enum ms_status check(const struct ms_policy *self, const json_t *root, struct ms_error *err)
{
    static const char *const counting[] = {"count",          "malicious",    "benign",
                                           "min_responding", "min_age_days", "engines",
                                           "groups",         "grayware",     "classes"};
    if (!self->name)
        return bad(err, "name", "is missing");
    for (size_t i = 0; i < sizeof counting / sizeof *counting; i++)
        if (self->rule == MS_RULE_MALAPI2019 && json_object_get(root, counting[i]))
            return bad(err, counting[i], "means nothing to the rule malapi2019");
    if (self->rule == MS_RULE_MALAPI2019)
        return MS_OK;
    if (self->min_malicious == 0)
        return bad(err, "malicious", "is missing");
    if (self->max_benign >= self->min_malicious)
        return bad(err, "benign", "must be below \"malicious\"");
    if (self->unit == MS_UNIT_PERCENT && self->min_malicious > 100)
        return bad(err, "malicious", "is more than 100 percent");
    return MS_OK;
}

static enum ms_status read_all(struct ms_policy *self, json_t *root, struct ms_error *err)
{
    const char *name;
    json_t *value;
    if (!json_is_object(root))
        return ms_error_set(err, MS_E_INPUT, "a policy is a JSON object");
    json_object_foreach(root, name, value)
    {
        enum ms_status status = read_member(self, name, value, err);
        if (status != MS_OK)
            return status;
    }
    return check(self, root, err);
}

/* ---- the canonical form ---- */

static json_t *class_list(unsigned classes)
{
    json_t *list = json_array();
    for (unsigned i = 0; list && i < MS_CLASS_COUNT; i++)
        if (classes & 1u << i)
            (void)json_array_append_new(list, json_string(ms_class_name((enum ms_class)i)));
    return list;
}

static json_t *engine_list(const struct ms_policy *self)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < self->who.engine_count; i++)
        (void)json_array_append_new(list, json_string(self->who.engines[i]));
    return list;
}

/* Every member that has a meaning, defaults filled in, in this order and without blanks. Groups
 * stand as they were written: their order says who leads. */
static enum ms_status canonise(struct ms_policy *self, json_t *root, struct ms_error *err)
{
    json_t *out = json_pack("{s:s,s:s,s:s,s:i}", "name", self->name, "summary", self->summary,
                            "rule", rule_names[self->rule], "confirm", (int)self->confirm);
    if (out && self->rule == MS_RULE_THRESHOLD) {
        json_t *more =
            json_pack("{s:s,s:i,s:i,s:i,s:i,s:o,s:o}", "count", unit_names[self->unit], "malicious",
                      (int)self->min_malicious, "benign", (int)self->max_benign, "min_responding",
                      (int)self->min_responding, "min_age_days", (int)self->min_age_days,
                      "grayware", class_list(self->grayware), "classes", class_list(self->classes));
        if (!more || json_object_update(out, more) != 0)
            json_decref(out), out = NULL;
        json_decref(more);
    }
    if (out && self->who.engines)
        (void)json_object_set_new(out, "engines", engine_list(self));
    if (out && self->groups)
        (void)json_object_set(out, "groups", json_object_get(root, "groups"));
    char *text = out ? json_dumps(out, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    json_decref(out);
    self->text = text ? ms_arena_copy(&self->arena, text, strlen(text)) : NULL;
    free(text);
    if (!self->text)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    return ms_hash_sha256(self->text, strlen(self->text), self->digest) == MS_OK
               ? MS_OK
               : ms_error_set(err, MS_E_BUG, "the hash library failed");
}

static enum ms_status parse(struct ms_span text, struct ms_policy **out, struct ms_error *err)
{
    json_error_t why;
    struct ms_policy *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    *self = (struct ms_policy){.summary = "",
                               .confirm = 2,
                               .grayware = GRAYWARE,
                               .classes = CLASSES,
                               .min_responding = 10,
                               .who = {.groups = ms_groups_builtin()}};
    ms_arena_init(&self->arena, (size_t)16 << 20);
    enum ms_status status = MS_OK;
    json_t *root = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &why);
    if (!root)
        status =
            ms_error_set(err, MS_E_INPUT, "not JSON (line %d, column %d)", why.line, why.column);
    if (status == MS_OK)
        status = read_all(self, root, err);
    if (status == MS_OK)
        status = canonise(self, root, err);
    json_decref(root);
    if (status == MS_OK)
        *out = self;
    else
        ms_policy_free(self);
    return status;
}

void ms_policy_free(const struct ms_policy *policy)
{
    union {
        const struct ms_policy *given;
        struct ms_policy *own;
    } self = {policy};
    if (!policy || policy->builtin)
        return;
    ms_groups_free(self.own->groups);
    ms_arena_release(&self.own->arena);
    free(self.own);
}

/* ---- built-in ones, files ---- */

static const struct ms_policy *builtins[BUILTINS];

static void parse_builtins(void)
{
    for (size_t i = 0; i < BUILTINS; i++) {
        struct ms_policy *policy = NULL;
        if (parse(ms_span_of(builtin_texts[i], strlen(builtin_texts[i])), &policy, NULL) != MS_OK)
            abort(); /* no memory at the very start, or a text that no test has seen */
        policy->builtin = true;
        builtins[i] = policy;
    }
}

const struct ms_policy *ms_policy_builtin(size_t i)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, parse_builtins);
    return i < BUILTINS ? builtins[i] : NULL;
}

const struct ms_policy *ms_policy_find(const char *name)
{
    const struct ms_policy *policy;
    for (size_t i = 0; (policy = ms_policy_builtin(i)) != NULL; i++)
        if (strcmp(policy->name, name) == 0)
            return policy;
    return NULL;
}

enum ms_status ms_policy_parse(struct ms_span text, struct ms_policy **out, struct ms_error *err)
{
    struct ms_policy *self = NULL;
    enum ms_status status = parse(text, &self, err);
    const struct ms_policy *same = status == MS_OK ? ms_policy_find(self->name) : NULL;
    if (same && memcmp(same->digest, self->digest, sizeof self->digest) != 0) {
        status = ms_error_set(err, MS_E_INPUT,
                              "\"name\" %s is that of a built-in policy with another content; "
                              "call it otherwise",
                              same->name);
        ms_policy_free(self);
    }
    if (status == MS_OK)
        *out = self;
    return status;
}

static enum ms_status open_file(const char *path, const struct ms_policy **out,
                                struct ms_error *err)
{
    struct ms_policy *policy = NULL;
    struct ms_buf text;
    ms_buf_init(&text, MS_LIMIT_POLICY_BYTES);
    enum ms_status status = ms_file_read(path, &text, err);
    if (status == MS_OK) {
        char shown[300];
        status = ms_policy_parse(ms_span_of(text.data, text.len), &policy, err);
        if (status != MS_OK)
            ms_error_prepend(err, "policy %s", ms_escape_text(path, shown, sizeof shown));
    }
    ms_buf_release(&text);
    if (status == MS_OK)
        *out = policy;
    return status;
}

enum ms_status ms_policy_open(const char *spec, const struct ms_policy **out, struct ms_error *err)
{
    size_t n = strlen(spec);
    char shown[64];
    if (strchr(spec, '/') || (n > 5 && strcmp(spec + n - 5, ".json") == 0))
        return open_file(spec, out, err);
    *out = ms_policy_find(spec);
    return *out ? MS_OK
                : ms_error_set(err, MS_E_USAGE,
                               "no policy '%s'; there are ember2024, sophos-1-5, ember2017, "
                               "ratio30, malapi2019, and files (a name with '/' or .json)",
                               ms_escape_text(spec, shown, sizeof shown));
}
