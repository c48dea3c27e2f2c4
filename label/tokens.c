/* Splitting labels into tokens. */
#include "label/tokens.h"

#include <string.h>
#include <strings.h>

/* Vendors that put a variant behind the last dot. */
static const char *const dotted[] = {"Norman",         "Avast",
                                     "Avira",          "Kaspersky",
                                     "ZoneAlarm",      "ESET-NOD32",
                                     "Fortinet",       "Jiangmin",
                                     "Comodo",         "Xcitium",
                                     "GData",          "Sophos",
                                     "TrendMicro",     "TrendMicro-HouseCall",
                                     "NANO-Antivirus", "Microsoft",
                                     "Tencent",        "Lionic",
                                     "Antiy-AVL",      "Kingsoft",
                                     "VirIT",          "AhnLab-V3"};

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool drop_prefix(char *text, const char *prefix)
{
    size_t n = strlen(prefix);
    if (strncmp(text, prefix, n) != 0)
        return false;
    memmove(text, text + n, strlen(text + n) + 1);
    return true;
}

void ms_label_normalise(const char *label, char *out)
{
    size_t n = 0;
    for (const char *p = label; *p && n + 1 < MS_LABEL_TEXT_BYTES; p++)
        if (*p >= ' ' && *p <= '~')
            out[n++] = *p;
    while (n > 0 && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
    size_t blanks = strspn(out, " ");
    memmove(out, out + blanks, n - blanks + 1);
    n -= blanks;
    /* Emsisoft marks what comes from its second engine; F-Secure prefixes Avira's names. */
    if (n >= 4 && strcmp(out + n - 4, " (B)") == 0)
        out[n - 4] = '\0';
    if (!drop_prefix(out, "Malware."))
        (void)drop_prefix(out, "Heuristic.");
}

/* Kaspersky and those who follow it say "not-a-virus:" of grayware. Read word by word that is a
 * virus. */
static void mark_grayware(char *text)
{
    for (char *p = text; *p; p++) {
        if (strncasecmp(p, "not-a-virus", 11) != 0 && strncasecmp(p, "not_a_virus", 11) != 0)
            continue;
        memcpy(p, "notavirus::", 11);
        p += 10;
    }
}

static void cut_variant(const char *engine, char *text)
{
    bool listed = false;
    for (size_t i = 0; i < sizeof dotted / sizeof *dotted && !listed; i++)
        listed = strcmp(engine, dotted[i]) == 0;
    char *cut = NULL;
    if (listed) {
        cut = strrchr(text, '.');
    } else if (strcmp(engine, "AVG") == 0) {
        char *dot = strrchr(text, '.');
        if (dot && dot[1] &&
            strspn(dot + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == strlen(dot + 1))
            cut = dot;
    } else if (strcmp(engine, "Agnitum") == 0 || strcmp(engine, "Yandex") == 0 ||
               strcmp(engine, "Rising") == 0) {
        cut = strrchr(text, '!');
    }
    /* "X.A!tr.dldr", "X-B.C [Trj]": what stands behind a mark or in brackets says the class. */
    if (cut && (*cut == '!' || !strpbrk(text, "![") || strpbrk(text, "![") > cut) &&
        !strchr(cut, '[') && strcmp(engine, "Fortinet") != 0)
        *cut = '\0';
}

static bool is_hash_part(const char *token, const char *const hashes[3])
{
    for (int i = 0; i < 3; i++)
        if (hashes && hashes[i] && strncmp(hashes[i], token, strlen(token)) == 0)
            return true;
    return false;
}

/* dl, dr and tr mean something in front, behind a word for trojan, or behind '!'; elsewhere they
 * are some variant's letters. */
static enum ms_class short_class(const struct ms_tokens *self, const char *token, char before)
{
    bool after_trojan = self->count > 0 && self->items[self->count - 1].class_ == MS_CLASS_TROJAN;
    return self->count == 0 || after_trojan || before == '!' ? ms_class_of_short(token)
                                                             : MS_CLASS_NONE;
}

static void add_token(struct ms_tokens *self, const char *start, size_t n, char before,
                      const char *const hashes[3])
{
    struct ms_token token = {.class_ = MS_CLASS_NONE};
    if (n >= sizeof token.text)
        n = sizeof token.text - 1;
    for (size_t i = 0; i < n; i++)
        token.text[i] = (char)(start[i] >= 'A' && start[i] <= 'Z' ? start[i] + 32 : start[i]);
    while (n > 0 && token.text[n - 1] >= '0' && token.text[n - 1] <= '9')
        token.text[--n] = '\0';
    if (n == 0 || self->count == MS_TOKENS_MAX || is_hash_part(token.text, hashes))
        return;
    token.class_ = n == 2 ? short_class(self, token.text, before) : ms_class_of_token(token.text);
    token.family = n > 3 && token.class_ == MS_CLASS_NONE &&
                   !(token.text[0] >= '0' && token.text[0] <= '9') &&
                   !ms_token_is_generic(token.text);
    self->items[self->count++] = token;
}

static enum ms_class class_of(const struct ms_tokens *self)
{
    enum ms_class weak = MS_CLASS_NONE;
    for (size_t i = 0; i < self->count; i++) {
        enum ms_class class_ = self->items[i].class_;
        if (class_ != MS_CLASS_NONE && !ms_class_is_weak(class_))
            return class_;
        if (weak == MS_CLASS_NONE)
            weak = class_;
    }
    return weak;
}

void ms_tokens_read(struct ms_tokens *self, const char *engine, const char *label,
                    const char *const hashes[3])
{
    char text[MS_LABEL_TEXT_BYTES];
    *self = (struct ms_tokens){.class_ = MS_CLASS_NONE};
    ms_label_normalise(label, text);
    /* Trend Micro writes PE_NAME for infectors of PE files; in other labels "pe" is only the
     * format. */
    bool trend_virus = strncmp(engine, "TrendMicro", 10) == 0 && strncmp(text, "PE_", 3) == 0;
    mark_grayware(text);
    cut_variant(engine, text);
    for (const char *p = text; *p;) {
        while (*p && !is_alnum(*p))
            p++;
        const char *start = p;
        while (is_alnum(*p))
            p++;
        if (p > start)
            add_token(self, start, (size_t)(p - start), start > text ? start[-1] : '\0', hashes);
    }
    self->class_ = class_of(self);
    if (trend_virus && (self->class_ == MS_CLASS_NONE || ms_class_is_weak(self->class_)))
        self->class_ = MS_CLASS_VIRUS;
}
