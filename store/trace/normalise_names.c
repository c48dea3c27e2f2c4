/* The normaliser's part that concerns names: folding, pseudo-calls, and the options as text. */
#include "base/limits.h"
#include "base/log.h"
#include "store/trace/normalise.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_lower_or_digit(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* The name's length without its suffix. */
static size_t without_suffix(struct ms_span name)
{
    static const char *const suffixes[] = {"ExA", "ExW", "_A", "_W", "Ex", "A", "W"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        size_t n = strlen(suffixes[i]);
        if (name.len > n && memcmp(name.data + name.len - n, suffixes[i], n) == 0 &&
            is_lower_or_digit(name.data[name.len - n - 1]))
            return name.len - n;
    }
    return name.len;
}

/* Zw and a capital, or zw and a letter as lists without capitals have it. */
static bool is_zw(struct ms_span name)
{
    if (name.len < 3 || name.data[1] != 'w')
        return false;
    uint8_t c = name.data[2];
    return (name.data[0] == 'Z' && c >= 'A' && c <= 'Z') ||
           (name.data[0] == 'z' && c >= 'a' && c <= 'z');
}

size_t ms_fold_name(const struct ms_normal_options *options, struct ms_span name, uint8_t *out)
{
    size_t n = options->fold_suffix ? without_suffix(name) : name.len;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = name.data[i];
        out[i] = options->fold_case && c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
    }
    if (options->fold_native && is_zw(name) && n > 2) {
        out[0] = out[0] == 'Z' ? 'N' : 'n';
        out[1] = 't';
    }
    return n;
}

struct folded {
    uint8_t *name;
    size_t len;
    uint32_t id;
};

static int compare_folded(const void *left, const void *right)
{
    const struct folded *a = left, *b = right;
    size_t n = a->len < b->len ? a->len : b->len;
    int order = n ? memcmp(a->name, b->name, n) : 0;
    if (order)
        return order;
    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

static bool same_name(const struct folded *a, const struct folded *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->name, b->name, a->len) == 0);
}

enum ms_status ms_normal_apis_fill(const struct ms_normal_options *options,
                                   const struct ms_span *names, size_t count, uint32_t *fold,
                                   bool *pseudo, struct ms_error *err)
{
    size_t bytes = 1, used = 0;
    for (size_t i = 0; i < count; i++)
        bytes += names[i].len;
    struct folded *all = calloc(count ? count : 1, sizeof *all);
    uint8_t *text = malloc(bytes), *at = text;
    if (!all || !text) {
        free(all);
        free(text);
        return ms_error_set(err, MS_E_NOMEM, "no memory for API names");
    }
    for (size_t i = 0; i < count; i++) {
        struct ms_span name = names[i];
        fold[i] = (uint32_t)i;
        pseudo[i] = name.len == 0 || (!options->keep_pseudo && name.len >= 2 &&
                                      name.data[0] == '_' && name.data[1] == '_');
        if (!name.data)
            continue;
        all[used] = (struct folded){at, ms_fold_name(options, name, at), (uint32_t)i};
        at += all[used++].len;
    }
    if (used)
        qsort(all, used, sizeof *all, compare_folded);
    for (size_t i = 1; i < used; i++)
        if (same_name(&all[i - 1], &all[i]))
            fold[all[i].id] = fold[all[i - 1].id];
    free(all);
    free(text);
    return MS_OK;
}

static const char *const fold_words[] = {
    "none",   "case",        "suffix",        "case+suffix",
    "native", "case+native", "suffix+native", "case+suffix+native"};
enum { FOLD_WORDS = sizeof fold_words / sizeof *fold_words };
static const char *const cut_words[] = {"head", "tail", "middle"};

void ms_normal_options_text(const struct ms_normal_options *options, char out[MS_NORMAL_TEXT_BYTES])
{
    unsigned fold = (options->fold_case ? 1U : 0U) + (options->fold_suffix ? 2U : 0U) +
                    (options->fold_native ? 4U : 0U);
    char loops[24] = "";
    if (options->loops > 1)
        (void)snprintf(loops, sizeof loops, " loops=%" PRIu32, options->loops);
    (void)snprintf(out, MS_NORMAL_TEXT_BYTES,
                   "normalise-%d fold=%s%s%s repeated=%s collapse=%" PRIu32
                   "%s once=%s cut=%s:%" PRIu32,
                   MS_NORMAL_VERSION, fold_words[fold], options->keep_pseudo ? " pseudo=keep" : "",
                   options->order == MS_ORDER_TIME ? " order=time" : "",
                   options->expand ? "expand" : "entry", options->collapse, loops,
                   options->once ? "yes" : "no", cut_words[options->cut], options->length);
}

/* Takes `word` from the front of *text. */
static bool take_word(const char **text, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(*text, word, n) != 0)
        return false;
    *text += n;
    return true;
}

static bool take_u32(const char **text, uint32_t *out)
{
    uint64_t value = 0;
    const char *at = *text;
    for (; *at >= '0' && *at <= '9' && value <= UINT32_MAX; at++)
        value = value * 10 + (uint64_t)(*at - '0');
    if (at == *text || value > UINT32_MAX)
        return false;
    *text = at;
    *out = (uint32_t)value;
    return true;
}

/* One of n words up to a blank, a colon or the end. */
static bool take_choice(const char **text, const char *const *words, size_t n, unsigned *out)
{
    size_t len = strcspn(*text, " :");
    for (unsigned i = 0; i < n; i++) {
        if (strlen(words[i]) == len && strncmp(*text, words[i], len) == 0) {
            *text += len;
            *out = i;
            return true;
        }
    }
    return false;
}

static bool take_loops(const char **text, uint32_t *loops)
{
    return !take_word(text, " loops=") ||
           (take_u32(text, loops) && *loops >= 2 && *loops <= MS_NORMAL_LOOP_MOST);
}

static void set_fold(struct ms_normal_options *options, unsigned fold)
{
    options->fold_case = (fold & 1) != 0;
    options->fold_suffix = (fold & 2) != 0;
    options->fold_native = (fold & 4) != 0;
}

enum ms_status ms_normal_fold_parse(const char *text, struct ms_normal_options *out,
                                    struct ms_error *err)
{
    char shown[64];
    for (unsigned i = 0; i < FOLD_WORDS; i++) {
        if (strcmp(text, fold_words[i]) == 0) {
            set_fold(out, i);
            return MS_OK;
        }
    }
    return ms_error_set(err, MS_E_USAGE,
                        "--fold '%s': must be none, or case, suffix and native with + between, in "
                        "this order",
                        ms_escape_text(text, shown, sizeof shown));
}

enum ms_status ms_normal_options_parse(const char *text, struct ms_normal_options *out,
                                       struct ms_error *err)
{
    static const char *const repeated_words[] = {"entry", "expand"}, *const yes_words[] = {"no",
                                                                                           "yes"};
    uint32_t version = 0;
    unsigned fold = 0, expand = 0, once = 0, cut = 0;
    struct ms_normal_options options = {0};
    if (!take_word(&text, "normalise-") || !take_u32(&text, &version))
        return ms_error_set(err, MS_E_INPUT, "not a normalisation");
    if (version != MS_NORMAL_VERSION)
        return ms_error_set(err, MS_E_INPUT,
                            "normalisation version %" PRIu32 "; this program has version %d",
                            version, MS_NORMAL_VERSION);
    bool folds = take_word(&text, " fold=") && take_choice(&text, fold_words, FOLD_WORDS, &fold);
    options.keep_pseudo = folds && take_word(&text, " pseudo=keep");
    if (folds && take_word(&text, " order=time"))
        options.order = MS_ORDER_TIME;
    if (!folds || !take_word(&text, " repeated=") ||
        !take_choice(&text, repeated_words, 2, &expand) || !take_word(&text, " collapse=") ||
        !take_u32(&text, &options.collapse) || !take_loops(&text, &options.loops) ||
        !take_word(&text, " once=") || !take_choice(&text, yes_words, 2, &once) ||
        !take_word(&text, " cut=") || !take_choice(&text, cut_words, 3, &cut) ||
        !take_word(&text, ":") || !take_u32(&text, &options.length) || *text)
        return ms_error_set(err, MS_E_INPUT, "a normalisation that cannot be read");
    set_fold(&options, fold);
    options.expand = expand != 0;
    options.once = once != 0;
    options.cut = (enum ms_normal_cut)cut;
    *out = options;
    return MS_OK;
}
