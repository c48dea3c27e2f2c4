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

/* Letters in lower case and digits as they are; 0 for all that separates tokens. */
static const char folded[256] = {
    ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4', ['5'] = '5', ['6'] = '6',
    ['7'] = '7', ['8'] = '8', ['9'] = '9', ['A'] = 'a', ['B'] = 'b', ['C'] = 'c', ['D'] = 'd',
    ['E'] = 'e', ['F'] = 'f', ['G'] = 'g', ['H'] = 'h', ['I'] = 'i', ['J'] = 'j', ['K'] = 'k',
    ['L'] = 'l', ['M'] = 'm', ['N'] = 'n', ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r',
    ['S'] = 's', ['T'] = 't', ['U'] = 'u', ['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y',
    ['Z'] = 'z', ['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd', ['e'] = 'e', ['f'] = 'f',
    ['g'] = 'g', ['h'] = 'h', ['i'] = 'i', ['j'] = 'j', ['k'] = 'k', ['l'] = 'l', ['m'] = 'm',
    ['n'] = 'n', ['o'] = 'o', ['p'] = 'p', ['q'] = 'q', ['r'] = 'r', ['s'] = 's', ['t'] = 't',
    ['u'] = 'u', ['v'] = 'v', ['w'] = 'w', ['x'] = 'x', ['y'] = 'y', ['z'] = 'z'};

static size_t drop_front(char *text, size_t n, size_t front)
{
    memmove(text, text + front, n - front + 1);
    return n - front;
}

size_t ms_label_normalise(const char *label, char *out)
{
    size_t n = 0;
    for (const char *p = label; *p && n + 1 < MS_LABEL_TEXT_BYTES; p++) {
        out[n] = *p;
        n += *p >= ' ' && *p <= '~';
    }
    while (n > 0 && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
    if (out[0] == ' ')
        n = drop_front(out, n, strspn(out, " "));
    /* Emsisoft marks what comes from its second engine; F-Secure prefixes Avira's names. */
    if (n >= 4 && memcmp(out + n - 4, " (B)", 5) == 0)
        out[n -= 4] = '\0';
    if (strncmp(out, "Malware.", 8) == 0)
        n = drop_front(out, n, 8);
    else if (strncmp(out, "Heuristic.", 10) == 0)
        n = drop_front(out, n, 10);
    return n;
}

/* Kaspersky and those who follow it say "not-a-virus:" of grayware. Read word by word that is a
 * virus. */
static void mark_grayware(char *text)
{
    for (char *p = text; *p; p++) {
        if ((*p != '-' && *p != '_') || p - text < 3 || strncasecmp(p - 3, "not", 3) != 0 ||
            (strncasecmp(p, "-a-virus", 8) != 0 && strncasecmp(p, "_a_virus", 8) != 0))
            continue;
        memcpy(p - 3, "notavirus::", 11);
        p += 7;
    }
}

static void cut_variant(const char *engine, char *text)
{
    bool listed = false;
    for (size_t i = 0; i < sizeof dotted / sizeof *dotted && !listed; i++)
        listed = engine[0] == dotted[i][0] && strcmp(engine, dotted[i]) == 0;
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

static bool is_hash_part(const char *token, size_t n, const char *const hashes[3])
{
    for (int i = 0; i < 3; i++)
        if (hashes && hashes[i] && hashes[i][0] == token[0] && strncmp(hashes[i], token, n) == 0)
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

/* Takes the token that begins at `from`, and returns what stands behind it. */
static const char *add_token(struct ms_tokens *self, const char *from, char before,
                             const char *const hashes[3])
{
    struct ms_token *token = &self->items[self->count];
    size_t n = 0, letters = 0; /* up to the last letter: trailing digits go */
    uint32_t hash = ms_word_hash("", 0);
    bool generic = false;
    char c;
    token->hash = hash;
    for (; (c = folded[(uint8_t)*from]) != 0; from++) {
        if (n + 1 == sizeof token->text)
            continue;
        token->text[n++] = c;
        hash = ms_word_hash_byte(hash, c);
        if (c >= 'a') {
            letters = n;
            token->hash = hash;
        }
    }
    token->text[letters] = '\0';
    if (letters == 0 || is_hash_part(token->text, letters, hashes))
        return from;
    token->class_ = ms_word_find(token->text, letters, token->hash, &generic);
    if (letters == 2)
        token->class_ = short_class(self, token->text, before);
    token->family =
        letters > 3 && token->class_ == MS_CLASS_NONE && !generic && token->text[0] >= 'a';
    self->count++;
    return from;
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
    size_t len = strnlen(label, sizeof text - 1);
    self->count = 0;
    memcpy(text, label, len);
    text[len] = '\0';
    /* Trend Micro writes PE_NAME for infectors of PE files; in other labels "pe" is only the
     * format. */
    bool trend_virus = strncmp(engine, "TrendMicro", 10) == 0 && strncmp(text, "PE_", 3) == 0;
    mark_grayware(text);
    cut_variant(engine, text);
    for (const char *p = text; *p && self->count < MS_TOKENS_MAX;) {
        if (folded[(uint8_t)*p])
            p = add_token(self, p, p > text ? p[-1] : '\0', hashes);
        else
            p++;
    }
    self->class_ = class_of(self);
    if (trend_virus && (self->class_ == MS_CLASS_NONE || ms_class_is_weak(self->class_)))
        self->class_ = MS_CLASS_VIRUS;
}
